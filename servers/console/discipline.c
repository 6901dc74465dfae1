/*
 * discipline.c - the line discipline: what a terminal does between the keys and read()          ring 3
 *
 * Keeps what was typed, lets a line be corrected before anybody reads it, echoes, and takes the keys that are commands
 * (Ctrl-C, Ctrl-D ...). It knows neither the UART nor who reads: main.c connects it. It does not stop output (Ctrl-S,
 * Ctrl-Q are bytes like others), does not expand tabs, and keeps baud rates only to show them.
 *
 * IDEA
 *   ring    ... e c h o \n l s \n | p w |  .....        "p w" may still be erased; "|" are `ready` and `typed`
 *               ^read             ^ready ^typed
 *   canonical   a line is ready with its end: '\n', VEOL, or Ctrl-D, whose byte is marked and never delivered
 *   raw         every byte is ready when it comes
 *   A change from canonical to raw makes the unfinished line ready; the other way what is there counts as one line. So
 *   what is typed ahead while a program runs is at the shell's prompt afterwards.
 *
 * INVARIANTS (discipline_check(); the fuzzer calls it after every step)
 *   D1  read <= ready <= typed <= read + TYPED_BYTES
 *   D2  canonical: if read < ready, the byte before `ready` ends a line
 *   D3  [ready, typed) has no marks, and at most LINE_BYTES bytes in canonical mode
 *   D4  raw: ready == typed
 *
 * LOCKS     none: one thread.
 * LINUX     drivers/tty/n_tty.c, with Ctrl-S, parity marks, ECHOPRT and EXTPROC too.  termios(3).
 */
#include "discipline.h"

#include <string.h>

/* Bits of the four words, and places in cc, as Linux numbers them on x86-64. */
#define IGNCR   0000200u
#define ICRNL   0000400u
#define INLCR   0000100u
#define ISTRIP  0000040u
#define IUTF8   0040000u
#define OPOST   0000001u
#define ONLCR   0000004u
#define OCRNL   0000010u
#define ISIG    0000001u
#define ICANON  0000002u
#define ECHO    0000010u
#define ECHOE   0000020u
#define ECHOK   0000040u
#define ECHONL  0000100u
#define NOFLSH  0000200u
#define ECHOCTL 0001000u
#define ECHOKE  0004000u
#define IEXTEN  0100000u

#define B115200 0010002u
#define CS8     0000060u
#define CREAD   0000200u

enum {
	VINTR,
	VQUIT,
	VERASE,
	VKILL,
	VEOF,
	VTIME,
	VMIN,
	VSUSP = 10,
	VEOL,
	VREPRINT,
	VWERASE = 14,
	VLNEXT,
	VEOL2
};

#define MARK_END 1u /* a line ends with this byte */
#define MARK_EOF                                                                                   \
	2u /* and the byte itself is not delivered (in raw mode it is a byte like others) */

#define BELL "\a"

static const struct terminal_settings first_settings = {
	.iflag = ICRNL | IUTF8,
	.oflag = OPOST | ONLCR,
	.cflag = B115200 | CS8 | CREAD,
	.lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
	.cc = {3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0},
};

static bool has(const struct discipline *d, uint32_t lflag)
{
	return d->settings.lflag & lflag;
}

/* Is byte c the command of place `key`? A command whose byte is 0 is switched off. */
static bool is_key(const struct discipline *d, int key, uint8_t c)
{
	return c && d->settings.cc[key] == c;
}

static uint64_t place(uint64_t position)
{
	return position & (TYPED_BYTES - 1);
}

/* --- output ------------------------------------------------------------------------------------------------------ */

static bool is_continuation(const struct discipline *d, uint8_t c)
{
	return (d->settings.iflag & IUTF8) && (c & 0xc0) == 0x80;
}

