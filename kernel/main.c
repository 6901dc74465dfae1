/*
 * main.c - the order of initialisation.                                                      floor
 * 7
 *
 * From boot.asm's jump into C to the first thread. Each step needs the ones above it; what each one
 * prints is what a reader of dmesg should know about this machine.
 *
 * IDEA
 *   machine    the boot CPU itself: per-CPU area, exceptions, COM1, protections, clock
 *   firmware   what the loader and ACPI say, copied before their memory is given out
 *   memory     floors 2 and 3, from the list of ranges to kmalloc and address spaces
 *   devices    interrupts on
 *   tasks      floor 4, then the other CPUs, then the threads that make this a system
 *   Here the boot CPU becomes idle: everything later happens in threads.
 *
 * LOCKS     none: one CPU, one thread, until the others are started.
 * LINUX     init/main.c: start_kernel, rest_init.
 */
#include "boot/boot.h"
#include "boot/bootinfo.h"
#include "config.h"
#include "control.h"
#include "futex.h"
#include "init.h"
#include "ipc.h"
#include "kcompactd.h"
#include "khugepaged.h"
#include "lib/acpi.h"
#include "lib/string.h"
#include "loader.h"
#include "machine.h"
#include "mm/buddy.h"
#include "mm/gigapage.h"
#include "mm/huge_pud.h"
#include "mm/kmalloc.h"
#include "mm/lru.h"
#include "mm/memmap.h"
#include "mm/mm.h"
#include "mm/mmap.h"
#include "mm/memory.h"
#include "mm/page.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/thp.h"
#include "mm/vma.h"
#include "mm/vmap.h"
#include "mm/zero.h"
#include "monitor/monitor.h"
#include "panic.h"
#include "numad.h"
#include "prezerod.h"
#include "printk.h"
#include "spawn.h"
#include "sched.h"
#include "task.h"
#include "trap.h"
#include "watchdog.h"
#include "x86/apic.h"
#include "x86/debugport.h"
#include "x86/features.h"
#include "x86/fpu.h"
#include "x86/gdt.h"
#include "x86/idt.h"
#include "x86/layout.h"
#include "x86/serial.h"
#include "x86/smp.h"
#include "x86/timer.h"
#include "x86/tlb.h"

#define BOOT_MAPPED  (4ul << 30) /* boot.asm's direct map */
#define ISA_IRQ_COM1 4
#define BYTES_NEEDED ((4ul << 20) + (256ul << 10)) /* for programs, and for the kernel's tables */

extern const u64 entry_stubs[NR_VECTORS]; /* entry.asm */
extern const char syscall_entry[];
extern const u64 entry_clac_sites[], entry_clac_sites_end[];
extern char __kernel_start[], __kernel_end[]; /* linker.ld */

__noreturn void kernel_main(u32 magic, u64 info);

static struct boot_info boot_info;
static struct acpi_info acpi;
static struct acpi_numa numa;

/* This machine cannot run the kernel: say why, and leave with a status of its own. */
#define refuse(...)                                                                                \
	do {                                                                                       \
		printk("pagoda: cannot start: " __VA_ARGS__);                                      \
		machine_exit(EXIT_REFUSED);                                                        \
	} while (0)

/* ---- machine ------------------------------------------------------------------------------- */

static void init_machine(void)
{
	const struct cpu_features *f = &cpu_features;

	idt_init(entry_stubs, (u64)syscall_entry);
	idt_load();
	serial_init();
	cpu_init_features();
	trap_init((vaddr_t)boot_stack_guard, entry_clac_sites, entry_clac_sites_end);
	timer_init_clock();
	fpu_init_cpu();
	pic_disable();
	printk("Pagoda " PAGODA_VERSION "%s", CONFIG_DEBUG ? " (debug)" : "");
	printk("entered at tsc %lu, %lu MHz", boot_entry_tsc, timer_tsc_hz() / 1000000);
	printk("cpu: %s:%s%s%s%s%s", f->brand, f->smep ? " smep" : "", f->smap ? " smap" : "",
		f->umip ? " umip" : "", f->avx ? " avx" : "", f->x2apic ? " x2apic" : "");
}

/* ---- firmware ------------------------------------------------------------------------------ */

/* boot.asm's map is still the one in use: everything below 4 GiB can be read. */
static const void *firmware_map(paddr_t address, usize bytes)
{
	if (address >= BOOT_MAPPED || bytes > BOOT_MAPPED - address)
		return NULL;
	return phys_to_virt(address);
}

static bool firmware_read(void *ctx, paddr_t address, void *buf, usize bytes)
{
	const void *from = firmware_map(address, bytes);

	if (from)
		memcpy(buf, from, bytes);
	return from;
}

