/*
 * mprotect.c - other rights for a range                                   floor 5, below: range, thp, pgtable
 *
 * Changes the flags of areas and then the entries below them. A right that is given shows when it is used (the
 * entry of a page that may be shared stays read-only: the next write decides); a right that is taken away is gone
 * on every CPU before the call returns.
 *
 * IDEA      an entry becomes:   rights of its area, but writable only where a write fault would do no more than that:
 *                               a small page that is ours alone (EXCL) and was written. A huge leaf never is
 *           PROT_NONE keeps the frame: the entry is PROTNONE (x86/paging.h), the address in it inverted.
 *           A huge leaf that lies wholly in the range changes as one; else it is split.
 *
 * LOCKS     mm->lock (write) -> pt_lock
 * LINUX     mm/mprotect.c: do_mprotect_pkey, change_pte_range, change_huge_pmd     docs/mm/mmap.md
 */
#include <abi/errno.h>
#include "mm/pgtable.h"
#include "mm/vma.h"
#include "mm/uaccess.h"
#include "mutex.h"
#include "sched.h"
#include "mm/thp_split.h"
#include "mm/range.h"
#include "mm/mmap.h"

/*
 * The new form of a leaf: the area's rights, and mostly without the write right: the next write decides. A device is
 * shared with nobody, and no fault would give the right back; what is shared on purpose stays as it was.
 */
static u64 protected_entry(const struct vma *v, u64 entry)
{
	u64 write = 0;

	if (entry & PTE_DEVICE)
		write = PTE_RW;
	else if (v->flags & VM_SHARED)
		write = entry & PTE_RW;
	return entry_modify(entry, vma_rights(v) | (v->flags & VM_WRITE ? write : 0));
}

/* The same for 4 KiB: a page that is ours alone and dirty needs no fault to tell. Linux: can_change_pte_writable */
static pte_t protected_pte(const struct vma *v, pte_t pte)
{
	const u64 own = PTE_EXCL | PTE_D;
	u64 e = protected_entry(v, pte.v);

	if ((e & (own | PTE_P | PTE_DEVICE)) == (own | PTE_P) && v->flags & VM_WRITE &&
		!(v->flags & VM_SHARED) && !pfn_in_huge(pte_pfn(pte)))
		e |= PTE_RW;
	return (pte_t){e};
}

/* Does the change take a right away? Giving one needs no flush: the CPU looks again before it faults. */
static bool is_weaker(u64 old, u64 new)
{
	return (old & ~new &(PTE_P | PTE_RW)) || (new & ~old &PTE_NX);
}

static void protect_ptes(struct vma *v, vaddr_t start, vaddr_t end, pmd_t *pmdp)
{
	struct mm *mm = v->mm;
	bool weaker = false;
	pte_t *ptep;

	spin_lock(&mm->pt_lock);
	if (pmd_kind(pmd_read(pmdp)) != ENTRY_TABLE) { /* a huge page was withdrawn meanwhile */
		spin_unlock(&mm->pt_lock);
		return;
	}
	ptep = pte_ptr(pmd_read(pmdp), start);
	for (vaddr_t a = start; a < end; a += PAGE_SIZE, ptep++) {
		pte_t old = pte_read(ptep), new;

		if (pte_kind(old) == ENTRY_HOLE)
			continue;
		old = pte_take(ptep);
		new = protected_pte(v, old);
		pte_write(ptep, new);
		weaker |= is_weaker(old.v, new.v);
	}
	if (weaker)
		tlb_flush(&mm->tlb, start, end, PAGE_SIZE, TLB_protect);
	spin_unlock(&mm->pt_lock);
}

/* One leaf of 2 MiB; the area covers it wholly, or it is split first. Linux: change_huge_pmd */
static void protect_pmd(struct vma *v, vaddr_t start, vaddr_t end, pmd_t *pmdp)
{
	struct mm *mm = v->mm;
	vaddr_t haddr = start & HPAGE_PMD_MASK;
	pmd_t old, new;

	spin_lock(&mm->pt_lock);
	old = pmd_read(pmdp);
	if (pmd_kind(old) == ENTRY_LEAF && end - start == HPAGE_PMD_SIZE) {
		old = pmd_take(pmdp);
		new = (pmd_t){protected_entry(v, old.v)};
		pmd_write(pmdp, new);
		if (is_weaker(old.v, new.v))
			tlb_flush(&mm->tlb, haddr, end, HPAGE_PMD_SIZE, TLB_protect);
		spin_unlock(&mm->pt_lock);
		return;
	}
	if (pmd_kind(old) == ENTRY_LEAF)
		thp_split_pmd(v, haddr, pmdp);
	spin_unlock(&mm->pt_lock);
	protect_ptes(v, start, end, pmdp);
}

