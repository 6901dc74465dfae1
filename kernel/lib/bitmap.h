/*
 * bitmap.h - an array of bits                                                               floor 0
 *
 * Bit n is bit n % 64 of word n / 64. Nothing here is atomic: the caller holds the lock.
 */
#ifndef LIB_BITMAP_H
#define LIB_BITMAP_H

#include "lib/types.h"

#define BITMAP_WORDS(bits) (((bits) + 63) / 64)

/* A bitmap of that many bits: static BITMAP(used, 512); */
#define BITMAP(name, bits) u64 name[BITMAP_WORDS(bits)]

static inline void bitmap_set(u64 *map, usize bit)
{
	map[bit / 64] |= 1ull << (bit % 64);
}

static inline void bitmap_clear(u64 *map, usize bit)
{
	map[bit / 64] &= ~(1ull << (bit % 64));
}

static inline bool bitmap_test(const u64 *map, usize bit)
{
	return map[bit / 64] >> (bit % 64) & 1;
}

/* The lowest bit at or above `from` whose value, after `^ flip`, is 1; `bits` if there is none. */
static inline usize bitmap_scan(const u64 *map, usize bits, usize from, u64 flip)
{
	u64 mask = ~0ull << (from % 64);

	for (usize word = from / 64; word * 64 < bits; word++, mask = ~0ull) {
		u64 found = (map[word] ^ flip) & mask;

		if (found) {
			usize bit = word * 64 + (usize)__builtin_ctzll(found);

			return MIN(bit, bits);
		}
	}
	return bits;
}

/* bitmap_find_next - the first set bit at or above `from`; `bits` if there is none. */
static inline usize bitmap_find_next(const u64 *map, usize bits, usize from)
{
	return bitmap_scan(map, bits, from, 0);
}

/* bitmap_find_first - the first set bit; `bits` if there is none. */
static inline usize bitmap_find_first(const u64 *map, usize bits)
{
	return bitmap_scan(map, bits, 0, 0);
}

/* bitmap_find_first_zero - the first clear bit; `bits` if there is none. */
static inline usize bitmap_find_first_zero(const u64 *map, usize bits)
{
	return bitmap_scan(map, bits, 0, ~0ull);
}

/* bitmap_count - how many of the first `bits` bits are set. */
static inline usize bitmap_count(const u64 *map, usize bits)
{
	usize count = 0;

	for (usize bit = 0; (bit = bitmap_find_next(map, bits, bit)) < bits; bit++)
		count++;
	return count;
}

#endif
