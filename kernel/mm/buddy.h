/*
 * buddy.h - blocks of 2^order pages, and the last page_put.                                 floor 2
 */
#ifndef MM_BUDDY_H
#define MM_BUDDY_H

#include "mm/pcp.h"
#include "mm/zone.h"

#define BUDDY_RESERVE 0x1 /* down to the last page: frames without which nothing is freed */
#define BUDDY_DMA32   0x2 /* below 4 GiB only */
#define BUDDY_QUIET   0x4 /* a mere wish: stays above the low watermark ("light", no reclaim) */

/*
 * BUDDY_ON: that node first, else the nearest; without it, this CPU's. _AMONG: only nodes of this mask. _FIRST: these, and the
 * others when they have none. _ONLY: that one.
 */
#define BUDDY_NODE_SHIFT  8
#define BUDDY_MASK_SHIFT  16
#define BUDDY_NODE        0x10
#define BUDDY_ELSE        0x20 /* with a mask: it is a wish */
#define BUDDY_ON(node)    (BUDDY_NODE | (u32)(node) << BUDDY_NODE_SHIFT)
#define BUDDY_AMONG(mask) ((u32)(mask) << BUDDY_MASK_SHIFT)
#define BUDDY_FIRST(mask) (BUDDY_ELSE | BUDDY_AMONG(mask))
#define BUDDY_ONLY(node)  (BUDDY_ON(node) | BUDDY_AMONG(1u << (node)))
_Static_assert(MAX_NODES == 8, "a mask of nodes is a byte");
static inline unsigned buddy_wished_node(u32 flags)
{
	return flags & BUDDY_NODE ? flags >> BUDDY_NODE_SHIFT & 0xff : this_cpu()->node;
}
static inline bool buddy_allows_node(u32 flags, unsigned node)
{
	u32 mask = flags & BUDDY_ELSE ? 0 : flags >> BUDDY_MASK_SHIFT;

	return !mask || mask >> node & 1;
}

/* The watermark that a caller with these flags has to leave. */
static inline u64 buddy_mark(const struct zone *z, u32 flags)
{
	if (flags & BUDDY_RESERVE)
		return 0;
	return flags & BUDDY_QUIET ? z->watermark_low : z->watermark_min;
}

void buddy_init(void);                        /* after page_init(): files every usable range */
void buddy_init_cpu(struct cpu *c);           /* another CPU, whose node is known */
void buddy_add_range(pfn_t start, pfn_t end); /* hand frames over at start-up; tests use it too */

/*
 * buddy_alloc - a block of 2^order frames, aligned to its size; contents are whatever they were.
 *   type     what the head becomes; for order > 0 and a type other than ANON_HUGE every frame gets
 *            it
 *   returns  the first page, refcount 1; NULL: no block (or an injected failure). Never sleeps,
 *            never compacts
 *   locks    none held that is inner to zone.lock; not from interrupts
 *   Linux    __alloc_pages / get_page_from_freelist
 */
struct page *buddy_alloc(unsigned order, enum migratetype mt, enum page_type type, u32 flags);

/*
 * Give a block back: refcount must be 0 (or 1, which is dropped), mapcount 0, on no list. Panics on
 * a double or foreign free.
 */
void buddy_free(struct page *head);

/*
 * Pages of order 0 that are all zero: a table that has lost its last entry is one, and is kept apart, per CPU, for the next
 * table. Contracts as buddy_alloc (unmovable) and buddy_free.
 */
struct page *buddy_alloc_zeroed(enum page_type type);
void buddy_free_zeroed(struct page *page);

/* A block of order 9, the caller's alone */
void buddy_retype_huge(struct page *head, enum page_type type);

/*
 * Huge pages cleared in advance (prezerod.c). They count as free, outside the lists of blocks; buddy_drain_pcp(), so
 * everybody who finds no memory, turns them into ordinary blocks.
 */
struct page *buddy_alloc_prezeroed(void); /* NULL: none */
void buddy_free_prezeroed(struct page *head);

