/*
 * test_buddy.c - mm/buddy.c: the essay's examples, every mistake it must catch, a random run
 * against a model, four CPUs at once, and every state that 16 frames can be in.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "fake_machine.h"
#include "mm/buddy.h"
#include "mm/lru.h"
#include "mm/memmap.h"
#include "mm/node.h"
#include "vmstat.h"
#include <abi/errno.h>

#define MIB (1ul << 20)

static struct zone *dma32 = &zones[ZONE_DMA32];

/* A machine whose buddy has only the frames [first, first + count), and no per-CPU lists. */
static void start_small(pfn_t first, u64 count)
{
	machine_power_on(2 * MIB, 1);
	memmap_init();
	CHECK_EQ(memmap_add(0, 2 * MIB, MEMMAP_USABLE), 0);
	CHECK_EQ(memmap_reserve(1 * MIB, 2 * MIB - PAGE_SIZE, MEMMAP_KERNEL), 0);
	page_init(); /* takes the one page that is left */
	lru_init();
	buddy_init();
	CHECK_EQ(buddy_free_pages(), 0);
	buddy_set_pcp(1, 0);
	buddy_add_range(first, first + count);
}

static struct page *alloc(unsigned order)
{
	return buddy_alloc(order, MIGRATE_MOVABLE, PAGE_PINNED, BUDDY_RESERVE);
}

static u64 pfn_of(const struct page *p)
{
	CHECK(p);
	return page_to_pfn(p);
}

/* ---- the essay's examples ---- */

TEST(halves_and_unites)
{
	struct page *a, *b, *c;

	start_small(16, 16);
	CHECK_EQ(dma32->nr_free[4], 1);
	a = alloc(0); /* 16: halved four times, the left kept */
	CHECK_EQ(pfn_of(a), 16);
	for (unsigned order = 0; order < 4; order++)
		CHECK_EQ(dma32->nr_free[order], 1);
	b = alloc(0); /* its buddy, the smallest block there is */
	CHECK_EQ(pfn_of(b), 17);
	CHECK_EQ(dma32->nr_free[0], 0);
	c = alloc(2);
	CHECK_EQ(pfn_of(c), 20);
	CHECK(buddy_check());
	buddy_free(a);
	CHECK_EQ(dma32->nr_free[0], 1); /* its buddy is in use */
	buddy_free(c);
	CHECK_EQ(dma32->nr_free[2], 1); /* 20-23; 16-19 is not whole */
	buddy_free(b);
	CHECK_EQ(dma32->nr_free[4], 1);
	CHECK_EQ(buddy_free_pages(), 16);
	CHECK(buddy_check());
}

TEST(ranges_of_any_shape_are_filed_in_aligned_blocks)
{
	start_small(17, 14); /* 17, 18-19, 20-23, 24-27, 28-29, 30 */
	CHECK_EQ(dma32->nr_free[0], 2);
	CHECK_EQ(dma32->nr_free[1], 2);
	CHECK_EQ(dma32->nr_free[2], 2);
	CHECK(buddy_check());
	buddy_add_range(16, 17);
	buddy_add_range(31, 32);
	CHECK_EQ(dma32->nr_free[4], 1);
	CHECK(buddy_check());
	CHECK_PANICS("buddy", buddy_add_range(20, 21));
	CHECK_PANICS("buddy", buddy_add_range(0, 1));
}

TEST(no_block_no_panic)
{
	start_small(16, 16);
	CHECK(!alloc(5));
	CHECK(!alloc(11));
	CHECK(!alloc(64));
	for (unsigned i = 0; i < 16; i++)
		CHECK(alloc(0));
	CHECK(!alloc(0));
	CHECK(buddy_check());
}

/* ---- huge pages ---- */

TEST(a_huge_page_writes_nothing_into_its_tails)
{
	static struct page before[512];
	struct page *huge;
	struct pageblock *block;
	u8 generation;

	machine_start(32 * MIB, 1);
	huge = buddy_alloc(9, MIGRATE_MOVABLE, PAGE_ANON_HUGE, 0);
	page_put(huge);
	memcpy(before, huge, sizeof(before));
	generation = pfn_block(page_to_pfn(huge))->generation;
	CHECK(buddy_alloc(9, MIGRATE_MOVABLE, PAGE_ANON_HUGE, 0) == huge);
	block = pfn_block(page_to_pfn(huge));
	CHECK(block->flags & PB_HUGE);
	CHECK_EQ(block->generation, (u8)(generation + 1));
	CHECK_EQ(pfn_type(page_to_pfn(huge) + 511), PAGE_ANON_HUGE);
	CHECK(page_head(huge + 300) == huge);
	CHECK(memcmp(before + 2, huge + 2, 510 * sizeof(struct page)) == 0);
	CHECK_EQ(page_pmd_mapcount(huge), 0);
	CHECK_EQ(page_pte_mappings(huge), 0);
	CHECK_EQ(vmstat_read(VM_pgalloc_dma32), 1024);
	page_put(huge);
	CHECK_EQ(vmstat_read(VM_pgfree), 1024);
	CHECK(!(block->flags & PB_HUGE));
	CHECK(buddy_check());
}

TEST(each_cpu_keeps_one_huge_page)
{
	struct page *a, *b;
	u64 free;

	machine_start(32 * MIB, 2);
	free = buddy_free_pages();
	a = buddy_alloc(9, MIGRATE_MOVABLE, PAGE_ANON_HUGE, 0);
	b = buddy_alloc(9, MIGRATE_MOVABLE, PAGE_ANON_HUGE, 0);
	page_put(a);
	page_put(b);
	CHECK_EQ(dma32->pcp[0].huge.count, 1);
	CHECK_EQ(buddy_free_pages(), free);
	CHECK(buddy_check());
	machine_cpu = 1; /* cannot reach it */
	CHECK(buddy_alloc(9, MIGRATE_MOVABLE, PAGE_ANON_HUGE, 0) != a);
	machine_cpu = 0;
	CHECK(buddy_alloc(9, MIGRATE_MOVABLE, PAGE_ANON_HUGE, 0) == a);
	buddy_drain_pcp();
	CHECK_EQ(dma32->pcp[0].huge.count, 0);
	CHECK(buddy_check());
}

TEST(cleared_pages_stand_apart_and_are_free)
{
	struct page *p;
	u64 free, blocks;

	machine_start(32 * MIB, 1);
	buddy_drain_pcp();
	free = buddy_free_pages();
	CHECK(!buddy_alloc_prezeroed());
	p = buddy_alloc(HPAGE_PMD_ORDER, MIGRATE_MOVABLE, PAGE_ANON_HUGE, 0);
	blocks = zones[ZONE_DMA32].free_pages;
	memset(page_to_virt(p), 0, HPAGE_PMD_SIZE);
	buddy_free_prezeroed(p);
	CHECK_EQ(buddy_free_pages(), free);
	CHECK_EQ(zones[ZONE_DMA32].free_pages, blocks); /* of the lists of blocks it is none */
	CHECK_EQ(vmstat_read(VM_nr_thp_prezeroed), 1);
	CHECK(buddy_check());

	CHECK(buddy_alloc_prezeroed() == p); /* the very one */
	CHECK(p->type == PAGE_ANON_HUGE && page_refcount(p) == 1 && pfn_in_huge(page_to_pfn(p)));
	CHECK_EQ(vmstat_read(VM_nr_thp_prezeroed), 0);
	CHECK(!buddy_alloc_prezeroed());
	buddy_free_prezeroed(p);
	((char *)page_to_virt(p))[HPAGE_PMD_SIZE - 1] = 1;
	CHECK(!buddy_check() && machine_said("B7"));
	((char *)page_to_virt(p))[HPAGE_PMD_SIZE - 1] = 0;
	CHECK(buddy_check());
	CHECK_PANICS("buddy", buddy_free_prezeroed(p));
}

