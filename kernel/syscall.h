/*
 * syscall.h - what ring 3 may ask for.                                                         floor 7
 */
#ifndef SYSCALL_H
#define SYSCALL_H

#include "x86/regs.h"

/*
 * syscall_dispatch - serve the call in regs: number in rax, arguments in rdi, rsi, rdx, r10, r8, r9.
 *
 *   locks    none held, interrupts on
 *   after    regs->rax is the result or a negated error number. exit does not come back.
 */
void syscall_dispatch(struct regs *regs);

/* Arguments in their order. */
#define ARG0(r) ((r)->rdi)
#define ARG1(r) ((r)->rsi)
#define ARG2(r) ((r)->rdx)
#define ARG3(r) ((r)->r10)
#define ARG4(r) ((r)->r8)
#define ARG5(r) ((r)->r9)

/* syscall_numa.c: the rest of the kernel's table. */
s64 sys_getcpu(struct regs *r);
s64 sys_mbind(struct regs *r);
s64 sys_set_mempolicy(struct regs *r);
s64 sys_get_mempolicy(struct regs *r);
s64 sys_move_pages(struct regs *r);

#endif
