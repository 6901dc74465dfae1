/*
 * stress.c - random memory calls of several processes, each against a plain model of its own. ring 3
 *
 *   stress SEED ROUNDS [PROCESSES]          ROUNDS is a number, or seconds with an s: 20s
 *   stress SEED sequences NR [PROCESSES]    each of NR sequences starts with nothing mapped
 *
 * A process owns an arena and knows of each page whether it is mapped, its rights and what it holds:
 * that is the model, three arrays. A generator with a seed chooses calls and ranges; each call is made
 * and then done to the model, and its result must be the model's:
 *
 *      generator --> call --> kernel            rights: /proc/self/maps, and touching some pages
 *          |                     |     compare  contents: first and last word of each page
 *          +----> the model <----+------------  results: 0, or the errno value of Linux
 *
 * Rounds change one arena of 16 MiB for ever; children are forked, check all of it, scribble and leave.
 * Sequences have up to 500 calls over 6 MiB, and every page is compared at the end of each. Their
 * digest holds the seed's choices, results and models: it is the same on every kernel, whatever the
 * number of processes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib.h"

#define PAGES          (16 * MIB / PAGE_BYTES)
#define SEQUENCE_PAGES (6 * MIB / PAGE_BYTES)
#define SEQUENCE_CALLS 500
#define SPARE_OFFSET   (64 * MIB) /* where ranges are moved to and back from */
#define PROCESSES_MAX  16
#define READ_WRITE     (PROT_READ | PROT_WRITE)

struct model {
	unsigned char mapped[PAGES], rights[PAGES]; /* PROT_* */
	unsigned char lazy[PAGES]; /* MADV_FREE: the value, or zero, until it is written */
	unsigned int value[PAGES]; /* of the page's first and last word; 0: never written */
};

/* What a process tells the first one, in memory that all share. */
struct told {
	unsigned long sequences, calls, digest;
};

static struct model model;
static char *arena;
static unsigned long pages; /* of the arena */
static unsigned long random_state;
static unsigned int who, values;
static struct told *told;
static const char *last_call = "start";
static unsigned long sequence_now;

static unsigned long random_next(unsigned long limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % limit;
}

static void random_seed(unsigned long seed, unsigned long stream)
{
	random_state = (seed + 1) * 0x9e3779b97f4a7c15UL + stream * 0xbf58476d1ce4e5b9UL;
	random_state |= !random_state;
}

static void __attribute__((noreturn)) failed(const char *what, unsigned long page, long got)
{
	die("stress: process %u, sequence %lu: FAILED: %s, page %lu, got %ld (after %s, errno %d)",
		who, sequence_now, what, page, got, last_call, errno);
}

/* A range of pages: often small, at times aligned to 2 MiB. */
static unsigned long range_choose(unsigned long *nr)
{
	unsigned long first;

	if (random_next(3) == 0) {
		*nr = HUGE_PAGES * (1 + random_next(2));
		first = random_next(pages / HUGE_PAGES) * HUGE_PAGES;
	} else {
		*nr = 1 + random_next(random_next(2) ? 600 : 8);
		first = random_next(pages);
	}
	if (*nr > pages - first)
		*nr = pages - first;
	return first;
}

/* How many pages from `first` on are mapped, up to `nr`. */
static unsigned long range_mapped(unsigned long first, unsigned long nr)
{
	unsigned char *hole = memchr(model.mapped + first, 0, nr);

	return hole ? (unsigned long)(hole - model.mapped) - first : nr;
}

static bool range_is_mapped(unsigned long first, unsigned long nr)
{
	return range_mapped(first, nr) == nr;
}

static void page_check(unsigned long page)
{
	volatile unsigned int *word = (unsigned int *)(arena + page * PAGE_BYTES);
	unsigned int value = model.value[page], begin, end;

	if (!model.mapped[page] || !(model.rights[page] & PROT_READ))
		return;
	begin = word[0];
	end = word[PAGE_BYTES / 4 - 1];
	if (begin != value && !(model.lazy[page] && begin == 0))
		failed("first word differs", page, begin);
	if (end != value && !(model.lazy[page] && end == 0))
		failed("last word differs", page, end);
}

static void arena_check(void)
{
	for (unsigned long page = 0; page < pages; page++)
		page_check(page);
}

