/*
 * buddy.c - blocks of 2^order pages, and the last page_put.                                 floor 2
 *
 * Hands out and takes back physical pages in blocks of 1, 2, 4 ... 1024. It knows nothing of
 * addresses in a process, never waits and never moves a page: when it has no block it says so.
 *
 * IDEA
 *   pfn  0                       8           12    14 15 16
 *        |order 3, free          |2, used    |1, f |0u|0f|        f free, u used
 *   A block of order k starts at a multiple of 2^k; its buddy's number differs in bit k only.
 *   alloc: take the smallest block that is large enough; halve it, keep the left, file the right.
 *   free:  while the buddy is free and of the same order, unite and go up one order.
 *
 *   Migratetypes keep what can move apart from what cannot: each pageblock (512 pages) has a type,
 *   and a free block stands on the list of its pageblock's type. Who finds its own lists empty
 *   takes from another type: a whole pageblock if the block found is large (order 4 and up; the
 *   largest first) and half of the pageblock is free, so that the next ones come from there too;
 *   else just the smallest block.
 *
 *   Single pages and one huge page stand on lists of each CPU, which need no lock: kernel code is
 *   not preempted, and interrupts never allocate.
 *
 *      buddy_alloc(0) <-- [ CPU's stack ] <--32 at a time, one lock-- [ zone's free[order][type] ]
 *
 *   Huge pages that an idle CPU has cleared in advance stand apart too, one list for each zone: they
 *   are free, but only who wants zeroes takes them, until memory is short.
 *
 *   Watermarks keep the last pages for those without whom nothing is ever freed:
 *      0 .. min: BUDDY_RESERVE only    min .. low: ordinary    above low: BUDDY_QUIET too
 *
 * INVARIANTS (buddy_check() tests every one)
 *   B1  a free block of order k starts at a multiple of 2^k and lies in its zone
 *   B2  exactly the first page of a free block carries PG_BUDDY and the order; all its pages are
 *       FREE, with no reference and no mapping
 *   B3  two buddies of one order are never both on the lists, except at the top order
 *   B4  lists are as long as they say; nr_free[k] is their sum over the types; the sum over k is
 *       zone.free_pages; a pageblock's nr_free is what the lists hold of it
 *   B5  every page given to the buddy is in one free block, on one per-CPU list, or handed out
 *   B6  a free block stands on the list of its pageblock's migratetype
 *   B7  a huge page on a list of cleared ones holds nothing but zeroes
 *
 * LOCKS     zone.lock: innermost of memory; taken and released inside every public function.
 *           Per-CPU lists: only their own CPU.
 * LINUX     mm/page_alloc.c adds NUMA, reclaim and compaction on the way, lowmem reserves, boosted
 *           watermarks, CMA and isolation.   docs/mm/buddy.md
 */
#include "lib/string.h"
#include "mm/buddy.h"
#include "mm/lru.h"
#include "mm/memmap.h"
#include "panic.h"
#include "printk.h"
#include "vmstat.h"
#include "x86/cpu.h"

#define DMA32_END   (1ul << (32 - PAGE_SHIFT)) /* first pfn of ZONE_NORMAL */
#define STEAL_ORDER (HPAGE_PMD_ORDER / 2)      /* from here on a whole pageblock is claimed */
#define TAIL_ORDER  0xff                       /* order of a used block's other pages: no head */
#define FREEABLE_TYPES                                                                             \
	(1u << PAGE_KERNEL | 1u << PAGE_TABLE | 1u << PAGE_ANON | 1u << PAGE_ANON_HUGE |           \
		1u << PAGE_ZERO | 1u << PAGE_PINNED)

#define POISON_BYTE 0x6b
#define POISON_WORD 0x6b6b6b6b6b6b6b6bul

struct zone zones[NR_ZONES] = {
	[ZONE_DMA32] = {.lock = SPINLOCK_INIT(LOCK_ZONE, "zone DMA32"), .name = "DMA32"},
	[ZONE_NORMAL] = {.lock = SPINLOCK_INIT(LOCK_ZONE, "zone Normal"), .name = "Normal"},
};
u64 buddy_min_free_kbytes;
u64 buddy_inject_fired, buddy_inject_seen;

static struct zone *preferred = &zones[ZONE_DMA32]; /* (c) the highest zone that has pages */
static u32 pcp_batch = PCP_BATCH, pcp_high = PCP_HIGH, pcp_huge_high = PCP_HUGE_HIGH;
static u64 inject_at;
static int inject_order;

/* ---- conversions ---- */

static pfn_t buddy_of(pfn_t pfn, unsigned order)
{
	return pfn ^ (1ul << order);
}

static bool page_is_buddy(const struct page *p, unsigned order)
{
	return p->flags & PG_BUDDY && p->order == order;
}

/* The first page of the pageblock. */
static pfn_t block_start(pfn_t pfn)
{
	return pfn & ~(HPAGE_PMD_NR - 1);
}

/*
 * pfn_zone - the zone this frame lies in.
 *
 *   Linux    page_zone (stored in page->flags there)
 */
struct zone *pfn_zone(pfn_t pfn)
{
	return &zones[pfn < DMA32_END ? ZONE_DMA32 : ZONE_NORMAL];
}

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
static void count_free(struct zone *z, pfn_t pfn, s64 pages)
{
	struct pageblock *b = pfn_block(pfn);

	z->free_pages += pages;
	if (pages == 2 * (s64)HPAGE_PMD_NR || pages == -2 * (s64)HPAGE_PMD_NR) {
		pages /= 2;
		b[1].nr_free += pages;
	}
	b->nr_free += pages;
}

