/*
 * syscalls.c - each call with bad arguments answers with Linux's error and changes nothing. ring 3
 *
 *   syscalls [--list]
 *
 * One table: what is wrong, the call, its arguments, the answer Linux 6.1 gives. The table was made
 * by running this program on Linux; it runs there still. A few good calls stand between the bad ones,
 * so that "always an error" does not pass.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib.h"

#define PRIVATE  (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW       (PROT_READ | PROT_WRITE)
#define BASE     AREA_BASE /* 4 MiB, readable and writable, then a hole */
#define SIZE     (4 * MIB)
#define HOLE     (AREA_BASE + 16 * MIB)
#define LOCKED   (AREA_BASE + 8 * MIB)  /* 2 MiB without write right */
#define FREE     (AREA_BASE + 32 * MIB) /* where good calls may map */
#define KERNEL   0xffff888000000000UL
#define WILD     0x8000000000000000UL /* not canonical */
#define USER_END 0x7ffffffff000UL
#define HUGE     0x7fffffffffffffffUL
#define ANY      0x123456789L /* any answer that is not an error */

static struct timespec times[] = {{0, 1}, {0, 1000000000}, {0, -1}, {-1, 0}};
static char bytes[4 * PAGE_BYTES] __attribute__((aligned(4096)));

#define A(x) ((long)(x))

