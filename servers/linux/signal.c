/*
 * signal.c - signals: sent, kept, taken; the calls about them                                   ring 3
 *
 * What is not ignored is kept in the queue of a thread or of a process until a thread may have it; thread_return() takes it
 * and acts. SIGKILL and SIGCONT act when they are sent.
 *
 *   pending  10 and 34            a bit for each number
 *   infos    34c -> 34b -> 10 -> 34a     newest first: 10 is taken first, then 34 three times, a, b, c. A second 10 is lost,
 *                                        as on every Unix; numbers from 32 on are queued, QUEUE_MAX of them
 *
 * INVARIANTS
 *   S1  SIGKILL and SIGSTOP are never blocked, handled or ignored
 *   S2  a process has not both SIGCONT and a stopping signal pending
 *   S3  what is in a queue's infos is in its pending; below FIRST_QUEUED each number once
 *
 * NOT HERE  signalfd, core files.
 * LINUX     kernel/signal.c
 */
#include "calls.h"
#include "core.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FIRST_QUEUED 32   /* the first real-time signal, as the kernel of Linux counts */
#define QUEUE_MAX    1024 /* in one queue; RLIMIT_SIGPENDING may say less */

#define UNBLOCKABLE (SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP))
#define STOPPING                                                                                   \
	(SIGNAL_BIT(SIGSTOP) | SIGNAL_BIT(SIGTSTP) | SIGNAL_BIT(SIGTTIN) | SIGNAL_BIT(SIGTTOU))
#define SYNCHRONOUS                                                                                \
	(SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(SIGILL) | SIGNAL_BIT(SIGTRAP) |     \
		SIGNAL_BIT(SIGFPE) | SIGNAL_BIT(SIGSYS))

enum signal_default signal_default(int sig)
{
	if (SIGNAL_BIT(sig) & STOPPING)
		return DEFAULT_STOP;
	if (sig == SIGCONT)
		return DEFAULT_CONTINUE;
	if (sig == SIGCHLD || sig == SIGURG || sig == SIGWINCH)
		return DEFAULT_IGNORE;
	return DEFAULT_TERMINATE;
}

/* --- queues ------------------------------------------------------------------------------------------------ */

void signal_queue_drop(struct signal_queue *q, signal_set which)
{
	struct signal_info **at = &q->infos;

	q->pending &= ~which;
	while (*at) {
		struct signal_info *i = *at;

		if (SIGNAL_BIT(i->info.si_signo) & which) {
			*at = i->next;
			q->nr--;
			free(i);
		} else {
			at = &i->next;
		}
	}
}

static bool has_room(const struct signal_queue *q, const struct process *p, int sig)
{
	return sig < FIRST_QUEUED ||
	       (q->nr < QUEUE_MAX && q->nr < p->limits[RLIMIT_SIGPENDING].rlim_cur);
}

/*
 * Add sig to q, of p or of a thread of it. oldest: it was there before all others. -EAGAIN: there is no room for what is
 * said with a signal that is queued for the sake of that; any other comes all the same.
 */
static int queue_add(struct signal_queue *q, const struct process *p, int sig,
	const siginfo_t *info, bool oldest)
{
	struct signal_info *i = NULL, **at = &q->infos;

	if (sig < FIRST_QUEUED && (q->pending & SIGNAL_BIT(sig)))
		return 0;
	if (info && (oldest || has_room(q, p, sig)))
		i = malloc(sizeof(*i));
	if (!i && !oldest && info && sig >= FIRST_QUEUED && info->si_code != SI_USER)
		return -EAGAIN;
	q->pending |= SIGNAL_BIT(sig);
	if (!i)
		return 0;
	while (oldest && *at)
		at = &(*at)->next;
	i->info = *info;
	i->info.si_signo = sig;
	i->next = *at;
	*at = i;
	q->nr++;
	return 0;
}

