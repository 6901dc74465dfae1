/*
 * reclaim.c - what can be given back without swap                           floor 5, below: thp, buddy, zero
 *
 * The door runs this when a fault found no memory, before anybody is killed; the monitor and drop_caches run it
 * on request. There is no page cache here and no swap: what can go is what nobody would miss.
 *
 * LOCKS     none held; each shrinker takes its own
 * LINUX     mm/vmscan.c: do_try_to_free_pages, drop_slab                       docs/mm/reclaim.md
 */
#include "mm/buddy.h"
#include "mm/zero.h"
#include "mm/reclaim.h"

/*
 * reclaim_run - every shrinker once: the huge zero page if no space uses it, this CPU's lists of free pages.
 *   returns  4 KiB pages that were given back to the buddy lists, where blocks can unite
 */
u64 reclaim_run(void)
{
	u64 before = zone_free_pages();
	u64 after;

	zero_huge_shrink();
	buddy_drain_pcp();
	after = zone_free_pages();
	return after > before ? after - before : 0;
}
