/*
 * test_thp.c - huge pages, case by case: what a program does, and what must then stand in the tables and counters.
 *
 * The numbered cases are those that were measured on Linux 6.1 and 6.12 (cow=split where 6.1 splits). Sizes in
 * kB, as smaps shows them. The last part breaks each invariant of thp.c on purpose.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "fake_machine.h"
#include "model.h"
#include <abi/advice.h>
#include <abi/errno.h>
#include "mm/buddy.h"
#include "mm/collapse.h"
#include "mm/fault.h"
#include "mm/lru.h"
#include "mm/mmap.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/thp.h"
#include "mm/thp_split.h"
#include "mm/vma.h"
#include "mm/zero.h"
#include "mutex.h"
#include "vmstat.h"

#define MIB  (1ul << 20)
#define HERE (4 * MIB)
#define RW   (PROT_READ | PROT_WRITE)

static struct model_space *s;
static u64 faults_before;

/* Counters from here on. */
static void measure_faults(void)
{
	measure();
	faults_before = mmu_faults;
}

static u64 faults(void)
{
	return mmu_faults - faults_before;
}

/* The settings of the cases, and an aligned, advised area of len bytes at HERE. */
static void begin(u64 len)
{
	model_start(96 * MIB);
	thp_settings.enabled = THP_MADVISE;
	thp_settings.defrag = DEFRAG_MADVISE;
	thp_settings.cow = COW_SPLIT;
	s = model_create();
	model_map(s, HERE, len, RW, MAP_FIXED);
	model_advise(s, HERE, len, MADV_HUGEPAGE);
	measure_faults();
}

static void end(void)
{
	model_check();
	model_finish();
}

static u64 rss(struct model_space *of)
{
	return of->mm->nr_anon * 4;
}

/* Leaves at pmd, in kB: AnonHugePages, or those of the huge zero page. */
static u64 huge_kb(struct model_space *of, bool zero)
{
	vaddr_t a = 0;
	u64 kb = 0;

	for (pmd_t *pmdp = pgtable_next_pmd(of->mm, &a, USER_END); pmdp;
		a = pmd_range_end(a, USER_END), pmdp = pgtable_next_pmd(of->mm, &a, USER_END)) {
		pmd_t pmd = pmd_read(pmdp);

		if (pmd_kind(pmd) == ENTRY_LEAF && pfn_is_huge_zero(pmd_pfn(pmd)) == zero)
			kb += HPAGE_PMD_SIZE / 1024;
	}
	return kb;
}

static u64 ahp(struct model_space *of)
{
	return huge_kb(of, false);
}

static void write_at(vaddr_t a)
{
	CHECK_EQ(model_access(s, a, MMU_WRITE), FAULT_DONE);
}

static void read_at(vaddr_t a)
{
	CHECK_EQ(model_access(s, a, MMU_READ), FAULT_DONE);
}

static void write_pages(struct model_space *of, vaddr_t a, u64 pages)
{
	for (u64 i = 0; i < pages; i++)
		CHECK_EQ(model_access(of, a + i * PAGE_SIZE, MMU_WRITE), FAULT_DONE);
}

static enum thp_reason eligible(vaddr_t a)
{
	return thp_vma_reason(mm_lookup(s->mm, a));
}

/* ---- the first touch ---- */

TEST(case_1_write_one_byte)
{
	begin(2 * MIB);
	write_at(HERE + 12345);
	CHECK_EQ(rss(s), 2048);
	CHECK_EQ(ahp(s), 2048);
	CHECK_EQ(delta(VM_thp_fault_alloc), 1);
	CHECK_EQ(faults(), 1);
	CHECK_EQ(delta(VM_nr_page_table_pages), 3); /* pud, pmd, and the deposited one */
	end();
}

TEST(case_2_read_one_byte)
{
	begin(4 * MIB);
	read_at(HERE);
	CHECK_EQ(huge_kb(s, true), 2048);
	CHECK_EQ(rss(s), 0);
	CHECK_EQ(ahp(s), 0);
	CHECK_EQ(delta(VM_thp_zero_page_alloc), 1);
	read_at(HERE + 2 * MIB);
	read_at(HERE + 2 * MIB + 77 * PAGE_SIZE);
	CHECK_EQ(huge_kb(s, true), 4096);
	CHECK_EQ(delta(VM_thp_zero_page_alloc), 1);
	CHECK_EQ(faults(), 2);
	CHECK_EQ(zero_huge_refs(),
		2); /* one for the space, however often it maps it, one for the shrinker */
	end();
}

