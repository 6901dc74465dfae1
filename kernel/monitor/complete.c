/*
 * complete.c - Tab: commands, paths, subcommands and values                                  floor 7
 *
 * Looks at the word before the cursor and where it stands; takes every name that begins like it. One
 * candidate is inserted, of several what they have in common; when that adds nothing, they are listed.
 *
 * LOCKS     the tasks' lock, for paths of /proc; so not in the stopped monitor.
 */
#include "monitor/command.h"
#include "lib/format.h"
#include "lib/string.h"
#include "monitor/files.h"

#define NAME_BYTES 128
#define LIST_LIMIT 60 /* candidates shown */

struct candidates {
	struct monitor *m;
	char prefix[NAME_BYTES]; /* what stands there already, its last component */
	char common[NAME_BYTES]; /* what all candidates begin with */
	u32 count;
	bool folder; /* the last one was a folder */
	bool print;  /* second pass: list them */
};

static void candidate(void *ctx, const char *name, bool folder, u16 mode)
{
	struct candidates *c = ctx;
	usize n = 0;

	if (strncmp(name, c->prefix, strlen(c->prefix)))
		return;
	if (c->print) {
		if (c->count++ < LIST_LIMIT)
			say(c->m, "%s%s  ", name, folder ? "/" : "");
		return;
	}
	c->folder = folder;
	if (c->count++ == 0) {
		strscpy(c->common, name, sizeof(c->common));
		return;
	}
	while (c->common[n] && c->common[n] == name[n])
		n++;
	c->common[n] = '\0';
}

static void candidate_words(struct candidates *c, const char *words)
{
	char name[NAME_BYTES];

	while (*words) {
		const char *end = strchr(words, ' ');
		usize n = end ? (usize)(end - words) : strlen(words);

		strscpy(name, words, MIN(n + 1, sizeof(name)));
		candidate(c, name, false, 0);
		words += end ? n + 1 : n;
	}
}

static void candidate_commands(struct candidates *c)
{
	for (const struct command *command = commands; command->name; command++)
		if (command_exists(command))
			candidate(c, command->name, false, 0);
}

/* Where the word before the cursor begins, and which command it belongs to. */
struct place {
	const char *word; /* in text[] */
	const struct command *command;
	bool first;    /* it is the command itself */
	bool redirect; /* it stands behind > */
	char text[EDIT_BYTES];
};

static void find_place(struct place *p, const struct edit *e)
{
	const char *start = p->text, *end;
	char name[NAME_BYTES];

	memcpy(p->text, e->line, e->cursor);
	p->text[e->cursor] = '\0';
	for (const char *s = p->text; *s; s++)
		if (*s == ';' || *s == '&')
			start = s + 1;
	while (*start == ' ')
		start++;
	p->word = p->text + e->cursor;
	while (p->word > start && p->word[-1] != ' ' && p->word[-1] != '>')
		p->word--;
	p->first = p->word == start;
	end = p->word;
	while (end > start && end[-1] == ' ')
		end--;
	p->redirect = end > start && end[-1] == '>';
	end = strchr(start, ' ');
	strscpy(name, start, end ? MIN((usize)(end - start) + 1, sizeof(name)) : sizeof(name));
	p->command = p->first ? NULL : command_find(name);
}

/* Runs every source that fits the place through candidate(). */
static void collect(struct candidates *c, const struct place *p)
{
	const char *slash = strrchr(p->word, '/');
	char folder[NAME_BYTES];

	c->count = 0;
	strscpy(c->prefix, slash ? slash + 1 : p->word, sizeof(c->prefix));
	if (slash) {
		strscpy(folder, p->word, MIN((usize)(slash - p->word) + 2, sizeof(folder)));
		files_list(folder, candidate, c);
	} else if (p->redirect) {
		return;
	} else if (p->first || (p->command && arg_is(p->command->name, "help"))) {
		candidate_commands(c);
	} else if (p->command && arg_is(p->command->name, "run")) {
		files_list("/bin/", candidate, c);
	} else if (p->command && p->command->words) {
		candidate_words(c, p->command->words);
	}
}

static void insert(struct edit *e, struct candidates *c)
{
	edit_insert(e, c->common + strlen(c->prefix));
	if (c->count == 1)
		edit_insert(e, c->folder ? "/" : " ");
}

static struct place place;

bool complete(void *ctx, struct edit *e)
{
	struct candidates c = {.m = ctx};

	if (c.m->stopped)
		return false;
	find_place(&place, e);
	collect(&c, &place);
	if (!c.count)
		return false;
	if (c.count == 1 || strlen(c.common) > strlen(c.prefix)) {
		insert(e, &c);
		return false;
	}
	edit_refresh(e);
	say(c.m, "\n");
	c.print = true;
	collect(&c, &place);
	say(c.m, "%s\n", c.count > LIST_LIMIT ? "..." : "");
	return true;
}
