/*
 * kcompactd.c - a thread for each node that compacts before anyone has to wait     floor 6, below: mm/compact
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

static bool settings_changed[MAX_NODES];

static bool has_work(unsigned node)
{
	return READ_ONCE(compact_nodes[node].wanted) || READ_ONCE(settings_changed[node]);
}

/* Until somebody wants a block, or it is time to look around: then 0. */
static u32 wait_for_work(unsigned node, u64 ns)
{
	struct compact_node *n = &compact_nodes[node];

	if (READ_ONCE(compact_settings.proactiveness) == NEVER_PROACTIVE)
		waitq_wait(&n->wait, has_work(node), "kcompactd");
	else
		waitq_wait_until(&n->wait, has_work(node), time_ns() + ns, "kcompactd");
	WRITE_ONCE(settings_changed[node], false);
	return READ_ONCE(n->wanted);
}

static void kcompactd(void *arg)
{
	unsigned node = (u64)arg;
	u64 wait = CHECK_NS;

	for (;;) {
		u32 order = wait_for_work(node, wait);

		if (order) {
			vmstat_inc(VM_compact_daemon_wake);
			compact_node(node, order);
			WRITE_ONCE(compact_nodes[node].wanted, 0);
		} else {
			wait = CHECK_NS;
			if (compact_is_due(node) && !compact_proactively(node))
				wait = CHECK_NS * DEFER_TIMES;
		}
	}
}

void kcompactd_wake(void)
{
	for (unsigned node = 0; node < nr_nodes; node++) {
		WRITE_ONCE(settings_changed[node], true);
		waitq_wake_all(&compact_nodes[node].wait);
	}
}

/* kcompactd_init - start a thread for each node. Linux: kcompactd_run */
void kcompactd_init(void)
{
	char name[] = "kcompactd0";

	compact_init();
	for (u64 node = 0; node < nr_nodes; node++, name[sizeof(name) - 2]++) {
		struct thread *t = thread_create(name, kcompactd, (void *)node, NULL, NULL);

		ASSERT_RULE("boot", t, "no memory for kcompactd's thread");
		sched_start(t);
	}
}
