/*
 * scenario.c - perform one scenario and print what the kernel made of it.                   ring 3
 *
 *   scenario NAME | --list | --do "STEP; STEP ..."
 *
 * The scenarios are data: tests/linux/scenarios.txt, which explains each step and is part of this
 * binary. The same binary runs on Linux and on Pagoda and prints one line of JSON, with the fields of
 * tests/linux/oracle.json; tests/linux/judge.py compares. It judges nothing itself.
 *
 * WHAT IS MEASURED lies between `begin` and `end`: the thp_* counters of /proc/vmstat, minor faults,
 * VmPTE, the result of the last call; then smaps and the page layout of the area as they stand.
 *
 * KHUGEPAGED would change what is being measured, so it sleeps. Its rules, as Linux has them: an empty
 * list makes it scan when the first space arrives, so this program enters its own space first; each
 * write to scan_sleep_millisecs wakes it once; with pages_to_scan larger than everything one waking
 * is one whole pass, after which full_scans has grown by one.
 *
 * A CHILD prints its part of the line before the parent goes on, and a child that "holds" needs to
 * learn when the parent is done without signals, pipes or shared memory: both look at one page they
 * share since fork; the parent drops its copy, and the child sees its own Pss rise to the full page.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib.h"

__asm__(".section .rodata\n"
	"scenarios_text: .incbin \"tests/linux/scenarios.txt\"\n"
	".byte 0\n"
	".previous\n");
extern const char scenarios_text[];

#define STEPS_MAX 64
#define WORDS_MAX 5
/* The page that tells a child to go; in the GiB of the areas, so that their pmd table exists. */
#define FLAG_OFFSET   (512 * MIB)
#define FILLER_OFFSET (2048 * MIB)
#define ASLEEP_MS     "100000000"

struct step {
	bool child;
	int nr_words;
	char *words[WORDS_MAX];
};

static struct {
	struct step steps[STEPS_MAX];
	int nr_steps;
	char text[4096];

	unsigned long start, size;          /* the area */
	unsigned long pages_at, pages_size; /* what to describe page by page */
	bool show_eligible, checked, began, ended, is_child;
	int child; /* pid of the last child, 0 none */
	bool child_holds, child_printed;
	char *flag;

	int rc, error;
	unsigned long mismatches, faults, table_kb;
	struct counters before, after;
	struct smaps_sum sum;
	struct layout layout;
} s;

static const char *const settings[] = {"enabled", "defrag", "use_zero_page",
	"khugepaged/max_ptes_none", "khugepaged/max_ptes_shared", "khugepaged/pages_to_scan",
	"khugepaged/scan_sleep_millisecs"};
#define SETTINGS_NR (sizeof(settings) / sizeof(settings[0]))
static char settings_before[SETTINGS_NR][32];

/* ---- settings and khugepaged ---- */

static void setting_write(const char *name, const char *value)
{
	char path[128];
	int error;

	snprintf(path, sizeof(path), THP_DIR "%s", name);
	error = file_write(path, value);
	if (error)
		die("scenario: cannot write %s to %s: %s", value, path, strerror(error));
}

static void settings_save(void)
{
	char path[128];

	for (size_t i = 0; i < SETTINGS_NR; i++) {
		snprintf(path, sizeof(path), THP_DIR "%s", settings[i]);
		if (!setting_read(path, settings_before[i], sizeof(settings_before[i])))
			die("scenario: cannot read %s", path);
	}
}

