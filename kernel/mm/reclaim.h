/*
 * reclaim.h - what can be given back without swap: what MADV_FREE left, holes of huge pages, zero pages. floor 5
 */
#ifndef MM_RECLAIM_H
#define MM_RECLAIM_H

#include "lib/types.h"

struct page;

u64 reclaim_run(void); /* memory is short: everything that can go; pages given back. No lock held */
/* The shrinkers alone: drop_caches. Contents of ring 3 stay. No lock held */
u64 reclaim_shrink(void);

/*
 * reclaim_lazyfree - one page that MADV_FREE left: drop it if it is clean everywhere.
 *   locks    no spinlock held; takes over the caller's reference
 *   returns  4 KiB pages that were dropped
 */
u64 reclaim_lazyfree(struct page *page);

#endif
