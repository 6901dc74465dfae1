/*
 * stale.c - after each change of a mapping the old translation must be gone.                ring 3
 *
 *   stale KIND | --list | all
 *
 * Each kind first uses the pages, so that the processor remembers their translations, then changes
 * the mapping, then uses them again. Half of the kinds must be ended by a signal at the second use,
 * so each runs in a child; the others compare contents and leave with 0 or 1. A kernel that forgets
 * one flush fails at least one of them (one processor; the kernel's own tests do several).
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib.h"

#define RW   (PROT_READ | PROT_WRITE)
#define SIZE (4 * MIB)
#define FAR  (64 * MIB)
#define RET  0xc3

static volatile char *area;

/* Use every page: load its translation and leave a mark. */
static void use_all(char mark)
{
	for (unsigned long at = 0; at < SIZE; at += PAGE_BYTES)
		area[at] = mark;
	for (unsigned long at = 0; at < SIZE; at += PAGE_BYTES)
		touch_read(area + at);
}

static void make(int advice)
{
	area = area_map(0, SIZE, RW, 0);
	if (area == MAP_FAILED)
		die("stale: cannot map its area");
	madvise((char *)area, SIZE, advice);
	use_all(1);
}

static void small(void)
{
	make(MADV_NOHUGEPAGE);
}

static void huge(void)
{
	make(MADV_HUGEPAGE);
}

/* All pages of [from, to) hold `mark`: 0 when they do, else 1. */
static int holds(volatile char *base, unsigned long from, unsigned long to, char mark)
{
	for (unsigned long at = from; at < to; at += PAGE_BYTES) {
		if (base[at] != mark) {
			printf("stale: at offset %lu: %d, should be %d\n", at, base[at], mark);
			return 1;
		}
	}
	return 0;
}

/* ---- must be ended by a signal ---- */

static int munmap_small(void)
{
	small();
	munmap((char *)area + MIB, PAGE_BYTES);
	return area[MIB];
}

static int munmap_huge(void)
{
	huge();
	munmap((char *)area, HUGE_BYTES);
	return area[MIB];
}

static int munmap_part(void)
{
	huge();
	munmap((char *)area + MIB, PAGE_BYTES);
	if (holds(area, 0, MIB, 1) || holds(area, MIB + PAGE_BYTES, SIZE, 1))
		return 1;
	return area[MIB];
}

static int munmap_last(void)
{
	small();
	munmap((char *)area, SIZE);
	return area[SIZE - PAGE_BYTES];
}

static int protect_small(void)
{
	small();
	mprotect((char *)area + MIB, PAGE_BYTES, PROT_READ);
	area[MIB] = 2;
	return 0;
}

static int protect_huge(void)
{
	huge();
	mprotect((char *)area, SIZE, PROT_READ);
	area[MIB] = 2;
	return 0;
}

static int protect_part(void)
{
	huge();
	mprotect((char *)area + MIB, PAGE_BYTES, PROT_READ);
	area[MIB - PAGE_BYTES] = area[MIB + PAGE_BYTES] = 2;
	area[MIB] = 2;
	return 0;
}

static int protect_none(void)
{
	huge();
	mprotect((char *)area, SIZE, PROT_NONE);
	return area[0];
}

static int protect_exec(int advice)
{
	make(advice);
	area[0] = (char)RET;
	mprotect((char *)area, SIZE, PROT_READ | PROT_EXEC);
	((void (*)(void))(unsigned long)area)();
	mprotect((char *)area, SIZE, PROT_READ);
	((void (*)(void))(unsigned long)area)();
	return 0;
}

static int exec_small(void)
{
	return protect_exec(MADV_NOHUGEPAGE);
}

static int exec_huge(void)
{
	return protect_exec(MADV_HUGEPAGE);
}

static int remap_old(int advice)
{
	char *moved;

	make(advice);
	moved = mremap(
		(char *)area, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, (char *)AREA_BASE + FAR);
	if (moved == MAP_FAILED || holds(moved, 0, SIZE, 1))
		return 1;
	return area[MIB];
}

