/*
 * mmap.c - the verbs that change areas                                      floor 5, below: collapse, zap, fault, thp, vma
 *
 * What mmap, munmap, mprotect, mremap, brk, madvise and mincore do once their arguments are numbers. It decides which
 * areas are cut, united, removed; entries are changed by zap.c and by the loops here, tables by pgtable.c. Reading the
 * arguments from ring 3 and choosing between calls is syscall.c's.
 *
 * IDEA      A verb on [start, end) first makes the range's edges edges of areas, then treats whole areas:
 *
 *             |------ area ------|------ area ------|
 *                   [start             end)
 *             |--a--|------b-----|---c--|-----d-----|      all that can fail (two splits) happens here; then b and c
 *                                                          change, and what can unite again does
 *
 * INVARIANTS V1-V3 of vma.c hold whenever mm->lock is not held for writing; a verb that fails half-way through (only
 *           ENOMEM after a split) leaves areas cut where the caller asked, which nobody can observe but smaps.
 *
 * LOCKS     mm->lock (write) -> anon lock -> pt_lock
 * LINUX     mm/mmap.c, mprotect.c, mremap.c, madvise.c, mincore.c; also files, shared memory, mlock, rlimits.
 *           docs/mm/mmap.md
 */
#include <abi/errno.h>
#include "mm/buddy.h"
#include "mm/lru.h"
#include "mm/zero.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/vma.h"
#include "mutex.h"
#include "sched.h"
#include "mm/thp.h"
#include "mm/collapse.h"
#include "mm/zap.h"
#include "mm/fault.h"
#include "vmstat.h"
#include "mm/mmap.h"

#define VM_DATA_MAX                                                                                \
	(1ul << 46) /* more than any address space has: an overflow of sizes ends below it */

/* Is [addr, addr + len) wholly in user space? len may be anything. */
static bool range_ok(vaddr_t addr, u64 len)
{
	return len <= USER_END && addr <= USER_END - len;
}

static u32 prot_flags(u32 prot)
{
	return (prot & PROT_READ ? VM_READ : 0) | (prot & PROT_WRITE ? VM_WRITE : 0) |
	       (prot & PROT_EXEC ? VM_EXEC : 0);
}

/* --- edges --- */

/* A huge leaf never belongs to two areas (T4): where addr lies inside one, split it. Linux: vma_adjust_trans_huge */
static void cut_huge(struct vma *v, vaddr_t addr)
{
	pmd_t *pmdp = IS_ALIGNED(addr, HPAGE_PMD_SIZE) ? NULL : pgtable_find_pmd(v->mm, addr);

	if (!pmdp || v->kind == VMA_DEVICE)
		return;
	spin_lock(&v->mm->pt_lock);
	if (pmd_kind(pmd_read(pmdp)) == ENTRY_LEAF)
		thp_split_pmd(v, addr & HPAGE_PMD_MASK, pmdp);
	spin_unlock(&v->mm->pt_lock);
}

/* Make addr an edge: split the area that has it inside. 0, -ENOMEM, or -EINVAL: a device's leaf cannot be split. */
static int cut_at(struct mm *mm, vaddr_t addr)
{
	struct vma *v = vma_find(mm, addr);

	if (!v || v->start == addr)
		return 0;
	if (v->kind == VMA_DEVICE && !IS_ALIGNED(addr, HPAGE_PMD_SIZE))
		return -EINVAL;
	cut_huge(v, addr);
	return vma_split(v, addr) ? 0 : -ENOMEM;
}

/* Both edges. A hole punched into one area makes two more: refused at the limit before anything is cut. */
static int cut(struct mm *mm, vaddr_t start, vaddr_t end)
{
	int err = cut_at(mm, start);

	return err ? err : cut_at(mm, end);
}

/* The first area of the range; iterate with next_in(). The edges are cut. */
static struct vma *first_in(struct mm *mm, vaddr_t start, vaddr_t end)
{
	struct vma *v = vma_find_from(mm, start);

	return v && v->start < end ? v : NULL;
}

static struct vma *next_in(struct vma *v, vaddr_t end)
{
	v = vma_next(v);
	return v && v->start < end ? v : NULL;
}

/* Is [start, end) mapped without a hole? */
static bool no_holes(struct mm *mm, vaddr_t start, vaddr_t end)
{
	for (struct vma *v = first_in(mm, start, end); v && v->start <= start; v = vma_next(v)) {
		start = v->end;
		if (start >= end)
			return true;
	}
	return false;
}