/* Two CPUs read first, in one space: one reference, however the race ends. */
static void read_next_block(void)
{
	read_at(HERE + 2 * MIB);
}

static void race_once(void)
{
	machine_preempt = NULL;
	mmu_as_other_cpu(read_next_block);
}

TEST(two_first_reads_at_once)
{
	begin(4 * MIB);
	machine_preempt = race_once; /* when the zero page is cleared */
	read_at(HERE);
	CHECK_EQ(huge_kb(s, true), 4096);
	CHECK_EQ(zero_huge_refs(), 2);
	end();
}

TEST(case_3_no_zero_page)
{
	begin(2 * MIB);
	thp_settings.use_zero_page = false;
	read_at(HERE);
	CHECK_EQ(ahp(s), 2048);
	CHECK_EQ(delta(VM_thp_fault_alloc), 1);
	CHECK_EQ(delta(VM_thp_zero_page_alloc), 0);
	end();
}

TEST(case_4_write_over_the_huge_zero_page)
{
	begin(2 * MIB);
	read_at(HERE);
	measure_faults();
	write_at(HERE + 5 * PAGE_SIZE);
	CHECK_EQ(rss(s), 4);
	CHECK_EQ(ahp(s), 0);
	CHECK_EQ(delta(VM_thp_split_pmd), 1);
	CHECK_EQ(delta(VM_thp_fault_alloc), 0);
	CHECK(pfn_is_zero(mmu_frame(s->mm, HERE + 6 * PAGE_SIZE)));
	end();
}

TEST(case_4_as_in_4_11_and_from_6_13)
{
	begin(2 * MIB);
	thp_settings.cow = COW_COPY;
	read_at(HERE);
	measure_faults();
	write_at(HERE + 5 * PAGE_SIZE);
	CHECK_EQ(ahp(s), 2048);
	CHECK_EQ(delta(VM_thp_fault_alloc), 1);
	CHECK_EQ(delta(VM_thp_split_pmd), 0);
	CHECK_EQ(delta(VM_nr_page_table_pages), 0);
	end();
}

TEST(case_5_a_tail_that_does_not_fit)
{
	begin(2 * MIB + 2 * PAGE_SIZE);
	write_at(HERE + 2 * MIB);
	CHECK_EQ(rss(s), 4);
	write_at(HERE);
	CHECK_EQ(rss(s), 2052);
	CHECK_EQ(ahp(s), 2048);
	CHECK_EQ(delta(VM_thp_fault_alloc), 1);
	CHECK_EQ(delta(VM_thp_fault_fallback), 0); /* it was not tried */
	CHECK_EQ(thp_addr_reason(mm_lookup(s->mm, HERE + 2 * MIB), HERE + 2 * MIB), THP_RANGE);
	end();
}

TEST(an_area_that_begins_inside)
{
	begin(2 * MIB);
	model_unmap(s, HERE, 2 * MIB);
	model_map(s, HERE + PAGE_SIZE, 4 * MIB, RW, MAP_FIXED);
	model_advise(s, HERE + PAGE_SIZE, 4 * MIB, MADV_HUGEPAGE);
	write_at(HERE + PAGE_SIZE);
	CHECK_EQ(ahp(s), 0);
	write_at(HERE + 2 * MIB);
	CHECK_EQ(ahp(s), 2048);
	write_at(HERE + 4 * MIB); /* its last page: the block around it ends outside */
	CHECK_EQ(rss(s), 2048 + 8);
	end();
}

TEST(case_7_8_9_settings_and_advice)
{
	begin(2 * MIB);
	model_advise(s, HERE, 2 * MIB, MADV_NOHUGEPAGE);
	CHECK_EQ(eligible(HERE), THP_NOHUGEPAGE);
	write_at(HERE);
	CHECK_EQ(rss(s), 4);

	model_map(s, HERE, 2 * MIB, RW, MAP_FIXED);
	model_advise(s, HERE, 2 * MIB, MADV_HUGEPAGE);
	thp_settings.enabled = THP_NEVER;
	CHECK_EQ(eligible(HERE), THP_NEVER_SET);
	write_at(HERE);
	CHECK_EQ(rss(s), 4);

	model_map(s, HERE, 2 * MIB, RW, MAP_FIXED);
	thp_settings.enabled = THP_MADVISE;
	CHECK_EQ(eligible(HERE), THP_NOT_ADVISED);
	write_at(HERE);
	CHECK_EQ(rss(s), 4);

	model_map(s, HERE, 2 * MIB, RW, MAP_FIXED);
	thp_settings.enabled = THP_ALWAYS;
	CHECK_EQ(eligible(HERE), THP_OK);
	write_at(HERE);
	CHECK_EQ(ahp(s), 2048);
	end();
}

