/*
 * sched.c - who runs                                              floor 4, below: thread.c, runqueue.c
 *
 * Whose turn it is, switching, blocking, waking, handing over. It knows no task: what a killed thread does
 * is a function that control.c leaves here. Wait queues are waitq.c's; what others do to a thread, or to
 * all CPUs at once, is sched_stop.c's.
 *
 * IDEA
 *   run queue of CPU 0          run queue of CPU 1
 *     woken:   D                  woken:   (empty)           A thread takes its turn for SLICE_NS when
 *     ready:   C -> A             ready:   (empty)           somebody waits behind it, else for ever.
 *     current: B                  current: idle
 *
 *   The lock of a run queue is taken by the thread that leaves and released by the thread that comes:
 *   it is held across thread_switch(). So whoever sees a thread READY or BLOCKED under that lock knows
 *   that its registers are saved and its stack is quiet: it may run anywhere else at once.
 *
 *   On which CPU a thread waits for its turn is runqueue.c's choice.
 *
 * WHO IS NEXT
 *   Those who slept and were woken come before those who used up a slice, gave way or are new: the shell
 *   answers although hundreds compute. Both lists are first come, first served. When the woken have had a slice
 *   of time and somebody is ready, the first of the ready has his turn: so between two of their turns pass at
 *   most two slices (the last of the woken began just before), and between two of the woken at most one. Nobody
 *   starves: the k-th of the ready runs after 3k slices, the k-th of the woken after 2k. Who wakes and sleeps
 *   all the time gets half of a CPU at most, and whoever uses up his slice stands among the ready again.
 *
 * NO LOST WAKE-UP
 *   the sleeper                                  the waker
 *     S1  waitq_prepare: wake_pending = false,     W1  make the condition true
 *         enter the queue                          W2  waitq_wake: leave the queue on its behalf,
 *     S2  read the condition: true -> do not           sched_wake: BLOCKED -> READY, else
 *         sleep                                        wake_pending = true
 *     S3  sched_block: wake_pending -> return,
 *         else BLOCKED and switch away
 *   S1 and W2 both hold the lock of the wait queue. If W2 came first, W1 came before S1, and S2 sees the
 *   condition. Otherwise W2 finds the sleeper on the queue and calls sched_wake(). That and S3 both hold
 *   the run queue's lock: before S3 it leaves wake_pending, which S3 finds; after S3 it finds BLOCKED.
 *   Nobody but the sleeper clears wake_pending: in S1, before it looks, and in S3.
 *   A wake-up by time or by kill has no wait queue. It writes `expired` or `kill_pending` first (its W1)
 *   and then calls sched_wake(); S1 clears wake_pending by an exchange, a full barrier, and then reads
 *   them: if the exchange took that wake-up away, it was there before, and so was its W1.
 *   The price: sched_block() may return for a reason that is long gone. Every caller looks again.
 *   Models: tests/spin/waitq.pml for the sleeper and its wakers, wake.pml for the CPU that halts.
 *
 * HANDING OVER
 *   sched_handoff() is W2 for `next` and S3 for the current thread under one hold of this CPU's lock. A next
 *   of another CPU is taken from there first: BLOCKED -> READY under that CPU's lock, t->cpu is this one;
 *   until it runs it is on no queue, and a wake-up is kept in wake_pending. If it is not BLOCKED any more,
 *   it gets its wake-up as from sched_wake(). If the current thread finds wake_pending, it does not sleep,
 *   and next, which is awake already, joins this run queue. The donor's slice goes on: however long a chain
 *   of threads that hand over to each other, the READY ones of this CPU get their turn when it ends.
 *
 * BOUND TO CPUS
 *   A thread that is `pinned` runs in ring 3 only on the CPUs in `allowed`. Queues, wake-ups and hand-overs look for such a
 *   CPU from the start; but one that runs or is ready elsewhere when its mask changes is not hunted for: move_pending
 *   stops it on its way to ring 3, wherever that is, and it leaves by itself (sched_leave). It cannot stand on another
 *   queue before its registers are saved, so the thread that comes puts it there: `left`, as for the dead.
 *   Kernel threads are bound before they start, for good.
 *
 * INVARIANTS  S1 to S3 of runqueue.c
 *
 * LOCKS     runqueue.lock with interrupts off, never two of them.
 * LINUX     kernel/sched/core.c: try_to_wake_up(), __schedule(), finish_task_switch(); its classes,
 *           EEVDF and load tracking have no counterpart here.
 */
