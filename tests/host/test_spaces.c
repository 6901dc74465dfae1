/*
 * test_spaces.c - floors 2, 3, 5 and khugepaged under random load, against the model.
 *
 * Up to five spaces, forked from each other; every verb, every setting. Other CPUs interfere in two ways: whenever
 * the kernel clears or copies memory or offers its CPU, another one may fault or do a whole call of its own; and
 * right before each flush the others go on reading and writing through what they have cached.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "fake_machine.h"
#include "model.h"
#include <abi/advice.h>
#include <abi/errno.h>
#include "mm/buddy.h"
#include "mm/collapse.h"
#include "mm/mmap.h"
#include "mm/reclaim.h"
#include "mm/run.h"
#include "mm/thp.h"
#include "vmstat.h"

#define MIB (1ul << 20)

static bool interfere;
static u64 interfered;

/* ---- what is chosen ---- */

static vaddr_t random_addr(void)
{
	vaddr_t a = check_below(MODEL_BRK - 2 * MIB) + 2 * MIB;

	switch (check_below(5)) {
	case 0:
	case 1:
		return a & HPAGE_PMD_MASK;
	case 2:
		return ((a & HPAGE_PMD_MASK) + (check_below(5) << PAGE_SHIFT)) - 2 * PAGE_SIZE;
	default:
		return a & PAGE_MASK;
	}
}

static u64 random_len(vaddr_t addr, vaddr_t end)
{
	u64 len;

	switch (check_below(5)) {
	case 0:
	case 1:
		len = HPAGE_PMD_SIZE * (1 + check_below(4));
		break;
	case 2:
		len = PAGE_SIZE * (1 + check_below(1300));
		break;
	default:
		len = PAGE_SIZE * (1 + check_below(8));
	}
	return addr + len > end ? end - addr : len;
}

static u32 random_prot(void)
{
	switch (check_below(16)) {
	case 0:
		return PROT_NONE;
	case 1:
		return PROT_READ;
	case 2:
		return PROT_READ | PROT_EXEC;
	default:
		return PROT_READ | PROT_WRITE;
	}
}

/* A page that is mapped, if a few tries find one. */
static vaddr_t random_page(const struct model_space *s)
{
	vaddr_t a = 0;

	for (unsigned i = 0; i < 8; i++) {
		a = check_below(MODEL_END) & PAGE_MASK;
		if (s->page[a >> PAGE_SHIFT].mapped)
			break;
	}
	return a;
}

static struct model_space *random_space(void)
{
	struct model_space *s = &model[check_below(MODEL_SPACES)];

	for (unsigned i = 0; i < MODEL_SPACES;
		i++, s = s + 1 < model + MODEL_SPACES ? s + 1 : model)
		if (s->mm && s->mm != MODEL_TAKEN)
			return s;
	return NULL;
}

/* ---- what is done ---- */

/* Where the last access was: other CPUs like to be near it. */
static vaddr_t hot;

static void do_access(struct model_space *s)
{
	vaddr_t a = machine_cpu && check_below(2)
			    ? (hot & HPAGE_PMD_MASK) + (check_below(512) << PAGE_SHIFT)
			    : random_page(s);
	u64 burst = check_below(12) == 0 ? check_below(600) : check_below(4);
	enum mmu_kind kind = check_below(16) == 0 ? MMU_EXEC
			     : check_below(4)     ? MMU_WRITE
						  : MMU_READ;

	if (machine_cpu && check_below(3) == 0)
		a = hot & PAGE_MASK; /* the very same page */
	for (u64 i = 0; i <= burst && a < MODEL_END; i++, a += PAGE_SIZE) {
		if (!machine_cpu)
			hot = a;
		model_access(s, a + check_below(PAGE_SIZE), kind);
	}
}

static void do_map(struct model_space *s)
{
	vaddr_t a = random_addr();
	u32 how = check_below(4);

	model_map(s, how < 3 ? a : 0, random_len(a, MODEL_BRK), random_prot(),
		how == 0   ? MAP_FIXED
		: how == 1 ? MAP_FIXED_NOREPLACE
			   : 0);
}

