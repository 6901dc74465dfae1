/*
 * native_task.c - tasks and threads as a personality makes them        floor 7, below: mm/fork.c, control.c, task.c
 *
 * The verbs of include/abi/native.h on tasks, threads and futexes of other spaces: looks up handles, copies
 * structs from and to ring 3, checks what only the door can check, calls the verb that does the work.
 *
 * IDEA  fork, as the personality does it
 *   task_create(CLONE of the parent)  -> a copy-on-write copy of its space, no thread
 *   thread_create(source: the parent's thread, which sits in its call)  -> same registers, rax 0
 *   answer the parent's call with the child's pid
 *
 * LOCKS     none of its own. References on task and thread are held for the length of a call: they may end
 *           meanwhile, then the verb says -ESRCH.
 * LINUX     kernel/fork.c kernel_clone, fs/exec.c begin_new_exec, kernel/ptrace.c
 */
#include "native.h"

#include "control.h"
#include "futex.h"
#include "handle.h"
#include "lib/string.h"
#include "loader.h"
#include "mm/fork.h"
#include "mm/kmalloc.h"
#include "mm/mmap.h"
#include "mm/uaccess.h"
#include "mutex.h"
#include "sched.h"
#include "task.h"
#include "x86/fpu.h"
#include "x86/switch.h"
#include <abi/errno.h>
#include <abi/native.h>

#define RIGHTS_TASK   (RIGHT_READ | RIGHT_WRITE | RIGHT_MANAGE | RIGHT_DUPLICATE)
#define RIGHTS_THREAD (RIGHT_MANAGE | RIGHT_DUPLICATE)

static struct handle_table *own_handles(void)
{
	return &current_task()->handles;
}

/* The task behind a handle, with a reference; *error says why not. */
static struct task *get_task(u64 h, u32 rights, s64 *error)
{
	struct object *o;

	*error = handle_get(own_handles(), (u32)h, OBJECT_TASK, rights, &o, NULL);
	return *error ? NULL : container_of(o, struct task, object);
}

static struct thread *get_thread(u64 h, s64 *error)
{
	struct object *o;

	*error = handle_get(own_handles(), (u32)h, OBJECT_THREAD, RIGHT_MANAGE, &o, NULL);
	return *error ? NULL : container_of(o, struct thread, object);
}

/* --- tasks ------------------------------------------------------------------------------------------------ */

/* The space of a new task, with one `users` of it. */
static struct mm *space_for(u32 mode, struct task *source, s64 *error)
{
	struct mm *mm, *copy;

	*error = -ENOMEM;
	if (mode == TASK_NEW)
		return loader_make_space();
	mm = task_mm_user(source);
	if (!mm)
		*error = -ESRCH;
	if (!mm || mode == TASK_SHARE)
		return mm;
	copy = fork_mm(mm);
	task_drop_mm(mm);
	return copy;
}

/* The task, and a handle on it for the caller. */
static s64 create_with_handle(u32 mode, struct task *source, struct endpoint *ep)
{
	bool native = mode & TASK_NATIVE;
	struct task *t;
	s64 result;
	struct mm *mm = space_for(mode & ~TASK_NATIVE, source, &result);

	if (!mm)
		return result;
	t = task_create_empty(mm, current_task(), native ? NULL : ep, ep);
	if (!t) {
		task_drop_mm(mm);
		return -ENOMEM;
	}
	if ((mode & ~TASK_NATIVE) == TASK_CLONE)
		result = handle_table_inherit(&t->handles, &source->handles);
	else
		result = 0;
	if (!result)
		result = handle_install(own_handles(), &t->object, RIGHTS_TASK, 0, 0);
	if (result < 0)
		task_kill(t, 0); /* it has no thread: it ends here and now */
	task_put(t);
	return result;
}

