/*
 * fuzz_discipline.c - servers/console/discipline.c under libFuzzer: any bytes typed, any settings, reads of any size. A byte 0xff
 * of the input begins an action, everything else is typed.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/types.h"
#include "servers/console/discipline.h"

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void put(void *ctx, const char *bytes, size_t n)
{
	u8 *sum = ctx;

	for (size_t i = 0; i < n; i++)
		*sum ^= (u8)bytes[i];
}

/* New settings out of the input: all four words and all keys. */
static void set(struct discipline *d, const u8 *data, usize size)
{
	struct terminal_settings s = d->settings;

	memcpy(&s, data, MIN(size, sizeof(s)));
	discipline_set(d, &s);
}

static void read_some(struct discipline *d, usize n)
{
	u8 *to = malloc(n + 1);
	bool readable = discipline_readable(d);
	long got = discipline_read(d, to, n);

	require(got <= (long)n && got >= DISCIPLINE_NOTHING);
	require(!readable || got != DISCIPLINE_NOTHING || n == 0);
	free(to);
}

/* The action that data[0] names; how many bytes of data it used. */
static usize act(struct discipline *d, const u8 *data, usize size)
{
	switch (data[0] % 4) {
	case 0:
		read_some(d, size > 1 ? data[1] * 16u : 0);
		return 2;
	case 1:
		set(d, data + 1, size - 1);
		return 1 + sizeof(struct terminal_settings);
	case 2:
		discipline_flush(d);
		return 1;
	default:
		discipline_write(d, (const char *)data, size);
		return 1;
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, usize size);

int LLVMFuzzerTestOneInput(const u8 *data, usize size)
{
	static struct discipline d;
	u8 sum = 0;

	discipline_init(&d, put, &sum);
	for (usize i = 0; i < size; i++) {
		if (data[i] == 0xff && i + 1 < size)
			i += act(&d, data + i + 1, size - i - 1);
		else
			discipline_type(&d, data + i, 1);
		require(discipline_check(&d));
	}
	return 0;
}
