/*
 * memory_chunks.h - how an object keeps its pages: for memory*.c only.                          floor 5
 *
 * All but the first two: memory->lock held.
 */
#ifndef MM_MEMORY_CHUNKS_H
#define MM_MEMORY_CHUNKS_H

#include "mm/memory.h"

#define SPLIT_TURNS 1000000 /* of waiting for a copy under way elsewhere */

void chunk_init(void); /* the cache of tables; once, at start-up */
void chunk_free_tables(struct memory *m);

static inline u64 chunks_for(u64 pages)
{
	return ALIGN_UP(pages, HPAGE_PMD_NR) >> HPAGE_PMD_ORDER;
}
static inline bool chunk_is_huge(u64 chunk)
{
	return chunk & 1;
}
static inline pfn_t chunk_head(u64 chunk)
{
	return chunk >> 1;
}
static inline u32 *chunk_table(u64 chunk)
{
	return (u32 *)chunk;
}

static inline pfn_t memory_page_at(const struct memory *m, u64 index) /* index < nr_pages */
{
	u64 chunk = m->chunks[index >> HPAGE_PMD_ORDER];

	if (chunk_is_huge(chunk))
		return chunk_head(chunk) + index % HPAGE_PMD_NR;
	return chunk ? chunk_table(chunk)[index % HPAGE_PMD_NR] : 0;
}

/* Nothing of this 2 MiB is there; an empty table goes */
bool chunk_is_empty(struct memory *m, u64 n);
u32 *chunk_make_table(struct memory *m, u64 n); /* of one that is not huge; NULL: no memory */
void memory_adopt(struct memory *m, struct page *head, u64 index); /* with the caller's reference */

#endif
