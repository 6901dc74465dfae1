/*
 * main.c - console: between the UART and the one task that reads and writes the terminal           ring 3
 *
 * Answers every message at once: nothing here sleeps but the wait for the next message. What the keys mean is
 * discipline.c's; whom a signal goes to is the client's.
 *
 * IDEA
 *   UART --bytes--> discipline --lines--> CONSOLE_READ --task_write--> the client's buffer
 *     ^               | echo
 *     +---- out[] <---+<---- CONSOLE_WRITE <--task_read-- the client's buffer
 *   The client hears of news by its notification: once when something becomes true that was not, and not again before it has
 *   looked (CONSOLE_EVENTS) or has read all there was.
 *
 * INVARIANTS
 *   O1  every message is answered exactly once, whatever is in it; handles that came with it and are not kept are closed
 *   O2  told is a subset of what is true: who waits for an event that is true has been signalled since it became so
 *
 * LOCKS     none: one thread.
 * LINUX     drivers/tty/tty_io.c, and serial_core.c below it.
 */
#include "discipline.h"
#include "log.h"
#include "native.h"
#include "service.h"
#include <errno.h>
#include <string.h>

#define CHUNK_BYTES 4096 /* of one read or write; the client comes again for more */
#define UART_BIT    1ull

#define INPUT_CHUNKS 16 /* of 256 typed bytes, before somebody else is heard */

#define FIRST_ROWS    24
#define FIRST_COLUMNS 80

static struct discipline discipline;
static uint32_t client;       /* task; 0: nobody yet */
static uint32_t notification; /* the client's; 0: none */
static uint64_t notify_bit;
static uint32_t told; /* CONSOLE_EVENT_* that were signalled and are still true */
static bool resized;  /* CONSOLE_EVENT_WINCH */
static uint16_t rows = FIRST_ROWS, columns = FIRST_COLUMNS;

/* --- output: collected, so that one call carries many pieces ------------------------------------------------------- */

static char out[CHUNK_BYTES];
static size_t out_bytes;

static void flush_output(void)
{
	if (out_bytes)
		uart_write(SLOT_MACHINE, out, out_bytes);
	out_bytes = 0;
}

static void put_output(void *ctx, const char *bytes, size_t n)
{
	while (n > 0) {
		size_t part = sizeof(out) - out_bytes < n ? sizeof(out) - out_bytes : n;

		memcpy(out + out_bytes, bytes, part);
		out_bytes += part;
		bytes += part;
		n -= part;
		if (out_bytes == sizeof(out))
			flush_output();
	}
}

/* --- news ---------------------------------------------------------------------------------------------------------- */

_Static_assert(DISCIPLINE_INTR == CONSOLE_EVENT_INTR && DISCIPLINE_QUIT == CONSOLE_EVENT_QUIT &&
		       DISCIPLINE_SUSP == CONSOLE_EVENT_SUSP,
	"one numbering of signals");

static uint32_t events(void)
{
	return (discipline_readable(&discipline) ? CONSOLE_EVENT_READABLE : 0) |
	       discipline.signals | (resized ? CONSOLE_EVENT_WINCH : 0);
}

/* After each message: signal what has become true. */
static void tell_news(void)
{
	uint32_t now = events();

	if ((now & ~told) && notification)
		notification_signal(notification, notify_bit);
	told = now;
}

/* A bounded part of what has arrived. Returns true: there may be more. */
static bool take_input(void)
{
	uint8_t bytes[256];

	for (int i = 0; i < INPUT_CHUNKS; i++) {
		long n = uart_read(SLOT_MACHINE, bytes, sizeof(bytes));

		if (n <= 0)
			return false;
		discipline_type(&discipline, bytes, n);
		flush_output();
		tell_news();
	}
	return true;
}

/* --- requests ------------------------------------------------------------------------------------------------------ */

static void replace_handle(uint32_t *kept, struct message *m)
{
	if (*kept)
		handle_close(*kept);
	*kept = m->handle;
	m->handle = HANDLE_NONE;
}

static long set_client(struct message *m)
{
	if (m->badge != CONSOLE_BADGE_INIT)
		return -EPERM;
	if (!m->handle)
		return -EINVAL;
	replace_handle(&client, m);
	if (notification)
		handle_close(notification);
	notification = 0;
	told = 0;
	resized = false;
	discipline_reset(&discipline);
	return 0;
}

static long set_notification(struct message *m)
{
	if (!m->handle)
		return -EINVAL;
	replace_handle(&notification, m);
	notify_bit = m->word[0];
	told = 0;
	return 0;
}

