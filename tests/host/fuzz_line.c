/*
 * fuzz_line.c - monitor/parse.c and monitor/edit.c under libFuzzer: any bytes are typed, and each line
 * that comes of it is parsed.
 */
#include <stdlib.h>
#include <string.h>

#include "monitor/edit.h"
#include "monitor/parse.h"

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void nowhere(void *ctx, const char *s, usize len)
{
	(void)ctx;
	require(!memchr(s, 0, len));
}

/* Words lie in the buffer that was given, one behind the other (P1); a line ends (P2). */
static void parse_line(const char *line)
{
	usize size = parse_room(strlen(line)), calls = 0;
	char *words = malloc(size);
	struct parse_command c;
	struct parse p;
	int more;

	parse_init(&p, line, words, size);
	while ((more = parse_next(&p, 127, &c)) > 0) {
		require(c.argc > 0 && c.argc <= PARSE_ARGS && !c.argv[c.argc]);
		for (int i = 0; i < c.argc; i++)
			require(c.argv[i] >= words && c.argv[i] + strlen(c.argv[i]) < words + size);
		require(++calls <= strlen(line));
	}
	require((more < 0) == (p.error != NULL));
	require(!p.error || strcmp(p.error, "the line is too long") != 0);
	free(words);
}

int LLVMFuzzerTestOneInput(const u8 *data, usize size);

int LLVMFuzzerTestOneInput(const u8 *data, usize size)
{
	static struct edit e;

	edit_init(&e, nowhere, NULL, NULL);
	edit_begin(&e, "pagoda> ");
	for (usize i = 0; i < size; i++) {
		enum edit_result result = edit_feed(&e, data[i]);

		require(e.cursor <= e.len && e.len < EDIT_BYTES && !e.line[e.len]); /* E1 */
		if (data[i] & 1)
			edit_refresh(&e);
		if (result == EDIT_LINE)
			parse_line(e.line);
		if (result != EDIT_MORE)
			edit_begin(&e, "pagoda> ");
	}
	parse_line(e.line);
	return 0;
}
