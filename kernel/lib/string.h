/*
 * string.h - memory and strings, and the two parsers of numbers                             floor 0
 */
#ifndef LIB_STRING_H
#define LIB_STRING_H

#include "lib/types.h"

void *memcpy(void *restrict dst, const void *restrict src, usize n);
void *memmove(void *dst, const void *src, usize n);
void *memset(void *dst, int byte, usize n);
int memcmp(const void *a, const void *b, usize n);
void *memchr(const void *s, int byte, usize n);

usize strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, usize n);
char *strchr(const char *s, int c);
char *strrchr(const char *s, int c);
char *strstr(const char *haystack, const char *needle);

isize strscpy(char *dst, const char *src, usize size);

int __must_check parse_u64(const char *s, u64 *out);

#endif
