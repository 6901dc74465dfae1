/*
 * stress.c - random changes of memory by several processes, each against a model of its own. ring 3
 *
 *   stress SEED ROUNDS [PROCESSES]      ROUNDS is a number, or seconds with an s: 20s
 *
 * Each process owns an arena of 16 MiB and knows of each page whether it is mapped, may be written
 * and what it holds. It maps, unmaps, protects, drops, advises, collapses, moves, writes and reads
 * ranges chosen by a generator with a seed, and forks children that check the whole arena against
 * the model, scribble over their copy and leave. The same seed makes the same calls in each process.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib.h"

#define ARENA         (16 * MIB)
#define PAGES         (ARENA / PAGE_BYTES)
#define SPARE_OFFSET  (64 * MIB) /* where ranges are moved to and back from */
#define PROCESSES_MAX 16

struct model {
	unsigned char mapped[PAGES], writable[PAGES];
	unsigned int value[PAGES]; /* of the page's first and last word; 0: never written */
};

static struct model model;
static char *arena;
static unsigned long random_state;
static unsigned int who, values;
static const char *last_call = "start";

static unsigned long random_next(unsigned long limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % limit;
}

static void __attribute__((noreturn)) failed(const char *what, unsigned long page, long got)
{
	die("stress: process %u: FAILED: %s, page %lu, got %ld (after %s, errno %d)", who, what,
		page, got, last_call, errno);
}

/* A range of pages: often small, at times aligned to 2 MiB. */
static unsigned long range_choose(unsigned long *nr)
{
	unsigned long first;

	if (random_next(3) == 0) {
		*nr = HUGE_PAGES * (1 + random_next(2));
		first = random_next(PAGES / HUGE_PAGES) * HUGE_PAGES;
	} else {
		*nr = 1 + random_next(random_next(2) ? 600 : 8);
		first = random_next(PAGES);
	}
	if (*nr > PAGES - first)
		*nr = PAGES - first;
	return first;
}

static bool range_is_mapped(unsigned long first, unsigned long nr)
{
	return !memchr(model.mapped + first, 0, nr);
}

static void page_check(unsigned long page)
{
	volatile unsigned int *word = (unsigned int *)(arena + page * PAGE_BYTES);

	if (!model.mapped[page])
		return;
	if (word[0] != model.value[page])
		failed("first word differs", page, word[0]);
	if (word[PAGE_BYTES / 4 - 1] != model.value[page])
		failed("last word differs", page, word[PAGE_BYTES / 4 - 1]);
}

static void arena_check(void)
{
	for (unsigned long page = 0; page < PAGES; page++)
		page_check(page);
}

static void page_write(unsigned long page)
{
	volatile unsigned int *word = (unsigned int *)(arena + page * PAGE_BYTES);

	if (!model.mapped[page] || !model.writable[page])
		return;
	model.value[page] = who << 24 | (++values & 0xffffff);
	word[0] = word[PAGE_BYTES / 4 - 1] = model.value[page];
}

/* ---- operations; each says its name in last_call ---- */

static void op_write(unsigned long first, unsigned long nr)
{
	unsigned long step = 1 + random_next(random_next(2) ? 1 : 16);

	for (unsigned long page = first; page < first + nr; page += step)
		page_write(page);
}

static void op_read(unsigned long first, unsigned long nr)
{
	for (unsigned long page = first; page < first + nr; page++)
		page_check(page);
}

static void op_map(unsigned long first, unsigned long nr)
{
	char *want = arena + first * PAGE_BYTES;
	int populate = random_next(4) == 0 ? MAP_POPULATE : 0;

	if (mmap(want, nr * PAGE_BYTES, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | populate, -1, 0) != want)
		failed("mmap", first, -1);
	memset(model.mapped + first, 1, nr);
	memset(model.writable + first, 1, nr);
	memset(model.value + first, 0, nr * sizeof(model.value[0]));
}

static void op_unmap(unsigned long first, unsigned long nr)
{
	if (munmap(arena + first * PAGE_BYTES, nr * PAGE_BYTES) < 0)
		failed("munmap", first, -1);
	memset(model.mapped + first, 0, nr);
}

static void op_protect(unsigned long first, unsigned long nr)
{
	bool write = random_next(2);
	int rights = write ? PROT_READ | PROT_WRITE : PROT_READ;

	if (!range_is_mapped(first, nr))
		return;
	if (mprotect(arena + first * PAGE_BYTES, nr * PAGE_BYTES, rights) < 0)
		failed("mprotect", first, -1);
	memset(model.writable + first, write, nr);
}

static void op_drop(unsigned long first, unsigned long nr)
{
	if (!range_is_mapped(first, nr))
		return;
	if (madvise(arena + first * PAGE_BYTES, nr * PAGE_BYTES, MADV_DONTNEED) < 0)
		failed("MADV_DONTNEED", first, -1);
	memset(model.value + first, 0, nr * sizeof(model.value[0]));
}

static void op_advise(unsigned long first, unsigned long nr)
{
	int advice = random_next(3) ? MADV_HUGEPAGE : MADV_NOHUGEPAGE;

	if (range_is_mapped(first, nr) &&
		madvise(arena + first * PAGE_BYTES, nr * PAGE_BYTES, advice) < 0)
		failed("MADV_HUGEPAGE", first, -1);
}

