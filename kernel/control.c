/*
 * control.c - what a personality does to a thread that lives             floor 4, below: ipc.c, task.c
 *
 * Stops a thread, looks at its registers, changes them, lets it go on: fork, exec, signals and threads of Linux
 * are made of this in ring 3. It does not know what a signal is.
 *
 * IDEA
 *   A thread's registers lie at the top of its kernel stack from every entry on. They are what it will go on with,
 *   and others may read and change them, while it STANDS:
 *     not started    nobody has called thread_resume() yet
 *     suspended      in sched_pending(), on its way back to ring 3, until suspend_count is 0
 *     in a call      it waits for its personality's answer: to a system call, an exception, an interruption
 *   Everywhere else it runs, or sleeps inside a call of the kernel's that has a result to give: -EBUSY.
 *
 *   thread->pending       set by                     served here, before the return to ring 3
 *     kill_pending        task_kill, thread_kill       leave
 *     interrupt_pending   control_interrupt            MESSAGE_INTERRUPTED; no personality: nothing more
 *     step_pending        trap.c, #DB                  MESSAGE_EXCEPTION
 *     suspend_pending     control_suspend              stand until resumed
 *     move_pending        sched_set_allowed            not here, but in sched.c: another CPU
 *
 * NO LOST INTERRUPT
 *   the thread                                   the one who interrupts
 *     S1  prepare: clear wake_pending              W1  interrupt_pending = true
 *     S2  read interrupt_pending: true -> -EINTR   W2  running: need_resched and an interrupt to its CPU
 *     S3  sched_block()                            W3  sched_wake()
 *     R   return to ring 3: need_resched?
 *   S2 that finds the flag sets need_resched itself: W2 may still be on its way, and the result -EINTR must not reach
 *   ring 3 before the message is sent. S1 to S3 with W1 and W3 are the two sides of the proof in sched.c, as for kill. A thread that is past S2 for
 *   the last time, or in ring 3, has need_resched set by W2, or by schedule(), which reads `pending` under the
 *   lock W2 takes, when it is switched to: so R sees it. The flag is cleared here only, before the message.
 *
 * INVARIANTS
 *   C1  th->suspended is true only while th is inside stand(); it changes under LOCK_TASKS
 *   C2  registers and FPU area of a thread are touched by others only while it stands, under the lock that keeps it
 *       from going on, and BLOCKED or NEW, so that they are in memory (asserted by the way visit_standing() is built)
 *   C3  what is put into user_regs can be loaded: rip below USER_END, user selectors, no flag but the user's
 *   C4  from control_suspend()'s 0 to control_resume() th executes nothing in ring 3, so visit_standing() finds it
 *       standing, if it waits: th may have been answered and not have come to stand() yet (th->halted says so).
 *       Between a message's receipt and its answer the same holds of a call. -EBUSY is for everybody else, and for
 *       one that waits for a pager on its way, after PATIENCE_NS (tests/kernel/personality.c, suspend_races)
 *
 * LOCKS     LOCK_TASKS; the lock of the personality's endpoint; inside either the run queue's.
 * LINUX     kernel/ptrace.c, kernel/signal.c (ptrace_stop, TASK_TRACED): this is a small ptrace without a parent.
 */
#include "control.h"

#include "ipc.h"
#include "panic.h"
#include "printk.h"
#include "task.h"
#include "thread.h"
#include "x86/fpu.h"
#include "x86/layout.h"
#include "x86/switch.h"
#include "x86/timer.h"
#include <abi/errno.h>

#define SIGKILL    9
#define SIGTRAP    5
#define TRAP_TRACE 2
#define VECTOR_DB  1

#define RFLAGS_DF         0x400ul
#define RFLAGS_TF         0x100ul
#define RFLAGS_ARITHMETIC 0x8d5ul /* CF PF AF ZF SF OF */
#define RFLAGS_USER       (RFLAGS_ARITHMETIC | RFLAGS_DF | RFLAGS_TF | RFLAGS_AC)

#define SYSCALL_ERROR (~0ul) /* what entry.asm leaves in regs.error for a system call */

/* --- the thread asks its personality ------------------------------------------------------------------------ */

/* A message about the current thread; `failed` when nobody can answer it. */
static u64 ask(struct message *m, u64 failed)
{
	struct thread *self = current_thread();
	struct endpoint *ep = self->task->personality;
	int error;

	self->in_call = true;
	error = ipc_call(ep, m, NULL, 0, DEADLINE_NEVER, false);
	self->in_call = false;
	self->regs_set = false; /* no result of a call waits for rax */
	return error ? failed : m->label;
}

