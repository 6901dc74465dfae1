/*
 * waitq.c - wait queues, and sleeping until a time                             floor 4, below: sched.c
 *
 * Who waits for an event stands on its queue; who makes it happen wakes one or all. Why no wake-up is
 * lost is shown at the head of sched.c: waitq_prepare() is its S1, waking is its W2.
 *
 * IDEA
 *   the one who waits                             the other
 *     struct waiter on its stack                    condition = true
 *     again: waitq_prepare                          waitq_wake_all
 *            condition? -> waitq_finish
 *            sched_block, again
 *
 * INVARIANTS
 *   Q1  w->queued if and only if w is on the list; both change under q->lock
 *   Q2  a waiter leaves its stack frame only after waitq_finish(), so whoever wakes it under q->lock is
 *       done with it by then
 *
 * LOCKS     q->lock with interrupts off; inside it the run queue's.
 * LINUX     kernel/sched/wait.c, with exclusive waiters and callbacks.  A model for SPIN:
 *           tests/spin/waitq.pml.
 */
#include "sched.h"

#include "timeout.h"

void waitq_init(struct waitq *q, const char *name)
{
	spin_init(&q->lock, LOCK_WAITQ, name);
	list_init(&q->waiters);
}

/*
 * waitq_prepare - S1 of sched.c: from here on, no wake-up of q is missed. Call before each look at the condition.
 *
 *   w        zeroed before the first call
 *   why      a word for ps
 *   Linux    prepare_to_wait
 */
void waitq_prepare(struct waitq *q, struct waiter *w, const char *why)
{
	struct thread *t = current_thread();
	u64 flags;

	(void)__atomic_exchange_n(&t->wake_pending, false, __ATOMIC_SEQ_CST);
	t->waiting_on = q;
	t->waiting_name = why;
	flags = spin_lock_irqsave(&q->lock);
	if (!w->queued) {
		w->thread = t;
		w->queued = true;
		list_add_tail(&w->link, &q->waiters);
	}
	spin_unlock_irqrestore(&q->lock, flags);
}

/* waitq_finish - the waiter leaves, woken or not. Linux: finish_wait */
void waitq_finish(struct waitq *q, struct waiter *w)
{
	u64 flags = spin_lock_irqsave(&q->lock);

	if (w->queued) {
		list_del(&w->link);
		w->queued = false;
	}
	spin_unlock_irqrestore(&q->lock, flags);
	current_thread()->waiting_on = NULL;
	current_thread()->waiting_name = NULL;
}

/* W2 of sched.c for the first waiter. The lock of q keeps it from leaving while it is woken. */
static void wake_first(struct waitq *q)
{
	struct waiter *w = list_first_entry(&q->waiters, struct waiter, link);

	list_del(&w->link);
	w->queued = false;
	sched_wake(w->thread);
}

void waitq_wake_one(struct waitq *q)
{
	u64 flags = spin_lock_irqsave(&q->lock);

	if (!list_empty(&q->waiters))
		wake_first(q);
	spin_unlock_irqrestore(&q->lock, flags);
}

void waitq_wake_all(struct waitq *q)
{
	u64 flags = spin_lock_irqsave(&q->lock);

	while (!list_empty(&q->waiters))
		wake_first(q);
	spin_unlock_irqrestore(&q->lock, flags);
}

/* --- time --- */

static void wake_by_time(void *arg)
{
	sched_wake(arg);
}

void thread_timeout_start(struct timeout *t, u64 deadline_ns)
{
	timeout_add(t, deadline_ns, wake_by_time, current_thread());
}

/* sched_sleep_until - sleep until a time, or until killed. */
void sched_sleep_until(u64 deadline_ns)
{
	struct waitq nobody;

	waitq_init(&nobody, "sleep");
	waitq_wait_until(&nobody, false, deadline_ns, "sleep");
}
