/*
 * test_fork.c - spaces that share pages: families over generations, and memory that runs out at every place.
 *
 * The second part performs the same small scenarios again and again, and fails the first allocation, the second,
 * the third ... until one run had none left to fail. Each failure that was planned must really have happened, each
 * must be answered by "no memory" or by small pages, and nothing may be left behind.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "fake_machine.h"
#include "model.h"
#include <abi/advice.h>
#include <abi/errno.h>
#include "mm/buddy.h"
#include "mm/kmalloc.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/thp.h"
#include "vmstat.h"

#define MIB  (1ul << 20)
#define HERE (4 * MIB)
#define RW   (PROT_READ | PROT_WRITE)

static struct model_space *s;

static void begin(void)
{
	model_start(128 * MIB);
	thp_settings.enabled = THP_ALWAYS;
	s = model_create();
	model_map(s, HERE, 4 * MIB, RW, MAP_FIXED);
}

static void end(void)
{
	model_check();
	model_finish();
}

static void write_pages(struct model_space *of, vaddr_t a, u64 pages)
{
	for (u64 i = 0; i < pages; i++)
		CHECK_EQ(model_access(of, a + i * PAGE_SIZE, MMU_WRITE), FAULT_DONE);
}

static void read_pages(struct model_space *of, vaddr_t a, u64 pages)
{
	for (u64 i = 0; i < pages; i++)
		CHECK_EQ(model_access(of, a + i * PAGE_SIZE, MMU_READ), FAULT_DONE);
}

/* ---- families ---- */

TEST(small_pages_are_shared_until_one_side_writes)
{
	struct model_space *child;

	begin();
	thp_settings.enabled = THP_NEVER;
	write_pages(s, HERE, 100);
	child = model_fork(s);
	CHECK_EQ(vmstat_read(VM_nr_anon_pages), 100);
	CHECK_EQ(child->mm->nr_anon, 100);
	write_pages(child, HERE, 10);
	CHECK_EQ(vmstat_read(VM_nr_anon_pages), 110);
	write_pages(s, HERE, 10); /* the only one left reuses */
	CHECK_EQ(vmstat_read(VM_nr_anon_pages), 110);
	CHECK_EQ(vmstat_read(VM_pgreuse), 10);
	end();
}

TEST(a_fork_of_a_fork)
{
	struct model_space *child, *grandchild;

	begin();
	write_pages(s, HERE, 512);
	child = model_fork(s);
	write_pages(child, HERE + 2 * MIB, 3);
	grandchild = model_fork(child);
	CHECK(grandchild);
	model_check();
	model_exit(child); /* the one in the middle goes first */
	model_check();
	write_pages(s, HERE, 1);
	write_pages(grandchild, HERE + 2 * MIB, 3);
	read_pages(grandchild, HERE, 512);
	end();
}

TEST(the_parent_goes_first)
{
	struct model_space *child;

	begin();
	write_pages(s, HERE, 512);
	read_pages(s, HERE + 2 * MIB, 1); /* the huge zero page */
	child = model_fork(s);
	model_exit(s);
	s = child;
	model_check();
	write_pages(s, HERE, 1);
	CHECK_EQ(vmstat_read(VM_thp_wp_reuse), 1);
	write_pages(s, HERE + 2 * MIB, 1);
	end();
}

/* An area that moved after the fork is still found from its pages. */
TEST(moved_after_fork)
{
	struct model_space *child;

	begin();
	write_pages(s, HERE, 512);
	child = model_fork(s);
	model_remap(child, HERE, 2 * MIB, 2 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED,
		16 * MIB + 5 * PAGE_SIZE);
	model_check();
	CHECK_EQ(model_split_page(s, HERE), 0); /* in both places */
	model_check();
	read_pages(child, 16 * MIB + 5 * PAGE_SIZE, 512);
	end();
}

TEST(split_between_fork_and_exit)
{
	struct model_space *child;

	begin();
	write_pages(s, HERE, 512);
	child = model_fork(s);
	model_protect(s, HERE, PAGE_SIZE, PROT_READ); /* ptes here, a pmd there */
	model_check();
	CHECK_EQ(vmstat_read(VM_nr_anon_pages), 512);
	model_advise(s, HERE, MIB, MADV_DONTNEED);
	CHECK_EQ(vmstat_read(VM_nr_anon_pages), 512); /* the child's pmd maps them all */
	CHECK_EQ(vmstat_read(VM_thp_deferred_split_page), 0);
	model_exit(child);
	CHECK_EQ(vmstat_read(VM_nr_anon_pages), 256);
	CHECK_EQ(vmstat_read(VM_thp_deferred_split_page), 1); /* now a half is nobody's */
	end();
}

TEST(a_copy_leaves_a_part_behind)
{
	struct model_space *child;

	begin();
	write_pages(s, HERE, 512);
	child = model_fork(s);
	model_advise(child, HERE, MIB, MADV_DONTNEED);
	/* cow=copy: the pmd goes, half of the old page stays with the child. */
	write_pages(s, HERE, 1);
	CHECK_EQ(vmstat_read(VM_thp_wp_copy), 1);
	CHECK_EQ(vmstat_read(VM_thp_deferred_split_page), 1);
	end();
}

TEST(not_for_children)
{
	struct model_space *child;

	begin();
	write_pages(s, HERE, 1);
	write_pages(s, HERE + 2 * MIB, 1);
	model_advise(s, HERE, 2 * MIB, MADV_DONTFORK);
	model_advise(s, HERE + 2 * MIB, 2 * MIB, MADV_WIPEONFORK);
	child = model_fork(s);
	CHECK_EQ(child->mm->nr_vmas, 1);
	CHECK_EQ(child->mm->nr_anon, 0);
	CHECK_EQ(model_access(child, HERE, MMU_READ), FAULT_BAD_ADDRESS);
	CHECK_EQ(model_access(child, HERE + 2 * MIB, MMU_READ), FAULT_DONE);
	end();
}

