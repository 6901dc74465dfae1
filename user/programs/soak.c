/*
 * soak.c - many faults, splits and collapses, with every page's contents known.               ring 3
 *
 *   soak CYCLES [PROCESSES [THREADS]]        4 processes of one thread if nothing is said
 *
 * CYCLES is the sum over all threads. Each thread owns four windows of 2 MiB and works on one at a time:
 *
 *      nothing --write--> one huge page --drop 400 pages--> split, with a hole --write--> 512 small pages
 *         ^                                                                                      |
 *         +-------- drop all <-------- compare all 512 <-------- one huge page <----collapse-----+
 *
 * One turn is one huge fault, one split, 400 small faults and one collapse. Some turns also move the
 * window away and back, fork a child that compares everything it inherited and writes over some of it,
 * or have all memory compacted. The kernel's counters say at the end whether all that really happened:
 * at least CYCLES of each, and 98 small faults in 100.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib.h"

#define WINDOWS       4
#define HOLE_FIRST    50
#define HOLE_PAGES    400
#define PROCESSES_MAX 16
#define THREADS_MAX   8
#define THREAD_STRIDE (64 * MIB)
#define SPARE_OFFSET  (32 * MIB) /* of a thread's own range: where windows are moved to */
#define TRIES         100000     /* until a collapse must have come about */
#define COMPACT       "/proc/sys/vm/compact_memory"

/* How often a turn does more than the round. */
#define EVERY_MOVE    16
#define EVERY_FORK    64
#define EVERY_COMPACT 1024

struct worker {
	unsigned int number;  /* over all processes */
	unsigned long cycles; /* its share */
	char *base;
	unsigned int tag[WINDOWS]; /* of every page of the window; 0: it is empty */
	pthread_t thread;
};

static void __attribute__((noreturn))
failed(const struct worker *w, const char *what, unsigned long page, long got)
{
	die("soak: worker %u: FAILED: %s, page %lu, got %ld (errno %d)", w->number, what, page, got,
		errno);
}

static volatile unsigned int *word_of(
	const struct worker *w, unsigned int window, unsigned int page)
{
	return (unsigned int *)(w->base + window * HUGE_BYTES + page * PAGE_BYTES);
}

static void pages_write(struct worker *w, unsigned int window, unsigned int first, unsigned int nr)
{
	for (unsigned int page = first; page < first + nr; page++) {
		volatile unsigned int *word = word_of(w, window, page);

		word[0] = w->tag[window] + page;
		word[PAGE_BYTES / 4 - 1] = ~(w->tag[window] + page);
	}
}

static void window_check(const struct worker *w, unsigned int window)
{
	for (unsigned int page = 0; page < HUGE_PAGES && w->tag[window]; page++) {
		volatile unsigned int *word = word_of(w, window, page);
		unsigned int want = w->tag[window] + page;

		if (word[0] != want || word[PAGE_BYTES / 4 - 1] != ~want)
			failed(w, "contents differ", window * HUGE_PAGES + page, word[0]);
	}
}

static void advise(struct worker *w, void *start, unsigned long bytes, int advice)
{
	if (madvise(start, bytes, advice) < 0)
		failed(w, "madvise", advice, -1);
}

/* EAGAIN is an honest answer: compaction, say, has one of the pages just now. */
static void window_collapse(struct worker *w, char *start)
{
	for (int i = 0; madvise(start, HUGE_BYTES, MADV_COLLAPSE) < 0; i++) {
		if (errno != EAGAIN || i == TRIES)
			failed(w, "MADV_COLLAPSE", (start - w->base) / PAGE_BYTES, -1);
		sched_yield();
	}
}