#include "sched.h"

#include "config.h"
#include "panic.h"
#include "seeded.h"
#include "runqueue.h"
#include "thread.h"
#include "trace.h"
#include "x86/fpu.h"
#include "x86/gdt.h"
#include "x86/smp.h"
#include "x86/switch.h"
#include "x86/timer.h"

#define SLICE_NS (10 * NS_PER_MS)

static struct thread idle_threads[MAX_CPUS];
bool (*sched_idle_work)(void);

u64 sched_stop_word;
void (*sched_stop_call)(void);

static void nobody_to_stop(void)
{
	panic("sched", "a thread was killed and there are no tasks");
}

void (*sched_pending)(void) = nobody_to_stop;

/* --- start-up ------------------------------------------------------------------------------------ */

/* The running code becomes this CPU's idle thread. */
static void runqueue_adopt(void)
{
	struct cpu *c = this_cpu();
	struct runqueue *rq = &runqueues[c->id];
	struct thread *idle = &idle_threads[c->id];

	idle->started_ns = time_ns();
	idle->locks = *c->lock_context;
	rq->idle = rq->current = idle;
	c->runqueue = rq;
	c->lock_context = &idle->locks;
	c->current = idle;
}

/*
 * sched_init - run queues for every CPU; the running code becomes the boot CPU's idle thread.
 *
 *   locks    interrupts off; kmalloc works
 */
void sched_init(void)
{
	timeout_init();
	thread_init();
	for (u32 i = 0; i < MAX_CPUS; i++) {
		spin_init(&runqueues[i].lock, LOCK_RUNQ, "run queue");
		list_init(&runqueues[i].woken);
		list_init(&runqueues[i].ready);
		runqueues[i].cpu = i;
	}
	thread_init_idle(&idle_threads[cpu_id()], cpu_id());
	runqueue_adopt();
}

/* sched_init_cpu - the same for another CPU, on itself, with interrupts off. */
void sched_init_cpu(void)
{
	thread_init_idle(&idle_threads[cpu_id()], cpu_id());
	runqueue_adopt();
}

/* --- threads: birth and death --------------------------------------------------------------------- */

static struct runqueue *this_runqueue(void)
{
	return this_cpu()->runqueue;
}

static void thread_reap(void);

/* The first code of every thread: finish the switch that led here, then its own entry. */
__noreturn static void thread_first(void *arg)
{
	struct thread *t = arg;

	spin_unlock(&this_runqueue()->lock);
	irq_enable();
	thread_reap();
	t->entry(t->arg);
	sched_exit();
}

/* thread_create - a thread in state NEW, see sched.h. Linux: copy_process */
struct thread *thread_create(
	const char *name, void (*entry)(void *), void *arg, struct task *task, struct mm *mm)
{
	return thread_alloc(name, entry, arg, task, mm, thread_first);
}

/* thread_discard - give up a thread that was never started, and the reference on it. */
void thread_discard(struct thread *t)
{
	ASSERT(t->state == THREAD_NEW);
	thread_free_stack(t);
	object_put(&t->object);
}

/*
 * Free the thread this CPU switched away from for ever. Interrupts are on: giving a stack back flushes
 * its translations everywhere. Only then is its end told, so that whoever waited finds every frame back.
 * One that only may not run here goes to where it may.
 */