s64 native_task_create(struct regs *r)
{
	u32 mode = (u32)r->rsi;
	struct object *machine = NULL, *ep = NULL;
	struct task *source = NULL;
	s64 result;

	if ((mode & ~TASK_NATIVE) > TASK_SHARE || (mode & ~TASK_NATIVE ? !r->rdx : r->rdx))
		return -EINVAL;
	result = handle_get(
		own_handles(), (u32)r->rdi, OBJECT_MACHINE, RIGHT_CREATE, &machine, NULL);
	if (!result && r->rdx)
		source = get_task(r->rdx, RIGHT_MANAGE, &result);
	if (!result && r->r10)
		result = handle_get(
			own_handles(), (u32)r->r10, OBJECT_ENDPOINT, RIGHT_RECEIVE, &ep, NULL);
	if (!result)
		result = create_with_handle(
			mode, source, ep ? container_of(ep, struct endpoint, object) : NULL);
	if (ep)
		object_put(ep);
	if (source)
		task_put(source);
	if (machine)
		object_put(machine);
	return result;
}

/* Killed by itself, the calling task ends on its way out. */
s64 native_task_kill(struct regs *r)
{
	s64 error;
	struct task *t = get_task(r->rdi, RIGHT_MANAGE, &error);

	if (!t)
		return error;
	(void)task_kill(t, (int)r->rsi);
	task_put(t);
	return 0;
}

static s64 label_layout(struct task *t, const struct task_label *label)
{
	struct mm *mm = task_mm_user(t);
	s64 error = 0;

	if (!mm)
		return -ESRCH;
	rwsem_write_lock(&mm->lock);
	if (mm->brk != mm->brk_start) {
		error = -EBUSY; /* the heap is in use */
	} else {
		mm->brk_start = mm->brk = label->brk_start;
		mm->arg_start = label->arg_start;
		mm->arg_end = label->arg_end;
		mmap_stack_done(mm);
	}
	rwsem_write_unlock(&mm->lock);
	task_drop_mm(mm);
	return error;
}

static s64 set_label(struct task *t, const struct task_label *label, u32 mask)
{
	s64 error = mask & LABEL_LAYOUT ? label_layout(t, label) : 0;

	if (error)
		return error;
	task_lock();
	if (mask & LABEL_NAME) {
		strscpy(t->name, label->name, sizeof(t->name));
		if (t->thread)
			strscpy(t->thread->name, label->name, sizeof(t->thread->name));
	}
	if (mask & LABEL_PIDS) {
		t->labelled = true;
		t->pid = label->pid;
		t->ppid = label->ppid;
		t->pgrp = label->pgrp;
		t->session = label->session;
	}
	task_unlock();
	return 0;
}

s64 native_task_label(struct regs *r)
{
	u32 mask = (u32)r->rdx;
	struct task_label label;
	struct task *t;
	s64 error;

	if (mask & ~(LABEL_NAME | LABEL_PIDS | LABEL_LAYOUT))
		return -EINVAL;
	if (copy_from_user(&label, (const void __user *)r->rsi, sizeof(label)))
		return -EFAULT;
	label.name[sizeof(label.name) - 1] = '\0';
	if (mask & LABEL_PIDS && !label.pid)
		return -EINVAL;
	if (mask & LABEL_LAYOUT && (label.brk_start >= USER_END || label.arg_end > USER_END ||
					   label.arg_start > label.arg_end))
		return -EINVAL;
	t = get_task(r->rdi, RIGHT_MANAGE, &error);
	if (!t)
		return error;
	error = set_label(t, &label, mask);
	task_put(t);
	return error;
}

/* What its threads that still run have used, on top of those that are gone. tasks_lock held. */
static u64 runtime_locked(const struct task *t)
{
	const struct thread *th;
	u64 sum = t->runtime_ns;

	list_for_each_entry (th, &t->threads, task_link)
		sum += READ_ONCE(th->runtime_ns);
	return sum;
}

