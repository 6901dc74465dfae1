/*
 * demo.c - six lectures on huge pages, measured while you watch                            ring 3
 *
 *   demo thp|zero|cow|bloat|fragment|1g
 *
 * Each one does the same work under different settings and prints the figures side by side, on one
 * screen. It needs to be root: it changes /sys/kernel/mm/transparent_hugepage and puts back what it
 * found. It runs on Linux too; the file `cow` is ours, so there `demo cow` shows Linux's own rule.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib.h"

#define KHUGEPAGED THP_DIR "khugepaged/"
#define VM_DIR     "/proc/sys/vm/"

/* ---- settings ------------------------------------------------------------------------------- */

static struct setting {
	const char *path;
	char value[32];
} settings[] = {
	{THP_DIR "enabled", ""},
	{THP_DIR "defrag", ""},
	{THP_DIR "use_zero_page", ""},
	{THP_DIR "cow", ""},
	{THP_DIR "shrink_underused", ""},
	{KHUGEPAGED "max_ptes_none", ""},
	{KHUGEPAGED "pages_to_scan", ""},
	{KHUGEPAGED "scan_sleep_millisecs", ""},
	{KHUGEPAGED "alloc_sleep_millisecs", ""},
	{VM_DIR "compact_unevictable_allowed", ""},
	{VM_DIR "compaction_proactiveness", ""},
};
#define NR_SETTINGS (sizeof(settings) / sizeof(settings[0]))

static void settings_save(void)
{
	for (size_t i = 0; i < NR_SETTINGS; i++)
		setting_read(settings[i].path, settings[i].value, sizeof(settings[i].value));
}

static void settings_restore(void)
{
	for (size_t i = 0; i < NR_SETTINGS; i++)
		if (settings[i].value[0])
			file_write(settings[i].path, settings[i].value);
}

/* `cow` is ours alone, `shrink_underused` came with Linux 6.12. */
static void set(const char *path, const char *value)
{
	int error = file_write(path, value);

	if (error == ENOENT &&
		(strcmp(path, THP_DIR "cow") == 0 || strcmp(path, THP_DIR "shrink_underused") == 0))
		return;
	if (error) {
		settings_restore();
		die("demo: %s: %s", path, strerror(error));
	}
}

/* khugepaged out of the way, or at full speed. */
static void khugepaged_rest(void)
{
	set(KHUGEPAGED "scan_sleep_millisecs", "600000");
}

static void khugepaged_hurry(void)
{
	set(KHUGEPAGED "pages_to_scan", "65536");
	set(KHUGEPAGED "alloc_sleep_millisecs", "10");
	set(KHUGEPAGED "scan_sleep_millisecs", "10");
}

/* ---- measuring ------------------------------------------------------------------------------ */

/* One column of a table. */
struct column {
	const char *head;
	unsigned long faults, tables_kb, ticks, fork_ticks;
	struct smaps_sum sum;
	struct counters before, after;
	unsigned long tables_before, faults_before;
};

static unsigned long ticks_now(void)
{
	unsigned int low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (unsigned long)high << 32 | low;
}

/* What is read once for nothing costs no fault when it counts. */
static void begin(struct column *c, const char *head)
{
	struct smaps_sum sum;

	memset(c, 0, sizeof(*c));
	c->head = head;
	counters_read(&c->after);
	counters_read(&c->before);
	smaps_read(0, 1, &sum);
	c->tables_before = proc_kb("/proc/self/status", "VmPTE:");
	c->faults_before = faults_minor();
	c->faults_before = faults_minor();
}

static void end(struct column *c, const char *area, unsigned long size)
{
	c->faults = faults_minor() - c->faults_before;
	c->tables_kb = proc_kb("/proc/self/status", "VmPTE:") - c->tables_before;
	counters_read(&c->after);
	smaps_read((unsigned long)area, (unsigned long)area + size, &c->sum);
}

static void write_pages(struct column *c, char *area, unsigned long size)
{
	unsigned long start = ticks_now();

	for (unsigned long at = 0; at < size; at += PAGE_BYTES)
		touch_write(area + at, 1);
	c->ticks += ticks_now() - start;
}

