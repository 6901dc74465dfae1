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
 * have all memory compacted, or fill every word and compare every word; with several nodes the thread
 * then goes to the next CPU, and its memory after it. Otherwise two words of each page are compared.
 *
 * At the end it says what happened, the kernel's counters and its own, and fails if there was less of
 * anything than the turns must have caused: CYCLES of huge faults, splits and collapses, 98 small faults
 * in 100, a move in 16 turns, a child in 64, a compaction in 256, and pages that compaction moved.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib.h"

#define WINDOWS       4
#define HOLE_FIRST    50
#define HOLE_PAGES    400
#define PROCESSES_MAX 16
#define THREADS_MAX   8
#define THREAD_STRIDE (64 * MIB)
#define SPARE_OFFSET  (32 * MIB) /* of a thread's own range: where windows are moved to */
#define TRIES         30000      /* a millisecond each, until a collapse must have come about */
#define COMPACT       "/proc/sys/vm/compact_memory"
#define NODES         "/sys/devices/system/node/online"

/* How often a turn does more than the round. */
#define EVERY_MOVE    16
#define EVERY_FORK    64
#define EVERY_WORD    64
#define EVERY_CPU     16
#define EVERY_COMPACT 256

/* What all workers have done, children apart: in memory that all processes share. */
struct done {
	unsigned long moves, forks, compactions, words;
};

static struct done *done;
static unsigned long cpus; /* to wander over; 0: one node, stay */

static void count(unsigned long *what, unsigned long by)
{
	__atomic_fetch_add(what, by, __ATOMIC_RELAXED);
}

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

/* What the words between the first and the last of a page hold once the whole window is filled. */
static unsigned int word_between(unsigned int tag, unsigned int page, unsigned int i)
{
	return (tag + page) * 2654435761u ^ i * 40503u;
}

static void window_fill(struct worker *w, unsigned int window)
{
	for (unsigned int page = 0; page < HUGE_PAGES; page++) {
		volatile unsigned int *word = word_of(w, window, page);

		for (unsigned int i = 1; i < PAGE_BYTES / 4 - 1; i++)
			word[i] = word_between(w->tag[window], page, i);
	}
}

/* Every word of a window that was filled, then lost its hole: zeros between the ends of those pages. */
static void window_check_words(const struct worker *w, unsigned int window)
{
	for (unsigned int page = 0; page < HUGE_PAGES; page++) {
		volatile unsigned int *word = word_of(w, window, page);
		bool lost = page >= HOLE_FIRST && page < HOLE_FIRST + HOLE_PAGES;

		for (unsigned int i = 1; i < PAGE_BYTES / 4 - 1; i++)
			if (word[i] != (lost ? 0 : word_between(w->tag[window], page, i)))
				failed(w, "a word differs", window * HUGE_PAGES + page, word[i]);
	}
	count(&done->words, HUGE_BYTES / 4);
}

static void advise(struct worker *w, void *start, unsigned long bytes, int advice)
{
	if (madvise(start, bytes, advice) < 0)
		failed(w, "madvise", advice, -1);
}

/*
 * EAGAIN is an honest answer: compaction, say, has one of the pages just now, and may have one or other of them for as long as
 * its flushes take, which is seconds where the host has no time for a CPU of the guest.
 */
static void window_collapse(struct worker *w, char *start)
{
	for (int i = 0; madvise(start, HUGE_BYTES, MADV_COLLAPSE) < 0; i++) {
		if (errno != EAGAIN || i == TRIES)
			failed(w, "MADV_COLLAPSE", (start - w->base) / PAGE_BYTES, -1);
		sleep_ms(1);
	}
}

