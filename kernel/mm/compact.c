/*
 * compact.c - free pages are brought together by moving used ones              floor 5, below: migrate, buddy, lru
 *
 * There are free pages enough, but no two of them side by side. Two scanners walk through a zone towards each other; used pages
 * that the one finds are moved to free pages that the other finds. It decides which pages, where to, and when it is not
 * worth it; how a page moves is migrate.c's business, who asks is thp.c's, collapse.c's and kcompactd's.
 *
 * IDEA
 *      zone start                                                          zone end
 *      |U.U.....|..U..K..|.U......|........|U..U....|...U.U.U|UUU.UUUU|
 *       migrate scanner -->                            <-- free scanner
 *      |........|..U..K..|........|........|U..U....|U..U.U.U|UUUUUUUU|
 *       free now   K: a kernel page never moves: its block is left alone
 *
 *   One step: up to 32 used pages of one pageblock are isolated, then moved one by one. A pageblock in which something cannot
 *   move can never be free as a whole; who wants one block of order 9 goes on with the next one. After each pageblock
 *   it looks whether such a block is there, and stops at once.
 *
 *   async   skips pageblocks of other types, and pages whose locks are taken       a fault's first try
 *   sync    waits for locks, goes through pageblocks of every type                its second; kcompactd; compact_memory
 *
 *   A zone that failed is left alone for the next 1, 2, 4 .. 64 tries (deferral). A zone with too few free pages is
 *   skipped: there is nothing to move to. So is one where fragmentation is not the reason (extfrag_index).
 *
 * INVARIANTS (asserted)
 *   X1  a page is moved upwards only: from below the migrate scanner's end to above the free scanner's, so a pass ends
 *   X2  what was isolated and did not move is on the LRU again before the next preempt_point()
 *   X3  free pages that were taken and not used go back when the pass ends: the ledger is exact
 *
 * LOCKS     none of its own. zone.lock (taking free blocks), lru.lock (isolating, once for 32 pages), migrate.c's. The scanners'
 *           places are hints, read and written without a lock: two passes at once do no harm
 * LINUX     mm/compaction.c: marks on pageblocks where nothing was found, a free scanner that searches the lists, capture of
 *           the block for the one who waits; per-node daemons.                      docs/mm/compaction.md
 */
#include "mm/compact.h"

#include "mm/buddy.h"
#include "mm/lru.h"
#include "trace.h"
#include "vmstat.h"

#define COMPACT_CLUSTER 32  /* pages isolated together. Linux: COMPACT_CLUSTER_MAX */
#define GONE_MAX        256 /* frames that became free, given back together */
#define DEFER_SHIFT_MAX 6
#define WHOLE_ZONE      -1 /* no order: go on to the end */

struct compact_settings compact_settings = {
	.proactiveness = 20,
	.unevictable_allowed = 1,
	.extfrag_threshold = 500,
};

struct compact_node compact_nodes[MAX_NODES];

static struct compact_zone_state states[ARRAY_SIZE(zones)];

static const char *const result_names[] = {
#define X(name, text) #name,
	COMPACT_RESULTS(X)
#undef X
};

static const char *const result_texts[] = {
#define X(name, text) text,
	COMPACT_RESULTS(X)
#undef X
};

const char *compact_result_name(enum compact_result r)
{
	return result_names[r];
}

const char *compact_result_text(enum compact_result r)
{
	return result_texts[r];
}

static inline struct compact_zone_state *state_of(const struct zone *z)
{
	return &states[z - zones];
}

struct compact_zone_state compact_zone_state(const struct zone *z)
{
	return *state_of(z);
}

void compact_init(void)
{
	for (unsigned node = 0; node < MAX_NODES; node++)
		waitq_init(&compact_nodes[node].wait, "kcompactd");
	for (unsigned i = 0; i < ARRAY_SIZE(states); i++)
		states[i] = (struct compact_zone_state){.order_failed = NR_ORDERS};
}

/* One pass through a zone. */
struct compaction {
	struct zone *z;
	int order; /* wanted, or WHOLE_ZONE */
	enum migrate_mode mode;
	bool daemon, proactive;
	pfn_t migrate;            /* the migrate scanner: the next pageblock */
	pfn_t free;               /* the free scanner: behind the next frame, downwards */
	pfn_t free_floor;         /* the free scanner's pageblock begins here */
	struct page_list targets; /* free pages of ours, linked by next and prev */
	u32 pfns[COMPACT_CLUSTER];
	unsigned nr;        /* isolated */
	u32 gone[GONE_MAX]; /* frames that pages moved away from: they are freed together */
	unsigned nr_gone;
	u64 moved; /* in all */
};

