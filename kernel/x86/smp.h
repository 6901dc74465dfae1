/*
 * smp.h - waking the other CPUs, and stopping them.                                    floor 1
 */
#ifndef X86_SMP_H
#define X86_SMP_H

#include "lib/types.h"
#include "x86/cpu.h"
#include "x86/paging.h"
#include "x86/regs.h"

void smp_prepare(paddr_t page, const void *code, usize bytes, pgd_t *root, const pgd_t *kernel_root,
	void (*ap_main)(void));
bool smp_start(struct cpu *c, vaddr_t stack_top);
void smp_stop_others(void);
void smp_resume_others(void);
void smp_handle_nmi(const struct regs *regs);
const struct regs *smp_stopped_regs(u32 cpu);
void smp_reschedule(u32 cpu);

#endif
