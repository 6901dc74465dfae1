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
#include "mm/numa.h"
#include "mm/pgtable.h"
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
