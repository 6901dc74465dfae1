/*
 * zeroes.c - memory that is given is zero, however it was dirtied before.                   ring 3
 *
 *   zeroes [SIZE]          default 32M
 *
 * Dirties and frees memory again and again, in every way it can be freed and got: small, huge, by
 * the heap, through MADV_DONTNEED, by a child that exits. Each fresh byte is compared with zero.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib.h"

static unsigned long size = 32 * MIB;

static void all_zero(const char *what, const char *area)
{
	const volatile unsigned long *word = (const volatile unsigned long *)area;

	for (unsigned long i = 0; i < size / sizeof(*word); i++) {
		if (word[i])
			die("zeroes: %s: FAILED: %lx at offset %lu", what, word[i],
				i * sizeof(*word));
	}
}

static void dirty(char *area)
{
	memset(area, 0xa5, size);
}

static char *fresh(int advice)
{
	char *area = area_map(0, size, PROT_READ | PROT_WRITE, 0);

	if (area == MAP_FAILED)
		die("zeroes: cannot map %lu bytes", size);
	madvise(area, size, advice);
	return area;
}

static void round_mapped(const char *what, int advice)
{
	char *area = fresh(advice);

	all_zero(what, area);
	dirty(area);
	madvise(area, size, MADV_DONTNEED);
	all_zero(what, area);
	munmap(area, size);
	/* One store per page first: the rest of a page that is written before it is read. */
	area = fresh(advice);
	for (unsigned long at = 0; at < size; at += PAGE_BYTES)
		touch_write(area + at, 0);
	all_zero(what, area);
	dirty(area);
	munmap(area, size);
}

/* One page of 512 is present and dirty; the other 511 come into being by collapse. */
static void round_collapsed(void)
{
	char *area = fresh(MADV_NOHUGEPAGE);

	for (unsigned long at = 0; at < size; at += HUGE_BYTES)
		memset(area + at, 0xa5, PAGE_BYTES);
	madvise(area, size, MADV_HUGEPAGE);
	madvise(area, size, MADV_COLLAPSE);
	for (unsigned long at = 0; at < size; at += HUGE_BYTES)
		memset(area + at, 0, PAGE_BYTES);
	all_zero("collapse", area);
	dirty(area);
	munmap(area, size);
}

static void round_heap(void)
{
	unsigned long start = syscall(SYS_brk, 0);

	if ((unsigned long)syscall(SYS_brk, start + size) != start + size)
		die("zeroes: cannot grow the heap by %lu bytes", size);
	all_zero("heap", (char *)start);
	dirty((char *)start);
	syscall(SYS_brk, start);
}

/* A copy of each page is made and dropped by the child; the parent's stay what they were. */
static void round_child(void)
{
	char *area = fresh(MADV_HUGEPAGE);
	int pid;

	for (unsigned long at = 0; at < size; at += PAGE_BYTES)
		touch_write(area + at, 0);
	pid = fork();
	if (pid == 0) {
		dirty(area);
		_exit(0);
	}
	if (pid < 0 || child_wait(pid) != 0)
		die("zeroes: a child failed");
	all_zero("after a child", area);
	munmap(area, size);
}

int main(int argc, char **argv)
{
	if (argc > 2 || (argc == 2 && (!size_parse(argv[1], &size) || size < HUGE_BYTES ||
					      size % HUGE_BYTES))) {
		fprintf(stderr, "usage: zeroes [SIZE]   (a multiple of 2M)\n");
		return 2;
	}
	for (int i = 0; i < 2; i++) {
		round_mapped("small", MADV_NOHUGEPAGE);
		round_mapped("huge", MADV_HUGEPAGE);
		round_collapsed();
		round_heap();
		round_child();
	}
	printf("zeroes: %lu KiB at a time: ok\n", size / KIB);
	return 0;
}
