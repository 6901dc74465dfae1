/*
 * server.h - one server as init sees it.                                                          ring 3
 */
#ifndef INIT_SERVER_H
#define INIT_SERVER_H

#include "spawn.h"
#include <stdbool.h>

#define SERVER_ENDS     10 /* so many ends ... */
#define SERVER_ENDS_SEC 10 /* ... within so many seconds: given up */
#define SERVER_GRANTS   8

enum server_state {
	SERVER_DOWN, /* to be started */
	SERVER_UP,   /* its task exists */
	SERVER_GIVEN_UP,
};

struct server {
	const char *name;
	const char *path;  /* in the initrd */
	uint32_t machine;  /* its rights of the machine */
	uint32_t endpoint; /* where it is called: all rights. 0: none */
	enum server_state state;
	uint32_t task;              /* UP */
	uint64_t starts;            /* numbers its tasks: part of their badge */
	uint64_t ends[SERVER_ENDS]; /* when, in ns since boot; a ring */
	unsigned nr_ends;
};

/* What MESSAGE_EXIT of its present task is badged with: `id` and the number of the start. */
static inline uint64_t server_cookie(const struct server *s, unsigned id)
{
	return s->starts << 8 | id;
}

static inline unsigned server_cookie_id(uint64_t cookie)
{
	return cookie & 0xff;
}

/*
 * server_build - a task with the server's program that does not run yet. DOWN -> UP.
 *
 *   exits    init's endpoint
 *   more     handles it gets beside SLOT_MACHINE, SLOT_SERVICE and SLOT_SELF
 *   *thread  thread_resume() lets it run; to be closed
 *   returns  0, or a negated errno: said on the console; counted as an end by the caller
 */
long server_build(struct server *s, unsigned id, uint32_t exits, const struct spawn_grant *more,
	unsigned nr_more, uint32_t *thread);

/* server_ended - UP -> DOWN: its task is forgotten. Returns false: too often; GIVEN_UP, the endpoint is closed. */
bool server_ended(struct server *s);

/* "exit 3" or "signal 9", from a wait status. */
const char *server_status_text(uint64_t status, char *buf, size_t size);

/* The initrd, mapped once. False: there is none. */
bool server_map_initrd(void);

#endif
