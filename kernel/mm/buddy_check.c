/*
 * buddy_check.c - every rule of the allocator, looked at.                                   floor 2
 *
 * Reads the lists of block.c, the stacks of buddy.c and the array of page.c, and compares. Changes
 * nothing.
 *
 * INVARIANTS (buddy_check() tests every one)
 *   B1  a free block of order k starts at a multiple of 2^k and lies in its zone
 *   B2  exactly the first page of a free block carries PG_BUDDY and the order; all its pages are
 *       FREE, with no reference and no mapping
 *   B3  two buddies of one order are never both on the lists, except at the top order
 *   B4  lists are as long as they say; nr_free[k] is their sum over the types; the sum over k is
 *       zone.free_pages; a pageblock's nr_free is what the lists hold of it
 *   B5  every page given to the buddy is in one free block, on one per-CPU list, or handed out
 *   B6  a free block stands on the list of its pageblock's migratetype
 *   B7  a huge page on a list of cleared ones holds nothing but zeroes; nr_thp_prezeroed is how many
 *       there are
 *   B8  isolated_pages is what stands on the lists of MIGRATE_ISOLATE
 *
 * LOCKS     takes each zone.lock; the CPUs' own lists are exact only when those CPUs are quiet
 * LINUX     has no such walk: CONFIG_DEBUG_VM checks single pages as they pass.   docs/mm/buddy.md
 */
#include "mm/block.h"
#include "mm/buddy.h"
#include "printk.h"
#include "vmstat.h"

static bool broken(const char *rule, const char *what, pfn_t pfn, u64 is, u64 want)
{
	printk("buddy_check: %s: %s, pfn %#lx: %lu, not %lu", rule, what, (unsigned long)pfn,
		(unsigned long)is, (unsigned long)want);
	return false;
}

/* One block that stands on a list. */
static bool check_block(const struct zone *z, pfn_t pfn, unsigned order, enum migratetype mt)
{
	struct page *p = pfn_to_page(pfn);
	pfn_t buddy = buddy_of(pfn, order);

	if (!IS_ALIGNED(pfn, 1ul << order))
		return broken(
			"B1", "alignment of a free block", pfn, pfn & ((1ul << order) - 1), 0);
	if (pfn < z->start || pfn + (1ul << order) > z->end)
		return broken("B1", "a free block outside its zone", pfn, order, 0);
	if (p->flags != PG_BUDDY || p->order != order)
		return broken("B2", "order of a free block", pfn, p->order, order);
	if (order < MAX_ORDER && buddy < z->end && page_is_buddy(pfn_to_page(buddy), order))
		return broken("B3", "two buddies are free, order", pfn, order, order + 1);
	if (pfn_block(pfn)->migratetype != mt)
		return broken("B6", "migratetype", pfn, mt, pfn_block(pfn)->migratetype);
	return true;
}

/* One list: every block on it, and its length. */
static bool check_list(const struct zone *z, unsigned order, enum migratetype mt)
{
	const struct page_list *list = &z->free[order][mt];
	u64 length = 0;
	u32 before = 0;

	for (u32 pfn = list->first; pfn; pfn = pfn_to_page(pfn)->next) {
		if (pfn >= page_max_pfn || ++length > list->count)
			return broken("B4", "length of a list", pfn, length, list->count);
		if (pfn_to_page(pfn)->prev != before)
			return broken("B4", "link back", pfn, pfn_to_page(pfn)->prev, before);
		if (!check_block(z, pfn, order, mt))
			return false;
		before = pfn;
	}
	if (length != list->count || list->last != before)
		return broken("B4", "length of a list", before, length, list->count);
	return true;
}

static bool check_lists(const struct zone *z)
{
	u64 pages = 0, isolated = 0;

	for (unsigned order = 0; order <= MAX_ORDER; order++) {
		u64 blocks = 0;

		for (unsigned mt = 0; mt < NR_MIGRATETYPES; mt++) {
			if (!check_list(z, order, mt))
				return false;
			blocks += z->free[order][mt].count;
		}
		if (blocks != z->nr_free[order])
			return broken(
				"B4", "nr_free of an order", order, z->nr_free[order], blocks);
		pages += blocks << order;
		isolated += z->free[order][MIGRATE_ISOLATE].count << order;
	}
	if (isolated != z->isolated_pages)
		return broken("B8", "isolated_pages", 0, z->isolated_pages, isolated);
	if (pages != z->free_pages)
		return broken("B4", "free_pages", 0, z->free_pages, pages);
	return true;
}

/* What the array says, to be compared with what the lists say. */
struct survey {
	u64 buddy_pages, pcp_pages;
	u64 block_free; /* of the pageblock at hand */
};

/* The frames of a free block are all FREE, and only the first one is marked. */
static bool check_free_frames(pfn_t pfn, u64 frames)
{
	for (u64 i = 0; i < frames; i++) {
		const struct page *p = pfn_to_page(pfn + i);

		if (p->type != PAGE_FREE)
			return broken("B2", "type in a free block", pfn + i, p->type, PAGE_FREE);
		if (p->refcount || p->mapcount)
			return broken("B2", "references in a free block", pfn + i,
				p->refcount + p->mapcount, 0);
		if (i > 0 && p->flags)
			return broken("B2", "flags in a free block", pfn + i, p->flags, 0);
	}
	return true;
}

