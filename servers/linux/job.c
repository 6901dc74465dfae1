/*
 * job.c - the terminal's session and its foreground group                                       ring 3
 *
 * There is one terminal, the console. A session owns it; one group of that session is in the foreground: Ctrl-C goes there,
 * and only it may read. The line discipline is the console server's.
 *
 * INVARIANT  J1  foreground is 0, or was a group of the session when it was set (groups end without asking)
 *
 * LINUX  drivers/tty/tty_jobctrl.c; kernel/exit.c: kill_orphaned_pgrp
 */
#include "core.h"

static int session;    /* that owns the terminal; 0: none */
static int foreground; /* 0: none */

int job_session(void)
{
	return session;
}

int job_foreground(void)
{
	return foreground;
}

void job_give(int to_session, int pgrp)
{
	session = to_session;
	foreground = pgrp;
}

/* Nobody is there who could continue it: no member has a parent in the same session, outside the group. */
bool job_group_orphaned(int pgrp)
{
	list_each(l, &processes)
	{
		struct process *p = container_of(l, struct process, all);

		if (p->pgrp == pgrp && !p->ending && p->parent && p->parent->pgrp != pgrp &&
			p->parent->session == p->session && !p->parent->ending)
			return false;
	}
	return true;
}

long job_check(struct call *c, int sig)
{
	struct thread *t = c->thread;
	struct process *p = t->process;

	if (p->session != session || p->pgrp == foreground || !foreground)
		return 0;
	if (signal_is_blocked_or_ignored(t, sig))
		return sig == SIGTTIN ? -EIO : 0;
	if (job_group_orphaned(p->pgrp))
		return -EIO;
	signal_send_group(p->pgrp, sig, NULL);
	return CALL_RESTART;
}

long job_set_foreground(struct call *c, int pgrp)
{
	struct process *p = c->thread->process;
	long error;

	if (p->session != session)
		return -ENOTTY;
	error = job_check(c, SIGTTOU);
	if (error)
		return error;
	if (pgrp < 0)
		return -EINVAL;
	if (!group_exists(pgrp, session))
		return process_find(pgrp) ? -EPERM : -ESRCH;
	foreground = pgrp;
	return 0;
}

/* A session leader without a terminal takes it, unless a session that lives has it. */
long job_acquire(struct call *c)
{
	struct process *p = c->thread->process;

	if (p->session == session && p->pid == session)
		return 0;
	if (p->session != p->pid || session)
		return -EPERM;
	job_give(p->session, p->pgrp);
	return 0;
}

static bool group_has_stopped(int pgrp)
{
	list_each(l, &processes)
	{
		struct process *p = container_of(l, struct process, all);

		if (p->pgrp == pgrp && p->stopped)
			return true;
	}
	return false;
}

static void hang_up(int pgrp)
{
	signal_send_group(pgrp, SIGHUP, NULL);
	signal_send_group(pgrp, SIGCONT, NULL);
}

/* Stopped jobs that nobody can continue any more are hung up: their shell ends, or the parent in between. */
void job_process_ending(struct process *p)
{
	if (p->pid == session) {
		int pgrp = foreground;

		job_give(0, 0);
		if (pgrp)
			hang_up(pgrp);
	}
	list_each_safe(l, &p->children)
	{
		struct process *child = container_of(l, struct process, sibling);

		if (child->pgrp != p->pgrp && child->session == p->session &&
			job_group_orphaned(child->pgrp) && group_has_stopped(child->pgrp))
			hang_up(child->pgrp);
	}
}
