/*
 * lib_measure.c - what the programs that measure share: the clock, samples, settings, fragmentation.  ring 3
 *
 * Each row begins with the same settings, with the space on khugepaged's list and the daemon asleep, so a
 * row alone measures what it does among the others. At the end the settings are what they were.
 *
 * KHUGEPAGED works in a thread of its own. Where the kernel tells how long a thread has run (Linux:
 * /proc/PID/schedstat, whose nanoseconds are instructions under -icount), that is what a pass cost. Here
 * this program yields while a pass runs, so that nearly all ticks of that time are the daemon's, and
 * subtracts a pass that has nothing to do.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib_measure.h"

#define ASLEEP_MS     "100000000"
#define LISTED_AT     (1024 * MIB) /* behind all areas of the rows */
#define FILLER_OFFSET (2048 * MIB)
#define BLOCKS_MAX    1024 /* 2 MiB blocks of physical memory: 2 GiB */
#define RESERVE_KB    (40 * KIB)
#define RANGES_NR     32

unsigned long samples[SAMPLES_MAX];
unsigned long empty;

/* ---- samples ---- */

static int compare(const void *a, const void *b)
{
	unsigned long x = *(const unsigned long *)a, y = *(const unsigned long *)b;

	return x < y ? -1 : x > y;
}

unsigned long median(unsigned long nr)
{
	qsort(samples, nr, sizeof(samples[0]), compare);
	return samples[(nr - 1) / 2];
}

void print(const char *name, unsigned long value)
{
	printf("bench %s %ld\n", name, (long)value);
	fflush(stdout);
}

void setting(const char *name, const char *value)
{
	char path[128];
	int error;

	snprintf(path, sizeof(path), "%s%s", *name == '/' ? "" : THP_DIR, name);
	error = file_write(path, value);
	if (error && error != ENOENT)
		die("bench: cannot write %s to %s: %s", value, path, strerror(error));
}

char *area_new(unsigned long size, int advice)
{
	char *area = area_map(0, size, RW, 0);

	if (area == MAP_FAILED || (advice != NO_ADVICE && madvise(area, size, advice) < 0))
		die("bench: cannot map %lu bytes: %s", size, strerror(errno));
	return area;
}

void touch_samples(char *area, unsigned long step, unsigned long nr, bool write)
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
}

unsigned long touch_median(char *area, unsigned long step, unsigned long nr, bool write)
{
	touch_samples(area, step, nr, write);
	return median(nr);
}

char *small_ranges(unsigned long nr, unsigned long missing)
{
	char *area = area_new(nr * HUGE_BYTES, MADV_NOHUGEPAGE);

	for (unsigned long i = 0; i < nr; i++)
		memset(area + i * HUGE_BYTES, 1, HUGE_BYTES - missing * PAGE_BYTES);
	return area;
}

/* ---- khugepaged ---- */

/* The daemon's time so far, or 0 where the kernel does not tell it. It is among the first threads of a kernel. */
static unsigned long daemon_time(void)
{
	static char path[64];
	static bool searched;
	char name[32], file[64];

	for (int pid = 2; !searched && pid < 300; pid++) {
		snprintf(file, sizeof(file), "/proc/%d/comm", pid);
		if (file_read(file, name, sizeof(name)) && strcmp(name, "khugepaged") == 0)
			snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
	}
	searched = true;
	return *path ? file_number(path, 0) : 0;
}

/* What one whole pass takes. A waking may be lost when the daemon is just going to sleep. */
static unsigned long khugepaged_pass(void)
{
	const char *path = THP_DIR "khugepaged/full_scans";
	unsigned long old = file_number(path, 0), before, daemon;

	sleep_ms(50);
	daemon = daemon_time();
	before = ticks();
	setting("khugepaged/scan_sleep_millisecs", ASLEEP_MS);
	for (unsigned long i = 1; file_number(path, 0) == old; i++) {
		if (daemon)
			sleep_ms(10); /* it runs at nice 19 */
		sched_yield();
		if (i % 5000 == 0)
			setting("khugepaged/scan_sleep_millisecs", ASLEEP_MS);
		if (i == 2000000)
			die("bench: khugepaged finished no pass");
	}
	if (!daemon)
		return ticks() - before;
	sleep_ms(50);
	return daemon_time() - daemon;
}

unsigned long khugepaged_per_range(unsigned long missing)
{
	unsigned long idle, busy;
	char *area;

	setting("khugepaged/pages_to_scan", "100000000");
	khugepaged_pass();
	idle = khugepaged_pass();
	area = small_ranges(RANGES_NR, missing);
	khugepaged_pass(); /* refused: MADV_NOHUGEPAGE */
	madvise(area, RANGES_NR * HUGE_BYTES, MADV_HUGEPAGE);
	busy = khugepaged_pass();
	munmap(area, RANGES_NR * HUGE_BYTES);
	return (busy - idle) / RANGES_NR;
}

