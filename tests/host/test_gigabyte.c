/*
 * test_gigabyte.c - leaves of 1 GiB: what others do in the middle, and memory that runs out half-way.
 */
#include "check.h"
#include "fake_machine.h"
#include "model.h"
#include <abi/advice.h>
#include <abi/errno.h>
#include "mm/buddy.h"
#include "mm/fork.h"
#include "mm/gigapage.h"
#include "mm/huge_pud.h"
#include "mm/mmap.h"
#include "mm/migrate.h"
#include "mm/numa.h"
#include "mm/pgtable.h"
#include "mm/reclaim.h"
#include "mm/rmap.h"
#include "mm/thp.h"
#include "mm/thp_split.h"
#include "mutex.h"
#include "vmstat.h"

#define MIB  (1ul << 20)
#define GIB  HPAGE_PUD_SIZE
#define HERE (4 * GIB)
#define RW   (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static struct mm *mm;
static u64 free_at_start;

static void begin(vaddr_t start, u64 len)
{
	mmu_start(2 * GIB + 64 * MIB);
	CHECK_EQ(gigapage_reserve(1), 1);
	huge_pud_init(true);
	thp_settings.enabled = THP_ALWAYS;
	thp_settings.enabled_1g = THP_ALWAYS;
	buddy_drain_pcp();
	free_at_start = buddy_free_pages();
	mm = mm_create();
	CHECK(mm);
	mmu_enter(mm);
	CHECK_EQ(mmap_map(mm, start, len, RW, ANON | MAP_FIXED), (s64)start);
}

static void leave(struct mm *of)
{
	mmu_leave(of);
	CHECK(mm_drop_user(of));
	mmap_exit(of);
	mm_put(of);
}

static void end(void)
{
	CHECK(pgtable_check(mm) && rmap_check() && mmu_check(mm));
	leave(mm);
	CHECK_EQ(vmstat_read(VM_nr_anon_pages), 0);
	CHECK_EQ(vmstat_read(VM_nr_page_table_pages), 0);
	gigapage_refill(); /* what came back in parts */
	CHECK_EQ(gigapage_reserved(), 1);
	buddy_drain_pcp();
	CHECK_EQ(buddy_free_pages(), free_at_start);
}

static void put(vaddr_t addr, char byte)
{
	char *at;

	CHECK_EQ(mmu_access(mm, addr, MMU_WRITE, &at), FAULT_DONE);
	*at = byte;
}

static char get(vaddr_t addr)
{
	char *at;

	return mmu_access(mm, addr, MMU_READ, &at) == FAULT_DONE ? *at : -1;
}

static bool is_pud(struct mm *of, vaddr_t addr)
{
	pud_t *pudp = pgtable_find_pud(of, addr);

	return pudp && pud_kind(pud_read(pudp)) == ENTRY_LEAF;
}

/* ---- faults ---- */

/* In the middle of a copy by the kernel nobody dies: the fault must get on, with a smaller page. */
TEST(who_is_killed_gets_less_but_gets_on)
{
	begin(HERE, GIB);
	current_thread()->kill_pending = true;
	put(HERE, 1);
	CHECK(!is_pud(mm, HERE) && mm->nr_anon == HPAGE_PMD_NR);
	CHECK_EQ(vmstat_read(VM_thp_fault_fallback_1g), 1);
	current_thread()->kill_pending = false;
	end();
}

/* ---- fork, and somebody who comes from a page ---- */

static pfn_t victim; /* a part of the gigabyte; once two spaces map it, it is split */
static bool split_done;

static void split_victim(void)
{
	struct page *head = pfn_to_page(victim);

	page_get(head);
	split_done = thp_split_page(head) == 0;
	page_put(head);
}

/* While the tables are locked the split fails, and is tried again. */
static void at_pause(void)
{
	if (split_done || !victim || page_pmd_mapcount(pfn_to_page(victim)) != 2)
		return;
	(void)mmu_as_other_cpu(split_victim);
}