static int remap_old_small(void)
{
	return remap_old(MADV_NOHUGEPAGE);
}

static int remap_old_huge(void)
{
	return remap_old(MADV_HUGEPAGE);
}

static int heap_shrunk(void)
{
	unsigned long start = syscall(SYS_brk, 0);
	volatile char *last = (char *)start + MIB - 1;

	syscall(SYS_brk, start + MIB);
	*last = 1;
	syscall(SYS_brk, start);
	return *last;
}

/* ---- must leave with 0 ---- */

static int dontneed_small(void)
{
	small();
	madvise((char *)area, SIZE, MADV_DONTNEED);
	return holds(area, 0, SIZE, 0);
}

static int dontneed_huge(void)
{
	huge();
	madvise((char *)area, SIZE, MADV_DONTNEED);
	return holds(area, 0, SIZE, 0);
}

static int dontneed_part(void)
{
	huge();
	madvise((char *)area + MIB, PAGE_BYTES, MADV_DONTNEED);
	return holds(area, 0, MIB, 1) || area[MIB] != 0 || holds(area, MIB + PAGE_BYTES, SIZE, 1);
}

static int map_over(int advice)
{
	make(advice);
	mmap((char *)area, SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	return holds(area, 0, SIZE, 0);
}

static int map_over_small(void)
{
	return map_over(MADV_NOHUGEPAGE);
}

static int map_over_huge(void)
{
	return map_over(MADV_HUGEPAGE);
}

/* What the parent writes after fork, through a translation it used before, the child must not see. */
static int fork_parent_writes(int advice)
{
	int pid;

	make(advice);
	pid = fork();
	if (pid == 0) {
		sleep_ms(100);
		_exit(holds(area, 0, SIZE, 1));
	}
	use_all(2);
	return child_wait(pid) || holds(area, 0, SIZE, 2);
}

static int fork_child_writes(int advice)
{
	int pid;

	make(advice);
	pid = fork();
	if (pid == 0) {
		use_all(3);
		_exit(holds(area, 0, SIZE, 3));
	}
	return child_wait(pid) || holds(area, 0, SIZE, 1);
}

static int fork_parent_small(void)
{
	return fork_parent_writes(MADV_NOHUGEPAGE);
}

static int fork_parent_huge(void)
{
	return fork_parent_writes(MADV_HUGEPAGE);
}

static int fork_child_small(void)
{
	return fork_child_writes(MADV_NOHUGEPAGE);
}

static int fork_child_huge(void)
{
	return fork_child_writes(MADV_HUGEPAGE);
}

/*
 * After a change of frames, write through whatever translation the processor has, then look through
 * another address: a write that went to an old frame is missing there.
 */
static int writes_arrive(void)
{
	char *moved;

	use_all(7);
	moved = mremap(
		(char *)area, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, (char *)AREA_BASE + FAR);
	return moved == MAP_FAILED || holds(moved, 0, SIZE, 7);
}

static int collapse(void)
{
	small();
	madvise((char *)area, SIZE, MADV_HUGEPAGE);
	if (madvise((char *)area, SIZE, MADV_COLLAPSE) < 0 || holds(area, 0, SIZE, 1))
		return 1;
	return writes_arrive();
}

static int split(void)
{
	huge();
	mprotect((char *)area + MIB, PAGE_BYTES, PROT_READ);
	mprotect((char *)area + MIB, PAGE_BYTES, RW);
	return holds(area, 0, SIZE, 1) || writes_arrive();
}

static int split_and_collapse(void)
{
	huge();
	for (int i = 0; i < 4; i++) {
		madvise((char *)area + MIB, PAGE_BYTES, MADV_DONTNEED);
		if (area[MIB] != 0)
			return 1;
		area[MIB] = 1;
		if (madvise((char *)area, SIZE, MADV_COLLAPSE) < 0 || holds(area, 0, SIZE, 1))
			return 1;
	}
	return writes_arrive();
}

/* A read maps the zero page; a write must be seen at once, and by nobody else. */
static int zero_then_write(int advice)
{
	volatile char *other = area_map(FAR, SIZE, RW, 0);

	area = area_map(0, SIZE, RW, 0);
	madvise((char *)area, SIZE, advice);
	madvise((char *)other, SIZE, advice);
	if (holds(area, 0, SIZE, 0) || holds(other, 0, SIZE, 0))
		return 1;
	area[MIB] = 5;
	return area[MIB] != 5 || holds(area, 0, MIB, 0) || holds(area, MIB + PAGE_BYTES, SIZE, 0) ||
	       holds(other, 0, SIZE, 0);
}

static int zero_small(void)
{
	return zero_then_write(MADV_NOHUGEPAGE);
}

static int zero_huge(void)
{
	return zero_then_write(MADV_HUGEPAGE);
}

static int protect_and_back(void)
{
	huge();
	mprotect((char *)area, SIZE, PROT_NONE);
	mprotect((char *)area, SIZE, RW);
	if (holds(area, 0, SIZE, 1))
		return 1;
	use_all(4);
	return holds(area, 0, SIZE, 4);
}

static const struct {
	const char *name;
	bool must_die;
	int (*run)(void);
} kinds[] = {
	{"munmap", true, munmap_small},
	{"munmap-huge", true, munmap_huge},
	{"munmap-part-of-huge", true, munmap_part},
	{"munmap-all", true, munmap_last},
	{"mprotect-read", true, protect_small},
	{"mprotect-read-huge", true, protect_huge},
	{"mprotect-read-part-of-huge", true, protect_part},
	{"mprotect-none", true, protect_none},
	{"mprotect-noexec", true, exec_small},
	{"mprotect-noexec-huge", true, exec_huge},
	{"mremap", true, remap_old_small},
	{"mremap-huge", true, remap_old_huge},
	{"brk", true, heap_shrunk},
	{"dontneed", false, dontneed_small},
	{"dontneed-huge", false, dontneed_huge},
	{"dontneed-part-of-huge", false, dontneed_part},
	{"map-over", false, map_over_small},
	{"map-over-huge", false, map_over_huge},
	{"fork-parent-writes", false, fork_parent_small},
	{"fork-parent-writes-huge", false, fork_parent_huge},
	{"fork-child-writes", false, fork_child_small},
	{"fork-child-writes-huge", false, fork_child_huge},
	{"collapse", false, collapse},
	{"split", false, split},
	{"split-and-collapse", false, split_and_collapse},
	{"zero-page", false, zero_small},
	{"huge-zero-page", false, zero_huge},
	{"mprotect-and-back", false, protect_and_back},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* True when this kind went as it must. */
static bool kind_run(size_t i)
{
	int pid, status;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("stale: cannot fork");
	if (pid == 0) {
		status = kinds[i].run();
		fflush(stdout);
		_exit(status != 0);
	}
	status = child_wait(pid);
	if (kinds[i].must_die ? status >= 256 : status == 0)
		return true;
	printf("stale: %s: FAILED: status %d, should be %s\n", kinds[i].name, status,
		kinds[i].must_die ? "ended by a signal" : "0");
	return false;
}

int main(int argc, char **argv)
{
	const char *name = argc == 2 ? argv[1] : "";
	bool all = strcmp(name, "all") == 0, list = strcmp(name, "--list") == 0;
	int failures = 0, run = 0;

	for (size_t i = 0; i < KINDS; i++) {
		if (list)
			puts(kinds[i].name);
		if (!all && strcmp(name, kinds[i].name) != 0)
			continue;
		run++;
		failures += !kind_run(i);
	}
	if (list)
		return 0;
	if (!run) {
		fprintf(stderr, "usage: stale KIND | --list | all\n");
		return 2;
	}
	printf("stale: %d kinds, %s\n", run, failures ? "FAILED" : "ok");
	return failures != 0;
}
