/*
 * table.c - which function serves which number                                                  ring 3
 */
#include "calls.h"

#include <sys/syscall.h>

#define NR_CALLS 512

#define ENTRY(name) [SYS_##name] = sys_##name,
static call_handler *const table[NR_CALLS] = {PROCESS_CALLS(ENTRY) FILE_CALLS(ENTRY)};
#undef ENTRY

call_handler *table_find(uint64_t nr)
{
	return nr < NR_CALLS ? table[nr] : NULL;
}

/* One line for each number, and one for all that are no Linux call at all. */
void table_unknown(struct call *c)
{
	static bool said[NR_CALLS + 1];
	size_t i = c->nr < NR_CALLS ? c->nr : NR_CALLS;

	if (said[i])
		return;
	said[i] = true;
	linux_log("%s[%d]: unknown system call %llu: ENOSYS", c->thread->process->name,
		c->thread->process->pid, (unsigned long long)c->nr);
}
