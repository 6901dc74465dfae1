/*
 * fuzz.c - calls at random: any number, any arguments, from several threads.                   ring 3
 *
 *   fuzz CALLS SEED         default 20000 1; last line: "fuzz: CALLS calls, seed SEED: ok"
 *
 * IDEA
 *   A parent forks one worker after the other; a worker's threads make calls until BATCH of them are made. It may die
 *   of what it does, or sleep for ever: the parent kills whoever makes no call for STUCK_MS and starts the next.
 *   Calls are counted in a page that all share, so an end in the middle loses nothing. Numbers are Linux's 0..450, our
 *   own from SYS_NATIVE and a little beyond, and garbage; arguments come from pools in which every kind is frequent:
 *   pointers to memory that may be read, written, neither, is not there, is the kernel's, is not an address at all;
 *   handles that an earlier call returned; lengths that overflow.
 *
 * WHAT IT SPARES
 *   Everybody else. Calls that name a process get the worker's own pid; a child of fork ends at once; standard files
 *   are /dev/null; paths lie in DIR, or are files that only the kernel writes. The machine handle a program has carries
 *   neither panic nor power-off, and reboot(2)'s magic numbers are in no pool.
 *
 * A run depends on its seed, and on who is faster. On Linux it runs too: in a guest, never on your own machine.
 */
#define _GNU_SOURCE
#include <abi/native.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"

#define DIR         "/tmp/fuzz"
#define BATCH       200 /* calls of one worker */
#define STUCK_MS    40
#define THREADS_MAX 4
#define LINUX_END   451
#define BEYOND      8  /* native numbers that are not there */
#define ARGUMENTS   11 /* six, and what messages have more */
#define KEPT        32 /* results of earlier calls */

#define AREA    AREA_BASE /* 4 MiB to read and write, then 2 MiB to read, 2 MiB for nothing, a hole */
#define RW_SIZE (4 * MIB)

static struct shared {
	atomic_ulong calls, batch;
} * shared;

static unsigned long seed = 1;
static long self; /* a worker's pid */

/* fuzz_call - all registers a call can read; a child that appears in it ends without using a stack. */
long fuzz_call(long number, const long *arguments);
__asm__(".text\n"
	"fuzz_call:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	mov %rdi, %rbp\n"
	"	mov %rdi, %rax\n"
	"	mov %rsi, %r11\n"
	"	mov 0(%r11), %rdi;   mov 8(%r11), %rsi;   mov 16(%r11), %rdx; mov 24(%r11), %r10\n"
	"	mov 32(%r11), %r8;   mov 40(%r11), %r9;   mov 48(%r11), %rbx; mov 56(%r11), %r12\n"
	"	mov 64(%r11), %r13;  mov 72(%r11), %r14;  mov 80(%r11), %r15\n"
	"	syscall\n"
	"	test %rax, %rax\n"
	"	jnz 1f\n"
	"	cmp $56, %rbp; je 2f\n" /* clone, fork, vfork, clone3 */
	"	cmp $57, %rbp; je 2f\n"
	"	cmp $58, %rbp; je 2f\n"
	"	cmp $435, %rbp; je 2f\n"
	"1:	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n"
	"2:	xor %edi, %edi\n"
	"	mov $60, %eax\n"
	"	syscall\n"
	"	ud2\n");

/* ---- chance ----------------------------------------------------------------------------------------- */

struct chance {
	unsigned long state;
	long kept[KEPT];
	unsigned int nr_kept;
};

static unsigned long draw(struct chance *c)
{
	c->state ^= c->state << 13;
	c->state ^= c->state >> 7;
	c->state ^= c->state << 17;
	return c->state * 0x2545f4914f6cdd1dul >> 11;
}

#define PICK(c, table) ((table)[draw(c) % (sizeof(table) / sizeof((table)[0]))])

static const char long_path[5000] = {[0 ... 4998] = 'x'};

static long pointer(struct chance *c)
{
	static const char *const paths[] = {DIR "/a", DIR "/b", DIR, DIR "/none/x", "", "/", "a",
		"/dev/null", "/dev/zero", "/proc/self/maps", "/proc/self/smaps", "/proc/vmstat",
		THP_DIR "enabled", "version", "free", "nosuch", long_path};
	static const long wild[] = {0, 1, 4095, -1, -4096, AREA + 6 * MIB, AREA + 8 * MIB,
		AREA + RW_SIZE - 1, AREA + RW_SIZE - 8, AREA + RW_SIZE, AREA + 6 * MIB - 1,
		0x7ffffffff000, 0x7fffffffffff, 0x800000000000, 0x800000000001, 1l << 62,
		(long)0x8000000000000000ul, (long)0xffff7fffffffffff, (long)0xffff800000000000,
		(long)0xffff888000000000, (long)0xffffffff80000000, (long)0xffffffff80100000};

	switch (draw(c) % 8) {
	case 0:
	case 1:
		return PICK(c, wild);
	case 2:
		return (long)PICK(c, paths);
	case 3:
		return AREA + draw(c) % (8 * MIB);
	default:
		return AREA + draw(c) % (RW_SIZE / 64) * 64;
	}
}