/* --- munmap --- */

/* held: mm(write). Linux: do_mas_munmap */
static int unmap_locked(struct mm *mm, vaddr_t start, vaddr_t end)
{
	struct vma *v;
	int err = cut(mm, start, end);

	if (err)
		return err;
	while ((v = first_in(mm, start, end)))
		zap_area(v);
	return 0;
}

/*
 * mmap_unmap - remove every page and area of a range; holes are fine.
 *   returns  0; -EINVAL (addr not page-aligned, length 0 or past user space); -ENOMEM (too many areas)
 */
int mmap_unmap(struct mm *mm, vaddr_t addr, u64 len)
{
	int err;

	if (addr & ~PAGE_MASK || len == 0 || !range_ok(addr, len))
		return -EINVAL;
	len = ALIGN_UP(len, PAGE_SIZE);
	rwsem_write_lock(&mm->lock);
	err = unmap_locked(mm, addr, addr + len);
	rwsem_write_unlock(&mm->lock);
	return err;
}

/* --- mmap --- */

/* More than all memory there is, without MAP_NORESERVE: an obvious overcommit (Linux: heuristic mode). */
static bool obvious_overcommit(u64 len, u32 flags)
{
	u64 pages = zones[ZONE_DMA32].managed_pages + zones[ZONE_NORMAL].managed_pages;

	return !(flags & VM_NORESERVE) && flags & VM_WRITE && len >> PAGE_SHIFT > pages;
}

/* A new anonymous area in a free range; united with its neighbours when they agree. NULL: too many areas, no memory. */
static struct vma *new_area(struct mm *mm, vaddr_t start, vaddr_t end, u32 flags, const char *name)
{
	struct vma *v = vma_alloc(mm);

	if (!v)
		return NULL;
	v->start = start;
	v->end = end;
	v->flags = flags;
	v->kind = VMA_ANON;
	v->pgoff = start >> PAGE_SHIFT;
	for (unsigned i = 0; name && name[i] && i < sizeof(v->name) - 1; i++)
		v->name[i] = name[i];
	if (vma_insert(mm, v)) {
		vma_free(v);
		return NULL;
	}
	return vma_merge(v);
}

/* Where the new area goes. Address, or -errno. held: mm(write) */
static s64 place(struct mm *mm, vaddr_t addr, u64 len, u32 flags)
{
	struct vma *v;

	if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
		if (addr & ~PAGE_MASK)
			return -EINVAL;
		if (!range_ok(addr, len))
			return -ENOMEM;
		if (addr < USER_START)
			return -EPERM;
		if (flags & MAP_FIXED_NOREPLACE)
			return first_in(mm, addr, addr + len) ? -EEXIST : (s64)addr;
		return unmap_locked(mm, addr, addr + len) ?: (s64)addr;
	}
	addr = ALIGN_UP(addr, PAGE_SIZE);
	if (addr >= USER_START && range_ok(addr, len)) {
		v = vma_find_from(mm, addr);
		if (!v || v->start >= addr + len)
			return addr; /* the hint is free */
	}
	addr = vma_find_gap(mm, len, USER_START, mm->mmap_base, PAGE_SIZE);
	return addr ? (s64)addr : -ENOMEM;
}

/*
 * mmap_map - a new anonymous private area.
 *   returns  its address; -EINVAL (length 0, alignment, flags), -ENODEV (not private anonymous memory), -EEXIST,
 *            -EPERM (below mmap_min_addr), -ENOMEM (no room, too many areas, more than all memory)
 *   Linux    do_mmap
 */
s64 mmap_map(struct mm *mm, vaddr_t addr, u64 len, u32 prot, u32 flags)
{
	u32 vm_flags = prot_flags(prot) | (flags & MAP_NORESERVE ? VM_NORESERVE : 0);
	u32 type = flags & MAP_TYPE;
	s64 at;

	if (len == 0 || (type != MAP_PRIVATE && type != MAP_SHARED && type != MAP_SHARED_VALIDATE))
		return -EINVAL;
	if (type != MAP_PRIVATE || !(flags & MAP_ANONYMOUS) || flags & MAP_HUGETLB)
		return -ENODEV;
	if (len > VM_DATA_MAX || !range_ok(0, ALIGN_UP(len, PAGE_SIZE)))
		return -ENOMEM;
	len = ALIGN_UP(len, PAGE_SIZE);
	if (obvious_overcommit(len, vm_flags))
		return -ENOMEM;

	rwsem_write_lock(&mm->lock);
	at = place(mm, addr, len, flags);
	if (at >= 0 && !new_area(mm, at, at + len, vm_flags, NULL))
		at = -ENOMEM;
	rwsem_write_unlock(&mm->lock);
	return at;
}

