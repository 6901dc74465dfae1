/*
 * test_shrink.c - what is given back, case by case: partly unmapped and mostly zero huge pages, what MADV_FREE left,
 * what MADV_PAGEOUT does without swap, and splitting on request.
 */
#include <pthread.h>

#include "check.h"
#include "fake_machine.h"
#include "model.h"
#include <abi/advice.h>
#include <abi/errno.h>
#include "mm/buddy.h"
#include "mm/lru.h"
#include "mm/mmap.h"
#include "mm/pgtable.h"
#include "mm/reclaim.h"
#include "mm/rmap.h"
#include "mm/thp.h"
#include "mm/thp_shrink.h"
#include "mm/zero.h"
#include "mutex.h"
#include "vmstat.h"

#define MIB  (1ul << 20)
#define HERE (4 * MIB)
#define RW   (PROT_READ | PROT_WRITE)

static struct model_space *s;

/* An aligned area of len bytes at HERE that gets huge pages. */
static void begin(u64 len)
{
	model_start(96 * MIB);
	thp_settings.enabled = THP_ALWAYS;
	thp_settings.cow = COW_SPLIT;
	s = model_create();
	model_map(s, HERE, len, RW, MAP_FIXED);
	measure();
}

static void end(void)
{
	model_check();
	model_finish();
}

static void write_at(struct model_space *of, vaddr_t a)
{
	CHECK_EQ(model_access(of, a, MMU_WRITE), FAULT_DONE);
}

static u64 rss(struct model_space *of)
{
	return of->mm->nr_anon;
}

/* ---- the deferred queue ---- */

TEST(holes_come_back)
{
	u64 free;

	begin(2 * MIB);
	write_at(s, HERE);
	free = buddy_free_pages();
	model_unmap(s, HERE + MIB, MIB);
	CHECK_EQ(buddy_free_pages(), free); /* nothing was freed */
	CHECK_EQ(lru.deferred.count, 1);
	CHECK_EQ(thp_shrink_deferred(), 1);
	CHECK_EQ(buddy_free_pages(), free + 256);
	CHECK_EQ(delta(VM_thp_split_page), 1);
	CHECK_EQ(delta(VM_thp_deferred_split_page), 1);
	CHECK_EQ(lru.deferred.count, 0);
	CHECK_EQ(rss(s), 256);
	end();
}

TEST(one_that_is_held_waits_on)
{
	struct page *head;

	begin(2 * MIB);
	write_at(s, HERE);
	head = pfn_head(mmu_frame(s->mm, HERE));
	model_unmap(s, HERE + MIB, MIB);
	page_get(head); /* somebody looks at it */
	CHECK_EQ(thp_shrink_deferred(), 0);
	CHECK_EQ(lru.deferred.count, 1);
	CHECK_EQ(delta(VM_thp_split_page_failed), 1);
	CHECK_EQ(delta(VM_thp_deferred_split_page), 1); /* it was counted when it came */
	page_put(head);
	model_check();
	CHECK_EQ(thp_shrink_deferred(), 1);
	end();
}

TEST(shared_by_two_spaces)
{
	struct model_space *child;

	begin(2 * MIB);
	write_at(s, HERE);
	child = model_fork(s);
	model_unmap(s, HERE, MIB);
	model_unmap(child, HERE, MIB); /* now nobody maps the first half */
	CHECK_EQ(thp_shrink_deferred(), 1);
	CHECK_EQ(rss(s), 256);
	CHECK_EQ(rss(child), 256);
	end();
}

/* Two CPUs at the same queue: one goes by the queue, one by the frames. */
static void *split_by_queue(void *arg)
{
	machine_cpu = 1;
	while (READ_ONCE(lru.deferred.count))
		thp_shrink_deferred();
	return arg;
}

static void *split_by_frame(void *arg)
{
	struct thp_split_count count = {0};

	machine_cpu = 2;
	while (READ_ONCE(lru.deferred.count))
		thp_split_all(&count);
	return arg;
}

TEST(two_cpus_split_the_same_pages)
{
	pthread_t threads[2];
	u64 split = 0;

	begin(16 * MIB);
	for (unsigned round = 0; round < 100; round++) {
		for (vaddr_t a = HERE; a < HERE + 16 * MIB; a += HPAGE_PMD_SIZE) {
			write_at(s, a);
			model_unmap(s, a + MIB, MIB);
		}
		split += lru.deferred.count;
		CHECK_EQ(pthread_create(&threads[0], NULL, split_by_queue, NULL), 0);
		CHECK_EQ(pthread_create(&threads[1], NULL, split_by_frame, NULL), 0);
		pthread_join(threads[0], NULL);
		pthread_join(threads[1], NULL);
		CHECK_EQ(delta(VM_thp_split_page), split);
		CHECK_EQ(delta(VM_thp_deferred_split_page), split);
		model_unmap(s, HERE, 16 * MIB);
		model_map(s, HERE, 16 * MIB, RW, MAP_FIXED);
	}
	CHECK_EQ(split, 100 * 8);
	end();
}

