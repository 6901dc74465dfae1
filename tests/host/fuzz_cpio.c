/*
 * fuzz_cpio.c - lib/cpio.c under libFuzzer: any bytes; entries must lie inside the archive.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/cpio.h"

static void require(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const u8 *data, usize size);

int LLVMFuzzerTestOneInput(const u8 *data, usize size)
{
	struct cpio_entry entry, same;
	enum cpio_result result;
	struct cpio cpio;
	usize before = 0;

	cpio_open(&cpio, data, size);
	while ((result = cpio_next(&cpio, &entry)) == CPIO_OK) {
		require(cpio.position > before && cpio.position <= size);
		require((const u8 *)entry.name >= data + before);
		require((const u8 *)entry.name + strlen(entry.name) < entry.data);
		require(entry.data + entry.size <= data + size);
		require(cpio_find(data, size, entry.name, &same) == CPIO_OK);
		require(strcmp(same.name, entry.name) == 0 && same.data <= entry.data);
		before = cpio.position;
	}
	require(cpio_text(result)[0] != '\0');
	require(cpio_find(data, size, "no such file", &entry) != CPIO_END);
	return 0;
}
