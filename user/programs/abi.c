/*
 * abi.c - does the kernel keep its promises to a program?                                    ring 3
 *
 *   abi exit N      end with status N            abi fault       write to address 0: SIGSEGV
 *   abi jump        run data: SIGSEGV            abi overflow    recurse without end: SIGSEGV
 *   abi spin        loop until killed            abi divide      divide by zero: SIGFPE
 *   abi fpu TAG     registers of the FPU stay mine while others run
 *   abi fork        children, statuses, what is shared and what is not
 *   abi errors      which error the calls answer to nonsense
 *   abi files       the files of /proc and /sys as files
 *   abi start       what stands on the stack and in the registers at the start
 *   abi time        clocks and sleeping
 *   abi stack       a stack that grows to megabytes
 *   abi parallel N  N children at once, each of which forks and touches memory
 *
 * Silent and status 0 when all is well; the first broken promise is printed, status 1. The same binary
 * runs on Linux: there it tests the test.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib.h"

#define EXPECT(cond)                                                                               \
	do {                                                                                       \
		if (!(cond))                                                                       \
			die("abi: line %d: %s (errno %d)", __LINE__, #cond, errno);                \
	} while (0)

/* A call with raw arguments: its result, or -errno. */
static long raw(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

/* --- ends ----------------------------------------------------------------------------------- */

static void run_fault(void)
{
	*(volatile char *)0 = 1;
}

static void run_jump(void)
{
	static char data[16] = {(char)0xc3}; /* ret, in memory that may not run */

	((void (*)(void))(uintptr_t)data)();
}

static int recurse(volatile char *from)
{
	volatile char here[4096];

	here[0] = from[0];
	return from[0] == 2 ? 0 : recurse(here) + here[0];
}

static void run_divide(void)
{
	__asm__ volatile("divl %0" : : "r"(0), "a"(1), "d"(0));
}

/* --- floating point -------------------------------------------------------------------------- */

/* Fill xmm0-15 and the x87 stack with the tag, give the CPU away, look again. */
static void fpu_round(uint64_t tag)
{
	uint64_t in[32], out[32];
	double in87 = (double)tag, out87;

	for (int i = 0; i < 32; i++)
		in[i] = tag * 32 + i;
	__asm__ volatile("fldl %2\n\t"
			 "movdqu (%0), %%xmm0\n\tmovdqu 16(%0), %%xmm1\n\t"
			 "movdqu 32(%0), %%xmm2\n\tmovdqu 48(%0), %%xmm3\n\t"
			 "movdqu 64(%0), %%xmm4\n\tmovdqu 80(%0), %%xmm5\n\t"
			 "movdqu 96(%0), %%xmm6\n\tmovdqu 112(%0), %%xmm7\n\t"
			 "movdqu 128(%0), %%xmm8\n\tmovdqu 144(%0), %%xmm9\n\t"
			 "movdqu 160(%0), %%xmm10\n\tmovdqu 176(%0), %%xmm11\n\t"
			 "movdqu 192(%0), %%xmm12\n\tmovdqu 208(%0), %%xmm13\n\t"
			 "movdqu 224(%0), %%xmm14\n\tmovdqu 240(%0), %%xmm15\n\t"
			 "movl $24, %%eax\n\tsyscall\n\t" /* sched_yield */
			 "movdqu %%xmm0, (%1)\n\tmovdqu %%xmm1, 16(%1)\n\t"
			 "movdqu %%xmm2, 32(%1)\n\tmovdqu %%xmm3, 48(%1)\n\t"
			 "movdqu %%xmm4, 64(%1)\n\tmovdqu %%xmm5, 80(%1)\n\t"
			 "movdqu %%xmm6, 96(%1)\n\tmovdqu %%xmm7, 112(%1)\n\t"
			 "movdqu %%xmm8, 128(%1)\n\tmovdqu %%xmm9, 144(%1)\n\t"
			 "movdqu %%xmm10, 160(%1)\n\tmovdqu %%xmm11, 176(%1)\n\t"
			 "movdqu %%xmm12, 192(%1)\n\tmovdqu %%xmm13, 208(%1)\n\t"
			 "movdqu %%xmm14, 224(%1)\n\tmovdqu %%xmm15, 240(%1)\n\t"
			 "fstpl %3"
			 :
			 : "r"(in), "r"(out), "m"(in87), "m"(out87)
			 : "rax", "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4",
			 "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
			 "xmm14", "xmm15");
	EXPECT(memcmp(in, out, 256) == 0);
	EXPECT(in87 == out87);
}

static void run_fpu(uint64_t tag)
{
	uint32_t mxcsr;

	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	EXPECT(mxcsr == 0x1f80); /* a fresh program has fresh registers */
	for (int i = 0; i < 2000; i++)
		fpu_round(tag);
}

/* --- processes ------------------------------------------------------------------------------- */

static __thread int thread_local = 5;

static int child_status(int pid)
{
	int status = -1;

	EXPECT(waitpid(pid, &status, 0) == pid);
	return status;
}

static void fork_statuses(void)
{
	int status, pid = fork();

	if (pid == 0)
		_exit(42);
	EXPECT(pid > 0);
	status = child_status(pid);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 42);
	pid = fork();
	if (pid == 0) {
		run_fault();
		_exit(0);
	}
	status = child_status(pid);
	EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	EXPECT(waitpid(-1, &status, 0) == -1 && errno == ECHILD);
	EXPECT(waitpid(pid, &status, 0) == -1 && errno == ECHILD);
}

