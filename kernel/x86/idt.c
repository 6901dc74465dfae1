/*
 * idt.c - the interrupt descriptor table, and the system call's registers               floor 1
 *
 * It knows no handler: entry.asm's stubs are handed in by main.c.
 *
 * IDEA
 *   Each of the 256 vectors has a gate: address of its stub, ring 0's code segment, DPL (who may
 *   use INT n: ring 3 only #BP and #OF), and which interrupt stack. All are interrupt gates:
 *   interrupts are off when a stub begins, so CR2 is read before anything can change it.
 *
 * LOCKS     none: written once, before the other CPUs run.
 * LINUX     arch/x86/kernel/idt.c, syscall_init.          SDM vol. 3A, 6.11 and 5.8.8
 */
#include "x86/idt.h"
#include "x86/cpu.h"
#include "x86/gdt.h"
#include "x86/regs.h"

#define GATE_INTERRUPT 0x8e
#define GATE_DPL3      0x60

#define MSR_EFER   0xc0000080
#define MSR_STAR   0xc0000081
#define MSR_LSTAR  0xc0000082
#define MSR_SFMASK 0xc0000084
#define EFER_SCE   1u

/* TF, IF, DF, IOPL, NT, AC: clear when ring 3 calls. */
#define SYSCALL_CLEARS (0x100u | 0x200u | 0x400u | 0x3000u | 0x4000u | 0x40000u)

struct gate {
	u16 offset_low;
	u16 selector;
	u8 ist;
	u8 type;
	u16 offset_mid;
	u32 offset_high;
	u32 reserved;
};
_Static_assert(sizeof(struct gate) == 16, "SDM figure 6-8");

static struct gate idt[NR_VECTORS] __aligned(16);
static u64 syscall_stub;

static u8 vector_ist(u32 vector)
{
	switch (vector) {
	case VECTOR_DEBUG:
		return IST_DEBUG;
	case VECTOR_NMI:
		return IST_NMI;
	case VECTOR_DOUBLE_FAULT:
		return IST_DOUBLE_FAULT;
	case VECTOR_MACHINE_CHECK:
		return IST_MACHINE_CHECK;
	default:
		return IST_NONE;
	}
}

/* idt_init - fill the table (once, on the boot CPU) from the stubs' addresses. */
void idt_init(const u64 stubs[NR_VECTORS], u64 syscall)
{
	for (u32 v = 0; v < NR_VECTORS; v++) {
		bool ring3 = v == VECTOR_BREAKPOINT || v == VECTOR_OVERFLOW;

		idt[v] = (struct gate){
			.offset_low = (u16)stubs[v],
			.offset_mid = (u16)(stubs[v] >> 16),
			.offset_high = (u32)(stubs[v] >> 32),
			.selector = SEL_KERNEL_CODE,
			.ist = vector_ist(v),
			.type = GATE_INTERRUPT | (ring3 ? GATE_DPL3 : 0),
		};
	}
	syscall_stub = syscall;
}

/*
 * idt_load - use the table on this CPU, and let SYSCALL enter at the stub given to idt_init().
 *
 *   source   SYSRET loads SS from STAR[63:48] + 8 and CS from + 16, both with RPL 3: hence the
 *            order "user data, user code" in the GDT
 */
void idt_load(void)
{
	struct __packed {
		u16 limit;
		u64 base;
	} pointer = {sizeof(idt) - 1, (u64)idt};

	asm volatile("lidt %0" : : "m"(pointer) : "memory");
	wrmsr(MSR_STAR, (u64)SEL_KERNEL_DATA << 48 | (u64)SEL_KERNEL_CODE << 32);
	wrmsr(MSR_LSTAR, syscall_stub);
	wrmsr(MSR_SFMASK, SYSCALL_CLEARS);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
}

/* idt_vector_name - the SDM's name of an exception. */
const char *idt_vector_name(u64 vector)
{
	static const char *const names[] = {
		[VECTOR_DIVIDE] = "#DE divide error",
		[VECTOR_DEBUG] = "#DB debug trap",
		[VECTOR_NMI] = "NMI",
		[VECTOR_BREAKPOINT] = "#BP breakpoint",
		[VECTOR_OVERFLOW] = "#OF overflow",
		[VECTOR_BOUND] = "#BR bound exceeded",
		[VECTOR_INVALID_OPCODE] = "#UD invalid opcode",
		[VECTOR_NO_FPU] = "#NM no FPU",
		[VECTOR_DOUBLE_FAULT] = "#DF double fault",
		[VECTOR_INVALID_TSS] = "#TS invalid TSS",
		[VECTOR_SEGMENT] = "#NP segment not present",
		[VECTOR_STACK] = "#SS stack fault",
		[VECTOR_PROTECTION] = "#GP general protection",
		[VECTOR_PAGE_FAULT] = "#PF page fault",
		[VECTOR_X87] = "#MF x87 error",
		[VECTOR_ALIGNMENT] = "#AC alignment check",
		[VECTOR_MACHINE_CHECK] = "#MC machine check",
		[VECTOR_SIMD] = "#XM SIMD error",
	};

	if (vector < sizeof(names) / sizeof(names[0]) && names[vector])
		return names[vector];
	return "unexpected interrupt";
}
