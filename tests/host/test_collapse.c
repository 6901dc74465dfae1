/*
 * test_collapse.c - 512 pages become one: each reason against it, the limits, khugepaged's cursor and turns.
 */
#include <string.h>

#include "check.h"
#include "fake_machine.h"
#include "model.h"
#include <abi/advice.h>
#include <abi/errno.h>
#include "mm/buddy.h"
#include "mm/collapse.h"
#include "mm/lru.h"
#include "mm/mmap.h"
#include "mm/pgtable.h"
#include "mm/thp.h"
#include "mm/zero.h"
#include "mutex.h"
#include "khugepaged.h"
#include "vmstat.h"

#define MIB  (1ul << 20)
#define HERE (4 * MIB)
#define RW   (PROT_READ | PROT_WRITE)

static struct model_space *s;

static const struct collapse_limits forced = {
	.max_none = 512, .max_swap = 512, .max_shared = 512, .forced = true};
static const struct collapse_limits usual = {.max_none = 511, .max_swap = 64, .max_shared = 256};

/* An area at HERE in which small pages will be touched first, then huge ones allowed. */
static void begin(u64 len)
{
	model_start(96 * MIB);
	thp_settings.enabled = THP_MADVISE;
	thp_settings.cow = COW_SPLIT;
	s = model_create();
	model_map(s, HERE, len, RW, MAP_FIXED);
	measure();
}

static void allow(u64 len)
{
	model_advise(s, HERE, len, MADV_HUGEPAGE);
}

static void end(void)
{
	model_check();
	model_finish();
}

static void write_pages(vaddr_t a, u64 pages)
{
	for (u64 i = 0; i < pages; i++)
		CHECK_EQ(model_access(s, a + i * PAGE_SIZE, MMU_WRITE), FAULT_DONE);
}

static enum collapse_result scan(const struct collapse_limits *limits)
{
	enum collapse_result r;

	rwsem_read_lock(&s->mm->lock);
	r = collapse_scan(s->mm, mm_lookup(s->mm, HERE), HERE, limits);
	rwsem_read_unlock(&s->mm->lock);
	return r;
}

/* ---- MADV_COLLAPSE ---- */

TEST(case_24_all_present)
{
	begin(2 * MIB);
	write_pages(HERE, 512);
	CHECK_EQ(s->mm->nr_tables, 3);
	CHECK_EQ(model_advise(s, HERE, 2 * MIB, MADV_COLLAPSE), 0);
	CHECK(model_is_huge(s, HERE));
	CHECK_EQ(s->mm->nr_anon, 512);
	CHECK_EQ(s->mm->nr_tables, 3); /* the old table is the deposit now */
	CHECK_EQ(delta(VM_thp_collapse_alloc), 1);
	CHECK_EQ(collapse_counts[COLLAPSE_SUCCEED], 1);
	model_check();
	write_pages(HERE, 512);
	end();
}

TEST(case_25_one_present)
{
	begin(2 * MIB);
	thp_settings.enabled = THP_NEVER; /* asked for by name: settings do not count */
	write_pages(HERE + 77 * PAGE_SIZE, 1);
	CHECK_EQ(model_advise(s, HERE, 2 * MIB, MADV_COLLAPSE), 0);
	CHECK_EQ(s->mm->nr_anon, 512);
	end();
}

TEST(case_26_none_present)
{
	begin(2 * MIB);
	CHECK_EQ(model_advise(s, HERE, 2 * MIB, MADV_COLLAPSE), -EINVAL);
	CHECK_EQ(s->mm->nr_anon, 0);
	CHECK_EQ(model_access(s, HERE, MMU_READ), FAULT_DONE); /* a zero page is nothing either */
	CHECK_EQ(model_advise(s, HERE, 2 * MIB, MADV_COLLAPSE), -EINVAL);
	end();
}

TEST(zero_pages_become_zeroes)
{
	begin(2 * MIB);
	for (u64 i = 0; i < 512; i++)
		model_access(s, HERE + i * PAGE_SIZE, MMU_READ);
	write_pages(HERE, 1);
	CHECK_EQ(model_advise(s, HERE, 2 * MIB, MADV_COLLAPSE), 0);
	end();
}

