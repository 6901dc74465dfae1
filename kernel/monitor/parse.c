/*
 * parse.c - the monitor's grammar                                                            floor 7
 *
 *   line     = [command] { (";" | newline | "&&" | "&") [command] } ["#" anything]
 *   command  = word { word } [">" word]
 *   word     = characters, 'taken as they are', "with $? and \", \ before a special character
 *
 * It executes nothing and looks up nothing. `|` `<` `>>` and ` are refused by name: a student who knows
 * sh should be told, not surprised.
 *
 * INVARIANTS
 *   P1  words are written only into [words, words + size); every word ends with a zero
 *   P2  each call moves `at` forward or ends: a line of n bytes takes at most n + 1 calls
 *
 * LOCKS     none, no state.
 */
#include "monitor/parse.h"
#include "lib/format.h"
#include "lib/string.h"

void parse_init(struct parse *p, const char *line, char *words, usize size)
{
	*p = (struct parse){.at = line, .words = words, .size = size, .join = PARSE_ALWAYS};
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static bool ends_word(char c)
{
	return !c || is_blank(c) || strchr("\n;&|<>`", c);
}

static bool put(struct parse *p, char c)
{
	if (p->used >= p->size) {
		p->error = "the line is too long";
		return false;
	}
	p->words[p->used++] = c;
	return true;
}

static bool put_status(struct parse *p, int status)
{
	char digits[12];

	format(digits, sizeof(digits), "%d", status);
	for (const char *d = digits; *d; d++)
		if (!put(p, *d))
			return false;
	p->at += 2;
	return true;
}

/* The inside of '...' or "...": `at` stands behind the opening quote. */
static bool take_quoted(struct parse *p, char quote, int status)
{
	while (*p->at && *p->at != quote) {
		if (quote == '"' && p->at[0] == '$' && p->at[1] == '?') {
			if (!put_status(p, status))
				return false;
			continue;
		}
		if (quote == '"' && p->at[0] == '\\' && p->at[1] && strchr("\"\\$", p->at[1]))
			p->at++;
		if (!put(p, *p->at++))
			return false;
	}
	if (!*p->at) {
		p->error = "a quote is not closed";
		return false;
	}
	p->at++;
	return true;
}

/* One word; `at` stands on its first character. NULL: error. */
static char *take_word(struct parse *p, int status)
{
	char *word = p->words + p->used;

	while (!ends_word(*p->at)) {
		bool ok;

		if (*p->at == '\'' || *p->at == '"') {
			p->at++;
			ok = take_quoted(p, p->at[-1], status);
		} else if (p->at[0] == '$' && p->at[1] == '?') {
			ok = put_status(p, status);
		} else {
			if (p->at[0] == '\\' && p->at[1])
				p->at++;
			ok = put(p, *p->at++);
		}
		if (!ok)
			return NULL;
	}
	return put(p, '\0') ? word : NULL;
}

static void skip_blanks(struct parse *p)
{
	while (is_blank(*p->at))
		p->at++;
	if (*p->at == '#')
		while (*p->at && *p->at != '\n')
			p->at++;
}

/* Behind a command: what joins the next one to it. False: something that does not belong there. */
static bool take_join(struct parse *p, struct parse_command *c)
{
	p->join = PARSE_ALWAYS;
	switch (*p->at) {
	case '\0':
		return true;
	case ';':
	case '\n':
		p->at++;
		return true;
	case '&':
		p->at++;
		if (*p->at == '&') {
			p->at++;
			p->join = PARSE_IF_OK;
		} else {
			c->background = true;
		}
		return true;
	case '|':
		p->error = "there are no pipes (|) here";
		return false;
	case '<':
		p->error = "there is no input from files (<) here";
		return false;
	}
	p->error = "a ` means nothing here";
	return false;
}

static bool take_redirect(struct parse *p, struct parse_command *c, int status)
{
	p->at++;
	if (*p->at == '>') {
		p->error = "only > writes to a setting; >> means nothing here";
		return false;
	}
	skip_blanks(p);
	if (ends_word(*p->at) || c->redirect) {
		p->error = "> wants one path behind it";
		return false;
	}
	c->redirect = take_word(p, status);
	return c->redirect;
}

/* Words up to something that ends a command. */
static bool take_command(struct parse *p, struct parse_command *c, int status)
{
	for (skip_blanks(p);; skip_blanks(p)) {
		if (*p->at == '>') {
			if (!take_redirect(p, c, status))
				return false;
		} else if (ends_word(*p->at)) {
			return true;
		} else if (c->argc == PARSE_ARGS) {
			p->error = "too many words";
			return false;
		} else {
			c->argv[c->argc] = take_word(p, status);
			if (!c->argv[c->argc])
				return false;
			c->argc++;
		}
	}
}

int parse_next(struct parse *p, int status, struct parse_command *c)
{
	for (;;) {
		*c = (struct parse_command){.join = p->join};
		p->used = 0;
		if (!take_command(p, c, status))
			return -1;
		c->argv[c->argc] = NULL;
		bool end = !*p->at;

		if (!c->argc && (c->redirect || *p->at == '&' || c->join == PARSE_IF_OK)) {
			p->error = "a command is missing";
			return -1;
		}
		if (!take_join(p, c))
			return -1;
		if (c->argc)
			return 1;
		if (end)
			return 0;
	}
}
