/*
 * acpi_table.h - firmware's tables written by hand, for the tests and fuzzers of the ACPI parsers.
 *
 * Included once, behind the definition of `memory`, the bytes that stand for the machine's low memory. It is no
 * parser and shares nothing with lib/acpi: what writes a table must not be what reads it.
 */
#ifndef ACPI_TABLE_H
#define ACPI_TABLE_H

#include <string.h>

#include "lib/types.h"

static inline void put(usize at, u64 value, usize bytes)
{
	memcpy(memory + at, &value, bytes);
}

/* Makes the sum of `bytes` bytes 0 by the one at `at`. */
static inline void set_sum(usize table, usize bytes, usize at)
{
	u8 sum = 0;

	memory[at] = 0;
	for (usize i = 0; i < bytes; i++)
		sum = (u8)(sum + memory[table + i]);
	memory[at] = (u8)-sum;
}

/* Signature, length and checksum of a table whose other bytes stand. */
static inline void finish_table(usize table, const char *signature, usize bytes)
{
	memcpy(memory + table, signature, 4);
	put(table + 4, bytes, 4);
	set_sum(table, bytes, table + 9);
}

#endif
