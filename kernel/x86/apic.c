/*
 * apic.c - local APICs and the I/O APIC.                                               floor 1
 *
 * IDEA
 *   Each CPU has a local APIC: it delivers IPIs, its timer and what the I/O APIC sends; a handler
 *   acknowledges with EOI. xAPIC: registers in memory, 16 bytes apart, the same address on each
 *   CPU. x2APIC: the same registers as MSRs 0x800 + n. The choice is made once, by CPUID.
 *
 * LOCKS     none: a CPU's registers are its own. The xAPIC's two-part IPI command is written with
 *           interrupts off. The I/O APIC is only programmed at start-up.
 * LINUX     arch/x86/kernel/apic/.           SDM vol. 3A, chapter 10 (11 in new editions)
 */
#include "x86/apic.h"
#include "panic.h"
#include "printk.h"
#include "x86/cpu.h"
#include "x86/idt.h"

enum apic_register {
	APIC_ID = 0x02,
	APIC_TPR = 0x08,
	APIC_EOI = 0x0b,
	APIC_SVR = 0x0f,
	APIC_ESR = 0x28,
	APIC_ICR = 0x30,
	APIC_ICR_HIGH = 0x31,
	APIC_LVT_TIMER = 0x32,
	APIC_LVT_LINT0 = 0x35,
	APIC_LVT_LINT1 = 0x36,
	APIC_LVT_ERROR = 0x37,
	APIC_TIMER_INITIAL = 0x38,
	APIC_TIMER_CURRENT = 0x39,
	APIC_TIMER_DIVIDE = 0x3e,
};

#define MSR_APIC_BASE 0x1b
#define APIC_ENABLE   (1u << 11)
#define APIC_X2       (1u << 10)
#define MSR_X2APIC    0x800
#define SVR_ENABLE    0x100
#define LVT_MASKED    (1u << 16)
#define DELIVER_NMI   (4u << 8)
#define DELIVER_INIT  (5u << 8)
#define DELIVER_START (6u << 8)
#define ICR_PENDING   (1u << 12)
#define ICR_ASSERT    (1u << 14)
#define DIVIDE_BY_16  3

static volatile u32 *xapic; /* NULL in x2APIC mode */

static void apic_write(enum apic_register reg, u32 value)
{
	if (xapic)
		xapic[reg * 4] = value;
	else
		wrmsr(MSR_X2APIC + reg, value);
}

static u32 apic_read(enum apic_register reg)
{
	return xapic ? xapic[reg * 4] : (u32)rdmsr(MSR_X2APIC + reg);
}

/* apic_is_x2 - by CPUID. */
bool apic_is_x2(void)
{
	u32 r[4];

	cpuid(1, 0, r);
	return r[2] & 1u << 21;
}

/*
 * apic_init - once, on the boot CPU. registers: the xAPIC's page, mapped uncached; unused with
 * x2APIC.
 */
void apic_init(volatile u32 *registers)
{
	xapic = apic_is_x2() ? NULL : registers;
	apic_init_cpu();
	this_cpu()->apic_id = apic_id();
}

/*
 * apic_init_cpu - switch on this CPU's local APIC: all priorities, no timer yet, NMIs through
 * LINT1.
 *
 *   after    the timer is in one-shot mode, stopped, divided by 16
 */
void apic_init_cpu(void)
{
	u64 base = rdmsr(MSR_APIC_BASE) | APIC_ENABLE;

	wrmsr(MSR_APIC_BASE, base);
	if (!xapic)
		wrmsr(MSR_APIC_BASE, base | APIC_X2);
	apic_write(APIC_SVR, SVR_ENABLE | VECTOR_SPURIOUS);
	apic_write(APIC_TPR, 0);
	apic_write(APIC_LVT_LINT0, LVT_MASKED);
	apic_write(APIC_LVT_LINT1, DELIVER_NMI);
	apic_write(APIC_LVT_ERROR, VECTOR_APIC_ERROR);
	apic_write(APIC_LVT_TIMER, VECTOR_TIMER);
	apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_16);
	apic_write(APIC_TIMER_INITIAL, 0);
	apic_write(APIC_ESR, 0);
	apic_eoi();
}

/* apic_id - the number of the CPU that asks. */
u32 apic_id(void)
{
	return xapic ? apic_read(APIC_ID) >> 24 : apic_read(APIC_ID);
}

/* apic_eoi - the interrupt is handled: the next of its priority may come. */
void apic_eoi(void)
{
	apic_write(APIC_EOI, 0);
}