/* Unites a block with its free buddies as far up as it goes, files the result. Does not count. */
static void block_file(struct zone *z, pfn_t pfn, unsigned order)
{
	enum migratetype mt = pfn_block(pfn)->migratetype;

	for (; order < MAX_ORDER; order++) {
		pfn_t buddy = buddy_of(pfn, order);
		struct page *b = pfn_to_page(buddy);

		if (buddy >= z->end)
			break;
		if (!page_is_buddy(b, order))
			break;
		block_unlink(z, b, order, pfn_block(buddy)->migratetype);
		if (order >= HPAGE_PMD_ORDER) /* two pageblocks become one block: B6 */
			pfn_block(buddy)->migratetype = mt;
		pfn &= buddy;
	}
	block_link(z, pfn_to_page(pfn), order, mt);
}

/* Takes a free block of order `has` off its list, keeps the left 2^want pages, files the rest. */
static struct page *block_carve(
	struct zone *z, struct page *p, unsigned has, unsigned want, enum migratetype mt)
{
	block_unlink(z, p, has, mt);
	while (has > want) {
		has--;
		block_link(z, p + (1ul << has), has, mt);
	}
	count_free(z, page_to_pfn(p), -(s64)(1ul << want));
	return p;
}

/* ---- taking from another migratetype; zone.lock held ---- */

