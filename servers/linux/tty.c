/*
 * tty.c - the terminal: /dev/tty, /dev/console, /dev/ttyS0. One console, one terminal.            ring 3
 *
 * The console server owns the line discipline and never sleeps; who waits here waits for its notification. Who may read
 * and change the terminal is job.c's business.
 *
 * IDEA
 *   program --read--> here --CONSOLE_READ--> console      typed: a line, or bytes in raw mode
 *                      |  <---- nothing yet
 *                      waits        <--NOTIFY_CONSOLE--   something was typed: the call is run again
 *   What was taken from the console and could not yet be given to the program stays in `input`.
 *
 *   The console may end at any time; init starts another behind the same endpoint. A call that fails for it is made once
 *   more; while somebody waits for input we register again every WATCH_NS, as the new one does not know of us.
 *
 * LINUX  drivers/tty/tty_io.c, n_tty.c
 */
#include "tty.h"
#include "calls.h"
#include "device.h"
#include "file.h"
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>

#define ANSWER_NS (1 * NS_PER_SEC) /* the console has that long to answer, or be replaced */
#define WATCH_NS  (1 * NS_PER_SEC)

/* What TCGETS moves: not the C library's struct termios, which is longer. */
struct kernel_termios {
	uint32_t c_iflag, c_oflag, c_cflag, c_lflag;
	uint8_t c_line;
	uint8_t c_cc[19];
};
_Static_assert(sizeof(struct kernel_termios) == 36, "as in Linux");

#define LFLAG_ICANON 0000002u
#define LFLAG_TOSTOP 0000400u
#define FLUSH_OUTPUT 1 /* TCFLSH: 0 input, 1 output, 2 both */
#define FLUSH_BOTH   2
#define CC_VTIME     5
#define CC_VMIN      6

static struct wait_list readable = {{&readable.waiters, &readable.waiters}};
static struct kernel_termios termios; /* as last told to or by the console */
static bool termios_known;
static uint8_t input[4096]; /* read ahead: [input_at, input_end) */
static uint32_t input_at, input_end;
static bool input_eof; /* Ctrl-D was read ahead */
static uint8_t output[4096];

/* --- talking to the console ----------------------------------------------------------------- */

static int console_register(void)
{
	struct message m = {
		.label = CONSOLE_NOTIFY,
		.word = {NOTIFY_CONSOLE},
		.handle = linux_notification,
	};

	if (ipc_call(SLOT_CONSOLE, &m, time_now() + ANSWER_NS) != 0 || (int64_t)m.label < 0)
		return -EIO;
	return 0;
}

/* -> the answer's label, *m: the answer; -EIO: there is no console. */
static long console_call(uint64_t label, uint64_t a, uint64_t b, struct message *m)
{
	for (int tries = 0; tries < 2; tries++) {
		*m = (struct message){.label = label, .word = {a, b}};
		if (ipc_call(SLOT_CONSOLE, m, time_now() + ANSWER_NS) == 0)
			return (long)m->label;
		termios_known = false;
		if (console_register())
			break;
	}
	return -EIO;
}

static long console_ask(uint64_t label, uint64_t a, uint64_t b)
{
	struct message m;

	return console_call(label, a, b, &m);
}

static const struct kernel_termios *termios_now(void)
{
	if (!termios_known)
		termios_known = console_ask(CONSOLE_GET_TERMIOS, (uint64_t)&termios, 0) >= 0;
	return &termios;
}

/* Asks for news: sends the signals that were typed. -> there is something to read. */
static bool take_events(void)
{
	static const struct {
		uint64_t event;
		int signal;
	} signals[] = {{CONSOLE_EVENT_INTR, SIGINT}, {CONSOLE_EVENT_QUIT, SIGQUIT},
		{CONSOLE_EVENT_SUSP, SIGTSTP}, {CONSOLE_EVENT_WINCH, SIGWINCH}};
	struct message m;

	if (console_call(CONSOLE_EVENTS, 0, 0, &m) < 0)
		return false;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if ((m.word[0] & signals[i].event) && job_foreground())
			(void)signal_send_group(job_foreground(), signals[i].signal, NULL);
	return m.word[0] & CONSOLE_EVENT_READABLE;
}