static void fork_memory(void)
{
	volatile long *page = mmap(
		NULL, 4 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int pid;

	EXPECT(page != MAP_FAILED);
	page[0] = 1;
	thread_local = 6;
	pid = fork();
	if (pid == 0) {
		EXPECT(page[0] == 1 && thread_local == 6);
		page[0] = 2;
		thread_local = 7;
		page[512] = 3;
		_exit(page[0] == 2 && thread_local == 7 ? 0 : 1);
	}
	EXPECT(child_status(pid) == 0);
	EXPECT(page[0] == 1 && page[512] == 0 && thread_local == 6);
}

static void fork_family(void)
{
	struct rusage usage;
	int status, parent = getpid(), pid = fork();

	if (pid == 0) {
		EXPECT(getppid() == parent && getpid() != parent);
		EXPECT(raw(SYS_gettid, 0, 0, 0, 0, 0, 0) == getpid());
		sleep_ms(20);
		_exit(0);
	}
	EXPECT(waitpid(pid, &status, WNOHANG) == 0);
	EXPECT(wait4(pid, &status, 0, &usage) == pid && status == 0);
	EXPECT(usage.ru_minflt > 0);
	EXPECT(wait4(-1, &status, 0x40000000, NULL) == -1); /* nobody left */
	EXPECT(raw(SYS_wait4, -1, 0, 0x100, 0, 0, 0) == -EINVAL);
	EXPECT(vfork() != 0 || (_exit(3), 0));
	EXPECT(waitpid(-1, &status, 0) > 0 && WEXITSTATUS(status) == 3);
}

/* A grandchild outlives its parent; nobody has to collect it. */
static void fork_orphan(void)
{
	int pid = fork();

	if (pid == 0) {
		if (fork() == 0) {
			sleep_ms(30);
			_exit(0);
		}
		_exit(0);
	}
	EXPECT(child_status(pid) == 0);
}

static void run_fork(void)
{
	fork_statuses();
	fork_memory();
	fork_family();
	fork_orphan();
}

static void parallel_child(int number)
{
	volatile char *area =
		mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int pid;

	EXPECT(area != MAP_FAILED);
	for (unsigned long i = 0; i < MIB; i += PAGE_BYTES)
		area[i] = (char)number;
	pid = fork();
	for (unsigned long i = 0; i < MIB; i += PAGE_BYTES) {
		EXPECT(area[i] == (char)number);
		if (pid == 0 && i % (2 * PAGE_BYTES) == 0)
			area[i] = (char)~number;
	}
	if (pid == 0)
		_exit(0);
	EXPECT(child_status(pid) == 0);
	for (unsigned long i = 0; i < MIB; i += PAGE_BYTES)
		EXPECT(area[i] == (char)number);
	_exit(0);
}

static void run_parallel(int count)
{
	int status;

	for (int i = 0; i < count; i++) {
		int pid = fork();

		EXPECT(pid >= 0);
		if (pid == 0)
			parallel_child(i);
	}
	for (int i = 0; i < count; i++)
		EXPECT(wait(&status) > 0 && status == 0);
	EXPECT(wait(&status) == -1 && errno == ECHILD);
}

/* --- errors ---------------------------------------------------------------------------------- */

#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static void memory_errors(void)
{
	long area = raw(SYS_mmap, 0, 9 * PAGE_BYTES, PROT_READ | PROT_WRITE, ANON, -1, 0);
	long hole = area + 8 * PAGE_BYTES;
	char vec[16];

	EXPECT(area > 0);
	EXPECT(raw(SYS_munmap, hole, PAGE_BYTES, 0, 0, 0, 0) == 0);
	/* mmap */
	EXPECT(raw(SYS_mmap, 0, PAGE_BYTES, 3, ANON, -1, 1) == -EINVAL);
	EXPECT(raw(SYS_mmap, 0, 0, 3, ANON, -1, 0) == -EINVAL);
	EXPECT(raw(SYS_mmap, 0, PAGE_BYTES, 3, MAP_ANONYMOUS, -1, 0) == -EINVAL);
	EXPECT(raw(SYS_mmap, 0, PAGE_BYTES, 3, MAP_PRIVATE, 99, 0) == -EBADF);
	EXPECT(raw(SYS_mmap, 0, -1, 3, ANON, -1, 0) == -ENOMEM);
	EXPECT(raw(SYS_mmap, 0, 1L << 47, 3, ANON, -1, 0) == -ENOMEM);
	EXPECT(raw(SYS_mmap, 1, PAGE_BYTES, 3, ANON | MAP_FIXED, -1, 0) == -EINVAL);
	EXPECT(raw(SYS_mmap, 1L << 47, PAGE_BYTES, 3, ANON | MAP_FIXED, -1, 0) == -ENOMEM);
	EXPECT(raw(SYS_mmap, area, PAGE_BYTES, 3, ANON | MAP_FIXED_NOREPLACE, -1, 0) == -EEXIST);
	/* munmap */
	EXPECT(raw(SYS_munmap, area + 1, PAGE_BYTES, 0, 0, 0, 0) == -EINVAL);
	EXPECT(raw(SYS_munmap, area, 0, 0, 0, 0, 0) == -EINVAL);
	EXPECT(raw(SYS_munmap, area, -1, 0, 0, 0, 0) == -EINVAL);
	EXPECT(raw(SYS_munmap, 1L << 50, PAGE_BYTES, 0, 0, 0, 0) == -EINVAL);
	EXPECT(raw(SYS_munmap, hole, PAGE_BYTES, 0, 0, 0, 0) == 0);
	/* mprotect */
	EXPECT(raw(SYS_mprotect, area + 1, PAGE_BYTES, 1, 0, 0, 0) == -EINVAL);
	EXPECT(raw(SYS_mprotect, area, PAGE_BYTES, 0x40, 0, 0, 0) == -EINVAL);
	EXPECT(raw(SYS_mprotect, area, 0, 0x40, 0, 0, 0) == 0); /* nothing to do comes first */
	EXPECT(raw(SYS_mprotect, area, 1L << 32, 1, 0, 0, 0) == -ENOMEM); /* at the hole */
	EXPECT(raw(SYS_mprotect, area, PAGE_BYTES, 1L << 32, 0, 0, 0) == -EINVAL);
	EXPECT(raw(SYS_mprotect, hole, PAGE_BYTES, 1, 0, 0, 0) == -ENOMEM);
	EXPECT(raw(SYS_mprotect, area, 8 * PAGE_BYTES, 3, 0, 0, 0) == 0);
	/* mremap */
	EXPECT(raw(SYS_mremap, area, PAGE_BYTES, PAGE_BYTES, 8, 0, 0) == -EINVAL);
	EXPECT(raw(SYS_mremap, area + 1, PAGE_BYTES, PAGE_BYTES, 1, 0, 0) == -EINVAL);
	EXPECT(raw(SYS_mremap, area, PAGE_BYTES, 0, 1, 0, 0) == -EINVAL);
	EXPECT(raw(SYS_mremap, area, PAGE_BYTES, PAGE_BYTES, 2, area, 0) == -EINVAL);
	EXPECT(raw(SYS_mremap, hole, PAGE_BYTES, 2 * PAGE_BYTES, 1, 0, 0) == -EFAULT);
	/* madvise */
	EXPECT(raw(SYS_madvise, area, PAGE_BYTES, 999, 0, 0, 0) == -EINVAL);
	EXPECT(raw(SYS_madvise, area + 1, PAGE_BYTES, 4, 0, 0, 0) == -EINVAL);
	EXPECT(raw(SYS_madvise, area, -1, 4, 0, 0, 0) == -EINVAL);
	EXPECT(raw(SYS_madvise, area, 0, 4, 0, 0, 0) == 0);
	EXPECT(raw(SYS_madvise, hole, PAGE_BYTES, 4, 0, 0, 0) == -ENOMEM);
	/* mincore */
	EXPECT(raw(SYS_mincore, area + 1, PAGE_BYTES, (long)vec, 0, 0, 0) == -EINVAL);
	EXPECT(raw(SYS_mincore, area, PAGE_BYTES, 16, 0, 0, 0) == -EFAULT);
	EXPECT(raw(SYS_mincore, hole, PAGE_BYTES, (long)vec, 0, 0, 0) == -ENOMEM);
	EXPECT(raw(SYS_mincore, 1L << 50, PAGE_BYTES, (long)vec, 0, 0, 0) == -ENOMEM);
	*(volatile char *)area = 1;
	EXPECT(raw(SYS_mincore, area, 2 * PAGE_BYTES, (long)vec, 0, 0, 0) == 0);
	EXPECT((vec[0] & 1) == 1 && (vec[1] & 1) == 0);
	EXPECT(raw(SYS_munmap, area, 8 * PAGE_BYTES, 0, 0, 0, 0) == 0);
}

static void other_errors(void)
{
	char name[16] = "";

	EXPECT(raw(SYS_prctl, 41, 1, 1, 0, 0, 0) == -EINVAL);
	EXPECT(raw(SYS_prctl, 42, 1, 0, 0, 0, 0) == -EINVAL);
	EXPECT(raw(SYS_prctl, 42, 0, 0, 0, 0, 0) == 0);
	EXPECT(raw(SYS_prctl, 41, 1, 0, 0, 0, 0) == 0);
	EXPECT(raw(SYS_prctl, 42, 0, 0, 0, 0, 0) == 1);
	EXPECT(raw(SYS_prctl, 41, 0, 0, 0, 0, 0) == 0);
	EXPECT(raw(SYS_prctl, 9999, 0, 0, 0, 0, 0) == -EINVAL);
	EXPECT(raw(SYS_prctl, 15, 16, 0, 0, 0, 0) == -EFAULT);
	EXPECT(prctl(PR_SET_NAME, "a_name_longer_than_15") == 0);
	EXPECT(prctl(PR_GET_NAME, name) == 0 && strcmp(name, "a_name_longer_t") == 0);
	EXPECT(raw(SYS_arch_prctl, 0x1002, 1L << 47, 0, 0, 0, 0) == -EPERM);
	EXPECT(raw(SYS_arch_prctl, 0x1003, 16, 0, 0, 0, 0) == -EFAULT);
	EXPECT(raw(SYS_arch_prctl, 1, 0, 0, 0, 0, 0) == -EINVAL);
	EXPECT(raw(SYS_set_tid_address, 0, 0, 0, 0, 0, 0) == getpid());
	EXPECT(raw(SYS_getrandom, 16, 8, 0, 0, 0, 0) == -EFAULT);
	EXPECT(raw(SYS_getrandom, (long)name, 8, 0x100, 0, 0, 0) == -EINVAL);
	EXPECT(raw(SYS_getrandom, (long)name, 8, 0, 0, 0, 0) == 8);
	EXPECT(raw(SYS_set_robust_list, (long)name, 7, 0, 0, 0, 0) == -EINVAL);
	EXPECT(raw(SYS_getrusage, 7, (long)name, 0, 0, 0, 0) == -EINVAL);
	EXPECT(raw(SYS_uname, 16, 0, 0, 0, 0, 0) == -EFAULT);
	EXPECT(raw(4000, 0, 0, 0, 0, 0, 0) == -ENOSYS);
}

static void run_errors(void)
{
	memory_errors();
	other_errors();
}

/* --- files ----------------------------------------------------------------------------------- */

static void run_files(void)
{
	char text[256], again[256], two[2][8];
	struct iovec v[2] = {{two[0], 8}, {two[1], 8}};
	uint64_t entry;
	int n, fd = open("/proc/self/status", O_RDONLY), settings;

	EXPECT(fd >= 3);
	n = read(fd, text, sizeof(text));
	EXPECT(n > 8 && memcmp(text, "Name:\tabi\n", 10) == 0);
	EXPECT(lseek(fd, 0, SEEK_SET) == 0 && read(fd, again, 16) == 16);
	EXPECT(memcmp(text, again, 16) == 0);
	EXPECT(pread(fd, again, 16, 4) == 16 && memcmp(text + 4, again, 16) == 0);
	EXPECT(lseek(fd, 0, SEEK_SET) == 0 && readv(fd, v, 2) == 16);
	EXPECT(memcmp(two, text, 16) == 0);
	EXPECT(lseek(fd, -1, SEEK_SET) == -1 && errno == EINVAL);
	EXPECT(write(fd, "x", 1) == -1 && errno == EBADF);
	EXPECT(ioctl(fd, 0x5413, text) == -1 && errno == ENOTTY);
	EXPECT(raw(SYS_read, fd, 16, 8, 0, 0, 0) == -EFAULT);
	EXPECT(close(fd) == 0 && close(fd) == -1 && errno == EBADF);
	EXPECT(raw(SYS_read, 77, 0, 0, 0, 0, 0) == -EBADF);
	EXPECT(open("/proc/nothing", O_RDONLY) == -1 && errno == ENOENT);
	EXPECT(open("", O_RDONLY) == -1 && errno == ENOENT);
	EXPECT(raw(SYS_open, 16, 0, 0, 0, 0, 0) == -EFAULT);

	fd = open("/proc/self/pagemap", O_RDONLY);
	EXPECT(pread(fd, &entry, 8, (uintptr_t)text / PAGE_BYTES * 8) == 8 && entry >> 63 == 1);
	EXPECT(pread(fd, &entry, 7, 0) == -1 && errno == EINVAL);
	EXPECT(close(fd) == 0);

	settings = open(THP_DIR "khugepaged/max_ptes_none", O_RDWR);
	EXPECT(settings >= 0);
	EXPECT(write(settings, "513", 3) == -1 && errno == EINVAL);
	EXPECT(write(settings, "maybe", 5) == -1 && errno == EINVAL);
	n = read(settings, text, sizeof(text));
	EXPECT(n > 1 && text[n - 1] == '\n' && write(settings, text, n) == n);
	EXPECT(close(settings) == 0);
	EXPECT(write(1, text, 0) == 0);
}

static void run_start(char **argv, char **envp)
{
	struct utsname u;
	const unsigned char *random = (const unsigned char *)getauxval(AT_RANDOM);
	int sum = 0;

	EXPECT(((uintptr_t)(argv - 1) & 15) == 0); /* where rsp stood */
	EXPECT(argv[2] == NULL && strcmp(argv[1], "start") == 0);
	for (char **e = envp; *e; e++)
		EXPECT(strchr(*e, '='));
	EXPECT(getauxval(AT_PAGESZ) == PAGE_BYTES && getauxval(AT_PHENT) == 56);
	EXPECT(getauxval(AT_PHDR) && getauxval(AT_PHNUM) && getauxval(AT_ENTRY));
	EXPECT(getauxval(AT_SECURE) == 0 && getauxval(AT_CLKTCK) == 100);
	EXPECT(strcmp((const char *)getauxval(AT_PLATFORM), "x86_64") == 0);
	EXPECT(strstr((const char *)getauxval(AT_EXECFN), "abi"));
	for (int i = 0; i < 16; i++)
		sum += random[i];
	EXPECT(sum);
	EXPECT(uname(&u) == 0 && strcmp(u.machine, "x86_64") == 0);
}

/* --- time and stack ---------------------------------------------------------------------------- */

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t;

	EXPECT(clock_gettime(clock, &t) == 0 && t.tv_nsec >= 0 && t.tv_nsec < 1000000000);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void run_time(void)
{
	uint64_t before = now_ns(CLOCK_MONOTONIC), middle;
	struct timespec bad = {0, 1000000000}, abs;

	sleep_ms(20);
	middle = now_ns(CLOCK_MONOTONIC);
	EXPECT(middle - before >= 20000000);
	abs = (struct timespec){(middle + 10000000) / 1000000000, (middle + 10000000) % 1000000000};
	EXPECT(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &abs, NULL) == 0);
	EXPECT(now_ns(CLOCK_MONOTONIC) - middle >= 10000000);
	EXPECT(clock_nanosleep(CLOCK_REALTIME, 0, &(struct timespec){0, 1000}, NULL) == 0);
	EXPECT(nanosleep(&bad, NULL) == -1 && errno == EINVAL);
	EXPECT(raw(SYS_nanosleep, 16, 0, 0, 0, 0, 0) == -EFAULT);
	EXPECT(raw(SYS_clock_gettime, 99, (long)&bad, 0, 0, 0, 0) == -EINVAL);
	EXPECT(now_ns(CLOCK_REALTIME) > 0 && now_ns(CLOCK_PROCESS_CPUTIME_ID) > 0);
}

