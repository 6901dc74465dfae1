/*
 * block.c - the lists of free blocks of a zone.                                             floor 2
 *
 * The buddy algorithm proper: files blocks, unites them, cuts them. It is told what to do under
 * zone.lock by buddy.c (who hands out) and isolate.c (who takes by place); it asks no watermark and
 * prepares no descriptor beyond PG_BUDDY and the order.
 *
 * IDEA
 *   pfn  0                       8           12    14 15 16
 *        |order 3, free          |2, used    |1, f |0u|0f|        f free, u used
 *   A block of order k starts at a multiple of 2^k; its buddy's number differs in bit k only.
 *   take:  the smallest block that is large enough; halve it, keep the left, file the right.
 *   file:  while the buddy is free and of the same order, unite and go up one order.
 *
 *   Migratetypes keep what can move apart from what cannot: each pageblock (512 pages) has a type,
 *   and a free block stands on the list of its pageblock's type. Who finds its own lists empty
 *   takes from another type. Either a whole pageblock, so that the next ones come from there too:
 *   if the block found is large (order 4 and up; any, if what is wanted cannot move; the largest
 *   first) and half of the pageblock is free or holds pages like the wanted one already. Or, if
 *   there is no such pageblock, just the smallest block.
 *
 *   MIGRATE_ISOLATE is a type nobody asks for: its blocks unite, but are never handed out. It is
 *   given and taken in pieces of 4 MiB, so no block lies half in one.
 *
 * INVARIANTS  B1 to B4, B6, B8 of buddy_check.c
 * LOCKS       zone.lock is held by every caller
 * LINUX       mm/page_alloc.c: __free_one_page, expand, __rmqueue_claim, __rmqueue_steal.
 *             docs/mm/buddy.md
 */
#include "mm/block.h"
#include "trace.h"

#define STEAL_ORDER (HPAGE_PMD_ORDER / 2) /* from here on a whole pageblock is claimed */

/* ---- lists of a zone; zone.lock held ---- */

static void block_link(struct zone *z, struct page *p, unsigned order, enum migratetype mt)
{
	p->flags = PG_BUDDY;
	p->order = order;
	page_list_add(&z->free[order][mt], p);
	z->nr_free[order]++;
}

static void block_unlink(struct zone *z, struct page *p, unsigned order, enum migratetype mt)
{
	p->flags = 0;
	p->order = 0;
	page_list_del(&z->free[order][mt], p);
	z->nr_free[order]--;
}

/* `pages` of the block at pfn joined (negative: left) the lists. Order 10 covers two pageblocks. */
static void block_count(struct zone *z, pfn_t pfn, s64 pages)
{
	struct pageblock *b = pfn_block(pfn);

	z->free_pages += pages;
	if (unlikely(b->migratetype == MIGRATE_ISOLATE))
		z->isolated_pages += pages;
	if (pages == 2 * (s64)HPAGE_PMD_NR || pages == -2 * (s64)HPAGE_PMD_NR) {
		pages /= 2;
		b[1].nr_free += pages;
	}
	b->nr_free += pages;
}

/* block_give - contract in block.h. Linux: __free_one_page */
void block_give(struct zone *z, pfn_t pfn, unsigned order)
{
	enum migratetype mt = pfn_block(pfn)->migratetype;

	block_count(z, pfn, 1l << order);
	for (; order < MAX_ORDER; order++) {
		pfn_t buddy = buddy_of(pfn, order);
		struct page *b = pfn_to_page(buddy);

		if (buddy >= z->end)
			break;
		if (!page_is_buddy(b, order))
			break;
		if (likely(order < HPAGE_PMD_ORDER)) {
			block_unlink(z, b, order, mt);
		} else { /* two pageblocks become one block: B6 */
			block_unlink(z, b, order, pfn_block(buddy)->migratetype);
			pfn_block(buddy)->migratetype = mt;
		}
		pfn &= buddy;
	}
	block_link(z, pfn_to_page(pfn), order, mt);
}

/* Takes a free block of order `has` off its list, keeps the left 2^want pages, files the rest. */
static __always_inline struct page *block_carve(
	struct zone *z, struct page *p, unsigned has, unsigned want, enum migratetype mt)
{
	block_unlink(z, p, has, mt);
	while (has > want) {
		has--;
		block_link(z, p + (1ul << has), has, mt);
	}
	block_count(z, page_to_pfn(p), -(s64)(1ul << want));
	return p;
}

/* block_take_at - contract in block.h. Linux: del_page_from_free_list */
void block_take_at(struct zone *z, pfn_t pfn, unsigned order)
{
	block_unlink(z, pfn_to_page(pfn), order, pfn_block(pfn)->migratetype);
	block_count(z, pfn, -(1l << order));
}

/* ---- taking from another migratetype; zone.lock held ---- */

