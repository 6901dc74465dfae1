/*
 * numa.c - memory comes from the node of its CPU, and follows it                              self-tests
 *
 * With one node (the usual guest) hints are local and nothing moves; `make run NUMA=2 CMD='ktest numa && ledger'` shows the
 * rest. The ledger counts frames afterwards: servers may be starting meanwhile.
 */
#include "lab.h"
#include "mm/access.h"
#include "mm/buddy.h"
#include "mm/collapse.h"
#include "mm/fork.h"
#include "mm/mmap.h"
#include "mm/numa.h"
#include "mm/uaccess.h"
#include "mutex.h"
#include "numad.h"
#include "vmstat.h"
#include "x86/timer.h"
#include <abi/errno.h>

#define SMALL_AREA (LAB_AREA + 4 * HPAGE_PMD_SIZE)
#define SMALL_LEN  (64 * PAGE_SIZE)
#define ALL_PAGES  (1ul << 30) /* more than any space has */

/* A CPU of a node with memory, other than `not`; MAX_CPUS: none. */
static u32 cpu_of_other_node(unsigned not )
{
	for (u32 cpu = 0; cpu < nr_cpus; cpu++)
		if (cpus[cpu]->node != not &&cpus[cpu]->zone->node == cpus[cpu]->node)
			return cpu;
	return MAX_CPUS;
}

static unsigned node_at(struct mm *mm, vaddr_t addr)
{
	pfn_t pfn = lab_pfn(mm, addr);

	return pfn ? pfn_zone(pfn)->node : MAX_NODES;
}

/* Each page gets its own address, or is compared with it; what[0] is where, what[1] how many bytes. */
static void write_words(void *arg)
{
	const u64 *what = arg;

	for (u64 at = what[0]; at < what[0] + what[1]; at += PAGE_SIZE)
		lab_look_here(LAB_WRITE, at, &at);
}

static void read_words(void *arg)
{
	u64 *what = arg, value = 0;

	for (u64 at = what[0]; at < what[0] + what[1]; at += PAGE_SIZE)
		if (!lab_look_here(LAB_READ, at, &value) || value != at)
			what[2]++;
}

/* fn over [addr, addr + len) on that CPU; how many words were wrong. */
static u64 on_cpu(u32 cpu, struct mm *mm, void (*fn)(void *), vaddr_t addr, u64 len)
{
	u64 what[3] = {addr, len, 0};
	struct lab_thread t;

	if (!lab_start(&t, mm, cpu, fn, what))
		return ~0ul;
	return lab_join(&t) ? ~0ul : what[2];
}

/* Two huge pages and 64 small ones, first touched on that CPU. NULL: no memory. */
static struct mm *space_on(u32 cpu)
{
	struct mm *mm = lab_space();

	if (!mm)
		return NULL;
	thp_settings.enabled = THP_ALWAYS;
	if (lab_area(mm, LAB_AREA, 2 * HPAGE_PMD_SIZE) && lab_area(mm, SMALL_AREA, SMALL_LEN) &&
		on_cpu(cpu, mm, write_words, LAB_AREA, 2 * HPAGE_PMD_SIZE) == 0 &&
		on_cpu(cpu, mm, write_words, SMALL_AREA, SMALL_LEN) == 0)
		return mm;
	lab_space_end(mm);
	return NULL;
}

KTEST(numa, memory_comes_from_the_cpus_own_node)
{
	struct thp_settings before = lab_begin();

	for (u32 cpu = 0; cpu < nr_cpus; cpu++) {
		struct mm *mm = space_on(cpu);
		unsigned want = cpus[cpu]->zone->node;

		KT_REQUIRE(ctx, mm);
		KT_EXPECT(ctx, node_at(mm, LAB_AREA) == want && lab_is_huge(mm, LAB_AREA));
		KT_EXPECT(ctx, node_at(mm, LAB_AREA + HPAGE_PMD_SIZE) == want);
		KT_EXPECT(ctx, node_at(mm, SMALL_AREA) == want);
		KT_EXPECT(ctx, node_at(mm, SMALL_AREA + SMALL_LEN - PAGE_SIZE) == want);
		lab_space_end(mm);
	}
	lab_end(ctx, &before);
}