static unsigned long delta(const struct column *c, const char *name)
{
	return counters_get(&c->after, name) - counters_get(&c->before, name);
}

static char *area_new(unsigned long size)
{
	char *area = area_map(0, size, PROT_READ | PROT_WRITE, 0);

	if (area == MAP_FAILED) {
		settings_restore();
		die("demo: cannot map %lu kB: %s", size / KIB, strerror(errno));
	}
	return area;
}

/* ---- printing ------------------------------------------------------------------------------- */

static void heads(const struct column *c, int n)
{
	printf("\n%-27s", "");
	for (int i = 0; i < n; i++)
		printf("%13s", c[i].head);
	printf("\n");
}

static void row(const char *name, const unsigned long *value, int n)
{
	printf("  %-25s", name);
	for (int i = 0; i < n; i++)
		printf("%13lu", value[i]);
	printf("\n");
}

#define ROW(name, columns, n, expression)                                                          \
	do {                                                                                       \
		unsigned long values[4];                                                           \
		for (int i = 0; i < (n); i++) {                                                    \
			const struct column *c = &(columns)[i];                                    \
			values[i] = (expression);                                                  \
		}                                                                                  \
		row(name, values, n);                                                              \
	} while (0)

/* Thousandths, without floating point. */
static void row_per_byte(const char *name, const struct column *c, int n, unsigned long bytes)
{
	printf("  %-25s", name);
	for (int i = 0; i < n; i++) {
		unsigned long thousandths = c[i].ticks * 1000 / bytes;

		printf("%9lu.%03lu", thousandths / 1000, thousandths % 1000);
	}
	printf("\n");
}

static unsigned long translations(const struct column *c)
{
	return (c->sum.rss - c->sum.anon_huge) / 4 + c->sum.anon_huge / 2048;
}

/* ---- thp: never, always, promoted ------------------------------------------------------------ */

/* As much as is left after a block for each collapse, at most 32 MiB. */
static unsigned long size_choose(void)
{
	unsigned long size = proc_kb("/proc/meminfo", "MemAvailable:") * KIB / 3;

	size = size > 32 * MIB ? 32 * MIB : size / HUGE_BYTES * HUGE_BYTES;
	return size ? size : HUGE_BYTES;
}

/* Wait until khugepaged has promoted all, or gets no further. */
static void wait_promoted(const char *area, unsigned long size)
{
	unsigned long last = 0;
	struct smaps_sum sum;

	for (int idle = 0; idle < 100; idle++) {
		smaps_read((unsigned long)area, (unsigned long)area + size, &sum);
		if (sum.anon_huge * KIB == size)
			return;
		if (sum.anon_huge != last)
			idle = 0;
		last = sum.anon_huge;
		sleep_ms(20);
	}
}

static void demo_thp(void)
{
	static struct column all[3];
	static const char *const names[3] = {"never", "always", "promoted"};
	unsigned long size = size_choose();

	khugepaged_rest();
	for (int i = 0; i < 3; i++) {
		char *area;

		set(THP_DIR "enabled", i == 1 ? "always" : "never");
		area = area_new(size);
		begin(&all[i], names[i]);
		write_pages(&all[i], area, size);
		if (i == 2) {
			khugepaged_hurry();
			set(THP_DIR "enabled", "always");
			wait_promoted(area, size);
			khugepaged_rest();
		}
		end(&all[i], area, size);
		munmap(area, size);
	}
	printf("%lu MiB, one byte written in each 4 KiB: the same program, three ways\n",
		size / MIB);
	heads(all, 3);
	ROW("minor faults", all, 3, c->faults);
	ROW("entries in use", all, 3, translations(c));
	ROW("page tables, kB", all, 3, c->tables_kb);
	ROW("resident (Rss), kB", all, 3, c->sum.rss);
	ROW("in huge pages, kB", all, 3, c->sum.anon_huge);
	row_per_byte("TSC ticks per byte", all, 3, size);
	ROW("thp_fault_alloc", all, 3, delta(c, "thp_fault_alloc"));
	ROW("thp_fault_fallback", all, 3, delta(c, "thp_fault_fallback"));
	ROW("thp_collapse_alloc", all, 3, delta(c, "thp_collapse_alloc"));
	printf("\nnever     every first touch of 4 KiB is a fault of its own\n"
	       "always    one fault for 2 MiB: 512 times fewer, and one entry maps it all\n"
	       "promoted  begun as `never`; then khugepaged copied each 2 MiB into a huge page,\n"
	       "          in the background: its work is not in the program's ticks\n"
	       "A huge page keeps a table in reserve, so that a split cannot fail: tables\n"
	       "do not shrink. With ICOUNT=1 a tick is one instruction.\n");
}

