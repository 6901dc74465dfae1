/*
 * thp.h - transparent huge pages: when a 2 MiB page is given, shared, copied, and why not.     floor 5
 */
#ifndef MM_THP_H
#define MM_THP_H

#include "mm/mm.h"
#include "mm/page.h"
#include "sched.h"
#include "vmstat.h"

enum thp_enabled {
	THP_ALWAYS,
	THP_MADVISE,
	THP_NEVER
};
/* hugepages-SIZEkB/enabled: one of the above, or what `enabled` says. */
enum thp_size {
	SIZE_INHERIT,
	SIZE_ALWAYS = 1 + THP_ALWAYS,
	SIZE_MADVISE = 1 + THP_MADVISE,
	SIZE_NEVER = 1 + THP_NEVER
};
enum thp_defrag {
	DEFRAG_ALWAYS,
	DEFRAG_DEFER,
	DEFRAG_DEFER_MADVISE,
	DEFRAG_MADVISE,
	DEFRAG_NEVER
};
enum thp_cow {
	COW_COPY,
	COW_SPLIT
};

/* /sys/kernel/mm/transparent_hugepage, one field per file. Words are read and written whole, without a lock. */
struct thp_settings {
	enum thp_enabled enabled;    /* THP_ALWAYS */
	enum thp_defrag defrag;      /* DEFRAG_MADVISE */
	bool use_zero_page;          /* 1 */
	bool shrink_underused;       /* 1 */
	enum thp_cow cow;            /* COW_COPY: as in Linux 4.11; COW_SPLIT: as in 5.8 to 6.12 */
	bool khugepaged_defrag;      /* 1 */
	u32 pages_to_scan;           /* 4096 */
	u32 scan_sleep_millisecs;    /* 10000 */
	u32 alloc_sleep_millisecs;   /* 60000 */
	u32 max_ptes_none;           /* 511 */
	u32 max_ptes_swap;           /* 64 */
	u32 max_ptes_shared;         /* 256 */
	enum thp_enabled enabled_1g; /* THP_NEVER: may a write fault get 1 GiB (huge_pud.c)? */
	bool prezero;     /* 0: 1 has idle CPUs clear huge pages in advance (prezerod.c) */
	u32 prezero_pool; /* 16: how many of them are kept */
	u8 size[HPAGE_PMD_ORDER +
		1];     /* enum thp_size by order: 2 MiB INHERITs, the smaller are NEVER */
	u32 run_orders; /* bit n: size[n] is not NEVER, for n below HPAGE_PMD_ORDER */
};
extern struct thp_settings thp_settings;

/* What counts for one order, `enabled` looked up where it inherits. Linux: thp_vma_allowable_orders */
static inline enum thp_enabled thp_size_enabled(unsigned order)
{
	u8 size = READ_ONCE(thp_settings.size[order]);

	return likely(size == SIZE_INHERIT) ? thp_settings.enabled : (enum thp_enabled)(size - 1);
}

