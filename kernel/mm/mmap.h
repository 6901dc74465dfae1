/*
 * mmap.h - the verbs that change areas.                                                        floor 5
 *
 * What the memory calls do once their arguments are numbers; mmap.c, mprotect.c, mremap.c and madvise.c have them.
 * Each takes mm->lock itself; none is held on entry. Errors are Linux's, negated.
 */
#ifndef MM_MMAP_H
#define MM_MMAP_H

#include "mm/mm.h"
#include <abi/advice.h>

struct memory;

/* --- mmap.c --- */

/*
 * A new anonymous area, private or shared. Its address, or -errno. MAP_POPULATE is the caller's: fault_populate().
 * With a name, MAP_STACK makes it an initial stack.
 */
s64 mmap_map_as(struct mm *mm, vaddr_t addr, u64 len, u32 prot, u32 flags, const char *name);
static inline s64 mmap_map(struct mm *mm, vaddr_t addr, u64 len, u32 prot, u32 flags)
{
	return mmap_map_as(mm, addr, len, prot, flags, NULL);
}
/* A piece of a memory object. may_write: what the handle allows. */
s64 mmap_map_object(struct mm *mm, struct memory *m, u64 offset, vaddr_t addr, u64 len, u32 prot,
	u32 flags, bool may_write, const char *name);
/* The loader's form: a named area at a fixed place with extra VM_* flags (VM_STACK, VM_GROWSDOWN, VM_HEAP). */
int mmap_map_named(struct mm *mm, vaddr_t addr, u64 len, u32 prot, u32 vm_flags, const char *name);
/* A device's registers, mapped at once, by 2 MiB leaves where both addresses are aligned. */
int mmap_map_device(struct mm *mm, vaddr_t addr, u64 len, paddr_t pa);
/* Frames that belong to nobody (the initrd's), read-only for good. The address, or -EINVAL, -ENOMEM. */
s64 mmap_map_module(struct mm *mm, u64 len, paddr_t pa);
int mmap_unmap(struct mm *mm, vaddr_t addr, u64 len);
/* The new break, or the old one when it cannot be moved. */
vaddr_t mmap_brk(struct mm *mm, vaddr_t brk);
/* One byte per page into vec (kernel memory), at most 512 pages a call. 0, -ENOMEM (a hole). */
int mmap_mincore(struct mm *mm, vaddr_t addr, u64 pages, u8 *vec);
int mmap_set_thp_disable(struct mm *mm, bool disable);
/* users fell to 0: unmap all, free all tables, drop the huge zero page. Linux: exit_mmap */
void mmap_exit(struct mm *mm);

/* --- mlock.c --- */

#define MLOCK_ONFAULT 1
#define MCL_CURRENT   1
#define MCL_FUTURE    2
#define MCL_ONFAULT   4
#define MS_ASYNC      1
#define MS_INVALIDATE 2
#define MS_SYNC       4
int mmap_lock(struct mm *mm, vaddr_t addr, u64 len, u32 flags, u64 *faults);
int mmap_unlock(struct mm *mm, vaddr_t addr, u64 len);
int mmap_lock_all(struct mm *mm, u32 flags, u64 *faults);
int mmap_unlock_all(struct mm *mm);
int mmap_sync(struct mm *mm, vaddr_t addr, u64 len, u32 flags);

/* --- mprotect.c, mremap.c, madvise.c --- */

int mmap_protect_counted(struct mm *mm, vaddr_t addr, u64 len, u32 prot, u64 *faults);
static inline int mmap_protect(struct mm *mm, vaddr_t addr, u64 len, u32 prot)
{
	u64 faults;

	return mmap_protect_counted(mm, addr, len, prot, &faults);
}
/* What of [start, end) is locked and not there, except on fault; failure is not told. mlock.c */
void mmap_bring_in_locked(struct mm *mm, vaddr_t start, vaddr_t end, u64 *faults);
void mmap_unlock_area(struct vma *v); /* mm->lock held for writing */
/* The initial stack is built; it may have huge pages from now on. */
void mmap_stack_done(struct mm *mm);
s64 mmap_remap(struct mm *mm, vaddr_t old, u64 old_len, u64 new_len, u32 flags, vaddr_t new_addr);
int mmap_advise(struct mm *mm, vaddr_t addr, u64 len, int advice, u64 *faults);

#endif
