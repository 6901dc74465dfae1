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
 * Each row begins with the same settings, with the space on khugepaged's list and the daemon asleep, so a
 * row alone measures what it does among the others. At the end the settings are what they were.
 *
 * KHUGEPAGED works in a thread of its own. This program yields while a pass runs, so that nearly all
 * ticks of that time are the daemon's, and subtracts a pass that has nothing to do. On Linux the daemon
 * runs at nice 19 and gets little of the processor: there these two rows hold mostly this program's
 * own yields, and the recorded figures come from counting instructions outside.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib.h"

#define RW          (PROT_READ | PROT_WRITE)
#define AREA_BYTES  (64 * MIB)
#define SMALL_NR    4096 /* samples of 4 KiB operations: 16 MiB */
#define HUGE_NR     (AREA_BYTES / HUGE_BYTES)
#define COLLAPSE_NR 16
#define SAMPLES_MAX SMALL_NR
#define NO_ADVICE   -1 /* enabled is always: huge where it fits */
#define ASLEEP_MS   "100000000"
#define LISTED_AT   (1024 * MIB) /* behind all areas of the rows */

static unsigned long samples[SAMPLES_MAX];
static unsigned long empty;

static inline unsigned long ticks(void)
{
	unsigned int low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (unsigned long)high << 32 | low;
}

static int compare(const void *a, const void *b)
{
	unsigned long x = *(const unsigned long *)a, y = *(const unsigned long *)b;

	return x < y ? -1 : x > y;
}

static unsigned long median(unsigned long nr)
{
	qsort(samples, nr, sizeof(samples[0]), compare);
	return samples[(nr - 1) / 2];
}

static void print(const char *name, unsigned long value)
{
	printf("bench %s %ld\n", name, (long)value);
	fflush(stdout);
}

static void setting(const char *name, const char *value)
{
	char path[128];
	int error;

	snprintf(path, sizeof(path), THP_DIR "%s", name);
	error = file_write(path, value);
	if (error && error != ENOENT)
		die("bench: cannot write %s to %s: %s", value, path, strerror(error));
}

static char *area_new(unsigned long size, int advice)
{
	char *area = area_map(0, size, RW, 0);

	if (area == MAP_FAILED || (advice != NO_ADVICE && madvise(area, size, advice) < 0))
		die("bench: cannot map %lu bytes: %s", size, strerror(errno));
	return area;
}

/* Touch `nr` places, `step` apart; each is one sample. */
static unsigned long touch_median(char *area, unsigned long step, unsigned long nr, bool write)
{
	for (unsigned long i = 0; i < nr; i++) {
		volatile char *at = area + i * step;
		unsigned long before;

		if (write) {
			before = ticks();
			*at = 1;
			samples[i] = ticks() - before - empty;
		} else {
			before = ticks();
			(void)*at;
			samples[i] = ticks() - before - empty;
		}
	}
	return median(nr);
}

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

static void row_2m_read(void)
{
	char *area = area_new(AREA_BYTES, NO_ADVICE);

	touch_read(area); /* the huge zero page exists from here on */
	print("2m_read", touch_median(area + HUGE_BYTES, HUGE_BYTES, HUGE_NR - 1, false));
	munmap(area, AREA_BYTES);
}

