/*
 * task.c - an address space, its threads, its handles, its end        floor 4, below: sched.c, ipc.c, futex.c
 *
 * Says which tasks there are and who is in them, and turns the end of the last thread into the end of the
 * task. It neither builds nor empties an address space: mmap.c leaves a function here. What a personality
 * does to a thread that lives is control.c's.
 *
 * IDEA
 *   task_create_empty --task_add_thread--> ALIVE --thread_leave--> ... the last one leaves: ENDING
 *        |                                   |                           its handles, its space
 *        | nobody has a handle any more      | task_kill: every          and what it created go
 *        +--> ends without ever having       |  thread leaves                |
 *             had a thread                   +--------->---------------------+
 *                                                              the last stack is back: ENDED, MESSAGE_EXIT
 *
 *   Each thread tells its end when its memory is back, not before: the server that hears of the last one
 *   finds every frame in place. The message is the thread's own `exit_event`: nothing is allocated to die.
 *
 *   References: the table holds one from creation until the task has ended; each thread's struct holds one; handles
 *   do. They keep the struct, not the task, alive. Parents, children and zombies are a personality's.
 *
 *   CREATOR. A task remembers who created it. When that one ends, it is killed: whatever a server has made
 *   goes with it. No recursion: they end in their own threads; one that has no thread has created nothing.
 *
 * INVARIANTS (task_check() tests them)
 *   F1  every task in the table has a pid and references; two pids that the kernel chose differ
 *   F2  t is on t->creator's list of created ones, and on no other
 *   F3  no task in the table has ended; one whose last thread has left has no space
 *   F4  nr_threads is the length of the list of threads, each of them of this task; t->thread is the first;
 *       nr_stacks counts those and the ones that leave
 *
 * LOCKS     tasks_lock for all of it. Inside it: wait queues, run queues.
 * LINUX     kernel/{fork,exit,pid}.c, zap_other_threads(), mm_release().
 */
#include "task.h"

#include "futex.h"
#include "lib/string.h"
#include "mm/kmalloc.h"
#include "mm/uaccess.h"
#include "panic.h"
#include "printk.h"
#include "thread.h"
#include <abi/errno.h>

#define NATIVE_PIDS 100000 /* until a personality has labelled it, a task is numbered from here */
#define SIGKILL     9

static struct spinlock tasks_lock = SPINLOCK_INIT(LOCK_TASKS, "tasks");
static struct list tasks = LIST_INIT(tasks);
static u32 last_pid = NATIVE_PIDS;
static struct kmem_cache task_cache;

static void space_without_owner(struct mm *mm)
{
	panic("task", "space %u ends and mmap.c is not there", mm->id);
}

void (*task_release_mm)(struct mm *mm) = space_without_owner;

void task_init(void)
{
	kmem_cache_init(&task_cache, "task", sizeof(struct task));
}

void task_lock(void)
{
	spin_lock(&tasks_lock);
}

