/*
 * bench.c - what memory operations cost, by the time-stamp counter.                         ring 3
 *
 *   bench [ROW] | --list
 *
 * Prints "bench NAME VALUE" for each row. Under QEMU's -icount shift=0 with one processor one tick is
 * one guest instruction, so the values are exact counts, the same on every machine; elsewhere they are
 * cycles with noise. The cost of an empty rdtsc pair is subtracted; where an operation is measured
 * many times the median is printed. `make bench` runs this and puts Linux's recorded figures beside.
 *
 * Totals are printed whole. How much of a 2 MiB fault is the clearing of memory, which is the same
 * for every kernel, the host's script subtracts.
 *
 * TWO TASKS. The rows of messages, of pagers and of processes fork: the child has the endpoint that its parent made
 * (RIGHT_INHERIT), and with one processor every tick between two readings is either side's or the way between. They
 * come last, without the page at the far end: a small process is meant. Where there are no native calls, as on Linux,
 * their rows are left out.
 */
#include <errno.h>
#include <fcntl.h>
#include <native.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib_measure.h"

#define AREA_BYTES  (64 * MIB)
#define SMALL_NR    4096 /* samples of 4 KiB operations: 16 MiB */
#define HUGE_NR     (AREA_BYTES / HUGE_BYTES)
#define COLLAPSE_NR 16

static void row_null_call(void)
{
	for (int i = 0; i < 1000; i++) {
		unsigned long before = ticks(), answer = SYS_gettid;

		__asm__ volatile("syscall" : "+a"(answer) : : "rcx", "r11", "memory");
		samples[i] = ticks() - before - empty;
	}
	print("null_call", median(1000));
}

static void row_4k_write(void)
{
	char *area = area_new(SMALL_NR * PAGE_BYTES, MADV_NOHUGEPAGE);

	print("4k_write", touch_median(area, PAGE_BYTES, SMALL_NR, true));
	munmap(area, SMALL_NR * PAGE_BYTES);
}

#define RUN_BYTES (64 * KIB)
#define RUN_NR    16

/* 16 pages by one fault. The area is too short for a huge page. */
static void row_64k_write(void)
{
	char *area;

	if (file_write(THP_DIR "hugepages-64kB/enabled", "always"))
		return;
	area = area_new(RUN_NR * RUN_BYTES, NO_ADVICE);
	print("64k_write", touch_median(area, RUN_BYTES, RUN_NR, true));
	munmap(area, RUN_NR * RUN_BYTES);
	file_write(THP_DIR "hugepages-64kB/enabled", "never");
}

static void row_4k_read(void)
{
	char *area = area_new(SMALL_NR * PAGE_BYTES, MADV_NOHUGEPAGE);

	print("4k_read", touch_median(area, PAGE_BYTES, SMALL_NR, false));
	munmap(area, SMALL_NR * PAGE_BYTES);
}

/*
 * The child measures, since a parent that waits uses no ticks; its table of samples is its own copy
 * already when it starts. Every page of the area has two owners, so each write copies.
 */
static void row_cow(const char *name, int advice, unsigned long step, unsigned long nr)
{
	char *area = area_new(nr * step, advice);
	int pid;

	memset(area, 1, nr * step);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		memset(samples, 0, sizeof(samples));
		print(name, touch_median(area, step, nr, true));
		_exit(0);
	}
	if (pid < 0 || child_wait(pid) != 0)
		die("bench: the child of %s failed", name);
	munmap(area, nr * step);
}

static void row_4k_cow(void)
{
	row_cow("4k_cow", MADV_NOHUGEPAGE, PAGE_BYTES, SMALL_NR);
}

static void row_2m_cow_split(void)
{
	setting("cow", "split");
	row_cow("2m_cow_split", NO_ADVICE, HUGE_BYTES, HUGE_NR);
}

/* In a small machine fewer, or the last ones would be 4 KiB. */
static void row_2m_write(void)
{
	unsigned long room = proc_kb("/proc/meminfo", "MemFree:") * KIB / 2 / HUGE_BYTES;
	unsigned long nr = room < HUGE_NR ? room : HUGE_NR;
	char *area = area_new(nr * HUGE_BYTES, NO_ADVICE);

	print("2m_write", touch_median(area, HUGE_BYTES, nr, true));
	munmap(area, nr * HUGE_BYTES);
}

