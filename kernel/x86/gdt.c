/*
 * gdt.c - the per-CPU area: struct cpu, its GDT, its TSS.                              floor 1
 *
 * IDEA
 *   Each CPU has one block of memory that %gs points at while it runs in the kernel:
 *     | struct cpu | GDT: null, kernel code, data, user data, code, TSS | TSS | boot's locks |
 *   The TSS holds the stack for entries from ring 3 (rsp0) and the interrupt stacks of exceptions
 *   that must not trust the current one. The boot CPU's block is static; the others' is handed in.
 *   The stack canary is one value for all CPUs: a thread may go on on another CPU inside a
 *   function.
 *
 * INVARIANTS
 *   G1  the I/O bitmap lies beyond the TSS's limit: every port access of ring 3 faults
 *
 * LOCKS     none: a CPU writes only to its own block, before others know it.
 * LINUX     arch/x86/kernel/cpu/common.c (cpu_init), asm/desc.h.
 *           SDM vol. 3A, 3.4.5, 7.7, 6.14.5
 */
#include "x86/gdt.h"
#include "lib/string.h"
#include "panic.h"
#include "sync.h"
#include "x86/regs.h"
#include "x86/switch.h"

#define GDT_KERNEL_CODE 0x00af9b000000ffffull /* L, P, DPL 0, code, accessed */
#define GDT_KERNEL_DATA 0x00cf93000000ffffull
#define GDT_USER_DATA   0x00cff3000000ffffull /* DPL 3 */
#define GDT_USER_CODE   0x00affb000000ffffull
#define GDT_TSS_TYPE    0x89ull /* available 64-bit TSS, present */

struct tss {
	u32 reserved0;
	u64 rsp[3];
	u64 reserved1;
	u64 ist[7]; /* ist[n - 1] is stack n of a gate */
	u64 reserved2;
	u16 reserved3;
	u16 io_bitmap;
} __packed;
_Static_assert(sizeof(struct tss) == 104, "SDM figure 7-11");

struct cpu_arch {
	u64 gdt[7];
	struct tss tss;
	struct lock_context boot_locks; /* until this CPU has its first thread */
	vaddr_t ist_bottom[NR_ISTS];
};

struct cpu_area {
	struct cpu cpu;
	struct cpu_arch arch;
};

_Static_assert(offsetof(struct cpu, self) == 0, "%gs:0, entry.asm");
_Static_assert(offsetof(struct cpu, kernel_rsp) == 8, "%gs:8, entry.asm");
_Static_assert(offsetof(struct cpu, user_rsp) == 16, "%gs:16, entry.asm");
_Static_assert(offsetof(struct cpu, current) == 24, "%gs:24, entry.asm");
_Static_assert(offsetof(struct cpu, id) == 32, "%gs:32, cpu_id()");
_Static_assert(offsetof(struct cpu, stack_canary) == 40, "%gs:40, the compilers");

static struct cpu_area boot_area __aligned(64);
static u8 boot_ist[NR_ISTS][IST_STACK_PAGES * PAGE_SIZE] __aligned(16);

static void fill_gdt(struct cpu_arch *arch)
{
	u64 base = (u64)&arch->tss, limit = sizeof(struct tss) - 1;

	arch->gdt[SEL_KERNEL_CODE >> 3] = GDT_KERNEL_CODE;
	arch->gdt[SEL_KERNEL_DATA >> 3] = GDT_KERNEL_DATA;
	arch->gdt[SEL_USER_DATA >> 3] = GDT_USER_DATA;
	arch->gdt[SEL_USER_CODE >> 3] = GDT_USER_CODE;
	arch->gdt[SEL_TSS >> 3] =
		limit | (base & 0xffffff) << 16 | GDT_TSS_TYPE << 40 | (base >> 24 & 0xff) << 56;
	arch->gdt[(SEL_TSS >> 3) + 1] = base >> 32;
	arch->tss.io_bitmap = sizeof(struct tss);
}

static void fill_area(struct cpu_area *area, u32 id, u32 apic_id)
{
	area->cpu.self = &area->cpu;
	area->cpu.id = id;
	area->cpu.apic_id = apic_id;
	area->cpu.stack_canary = boot_area.cpu.stack_canary;
	area->cpu.lock_context = &area->arch.boot_locks;
	area->cpu.arch = &area->arch;
	area->cpu.tss_rsp0 = (void *)((u8 *)&area->arch.tss + offsetof(struct tss, rsp));
	fill_gdt(&area->arch);
	cpus[id] = &area->cpu;
}

