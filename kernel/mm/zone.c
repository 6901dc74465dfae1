/*
 * zone.c - zones: which frame lies in which, watermarks, how broken up they are.            floor 2
 *
 * What can be said about a zone from its numbers. The lists themselves are block.c's.
 *
 * IDEA
 *   The last pages of a zone are worth more than others: freeing memory can need memory.
 *
 *      0 ---------- min ----------- low ------------ high ------->  free pages
 *      BUDDY_RESERVE |  ordinary     |  BUDDY_QUIET too
 *
 *   A request of order 9 can fail for two reasons, and only one is cured by compaction:
 *
 *      free pages            blocks        extfrag index   unusable index
 *      none                  none          to 0            1000       too little: free something
 *      many, all of order 0  many          to 1000         1000       too broken up: compact
 *      some of order 9       some          -1000           < 1000     nothing is wrong
 *
 * INVARIANTS  Z1  min <= low <= high in every zone; the sum of min is min_free_kbytes, rounded down
 *             Z2  min_free_kbytes is never below what somebody asked for by name
 *             (tests/host/test_buddy.c)
 * LOCKS       none: readers see old or new marks, and counts that may be a moment old
 * LINUX       mm/page_alloc.c: setup_per_zone_wmarks, zone_watermark_ok; mm/vmstat.c: fragmentation
 *             index; mm/khugepaged.c: set_recommended_min_free_kbytes. It adds lowmem reserves and
 *             marks that rise after a type had to be stolen.   docs/mm/buddy.md
 */
#include "lib/string.h"
#include "mm/zone.h"

#define DMA32_END          (1ul << (32 - PAGE_SHIFT)) /* first pfn of ZONE_NORMAL */
#define KB_TO_PAGES(kb)    ((kb) >> (PAGE_SHIFT - 10))
#define PAGES_TO_KB(pages) ((pages) << (PAGE_SHIFT - 10))

struct zone zones[MAX_NODES * NR_ZONES];
struct zonelist zonelists[MAX_NODES];

_Static_assert(NODE_ALIGN_PAGES == 1ul << MAX_ORDER, "a block lies in one zone");

u64 buddy_min_free_kbytes;
static u64 user_min_free_kbytes; /* 0: nobody has said anything */

/* ---- which zone ---- */

/* zone_init - every zone empty, with its name and its number. Start-up. */
void zone_init(void)
{
	static const char *const names[NR_ZONES] = {
		[ZONE_DMA32] = "DMA32",
		[ZONE_NORMAL] = "Normal",
	};

	memset(zones, 0, sizeof(zones));
	for (unsigned i = 0; i < ARRAY_SIZE(zones); i++) {
		zones[i].id = i % NR_ZONES;
		zones[i].node = i / NR_ZONES;
		zones[i].name = names[zones[i].id];
		spin_init(&zones[i].lock, LOCK_ZONE, "zone");
	}
}

/*
 * pfn_zone_first - the zone of a frame by its address; pfn_zone() reads what is written down.
 *
 *   Linux    memmap_init_range
 */
struct zone *pfn_zone_first(pfn_t pfn)
{
	unsigned node = nr_nodes > 1 ? pfn_node(pfn) : 0;

	return node_zone(node, pfn < DMA32_END ? ZONE_DMA32 : ZONE_NORMAL);
}

/* zone_claim_frames - write the zone of [start, end) into the records of its pageblocks. Start-up. */
void zone_claim_frames(pfn_t start, pfn_t end)
{
	for (pfn_t pfn = start & ~(HPAGE_PMD_NR - 1); pfn < end; pfn += HPAGE_PMD_NR)
		pfn_block(pfn)->zone = pfn_zone_first(pfn) - zones;
}

/*
 * zone_init_lists - in which order each node asks the zones.
 *
 *   Linux    build_all_zonelists
 */
void zone_init_lists(void)
{
	for (unsigned node = 0; node < nr_nodes; node++) {
		struct zonelist *list = &zonelists[node];
		u8 nodes[MAX_NODES];

		list->nr = 0;
		node_by_distance(node, nodes);
		for (unsigned i = 0; i < nr_nodes; i++)
			for (int id = NR_ZONES - 1; id >= 0; id--)
				if (node_zone(nodes[i], id)->managed_pages)
					list->zones[list->nr++] = nodes[i] * NR_ZONES + id;
	}
}

/* zone_all_free_pages - on the zone's lists, on each CPU's, and those cleared in advance. */
u64 zone_all_free_pages(const struct zone *z)
{
	u64 pages = READ_ONCE(z->free_pages) + (READ_ONCE(z->prezeroed.count) << HPAGE_PMD_ORDER);

	for (unsigned cpu = 0; cpu < MAX_CPUS; cpu++) {
		const struct pcp *pcp = &z->pcp[cpu];

		for (unsigned mt = 0; mt < MIGRATE_PCPTYPES; mt++)
			pages += READ_ONCE(pcp->lists[mt].count);
		pages += READ_ONCE(pcp->huge.count) << HPAGE_PMD_ORDER;
		pages += READ_ONCE(pcp->zeroed.count);
	}
	return pages;
}

u64 zone_managed_pages(void)
{
	u64 pages = 0;

	for_each_zone (z)
		pages += z->managed_pages;
	return pages;
}

u64 zone_free_pages(void)
{
	u64 pages = 0;

	for_each_zone (z)
		pages += READ_ONCE(z->free_pages);
	return pages;
}

/* ---- watermarks ---- */

