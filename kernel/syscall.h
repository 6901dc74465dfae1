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

#endif
