/*
 * edit.h - a line being typed: keys in, echo out                                             floor 7
 *
 * Pure: a state machine over bytes. The caller brings the bytes, the sink and the completion.
 */
#ifndef MONITOR_EDIT_H
#define MONITOR_EDIT_H

#include "lib/types.h"

#define EDIT_BYTES    4096 /* a longer line is refused as a whole */
#define EDIT_HISTORY  32
#define EDIT_REMEMBER 256 /* longer lines are not remembered */
#define EDIT_COLUMNS  79  /* what of the line is shown: the terminal's width is not known */

enum edit_result {
	EDIT_MORE,     /* go on */
	EDIT_LINE,     /* line[] is complete */
	EDIT_TOO_LONG, /* Enter behind more than EDIT_BYTES - 1 characters: line[] is not to be used */
	EDIT_CANCEL, /* Ctrl-C */
	EDIT_END,    /* Ctrl-D on an empty line */
};

enum edit_escape {
	ESCAPE_NONE,
	ESCAPE_SEEN,
	ESCAPE_CSI,
	ESCAPE_SS3
};

struct edit {
	char line[EDIT_BYTES];
	u32 len, cursor;
	u32 shown_from; /* first character of the window */
	bool overflow;  /* more was typed than fits */
	bool dirty;     /* the screen is behind: edit_refresh() */
	bool after_cr;  /* a LF that follows belongs to it */
	bool draw;      /* a person looks: echo */
	enum edit_escape escape;
	u32 escape_number;
	const char *prompt;
	char saved[EDIT_BYTES]; /* what was being typed when history was entered */
	char history[EDIT_HISTORY][EDIT_REMEMBER];
	u32 history_count; /* lines ever remembered */
	u32 history_at;    /* how far back we are: 0 is the line being typed */

	void (*put)(void *ctx, const char *s, usize len);
	/* Tab: look at line[0 .. cursor) and call edit_insert() or print below the line; true: redraw. */
	bool (*complete)(void *ctx, struct edit *e);
	void *ctx;
};

void edit_init(struct edit *e, void (*put)(void *ctx, const char *s, usize len),
	bool (*complete)(void *ctx, struct edit *e), void *ctx);
void edit_begin(struct edit *e, const char *prompt);
enum edit_result edit_feed(struct edit *e, u8 byte);
void edit_refresh(struct edit *e);
void edit_insert(struct edit *e, const char *s);

#endif