TEST(case_28_a_huge_page_mapped_by_ptes)
{
	pfn_t old;

	begin(2 * MIB);
	allow(2 * MIB);
	write_pages(HERE, 512);
	old = mmu_frame(s->mm, HERE);
	model_protect(s, HERE, PAGE_SIZE, PROT_READ);
	model_protect(s, HERE, PAGE_SIZE, RW);
	CHECK(!model_is_huge(s, HERE));
	measure();
	CHECK_EQ(model_advise(s, HERE, 2 * MIB, MADV_COLLAPSE), 0);
	CHECK(model_is_huge(s, HERE));
	CHECK(mmu_frame(s->mm, HERE) != old);
	CHECK_EQ(delta(VM_thp_collapse_alloc), 1);
	CHECK_EQ(delta(VM_thp_deferred_split_page), 1);
	CHECK_EQ(lru.deferred.count, 0); /* and then it was freed */
	end();
}

TEST(a_huge_page_is_no_error)
{
	begin(4 * MIB);
	allow(4 * MIB);
	write_pages(HERE, 1);
	CHECK_EQ(model_advise(s, HERE, 2 * MIB, MADV_COLLAPSE), 0);
	CHECK_EQ(collapse_counts[COLLAPSE_PMD_MAPPED], 1);
	CHECK_EQ(delta(VM_thp_collapse_alloc), 0);
	end();
}

/* Frames come from everywhere; a part of the range, and a hole in the middle. */
TEST(ranges_and_holes)
{
	begin(8 * MIB);
	write_pages(HERE, 2048);
	CHECK_EQ(model_advise(s, HERE + PAGE_SIZE, 4 * MIB, MADV_COLLAPSE), 0);
	CHECK(!model_is_huge(s, HERE) && model_is_huge(s, HERE + 2 * MIB) &&
		!model_is_huge(s, HERE + 4 * MIB));
	model_unmap(s, HERE + 4 * MIB, PAGE_SIZE);
	CHECK_EQ(model_advise(s, HERE, 8 * MIB, MADV_COLLAPSE), -ENOMEM);
	CHECK(model_is_huge(s, HERE) && model_is_huge(s, HERE + 6 * MIB));
	end();
}

TEST(no_block)
{
	begin(2 * MIB);
	write_pages(HERE, 512);
	buddy_inject_fail(1, HPAGE_PMD_ORDER);
	CHECK_EQ(collapse_range(s->mm, HERE, &forced),
		COLLAPSE_SUCCEED); /* the second try had one */
	buddy_inject_fail(0, -1);
	CHECK_EQ(model_protect(s, HERE, PAGE_SIZE, PROT_READ), 0);
	thp_settings.khugepaged_defrag = false;
	allow(2 * MIB);
	model_protect(s, HERE, PAGE_SIZE, RW);
	measure();
	buddy_inject_fail(1, HPAGE_PMD_ORDER);
	CHECK_EQ(collapse_range(s->mm, HERE, &usual), COLLAPSE_ALLOC_HUGE_PAGE_FAIL);
	CHECK_EQ(delta(VM_thp_collapse_alloc_failed), 1);
	buddy_inject_fail(0, -1);
	end();
}

/* ---- each reason ---- */

TEST(reasons_that_the_area_gives)
{
	begin(2 * MIB);
	CHECK_EQ(scan(&usual), COLLAPSE_VMA_CHECK);  /* not advised */
	CHECK_EQ(scan(&forced), COLLAPSE_VMA_CHECK); /* nothing was ever there */
	allow(2 * MIB);
	CHECK_EQ(scan(&usual), COLLAPSE_VMA_CHECK);
	write_pages(HERE, 1);
	CHECK_EQ(scan(&usual), COLLAPSE_PMD_MAPPED);
	model_advise(s, HERE, 2 * MIB, MADV_NOHUGEPAGE);
	CHECK_EQ(scan(&forced), COLLAPSE_VMA_CHECK);
	model_unmap(s, HERE + MIB, MIB);
	CHECK_EQ(scan(&forced), COLLAPSE_ADDRESS_RANGE);
	/* and they are looked at again when the lock has been dropped in between */
	CHECK_EQ(collapse_range(s->mm, HERE, &forced), COLLAPSE_ADDRESS_RANGE);
	model_unmap(s, HERE, MIB);
	CHECK_EQ(collapse_range(s->mm, HERE, &forced), COLLAPSE_VMA_NULL);
	CHECK_EQ(vmstat_read(VM_nr_anon_pages), 0);
	end();
}

