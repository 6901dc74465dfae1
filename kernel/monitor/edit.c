/*
 * edit.c - the line editor                                                                  floor 7
 *
 * Arrows, Home, End, Delete, Ctrl-A B C D E F H K L N P U W, Tab; ANSI sequences of the usual terminals.
 * It does not know what a command is, and never reads the line by itself.
 *
 * IDEA
 *   line      "cat /proc/1/sm|aps"      cursor 14, len 17
 *   A character typed at the end is echoed at once. Every other change only marks the picture as old;
 *   the caller calls edit_refresh() when no further byte waits, so that a flood costs one redraw. The
 *   redraw shows one row: a window of the line around the cursor.
 *   CR, LF and CR LF each end a line once. Bytes that are no key are dropped.
 *
 * INVARIANTS
 *   E1  cursor <= len < EDIT_BYTES and line[len] == 0
 *
 * LOCKS     none: one person types.
 */
#include "monitor/edit.h"
#include "lib/format.h"
#include "lib/string.h"

#define CTRL(c) ((c)&0x1f)
#define DEL     0x7f
#define ESC     0x1b

void edit_init(struct edit *e, void (*put)(void *ctx, const char *s, usize len),
	bool (*complete)(void *ctx, struct edit *e), void *ctx)
{
	memset(e, 0, sizeof(*e));
	e->put = put;
	e->complete = complete;
	e->ctx = ctx;
	e->draw = true;
}

static void out(struct edit *e, const char *s, usize len)
{
	if (e->draw)
		e->put(e->ctx, s, len);
}

static u32 window(const struct edit *e)
{
	return EDIT_COLUMNS - (u32)strlen(e->prompt);
}

/* edit_begin - an empty line behind a prompt. */
void edit_begin(struct edit *e, const char *prompt)
{
	e->prompt = prompt;
	e->len = e->cursor = e->shown_from = 0;
	e->line[0] = '\0';
	e->overflow = e->dirty = false;
	e->escape = ESCAPE_NONE;
	e->history_at = 0;
	out(e, prompt, strlen(prompt));
}

/* edit_refresh - draw the row anew: prompt, window, cursor. Nothing to do when the picture is right. */
void edit_refresh(struct edit *e)
{
	char move[24];
	u32 width = window(e), n;

	if (!e->dirty)
		return;
	e->dirty = false;
	if (e->cursor < e->shown_from)
		e->shown_from = e->cursor;
	if (e->cursor >= e->shown_from + width)
		e->shown_from = e->cursor - width + 1;
	n = MIN(e->len - e->shown_from, width);
	out(e, "\r", 1);
	out(e, e->prompt, strlen(e->prompt));
	out(e, e->line + e->shown_from, n);
	out(e, "\x1b[K\r", 4);
	format(move, sizeof(move), "\x1b[%uC", (u32)strlen(e->prompt) + e->cursor - e->shown_from);
	out(e, move, strlen(move));
}

/* --- changes ------------------------------------------------------------------------------------- */

static void bell(struct edit *e)
{
	out(e, "\a", 1);
}

static void insert_char(struct edit *e, char c)
{
	if (e->len == EDIT_BYTES - 1) {
		e->overflow = true;
		return;
	}
	memmove(e->line + e->cursor + 1, e->line + e->cursor, e->len - e->cursor + 1);
	e->line[e->cursor++] = c;
	e->len++;
	if (!e->dirty && e->cursor == e->len && e->len - e->shown_from < window(e))
		out(e, &c, 1);
	else
		e->dirty = true;
}

/* edit_insert - as if typed; for completions. */
void edit_insert(struct edit *e, const char *s)
{
	for (; *s; s++)
		insert_char(e, *s);
}

static void remove_range(struct edit *e, u32 from, u32 to)
{
	memmove(e->line + from, e->line + to, e->len - to + 1);
	e->len -= to - from;
	e->cursor = from;
	e->overflow = false;
	e->dirty = true;
}

static void move_to(struct edit *e, u32 cursor)
{
	e->cursor = cursor;
	e->dirty = true;
}

static u32 word_start(const struct edit *e)
{
	u32 at = e->cursor;

	while (at && e->line[at - 1] == ' ')
		at--;
	while (at && e->line[at - 1] != ' ')
		at--;
	return at;
}

static void replace_line(struct edit *e, const char *text)
{
	e->len = (u32)strlen(text);
	memcpy(e->line, text, e->len + 1);
	e->cursor = e->len;
	e->shown_from = 0;
	e->overflow = false;
	e->dirty = true;
}

/* --- history -------------------------------------------------------------------------------------- */

static char *remembered(struct edit *e, u32 back)
{
	return e->history[(e->history_count - back) % EDIT_HISTORY];
}

static void remember(struct edit *e)
{
	if (!e->len || e->len >= EDIT_REMEMBER)
		return;
	if (e->history_count && !strcmp(remembered(e, 1), e->line))
		return;
	strscpy(e->history[e->history_count % EDIT_HISTORY], e->line, EDIT_REMEMBER);
	e->history_count++;
}

