/*
 * oddstate.c - the processor in states no compiler makes; the kernel keeps its own.             ring 3
 *
 *   oddstate [NAME | --list]
 *
 * Each case runs in a child of its own. It ends by the signal that Linux gives it, or runs on and finds that the
 * kernel did not take what may not be taken: an interrupt flag that is off, input and output for everybody, a code
 * segment of the kernel. After all of them this process, the parent, calls the kernel as if nothing had been.
 *
 *   frames    a signal handler changes the registers its return restores: addresses that are none, selectors that
 *             are no segments or the kernel's, flags that are the kernel's, floating-point state that is garbage
 *   edges     a syscall instruction on the last bytes before the hole in the addresses; calls with a stack pointer
 *             that points nowhere; iretq, lretq and segment loads with what they must refuse
 *   traps     single steps over mov ss, popf, syscall; int of every vector; ring 3's own gs base
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "lib.h"

#define NO_SIGNAL   0
#define ANY_END     (-1) /* any signal, or status 0: the kernel's choice, as long as it is contained */
#define LAST_PAGE   0x7fffffffe000ul
#define HOLE        0x800000000000ul
#define WILD        0x8000000000000000ul
#define KERNEL      0xffffffff80000000ul
#define FLAG_IF     0x200ul
#define FLAG_TF     0x100ul
#define FLAG_IOPL   0x3000ul
#define FLAG_NT     0x4000ul
#define FLAG_RF     0x10000ul
#define FLAG_VM     0x20000ul
#define FLAG_AC     0x40000ul
#define FLAG_VIF    0x180000ul
#define FLAGS_NEVER (FLAG_IOPL | FLAG_VM | FLAG_VIF)

/* ---- frames ----------------------------------------------------------------------------------------- */

static greg_t *frame; /* what sigreturn will restore */
static ucontext_t *context;
static char landing_stack[4096] __attribute__((aligned(16)));

/* Where most frames lead: are the flags a program's, and does the kernel still answer? */
__attribute__((used)) static void landed_check(unsigned long flags, unsigned long cs)
{
	if (!(flags & FLAG_IF) || flags & FLAGS_NEVER || (cs & 3) != 3)
		syscall(SYS_exit_group, 1);
	for (volatile int i = 0; i < 2000000; i++) /* a time slice's end comes all the same */
		;
	syscall(SYS_exit_group, syscall(SYS_getpgrp) <= 0);
}

void landed(void);
__asm__(".text\n"
	"landed:\n"
	"	pushfq\n"
	"	pop %rdi\n"
	"	mov %cs, %esi\n"
	"	call landed_check\n");

static void (*change)(unsigned long value);
static unsigned long change_value;

static void handler(
	int signal __attribute__((unused)), siginfo_t *info __attribute__((unused)), void *uc)
{
	context = uc;
	frame = context->uc_mcontext.gregs;
	frame[REG_RIP] = (greg_t)landed;
	frame[REG_RSP] = (greg_t)(landing_stack + sizeof(landing_stack));
	change(change_value);
}

static void by_frame(void (*how)(unsigned long), unsigned long value)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};

	change = how;
	change_value = value;
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	_exit(2); /* landed() does not come back */
}

static void set_rip(unsigned long value)
{
	frame[REG_RIP] = value;
}

static void set_rsp(unsigned long value)
{
	frame[REG_RSP] = value;
}

static void set_cs(unsigned long value)
{
	frame[REG_CSGSFS] = (frame[REG_CSGSFS] & ~0xffffl) | value;
}

static void set_ss(unsigned long value)
{
	frame[REG_CSGSFS] = (frame[REG_CSGSFS] & ~(0xffffl << 48)) | value << 48;
}

static void set_flags(unsigned long value)
{
	frame[REG_EFL] = value;
}

static void add_flags(unsigned long value)
{
	frame[REG_EFL] |= value;
}

