/*
 * cpu.h - the per-CPU area and the privileged instructions, one inline function each.  floor 1
 *
 * %gs points at this CPU's struct cpu while in the kernel. The first fields have fixed offsets,
 * because entry.asm, switch.asm and the compiler's stack protector (%gs:40) use them.
 *
 * The host tests replace this file.
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

typedef u64 __attribute__((aligned(4))) u64_at_4; /* as the TSS has them */

struct cpu {
	struct cpu *self;       /* %gs:0 */
	u64 kernel_rsp;         /* %gs:8   top of the current thread's kernel stack */
	u64 user_rsp;           /* %gs:16  scratch of the syscall entry */
	struct thread *current; /* %gs:24 */
	u32 id;                 /* %gs:32  0 .. nr_cpus - 1 */
	u32 apic_id;
	u64 stack_canary;                  /* %gs:40 */
	struct lock_context *lock_context; /* of the current thread; before threads, of the boot */
	bool online;
	bool need_resched;
	bool in_idle;
	u32 irq_depth;                /* > 0 inside an interrupt handler */
	u64 stats[NR_VM_STATS];       /* this CPU's share of every counter; gauges wrap mod 2^64 */
	struct tlb_space *tlb_active; /* the space whose tables CR3 holds, or NULL */
	u32 tlb_inbox;                /* bit n: CPU n wants a flush from us */
	u64 nr_irqs, nr_ticks, nr_switches, nr_ipis;
	u64 idle_ns;
	void *arch;         /* gdt, tss, ist stacks: x86/gdt.c */
	u64_at_4 *tss_rsp0; /* in there: kernel_rsp for interrupts */
	void *runqueue;     /* runqueue.h */
	u32 node;           /* of NUMA: mm/node.c */
	struct zone *zone;  /* mm/buddy.c: the zone that is asked first, */
	struct pcp *pcp;    /* ... and this CPU's lists of it */
};

extern struct cpu *cpus[MAX_CPUS]; /* [id]; NULL where there is none */
extern u32 nr_cpus;                /* CPUs that are online; 1 until the others are started */

