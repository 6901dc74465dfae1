/*
 * test_memmap.c - mm/memmap.c: painting ranges, and the first frames.
 */
#include <string.h>

#include <abi/errno.h>

#include "check.h"
#include "fake_machine.h"
#include "mm/memmap.h"

#define MIB (1ul << 20)
#define GIB (1ul << 30)

static void range_is(unsigned i, paddr_t start, paddr_t end, enum memmap_type type)
{
	CHECK(i < memmap_count);
	CHECK_EQ(memmap_ranges[i].start, start);
	CHECK_EQ(memmap_ranges[i].end, end);
	CHECK_EQ(memmap_ranges[i].type, type);
}

/* The drawing in the essay, told in another order. */
TEST(the_less_usable_type_wins)
{
	memmap_init();
	CHECK_EQ(memmap_add(511 * MIB, 512 * MIB, MEMMAP_RESERVED), 0);
	CHECK_EQ(memmap_add(0, 512 * MIB, MEMMAP_USABLE), 0);
	CHECK_EQ(memmap_reserve(1 * MIB, 2 * MIB, MEMMAP_KERNEL), 0);
	CHECK_EQ(memmap_count, 4);
	range_is(0, 0, 1 * MIB, MEMMAP_USABLE);
	range_is(1, 1 * MIB, 2 * MIB, MEMMAP_KERNEL);
	range_is(2, 2 * MIB, 511 * MIB, MEMMAP_USABLE);
	range_is(3, 511 * MIB, 512 * MIB, MEMMAP_RESERVED);
	CHECK_EQ(memmap_top(), 511 * MIB);
	CHECK_EQ(memmap_usable_bytes(), 511 * MIB);
}

TEST(edges_are_rounded_towards_safety)
{
	memmap_init();
	CHECK_EQ(memmap_add(0x800, 0x9fc00, MEMMAP_USABLE), 0);
	CHECK_EQ(memmap_add(0x9fc00, 0xa0000, MEMMAP_RESERVED), 0);
	CHECK_EQ(memmap_add(0x200000, 0x200fff, MEMMAP_USABLE), 0); /* less than a page */
	CHECK_EQ(memmap_count, 2);
	range_is(0, 0x1000, 0x9f000, MEMMAP_USABLE);
	range_is(1, 0x9f000, 0xa0000, MEMMAP_RESERVED);
	CHECK_EQ(memmap_reserve(0x1fff, 0x2001, MEMMAP_MODULE), 0);
	range_is(0, 0x1000, 0x3000, MEMMAP_MODULE);
	range_is(1, 0x3000, 0x9f000, MEMMAP_USABLE);
}

TEST(touching_ranges_of_one_type_become_one)
{
	memmap_init();
	CHECK_EQ(memmap_add(4 * MIB, 6 * MIB, MEMMAP_USABLE), 0);
	CHECK_EQ(memmap_add(0, 2 * MIB, MEMMAP_USABLE), 0);
	CHECK_EQ(memmap_add(1 * MIB, 5 * MIB, MEMMAP_USABLE), 0);
	CHECK_EQ(memmap_count, 1);
	range_is(0, 0, 6 * MIB, MEMMAP_USABLE);
}

TEST(nonsense_changes_nothing)
{
	memmap_init();
	CHECK_EQ(memmap_add(5 * MIB, 5 * MIB, MEMMAP_USABLE), 0);
	CHECK_EQ(memmap_add(6 * MIB, 5 * MIB, MEMMAP_RESERVED), 0);
	CHECK_EQ(memmap_add(~0ul - 5, ~0ul, MEMMAP_RESERVED), 0);
	CHECK_EQ(memmap_add(1ul << 60, ~0ul, MEMMAP_USABLE), 0);
	CHECK_EQ(memmap_reserve(0, ~0ul, MEMMAP_KERNEL), 0); /* no memory there to reserve */
	CHECK_EQ(memmap_count, 0);
	CHECK_EQ(memmap_top(), 0);
}

TEST(a_full_list_refuses_and_stays)
{
	struct memmap_range before[MEMMAP_MAX];

	memmap_init();
	for (u64 i = 0; i < MEMMAP_MAX; i++)
		CHECK_EQ(memmap_add(2 * i * PAGE_SIZE, (2 * i + 1) * PAGE_SIZE, MEMMAP_USABLE), 0);
	CHECK_EQ(memmap_count, MEMMAP_MAX);
	memcpy(before, memmap_ranges, sizeof(before));
	CHECK_EQ((s64)memmap_add(GIB, 2 * GIB, MEMMAP_USABLE), -ENOSPC);
	CHECK_EQ(memmap_count, MEMMAP_MAX);
	CHECK(memcmp(before, memmap_ranges, sizeof(before)) == 0);
	/* What needs no new entry still works: a hole between two is filled. */
	CHECK_EQ(memmap_add(PAGE_SIZE, 2 * PAGE_SIZE, MEMMAP_USABLE), 0);
	CHECK_EQ(memmap_count, MEMMAP_MAX - 1);
}

