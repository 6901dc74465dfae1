/*
 * fake_mmu.h - the CPU's side of memory, for the tests of floor 5: it walks the tables, faults, sets A and D,
 * and keeps translations until somebody flushes them.
 *
 * Two CPUs run in each space, each with a TLB. It never forgets by itself, so a flush that the kernel leaves out shows: either a
 * program reads or writes through a translation that is no longer true, or mmu_check() finds it first.
 */
#ifndef FAKE_MMU_H
#define FAKE_MMU_H

#include "mm/mm.h"

enum mmu_kind {
	MMU_READ,
	MMU_WRITE,
	MMU_EXEC
};

#define MMU_CPUS    4  /* threads of execution a test may play, one inside the other */
#define MMU_TLBS    2  /* CPUs that run in a space */
#define MMU_ENTRIES 48 /* of one TLB */

struct mmu_entry {
	vaddr_t start;
	u64 size; /* 0: unused */
	pfn_t pfn;
	u64 bits; /* PTE_RW, PTE_NX, PTE_D as they were when it was cached */
};

/* A machine as far as floor 5 goes: machine_start(), floor 3's caches, the kernel's root, thp_init(). */
void mmu_start(u64 bytes);

/* A CPU loads the space, or leaves it for good (a task's exit): then the TLB is empty. */
void mmu_enter(struct mm *mm);
void mmu_leave(struct mm *mm);

/*
 * One access by ring 3: cached translation, walk, or fault_handle() and again.
 *   returns  FAULT_DONE and where the byte lies in *at; or what the fault said; FAULT_MIGRATING: it waits for a CPU
 *            in whose work this one's is nested
 */
enum fault_result mmu_access(struct mm *mm, vaddr_t addr, enum mmu_kind kind, char **at);

/* The byte behind a translation that this CPU has cached and that allows this; NULL: none. No fault, no walk. */
char *mmu_cached(struct mm *mm, unsigned cpu, vaddr_t addr, enum mmu_kind kind);

/* A translation that this CPU has cached, by number; NULL when that place is unused. */
const struct mmu_entry *mmu_entry(struct mm *mm, unsigned cpu, unsigned n);

/* What the tables say, without touching A and D: the frame behind addr (PROTNONE too), or 0. */
pfn_t mmu_frame(struct mm *mm, vaddr_t addr);

/* M1: no cached translation says more than the tables do. Prints the first that does. */
bool mmu_check(struct mm *mm);

/* Called by tlb_flush() before anything is flushed: other CPUs are still at work. NULL: nothing. */
extern void (*mmu_before_flush)(struct mm *mm, vaddr_t start, vaddr_t end, enum tlb_site site);

/* What pager_ask() does here: the test plays the pager. NULL: nobody answers, FAULT_BUS. */
extern enum fault_result (*mmu_pager)(const struct fault *f);

extern u64 mmu_faults;                /* fault_handle() was called so often */
extern u64 mmu_flushes[NR_TLB_SITES]; /* and tlb_flush() */

/*
 * Another CPU works in the middle of what this one does: run fn as CPU machine_cpu + 1, if no spinlock is held
 * and there is one more. False: it could not be.
 */
bool mmu_as_other_cpu(void (*fn)(void));

#endif
