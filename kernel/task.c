/*
 * task.c - an address space, its thread, its family                        floor 4, below: sched.c, mutex.c
 *
 * Numbers tasks, keeps who is whose child, turns an end into a status that somebody collects. It neither
 * builds nor empties an address space, and knows no files: mmap.c and linux_min.c leave a function here.
 *
 * IDEA
 *   task_create --task_start--> ALIVE --task_exit--> (its thread leaves) --> ZOMBIE --task_wait--> freed
 *                                 ^                                             |
 *                             task_kill                             no parent: freed at once
 *
 *   A task becomes a zombie when its thread's stack, its tables and its pages are back, not before: the
 *   parent that wait4() wakes finds every frame in place.
 *
 *   References: the table holds one from creation until the zombie is collected; task_find() and
 *   loader_start() give out others, which keep the struct, not the task, alive.
 *
 *   A task whose parent ends has no parent (NULL) from then on: nobody will wait for it.
 *
 * INVARIANTS (task_check() tests them)
 *   F1  every task in the table has another pid, 1 .. PID_MAX, and refs > 0
 *   F2  t is on t->parent's list of children, and on no other
 *   F3  a zombie has a parent, no thread and no space
 *
 * LOCKS     tasks_lock for the table and the family. Inside it: wait queues, run queues.
 * LINUX     kernel/{fork,exit,pid}.c; orphans go to pid 1 there, pids are a radix tree.
 */
#include "task.h"

#include "lib/string.h"
#include "mm/kmalloc.h"
#include "panic.h"
#include "printk.h"
#include <abi/errno.h>

#define PID_MAX 32767 /* Linux's kernel.pid_max - 1 */

static struct spinlock tasks_lock = SPINLOCK_INIT(LOCK_TASKS, "tasks");
static struct list tasks = LIST_INIT(tasks);
static u32 last_pid;
static struct kmem_cache task_cache;

static void nothing_to_release(struct task *t)
{
}

static void space_without_owner(struct mm *mm)
{
	panic("task", "space %u ends and mmap.c is not there", mm->id);
}

void (*task_release_mm)(struct mm *mm) = space_without_owner;
void (*task_release_personality)(struct task *t) = nothing_to_release;

__noreturn static void task_killed(void);

void task_init(void)
{
	kmem_cache_init(&task_cache, "task", sizeof(struct task));
	sched_killed = task_killed;
}

/* --- the table; tasks_lock held ----------------------------------------------------------------------- */

static struct task *find_locked(u32 pid)
{
	struct task *t;

	list_for_each_entry (t, &tasks, all_link) {
		if (t->pid == pid)
			return t;
	}
	return NULL;
}

/* The next free number, beginning anew at 1 behind PID_MAX; 0: all are in use. */
static u32 pid_choose(void)
{
	for (u32 tries = 0; tries < PID_MAX; tries++) {
		last_pid = last_pid % PID_MAX + 1;
		if (!find_locked(last_pid))
			return last_pid;
	}
	return 0;
}

/* Nobody collects this one (again): out of the table and the family. The table's reference is the caller's. */
static void forget_locked(struct task *t)
{
	list_del(&t->all_link);
	list_del(&t->sibling);
	t->parent = NULL;
}

void task_get(struct task *t)
{
	__atomic_add_fetch(&t->refs, 1, __ATOMIC_RELAXED);
}

/* task_put - drop a reference; the last one frees the struct. tasks_lock not held. */
void task_put(struct task *t)
{
	if (__atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL))
		return;
	ASSERT(!t->thread && !t->mm && list_empty(&t->children));
	kmem_cache_free(&task_cache, t);
}

/* --- birth -------------------------------------------------------------------------------------------- */

static void thread_gone(struct thread *last);

/* Into the table and the family, with a number. False: no number is free. */
static bool task_enter(struct task *t, struct task *parent)
{
	spin_lock(&tasks_lock);
	t->pid = t->thread->tid = pid_choose();
	if (t->pid) {
		list_add_tail(&t->all_link, &tasks);
		t->parent = parent;
		if (parent)
			list_add_tail(&t->sibling, &parent->children);
	}
	spin_unlock(&tasks_lock);
	return t->pid;
}

/*
 * task_create - a task with one thread that will run entry(arg); not started.
 *
 *   mm       its one `users` becomes the task's; on failure it stays the caller's
 *   returns  NULL: no memory, or no pid
 *   Linux    copy_process
 */
