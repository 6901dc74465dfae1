/*
 * panic.h - the kernel is wrong: say what, where, with which values, and stop.
 *
 * Callable from every floor. panic() prints one machine-readable line
 *   PANIC code=CODE at=FILE:LINE cpu=N tid=N addr=0x... text="..."
 * then a backtrace with symbols; it stops the other CPUs and leaves by the debug port (or by the
 * stopped monitor when a person is there). Never used for what ring 3 did.
 */
#ifndef PANIC_H
#define PANIC_H

#include "config.h"
#include "lib/types.h"

__noreturn void panic_at(const char *file, int line, const char *code, const char *fmt, ...)
	__printf(4, 5);

struct regs;

/* The same for what an exception found: the backtrace begins at regs, addr goes into the record. */
__noreturn void panic_trap(const char *file, int line, const struct regs *regs, u64 addr,
	const char *code, const char *fmt, ...) __printf(6, 7);

/* The call chain from here (regs NULL) or from interrupted code, with names, onto the console. */
void backtrace_print(const struct regs *regs);

/* Set by the monitor while a person is there: it may look around; when it returns, the machine ends. */
extern void (*panic_monitor)(void);

#define panic(code, ...) panic_at(__FILE__, __LINE__, code, __VA_ARGS__)

/* ASSERT: constant time, always compiled in. ASSERT_RULE names the invariant it proves ("B4", of buddy_check.c). */
#define ASSERT(cond)                                                                               \
	do {                                                                                       \
		if (unlikely(!(cond)))                                                             \
			panic_at(__FILE__, __LINE__, "assert", "%s", #cond);                       \
	} while (0)
#define ASSERT_RULE(rule, cond, ...)                                                               \
	do {                                                                                       \
		if (unlikely(!(cond)))                                                             \
			panic_at(__FILE__, __LINE__, rule, __VA_ARGS__);                           \
	} while (0)

/* DCHECK: cheap, debug builds only; always parsed. */
#define DCHECK(cond)                                                                               \
	do {                                                                                       \
		if (CONFIG_CHECKS)                                                                 \
			ASSERT(cond);                                                              \
	} while (0)

#endif
