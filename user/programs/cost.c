/*
 * cost.c - what `make linux` measures beyond bench.c: the same rows on Linux and on Pagoda.  ring 3
 *
 *   cost [ROW] | --list
 *
 * Prints "bench NAME VALUE" as bench.c does, and lines "hist NAME TICKS NUMBER": how many faults
 * cost about so much (eight steps for each doubling). Every row runs on any kernel with Linux's calls; a
 * row that needs a file which is not there says "absent NAME FILE" instead.
 *
 * WHAT A ROW MEASURES: the call or the touch alone, by medians where it is done many times; how its pages
 * came there is not in the figure. A row of a part of a huge page begins with a fresh huge page each time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib_measure.h"

#define AREA_BYTES (64 * MIB)
#define AREA_PAGES (AREA_BYTES / PAGE_BYTES)
#define HUGE_NR    (AREA_BYTES / HUGE_BYTES)
#define PART_NR    16 /* huge pages that lose a part */
#define TRIPS      500
#define FORKS      50
#define BUCKETS    512

#define FUTEX_WAIT 0 /* musl keeps these to itself */
#define FUTEX_WAKE 1

static void touch_all(char *area, unsigned long size, unsigned long step)
{
	for (unsigned long at = 0; at < size; at += step)
		touch_write(area + at, 1);
}

static char *huge_area(unsigned long size)
{
	char *area = area_new(size, NO_ADVICE);

	touch_all(area, size, HUGE_BYTES);
	return area;
}

static char *small_area(unsigned long size)
{
	char *area = area_new(size, MADV_NOHUGEPAGE);

	touch_all(area, size, PAGE_BYTES);
	return area;
}

/* ---- faults ---- */

/* Eight buckets for each doubling: the lowest value of each is its name. */
static unsigned long bucket_of(unsigned long value)
{
	unsigned long order = 63 - __builtin_clzl(value | 8);

	return (order - 3) * 8 + ((value >> (order - 3)) & 7);
}

static unsigned int histogram[BUCKETS];

static void histogram_add(unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++)
		histogram[bucket_of(samples[i])]++;
}

/* One line for each bucket that is not empty; they are empty afterwards. */
static void histogram_print(const char *name)
{
	for (unsigned long i = 0; i < BUCKETS; i++) {
		if (histogram[i])
			printf("hist %s %lu %u\n", name, (8 + i % 8) << (i / 8), histogram[i]);
	}
	memset(histogram, 0, sizeof(histogram));
}

/*
 * 64 MiB by 4K: the mean holds refills, new tables and ticks; a fault that makes a table too is the first
 * of its 2 MiB.
 */
static void row_touch_small(void)
{
	static unsigned long first[HUGE_NR];
	char *area = area_new(AREA_BYTES, MADV_NOHUGEPAGE);
	unsigned long before = ticks(), sum;

	touch_all(area, AREA_BYTES, PAGE_BYTES);
	sum = ticks() - before;
	munmap(area, AREA_BYTES);
	print("touch_64m_4k", sum);
	print("4k_write_mean", sum / AREA_PAGES);

	area = area_new(AREA_BYTES, MADV_NOHUGEPAGE);
	for (unsigned long i = 0; i < HUGE_NR; i++) {
		touch_samples(area + i * HUGE_BYTES, PAGE_BYTES, HUGE_PAGES, true);
		histogram_add(HUGE_PAGES);
		first[i] = samples[0];
	}
	histogram_print("4k_write");
	memcpy(samples, first, sizeof(first));
	print("4k_write_table", median(HUGE_NR));
	munmap(area, AREA_BYTES);
}

static void row_touch_huge(void)
{
	char *area = area_new(AREA_BYTES, NO_ADVICE);
	unsigned long before = ticks();

	touch_all(area, AREA_BYTES, PAGE_BYTES);
	print("touch_64m_2m", ticks() - before);
	munmap(area, AREA_BYTES);
	area = area_new(AREA_BYTES, NO_ADVICE);
	touch_samples(area, HUGE_BYTES, HUGE_NR, true);
	histogram_add(HUGE_NR);
	histogram_print("2m_write");
	munmap(area, AREA_BYTES);
}