int control_exception(const struct exception *e)
{
	struct thread *self = current_thread();
	struct message m = {.label = MESSAGE_EXCEPTION,
		.badge = self->cookie,
		.word = {
			e->vector, e->error, e->address, self->user_regs->rip, e->signal, e->code}};
	int status;

	if (!self->task->personality)
		return (int)e->signal;
	status = (int)ask(&m, SIGKILL);
	return thread_killed() ? 0 : status; /* killed, it ends on its way out, with that status */
}

static void ask_interrupted(struct thread *self)
{
	struct message m = {.label = MESSAGE_INTERRUPTED, .badge = self->cookie};
	u64 status;

	WRITE_ONCE(self->interrupt_pending, false);
	if (!self->task->personality)
		return;
	status = ask(&m, SIGKILL);
	if (status && !thread_killed())
		task_exit((int)status);
}

static void ask_stepped(struct thread *self)
{
	const struct exception step = {.vector = VECTOR_DB,
		.address = self->user_regs->rip,
		.signal = SIGTRAP,
		.code = TRAP_TRACE};
	int status;

	WRITE_ONCE(self->step_pending, false);
	status = control_exception(&step);
	if (!status || thread_killed())
		return;
	printk("pid %u (%s): debug trap at ip 0x%lx", self->task->pid, self->task->name,
		self->user_regs->rip);
	task_exit(status);
}

/* Suspended: here, until somebody resumes or kills it. */
static void stand(struct thread *self)
{
	struct waitq nobody;

	waitq_init(&nobody, "suspended");
	task_lock();
	self->suspended = true;
	waitq_wake_all(&self->stopped);
	task_unlock();
	waitq_wait(&nobody, !READ_ONCE(self->suspend_count) || thread_killed(), "suspended");
	task_lock();
	self->suspended = false;
	if (!self->suspend_count)
		WRITE_ONCE(self->suspend_pending, false);
	task_unlock();
}

/* On the way to ring 3: everything that is pending, the end first. Interrupts on, no lock held. */
static void serve_pending(void)
{
	struct thread *self = current_thread();

	while (READ_ONCE(self->pending)) {
		if (READ_ONCE(self->kill_pending))
			thread_leave(self->kill_status);
		if (READ_ONCE(self->step_pending))
			ask_stepped(self);
		else if (READ_ONCE(self->interrupt_pending))
			ask_interrupted(self);
		else if (READ_ONCE(self->suspend_pending))
			stand(self);
		else
			return; /* move_pending: the caller's */
	}
}

/* control_init - threads serve what is pending for them from now on. */
void control_init(void)
{
	sched_pending = serve_pending;
}

/* --- does it stand? ------------------------------------------------------------------------------------------- */

/*
 * Is th in a call to its personality? The lock of that endpoint is held. The endpoint of a call is written before its
 * state, and the state to IDLE before the next call's endpoint: so endpoint first, then state.
 */
static bool in_call_locked(struct thread *th)
{
	if (!READ_ONCE(th->in_call) || READ_ONCE(th->ipc.endpoint) != th->task->personality)
		return false;
	return th->ipc.state == IPC_QUEUED || th->ipc.state == IPC_UNANSWERED;
}

/* What to do with a thread that stands: no sleep, no allocation, interrupts are off. */
struct visit {
	void (*fn)(struct thread *th, void *ctx);
	void *ctx;
};

/* NEW or suspended. 1: done, 0: neither, -EAGAIN: on its way. tasks_lock held. */
static int visit_stopped(struct thread *th, const struct visit *v)
{
	if (th->has_left || th->kill_pending)
		return -ESRCH;
	if (th->state == THREAD_NEW) {
		v->fn(th, v->ctx);
		return 1;
	}
	if (!th->suspended || !th->suspend_count)
		return 0;
	return sched_if_blocked(th, v->fn, v->ctx) ? 1 : -EAGAIN;
}

/* The same for one that sits in a call: its endpoint's lock keeps the answer away. */
static int visit_in_call(struct thread *th, const struct visit *v)
{
	struct endpoint *ep = th->task->personality;
	int result = 0;
	u64 flags;

	if (!ep)
		return 0;
	flags = spin_lock_irqsave(&ep->lock);
	if (in_call_locked(th))
		result = sched_if_blocked(th, v->fn, v->ctx) ? 1 : -EAGAIN;
	spin_unlock_irqrestore(&ep->lock, flags);
	return result;
}

