/*
 * cpio.h - reads a cpio archive ("newc") that lies in memory                                floor 0
 */
#ifndef LIB_CPIO_H
#define LIB_CPIO_H

#include "lib/types.h"

enum cpio_result {
	CPIO_OK,        /* an entry was read, or the file was found */
	CPIO_END,       /* the archive ended as it should: there is no further entry */
	CPIO_NOT_FOUND, /* no entry has that name */
	CPIO_MAGIC,     /* an entry does not begin with 070701 or 070702 */
	CPIO_NUMBER,    /* a field of a header is not hexadecimal */
	CPIO_NAME,      /* a name is empty or is not terminated */
	CPIO_TRUNCATED, /* the archive ends inside an entry, or before its trailer */
	CPIO_NR_RESULTS,
};

/* The kind of file, in the upper bits of an entry's mode. */
#define CPIO_KIND_MASK    0170000u
#define CPIO_KIND_REGULAR 0100000u
#define CPIO_KIND_FOLDER  0040000u

/* An archive being read: the area, and how far the reader is. */
struct cpio {
	const u8 *data;
	usize size;
	usize position;
};

/* An entry; name and data point into the archive. */
struct cpio_entry {
	const char *name; /* terminated; without "/" or "./" in front */
	const u8 *data;
	usize size; /* bytes at data */
	u32 mode;
};

void cpio_open(struct cpio *cpio, const void *data, usize size);
enum cpio_result __must_check cpio_next(struct cpio *cpio, struct cpio_entry *entry);
enum cpio_result __must_check cpio_find(
	const void *data, usize size, const char *path, struct cpio_entry *entry);
const char *cpio_text(enum cpio_result result);

#endif
