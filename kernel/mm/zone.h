/*
 * zone.h - a zone of memory: its lists, its watermarks, how broken up it is.                floor 2
 */
#ifndef MM_ZONE_H
#define MM_ZONE_H

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
};

struct zone {
	struct spinlock lock; /* LOCK_ZONE */
	const char *name;
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
extern struct zone zones[NR_ZONES];

/* Every zone that has memory. */
#define for_each_zone(z)                                                                           \
	for (struct zone *z = zones; z < zones + NR_ZONES; z++)                                    \
		if (z->present_pages)

#define for_each_zone_down(z)                                                                      \
	for (struct zone *z = zones + NR_ZONES - 1; z >= zones; z--)                               \
		if (z->present_pages)

struct zone *pfn_zone(pfn_t pfn);
u64 zone_managed_pages(void); /* of all zones */

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
