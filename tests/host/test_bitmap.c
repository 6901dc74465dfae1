/*
 * test_bitmap.c - lib/bitmap.h against an array of bools.
 */
#include <string.h>

#include "check.h"
#include "lib/bitmap.h"

#define BITS 200 /* no multiple of 64 */

static usize model_find(const bool *model, usize bits, usize from, bool value)
{
	for (usize i = from; i < bits; i++)
		if (model[i] == value)
			return i;
	return bits;
}

TEST(words_needed)
{
	CHECK_EQ(BITMAP_WORDS(1), 1);
	CHECK_EQ(BITMAP_WORDS(64), 1);
	CHECK_EQ(BITMAP_WORDS(65), 2);
}

TEST(random_operations_against_bools)
{
	u64 *map = (u64[BITMAP_WORDS(BITS)]){0};
	bool model[BITS] = {0};

	for (u64 round = 0; round < check_rounds(100000); round++) {
		usize bit = check_below(BITS), bits = check_below(BITS + 1), count = 0;
		bool full = round / 1000 % 2; /* by turns mostly empty and mostly full */

		if (check_below(8) ? full : !full) {
			bitmap_set(map, bit);
			model[bit] = true;
		} else {
			bitmap_clear(map, bit);
			model[bit] = false;
		}
		bit = check_below(BITS);
		CHECK_EQ(bitmap_test(map, bit), model[bit]);
		CHECK_EQ(bitmap_find_first(map, bits), model_find(model, bits, 0, true));
		CHECK_EQ(bitmap_find_first_zero(map, bits), model_find(model, bits, 0, false));
		if (bit <= bits)
			CHECK_EQ(bitmap_find_next(map, bits, bit),
				model_find(model, bits, bit, true));
		for (usize i = 0; i < bits; i++)
			count += model[i];
		CHECK_EQ(bitmap_count(map, bits), count);
	}
}

TEST(bits_behind_the_end_do_not_count)
{
	u64 map[2] = {0, 1ull << 40};

	CHECK_EQ(bitmap_find_first(map, 100), 100);
	CHECK_EQ(bitmap_find_first(map, 105), 104);
	CHECK_EQ(bitmap_count(map, 104), 0);
	map[0] = ~0ull;
	map[1] = (1ull << 36) - 1;
	CHECK_EQ(bitmap_find_first_zero(map, 100), 100);
	CHECK_EQ(bitmap_find_first_zero(map, 0), 0);
}