/*
 * mmap_map_named - the loader's form: an area at a fixed, free place.
 *   returns  0, -EINVAL, -EEXIST, -ENOMEM
 */
int mmap_map_named(struct mm *mm, vaddr_t addr, u64 len, u32 prot, u32 vm_flags, const char *name)
{
	int err = 0;

	len = ALIGN_UP(len, PAGE_SIZE);
	if (addr & ~PAGE_MASK || !len || !range_ok(addr, len) || addr < USER_START)
		return -EINVAL;
	rwsem_write_lock(&mm->lock);
	if (first_in(mm, addr, addr + len))
		err = -EEXIST;
	else if (!new_area(mm, addr, addr + len, prot_flags(prot) | vm_flags, name))
		err = -ENOMEM;
	rwsem_write_unlock(&mm->lock);
	return err;
}

/* Enter the device's registers; huge leaves where both addresses allow. held: mm(write) */
static int map_device_entries(struct vma *v)
{
	struct mm *mm = v->mm;
	u64 rights = vma_rights_write(v) | PTE_PCD | PTE_DEVICE;
	paddr_t pa = v->device_pa;
	vaddr_t step;

	for (vaddr_t a = v->start; a < v->end; a += step, pa += step) {
		bool huge = !((a | pa) & ~HPAGE_PMD_MASK) && a + HPAGE_PMD_SIZE <= v->end;
		pud_t *pudp = pgtable_make_pud(mm, a);
		pmd_t *pmdp = pudp ? pgtable_make_pmd(mm, pudp, a) : NULL;

		if (!pmdp || (!huge && pgtable_make_pte(mm, pmdp)))
			return -ENOMEM;
		spin_lock(&mm->pt_lock);
		if (huge)
			pmd_write(pmdp, pmd_make_huge(pa >> PAGE_SHIFT, rights));
		else
			pte_write(pte_ptr(pmd_read(pmdp), a), pte_make(pa >> PAGE_SHIFT, rights));
		spin_unlock(&mm->pt_lock);
		step = huge ? HPAGE_PMD_SIZE : PAGE_SIZE;
	}
	return 0;
}

/*
 * mmap_map_device - an area that shows a device's registers: mapped at once, never split, never copied.
 *   returns  0, -EINVAL, -EEXIST, -ENOMEM
 */
int mmap_map_device(struct mm *mm, vaddr_t addr, u64 len, paddr_t pa)
{
	struct vma *v;
	int err = -ENOMEM;

	if ((addr | len | pa) & ~PAGE_MASK || !len || !range_ok(addr, len))
		return -EINVAL;
	rwsem_write_lock(&mm->lock);
	v = first_in(mm, addr, addr + len) ? NULL : vma_alloc(mm);
	if (v) {
		v->start = addr;
		v->end = addr + len;
		v->flags = VM_READ | VM_WRITE | VM_DONTDUMP;
		v->kind = VMA_DEVICE;
		v->device_pa = pa;
		if (vma_insert(mm, v))
			vma_free(v);
		else if ((err = map_device_entries(v)))
			zap_area(v);
	} else if (first_in(mm, addr, addr + len)) {
		err = -EEXIST;
	}
	rwsem_write_unlock(&mm->lock);
	return err;
}

/* --- mprotect --- */