/* What was said with the oldest sig goes to *info; the signal is pending as long as there are more. */
static void info_take(struct signal_queue *q, int sig, siginfo_t *info)
{
	struct signal_info **found = NULL, *i;
	unsigned nr = 0;

	for (struct signal_info **at = &q->infos; *at; at = &(*at)->next) {
		if ((*at)->info.si_signo != sig)
			continue;
		found = at;
		nr++;
	}
	if (nr < 2)
		q->pending &= ~SIGNAL_BIT(sig);
	if (!found)
		return;
	i = *found;
	*info = i->info;
	*found = i->next;
	q->nr--;
	free(i);
}

/* Linux's order: what the thread itself has done first, then the lowest number. */
static int queue_take(struct signal_queue *q, signal_set among, siginfo_t *info)
{
	signal_set set = q->pending & among;
	int sig;

	if (!set)
		return 0;
	if (set & SYNCHRONOUS)
		set &= SYNCHRONOUS;
	sig = __builtin_ctzll(set) + 1;
	memset(info, 0, sizeof(*info));
	info->si_signo = sig;
	info->si_code = SI_KERNEL;
	info_take(q, sig, info);
	return sig;
}

int signal_take(struct thread *t, signal_set among, siginfo_t *info)
{
	int sig = queue_take(&t->signals, among, info);

	return sig ? sig : queue_take(&t->process->signals, among, info);
}

void signal_put_back(struct thread *t, int sig, const siginfo_t *info)
{
	queue_add(&t->signals, t->process, sig, info, true);
}

bool signal_deliverable(const struct thread *t)
{
	return (t->signals.pending | t->process->signals.pending) & ~t->blocked;
}

/* --- sending ------------------------------------------------------------------------------------------------ */

static bool is_ignored(const struct process *p, int sig)
{
	uint64_t handler = p->actions[sig].handler;

	if (handler == (uint64_t)SIG_IGN)
		return true;
	return handler == (uint64_t)SIG_DFL && signal_default(sig) == DEFAULT_IGNORE;
}

bool signal_is_blocked_or_ignored(struct thread *t, int sig)
{
	return (t->blocked & SIGNAL_BIT(sig)) ||
	       t->process->actions[sig].handler == (uint64_t)SIG_IGN;
}

static void drop_everywhere(struct process *p, signal_set which)
{
	signal_queue_drop(&p->signals, which);
	list_each(l, &p->threads)
		signal_queue_drop(&container_of(l, struct thread, in_process)->signals, which);
}

/* The thread that will see it soonest: one in no call before one that has to be woken. NULL: all block it. */
static struct thread *choose_thread(struct process *p, int sig)
{
	struct thread *found = NULL;

	list_each(l, &p->threads)
	{
		struct thread *t = container_of(l, struct thread, in_process);

		if ((t->blocked & SIGNAL_BIT(sig)) || t->state == THREAD_ENDING)
			continue;
		if (!found || (t->call.waiters && found->state == THREAD_RUNS))
			found = t;
	}
	return found;
}

/* 0, -EAGAIN: as queue_add() */
static int send(struct process *p, struct thread *t, int sig, const siginfo_t *info)
{
	int error;
	bool blocked = t ? t->blocked & SIGNAL_BIT(sig) : !choose_thread(p, sig);

	if (p->state != PROCESS_LIVES || p->ending)
		return 0;
	if (sig == SIGKILL) {
		process_kill(p, SIGKILL);
		return 0;
	}
	if (sig == SIGCONT) {
		drop_everywhere(p, STOPPING);
		process_continue(p);
	} else if (SIGNAL_BIT(sig) & STOPPING) {
		drop_everywhere(p, SIGNAL_BIT(SIGCONT));
	}
	if (!blocked && is_ignored(p, sig))
		return 0;
	error = queue_add(t ? &t->signals : &p->signals, p, sig, info, false);
	if (error)
		return error;
	if (!blocked)
		thread_notice(t ? t : choose_thread(p, sig));
	wait_list_wake(&p->signal_wait);
	return 0;
}

