/*
 * numad.c - the thread that asks who uses which memory                        floor 6, below: mm/numa
 *
 * It takes the access to the next scan_size_mb of each space away; the faults that follow (mm/numa.c) move pages to the
 * nodes where they are used, and say how soon the space's next turn is. With balancing off it sleeps.
 *
 * IDEA      turn 1: |====>.......|  turn 2: |.....====>..|  turn 3: |==>.......=>|   each space has a cursor, numa.next
 *
 *           numad   1s    2s    3s    4s    5s   ...      it looks every scan_period_min_ms whose turn it is
 *           space A  .     #     #     #     #            new: left alone for scan_delay_ms; then its pages are remote: soon
 *           space B        .     #           #            nobody answers: twice as long each time, up to scan_period_max_ms
 *
 * LOCKS     none of its own; numa_scan() takes mm->lock by trylock
 * LINUX     task_numa_work runs in each task at its tick, so that a task that does not run costs nothing and the one that
 *           runs pays; each thread of a space has a period of its own.                    docs/mm/numa.md
 */
#include "numad.h"

#include "mm/numa.h"
#include "mutex.h"
#include "sched.h"
#include "x86/timer.h"

#define NS_PER_MS 1000000ul

static struct waitq wait;
static bool settings_changed;

static bool scan_one(struct mm *mm, void *ctx)
{
	u64 now = time_ns();

	if (!mm->numa.due_ns) {
		mm->numa.due_ns = now + READ_ONCE(numa_settings.scan_delay_ms) * NS_PER_MS;
	} else if (now >= mm->numa.due_ns) {
		mm->numa.due_ns = now + numa_adapt(mm) * NS_PER_MS;
		numa_scan(mm, *(u64 *)ctx);
	}
	preempt_point();
	return READ_ONCE(numa_settings.balancing);
}

static void scan_turn(void)
{
	u64 pages = (u64)READ_ONCE(numa_settings.scan_size_mb) << (20 - PAGE_SHIFT);

	mm_for_each(scan_one, &pages);
}

static void sleep_until_due(void)
{
	if (READ_ONCE(numa_settings.balancing))
		waitq_wait_until(&wait, READ_ONCE(settings_changed),
			time_ns() + READ_ONCE(numa_settings.scan_period_min_ms) * NS_PER_MS,
			"numad");
	else
		waitq_wait(&wait, READ_ONCE(settings_changed), "numad");
	WRITE_ONCE(settings_changed, false);
}

static void numad(void *arg)
{
	(void)arg;
	for (;;) {
		sleep_until_due();
		if (READ_ONCE(numa_settings.balancing))
			scan_turn();
	}
}

/* numad_wake - a setting changed: look at it now. Any thread. */
void numad_wake(void)
{
	WRITE_ONCE(settings_changed, true);
	waitq_wake_all(&wait);
}

/* numad_init - start the thread, on a machine with several nodes at work from the first period on. */
void numad_init(void)
{
	struct thread *t;

	numa_settings_init();
	waitq_init(&wait, "numad");
	t = thread_create("numad", numad, NULL, NULL, NULL);
	ASSERT_RULE("boot", t, "no memory for numad's thread");
	sched_start(t);
}
