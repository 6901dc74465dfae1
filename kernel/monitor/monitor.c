/*
 * monitor.c - the console thread, the stopped monitor, and CMD                               floor 7
 *
 * IDEA
 *   one command table, two entries:
 *     console   a thread; types go through the UART's ring; commands may sleep, take locks, run programs
 *     stopped   BREAK or panic: the other CPUs stand still by NMI, interrupts are off here, the UART is
 *               polled; only commands that take no lock. It writes to the UART directly, because the one
 *               who holds the console's lock may be standing still.
 *   With CMD the console thread runs that line and leaves the machine; a panic then leaves too. Without it, a
 *   person is there. Where servers own the console (machine.c) there is no console thread: BREAK, or Ctrl-\ twice,
 *   leads to the stopped monitor.
 *
 *   While a program runs in the foreground, what is typed goes to ring 3 (program.c).
 *
 * LOCKS     none of its own.
 * LINUX     the idea is kgdb's and xmon's; the console's is a tty and a shell.
 */
#include "monitor/monitor.h"
#include "monitor/json.h"
#include "lib/string.h"
#include "machine.h"
#include "panic.h"
#include "printk.h"
#include "sched.h"
#include "x86/debugport.h"
#include "x86/serial.h"
#include "x86/smp.h"
#include "x86/timer.h"
#include "ksyms.h"
#include <abi/errno.h>

#define CTRL_C 0x03

static struct monitor console, stopped;
static struct waitq input_wait; /* the console thread, for bytes */

void monitor_session_init(
	struct monitor *m, void (*put)(void *ctx, const char *s, usize len), void *ctx)
{
	memset(m, 0, sizeof(*m));
	m->out = (struct report_out){.put = put, .ctx = ctx};
	m->may_power = true;
	edit_init(&m->edit, put, complete, ctx);
	m->edit.ctx = m;
}

/* --- bytes in ------------------------------------------------------------------------------------ */

#define AHEAD_BYTES 1024u

/* Typed while a command ran: kept for the next line. Only the console thread touches it. */
static u8 ahead[AHEAD_BYTES];
static u32 ahead_head, ahead_tail;

static void ahead_put(u8 byte)
{
	if (ahead_head - ahead_tail < AHEAD_BYTES)
		ahead[ahead_head++ % AHEAD_BYTES] = byte;
}

bool monitor_interrupted(struct monitor *m)
{
	bool interrupted = false;
	int byte;

	if (m->stop)
		return READ_ONCE(*m->stop);
	if (!m->interactive || m->stopped)
		return false;
	while ((byte = serial_read()) >= 0) {
		if (byte == CTRL_C) {
			interrupted = true;
			ahead_tail = ahead_head; /* what was typed before it is void */
		} else {
			ahead_put((u8)byte);
		}
	}
	return interrupted;
}

static bool redraw; /* the stopped monitor wrote over the line being typed */

static int input_try(void)
{
	return ahead_tail != ahead_head ? ahead[ahead_tail++ % AHEAD_BYTES] : serial_read();
}

static void input_arrived(void)
{
	waitq_wake_one(&input_wait);
}

/* --- a person -------------------------------------------------------------------------------------------- */

static void console_put(void *ctx, const char *s, usize len)
{
	printk_raw(s, len);
}

/* What Enter leads to. */
static void line_done(struct monitor *m, enum edit_result result)
{
	switch (result) {
	case EDIT_LINE:
		monitor_execute(m, m->edit.line);
		break;
	case EDIT_TOO_LONG:
		say(m, "a line has at most %u characters; nothing was done\n", EDIT_BYTES - 1);
		m->status = STATUS_USAGE;
		break;
	case EDIT_END:
		say(m, "\n`poweroff` switches the machine off.\n");
		break;
	case EDIT_CANCEL:
	case EDIT_MORE:
		break;
	}
}

static __noreturn void converse(struct monitor *m)
{
	enum edit_result result;
	int byte;

	monitor_banner(m);
	for (;;) {
		redraw = false;
		edit_begin(&m->edit, "pagoda> ");
		do {
			byte = input_try();
			while (byte < 0) {
				edit_refresh(&m->edit);
				waitq_wait(&input_wait, redraw || (byte = input_try()) >= 0,
					"console");
				m->edit.dirty |= redraw;
				redraw = false;
			}
			result = edit_feed(&m->edit, (u8)byte);
		} while (result == EDIT_MORE);
		line_done(m, result);
	}
}

