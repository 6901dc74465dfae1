/*
 * remapper.c - mremap over small and huge pages, with the contents compared after each move. ring 3
 *
 *   remapper
 *
 * Each case maps an area, fills it (one half 4 KiB pages, or all huge), moves, grows or shrinks it,
 * and compares every page; then what must be gone is checked to be gone, by mincore's ENOMEM.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib.h"

#define FAR (256 * MIB) /* where areas are moved to */

static int failures;

static void expect(bool ok, const char *what)
{
	if (ok)
		return;
	printf("remapper: %s: FAILED (errno %d)\n", what, errno);
	failures++;
}

static void fill(char *area, unsigned long size, unsigned long seed)
{
	for (unsigned long at = 0; at < size; at += PAGE_BYTES) {
		*(volatile unsigned long *)(area + at) = seed + at;
		*(volatile unsigned long *)(area + at + PAGE_BYTES - 8) = ~(seed + at);
	}
}

static bool holds(char *area, unsigned long size, unsigned long seed)
{
	for (unsigned long at = 0; at < size; at += PAGE_BYTES) {
		if (*(volatile unsigned long *)(area + at) != seed + at ||
			*(volatile unsigned long *)(area + at + PAGE_BYTES - 8) != ~(seed + at))
			return false;
	}
	return true;
}

static bool is_zero(char *area, unsigned long size)
{
	for (unsigned long at = 0; at < size; at += 8) {
		if (*(volatile unsigned long *)(area + at))
			return false;
	}
	return true;
}

static bool is_unmapped(char *area, unsigned long size)
{
	unsigned char present;

	for (unsigned long at = 0; at < size; at += PAGE_BYTES) {
		if (mincore(area + at, PAGE_BYTES, &present) == 0 || errno != ENOMEM)
			return false;
	}
	return true;
}

/* An area at AREA_BASE + offset, huge or not, filled. */
static char *area_make(unsigned long offset, unsigned long size, bool huge, unsigned long seed)
{
	char *area = area_map(offset, size, PROT_READ | PROT_WRITE, 0);

	if (area == MAP_FAILED)
		die("remapper: cannot map %lu bytes: %s", size, strerror(errno));
	madvise(area, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	fill(area, size, seed);
	return area;
}

static void move(const char *what, bool huge, unsigned long from, unsigned long to)
{
	char *area = area_make(from, 4 * MIB, huge, 0x1111), *want = (char *)AREA_BASE + to;
	char *got = mremap(area, 4 * MIB, 4 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, want);

	expect(got == want && holds(got, 4 * MIB, 0x1111), what);
	expect(is_unmapped(area, 4 * MIB), what);
	if (got == want) {
		fill(got, 4 * MIB, 0x2222);
		expect(holds(got, 4 * MIB, 0x2222), what);
		munmap(got, 4 * MIB);
	}
}

static void move_middle(bool huge)
{
	const char *what = huge ? "move the middle of huge pages" : "move the middle";
	char *area = area_make(0, 4 * MIB, huge, 0x3000), *want = (char *)AREA_BASE + FAR + 12288;
	char *got = mremap(area + MIB, 2 * MIB, 2 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, want);

	expect(got == want && holds(got, 2 * MIB, 0x3000 + MIB), what);
	expect(holds(area, MIB, 0x3000) && holds(area + 3 * MIB, MIB, 0x3000 + 3 * MIB), what);
	expect(is_unmapped(area + MIB, 2 * MIB), what);
	munmap(area, 4 * MIB);
	munmap(want, 2 * MIB);
}

static void grow_in_place(bool huge)
{
	char *area = area_make(0, 3 * MIB, huge, 0x4000);
	char *got = mremap(area, 3 * MIB, 8 * MIB, 0);

	expect(got == area && holds(area, 3 * MIB, 0x4000), "grow in place");
	expect(got == area && is_zero(area + 3 * MIB, 5 * MIB), "what grew is zero");
	munmap(area, 8 * MIB);
}

static void grow_blocked(bool huge)
{
	char *area = area_make(0, 2 * MIB, huge, 0x5000);
	char *wall = area_make(2 * MIB, PAGE_BYTES, false, 0x6000);
	char *got = mremap(area, 2 * MIB, 4 * MIB, 0);

	expect(got == MAP_FAILED && errno == ENOMEM, "grow against a neighbour: ENOMEM");
	expect(holds(area, 2 * MIB, 0x5000), "and nothing changed");
	got = mremap(area, 2 * MIB, 4 * MIB, MREMAP_MAYMOVE);
	expect(got != MAP_FAILED && got != area && holds(got, 2 * MIB, 0x5000), "grow and move");
	expect(got != MAP_FAILED && is_zero(got + 2 * MIB, 2 * MIB), "grow and move: zero");
	expect(is_unmapped(area, 2 * MIB) && holds(wall, PAGE_BYTES, 0x6000), "the neighbour");
	munmap(wall, PAGE_BYTES);
	munmap(got, 4 * MIB);
}

static void shrink(bool huge)
{
	char *area = area_make(0, 4 * MIB, huge, 0x7000);
	char *got = mremap(area, 4 * MIB, 3 * MIB - PAGE_BYTES, 0);

	expect(got == area && holds(area, 3 * MIB - PAGE_BYTES, 0x7000), "shrink");
	expect(is_unmapped(area + 3 * MIB - PAGE_BYTES, MIB + PAGE_BYTES), "what shrank is gone");
	munmap(area, 4 * MIB);
}

static void move_over(bool huge)
{
	char *area = area_make(0, 2 * MIB, huge, 0x8000);
	char *old = area_make(FAR, 4 * MIB, !huge, 0x9000);
	char *got = mremap(area, 2 * MIB, 2 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, old + MIB);

	expect(got == old + MIB && holds(got, 2 * MIB, 0x8000), "move over another area");
	expect(holds(old, MIB, 0x9000) && holds(old + 3 * MIB, MIB, 0x9000 + 3 * MIB),
		"what it did not cover is kept");
	munmap(old, 4 * MIB);
}

/* The child must keep what it had at fork when the parent moves its own copy. */
static void move_after_fork(bool huge)
{
	char *area = area_make(0, 4 * MIB, huge, 0xa000), *got;
	int pid = fork();

	if (pid == 0) {
		sleep_ms(50);
		_exit(holds(area, 4 * MIB, 0xa000) ? 0 : 1);
	}
	got = mremap(area, 4 * MIB, 4 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED,
		(char *)AREA_BASE + FAR + PAGE_BYTES);
	expect(got != MAP_FAILED && holds(got, 4 * MIB, 0xa000), "move after fork");
	fill(got, 4 * MIB, 0xb000);
	expect(child_wait(pid) == 0, "the child after the parent's move");
	expect(holds(got, 4 * MIB, 0xb000), "the parent's own contents");
	munmap(got, 4 * MIB);
}

int main(void)
{
	for (int huge = 0; huge < 2; huge++) {
		move(huge ? "huge: move" : "move", huge, 0, FAR);
		move(huge ? "huge: move by one page" : "move by one page", huge, 0,
			FAR + PAGE_BYTES);
		move(huge ? "huge: move from odd to even" : "move from odd to even", huge,
			PAGE_BYTES, FAR);
		move_middle(huge);
		grow_in_place(huge);
		grow_blocked(huge);
		shrink(huge);
		move_over(huge);
		move_after_fork(huge);
	}
	printf("remapper: %s\n", failures ? "FAILED" : "ok");
	return failures != 0;
}
