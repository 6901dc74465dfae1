/*
 * monitor.c - the grammar, the line editor and the commands of the monitor                self-tests
 */
#include "monitor/monitor.h"
#include "ktest.h"
#include "lib/string.h"
#include "mm/kmalloc.h"
#include "monitor/edit.h"
#include "monitor/parse.h"

/* --- parse ------------------------------------------------------------------------------------ */

/* "a b|c" for the commands of a line: words joined by blanks, commands by |; "!" + the error. */
static const char *parsed(const char *line, int status)
{
	static char result[512], words[1024];
	struct parse_command c;
	struct parse p;
	int more, n = 0;

	parse_init(&p, line, words, sizeof(words));
	result[0] = '\0';
	while ((more = parse_next(&p, status, &c)) > 0) {
		if (n++)
			strscpy(result + strlen(result), c.join == PARSE_IF_OK ? "&|" : "|", 3);
		for (int i = 0; i < c.argc; i++) {
			if (i)
				strscpy(result + strlen(result), " ", 2);
			strscpy(result + strlen(result), c.argv[i], 64);
		}
		if (c.redirect) {
			strscpy(result + strlen(result), ">", 2);
			strscpy(result + strlen(result), c.redirect, 64);
		}
		if (c.background)
			strscpy(result + strlen(result), "&", 2);
	}
	return more < 0 ? "!" : result;
}

#define PARSES(line, wanted) KT_EXPECT(ctx, !strcmp(parsed(line, 7), wanted))

KTEST(monitor, grammar)
{
	PARSES("", "");
	PARSES("   ", "");
	PARSES("# only a comment", "");
	PARSES("a b  c", "a b c");
	PARSES("a;b", "a|b");
	PARSES(";;a;;", "a");
	PARSES("a && b # c", "a&|b");
	PARSES("a\nb", "a|b");
	PARSES("a # x\nb", "a|b");
	PARSES("run x &", "run x&");
	PARSES("run x & b", "run x&|b");
	PARSES("echo always>/sys/x", "echo always>/sys/x");
	PARSES("echo 'a ; b' \"c $? \\\" d\"", "echo a ; b c 7 \" d");
	PARSES("echo $? '$?' a$?b", "echo 7 $? a7b");
	PARSES("echo a\\ b \\;", "echo a b ;");
	PARSES("a#b", "a#b");
}

KTEST(monitor, grammar_errors)
{
	static const char *const wrong[] = {"'", "\"a", "a |b", "a < b", "a >> b", "a >", "> b",
		"a > b > c", "&", "&& a", "a &&", "a && ; b", "a `b`"};

	for (usize i = 0; i < ARRAY_SIZE(wrong); i++)
		KT_EXPECT(ctx, parsed(wrong[i], 0)[0] == '!');
}

/* Any bytes: it ends, and stays inside its buffer (P1, P2). */
KTEST(monitor, grammar_garbage)
{
	static const char alphabet[] = "ab '\"\\;&|<>#$?`\n\t";
	static char words[256];
	struct parse_command c;
	struct parse p;
	char line[100];
	u64 seed = 12345;

	for (u32 round = 0; round < 20000; round++) {
		u32 calls = 0;

		for (usize i = 0; i < sizeof(line) - 1; i++) {
			seed = seed * 6364136223846793005ul + 1442695040888963407ul;
			line[i] = alphabet[(seed >> 33) % (sizeof(alphabet) - 1)];
		}
		line[sizeof(line) - 1] = '\0';
		parse_init(&p, line, words, sizeof(words));
		while (parse_next(&p, 127, &c) > 0)
			calls++;
		KT_REQUIRE(ctx, calls < sizeof(line));
		KT_REQUIRE(ctx, p.used <= sizeof(words));
	}
}

/* --- edit --------------------------------------------------------------------------------------- */

static void nowhere(void *ctx, const char *s, usize len)
{
}

static struct edit *editor(void)
{
	struct edit *e = kmalloc(sizeof(*e));

	if (!e)
		return NULL;
	edit_init(e, nowhere, NULL, NULL);
	edit_begin(e, "> ");
	return e;
}