TEST(cleared_pages_are_there_when_nothing_else_is)
{
	struct page *p, *list = NULL;
	u64 pages = 0, free;

	machine_start(16 * MIB, 1);
	free = buddy_free_pages();
	p = buddy_alloc(HPAGE_PMD_ORDER, MIGRATE_MOVABLE, PAGE_ANON_HUGE, 0);
	memset(page_to_virt(p), 0, HPAGE_PMD_SIZE);
	buddy_free_prezeroed(p);
	while ((p = buddy_alloc(0, MIGRATE_UNMOVABLE, PAGE_KERNEL, BUDDY_RESERVE))) {
		p->private = (u64)list;
		list = p;
		pages++;
	}
	CHECK_EQ(pages, free); /* its 512 frames among them */
	CHECK_EQ(vmstat_read(VM_nr_thp_prezeroed), 0);
	while ((p = list)) {
		list = (struct page *)p->private;
		buddy_free(p);
	}
	CHECK_EQ(buddy_free_pages(), free);
	CHECK(buddy_check());
}

/* What one CPU does with cleared pages: one is cleared, one is taken, sometimes all are wanted back. */
static void *clear_and_take(void *arg)
{
	machine_cpu = (u64)arg;
	for (u64 i = 0; i < 3000; i++) {
		struct page *p = buddy_alloc_prezeroed();

		if (!p)
			p = buddy_alloc(HPAGE_PMD_ORDER, MIGRATE_MOVABLE, PAGE_ANON_HUGE, 0);
		if (p)
			buddy_free_prezeroed(p);
		if (i % 3 == (u64)arg % 3)
			buddy_drain_prezeroed();
	}
	return NULL;
}

TEST(cleared_pages_are_counted_once_whoever_drains)
{
	pthread_t threads[4];
	struct page *p;

	machine_start(32 * MIB, 4);
	for (u64 i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, clear_and_take, (void *)i), 0);
	for (u64 i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	buddy_drain_prezeroed();
	CHECK_EQ(vmstat_read(VM_nr_thp_prezeroed), 0);
	p = buddy_alloc(HPAGE_PMD_ORDER, MIGRATE_MOVABLE, PAGE_ANON_HUGE, 0);
	memset(page_to_virt(p), 0, HPAGE_PMD_SIZE);
	buddy_free_prezeroed(p);
	CHECK_EQ(vmstat_read(VM_nr_thp_prezeroed), 1); /* it was not below 0 */
	CHECK(buddy_check());
}

TEST(a_cleared_page_of_an_isolated_range_is_not_handed_out)
{
	struct page *p;

	machine_start(32 * MIB, 1);
	do
		p = buddy_alloc(HPAGE_PMD_ORDER, MIGRATE_MOVABLE, PAGE_ANON_HUGE, 0);
	while (pfn_block(pfn_of(p) ^ 512)->nr_free != 512);
	CHECK_EQ(buddy_isolate_range(pfn_of(p) & ~1023ul, (pfn_of(p) | 1023) + 1), 0);
	memset(page_to_virt(p), 0, HPAGE_PMD_SIZE);
	buddy_free_prezeroed(p);
	CHECK(!buddy_alloc_prezeroed());
	CHECK_EQ(dma32->isolated_pages, 1024);
	CHECK(buddy_check());
	CHECK(buddy_take_isolated(pfn_of(p) & ~1023ul, 10, PAGE_PINNED));
}

TEST(split_makes_512_base_pages)
{
	struct page *huge;
	u64 counts[NR_PAGE_TYPES], free;

	machine_start(32 * MIB, 1);
	buddy_drain_pcp();
	free = buddy_free_pages();
	huge = buddy_alloc(9, MIGRATE_MOVABLE, PAGE_ANON_HUGE, 0);
	huge->private = 0x1234;
	page_set_index(huge, 0x1ffffff00ul);
	lru_add_active(huge);
	lru_deferred_add(huge);
	/* 300 of its frames are mapped by one pte each; the caller has a reference. */
	for (u64 i = 0; i < 300; i++)
		huge[i].mapcount = 1;
	*page_pte_mappings_ptr(huge) = 300;
	page_get_many(huge, 300);
	CHECK_PANICS("split", page_get(huge); buddy_split_huge(huge));
	CHECK_PANICS("split", *page_pmd_mapcount_ptr(huge) = 1; buddy_split_huge(huge));
	CHECK_PANICS("split", huge[400].mapcount = 1; buddy_split_huge(huge));
	buddy_split_huge(huge);
	CHECK(lru_check());
	CHECK_EQ(lru.active.count + lru.deferred.count, 0);
	page_count_types(counts);
	CHECK_EQ(counts[PAGE_ANON], 512);
	CHECK_EQ(counts[PAGE_ANON_HUGE], 0);
	for (u64 i = 0; i < 512; i++) {
		CHECK_EQ(page_index(huge + i), 0x1ffffff00ul + i);
		CHECK_EQ(huge[i].private, 0x1234);
		CHECK_EQ(page_refcount(huge + i), i < 300 ? 2 : 1);
		page_put(huge + i);
	}
	buddy_drain_pcp();
	CHECK_EQ(free - buddy_free_pages(), 300);
	CHECK(buddy_check());
	for (u64 i = 0; i < 300; i++) {
		huge[i].mapcount = 0;
		page_put(huge + i);
	}
	CHECK_EQ(buddy_free_pages(), free);
	CHECK(buddy_check());
}

/* ---- migratetypes ---- */

TEST(a_large_block_is_taken_with_its_pageblock)
{
	struct page *p;

	machine_start(32 * MIB, 1);
	buddy_set_pcp(1, 0);
	p = buddy_alloc(0, MIGRATE_UNMOVABLE, PAGE_KERNEL, 0);
	CHECK_EQ(pfn_block(page_to_pfn(p))->migratetype, MIGRATE_UNMOVABLE);
	CHECK(buddy_check());
	/* The next ones come from the same pageblock, not from a second one. */
	for (unsigned i = 0; i < 511; i++)
		CHECK(pfn_block(page_to_pfn(buddy_alloc(0, MIGRATE_UNMOVABLE, PAGE_KERNEL, 0))) ==
			pfn_block(page_to_pfn(p)));
	CHECK(buddy_check());
}

/* A machine of one pageblock and a half, all of it movable pages in use: 512 to 1023 and 257 to 511. */
static struct page *pages_of_1024[1024];

static void fill_with_movable(void)
{
	memset(zones, 0, sizeof(zones));
	machine_start(4 * MIB, 1);
	buddy_set_pcp(1, 0);
	CHECK_EQ(dma32->managed_pages,
		767); /* one frame of the second half is the kernel's: the records */
	CHECK_EQ(pfn_to_page(1023)->type, PAGE_KERNEL);
	for (unsigned i = 0; i < 767; i++) {
		struct page *p = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, BUDDY_RESERVE);

		pages_of_1024[pfn_of(p)] = p;
	}
	CHECK(!buddy_alloc(0, MIGRATE_UNMOVABLE, PAGE_KERNEL, BUDDY_RESERVE));
}

/* Frees [start, end), then somebody takes one page; what is the type of the pageblock at 512 now? */
static enum migratetype type_after(pfn_t start, pfn_t end, enum migratetype mt)
{
	struct page *p;

	for (pfn_t pfn = start; pfn < end; pfn++)
		buddy_free(pages_of_1024[pfn]);
	p = buddy_alloc(0, mt, mt == MIGRATE_MOVABLE ? PAGE_ANON : PAGE_KERNEL, BUDDY_RESERVE);
	CHECK_EQ(pfn_of(p) >> 9, 1);
	CHECK(buddy_check());
	return pfn_block(512)->migratetype;
}

TEST(a_small_block_is_only_borrowed)
{
	struct page *kernel, *user;

	fill_with_movable();
	for (pfn_t pfn = 528; pfn < 544; pfn++)
		buddy_free(pages_of_1024[pfn]);
	kernel = buddy_alloc(0, MIGRATE_UNMOVABLE, PAGE_KERNEL, BUDDY_RESERVE);
	user = buddy_alloc(0, MIGRATE_RECLAIMABLE, PAGE_KERNEL, BUDDY_RESERVE);
	CHECK_EQ(pfn_block(512)->migratetype, MIGRATE_MOVABLE);
	CHECK_EQ(pfn_of(kernel), 528);
	CHECK_EQ(pfn_of(user), 529);
	CHECK_EQ(dma32->free[1][MIGRATE_MOVABLE].count, 1); /* what was cut off stays movable */
	CHECK(buddy_check());
}