/* Rights that are gone for good would soon leave nothing to write to: mostly they come back. */
static void do_protect(struct model_space *s)
{
	vaddr_t a = check_below(2) ? hot & (check_below(2) ? PAGE_MASK : HPAGE_PMD_MASK)
				   : random_page(s);
	u64 len = random_len(a, MODEL_END);

	model_protect(s, a, len, random_prot());
	if (check_below(4)) {
		model_protect(s, a, len, PROT_READ);
		model_access(s, a, MMU_WRITE);
		model_protect(s, a, len, PROT_READ | PROT_WRITE);
	}
}

static void do_remap(struct model_space *s)
{
	vaddr_t old = random_page(s), to = random_addr();
	u64 old_len = random_len(old, MODEL_BRK > old ? MODEL_BRK : MODEL_END), len = old_len;
	u32 flags = check_below(8); /* every combination of the three */
	const struct vma *v = mm_lookup(s->mm, old);

	if (v && old + old_len > v->end && check_below(4))
		old_len = len = v->end - old;
	if (v && check_below(3) == 0)
		old &= HPAGE_PMD_MASK;
	if (check_below(3) == 0)
		len = random_len(to, MODEL_BRK);
	if (to + len > MODEL_BRK)
		to = (MODEL_BRK - len) & (check_below(2) ? PAGE_MASK : HPAGE_PMD_MASK);
	if (old + MAX(old_len, len) > MODEL_END || to < USER_START)
		return;
	model_remap(s, old, old_len, len, flags, to);
}

static void do_advise(struct model_space *s)
{
	static const int advice[] = {MADV_HUGEPAGE, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_DONTNEED,
		MADV_DONTNEED, MADV_FREE, MADV_FREE, MADV_COLLAPSE, MADV_COLLAPSE, MADV_COLLAPSE,
		MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_COLD, MADV_PAGEOUT, MADV_DONTFORK,
		MADV_DOFORK, MADV_WIPEONFORK, MADV_KEEPONFORK, MADV_WILLNEED};
	static u32 undo;
	vaddr_t a = check_below(2) ? random_page(s) : random_addr();
	u64 len = random_len(a, MODEL_END);
	int what = advice[check_below(ARRAY_SIZE(advice))];

	if (model_migrating && (what == MADV_POPULATE_READ || what == MADV_POPULATE_WRITE))
		return;         /* it would wait for the CPU in whose work this one's is nested */
	if (++undo % 16 == 0) { /* advice would cut everything into pieces too small to be huge */
		model_advise(s, 0, MODEL_END, MADV_HUGEPAGE);
		model_advise(s, 0, MODEL_END, MADV_DOFORK);
		model_advise(s, 0, MODEL_END, MADV_KEEPONFORK);
	}
	model_advise(s, a, len, what);
}

static void do_migrate(struct model_space *s, vaddr_t a)
{
	u64 n = check_below(8) ? 1 : check_below(64);

	/* Nobody keeps the space while its pages move: another CPU may end it. */
	for (; n && a < MODEL_END && s->mm && s->mm != MODEL_TAKEN; n--, a += PAGE_SIZE) {
		if (!machine_cpu)
			hot = a;
		model_migrate(s, a);
	}
}

/* Fresh memory for huge pages: without it the runs end in small pages everywhere. */
static void do_fresh(struct model_space *s)
{
	vaddr_t a = (2 + 2 * check_below(12)) * MIB;
	u64 n = 1 + check_below((MODEL_BRK - a) / HPAGE_PMD_SIZE);

	n = MIN(n, 1 + check_below(4));
	model_map(s, a, n * HPAGE_PMD_SIZE, PROT_READ | PROT_WRITE, MAP_FIXED);
	for (u64 i = 0; i < n; i++) {
		hot = a + i * HPAGE_PMD_SIZE + check_below(HPAGE_PMD_SIZE);
		if (check_below(4))
			model_access(s, hot, check_below(3) ? MMU_WRITE : MMU_READ);
	}
}

