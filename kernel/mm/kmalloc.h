/*
 * kmalloc.h - memory for the kernel's own objects.                                          floor 2
 */
#ifndef MM_KMALLOC_H
#define MM_KMALLOC_H

#include "lib/list.h"
#include "lib/types.h"
#include "sync.h"

struct kmem_cache {
	struct spinlock lock; /* LOCK_KMALLOC */
	char name[24];
	u32 size, align;           /* (c) bytes of one object */
	u32 per_slab, slab_order;  /* (c) */
	struct list partial, full; /* slabs */
	u64 nr_active, nr_slabs;   /* objects in use, slabs */
	struct list link;          /* list of all caches: slabinfo */
};

void kmalloc_init(void);
/* For static caches; cannot fail. */
void kmem_cache_init(struct kmem_cache *c, const char *name, u32 size);
void *kmem_cache_alloc(struct kmem_cache *c); /* NULL: no memory; contents undefined */
void *kmem_cache_zalloc(struct kmem_cache *c);
/* Panics on a double free and on a foreign object. */
void kmem_cache_free(struct kmem_cache *c, void *object);

void *kmalloc(usize bytes); /* from 8 bytes up to 4 MiB; NULL: no memory */
void *kzalloc(usize bytes);
void kfree(void *p); /* NULL is fine */
void kmem_cache_for_each(void (*fn)(struct kmem_cache *c, void *ctx), void *ctx);
bool kmalloc_check(void);

#endif