TEST(what_a_child_inherits)
{
	struct model_space *child;

	begin();
	model_brk(s, MODEL_BRK + MIB);
	s->mm->thp_disable = true;
	s->mm->stack_top = 12345;
	model_protect(s, HERE, PAGE_SIZE, PROT_NONE);
	child = model_fork(s);
	CHECK(child->mm->thp_disable);
	CHECK_EQ(child->mm->stack_top, 12345);
	CHECK_EQ(child->mm->brk, MODEL_BRK + MIB);
	CHECK_EQ(child->mm->nr_vmas, 3);
	CHECK_EQ(child->mm->total_vm, s->mm->total_vm);
	end();
}

/* ---- no memory, at every place ---- */

static void touch_all_kinds(void)
{
	model_access(s, HERE, MMU_WRITE);          /* huge */
	model_access(s, HERE + 2 * MIB, MMU_READ); /* huge zero */
	model_map(s, 20 * MIB + PAGE_SIZE, MIB, RW, MAP_FIXED);
	model_access(s, 20 * MIB + PAGE_SIZE, MMU_WRITE);    /* small */
	model_access(s, 20 * MIB + 2 * PAGE_SIZE, MMU_READ); /* small zero */
	model_access(s, 20 * MIB + 2 * PAGE_SIZE, MMU_WRITE);
}

static void write_over_zero(void)
{
	model_access(s, HERE, MMU_READ);
	model_access(s, HERE + 7 * PAGE_SIZE, MMU_WRITE);
}

static void collapse(void)
{
	model_advise(s, HERE, 4 * MIB, MADV_NOHUGEPAGE);
	for (u64 i = 0; i < 20; i++)
		model_access(s, HERE + 3 * i * PAGE_SIZE, MMU_WRITE);
	model_advise(s, HERE, 4 * MIB, MADV_HUGEPAGE);
	model_advise(s, HERE, 2 * MIB, MADV_COLLAPSE);
	model_khugepaged_pass();
}

static void fork_and_write(void)
{
	struct model_space *child;

	model_access(s, HERE, MMU_WRITE);
	model_access(s, HERE + 2 * MIB, MMU_READ);
	child = model_fork(s);
	model_access(s, HERE + PAGE_SIZE, MMU_WRITE);
	if (child) {
		model_access(child, HERE + PAGE_SIZE, MMU_WRITE);
		model_access(child, HERE + 2 * MIB, MMU_WRITE);
		model_exit(child);
	}
}

static void cut_and_move(void)
{
	model_access(s, HERE, MMU_WRITE);
	model_access(s, HERE + 2 * MIB, MMU_WRITE);
	model_protect(s, HERE + 3 * PAGE_SIZE, PAGE_SIZE, PROT_READ);
	model_remap(s, HERE + MIB, MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED, 20 * MIB + PAGE_SIZE);
	model_remap(s, HERE + 2 * MIB, 2 * MIB, 2 * MIB, MREMAP_MAYMOVE, 0);
	model_unmap(s, HERE + 5 * PAGE_SIZE, 9 * PAGE_SIZE);
	model_advise(s, HERE, MIB, MADV_FREE);
	model_brk(s, MODEL_BRK + MIB);
	model_advise(s, MODEL_BRK, MIB, MADV_POPULATE_WRITE);
}

/* Run it with the k-th allocation failing, from a fresh start; false: there was no k-th. */
static bool run_once(void (*scenario)(void), u64 k, int order)
{
	bool fired;

	model_khugepaged_turn(0);
	s = model_create();
	model_map(s, HERE, 4 * MIB, RW, MAP_FIXED);
	model_may_fail = true;
	buddy_inject_fail(k, order);
	scenario();
	fired = buddy_inject_fired;
	buddy_inject_fail(0, -1);
	model_may_fail = false;
	model_check();
	model_finish();
	return fired;
}

static void fail_at_every_k(const char *name, void (*scenario)(void), int order, u64 least)
{
	u64 k = 1;

	model_start(128 * MIB);
	thp_settings.enabled = THP_ALWAYS;
	for (; run_once(scenario, k, order); k++)
		CHECK(k < 5000);
	printf("  %s, order %d: each of %lu allocations failed once\n", name, order, k - 1);
	CHECK(k - 1 >= least);
}

#define FAIL_EVERYWHERE(name, cow_rule, least, least_huge)                                         \
	TEST(no_memory_in_##name##_##cow_rule)                                                     \
	{                                                                                          \
		thp_settings.cow = cow_rule;                                                       \
		fail_at_every_k(#name, name, -1, least);                                           \
	}                                                                                          \
	TEST(no_block_in_##name##_##cow_rule)                                                      \
	{                                                                                          \
		thp_settings.cow = cow_rule;                                                       \
		thp_settings.defrag = DEFRAG_NEVER;                                                \
		fail_at_every_k(#name, name, HPAGE_PMD_ORDER, least_huge);                         \
	}

FAIL_EVERYWHERE(touch_all_kinds, COW_COPY, 10, 2)
FAIL_EVERYWHERE(write_over_zero, COW_COPY, 6, 2)
FAIL_EVERYWHERE(write_over_zero, COW_SPLIT, 6, 1)
FAIL_EVERYWHERE(collapse, COW_COPY, 20, 1)
FAIL_EVERYWHERE(fork_and_write, COW_COPY, 12, 3)
FAIL_EVERYWHERE(fork_and_write, COW_SPLIT, 12, 2)
FAIL_EVERYWHERE(cut_and_move, COW_COPY, 12, 2)