/* --- CMD --------------------------------------------------------------------------------------------------- */

static __noreturn void run_cmd(struct monitor *m)
{
	m->records = true;
	monitor_execute(m, machine_cmd());
	monitor_exit(m->first_failure);
}

static void console_thread(void *arg)
{
	if (machine_cmd())
		run_cmd(&console);
	converse(&console);
}

void monitor_power(int status)
{
	if (machine_has_shell() && machine_cmd()) {
		say(&console, "RESULT n=1 status=%d cmd=\"", status);
		json_escape(&console.out, machine_cmd(), strlen(machine_cmd()));
		say(&console, "\"\n");
	}
	monitor_exit(status);
}

/* --- everything stopped --------------------------------------------------------------------------------------- */

static void stopped_put(void *ctx, const char *s, usize len)
{
	serial_write(s, len);
}

/* Reads, edits and executes with nothing but this CPU and the UART's registers. */
static void stopped_converse(struct monitor *m)
{
	enum edit_result result;
	int byte;

	for (m->leave = false; !m->leave;) {
		edit_begin(&m->edit, "pagoda (stopped)> ");
		do {
			while ((byte = serial_poll()) < 0)
				cpu_relax();
			result = edit_feed(&m->edit, (u8)byte);
			edit_refresh(&m->edit);
		} while (result == EDIT_MORE);
		if (result == EDIT_END)
			return;
		line_done(m, result);
	}
}

static void say_where(struct monitor *m, const struct regs *regs)
{
	u64 offset = 0;
	const char *name = regs ? ksym_find(regs->rip, &offset) : NULL;

	if (!regs)
		return;
	say(m, "cpu %u was at 0x%lx", cpu_id(), regs->rip);
	if (regs_from_user(regs))
		say(m, " in ring 3 (%s)", current_thread()->name);
	else if (name)
		say(m, " %s+0x%lx", name, offset);
	say(m, "\n");
}

static void stopped_begin(void)
{
	monitor_session_init(&stopped, stopped_put, NULL);
	stopped.stopped = stopped.interactive = true;
	while (serial_read() >= 0)
		; /* typed for somebody else, who did not answer */
}

/* BREAK on the serial line: in the interrupt handler, interrupts off. */
static void on_break(const struct regs *regs)
{
	smp_stop_others();
	stopped_begin();
	say(&stopped, "\nBREAK: all CPUs are stopped. `continue` or Ctrl-D goes on; help lists "
		      "what works "
		      "now.\n");
	say_where(&stopped, regs);
	stopped_converse(&stopped);
	redraw = true;
	smp_resume_others();
	waitq_wake_all(&input_wait);
}

/* After the panic record, when a person is there. */
static void on_panic(void)
{
	stopped_begin();
	say(&stopped,
		"The kernel has stopped for good; help lists what can still be looked at, poweroff "
		"leaves.\n");
	stopped_converse(&stopped);
}

/*
 * monitor_init - see monitor.h.
 *
 *   locks    none; may sleep; once, when threads can be started, after machine_init()
 */
void monitor_init(void)
{
	struct thread *t;

	waitq_init(&input_wait, "console input");
	monitor_session_init(&console, console_put, NULL);
	console.interactive = console.colour = !machine_cmd();
	machine_monitor_input = input_arrived;
	serial_on_break = on_break;
	panic_monitor = machine_cmd() ? NULL : on_panic;
	if (machine_cmd_too_long()) {
		say(&console, "CMD has more than %u characters; nothing was done\n",
			MACHINE_CMD_BYTES - 1);
		monitor_exit(STATUS_USAGE);
	}
	if (machine_has_shell()) {
		if (!machine_cmd())
			monitor_banner(&console);
		return;
	}
	t = thread_create("monitor", console_thread, NULL, NULL, NULL);
	if (!t)
		panic("monitor", "no memory for the console's thread");
	sched_start(t);
}
