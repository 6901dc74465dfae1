/*
 * test_acpi.c - lib/acpi.c: a machine's tables written into an array that stands for its memory.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "lib/acpi.h"

#define MEMORY_BYTES 0x110000
#define RSDP         0xe0010
#define ROOT         0x2001 /* tables may stand anywhere */
#define MADT         0x3003

static u8 *memory;

#include "acpi_table.h"

static u8 *window; /* what map() handed out last: a copy, so that reading too far is seen */

static const void *map(paddr_t address, usize bytes)
{
	free(window);
	window = NULL;
	if (address > MEMORY_BYTES || bytes > MEMORY_BYTES - address)
		return NULL;
	window = malloc(bytes);
	memcpy(window, memory + address, bytes);
	return window;
}

static void put_rsdp(bool wide)
{
	memcpy(memory + RSDP, "RSD PTR ", 8);
	memory[RSDP + 15] = wide ? 2 : 0;
	put(RSDP + 16, wide ? 0xdead : ROOT, 4);
	put(RSDP + 20, 36, 4);
	put(RSDP + 24, wide ? ROOT : 0, 8);
	set_sum(RSDP, 20, RSDP + 8);
	set_sum(RSDP, 36, RSDP + 32);
}

static void put_root(bool wide)
{
	usize step = wide ? 8 : 4;

	put(ROOT + 36, 0xffffff00, step); /* a table where there is no memory */
	put(ROOT + 36 + step, 0x5000, step);
	put(ROOT + 36 + 2 * step, MADT, step);
	finish_table(ROOT, wide ? "XSDT" : "RSDT", 36 + 3 * step);
	finish_table(0x5000, "FACP", 36);
}

static usize madt_end;

static void add_entry(const void *entry, usize bytes)
{
	memcpy(memory + madt_end, entry, bytes);
	madt_end += bytes;
	finish_table(MADT, "APIC", madt_end - MADT);
}

static void start_madt(void)
{
	put(MADT + 36, 0xfee00000, 4);
	put(MADT + 40, 1, 4);
	madt_end = MADT + 44;
}

static void add_cpu(u8 id, u8 flags)
{
	add_entry((u8[]){0, 8, (u8)(id + 1), id, flags, 0, 0, 0}, 8);
}

static void build(bool wide)
{
	free(memory);
	memory = calloc(1, MEMORY_BYTES);
	put_rsdp(wide);
	put_root(wide);
	start_madt();
	add_cpu(0, 1);
	add_cpu(1, 1);
	add_cpu(2, 2);
	add_entry((u8[]){1, 12, 4, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0}, 12);
	add_entry((u8[]){2, 10, 0, 0, 2, 0, 0, 0, 0, 0}, 10);
	add_entry((u8[]){2, 10, 0, 9, 9, 0, 0, 0, 15, 0}, 10);
	add_entry((u8[]){4, 6, 0xff, 0, 0, 1}, 6); /* an NMI: not read */
	add_entry((u8[]){9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0}, 16);
}

static struct acpi_info info;

static enum acpi_result read_all(void)
{
	return acpi_read(RSDP, map, &info);
}

static void check_machine(void)
{
	CHECK_EQ(read_all(), ACPI_OK);
	CHECK_EQ(info.lapic, 0xfee00000);
	CHECK(info.has_8259s);
	CHECK_EQ(info.nr_cpus, 4);
	CHECK_EQ(info.cpus[1].apic_id, 1);
	CHECK_EQ(info.cpus[1].uid, 2);
	CHECK(info.cpus[1].enabled);
	CHECK(!info.cpus[2].enabled && info.cpus[2].can_enable);
	CHECK_EQ(info.cpus[3].apic_id, 256);
	CHECK_EQ(info.cpus[3].uid, 7);
	CHECK_EQ(info.nr_ioapics, 1);
	CHECK_EQ(info.ioapics[0].address, 0xfec00000);
	CHECK_EQ(info.ioapics[0].id, 4);
	CHECK_EQ(info.nr_overrides, 2);
	CHECK_EQ(info.overrides[0].isa_irq, 0);
	CHECK_EQ(info.overrides[0].gsi, 2);
	CHECK(!info.overrides[0].active_low && !info.overrides[0].level);
	CHECK(info.overrides[1].active_low && info.overrides[1].level);
	CHECK_EQ(info.nr_dropped, 0);
}

TEST(old_tables_of_32_bits)
{
	build(false);
	check_machine();
}

