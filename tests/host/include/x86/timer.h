/*
 * timer.h - the clock, for kernel code that runs on the host: time_ns() is the test's.
 */
#ifndef X86_TIMER_H
#define X86_TIMER_H

#include "lib/types.h"

#define NS_PER_SEC 1000000000ul
#define NS_PER_MS  1000000ul
#define NS_PER_US  1000ul

u64 time_ns(void);

#endif
