/*
 * boot.c - the first programs: the shell, CMD, what the monitor's `run` starts                  ring 3
 *
 *   mode      CMD    what runs
 *   shell     no     /bin/sh for a person, started again whenever it ends
 *   shell     yes    /bin/sh -c CMD; when it ends the machine goes off with its status
 *   monitor   -      nothing, until the monitor says `run`
 */
#include "lib/types.h"

#include "core.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define CMD_BYTES   (64u << 10)
#define SPAWN_BYTES (128u << 10)

#define TERMINAL_ENV                                                                               \
	"PATH=/bin:/sbin:/usr/bin:/usr/sbin:/root\0HOME=/root\0TERM=linux\0USER=root\0SHELL=/bin/" \
	"sh"
static const char environment[] = TERMINAL_ENV "\0PS1=pagoda:\\w# \0ENV=/etc/profile";
#define NR_ENVIRONMENT 7

static int shell;        /* pid of the person's shell, or of CMD's; 0: none */
static bool command;     /* the shell runs CMD */
static int before_spawn; /* the foreground group before `run` took it */

/* --- the shell ---------------------------------------------------------------------------------------------------- */

static void say(const char *text)
{
	struct message m = {.label = CONSOLE_WRITE,
		.word = {(uint64_t)text, strlen(text)},
		.handle = HANDLE_NONE};

	/* A console that died has lost a greeting, no more. */
	ipc_call(SLOT_CONSOLE, &m, time_now() + NS_PER_SEC);
}

static void start_shell(void)
{
	static const char args[] = "-sh";
	const struct start start = {
		.path = "/bin/sh",
		.args = args,
		.arg_bytes = sizeof(args),
		.argc = 1,
		.env = environment,
		.env_bytes = sizeof(environment),
		.envc = NR_ENVIRONMENT,
		.folder = "/",
		.foreground = true,
	};

	shell = process_start(&start);
	if (shell < 0) {
		linux_log("linux: /bin/sh does not start: error %d", shell);
		shell = 0;
	}
}

static void run_command(const char *text, size_t bytes)
{
	static char args[CMD_BYTES + 16];
	const struct start start = {
		.path = "/bin/sh",
		.args = args,
		.arg_bytes = sizeof("sh") + sizeof("-c") + bytes + 1,
		.argc = 3,
		.env = environment,
		.env_bytes = sizeof(environment),
		.envc = NR_ENVIRONMENT,
		.folder = "/",
		.foreground = true,
	};

	memcpy(args, "sh\0-c\0", 6);
	memcpy(args + 6, text, bytes);
	args[6 + bytes] = 0;
	command = true;
	shell = process_start(&start);
	if (shell < 0) {
		linux_log("linux: /bin/sh does not start: error %d", shell);
		machine_power(SLOT_MACHINE, 127);
	}
}

static bool mode_is(const char *mode)
{
	char text[16];
	long n = machine_info(SLOT_MACHINE, MACHINE_MODE, text, sizeof(text));

	return n == (long)strlen(mode) && !memcmp(text, mode, (size_t)n);
}

void boot_start(void)
{
	static char text[CMD_BYTES];
	long n;

	machine_spawner(SLOT_MACHINE, SLOT_SERVICE);
	if (mode_is("monitor"))
		return;
	n = machine_info(SLOT_MACHINE, MACHINE_CMD, text, sizeof(text));
	if (n > 0) {
		run_command(text, (size_t)n);
		return;
	}
	say("`ls /bin /sbin` lists the programs, `pagoda help` the commands of the kernel's "
	    "monitor.\n");
	start_shell();
}

void boot_process_ended(struct process *p, int status)
{
	int sig = status & 0x7f;

	if (p->on_console && job_foreground() == p->pgrp)
		job_give(job_session(), before_spawn);
	if (p->pid != shell)
		return;
	if (command)
		machine_power(SLOT_MACHINE, sig ? 128 + sig : status >> 8 & 0xff);
	start_shell();
}

/* --- the monitor's run ------------------------------------------------------------------------------------------- */

/* The arguments, out of the message's memory. 0, -errno */
static long spawn_args(const struct message *m, char *to, size_t bytes)
{
	struct memory_map map = {
		.memory = (uint32_t)m->handle,
		.bytes = ALIGN_UP(bytes, PAGE_BYTES),
		.prot = PROT_READ,
		.flags = MAP_SHARED,
	};
	long at = memory_map(&map);

	if (at < 0)
		return at;
	memcpy(to, (const void *)at, bytes);
	memory_unmap(0, (uint64_t)at, map.bytes);
	return to[bytes - 1] ? -EINVAL : 0;
}

static bool count_is(const char *args, size_t bytes, uint64_t count)
{
	for (size_t i = 0; i < bytes; i++)
		count -= !args[i];
	return !count;
}

/* A group of its own; in the terminal's session, if there is one, so that the terminal is theirs too. */
static long spawn(const char *args, size_t bytes, unsigned count, bool background)
{
	char path[256];
	struct start start = {
		.path = path,
		.args = args,
		.arg_bytes = bytes,
		.argc = count,
		.env = environment,
		.env_bytes = sizeof(environment),
		.envc = NR_ENVIRONMENT,
		.folder = "/",
		.session = job_session(),
		.foreground = !background,
		.held = true,
	};
	int previous = job_foreground(), pid;

	snprintf(path, sizeof(path), "%s%.240s", strchr(args, '/') ? "" : "/bin/", args);
	pid = process_start(&start);
	if (pid > 0 && !background) {
		before_spawn = previous;
		process_find(pid)->on_console = true;
	}
	return pid;
}

long boot_spawn(const struct message *m)
{
	static char args[SPAWN_BYTES];
	size_t bytes = m->word[1];
	long result = -EINVAL;

	if (!m->handle)
		return -EINVAL;
	if (bytes > sizeof(args))
		result = -E2BIG;
	else if (bytes && m->word[0])
		result = spawn_args(m, args, bytes);
	handle_close((uint32_t)m->handle);
	if (result)
		return result;
	if (!count_is(args, bytes, m->word[0]) || !*args)
		return -EINVAL;
	return spawn(args, bytes, (unsigned)m->word[0], m->word[2] & 1);
}
