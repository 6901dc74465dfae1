/*
 * server.c - one server: its program, its task, how often it ended                              ring 3
 *
 * Knows what all servers have in common; who depends on whom, and in which order they come, is main.c's.
 *
 * INVARIANTS
 *   V1  task != 0 exactly while UP
 *   V2  starts grows with every task: the badge of an old task's end is never that of the present one
 *   V3  GIVEN_UP: endpoint == 0, so no client can wait there
 *
 * LOCKS     none: one thread.
 */
#include "server.h"

#include "lib/cpio.h"
#include "log.h"
#include "native.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const void *initrd;
static uint64_t initrd_bytes;

bool server_map_initrd(void)
{
	long addr = machine_initrd(SLOT_MACHINE, &initrd_bytes);

	if (addr < 0)
		return false;
	initrd = (const void *)addr;
	return true;
}

const char *server_status_text(uint64_t status, char *buf, size_t size)
{
	if (status & 0x7f)
		snprintf(buf, size, "signal %d", (int)(status & 0x7f));
	else
		snprintf(buf, size, "exit %d", (int)(status >> 8 & 0xff));
	return buf;
}

static long build_error(const struct server *s, long error, const char *why)
{
	say("init: %s cannot be started: %s: %s (errno %ld)", s->name, s->path, why, -error);
	return error;
}

long server_build(struct server *s, unsigned id, uint32_t exits, const struct spawn_grant *more,
	unsigned nr_more, uint32_t *thread)
{
	struct spawn_grant grants[SERVER_GRANTS] = {
		{SLOT_MACHINE, SLOT_MACHINE, s->machine},
		{SLOT_SERVICE, s->endpoint, RIGHT_SEND | RIGHT_RECEIVE | RIGHT_DUPLICATE},
		{SLOT_SELF, 0, RIGHT_READ | RIGHT_WRITE | RIGHT_MANAGE | RIGHT_DUPLICATE},
	};
	struct spawn spawn = {.machine = SLOT_MACHINE, .exits = exits, .name = s->path};
	struct cpio_entry entry;
	enum cpio_result found = cpio_find(initrd, initrd_bytes, s->path, &entry);
	long error;

	if (found != CPIO_OK)
		return build_error(s, -ENOENT, cpio_text(found));
	memcpy(grants + 3, more, nr_more * sizeof(*more));
	spawn.file = entry.data;
	spawn.file_bytes = entry.size;
	spawn.grants = grants;
	spawn.nr_grants = 3 + nr_more;
	s->starts++; /* V2 */
	spawn.cookie = server_cookie(s, id);
	error = spawn_task(&spawn);
	if (error)
		return build_error(s, error, spawn.error);
	s->state = SERVER_UP;
	s->task = spawn.task;
	*thread = spawn.thread;
	return 0;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

bool server_ended(struct server *s)
{
	uint64_t now = now_ns();
	bool often;

	/* The oldest of them is the next to be overwritten. */
	s->ends[s->nr_ends++ % SERVER_ENDS] = now;
	often = s->nr_ends >= SERVER_ENDS &&
		now - s->ends[s->nr_ends % SERVER_ENDS] < SERVER_ENDS_SEC * 1000000000ull;
	if (s->task)
		handle_close(s->task);
	s->task = 0;
	s->state = often ? SERVER_GIVEN_UP : SERVER_DOWN;
	if (often && s->endpoint) {
		handle_close(s->endpoint);
		s->endpoint = 0;
	}
	return !often;
}
