/*
 * crash.c - end by a fault of one kind; the kernel must end this task and nothing else.     ring 3
 *
 *   crash KIND | --list | all
 *
 * KIND does it in this very process, so that the kernel's line about it can be read. "all" does each
 * kind in a child of its own and checks that the child was ended by a signal (Linux: SIGSEGV, SIGILL,
 * SIGFPE ...) and that this process, its parent, lives on.
 */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"

static void read_null(void)
{
	volatile char *address = NULL;

	__asm__ volatile("" : "+r"(address));
	(void)*address;
}

static void read_kernel(void)
{
	(void)*(volatile char *)0xffffffff80000000UL;
}

static void write_kernel(void)
{
	*(volatile char *)0xffff888000000000UL = 1;
}

static void read_non_canonical(void)
{
	(void)*(volatile char *)0x8000000000000000UL;
}

static void jump_non_canonical(void)
{
	__asm__ volatile("push %0; ret" : : "r"(0x8000000000000000UL));
}

static void jump_kernel(void)
{
	__asm__ volatile("jmp *%0" : : "r"(0xffffffff80000000UL));
}

static void exec_data(void)
{
	static unsigned char code[] = {0xc3}; /* ret */

	((void (*)(void))(unsigned long)code)();
}

static void exec_stack(void)
{
	unsigned char code[16] = {0xc3};

	__asm__ volatile("" : : "r"(code) : "memory");
	((void (*)(void))(unsigned long)code)();
}

static void write_text(void)
{
	*(volatile char *)(unsigned long)write_text = 0;
}

static void write_read_only(void)
{
	char *area = area_map(0, PAGE_BYTES, PROT_READ, 0);

	*(volatile char *)area = 1;
}

static void read_none(void)
{
	(void)*(volatile char *)area_map(0, PAGE_BYTES, PROT_NONE, 0);
}

static void write_unmapped(void)
{
	*(volatile char *)AREA_BASE = 1;
}

static void write_beyond_huge(void)
{
	volatile char *area = area_map(0, HUGE_BYTES, PROT_READ | PROT_WRITE, 0);

	area[0] = 1;
	area[HUGE_BYTES] = 1;
}

static void __attribute__((noinline)) recurse(volatile char *caller)
{
	volatile char frame[4096];

	frame[0] = caller ? caller[0] : 1;
	if (frame[0]) /* always: the compiler must not know */
		recurse(frame);
	frame[1] = 1;
}

static void overflow_stack(void)
{
	recurse(NULL);
}

static void bad_stack(void)
{
	__asm__ volatile("mov $8, %%rsp; push %%rax" : : : "memory");
}

static void divide_by_zero(void)
{
	__asm__ volatile("xor %%ecx, %%ecx; xor %%edx, %%edx; mov $1, %%eax; div %%ecx"
			 :
			 :
			 : "eax", "ecx", "edx");
}

static void invalid_opcode(void)
{
	__asm__ volatile("ud2");
}

static void breakpoint(void)
{
	__asm__ volatile("int3");
}

static void interrupt(void)
{
	__asm__ volatile("int $14");
}

static void halt(void)
{
	__asm__ volatile("hlt");
}

static void interrupts_off(void)
{
	__asm__ volatile("cli");
}

static void port_in(void)
{
	__asm__ volatile("inb $0x60, %%al" : : : "eax");
}

static void port_out(void)
{
	__asm__ volatile("outb %%al, $0xf4" : : "a"(0));
}

static void read_cr3(void)
{
	unsigned long value;

	__asm__ volatile("mov %%cr3, %0" : "=r"(value));
}

static void write_msr(void)
{
	__asm__ volatile("wrmsr" : : "a"(0), "d"(0), "c"(0xc0000082));
}

static void aligned_sse(void)
{
	__attribute__((aligned(16))) char bytes[32] = {0};

	__asm__ volatile("movaps (%0), %%xmm0" : : "r"(bytes + 1) : "xmm0", "memory");
}

static void trap_flag(void)
{
	__asm__ volatile("pushf; orl $0x100, (%%rsp); popf; nop" : : : "memory", "cc");
}

static const struct {
	const char *name;
	void (*run)(void);
} kinds[] = {
	{"read-null", read_null},
	{"read-kernel", read_kernel},
	{"write-kernel", write_kernel},
	{"read-non-canonical", read_non_canonical},
	{"jump-non-canonical", jump_non_canonical},
	{"jump-kernel", jump_kernel},
	{"exec-data", exec_data},
	{"exec-stack", exec_stack},
	{"write-text", write_text},
	{"write-read-only", write_read_only},
	{"read-none", read_none},
	{"write-unmapped", write_unmapped},
	{"write-beyond-huge", write_beyond_huge},
	{"stack-overflow", overflow_stack},
	{"bad-stack", bad_stack},
	{"divide-by-zero", divide_by_zero},
	{"invalid-opcode", invalid_opcode},
	{"breakpoint", breakpoint},
	{"int", interrupt},
	{"hlt", halt},
	{"cli", interrupts_off},
	{"in", port_in},
	{"out", port_out},
	{"read-cr3", read_cr3},
	{"wrmsr", write_msr},
	{"sse-alignment", aligned_sse},
	{"trap-flag", trap_flag},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static int run_all(void)
{
	int failures = 0;

	for (size_t i = 0; i < KINDS; i++) {
		int pid, status;

		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			kinds[i].run();
			_exit(0);
		}
		if (pid < 0)
			die("crash: cannot fork");
		status = child_wait(pid);
		if (status < 256) {
			printf("crash: %s: FAILED: it went on and left with %d\n", kinds[i].name,
				status);
			failures++;
		}
	}
	printf("crash: %zu kinds, %s\n", KINDS, failures ? "FAILED" : "ok");
	return failures != 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "all") == 0)
		return run_all();
	for (size_t i = 0; argc == 2 && i < KINDS; i++) {
		if (strcmp(argv[1], "--list") == 0)
			puts(kinds[i].name);
		if (strcmp(argv[1], kinds[i].name) != 0)
			continue;
		kinds[i].run();
		printf("crash: %s did not crash\n", argv[1]);
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--list") == 0)
		return 0;
	fprintf(stderr, "usage: crash KIND | --list | all\n");
	return 2;
}