/* A new owner for the pageblock (for both of an order 10 block): its free blocks change lists. */
static void pageblock_claim(struct zone *z, pfn_t start, unsigned order, enum migratetype mt)
{
	pfn_t end = start + MAX(HPAGE_PMD_NR, 1ul << order), pfn = start;

	while (pfn < MIN(end, z->end)) {
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

/* Is this free block worth its whole pageblock? Movable pages are modest: they can be moved away. */
static bool may_claim(pfn_t pfn, unsigned order, enum migratetype mt)
{
	if (order >= HPAGE_PMD_ORDER)
		return true;
	if (order < STEAL_ORDER && mt == MIGRATE_MOVABLE)
		return false;
	return pfn_block(pfn)->nr_free >= HPAGE_PMD_NR / 2;
}

/* The lists of mt are empty: claim the largest, else borrow the smallest. Linux: __rmqueue_fallback */
static struct page *block_steal(struct zone *z, unsigned order, enum migratetype mt)
{
	static const u8 fallbacks[NR_MIGRATETYPES][2] = {
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
			return block_carve(z, pfn_to_page(pfn), o, order, mt);
		}
	}
	for (unsigned o = order; o <= MAX_ORDER; o++) {
		for (unsigned i = 0; i < 2; i++) {
			pfn_t pfn = z->free[o][fallbacks[mt][i]].first;

			if (pfn)
				return block_carve(z, pfn_to_page(pfn), o, order, fallbacks[mt][i]);
		}
	}
	return NULL;
}

/* The smallest block of mt that is large enough, cut down to `order`. NULL: nothing anywhere. */
static struct page *block_take(struct zone *z, unsigned order, enum migratetype mt)
{
	for (unsigned o = order; o <= MAX_ORDER; o++) {
		pfn_t pfn = z->free[o][mt].first;

		if (pfn)
			return block_carve(z, pfn_to_page(pfn), o, order, mt);
	}
	return block_steal(z, order, mt);
}

/* How many pages this caller may take from the zone, all orders apart. */
static u64 pages_above_mark(const struct zone *z, u32 flags)
{
	u64 mark = z->watermark_min;

	if (flags & BUDDY_RESERVE)
		mark = 0;
	else if (flags & BUDDY_QUIET)
		mark = z->watermark_low;
	return z->free_pages > mark ? z->free_pages - mark : 0;
}

/* ---- per-CPU lists: stacks, linked by `next` only ---- */

static __always_inline void pcp_push(struct page_list *list, struct page *p, pfn_t pfn)
{
	p->flags = PG_PCP;
	p->next = list->first;
	list->first = pfn;
	list->count++;
}

static __always_inline struct page *pcp_pop(struct page_list *list)
{
	struct page *p = pfn_to_page(list->first);

	list->first = p->next;
	list->count--;
	return p;
}

/* Debug builds: freed kernel pages on the stacks are filled; a later write to them is found out. */
static void poison_fill(struct page *p)
{
	memset(page_to_virt(p), POISON_BYTE, PAGE_SIZE);
	p->private = POISON_WORD;
}

static void poison_verify(struct page *p)
{
	const u64 *word = page_to_virt(p);

	for (unsigned i = 0; p->private == POISON_WORD && i < PAGE_SIZE / 8; i++)
		if (word[i] != POISON_WORD)
			panic("poison", "pfn %#lx was written after it was freed: word %u is %#lx",
				(unsigned long)page_to_pfn(p), i, (unsigned long)word[i]);
}

static void zeroed_verify(struct page *p)
{
	const u64 *word = page_to_virt(p);

	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		if (word[i])
			panic("poison", "pfn %#lx was freed as zeroed: word %u is %#lx",
				(unsigned long)page_to_pfn(p), i, (unsigned long)word[i]);
}

/* A block becomes single pages of a stack; the lowest ends on top, they are handed out upwards. */
static void pcp_push_block(struct page_list *list, struct page *p, u64 pages)
{
	u32 first = page_to_pfn(p);

	for (u64 i = 0; i < pages; i++) {
		p[i].flags = PG_PCP;
		p[i].next = first + i + 1;
	}
	p[pages - 1].next = list->first;
	list->first = first;
	list->count += pages;
}

/*
 * Fills an empty stack under one lock, in pieces as large as still wanted. More than half of a batch is
 * enough: a large block must not be cut into crumbs for the last page of it.
 */
static void pcp_refill(struct zone *z, struct page_list *list, enum migratetype mt, u32 flags)
{
	u64 want;

	spin_lock(&z->lock);
	want = MIN(pcp_batch, pages_above_mark(z, flags));
	while (want > 0 && list->count <= pcp_batch / 2) {
		unsigned order = 0, largest = 63 - __builtin_clzl(want);
		struct page *p;

		while (order < largest && !z->free[order][mt].first)
			order++;
		p = block_take(z, order, mt);
		if (!p && order > 0)
			p = block_take(z, order = 0, mt);
		if (!p)
			break;
		pcp_push_block(list, p, 1ul << order);
		want -= 1ul << order;
	}
	spin_unlock(&z->lock);
}

/* Gives `count` pages of a stack back to the zone. */
static __noinline void pcp_drain(struct zone *z, struct page_list *list, u64 count)
{
	spin_lock(&z->lock);
	for (; count > 0 && list->first; count--) {
		pfn_t pfn = list->first;
		struct page *p = pcp_pop(list);

		p->flags = 0;
		if (CONFIG_CHECKS)
			p->private = 0;
		count_free(z, pfn, 1ul << p->order);
		block_file(z, pfn, p->order);
	}
	spin_unlock(&z->lock);
}

/*
 * buddy_drain_prezeroed - the huge pages cleared in advance become ordinary free blocks.
 *
 *   locks    takes each zone.lock
 */
void buddy_drain_prezeroed(void)
{
	for (unsigned i = 0; i < NR_ZONES; i++) {
		struct page_list *list = &zones[i].prezeroed;

		if (!READ_ONCE(list->first))
			continue;
		vmstat_add(VM_nr_thp_prezeroed, -(s64)READ_ONCE(list->count));
		pcp_drain(&zones[i], list, list->count);
	}
}

/*
 * buddy_drain_pcp - this CPU's lists, and what was cleared in advance, back to the zones.
 *
 *   locks    takes each zone.lock
 *   Linux    drain_local_pages
 */
void buddy_drain_pcp(void)
{
	for (unsigned i = 0; i < NR_ZONES; i++) {
		struct pcp *pcp = &zones[i].pcp[cpu_id()];

		for (unsigned mt = 0; mt < NR_MIGRATETYPES; mt++)
			pcp_drain(&zones[i], &pcp->lists[mt], pcp->lists[mt].count);
		pcp_drain(&zones[i], &pcp->huge, pcp->huge.count);
		pcp_drain(&zones[i], &pcp->zeroed, pcp->zeroed.count);
	}
	buddy_drain_prezeroed();
}

/*
 * buddy_set_pcp - how long the per-CPU lists are. 1 and 0: each page goes straight to the buddy.
 *
 *   locks    none; the lists that exist are not touched (buddy_drain_pcp)
 *   Linux    vm.percpu_pagelist_high_fraction
 */
void buddy_set_pcp(u32 batch, u32 high)
{
	pcp_batch = MAX(batch, 1);
	pcp_high = high;
	pcp_huge_high = high ? PCP_HUGE_HIGH : 0;
}

/* ---- allocating ---- */

static __always_inline void count_alloc(const struct zone *z, s64 pages)
{
	if (z == &zones[ZONE_NORMAL])
		vmstat_add(VM_pgalloc_normal, pages);
	else
		vmstat_add(VM_pgalloc_dma32, pages);
}

static __always_inline void page_prepare(struct page *p, unsigned order, enum page_type type)
{
	p->refcount = 1;
	p->private = 0;
	p->type = type;
	p->flags = 0;
	p->order = order;
}

/*
 * The descriptors of a new block. 511 of a huge page's are left alone: its record says what they
 * are, and they are FREE, unmapped and unreferenced (B2). Only [1] has words of its own to set.
 */
static void block_prepare(struct page *p, unsigned order, enum page_type type)
{
	struct pageblock *b = pfn_block(page_to_pfn(p));

	page_prepare(p, order, type);
	if (order >= HPAGE_PMD_ORDER)
		b->generation++;
	if (type == PAGE_ANON_HUGE) {
		DCHECK(order == HPAGE_PMD_ORDER);
		*page_pte_mappings_ptr(p) = 0;
		p[1].next = p[1].prev = 0;
		b->flags |= PB_HUGE;
		return;
	}
	for (u64 i = 1; i < 1ul << order; i++) {
		p[i].private = 0;
		p[i].type = type;
		p[i].order = TAIL_ORDER;
	}
}

static struct page *zone_alloc_page(struct zone *z, enum migratetype mt, u32 flags)
{
	struct page_list *list = &z->pcp[cpu_id()].lists[mt];

	if (!list->first)
		pcp_refill(z, list, mt, flags);
	return list->first ? pcp_pop(list) : NULL;
}

static struct page *zone_alloc_block(struct zone *z, unsigned order, enum migratetype mt, u32 flags)
{
	struct page_list *huge = &z->pcp[cpu_id()].huge;
	struct page *p = NULL;

	if (order == HPAGE_PMD_ORDER && mt == MIGRATE_MOVABLE && huge->first)
		return pcp_pop(huge);
	spin_lock(&z->lock);
	if (pages_above_mark(z, flags) >= 1ul << order)
		p = block_take(z, order, mt);
	spin_unlock(&z->lock);
	return p;
}

/* Normal first, then DMA32. */
static struct page *zones_alloc(unsigned order, enum migratetype mt, enum page_type type, u32 flags)
{
	struct zone *z = flags & BUDDY_DMA32 ? &zones[ZONE_DMA32] : preferred;

	for (; z >= zones; z--) {
		struct page *p = order ? zone_alloc_block(z, order, mt, flags)
				       : zone_alloc_page(z, mt, flags);

		if (!p)
			continue;
		if (CONFIG_CHECKS && order == 0)
			poison_verify(p);
		block_prepare(p, order, type);
		count_alloc(z, 1l << order);
		return p;
	}
	return NULL;
}

/* What this CPU's lists hold may be the block that is missing. Not worth it for a mere wish. */
static __noinline struct page *alloc_slow(
	unsigned order, enum migratetype mt, enum page_type type, u32 flags)
{
	struct page *p = zones_alloc(order, mt, type, flags);

	if (p || (order > 0 && flags & BUDDY_QUIET))
		return p;
	buddy_drain_pcp();
	return zones_alloc(order, mt, type, flags);
}

/* buddy_inject_now - debug builds: is this the allocation that somebody wants to fail? */
bool buddy_inject_now(unsigned order)
{
	u64 at = READ_ONCE(inject_at);

	if (!at || (inject_order >= 0 && (unsigned)inject_order != order))
		return false;
	if (__atomic_add_fetch(&buddy_inject_seen, 1, __ATOMIC_RELAXED) != at)
		return false;
	__atomic_add_fetch(&buddy_inject_fired, 1, __ATOMIC_RELAXED);
	return true;
}

/* buddy_alloc - contract in buddy.h. */
struct page *buddy_alloc(unsigned order, enum migratetype mt, enum page_type type, u32 flags)
{
	struct page_list *list;
	struct page *p;

	if (CONFIG_INJECT && unlikely(buddy_inject_now(order)))
		return NULL;
	if (unlikely(order > 0 || flags & BUDDY_DMA32))
		return order <= MAX_ORDER ? alloc_slow(order, mt, type, flags) : NULL;
	list = &preferred->pcp[cpu_id()].lists[mt];
	if (unlikely(!list->first))
		return alloc_slow(order, mt, type, flags);
	p = pcp_pop(list);
	if (CONFIG_CHECKS)
		poison_verify(p);
	page_prepare(p, 0, type);
	count_alloc(preferred, 1);
	return p;
}

/*
 * buddy_alloc_zeroed - one page, unmovable, cleared: from this CPU's zeroed ones if there is one.
 *
 *   locks, returns  as buddy_alloc
 *   Linux           get_zeroed_page; its quicklists of tables were this list
 */
struct page *buddy_alloc_zeroed(enum page_type type)
{
	struct page_list *list = &preferred->pcp[cpu_id()].zeroed;
	struct page *p;

	if (!list->first) {
		p = buddy_alloc(0, MIGRATE_UNMOVABLE, type, 0);
		if (p)
			clear_page(page_to_virt(p));
		return p;
	}
	if (CONFIG_INJECT && unlikely(buddy_inject_now(0)))
		return NULL;
	p = pcp_pop(list);
	if (CONFIG_CHECKS)
		zeroed_verify(p);
	page_prepare(p, 0, type);
	count_alloc(preferred, 1);
	return p;
}

/*
 * buddy_alloc_prezeroed - a movable huge page whose every byte is zero, if one was cleared in advance.
 *
 *   locks    as buddy_alloc
 *   returns  as buddy_alloc with order 9 and PAGE_ANON_HUGE; NULL: there is none
 */
struct page *buddy_alloc_prezeroed(void)
{
	struct page *p = NULL;

	for (struct zone *z = preferred; z >= zones && !p; z--) {
		if (!READ_ONCE(z->prezeroed.first))
			continue;
		spin_lock(&z->lock);
		if (z->prezeroed.first)
			p = pcp_pop(&z->prezeroed);
		spin_unlock(&z->lock);
		if (p)
			count_alloc(z, HPAGE_PMD_NR);
	}
	if (!p)
		return NULL;
	vmstat_add(VM_nr_thp_prezeroed, -1);
	block_prepare(p, HPAGE_PMD_ORDER, PAGE_ANON_HUGE);
	return p;
}

/* ---- freeing ---- */

/* Somebody frees what is not his. Says which of the possible mistakes it is. */
static __noreturn __noinline void free_refused(const struct page *p)
{
	unsigned long pfn = page_to_pfn(p);

	if (pfn >= page_max_pfn)
		panic("buddy", "foreign free: %p describes no frame", (const void *)p);
	if (p->flags & (PG_BUDDY | PG_PCP))
		panic("buddy", "double free of pfn %#lx, order %u", pfn, p->order);
	if (p->type == PAGE_FREE && pfn_in_huge(pfn))
		panic("buddy", "foreign free: pfn %#lx is the tail of a huge page", pfn);
	if (p->type == PAGE_FREE)
		panic("buddy", "double free of pfn %#lx", pfn);
	if (!(FREEABLE_TYPES >> p->type & 1))
		panic("buddy", "foreign free: pfn %#lx is %s", pfn, page_type_name(p->type));
	if (p->order > MAX_ORDER)
		panic("buddy", "foreign free: pfn %#lx is not the first page of its block", pfn);
	panic("buddy", "pfn %#lx (%s) freed in use: refcount %u, mapcount %u, flags %#x", pfn,
		page_type_name(p->type), p->refcount, p->mapcount, p->flags);
}

static __always_inline bool may_be_freed(const struct page *p, pfn_t pfn)
{
	return pfn < page_max_pfn && p->refcount <= 1 && !p->mapcount && !p->flags &&
	       FREEABLE_TYPES >> p->type & 1;
}

/* The descriptors of a block become FREE ones; those of a huge page's tails are that already. */
static void block_unprepare(struct page *p, pfn_t pfn, unsigned order)
{
	if (order >= HPAGE_PMD_ORDER)
		pfn_block(pfn)->generation++;
	p->refcount = 0;
	if (p->type == PAGE_ANON_HUGE) {
		ASSERT_RULE("buddy", !page_pmd_mapcount(p) && !page_pte_mappings(p),
			"huge page at pfn %#lx freed while mapped", (unsigned long)pfn);
		pfn_block(pfn)->flags &= ~PB_HUGE;
		p->type = PAGE_FREE;
		return;
	}
	for (u64 i = 0; i < 1ul << order; i++) {
		p[i].type = PAGE_FREE;
		p[i].order = 0;
	}
}

static __noinline void free_block(struct page *p, pfn_t pfn)
{
	struct zone *z = pfn_zone(pfn);
	struct page_list *huge = &z->pcp[cpu_id()].huge;
	unsigned order = p->order;

	if (order > MAX_ORDER || !IS_ALIGNED(pfn, 1ul << order))
		free_refused(p);
	block_unprepare(p, pfn, order);
	vmstat_add(VM_pgfree, 1l << order);
	if (order == HPAGE_PMD_ORDER && huge->count < pcp_huge_high &&
		pfn_block(pfn)->migratetype == MIGRATE_MOVABLE) {
		p->order = order;
		pcp_push(huge, p, pfn);
		return;
	}
	spin_lock(&z->lock);
	count_free(z, pfn, 1ul << order);
	block_file(z, pfn, order);
	spin_unlock(&z->lock);
}

/*
 * buddy_free - give a block back.
 *
 *   locks    none that is inner to zone.lock; refcount is 0 (or 1, which is dropped), mapcount 0,
 *            no list
 *   returns  panics ("buddy") on a double or foreign free, or when the page is still in use
 *   Linux    __free_pages, free_unref_page
 */
void buddy_free(struct page *head)
{
	pfn_t pfn = page_to_pfn(head);
	struct page_list *list;
	struct zone *z;

	if (unlikely(!may_be_freed(head, pfn)))
		free_refused(head);
	if (unlikely(head->order > 0)) {
		free_block(head, pfn);
		return;
	}
	if (CONFIG_CHECKS && head->type == PAGE_KERNEL)
		poison_fill(head);
	head->refcount = 0;
	head->type = PAGE_FREE;
	z = pfn_zone(pfn);
	list = &z->pcp[cpu_id()].lists[pfn_block(pfn)->migratetype];
	pcp_push(list, head, pfn);
	vmstat_inc(VM_pgfree);
	if (unlikely(list->count > pcp_high))
		pcp_drain(z, list, pcp_batch);
}

/*
 * buddy_free_zeroed - the same for one page whose every byte is zero.
 *
 *   locks, panics  as buddy_free
 */
void buddy_free_zeroed(struct page *page)
{
	pfn_t pfn = page_to_pfn(page);
	struct page_list *list = &preferred->pcp[cpu_id()].zeroed;

	if (list->count >= PCP_ZEROED_HIGH || !pcp_high || pfn_zone(pfn) != preferred) {
		buddy_free(page);
		return;
	}
	if (unlikely(!may_be_freed(page, pfn) || page->order))
		free_refused(page);
	if (CONFIG_CHECKS) {
		page->private = 0;
		zeroed_verify(page);
	}
	page->refcount = 0;
	page->type = PAGE_FREE;
	pcp_push(list, page, pfn);
	vmstat_inc(VM_pgfree);
}

/*
 * buddy_free_prezeroed - a huge page that the caller has cleared joins those for buddy_alloc_prezeroed().
 *
 *   locks, panics  as buddy_free
 */
void buddy_free_prezeroed(struct page *head)
{
	pfn_t pfn = page_to_pfn(head);
	struct zone *z = pfn_zone(pfn);

	if (!may_be_freed(head, pfn) || head->type != PAGE_ANON_HUGE)
		free_refused(head);
	block_unprepare(head, pfn, HPAGE_PMD_ORDER);
	vmstat_add(VM_pgfree, HPAGE_PMD_NR);
	vmstat_inc(VM_nr_thp_prezeroed);
	spin_lock(&z->lock);
	pcp_push(&z->prezeroed, head, pfn);
	spin_unlock(&z->lock);
}

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

/* The frames of one pageblock that are marked in `map`, neighbours together, largest first. */
static void file_marked(pfn_t block, u64 map[HPAGE_PMD_NR / 64])
{
	pfn_t pfn = block << HPAGE_PMD_ORDER;
	struct zone *z = pfn_zone(pfn);

	spin_lock(&z->lock);
	for (unsigned w = 0; w < HPAGE_PMD_NR / 64; w++, pfn += 64) {
		while (map[w]) {
			unsigned at = __builtin_ctzl(map[w]);
			u64 rest = ~(map[w] >> at);
			unsigned run = rest ? __builtin_ctzl(rest) : 64;
			unsigned order = MIN(63 - __builtin_clzl(run), at ? __builtin_ctz(at) : 6);

			count_free(z, pfn + at, 1l << order);
			block_file(z, pfn + at, order);
			map[w] &= order == 6 ? 0 : ~(((1ul << (1u << order)) - 1) << at);
		}
	}
	spin_unlock(&z->lock);
}

/*
 * page_free_batch - free base pages, neighbours together.
 *
 *   pfns     `nr` of them: the caller's reference is the only one (or none is left), no mapping, no list
 *   locks    takes zone.lock for each pageblock
 *
 * A task's pages mostly are neighbours. Marked in a map of their pageblock they unite by counting bits
 * instead of buddy by buddy.
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
			free_refused(p);
		if (unlikely(pfn >> HPAGE_PMD_ORDER != block)) {
			file_marked(block, map);
			block = pfn >> HPAGE_PMD_ORDER;
		}
		p->refcount = 0;
		p->type = PAGE_FREE;
		p->flags = 0;
		map[pfn / 64 % (HPAGE_PMD_NR / 64)] |= 1ul << pfn % 64;
	}
	file_marked(block, map);
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
	pfn_block(pfn)->flags &= ~PB_HUGE;
	pfn_block(pfn)->generation++;
}

/* ---- start-up and settings ---- */

static u64 square_root(u64 n)
{
	u64 root = 0;

	for (u64 bit = 1ul << 31; bit; bit >>= 1)
		if ((root | bit) * (root | bit) <= n)
			root |= bit;
	return root;
}

static u64 managed_pages(void)
{
	return zones[ZONE_DMA32].managed_pages + zones[ZONE_NORMAL].managed_pages;
}

/*
 * buddy_set_min_free_kbytes - how much is kept: each zone its share of it.
 *
 *   locks    none: readers see old or new marks
 *   Linux    setup_per_zone_wmarks, with watermark_scale_factor 10
 */
void buddy_set_min_free_kbytes(u64 kb)
{
	u64 total = MAX(managed_pages(), 1), pages = kb >> (PAGE_SHIFT - 10);

	buddy_min_free_kbytes = kb;
	for (unsigned i = 0; i < NR_ZONES; i++) {
		struct zone *z = &zones[i];
		u64 min = pages * z->managed_pages / total;
		u64 step = MAX(min / 4, z->managed_pages / 1000);

		z->watermark_min = min;
		z->watermark_low = min + step;
		z->watermark_high = min + 2 * step;
	}
}

/* The part of a range that lies in z: typed FREE and filed in the largest blocks that fit. */
static void zone_add_range(struct zone *z, pfn_t start, pfn_t end)
{
	u64 order;

	z->start = z->managed_pages ? MIN(z->start, start) : start;
	z->end = MAX(z->end, end);
	z->present_pages += end - start;
	z->managed_pages += end - start;
	for (pfn_t pfn = start; pfn < end; pfn++) {
		struct page *p = pfn_to_page(pfn);

		if (p->type != PAGE_RESERVED || pfn == 0)
			panic("buddy", "pfn %#lx handed over twice", (unsigned long)pfn);
		p->type = PAGE_FREE;
	}
	spin_lock(&z->lock);
	for (pfn_t pfn = start; pfn < end; pfn += 1ul << order) {
		order = MIN(__builtin_ctzl(pfn), 63 - __builtin_clzl(end - pfn));
		order = MIN(order, MAX_ORDER);
		count_free(z, pfn, 1ul << order);
		block_file(z, pfn, order);
	}
	spin_unlock(&z->lock);
}

/*
 * buddy_add_range - hand the frames [start, end) over; they are RESERVED until now.
 *
 *   locks    takes zone.lock; start-up only, pages and watermarks do not follow by themselves
 *   Linux    memblock_free_pages
 */
void buddy_add_range(pfn_t start, pfn_t end)
{
	if (start < MIN(end, DMA32_END))
		zone_add_range(&zones[ZONE_DMA32], start, MIN(end, DMA32_END));
	if (MAX(start, DMA32_END) < end)
		zone_add_range(&zones[ZONE_NORMAL], MAX(start, DMA32_END), end);
	preferred = &zones[zones[ZONE_NORMAL].managed_pages ? ZONE_NORMAL : ZONE_DMA32];
}

/* RAM in use for good counts as present. It was typed by page_init(), or it came too late. */
static void zone_count_used(const struct memmap_range *r)
{
	pfn_t start = r->start >> PAGE_SHIFT, end = r->end >> PAGE_SHIFT;

	ASSERT(r->end <= MEMMAP_LOW || pfn_to_page(MAX(start, 1))->type != PAGE_RESERVED);
	zones[ZONE_DMA32].present_pages += MIN(end, DMA32_END) - MIN(start, DMA32_END);
	zones[ZONE_NORMAL].present_pages += MAX(end, DMA32_END) - MAX(start, DMA32_END);
}

/*
 * buddy_init - file every usable frame above the first MiB, set watermarks and per-CPU lists.
 *
 *   locks    none: start-up, one CPU; after page_init()
 *   Linux    memblock_free_all, init_per_zone_wmark_min
 */
void buddy_init(void)
{
	u64 kb;

	for (unsigned i = 0; i < memmap_count; i++) {
		const struct memmap_range *r = &memmap_ranges[i];
		paddr_t start = MAX(r->start, MEMMAP_LOW);

		if (r->type == MEMMAP_USABLE && start < r->end)
			buddy_add_range(start >> PAGE_SHIFT, r->end >> PAGE_SHIFT);
		else if (memmap_is_ram(r->type) && r->type != MEMMAP_USABLE)
			zone_count_used(r);
	}
	kb = square_root(managed_pages() << (PAGE_SHIFT - 10) << 4);
	buddy_set_min_free_kbytes(MIN(MAX(kb, 128), 262144));
	/* A small machine cannot leave 186 pages of each kind with each CPU. */
	buddy_set_pcp(PCP_BATCH, MIN(MAX(managed_pages() / 256, 2 * PCP_BATCH), PCP_HIGH));
}

/*
 * buddy_free_pages - free pages of all zones, those on per-CPU lists included.
 *
 *   locks    none; exact when nobody allocates
 *   Linux    nr_free_pages (without the per-CPU lists)
 */
u64 buddy_free_pages(void)
{
	u64 pages = 0;

	for (unsigned i = 0; i < NR_ZONES; i++) {
		pages += READ_ONCE(zones[i].free_pages);
		for (unsigned cpu = 0; cpu < MAX_CPUS; cpu++) {
			const struct pcp *pcp = &zones[i].pcp[cpu];

			for (unsigned mt = 0; mt < NR_MIGRATETYPES; mt++)
				pages += READ_ONCE(pcp->lists[mt].count);
			pages += READ_ONCE(pcp->huge.count) << HPAGE_PMD_ORDER;
			pages += READ_ONCE(pcp->zeroed.count);
		}
		pages += READ_ONCE(zones[i].prezeroed.count) << HPAGE_PMD_ORDER;
	}
	return pages;
}

/*
 * buddy_inject_fail - fail the k-th allocation from now of this order (-1: of any). 0 switches off.
 *
 *   after    seen and fired start from 0 when k is not 0, and can still be read when it is
 *   Linux    fail_page_alloc of the fault-injection framework
 */
void buddy_inject_fail(u64 kth, int order)
{
	WRITE_ONCE(inject_at, 0);
	if (!kth)
		return;
	buddy_inject_seen = 0;
	buddy_inject_fired = 0;
	inject_order = order;
	WRITE_ONCE(inject_at, kth);
}

/* ---- the checker ---- */

static bool broken(const char *rule, const char *what, pfn_t pfn, u64 is, u64 want)
{
	printk("buddy_check: %s: %s, pfn %#lx: %lu, not %lu", rule, what, (unsigned long)pfn,
		(unsigned long)is, (unsigned long)want);
	return false;
}

/* One block that stands on a list. */
static bool check_block(const struct zone *z, pfn_t pfn, unsigned order, enum migratetype mt)
{
	struct page *p = pfn_to_page(pfn);
	pfn_t buddy = buddy_of(pfn, order);

	if (!IS_ALIGNED(pfn, 1ul << order))
		return broken(
			"B1", "alignment of a free block", pfn, pfn & ((1ul << order) - 1), 0);
	if (pfn < z->start || pfn + (1ul << order) > z->end)
		return broken("B1", "a free block outside its zone", pfn, order, 0);
	if (p->flags != PG_BUDDY || p->order != order)
		return broken("B2", "order of a free block", pfn, p->order, order);
	if (order < MAX_ORDER && buddy < z->end && page_is_buddy(pfn_to_page(buddy), order))
		return broken("B3", "two buddies are free, order", pfn, order, order + 1);
	if (pfn_block(pfn)->migratetype != mt)
		return broken("B6", "migratetype", pfn, mt, pfn_block(pfn)->migratetype);
	return true;
}

/* One list: every block on it, and its length. */
static bool check_list(const struct zone *z, unsigned order, enum migratetype mt)
{
	const struct page_list *list = &z->free[order][mt];
	u64 length = 0;
	u32 before = 0;

	for (u32 pfn = list->first; pfn; pfn = pfn_to_page(pfn)->next) {
		if (pfn >= page_max_pfn || ++length > list->count)
			return broken("B4", "length of a list", pfn, length, list->count);
		if (pfn_to_page(pfn)->prev != before)
			return broken("B4", "link back", pfn, pfn_to_page(pfn)->prev, before);
		if (!check_block(z, pfn, order, mt))
			return false;
		before = pfn;
	}
	if (length != list->count || list->last != before)
		return broken("B4", "length of a list", before, length, list->count);
	return true;
}

static bool check_lists(const struct zone *z)
{
	u64 pages = 0;

	for (unsigned order = 0; order <= MAX_ORDER; order++) {
		u64 blocks = 0;

		for (unsigned mt = 0; mt < NR_MIGRATETYPES; mt++) {
			if (!check_list(z, order, mt))
				return false;
			blocks += z->free[order][mt].count;
		}
		if (blocks != z->nr_free[order])
			return broken(
				"B4", "nr_free of an order", order, z->nr_free[order], blocks);
		pages += blocks << order;
	}
	if (pages != z->free_pages)
		return broken("B4", "free_pages", 0, z->free_pages, pages);
	return true;
}

/* What the array says, to be compared with what the lists say. */
struct survey {
	u64 buddy_pages, pcp_pages;
	u64 block_free; /* of the pageblock at hand */
};

/* The frames of a free block are all FREE, and only the first one is marked. */
static bool check_free_frames(pfn_t pfn, u64 frames)
{
	for (u64 i = 0; i < frames; i++) {
		const struct page *p = pfn_to_page(pfn + i);

		if (p->type != PAGE_FREE)
			return broken("B2", "type in a free block", pfn + i, p->type, PAGE_FREE);
		if (p->refcount || p->mapcount)
			return broken("B2", "references in a free block", pfn + i,
				p->refcount + p->mapcount, 0);
		if (i > 0 && p->flags)
			return broken("B2", "flags in a free block", pfn + i, p->flags, 0);
	}
	return true;
}

/* One step over the array: a free block, a page of a CPU, or something handed out. 0: broken. */
static u64 check_frame(pfn_t pfn, struct survey *s)
{
	const struct page *p = pfn_to_page(pfn);
	u64 frames = 1ul << (p->order <= MAX_ORDER ? p->order : 0);

	if (p->flags & PG_BUDDY) {
		s->buddy_pages += frames;
		s->block_free += frames;
		return check_free_frames(pfn, frames) ? frames : 0;
	}
	if (p->flags & PG_PCP) {
		s->pcp_pages += frames;
		return check_free_frames(pfn, frames) ? frames : 0;
	}
	if (pfn_in_huge(pfn))
		return HPAGE_PMD_NR;
	if (p->type == PAGE_FREE) {
		broken("B5", "a FREE page on no list", pfn, 0, 1);
		return 0;
	}
	return 1;
}

/* Every frame of the zone once; a pageblock's nr_free at its end. */
static bool check_frames(const struct zone *z, struct survey *s)
{
	for (pfn_t pfn = z->start; pfn < z->end;) {
		struct pageblock *b = pfn_block(pfn);
		pfn_t end = MIN(block_start(pfn) + HPAGE_PMD_NR, z->end);

		s->block_free = 0;
		while (pfn < end) {
			u64 frames = check_frame(pfn, s);

			if (!frames)
				return false;
			pfn += frames;
		}
		if (pfn > end) { /* an order 10 block: half of it is the next pageblock's */
			s->block_free -= HPAGE_PMD_NR;
			if (b[1].nr_free != HPAGE_PMD_NR)
				return broken("B4", "nr_free of a pageblock", end, b[1].nr_free,
					HPAGE_PMD_NR);
		}
		if (b->nr_free != s->block_free)
			return broken(
				"B4", "nr_free of a pageblock", end - 1, b->nr_free, s->block_free);
	}
	return true;
}

/* Pages on the lists of all CPUs; each must be marked. */
static bool check_pcp_list(const struct page_list *list, unsigned order, u64 *pages)
{
	u64 length = 0;

	for (u32 pfn = list->first; pfn; pfn = pfn_to_page(pfn)->next) {
		const struct page *p = pfn_to_page(pfn);

		if (pfn >= page_max_pfn || ++length > list->count)
			return broken("B5", "length of a per-CPU list", pfn, length, list->count);
		if (p->flags != PG_PCP || p->order != order)
			return broken("B5", "flags on a per-CPU list", pfn, p->flags, PG_PCP);
	}
	if (length != list->count)
		return broken("B5", "length of a per-CPU list", 0, length, list->count);
	*pages += length << order;
	return true;
}

/* Those cleared in advance: zeroes, read word by word. */
static bool check_prezeroed(const struct zone *z)
{
	for (u32 pfn = z->prezeroed.first; pfn; pfn = pfn_to_page(pfn)->next) {
		const u64 *word = page_to_virt(pfn_to_page(pfn));

		for (u64 i = 0; i < HPAGE_PMD_SIZE / sizeof(*word); i++)
			if (word[i])
				return broken("B7", "a word of a cleared page", pfn, word[i], 0);
	}
	return true;
}

static bool check_pcp(const struct zone *z, u64 *pages)
{
	if (!check_pcp_list(&z->prezeroed, HPAGE_PMD_ORDER, pages) || !check_prezeroed(z))
		return false;
	for (unsigned cpu = 0; cpu < MAX_CPUS; cpu++) {
		for (unsigned mt = 0; mt < NR_MIGRATETYPES; mt++)
			if (!check_pcp_list(&z->pcp[cpu].lists[mt], 0, pages))
				return false;
		if (!check_pcp_list(&z->pcp[cpu].huge, HPAGE_PMD_ORDER, pages) ||
			!check_pcp_list(&z->pcp[cpu].zeroed, 0, pages))
			return false;
	}
	return true;
}

static bool check_zone(const struct zone *z)
{
	struct survey s = {0, 0, 0};
	u64 pcp_pages = 0;

	if (!check_lists(z) || !check_frames(z, &s) || !check_pcp(z, &pcp_pages))
		return false;
	if (s.buddy_pages != z->free_pages)
		return broken("B5", "pages marked PG_BUDDY", 0, s.buddy_pages, z->free_pages);
	if (s.pcp_pages != pcp_pages)
		return broken("B5", "pages marked PG_PCP", 0, s.pcp_pages, pcp_pages);
	return true;
}

/*
 * buddy_check - B1 to B7.
 *
 *   locks    takes each zone.lock; exact when no other CPU allocates (its own lists need no lock)
 *   returns  false after one line that names the broken rule and the values
 */
bool buddy_check(void)
{
	for (unsigned i = 0; i < NR_ZONES; i++) {
		bool ok;

		spin_lock(&zones[i].lock);
		ok = check_zone(&zones[i]);
		spin_unlock(&zones[i].lock);
		if (!ok)
			return false;
	}
	return true;
}