static void row_read_histograms(void)
{
	char *area = area_new(16 * MIB, MADV_NOHUGEPAGE);

	touch_samples(area, PAGE_BYTES, 16 * MIB / PAGE_BYTES, false);
	histogram_add(16 * MIB / PAGE_BYTES);
	histogram_print("4k_read");
	munmap(area, 16 * MIB);
	area = area_new(AREA_BYTES, NO_ADVICE);
	touch_read(area);
	touch_samples(area + HUGE_BYTES, HUGE_BYTES, HUGE_NR - 1, false);
	histogram_add(HUGE_NR - 1);
	histogram_print("2m_read");
	munmap(area, AREA_BYTES);
}

static void row_write_after_read(void)
{
	char *area = area_new(16 * MIB, MADV_NOHUGEPAGE);

	for (unsigned long at = 0; at < 16 * MIB; at += PAGE_BYTES)
		touch_read(area + at);
	print("4k_write_after_read", touch_median(area, PAGE_BYTES, 16 * MIB / PAGE_BYTES, true));
	munmap(area, 16 * MIB);
}

/* Linux 6.1's rule: the huge zero page's entry is split and one page is copied. */
static void row_zero_write(void)
{
	char *area;

	setting("cow", "split");
	area = area_new(AREA_BYTES, NO_ADVICE);
	for (unsigned long at = 0; at < AREA_BYTES; at += HUGE_BYTES)
		touch_read(area + at);
	print("2m_zero_write_split", touch_median(area, HUGE_BYTES, HUGE_NR, true));
	munmap(area, AREA_BYTES);
}

/* The first touch of each 2 MiB finds no block; the others are 4K from the start. */
static void row_fallback(void)
{
	char *area = area_map(PAGE_BYTES, HUGE_BYTES - PAGE_BYTES, RW, 0);

	if (area == MAP_FAILED)
		die("cost: cannot map: %s", strerror(errno));
	touch_write(area, 1);
	print("fallback_no_room", touch_median(area + PAGE_BYTES, PAGE_BYTES, 500, true));
	munmap(area, HUGE_BYTES - PAGE_BYTES);

	setting("defrag", "never");
	memory_fragment(false);
	area = area_new(256 * MIB, NO_ADVICE);
	for (unsigned long at = 0, old = 0, seen = 0; at < 192 * MIB; at += HUGE_BYTES) {
		struct counters counters;

		touch_write(area + at, 1); /* what is left of the free blocks */
		counters_read(&counters);
		seen = counters_get(&counters, "thp_fault_fallback");
		if (at && seen > old)
			break;
		old = seen;
	}
	area += 192 * MIB;
	print("fallback_first", touch_median(area, HUGE_BYTES, PART_NR, true));
	print("fallback_next", touch_median(area + PAGE_BYTES, HUGE_BYTES, PART_NR, true));
	munmap(area - 192 * MIB, 256 * MIB);
	memory_unfragment();
	setting("defrag", "madvise");
}

/* ---- shared pages ---- */

/* Writes of the child to shared huge pages: the first of each splits, the next copies 4K. */
static void row_cow_next(void)
{
	char *area;
	int pid;

	setting("cow", "split");
	area = huge_area(AREA_BYTES);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		touch_all(area, AREA_BYTES, HUGE_BYTES);
		memset(samples, 0, sizeof(samples));
		print("2m_cow_next", touch_median(area + PAGE_BYTES, HUGE_BYTES, HUGE_NR, true));
		_exit(0);
	}
	if (pid < 0 || child_wait(pid) != 0)
		die("cost: the child of 2m_cow_next failed");
	munmap(area, AREA_BYTES);
}

static void reuse(const char *name, char *area, unsigned long step)
{
	int pid = fork();

	if (pid == 0)
		_exit(0);
	if (pid < 0 || child_wait(pid) != 0)
		die("cost: the child of %s failed", name);
	print(name, touch_median(area, step, HUGE_NR, true));
	munmap(area, AREA_BYTES);
}

static void row_reuse(void)
{
	reuse("2m_reuse", huge_area(AREA_BYTES), HUGE_BYTES);
	reuse("4k_reuse", small_area(AREA_BYTES), PAGE_BYTES);
}

/* ---- calls on a part, and on a whole ---- */

enum work {
	DONTNEED,
	UNMAP,
	PROTECT
};

static int work_do(enum work work, char *at, unsigned long size)
{
	if (work == DONTNEED)
		return madvise(at, size, MADV_DONTNEED);
	if (work == UNMAP)
		return munmap(at, size);
	return mprotect(at, size, PROT_READ);
}