TEST(early_frames_come_from_the_top_below_4_gib)
{
	machine_power_on(6 * GIB, 1);
	memmap_init();
	CHECK_EQ(memmap_add(4 * GIB, 6 * GIB, MEMMAP_USABLE), 0);
	CHECK_EQ(memmap_add(0, 3 * GIB, MEMMAP_USABLE), 0);
	machine_memory[3 * GIB - 1] = 1;
	CHECK_EQ(memmap_early_alloc(100, PAGE_SIZE), 3 * GIB - PAGE_SIZE);
	CHECK_EQ(machine_memory[3 * GIB - 1], 0);
	CHECK_EQ(memmap_early_alloc(2 * MIB, 2 * MIB), 3 * GIB - 4 * MIB);
	CHECK_EQ(memmap_early_alloc(PAGE_SIZE, 1), 3 * GIB - 2 * PAGE_SIZE);
	CHECK_EQ(memmap_early_alloc(4 * GIB, 1), 0);
	CHECK_EQ(memmap_top(), 6 * GIB);
	CHECK_EQ(memmap_usable_bytes(), 5 * GIB);
	CHECK(memmap_has_ram(3 * GIB - PAGE_SIZE, 4 * GIB));
	CHECK(!memmap_has_ram(3 * GIB, 4 * GIB));
}

TEST(nothing_early_from_the_first_mib)
{
	machine_power_on(2 * MIB, 1);
	memmap_init();
	CHECK_EQ(memmap_add(0, 1 * MIB + PAGE_SIZE, MEMMAP_USABLE), 0);
	CHECK_EQ(memmap_early_alloc(PAGE_SIZE, PAGE_SIZE), 1 * MIB);
	CHECK_EQ(memmap_early_alloc(PAGE_SIZE, PAGE_SIZE), 0);
}

/* The model: the type of each of 256 pages, or none. */
#define MODEL_PAGES 256
#define NO_MEMORY   0xff

static u8 model[MODEL_PAGES];

static const u8 model_rank[] = {[MEMMAP_USABLE] = 0,
	[MEMMAP_EARLY] = 1,
	[MEMMAP_MODULE] = 2,
	[MEMMAP_KERNEL] = 3,
	[MEMMAP_ACPI] = 4,
	[MEMMAP_RESERVED] = 5};

static void model_paint(u64 start, u64 end, u8 type, bool holes)
{
	for (u64 i = start; i < end; i++) {
		if (model[i] == NO_MEMORY ? holes : model_rank[type] > model_rank[model[i]])
			model[i] = type;
	}
}

static void model_compare(void)
{
	u64 page = 0;

	for (unsigned i = 0; i < memmap_count; i++) {
		const struct memmap_range *r = &memmap_ranges[i];

		CHECK(r->start < r->end);
		if (i > 0) {
			CHECK(r[-1].end <= r->start);
			CHECK(r[-1].end < r->start || r[-1].type != r->type);
		}
		for (; page < r->start / PAGE_SIZE; page++)
			CHECK_EQ(model[page], NO_MEMORY);
		for (; page < r->end / PAGE_SIZE; page++)
			CHECK_EQ(model[page], r->type);
	}
	for (; page < MODEL_PAGES; page++)
		CHECK_EQ(model[page], NO_MEMORY);
}

TEST(random_painting_agrees_with_a_model)
{
	for (u64 round = 0; round < check_rounds(200); round++) {
		memmap_init();
		memset(model, NO_MEMORY, sizeof(model));
		for (u64 step = 0; step < 40; step++) {
			u64 start = check_below(MODEL_PAGES), end = check_below(MODEL_PAGES + 1);
			u8 type = check_below(6);
			bool add = check_below(3) > 0;

			if (add)
				CHECK_EQ(memmap_add(start * PAGE_SIZE, end * PAGE_SIZE, type), 0);
			else
				CHECK_EQ(memmap_reserve(start * PAGE_SIZE, end * PAGE_SIZE, type),
					0);
			model_paint(start, end, type, add);
			model_compare();
		}
	}
}