/*
 * The same from the pool of pages cleared in advance: idle CPUs fill it while this program sleeps. Linux has none,
 * and no row here.
 */
static void row_2m_write_prezero(void)
{
	unsigned long room = proc_kb("/proc/meminfo", "MemFree:") * KIB / 4 / HUGE_BYTES;
	unsigned long nr = room < HUGE_NR ? room : HUGE_NR;
	char *area, pool[16];

	snprintf(pool, sizeof(pool), "%lu", nr);
	if (!nr || file_write(THP_DIR "prezero_pool", pool))
		return;
	setting("prezero", "1");
	area = area_new(nr * HUGE_BYTES, NO_ADVICE);
	for (int i = 0; i < 500 && proc_kb("/proc/vmstat", "nr_thp_prezeroed") < nr; i++)
		sleep_ms(10);
	print("2m_write_prezero", touch_median(area, HUGE_BYTES, nr, true));
	munmap(area, nr * HUGE_BYTES);
}

static void row_2m_read(void)
{
	char *area = area_new(AREA_BYTES, NO_ADVICE);

	touch_read(area); /* the huge zero page exists from here on */
	print("2m_read", touch_median(area + HUGE_BYTES, HUGE_BYTES, HUGE_NR - 1, false));
	munmap(area, AREA_BYTES);
}

static void row_collapse(void)
{
	char *area = small_ranges(COLLAPSE_NR, 0);

	madvise(area, COLLAPSE_NR * HUGE_BYTES, MADV_HUGEPAGE);
	for (int i = 0; i < COLLAPSE_NR; i++) {
		unsigned long before = ticks();
		int answer = madvise(area + i * HUGE_BYTES, HUGE_BYTES, MADV_COLLAPSE);

		samples[i] = ticks() - before - empty;
		if (answer < 0)
			die("bench: MADV_COLLAPSE: %s", strerror(errno));
	}
	print("collapse", median(COLLAPSE_NR));
	munmap(area, COLLAPSE_NR * HUGE_BYTES);
}

static void row_khugepaged(void)
{
	print("khugepaged", khugepaged_per_range(0));
}

static void row_khugepaged_refuse(void)
{
	setting("khugepaged/max_ptes_none", "0");
	print("khugepaged_refuse", khugepaged_per_range(1));
}

/*
 * Every eighth page of 64 MiB stays, then memory is compacted from end to end: ticks for each page that moved, everything that
 * the scanners look at included.
 */
static void row_compact(void)
{
	char *area = area_new(AREA_BYTES, MADV_NOHUGEPAGE);
	int fd = open("/proc/sys/vm/compact_memory", O_WRONLY), written;
	unsigned long moved, before;

	for (unsigned long at = 0; at < AREA_BYTES; at += PAGE_BYTES)
		touch_write(area + at, 1);
	for (unsigned long at = 0; at < AREA_BYTES; at += 8 * PAGE_BYTES)
		madvise(area + at + PAGE_BYTES, 7 * PAGE_BYTES, MADV_DONTNEED);
	moved = proc_kb("/proc/vmstat", "pgmigrate_success ");
	before = ticks();
	written = write(fd, "1", 1);
	before = ticks() - before - empty;
	close(fd);
	moved = proc_kb("/proc/vmstat", "pgmigrate_success ") - moved;
	if (written != 1 || moved == 0)
		die("bench: compact_memory moved %lu pages: %s", moved, strerror(errno));
	print("compact_page", before / moved);
	munmap(area, AREA_BYTES);
}

static void row_munmap(const char *name, int advice, unsigned long page)
{
	for (int i = 0; i < 3; i++) {
		char *area = area_new(AREA_BYTES, advice);
		unsigned long before;

		for (unsigned long at = 0; at < AREA_BYTES; at += PAGE_BYTES)
			touch_write(area + at, 1);
		before = ticks();
		munmap(area, AREA_BYTES);
		samples[i] = ticks() - before - empty;
	}
	print(name, median(3) / (AREA_BYTES / page));
}

static void row_munmap_4k(void)
{
	row_munmap("munmap_4k", MADV_NOHUGEPAGE, PAGE_BYTES);
}