static inline pfn_t block_of(pfn_t pfn)
{
	return pfn & ~(HPAGE_PMD_NR - 1);
}

static void count_scanned(const struct compaction *c, bool migrate, u64 pages)
{
	vmstat_add(migrate ? VM_compact_migrate_scanned : VM_compact_free_scanned, pages);
	if (c->daemon)
		vmstat_add(migrate ? VM_compact_daemon_migrate_scanned
				   : VM_compact_daemon_free_scanned,
			pages);
}

/* --- the free scanner: from the end of the zone downwards --- */

/* A pageblock that may be filled up: movable, partly free. One that is wholly free is what this is all for. */
static bool may_be_filled(const struct compaction *c, pfn_t block)
{
	const struct pageblock *b = pfn_block(block);
	u16 free = READ_ONCE(b->nr_free);

	return READ_ONCE(b->migratetype) == MIGRATE_MOVABLE && free != 0 && free < HPAGE_PMD_NR &&
	       pfn_zone(block) == c->z;
}

/* The free block at pfn becomes targets. False: it is none (any more). */
static bool take_free(struct compaction *c, pfn_t pfn)
{
	int order = pfn_free_order(pfn);

	if (order < 0 || order >= (int)HPAGE_PMD_ORDER)
		return false;
	order = buddy_take_free(pfn);
	if (order < 0)
		return false;
	for (u64 i = 0; i < 1ul << order; i++)
		page_list_add_tail(&c->targets, pfn_to_page(pfn + i));
	vmstat_add(VM_compact_isolated, 1l << order);
	return true;
}

/* On to the next pageblock from above that may be filled. False: the scanners have met. */
static bool next_free_block(struct compaction *c)
{
	pfn_t block = c->free_floor;

	while (block > c->migrate) {
		block -= HPAGE_PMD_NR;
		if (block <= block_of(c->migrate) || block < c->z->start)
			break;
		if (may_be_filled(c, block)) {
			c->free_floor = block;
			c->free = MIN(block + HPAGE_PMD_NR, c->z->end);
			return true;
		}
		count_scanned(c, false, 1);
	}
	c->free = c->free_floor = block_of(c->migrate);
	return false;
}

/* Targets for what was isolated, as far as there are any. Every free block is met at its first page, from above. */
static void find_targets(struct compaction *c, unsigned wanted)
{
	while (c->targets.count < wanted) {
		pfn_t pfn = c->free;

		while (pfn > c->free_floor && c->targets.count < wanted)
			take_free(c, --pfn);
		count_scanned(c, false, c->free - pfn);
		c->free = pfn;
		if (c->targets.count < wanted && !next_free_block(c))
			break;
	}
	trace(TRACE_mm_compaction_isolate_freepages, c->free, wanted, c->targets.count);
}

/* What was taken and not used. The next pass begins where the highest of them is. X3 */
static void give_back_targets(struct compaction *c)
{
	while (c->targets.first) {
		u32 pfns[64];
		unsigned n = 0;

		while (n < ARRAY_SIZE(pfns) && c->targets.first) {
			struct page *p = pfn_to_page(c->targets.first);

			page_list_del(&c->targets, p);
			pfns[n++] = page_to_pfn(p);
			c->free_floor = MAX(c->free_floor, block_of(page_to_pfn(p)));
		}
		page_free_batch(pfns, n);
	}
	c->free = MAX(c->free, c->free_floor);
}

/* --- the migrate scanner: from the start of the zone upwards --- */

/* Not by its type, which says less: is every frame of it free, or a page that can be moved? */
static bool can_be_emptied(pfn_t start, pfn_t end)
{
	for (pfn_t pfn = start; pfn < end; pfn++) {
		const struct page *p = pfn_to_page(pfn);
		u8 type = READ_ONCE(p->type);
		int order;

		if (type == PAGE_FREE) {
			order = pfn_free_order(pfn);
			pfn += order > 0 ? (1ul << order) - 1 : 0;
		} else if (type != PAGE_ANON || !(READ_ONCE(p->flags) & PG_LRU)) {
			return false;
		}
	}
	return true;
}

/* Is there something in this pageblock to be moved? Async keeps to movable pageblocks. */
static bool may_be_emptied(struct compaction *c, pfn_t block)
{
	const struct pageblock *b = pfn_block(block);
	pfn_t end = MIN(block + HPAGE_PMD_NR, c->z->end);

	if (block < c->z->start || pfn_zone(block) != c->z ||
		READ_ONCE(b->nr_free) == HPAGE_PMD_NR || READ_ONCE(b->flags) & PB_HUGE ||
		READ_ONCE(b->migratetype) == MIGRATE_ISOLATE)
		return false;
	if (c->mode == MIGRATE_ASYNC && READ_ONCE(b->migratetype) != MIGRATE_MOVABLE)
		return false;
	if (c->order < (int)HPAGE_PMD_ORDER)
		return true;
	return end - block == HPAGE_PMD_NR && can_be_emptied(block, end);
}

