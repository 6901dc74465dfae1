/*
 * buddy.c - handing out and taking back blocks of pages.                                    floor 2
 *
 * The allocator's front: what the rest of the kernel calls. It knows nothing of addresses in a
 * process, never waits and never moves a page: when it has no block it says so. How blocks are
 * halved, united and kept apart is in block.c, the lists of each CPU in pcp.c, the last page_put in
 * put.c, and where the first pages come from in buddy_init.c.
 *
 * IDEA
 *   A page comes from this CPU's own stack, without a lock, or the stack is filled first; a block
 *   comes from the zone. Where the wished for zone has nothing the next one is asked.
 *
 *      buddy_alloc(0) <-- [ CPU's stack ] <--32 at a time, one lock-- [ zone's free[order][type] ]
 *      buddy_alloc(9) <-- [ one huge page ] <-------- or ------------------'
 *
 *   Huge pages that an idle CPU has cleared in advance stand apart too, one list for each zone: they
 *   are free, but only who wants zeroes takes them, until memory is short.
 *
 *   Watermarks keep the last pages for those without whom nothing is ever freed:
 *      0 .. min: BUDDY_RESERVE only    min .. low: ordinary    above low: BUDDY_QUIET too
 *
 * INVARIANTS  B1 to B8: buddy_check.c
 * LOCKS       zone.lock: innermost of memory; taken and released inside every public function
 * LINUX       mm/page_alloc.c: __alloc_pages, free_unref_page. It adds reclaim and compaction on the
 *             way, lowmem reserves, boosted watermarks and CMA.   docs/mm/buddy.md
 */
#include "lib/string.h"
#include "mm/block.h"
#include "mm/buddy.h"
#include "mm/pcp.h"
#include "panic.h"
#include "trace.h"
#include "vmstat.h"
#include "x86/cpu.h"

#define TAIL_ORDER 0xff /* order of a used block's other pages: no head */
#define FREEABLE_TYPES                                                                             \
	(1u << PAGE_KERNEL | 1u << PAGE_TABLE | 1u << PAGE_ANON | 1u << PAGE_ANON_HUGE |           \
		1u << PAGE_ZERO | 1u << PAGE_PINNED)

#define POISON_BYTE 0x6b
#define POISON_WORD 0x6b6b6b6b6b6b6b6bul

u64 buddy_inject_fired, buddy_inject_seen;

static u64 inject_at;
static int inject_order;

/* ---- what freed pages hold ---- */

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

/* ---- allocating ---- */

static __always_inline void count_alloc(const struct zone *z, s64 pages)
{
	if (z->id == ZONE_NORMAL)
		vmstat_add(VM_pgalloc_normal, pages);
	else
		vmstat_add(VM_pgalloc_dma32, pages);
}

/* Whose memory it became, whose was wished for. Linux: zone_statistics */
static void count_node(struct zone *z, unsigned wished)
{
	struct pcp *pcp = &z->pcp[cpu_id()];

	if (z->node == wished) {
		pcp->hit++;
	} else {
		pcp->miss++;
		node_zone(wished, z->id)->pcp[cpu_id()].foreign++;
	}
	if (z->node != this_cpu()->node)
		pcp->other++;
}

/* The descriptors of a new block. See buddy_prepare(). */
static __always_inline void prepare(struct page *p, unsigned order, enum page_type type)
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

/*
 * buddy_prepare - the descriptors of a new block. 511 of a huge page's are left alone: its record says what they
 * are, and they are FREE, unmapped and unreferenced (B2 of buddy_check.c). Only [1] has words of
 * its own to set.
 */
void buddy_prepare(struct page *p, unsigned order, enum page_type type)
{
	prepare(p, order, type);
}

static struct page *zone_alloc_page(struct zone *z, enum migratetype mt, u32 flags)
{
	struct page_list *list = &z->pcp[cpu_id()].lists[mt];

	if (!list->first)
		pcp_refill(z, list, mt, buddy_mark(z, flags));
	return list->first ? pcp_pop(list) : NULL;
}

static __always_inline struct page *zone_alloc_block(
	struct zone *z, struct pcp *pcp, unsigned order, enum migratetype mt, u32 flags)
{
	struct page *p = NULL;

	if (order == HPAGE_PMD_ORDER && mt == MIGRATE_MOVABLE && pcp->huge.first)
		return pcp_pop(&pcp->huge);
	spin_lock(&z->lock);
	if (zone_pages_above(z, buddy_mark(z, flags)) >= 1ul << order)
		p = block_take(z, order, mt);
	spin_unlock(&z->lock);
	return p;
}

