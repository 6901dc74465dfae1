/*
 * unwind.h - from a frame to its caller, by the tables the compiler wrote (.eh_frame).  floor 1
 */
#ifndef X86_UNWIND_H
#define X86_UNWIND_H

#include "lib/types.h"
#include "x86/regs.h"

/* DWARF's numbers for the registers (System V ABI for AMD64, figure 3.36). */
#define UNWIND_RBX  3
#define UNWIND_RBP  6
#define UNWIND_RSP  7
#define UNWIND_RIP  16
#define NR_UNWIND   17
#define KERNEL_HALF 0xffff800000000000ul

struct unwind_frame {
	u64 reg[NR_UNWIND];
	bool exact; /* rip is where the code stands, not behind a call */
};

void unwind_from_regs(struct unwind_frame *f, const struct regs *regs);
bool unwind_step(struct unwind_frame *f);

/* The registers of the calling function, here and now. */
static __always_inline void unwind_capture(struct unwind_frame *f)
{
	f->exact = true;
	asm volatile("leaq 1f(%%rip), %%rax\n\t"
		     "movq %%rax, 128(%0)\n\t"
		     "movq %%rsp, 56(%0)\n\t"
		     "movq %%rbp, 48(%0)\n\t"
		     "movq %%rbx, 24(%0)\n\t"
		     "movq %%r12, 96(%0)\n\t"
		     "movq %%r13, 104(%0)\n\t"
		     "movq %%r14, 112(%0)\n\t"
		     "movq %%r15, 120(%0)\n"
		     "1:"
		     :
		     : "r"(f->reg)
		     : "rax", "memory");
}

#endif