static void init_firmware(u32 magic, paddr_t info)
{
	static const struct boot_memory memory = {.read = firmware_read};
	enum boot_error error = bootinfo_parse(&memory, magic, info, &boot_info);
	enum acpi_result result;

	if (error != BOOT_OK)
		refuse("the loader's information: %s", boot_error_text(error));
	printk("boot: %s, command line \"%s\"", boot_protocol_name(boot_info.protocol),
		boot_info.cmdline);
	if (!boot_info.rsdp)
		boot_info.rsdp = acpi_find_rsdp(firmware_map);
	result = acpi_read(boot_info.rsdp, firmware_map, &acpi);
	if (result != ACPI_OK)
		refuse("ACPI, to find the APICs: %s", acpi_text(result));
	if (acpi_read_numa(boot_info.rsdp, firmware_map, &numa))
		printk("numa: %u nodes, %u CPUs and %u ranges of memory placed", numa.nr_nodes,
			numa.nr_cpus, numa.nr_ranges);
}

/* ---- memory -------------------------------------------------------------------------------- */

static enum memmap_type memmap_type_of(enum boot_mem_type type)
{
	switch (type) {
	case BOOT_MEM_USABLE:
		return MEMMAP_USABLE;
	case BOOT_MEM_ACPI:
		return MEMMAP_ACPI;
	default:
		return MEMMAP_RESERVED;
	}
}

/* The list of ranges, and what is taken already: the image, the initrd. */
static void init_memmap(void)
{
	bool fits = true;

	memmap_init();
	for (unsigned i = 0; i < boot_info.nr_ranges; i++) {
		const struct boot_range *r = &boot_info.ranges[i];

		fits &= memmap_add(r->start, r->end, memmap_type_of(r->type)) == 0;
	}
	fits &= memmap_reserve(image_to_phys(__kernel_start), image_to_phys(__kernel_end),
			MEMMAP_KERNEL) == 0;
	if (boot_info.module_end)
		fits &= memmap_reserve(
				boot_info.module_start, boot_info.module_end, MEMMAP_MODULE) == 0;
	if (!fits)
		refuse("the firmware's memory map has too many pieces");
}

/*
 * Too little is said before anything is built: the descriptors take 1/128 of it, the rest is a
 * fixed need.
 */
static void require_memory(void)
{
	u64 total = memmap_usable_bytes(), needed = total / 128 + BYTES_NEEDED, free = 0;

	for (unsigned i = 0; i < memmap_count; i++)
		if (memmap_ranges[i].type == MEMMAP_USABLE && memmap_ranges[i].start >= MEMMAP_LOW)
			free += memmap_ranges[i].end - memmap_ranges[i].start;
	if (free < needed)
		refuse("%lu KiB of memory, at least %lu KiB are needed", total >> 10,
			(total + needed - free) >> 10);
}

/* reserve_1g=N on the command line, before cmd=. */
static u32 wanted_gigabytes(void)
{
	const char *line = boot_info.cmdline, *end = strstr(line, "cmd=");
	const char *at = strstr(line, "reserve_1g=");
	u32 n = 0;

	if (!at || (end && at > end) || (at != line && at[-1] != ' '))
		return 0;
	for (at += strlen("reserve_1g="); *at >= '0' && *at <= '9' && n < 1000; at++)
		n = n * 10 + (u32)(*at - '0');
	return n;
}

/* Leaves of 1 GiB: does the CPU have them, and is memory for some kept apart? */
static void init_gigabytes(void)
{
	u32 wanted = wanted_gigabytes(), got;

	huge_pud_init(cpu_features.pages_1g);
	if (wanted && !cpu_features.pages_1g)
		printk("reserve_1g: this CPU has no pages of 1 GiB, nothing is reserved");
	if (!wanted || !cpu_features.pages_1g)
		return;
	got = gigapage_reserve(wanted);
	printk("reserve_1g: %u of %u GiB reserved", got, wanted);
}

static void init_memory(void)
{
	init_memmap();
	require_memory();
	pgtable_kernel_init((vaddr_t)boot_stack_guard);
	tlb_init();
	page_init();
	node_init(&numa);
	report_numa_init();
	buddy_init();
	init_gigabytes();
	lru_init();
	zero_init();
	kmalloc_init();
	vmap_init();
	mm_init();
	vma_init();
	rmap_init();
	memory_init();
	printk("memory: %lu KiB, %lu KiB free, initrd %lu KiB", memmap_usable_bytes() >> 10,
		buddy_free_pages() << (PAGE_SHIFT - 10),
		(boot_info.module_end - boot_info.module_start) >> 10);
}

/* ---- devices ------------------------------------------------------------------------------- */

/* Guarded interrupt stacks for a CPU; until then the boot CPU uses static ones. */
static bool init_ist(struct cpu *c)
{
	for (enum ist ist = IST_NONE + 1; ist < NR_ISTS; ist++) {
		vaddr_t bottom = vmap_alloc_stack(IST_STACK_PAGES);

		if (!bottom)
			return false;
		cpu_set_ist(c, ist, bottom);
	}
	return true;
}