int signal_send_thread(struct thread *t, int sig, const siginfo_t *info)
{
	return send(t->process, t, sig, info);
}

int signal_send_process(struct process *p, int sig, const siginfo_t *info)
{
	return send(p, NULL, sig, info);
}

int signal_send_group(int pgrp, int sig, const siginfo_t *info)
{
	int result = -ESRCH;

	list_each_safe(l, &processes)
	{
		struct process *p = container_of(l, struct process, all);

		if (p->pgrp != pgrp)
			continue;
		result = 0;
		if (sig)
			signal_send_process(p, sig, info);
	}
	return result;
}

void signal_parent(struct process *p, int code, int status)
{
	struct process *parent = p->parent;
	siginfo_t info = {.si_signo = SIGCHLD, .si_code = code};
	uint64_t flags;

	if (!parent)
		return;
	flags = parent->actions[SIGCHLD].flags;
	info.si_pid = p->pid;
	info.si_status = status;
	info.si_utime = (clock_t)(p->usage.runtime_ns / (NS_PER_SEC / 100));
	if (code == CLD_EXITED || code == CLD_KILLED || code == CLD_DUMPED) {
		if (p->exit_signal)
			signal_send_process(parent, p->exit_signal, &info);
	} else if (!(flags & SA_NOCLDSTOP)) {
		signal_send_process(parent, SIGCHLD, &info);
	}
	wait_list_wake(&parent->child_changed);
}

/* exec: handlers are gone with the program they were in; what is ignored stays so. */
void signals_exec(struct process *p, struct thread *t)
{
	for (int sig = 1; sig <= NR_SIGNALS; sig++) {
		struct signal_action *a = &p->actions[sig];

		if (a->handler > (uint64_t)SIG_IGN)
			*a = (struct signal_action){0};
	}
	t->alt_stack = (stack_t){.ss_flags = SS_DISABLE};
}

/* --- actions and masks ----------------------------------------------------------------------------------- */

static long check_set_size(uint64_t size)
{
	return size == sizeof(signal_set) ? 0 : -EINVAL;
}

long sys_rt_sigaction(struct call *c)
{
	struct process *p = c->thread->process;
	int sig = (int)c->arg[0];
	struct signal_action action, *old = &p->actions[sig];
	long error = check_set_size(c->arg[3]);

	if (error || sig < 1 || sig > NR_SIGNALS || (c->arg[1] && (SIGNAL_BIT(sig) & UNBLOCKABLE)))
		return -EINVAL;
	if (c->arg[1])
		error = copy_in(c, &action, c->arg[1], sizeof(action));
	if (!error && c->arg[2])
		error = copy_out(c, c->arg[2], old, sizeof(*old));
	if (error || !c->arg[1])
		return error;
	action.mask &= ~UNBLOCKABLE;
	*old = action;
	if (is_ignored(p, sig))
		drop_everywhere(p, SIGNAL_BIT(sig));
	return 0;
}

static void set_blocked(struct thread *t, signal_set set)
{
	t->blocked = set & ~UNBLOCKABLE;
	t->attention = signal_deliverable(t) || t->process->stopped;
}

long sys_rt_sigprocmask(struct call *c)
{
	struct thread *t = c->thread;
	signal_set set = 0;
	long error = check_set_size(c->arg[3]);

	if (!error && c->arg[1])
		error = copy_in(c, &set, c->arg[1], sizeof(set));
	if (!error && c->arg[1] && (uint32_t)c->arg[0] > SIG_SETMASK)
		error = -EINVAL;
	if (!error && c->arg[2])
		error = copy_out(c, c->arg[2], &t->blocked, sizeof(t->blocked));
	if (error || !c->arg[1])
		return error;
	switch ((int)c->arg[0]) {
	case SIG_BLOCK:
		set_blocked(t, t->blocked | set);
		break;
	case SIG_UNBLOCK:
		set_blocked(t, t->blocked & ~set);
		break;
	case SIG_SETMASK:
		set_blocked(t, set);
		break;
	}
	return 0;
}

