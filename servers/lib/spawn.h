/*
 * spawn.h - start a program as a native task: one without a personality.                         ring 3
 */
#ifndef SERVERS_SPAWN_H
#define SERVERS_SPAWN_H

#include "service.h"
#include <stddef.h>

/* A handle that the new task finds in its table. */
struct spawn_grant {
	uint32_t index;  /* there */
	uint32_t handle; /* here; 0: the new task itself */
	uint32_t rights;
};

struct spawn {
	uint32_t machine; /* RIGHT_CREATE */
	uint32_t exits;   /* endpoint[RECEIVE]: its MESSAGE_EXIT comes there */
	uint64_t cookie;  /* badge of that message */
	const void *file; /* an ELF program, in memory */
	size_t file_bytes;
	const char *name; /* its path: argv[0]; the base name is its label */
	const struct spawn_grant *grants;
	unsigned nr_grants;
	/* out, after success: close them when no longer needed */
	uint32_t task;     /* all rights */
	uint32_t thread;   /* stopped: thread_resume() begins it */
	const char *error; /* after a failure: in words */
};

/*
 * spawn_task - a new task with the program's segments, a stack with its name as only argument, the granted handles and one
 * thread that does not run yet.
 *
 *   returns  0, or a negated errno with s->error set: nothing of it is left
 */
long spawn_task(struct spawn *s);

#endif