static void window_move(struct worker *w, unsigned int window)
{
	char *from = w->base + window * HUGE_BYTES, *to = from + SPARE_OFFSET;

	if (mremap(from, HUGE_BYTES, HUGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to ||
		mremap(to, HUGE_BYTES, HUGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, from) != from)
		failed(w, "mremap", window, -1);
}

static void child_run(struct worker *w)
{
	for (unsigned int window = 0; window < WINDOWS; window++) {
		window_check(w, window);
		if (!w->tag[window])
			continue;
		w->tag[window] ^= 0x40000000;
		pages_write(w, window, 0, 8);
		w->tag[window] ^= 0x40000000;
	}
	_exit(0);
}

static void fork_and_wait(struct worker *w)
{
	int pid = fork(), status;

	if (pid < 0)
		failed(w, "fork", 0, -1);
	if (pid == 0)
		child_run(w);
	status = child_wait(pid);
	if (status)
		failed(w, "a child", 0, status);
}

static void turn_run(struct worker *w, unsigned long turn)
{
	unsigned int window = turn % WINDOWS;
	char *start = w->base + window * HUGE_BYTES;

	w->tag[window] = (w->number + 1) << 24 | (turn & 0x3fff) << 9 | 1;
	pages_write(w, window, 0, HUGE_PAGES);
	advise(w, start + HOLE_FIRST * PAGE_BYTES, HOLE_PAGES * PAGE_BYTES, MADV_DONTNEED);
	pages_write(w, window, HOLE_FIRST, HOLE_PAGES);
	window_collapse(w, start);
	if (turn % EVERY_MOVE == 0)
		window_move(w, window);
	if (turn % EVERY_FORK == 0)
		fork_and_wait(w);
	if (w->number == 0 && turn % EVERY_COMPACT == 0)
		file_write(COMPACT, "1"); /* not there, or not allowed: then without it */
	window_check(w, window);
	if (turn % EVERY_FORK < WINDOWS) /* the others stay full for a child to inherit */
		return;
	advise(w, start, HUGE_BYTES, MADV_DONTNEED);
	w->tag[window] = 0;
}

static void *worker_run(void *arg)
{
	struct worker *w = arg;

	for (unsigned long turn = 0; turn < w->cycles; turn++) {
		char *start = w->base + turn % WINDOWS * HUGE_BYTES;

		if (w->tag[turn % WINDOWS])
			advise(w, start, HUGE_BYTES, MADV_DONTNEED);
		turn_run(w, turn);
	}
	return NULL;
}

static int process_run(unsigned int process, unsigned long cycles, unsigned int threads)
{
	static struct worker workers[THREADS_MAX];

	for (unsigned int i = 0; i < threads; i++) {
		struct worker *w = workers + i;

		w->number = process * threads + i;
		w->cycles = cycles / threads;
		w->base = area_map(
			i * THREAD_STRIDE, WINDOWS * HUGE_BYTES, PROT_READ | PROT_WRITE, 0);
		if (w->base == MAP_FAILED)
			failed(w, "mmap", 0, -1);
		advise(w, w->base, WINDOWS * HUGE_BYTES, MADV_HUGEPAGE);
	}
	for (unsigned int i = 1; i < threads; i++) {
		if (pthread_create(&workers[i].thread, NULL, worker_run, workers + i))
			failed(workers + i, "pthread_create", 0, -1);
	}
	worker_run(workers);
	for (unsigned int i = 1; i < threads; i++)
		pthread_join(workers[i].thread, NULL);
	return 0;
}

/* ---- what really happened ---- */

static const char *const wanted[] = {"thp_fault_alloc", "thp_split_pmd", "thp_collapse_alloc"};

static unsigned long rise(const struct counters *before, const char *name)
{
	struct counters now;

	counters_read(&now);
	return counters_get(&now, name) - counters_get(before, name);
}

/* The number of counters that did not rise as far as they must. */
static int tell(const struct counters *before, unsigned long faults_before, unsigned long cycles)
{
	unsigned long faults = proc_kb("/proc/vmstat", "pgfault") - faults_before;
	unsigned long huge = rise(before, "thp_fault_alloc");
	int failures = 0;

	printf("%-24s %lu\n", "pgfault", faults);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		unsigned long value = rise(before, wanted[i]);

		printf("%-24s %lu%s\n", wanted[i], value, value < cycles ? "   too few" : "");
		failures += value < cycles;
	}
	if (faults < cycles * HOLE_PAGES || (faults - huge) / 98 < faults / 100) {
		printf("too few small faults\n");
		failures++;
	}
	return failures;
}

int main(int argc, char **argv)
{
	unsigned long cycles, processes = 4, threads = 1, faults, share;
	int pids[PROCESSES_MAX], failures = 0;
	struct counters before;

	if (argc < 2 || argc > 4 || !size_parse(argv[1], &cycles) || !cycles ||
		(argc > 2 && !size_parse(argv[2], &processes)) ||
		(argc > 3 && !size_parse(argv[3], &threads)) || !processes || !threads ||
		processes > PROCESSES_MAX || threads > THREADS_MAX) {
		fprintf(stderr, "usage: soak CYCLES [PROCESSES [THREADS]]   (at most %d and %d)\n",
			PROCESSES_MAX, THREADS_MAX);
		return 2;
	}
	counters_read(&before);
	faults = proc_kb("/proc/vmstat", "pgfault");
	share = (cycles + processes * threads - 1) / (processes * threads) * threads;
	for (unsigned int i = 0; i < processes; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			die("soak: cannot fork");
		if (pids[i] == 0)
			exit(process_run(i, share, threads));
	}
	for (unsigned int i = 0; i < processes; i++)
		failures += child_wait(pids[i]) != 0;
	failures += tell(&before, faults, cycles);
	printf("soak: %lu cycles, %lu processes of %lu threads: %s\n", cycles, processes, threads,
		failures ? "FAILED" : "ok");
	return failures != 0;
}
