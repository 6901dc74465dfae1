/*
 * run.h - sizes between 4 KiB and 2 MiB: runs of pages that one write fault brings.           floor 5
 */
#ifndef MM_RUN_H
#define MM_RUN_H

#include "mm/mm.h"
#include "mm/thp.h"

#define RUN_MIN_ORDER 2u                     /* 16 KiB */
#define RUN_MAX_ORDER (HPAGE_PMD_ORDER - 1u) /* 1 MiB */

/* hugepages-SIZEkB/stats, by order. */
struct run_stats {
	u64 anon_fault_alloc, anon_fault_fallback; /* (a) */
};
extern struct run_stats run_stats[HPAGE_PMD_ORDER];

/* hugepages-SIZEkB/enabled, 2 MiB included. */
void run_set_size(unsigned order, enum thp_size size);

/*
 * run_fault - a write to a hole at the pte: the largest enabled run around it that fits.
 *   ptep     the entry of the address, in a table
 *   locks    mm->lock held for reading; takes pt_lock
 *   returns  FAULT_DONE; FAULT_FALLBACK: no run, one page is tried
 *   Linux    alloc_anon_folio, do_anonymous_page
 */
enum fault_result run_fault(const struct fault *f, struct vma *v, pte_t *ptep);

/* Why the next write fault at addr would, or would not, bring a run of this order. mm->lock held. */
enum thp_reason run_why(struct vma *v, vaddr_t addr, unsigned order);

#endif
