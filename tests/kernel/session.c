/*
 * session.c - command lines of the monitor that run for somebody else                         self-tests
 */
#include "monitor/session.h"
#include "ktest.h"
#include "lib/string.h"
#include "mm/kmalloc.h"
#include "monitor/edit.h"
#include "sched.h"
#include "x86/timer.h"
#include <abi/errno.h>

#define TEXT_BYTES 4096

static int open_line(const char *line, bool may_power, struct object **o)
{
	return session_open(line, strlen(line), may_power, o);
}

/* Everything it writes, cut off at TEXT_BYTES, with a zero; its status. */
static int run_line(const char *line, bool may_power, char *text)
{
	struct object *o;
	usize used = 0;
	char piece[64]; /* small: many reads */
	int status = open_line(line, may_power, &o);
	s64 n;

	if (status)
		return status;
	while ((n = session_read(o, piece, sizeof(piece))) > 0) {
		usize kept = MIN((usize)n, TEXT_BYTES - 1 - used);

		memcpy(text + used, piece, kept);
		used += kept;
	}
	text[used] = '\0';
	status = session_status(o);
	object_put(o);
	return status;
}

KTEST(session, runs_a_line)
{
	char *text = kmalloc(TEXT_BYTES);

	KT_REQUIRE(ctx, text);
	KT_EXPECT(ctx, run_line("echo one; echo two three", false, text) == 0);
	KT_EXPECT(ctx, !strcmp(text, "one\ntwo three\n"));
	KT_EXPECT(ctx, run_line("version", false, text) == 0 && strstr(text, "Pagoda version"));
	KT_EXPECT(ctx, run_line("nosuch", false, text) == 127 && strstr(text, "unknown command"));
	KT_EXPECT(ctx, run_line("echo '", false, text) == 2);
	KT_EXPECT(ctx, run_line("", false, text) == 0 && !*text);
	kfree(text);
}

/* More than a page of output, read in small pieces; lists under locks. */
KTEST(session, long_output)
{
	char *text = kmalloc(TEXT_BYTES);

	KT_REQUIRE(ctx, text);
	KT_EXPECT(ctx, run_line("help --json; slabinfo; vmstat; ps", false, text) == 0);
	KT_EXPECT(ctx, strlen(text) == TEXT_BYTES - 1 && !strncmp(text, "{\"v\":1,", 7));
	kfree(text);
}

KTEST(session, needs_a_second_right)
{
	char *text = kmalloc(TEXT_BYTES);

	KT_REQUIRE(ctx, text);
	KT_EXPECT(ctx, run_line("poweroff 3", false, text) == 1);
	KT_EXPECT(ctx, strstr(text, "permission denied"));
	KT_EXPECT(ctx, run_line("panic overflow", false, text) == 1);
	KT_EXPECT(ctx, strstr(text, "permission denied"));
	KT_EXPECT(ctx, run_line("poweroff nonsense", true, text) == 2);
	kfree(text);
}

/* The last handle goes: the command ends as after Ctrl-C. */
KTEST(session, closed_early)
{
	u64 begin = time_ns();
	struct object *o;

	KT_REQUIRE(ctx, open_line("watch -n 600 -c 100 version", false, &o) == 0);
	o->ops->opened(o, 0);
	o->ops->opened(o, 0);
	o->ops->closed(o, 0);
	sched_sleep_until(time_ns() + 200 * NS_PER_MS);
	o->ops->closed(o, 0);
	KT_EXPECT(ctx, session_status(o) == 0);
	KT_EXPECT(ctx, time_ns() - begin < 300 * NS_PER_SEC);
	object_put(o);
}

/*
 * A place is free again when the thread of a session has given up its reference, which is a little after the end: on a
 * loaded machine after a long while. Anything but -EAGAIN ends the wait.
 */
static int open_when_free(const char *line, struct object **o)
{
	u64 deadline = time_ns() + 60 * NS_PER_SEC;
	int error;

	while ((error = open_line(line, false, o)) == -EAGAIN && time_ns() < deadline)
		sched_sleep_until(time_ns() + NS_PER_MS);
	return error;
}

/* We hold a reference on each: all places are taken, ended or not. Then all are free again, as often as one likes. */
KTEST(session, only_so_many)
{
	struct object *all[SESSION_MAX], *one;

	for (u32 round = 0; round < 3; round++) {
		u32 n = 0;

		while (n < SESSION_MAX && !open_when_free("echo x", &all[n]))
			n++;
		KT_EXPECT(ctx, n == SESSION_MAX);
		KT_EXPECT(ctx, n < SESSION_MAX || open_line("echo x", false, &one) == -EAGAIN);
		while (n--) {
			KT_EXPECT(ctx, session_status(all[n]) == 0);
			object_put(all[n]);
		}
	}
	KT_EXPECT(ctx, session_open("", EDIT_BYTES, false, &one) == -E2BIG);
}