static void thread_reap(void)
{
	struct runqueue *rq = this_runqueue();
	struct thread *t = rq->left;

	if (likely(!t))
		return;
	rq->left = NULL;
	if (t->state == THREAD_READY) {
		runqueue_send(t);
		return;
	}
	thread_free_stack(t);
	if (t->on_gone)
		t->on_gone(t);
	object_put(&t->object);
}

/* --- whose turn ------------------------------------------------------------------------------------ */

/* Whose turn it is, off its list; NULL: nobody waits. See WHO IS NEXT. Lock held. */
static struct thread *runqueue_take_next(struct runqueue *rq, u64 now)
{
	struct thread *woken = list_first_entry_or_null(&rq->woken, struct thread, run_link);
	struct thread *next = list_first_entry_or_null(&rq->ready, struct thread, run_link);

	if (rq->took_woken)
		rq->woken_ns += now - rq->took_ns;
	if (!next)
		rq->woken_ns = 0;
	rq->took_ns = now;
	rq->took_woken = woken && rq->woken_ns < SLICE_NS;
	if (rq->took_woken)
		next = woken;
	else
		rq->woken_ns = 0;
	if (next)
		runqueue_remove(rq, next);
	return next;
}

/* --- the switch ------------------------------------------------------------------------------------- */

/* Somebody wants this CPU at stop_point(), and not only those behind it. Lock held. */
static inline bool stop_is_wanted(const struct runqueue *rq)
{
	u64 word = READ_ONCE(sched_stop_word);

	return unlikely(word) && !(word & STOP_CALL && rq->stopped_for == word);
}

/*
 * Clear need_resched; set it again for what must not be forgotten. The exchange is a full barrier: if it
 * took away what sched_stop_others() set, its sched_stop_word is visible behind it. `pending` is written before
 * thread_kill() and its like take the run queue's lock, which we hold.
 */
static void need_resched_clear(struct cpu *c, const struct thread *next)
{
	(void)__atomic_exchange_n(&c->need_resched, false, __ATOMIC_SEQ_CST);
	if (READ_ONCE(next->pending) || stop_is_wanted(c->runqueue))
		WRITE_ONCE(c->need_resched, true);
}

/* The machine's side of a switch: floating point, segment bases, stack for entries from ring 3, tables. */
static __always_inline void machine_switch(struct cpu *c, struct thread *prev, struct thread *next)
{
	if (prev->fpu)
		fpu_save(prev->fpu);
	if (next->fpu) {
		bool loaded = prev->fpu; /* the bases of a thread of ring 3 are, while it runs */

		if (!seeded(LAZY_FPU))
			fpu_restore(next->fpu);
		if (!loaded || prev->fs_base != next->fs_base)
			wrmsr(MSR_FS_BASE, next->fs_base);
		if (!loaded || prev->gs_base != next->gs_base)
			wrmsr(MSR_KERNEL_GS_BASE, next->gs_base);
		cpu_set_kernel_stack(c, thread_stack_top(next));
	}
	if (prev->mm != next->mm)
		mm_switch(next->mm);
}

/* Ready threads share the CPU from here on: tick at the end of the slice; alone: no tick. Lock held. */
static void slice_begin(struct runqueue *rq, struct thread *next, u64 now)
{
	next->slice_end = now + SLICE_NS;
	timeout_set_slice(rq->nr_ready && next != rq->idle ? next->slice_end : TIME_NEVER);
}

/* The CPU's time up to now was prev's; from now on it is next's. Lock held. */
static void account(struct cpu *c, struct thread *prev, struct thread *next, u64 now)
{
	u64 ns = now - prev->started_ns;

	prev->runtime_ns += ns;
	if (prev == this_runqueue()->idle)
		c->idle_ns += ns;
	next->started_ns = now;
}

/*
 * From prev to another thread. The lock is held, interrupts are off. Returns when prev runs again, perhaps
 * on another CPU, with that CPU's lock held.
 */