TEST(tables_of_64_bits)
{
	build(true);
	check_machine();
}

TEST(the_root_pointer_is_found)
{
	build(false);
	CHECK_EQ(acpi_find_rsdp(map), RSDP);
	put(0x40e, 0x9fc0, 2);
	memcpy(memory + 0x9fc20, memory + RSDP, 20);
	CHECK_EQ(acpi_find_rsdp(map), 0x9fc20);
	memory[0x9fc20 + 9]++;
	CHECK_EQ(acpi_find_rsdp(map), RSDP);
	memory[RSDP]++;
	CHECK_EQ(acpi_find_rsdp(map), 0);
}

TEST(a_cpu_listed_twice_counts_once)
{
	build(true);
	add_entry((u8[]){9, 16, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0}, 16);
	check_machine();
}

TEST(another_address_of_the_local_apic)
{
	build(true);
	add_entry((u8[]){5, 12, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0}, 12);
	CHECK_EQ(read_all(), ACPI_OK);
	CHECK_EQ(info.lapic, 0x800000000);
}

TEST(more_than_fit_are_counted)
{
	build(true);
	for (int i = 0; i < 100; i++)
		add_cpu((u8)(10 + i), 1);
	for (int i = 0; i < 20; i++)
		add_entry((u8[]){2, 10, 0, 5, 5, 0, 0, 0, 0, 0}, 10);
	for (int i = 0; i < 10; i++)
		add_entry((u8[]){1, 12, 4, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0}, 12);
	CHECK_EQ(read_all(), ACPI_OK);
	CHECK_EQ(info.nr_cpus, ACPI_MAX_CPUS);
	CHECK_EQ(info.nr_overrides, ACPI_MAX_OVERRIDES);
	CHECK_EQ(info.nr_ioapics, ACPI_MAX_IOAPICS);
	CHECK_EQ(info.nr_dropped, 104 - 64 + 22 - 16 + 11 - 8);
}

/* build(), one change, the result. */
#define REFUSED(change, want)                                                                      \
	do {                                                                                       \
		build(true);                                                                       \
		change;                                                                            \
		CHECK_EQ(read_all(), want);                                                        \
	} while (0)

TEST(damage_is_named)
{
	CHECK_EQ(acpi_read(~0ull, map, &info), (build(true), ACPI_NO_RSDP));
	REFUSED(memory[RSDP] = 'X', ACPI_NO_RSDP);
	REFUSED(memory[RSDP + 10]++, ACPI_RSDP_CHECKSUM);
	REFUSED(memory[RSDP + 33]++, ACPI_RSDP_CHECKSUM);
	REFUSED(memory[ROOT]++, ACPI_BAD_ROOT);
	REFUSED(memory[ROOT + 20]++, ACPI_BAD_ROOT);
	REFUSED(put(ROOT + 4, 35, 4), ACPI_BAD_ROOT);
	REFUSED(put(ROOT + 4, 0xffffffff, 4), ACPI_BAD_ROOT);
	REFUSED(put(ROOT + 4, MEMORY_BYTES - 0x1000, 4), ACPI_BAD_ROOT);
	REFUSED(put(RSDP + 24, MEMORY_BYTES, 8); set_sum(RSDP, 36, RSDP + 32), ACPI_UNREADABLE);
	REFUSED(memory[MADT] = 'X', ACPI_NO_MADT);
	REFUSED(memory[MADT + 50]++, ACPI_BAD_MADT);
	REFUSED(finish_table(MADT, "APIC", 43), ACPI_BAD_MADT);
	REFUSED(add_entry((u8[]){77, 0}, 2), ACPI_BAD_MADT);
	REFUSED(add_entry((u8[]){0, 7, 0, 0, 0, 0, 0}, 7), ACPI_BAD_MADT);
	REFUSED(add_entry((u8[]){77}, 1), ACPI_BAD_MADT);
	REFUSED(add_entry((u8[]){77, 9}, 2), ACPI_BAD_MADT);
	REFUSED(add_entry((u8[]){77, 3}, 2), ACPI_BAD_MADT);
}

TEST(every_result_has_a_text)
{
	for (int i = 0; i < ACPI_NR_RESULTS; i++)
		CHECK(strlen(acpi_text((enum acpi_result)i)) > 5);
	CHECK_STR(acpi_text(ACPI_NR_RESULTS), "unknown result");
}
