/*
 * state.c - settings, khugepaged and the rest of the kernel's state around a scenario.      ring 3
 *
 * Part of the program `scenario`; see scenario.h, and ../scenario.c about khugepaged.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../lib_measure.h"
#include "scenario.h"

/* The shared flags, in the GiB of the areas, so that their pmd table exists. */
#define FLAGS_OFFSET  (512 * MIB)
#define FILLER_OFFSET (32 * KIB * MIB)
#define SETTINGS_MAX  24
#define ASLEEP_MS     "100000000"

static struct {
	char path[128], before[64];
} settings[SETTINGS_MAX];
static int nr_settings;

static void setting_path(const char *name, char *path, size_t size)
{
	snprintf(path, size, "%s%s", *name == '/' ? "" : THP_DIR, name);
}

/* What it was before anything was written, for settings_restore(). */
static void setting_remember(const char *path)
{
	for (int i = 0; i < nr_settings; i++) {
		if (strcmp(settings[i].path, path) == 0)
			return;
	}
	if (nr_settings == SETTINGS_MAX)
		die("scenario: more than %d settings", SETTINGS_MAX);
	if (!setting_read(path, settings[nr_settings].before, sizeof(settings[0].before)))
		return; /* not to be read, as drop_caches on Pagoda: nothing to restore */
	snprintf(settings[nr_settings++].path, sizeof(settings[0].path), "%s", path);
}

/* Write a setting; 0 or an errno value. */
static int setting_try(const char *name, const char *value)
{
	char path[128];

	setting_path(name, path, sizeof(path));
	if (s.depth == 0)
		setting_remember(path);
	return file_write(path, value);
}

static void setting_write(const char *name, const char *value)
{
	int error = setting_try(name, value);

	if (error)
		die("scenario: cannot write %s to %s: %s", value, name, strerror(error));
}

void settings_restore(void)
{
	while (nr_settings--)
		file_write(settings[nr_settings].path, settings[nr_settings].before);
}

/*
 * One whole pass of khugepaged, awaited. A write that arrives between its last look and its sleep is
 * lost, so it is repeated; one that arrives while it scans does nothing more.
 */
static void khugepaged_pass(void)
{
	const char *path = THP_DIR "khugepaged/full_scans";
	unsigned long old = file_number(path, 0);

	for (int i = 0; file_number(path, 0) == old; i++) {
		if (i == 2000)
			die("scenario: khugepaged finished no pass in 20 s");
		if (i % 50 == 0)
			setting_write("khugepaged/scan_sleep_millisecs", ASLEEP_MS);
		sleep_ms(10);
	}
	sleep_ms(20); /* let it go back to sleep */
}

/* The shared page, and the space on khugepaged's list: Linux enters it at its first huge fault. */
void own_pages_map(void)
{
	char *own;

	s.flags = area_map(FLAGS_OFFSET, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED);
	own = area_map(FLAGS_OFFSET + 2 * HUGE_BYTES, HUGE_BYTES, PROT_READ | PROT_WRITE, 0);
	if (s.flags == MAP_FAILED || own == MAP_FAILED)
		die("scenario: cannot map its own pages: %s", strerror(errno));
	touch_write((char *)s.flags, 0);
	if (madvise(own, HUGE_BYTES, MADV_HUGEPAGE) < 0)
		die("scenario: madvise(MADV_HUGEPAGE): %s", strerror(errno));
	touch_write(own, 1);
}

/* The state every scenario starts from; see tests/linux/README.md. */
void state_prepare(void)
{
	setting_write("enabled", "always");
	setting_write("defrag", "madvise");
	setting_write("use_zero_page", "1");
	setting_write("khugepaged/max_ptes_none", "511");
	setting_write("khugepaged/max_ptes_shared", "256");
	setting_write("khugepaged/pages_to_scan", "100000000");
	if (access(THP_DIR "shrink_underused", F_OK) == 0) /* Linux has it since 6.12 */
		setting_write("shrink_underused", "0");
	setting_remember(THP_DIR "khugepaged/scan_sleep_millisecs");
	file_write("/proc/sys/vm/drop_caches", "3");
	own_pages_map();
	sleep_ms(20); /* the pass that the first space of an empty list starts */
	khugepaged_pass();
}