/*
 * Up to 32 pages from pfn on are isolated. Where to go on: end, or less. lru.lock is taken once. What is read of free blocks is
 * a hint: they may come and go meanwhile, and a step too far passes over pages that another pass will find.
 */
static pfn_t isolate(struct compaction *c, pfn_t pfn, pfn_t end)
{
	struct page *p = pfn_to_page(pfn), *const stop = pfn_to_page(end);
	unsigned nr = 0;
	u64 scanned;

	spin_lock(&lru.lock);
	while (p < stop && nr < COMPACT_CLUSTER) {
		if (READ_ONCE(p->flags) & PG_BUDDY) {
			p += 1ul << READ_ONCE(p->order) % 16;
			continue;
		}
		/* A reference that is no mapping: a pin. Looked at before anything is moved to no avail. */
		if (p->type == PAGE_ANON && page_refcount(p) == READ_ONCE(p->mapcount) &&
			lru_grab_locked(p))
			c->pfns[nr++] = page_to_pfn(p);
		p++;
	}
	spin_unlock(&lru.lock);
	scanned = MIN(p, stop) - pfn_to_page(pfn);
	count_scanned(c, true, scanned);
	vmstat_add(VM_nr_isolated_anon, nr);
	vmstat_add(VM_compact_isolated, nr);
	trace(TRACE_mm_compaction_isolate_migratepages, pfn, scanned, nr);
	c->nr = nr;
	return pfn + scanned;
}

/* What pages moved away from becomes free, and unites, at once: not by the lists of this CPU. */
static void free_gone(struct compaction *c)
{
	if (c->nr_gone)
		page_free_batch(c->gone, c->nr_gone);
	c->nr_gone = 0;
}

/* Nobody finds it any more: what we hold is the last reference, unless somebody is just letting go of his. */
static void drop_moved(struct compaction *c, struct page *from)
{
	c->moved++;
	if (unlikely(page_refcount(from) > 1)) {
		page_put(from);
		return;
	}
	if (c->nr_gone == GONE_MAX)
		free_gone(c);
	c->gone[c->nr_gone++] = page_to_pfn(from);
}

/* Move what was isolated. False: a page could not be moved, so this pageblock will not be free. X2 */
static bool move_isolated(struct compaction *c)
{
	bool mlocked = READ_ONCE(compact_settings.unevictable_allowed), all = true, out = false;

	find_targets(c, c->nr);
	for (unsigned i = 0; i < c->nr; i++) {
		struct page *from = pfn_to_page(c->pfns[i]), *to;
		enum migrate_result r = MIGRATED_NO_MEMORY;

		if (c->targets.first && (all || c->order < 0)) {
			to = pfn_to_page(c->targets.first);
			page_list_del(&c->targets, to);
			r = migrate_page(from, to, c->mode, mlocked);
			if (r != MIGRATED_DONE)
				page_list_add(&c->targets, to);
		} else if (!c->targets.first && !out) { /* Linux gives up, and counts this one */
			r = migrate_no_target(from);
			out = true;
		}
		if (r == MIGRATED_DONE) {
			drop_moved(c, from);
			continue;
		}
		all = all && r == MIGRATED_GONE;
		migrate_putback(from);
	}
	c->nr = 0;
	return all;
}

/* One pageblock. False: there is no free page above any more. */
static bool compact_block(struct compaction *c, pfn_t block)
{
	pfn_t pfn = block, end = MIN(block + HPAGE_PMD_NR, c->z->end);
	bool room = true;

	while (pfn < end && room) {
		pfn = isolate(c, pfn, end);
		if (c->nr && !move_isolated(c)) {
			room = c->targets.first || c->free > block + HPAGE_PMD_NR;
			if (c->order >= 0)
				break; /* it stays what it is: go on with the next one */
		}
		preempt_point();
	}
	free_gone(c);
	return room;
}

/* --- when to begin, when to stop --- */

static bool block_is_free(const struct zone *z, unsigned order)
{
	return zone_watermark_ok(z, order, z->watermark_min);
}