/* The child has the leaf, and it comes apart in both spaces while the rest of the area is copied. */
TEST(split_after_it_was_shared)
{
	struct mm *child;

	begin(HERE, GIB + 4 * MIB);
	put(HERE + 5 * MIB, 1);
	put(HERE + GIB, 2);
	CHECK(is_pud(mm, HERE));
	victim = mmu_frame(mm, HERE + 8 * MIB) & ~(HPAGE_PMD_NR - 1);
	split_done = false;
	machine_preempt = at_pause;
	child = fork_mm(mm);
	machine_preempt = NULL;
	CHECK(child && split_done);
	mmu_enter(child);
	CHECK_EQ(child->nr_anon, mm->nr_anon);
	CHECK(pgtable_check(mm) && pgtable_check(child) && rmap_check());
	leave(child);
	victim = 0;
	CHECK_EQ(get(HERE + 5 * MIB), 1);
	CHECK_EQ(get(HERE + GIB), 2);
	end();
}

/* ---- mremap that runs out of memory ---- */

/* 2 MiB, and a gigabyte behind: the gigabyte moves first, as one entry; then there is no table for the rest. */
TEST(moved_back_with_its_gigabyte)
{
	const vaddr_t start = HERE + GIB - 2 * MIB, to = start + 8 * GIB;
	s64 r = -ENOMEM;

	begin(start, GIB + 2 * MIB);
	put(start, 1);
	put(HERE + GIB + 7 * MIB, 2);
	CHECK(is_pud(mm, HERE + GIB));
	for (u64 k = 1; r == -ENOMEM; k++) {
		buddy_drain_pcp();
		buddy_inject_fail(k, 0);
		r = mmap_remap(
			mm, start, GIB + 2 * MIB, GIB + 2 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, to);
		buddy_inject_fail(0, -1);
		CHECK(pgtable_check(mm) && rmap_check());
		CHECK_EQ(get((r < 0 ? start : to)), 1);
		CHECK_EQ(get((r < 0 ? HERE : HERE + 8 * GIB) + GIB + 7 * MIB), 2);
	}
	CHECK_EQ(r, (s64)to);
	end();
}

/* ---- numa hints ---- */

/* A turn that ends in the last area is followed by one that goes on there. */
TEST(hints_reach_the_end_of_the_last_area)
{
	begin(HERE, 8 * MIB);
	for (vaddr_t a = HERE; a < HERE + 8 * MIB; a += 2 * MIB)
		put(a, 1);
	mmu_leave(mm);
	for (unsigned turn = 0; turn < 4; turn++)
		CHECK_EQ(numa_scan(mm, HPAGE_PMD_NR), HPAGE_PMD_NR);
	mmu_enter(mm);
	for (vaddr_t a = HERE; a < HERE + 8 * MIB; a += 2 * MIB)
		CHECK_EQ(get(a), 1);
	end();
}

/* ---- who may have one, and when it is worth trying ---- */

static enum thp_reason why(vaddr_t addr)
{
	enum thp_reason r;

	rwsem_read_lock(&mm->lock);
	r = huge_pud_why(vma_find(mm, addr), addr);
	rwsem_read_unlock(&mm->lock);
	return r;
}

TEST(a_cpu_without)
{
	begin(HERE, GIB);
	huge_pud_init(false);
	CHECK_EQ(why(HERE), THP_NO_1G_CPU);
	put(HERE, 1);
	CHECK(!is_pud(mm, HERE) && mm->nr_anon == HPAGE_PMD_NR);
	end();
}

/* One gigabyte is in the reserve, and there is no second: after each failure twice as many faults do without. */
TEST(failures_are_followed_by_longer_and_longer_rests)
{
	unsigned tries = 0, rests = 0;

	begin(HERE, GIB);
	put(HERE, 1);
	CHECK(is_pud(mm, HERE));
	thp_settings.defrag = DEFRAG_ALWAYS;
	for (unsigned i = 1; i <= 16; i++) {
		CHECK_EQ(mmap_map(mm, HERE + GIB, GIB, RW, ANON | MAP_FIXED), (s64)(HERE + GIB));
		put(HERE + GIB, 1);
		CHECK(!is_pud(mm, HERE + GIB));
		tries += i == 1 || i == 3 || i == 7 || i == 15;
		rests = i - tries;
		CHECK_EQ(vmstat_read(VM_contig_alloc_fail), tries);
		CHECK_EQ(vmstat_read(VM_thp_fault_deferred_1g), rests);
		CHECK_EQ(vmstat_read(VM_thp_fault_fallback_1g), i);
		CHECK_EQ(mmap_unmap(mm, HERE + GIB, GIB), 0);
	}
	CHECK_EQ(mmap_map(mm, HERE + GIB, GIB, RW, ANON | MAP_FIXED), (s64)(HERE + GIB));
	CHECK_EQ(why(HERE + GIB), THP_NO_GIGABYTE_DEFERRED);
	huge_pud_forget_failures();
	CHECK_EQ(why(HERE + GIB), THP_NO_GIGABYTE);
	thp_settings.defrag = DEFRAG_NEVER;
	CHECK_EQ(why(HERE + GIB), THP_NO_GIGABYTE_LIGHT);
	end();
}