/* The new form of a leaf: the area's rights, and the write right only where it was already: a shared page stays read-only. */
static u64 protected_entry(const struct vma *v, u64 entry)
{
	u64 keep = v->flags & VM_WRITE ? entry & PTE_RW : 0;

	return entry_modify(entry, vma_rights(v) | keep);
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
	ptep = pte_ptr(pmd_read(pmdp), start);
	for (vaddr_t a = start; a < end; a += PAGE_SIZE, ptep++) {
		pte_t old = pte_read(ptep), new;

		if (pte_kind(old) == ENTRY_HOLE)
			continue;
		old = pte_take(ptep);
		new = (pte_t){protected_entry(v, old.v)};
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

/* Entries of a whole area after its flags changed. */
static void protect_entries(struct vma *v)
{
	vaddr_t a = v->start, next;

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

static int protect_locked(struct mm *mm, vaddr_t start, vaddr_t end, u32 prot)
{
	struct vma *v;
	int err;

	if (!no_holes(mm, start, end))
		return -ENOMEM;
	err = cut(mm, start, end);
	if (err)
		return err;
	for (v = first_in(mm, start, end); v; v = next_in(v, end)) {
		u32 flags = (v->flags & ~VM_ACCESS) | prot_flags(prot);

		if (flags == v->flags)
			continue;
		v->flags = flags;
		protect_entries(v);
		v = vma_merge(v);
	}
	v = vma_find(mm, end);
	if (v)
		vma_merge(v); /* an edge that was cut for nothing closes again */
	return 0;
}

/*
 * mmap_protect - other rights for a range without holes.
 *   returns  0; -EINVAL (alignment, unknown bits); -ENOMEM (a hole, past user space, too many areas)
 *   Linux    do_mprotect_pkey
 */
int mmap_protect(struct mm *mm, vaddr_t addr, u64 len, u32 prot)
{
	int err;

	if (addr & ~PAGE_MASK)
		return -EINVAL;
	if (len == 0) /* Linux looks at prot after this */
		return 0;
	if (addr + ALIGN_UP(len, PAGE_SIZE) <= addr)
		return -ENOMEM;
	if (prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC))
		return -EINVAL;
	if (!range_ok(addr, len))
		return -ENOMEM;
	rwsem_write_lock(&mm->lock);
	err = protect_locked(mm, addr, addr + ALIGN_UP(len, PAGE_SIZE), prot);
	rwsem_write_unlock(&mm->lock);
	return err;
}

/* --- mremap --- */

/* A whole huge leaf moves, with its deposit. False: it must go page by page. Linux: move_huge_pmd */
static bool move_huge(struct mm *mm, vaddr_t haddr, pmd_t *from, pmd_t *to)
{
	bool moved = false;
	pmd_t pmd;

	spin_lock(&mm->pt_lock);
	if (pmd_kind(pmd_read(from)) == ENTRY_LEAF && pmd_kind(pmd_read(to)) == ENTRY_HOLE) {
		pmd = pmd_take(from);
		if (!(pmd.v & PTE_DEVICE))
			pgtable_deposit(mm, to, pgtable_withdraw(mm, from));
		tlb_flush(&mm->tlb, haddr, haddr + HPAGE_PMD_SIZE, HPAGE_PMD_SIZE, TLB_move);
		pmd_write(to, pmd);
		moved = true;
	}
	spin_unlock(&mm->pt_lock);
	return moved;
}

/* Entries of [start, end), all under *from, to the same number of entries from `dst` on, which lie under *to. */
static void move_ptes(
	struct mm *mm, vaddr_t start, vaddr_t end, pmd_t *from, vaddr_t dst, pmd_t *to)
{
	pte_t *src, *out;
	bool moved = false;

	spin_lock(&mm->pt_lock);
	src = pte_ptr(pmd_read(from), start);
	out = pte_ptr(pmd_read(to), dst);
	for (vaddr_t a = start; a < end; a += PAGE_SIZE, src++, out++) {
		if (pte_kind(pte_read(src)) == ENTRY_HOLE)
			continue;
		pte_write(out, pte_take(src));
		moved = true;
	}
	if (moved)
		tlb_flush(&mm->tlb, start, end, PAGE_SIZE, TLB_move);
	spin_unlock(&mm->pt_lock);
}

/* How far one step of a move may go: neither side may cross a 2 MiB line. */
static vaddr_t step_end(vaddr_t a, vaddr_t dst, vaddr_t end)
{
	u64 n = MIN(pmd_range_end(a, end) - a, pmd_range_end(dst, ~0ul) - dst);

	return a + n;
}

/*
 * Move every entry of [start, end) to dst. All tables are made first, step by step; a move that runs out of memory
 * half-way is moved back by the caller. Returns where it stopped: end, or less.
 */
static vaddr_t move_entries(struct vma *v, vaddr_t start, vaddr_t end, vaddr_t dst)
{
	struct mm *mm = v->mm;
	s64 shift = dst - start;
	vaddr_t a = start, next;

	for (pmd_t *from = pgtable_next_pmd(mm, &a, end); from;
		a = next, from = pgtable_next_pmd(mm, &a, end)) {
		pud_t *pudp = pgtable_make_pud(mm, a + shift);
		pmd_t *to = pudp ? pgtable_make_pmd(mm, pudp, a + shift) : NULL;

		if (!to)
			return a;
		next = step_end(a, a + shift, end);
		if (pmd_kind(pmd_read(from)) == ENTRY_LEAF) {
			if (next - a == HPAGE_PMD_SIZE && move_huge(mm, a, from, to))
				continue;
			spin_lock(&mm->pt_lock);
			thp_split_pmd(v, a & HPAGE_PMD_MASK, from);
			spin_unlock(&mm->pt_lock);
		}
		if (pmd_kind(pmd_read(to)) != ENTRY_TABLE && pgtable_make_pte(mm, to))
			return a;
		move_ptes(mm, a, next, from, a + shift, to);
		preempt_point();
	}
	return end;
}

/* A second area for the same pages: same family, same indexes, another place. NULL: no memory. */
static struct vma *twin_area(struct vma *v, vaddr_t start, vaddr_t old, u64 len)
{
	struct vma *n = vma_alloc(v->mm);

	if (!n)
		return NULL;
	n->start = start;
	n->end = start + len;
	n->flags = v->flags;
	n->kind = v->kind;
	n->pgoff = vma_index(v, old);
	__builtin_memcpy(n->name, v->name, sizeof(n->name));
	if (vma_insert(v->mm, n)) {
		vma_free(n);
		return NULL;
	}
	if (v->anon)
		rmap_link(n, v->anon);
	return n;
}

/* Move [old, old + old_len) of one area to `to`, where it becomes `len` long. held: mm(write). Linux: move_vma */
static s64 move_area(
	struct mm *mm, struct vma *v, vaddr_t old, u64 old_len, vaddr_t to, u64 len, u32 flags)
{
	u64 moving = MIN(old_len, len);
	struct vma *n;
	vaddr_t stop;

	/* What is left behind is removed at the end: its edges are made now, while that may still fail. */
	if (!(flags & MREMAP_DONTUNMAP) && cut(mm, old, old + old_len))
		return -ENOMEM;
	v = vma_find(mm, old);
	n = twin_area(v, to, old, len);
	if (!n)
		return -ENOMEM;
	stop = move_entries(v, old, old + moving, to);
	if (stop != old + moving) { /* the tables it came from are still there: this cannot fail */
		move_entries(n, to, to + (stop - old), old);
		zap_area(n);
		return -ENOMEM;
	}
	vma_merge(n);
	if (!(flags & MREMAP_DONTUNMAP))
		zap_area(v); /* the entries are gone; only the area and its tables are left */
	return to;
}

/* Grow in place when the space behind is free. False: it is not. */
static bool grow_in_place(struct mm *mm, struct vma *v, vaddr_t old, u64 old_len, u64 len)
{
	struct vma *above = vma_next(v);

	if (v->end != old + old_len || !range_ok(old, len))
		return false;
	if (above && above->start < old + len)
		return false;
	(void)mm;
	vma_resize(v, v->start, old + len);
	vma_merge(v);
	return true;
}

static s64 remap_check(u64 old_len, u64 len, vaddr_t old, u32 flags, vaddr_t to)
{
	if (flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP))
		return -EINVAL;
	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) && !(flags & MREMAP_MAYMOVE))
		return -EINVAL;
	if (flags & MREMAP_DONTUNMAP && old_len != len)
		return -EINVAL;
	if (old & ~PAGE_MASK || len == 0)
		return -EINVAL;
	if (!(flags & MREMAP_FIXED))
		return 0;
	if (to & ~PAGE_MASK || !range_ok(to, len) || to < USER_START)
		return -EINVAL;
	return (old < to + len && to < old + old_len) ? -EINVAL
						      : 0; /* old and new must not overlap */
}