static void window_move(struct worker *w, unsigned int window)
{
	char *from = w->base + window * HUGE_BYTES, *to = from + SPARE_OFFSET;

	if (mremap(from, HUGE_BYTES, HUGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to ||
		mremap(to, HUGE_BYTES, HUGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, from) != from)
		failed(w, "mremap", window, -1);
	count(&done->moves, 1);
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
	count(&done->forks, 1);
}

/* The window is small pages. Each second one of them goes, so that the frames of the others want bringing together. */
static void compact(struct worker *w, unsigned int window)
{
	char *start = w->base + window * HUGE_BYTES;
	int error;

	for (unsigned int page = HOLE_FIRST; page < HOLE_FIRST + HOLE_PAGES; page += 2)
		advise(w, start + page * PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED);
	error = file_write(COMPACT, "1");
	if (error)
		failed(w, COMPACT, 0, error);
	for (unsigned int page = HOLE_FIRST; page < HOLE_FIRST + HOLE_PAGES; page += 2)
		pages_write(w, window, page, 1);
	count(&done->compactions, 1);
}

static void cpu_change(struct worker *w, unsigned long turn)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((w->number + turn / EVERY_CPU) % cpus, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		failed(w, "sched_setaffinity", 0, -1);
}

static void turn_run(struct worker *w, unsigned long turn)
{
	unsigned int window = turn % WINDOWS;
	char *start = w->base + window * HUGE_BYTES;

	w->tag[window] = (w->number + 1) << 24 | (turn & 0x3fff) << 9 | 1;
	pages_write(w, window, 0, HUGE_PAGES);
	if (turn % EVERY_WORD == 0)
		window_fill(w, window);
	advise(w, start + HOLE_FIRST * PAGE_BYTES, HOLE_PAGES * PAGE_BYTES, MADV_DONTNEED);
	pages_write(w, window, HOLE_FIRST, HOLE_PAGES);
	if (turn % EVERY_COMPACT == 0)
		compact(w, window);
	window_collapse(w, start);
	if (turn % EVERY_MOVE == 0)
		window_move(w, window);
	if (turn % EVERY_FORK == 0)
		fork_and_wait(w);
	if (cpus && turn % EVERY_CPU == 0)
		cpu_change(w, turn);
	window_check(w, window);
	if (turn % EVERY_WORD == 0)
		window_check_words(w, window);
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

/* The kernel's, each with how often it must have counted in a number of cycles. */
static const struct {
	const char *name;
	unsigned long
		in_cycles; /* once in so many, at least once; 0: with several nodes, at least once */
} wanted[] = {
	{"thp_fault_alloc", 1},
	{"thp_split_pmd", 1},
	{"thp_collapse_alloc", 1},
	{"pgmigrate_success", EVERY_COMPACT},
	{"numa_hint_faults", 0},
	{"numa_pages_migrated", 0},
};
#define NR_WANTED (sizeof(wanted) / sizeof(wanted[0]))

struct before {
	unsigned long faults, counters[NR_WANTED];
	struct timespec time;
};

static unsigned long vmstat(const char *name)
{
	char field[48];

	snprintf(field, sizeof(field), "%s ", name); /* thp_fault_alloc is no other's beginning */
	return proc_kb("/proc/vmstat", field);
}

static void before_read(struct before *b)
{
	b->faults = vmstat("pgfault");
	for (size_t i = 0; i < NR_WANTED; i++)
		b->counters[i] = vmstat(wanted[i].name);
	clock_gettime(CLOCK_MONOTONIC, &b->time);
}

/* One line; 1 if it is less than it must be. */
static int tell_one(const char *name, unsigned long value, unsigned long least)
{
	printf("%-24s %lu%s\n", name, value, value < least ? "   too few" : "");
	return value < least;
}

static unsigned long once_in(unsigned long cycles, unsigned long every)
{
	return cycles < every ? 1 : cycles / every;
}

/* The number of things that did not happen as often as they must. */
static int tell(const struct before *before, unsigned long cycles)
{
	unsigned long faults = vmstat("pgfault") - before->faults;
	unsigned long huge = vmstat("thp_fault_alloc") - before->counters[0];
	int failures = tell_one("pgfault", faults, cycles * HOLE_PAGES);
	struct timespec now;

	failures += tell_one("small, of 1000", (faults - huge) * 1000 / (faults + !faults), 980);
	for (size_t i = 0; i < NR_WANTED; i++) {
		unsigned long value = vmstat(wanted[i].name) - before->counters[i];

		if (wanted[i].in_cycles || cpus)
			failures += tell_one(wanted[i].name, value,
				wanted[i].in_cycles ? once_in(cycles, wanted[i].in_cycles) : 1);
	}
	failures += tell_one("mremap", done->moves, once_in(cycles, EVERY_MOVE));
	failures += tell_one("fork", done->forks, once_in(cycles, EVERY_FORK));
	failures += tell_one("compact_memory", done->compactions, once_in(cycles, EVERY_COMPACT));
	failures += tell_one(
		"words compared", done->words, once_in(cycles, EVERY_WORD) * (HUGE_BYTES / 4));
	clock_gettime(CLOCK_MONOTONIC, &now);
	printf("%-24s %ld\n", "seconds", (long)(now.tv_sec - before->time.tv_sec));
	return failures;
}

/* With several nodes the workers wander over all CPUs, so that pages have somebody to follow. */
static void nodes_look(void)
{
	char online[64];

	if (file_read(NODES, online, sizeof(online)) && strcmp(online, "0") != 0)
		cpus = sysconf(_SC_NPROCESSORS_ONLN);
}

int main(int argc, char **argv)
{
	unsigned long cycles, processes = 4, threads = 1, share;
	int pids[PROCESSES_MAX], failures = 0;
	struct before before;

	if (argc < 2 || argc > 4 || !size_parse(argv[1], &cycles) || !cycles ||
		(argc > 2 && !size_parse(argv[2], &processes)) ||
		(argc > 3 && !size_parse(argv[3], &threads)) || !processes || !threads ||
		processes > PROCESSES_MAX || threads > THREADS_MAX) {
		fprintf(stderr, "usage: soak CYCLES [PROCESSES [THREADS]]   (at most %d and %d)\n",
			PROCESSES_MAX, THREADS_MAX);
		return 2;
	}
	done = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (done == MAP_FAILED)
		die("soak: no shared memory");
	nodes_look();
	before_read(&before);
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
	failures += tell(&before, cycles);
	printf("soak: %lu cycles, %lu processes of %lu threads: %s\n", cycles, processes, threads,
		failures ? "FAILED" : "ok");
	return failures != 0;
}
