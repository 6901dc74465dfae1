/*
 * contig.c - memory in one piece above the largest block      floor 5, below: migrate, isolate
 *
 * The buddy's largest block is 4 MiB, and after a while hardly two of them lie side by side. A gigabyte has to be made:
 * some range that holds nothing but free and movable pages is set apart, and what is in it moves out.
 *
 * IDEA
 *     look      |u..uf|f.K...|  a page of the kernel: not this one        |u..uf|u.....|  this one
 *     isolate   nobody is given a page of it any more, whoever frees one (isolate.c); 4 MiB at a time
 *     move      u --> somewhere else, with its mappings (migrate.c); twice, for what was in somebody's hand
 *     drain     every CPU gives back what its own lists hold of it
 *     take      all free: it is ours.    not all: unisolate, and look further
 *
 *   Of the ranges that can be emptied the one with the least in use comes first: least is copied, and if even that one
 *   cannot be made, little was spent. A huge page for which there is no block elsewhere is split, and
 *   its pages move one by one.
 *
 *   NOBODY STANDS STILL. A list of pages that belongs to a CPU has no lock, so only that CPU can give back what
 *   is on it; but it needs no partner for that, only a moment at its scheduler: sched_on_each_cpu(). Isolated before, what is
 *   given back stays free, so it does not matter that the others go on allocating at once.
 *
 * INVARIANTS  C1  a range that was isolated here is taken or given back before we return: zone.isolated_pages is
 *                 what it was (ktest contig, buddy_check() B8)
 * LOCKS     none of its own; zone.lock and migrate.c's, one after the other
 * LINUX     mm/page_alloc.c: alloc_contig_pages, alloc_contig_range; it takes the first range that will do.
 *           docs/mm/buddy.md
 */
#include "mm/contig.h"

#include "mm/buddy.h"
#include "mm/migrate.h"
#include "sched.h"
#include "vmstat.h"

#define PASSES 2

/* In use, and migrate.c would take it: on the LRU, referenced by its mappings only. No lock: a hint. */
static bool is_movable(const struct page *head)
{
	return (head->type == PAGE_ANON || head->type == PAGE_ANON_HUGE) &&
	       (READ_ONCE(head->flags) & (PG_LRU | PG_SHARED)) == PG_LRU &&
	       page_refcount(head) == page_total_mapcount(head);
}

/* How many frames from here on are no obstacle, seen at one look; 0: this one is. No lock: a hint. */
static u64 look_at(pfn_t pfn)
{
	const struct page *p = pfn_to_page(pfn);
	bool whole = IS_ALIGNED(pfn, HPAGE_PMD_NR);

	if (whole && READ_ONCE(pfn_block(pfn)->nr_free) == HPAGE_PMD_NR)
		return HPAGE_PMD_NR;
	if (pfn_in_huge(pfn))
		return whole && !(pfn_block(pfn)->flags & PB_PUD) && is_movable(p) ? HPAGE_PMD_NR
										   : 0;
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

/* --- which range first --- */

struct range {
	pfn_t start;
	u64 used; /* frames of it that are not free */
};

static u64 count_used(pfn_t start, pfn_t end)
{
	u64 used = 0;

	for (pfn_t pfn = start; pfn < end; pfn += HPAGE_PMD_NR)
		used += HPAGE_PMD_NR - READ_ONCE(pfn_block(pfn)->nr_free);
	return used;
}

/* What there is for all who want some, above the low watermarks. */
static u64 pages_to_spare(void)
{
	u64 spare = 0;

	for_each_zone (z) {
		u64 available = zone_available_pages(z);

		spare += available > z->watermark_low ? available - z->watermark_low : 0;
	}
	return spare;
}

/* Do the pages in use there fit elsewhere, with the watermarks kept? A hint. */
static bool has_room(const struct range *r, u64 pages)
{
	u64 spare = pages_to_spare(), inside = pages - r->used;

	return spare > inside && spare - inside > r->used;
}

static bool comes_before(const struct range *a, const struct range *b)
{
	return a->used < b->used || (a->used == b->used && a->start > b->start);
}

/*
 * The next range in the order of what is in use in it, from above where that is equal, behind `last`. Counts change meanwhile: a
 * range may be met twice, or not at all; the last one never comes again, so it ends. False: that was all.
 */
static bool next_range(
	const struct zone *z, u64 pages, const struct range *last, struct range *next)
{
	bool found = false;

	for (pfn_t end = z->end & ~(pages - 1); end >= z->start + pages; end -= pages) {
		struct range r = {end - pages, count_used(end - pages, end)};

		if (!comes_before(last, &r) || (found && !comes_before(&r, next)))
			continue;
		*next = r;
		found = true;
	}
	return found;
}

/* --- one range --- */

/* What is in use in there moves out, as far as it can; for nobody if the thread is killed. */
static void move_out(pfn_t start, pfn_t end)
{
	pfn_t pfn = start;

	while (pfn < end && !thread_killed()) {
		struct page *p = pfn_to_page(pfn);
		int free = pfn_free_order(pfn);

		if (IS_ALIGNED(pfn, HPAGE_PMD_NR) && page_is_huge(p)) {
			/* If it came apart, it is met once more, page by page. */
			if (migrate_page_alone(p, 0, true) != MIGRATED_SPLIT)
				pfn += HPAGE_PMD_NR;
		} else if (free >= 0) {
			pfn += 1ul << free;
		} else {
			if (is_movable(p))
				(void)migrate_page_alone(p, 0, true);
			pfn++;
		}
		preempt_point();
	}
}

static struct page *take_range(pfn_t start, unsigned order, enum page_type type)
{
	pfn_t end = start + (1ul << order);
	struct page *first = NULL;

	if (buddy_isolate_range(start, end))
		return NULL;
	for (unsigned pass = 0; pass < PASSES && !first; pass++) {
		move_out(start, end);
		sched_on_each_cpu(buddy_drain_pcp);
		first = buddy_take_isolated(start, order, type);
	}
	if (!first)
		buddy_unisolate_range(start, end);
	return first;
}

static struct page *zone_contig_alloc(const struct zone *z, unsigned order, enum page_type type)
{
	struct range last = {~0ul, 0}, next = last;
	u64 pages = 1ul << order;
	struct page *first = NULL;

	for (; !first && !thread_killed() && next_range(z, pages, &last, &next); last = next)
		if (has_room(&next, pages) && can_be_emptied(next.start, next.start + pages))
			first = take_range(next.start, order, type);
	return first;
}

struct page *contig_alloc(unsigned order, enum page_type type)
{
	const struct zonelist *list = &zonelists[this_cpu()->node];
	struct page *first;

	/* One page on a CPU's list keeps a range from being whole. */
	sched_on_each_cpu(buddy_drain_pcp);
	first = buddy_alloc_contig(order, type, 0);
	for (unsigned i = 0; i < list->nr && !first; i++)
		first = zone_contig_alloc(&zones[list->zones[i]], order, type);
	if (first)
		vmstat_inc(VM_contig_alloc_success);
	else
		vmstat_inc(VM_contig_alloc_fail);
	return first;
}