static __always_inline void switch_to(
	struct cpu *c, struct runqueue *rq, struct thread *prev, struct thread *next)
{
	c->nr_switches++;
	trace(TRACE_sched_switch, prev->tid, next->tid, 0);
	rq->current = next;
	c->current = next;
	c->lock_context = &next->locks;
	machine_switch(c, prev, next);
	thread_switch(&prev->rsp, next->rsp);
}

/*
 * Let the next thread run. The lock is held, interrupts are off, and the state of the current thread says
 * what becomes of it (a READY one stands on the queue already). Returns when it runs again, perhaps on
 * another CPU, with that CPU's lock released; interrupts are still off.
 */
static void schedule(struct runqueue *rq)
{
	struct cpu *c = this_cpu();
	struct thread *prev = rq->current;
	u64 now = time_ns();
	struct thread *next = runqueue_take_next(rq, now);

	if (!next)
		next = rq->idle;
	need_resched_clear(c, next);
	account(c, prev, next, now);
	next->state = THREAD_RUNNING;
	slice_begin(rq, next, now);
	if (next != prev) {
		if (prev->state == THREAD_DEAD) {
			ASSERT(!rq->left);
			rq->left = prev;
		}
		switch_to(c, rq, prev, next);
	}
	spin_unlock(&this_runqueue()->lock);
}

/* Another CPU asks: stand still until it says so, or do what it wants done here, once, and go on. */
static __noinline void stop_here(u64 word)
{
	struct runqueue *rq = this_runqueue();
	void (*fn)(void);

	if (!(word & STOP_CALL)) {
		__atomic_store_n(&rq->stopped_for, word, __ATOMIC_SEQ_CST);
		while (READ_ONCE(sched_stop_word) == word) {
			sync_poll();
			cpu_relax();
		}
		return;
	}
	fn = __atomic_load_n(&sched_stop_call, __ATOMIC_ACQUIRE);
	if (!fn || rq->stopped_for == word) /* not written yet: we come by again. Or done */
		return;
	fn();
	__atomic_store_n(&rq->stopped_for, word, __ATOMIC_RELEASE);
}

/*
 * Stand still for sched_stop_others() on another CPU, or work for sched_on_each_cpu(). Interrupts off, no lock held,
 * nothing half done: every way into schedule() comes by here first, but for sched_handoff(), which takes its slow way as soon as
 * need_resched says that somebody asks.
 */
static void stop_point(void)
{
	u64 word = READ_ONCE(sched_stop_word);

	if (likely(!word) || word % MAX_CPUS == cpu_id())
		return;
	stop_here(word);
}

/* Sleeping with a spinlock held would stop whoever spins on it for ever. */
static void check_may_sleep(void)
{
	ASSERT_RULE("sched", irqs_enabled(), "giving up the CPU with interrupts off");
	ASSERT_RULE(
		"sched", this_cpu()->irq_depth == 0, "giving up the CPU in an interrupt handler");
	for (u32 i = LOCK_TASKS; CONFIG_CHECKS && i < NR_LOCK_CLASSES; i++)
		ASSERT_RULE("lock", !this_cpu()->lock_context->held[i],
			"sleeping with a spinlock of class %u held", i);
}

/* Put the current thread behind the others, if there are others. Interrupts off. */
static void yield_locked_off(void)
{
	struct runqueue *rq = this_runqueue();

	spin_lock(&rq->lock);
	if (!rq->nr_ready) {
		need_resched_clear(this_cpu(), rq->current);
		spin_unlock(&rq->lock);
		return;
	}
	rq->current->state = THREAD_READY;
	if (rq->current != rq->idle) {
		rq->current->woken = false;
		runqueue_add(rq, rq->current);
	}
	schedule(rq);
}

