/*
 * watchdog.h - says so when nothing goes on.                                                  floor 4
 */
#ifndef WATCHDOG_H
#define WATCHDOG_H

#include "lib/types.h"

#define WATCHDOG_NS     5000000000ul /* between two looks */
#define WATCHDOG_CHECKS 3            /* so many looks without a change, and it is said */

/*
 * watchdog_start - look every `ns` from now on, on this CPU; again: with another `ns`, or from another CPU.
 *   locks    interrupts on; one caller at a time: start-up, and one self-test
 */
void watchdog_start(u64 ns);
u64 watchdog_reports(void); /* lines it has written */

#endif
