/*
 * clone.c - new processes and threads from old ones                                             ring 3
 *
 * IDEA   what                 task                        thread
 *        fork                 new, space copied           registers and FPU copied, call returns 0
 *        vfork, posix_spawn   new, space shared           the same; the parent's call waits until the child execs or ends
 *        pthread_create       the caller's own            the same, other stack and thread-local storage
 *
 *   All forms are one function with Linux's flags. clone3 is -ENOSYS: libraries fall back to clone.
 *
 * WEAKER  CLONE_SIGHAND without CLONE_THREAD copies the handlers instead of sharing them; namespaces (CLONE_NEW*) are -EPERM
 *         but for those libraries never ask.
 * LINUX   kernel/fork.c: kernel_clone, copy_process
 */
#define _GNU_SOURCE
#include "calls.h"
#include "core.h"

#include <sched.h>

#define CLONE_SIGNAL 0xffu
#define CLONE_NEW_NAMESPACES                                                                       \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |             \
		CLONE_NEWPID | CLONE_NEWNET)

struct clone {
	uint64_t flags;
	uint64_t stack, parent_tid, child_tid, tls;
};

static long check_flags(uint64_t flags)
{
	if ((flags & CLONE_THREAD) && !(flags & CLONE_SIGHAND))
		return -EINVAL;
	if ((flags & CLONE_SIGHAND) && !(flags & CLONE_VM))
		return -EINVAL;
	if ((flags & CLONE_FS) && (flags & CLONE_NEWNS))
		return -EINVAL;
	return flags & CLONE_NEW_NAMESPACES ? -EPERM : 0;
}

/* A thread with a copy of the caller's registers; it runs at once. -> its handle, -errno */
static long start_thread(struct thread *t, struct thread *source, const struct clone *clone)
{
	struct thread_start start = {
		.cookie = t->cookie,
		.tid = (uint32_t)t->tid,
		.source = source->handle,
		.rsp = clone->stack,
		.fs_base = clone->tls,
		.clear_child_tid = clone->flags & CLONE_CHILD_CLEARTID ? clone->child_tid : 0,
		.flags = START_RUN | (clone->flags & CLONE_SETTLS ? START_TLS : 0),
	};

	return thread_create(t->process->task, &start);
}

/* --- a thread ------------------------------------------------------------------------------------------------ */

static long clone_thread(struct call *c, const struct clone *clone)
{
	struct thread *self = c->thread, *t = thread_alloc(self->process);
	int tid = t ? pid_alloc() : -EAGAIN;
	long error = tid < 0 ? tid : 0;

	if (error)
		goto fail;
	thread_set_tid(t, tid);
	t->blocked = self->blocked;
	/* Before it runs: it may look at its own number at once. */
	if (clone->flags & CLONE_PARENT_SETTID)
		error = copy_out(c, clone->parent_tid, &tid, sizeof(tid));
	if (!error && (clone->flags & CLONE_CHILD_SETTID))
		error = copy_out(c, clone->child_tid, &tid, sizeof(tid));
	if (error)
		goto fail;
	error = start_thread(t, self, clone);
	if (error < 0)
		goto fail;
	t->handle = (uint32_t)error;
	return tid;
fail:
	if (t)
		thread_free(t);
	return error == -EMFILE ? -EAGAIN : error;
}

/* --- a process ------------------------------------------------------------------------------------------------- */

/* Its task, with the handle every program may have: the monitor's commands. */
static int create_task(struct process *p, const struct process *parent, bool share)
{
	long h = task_create(
		SLOT_MACHINE, share ? TASK_SHARE : TASK_CLONE, parent->task, SLOT_SERVICE);

	if (h < 0)
		return h == -EMFILE ? -EAGAIN : (int)h;
	p->task = (uint32_t)h;
	return (int)handle_grant(p->task, SLOT_MACHINE, RIGHT_DEBUG, HANDLE_MACHINE);
}

/*
 * Its number where the flags want it. The caller's page was looked at before (prepare_tids), so the child's copy of it is there:
 * what fails now fails for good and hurts only the child.
 */
static void write_tids(struct process *child, const struct clone *clone)
{
	if (clone->flags & CLONE_CHILD_SETTID)
		task_write(child->task, clone->child_tid, &child->pid, sizeof(child->pid));
}