TEST(half_a_pageblock_is_enough_to_claim_it)
{
	fill_with_movable();
	CHECK_EQ(type_after(512, 766, MIGRATE_UNMOVABLE),
		MIGRATE_MOVABLE); /* 254 free, 1 the kernel's */
	fill_with_movable();
	CHECK_EQ(type_after(512, 767, MIGRATE_UNMOVABLE), MIGRATE_UNMOVABLE); /* 255 and 1 */
	/* The other way round too: a movable page takes only a pageblock whose large block it gets. */
	CHECK(buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, BUDDY_RESERVE));
	CHECK(buddy_check());
}

TEST(pages_alike_count_as_free_ones)
{
	/* 300 of the kernel's own in it already: 8 free pages are enough for it to have the pageblock. */
	fill_with_movable();
	for (pfn_t pfn = 600; pfn < 900; pfn++)
		pages_of_1024[pfn]->type = PAGE_KERNEL;
	CHECK_EQ(type_after(512, 520, MIGRATE_UNMOVABLE), MIGRATE_UNMOVABLE);
	/* ... which a movable page gets back when most of them are gone and a large block is free. */
	for (pfn_t pfn = 600; pfn < 800; pfn++)
		pages_of_1024[pfn]->type = PAGE_ANON;
	CHECK_EQ(type_after(544, 576, MIGRATE_MOVABLE), MIGRATE_MOVABLE);
	/* Pages of an object cannot be moved: they do not count for it. */
	fill_with_movable();
	pfn_block(512)->migratetype = MIGRATE_UNMOVABLE;
	for (pfn_t pfn = 600; pfn < 900; pfn++)
		pages_of_1024[pfn]->flags = PG_SHARED;
	CHECK_EQ(type_after(544, 576, MIGRATE_MOVABLE), MIGRATE_UNMOVABLE);
	/* Fewer than 16 pages in one piece are not worth a pageblock to one that can move. */
	fill_with_movable();
	pfn_block(512)->migratetype = MIGRATE_UNMOVABLE;
	CHECK_EQ(type_after(544, 552, MIGRATE_MOVABLE), MIGRATE_UNMOVABLE);
}

/* ---- watermarks and zones ---- */

TEST(min_free_kbytes_as_linux)
{
	static const struct {
		u64 mib, kb;
	} linux_says[] = {{16, 504}, {64, 1019}, {512, 2894}, {2048, 5791}};

	for (unsigned i = 0; i < ARRAY_SIZE(linux_says); i++) {
		memset(zones, 0, sizeof(zones));
		machine_start(linux_says[i].mib * MIB, 1);
		/* 4 * sqrt(kB managed): the first MiB and the records are missing, so a little less */
		CHECK(buddy_min_free_kbytes <= linux_says[i].kb + 4);
		CHECK(buddy_min_free_kbytes + 20 >= linux_says[i].kb);
		CHECK_EQ(dma32->watermark_min, buddy_min_free_kbytes / 4);
		CHECK_EQ(dma32->watermark_low,
			dma32->watermark_min +
				MAX(dma32->watermark_min / 4, dma32->managed_pages / 1000));
		CHECK(dma32->watermark_high > dma32->watermark_low);
	}
	buddy_set_min_free_kbytes(45056);
	CHECK_EQ(dma32->watermark_min, 11264);
}

TEST(huge_pages_want_more_kept_free)
{
	memset(zones, 0, sizeof(zones));
	machine_start(512 * MIB, 1);
	zone_recommend_min_free(true);
	CHECK_EQ(buddy_min_free_kbytes, 11 * 512 * 4); /* Linux: 45056 with two zones */
	zone_recommend_min_free(false);
	CHECK(buddy_min_free_kbytes < 3000);
	zone_user_min_free_kbytes(30000); /* somebody's own wish is not lowered */
	zone_recommend_min_free(true);
	CHECK_EQ(buddy_min_free_kbytes, 30000);
	zone_recommend_min_free(false);
	CHECK_EQ(buddy_min_free_kbytes, 30000);
	zone_user_min_free_kbytes(1000);
	zone_recommend_min_free(true);
	CHECK_EQ(buddy_min_free_kbytes, 22528);
	memset(zones, 0, sizeof(zones));
	machine_start(24 * MIB, 1); /* a twentieth of it at most */
	zone_recommend_min_free(true);
	CHECK_EQ(buddy_min_free_kbytes, dma32->managed_pages / 20 * 4);
}

TEST(the_last_pages_are_kept)
{
	struct page *p, *last = NULL;
	u64 quiet, ordinary;

	machine_start(16 * MIB, 1);
	buddy_set_pcp(1, 0);
	while (buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, BUDDY_QUIET))
		;
	quiet = buddy_free_pages();
	CHECK_EQ(quiet, dma32->watermark_low);
	CHECK(!buddy_alloc(3, MIGRATE_MOVABLE, PAGE_PINNED, BUDDY_QUIET));
	while ((p = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, 0)))
		last = p;
	ordinary = buddy_free_pages();
	CHECK_EQ(ordinary, dma32->watermark_min);
	while (buddy_alloc(0, MIGRATE_UNMOVABLE, PAGE_TABLE, BUDDY_RESERVE))
		;
	CHECK_EQ(buddy_free_pages(), 0);
	CHECK(buddy_check());
	buddy_free(last);
	CHECK(!buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, 0));
	CHECK(buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, BUDDY_RESERVE));
}

TEST(own_lists_are_emptied_before_no_is_said)
{
	static struct page *pages[4096];
	u64 n = 0;

	machine_start(16 * MIB, 1);
	while ((pages[n] = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, BUDDY_RESERVE)))
		n++;
	CHECK_EQ(buddy_free_pages(), 0);
	for (unsigned i = 0; i < 20; i++)
		buddy_free(pages[--n]);
	CHECK_EQ(dma32->free_pages, 0); /* all 20 are on the list of movable pages */
	CHECK(buddy_alloc(0, MIGRATE_UNMOVABLE, PAGE_TABLE, BUDDY_RESERVE));
	CHECK(buddy_check());
}

TEST(a_cpus_lists_stay_short)
{
	static struct page *pages[1000];

	machine_start(128 * MIB, 1);
	for (unsigned i = 0; i < 1000; i++)
		pages[i] = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, 0);
	CHECK_EQ(vmstat_read(VM_pgalloc_dma32), 1000);
	for (unsigned i = 0; i < 1000; i++) {
		buddy_free(pages[i]);
		CHECK(dma32->pcp[0].lists[MIGRATE_MOVABLE].count <= PCP_HIGH);
	}
	CHECK_EQ(vmstat_read(VM_pgfree), 1000);
	CHECK(buddy_check());
	buddy_drain_pcp();
	CHECK_EQ(dma32->pcp[0].lists[MIGRATE_MOVABLE].count, 0);
	CHECK_EQ(dma32->free_pages, dma32->managed_pages);
	CHECK(buddy_check());
}

TEST(a_refill_cuts_no_crumbs)
{
	u64 blocks = 0;

	machine_start(128 * MIB, 1);
	for (unsigned i = 0; i < 4096; i++)
		CHECK(buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, 0));
	for (unsigned order = 0; order < 5; order++)
		blocks += dma32->nr_free[order];
	CHECK(blocks <= 1); /* what does not fit at the edge of memory */
	CHECK(buddy_check());
}

/* ---- many at once ---- */

