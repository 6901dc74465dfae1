/*
 * rmap.h - from a page to every entry that maps it. Per area, not per mapping.               floor 3
 *
 *   page --private--> struct anon <--anon-- vma (parent)      An anon object is a family of areas: the first
 *        --index--                <--anon-- vma (child)       area to fault makes it, fork links the child's
 *                                                             areas to the same one, mremap keeps the index.
 *   address of the page in a vma = vma.start + (index - vma.pgoff) pages
 *
 * Nothing is allocated per mapping; counts are in struct page (page.h).
 */
#ifndef MM_RMAP_H
#define MM_RMAP_H

#include "mm/mm.h"
#include "mm/page.h"
#include "mm/vma.h"
#include "sync.h"

struct anon {
	struct spinlock lock;   /* LOCK_ANON */
	struct tree_root areas; /* vmas by [pgoff, pgoff + pages), augmented with the largest end */
	u32 nr_areas;
	u32 refs;               /* (a) areas, and who pins it while walking */
};

void rmap_init(void);

int rmap_prepare_slow(struct vma *v);
/* Make sure v has an anon object (a neighbour's if they could merge). mm->lock held, pt_lock not. 0 or -ENOMEM. Linux: anon_vma_prepare */
static inline int rmap_prepare(struct vma *v)
{
	return likely(READ_ONCE(v->anon)) ? 0 : rmap_prepare_slow(v);
}
void rmap_link(struct vma *v, struct anon *anon); /* v joins the family; takes the anon lock */
void rmap_unlink(struct vma *v);                  /* v leaves; the last one frees the object. No-op without anon */
/* v's range or pgoff is about to change: bracket it, so that walkers never see a half-changed area. */
void rmap_vma_begin(struct vma *v);
void rmap_vma_end(struct vma *v);

/*
 * Counting. pt_lock of the space held. The reference of a fresh page is the mapping's; further mappings take
 * their own (page_get by the caller before).
 */
void rmap_new_anon(struct page *page, struct vma *v, vaddr_t addr);       /* fresh order-0 page: anon, index, mapcount 1; counts nr_anon_pages */
void rmap_new_anon_huge(struct page *head, struct vma *v, vaddr_t haddr); /* fresh huge page, one pmd mapping */
void rmap_dup_pte(pfn_t pfn);                     /* one more pte over this frame (fork); takes the reference too */
void rmap_dup_pmd(struct page *head);             /* one more pmd over this huge page; takes the reference too */
/* One pte mapping gone; the caller still owns that reference and drops it after the flush (page_put(pfn_head)). */
void rmap_remove_pte(pfn_t pfn);
void rmap_remove_pmd(struct page *head);
/* One pmd mapping becomes 512 pte mappings: counts of all 512 frames, 511 more references. */
void rmap_pmd_to_ptes(struct page *head);
/* A huge page whose frames are no longer all mapped goes on the deferred-split queue. True: newly queued. */
bool rmap_partly_unmapped(struct page *head);

/* Exclusive: this one mapping is the only reference, so a write may reuse the page in place. pt_lock held. */
bool rmap_pte_exclusive(pfn_t pfn);
bool rmap_pmd_exclusive(struct page *head);

/*
 * rmap_walk - every area that may map page `index` of `anon`, under the anon lock.
 *   fn       gets the vma and the address there; returns false to stop. It may take the pt_lock of v->mm.
 *   returns  false when stopped.      Linux: rmap_walk_anon
 */
bool rmap_walk(struct anon *anon, u64 index, u64 pages, bool (*fn)(struct vma *v, vaddr_t addr, void *ctx), void *ctx);

/* R1 every present leaf of every space is in the rmap of its page, R2 counts of every frame = entries found. Other CPUs stopped. */
bool rmap_check(void);

#endif
