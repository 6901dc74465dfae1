/*
 * frame.c - the frame a signal handler runs on, and the way back                                ring 3
 *
 * IDEA   downwards from the interrupted rsp, or from the top of the alternate stack
 *
 *     red zone, 128 bytes that the interrupted function may be using (not on the alternate stack)
 *     FPU state                       a multiple of 64
 *     siginfo
 *     ucontext                        registers, mask, where the FPU state is
 *     return address: SA_RESTORER     a multiple of 16, minus 8: as if the handler had been called   <- rsp
 *
 *   The handler's ret goes to the restorer, which is the call rt_sigreturn: it finds the ucontext at rsp and puts
 *   everything back. What it puts back is the program's own memory, so set_regs() takes nothing from it that could hurt: the
 *   kernel forces selectors, flags and a canonical rip.
 *
 * LINUX  arch/x86/kernel/signal.c: setup_rt_frame, restore_sigcontext
 */
#include "calls.h"
#include "core.h"

#include <stddef.h>
#include <string.h>

#define RED_ZONE         128
#define SA_RESTORER      0x04000000
#define UC_FP_XSTATE     1u
#define UC_SIGCONTEXT_SS 2u
#define UC_STRICT_SS     4u
#define USER_CS          0x33
#define USER_SS          0x2b
#define FLAG_DF          0x400u
#define FLAG_TF          0x100u
#define FLAG_RF          0x10000u

/* Linux's struct sigcontext. */
struct machine_context {
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
	uint16_t cs, gs, fs, ss;
	uint64_t error, trap, old_mask, cr2;
	uint64_t fpu; /* address of its state; 0: none */
	uint64_t reserved[8];
};

struct frame {
	uint64_t restorer;
	/* struct ucontext */
	uint64_t flags, link;
	stack_t stack;
	struct machine_context machine;
	signal_set mask;
	siginfo_t info;
};

_Static_assert(sizeof(struct machine_context) == 256, "Linux's struct sigcontext");
_Static_assert(offsetof(struct frame, info) == 8 + 304, "Linux's struct rt_sigframe");

/* --- the FPU's state --------------------------------------------------------------------------------------- */

#define FPU_MAX    8192
#define FPU_LEGACY 512
#define FPU_SW     464 /* bytes the CPU leaves to software: what is behind the first 512 */
#define FPU_MAGIC1 0x46505853u
#define FPU_MAGIC2 0x46505845u

struct fpu_software {
	uint32_t magic1, extended_size;
	uint64_t features;
	uint32_t size, padding[7];
};

static uint8_t fpu_state[FPU_MAX + sizeof(uint32_t)] __attribute__((aligned(64)));
static long fpu_bytes; /* of this machine; the same for all threads */

/* How much of fpu_state goes into a frame. */
static size_t fpu_frame_bytes(void)
{
	return fpu_bytes > FPU_LEGACY ? (size_t)fpu_bytes + sizeof(uint32_t) : (size_t)fpu_bytes;
}

static bool fpu_read(struct thread *t)
{
	struct fpu_software sw = {0};
	uint32_t magic2 = FPU_MAGIC2;

	fpu_bytes = thread_get_fpu(t->handle, fpu_state, FPU_MAX);
	if (fpu_bytes < FPU_LEGACY || fpu_bytes > FPU_MAX)
		return false;
	if (fpu_bytes > FPU_LEGACY) {
		sw.magic1 = FPU_MAGIC1;
		sw.extended_size = (uint32_t)fpu_frame_bytes();
		memcpy(&sw.features, fpu_state + FPU_LEGACY, sizeof(sw.features));
		sw.size = (uint32_t)fpu_bytes;
		memcpy(fpu_state + fpu_bytes, &magic2, sizeof(magic2));
	}
	memcpy(fpu_state + FPU_SW, &sw, sizeof(sw));
	return true;
}

#define FPU_CONTROL  0x37f  /* what FNINIT sets */
#define FPU_MXCSR    0x1f80 /* all exceptions masked */
#define FPU_MXCSR_AT 24

int frame_fpu_reset(struct thread *t)
{
	const uint16_t control = FPU_CONTROL;
	const uint32_t mxcsr = FPU_MXCSR;

	if (!fpu_bytes && !fpu_read(t))
		return 0; /* no FPU state to be had: nothing to hide */
	memset(fpu_state, 0, (size_t)fpu_bytes);
	memcpy(fpu_state, &control, sizeof(control));
	memcpy(fpu_state + FPU_MXCSR_AT, &mxcsr, sizeof(mxcsr));
	return (int)thread_set_fpu(t->handle, fpu_state, (size_t)fpu_bytes);
}

/* --- entering a handler ---------------------------------------------------------------------------------- */

static bool on_alt_stack(const struct thread *t, uint64_t rsp)
{
	return !(t->alt_stack.ss_flags & SS_DISABLE) &&
	       rsp - (uint64_t)t->alt_stack.ss_sp - 1 < t->alt_stack.ss_size;
}

static void save_registers(struct machine_context *m, const struct thread_regs *r)
{
	m->r8 = r->r8;
	m->r9 = r->r9;
	m->r10 = r->r10;
	m->r11 = r->r11;
	m->r12 = r->r12;
	m->r13 = r->r13;
	m->r14 = r->r14;
	m->r15 = r->r15;
	m->rdi = r->rdi;
	m->rsi = r->rsi;
	m->rbp = r->rbp;
	m->rbx = r->rbx;
	m->rdx = r->rdx;
	m->rax = r->rax;
	m->rcx = r->rcx;
	m->rsp = r->rsp;
	m->rip = r->rip;
	m->rflags = r->rflags;
	m->cs = USER_CS;
	m->ss = USER_SS;
}

