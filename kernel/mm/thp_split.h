/*
 * thp_split.h - a huge page comes apart: one mapping of it, or the page itself.               floor 5
 */
#ifndef MM_THP_SPLIT_H
#define MM_THP_SPLIT_H

#include "mm/mm.h"
#include "mm/page.h"
#include "vmstat.h"

/* --- one mapping; pt_lock held --- */
void thp_split_pmd(struct vma *v, vaddr_t haddr,
	pmd_t *pmdp); /* one pmd -> 512 ptes; flushes; cannot fail. Linux: __split_huge_pmd */

/* The leaf of 1 GiB over addr, or all that meet a range (pt_lock not held), become leaves of 2 MiB; cannot fail. */
void thp_split_pud(struct mm *mm, vaddr_t addr);
void thp_split_puds(struct mm *mm, vaddr_t start, vaddr_t end);
static inline void thp_count_puds(struct mm *mm, s32 n) /* pt_lock held */
{
	mm->nr_puds += n;
	vmstat_add(VM_nr_thp_1g, n);
}

/* --- the page itself --- */

/*
 * thp_split_page - split a huge page (not only a mapping of it) into 512 pages.
 *   locks    no spinlock held; the caller holds a reference on the head and, if it is mapped in the caller's space, mm->lock
 *   returns  0 (the reference is now on the page of the head frame), -EBUSY (somebody else holds a reference or a lock)
 *   counts   thp_split_page, thp_split_page_failed, thp_split_pmd for each mapping that was split; as on Linux
 *            thp_deferred_split_page too, unless it was on that queue (thp_split_taken: was taken off it just now)
 *   Linux    split_huge_page
 */
int thp_split_page(struct page *head);
int thp_split_taken(struct page *head);

#endif