TEST(neighbours_are_freed_together)
{
	static struct page *pages[2000];
	u32 pfns[512];
	u64 kept = 0, free;

	machine_start(64 * MIB, 1);
	free = buddy_free_pages();
	for (u64 i = 0; i < 2000; i++) {
		pages[i] = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, 0);
		if (check_below(2))
			lru_add_active(pages[i]);
		if (check_below(20) == 0) { /* somebody else holds it too */
			page_get(pages[i]);
			kept++;
		}
	}
	for (u64 i = 0; i < 2000;) {
		unsigned nr = 0, most = 1 + check_below(512);

		for (; nr < most && i < 2000; i++)
			pfns[nr++] = page_to_pfn(pages[i]);
		page_put_batch(pfns, nr);
		CHECK_MSG(buddy_check() && lru_check(), "%s", machine_words);
	}
	CHECK_EQ(free - buddy_free_pages(), kept);
	for (u64 i = 0; i < 2000; i++)
		if (page_refcount(pages[i]))
			page_put(pages[i]);
	CHECK_EQ(buddy_free_pages(), free);
	CHECK(buddy_check() && lru_check());
}

TEST(a_batch_drops_references_on_huge_pages)
{
	u32 pfns[512];
	struct page *huge;
	u64 free;

	machine_start(64 * MIB, 1);
	free = buddy_free_pages();
	huge = buddy_alloc(9, MIGRATE_MOVABLE, PAGE_ANON_HUGE, 0);
	page_get_many(huge, 511);
	for (u64 i = 0; i < 512; i++)
		pfns[i] = page_to_pfn(huge) + i;
	page_put_batch(pfns, 512);
	CHECK_EQ(buddy_free_pages(), free);
	CHECK(buddy_check());
	pfns[0] = page_to_pfn(buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, 0));
	CHECK_PANICS("buddy", page_get(pfn_to_page(pfns[0])); page_free_batch(pfns, 1));
	CHECK_PANICS("buddy", pfn_to_page(pfns[0])->mapcount = 1; page_free_batch(pfns, 1));
	page_free_batch(pfns, 1);
	CHECK_PANICS("buddy", page_free_batch(pfns, 1));
	CHECK_EQ(buddy_free_pages(), free);
}

/* ---- by place ---- */

TEST(a_free_block_is_taken_by_its_place)
{
	start_small(16, 16);
	CHECK_EQ(pfn_of(alloc(2)), 16);
	CHECK_EQ(pfn_free_order(16), -1);
	CHECK_EQ(pfn_free_order(20), 2);
	CHECK_EQ(pfn_free_order(22), -1); /* inside one */
	CHECK_EQ(buddy_take_free(22), -1);
	CHECK_EQ(buddy_take_free(16), -1);
	CHECK_EQ(buddy_take_free(24), 3);
	for (pfn_t pfn = 24; pfn < 32; pfn++) {
		CHECK_EQ(pfn_type(pfn), PAGE_ANON);
		CHECK_EQ(page_refcount(pfn_to_page(pfn)), 1);
	}
	CHECK_EQ(buddy_free_pages(), 4);
	CHECK(buddy_check());
	for (pfn_t pfn = 24; pfn < 32; pfn++)
		page_put(pfn_to_page(pfn));
	CHECK_EQ(pfn_free_order(24), 3);
	CHECK(buddy_check());
	dma32->watermark_min = 8;
	CHECK_EQ(buddy_take_free(24), -1); /* 4 would be left */
	dma32->watermark_min = 4;
	CHECK_EQ(buddy_take_free(20), 2);
}

TEST(half_a_pageblock_taken_makes_it_movable)
{
	struct page *p;

	machine_start(32 * MIB, 1);
	buddy_set_pcp(1, 0);
	p = buddy_alloc(0, MIGRATE_UNMOVABLE, PAGE_KERNEL, 0);
	CHECK_EQ(pfn_block(pfn_of(p))->migratetype, MIGRATE_UNMOVABLE);
	CHECK_EQ(buddy_take_free(pfn_of(p) + 128), 7);
	CHECK_EQ(pfn_block(pfn_of(p))->migratetype, MIGRATE_UNMOVABLE);
	CHECK_EQ(buddy_take_free(pfn_of(p) + 256), 8);
	CHECK_EQ(pfn_block(pfn_of(p))->migratetype, MIGRATE_MOVABLE);
	CHECK(buddy_check());
}

TEST(nobody_gets_an_isolated_page)
{
	struct page *inside, *p;
	u64 free, n = 0;

	machine_start(32 * MIB, 2);
	do /* one whose 4 MiB are all ours */
		inside = buddy_alloc(9, MIGRATE_MOVABLE, PAGE_ANON_HUGE, 0);
	while (pfn_block(pfn_of(inside) ^ 512)->nr_free != 512);
	pfn_t start = pfn_of(inside) & ~1023ul;
	free = buddy_free_pages();
	CHECK_PANICS("I1", (void)!buddy_isolate_range(start + 512, start + 1024));
	CHECK_EQ(buddy_isolate_range(1 << 20, (1 << 20) + 1024), -EINVAL);
	CHECK_EQ(buddy_isolate_range(start, start + 1024), 0);
	CHECK_EQ(buddy_isolate_range(start - 1024, start + 1024), -EBUSY);
	CHECK_EQ(pfn_block(start - 1024)->migratetype, MIGRATE_MOVABLE); /* as it was */
	CHECK_EQ(buddy_free_pages(), free);
	CHECK_EQ(dma32->isolated_pages, 512);
	CHECK(buddy_check());
	CHECK_EQ(buddy_take_free(pfn_of(inside) ^ 512), -1);
	CHECK(!buddy_take_isolated(start, 10, PAGE_PINNED)); /* half of it is in use */
	page_put(inside);                                    /* not to this CPU's stack */
	CHECK_EQ(dma32->isolated_pages, 1024);
	CHECK_EQ(dma32->pcp[0].huge.count, 0);
	CHECK(buddy_check());
	while ((p = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, BUDDY_RESERVE)))
		CHECK(pfn_of(p) - start >= 1024 && ++n);
	CHECK_EQ(buddy_free_pages(), 1024);
	CHECK_EQ(n, free - 512);
	CHECK(buddy_check());
	p = buddy_take_isolated(start, 10, PAGE_ANON_HUGE);
	CHECK_EQ(pfn_of(p), start);
	CHECK_EQ(dma32->isolated_pages, 0);
	CHECK_EQ(buddy_free_pages(), 0);
	CHECK(buddy_check());
	page_put(p);
	page_put(p + 512);
	CHECK_EQ(buddy_free_pages(), 1024);
	CHECK(buddy_check());
}

TEST(single_pages_freed_into_isolation_stay_there)
{
	static struct page *pages[4096];
	u32 pfns[64];
	u64 n = 0;

	machine_start(16 * MIB, 1);
	while ((pages[n] = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, BUDDY_RESERVE)))
		n++;
	CHECK_EQ(buddy_isolate_range(1024, 2048), 0);
	for (unsigned i = 0; i < 64; i++) {
		buddy_free(pfn_to_page(1024 + i)); /* one by one ... */
		pfns[i] = 1024 + 64 + i;           /* ... and together */
	}
	page_put_batch(pfns, 64);
	CHECK_EQ(dma32->isolated_pages, 128);
	CHECK_EQ(pfn_free_order(1024), 7);
	CHECK(buddy_check());
	CHECK(!buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, BUDDY_RESERVE));
	CHECK(!zone_watermark_ok(dma32, 0, 0));
	buddy_unisolate_range(1024, 2048);
	CHECK_EQ(dma32->isolated_pages, 0);
	CHECK(zone_watermark_ok(dma32, 0, 0) && zone_watermark_ok(dma32, 5, 96));
	CHECK(!zone_watermark_ok(dma32, 5, 97));
	CHECK(!zone_watermark_ok(dma32, 8, 0));
	CHECK(buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, BUDDY_RESERVE));
	CHECK(buddy_check());
	dma32->isolated_pages++;
	CHECK(!buddy_check() && machine_said("B8"));
}

