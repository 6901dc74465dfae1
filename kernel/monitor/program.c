/*
 * program.c - programs that commands start: run, demo, bench, kill                           floor 7
 *
 * IDEA
 *   spawn_program() asks the personality, and the task is waited for here. The console's input is ring 3's meanwhile:
 *   the console server has the line discipline, Ctrl-C included. Without servers in the initrd nobody starts programs.
 *
 *   A session that is closed while its program runs does to it what Ctrl-C does.
 *
 * LOCKS     none held while a program runs.
 * LINUX     a shell's, with waitpid.
 */
#include "loader.h"
#include "machine.h"
#include "monitor/monitor.h"
#include "spawn.h"
#include "task.h"
#include "x86/timer.h"
#include <abi/errno.h>

#define SIGINT_STATUS  2
#define SIGKILL_STATUS 9
#define POLL_NS        (20 * NS_PER_MS)

/* The names a student meets; others are numbers. */
static const char *signal_name(int signal)
{
	switch (signal) {
	case 2:
		return "interrupted";
	case 4:
		return "illegal instruction";
	case 5:
		return "breakpoint";
	case 6:
		return "aborted";
	case 7:
		return "bus error";
	case 8:
		return "arithmetic error";
	case 9:
		return "killed";
	case 11:
		return "segmentation fault";
	}
	return "signal";
}

/* As in sh: the exit code, or 128 + the signal; what is not 0 is said. */
static int exit_code(struct monitor *m, const char *name, int status)
{
	int signal = status & 0x7f;

	if (!signal) {
		if (status)
			say(m, "%s: exit status %d\n", name, status >> 8 & 0xff);
		return status >> 8 & 0xff;
	}
	say(m, "%s: %s (signal %d)\n", name, signal_name(signal), signal);
	return 128 + signal;
}

/* Start it; *t gets a reference. 0, or STATUS_FAILED and it is said why. */
static int start(struct monitor *m, int argc, char *const argv[], struct task **t)
{
	usize initrd_bytes;
	int err;

	if (!machine_has_servers()) {
		loader_initrd(&initrd_bytes);
		return fail(m, "%s: nobody is there to start programs: %s", argv[0],
			initrd_bytes ? "/servers/init or /servers/linux is not in the initrd"
				     : "there is no initrd");
	}
	err = spawn_program(argc, argv, m->background, t);
	if (err == -ENOENT)
		return fail(m, "%s: no such program", argv[0]);
	return err ? fail_errno(m, argv[0], err) : STATUS_OK;
}

/* Wait for the end of a program; its wait status. Gives up t. */
static int wait_for(struct monitor *m, struct task *t)
{
	bool stopped = false;

	while (m->stop && READ_ONCE(t->state) != TASK_ENDED) {
		waitq_wait_until(&t->exited, READ_ONCE(t->state) == TASK_ENDED, time_ns() + POLL_NS,
			"program");
		if (!stopped && READ_ONCE(*m->stop))
			stopped = task_kill(t, SIGINT_STATUS);
	}
	return task_wait(t);
}

int monitor_program(struct monitor *m, int argc, char *const argv[])
{
	bool lend = m->interactive && !m->background;
	struct task *t = NULL;
	int status;

	if (lend)
		machine_input_to_servers(true);
	status = start(m, argc, argv, &t);
	if (!status && m->background) {
		say(m, "[%u] %s\n", t->pid, argv[0]);
		task_put(t);
	} else if (!status) {
		status = exit_code(m, argv[0], wait_for(m, t));
	}
	if (lend)
		machine_input_to_servers(false);
	return status;
}

int cmd_run(struct monitor *m, int argc, char **argv)
{
	if (argc < 2)
		return usage(m);
	return monitor_program(m, argc - 1, argv + 1);
}

int cmd_kill(struct monitor *m, int argc, char **argv)
{
	struct task *t;

	if (argc != 2)
		return usage(m);
	t = arg_task(m, argv[1]);
	if (!t)
		return STATUS_FAILED;
	task_kill(t, SIGKILL_STATUS);
	task_put(t);
	return STATUS_OK;
}
