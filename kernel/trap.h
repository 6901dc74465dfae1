/*
 * trap.h - which vector goes to whom.                                                  floor 7
 */
#ifndef TRAP_H
#define TRAP_H

#include "lib/types.h"
#include "x86/regs.h"

void trap_init(vaddr_t boot_guard, const u64 *clac_site, const u64 *clac_end);

/* Called by entry.asm only. */
void trap_dispatch(struct regs *regs);
void trap_page_fault(struct regs *regs);
void trap_paranoid(struct regs *regs);
__noreturn void trap_bad_return(struct regs *regs);

#endif
