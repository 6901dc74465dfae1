/*
 * format.c - printf's language for the kernel                                               floor 0
 *
 * Turns a format and its arguments into characters, for printk, for the texts of report.c and for
 * the monitor. It knows no floating point, no %n, no wide characters; the compiler checks formats.
 *
 * IDEA
 *   %[flags][width][.precision][length]conversion      flags   - 0 + # and space
 *                                                      length  hh h l ll z
 *                                                      conversions  d i u x X p s c %
 *   A directive is first read into a `struct spec`, then laid out by one function for all numbers:
 *       [blanks][sign or 0x][zeros][digits][blanks]
 *
 * INVARIANTS  none: no state. A buffer is never overrun and always terminated (if size > 0).
 * LOCKS       none; put() may take its own.
 * LINUX       lib/vsprintf.c adds some forty kinds of %p.
 */
#include "lib/format.h"
#include "lib/string.h"

/* The output, with the count that format() returns. */
struct out {
	format_put *put;
	void *ctx;
};

/* One directive, read. */
struct spec {
	bool left, zero, plus, space, alternate;
	int width;     /* 0: none */
	int precision; /* -1: none */
	int bytes;     /* size of the argument: 1, 2, 4 or 8 */
	char conversion;
};

static void emit(const struct out *out, const char *s, usize n)
{
	while (n-- > 0)
		out->put(out->ctx, *s++);
}

static void emit_repeat(const struct out *out, char c, int n)
{
	while (n-- > 0)
		out->put(out->ctx, c);
}

/* A decimal number in the format, or its `*`; *fmt moves behind it. Absurd sizes stop growing. */
static int take_count(const char **fmt, va_list *ap)
{
	int n = 0;

	if (**fmt == '*') {
		(*fmt)++;
		return va_arg(*ap, int);
	}
	for (; **fmt >= '0' && **fmt <= '9'; (*fmt)++)
		if (n < 100000)
			n = n * 10 + (**fmt - '0');
	return n;
}

static void take_flags(const char **fmt, struct spec *spec)
{
	for (;; (*fmt)++) {
		if (**fmt == '-')
			spec->left = true;
		else if (**fmt == '0')
			spec->zero = true;
		else if (**fmt == '+')
			spec->plus = true;
		else if (**fmt == ' ')
			spec->space = true;
		else if (**fmt == '#')
			spec->alternate = true;
		else
			return;
	}
}

/* The argument's size in bytes, from the length letters. */
static int take_length(const char **fmt)
{
	int bytes = 4;

	for (;; (*fmt)++) {
		if (**fmt == 'h')
			bytes = bytes == 2 ? 1 : 2;
		else if (**fmt == 'l' || **fmt == 'z')
			bytes = 8;
		else
			return bytes;
	}
}

/* Reads what stands behind a %, up to and with the conversion letter. */
static struct spec take_spec(const char **fmt, va_list *ap)
{
	struct spec spec = {.precision = -1};

	take_flags(fmt, &spec);
	spec.width = take_count(fmt, ap);
	if (spec.width < 0) {
		spec.left = true;
		spec.width = spec.width > -100000 ? -spec.width : 100000;
	}
	if (**fmt == '.') {
		(*fmt)++;
		spec.precision = take_count(fmt, ap);
		if (spec.precision < 0)
			spec.precision = -1;
	}
	spec.bytes = take_length(fmt);
	spec.conversion = **fmt;
	if (**fmt)
		(*fmt)++;
	return spec;
}

/* The digits of a number, written backwards from `end`; returns the first one's place. */
static char *write_digits(char *end, u64 value, bool hex, bool upper)
{
	const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";

	if (hex) {
		for (; value; value >>= 4)
			*--end = digits[value & 15];
		return end;
	}
	for (; value; value /= 10)
		*--end = (char)('0' + value % 10);
	return end;
}

/* Lays a number out: blanks, prefix, zeros, digits, blanks. */
static void emit_number(
	const struct out *out, const struct spec *spec, u64 value, bool hex, const char *prefix)
{
	char buf[20]; /* 2^64 - 1 has 20 decimal digits */
	char *end = buf + sizeof(buf);
	char *digits = write_digits(end, value, hex, spec->conversion == 'X');
	int nr_digits = (int)(end - digits), nr_prefix = (int)strlen(prefix);
	int least = spec->precision >= 0 ? spec->precision : 1;
	int zeros = least > nr_digits ? least - nr_digits : 0;
	int blanks = spec->width - nr_prefix - zeros - nr_digits;

	if (blanks > 0 && spec->zero && !spec->left && spec->precision < 0) {
		zeros += blanks;
		blanks = 0;
	}
	if (!spec->left)
		emit_repeat(out, ' ', blanks);
	emit(out, prefix, (usize)nr_prefix);
	emit_repeat(out, '0', zeros);
	emit(out, digits, (usize)nr_digits);
	if (spec->left)
		emit_repeat(out, ' ', blanks);
}

