/*
 * trace.h - the trace ring's record and its events, shared with readers outside the kernel.
 */
#ifndef ABI_TRACE_H
#define ABI_TRACE_H

#include <stdint.h>

#define TRACE_EVENTS(X)                                                                                        \
	X(page_fault_user)        /* address, error code, ip */                                                \
	X(page_fault_kernel)      /* address, error code, ip */                                                \
	X(mm_page_alloc)          /* pfn, order, migratetype: blocks; pages are too many */                    \
	X(mm_page_free)           /* pfn, order, 0: blocks */                                                  \
	X(thp_fault)              /* address, fault_result, pfn or thp_reason */                               \
	X(thp_split_pmd)          /* address, pfn, 0 */                                                        \
	X(thp_fault_pud)          /* address, fault_result, pfn */                                             \
	X(thp_split_pud)          /* address, pfn, 0 */                                                        \
	X(thp_split_page)         /* pfn, 0, 0 */                                                              \
	X(mm_khugepaged_scan_pmd) /* address, collapse_result, none_or_zero << 32 | present */                 \
	X(mm_collapse_huge_page)  /* address, collapse_result, pfn */                                          \
	X(mm_migrate_pages)       /* pfn, migrate_result, new pfn */                                           \
	X(mm_compaction_begin)    /* zone, order, mode */                                                      \
	X(mm_compaction_end)      /* zone, order, compact_result */                                            \
	X(mm_compaction_isolate_migratepages) /* first pfn, scanned, isolated */                               \
	X(mm_compaction_isolate_freepages)    /* where it got to, wanted, taken */                             \
	X(mm_page_alloc_extfrag) /* pfn, order wanted << 32 | order found, migratetype wanted << 32 | found */ \
	X(mm_collapse_huge_page_isolate) /* address, collapse_result, pages isolated */                        \
	X(mm_shrink_slab_start)          /* trace_shrinker, objects known, 0 */                                \
	X(mm_shrink_slab_end)            /* trace_shrinker, objects given up, looked at */                     \
	X(mm_vmscan_lru_shrink_inactive) /* lazily free pages looked at, pages dropped, 0 */                   \
	X(tlb_flush)                     /* start, pages, cpus asked (mask) */                                 \
	X(sched_switch)                  /* previous tid, next tid, 0 */                                       \
	X(oom_kill)                      /* pid, pages, 0 */

enum trace_event {
#define X(name) TRACE_##name,
	TRACE_EVENTS(X)
#undef X
	NR_TRACE_EVENTS
};

/* Linux names a shrinker by its function. */
enum trace_shrinker {
	SHRINK_DEFERRED,  /* huge pages that are partly unmapped */
	SHRINK_UNDERUSED, /* huge pages that are mostly zero */
	SHRINK_HUGE_ZERO
};

struct trace_record {
	uint64_t tsc;
	uint32_t event;
	uint16_t cpu;
	uint16_t pid;
	uint64_t arg[3];
};
_Static_assert(sizeof(struct trace_record) == 40, "trace records are read from outside");

#endif
