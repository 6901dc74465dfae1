/*
 * report_text.c - formatted text into a sink, and one whole number out of a text               floor 7
 *
 * What every file of /proc and /sys is written and read with. No state, no locks.
 */
#include "report_nodes.h"
#include "lib/format.h"
#include "lib/string.h"
#include <abi/errno.h>

/* report_puts - a string. */
void report_puts(struct report_out *out, const char *s)
{
	out->put(out->ctx, s, strlen(s));
}

/* Collects characters so that the sink gets pieces. */
struct pieces {
	struct report_out *out;
	u32 used;
	char buf[128];
};

static void pieces_flush(struct pieces *p)
{
	if (p->used)
		p->out->put(p->out->ctx, p->buf, p->used);
	p->used = 0;
}

static void pieces_put(void *ctx, char c)
{
	struct pieces *p = ctx;

	p->buf[p->used++] = c;
	if (p->used == sizeof(p->buf))
		pieces_flush(p);
}

/* report_printf - formatted text. */
void report_printf(struct report_out *out, const char *fmt, ...)
{
	struct pieces p;
	va_list ap;

	p.out = out;
	p.used = 0;
	va_start(ap, fmt);
	format_sink(pieces_put, &p, fmt, ap);
	va_end(ap);
	pieces_flush(&p);
}

int report_number(const char *text, u64 min, u64 max, u64 *out)
{
	u64 value;

	text += *text == '+'; /* kstrtoul() takes one */
	if (parse_u64(text, &value) || value < min || value > max || text[1] == 'x' ||
		text[1] == 'X')
		return -EINVAL;
	*out = value;
	return 0;
}
