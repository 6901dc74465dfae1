/*
 * contig.c - memory in one piece above the largest block         floor 5, below: migrate, isolate
 *
 * The buddy's largest block is 4 MiB, and after a while hardly two of them lie side by side. A gigabyte has to be made:
 * some range that holds nothing but free and movable pages is set apart, and what is in it moves out.
 *
 * IDEA
 *     look      |u..uf|f.K...|  a page of the kernel: not this one        |u..uf|u.....|  this one
 *     isolate   nobody is given a page of it any more, whoever frees one (isolate.c)
 *     move      u --> somewhere else, with its mappings (migrate.c); twice, for what was in somebody's hand
 *     drain     every CPU's own list gives back what it holds of it
 *     take      all free: it is ours.    not all: unisolate, and look further
 *
 * INVARIANTS  C1  a range that was isolated here is taken or given back before we return: zone.isolated_pages is
 *                 what it was (ktest contig, buddy_check() B8)
 * LOCKS     none of its own; zone.lock and migrate.c's, one after the other
 * LINUX     mm/page_alloc.c: alloc_contig_pages, alloc_contig_range.        docs/mm/buddy.md
 */
#include "mm/contig.h"

#include "mm/buddy.h"
#include "mm/migrate.h"
#include "sched.h"

#define PASSES 2

static bool is_movable(const struct page *p)
{
	return p->type == PAGE_ANON && !(p->flags & PG_SHARED);
}

/* How many frames from here on are no obstacle, seen at one look; 0: this one is. No lock: a hint. */
static u64 look_at(pfn_t pfn)
{
	const struct page *p = pfn_to_page(pfn);
	bool whole = IS_ALIGNED(pfn, HPAGE_PMD_NR);

	if (whole && READ_ONCE(pfn_block(pfn)->nr_free) == HPAGE_PMD_NR)
		return HPAGE_PMD_NR;
	if (pfn_in_huge(pfn))
		return whole && !(pfn_block(pfn)->flags & PB_PUD) ? HPAGE_PMD_NR : 0;
	return p->type == PAGE_FREE || is_movable(p);
}

static bool can_be_emptied(pfn_t start, pfn_t end)
{
	u64 step;

	for (pfn_t pfn = start; pfn < end; pfn += step) {
		step = look_at(pfn);
		if (!step)
			return false;
		if (IS_ALIGNED(pfn, HPAGE_PMD_NR))
			preempt_point();
	}
	return true;
}

/* Do the pages in use there fit elsewhere, with the watermarks kept? A hint. */
static bool has_room(pfn_t start, pfn_t end)
{
	u64 inside = 0, available = 0;

	for (pfn_t pfn = start; pfn < end; pfn += HPAGE_PMD_NR)
		inside += READ_ONCE(pfn_block(pfn)->nr_free);
	for_each_zone (z) {
		u64 free = zone_available_pages(z);

		available += free > z->watermark_low ? free - z->watermark_low : 0;
	}
	return available > inside && available - inside > end - start - inside;
}

/* What is in use in there moves out, as far as it can; for nobody if the thread is killed. */
static void move_out(pfn_t start, pfn_t end)
{
	pfn_t pfn = start;

	while (pfn < end && !thread_killed()) {
		struct page *p = pfn_to_page(pfn);
		int free = pfn_free_order(pfn);

		if (pfn_in_huge(pfn)) {
			(void)migrate_page_alone(pfn_head(pfn), 0);
			pfn = (pfn | (HPAGE_PMD_NR - 1)) + 1;
		} else if (free >= 0) {
			pfn += 1ul << free;
		} else {
			if (is_movable(p))
				(void)migrate_page_alone(p, 0);
			pfn++;
		}
		preempt_point();
	}
}

static void drain(void *arg)
{
	(void)arg;
	buddy_drain_all_pcp();
}

static struct page *take_range(pfn_t start, unsigned order, enum page_type type)
{
	pfn_t end = start + (1ul << order);
	struct page *first = NULL;

	if (buddy_isolate_range(start, end))
		return NULL;
	for (unsigned pass = 0; pass < PASSES && !first; pass++) {
		move_out(start, end);
		sched_stop_others(drain, NULL);
		first = buddy_take_isolated(start, order, type);
	}
	if (!first)
		buddy_unisolate_range(start, end);
	return first;
}

struct page *contig_alloc(unsigned order, enum page_type type)
{
	const struct zonelist *list = &zonelists[this_cpu()->node];
	u64 pages = 1ul << order;
	struct page *first = buddy_alloc_contig(order, type, 0);

	for (unsigned i = 0; i < list->nr && !first; i++) {
		const struct zone *z = &zones[list->zones[i]];
		pfn_t end = z->end & ~(pages - 1);

		for (; end >= z->start + pages && !first && !thread_killed(); end -= pages)
			if (can_be_emptied(end - pages, end) && has_room(end - pages, end))
				first = take_range(end - pages, order, type);
	}
	return first;
}