/* In the measured part a refusal is a result; before it, a scenario that cannot be what it says. */
static void step_set(char **words, int nr)
{
	int error = setting_try(words[1], words[2]);

	(void)nr;
	if (error && !s.began)
		die("scenario: cannot write %s to %s: %s", words[2], words[1], strerror(error));
	error_done(error);
}

static void step_set_if_there(char **words, int nr)
{
	char path[128];

	setting_path(words[1], path, sizeof(path));
	if (access(path, F_OK) == 0)
		step_set(words, nr);
}

static void step_khugepaged_pass(char **words, int nr)
{
	unsigned long passes = nr > 1 ? number(words[1]) : 1;

	while (passes--)
		khugepaged_pass();
}

static void step_compact(char **words, int nr)
{
	int error = file_write("/proc/sys/vm/compact_memory", "1");

	(void)words;
	(void)nr;
	error_done(error);
}

static void step_drop_caches(char **words, int nr)
{
	(void)nr;
	error_done(file_write("/proc/sys/vm/drop_caches", words[1]));
}

static void step_sleep(char **words, int nr)
{
	(void)nr;
	sleep_ms(number(words[1]));
}

/* Fill memory with small pages until only LEFT of it is free, and give it back. */
static void step_pressure(char **words, int nr)
{
	unsigned long left_kb = number(words[1]) / KIB, done = 0, size;
	char *filler;

	(void)nr;
	size = proc_kb("/proc/meminfo", "MemTotal:") * KIB & -PAGE_BYTES;
	filler = area_map(FILLER_OFFSET, size, PROT_READ | PROT_WRITE, MAP_NORESERVE);
	if (filler == MAP_FAILED || madvise(filler, size, MADV_NOHUGEPAGE) < 0)
		die("scenario: cannot map the filler: %s", strerror(errno));
	while (done < size && proc_kb("/proc/meminfo", "MemFree:") > left_kb) {
		for (unsigned long end = done + 64 * KIB; done < end && done < size;
			done += PAGE_BYTES)
			touch_write(filler + done, 1);
	}
	munmap(filler, size);
}

static void step_fragment(char **words, int nr)
{
	(void)words;
	memory_fragment(nr > 1);
}

static void step_unfragment(char **words, int nr)
{
	(void)words;
	(void)nr;
	memory_unfragment();
}

static void step_thp_fill(char **words, int nr)
{
	unsigned long at = number(words[1]), end = at + number(words[2]), old;

	(void)nr;
	counters_read(&s.before);
	old = counters_get(&s.before, "thp_fault_fallback");
	for (; at < end; at += HUGE_BYTES) {
		touch_write((char *)s.start + at, 1);
		counters_read(&s.before);
		if (counters_get(&s.before, "thp_fault_fallback") != old)
			return;
	}
	die("scenario: there are still free order-9 blocks");
}

static const struct choice pinned_word[] = {{"pinned", 1}, {NULL, 0}};

const struct verb state_verbs[] = {
	{"set", "ww", step_set, NULL},
	{"set-if-there", "ww", step_set_if_there, NULL},
	{"khugepaged-pass", "?n", step_khugepaged_pass, NULL},
	{"compact", "", step_compact, NULL},
	{"drop-caches", "n", step_drop_caches, NULL},
	{"pressure", "s", step_pressure, NULL},
	{"sleep", "n", step_sleep, NULL},
	{"fragment", "?c", step_fragment, pinned_word},
	{"unfragment", "", step_unfragment, NULL},
	{"thp-fill", "ss", step_thp_fill, NULL},
	{NULL, NULL, NULL, NULL},
};