/* held: mm(write) */
static s64 remap_locked(struct mm *mm, vaddr_t old, u64 old_len, u64 len, u32 flags, vaddr_t to)
{
	bool move = flags & (MREMAP_FIXED | MREMAP_DONTUNMAP);
	struct vma *v;
	s64 err;

	if (!vma_find(mm, old))
		return -EFAULT;
	if (flags & MREMAP_FIXED) {
		err = unmap_locked(mm, to, to + len);
		if (err)
			return err;
	}
	if (len < old_len) { /* the tail goes, whatever else happens */
		err = unmap_locked(mm, old + len, old + old_len);
		if (err || !move)
			return err ?: (s64)old;
		old_len = len;
	}
	v = vma_find(mm, old);
	if (!v || old + old_len > v->end || old + old_len < old)
		return -EFAULT;
	if (old_len == 0 || v->kind == VMA_DEVICE)
		return -EINVAL; /* duplicating is for shared memory only */
	if (!move) {
		if (len == old_len || grow_in_place(mm, v, old, old_len, len))
			return old;
		if (!(flags & MREMAP_MAYMOVE))
			return -ENOMEM;
	}
	if (!(flags & MREMAP_FIXED)) {
		to = vma_find_gap(mm, len, USER_START, mm->mmap_base, PAGE_SIZE);
		if (!to)
			return -ENOMEM;
	}
	return move_area(mm, v, old, old_len, to, len, flags);
}