/* Leaves of 1 GiB; the area has each as a whole, since its edges were cut. Most spaces have none. */
static void protect_puds(struct vma *v)
{
	struct mm *mm = v->mm;
	pud_t *pudp, old, new;

	for (vaddr_t a = v->start; mm->nr_puds && (pudp = pgtable_next_pud(mm, &a, v->end)) != NULL;
		a += HPAGE_PUD_SIZE) {
		spin_lock(&mm->pt_lock);
		if (pud_kind(pud_read(pudp)) == ENTRY_LEAF) {
			old = pud_take(pudp);
			new = (pud_t){protected_entry(v, old.v)};
			pud_write(pudp, new);
			if (is_weaker(old.v, new.v))
				tlb_flush(&mm->tlb, a, a + HPAGE_PUD_SIZE, HPAGE_PUD_SIZE,
					TLB_protect);
		}
		spin_unlock(&mm->pt_lock);
	}
}

/* Entries of a whole area after its flags changed. */
static void protect_entries(struct vma *v)
{
	vaddr_t a = v->start, next;

	protect_puds(v);
	for (pmd_t *pmdp = pgtable_next_pmd(v->mm, &a, v->end); pmdp;
		pmdp = pgtable_next_pmd(v->mm, &a, v->end)) {
		next = pmd_range_end(a, v->end);
		if (pmd_kind(pmd_read(pmdp)) == ENTRY_LEAF)
			protect_pmd(v, a, next, pmdp);
		else
			protect_ptes(v, a, next, pmdp);
		preempt_point();
		a = next;
	}
}

/*
 * Areas up to the first hole, which is an error then: as on Linux, what lies before it has changed. *bring_in: locked memory
 * became writable, and is to have pages of its own.
 */
static int protect_locked(struct mm *mm, vaddr_t start, vaddr_t end, u32 prot, bool *bring_in)
{
	vaddr_t stop = range_mapped_until(mm, start, end);
	int err = stop < end ? -ENOMEM : 0, cut;
	struct vma *v;

	for (v = range_first(mm, start, stop); v; v = range_next(v, stop)) {
		u32 flags = (v->flags & ~VM_ACCESS) | prot_flags(prot);

		if (flags == v->flags)
			continue;
		flags = range_accounted(flags);
		if (flags & VM_WRITE && v->flags & VM_NOWRITE) {
			err = -EACCES;
			break;
		}
		if (!(v->flags & VM_WRITE) &&
			range_overcommits(MIN(v->end, stop) - MAX(v->start, start), flags)) {
			err = -ENOMEM;
			break;
		}
		v = range_part(v, start, stop, &cut);
		if (!v)
			return cut;
		*bring_in |= flags & VM_WRITE &&
			     (v->flags & (VM_WRITE | VM_SHARED | VM_LOCKED)) == VM_LOCKED;
		v->flags = flags;
		protect_entries(v);
		v = vma_merge(v);
	}
	return err;
}

/*
 * mmap_protect_counted - other rights for a range without holes. Locked memory that becomes writable is brought in.
 *   faults   grows by the faults that this took
 *   returns  0; -EINVAL (alignment, unknown bits); -ENOMEM (a hole, past user space, too many areas); -EACCES (shared
 *            memory by a handle that may not write)
 *   Linux    do_mprotect_pkey
 */
int mmap_protect_counted(struct mm *mm, vaddr_t addr, u64 len, u32 prot, u64 *faults)
{
	bool bring_in = false;
	int err;

	if (addr & ~PAGE_MASK)
		return -EINVAL;
	if (len == 0) /* Linux looks at prot after this */
		return 0;
	if (addr + ALIGN_UP(len, PAGE_SIZE) <= addr)
		return -ENOMEM;
	if (prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC))
		return -EINVAL;
	if (!user_range_ok(addr, len))
		return -ENOMEM;
	rwsem_write_lock(&mm->lock);
	err = protect_locked(mm, addr, addr + ALIGN_UP(len, PAGE_SIZE), prot, &bring_in);
	rwsem_write_unlock(&mm->lock);
	if (unlikely(bring_in))
		mmap_bring_in_locked(mm, addr, addr + ALIGN_UP(len, PAGE_SIZE), faults);
	return err;
}
