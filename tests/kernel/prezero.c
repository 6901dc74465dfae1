/*
 * prezero.c - idle CPUs clear huge pages, faults take them, and nothing is lost              self-tests
 */
#include "lab.h"
#include "mm/buddy.h"
#include "mm/reclaim.h"
#include "prezerod.h"
#include "vmstat.h"
#include "x86/timer.h"

#define POOL 4

static void set(bool on, u32 pool)
{
	thp_settings.prezero = on;
	thp_settings.prezero_pool = pool;
	prezerod_update();
}

/* Sleep, so that a CPU is idle, until the pool holds `nr`. */
static bool filled(u64 nr)
{
	u64 deadline = time_ns() + LAB_LIMIT_NS / 10;

	while (vmstat_read(VM_nr_thp_prezeroed) != nr && time_ns() < deadline)
		sched_sleep_until(time_ns() + NS_PER_MS);
	return vmstat_read(VM_nr_thp_prezeroed) == nr;
}

KTEST(prezero, faults_take_from_the_pool)
{
	struct thp_settings before;
	u64 used, taken, cleared;
	struct mm *mm;

	if (!lab_has_memory(64ul << 20))
		KT_SKIP(ctx, "too little memory");
	before = lab_begin();
	used = lab_frames_used();
	taken = vmstat_read(VM_thp_prezero_alloc);
	set(true, POOL);
	KT_EXPECT(ctx, filled(POOL));
	KT_EXPECT(ctx, lab_healthy()); /* B7 reads every word */
	mm = lab_space();
	KT_REQUIRE(ctx, mm && lab_area(mm, LAB_AREA, POOL * HPAGE_PMD_SIZE));
	KT_EXPECT(ctx, lab_fill(mm, LAB_AREA, POOL * HPAGE_PMD_SIZE));
	KT_EXPECT(ctx, vmstat_read(VM_thp_prezero_alloc) > taken);
	for (u64 at = 0; at < POOL * HPAGE_PMD_SIZE; at += HPAGE_PMD_SIZE)
		KT_EXPECT(ctx, lab_is_huge(mm, LAB_AREA + at));
	cleared = vmstat_read(VM_thp_prezeroed);
	KT_EXPECT(ctx, filled(POOL)); /* again, while we sleep */
	KT_EXPECT(ctx, cleared >= POOL);
	lab_space_end(mm);
	set(false, POOL);
	KT_EXPECT(ctx, vmstat_read(VM_nr_thp_prezeroed) == 0);
	KT_EXPECT(ctx, lab_frames_back(used));
	lab_end(ctx, &before);
}

KTEST(prezero, memory_that_is_wanted_comes_back)
{
	struct thp_settings before;

	if (!lab_has_memory(64ul << 20))
		KT_SKIP(ctx, "too little memory");
	before = lab_begin();
	set(true, POOL);
	KT_EXPECT(ctx, filled(POOL));
	thp_settings.prezero = false; /* nobody fills it again */
	reclaim_run();                /* as drop_caches, and a fault without memory */
	KT_EXPECT(ctx, vmstat_read(VM_nr_thp_prezeroed) == 0);
	set(false, POOL);
	lab_end(ctx, &before);
}

/* Z6: the block that is being cleared, too; without prezerod_update() nobody else would give it back. */
KTEST(prezero, the_block_at_work_comes_back)
{
	struct thp_settings before;
	u64 used;

	if (!lab_has_memory(64ul << 20))
		KT_SKIP(ctx, "too little memory");
	before = lab_begin();
	used = lab_frames_used();
	set(true, 1000);
	sched_sleep_until(time_ns() + 5 * NS_PER_MS);
	thp_settings.prezero = false;
	reclaim_run();
	KT_EXPECT(ctx, lab_frames_back(used));
	set(false, POOL);
	lab_end(ctx, &before);
}
