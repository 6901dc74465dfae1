/*
 * layout.h - where everything lives in the kernel half: Linux's documented x86-64 map (4 levels).     floor 1
 *
 *   0x0000000000000000 .. 0x00007fffffffefff   user space (USER_END is one page below the hole)
 *   0xffff888000000000 .. (64 TiB)             direct map of all physical memory
 *   0xffffc90000000000 .. (32 TiB)             kernel stacks with guard pages, device registers
 *   0xffffea0000000000 .. (1 TiB)              array of struct page
 *   0xffffffff80000000 .. (512 MiB)            kernel image
 *
 * The host tests replace this file by one where the direct map is an ordinary array.
 */
#ifndef X86_LAYOUT_H
#define X86_LAYOUT_H

#include "lib/types.h"

#define USER_START        0x10000ul /* lowest address mmap gives out: Linux's vm.mmap_min_addr */
#define USER_END          0x00007ffffffff000ul
#define DIRECT_MAP_BASE   0xffff888000000000ul
#define VMAP_BASE         0xffffc90000000000ul
#define VMAP_END          0xffffc91000000000ul
#define PAGE_ARRAY_BASE   0xffffea0000000000ul
#define KERNEL_IMAGE_BASE 0xffffffff80000000ul

static inline void *phys_to_virt(paddr_t pa)
{
	return (void *)(DIRECT_MAP_BASE + pa);
}

static inline paddr_t virt_to_phys(const void *va)
{
	return (u64)va - DIRECT_MAP_BASE;
}

static inline paddr_t image_to_phys(const void *va) /* for symbols of the kernel image */
{
	return (u64)va - KERNEL_IMAGE_BASE;
}

#endif