/* pageblock_claim - contract in block.h: its free blocks change lists. Linux: move_freepages_block */
void pageblock_claim(struct zone *z, pfn_t start, unsigned order, enum migratetype mt)
{
	pfn_t end = MIN(start + MAX(HPAGE_PMD_NR, 1ul << order), z->end), pfn = start;

	while (pfn < end) {
		struct page *p = pfn_to_page(pfn);

		if (!(p->flags & PG_BUDDY)) {
			pfn++;
			continue;
		}
		page_list_del(&z->free[p->order][pfn_block(pfn)->migratetype], p);
		page_list_add(&z->free[p->order][mt], p);
		pfn += 1ul << p->order;
	}
	for (pfn = start; pfn < end; pfn += HPAGE_PMD_NR) {
		pfn_block(pfn)->migratetype = mt;
		pfn_block(pfn)->generation++;
	}
}

/*
 * Used pages of the pageblock that one of type mt would stand well beside: those that can move, or
 * those that cannot. Linux: alike_pages, which takes what is on the LRU for movable.
 */
static u64 pages_alike(pfn_t start, enum migratetype mt)
{
	u64 movable = 0, fixed = 0;

	if (mt != MIGRATE_MOVABLE && pfn_block(start)->migratetype != MIGRATE_MOVABLE)
		return 0;
	for (pfn_t pfn = start; pfn < start + HPAGE_PMD_NR; pfn++) {
		const struct page *p = pfn_to_page(pfn);

		if (p->type == PAGE_ANON && !(p->flags & PG_SHARED))
			movable++;
		else if (p->type > PAGE_FREE)
			fixed++;
	}
	return mt == MIGRATE_MOVABLE ? movable : fixed;
}

/*
 * Is this free block worth its whole pageblock? Movable pages are modest: they can be moved away.
 * Linux: can_steal_fallback, and the count in steal_suitable_fallback.
 */
static bool may_claim(pfn_t pfn, unsigned order, enum migratetype mt)
{
	u64 free = pfn_block(pfn)->nr_free;

	if (order >= HPAGE_PMD_ORDER)
		return true;
	if (order < STEAL_ORDER && mt == MIGRATE_MOVABLE)
		return false;
	return free >= HPAGE_PMD_NR / 2 ||
	       free + pages_alike(block_start(pfn), mt) >= HPAGE_PMD_NR / 2;
}

static void trace_steal(
	pfn_t pfn, u64 wanted, u64 found, enum migratetype for_mt, enum migratetype from_mt)
{
	trace(TRACE_mm_page_alloc_extfrag, pfn, wanted << 32 | found, (u64)for_mt << 32 | from_mt);
}

/* The lists of mt are empty: claim the largest, else borrow the smallest. Linux: __rmqueue_fallback */
static __noinline struct page *block_steal(struct zone *z, unsigned order, enum migratetype mt)
{
	static const u8 fallbacks[MIGRATE_PCPTYPES][2] = {
		[MIGRATE_UNMOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_MOVABLE},
		[MIGRATE_MOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE},
		[MIGRATE_RECLAIMABLE] = {MIGRATE_UNMOVABLE, MIGRATE_MOVABLE},
	};

	for (int o = MAX_ORDER; o >= (int)order; o--) {
		for (unsigned i = 0; i < 2; i++) {
			pfn_t pfn = z->free[o][fallbacks[mt][i]].first;

			if (!pfn || !may_claim(pfn, o, mt))
				continue;
			pageblock_claim(z, block_start(pfn), o, mt);
			trace_steal(pfn, order, o, mt, fallbacks[mt][i]);
			return block_carve(z, pfn_to_page(pfn), o, order, mt);
		}
	}
	for (unsigned o = order; o <= MAX_ORDER; o++) {
		for (unsigned i = 0; i < 2; i++) {
			pfn_t pfn = z->free[o][fallbacks[mt][i]].first;

			if (!pfn)
				continue;
			trace_steal(pfn, order, o, mt, fallbacks[mt][i]);
			return block_carve(z, pfn_to_page(pfn), o, order, fallbacks[mt][i]);
		}
	}
	return NULL;
}

/* block_take - contract in block.h. Linux: __rmqueue */
struct page *block_take(struct zone *z, unsigned order, enum migratetype mt)
{
	for (unsigned o = order; o <= MAX_ORDER; o++) {
		pfn_t pfn = z->free[o][mt].first;

		if (pfn)
			return block_carve(z, pfn_to_page(pfn), o, order, mt);
	}
	return block_steal(z, order, mt);
}

/* ---- many at once ---- */

/* block_give_map - neighbours together, largest first: bits are counted instead of buddies united. */
void block_give_map(pfn_t pfn, u64 map[HPAGE_PMD_NR / 64])
{
	struct zone *z = pfn_zone(pfn);

	spin_lock(&z->lock);
	for (unsigned w = 0; w < HPAGE_PMD_NR / 64; w++, pfn += 64) {
		while (map[w]) {
			unsigned at = __builtin_ctzl(map[w]);
			u64 rest = ~(map[w] >> at);
			unsigned run = rest ? __builtin_ctzl(rest) : 64;
			unsigned order = MIN(63 - __builtin_clzl(run), at ? __builtin_ctz(at) : 6);

			block_give(z, pfn + at, order);
			map[w] &= order == 6 ? 0 : ~(((1ul << (1u << order)) - 1) << at);
		}
	}
	spin_unlock(&z->lock);
}
