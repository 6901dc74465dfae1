/*
 * fake_space.h - a machine for the tests of floor 3: started, with a kernel root, TLBs that acknowledge, and
 * the few moves that every test of spaces needs.
 */
#ifndef FAKE_SPACE_H
#define FAKE_SPACE_H

#include "mm/mm.h"
#include "mm/page.h"
#include "mm/vma.h"

extern u64 space_flushes[NR_TLB_SITES]; /* how often each site flushed */

/* machine_start(), then floor 3's caches, the zero frame and a root for the kernel. */
void space_start(u64 bytes, u32 cpus);

/* As a thread that holds mm->lock for writing, the only one there is. */
struct mm *space_create(void);     /* a new space, locked; the test fails when there is no memory */
void space_destroy(struct mm *mm); /* an empty one: unlock, last user, last reference */

/* An area of its own, not united with neighbours. pgoff = address / 4 KiB, as mmap numbers pages. */
struct vma *space_area(struct mm *mm, vaddr_t start, vaddr_t end, u32 flags);
void space_area_gone(struct vma *v); /* nothing is mapped in it: unlink, remove, free */
void space_area_free(struct vma *v); /* the same, and the tables that only it needed */

/* The pmd and pte entry for an address, tables made as needed. */
pmd_t *space_pmd(struct mm *mm, vaddr_t addr);
pte_t *space_pte(struct mm *mm, vaddr_t addr);

/* What a fault does with a fresh page: map, count. The entry must be a hole. */
struct page *space_map_small(struct vma *v, vaddr_t addr);
struct page *space_map_huge(struct vma *v, vaddr_t haddr);
void space_map_zero(struct vma *v, vaddr_t addr);
void space_map_huge_zero(struct vma *v, vaddr_t haddr);

/* What zap does: take the entry, uncount, flush, give the frame back. Holes are fine. */
void space_unmap_small(struct vma *v, vaddr_t addr);
void space_unmap_huge(struct vma *v, vaddr_t haddr); /* the pmd is a huge leaf */
void space_split_huge(struct vma *v, vaddr_t haddr); /* the pmd is a huge leaf */
/* Splits what lies half inside */
void space_unmap_range(struct vma *v, vaddr_t start, vaddr_t end);

/* Everything: pages, areas, tables; then space_destroy(). */
void space_empty(struct mm *mm);

#endif