/* `nr` ranges of 512 small pages, `missing` of them absent at the end of each. */
static char *small_ranges(unsigned long nr, unsigned long missing)
{
	char *area = area_new(nr * HUGE_BYTES, MADV_NOHUGEPAGE);

	for (unsigned long i = 0; i < nr; i++)
		memset(area + i * HUGE_BYTES, 1, HUGE_BYTES - missing * PAGE_BYTES);
	return area;
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

/* Ticks of one whole pass. A waking may be lost when the daemon is just going to sleep. */
static unsigned long khugepaged_pass(void)
{
	const char *path = THP_DIR "khugepaged/full_scans";
	unsigned long old = file_number(path, 0), before;

	sleep_ms(50);
	before = ticks();
	setting("khugepaged/scan_sleep_millisecs", ASLEEP_MS);
	for (unsigned long i = 1; file_number(path, 0) == old; i++) {
		sched_yield();
		if (i % 5000 == 0)
			setting("khugepaged/scan_sleep_millisecs", ASLEEP_MS);
		if (i == 2000000)
			die("bench: khugepaged finished no pass");
	}
	return ticks() - before;
}

/* The cost of one range in a pass over 32 of them that lack `missing` pages each. */
static unsigned long khugepaged_per_range(unsigned long missing)
{
	unsigned long idle, busy;
	char *area;

	setting("khugepaged/pages_to_scan", "100000000");
	khugepaged_pass();
	idle = khugepaged_pass();
	area = small_ranges(HUGE_NR, missing);
	khugepaged_pass(); /* refused: MADV_NOHUGEPAGE */
	madvise(area, AREA_BYTES, MADV_HUGEPAGE);
	busy = khugepaged_pass();
	munmap(area, AREA_BYTES);
	return (busy - idle) / HUGE_NR;
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

static const struct {
	const char *name;
	void (*run)(void);
} rows[] = {
	{"4k_write", row_4k_write},
	{"4k_read", row_4k_read},
	{"4k_cow", row_4k_cow},
	{"2m_write", row_2m_write},
	{"2m_read", row_2m_read},
	{"2m_cow_split", row_2m_cow_split},
	{"collapse", row_collapse},
	{"khugepaged", row_khugepaged},
	{"khugepaged_refuse", row_khugepaged_refuse},
	{"munmap_4k", row_munmap_4k},
	{"munmap_2m", row_munmap_2m},
	{"null_call", row_null_call},
	{"vmas", row_vmas},
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static struct {
	const char *name, *value; /* what each row begins with */
	bool exists;              /* Linux has no "cow" */
	char before[32];
} settings[] = {
	{"enabled", "always", false, ""}, {"defrag", "madvise", false, ""},
	{"use_zero_page", "1", false, ""}, {"cow", "copy", false, ""},
	{"khugepaged/max_ptes_none", "511", false, ""},
	{"khugepaged/pages_to_scan", "4096", false, ""},
	{"khugepaged/scan_sleep_millisecs", ASLEEP_MS, false, ""}, /* the last: wakes the daemon */
};
#define SETTINGS_NR (sizeof(settings) / sizeof(settings[0]))

static void settings_save(void)
{
	char path[128];

	for (size_t i = 0; i < SETTINGS_NR; i++) {
		snprintf(path, sizeof(path), THP_DIR "%s", settings[i].name);
		settings[i].exists =
			setting_read(path, settings[i].before, sizeof(settings[i].before));
	}
}

static void settings_restore(void)
{
	for (size_t i = 0; i < SETTINGS_NR; i++) {
		if (settings[i].exists)
			setting(settings[i].name, settings[i].before);
	}
}

static void row_run(void (*run)(void))
{
	for (size_t i = 0; i < SETTINGS_NR; i++)
		setting(settings[i].name, settings[i].value);
	sleep_ms(50); /* the daemon ends its pass */
	run();
}

/* A huge page at the far end for as long as we run: its fault puts this space on khugepaged's list. */
static void list_enter(void)
{
	char *own = area_map(LISTED_AT, HUGE_BYTES, RW, 0);

	setting("enabled", "always");
	if (own == MAP_FAILED)
		die("bench: cannot map");
	touch_write(own, 1);
}

static void measure_empty(void)
{
	memset(samples, 1, sizeof(samples));
	for (int i = 0; i < 101; i++) {
		unsigned long before = ticks();

		samples[i] = ticks() - before;
	}
	empty = median(101);
}

static void print_start(unsigned long started)
{
	print("started", started);
	print("used_kb",
		proc_kb("/proc/meminfo", "MemTotal:") - proc_kb("/proc/meminfo", "MemFree:"));
	print("free_kb", proc_kb("/proc/meminfo", "MemFree:"));
}

int main(int argc, char **argv)
{
	unsigned long started = ticks();
	const char *name = argc == 2 ? argv[1] : NULL;
	bool list = name && strcmp(name, "--list") == 0, known = !name || list;

	for (size_t i = 0; i < ROWS; i++)
		known |= name && strcmp(name, rows[i].name) == 0;
	if (!known || argc > 2)
		fprintf(stderr, "usage: bench [ROW] | --list; the rows are:\n");
	for (size_t i = 0; i < ROWS && (list || !known || argc > 2); i++)
		fprintf(list ? stdout : stderr, "%s\n", rows[i].name);
	if (!known || argc > 2)
		return 2;
	if (list)
		return 0;
	measure_empty();
	if (!name)
		print_start(started);
	settings_save();
	atexit(settings_restore); /* also when a row dies; its children leave by _exit */
	list_enter();
	for (size_t i = 0; i < ROWS; i++) {
		if (!name || strcmp(name, rows[i].name) == 0)
			row_run(rows[i].run);
	}
	return 0;
}
