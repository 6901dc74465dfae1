/*
 * test_zero.c - mm/zero.c: the frames of zeroes, and who counts on the big one.
 */
#include <pthread.h>
#include <string.h>

#include "check.h"
#include "fake_machine.h"
#include "mm/buddy.h"
#include "mm/zero.h"
#include "vmstat.h"

#define MIB (1ul << 20)

TEST(the_small_one_is_for_good)
{
	machine_start(32 * MIB, 1);
	zero_init();
	CHECK(zero_pfn != 0);
	CHECK(pfn_is_zero(zero_pfn));
	CHECK(!pfn_is_huge_zero(zero_pfn));
	CHECK_EQ(pfn_type(zero_pfn), PAGE_ZERO);
	CHECK(zero_check());
}

TEST(the_big_one_lives_while_it_is_used)
{
	u64 counts[NR_PAGE_TYPES], free;
	pfn_t pfn;

	machine_start(32 * MIB, 1);
	zero_init();
	free = buddy_free_pages();
	CHECK_EQ(zero_huge_refs(), 0);
	memset(machine_memory + 8 * MIB, 0x55, 16 * MIB); /* what it gets is dirty */
	pfn = zero_huge_get();
	CHECK(pfn && IS_ALIGNED(pfn, 512));
	CHECK_EQ(zero_huge_get(), pfn);
	CHECK_EQ(zero_huge_refs(), 3);
	CHECK(pfn_is_huge_zero(pfn) && pfn_is_huge_zero(pfn + 511) && !pfn_is_huge_zero(pfn + 512));
	CHECK_EQ(vmstat_read(VM_thp_zero_page_alloc), 1);
	page_count_types(counts);
	CHECK_EQ(counts[PAGE_ZERO], 513);
	CHECK_EQ(pfn_type(pfn + 511), PAGE_ZERO);
	CHECK(zero_check() && buddy_check());

	zero_huge_put();
	CHECK_EQ(zero_huge_shrink(), 0); /* one space left */
	zero_huge_put();
	CHECK_EQ(zero_huge_refs(), 1);
	CHECK_EQ(zero_huge_pfn, pfn); /* stays until somebody needs memory */
	CHECK_EQ(zero_huge_shrink(), 512);
	CHECK_EQ(zero_huge_shrink(), 0);
	CHECK(!pfn_is_huge_zero(pfn));
	CHECK_EQ(buddy_free_pages(), free);
	CHECK(zero_check() && buddy_check());
	CHECK_EQ(zero_huge_get() != 0, true);
	CHECK_EQ(vmstat_read(VM_thp_zero_page_alloc), 2);
}

TEST(no_block_is_an_answer)
{
	machine_start(32 * MIB, 1);
	zero_init();
	buddy_inject_fail(1, HPAGE_PMD_ORDER);
	CHECK_EQ(zero_huge_get(), 0);
	CHECK_EQ(buddy_inject_fired, 1);
	CHECK_EQ(vmstat_read(VM_thp_zero_page_alloc), 0);
	CHECK_EQ(zero_huge_refs(), 0);
	CHECK(zero_huge_get() != 0);
	CHECK(zero_check());
}

TEST(one_put_too_many_panics)
{
	machine_start(32 * MIB, 1);
	zero_init();
	zero_huge_get();
	zero_huge_put();
	CHECK_PANICS("Z3", zero_huge_put());
}

TEST(the_checker_names_what_is_broken)
{
	pfn_t pfn;

	machine_start(32 * MIB, 1);
	zero_init();
	pfn = zero_huge_get();
	CHECK(zero_check());
	machine_memory[(zero_pfn << PAGE_SHIFT) + 4095] = 1;
	CHECK(!zero_check() && machine_said("Z1"));
	machine_memory[(zero_pfn << PAGE_SHIFT) + 4095] = 0;
	machine_memory[((pfn + 512) << PAGE_SHIFT) - 1] = 1;
	CHECK(!zero_check() && machine_said("Z1"));
	machine_memory[((pfn + 512) << PAGE_SHIFT) - 1] = 0;
	pfn_to_page(pfn + 300)->type = PAGE_ANON;
	CHECK(!zero_check() && machine_said("Z2"));
	pfn_to_page(pfn + 300)->type = PAGE_ZERO;
	zero_huge_pfn = 0;
	CHECK(!zero_check() && machine_said("Z3"));
	zero_huge_pfn = pfn;
	CHECK(zero_check());
}

/* Four CPUs get, look, put; one shrinks in between. Nobody ever sees anything but zeroes. */
static void *use_it(void *arg)
{
	machine_cpu = (u64)arg;
	for (u64 i = 0; i < 300; i++) {
		pfn_t pfn = zero_huge_get();

		CHECK(pfn != 0);
		CHECK_EQ(pfn_type(pfn + 7), PAGE_ZERO);
		CHECK_EQ(*(u64 *)phys_to_virt((pfn + i) << PAGE_SHIFT), 0);
		zero_huge_put();
		if (machine_cpu == 0)
			zero_huge_shrink();
	}
	return NULL;
}

TEST(four_cpus_get_put_and_shrink)
{
	pthread_t threads[4];
	u64 free;

	machine_start(64 * MIB, 4);
	zero_init();
	free = buddy_free_pages();
	for (u64 i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, use_it, (void *)i), 0);
	for (u64 i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	zero_huge_shrink();
	CHECK_EQ(zero_huge_refs(), 0);
	CHECK_EQ(buddy_free_pages(), free);
	CHECK(zero_check() && buddy_check());
}