/* One verb in one space. Some need the space for themselves. */
static void do_verb(struct model_space *s)
{
	vaddr_t a = random_addr();

	switch (check_below(29)) {
	case 0 ... 8:
		do_access(s);
		break;
	case 24:
	case 25:
		do_fresh(s);
		break;
	case 9 ... 11:
		do_map(s);
		break;
	case 12:
	case 13:
		model_unmap(s, a, random_len(a, MODEL_BRK));
		break;
	case 14:
	case 15:
		do_protect(s);
		break;
	case 16:
	case 17:
		do_remap(s);
		break;
	case 18:
		model_brk(s, MODEL_BRK + check_below(MODEL_END - MODEL_BRK));
		break;
	case 19 ... 21:
		do_advise(s);
		break;
	case 22:
		model_split_page(s, random_page(s));
		break;
	case 23:
		model_fork(s);
		break;
	case 26:
	case 27:
		do_migrate(s, random_page(s));
		break;
	case 28: /* what somebody is at just now */
		do_migrate(s, hot);
		break;
	}
}

static void do_settings(void)
{
	thp_settings.enabled = check_below(4) ? THP_ALWAYS : check_below(3);
	thp_settings.defrag = check_below(5);
	thp_settings.use_zero_page = check_below(4) != 0;
	thp_settings.cow = check_below(2);
	thp_settings.khugepaged_defrag = check_below(2);
	thp_settings.shrink_underused = check_below(2);
	run_set_size(RUN_MIN_ORDER + check_below(7), check_below(4));
	run_set_size(HPAGE_PMD_ORDER, check_below(3) ? SIZE_INHERIT : check_below(4));
	thp_settings.max_ptes_none = check_below(2) ? 511 : check_below(512);
	thp_settings.max_ptes_shared = check_below(2) ? 256 : check_below(512);
}

/* ---- other CPUs ---- */

/* In the middle of somebody's call: what may this CPU do now without waiting for his locks? */
static void other_cpu(void)
{
	struct model_space *s = random_space();

	if (!s)
		return;
	interfered++;
	if (s->mm->lock.state & RWSEM_WRITER)
		model_touch_cached(s);
	else if (s->mm->lock.state || s->in_use)
		do_access(s);
	else if (check_below(6) == 0 && s != model)
		model_exit(s);
	else
		do_verb(s);
}

static void at_preempt_point(void)
{
	if (interfere && check_below(machine_cpu ? 400 : 40) == 0)
		mmu_as_other_cpu(other_cpu);
}

static void before_flush(struct mm *mm, vaddr_t start, vaddr_t end, enum tlb_site site)
{
	(void)start, (void)end, (void)site;
	for (struct model_space *s = model; s < model + MODEL_SPACES; s++)
		if (s->mm == mm && interfere)
			model_touch_cached(s);
}

/* ---- the runs ---- */

static void one_step(void)
{
	struct model_space *s = random_space();

	switch (check_below(20)) {
	case 0:
		if (s != model && check_below(3) == 0)
			model_exit(s);
		return;
	case 1:
		model_khugepaged_turn(1 + check_below(8192));
		return;
	case 2:
		do_settings();
		return;
	case 3:
		if (check_below(6) == 0)
			model_compact();
		else if (check_below(4) == 0)
			model_khugepaged_pass();
		else if (check_below(4) == 0)
			reclaim_run();
		else if (check_below(8) == 0)
			mmap_set_thp_disable(s->mm, check_below(2));
		return;
	default:
		do_verb(s);
	}
}

