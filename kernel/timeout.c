/*
 * timeout.c - call a function at a time                                       floor 4, below: x86/timer.c
 *
 * Owns the one-shot timer of each CPU. It knows no threads: sched.c asks for a tick at the end of a
 * time slice with timeout_set_slice() and for wake-ups with timeout_add().
 *
 * IDEA
 *   Each CPU has a list, sorted by deadline, of what was asked for on it. Its timer is armed for the
 *   first of them or for the end of the slice, whichever is sooner; with neither it stays silent
 *   (tickless). An earlier tick than needed does no harm, so taking something away never touches the
 *   device: the tick finds nothing due and arms the timer again.
 *
 * INVARIANTS
 *   O1  a list is sorted by deadline            (asserted by timeout_run: it stops at the first not due)
 *   O2  armed <= deadline of the first, armed <= slice
 *   O3  fn runs with `running` set to its timeout, so that timeout_cancel() can wait for its end
 *
 * LOCKS     queue.lock, taken by the timer's interrupt; fn is called without it.
 * LINUX     kernel/time/timer.c (a wheel, because it has thousands) and hrtimer.c (a tree).
 */
#include "timeout.h"

#include "config.h"
#include "panic.h"
#include "sync.h"
#include "x86/cpu.h"
#include "x86/timer.h"

struct timeout_queue {
	struct spinlock lock;
	struct list pending;           /* by deadline */
	const struct timeout *running; /* whose fn is being called */
	u64 slice;                     /* end of the running thread's slice, or TIME_NEVER */
	u64 armed;                     /* what the timer is set to, or TIME_NEVER */
};

static struct timeout_queue queues[MAX_CPUS];

/* timeout_init - empty queues; once, before the first timer interrupt. */
void timeout_init(void)
{
	for (u32 i = 0; i < MAX_CPUS; i++) {
		spin_init(&queues[i].lock, LOCK_TIMEOUT, "timeout");
		list_init(&queues[i].pending);
		queues[i].slice = queues[i].armed = TIME_NEVER;
	}
}

static u64 first_deadline(const struct timeout_queue *q)
{
	const struct list *first = list_first(&q->pending);

	return first ? list_entry(first, struct timeout, link)->deadline : TIME_NEVER;
}

/* O2, on the CPU whose queue it is: only the owner can reach its timer. */
static void arm(struct timeout_queue *q)
{
	u64 next = MIN(first_deadline(q), q->slice);

	if (next >= q->armed)
		return;
	q->armed = next;
	timer_arm(next);
}

/*
 * timeout_add - call fn(arg) on this CPU, in its timer interrupt, at or soon after deadline_ns.
 *
 *   locks    none inner to LOCK_TIMEOUT; t is not pending
 *   after    t stays in use until timeout_cancel(), also when it has expired
 */
void timeout_add(struct timeout *t, u64 deadline_ns, void (*fn)(void *), void *arg)
{
	u64 flags = irq_save();
	struct timeout_queue *q = &queues[cpu_id()];
	struct timeout *before;

	*t = (struct timeout){
		.deadline = deadline_ns, .fn = fn, .arg = arg, .cpu = cpu_id(), .pending = true};
	spin_lock(&q->lock);
	list_for_each_entry (before, &q->pending, link) {
		if (before->deadline > deadline_ns)
			break;
	}
	list_add_tail(&t->link, &before->link);
	arm(q);
	spin_unlock_irqrestore(&q->lock, flags);
}

/*
 * timeout_cancel - take it back.
 *
 *   locks    none that its fn takes; not from its fn
 *   after    fn is not running and will not run: t may go out of scope
 */
void timeout_cancel(struct timeout *t)
{
	struct timeout_queue *q = &queues[t->cpu];
	u64 flags = spin_lock_irqsave(&q->lock);

	if (t->pending) {
		list_del(&t->link);
		t->pending = false;
	}
	while (q->running == t) { /* O3; on another CPU, or we would not be here */
		spin_unlock_irqrestore(&q->lock, flags);
		cpu_relax();
		flags = spin_lock_irqsave(&q->lock);
	}
	spin_unlock_irqrestore(&q->lock, flags);
}

/*
 * timeout_run - the tick: call everything that is due on this CPU, arm the timer for the rest.
 *
 *   locks    interrupts off; none held
 */
void timeout_run(u64 now_ns)
{
	struct timeout_queue *q = &queues[cpu_id()];

	spin_lock(&q->lock);
	q->armed = TIME_NEVER;
	if (q->slice <= now_ns)
		q->slice = TIME_NEVER; /* the scheduler looks at it now and asks again */
	while (first_deadline(q) <= now_ns) {
		struct timeout *t = list_first_entry(&q->pending, struct timeout, link);
		void (*fn)(void *) = t->fn;
		void *arg = t->arg;

		list_del(&t->link);
		t->pending = false;
		q->running = t;
		WRITE_ONCE(t->expired, true);
		spin_unlock(&q->lock);
		fn(arg);
		spin_lock(&q->lock);
		q->running = NULL;
	}
	arm(q);
	spin_unlock(&q->lock);
}

/*
 * timeout_set_slice - this CPU's running thread shares it: tick at deadline_ns (TIME_NEVER: it does not).
 *
 *   locks    interrupts off; none inner to LOCK_TIMEOUT
 */
void timeout_set_slice(u64 deadline_ns)
{
	struct timeout_queue *q = &queues[cpu_id()];

	spin_lock(&q->lock);
	q->slice = deadline_ns;
	arm(q);
	spin_unlock(&q->lock);
}
