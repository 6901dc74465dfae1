/*
 * cpu.c - which CPUs there are                                                             floor 1
 *
 * The table that cpu.h declares. Filled by gdt.c (a CPU's block) and smp.c (the count).
 *
 * LOCKS     none: an entry is written before nr_cpus counts it, and never changes after that.
 */
#include "x86/cpu.h"

struct cpu *cpus[MAX_CPUS];
u32 nr_cpus = 1;