/* The zones of the node that is wished for, Normal first; then those of the next node. */
static struct page *zones_alloc(unsigned order, enum migratetype mt, enum page_type type, u32 flags)
{
	unsigned wished = buddy_wished_node(flags);
	const struct zonelist *list = &zonelists[wished];

	for (unsigned i = 0; i < list->nr; i++) {
		struct zone *z = &zones[list->zones[i]];
		struct page *p;

		if ((flags & BUDDY_DMA32 && z->id != ZONE_DMA32) ||
			!buddy_allows_node(flags, z->node))
			continue;
		p = order ? zone_alloc_block(z, &z->pcp[cpu_id()], order, mt, flags)
			  : zone_alloc_page(z, mt, flags);
		if (!p)
			continue;
		if (CONFIG_CHECKS && order == 0)
			poison_verify(p);
		buddy_prepare(p, order, type);
		count_alloc(z, 1l << order);
		count_node(z, wished);
		return p;
	}
	return NULL;
}

/* What this CPU's lists hold may be the block that is missing. Not worth it for a mere wish. */
static __noinline struct page *alloc_slow(
	unsigned order, enum migratetype mt, enum page_type type, u32 flags)
{
	struct page *p = NULL;

	if (flags & BUDDY_ELSE)
		p = zones_alloc(order, mt, type, flags & ~BUDDY_ELSE);
	if (!p)
		p = zones_alloc(order, mt, type, flags);
	if (!p && !(order > 0 && flags & BUDDY_QUIET)) {
		buddy_drain_pcp();
		p = zones_alloc(order, mt, type, flags);
	}
	if (p && order > 0)
		trace(TRACE_mm_page_alloc, page_to_pfn(p), order, mt);
	return p;
}

/* A huge page where this CPU asks first; alloc_slow asks everywhere. */
static __noinline struct page *alloc_huge(u32 flags)
{
	struct cpu *c = this_cpu();
	struct page *p = zone_alloc_block(c->zone, c->pcp, HPAGE_PMD_ORDER, MIGRATE_MOVABLE, flags);

	if (unlikely(!p))
		return alloc_slow(HPAGE_PMD_ORDER, MIGRATE_MOVABLE, PAGE_ANON_HUGE, flags);
	prepare(p, HPAGE_PMD_ORDER, PAGE_ANON_HUGE);
	c->pcp->hit++;
	count_alloc(c->zone, HPAGE_PMD_NR);
	trace(TRACE_mm_page_alloc, page_to_pfn(p), HPAGE_PMD_ORDER, MIGRATE_MOVABLE);
	return p;
}

/* The order is not 0, or the zone is not this CPU's. */
static __noinline struct page *alloc_other(
	unsigned order, enum migratetype mt, enum page_type type, u32 flags)
{
	if (order > MAX_ORDER)
		return NULL;
	if (type == PAGE_ANON_HUGE && mt == MIGRATE_MOVABLE &&
		!(flags & (BUDDY_DMA32 | BUDDY_NODE)))
		return alloc_huge(flags);
	return alloc_slow(order, mt, type, flags);
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
	struct cpu *c;
	struct page *p;

	if (CONFIG_INJECT && unlikely(buddy_inject_now(order)))
		return NULL;
	if (unlikely(order > 0 || flags & (BUDDY_DMA32 | BUDDY_NODE)))
		return alloc_other(order, mt, type, flags);
	c = this_cpu();
	list = &c->pcp->lists[mt];
	if (unlikely(!list->first))
		return alloc_slow(order, mt, type, flags);
	p = pcp_pop(list);
	if (CONFIG_CHECKS)
		poison_verify(p);
	page_prepare(p, 0, type);
	c->pcp->hit++;
	count_alloc(c->zone, 1);
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
	struct cpu *c = this_cpu();
	struct page_list *list = &c->pcp->zeroed;
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
	c->pcp->hit++;
	count_alloc(c->zone, 1);
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
	unsigned here = this_cpu()->node;
	const struct zonelist *list = &zonelists[here];
	struct page *p = NULL;

	for (unsigned i = 0; i < list->nr && !p; i++) {
		struct zone *z = &zones[list->zones[i]];

		if (!READ_ONCE(z->prezeroed.first))
			continue;
		spin_lock(&z->lock);
		if (z->prezeroed.first)
			p = pcp_pop(&z->prezeroed);
		spin_unlock(&z->lock);
		if (p) {
			count_alloc(z, HPAGE_PMD_NR);
			count_node(z, here);
		}
	}
	if (!p)
		return NULL;
	vmstat_add(VM_nr_thp_prezeroed, -1);
	buddy_prepare(p, HPAGE_PMD_ORDER, PAGE_ANON_HUGE);
	return p;
}

