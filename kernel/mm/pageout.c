/*
 * pageout.c - pages that their owner can do without                       floor 5, below: reclaim, thp, pgtable, lru
 *
 * MADV_FREE, MADV_COLD and MADV_PAGEOUT mark entries and move pages on the LRU; it is reclaim.c that drops any.
 *
 * IDEA      only pages that this mapping alone has are touched: what others use is not ours to give up. But FREE of a small
 *           page that others map too is this mapping's word: the page goes when all have said it, for each has a D bit.
 *
 *                    entry                 page                       a huge page wholly in the range
 *     FREE           clean, not accessed   next to go, PG_LAZYFREE    the same, as one
 *     COLD           not accessed          inactive                   the same, as one
 *     PAGEOUT        not accessed          goes if lazily free and    split: there is no swap to take it whole, and
 *                                          clean; else it stays       none to take its pages either
 *
 *           A huge page of which only a part lies in the range, or that is mapped by 4 KiB entries, is split first: so
 *           that the rest can stay. Memory without access (a NUMA hint, PROT_NONE) is treated alike; a page that is being
 *           moved is passed over. One that cannot be split ends the work on its 2 MiB, as on Linux.
 *
 * LOCKS     mm->lock (write) -> anon lock -> pt_lock -> lru
 * LINUX     mm/madvise.c: madvise_free_pte_range, madvise_cold_or_pageout_pte_range; mm/vmscan.c reclaim_pages
 *           docs/mm/reclaim.md
 */
#include "mm/pageout.h"
#include "mm/buddy.h"
#include "mm/lru.h"
#include "mm/pgtable.h"
#include "mm/reclaim.h"
#include "mm/rmap.h"
#include "mm/thp_split.h"
#include "mm/vma.h"
#include "mm/zero.h"
#include "sched.h"
#include "vmstat.h"
#include <abi/advice.h>

/*
 * A reference on the huge page behind a leaf that alone maps it; NULL: not ours to touch. Who else maps it is judged as on
 * Linux: by the frame that is meant; for FREE by all mappings of a huge leaf, or else by the first frame's. pt_lock held.
 */
static struct page *huge_alone(pfn_t pfn, u64 entry, int advice, bool leaf)
{
	struct page *head;
	u64 mappings;

	if (entry_migrating(entry) || entry & PTE_DEVICE || !pfn_in_huge(pfn))
		return NULL;
	head = pfn_head(pfn);
	if (!page_is_huge(head) || head->flags & PG_SHARED)
		return NULL;
	if (advice == MADV_FREE)
		mappings = leaf ? page_total_mapcount(head) : pfn_mapcount(page_to_pfn(head));
	else
		mappings = pfn_mapcount(pfn);
	if (mappings != 1)
		return NULL;
	page_get(head);
	return head;
}

/* Drops the reference. True: it is 512 pages now. No spinlock held. */
static bool split_put(struct page *head)
{
	bool split = thp_split_page(head) == 0;

	page_put(head);
	return split;
}

/* --- one entry of 4 KiB ------------------------------------------------------------------------- */

static void age_page(struct page *page, int advice)
{
	if (advice == MADV_FREE)
		lru_deactivate_lazyfree(page);
	else if (advice == MADV_COLD)
		lru_deactivate(page);
}

/* What of an entry goes: with MADV_FREE a later write must be seen. */
static u64 aged_bits(int advice)
{
	return advice == MADV_FREE ? PTE_A | PTE_D : PTE_A;
}

/* One table's worth of work. */
struct ageing {
	struct vma *v;
	int advice;
	bool changed;      /* entries were: flush */
	struct page *huge; /* a huge page stands in the way; with a reference */
	unsigned nr;       /* lazily free pages to be dropped; each with a reference */
	u32 pfns[HPAGE_PMD_NR];
};

/* False: a huge page is mapped there by 4 KiB entries, and it is ours alone or nobody's to touch. pt_lock held. */
static bool age_pte(struct ageing *g, pte_t *ptep)
{
	pte_t pte = pte_read(ptep);
	pfn_t pfn = pte_pfn(pte);
	u64 bits = aged_bits(g->advice);

	if (pte_kind(pte) != ENTRY_LEAF || entry_migrating(pte.v) || pte.v & PTE_DEVICE ||
		pfn_is_zero(pfn) || pfn_is_huge_zero(pfn))
		return true;
	if (pfn_in_huge(pfn)) {
		g->huge = huge_alone(pfn, pte.v, g->advice, false);
		return false;
	}
	if ((pfn_mapcount(pfn) != 1 && g->advice != MADV_FREE) ||
		pfn_to_page(pfn)->flags & PG_SHARED)
		return true;
	if (pte.v & bits) {
		pte = pte_take(ptep);
		pte_write(ptep, (pte_t){pte.v & ~bits});
		g->changed = true;
	}
	age_page(pfn_to_page(pfn), g->advice);
	if (g->advice == MADV_PAGEOUT && pfn_to_page(pfn)->flags & PG_LAZYFREE) {
		page_get(pfn_to_page(pfn));
		g->pfns[g->nr++] = pfn;
	}
	return true;
}

