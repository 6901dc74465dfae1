/*
 * pool.h - structs that come and go with every process, kept for the next one.                   ring 3
 *
 * The C library gives a freed struct of some kilobytes back to the kernel, page and all, and asks again at the next fork: a
 * third of what that costs us. So each kind keeps a few.
 */
#ifndef POOL_H
#define POOL_H

#include <stddef.h>

#define POOL_KEPT 32 /* of each kind; the rest goes back */

struct pool {
	size_t bytes; /* of one */
	void *free;   /* each begins with the next */
	unsigned nr_free;
};

#define POOL_OF(type)                                                                              \
	{                                                                                          \
		.bytes = sizeof(type)                                                              \
	}

void *pool_alloc(struct pool *pool);          /* contents are whatever they were; NULL: no memory */
void pool_free(struct pool *pool, void *one); /* NULL: nothing to do */

#endif
