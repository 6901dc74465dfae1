/*
 * contig.h - memory in one piece above the largest block, by moving what is in the way.       floor 5
 */
#ifndef MM_CONTIG_H
#define MM_CONTIG_H

#include "mm/page.h"

/*
 * contig_alloc - 2^order frames in one piece, aligned to their size, order above HPAGE_PMD_ORDER.
 *   locks    none inner to LOCK_ANON; may sleep. No CPU stands still
 *   returns  as buddy_alloc_contig(): blocks of HPAGE_PMD_ORDER side by side; NULL: every range has a page that
 *            cannot be moved, or there is no room for what would have to move
 *   Linux    alloc_contig_pages
 */
struct page *contig_alloc(unsigned order, enum page_type type);

#endif
