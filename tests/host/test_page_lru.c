/*
 * test_page_lru.c - mm/page.c and mm/lru.c: first types, holes, lists by age.
 */
#include <string.h>
#include <sys/mman.h>

#include "check.h"
#include "fake_machine.h"
#include "mm/buddy.h"
#include "mm/lru.h"
#include "mm/memmap.h"
#include "mm/page.h"
#include "vmstat.h"

#define MIB (1ul << 20)
#define GIB (1ul << 30)

/* ---- page.c ---- */

TEST(frames_are_typed_from_the_map)
{
	u64 counts[NR_PAGE_TYPES], sum = 0;

	machine_power_on(64 * MIB, 1);
	memmap_init();
	CHECK_EQ(memmap_add(0, 64 * MIB, MEMMAP_USABLE), 0);
	CHECK_EQ(memmap_add(60 * MIB, 61 * MIB, MEMMAP_ACPI), 0);
	CHECK_EQ(memmap_reserve(1 * MIB, 3 * MIB, MEMMAP_KERNEL), 0);
	CHECK_EQ(memmap_reserve(8 * MIB, 9 * MIB, MEMMAP_MODULE), 0);
	page_init();
	buddy_init();
	CHECK(!pfn_valid(0));
	CHECK_EQ(pfn_type(256), PAGE_KERNEL);
	CHECK_EQ(pfn_type(8 * 256), PAGE_MODULE);
	CHECK_EQ(pfn_type(9 * 256), PAGE_FREE);
	CHECK(!pfn_valid(60 * 256));
	CHECK(!pfn_valid(64 * 256));
	CHECK_EQ(pfn_type(64 * 256 - 1), PAGE_KERNEL); /* the pageblock records */
	CHECK(pfn_block(0) + 31 == pfn_block(64 * 256 - 1));
	page_count_types(counts);
	for (unsigned t = 0; t < NR_PAGE_TYPES; t++)
		sum += counts[t];
	CHECK_EQ(sum, page_max_pfn);
	CHECK_EQ(counts[PAGE_RESERVED], 2 * 256);
	CHECK_EQ(counts[PAGE_MODULE], 256);
	CHECK_EQ(counts[PAGE_KERNEL], 2 * 256 + 1);
	CHECK_EQ(counts[PAGE_FREE], buddy_free_pages());
	CHECK_EQ(zones[ZONE_DMA32].present_pages, 62 * 256);
	CHECK_EQ(zones[ZONE_DMA32].managed_pages, buddy_free_pages());
	CHECK(buddy_check());
}

/* As pgtable_kernel_init() maps it: what describes a hole can be read, never written. */
TEST(descriptors_of_a_hole_are_only_read)
{
	u64 counts[NR_PAGE_TYPES];
	u64 first = (3 * GIB >> PAGE_SHIFT) * sizeof(struct page);
	u64 last = (4 * GIB >> PAGE_SHIFT) * sizeof(struct page);

	machine_power_on(5 * GIB, 1);
	CHECK_EQ(mprotect((char *)machine_pages + first, last - first, PROT_READ), 0);
	memmap_init();
	CHECK_EQ(memmap_add(4 * GIB, 5 * GIB, MEMMAP_USABLE), 0);
	CHECK_EQ(memmap_add(0, 3 * GIB, MEMMAP_USABLE), 0);
	page_init();
	buddy_init();
	CHECK_EQ(page_max_pfn, 5 * GIB >> PAGE_SHIFT);
	CHECK(!pfn_valid(3 * GIB >> PAGE_SHIFT));
	CHECK(!pfn_valid((4 * GIB >> PAGE_SHIFT) - 1));
	CHECK(pfn_valid(4 * GIB >> PAGE_SHIFT));
	page_count_types(counts);
	CHECK_EQ(counts[PAGE_RESERVED], (GIB + MIB) >> PAGE_SHIFT);
	CHECK_EQ(counts[PAGE_FREE], buddy_free_pages());
	CHECK_EQ(zones[ZONE_NORMAL].managed_pages, GIB >> PAGE_SHIFT);
	CHECK(buddy_check());
	/* Normal first, and DMA32 when it is asked for. */
	CHECK(page_to_phys(buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, 0)) >= 4 * GIB);
	CHECK(page_to_phys(buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, BUDDY_DMA32)) < 4 * GIB);
	CHECK(page_to_phys(buddy_alloc(10, MIGRATE_MOVABLE, PAGE_PINNED, BUDDY_DMA32)) < 4 * GIB);
	CHECK_EQ(vmstat_read(VM_pgalloc_normal), 1);
	CHECK_EQ(vmstat_read(VM_pgalloc_dma32), 1 + 1024);
}

TEST(when_normal_is_full_dma32_serves)
{
	struct page *p;

	machine_power_on(4 * GIB + 4 * MIB, 1);
	memmap_init();
	CHECK_EQ(memmap_add(0, 16 * MIB, MEMMAP_USABLE), 0);
	CHECK_EQ(memmap_add(4 * GIB, 4 * GIB + 4 * MIB, MEMMAP_USABLE), 0);
	page_init();
	buddy_init();
	do {
		p = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, 0);
		CHECK(p);
	} while (page_to_phys(p) >= 4 * GIB);
	CHECK(vmstat_read(VM_pgalloc_normal) >=
		zones[ZONE_NORMAL].managed_pages - zones[ZONE_NORMAL].watermark_min);
	CHECK_EQ(vmstat_read(VM_pgalloc_dma32), 1);
	CHECK(buddy_check());
}

