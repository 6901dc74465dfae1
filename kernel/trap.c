/*
 * trap.c - which vector goes to whom.                                                  floor 7
 *
 * The door of the hardware: behind it the fault path, the scheduler's tick, the console's bytes,
 * the TLB's mailbox. It decides only who is wrong: ring 3 (its task ends, with one clear line) or
 * the kernel (panic).
 *
 * IDEA  a page fault
 *   from ring 3                        interrupts on, fault_handle()
 *   from ring 0, a user address,       the same: a copy to or from ring 3 met a missing page
 *     at an instruction with a fix-up
 *   ... with interrupts off or with    it must not sleep: the fix-up (-EFAULT) at once
 *     a lock held
 *   from ring 0, anything else         the kernel is wrong
 *   no memory                          shrinkers, once more, then the OOM policy until it is served
 *                                      or the task itself is the one that goes
 *
 * INVARIANTS
 *   X1  CR2 is read before interrupts are let in
 *   X2  a handler of an interrupt runs with interrupts off and irq_depth > 0, and does not sleep
 *
 * LOCKS     none.
 * LINUX     arch/x86/mm/fault.c (exc_page_fault), arch/x86/kernel/traps.c, irq.c.
 */
#include "trap.h"
#include "control.h"
#include "mm/fault.h"
#include "mm/oom.h"
#include "mm/reclaim.h"
#include "mm/uaccess.h"
#include "mm/vmap.h"
#include "pager.h"
#include "panic.h"
#include "printk.h"
#include "sched.h"
#include "task.h"
#include "trace.h"
#include "vmstat.h"
#include "x86/apic.h"
#include "x86/cpu.h"
#include "x86/features.h"
#include "x86/gdt.h"
#include "x86/idt.h"
#include "x86/layout.h"
#include "x86/serial.h"
#include "x86/smp.h"
#include "x86/tlb.h"

/* What entry.asm and switch.asm know by number. */
_Static_assert(sizeof(struct regs) == 176, "entry.asm: the drawing");
_Static_assert(offsetof(struct regs, r11) == 48 && offsetof(struct regs, rcx) == 88, "entry.asm");
_Static_assert(
	offsetof(struct regs, vector) == 120 && offsetof(struct regs, rip) == 136, "entry.asm");
_Static_assert(
	offsetof(struct regs, cs) == 144 && offsetof(struct regs, rflags) == 152, "entry.asm");
_Static_assert(offsetof(struct cpu, need_resched) == 57, "entry.asm: CPU_NEED_RESCHED");
_Static_assert(offsetof(struct thread, tid) == THREAD_TID_OFFSET, "cpu.h: current_tid()");

/* Signals by which a task ends, as wait4 reports them. */
#define SIGILL  4
#define SIGTRAP 5
#define SIGBUS  7
#define SIGFPE  8
#define SIGKILL 9
#define SIGSEGV 11

static vaddr_t boot_stack_guard; /* the one guard page that is not vmap.c's */

/*
 * trap_init - D1 of entry.asm: let the entries clear AC where SMAP exists. Once, on the only CPU.
 *
 *   boot_guard  the unmapped page below the stack kernel_main() runs on
 *   clac_site   addresses of the 3-byte NOPs in entry.asm, up to clac_end
 */
void trap_init(vaddr_t boot_guard, const u64 *clac_site, const u64 *clac_end)
{
	static const u8 clac[] = {0x0f, 0x01, 0xca};

	boot_stack_guard = boot_guard;
	if (!cpu_features.smap)
		return;
	for (; clac_site < clac_end; clac_site++)
		cpu_patch_text((void *)*clac_site, clac, sizeof(clac));
}

/* ---- ring 3 did something that cannot be served ---------------------------------------------- */

/* One line says it all; the registers in it are without leading zeroes. */
#define REGS_FORMAT                                                                                \
	"(sp %lx flags %lx ax %lx bx %lx cx %lx dx %lx si %lx di %lx bp %lx r8 %lx r9 %lx r10 "    \
	"%lx "                                                                                     \
	"r11 %lx r12 %lx r13 %lx r14 %lx r15 %lx)"
#define REGS_VALUES(r)                                                                             \
	(r)->rsp, (r)->rflags, (r)->rax, (r)->rbx, (r)->rcx, (r)->rdx, (r)->rsi, (r)->rdi,         \
		(r)->rbp, (r)->r8, (r)->r9, (r)->r10, (r)->r11, (r)->r12, (r)->r13, (r)->r14,      \
		(r)->r15

static __noreturn void end_task(int signal)
{
	irq_enable();
	task_exit(signal);
}

/* Its personality may know what to do. Interrupts on. 0: run on; else the status with which it ends. */
static int ask_personality(const struct regs *regs, u64 address, int signal, int code)
{
	const struct exception e = {.vector = regs->vector,
		.error = regs->error,
		.address = address,
		.signal = (u32)signal,
		.code = (u32)code};

	return control_exception(&e);
}

