/*
 * process.c - processes: numbers, family, groups, their end                                     ring 3
 *
 * IDEA   fork, start --> LIVES --- its last thread has ended --> ZOMBIE --- the parent waits --> freed
 *                                                    '--- nobody will wait ---------------------^
 *   Nobody waits: the parent has ended (orphans have none: getppid() says 1) or ignores SIGCHLD.
 *
 * INVARIANTS
 *   P1  id_uses[n] is the number of threads, processes, groups' members and sessions' members that carry n; a number is given
 *       out only while it is 0
 *   P2  a zombie has a parent that lives, and holds no task, files or threads
 *
 * LINUX  kernel/{pid,exit,sys}.c
 */
#include "calls.h"
#include "core.h"
#include "pool.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_PID (INIT_PID + 1)

/*
 * The last places are the shell's: when a fork bomb has taken all others, the one who owns the terminal can still start a
 * `kill`. A process needs some memory of the kernel's and of ours: small machines have fewer places.
 */
#define RESERVED_PROCESSES 10
#define PROCESS_BYTES      (256ul << 10)

struct link processes = {&processes, &processes};
unsigned nr_processes;

static struct pool pool = POOL_OF(struct process);
static struct process *by_pid[PID_MAX + 1];
static uint16_t id_uses[PID_MAX + 1];

/* --- numbers --------------------------------------------------------------------------------------------------- */

void pid_use(int id)
{
	id_uses[id]++;
}

void pid_release(int id)
{
	id_uses[id]--;
}

int pid_alloc(void)
{
	static int last = FIRST_PID - 1;

	for (int tries = 0; tries < PID_MAX; tries++) {
		last = last < PID_MAX ? last + 1 : FIRST_PID;
		if (!id_uses[last]) {
			id_uses[last] = 1;
			return last;
		}
	}
	return -EAGAIN;
}

struct process *process_find(int pid)
{
	return pid > 0 && pid <= PID_MAX ? by_pid[pid] : NULL;
}

bool group_exists(int pgrp, int session)
{
	list_each(l, &processes)
	{
		struct process *p = container_of(l, struct process, all);

		if (p->pgrp == pgrp && p->session == session)
			return true;
	}
	return false;
}

/* --- beginning ------------------------------------------------------------------------------------------------- */

static unsigned process_limit(void)
{
	static unsigned limit;
	struct machine_memory m;

	if (limit)
		return limit;
	limit = MAX_PROCESSES;
	if (machine_info(SLOT_MACHINE, MACHINE_MEMORY, &m, sizeof(m)) >= 8 &&
		m.total / PROCESS_BYTES < limit)
		limit = m.total / PROCESS_BYTES;
	return limit;
}

bool process_may_fork(const struct process *p)
{
	unsigned limit = process_limit();

	if (p && p->pid != job_session())
		limit -= RESERVED_PROCESSES;
	return nr_processes < limit && (!p || nr_processes < p->limits[RLIMIT_NPROC].rlim_cur);
}

/* Forked processes have one text: its count stands before it. */
struct path {
	unsigned refs;
	char text[];
};

static void path_share(struct process *p, const struct process *from)
{
	p->path = from->path;
	if (p->path)
		container_of(p->path, struct path, text)->refs++;
}

void process_set_path(struct process *p, const char *text)
{
	struct path *old = p->path ? container_of(p->path, struct path, text) : NULL;
	struct path *new = text ? malloc(sizeof(*new) + strlen(text) + 1) : NULL;

	if (old && !--old->refs)
		free(old);
	p->path = NULL;
	if (!new)
		return;
	new->refs = 1;
	p->path = strcpy(new->text, text);
}

static void inherit(struct process *p, const struct process *parent)
{
	memcpy(p->name, parent->name, sizeof(p->name));
	memcpy(p->limits, parent->limits, sizeof(*p) - offsetof(struct process, limits));
	p->nice = parent->nice;
	p->personality = parent->personality;
	path_share(p, parent);
	p->exe = parent->exe;
	if (p->exe)
		file_hold(p->exe);
}

