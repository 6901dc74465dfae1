/*
 * parse.h - from a line to commands: words, quotes, `;` `&&` `&` `>` `#` `$?`                floor 7
 *
 * Pure: reads a string, writes words into the caller's buffer, knows no command.
 */
#ifndef MONITOR_PARSE_H
#define MONITOR_PARSE_H

#include "lib/types.h"

#define PARSE_ARGS 64 /* words of one command */

/* How a command stands to the one before it. */
enum parse_join {
	PARSE_ALWAYS,
	PARSE_IF_OK
};

struct parse_command {
	enum parse_join join;
	int argc;
	char *argv[PARSE_ARGS + 1];
	char *redirect;  /* behind `>`, or NULL */
	bool background; /* `&` stood behind it */
};

struct parse {
	const char *at; /* what is left of the line */
	char *words;    /* where words are written: parse_room() bytes for a line */
	usize used, size;
	enum parse_join join;
	const char *error; /* set when parse_next() returned -1 */
};

/* Bytes of words that a line of n bytes can need: "$?" may grow to three digits, each word ends in a zero. */
static inline usize parse_room(usize n)
{
	return 2 * n + 8;
}

void parse_init(struct parse *p, const char *line, char *words, usize size);

/*
 * parse_next - the next command of the line.
 *
 *   status   what `$?` stands for
 *   returns  1: *c is filled; 0: the line ends; -1: p->error says what is wrong
 */
int parse_next(struct parse *p, int status, struct parse_command *c);

#endif