/* ---- zero: reads of nothing ------------------------------------------------------------------- */

static void demo_zero(void)
{
	static struct column all[4];
	static const char *const names[4] = {"read", "no zero page", "write: copy", "write: split"};
	unsigned long size = 8 * MIB;

	if (size > size_choose())
		size = size_choose();
	khugepaged_rest();
	set(THP_DIR "enabled", "always");
	for (int i = 0; i < 4; i++) {
		char *area = area_new(size);

		set(THP_DIR "use_zero_page", i == 1 ? "0" : "1");
		set(THP_DIR "cow", i == 3 ? "split" : "copy");
		if (i >= 2)
			for (unsigned long at = 0; at < size; at += HUGE_BYTES)
				touch_read(area + at);
		begin(&all[i], names[i]);
		if (i >= 2)
			touch_write(area, 1);
		else
			for (unsigned long at = 0; at < size; at += HUGE_BYTES)
				touch_read(area + at);
		end(&all[i], area, size);
		munmap(area, size);
	}
	printf("%lu MiB read, one byte in each 2 MiB; then one byte written\n", size / MIB);
	heads(all, 4);
	ROW("minor faults", all, 4, c->faults);
	ROW("resident (Rss), kB", all, 4, c->sum.rss);
	ROW("in huge pages, kB", all, 4, c->sum.anon_huge);
	ROW("thp_zero_page_alloc", all, 4, delta(c, "thp_zero_page_alloc"));
	ROW("thp_fault_alloc", all, 4, delta(c, "thp_fault_alloc"));
	ROW("thp_split_pmd", all, 4, delta(c, "thp_split_pmd"));
	printf("\nread          every 2 MiB is the same frame of zeroes: nothing is resident\n"
	       "no zero page  use_zero_page=0: each read gets 2 MiB of its own\n"
	       "write: copy   the first byte written buys a whole huge page (Linux 4.11, and 6.13 "
	       "on)\n"
	       "write: split  it buys 4 KiB; the other 511 entries name the small zero frame\n"
	       "              (Linux 5.8 to 6.12)\n");
}

/* ---- cow: the first write after fork ----------------------------------------------------------- */

/*
 * A page that parent and child share until the parent drops it: the child sees in smaps that it has
 * it alone, and ends.
 */
static char *flag;

static void child_hold(void)
{
	struct smaps_sum sum;

	for (int i = 0; i < 3000; i++) {
		smaps_read((unsigned long)flag, (unsigned long)flag + 1, &sum);
		if (sum.pss == PAGE_BYTES / KIB)
			_exit(0);
		sleep_ms(10);
	}
	_exit(1);
}

static int child_start(void)
{
	int child;

	fflush(stdout);
	child = fork();
	if (child < 0) {
		settings_restore();
		die("demo: fork: %s", strerror(errno));
	}
	if (child == 0)
		child_hold();
	return child;
}