/* What the task ends with, and why; it does not come back when nobody can help. */
static void refuse_access(
	const struct regs *regs, const struct fault *f, const char *why, int signal, int code)
{
	struct task *t = current_task();
	int status = ask_personality(regs, f->addr, signal, code);

	if (!status)
		return;
	printk("pid %u (%s): %s of 0x%lx at ip 0x%lx: %s " REGS_FORMAT, t->pid, t->name,
		f->exec    ? "execution"
		: f->write ? "write"
			   : "read",
		f->addr, regs->rip, why, REGS_VALUES(regs));
	end_task(status);
}

/* The exceptions ring 3 can cause, and Linux's words for them. */
struct exception_words {
	u8 vector;
	u8 signal;
	u8 code;          /* si_code */
	bool has_address; /* si_addr is where it happened */
};

#define SI_KERNEL   0x80
#define SEGV_MAPERR 1
#define SEGV_ACCERR 2
#define BUS_ADRALN  1
#define BUS_ADRERR  2
#define ILL_ILLOPN  2
#define FPE_INTDIV  1
#define FPE_FLTUNK  14 /* which of the six it was stands in the FPU's own registers */

static const struct exception_words exceptions[] = {
	{VECTOR_DIVIDE, SIGFPE, FPE_INTDIV, true},
	{VECTOR_X87, SIGFPE, FPE_FLTUNK, true},
	{VECTOR_SIMD, SIGFPE, FPE_FLTUNK, true},
	{VECTOR_DEBUG, SIGTRAP, SI_KERNEL, false},
	{VECTOR_BREAKPOINT, SIGTRAP, SI_KERNEL, false},
	{VECTOR_INVALID_OPCODE, SIGILL, ILL_ILLOPN, true},
	{VECTOR_SEGMENT, SIGBUS, SI_KERNEL, false},
	{VECTOR_STACK, SIGBUS, SI_KERNEL, false},
	{VECTOR_ALIGNMENT, SIGBUS, BUS_ADRALN, false},
	{VECTOR_OVERFLOW, SIGSEGV, SI_KERNEL, false},
	{VECTOR_BOUND, SIGSEGV, SI_KERNEL, false},
	{VECTOR_PROTECTION, SIGSEGV, SI_KERNEL, false},
	{VECTOR_INVALID_TSS, SIGSEGV, SI_KERNEL, false},
};

/* NULL: not an exception ring 3 can cause. */
static const struct exception_words *exception_find(u64 vector)
{
	for (usize i = 0; i < ARRAY_SIZE(exceptions); i++) {
		if (exceptions[i].vector == vector)
			return &exceptions[i];
	}
	return NULL;
}

static void refuse_exception(const struct regs *regs, const struct exception_words *w)
{
	struct task *t = current_task();
	int status;

	irq_enable();
	status = ask_personality(regs, w->has_address ? regs->rip : 0, w->signal, w->code);
	if (!status)
		return;
	printk("pid %u (%s): %s at ip 0x%lx, error code 0x%lx " REGS_FORMAT, t->pid, t->name,
		idt_vector_name(regs->vector), regs->rip, regs->error, REGS_VALUES(regs));
	end_task(status);
}

/* ---- page faults ----------------------------------------------------------------------------- */

/* The shrinkers and one retry; then other tasks go, until it is served or this task is chosen. */
static __noinline enum fault_result serve_without_memory(const struct fault *f)
{
	enum fault_result result;
	u64 freed;

	do {
		freed = reclaim_run();
		result = fault_handle(f);
	} while (result == FAULT_NO_MEMORY && freed && !thread_killed());
	while (result == FAULT_NO_MEMORY && !thread_killed() && oom_kill("page fault"))
		result = fault_handle(f);
	return result;
}

static void count_fault(void)
{
	vmstat_inc(VM_pgfault);
	__atomic_add_fetch(&current_task()->minflt, 1, __ATOMIC_RELAXED);
}

/* What no handler could serve is no fault of the program's for getrusage(); as on Linux. */
static void uncount_fault(void)
{
	__atomic_sub_fetch(&current_task()->minflt, 1, __ATOMIC_RELAXED);
}

/* Nobody is asked: a handler would need memory, too. */
static __noreturn void end_without_memory(const struct fault *f)
{
	struct task *t = current_task();

	printk("pid %u (%s): no memory is left for 0x%lx, and nobody to take it from", t->pid,
		t->name, f->addr);
	end_task(SIGKILL);
}

