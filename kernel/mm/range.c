/*
 * range.c - a range of addresses and the areas in it                      floor 5, below: zap, thp, vma
 *
 * What the verbs of mmap.c, mprotect.c, mremap.c and madvise.c have in common. It changes where areas begin and end,
 * never their rights or pages, except range_unmap.
 *
 * IDEA      A verb on [start, end) makes the range's edges edges of areas, and treats whole areas:
 *
 *             |------ area ------|------ area ------|
 *                   [start             end)
 *             |--a--|------b-----|---c--|-----d-----|      only a cut can fail; b and c change, and what can unite
 *                                                          again does
 *
 *           What removes (range_unmap) makes both cuts first and fails as a whole. mprotect, madvise and mlock go from
 *           area to area, as on Linux (range_part): where the second cut fails the areas before it have changed.
 *
 * LOCKS     mm->lock (write; read for the finders) -> pt_lock
 * LINUX     mm/mmap.c: split_vma, find_vma_intersection, do_mas_munmap, vma_adjust_trans_huge   docs/mm/mmap.md
 */
#include <abi/errno.h>
#include "mm/buddy.h"
#include "mm/pgtable.h"
#include "mm/vma.h"
#include "mm/thp_split.h"
#include "mm/zap.h"
#include "mm/range.h"

/* Does addr lie inside a huge leaf? */
static bool is_inside_leaf(struct mm *mm, vaddr_t addr)
{
	pmd_t *pmdp = IS_ALIGNED(addr, HPAGE_PMD_SIZE) ? NULL : pgtable_find_pmd(mm, addr);

	return pmdp && pmd_kind(pmd_read(pmdp)) == ENTRY_LEAF;
}

/*
 * A huge leaf never belongs to two areas (T4 of pgtable.c): where addr lies inside one, split it. Linux:
 * vma_adjust_trans_huge
 */
static void cut_huge(struct vma *v, vaddr_t addr)
{
	pmd_t *pmdp;

	if (unlikely(v->mm->nr_puds) && !IS_ALIGNED(addr, HPAGE_PUD_SIZE))
		thp_split_puds(v->mm, addr, addr + 1);
	pmdp = IS_ALIGNED(addr, HPAGE_PMD_SIZE) ? NULL : pgtable_find_pmd(v->mm, addr);

	if (!pmdp || v->kind == VMA_DEVICE)
		return;
	spin_lock(&v->mm->pt_lock);
	if (pmd_kind(pmd_read(pmdp)) == ENTRY_LEAF)
		thp_split_pmd(v, addr & HPAGE_PMD_MASK, pmdp);
	spin_unlock(&v->mm->pt_lock);
}

/* Make addr an edge: split the area that has it inside. 0, -ENOMEM, or -EINVAL: a device's leaf cannot be split. */
static int cut_at(struct mm *mm, vaddr_t addr, bool unmapping)
{
	struct vma *v = vma_find(mm, addr);

	if (!v || v->start == addr)
		return 0;
	if (v->kind == VMA_DEVICE && is_inside_leaf(mm, addr))
		return -EINVAL;
	cut_huge(v, addr);
	return (unmapping ? vma_split_for_unmap(v, addr) : vma_split(v, addr)) ? 0 : -ENOMEM;
}

/*
 * range_cut - make both ends of a range edges of areas.
 *   locks    mm->lock held for writing
 *   returns  0; -ENOMEM: too many areas; -EINVAL: inside a device's huge leaf
 */
int range_cut(struct mm *mm, vaddr_t start, vaddr_t end)
{
	int err = cut_at(mm, start, false);

	return err ? err : cut_at(mm, end, false);
}

/*
 * range_part - the part of an area that lies in the range, as an area of its own.
 *   locks    mm->lock held for writing
 *   returns  that area; NULL: *err is what range_cut() refused; it may have been cut at its start
 *   Linux    split_vma, as mprotect_fixup and others call it
 */
struct vma *range_part(struct vma *v, vaddr_t start, vaddr_t end, int *err)
{
	struct mm *mm = v->mm;

	if (v->start >= start && v->end <= end)
		return v;
	start = MAX(start, v->start);
	end = MIN(end, v->end);
	*err = range_cut(mm, start, end);
	return *err ? NULL : vma_find(mm, start);
}

/* range_first - the first area that meets the range; on with range_next(). mm->lock held. */
struct vma *range_first(struct mm *mm, vaddr_t start, vaddr_t end)
{
	struct vma *v = vma_find_from(mm, start);

	return v && v->start < end ? v : NULL;
}

struct vma *range_next(struct vma *v, vaddr_t end)
{
	v = vma_next(v);
	return v && v->start < end ? v : NULL;
}

/* range_mapped_until - where the first hole of [start, end) begins; end: there is none. mm->lock held. */
vaddr_t range_mapped_until(struct mm *mm, vaddr_t start, vaddr_t end)
{
	for (struct vma *v = range_first(mm, start, end); v && v->start <= start; v = vma_next(v)) {
		start = v->end;
		if (start >= end)
			return end;
	}
	return start;
}

/*
 * range_overcommits - would `len` bytes that may be written be more than all memory there is?
 *   flags    VM_*: what is mapped with MAP_NORESERVE is never asked about
 *   Linux    __vm_enough_memory in its heuristic mode
 */
bool range_overcommits(u64 len, u32 flags)
{
	u64 pages = zone_managed_pages();

	return !(flags & VM_NORESERVE) && flags & VM_WRITE && len >> PAGE_SHIFT > pages;
}

/* range_accounted - flags of an area, with VM_ACCOUNT if it is one that Linux counts. Linux: accountable_mapping */
u32 range_accounted(u32 flags)
{
	bool counts = (flags & (VM_NORESERVE | VM_SHARED | VM_WRITE)) == VM_WRITE;

	return flags | (counts ? VM_ACCOUNT : 0);
}

/*
 * range_unmap - remove every page and area of a range.
 *   locks    mm->lock held for writing
 *   returns  0, or what range_cut() refused; nothing is removed then
 *   Linux    do_mas_munmap
 */
int range_unmap(struct mm *mm, vaddr_t start, vaddr_t end)
{
	struct vma *v = vma_find(mm, start);
	int err;

	if (v && v->start < start && end < v->end && mm->nr_vmas >= VMA_MAX)
		return -ENOMEM; /* a hole inside one area makes one more */
	err = cut_at(mm, start, true);
	if (!err)
		err = cut_at(mm, end, true);
	if (err)
		return err;
	while ((v = range_first(mm, start, end)))
		zap_area(v);
	return 0;
}