/* ---- G1, G2 ---- */

TEST(the_checkers_see_it)
{
	struct page *first, *kept;

	begin(HERE, GIB);
	kept = pfn_to_page(zones[0].end & ~(GIGABYTE_PAGES - 1)) - GIGABYTE_PAGES;
	for_each_zone (z)
		if (z->managed_pages)
			kept = pfn_to_page((z->end & ~(GIGABYTE_PAGES - 1)) - GIGABYTE_PAGES);
	CHECK(gigapage_check() && kept->type == PAGE_PINNED);
	kept[7 * HPAGE_PMD_NR].refcount++;
	CHECK(!gigapage_check() && machine_said("G1"));
	kept[7 * HPAGE_PMD_NR].refcount--;
	CHECK(gigapage_check());

	put(HERE, 1);
	first = pfn_to_page(mmu_frame(mm, HERE));
	CHECK(is_pud(mm, HERE) && huge_pud_check() && gigapage_leaves(first) == 1);
	pfn_block(page_to_pfn(first) + 9 * HPAGE_PMD_NR)->flags &= ~PB_PUD;
	CHECK(!huge_pud_check() && machine_said("G2"));
	pfn_block(page_to_pfn(first) + 9 * HPAGE_PMD_NR)->flags |= PB_PUD;
	first[1].index_low++;
	CHECK(!huge_pud_check() && machine_said("G2"));
	first[1].index_low--;
	end();
}

/* Two spaces: the marks stay until the second has lost its leaf, whichever way it does. */
static void lose_leaf(struct mm *of, unsigned way)
{
	if (way == 0)
		CHECK_EQ(mmap_unmap(of, HERE, PAGE_SIZE), 0);
	else if (way == 1)
		CHECK_EQ(mmap_unmap(of, HERE, GIB), 0); /* whole: no split at all */
	else
		CHECK_EQ(mmap_protect(of, HERE + GIB / 2, MIB, PROT_NONE), 0);
}

static void lose_both_leaves(unsigned way)
{
	struct mm *child;
	pfn_t part;

	begin(HERE, GIB);
	put(HERE + 6 * MIB, 1);
	part = mmu_frame(mm, HERE + 6 * MIB);
	child = fork_mm(mm);
	CHECK(child);
	mmu_enter(child);
	CHECK_EQ(gigapage_leaves(pfn_to_page(mmu_frame(mm, HERE))), 2);
	CHECK_EQ(mmap_protect(mm, HERE, PAGE_SIZE, PROT_READ), 0);
	CHECK_EQ(migrate_page_alone(pfn_head(part), 0, false), MIGRATED_GIGABYTE);
	CHECK(huge_pud_check() && pgtable_check(mm) && pgtable_check(child));
	lose_leaf(child, way);
	CHECK_MSG(huge_pud_check() && rmap_check(), "%s", machine_words);
	CHECK_EQ(migrate_page_alone(pfn_head(part), 0, false), MIGRATED_DONE);
	CHECK(mmu_frame(mm, HERE + 6 * MIB) != part);
	CHECK_EQ(get(HERE + 6 * MIB), 1);
	leave(child);
	end();
}

TEST(parts_move_after_a_part_is_unmapped)
{
	lose_both_leaves(0);
}

TEST(parts_move_after_the_whole_is_unmapped)
{
	lose_both_leaves(1);
}

TEST(parts_move_after_the_last_split)
{
	lose_both_leaves(2);
}

/* The child has let go of the first part, and shares all others: the parent's leaf is not its own yet. */
TEST(a_write_asks_for_every_part)
{
	struct mm *child, *parent;

	begin(HERE, GIB);
	put(HERE + 6 * MIB, 1);
	child = fork_mm(mm);
	CHECK(child);
	mmu_enter(child);
	CHECK_EQ(mmap_unmap(child, HERE, 2 * MIB), 0);
	CHECK(is_pud(mm, HERE));
	put(HERE + 6 * MIB, 2);
	CHECK(!is_pud(mm, HERE) && huge_pud_check());
	parent = mm;
	mm = child;
	CHECK_EQ(get(HERE + 6 * MIB), 1);
	mm = parent;
	leave(child);
	CHECK_EQ(get(HERE + 6 * MIB), 2);
	end();
}