/*
 * mmap_remap - resize or move a part of one area; pages keep their contents, huge pages stay huge where both addresses
 * are aligned.
 *   returns  the new address; -EINVAL, -EFAULT (not mapped, or more than one area), -ENOMEM
 *   Linux    mremap
 */
s64 mmap_remap(struct mm *mm, vaddr_t old, u64 old_len, u64 new_len, u32 flags, vaddr_t new_addr)
{
	s64 r;

	if (old_len > VM_DATA_MAX || new_len > VM_DATA_MAX)
		return new_len > VM_DATA_MAX ? -ENOMEM : -EINVAL;
	old_len = ALIGN_UP(old_len, PAGE_SIZE);
	new_len = ALIGN_UP(new_len, PAGE_SIZE);
	r = remap_check(old_len, new_len, old, flags, new_addr);
	if (r)
		return r;
	rwsem_write_lock(&mm->lock);
	r = remap_locked(mm, old, old_len, new_len, flags, new_addr);
	rwsem_write_unlock(&mm->lock);
	return r;
}

/* --- brk --- */

static bool brk_grow(struct mm *mm, vaddr_t from, vaddr_t to)
{
	u32 flags = VM_READ | VM_WRITE | VM_HEAP;

	return to <= mm->mmap_base && !first_in(mm, from, to) &&
	       !obvious_overcommit(to - from, flags) && new_area(mm, from, to, flags, "[heap]");
}

vaddr_t mmap_brk(struct mm *mm, vaddr_t brk)
{
	vaddr_t from, to;
	bool ok = true;

	rwsem_write_lock(&mm->lock);
	if (brk >= mm->brk_start && brk <= USER_END) {
		from = ALIGN_UP(mm->brk, PAGE_SIZE);
		to = ALIGN_UP(brk, PAGE_SIZE);
		if (to > from)
			ok = brk_grow(mm, from, to);
		else if (to < from)
			ok = unmap_locked(mm, to, from) == 0;
		if (ok)
			mm->brk = brk;
	}
	brk = mm->brk;
	rwsem_write_unlock(&mm->lock);
	return brk;
}

/* --- madvise --- */

/* MADV_FREE of 4 KiB entries: clean and unaccessed; a later write makes the page the task's again. */
static void free_ptes(struct vma *v, vaddr_t start, vaddr_t end, pmd_t *pmdp)
{
	struct mm *mm = v->mm;
	bool changed = false;
	pte_t *ptep;

	spin_lock(&mm->pt_lock);
	ptep = pte_ptr(pmd_read(pmdp), start);
	for (vaddr_t a = start; a < end; a += PAGE_SIZE, ptep++) {
		pte_t pte = pte_read(ptep);
		pfn_t pfn = pte_pfn(pte);

		if (!pte_present(pte) || pfn_is_zero(pfn) || pfn_in_huge(pfn) ||
			pfn_mapcount(pfn) != 1)
			continue;
		pte = pte_take(ptep);
		pte_write(ptep, (pte_t){pte.v & ~(PTE_A | PTE_D)});
		lru_deactivate_lazyfree(pfn_to_page(pfn));
		changed = true;
	}
	if (changed)
		tlb_flush(&mm->tlb, start, end, PAGE_SIZE, TLB_free);
	spin_unlock(&mm->pt_lock);
}

