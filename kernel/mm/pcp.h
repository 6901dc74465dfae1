/*
 * pcp.h - each CPU's own free pages.                                                        floor 2
 */
#ifndef MM_PCP_H
#define MM_PCP_H

#include "mm/zone.h"

#define PCP_BATCH       32
#define PCP_HIGH        186
#define PCP_HUGE_HIGH   1
#define PCP_ZEROED_HIGH 16

/* How many pages go between a stack and its zone at once, and how long stacks may become: buddy_set_pcp(). */
extern u32 pcp_batch, pcp_high, pcp_huge_high;

/* The stacks are linked by `next` only. */
static __always_inline void pcp_push(struct page_list *list, struct page *p, pfn_t pfn)
{
	p->flags = PG_PCP;
	p->next = list->first;
	list->first = pfn;
	list->count++;
}

static __always_inline struct page *pcp_pop(struct page_list *list)
{
	struct page *p = pfn_to_page(list->first);

	list->first = p->next;
	list->count--;
	return p;
}

void pcp_refill(struct zone *z, struct page_list *list, enum migratetype mt, u64 mark);
u64 pcp_drain(struct zone *z, struct page_list *list, u64 count);

void buddy_drain_cpu(void);              /* this CPU's lists back to the buddy */
void buddy_drain_prezeroed(void);        /* the huge pages cleared in advance */
void buddy_drain_pcp(void);              /* both */
void buddy_set_pcp(u32 batch, u32 high); /* their lengths; 1, 0: bypassed (tests) */

/* prezerod.c: the block that is being cleared, too. The caller may hold any lock; it waits for none. */
extern void (*buddy_take_back)(void);

#endif