/* What the run has met: a figure of 0 says that something was not tested. */
static void report(const char *what, u64 steps)
{
	static const enum vm_stat shown[] = {VM_thp_fault_alloc, VM_thp_fault_fallback,
		VM_thp_zero_page_alloc, VM_thp_wp_copy, VM_thp_wp_fallback, VM_thp_wp_reuse,
		VM_thp_split_pmd, VM_thp_split_page, VM_thp_split_page_failed,
		VM_thp_deferred_split_page, VM_thp_underused_split_page, VM_pglazyfreed,
		VM_fault_overlap, VM_pgmigrate_success, VM_thp_migration_success,
		VM_compact_isolated, VM_compact_stall, VM_compact_success};

	printf("  %s: %lu steps, %lu faults, %lu interferences, %lu refusals\n   ", what, steps,
		mmu_faults, interfered, model_refusals);
	for (unsigned i = 0; i < ARRAY_SIZE(shown); i++)
		printf(" %s %lu", vmstat_name(shown[i]), vmstat_read(shown[i]));
	printf("\n    flushes:");
	for (unsigned i = 0; i < NR_TLB_SITES; i++)
		printf(" %lu", mmu_flushes[i]);
	printf("  collapse:");
	for (unsigned i = 0; i < NR_COLLAPSE_RESULTS; i++)
		if (collapse_counts[i])
			printf(" %s %lu", collapse_result_name(i), collapse_counts[i]);
	printf("  migration:");
	for (unsigned i = 0; i < NR_MIGRATE_RESULTS; i++)
		if (migrate_counts[i])
			printf(" %s %lu", migrate_result_name(i), migrate_counts[i]);
	printf("\n");
}

static void random_run(u64 memory, u64 steps, unsigned check_every)
{
	machine_preempt = at_preempt_point;
	mmu_before_flush = before_flush;
	model_start(memory);
	model_create();
	for (u64 i = 0; i < steps; i++) {
		one_step();
		if (check_below(check_every) == 0)
			model_check();
	}
	interfere = false;
	model_finish();
}

TEST(alone)
{
	random_run(192 * MIB, check_rounds(1500), 2);
	report("alone", check_rounds(1500));
}

TEST(with_other_cpus)
{
	interfere = true;
	random_run(192 * MIB, check_rounds(2500), 4);
	CHECK(interfered > 100);
	report("with other CPUs", check_rounds(2500));
}

TEST(with_too_little_memory)
{
	interfere = true;
	model_may_fail = true;
	random_run(28 * MIB, check_rounds(2500), 4);
	CHECK(model_refusals > 10);
	report("too little memory", check_rounds(2500));
}

TEST(with_failing_allocations)
{
	u64 fired = 0, steps = check_rounds(2500);

	machine_preempt = at_preempt_point;
	mmu_before_flush = before_flush;
	interfere = true;
	model_start(192 * MIB);
	model_create();
	for (u64 i = 0; i < steps; i++) {
		model_may_fail = check_below(2);
		if (model_may_fail)
			buddy_inject_fail(
				1 + check_below(check_below(4) ? 6 : 300), check_below(3) ? -1 : 9);
		one_step();
		buddy_inject_fail(0, -1);
		fired += model_may_fail ? buddy_inject_fired : 0;
		if (check_below(4) == 0)
			model_check();
	}
	model_may_fail = interfere = false;
	model_finish();
	printf("  %lu allocations failed on purpose\n", fired);
	report("failing allocations", steps);
	CHECK(fired > steps / 50);
}

/* ---- would the runs notice? ---- */

#define STATUS_CHECK_FAILED 1

/* The status of a run that is expected to end badly, in a child; what it says on the way is not shown. */
static int status_of_run(u64 steps)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(freopen("/dev/null", "w", stderr));
		interfere = true;
		random_run(192 * MIB, steps, 1);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Each place that flushes, silenced: the translation that stays is found to be wrong. */
TEST(a_flush_that_is_left_out_shows)
{
	for (unsigned site = 0; site < TLB_kernel; site++) {
		tlb_skip_local = 1u << site;
		CHECK_MSG(status_of_run(8000) == STATUS_CHECK_FAILED, "site %u: nobody noticed",
			site);
	}
}

/* And the frames that such a flush guards may not go back while it is not acknowledged. */
TEST(a_flush_that_nobody_acknowledges_stops_the_release)
{
	static const enum tlb_site releasing[] = {TLB_unmap, TLB_cow, TLB_collapse};

	for (unsigned i = 0; i < ARRAY_SIZE(releasing); i++) {
		tlb_skip_ack = 1u << releasing[i];
		CHECK_PANICS("tlb-gen", random_run(192 * MIB, 4000, 50));
	}
}