static void send(u32 target, u32 command)
{
	u64 flags = irq_save();

	if (!xapic) {
		wrmsr(MSR_X2APIC + APIC_ICR, (u64)target << 32 | command);
	} else {
		while (apic_read(APIC_ICR) & ICR_PENDING)
			cpu_relax();
		apic_write(APIC_ICR_HIGH, target << 24);
		apic_write(APIC_ICR, command);
	}
	irq_restore(flags);
}

/*
 * apic_send_* - interrupt one CPU. Any context. What was written to memory before is seen by the
 * handler.
 */
void apic_send_ipi(u32 cpu, u8 vector)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* x2APIC's WRMSR does not order earlier stores */
	send(cpus[cpu]->apic_id, ICR_ASSERT | vector);
}

void apic_send_nmi(u32 cpu)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	send(cpus[cpu]->apic_id, ICR_ASSERT | DELIVER_NMI);
}

void apic_send_init(u32 apic_id)
{
	send(apic_id, ICR_ASSERT | DELIVER_INIT);
}

void apic_send_startup(u32 apic_id, paddr_t page)
{
	ASSERT(page < 0x100000 && IS_ALIGNED(page, PAGE_SIZE));
	send(apic_id, ICR_ASSERT | DELIVER_START | (u32)(page >> PAGE_SHIFT));
}

/* apic_handle_error - the error vector: the kernel programmed something wrong. Said once a time. */
void apic_handle_error(void)
{
	apic_write(APIC_ESR, 0);
	printk("apic: CPU %u reports error 0x%x", cpu_id(), apic_read(APIC_ESR));
}

/* apic_timer_start - one interrupt after `count` ticks; 0 stops the timer. */
void apic_timer_start(u32 count)
{
	apic_write(APIC_TIMER_INITIAL, count);
}

u32 apic_timer_count(void)
{
	return apic_read(APIC_TIMER_CURRENT);
}

/* ---- I/O APIC: a window of two registers, index and data (82093AA, 3.0) ---------------------- */

#define IOAPIC_SELECT    0
#define IOAPIC_WINDOW    4 /* in u32 */
#define IOAPIC_VERSION   1
#define IOAPIC_ENTRY     0x10
#define ENTRY_LOW_ACTIVE (1u << 13)
#define ENTRY_LEVEL      (1u << 15)
#define ENTRY_MASKED     (1u << 16)

static volatile u32 *ioapic;
static u32 ioapic_first, ioapic_inputs;

static u32 ioapic_read(u32 reg)
{
	ioapic[IOAPIC_SELECT] = reg;
	return ioapic[IOAPIC_WINDOW];
}

static void ioapic_write(u32 reg, u32 value)
{
	ioapic[IOAPIC_SELECT] = reg;
	ioapic[IOAPIC_WINDOW] = value;
}

/* ioapic_init - use this I/O APIC, with every input masked. registers: mapped uncached. */
void ioapic_init(volatile u32 *registers, u32 gsi_base)
{
	ioapic = registers;
	ioapic_first = gsi_base;
	ioapic_inputs = (ioapic_read(IOAPIC_VERSION) >> 16 & 0xff) + 1;
	for (u32 n = 0; n < ioapic_inputs; n++)
		ioapic_write(IOAPIC_ENTRY + 2 * n, ENTRY_MASKED);
}

/* ioapic_route - let an input interrupt one CPU. False: this I/O APIC does not have the input. */
bool ioapic_route(u32 gsi, u8 vector, u32 apic_id, bool low_active, bool level)
{
	u32 n = gsi - ioapic_first;

	if (!ioapic || n >= ioapic_inputs)
		return false;
	ioapic_write(IOAPIC_ENTRY + 2 * n + 1, apic_id << 24);
	ioapic_write(IOAPIC_ENTRY + 2 * n,
		vector | (low_active ? ENTRY_LOW_ACTIVE : 0) | (level ? ENTRY_LEVEL : 0));
	return true;
}

/* pic_disable - the two 8259s: moved away from the exceptions' vectors, then all inputs masked. */
void pic_disable(void)
{
	static const u8 steps[][3] = {/* first, second controller's port; value for the first */
		{0x20, 0xa0, 0x11}, {0x21, 0xa1, VECTOR_PIC}, {0x21, 0xa1, 4}, {0x21, 0xa1, 1},
		{0x21, 0xa1, 0xff}};

	for (u32 i = 0; i < ARRAY_SIZE(steps); i++) {
		u8 value = steps[i][2];

		outb(steps[i][0], value);
		outb(steps[i][1], i == 1 ? value + 8 : i == 2 ? 2 : value);
	}
}