KTEST(numa, a_hint_changes_nothing_but_the_count)
{
	struct thp_settings before = lab_begin();
	u64 faults, local, updates, huge;
	struct mm *mm;
	u64 leaf;

	mm = space_on(0);
	KT_REQUIRE(ctx, mm);
	faults = vmstat_read(VM_numa_hint_faults);
	local = vmstat_read(VM_numa_hint_faults_local);
	updates = vmstat_read(VM_numa_pte_updates);
	huge = vmstat_read(VM_numa_huge_pte_updates);
	leaf = lab_leaf(mm, SMALL_AREA);
	KT_EXPECT(ctx, numa_scan(mm, ALL_PAGES) == 2 * HPAGE_PMD_NR + 64);
	KT_EXPECT(ctx, vmstat_read(VM_numa_pte_updates) == updates + 2 * HPAGE_PMD_NR + 64);
	KT_EXPECT(ctx, vmstat_read(VM_numa_huge_pte_updates) == huge + 2);
	KT_EXPECT(ctx, entry_protnone(lab_leaf(mm, LAB_AREA)) && lab_is_huge(mm, LAB_AREA));
	KT_EXPECT(ctx, entry_addr(lab_leaf(mm, SMALL_AREA)) == entry_addr(leaf));
	KT_EXPECT(ctx, lab_healthy());
	KT_EXPECT(ctx, numa_scan(mm, ALL_PAGES) == 0); /* none twice */
	KT_EXPECT(ctx, on_cpu(0, mm, read_words, LAB_AREA, 2 * HPAGE_PMD_SIZE) == 0);
	KT_EXPECT(ctx, vmstat_read(VM_numa_hint_faults) == faults + 2); /* one for each 2 MiB */
	KT_EXPECT(ctx, on_cpu(0, mm, read_words, SMALL_AREA, SMALL_LEN) == 0);
	KT_EXPECT(ctx, vmstat_read(VM_numa_hint_faults) == faults + 2 + 64);
	KT_EXPECT(ctx, vmstat_read(VM_numa_hint_faults_local) == local + 2 + 64);
	KT_EXPECT(ctx, on_cpu(0, mm, write_words, SMALL_AREA, SMALL_LEN) == 0);
	KT_EXPECT(ctx, (lab_leaf(mm, SMALL_AREA) | PTE_A | PTE_D) == (leaf | PTE_A | PTE_D));
	KT_EXPECT(ctx, lab_healthy());
	lab_space_end(mm);
	lab_end(ctx, &before);
}

KTEST(numa, pages_follow_the_cpu_that_uses_them)
{
	u32 here = 0, there = cpu_of_other_node(cpus[0]->node);
	struct thp_settings before;
	u64 moved, huge;
	struct mm *mm;

	if (there == MAX_CPUS)
		KT_SKIP(ctx, "one node: run with NUMA=2");
	before = lab_begin();
	mm = space_on(here);
	KT_REQUIRE(ctx, mm);
	moved = vmstat_read(VM_numa_pages_migrated);
	huge = vmstat_read(VM_thp_migration_success);
	numa_scan(mm, ALL_PAGES);
	KT_EXPECT(ctx, on_cpu(there, mm, read_words, SMALL_AREA, SMALL_LEN) == 0);
	KT_EXPECT(ctx, vmstat_read(VM_numa_pages_migrated) == moved); /* the knob is 0 */
	numa_settings.balancing = true;
	numa_scan(mm, ALL_PAGES);
	KT_EXPECT(ctx, on_cpu(there, mm, read_words, SMALL_AREA, SMALL_LEN) == 0);
	KT_EXPECT(ctx, on_cpu(there, mm, read_words, LAB_AREA, 2 * HPAGE_PMD_SIZE) == 0);
	KT_EXPECT(ctx, vmstat_read(VM_numa_pages_migrated) >= moved + 64 + 2 * HPAGE_PMD_NR);
	KT_EXPECT(ctx, vmstat_read(VM_thp_migration_success) >= huge + 2);
	for (u64 at = 0; at < 2 * HPAGE_PMD_SIZE; at += HPAGE_PMD_SIZE) {
		KT_EXPECT(ctx, lab_is_huge(mm, LAB_AREA + at));
		KT_EXPECT(ctx, node_at(mm, LAB_AREA + at) == cpus[there]->node);
	}
	for (u64 at = 0; at < SMALL_LEN; at += PAGE_SIZE)
		KT_EXPECT(ctx, node_at(mm, SMALL_AREA + at) == cpus[there]->node);
	KT_EXPECT(ctx, lab_healthy());
	lab_space_end(mm);
	lab_end(ctx, &before);
}

