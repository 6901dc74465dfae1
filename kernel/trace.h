/*
 * trace.h - a ring of fixed records in memory: what was decided, when, by whom.        floor 1
 *
 * Off by default; one test of one flag per site then. Event names are Linux's tracepoints where
 * Linux has one. Read by the monitor's `trace show` and from outside through guest memory.
 */
#ifndef TRACE_H
#define TRACE_H

#include "lib/types.h"
#include <abi/trace.h>

extern bool trace_on;
void trace_write(enum trace_event e, u64 a, u64 b, u64 c);

static inline void trace(enum trace_event e, u64 a, u64 b, u64 c)
{
	if (unlikely(READ_ONCE(trace_on)))
		trace_write(e, a, b, c);
}

u32 trace_read(struct trace_record *out,
	u32 max); /* newest `max` records, oldest first; returns how many */
void trace_clear(void);
const char *trace_name(enum trace_event e);

#endif
