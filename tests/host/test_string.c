/*
 * test_string.c - lib/string.c against the C library.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* The C library's functions by pointer, before their names become ours. */
static void *(*const libc_memcpy)(void *, const void *, size_t) = memcpy;
static void *(*const libc_memmove)(void *, const void *, size_t) = memmove;
static void *(*const libc_memset)(void *, int, size_t) = memset;
static int (*const libc_memcmp)(const void *, const void *, size_t) = memcmp;
static void *(*const libc_memchr)(const void *, int, size_t) = memchr;
static size_t (*const libc_strlen)(const char *) = strlen;
static int (*const libc_strcmp)(const char *, const char *) = strcmp;
static int (*const libc_strncmp)(const char *, const char *, size_t) = strncmp;
static char *(*const libc_strchr)(const char *, int) = strchr;
static char *(*const libc_strrchr)(const char *, int) = strrchr;
static char *(*const libc_strstr)(const char *, const char *) = strstr;

#include "string_rename.h"

#include "lib/string.h"

#define AREA 256

static int sign(int x)
{
	return (x > 0) - (x < 0);
}

static void fill(u8 *area, usize n, u64 kinds)
{
	for (usize i = 0; i < n; i++)
		area[i] = (u8)(check_below(kinds) * 37);
}

TEST(moves_as_the_c_library_does)
{
	for (u64 round = 0; round < check_rounds(20000); round++) {
		u8 ours[AREA], theirs[AREA];
		usize n = check_below(AREA / 2), to = check_below(AREA / 2),
		      from = check_below(AREA / 2);

		fill(ours, AREA, 256);
		libc_memcpy(theirs, ours, AREA);
		CHECK(memmove(ours + to, ours + from, n) == ours + to);
		libc_memmove(theirs + to, theirs + from, n);
		CHECK(libc_memcmp(ours, theirs, AREA) == 0);
		CHECK(memset(ours + to, (int)round, n) == ours + to);
		libc_memset(theirs + to, (int)round, n);
		CHECK(libc_memcmp(ours, theirs, AREA) == 0);
	}
}

TEST(copies_exactly_n_bytes)
{
	for (usize n = 0; n < 64; n++) {
		u8 *from = malloc(n), *to = malloc(n); /* the sanitizer guards both ends */

		fill(from, n, 256);
		CHECK(memcpy(to, from, n) == to);
		CHECK(libc_memcmp(to, from, n) == 0);
		CHECK(memcmp(to, from, n) == 0);
		free(from);
		free(to);
	}
}

TEST(compares_as_the_c_library_does)
{
	for (u64 round = 0; round < check_rounds(20000); round++) {
		u8 a[40], b[40];
		usize n = check_below(sizeof(a) + 1);
		int c = (int)check_below(3) * 37;

		fill(a, sizeof(a), 2);
		libc_memcpy(b, a, sizeof(b));
		b[check_below(sizeof(b))] = (u8)check_random();
		CHECK_EQ(sign(memcmp(a, b, n)), sign(libc_memcmp(a, b, n)));
		CHECK(memchr(a, c, n) == libc_memchr(a, c, n));
	}
}

static void random_string(char *s, usize size)
{
	usize n = check_below(size);

	for (usize i = 0; i < n; i++)
		s[i] = (char)("ab\xff"[check_below(3)]);
	s[n] = '\0';
}

TEST(strings_as_the_c_library_does)
{
	for (u64 round = 0; round < check_rounds(50000); round++) {
		char a[12], b[5];
		usize n = check_below(12);
		int c = "ab\xff"[check_below(4)];

		random_string(a, sizeof(a));
		random_string(b, sizeof(b));
		CHECK_EQ(strlen(a), libc_strlen(a));
		CHECK_EQ(sign(strcmp(a, b)), sign(libc_strcmp(a, b)));
		CHECK_EQ(sign(strncmp(a, b, n)), sign(libc_strncmp(a, b, n)));
		CHECK(strchr(a, c) == libc_strchr(a, c));
		CHECK(strrchr(a, c) == libc_strrchr(a, c));
		CHECK(strstr(a, b) == libc_strstr(a, b));
	}
}

TEST(strscpy_cuts_and_terminates)
{
	char buf[4] = "xyz";

	CHECK_EQ(strscpy(buf, "abc", sizeof(buf)), 3);
	CHECK_STR(buf, "abc");
	CHECK_EQ(strscpy(buf, "abcd", sizeof(buf)), -1);
	CHECK_STR(buf, "abc");
	CHECK_EQ(strscpy(buf, "", sizeof(buf)), 0);
	CHECK_STR(buf, "");
	buf[0] = 'q';
	CHECK_EQ(strscpy(buf, "abc", 0), -1);
	CHECK_EQ(buf[0], 'q');
}

TEST(numbers)
{
	static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "1x", "x", "0x", "0xg", "0x ",
		"18446744073709551616", "0x10000000000000000", "99999999999999999999999", "1k"};
	u64 n = 7;

	CHECK_EQ(parse_u64("0", &n), 0);
	CHECK_EQ(n, 0);
	CHECK_EQ(parse_u64("0042", &n), 0);
	CHECK_EQ(n, 42);
	CHECK_EQ(parse_u64("18446744073709551615", &n), 0);
	CHECK_EQ(n, ~0ull);
	CHECK_EQ(parse_u64("0xfFfFffffFFFFffff", &n), 0);
	CHECK_EQ(n, ~0ull);
	n = 7;
	for (usize i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_MSG(parse_u64(bad[i], &n) == -1 && n == 7, "\"%s\" was accepted", bad[i]);
}

TEST(random_numbers_as_strtoull)
{
	for (u64 round = 0; round < check_rounds(50000); round++) {
		u64 value = check_random() >> check_below(64), n;
		char text[32];

		snprintf(text, sizeof(text), round & 1 ? "%" PRIu64 : "0x%" PRIx64, value);
		CHECK_EQ(parse_u64(text, &n), 0);
		CHECK_EQ(n, value);
		CHECK_EQ(n, strtoull(text, NULL, 0));
	}
}
