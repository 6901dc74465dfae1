/*
 * gdt.h - the per-CPU area, its GDT, TSS and IST stacks.                               floor 1
 */
#ifndef X86_GDT_H
#define X86_GDT_H

#include "lib/types.h"
#include "x86/cpu.h"

/* Which exception runs on which interrupt stack (SDM vol. 3A, 6.14.5); 0 in a gate means "none". */
enum ist {
	IST_NONE,
	IST_DOUBLE_FAULT,
	IST_NMI,
	IST_MACHINE_CHECK,
	IST_DEBUG,
	NR_ISTS, /* counting IST_NONE */
};

#define IST_STACK_PAGES 2 /* 8 KiB each, with an unmapped guard page below */

void cpu_init_boot(void);
usize cpu_area_bytes(void);
struct cpu *cpu_area_init(void *area, u32 id, u32 apic_id);
void cpu_area_load(struct cpu *c);
void cpu_set_ist(struct cpu *c, enum ist ist, vaddr_t bottom);
const char *cpu_ist_name(const struct cpu *c, vaddr_t addr);

/*
 * cpu_set_kernel_stack - where entries from ring 3 begin: at each switch to another thread.
 *
 *   top      16-byte aligned end of the thread's kernel stack
 *   locks    interrupts off
 */
static inline void cpu_set_kernel_stack(struct cpu *c, vaddr_t top)
{
	c->kernel_rsp = top;
	*c->tss_rsp0 = top;
}

#endif
