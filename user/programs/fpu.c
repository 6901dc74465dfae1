/*
 * fpu.c - registers belong to one thread each.                                              ring 3
 *
 *   fpu [ROUNDS]           default 2000
 *
 * Several processes, and several threads of one, load all vector registers, the x87 stack's top, MXCSR and the x87 control word
 * with values of their own, give the processor away by sched_yield, by a page fault and by spinning
 * over a time slice, and compare. A child must find at fork what its parent had, and a register it
 * never touched must not hold what another process left there. A signal handler that loads values of its own
 * changes none of those it interrupted; and a call, whoever answers it, changes no general register but rax,
 * rcx and r11.
 */
#include <cpuid.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib.h"

#define CHILDREN 4

/* The state in memory: 16 vector registers of 32 bytes, of which SSE uses the lower half. */
struct state {
	unsigned char vector[16][32];
	unsigned int mxcsr;
	unsigned short control;
	double top;
} __attribute__((aligned(32)));

static bool has_avx;

static bool avx_usable(void)
{
	unsigned int a, b, c, d, low, high;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_AVX))
		return false;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (low & 6) == 6;
}

#define ALL_REGISTERS(X)                                                                           \
	X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define SSE_LOAD(n)  "movups " #n "*32(%0), %%xmm" #n "\n"
#define SSE_STORE(n) "movups %%xmm" #n ", " #n "*32(%0)\n"
#define AVX_LOAD(n)  "vmovups " #n "*32(%0), %%ymm" #n "\n"
#define AVX_STORE(n) "vmovups %%ymm" #n ", " #n "*32(%0)\n"
#define CLOBBERS                                                                                   \
	"memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",  \
		"xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

/*
 * Load everything, spin, fault, call the kernel, store everything. From load to store no floating
 * point happens in C, so the compiler has no reason to use a vector register in between. Returns
 * what the call returned.
 */
static long through_kernel(struct state *s, long call, long first, long second, unsigned long spin,
	volatile char *touch)
{
	if (has_avx)
		__asm__ volatile(ALL_REGISTERS(AVX_LOAD) : : "r"(s) : CLOBBERS);
	else
		__asm__ volatile(ALL_REGISTERS(SSE_LOAD) : : "r"(s) : CLOBBERS);
	__asm__ volatile("ldmxcsr %0; fninit; fldcw %1; fldl %2"
			 :
			 : "m"(s->mxcsr), "m"(s->control), "m"(s->top));
	__asm__ volatile("1: sub $1, %0; jnz 1b" : "+r"(spin) : : "cc");
	__asm__ volatile("movb $1, (%0)" : : "r"(touch) : "memory");
	__asm__ volatile("syscall" : "+a"(call) : "D"(first), "S"(second) : "rcx", "r11", "memory");
	__asm__ volatile("stmxcsr %0; fstcw %1; fstpl %2"
			 : "=m"(s->mxcsr), "=m"(s->control), "=m"(s->top));
	if (has_avx)
		__asm__ volatile(ALL_REGISTERS(AVX_STORE) : : "r"(s) : CLOBBERS);
	else
		__asm__ volatile(ALL_REGISTERS(SSE_STORE) : : "r"(s) : CLOBBERS);
	return call;
}

static void state_make(struct state *s, unsigned int who)
{
	memset(s, 0, sizeof(*s));
	for (int i = 0; i < 16; i++) {
		for (int j = 0; j < (has_avx ? 32 : 16); j++)
			s->vector[i][j] = who * 37 + i * 5 + j;
	}
	s->mxcsr = 0x1f80 | (who & 3) << 13; /* rounding mode differs */
	s->control = 0x037f | (who & 3) << 10;
	s->top = 1000.5 + who;
}

static int rounds_run(unsigned int who, unsigned long rounds)
{
	struct state want, state;
	char *area = area_map(who * PAGE_BYTES, PAGE_BYTES, PROT_READ | PROT_WRITE, 0);

	state_make(&want, who);
	for (unsigned long i = 0; i < rounds; i++) {
		state = want;
		madvise(area, PAGE_BYTES, MADV_DONTNEED); /* so that the touch faults */
		through_kernel(&state, i % 2 ? SYS_sched_yield : SYS_getpgrp, 0, 0,
			i % 64 ? 1 : 300000, area);
		if (memcmp(&state, &want, sizeof(state)) == 0)
			continue;
		printf("fpu: process %u, round %lu: registers changed: FAILED\n", who, i);
		return 1;
	}
	return 0;
}

/* fork with everything loaded: the child, too, finds what was loaded before. 0 when it did. */
static int fork_keeps(void)
{
	static struct state want, state;
	static char touched;
	long pid;
	int failed;

	state_make(&want, 200);
	state = want;
	pid = through_kernel(&state, SYS_fork, 0, 0, 1, &touched);
	failed = memcmp(&state, &want, sizeof(state)) != 0;
	if (failed)
		printf("fpu: registers changed over fork: FAILED\n");
	if (pid == 0) {
		fflush(stdout);
		_exit(failed);
	}
	return failed | child_wait(pid);
}

static unsigned long thread_rounds;

static void *thread_main(void *arg)
{
	return (void *)(long)rounds_run((unsigned int)(long)arg, thread_rounds);
}

