/*
 * init.c - the first server, and that there always is one                     floor 7, below: loader.c, monitor/
 *
 * A kernel thread that starts /servers/init, waits for its end and starts it anew. All other servers are init's:
 * it creates them, so they end with it (task.c, CREATOR), and the new one begins from nothing.
 *
 * IDEA
 *   start --> wait for its end --> a line on the console --> start ...     at most RESTARTS in a minute:
 *                                                                          an init that cannot live is given up
 *   While CMD runs an end is the end of the boot, with status 1: a new init would run the command again.
 *
 * LOCKS     none.
 * LINUX     panics when its init ends: it has no monitor to go on with.
 */
#include "init.h"

#include "loader.h"
#include "machine.h"
#include "monitor/monitor.h"
#include "printk.h"
#include "sched.h"
#include "task.h"
#include "x86/timer.h"

#define INIT_PATH "/servers/init"
#define RESTARTS  10
#define WINDOW_NS (60 * NS_PER_SEC)

/* When the last RESTARTS starts were; the oldest is overwritten next. */
struct history {
	u64 at[RESTARTS];
	u32 next, nr;
};

/* Note a start. False: there were RESTARTS within WINDOW_NS before it. */
static bool may_start(struct history *h, u64 now)
{
	if (h->nr == RESTARTS && now - h->at[h->next] < WINDOW_NS)
		return false;
	h->at[h->next] = now;
	h->next = (h->next + 1) % RESTARTS;
	if (h->nr < RESTARTS)
		h->nr++;
	return true;
}

static void init_thread(void *arg)
{
	struct history history = {0};
	struct object *machine = arg;

	while (may_start(&history, time_ns())) {
		struct task *t;
		char err[96];
		int status = loader_start(INIT_PATH, machine, &t, err, sizeof(err));

		if (status) {
			printk("init: %s", err);
			return;
		}
		current_thread()->patient = true; /* a program may do nothing for hours */
		status = task_wait(t);
		if (machine_has_shell() && machine_cmd()) {
			printk("init: ended with status 0x%x while the command ran", status);
			monitor_power(1);
		}
		printk("init: ended with status 0x%x, the servers with it; starting anew", status);
	}
	printk("init: started %u times within a minute: given up", RESTARTS);
}

void init_start(struct object *machine)
{
	struct thread *t;

	if (!machine_has_servers())
		return;
	t = thread_create("init", init_thread, machine, NULL, NULL);
	if (t)
		sched_start(t);
	else
		printk("init: no memory for its thread");
}