long sys_rt_sigpending(struct call *c)
{
	struct thread *t = c->thread;
	signal_set set = (t->signals.pending | t->process->signals.pending) & t->blocked;

	if (c->arg[1] > sizeof(set))
		return -EINVAL;
	return copy_out(c, c->arg[0], &set, c->arg[1]);
}

void signal_mask_for_call(struct call *c, signal_set set)
{
	struct thread *t = c->thread;

	if (!t->restore_blocked) {
		t->saved_blocked = t->blocked;
		t->restore_blocked = true;
	}
	set_blocked(t, set);
}

void signal_mask_restore(struct thread *t)
{
	if (!t->restore_blocked)
		return;
	t->restore_blocked = false;
	set_blocked(t, t->saved_blocked);
}

long sys_rt_sigsuspend(struct call *c)
{
	struct thread *t = c->thread;
	signal_set set;
	long error = check_set_size(c->arg[1]);

	if (!error)
		error = copy_in(c, &set, c->arg[0], sizeof(set));
	if (error)
		return error;
	c->no_restart = true;
	signal_mask_for_call(c, set);
	return call_wait(c, &t->process->signal_wait);
}

long sys_pause(struct call *c)
{
	c->no_restart = true;
	return call_wait(c, &c->thread->process->signal_wait);
}

static long timed_out_at(struct call *c, uint64_t from)
{
	struct timespec ts;
	long error;

	if (!from || c->deadline)
		return 0;
	error = copy_in(c, &ts, from, sizeof(ts));
	if (error)
		return error;
	if (ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= (long)NS_PER_SEC)
		return -EINVAL;
	if (ts.tv_sec < 1l << 32)
		c->deadline = time_now() + (uint64_t)ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
	return 0;
}

long sys_rt_sigtimedwait(struct call *c)
{
	struct thread *t = c->thread;
	siginfo_t info;
	signal_set set, there;
	long error = check_set_size(c->arg[3]);
	int sig;

	if (!error)
		error = copy_in(c, &set, c->arg[0], sizeof(set));
	if (!error)
		error = timed_out_at(c, c->arg[2]);
	if (!error && c->arg[1]) { /* is there room, before the signal is taken */
		memset(&info, 0, sizeof(info));
		there = (t->signals.pending | t->process->signals.pending) & set;
		error = there ? copy_out(c, c->arg[1], &info, sizeof(info)) : 0;
	}
	if (error)
		return error;
	sig = signal_take(t, set & ~UNBLOCKABLE, &info);
	if (sig) {
		t->attention = signal_deliverable(t);
		if (c->arg[1])
			copy_out(c, c->arg[1], &info, sizeof(info));
		return sig;
	}
	if (c->timed_out || (c->deadline && c->deadline <= time_now()))
		return -EAGAIN;
	c->no_restart = true;
	if (c->deadline)
		call_wait_until(c, c->deadline);
	return call_wait(c, &t->process->signal_wait);
}

/* --- the other stack ----------------------------------------------------------------------------------------- */

#define MINIMUM_STACK 2048

long sys_sigaltstack(struct call *c)
{
	struct thread *t = c->thread;
	struct thread_regs regs;
	stack_t set, old = t->alt_stack;
	bool on_it = false;
	long error = c->arg[0] ? copy_in(c, &set, c->arg[0], sizeof(set)) : 0;

	if (error)
		return error;
	if (!(old.ss_flags & SS_DISABLE) && !thread_get_regs(t->handle, &regs))
		on_it = regs.rsp - (uint64_t)old.ss_sp - 1 < old.ss_size;
	if (on_it)
		old.ss_flags |= SS_ONSTACK;
	if (c->arg[0]) {
		if (on_it)
			return -EPERM;
		if (set.ss_flags & ~(SS_DISABLE | SS_ONSTACK))
			return -EINVAL;
		if (!(set.ss_flags & SS_DISABLE) && set.ss_size < MINIMUM_STACK)
			return -ENOMEM;
	}
	if (c->arg[1])
		error = copy_out(c, c->arg[1], &old, sizeof(old));
	if (error || !c->arg[0])
		return error;
	set.ss_flags &= SS_DISABLE;
	t->alt_stack = set.ss_flags ? (stack_t){.ss_flags = SS_DISABLE} : set;
	return 0;
}