/* The fault of ring 3 was not served. On its own stack; interrupts on. */
static __noinline void not_served(const struct fault *f, enum fault_result result)
{
	const struct regs *regs = current_thread()->user_regs;

	if (result == FAULT_NO_MEMORY)
		result = serve_without_memory(f);
	if (result == FAULT_PAGER)
		result = pager_ask(f);
	if (thread_killed()) /* it ends on the way out */
		return;
	if (result == FAULT_BAD_ADDRESS || result == FAULT_BAD_ACCESS || result == FAULT_BUS)
		uncount_fault();
	switch (result) {
	case FAULT_DONE:
		return;
	case FAULT_BAD_ADDRESS:
		refuse_access(regs, f, "no mapping there", SIGSEGV, SEGV_MAPERR);
		return;
	case FAULT_BAD_ACCESS:
		refuse_access(regs, f, "the mapping does not allow it", SIGSEGV, SEGV_ACCERR);
		return;
	case FAULT_BUS:
		refuse_access(regs, f, "the object ends before it, or its pager has no such page",
			SIGBUS, BUS_ADRERR);
		return;
	case FAULT_NO_MEMORY:
		end_without_memory(f);
		return;
	default:
		panic_trap(__FILE__, __LINE__, regs, f->addr, "fault-result",
			"fault_handle() returned %d", result);
	}
}

static __noreturn __noinline void kernel_fault_panic(const struct regs *regs, vaddr_t addr)
{
	const char *what = regs->error & PF_INSTR   ? "execution"
			   : regs->error & PF_WRITE ? "write"
						    : "read";

	if (regs->error & PF_RSVD)
		panic_trap(__FILE__, __LINE__, regs, addr, "reserved-bit",
			"an entry for 0x%lx has a reserved bit set", addr);
	if (regs_from_user(regs))
		panic_trap(
			__FILE__, __LINE__, regs, addr, "page-fault", "a thread without a space");
	panic_trap(__FILE__, __LINE__, regs, addr, "page-fault", "%s of 0x%lx by the kernel: %s",
		what, addr,
		vmap_is_guard(addr)     ? "the guard page of a stack"
		: regs->error & PF_PROT ? "its entry does not allow it"
					: "nothing is mapped there");
}

/* May this fault of the kernel wait for a page? */
static bool kernel_may_wait(const struct regs *regs)
{
	return regs->rflags & RFLAGS_IF && this_cpu()->irq_depth == 0 && current_thread() &&
	       current_thread()->mm && sync_may_sleep();
}

/* From ring 0: a copy to or from ring 3, or a bug. */
static __noinline void kernel_fault(struct regs *regs, vaddr_t addr)
{
	vaddr_t fixup = uaccess_fixup(regs->rip);

	if (!fixup || addr >= USER_END || regs->error & (PF_RSVD | PF_INSTR))
		kernel_fault_panic(regs, addr);
	if (kernel_may_wait(regs)) {
		struct fault f = {
			.mm = current_thread()->mm,
			.addr = addr,
			.write = regs->error & PF_WRITE,
			.user = true,
			.present = regs->error & PF_PROT,
		};
		enum fault_result result;

		irq_enable();
		trace(TRACE_page_fault_kernel, addr, regs->error, regs->rip);
		result = fault_handle(&f);
		count_fault();
		if (result == FAULT_NO_MEMORY)
			result = serve_without_memory(&f);
		if (result == FAULT_PAGER)
			result = pager_ask(&f);
		if (result == FAULT_DONE)
			return;
	}
	regs->rip = fixup;
}

static __noinline void trace_user_fault(vaddr_t addr)
{
	const struct regs *regs = current_thread()->user_regs;

	trace_write(TRACE_page_fault_user, addr, regs->error, regs->rip);
}

/*
 * trap_page_fault - steps 2 and 9 of a fault's walk (docs/fault-walk.md).
 *
 *   locks    interrupts off at entry (X1); on while the fault is served, if they were on
 *   Linux    exc_page_fault, do_user_addr_fault
 *   speed    each fault comes through here: no array, hence no canary, and what only the rare ways
 *            need stands in functions of their own
 */
__attribute__((no_stack_protector)) void trap_page_fault(struct regs *regs)
{
	enum fault_result result;
	struct fault f;

	if (unlikely(!regs_from_user(regs))) {
		kernel_fault(regs, read_cr2());
		return;
	}
	f.mm = current_thread()->mm;
	f.addr = read_cr2();
	f.write = regs->error & PF_WRITE;
	f.exec = regs->error & PF_INSTR;
	f.user = true;
	f.present = regs->error & PF_PROT;
	if (unlikely(regs->error & PF_RSVD || !f.mm))
		kernel_fault_panic(regs, f.addr);
	irq_enable();
	if (unlikely(READ_ONCE(trace_on)))
		trace_user_fault(f.addr);
	/* An access of the processor's own, with the kernel's rights: no program may have one served. QEMU's iret makes them. */
	result = likely(regs->error & PF_USER) ? fault_handle(&f) : FAULT_BAD_ACCESS;
	count_fault();
	if (unlikely(result != FAULT_DONE))
		not_served(&f, result);
}