static void begin_alone(struct process *p)
{
	memset(p->actions, 0, sizeof(p->actions));
	for (int i = 0; i < NR_LIMITS; i++)
		p->limits[i] = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
	p->limits[RLIMIT_STACK].rlim_cur = 8ul << 20;
	p->limits[RLIMIT_CORE].rlim_cur = 0;
	p->limits[RLIMIT_NOFILE] = (struct rlimit){1024, 4096};
	p->limits[RLIMIT_SIGPENDING] = (struct rlimit){1024, 1024};
	p->limits[RLIMIT_NPROC] = (struct rlimit){MAX_PROCESSES, MAX_PROCESSES};
	p->limits[RLIMIT_MEMLOCK].rlim_cur = p->limits[RLIMIT_MEMLOCK].rlim_max = 8ul << 20;
	p->limits[RLIMIT_NICE] = p->limits[RLIMIT_RTPRIO] = (struct rlimit){0, 0};
}

struct process *process_alloc(struct process *parent)
{
	struct process *p = pool_alloc(&pool);
	int pid = p ? pid_alloc() : -EAGAIN;

	if (pid < 0) {
		pool_free(&pool, p);
		return NULL;
	}
	memset(p, 0, offsetof(struct process, limits));
	p->pid = pid;
	p->pgrp = parent ? parent->pgrp : pid;
	p->session = parent ? parent->session : pid;
	pid_use(p->pgrp);
	pid_use(p->session);
	list_init(&p->children);
	list_init(&p->sibling);
	list_init(&p->threads);
	wait_list_init(&p->child_changed);
	wait_list_init(&p->signal_wait);
	wait_list_init(&p->threads_changed);
	list_init(&p->alarm.link);
	p->started_ns = time_now();
	if (parent)
		inherit(p, parent);
	else
		begin_alone(p);
	by_pid[pid] = p;
	list_append(&processes, &p->all);
	nr_processes++;
	return p;
}

/* What a zombie does not need. */
static void release_holdings(struct process *p)
{
	files_release(p);
	signal_queue_drop(&p->signals, ~0ull);
	timer_set(&p->alarm, 0);
	if (p->exe)
		file_put(p->exe);
	p->exe = NULL;
	if (p->task)
		handle_close(p->task);
	p->task = 0;
}

void process_free(struct process *p)
{
	release_holdings(p);
	list_remove(&p->sibling);
	list_remove(&p->all);
	by_pid[p->pid] = NULL;
	pid_release(p->pid);
	pid_release(p->pgrp);
	pid_release(p->session);
	nr_processes--;
	process_set_path(p, NULL);
	pool_free(&pool, p);
}

void process_discard(struct process *p)
{
	if (p->task)
		task_kill(p->task, SIGKILL);
	list_each_safe(l, &p->threads) thread_free(container_of(l, struct thread, in_process));
	process_free(p);
}

void process_label(struct process *p, uint32_t mask)
{
	struct task_label label = {
		.pid = (uint32_t)p->pid,
		.ppid = p->parent ? (uint32_t)p->parent->pid : 1,
		.pgrp = (uint32_t)p->pgrp,
		.session = (uint32_t)p->session,
	};

	memcpy(label.name, p->name, sizeof(label.name));
	if (p->task)
		task_label(p->task, &label, mask);
}

void process_set_group(struct process *p, int pgrp, int session)
{
	pid_use(pgrp);
	pid_use(session);
	pid_release(p->pgrp);
	pid_release(p->session);
	p->pgrp = pgrp;
	p->session = session;
	process_label(p, LABEL_PIDS);
}

/* --- stopped and continued ------------------------------------------------------------------------------------- */

/* The threads stop where they are next about to go back to their program. */
void process_stop(struct process *p, int sig)
{
	p->stopped = true;
	p->stop_signal = sig;
	p->stop_reported = p->continued = false;
	list_each(l, &p->threads) thread_notice(container_of(l, struct thread, in_process));
	signal_parent(p, CLD_STOPPED, sig);
}

void process_continue(struct process *p)
{
	if (!p->stopped)
		return;
	p->stopped = false;
	p->continued = true;
	list_each_safe(l, &p->threads)
	{
		struct thread *t = container_of(l, struct thread, in_process);

		if (t->state == THREAD_HELD)
			thread_return(t, t->held);
	}
	signal_parent(p, CLD_CONTINUED, SIGCONT);
}

/* --- the end ----------------------------------------------------------------------------------------------------- */

