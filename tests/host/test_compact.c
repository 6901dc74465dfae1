/*
 * test_compact.c - two scanners: what moves where, what is left alone, when it is not tried.
 */
#include "check.h"
#include "fake_machine.h"
#include "model.h"
#include <abi/advice.h>
#include "mm/buddy.h"
#include "mm/compact.h"
#include "mm/mmap.h"
#include "mm/pgtable.h"
#include "mm/thp.h"
#include "vmstat.h"

#define MIB    (1ul << 20)
#define HERE   (2 * MIB)
#define PIECES 10
#define LEN    (PIECES * 2 * MIB)
#define RW     (PROT_READ | PROT_WRITE)

static struct model_space *s;
static struct page *spare[64]; /* whole blocks that nobody else shall find */
static unsigned nr_spare;

/* Small pages in LEN bytes; then one page in each 2 MiB of memory is left. */
static void begin(void)
{
	u64 seen[64] = {0};

	machine_preempt = NULL;
	model_start(64 * MIB);
	compact_settings = (struct compact_settings){20, 1, 500};
	thp_settings.enabled = THP_NEVER;
	buddy_set_pcp(1, 0);
	s = model_create();
	model_map(s, HERE, LEN, RW, MAP_FIXED);
	for (vaddr_t a = HERE; a < HERE + LEN; a += PAGE_SIZE)
		CHECK_EQ(model_access(s, a, MMU_WRITE), FAULT_DONE);
	for (vaddr_t a = HERE; a < HERE + LEN; a += PAGE_SIZE) {
		u64 block = mmu_frame(s->mm, a) >> HPAGE_PMD_ORDER;

		if (seen[block]++)
			model_advise(s, a, PAGE_SIZE, MADV_DONTNEED);
	}
	for (nr_spare = 0; nr_spare < ARRAY_SIZE(spare); nr_spare++) {
		spare[nr_spare] = buddy_alloc(HPAGE_PMD_ORDER, MIGRATE_MOVABLE, PAGE_PINNED, 0);
		if (!spare[nr_spare])
			break;
	}
}

static void end(void)
{
	while (nr_spare)
		buddy_free(spare[--nr_spare]);
	model_check();
	model_finish();
}

static struct page *fault_block(bool hard)
{
	struct page *page = compact_alloc_huge(hard, 0);

	CHECK_EQ(vmstat_read(VM_nr_isolated_anon), 0); /* X2 */
	return page;
}

TEST(a_block_is_made)
{
	struct page *page;

	begin();
	CHECK(!buddy_alloc(HPAGE_PMD_ORDER, MIGRATE_MOVABLE, PAGE_ANON_HUGE, 0));
	page = fault_block(false);
	CHECK(page);
	CHECK_EQ(vmstat_read(VM_compact_stall), 1);
	CHECK_EQ(vmstat_read(VM_compact_success), 1);
	CHECK(vmstat_read(VM_pgmigrate_success) > 0);
	page_put(page);
	end();
}

/* X1: what moved stands higher than it stood. */
TEST(pages_move_upwards)
{
	pfn_t before[PIECES * 512];

	begin();
	for (u64 i = 0; i < PIECES * 512; i++)
		before[i] = mmu_frame(s->mm, HERE + i * PAGE_SIZE);
	compact_memory();
	for (u64 i = 0; i < PIECES * 512; i++)
		CHECK(mmu_frame(s->mm, HERE + i * PAGE_SIZE) >= before[i]);
	spare[nr_spare] = buddy_alloc(HPAGE_PMD_ORDER, MIGRATE_MOVABLE, PAGE_PINNED, 0);
	CHECK(spare[nr_spare]);
	nr_spare++;
	end();
}

static void lock_all(void)
{
	u64 faults = 0;

	CHECK_EQ(mmap_lock(s->mm, HERE, LEN, MLOCK_ONFAULT, &faults), 0);
}

TEST(locked_pages_as_the_setting_says)
{
	struct page *page;

	begin();
	lock_all();
	compact_settings.unevictable_allowed = 0;
	CHECK(!fault_block(true));
	CHECK_EQ(vmstat_read(VM_pgmigrate_success), 0);
	CHECK_EQ(vmstat_read(VM_compact_fail), vmstat_read(VM_compact_stall));
	CHECK(vmstat_read(VM_compact_fail) >= 1);
	compact_settings.unevictable_allowed = 1;
	for (unsigned tries = 0; !(page = fault_block(true)); tries++)
		CHECK(tries < 200); /* it was deferred */
	page_put(page);
	end();
}

/* After a failure that waited for locks: 1, 3, 7 .. tries are passed over. */
TEST(deferral)
{
	u64 stalls, passed;

	begin();
	lock_all();
	compact_settings.unevictable_allowed = 0;
	CHECK(!fault_block(true));
	for (unsigned round = 1; round < 8; round++) {
		stalls = vmstat_read(VM_compact_stall);
		passed = 0;
		for (; vmstat_read(VM_compact_stall) == stalls; passed++) {
			CHECK(passed < 300);
			CHECK(!fault_block(true));
		}
	}
	CHECK(passed >= 16);
	end();
}

TEST(settings_keep_it_away)
{
	begin();
	compact_settings.extfrag_threshold = 1000;
	CHECK(!fault_block(true));
	CHECK_EQ(vmstat_read(VM_compact_stall), 0);
	end();
}

TEST(nothing_to_move_to)
{
	begin();
	buddy_set_min_free_kbytes(60 * 1024);
	CHECK(!fault_block(true));
	CHECK_EQ(vmstat_read(VM_compact_stall), 0);
	end();
}

TEST(score)
{
	begin();
	CHECK(compact_score(0) > 90);
	CHECK(compact_is_due(0));
	compact_settings.proactiveness = 0;
	CHECK(!compact_is_due(0));
	compact_settings.proactiveness = 100;
	CHECK(compact_proactively(0));
	CHECK(compact_score(0) < 60);
	end();
}