/*
 * sched_yield - let the others that wait for this CPU run first.
 *
 *   locks    no spinlock held, interrupts on; sleeping locks may be held
 *   Linux    do_sched_yield
 */
void sched_yield(void)
{
	check_may_sleep();
	irq_disable();
	stop_point();
	yield_locked_off();
	irq_enable();
	thread_reap();
}

/*
 * sched_preempt - need_resched was seen: give way if the slice is used up, else make sure of a tick.
 *
 *   locks    as sched_yield()
 */
void sched_preempt(void)
{
	struct runqueue *rq;

	check_may_sleep();
	irq_disable();
	stop_point();
	rq = this_runqueue();
	if (rq->current == rq->idle || time_ns() >= rq->current->slice_end) {
		yield_locked_off();
	} else {
		spin_lock(&rq->lock);
		need_resched_clear(this_cpu(), rq->current);
		if (rq->nr_ready)
			timeout_set_slice(rq->current->slice_end);
		spin_unlock(&rq->lock);
	}
	irq_enable();
	thread_reap();
}

/*
 * sched_block - sleep until woken; may also return for no reason: the caller looks at its condition again.
 *
 *   locks    no spinlock held, interrupts on; after waitq_prepare() or its own S1 (see the head of the file)
 *   Linux    schedule() after set_current_state()
 */
void sched_block(void)
{
	struct thread *t = current_thread();
	struct runqueue *rq;

	check_may_sleep();
	irq_disable();
	stop_point();
	rq = this_runqueue();
	spin_lock(&rq->lock);
	if (t->wake_pending) {
		t->wake_pending = false;
		spin_unlock(&rq->lock);
	} else {
		t->state = THREAD_BLOCKED;
		schedule(rq);
	}
	irq_enable();
	thread_reap();
}

/*
 * sched_wake - BLOCKED -> READY; any other thread will return from its next sched_block() at once.
 *
 *   locks    none inner to LOCK_RUNQ; any context
 *   Linux    try_to_wake_up
 */
void sched_wake(struct thread *t)
{
	u64 flags = irq_save();
	struct runqueue *rq = runqueue_lock_of(t);
	u32 cpu;

	if (t->state != THREAD_BLOCKED) {
		t->wake_pending = true;
		spin_unlock_irqrestore(&rq->lock, flags);
		return;
	}
	t->state = THREAD_READY;
	t->woken = true;
	cpu = runqueue_choose(t);
	WRITE_ONCE(t->cpu, cpu);
	spin_unlock(&rq->lock);
	runqueue_enqueue(t, cpu);
	irq_restore(flags);
}

/* BLOCKED -> READY, on no queue, for whoever holds the lock of its run queue; else its wake-up. */
static __always_inline bool take_blocked(struct thread *t)
{
	if (unlikely(t->state != THREAD_BLOCKED)) {
		t->wake_pending = true;
		return false;
	}
	t->state = THREAD_READY;
	return true;
}

/*
 * Take t, which is perhaps another CPU's, to let it run here. Interrupts off; returns with the lock of rq,
 * this CPU's, held. False: it is awake already, and has its wake-up.
 */
__noinline static bool runqueue_take_blocked(struct runqueue *rq, struct thread *t)
{
	struct runqueue *from = runqueue_lock_of(t);
	bool taken = take_blocked(t);

	if (taken)
		WRITE_ONCE(t->cpu, rq->cpu);
	if (from != rq) {
		spin_unlock(&from->lock);
		spin_lock(&rq->lock);
	}
	return taken;
}

/* The current thread sleeps, `next` has its CPU and the rest of its slice. Lock held. */
static __always_inline void handoff_to(
	struct cpu *c, struct runqueue *rq, struct thread *prev, struct thread *next)
{
	u64 now = time_ns();

