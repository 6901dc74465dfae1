/*
 * pointers.c - every call that takes a pointer, with every kind of bad address.                 ring 3
 *
 *   pointers [--list]
 *
 * One table: a call, which of its arguments is the pointer, whether the kernel writes there, good values for the rest.
 * Each is made with each bad address: nothing there, no right, the kernel's half, no address at all, and good memory
 * that ends too early. The answer must be EFAULT wherever Linux 6.1 says EFAULT; the table was made by running this
 * there. Afterwards memory is what it was. Calls of Pagoda's own, which Linux has not, come last.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <native.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "lib.h"

#define LOCKED (AREA_BASE + 8 * MIB)  /* a page without write right, then nothing */
#define SECRET (AREA_BASE + 12 * MIB) /* a page without any right */
#define FILLED 0x5a

static const struct {
	const char *name;
	unsigned long address;
	bool readable; /* a call that only reads may succeed */
} bad[] = {
	{"NULL", 0, false},
	{"1", 1, false},
	{"a hole", AREA_BASE + 16 * MIB, false},
	{"no right", SECRET, false},
	{"read-only", LOCKED, true},
	{"the end of the space", 0x7fffffffffff, false},
	{"behind the space", 0x800000000000, false},
	{"not canonical", 0x8000000000000000, false},
	{"the kernel's half", 0xffff800000000000, false},
	{"the direct map", 0xffff888000000000, false},
	{"the kernel's text", 0xffffffff80000000, false},
	{"the last page", -4096ul, false},
	{"the last byte", -1ul, false},
};
#define BAD (sizeof(bad) / sizeof(bad[0]))

static char text[PAGE_BYTES] __attribute__((aligned(4096))); /* any structure of zeroes */
static struct timespec soon = {0, 1};
static int ends[2], zero, scratch;

#define A(x) ((long)(x))

/* A file of this program's, by its place: the number is known when the table is used. */
#define ENDS0   (1l << 40)
#define ENDS1   (2l << 40)
#define ZERO    (3l << 40)
#define SCRATCH (4l << 40)

