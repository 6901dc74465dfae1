/*
 * area.c - the area: where it lies, and reading and writing it.                            ring 3
 *
 * Part of the program `scenario`; see scenario.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "scenario.h"

#define STACK_KEPT (64 * KIB) /* of the stack, for this program's own frames */

void area_is(unsigned long start, unsigned long size)
{
	s.start = s.pages_at = start;
	s.size = s.pages_size = size;
}

#define RIGHTS 0x1000000 /* a choice that is no flag of mmap */

static const struct choice map_words[] = {{"populate", MAP_POPULATE}, {"shared", MAP_SHARED},
	{"noreserve", MAP_NORESERVE}, {"locked", MAP_LOCKED}, {"growsdown", MAP_GROWSDOWN},
	{"fixed", MAP_FIXED}, {"none", RIGHTS | PROT_NONE}, {"r", RIGHTS | PROT_READ},
	{"rw", RIGHTS | PROT_READ | PROT_WRITE},
	{"rwx", RIGHTS | PROT_READ | PROT_WRITE | PROT_EXEC}, {NULL, 0}};

/* The words behind `map SIZE`: where, and how. */
static void *map_by_words(char **words, int nr, unsigned long offset, unsigned long size)
{
	int rights = PROT_READ | PROT_WRITE, flags = 0;

	for (int i = 2; i < nr; i++) {
		if (*words[i] == '+')
			offset = number(words[i]);
		else if (choice(words[i]) & RIGHTS)
			rights = choice(words[i]) & ~RIGHTS;
		else
			flags |= choice(words[i]);
	}
	return area_map(offset, size, rights, flags);
}

static void map_done(char **words, void *area)
{
	if (area == MAP_FAILED && !s.began)
		die("scenario: cannot map %s: %s", words[1], strerror(errno));
	call_done(area == MAP_FAILED ? -1 : 0);
}

static void step_map(char **words, int nr)
{
	unsigned long size = number(words[1]);
	void *area = map_by_words(words, nr, 0, size);

	map_done(words, area);
	if (area != MAP_FAILED)
		area_is((unsigned long)area, size);
}

/* Directly behind the area, so that the two are one vma where the kernel joins them. */
static void step_extend(char **words, int nr)
{
	unsigned long size = number(words[1]);
	void *more = map_by_words(words, nr, s.start + s.size - AREA_BASE, size);

	map_done(words, more);
	if (more != MAP_FAILED)
		area_is(s.start, s.size + size);
}

static void step_area(char **words, int nr)
{
	(void)nr;
	area_is(AREA_BASE + number(words[1]), number(words[2]));
}

/* The break itself: musl's brk() refuses to move it. */
static unsigned long break_set(unsigned long address)
{
	return syscall(SYS_brk, address);
}

/*
 * What lies below the area gets no rights, so that the area is a vma of its own; its last page is
 * touched, so that a table for the first window exists as if the program's data stood there.
 */
static void step_brk_start(char **words, int nr)
{
	unsigned long low = (break_set(0) + PAGE_BYTES - 1) & -PAGE_BYTES;
	unsigned long start = ((low + HUGE_BYTES) & -HUGE_BYTES) + number(words[1]);

	(void)nr;
	if (break_set(start) != start)
		die("scenario: cannot move the heap's end: %s", strerror(errno));
	touch_write((char *)start - PAGE_BYTES, 1);
	if (mprotect((void *)low, start - low, PROT_NONE) < 0)
		die("scenario: mprotect of the heap: %s", strerror(errno));
	area_is(start, 0);
}

static void step_brk(char **words, int nr)
{
	unsigned long start = break_set(0), size = number(words[1]);

	(void)nr;
	call_done(break_set(start + size) == start + size ? 0 : -1);
	area_is(start, size);
}

/* The heap, and the area with it, grows; "touch" writes each new page. */
static void step_brk_grow(char **words, int nr)
{
	unsigned long old = break_set(0), size = number(words[1]);

	call_done(break_set(old + size) == old + size ? 0 : -1);
	if (s.rc)
		return;
	area_is(s.start, s.size + size);
	for (unsigned long at = old; nr > 2 && at < old + size; at += PAGE_BYTES)
		touch_write((char *)at, 1);
}

static void step_brk_shrink(char **words, int nr)
{
	unsigned long old = break_set(0), size = number(words[1]);

	(void)nr;
	call_done(break_set(old - size) == old - size ? 0 : -1);
	if (!s.rc)
		area_is(s.start, s.size - size);
}

/* SIZE of the first stack below what this program uses of it; it grows when it is touched. */
static void step_stack(char **words, int nr)
{
	unsigned long size = number(words[1]);
	unsigned long top = ((unsigned long)__builtin_frame_address(0) - STACK_KEPT) & -PAGE_BYTES;

	(void)nr;
	area_is(top - size, size);
}

