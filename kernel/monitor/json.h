/*
 * json.h - one line of JSON: {"v":1,"cmd":"buddyinfo", ...}                                  floor 7
 *
 * Commas are put where they belong; nesting is at most JSON_DEPTH. Addresses are strings, because
 * numbers above 2^53 are not exact in every reader.
 */
#ifndef MONITOR_JSON_H
#define MONITOR_JSON_H

#include "monitor/command.h"

#define JSON_DEPTH 8

struct json {
	struct report_out *out;
	u32 depth;
	bool some[JSON_DEPTH]; /* at this depth something stands already: a comma comes first */
};

/* Each takes a key, or NULL inside an array. */
void json_begin(struct json *j, struct monitor *m); /* {"v":1,"cmd":NAME */
void json_end(struct json *j);                      /* } and a newline */
void json_object(struct json *j, const char *key);
void json_array(struct json *j, const char *key);
void json_close(struct json *j, char bracket); /* '}' or ']' */
void json_string(struct json *j, const char *key, const char *value);
void json_number(struct json *j, const char *key, s64 value);
void json_unsigned(struct json *j, const char *key, u64 value);
void json_hex(struct json *j, const char *key, u64 value);
void json_bool(struct json *j, const char *key, bool value);

/* A text of lines "name value" or "Name:   value kB" as an object of that key, numbers as numbers. */
int json_fields(struct json *j, const char *key, const char *path, struct task *self, bool stopped);

/* A string in pieces: begin, any number of bytes through the sink that begin returns, end. */
struct report_out json_text_begin(struct json *j, const char *key);
void json_text_end(struct json *j);

/* Bytes as the inside of a JSON string. */
void json_escape(struct report_out *out, const char *s, usize len);

#endif
