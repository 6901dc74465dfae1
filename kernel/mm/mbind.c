/*
 * mbind.c - a task says on which node its pages are to be                    floor 5, below: mempolicy, migrate, range
 *
 * Sets the policy of areas, and moves pages that are there already: for mbind() to where the policy wants them, for
 * move_pages() to where the caller says. What a policy does to the pages that come later is mempolicy.c's.
 *
 * IDEA      mbind(8 MiB, BIND to 1, MOVE)
 *             areas   |   A   |    -->   |A |  A: bind 1   |A|        cut, marked, merged: a policy is a flag of the area
 *             pages    0 0 1 0           0 0 1 0 -> 1 1 1 1           each that is elsewhere is migrated alone
 *
 *   A page is found by its entry, and the entry may change when no table is locked: then some other page is moved, or none,
 *   which harms nobody. So no table lock is held, and mm->lock only for reading while pages move.
 *
 * INVARIANTS  none of its own: N5 of mempolicy.c, M1 to M5 of migrate.c                    (`run numa policy`)
 * LOCKS     mm->lock (write to mark, read to move); migrate.c's
 * LINUX     mm/mempolicy.c: do_mbind, queue_pages_range; mm/migrate.c: do_pages_move, do_pages_stat.   docs/mm/numa.md
 */
#include "mm/mbind.h"

#include "mm/buddy.h"
#include "mm/migrate.h"
#include "mm/pgtable.h"
#include "mm/range.h"
#include "mm/zero.h"
#include "mutex.h"
#include "sched.h"
#include <abi/errno.h>

#define MOVES (MPOL_MF_MOVE | MPOL_MF_MOVE_ALL)

/* The leaf over addr as a value, 0: none; *end is where what it covers ends. mm->lock held. */
static u64 leaf_over(struct mm *mm, vaddr_t addr, vaddr_t *end)
{
	pmd_t pmd = pgtable_look_pmd(mm, addr);
	pte_t pte;

	*end = (addr & HPAGE_PMD_MASK) + HPAGE_PMD_SIZE;
	if (pmd_kind(pmd) != ENTRY_TABLE)
		return pmd.v; /* a hole is 0 */
	*end = (addr & PAGE_MASK) + PAGE_SIZE;
	pte = pte_read(pte_ptr(pmd, addr));
	return pte_kind(pte) == ENTRY_LEAF ? pte.v : 0;
}

/*
 * What the leaf maps: 0 and its frame; -EFAULT: nothing, or no memory of the task's. The manual of Linux has ENOENT for
 * nothing, its follow_page(FOLL_DUMP) does not.
 */
static int frame_of(u64 leaf, pfn_t *pfn)
{
	*pfn = entry_addr(leaf) >> PAGE_SHIFT;
	return !leaf || leaf & PTE_DEVICE || !pfn_valid(*pfn) ? -EFAULT : 0;
}

static bool is_zero(pfn_t pfn)
{
	return pfn_is_zero(pfn) || pfn_is_huge_zero(pfn);
}

/* Is it mapped more than once? A huge page by one entry is mapped once. */
static bool is_mapped_elsewhere(pfn_t pfn)
{
	return pfn_mapcount(pfn) > 1;
}

/* --- the policy of areas --- */

/* A page that others map stays without MPOL_MF_MOVE_ALL, and nobody is told: as on Linux. */
static bool stays(struct vma *v, vaddr_t addr, pfn_t pfn, u32 flags)
{
	unsigned order =
		pmd_kind(pgtable_look_pmd(v->mm, addr)) == ENTRY_LEAF ? HPAGE_PMD_ORDER : 0;

	if (!(flags & MPOL_MF_MOVE_ALL) && is_mapped_elsewhere(pfn))
		return false;
	return migrate_page_alone(pfn_head(pfn), mempolicy_wish(v, addr, order), false) !=
	       MIGRATED_DONE;
}

/* How many pages of one area's part are where the policy does not want them; with MOVES, after trying. mm->lock held. */
static u64 misplaced_in(struct vma *v, vaddr_t addr, vaddr_t end, u32 policy, u32 flags)
{
	u64 left = 0;
	vaddr_t next;
	pfn_t pfn;

	for (; addr < end; addr = next) {
		if (frame_of(leaf_over(v->mm, addr, &next), &pfn) || is_zero(pfn) ||
			mempolicy_allows(policy, pfn_zone(pfn)->node))
			continue;
		left += !(flags & MOVES) || stays(v, addr, pfn, flags);
		if (flags & MOVES)
			preempt_point();
	}
	return left;
}

