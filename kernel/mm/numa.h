/*
 * numa.h - memory follows the CPU that uses it.                                              floor 5
 */
#ifndef MM_NUMA_H
#define MM_NUMA_H

#include "mm/mm.h"
#include "mm/thp.h"
#include "mm/vma.h"

struct numa_settings {
	bool balancing;         /* /proc/sys/kernel/numa_balancing */
	u32 scan_delay_ms;      /* a new space is left alone so long */
	u32 scan_period_min_ms; /* between two turns in one space: numa_adapt() */
	u32 scan_period_max_ms;
	u32 scan_size_mb; /* of each space in a turn */
};
extern struct numa_settings numa_settings;

void numa_settings_init(void); /* on if there are several nodes */

/* Is this leaf of the area a question? mm->lock held. Without access, in an area that has it, and not on its way. */
static inline bool numa_is_hint(const struct vma *v, u64 entry)
{
	return entry_protnone(entry) && !entry_migrating(entry) && vma_is_accessible(v);
}

/*
 * numa_scan - take the access to the next `pages` pages of a space away, so that their next use says who uses them.
 *   locks    takes mm->lock for reading, by trylock: a busy space is left for the next turn
 *   returns  pages that changed
 *   Linux    task_numa_work, change_prot_numa
 */
u64 numa_scan(struct mm *mm, u64 pages);
/* ms until the space's next turn, by the answers to its last; see numa.c */
u32 numa_adapt(struct mm *mm);

/*
 * The fault that answers: access comes back, and the page comes to this CPU's node if it is on another one. Served for
 * somebody else's space (mm/access.c), it only gives access back: a reader from outside says nothing about who uses it.
 *   locks    mm->lock held for reading; takes pt_lock, and what migrate.c takes
 *   Linux    do_numa_page, do_huge_pmd_numa_page
 */
enum fault_result numa_fault_pte(struct vma *v, pte_t *ptep, pte_t seen);
enum fault_result numa_fault_pmd(struct vma *v, pmd_t *pmdp, pmd_t seen);

#endif