static void row_munmap_2m(void)
{
	row_munmap("munmap_2m", NO_ADVICE, HUGE_BYTES);
}

/* Rights of areas of one huge page each, which lie apart: the huge leaf changes whole. */
static void row_mprotect_2m(void)
{
	for (unsigned long i = 0; i < HUGE_NR; i++) {
		char *area = area_map(i * 2 * HUGE_BYTES, HUGE_BYTES, RW, 0);
		unsigned long before;
		int answer;

		if (area == MAP_FAILED)
			die("bench: cannot map: %s", strerror(errno));
		touch_write(area, 1);
		before = ticks();
		answer = mprotect(area, HUGE_BYTES, PROT_READ);
		samples[i] = ticks() - before - empty;
		if (answer)
			die("bench: mprotect: %s", strerror(errno));
	}
	print("mprotect_2m", median(HUGE_NR));
	munmap((char *)AREA_BASE, HUGE_NR * 2 * HUGE_BYTES);
}

/* 4 KiB of a huge page given back: its mapping is split, and the page waits on the deferred queue. */
static void row_dontneed_4k(void)
{
	char *area = area_new(AREA_BYTES, NO_ADVICE);

	for (unsigned long at = 0; at < AREA_BYTES; at += HUGE_BYTES)
		touch_write(area + at, 1);
	for (unsigned long i = 0; i < HUGE_NR; i++) {
		unsigned long before = ticks();
		int answer =
			madvise(area + i * HUGE_BYTES + HUGE_BYTES / 2, PAGE_BYTES, MADV_DONTNEED);

		samples[i] = ticks() - before - empty;
		if (answer)
			die("bench: MADV_DONTNEED: %s", strerror(errno));
	}
	print("dontneed_4k_in_2m", median(HUGE_NR));
	munmap(area, AREA_BYTES);
}

/* All of /proc/self/smaps while an area of 64 MiB is mapped by 4 KiB pages. */
static void row_smaps(void)
{
	char *area = area_new(AREA_BYTES, MADV_NOHUGEPAGE);
	/* Memory that is there anyway: the rows of fork count pages. */
	char *text = (char *)(samples + 64);

	for (unsigned long at = 0; at < AREA_BYTES; at += PAGE_BYTES)
		touch_write(area + at, 1);
	for (int i = 0; i < 5; i++) {
		unsigned long before = ticks();
		int fd = open("/proc/self/smaps", O_RDONLY);
		ssize_t got;

		do
			got = read(fd, text, 16 * KIB);
		while (got > 0);
		close(fd);
		samples[i] = ticks() - before - empty;
		if (got < 0)
			die("bench: smaps: %s", strerror(errno));
	}
	print("smaps_64m_4k", median(5));
	munmap(area, AREA_BYTES);
}

/* A 4 KiB write fault in each of many one-page areas; every second page is a hole. */
static void row_vmas(void)
{
	static const unsigned long counts[] = {16, 1000, 65000};
	char name[32];

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		unsigned long nr = counts[i] < SMALL_NR ? counts[i] : SMALL_NR;
		unsigned long step = counts[i] / nr * 2 * PAGE_BYTES;

		for (unsigned long j = 0; j < counts[i]; j++) {
			if (area_map(j * 2 * PAGE_BYTES, PAGE_BYTES, RW, 0) == MAP_FAILED)
				die("bench: area %lu: %s", j, strerror(errno));
		}
		snprintf(name, sizeof(name), "4k_write_vmas_%lu", counts[i]);
		print(name, touch_median((char *)AREA_BASE, step, nr, true));
		munmap((char *)AREA_BASE, counts[i] * 2 * PAGE_BYTES);
	}
}

/* ---- two tasks ------------------------------------------------------------------------------ */

#define TRIPS    500
#define FORKS    50
#define PAGES_NR 256 /* faults that a pager serves, by 4 KiB; eight by 2 MiB */

static int fork_or_die(void)
{
	int pid = fork();

	if (pid < 0)
		die("bench: fork: %s", strerror(errno));
	return pid;
}