/* What its threads waited for does not matter any more. */
void process_mark_ending(struct process *p, int status)
{
	p->ending = true;
	p->status = status;
	list_each(l, &p->threads)
	{
		struct thread *t = container_of(l, struct thread, in_process);

		call_forget(&t->call);
		t->state = THREAD_ENDING;
		t->attention = true;
	}
}

void process_kill(struct process *p, int status)
{
	if (p->ending || p->state != PROCESS_LIVES)
		return;
	process_mark_ending(p, status);
	task_kill(p->task, status);
}

void vfork_release(struct process *child)
{
	struct thread *t = child->vfork_parent;

	if (!t)
		return;
	child->vfork_parent = NULL;
	t->vfork_child = NULL;
	wait_list_wake(&t->process->threads_changed);
}

/* Orphans have no parent: those that have ended already are freed, the others will be. */
static void leave_children(struct process *p)
{
	list_each_safe(l, &p->children)
	{
		struct process *child = container_of(l, struct process, sibling);

		list_remove(&child->sibling);
		child->parent = NULL;
		if (child->state == PROCESS_ZOMBIE)
			process_free(child);
		else
			process_label(child, LABEL_PIDS);
	}
}

static bool somebody_will_wait(const struct process *p)
{
	const struct signal_action *a;

	if (!p->parent || p->parent->ending)
		return false;
	a = &p->parent->actions[SIGCHLD];
	return p->exit_signal != SIGCHLD ||
	       (a->handler != (uint64_t)SIG_IGN && !(a->flags & SA_NOCLDWAIT));
}

void process_ended(struct process *p, int status)
{
	int sig = status & 0x7f;

	p->ending = true;
	p->status = status;
	p->stopped = p->continued = false;
	job_process_ending(p);
	release_holdings(p);
	vfork_release(p);
	leave_children(p);
	boot_process_ended(p, status);
	p->state = PROCESS_ZOMBIE;
	signal_parent(p, sig ? CLD_KILLED : CLD_EXITED, sig ? sig : status >> 8 & 0xff);
	if (!somebody_will_wait(p))
		process_free(p);
}

void process_reap(struct process *p)
{
	struct task_info *sum = &p->parent->children_usage;

	sum->minflt += p->usage.minflt;
	sum->majflt += p->usage.majflt;
	sum->runtime_ns += p->usage.runtime_ns;
	if (p->usage.peak_rss_pages > sum->peak_rss_pages)
		sum->peak_rss_pages = p->usage.peak_rss_pages;
	process_free(p);
}

/* The status of the whole process is that of exit_group, not of the thread that ends last. */
long sys_exit_group(struct call *c)
{
	process_kill(c->thread->process, ((int)c->arg[0] & 0xff) << 8);
	return CALL_GONE;
}

/* --- who is who ---------------------------------------------------------------------------------------------------- */

long sys_getpid(struct call *c)
{
	return c->thread->process->pid;
}

long sys_getpgrp(struct call *c)
{
	return c->thread->process->pgrp;
}

static struct process *named_or_self(struct call *c, int pid)
{
	return pid ? process_find(pid) : c->thread->process;
}

long sys_getpgid(struct call *c)
{
	struct process *p = named_or_self(c, (int)c->arg[0]);

	return p ? p->pgrp : -ESRCH;
}

long sys_getsid(struct call *c)
{
	struct process *p = named_or_self(c, (int)c->arg[0]);

	return p ? p->session : -ESRCH;
}

long sys_setsid(struct call *c)
{
	struct process *p = c->thread->process;

	list_each(l,
		&processes) if (container_of(l, struct process, all)->pgrp == p->pid) return -EPERM;
	process_set_group(p, p->pid, p->pid);
	return p->pid;
}

long sys_setpgid(struct call *c)
{
	struct process *self = c->thread->process, *p = named_or_self(c, (int)c->arg[0]);
	int pgrp = (int)c->arg[1];

	if (pgrp < 0)
		return -EINVAL;
	if (!p || (p != self && p->parent != self))
		return -ESRCH;
	pgrp = pgrp ? pgrp : p->pid;
	if (p->session == p->pid || p->session != self->session)
		return -EPERM;
	if (p != self && p->has_execed)
		return -EACCES;
	if (pgrp != p->pid && !group_exists(pgrp, self->session))
		return -EPERM;
	if (pgrp != p->pgrp)
		process_set_group(p, pgrp, p->session);
	return 0;
}