static const struct {
	const char *name;
	long number;
	int pointer; /* which argument */
	bool writes;
	long args[6];
} calls[] = {
	{"read", SYS_read, 1, true, {ZERO, 0, 8}},
	{"write", SYS_write, 1, false, {ENDS1, 0, 8}},
	{"open", SYS_open, 0, false, {0, O_RDONLY}},
	{"openat", SYS_openat, 1, false, {AT_FDCWD, 0, O_RDONLY}},
	{"stat: name", SYS_stat, 0, false, {0, A(text)}},
	{"stat", SYS_stat, 1, true, {A("/"), 0}},
	{"lstat", SYS_lstat, 1, true, {A("/"), 0}},
	{"fstat", SYS_fstat, 1, true, {ZERO, 0}},
	{"newfstatat", SYS_newfstatat, 2, true, {AT_FDCWD, A("/"), 0, 0}},
	{"pread64", SYS_pread64, 1, true, {ZERO, 0, 8, 0}},
	{"readv", SYS_readv, 1, false, {ZERO, 0, 1}},
	{"writev", SYS_writev, 1, false, {ENDS1, 0, 1}},
	{"access", SYS_access, 0, false, {0, F_OK}},
	{"pipe", SYS_pipe, 0, true, {0}},
	{"pipe2", SYS_pipe2, 0, true, {0, 0}},
	{"nanosleep", SYS_nanosleep, 0, false, {0, 0}},
	{"clock_nanosleep", SYS_clock_nanosleep, 2, false, {CLOCK_MONOTONIC, 0, 0, 0}},
	{"clock_gettime", SYS_clock_gettime, 1, true, {CLOCK_MONOTONIC, 0}},
	{"gettimeofday", SYS_gettimeofday, 0, true, {0, 0}},
	{"uname", SYS_uname, 0, true, {0}},
	{"getcwd", SYS_getcwd, 0, true, {0, 100}},
	{"chdir", SYS_chdir, 0, false, {0}},
	{"mkdir", SYS_mkdir, 0, false, {0, 0755}},
	{"rmdir", SYS_rmdir, 0, false, {0}},
	{"unlink", SYS_unlink, 0, false, {0}},
	{"rename: old", SYS_rename, 0, false, {0, A("/tmp/x")}},
	{"rename: new", SYS_rename, 1, false, {A("/tmp"), 0}},
	{"symlink", SYS_symlink, 0, false, {0, A("/tmp/none/x")}},
	{"readlink: name", SYS_readlink, 0, false, {0, A(text), 100}},
	{"readlink", SYS_readlink, 1, true, {A("/proc/self"), 0, 100}},
	{"chmod", SYS_chmod, 0, false, {0, 0644}},
	{"truncate", SYS_truncate, 0, false, {0, 0}},
	{"getdents64", SYS_getdents64, 1, true, {SCRATCH, 0, 1000}},
	{"getrusage", SYS_getrusage, 1, true, {0, 0}},
	{"sysinfo", SYS_sysinfo, 0, true, {0}},
	{"times", SYS_times, 0, true, {0}},
	{"getrandom", SYS_getrandom, 0, true, {0, 8, 0}},
	{"prlimit64", SYS_prlimit64, 3, true, {0, 7, 0, 0}},
	{"rt_sigaction", SYS_rt_sigaction, 1, false, {SIGUSR2, 0, 0, 8}},
	{"rt_sigaction: old", SYS_rt_sigaction, 2, true, {SIGUSR2, 0, 0, 8}},
	{"rt_sigprocmask", SYS_rt_sigprocmask, 1, false, {SIG_UNBLOCK, 0, 0, 8}},
	{"rt_sigprocmask: old", SYS_rt_sigprocmask, 2, true, {SIG_BLOCK, 0, 0, 8}},
	{"sigaltstack", SYS_sigaltstack, 1, true, {0, 0}},
	{"sched_getaffinity", SYS_sched_getaffinity, 2, true, {0, 8, 0}},
	{"poll", SYS_poll, 0, true, {0, 1, 0}},
	{"execve", SYS_execve, 0, false, {0, 0, 0}},
	{"execve: arguments", SYS_execve, 1, false, {A("/bin/nosuch"), 0, 0}},
	{"set_robust_list", SYS_set_robust_list, 0, false, {0, 24}},
	{"futex wait", SYS_futex, 0, false, {0, 128, 1, A(&soon)}},
	{"mincore", SYS_mincore, 2, true, {A(AREA_BASE), 8192, 0}},
	{"memfd_create", SYS_memfd_create, 0, false, {0, 0}},
	{"prctl: name", SYS_prctl, 1, false, {15, 0}},
	{"prctl: get name", SYS_prctl, 1, true, {16, 0}},
	{"arch_prctl: get fs", SYS_arch_prctl, 1, true, {0x1003, 0}},
	/* ours */
	{"task_info", SYS_task_info, 1, true, {1, 0}},
	{"memory_map", SYS_memory_map, 0, false, {0}},
	{"pager_supply", SYS_pager_supply, 0, false, {0}},
	{"debug_open", SYS_debug_open, 1, false, {HANDLE_MACHINE, 0, 7}},
};

/* What Linux answers otherwise, with the reason. 0: no error. */
static const struct {
	const char *call;
	int bad; /* an index, -1: all */
	long answer;
} other[] = {
	{"rt_sigaction", 0, 0},      /* NULL: nothing is to be set */
	{"rt_sigaction: old", 0, 0}, /* ... or read */
	{"rt_sigprocmask", 0, 0}, {"rt_sigprocmask: old", 0, 0}, {"sigaltstack", 0, 0},
	{"prlimit64", 0, 0}, {"gettimeofday", 0, 0}, {"times", 0, 0},
	{"set_robust_list", -1, 0}, /* looked at when the thread ends */
	{"execve: arguments", 0,
		-ENOENT}, /* none are given; the others are counted before the file is opened */
	{"futex wait", 1, -EINVAL}, /* not a multiple of 4 */
	{"futex wait", 5, -EINVAL}, {"futex wait", 12, -EINVAL},
	{"task_info", -1, -EINVAL}, /* the machine is no task */
};

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