/* refcount is 0: off the LRU and the deferred queue, then buddy_free. */
void page_free_batch(const u32 *pfns, unsigned nr); /* base pages only the caller references */
void page_put_batch(u32 *pfns, unsigned nr); /* one reference of each; frees neighbours together */
void page_free_last(struct page *head);
static inline void page_put_many(struct page *head, u32 n)
{
	if (__atomic_sub_fetch(&head->refcount, n, __ATOMIC_ACQ_REL) == 0)
		page_free_last(head);
}
static inline void page_put(struct page *head)
{
	page_put_many(head, 1);
}

/*
 * 512 base pages out of one huge page's frames: types, refcounts, anon and index of each are
 * written here. thp_split_page's mechanism. No pmd may map it, refcount is pte mappings + 1 (the
 * caller's); off the LRU and the deferred queue afterwards. Each frame's refcount is its mapcount +
 * 1: the caller page_put()s all 512.
 */
void buddy_split_huge(struct page *head);

/* ---- by place: isolate.c ---- */

/* Without a lock, a hint: does a free block start here, and of which order? -1: none. */
static inline int pfn_free_order(pfn_t pfn)
{
	const struct page *p = pfn_to_page(pfn);

	return READ_ONCE(p->flags) & PG_BUDDY ? MIN(READ_ONCE(p->order), MAX_ORDER) : -1;
}

/*
 * buddy_take_free - the free block that starts at this frame, for compaction.
 *   returns  its order: 2^order single pages now, each ANON with one reference, on no list, mapped by
 *            nobody (page_put, or page_free_batch for all of them). -1: no free block starts here
 *            (any more), its pageblock is isolated, or less than the min watermark would be left
 *   after    half a pageblock or more: the pageblock is MIGRATE_MOVABLE
 *   locks    takes zone.lock
 */
int buddy_take_free(pfn_t pfn);

/*
 * buddy_isolate_range - from now on nobody is given a page of [start, end), whoever frees one.
 *   start, end  multiples of 4 MiB, in one zone. Which pages are in use there the caller finds out;
 *               other CPUs' lists may still hold some (buddy_drain_pcp on each)
 *   returns     0. -EBUSY: a part is isolated already. -EINVAL: it leaves the zone
 *   after       buddy_unisolate_range(): each pageblock has its former type; or buddy_take_isolated(): MIGRATE_MOVABLE
 */
__must_check int buddy_isolate_range(pfn_t start, pfn_t end);
void buddy_unisolate_range(pfn_t start, pfn_t end);

/*
 * 2^order frames in one piece, order above HPAGE_PMD_ORDER: as blocks of HPAGE_PMD_ORDER side by side,
 * each prepared like one of buddy_alloc(HPAGE_PMD_ORDER, MIGRATE_MOVABLE, type) and freed by itself,
 * or all by buddy_free_contig(). NULL: not all of it is free (buddy_alloc_contig: there is no such
 * range, or less than the watermark that `flags` names would be left). Takes zone.lock.
 */
struct page *buddy_take_isolated(pfn_t start, unsigned order, enum page_type type);
struct page *buddy_alloc_contig(unsigned order, enum page_type type, u32 flags);
void buddy_free_contig(struct page *head, unsigned order);

u64 buddy_free_pages(void); /* all zones, per-CPU lists included */

/* B1..B8: see buddy_check.c. Takes the zone locks. */
bool buddy_check(void);

/*
 * Injection (debug builds): fail the k-th allocation from now of this order (-1: of any, objects of
 * kmalloc included, which ask with BUDDY_OBJECT). 0: off.
 */
#define BUDDY_OBJECT NR_ORDERS
void buddy_inject_fail(u64 kth, int order);
bool buddy_inject_now(unsigned order);
extern u64 buddy_inject_fired; /* failures really injected since it was armed */
extern u64 buddy_inject_seen;  /* allocations that matched since it was armed */

#endif
