/*
 * runqueue.h - each CPU's queue of threads that wait for it: for sched.c and what stands beside it.   floor 4
 */
#ifndef RUNQUEUE_H
#define RUNQUEUE_H

#include "sched.h"

struct runqueue {
	struct spinlock lock;
	struct list woken, ready;
	u32 nr_ready;          /* on both lists */
	bool took_woken;       /* who has the CPU since took_ns came from woken */
	u64 took_ns, woken_ns; /* woken_ns: what the woken have had while somebody was ready */
	u32 cpu;               /* (c) */
	struct thread *current;
	struct thread *idle; /* (c) */
	/* This CPU only: DEAD, to be freed by the next thread; or READY, to be moved by it. */
	struct thread *left;
	u64 stopped_for; /* the newest sched_stop_word this CPU stood still for, or has worked for */
};

extern struct runqueue runqueues[MAX_CPUS];

/* The stop that is on (sched_stop.c): its number, what it is and whose, never the same twice; 0: none. */
extern u64 sched_stop_word;
#define STOP_CALL MAX_CPUS /* nobody stands still: each runs sched_stop_call and goes on */
extern void (*sched_stop_call)(void); /* NULL until the word's owner has written it */

/* The run queue of t, locked. t may be moved until the lock is had: look again then. */
static inline struct runqueue *runqueue_lock_of(const struct thread *t)
{
	for (;;) {
		struct runqueue *rq = &runqueues[READ_ONCE(t->cpu)];

		spin_lock(&rq->lock);
		if (likely(READ_ONCE(t->cpu) == rq->cpu))
			return rq;
		spin_unlock(&rq->lock);
	}
}

static inline bool runqueue_is_idle(const struct runqueue *rq)
{
	return READ_ONCE(rq->current) == rq->idle && READ_ONCE(rq->nr_ready) == 0;
}

/* Threads that want this CPU; read without its lock, so only a good guess. */
static inline u32 runqueue_load(const struct runqueue *rq)
{
	return READ_ONCE(rq->nr_ready) + (READ_ONCE(rq->current) != rq->idle);
}

static inline bool may_run_on(const struct thread *t, u32 cpu)
{
	return !t->pinned || READ_ONCE(t->allowed) >> cpu & 1;
}

static inline void runqueue_add(struct runqueue *rq, struct thread *t)
{
	list_add_tail(&t->run_link, t->woken ? &rq->woken : &rq->ready);
	rq->nr_ready++;
}

static inline void runqueue_remove(struct runqueue *rq, struct thread *t)
{
	list_del(&t->run_link);
	rq->nr_ready--;
}

/* --- on which CPU; interrupts off ------------------------------------------------------------------ */

u32 runqueue_choose_any(const struct thread *t);

/* Where should t run? Where it ran, if that CPU is idle; an idle one; the one with the shortest queue. */
static inline u32 runqueue_choose(const struct thread *t)
{
	if (may_run_on(t, t->cpu) && (nr_cpus == 1 || runqueue_is_idle(&runqueues[t->cpu])))
		return t->cpu;
	return runqueue_choose_any(t);
}

/* Something changed for the CPU of rq: it must come by its scheduler. Lock held. */
void runqueue_kick(struct runqueue *rq);
/* A READY thread on no queue joins the one of `cpu`; t->cpu says so already. Takes its lock. */
void runqueue_enqueue(struct thread *t, u32 cpu);
/* A READY thread on no queue, its registers saved, goes where it may run. Any context. */
void runqueue_send(struct thread *t);
/* This CPU has nothing to do: help the one with the longest queue. No lock held. */
void runqueue_steal(struct runqueue *rq);
/* End of a slice with others waiting: give one to a CPU that has two fewer. No lock held. */
void runqueue_push(struct runqueue *rq);

#endif