static void page_write(unsigned long page)
{
	volatile unsigned int *word = (unsigned int *)(arena + page * PAGE_BYTES);

	if (!model.mapped[page] || !(model.rights[page] & PROT_WRITE))
		return;
	model.value[page] = who << 24 | (++values & 0xffffff);
	model.lazy[page] = 0;
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

/* The call's result against the model's: 0, or an errno value. */
static void expect(int result, int want, unsigned long first)
{
	int got = result < 0 ? errno : 0;

	if (got != want)
		failed("another result than the model's", first, got);
	told->digest = told->digest * 31 + want;
}

static void op_map(unsigned long first, unsigned long nr)
{
	char *want = arena + first * PAGE_BYTES;
	int populate = random_next(4) == 0 ? MAP_POPULATE : 0;

	if (mmap(want, nr * PAGE_BYTES, READ_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | populate, -1, 0) != want)
		failed("mmap", first, -1);
	memset(model.mapped + first, 1, nr);
	memset(model.rights + first, READ_WRITE, nr);
	memset(model.lazy + first, 0, nr);
	memset(model.value + first, 0, nr * sizeof(model.value[0]));
}

static void op_unmap(unsigned long first, unsigned long nr)
{
	expect(munmap(arena + first * PAGE_BYTES, nr * PAGE_BYTES), 0, first);
	memset(model.mapped + first, 0, nr);
}

/* A hole ends it with ENOMEM; what lies before the hole has the new rights by then. */
static void op_protect(unsigned long first, unsigned long nr)
{
	static const int choices[] = {READ_WRITE, READ_WRITE, PROT_READ, PROT_READ, PROT_NONE};
	int rights = choices[random_next(sizeof(choices) / sizeof(choices[0]))];
	unsigned long done = range_mapped(first, nr);

	expect(mprotect(arena + first * PAGE_BYTES, nr * PAGE_BYTES, rights),
		done < nr ? ENOMEM : 0, first);
	memset(model.rights + first, rights, done);
}

/* Holes are stepped over, and told about at the end. */
static void advise(unsigned long first, unsigned long nr, int advice)
{
	expect(madvise(arena + first * PAGE_BYTES, nr * PAGE_BYTES, advice),
		range_is_mapped(first, nr) ? 0 : ENOMEM, first);
}

static void op_drop(unsigned long first, unsigned long nr)
{
	advise(first, nr, MADV_DONTNEED);
	memset(model.value + first, 0, nr * sizeof(model.value[0]));
	memset(model.lazy + first, 0, nr);
}

static void op_free(unsigned long first, unsigned long nr)
{
	advise(first, nr, MADV_FREE);
	memset(model.lazy + first, 1, nr);
}

static void op_advise(unsigned long first, unsigned long nr)
{
	advise(first, nr, random_next(3) ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

/* A hole gives ENOMEM. Which error a missing right gives, and whether a hole before it counts, changed in time. */
static void op_populate(unsigned long first, unsigned long nr)
{
	bool write = random_next(2);
	int need = write ? PROT_WRITE : PROT_READ, result;

	result = madvise(arena + first * PAGE_BYTES, nr * PAGE_BYTES,
		write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
	for (unsigned long page = first; page < first + nr; page++) {
		if (model.mapped[page] && !(model.rights[page] & need))
			return;
	}
	expect(result, range_is_mapped(first, nr) ? 0 : ENOMEM, first);
}

/* May be refused for many reasons; what counts is that contents stay. */
static void op_collapse(unsigned long first, unsigned long nr)
{
	if (range_is_mapped(first, nr))
		madvise(arena + first * PAGE_BYTES, nr * PAGE_BYTES, MADV_COLLAPSE);
}

static void op_lock(unsigned long first, unsigned long nr)
{
	if (nr > 16 || !range_is_mapped(first, nr))
		return;
	if (memchr(model.rights + first, PROT_NONE, nr))
		return;
	expect(mlock(arena + first * PAGE_BYTES, nr * PAGE_BYTES), 0, first);
	expect(munlock(arena + first * PAGE_BYTES, nr * PAGE_BYTES), 0, first);
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
	expect(mprotect(from, bytes, READ_WRITE), 0, first);
	memset(model.rights + first, READ_WRITE, nr);
	advise(first, nr, MADV_HUGEPAGE);
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
	random_seed(who, values);
	if (generations) {
		pid = fork();
		if (pid == 0)
			_exit(child_work(generations - 1));
	}
	for (int i = 0; i < 40; i++)
		page_write(random_next(pages));
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
		page_write(random_next(pages));
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
	{"mprotect", 10, op_protect},
	{"MADV_DONTNEED", 8, op_drop},
	{"MADV_FREE", 3, op_free},
	{"MADV_HUGEPAGE", 6, op_advise},
	{"MADV_POPULATE", 3, op_populate},
	{"MADV_COLLAPSE", 6, op_collapse},
	{"mlock", 2, op_lock},
	{"mremap", 6, op_move},
	{"fork", 1, op_fork},
};
#define OPS (sizeof(ops) / sizeof(ops[0]))

static void call_run(void)
{
	unsigned long nr, first = range_choose(&nr), pick = 0, total = 0;

	for (size_t i = 0; i < OPS; i++)
		total += ops[i].weight;
	pick = random_next(total);
	for (size_t i = 0; i < OPS; i++) {
		if (pick < ops[i].weight) {
			last_call = ops[i].name;
			ops[i].run(first, nr);
			told->calls++;
			return;
		}
		pick -= ops[i].weight;
	}
}

/* ---- rights: what the kernel tells, and what it does ---- */

static int rights_of(const char *text)
{
	return (text[0] == 'r' ? PROT_READ : 0) | (text[1] == 'w' ? PROT_WRITE : 0);
}

/* One line of maps against the model: every page of the area is mapped with these rights. */
static unsigned long area_check(unsigned long start, unsigned long end, int rights)
{
	unsigned long base = (unsigned long)arena, nr = 0;

	for (unsigned long at = start; at < end; at += PAGE_BYTES) {
		unsigned long page = (at - base) / PAGE_BYTES;

		if (at < base || page >= pages)
			continue;
		if (!model.mapped[page])
			failed("mapped, and should not be", page, rights);
		if (model.rights[page] != rights)
			failed("other rights in /proc/self/maps", page, rights);
		nr++;
	}
	return nr;
}

/* As many pages as the model says are in the text, and each of them is right. */
static void rights_check(void)
{
	unsigned long start, end, seen = 0, mapped = 0;
	char rights[8], line[256];
	FILE *maps = fopen("/proc/self/maps", "r");

	if (!maps)
		failed("/proc/self/maps cannot be read", 0, -1);
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %7s", &start, &end, rights) == 3)
			seen += area_check(start, end, rights_of(rights));
	}
	fclose(maps);
	for (unsigned long page = 0; page < pages; page++)
		mapped += model.mapped[page];
	if (seen != mapped)
		failed("pages are missing in /proc/self/maps", mapped, seen);
}

static sigjmp_buf after_fault;

static void on_fault(int signal)
{
	siglongjmp(after_fault, signal);
}

/* Does touching the page fail? */
static bool touch_fails(volatile char *byte, bool write)
{
	if (sigsetjmp(after_fault, 1))
		return true;
	if (write)
		touch_write(byte, 1);
	else
		touch_read(byte);
	return false;
}

/* Touch some pages where the model says that it must fail: a failed touch leaves nothing behind. */
static void faults_check(void)
{
	for (int i = 0; i < 8; i++) {
		unsigned long page = random_next(pages);
		bool readable = model.mapped[page] && (model.rights[page] & PROT_READ);

		if (readable && (model.rights[page] & PROT_WRITE))
			continue;
		if (!touch_fails(arena + page * PAGE_BYTES, readable))
			failed(readable ? "could be written" : "could be read", page,
				model.rights[page]);
	}
}

/* ---- rounds and sequences ---- */

static unsigned long seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static void rounds_run(unsigned long seed, unsigned long rounds, unsigned long seconds)
{
	unsigned long end = seconds_now() + seconds;

	pages = PAGES;
	random_seed(seed, who);
	op_map(0, PAGES);
	for (unsigned long i = 0; seconds ? seconds_now() < end : i < rounds; i++) {
		call_run();
		if (i % 64 == 0)
			arena_check();
	}
	arena_check();
	rights_check();
}

static unsigned long digest_of_model(unsigned long digest)
{
	for (unsigned long page = 0; page < pages; page++) {
		digest = digest * 31 + model.mapped[page];
		if (model.mapped[page])
			digest = (digest * 31 + model.rights[page]) * 31 + model.value[page];
	}
	return digest;
}

static void sequence_run(unsigned long seed, unsigned long number)
{
	unsigned long calls, digest = told->digest;

	sequence_now = number;
	random_seed(seed, number);
	values = 0;
	munmap(arena, pages * PAGE_BYTES);
	memset(&model, 0, sizeof(model));
	told->digest = number;
	calls = 1 + random_next(SEQUENCE_CALLS);
	for (unsigned long i = 0; i < calls; i++)
		call_run();
	arena_check();
	rights_check();
	faults_check();
	told->sequences++;
	told->digest = digest + digest_of_model(told->digest); /* in any order the same sum */
}

static void sequences_run(
	unsigned long seed, unsigned long nr, unsigned long first, unsigned long step)
{
	struct sigaction action = {.sa_handler = on_fault};

	pages = SEQUENCE_PAGES;
	who = 0; /* what a sequence writes does not depend on who runs it */
	if (sigaction(SIGSEGV, &action, NULL) < 0)
		die("stress: cannot catch SIGSEGV");
	for (unsigned long number = first; number < nr; number += step)
		sequence_run(seed, number);
}

/* ---- the first process ---- */

static int usage(void)
{
	fprintf(stderr,
		"usage: stress SEED ROUNDS|SECONDSs [PROCESSES]\n"
		"       stress SEED sequences NR [PROCESSES]   (at most %d processes)\n",
		PROCESSES_MAX);
	return 2;
}

struct options {
	unsigned long seed, count, processes;
	bool timed, sequences;
};

static bool options_parse(int argc, char **argv, struct options *o)
{
	size_t length;

	*o = (struct options){.processes = 4};
	if (argc < 3 || !size_parse(argv[1], &o->seed))
		return false;
	o->sequences = !strcmp(argv[2], "sequences");
	argv += 2 + o->sequences;
	argc -= 2 + o->sequences;
	if (argc < 1 || argc > 2)
		return false;
	length = strlen(argv[0]);
	o->timed = !o->sequences && length && argv[0][length - 1] == 's';
	if (o->timed)
		argv[0][length - 1] = '\0';
	return size_parse(argv[0], &o->count) &&
	       (argc == 1 || size_parse(argv[1], &o->processes)) && o->processes &&
	       o->processes <= PROCESSES_MAX;
}

static int process_run(const struct options *o)
{
	arena = (char *)AREA_BASE;
	if (o->sequences)
		sequences_run(o->seed, o->count, who, o->processes);
	else
		rounds_run(o->seed, o->timed ? 0 : o->count, o->timed ? o->count : 0);
	return 0;
}

static void tell(const struct options *o, const struct told *all, int failures)
{
	struct told sum = {0};

	for (unsigned long i = 0; i < o->processes; i++) {
		sum.sequences += all[i].sequences;
		sum.calls += all[i].calls;
		sum.digest += all[i].digest;
	}
	if (o->sequences)
		printf("stress: seed %lu, %lu sequences, %lu calls, digest %016lx: %s\n", o->seed,
			sum.sequences, sum.calls, sum.digest, failures ? "FAILED" : "ok");
	else
		printf("stress: seed %lu, %lu processes, %lu %s: %s\n", o->seed, o->processes,
			o->count, o->timed ? "seconds" : "rounds", failures ? "FAILED" : "ok");
}

int main(int argc, char **argv)
{
	struct told *all = mmap(NULL, PAGE_BYTES, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int pids[PROCESSES_MAX], failures = 0;
	struct options o;

	if (!options_parse(argc, argv, &o))
		return usage();
	if (all == MAP_FAILED)
		die("stress: no shared page");
	for (who = 0; who < o.processes; who++) {
		told = all + who;
		pids[who] = fork();
		if (pids[who] < 0)
			die("stress: cannot fork");
		if (pids[who] == 0)
			exit(process_run(&o));
	}
	for (unsigned long i = 0; i < o.processes; i++)
		failures += child_wait(pids[i]) != 0;
	tell(&o, all, failures);
	return failures != 0;
}