/* One step over the array: a free block, a page of a CPU, or something handed out. 0: broken. */
static u64 check_frame(pfn_t pfn, struct survey *s)
{
	const struct page *p = pfn_to_page(pfn);
	u64 frames = 1ul << (p->order <= MAX_ORDER ? p->order : 0);

	if (p->flags & PG_BUDDY) {
		s->buddy_pages += frames;
		s->block_free += frames;
		return check_free_frames(pfn, frames) ? frames : 0;
	}
	if (p->flags & PG_PCP) {
		s->pcp_pages += frames;
		return check_free_frames(pfn, frames) ? frames : 0;
	}
	if (pfn_in_huge(pfn))
		return HPAGE_PMD_NR;
	if (p->type == PAGE_FREE) {
		broken("B5", "a FREE page on no list", pfn, 0, 1);
		return 0;
	}
	return 1;
}

/* Every frame of the zone once; a pageblock's nr_free at its end. */
static bool check_frames(const struct zone *z, struct survey *s)
{
	for (pfn_t pfn = z->start; pfn < z->end;) {
		struct pageblock *b = pfn_block(pfn);
		pfn_t end = MIN(block_start(pfn) + HPAGE_PMD_NR, z->end);

		s->block_free = 0;
		while (pfn < end) {
			u64 frames = check_frame(pfn, s);

			if (!frames)
				return false;
			pfn += frames;
		}
		if (pfn > end) { /* an order 10 block: half of it is the next pageblock's */
			s->block_free -= HPAGE_PMD_NR;
			if (b[1].nr_free != HPAGE_PMD_NR)
				return broken("B4", "nr_free of a pageblock", end, b[1].nr_free,
					HPAGE_PMD_NR);
		}
		if (b->nr_free != s->block_free)
			return broken(
				"B4", "nr_free of a pageblock", end - 1, b->nr_free, s->block_free);
	}
	return true;
}

/* Pages on the lists of all CPUs; each must be marked. */
static bool check_pcp_list(const struct page_list *list, unsigned order, u64 *pages)
{
	u64 length = 0;

	for (u32 pfn = list->first; pfn; pfn = pfn_to_page(pfn)->next) {
		const struct page *p = pfn_to_page(pfn);

		if (pfn >= page_max_pfn || ++length > list->count)
			return broken("B5", "length of a per-CPU list", pfn, length, list->count);
		if (p->flags != PG_PCP || p->order != order)
			return broken("B5", "flags on a per-CPU list", pfn, p->flags, PG_PCP);
	}
	if (length != list->count)
		return broken("B5", "length of a per-CPU list", 0, length, list->count);
	*pages += length << order;
	return true;
}

/* Those cleared in advance: zeroes, read word by word. */
static bool check_prezeroed(const struct zone *z)
{
	for (u32 pfn = z->prezeroed.first; pfn; pfn = pfn_to_page(pfn)->next) {
		const u64 *word = page_to_virt(pfn_to_page(pfn));

		for (u64 i = 0; i < HPAGE_PMD_SIZE / sizeof(*word); i++)
			if (word[i])
				return broken("B7", "a word of a cleared page", pfn, word[i], 0);
	}
	return true;
}

static bool check_pcp(const struct zone *z, u64 *pages)
{
	if (!check_pcp_list(&z->prezeroed, HPAGE_PMD_ORDER, pages) || !check_prezeroed(z))
		return false;
	for (unsigned cpu = 0; cpu < MAX_CPUS; cpu++) {
		for (unsigned mt = 0; mt < MIGRATE_PCPTYPES; mt++)
			if (!check_pcp_list(&z->pcp[cpu].lists[mt], 0, pages))
				return false;
		if (!check_pcp_list(&z->pcp[cpu].huge, HPAGE_PMD_ORDER, pages) ||
			!check_pcp_list(&z->pcp[cpu].zeroed, 0, pages))
			return false;
	}
	return true;
}

static bool check_zone(const struct zone *z)
{
	struct survey s = {0, 0, 0};
	u64 pcp_pages = 0;

	if (!check_lists(z) || !check_frames(z, &s) || !check_pcp(z, &pcp_pages))
		return false;
	if (s.buddy_pages != z->free_pages)
		return broken("B5", "pages marked PG_BUDDY", 0, s.buddy_pages, z->free_pages);
	if (s.pcp_pages != pcp_pages)
		return broken("B5", "pages marked PG_PCP", 0, s.pcp_pages, pcp_pages);
	return true;
}

/*
 * buddy_check - B1 to B8.
 *
 *   locks    takes each zone.lock; exact when no other CPU allocates (its own lists need no lock)
 *   returns  false after one line that names the broken rule and the values
 */
bool buddy_check(void)
{
	u64 prezeroed = 0;

	for_each_zone (z) {
		bool ok;

		spin_lock(&z->lock);
		ok = check_zone(z);
		spin_unlock(&z->lock);
		if (!ok)
			return false;
		prezeroed += z->prezeroed.count;
	}
	if (prezeroed != vmstat_read(VM_nr_thp_prezeroed))
		return broken(
			"B7", "nr_thp_prezeroed", 0, vmstat_read(VM_nr_thp_prezeroed), prezeroed);
	return true;
}