/* --- kill and its relatives -------------------------------------------------------------------------------- */

static siginfo_t info_from(struct call *c, int sig, int code)
{
	siginfo_t info = {.si_signo = sig, .si_code = code};

	info.si_pid = c->thread->process->pid;
	return info;
}

/* kill(-1): everybody but the caller. */
static long kill_all(struct call *c, int sig, const siginfo_t *info)
{
	long result = -ESRCH;

	list_each_safe(l, &processes)
	{
		struct process *p = container_of(l, struct process, all);

		if (p == c->thread->process)
			continue;
		result = 0;
		if (sig)
			signal_send_process(p, sig, info);
	}
	return result;
}

/*
 * Process 1 is not there, but programs ask it: `halt`, `poweroff` and `reboot` of busybox send it these. Everything else it
 * ignores, as an init does.
 */
static long kill_init(int sig)
{
	if (sig == SIGUSR1 || sig == SIGUSR2 || sig == SIGTERM)
		return machine_power(SLOT_MACHINE, 0);
	return 0;
}

long sys_kill(struct call *c)
{
	int pid = (int)c->arg[0], sig = (int)c->arg[1];
	siginfo_t info = info_from(c, sig, SI_USER);
	struct process *p;

	if (sig < 0 || sig > NR_SIGNALS)
		return -EINVAL;
	if (pid == -1)
		return kill_all(c, sig, &info);
	if (pid == INT_MIN) /* no group has the number that this is the negation of */
		return -ESRCH;
	if (pid <= 0)
		return signal_send_group(pid ? -pid : c->thread->process->pgrp, sig, &info);
	if (pid == INIT_PID)
		return kill_init(sig);
	p = process_find(pid);
	if (!p)
		return -ESRCH;
	if (sig)
		signal_send_process(p, sig, &info);
	return p == c->thread->process && p->ending ? CALL_GONE : 0;
}

static long thread_kill_call(struct call *c, int pid, int tid, int sig)
{
	siginfo_t info = info_from(c, sig, SI_TKILL);
	struct thread *t = thread_find(tid);

	if (sig < 0 || sig > NR_SIGNALS || tid <= 0 || !pid)
		return -EINVAL;
	if (!t || (pid > 0 && t->process->pid != pid))
		return -ESRCH;
	return sig ? signal_send_thread(t, sig, &info) : 0;
}

long sys_tkill(struct call *c)
{
	return thread_kill_call(c, -1, (int)c->arg[0], (int)c->arg[1]);
}

long sys_tgkill(struct call *c)
{
	int pid = (int)c->arg[0];

	return thread_kill_call(c, pid > 0 ? pid : 0, (int)c->arg[1], (int)c->arg[2]);
}

long sys_rt_sigqueueinfo(struct call *c)
{
	struct process *p = process_find((int)c->arg[0]);
	int sig = (int)c->arg[1];
	siginfo_t info;
	long error = copy_in(c, &info, c->arg[2], sizeof(info));

	if (error)
		return error;
	if (sig < 0 || sig > NR_SIGNALS)
		return -EINVAL;
	if (p != c->thread->process && (info.si_code >= 0 || info.si_code == SI_TKILL))
		return -EPERM;
	if (!p)
		return -ESRCH;
	return sig ? signal_send_process(p, sig, &info) : 0;
}
