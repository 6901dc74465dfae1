/*
 * runqueue.c - on which CPU a thread waits for its turn                       floor 4, below: timeout, thread
 *
 * Puts threads on the queues of CPUs and moves them between those. Whose turn it is on one CPU, and when somebody sleeps
 * or wakes, is sched.c's.
 *
 * IDEA
 *       woken  -->  where it ran, if that CPU is idle; else an idle one; else the shortest queue
 *
 *       CPU 0   B runs   D C A wait     --push: end of a slice, two more than there-->    CPU 1   E runs
 *                                       <-steal: an idle CPU takes from the longest --    CPU 2   idle
 *
 *   Moved is, of those that may go there, the one whose turn is furthest: its cache is the coldest, and it gains the most. Who is
 *   bound is pushed to the shortest queue of its own CPUs, however many others are idle. Lengths are read without
 *   the locks: a wrong guess costs a wait, not correctness, and the next slice guesses again. For the moment of a move
 *   the thread is READY and on no queue, and t->cpu names the new one already: a waker only sets wake_pending.
 *
 * INVARIANTS (sched_check() tests them)
 *   S1  a READY thread is on exactly one list, of the run queue of t->cpu; no other thread is on any
 *   S2  a RUNNING thread is the current one of t->cpu
 *   S3  nr_ready is the length of both lists
 *
 * LOCKS     runqueue.lock with interrupts off, never two of them
 * LINUX     kernel/sched/fair.c: select_idle_sibling, sched_balance_newidle, load_balance
 */
#include "runqueue.h"

#include "printk.h"
#include "thread.h"
#include "x86/smp.h"

struct runqueue runqueues[MAX_CPUS];

/* The CPU with the shortest queue of those where t may run; where it ran, if none is shorter. */
u32 runqueue_choose_any(const struct thread *t)
{
	u32 best = t->cpu, best_load = may_run_on(t, best) ? runqueue_load(&runqueues[best]) : ~0u;

	for_each_cpu (c) {
		u32 load;

		if (!c->runqueue || !may_run_on(t, c->id))
			continue;
		load = runqueue_load(c->runqueue);
		if (load < best_load) {
			best = c->id;
			best_load = load;
		}
	}
	return best;
}

void runqueue_kick(struct runqueue *rq)
{
	if (rq->cpu == cpu_id() && rq->current != rq->idle) {
		timeout_set_slice(rq->current->slice_end);
		return;
	}
	WRITE_ONCE(cpus[rq->cpu]->need_resched, true);
	if (rq->cpu != cpu_id())
		smp_reschedule(rq->cpu);
}

void runqueue_enqueue(struct thread *t, u32 cpu)
{
	struct runqueue *rq = &runqueues[cpu];

	spin_lock(&rq->lock);
	runqueue_add(rq, t);
	runqueue_kick(rq);
	spin_unlock(&rq->lock);
}

void runqueue_send(struct thread *t)
{
	u64 flags = irq_save();
	u32 cpu = runqueue_choose(t);

	WRITE_ONCE(t->cpu, cpu);
	runqueue_enqueue(t, cpu);
	irq_restore(flags);
}

/* The last on the list that may go to that CPU; NULL: none. Lock held. */
static struct thread *last_movable(const struct list *l, u32 to_cpu)
{
	for (struct list *node = l->prev; node != l; node = node->prev) {
		struct thread *t = list_entry(node, struct thread, run_link);

		if (may_run_on(t, to_cpu))
			return t;
	}
	return NULL;
}

/* READY and on no queue for a moment: a waker meanwhile only sets wake_pending. Lock held. */
static void runqueue_take(struct runqueue *from, struct thread *t, u32 to_cpu)
{
	runqueue_remove(from, t);
	WRITE_ONCE(t->cpu, to_cpu);
}

/* From another CPU's queue to that of rq, the one whose turn is furthest. False: there is none that may. No lock held. */
static bool runqueue_steal_from(struct runqueue *from, struct runqueue *rq)
{
	struct thread *t;

	spin_lock(&from->lock);
	t = last_movable(&from->ready, rq->cpu);
	if (!t)
		t = last_movable(&from->woken, rq->cpu);
	if (t)
		runqueue_take(from, t, rq->cpu);
	spin_unlock(&from->lock);
	if (t)
		runqueue_enqueue(t, rq->cpu);
	return t;
}

