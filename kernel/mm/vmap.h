/*
 * vmap.h - kernel addresses outside the direct map: guarded stacks, device registers.    floor 3
 */
#ifndef MM_VMAP_H
#define MM_VMAP_H

#include "lib/types.h"

void vmap_init(void);
/* A stack of n pages above an unmapped guard page; returns its lowest mapped byte, 0: no memory. */
vaddr_t vmap_alloc_stack(unsigned pages);
void vmap_free_stack(vaddr_t bottom, unsigned pages);
/* Uncached mapping of device registers, for good. NULL: no memory. */
void *vmap_map_device(paddr_t pa, u64 bytes);
/* Is va in a guard page of a live stack? For the double-fault message. */
bool vmap_is_guard(vaddr_t va);

#endif
