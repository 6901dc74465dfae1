/*
 * madvise.c - what a task says about its memory                          floor 5, below: range, fault, collapse, zap, thp
 *
 * Advice either marks areas (HUGEPAGE, NOHUGEPAGE, fork and dump), drops pages now (DONTNEED) or later (FREE), brings
 * them in (POPULATE_*) or makes them huge (COLLAPSE). Unknown advice is refused.
 *
 * IDEA      holes in the range: what is mapped is treated all the same, then -ENOMEM, as on Linux.
 *           MADV_FREE makes entries clean; a page that is still clean when memory is wanted may go. A huge page that
 *           lies only partly in the range is split at once, so that the rest can stay.
 *
 * LOCKS     mm->lock (write; POPULATE and COLLAPSE take it themselves) -> anon lock -> pt_lock
 * LINUX     mm/madvise.c                                                            docs/mm/mmap.md
 */
#include <abi/errno.h>
#include "mm/buddy.h"
#include "mm/lru.h"
#include "mm/zero.h"
#include "mm/pgtable.h"
#include "mm/vma.h"
#include "mutex.h"
#include "sched.h"
#include "mm/thp.h"
#include "mm/zap.h"
#include "mm/collapse.h"
#include "mm/memory.h"
#include "mm/fault.h"
#include "mm/range.h"
#include "mm/mmap.h"

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
	err = range_cut(mm, start, end);
	if (err)
		return err;
	for (v = range_first(mm, start, end); v; v = range_next(v, end)) {
		if (set & VM_WIPEONFORK && v->kind != VMA_ANON)
			return -EINVAL;
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

/* REMOVE: the pages leave the object itself. A pager's object is the pager's to punch. Linux: madvise_remove */
static int remove_pages(struct vma *v, vaddr_t start, vaddr_t stop)
{
	if (v->kind != VMA_OBJECT)
		return -EINVAL;
	if ((v->flags & (VM_SHARED | VM_WRITE)) != (VM_SHARED | VM_WRITE))
		return -EACCES;
	if (vma_memory(v)->pager)
		return -EINVAL;
	return memory_withdraw(vma_memory(v), vma_index(v, start) << PAGE_SHIFT, stop - start);
}

/* held: mm(write) */
static int advise_area(struct vma *v, vaddr_t start, vaddr_t stop, int advice)
{
	if (v->kind == VMA_DEVICE || v->flags & VM_LOCKED)
		return -EINVAL;
	if (advice == MADV_COLD || advice == MADV_PAGEOUT)
		return 0; /* there is nowhere to bring pages: as on a Linux without swap, all of them stay */
	if (advice == MADV_REMOVE)
		return remove_pages(v, start, stop);
	if (advice == MADV_DONTNEED)
		zap_range(v, start, stop);
	else if (v->kind == VMA_ANON)
		free_range(v, start, stop);
	else
		return -EINVAL;
	return 0;
}

/* DONTNEED, FREE, REMOVE, COLD and PAGEOUT, area by area. held: mm(write) */
static int advise_pages(struct mm *mm, vaddr_t start, vaddr_t end, int advice)
{
	for (struct vma *v = range_first(mm, start, end); v; v = range_next(v, end)) {
		vaddr_t a = MAX(start, v->start), stop = MIN(end, v->end);

		int err = advise_area(v, a, stop, advice);

		if (err)
			return err;
	}
	return 0;
}

static int advise_locked(struct mm *mm, vaddr_t start, vaddr_t end, int advice)
{
	bool holes = range_mapped_until(mm, start, end) < end;
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
	       advice == MADV_FREE || advice == MADV_REMOVE || advice == MADV_COLD ||
	       advice == MADV_PAGEOUT || advice == MADV_POPULATE_READ ||
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