static long length(struct chance *c)
{
	static const long lengths[] = {0, 1, 2, 7, 8, 16, 24, 36, 48, 56, 80, 128, 152, 168, 512,
		4095, 4096, 4097, 8192, 65536, HUGE_BYTES, HUGE_BYTES - 1, RW_SIZE, 1l << 30,
		1l << 31, 1l << 32, 1l << 46, 1l << 47, 1l << 62, (long)(1ul << 63), -1, -4096,
		-HUGE_BYTES};

	return PICK(c, lengths);
}

static long argument(struct chance *c)
{
	static const long odd[] = {-1, -2, -100, 1l << 31, 0x7fffffff, 0xffffffff, 1l << 32, 4095,
		4096, 0x5401, 0x5413, 0x541b};

	switch (draw(c) % 8) {
	case 0:
	case 1:
		return pointer(c);
	case 2:
		return length(c);
	case 3:
		return c->kept[draw(c) % KEPT];
	case 4:
		return 1l << draw(c) % 64;
	case 5:
		return PICK(c, odd);
	case 6:
		return draw(c) % 4096;
	default:
		return draw(c) % 12;
	}
}

/* ---- one call --------------------------------------------------------------------------------------- */

static long number(struct chance *c)
{
	unsigned long kind = draw(c) % 32;

	if (kind == 0)
		return (long)(draw(c) << 1 ^ draw(c) << 40);
	if (kind < 18)
		return draw(c) % LINUX_END;
	return SYS_NATIVE + draw(c) % (SYS_NATIVE_END - SYS_NATIVE + BEYOND);
}

/* True: this call ends or cripples its own worker, which is worth a try now and then only. */
static bool is_costly(long nr)
{
	static const long costly[] = {SYS_exit, SYS_exit_group, SYS_rt_sigreturn, SYS_kill,
		SYS_tkill, SYS_tgkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_munmap,
		SYS_mremap, SYS_mprotect, SYS_brk, SYS_arch_prctl, SYS_pause, SYS_rt_sigsuspend,
		SYS_alarm, SYS_execve, SYS_execveat, SYS_clone, SYS_vfork, SYS_pkey_mprotect,
		SYS_shmat, SYS_seccomp, SYS_setrlimit, SYS_prlimit64, SYS_close, SYS_ipc_receive,
		SYS_ipc_call, SYS_ipc_reply_receive, SYS_debug_open};

	for (size_t i = 0; i < sizeof(costly) / sizeof(costly[0]); i++) {
		if (nr == costly[i])
			return true;
	}
	return false;
}

/* Processes that a call may name are this one. */
static bool names_process(long nr)
{
	static const long naming[] = {SYS_kill, SYS_tkill, SYS_tgkill, SYS_rt_sigqueueinfo,
		SYS_rt_tgsigqueueinfo, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev,
		SYS_prlimit64, SYS_migrate_pages, SYS_move_pages, SYS_pidfd_open, SYS_setpgid,
		SYS_sched_setparam, SYS_sched_setscheduler, SYS_sched_setaffinity,
		SYS_sched_setattr};

	for (size_t i = 0; i < sizeof(naming) / sizeof(naming[0]); i++) {
		if (nr == naming[i])
			return true;
	}
	return false;
}

/* What would reach beyond this process on a Linux that has it: not made at all. */
static bool is_spared(long nr)
{
	static const long spared[] = {SYS_mount, SYS_umount2, SYS_pivot_root, SYS_swapon,
		SYS_swapoff, SYS_sethostname, SYS_settimeofday, SYS_clock_settime, SYS_adjtimex,
		SYS_clock_adjtime, SYS_kexec_load, SYS_kexec_file_load, SYS_init_module,
		SYS_finit_module, SYS_delete_module, SYS_pidfd_send_signal, SYS_vhangup,
		SYS_setpriority, SYS_ioperm, SYS_iopl};

	for (size_t i = 0; i < sizeof(spared) / sizeof(spared[0]); i++) {
		if (nr == spared[i])
			return true;
	}
	return false;
}

