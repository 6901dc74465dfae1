/*
 * mbind.h - a task says on which node its pages are to be, and asks where they are.            floor 5
 */
#ifndef MM_MBIND_H
#define MM_MBIND_H

#include "mm/mempolicy.h"

/*
 * mbind_range - the areas of [start, start + len) get this policy; with MPOL_MF_MOVE the pages that are there go to where it
 * wants them.
 *   locks    none held; takes mm->lock
 *   returns  0; -EFAULT: a hole (of DEFAULT: nothing at all there); -EIO: MPOL_MF_STRICT, and a page is elsewhere; -EINVAL,
 *            -ENOMEM
 *   Linux    do_mbind
 */
int mbind_range(struct mm *mm, vaddr_t start, u64 len, u32 policy, u32 flags);

/* The policy of the area at addr: 0; -EFAULT: there is none. No lock held. */
int mbind_policy_at(struct mm *mm, vaddr_t addr, u32 *policy);

/*
 * page_node_at - the node of the page that is mapped at addr.
 *   locks    none held; takes mm->lock
 *   returns  the node; -EFAULT: nothing is mapped there, a device, or (unless zero_too) the zero page
 *   Linux    do_pages_stat_array
 */
int page_node_at(struct mm *mm, vaddr_t addr, bool zero_too);

/*
 * page_move_to - it goes there, a huge page whole.
 *   locks    none held; takes mm->lock, and what migrate.c takes
 *   returns  the node, if it is there now; -EACCES: others map it too (unless all); -EBUSY, -ENOMEM; -ENOENT: it
 *            has gone meanwhile; as above
 *   Linux    do_pages_move, add_page_for_migration
 */
int page_move_to(struct mm *mm, vaddr_t addr, unsigned node, bool all);

#endif
