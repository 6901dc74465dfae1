/*
 * range.h - a range of addresses and the areas in it.                                          floor 5
 */
#ifndef MM_RANGE_H
#define MM_RANGE_H

#include "mm/mm.h"
#include <abi/advice.h>

static inline u32 prot_flags(u32 prot) /* PROT_* as VM_* */
{
	return (prot & PROT_READ ? VM_READ : 0) | (prot & PROT_WRITE ? VM_WRITE : 0) |
	       (prot & PROT_EXEC ? VM_EXEC : 0);
}

int range_cut(struct mm *mm, vaddr_t start, vaddr_t end) __must_check;
struct vma *range_part(struct vma *v, vaddr_t start, vaddr_t end, int *err) __must_check;
struct vma *range_first(struct mm *mm, vaddr_t start, vaddr_t end);
struct vma *range_next(struct vma *v, vaddr_t end);
vaddr_t range_mapped_until(struct mm *mm, vaddr_t start, vaddr_t end);
u32 range_accounted(u32 flags);
bool range_overcommits(u64 len, u32 flags);
int range_unmap(struct mm *mm, vaddr_t start, vaddr_t end) __must_check;

#endif
