/*
 * lru.h - the lists of anonymous pages by age, and the queue of huge pages waiting to be split.
 * floor 2
 *
 * Only the lists; who reads them and why is policy (thp.c, reclaim.c).
 */
#ifndef MM_LRU_H
#define MM_LRU_H

#include "mm/page.h"
#include "sync.h"

struct lru {
	struct spinlock lock;              /* LOCK_LRU */
	struct page_list active, inactive; /* heads of huge pages and order-0 anonymous pages */
	struct spinlock deferred_lock;     /* LOCK_DEFERRED */
	struct page_list deferred;         /* linked through head[1]; huge pages partly unmapped */
};
extern struct lru lru;

void lru_init(void);
void lru_add_active(struct page *head);                    /* not on a list yet */
void lru_add_active_many(struct page *first, unsigned nr); /* base pages side by side */
bool lru_isolate(struct page *head);        /* take it off; false: it was on no list */
bool lru_isolate_locked(struct page *head); /* lru.lock held */
bool lru_grab_locked(struct page *head);    /* the same, with a reference: found by its number */
void lru_putback(struct page *head);        /* undo lru_isolate */
bool lru_get(struct page *head);            /* a reference on a page that is on a list */
struct page *lru_lazyfree_take(void);       /* the next that MADV_FREE left, isolated; NULL */
void lru_revive(struct page *head);         /* put it back as one that is in use */
/* A frame of a huge page that was split: where that was */
void lru_add_part(struct page *page, u8 flags);
void lru_deactivate(struct page *head); /* MADV_COLD: to the front of inactive */
/* MADV_FREE: to the tail of inactive, PG_LAZYFREE. */
void lru_deactivate_lazyfree(struct page *head);
void lru_del(struct page *head);                 /* it is being freed; no-op when on no list */
void lru_del_many(const u32 *pfns, unsigned nr); /* base pages nobody references, under one lock */
bool lru_deferred_add(struct page *head);        /* true: newly queued */
bool lru_deferred_del(struct page *head);
struct page *lru_deferred_take(void); /* the oldest, off the queue, with a reference; NULL: empty */
/* Base pages that are on a list; lru.lock held */
void lru_isolate_many(const u32 *pfns, unsigned nr);
bool lru_check(void); /* L1 flags agree with lists, L2 counts, L3 only anon pages */

#endif
