/*
 * seeded.c - which mistake is on                                                               floor 1
 *
 * LOCKS     none: one word, changed while nothing runs that it is about.
 * LINUX     none; CONFIG_FAULT_INJECTION is the nearest relation.
 */
#include "seeded.h"

#include "x86/timer.h"

#define WINDOW_NS                                                                                  \
	(4 * NS_PER_MS) /* long enough for another CPU, of a host with fewer than the guest */

u32 seeded_bug;

bool seeded_pause(void)
{
	timer_delay(WINDOW_NS);
	return true;
}
