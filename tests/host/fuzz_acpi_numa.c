/*
 * fuzz_acpi_numa.c - lib/acpi_numa.c under libFuzzer.
 *
 * Around the input a machine is built, as in fuzz_acpi.c: the first byte is the SRAT's revision, the second says how many
 * bytes of the rest are the SRAT's entries; what follows is the SLIT behind its header.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/acpi.h"

#define ROOT 0x40
#define SRAT 0x80

static u8 memory[0x1000];

#include "acpi_table.h"

static void require(bool holds)
{
	if (!holds)
		abort();
}

static const void *map(paddr_t address, usize bytes)
{
	static u8 *window; /* a copy, so that reading too far is seen */

	free(window);
	window = NULL;
	if (address > sizeof(memory) || bytes > sizeof(memory) - address)
		return NULL;
	window = malloc(bytes);
	memcpy(window, memory + address, bytes);
	return window;
}

static void build(const u8 *data, usize size, u8 revision, usize entries)
{
	usize slit = SRAT + 48 + entries;

	memset(memory, 0, sizeof(memory));
	memcpy(memory, "RSD PTR ", 8);
	put(16, ROOT, 4);
	set_sum(0, 20, 8);
	put(ROOT + 36, SRAT, 4);
	put(ROOT + 40, slit, 4);
	finish_table(ROOT, "RSDT", 44);
	memory[SRAT + 8] = revision;
	memcpy(memory + SRAT + 48, data, entries);
	finish_table(SRAT, "SRAT", 48 + entries);
	memcpy(memory + slit + 36, data + entries, size - entries);
	finish_table(slit, "SLIT", 36 + size - entries);
}

/* F3 to F5. */
static void check_numa(const struct acpi_numa *numa)
{
	require(numa->nr_nodes >= 1 && numa->nr_nodes <= ACPI_MAX_NODES);
	require(numa->nr_cpus <= ACPI_MAX_CPUS && numa->nr_ranges <= ACPI_MAX_RANGES);
	for (unsigned i = 0; i < numa->nr_cpus; i++)
		require(numa->cpus[i].node < numa->nr_nodes);
	for (unsigned i = 0; i < numa->nr_ranges; i++) {
		require(numa->ranges[i].node < numa->nr_nodes);
		require(numa->ranges[i].start < numa->ranges[i].end);
	}
	for (unsigned a = 0; a < ACPI_MAX_NODES; a++)
		for (unsigned b = 0; b < ACPI_MAX_NODES; b++)
			require(a == b ? numa->distance[a][b] == ACPI_LOCAL_DISTANCE
				       : numa->distance[a][b] > ACPI_LOCAL_DISTANCE);
}

int LLVMFuzzerTestOneInput(const u8 *data, usize size);

int LLVMFuzzerTestOneInput(const u8 *data, usize size)
{
	struct acpi_numa numa;
	bool found;

	if (size < 2 || size > 1024)
		return 0;
	build(data + 2, size - 2, data[0], MIN(data[1] * 4ul, size - 2));
	found = acpi_read_numa(0, map, &numa);
	require(found || (numa.nr_nodes == 1 && !numa.nr_ranges));
	check_numa(&numa);
	return 0;
}