/* Follow the cursor; escape sequences are taken for characters, which only a tab that is erased could show. */
static void follow(struct discipline *d, uint8_t c)
{
	if (c == '\r' || c == '\n')
		d->column = 0;
	else if (c == '\t')
		d->column = (d->column | 7) + 1;
	else if (c == '\b')
		d->column -= d->column > 0;
	else if (c >= ' ' && c != 127 && !is_continuation(d, c))
		d->column++;
}

static void put_text(struct discipline *d, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		follow(d, bytes[i]);
	d->put(d->ctx, bytes, n);
}

/* How a byte is changed on its way out; NULL: not at all. */
static const char *output_form(const struct discipline *d, char c)
{
	uint32_t oflag = d->settings.oflag;

	if (!(oflag & OPOST))
		return NULL;
	if (c == '\n' && (oflag & ONLCR))
		return "\r\n";
	if (c == '\r' && (oflag & OCRNL))
		return "\n";
	return NULL;
}

/* Runs of bytes that stay as they are go out in one piece. */
void discipline_write(struct discipline *d, const char *bytes, size_t n)
{
	size_t from = 0;

	for (size_t i = 0; i < n; i++) {
		const char *form = output_form(d, bytes[i]);

		if (!form)
			continue;
		put_text(d, bytes + from, i - from);
		put_text(d, form, strlen(form));
		from = i + 1;
	}
	put_text(d, bytes + from, n - from);
}

static void ring(struct discipline *d)
{
	if (!d->rang)
		d->put(d->ctx, BELL, 1);
	d->rang = true;
}

/* --- echo -------------------------------------------------------------------------------------------------------- */

/* Shown as ^X? */
static bool is_shown_as_control(const struct discipline *d, uint8_t c)
{
	return has(d, ECHOCTL) && ((c < ' ' && c != '\t' && c != '\n') || c == 127);
}

static void echo_byte(struct discipline *d, uint8_t c)
{
	char text[2] = {'^', c ^ 0x40};

	if (is_shown_as_control(d, c))
		put_text(d, text, 2);
	else
		discipline_write(d, (const char *)&c, 1);
}

static void echo(struct discipline *d, uint8_t c)
{
	if (has(d, ECHO))
		echo_byte(d, c);
	else if (c == '\n' && has(d, ECHONL) && has(d, ICANON))
		discipline_write(d, "\n", 1);
}

/* The column behind the line under work, up to position `end`. */
static unsigned column_at(const struct discipline *d, uint64_t end)
{
	unsigned column = d->line_start;

	for (uint64_t p = d->ready; p < end; p++) {
		uint8_t c = d->bytes[place(p)];

		if (c == '\t')
			column = (column | 7) + 1;
		else if (is_shown_as_control(d, c))
			column += 2;
		else if (c >= ' ' && c != 127 && !is_continuation(d, c))
			column++;
	}
	return column;
}

static void move_back(struct discipline *d, unsigned columns)
{
	while (columns-- > 0)
		put_text(d, "\b \b", 3);
}

/* --- the line under work ----------------------------------------------------------------------------------------- */

/* One character, of more than one byte in UTF-8, leaves the line; the screen is left alone. */
static void drop_character(struct discipline *d)
{
	do
		d->typed--;
	while (d->typed > d->ready && is_continuation(d, d->bytes[place(d->typed)]));
}

/* The line is as long as it was at `typed` no more: show it. */
static void erase_on_screen(struct discipline *d, uint64_t typed, uint8_t key)
{
	if (!has(d, ECHO) || typed == d->typed)
		return;
	if (has(d, ECHOE))
		move_back(d, column_at(d, typed) - column_at(d, d->typed));
	else
		echo_byte(d, key);
}

static void erase_character(struct discipline *d, uint8_t key)
{
	uint64_t typed = d->typed;

	if (d->typed > d->ready)
		drop_character(d);
	erase_on_screen(d, typed, key);
}

static bool is_word_byte(uint8_t c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' ||
	       c >= 0x80;
}

