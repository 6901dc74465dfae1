/*
 * page.c - one descriptor for each page frame, one record for each 2 MiB block.             floor 2
 *
 * Gives every frame its first type and counts frames by type. What a descriptor means, and who may
 * change it, stands in page.h; which frames are free is buddy.c's knowledge.
 *
 * IDEA
 *     physical    | 0-1M | image | usable       | initrd | usable |  hole  | usable above 4 GiB |
 *     page_array  |  R   |   K   | F F F F F F  |   M    |  F F   | R R R  | F F F F F F F F    |
 *     pageblocks  |     one record for each 512 frames, holes included: 16 GiB in 64 KiB        |
 *
 *     R reserved, K kernel, M module, F free (typed by buddy_add_range() when it takes them)
 *
 *   The array is indexed by frame number, so pfn and descriptor lead to each other by one shift. A
 *   hole's part of it is one frame of zeroes, mapped again and again: RESERVED is 0. So pfn_valid()
 *   may read at any pfn below page_max_pfn, and holes cost two frames in all, not 32 bytes for each
 *   frame they lack.
 *
 * INVARIANTS (the ledger adds them up: page_count_types() must give the number of frames of RAM)
 *   P1  a frame has exactly one type; a tail of a huge page has its head's, derived from the
 *       block's record
 *   P2  frames that are no RAM are RESERVED for ever, and nothing is written to their descriptors
 *   P3  frame 0 is RESERVED: pfn 0 ends every list
 *
 * LOCKS     none here: page_init() runs on one CPU; page_count_types() reads while nobody else
 *           runs.
 * LINUX     mm/mm_init.c, mm/sparse-vmemmap.c: sections of 128 MiB, each with its own part of the
 *           array; 64 bytes for each frame, and flags in place of types.   docs/mm/page.md
 */
#include "mm/memmap.h"
#include "mm/page.h"
#include "panic.h"
#include "x86/layout.h"

struct page *page_array;
struct pageblock *pageblocks;
u64 page_memmap_pages; /* counted by whoever makes them */
pfn_t page_max_pfn;

/* Linux starts every block as movable: whoever needs another kind takes a whole block over. */
static void pageblocks_init(void)
{
	u64 count = ALIGN_UP(page_max_pfn, HPAGE_PMD_NR) >> HPAGE_PMD_ORDER;
	paddr_t pa = memmap_early_alloc(count * sizeof(struct pageblock), PAGE_SIZE);

	if (!pa)
		panic("memory", "no room for the records of %lu pageblocks", (unsigned long)count);
	pageblocks = phys_to_virt(pa);
	page_memmap_pages += ALIGN_UP(count * sizeof(struct pageblock), PAGE_SIZE) >> PAGE_SHIFT;
	for (u64 i = 0; i < count; i++)
		pageblocks[i].migratetype = MIGRATE_MOVABLE;
}

static void page_type_range(pfn_t start, pfn_t end, enum page_type type)
{
	for (pfn_t pfn = MAX(start, 1); pfn < end; pfn++) {
		struct page *p = pfn_to_page(pfn);

		p->type = type;
		p->refcount = 1;
	}
}

/*
 * page_init - type every frame from memmap.
 *
 *   locks    none: start-up, one CPU. The array is mapped and zero (pgtable_kernel_init)
 *   after    usable frames are RESERVED until buddy_init() takes them; no more memmap_early_alloc()
 *   Linux    memmap_init_range, reserve_bootmem_region
 */
void page_init(void)
{
	page_array = (struct page *)PAGE_ARRAY_BASE;
	page_max_pfn = memmap_top() >> PAGE_SHIFT;
	pageblocks_init();
	for (unsigned i = 0; i < memmap_count; i++) {
		const struct memmap_range *r = &memmap_ranges[i];
		pfn_t start = r->start >> PAGE_SHIFT, end = r->end >> PAGE_SHIFT;

		if (r->type == MEMMAP_KERNEL || r->type == MEMMAP_EARLY)
			page_type_range(start, end, PAGE_KERNEL);
		if (r->type == MEMMAP_MODULE)
			page_type_range(start, end, PAGE_MODULE);
	}
}

/* page_type_name - the word that ledger, page and memmap print. */
const char *page_type_name(enum page_type t)
{
	static const char *const names[NR_PAGE_TYPES] = {
		[PAGE_RESERVED] = "reserved",
		[PAGE_FREE] = "free",
		[PAGE_KERNEL] = "kernel",
		[PAGE_TABLE] = "table",
		[PAGE_ANON] = "anon",
		[PAGE_ANON_HUGE] = "anon-huge",
		[PAGE_ZERO] = "zero",
		[PAGE_PINNED] = "pinned",
		[PAGE_MODULE] = "module",
	};

	return t < NR_PAGE_TYPES ? names[t] : "?";
}

/*
 * page_count_types - frames per type, by reading every descriptor; the sum is page_max_pfn.
 *
 *   locks    none; exact when no other CPU allocates or frees
 *   Linux    nothing like it: counters are believed
 */
void page_count_types(u64 counts[NR_PAGE_TYPES])
{
	for (unsigned t = 0; t < NR_PAGE_TYPES; t++)
		counts[t] = 0;
	for (pfn_t pfn = 0; pfn < page_max_pfn;) {
		u64 frames = pfn_in_huge(pfn) ? HPAGE_PMD_NR : 1;

		counts[pfn_type(pfn)] += frames;
		pfn += frames;
	}
}
