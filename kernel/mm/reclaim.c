/*
 * reclaim.c - what can be given back without swap                     floor 5, below: thp_shrink, rmap, buddy, zero
 *
 * The door runs this when a fault found no memory, before anybody is killed; the monitor and drop_caches run the
 * shrinkers on request. There is no page cache here and no swap: what can go is what nobody would miss.
 *
 * IDEA      first what its owner gave up, then what was kept for speed:
 *
 *     MADV_FREE     entry clean | D set since: live again      the CPU says whether it was written: one bit
 *                   taken, flushed, still clean --> gone        the next read finds zeroes
 *     shrinkers     huge pages partly unmapped, huge pages mostly zero, the huge zero page, this CPU's free lists
 *
 * INVARIANT F1  a page is dropped only if no entry over it is dirty after it was taken out and flushed on every
 *               CPU: a write that was made is never lost (tests/kernel/shrink.c writes meanwhile)
 *
 * LOCKS     none held; anon->lock -> pt_lock for a page that MADV_FREE left; each shrinker takes its own
 * LINUX     mm/vmscan.c: do_try_to_free_pages, shrink_folio_list; mm/rmap.c try_to_unmap_one; drop_slab
 *           docs/mm/reclaim.md
 */
#include "mm/buddy.h"
#include "mm/lru.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/thp_split.h"
#include "mm/thp_shrink.h"
#include "mm/vma.h"
#include "mm/zero.h"
#include "mm/reclaim.h"
#include "sched.h"
#include "trace.h"
#include "vmstat.h"

#define DROP_PAGES                                                                                 \
	1024u /* of what MADV_FREE left, in one go: others may still be written and kept */

/* One page that MADV_FREE left, while its mappings are looked at. */
struct drop {
	struct page *page; /* isolated, and the caller holds a reference */
	bool live;         /* it was written, locked, or somebody else is at it: it stays */
	u64 gen;           /* the flush after the entry was taken */
};

/* Only mappings and the caller: nobody else may be writing to it. */
static bool is_only_mapped(const struct page *page)
{
	return page_refcount(page) == page_total_mapcount(page) + 1;
}

/* True: the entry is gone. pt_lock held. Linux: the lazyfree case of try_to_unmap_one */
static bool drop_pte(struct mm *mm, vaddr_t addr, struct drop *d)
{
	pfn_t pfn = page_to_pfn(d->page);
	pte_t *ptep = pgtable_find_pte(mm, addr), pte;

	if (!ptep || pte_kind(pte_read(ptep)) != ENTRY_LEAF || pte_pfn(pte_read(ptep)) != pfn)
		return false;
	pte = pte_take(ptep);
	d->gen = tlb_flush(&mm->tlb, addr, addr + PAGE_SIZE, PAGE_SIZE, TLB_free);
	if (pte_dirty(pte) || !is_only_mapped(d->page)) { /* F1 */
		pte_write(ptep, pte);
		d->live = true;
		return false;
	}
	rmap_remove_pte(pfn);
	mm_uncount(mm, 1, 0);
	return true;
}

/* Is one of the 512 entries dirty? None is writable. */
static bool any_dirty(const pte_t *ptep)
{
	u64 all = 0;

	for (unsigned i = 0; i < HPAGE_PMD_NR; i++)
		all |= pte_read(ptep + i).v;
	return all & PTE_D;
}

/*
 * The same for a huge leaf: it is split, and its 512 entries go; their table stays. A CPU may write until the write rights
 * are gone and flushed, so that comes before D is looked at for good. pt_lock held. Linux: try_to_unmap_one with
 * TTU_SPLIT_HUGE_PMD, which gives the clean ones of a page away even if others are dirty
 */
static bool drop_pmd(struct vma *v, vaddr_t addr, struct drop *d)
{
	struct mm *mm = v->mm;
	pmd_t *pmdp = pgtable_find_pmd(mm, addr);
	pte_t *ptep;

	if (!pmdp || pmd_kind(pmd_read(pmdp)) != ENTRY_LEAF ||
		pmd_pfn(pmd_read(pmdp)) != page_to_pfn(d->page))
		return false;
	d->live = pmd_dirty(pmd_read(pmdp)) || !is_only_mapped(d->page); /* F1 */
	if (d->live)
		return false;
	thp_split_pmd(v, addr, pmdp);
	ptep = pte_ptr(pmd_read(pmdp), addr);
	for (unsigned i = 0; i < HPAGE_PMD_NR; i++)
		entry_drop_write(&ptep[i].v);
	tlb_flush(&mm->tlb, addr, addr + HPAGE_PMD_SIZE, PAGE_SIZE, TLB_free);
	d->live = any_dirty(ptep);
	if (d->live) /* the next write of each finds it alone, and gets its right back */
		return false;
	for (unsigned i = 0; i < HPAGE_PMD_NR; i++) {
		pte_take(ptep + i);
		rmap_remove_pte(page_to_pfn(d->page) + i);
	}
	d->gen = tlb_flush(&mm->tlb, addr, addr + HPAGE_PMD_SIZE, PAGE_SIZE, TLB_free);
	mm_uncount(mm, HPAGE_PMD_NR, 0);
	return true;
}

