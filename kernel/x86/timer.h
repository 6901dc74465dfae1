/*
 * timer.h - what time it is, and an interrupt at a time.                               floor 1
 */
#ifndef X86_TIMER_H
#define X86_TIMER_H

#include "lib/types.h"
#include "x86/cpu.h"

#define NS_PER_SEC 1000000000ul
#define NS_PER_MS  1000000ul
#define NS_PER_US  1000ul

void timer_init_clock(void);
void timer_init_cpu(void);
u64 time_wall_ns(void);
u64 timer_tsc_hz(void);
void timer_arm(u64 deadline_ns);
void timer_delay(u64 ns);

/* The clock: TSC at time 0, and ns per tick, << 32. */
extern struct timer_clock {
	u64 start, mult;
} timer_clock;

/* time_ns - since boot, monotonic. Any context. */
static inline u64 time_ns(void)
{
	return (u64)((unsigned __int128)(rdtsc() - timer_clock.start) * timer_clock.mult >> 32);
}

#endif
