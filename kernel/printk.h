/*
 * printk.h - words out: a ring in memory (dmesg) and COM1.                             floor 1
 */
#ifndef PRINTK_H
#define PRINTK_H

#include "lib/types.h"
#include <stdarg.h>

void printk(const char *fmt, ...)
	__printf(1, 2); /* "[    0.123456] text" into the ring and onto the console */
void printk_raw(const char *s, usize len); /* bytes to the console only: the monitor's own output */
void printk_quiet(bool quiet);             /* ring only, or ring and console; panic always prints */
/* dmesg, oldest first */
void printk_ring_walk(void (*put)(void *ctx, const char *s, usize len), void *ctx);
void printk_panic_mode(void);     /* break the console lock: only one CPU is left */
extern u64 (*printk_clock)(void); /* ns since boot; NULL until the timer runs */

#endif
