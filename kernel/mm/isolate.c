/*
 * isolate.c - free memory by place instead of by size.                                      floor 2
 *
 * The buddy hands out whatever block it likes. Here a caller says which: compaction takes the free
 * blocks at the far end of a zone; who needs more than a block of the top order in one piece takes
 * a range apart from everybody, has its pages moved away, and gets it whole. Nothing is moved here.
 *
 * IDEA
 *   one block        | used | order 3, free | used |      buddy_take_free(pfn): 8 pages of the caller
 *
 *   a range of 1 GiB, first free by chance, else in four steps of which floor 5 does the second:
 *
 *     isolate        |u..uf|f.....|u....f|ffffff|         free blocks join the list of MIGRATE_ISOLATE,
 *                                                         what is freed from now on as well
 *     (move away)    |ffffff|f.....|ffffff|ffffff|        to pages outside: nobody gets one inside
 *     take           |caller's....................|       or
 *     unisolate      |uf....|f.....|ffffff|ffffff|        each pageblock is of its former type
 *
 * INVARIANTS  I1  ranges are isolated and given back in pieces of 4 MiB (asserted): no block lies
 *                 half in one (B3, B6 of buddy_check.c)
 *             I2  nobody but buddy_take_isolated() takes a page off the list of MIGRATE_ISOLATE
 *             I3  who gives a range back leaves each pageblock with the type it had (host test; but B6 of
 *                 buddy_check.c: a whole free block of 4 MiB has one type)
 *             I4  isolated pages do not count above a watermark: zone_available_pages()
 * LOCKS       zone.lock, one zone at a time, for 4 MiB at most (taking a whole range: for all of it)
 * LINUX       mm/page_isolation.c; mm/page_alloc.c: __isolate_free_page, alloc_contig_range.
 *             docs/mm/buddy.md
 */
#include "mm/block.h"
#include "mm/buddy.h"
#include <abi/errno.h>

#define PIECE (1ul << MAX_ORDER) /* pages */

/*
 * buddy_take_free - contract in buddy.h.
 *
 *   Linux    __isolate_free_page and split_map_pages
 */
int buddy_take_free(pfn_t pfn)
{
	struct zone *z = pfn_zone(pfn);
	struct page *p = pfn_to_page(pfn);
	int order = -1;

	spin_lock(&z->lock);
	if (p->flags & PG_BUDDY && pfn_block(pfn)->migratetype != MIGRATE_ISOLATE &&
		zone_available_pages(z) >= z->watermark_min + (1ul << p->order)) {
		order = p->order;
		if (order >= (int)HPAGE_PMD_ORDER - 1 &&
			pfn_block(pfn)->migratetype != MIGRATE_MOVABLE)
			pageblock_claim(z, block_start(pfn), order, MIGRATE_MOVABLE);
		block_take_at(z, pfn, order);
	}
	spin_unlock(&z->lock);
	for (long i = 0; order >= 0 && i < 1l << order; i++)
		page_prepare(&p[i], 0, PAGE_ANON);
	return order;
}

static u64 piece_free(const struct zone *z, pfn_t start)
{
	u64 free = 0;

	for (pfn_t pfn = start; pfn < MIN(start + PIECE, z->end); pfn += HPAGE_PMD_NR)
		free += pfn_block(pfn)->nr_free;
	return free;
}

/* The pageblocks of a piece change their type, their free blocks the list. zone.lock held. */
static void piece_isolate(struct zone *z, pfn_t start)
{
	for (pfn_t pfn = start; pfn < MIN(start + PIECE, z->end); pfn += HPAGE_PMD_NR)
		pfn_block(pfn)->former = pfn_block(pfn)->migratetype;
	pageblock_claim(z, start, MAX_ORDER, MIGRATE_ISOLATE);
	z->isolated_pages += piece_free(z, start);
}

/* They are again what they were. Two that have become one block are of one type: the first one's, as in block_give(). */
static void piece_restore(struct zone *z, pfn_t start)
{
	bool whole = page_is_buddy(pfn_to_page(start), MAX_ORDER);
	unsigned order = whole ? MAX_ORDER : HPAGE_PMD_ORDER;

	z->isolated_pages -= piece_free(z, start);
	for (pfn_t pfn = start; pfn < MIN(start + PIECE, z->end); pfn += 1ul << order)
		pageblock_claim(z, pfn, order, pfn_block(pfn)->former);
}

/*
 * buddy_isolate_range - contract in buddy.h.
 *
 *   Linux    start_isolate_page_range (which looks for unmovable pages; here the caller does)
 */
