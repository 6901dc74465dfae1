/*
 * gigapage.h - 1 GiB of memory in one piece: 512 huge pages in a row.                       floor 2
 */
#ifndef MM_GIGAPAGE_H
#define MM_GIGAPAGE_H

#include "mm/page.h"

#define GIGABYTE_ORDER  18
#define GIGABYTE_PAGES  (1ul << GIGABYTE_ORDER)
#define GIGABYTE_BLOCKS 512u /* huge pages in it */

/* Start-up: keep `wanted` gigabytes apart for gigapage_alloc(). How many there were. */
u32 gigapage_reserve(u32 wanted);
struct page *gigapage_alloc(void); /* the first of 512 huge pages, one reference each; NULL: none */
struct page *gigapage_join(struct page *first);
void gigapage_free(
	struct page *first); /* one reference of each; what the reserve lacks goes there */
void gigapage_refill(void);
u32 gigapage_reserved(void); /* gigabytes in the reserve now */

/* The i-th of the 512 huge pages. */
static inline struct page *gigapage_part(struct page *first, unsigned i)
{
	return first + i * HPAGE_PMD_NR;
}

#endif