TEST(case_10_prctl)
{
	struct model_space *child;

	begin(2 * MIB);
	mmap_set_thp_disable(s->mm, true);
	CHECK_EQ(eligible(HERE), THP_PRCTL);
	write_at(HERE);
	CHECK_EQ(rss(s), 4);
	CHECK_EQ(model_advise(s, HERE, 2 * MIB, MADV_COLLAPSE), -EINVAL);
	child = model_fork(s);
	CHECK(child->mm->thp_disable);
	mmap_set_thp_disable(s->mm, false);
	CHECK_EQ(model_advise(s, HERE, 2 * MIB, MADV_DONTNEED), 0);
	CHECK_EQ(model_advise(s, HERE, 2 * MIB, MADV_COLLAPSE), -EINVAL); /* nothing is present */
	write_at(HERE);
	CHECK_EQ(model_advise(s, HERE, 2 * MIB, MADV_COLLAPSE), 0);
	CHECK_EQ(ahp(s), 2048);
	end();
}

/* ---- blocks that were cleared in advance ---- */

/* What prezerod.c does with a block, in one go; it is marked, to be known again. */
static pfn_t clear_in_advance(void)
{
	struct page *p = buddy_alloc(HPAGE_PMD_ORDER, MIGRATE_MOVABLE, PAGE_ANON_HUGE, 0);

	memset(page_to_virt(p), 0, HPAGE_PMD_SIZE);
	buddy_free_prezeroed(p);
	return page_to_pfn(p);
}

TEST(a_write_takes_what_was_cleared)
{
	pfn_t pfn;

	begin(4 * MIB);
	pfn = clear_in_advance();
	measure_faults();
	write_at(HERE + 2 * MIB); /* prezero is 0: left alone */
	CHECK_EQ(delta(VM_thp_prezero_alloc), 0);
	CHECK(pmd_pfn(pmd_read(pgtable_find_pmd(s->mm, HERE + 2 * MIB))) != pfn);

	thp_settings.prezero = true;
	write_at(HERE);
	CHECK_EQ(delta(VM_thp_prezero_alloc), 1);
	CHECK_EQ(delta(VM_thp_prezero_miss), 0);
	CHECK_EQ(delta(VM_thp_fault_alloc), 2);
	CHECK_EQ(pmd_pfn(pmd_read(pgtable_find_pmd(s->mm, HERE))), pfn);
	model_check();
	end();
}

TEST(over_the_huge_zero_page_too)
{
	begin(4 * MIB);
	thp_settings.prezero = true;
	thp_settings.cow = COW_COPY;
	clear_in_advance();
	read_at(HERE);
	read_at(HERE + 2 * MIB);
	measure_faults();
	write_at(HERE);
	write_at(HERE + 2 * MIB);
	CHECK_EQ(delta(VM_thp_prezero_alloc), 1);
	CHECK_EQ(delta(VM_thp_prezero_miss), 1);
	CHECK_EQ(ahp(s), 4096);
	model_check();
	end();
}

/* ---- taking a part away ---- */

TEST(case_12_13_15_one_page_is_not_needed)
{
	u64 free;

	begin(2 * MIB);
	free = buddy_free_pages();
	write_at(HERE);
	measure_faults();
	model_advise(s, HERE + 9 * PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED);
	CHECK_EQ(rss(s), 2044);
	CHECK_EQ(ahp(s), 0);
	CHECK_EQ(delta(VM_thp_split_pmd), 1);
	CHECK_EQ(delta(VM_thp_deferred_split_page), 1);
	CHECK_EQ(delta(VM_pgfree), 0); /* no memory came back */
	CHECK_EQ(lru.deferred.count, 1);
	model_check();

	read_at(HERE + 9 * PAGE_SIZE);
	CHECK_EQ(rss(s), 2044);
	write_at(HERE + 9 * PAGE_SIZE);
	CHECK_EQ(rss(s), 2048);
	CHECK_EQ(ahp(s), 0);
	model_check();

	model_advise(s, HERE, 2 * MIB, MADV_DONTNEED);
	CHECK_EQ(rss(s), 0);
	CHECK_EQ(lru.deferred.count, 0);
	/* The block is back; tables and descriptions of areas stay. */
	CHECK(free - buddy_free_pages() <= 8);
	end();
}

