/*
 * pool.c - structs that come and go with every process, kept for the next one                     ring 3
 *
 * IDEA   pool.free --> one --> one --> NULL, at most POOL_KEPT; their memory is the C library's.
 *
 * LOCKS  none: one thread.
 * LINUX  mm/slab, with a cache for each kind.
 */
#include "pool.h"
#include <stdlib.h>
#include <string.h>

void *pool_alloc(struct pool *pool)
{
	void *one = pool->free;

	if (!one)
		return malloc(pool->bytes);
	memcpy(&pool->free, one, sizeof(one));
	pool->nr_free--;
	return one;
}

void pool_free(struct pool *pool, void *one)
{
	if (!one)
		return;
	if (pool->nr_free == POOL_KEPT) {
		free(one);
		return;
	}
	memcpy(one, &pool->free, sizeof(one));
	pool->free = one;
	pool->nr_free++;
}