static long file_of(long argument)
{
	switch (argument) {
	case ENDS0:
		return ends[0];
	case ENDS1:
		return ends[1];
	case ZERO:
		return zero;
	case SCRATCH:
		return scratch;
	default:
		return argument;
	}
}

static bool answer_fits(size_t c, size_t b, long got)
{
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		if (strcmp(other[i].call, calls[c].name) == 0 &&
			(other[i].bad < 0 || other[i].bad == (int)b))
			return other[i].answer ? got == other[i].answer : got >= 0;
	}
	if (got == -EFAULT)
		return true;
	return bad[b].readable && !calls[c].writes; /* any answer: it could be read */
}

static long make_one(size_t c, unsigned long address)
{
	long a[6];

	for (int i = 0; i < 6; i++)
		a[i] = file_of(calls[c].args[i]);
	a[calls[c].pointer] = address;
	return call(calls[c].number, a);
}

/* Good memory that ends inside what is asked for: a page, and its last bytes. */
static int make_ending(size_t c)
{
	unsigned long at = AREA_BASE + 2 * PAGE_BYTES - 1;
	long got;

	if (!calls[c].writes)
		return 0;
	got = make_one(c, at);
	if (got == -EFAULT || got == 1 || got == -EINVAL || strncmp(calls[c].name, "prctl", 5) == 0)
		return 0; /* 1: one byte was there, and read said so */
	if (strcmp(calls[c].name, "task_info") == 0)
		return 0;
	printf("pointers: %s: into the last byte of an area: FAILED: %ld\n", calls[c].name, got);
	return 1;
}

static bool memory_unchanged(void)
{
	const volatile unsigned char *area = (unsigned char *)AREA_BASE,
				     *locked = (unsigned char *)LOCKED;

	for (unsigned long i = 0; i < 2 * PAGE_BYTES - 1; i++) {
		if (area[i] != FILLED)
			return false;
	}
	for (unsigned long i = 0; i < PAGE_BYTES; i++) {
		if (locked[i])
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	size_t nr = sizeof(calls) / sizeof(calls[0]);
	bool list = argc == 2 && strcmp(argv[1], "--list") == 0;
	int failures = 0, made = 0;

	if (area_map(0, 2 * PAGE_BYTES, PROT_READ | PROT_WRITE, 0) == MAP_FAILED ||
		area_map(LOCKED - AREA_BASE, PAGE_BYTES, PROT_READ, 0) == MAP_FAILED ||
		area_map(SECRET - AREA_BASE, PAGE_BYTES, PROT_NONE, 0) == MAP_FAILED || pipe(ends))
		die("pointers: cannot make its areas");
	memset((void *)AREA_BASE, FILLED, 2 * PAGE_BYTES);
	zero = open("/dev/zero", O_RDONLY);
	scratch = open("/", O_RDONLY | O_DIRECTORY);
	for (size_t c = 0; c < nr; c++) {
		if (calls[c].number >= SYS_NATIVE && endpoint_create() < 0)
			break; /* Linux */
		for (size_t b = 0; b < BAD; b++, made++) {
			long got = make_one(c, bad[b].address);

			if (list)
				printf("%-20s %-20s %ld\n", calls[c].name, bad[b].name, got);
			if (answer_fits(c, b, got))
				continue;
			printf("pointers: %s: %s: FAILED: %ld\n", calls[c].name, bad[b].name, got);
			failures++;
		}
		failures += make_ending(c);
	}
	if (!memory_unchanged()) {
		printf("pointers: FAILED: a bad call changed memory\n");
		failures++;
	}
	printf("pointers: %d calls, %s\n", made, failures ? "FAILED" : "ok");
	return failures != 0;
}