TEST(every_type_has_a_name)
{
	for (unsigned t = 0; t < NR_PAGE_TYPES; t++)
		CHECK(strlen(page_type_name(t)) > 2);
	CHECK_STR(page_type_name(NR_PAGE_TYPES), "?");
}

/* ---- lru.c ---- */

static struct page *new_anon(void)
{
	return buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, 0);
}

static struct page *new_huge(void)
{
	return buddy_alloc(HPAGE_PMD_ORDER, MIGRATE_MOVABLE, PAGE_ANON_HUGE, 0);
}

TEST(a_huge_page_counts_512)
{
	struct page *small, *huge;

	machine_start(32 * MIB, 1);
	small = new_anon();
	huge = new_huge();
	lru_add_active(small);
	lru_add_active(huge);
	CHECK_EQ(lru.active.count, 2);
	CHECK_EQ(vmstat_read(VM_nr_active_anon), 513);
	CHECK(lru_check());
	page_put(huge); /* the last reference takes it off */
	CHECK_EQ(vmstat_read(VM_nr_active_anon), 1);
	CHECK(lru_check());
	page_put(small);
	CHECK_EQ(vmstat_read(VM_nr_active_anon), 0);
	CHECK(lru_check() && buddy_check());
}

TEST(isolated_once_and_put_back_where_it_was)
{
	struct page *p, *lazy;

	machine_start(32 * MIB, 1);
	p = new_anon();
	lazy = new_anon();
	CHECK(!lru_isolate(p)); /* on no list yet */
	lru_add_active(p);
	lru_add_active(lazy);
	lru_deactivate_lazyfree(lazy);
	lru_deactivate_lazyfree(lazy); /* the second time changes nothing */
	CHECK_EQ(vmstat_read(VM_pglazyfree), 1);
	CHECK_EQ(lru.inactive.last, page_to_pfn(lazy));
	CHECK(lru_isolate(p) && lru_isolate(lazy));
	CHECK(!lru_isolate(p));
	CHECK_EQ(vmstat_read(VM_nr_active_anon) + vmstat_read(VM_nr_inactive_anon), 0);
	lru_putback(p);
	lru_putback(lazy);
	CHECK_EQ(lru.active.first, page_to_pfn(p));
	CHECK_EQ(lru.inactive.first, page_to_pfn(lazy));
	CHECK(lazy->flags & PG_LAZYFREE);
	CHECK(lru_check());
	CHECK(lru_isolate(p));
	page_put(p); /* freed while isolated */
	page_put(lazy);
	CHECK_EQ(vmstat_read(VM_nr_inactive_anon), 0);
	CHECK(lru_check() && buddy_check());
	CHECK_PANICS("assert", lru_add_active(p = new_anon()); lru_putback(p));
}

TEST(the_queue_hangs_on_the_second_page)
{
	struct page *a, *b;

	machine_start(32 * MIB, 1);
	a = new_huge();
	b = new_huge();
	lru_add_active(a);
	lru_add_active(b);
	CHECK(lru_deferred_add(a));
	CHECK(!lru_deferred_add(a));
	CHECK(lru_deferred_add(b));
	CHECK_EQ(lru.deferred.first, page_to_pfn(a) + 1);
	CHECK_EQ(lru.active.count, 2); /* on both at once */
	CHECK(lru_check());
	CHECK(lru_deferred_del(a));
	CHECK(!lru_deferred_del(a));
	page_put(b); /* leaves the queue by itself */
	CHECK_EQ(lru.deferred.count, 0);
	CHECK(lru_check() && buddy_check());
}

TEST(the_checker_names_what_is_broken)
{
	struct page *p, *huge;

	machine_start(32 * MIB, 1);
	p = new_anon();
	huge = new_huge();
	lru_add_active(p);
	lru_add_active(huge);
	lru_deferred_add(huge);
	CHECK(lru_check());

	p->flags &= ~PG_ACTIVE;
	CHECK(!lru_check() && machine_said("L1"));
	p->flags |= PG_ACTIVE;
	p[1].flags = PG_LRU; /* says it is on a list */
	CHECK(!lru_check() && machine_said("L1"));
	p[1].flags = 0;
	huge->flags &= ~PG_DEFERRED;
	CHECK(!lru_check() && machine_said("L1"));
	huge->flags |= PG_DEFERRED;

	lru.active.count++;
	CHECK(!lru_check() && machine_said("L2"));
	lru.active.count--;
	lru.deferred.count++;
	CHECK(!lru_check() && machine_said("L2"));
	lru.deferred.count--;
	vmstat_inc(VM_nr_active_anon);
	CHECK(!lru_check() && machine_said("L2"));
	vmstat_add(VM_nr_active_anon, -1);
	vmstat_inc(VM_nr_inactive_anon);
	CHECK(!lru_check() && machine_said("L2"));
	vmstat_add(VM_nr_inactive_anon, -1);

	p->type = PAGE_TABLE;
	CHECK(!lru_check() && machine_said("L3"));
	p->type = PAGE_ANON;
	CHECK(lru_check());
}