static void erase_word(struct discipline *d, uint8_t key)
{
	uint64_t typed = d->typed;

	while (d->typed > d->ready && !is_word_byte(d->bytes[place(d->typed - 1)]))
		d->typed--;
	while (d->typed > d->ready && is_word_byte(d->bytes[place(d->typed - 1)]))
		d->typed--;
	erase_on_screen(d, typed, key);
}

static void erase_line(struct discipline *d, uint8_t key)
{
	uint64_t typed = d->typed;

	d->typed = d->ready;
	if (!has(d, ECHO))
		return;
	if (has(d, ECHOE) && has(d, ECHOKE)) {
		erase_on_screen(d, typed, key);
		return;
	}
	echo_byte(d, key);
	if (has(d, ECHOK))
		discipline_write(d, "\n", 1);
}

static void reprint(struct discipline *d, uint8_t key)
{
	if (!has(d, ECHO))
		return;
	echo_byte(d, key);
	discipline_write(d, "\n", 1);
	d->line_start = 0;
	for (uint64_t p = d->ready; p < d->typed; p++)
		echo_byte(d, d->bytes[place(p)]);
}

/* --- keys -------------------------------------------------------------------------------------------------------- */

static bool append(struct discipline *d, uint8_t c, uint8_t mark)
{
	if (d->typed - d->read >= TYPED_BYTES) {
		ring(d);
		return false;
	}
	d->bytes[place(d->typed)] = c;
	d->marks[place(d->typed)] = mark;
	d->typed++;
	return true;
}

static void end_line(struct discipline *d, uint8_t c, uint8_t mark)
{
	if (append(d, c, mark))
		d->ready = d->typed;
}

/* A byte that is no command. One place of the ring is kept for the line's end. */
static void type_plain(struct discipline *d, uint8_t c)
{
	if (has(d, ICANON) &&
		(d->typed - d->ready >= LINE_BYTES || d->typed - d->read >= TYPED_BYTES - 1)) {
		ring(d);
		return;
	}
	if (d->typed == d->ready)
		d->line_start = d->column;
	if (!append(d, c, 0))
		return;
	if (!has(d, ICANON))
		d->ready = d->typed;
	echo(d, c);
}

/* Ctrl-C, Ctrl-\, Ctrl-Z. */
static bool type_signal(struct discipline *d, uint8_t c)
{
	uint32_t signal = is_key(d, VINTR, c)   ? DISCIPLINE_INTR
			  : is_key(d, VQUIT, c) ? DISCIPLINE_QUIT
			  : is_key(d, VSUSP, c) ? DISCIPLINE_SUSP
						: 0;

	if (!has(d, ISIG) || !signal)
		return false;
	d->signals |= signal;
	if (!has(d, NOFLSH))
		discipline_flush(d);
	echo(d, c);
	return true;
}

/* The keys that correct or end a line. */
static bool type_canonical(struct discipline *d, uint8_t c)
{
	bool extended = has(d, IEXTEN);

	if (is_key(d, VERASE, c)) {
		erase_character(d, c);
	} else if (is_key(d, VKILL, c)) {
		erase_line(d, c);
	} else if (extended && is_key(d, VWERASE, c)) {
		erase_word(d, c);
	} else if (extended && is_key(d, VREPRINT, c)) {
		reprint(d, c);
	} else if (is_key(d, VEOF, c)) {
		end_line(d, c, MARK_END | MARK_EOF);
	} else if (c == '\n' || is_key(d, VEOL, c) || (extended && is_key(d, VEOL2, c))) {
		echo(d, c);
		end_line(d, c, MARK_END);
	} else {
		return false;
	}
	return true;
}

static void type_byte(struct discipline *d, uint8_t c)
{
	uint32_t iflag = d->settings.iflag;

	if (iflag & ISTRIP)
		c &= 0x7f;
	if (d->literal) {
		d->literal = false;
		type_plain(d, c);
		return;
	}
	if (type_signal(d, c))
		return;
	if (c == '\r' && (iflag & IGNCR))
		return;
	if (c == '\r' && (iflag & ICRNL))
		c = '\n';
	else if (c == '\n' && (iflag & INLCR))
		c = '\r';
	if (has(d, ICANON) && has(d, IEXTEN) && is_key(d, VLNEXT, c)) {
		d->literal = true;
		if (has(d, ECHO) && has(d, ECHOCTL))
			d->put(d->ctx, "^\b", 2);
		return;
	}
	if (!has(d, ICANON) || !type_canonical(d, c))
		type_plain(d, c);
}