/* A part in the middle of every second page of one area, or that whole page: the area is divided. */
static void part_row(const char *name, enum work work, bool huge, unsigned long size)
{
	unsigned long bytes = PART_NR * HUGE_BYTES;
	char *area = huge ? huge_area(bytes) : small_area(bytes);

	for (unsigned long i = 1; i < PART_NR; i += 2) {
		char *at = area + i * HUGE_BYTES + (size < HUGE_BYTES ? MIB : 0);
		unsigned long before = ticks();
		int answer = work_do(work, at, size);

		samples[i / 2] = ticks() - before - empty;
		if (answer)
			die("cost: %s: %s", name, strerror(errno));
	}
	print(name, median(PART_NR / 2));
	munmap(area, bytes);
}

/* The whole of an area of 2 MiB: no area is divided. */
static void whole_row(const char *name, enum work work, bool huge)
{
	for (unsigned long i = 0; i < PART_NR; i++) {
		char *area = huge ? huge_area(HUGE_BYTES) : small_area(HUGE_BYTES);
		unsigned long before = ticks();
		int answer = work_do(work, area, HUGE_BYTES);

		samples[i] = ticks() - before - empty;
		if (answer)
			die("cost: %s: %s", name, strerror(errno));
		munmap(area, HUGE_BYTES);
	}
	print(name, median(PART_NR));
}

static void row_part(void)
{
	part_row("dontneed_4k_in_4k", DONTNEED, false, PAGE_BYTES);
	part_row("munmap_4k_in_2m", UNMAP, true, PAGE_BYTES);
	part_row("munmap_4k_in_4k", UNMAP, false, PAGE_BYTES);
	part_row("mprotect_4k_in_2m", PROTECT, true, PAGE_BYTES);
	part_row("mprotect_4k_in_4k", PROTECT, false, PAGE_BYTES);
}

static void row_whole(void)
{
	whole_row("dontneed_2m", DONTNEED, true);
	whole_row("dontneed_2m_by_4k", DONTNEED, false);
	part_row("mprotect_2m_in_more", PROTECT, true, HUGE_BYTES);
	whole_row("mprotect_2m_by_4k", PROTECT, false);
}

static void row_munmap_64m(void)
{
	for (int huge = 0; huge < 2; huge++) {
		char *area = huge ? huge_area(AREA_BYTES) : small_area(AREA_BYTES);
		unsigned long before = ticks();

		munmap(area, AREA_BYTES);
		print(huge ? "munmap_64m_2m" : "munmap_64m_4k", ticks() - before - empty);
	}
}

