/*
 * thread.c - the memory of a thread: its struct, its stack, its FPU area     floor 4, below: mm/vmap.c
 *
 * Makes and frees them, and keeps the list of all. Who runs is sched.c's. The stack and the FPU area go when
 * the thread ends; the struct is an object and stays while somebody holds it: a handle, or a message that
 * tells of its end.
 *
 * IDEA
 *   stack_bottom - 1 page    stack_bottom                                       thread_stack_top
 *        | guard, unmapped   | ......... free ......... <- rsp | struct regs |
 *                                                                of ring 3: every entry saves them there
 *
 * INVARIANTS
 *   K1  a thread is on the list from thread_alloc() to thread_free_stack()
 *   K2  an FPU area is 64-byte aligned (XSAVE) and belongs to threads of a task only
 *
 * LOCKS     threads_lock around the list.
 * LINUX     kernel/fork.c; stacks are cached per CPU there.
 */
#include "thread.h"

#include "lib/string.h"
#include "mm/kmalloc.h"
#include "mm/vmap.h"
#include "x86/fpu.h"
#include "x86/switch.h"

#define KERNEL_TID_BASE 100000 /* kernel threads are numbered from here: pids end below */

static struct spinlock threads_lock = SPINLOCK_INIT(LOCK_TASKS, "threads");
static struct list threads = LIST_INIT(threads);
static u32 next_kernel_tid = KERNEL_TID_BASE;
static struct kmem_cache thread_cache, fpu_cache;

static void thread_release(struct object *o)
{
	thread_free(container_of(o, struct thread, object));
}

static const struct object_ops thread_ops = {.name = "thread", .release = thread_release};

/* thread_init - the caches; kmalloc works. */
void thread_init(void)
{
	kmem_cache_init(&thread_cache, "thread", sizeof(struct thread));
	kmem_cache_init(&fpu_cache, "fpu", fpu_state_size() + FPU_ALIGN); /* a cache aligns to 8 */
}

/* thread_init_idle - the running code becomes a thread, on the stack it has. */
void thread_init_idle(struct thread *t, u32 cpu)
{
	t->state = THREAD_RUNNING;
	t->cpu = cpu;
	t->pinned = true;
	t->allowed = 1ul << cpu;
	list_init(&t->run_link);
	strscpy(t->name, "idle", sizeof(t->name));
	spin_lock(&threads_lock);
	list_add_tail(&t->all_link, &threads);
	spin_unlock(&threads_lock);
}

/* The first 64-byte boundary inside an object of fpu_cache, with room for a pointer back below it. */
static void *fpu_area_alloc(void)
{
	u8 *object = kmem_cache_alloc(&fpu_cache);
	void **area;

	if (!object)
		return NULL;
	area = (void **)(((u64)object + FPU_ALIGN) & ~((u64)FPU_ALIGN - 1));
	area[-1] = object; /* objects are 8-byte aligned, so at least 8 bytes lie below */
	return area;
}

static void fpu_area_free(void *area)
{
	if (area)
		kmem_cache_free(&fpu_cache, ((void **)area)[-1]);
}

/*
 * thread_alloc - a thread in state NEW.
 *
 *   after    first(t) runs on a stack whose top is kept free for the registers of ring 3; one reference,
 *            the thread's own: it is given up when its stack is gone
 *   returns  NULL: no memory
 *   Linux    dup_task_struct, copy_thread
 */
struct thread *thread_alloc(const char *name, void (*entry)(void *), void *arg, struct task *task,
	struct mm *mm, void (*first)(void *))
{
	struct thread *t = kmem_cache_zalloc(&thread_cache);

	if (!t)
		return NULL;
	t->stack_bottom = vmap_alloc_stack(KSTACK_PAGES);
	if (!t->stack_bottom)
		goto no_stack;
	if (task) {
		t->fpu = fpu_area_alloc();
		if (!t->fpu)
			goto no_fpu;
		fpu_init_area(t->fpu);
	}
	strscpy(t->name, name, sizeof(t->name));
	object_init(&t->object, OBJECT_THREAD, &thread_ops);
	t->state = THREAD_NEW;
	t->task = task;
	t->mm = mm;
	t->entry = entry;
	t->arg = arg;
	t->user_regs = user_regs_at(thread_stack_top(t));
	t->rsp = thread_stack_init((vaddr_t)t->user_regs, first, t);
	t->locks.held[LOCK_RUNQ] = 1; /* which first() releases */
	list_init(&t->run_link);
	spin_lock(&threads_lock);
	if (!task)
		t->tid = next_kernel_tid++;
	list_add_tail(&t->all_link, &threads);
	spin_unlock(&threads_lock);
	return t;

no_fpu:
	vmap_free_stack(t->stack_bottom, KSTACK_PAGES);
no_stack:
	kmem_cache_free(&thread_cache, t);
	return NULL;
}

/* thread_free_stack - off the list; the stack and the FPU area go. It never ran, or never will again. */
void thread_free_stack(struct thread *t)
{
	spin_lock(&threads_lock);
	list_del(&t->all_link);
	spin_unlock(&threads_lock);
	vmap_free_stack(t->stack_bottom, KSTACK_PAGES);
	fpu_area_free(t->fpu);
	t->fpu = NULL;
	t->user_regs = NULL;
}

/* thread_free - the struct. */
void thread_free(struct thread *t)
{
	kmem_cache_free(&thread_cache, t);
}

/* For the lock's holder. */
static void for_each_locked(bool (*fn)(struct thread *t, void *ctx), void *ctx)
{
	struct thread *t;

	list_for_each_entry (t, &threads, all_link) {
		if (!fn(t, ctx))
			break;
	}
}

/* thread_for_each - under the list's lock: fn neither sleeps nor creates threads. */
void thread_for_each(bool (*fn)(struct thread *t, void *ctx), void *ctx)
{
	spin_lock(&threads_lock);
	for_each_locked(fn, ctx);
	spin_unlock(&threads_lock);
}

/* thread_try_for_each - the same in an interrupt, unless somebody has the lock: then false, and nothing was done. */
bool thread_try_for_each(bool (*fn)(struct thread *t, void *ctx), void *ctx)
{
	if (!spin_trylock(&threads_lock))
		return false;
	for_each_locked(fn, ctx);
	spin_unlock(&threads_lock);
	return true;
}
