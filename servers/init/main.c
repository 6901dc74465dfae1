/*
 * main.c - init: who is started, in which order, and what happens when one ends                 ring 3
 *
 * Waits for messages about ends, and answers them by starts. README.md says phase by phase what each of them means for the
 * others. It serves nobody: there is no call to init.
 *
 * INVARIANTS
 *   N1  a console that runs knows its client before the client runs
 *   N2  while CMD runs, no second linux is started
 *   N3  nothing here waits without a deadline, except for the next end
 *
 * LOCKS     none: one thread.
 */
#include "log.h"
#include "native.h"
#include "server.h"
#include "service.h"
#include <errno.h>
#include <string.h>
#include <time.h>

enum {
	CONSOLE,
	PAGER,
	LINUX,
	NR_SERVERS
};

#define CLIENT_TIMEOUT_NS 1000000000ull /* for the console's answer */
#define RETRY_NS          200000000ull  /* after a start that failed */

static struct server servers[NR_SERVERS] = {
	[CONSOLE] = {.name = "console", .path = "/servers/console", .machine = RIGHT_UART},
	[PAGER] = {.name = "pager", .path = "/servers/pager", .machine = RIGHT_INITRD},
	[LINUX] = {.name = "linux",
		.path = "/servers/linux",
		.machine = RIGHT_INITRD | RIGHT_DEBUG | RIGHT_POWER | RIGHT_REPORT | RIGHT_CREATE |
			   RIGHT_DUPLICATE},
};

static uint32_t exits;      /* our endpoint */
static uint32_t linux_news; /* notification at linux's endpoint */
static uint32_t to_console; /* the console's endpoint with our badge */
static bool command_given;  /* CMD: this boot runs one command */

static uint64_t deadline_in(uint64_t ns)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec + ns;
}

static void close_handle(uint32_t *h)
{
	if (*h)
		handle_close(*h);
	*h = 0;
}

/* --- console ----------------------------------------------------------------------------------------------------- */

static long start_console(void)
{
	struct spawn_grant client = {SLOT_CLIENT, servers[LINUX].task, RIGHT_READ | RIGHT_WRITE};
	uint32_t thread;
	long error = server_build(
		&servers[CONSOLE], CONSOLE, exits, &client, servers[LINUX].task != 0, &thread);

	if (error)
		return error;
	thread_resume(thread);
	handle_close(thread);
	if (linux_news)
		notification_signal(linux_news, LINUX_BIT_CONSOLE);
	return 0;
}

/* A console that runs hears of its new client. One that does not answer is killed: the next gets it by SLOT_CLIENT. */
static void tell_console(void)
{
	struct message m = {.label = CONSOLE_CLIENT};
	long client, status;

	if (servers[CONSOLE].state != SERVER_UP)
		return;
	client = handle_duplicate(
		servers[LINUX].task, RIGHT_READ | RIGHT_WRITE | RIGHT_DUPLICATE, 0);
	if (client < 0)
		return;
	m.handle = client;
	status = ipc_call(to_console, &m, deadline_in(CLIENT_TIMEOUT_NS));
	handle_close(client);
	if (!status && !m.label)
		return;
	say("init: console does not take its client (%ld, %ld): killed", status, (long)m.label);
	task_kill(servers[CONSOLE].task, 9);
}

/* --- pager ------------------------------------------------------------------------------------------------------- */

static long start_pager(void)
{
	uint32_t thread;
	long error = server_build(&servers[PAGER], PAGER, exits, NULL, 0, &thread);

	if (error)
		return error;
	thread_resume(thread);
	handle_close(thread);
	return 0;
}

/* --- linux ------------------------------------------------------------------------------------------------------- */

/* A new endpoint each time: what is still said about threads of the last linux stays at the last one's. */
static long make_linux_endpoint(void)
{
	long ep, news;

	close_handle(&linux_news);
	close_handle(&servers[LINUX].endpoint);
	ep = endpoint_create();
	if (ep < 0)
		return ep;
	servers[LINUX].endpoint = ep;
	news = notification_create(ep);
	if (news < 0)
		return news;
	linux_news = news;
	return 0;
}

