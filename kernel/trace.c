/*
 * trace.c - the ring of trace records.                                                 floor 1
 *
 * IDEA
 *   trace_next counts every record ever begun; record n stands at n % TRACE_RECORDS. A writer takes
 *   its number by one atomic add, so CPUs and interrupt handlers never wait for each other. `tsc`
 *   is 0 while a record is being written: a reader, here or outside through guest memory, skips it.
 *
 * INVARIANTS
 *   E1  a record returned by trace_read() was not written to while it was copied
 *
 * LOCKS     none.
 * LINUX     kernel/trace/ring_buffer.c: per-CPU pages, nested writers, readers that block.
 */
#include "trace.h"
#include "lib/string.h"
#include "x86/cpu.h"

#define TRACE_RECORDS 1024u /* 40 KiB; four times what is shown at once */

bool trace_on;
struct trace_record trace_ring[TRACE_RECORDS];
u64 trace_next;
static u64 first; /* records before this one were cleared away */

static const char *const names[NR_TRACE_EVENTS] = {
#define X(name) #name,
	TRACE_EVENTS(X)
#undef X
};

/* trace_write - put a record into the ring; callers use trace(), which looks at trace_on first. */
void trace_write(enum trace_event e, u64 a, u64 b, u64 c)
{
	u64 n = __atomic_fetch_add(&trace_next, 1, __ATOMIC_RELAXED);
	struct trace_record *r = &trace_ring[n % TRACE_RECORDS];

	__atomic_store_n(&r->tsc, 0, __ATOMIC_RELEASE);
	r->event = e;
	r->cpu = cpu_id();
	r->pid = current_tid();
	r->arg[0] = a;
	r->arg[1] = b;
	r->arg[2] = c;
	__atomic_store_n(&r->tsc, rdtsc(), __ATOMIC_RELEASE);
}

/* Copies one record; false: it was being written (E1). */
static bool copy_record(struct trace_record *out, const struct trace_record *r)
{
	u64 tsc = __atomic_load_n(&r->tsc, __ATOMIC_ACQUIRE);

	*out = *r;
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return tsc && READ_ONCE(r->tsc) == tsc && out->event < NR_TRACE_EVENTS;
}

/*
 * trace_read - the newest `max` records, oldest first.
 *
 *   locks    none: writers go on
 *   returns  how many were copied
 */
u32 trace_read(struct trace_record *out, u32 max)
{
	u64 end = READ_ONCE(trace_next), begin = READ_ONCE(first);
	u32 count = 0;

	if (end - begin > TRACE_RECORDS)
		begin = end - TRACE_RECORDS;
	if (end - begin > max)
		begin = end - max;
	for (u64 n = begin; n < end; n++)
		count += copy_record(&out[count], &trace_ring[n % TRACE_RECORDS]);
	return count;
}

/* trace_clear - forget what was recorded until now. */
void trace_clear(void)
{
	WRITE_ONCE(first, READ_ONCE(trace_next));
}

/* trace_name - Linux's tracepoint, or ours. */
const char *trace_name(enum trace_event e)
{
	return e < NR_TRACE_EVENTS ? names[e] : "?";
}