TEST(case_14_all_of_it_is_not_needed)
{
	begin(2 * MIB);
	write_at(HERE);
	measure_faults();
	model_advise(s, HERE, 2 * MIB, MADV_DONTNEED);
	CHECK_EQ(rss(s), 0);
	CHECK_EQ(delta(VM_thp_split_pmd), 0);
	CHECK_EQ(delta(VM_nr_page_table_pages), -1ul); /* the deposit went with it */
	write_at(HERE);
	CHECK_EQ(delta(VM_thp_fault_alloc), 1);
	end();
}

TEST(case_17_other_rights_for_one_page)
{
	begin(2 * MIB);
	write_at(HERE);
	measure_faults();
	CHECK_EQ(model_protect(s, HERE + 100 * PAGE_SIZE, PAGE_SIZE, PROT_READ), 0);
	CHECK_EQ(delta(VM_thp_split_pmd), 1);
	CHECK_EQ(delta(VM_thp_deferred_split_page), 0);
	CHECK_EQ(s->mm->nr_vmas, 3);
	model_check();
	CHECK_EQ(model_protect(s, HERE + 100 * PAGE_SIZE, PAGE_SIZE, RW), 0);
	CHECK_EQ(s->mm->nr_vmas, 1);
	CHECK_EQ(ahp(s), 0);
	CHECK_EQ(rss(s), 2048);
	write_at(HERE + 100 * PAGE_SIZE);
	CHECK_EQ(rss(s), 2048);
	end();
}

TEST(other_rights_for_all_of_it)
{
	begin(2 * MIB);
	write_at(HERE);
	measure_faults();
	CHECK_EQ(model_protect(s, HERE, 2 * MIB, PROT_NONE), 0);
	CHECK_EQ(ahp(s), 2048);
	CHECK_EQ(model_access(s, HERE, MMU_READ), FAULT_BAD_ACCESS);
	model_check();
	CHECK_EQ(model_protect(s, HERE, 2 * MIB, PROT_READ), 0);
	read_at(HERE);
	CHECK_EQ(model_access(s, HERE, MMU_WRITE), FAULT_BAD_ACCESS);
	CHECK_EQ(model_protect(s, HERE, 2 * MIB, RW), 0);
	write_at(HERE);
	CHECK_EQ(ahp(s), 2048);
	CHECK_EQ(delta(VM_thp_split_pmd), 0);
	CHECK_EQ(delta(VM_thp_wp_reuse), 1);
	end();
}

TEST(case_18_the_upper_half_is_unmapped)
{
	begin(2 * MIB);
	write_at(HERE);
	measure_faults();
	model_unmap(s, HERE + MIB, MIB);
	CHECK_EQ(rss(s), 1024);
	CHECK_EQ(delta(VM_thp_split_pmd), 1);
	CHECK_EQ(delta(VM_thp_deferred_split_page), 1);
	end();
}

TEST(advice_for_a_part_cuts_the_leaf)
{
	begin(2 * MIB);
	write_at(HERE);
	measure_faults();
	model_advise(s, HERE + MIB, MIB, MADV_DONTFORK);
	CHECK_EQ(delta(VM_thp_split_pmd), 1); /* no leaf lies in two areas: T4 */
	end();
}

TEST(case_20_lazily_free)
{
	begin(2 * MIB);
	write_at(HERE);
	measure_faults();
	CHECK_EQ(model_advise(s, HERE, 2 * MIB, MADV_FREE), 0);
	CHECK_EQ(rss(s), 2048);
	CHECK_EQ(ahp(s), 2048);
	CHECK_EQ(delta(VM_pglazyfree), 512);
	CHECK_EQ(delta(VM_thp_split_pmd), 0);
	model_check();
	write_at(HERE);
	end();
}

TEST(lazily_free_in_part)
{
	begin(2 * MIB);
	write_at(HERE);
	measure_faults();
	CHECK_EQ(model_advise(s, HERE, MIB, MADV_FREE), 0);
	CHECK_EQ(rss(s), 2048);
	CHECK_EQ(ahp(s), 0);
	CHECK_EQ(delta(VM_thp_split_page), 1); /* at once: so that the other half can stay */
	CHECK_EQ(delta(VM_thp_split_pmd), 1);
	CHECK_EQ(delta(VM_pglazyfree), 256);
	end();
}