static void set_fpstate(unsigned long value)
{
	context->uc_mcontext.fpregs = (void *)value;
}

/* Every byte of it: reserved bits of MXCSR, a header of XSAVE that is none. */
static void spoil_fpstate(unsigned long value)
{
	if (context->uc_mcontext.fpregs)
		memset(context->uc_mcontext.fpregs, value, 512);
}

/* ---- edges ------------------------------------------------------------------------------------------ */

/* What stands behind the instruction is the hole, or the first page that may not be mapped. */
static void syscall_at_the_end(unsigned long how)
{
	unsigned long page = LAST_PAGE;
	unsigned char *code;

	code = mmap((void *)page, PAGE_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (mmap((void *)(page + PAGE_BYTES), PAGE_BYTES, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED)
		_exit(3);       /* then a return address could be the hole's first */
	if (code == MAP_FAILED) /* what is not mapped cannot be returned to */
		raise(SIGSEGV);
	code[PAGE_BYTES - 2] = 0x0f; /* syscall */
	code[PAGE_BYTES - 1] = 0x05;
	mprotect(code, PAGE_BYTES, PROT_READ | PROT_EXEC);
	__asm__ volatile("jmp *%0" : : "r"(code + PAGE_BYTES - 2), "a"(how) : "rcx", "r11");
}

/* The kernel has a stack of its own: what rsp holds is ours alone. */
static void syscall_with_rsp(unsigned long value)
{
	long answer = SYS_getpgrp;

	__asm__ volatile("mov %%rsp, %%rbx\n"
			 "mov %1, %%rsp\n"
			 "syscall\n"
			 "mov %%rbx, %%rsp\n"
			 : "+a"(answer)
			 : "r"(value)
			 : "rbx", "rcx", "r11", "memory");
	_exit(answer <= 0);
}

/* A signal must be delivered on a stack that is not there. */
static void signal_with_rsp(unsigned long value)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};

	change = set_rip;
	sigaction(SIGSEGV, &action, NULL);
	__asm__ volatile("mov %0, %%rsp; movb $1, 0" : : "r"(value) : "memory");
}

/* QEMU 7.2 reads this stack with the kernel's rights, which is a fault under SMAP; Linux 6.1 takes it for its own bug. */
static void iret_to(unsigned long cs)
{
	__asm__ volatile(
		"mov %%rsp, %%rax\n"
		"pushq $0x2b; push %%rax; pushfq; push %0; lea landed(%%rip), %%rax; push %%rax\n"
		"iretq\n"
		:
		: "r"(cs)
		: "rax", "memory");
}

static void iret_nested(unsigned long unused __attribute__((unused)))
{
	__asm__ volatile("pushfq; orl $0x4000, (%%rsp); popfq; iretq" : : : "memory", "cc");
}

static void far_return(unsigned long cs)
{
	__asm__ volatile("push %0; lea landed(%%rip), %%rax; push %%rax; lretq"
			 :
			 : "r"(cs)
			 : "rax", "memory");
}

static void load_ss(unsigned long selector)
{
	__asm__ volatile("mov %0, %%ss" : : "r"((unsigned int)selector));
	_exit(0);
}

/* Null, ours, or garbage; afterwards the kernel must still find its own gs. */
static void load_gs(unsigned long selector)
{
	__asm__ volatile("mov %0, %%gs; mov %0, %%es; mov %0, %%ds"
			 :
			 : "r"((unsigned int)selector));
	landed_check(FLAG_IF, 3);
}

/* ---- traps ------------------------------------------------------------------------------------------ */

#define STEP "pushfq; orl $0x100, (%%rsp); popfq\n"

static void step(unsigned long unused __attribute__((unused)))
{
	__asm__ volatile(STEP "nop" : : : "memory", "cc");
}

static void step_mov_ss_syscall(unsigned long number)
{
	__asm__ volatile("mov %%ss, %%edx\n" STEP "mov %%edx, %%ss\n"
			 "syscall\n"
			 :
			 : "a"(number)
			 : "rcx", "rdx", "r11", "memory", "cc");
	_exit(0);
}

