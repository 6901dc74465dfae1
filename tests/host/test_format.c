/*
 * test_format.c - lib/format.c against the C library's snprintf.
 */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "lib/format.h"

#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
#pragma GCC diagnostic ignored "-Wformat"

/* The same call to both; text and length must be the same. */
#define SAME(...)                                                                                  \
	do {                                                                                       \
		char ours_[200], theirs_[200];                                                     \
		int n_ = format(ours_, sizeof(ours_), __VA_ARGS__);                                \
		int want_ = snprintf(theirs_, sizeof(theirs_), __VA_ARGS__);                       \
		CHECK_STR(ours_, theirs_);                                                         \
		CHECK_EQ(n_, want_);                                                               \
	} while (0)

TEST(every_conversion)
{
	SAME("plain");
	SAME("%d %i %d %d", 0, -1, INT_MAX, INT_MIN);
	SAME("%u %x %X", UINT_MAX, 0xbeefu, 0xbeefu);
	SAME("%ld %ld %lu %lx", LONG_MAX, LONG_MIN, ULONG_MAX, 0x123456789abcul);
	SAME("%lld %llu %llX", LLONG_MIN, ULLONG_MAX, 0xfedcba9876543210ull);
	SAME("%zu %zx", (size_t)-1, (size_t)4096);
	SAME("%hd %hhd %hu %hhx", (short)-2, (signed char)-3, (unsigned short)65535, 0xff);
	SAME("%s|%.2s|%5s|%-5s|%c|%5c|%-5c|", "abc", "abc", "abc", "abc", 'x', 'y', 'z');
	SAME("%% 100%%");
	SAME("%p", (void *)0xffff888000001000ul);
	SAME("%#x %#x %+d % d %+d", 0, 0x2a, 5, 5, -5);
}

TEST(width_and_precision)
{
	SAME("|%8d|%-8d|%08d|%8.3d|%-8.3d|%.0d|%.d|", -42, -42, -42, -42, -42, 0, 0);
	SAME("|%*d|%-*d|%*d|%.*d|%.*s|", 6, 1, 6, 2, -6, 3, 4, 5, 2, "abcdef");
	SAME("|%.*d|%.*s|", -1, 7, -1, "all of it");
	SAME("|%016lx|%#010x|%-#10x|", 0xdeadul, 0xbeef, 0xbeef);
	SAME("|%08.3x|%-08d|%+08d|", 0x2a, 42, 42);
	SAME("|%.3s|%.0s|%10.2s|", "ab", "ab", "abc");
}

/* The compilers know these formats to be wrong; they must not see them. */
static const char *hide(const char *fmt)
{
	const char *volatile hidden = fmt;

	return hidden;
}

TEST(odd_formats_do_no_harm)
{
	char buf[32];

	CHECK_EQ(format(buf, sizeof(buf), hide("%q")), 2);
	CHECK_STR(buf, "%q");
	CHECK_EQ(format(buf, sizeof(buf), hide("50%")), 2);
	CHECK_STR(buf, "50");
	CHECK_EQ(format(buf, sizeof(buf), hide("%s"), (const char *)NULL), 6);
	CHECK_STR(buf, "(null)");
	CHECK_EQ(format(buf, sizeof(buf), hide("%p"), NULL), 3);
	CHECK(format(buf, sizeof(buf), hide("%99999999999d"), 1) >= 100000);
	CHECK_EQ(format(buf, sizeof(buf), hide("%*d"), INT_MIN, 1), 100000);
}

TEST(a_buffer_is_never_overrun)
{
	for (usize size = 0; size < 12; size++) {
		char ours[12], theirs[12];

		memset(ours, '#', sizeof(ours));
		memset(theirs, '#', sizeof(theirs));
		CHECK_EQ(format(ours, size, "%d-%s", 12345, "abc"),
			snprintf(theirs, size, "%d-%s", 12345, "abc"));
		CHECK(memcmp(ours, theirs, sizeof(ours)) == 0);
	}
}

static void count_put(void *ctx, char c)
{
	char **end = ctx;

	*(*end)++ = c;
}

static void to_sink(char **end, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	format_sink(count_put, end, fmt, ap);
	va_end(ap);
}

TEST(a_sink_gets_every_character)
{
	char buf[64], *end = buf;

	to_sink(&end, "%s %5d|", "sink", 42);
	*end = '\0';
	CHECK_STR(buf, "sink    42|");
}

/* A random directive for numbers: flags, width, precision, length, conversion. */
static void random_directive(char *out, bool *wide)
{
	static const char *const lengths[] = {"", "h", "hh", "l", "ll", "z"};
	usize length = check_below(ARRAY_SIZE(lengths));
	char *p = out;

	*p++ = '[';
	*p++ = '%';
	for (u64 n = check_below(4); n > 0; n--)
		*p++ = "-0+ #"[check_below(5)];
	if (check_below(2))
		p += sprintf(p, "%d", (int)check_below(30));
	if (check_below(3) == 0)
		p += sprintf(p, ".%d", (int)check_below(25));
	p += sprintf(p, "%s%c]", lengths[length], "duxXi"[check_below(5)]);
	*p = '\0';
	*wide = length >= 3;
}

TEST(random_directives_as_snprintf)
{
	for (u64 round = 0; round < check_rounds(200000); round++) {
		u64 value = check_random() >> check_below(64);
		char directive[64];
		bool wide;

		random_directive(directive, &wide);
		if (check_below(2))
			value = -value;
		if (wide)
			SAME(directive, value);
		else
			SAME(directive, (unsigned int)value);
	}
}