/* ---- filling ---- */

TEST(case_23_populate)
{
	begin(4 * MIB);
	CHECK_EQ(model_advise(s, HERE, 2 * MIB, MADV_POPULATE_WRITE), 0);
	CHECK_EQ(ahp(s), 2048);
	CHECK_EQ(delta(VM_thp_fault_alloc), 1);
	CHECK_EQ(model_advise(s, HERE + 2 * MIB, 2 * MIB, MADV_POPULATE_READ), 0);
	CHECK_EQ(huge_kb(s, true), 2048);
	CHECK_EQ(model_protect(s, HERE, 2 * MIB, PROT_READ), 0);
	CHECK_EQ(model_advise(s, HERE, 2 * MIB, MADV_POPULATE_WRITE), -EINVAL);
	CHECK_EQ(model_advise(s, HERE, 8 * MIB, MADV_POPULATE_READ), -ENOMEM);
	end();
}

/* ---- fork ---- */

TEST(case_36_fork_shares)
{
	struct model_space *child;

	begin(2 * MIB);
	write_at(HERE);
	measure_faults();
	child = model_fork(s);
	CHECK_EQ(rss(child), 2048);
	CHECK_EQ(ahp(child), 2048);
	CHECK_EQ(delta(VM_thp_fault_alloc), 0);
	CHECK_EQ(delta(VM_nr_anon_pages), 0); /* a page counts once */
	CHECK(!pmd_writable(pmd_read(pgtable_find_pmd(s->mm, HERE))));
	CHECK(!pmd_writable(pmd_read(pgtable_find_pmd(child->mm, HERE))));
	end();
}

TEST(case_37_38_39_write_after_fork)
{
	struct model_space *child;

	begin(2 * MIB);
	write_at(HERE);
	child = model_fork(s);
	measure_faults();
	write_pages(child, HERE + 3 * PAGE_SIZE, 1);
	CHECK_EQ(ahp(child), 0);
	CHECK_EQ(ahp(s), 2048);
	CHECK_EQ(rss(child), 2048);
	CHECK_EQ(delta(VM_thp_split_pmd), 1);
	CHECK_EQ(delta(VM_nr_anon_pages), 1);
	model_check();

	write_at(HERE + 7 * PAGE_SIZE); /* 39: the parent while the child lives */
	CHECK_EQ(ahp(s), 0);
	CHECK_EQ(delta(VM_thp_split_pmd), 2);
	CHECK_EQ(delta(VM_nr_anon_pages), 2);
	model_check();

	model_exit(child);
	measure_faults();
	write_pages(s, HERE, 512);
	/* as on 6.1, which counts references: frames of one page hide that nobody is left, until one is the last */
	CHECK_EQ(delta(VM_pgreuse), 1);
	CHECK_EQ(delta(VM_nr_anon_pages), 0);
	end();
}

TEST(case_38_the_only_one_left_reuses)
{
	begin(2 * MIB);
	write_at(HERE);
	model_exit(model_fork(s));
	measure_faults();
	write_at(HERE + 3 * PAGE_SIZE);
	CHECK_EQ(ahp(s), 2048);
	CHECK_EQ(delta(VM_thp_split_pmd), 0);
	CHECK_EQ(delta(VM_thp_wp_reuse), 1);
	CHECK_EQ(delta(VM_thp_fault_alloc), 0);
	end();
}

TEST(case_37_as_in_4_11)
{
	struct model_space *child;

	begin(2 * MIB);
	thp_settings.cow = COW_COPY;
	write_pages(s, HERE, 512);
	child = model_fork(s);
	measure_faults();
	write_pages(child, HERE, 1);
	CHECK_EQ(ahp(child), 2048);
	CHECK_EQ(ahp(s), 2048);
	CHECK_EQ(delta(VM_thp_fault_alloc), 1);
	CHECK_EQ(delta(VM_thp_wp_copy), 1);
	CHECK_EQ(delta(VM_nr_anon_pages), 512);
	end();
}

