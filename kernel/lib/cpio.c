/*
 * cpio.c - reads a cpio archive ("newc") that lies in memory                                floor 0
 *
 * The initrd: the first programs and the files they read. Nothing is unpacked, names and contents
 * are pointers into the archive. Every number in it is a stranger's word: each is tested against
 * what is left of the area before it is used.
 *
 * IDEA
 *   |070701| 13 numbers, 8 hex digits each |name\0|pad|contents|pad|070701| ... |TRAILER!!!\0|
 *    6 bytes             104 bytes               to 4      to 4
 *
 * INVARIANTS  C1  position <= size (skip() compares before it adds)
 * LOCKS       none.
 * LINUX       init/initramfs.c unpacks into a file system, and also reads hard links.
 */
#include "lib/cpio.h"
#include "lib/string.h"

#define MAGIC_BYTES  6
#define FIELD_BYTES  8
#define HEADER_BYTES (MAGIC_BYTES + 13 * FIELD_BYTES)
#define ALIGNMENT    4

/* The numbers of a header, in their order; of the 13 these are the ones read here. */
enum field {
	FIELD_MODE = 1,
	FIELD_SIZE = 6,
	FIELD_NAME_BYTES = 11
};

/* The value of a hexadecimal digit, or 16. */
static u32 digit_value(u8 c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10u : 16;
}

/* One field of a header: exactly eight hexadecimal digits. */
static bool read_field(const u8 *header, enum field field, u32 *out)
{
	const u8 *p = header + MAGIC_BYTES + (usize)field * FIELD_BYTES;
	u32 value = 0;

	for (usize i = 0; i < FIELD_BYTES; i++) {
		u32 digit = digit_value(p[i]);

		if (digit > 15)
			return false;
		value = value << 4 | digit;
	}
	*out = value;
	return true;
}

/* Moves over n bytes and the padding behind them. The padding may be missing at the very end. */
static bool skip(struct cpio *cpio, usize n)
{
	if (n > cpio->size - cpio->position)
		return false;
	cpio->position = MIN(ALIGN_UP(cpio->position + n, (usize)ALIGNMENT), cpio->size);
	return true;
}

/* "./bin/a", "/bin/a" and "bin/a" are one name. */
static const char *plain_name(const char *name)
{
	for (;;) {
		if (name[0] == '/')
			name++;
		else if (name[0] == '.' && name[1] == '/')
			name += 2;
		else
			return name;
	}
}

/*
 * cpio_open - begin to read an archive.
 */
void cpio_open(struct cpio *cpio, const void *data, usize size)
{
	*cpio = (struct cpio){data, size, 0};
}

/*
 * cpio_next - read the next entry.
 *
 *   returns  CPIO_OK and the entry; CPIO_END behind the last; else what is wrong with the archive
 *   after    position stands behind the entry only when the result is CPIO_OK
 */
enum cpio_result cpio_next(struct cpio *cpio, struct cpio_entry *entry)
{
	struct cpio next = *cpio;
	const u8 *header = next.data + next.position;
	u32 mode, size, name_bytes;
	const char *name;
	const u8 *data;

	if (next.size - next.position < HEADER_BYTES)
		return CPIO_TRUNCATED;
	if (memcmp(header, "070701", MAGIC_BYTES) != 0 &&
		memcmp(header, "070702", MAGIC_BYTES) != 0)
		return CPIO_MAGIC;
	if (!read_field(header, FIELD_MODE, &mode) || !read_field(header, FIELD_SIZE, &size) ||
		!read_field(header, FIELD_NAME_BYTES, &name_bytes))
		return CPIO_NUMBER;

	/* Header and name are padded together: the name begins at an offset of 2 modulo 4. */
	name = (const char *)header + HEADER_BYTES;
	if (!skip(&next, HEADER_BYTES + (usize)name_bytes))
		return CPIO_TRUNCATED;
	if (name_bytes < 2 || memchr(name, '\0', name_bytes) != name + name_bytes - 1)
		return CPIO_NAME;
	if (strcmp(name, "TRAILER!!!") == 0)
		return CPIO_END;
	data = next.data + next.position;
	if (!skip(&next, size))
		return CPIO_TRUNCATED;

	*cpio = next;
	*entry = (struct cpio_entry){plain_name(name), data, size, mode};
	return CPIO_OK;
}

/*
 * cpio_find - look a file up by its path ("bin/hello", with or without a "/" in front).
 *
 *   returns  CPIO_OK and the entry; CPIO_NOT_FOUND; else what is wrong with the archive before it
 */
enum cpio_result cpio_find(const void *data, usize size, const char *path, struct cpio_entry *entry)
{
	struct cpio cpio;
	enum cpio_result result;

	path = plain_name(path);
	cpio_open(&cpio, data, size);
	while ((result = cpio_next(&cpio, entry)) == CPIO_OK)
		if (strcmp(entry->name, path) == 0)
			return CPIO_OK;
	return result == CPIO_END ? CPIO_NOT_FOUND : result;
}

/* cpio_text - a result in words, for the person who built the archive. */
const char *cpio_text(enum cpio_result result)
{
	static const char *const text[CPIO_NR_RESULTS] = {
		[CPIO_OK] = "no error",
		[CPIO_END] = "end of the archive",
		[CPIO_NOT_FOUND] = "no such file in the archive",
		[CPIO_MAGIC] = "not a cpio archive in the newc format (damaged, or compressed?)",
		[CPIO_NUMBER] = "a header of the archive holds something that is no number",
		[CPIO_NAME] = "a name in the archive is empty or not terminated",
		[CPIO_TRUNCATED] = "the archive is cut off",
	};

	return (usize)result < CPIO_NR_RESULTS ? text[result] : "unknown result";
}