/* linux's way to another server. A server that was given up has none. */
static unsigned add_grant(struct spawn_grant *grants, unsigned nr, uint32_t index, uint32_t handle)
{
	if (handle)
		grants[nr++] = (struct spawn_grant){index, handle, RIGHT_SEND};
	return nr;
}

static long start_linux(void)
{
	struct spawn_grant grants[2];
	unsigned nr = 0;
	uint32_t thread;
	long error = make_linux_endpoint();

	if (error)
		return error;
	nr = add_grant(grants, nr, SLOT_CONSOLE, servers[CONSOLE].endpoint);
	nr = add_grant(grants, nr, SLOT_PAGER, servers[PAGER].endpoint);
	error = server_build(&servers[LINUX], LINUX, exits, grants, nr, &thread);
	if (error)
		return error;
	tell_console(); /* N1 */
	thread_resume(thread);
	handle_close(thread);
	return 0;
}

/* --- ends and starts --------------------------------------------------------------------------------------------- */

static long (*const start[NR_SERVERS])(void) = {
	[CONSOLE] = start_console,
	[PAGER] = start_pager,
	[LINUX] = start_linux,
};

static void ended_too_often(struct server *s)
{
	say("init: %s ended %d times in %d seconds: given up", s->name, SERVER_ENDS,
		SERVER_ENDS_SEC);
	if (s == &servers[CONSOLE])
		close_handle(&to_console);
	if (s == &servers[LINUX])
		close_handle(&linux_news);
	if (command_given)
		machine_power(SLOT_MACHINE, 1);
}

/* Start whatever is down. Returns true if something still is: a start failed. */
static bool start_missing(void)
{
	bool missing = false;

	for (unsigned id = 0; id < NR_SERVERS; id++) {
		if (servers[id].state != SERVER_DOWN || !start[id]())
			continue;
		if (!server_ended(&servers[id]))
			ended_too_often(&servers[id]);
		else
			missing = true;
	}
	return missing;
}

static void handle_end(uint64_t cookie, uint64_t status)
{
	unsigned id = server_cookie_id(cookie);
	struct server *s = &servers[id];
	char text[32];

	if (id >= NR_SERVERS || s->state != SERVER_UP || cookie != server_cookie(s, id))
		return;
	server_status_text(status, text, sizeof(text));
	if (id == LINUX && command_given) { /* N2 */
		say("init: linux ended (%s) while the command ran: power off, status 1", text);
		machine_power(SLOT_MACHINE, 1);
	}
	if (server_ended(s))
		say("init: %s ended (%s), started again", s->name, text);
	else
		ended_too_often(s);
}

/* CMD, and a shell to run it in: the monitor's own command lines are no concern of ours. */
static bool is_command_given(void)
{
	char mode[16] = "", cmd[1];

	machine_info(SLOT_MACHINE, MACHINE_MODE, mode, sizeof(mode) - 1);
	return !strcmp(mode, "shell") &&
	       machine_info(SLOT_MACHINE, MACHINE_CMD, cmd, sizeof(cmd)) != -ENOENT;
}

static long make_endpoints(void)
{
	long ep[3] = {endpoint_create(), endpoint_create(), endpoint_create()};
	long badged;

	if (ep[0] < 0 || ep[1] < 0 || ep[2] < 0)
		return -ENOMEM;
	exits = ep[0];
	servers[CONSOLE].endpoint = ep[1];
	servers[PAGER].endpoint = ep[2];
	badged = handle_duplicate(ep[1], RIGHT_SEND, CONSOLE_BADGE_INIT);
	if (badged < 0)
		return badged;
	to_console = badged;
	return 0;
}

int main(void)
{
	bool missing;

	if (make_endpoints() || !server_map_initrd()) {
		say("init: no endpoints or no initrd: nothing can be started");
		return 1;
	}
	command_given = is_command_given();
	missing = start_missing();
	for (;;) {
		struct message m = {0};
		uint64_t deadline = missing ? deadline_in(RETRY_NS) : DEADLINE_NEVER;

		if (!ipc_receive(exits, &m, deadline) && m.label == MESSAGE_EXIT && m.word[1])
			handle_end(m.badge, m.word[0]);
		missing = start_missing();
	}
}
