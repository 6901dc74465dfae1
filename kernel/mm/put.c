/*
 * put.c - the last reference of a page.                                                     floor 2
 *
 * Who drops the last reference frees the page: it leaves the lists of lru.c and goes back to the
 * buddy. One page, many at once, or the 512 of a huge page that is split.
 *
 * IDEA      A task's pages mostly are neighbours. Marked in a map of their pageblock they unite by
 *           counting bits instead of buddy by buddy:
 *
 *             pfns  512 513 514 515 520      map  1111 0000 1000 ...   ->  order 2 at 512, order 0 at 520
 *
 * INVARIANTS  P1  a page that is freed has no mapping and is on no list (asserted)
 *             P2  a split gives each frame its own mappings + 1 references; they add up (asserted)
 * LOCKS     takes lru.lock, lru.deferred_lock or zone.lock, one after the other
 * LINUX     mm/swap.c: release_pages, __folio_put; mm/huge_memory.c: __split_huge_page
 */
#include "mm/block.h"
#include "mm/buddy.h"
#include "mm/lru.h"
#include "vmstat.h"

/*
 * page_free_last - the last reference is gone: off the lists of lru.c, then back to the buddy.
 *
 *   locks    takes lru.lock, lru.deferred_lock or zone.lock, one after the other
 *   Linux    __folio_put
 */
void page_free_last(struct page *head)
{
	if (head->flags) {
		lru_deferred_del(head);
		lru_del(head);
		head->flags &= ~PG_SHARED;
	}
	buddy_free(head);
}

/* ---- freeing many at once ---- */

#define BATCH_MIN 16 /* fewer than this go by the per-CPU lists */

/* A base page of ring 3 in the usual state: order and type as one word. */
static __always_inline bool page_is_base_anon(const struct page *p)
{
	u16 word;

	__builtin_memcpy(&word, &p->order, sizeof(word));
	return word == PAGE_ANON << 8;
}
_Static_assert(offsetof(struct page, type) == offsetof(struct page, order) + 1, "one word");

/* Drops one reference of each. Base pages that became free stay in pfns[]; returns how many, and their flags. */
static unsigned drop_references(u32 *pfns, unsigned nr, u8 *flags)
{
	unsigned freed = 0;
	u8 seen = 0;

	for (unsigned i = 0; i < nr; i++) {
		pfn_t pfn = pfns[i];
		struct page *head = pfn_to_page(pfn);

		if (unlikely(pfn_in_huge(pfn)))
			head = pfn_head(pfn);
		if (__atomic_sub_fetch(&head->refcount, 1, __ATOMIC_ACQ_REL) > 0)
			continue;
		if (likely(page_is_base_anon(head))) {
			pfns[freed++] = pfn;
			seen |= head->flags;
		} else {
			page_free_last(head);
		}
	}
	*flags = seen;
	return freed;
}

/*
 * page_free_batch - free base pages, neighbours together.
 *
 *   pfns     `nr` of them: the caller's reference is the only one (or none is left), no mapping, no list
 *   locks    takes zone.lock for each pageblock
 */
void page_free_batch(const u32 *pfns, unsigned nr)
{
	u64 map[HPAGE_PMD_NR / 64] = {0};
	pfn_t block = pfns[0] >> HPAGE_PMD_ORDER;

	vmstat_add(VM_pgfree, nr);
	for (const u32 *end = pfns + nr; pfns < end; pfns++) {
		pfn_t pfn = *pfns;
		struct page *p = pfn_to_page(pfn);

		if (unlikely(p->refcount > 1 || p->mapcount || !page_is_base_anon(p)))
			buddy_free_refused(p);
		if (unlikely(pfn >> HPAGE_PMD_ORDER != block)) {
			block_give_map(block << HPAGE_PMD_ORDER, map);
			block = pfn >> HPAGE_PMD_ORDER;
		}
		p->refcount = 0;
		p->type = PAGE_FREE;
		p->flags = 0;
		map[pfn / 64 % (HPAGE_PMD_NR / 64)] |= 1ul << pfn % 64;
	}
	block_give_map(block << HPAGE_PMD_ORDER, map);
}

/*
 * page_put_batch - drop one reference of each page; what nobody references any more is freed, neighbours together.
 *
 *   pfns     `nr` frames, base pages or frames of huge pages; overwritten
 *   locks    takes lru.lock, then zone.lock for each pageblock
 *   Linux    free_pages_and_swap_cache, release_pages; there pages go one by one to the per-CPU lists
 */
void page_put_batch(u32 *pfns, unsigned nr)
{
	u8 flags;

	nr = drop_references(pfns, nr, &flags);
	if (flags)
		lru_del_many(pfns, nr);
	if (nr >= BATCH_MIN) {
		page_free_batch(pfns, nr);
		return;
	}
	for (unsigned i = 0; i < nr; i++)
		buddy_free(pfn_to_page(pfns[i]));
}

/*
 * buddy_split_huge - one huge page becomes 512 base pages of the same anon object.
 *
 *   locks    whatever keeps others from mapping or unmapping it (anon lock and pt_locks); no pmd
 *            maps it, and all references are its pte mappings and the caller's one
 *   after    each frame is ANON, its refcount its own mappings + 1: that one is the caller's, who
 *            drops all 512 with page_put(); frames that nobody maps go by that. None of them is on
 *            the LRU
 *   Linux    __split_huge_page
 */
void buddy_split_huge(struct page *head)
{
	pfn_t pfn = page_to_pfn(head);
	u64 index = page_index(head), private = head->private;
	u64 mappings = page_pte_mappings(head);

	ASSERT_RULE("split", page_is_huge(head) && !page_pmd_mapcount(head),
		"pfn %#lx (%s) has %u pmd mappings", (unsigned long)pfn, page_type_name(head->type),
		page_pmd_mapcount(head));
	ASSERT_RULE("split", page_refcount(head) == mappings + 1,
		"pfn %#lx: %u references, %lu mappings", (unsigned long)pfn, page_refcount(head),
		(unsigned long)mappings);
	lru_deferred_del(head);
	lru_del(head);
	for (u64 i = 0; i < HPAGE_PMD_NR; i++) {
		struct page *p = &head[i];

		mappings -= p->mapcount;
		page_prepare(p, 0, PAGE_ANON);
		p->refcount = p->mapcount + 1;
		p->private = private;
		page_set_index(p, index + i);
	}
	ASSERT_RULE("split", mappings == 0, "pfn %#lx: %ld pte mappings on no frame",
		(unsigned long)pfn, (long)mappings);
	DCHECK(!(pfn_block(pfn)->flags & PB_PUD));
	pfn_block(pfn)->flags &= ~PB_HUGE;
	pfn_block(pfn)->generation++;
}