/* Why a place gets no huge page: what thp_fault and khugepaged ask, and what `thp why` prints. */
#define THP_REASONS(X)                                                                             \
	X(OK, "a huge page is allowed")                                                            \
	X(NO_VMA, "nothing is mapped at this address")                                             \
	X(NOT_ANON, "the area is not anonymous memory")                                            \
	X(STACK, "the area is the initial stack, still being built")                               \
	X(NOHUGEPAGE, "the area was advised MADV_NOHUGEPAGE")                                      \
	X(PRCTL, "the task switched huge pages off: prctl(PR_SET_THP_DISABLE)")                    \
	X(NEVER_SET, "transparent_hugepage/enabled is never")                                      \
	X(NOT_ADVISED, "enabled is madvise and the area was not advised MADV_HUGEPAGE")            \
	X(RANGE, "the aligned 2 MiB around the address do not lie wholly in the area")             \
	X(PTE_TABLE,                                                                               \
		"4 KiB pages are there already: only khugepaged or MADV_COLLAPSE can change that") \
	X(HUGE, "it is a huge page")                                                               \
	X(HUGE_ZERO, "it is the huge zero page: a write makes it a page of its own")               \
	X(NO_BLOCK, "no free block of its order")                                                  \
	X(NO_BLOCK_LIGHT,                                                                          \
		"no free block of order 9, and by `defrag` the fault may not work for one")        \
	X(NO_BLOCK_DEFERRED,                                                                       \
		"no free block of order 9, and compaction failed lately: it is left alone for a "  \
		"while")                                                                           \
	X(PTES_PRESENT, "some of its 4 KiB pages are there already")                               \
	X(HUGE_1G, "it is mapped by a leaf of 1 GiB")                                              \
	X(NO_1G_CPU, "this CPU has no pages of 1 GiB")                                             \
	X(NEVER_SET_1G, "transparent_hugepage/enabled_1g is never")                                \
	X(NOT_ADVISED_1G, "enabled_1g is madvise and the area was not advised MADV_HUGEPAGE")      \
	X(RANGE_1G, "the aligned 1 GiB around the address does not lie wholly in the area")        \
	X(SMALLER_1G, "smaller pages are in this gigabyte already")                                \
	X(NO_GIGABYTE, "no free gigabyte: neither in the reserve nor in a row")                    \
	X(NO_GIGABYTE_LIGHT, "no free gigabyte, and by `defrag` the fault may not work for one")   \
	X(NO_GIGABYTE_DEFERRED, "no free gigabyte, and working for one failed lately: it is left " \
				"alone for a while")

enum thp_reason {
#define X(name, text) THP_##name,
	THP_REASONS(X)
#undef X
	NR_THP_REASONS
};
const char *thp_reason_name(enum thp_reason r); /* "RANGE" */
const char *thp_reason_text(enum thp_reason r);

void thp_init(void);

/* May this area have pages of 2^order (settings, advice, kind)? Without the range check. */
enum thp_reason thp_order_reason(const struct vma *v, unsigned order);
/* The same for order 9: may this area have huge pages at all? Linux: hugepage_vma_check */
enum thp_reason thp_vma_reason(const struct vma *v);
/* The fault's own predicate for one address: the above and the range. mm->lock held. */
enum thp_reason thp_addr_reason(const struct vma *v, vaddr_t addr);
bool thp_has_block(unsigned order);
/* The whole answer for `thp why`: what is there now, else what the next fault would do. mm->lock held. */
enum thp_reason thp_why(struct mm *mm, vaddr_t addr);

/* --- faults; mm->lock held for reading, pt_lock not --- */
bool thp_may_compact(const struct vma *v);
/* Linux: do_huge_pmd_anonymous_page */
enum fault_result thp_fault(const struct fault *f, struct vma *v, pmd_t *pmdp);
enum fault_result thp_wp(const struct fault *f, struct vma *v, pmd_t *pmdp,
	pmd_t seen); /* Linux: do_huge_pmd_wp_page */
enum fault_result thp_set_accessed(const struct fault *f, struct vma *v, pmd_t *pmdp, pmd_t seen);

void thp_clear(struct mm *mm, struct page *page); /* 2 MiB of zeroes; counts faults that overlap */

/* The huge zero page for a space: one reference per space, kept until the space ends. 0: no memory. */
pfn_t thp_mm_huge_zero(struct mm *mm);

/* --- khugepaged's list of spaces --- */
/* A huge-capable fault, or MADV_HUGEPAGE: list the space, wake khugepaged. Linux: khugepaged_enter */
void thp_enter_mm(struct mm *mm);
/* The space is going: take it off. Linux: khugepaged_exit */
void thp_exit_mm(struct mm *mm);
/* khugepaged's cursor: the next listed space, with a reference; NULL: the end, it starts over. */
struct mm *thp_next_mm(void);
extern struct waitq thp_wait; /* khugepaged sleeps here */
u32 thp_nr_listed(void);

bool thp_check(void); /* H1-H4: see thp.c */

#endif