static void history_move(struct edit *e, int step)
{
	u32 to = e->history_at + (u32)step;

	if (to > MIN(e->history_count, (u32)EDIT_HISTORY)) { /* also below 0 */
		bell(e);
		return;
	}
	if (e->history_at == 0)
		memcpy(e->saved, e->line, e->len + 1);
	e->history_at = to;
	replace_line(e, to ? remembered(e, to) : e->saved);
}

/* --- keys ------------------------------------------------------------------------------------------ */

static void key_left(struct edit *e)
{
	if (e->cursor)
		move_to(e, e->cursor - 1);
}

static void key_right(struct edit *e)
{
	if (e->cursor < e->len)
		move_to(e, e->cursor + 1);
}

static void key_delete(struct edit *e)
{
	if (e->cursor < e->len)
		remove_range(e, e->cursor, e->cursor + 1);
}

static void key_backspace(struct edit *e)
{
	if (!e->cursor)
		return;
	if (e->overflow)
		e->overflow = false; /* what did not fit goes first */
	remove_range(e, e->cursor - 1, e->cursor);
}

/* The final letter of ESC [ ... or ESC O ... */
static void escape_end(struct edit *e, u8 byte)
{
	e->escape = ESCAPE_NONE;
	switch (byte) {
	case 'A':
		history_move(e, 1);
		break;
	case 'B':
		history_move(e, -1);
		break;
	case 'C':
		key_right(e);
		break;
	case 'D':
		key_left(e);
		break;
	case 'H':
		move_to(e, 0);
		break;
	case 'F':
		move_to(e, e->len);
		break;
	case '~':
		if (e->escape_number == 1 || e->escape_number == 7)
			move_to(e, 0);
		else if (e->escape_number == 4 || e->escape_number == 8)
			move_to(e, e->len);
		else if (e->escape_number == 3)
			key_delete(e);
		break;
	}
}

/* Inside an escape sequence. A byte that cannot belong to one ends it and is dropped. */
static void feed_escape(struct edit *e, u8 byte)
{
	if (e->escape == ESCAPE_SEEN) {
		e->escape = byte == '[' ? ESCAPE_CSI : byte == 'O' ? ESCAPE_SS3 : ESCAPE_NONE;
		e->escape_number = 0;
	} else if (byte >= '0' && byte <= '9') {
		e->escape_number = (e->escape_number * 10 + byte - '0') % 1000;
	} else if (byte == ';') {
		e->escape_number = 0;
	} else {
		escape_end(e, byte);
	}
}

static void clear_screen(struct edit *e)
{
	out(e, "\x1b[H\x1b[2J", 7);
	e->dirty = true;
}

static void key_tab(struct edit *e)
{
	if (!e->complete || !e->complete(e->ctx, e))
		return;
	e->dirty = true;
}

static void feed_control(struct edit *e, u8 byte)
{
	switch (byte) {
	case CTRL('A'):
		move_to(e, 0);
		break;
	case CTRL('B'):
		key_left(e);
		break;
	case CTRL('D'):
		key_delete(e);
		break;
	case CTRL('E'):
		move_to(e, e->len);
		break;
	case CTRL('F'):
		key_right(e);
		break;
	case CTRL('H'):
	case DEL:
		key_backspace(e);
		break;
	case CTRL('I'):
		key_tab(e);
		break;
	case CTRL('K'):
		remove_range(e, e->cursor, e->len);
		break;
	case CTRL('L'):
		clear_screen(e);
		break;
	case CTRL('N'):
		history_move(e, -1);
		break;
	case CTRL('P'):
		history_move(e, 1);
		break;
	case CTRL('U'):
		remove_range(e, 0, e->cursor);
		break;
	case CTRL('W'):
		remove_range(e, word_start(e), e->cursor);
		break;
	case ESC:
		e->escape = ESCAPE_SEEN;
		break;
	}
}

static enum edit_result end_line(struct edit *e)
{
	if (e->cursor != e->len)
		move_to(e, e->len);
	edit_refresh(e);
	out(e, "\n", 1);
	if (e->overflow)
		return EDIT_TOO_LONG;
	remember(e);
	return EDIT_LINE;
}

/*
 * edit_feed - one byte from the line.
 *
 *   returns  EDIT_MORE, or what the line has become; edit_begin() then starts the next one
 *   after    E1; the picture may be old until edit_refresh()
 */
enum edit_result edit_feed(struct edit *e, u8 byte)
{
	bool after_cr = e->after_cr;

	e->after_cr = byte == '\r';
	if (byte == '\n' && after_cr)
		return EDIT_MORE;
	if (byte == '\r' || byte == '\n')
		return end_line(e);
	if (e->escape != ESCAPE_NONE && byte != ESC) {
		feed_escape(e, byte);
	} else if (byte == CTRL('C')) {
		out(e, "^C\n", 3);
		return EDIT_CANCEL;
	} else if (byte == CTRL('D') && !e->len) {
		return EDIT_END;
	} else if (byte >= ' ' && byte < DEL) {
		insert_char(e, (char)byte);
	} else {
		feed_control(e, byte);
	}
	return EDIT_MORE;
}
