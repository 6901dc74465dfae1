/*
 * vmstat.h - counting. A counter is a per-CPU word; reading sums them.                 floor 1
 */
#ifndef VMSTAT_H
#define VMSTAT_H

#include "x86/cpu.h"
#include <abi/vmstat.h>

static __always_inline void vmstat_inc(enum vm_stat s)
{
	cpu_stat_add(s, 1);
}
static __always_inline void vmstat_add(enum vm_stat s, s64 n)
{
	cpu_stat_add(s, n);
}

u64 vmstat_read(enum vm_stat s); /* sum over CPUs; a gauge is never negative once quiescent */
const char *vmstat_name(enum vm_stat s);
#define VMSTAT_FIRST_EVENT VM_pgalloc_dma32

#endif
