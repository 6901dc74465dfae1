/*
 * locked.c - what is locked in memory is told in each place that tells it.                  ring 3
 *
 *   locked
 *
 * mlock and munlock over huge pages, small pages, a part of a huge page and an area of which only some pages
 * are there. After each step three files must say the same as the plain sum kept here:
 *
 *   VmLck    /proc/self/status    pages of locked areas, there or not
 *   Locked   smaps                pages of locked areas that are there
 *   Mlocked  /proc/meminfo        the same of all processes: by how much it grew. Unevictable likewise
 *
 * Nothing is locked at the end, and then all of it is 0 again. On Linux Mlocked follows by batches per CPU.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib.h"

#define HUGE_KB (HUGE_BYTES >> 10)
#define KB      1024ul

enum area {
	HUGE,   /* two huge pages */
	SMALL,  /* 2 MiB of small pages */
	SPARSE, /* 2 MiB, of which 16 pages are there */
	AREAS
};

static const unsigned long bytes_of[AREAS] = {2 * HUGE_BYTES, HUGE_BYTES, HUGE_BYTES};
static char *area[AREAS];
static unsigned long mlocked_before, unevictable_before;

static unsigned long meminfo(const char *field)
{
	return proc_kb("/proc/meminfo", field);
}

static void same(const char *step, const char *what, unsigned long got, unsigned long want)
{
	if (got != want)
		die("locked: %s: FAILED: %s %lu kB, should be %lu kB", step, what, got, want);
}

/* All in kB. `locked`: of the areas in turn, what is there and locked. */
static void look(const char *step, unsigned long vm_lck, const unsigned long locked[AREAS])
{
	unsigned long sum = 0;

	for (int i = 0; i < AREAS; i++) {
		unsigned long start = (unsigned long)area[i];

		same(step, "Locked", smaps_field(start, start + bytes_of[i], "Locked:"), locked[i]);
		sum += locked[i];
	}
	same(step, "VmLck", proc_kb("/proc/self/status", "VmLck:"), vm_lck);
	same(step, "Mlocked", meminfo("Mlocked:") - mlocked_before, sum);
	same(step, "Unevictable", meminfo("Unevictable:") - unevictable_before, sum);
	printf("%-40s VmLck %5lu kB, Locked and Mlocked %5lu kB\n", step, vm_lck, sum);
}

static void lock(int which, unsigned long offset, unsigned long bytes)
{
	if (mlock(area[which] + offset, bytes) < 0)
		die("locked: FAILED: mlock of area %d", which);
}

static void unlock(int which, unsigned long offset, unsigned long bytes)
{
	if (munlock(area[which] + offset, bytes) < 0)
		die("locked: FAILED: munlock of area %d", which);
}

static void areas_make(void)
{
	for (int i = 0; i < AREAS; i++) {
		area[i] = area_map(
			i * 4 * HUGE_BYTES, bytes_of[i], PROT_READ | PROT_WRITE, MAP_NORESERVE);
		if (area[i] == MAP_FAILED ||
			madvise(area[i], bytes_of[i], i == HUGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
			die("locked: cannot map");
	}
	memset(area[HUGE], 1, bytes_of[HUGE]);
	memset(area[SMALL], 1, bytes_of[SMALL]);
	memset(area[SPARSE], 1, 16 * PAGE_BYTES);
}

/* A child has the memory, but not the lock. */
static void child_look(unsigned long parents)
{
	int pid = fork();

	if (pid == 0) {
		same("in a child", "VmLck", proc_kb("/proc/self/status", "VmLck:"), 0);
		same("in a child", "Mlocked", meminfo("Mlocked:") - mlocked_before, parents);
		_exit(0);
	}
	if (pid < 0 || child_wait(pid))
		die("locked: FAILED: a child");
}

int main(void)
{
	unsigned long sparse = bytes_of[SPARSE] / KB;

	areas_make();
	mlocked_before = meminfo("Mlocked:");
	unevictable_before = meminfo("Unevictable:");
	look("nothing", 0, (unsigned long[AREAS]){0, 0, 0});
	lock(HUGE, 0, 2 * HUGE_BYTES);
	look("mlock of two huge pages", 2 * HUGE_KB, (unsigned long[AREAS]){2 * HUGE_KB, 0, 0});
	lock(SMALL, 64 * KB, 128 * KB);
	look("mlock of 128 KiB of small pages", 2 * HUGE_KB + 128,
		(unsigned long[AREAS]){2 * HUGE_KB, 128, 0});
	if (mlock2(area[SPARSE], bytes_of[SPARSE], MLOCK_ONFAULT) < 0)
		die("locked: FAILED: mlock2");
	look("mlock2 of an area with 16 pages", 2 * HUGE_KB + 128 + sparse,
		(unsigned long[AREAS]){2 * HUGE_KB, 128, 64});
	area[SPARSE][HUGE_BYTES - 1] = 1;
	look("a fault brings one more", 2 * HUGE_KB + 128 + sparse,
		(unsigned long[AREAS]){2 * HUGE_KB, 128, 68});
	child_look(2 * HUGE_KB + 128 + 68);
	unlock(HUGE, HUGE_BYTES / 2, 64 * KB);
	look("munlock of 64 KiB of a huge page", 2 * HUGE_KB - 64 + 128 + sparse,
		(unsigned long[AREAS]){2 * HUGE_KB - 64, 128, 68});
	if (munmap(area[SPARSE] + HUGE_BYTES / 2, HUGE_BYTES / 2) < 0)
		die("locked: FAILED: munmap");
	look("munmap of half the area", 2 * HUGE_KB - 64 + 128 + sparse / 2,
		(unsigned long[AREAS]){2 * HUGE_KB - 64, 128, 64});
	unlock(HUGE, 0, 2 * HUGE_BYTES);
	unlock(SMALL, 0, HUGE_BYTES);
	unlock(SPARSE, 0, HUGE_BYTES / 2);
	look("munlock of all", 0, (unsigned long[AREAS]){0, 0, 0});
	printf("locked: three files tell the same: ok\n");
	return 0;
}
