/*
 * vmap.h - kernel addresses outside the direct map: stacks with guard pages, device registers.   floor 3
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
bool vmap_is_guard(vaddr_t va);  /* is va in a guard page of a live stack? for the double-fault message */

#endif