/* Types bytes; what the last one led to. */
static enum edit_result type(struct edit *e, const char *s)
{
	enum edit_result r = EDIT_MORE;

	for (; *s; s++) {
		r = edit_feed(e, (u8)*s);
		if (r == EDIT_LINE && s[1])
			edit_begin(e, "> ");
	}
	return r;
}

#define TYPED(keys, wanted)                                                                        \
	do {                                                                                       \
		edit_begin(e, "> ");                                                               \
		KT_EXPECT(ctx, type(e, keys "\r") == EDIT_LINE);                                   \
		KT_EXPECT(ctx, !strcmp(e->line, wanted));                                          \
	} while (0)

KTEST(monitor, keys)
{
	struct edit *e = editor();

	KT_REQUIRE(ctx, e);
	TYPED("abc", "abc");
	TYPED("abc\x7f\bd", "ad");
	TYPED("abc\x1b[D\x1b[DX", "aXbc");
	TYPED("bc\x01"
	      "a\x05"
	      "d",
		"abcd");
	TYPED("bc\x1b[Ha\x1b[F"
	      "d",
		"abcd");
	TYPED("bc\x1bOHa\x1bOF"
	      "d",
		"abcd");
	TYPED("bc\x1b[1~a\x1b[4~d", "abcd");
	TYPED("abc\x1b[D\x1b[3~", "ab");
	TYPED("one two\x17three", "one three");
	TYPED("abc\x15"
	      "d",
		"d");
	TYPED("abc\x02\x0b", "ab");
	TYPED("ab\x1b[1;5Cc\x1b[99999999Z", "abc");
	TYPED("a\x80\xff\x1e"
	      "b",
		"ab");
	kfree(e);
}

KTEST(monitor, history)
{
	struct edit *e = editor();

	KT_REQUIRE(ctx, e);
	TYPED("first", "first");
	TYPED("second", "second");
	TYPED("\x1b[A", "second");
	TYPED("\x1b[A\x1b[A", "first");
	TYPED("new\x1b[A\x1b[B", "new");
	TYPED("\x10\x10\x0e", "new");
	for (int i = 0; i < 3 * EDIT_HISTORY; i++) {
		char line[8] = {'a', (char)('a' + i % 26), '\r', 0};

		edit_begin(e, "> ");
		KT_REQUIRE(ctx, type(e, line) == EDIT_LINE);
	}
	edit_begin(e, "> ");
	for (int i = 0; i < 2 * EDIT_HISTORY; i++)
		type(e, "\x1b[A");
	KT_EXPECT(ctx, e->history_at == EDIT_HISTORY);
	kfree(e);
}

KTEST(monitor, line_ends)
{
	struct edit *e = editor();

	KT_REQUIRE(ctx, e);
	KT_EXPECT(ctx, type(e, "a\r") == EDIT_LINE);
	edit_begin(e, "> ");
	KT_EXPECT(ctx, type(e, "\n") == EDIT_MORE); /* belongs to the CR */
	KT_EXPECT(ctx, type(e, "\n") == EDIT_LINE);
	edit_begin(e, "> ");
	KT_EXPECT(ctx, type(e, "\x04") == EDIT_END);
	KT_EXPECT(ctx, type(e, "a\x04") == EDIT_MORE);
	KT_EXPECT(ctx, type(e, "\x03") == EDIT_CANCEL);
	kfree(e);
}

KTEST(monitor, long_line)
{
	struct edit *e = editor();

	KT_REQUIRE(ctx, e);
	for (int i = 0; i < 10000; i++)
		edit_feed(e, 'x');
	KT_EXPECT(ctx, e->len == EDIT_BYTES - 1);
	KT_EXPECT(ctx, edit_feed(e, '\r') == EDIT_TOO_LONG);
	edit_begin(e, "> ");
	TYPED("ok", "ok");
	kfree(e);
}

/* --- commands -------------------------------------------------------------------------------------- */

struct answer {
	char s[4096];
	usize used;
};

static void answer_put(void *ctx, const char *s, usize len)
{
	struct answer *a = ctx;

	for (; len; len--, s++)
		if (a->used < sizeof(a->s) - 1)
			a->s[a->used++] = *s;
	a->s[a->used] = '\0';
}