/* ---- mostly zero ---- */

TEST(zeroes_become_the_zero_page)
{
	u64 free;

	begin(4 * MIB);
	write_at(s, HERE);
	write_at(s, HERE + 2 * MIB);
	free = buddy_free_pages();
	thp_settings.max_ptes_none = 0;
	CHECK_EQ(thp_shrink_underused(), 2);
	CHECK_EQ(delta(VM_thp_underused_split_page), 2);
	CHECK_EQ(delta(VM_thp_split_page), 2);
	CHECK_EQ(rss(s), 2);
	CHECK_EQ(buddy_free_pages(), free + 2 * 511);
	CHECK(pfn_is_zero(mmu_frame(s->mm, HERE + PAGE_SIZE)));
	write_at(s, HERE + PAGE_SIZE); /* and a write gets a page */
	CHECK_EQ(rss(s), 3);
	end();
}

TEST(as_many_zeroes_as_max_ptes_none_stay)
{
	begin(2 * MIB);
	for (u64 i = 0; i < 412; i++)
		write_at(s, HERE + i * PAGE_SIZE);
	thp_settings.max_ptes_none = 100;
	CHECK_EQ(thp_shrink_underused(), 0);
	thp_settings.max_ptes_none = 99;
	CHECK_EQ(thp_shrink_underused(), 1);
	CHECK_EQ(rss(s), 412);
	end();
}

TEST(the_default_and_the_knob_keep_them)
{
	begin(2 * MIB);
	write_at(s, HERE);
	CHECK_EQ(thp_shrink_underused(), 0); /* max_ptes_none 511: nothing is underused */
	thp_settings.max_ptes_none = 0;
	thp_settings.shrink_underused = false;
	CHECK_EQ(thp_shrink_underused(), 0);
	CHECK(model_is_huge(s, HERE));
	end();
}

TEST(locked_zeroes_stay)
{
	u64 faults = 0;

	begin(2 * MIB);
	write_at(s, HERE);
	CHECK_EQ(mmap_lock(s->mm, HERE, 2 * MIB, 0, &faults), 0);
	thp_settings.max_ptes_none = 0;
	CHECK_EQ(thp_shrink_underused(), 1); /* split, but every page is kept */
	CHECK_EQ(rss(s), 512);
	end();
}

TEST(shared_zeroes_stay)
{
	struct model_space *child;

	begin(2 * MIB);
	write_at(s, HERE);
	child = model_fork(s);
	thp_settings.max_ptes_none = 0;
	CHECK_EQ(thp_shrink_underused(), 1);
	CHECK_EQ(rss(s), 512);
	CHECK_EQ(rss(child), 512);
	end();
}

/* ---- MADV_FREE ---- */

TEST(clean_ones_go)
{
	begin(4 * MIB);
	thp_settings.enabled = THP_NEVER;
	for (u64 i = 0; i < 64; i++)
		write_at(s, HERE + i * PAGE_SIZE);
	model_advise(s, HERE, 32 * PAGE_SIZE, MADV_FREE);
	write_at(s, HERE + 5 * PAGE_SIZE); /* live again */
	reclaim_shrink();
	CHECK_EQ(rss(s), 64); /* drop_caches takes no contents */
	reclaim_run();
	CHECK_EQ(rss(s), 33);
	CHECK_EQ(delta(VM_pglazyfreed), 31);
	CHECK_EQ(lru.inactive.count, 0);
	reclaim_run();
	CHECK_EQ(rss(s), 33);
	end();
}

/* Cold pages, and one that somebody had taken off the list, do not stand between us and what was given up. */
TEST(what_was_given_up_stands_behind_what_is_cold)
{
	struct page *page;

	begin(4 * MIB);
	thp_settings.enabled = THP_NEVER;
	for (u64 i = 0; i < 8; i++)
		write_at(s, HERE + i * PAGE_SIZE);
	model_advise(s, HERE, 4 * PAGE_SIZE, MADV_FREE);
	model_advise(s, HERE + 4 * PAGE_SIZE, 4 * PAGE_SIZE, MADV_COLD);
	page = pfn_to_page(mmu_frame(s->mm, HERE));
	CHECK(lru_isolate(page));
	lru_putback(page);
	CHECK(lru_check()); /* L4 */
	reclaim_run();
	CHECK_EQ(rss(s), 4);
	end();
}

