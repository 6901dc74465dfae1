/*
 * string.c - memory and strings, and the two parsers of numbers                             floor 0
 *
 * The part of <string.h> that this kernel uses, with the meaning the C standard gives it: the
 * compiler calls memcpy, memmove, memset and memcmp on its own when it copies a struct. Clearing
 * and copying whole pages is not done here: x86/cpu.h has `rep stosq` for that.
 *
 * IDEA
 *   Move eight bytes at a time while eight are left, then single bytes. x86 reads and writes a word
 *   at any address, so nothing is aligned first; `struct word` says so to the compiler.
 *
 * INVARIANTS  none: no state.      LOCKS  none.
 * LINUX       lib/string.c, arch/x86/lib/memcpy_64.S (picks one of three ways when it boots).
 */
#include "lib/string.h"

/* A word at any address that may overlay an object of any type. */
struct word {
	u64 value;
} __packed __attribute__((may_alias));

#define WORD sizeof(struct word)

/*
 * Low addresses first, hence also right when dst is below src and they overlap. From LONG bytes on the
 * processor does the words by itself, which is one instruction a word and no loop.
 */
#define LONG 64

static void copy_up(u8 *dst, const u8 *src, usize n)
{
	if (n >= LONG) {
		usize words = n / WORD;

		n %= WORD;
		asm volatile("rep movsq" : "+D"(dst), "+S"(src), "+c"(words) : : "memory");
	}
	for (; n >= WORD; n -= WORD, dst += WORD, src += WORD)
		((struct word *)dst)->value = ((const struct word *)src)->value;
	for (; n > 0; n--)
		*dst++ = *src++;
}

/* High addresses first: right when dst is above src and they overlap. */
static void copy_down(u8 *dst, const u8 *src, usize n)
{
	for (; n >= WORD; n -= WORD)
		((struct word *)(dst + n - WORD))->value =
			((const struct word *)(src + n - WORD))->value;
	for (; n > 0; n--)
		dst[n - 1] = src[n - 1];
}

/* memcpy - copy n bytes between areas that do not overlap; returns dst. */
void *memcpy(void *restrict dst, const void *restrict src, usize n)
{
	copy_up(dst, src, n);
	return dst;
}

/* memmove - copy n bytes between areas that may overlap; returns dst. */
void *memmove(void *dst, const void *src, usize n)
{
	if ((uintptr_t)dst - (uintptr_t)src >= n)
		copy_up(dst, src, n);
	else
		copy_down(dst, src, n);
	return dst;
}

/* memset - fill n bytes with one value; returns dst. */
void *memset(void *dst, int byte, usize n)
{
	u64 pattern = (u8)byte * 0x0101010101010101ull;
	u8 *p = dst;

	if (n >= LONG) {
		usize words = n / WORD;

		n %= WORD;
		asm volatile("rep stosq" : "+D"(p), "+c"(words) : "a"(pattern) : "memory");
	}
	for (; n >= WORD; n -= WORD, p += WORD)
		((struct word *)p)->value = pattern;
	for (; n > 0; n--)
		*p++ = (u8)byte;
	return dst;
}

/* memcmp - the sign of the first difference, bytes compared as unsigned; 0 if there is none. */
int memcmp(const void *a, const void *b, usize n)
{
	const u8 *x = a, *y = b;

	for (; n >= WORD; n -= WORD, x += WORD, y += WORD)
		if (((const struct word *)x)->value != ((const struct word *)y)->value)
			break; /* which byte it is, the loop below finds out */
	for (; n > 0; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

/* memchr - the first place of a byte among n, or NULL. */
void *memchr(const void *s, int byte, usize n)
{
	const u8 *p = s;

	for (; n > 0; n--, p++)
		if (*p == (u8)byte)
			return (void *)p;
	return NULL;
}

/* strlen - bytes before the terminating zero. */
usize strlen(const char *s)
{
	const char *end = s;

	while (*end)
		end++;
	return (usize)(end - s);
}

/* strcmp - the sign of the first difference, 0 if the strings are equal. */
int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return (u8)*a - (u8)*b;
}

/* strncmp - as strcmp, looking at no more than n bytes. */
int strncmp(const char *a, const char *b, usize n)
{
	for (; n > 0; n--, a++, b++)
		if (*a != *b || !*a)
			return (u8)*a - (u8)*b;
	return 0;
}

/* strchr - the first place of c, or NULL; c may be 0, which finds the end. */
char *strchr(const char *s, int c)
{
	for (;; s++) {
		if (*s == (char)c)
			return (char *)s;
		if (!*s)
			return NULL;
	}
}

/* strrchr - the last place of c, or NULL. */
char *strrchr(const char *s, int c)
{
	char *found = NULL;

	for (;; s++) {
		if (*s == (char)c)
			found = (char *)s;
		if (!*s)
			return found;
	}
}

/* strstr - the first place of needle, or NULL; the empty needle is found at once. */
char *strstr(const char *haystack, const char *needle)
{
	usize n = strlen(needle);

	if (n == 0)
		return (char *)haystack;
	for (; (haystack = strchr(haystack, *needle)); haystack++)
		if (strncmp(haystack, needle, n) == 0)
			return (char *)haystack;
	return NULL;
}

/*
 * strscpy - copy a string into a buffer of `size` bytes; the result always ends with a zero.
 *
 *   returns  the length copied, or -1 if the string was cut (a buffer of 0 bytes is not touched)
 *   Linux    strscpy
 */
isize strscpy(char *dst, const char *src, usize size)
{
	for (usize i = 0; i < size; i++) {
		dst[i] = src[i];
		if (!src[i])
			return (isize)i;
	}
	if (size > 0)
		dst[size - 1] = '\0';
	return -1;
}

/* The value of a digit in bases up to 16, or 16 if it is none. */
static u64 digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return (u64)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (u64)(c - 'a') + 10;
	if (c >= 'A' && c <= 'F')
		return (u64)(c - 'A') + 10;
	return 16;
}

/*
 * parse_u64 - a whole string that is one number: decimal, or hexadecimal after 0x.
 *
 *   returns  0 and the number in *out; -1 (*out untouched) for an empty string, a sign, spaces,
 *            anything behind the number, or a number above 2^64 - 1
 *   Linux    kstrtoull (which also reads octal)
 */
int parse_u64(const char *s, u64 *out)
{
	u64 base = 10, value = 0;

	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
		base = 16;
		s += 2;
	}
	if (digit_value(*s) >= base)
		return -1;
	for (; digit_value(*s) < base; s++)
		if (__builtin_mul_overflow(value, base, &value) ||
			__builtin_add_overflow(value, digit_value(*s), &value))
			return -1;
	if (*s)
		return -1;
	*out = value;
	return 0;
}