/* A whole huge page, mapped here alone, becomes lazily free. True: done (or not ours to free). Linux: madvise_free_huge_pmd */
static bool free_huge(struct vma *v, vaddr_t haddr, pmd_t *pmdp)
{
	struct mm *mm = v->mm;
	struct page *page;
	pmd_t pmd;

	spin_lock(&mm->pt_lock);
	pmd = pmd_read(pmdp);
	if (pmd_kind(pmd) != ENTRY_LEAF) {
		spin_unlock(&mm->pt_lock);
		return false;
	}
	page = pfn_to_page(pmd_pfn(pmd));
	if (!pfn_is_huge_zero(pmd_pfn(pmd)) && page_total_mapcount(page) == 1 && pmd_present(pmd)) {
		pmd = pmd_take(pmdp);
		pmd_write(pmdp, (pmd_t){pmd.v & ~(PTE_A | PTE_D)});
		tlb_flush(&mm->tlb, haddr, haddr + HPAGE_PMD_SIZE, HPAGE_PMD_SIZE, TLB_free);
		lru_deactivate_lazyfree(page);
	}
	spin_unlock(&mm->pt_lock);
	return true;
}

/* Only a part of a huge page: the page is split at once, so that the rest can stay. False: it could not be. */
static bool free_split(struct vma *v, pmd_t *pmdp)
{
	struct mm *mm = v->mm;
	struct page *page = NULL;
	pmd_t pmd;
	int err;

	spin_lock(&mm->pt_lock);
	pmd = pmd_read(pmdp);
	if (pmd_kind(pmd) == ENTRY_LEAF && !pfn_is_huge_zero(pmd_pfn(pmd)) &&
		page_total_mapcount(pfn_to_page(pmd_pfn(pmd))) == 1) {
		page = pfn_to_page(pmd_pfn(pmd));
		page_get(page);
	}
	spin_unlock(&mm->pt_lock);
	if (!page)
		return false;
	err = thp_split_page(page);
	page_put(page);
	return err == 0;
}

/* held: mm(write). Linux: madvise_free_single_vma */
static void free_range(struct vma *v, vaddr_t start, vaddr_t end)
{
	vaddr_t a = start, next;

	for (pmd_t *pmdp = pgtable_next_pmd(v->mm, &a, end); pmdp;
		pmdp = pgtable_next_pmd(v->mm, &a, end)) {
		bool leaf = pmd_kind(pmd_read(pmdp)) == ENTRY_LEAF;

		next = pmd_range_end(a, end);
		if (leaf && next - a == HPAGE_PMD_SIZE)
			free_huge(v, a, pmdp);
		else if (!leaf || free_split(v, pmdp))
			free_ptes(v, a, next, pmdp);
		preempt_point();
		a = next;
	}
}

/* Advice that only changes an area's flags: which, or 0. */
static bool advice_flags(int advice, u32 *set, u32 *clear)
{
	*set = *clear = 0;
	switch (advice) {
	case MADV_HUGEPAGE:
		*set = VM_HUGEPAGE;
		*clear = VM_NOHUGEPAGE;
		return true;
	case MADV_NOHUGEPAGE:
		*set = VM_NOHUGEPAGE;
		*clear = VM_HUGEPAGE;
		return true;
	case MADV_DONTFORK:
		*set = VM_DONTFORK;
		return true;
	case MADV_DOFORK:
		*clear = VM_DONTFORK;
		return true;
	case MADV_WIPEONFORK:
		*set = VM_WIPEONFORK;
		return true;
	case MADV_KEEPONFORK:
		*clear = VM_WIPEONFORK;
		return true;
	case MADV_DONTDUMP:
		*set = VM_DONTDUMP;
		return true;
	case MADV_DODUMP:
		*clear = VM_DONTDUMP;
		return true;
	case MADV_NORMAL:
	case MADV_RANDOM:
	case MADV_SEQUENTIAL:
	case MADV_WILLNEED:
		return true; /* about files and swap: nothing to note here */
	}
	return false;
}

/* held: mm(write) */
static int advise_flags(struct mm *mm, vaddr_t start, vaddr_t end, u32 set, u32 clear)
{
	struct vma *v;
	int err;

	if (!(set | clear))
		return 0;
	err = cut(mm, start, end);
	if (err)
		return err;
	for (v = first_in(mm, start, end); v; v = next_in(v, end)) {
		v->flags = (v->flags & ~clear) | set;
		if (set & VM_HUGEPAGE && thp_vma_reason(v) == THP_OK)
			thp_enter_mm(mm);
		v = vma_merge(v);
	}
	v = vma_find(mm, end);
	if (v)
		vma_merge(v);
	return 0;
}

