/*
 * mmap.h - the verbs that change areas: what the memory calls do once their arguments are numbers.   floor 5
 *
 * All take mm->lock for writing themselves; none is held on entry. Errors are Linux's.
 */
#ifndef MM_MMAP_H
#define MM_MMAP_H

#include "mm/mm.h"
#include <abi/advice.h>

s64 mmap_map(struct mm *mm, vaddr_t addr, u64 len, u32 prot,
	u32 flags); /* address or -errno; MAP_POPULATE is done by the caller through mmap_populate */
/* The loader's form: a named area at a fixed place with extra VM_* flags (VM_STACK, VM_GROWSDOWN, VM_HEAP). */
int mmap_map_named(struct mm *mm, vaddr_t addr, u64 len, u32 prot, u32 vm_flags, const char *name);
int mmap_map_device(struct mm *mm, vaddr_t addr, u64 len,
	paddr_t pa); /* VMA_DEVICE, mapped at once, 2 MiB leaves where aligned */
int mmap_unmap(struct mm *mm, vaddr_t addr, u64 len);
int mmap_protect(struct mm *mm, vaddr_t addr, u64 len, u32 prot);
s64 mmap_remap(struct mm *mm, vaddr_t old, u64 old_len, u64 new_len, u32 flags, vaddr_t new_addr);
vaddr_t mmap_brk(struct mm *mm, vaddr_t brk); /* the new break, or the old one on failure */
int mmap_advise(struct mm *mm, vaddr_t addr, u64 len, int advice, u64 *faults);
/* One byte per page into vec (kernel memory), at most 512 pages a call. 0, -ENOMEM (hole). */
int mmap_mincore(struct mm *mm, vaddr_t addr, u64 pages, u8 *vec);
int mmap_set_thp_disable(struct mm *mm, bool disable);
void mmap_exit(struct
	mm *mm); /* users fell to 0: unmap all, free all tables, drop the huge zero page. Linux: exit_mmap */

#endif
