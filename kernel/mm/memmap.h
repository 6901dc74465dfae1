/*
 * memmap.h - which physical memory exists, and frames before the buddy allocator does.      floor 2
 */
#ifndef MM_MEMMAP_H
#define MM_MEMMAP_H

#include "lib/types.h"

enum memmap_type {
	MEMMAP_USABLE,
	MEMMAP_RESERVED,
	MEMMAP_ACPI,
	MEMMAP_KERNEL,
	MEMMAP_MODULE,
	MEMMAP_EARLY
};

struct memmap_range {
	paddr_t start, end; /* bytes; page-aligned once inside memmap.c */
	enum memmap_type type;
};

#define MEMMAP_MAX 256
/* Below 1 MiB nothing is given out: the BIOS's data, the trampoline. */
#define MEMMAP_LOW 0x100000ul

extern struct memmap_range memmap_ranges[MEMMAP_MAX]; /* sorted, disjoint, merged */
extern unsigned memmap_count;

void memmap_init(void);
/*
 * Add a range as the firmware told it (any order, overlapping: the less usable type wins). -ENOSPC when
 * full.
 */
int memmap_add(paddr_t start, paddr_t end, enum memmap_type type);
/* Mark [start, end) as used: kernel image, initrd, tables. Rounded outwards to pages. */
int memmap_reserve(paddr_t start, paddr_t end, enum memmap_type type);
/*
 * Early frames: zeroed, below 4 GiB (mapped by boot.asm), typed MEMMAP_EARLY (kernel). 0: none
 * left. Not after page_init().
 */
paddr_t memmap_early_alloc(u64 bytes, u64 align);
bool memmap_is_ram(enum memmap_type type);       /* neither RESERVED nor ACPI */
bool memmap_has_ram(paddr_t start, paddr_t end); /* any RAM in there? */
paddr_t memmap_top(void);                        /* end of the highest RAM, used or not */
u64 memmap_usable_bytes(void);                   /* all RAM the firmware gave, used or not */

#endif