static void step_touch(char **words, int nr)
{
	unsigned long at = number(words[1]);
	unsigned long end = nr > 2 ? at + number(words[2]) : at + 1;
	unsigned long step = nr > 3 ? number(words[3]) : PAGE_BYTES;
	bool write = words[0][0] == 'w';

	for (; at < end; at += step ? step : 1) {
		if (write)
			touch_write((char *)s.start + at, 1);
		else
			touch_read((char *)s.start + at);
	}
}

/* From the end to the start: as a stack grows. */
static void step_touch_down(char **words, int nr)
{
	unsigned long from = number(words[1]), step = nr > 3 ? number(words[3]) : PAGE_BYTES;

	for (unsigned long left = number(words[2]); left && step; left -= left < step ? left : step)
		touch_write((char *)s.start + from + left - 1, 1);
}

/* COUNT pages, the same for the same SEED. */
static void step_touch_random(char **words, int nr)
{
	unsigned long pages = number(words[2]) / PAGE_BYTES, state = number(words[4]);

	(void)nr;
	for (unsigned long i = 0; i < number(words[3]) && pages; i++) {
		state = state * 6364136223846793005UL + 1442695040888963407UL;
		touch_write(place(words[1]) + (state >> 33) % pages * PAGE_BYTES, 1);
	}
}

/* The first and last word of a page say which page of the area it is. */
static void step_fill(char **words, int nr)
{
	unsigned long at = number(words[1]), end = at + number(words[2]);

	(void)nr;
	for (; at < end; at += PAGE_BYTES) {
		volatile unsigned long *page = (unsigned long *)(s.start + at);

		page[0] = ~at;
		page[PAGE_BYTES / sizeof(*page) - 1] = at * 31 + 7;
	}
}

static void step_check(char **words, int nr)
{
	unsigned long at = number(words[1]), end = at + number(words[2]);

	(void)nr;
	s.checked = true;
	for (; at < end; at += PAGE_BYTES) {
		volatile unsigned long *page = (unsigned long *)(s.start + at);

		s.mismatches += page[0] != ~at;
		s.mismatches += page[PAGE_BYTES / sizeof(*page) - 1] != at * 31 + 7;
	}
}

static void step_zeroes(char **words, int nr)
{
	unsigned long at = number(words[1]), end = at + number(words[2]);

	(void)nr;
	s.checked = true;
	for (; at < end; at += sizeof(unsigned long))
		s.mismatches += *(volatile unsigned long *)(s.start + at) != 0;
}

static sigjmp_buf fault_return;

static void fault_handler(int number)
{
	siglongjmp(fault_return, number);
}

/* One access that may be refused; rc is the signal, or 0. */
static void step_fault(char **words, int nr)
{
	struct sigaction action = {.sa_handler = fault_handler};
	volatile char *at = place(words[2]);
	int got;

	(void)nr;
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	got = sigsetjmp(fault_return, 1);
	if (!got) {
		if (choice(words[1]))
			touch_write(at, 1);
		else
			touch_read(at);
	}
	action.sa_handler = SIG_DFL;
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	call_done(got);
}

/* The kernel touches the area: bytes go through a pipe, page by page. rc is 0 or -1. */
static void step_kernel(char **words, int nr)
{
	bool into = strcmp(words[0], "kernel-write") == 0;
	unsigned long at = number(words[1]), end = at + number(words[2]);
	char buffer[PAGE_BYTES] = "";
	int ends[2];
	long done = 0;

	(void)nr;
	if (pipe(ends) < 0)
		die("scenario: pipe: %s", strerror(errno));
	for (; at < end && done >= 0; at += PAGE_BYTES) {
		unsigned long bytes = end - at < PAGE_BYTES ? end - at : PAGE_BYTES;
		char *area = (char *)s.start + at;

		done = write(ends[1], into ? buffer : area, bytes);
		if (done >= 0)
			done = read(ends[0], into ? area : buffer, bytes);
	}
	call_done(done < 0 ? -1 : 0);
	close(ends[0]);
	close(ends[1]);
}

static const struct choice touch_word[] = {{"touch", 1}, {NULL, 0}};
static const struct choice access_words[] = {{"read", 0}, {"write", 1}, {NULL, 0}};

const struct verb area_verbs[] = {
	{"map", "sC", step_map, map_words},
	{"extend", "sC", step_extend, map_words},
	{"area", "os", step_area, NULL},
	{"brk-start", "o", step_brk_start, NULL},
	{"brk", "s", step_brk, NULL},
	{"brk-grow", "s?c", step_brk_grow, touch_word},
	{"brk-shrink", "s", step_brk_shrink, NULL},
	{"stack", "s", step_stack, NULL},
	{"write", "s?ss", step_touch, NULL},
	{"read", "s?ss", step_touch, NULL},
	{"write-down", "ss?s", step_touch_down, NULL},
	{"write-random", "ssnn", step_touch_random, NULL},
	{"fill", "ss", step_fill, NULL},
	{"check", "ss", step_check, NULL},
	{"zeroes", "ss", step_zeroes, NULL},
	{"fault", "cs", step_fault, access_words},
	{"kernel-write", "ss", step_kernel, NULL},
	{"kernel-read", "ss", step_kernel, NULL},
	{NULL, NULL, NULL, NULL},
};
