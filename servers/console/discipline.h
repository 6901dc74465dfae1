/*
 * discipline.h - what a terminal does between the keys and read().                                ring 3
 *
 * Pure: bytes in, echo and signals out, lines ready. It calls nothing but the function that takes its output.
 */
#ifndef CONSOLE_DISCIPLINE_H
#define CONSOLE_DISCIPLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Linux's struct termios of the kernel's interface (TCGETS): not the C library's, which is longer. */
struct terminal_settings {
	uint32_t iflag, oflag, cflag, lflag;
	uint8_t line;
	uint8_t cc[19];
};
_Static_assert(sizeof(struct terminal_settings) == 36, "abi");

#define TYPED_BYTES 16384 /* a power of 2: what was typed and not yet read */
#define LINE_BYTES  4095  /* of a line that is being typed: Linux's limit */

/* Where output goes: echo and what programs write. */
typedef void discipline_put(void *ctx, const char *bytes, size_t n);

struct discipline {
	struct terminal_settings settings;
	discipline_put *put;
	void *ctx;

	/* A ring; the positions only grow. [read, ready) are finished lines, [ready, typed) is the line under work. */
	uint8_t bytes[TYPED_BYTES];
	uint8_t marks[TYPED_BYTES]; /* MARK_*, of the byte at the same place */
	uint64_t read, ready, typed;

	bool literal;        /* Ctrl-V came: the next byte is no command */
	bool rang;           /* the bell, once for each discipline_type() */
	unsigned column;     /* of the cursor, as far as we know */
	unsigned line_start; /* column where the line under work begins */
	uint32_t signals;    /* DISCIPLINE_* that were typed and not taken */
};

#define DISCIPLINE_INTR 0x2u
#define DISCIPLINE_QUIT 0x4u
#define DISCIPLINE_SUSP 0x8u

void discipline_init(struct discipline *d, discipline_put *put, void *ctx);

/* discipline_type - n bytes came from the keyboard. Any bytes, any number: what has no room is dropped, with a bell. */
void discipline_type(struct discipline *d, const uint8_t *bytes, size_t n);

/* discipline_write - n bytes of a program's output, changed as oflag says. */
void discipline_write(struct discipline *d, const char *bytes, size_t n);

#define DISCIPLINE_NOTHING (-1) /* read: there is nothing yet */

/*
 * discipline_read - at most n bytes: in canonical mode of one line.
 *
 *   returns  how many; 0: end of file (Ctrl-D), or a mode with VMIN 0; DISCIPLINE_NOTHING
 */
long discipline_read(struct discipline *d, uint8_t *to, size_t n);
/* After DISCIPLINE_NOTHING: the read ends with 0 after so many tenths of a second; 0: it waits for input. */
unsigned discipline_patience(const struct discipline *d);
bool discipline_readable(const struct discipline *d); /* would discipline_read() find something? */

/* discipline_set - new settings; what was typed stays and is seen under the new mode, as in Linux. */
void discipline_set(struct discipline *d, const struct terminal_settings *settings);
void discipline_flush(struct discipline *d); /* typed input is dropped */

/* discipline_reset - for another reader: the first settings, and no signals for who is gone; what was typed ahead stays. */
void discipline_reset(struct discipline *d);

bool discipline_check(const struct discipline *d); /* D1-D4 */

#endif
