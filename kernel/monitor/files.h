/*
 * files.h - one view of all files a person can name: /proc, /sys, and the initrd.            floor 7
 */
#ifndef MONITOR_FILES_H
#define MONITOR_FILES_H

#include "report.h"

/* The names in a folder, in order. 0, -ENOENT, -ENOTDIR. */
int files_list(const char *path, void (*fn)(void *ctx, const char *name, bool folder, u16 mode),
	void *ctx);

/* A file of the initrd: its bytes. 0, -ENOENT, -EISDIR. */
int files_find(const char *path, const u8 **data, usize *size);

#endif
