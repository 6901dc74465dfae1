/*
 * smp.c - waking the other CPUs, and stopping them.                                    floor 1
 *
 * IDEA
 *   waking    INIT, then STARTUP with the number of a page below 1 MiB: the CPU begins there in
 *             real mode (boot/trampoline.asm, copied by smp_prepare()). The mailbox in that page
 *             tells it the root table, a stack, and where C begins. One CPU at a time.
 *   stopping  for a panic or the stopped monitor: an NMI reaches a CPU whatever it does; its
 *             handler stores the registers and spins until it is let go.
 *
 * INVARIANTS
 *   P1  a CPU counts as started when it has set `online` itself
 *
 * LOCKS     none: only the boot CPU wakes, only one CPU stops (panic.c, the monitor see to that).
 * LINUX     arch/x86/kernel/smpboot.c, arch/x86/kernel/reboot.c (nmi_shootdown_cpus).
 *           SDM vol. 3A, 8.4.4 (INIT-SIPI-SIPI)
 */
#include "x86/smp.h"
#include "lib/string.h"
#include "panic.h"
#include "x86/apic.h"
#include "x86/features.h"
#include "x86/fpu.h"
#include "x86/gdt.h"
#include "x86/idt.h"
#include "x86/layout.h"
#include "x86/timer.h"
#include "x86/tlb.h"

#define INIT_PAUSE_NS    (200 * NS_PER_US) /* 10 ms were for the separate APICs of the 486 */
#define STARTUP_PAUSE_NS (200 * NS_PER_US)
#define ONLINE_WAIT_NS   (3 * NS_PER_SEC)
#define STOP_WAIT_NS     (1 * NS_PER_SEC)

/* Offset 8 of the trampoline page; boot/trampoline.asm has the same drawing. */
struct mailbox {
	u64 cr3, stack, entry, arg;
};
#define MAILBOX_OFFSET 8

static void (*ap_continue)(void);
static paddr_t start_page, start_root;

static u32 stop_wanted;  /* (a) bit n: CPU n shall stand still */
static u32 stop_arrived; /* (a) bit n: it does */
static struct regs stopped[MAX_CPUS];

/*
 * smp_prepare - copy the trampoline to its page, and give the start root the kernel's upper half.
 *
 *   page         below 1 MiB, nobody else's (bootinfo_low_page)
 *   code, bytes  boot/trampoline.asm
 *   root         its table, in the image: the lower half maps the trampoline page to itself
 *   kernel_root  the kernel's pgd
 *   ap_main      what a CPU does once the machine part is done: never returns
 */
void smp_prepare(paddr_t page, const void *code, usize bytes, pgd_t *root, const pgd_t *kernel_root,
	void (*ap_main)(void))
{
	ASSERT(bytes <= PAGE_SIZE);
	start_page = page;
	memcpy(phys_to_virt(page), code, bytes);
	memcpy(root + PTRS_PER_TABLE / 2, kernel_root + PTRS_PER_TABLE / 2, PAGE_SIZE / 2);
	start_root = image_to_phys(root);
	ap_continue = ap_main;
}

/* Where an application processor enters C, on its own stack, with the start root. */
__attribute__((no_stack_protector)) static void ap_entry(struct cpu *c)
{
	cpu_area_load(c);
	idt_load();
	cpu_init_features();
	tlb_init_cpu();
	fpu_init_cpu();
	apic_init_cpu();
	timer_init_cpu();
	ap_continue();
}

static bool wait_online(const struct cpu *c, u64 ns)
{
	u64 end = time_ns() + ns;

	while (!__atomic_load_n(&c->online, __ATOMIC_ACQUIRE)) {
		if (time_ns() >= end)
			return false;
		cpu_relax();
	}
	return true;
}

/*
 * smp_start - wake one CPU.
 *
 *   c          its block, from cpu_area_init()
 *   stack_top  its first kernel stack, 16-byte aligned
 *   returns    false: it did not come within seconds; its block and its stack must stay
 *   after      nr_cpus counts it
 */
bool smp_start(struct cpu *c, vaddr_t stack_top)
{
	struct mailbox *box = phys_to_virt(start_page + MAILBOX_OFFSET);

	*box = (struct mailbox){start_root, stack_top, (u64)ap_entry, (u64)c};
	apic_send_init(c->apic_id);
	timer_delay(INIT_PAUSE_NS);
	for (u32 attempt = 0; attempt < 2; attempt++) {
		apic_send_startup(c->apic_id, start_page);
		if (wait_online(c, attempt ? ONLINE_WAIT_NS : STARTUP_PAUSE_NS)) {
			__atomic_store_n(&nr_cpus, nr_cpus + 1, __ATOMIC_RELEASE);
			return true;
		}
	}
	return false;
}

static u32 other_cpus(void)
{
	u32 mask = 0;

	for_each_cpu (c)
		if (c->online && c != this_cpu())
			mask |= 1u << c->id;
	return mask;
}

/*
 * smp_stop_others - by NMI; returns when they stand, or after a second without those that do not
 * answer.
 */
void smp_stop_others(void)
{
	u32 wanted = other_cpus();
	u64 end;

	if (!wanted)
		return;
	__atomic_store_n(&stop_wanted, wanted, __ATOMIC_SEQ_CST);
	for (u32 left = wanted; left; left &= left - 1)
		apic_send_nmi(__builtin_ctz(left));
	end = time_ns() + STOP_WAIT_NS;
	while ((__atomic_load_n(&stop_arrived, __ATOMIC_ACQUIRE) & wanted) != wanted &&
		time_ns() < end)
		cpu_relax();
}

/* smp_resume_others - let the stopped ones go on, and wait until they do. */
void smp_resume_others(void)
{
	__atomic_store_n(&stop_wanted, 0, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&stop_arrived, __ATOMIC_ACQUIRE))
		cpu_relax();
}

/* smp_handle_nmi - stand still if that is wanted; any other NMI is ignored. */
void smp_handle_nmi(const struct regs *regs)
{
	u32 bit = 1u << cpu_id();

	if (!(__atomic_load_n(&stop_wanted, __ATOMIC_ACQUIRE) & bit))
		return;
	stopped[cpu_id()] = *regs;
	__atomic_or_fetch(&stop_arrived, bit, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&stop_wanted, __ATOMIC_ACQUIRE) & bit)
		cpu_relax();
	__atomic_and_fetch(&stop_arrived, ~bit, __ATOMIC_SEQ_CST);
}

/* smp_stopped_regs - what a stopped CPU was doing; NULL: it is not stopped. */
const struct regs *smp_stopped_regs(u32 cpu)
{
	return READ_ONCE(stop_arrived) & 1u << cpu ? &stopped[cpu] : NULL;
}

/* smp_reschedule - make a CPU pass through its exit to ring 3, or leave HLT. */
void smp_reschedule(u32 cpu)
{
	apic_send_ipi(cpu, VECTOR_RESCHED);
}