static void demo_cow(void)
{
	static struct column all[3];
	static const char *const names[3] = {"cow=copy", "cow=split", "child gone"};
	unsigned long size = 4 * MIB;

	khugepaged_rest();
	set(THP_DIR "enabled", "always");
	flag = area_map(64 * MIB, PAGE_BYTES, PROT_READ | PROT_WRITE, 0);
	if (flag == MAP_FAILED)
		die("demo: cannot map a page");
	for (int i = 0; i < 3; i++) {
		char *area = area_new(size);
		unsigned long start;
		int child;

		set(THP_DIR "cow", i == 0 ? "copy" : "split");
		touch_write(flag, 1);
		touch_write(area, 1);
		touch_write(area + HUGE_BYTES, 1);
		start = ticks_now();
		child = child_start();
		all[i].fork_ticks = ticks_now() - start;
		if (i == 2) {
			madvise(flag, PAGE_BYTES, MADV_DONTNEED);
			child_wait(child);
		}
		start = all[i].fork_ticks;
		begin(&all[i], names[i]);
		all[i].fork_ticks = start;
		start = ticks_now();
		touch_write(area, 2);
		all[i].ticks = ticks_now() - start;
		end(&all[i], area, size);
		if (i < 2) {
			madvise(flag, PAGE_BYTES, MADV_DONTNEED);
			child_wait(child);
		}
		munmap(area, size);
	}
	printf("2 huge pages, fork, then the parent writes one byte\n");
	heads(all, 3);
	ROW("minor faults", all, 3, c->faults);
	ROW("TSC ticks of fork", all, 3, c->fork_ticks);
	ROW("TSC ticks of that write", all, 3, c->ticks);
	ROW("resident (Rss), kB", all, 3, c->sum.rss);
	ROW("proportional (Pss), kB", all, 3, c->sum.pss);
	ROW("in huge pages, kB", all, 3, c->sum.anon_huge);
	ROW("thp_fault_alloc", all, 3, delta(c, "thp_fault_alloc"));
	ROW("thp_wp_copy", all, 3, delta(c, "thp_wp_copy"));
	ROW("thp_wp_reuse", all, 3, delta(c, "thp_wp_reuse"));
	ROW("thp_split_pmd", all, 3, delta(c, "thp_split_pmd"));
	printf("\ncow=copy    2 MiB are copied for one byte; the mapping stays huge (Linux 4.11)\n"
	       "cow=split   the mapping is split and 4 KiB are copied (Linux 5.8 to 6.12): fast "
	       "now,\n"
	       "            but the program has lost its huge page\n"
	       "child gone  nobody shares it any more: made writable in place, nothing is "
	       "copied\n");
}

/* ---- bloat: memory that nobody asked for ---------------------------------------------------------- */

/* One byte in each 2 MiB: as little as a program can do to get all of it. */
static void touch_sparsely(char *area, unsigned long size)
{
	for (unsigned long at = 0; at < size; at += HUGE_BYTES)
		touch_write(area + at, 1);
}

/* 511 of 512 pages go back; then khugepaged looks. */
static void give_back_and_wait(char *area, unsigned long size)
{
	for (unsigned long at = 0; at < size; at += HUGE_BYTES)
		madvise(area + at + PAGE_BYTES, HUGE_BYTES - PAGE_BYTES, MADV_DONTNEED);
	khugepaged_hurry();
	wait_promoted(area, size);
}

static void demo_bloat(void)
{
	static struct column all[4];
	static const char *const names[4] = {"sparse", "max_none 511", "max_none 0", "underused"};
	unsigned long size = 8 * MIB, touched;

	if (size > size_choose())
		size = size_choose();
	touched = size / HUGE_BYTES * (PAGE_BYTES / KIB);
	for (int i = 0; i < 4; i++) {
		char *area;

		khugepaged_rest();
		set(THP_DIR "enabled", "always");
		set(THP_DIR "shrink_underused", "1");
		set(KHUGEPAGED "max_ptes_none", i < 2 ? "511" : "0");
		area = area_new(size);
		begin(&all[i], names[i]);
		touch_sparsely(area, size);
		if (i == 1 || i == 2)
			give_back_and_wait(area, size);
		if (i == 3)
			set("/proc/sys/vm/drop_caches", "2");
		end(&all[i], area, size);
		munmap(area, size);
	}
	printf("%lu MiB, one byte written in each 2 MiB: %lu kB of pages are in use\n", size / MIB,
		touched);
	heads(all, 4);
	ROW("touched, kB", all, 4, touched + 0 * c->faults);
	ROW("resident (Rss), kB", all, 4, c->sum.rss);
	ROW("resident / touched", all, 4, c->sum.rss / touched);
	ROW("in huge pages, kB", all, 4, c->sum.anon_huge);
	ROW("thp_split_pmd", all, 4, delta(c, "thp_split_pmd"));
	ROW("thp_deferred_split_page", all, 4, delta(c, "thp_deferred_split_page"));
	ROW("thp_collapse_alloc", all, 4, delta(c, "thp_collapse_alloc"));
	ROW("thp_scan_exceed_none_pte", all, 4, delta(c, "thp_scan_exceed_none_pte"));
	ROW("thp_split_page", all, 4, delta(c, "thp_split_page"));
	ROW("thp_underused_split_page", all, 4, delta(c, "thp_underused_split_page"));
	printf("\nsparse        each byte got 2 MiB: 512 times what was asked for\n"
	       "max_none 511  the program gives 511 of 512 pages back; khugepaged fills the holes\n"
	       "              with zeroes and promotes: all of it is back. This is Linux's "
	       "default\n"
	       "max_none 0    the same, but a range with any hole is refused: it stays small\n"
	       "underused     as `sparse`, then memory is wanted (here: drop_caches). With\n"
	       "              max_ptes_none 0 a huge page with a page of zeroes in it is split,\n"
	       "              and its zeroes are given back (shrink_underused, Linux 6.12)\n");
}

