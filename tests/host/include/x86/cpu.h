/*
 * cpu.h - the host's: CPUs without privileged instructions.
 *
 * Takes the place of kernel/x86/cpu.h in the host tests. A host thread is the CPU machine_cpu; a test
 * with one thread may change that number between calls, and is then another CPU.
 */
#ifndef X86_CPU_H
#define X86_CPU_H

#include "config.h"
#include "lib/types.h"
#include <abi/vmstat.h>

struct thread;
struct tlb_space;
struct lock_context;
struct zone;
struct pcp;

struct cpu {
	struct cpu *self;
	struct thread *current;
	u32 id, apic_id;
	struct lock_context *lock_context;
	bool online;
	bool need_resched;
	bool in_idle;
	u32 irq_depth;
	u64 stats[NR_VM_STATS];
	struct tlb_space *tlb_active;
	u32 tlb_inbox;
	u64 nr_irqs, nr_ticks, nr_switches, nr_ipis;
	u64 idle_ns;
	void *arch;
	void *runqueue;
	u32 node;          /* of NUMA: mm/node.c */
	struct zone *zone; /* mm/buddy.c: the zone that is asked first, */
	struct pcp *pcp;   /* ... and this CPU's lists of it */
};

extern struct cpu *cpus[MAX_CPUS];
extern u32 nr_cpus;
extern _Thread_local u32 machine_cpu; /* which CPU this host thread is */

/* Called wherever another CPU may well be faster: before pages are cleared or copied, at preempt_point(). */
extern void (*machine_preempt)(void);

static inline void machine_pause(void)
{
	if (machine_preempt)
		machine_preempt();
}

#define for_each_cpu(c)                                                                            \
	for (struct cpu **c##_p = cpus, *c; c##_p < cpus + nr_cpus && (c = *c##_p); c##_p++)

static inline u32 cpu_id(void)
{
	return machine_cpu;
}

static inline struct cpu *this_cpu(void)
{
	return cpus[machine_cpu];
}

static inline struct thread *current_thread(void)
{
	return this_cpu()->current;
}

static inline u32 current_tid(void)
{
	return machine_cpu;
}

static inline void cpu_stat_add(enum vm_stat stat, s64 n)
{
	this_cpu()->stats[stat] += n;
}

#define RFLAGS_IF (1ul << 9)

static inline u64 irq_save(void)
{
	return RFLAGS_IF;
}

static inline void irq_restore(u64 flags)
{
	(void)flags;
}

static inline bool irqs_enabled(void)
{
	return true;
}

static inline void irq_enable(void)
{
}

static inline void irq_disable(void)
{
}

static inline void cpu_relax(void)
{
	__builtin_ia32_pause();
}

static inline u64 rdtsc(void)
{
	return __builtin_ia32_rdtsc();
}

static inline void clear_page(void *page)
{
	machine_pause();
	__builtin_memset(page, 0, PAGE_SIZE);
}

/* Zeroes, without taking memory for them: tests clear gigabytes of which they write a few pages. */
void machine_zero(void *at, u64 bytes);

static inline void clear_huge_page(void *page)
{
	for (int i = 0; i < 16; i++) /* it takes long */
		machine_pause();
	machine_zero(page, HPAGE_PMD_SIZE);
}

static inline void copy_page(void *to, const void *from)
{
	machine_pause();
	__builtin_memcpy(to, from, PAGE_SIZE);
}
static inline void copy_bytes(void *to, const void *from, u64 bytes)
{
	__builtin_memcpy(to, from, bytes);
}

#endif