void files_console_event(void)
{
	if (take_events())
		wait_list_wake(&readable);
}

static void watch(struct timer *t)
{
	(void)t;
	(void)console_register();
	wait_list_wake(&readable);
}

static struct timer watcher = {.link = {&watcher.link, &watcher.link}, .expired = watch};

static long wait_for_input(struct call *c)
{
	if (!watcher.when)
		timer_set(&watcher, time_now() + WATCH_NS);
	return call_wait(c, &readable);
}

int tty_init(void)
{
	int err = console_register();

	(void)termios_now();
	return err;
}

/* --- reading -------------------------------------------------------------------------------- */

/* Takes up to `bytes` from the console into input[], which is empty. -> what is there; 0: Ctrl-D; -EAGAIN, -EIO */
static long read_ahead(size_t bytes)
{
	size_t n = bytes < sizeof(input) ? bytes : sizeof(input);
	long got = console_ask(CONSOLE_READ, (uint64_t)input, n);

	if (got < 0)
		return got;
	input_at = 0;
	input_end = (uint32_t)got <= n ? (uint32_t)got : (uint32_t)n;
	input_eof = !got;
	return got;
}

/* Nothing is typed yet. Raw mode may not want to wait, or only for some tenths of a second. */
static long nothing_typed(struct call *c, const struct file *f)
{
	const struct kernel_termios *t = termios_now();
	bool timed = !(t->c_lflag & LFLAG_ICANON) && !t->c_cc[CC_VMIN];

	if (f->flags & O_NONBLOCK)
		return -EAGAIN;
	if (timed && (!t->c_cc[CC_VTIME] || c->timed_out))
		return 0;
	if (timed) {
		if (!c->deadline)
			c->deadline = time_now() + t->c_cc[CC_VTIME] * (NS_PER_SEC / 10);
		(void)call_wait_until(c, c->deadline);
	}
	return wait_for_input(c);
}

static long tty_read(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos)
{
	long err = job_check(c, SIGTTIN);
	size_t n;

	(void)pos;
	if (err)
		return err;
	if (!bytes)
		return 0;
	if (input_at == input_end && !input_eof) {
		err = read_ahead(bytes);
		if (err == -EAGAIN)
			return nothing_typed(c, f);
		if (err < 0)
			return err;
	}
	if (input_at == input_end) {
		input_eof = false;
		return 0;
	}
	n = input_end - input_at < bytes ? input_end - input_at : bytes;
	err = copy_out(c, at, input + input_at, n);
	if (err)
		return err;
	input_at += (uint32_t)n;
	return (long)n;
}

/* --- writing -------------------------------------------------------------------------------- */

static long tty_write(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos)
{
	size_t n = bytes < sizeof(output) ? bytes : sizeof(output);
	long err = 0;

	(void)f;
	(void)pos;
	if (termios_now()->c_lflag & LFLAG_TOSTOP)
		err = job_check(c, SIGTTOU);
	if (!err && !bytes)
		return 0;
	if (!err)
		err = copy_in(c, output, at, n);
	if (err)
		return err;
	err = console_ask(CONSOLE_WRITE, (uint64_t)output, n);
	return err > 0 ? err : -EIO;
}

static unsigned tty_poll(struct call *c, struct file *f)
{
	bool ready = input_at < input_end || input_eof || take_events();

	(void)f;
	if (c && !ready)
		(void)wait_for_input(c);
	return (ready ? POLLIN | POLLRDNORM : 0u) | POLLOUT | POLLWRNORM;
}