/* One question, answered on that CPU. */
static void ask(struct mm *mm, u32 cpu)
{
	numa_scan(mm, ALL_PAGES);
	(void)on_cpu(cpu, mm, read_words, SMALL_AREA, PAGE_SIZE);
	(void)on_cpu(cpu, mm, read_words, LAB_AREA, PAGE_SIZE);
}

/* The first answer counts at once; from then on it takes two in a row from one node. */
KTEST(numa, a_stray_touch_moves_nothing)
{
	u32 here = 0, there = cpu_of_other_node(cpus[0]->node);
	unsigned turns[][2] = {{here, here}, {there, here}, {here, here}, {there, here},
		{there, there}, {here, there}, {there, there}, {here, there}, {here, here}};
	struct thp_settings before;
	struct mm *mm;

	if (there == MAX_CPUS)
		KT_SKIP(ctx, "one node: run with NUMA=2");
	before = lab_begin();
	mm = space_on(here);
	KT_REQUIRE(ctx, mm);
	numa_settings.balancing = true;
	for (unsigned i = 0; i < ARRAY_SIZE(turns); i++) {
		ask(mm, turns[i][0]);
		KT_EXPECT(ctx, node_at(mm, SMALL_AREA) == cpus[turns[i][1]]->node);
		KT_EXPECT(ctx, node_at(mm, LAB_AREA) == cpus[turns[i][1]]->node);
	}
	lab_space_end(mm);
	lab_end(ctx, &before);
}

KTEST(numa, the_period_follows_the_answers)
{
	struct numa_settings settings = numa_settings;
	struct thp_settings before = lab_begin();
	struct mm *mm = lab_space();

	KT_REQUIRE(ctx, mm);
	numa_settings.scan_period_min_ms = 1000;
	numa_settings.scan_period_max_ms = 8000;
	KT_EXPECT(ctx, numa_adapt(mm) == 2000); /* nobody answers */
	KT_EXPECT(ctx, numa_adapt(mm) == 4000);
	KT_EXPECT(ctx, numa_adapt(mm) == 8000);
	KT_EXPECT(ctx, numa_adapt(mm) == 8000);
	mm->numa.remote = 10; /* all at the wrong place: 7 tenths shorter */
	KT_EXPECT(ctx, numa_adapt(mm) == 8000 - 7 * 800);
	mm->numa.local = 9, mm->numa.remote = 1;
	KT_EXPECT(ctx, numa_adapt(mm) == 2400 + 2 * 240);
	mm->numa.local = 7, mm->numa.remote = 3;
	KT_EXPECT(ctx, numa_adapt(mm) == 2880 + 288);
	mm->numa.remote = 10;
	KT_EXPECT(ctx, numa_adapt(mm) == 1000); /* not below the least */
	mm->numa.remote = 10, mm->numa.failed = true;
	KT_EXPECT(ctx, numa_adapt(mm) == 2000 && !mm->numa.failed);
	KT_EXPECT(ctx, !mm->numa.local && !mm->numa.remote);
	numa_settings.scan_period_max_ms = 500; /* less than the least: that counts */
	KT_EXPECT(ctx, numa_adapt(mm) == 1000);
	lab_space_end(mm);
	numa_settings = settings;
	lab_end(ctx, &before);
}

/* A fork shares: small pages are not asked about, a huge page is one question; parts of one are none. */
KTEST(numa, what_is_shared_by_fork)
{
	struct thp_settings before = lab_begin();
	struct mm *mm = space_on(0), *child;

	KT_REQUIRE(ctx, mm);
	child = fork_mm(mm);
	KT_REQUIRE(ctx, child);
	KT_EXPECT(ctx, numa_scan(mm, ALL_PAGES) == 2 * HPAGE_PMD_NR);
	KT_EXPECT(ctx, on_cpu(0, mm, write_words, LAB_AREA, 2 * HPAGE_PMD_SIZE) == 0);
	KT_EXPECT(ctx, on_cpu(0, child, read_words, LAB_AREA, 2 * HPAGE_PMD_SIZE) == 0);
	KT_EXPECT(ctx, on_cpu(0, child, read_words, SMALL_AREA, SMALL_LEN) == 0);
	lab_space_end(child);
	KT_EXPECT(ctx, mmap_protect(mm, LAB_AREA, PAGE_SIZE, 1) == 0); /* splits the first */
	KT_EXPECT(ctx, numa_scan(mm, ALL_PAGES) == HPAGE_PMD_NR + 64);
	KT_EXPECT(ctx, lab_healthy());
	lab_space_end(mm);
	lab_end(ctx, &before);
}