/* Populating for a write is a write, also where everything is mapped; for a read it is none. */
TEST(populated_for_a_write_stays)
{
	u64 faults = 0;

	begin(4 * MIB);
	write_at(s, HERE); /* a huge page */
	thp_settings.enabled = THP_NEVER;
	for (u64 i = 0; i < 8; i++)
		write_at(s, HERE + 2 * MIB + i * PAGE_SIZE);
	model_advise(s, HERE, 4 * MIB, MADV_FREE);
	CHECK_EQ(
		mmap_advise(s->mm, HERE, 2 * MIB + 3 * PAGE_SIZE, MADV_POPULATE_WRITE, &faults), 0);
	CHECK_EQ(mmap_advise(s->mm, HERE + 2 * MIB, 8 * PAGE_SIZE, MADV_POPULATE_READ, &faults), 0);
	CHECK_EQ(faults, 0);
	reclaim_run();
	CHECK_EQ(rss(s), 512 + 3);
	CHECK_EQ(delta(VM_pglazyfreed), 5);
	end();
}

TEST(a_huge_page_goes_whole)
{
	begin(4 * MIB);
	write_at(s, HERE);
	write_at(s, HERE + 2 * MIB);
	model_advise(s, HERE, 4 * MIB, MADV_FREE);
	write_at(s, HERE + 2 * MIB + 77 * PAGE_SIZE); /* one write keeps all of it */
	reclaim_run();
	CHECK_EQ(rss(s), 512);
	CHECK(model_is_huge(s, HERE + 2 * MIB));
	CHECK_EQ(delta(VM_pglazyfreed), 512);
	CHECK_EQ(delta(VM_thp_split_pmd), 1); /* on its way, as on Linux */
	end();
}

TEST(what_a_child_shares_goes_in_both)
{
	struct model_space *child;

	begin(2 * MIB);
	thp_settings.enabled = THP_NEVER;
	write_at(s, HERE);
	model_advise(s, HERE, PAGE_SIZE, MADV_FREE);
	child = model_fork(s);
	reclaim_run();
	CHECK_EQ(rss(s), 0);
	CHECK_EQ(rss(child), 0);
	end();
}

TEST(pages_of_a_split_one_go_one_by_one)
{
	begin(2 * MIB);
	write_at(s, HERE);
	model_advise(s, HERE, 2 * MIB, MADV_FREE);
	model_protect(s, HERE, PAGE_SIZE, PROT_READ); /* mapped by 4 KiB entries now */
	write_at(s, HERE + PAGE_SIZE);
	reclaim_run();
	CHECK_EQ(rss(s), 1);
	CHECK_EQ(delta(VM_pglazyfreed), 511);
	end();
}

/* A page without access is freed like any other: PROT_NONE here, a NUMA hint as well. */
TEST(without_access_they_go_too)
{
	begin(4 * MIB);
	write_at(s, HERE);
	thp_settings.enabled = THP_NEVER;
	write_at(s, HERE + 2 * MIB);
	model_protect(s, HERE, 4 * MIB, PROT_NONE);
	model_advise(s, HERE, 4 * MIB, MADV_FREE);
	CHECK_EQ(delta(VM_pglazyfree), 513);
	reclaim_run();
	CHECK_EQ(delta(VM_pglazyfreed), 513);
	CHECK_EQ(s->mm->nr_anon, 0);
	end();
}

/* Linux splits a huge page that MADV_FREE meets mapped by 4 KiB entries. */
TEST(pte_mapped_huge_page_is_split)
{
	begin(2 * MIB);
	write_at(s, HERE);
	model_protect(s, HERE, PAGE_SIZE, PROT_READ);
	CHECK_EQ(delta(VM_thp_split_page), 0);
	model_advise(s, HERE + MIB, MIB, MADV_FREE);
	CHECK_EQ(delta(VM_thp_split_page), 1);
	CHECK_EQ(delta(VM_pglazyfree), 256);
	reclaim_run();
	CHECK_EQ(rss(s), 256);
	end();
}

