/*
 * load.c - page faults of one CPU, or of all CPUs in one space, to be counted from outside     self-tests
 *
 * Asks nothing but that every page came; what the faults cost is counted by tools/tcg_count.c between two
 * marks (tools/bench.py). Not a part of `ktest`: name the suite.
 *
 *   load_4k_one, load_2m_one    one worker touches its part, the other CPUs are halted
 *   load_4k_all, load_2m_all    a worker on each CPU, each in a part of its own, of one area of one space
 *
 * A worker is a program in ring 3 of four instructions a page. Space, area and code are there before the first
 * mark; the second one comes when the last worker has ended, before anything is given back.
 */
#include "lab.h"
#include "lib/string.h"
#include "mm/mmap.h"
#include "x86/switch.h"

#define CODE 0x10000000ul
#define PART (64ul << 20) /* what one worker touches */

struct worker {
	struct lab_thread thread;
	vaddr_t start;
	u64 step, pages;
};

extern const u8 load_code[], load_code_end[];

/* RDI: where; RSI: to the next page; RCX: how many. Then exit(0). */
asm(".pushsection .rodata\n"
    "load_code:\n"
    "1:	movb $1, (%rdi)\n"
    "	addq %rsi, %rdi\n"
    "	decq %rcx\n"
    "	jnz 1b\n"
    "	xorl %edi, %edi\n"
    "	movl $60, %eax\n"
    "	syscall\n"
    "load_code_end:\n"
    ".popsection\n");

/* Nothing for the CPU; tools/tcg_count.c knows it. */
static void mark(void)
{
	asm volatile("nopl 0x50474441(%%rax)" : : : "memory");
}

static void worker_enter(void *arg)
{
	struct worker *w = arg;
	struct regs *regs = current_thread()->user_regs;

	user_regs_init(regs, CODE, CODE + PAGE_SIZE); /* it has no use for a stack */
	regs->rdi = w->start;
	regs->rsi = w->step;
	regs->rcx = w->pages;
	sched_enter_user(regs);
}

static bool map_code(struct mm *mm)
{
	if (mmap_map_named(mm, CODE, PAGE_SIZE, PROT_READ | PROT_WRITE, 0, "code") ||
		!lab_fill(mm, CODE, PAGE_SIZE))
		return false;
	memcpy(lab_word(mm, CODE), load_code, load_code_end - load_code);
	return mmap_protect(mm, CODE, PAGE_SIZE, PROT_READ | PROT_EXEC) == 0;
}

/* The counted part: the workers, from the first one's start to the last one's end. */
static bool run_workers(struct mm *mm, struct worker *workers, u32 nr)
{
	bool ok = true;
	u32 started = 0;

	mark();
	for (; ok && started < nr; started++)
		ok = lab_start(
			&workers[started].thread, mm, started, worker_enter, &workers[started]);
	for (u32 i = 0; i < started; i++)
		ok &= lab_join(&workers[i].thread) == 0;
	mark();
	return ok;
}

static void load(struct ktest_ctx *ctx, u32 nr, u64 step)
{
	static struct worker workers[MAX_CPUS];
	struct thp_settings before = lab_begin();
	struct mm *mm = lab_space();
	bool huge = step == HPAGE_PMD_SIZE, ok;

	thp_settings.enabled = THP_NEVER;
	ok = mm && map_code(mm) && lab_area(mm, LAB_AREA, nr * PART);
	thp_settings.enabled = huge ? THP_ALWAYS : THP_NEVER;
	for (u32 i = 0; i < nr; i++) {
		workers[i].start = LAB_AREA + i * PART;
		workers[i].step = step;
		workers[i].pages = PART / step;
	}
	KT_EXPECT(ctx, ok && run_workers(mm, workers, nr));
	for (u64 at = 0; ok && at < nr * PART; at += step)
		KT_EXPECT(
			ctx, lab_leaf(mm, LAB_AREA + at) && lab_is_huge(mm, LAB_AREA + at) == huge);
	lab_space_end(mm);
	lab_end(ctx, &before);
}

static void load_where_it_fits(struct ktest_ctx *ctx, u32 nr, u64 step)
{
	if (!lab_has_memory(nr * PART))
		KT_SKIP(ctx, "too little memory");
	load(ctx, nr, step);
}

KTEST_ON_REQUEST(load_4k_one, faults)
{
	load_where_it_fits(ctx, 1, PAGE_SIZE);
}

KTEST_ON_REQUEST(load_4k_all, faults)
{
	load_where_it_fits(ctx, nr_cpus, PAGE_SIZE);
}

KTEST_ON_REQUEST(load_2m_one, faults)
{
	load_where_it_fits(ctx, 1, HPAGE_PMD_SIZE);
}

KTEST_ON_REQUEST(load_2m_all, faults)
{
	load_where_it_fits(ctx, nr_cpus, HPAGE_PMD_SIZE);
}