/* No second block: 512 small copies. */
TEST(case_37_as_in_4_11_without_a_block)
{
	struct model_space *child;

	begin(2 * MIB);
	thp_settings.cow = COW_COPY;
	thp_settings.defrag = DEFRAG_NEVER;
	write_pages(s, HERE, 512);
	child = model_fork(s);
	measure_faults();
	buddy_inject_fail(1, HPAGE_PMD_ORDER);
	write_pages(child, HERE, 1);
	CHECK_EQ(buddy_inject_fired, 1);
	buddy_inject_fail(0, -1);
	CHECK_EQ(ahp(child), 0);
	CHECK_EQ(rss(child), 2048);
	CHECK_EQ(ahp(s), 2048);
	CHECK_EQ(delta(VM_thp_fault_fallback), 1);
	CHECK_EQ(delta(VM_thp_wp_fallback), 1);
	CHECK_EQ(delta(VM_nr_anon_pages), 512);
	model_check();
	measure_faults();
	write_at(HERE); /* the parent has it alone now */
	CHECK_EQ(delta(VM_thp_wp_reuse), 1);
	end();
}

/* No block for the first touch: small pages, and the counter. */
TEST(no_block_is_a_fallback)
{
	begin(2 * MIB);
	thp_settings.defrag = DEFRAG_NEVER;
	buddy_inject_fail(1, HPAGE_PMD_ORDER);
	write_at(HERE);
	CHECK_EQ(buddy_inject_fired, 1);
	CHECK_EQ(rss(s), 4);
	CHECK_EQ(delta(VM_thp_fault_fallback), 1);
	CHECK_EQ(delta(VM_thp_fault_alloc), 0);
	buddy_inject_fail(0, -1);
	end();
}

/* With defrag the fault tries once more, after giving back what this CPU keeps. */
TEST(defrag_tries_twice)
{
	begin(2 * MIB);
	buddy_inject_fail(1, HPAGE_PMD_ORDER);
	write_at(HERE);
	CHECK_EQ(buddy_inject_fired, 1);
	CHECK_EQ(ahp(s), 2048);
	buddy_inject_fail(0, -1);
	end();
}

/* ---- moving ---- */