struct task *task_create(
	const char *name, struct mm *mm, struct task *parent, void (*entry)(void *), void *arg)
{
	struct task *t = kmem_cache_zalloc(&task_cache);

	if (!t)
		return NULL;
	strscpy(t->name, name, sizeof(t->name));
	t->refs = 1;
	list_init(&t->children);
	list_init(&t->sibling);
	list_init(&t->all_link);
	waitq_init(&t->exited, "task exited");
	waitq_init(&t->child_exited, "child exited");
	t->thread = thread_create(name, entry, arg, t, mm);
	if (!t->thread)
		goto no_thread;
	t->thread->on_gone = thread_gone;
	t->mm = mm;
	if (!task_enter(t, parent))
		goto no_pid;
	return t;

no_pid:
	thread_discard(t->thread);
no_thread:
	kmem_cache_free(&task_cache, t);
	return NULL;
}

/* task_start - its thread becomes ready. */
void task_start(struct task *t)
{
	sched_start(t->thread);
}

/* The task's claim on its space ends; the last one empties it. */
static void space_release(struct mm *mm)
{
	if (mm_drop_user(mm)) {
		task_release_mm(mm);
		mm_put(mm);
	}
}

/* task_discard - undo task_create() before task_start(); the space is released as at exit. */
void task_discard(struct task *t)
{
	struct mm *mm = t->mm;

	spin_lock(&tasks_lock);
	forget_locked(t);
	spin_unlock(&tasks_lock);
	thread_discard(t->thread);
	t->thread = NULL;
	t->mm = NULL;
	task_release_personality(t);
	space_release(mm);
	task_put(t);
}

/* --- death -------------------------------------------------------------------------------------------- */

/* The children of one that ends: zombies are forgotten, the others go on without a parent. */
static void family_leave(struct task *t)
{
	struct task *child, *next;
	struct list zombies = LIST_INIT(zombies);

	spin_lock(&tasks_lock);
	list_for_each_entry_safe (child, next, &t->children, sibling) {
		list_del(&child->sibling);
		child->parent = NULL;
		if (child->state != TASK_ZOMBIE)
			continue;
		list_del(&child->all_link);
		list_add(&child->all_link, &zombies);
	}
	spin_unlock(&tasks_lock);
	list_for_each_entry_safe (child, next, &zombies, all_link) {
		list_del(&child->all_link);
		task_put(child);
	}
}

/* Leave the space: this CPU goes to the kernel's root first, so that no CPU is in it when it is emptied. */
static void space_leave(struct task *t)
{
	struct mm *mm = t->mm;
	u64 flags = irq_save();

	current_thread()->mm = NULL;
	mm_switch(NULL);
	irq_restore(flags);
	spin_lock(&tasks_lock);
	t->mm = NULL;     /* task_mm() gives it to nobody any more */
	t->thread = NULL; /* and nobody kills a thread that is about to be freed */
	spin_unlock(&tasks_lock);
	space_release(mm);
}

/*
 * task_exit - the calling task ends.
 *
 *   status   as wait4 reports it: code << 8, or the number of the signal
 *   locks    none held, interrupts on
 *   Linux    do_exit
 */
void task_exit(int status)
{
	struct task *t = current_task();

	t->exit_status = status;
	task_release_personality(t);
	family_leave(t);
	space_leave(t);
	sched_exit();
}

static void task_killed(void)
{
	task_exit(current_task()->kill_status);
}

/*
 * The thread of a task is gone, and its stack with it; runs in the next thread. Now the task is a zombie,
 * or, without a parent, nothing: what is left is the status for whoever holds a reference.
 */
static void thread_gone(struct thread *last)
{
	struct task *t = last->task;
	bool orphan;

	spin_lock(&tasks_lock);
	t->runtime_ns = last->runtime_ns;
	t->state = TASK_ZOMBIE;
	orphan = !t->parent;
	if (orphan)
		forget_locked(t);
	else
		waitq_wake_all(&t->parent->child_exited);
	waitq_wake_all(&t->exited);
	spin_unlock(&tasks_lock);
	if (orphan)
		task_put(t);
}

/*
 * task_kill - t ends at its next return to ring 3, or at the end of a killable sleep.
 *
 *   locks    none of LOCK_TASKS held; the caller has a reference
 *   status   as wait4 will report it; a task that is ending already keeps its own
 *   returns  false: it was ending already
 */
bool task_kill(struct task *t, int status)
{
	bool first;

	spin_lock(&tasks_lock);
	first = t->thread && !t->thread->kill_pending;
	if (first) {
		t->kill_status = status;
		thread_kill(t->thread);
	}
	spin_unlock(&tasks_lock);
	return first;
}

/* --- asking ------------------------------------------------------------------------------------------- */

struct task *task_find(u32 pid)
{
	struct task *t;

