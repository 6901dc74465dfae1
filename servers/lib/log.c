/*
 * log.c - how a server says something                                                           ring 3
 *
 * A server has no files and no terminal; the console may be the server that is ill. So its words go through the kernel's
 * log, by machine_log(). For what a person at the console needs to know, not for tracing.
 *
 * LOCKS     none.
 */
#include "log.h"

#include "native.h"
#include "service.h"
#include <stdarg.h>
#include <stdio.h>

void say(const char *fmt, ...)
{
	char line[SAY_BYTES];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof(line))
		n = sizeof(line) - 1;
	if (n > 0)
		machine_log(SLOT_MACHINE, line, n);
}