#define LOOK_AGAIN_NS (NS_PER_MS / 2)

/*
 * It is on its way to stand, a few instructions of the kernel's from it: much less than this even under a loaded emulator.
 * The limit is for one that touches a page for its personality first (REPLY_FAULT_IN) and whose pager is silent.
 */
#define PATIENCE_NS NS_PER_SEC

/* False: enough. Else everybody else had a turn. */
static bool try_again(u64 *until)
{
	u64 now = time_ns();

	if (!*until)
		*until = now + PATIENCE_NS;
	if (now >= *until || thread_killed())
		return false;
	sched_yield();
	return true;
}

/* C2. 0: fn was called; -EBUSY: it runs; -ESRCH: it has ended, or will now. */
static int visit_standing(struct thread *th, void (*fn)(struct thread *th, void *ctx), void *ctx)
{
	struct visit v = {.fn = fn, .ctx = ctx};
	u64 until = 0;
	int result;

	do {
		task_lock();
		result = visit_stopped(th, &v);
		task_unlock();
		if (!result)
			result = visit_in_call(th, &v);
		if (!result && READ_ONCE(th->halted))
			result = -EAGAIN; /* C4: answered, and on its way to stand */
	} while (result == -EAGAIN && try_again(&until));
	return result == 1 ? 0 : result == -ESRCH ? -ESRCH : -EBUSY;
}

/* --- suspend, resume, interrupt --------------------------------------------------------------------------------- */

static bool is_gone(const struct thread *th)
{
	return READ_ONCE(th->has_left) || READ_ONCE(th->kill_pending);
}

static void look(struct thread *th, void *ctx)
{
}

/* Stands: now, at least, for in a call it may be answered at any time. */
static bool has_stopped(struct thread *th)
{
	return is_gone(th) || visit_standing(th, look, NULL) == 0;
}

/*
 * control_suspend - th stops at its next return to ring 3; see native.h.
 *
 *   locks    none held; sleeps until th stands. A thread in a call to its personality stands already
 *   after    0: it executes nothing in ring 3 before it is resumed, and its registers can be read and written (C4)
 *   returns  0, -ESRCH (it ends), -EINTR (the caller was interrupted; th stays suspended all the same),
 *            -EINVAL: oneself
 */
int control_suspend(struct thread *th)
{
	int error;

	if (th == current_thread())
		return -EINVAL;
	task_lock();
	if (is_gone(th)) {
		task_unlock();
		return -ESRCH;
	}
	th->suspend_count++;
	thread_halt(th);
	task_unlock();
	while ((error = visit_standing(th, look, NULL)) == -EBUSY) {
		if (thread_interrupted())
			return -EINTR;
		/* nobody tells when a call begins */
		waitq_wait_until(&th->stopped, has_stopped(th) || thread_interrupted(),
			time_ns() + LOOK_AGAIN_NS, "suspend");
	}
	if (error)
		return error;
	/* it stood once since the count rose: if it was answered meanwhile, it leaves the call to stand again */
	task_lock();
	th->halted = th->suspend_count; /* unless it was resumed meanwhile */
	task_unlock();
	return 0;
}

/* control_resume - start it, or undo one suspend. -EINVAL: neither is to be done; -ESRCH. */
int control_resume(struct thread *th)
{
	int error = 0;

	if (task_start_thread(th) == 0)
		return 0;
	task_lock();
	if (th->has_left)
		error = -ESRCH;
	else if (!th->suspend_count)
		error = -EINVAL;
	else if (--th->suspend_count == 0) {
		th->halted = false;
		sched_wake(th);
	}
	task_unlock();
	return error;
}

/* control_interrupt - see native.h. -ESRCH: it has left. */
int control_interrupt(struct thread *th)
{
	bool gone;

	task_lock();
	gone = th->has_left;
	if (!gone)
		thread_interrupt(th);
	task_unlock();
	return gone ? -ESRCH : 0;
}

/* --- registers ------------------------------------------------------------------------------------------------------ */

