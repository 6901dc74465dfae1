/*
 * thread.c - threads: their table, and how one goes back to its program                         ring 3
 *
 * IDEA
 *   RUNS ---- message: call -------> IN_CALL ---- answer -----------------------------> RUNS
 *     '------ message: exception,                    |  its process is stopped            ^
 *             interrupted ---------> IN_EVENT -------+---> HELD ---- SIGCONT -------------'
 *                                       any of them -----> ENDING: killed ---- MESSAGE_EXIT ----> freed
 *
 *   Signals are delivered where a thread is about to be answered: thread_return(). A thread that runs is brought there by
 *   thread_interrupt(), one that waits in a call by running the call again (call.c).
 *
 * INVARIANTS
 *   H1  a cookie names one thread for ever: the index is used again, the generation is not
 *   H2  attention is true whenever a pending signal is not blocked
 *
 * LINUX  exit_to_user_mode_loop, do_signal, handle_signal
 */
#include "core.h"
#include "pool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

static struct pool pool = POOL_OF(struct thread);
static struct thread *slots[MAX_THREADS];
static uint32_t generations[MAX_THREADS];
static uint16_t free_slots[MAX_THREADS];
static unsigned nr_free, nr_used; /* slots from nr_used on were never used */

static struct thread *by_tid[PID_MAX + 1];

/* --- the table ---------------------------------------------------------------------------------------------- */

struct thread *thread_by_cookie(uint64_t cookie)
{
	uint32_t index = (uint32_t)cookie;
	struct thread *t = index < MAX_THREADS ? slots[index] : NULL;

	return t && t->cookie == cookie ? t : NULL;
}

struct thread *thread_find(int tid)
{
	return tid > 0 && tid <= PID_MAX ? by_tid[tid] : NULL;
}

struct thread *thread_alloc(struct process *p)
{
	struct thread *t;
	unsigned index;

	if (!nr_free && nr_used == MAX_THREADS)
		return NULL;
	t = pool_alloc(&pool);
	if (!t)
		return NULL;
	memset(t, 0, sizeof(*t));
	index = nr_free ? free_slots[--nr_free] : nr_used++;
	slots[index] = t;
	t->cookie = index | (uint64_t)++generations[index] << 32;
	t->process = p;
	t->alt_stack.ss_flags = SS_DISABLE;
	call_init(&t->call, t);
	list_init(&t->short_of_memory);
	list_append(&p->threads, &t->in_process);
	p->nr_threads++;
	return t;
}

/* thread_set_tid - its number, counted by the caller. */
void thread_set_tid(struct thread *t, int tid)
{
	t->tid = tid;
	by_tid[tid] = t;
}

void thread_free(struct thread *t)
{
	uint32_t index = (uint32_t)t->cookie;

	call_forget(&t->call);
	list_remove(&t->short_of_memory);
	signal_queue_drop(&t->signals, ~0ull);
	if (t->vfork_child)
		t->vfork_child->vfork_parent = NULL;
	list_remove(&t->in_process);
	t->process->nr_threads--;
	if (t->tid) {
		by_tid[t->tid] = NULL;
		pid_release(t->tid);
	}
	if (t->handle)
		handle_close(t->handle);
	slots[index] = NULL;
	free_slots[nr_free++] = (uint16_t)index;
	pool_free(&pool, t);
}

void thread_released(struct thread *t)
{
	thread_free(t);
}

/* --- back to the program -------------------------------------------------------------------------------------- */

void thread_notice(struct thread *t)
{
	t->attention = true;
	switch (t->state) {
	case THREAD_RUNS:
		if (t->interrupted)
			break;
		answers_flush();
		if (!thread_interrupt(t->handle))
			t->interrupted = true;
		break;
	case THREAD_IN_CALL:
		/* The call that is being run is on no list and looks at `attention` at its end. */
		if ((t->call.waiters || t->call.timer.when) && !t->vfork_child)
			call_wake(&t->call);
		break;
	case THREAD_IN_EVENT:
	case THREAD_HELD:
	case THREAD_ENDING:
		break;
	}
}

/*
 * A call of the kernel's that was interrupted begins again as if nothing had been, where Linux does so too: always if no
 * handler runs; with a handler only if it has SA_RESTART and the call can be restarted.
 */
static void restart_kernel_call(struct thread_regs *regs, bool handler, bool sa_restart)
{
	bool sleeps = regs->call == SYS_futex || regs->call == SYS_nanosleep ||
		      regs->call == SYS_clock_nanosleep;

	if (!sleeps || regs->rax != (uint64_t)-EINTR)
		return;
	if (handler && !(sa_restart && regs->call == SYS_futex && !regs->r10))
		return;
	regs->rax = regs->call;
	regs->rip -= 2;
}