TEST(locked_memory_keeps_its_pages)
{
	u64 faults = 0;

	begin(2 * MIB);
	thp_settings.enabled = THP_NEVER;
	write_at(s, HERE);
	model_advise(s, HERE, PAGE_SIZE, MADV_FREE);
	CHECK_EQ(mmap_lock(s->mm, HERE, PAGE_SIZE, 0, &faults), 0);
	reclaim_run();
	CHECK_EQ(rss(s), 1);
	CHECK_EQ(mmap_advise(s->mm, HERE, PAGE_SIZE, MADV_DONTNEED, &faults), -EINVAL);
	CHECK_EQ(mmap_advise(s->mm, HERE, PAGE_SIZE, MADV_FREE, &faults), -EINVAL);
	CHECK_EQ(mmap_advise(s->mm, HERE, PAGE_SIZE, MADV_PAGEOUT, &faults), -EINVAL);
	CHECK_EQ(mmap_advise(s->mm, HERE, PAGE_SIZE, MADV_DONTNEED_LOCKED, &faults), 0);
	CHECK_EQ(rss(s), 0);
	model_unmap(s, HERE, PAGE_SIZE);
	end();
}

/* ---- MADV_PAGEOUT and MADV_COLD: there is no swap ---- */

TEST(pageout_splits_and_keeps)
{
	begin(4 * MIB);
	write_at(s, HERE);
	write_at(s, HERE + 2 * MIB);
	model_advise(s, HERE, 2 * MIB, MADV_PAGEOUT);
	CHECK_EQ(rss(s), 1024);
	CHECK(!model_is_huge(s, HERE));
	CHECK_EQ(delta(VM_thp_split_page), 1);
	CHECK_EQ(delta(VM_thp_swpout_fallback), 1);
	model_advise(s, HERE + 2 * MIB, PAGE_SIZE,
		MADV_PAGEOUT); /* a part: split, no try to swap it whole */
	CHECK_EQ(delta(VM_thp_split_page), 2);
	CHECK_EQ(delta(VM_thp_swpout_fallback), 1);
	end();
}

TEST(pageout_drops_what_was_freed)
{
	begin(2 * MIB);
	write_at(s, HERE);
	model_advise(s, HERE, 2 * MIB, MADV_FREE);
	model_advise(s, HERE, 2 * MIB, MADV_PAGEOUT);
	CHECK_EQ(rss(s), 0);
	CHECK_EQ(delta(VM_thp_split_page), 0);
	end();
}

TEST(cold_is_inactive)
{
	begin(2 * MIB);
	write_at(s, HERE);
	CHECK_EQ(vmstat_read(VM_nr_inactive_anon), 0);
	model_advise(s, HERE, 2 * MIB, MADV_COLD);
	CHECK_EQ(vmstat_read(VM_nr_inactive_anon), 512);
	CHECK(model_is_huge(s, HERE));
	reclaim_run();
	CHECK_EQ(rss(s), 512); /* cold, not given up */
	model_advise(s, HERE, MIB, MADV_COLD);
	CHECK(!model_is_huge(s, HERE));
	CHECK_EQ(delta(VM_thp_split_page), 1);
	CHECK_EQ(vmstat_read(VM_nr_inactive_anon),
		512); /* the other half is as old as the page was */
	CHECK_EQ(vmstat_read(VM_nr_active_anon), 0);
	end();
}

/* ---- on request ---- */

TEST(split_a_range_and_all)
{
	struct thp_split_count count = {0};

	begin(8 * MIB);
	for (u64 a = HERE; a < HERE + 8 * MIB; a += 2 * MIB)
		write_at(s, a);
	model_protect(s, HERE, PAGE_SIZE, PROT_READ); /* one is mapped by 4 KiB entries */
	rwsem_read_lock(&s->mm->lock);
	thp_split_range(s->mm, HERE, HERE + 4 * MIB, &count);
	rwsem_read_unlock(&s->mm->lock);
	CHECK_EQ(count.total, 2);
	CHECK_EQ(count.split, 2);
	CHECK_EQ(rss(s), 2048);
	thp_split_all(&count);
	CHECK_EQ(count.total, 4);
	CHECK_EQ(count.split, 4);
	CHECK_EQ(delta(VM_thp_split_page), 4);
	end();
}

TEST(the_huge_zero_page_goes_when_nobody_uses_it)
{
	begin(2 * MIB);
	model_access(s, HERE, MMU_READ);
	reclaim_shrink();
	CHECK(zero_huge_pfn);
	model_exit(s);
	s = model_create();
	reclaim_shrink();
	CHECK_EQ(zero_huge_pfn, 0);
	end();
}
