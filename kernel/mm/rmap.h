/*
 * rmap.h - from a page to every entry that maps it. Per area, not per mapping.           floor 3
 *
 *   page --private--> struct anon <--anon-- vma (parent)
 *        --index--                <--anon-- vma (child)
 *   address of the page in a vma = vma.start + (index - vma.pgoff) pages
 *
 * An anon object is a family of areas: the first area to fault makes it, fork links the child's
 * areas to the same one, mremap keeps the index.
 *
 * Nothing is allocated per mapping; counts are in struct page (page.h).
 */
#ifndef MM_RMAP_H
#define MM_RMAP_H

#include "mm/mm.h"
#include "mm/page.h"
#include "seeded.h"
#include "sync.h"
#include "vmstat.h"

struct anon {
	struct spinlock lock;   /* LOCK_ANON */
	struct tree_root areas; /* vmas by [pgoff, pgoff + pages), augmented with the largest end */
	u32 nr_areas;
	u32 refs; /* (a) areas, and who pins it while walking */
};

void rmap_init(void);

int rmap_prepare_slow(struct vma *v);
/*
 * Makes sure that v has an anon object, a neighbour's if they could merge. mm->lock held, pt_lock
 * not. 0 or -ENOMEM. Linux: anon_vma_prepare
 */
static inline int rmap_prepare(struct vma *v)
{
	return likely(READ_ONCE(v->anon)) ? 0 : rmap_prepare_slow(v);
}
void rmap_link(struct vma *v, struct anon *anon); /* v joins the family; takes the anon lock */

/*
 * Kin: areas of one space that were one area with a family once, or came beside one. A family is shared by a child, but
 * each area it was given begins a kin of its own, so that they stay apart for good; 0 without a family.
 * Linux: vma->anon_vma and whether anon_vma_chain is singular, where every area of a child has an object of its own
 */
#define KIN_INHERITED 1u
static inline u32 rmap_inherited_kin(const struct vma *v)
{
	return (u32)((u64)v >> 5) |
	       KIN_INHERITED; /* kin is compared within a space, and all of these are made at once */
}
/* A new one without areas, pinned: rmap_unpin_anon(). NULL: no memory */
struct anon *rmap_family(void);
void rmap_unlink(struct vma *v); /* v leaves; the last one frees the object. No-op without anon */
/* A bracket around a change of v's range or pgoff: walkers never see a half-changed area. */
void rmap_vma_begin(struct vma *v);
void rmap_vma_end(struct vma *v);
/* Inside the bracket: an area takes over a part of v's range, or v swallows one. */
void rmap_vma_join(struct vma *v, struct vma *joining);
void rmap_vma_leave(struct vma *v, struct vma *leaving);

/*
 * Counting. pt_lock of the space held. The reference of a fresh page is its mapping's; further
 * mappings take their own.
 */
static inline void rmap_set_anon(struct page *page, const struct vma *v, vaddr_t addr)
{
	page->private = (u64)v->anon;
	page_set_index(page, vma_index(v, addr));
}

/* A fresh order-0 page: anon, index, mapcount 1. Linux: page_add_new_anon_rmap */
static inline void rmap_new_anon(struct page *page, const struct vma *v, vaddr_t addr)
{
	rmap_set_anon(page, v, addr);
	page->mapcount = 1;
	vmstat_inc(VM_nr_anon_pages);
}

/* A fresh huge page under one pmd. */
static inline void rmap_new_anon_huge(struct page *head, const struct vma *v, vaddr_t haddr)
{
	rmap_set_anon(head, v, haddr);
	*page_pmd_mapcount_ptr(head) = 1;
	*page_pte_mappings_ptr(head) = 0;
	vmstat_add(VM_nr_anon_pages, HPAGE_PMD_NR);
	vmstat_inc(VM_nr_anon_transparent_hugepages);
}

/*
 * One more pte over this frame (fork), one more pmd over this huge page; the reference is taken
 * too, and first: rmap_pte_exclusive() must never see a mapping that no reference covers.
 */
static inline void rmap_dup_pte(pfn_t pfn)
{
	struct page *head = pfn_head(pfn);

	page_get(head);
	if (unlikely(page_is_huge(head)))
		__atomic_add_fetch(page_pte_mappings_ptr(head), 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&pfn_to_page(pfn)->mapcount, 1, __ATOMIC_RELAXED);
}
static inline void rmap_dup_pmd(struct page *head)
{
	page_get(head);
	__atomic_add_fetch(page_pmd_mapcount_ptr(head), 1, __ATOMIC_RELAXED);
}

/*
 * One mapping gone; the caller still owns its reference and drops it after the flush (page_put).
 * The gauges are about anonymous memory: pages of objects are counted where they are kept.
 */
void rmap_remove_huge_pte(pfn_t pfn);
static inline void rmap_remove_pte(pfn_t pfn)
{
	struct page *page = pfn_to_page(pfn);

	if (unlikely(pfn_in_huge(pfn)))
		rmap_remove_huge_pte(pfn);
	else if (__atomic_sub_fetch(&page->mapcount, 1, __ATOMIC_ACQ_REL) == 0 &&
		 !(page->flags & PG_SHARED))
		vmstat_add(VM_nr_anon_pages, -1);
}
void rmap_remove_pmd(struct page *head);
bool rmap_is_partly_mapped(const struct page *head);
/* One pmd mapping becomes 512 pte mappings: counts of all 512 frames, 511 more references. */
void rmap_pmd_to_ptes(struct page *head);

/*
 * Migration: one entry that named `from` now names `to`; its reference goes along. pt_lock held, and
 * another reference on both.
 */
void rmap_move_pte(pfn_t from, pfn_t to);
void rmap_move_pmd(struct page *from, struct page *to);

/*
 * The anon object of a page found without any lock (on a list, by number), pinned, so that it can
 * be walked; NULL: nothing maps the page. The caller holds a reference on the page.
 */
struct anon *rmap_pin_anon(struct page *head);
void rmap_unpin_anon(struct anon *anon);

/*
 * Exclusive: this one mapping is the only reference, so a write may reuse the page in place.
 * pt_lock held. A frame of a huge page mapped by ptes: when only mappings hold the huge page.
 */
static inline bool rmap_pte_exclusive(pfn_t pfn)
{
	struct page *head = pfn_head(pfn);

	if (seeded(PINNED_COW) || seeded(SPLIT_COUNT))
		return pfn_mapcount(pfn) == 1;
	if (likely(!page_is_huge(head)))
		return page_refcount(head) == 1;
	return pfn_mapcount(pfn) == 1 && page_refcount(head) == page_total_mapcount(head);
}
static inline bool rmap_pmd_exclusive(struct page *head)
{
	if (seeded(PINNED_COW) || seeded(SPLIT_COUNT))
		return page_total_mapcount(head) == 1;
	return page_refcount(head) == 1;
}

/*
 * rmap_walk - every area that may map page `index` of `anon`, under the anon lock.
 *   fn       gets the vma and the address there; returns false to stop; may take v->mm's pt_lock
 *   returns  false when stopped.      Linux: rmap_walk_anon
 */
bool rmap_walk(struct anon *anon, u64 index, u64 pages,
	bool (*fn)(struct vma *v, vaddr_t addr, void *ctx), void *ctx);

/* The same for a caller that holds the anon lock already. */
bool rmap_walk_locked(struct anon *anon, u64 index, u64 pages,
	bool (*fn)(struct vma *v, vaddr_t addr, void *ctx), void *ctx);

bool rmap_check(void); /* R1 to R5: see rmap_check.c. The other CPUs are stopped */
bool rmap_tree_check(const struct anon *anon);

#endif