TEST(a_range_above_the_top_order)
{
	struct page *p, *one;
	u64 free;

	machine_start(192 * MIB, 1);
	free = buddy_free_pages();
	/* 64 MiB, from above: the topmost has records in it. */
	p = buddy_alloc_contig(14, PAGE_ANON_HUGE, 0);
	CHECK_EQ(pfn_of(p) & ((1ul << 14) - 1), 0);
	CHECK_EQ(buddy_free_pages(), free - (1 << 14));
	for (pfn_t pfn = pfn_of(p); pfn < pfn_of(p) + (1 << 14); pfn += 512)
		CHECK(page_is_huge(pfn_to_page(pfn)) && page_refcount(pfn_to_page(pfn)) == 1);
	CHECK(buddy_check());
	CHECK(!buddy_alloc_contig(14, PAGE_ANON_HUGE, 0));
	buddy_free_contig(p, 14);
	CHECK_EQ(buddy_free_pages(), free);
	CHECK(buddy_check());
	/* One page in use in the middle, one on this CPU's stack: the second is no obstacle. */
	one = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, 0);
	CHECK(!buddy_alloc_contig(15, PAGE_PINNED, 0));
	buddy_free(one);
	CHECK((p = buddy_alloc_contig(13, PAGE_PINNED, 0)));
	CHECK(buddy_check());
	buddy_free_contig(p, 13);
	buddy_inject_fail(1, -1);
	CHECK(!buddy_alloc_contig(13, PAGE_PINNED, 0));
	CHECK_EQ(buddy_free_pages(), free);
	CHECK(buddy_check());
}

/* ---- how broken up ---- */

TEST(indexes_as_linux_computes_them)
{
	start_small(16, 16);
	CHECK_EQ(zone_extfrag_index(dma32, 4), -1000);
	CHECK_EQ(zone_unusable_index(dma32, 4), 0);
	CHECK_EQ(zone_extfrag_index(dma32, 5), 1000 - (1000 + 500) / 1);
	alloc(0); /* 1 + 2 + 4 + 8 free */
	CHECK_EQ(zone_extfrag_index(dma32, 3), -1000);
	CHECK_EQ(zone_unusable_index(dma32, 3), 7 * 1000 / 15);
	CHECK_EQ(zone_extfrag_percent(dma32, 3), 7 * 100 / 15);
	CHECK_EQ(zone_extfrag_index(dma32, 4), 1000 - (1000 + 15 * 1000 / 16) / 4);
	CHECK_EQ(zone_unusable_index(dma32, 4), 1000);
	while (alloc(0))
		;
	CHECK_EQ(zone_extfrag_index(dma32, 0), 0);
	CHECK_EQ(zone_unusable_index(dma32, 0), 1000);
	CHECK_EQ(zone_extfrag_percent(dma32, 0), 0);
	for (pfn_t pfn = 16; pfn < 32; pfn += 2)
		buddy_free(pfn_to_page(pfn));
	CHECK_EQ(zone_extfrag_index(dma32, 1), 1000 - (1000 + 4000) / 8);
}

/* ---- injection ---- */

TEST(the_kth_allocation_fails)
{
	machine_start(32 * MIB, 1);
	buddy_inject_fail(3, 9);
	CHECK(alloc(9) && alloc(0) && alloc(9));
	CHECK(!alloc(9));
	CHECK(alloc(9));
	CHECK_EQ(buddy_inject_fired, 1);
	CHECK_EQ(buddy_inject_seen, 4);
	buddy_inject_fail(0, 0);
	CHECK(alloc(9));
	CHECK_EQ(buddy_inject_seen, 4);
	buddy_inject_fail(1, -1);
	CHECK_EQ(buddy_inject_fired, 0);
	CHECK(!alloc(5));
	CHECK_EQ(buddy_inject_fired, 1);
	CHECK(buddy_check());
}

/* ---- frees that must be refused ---- */

TEST(wrong_frees_panic)
{
	static struct page foreign = {.type = PAGE_ANON};
	struct page *p, *q, *block, *huge;

	machine_start(32 * MIB, 1);
	p = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, 0);
	q = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, 0);
	block = buddy_alloc(3, MIGRATE_UNMOVABLE, PAGE_KERNEL, 0);
	huge = buddy_alloc(9, MIGRATE_MOVABLE, PAGE_ANON_HUGE, 0);
	CHECK_PANICS("buddy", page_get(p); buddy_free(p));       /* two references */
	CHECK_PANICS("buddy", p->mapcount = 1; buddy_free(p));   /* mapped */
	CHECK_PANICS("buddy", lru_add_active(p); buddy_free(p)); /* on a list */
	CHECK_PANICS("buddy", buddy_free(block + 1));            /* not the first page */
	CHECK_PANICS("buddy", buddy_free(huge + 5));             /* a tail */
	CHECK_PANICS("buddy", *page_pmd_mapcount_ptr(huge) = 1; buddy_free(huge));
	CHECK_PANICS("buddy", *page_pte_mappings_ptr(huge) = 1; buddy_free(huge));
	CHECK_PANICS("buddy", buddy_free(pfn_to_page(5))); /* reserved */
	CHECK_PANICS("buddy", buddy_free(pfn_to_page(0)));
	CHECK_PANICS("buddy", buddy_free(pfn_to_page(page_max_pfn)));
	CHECK_PANICS("buddy", buddy_free(&foreign));
	buddy_free(p);
	CHECK_PANICS("buddy", buddy_free(p)); /* twice: it is on the CPU's list */
	buddy_drain_pcp();
	CHECK_PANICS("buddy", buddy_free(p)); /* twice: it is in the buddy */
	CHECK(p->type == PAGE_FREE && !(p->flags & PG_PCP));
	buddy_free(block);
	CHECK_PANICS("buddy", buddy_free(block));
	CHECK_PANICS("buddy", buddy_free(block + 1));
	page_put(huge);
	CHECK_PANICS("buddy", buddy_free(huge));
	buddy_free(q);
	CHECK(buddy_check());
}

TEST(the_initrd_is_not_freed)
{
	machine_power_on(16 * MIB, 1);
	memmap_init();
	CHECK_EQ(memmap_add(0, 16 * MIB, MEMMAP_USABLE), 0);
	CHECK_EQ(memmap_reserve(4 * MIB, 5 * MIB, MEMMAP_MODULE), 0);
	page_init();
	buddy_init();
	CHECK_PANICS("buddy", buddy_free(pfn_to_page(1024)));
}

TEST(a_write_after_free_is_found)
{
	struct page *p;

	machine_start(32 * MIB, 1);
	p = buddy_alloc(0, MIGRATE_UNMOVABLE, PAGE_KERNEL, 0);
	memset(page_to_virt(p), 0, PAGE_SIZE);
	buddy_free(p);
	CHECK_EQ(*(u8 *)page_to_virt(p), 0x6b);
	CHECK_PANICS("poison", ((char *)page_to_virt(p))[4000] = 1;
		     buddy_alloc(0, MIGRATE_UNMOVABLE, PAGE_TABLE, 0));
	CHECK(buddy_alloc(0, MIGRATE_UNMOVABLE, PAGE_TABLE, 0) == p);
}

/* ---- the checker: each rule broken on purpose ---- */

static struct page *first_free(unsigned order)
{
	CHECK(dma32->free[order][MIGRATE_MOVABLE].first);
	return pfn_to_page(dma32->free[order][MIGRATE_MOVABLE].first);
}

/* Takes a block off its list and files it elsewhere, as a wrong buddy would. */
static void misfile(struct page *p, struct page *as, unsigned order, unsigned as_order, unsigned mt)
{
	page_list_del(&dma32->free[order][MIGRATE_MOVABLE], p);
	dma32->nr_free[order]--;
	p->flags = 0;
	p->order = 0;
	as->flags = PG_BUDDY;
	as->order = as_order;
	page_list_add(&dma32->free[as_order][mt], as);
	dma32->nr_free[as_order]++;
}