/* DONTNEED and FREE, area by area. held: mm(write) */
static int advise_pages(struct mm *mm, vaddr_t start, vaddr_t end, int advice)
{
	for (struct vma *v = first_in(mm, start, end); v; v = next_in(v, end)) {
		vaddr_t a = MAX(start, v->start), stop = MIN(end, v->end);

		if (v->kind == VMA_DEVICE || v->flags & VM_LOCKED)
			return -EINVAL;
		if (advice == MADV_DONTNEED)
			zap_range(v, a, stop);
		else
			free_range(v, a, stop);
	}
	return 0;
}

static int advise_locked(struct mm *mm, vaddr_t start, vaddr_t end, int advice)
{
	bool holes = !no_holes(mm, start, end);
	u32 set, clear;
	int err;

	if (advice_flags(advice, &set, &clear))
		err = advise_flags(mm, start, end, set, clear);
	else
		err = advise_pages(mm, start, end, advice);
	return err     ? err
	       : holes ? -ENOMEM
		       : 0; /* what is mapped was treated all the same, as on Linux */
}

static bool advice_known(int advice)
{
	u32 set, clear;

	return advice_flags(advice, &set, &clear) || advice == MADV_DONTNEED ||
	       advice == MADV_FREE || advice == MADV_POPULATE_READ ||
	       advice == MADV_POPULATE_WRITE || advice == MADV_COLLAPSE;
}

/*
 * mmap_advise - madvise: HUGEPAGE, NOHUGEPAGE, DONTNEED, FREE, COLLAPSE, POPULATE_*, and the advice about fork.
 *   faults   grows by the faults that populating took
 *   returns  0; -EINVAL (alignment, unknown advice), -ENOMEM (a hole; what is mapped was treated), others by advice
 *   Linux    do_madvise
 */
int mmap_advise(struct mm *mm, vaddr_t addr, u64 len, int advice, u64 *faults)
{
	vaddr_t end;
	int err;

	if (!advice_known(advice) || addr & ~PAGE_MASK)
		return -EINVAL;
	end = addr + ALIGN_UP(len, PAGE_SIZE);
	if (end < addr || (len && end == addr))
		return -EINVAL;
	if (end == addr)
		return 0;
	if (advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE)
		return fault_populate(mm, addr, end, advice == MADV_POPULATE_WRITE, faults);
	if (advice == MADV_COLLAPSE)
		return collapse_advised(mm, addr, end);
	rwsem_write_lock(&mm->lock);
	err = advise_locked(mm, addr, end, advice);
	rwsem_write_unlock(&mm->lock);
	return err;
}

/* --- the rest --- */

static u8 page_resident(struct mm *mm, vaddr_t addr)
{
	pmd_t *pmdp = pgtable_find_pmd(mm, addr), pmd = pmdp ? pmd_read(pmdp) : (pmd_t){0};

	if (pmd_kind(pmd) != ENTRY_TABLE)
		return pmd_kind(pmd) == ENTRY_LEAF;
	return pte_kind(pte_read(pte_ptr(pmd, addr))) == ENTRY_LEAF;
}

int mmap_mincore(struct mm *mm, vaddr_t addr, u64 pages, u8 *vec)
{
	int err = 0;

	rwsem_read_lock(&mm->lock);
	for (u64 i = 0; i < pages && !err; i++, addr += PAGE_SIZE) {
		if (!vma_find(mm, addr))
			err = -ENOMEM;
		else
			vec[i] = page_resident(mm, addr);
	}
	rwsem_read_unlock(&mm->lock);
	return err;
}

/* mmap_set_thp_disable - prctl(PR_SET_THP_DISABLE): from now on, and in children. What is huge stays huge. 0. */
int mmap_set_thp_disable(struct mm *mm, bool disable)
{
	rwsem_write_lock(&mm->lock);
	mm->thp_disable = disable;
	rwsem_write_unlock(&mm->lock);
	return 0;
}

void mmap_exit(struct mm *mm)
{
	rwsem_write_lock(&mm->lock);
	mm->exiting = true;
	thp_exit_mm(mm);
	zap_all(mm);
	rwsem_write_unlock(&mm->lock);
	mm_free_root(mm);
}