static void row_mmap(void)
{
	for (int touched = 0; touched < 2; touched++) {
		for (int i = -10; i < TRIPS; i++) {
			unsigned long before = ticks();
			char *page = mmap(NULL, PAGE_BYTES, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

			if (touched)
				touch_write(page, 1);
			munmap(page, PAGE_BYTES);
			samples[i < 0 ? 0 : i] = ticks() - before - empty;
		}
		print(touched ? "mmap_touch_munmap" : "mmap_munmap", median(TRIPS));
	}
}

/* ---- promotion ---- */

static void row_collapse(void)
{
	static const unsigned long present[] = {256, 64, 1};
	char name[32];

	for (int n = 0; n < 3; n++) {
		char *area = small_ranges(PART_NR, HUGE_PAGES - present[n]);

		madvise(area, PART_NR * HUGE_BYTES, MADV_HUGEPAGE);
		for (int i = 0; i < PART_NR; i++) {
			unsigned long before = ticks();
			int answer = madvise(area + i * HUGE_BYTES, HUGE_BYTES, MADV_COLLAPSE);

			samples[i] = ticks() - before - empty;
			if (answer < 0)
				die("cost: MADV_COLLAPSE: %s", strerror(errno));
		}
		snprintf(name, sizeof(name), "collapse_%lu", present[n]);
		print(name, median(PART_NR));
		munmap(area, PART_NR * HUGE_BYTES);
	}
}

static void row_khugepaged(void)
{
	print("khugepaged_256", khugepaged_per_range(256));
	print("khugepaged_64", khugepaged_per_range(448));
	print("khugepaged_1", khugepaged_per_range(511));
}

/* ---- compaction ---- */

static unsigned long vmstat(const char *field)
{
	return proc_kb("/proc/vmstat", field);
}

/* The same fragmented state on both kernels: one small page kept in each 2 MiB block. */
static void row_compact(void)
{
	int fd = open("/proc/sys/vm/compact_memory", O_WRONLY);
	unsigned long moved, before;

	if (fd < 0) {
		printf("absent compact_page /proc/sys/vm/compact_memory\n");
		return;
	}
	memory_fragment(false);
	moved = vmstat("pgmigrate_success ");
	before = ticks();
	if (write(fd, "1", 1) != 1)
		die("cost: compact_memory: %s", strerror(errno));
	before = ticks() - before - empty;
	close(fd);
	moved = vmstat("pgmigrate_success ") - moved;
	memory_unfragment();
	print("compact_pages", moved);
	if (moved)
		print("compact_page", before / moved);
}

/* ---- processes ---- */

static void row_getppid(void)
{
	for (int i = 0; i < 1000; i++) {
		unsigned long before = ticks(), answer = SYS_getppid;

		__asm__ volatile("syscall" : "+a"(answer) : : "rcx", "r11", "memory");
		samples[i] = ticks() - before - empty;
	}
	print("getppid", median(1000));
}

static void row_pipe_self(void)
{
	int ends[2];
	char c = 0;

	if (pipe(ends))
		die("cost: pipe: %s", strerror(errno));
	for (int i = -10; i < TRIPS; i++) {
		unsigned long before = ticks();

		if (write(ends[1], &c, 1) != 1 || read(ends[0], &c, 1) != 1)
			die("cost: a byte got lost");
		samples[i < 0 ? 0 : i] = ticks() - before - empty;
	}
	close(ends[0]);
	close(ends[1]);
	print("pipe_self", median(TRIPS));
}

static void futex_wait(volatile int *word, int value)
{
	while (*word == value)
		syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

static void futex_set(volatile int *word, int value)
{
	*word = value;
	syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Two processes, two words of a shared page: mine says whose turn it is. */
static void row_futex(void)
{
	volatile int *words = area_map(0, PAGE_BYTES, RW, MAP_SHARED);
	int pid;

	if (words == MAP_FAILED)
		die("cost: cannot map shared memory: %s", strerror(errno));
	words[0] = words[16] = 0;
	pid = fork();
	for (int i = 0; pid == 0; i ^= 1) {
		futex_wait(&words[0], i);
		if (words[0] == 2)
			_exit(0);
		futex_set(&words[16], i ^ 1);
	}
	if (pid < 0)
		die("cost: fork: %s", strerror(errno));
	for (int i = -10; i < TRIPS; i++) {
		int turn = words[0];
		unsigned long before = ticks();

		futex_set(&words[0], turn ^ 1);
		futex_wait(&words[16], turn);
		samples[i < 0 ? 0 : i] = ticks() - before - empty;
	}
	futex_set(&words[0], 2);
	child_wait(pid);
	print("futex", median(TRIPS));
	munmap((void *)words, PAGE_BYTES);
}

static int vfork_exec(void)
{
	int pid = vfork();

	if (pid == 0) {
		execl("/bin/bench", "/bin/bench", "--nothing", (char *)NULL);
		_exit(1);
	}
	return pid;
}

static void row_vfork_exec(void)
{
	for (int i = -3; i < FORKS; i++) {
		unsigned long before = ticks();
		int status, pid = vfork_exec();

		if (waitpid(pid, &status, 0) != pid || status)
			die("cost: the child of vfork_exec failed");
		samples[i < 0 ? 0 : i] = ticks() - before - empty;
	}
	print("vfork_exec", median(FORKS));
}

static const struct row rows[] = {
	{"touch_small", row_touch_small, false},
	{"touch_huge", row_touch_huge, false},
	{"read_histograms", row_read_histograms, false},
	{"4k_write_after_read", row_write_after_read, false},
	{"2m_zero_write_split", row_zero_write, false},
	{"2m_cow_next", row_cow_next, false},
	{"reuse", row_reuse, false},
	{"part", row_part, false},
	{"whole", row_whole, false},
	{"munmap_64m", row_munmap_64m, false},
	{"mmap", row_mmap, false},
	{"collapse", row_collapse, false},
	{"khugepaged", row_khugepaged, false},
	{"getppid", row_getppid, true},
	{"pipe_self", row_pipe_self, true},
	{"futex", row_futex, true},
	{"vfork_exec", row_vfork_exec, true},
	{"fallback", row_fallback, false},
	{"compact_page", row_compact, false},
};

int main(int argc, char **argv)
{
	return rows_main("cost", rows, sizeof(rows) / sizeof(rows[0]), argc, argv, NULL);
}