TEST(case_42_moved)
{
	vaddr_t to = 16 * MIB;

	begin(2 * MIB);
	write_at(HERE + 17);
	write_at(HERE + 5 * PAGE_SIZE);
	measure_faults();
	CHECK_EQ(model_remap(s, HERE, 2 * MIB, 2 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
	CHECK_EQ(ahp(s), 2048);
	CHECK_EQ(delta(VM_thp_split_pmd), 0);
	model_check();
	CHECK_EQ(model_remap(
			 s, to, 2 * MIB, 2 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, HERE + PAGE_SIZE),
		HERE + PAGE_SIZE);
	CHECK_EQ(ahp(s), 0);
	CHECK_EQ(rss(s), 2048);
	CHECK_EQ(delta(VM_thp_split_pmd), 1);
	end();
}

TEST(the_huge_zero_page_moves_as_what_it_is)
{
	begin(2 * MIB);
	read_at(HERE);
	CHECK_EQ(model_remap(s, HERE, 2 * MIB, 2 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, 16 * MIB),
		16 * MIB);
	CHECK_EQ(huge_kb(s, true), 2048);
	CHECK_EQ(rss(s), 0);
	CHECK_EQ(zero_huge_refs(), 2);
	model_check();
	model_exit(model_fork(s));
	CHECK_EQ(zero_huge_refs(), 2);
	end();
}

/* ---- splitting the page itself ---- */

TEST(case_43_split_the_page)
{
	pfn_t first;

	begin(2 * MIB);
	write_pages(s, HERE, 512);
	first = mmu_frame(s->mm, HERE);
	measure_faults();
	CHECK_EQ(model_split_page(s, HERE + 5 * PAGE_SIZE), 0);
	CHECK_EQ(rss(s), 2048);
	CHECK_EQ(ahp(s), 0);
	CHECK_EQ(delta(VM_thp_split_page), 1);
	CHECK_EQ(delta(VM_thp_split_pmd), 1);
	for (u64 i = 0; i < 512; i++) {
		CHECK_EQ(mmu_frame(s->mm, HERE + i * PAGE_SIZE), first + i);
		CHECK_EQ(pfn_to_page(first + i)->type, PAGE_ANON);
	}
	CHECK(!pfn_in_huge(first));
	end();
}

/* In two spaces, in one of them in part: the frames that nobody maps are free afterwards. */
TEST(a_shared_page_is_split_everywhere)
{
	struct model_space *child;
	u64 free;

	begin(2 * MIB);
	write_pages(s, HERE, 512);
	child = model_fork(s);
	model_unmap(s, HERE + MIB, MIB);
	model_unmap(child, HERE + MIB + MIB / 2, MIB / 2);
	free = buddy_free_pages();
	measure_faults();
	CHECK_EQ(model_split_page(s, HERE), 0);
	CHECK_EQ(delta(VM_thp_split_page), 1);
	CHECK_EQ(buddy_free_pages(), free + 128);
	CHECK_EQ(rss(s), 1024);
	CHECK_EQ(rss(child), 1536);
	end();
}

TEST(a_page_that_somebody_holds_is_not_split)
{
	struct page *head;

	begin(2 * MIB);
	write_at(HERE);
	head = pfn_head(mmu_frame(s->mm, HERE));
	page_get(head);
	measure_faults();
	CHECK_EQ(model_split_page(s, HERE), -EBUSY);
	CHECK_EQ(delta(VM_thp_split_page_failed), 1);
	CHECK_EQ(ahp(s), 2048);
	page_put(head);

	CHECK(lru_isolate(head)); /* somebody works on it: collapse does, while it copies */
	CHECK_EQ(model_split_page(s, HERE), -EBUSY);
	lru_putback(head);
	CHECK_EQ(model_split_page(s, HERE), 0);
	end();
}

/* A reference keeps the page, not its mappings: then its family may be gone too. */
TEST(a_page_that_nobody_maps_is_not_split)
{
	struct page *head;

	begin(2 * MIB);
	write_at(HERE);
	head = pfn_head(mmu_frame(s->mm, HERE));
	page_get(head);
	model_unmap(s, HERE, 2 * MIB);
	CHECK_EQ(thp_split_page(head), -EBUSY);
	page_put(head);
	end();
}

/* ---- addresses ---- */

TEST(case_46_the_heap)
{
	begin(2 * MIB);
	thp_settings.enabled = THP_ALWAYS;
	model_brk(s, MODEL_BRK + 4 * MIB + 100);
	write_at(MODEL_BRK + MIB);
	CHECK_EQ(ahp(s), 2048);
	model_brk(s, MODEL_BRK + PAGE_SIZE);
	CHECK_EQ(rss(s), 4);
	end();
}

TEST(case_46_the_first_stack)
{
	struct vma *v;

	begin(2 * MIB);
	thp_settings.enabled = THP_ALWAYS;
	CHECK_EQ(mmap_map_named(s->mm, 512 * MIB, 4 * MIB, RW, VM_STACK | VM_GROWSDOWN, "[stack]"),
		0);
	v = mm_lookup(s->mm, 512 * MIB);
	CHECK_EQ(thp_vma_reason(v), THP_STACK);
	CHECK_EQ(mmap_unmap(s->mm, 512 * MIB, 4 * MIB), 0);
	end();
}

TEST(case_47_a_large_mapping_is_not_aligned)
{
	s64 at;

	begin(2 * MIB);
	model_map(s, 0, PAGE_SIZE, RW, 0); /* the top is not at a multiple of 2 MiB any more */
	at = model_map(s, 0, 8 * MIB, RW, 0);
	CHECK_EQ(at, MODEL_END - PAGE_SIZE - 8 * MIB);
	end();
}

/* ---- why, and who is told ---- */

static enum thp_reason why(vaddr_t a)
{
	enum thp_reason r;

	rwsem_read_lock(&s->mm->lock);
	r = thp_why(s->mm, a);
	rwsem_read_unlock(&s->mm->lock);
	return r;
}

TEST(why)
{
	begin(6 * MIB);
	CHECK_EQ(why(30 * MIB), THP_NO_VMA);
	CHECK_EQ(why(HERE), THP_OK);
	read_at(HERE);
	CHECK_EQ(why(HERE), THP_HUGE_ZERO);
	write_at(HERE + 2 * MIB);
	CHECK_EQ(why(HERE + 2 * MIB), THP_HUGE);
	write_at(HERE);
	CHECK_EQ(why(HERE), THP_PTE_TABLE);
	thp_settings.enabled = THP_NEVER;
	CHECK_EQ(why(HERE + 4 * MIB), THP_NEVER_SET);
	CHECK_STR(thp_reason_name(THP_RANGE), "RANGE");
	CHECK(thp_reason_text(THP_NO_BLOCK)[0]);
	end();
}

TEST(khugepaged_is_told)
{
	begin(2 * MIB);
	CHECK_EQ(thp_nr_listed(), 1); /* by MADV_HUGEPAGE */
	CHECK(thp_wait.wakes > 0);
	CHECK(model_fork(s));
	CHECK_EQ(thp_nr_listed(), 2);
	end();
	CHECK_EQ(thp_nr_listed(), 0);
}

/* ---- a device's memory ---- */

TEST(a_device_is_neither_split_nor_copied)
{
	vaddr_t dev = 64 * MIB;
	char *at;
	u64 huge = 0;

	begin(2 * MIB);
	CHECK_EQ(mmap_map_device(s->mm, dev, 4 * MIB + PAGE_SIZE, 0xe0000000), 0);
	for (vaddr_t a = dev; a < dev + 4 * MIB; a += 2 * MIB)
		huge += pmd_kind(pmd_read(pgtable_find_pmd(s->mm, a))) == ENTRY_LEAF;
	CHECK_EQ(huge, 2);
	CHECK_EQ(mmap_map_device(s->mm, dev, PAGE_SIZE, 0xe0000000), -EEXIST);
	CHECK_EQ(mmap_unmap(s->mm, dev + PAGE_SIZE, PAGE_SIZE), -EINVAL);
	CHECK_EQ(mmap_protect(s->mm, dev + PAGE_SIZE, PAGE_SIZE, PROT_READ), -EINVAL);
	CHECK_EQ(mmap_remap(s->mm, dev, 2 * MIB, 2 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, 16 * MIB),
		-EINVAL);
	CHECK_EQ(mmap_advise(s->mm, dev, 2 * MIB, MADV_DONTNEED, &huge), -EINVAL);
	CHECK(pgtable_check(s->mm) && rmap_check());

	CHECK_EQ(mmap_protect(s->mm, dev, 4 * MIB + PAGE_SIZE, PROT_READ), 0);
	CHECK_EQ(mmu_access(s->mm, dev, MMU_WRITE, &at), FAULT_BAD_ACCESS);
	CHECK_EQ(mmap_protect(s->mm, dev, 4 * MIB + PAGE_SIZE, RW), 0);
	CHECK_EQ(mmu_access(s->mm, dev, MMU_WRITE, &at), FAULT_DONE); /* shared with nobody */
	CHECK(pgtable_check(s->mm));
	CHECK_EQ(mmap_unmap(s->mm, dev, 4 * MIB + PAGE_SIZE), 0);
	end();
}

/* ---- the invariants, broken one by one ---- */

static struct page *huge_page_here(void)
{
	begin(4 * MIB);
	write_at(HERE);
	CHECK(thp_check());
	return pfn_head(mmu_frame(s->mm, HERE));
}

TEST(H1_the_record_and_the_head_disagree)
{
	struct page *head = huge_page_here();
	pfn_t pfn = page_to_pfn(head);

	pfn_block(pfn)->flags &= ~PB_HUGE;
	CHECK(!thp_check());
	CHECK(machine_said("H1"));
	pfn_block(pfn)->flags |= PB_HUGE;
	CHECK(thp_check());
	head->type = PAGE_ANON;
	CHECK(!thp_check());
	CHECK(machine_said("H1"));
	head->type = PAGE_ANON_HUGE;
	end();
}

TEST(H2_counts_that_do_not_add_up)
{
	struct page *head = huge_page_here();

	head[17].mapcount++;
	CHECK(!thp_check());
	CHECK(machine_said("H2"));
	head[17].mapcount--;
	head->refcount = 0;
	CHECK(!thp_check());
	CHECK(machine_said("H2"));
	head->refcount = 1;
	end();
}

TEST(H3_a_space_without_a_reference)
{
	huge_page_here();
	read_at(HERE + 2 * MIB);
	CHECK(thp_check());
	zero_huge_put(); /* one too many */
	CHECK(!thp_check());
	CHECK(machine_said("H3"));
	CHECK(zero_huge_get() && thp_check());
	CHECK(zero_huge_get()); /* one that nobody gives back */
	CHECK(!thp_check());
	CHECK(machine_said("H3"));
	zero_huge_put();
	end();
}

TEST(H4_the_queue_and_the_flag_disagree)
{
	struct page *head = huge_page_here();

	model_advise(s, HERE, PAGE_SIZE, MADV_DONTNEED);
	CHECK_EQ(lru.deferred.count, 1);
	CHECK(thp_check());
	head->flags &= ~PG_DEFERRED;
	CHECK(!thp_check());
	CHECK(machine_said("H4"));
	head->flags |= PG_DEFERRED;
	lru.deferred.count++;
	CHECK(!thp_check());
	CHECK(machine_said("H4"));
	lru.deferred.count--;
	end();
}
