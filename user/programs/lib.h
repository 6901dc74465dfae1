/*
 * lib.h - what the small ring-3 programs share.                                            ring 3
 *
 * Readers for the kernel's own account of memory (/proc/vmstat, /proc/self/smaps, /proc/self/status,
 * /proc/self/pagemap with /proc/kpageflags), the settings under /sys, an area at a known address,
 * and parsing of sizes. Every path and call is Linux's, so each program runs unchanged on Linux and
 * here. Nothing in here allocates heap memory: the heap is itself a thing under test.
 */
#ifndef PROGRAMS_LIB_H
#define PROGRAMS_LIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#define KIB        1024UL
#define MIB        (1024UL * KIB)
#define PAGE_BYTES 4096UL
#define HUGE_BYTES (2 * MIB)
#define HUGE_PAGES (HUGE_BYTES / PAGE_BYTES)

/* musl's headers are older than these. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

/* Where the programs put their areas: far from text, heap and mmap's own choices, 1 GiB aligned. */
#define AREA_BASE 0x1000000000UL

#define THP_DIR "/sys/kernel/mm/transparent_hugepage/"

/* All thp_* lines of /proc/vmstat, in file order. */
#define COUNTERS_MAX 64
struct counters {
	int nr;
	struct {
		char name[40];
		unsigned long value;
	} at[COUNTERS_MAX];
};

/* Sums in kB over the areas that overlap a range, as /proc/self/smaps tells them. */
struct smaps_sum {
	unsigned long vmas, size, rss, pss, anon, anon_huge;
	long eligible; /* the smallest THPeligible seen; -1 when the kernel prints none */
};

/* What stands behind a range, page by page. */
#define LAYOUT_TEXT 1024
struct layout {
	unsigned long present, zero, in_compound;
	char per_2m[LAYOUT_TEXT]; /* one word per window: C, Z or aN/tN/zN */
};

/* size_parse - "4096", "64K", "4M" or "1G" into bytes; false when it is anything else. */
bool size_parse(const char *text, unsigned long *bytes);

/* file_read - the first bytes of a file as a string without its last newline; false on error. */
bool file_read(const char *path, char *text, size_t size);

/* file_write - write a string in one call; 0 or an errno value. */
int file_write(const char *path, const char *text);

/* file_number - the first number in a file, or `otherwise` when there is none. */
unsigned long file_number(const char *path, unsigned long otherwise);

/* setting_read - the chosen word of a sysfs file: "always" out of "[always] madvise never". */
bool setting_read(const char *path, char *text, size_t size);

void counters_read(struct counters *counters);
unsigned long counters_get(const struct counters *counters, const char *name);

/* proc_kb - the number after `field` (with its colon) in a file such as /proc/meminfo; 0 if absent. */
unsigned long proc_kb(const char *path, const char *field);

/* smaps_read - sum the areas that overlap [start, end); false when the file cannot be read. */
bool smaps_read(unsigned long start, unsigned long end, struct smaps_sum *sum);

/* smaps_field - the sum of one field ("Locked:") in kB over the same areas. */
unsigned long smaps_field(unsigned long start, unsigned long end, const char *field);

/* layout_read - describe [start, end) from pagemap and kpageflags; false when they cannot be read. */
bool layout_read(unsigned long start, unsigned long end, struct layout *layout);

/* pfn_of - frame number behind an address, or 0 when nothing is mapped or it may not be seen. */
unsigned long pfn_of(const void *address);

/* pfns_of - the same for `nr` pages from `address` on, in one reading; false when it failed. */
bool pfns_of(const void *address, unsigned long nr, unsigned long *pfns);

/* faults_minor - minor faults of this process so far. */
unsigned long faults_minor(void);

/*
 * area_map - private anonymous memory at AREA_BASE + offset, or MAP_FAILED.
 * It never replaces anything; `flags` may add MAP_POPULATE or MAP_NORESERVE.
 */
void *area_map(unsigned long offset, unsigned long size, int prot, int flags);

void sleep_ms(unsigned long ms);

/* child_wait - wait for one child: its exit status, or 256 + signal if a signal ended it. */
int child_wait(int pid);

/*
 * die, warn - one line on standard error, "program: text"; die then exits with 1.
 * The text stands first so that a line can be found by its program's name.
 */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* touch - helpers the compiler cannot remove. */
static inline void touch_write(volatile char *address, char value)
{
	*address = value;
}

static inline char touch_read(const volatile char *address)
{
	return *address;
}

#endif
