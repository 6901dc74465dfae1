/*
 * compact.h - free pages are brought together by moving used ones.                            floor 5
 */
#ifndef MM_COMPACT_H
#define MM_COMPACT_H

#include "mm/migrate.h"
#include "mm/zone.h"
#include "sched.h"

#define COMPACT_RESULTS(X)                                                                         \
	X(SKIPPED, "too little memory, or it is not broken up: compaction would not help")         \
	X(DEFERRED, "it failed lately: not tried")                                                 \
	X(SUCCESS, "a block of this order is free")                                                \
	X(PARTIAL, "the scanners met; they had not begun at the ends of the zone")                 \
	X(COMPLETE, "the scanners met after a whole pass")

enum compact_result {
#define X(name, text) COMPACT_##name,
	COMPACT_RESULTS(X)
#undef X
	NR_COMPACT_RESULTS
};
const char *compact_result_name(enum compact_result r);
const char *compact_result_text(enum compact_result r);

/* /proc/sys/vm; whole words, read and written without a lock. */
struct compact_settings {
	u32 proactiveness;       /* 20: compaction_proactiveness, 0 to 100 */
	u32 unevictable_allowed; /* 1: compact_unevictable_allowed: pages of mlock()ed areas may move */
	u32 extfrag_threshold; /* 500 */
};
extern struct compact_settings compact_settings;

void compact_init(void);

/*
 * compact_alloc_huge - a block of order 9 when the buddy has none: direct compaction, then the buddy once more.
 *   hard     not only what works at once (async), also what waits for locks (sync-light)
 *   flags    buddy's BUDDY_ON(node), BUDDY_AMONG(mask), or 0: near this CPU first
 *   locks    no spinlock; mm->lock may be held in any mode. Passes preempt_point()s
 *   returns  the block, as buddy_alloc() does; NULL
 *   counts   compact_stall for each try that was not skipped or deferred; compact_success or compact_fail
 *   Linux    __alloc_pages_direct_compact
 */
struct page *compact_alloc_huge(bool hard, u32 flags);

/* Every zone of a node once, for its daemon: what failed lately is deferred. Linux: kcompactd_do_work */
void compact_node(unsigned node, unsigned order);

/* /proc/sys/vm/compact_memory: every zone from end to end. No lock held. Linux: compact_nodes */
bool compact_is_deferred(unsigned order); /* in every zone that has memory; looks only */
void compact_memory(void);

/* Proactive compaction: is a node so broken up that it should begin? One pass; false: it got no better. */
bool compact_is_due(unsigned node);
bool compact_proactively(unsigned node);
/* 0: free memory in large blocks .. 100. Linux: fragmentation_score_node */
unsigned compact_score(unsigned node);

/* Somebody on this CPU got no block and may not work for one: its node's daemon should. Linux: wakeup_kcompactd */
void compact_wake(unsigned order);
struct compact_node {
	struct waitq wait; /* kcompactd sleeps here */
	u32 wanted;        /* the order it was woken for; 0: none */
};
extern struct compact_node compact_nodes[MAX_NODES];

/* For `compact stat`. */
struct compact_zone_state {
	pfn_t migrate_pfn, free_pfn; /* where the scanners go on */
	u32 considered,
		defer_shift; /* tries since it failed; it is left alone for 1 << defer_shift tries */
	u32 order_failed;
};
struct compact_zone_state compact_zone_state(const struct zone *z);

#endif