/* ---- fragment: memory that is free, and of no use ------------------------------------------------ */

#define FRAGMENT_FAULTS 100
#define FRAGMENT_SPARE                                                                             \
	(112 * MIB) /* stays free in one piece: some of the faults find a block at once */
#define BLOCKS_MAX   65536
#define PM_PFN       ((1UL << 55) - 1)
#define KPF_BUDDY    (1UL << 10)
#define KPF_ANON     (1UL << 12)
#define KPF_THP      (1UL << 22)
#define KPF_NOPAGE   (1UL << 20)
#define KPF_RESERVED (1UL << 32)

static uint64_t frames[HUGE_PAGES];

/* What a block of 2 MiB mostly is, as `memmap` shows it; 0: behind the end of memory. */
static char block_letter(int fd, unsigned long block)
{
	unsigned long small = 0, other = 0;
	off_t at = block * sizeof(frames);

	if (pread(fd, frames, sizeof(frames), at) != (ssize_t)sizeof(frames))
		return 0;
	if (frames[0] & KPF_THP)
		return 'H';
	for (unsigned long i = 0; i < HUGE_PAGES; i++) {
		if (frames[i] & KPF_BUDDY || !frames[i])
			continue;
		if (frames[i] & KPF_ANON)
			small++;
		else
			other++;
	}
	if (small == 0 && other == 0)
		return '.';
	if (small >= other)
		return small + other == HUGE_PAGES ? 'A' : 'a';
	return small + other == HUGE_PAGES ? 'K' : 'k';
}

static void memmap_print(const char *title)
{
	int fd = open("/proc/kpageflags", O_RDONLY);
	unsigned long block = 0;
	char line[65], letter;

	printf("%s\n", title);
	do {
		unsigned long n = 0;

		while (n < 64 && (letter = fd < 0 ? 0 : block_letter(fd, block)) != 0) {
			line[n++] = letter;
			block++;
		}
		line[n] = '\0';
		if (n)
			printf("%6lu M  %s\n", (block - n) * 2, line);
	} while (letter);
	if (fd >= 0)
		close(fd);
}

static void give_back(char *from, char *to)
{
	if (to > from)
		madvise(from, to - from, MADV_DONTNEED);
}

/* Of the pages of this area one in each 2 MiB of *physical* memory stays, locked if it is to be pinned. */
static void punch(char *area, unsigned long size, bool pinned)
{
	static unsigned char seen[BLOCKS_MAX];
	int fd = open("/proc/self/pagemap", O_RDONLY);
	char *from = area;

	memset(seen, 0, sizeof(seen));
	for (unsigned long at = 0; fd >= 0 && at < size; at += HUGE_BYTES) {
		off_t pos = (off_t)(((unsigned long)area + at) / PAGE_BYTES * sizeof(frames[0]));

		if (pread(fd, frames, sizeof(frames), pos) != (ssize_t)sizeof(frames))
			break;
		for (unsigned long i = 0; i < HUGE_PAGES; i++) {
			unsigned long block = (frames[i] & PM_PFN) / HUGE_PAGES;
			char *page = area + at + i * PAGE_BYTES;

			if (block == 0 || block >= BLOCKS_MAX || seen[block])
				continue;
			seen[block] = 1;
			give_back(from, page);
			from = page + PAGE_BYTES;
			if (pinned && mlock(page, PAGE_BYTES) < 0)
				die("demo: mlock: %s", strerror(errno));
		}
	}
	give_back(from, area + size);
	if (fd >= 0)
		close(fd);
}