static void prepare(struct chance *c, long nr, long *a)
{
	for (int i = 0; i < ARGUMENTS; i++)
		a[i] = argument(c);
	if (names_process(nr))
		a[0] = self;
	if (nr == SYS_tgkill || nr == SYS_rt_tgsigqueueinfo)
		a[1] = self;
	if (nr == SYS_clone) /* a child of our own parent would never be waited for */
		a[0] &= ~0x8000l;
	a[6] = draw(c) % 16 ? (long)(draw(c) % 8 << 10)
			    : -1; /* the deadline of a message: past, or never */
}

static void one_call(struct chance *c)
{
	long a[ARGUMENTS], nr, got;

	do {
		nr = number(c);
	} while (is_spared(nr) || (is_costly(nr) && draw(c) % 8));
	prepare(c, nr, a);
	atomic_fetch_add(&shared->batch, 1);
	atomic_fetch_add(&shared->calls, 1);
	got = fuzz_call(nr, a);
	if (got > 2 && got < 4096)
		c->kept[c->nr_kept++ % KEPT] = got;
}

/* ---- workers ---------------------------------------------------------------------------------------- */

static unsigned long batch_nr;

static void *calls_make(void *arg)
{
	struct chance c = {.state = (seed + 1) * 0x9e3779b97f4a7c15ul ^ (batch_nr + 1) << 20 ^
				    (unsigned long)arg << 50};

	for (int i = 0; i < 20; i++)
		draw(&c);
	for (int i = 0; i < KEPT; i++)
		c.kept[i] = i % 8;
	while (atomic_load(&shared->batch) < BATCH)
		one_call(&c);
	syscall(SYS_exit_group, 0);
	return NULL;
}

static void worker_run(void)
{
	int null = open("/dev/null", O_RDWR);
	unsigned long word = seed;

	self = getpid();
	setpgid(0, 0);
	for (int fd = 0; fd < 3 && null >= 0; fd++)
		dup2(null, fd);
	open(DIR "/a", O_RDWR | O_CREAT, 0600);
	open("/proc/self/maps", O_RDONLY);
	if (area_map(0, RW_SIZE, PROT_READ | PROT_WRITE, 0) == MAP_FAILED ||
		area_map(RW_SIZE, 2 * MIB, PROT_READ, 0) == MAP_FAILED ||
		area_map(RW_SIZE + 2 * MIB, 2 * MIB, PROT_NONE, 0) == MAP_FAILED)
		_exit(1);
	for (unsigned long at = 0; at < RW_SIZE; at += 520) {
		word = word * 6364136223846793005ul + 1442695040888963407ul;
		*(unsigned long *)(AREA + at) = word >> word % 64; /* any size of number */
	}
	for (unsigned long i = 1; i < 1 + (batch_nr + seed) % THREADS_MAX; i++) {
		pthread_t thread;

		pthread_create(&thread, NULL, calls_make, (void *)i);
	}
	calls_make(NULL);
}

/* Until the worker has ended; who stands still is killed. */
static void worker_watch(int pid)
{
	unsigned long seen = 0, still_ms = 0;

	for (;;) {
		unsigned long now = atomic_load(&shared->batch);
		int got = waitpid(pid, NULL, WNOHANG);

		if (got == pid || got < 0)
			return;
		still_ms = now == seen ? still_ms + 2 : 0;
		seen = now;
		if (still_ms >= STUCK_MS) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			return;
		}
		sleep_ms(2);
	}
}

static void files_remove(void)
{
	unlink(DIR "/a");
	unlink(DIR "/b");
	rmdir(DIR "/a");
	rmdir(DIR "/b");
}

int main(int argc, char **argv)
{
	unsigned long calls = 20000, workers = 0, idle = 0;

	if (argc > 3 || (argc > 1 && !size_parse(argv[1], &calls)) ||
		(argc > 2 && !size_parse(argv[2], &seed))) {
		fprintf(stderr, "usage: fuzz [CALLS [SEED]]\n");
		return 2;
	}
	shared = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("fuzz: no shared memory");
	mkdir("/tmp", 0777);
	for (; atomic_load(&shared->calls) < calls; batch_nr++) {
		int pid;

		mkdir(DIR, 0777);
		atomic_store(&shared->batch, 0);
		pid = fork();
		if (pid == 0)
			worker_run();
		if (pid < 0)
			sleep_ms(10);
		else
			worker_watch(pid);
		workers += pid > 0;
		idle = atomic_load(&shared->batch) ? 0 : idle + 1;
		if (idle > 100)
			die("fuzz: no worker makes calls any more: FAILED");
		files_remove();
	}
	rmdir(DIR);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	printf("fuzz: %lu workers\n", workers);
	printf("fuzz: %lu calls, seed %lu: ok\n", atomic_load(&shared->calls), seed);
	return 0;
}
