/*
 * block.h - the lists of free blocks of a zone, for buddy.c, isolate.c and the checker.     floor 2
 */
#ifndef MM_BLOCK_H
#define MM_BLOCK_H

#include "mm/zone.h"

static inline pfn_t buddy_of(pfn_t pfn, unsigned order)
{
	return pfn ^ (1ul << order);
}
static inline bool page_is_buddy(const struct page *p, unsigned order)
{
	return p->flags & PG_BUDDY && p->order == order;
}
/* The first page of the pageblock. */
static inline pfn_t block_start(pfn_t pfn)
{
	return pfn & ~(HPAGE_PMD_NR - 1);
}

/* A block's head as it is handed out. */
static __always_inline void page_prepare(struct page *p, unsigned order, enum page_type type)
{
	p->refcount = 1;
	p->private = 0;
	p->type = type;
	p->flags = 0;
	p->order = order;
}
/* The same for all descriptors of a block; buddy.c. No lock: they are the caller's. */
void buddy_prepare(struct page *p, unsigned order, enum page_type type);
__noreturn void buddy_free_refused(const struct page *p);

/* All of these: zone.lock held. */

/* The smallest block that is large enough, cut down to `order`, and counted off. NULL: none anywhere. */
struct page *block_take(struct zone *z, unsigned order, enum migratetype mt);
/* The free block that starts at pfn, whole, and counted off. */
void block_take_at(struct zone *z, pfn_t pfn, unsigned order);
/* Unites a block with its free buddies and files the result, counted. Its descriptors are FREE already. */
void block_give(struct zone *z, pfn_t pfn, unsigned order);
/* The frames of a pageblock that are marked in `map`, given back; clears the map. Takes zone.lock itself. */
void block_give_map(pfn_t pfn, u64 map[HPAGE_PMD_NR / 64]);
/* The pageblock at `start` (both, for a free block of order 10 there) is of type mt now. */
void pageblock_claim(struct zone *z, pfn_t start, unsigned order, enum migratetype mt);

#endif