static int deep(int levels)
{
	volatile char frame[64 * KIB];

	frame[0] = (char)levels;
	frame[sizeof(frame) - 1] = 1;
	return levels ? deep(levels - 1) + frame[0] - (char)levels : frame[sizeof(frame) - 1];
}

int main(int argc, char **argv, char **envp)
{
	const char *what = argc > 1 ? argv[1] : "";
	int number = argc > 2 ? atoi(argv[2]) : 0;
	char first = 0;

	if (strcmp(what, "exit") == 0)
		return number;
	else if (strcmp(what, "fault") == 0)
		run_fault();
	else if (strcmp(what, "jump") == 0)
		run_jump();
	else if (strcmp(what, "overflow") == 0)
		return recurse(&first);
	else if (strcmp(what, "divide") == 0)
		run_divide();
	else if (strcmp(what, "spin") == 0)
		for (;;)
			touch_read(&first);
	else if (strcmp(what, "fpu") == 0)
		run_fpu(number);
	else if (strcmp(what, "fork") == 0)
		run_fork();
	else if (strcmp(what, "errors") == 0)
		run_errors();
	else if (strcmp(what, "files") == 0)
		run_files();
	else if (strcmp(what, "start") == 0)
		run_start(argv, envp);
	else if (strcmp(what, "time") == 0)
		run_time();
	else if (strcmp(what, "stack") == 0)
		EXPECT(deep(100) != 12345);
	else if (strcmp(what, "parallel") == 0)
		run_parallel(number);
	else
		die("usage: abi exit N|fault|jump|overflow|divide|spin|fpu TAG|fork|errors|files|"
		    "start|time|stack|parallel N");
	return 0;
}
