/*
 * test_run.c - sizes between 4 KiB and 2 MiB: which run a write fault brings, and what becomes of its pages.
 */
#include <string.h>

#include "check.h"
#include "fake_machine.h"
#include "model.h"
#include <abi/advice.h>
#include "mm/buddy.h"
#include "mm/mmap.h"
#include "mm/run.h"
#include "mm/vma.h"
#include "mm/zero.h"
#include "vmstat.h"

#define KIB  1024ul
#define MIB  (1ul << 20)
#define HERE (4 * MIB)
#define RW   (PROT_READ | PROT_WRITE)

static struct model_space *s;

static void begin(u64 len)
{
	model_start(96 * MIB);
	memset(run_stats, 0, sizeof(run_stats));
	thp_settings.enabled = THP_NEVER;
	s = model_create();
	model_map(s, HERE, len, RW, MAP_FIXED);
}

static void end(void)
{
	model_check();
	model_finish();
}

static void write_at(vaddr_t a)
{
	CHECK_EQ(model_access(s, a, MMU_WRITE), FAULT_DONE);
}

static u64 rss(void)
{
	return s->mm->nr_anon;
}

TEST(one_fault_brings_sixteen_pages)
{
	u64 faults;

	begin(2 * MIB);
	run_set_size(4, SIZE_ALWAYS);
	faults = mmu_faults;
	write_at(HERE + 100 * KIB); /* in the second 64 KiB */
	CHECK_EQ(rss(), 16);
	CHECK(!mmu_frame(s->mm, HERE + 60 * KIB));
	for (u64 i = 0; i < 16; i++)
		CHECK_EQ(mmu_frame(s->mm, HERE + (64 + 4 * i) * KIB),
			mmu_frame(s->mm, HERE + 64 * KIB) + i);
	write_at(HERE + 64 * KIB);
	CHECK_EQ(mmu_faults, faults + 1);
	CHECK_EQ(run_stats[4].anon_fault_alloc, 1);
	end();
}

TEST(the_largest_that_fits)
{
	begin(1088 * KIB);
	for (unsigned order = RUN_MIN_ORDER; order <= RUN_MAX_ORDER; order++)
		run_set_size(order, SIZE_ALWAYS);
	write_at(HERE + 4 * KIB);
	CHECK_EQ(rss(), 256);
	write_at(HERE + 1024 * KIB); /* 64 KiB are left of the area */
	CHECK_EQ(rss(), 256 + 16);
	CHECK_EQ(run_stats[8].anon_fault_alloc, 1);
	CHECK_EQ(run_stats[4].anon_fault_alloc, 1);
	CHECK_EQ(run_stats[7].anon_fault_fallback, 0); /* the range is no failure */
	end();
}

TEST(a_page_in_the_way)
{
	begin(2 * MIB);
	write_at(HERE);
	run_set_size(4, SIZE_ALWAYS);
	run_set_size(2, SIZE_ALWAYS);
	write_at(HERE + 20 * KIB);
	CHECK_EQ(rss(), 1 + 4); /* the 64 KiB have a page: 16 KiB come */
	CHECK_EQ(run_why(vma_find(s->mm, HERE), HERE + 40 * KIB, 4), THP_PTES_PRESENT);
	CHECK_EQ(run_why(vma_find(s->mm, HERE), HERE + 40 * KIB, 2), THP_OK);
	CHECK_EQ(run_why(vma_find(s->mm, HERE), HERE + 40 * KIB, 3), THP_NEVER_SET);
	end();
}

TEST(inherit_and_advice)
{
	begin(4 * MIB);
	run_set_size(4, SIZE_INHERIT);
	write_at(HERE); /* enabled=never */
	CHECK_EQ(rss(), 1);
	thp_settings.enabled = THP_MADVISE;
	write_at(HERE + 64 * KIB);
	CHECK_EQ(rss(), 2);
	run_set_size(HPAGE_PMD_ORDER, SIZE_NEVER);
	model_advise(s, HERE + 2 * MIB, 2 * MIB, MADV_HUGEPAGE);
	write_at(HERE + 2 * MIB);
	CHECK_EQ(rss(), 2 + 16); /* 2 MiB are not enabled, 64 KiB are */
	run_set_size(HPAGE_PMD_ORDER, SIZE_INHERIT);
	run_set_size(4, SIZE_NEVER);
	CHECK_EQ(thp_settings.run_orders, 0); /* S2 */
	end();
}

TEST(a_size_of_its_own_for_two_megabytes)
{
	begin(2 * MIB);
	run_set_size(HPAGE_PMD_ORDER, SIZE_ALWAYS); /* although enabled is never */
	write_at(HERE);
	CHECK_EQ(rss(), 512);
	run_set_size(HPAGE_PMD_ORDER, SIZE_INHERIT);
	end();
}

TEST(a_read_gets_the_zero_page)
{
	begin(2 * MIB);
	run_set_size(4, SIZE_ALWAYS);
	CHECK_EQ(model_access(s, HERE, MMU_READ), FAULT_DONE);
	CHECK_EQ(rss(), 0);
	write_at(HERE); /* over the zero page: one page */
	CHECK_EQ(rss(), 1);
	end();
}

TEST(a_part_goes_back_at_once)
{
	u64 free;

	begin(2 * MIB);
	run_set_size(8, SIZE_ALWAYS);
	write_at(HERE);
	free = buddy_free_pages();
	model_unmap(s, HERE + 512 * KIB, 256 * KIB);
	CHECK_EQ(buddy_free_pages(), free + 64);
	CHECK_EQ(vmstat_read(VM_thp_deferred_split_page), 0);
	end();
}

TEST(no_block_is_counted_and_the_next_is_tried)
{
	begin(2 * MIB);
	run_set_size(8, SIZE_ALWAYS);
	run_set_size(4, SIZE_ALWAYS);
	buddy_inject_fail(1, 8);
	write_at(HERE);
	buddy_inject_fail(0, -1);
	CHECK_EQ(run_stats[8].anon_fault_fallback, 1);
	CHECK_EQ(run_stats[4].anon_fault_alloc, 1);
	CHECK_EQ(rss(), 16);
	end();
}

TEST(fork_copies_one_page)
{
	struct model_space *child;

	begin(2 * MIB);
	run_set_size(4, SIZE_ALWAYS);
	write_at(HERE);
	child = model_fork(s);
	CHECK_EQ(model_access(child, HERE, MMU_WRITE), FAULT_DONE);
	CHECK_EQ(vmstat_read(VM_nr_anon_pages), 17);
	end();
}
