/*
 * kcompactd.c - the thread that compacts before anyone has to wait                floor 6, below: mm/compact
 *
 * It decides when; what is done is compact.c's. Two reasons:
 *
 *   woken        a fault got no block of order 9 and may not work for one itself (defrag = defer, defer+madvise): the next
 *                fault shall find one
 *   proactive    every 500 ms it looks how broken up free memory is (compact_score). Above the high mark it works until the low
 *                mark is reached. If that did not help, it looks away for 64 times as long: what is left cannot move
 *
 *       0 ............. low = 100 - compaction_proactiveness .. high = low + 10 .... 100
 *                        '--- work until here                    '--- begin above here
 *
 * INVARIANT  D1  the thread holds no lock while it sleeps, and while compact.c works only compact.c's (asserted: sched_block)
 * LOCKS      none of its own
 * LINUX      mm/compaction.c: kcompactd, one for each node, woken by kswapd            docs/mm/compaction.md
 */
#include "kcompactd.h"

#include "mm/compact.h"
#include "panic.h"
#include "sched.h"
#include "vmstat.h"
#include "x86/timer.h"

#define CHECK_NS        500000000ul
#define DEFER_TIMES     64 /* Linux: 1 << COMPACT_MAX_DEFER_SHIFT */
#define NEVER_PROACTIVE 0

static bool settings_changed;

static bool has_work(void)
{
	return READ_ONCE(compact_wanted) || READ_ONCE(settings_changed);
}

/* Until somebody wants a block, or it is time to look around; then false. */
static bool wait_for_work(u64 ns)
{
	if (READ_ONCE(compact_settings.proactiveness) == NEVER_PROACTIVE)
		waitq_wait(&compact_wait, has_work(), "kcompactd");
	else
		waitq_wait_until(&compact_wait, has_work(), time_ns() + ns, "kcompactd");
	WRITE_ONCE(settings_changed, false);
	return READ_ONCE(compact_wanted);
}

static void kcompactd(void *arg)
{
	u64 wait = CHECK_NS;

	(void)arg;
	for (;;) {
		if (wait_for_work(wait)) {
			vmstat_inc(VM_compact_daemon_wake);
			compact_zones(READ_ONCE(compact_wanted));
			WRITE_ONCE(compact_wanted, 0);
		} else {
			wait = CHECK_NS;
			if (compact_is_due() && !compact_proactively())
				wait = CHECK_NS * DEFER_TIMES;
		}
	}
}

void kcompactd_wake(void)
{
	WRITE_ONCE(settings_changed, true);
	waitq_wake_all(&compact_wait);
}

/* kcompactd_init - start the thread. Linux: kcompactd_run */
void kcompactd_init(void)
{
	struct thread *t;

	compact_init();
	t = thread_create("kcompactd", kcompactd, NULL, NULL, NULL);
	ASSERT_RULE("boot", t, "no memory for kcompactd's thread");
	sched_start(t);
}
