/*
 * command.c - executes a line: looks the command up, checks its options, keeps its status     floor 7
 *
 * IDEA
 *   line -> parse_next() -> `name` in commands[] -> may it run here (stopped? --json? &?) -> run()
 *   A line is parsed as a whole before its first command runs, so that a mistake at its end does not
 *   leave half of it done.
 *
 *   `> path` collects what the command writes and hands it to the setting in one piece.
 *
 * LOCKS     none: one thread per session.
 */
#include "monitor/command.h"
#include "lib/format.h"
#include "lib/string.h"
#include "monitor/json.h"
#include "monitor/parse.h"
#include <abi/errno.h>

#define MAX_DEPTH 4 /* watch watch watch ... */

/* --- what commands say when they cannot ------------------------------------------------------------ */

static void fail_json(struct monitor *m, const char *text)
{
	struct json j;

	if (m->json_failed)
		return;
	m->json_failed = true;
	json_begin(&j, m);
	json_string(&j, "error", text);
	json_end(&j);
}

int fail(struct monitor *m, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vformat(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (m->json)
		fail_json(m, text);
	else
		say(m, "%s: %s\n", m->command->name, text);
	return STATUS_FAILED;
}

int usage(struct monitor *m)
{
	char text[256];

	format(text, sizeof(text), "usage: %s%s%s", m->command->name, *m->command->usage ? " " : "",
		m->command->usage);
	if (m->json)
		fail_json(m, text);
	else
		say(m, "%s\n", text);
	return STATUS_USAGE;
}

bool power_allowed(struct monitor *m)
{
	if (!m->may_power)
		fail(m, "permission denied");
	return m->may_power;
}

const char *errno_text(int err)
{
	switch (err < 0 ? -err : err) {
	case EPERM:
		return "not permitted";
	case ENOENT:
		return "no such file";
	case ESRCH:
		return "no such task";
	case EINTR:
		return "interrupted";
	case ENOEXEC:
		return "not a program for this machine";
	case E2BIG:
		return "too many arguments";
	case EAGAIN:
		return "not possible while everything is stopped";
	case ENOMEM:
		return "no memory";
	case EPIPE:
		return "its server ended";
	case ETIMEDOUT:
		return "nobody answers";
	case EACCES:
		return "read-only";
	case ENOTDIR:
		return "not a folder";
	case EISDIR:
		return "is a folder";
	case EINVAL:
		return "invalid value";
	case ERANGE:
		return "value out of range";
	}
	return "failed";
}

int fail_errno(struct monitor *m, const char *what, int err)
{
	return fail(m, "%s: %s", what, errno_text(err));
}

/* --- arguments ----------------------------------------------------------------------------------------- */

bool arg_number(const char *text, u64 *value)
{
	return parse_u64(text, value) == 0;
}

bool arg_is(const char *text, const char *word)
{
	return !strcmp(text, word);
}

struct task *arg_task(struct monitor *m, const char *text)
{
	struct task *t;
	u64 pid;

	if (!arg_number(text, &pid) || pid > UINT32_MAX) {
		fail(m, "%s: not a number of a task", text);
		return NULL;
	}
	t = task_find((u32)pid);
	if (!t)
		fail(m, "%lu: no such task (`ps` lists them)", pid);
	return t;
}

/* --- names ----------------------------------------------------------------------------------------------- */

bool command_exists(const struct command *c)
{
	return !(c->flags & CMD_DEBUG) || CONFIG_DEBUG;
}

const struct command *command_find(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (!strcmp(c->name, name) && command_exists(c))
			return c;
	return NULL;
}

#define NAME_BYTES 16

/* How many characters must be changed, added or left out: Levenshtein's distance, one row at a time. */
static u32 distance(const char *a, const char *b)
{
	u32 row[NAME_BYTES + 1], n = (u32)strlen(b);

	for (u32 j = 0; j <= n; j++)
		row[j] = j;
	for (u32 i = 0; a[i]; i++) {
		u32 diagonal = row[0];

		row[0] = i + 1;
		for (u32 j = 0; j < n; j++) {
			u32 change = diagonal + (a[i] != b[j]);

			diagonal = row[j + 1];
			row[j + 1] = MIN(change, MIN(row[j], diagonal) + 1);
		}
	}
	return row[n];
}

const struct command *command_nearest(const char *name)
{
	const struct command *best = NULL;
	u32 least = 3; /* further away is no help */

	if (strlen(name) > NAME_BYTES)
		return NULL;
	for (const struct command *c = commands; c->name; c++) {
		u32 d = distance(name, c->name);

		if (command_exists(c) && d < least && d < strlen(name)) {
			least = d;
			best = c;
		}
	}
	return best;
}

static int unknown(struct monitor *m, const char *name)
{
	const struct command *near = command_nearest(name);

	say(m, "%.40s: unknown command; ", name);
	if (near)
		say(m, "did you mean `%s`?\n", near->name);
	else
		say(m, "`help` lists them\n");
	return STATUS_UNKNOWN;
}

/* --- running one ------------------------------------------------------------------------------------------- */

/* The words of a command as it gets them: without "--json" if it has that option. True: it stood there. */
static bool take_words(const struct command *c, int *argc, char **argv, char **words)
{
	int kept = 0, all = *argc;

	for (int i = 0; i < all; i++)
		if (!(i && c->flags & CMD_JSON && arg_is(argv[i], "--json")))
			words[kept++] = argv[i];
	words[kept] = NULL;
	*argc = kept;
	return kept < all;
}

static int refuse(struct monitor *m, const struct command *c, const char *why)
{
	say(m, "%s: %s\n", c->name, why);
	return STATUS_USAGE;
}

int monitor_execute_words(struct monitor *m, int argc, char **argv)
{
	const struct command *c = command_find(argv[0]), *outer = m->command;
	char *words[PARSE_ARGS + 1];
	bool outer_json = m->json;
	int status;

	if (!c)
		return unknown(m, argv[0]);
	if (m->stopped && !(c->flags & CMD_LOCK_FREE)) {
		refuse(m, c, "not possible while everything is stopped (`continue` goes on)");
		return STATUS_FAILED;
	}
	if (m->background && !(c->flags & CMD_ASYNC))
		return refuse(m, c, "only `run` may stand before &");
	if (m->depth == MAX_DEPTH)
		return refuse(m, c, "too deep");
	m->json = take_words(c, &argc, argv, words);
	m->json_failed = false;
	m->command = c;
	m->depth++;
	status = c->run(m, argc, words);
	m->depth--;
	m->command = outer;
	m->json = outer_json;
	return status;
}

/* The value that `> path` collects. */
struct collected {
	char text[80];
	usize used;
};

static void collect(void *ctx, const char *s, usize len)
{
	struct collected *c = ctx;

	for (; len && c->used < sizeof(c->text); len--)
		c->text[c->used++] = *s++;
}

/* command > path: nothing is written when the command failed. */
static int execute_redirected(struct monitor *m, struct parse_command *p)
{
	struct report_out out = m->out;
	struct collected c = {.used = 0};
	struct report_file f;
	int status, err;

	if (m->stopped) {
		say(m, "%s: %s\n", p->redirect, errno_text(-EAGAIN));
		return STATUS_FAILED;
	}
	m->out = (struct report_out){.put = collect, .ctx = &c};
	status = monitor_execute_words(m, p->argc, p->argv);
	m->out = out;
	if (status) {
		m->out.put(m->out.ctx, c.text, c.used);
		return status;
	}
	err = report_open(p->redirect, NULL, true, &f);
	if (!err) {
		err = report_write(&f, c.text, c.used);
		report_close(&f);
	}
	if (err)
		say(m, "%s: %s\n", p->redirect, errno_text(err));
	return err ? STATUS_FAILED : STATUS_OK;
}

static int execute_one(struct monitor *m, struct parse_command *p)
{
	int status;

	m->background = p->background;
	status =
		p->redirect ? execute_redirected(m, p) : monitor_execute_words(m, p->argc, p->argv);
	m->background = false;
	return status;
}

/* What make and the tests read: one line behind each command of CMD. */
static void result_line(struct monitor *m, const struct parse_command *p)
{
	say(m, "RESULT n=%u status=%d cmd=\"", ++m->results, m->status);
	for (int i = 0; i < p->argc; i++) {
		report_puts(&m->out, i ? " " : "");
		json_escape(&m->out, p->argv[i], strlen(p->argv[i]));
	}
	say(m, "\"\n");
}

/* Does the whole line make sense? Says so if not. */
static bool line_ok(struct monitor *m, const char *line, char *words, usize size)
{
	struct parse_command c;
	struct parse p;
	int more;

	parse_init(&p, line, words, size);
	while ((more = parse_next(&p, 0, &c)) > 0)
		;
	if (more < 0)
		say(m, "%s\n", p.error);
	return more == 0;
}

/*
 * monitor_execute - every command of a line, in order.
 *
 *   returns  the status of the last one that ran; 0 for an empty line; STATUS_USAGE: the line is not understood
 *   after    m->status is that status; m->first_failure the first that was not 0 (what CMD leaves with)
 */
int monitor_execute(struct monitor *m, const char *line)
{
	struct parse_command c;
	struct parse p;
	int more;

	m->first_failure = STATUS_OK;
	if (!line_ok(m, line, m->words, sizeof(m->words)))
		return m->status = m->first_failure = STATUS_USAGE;
	parse_init(&p, line, m->words, sizeof(m->words));
	while ((more = parse_next(&p, m->status, &c)) > 0) {
		if (c.join == PARSE_IF_OK && m->status)
			continue;
		m->status = execute_one(m, &c);
		if (!m->first_failure)
			m->first_failure = m->status;
		if (m->records)
			result_line(m, &c);
		if (m->leave)
			break;
	}
	if (more < 0) {
		say(m, "%s\n", p.error);
		m->status = STATUS_USAGE;
	}
	return m->status;
}
