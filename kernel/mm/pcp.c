/*
 * pcp.c - each CPU's own free pages: filled, and given back.                                floor 2
 *
 * Moves free pages between a zone's lists and the CPUs'. Who takes a page from a list, and when one goes back on
 * it, is buddy.c; which CPU has which lists is struct pcp.
 *
 * IDEA
 *   Single pages and one huge page stand on lists of each CPU, which need no lock: kernel code is not preempted, and
 *   interrupts never allocate. What was freed last is handed out first: it may still be in the cache.
 *
 *       zone's free[order][type] --- pcp_refill: 32 at a time, one lock --> [ stack ] --> buddy_alloc
 *                                <-- pcp_drain: above pcp_high pages ------ [       ] <-- buddy_free
 *
 *   Who finds no memory empties the stacks first: 512 pages of 512 stacks may be one block.
 *
 * INVARIANTS  B5 of buddy_check.c: a page is in one free block, on one of these lists, or handed out
 * LOCKS       a CPU's lists: only that CPU, or one that has stopped it. Zones: zone.lock, inside every function
 * LINUX       mm/page_alloc.c: rmqueue_bulk, free_pcppages_bulk, drain_pages. It tunes batch and high while it
 *             runs, and has a list for each order up to 3.      docs/mm/buddy.md
 */
#include "mm/pcp.h"
#include "mm/block.h"
#include "vmstat.h"
#include "x86/cpu.h"

u32 pcp_batch = PCP_BATCH, pcp_high = PCP_HIGH, pcp_huge_high = PCP_HUGE_HIGH;

/* A block becomes single pages of a stack; the lowest ends on top, they are handed out upwards. */
static void pcp_push_block(struct page_list *list, struct page *p, u64 pages)
{
	u32 first = page_to_pfn(p);

	for (u64 i = 0; i < pages; i++) {
		p[i].flags = PG_PCP;
		p[i].next = first + i + 1;
	}
	p[pages - 1].next = list->first;
	list->first = first;
	list->count += pages;
}

/*
 * pcp_refill - fill an empty stack of this CPU, under one lock, in pieces as large as still wanted. More than half
 * of a batch is enough: a large block must not be cut into crumbs for the last page of it.
 *
 *   mark     pages that are to be left in the zone
 *   locks    takes zone.lock
 *   after    the stack may still be empty: the zone has no page to give
 *   Linux    rmqueue_bulk
 */
void pcp_refill(struct zone *z, struct page_list *list, enum migratetype mt, u64 mark)
{
	u64 want;

	spin_lock(&z->lock);
	want = MIN(pcp_batch, zone_pages_above(z, mark));
	while (want > 0 && list->count <= pcp_batch / 2) {
		unsigned order = 0, largest = 63 - __builtin_clzl(want);
		struct page *p;

		while (order < largest && !z->free[order][mt].first)
			order++;
		p = block_take(z, order, mt);
		if (!p && order > 0)
			p = block_take(z, order = 0, mt);
		if (!p)
			break;
		pcp_push_block(list, p, 1ul << order);
		want -= 1ul << order;
	}
	spin_unlock(&z->lock);
}

/*
 * pcp_drain - give up to `count` entries of a stack back to the zone, the newest first.
 *
 *   locks    takes zone.lock
 *   returns  how many there were
 *   Linux    free_pcppages_bulk
 */
u64 pcp_drain(struct zone *z, struct page_list *list, u64 count)
{
	u64 nr;

	spin_lock(&z->lock);
	for (nr = 0; nr < count && list->first; nr++) {
		pfn_t pfn = list->first;
		struct page *p = pcp_pop(list);

		p->flags = 0;
		if (CONFIG_CHECKS)
			p->private = 0;
		block_give(z, pfn, p->order);
	}
	spin_unlock(&z->lock);
	return nr;
}

static void nothing_to_take_back(void)
{
}

void (*buddy_take_back)(void) = nothing_to_take_back;

/*
 * buddy_drain_prezeroed - the huge pages cleared in advance become ordinary free blocks, and the one at work.
 *
 *   locks    takes each zone.lock
 */
void buddy_drain_prezeroed(void)
{
	buddy_take_back();
	for_each_zone (z) {
		if (READ_ONCE(z->prezeroed.first))
			vmstat_add(VM_nr_thp_prezeroed, -(s64)pcp_drain(z, &z->prezeroed, ~0ul));
	}
}

/*
 * buddy_drain_cpu - this CPU's lists back to the zones.
 * buddy_drain_pcp - and what was cleared in advance. Every CPU's: by sched_on_each_cpu(), since the lists have no lock.
 *
 *   locks    takes each zone.lock
 *   Linux    drain_local_pages, drain_all_pages
 */
void buddy_drain_cpu(void)
{
	for_each_zone (z) {
		struct pcp *pcp = &z->pcp[cpu_id()];

		for (unsigned mt = 0; mt < MIGRATE_PCPTYPES; mt++)
			pcp_drain(z, &pcp->lists[mt], pcp->lists[mt].count);
		pcp_drain(z, &pcp->huge, pcp->huge.count);
		pcp_drain(z, &pcp->zeroed, pcp->zeroed.count);
	}
}

void buddy_drain_pcp(void)
{
	buddy_drain_prezeroed();
	buddy_drain_cpu();
}

/*
 * buddy_set_pcp - how long the per-CPU lists are. 1 and 0: each page goes straight to the buddy.
 *
 *   locks    none; the lists that exist are not touched (buddy_drain_pcp)
 *   Linux    vm.percpu_pagelist_high_fraction
 */
void buddy_set_pcp(u32 batch, u32 high)
{
	pcp_batch = MAX(batch, 1);
	pcp_high = high;
	pcp_huge_high = high ? PCP_HUGE_HIGH : 0;
}
