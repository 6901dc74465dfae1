/*
 * json.c - writes one line of JSON, without a tree in memory                                 floor 7
 *
 * INVARIANTS
 *   J1  what is written between json_begin() and json_end() is one valid JSON text on one line, whatever
 *       bytes the strings hold (ASSERTed by depth; tests parse every command's line)
 *
 * LOCKS     none.
 */
#include "monitor/json.h"
#include "lib/string.h"
#include <abi/errno.h>

static void comma(struct json *j)
{
	if (j->some[j->depth])
		report_puts(j->out, ",");
	j->some[j->depth] = true;
}

static void key_out(struct json *j, const char *key)
{
	comma(j);
	if (!key)
		return;
	report_puts(j->out, "\"");
	json_escape(j->out, key, strlen(key));
	report_puts(j->out, "\":");
}

static void open_bracket(struct json *j, const char *key, const char *bracket)
{
	key_out(j, key);
	report_puts(j->out, bracket);
	ASSERT(j->depth + 1 < JSON_DEPTH);
	j->some[++j->depth] = false;
}

void json_begin(struct json *j, struct monitor *m)
{
	*j = (struct json){.out = &m->out};
	report_puts(j->out, "{");
	j->depth = 1;
	json_number(j, "v", 1);
	json_string(j, "cmd", m->command->name);
}

void json_end(struct json *j)
{
	ASSERT(j->depth == 1);
	report_puts(j->out, "}\n");
}

void json_object(struct json *j, const char *key)
{
	open_bracket(j, key, "{");
}

void json_array(struct json *j, const char *key)
{
	open_bracket(j, key, "[");
}

void json_close(struct json *j, char bracket)
{
	ASSERT(j->depth > 1);
	j->depth--;
	report_printf(j->out, "%c", bracket);
}

void json_escape(struct report_out *out, const char *s, usize len)
{
	for (usize i = 0; i < len; i++) {
		u8 c = (u8)s[i];

		if (c == '"' || c == '\\')
			report_printf(out, "\\%c", c);
		else if (c == '\n')
			report_puts(out, "\\n");
		else if (c < ' ' || c >= 0x7f)
			report_printf(out, "\\u%04x", c);
		else
			out->put(out->ctx, s + i, 1);
	}
}

void json_string(struct json *j, const char *key, const char *value)
{
	key_out(j, key);
	report_puts(j->out, "\"");
	json_escape(j->out, value, strlen(value));
	report_puts(j->out, "\"");
}

static void text_put(void *ctx, const char *s, usize len)
{
	struct json *j = ctx;

	json_escape(j->out, s, len);
}

struct report_out json_text_begin(struct json *j, const char *key)
{
	key_out(j, key);
	report_puts(j->out, "\"");
	return (struct report_out){.put = text_put, .ctx = j};
}

void json_text_end(struct json *j)
{
	report_puts(j->out, "\"");
}

void json_number(struct json *j, const char *key, s64 value)
{
	key_out(j, key);
	report_printf(j->out, "%ld", value);
}

void json_unsigned(struct json *j, const char *key, u64 value)
{
	key_out(j, key);
	report_printf(j->out, "%lu", value);
}

void json_hex(struct json *j, const char *key, u64 value)
{
	key_out(j, key);
	report_printf(j->out, "\"0x%lx\"", value);
}

void json_bool(struct json *j, const char *key, bool value)
{
	key_out(j, key);
	report_puts(j->out, value ? "true" : "false");
}

/* --- texts of "name value" ------------------------------------------------------------------------ */

struct fields {
	struct json *j;
	char line[160];
	u32 used;
};

/* "MemTotal:  481296 kB" -> "MemTotal":481296; a value that is no number stays a string. */
static void field_line(struct fields *f)
{
	char *value = f->line, *end;
	u64 number;

	f->line[f->used] = '\0';
	f->used = 0;
	while (*value && *value != ':' && *value != ' ' && *value != '\t')
		value++;
	if (!*value)
		return;
	*value++ = '\0';
	while (*value == ' ' || *value == '\t' || *value == ':')
		value++;
	end = strstr(value, " kB");
	if (end && !end[3])
		*end = '\0';
	if (parse_u64(value, &number) == 0)
		json_unsigned(f->j, f->line, number);
	else
		json_string(f->j, f->line, value);
}

static void fields_put(void *ctx, const char *s, usize len)
{
	struct fields *f = ctx;

	for (usize i = 0; i < len; i++) {
		if (s[i] == '\n')
			field_line(f);
		else if (f->used < sizeof(f->line) - 1)
			f->line[f->used++] = s[i];
	}
}

int json_fields(struct json *j, const char *key, const char *path, struct task *self, bool stopped)
{
	struct fields f = {.j = j};
	struct report_out out = {.put = fields_put, .ctx = &f};
	int err;

	json_object(j, key);
	err = report_show(path, self, stopped, &out);
	json_close(j, '}');
	return err;
}
