/*
 * vmstat.c - reading the counters.                                                     floor 1
 *
 * IDEA
 *   Each CPU adds to its own word by one instruction (cpu_stat_add); nothing is shared, nothing is
 *   locked. A sum taken while CPUs count is a value the counter may never have had: exact once
 *   quiet.
 *
 * INVARIANTS  none of its own: a gauge's words may wrap (one CPU counts up, another down), their
 *             sum does not.
 * LOCKS       none.
 * LINUX       mm/vmstat.c folds per-CPU differences into zone and node counters.
 */
#include "vmstat.h"

static const char *const names[NR_VM_STATS] = {
#define X(name) #name,
	VMSTAT_GAUGES(X) VMSTAT_EVENTS(X)
#undef X
};

/*
 * vmstat_read - the sum over CPUs. A gauge below zero (read in the middle of a change) reads as 0.
 */
u64 vmstat_read(enum vm_stat s)
{
	u64 sum = 0;

	for_each_cpu (c)
		sum += READ_ONCE(c->stats[s]);
	return s < VMSTAT_FIRST_EVENT && (s64)sum < 0 ? 0 : sum;
}

/* vmstat_name - Linux's name in /proc/vmstat. */
const char *vmstat_name(enum vm_stat s)
{
	return names[s];
}
