/*
 * zap.h - take entries away, flush, give the frames back.                                     floor 5
 */
#ifndef MM_ZAP_H
#define MM_ZAP_H

#include "mm/mm.h"

/*
 * zap_range - unmap every page of [start, end) of one area; a huge page that lies only partly inside is split.
 *   locks    mm->lock held for writing; takes pt_lock for each 2 MiB
 *   Linux    zap_page_range, zap_huge_pmd
 */
void zap_range(struct vma *v, vaddr_t start, vaddr_t end);

/*
 * zap_area - unmap a whole area, take it out of the space and free it and the tables only it needed.
 *   locks    mm->lock held for writing
 */
void zap_area(struct vma *v);

/* Every area of a space: exit, or a fork that ran out of memory. mm->lock held for writing. Linux: exit_mmap */
void zap_all(struct mm *mm);

#endif