/* May be refused for many reasons; what counts is that contents stay. */
static void op_collapse(unsigned long first, unsigned long nr)
{
	if (range_is_mapped(first, nr))
		madvise(arena + first * PAGE_BYTES, nr * PAGE_BYTES, MADV_COLLAPSE);
}

/* Move away and back, with one page's shift or none, so that huge pages split or stay. */
static void op_move(unsigned long first, unsigned long nr)
{
	unsigned long bytes = nr * PAGE_BYTES;
	char *from = arena + first * PAGE_BYTES;
	char *spare = arena + SPARE_OFFSET + (random_next(2) ? first * PAGE_BYTES : PAGE_BYTES);

	if (!range_is_mapped(first, nr))
		return;
	/* mremap moves one area at a time: make the range one. */
	if (mprotect(from, bytes, PROT_READ | PROT_WRITE) < 0)
		failed("mprotect before mremap", first, -1);
	memset(model.writable + first, 1, nr);
	if (madvise(from, bytes, MADV_HUGEPAGE) < 0)
		failed("madvise before mremap", first, -1);
	if (mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, spare) != spare) {
		if (errno == EFAULT)
			return; /* still more than one area: they differ in what they were made of */
		failed("mremap away", first, -1);
	}
	if (mremap(spare, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, from) != from)
		failed("mremap back", first, -1);
}

/* Two generations: a child checks, forks its own child, scribbles, checks what it then has. */
static int child_work(int generations)
{
	int pid = 0, status = 0;

	arena_check();
	who += 16;
	random_state += who;
	if (generations) {
		pid = fork();
		if (pid == 0)
			_exit(child_work(generations - 1));
	}
	for (int i = 0; i < 40; i++)
		page_write(random_next(PAGES));
	if (pid > 0)
		status = child_wait(pid);
	arena_check();
	return status;
}

static void op_fork(unsigned long first, unsigned long nr)
{
	int pid = fork(), status;

	(void)nr;
	if (pid < 0)
		failed("fork", first, -1);
	if (pid == 0)
		_exit(child_work(1));
	/* Write while the child lives. */
	for (int i = 0; i < 40; i++)
		page_write(random_next(PAGES));
	status = child_wait(pid);
	if (status)
		failed("a child", first, status);
}

static const struct {
	const char *name;
	unsigned int weight;
	void (*run)(unsigned long first, unsigned long nr);
} ops[] = {
	{"write", 30, op_write},
	{"read", 10, op_read},
	{"mmap", 12, op_map},
	{"munmap", 6, op_unmap},
	{"mprotect", 8, op_protect},
	{"MADV_DONTNEED", 8, op_drop},
	{"madvise", 6, op_advise},
	{"MADV_COLLAPSE", 6, op_collapse},
	{"mremap", 6, op_move},
	{"fork", 2, op_fork},
};
#define OPS (sizeof(ops) / sizeof(ops[0]))

static void round_run(void)
{
	unsigned long nr, first = range_choose(&nr), pick = 0, total = 0;

	for (size_t i = 0; i < OPS; i++)
		total += ops[i].weight;
	pick = random_next(total);
	for (size_t i = 0; i < OPS; i++) {
		if (pick < ops[i].weight) {
			last_call = ops[i].name;
			ops[i].run(first, nr);
			return;
		}
		pick -= ops[i].weight;
	}
}

static unsigned long seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static int process_run(unsigned long seed, unsigned long rounds, unsigned long seconds)
{
	unsigned long end = seconds_now() + seconds;

	random_state = (seed + 1) * 0x9e3779b97f4a7c15UL + who * 0xbf58476d1ce4e5b9UL;
	arena = (char *)AREA_BASE;
	op_map(0, PAGES);
	for (unsigned long i = 0; seconds ? seconds_now() < end : i < rounds; i++) {
		round_run();
		if (i % 64 == 0)
			arena_check();
	}
	arena_check();
	return 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: stress SEED ROUNDS|SECONDSs [PROCESSES]   (at most %d processes)\n",
		PROCESSES_MAX);
	return 2;
}

int main(int argc, char **argv)
{
	unsigned long seed, rounds, processes = 4, seconds = 0;
	int pids[PROCESSES_MAX], failures = 0;
	size_t length = argc > 2 ? strlen(argv[2]) : 0;
	bool timed = length && argv[2][length - 1] == 's';

	if (timed)
		argv[2][length - 1] = '\0';
	if (argc < 3 || argc > 4 || !size_parse(argv[1], &seed) || !size_parse(argv[2], &rounds) ||
		(argc == 4 && !size_parse(argv[3], &processes)) || !processes ||
		processes > PROCESSES_MAX)
		return usage();
	if (timed)
		seconds = rounds;
	for (who = 0; who < processes; who++) {
		pids[who] = fork();
		if (pids[who] < 0)
			die("stress: cannot fork");
		if (pids[who] == 0)
			exit(process_run(seed, rounds, seconds));
	}
	for (unsigned long i = 0; i < processes; i++)
		failures += child_wait(pids[i]) != 0;
	printf("stress: seed %lu, %lu processes, %lu %s: %s\n", seed, processes, rounds,
		timed ? "seconds" : "rounds", failures ? "FAILED" : "ok");
	return failures != 0;
}