	prev->runtime_ns += now - prev->started_ns;
	next->started_ns = now;
	prev->state = THREAD_BLOCKED;
	next->state = THREAD_RUNNING;
	next->slice_end = prev->slice_end;
	if (unlikely(READ_ONCE(next->pending))) /* see need_resched_clear() */
		WRITE_ONCE(c->need_resched, true);
	switch_to(c, rq, prev, next);
}

/* By way of the run queues. Interrupts off. */
__noinline static void handoff_slowly(struct thread *next, struct spinlock *held)
{
	sched_wake(next);
	spin_unlock(held);
	irq_enable();
	sched_block();
}

/* The current thread does not sleep after all, or `next` does not need its CPU. Lock held; released. */
__noinline static void handoff_not(struct runqueue *rq, struct thread *t, struct thread *taken)
{
	if (!t->wake_pending) {
		t->state = THREAD_BLOCKED;
		schedule(rq);
		return;
	}
	t->wake_pending = false;
	if (taken) {
		taken->woken = true;
		runqueue_add(rq, taken);
		runqueue_kick(rq);
	}
	spin_unlock(&rq->lock);
}

/* sched_handoff - see sched.h. A need for the scheduler, or for stop_point(), goes before. */
void sched_handoff(struct thread *next, struct spinlock *held)
{
	struct cpu *c = this_cpu();
	struct runqueue *rq = c->runqueue;
	struct thread *t = rq->current;
	bool taken;

	if (unlikely(READ_ONCE(c->need_resched) || (next->pinned && !may_run_on(next, rq->cpu)))) {
		handoff_slowly(next, held);
		return;
	}
	spin_lock(&rq->lock);
	if (likely(next->cpu == rq->cpu)) {
		taken = take_blocked(next);
	} else {
		spin_unlock(&rq->lock);
		taken = runqueue_take_blocked(rq, next);
	}
	spin_unlock(held);
	if (likely(taken && !t->wake_pending)) {
		handoff_to(c, rq, t, next);
		rq = this_runqueue(); /* perhaps another CPU's */
		spin_unlock(&rq->lock);
	} else {
		handoff_not(rq, t, taken ? next : NULL);
		rq = this_runqueue();
	}
	irq_enable();
	if (unlikely(rq->left))
		thread_reap();
}

/* NEW -> READY, on the queue of the CPU that t names. Interrupts off. */
static void thread_begin(struct thread *t, u32 cpu)
{
	ASSERT(t->state == THREAD_NEW);
	WRITE_ONCE(t->cpu, cpu);
	t->state = THREAD_READY;
	runqueue_enqueue(t, cpu);
}

/* sched_start - NEW -> READY, on the least busy CPU. */
void sched_start(struct thread *t)
{
	u64 flags = irq_save();

	t->cpu = cpu_id();
	thread_begin(t, runqueue_choose(t));
	irq_restore(flags);
}

/* sched_start_on - NEW -> READY, on this CPU for all its life. Linux: kthread_bind */
void sched_start_on(struct thread *t, u32 cpu)
{
	u64 flags = irq_save();

	ASSERT(cpu < nr_cpus);
	t->allowed = 1ul << cpu;
	t->pinned = true;
	thread_begin(t, cpu);
	irq_restore(flags);
}

/* sched_exit - the current thread ends; the next one on this CPU frees it. */
void sched_exit(void)
{
	struct runqueue *rq;

	check_may_sleep();
	irq_disable();
	stop_point();
	rq = this_runqueue();
	spin_lock(&rq->lock);
	rq->current->state = THREAD_DEAD;
	schedule(rq);
	panic("sched", "a dead thread ran again");
}

/*
 * sched_tick - the timer's interrupt: timeouts, and the end of a slice.
 *
 *   locks    interrupts off; none held
 */
void sched_tick(void)
{
	struct runqueue *rq = this_runqueue();
	u64 now = time_ns();

	timeout_run(now);
	if (!rq || !READ_ONCE(rq->nr_ready))
		return;
	if (rq->current == rq->idle) {
		this_cpu()->need_resched = true;
	} else if (now < rq->current->slice_end) {
		timeout_set_slice(rq->current->slice_end);
	} else {
		this_cpu()->need_resched = true;
		runqueue_push(rq);
	}
}

