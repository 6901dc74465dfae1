/*
 * switch.h - from one kernel stack to another, and into ring 3.                        floor 1
 */
#ifndef X86_SWITCH_H
#define X86_SWITCH_H

#include "lib/types.h"
#include "x86/cpu.h"
#include "x86/regs.h"

#define MSR_FS_BASE        0xc0000100
#define MSR_GS_BASE        0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102 /* while in the kernel: ring 3's gs base, see SWAPGS */

/*
 * thread_switch - save the callee-saved registers on this stack, its pointer in *save_rsp, and go
 * on where the other stack was left.
 *
 *   locks    interrupts off
 *   returns  when somebody switches back to *save_rsp
 *   Linux    __switch_to_asm
 */
void thread_switch(u64 *save_rsp, u64 new_rsp);

/*
 * user_enter - go to ring 3 with exactly these registers. The kernel stack is left empty. cs, ss
 * and the reserved flags are set here, whatever regs says; rip must be below USER_END.
 */
__noreturn void user_enter(const struct regs *regs);

/* The first instruction of a new thread: see thread_stack_init(). */
void thread_start(void);

/*
 * thread_stack_init - prepare a fresh kernel stack so that the first thread_switch() to it calls
 * entry(arg), with interrupts off. entry must not return.
 *
 *   top      16-byte aligned end of the stack
 *   returns  the rsp for thread_switch()
 */
static inline u64 thread_stack_init(vaddr_t top, void (*entry)(void *), void *arg)
{
	u64 *sp = (u64 *)top;
	*--sp = 0; /* keeps the stack aligned, and the return address of nobody */
	*--sp = 0;
	*--sp = (u64)thread_start;
	*--sp = 0;          /* rbp: the frame chain ends */
	*--sp = (u64)entry; /* rbx */
	*--sp = (u64)arg;   /* r12 */
	*--sp = 0;          /* r13 */
	*--sp = 0;          /* r14 */
	*--sp = 0;          /* r15 */
	return (u64)sp;
}

/* Every entry from ring 3 saves its registers at the same place: the top of the kernel stack. */
static inline struct regs *user_regs_at(vaddr_t stack_top)
{
	return (struct regs *)stack_top - 1;
}

/* Registers for a fresh program: all zero but these. IF is on. */
static inline void user_regs_init(struct regs *r, vaddr_t rip, vaddr_t rsp)
{
	*r = (struct regs){.rip = rip,
		.rsp = rsp,
		.cs = SEL_USER_CODE,
		.ss = SEL_USER_DATA,
		.rflags = RFLAGS_IF | 2};
}

/*
 * Load ring 3's segment bases: at each switch to a user thread, and after arch_prctl changed them.
 */
static inline void user_segments_load(u64 fs_base, u64 gs_base)
{
	wrmsr(MSR_FS_BASE, fs_base);
	wrmsr(MSR_KERNEL_GS_BASE, gs_base);
}

#endif
