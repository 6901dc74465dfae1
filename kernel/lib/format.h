/*
 * format.h - printf's language for the kernel                                               floor 0
 */
#ifndef LIB_FORMAT_H
#define LIB_FORMAT_H

#include "lib/types.h"

#include <stdarg.h>

/* Where the characters go, one at a time. */
typedef void format_put(void *ctx, char c);

int format(char *buf, usize size, const char *fmt, ...) __printf(3, 4);
int vformat(char *buf, usize size, const char *fmt, va_list ap) __printf(3, 0);
void format_sink(format_put *put, void *ctx, const char *fmt, va_list ap) __printf(3, 0);

#endif
