/*
 * timeout.h - call a function at a time. Kept sorted per CPU; the timer is armed for the first.   floor 4
 */
#ifndef TIMEOUT_H
#define TIMEOUT_H

#include "lib/list.h"
#include "lib/types.h"

struct timeout {
	struct list link;      /* (q) lock of the CPU's queue, all of these while pending */
	u64 deadline;          /* (q) ns since boot */
	void (*fn)(void *arg); /* (q) in interrupt context */
	void *arg;             /* (q) */
	u32 cpu;               /* whose queue; constant while pending */
	bool pending, expired; /* (q), expired is read without */
};

#define TIME_NEVER (~0ul)

void timeout_init(void);
void timeout_add(struct timeout *t, u64 deadline_ns, void (*fn)(void *), void *arg);
void timeout_cancel(struct timeout *t); /* after it returns, fn is not running and will not run */
static inline bool timeout_expired(const struct timeout *t)
{
	return READ_ONCE(t->expired);
}
void timeout_run(u64 now_ns); /* from the tick: run what is due on this CPU */
/* sched.c: a tick on this CPU at this time too; TIME_NEVER: none */
void timeout_set_slice(u64 deadline_ns);

#endif
