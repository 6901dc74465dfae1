/*
 * layout.h - the host's: physical memory is an array, so a physical address is an offset into it.
 *
 * Takes the place of kernel/x86/layout.h in the host tests; fake_machine.c makes the arrays.
 */
#ifndef X86_LAYOUT_H
#define X86_LAYOUT_H

#include "lib/types.h"

extern char *machine_memory;       /* physical address 0 */
extern struct page *machine_pages; /* the array of struct page */

#define USER_START        0x10000ul
#define USER_END          0x00007ffffffff000ul
#define DIRECT_MAP_BASE   ((u64)machine_memory)
#define VMAP_BASE         0xffffc90000000000ul
#define VMAP_END          0xffffc91000000000ul
#define PAGE_ARRAY_BASE   ((u64)machine_pages)
#define KERNEL_IMAGE_BASE 0xffffffff80000000ul

static inline void *phys_to_virt(paddr_t pa)
{
	return machine_memory + pa;
}

static inline paddr_t virt_to_phys(const void *va)
{
	return (u64)va - (u64)machine_memory;
}

#endif
