/*
 * zone.h - a zone of memory: its lists, its watermarks, how broken up it is.                floor 2
 */
#ifndef MM_ZONE_H
#define MM_ZONE_H

#include "mm/node.h"
#include "mm/page.h"
#include "sync.h"

#define MAX_ORDER 10 /* largest block: 4 MiB */
#define NR_ORDERS (MAX_ORDER + 1)

enum zone_id {
	ZONE_DMA32,
	ZONE_NORMAL,
	NR_ZONES
};

/* (t) One CPU's own free pages: kernel code is not preempted, and interrupts never allocate. */
struct pcp {
	struct page_list lists[MIGRATE_PCPTYPES]; /* order 0 */
	struct page_list huge;                    /* order HPAGE_PMD_ORDER, movable */
	struct page_list zeroed;                  /* order 0, every byte is zero */
	u64 hit;  /* allocations by this CPU that got a page of this zone's node, as they wished */
	u64 miss; /* ... that wished for another node's */
	u64 foreign; /* ... that wished for this node's and got another's */
	u64 other;   /* of hit and miss: those of a CPU of another node */
};

struct zone {
	struct spinlock lock; /* LOCK_ZONE */
	const char *name;
	u8 id, node;                      /* (c) enum zone_id; whose memory it is */
	pfn_t start, end;                 /* (c) spanned */
	u64 present_pages, managed_pages; /* (c) */
	u64 free_pages;     /* (z) on buddy lists, isolated ones too; per-CPU pages not counted */
	u64 isolated_pages; /* (z) those of them in MIGRATE_ISOLATE pageblocks: nobody gets these */
	struct page_list free[NR_ORDERS][NR_MIGRATETYPES]; /* (z) */
	u64 nr_free[NR_ORDERS];                            /* (z) blocks, over all migratetypes */
	u64 watermark_min, watermark_low, watermark_high;  /* pages */
	struct page_list prezeroed; /* (z) free huge pages, cleared: linked by next only, PG_PCP */
	struct pcp pcp[MAX_CPUS];
};
extern struct zone zones[MAX_NODES * NR_ZONES]; /* node by node, as `id` within a node */

static inline struct zone *node_zone(unsigned node, enum zone_id id)
{
	return &zones[node * NR_ZONES + id];
}

/* Every zone that has memory. */
#define for_each_zone(z)                                                                           \
	for (struct zone *z = zones; z < zones + nr_nodes * NR_ZONES; z++)                         \
		if (z->present_pages)

/* A node's order of asking: its own zones, Normal before DMA32, then the next node's ... */
struct zonelist {
	u8 zones[MAX_NODES * NR_ZONES]; /* numbers in zones[], those that have pages to give */
	u8 nr;
};
extern struct zonelist zonelists[MAX_NODES]; /* (c) */

void zone_init(void);       /* names, locks, numbers; all empty */
void zone_init_lists(void); /* when every zone has its pages */
/* Their pageblocks' records name their zone from now on */
void zone_claim_frames(pfn_t start, pfn_t end);
struct zone *pfn_zone_first(pfn_t pfn); /* by address: before that */
/* The zone this frame lies in. Linux: page_zone (stored in page->flags there) */
static inline struct zone *pfn_zone(pfn_t pfn)
{
	return &zones[pfn_block(pfn)->zone];
}
u64 zone_all_free_pages(const struct zone *z); /* free, those on CPUs' lists included */
u64 zone_managed_pages(void);                  /* of all zones */
u64 zone_free_pages(void);                     /* ... on their lists; per-CPU pages not counted */

/* ---- watermarks ---- */

extern u64 buddy_min_free_kbytes;
void buddy_set_min_free_kbytes(u64 kb); /* the marks follow, as in Linux */
void zone_init_watermarks(void);        /* start-up: min_free_kbytes from the size of memory */
void zone_user_min_free_kbytes(u64 kb); /* the same, as somebody's wish: never lowered again */
void zone_recommend_min_free(bool huge_wanted); /* huge pages are (not) wanted: raise it, or back */

/* How many of the zone's free pages an ordinary request of any order may count on. */
static inline u64 zone_available_pages(const struct zone *z)
{
	u64 free = READ_ONCE(z->free_pages), isolated = READ_ONCE(z->isolated_pages);

	return free > isolated ? free - isolated : 0;
}

/* ... and how many of those may go while `mark` pages are to be left. */
static inline u64 zone_pages_above(const struct zone *z, u64 mark)
{
	u64 available = zone_available_pages(z);

	return available > mark ? available - mark : 0;
}

/* Would 2^order pages be found and `mark` pages be left? Linux: zone_watermark_ok. No lock: a hint. */
bool zone_watermark_ok(const struct zone *z, unsigned order, u64 mark);

/* ---- how broken up free memory is, for a wish of this order; no lock: a hint ---- */

int zone_extfrag_index(const struct zone *z, unsigned order);
unsigned zone_unusable_index(const struct zone *z, unsigned order);
unsigned zone_extfrag_percent(const struct zone *z, unsigned order);
static inline u64 buddy_nr_free(const struct zone *z, unsigned order)
{
	return READ_ONCE(z->nr_free[order]);
}

#endif