/* Linux: compaction_suitable */
static bool is_suitable(const struct zone *z, unsigned order)
{
	int index;

	/* Room for the copies, and for those that others allocate meanwhile. Linux: compact_gap */
	if (!zone_watermark_ok(z, 0, z->watermark_low + (2ul << order)))
		return false;
	index = zone_extfrag_index(z, order);
	return index < 0 || index > (int)READ_ONCE(compact_settings.extfrag_threshold);
}

static unsigned low_mark(void)
{
	u32 p = READ_ONCE(compact_settings.proactiveness);

	return MAX(100 - (int)MIN(p, 100), 5);
}

/* A zone counts as much as its share of the node's memory. Linux: fragmentation_score_node */
unsigned compact_score(unsigned node)
{
	u64 present = 0, score = 0;

	for_each_zone (z)
		present += z->node == node ? z->present_pages : 0;
	for_each_zone (z)
		if (z->node == node)
			score += zone_extfrag_percent(z, HPAGE_PMD_ORDER) * z->present_pages /
				 (present + 1);
	return score;
}

/* After each pageblock: enough? Linux: compact_finished */
static bool is_enough(const struct compaction *c)
{
	if (c->proactive)
		return compact_score(c->z->node) <= low_mark();
	return c->order >= 0 && block_is_free(c->z, c->order);
}

/* --- one pass --- */

/* The scanners begin where the last pass has left them; a whole pass, or after they met, at the ends. */
static bool begin_pass(struct compaction *c)
{
	struct compact_zone_state *s = state_of(c->z);
	pfn_t start = block_of(c->z->start), end = block_of(c->z->end + HPAGE_PMD_NR - 1);
	pfn_t migrate = READ_ONCE(s->migrate_pfn), free = READ_ONCE(s->free_pfn);
	bool whole = c->order < 0 || migrate >= free || migrate < start || free > end;

	buddy_drain_cpu(); /* what is free unites only on the zone's lists */
	c->migrate = whole ? start : migrate;
	c->free = c->free_floor = whole ? end : free;
	return whole || migrate == start;
}

static void end_pass(struct compaction *c, bool met)
{
	struct compact_zone_state *s = state_of(c->z);

	give_back_targets(c);
	if (c->order < 0)
		return;
	WRITE_ONCE(s->migrate_pfn, met ? 0 : c->migrate);
	WRITE_ONCE(s->free_pfn,
		met ? 0
		    : MIN(c->free_floor + HPAGE_PMD_NR, block_of(c->z->end + HPAGE_PMD_NR - 1)));
}

/* Linux: compact_zone */
static enum compact_result compact_zone(struct compaction *c)
{
	bool whole = begin_pass(c), met = false;
	enum compact_result r;

	trace(TRACE_mm_compaction_begin, c->z - zones, c->order, c->mode);
	while (!is_enough(c)) {
		met = c->migrate + HPAGE_PMD_NR >= c->free;
		if (met)
			break;
		if (may_be_emptied(c, c->migrate))
			met = !compact_block(c, c->migrate);
		else
			count_scanned(c, true, 1);
		if (met)
			break;
		c->migrate += HPAGE_PMD_NR;
		preempt_point();
	}
	end_pass(c, met);
	r = !met ? COMPACT_SUCCESS : whole ? COMPACT_COMPLETE : COMPACT_PARTIAL;
	if (c->order >= 0 && !c->proactive && block_is_free(c->z, c->order))
		r = COMPACT_SUCCESS; /* the last pageblock, or somebody else's pages */
	trace(TRACE_mm_compaction_end, c->z - zones, c->order, r);
	return r;
}

/* --- deferral --- */

/* Linux: compaction_deferred */
static bool is_deferred(const struct zone *z, unsigned order)
{
	struct compact_zone_state *s = state_of(z);
	u32 limit = 1u << READ_ONCE(s->defer_shift);

	if (order < READ_ONCE(s->order_failed))
		return false;
	if (__atomic_add_fetch(&s->considered, 1, __ATOMIC_RELAXED) < limit)
		return true;
	WRITE_ONCE(s->considered, limit);
	return false;
}

/* compact_is_deferred - would a try for this order be left alone in every zone just now? Counts nothing. */
bool compact_is_deferred(unsigned order)
{
	for_each_zone (z) {
		const struct compact_zone_state *s = &states[z - zones];

		if (order < READ_ONCE(s->order_failed) ||
			READ_ONCE(s->considered) + 1 >= 1u << READ_ONCE(s->defer_shift))
			return false;
	}
	return true;
}

/* Linux: defer_compaction */
static void defer(const struct zone *z, unsigned order)
{
	struct compact_zone_state *s = state_of(z);

	WRITE_ONCE(s->considered, 0);
	WRITE_ONCE(s->defer_shift, MIN(s->defer_shift + 1, DEFER_SHIFT_MAX));
	WRITE_ONCE(s->order_failed, MIN(s->order_failed, order));
}

