/*
 * fuzz_acpi.c - lib/acpi.c under libFuzzer.
 *
 * Random bytes never have good checksums, so a machine is built around the input: a root pointer, a
 * root table, and the input as the MADT's entries. The input's first byte says what is 64 bits wide
 * and whether, instead, the input is the whole memory.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/acpi.h"

#define SWITCH_WIDE 1u
#define SWITCH_RAW  2u

#define ROOT 0x40
#define MADT 0x80

static u8 *memory;

#include "acpi_table.h"

static usize memory_bytes;

static void require(bool holds)
{
	if (!holds)
		abort();
}

/* The whole array is readable; a byte behind it is the sanitizer's. */
static const void *map(paddr_t address, usize bytes)
{
	if (address > memory_bytes || bytes > memory_bytes - address)
		return NULL;
	return memory + address;
}

static void build(const u8 *entries, usize size, bool wide)
{
	memory_bytes = MADT + 44 + size;
	memory = calloc(1, memory_bytes);
	memcpy(memory, "RSD PTR ", 8);
	memory[15] = wide ? 2 : 0;
	put(16, ROOT, 4);
	put(24, ROOT, 8);
	set_sum(0, 20, 8);
	set_sum(0, 36, 32);
	put(ROOT + 36, MADT, wide ? 8 : 4);
	finish_table(ROOT, wide ? "XSDT" : "RSDT", wide ? 44 : 40);
	if (size > 0)
		memcpy(memory + MADT + 44, entries, size);
	finish_table(MADT, "APIC", 44 + size);
}

static void check_info(const struct acpi_info *info)
{
	require(info->nr_cpus <= ACPI_MAX_CPUS && info->nr_ioapics <= ACPI_MAX_IOAPICS);
	require(info->nr_overrides <= ACPI_MAX_OVERRIDES);
	for (unsigned int i = 0; i < info->nr_cpus; i++)
		for (unsigned int j = 0; j < i; j++)
			require(!info->cpus[i].enabled || !info->cpus[j].enabled ||
				info->cpus[i].apic_id != info->cpus[j].apic_id);
}

int LLVMFuzzerTestOneInput(const u8 *data, usize size);

int LLVMFuzzerTestOneInput(const u8 *data, usize size)
{
	u8 switches = size > 0 ? data[0] : 0;
	enum acpi_result result;
	struct acpi_info info;

	if (size > 0)
		data++, size--;
	if (switches & SWITCH_RAW) {
		memory_bytes = size;
		memory = malloc(size);
		memcpy(memory, data, size);
		acpi_find_rsdp(map);
	} else {
		build(data, size, switches & SWITCH_WIDE);
	}
	result = acpi_read(0, map, &info);
	require(acpi_text(result)[0] != '\0');
	check_info(&info);
	free(memory);
	return 0;
}