static void step_mov_ss_int3(unsigned long unused __attribute__((unused)))
{
	__asm__ volatile("mov %%ss, %%edx\n" STEP "mov %%edx, %%ss\n"
			 "int3\n"
			 :
			 :
			 : "rdx", "memory", "cc");
	_exit(0);
}

static void step_syscall(unsigned long number)
{
	__asm__ volatile(STEP "syscall" : : "a"(number) : "rcx", "r11", "memory", "cc");
	_exit(0);
}

static void trap_int3(unsigned long unused __attribute__((unused)))
{
	__asm__ volatile("int3");
	_exit(0);
}

static void trap_icebp(unsigned long unused __attribute__((unused)))
{
	__asm__ volatile(".byte 0xf1");
	_exit(0);
}

/* int n: the code is written, as the number is part of the instruction. */
static void trap_int(unsigned long vector)
{
	unsigned char *code =
		mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	code[0] = 0xcd;
	code[1] = vector;
	code[2] = 0xc3;
	mprotect(code, PAGE_BYTES, PROT_READ | PROT_EXEC);
	((void (*)(void))code)();
	_exit(0);
}

static void trap_every_int(unsigned long unused __attribute__((unused)))
{
	for (int vector = 0; vector < 256; vector++) {
		int pid = fork();

		if (pid == 0)
			trap_int(vector);
		if (pid < 0 || child_wait(pid) < 256)
			if (vector != 0x80) /* Linux's other door */
				_exit(4);
	}
	_exit(0);
}

static void privileged(unsigned long which)
{
	switch (which) {
	case 0:
		__asm__ volatile("cli");
		break;
	case 1:
		__asm__ volatile("in $0x80, %%al" : : : "rax");
		break;
	case 2:
		__asm__ volatile("swapgs");
		break;
	case 3:
		__asm__ volatile("wrmsr" : : "c"(0xc0000101), "a"(0), "d"(0));
		break;
	case 4:
		__asm__ volatile("sysretq");
		break;
	default:
		__asm__ volatile("mov %0, %%cr3" : : "r"(0ul));
	}
	_exit(0);
}

/* A base of ring 3's that looks like the kernel's: every way into the kernel must tell them apart. */
static void own_gs_base(unsigned long base)
{
	__asm__ volatile("wrgsbase %0" : : "r"(base)); /* #UD where the kernel does not allow it */
	for (int i = 0; i < 1000; i++)
		syscall(SYS_getpgrp);
	__asm__ volatile("mov %%cs, %%eax" : : : "rax");
	landed_check(FLAG_IF, 3);
}

/* Everything odd that a program may set by itself, and a call that copies. */
static void call_with_flags(unsigned long flags)
{
	char text[64];
	long answer = SYS_getcwd;

	__asm__ volatile("pushfq; orq %1, (%%rsp); popfq\n"
			 "syscall\n"
			 "pushfq; andq %2, (%%rsp); popfq\n"
			 : "+a"(answer)
			 : "r"(flags), "r"(~flags), "D"(text), "S"(sizeof(text))
			 : "rcx", "r11", "memory", "cc");
	_exit(answer == -14); /* -EFAULT would be the kernel stumbling over them */
}

