/*
 * access.c - read and write the memory of another space                    floor 5, below: fault, pgtable, uaccess
 *
 * What task_read, task_write, messages between servers and /proc do with a space that is not loaded. It copies between
 * kernel memory and that space; the other half, ring 3 of the caller, is uaccess.c's.
 *
 * IDEA      for each page:   pt_lock -- look at the entry -- does it allow this? -- copy through the direct map -- unlock
 *                                              `- no: fault_handle() as if its own thread had touched it, look again
 *
 *           The copy of one page is done under pt_lock. So it needs no pin: whoever wants to share, replace or free the
 *           frame changes the entry first, under the same lock. What follows is the point:
 *
 *   - "Dirty COW" (CVE-2016-5195) was a forced write that looked up a page twice, and forgot in between that it had to be
 *     a private copy. Here the entry that is looked at is the one that is written through: it is writable then, or
 *     nothing is written; there is no forced write, and no second look without the first one's check.
 *   - A pin that outlives the owner's next write (CVE-2020-29374) cannot exist: there is none.
 *   - Memory of an object (CVE-2022-2590) is no exception: an entry of a private area that names an object's page is
 *     read-only (PG_SHARED pages are nobody's own), so a write faults and copies first.
 *
 * LOCKS     mm->lock (read) -> pt_lock
 * LINUX     mm/gup.c pins pages and copies without locks; mm/memory.c __access_remote_vm      docs/mm/memory.md
 */
#include <abi/errno.h>
#include "mm/numa.h"
#include "mm/pgtable.h"
#include "mm/reclaim.h"
#include "mm/vma.h"
#include "mutex.h"
#include "sched.h"
#include "mm/fault.h"
#include "mm/access.h"
#include "seeded.h"

/* One access, within one page at a time. */
struct access {
	struct mm *mm;
	vaddr_t addr;
	u8 *buf;
	bool write;
};

/* The leaf over addr, or 0. Where it stands goes to *entry. pt_lock held. */
static u64 leaf_at(struct mm *mm, vaddr_t addr, u64 **entry, u64 *size)
{
	pmd_t *pmdp = pgtable_find_pmd(mm, addr), pmd;
	pud_t *pudp;
	pte_t *ptep;

	if (!pmdp && mm->nr_puds) {
		pudp = pgtable_find_pud(mm, addr);
		if (!pudp || pud_kind(pud_read(pudp)) != ENTRY_LEAF)
			return 0;
		*entry = &pudp->v;
		*size = HPAGE_PUD_SIZE;
		return pud_read(pudp).v;
	}
	if (!pmdp)
		return 0;
	pmd = pmd_read(pmdp);
	if (pmd_kind(pmd) == ENTRY_LEAF) {
		*entry = &pmdp->v;
		*size = HPAGE_PMD_SIZE;
		return pmd.v;
	}
	if (pmd_kind(pmd) != ENTRY_TABLE)
		return 0;
	ptep = pte_ptr(pmd, addr);
	*entry = &ptep->v;
	*size = PAGE_SIZE;
	return pte_read(ptep).v;
}

/*
 * May this be done through that leaf? `ask`: as a write. A NUMA hint asks who uses the page; we do not, so it stays, and its
 * other rights count. mm->lock held.
 */
static bool leaf_allows(const struct access *a, u64 e, bool ask)
{
	u64 need = PTE_P | PTE_US | (ask ? PTE_RW : 0);
	const struct vma *v;

	if ((seeded(HUGE_DIRTY_COW) || seeded(OBJECT_DIRTY_COW)) && e & PTE_D)
		need &= ~PTE_RW;
	if (unlikely(entry_protnone(e))) {
		v = vma_find(a->mm, a->addr);
		if (v && numa_is_hint(v, e))
			need &= ~PTE_P;
	}
	return (e & need) == need;
}

/*
 * Copy up to `bytes`, as far as one leaf goes, if it allows this. 0: it does not. Frames that are no memory (registers of a
 * device) are never read this way.
 */
static u64 copy_piece(const struct access *a, bool ask, u64 bytes)
{
	u64 *entry = NULL, size = PAGE_SIZE, e, n = 0;
	void *at;

	spin_lock(&a->mm->pt_lock);
	e = leaf_at(a->mm, a->addr, &entry, &size);
	if (leaf_allows(a, e, ask) &&
		(!(e & PTE_DEVICE) || pfn_valid(entry_addr(e) >> PAGE_SHIFT))) {
		u64 into = a->addr & (size - 1);

		n = MIN(bytes,
			MIN(size - into, PAGE_SIZE)); /* pt_lock is not kept longer than that */
		at = phys_to_virt(entry_addr(e) & ~(size - 1)) + into;
		entry_touch(entry, a->write || seeded(HUGE_DIRTY_COW));
		if (a->write)
			copy_bytes(at, a->buf, n);
		else
			copy_bytes(a->buf, at, n);
	}
	spin_unlock(&a->mm->pt_lock);
	return n;
}

/* As a thread of that space would: 0, or why not. No lock held. */
static s64 fault_in(const struct access *a, bool ask)
{
	struct fault f = {.mm = a->mm, .addr = a->addr, .write = ask, .user = true};
	enum fault_result r = fault_handle(&f);

	if (r == FAULT_NO_MEMORY && reclaim_run())
		r = fault_handle(&f);
	switch (r) {
	case FAULT_DONE:
		return thread_killed() ? -EINTR : 0;
	case FAULT_PAGER:
		return -EAGAIN;
	case FAULT_NO_MEMORY:
		return -ENOMEM;
	default:
		return -EFAULT;
	}
}

static s64 access(struct access *a, u64 bytes)
{
	bool ask = a->write;
	u64 done = 0;
	s64 err = 0;

	if (!bytes)
		return 0;
	if (a->addr >= USER_END)
		return -EFAULT;
	bytes = MIN(bytes, USER_END - a->addr);
	while (done < bytes && !err) {
		u64 n;

		rwsem_read_lock(&a->mm->lock);
		do {
			n = copy_piece(a, ask, bytes - done);
			done += n;
			a->addr += n;
			a->buf += n;
		} while (n && done < bytes);
		rwsem_read_unlock(&a->mm->lock);
		if (!n)
			err = fault_in(a, ask);
		if (!n && !err && seeded_window(DIRTY_COW))
			ask = false;
		preempt_point();
	}
	return done ? (s64)done : err;
}

s64 mm_read(struct mm *mm, vaddr_t addr, void *to, u64 bytes)
{
	struct access a = {mm, addr, to, false};

	return access(&a, bytes);
}

s64 mm_write(struct mm *mm, vaddr_t addr, const void *from, u64 bytes)
{
	struct access a = {mm, addr, (void *)from, true};

	return access(&a, bytes);
}
