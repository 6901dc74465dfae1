/*
 * buddy_init.c - where the allocator's first pages come from.                               floor 2
 *
 * Hands the memory that the firmware says is usable over to the zones, once, at start-up. It allocates nothing and
 * frees nothing afterwards.
 *
 * IDEA
 *       memmap    | reserved |       usable       | reserved |        usable        |
 *       zones     |           DMA32 of node 0           |       Normal of node 0   ...
 *       handed over          |--- one range ------|          |--|---- two, cut where the zone changes
 *       as blocks             0 1 3 10 10 10 .. 2 0            ...  the largest that fit, by order
 *
 * INVARIANTS  B1 to B4 of buddy_check.c hold from the first range on; no frame is handed over twice (panics)
 * LOCKS       one CPU runs; zone.lock only because the lists ask for it
 * LINUX       mm/memblock.c: memblock_free_all; mm/page_alloc.c: init_per_zone_wmark_min      docs/mm/buddy.md
 */
#include "mm/block.h"
#include "mm/buddy.h"
#include "mm/memmap.h"
#include "panic.h"
#include "x86/cpu.h"

/* The part of a range that lies in z: typed FREE and filed in the largest blocks that fit. */
static void zone_add_range(struct zone *z, pfn_t start, pfn_t end)
{
	u64 order;

	z->start = z->managed_pages ? MIN(z->start, start) : start;
	z->end = MAX(z->end, end);
	z->present_pages += end - start;
	z->managed_pages += end - start;
	for (pfn_t pfn = start; pfn < end; pfn++) {
		struct page *p = pfn_to_page(pfn);

		if (p->type != PAGE_RESERVED || pfn == 0)
			panic("buddy", "pfn %#lx handed over twice", (unsigned long)pfn);
		p->type = PAGE_FREE;
	}
	spin_lock(&z->lock);
	for (pfn_t pfn = start; pfn < end; pfn += 1ul << order) {
		order = MIN(__builtin_ctzl(pfn), 63 - __builtin_clzl(end - pfn));
		order = MIN(order, MAX_ORDER);
		block_give(z, pfn, order);
	}
	spin_unlock(&z->lock);
}

/* How far [start, end) lies in the zone of its first frame. Zones change at multiples of 4 MiB. */
static pfn_t zone_part_end(pfn_t start, pfn_t end)
{
	pfn_t pfn = ALIGN_UP(start + 1, 1ul << MAX_ORDER);

	while (pfn < end && pfn_zone_first(pfn) == pfn_zone_first(start))
		pfn += 1ul << MAX_ORDER;
	return MIN(pfn, end);
}

/*
 * buddy_init_cpu - which zone this CPU asks first: its node's. c->node is known.
 *
 *   locks    none: before it runs, or by itself with empty lists
 */
void buddy_init_cpu(struct cpu *c)
{
	const struct zonelist *list = &zonelists[c->node];

	c->zone = &zones[list->nr ? list->zones[0] : 0];
	c->pcp = &c->zone->pcp[c->id];
}

/*
 * buddy_add_range - hand the frames [start, end) over; they are RESERVED until now.
 *
 *   locks    takes zone.lock; start-up only, pages and watermarks do not follow by themselves
 *   Linux    memblock_free_pages
 */
void buddy_add_range(pfn_t start, pfn_t end)
{
	pfn_t part;

	zone_claim_frames(start, end);
	for (; start < end; start = part) {
		part = zone_part_end(start, end);
		zone_add_range(pfn_zone(start), start, part);
	}
	zone_init_lists();
	for (unsigned i = 0; i < MAX_CPUS; i++)
		if (cpus[i])
			buddy_init_cpu(cpus[i]);
}

/* RAM in use for good counts as present. It was typed by page_init(), or it came too late. */
static void zone_count_used(const struct memmap_range *r)
{
	pfn_t start = r->start >> PAGE_SHIFT, end = r->end >> PAGE_SHIFT, part;

	ASSERT(r->end <= MEMMAP_LOW || pfn_to_page(MAX(start, 1))->type != PAGE_RESERVED);
	for (; start < end; start = part) {
		part = zone_part_end(start, end);
		pfn_zone_first(start)->present_pages += part - start;
	}
}

/*
 * buddy_init - file every usable frame above the first MiB, set watermarks and per-CPU lists.
 *
 *   locks    none: start-up, one CPU; after page_init()
 *   Linux    memblock_free_all, init_per_zone_wmark_min
 */
void buddy_init(void)
{
	zone_init();
	for (unsigned i = 0; i < MAX_CPUS; i++)
		if (cpus[i])
			buddy_init_cpu(cpus[i]);
	for (unsigned i = 0; i < memmap_count; i++) {
		const struct memmap_range *r = &memmap_ranges[i];
		paddr_t start = MAX(r->start, MEMMAP_LOW);

		if (r->type == MEMMAP_USABLE && start < r->end)
			buddy_add_range(start >> PAGE_SHIFT, r->end >> PAGE_SHIFT);
		else if (memmap_is_ram(r->type) && r->type != MEMMAP_USABLE)
			zone_count_used(r);
	}
	zone_init_watermarks();
	/* A small machine cannot leave 186 pages of each kind with each CPU. */
	buddy_set_pcp(PCP_BATCH, MIN(MAX(zone_managed_pages() / 256, 2 * PCP_BATCH), PCP_HIGH));
}
