/*
 * lib_measure.h - what the programs that measure share: the clock, samples, settings, fragmentation.  ring 3
 *
 * Under QEMU's -icount shift=0 with one processor one tick of the time-stamp counter is one guest
 * instruction, so the values are exact counts, the same on every machine; elsewhere they are cycles with noise.
 */
#ifndef PROGRAMS_LIB_MEASURE_H
#define PROGRAMS_LIB_MEASURE_H

#include <stdbool.h>

#include "lib.h"

#define RW          (PROT_READ | PROT_WRITE)
#define SAMPLES_MAX 4096 /* 16 MiB of 4 KiB operations */
#define NO_ADVICE   -1   /* enabled is always: huge where it fits */

extern unsigned long samples[SAMPLES_MAX];
extern unsigned long empty; /* what an empty pair of readings costs; measure_empty() sets it */

static inline unsigned long ticks(void)
{
	unsigned int low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (unsigned long)high << 32 | low;
}

void measure_empty(void);

/* median - of the first `nr` samples, which it sorts. */
unsigned long median(unsigned long nr);

/* print - one line "bench NAME VALUE". */
void print(const char *name, unsigned long value);

/* setting - write a file of THP_DIR or of an absolute path; one that is not there is left out. */
void setting(const char *name, const char *value);

/* area_new - private memory at the start of the areas with this advice, or NO_ADVICE. */
char *area_new(unsigned long size, int advice);

/* small_ranges - `nr` ranges of 512 small pages, of which `missing` at the end of each are absent. */
char *small_ranges(unsigned long nr, unsigned long missing);

/* touch_samples - touch `nr` places, `step` apart: each is one sample. touch_median: their median. */
void touch_samples(char *area, unsigned long step, unsigned long nr, bool write);
unsigned long touch_median(char *area, unsigned long step, unsigned long nr, bool write);

/* khugepaged_per_range - what khugepaged spends on each of 32 ranges that lack `missing` pages. */
unsigned long khugepaged_per_range(unsigned long missing);

/* A row of a table; `alone`: without the page that keeps this space on khugepaged's list. */
struct row {
	const char *name;
	void (*run)(void);
	bool alone;
};

/* rows_main - the main function of a program of rows: "[ROW] | --list"; `first` runs before all rows. */
int rows_main(const char *program, const struct row *rows, int nr, int argc, char **argv,
	void (*first)(void));

/*
 * memory_fragment - leave no free block of order 9: memory is filled with small pages and one is kept in
 * each 2 MiB block; `pinned` locks those. memory_unfragment gives them back. For guests of at most 2 GiB.
 */
void memory_fragment(bool pinned);
void memory_unfragment(void);

#endif
