/*
 * zap.c - take entries away, flush, give the frames back                     floor 5, below: thp, pgtable, rmap
 *
 * Everything that removes pages from a space comes through here: munmap, MADV_DONTNEED, mremap's shrinking,
 * exit. It changes entries and frees frames; it decides nothing and leaves areas alone, except zap_area.
 *
 * IDEA      for each 2 MiB of the range:
 *
 *             pt_lock --- take the entries --- flush every CPU --- pt_unlock --- free the frames
 *                         (remember the pfns)   (before the lock     (no CPU can reach
 *                                                is let go)           them any more)
 *
 *           A huge leaf goes as one, with its deposited table; one that is only partly inside is split first.
 *
 * INVARIANT U1 no frame is given back before tlb_assert_acked(): checked at each release.
 *
 * LOCKS     mm->lock (write) -> pt_lock
 * LINUX     mm/memory.c (zap_pte_range, mmu_gather) batches over tables and frees lazily.   docs/mm/mmap.md
 */
#include "mm/buddy.h"
#include "mm/lru.h"
#include "mm/pgtable.h"
#include "mm/vma.h"
#include "mm/rmap.h"
#include "mm/thp_split.h"
#include "mm/huge_pud.h"
#include "mm/zero.h"
#include "sched.h"
#include "mm/zap.h"
#include "seeded.h"

/* How many of these frames are an object's. */
static u64 count_shared(const u32 *pfns, unsigned nr)
{
	u64 shared = 0;

	for (unsigned i = 0; i < nr; i++)
		shared += pfn_head(pfns[i])->flags & PG_SHARED ? 1 : 0;
	return shared;
}

/* The entries of [start, end), all in the table under *pmdp. */
static void zap_ptes(struct vma *v, pmd_t *pmdp, vaddr_t start, vaddr_t end)
{
	struct mm *mm = v->mm;
	u32 pfns[HPAGE_PMD_NR]; /* the frames of one table at most */
	unsigned nr = 0;
	bool found = false;
	u64 gen = 0, shared;
	pte_t *ptep;

	spin_lock(&mm->pt_lock);
	if (unlikely(pmd_kind(pmd_read(pmdp)) !=
		     ENTRY_TABLE)) { /* a huge page was withdrawn meanwhile */
		spin_unlock(&mm->pt_lock);
		return;
	}
	ptep = pte_ptr(pmd_read(pmdp), start);
	for (vaddr_t a = start; a < end; a += PAGE_SIZE, ptep++) {
		pte_t pte = pte_read(ptep);

		if (!pte.v)
			continue;
		pte = pte_take(ptep);
		found = true;
		if (pfn_is_zero(pte_pfn(pte)) || pte.v & PTE_DEVICE)
			continue;
		rmap_remove_pte(pte_pfn(pte));
		pfns[nr++] = pte_pfn(pte);
	}
	shared = v->kind == VMA_OBJECT ? count_shared(pfns, nr) : 0;
	mm_uncount(mm, nr - shared, shared);
	if (found)
		gen = tlb_flush(&mm->tlb, start, end, PAGE_SIZE, TLB_unmap);
	spin_unlock(&mm->pt_lock);

	tlb_assert_acked(&mm->tlb, gen);
	page_put_batch(pfns, nr);
}

/* A whole huge leaf, if it still is one; false: 4 KiB entries stand there. */
static bool zap_huge(struct mm *mm, vaddr_t haddr, pmd_t *pmdp)
{
	struct page *table = NULL, *page = NULL;
	pmd_t pmd;
	u64 gen;

	spin_lock(&mm->pt_lock);
	if (pmd_kind(pmd_read(pmdp)) != ENTRY_LEAF) {
		spin_unlock(&mm->pt_lock);
		return false;
	}
	pmd = pmd_take(pmdp);
	if (!(pmd.v & PTE_DEVICE)) {
		table = pgtable_withdraw(mm, pmdp);
		if (seeded(ZERO_SHRINK) && pfn_is_huge_zero(pmd_pfn(pmd))) {
			mm->has_huge_zero = false;
			zero_huge_put();
			seeded_pause();
		} else if (!pfn_is_huge_zero(pmd_pfn(pmd))) {
			page = pfn_to_page(pmd_pfn(pmd));
			rmap_remove_pmd(page);
			mm_uncount(mm, page->flags & PG_SHARED ? 0 : HPAGE_PMD_NR,
				page->flags & PG_SHARED ? HPAGE_PMD_NR : 0);
		}
	}
	gen = tlb_flush(&mm->tlb, haddr, haddr + HPAGE_PMD_SIZE, HPAGE_PMD_SIZE, TLB_unmap);
	spin_unlock(&mm->pt_lock);

	tlb_assert_acked(&mm->tlb, gen);
	if (table)
		pgtable_free_table(table);
	if (page)
		page_put(page);
	return true;
}

/* Only a part of a huge leaf goes: split it. A device leaf cannot be split; its areas are unmapped whole. */
static void split_partial(struct vma *v, vaddr_t haddr, pmd_t *pmdp)
{
	struct mm *mm = v->mm;

	spin_lock(&mm->pt_lock);
	if (pmd_kind(pmd_read(pmdp)) == ENTRY_LEAF)
		thp_split_pmd(v, haddr, pmdp);
	spin_unlock(&mm->pt_lock);
}

void zap_range(struct vma *v, vaddr_t start, vaddr_t end)
{
	struct mm *mm = v->mm;
	vaddr_t a = start, next;
	pmd_t *pmdp;

	ASSERT_RW_WRITE(&mm->lock);
	if (unlikely(mm->nr_puds))
		huge_pud_zap(v, start, end);
	for (pmdp = pgtable_next_pmd(mm, &a, end); pmdp; pmdp = pgtable_next_pmd(mm, &a, end)) {
		next = pmd_range_end(a, end);
		if (pmd_kind(pmd_read(pmdp)) == ENTRY_LEAF) {
			if (next - a == HPAGE_PMD_SIZE && zap_huge(mm, a, pmdp))
				goto done;
			split_partial(v, a & HPAGE_PMD_MASK, pmdp);
		}
		zap_ptes(v, pmdp, a, next);
	done:
		preempt_point();
		a = next;
	}
}

void zap_area(struct vma *v)
{
	struct mm *mm = v->mm;
	struct vma *below = vma_prev(v), *above = vma_next(v);
	vaddr_t floor = below ? below->end : 0, ceiling = above ? above->start : USER_END;
	vaddr_t start = v->start, end = v->end;

	zap_range(v, start, end);
	rmap_unlink(v); /* walkers of the reverse map find the area no more: its tables may go */
	vma_remove(v);
	vma_free(v);
	pgtable_free_range(mm, start, end, floor, ceiling);
}

void zap_all(struct mm *mm)
{
	struct vma *v;

	while ((v = vma_first(mm)))
		zap_area(v);
	ASSERT_RULE("ledger", mm_rss(mm) == 0 && mm->nr_tables == 0,
		"space %u is empty but counts %lu pages and %lu tables", mm->id, mm_rss(mm),
		mm->nr_tables);
	if (mm->has_huge_zero) {
		mm->has_huge_zero = false;
		zero_huge_put();
	}
}