#define for_each_cpu(c)                                                                            \
	for (struct cpu **c##_p = cpus, *c; c##_p < cpus + nr_cpus && (c = *c##_p); c##_p++)

static __always_inline u32 cpu_id(void)
{
	u32 id;
	asm volatile("movl %%gs:32, %0" : "=r"(id));
	return id;
}

static __always_inline struct cpu *this_cpu(void)
{
	struct cpu *c;
	asm volatile("movq %%gs:0, %0" : "=r"(c));
	return c;
}

/*
 * The same for all the code a thread runs, whatever CPU it is on: the compiler may read it once. Linux: current,
 * this_cpu_read_stable
 */
static __always_inline struct thread *current_thread(void)
{
	struct thread *t;
	asm("movq %%gs:24, %0" : "=r"(t));
	return t;
}

/*
 * The number of the current thread, for floors that do not know struct thread; trap.c asserts the
 * offset.
 */
#define THREAD_TID_OFFSET 8
static __always_inline u32 current_tid(void)
{
	struct thread *t = current_thread();
	return t ? *(const u32 *)((const char *)t + THREAD_TID_OFFSET) : 0;
}

/* One instruction, so that an interrupt cannot come between the read and the write. */
static __always_inline void cpu_stat_add(enum vm_stat stat, s64 n)
{
	asm volatile("addq %1, %%gs:%c0"
		     :
		     : "i"(offsetof(struct cpu, stats) + 8 * stat), "er"(n)
		     : "cc");
}

#define RFLAGS_IF (1ul << 9)
#define RFLAGS_AC (1ul << 18)

static __always_inline u64 irq_save(void)
{
	u64 flags;
	asm volatile("pushfq; popq %0; cli" : "=r"(flags) : : "memory");
	return flags;
}

static __always_inline void irq_restore(u64 flags)
{
	if (flags & RFLAGS_IF)
		asm volatile("sti" : : : "memory");
}

static __always_inline bool irqs_enabled(void)
{
	u64 flags;
	asm volatile("pushfq; popq %0" : "=r"(flags));
	return flags & RFLAGS_IF;
}

static __always_inline void irq_enable(void)
{
	asm volatile("sti" : : : "memory");
}
static __always_inline void irq_disable(void)
{
	asm volatile("cli" : : : "memory");
}
static __always_inline void cpu_relax(void)
{
	asm volatile("pause" : : : "memory");
}
static __always_inline void cpu_wait_for_interrupt(void)
{
	asm volatile("sti; hlt" : : : "memory");
}

static __always_inline u64 rdtsc(void)
{
	u32 lo, hi;
	asm volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return ((u64)hi << 32) | lo;
}

static __always_inline u64 read_cr2(void)
{
	u64 v;
	asm volatile("movq %%cr2, %0" : "=r"(v));
	return v;
}
static __always_inline u64 read_cr3(void)
{
	u64 v;
	asm volatile("movq %%cr3, %0" : "=r"(v));
	return v;
}
static __always_inline void write_cr3(u64 v)
{
	asm volatile("movq %0, %%cr3" : : "r"(v) : "memory");
}
static __always_inline void invlpg(vaddr_t a)
{
	asm volatile("invlpg (%0)" : : "r"(a) : "memory");
}

/*
 * SMAP: only uaccess opens the door, for as few instructions as it can. No-ops without SMAP
 * (patched flag).
 */
extern bool cpu_has_smap;
static __always_inline void user_access_begin(void)
{
	if (cpu_has_smap)
		asm volatile("stac" : : : "memory");
}
static __always_inline void user_access_end(void)
{
	if (cpu_has_smap)
		asm volatile("clac" : : : "memory");
}

/* Whole pages by string instructions: one guest instruction per 8 bytes under -icount. */
static __always_inline void clear_page(void *page)
{
	u64 n = PAGE_SIZE / 8;
	asm volatile("rep stosq" : "+D"(page), "+c"(n) : "a"(0ul) : "memory");
}

static __always_inline void clear_huge_page(void *page)
{
	u64 n = HPAGE_PMD_SIZE / 8;
	asm volatile("rep stosq" : "+D"(page), "+c"(n) : "a"(0ul) : "memory");
}

static __always_inline void copy_page(void *to, const void *from)
{
	u64 n = PAGE_SIZE / 8;
	asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

/* Any number of bytes, eight at a time, then the rest. For lengths that are known late and may be long. */
static __always_inline void copy_bytes(void *to, const void *from, u64 bytes)
{
	u64 n = bytes / 8;
	asm volatile("rep movsq\n"
		     "	movq %[rest], %%rcx\n"
		     "	rep movsb"
		     : "+D"(to), "+S"(from), "+c"(n)
		     : [rest] "r"(bytes % 8)
		     : "memory");
}

static __always_inline void outb(u16 port, u8 v)
{
	asm volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}
static __always_inline void outl(u16 port, u32 v)
{
	asm volatile("outl %0, %1" : : "a"(v), "Nd"(port));
}
static __always_inline void outw(u16 port, u16 v)
{
	asm volatile("outw %0, %1" : : "a"(v), "Nd"(port));
}
static __always_inline u8 inb(u16 port)
{
	u8 v;
	asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}
static __always_inline u32 inl(u16 port)
{
	u32 v;
	asm volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static __always_inline u64 rdmsr(u32 msr)
{
	u32 lo, hi;
	asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return ((u64)hi << 32) | lo;
}

static __always_inline void wrmsr(u32 msr, u64 v)
{
	asm volatile("wrmsr" : : "a"((u32)v), "d"((u32)(v >> 32)), "c"(msr) : "memory");
}

static __always_inline void cpuid(u32 leaf, u32 sub, u32 out[4])
{
	asm volatile("cpuid"
		     : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
		     : "a"(leaf), "c"(sub));
}

#endif
