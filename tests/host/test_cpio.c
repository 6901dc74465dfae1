/*
 * test_cpio.c - lib/cpio.c: archives written here, whole and damaged.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "lib/cpio.h"

static char archive[8192];
static usize used;

static void pad(void)
{
	while (used % 4)
		archive[used++] = '\0';
}

static void add(const char *name, u32 mode, const char *data, usize size)
{
	used += (usize)sprintf(archive + used,
		"070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 1, mode, 0, 0, 1, 0,
		(u32)size, 0, 0, 0, 0, (u32)strlen(name) + 1, 0);
	strcpy(archive + used, name);
	used += strlen(name) + 1;
	pad();
	memcpy(archive + used, data, size);
	used += size;
	pad();
}

/* Four entries; the trailer behind them. */
static void build(void)
{
	used = 0;
	add("bin", CPIO_KIND_FOLDER | 0755, "", 0);
	add("./bin/hello", CPIO_KIND_REGULAR | 0755, "hello, world", 12);
	add("/etc/motd", CPIO_KIND_REGULAR | 0644, "five!", 5);
	add("empty", CPIO_KIND_REGULAR | 0644, "", 0);
	add("TRAILER!!!", 0, "", 0);
}

/* A copy of exactly n bytes, so that the sanitizer sees every byte read too far. */
static enum cpio_result walk(usize n, int *entries)
{
	char *copy = malloc(n);
	struct cpio cpio;
	struct cpio_entry entry;
	enum cpio_result result;

	memcpy(copy, archive, n);
	cpio_open(&cpio, copy, n);
	*entries = 0;
	while ((result = cpio_next(&cpio, &entry)) == CPIO_OK)
		(*entries)++;
	free(copy);
	return result;
}

static enum cpio_result find(const char *path, struct cpio_entry *entry)
{
	return cpio_find(archive, used, path, entry);
}

TEST(entries_in_order)
{
	static const char *const names[] = {"bin", "bin/hello", "etc/motd", "empty"};
	struct cpio_entry entry;
	struct cpio cpio;

	build();
	cpio_open(&cpio, archive, used);
	for (usize i = 0; i < ARRAY_SIZE(names); i++) {
		CHECK_EQ(cpio_next(&cpio, &entry), CPIO_OK);
		CHECK_STR(entry.name, names[i]);
	}
	CHECK_EQ(cpio_next(&cpio, &entry), CPIO_END);
	CHECK_EQ(cpio_next(&cpio, &entry), CPIO_END);
}

TEST(a_file_is_found_by_its_path)
{
	struct cpio_entry entry;

	build();
	CHECK_EQ(find("bin/hello", &entry), CPIO_OK);
	CHECK_EQ(entry.size, 12);
	CHECK(memcmp(entry.data, "hello, world", 12) == 0);
	CHECK_EQ(entry.mode & CPIO_KIND_MASK, CPIO_KIND_REGULAR);
	CHECK_EQ(find("/etc/motd", &entry), CPIO_OK);
	CHECK(memcmp(entry.data, "five!", 5) == 0);
	CHECK_EQ(find("./empty", &entry), CPIO_OK);
	CHECK_EQ(entry.size, 0);
	CHECK_EQ(find("bin/hell", &entry), CPIO_NOT_FOUND);
	CHECK_EQ(find("", &entry), CPIO_NOT_FOUND);
}

TEST(cut_off_anywhere)
{
	usize trailer = 0;
	int entries;

	build();
	trailer = used - 124; /* header and name of the trailer, padded */
	for (usize n = 0; n < used; n++) {
		enum cpio_result result = walk(n, &entries);

		if (n < trailer + 121)
			CHECK_EQ(result, CPIO_TRUNCATED);
		else
			CHECK_EQ(result, CPIO_END); /* only padding is missing */
	}
	CHECK_EQ(walk(used, &entries), CPIO_END);
	CHECK_EQ(entries, 4);
}

TEST(damage_is_named)
{
	struct cpio_entry entry;

	build();
	archive[5] = '7';
	CHECK_EQ(find("empty", &entry), CPIO_MAGIC);
	archive[5] = '2'; /* with checksums: read, not tested */
	CHECK_EQ(find("empty", &entry), CPIO_OK);
	build();
	archive[6 + 8 * 6 + 2] = 'g';
	CHECK_EQ(find("empty", &entry), CPIO_NUMBER);
	archive[6 + 8 * 6 + 2] = '\0';
	CHECK_EQ(find("empty", &entry), CPIO_NUMBER);
	build();
	memcpy(archive + 6 + 8 * 6, "ffffffff", 8); /* 4 GiB of contents */
	CHECK_EQ(find("empty", &entry), CPIO_TRUNCATED);
	build();
	memcpy(archive + 6 + 8 * 11, "ffffffff", 8); /* a name as long */
	CHECK_EQ(find("empty", &entry), CPIO_TRUNCATED);
	build();
	memcpy(archive + 6 + 8 * 11, "00000001", 8);
	CHECK_EQ(find("empty", &entry), CPIO_NAME);
	build();
	archive[110 + 3] = 'x'; /* the name's zero */
	CHECK_EQ(find("empty", &entry), CPIO_NAME);
	archive[110 + 1] = '\0'; /* a zero too early */
	CHECK_EQ(find("empty", &entry), CPIO_NAME);
	used = 0;
	add("", 0, "", 0);
	CHECK_EQ(find("empty", &entry), CPIO_NAME);
	CHECK_EQ(cpio_find("", 0, "empty", &entry), CPIO_TRUNCATED);
}

TEST(every_result_has_a_text)
{
	for (int i = 0; i < CPIO_NR_RESULTS; i++)
		CHECK(strlen(cpio_text((enum cpio_result)i)) > 5);
	CHECK_STR(cpio_text(CPIO_NR_RESULTS), "unknown result");
}