/*
 * The current thread may not run on this CPU any more: it goes. Interrupts on, no lock held. The flag first: who changes the
 * mask meanwhile sets it again.
 */
static void sched_leave(void)
{
	struct thread *t = current_thread();
	struct runqueue *rq;

	__atomic_store_n(&t->move_pending, false, __ATOMIC_SEQ_CST);
	irq_disable();
	stop_point();
	rq = this_runqueue();
	spin_lock(&rq->lock);
	if (may_run_on(t, rq->cpu)) {
		spin_unlock(&rq->lock);
	} else {
		ASSERT(!rq->left);
		rq->left = t;
		t->state = THREAD_READY;
		t->woken = true; /* it has not had its slice there */
		schedule(rq);
	}
	irq_enable();
	thread_reap();
}

void sched_return_to_user(struct regs *regs)
{
	while (READ_ONCE(this_cpu()->need_resched)) {
		irq_enable();
		if (unlikely(READ_ONCE(current_thread()->move_pending)))
			sched_leave();
		if (READ_ONCE(current_thread()->pending))
			sched_pending();
		sched_preempt();
		irq_disable();
	}
}

/* sched_enter_user - a new thread's first way to ring 3; it may have been killed before it ran. */
void sched_enter_user(const struct regs *regs)
{
	irq_disable();
	sched_return_to_user(current_thread()->user_regs);
	user_enter(regs);
}

/*
 * sched_idle_ns - how long a CPU has had nothing to do, the stretch that lasts until now included.
 *
 *   locks    none: a value read in the middle of a switch is off by one stretch
 */
u64 sched_idle_ns(const struct cpu *c)
{
	const struct runqueue *rq = c->runqueue;
	u64 idle = READ_ONCE(c->idle_ns);

	if (rq && READ_ONCE(rq->current) == rq->idle)
		idle += time_ns() - READ_ONCE(rq->idle->started_ns);
	return idle;
}

/*
 * sched_wake_idle - there is idle work again: one CPU that is halted comes and asks.
 *
 *   locks    any; nothing happens when no CPU is halted: who is at work asks when it becomes idle
 *   order    the caller has written the work; in_idle is set before a CPU looks for it: one of them sees the other
 */
void sched_wake_idle(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for_each_cpu (c) {
		if (!READ_ONCE(c->in_idle) || READ_ONCE(c->need_resched))
			continue;
		WRITE_ONCE(c->need_resched, true);
		smp_reschedule(c->id);
		return;
	}
}

/* sched_idle - what a CPU does when nothing is ready. Interrupts on or off at entry. */
void sched_idle(void)
{
	struct cpu *c = this_cpu();
	struct runqueue *rq = c->runqueue;

	ASSERT(current_thread() == rq->idle);
	for (;; WRITE_ONCE(c->in_idle, false)) {
		irq_disable();
		stop_point();
		if (!READ_ONCE(rq->nr_ready))
			runqueue_steal(rq);
		if (READ_ONCE(rq->nr_ready) || READ_ONCE(c->need_resched)) {
			yield_locked_off();
			irq_enable();
			thread_reap();
			continue;
		}
		if (unlikely(sched_idle_work)) {
			/* Before the look: work that comes behind it finds a CPU to wake (sched_wake_idle). */
			__atomic_store_n(&c->in_idle, true, __ATOMIC_SEQ_CST);
			irq_enable();
			if (sched_idle_work())
				continue;
			irq_disable();
			if (READ_ONCE(rq->nr_ready) || READ_ONCE(c->need_resched))
				continue;
		}
		cpu_wait_for_interrupt(); /* STI takes effect behind HLT: no interrupt is slept through */
	}
}