/* ---- freeing ---- */

/* buddy_free_refused - somebody frees what is not his. Says which of the possible mistakes it is. */
__noreturn __noinline void buddy_free_refused(const struct page *p)
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
		DCHECK(!(pfn_block(pfn)->flags & PB_PUD));
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
		buddy_free_refused(p);
	block_unprepare(p, pfn, order);
	trace(TRACE_mm_page_free, pfn, order, 0);
	vmstat_add(VM_pgfree, 1l << order);
	if (order == HPAGE_PMD_ORDER && huge->count < pcp_huge_high &&
		pfn_block(pfn)->migratetype == MIGRATE_MOVABLE) {
		p->order = order;
		pcp_push(huge, p, pfn);
		return;
	}
	spin_lock(&z->lock);
	block_give(z, pfn, order);
	spin_unlock(&z->lock);
}

static __noinline void free_isolated(struct zone *z, struct page *p, pfn_t pfn)
{
	p->flags = 0;
	if (CONFIG_CHECKS)
		p->private = 0;
	spin_lock(&z->lock);
	block_give(z, pfn, 0);
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
	enum migratetype mt;
	struct zone *z;

	if (unlikely(!may_be_freed(head, pfn)))
		buddy_free_refused(head);
	if (unlikely(head->order > 0)) {
		free_block(head, pfn);
		return;
	}
	if (CONFIG_CHECKS && head->type == PAGE_KERNEL)
		poison_fill(head);
	head->refcount = 0;
	head->type = PAGE_FREE;
	vmstat_inc(VM_pgfree);
	z = pfn_zone(pfn);
	mt = pfn_block(pfn)->migratetype;
	if (unlikely(mt ==
		     MIGRATE_ISOLATE)) { /* never on a stack, from where it would be handed out */
		free_isolated(z, head, pfn);
		return;
	}
	list = &z->pcp[cpu_id()].lists[mt];
	pcp_push(list, head, pfn);
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
	struct cpu *c = this_cpu();
	struct page_list *list = &c->pcp->zeroed;

	if (list->count >= PCP_ZEROED_HIGH || !pcp_high || pfn_zone(pfn) != c->zone) {
		buddy_free(page);
		return;
	}
	if (unlikely(!may_be_freed(page, pfn) || page->order))
		buddy_free_refused(page);
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
 * buddy_retype_huge - a block of order 9 that only the caller has becomes another type, as if freed and allocated.
 */
void buddy_retype_huge(struct page *head, enum page_type type)
{
	block_unprepare(head, page_to_pfn(head), HPAGE_PMD_ORDER);
	buddy_prepare(head, HPAGE_PMD_ORDER, type);
}

/*
 * buddy_free_prezeroed - a huge page that the caller has cleared joins those for buddy_alloc_prezeroed(),
 * unless its pageblock is isolated.
 *
 *   locks, panics  as buddy_free
 */
void buddy_free_prezeroed(struct page *head)
{
	pfn_t pfn = page_to_pfn(head);
	struct zone *z = pfn_zone(pfn);

	if (!may_be_freed(head, pfn) || head->type != PAGE_ANON_HUGE)
		buddy_free_refused(head);
	block_unprepare(head, pfn, HPAGE_PMD_ORDER);
	vmstat_add(VM_pgfree, HPAGE_PMD_NR);
	spin_lock(&z->lock);
	if (likely(pfn_block(pfn)->migratetype == MIGRATE_MOVABLE)) {
		vmstat_inc(VM_nr_thp_prezeroed);
		pcp_push(&z->prezeroed, head, pfn);
	} else { /* isolated meanwhile: nobody is to get it */
		block_give(z, pfn, HPAGE_PMD_ORDER);
	}
	spin_unlock(&z->lock);
}

/* ---- counting, and failing on purpose ---- */

/*
 * buddy_free_pages - free pages of all zones, those on per-CPU lists included.
 *
 *   locks    none; exact when nobody allocates
 *   Linux    nr_free_pages (without the per-CPU lists)
 */
u64 buddy_free_pages(void)
{
	u64 pages = 0;

	for_each_zone (z)
		pages += zone_all_free_pages(z);
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