static struct monitor session;
static struct answer answer;

static int execute(const char *line)
{
	answer.used = 0;
	answer.s[0] = '\0';
	monitor_session_init(&session, answer_put, &answer);
	return monitor_execute(&session, line);
}

#define THP "/sys/kernel/mm/transparent_hugepage/"

KTEST(monitor, statuses)
{
	KT_EXPECT(ctx, execute("") == STATUS_OK);
	KT_EXPECT(ctx, execute("echo a 'b c'") == STATUS_OK);
	KT_EXPECT(ctx, !strcmp(answer.s, "a b c\n"));
	KT_EXPECT(ctx, execute("chek") == STATUS_UNKNOWN);
	KT_EXPECT(ctx, strstr(answer.s, "did you mean `check`?"));
	KT_EXPECT(ctx, execute("xyzzyxyzzy; echo $?") == STATUS_OK);
	KT_EXPECT(ctx, strstr(answer.s, "127\n"));
	KT_EXPECT(ctx, session.first_failure == STATUS_UNKNOWN);
	KT_EXPECT(ctx, execute("echo a") == STATUS_OK && session.first_failure == STATUS_OK);
	KT_EXPECT(ctx, execute("page") == STATUS_USAGE);
	KT_EXPECT(ctx, execute("pmap 99999") == STATUS_FAILED);
	KT_EXPECT(ctx, execute("page 0 && echo yes") == STATUS_OK);
	KT_EXPECT(ctx, strstr(answer.s, "yes\n"));
	KT_EXPECT(ctx, execute("cat /nothing && echo yes") == STATUS_FAILED);
	KT_EXPECT(ctx, !strstr(answer.s, "yes\n"));
	KT_EXPECT(ctx, execute("echo a; echo 'b") == STATUS_USAGE);
	KT_EXPECT(ctx,
		!strstr(answer.s, "a\n")); /* nothing of a line that is not understood is done */
	KT_EXPECT(ctx, execute("version &") == STATUS_USAGE);
}

KTEST(monitor, redirect)
{
	KT_EXPECT(ctx, execute("echo maybe > " THP "enabled") == STATUS_FAILED);
	KT_EXPECT(ctx, strstr(answer.s, "invalid value"));
	KT_EXPECT(ctx, execute("echo 1 > /proc/vmstat") == STATUS_FAILED);
	KT_EXPECT(ctx, strstr(answer.s, "read-only"));
	KT_EXPECT(ctx, execute("echo 1 > /bin/thptouch") == STATUS_FAILED);
	KT_EXPECT(ctx, execute("echo 4096 > " THP "khugepaged/pages_to_scan") == STATUS_OK);
	KT_EXPECT(ctx, execute("help > " THP "enabled") == STATUS_FAILED);
}

/* What runs when everything is stopped asks for no lock: the others are refused. */
KTEST(monitor, stopped)
{
	answer.used = 0;
	monitor_session_init(&session, answer_put, &answer);
	session.stopped = true;
	KT_EXPECT(ctx, monitor_execute(&session, "run thptouch") == STATUS_FAILED);
	KT_EXPECT(ctx, monitor_execute(&session, "echo never > " THP "enabled") == STATUS_FAILED);
	KT_EXPECT(ctx, monitor_execute(&session, "cat /proc/1/smaps") == STATUS_FAILED);
	KT_EXPECT(ctx, monitor_execute(&session, "cat /proc/vmstat") == STATUS_OK);
	KT_EXPECT(ctx, monitor_execute(&session, "continue") == STATUS_OK);
	KT_EXPECT(ctx, session.leave);
}

/* The table itself: every command says all that help shows; names are unique. */
KTEST(monitor, table)
{
	for (const struct command *c = commands; c->name; c++) {
		KT_EXPECT(ctx,
			c->topic && c->usage && *c->meaning && *c->example && *c->like && c->run);
		for (const struct command *d = commands; d != c; d++)
			KT_EXPECT(ctx, strcmp(c->name, d->name));
	}
}
