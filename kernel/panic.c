/*
 * panic.c - the kernel is wrong: say it for programs and people, and stop                     floor 1
 *
 * IDEA
 *   interrupts off -> the other CPUs stopped by NMI -> one PANIC line -> the call chain -> the
 *   monitor if a person is there, else out through the debug port. A panic inside a panic prints a
 *   shorter line and leaves at once; a second CPU that panics meanwhile waits for the first one's
 *   NMI.
 *
 * INVARIANTS
 *   N1  exactly one CPU writes a PANIC line
 *   N2  every path ends in machine_exit(): nothing hangs silently
 *
 * LOCKS     none is taken; printk breaks its own (printk_panic_mode).
 * LINUX     kernel/panic.c, arch/x86/kernel/dumpstack.c.
 */
#include "panic.h"
#include "ksyms.h"
#include "lib/format.h"
#include "lib/list.h"
#include "printk.h"
#include "x86/cpu.h"
#include "x86/debugport.h"
#include "x86/gdt.h"
#include "x86/regs.h"
#include "x86/smp.h"
#include "x86/unwind.h"

#define NOBODY     (~0u)
#define MAX_FRAMES 48

void (*panic_monitor)(void);

static u32 panic_cpu = NOBODY; /* (a) the CPU that is allowed to write */
static const char *first_code;
static char text[512];

/* Only the first CPU gets past here (N1). */
static void become_the_one(const char *file, int line, const char *code)
{
	u32 nobody = NOBODY;

	irq_disable();
	if (__atomic_compare_exchange_n(
		    &panic_cpu, &nobody, cpu_id(), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
		first_code = code;
		smp_stop_others();
		printk_panic_mode();
		return;
	}
	if (panic_cpu == cpu_id()) {
		printk("PANIC code=recursive at=%s:%d cpu=%u text=\"%s while %s was reported\"",
			file, line, cpu_id(), code, first_code);
		machine_exit(EXIT_PANIC);
	}
	for (;;)
		cpu_relax();
}

/* The record is one line with quoted text: no quote or control character may come from inside. */
static void text_clean(void)
{
	for (char *p = text; *p; p++)
		if (*p == '"' || *p < ' ')
			*p = *p == '"' ? '\'' : ' ';
}

static __noreturn void report_and_leave(
	const char *file, int line, const struct regs *regs, u64 addr, const char *code)
{
	text_clean();
	printk("PANIC code=%s at=%s:%d cpu=%u tid=%u addr=0x%lx text=\"%s\"", code, file, line,
		cpu_id(), current_tid(), addr, text);
	backtrace_print(regs);
	if (panic_monitor)
		panic_monitor();
	machine_exit(EXIT_PANIC);
}

/* panic_at - see panic.h; called through panic() and ASSERT(). */
void panic_at(const char *file, int line, const char *code, const char *fmt, ...)
{
	va_list ap;

	become_the_one(file, line, code);
	va_start(ap, fmt);
	vformat(text, sizeof(text), fmt, ap);
	va_end(ap);
	report_and_leave(file, line, NULL, 0, code);
}

/* panic_trap - the same for an exception: what was interrupted is in regs. */
void panic_trap(const char *file, int line, const struct regs *regs, u64 addr, const char *code,
	const char *fmt, ...)
{
	va_list ap;

	become_the_one(file, line, code);
	va_start(ap, fmt);
	vformat(text, sizeof(text), fmt, ap);
	va_end(ap);
	report_and_leave(file, line, regs, addr, code);
}

static void print_frame(const struct unwind_frame *f)
{
	u64 rip = f->reg[UNWIND_RIP], offset = 0;
	const char *name = ksym_find(rip - !f->exact, &offset);
	const char *stack = cpu_ist_name(this_cpu(), f->reg[UNWIND_RSP]);

	if (rip < KERNEL_HALF)
		printk("  #  %016lx  (not the kernel)", rip);
	else
		printk("  #  %016lx  %s+0x%lx%s%s", rip, name ? name : "?", offset + !f->exact,
			stack ? "  on stack " : "", stack ? stack : "");
}

/*
 * backtrace_print - the call chain, innermost first.
 *
 *   regs     NULL: from the caller of this function; else from the code that was interrupted
 *   source   .eh_frame (x86/unwind.c), names from ksyms
 */
__noinline void backtrace_print(const struct regs *regs)
{
	struct unwind_frame f;

	if (regs) {
		printk("  rip %016lx  rsp %016lx  rflags %lx  cs %lx  error %lx", regs->rip,
			regs->rsp, regs->rflags, regs->cs, regs->error);
		printk("  rax %016lx  rbx %016lx  rcx %016lx  rdx %016lx", regs->rax, regs->rbx,
			regs->rcx, regs->rdx);
		printk("  rsi %016lx  rdi %016lx  rbp %016lx  r8  %016lx", regs->rsi, regs->rdi,
			regs->rbp, regs->r8);
		printk("  r9  %016lx  r10 %016lx  r11 %016lx  r12 %016lx", regs->r9, regs->r10,
			regs->r11, regs->r12);
		printk("  r13 %016lx  r14 %016lx  r15 %016lx", regs->r13, regs->r14, regs->r15);
		unwind_from_regs(&f, regs);
	} else {
		unwind_capture(&f);
	}
	for (u32 n = 0; n < MAX_FRAMES; n++) {
		print_frame(&f);
		if (!unwind_step(&f))
			return;
	}
	printk("  #  ...");
}

/* Called by the compiler's code when a function's canary was overwritten. */
__noreturn void __stack_chk_fail(void);
void __stack_chk_fail(void)
{
	panic("stack-smash", "a function wrote beyond an array on its stack");
}

/* list_corrupt - L1 of lib/list.h is broken. */
void list_corrupt(const char *what, const struct list *node)
{
	panic("L1", "%s: node %p next %p prev %p", what, (const void *)node,
		(const void *)node->next, (const void *)node->prev);
}