/* --- ioctl ---------------------------------------------------------------------------------- */

static void input_drop(void)
{
	input_at = input_end = 0;
	input_eof = false;
}

static long get_termios(struct call *c, uint64_t to)
{
	const struct kernel_termios *t = termios_now();

	return termios_known ? copy_out(c, to, t, sizeof(*t)) : -EIO;
}

static long set_termios(struct call *c, uint64_t from, uint64_t how)
{
	struct kernel_termios t;
	long err = copy_in(c, &t, from, sizeof(t));

	if (!err)
		err = job_check(c, SIGTTOU);
	if (err)
		return err;
	err = console_ask(CONSOLE_SET_TERMIOS, (uint64_t)&t, how);
	if (err < 0)
		return err;
	termios = t;
	termios_known = true;
	if (how == 2)
		input_drop();
	return 0;
}

static long get_size(struct call *c, uint64_t to)
{
	struct winsize size = {0};
	struct message m;

	if (console_call(CONSOLE_GET_WINSIZE, 0, 0, &m) < 0)
		return -EIO;
	size.ws_row = (unsigned short)m.word[0];
	size.ws_col = (unsigned short)m.word[1];
	return copy_out(c, to, &size, sizeof(size));
}

static long set_size(struct call *c, uint64_t from)
{
	struct winsize size;
	long err = copy_in(c, &size, from, sizeof(size));

	if (err)
		return err;
	return console_ask(CONSOLE_SET_WINSIZE, size.ws_row, size.ws_col) < 0 ? -EIO : 0;
}

static long int_out(struct call *c, uint64_t to, int value)
{
	return copy_out(c, to, &value, sizeof(value));
}

/* The terminal's group and session are told to those whose terminal it is. */
static long job_out(struct call *c, uint64_t to, int value)
{
	if (!job_session() || job_session() != call_process(c)->session)
		return -ENOTTY;
	return int_out(c, to, value);
}

static long set_group(struct call *c, uint64_t from)
{
	int group;
	long err = copy_in(c, &group, from, sizeof(group));

	return err ? err : job_set_foreground(c, group);
}

static long bytes_typed(struct call *c, uint64_t to)
{
	if (input_at == input_end && !input_eof)
		(void)read_ahead(sizeof(input));
	return int_out(c, to, (int)(input_end - input_at));
}

static long flush(struct call *c, uint64_t what)
{
	long err = job_check(c, SIGTTOU);

	if (err)
		return err;
	if (what > FLUSH_BOTH)
		return -EINVAL;
	if (what == FLUSH_OUTPUT)
		return 0;
	input_drop();
	return console_ask(CONSOLE_FLUSH, 0, 0) < 0 ? -EIO : 0;
}

static long tty_ioctl(struct call *c, struct file *f, uint32_t command, uint64_t arg)
{
	(void)f;
	switch (command) {
	case TCGETS:
		return get_termios(c, arg);
	case TCSETS:
	case TCSETSW:
	case TCSETSF:
		return set_termios(c, arg, command - TCSETS);
	case TIOCGWINSZ:
		return get_size(c, arg);
	case TIOCSWINSZ:
		return set_size(c, arg);
	case TIOCGPGRP:
		return job_out(c, arg, job_foreground());
	case TIOCGSID:
		return job_out(c, arg, job_session());
	case TIOCSPGRP:
		return set_group(c, arg);
	case TIOCSCTTY:
		return job_acquire(c);
	case FIONREAD:
		return bytes_typed(c, arg);
	case TIOCOUTQ:
		return int_out(c, arg, 0);
	case TCFLSH:
		return flush(c, arg);
	case TCXONC:
	case TCSBRK:
	case TCSBRKP:
		return 0;
	}
	return -ENOTTY;
}

const struct file_ops tty_ops = {
	.read = tty_read,
	.write = tty_write,
	.ioctl = tty_ioctl,
	.poll = tty_poll,
};
