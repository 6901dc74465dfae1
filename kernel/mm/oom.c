/*
 * oom.c - no memory is left: who goes                                       floor 5, below: mm, task
 *
 * The last resort of the page-fault door, after the shrinkers and one retry: the task with the most memory
 * is killed, with one clear line, and the others go on. The kernel itself never stops for lack of memory.
 *
 * LOCKS     none held; tasks are looked at under their table's lock
 * LINUX     mm/oom_kill.c weighs page tables, swap, and oom_score_adj too; not the pages of a memfd that is not mapped.
 */
#include "handle.h"
#include "printk.h"
#include "trace.h"
#include "vmstat.h"
#include "mm/mm.h"
#include "sched.h"
#include "task.h"
#include "x86/timer.h"
#include "mm/oom.h"

#define SIGKILL        9
#define VICTIM_WAIT_NS 1000000000ul /* a victim that sleeps somewhere gets a second to let go */

struct choice {
	struct task *task;
	u64 pages;
	bool ending; /* it is going already: nobody has to be killed, only waited for */
};

/* Killed or exiting, its pages not back yet: even when its space is out of sight already. */
static bool is_ending(const struct task *t)
{
	return t->state == TASK_ALIVE && (t->killed || t->ending);
}

/* Pages it maps and what its handles keep: an object that is written, then unmapped, is its memory all the same. */
static u64 weight_of(struct task *t)
{
	return mm_rss(t->mm) + (handle_table_weight(&t->handles) >> PAGE_SHIFT);
}

/* Under the table's lock t->mm does not go away; later it may, so its size is noted here. */
static bool weigh(struct task *t, void *ctx)
{
	struct choice *c = ctx;
	u64 pages = t->state == TASK_ALIVE && t->mm ? weight_of(t) : 0;
	bool ending = is_ending(t) && t != current_task();

	if (t->oom_gave_up || t->essential || (pages <= c->pages && !ending))
		return true;
	if (c->task)
		task_put(c->task);
	task_get(t);
	*c = (struct choice){t, pages, ending};
	return !ending;
}

static void kill(struct task *victim, u64 pages, const char *why)
{
	if (!task_kill(victim, SIGKILL))
		return;                     /* another CPU chose it too: one line is enough */
	task_kill_sharers(victim, SIGKILL); /* counted once, gone only together */
	printk("out of memory (%s): killed pid %u (%s), %lu kB of memory\n", why, victim->pid,
		victim->name, pages << (PAGE_SHIFT - 10));
	vmstat_inc(VM_oom_kill);
	trace(TRACE_oom_kill, victim->pid, pages, 0);
}

/*
 * Until the victim's memory is back. One that does not let go of it in time (it may wait for a lock that
 * the caller holds) is not waited for again: the next largest goes.
 */
static void wait_for(struct task *victim)
{
	waitq_wait_until(&victim->exited, READ_ONCE(victim->state) == TASK_ENDED,
		time_ns() + VICTIM_WAIT_NS, "oom");
	if (READ_ONCE(victim->state) != TASK_ENDED && !thread_killed())
		victim->oom_gave_up = true;
}

/*
 * oom_kill - kill the largest task and, if it is another one, wait until its memory is back. When one is ending
 * already, wait for that one: two that find no memory at once kill one task, not two.
 *   returns  false: no task has memory to give. True: look again; the caller itself may be the victim (thread_killed)
 */
bool oom_kill(const char *why)
{
	struct choice c = {0};

	task_for_each(weigh, &c);
	if (!c.task)
		return false;
	if (!c.ending)
		kill(c.task, c.pages, why);
	if (c.task != current_task())
		wait_for(c.task);
	task_put(c.task);
	return true;
}
