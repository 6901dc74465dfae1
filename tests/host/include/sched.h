/*
 * sched.h - the host's: what floors 5 and 6 want from the scheduler, without a scheduler.
 *
 * Takes the place of kernel/sched.h; fake_mmu.c has the functions. A sleep whose condition does not hold
 * cannot end here, so it ends the piece of kernel code that is under test: machine_sleep().
 */
#ifndef SCHED_H
#define SCHED_H

#include "lib/list.h"
#include "mm/mm.h"
#include "sync.h"

struct task;
struct pager_wait;

struct thread {
	u32 mempolicy;
	u32 tid;
	bool kill_pending;
	struct mm *mm;
};

struct waitq {
	u32 wakes; /* how often somebody called waitq_wake_*() */
};

__noreturn void machine_sleep(const char *why);

/* A thread gives way because another CPU must get on first: on one host thread that ends its access. */
#define sched_yield machine_yield /* the C library has the name */
void sched_yield(void);

static inline void preempt_point(void)
{
	machine_pause();
}

static inline bool thread_killed(void)
{
	return current_thread() && current_thread()->kill_pending;
}

static inline void sched_stop_others(void (*fn)(void *), void *arg)
{
	fn(arg);
}

static inline void sched_on_each_cpu(void (*fn)(void))
{
	fn();
}

static inline void sched_wake_idle(void)
{
}

static inline void waitq_init(struct waitq *q, const char *name)
{
	(void)name;
	q->wakes = 0;
}

static inline void waitq_wake_all(struct waitq *q)
{
	q->wakes++;
}

static inline void waitq_wake_one(struct waitq *q)
{
	q->wakes++;
}

#define waitq_wait(q, cond, why)                                                                   \
	do {                                                                                       \
		(void)(q);                                                                         \
		if (!(cond))                                                                       \
			machine_sleep(why);                                                        \
	} while (0)

#define waitq_wait_until(q, cond, deadline, why)                                                   \
	do {                                                                                       \
		(void)(q);                                                                         \
		(void)(deadline);                                                                  \
		if (!(cond))                                                                       \
			machine_sleep(why);                                                        \
	} while (0)

struct thread *thread_create(
	const char *name, void (*entry)(void *), void *arg, struct task *task, struct mm *mm);
void sched_start(struct thread *t);

#endif