void discipline_type(struct discipline *d, const uint8_t *bytes, size_t n)
{
	d->rang = false;
	for (size_t i = 0; i < n; i++)
		type_byte(d, bytes[i]);
}

/* --- reading ----------------------------------------------------------------------------------------------------- */

static long read_line(struct discipline *d, uint8_t *to, size_t n)
{
	size_t done = 0;

	if (d->read == d->ready)
		return DISCIPLINE_NOTHING;
	while (d->read < d->ready) {
		uint64_t at = place(d->read);
		uint8_t mark = d->marks[at];

		if (done == n && !(mark & MARK_EOF)) /* a Ctrl-D goes with the bytes before it */
			break;
		d->read++;
		if (!(mark & MARK_EOF))
			to[done++] = d->bytes[at];
		if (mark & MARK_END)
			break;
	}
	return (long)done;
}

static long read_raw(struct discipline *d, uint8_t *to, size_t n)
{
	size_t done = 0;

	if (!discipline_readable(d))
		return d->settings.cc[VMIN] || d->settings.cc[VTIME] ? DISCIPLINE_NOTHING : 0;
	while (done < n && d->read < d->ready)
		to[done++] = d->bytes[place(d->read++)];
	return (long)done;
}

long discipline_read(struct discipline *d, uint8_t *to, size_t n)
{
	if (n == 0)
		return 0;
	return has(d, ICANON) ? read_line(d, to, n) : read_raw(d, to, n);
}

/* With VMIN above 1 and no VTIME a read waits for so many; more than the ring holds is not asked for (VMIN is a byte). */
bool discipline_readable(const struct discipline *d)
{
	uint64_t wanted = 1;

	if (!has(d, ICANON) && !d->settings.cc[VTIME] && d->settings.cc[VMIN])
		wanted = d->settings.cc[VMIN];
	return d->ready - d->read >= wanted;
}

unsigned discipline_patience(const struct discipline *d)
{
	return has(d, ICANON) || d->settings.cc[VMIN] ? 0 : d->settings.cc[VTIME];
}

/* --- settings ---------------------------------------------------------------------------------------------------- */

void discipline_set(struct discipline *d, const struct terminal_settings *settings)
{
	bool changed = (d->settings.lflag ^ settings->lflag) & ICANON;

	d->settings = *settings;
	if (!changed)
		return;
	d->literal = false;
	if (has(d, ICANON) && d->typed > d->read)
		d->marks[place(d->typed - 1)] |= MARK_END; /* D2 */
	d->ready = d->typed;
}

void discipline_reset(struct discipline *d)
{
	discipline_set(d, &first_settings);
	d->signals = 0;
}

void discipline_flush(struct discipline *d)
{
	d->read = d->ready = d->typed;
	d->literal = false;
	d->line_start = d->column;
}

void discipline_init(struct discipline *d, discipline_put *put, void *ctx)
{
	memset(d, 0, sizeof(*d));
	d->settings = first_settings;
	d->put = put;
	d->ctx = ctx;
}

bool discipline_check(const struct discipline *d)
{
	if (d->read > d->ready || d->ready > d->typed || d->typed - d->read > TYPED_BYTES)
		return false; /* D1 */
	if (!has(d, ICANON))
		return d->ready == d->typed; /* D4 */
	if (d->read < d->ready && !(d->marks[place(d->ready - 1)] & MARK_END))
		return false; /* D2 */
	for (uint64_t p = d->ready; p < d->typed; p++)
		if (d->marks[place(p)])
			return false; /* D3 */
	return d->typed - d->ready <= LINE_BYTES;
}
