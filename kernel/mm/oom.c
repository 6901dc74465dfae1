/*
 * oom.c - no memory is left: who goes                                       floor 5, below: mm, task
 *
 * The last resort of the page-fault door, after the shrinkers and one retry: the task with the most anonymous memory
 * is killed, with one clear line, and the others go on. The kernel itself never stops for lack of memory.
 *
 * LOCKS     none held; tasks are looked at under their table's lock
 * LINUX     mm/oom_kill.c weighs page tables, swap, and oom_score_adj too.
 */
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
};

static bool weigh(struct task *t, void *ctx)
{
	struct choice *c = ctx;
	u64 pages = t->state == TASK_ALIVE && t->mm ? mm_rss(t->mm) : 0;

	if (pages > c->pages) {
		if (c->task)
			task_put(c->task);
		__atomic_add_fetch(&t->refs, 1, __ATOMIC_RELAXED);
		c->task = t;
		c->pages = pages;
	}
	return true;
}

struct task *oom_choose(void)
{
	struct choice c = {0};

	task_for_each(weigh, &c);
	return c.task;
}

/*
 * oom_kill - kill the largest task and, if it is another one, wait until its memory is back.
 *   returns  false: no task has memory to give. True: look again; the caller itself may be the victim (thread_killed)
 */
bool oom_kill(const char *why)
{
	struct task *victim = oom_choose();
	u64 pages;

	if (!victim)
		return false;
	pages = mm_rss(victim->mm);
	printk("out of memory (%s): killed pid %u (%s), %lu kB of anonymous memory\n", why,
		victim->pid, victim->name, pages << (PAGE_SHIFT - 10));
	vmstat_inc(VM_oom_kill);
	trace(TRACE_oom_kill, victim->pid, pages, 0);
	task_kill(victim, SIGKILL);
	if (victim != current_task())
		waitq_wait_until(&victim->exited, READ_ONCE(victim->state) == TASK_ZOMBIE,
			time_ns() + VICTIM_WAIT_NS, "oom");
	task_put(victim);
	return true;
}