static long prepare_tids(struct call *c, const struct clone *clone)
{
	int unused;
	long error = 0;

	if (clone->flags & CLONE_PARENT_SETTID) {
		error = copy_in(c, &unused, clone->parent_tid, sizeof(unused));
		if (!error)
			error = copy_out(c, clone->parent_tid, &unused, sizeof(unused));
	}
	if (!error && (clone->flags & CLONE_CHILD_SETTID)) {
		error = copy_in(c, &unused, clone->child_tid, sizeof(unused));
		error = error == CALL_FAULT_IN ? error : 0; /* Linux does not mind either */
	}
	return error;
}

static void adopt(struct process *child, struct process *self, const struct clone *clone)
{
	child->exit_signal = (int)(clone->flags & CLONE_SIGNAL);
	child->parent = clone->flags & CLONE_PARENT ? self->parent : self;
	if (child->parent)
		list_append(&child->parent->children, &child->sibling);
}

/*
 * There is no room. The answer takes its time: a fork bomb is then asleep for most of its life, and the CPUs are free for who
 * wants to stop it. There may be room by then.
 */
#define CROWDED_NS NS_PER_SEC

static long crowded(struct call *c)
{
	return c->timed_out ? -EAGAIN : call_wait_until(c, time_now() + CROWDED_NS);
}

static long clone_process(struct call *c, const struct clone *clone)
{
	struct thread *self = c->thread, *t = NULL;
	struct process *parent = self->process, *child;
	long error = prepare_tids(c, clone);

	if (error)
		return error;
	if (!process_may_fork(parent))
		return crowded(c);
	child = process_alloc(parent);
	if (!child)
		return -EAGAIN;
	error = create_task(child, parent, clone->flags & CLONE_VM);
	if (error < 0)
		goto fail;
	error = files_clone(child, parent, clone->flags & CLONE_FILES, clone->flags & CLONE_FS);
	if (error)
		goto fail;
	t = thread_alloc(child);
	error = -EAGAIN;
	if (!t)
		goto fail;
	pid_use(child->pid);
	thread_set_tid(t, child->pid);
	t->blocked = self->blocked;
	if (!(clone->flags & CLONE_VM) || (clone->flags & CLONE_VFORK))
		t->alt_stack = self->alt_stack;
	adopt(child, parent, clone);
	process_label(child, LABEL_NAME | LABEL_PIDS);
	write_tids(child, clone);
	if (clone->flags & CLONE_PARENT_SETTID)
		task_write(parent->task, clone->parent_tid, &child->pid, sizeof(child->pid));
	error = start_thread(t, self, clone);
	if (error < 0)
		goto fail;
	t->handle = (uint32_t)error;
	if (clone->flags & CLONE_VFORK) {
		child->vfork_parent = self;
		self->vfork_child = child;
	}
	return child->pid;
fail:
	process_discard(child);
	return error == -EMFILE ? -EAGAIN : error;
}

/* --- the calls --------------------------------------------------------------------------------------------------- */

/* state[0]: the child a vfork waits for. It is over when vfork_release() has cleared vfork_child. */
static long do_clone(struct call *c, const struct clone *clone)
{
	struct thread *self = c->thread;
	long result;

	if (c->state[0]) {
		if (self->vfork_child)
			return call_wait(c, &self->process->threads_changed);
		return (long)c->state[0];
	}
	/* Signals first: who comes after Ctrl-C or Ctrl-Z was typed would not get it. Linux: -ERESTARTNOINTR */
	c->no_eintr = true;
	if (self->attention)
		return CALL_RESTART;
	result = check_flags(clone->flags);
	if (result)
		return result;
	result = clone->flags & CLONE_THREAD ? clone_thread(c, clone) : clone_process(c, clone);
	if (result <= 0 || !(clone->flags & CLONE_VFORK) || (clone->flags & CLONE_THREAD))
		return result;
	c->state[0] = (uint64_t)result;
	return call_wait(c, &self->process->threads_changed);
}

long sys_fork(struct call *c)
{
	const struct clone clone = {.flags = SIGCHLD};

	return do_clone(c, &clone);
}

long sys_vfork(struct call *c)
{
	const struct clone clone = {.flags = CLONE_VM | CLONE_VFORK | SIGCHLD};

	return do_clone(c, &clone);
}

long sys_clone(struct call *c)
{
	const struct clone clone = {
		.flags = (uint32_t)c->arg[0],
		.stack = c->arg[1],
		.parent_tid = c->arg[2],
		.child_tid = c->arg[3],
		.tls = c->arg[4],
	};

	return do_clone(c, &clone);
}
