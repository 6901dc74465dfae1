/*
 * object.h - memory objects: pages that several areas, in several spaces, may map.             floor 5
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
 *
 */
#ifndef MM_OBJECT_H
#define MM_OBJECT_H

#include "mm/mm.h"
#include "object.h"

struct anon;
struct endpoint;

struct memory {
	struct object object;
	struct spinlock lock; /* pages; inside pt_lock? see object.c */
	u64 nr_pages;         /* (lock) size */
	u64 present;          /* (lock) */
	void *chunks;         /* (lock) one pointer per 2 MiB */
	struct anon *anon;    /* (c) */
	struct object *pager; /* (lock) an endpoint, with a reference; or NULL */
	u64 cookie;           /* (lock) */
};

struct memory *memory_create(u64 bytes); /* NULL: no memory; one reference */
int memory_resize(struct memory *m, u64 bytes);

/* Map [offset, +len) of m. Address or -errno. m may not be NULL; shared: VM_SHARED. */
s64 memory_map_area(struct mm *mm, struct memory *m, u64 offset, vaddr_t addr, u64 len, u32 prot,
	u32 flags, const char *name);

/* What fault.c asks about a hole in an area of an object; mm->lock held (read). FAULT_PAGER: nobody has it, ask. */
enum fault_result memory_fault_pte(const struct fault *f, struct vma *v, pte_t *ptep);
enum fault_result memory_fault_pmd(const struct fault *f, struct vma *v, pmd_t *pmdp);

/* The frames at `source` of the current space become pages of m; or, into: private pages of that space at `into_addr`. */
int memory_supply(struct memory *m, u64 offset, u64 bytes, vaddr_t source);
int memory_supply_private(struct mm *into, vaddr_t into_addr, u64 bytes, vaddr_t source);
int memory_withdraw(struct memory *m, u64 offset, u64 bytes);

bool memory_check(void);

#endif