/* Linux: compaction_defer_reset */
static void defer_reset(const struct zone *z, unsigned order)
{
	struct compact_zone_state *s = state_of(z);

	WRITE_ONCE(s->considered, 0);
	WRITE_ONCE(s->defer_shift, 0);
	if (order >= READ_ONCE(s->order_failed))
		WRITE_ONCE(s->order_failed, order + 1);
}

/* --- who asks --- */

/* One zone, if it is worth it. Async failures say little: they are not held against the zone. */
static enum compact_result try_zone(
	struct zone *z, unsigned order, enum migrate_mode mode, bool daemon)
{
	struct compaction c = {.z = z, .order = (int)order, .mode = mode, .daemon = daemon};
	enum compact_result r;

	if (is_deferred(z, order))
		return COMPACT_DEFERRED;
	if (block_is_free(z, order))
		return COMPACT_SUCCESS;
	if (!is_suitable(z, order))
		return COMPACT_SKIPPED;
	r = compact_zone(&c);
	if (r == COMPACT_SUCCESS)
		defer_reset(z, order);
	else if (mode != MIGRATE_ASYNC)
		defer(z, order);
	return r;
}

/* The best that any zone came to, in the order in which the buddy asks them. Linux: try_to_compact_pages */
static enum compact_result try_zones(unsigned order, enum migrate_mode mode, u32 flags)
{
	const struct zonelist *list = &zonelists[buddy_wished_node(flags)];
	enum compact_result best = COMPACT_SKIPPED;

	for (unsigned i = 0; i < list->nr; i++) {
		struct zone *z = &zones[list->zones[i]];
		enum compact_result r;

		if (!buddy_allows_node(flags, z->node))
			continue;
		r = try_zone(z, order, mode, false);
		if (r == COMPACT_SUCCESS)
			return r;
		best = MAX(best, r);
	}
	return best;
}

/* One try: compact, ask the buddy again, count how it went. */
static struct page *try_direct(enum migrate_mode mode, u32 flags)
{
	enum compact_result r = try_zones(HPAGE_PMD_ORDER, mode, flags);
	struct page *page;

	if (r == COMPACT_SKIPPED || r == COMPACT_DEFERRED)
		return NULL;
	vmstat_inc(VM_compact_stall);
	page = buddy_alloc(HPAGE_PMD_ORDER, MIGRATE_MOVABLE, PAGE_ANON_HUGE, flags);
	if (page)
		vmstat_inc(VM_compact_success);
	else
		vmstat_inc(VM_compact_fail);
	return page;
}

struct page *compact_alloc_huge(bool hard, u32 flags)
{
	struct page *page;

	buddy_drain_cpu(); /* what this CPU's lists hold may be all that is missing */
	page = buddy_alloc(HPAGE_PMD_ORDER, MIGRATE_MOVABLE, PAGE_ANON_HUGE, flags);
	if (!page)
		page = try_direct(MIGRATE_ASYNC, flags);
	if (!page && hard)
		page = try_direct(MIGRATE_SYNC_LIGHT, flags);
	return page;
}

void compact_node(unsigned node, unsigned order)
{
	for_each_zone (z)
		if (z->node == node)
			try_zone(z, order, MIGRATE_SYNC_LIGHT, true);
}

void compact_memory(void)
{
	for_each_zone (z) {
		struct compaction c = {.z = z, .order = WHOLE_ZONE, .mode = MIGRATE_SYNC};

		compact_zone(&c);
	}
}

bool compact_is_due(unsigned node)
{
	return READ_ONCE(compact_settings.proactiveness) &&
	       compact_score(node) > MIN(low_mark() + 10, 100);
}

bool compact_proactively(unsigned node)
{
	unsigned before = compact_score(node);

	for_each_zone (z) {
		struct compaction c = {.z = z,
			.order = WHOLE_ZONE,
			.mode = MIGRATE_SYNC_LIGHT,
			.daemon = true,
			.proactive = true};

		if (z->node == node &&
			zone_watermark_ok(z, 0, z->watermark_low + (2ul << HPAGE_PMD_ORDER)))
			compact_zone(&c);
	}
	return compact_score(node) < before;
}

void compact_wake(unsigned order)
{
	struct compact_node *n = &compact_nodes[this_cpu()->node];

	if (READ_ONCE(n->wanted) >= order)
		return;
	WRITE_ONCE(n->wanted, order);
	waitq_wake_all(&n->wait);
}
