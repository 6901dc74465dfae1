/*
 * timeout.h - call a function at a time. Kept sorted per CPU; the timer is armed for the first.   floor 4
 */
#ifndef TIMEOUT_H
#define TIMEOUT_H

#include "lib/list.h"
#include "lib/types.h"

struct timeout {
	struct list link;
	u64 deadline;              /* ns since boot */
	void (*fn)(void *arg);     /* in interrupt context */
	void *arg;
	u32 cpu;
	bool pending, expired;
};

void timeout_add(struct timeout *t, u64 deadline_ns, void (*fn)(void *), void *arg);
void timeout_cancel(struct timeout *t);   /* after it returns, fn is not running and will not run */
static inline bool timeout_expired(const struct timeout *t) { return READ_ONCE(t->expired); }
void timeout_run(u64 now_ns);             /* from the tick: run what is due on this CPU */
u64 timeout_next(void);                   /* ns of this CPU's first, or ~0 */
u64 time_ns(void);                        /* since boot, monotonic (x86/timer.c) */

#endif