/* The registers with which the thread would go on, were there no handler: the interrupted call has its result. */
static void finish_call(
	struct thread *t, struct thread_regs *regs, long result, const struct signal_action *a)
{
	if (result == CALL_SET) {
		if (t->in_event)
			restart_kernel_call(regs, a, a && (a->flags & SA_RESTART));
		return;
	}
	if (result != CALL_RESTART) {
		regs->rax = (uint64_t)result;
	} else if (t->call.no_eintr || ((a->flags & SA_RESTART) && !t->call.no_restart)) {
		regs->rax = t->call.nr;
		regs->rip -= 2; /* the two bytes of `syscall` */
	} else {
		regs->rax = (uint64_t)-EINTR;
	}
}

/* No more signals: run the interrupted call again, or answer. */
static void finish_return(struct thread *t, long result, struct thread_regs *regs, bool loaded)
{
	signal_mask_restore(t);
	t->attention = signal_deliverable(t);
	if (result == CALL_RESTART && !loaded) {
		t->state = THREAD_IN_CALL;
		call_wake(&t->call);
		return;
	}
	if (result == CALL_SET && !loaded && t->in_event && !thread_get_regs(t->handle, regs)) {
		uint64_t rip = regs->rip;

		restart_kernel_call(regs, false, false);
		loaded = regs->rip != rip;
	}
	if (loaded)
		thread_set_regs(t->handle, regs);
	t->state = THREAD_RUNS;
	answer(t->call.token, loaded || result == CALL_SET ? 0 : (uint64_t)result);
}

/*
 * Threads whose handler's frame found no memory are held, and their signals tried again: others who wait for memory have the
 * kernel find some.
 */
#define RETRY_NS 10000000ull

static struct link short_of_memory = {&short_of_memory, &short_of_memory};

static void retry(struct timer *timer)
{
	struct link now;

	(void)timer;
	list_init(&now);
	while (!list_empty(&short_of_memory)) {
		struct link *l = short_of_memory.next;

		list_remove(l);
		list_append(&now, l);
	}
	while (!list_empty(&now)) {
		struct thread *t = container_of(now.next, struct thread, short_of_memory);

		list_remove(&t->short_of_memory);
		if (t->state == THREAD_HELD && !t->process->stopped)
			thread_return(t, t->held);
	}
}

static struct timer retry_timer = {.expired = retry};

static void hold(struct thread *t, long result, struct thread_regs *regs, bool loaded)
{
	if (loaded) {
		thread_set_regs(t->handle, regs);
		result = CALL_SET;
		t->in_event = false; /* what was interrupted has its result */
	}
	t->state = THREAD_HELD;
	t->held = result;
}

static void hold_for_memory(struct thread *t)
{
	if (list_empty(&t->short_of_memory))
		list_append(&short_of_memory, &t->short_of_memory);
	if (!retry_timer.when)
		timer_set(&retry_timer, time_now() + RETRY_NS);
}

/*
 * Let `sig` act. 0: a handler was entered, or nothing was to do, or the process is stopped or ends; -ENOMEM: there is no memory
 * for the handler's frame.
 */
static int deliver(struct thread *t, int sig, const siginfo_t *info, long result,
	struct thread_regs *regs, bool *loaded)
{
	struct process *p = t->process;
	struct signal_action action = p->actions[sig];
	int error;

	if (action.handler == (uint64_t)SIG_IGN)
		return 0;
	if (action.handler == (uint64_t)SIG_DFL) {
		switch (signal_default(sig)) {
		case DEFAULT_IGNORE:
		case DEFAULT_CONTINUE:
			break;
		case DEFAULT_STOP:
			if (sig == SIGSTOP || !job_group_orphaned(p->pgrp))
				process_stop(p, sig);
			break;
		case DEFAULT_TERMINATE:
			process_kill(p, sig);
			break;
		}
		return 0;
	}
	if (!*loaded) {
		if (thread_get_regs(t->handle, regs)) {
			process_kill(p, SIGKILL);
			return 0;
		}
		finish_call(t, regs, result, &action);
		*loaded = true;
	}
	error = frame_push(t, regs, sig, info);
	if (error && error != -ENOMEM)
		process_kill(p, SIGSEGV);
	return error == -ENOMEM ? error : 0;
}

void thread_return(struct thread *t, long result)
{
	struct process *p = t->process;
	struct thread_regs regs;
	bool loaded = false;

	call_forget(&t->call);
	for (;;) {
		siginfo_t info;
		int sig;

		if (p->ending || t->state == THREAD_ENDING)
			return;
		if (p->stopped) {
			hold(t, result, &regs, loaded);
			return;
		}
		sig = signal_take(t, ~t->blocked, &info);
		if (!sig)
			break;
		if (deliver(t, sig, &info, result, &regs, &loaded)) {
			signal_put_back(t, sig, &info);
			hold(t, result, &regs, loaded);
			hold_for_memory(t);
			return;
		}
	}
	finish_return(t, result, &regs, loaded);
}