static const struct {
	const char *what;
	long number, args[6], answer;
} table[] = {
	/* mmap */
	{"mmap: length 0", SYS_mmap, {A(FREE), 0, RW, PRIVATE, -1, 0}, -EINVAL},
	{"mmap: length that wraps", SYS_mmap, {0, -1, RW, PRIVATE, -1, 0}, -ENOMEM},
	{"mmap: length near the top", SYS_mmap, {0, A(HUGE), RW, PRIVATE, -1, 0}, -ENOMEM},
	{"mmap: larger than a space", SYS_mmap, {0, 1L << 47, RW, PRIVATE, -1, 0}, -ENOMEM},
	{"mmap: neither private nor shared", SYS_mmap, {0, 4096, RW, MAP_ANONYMOUS, -1, 0},
		-EINVAL},
	{"mmap: fixed, not a page", SYS_mmap, {A(FREE + 1), 4096, RW, PRIVATE | MAP_FIXED, -1, 0},
		-EINVAL},
	{"mmap: fixed in the kernel", SYS_mmap, {A(KERNEL), 4096, RW, PRIVATE | MAP_FIXED, -1, 0},
		-ENOMEM},
	{"mmap: fixed, not canonical", SYS_mmap, {A(WILD), 4096, RW, PRIVATE | MAP_FIXED, -1, 0},
		-ENOMEM},
	{"mmap: fixed over the end", SYS_mmap, {A(USER_END), 8192, RW, PRIVATE | MAP_FIXED, -1, 0},
		-ENOMEM},
	{"mmap: noreplace on an area", SYS_mmap,
		{A(BASE), 4096, RW, PRIVATE | MAP_FIXED_NOREPLACE, -1, 0}, -EEXIST},
	{"mmap: noreplace over its end", SYS_mmap,
		{A(BASE + SIZE - 4096), 8192, RW, PRIVATE | MAP_FIXED_NOREPLACE, -1, 0}, -EEXIST},
	{"mmap: a file that is not open", SYS_mmap, {0, 4096, RW, MAP_PRIVATE, 99, 0}, -EBADF},
	{"mmap: offset that is no page", SYS_mmap, {0, 4096, RW, PRIVATE, -1, 1}, -EINVAL},
	{"mmap: good", SYS_mmap, {A(FREE), 8192, RW, PRIVATE | MAP_FIXED_NOREPLACE, -1, 0},
		A(FREE)},
	{"mmap: hint, good", SYS_mmap,
		{A(FREE + 65536), 100, PROT_NONE, PRIVATE | MAP_NORESERVE, -1, 0}, A(FREE + 65536)},
	{"mmap: hint within a page", SYS_mmap, {A(FREE + 131072 + 5), 4096, RW, PRIVATE, -1, 0},
		A(FREE + 131072)},
	{"mmap: fixed, not a page, over the end", SYS_mmap,
		{A(USER_END - 1), 8192, RW, PRIVATE | MAP_FIXED, -1, 0}, -ENOMEM},
	{"mmap: hint taken already", SYS_mmap, {A(BASE), 4096, RW, PRIVATE, -1, 0}, ANY},
	/* munmap */
	{"munmap: length 0", SYS_munmap, {A(BASE), 0}, -EINVAL},
	{"munmap: not a page", SYS_munmap, {A(BASE + 1), 4096}, -EINVAL},
	{"munmap: length that wraps", SYS_munmap, {A(BASE), -1}, -EINVAL},
	{"munmap: kernel", SYS_munmap, {A(KERNEL), 4096}, -EINVAL},
	{"munmap: not canonical", SYS_munmap, {A(WILD), 4096}, -EINVAL},
	{"munmap: beyond the end", SYS_munmap, {A(USER_END - 4096), 16384}, -EINVAL},
	{"munmap: nothing there", SYS_munmap, {A(HOLE), 4096}, 0},
	{"munmap: length rounded up", SYS_munmap, {A(FREE + 65536), 1}, 0},
	{"munmap: below a hint", SYS_munmap, {A(FREE + 131072), 4096}, 0},
	{"munmap: good", SYS_munmap, {A(FREE), 8192}, 0},
	/* mprotect */
	{"mprotect: not a page", SYS_mprotect, {A(BASE + 8), 4096, PROT_READ}, -EINVAL},
	{"mprotect: length 0", SYS_mprotect, {A(BASE), 0, PROT_READ}, 0},
	{"mprotect: length 0 of nothing", SYS_mprotect, {A(HOLE), 0, PROT_READ}, 0},
	{"mprotect: nothing there", SYS_mprotect, {A(HOLE), 4096, PROT_READ}, -ENOMEM},
	{"mprotect: over the end", SYS_mprotect, {A(BASE + SIZE - 4096), 8192, RW}, -ENOMEM},
	{"mprotect: length that wraps", SYS_mprotect, {A(BASE), -4096, PROT_READ}, -ENOMEM},
	{"mprotect: unknown right", SYS_mprotect, {A(BASE), 4096, 0x100}, -EINVAL},
	{"mprotect: up and down at once", SYS_mprotect, {A(BASE), 4096, PROT_READ | 0x03000000},
		-EINVAL},
	{"mprotect: kernel", SYS_mprotect, {A(KERNEL), 4096, RW}, -ENOMEM},
	{"mprotect: good", SYS_mprotect, {A(BASE), 4096, RW}, 0},
	/* mremap */
	{"mremap: not a page", SYS_mremap, {A(BASE + 1), 4096, 8192, MREMAP_MAYMOVE}, -EINVAL},
	{"mremap: unknown flag", SYS_mremap, {A(BASE), 4096, 8192, 0x80}, -EINVAL},
	{"mremap: fixed without maymove", SYS_mremap, {A(BASE), 4096, 4096, MREMAP_FIXED, A(FREE)},
		-EINVAL},
	{"mremap: new size 0", SYS_mremap, {A(BASE), 4096, 0, MREMAP_MAYMOVE}, -EINVAL},
	{"mremap: old size 0 of private memory", SYS_mremap, {A(BASE), 0, 4096, MREMAP_MAYMOVE},
		-EINVAL},
	{"mremap: nothing there", SYS_mremap, {A(HOLE), 4096, 8192, MREMAP_MAYMOVE}, -EFAULT},
	{"mremap: old range over the end", SYS_mremap,
		{A(BASE + SIZE - 4096), 8192, 16384, MREMAP_MAYMOVE}, -EFAULT},
	{"mremap: fixed, new not a page", SYS_mremap,
		{A(BASE), 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, A(FREE + 8)}, -EINVAL},
	{"mremap: fixed, overlaps", SYS_mremap,
		{A(BASE), 8192, 8192, MREMAP_MAYMOVE | MREMAP_FIXED, A(BASE + 4096)}, -EINVAL},
	{"mremap: fixed in the kernel", SYS_mremap,
		{A(BASE), 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, A(KERNEL)}, -EINVAL},
	{"mremap: grow without moving against an area", SYS_mremap, {A(BASE), 4096, 8192, 0},
		-ENOMEM},
	{"mremap: new size that wraps to 0", SYS_mremap, {A(BASE), 4096, -1, MREMAP_MAYMOVE},
		-EINVAL},
	{"mremap: old size near the top", SYS_mremap, {A(BASE), -8192, 4096, MREMAP_MAYMOVE},
		-EINVAL},
	{"mremap: same size", SYS_mremap, {A(BASE), 4096, 4096, 0}, A(BASE)},
	/* brk */
	{"brk: below the start", SYS_brk, {4096}, ANY},
	{"brk: in the kernel", SYS_brk, {A(KERNEL)}, ANY},
	/* madvise */
	{"madvise: not a page", SYS_madvise, {A(BASE + 1), 4096, MADV_DONTNEED}, -EINVAL},
	{"madvise: unknown advice", SYS_madvise, {A(BASE), 4096, 999}, -EINVAL},
	{"madvise: unknown advice, length 0", SYS_madvise, {A(BASE), 0, 999}, -EINVAL},
	{"madvise: length 0", SYS_madvise, {A(BASE), 0, MADV_DONTNEED}, 0},
	{"madvise: length that wraps", SYS_madvise, {A(BASE), -1, MADV_DONTNEED}, -EINVAL},
	{"madvise: range that wraps", SYS_madvise, {A(BASE), -8192, MADV_DONTNEED}, -EINVAL},
	{"madvise: nothing there", SYS_madvise, {A(HOLE), 4096, MADV_DONTNEED}, -ENOMEM},
	{"madvise: over the end", SYS_madvise, {A(BASE + SIZE - 4096), 8192, MADV_DONTNEED},
		-ENOMEM},
	{"madvise: hugepage of nothing", SYS_madvise, {A(HOLE), 4096, MADV_HUGEPAGE}, -ENOMEM},
	{"madvise: nohugepage over a hole", SYS_madvise,
		{A(BASE + SIZE - 4096), 8192, MADV_NOHUGEPAGE}, -ENOMEM},
	{"madvise: hugepage again", SYS_madvise, {A(BASE + SIZE - 4096), 4096, MADV_HUGEPAGE}, 0},
	{"madvise: free of nothing", SYS_madvise, {A(HOLE), 4096, MADV_FREE}, -ENOMEM},
	{"madvise: collapse of nothing mapped", SYS_madvise,
		{A(HOLE), A(HUGE_BYTES), MADV_COLLAPSE}, -ENOMEM},
	{"madvise: collapse, nothing present", SYS_madvise,
		{A(LOCKED), A(HUGE_BYTES), MADV_COLLAPSE}, -EINVAL},
	{"madvise: collapse of less than 2 MiB", SYS_madvise, {A(BASE), 4096, MADV_COLLAPSE}, 0},
	{"madvise: populate-write of nothing", SYS_madvise, {A(HOLE), 4096, MADV_POPULATE_WRITE},
		-ENOMEM},
	{"madvise: populate-write read-only", SYS_madvise, {A(LOCKED), 4096, MADV_POPULATE_WRITE},
		-EINVAL},
	{"madvise: populate-read read-only", SYS_madvise, {A(LOCKED), 4096, MADV_POPULATE_READ}, 0},
	{"madvise: kernel", SYS_madvise, {A(KERNEL), 4096, MADV_DONTNEED}, -ENOMEM},
	/* mincore */
	{"mincore: not a page", SYS_mincore, {A(BASE + 1), 4096, A(bytes)}, -EINVAL},
	{"mincore: nothing there", SYS_mincore, {A(HOLE), 4096, A(bytes)}, -ENOMEM},
	{"mincore: kernel", SYS_mincore, {A(KERNEL), 4096, A(bytes)}, -ENOMEM},
	{"mincore: answer to nowhere", SYS_mincore, {A(BASE), 4096, A(HOLE)}, -EFAULT},
	{"mincore: answer into the kernel", SYS_mincore, {A(BASE), 4096, A(KERNEL)}, -EFAULT},
	{"mincore: length 0", SYS_mincore, {A(BASE), 0, A(bytes)}, 0},
	{"mincore: good", SYS_mincore, {A(BASE), 16384, A(bytes)}, 0},
	/* prctl, arch_prctl */
	{"prctl: unknown", SYS_prctl, {9999, 0, 0, 0, 0}, -EINVAL},
	{"prctl: THP_DISABLE, third argument", SYS_prctl, {PR_SET_THP_DISABLE, 0, 1, 0, 0},
		-EINVAL},
	{"prctl: THP_DISABLE asked with an argument", SYS_prctl, {PR_GET_THP_DISABLE, 1, 0, 0, 0},
		-EINVAL},
	{"prctl: THP_DISABLE is off", SYS_prctl, {PR_GET_THP_DISABLE, 0, 0, 0, 0}, 0},
	{"arch_prctl: unknown", SYS_arch_prctl, {0x9999, 0}, -EINVAL},
	{"arch_prctl: FS in the kernel", SYS_arch_prctl, {0x1002, A(KERNEL)}, -EPERM},
	{"arch_prctl: FS not canonical", SYS_arch_prctl, {0x1002, A(WILD)}, -EPERM},
	/* time */
	{"nanosleep: NULL", SYS_nanosleep, {0, 0}, -EFAULT},
	{"nanosleep: from the kernel", SYS_nanosleep, {A(KERNEL), 0}, -EFAULT},
	{"nanosleep: not canonical", SYS_nanosleep, {A(WILD), 0}, -EFAULT},
	{"nanosleep: 10^9 nanoseconds", SYS_nanosleep, {A(&times[1]), 0}, -EINVAL},
	{"nanosleep: negative nanoseconds", SYS_nanosleep, {A(&times[2]), 0}, -EINVAL},
	{"nanosleep: negative seconds", SYS_nanosleep, {A(&times[3]), 0}, -EINVAL},
	{"nanosleep: good", SYS_nanosleep, {A(&times[0]), 0}, 0},
	{"clock_nanosleep: unknown clock", SYS_clock_nanosleep, {77, 0, A(&times[0]), 0}, -EINVAL},
	{"clock_nanosleep: negative", SYS_clock_nanosleep, {CLOCK_MONOTONIC, 0, A(&times[2]), 0},
		-EINVAL},
	{"clock_nanosleep: time that is past", SYS_clock_nanosleep,
		{CLOCK_MONOTONIC, TIMER_ABSTIME, A(&times[0]), 0}, 0},
	{"clock_gettime: unknown clock", SYS_clock_gettime, {77, A(bytes)}, -EINVAL},
	{"clock_gettime: NULL", SYS_clock_gettime, {CLOCK_MONOTONIC, 0}, -EFAULT},
	{"clock_gettime: into the kernel", SYS_clock_gettime, {CLOCK_MONOTONIC, A(KERNEL)},
		-EFAULT},
	{"clock_gettime: into read-only memory", SYS_clock_gettime, {CLOCK_MONOTONIC, A(LOCKED)},
		-EFAULT},
	{"clock_gettime: realtime", SYS_clock_gettime, {CLOCK_REALTIME, A(bytes)}, 0},
	/* files */
	{"write: not open", SYS_write, {99, A(bytes), 1}, -EBADF},
	{"write: negative", SYS_write, {-1, A(bytes), 1}, -EBADF},
	{"write: from NULL", SYS_write, {1, 0, 1}, -EFAULT},
	{"write: from the kernel", SYS_write, {1, A(KERNEL), 1}, -EFAULT},
	{"write: from beyond the end", SYS_write, {1, A(USER_END), 1}, -EFAULT},
	{"write: nothing", SYS_write, {1, A(bytes), 0}, 0},
	{"read: not open", SYS_read, {99, A(bytes), 1}, -EBADF},
	{"close: not open", SYS_close, {99}, -EBADF},
	{"lseek: not open", SYS_lseek, {99, 0, 0}, -EBADF},
	{"open: no such file", SYS_open, {A("/proc/nothing"), O_RDONLY}, -ENOENT},
	{"open: empty name", SYS_open, {A(""), O_RDONLY}, -ENOENT},
	{"open: NULL", SYS_open, {0, O_RDONLY}, -EFAULT},
	{"open: name in the kernel", SYS_open, {A(KERNEL), O_RDONLY}, -EFAULT},
	{"openat: no such file", SYS_openat, {AT_FDCWD, A(THP_DIR "nothing"), O_RDONLY}, -ENOENT},
	/* processes */
	{"wait4: no child", SYS_wait4, {-1, 0, 0, 0}, -ECHILD},
	{"wait4: not a child", SYS_wait4, {1, 0, 0, 0}, -ECHILD},
	{"getrusage: unknown", SYS_getrusage, {77, A(bytes)}, -EINVAL},
	{"getrusage: NULL", SYS_getrusage, {0, 0}, -EFAULT},
	{"uname: into the kernel", SYS_uname, {A(KERNEL)}, -EFAULT},
	{"getrandom: unknown flag", SYS_getrandom, {A(bytes), 8, 0x100}, -EINVAL},
	{"getrandom: NULL", SYS_getrandom, {0, 8, 0}, -EFAULT},
	{"getrandom: good", SYS_getrandom, {A(bytes), 8, 0}, 8},
	{"prlimit64: unknown", SYS_prlimit64, {0, 99, 0, A(bytes)}, -EINVAL},
	/* numbers nobody has */
	{"number 9999", 9999, {0}, -ENOSYS},
	{"number -1", -1, {0}, -ENOSYS},
	{"gettid", SYS_gettid, {0}, ANY},
	{"sched_yield", SYS_sched_yield, {0}, 0},
};

