/*
 * limits.c - what a process may use, has used, and how it is scheduled                          ring 3
 *
 * Limits are remembered, inherited and told. Enforced are RLIMIT_NOFILE, RLIMIT_FSIZE (files half), RLIMIT_NPROC and RLIMIT_SIGPENDING. Nice values
 * and scheduling policies are remembered or accepted; the kernel's scheduler knows one class.
 *
 * LINUX  kernel/sys.c, kernel/sched/core.c
 */
#define _GNU_SOURCE
#include "calls.h"
#include "core.h"

#include <sched.h>
#include <string.h>
#include <sys/times.h>

/* --- limits ------------------------------------------------------------------------------------------------------ */

static long set_limit(struct rlimit *limit, int which, const struct rlimit *to)
{
	if (to->rlim_cur > to->rlim_max)
		return -EINVAL;
	if (which == RLIMIT_NOFILE && to->rlim_max > 1u << 20)
		return -EPERM;
	*limit = *to;
	return 0;
}

static long limit_call(struct call *c, int pid, int which, uint64_t set, uint64_t get)
{
	struct process *p = pid ? process_find(pid) : c->thread->process;
	struct rlimit to;
	long error = set ? copy_in(c, &to, set, sizeof(to)) : 0;

	if (error)
		return error;
	if (which < 0 || which >= NR_LIMITS)
		return -EINVAL;
	if (!p)
		return -ESRCH;
	if (get)
		error = copy_out(c, get, &p->limits[which], sizeof(p->limits[which]));
	return !error && set ? set_limit(&p->limits[which], which, &to) : error;
}

long sys_getrlimit(struct call *c)
{
	return c->arg[1] ? limit_call(c, 0, (int)c->arg[0], 0, c->arg[1]) : -EFAULT;
}

long sys_setrlimit(struct call *c)
{
	return c->arg[1] ? limit_call(c, 0, (int)c->arg[0], c->arg[1], 0) : -EFAULT;
}

long sys_prlimit64(struct call *c)
{
	return limit_call(c, (int)c->arg[0], (int)c->arg[1], c->arg[2], c->arg[3]);
}

/* --- usage ------------------------------------------------------------------------------------------------------- */

/* Time is not split into the program's and the kernel's: all is the program's. */
void usage_fill(struct linux_rusage *u, const struct task_info *info)
{
	memset(u, 0, sizeof(*u));
	u->user.tv_sec = (time_t)(info->runtime_ns / NS_PER_SEC);
	u->user.tv_usec = (suseconds_t)(info->runtime_ns % NS_PER_SEC / 1000);
	u->maxrss = (int64_t)(info->peak_rss_pages * (PAGE_BYTES / 1024));
	u->minflt = (int64_t)info->minflt;
	u->majflt = (int64_t)info->majflt;
}

/* RUSAGE_THREAD is told as the whole process. */
long sys_getrusage(struct call *c)
{
	struct process *p = c->thread->process;
	struct task_info info = p->children_usage;
	struct linux_rusage usage;

	switch ((int)c->arg[0]) {
	case RUSAGE_SELF:
	case 1: /* RUSAGE_THREAD */
		if (task_info(p->task, &info))
			memset(&info, 0, sizeof(info));
		break;
	case RUSAGE_CHILDREN:
		break;
	default:
		return -EINVAL;
	}
	usage_fill(&usage, &info);
	return copy_out(c, c->arg[1], &usage, sizeof(usage));
}

#define TICK_NS (NS_PER_SEC / 100) /* sysconf(_SC_CLK_TCK) is 100 */

long sys_times(struct call *c)
{
	struct process *p = c->thread->process;
	struct task_info info = {0};
	struct tms t = {0};
	long error = 0;

	task_info(p->task, &info);
	t.tms_utime = (clock_t)(info.runtime_ns / TICK_NS);
	t.tms_cutime = (clock_t)(p->children_usage.runtime_ns / TICK_NS);
	if (c->arg[0])
		error = copy_out(c, c->arg[0], &t, sizeof(t));
	return error ? error : (long)(time_now() / TICK_NS);
}

/* --- priorities --------------------------------------------------------------------------------------------------- */

static bool priority_meant(const struct call *c, const struct process *p)
{
	int which = (int)c->arg[0], who = (int)c->arg[1];
	const struct process *self = c->thread->process;

	switch (which) {
	case PRIO_PROCESS:
		return p->pid == (who ? who : self->pid);
	case PRIO_PGRP:
		return p->pgrp == (who ? who : self->pgrp);
	default: /* PRIO_USER: there is one, 0 */
		return !who;
	}
}

/* 20 - nice: 40 (most favoured) to 1, so that it is no error. */
long sys_getpriority(struct call *c)
{
	long result = -ESRCH;

	if ((uint32_t)c->arg[0] > PRIO_USER)
		return -EINVAL;
	list_each(l, &processes)
	{
		struct process *p = container_of(l, struct process, all);

		if (priority_meant(c, p) && 20 - p->nice > result)
			result = 20 - p->nice;
	}
	return result;
}