void task_unlock(void)
{
	spin_unlock(&tasks_lock);
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

/* --- as objects ---------------------------------------------------------------------------------------- */

static void task_end_unstarted(struct task *t);

/* The last reference went: the struct. */
static void task_release(struct object *o)
{
	struct task *t = container_of(o, struct task, object);

	ASSERT(list_empty(&t->threads) && !t->mm);
	ASSERT(list_empty(&t->created) && list_empty(&t->created_link));
	handle_table_release(&t->handles);
	if (t->personality)
		object_put(&t->personality->object);
	if (t->exit_to)
		object_put(&t->exit_to->object);
	kmem_cache_free(&task_cache, t);
}

static void task_opened(struct object *o, u32 rights)
{
	spin_lock(&tasks_lock);
	container_of(o, struct task, object)->nr_handles++;
	spin_unlock(&tasks_lock);
}

/* Nobody can give it a thread any more: without one, it ends. */
static void task_closed(struct object *o, u32 rights)
{
	struct task *t = container_of(o, struct task, object);
	bool unused;

	spin_lock(&tasks_lock);
	unused = --t->nr_handles == 0 && !t->nr_stacks && !t->ending;
	spin_unlock(&tasks_lock);
	if (unused)
		task_end_unstarted(t);
}

static const struct object_ops task_ops = {
	.name = "task", .release = task_release, .opened = task_opened, .closed = task_closed};

static void task_thread_release(struct object *o)
{
	struct thread *th = container_of(o, struct thread, object);
	struct task *t = th->task;

	thread_free(th);
	task_put(t);
}

static void task_thread_opened(struct object *o, u32 rights)
{
	spin_lock(&tasks_lock);
	container_of(o, struct thread, object)->nr_handles++;
	spin_unlock(&tasks_lock);
}

static void kill_locked(struct thread *th, int status);

/* Nobody can start it any more: it ends without having run in ring 3. */
static void task_thread_closed(struct object *o, u32 rights)
{
	struct thread *th = container_of(o, struct thread, object);

	spin_lock(&tasks_lock);
	if (--th->nr_handles == 0 && th->state == THREAD_NEW && !th->has_left)
		kill_locked(th, SIGKILL);
	spin_unlock(&tasks_lock);
}

static const struct object_ops task_thread_ops = {.name = "thread",
	.release = task_thread_release,
	.opened = task_thread_opened,
	.closed = task_thread_closed};

/* --- birth -------------------------------------------------------------------------------------------- */

static void thread_gone(struct thread *th);
static void exit_take(struct event *e, struct message *m);
static void exit_taken(struct event *e);

/* A struct with everything at its beginning; one reference. */
static struct task *task_alloc(const char *name, struct mm *mm)
{
	struct task *t = kmem_cache_zalloc(&task_cache);

	if (!t)
		return NULL;
	object_init(&t->object, OBJECT_TASK, &task_ops);
	strscpy(t->name, name, sizeof(t->name));
	handle_table_init(&t->handles);
	list_init(&t->threads);
	list_init(&t->created);
	list_init(&t->created_link);
	list_init(&t->all_link);
	waitq_init(&t->exited, "task exited");
	t->mm = mm;
	return t;
}

/* What a thread has to know of its task; it is not in it yet. */
static void thread_prepare(struct thread *th)
{
	task_get(th->task);
	th->object.ops = &task_thread_ops;
	th->on_gone = thread_gone;
	th->exit_event.take = exit_take;
	th->exit_event.taken = exit_taken;
	waitq_init(&th->stopped, "thread stopped");
}

/* Into the task; tasks_lock held. */
static void enter_locked(struct task *t, struct thread *th)
{
	list_add_tail(&th->task_link, &t->threads);
	t->nr_threads++;
	t->nr_stacks++;
	t->thread = list_first_entry(&t->threads, struct thread, task_link);
}

/* Off the list: nobody stops or kills it any more. tasks_lock held. */
static void leave_locked(struct task *t, struct thread *th)
{
	list_del(&th->task_link);
	th->has_left = true;
	t->nr_threads--;
	t->thread = list_first_entry_or_null(&t->threads, struct thread, task_link);
}

/*
 * task_make_thread - a thread for t, in state NEW, that t does not know yet: nobody can kill it, so nobody else is at
 * its registers while they are written. task_enter_thread() or thread_discard() follows.
 *
 *   returns  -ENOMEM; -ESRCH: the task is ending; 0: *out with its one reference
 *   Linux    copy_process(CLONE_THREAD)
 */
int task_make_thread(struct task *t, void (*entry)(void *), void *arg, struct thread **out)
{
	struct mm *mm = task_mm_user(t);

	if (!mm)
		return -ESRCH;
	*out = thread_create(t->name, entry, arg, t, mm);
	task_drop_mm(mm);
	if (!*out)
		return -ENOMEM;
	thread_prepare(*out);
	return 0;
}

/*
 * task_enter_thread - it is one of its task's: killed and counted with it.
 *
 *   returns  -ESRCH: the task is killed, ending or in another space by now, and th still outside; 0: with one more
 *            reference, the caller's
 */
int task_enter_thread(struct thread *th)
{
	struct task *t = th->task;
	int error = 0;

	spin_lock(&tasks_lock);
	if (t->killed || t->ending || t->mm != th->mm) {
		error = -ESRCH;
	} else {
		object_get(&th->object);
		enter_locked(t, th);
	}
	spin_unlock(&tasks_lock);
	return error;
}

/* task_add_thread - both; a reference for the caller. -ENOMEM, -ESRCH. */
int task_add_thread(struct task *t, void (*entry)(void *), void *arg, struct thread **out)
{
	int error = task_make_thread(t, entry, arg, out);

	if (error)
		return error;
	error = task_enter_thread(*out);
	if (error)
		thread_discard(*out);
	return error;
}

/*
 * task_remove_thread - undo task_enter_thread() and its reference, before anybody else knows the thread.
 *
 *   returns  false: it was killed with its task meanwhile, and ends by itself
 */
bool task_remove_thread(struct thread *th)
{
	struct task *t = th->task;
	bool mine;

	spin_lock(&tasks_lock);
	mine = th->state == THREAD_NEW && !th->kill_pending;
	if (mine) {
		leave_locked(t, th);
		t->nr_stacks--;
	}
	spin_unlock(&tasks_lock);
	if (mine)
		thread_discard(th);
	object_put(&th->object);
	return mine;
}

/* task_start_thread - NEW -> READY. -EINVAL: it runs already, or has ended. */
int task_start_thread(struct thread *th)
{
	int error = -EINVAL;

	spin_lock(&tasks_lock);
	if (th->state == THREAD_NEW && !th->has_left) {
		sched_start(th);
		error = 0;
	}
	spin_unlock(&tasks_lock);
	return error;
}

/*
 * task_create_empty - a task without a thread. It ends when it is killed, when its creator ends, when its last
 * thread leaves, or when nobody has a handle to give it one.
 *
 *   mm       its one `users` becomes the task's; on failure it stays the caller's
 *   returns  NULL: no memory; else with a reference for the caller beside the table's
 */
struct task *task_create_empty(
	struct mm *mm, struct task *creator, struct endpoint *personality, struct endpoint *exit_to)
{
	struct task *t = task_alloc(creator ? creator->name : "task", mm);

	if (!t)
		return NULL;
	t->essential = !personality;
	t->personality = personality;
	t->exit_to = exit_to;
	if (personality)
		object_get(&personality->object);
	if (exit_to)
		object_get(&exit_to->object);
	task_get(t);
	spin_lock(&tasks_lock);
	t->pid = ++last_pid;
	t->creator = creator;
	if (creator)
		list_add_tail(&t->created_link, &creator->created);
	list_add_tail(&t->all_link, &tasks);
	spin_unlock(&tasks_lock);
	return t;
}

/* task_drop_mm - a claim on a space ends; the last one empties it. Linux: mmput */
void task_drop_mm(struct mm *mm)
{
	if (mm_drop_user(mm)) {
		task_release_mm(mm);
		mm_put(mm);
	}
}

/* --- death -------------------------------------------------------------------------------------------- */

/* Whatever this one created goes with it, one after the other. */
static void created_leave(struct task *t)
{
	for (;;) {
		struct task *made;

		spin_lock(&tasks_lock);
		made = list_first_entry_or_null(&t->created, struct task, created_link);
		if (made) {
			list_del(&made->created_link);
			made->creator = NULL;
			task_get(made);
		}
		spin_unlock(&tasks_lock);
		if (!made)
			return;
		task_kill(made, SIGKILL);
		task_put(made);
		preempt_point();
	}
}

/*
 * What a task holds is given back, when nobody is in it any more: by its last thread, or, if it never had
 * one, by whoever ends it. Waiters for its answers hear it first.
 */
static void task_empty(struct task *t, struct mm *mm)
{
	ipc_server_gone(&t->handles);
	handle_table_release(&t->handles);
	created_leave(t);
	task_drop_mm(mm);
}

/* ENDING begins: the space is the caller's to give back. tasks_lock held. */
static struct mm *end_locked(struct task *t, int status)
{
	struct mm *mm = t->mm;

	t->ending = true;
	t->exit_status = t->killed ? t->kill_status : status;
	t->peak_rss = MAX(READ_ONCE(mm->peak_rss), mm_rss(mm));
	t->mm = NULL; /* task_mm() gives it to nobody any more */
	list_del(&t->created_link);
	t->creator = NULL;
	return mm;
}

/*
 * Everything is back: out of the table, whose reference is the caller's now. What is left is the status for whoever
 * holds another. Linux: release_task. tasks_lock held.
 */
static void end_finish_locked(struct task *t)
{
	t->state = TASK_ENDED;
	list_del(&t->all_link);
	waitq_wake_all(&t->exited);
}

/* A task that has no thread and gets none any more. */
static void task_end_unstarted(struct task *t)
{
	struct mm *mm = NULL;

	spin_lock(&tasks_lock);
	if (!t->nr_stacks && !t->ending)
		mm = end_locked(t, SIGKILL);
	spin_unlock(&tasks_lock);
	if (!mm)
		return;
	task_empty(t, mm);
	spin_lock(&tasks_lock);
	end_finish_locked(t);
	spin_unlock(&tasks_lock);
	task_put(t);
}

/* A thread library waits for its thread's end by this word: 0, and one waiter wakes. Linux: mm_release */
static void clear_child_tid(struct thread *th)
{
	vaddr_t addr = th->clear_child_tid;

	th->clear_child_tid = 0;
	if (!addr || (READ_ONCE(th->task->nr_threads) == 1 && READ_ONCE(th->mm->users) == 1))
		return;
	if (put_user_u32((u32 __user *)addr, 0) == 0)
		(void)futex_wake(th->mm, addr, 1, true);
}

/* Leave the space: this CPU goes to the kernel's root, so that no CPU is in it when it is emptied. */
static void space_leave(struct thread *th)
{
	u64 flags = irq_save();

	th->mm = NULL;
	mm_switch(NULL);
	irq_restore(flags);
}

/*
 * thread_leave - the calling thread ends; with the last one, its task.
 *
 *   status   as wait4 reports it: code << 8, or the number of the signal
 *   locks    none held, interrupts on
 *   Linux    do_exit
 */
void thread_leave(int status)
{
	struct thread *th = current_thread();
	struct task *t = th->task;
	struct mm *mm = NULL;

	clear_child_tid(th);
	space_leave(th);
	spin_lock(&tasks_lock);
	th->exit_status = t->killed ? t->kill_status : status;
	leave_locked(t, th);
	if (!t->nr_threads)
		mm = end_locked(t, status);
	waitq_wake_all(&th->stopped);
	spin_unlock(&tasks_lock);
	if (mm)
		task_empty(t, mm);
	sched_exit();
}

/*
 * task_exit - the calling task ends, all its threads.
 *
 *   status   as above; a task that was killed before keeps that one
 *   Linux    do_group_exit
 */
void task_exit(int status)
{
	task_kill(current_task(), status);
	thread_leave(status);
}

/* What MESSAGE_EXIT says. The thread is gone, so is the task's lock: these words do not change any more. */
static void exit_take(struct event *e, struct message *m)
{
	const struct thread *th = container_of(e, struct thread, exit_event);
	const struct task *t = th->task;

	*m = (struct message){.badge = th->cookie,
		.label = MESSAGE_EXIT,
		.word = {(u32)th->exit_status, th->last_of_task, READ_ONCE(t->minflt),
			READ_ONCE(t->majflt), READ_ONCE(t->runtime_ns), th->peak_rss}};
}

static void exit_taken(struct event *e)
{
	object_put(&container_of(e, struct thread, exit_event)->object);
}

/* A thread is gone, and its stack with it; runs in the next thread. With the last one the task has ended. */
static void thread_gone(struct thread *th)
{
	struct task *t = th->task;
	bool last;

	spin_lock(&tasks_lock);
	t->runtime_ns += th->runtime_ns;
	last = th->last_of_task = --t->nr_stacks == 0 && t->ending;
	th->peak_rss = t->mm ? MAX(READ_ONCE(t->mm->peak_rss), mm_rss(t->mm)) : t->peak_rss;
	if (last)
		end_finish_locked(t);
	spin_unlock(&tasks_lock);
	if (t->exit_to) {
		object_get(&th->object);
		if (!event_post(t->exit_to, &th->exit_event))
			object_put(&th->object);
	}
	if (last)
		task_put(t);
}

/* One thread: at its next return to ring 3, or at the end of a killable sleep. tasks_lock held. */
static void kill_locked(struct thread *th, int status)
{
	if (th->kill_pending)
		return;
	th->kill_status = status;
	thread_kill(th);
	if (th->state == THREAD_NEW)
		sched_start(th); /* to its end: sched_enter_user() looks first */
}

/* False: it was killed, or is ending. tasks_lock held. */
static bool task_kill_locked(struct task *t, int status)
{
	struct thread *th;

	if (t->killed || t->ending)
		return false;
	t->killed = true;
	t->kill_status = status;
	list_for_each_entry (th, &t->threads, task_link)
		kill_locked(th, status);
	return true;
}

struct task_death task_death;

bool task_dies_here(u32 call, bool after)
{
	struct task_death *d = &task_death;

	if (!READ_ONCE(d->left) || d->call != call || d->after != after ||
		strcmp(current_thread()->name, d->name) != 0)
		return false;
	if (__atomic_sub_fetch(&d->left, 1, __ATOMIC_RELAXED))
		return false;
	/* The line's time is where the tests begin to count: soon somebody else has to serve. */
	printk("inject: %s ends", d->name);
	return task_kill(current_task(), SIGKILL);
}

/*
 * task_kill - t ends: each thread at its next return to ring 3, or at the end of a killable sleep.
 *
 *   locks    none of LOCK_TASKS held; the caller has a reference
 *   status   as wait4 will report it; a task that is ending already keeps its own
 *   returns  false: it was ending already
 *   Linux    zap_other_threads
 */
bool task_kill(struct task *t, int status)
{
	bool first, unstarted;

	spin_lock(&tasks_lock);
	first = task_kill_locked(t, status);
	unstarted = first && !t->nr_stacks;
	spin_unlock(&tasks_lock);
	if (unstarted)
		task_end_unstarted(t);
	return first;
}

/* task_kill_thread - the same for one thread. False: it was killed, or has left. */
bool task_kill_thread(struct thread *th, int status)
{
	bool first;

	spin_lock(&tasks_lock);
	first = !th->has_left && !th->kill_pending;
	if (first)
		kill_locked(th, status);
	spin_unlock(&tasks_lock);
	return first;
}

/* task_kill_sharers - every other task that runs in the space of t: its memory is not back before they end. */
void task_kill_sharers(struct task *t, int status)
{
	struct task *other;

	spin_lock(&tasks_lock);
	list_for_each_entry (other, &tasks, all_link) {
		if (other != t && t->mm && other->mm == t->mm)
			(void)task_kill_locked(other, status);
	}
	spin_unlock(&tasks_lock);
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

/* task_mm_user - the same, with a claim that it is not emptied: task_drop_mm() ends it. Linux: mmget_not_zero */
struct mm *task_mm_user(struct task *t)
{
	struct mm *mm;

	spin_lock(&tasks_lock);
	mm = t->mm && mm_get_user(t->mm) ? t->mm : NULL;
	spin_unlock(&tasks_lock);
	return mm;
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

/* task_wait - wait for its end, give up our reference to it; its status. */
int task_wait(struct task *t)
{
	int status;

	waitq_wait(&t->exited, READ_ONCE(t->state) == TASK_ENDED, "task");
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

static u32 length(const struct list *head)
{
	u32 n = 0;

	for (const struct list *node = head->next; node != head; node = node->next)
		n++;
	return n;
}

/* How many tasks have this number by the kernel's choice? */
static u32 times_chosen(u32 pid)
{
	const struct task *t;
	u32 n = 0;

	list_for_each_entry (t, &tasks, all_link)
		n += !t->labelled && t->pid == pid;
	return n;
}

static bool threads_agree(const struct task *t)
{
	const struct thread *th;

	list_for_each_entry (th, &t->threads, task_link) {
		if (th->task != t || th->has_left)
			return false;
	}
	return t->nr_threads == length(&t->threads) && t->nr_stacks >= t->nr_threads &&
	       t->thread == list_first_entry_or_null(&t->threads, struct thread, task_link);
}

static const char *broken_rule(const struct task *t)
{
	if (!t->pid || !t->object.refs || (!t->labelled && times_chosen(t->pid) != 1))
		return "F1";
	if (t->creator ? !on_list(&t->created_link, &t->creator->created)
		       : !list_empty(&t->created_link))
		return "F2";
	if (t->state == TASK_ENDED || (t->ending && t->mm))
		return "F3";
	if (!threads_agree(t))
		return "F4";
	return NULL;
}

/* task_check - F1 to F4. Takes tasks_lock. */
bool task_check(void)
{
	struct task *t;
	bool ok = true;

	spin_lock(&tasks_lock);
	list_for_each_entry (t, &tasks, all_link) {
		const char *rule = broken_rule(t);

		if (!rule)
			continue;
		printk("task_check: %s: pid %u %s, state %u, refs %u", rule, t->pid, t->name,
			t->state, t->object.refs);
		ok = false;
	}
	spin_unlock(&tasks_lock);
	return ok;
}
