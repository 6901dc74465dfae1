/*
 * tlb.c - flushing translations on every CPU that may hold them, and proving it.       floor 1
 *
 * Decides neither when to flush nor what to free; see tlb.h for the rule of generations.
 *
 * IDEA
 *   asking CPU a                               asked CPU b
 *   request[a] = range; waiting = {b, c}
 *   b.inbox |= bit a; IPI to b                 takes its inbox; for each a in it:
 *   spin, answering a's own inbox,                flush request[a]
 *   until waiting is empty                        acked[b] = generation, waiting &= ~b
 *
 *   A CPU has one request at a time: it does not do anything else before it is answered. b answers
 *   from the IPI or, while it waits with interrupts off, from sync_poll(): two CPUs that ask each
 *   other both get on.
 *
 * INVARIANTS
 *   K1  acked[n] is written by CPU n only, after the translations are gone, and only rises while n is
 *       in the space; TLB_NOTHING before it loads the root and after it loaded another
 *   K2  a CPU with a space's root in CR3 is in the space's mask (the bit is set before CR3 is
 *       loaded)
 *   K3  when tlb_flush() returns, every CPU in the mask has acknowledged (tlb_assert_acked()
 *       tests it)
 *
 * LOCKS     the caller's, per space (pt_lock). The mailboxes are atomic words. Model: tests/spin/shootdown.pml.
 * LINUX     arch/x86/mm/tlb.c: PCIDs, lazy mode, batching over CPUs.   SDM vol. 3A, 4.10
 */
#include "x86/tlb.h"
#include "panic.h"
#include "sync.h"
#include "trace.h"
#include "vmstat.h"
#include "x86/apic.h"
#include "x86/cpu.h"
#include "x86/idt.h"

/*
 * More pages than this: everything is dropped at once, as Linux does
 * (tlb_single_page_flush_ceiling).
 */
#define SINGLE_PAGES 33

#define CR4_PGE (1ul << 7)

struct request {
	struct tlb_space *space;
	vaddr_t start, end;
	u64 stride, gen;
	u32 waiting;               /* (a) bit n: CPU n has not answered */
	bool skip_flush, skip_ack; /* injection */
} __aligned(64);

paddr_t tlb_kernel_root;
struct tlb_space tlb_kernel_space;
u32 tlb_skip_local, tlb_skip_remote, tlb_skip_ack;

static struct request requests[MAX_CPUS];

static const char *const site_names[NR_TLB_SITES] = {
#define X(name) #name,
	TLB_SITES(X)
#undef X
};

static u32 cpu_bit(u32 cpu)
{
	return 1u << cpu;
}

/* Kernel translations are global: they survive a load of CR3, but not a change of CR4.PGE. */
static void flush_everything(void)
{
	u64 cr4;

	asm volatile("movq %%cr4, %0" : "=r"(cr4));
	asm volatile("movq %0, %%cr4" : : "r"(cr4 & ~CR4_PGE) : "memory");
	asm volatile("movq %0, %%cr4" : : "r"(cr4) : "memory");
}

/* On this CPU, which has the space's tables loaded. */
static void flush_here(const struct tlb_space *s, vaddr_t start, vaddr_t end, u64 stride)
{
	if (end - start <= stride) {
		invlpg(start);
	} else if ((end - start) / stride <= SINGLE_PAGES) {
		for (vaddr_t a = start; a < end; a += stride)
			invlpg(a);
	} else if (s == &tlb_kernel_space) {
		flush_everything();
	} else {
		write_cr3(read_cr3());
	}
}

/* Does this CPU translate through the space's tables just now? */
static bool space_is_here(const struct tlb_space *s)
{
	return s == &tlb_kernel_space || this_cpu()->tlb_active == s;
}

/*
 * This CPU has flushed. Requests may come in another order than their generations, and one may be answered by the
 * interrupt between the look and the store here: never back (K1). A CPU that left has nothing.
 */
