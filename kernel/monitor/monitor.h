/*
 * monitor.h - the in-kernel monitor on COM1: its two entries and its start.                  floor 7
 */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

#include "monitor/command.h"

/*
 * monitor_init - where the monitor owns the console (machine.h), start its thread: it runs CMD and leaves the machine,
 *                or talks to a person.
 *
 *   after    BREAK and panic lead here
 */
void monitor_init(void);

/* A session that writes to out: for self-tests. */
void monitor_session_init(
	struct monitor *m, void (*put)(void *ctx, const char *s, usize len), void *ctx);

void monitor_banner(struct monitor *m);
__noreturn void monitor_exit(int status);

/*
 * monitor_program - run a program, and wait for it unless m->background.
 *   returns  as sh: its exit code, 128 + signal; STATUS_FAILED: it was not started, and it is said why
 */
int monitor_program(struct monitor *m, int argc, char *const argv[]);

/* Switch off on behalf of ring 3; with CMD, say how that line went as the monitor does. */
__noreturn void monitor_power(int status);

#endif
