/*
 * collapse.h - 512 small pages become one huge page: the core of khugepaged and MADV_COLLAPSE.   floor 5
 */
#ifndef MM_COLLAPSE_H
#define MM_COLLAPSE_H

#include "mm/mm.h"
#include "mm/thp.h"

/* Each refusal has a name and a counter (collapse_counts); names are Linux's SCAN_* without the prefix. */
#define COLLAPSE_RESULTS(X)                                                                        \
	X(SUCCEED, "collapsed")                                                                    \
	X(PMD_MAPPED, "already a huge page")                                                       \
	X(PMD_NULL, "nothing is mapped there")                                                     \
	X(PMD_NONE, "nothing is mapped there, but beside it")                                      \
	X(VMA_NULL, "no area there")                                                               \
	X(VMA_CHECK, "the area may not have huge pages")                                           \
	X(ADDRESS_RANGE, "the aligned 2 MiB do not lie wholly in one area")                        \
	X(ANY_PROCESS, "the space is going away")                                                  \
	X(EXCEED_NONE_PTE, "more holes and zero pages than max_ptes_none")                         \
	X(EXCEED_SWAP_PTE, "more swapped pages than max_ptes_swap")                                \
	X(EXCEED_SHARED_PTE, "more shared pages than max_ptes_shared")                             \
	X(PAGE_RO, "no page is writable")                                                          \
	X(LACK_REFERENCED_PAGE, "no page was used lately")                                         \
	X(PAGE_NULL, "a frame that is not anonymous memory")                                       \
	X(PAGE_COUNT, "somebody else holds a reference to a page")                                 \
	X(PAGE_LRU, "a page is not on the LRU")                                                    \
	X(ALLOC_HUGE_PAGE_FAIL, "no free block of order 9")                                        \
	X(PTE_MAPPED_CHANGED, "the range changed while it was looked at")

enum collapse_result {
#define X(name, text) COLLAPSE_##name,
	COLLAPSE_RESULTS(X)
#undef X
	NR_COLLAPSE_RESULTS
};
const char *collapse_result_name(enum collapse_result r);
const char *collapse_result_text(enum collapse_result r);
extern u64 collapse_counts
	[NR_COLLAPSE_RESULTS]; /* since boot, khugepaged and MADV_COLLAPSE together */

/* Limits a scan works under: khugepaged's settings, or none for MADV_COLLAPSE. */
struct collapse_limits {
	u32 max_none, max_swap, max_shared;
	bool forced; /* MADV_COLLAPSE: settings do not count, advice against does; young pages are not asked for */
};

/*
 * collapse_scan - is [haddr, haddr + 2 MiB) worth collapsing? Looks only.
 *   locks    mm->lock held (read is enough)
 */
enum collapse_result collapse_scan(
	struct mm *mm, struct vma *v, vaddr_t haddr, const struct collapse_limits *limits);

/*
 * collapse_range - do it: allocate, take mm->lock for writing, look again, unmap, flush, copy, install.
 *   locks    no lock held; the caller holds a reference (users) on mm
 *   returns  a result; counts thp_collapse_alloc / _failed and the reason.     Linux: collapse_huge_page
 */
enum collapse_result collapse_range(
	struct mm *mm, vaddr_t haddr, const struct collapse_limits *limits);

/* madvise(MADV_COLLAPSE) over whole aligned 2 MiB ranges. No lock held. 0, -EINVAL, -ENOMEM, -EAGAIN as Linux. */
int collapse_advised(struct mm *mm, vaddr_t start, vaddr_t end);

#endif