static void row_forwarded(void)
{
	for (int i = 0; i < 1000; i++) {
		unsigned long before = ticks(), answer = SYS_getpgrp;

		__asm__ volatile("syscall" : "+a"(answer) : : "rcx", "r11", "memory");
		samples[i] = ticks() - before - empty;
	}
	print("forwarded", median(1000));
}

/* The child answers every message with its own words. It is killed, as it waits for ever. */
static void row_message(void)
{
	struct message m = {.label = 1};
	long endpoint = endpoint_create(), send, error = 0;
	int pid;

	if (endpoint < 0)
		return;
	pid = fork_or_die();
	while (pid == 0) {
		struct message got = {0};

		for (error = ipc_receive(endpoint, &got, DEADLINE_NEVER); !error;)
			error = ipc_reply_receive(endpoint, &got, &got, DEADLINE_NEVER);
		_exit(1);
	}
	send = handle_duplicate(endpoint, RIGHT_SEND, 0);
	handle_close(endpoint); /* should the child end, nobody could answer any more */
	for (int i = -10; i < TRIPS && !error; i++) {
		unsigned long before = ticks();

		error = ipc_call(send, &m, DEADLINE_NEVER);
		samples[i < 0 ? 0 : i] = ticks() - before - empty;
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	handle_close(send);
	if (error)
		die("bench: a message: error %ld", error);
	print("message", median(TRIPS));
}

static void row_pipe(void)
{
	int there[2], back[2], pid;
	char c = 0;

	if (pipe(there) || pipe(back))
		die("bench: pipe: %s", strerror(errno));
	pid = fork_or_die();
	if (pid == 0) {
		close(there[1]);
		while (read(there[0], &c, 1) == 1 && write(back[1], &c, 1) == 1)
			;
		_exit(0);
	}
	for (int i = -10; i < TRIPS; i++) {
		unsigned long before = ticks();

		if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1)
			die("bench: a byte got lost");
		samples[i < 0 ? 0 : i] = ticks() - before - empty;
	}
	for (int i = 0; i < 2; i++) {
		close(there[1 - i]);
		close(back[i]);
	}
	child_wait(pid);
	print("pipe", median(TRIPS));
}

/* fork + exit + wait, or with a program in between. */
static void row_children(const char *name, const char *program)
{
	for (int i = -3; i < FORKS; i++) {
		unsigned long before = ticks();
		int status, pid = fork_or_die();

		if (pid == 0) {
			if (program)
				execl(program, program, "--nothing", (char *)NULL);
			_exit(program != NULL);
		}
		if (waitpid(pid, &status, 0) != pid || status)
			die("bench: the child of %s failed", name);
		samples[i < 0 ? 0 : i] = ticks() - before - empty;
	}
	print(name, median(FORKS));
}

static void row_fork_exit(void)
{
	row_children("fork_exit", NULL);
}

static void row_fork_exec(void)
{
	row_children("fork_exec", "/bin/bench");
}

/* Until fork returns here; the child ends when the pipe is closed. */
static void row_fork_alone(const char *name, int advice, unsigned long step)
{
	char *area = area_new(AREA_BYTES, advice);

	for (unsigned long at = 0; at < AREA_BYTES; at += step)
		touch_write(area + at, 1);
	for (int i = 0; i < 5; i++) {
		unsigned long before;
		int ends[2], pid;
		char c;

		if (pipe(ends))
			die("bench: pipe: %s", strerror(errno));
		before = ticks();
		pid = fork_or_die();
		samples[i] = ticks() - before - empty;
		close(ends[1]);
		if (pid == 0)
			_exit(read(ends[0], &c, 1) != 0);
		close(ends[0]);
		if (child_wait(pid))
			die("bench: the child of %s failed", name);
	}
	munmap(area, AREA_BYTES);
	print(name, median(5));
}

static void row_fork_huge(void)
{
	row_fork_alone("fork_64m_huge", NO_ADVICE, HUGE_BYTES);
}

static void row_fork_small(void)
{
	row_fork_alone("fork_64m_4k", MADV_NOHUGEPAGE, PAGE_BYTES);
}

