/*
 * watchdog.c - nothing hangs in silence                                       floor 4, below: thread, timeout
 *
 * A machine whose CPUs are all halted is healthy, or waits for a wake-up that got lost: from outside both look the same. A
 * timer on one CPU looks at every thread now and then and names on the serial line those that do not get on. It
 * changes nothing and ends nobody: what to do about it is for who reads the line.
 *
 * IDEA      each look remembers how much CPU time a thread had; the same at WATCHDOG_CHECKS looks in a row, and it is
 *
 *             READY                      it waits for a CPU that does not take it         (a lost kick, a lost tick)
 *             RUNNING, need_resched set  its CPU was asked for its scheduler and does not come   (a loop in the kernel)
 *             BLOCKED on a lock          who has it does not let go, or the grant got lost
 *             BLOCKED for other work     ... and no CPU had anything to do all that time:
 *             of the kernel itself       nobody is at it
 *
 *           Whoever waits for a message, a person, the time or work is left alone: that may last for ever. So is a
 *           `patient` thread: init, which waits for the programs it started.
 *
 * INVARIANTS
 *   W1  a line for each wait, not for each look (t->watch_checks passes WATCHDOG_CHECKS once)
 *
 * LOCKS     in the timer's interrupt: only tries the list's lock, and looks again next time. States are read without
 *           the run queues' locks: a wrong guess would have to be wrong several times in a row.
 * LINUX     kernel/hung_task.c (a thread, every two minutes) and kernel/watchdog.c (a thread on each CPU, and NMIs);
 *           a spinlock that nobody gives back is sync.c's own panic here.
 */
#include "watchdog.h"

#include "lib/string.h"
#include "printk.h"
#include "thread.h"
#include "x86/timer.h"

/* What the kernel's own threads sleep for, and only others of the kernel can end. The words are waitq_wait()'s. */
static const char *const kernel_waits[] = {"task", "khugepaged pass", "load"};

static struct timeout timer;
static u64 period;             /* 0: not started */
static u64 last_ns, last_idle; /* when it looked last; how long all CPUs together had been idle */
static bool was_idle;          /* nobody had anything to do since the look before */
static u64 reports;            /* lines written */

u64 watchdog_reports(void)
{
	return __atomic_load_n(&reports, __ATOMIC_ACQUIRE);
}

/* Had no CPU anything to do since the last look? Our own looks, a hundredth, do not count. */
static bool all_were_idle(u64 now)
{
	u64 idle = 0, past = (now - last_ns) * nr_cpus;
	bool yes;

	for_each_cpu (c)
		idle += sched_idle_ns(c);
	yes = idle - last_idle >= past - past / 100;
	last_ns = now;
	last_idle = idle;
	return yes;
}

static bool waits_for_kernel(const char *what)
{
	for (usize i = 0; i < ARRAY_SIZE(kernel_waits); i++)
		if (!strcmp(what, kernel_waits[i]))
			return true;
	return false;
}

/* Why a thread should have got on by now; NULL: it need not. */
static const char *complaint(const struct thread *t)
{
	const char *what = READ_ONCE(t->waiting_name);

	switch (READ_ONCE(t->state)) {
	case THREAD_READY:
		return "is ready, and its CPU does not take it";
	case THREAD_RUNNING:
		return READ_ONCE(cpus[t->cpu]->need_resched) ? "does not come by its scheduler"
							     : NULL;
	case THREAD_BLOCKED:
		if (!what || t->ipc.state != IPC_IDLE)
			return NULL;
		if (!strncmp(what, "lock", 4))
			return "waits for a lock";
		return waits_for_kernel(what) && was_idle && !t->patient
			       ? "waits, and nobody has anything to do"
			       : NULL;
	default:
		return NULL;
	}
}

/* One thread at one look. Idle threads are what runs when nobody is ready. */
static bool look_at(struct thread *t, void *ctx)
{
	const char *why = t->tid ? complaint(t) : NULL;
	const char *what = READ_ONCE(t->waiting_name);
	u64 mark = t->runtime_ns ^ t->started_ns; /* another one after each turn it had */

	(void)ctx;
	if (!why || mark != t->watch_mark)
		t->watch_checks = 0;
	t->watch_mark = mark;
	if (!why || t->watch_checks > WATCHDOG_CHECKS || ++t->watch_checks <= WATCHDOG_CHECKS)
		return true;
	printk("watchdog: thread %u (%s) on cpu %u %s: for %lu ms, %s%s 0x%lx", t->tid, t->name,
		t->cpu, why, WATCHDOG_CHECKS * period / NS_PER_MS,
		t->state == THREAD_BLOCKED ? "on " : "", what ? what : "nothing",
		(u64)t->waiting_on);
	__atomic_add_fetch(&reports, 1, __ATOMIC_RELEASE);
	return true;
}

/* In the timer's interrupt. */
static void look(void *arg)
{
	u64 now = time_ns();

	(void)arg;
	was_idle = all_were_idle(now);
	(void)thread_try_for_each(look_at, NULL);
	timeout_add(&timer, now + period, look, NULL);
}

void watchdog_start(u64 ns)
{
	u64 flags;

	while (READ_ONCE(timer.pending)) /* a look that is under way asks for the next one */
		timeout_cancel(&timer);
	flags = irq_save();
	period = ns;
	(void)all_were_idle(time_ns());
	timeout_add(&timer, time_ns() + period, look, NULL);
	irq_restore(flags);
}