TEST(reasons_that_the_pages_give)
{
	struct page *p;

	begin(2 * MIB);
	write_pages(HERE, 512);
	p = pfn_to_page(mmu_frame(s->mm, HERE + 5 * PAGE_SIZE));
	page_get(p); /* somebody holds it */
	CHECK_EQ(scan(&forced), COLLAPSE_PAGE_COUNT);
	CHECK_EQ(collapse_range(s->mm, HERE, &forced), COLLAPSE_PAGE_COUNT);
	CHECK_EQ(model_advise(s, HERE, 2 * MIB, MADV_COLLAPSE), -EAGAIN);
	page_put(p);
	CHECK(lru_isolate(p)); /* somebody works on it */
	CHECK_EQ(scan(&forced), COLLAPSE_PAGE_LRU);
	CHECK_EQ(collapse_range(s->mm, HERE, &forced), COLLAPSE_PAGE_LRU);
	lru_putback(p);
	model_check(); /* a refusal leaves everything as it was: C3 */
	CHECK_EQ(collapse_range(s->mm, HERE, &forced), COLLAPSE_SUCCEED);
	end();
}

TEST(case_33_a_read_only_range)
{
	begin(2 * MIB);
	allow(2 * MIB);
	model_advise(s, HERE, 2 * MIB, MADV_NOHUGEPAGE);
	write_pages(HERE, 512);
	allow(2 * MIB);
	model_protect(s, HERE, 2 * MIB, PROT_READ);
	CHECK_EQ(scan(&usual), COLLAPSE_PAGE_RO);
	model_khugepaged_pass();
	CHECK(!model_is_huge(s, HERE));
	end();
}

TEST(pages_that_nobody_used_lately)
{
	begin(2 * MIB);
	write_pages(HERE, 512);
	allow(2 * MIB);
	model_advise(s, HERE, 2 * MIB, MADV_FREE); /* takes the accessed bits away */
	CHECK_EQ(scan(&usual), COLLAPSE_LACK_REFERENCED_PAGE);
	CHECK_EQ(scan(&forced), COLLAPSE_SUCCEED);
	write_pages(HERE + 100 * PAGE_SIZE, 1);
	CHECK_EQ(scan(&usual), COLLAPSE_SUCCEED);
	end();
}

TEST(names_and_texts)
{
	CHECK_STR(collapse_result_name(COLLAPSE_EXCEED_NONE_PTE), "EXCEED_NONE_PTE");
	for (unsigned i = 0; i < NR_COLLAPSE_RESULTS; i++)
		CHECK(collapse_result_text(i)[0] && collapse_result_name(i)[0]);
}

/* ---- khugepaged ---- */

TEST(case_29_one_page_is_enough)
{
	begin(2 * MIB);
	write_pages(HERE, 1);
	allow(2 * MIB);
	model_khugepaged_pass();
	CHECK(model_is_huge(s, HERE));
	CHECK_EQ(delta(VM_thp_collapse_alloc), 1);
	CHECK_EQ(khugepaged_stats.pages_collapsed, 1);
	end();
}

TEST(case_30_max_ptes_none)
{
	begin(2 * MIB);
	thp_settings.max_ptes_none = 0;
	write_pages(HERE, 511);
	allow(2 * MIB);
	model_khugepaged_pass();
	model_khugepaged_pass();
	CHECK(!model_is_huge(s, HERE));
	CHECK_EQ(delta(VM_thp_scan_exceed_none_pte), 2);
	write_pages(HERE + 511 * PAGE_SIZE, 1);
	model_khugepaged_pass();
	CHECK(model_is_huge(s, HERE));
	end();
}

TEST(case_34_bloat_again)
{
	begin(2 * MIB);
	allow(2 * MIB);
	write_pages(HERE, 1);
	model_advise(s, HERE + PAGE_SIZE, 511 * PAGE_SIZE, MADV_DONTNEED);
	CHECK_EQ(s->mm->nr_anon, 1);
	model_khugepaged_pass();
	CHECK_EQ(s->mm->nr_anon, 512);
	end();
}