/* The child: gives the next of the pages it has filled to whoever asks. Does not return. */
static void pager_run(uint32_t endpoint, unsigned long page, char *next)
{
	struct message m = {0};
	long error = ipc_receive(endpoint, &m, DEADLINE_NEVER);

	for (; !error; next += page) {
		struct pager_supply supply = {
			.endpoint = endpoint,
			.token = m.token,
			.offset = m.word[0] & ~(page - 1),
			.source = (uint64_t)next,
			.bytes = page,
		};

		m.label = pager_supply(&supply) < 0;
		error = ipc_reply_receive(endpoint, &m, &m, DEADLINE_NEVER);
	}
	_exit(1);
}

static void row_pager(const char *name, int advice, unsigned long page, unsigned long nr)
{
	long endpoint = endpoint_create(), memory = memory_create(nr * page);
	struct memory_map map = {.addr = AREA_BASE,
		.bytes = nr * page,
		.prot = PROT_READ,
		.flags = MAP_SHARED | MAP_FIXED_NOREPLACE};
	char *frames;
	int pid;

	if (endpoint < 0)
		return;
	map.memory = memory;
	frames = area_map(AREA_BYTES, nr * page, RW, 0);
	madvise(frames, nr * page, advice);
	pid = fork_or_die();
	if (pid == 0) { /* the frames are the child's alone: it writes them after the fork */
		memset(frames, 1, nr * page);
		pager_run(endpoint, page, frames);
	}
	munmap(frames, nr * page);
	if (memory < 0 || pager_attach(memory, endpoint, 1) || memory_map(&map) != (long)AREA_BASE)
		die("bench: %s: no memory with a pager", name);
	sleep_ms(200); /* the child has filled them */
	print(name, touch_median((char *)AREA_BASE, page, nr, false));
	if (touch_read((char *)AREA_BASE + (nr - 1) * page) != 1)
		die("bench: %s: not the pager's page", name);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	memory_unmap(0, AREA_BASE, nr * page);
	handle_close(memory);
	handle_close(endpoint);
}

static void row_pager_4k(void)
{
	row_pager("pager_4k", MADV_NOHUGEPAGE, PAGE_BYTES, PAGES_NR);
}

static void row_pager_2m(void)
{
	row_pager("pager_2m", MADV_HUGEPAGE, HUGE_BYTES, 8);
}

/* ---- all of them ---------------------------------------------------------------------------- */

static const struct row rows[] = {
	{"4k_write", row_4k_write, false},
	{"64k_write", row_64k_write, false},
	{"4k_read", row_4k_read, false},
	{"4k_cow", row_4k_cow, false},
	{"2m_write", row_2m_write, false},
	{"2m_write_prezero", row_2m_write_prezero, false},
	{"2m_read", row_2m_read, false},
	{"2m_cow_split", row_2m_cow_split, false},
	{"collapse", row_collapse, false},
	{"khugepaged", row_khugepaged, false},
	{"khugepaged_refuse", row_khugepaged_refuse, false},
	{"compact_page", row_compact, false},
	{"munmap_4k", row_munmap_4k, false},
	{"munmap_2m", row_munmap_2m, false},
	{"mprotect_2m", row_mprotect_2m, false},
	{"dontneed_4k_in_2m", row_dontneed_4k, false},
	{"smaps_64m_4k", row_smaps, false},
	{"null_call", row_null_call, false},
	{"vmas", row_vmas, false},
	{"forwarded", row_forwarded, true},
	{"message", row_message, true},
	{"pipe", row_pipe, true},
	{"fork_exit", row_fork_exit, true},
	{"fork_exec", row_fork_exec, true},
	{"fork_64m_huge", row_fork_huge, true},
	{"fork_64m_4k", row_fork_small, true},
	{"pager_4k", row_pager_4k, true},
	{"pager_2m", row_pager_2m, true},
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static unsigned long started;

static void start_told(void)
{
	print("started", started);
	print("used_kb",
		proc_kb("/proc/meminfo", "MemTotal:") - proc_kb("/proc/meminfo", "MemFree:"));
	print("free_kb", proc_kb("/proc/meminfo", "MemFree:"));
}

int main(int argc, char **argv)
{
	started = ticks();
	if (argc == 2 && strcmp(argv[1], "--nothing") == 0) /* what fork_exec runs */
		return 0;
	return rows_main("bench", rows, ROWS, argc, argv, start_told);
}
