/*
 * regs.h - the registers an exception, an interrupt or a system call saves, in stack order.  floor
 * 1
 *
 * entry.asm pushes exactly this (lowest address first); regs_offsets in entry.asm are asserted in
 * trap.c.
 */
#ifndef X86_REGS_H
#define X86_REGS_H

#include "lib/types.h"

struct regs {
	u64 r15, r14, r13, r12, rbp, rbx; /* callee-saved */
	u64 r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
	u64 vector; /* or the system call's number */
	u64 error;  /* the CPU's error code, or 0; ~0: a system call */
	u64 rip, cs, rflags, rsp, ss;
};

#define SEL_KERNEL_CODE 0x08
#define SEL_KERNEL_DATA 0x10
#define SEL_USER_DATA   0x1b /* SYSRET wants user data below user code */
#define SEL_USER_CODE   0x23
#define SEL_TSS         0x28

static inline bool regs_from_user(const struct regs *r)
{
	return r->cs & 3;
}

/* Page-fault error code, SDM vol. 3A 4.7 */
#define PF_PROT  (1u << 0) /* the entry was present: a right was missing */
#define PF_WRITE (1u << 1)
#define PF_USER  (1u << 2)
#define PF_RSVD  (1u << 3) /* a reserved bit was set in an entry: a kernel bug */
#define PF_INSTR (1u << 4)

#endif