static void acknowledge(struct tlb_space *s, u64 gen)
{
	u64 *acked = &s->acked[cpu_id()], old = READ_ONCE(*acked);

	while (old < gen && !__atomic_compare_exchange_n(
				    acked, &old, gen, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
}

/* Does one asking CPU's request. */
static void answer(struct request *r)
{
	struct tlb_space *s = r->space;
	u32 me = cpu_id();

	if (!(CONFIG_INJECT && (r->skip_flush || r->skip_ack)) && space_is_here(s))
		flush_here(s, r->start, r->end, r->stride);
	if (!(CONFIG_INJECT && r->skip_ack))
		acknowledge(s, r->gen);
	__atomic_and_fetch(&r->waiting, ~cpu_bit(me), __ATOMIC_ACQ_REL);
}

/*
 * tlb_handle_ipi - look into this CPU's mailbox and answer.
 *
 *   locks    none; interrupts on or off; may be interrupted by itself: each bit is taken once
 */
void tlb_handle_ipi(void)
{
	struct cpu *c = this_cpu();
	u32 asking;

	if (!READ_ONCE(c->tlb_inbox))
		return;
	asking = __atomic_exchange_n(&c->tlb_inbox, 0, __ATOMIC_ACQ_REL);
	for (; asking; asking &= asking - 1)
		answer(&requests[__builtin_ctz(asking)]);
}

/* Ask the CPUs in the mask, and wait for all of them. */
static __noinline void flush_remote(
	struct tlb_space *s, vaddr_t start, vaddr_t end, u64 stride, enum tlb_site site, u32 others)
{
	u32 me = cpu_id();
	struct request *r = &requests[me];

	r->space = s;
	r->start = start;
	r->end = end;
	r->stride = stride;
	r->gen = READ_ONCE(s->gen);
	r->skip_flush = CONFIG_INJECT && (tlb_skip_remote & 1u << site);
	r->skip_ack = CONFIG_INJECT && (tlb_skip_ack & 1u << site);
	__atomic_store_n(&r->waiting, others, __ATOMIC_RELEASE);
	for (u32 left = others; left; left &= left - 1) {
		u32 cpu = __builtin_ctz(left);

		if (!__atomic_fetch_or(&cpus[cpu]->tlb_inbox, cpu_bit(me), __ATOMIC_ACQ_REL))
			apic_send_ipi(cpu, VECTOR_TLB);
	}
	for (u32 turn = 0; __atomic_load_n(&r->waiting, __ATOMIC_ACQUIRE); turn++) {
		sync_poll();
		sync_pause(turn);
	}
	vmstat_inc(VM_tlb_shootdown);
}

/* tlb_flush - see tlb.h. */
u64 tlb_flush(struct tlb_space *s, vaddr_t start, vaddr_t end, u64 stride, enum tlb_site site)
{
	u64 gen = __atomic_add_fetch(&s->gen, 1, __ATOMIC_SEQ_CST);
	u32 mask = READ_ONCE(s->cpus), me = cpu_id(), others = mask & ~cpu_bit(me);

	if (mask & cpu_bit(me)) {
		bool skip_ack = CONFIG_INJECT && (tlb_skip_ack & 1u << site);
		bool skip = CONFIG_INJECT && (tlb_skip_local & 1u << site);

		if (!skip && !skip_ack)
			flush_here(s, start, end, stride);
		if (!skip_ack)
			acknowledge(s, gen);
	}
	if (unlikely(others))
		flush_remote(s, start, end, stride, site, others);
	trace(TRACE_tlb_flush, start, (end - start) / stride, others);
	return gen;
}

/* tlb_assert_acked - K3 for one generation, before frames of the space go back. */
void tlb_assert_acked(const struct tlb_space *s, u64 gen)
{
	for (u32 mask = READ_ONCE(s->cpus); mask; mask &= mask - 1) {
		u32 cpu = __builtin_ctz(mask);
		u64 acked = __atomic_load_n(&s->acked[cpu], __ATOMIC_ACQUIRE);

		ASSERT_RULE("tlb-gen", acked >= gen, "CPU %u flushed generation %lu, not %lu", cpu,
			acked, gen);
	}
}

/* tlb_assert_flushed - the same for the newest one. */
void tlb_assert_flushed(const struct tlb_space *s)
{
	tlb_assert_acked(s, __atomic_load_n(&s->gen, __ATOMIC_ACQUIRE));
}

/* tlb_space_init - a space that no CPU has loaded. */
void tlb_space_init(struct tlb_space *s)
{
	*s = (struct tlb_space){0};
	for (u32 cpu = 0; cpu < MAX_CPUS; cpu++)
		s->acked[cpu] = TLB_NOTHING;
}

/* Take part in `s` from now on: the bit first, then the generation that loading CR3 will cover. */
static u64 space_join(struct tlb_space *s)
{
	__atomic_or_fetch(&s->cpus, cpu_bit(cpu_id()), __ATOMIC_SEQ_CST);
	return __atomic_load_n(&s->gen, __ATOMIC_SEQ_CST);
}

/* CR3 holds something else by now: nothing of `s` is left here. */
static void space_leave(struct tlb_space *s)
{
	u32 me = cpu_id();

	__atomic_store_n(&s->acked[me], TLB_NOTHING, __ATOMIC_RELEASE);
	__atomic_and_fetch(&s->cpus, ~cpu_bit(me), __ATOMIC_SEQ_CST);
}

/*
 * tlb_switch - load `root` for space `next`; NULL: the kernel's own root.
 *
 *   locks    interrupts off
 *   after    the space this CPU left may be freed by others
 *   Linux    switch_mm_irqs_off
 */
void tlb_switch(struct tlb_space *next, paddr_t root)
{
	struct cpu *c = this_cpu();
	struct tlb_space *old = c->tlb_active;
	u64 gen = 0;

	if (old == next)
		return;
	if (next)
		gen = space_join(next);
	write_cr3(next ? root : tlb_kernel_root);
	c->tlb_active = next;
	if (next)
		__atomic_store_n(&next->acked[c->id], gen, __ATOMIC_RELEASE);
	if (old)
		space_leave(old);
}

/* tlb_init - once, on the boot CPU: waiting CPUs answer their mailboxes from now on. */
void tlb_init(void)
{
	sync_poll = tlb_handle_ipi;
	tlb_space_init(&tlb_kernel_space);
	tlb_init_cpu();
}

/* tlb_init_cpu - on each CPU: take part in the kernel's own space, through the kernel's root. */
void tlb_init_cpu(void)
{
	u64 gen = space_join(&tlb_kernel_space);

	if (tlb_kernel_root)
		write_cr3(tlb_kernel_root);
	flush_everything();
	__atomic_store_n(&tlb_kernel_space.acked[cpu_id()], gen, __ATOMIC_RELEASE);
}

/* tlb_site_name - as in the injection command. */
const char *tlb_site_name(enum tlb_site site)
{
	return site < NR_TLB_SITES ? site_names[site] : "?";
}