TEST(case_41_shared_pages)
{
	struct model_space *child;

	begin(2 * MIB);
	allow(2 * MIB);
	write_pages(HERE, 512);
	child = model_fork(s);
	CHECK_EQ(model_access(child, HERE, MMU_WRITE), FAULT_DONE);
	CHECK(!model_is_huge(child, HERE));
	model_khugepaged_pass();
	CHECK(!model_is_huge(child, HERE)); /* 511 shared > 256 */
	CHECK_EQ(delta(VM_thp_scan_exceed_share_pte), 1);
	model_check();
	thp_settings.max_ptes_shared = 511;
	model_khugepaged_pass();
	CHECK(model_is_huge(child, HERE));
	CHECK(model_is_huge(s, HERE));
	end();
}

/* Shared small pages: the copy takes nothing away from the other side. */
TEST(shared_small_pages)
{
	struct model_space *child;

	begin(2 * MIB);
	write_pages(HERE, 512);
	child = model_fork(s);
	for (u64 i = 0; i < 300; i++)
		model_access(child, HERE + i * PAGE_SIZE, MMU_WRITE);
	model_advise(child, HERE, 2 * MIB, MADV_HUGEPAGE);
	model_khugepaged_pass();
	CHECK(model_is_huge(child, HERE) && !model_is_huge(s, HERE));
	CHECK_EQ(s->mm->nr_anon, 512);
	end();
}

/* pages_to_scan is a budget, asked behind a range: a turn stops where it is used up, the next one goes on there. */
TEST(the_cursor_goes_on)
{
	begin(8 * MIB);
	write_pages(HERE, 2048);
	allow(8 * MIB);
	model_khugepaged_turn(1);
	CHECK(model_is_huge(s, HERE) && !model_is_huge(s, HERE + 2 * MIB)); /* the smallest: one */
	model_khugepaged_turn(513); /* the space costs one */
	CHECK(model_is_huge(s, HERE + 2 * MIB) && !model_is_huge(s, HERE + 4 * MIB));
	model_khugepaged_turn(512);
	CHECK(model_is_huge(s, HERE + 4 * MIB) && !model_is_huge(s, HERE + 6 * MIB));
	CHECK_EQ(khugepaged_stats.full_scans, 0);
	CHECK_EQ(khugepaged_stats.address, HERE + 6 * MIB);
	model_khugepaged_turn(4096);
	CHECK(model_is_huge(s, HERE + 6 * MIB));
	CHECK(khugepaged_stats.full_scans >= 1);
	CHECK_EQ(khugepaged_stats.pages_collapsed, 4);
	end();
}

/* Two spaces in turn, one of them gone while the cursor stands in it. */
TEST(the_space_goes_while_the_cursor_is_there)
{
	struct model_space *child;

	begin(8 * MIB);
	allow(8 * MIB);
	write_pages(HERE, 1);
	child = model_fork(s);
	CHECK_EQ(thp_nr_listed(), 2);
	model_khugepaged_turn(513); /* stands in the first */
	model_exit(s);
	s = child;
	model_check();
	CHECK_EQ(thp_nr_listed(), 1);
	for (u64 i = 0; i < 8; i++)
		model_khugepaged_turn(600);
	model_advise(s, HERE + PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED);
	CHECK(!model_is_huge(s, HERE));
	model_khugepaged_pass();
	CHECK_EQ(model_access(s, HERE + PAGE_SIZE, MMU_WRITE), FAULT_DONE);
	end();
}

TEST(nobody_is_looked_at_when_it_is_off)
{
	begin(2 * MIB);
	write_pages(HERE, 1);
	allow(2 * MIB);
	thp_settings.enabled = THP_NEVER;
	model_khugepaged_turn(4096);
	model_khugepaged_pass();
	CHECK(!model_is_huge(s, HERE));
	CHECK_EQ(khugepaged_stats.pages_collapsed, 0);
	end();
}

TEST(no_block_ends_the_turn)
{
	begin(4 * MIB);
	write_pages(HERE, 1024);
	allow(4 * MIB);
	thp_settings.khugepaged_defrag = false;
	buddy_inject_fail(1, HPAGE_PMD_ORDER);
	model_khugepaged_turn(4096);
	CHECK(!model_is_huge(s, HERE) && !model_is_huge(s, HERE + 2 * MIB));
	buddy_inject_fail(0, -1);
	CHECK_EQ(delta(VM_thp_collapse_alloc_failed), 1);
	model_khugepaged_turn(4096);
	CHECK(model_is_huge(s, HERE + 2 * MIB));
	end();
}
