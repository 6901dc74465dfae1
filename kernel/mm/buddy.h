/*
 * buddy.h - blocks of 2^order pages, and the last page_put.                                 floor 2
 */
#ifndef MM_BUDDY_H
#define MM_BUDDY_H

#include "mm/page.h"
#include "sync.h"

#define MAX_ORDER 10 /* largest block: 4 MiB */
#define NR_ORDERS (MAX_ORDER + 1)

enum zone_id {
	ZONE_DMA32,
	ZONE_NORMAL,
	NR_ZONES
};

#define BUDDY_RESERVE 0x1 /* down to the last page: frames without which nothing is freed */
#define BUDDY_DMA32   0x2 /* below 4 GiB only */
#define BUDDY_QUIET   0x4 /* a mere wish: stays above the low watermark ("light", no reclaim) */

/* (t) One CPU's own free pages: kernel code is not preempted, and interrupts never allocate. */
struct pcp {
	struct page_list lists[NR_MIGRATETYPES]; /* order 0 */
	struct page_list huge;                   /* order HPAGE_PMD_ORDER, movable */
	struct page_list zeroed;                 /* order 0, every byte is zero */
};
#define PCP_BATCH       32
#define PCP_HIGH        186
#define PCP_HUGE_HIGH   1
#define PCP_ZEROED_HIGH 16

struct zone {
	struct spinlock lock; /* LOCK_ZONE */
	const char *name;
	pfn_t start, end;                 /* (c) spanned */
	u64 present_pages, managed_pages; /* (c) */
	u64 free_pages;                   /* (z) on buddy lists; per-CPU pages not counted */
	struct page_list free[NR_ORDERS][NR_MIGRATETYPES]; /* (z) */
	u64 nr_free[NR_ORDERS];                            /* (z) blocks, over all migratetypes */
	u64 watermark_min, watermark_low, watermark_high;  /* pages */
	struct page_list prezeroed; /* (z) free huge pages, cleared: linked by next only, PG_PCP */
	struct pcp pcp[MAX_CPUS];
};
extern struct zone zones[NR_ZONES];
extern u64 buddy_min_free_kbytes;

void buddy_init(void);                        /* after page_init(): files every usable range */
void buddy_add_range(pfn_t start, pfn_t end); /* hand frames over at start-up; tests use it too */
void buddy_set_min_free_kbytes(u64 kb);       /* recomputes the watermarks as Linux does */

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

/*
 * Huge pages cleared in advance (prezerod.c). They count as free, outside the lists of blocks; buddy_drain_pcp(), so
 * everybody who finds no memory, turns them into ordinary blocks.
 */
struct page *buddy_alloc_prezeroed(void); /* NULL: none */
void buddy_free_prezeroed(struct page *head);
void buddy_drain_prezeroed(void);

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

u64 buddy_free_pages(void);              /* all zones, per-CPU lists included */
void buddy_drain_pcp(void);              /* this CPU's lists back to the buddy */
void buddy_set_pcp(u32 batch, u32 high); /* their lengths; 1, 0: bypassed (tests) */
struct zone *pfn_zone(pfn_t pfn);

/* B1..B7: see buddy.c. Takes the zone locks. */
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