/* ---- the table -------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*how)(unsigned long);
	unsigned long value;
	bool in_frame;
	int wanted;
} cases[] = {
	{"rip: first of the hole", set_rip, HOLE, true, SIGSEGV},
	{"rip: last before the hole", set_rip, HOLE - 1, true, SIGSEGV},
	{"rip: behind the last page", set_rip, LAST_PAGE + PAGE_BYTES, true, SIGSEGV},
	{"rip: middle of the hole", set_rip, WILD, true, SIGSEGV},
	{"rip: last of the hole", set_rip, 0xffff7ffffffffffful, true, SIGSEGV},
	{"rip: kernel's half", set_rip, 0xffff800000000000ul, true, SIGSEGV},
	{"rip: kernel's text", set_rip, KERNEL, true, SIGSEGV},
	{"rip: the last address", set_rip, -1ul, true, SIGSEGV},
	{"rip: 0", set_rip, 0, true, SIGSEGV},
	{"rsp: 0", set_rsp, 0, true, SIGSEGV},
	{"rsp: middle of the hole", set_rsp, WILD, true, ANY_END},
	{"rsp: kernel's", set_rsp, KERNEL, true, SIGSEGV},
	{"cs: null", set_cs, 0, true, ANY_END},
	{"cs: kernel's", set_cs, 0x10, true, ANY_END},
	{"cs: kernel's, other layout", set_cs, 0x08, true, ANY_END},
	{"cs: garbage", set_cs, 0xffff, true, ANY_END},
	{"cs: data", set_cs, 0x2b, true, ANY_END},
	{"cs: 32 bits", set_cs, 0x23, true, ANY_END},
	{"ss: null", set_ss, 0, true, ANY_END},
	{"ss: kernel's", set_ss, 0x18, true, ANY_END},
	{"ss: kernel's, other layout", set_ss, 0x10, true, ANY_END},
	{"ss: code", set_ss, 0x33, true, ANY_END},
	{"ss: garbage", set_ss, 0xffff, true, ANY_END},
	{"flags: none, interrupts off", set_flags, 0, true, NO_SIGNAL},
	{"flags: all", set_flags, -1ul, true, SIGTRAP},
	{"flags: all but TF", set_flags, ~FLAG_TF, true, ANY_END},
	{"flags: IOPL 3", add_flags, FLAG_IOPL, true, NO_SIGNAL},
	{"flags: NT", add_flags, FLAG_NT, true, NO_SIGNAL},
	{"flags: VM", add_flags, FLAG_VM, true, NO_SIGNAL},
	{"flags: RF", add_flags, FLAG_RF, true, NO_SIGNAL},
	{"flags: TF", add_flags, FLAG_TF, true, SIGTRAP},
	{"flags: AC", add_flags, FLAG_AC, true, ANY_END},
	{"fpu: state at 0x1", set_fpstate, 1, true, ANY_END},
	{"fpu: state in the kernel", set_fpstate, KERNEL, true, ANY_END},
	{"fpu: state in the hole", set_fpstate, WILD, true, ANY_END},
	{"fpu: state all ones", spoil_fpstate, 0xff, true, ANY_END},
	{"fpu: state all zeroes", spoil_fpstate, 0, true, ANY_END},
	{"syscall before the hole: getpgrp", syscall_at_the_end, SYS_getpgrp, false, SIGSEGV},
	{"syscall before the hole: gettid", syscall_at_the_end, SYS_gettid, false, SIGSEGV},
	{"syscall before the hole: unknown", syscall_at_the_end, 9999, false, SIGSEGV},
	{"syscall with rsp 0", syscall_with_rsp, 0, false, NO_SIGNAL},
	{"syscall with rsp in the hole", syscall_with_rsp, WILD, false, NO_SIGNAL},
	{"syscall with rsp in the kernel", syscall_with_rsp, KERNEL, false, NO_SIGNAL},
	{"signal with rsp 0", signal_with_rsp, 0, false, SIGSEGV},
	{"signal with rsp in the hole", signal_with_rsp, WILD, false, SIGSEGV},
	{"signal with rsp in the kernel", signal_with_rsp, KERNEL, false, SIGSEGV},
	{"iret: kernel's cs", iret_to, 0x10, false, ANY_END},
	{"iret: kernel's cs, other layout", iret_to, 0x08, false, ANY_END},
	{"iret: null", iret_to, 0, false, ANY_END},
	{"iret: nested", iret_nested, 0, false, SIGSEGV},
	{"lret: kernel's cs", far_return, 0x10, false, ANY_END},
	{"mov ss: null", load_ss, 0, false, SIGSEGV},
	{"mov ss: kernel's", load_ss, 0x10, false, SIGSEGV},
	{"mov ss: garbage", load_ss, 0xfff8, false, SIGSEGV},
	{"mov gs: null", load_gs, 0, false, NO_SIGNAL},
	{"mov gs: 3", load_gs, 3, false, NO_SIGNAL},
	{"mov gs: data, or nothing", load_gs, 0x2b, false, ANY_END},
	{"mov gs: garbage", load_gs, 0xfff8, false, SIGSEGV},
	{"step", step, 0, false, SIGTRAP},
	{"step over mov ss, syscall", step_mov_ss_syscall, SYS_getpgrp, false, SIGTRAP},
	{"step over mov ss, syscall of the kernel's", step_mov_ss_syscall, SYS_gettid, false,
		SIGTRAP},
	{"step over mov ss, int3", step_mov_ss_int3, 0, false, SIGTRAP},
	{"step over syscall", step_syscall, SYS_getpgrp, false, SIGTRAP},
	{"int3", trap_int3, 0, false, SIGTRAP},
	{"icebp", trap_icebp, 0, false, ANY_END},
	{"int, every vector", trap_every_int, 0, false, NO_SIGNAL},
	{"cli", privileged, 0, false, SIGSEGV},
	{"in", privileged, 1, false, SIGSEGV},
	{"swapgs", privileged, 2, false, SIGSEGV},
	{"wrmsr", privileged, 3, false, SIGSEGV},
	{"sysret", privileged, 4, false, SIGSEGV},
	{"mov cr3", privileged, 5, false, SIGSEGV},
	{"gs base: kernel's", own_gs_base, KERNEL, false, ANY_END},
	{"gs base: 0", own_gs_base, 0, false, ANY_END},
	{"call with DF", call_with_flags, 0x400, false, NO_SIGNAL},
	{"call with NT", call_with_flags, FLAG_NT, false, NO_SIGNAL},
	{"call with AC", call_with_flags, FLAG_AC, false, ANY_END},
};

static bool as_wanted(int got, int wanted)
{
	if (wanted == ANY_END)
		return got == 0 || got > 256;
	return got == (wanted ? 256 + wanted : 0);
}

static int run(size_t i)
{
	int pid = fork(), got;

	if (pid == 0) {
		alarm(10); /* one that hangs is not contained */
		if (cases[i].in_frame)
			by_frame(cases[i].how, cases[i].value);
		cases[i].how(cases[i].value);
		_exit(5);
	}
	if (pid < 0)
		die("oddstate: cannot fork");
	got = child_wait(pid);
	if (as_wanted(got, cases[i].wanted) && got != 256 + SIGALRM)
		return 0;
	printf("oddstate: %s: FAILED: %d, should be %d (256 + signal)\n", cases[i].name, got,
		cases[i].wanted > 0 ? 256 + cases[i].wanted : cases[i].wanted);
	return 1;
}

int main(int argc, char **argv)
{
	const char *name = argc == 2 ? argv[1] : NULL;
	size_t nr = sizeof(cases) / sizeof(cases[0]);
	int failures = 0, ran = 0;

	for (size_t i = 0; i < nr; i++) {
		if (name && strcmp(name, "--list") == 0) {
			puts(cases[i].name);
			ran++;
		} else if (!name || strcmp(name, cases[i].name) == 0) {
			fflush(stdout);
			failures += run(i);
			ran++;
		}
	}
	if (argc > 2 || !ran) {
		fprintf(stderr, "usage: oddstate [NAME | --list]\n");
		return 2;
	}
	if (!name || strcmp(name, "--list") != 0)
		printf("oddstate: %d states, %s\n", ran,
			failures || getpgrp() <= 0 ? "FAILED" : "ok");
	return failures != 0;
}