/* The write right waits in the hint; a fork meanwhile takes it all the same. */
KTEST(numa, a_fork_takes_the_right_from_a_hint)
{
	struct thp_settings before = lab_begin();
	struct mm *mm = space_on(0), *child;
	u64 faults, one = 1, value = 0;

	KT_REQUIRE(ctx, mm);
	numa_scan(mm, ALL_PAGES);
	KT_EXPECT(ctx, lab_leaf(mm, SMALL_AREA) & PTE_RW);
	child = fork_mm(mm);
	KT_REQUIRE(ctx, child);
	faults = vmstat_read(VM_numa_hint_faults);
	KT_EXPECT(ctx, !(lab_leaf(mm, SMALL_AREA) & PTE_RW) && !(lab_leaf(mm, LAB_AREA) & PTE_RW));
	KT_EXPECT(ctx, on_cpu(0, mm, write_words, SMALL_AREA, SMALL_LEN) == 0);
	KT_EXPECT(ctx, on_cpu(0, mm, write_words, LAB_AREA, HPAGE_PMD_SIZE) == 0);
	KT_EXPECT(ctx, vmstat_read(VM_numa_hint_faults) > faults);
	KT_EXPECT(ctx, mm_write(mm, SMALL_AREA, &one, 8) == 8);
	KT_EXPECT(ctx, mm_read(child, SMALL_AREA, &value, 8) == 8 && value == SMALL_AREA);
	KT_EXPECT(ctx, lab_healthy());
	lab_space_end(child);
	lab_space_end(mm);
	lab_end(ctx, &before);
}

/* 512 small pages, all but the last `else_pages` of them first touched on CPU `most`. */
static struct mm *table_on(u32 most, u32 other, u64 else_pages)
{
	u64 len = HPAGE_PMD_SIZE - else_pages * PAGE_SIZE;
	struct mm *mm = lab_space();

	if (!mm)
		return NULL;
	thp_settings.enabled = THP_NEVER;
	if (lab_area(mm, LAB_AREA, HPAGE_PMD_SIZE) &&
		on_cpu(most, mm, write_words, LAB_AREA, len) == 0 &&
		on_cpu(other, mm, write_words, LAB_AREA + len, HPAGE_PMD_SIZE - len) == 0) {
		thp_settings.enabled = THP_ALWAYS;
		return mm;
	}
	lab_space_end(mm);
	return NULL;
}

/* khugepaged's way with one range: its own limits, a scan, then the work. */
static enum collapse_result collapse_as_khugepaged(struct mm *mm)
{
	const struct collapse_limits limits = {.max_none = 511, .max_shared = 256};
	enum collapse_result r;

	rwsem_read_lock(&mm->lock);
	r = collapse_scan(mm, vma_find(mm, LAB_AREA), LAB_AREA, &limits);
	rwsem_read_unlock(&mm->lock);
	return r == COLLAPSE_SUCCEED ? collapse_range(mm, LAB_AREA, &limits) : r;
}

/* Questions that nobody has answered do not keep a table from becoming a huge page, on the node of most of its pages. */
KTEST(numa, a_hinted_table_collapses_where_most_of_it_is)
{
	u32 there = cpu_of_other_node(cpus[0]->node), other = there == MAX_CPUS ? 0 : there;
	struct thp_settings before = lab_begin();
	u32 turns[2][2] = {{0, other}, {other, 0}};

	for (unsigned i = 0; i < ARRAY_SIZE(turns); i++) {
		struct mm *mm = table_on(turns[i][0], turns[i][1], 100);
		u64 faults = vmstat_read(VM_numa_hint_faults);

		KT_REQUIRE(ctx, mm);
		KT_EXPECT(ctx, numa_scan(mm, ALL_PAGES) == HPAGE_PMD_NR);
		KT_EXPECT(ctx, entry_protnone(lab_leaf(mm, LAB_AREA)));
		KT_EXPECT(ctx, collapse_as_khugepaged(mm) == COLLAPSE_SUCCEED);
		KT_EXPECT(ctx, lab_is_huge(mm, LAB_AREA));
		KT_EXPECT(ctx, node_at(mm, LAB_AREA) == cpus[turns[i][0]]->zone->node);
		KT_EXPECT(ctx, on_cpu(0, mm, read_words, LAB_AREA, HPAGE_PMD_SIZE) == 0);
		KT_EXPECT(ctx, vmstat_read(VM_numa_hint_faults) == faults);
		KT_EXPECT(ctx, lab_healthy());
		lab_space_end(mm);
	}
	lab_end(ctx, &before);
}

