/*
 * pageout.h - pages that their owner can do without: MADV_FREE, MADV_COLD, MADV_PAGEOUT.      floor 5
 */
#ifndef MM_PAGEOUT_H
#define MM_PAGEOUT_H

#include "mm/mm.h"

/*
 * pageout_range - [start, end) of one area of anonymous memory may go later (FREE), is old (COLD), or should go now
 * (PAGEOUT).
 *   locks    mm->lock held for writing
 *   Linux    madvise_free_single_vma, madvise_cold_page_range, madvise_pageout_page_range
 */
void pageout_range(struct vma *v, vaddr_t start, vaddr_t end, int advice);

#endif