static void load_registers(struct thread_regs *r, const struct machine_context *m)
{
	r->r8 = m->r8;
	r->r9 = m->r9;
	r->r10 = m->r10;
	r->r11 = m->r11;
	r->r12 = m->r12;
	r->r13 = m->r13;
	r->r14 = m->r14;
	r->r15 = m->r15;
	r->rdi = m->rdi;
	r->rsi = m->rsi;
	r->rbp = m->rbp;
	r->rbx = m->rbx;
	r->rdx = m->rdx;
	r->rax = m->rax;
	r->rcx = m->rcx;
	r->rsp = m->rsp;
	r->rip = m->rip;
	r->rflags = m->rflags;
}

/* 0, -EFAULT, -ENOMEM. A stack in a file's page that was never touched is -EFAULT as well. */
static int write_all(struct thread *t, uint64_t to, const void *from, size_t bytes)
{
	size_t done = 0;

	while (done < bytes) {
		long n = task_write(
			t->process->task, to + done, (const char *)from + done, bytes - done);

		if (n <= 0)
			return n == -ENOMEM ? -ENOMEM : -EFAULT;
		done += n;
	}
	return 0;
}

/* What the CPU said about the fault, where the signal comes from one. */
static void save_fault(struct machine_context *m, int sig, const siginfo_t *info)
{
	if (sig != SIGSEGV && sig != SIGBUS)
		return;
	m->trap = info->si_code > 0 ? 14 : 0;
	m->cr2 = info->si_code > 0 ? (uint64_t)info->si_addr : 0;
}

static void after_push(struct thread *t, struct signal_action *action, int sig)
{
	t->restore_blocked = false;
	t->blocked |= action->mask;
	if (!(action->flags & SA_NODEFER))
		t->blocked |= SIGNAL_BIT(sig);
	if (action->flags & SA_RESETHAND)
		action->handler = (uint64_t)SIG_DFL;
}

int frame_push(struct thread *t, struct thread_regs *regs, int sig, const siginfo_t *info)
{
	struct signal_action *action = &t->process->actions[sig];
	struct frame f = {.flags = UC_SIGCONTEXT_SS | UC_STRICT_SS, .info = *info};
	uint64_t sp = regs->rsp - RED_ZONE, handler = action->handler;
	int error;

	if ((action->flags & SA_ONSTACK) && !(t->alt_stack.ss_flags & SS_DISABLE) &&
		!on_alt_stack(t, regs->rsp))
		sp = (uint64_t)t->alt_stack.ss_sp + t->alt_stack.ss_size;
	if (!(action->flags & SA_RESTORER))
		return -EFAULT; /* as Linux: there is nowhere to return to */
	if (fpu_read(t)) {
		sp = (sp - fpu_frame_bytes()) & ~63ul;
		error = write_all(t, sp, fpu_state, fpu_frame_bytes());
		if (error)
			return error;
		f.machine.fpu = sp;
		f.flags |= fpu_bytes > FPU_LEGACY ? UC_FP_XSTATE : 0;
	}
	sp = ((sp - sizeof(f)) & ~15ul) - 8;
	f.restorer = action->restorer;
	f.stack = t->alt_stack;
	f.mask = t->restore_blocked ? t->saved_blocked : t->blocked;
	save_registers(&f.machine, regs);
	save_fault(&f.machine, sig, info);
	error = write_all(t, sp, &f, sizeof(f));
	if (error)
		return error;
	regs->rsp = sp;
	regs->rip = handler;
	regs->rdi = (uint64_t)sig;
	regs->rsi = sp + offsetof(struct frame, info);
	regs->rdx = sp + offsetof(struct frame, flags);
	regs->rax = 0;
	regs->rflags &= ~(uint64_t)(FLAG_DF | FLAG_TF | FLAG_RF);
	after_push(t, action, sig);
	return 0;
}

/* --- the way back ------------------------------------------------------------------------------------------ */

/* 0; CALL_FAULT_IN; anything else: the frame is no frame. */
static long fpu_restore(struct call *c, uint64_t from)
{
	struct thread *t = c->thread;
	long error;

	if (!from)
		return 0;
	if (!fpu_bytes && !fpu_read(t))
		return -EINVAL;
	error = copy_in(c, fpu_state, from, (size_t)fpu_bytes);
	return error ? error : thread_set_fpu(t->handle, fpu_state, (size_t)fpu_bytes);
}

long sys_rt_sigreturn(struct call *c)
{
	struct thread *t = c->thread;
	struct thread_regs regs;
	struct frame f;
	long error = thread_get_regs(t->handle, &regs);

	if (!error) /* ret has taken the return address away */
		error = copy_in(c, &f, regs.rsp - 8, sizeof(f));
	if (!error)
		error = fpu_restore(c, f.machine.fpu);
	if (error == CALL_FAULT_IN)
		return error;
	if (!error) {
		load_registers(&regs, &f.machine);
		error = thread_set_regs(t->handle, &regs);
	}
	if (error) {
		process_kill(t->process, SIGSEGV);
		return CALL_GONE;
	}
	t->blocked = f.mask & ~(SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP));
	if (!on_alt_stack(t, regs.rsp))
		t->alt_stack = f.stack.ss_flags & SS_DISABLE
				       ? (stack_t){.ss_flags = SS_DISABLE}
				       : (stack_t){f.stack.ss_sp, 0, f.stack.ss_size};
	t->attention = signal_deliverable(t) || t->process->stopped;
	return CALL_SET;
}