static u64 misplaced(struct mm *mm, vaddr_t start, vaddr_t end, u32 policy, u32 flags)
{
	u64 left = 0;

	for (struct vma *v = range_first(mm, start, end); v; v = range_next(v, end))
		left += misplaced_in(v, MAX(v->start, start), MIN(v->end, end), policy, flags);
	return left;
}

/* May it be set on this range? held: mm(write) */
static int may_bind(struct mm *mm, vaddr_t start, vaddr_t end, u32 policy, u32 flags)
{
	if (policy ? range_mapped_until(mm, start, end) < end : !range_first(mm, start, end))
		return -EFAULT;
	if (flags & MPOL_MF_STRICT && !(flags & MOVES) && misplaced(mm, start, end, policy, flags))
		return -EIO;
	return range_cut(mm, start, end);
}

/* held: mm(write). Linux: mbind_range */
static int mark(struct mm *mm, vaddr_t start, vaddr_t end, u32 policy, u32 flags)
{
	int err = may_bind(mm, start, end, policy, flags);
	struct vma *v;

	if (err)
		return err;
	for (v = range_first(mm, start, end); v; v = range_next(v, end)) {
		v->flags = (v->flags & ~VM_POLICY) | policy;
		v = vma_merge(v);
	}
	v = vma_find(mm, end);
	if (v)
		vma_merge(v);
	return 0;
}

int mbind_range(struct mm *mm, vaddr_t start, u64 len, u32 policy, u32 flags)
{
	vaddr_t end = start + ALIGN_UP(len, PAGE_SIZE);
	u64 left = 0;
	int err;

	if (!policy)
		flags &= ~MPOL_MF_STRICT;
	if (start & ~PAGE_MASK || end < start || ALIGN_UP(len, PAGE_SIZE) < len)
		return -EINVAL;
	if (end == start)
		return 0;
	mempolicy_use(policy);
	rwsem_write_lock(&mm->lock);
	err = mark(mm, start, end, policy, flags);
	rwsem_write_unlock(&mm->lock);
	if (err || !(flags & MOVES))
		return err;
	rwsem_read_lock(&mm->lock);
	left = misplaced(mm, start, end, policy, flags);
	rwsem_read_unlock(&mm->lock);
	return left && flags & MPOL_MF_STRICT ? -EIO : 0;
}

int mbind_policy_at(struct mm *mm, vaddr_t addr, u32 *policy)
{
	const struct vma *v;

	rwsem_read_lock(&mm->lock);
	v = vma_find(mm, addr);
	if (v)
		*policy = v->flags & VM_POLICY;
	rwsem_read_unlock(&mm->lock);
	return v ? 0 : -EFAULT;
}

/* --- one page --- */

/* Its frame: 0, -EFAULT. mm->lock held. */
static int find_page(struct mm *mm, vaddr_t addr, pfn_t *pfn)
{
	vaddr_t end;

	return vma_find(mm, addr) ? frame_of(leaf_over(mm, addr, &end), pfn) : -EFAULT;
}

int page_node_at(struct mm *mm, vaddr_t addr, bool zero_too)
{
	pfn_t pfn;
	int result;

	rwsem_read_lock(&mm->lock);
	result = find_page(mm, addr, &pfn);
	if (!result)
		result = is_zero(pfn) && !zero_too ? -EFAULT : pfn_zone(pfn)->node;
	rwsem_read_unlock(&mm->lock);
	return result;
}

static int moved(pfn_t pfn, unsigned node, bool all)
{
	if (is_zero(pfn))
		return -EFAULT;
	if (pfn_zone(pfn)->node == node)
		return node;
	if (!all && is_mapped_elsewhere(pfn))
		return -EACCES;
	switch (migrate_page_alone(pfn_head(pfn), BUDDY_ONLY(node), false)) {
	case MIGRATED_DONE:
		return node;
	case MIGRATED_GONE:
		return -ENOENT;
	case MIGRATED_NO_MEMORY:
		return -ENOMEM;
	default:
		return -EBUSY;
	}
}

int page_move_to(struct mm *mm, vaddr_t addr, unsigned node, bool all)
{
	pfn_t pfn;
	int result;

	rwsem_read_lock(&mm->lock);
	result = find_page(mm, addr, &pfn);
	if (!result)
		result = moved(pfn, node, all);
	rwsem_read_unlock(&mm->lock);
	return result;
}
