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
 *   The console may end at any time; init starts another behind the same endpoint and tells us. A call that fails for it is
 *   made once more.
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

#define ANSWER_NS (1 * NS_PER_SEC) /* the console has that long to answer, or its successor */

/* What TCGETS moves: not the C library's struct termios, which is longer. */
struct kernel_termios {
	uint32_t c_iflag, c_oflag, c_cflag, c_lflag;
	uint8_t c_line;
	uint8_t c_cc[19];
};
_Static_assert(sizeof(struct kernel_termios) == 36, "as in Linux");

#define LFLAG_TOSTOP 0000400u
#define FLUSH_OUTPUT 1 /* TCFLSH: 0 input, 1 output, 2 both */
#define FLUSH_BOTH   2

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

/* -> the answer's label, *m: the answer; -EIO: there is no console. One that ended while it served us has a successor. */
static long console_call(uint64_t label, uint64_t a, uint64_t b, struct message *m)
{
	for (int tries = 0; tries < 2; tries++) {
		*m = (struct message){.label = label, .word = {a, b}};
		if (ipc_call(SLOT_CONSOLE, m, time_now() + ANSWER_NS) == 0)
			return (long)m->label;
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

/* Another console has taken over: it knows neither us nor the settings. */
void files_console_restarted(void)
{
	(void)console_register();
	if (termios_known)
		(void)console_ask(CONSOLE_SET_TERMIOS, (uint64_t)&termios, 0);
	wait_list_wake(&readable);
}

int tty_init(void)
{
	int err = console_register();

	(void)termios_now();
	return err;
}

/* --- reading -------------------------------------------------------------------------------- */

/*
 * Takes up to `bytes` from the console into input[], which is empty. -> how many; 0: Ctrl-D; -EAGAIN and how patient the
 * mode is; -EIO
 */
static long read_ahead(size_t bytes, unsigned *patience)
{
	size_t n = bytes < sizeof(input) ? bytes : sizeof(input);
	struct message m;
	long got = console_call(CONSOLE_READ, (uint64_t)input, n, &m);

	*patience = (unsigned)m.word[0];
	if (got < 0)
		return got;
	input_at = 0;
	input_end = (uint32_t)got <= n ? (uint32_t)got : (uint32_t)n;
	input_eof = !got;
	return got;
}

/* Nothing is typed yet. patience: tenths of a second after which raw mode gives up (VTIME); 0: never. */
static long nothing_typed(struct call *c, const struct file *f, unsigned patience)
{
	if (f->flags & O_NONBLOCK)
		return -EAGAIN;
	if (c->timed_out)
		return 0;
	if (patience && !c->deadline)
		c->deadline = time_now() + patience * (NS_PER_SEC / 10);
	if (c->deadline)
		(void)call_wait_until(c, c->deadline);
	return call_wait(c, &readable);
}

static long tty_read(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos)
{
	long err = job_check(c, SIGTTIN);
	unsigned patience;
	size_t n;

	(void)pos;
	if (err)
		return err;
	if (!bytes)
		return 0;
	if (input_at == input_end && !input_eof) {
		err = read_ahead(bytes, &patience);
		if (err == -EAGAIN)
			return nothing_typed(c, f, patience);
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
		(void)call_wait(c, &readable);
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
	unsigned patience;

	if (input_at == input_end && !input_eof && take_events())
		(void)read_ahead(sizeof(input), &patience);
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
	.slow = true,
};
