/*
 * memory.h - memory objects: pages that several areas, in several spaces, may map.             floor 5
 *
 * A struct memory holds pages by their index. An area of kind VMA_OBJECT maps a piece of it, shared or private:
 *
 *   memory ---> index 0 1 2 3 ...   4 KiB pages, or a huge page for an aligned 512 of them
 *     |  \
 *     |   anon: the reverse map. Every area that maps the object hangs on it, by vma->pgoff, private ones too:
 *     |         a private area's copies are pages of the same family, as after a fork.
 *     pager: endpoint and cookie: who supplies what is missing. None: pages of zeroes
 *
 * A page of an object has type PAGE_ANON or PAGE_ANON_HUGE, PG_SHARED, and one reference of the object's own: so it is
 * never exclusive to a mapping, and every write through a private mapping copies.
 */
#ifndef MM_MEMORY_H
#define MM_MEMORY_H

#include "lib/list.h"
#include "mm/mm.h"
#include "object.h"

struct anon;

#define MEMORY_MAX (256ul << 30) /* bytes of one object: 1 MiB of pointers */

struct memory {
	struct object object;
	struct spinlock lock; /* LOCK_MEMORY: outside anon->lock and pt_lock */
	u64 nr_pages;         /* (lock) size */
	u64 present;          /* (lock) pages that are there */
	u64 nr_chunks;        /* (lock) length of chunks */
	u64 *chunks;          /* (lock) one word for each 2 MiB: see memory_chunks.c */
	struct anon *anon;    /* (c) pinned */
	struct object *pager; /* (lock) an endpoint, with a reference; or NULL */
	u64 cookie;           /* (lock) badge of the pager's messages */
	struct list link;     /* the list of all objects */
};

void memory_init(void); /* the caches; once, at start-up */

static inline struct memory *memory_of(struct object *o)
{
	return container_of(o, struct memory, object);
}
static inline struct memory *vma_memory(const struct vma *v)
{
	return memory_of(v->object);
}
u64 memory_areas(const struct memory *m); /* that map it */

/* A new object of `bytes`, rounded up to pages; one reference. NULL: no memory, or larger than MEMORY_MAX. */
struct memory *memory_create(u64 bytes);
int memory_resize(struct memory *m, u64 bytes) __must_check;

/* Bytes of the kernel's into an object without a pager, all inside it. -ENOMEM: some are there. */
int memory_write(struct memory *m, u64 offset, const void *data, u64 bytes) __must_check;

/* What is missing is asked for at `endpoint` from now on; takes a reference. The one before, or NULL, is returned. */
struct object *memory_set_pager(struct memory *m, struct object *endpoint, u64 cookie);

/* What is known of one page: for who asks a pager, and for mincore. */
struct memory_look {
	bool inside, present;
	bool huge_fits; /* nothing is there yet of the 2 MiB around it, and all of it lies inside */
	struct object *pager; /* with a reference; NULL: none */
	u64 cookie, bytes;
};
void memory_look(struct memory *m, u64 index, struct memory_look *look);
bool memory_has(struct memory *m, u64 index);

/* --- faults; mm->lock held for reading --- */
enum fault_result memory_fault_pmd(const struct fault *f, struct vma *v, pmd_t *pmdp);
enum fault_result memory_fault_pte(const struct fault *f, struct vma *v, pte_t *ptep);

/* --- supplying: frames change hands; no lock held --- */
int memory_supply(
	struct memory *m, u64 offset, u64 bytes, struct mm *mm, vaddr_t source) __must_check;
int memory_supply_private(struct memory *m, u64 offset, u64 bytes, struct mm *into, vaddr_t at,
	struct mm *mm, vaddr_t source) __must_check;
int memory_withdraw(struct memory *m, u64 offset, u64 bytes) __must_check;

/* Shared memory has one name, whoever looks: for futex. False: addr is no shared area. mm->lock not held. */
bool memory_key(struct mm *mm, vaddr_t addr, void **object, u64 *offset);

bool memory_check(void); /* O1 to O4: see memory.c */

#endif