static u64 square_root(u64 n)
{
	u64 root = 0;

	for (u64 bit = 1ul << 31; bit; bit >>= 1)
		if ((root | bit) * (root | bit) <= n)
			root |= bit;
	return root;
}

/*
 * buddy_set_min_free_kbytes - how much is kept: each zone its share of it.
 *
 *   locks    takes each zone.lock, so that the marks of a zone are of one asking; readers see old or new ones
 *   Linux    setup_per_zone_wmarks, with watermark_scale_factor 10
 */
void buddy_set_min_free_kbytes(u64 kb)
{
	u64 total = MAX(zone_managed_pages(), 1);

	buddy_min_free_kbytes = kb;
	for_each_zone (z) {
		u64 min = KB_TO_PAGES(kb) * z->managed_pages / total;
		u64 step = MAX(min / 4, z->managed_pages / 1000);

		spin_lock(&z->lock);
		z->watermark_min = min;
		z->watermark_low = min + step;
		z->watermark_high = min + 2 * step;
		spin_unlock(&z->lock);
	}
}

/* 4 * sqrt(memory in kB), or more if somebody wants more. Linux: calculate_min_free_kbytes */
static u64 usual_min_free(void)
{
	u64 kb = square_root(PAGES_TO_KB(zone_managed_pages()) << 4);

	return MAX(MIN(MAX(kb, 128), 262144), user_min_free_kbytes);
}

/*
 * What keeps whole pageblocks around when huge pages are wanted: two of each zone, and one for each
 * pair of types that could take from each other. Never more than a twentieth of memory.
 */
static u64 recommended_min_free(void)
{
	u64 pages = 0;

	for_each_zone (z)
		if (z->managed_pages)
			pages += (2 + MIGRATE_PCPTYPES * MIGRATE_PCPTYPES) * HPAGE_PMD_NR;
	return PAGES_TO_KB(MIN(pages, zone_managed_pages() / 20));
}

/* zone_init_watermarks - start-up: the marks for this much memory. */
void zone_init_watermarks(void)
{
	user_min_free_kbytes = 0;
	buddy_set_min_free_kbytes(usual_min_free());
}

/*
 * zone_user_min_free_kbytes - somebody asks for this much by name; it counts at once, up or down.
 *
 *   after    zone_recommend_min_free() may go above it, never below
 *   Linux    min_free_kbytes_sysctl_handler
 */
void zone_user_min_free_kbytes(u64 kb)
{
	user_min_free_kbytes = kb;
	buddy_set_min_free_kbytes(kb);
}

/*
 * zone_recommend_min_free - khugepaged starts (true) or stops (false): keep more free, or as usual.
 *
 *   Linux    set_recommended_min_free_kbytes
 */
void zone_recommend_min_free(bool huge_wanted)
{
	if (!huge_wanted)
		buddy_set_min_free_kbytes(usual_min_free());
	else if (recommended_min_free() > buddy_min_free_kbytes)
		buddy_set_min_free_kbytes(recommended_min_free());
}

/*
 * zone_watermark_ok - would a block of this order be found, with more than `mark` pages left?
 *
 *   mark     pages: watermark_min, _low, _high, or those and something
 *   Linux    zone_watermark_ok
 */
bool zone_watermark_ok(const struct zone *z, unsigned order, u64 mark)
{
	if (zone_available_pages(z) <= mark + (1ul << order) - 1)
		return false;
	for (unsigned o = order; order > 0 && o <= MAX_ORDER; o++)
		for (unsigned mt = 0; mt < MIGRATE_PCPTYPES; mt++)
			if (READ_ONCE(z->free[o][mt].count))
				return true;
	return order == 0;
}

/* ---- how broken up ---- */

struct contiguity {
	u64 pages, blocks; /* free, of any order */
	u64 suitable;      /* how many blocks of the order wished for could be had */
};

static struct contiguity contiguity(const struct zone *z, unsigned order)
{
	struct contiguity c = {0, 0, 0};

	for (unsigned o = 0; o <= MAX_ORDER; o++) {
		u64 blocks = buddy_nr_free(z, o);

		c.blocks += blocks;
		c.pages += blocks << o;
		if (o >= order)
			c.suitable += blocks << (o - order);
	}
	return c;
}

/*
 * zone_extfrag_index - why would a request of this order fail?
 *
 *   returns  -1000: it would not. 0 and up: for want of memory. to 1000: because it is broken up
 *   Linux    fragmentation_index
 */
int zone_extfrag_index(const struct zone *z, unsigned order)
{
	struct contiguity c = contiguity(z, order);

	if (order > MAX_ORDER || !c.blocks)
		return 0;
	if (c.suitable)
		return -1000;
	return 1000 - (int)((1000 + c.pages * 1000 / (1ul << order)) / c.blocks);
}

/*
 * zone_unusable_index - thousandths of the free pages that stand in blocks too small for this order.
 *
 *   Linux    unusable_free_index
 */
unsigned zone_unusable_index(const struct zone *z, unsigned order)
{
	struct contiguity c = contiguity(z, order);

	return c.pages ? (c.pages - (c.suitable << order)) * 1000 / c.pages : 1000;
}

/*
 * zone_extfrag_percent - the same in hundredths, and 0 where nothing is free.
 *
 *   Linux    extfrag_for_order: the score of proactive compaction
 */
unsigned zone_extfrag_percent(const struct zone *z, unsigned order)
{
	struct contiguity c = contiguity(z, order);

	return c.pages ? (c.pages - (c.suitable << order)) * 100 / c.pages : 0;
}