static size_t chunk_of(uint64_t bytes)
{
	return bytes < CHUNK_BYTES ? bytes : CHUNK_BYTES;
}

static long write_output(uint64_t addr, uint64_t bytes)
{
	static char chunk[CHUNK_BYTES];
	long n = bytes ? task_read(client, addr, chunk, chunk_of(bytes)) : 0;

	if (n > 0)
		discipline_write(&discipline, chunk, n);
	flush_output();
	return n;
}

/* What cannot be delivered is lost: Linux loses it too when the buffer is bad. */
static long read_input(struct message *m)
{
	static uint8_t chunk[CHUNK_BYTES];
	long n = discipline_read(&discipline, chunk, chunk_of(m->word[1])), written;

	if (n == DISCIPLINE_NOTHING) {
		m->word[0] = discipline_patience(&discipline);
		return -EAGAIN;
	}
	written = n > 0 ? task_write(client, m->word[0], chunk, n) : 0;
	return written < 0 ? written : n;
}

static long take_events(struct message *m)
{
	m->word[0] = events();
	discipline.signals = 0;
	resized = false;
	return 0;
}

static long get_settings(uint64_t addr)
{
	long n = task_write(client, addr, &discipline.settings, sizeof(discipline.settings));

	return n < 0 ? n : 0;
}

static long set_settings(uint64_t addr, uint64_t how)
{
	struct terminal_settings settings;
	long n = task_read(client, addr, &settings, sizeof(settings));

	if (n < 0)
		return n;
	if (n != sizeof(settings))
		return -EFAULT;
	if (how == 2)
		discipline_flush(&discipline);
	discipline_set(&discipline, &settings);
	return 0;
}

static long set_size(uint64_t new_rows, uint64_t new_columns)
{
	if (rows != (uint16_t)new_rows || columns != (uint16_t)new_columns)
		resized = true;
	rows = new_rows;
	columns = new_columns;
	return 0;
}

static long serve(struct message *m)
{
	switch (m->label) {
	case CONSOLE_CLIENT:
		return set_client(m);
	case CONSOLE_NOTIFY:
		return set_notification(m);
	case CONSOLE_WRITE:
		return write_output(m->word[0], m->word[1]);
	case CONSOLE_READ:
		return read_input(m);
	case CONSOLE_EVENTS:
		return take_events(m);
	case CONSOLE_GET_TERMIOS:
		return get_settings(m->word[0]);
	case CONSOLE_SET_TERMIOS:
		return set_settings(m->word[0], m->word[1]);
	case CONSOLE_GET_WINSIZE:
		m->word[0] = rows;
		m->word[1] = columns;
		return 0;
	case CONSOLE_SET_WINSIZE:
		return set_size(m->word[0], m->word[1]);
	case CONSOLE_FLUSH:
		discipline_flush(&discipline);
		return 0;
	}
	return -EINVAL;
}

/* A request; afterwards *m is its answer. */
static void handle_request(struct message *m)
{
	m->label = serve(m);
	if (m->handle)
		handle_close(m->handle); /* O1 */
	m->handle = HANDLE_NONE;
	tell_news();
}

/* The UART's interrupts reach our endpoint as a bit. */
static long connect_uart(void)
{
	long bits = notification_create(SLOT_SERVICE);
	long error = bits < 0 ? bits : uart_notify(SLOT_MACHINE, bits, UART_BIT);

	return error < 0 ? error : 0;
}

/* SLOT_CLIENT is empty at the first start. */
static bool has_client(void)
{
	struct task_info info;

	return task_info(SLOT_CLIENT, &info) >= 0;
}

/*
 * Notifications come before requests, and at full rate there is always one: so input waits until one more message has been
 * looked for, and is taken in bounded parts.
 */
static _Noreturn void serve_forever(void)
{
	struct message m = {0};
	bool input = true;

	for (;;) {
		if (ipc_reply_receive(SLOT_SERVICE, &m, &m, input ? 0 : DEADLINE_NEVER)) {
			m = (struct message){0};
		} else if (m.label == MESSAGE_NOTIFICATION) {
			m = (struct message){0};
			if (!input) {
				input = true;
				continue;
			}
		} else {
			handle_request(&m);
		}
		if (input)
			input = take_input();
	}
}

int main(void)
{
	long error;

	discipline_init(&discipline, put_output, NULL);
	if (has_client())
		client = SLOT_CLIENT;
	error = connect_uart();
	if (error) {
		say("console: the UART cannot be had (errno %ld)", -error);
		return 1;
	}
	serve_forever();
}