static void fill_info(struct task *t, struct task_info *info)
{
	struct mm *mm;

	task_lock();
	mm = t->mm;
	*info = (struct task_info){.minflt = t->minflt,
		.majflt = t->majflt,
		.runtime_ns = runtime_locked(t),
		.peak_rss_pages = t->peak_rss,
		.nr_threads = t->nr_threads};
	if (mm) { /* under the tasks' lock it does not go away */
		info->vm_pages = READ_ONCE(mm->total_vm);
		info->rss_pages = mm_rss(mm);
		info->peak_rss_pages = MAX(READ_ONCE(mm->peak_rss), info->rss_pages);
		info->brk_start = READ_ONCE(mm->brk_start);
		info->brk = READ_ONCE(mm->brk);
		info->stack_top = mm->stack_top;
		info->mmap_base = mm->mmap_base;
	}
	task_unlock();
}

s64 native_task_info(struct regs *r)
{
	struct task_info info;
	s64 error;
	struct task *t = get_task(r->rdi, RIGHT_READ, &error);

	if (!t)
		return error;
	fill_info(t, &info);
	task_put(t);
	return copy_to_user((void __user *)r->rsi, &info, sizeof(info));
}

/* Linux: begin_new_exec, exec_mmap */
s64 native_mm_reset(struct regs *r)
{
	struct mm *mm, *old;
	s64 error;
	struct task *t = get_task(r->rdi, RIGHT_MANAGE, &error);

	if (!t)
		return error;
	mm = loader_make_space();
	error = mm ? control_swap_space(t, mm, &old) : -ENOMEM;
	if (!error) /* nobody runs in it yet; Linux: MMF_INIT_MASK */
		mm->thp_disable = old->thp_disable;
	if (mm)
		task_drop_mm(error ? mm : old);
	task_put(t);
	return error;
}

/* --- threads ----------------------------------------------------------------------------------------------- */

static void thread_entry(void *arg)
{
	sched_enter_user(current_thread()->user_regs);
}

static s64 start_is_valid(const struct thread_start *s)
{
	if (s->flags & ~(START_TLS | START_RUN) || s->reserved)
		return -EINVAL;
	if ((!s->source && s->rip >= USER_END) || (s->flags & START_TLS && s->fs_base >= USER_END))
		return -EINVAL;
	return 0;
}

/* The registers with which th begins. Its task does not know it yet: killed now, it would be started, and gone. */
static s64 thread_set_up(struct thread *th, struct thread *source, const struct thread_start *s)
{
	s64 error = 0;

	th->tid = s->tid ? s->tid : th->task->pid;
	th->cookie = s->cookie;
	th->clear_child_tid = s->clear_child_tid;
	if (source)
		error = control_copy(th, source);
	else
		user_regs_init(th->user_regs, s->rip, s->rsp);
	if (source && s->rsp)
		th->user_regs->rsp = s->rsp;
	if (s->flags & START_TLS)
		th->fs_base = s->fs_base;
	return error;
}

static s64 create_thread(struct task *t, struct thread *source, const struct thread_start *s)
{
	struct thread *th;
	s64 result = task_make_thread(t, thread_entry, NULL, &th);

	if (result)
		return result;
	result = thread_set_up(th, source, s) ?: task_enter_thread(th);
	if (result) {
		thread_discard(th);
		return result;
	}
	result = handle_install(own_handles(), &th->object, RIGHTS_THREAD, 0, 0);
	if (result < 0) {
		task_remove_thread(th);
		return result;
	}
	if (s->flags & START_RUN)
		(void)task_start_thread(th); /* killed meanwhile: it runs to its end */
	object_put(&th->object);
	return result;
}

s64 native_thread_create(struct regs *r)
{
	struct thread *source = NULL;
	struct thread_start s;
	struct task *t;
	s64 result;

	if (copy_from_user(&s, (const void __user *)r->rsi, sizeof(s)))
		return -EFAULT;
	result = start_is_valid(&s);
	if (result)
		return result;
	t = get_task(r->rdi, RIGHT_MANAGE, &result);
	if (t && s.source)
		source = get_thread(s.source, &result);
	if (!result)
		result = create_thread(t, source, &s);
	if (source)
		object_put(&source->object);
	if (t)
		task_put(t);
	return result;
}