static int threads_run(unsigned long rounds)
{
	pthread_t threads[CHILDREN];
	int failures = 0;

	thread_rounds = rounds;
	for (long i = 0; i < CHILDREN; i++) {
		if (pthread_create(&threads[i], NULL, thread_main, (void *)(10 + i)))
			die("fpu: cannot make a thread");
	}
	for (int i = 0; i < CHILDREN; i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		failures += failed != NULL;
	}
	return failures;
}

/* In the handler: other values everywhere, and a call under way. */
static void handler(int signal)
{
	struct state other;
	static char touched;

	state_make(&other, 50 + signal);
	through_kernel(&other, SYS_getpgrp, 0, 0, 1, &touched);
}

static int signals_keep(unsigned long rounds)
{
	static struct state want, state;
	static char touched;

	signal(SIGUSR1, handler);
	state_make(&want, 300);
	for (unsigned long i = 0; i < rounds; i++) {
		state = want;
		through_kernel(&state, SYS_kill, getpid(), SIGUSR1, 1, &touched);
		if (memcmp(&state, &want, sizeof(state)) == 0)
			continue;
		printf("fpu: a signal, round %lu: registers changed: FAILED\n", i);
		return 1;
	}
	return 0;
}

/* general_keep - all general registers over one call; the number of those that changed. */
long general_keep(long call);
__asm__(".text\n"
	"general_keep:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	mov %rdi, %rax\n"
	"	mov $0x1111, %ebx; mov $0x2222, %ebp; mov $0x3333, %r12d; mov $0x4444, %r13d\n"
	"	mov $0x5555, %r14d; mov $0x6666, %r15d; mov $0x7777, %edi; mov $0x8888, %esi\n"
	"	mov $0x9999, %edx; mov $0xaaaa, %r10d; mov $0xbbbb, %r8d; mov $0xcccc, %r9d\n"
	"	syscall\n"
	"	xor %eax, %eax\n"
	"	cmp $0x1111, %rbx; setne %cl; movzbl %cl, %ecx; add %ecx, %eax\n"
	"	cmp $0x2222, %rbp; setne %cl; movzbl %cl, %ecx; add %ecx, %eax\n"
	"	cmp $0x3333, %r12; setne %cl; movzbl %cl, %ecx; add %ecx, %eax\n"
	"	cmp $0x4444, %r13; setne %cl; movzbl %cl, %ecx; add %ecx, %eax\n"
	"	cmp $0x5555, %r14; setne %cl; movzbl %cl, %ecx; add %ecx, %eax\n"
	"	cmp $0x6666, %r15; setne %cl; movzbl %cl, %ecx; add %ecx, %eax\n"
	"	cmp $0x7777, %rdi; setne %cl; movzbl %cl, %ecx; add %ecx, %eax\n"
	"	cmp $0x8888, %rsi; setne %cl; movzbl %cl, %ecx; add %ecx, %eax\n"
	"	cmp $0x9999, %rdx; setne %cl; movzbl %cl, %ecx; add %ecx, %eax\n"
	"	cmp $0xaaaa, %r10; setne %cl; movzbl %cl, %ecx; add %ecx, %eax\n"
	"	cmp $0xbbbb, %r8; setne %cl; movzbl %cl, %ecx; add %ecx, %eax\n"
	"	cmp $0xcccc, %r9; setne %cl; movzbl %cl, %ecx; add %ecx, %eax\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n");

/* One that the kernel answers, two that somebody else may, one that nobody knows. */
static int calls_keep(void)
{
	static const long calls[] = {SYS_sched_yield, SYS_getpgrp, SYS_close, 9999};
	int failures = 0;

	for (size_t i = 0; i < 100 * sizeof(calls) / sizeof(calls[0]); i++) {
		long call = calls[i % (sizeof(calls) / sizeof(calls[0]))],
		     changed = general_keep(call);

		if (changed)
			printf("fpu: call %ld changed %ld general registers: FAILED\n", call,
				changed);
		failures += changed != 0;
	}
	return failures;
}

int main(int argc, char **argv)
{
	unsigned long rounds = 2000;
	int children[CHILDREN], failures = 0;

	if (argc > 2 || (argc == 2 && (!size_parse(argv[1], &rounds) || !rounds))) {
		fprintf(stderr, "usage: fpu [ROUNDS]\n");
		return 2;
	}
	has_avx = avx_usable();
	failures += fork_keeps();
	failures += calls_keep();
	failures += signals_keep(200);
	failures += threads_run(rounds / 4 + 1);
	for (int i = 0; i < CHILDREN; i++) {
		children[i] = fork();
		if (children[i] < 0)
			die("fpu: cannot fork");
		if (children[i] == 0) {
			failures = rounds_run(i + 1, rounds);
			fflush(stdout);
			_exit(failures);
		}
	}
	failures += rounds_run(100, rounds);
	for (int i = 0; i < CHILDREN; i++)
		failures += child_wait(children[i]) != 0;
	printf("fpu: %d processes, %lu rounds, %s: %s\n", CHILDREN + 1, rounds,
		has_avx ? "AVX" : "SSE", failures ? "FAILED" : "ok");
	return failures != 0;
}