static bool drop_area(struct vma *v, vaddr_t addr, void *ctx)
{
	struct drop *d = ctx;
	struct mm *mm = v->mm;
	bool gone;

	d->live = v->flags & VM_LOCKED;
	if (d->live)
		return false;
	spin_lock(&mm->pt_lock);
	gone = page_is_huge(d->page) ? drop_pmd(v, addr, d) : drop_pte(mm, addr, d);
	spin_unlock(&mm->pt_lock);
	if (gone) {
		tlb_assert_acked(&mm->tlb, d->gen);
		/* The mappings' references, not the last. */
		page_put_many(d->page, page_nr(d->page));
	}
	return !d->live;
}

/*
 * Unmap an isolated page everywhere, as long as it is clean everywhere. True: nothing maps it any more. A space where
 * it was dropped reads zeroes, also when it turns out later that another space wrote: MADV_FREE allows that.
 */
static bool drop_mappings(struct page *page)
{
	struct drop d = {.page = page};
	struct anon *anon = rmap_pin_anon(page);

	if (!anon)
		return true;
	rmap_walk(anon, page_index(page), page_nr(page), drop_area, &d);
	rmap_unpin_anon(anon);
	return !d.live && !page_total_mapcount(page);
}

/* A huge page that 4 KiB entries map: its frames become pages that go one by one. False: it could not be split. */
static bool split_lazyfree(struct page *page)
{
	lru_putback(page);
	if (thp_split_page(page) == 0)
		return true;
	if (lru_isolate(page))
		lru_revive(page);
	return false;
}

/* One page. Its 4 KiB pages if it is gone, else 0. */
static u64 drop_lazyfree(struct page *page)
{
	u64 nr = page_nr(page);

	if (page_is_huge(page) && page_pte_mappings(page)) {
		split_lazyfree(page);
		page_put(page);
		return 0;
	}
	vmstat_add(VM_nr_isolated_anon, nr);
	if (!drop_mappings(page)) {
		lru_revive(page);
		vmstat_add(VM_nr_isolated_anon, -(s64)nr);
		page_put(page);
		return 0;
	}
	vmstat_add(VM_nr_isolated_anon, -(s64)nr);
	vmstat_add(VM_pglazyfreed, nr);
	page_put(page);
	return nr;
}

u64 reclaim_lazyfree(struct page *page)
{
	if (lru_isolate(page))
		return drop_lazyfree(page);
	page_put(page);
	return 0;
}

/* What MADV_FREE left, the next to go first. Linux: shrink_inactive_list */
static u64 shrink_lazyfree(void)
{
	u64 seen = 0, dropped = 0;
	struct page *page;

	while (dropped < DROP_PAGES && (page = lru_lazyfree_take())) {
		seen++;
		dropped += drop_lazyfree(page);
		preempt_point();
	}
	if (seen)
		trace(TRACE_mm_vmscan_lru_shrink_inactive, seen, dropped, 0);
	return dropped;
}

static void shrinkers(void)
{
	u64 freed;

	thp_shrink_deferred();
	thp_shrink_underused();
	trace(TRACE_mm_shrink_slab_start, SHRINK_HUGE_ZERO, zero_huge_refs() == 1, 0);
	freed = zero_huge_shrink();
	trace(TRACE_mm_shrink_slab_end, SHRINK_HUGE_ZERO, freed != 0, 0);
	buddy_drain_pcp();
}

static u64 given_back(u64 before)
{
	u64 after = zone_free_pages();

	return after > before ? after - before : 0;
}

/*
 * reclaim_shrink - every shrinker once: queued and underused huge pages, the huge zero page if no space uses it, this
 * CPU's lists of free pages.
 *   returns  4 KiB pages that were given back to the buddy lists, where blocks can unite
 *   Linux    drop_slab
 */
u64 reclaim_shrink(void)
{
	u64 before = zone_free_pages();

	shrinkers();
	return given_back(before);
}

/*
 * reclaim_run - memory is short: what MADV_FREE left, then every shrinker.
 *   returns  as reclaim_shrink; 0: there is nothing more to give
 *   Linux    do_try_to_free_pages
 */
u64 reclaim_run(void)
{
	u64 before = zone_free_pages();

	shrink_lazyfree();
	shrinkers();
	return given_back(before);
}