static void read_regs(struct thread *th, void *ctx)
{
	const struct regs *r = th->user_regs;
	struct thread_regs *out = ctx;

	*out = (struct thread_regs){r->r15, r->r14, r->r13, r->r12, r->rbp, r->rbx, r->r11, r->r10,
		r->r9, r->r8, r->rax, r->rcx, r->rdx, r->rsi, r->rdi, r->rip, r->rflags, r->rsp,
		th->fs_base, th->gs_base, r->error == SYSCALL_ERROR ? (u32)r->vector : ~0ul};
}

/* C3 holds for *in: control_set_regs() has looked. */
static void write_regs(struct thread *th, void *ctx)
{
	const struct thread_regs *in = ctx;
	struct regs *r = th->user_regs;

	*r = (struct regs){in->r15, in->r14, in->r13, in->r12, in->rbp, in->rbx, in->r11, in->r10,
		in->r9, in->r8, in->rax, in->rcx, in->rdx, in->rsi, in->rdi, r->vector, r->error,
		in->rip, SEL_USER_CODE, (in->rflags & RFLAGS_USER) | RFLAGS_IF | 2, in->rsp,
		SEL_USER_DATA};
	th->fs_base = in->fs_base;
	th->gs_base = in->gs_base;
	th->regs_set = th->in_call;
}

/*
 * control_get_regs - the registers with which th will go on.
 *
 *   locks    none held; waits while th is on its way to stand (C4)
 *   returns  0; -EBUSY: it runs, or sleeps in a call of the kernel's, and nobody's control_suspend() of it has
 *            returned 0 since it was last resumed; -ESRCH: it has ended, or will now
 *   Linux    PTRACE_GETREGS, which has the same rule: of a tracee that stopped
 */
int control_get_regs(struct thread *th, struct thread_regs *out)
{
	return visit_standing(th, read_regs, out);
}

/*
 * control_set_regs - C3 for what ring 3 hands in: -EINVAL unless rip and the segment bases are addresses of ring 3
 * (rsp is its own affair: a bad one faults in ring 3). Selectors and flags are not asked about, they are made safe.
 */
int control_set_regs(struct thread *th, const struct thread_regs *in)
{
	struct thread_regs copy = *in;

	if (in->rip >= USER_END || in->fs_base >= USER_END || in->gs_base >= USER_END)
		return -EINVAL;
	return visit_standing(th, write_regs, &copy);
}

static void read_fpu(struct thread *th, void *ctx)
{
	fpu_read_area(th->fpu, ctx);
}

static void write_fpu(struct thread *th, void *ctx)
{
	fpu_write_area(th->fpu, ctx);
}

int control_get_fpu(struct thread *th, void *state)
{
	return visit_standing(th, read_fpu, state);
}

int control_set_fpu(struct thread *th, const void *state)
{
	if (!fpu_state_is_valid(state))
		return -EINVAL;
	return visit_standing(th, write_fpu, (void *)state);
}

static void copy_to_new(struct thread *from, void *ctx)
{
	struct thread *to = ctx;

	*to->user_regs = *from->user_regs;
	to->user_regs->rax = 0;
	to->fs_base = from->fs_base;
	to->gs_base = from->gs_base;
	fpu_copy_area(to->fpu, from->fpu);
	sched_inherit(to, from);
}

int control_copy(struct thread *to, struct thread *from)
{
	return visit_standing(from, copy_to_new, to);
}

/* --- another space ------------------------------------------------------------------------------------------------------ */

static void change_space(struct thread *th, void *ctx)
{
	th->mm = ctx;
}

/*
 * control_swap_space - the only thread of t sits in a call: it will go on in mm.
 *
 *   locks    none held. Blocked, it is on no CPU, so no CPU has to change its tables; what it finds when it runs
 *            again, and what task_mm() gives, change together under LOCK_TASKS
 *   returns  0: *old is the caller's to drop; -EBUSY: more than one thread, or it does not sit in a call; -ESRCH
 */
int control_swap_space(struct task *t, struct mm *mm, struct mm **old)
{
	struct visit v = {.fn = change_space, .ctx = mm};
	u64 until = 0;
	int result;

	do {
		task_lock();
		if (t->killed || t->ending)
			result = -ESRCH;
		else if (t->nr_threads != 1 || t->nr_stacks != 1)
			result = 0;
		else
			result = visit_in_call(t->thread, &v);
		if (result == 1) {
			*old = t->mm;
			t->mm = mm;
		}
		task_unlock();
	} while (result == -EAGAIN && try_again(&until));
	return result == 1 ? 0 : result == -ESRCH ? -ESRCH : -EBUSY;
}