static unsigned long event(const char *name)
{
	return proc_kb("/proc/vmstat", name);
}

/* 100 faults of 2 MiB in an advised area, one row of the table. */
static void fragment_row(const char *mode)
{
	static const char *const names[] = {"thp_fault_alloc ", "thp_fault_fallback ",
		"compact_stall ", "compact_success ", "compact_fail ", "pgmigrate_success "};
	unsigned long before[6], ticks, worst = 0, all = 0;
	char *area = area_map(4096 * MIB, FRAGMENT_FAULTS * HUGE_BYTES, PROT_READ | PROT_WRITE, 0);

	if (area == MAP_FAILED || madvise(area, FRAGMENT_FAULTS * HUGE_BYTES, MADV_HUGEPAGE) < 0) {
		settings_restore();
		die("demo: cannot map %u areas: %s", FRAGMENT_FAULTS, strerror(errno));
	}
	set(THP_DIR "defrag", mode);
	for (int i = 0; i < 6; i++)
		before[i] = event(names[i]);
	for (unsigned long i = 0; i < FRAGMENT_FAULTS; i++) {
		ticks = ticks_now();
		touch_write(area + i * HUGE_BYTES, 1);
		ticks = ticks_now() - ticks;
		all += ticks;
		worst = ticks > worst ? ticks : worst;
	}
	printf("%-15s", mode);
	for (int i = 0; i < 6; i++)
		printf("%9lu", event(names[i]) - before[i]);
	printf("%9lu.%lu\n", worst * FRAGMENT_FAULTS / all,
		worst * FRAGMENT_FAULTS * 10 / all % 10);
	munmap(area, FRAGMENT_FAULTS * HUGE_BYTES);
}

static void fragment_table(bool pinned, unsigned long size)
{
	static const char *const modes[] = {"never", "defer", "madvise", "always", "defer+madvise"};
	char *area;

	set(VM_DIR "compact_unevictable_allowed", pinned ? "0" : "1");
	area = area_new(size);
	madvise(area, size, MADV_NOHUGEPAGE);
	if (madvise(area, size, MADV_POPULATE_WRITE) < 0) {
		settings_restore();
		die("demo: cannot touch %lu kB: %s", size / KIB, strerror(errno));
	}
	punch(area, size, pinned);
	printf("\none page of 4 KiB stays in each 2 MiB of %lu MiB: %s\n", size / MIB,
		pinned ? "pinned (mlock, compact_unevictable_allowed 0)" : "movable");
	if (!pinned)
		memmap_print("before");
	printf("%-15s%9s%9s%9s%9s%9s%9s%11s\n", "defrag", "huge", "fallback", "stall", "success",
		"fail", "moved", "worst/mean");
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		fragment_row(modes[i]);
	if (!pinned)
		memmap_print("after, the huge pages given back");
	munmap(area, size);
}

static void demo_fragment(void)
{
	unsigned long size = proc_kb("/proc/meminfo", "MemFree:") * KIB;

	if (size < FRAGMENT_SPARE + FRAGMENT_FAULTS * HUGE_BYTES)
		die("demo: fragment needs %lu MiB of free memory",
			(FRAGMENT_SPARE + FRAGMENT_FAULTS * HUGE_BYTES) / MIB);
	size = (size - FRAGMENT_SPARE) & ~(HUGE_BYTES - 1);
	khugepaged_rest();
	set(THP_DIR "enabled", "madvise");
	set(VM_DIR "compaction_proactiveness", "0");
	printf("%d faults of 2 MiB in an advised area, when free memory is in pieces; each row "
	       "goes on\n"
	       "where the one above has left off\n",
		FRAGMENT_FAULTS);
	fragment_table(false, size);
	fragment_table(true, size);
	printf("\n.  free   a, A  4 KiB pages   H  a huge page   k, K  the kernel's\n"
	       "never    takes a block if there is one; defer lets kcompactd work in the "
	       "background\n"
	       "madvise  (the default) compacts in the fault: some faults wait, all are huge; "
	       "after it\n"
	       "always   finds blocks enough: what was brought together stays together\n"
	       "pinned   pages cannot be moved: the work is done for nothing, and is put off more "
	       "and more\n");
}