static void settings_restore(void)
{
	for (size_t i = 0; i < SETTINGS_NR; i++)
		setting_write(settings[i], settings_before[i]);
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

/* The state every scenario starts from; see the head of scenarios.txt. */
static void state_prepare(void)
{
	char *own;

	setting_write("enabled", "always");
	setting_write("defrag", "madvise");
	setting_write("use_zero_page", "1");
	setting_write("khugepaged/max_ptes_none", "511");
	setting_write("khugepaged/max_ptes_shared", "256");
	setting_write("khugepaged/pages_to_scan", "100000000");
	file_write("/proc/sys/vm/drop_caches", "3");

	s.flag = area_map(FLAG_OFFSET, PAGE_BYTES, PROT_READ | PROT_WRITE, 0);
	own = area_map(FLAG_OFFSET + 2 * HUGE_BYTES, HUGE_BYTES, PROT_READ | PROT_WRITE, 0);
	if (s.flag == MAP_FAILED || own == MAP_FAILED)
		die("scenario: cannot map its own pages: %s", strerror(errno));
	touch_write(s.flag, 1);
	if (madvise(own, HUGE_BYTES, MADV_HUGEPAGE) < 0)
		die("scenario: madvise(MADV_HUGEPAGE): %s", strerror(errno));
	touch_write(own, 1); /* Linux enters a space at its first huge fault, not before */
	sleep_ms(20);        /* the pass that the first space of an empty list starts */
	khugepaged_pass();
}

/* ---- steps ---- */

static unsigned long number(const char *text)
{
	unsigned long value;

	if (*text == '+')
		text++;
	if (!size_parse(text, &value))
		die("scenario: \"%s\" is not a size", text);
	return value;
}

static void call_done(long result)
{
	s.error = result == -1 ? errno : 0;
	s.rc = result;
}

static void step_set(char **words, int nr)
{
	(void)nr;
	setting_write(words[1], words[2]);
}

static void area_is(unsigned long start, unsigned long size)
{
	s.start = s.pages_at = start;
	s.size = s.pages_size = size;
}

static void step_map(char **words, int nr)
{
	unsigned long offset = 0, size = number(words[1]);
	int flags = 0;
	char *area;

	for (int i = 2; i < nr; i++) {
		if (*words[i] == '+')
			offset = number(words[i]);
		else if (strcmp(words[i], "shared") == 0)
			flags = MAP_SHARED;
		else
			flags = MAP_POPULATE;
	}
	area = area_map(offset, size, PROT_READ | PROT_WRITE, flags);
	if (area == MAP_FAILED)
		die("scenario: cannot map %s: %s", words[1], strerror(errno));
	call_done(0);
	area_is((unsigned long)area, size);
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
}

static void step_brk(char **words, int nr)
{
	unsigned long start = break_set(0), size = number(words[1]);

	(void)nr;
	call_done(break_set(start + size) == start + size ? 0 : -1);
	area_is(start, size);
}

static void step_touch(char **words, int nr)
{
	unsigned long at = number(words[1]);
	unsigned long end = nr > 3 ? at + number(words[2]) : at + 1;
	unsigned long step = nr > 3 ? number(words[3]) : 1;
	bool write = words[0][0] == 'w';

	for (; at < end; at += step) {
		if (write)
			touch_write((char *)s.start + at, 1);
		else
			touch_read((char *)s.start + at);
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

static void step_mlock(char **words, int nr)
{
	(void)nr;
	call_done(mlock((char *)s.start + number(words[1]), number(words[2])));
}

static void step_madvise(char **words, int nr)
{
	static const struct {
		const char *name;
		int advice;
	} advices[] = {
		{"hugepage", MADV_HUGEPAGE},
		{"nohugepage", MADV_NOHUGEPAGE},
		{"dontneed", MADV_DONTNEED},
		{"free", MADV_FREE},
		{"collapse", MADV_COLLAPSE},
		{"populate-read", MADV_POPULATE_READ},
		{"populate-write", MADV_POPULATE_WRITE},
	};

	(void)nr;
	for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
		if (strcmp(words[3], advices[i].name) == 0) {
			call_done(madvise((char *)s.start + number(words[1]), number(words[2]),
				advices[i].advice));
			return;
		}
	}
	die("scenario: unknown advice %s", words[3]);
}

static void step_mprotect(char **words, int nr)
{
	int rights = words[3][0] == 'n' ? PROT_NONE : PROT_READ;

	(void)nr;
	if (strcmp(words[3], "rw") == 0)
		rights |= PROT_WRITE;
	call_done(mprotect((char *)s.start + number(words[1]), number(words[2]), rights));
}

static void step_munmap(char **words, int nr)
{
	(void)nr;
	call_done(munmap((char *)s.start + number(words[1]), number(words[2])));
}

static void step_mremap(char **words, int nr)
{
	char *want = (char *)AREA_BASE + number(words[2]);
	void *got = mremap(
		(void *)s.start, s.size, number(words[1]), MREMAP_MAYMOVE | MREMAP_FIXED, want);

	(void)nr;
	call_done(got == MAP_FAILED ? -1 : 0);
	if (got != MAP_FAILED)
		area_is((unsigned long)got, number(words[1]));
}

static void step_thp_disable(char **words, int nr)
{
	(void)nr;
	call_done(prctl(PR_SET_THP_DISABLE, number(words[1]), 0, 0, 0));
}

static void step_thp_disabled(char **words, int nr)
{
	(void)words;
	(void)nr;
	call_done(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
}

static void step_khugepaged_pass(char **words, int nr)
{
	(void)words;
	(void)nr;
	khugepaged_pass();
}

static void step_pages(char **words, int nr)
{
	(void)nr;
	s.pages_at = s.start + number(words[1]);
	s.pages_size = number(words[2]);
}

static void step_show(char **words, int nr)
{
	(void)words;
	(void)nr;
	s.show_eligible = true;
}

static void step_skip(char **words, int nr)
{
	(void)words;
	(void)nr;
	fprintf(stderr, "scenario: skipped, see tests/linux/scenarios.txt for the reason\n");
	exit(77);
}

/* ---- fragmentation ---- */

#define BLOCKS_MAX 1024 /* 2 MiB blocks of physical memory: 2 GiB */
#define RESERVE_KB (40 * KIB)

/*
 * Fill memory with 4 KiB pages, keep one in each 2 MiB block and give the others back: no block of
 * order 9 is left where one of our pages lies. The reserve that was never filled, so that no reclaim
 * starts, still has some: thp-fill takes those.
 */
static void step_fragment(char **words, int nr)
{
	static bool kept[BLOCKS_MAX];
	unsigned long free_kb = proc_kb("/proc/meminfo", "MemFree:"), size, done = 0;
	char *filler;

	(void)words;
	(void)nr;
	if (free_kb > 2048 * KIB)
		die("scenario: fragment wants a guest of at most 2 GiB");
	size = free_kb * KIB & -PAGE_BYTES;
	filler = area_map(FILLER_OFFSET, size, PROT_READ | PROT_WRITE, 0);
	if (filler == MAP_FAILED || madvise(filler, size, MADV_NOHUGEPAGE) < 0)
		die("scenario: cannot map the filler: %s", strerror(errno));
	while (done < size && proc_kb("/proc/meminfo", "MemFree:") > RESERVE_KB) {
		for (unsigned long end = done + MIB; done < end && done < size; done += PAGE_BYTES)
			touch_write(filler + done, 1);
	}
	for (unsigned long at = 0, from = 0; at <= done; at += PAGE_BYTES) {
		unsigned long block = at < done ? pfn_of(filler + at) / HUGE_PAGES : 0;

		if (at < done && (block >= BLOCKS_MAX || kept[block]))
			continue;
		kept[block] = true;
		if (at > from)
			madvise(filler + from, at - from, MADV_DONTNEED);
		from = at + PAGE_BYTES;
	}
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

/* ---- the measured part ---- */

static void step_begin(char **words, int nr)
{
	(void)words;
	(void)nr;
	s.began = true;
	s.rc = s.error = 0;
	s.table_kb = proc_kb("/proc/self/status", "VmPTE:");
	counters_read(&s.after);
	counters_read(&s.before);
	s.faults = faults_minor();
}

static void step_end(char **words, int nr)
{
	(void)words;
	(void)nr;
	s.faults = faults_minor() - s.faults;
	s.ended = true;
	counters_read(&s.after);
	s.table_kb = proc_kb("/proc/self/status", "VmPTE:") - s.table_kb;
	if (!smaps_read(s.start, s.start + s.size, &s.sum))
		die("scenario: cannot read /proc/self/smaps");
	if (!layout_read(s.pages_at, s.pages_at + s.pages_size, &s.layout))
		die("scenario: cannot read /proc/self/pagemap or /proc/kpageflags");
}

static void print_smaps(void)
{
	printf("\"vmas\": %lu, \"size_kb\": %lu, \"rss_kb\": %lu, \"pss_kb\": %lu, "
	       "\"anon_kb\": %lu, \"anon_huge_kb\": %lu",
		s.sum.vmas, s.sum.size, s.sum.rss, s.sum.pss, s.sum.anon, s.sum.anon_huge);
}

static void print_pages(void)
{
	printf("\"present\": %lu, \"zero\": %lu, \"in_compound\": %lu, \"per_2m\": \"%s\"",
		s.layout.present, s.layout.zero, s.layout.in_compound, s.layout.per_2m);
}

static void print_delta(void)
{
	const char *comma = "";

	printf("\"delta\": {");
	for (int i = 0; i < s.after.nr; i++) {
		long moved = s.after.at[i].value - counters_get(&s.before, s.after.at[i].name);

		if (moved) {
			printf("%s\"%s\": %ld", comma, s.after.at[i].name, moved);
			comma = ", ";
		}
	}
	printf("}");
}

static void print_extras(void)
{
	if (s.checked)
		printf(", \"mismatches\": %lu", s.mismatches);
	if (s.show_eligible)
		printf(", \"eligible\": %ld", s.sum.eligible);
}

static void print_record(const char *name)
{
	printf("%s\"name\": \"%s\", ", s.child_printed ? ", " : "{", name);
	print_delta();
	printf(", \"minflt\": %lu, \"pagetable_kb\": %ld, \"rc\": %d, \"errno\": %d, \"smaps\": {",
		s.faults, (long)s.table_kb, s.rc, s.error);
	print_smaps();
	printf("}, \"pages\": {");
	print_pages();
	printf("}");
	print_extras();
	printf("}\n");
	fflush(stdout);
}

/* ---- children ---- */

static void step_record(char **words, int nr)
{
	step_end(words, nr);
	printf("{\"child\": {");
	print_smaps();
	printf(", ");
	print_pages();
	print_extras();
	printf("}");
	fflush(stdout);
}

static void step_hold(char **words, int nr)
{
	struct smaps_sum sum;

	(void)words;
	(void)nr;
	for (int i = 0; i < 6000; i++) {
		smaps_read((unsigned long)s.flag, (unsigned long)s.flag + 1, &sum);
		if (sum.pss == PAGE_BYTES / KIB)
			return;
		sleep_ms(10);
	}
	_exit(3);
}

static void child_collect(void)
{
	int status;

	if (!s.child)
		return;
	status = child_wait(s.child);
	s.child = 0;
	s.child_holds = false;
	if (status)
		die("scenario: the child ended with %d", status);
}

static void step_wait(char **words, int nr)
{
	(void)words;
	(void)nr;
	child_collect();
	call_done(0);
}

static void step_release(char **words, int nr)
{
	(void)words;
	(void)nr;
	madvise(s.flag, PAGE_BYTES, MADV_DONTNEED);
	child_collect();
}

static void steps_run(int first, bool child);

static void child_run(int first)
{
	s.is_child = true;
	s.child = 0;
	s.checked = false;
	s.mismatches = 0;
	steps_run(first, true);
	_exit(0);
}

/* The child's lines follow the fork directly. */
static void step_fork(int at)
{
	int first = at + 1;

	s.child = fork();
	if (s.child < 0)
		die("scenario: fork: %s", strerror(errno));
	if (s.child == 0)
		child_run(first);
	for (int i = first; i < s.nr_steps && s.steps[i].child; i++) {
		s.child_holds |= strcmp(s.steps[i].words[0], "hold") == 0;
		s.child_printed |= strcmp(s.steps[i].words[0], "record") == 0;
	}
	call_done(0);
}

/* ---- running ---- */

static const struct {
	const char *name;
	int words_min, words_max;
	void (*run)(char **words, int nr);
} verbs[] = {
	{"set", 3, 3, step_set},
	{"map", 2, 4, step_map},
	{"brk-start", 2, 2, step_brk_start},
	{"brk", 2, 2, step_brk},
	{"write", 2, 4, step_touch},
	{"read", 2, 4, step_touch},
	{"fill", 3, 3, step_fill},
	{"check", 3, 3, step_check},
	{"zeroes", 3, 3, step_zeroes},
	{"madvise", 4, 4, step_madvise},
	{"mlock", 3, 3, step_mlock},
	{"mprotect", 4, 4, step_mprotect},
	{"munmap", 3, 3, step_munmap},
	{"mremap", 3, 3, step_mremap},
	{"thp-disable", 2, 2, step_thp_disable},
	{"thp-disabled", 1, 1, step_thp_disabled},
	{"khugepaged-pass", 1, 1, step_khugepaged_pass},
	{"fragment", 1, 1, step_fragment},
	{"thp-fill", 3, 3, step_thp_fill},
	{"pages", 3, 3, step_pages},
	{"show", 2, 2, step_show},
	{"begin", 1, 1, step_begin},
	{"end", 1, 1, step_end},
	{"record", 1, 1, step_record},
	{"hold", 1, 1, step_hold},
	{"wait", 1, 1, step_wait},
	{"release", 1, 1, step_release},
	{"skip", 1, WORDS_MAX, step_skip},
};

static void step_run(struct step *step)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(step->words[0], verbs[i].name) != 0)
			continue;
		if (step->nr_words < verbs[i].words_min || step->nr_words > verbs[i].words_max)
			die("scenario: wrong number of words after %s", step->words[0]);
		verbs[i].run(step->words, step->nr_words);
		return;
	}
	die("scenario: unknown step \"%s\"", step->words[0]);
}

/* The parent leaves out the child's lines; the child stops where they end. */
static void steps_run(int first, bool child)
{
	for (int i = first; i < s.nr_steps; i++) {
		if (s.steps[i].child != child) {
			if (child)
				return;
			continue;
		}
		if (strcmp(s.steps[i].words[0], "fork") == 0)
			step_fork(i);
		else
			step_run(&s.steps[i]);
	}
}

/* Cut a text into steps and words, in place. */
static void steps_parse(void)
{
	char *line, *rest = s.text, *word, *more;

	while ((line = strtok_r(rest, ";\n", &rest))) {
		struct step *step = &s.steps[s.nr_steps];

		word = strtok_r(line, " \t", &more);
		if (!word)
			continue;
		if (s.nr_steps == STEPS_MAX)
			die("scenario: more than %d steps", STEPS_MAX);
		step->child = strcmp(word, "child") == 0;
		if (step->child)
			word = strtok_r(NULL, " \t", &more);
		for (; word && step->nr_words < WORDS_MAX; word = strtok_r(NULL, " \t", &more))
			step->words[step->nr_words++] = word;
		if (step->nr_words)
			s.nr_steps++;
	}
}

/* Copy what stands under [name], comments left out; false when there is no such scenario. */
static bool scenario_find(const char *name)
{
	size_t used = 0, length = strlen(name);
	bool found = false;

	for (const char *line = scenarios_text; *line;) {
		const char *next = strchrnul(line, '\n');

		if (*line == '[') {
			if (found)
				break;
			found = strncmp(line + 1, name, length) == 0 && line[1 + length] == ']';
		} else if (found && *line != '#') {
			if (used + (next - line) + 2 > sizeof(s.text))
				die("scenario: the text of %s is too long", name);
			memcpy(s.text + used, line, next - line);
			used += next - line;
			s.text[used++] = '\n';
		}
		line = *next ? next + 1 : next;
	}
	s.text[used] = '\0';
	return found;
}

static void scenarios_list(void)
{
	for (const char *line = scenarios_text; *line;) {
		const char *next = strchrnul(line, '\n');

		if (*line == '[')
			printf("%.*s\n", (int)(next - line - 2), line + 1);
		line = *next ? next + 1 : next;
	}
}

static int usage(void)
{
	fprintf(stderr, "usage: scenario NAME | --list | --do \"STEP; STEP ...\"\n");
	return 2;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	setvbuf(stdout, NULL, _IOFBF, BUFSIZ);
	if (argc == 2 && strcmp(name, "--list") == 0) {
		scenarios_list();
		return 0;
	}
	if (argc == 3 && strcmp(name, "--do") == 0) {
		name = "steps";
		if (snprintf(s.text, sizeof(s.text), "%s", argv[2]) >= (int)sizeof(s.text))
			die("scenario: the steps are too long");
	} else if (argc != 2 || *name == '-') {
		return usage();
	} else if (!scenario_find(name)) {
		fprintf(stderr, "scenario: no scenario named %s; --list shows them\n", name);
		return 1;
	}
	steps_parse();
	if (s.nr_steps && strcmp(s.steps[0].words[0], "skip") == 0)
		step_skip(NULL, 0);
	settings_save();
	state_prepare();
	steps_run(0, false);
	if (!s.began)
		die("scenario: the steps have no begin");
	if (!s.ended)
		step_end(NULL, 0);
	if (s.child_holds)
		step_release(NULL, 0);
	child_collect();
	print_record(name);
	settings_restore();
	return 0;
}