/* ---- what others make of a leaf ---- */

static int advise(u64 at, u64 len, int advice)
{
	return mmap_advise(mm, HERE + at, len, advice, &(u64){0});
}

static int leave_it(unsigned how)
{
	u8 vec[4];

	switch (how) {
	case 0: /* all of it is in memory */
		CHECK_EQ(mmap_mincore(mm, HERE + 5 * MIB, 4, vec), 0);
		return vec[0] & vec[1] & vec[2] & vec[3] & 1 ? 0 : -EFAULT;
	case 1:
		return advise(2 * MIB, 4 * MIB, MADV_COLLAPSE); /* is huge already */
	case 2:
		model_khugepaged_pass();
		return 0;
	case 3:
		return numa_scan(mm, GIGABYTE_PAGES) == 0 ? 0 : -EFAULT; /* no hints on it */
	case 4:
		(void)reclaim_run();
		return 0;
	case 5:
		return advise(0, GIB, MADV_POPULATE_WRITE);
	case 6: /* the whole is locked, and let go */
		CHECK_EQ(mmap_lock(mm, HERE, GIB, 0, &(u64){0}), 0);
		CHECK_EQ(advise(0, GIB, MADV_DONTNEED), -EINVAL);
		return mmap_unlock(mm, HERE, GIB);
	case 7:
		return advise(0, GIB, MADV_NOHUGEPAGE);
	case 8:
		model_compact();
		return 0;
	}
	return 1;
}

TEST(these_leave_it_whole)
{
	begin(HERE, GIB);
	put(HERE + 5 * MIB, 1);
	for (unsigned how = 0;; how++) {
		int r = leave_it(how);

		if (r == 1)
			break;
		CHECK_MSG(r == 0 && is_pud(mm, HERE), "case %u: %d", how, r);
		CHECK(pgtable_check(mm) && huge_pud_check());
		CHECK_EQ(get(HERE + 5 * MIB), 1);
	}
	CHECK_EQ(vmstat_read(VM_thp_split_pud), 0);
	end();
}

static int split_it(unsigned how)
{
	switch (how) {
	case 0:
		return advise(4 * MIB, 2 * MIB, MADV_COLD);
	case 1:
		return advise(0, GIB, MADV_FREE);
	case 2:
		return advise(4 * MIB, 2 * MIB, MADV_PAGEOUT);
	case 3:
		return advise(GIB / 2, PAGE_SIZE, MADV_DONTNEED);
	case 4: /* an area of its own */
		return mmap_lock(mm, HERE + GIB / 2, PAGE_SIZE, MLOCK_ONFAULT, &(u64){0});
	case 5:
		return mmap_unmap(mm, HERE + GIB / 2, 2 * MIB);
	case 6:
		return mmap_protect(mm, HERE + GIB / 2, 2 * MIB, PROT_READ);
	case 7:
		return advise(GIB / 2, 2 * MIB, MADV_NOHUGEPAGE);
	}
	return 1;
}

TEST(these_split_it)
{
	int r = 0;

	begin(HERE, GIB);
	for (unsigned how = 0;; how++) {
		u64 mapped = GIGABYTE_PAGES, before = vmstat_read(VM_thp_split_pud);

		put(HERE + 5 * MIB, 1);
		CHECK(is_pud(mm, HERE));
		r = split_it(how);
		if (r == 1)
			break;
		mapped -= how == 3 ? 1 : how == 5 ? HPAGE_PMD_NR : 0;
		CHECK_MSG(r == 0 && !is_pud(mm, HERE) && mm->nr_anon == mapped, "case %u: %d", how,
			r);
		CHECK_EQ(vmstat_read(VM_thp_split_pud), before + 1);
		CHECK_EQ(get(HERE + 5 * MIB), 1);
		CHECK(huge_pud_check());
		CHECK_EQ(mmap_unmap(mm, HERE, GIB), 0); /* it comes together again */
		buddy_drain_pcp();
		gigapage_refill();
		CHECK_EQ(mmap_map(mm, HERE, GIB, RW, ANON | MAP_FIXED), (s64)HERE);
	}
	end();
}