/* COM1 is ISA interrupt 4, unless the firmware says that it arrives elsewhere. */
static void init_serial_interrupt(void)
{
	struct acpi_override line = {.isa_irq = ISA_IRQ_COM1, .gsi = ISA_IRQ_COM1};

	for (unsigned i = 0; i < acpi.nr_overrides; i++)
		if (acpi.overrides[i].isa_irq == ISA_IRQ_COM1)
			line = acpi.overrides[i];
	if (ioapic_route(line.gsi, VECTOR_SERIAL, this_cpu()->apic_id, line.active_low, line.level))
		serial_enable_irq();
	else
		printk("serial: no I/O APIC has input %u: the console cannot be typed at",
			line.gsi);
}

static void init_devices(void)
{
	volatile u32 *registers = apic_is_x2() ? NULL : vmap_map_device(acpi.lapic, PAGE_SIZE);

	if (!init_ist(this_cpu()) || (!registers && !apic_is_x2()))
		refuse("no memory for the interrupt controller");
	apic_init(registers);
	this_cpu()->node = node_of_cpu(this_cpu()->apic_id); /* known only now */
	buddy_init_cpu(this_cpu());
	timer_init_cpu();
	if (acpi.nr_ioapics) {
		registers = vmap_map_device(acpi.ioapics[0].address, PAGE_SIZE);
		if (!registers)
			refuse("no memory for the I/O APIC");
		ioapic_init(registers, acpi.ioapics[0].first_gsi);
	}
	init_serial_interrupt();
}

/* ---- tasks, the other CPUs ------------------------------------------------------------------ */

/* An application processor comes here from x86/smp.c, on what will be its idle thread's stack. */
static void ap_main(void)
{
	sched_init_cpu();
	__atomic_store_n(&this_cpu()->online, true, __ATOMIC_RELEASE);
	sched_idle();
}

/* One more CPU; false: no memory for it, or it did not come. */
static bool start_cpu(u32 id, u32 apic_id)
{
	void *area = kzalloc(cpu_area_bytes());
	vaddr_t stack = vmap_alloc_stack(KSTACK_PAGES);
	struct cpu *c;

	if (!area || !stack)
		return false;
	c = cpu_area_init(area, id, apic_id);
	c->node = node_of_cpu(apic_id);
	buddy_init_cpu(c);
	return init_ist(c) && smp_start(c, stack + KSTACK_PAGES * PAGE_SIZE);
}

static void init_smp(void)
{
	paddr_t page = bootinfo_low_page(&boot_info);
	u32 enabled = 0;

	if (!page)
		printk("smp: no free page below 1 MiB to start other CPUs from");
	else
		smp_prepare(page, trampoline_start, trampoline_end - trampoline_start,
			trampoline_pgd, phys_to_virt(tlb_kernel_root), ap_main);
	for (unsigned i = 0; i < acpi.nr_cpus; i++) {
		const struct acpi_cpu *cpu = &acpi.cpus[i];

		if (!cpu->enabled)
			continue;
		enabled++;
		if (!page || cpu->apic_id == this_cpu()->apic_id || nr_cpus == MAX_CPUS)
			continue;
		if (!start_cpu(nr_cpus, cpu->apic_id)) {
			printk("smp: the CPU with APIC id %u does not start", cpu->apic_id);
			break;
		}
	}
	printk("smp: %u of %u CPUs", nr_cpus, enabled);
}

static void init_initrd(void)
{
	usize bytes = boot_info.module_end - boot_info.module_start;

	if (!bytes)
		printk("initrd: no initrd was loaded, so there is nothing to run");
	loader_init(bytes ? phys_to_virt(boot_info.module_start) : NULL, bytes);
}

static void init_tasks(void)
{
	sched_init();
	ipc_init();
	task_init();
	control_init();
	futex_init();
	futex_shared_key = memory_key;
	task_release_mm = mmap_exit;
	irq_enable();
	init_smp();
	pgtable_kernel_seal();
	thp_init();
	thp_param_init(boot_info.cmdline);
	khugepaged_init();
	kcompactd_init();
	prezerod_init();
	numad_init();
	watchdog_start(WATCHDOG_NS);
	init_initrd();
	machine_init(boot_info.cmdline);
	spawn_init();
	monitor_init();
	init_start(machine_object());
}

/*
 * kernel_main - where boot.asm goes.
 *
 *   magic, info  which protocol, and where the loader left its information (physical)
 *   state        boot.asm's tables and stack, interrupts off, no %gs: nothing before
 *                cpu_init_boot() may use the stack protector
 */
__attribute__((no_stack_protector)) void kernel_main(u32 magic, u64 info)
{
	cpu_init_boot();
	init_machine();
	init_firmware(magic, info);
	init_memory();
	init_devices();
	init_tasks();
	sched_idle();
}
