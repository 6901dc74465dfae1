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
/* One reference of each; what the reserve lacks goes there */
void gigapage_free(struct page *first);
void gigapage_refill(void);
u32 gigapage_reserved(void); /* gigabytes in the reserve now */
bool gigapage_check(void);   /* G1: see gigapage.c */

/*
 * Leaves of 1 GiB come and go over the 512; G2. pt_lock of the leaf's space held, all 512 are huge pages that it maps.
 *   map_first   the first one: nobody else has the pages yet
 *   map_again   fork: one more, beside one whose pt_lock is held
 *   unmap       one is gone, or has become 512 leaves of 2 MiB. After the last the pages are like any others
 */
void gigapage_map_first(struct page *first);
void gigapage_map_again(struct page *first);
void gigapage_unmap(struct page *first);

/* How many there are; only while PB_PUD says that there are any. */
static inline u32 gigapage_leaves(const struct page *first)
{
	return READ_ONCE(first[1].index_low);
}

/* The i-th of the 512 huge pages. */
static inline struct page *gigapage_part(struct page *first, unsigned i)
{
	return first + i * HPAGE_PMD_NR;
}

#endif