/* ---- 1g: one entry for a gigabyte --------------------------------------------------------------- */

#define GIGABYTE (1024 * MIB)

/* What the gigabyte is made of now, and what that cost. */
static void gigabyte_line(const char *what, char *area, unsigned long before)
{
	struct counters c;
	struct smaps_sum sum;

	counters_read(&c);
	smaps_read((unsigned long)area, (unsigned long)area + GIGABYTE, &sum);
	printf("%-42s %8lu %8lu %8lu %8lu %10lu\n", what, proc_kb("/proc/vmstat", "nr_thp_1g"),
		counters_get(&c, "thp_split_pud"), counters_get(&c, "thp_split_pmd"),
		sum.anon_huge / KIB, (unsigned long)(__builtin_ia32_rdtsc() - before) / 1000);
}

static void demo_1g(void)
{
	char *area, word[16];
	unsigned long before;

	if (!setting_read(THP_DIR "enabled_1g", word, sizeof(word)) ||
		file_write(THP_DIR "enabled_1g", "always"))
		die("demo: 1g: this machine has no pages of 1 GiB (try CPU=max)");
	khugepaged_rest();
	set(THP_DIR "enabled", "always");
	area = area_map(0, GIGABYTE, PROT_READ | PROT_WRITE, MAP_NORESERVE);
	if (area == MAP_FAILED)
		die("demo: 1g: cannot map: %s", strerror(errno));
	printf("%-42s %8s %8s %8s %8s %10s\n", "one area of 1 GiB, aligned", "1G now", "split1G",
		"split2M", "huge MB", "kiloticks");
	before = __builtin_ia32_rdtsc();
	touch_write(area, 1);
	gigabyte_line("one byte written", area, before);
	if (proc_kb("/proc/vmstat", "nr_thp_1g") == 0)
		printf("No gigabyte is free as a whole: MEM=4G, or reserve_1g=1 on the command "
		       "line, keeps "
		       "one.\n");
	before = __builtin_ia32_rdtsc();
	mprotect(area, GIGABYTE, PROT_READ);
	mprotect(area, GIGABYTE, PROT_READ | PROT_WRITE);
	touch_write(area, 2);
	gigabyte_line("all of it read-only, and back", area, before);
	before = __builtin_ia32_rdtsc();
	mprotect(area + GIGABYTE / 2, HUGE_BYTES, PROT_READ);
	gigabyte_line("2 MiB in its middle read-only", area, before);
	before = __builtin_ia32_rdtsc();
	madvise(area + HUGE_BYTES, PAGE_BYTES, MADV_DONTNEED);
	gigabyte_line("4 KiB given back", area, before);
	munmap(area, GIGABYTE);
	file_write(THP_DIR "enabled_1g", word);
	printf("\nA leaf of 1 GiB joins 512 huge pages in a row. What concerns all of it changes "
	       "one "
	       "entry; what\n"
	       "concerns a part splits the leaf into 512 leaves of 2 MiB, and no page changes.\n");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} demos[] = {{"thp", demo_thp}, {"zero", demo_zero}, {"cow", demo_cow},
		{"bloat", demo_bloat}, {"fragment", demo_fragment}, {"1g", demo_1g}};

	for (size_t i = 0; argc == 2 && i < sizeof(demos) / sizeof(demos[0]); i++) {
		if (strcmp(argv[1], demos[i].name) != 0)
			continue;
		settings_save();
		demos[i].run();
		settings_restore();
		return 0;
	}
	fprintf(stderr, "usage: demo thp|zero|cow|bloat|fragment|1g\n");
	return 2;
}