KTEST(numa, no_access_is_still_no_reason_to_collapse)
{
	struct thp_settings before = lab_begin();
	struct mm *mm = table_on(0, 0, 0);

	KT_REQUIRE(ctx, mm);
	KT_EXPECT(ctx, mmap_protect(mm, LAB_AREA, HPAGE_PMD_SIZE, 0) == 0);
	KT_EXPECT(ctx, collapse_as_khugepaged(mm) == COLLAPSE_PAGE_RO);
	lab_space_end(mm);
	lab_end(ctx, &before);
}

/* Who reads or writes from outside is no user of the page: the question stays, nothing is counted, nothing moves. */
KTEST(numa, a_reader_from_outside_answers_nothing)
{
	u32 there = cpu_of_other_node(cpus[0]->node);
	struct thp_settings before = lab_begin();
	u64 faults, moved, word = 0, at;
	struct mm *mm;

	mm = space_on(there == MAX_CPUS ? 0 : there);
	KT_REQUIRE(ctx, mm);
	numa_settings.balancing = true;
	numa_scan(mm, ALL_PAGES);
	faults = vmstat_read(VM_numa_hint_faults);
	moved = vmstat_read(VM_numa_pages_migrated);
	for (at = LAB_AREA; at < LAB_AREA + 2 * HPAGE_PMD_SIZE; at += HPAGE_PMD_SIZE)
		KT_EXPECT(ctx, mm_read(mm, at, &word, 8) == 8 && word == at);
	for (at = SMALL_AREA; at < SMALL_AREA + SMALL_LEN; at += PAGE_SIZE) {
		KT_EXPECT(ctx, mm_read(mm, at, &word, 8) == 8 && word == at);
		KT_EXPECT(ctx, mm_write(mm, at, &at, 8) == 8);
		KT_EXPECT(ctx, entry_protnone(lab_leaf(mm, at)));
	}
	KT_EXPECT(ctx, entry_protnone(lab_leaf(mm, LAB_AREA)));
	KT_EXPECT(ctx, vmstat_read(VM_numa_hint_faults) == faults);
	KT_EXPECT(ctx, vmstat_read(VM_numa_pages_migrated) == moved);
	KT_EXPECT(ctx, mmap_protect(mm, SMALL_AREA, SMALL_LEN, 0) == 0);
	KT_EXPECT(ctx, mm_read(mm, SMALL_AREA, &word, 8) == -EFAULT); /* that is no hint */
	KT_EXPECT(ctx, lab_healthy());
	lab_space_end(mm);
	lab_end(ctx, &before);
}

/* Hints, moves to and fro, and users on every CPU, all at once. */
KTEST(numa, hints_among_users)
{
	struct thp_settings before = lab_begin();
	struct lab_race race;
	u64 rounds = 0, wrong = 0;
	struct mm *mm;

	numa_settings.balancing = true;
	mm = space_on(0);
	KT_REQUIRE(ctx, mm);
	for (race = lab_race_begin(200, LAB_RACE_NS); lab_race_goes_on(&race, rounds); rounds++) {
		u64 what[MAX_CPUS][3];
		struct lab_thread t[MAX_CPUS];
		u32 started = 0;

		for (; started < nr_cpus; started++) {
			what[started][0] = started % 2 ? LAB_AREA : SMALL_AREA;
			what[started][1] = started % 2 ? 2 * HPAGE_PMD_SIZE : SMALL_LEN;
			what[started][2] = 0;
			if (!lab_start(&t[started], mm, (started + rounds) % nr_cpus, read_words,
				    what[started]))
				break;
		}
		numa_scan(mm, ALL_PAGES);
		for (u32 i = 0; i < started; i++) {
			wrong += lab_join(&t[i]) != 0;
			wrong += what[i][2];
		}
	}
	KT_EXPECT(ctx, rounds >= race.least);
	KT_EXPECT(ctx, wrong == 0);
	KT_EXPECT(ctx, lab_healthy());
	lab_space_end(mm);
	lab_end(ctx, &before);
}