long sys_setpriority(struct call *c)
{
	int nice = (int)c->arg[2];
	long result = -ESRCH;

	if ((uint32_t)c->arg[0] > PRIO_USER)
		return -EINVAL;
	nice = nice < -20 ? -20 : nice > 19 ? 19 : nice;
	list_each(l, &processes)
	{
		struct process *p = container_of(l, struct process, all);

		if (!priority_meant(c, p))
			continue;
		p->nice = nice;
		result = 0;
	}
	return result;
}

/* --- scheduling: one class, round robin --------------------------------------------------------------------------- */

static long check_tid(struct call *c, int tid)
{
	if (tid < 0)
		return -EINVAL;
	return !tid || thread_find(tid) || process_find(tid) ? 0 : -ESRCH;
}

long sys_sched_getscheduler(struct call *c)
{
	long error = check_tid(c, (int)c->arg[0]);

	return error ? error : SCHED_OTHER;
}

long sys_sched_getparam(struct call *c)
{
	const int priority = 0;
	long error = check_tid(c, (int)c->arg[0]);

	return error ? error : copy_out(c, c->arg[1], &priority, sizeof(priority));
}

/* SCHED_OTHER and its relatives are accepted, real-time is not to be had. */
static long set_policy(struct call *c, int policy, uint64_t from)
{
	int priority;
	long error = check_tid(c, (int)c->arg[0]);

	if (!error)
		error = copy_in(c, &priority, from, sizeof(priority));
	if (error)
		return error;
	switch (policy) {
	case SCHED_OTHER:
	case SCHED_BATCH:
	case SCHED_IDLE:
		return priority ? -EINVAL : 0;
	case SCHED_FIFO:
	case SCHED_RR:
		return priority < 1 || priority > 99 ? -EINVAL : -EPERM;
	default:
		return -EINVAL;
	}
}

long sys_sched_setscheduler(struct call *c)
{
	return set_policy(c, (int)c->arg[1], c->arg[2]);
}

long sys_sched_setparam(struct call *c)
{
	return set_policy(c, SCHED_OTHER, c->arg[1]);
}

long sys_sched_get_priority_max(struct call *c)
{
	switch ((int)c->arg[0]) {
	case SCHED_FIFO:
	case SCHED_RR:
		return 99;
	case SCHED_OTHER:
	case SCHED_BATCH:
	case SCHED_IDLE:
		return 0;
	default:
		return -EINVAL;
	}
}

long sys_sched_get_priority_min(struct call *c)
{
	long max = sys_sched_get_priority_max(c);

	return max > 0 ? 1 : max;
}

long sys_sched_rr_get_interval(struct call *c)
{
	const struct timespec slice = {0, 10000000};
	long error = check_tid(c, (int)c->arg[0]);

	return error ? error : copy_out(c, c->arg[1], &slice, sizeof(slice));
}

/* The thread that is meant; NULL: none. Of a process that has only its end left to be told, *gone. Linux: find_process_by_pid */
static struct thread *affinity_of(struct call *c, int tid, bool *gone)
{
	struct thread *t = tid ? thread_find(tid) : c->thread;

	*gone = !t && tid > 0 && process_find(tid);
	return t;
}

/* A mask that is shorter than ours is filled up with zeroes, of a longer one the rest is not read. */
long sys_sched_setaffinity(struct call *c)
{
	uint64_t mask = 0;
	size_t bytes = c->arg[1] < sizeof(mask) ? c->arg[1] : sizeof(mask);
	long error = copy_in(c, &mask, c->arg[2], bytes);
	struct thread *t;
	bool gone;

	if (error)
		return error;
	t = affinity_of(c, (int)c->arg[0], &gone);
	if (!t)
		return gone ? 0 : -ESRCH;
	return thread_set_cpus(t->handle, mask);
}

/* In whole words, as Linux's kernel writes them; how many bytes that were. */
long sys_sched_getaffinity(struct call *c)
{
	uint32_t cpus = 1;
	uint64_t mask;
	struct thread *t;
	bool gone;
	long result;

	machine_info(SLOT_MACHINE, MACHINE_CPUS, &cpus, sizeof(cpus));
	if (c->arg[1] % sizeof(mask) || c->arg[1] * 8 < cpus)
		return -EINVAL;
	t = affinity_of(c, (int)c->arg[0], &gone);
	if (!t && !gone)
		return -ESRCH;
	result = t ? thread_get_cpus(t->handle) : (long)((1ull << cpus) - 1);
	if (result < 0)
		return result;
	mask = (uint64_t)result;
	return copy_out(c, c->arg[2], &mask, sizeof(mask)) ?: (long)sizeof(mask);
}

long sys_ioprio_get(struct call *c)
{
	return 0;
}

long sys_ioprio_set(struct call *c)
{
	return 0;
}