/* As far as the first huge page; where that is, or end. */
static vaddr_t age_ptes(struct ageing *g, vaddr_t start, vaddr_t end, pmd_t *pmdp)
{
	struct mm *mm = g->v->mm;
	vaddr_t a = start;
	pte_t *ptep;

	g->changed = false;
	g->huge = NULL;
	g->nr = 0;
	spin_lock(&mm->pt_lock);
	if (pmd_kind(pmd_read(pmdp)) != ENTRY_TABLE) {
		spin_unlock(&mm->pt_lock);
		return end;
	}
	ptep = pte_ptr(pmd_read(pmdp), start);
	while (a < end && age_pte(g, ptep)) {
		a += PAGE_SIZE;
		ptep++;
	}
	if (g->changed)
		tlb_flush(&mm->tlb, start, end, PAGE_SIZE, TLB_free);
	spin_unlock(&mm->pt_lock);
	for (unsigned i = 0; i < g->nr; i++)
		reclaim_lazyfree(pfn_to_page(g->pfns[i]));
	return a;
}

/* A table, huge pages in it split on the way; one that cannot be ends it. */
static void age_table(struct vma *v, vaddr_t start, vaddr_t end, pmd_t *pmdp, int advice)
{
	struct ageing g = {.v = v, .advice = advice};

	while ((start = age_ptes(&g, start, end, pmdp)) < end) {
		if (!g.huge || !split_put(g.huge))
			return;
	}
}

/* --- one huge leaf -------------------------------------------------------------------------------- */

/* The whole of it is meant. pt_lock held, and a reference on the page. */
static void age_huge(struct vma *v, vaddr_t haddr, pmd_t *pmdp, struct page *head, int advice)
{
	u64 bits = aged_bits(advice);
	pmd_t pmd = pmd_read(pmdp);

	if (pmd.v & bits) {
		pmd = pmd_take(pmdp);
		pmd_write(pmdp, (pmd_t){pmd.v & ~bits});
		tlb_flush(&v->mm->tlb, haddr, haddr + HPAGE_PMD_SIZE, HPAGE_PMD_SIZE, TLB_free);
	}
	age_page(head, advice);
}

/* No swap takes it whole, so it is split to be swapped page by page, which no swap takes either. */
static void pageout_huge(struct page *head)
{
	if (head->flags & PG_LAZYFREE)
		reclaim_lazyfree(head);
	else if (split_put(head))
		vmstat_inc(VM_thp_swpout_fallback);
}

/* True: 4 KiB entries stand there now, and it is their turn. */
static bool age_leaf(struct vma *v, vaddr_t start, vaddr_t end, pmd_t *pmdp, int advice)
{
	struct mm *mm = v->mm;
	bool whole = end - start == HPAGE_PMD_SIZE;
	struct page *head = NULL;
	pmd_t pmd;

	spin_lock(&mm->pt_lock);
	pmd = pmd_read(pmdp);
	if (pmd_kind(pmd) != ENTRY_LEAF) {
		spin_unlock(&mm->pt_lock);
		return true;
	}
	if (!pfn_is_huge_zero(pmd_pfn(pmd)))
		head = huge_alone(pmd_pfn(pmd), pmd.v, advice, true);
	if (head && whole)
		age_huge(v, start, pmdp, head, advice);
	spin_unlock(&mm->pt_lock);
	if (!head)
		return false;
	if (!whole)
		return split_put(head);
	if (advice == MADV_PAGEOUT)
		pageout_huge(head);
	else
		page_put(head);
	return false;
}

void pageout_range(struct vma *v, vaddr_t start, vaddr_t end, int advice)
{
	vaddr_t a = start, next;

	thp_split_puds(v->mm, start, end);
	for (pmd_t *pmdp = pgtable_next_pmd(v->mm, &a, end); pmdp;
		pmdp = pgtable_next_pmd(v->mm, &a, end)) {
		next = pmd_range_end(a, end);
		if (pmd_kind(pmd_read(pmdp)) != ENTRY_LEAF || age_leaf(v, a, next, pmdp, advice))
			age_table(v, a, next, pmdp, advice);
		preempt_point();
		a = next;
	}
}
