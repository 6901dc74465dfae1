/*
 * vma.h - one mapped range of a space, and the balanced tree of them.                    floor 3
 *
 * The struct itself stands in mm.h, because the reverse map and the checkers read it too.
 */
#ifndef MM_VMA_H
#define MM_VMA_H

#include "mm/mm.h"

#define VMA_MAX 65530 /* Linux's vm.max_map_count */
#define STACK_GUARD                                                                                \
	(256ul * PAGE_SIZE) /* kept free below a growing stack; Linux: stack_guard_gap */

/* Where v begins for who looks for room: a growing stack keeps its gap. Linux: vm_start_gap */
static inline vaddr_t vma_start_gap(const struct vma *v)
{
	return v->flags & VM_GROWSDOWN ? v->start - MIN(v->start, STACK_GUARD) : v->start;
}

static inline bool vma_is_accessible(const struct vma *v)
{
	return v->flags & VM_ACCESS;
}
/* Does the aligned 2 MiB around addr lie wholly in the vma? */
static inline bool vma_covers_huge(const struct vma *v, vaddr_t addr)
{
	vaddr_t haddr = addr & HPAGE_PMD_MASK;
	return haddr >= v->start && haddr + HPAGE_PMD_SIZE <= v->end;
}

/* Rights of a leaf in this vma, without RW: the page may be shared. */
static inline u64 vma_rights(const struct vma *v)
{
	if (!vma_is_accessible(v))
		return PTE_US | PTE_NX; /* no PTE_P: entry_make() turns it into PROTNONE */
	return PTE_P | PTE_US | PTE_A | (v->flags & VM_EXEC ? 0 : PTE_NX);
}
/* The same for a page that this space owns alone and writes now. */
static inline u64 vma_rights_write(const struct vma *v)
{
	return vma_rights(v) | (v->flags & VM_WRITE ? PTE_RW | PTE_D | PTE_EXCL : PTE_EXCL);
}

void vma_init(void); /* the cache */

/*
 * All of these: mm->lock held (read for the finders, write for the others).
 */
struct vma *vma_find_slow(struct mm *mm, vaddr_t addr);
static inline struct vma *vma_find(struct mm *mm, vaddr_t addr) /* containing addr, or NULL */
{
	struct vma *v = READ_ONCE(mm->vma_cache);
	if (likely(v && addr >= v->start && addr < v->end))
		return v;
	return vma_find_slow(mm, addr);
}
struct vma *vma_find_from(struct mm *mm, vaddr_t addr); /* first with end > addr, or NULL */
struct vma *vma_next(struct vma *v);
struct vma *vma_prev(struct vma *v);
struct vma *vma_first(struct mm *mm);

struct vma *vma_alloc(struct mm *mm); /* not in any tree; NULL: no memory */
void vma_free(struct vma *v);         /* not in a tree; drops its link to the anon object */
void vma_remove(struct vma *v);       /* out of the tree; not freed */
/* 0, or -ENOMEM above VMA_MAX. The range must be free (checked). */
int vma_insert(struct mm *mm, struct vma *v);
/*
 * All areas of a space that has none yet, as copy() makes them from those of another one, in a tree of the same shape:
 * without walking down or balancing. Both mm->lock for writing. 0; -ENOMEM: copy() returned NULL, nothing is left of it.
 */
int vma_copy_tree(
	struct mm *to, struct mm *from, struct vma *(*copy)(struct mm *to, const struct vma *v));
/* Move the edges of v within the room between its neighbours. Keeps index <-> address. */
void vma_resize(struct vma *v, vaddr_t start, vaddr_t end);
/* v keeps [start, addr); the new area [addr, end) is returned. NULL: no memory, or too many. */
struct vma *vma_split(struct vma *v, vaddr_t addr);
struct vma *vma_split_for_unmap(struct vma *v, vaddr_t addr);
/* Unite v with neighbours that are alike; returns the vma that now covers v's range. */
struct vma *vma_merge(struct vma *v);
bool vma_can_merge(const struct vma *a, const struct vma *b); /* a directly below b */

/*
 * vma_find_gap - the highest free range below `high` and not below `low` (Linux: top-down).
 *   returns  its start, or 0: none.
 */
vaddr_t vma_find_gap(struct mm *mm, u64 bytes, vaddr_t low, vaddr_t high, u64 align);

bool vma_check(struct mm *mm); /* V1 sorted, disjoint, page-aligned, non-empty; V2 gaps; V3 count */

#endif