int buddy_isolate_range(pfn_t start, pfn_t end)
{
	struct zone *z = pfn_zone(start);

	ASSERT_RULE("I1", IS_ALIGNED(start | end, PIECE), "pfn %#lx to %#lx", (unsigned long)start,
		(unsigned long)end);
	if (start < (z->start & ~(PIECE - 1)) || end > ALIGN_UP(z->end, PIECE))
		return -EINVAL;
	for (pfn_t pfn = start; pfn < end; pfn += PIECE) {
		bool other;

		spin_lock(&z->lock);
		other = pfn_block(pfn)->migratetype == MIGRATE_ISOLATE;
		if (!other)
			piece_isolate(z, pfn);
		spin_unlock(&z->lock);
		if (other) { /* somebody else's: two of us may want pieces that overlap */
			buddy_unisolate_range(start, pfn);
			return -EBUSY;
		}
	}
	return 0;
}

/* buddy_unisolate_range - contract in buddy.h. Linux: undo_isolate_page_range */
void buddy_unisolate_range(pfn_t start, pfn_t end)
{
	struct zone *z = pfn_zone(start);

	for (pfn_t pfn = start; pfn < end; pfn += PIECE) {
		spin_lock(&z->lock);
		piece_restore(z, pfn);
		spin_unlock(&z->lock);
	}
}

/* Is every frame of the range on the lists of the zone, in pageblocks that are (not) isolated? */
static bool range_is_free(pfn_t start, u64 pages, bool isolated)
{
	for (pfn_t pfn = start; pfn < start + pages; pfn += HPAGE_PMD_NR) {
		const struct pageblock *b = pfn_block(pfn);

		if (READ_ONCE(b->nr_free) != HPAGE_PMD_NR ||
			(READ_ONCE(b->migratetype) == MIGRATE_ISOLATE) != isolated)
			return false;
	}
	return true;
}

/* Off the lists, if it still is all free. The pageblocks are movable ones from now on. */
static bool range_take(struct zone *z, pfn_t start, u64 pages, u64 mark, bool isolated)
{
	bool ok;

	spin_lock(&z->lock);
	ok = range_is_free(start, pages, isolated) &&
	     (isolated || zone_available_pages(z) >= mark + pages);
	for (pfn_t pfn = start; ok && pfn < start + pages;) {
		unsigned order = pfn_to_page(pfn)->order;

		block_take_at(z, pfn, order);
		pfn += 1ul << order;
	}
	for (pfn_t pfn = start; ok && pfn < start + pages; pfn += HPAGE_PMD_NR)
		pfn_block(pfn)->migratetype = MIGRATE_MOVABLE;
	spin_unlock(&z->lock);
	return ok;
}

static struct page *range_prepare(pfn_t start, u64 pages, enum page_type type)
{
	for (u64 i = 0; i < pages; i += HPAGE_PMD_NR)
		buddy_prepare(pfn_to_page(start + i), HPAGE_PMD_ORDER, type);
	return pfn_to_page(start);
}

/* buddy_take_isolated - contract in buddy.h. Linux: the end of alloc_contig_range */
struct page *buddy_take_isolated(pfn_t start, unsigned order, enum page_type type)
{
	if (!range_take(pfn_zone(start), start, 1ul << order, 0, true))
		return NULL;
	return range_prepare(start, 1ul << order, type);
}

/* A free range of one zone, from above. */
static struct page *zone_alloc_contig(struct zone *z, unsigned order, enum page_type type, u64 mark)
{
	u64 pages = 1ul << order;

	for (pfn_t end = z->end & ~(pages - 1); end >= z->start + pages; end -= pages) {
		pfn_t start = end - pages;

		if (range_is_free(start, pages, false) && range_take(z, start, pages, mark, false))
			return range_prepare(start, pages, type);
	}
	return NULL;
}

/*
 * buddy_alloc_contig - contract in buddy.h.
 *
 *   Linux    alloc_contig_pages, without the migration
 */
struct page *buddy_alloc_contig(unsigned order, enum page_type type, u32 flags)
{
	const struct zonelist *list;

	if (CONFIG_INJECT && unlikely(buddy_inject_now(order)))
		return NULL;
	buddy_drain_cpu(); /* not what was cleared in advance: who wants it all asks every CPU */
	list = &zonelists[buddy_wished_node(flags)];
	for (unsigned i = 0; i < list->nr; i++) {
		struct zone *z = &zones[list->zones[i]];
		struct page *p = zone_alloc_contig(z, order, type, buddy_mark(z, flags));

		if (p)
			return p;
	}
	return NULL;
}

/* buddy_free_contig - contract in buddy.h. Linux: free_contig_range */
void buddy_free_contig(struct page *head, unsigned order)
{
	for (u64 i = 0; i < 1ul << order; i += HPAGE_PMD_NR)
		buddy_free(head + i);
}
