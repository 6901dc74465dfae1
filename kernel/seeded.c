/*
 * seeded.c - which mistake is on, and the meeting in its window                                 floor 1
 *
 * IDEA
 *   the one who makes the mistake            the test's other side
 *     ... lets go too early                    until seeded_is_open()
 *     opens, sees to its inbox    <-------     does what must not be done now
 *     until fn() says: he was here ------->    fn() is true
 *     goes on, as if nothing had happened
 *
 * LOCKS     none: words, changed by `inject seed` and by one test at a time.
 * LINUX     none; CONFIG_FAULT_INJECTION is the nearest relation.
 */
#include "seeded.h"

#include "sync.h"
#include "x86/timer.h"

#define ALONE_NS (4 * NS_PER_MS) /* no test says what to wait for */

u32 seeded_bug;

static bool (*others_done)(void *ctx);
static void *others_ctx;
static bool open; /* (x) somebody is in the window */

void seeded_meet(bool (*fn)(void *ctx), void *ctx)
{
	others_ctx = ctx;
	__atomic_store_n(&others_done, fn, __ATOMIC_RELEASE);
}

bool seeded_pause(void)
{
	bool (*fn)(void *ctx) = __atomic_load_n(&others_done, __ATOMIC_ACQUIRE);
	u64 end = time_ns() + (fn ? SEEDED_LIMIT_NS : ALONE_NS);

	__atomic_store_n(&open, true, __ATOMIC_SEQ_CST);
	while (time_ns() < end && !(fn && fn(others_ctx))) {
		sync_poll(); /* the others' flushes wait for this CPU */
		cpu_relax();
	}
	__atomic_store_n(&open, false, __ATOMIC_SEQ_CST);
	return true;
}

bool seeded_is_open(void)
{
	return __atomic_load_n(&open, __ATOMIC_SEQ_CST);
}
