/*
 * thp_shrink.h - huge pages that hold memory for nothing give it back.                       floor 5
 */
#ifndef MM_THP_SHRINK_H
#define MM_THP_SHRINK_H

#include "mm/mm.h"

/*
 * thp_shrink_deferred - split what waits on the deferred-split queue: frames that nobody maps are free then.
 *   locks    none held
 *   returns  huge pages that were split; one that somebody else holds waits on
 *   Linux    deferred_split_scan
 */
u64 thp_shrink_deferred(void);

/*
 * thp_shrink_underused - with shrink_underused: split huge pages of which more than max_ptes_none frames hold nothing
 * but zeroes; those frames become the zero page.
 *   locks    none held
 *   returns  huge pages that were split; counts thp_underused_split_page
 *   Linux    deferred_split_scan, thp_underused, try_to_map_unused_to_zeropage
 */
u64 thp_shrink_underused(void);

/* What a request to split found: huge pages, and those that were split. */
struct thp_split_count {
	u64 total, split;
};

/* Every huge page of anonymous memory (Linux: split_huge_pages_all), or those mapped in a range (split_huge_pages_pid). */
void thp_split_all(struct thp_split_count *count);
void thp_split_range(struct mm *mm, vaddr_t start, vaddr_t end, struct thp_split_count *count);

#endif