#define CHECK_BREAKS(rule, ...)                                                                    \
	do {                                                                                       \
		struct zone saved = *dma32;                                                        \
		struct pageblock block = *pfn_block(16);                                           \
		static struct page pages[48];                                                      \
		memcpy(pages, pfn_to_page(0), sizeof(pages));                                      \
		CHECK(buddy_check());                                                              \
		__VA_ARGS__;                                                                       \
		CHECK_MSG(!buddy_check(), "not noticed: %s", #__VA_ARGS__);                        \
		CHECK_MSG(machine_said(": " rule ":"), "%s: %s", #__VA_ARGS__, machine_words);     \
		*dma32 = saved;                                                                    \
		*pfn_block(16) = block;                                                            \
		memcpy(pfn_to_page(0), pages, sizeof(pages));                                      \
	} while (0)

TEST(the_checker_names_what_is_broken)
{
	struct page *used;

	start_small(16, 32);
	used = alloc(0); /* free now: 17, 18-19, 20-23, 24-31, 32-47 */

	CHECK_BREAKS("B1", misfile(first_free(1), pfn_to_page(19), 1, 1, MIGRATE_MOVABLE));
	CHECK_BREAKS("B1", dma32->start = 18);
	CHECK_BREAKS("B2", first_free(2)->order = 1);
	CHECK_BREAKS("B2", first_free(2)->flags = 0);
	CHECK_BREAKS("B2", first_free(2)[1].flags = PG_BUDDY);
	CHECK_BREAKS("B2", first_free(2)[3].type = PAGE_ANON);
	CHECK_BREAKS("B2", first_free(2)[1].refcount = 1);
	CHECK_BREAKS("B2", first_free(2)[2].mapcount = 1);
	CHECK_BREAKS("B3", page_list_add(&dma32->free[0][MIGRATE_MOVABLE], used);
		     used->flags = PG_BUDDY; dma32->nr_free[0]++; dma32->free_pages++);
	CHECK_BREAKS("B4", dma32->free_pages++);
	CHECK_BREAKS("B4", dma32->nr_free[3]--);
	CHECK_BREAKS("B4", dma32->free[3][MIGRATE_MOVABLE].count++);
	CHECK_BREAKS("B4", dma32->free[3][MIGRATE_MOVABLE].last = 0);
	CHECK_BREAKS("B4", first_free(3)->prev = 20);
	CHECK_BREAKS("B4", first_free(3)->next = page_to_pfn(first_free(3)));
	CHECK_BREAKS("B4", first_free(3)->next = page_max_pfn + 7);
	CHECK_BREAKS("B4", pfn_block(16)->nr_free--);
	CHECK_BREAKS("B5", used->type = PAGE_FREE);
	CHECK_BREAKS("B5", used->type = PAGE_FREE; used->refcount = 0; used->flags = PG_PCP);
	CHECK_BREAKS("B5", dma32->pcp[3].lists[1].first = 16; dma32->pcp[3].lists[1].count = 1);
	CHECK_BREAKS("B5", dma32->pcp[3].lists[1].count = 1);
	CHECK_BREAKS("B6", misfile(first_free(3), first_free(3), 3, 3, MIGRATE_UNMOVABLE));
	CHECK_BREAKS("B6", pfn_block(16)->migratetype = MIGRATE_UNMOVABLE);
	buddy_free(used);
	CHECK(buddy_check());
}

/*
 * ---- a random run against a model ----
 *
 *   one node     |   DMA32, 32 MiB   |
 *   two nodes    |  0: DMA32, 16 MiB | 1: DMA32, 16 MiB |  4 GiB:  | 1: Normal, 16 MiB |
 *
 * The model numbers pages without the hole below 4 GiB. It knows whose each page is, and how many of each zone are taken.
 */
#define HIGH_PFN    (1ul << (32 - PAGE_SHIFT))
#define LOW_PAGES   8192
#define NODE_PAGES  4096 /* of node 0, if there are two */
#define MODEL_PAGES (LOW_PAGES + 4096)
#define MODEL_CPUS  4

struct held {
	struct page *page;
	unsigned order;
	enum page_type type;
};

static u32 owner[MODEL_PAGES]; /* 0: nobody's; else 1 + index into held */
static struct held held[600];
static u64 model_pages; /* of this machine */
static u64 held_pages, pages_by_type[NR_PAGE_TYPES], held_in[ARRAY_SIZE(zones)];
static u64 wishes_met, wishes_missed; /* pages of a node that was wished for, and of another */
static pfn_t isolated;                /* 4 MiB from here on; 0: none */
static u8 types_before[2];            /* of its pageblocks */
static u64 restored
	[MIGRATE_ISOLATE]; /* so many pageblocks of each type were given back as what they were */

static pfn_t model_pfn(u64 index)
{
	return index < LOW_PAGES ? index : index - LOW_PAGES + HIGH_PFN;
}

static u64 index_of(pfn_t pfn)
{
	return pfn < HIGH_PFN ? pfn : pfn - HIGH_PFN + LOW_PAGES;
}

/* 2^order pages change hands: from nobody to `who`, or back. All of one zone. */
static void model_give(pfn_t pfn, unsigned order, enum page_type type, u32 who)
{
	for (u64 i = 0; i < 1ul << order; i++) {
		u32 *mine = &owner[index_of(pfn + i)];

		CHECK_EQ(*mine, 0);
		CHECK(pfn_zone(pfn + i) == pfn_zone(pfn));
		*mine = who;
	}
	held_pages += 1ul << order;
	pages_by_type[type] += 1ul << order;
	held_in[pfn_zone(pfn) - zones] += 1ul << order;
}

static void model_take_back(pfn_t pfn, unsigned order, enum page_type type, u32 who)
{
	for (u64 i = 0; i < 1ul << order; i++) {
		CHECK_EQ(owner[index_of(pfn + i)], who);
		owner[index_of(pfn + i)] = 0;
	}
	held_pages -= 1ul << order;
	pages_by_type[type] -= 1ul << order;
	held_in[pfn_zone(pfn) - zones] -= 1ul << order;
}

static unsigned random_order(void)
{
	switch (check_below(6)) {
	case 0:
		return HPAGE_PMD_ORDER;
	case 1:
		return check_below(MAX_ORDER + 1);
	default:
		return check_below(3);
	}
}

/* Flags of an allocation; about half of them name a node if there are two. */
static u32 random_flags(void)
{
	static const u32 flags[] = {0, 0, BUDDY_QUIET, BUDDY_RESERVE, BUDDY_DMA32};
	u32 how = flags[check_below(ARRAY_SIZE(flags))];
	unsigned node = check_below(nr_nodes);

	switch (nr_nodes > 1 ? check_below(6) : 0) {
	case 1:
		return how | BUDDY_ON(node);
	case 2:
		return how | BUDDY_ONLY(node);
	case 3:
		return how | BUDDY_ON(node) | BUDDY_AMONG(1u << check_below(2) | 1u << node);
	default:
		return how;
	}
}

/* Has that node, without the help of another, a page for anybody with these flags? */
static bool has_enough(unsigned node, u32 flags)
{
	for_each_zone (z)
		if (z->node == node && !(flags & BUDDY_DMA32 && z->id != ZONE_DMA32) &&
			z->free_pages > z->isolated_pages + z->watermark_high + PCP_BATCH)
			return true;
	return false;
}

/* Where a page was to come from, and whether it might have. `enough`: as it was before. */
static void model_judge(const struct held *h, u32 flags, bool enough)
{
	const struct zone *z = pfn_zone(page_to_pfn(h->page));
	unsigned wish = buddy_wished_node(flags);

	CHECK(!(flags & BUDDY_DMA32) || z->id == ZONE_DMA32);
	CHECK(buddy_allows_node(flags, z->node));
	CHECK(h->order > 0 || !enough || z->node == wish);
	wishes_met += z->node == wish;
	wishes_missed += z->node != wish;
}

static void model_alloc(u64 slot)
{
	static const enum page_type types[] = {
		PAGE_KERNEL, PAGE_TABLE, PAGE_ANON, PAGE_ZERO, PAGE_PINNED};
	struct held *h = &held[slot];
	u32 how = random_flags();
	bool enough = has_enough(buddy_wished_node(how), how);

	h->order = random_order();
	h->type = types[check_below(ARRAY_SIZE(types))];
	if (h->order == HPAGE_PMD_ORDER && check_below(4) > 0)
		h->type = PAGE_ANON_HUGE;
	h->page = buddy_alloc(h->order, check_below(MIGRATE_PCPTYPES), h->type, how);
	if (!h->page) {
		CHECK(h->order > 0 || !enough);
		return;
	}
	CHECK(IS_ALIGNED(page_to_pfn(h->page), 1ul << h->order));
	CHECK_EQ(page_refcount(h->page), 1);
	model_judge(h, how, enough);
	model_give(page_to_pfn(h->page), h->order, h->type, slot + 1);
	for (u64 i = 0; i < 1ul << h->order; i++) {
		/* Isolated ones only from a stack that had them before. */
		CHECK(h->order == 0 || h->order == HPAGE_PMD_ORDER || !isolated ||
			page_to_pfn(h->page) + i - isolated >= 1024);
		CHECK_EQ(pfn_type(page_to_pfn(h->page) + i), h->type);
	}
}

static void model_free(u64 slot)
{
	struct held *h = &held[slot];

	model_take_back(page_to_pfn(h->page), h->order, h->type, slot + 1);
	if (check_below(2))
		page_put(h->page);
	else
		buddy_free(h->page);
	h->page = NULL;
}

/* Some free block by its place, as single pages in as many empty slots. */
static void model_take(void)
{
	pfn_t pfn = model_pfn(1 + check_below(model_pages - 1));
	int order = pfn_free_order(pfn);
	u64 slot = 0;

	if (order < 0 || order > 5)
		return;
	order = buddy_take_free(pfn);
	CHECK(order < 0 || pfn_block(pfn)->migratetype != MIGRATE_ISOLATE);
	for (u64 i = 0; order >= 0 && i < 1ul << order; i++) {
		while (slot < ARRAY_SIZE(held) && held[slot].page)
			slot++;
		if (slot == ARRAY_SIZE(held)) { /* no slot: given back at once */
			page_put(pfn_to_page(pfn + i));
			continue;
		}
		model_give(pfn + i, 0, PAGE_ANON, slot + 1);
		held[slot] = (struct held){pfn_to_page(pfn + i), 0, PAGE_ANON};
	}
}

/* I3: each pageblock is of its former type; two that have become one block are of the first one's. */
static void model_unisolate(void)
{
	buddy_unisolate_range(isolated, isolated + 1024);
	for (unsigned i = 0; i < 2; i++) {
		u8 want = types_before[pfn_free_order(isolated) == MAX_ORDER ? 0 : i];

		CHECK_EQ(pfn_block(isolated + i * 512)->migratetype, want);
		restored[want]++;
	}
	isolated = 0;
}

/* 4 MiB somewhere: apart, or back. The model only remembers where, and what they were. */
static void model_isolate(void)
{
	if (isolated) {
		model_unisolate();
		return;
	}
	isolated = model_pfn(1024 * (1 + check_below(model_pages / 1024 - 1)));
	for (unsigned i = 0; i < 2; i++)
		types_before[i] = pfn_block(isolated + i * 512)->migratetype;
	CHECK_EQ(buddy_isolate_range(isolated, isolated + 1024), 0);
}

static void model_compare(u64 total)
{
	u64 counts[NR_PAGE_TYPES];

	CHECK_EQ(buddy_free_pages() + held_pages, total);
	for_each_zone (z)
		CHECK_EQ(zone_all_free_pages(z) + held_in[z - zones], z->managed_pages);
	page_count_types(counts);
	CHECK_EQ(counts[PAGE_FREE], buddy_free_pages());
	for (unsigned t = PAGE_TABLE; t < PAGE_MODULE; t++)
		CHECK_EQ(counts[t], pages_by_type[t]);
	CHECK_MSG(buddy_check(), "%s", machine_words);
}

static void model_run(void)
{
	u64 total = buddy_free_pages(), whole[ARRAY_SIZE(zones)];

	for_each_zone (z)
		whole[z - zones] = z->nr_free[MAX_ORDER];
	for (u64 step = 0; step < check_rounds(8000); step++) {
		u64 slot = check_below(ARRAY_SIZE(held));

		machine_cpu = check_below(MODEL_CPUS);
		/* Waves: mostly taking, then mostly giving, so that memory runs out and comes back. */
		if (!held[slot].page && check_below(4) > (step / 1500 & 1) * 2)
			model_alloc(slot);
		else if (held[slot].page)
			model_free(slot);
		if (check_below(50) == 0)
			buddy_drain_pcp();
		if (check_below(20) == 0)
			model_take();
		if (check_below(100) == 0)
			model_isolate();
		model_compare(total);
	}
	if (isolated)
		model_isolate();
	for (u64 slot = 0; slot < ARRAY_SIZE(held); slot++)
		if (held[slot].page)
			model_free(slot);
	for (machine_cpu = 0; machine_cpu < MODEL_CPUS; machine_cpu++)
		buddy_drain_pcp();
	machine_cpu = 0;
	model_compare(total);
	for_each_zone (z) { /* everything has grown together again */
		CHECK_EQ(z->free_pages, z->managed_pages);
		CHECK_EQ(z->nr_free[MAX_ORDER], whole[z - zones]);
	}
}

TEST(random_run_against_a_model)
{
	model_pages = LOW_PAGES;
	machine_start(LOW_PAGES * PAGE_SIZE, MODEL_CPUS);
	model_run();
	for (unsigned t = 0; t < MIGRATE_ISOLATE; t++)
		CHECK(restored[t] > 0);
	CHECK_EQ(wishes_missed, 0);
	/* The first and last 4 MiB were never whole. */
	CHECK_EQ(dma32->nr_free[MAX_ORDER], 6);
}

/* CPUs 0 and 1 are node 0's, 2 and 3 node 1's. */
static void start_two_nodes(void)
{
	static const struct acpi_numa numa = {
		.nr_nodes = 2,
		.nr_ranges = 3,
		.ranges = {{0, NODE_PAGES * PAGE_SIZE, 0},
			{NODE_PAGES * PAGE_SIZE, LOW_PAGES * PAGE_SIZE, 1},
			{4096 * MIB, 4096 * MIB + 16 * MIB, 1}},
		.distance = {{10, 20}, {20, 10}},
	};

	machine_power_on(4096 * MIB + 16 * MIB, MODEL_CPUS);
	for (unsigned i = 0; i < MODEL_CPUS; i++)
		cpus[i]->node = i / 2;
	memmap_init();
	CHECK_EQ(memmap_add(0, LOW_PAGES * PAGE_SIZE, MEMMAP_USABLE), 0);
	CHECK_EQ(memmap_add(4096 * MIB, 4096 * MIB + 16 * MIB, MEMMAP_USABLE), 0);
	page_init();
	node_init(&numa);
	lru_init();
	buddy_init();
	for (unsigned i = 0; i < MODEL_CPUS; i++)
		buddy_init_cpu(cpus[i]);
}

/* The same with two nodes and three zones: each page from where it was wished for, or allowed to come from. */
TEST(random_run_with_two_nodes)
{
	model_pages = MODEL_PAGES;
	start_two_nodes();
	CHECK_EQ(zonelists[1].zones[0], 1 * NR_ZONES + ZONE_NORMAL);
	model_run();
	CHECK(wishes_met > 4 * wishes_missed);
	CHECK(wishes_missed > 0);
}

/* ---- four CPUs at once ---- */

static void *hammer(void *arg)
{
	struct page *mine[64] = {NULL};
	u64 random = (u64)arg * 7919 + check_seed();

	machine_cpu = (u64)arg;
	for (u64 i = 0; i < 60000; i++) {
		unsigned order;
		struct page **slot;

		random = random * 6364136223846793005ul + 1442695040888963407ul;
		slot = &mine[random >> 33 & 63];
		order = (random >> 40 & 31) == 0 ? 9 : (random >> 45 & 3) == 0;
		if (*slot) {
			CHECK_EQ((*slot)->private, 1 + (u64)arg);
			page_put(*slot);
			*slot = NULL;
			continue;
		}
		*slot = buddy_alloc(
			order, random >> 50 & 1, order == 9 ? PAGE_ANON_HUGE : PAGE_ANON, 0);
		if (*slot)
			(*slot)->private = 1 + (u64)arg;
	}
	for (u64 i = 0; i < 64; i++)
		if (mine[i])
			page_put(mine[i]);
	buddy_drain_pcp();
	return NULL;
}

TEST(four_cpus_at_once)
{
	pthread_t threads[4];

	machine_start(64 * MIB, 4);
	for (u64 i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, hammer, (void *)i), 0);
	for (u64 i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(dma32->free_pages, dma32->managed_pages);
	CHECK_EQ(vmstat_read(VM_pgfree), vmstat_read(VM_pgalloc_dma32));
	CHECK(buddy_check());
}

/*
 * ---- every state of 16 frames ----
 *
 * A region of order k is either one used block, or two regions of order k - 1; two halves that are
 * free are one free block. So there are s(k) = s(k-1)^2 + 1 states, s(0) = 2 (used, free): 2, 5,
 * 26, 677 and 458,330 for k = 4. A state is a number below s(4):
 *
 *   number(used) = 0      number(halves l, r) = 1 + l * s(k-1) + r      (free: as two free halves)
 *
 * From each state every allocation and every free is done with the real code, and the state it
 * leads to is compared with what the model says. List order is not part of a state: blocks stand as
 * the building left them.
 */
#define SMALL       16
#define SMALL_ORDER 4

static const u32 nr_states[SMALL_ORDER + 1] = {2, 5, 26, 677, 458330};

struct leaf {
	u8 start, order, used;
};
struct shape {
	struct leaf leaves[SMALL];
	unsigned count;
};

static u32 number_of_free(unsigned order)
{
	return order == 0 ? 1 : 1 + number_of_free(order - 1) * (nr_states[order - 1] + 1);
}

static void decode(u32 number, unsigned order, u8 start, struct shape *shape)
{
	if (number == 0 || number == number_of_free(order)) {
		shape->leaves[shape->count++] = (struct leaf){start, order, number == 0};
		return;
	}
	number--;
	decode(number / nr_states[order - 1], order - 1, start, shape);
	decode(number % nr_states[order - 1], order - 1, start + (1 << (order - 1)), shape);
}

/* map[i]: 0 free; else 1 + order of the used block that starts there; 0xff inside one. */
static u32 encode(const u8 *map, unsigned order, u8 start)
{
	u8 half = 1 << order >> 1;

	if (map[start] == order + 1)
		return 0;
	if (order == 0)
		return 1;
	return 1 + encode(map, order - 1, start) * nr_states[order - 1] +
	       encode(map, order - 1, start + half);
}

static u32 encode_machine(void)
{
	u8 map[SMALL];

	for (unsigned i = 0; i < SMALL; i++) {
		const struct page *p = pfn_to_page(SMALL + i);

		map[i] = p->type == PAGE_FREE ? 0 : p->refcount ? 1 + p->order : 0xff;
	}
	return encode(map, SMALL_ORDER, 0);
}

static u32 encode_shape(const struct shape *shape)
{
	u8 map[SMALL] = {0};

	for (unsigned i = 0; i < shape->count; i++)
		if (shape->leaves[i].used)
			map[shape->leaves[i].start] = 1 + shape->leaves[i].order;
	return encode(map, SMALL_ORDER, 0);
}

/* What a step can change, to come back to a state quickly. */
struct snapshot {
	char zone[offsetof(struct zone, pcp)];
	struct page pages[SMALL];
	struct pageblock block;
};

static void snapshot_take(struct snapshot *s)
{
	memcpy(s->zone, dma32, sizeof(s->zone));
	memcpy(s->pages, pfn_to_page(SMALL), sizeof(s->pages));
	s->block = *pfn_block(SMALL);
}

static void snapshot_restore(const struct snapshot *s)
{
	memcpy(dma32, s->zone, sizeof(s->zone));
	memcpy(pfn_to_page(SMALL), s->pages, sizeof(s->pages));
	*pfn_block(SMALL) = s->block;
}

/* From all free: allocating the leaves from left to right gives just these blocks; then free some. */
static void build(const struct shape *shape)
{
	for (unsigned i = 0; i < shape->count; i++)
		CHECK_EQ(pfn_of(alloc(shape->leaves[i].order)), SMALL + shape->leaves[i].start);
	for (unsigned i = 0; i < shape->count; i++)
		if (!shape->leaves[i].used)
			buddy_free(pfn_to_page(SMALL + shape->leaves[i].start));
}

static u8 *seen;
static u32 *queue;
static u64 queued;

static void reach(u32 state)
{
	CHECK(state < nr_states[SMALL_ORDER]);
	CHECK_EQ(encode_machine(), state);
	CHECK_MSG(buddy_check(), "state %u: %s", state, machine_words);
	if (seen[state])
		return;
	seen[state] = 1;
	queue[queued++] = state;
}

/* The smallest free block that is large enough, cut from the left; or NULL when there is none. */
static void step_alloc(const struct shape *from, unsigned order)
{
	unsigned best = SMALL_ORDER + 1;
	struct shape to = *from;
	struct page *p = alloc(order);

	for (unsigned i = 0; i < from->count; i++)
		if (!from->leaves[i].used && from->leaves[i].order >= order)
			best = MIN(best, from->leaves[i].order);
	CHECK_EQ(!p, best > SMALL_ORDER);
	if (!p)
		return reach(encode_shape(from));
	for (unsigned i = 0; i < from->count; i++) {
		struct leaf *leaf = &to.leaves[i];

		if (!leaf->used && leaf->order == best && SMALL + leaf->start == page_to_pfn(p)) {
			leaf->used = 1;
			leaf->order = order;
			return reach(encode_shape(&to));
		}
	}
	check_fail(__FILE__, __LINE__, "order %u came from a wrong block", order);
}

static void step_free(const struct shape *from, unsigned leaf)
{
	struct shape to = *from;

	to.leaves[leaf].used = 0;
	buddy_free(pfn_to_page(SMALL + from->leaves[leaf].start));
	reach(encode_shape(&to));
}

/* A free block taken by its place: single used pages. */
static void step_take(const struct shape *from, unsigned leaf)
{
	u8 start = from->leaves[leaf].start;
	struct shape to = *from;
	u8 map[SMALL] = {0};

	CHECK_EQ(buddy_take_free(SMALL + start), from->leaves[leaf].order);
	for (unsigned i = 0; i < from->count; i++)
		if (to.leaves[i].used)
			map[to.leaves[i].start] = 1 + to.leaves[i].order;
	for (unsigned i = 0; i < 1u << from->leaves[leaf].order; i++)
		map[start + i] = 1;
	reach(encode(map, SMALL_ORDER, 0));
}

TEST(every_state_of_16_frames)
{
	struct snapshot empty, here;
	u64 steps = 0;

	start_small(SMALL, SMALL);
	seen = calloc(nr_states[SMALL_ORDER], 1);
	queue = calloc(nr_states[SMALL_ORDER], sizeof(*queue));
	snapshot_take(&empty);
	reach(number_of_free(SMALL_ORDER));
	for (u64 next = 0; next < queued; next++) {
		struct shape shape = {.count = 0};

		decode(queue[next], SMALL_ORDER, 0, &shape);
		snapshot_restore(&empty);
		build(&shape);
		snapshot_take(&here);
		for (unsigned order = 0; order <= SMALL_ORDER; order++, steps++) {
			snapshot_restore(&here);
			step_alloc(&shape, order);
		}
		for (unsigned i = 0; i < shape.count; i++) {
			snapshot_restore(&here);
			if (shape.leaves[i].used)
				step_free(&shape, i);
			else
				step_take(&shape, i);
			steps++;
		}
	}
	printf("buddy of 16 frames: %llu states, %llu steps\n", (unsigned long long)queued,
		(unsigned long long)steps);
	CHECK_EQ(queued, nr_states[SMALL_ORDER]);
	free(seen);
	free(queue);
}
