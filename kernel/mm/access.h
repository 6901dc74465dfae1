/*
 * access.h - memory of another space.                                                          floor 5
 */
#ifndef MM_ACCESS_H
#define MM_ACCESS_H

#include "mm/mm.h"

/*
 * mm_read, mm_write - bytes of a space, as a thread in it could read or write them.
 *
 *   mm       with a reference (mm_get_user or mm_get)
 *   locks    none held; takes mm->lock for reading, pt_lock
 *   returns  how many bytes, from addr on; none: -EFAULT, -EAGAIN (its pager would have to be asked), -ENOMEM
 *   Linux    access_remote_vm, without FOLL_FORCE
 */
s64 mm_read(struct mm *mm, vaddr_t addr, void *to, u64 bytes);
s64 mm_write(struct mm *mm, vaddr_t addr, const void *from, u64 bytes);

#endif