/* ---- rows ---- */

static struct {
	const char *name, *value; /* what each row begins with */
	bool exists;              /* Linux has no "cow" */
	char before[32];
} settings[] = {
	{"enabled", "always", false, ""}, {"defrag", "madvise", false, ""},
	{"use_zero_page", "1", false, ""}, {"cow", "copy", false, ""}, {"prezero", "0", false, ""},
	{"prezero_pool", "16", false, ""}, {"khugepaged/max_ptes_none", "511", false, ""},
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

static void row_run(void (*run)(void), bool alone)
{
	if (alone)
		munmap((char *)LISTED_AT, HUGE_BYTES);
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

void measure_empty(void)
{
	memset(samples, 1, sizeof(samples));
	for (int i = 0; i < 101; i++) {
		unsigned long before = ticks();

		samples[i] = ticks() - before;
	}
	empty = median(101);
}

static bool row_known(const struct row *rows, int nr, const char *name)
{
	for (int i = 0; i < nr; i++) {
		if (strcmp(name, rows[i].name) == 0)
			return true;
	}
	return false;
}

int rows_main(const char *program, const struct row *rows, int nr, int argc, char **argv,
	void (*first)(void))
{
	const char *name = argc == 2 ? argv[1] : NULL;
	bool list = name && strcmp(name, "--list") == 0;
	bool wrong = argc > 2 || (name && !list && !row_known(rows, nr, name));

	if (wrong)
		fprintf(stderr, "usage: %s [ROW] | --list; the rows are:\n", program);
	for (int i = 0; i < nr && (list || wrong); i++)
		fprintf(list ? stdout : stderr, "%s\n", rows[i].name);
	if (wrong || list)
		return wrong ? 2 : 0;
	measure_empty();
	if (!name && first)
		first();
	settings_save();
	atexit(settings_restore); /* also when a row dies; its children leave by _exit */
	list_enter();
	for (int i = 0; i < nr; i++) {
		if (!name || strcmp(name, rows[i].name) == 0)
			row_run(rows[i].run, rows[i].alone);
	}
	return 0;
}

/* ---- fragmentation ---- */

static char *filler;
static unsigned long filler_size;

/* Keep the first page of ours in each block of 2 MiB and give the others back, in runs. */
static void filler_thin(unsigned long size, bool pinned)
{
	static bool kept[BLOCKS_MAX];
	static unsigned long pfns[HUGE_PAGES];
	unsigned long from = 0;

	memset(kept, 0, sizeof(kept));
	for (unsigned long at = 0; at < size; at += PAGE_BYTES) {
		unsigned long i = at / PAGE_BYTES % HUGE_PAGES, block;

		if (i == 0)
			pfns_of(filler + at, HUGE_PAGES, pfns);
		block = pfns[i] / HUGE_PAGES;
		if (block >= BLOCKS_MAX || kept[block])
			continue;
		kept[block] = true;
		if (at > from)
			madvise(filler + from, at - from, MADV_DONTNEED);
		if (pinned && mlock(filler + at, PAGE_BYTES) < 0)
			die("cannot lock a page: %s", strerror(errno));
		from = at + PAGE_BYTES;
	}
	if (size > from)
		madvise(filler + from, size - from, MADV_DONTNEED);
}

/* The reserve that is never filled, so that no reclaim starts, still has some blocks of order 9. */
void memory_fragment(bool pinned)
{
	unsigned long free_kb = proc_kb("/proc/meminfo", "MemFree:"), done = 0;

	if (free_kb > 2048 * KIB)
		die("fragment wants a guest of at most 2 GiB");
	filler_size = free_kb * KIB & -PAGE_BYTES;
	filler = area_map(FILLER_OFFSET, filler_size, RW, 0);
	if (filler == MAP_FAILED || madvise(filler, filler_size, MADV_NOHUGEPAGE) < 0)
		die("cannot map what fragments memory: %s", strerror(errno));
	while (done < filler_size && proc_kb("/proc/meminfo", "MemFree:") > RESERVE_KB) {
		for (unsigned long end = done + MIB; done < end && done < filler_size;
			done += PAGE_BYTES)
			touch_write(filler + done, 1);
	}
	filler_thin(done, pinned);
}

void memory_unfragment(void)
{
	if (filler)
		munmap(filler, filler_size);
	filler = NULL;
}
