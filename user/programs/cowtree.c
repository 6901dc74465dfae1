/*
 * cowtree.c - a family of copies: fork of fork, each generation with contents of its own.   ring 3
 *
 *   cowtree [GENERATIONS]
 *
 * One area holds a huge page, 4 KiB pages and pages only read. Each process of the tree forks two
 * children, writes its mark over some of the pages before the first, between the two and after the
 * second fork, and in the end compares every page with what its own line of ancestors wrote before
 * it was born. A page that is shared too long or copied too late shows as a wrong value.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib.h"

#define AREA_BYTES  (4 * MIB)
#define AREA_PAGES  (AREA_BYTES / PAGE_BYTES)
#define GENERATIONS 4

static unsigned int expected[AREA_PAGES];
static volatile unsigned int *area;

static volatile unsigned int *page_word(unsigned long page)
{
	return area + page * (PAGE_BYTES / sizeof(*area)) + page % 1000;
}

/* Write `mark` to one page in `stride`, from page `first` on. */
static void mark_pages(unsigned long first, unsigned long stride, unsigned int mark)
{
	for (unsigned long page = first; page < AREA_PAGES; page += stride) {
		*page_word(page) = mark;
		expected[page] = mark;
	}
}

static bool pages_agree(unsigned int who)
{
	for (unsigned long page = 0; page < AREA_PAGES; page++) {
		if (*page_word(page) == expected[page])
			continue;
		printf("cowtree: process %x: page %lu is %x, should be %x\n", who, page,
			*page_word(page), expected[page]);
		return false;
	}
	return true;
}

static int generation(unsigned int who, int left);

static int child_start(unsigned int who, int left)
{
	int pid = fork();

	if (pid < 0)
		die("cowtree: cannot fork");
	if (pid == 0) {
		int status = generation(who, left);

		fflush(stdout);
		_exit(status);
	}
	return pid;
}

/* `who` is the path from the root, one hex digit for each step; 0 when all agree, else 1. */
static int generation(unsigned int who, int left)
{
	int status = pages_agree(who) ? 0 : 1, first, second;

	mark_pages(who % 7, 37, who << 4 | 0xa);
	if (left) {
		first = child_start(who << 4 | 1, left - 1);
		mark_pages(who % 11, 61, who << 4 | 0xb);
		second = child_start(who << 4 | 2, left - 1);
		mark_pages(who % 13, 53, who << 4 | 0xc);
		status |= child_wait(first) != 0;
		mark_pages(who % 5, 97, who << 4 | 0xd);
		status |= child_wait(second) != 0;
	}
	return status | !pages_agree(who);
}

int main(int argc, char **argv)
{
	unsigned long generations = GENERATIONS;
	int status;

	if (argc > 2 || (argc == 2 && (!size_parse(argv[1], &generations) || generations > 6))) {
		fprintf(stderr, "usage: cowtree [GENERATIONS]   (at most 6)\n");
		return 2;
	}
	area = area_map(0, AREA_BYTES, PROT_READ | PROT_WRITE, 0);
	if (area == MAP_FAILED)
		die("cowtree: cannot map its area");
	/* The first 2 MiB may be huge; the rest is small, half of it only read. */
	madvise((void *)area, HUGE_BYTES, MADV_HUGEPAGE);
	madvise((char *)area + HUGE_BYTES, AREA_BYTES - HUGE_BYTES, MADV_NOHUGEPAGE);
	mark_pages(0, 1, 0x5eed);
	madvise((char *)area + 3 * MIB, MIB, MADV_DONTNEED);
	memset(expected + 3 * MIB / PAGE_BYTES, 0, MIB / PAGE_BYTES * sizeof(expected[0]));
	status = generation(1, generations);
	printf("cowtree: %lu generations, %s\n", generations, status ? "FAILED" : "ok");
	return status;
}