	spin_lock(&tasks_lock);
	t = find_locked(pid);
	if (t)
		task_get(t);
	spin_unlock(&tasks_lock);
	return t;
}

/* task_mm - the space of t, with a reference that keeps the struct; NULL: t has left it. Linux: get_task_mm */
struct mm *task_mm(struct task *t)
{
	struct mm *mm;

	spin_lock(&tasks_lock);
	mm = t->mm;
	if (mm)
		mm_get(mm);
	spin_unlock(&tasks_lock);
	return mm;
}

u32 task_parent_pid(struct task *t)
{
	u32 pid;

	spin_lock(&tasks_lock);
	pid = t->parent ? t->parent->pid : 0;
	spin_unlock(&tasks_lock);
	return pid;
}

/* task_for_each - under the table's lock: fn neither sleeps nor changes the table. */
void task_for_each(bool (*fn)(struct task *t, void *ctx), void *ctx)
{
	struct task *t;

	spin_lock(&tasks_lock);
	list_for_each_entry (t, &tasks, all_link) {
		if (!fn(t, ctx))
			break;
	}
	spin_unlock(&tasks_lock);
}

/* --- waiting ------------------------------------------------------------------------------------------ */

/*
 * Look for a child that ended. 1: *found is out of the table, its reference the caller's; 0: none has
 * ended yet; -ECHILD: there is no such child.
 */
static int collect(struct task *parent, int pid, struct task **found)
{
	struct task *child;
	int result = -ECHILD;

	spin_lock(&tasks_lock);
	list_for_each_entry (child, &parent->children, sibling) {
		if (pid > 0 && child->pid != (u32)pid)
			continue;
		result = 0;
		if (child->state != TASK_ZOMBIE)
			continue;
		forget_locked(child);
		parent->child_minflt += child->minflt + child->child_minflt;
		parent->child_majflt += child->majflt + child->child_majflt;
		*found = child;
		result = 1;
		break;
	}
	spin_unlock(&tasks_lock);
	return result;
}

/*
 * task_wait - wait until a child of the calling task has ended, and forget it.
 *
 *   pid          that child, or -1: any
 *   out_rusage   NULL, or where minflt, majflt and runtime_ns of the child go
 *   returns      its pid; 0: nohang and none has ended; -ECHILD; -EINTR: killed
 *   Linux        do_wait
 */
int task_wait(int pid, bool nohang, int *status, struct task *out_rusage)
{
	struct task *self = current_task(), *child = NULL;
	int found;

	waitq_wait(&self->child_exited,
		(found = collect(self, pid, &child)) != 0 || nohang || thread_killed(), "child");
	if (found < 0)
		return found;
	if (!found)
		return nohang ? 0 : -EINTR;
	*status = child->exit_status;
	if (out_rusage) {
		out_rusage->minflt = child->minflt + child->child_minflt;
		out_rusage->majflt = child->majflt + child->child_majflt;
		out_rusage->runtime_ns = child->runtime_ns;
	}
	found = child->pid;
	task_put(child);
	return found;
}

/* task_wait_console - wait for a task without a parent, give up our reference to it; its status. */
int task_wait_console(struct task *t)
{
	int status;

	waitq_wait(&t->exited, READ_ONCE(t->state) == TASK_ZOMBIE, "task");
	status = t->exit_status;
	task_put(t);
	return status;
}

/* --- the checker -------------------------------------------------------------------------------------- */

static bool on_list(const struct list *node, const struct list *head)
{
	for (const struct list *n = head->next; n != head; n = n->next) {
		if (n == node)
			return true;
	}
	return false;
}

static const char *broken_rule(const struct task *t)
{
	if (t->pid < 1 || t->pid > PID_MAX || find_locked(t->pid) != t || !t->refs)
		return "F1";
	if (t->parent ? !on_list(&t->sibling, &t->parent->children) : !list_empty(&t->sibling))
		return "F2";
	if (t->state == TASK_ZOMBIE && (!t->parent || t->thread || t->mm))
		return "F3";
	return NULL;
}

/* task_check - F1, F2, F3. Takes tasks_lock. */
bool task_check(void)
{
	struct task *t;
	bool ok = true;

	spin_lock(&tasks_lock);
	list_for_each_entry (t, &tasks, all_link) {
		const char *rule = broken_rule(t);

		if (!rule)
			continue;
		printk("task_check: %s: pid %u %s, state %u, parent %u, refs %u", rule, t->pid,
			t->name, t->state, t->parent ? t->parent->pid : 0, t->refs);
		ok = false;
	}
	spin_unlock(&tasks_lock);
	return ok;
}
