/*
 * sched_stop.c - what is done to a thread from outside, and on all CPUs at once          floor 4, below: sched.c
 *
 * Nobody is torn out of the middle of something. Whoever wants a thread to leave, to look up or to stand still sets a
 * flag; whoever wants all CPUs to stand still sets a word. Both are looked at where nothing is half done.
 *
 * IDEA
 *       flag in t->pending --.   t runs: its CPU comes by sched_return_to_user() on the way to ring 3
 *                            +-> t sleeps: a kill and an interruption end its wait, a halt does not
 *                            '   t waits for its turn: it finds the flag when it has it
 *
 *       other CPUs wanted        sched_set_allowed(): it leaves for one of them at its next return to ring 3
 *
 *       sched_stop_word      --> every other CPU comes by stop_point() in its scheduler, says so in its run queue and
 *                                spins there until the word is gone; or does what is asked and goes on
 *
 * INVARIANTS
 *   K1  no flag is missed: it is written before the run queue's lock is taken, and need_resched is cleared under that
 *       lock and looked after: need_resched_clear() in sched.c (`ktest ipc`, which kills and interrupts in every state)
 *   K2  while fn of sched_stop_others() runs, every other CPU is in stop_point() (`ktest sched`: stop_others, and two
 *       of them at once)
 *
 * LOCKS     runqueue.lock with interrupts off
 * LINUX     kernel/signal.c: signal_wake_up; kernel/stop_machine.c: a thread for each CPU, since it may be preempted
 */
#include "runqueue.h"
#include "x86/smp.h"

static u64 stop_sequence;

/* --- kill, interrupt, suspend ---------------------------------------------------------------------- */

/* A flag in t->pending was set: if t runs, it comes by sched_return_to_user() soon; else when it runs again. */
static void thread_poke(struct thread *t)
{
	u64 flags = irq_save();
	struct runqueue *rq = runqueue_lock_of(t);

	if (t->state == THREAD_RUNNING) {
		WRITE_ONCE(cpus[rq->cpu]->need_resched, true);
		if (rq->cpu != cpu_id())
			smp_reschedule(rq->cpu);
	}
	spin_unlock_irqrestore(&rq->lock, flags);
}

/*
 * thread_kill - t ends at its next return to ring 3, and any killable wait ends now.
 *
 *   locks    none inner to LOCK_RUNQ; the caller keeps t from going away
 */
void thread_kill(struct thread *t)
{
	__atomic_store_n(&t->kill_pending, true, __ATOMIC_SEQ_CST);
	thread_poke(t);
	sched_wake(t);
}

/* thread_interrupt - any interruptible wait of t ends now; then sched_pending(). Locks as thread_kill(). */
void thread_interrupt(struct thread *t)
{
	__atomic_store_n(&t->interrupt_pending, true, __ATOMIC_SEQ_CST);
	thread_poke(t);
	sched_wake(t);
}

/* thread_halt - sched_pending() at the next return of t to ring 3; no wait ends. Locks as thread_kill(). */
void thread_halt(struct thread *t)
{
	__atomic_store_n(&t->suspend_pending, true, __ATOMIC_SEQ_CST);
	thread_poke(t);
}

u64 sched_all_cpus(void)
{
	return (1ul << nr_cpus) - 1;
}

u64 sched_allowed(const struct thread *t)
{
	return (t->pinned ? READ_ONCE(t->allowed) : ~0ul) & sched_all_cpus();
}

/* `allowed` first: who sees `pinned` finds it; the flag last, as thread_poke()'s callers do. */
void sched_set_allowed(struct thread *t, u64 allowed)
{
	u64 all = sched_all_cpus();

	ASSERT(allowed & all);
	WRITE_ONCE(t->allowed, allowed & all);
	WRITE_ONCE(t->pinned, (allowed & all) != all);
	__atomic_store_n(&t->move_pending, true, __ATOMIC_SEQ_CST);
	thread_poke(t);
}

void sched_inherit(struct thread *t, const struct thread *from)
{
	t->allowed = from->allowed;
	t->pinned = from->pinned;
	t->mempolicy = from->mempolicy;
}

bool sched_if_blocked(struct thread *t, void (*fn)(struct thread *t, void *ctx), void *ctx)
{
	u64 flags = irq_save();
	struct runqueue *rq = runqueue_lock_of(t);
	bool blocked = t->state == THREAD_BLOCKED;

	if (blocked)
		fn(t, ctx);
	spin_unlock_irqrestore(&rq->lock, flags);
	return blocked;
}

/* --- everything at once ------------------------------------------------------------------------------ */

/* The word is ours, marked so: one of us at a time. Whoever was faster is stood still for, or worked for. */
static u64 stop_begin(u64 mark)
{
	u64 sequence = __atomic_add_fetch(&stop_sequence, 1, __ATOMIC_RELAXED), word, none = 0;

	for (;;) {
		/* On whichever CPU we are this time. */
		word = (sequence * 2 * MAX_CPUS) | mark | cpu_id();
		if (__atomic_compare_exchange_n(&sched_stop_word, &none, word, false,
			    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			return word;
		none = 0;
		sched_yield();
	}
}

static void stop_end(void)
{
	__atomic_store_n(&sched_stop_word, 0, __ATOMIC_SEQ_CST);
}

/*
 * Ask every other CPU for its scheduler, then wait for each: they come by stop_point() as soon as they
 * leave ring 3, their idle loop or their kernel code. Interrupts are on: mailboxes are answered.
 */
static void stop_wait(u64 word)
{
	for_each_cpu (c) {
		if (c->runqueue && c->id != cpu_id()) {
			WRITE_ONCE(c->need_resched, true);
			smp_reschedule(c->id);
		}
	}
	for_each_cpu (c) {
		struct runqueue *rq = c->runqueue;

		if (!rq || c->id == cpu_id())
			continue;
		while (__atomic_load_n(&rq->stopped_for, __ATOMIC_ACQUIRE) != word)
			cpu_relax();
	}
}

/*
 * sched_stop_others - fn(arg) while every other CPU stands in its scheduler; see sched.h.
 *
 *   locks    no spinlock held, interrupts on; may wait for another CPU's stop first
 *   Linux    stop_machine
 */
void sched_stop_others(void (*fn)(void *), void *arg)
{
	u64 word = stop_begin(0);

	stop_wait(word);
	fn(arg);
	stop_end();
}

/*
 * sched_on_each_cpu - fn() on this CPU and, by themselves, on all others; nobody waits but us. See sched.h.
 *
 *   locks    no spinlock held, interrupts on; may wait for another CPU's stop first
 *   Linux    schedule_on_each_cpu
 */
void sched_on_each_cpu(void (*fn)(void))
{
	u64 word = stop_begin(STOP_CALL);

	__atomic_store_n(&sched_stop_call, fn, __ATOMIC_RELEASE);
	stop_wait(word);
	fn();
	__atomic_store_n(&sched_stop_call, NULL, __ATOMIC_RELAXED);
	stop_end();
}
