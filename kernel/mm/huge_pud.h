/*
 * huge_pud.h - anonymous memory by the gigabyte.                                              floor 5
 */
#ifndef MM_HUGE_PUD_H
#define MM_HUGE_PUD_H

#include "mm/mm.h"
#include "mm/thp.h"

/* Start-up: does this machine's CPU have leaves of 1 GiB? */
void huge_pud_init(bool cpu_has_it);
bool huge_pud_possible(void);

/* --- faults; mm->lock held for reading, pt_lock not --- */
/* Linux: create_huge_pud */
enum fault_result huge_pud_fault(const struct fault *f, struct vma *v, pud_t *pudp);
/* Linux: wp_huge_pud */
enum fault_result huge_pud_wp(const struct fault *f, struct vma *v, pud_t *pudp, pud_t seen);
enum fault_result huge_pud_set_accessed(
	const struct fault *f, struct vma *v, pud_t *pudp, pud_t seen);

/* Would a write there get 1 GiB? THP_OK, or the first reason against it: `thp why`. mm->lock held. */
enum thp_reason huge_pud_why(const struct vma *v, vaddr_t addr);

bool huge_pud_available(void);       /* would a fault find a gigabyte just now? No spinlock held */
void huge_pud_forget_failures(void); /* the next fault that finds none works for one */
bool huge_pud_check(void);           /* G2: see gigapage.c. The other CPUs are stopped */

/* --- changes to ranges; mm->lock held for writing. Each returns at once when the space has no such leaf --- */
void huge_pud_zap(struct vma *v, vaddr_t start, vaddr_t end); /* whole ones go, others are split */

#endif