/* The call itself, unfiltered: errno stays in the answer. */
static long call(long number, const long *a)
{
	register long r10 __asm__("r10") = a[3];
	register long r8 __asm__("r8") = a[4];
	register long r9 __asm__("r9") = a[5];
	long answer;

	__asm__ volatile("syscall"
			 : "=a"(answer)
			 : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return answer;
}

static bool answer_fits(long got, long want)
{
	return want == ANY ? got < -4095 || got >= 0 : got == want;
}

/* What no bad call may have changed. (madvise over the end does drop the last page, as Linux does.) */
static bool areas_unchanged(void)
{
	for (unsigned long at = 0; at < SIZE - PAGE_BYTES; at += PAGE_BYTES) {
		if (*(volatile unsigned long *)(BASE + at) != at + 1)
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	size_t nr = sizeof(table) / sizeof(table[0]);
	bool list = argc == 2 && strcmp(argv[1], "--list") == 0;
	int failures = 0;

	if (argc > 1 && !list) {
		fprintf(stderr, "usage: syscalls [--list]\n");
		return 2;
	}
	if (area_map(0, SIZE, RW, 0) == MAP_FAILED ||
		area_map(LOCKED - AREA_BASE, HUGE_BYTES, PROT_READ, 0) == MAP_FAILED)
		die("syscalls: cannot map its areas");
	for (unsigned long at = 0; at < SIZE; at += PAGE_BYTES)
		*(volatile unsigned long *)(BASE + at) = at + 1;
	for (size_t i = 0; i < nr; i++) {
		long got = call(table[i].number, table[i].args);

		if (list)
			printf("%-48s %ld\n", table[i].what, got);
		if (answer_fits(got, table[i].answer))
			continue;
		printf("syscalls: %s: FAILED: %ld, should be %ld\n", table[i].what, got,
			table[i].answer);
		failures++;
	}
	if (!areas_unchanged()) {
		printf("syscalls: FAILED: a bad call changed memory\n");
		failures++;
	}
	printf("syscalls: %zu calls, %s\n", nr, failures ? "FAILED" : "ok");
	return failures != 0;
}