/*
 * cpu_area_load - make this block the one of the CPU that calls: %gs, GDT, TSS.
 *
 *   locks    interrupts off; runs before the stack protector can work
 */
__attribute__((no_stack_protector)) void cpu_area_load(struct cpu *c)
{
	struct cpu_arch *arch = c->arch;
	struct __packed {
		u16 limit;
		u64 base;
	} pointer = {sizeof(arch->gdt) - 1, (u64)arch->gdt};

	wrmsr(MSR_GS_BASE, (u64)c);
	wrmsr(MSR_KERNEL_GS_BASE, 0);
	asm volatile("lgdt %0\n\t"
		     "pushq %1\n\t"
		     "leaq 1f(%%rip), %%rax\n\t"
		     "pushq %%rax\n\t"
		     "lretq\n"
		     "1:\n\t"
		     "movl %2, %%eax\n\t"
		     "movl %%eax, %%ds\n\t"
		     "movl %%eax, %%es\n\t"
		     "movl %%eax, %%ss\n\t"
		     "ltr %w3"
		     :
		     : "m"(pointer), "i"(SEL_KERNEL_CODE), "i"(SEL_KERNEL_DATA), "r"(SEL_TSS)
		     : "rax", "memory");
}

/*
 * A value that differs from boot to boot; its lowest byte is 0, so that no string carries it along.
 */
static u64 canary_make(void)
{
	u64 value = rdtsc() * 0x9e3779b97f4a7c15ull;
	u32 id[4];

	cpuid(1, 0, id);
	if (id[2] & 1u << 30) {
		u64 random;

		asm volatile("rdrand %0" : "=r"(random) : : "cc");
		value ^= random;
	}
	return value & ~0xfful;
}

/*
 * cpu_init_boot - the first thing the boot CPU does in C: its per-CPU area, static interrupt
 * stacks.
 */
__attribute__((no_stack_protector)) void cpu_init_boot(void)
{
	boot_area.cpu.stack_canary = canary_make();
	fill_area(&boot_area, 0, 0);
	for (enum ist ist = IST_NONE + 1; ist < NR_ISTS; ist++)
		cpu_set_ist(&boot_area.cpu, ist, (vaddr_t)boot_ist[ist]);
	cpu_area_load(&boot_area.cpu);
	boot_area.cpu.online = true;
}

/* cpu_area_bytes - how much memory cpu_area_init() wants. */
usize cpu_area_bytes(void)
{
	return sizeof(struct cpu_area);
}

/*
 * cpu_area_init - prepare the block of a CPU that is not running yet, and enter it in cpus[].
 *
 *   area     cpu_area_bytes() bytes, zeroed, never given back
 */
struct cpu *cpu_area_init(void *area, u32 id, u32 apic_id)
{
	struct cpu_area *a = area;

	ASSERT(id < MAX_CPUS && !cpus[id]);
	fill_area(a, id, apic_id);
	return &a->cpu;
}

/* cpu_set_ist - give a CPU an interrupt stack of IST_STACK_PAGES pages, from `bottom` upwards. */
__attribute__((no_stack_protector)) void cpu_set_ist(struct cpu *c, enum ist ist, vaddr_t bottom)
{
	struct cpu_arch *arch = c->arch;

	arch->ist_bottom[ist] = bottom;
	arch->tss.ist[ist - 1] = bottom + IST_STACK_PAGES * PAGE_SIZE;
}

/* cpu_ist_name - the name of the interrupt stack that addr lies in; NULL: in none of this CPU's. */
const char *cpu_ist_name(const struct cpu *c, vaddr_t addr)
{
	static const char *const names[NR_ISTS] = {
		[IST_DOUBLE_FAULT] = "#DF",
		[IST_NMI] = "NMI",
		[IST_MACHINE_CHECK] = "#MC",
		[IST_DEBUG] = "#DB",
	};
	const struct cpu_arch *arch = c->arch;

	for (enum ist ist = IST_NONE + 1; ist < NR_ISTS; ist++)
		if (addr - arch->ist_bottom[ist] < IST_STACK_PAGES * PAGE_SIZE)
			return names[ist];
	return NULL;
}
