/*
 * fault.h - a page fault, from the area down the tree.                                        floor 5
 */
#ifndef MM_FAULT_H
#define MM_FAULT_H

#include "mm/mm.h"

/*
 * fault_handle - serve one fault.
 *   locks    none held; interrupts on; may sleep; takes and releases mm->lock for reading
 *   returns  FAULT_DONE, FAULT_BAD_ADDRESS, FAULT_BAD_ACCESS, FAULT_NO_MEMORY or FAULT_PAGER; never FALLBACK or RETRY
 *   Linux    do_user_addr_fault + handle_mm_fault
 */
enum fault_result fault_handle(const struct fault *f);

/*
 * fault_populate - fault in [start, end) as if read or written page by page (MAP_POPULATE, MADV_POPULATE_*).
 *   returns  0, -ENOMEM (hole or no memory), -EINVAL (rights), -EFAULT (nobody supplies it), -EINTR (killed);
 *            *faults grows by one for each fault, as Linux counts them
 */
int fault_populate(struct mm *mm, vaddr_t start, vaddr_t end, bool write, u64 *faults);

#endif