static void emit_signed(const struct out *out, const struct spec *spec, s64 value)
{
	const char *prefix = value < 0 ? "-" : spec->plus ? "+" : spec->space ? " " : "";

	/* The negation is done on the unsigned value: -(-2^63) does not exist. */
	emit_number(out, spec, value < 0 ? -(u64)value : (u64)value, false, prefix);
}

static void emit_hex(const struct out *out, const struct spec *spec, u64 value)
{
	const char *prefix = spec->conversion == 'X' ? "0X" : "0x";

	emit_number(out, spec, value, true, spec->alternate && value ? prefix : "");
}

/* A string of known length, cut to the precision and padded to the width. */
static void emit_string(const struct out *out, const struct spec *spec, const char *s)
{
	usize n = 0;

	if (!s)
		s = "(null)";
	while ((spec->precision < 0 || n < (usize)spec->precision) && s[n])
		n++;
	if (!spec->left)
		emit_repeat(out, ' ', spec->width - (int)n);
	emit(out, s, n);
	if (spec->left)
		emit_repeat(out, ' ', spec->width - (int)n);
}

static void emit_char(const struct out *out, const struct spec *spec, char c)
{
	if (!spec->left)
		emit_repeat(out, ' ', spec->width - 1);
	emit(out, &c, 1);
	if (spec->left)
		emit_repeat(out, ' ', spec->width - 1);
}

/* The next integer argument, narrowed to its declared size and widened again by its sign. */
static s64 take_signed(const struct spec *spec, va_list *ap)
{
	s64 value = spec->bytes == 8 ? va_arg(*ap, s64) : va_arg(*ap, int);

	if (spec->bytes == 1)
		return (s8)value;
	return spec->bytes == 2 ? (s16)value : value;
}

static u64 take_unsigned(const struct spec *spec, va_list *ap)
{
	u64 value = spec->bytes == 8 ? va_arg(*ap, u64) : va_arg(*ap, unsigned int);

	if (spec->bytes == 1)
		return (u8)value;
	return spec->bytes == 2 ? (u16)value : value;
}

/* One directive: read its argument and write it. A letter we do not know is shown as it stands. */
static void emit_directive(const struct out *out, const struct spec *spec, va_list *ap)
{
	switch (spec->conversion) {
	case 'd':
	case 'i':
		emit_signed(out, spec, take_signed(spec, ap));
		break;
	case 'u':
		emit_number(out, spec, take_unsigned(spec, ap), false, "");
		break;
	case 'x':
	case 'X':
		emit_hex(out, spec, take_unsigned(spec, ap));
		break;
	case 'p':
		emit_number(out, spec, (u64)(uintptr_t)va_arg(*ap, void *), true, "0x");
		break;
	case 's':
		emit_string(out, spec, va_arg(*ap, const char *));
		break;
	case 'c':
		emit_char(out, spec, (char)va_arg(*ap, int));
		break;
	case '\0':
		break;
	case '%':
		emit(out, "%", 1);
		break;
	default:
		emit(out, "%", 1);
		emit(out, &spec->conversion, 1);
	}
}

/*
 * format_sink - write the formatted text character by character to put(ctx, c).
 *
 *   locks    none of its own
 *   after    no terminating zero is written; the caller's `ap` is left as it was
 */
void format_sink(format_put *put, void *ctx, const char *fmt, va_list ap)
{
	struct out out = {put, ctx};
	va_list args;

	va_copy(args, ap);
	while (*fmt) {
		const char *percent = fmt;

		while (*percent && *percent != '%')
			percent++;
		emit(&out, fmt, (usize)(percent - fmt));
		fmt = percent;
		if (*fmt == '%') {
			struct spec spec;

			fmt++;
			spec = take_spec(&fmt, &args);
			emit_directive(&out, &spec, &args);
		}
	}
	va_end(args);
}

/* A buffer as a sink: keeps what fits, counts everything. */
struct buffer {
	char *buf;
	usize size;
	usize used;
};

static void buffer_put(void *ctx, char c)
{
	struct buffer *b = ctx;

	if (b->used + 1 < b->size)
		b->buf[b->used] = c;
	b->used++;
}

/*
 * vformat - format(), with the arguments in a va_list.
 */
int vformat(char *buf, usize size, const char *fmt, va_list ap)
{
	struct buffer b = {buf, size, 0};

	format_sink(buffer_put, &b, fmt, ap);
	if (size > 0)
		buf[MIN(b.used, size - 1)] = '\0';
	return (int)b.used;
}

/*
 * format - write formatted text into a buffer of `size` bytes, cut if necessary, always terminated.
 *
 *   returns  the length the whole text has: it was cut if that is not below `size`
 *   Linux    snprintf
 */
int format(char *buf, usize size, const char *fmt, ...)
{
	va_list ap;
	int length;

	va_start(ap, fmt);
	length = vformat(buf, size, fmt, ap);
	va_end(ap);
	return length;
}