/* The verbs whose one argument is a thread. */
static s64 on_thread(struct regs *r, int (*verb)(struct thread *th))
{
	s64 result;
	struct thread *th = get_thread(r->rdi, &result);

	if (!th)
		return result;
	result = verb(th);
	object_put(&th->object);
	return result;
}

s64 native_thread_resume(struct regs *r)
{
	return on_thread(r, control_resume);
}

s64 native_thread_suspend(struct regs *r)
{
	return on_thread(r, control_suspend);
}

s64 native_thread_interrupt(struct regs *r)
{
	return on_thread(r, control_interrupt);
}

s64 native_thread_kill(struct regs *r)
{
	s64 error;
	struct thread *th = get_thread(r->rdi, &error);

	if (!th)
		return error;
	(void)task_kill_thread(th, (int)r->rsi);
	object_put(&th->object);
	return 0;
}

s64 native_thread_get_regs(struct regs *r)
{
	struct thread_regs regs;
	s64 error;
	struct thread *th = get_thread(r->rdi, &error);

	if (!th)
		return error;
	error = control_get_regs(th, &regs);
	object_put(&th->object);
	return error ? error : copy_to_user((void __user *)r->rsi, &regs, sizeof(regs));
}

s64 native_thread_set_regs(struct regs *r)
{
	struct thread_regs regs;
	s64 error;
	struct thread *th;

	if (copy_from_user(&regs, (const void __user *)r->rsi, sizeof(regs)))
		return -EFAULT;
	th = get_thread(r->rdi, &error);
	if (!th)
		return error;
	error = control_set_regs(th, &regs);
	object_put(&th->object);
	return error;
}

/* The state goes through kernel memory: no page of ring 3 is touched while the thread is held. */
static s64 move_fpu(struct regs *r, bool set)
{
	usize size = fpu_state_size();
	struct thread *th;
	void *state;
	s64 error;

	if (!set && !r->rdx)
		return (s64)size;
	if (r->rdx < size || (set && r->rdx != size))
		return -EINVAL;
	th = get_thread(r->rdi, &error);
	if (!th)
		return error;
	state = kmalloc(size);
	error = state ? 0 : -ENOMEM;
	if (state && set)
		error = copy_from_user(state, (const void __user *)r->rsi, size);
	if (!error)
		error = set ? control_set_fpu(th, state) : control_get_fpu(th, state);
	if (!error && !set)
		error = copy_to_user((void __user *)r->rsi, state, size);
	kfree(state);
	object_put(&th->object);
	return error ? error : set ? 0 : (s64)size;
}

s64 native_thread_get_fpu(struct regs *r)
{
	return move_fpu(r, false);
}

s64 native_thread_set_fpu(struct regs *r)
{
	return move_fpu(r, true);
}

s64 native_thread_set_cpus(struct regs *r)
{
	s64 result;
	struct thread *th = get_thread(r->rdi, &result);

	if (!th)
		return result;
	if (r->rsi & sched_all_cpus())
		sched_set_allowed(th, r->rsi);
	else
		result = -EINVAL;
	object_put(&th->object);
	return result;
}

s64 native_thread_get_cpus(struct regs *r)
{
	s64 result;
	struct thread *th = get_thread(r->rdi, &result);

	if (!th)
		return result;
	result = (s64)sched_allowed(th);
	object_put(&th->object);
	return result;
}

/* --- futex --------------------------------------------------------------------------------------------------- */

s64 native_futex_wake_in(struct regs *r)
{
	s64 result;
	struct task *t = get_task(r->rdi, RIGHT_WRITE, &result);
	struct mm *mm;

	if (!t)
		return result;
	mm = task_mm_user(t);
	task_put(t);
	if (!mm)
		return -ESRCH;
	result = (s32)r->rdx < 0 ? -EINVAL : futex_wake(mm, r->rsi, (u32)r->rdx, true);
	task_drop_mm(mm);
	return result;
}