/* The busiest may have none for us, all being bound: then any will do. */
void runqueue_steal(struct runqueue *rq)
{
	struct runqueue *busiest = NULL;

	for_each_cpu (c) {
		struct runqueue *other = c->runqueue;

		if (!other || other == rq || !READ_ONCE(other->nr_ready))
			continue;
		if (!busiest || READ_ONCE(other->nr_ready) > READ_ONCE(busiest->nr_ready))
			busiest = other;
	}
	if (!busiest || runqueue_steal_from(busiest, rq))
		return;
	for_each_cpu (c) {
		struct runqueue *other = c->runqueue;

		if (other && other != rq && other != busiest && READ_ONCE(other->nr_ready) &&
			runqueue_steal_from(other, rq))
			return;
	}
}

/*
 * The last on the list for whom a CPU has two threads fewer, and which; NULL: nobody. Where that is so for none of all CPUs, it is
 * for nobody: those behind the first that is not bound need not be asked. Lock held.
 */
static struct thread *last_better_off(const struct runqueue *rq, const struct list *l, u32 *cpu)
{
	for (struct list *node = l->prev; node != l; node = node->prev) {
		struct thread *t = list_entry(node, struct thread, run_link);

		*cpu = runqueue_choose_any(t);
		if (runqueue_load(&runqueues[*cpu]) + 2 <= runqueue_load(rq))
			return t;
		if (!t->pinned)
			return NULL;
	}
	return NULL;
}

void runqueue_push(struct runqueue *rq)
{
	struct thread *t;
	u32 cpu;

	spin_lock(&rq->lock);
	t = last_better_off(rq, &rq->ready, &cpu);
	if (!t)
		t = last_better_off(rq, &rq->woken, &cpu);
	if (t)
		runqueue_take(rq, t, cpu);
	spin_unlock(&rq->lock);
	if (t)
		runqueue_enqueue(t, cpu);
}

/* --- the checker -------------------------------------------------------------------------------------- */

static u32 times_queued(const struct thread *t, u32 *where)
{
	u32 n = 0;

	for_each_cpu (c) {
		struct runqueue *rq = c->runqueue;
		struct list *node;

		if (!rq)
			continue;
		for (node = rq->woken.next; node != &rq->woken; node = node->next)
			n += node == &t->run_link;
		for (node = rq->ready.next; node != &rq->ready; node = node->next)
			n += node == &t->run_link;
		if (n && *where == MAX_CPUS)
			*where = c->id;
	}
	return n;
}

static bool thread_check(struct thread *t, void *ctx)
{
	bool *ok = ctx;
	u32 where = MAX_CPUS, n = times_queued(t, &where);
	bool ready = t->state == THREAD_READY && !(t->pinned && t == runqueues[t->cpu].idle);

	if (n != (ready ? 1 : 0) || (ready && where != t->cpu)) {
		printk("sched_check: S1: thread %u %s, state %u, cpu %u: on %u run queues", t->tid,
			t->name, t->state, t->cpu, n);
		*ok = false;
	}
	if (t->state == THREAD_RUNNING && runqueues[t->cpu].current != t) {
		printk("sched_check: S2: thread %u %s runs, but is not current on cpu %u", t->tid,
			t->name, t->cpu);
		*ok = false;
	}
	return *ok;
}

/*
 * sched_check - S1, S2, S3.
 *
 *   locks    the other CPUs stand still (sched_stop_others); takes the list's lock
 */
bool sched_check(void)
{
	bool ok = true;
	u64 flags = irq_save();

	thread_for_each(thread_check, &ok);
	for_each_cpu (c) {
		struct runqueue *rq = c->runqueue;
		u32 n = 0;

		if (!rq)
			continue;
		for (struct list *node = rq->woken.next; node != &rq->woken; node = node->next)
			n++;
		for (struct list *node = rq->ready.next; node != &rq->ready; node = node->next)
			n++;
		if (n != rq->nr_ready) {
			printk("sched_check: S3: cpu %u: nr_ready %u, %u on the list", c->id,
				rq->nr_ready, n);
			ok = false;
		}
	}
	irq_restore(flags);
	return ok;
}