/* ---- interrupts and the other exceptions ----------------------------------------------------- */

static void handle_serial(const struct regs *regs)
{
	bool wants_monitor = serial_handle_irq();

	apic_eoi();
	if (wants_monitor && serial_on_break)
		serial_on_break(regs);
}

/* Interrupts are off. False: nobody's vector. */
static bool handle_interrupt(const struct regs *regs)
{
	struct cpu *c = this_cpu();

	c->nr_irqs++;
	switch (regs->vector) {
	case VECTOR_TIMER:
		c->nr_ticks++;
		apic_eoi();
		sched_tick();
		return true;
	case VECTOR_RESCHED: /* the sender set need_resched; it is looked at on the way out */
		c->nr_ipis++;
		apic_eoi();
		return true;
	case VECTOR_TLB:
		c->nr_ipis++;
		apic_eoi();
		tlb_handle_ipi();
		return true;
	case VECTOR_SERIAL:
		handle_serial(regs);
		return true;
	case VECTOR_APIC_ERROR:
		apic_handle_error();
		apic_eoi();
		return true;
	case VECTOR_SPURIOUS: /* wants no EOI */
		return true;
	default:
		return regs->vector >= VECTOR_PIC && regs->vector < VECTOR_PIC + 16;
	}
}

static void handle_exception(struct regs *regs)
{
	vaddr_t fixup = regs_from_user(regs) ? 0 : uaccess_fixup(regs->rip);

	const struct exception_words *words =
		regs_from_user(regs) ? exception_find(regs->vector) : NULL;

	if (words) {
		refuse_exception(regs, words);
		return;
	}
	if (fixup && regs->vector == VECTOR_PROTECTION) { /* an address that is not canonical */
		regs->rip = fixup;
		return;
	}
	panic_trap(__FILE__, __LINE__, regs, 0, "exception", "%s (vector %lu, error code 0x%lx)",
		idt_vector_name(regs->vector), regs->vector, regs->error);
}

/*
 * trap_dispatch - every vector but #PF and those with stacks of their own.
 *
 *   locks    interrupts off
 */
void trap_dispatch(struct regs *regs)
{
	bool known;

	if (regs->vector < NR_EXCEPTIONS) {
		handle_exception(regs);
		return;
	}
	this_cpu()->irq_depth++;
	known = handle_interrupt(regs);
	this_cpu()->irq_depth--;
	if (!known)
		panic_trap(__FILE__, __LINE__, regs, 0, "vector", "interrupt %lu has no handler",
			regs->vector);
}

/*
 * trap_bad_return - IRETQ refused the registers of ring 3 (D4): the task ends. Its words lie above
 * regs.
 */
void trap_bad_return(struct regs *regs)
{
	struct task *t = current_task();

	printk("pid %u (%s): cannot return to ring 3: %s, error code 0x%lx", t->pid, t->name,
		idt_vector_name(regs->vector), regs->error);
	end_task(SIGSEGV);
}

/* ---- on stacks of their own ------------------------------------------------------------------ */

static __noreturn void double_fault(const struct regs *regs)
{
	vaddr_t addr = read_cr2();
	const struct thread *t = current_thread();
	bool overflow = vmap_is_guard(addr) || addr - boot_stack_guard < PAGE_SIZE;

	if (overflow)
		panic_trap(__FILE__, __LINE__, regs, addr, "stack-overflow",
			"the kernel stack of thread %u (%s) is full", current_tid(),
			t ? t->name : "boot");
	panic_trap(
		__FILE__, __LINE__, regs, addr, "double-fault", "a fault while entering a handler");
}

/*
 * Single stepping by ring 3 (TF). This is not its stack: what becomes of it is decided at the interrupt that comes
 * right behind, by its personality; without one it ends.
 */
static void debug_trap(struct regs *regs)
{
	struct thread *t = current_thread();

	if (!regs_from_user(regs)) {
		regs->rflags &= ~0x100ul;
		return;
	}
	regs->rflags &= ~0x100ul;
	WRITE_ONCE(t->step_pending, true);
	this_cpu()->need_resched = true;
	apic_send_ipi(cpu_id(), VECTOR_RESCHED);
}

/*
 * trap_paranoid - NMI, #MC, #DF, #DB. Interrupts off; the interrupted code may hold any lock.
 */
void trap_paranoid(struct regs *regs)
{
	switch (regs->vector) {
	case VECTOR_NMI:
		smp_handle_nmi(regs);
		return;
	case VECTOR_DEBUG:
		debug_trap(regs);
		return;
	case VECTOR_MACHINE_CHECK:
		panic_trap(__FILE__, __LINE__, regs, 0, "machine-check",
			"the processor reports an error");
	default:
		double_fault(regs);
	}
}
