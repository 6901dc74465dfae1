/*
 * wait.c - wait4 and waitid: a parent hears of its children                                     ring 3
 *
 * A call looks through the children for one with news: ended (a zombie, freed by being told of), stopped, continued. Without
 * news it waits for the process's child_changed.
 *
 * LINUX  kernel/exit.c: do_wait
 */
#include "calls.h"
#include "core.h"

#include <limits.h>
#include <string.h>
#include <sys/wait.h>

#define WAIT_CLONE    0x80000000u
#define WAIT_ALL      0x40000000u
#define WAIT_NOTHREAD 0x20000000u

/* What is asked for. */
struct wait {
	idtype_t type; /* P_ALL, P_PID, P_PGID */
	int id;
	uint32_t options;
	struct process *found;
	int code, status; /* CLD_*, as siginfo has it */
};

static bool is_meant(const struct wait *w, const struct process *child)
{
	if (w->type == P_PID && child->pid != w->id)
		return false;
	if (w->type == P_PGID && child->pgrp != w->id)
		return false;
	if (w->options & WAIT_ALL)
		return true;
	return (child->exit_signal != SIGCHLD) == !!(w->options & WAIT_CLONE);
}

static bool has_news(struct wait *w, struct process *child)
{
	int sig = child->status & 0x7f;

	if (child->state == PROCESS_ZOMBIE) {
		w->code = sig ? CLD_KILLED : CLD_EXITED;
		w->status = sig ? sig : child->status >> 8 & 0xff;
		return w->options & WEXITED;
	}
	if (child->stopped && !child->stop_reported && (w->options & WSTOPPED)) {
		w->code = CLD_STOPPED;
		w->status = child->stop_signal;
		return true;
	}
	if (child->continued && (w->options & WCONTINUED)) {
		w->code = CLD_CONTINUED;
		w->status = SIGCONT;
		return true;
	}
	return false;
}

/* 0: w->found, or nobody yet (then it waits, or WNOHANG); -ECHILD; CALL_WAIT */
static long find_child(struct call *c, struct wait *w)
{
	struct process *self = c->thread->process;
	long result = -ECHILD;

	list_each(l, &self->children)
	{
		struct process *child = container_of(l, struct process, sibling);

		if (!is_meant(w, child))
			continue;
		result = 0;
		if (has_news(w, child)) {
			w->found = child;
			return 0;
		}
	}
	if (result || (w->options & WNOHANG))
		return result;
	return call_wait(c, &self->child_changed);
}

static void told(struct wait *w)
{
	if (w->options & WNOWAIT)
		return;
	switch (w->code) {
	case CLD_STOPPED:
		w->found->stop_reported = true;
		break;
	case CLD_CONTINUED:
		w->found->continued = false;
		break;
	default:
		process_reap(w->found);
	}
}

static int wait_status(const struct wait *w)
{
	switch (w->code) {
	case CLD_STOPPED:
		return w->status << 8 | 0x7f;
	case CLD_CONTINUED:
		return 0xffff;
	default:
		return w->found->status;
	}
}

/* A child that goes on has the usage of its task; a zombie what it had at its end. */
static long copy_out_usage(struct call *c, uint64_t to, const struct process *child)
{
	struct task_info info = child->usage;
	struct linux_rusage usage;

	if (!to)
		return 0;
	if (child->task)
		task_info(child->task, &info);
	usage_fill(&usage, &info);
	return copy_out(c, to, &usage, sizeof(usage));
}

#define WAIT4_OPTIONS (WNOHANG | WUNTRACED | WCONTINUED | WAIT_CLONE | WAIT_ALL | WAIT_NOTHREAD)

long sys_wait4(struct call *c)
{
	int pid = (int)c->arg[0], status;
	struct wait w = {.type = P_PID, .id = pid, .options = (uint32_t)c->arg[2]};
	long error;

	if (w.options & ~WAIT4_OPTIONS)
		return -EINVAL;
	if (pid == INT_MIN)
		return -ESRCH;
	if (pid == -1) {
		w.type = P_ALL;
	} else if (pid <= 0) {
		w.type = P_PGID;
		w.id = pid ? -pid : c->thread->process->pgrp;
	}
	w.options |= WEXITED;
	error = find_child(c, &w);
	if (error || !w.found)
		return error;
	pid = w.found->pid;
	status = wait_status(&w);
	error = c->arg[1] ? copy_out(c, c->arg[1], &status, sizeof(status)) : 0;
	if (!error)
		error = copy_out_usage(c, c->arg[3], w.found);
	if (error)
		return error;
	told(&w);
	return pid;
}

#define WAITID_OPTIONS                                                                             \
	(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | WAIT_CLONE | WAIT_ALL |             \
		WAIT_NOTHREAD)

long sys_waitid(struct call *c)
{
	struct wait w = {
		.type = (idtype_t)c->arg[0], .id = (int)c->arg[1], .options = (uint32_t)c->arg[3]};
	siginfo_t info;
	long error;

	if ((w.options & ~WAITID_OPTIONS) || !(w.options & (WEXITED | WSTOPPED | WCONTINUED)))
		return -EINVAL;
	if (w.type != P_ALL && w.type != P_PID && w.type != P_PGID)
		return -EINVAL;
	if ((w.type == P_PID && w.id <= 0) || (w.type == P_PGID && w.id < 0))
		return -EINVAL;
	if (w.type == P_PGID && !w.id)
		w.id = c->thread->process->pgrp;
	error = find_child(c, &w);
	if (error)
		return error;
	memset(&info, 0, sizeof(info));
	if (w.found) {
		info.si_signo = SIGCHLD;
		info.si_code = w.code;
		info.si_pid = w.found->pid;
		info.si_status = w.status;
	}
	error = c->arg[2] ? copy_out(c, c->arg[2], &info, sizeof(info)) : 0;
	if (!error && w.found)
		error = copy_out_usage(c, c->arg[4], w.found);
	if (!error && w.found)
		told(&w);
	return error;
}
