/*
 * thp.c - when a 2 MiB page is given, shared, copied, split           floor 5, below: thp_split, pgtable, rmap, buddy
 *
 * The policy of transparent huge pages on the fault path. It decides and calls the mechanisms below; it does
 * not promote (collapse.c), does not take pages apart (thp_split.c), does not walk down to 4 KiB (fault.c) and never
 * changes an area (mmap.c).
 *
 * IDEA
 *     fault at a hole in the pmd                           write fault at a read-only huge leaf
 *       |                                                    |
 *       may this area have huge pages? -- no --.             device leaf? ------------------> bad access
 *       aligned 2 MiB inside the area? -- no --|             huge zero page? -- cow=copy ---> a huge page of its own
 *       read, and zero page allowed?           |                             `- cow=split --> split_pmd, fallback
 *         yes: the huge zero page              |             only mapping? ---------------> made writable in place
 *       a block of order 9? ---------- no -----|             cow=copy, block? ------------> 2 MiB copied
 *         yes: zero it, map it                 v                      `- no: 512 small copies
 *                                          FALLBACK          cow=split: split_pmd, ------> FALLBACK
 *
 *   Every "no" is the same harmless answer: FAULT_FALLBACK, and fault.c goes on with 4 KiB pages.
 *   Allocate, lock, look again, commit: all that can fail or takes long happens before pt_lock; under it only
 *   straight code that cannot fail. If somebody was faster, what was allocated goes back and the fault is done.
 *
 *   Each huge leaf has a spare pte table deposited with it, so that splitting it later cannot fail.
 *
 * INVARIANTS (thp_check() tests every one; T3, "a deposit under each huge leaf", is pgtable_check's)
 *   H1  a huge page's head is aligned to 512 frames, its block's record says huge, and the reverse
 *   H2  references of a huge page >= its pmd mappings + its pte mappings; pte mappings = sum over its frames
 *   H3  the references of the huge zero page are those of the spaces that used it and the shrinker's one
 *   H4  a page on the deferred-split queue is huge and flagged, and the flag says it is on the queue
 *
 * LOCKS     mm->lock (read) -> [anon lock] -> pt_lock -> deferred, lru -> zone.lock. thp_list_lock: the list of spaces.
 * LINUX     mm/huge_memory.c also knows file-backed, shared and device huge pages, swap, memory cgroups.
 *           docs/mm/thp.md
 */
#include <abi/errno.h>
#include "lib/list.h"
#include "vmstat.h"
#include "trace.h"
#include "printk.h"
#include "mm/buddy.h"
#include "mm/compact.h"
#include "mm/lru.h"
#include "mm/mempolicy.h"
#include "mm/zero.h"
#include "mm/pgtable.h"
#include "mm/vma.h"
#include "mm/rmap.h"
#include "mutex.h"
#include "mm/thp.h"
#include "mm/thp_split.h"
#include "seeded.h"

struct thp_settings thp_settings = {
	.enabled = THP_ALWAYS,
	.defrag = DEFRAG_MADVISE,
	.use_zero_page = true,
	.shrink_underused = true,
	.cow = COW_COPY,
	.khugepaged_defrag = true,
	.pages_to_scan = 4096,
	.scan_sleep_millisecs = 10000,
	.alloc_sleep_millisecs = 60000,
	.max_ptes_none = HPAGE_PMD_NR - 1,
	.max_ptes_swap = HPAGE_PMD_NR / 8,
	.max_ptes_shared = HPAGE_PMD_NR / 2,
	.enabled_1g = THP_NEVER,
	.prezero_pool = 16,
	.size = {[0 ... HPAGE_PMD_ORDER - 1] = SIZE_NEVER, [HPAGE_PMD_ORDER] = SIZE_INHERIT},
};

/* khugepaged's list of spaces, and the cursor: the link behind which the next space stands. */
static struct spinlock thp_list_lock = SPINLOCK_INIT(LOCK_THP_LIST, "thp_list");
static struct list thp_list = LIST_INIT(thp_list);
static struct list *thp_cursor = &thp_list;
static u32 thp_listed;
struct waitq thp_wait;

void thp_init(void)
{
	waitq_init(&thp_wait, "khugepaged");
}

/* --- who may have huge pages, and why not --- */

static const char *const reason_names[] = {
#define X(name, text) #name,
	THP_REASONS(X)
#undef X
};

static const char *const reason_texts[] = {
#define X(name, text) text,
	THP_REASONS(X)
#undef X
};

const char *thp_reason_name(enum thp_reason r)
{
	return reason_names[r];
}

const char *thp_reason_text(enum thp_reason r)
{
	return reason_texts[r];
}

/* Settings, advice and kind; not the range. */
static __always_inline enum thp_reason order_reason(const struct vma *v, unsigned order)
{
	enum thp_enabled enabled = thp_size_enabled(order);

	if (unlikely(v->kind != VMA_ANON))
		return THP_NOT_ANON;
	if (unlikely(v->flags & (VM_NOHUGEPAGE | VM_STACK)) && !seeded(STACK_HUGE))
		return v->flags & VM_STACK ? THP_STACK : THP_NOHUGEPAGE;
	if (unlikely(v->mm->thp_disable))
		return THP_PRCTL;
	if (likely(enabled == THP_ALWAYS))
		return THP_OK;
	if (enabled == THP_NEVER)
		return THP_NEVER_SET;
	return v->flags & VM_HUGEPAGE ? THP_OK : THP_NOT_ADVISED;
}

/*
 * thp_vma_reason, thp_order_reason - may this area have huge pages at all, or pages of 2^order?
 *   locks    mm->lock held (any mode)
 *   returns  THP_OK or the first reason against it
 *   Linux    hugepage_vma_check; thp_vma_allowable_orders
 */
enum thp_reason thp_vma_reason(const struct vma *v)
{
	return order_reason(v, HPAGE_PMD_ORDER);
}

enum thp_reason thp_order_reason(const struct vma *v, unsigned order)
{
	return order_reason(v, order);
}

/* thp_addr_reason - the fault's whole predicate for one address. mm->lock held. */
enum thp_reason thp_addr_reason(const struct vma *v, vaddr_t addr)
{
	enum thp_reason r = thp_vma_reason(v);

	if (r == THP_OK && !vma_covers_huge(v, addr))
		return THP_RANGE;
	return r;
}

/* thp_has_block - is there a free block of at least this order, or one cleared in advance, just now? No lock. */
bool thp_has_block(unsigned order)
{
	for_each_zone (z) {
		if (order == HPAGE_PMD_ORDER && READ_ONCE(z->prezeroed.count))
			return true;
		for (unsigned n = order; n <= MAX_ORDER; n++)
			if (buddy_nr_free(z, n))
				return true;
	}
	return false;
}

/* --- getting a block --- */

#define ALLOC_DIRECT 0x1 /* the fault itself may work for a block */
#define ALLOC_WAKE   0x2 /* the daemons may be woken for one */

/*
 * The allocation mask: `defrag` and the area's advice say how hard a fault may try (Linux:
 * vma_thp_gfp_mask). "Light" is neither bit: take a block only if there is plenty.
 */
static u32 alloc_mask(const struct vma *v)
{
	bool advised = v->flags & VM_HUGEPAGE;

	switch (thp_settings.defrag) {
	case DEFRAG_ALWAYS:
		return ALLOC_DIRECT;
	case DEFRAG_DEFER:
		return ALLOC_WAKE;
	case DEFRAG_DEFER_MADVISE:
		return advised ? ALLOC_DIRECT : ALLOC_WAKE;
	case DEFRAG_MADVISE:
		return advised ? ALLOC_DIRECT : 0;
	case DEFRAG_NEVER:
		return 0;
	}
	return 0;
}

/* thp_may_compact - may a fault in this area work for what is not there? `defrag` and its advice say so. */
bool thp_may_compact(const struct vma *v)
{
	return alloc_mask(v) & ALLOC_DIRECT;
}

/* No block is free: may the fault do something about it? */
static enum thp_reason why_no_block(const struct vma *v)
{
	if (!thp_may_compact(v))
		return THP_NO_BLOCK_LIGHT;
	return compact_is_deferred(HPAGE_PMD_ORDER) ? THP_NO_BLOCK_DEFERRED : THP_NO_BLOCK;
}

/*
 * thp_why - what is there now, or what the next fault there would get, and for which reason.
 *   locks    mm->lock held (any mode)
 */
enum thp_reason thp_why(struct mm *mm, vaddr_t addr)
{
	struct vma *v = vma_find(mm, addr);
	enum thp_reason r;
	pmd_t pmd;

	if (!v)
		return THP_NO_VMA;
	pmd = pgtable_look_pmd(mm, addr);
	if (pmd_kind(pmd) == ENTRY_LEAF)
		return pfn_is_huge_zero(pmd_pfn(pmd)) ? THP_HUGE_ZERO : THP_HUGE;
	r = thp_addr_reason(v, addr);
	if (r != THP_OK)
		return r;
	if (pmd_kind(pmd) == ENTRY_TABLE)
		return THP_PTE_TABLE;
	return thp_has_block(HPAGE_PMD_ORDER) ? THP_OK : why_no_block(v);
}

/*
 * A block of order 9 for this area, or NULL; `where`: buddy's flags. Direct work is compaction, in two steps for who was
 * advised to want it and in one, which waits for nothing, for who was not.
 */
static __always_inline struct page *alloc_block_on(const struct vma *v, u32 where)
{
	u32 mask = alloc_mask(v);
	u32 flags = where | (mask & (ALLOC_DIRECT | ALLOC_WAKE) ? 0 : BUDDY_QUIET);
	struct page *page = buddy_alloc(HPAGE_PMD_ORDER, MIGRATE_MOVABLE, PAGE_ANON_HUGE, flags);

	if (!page && mask & ALLOC_DIRECT)
		page = compact_alloc_huge(v->flags & VM_HUGEPAGE, where);
	if (!page && mask & ALLOC_WAKE)
		compact_wake(HPAGE_PMD_ORDER);
	if (!page)
		vmstat_inc(VM_thp_fault_fallback);
	return page;
}

/* From near this CPU. */
static __noinline struct page *alloc_block(const struct vma *v)
{
	return alloc_block_on(v, 0);
}

/* A block that may have been cleared in advance: then *zeroed. */
static __always_inline struct page *alloc_block_zeroed(const struct vma *v, bool *zeroed)
{
	struct page *page;

	*zeroed = false;
	if (likely(!READ_ONCE(thp_settings.prezero)))
		return alloc_block(v);
	page = buddy_alloc_prezeroed();
	if (!page) {
		vmstat_inc(VM_thp_prezero_miss);
		return alloc_block(v);
	}
	*zeroed = true;
	vmstat_inc(VM_thp_prezero_alloc);
	sched_wake_idle(); /* to clear another one */
	return page;
}

/* Somebody has said where memory is to come from, perhaps for this area or thread. */
static __noinline struct page *alloc_block_by_policy(
	const struct vma *v, vaddr_t haddr, bool *zeroed)
{
	u32 where = mempolicy_wish(v, haddr, HPAGE_PMD_ORDER);

	*zeroed = false;
	return where ? alloc_block_on(v, where) : alloc_block_zeroed(v, zeroed);
}

static __always_inline struct page *alloc_block_for(
	const struct vma *v, vaddr_t haddr, bool *zeroed)
{
	if (unlikely(READ_ONCE(mempolicy_used)))
		return alloc_block_by_policy(v, haddr, zeroed);
	return alloc_block_zeroed(v, zeroed);
}

/* Clearing and copying 2 MiB is the long part of a huge fault; faults of one space overlap here, and this counts it. */
static void long_work_begin(struct mm *mm)
{
	if (__atomic_fetch_add(&mm->clearing, 1, __ATOMIC_RELAXED) > 0)
		vmstat_inc(VM_fault_overlap);
}

static void long_work_end(struct mm *mm)
{
	__atomic_sub_fetch(&mm->clearing, 1, __ATOMIC_RELAXED);
}

/* thp_clear - a huge page nobody else has becomes zeroes. No spinlock held. */
void thp_clear(struct mm *mm, struct page *page)
{
	long_work_begin(mm);
	clear_huge_page(page_to_virt(page));
	long_work_end(mm);
}

/* The first one to need it works for a block, whatever `defrag` says: Linux asks with GFP_TRANSHUGE. */
__noinline static pfn_t zero_after_compaction(void)
{
	struct page *block = compact_alloc_huge(true, 0);
	pfn_t pfn;

	if (block)
		buddy_free(block);
	pfn = zero_huge_get();
	if (!pfn)
		vmstat_inc(VM_thp_zero_page_alloc_failed);
	return pfn;
}

/*
 * thp_mm_huge_zero - the huge zero page for a space, which holds one reference until it ends.
 *   locks    pt_lock not held
 *   returns  its first frame, 0: no memory
 *   Linux    mm_get_huge_zero_page
 */
pfn_t thp_mm_huge_zero(struct mm *mm)
{
	pfn_t pfn;
	bool had;

	if (likely(READ_ONCE(mm->has_huge_zero)))
		return zero_huge_pfn;
	pfn = zero_huge_get() ?: zero_after_compaction();
	if (!pfn)
		return 0;
	spin_lock(&mm->pt_lock);
	had = mm->has_huge_zero;
	mm->has_huge_zero = true;
	spin_unlock(&mm->pt_lock);
	if (had) /* another thread of this space was faster: one reference is enough */
		zero_huge_put();
	return pfn;
}

/* --- the 2 MiB level: nothing is mapped yet --- */

/* Map the huge zero page, read-only. */
static enum fault_result fault_zero(struct vma *v, vaddr_t haddr, pmd_t *pmdp)
{
	struct mm *mm = v->mm;
	struct page *table = pgtable_alloc_table(mm, false);
	pfn_t zero;

	if (!table)
		return FAULT_NO_MEMORY;
	zero = thp_mm_huge_zero(mm);
	if (!zero) {
		pgtable_free_table(table);
		vmstat_inc(VM_thp_fault_fallback);
		return FAULT_FALLBACK;
	}
	spin_lock(&mm->pt_lock);
	if (pmd_kind(pmd_read(pmdp)) != ENTRY_HOLE) {
		spin_unlock(&mm->pt_lock);
		pgtable_free_table(table);
		return FAULT_DONE;
	}
	pgtable_deposit(mm, pmdp, table);
	pmd_write(pmdp, pmd_make_huge(zero, vma_rights(v)));
	spin_unlock(&mm->pt_lock);
	trace(TRACE_thp_fault, haddr, FAULT_DONE, zero);
	return FAULT_DONE;
}

/*
 * Put a filled huge page where `seen` stands: a hole, or the huge zero page when it is being replaced.
 * Commits in straight code; false: the entry changed meanwhile, the caller keeps the page.
 */
static bool install_huge(struct vma *v, vaddr_t haddr, pmd_t *pmdp, pmd_t seen, struct page *page,
	struct page *table)
{
	struct mm *mm = v->mm;

	spin_lock(&mm->pt_lock);
	if (pmd_read(pmdp).v != seen.v) {
		spin_unlock(&mm->pt_lock);
		return false;
	}
	if (table)
		pgtable_deposit(mm, pmdp, table);
	rmap_new_anon_huge(page, v, haddr);
	mm->nr_anon += HPAGE_PMD_NR;
	if (seen.v) { /* read-only zeroes may be cached: no CPU may read them once the write is done */
		pmd_write(pmdp, (pmd_t){0});
		tlb_flush(&mm->tlb, haddr, haddr + HPAGE_PMD_SIZE, HPAGE_PMD_SIZE, TLB_cow);
	}
	pmd_write(pmdp, pmd_make_huge(page_to_pfn(page), vma_rights_write(v)));
	lru_add_active(page);
	spin_unlock(&mm->pt_lock);
	return true;
}

/*
 * thp_fault - a hole at the pmd, in an area that may have huge pages.
 *   locks    mm->lock held for reading; takes pt_lock
 *   returns  FAULT_DONE; FAULT_FALLBACK (the range does not fit, or no block); FAULT_NO_MEMORY (not even tables)
 *   Linux    do_huge_pmd_anonymous_page
 */
enum fault_result thp_fault(const struct fault *f, struct vma *v, pmd_t *pmdp)
{
	struct mm *mm = v->mm;
	vaddr_t haddr = f->addr & HPAGE_PMD_MASK;
	struct page *page, *table;
	bool zeroed;

	if (!vma_covers_huge(v, haddr)) {
		trace(TRACE_thp_fault, haddr, FAULT_FALLBACK, THP_RANGE);
		return FAULT_FALLBACK;
	}
	if (rmap_prepare(v))
		return FAULT_NO_MEMORY;
	thp_enter_mm(mm);
	if (!f->write && thp_settings.use_zero_page && !mm->forbid_zero)
		return fault_zero(v, haddr, pmdp);

	page = alloc_block_for(v, haddr, &zeroed);
	if (!page) {
		trace(TRACE_thp_fault, haddr, FAULT_FALLBACK, THP_NO_BLOCK);
		return FAULT_FALLBACK;
	}
	table = pgtable_alloc_table(mm, false);
	if (!table) {
		page_put(page);
		return FAULT_NO_MEMORY;
	}
	if (!zeroed)
		thp_clear(mm, page);
	if (!install_huge(v, haddr, pmdp, (pmd_t){0}, page, table)) {
		pgtable_free_table(table);
		page_put(page);
		return FAULT_DONE;
	}
	vmstat_inc(VM_thp_fault_alloc);
	trace(TRACE_thp_fault, haddr, FAULT_DONE, page_to_pfn(page));
	return FAULT_DONE;
}

/* --- the 2 MiB level: a huge leaf is there --- */

/*
 * thp_set_accessed - nothing was wrong with the leaf (another CPU was faster, or the CPU left A to us).
 *   Linux    huge_pmd_set_accessed
 */
enum fault_result thp_set_accessed(const struct fault *f, struct vma *v, pmd_t *pmdp, pmd_t seen)
{
	struct mm *mm = v->mm;

	spin_lock(&mm->pt_lock);
	if (pmd_read(pmdp).v == seen.v)
		entry_touch(&pmdp->v, f->write);
	spin_unlock(&mm->pt_lock);
	return FAULT_DONE;
}

/* Split the leaf if it still is what was seen; fault.c goes on below it. */
static enum fault_result wp_split(struct vma *v, vaddr_t haddr, pmd_t *pmdp, pmd_t seen)
{
	struct mm *mm = v->mm;

	spin_lock(&mm->pt_lock);
	if (pmd_read(pmdp).v == seen.v)
		thp_split_pmd(v, haddr, pmdp);
	spin_unlock(&mm->pt_lock);
	return FAULT_FALLBACK;
}

/* First write to the huge zero page: a huge page of its own, or (cow=split) 4 KiB of its own. */
static enum fault_result wp_zero(struct vma *v, vaddr_t haddr, pmd_t *pmdp, pmd_t seen)
{
	struct mm *mm = v->mm;
	struct page *page;
	bool zeroed;

	if (thp_settings.cow == COW_SPLIT)
		return wp_split(v, haddr, pmdp, seen);
	if (rmap_prepare(v))
		return FAULT_NO_MEMORY;
	page = alloc_block_for(v, haddr, &zeroed);
	if (!page)
		return wp_split(v, haddr, pmdp, seen);
	if (!zeroed)
		thp_clear(mm, page);
	if (install_huge(v, haddr, pmdp, seen, page, NULL)) /* the deposit stays as it is */
		vmstat_inc(VM_thp_fault_alloc);
	else
		page_put(page);
	return FAULT_DONE;
}

/* Give `nr` pages of a list back: they were never mapped. */
static void put_list(struct page_list *list)
{
	while (list->first) {
		struct page *p = pfn_to_page(list->first);

		page_list_del(list, p);
		page_put(p);
	}
}

/* 512 small pages with the contents of a huge one. false: no memory, nothing kept. */
static bool copy_small(
	const struct vma *v, vaddr_t haddr, struct page *from, struct page_list *list)
{
	for (u64 i = 0; i < HPAGE_PMD_NR; i++) {
		u32 where = mempolicy_wish(v, haddr + i * PAGE_SIZE, 0);
		struct page *p = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, where);

		if (!p) {
			put_list(list);
			return false;
		}
		copy_page(page_to_virt(p), page_to_virt(from) + i * PAGE_SIZE);
		page_list_add_tail(list, p);
	}
	return true;
}

/*
 * No block to copy 2 MiB into: 512 small copies at once (Linux 4.11: do_huge_pmd_wp_page_fallback). `page` is
 * pinned by the caller. FAULT_FALLBACK when there is no memory for that either: fault.c copies one page.
 */
static enum fault_result wp_copy_small(
	struct vma *v, vaddr_t haddr, pmd_t *pmdp, pmd_t seen, struct page *page)
{
	struct mm *mm = v->mm;
	struct page_list copies = {0};
	pte_t *pte;
	u64 gen;

	if (!copy_small(v, haddr, page, &copies))
		return wp_split(v, haddr, pmdp, seen);
	spin_lock(&mm->pt_lock);
	if (pmd_read(pmdp).v != seen.v) {
		spin_unlock(&mm->pt_lock);
		put_list(&copies);
		return FAULT_DONE;
	}
	thp_split_pmd(v, haddr, pmdp); /* still the old frames, read-only */
	pte = pte_ptr(pmd_read(pmdp), haddr);
	for (u64 i = 0; i < HPAGE_PMD_NR; i++)
		pte_write(pte + i, (pte_t){0});
	gen = tlb_flush(&mm->tlb, haddr, haddr + HPAGE_PMD_SIZE, PAGE_SIZE, TLB_cow);
	for (u64 i = 0; i < HPAGE_PMD_NR; i++) {
		struct page *copy = pfn_to_page(copies.first);

		page_list_del(&copies, copy);
		rmap_remove_pte(page_to_pfn(page) + i);
		rmap_new_anon(copy, v, haddr + i * PAGE_SIZE);
		pte_write(pte + i, pte_make(page_to_pfn(copy), vma_rights_write(v)));
		lru_add_active(copy);
	}
	spin_unlock(&mm->pt_lock);
	tlb_assert_acked(&mm->tlb, gen);
	page_put_many(page, HPAGE_PMD_NR);
	return FAULT_DONE;
}

/* Copy 2 MiB: allocate and copy without the lock, look again, swap the entry. `page` is pinned by the caller. */
static enum fault_result wp_copy(
	struct vma *v, vaddr_t haddr, pmd_t *pmdp, pmd_t seen, struct page *page)
{
	struct mm *mm = v->mm;
	struct page *copy = alloc_block_on(v, mempolicy_wish(v, haddr, HPAGE_PMD_ORDER));
	u64 gen;

	if (!copy) {
		vmstat_inc(VM_thp_wp_fallback);
		return wp_copy_small(v, haddr, pmdp, seen, page);
	}
	long_work_begin(mm);
	for (u64 i = 0; i < HPAGE_PMD_NR; i++)
		copy_page(page_to_virt(copy) + i * PAGE_SIZE, page_to_virt(page) + i * PAGE_SIZE);
	long_work_end(mm);

	spin_lock(&mm->pt_lock);
	if (pmd_read(pmdp).v != seen.v) {
		spin_unlock(&mm->pt_lock);
		page_put(copy);
		return FAULT_DONE;
	}
	pmd_write(pmdp, (pmd_t){0});
	gen = tlb_flush(&mm->tlb, haddr, haddr + HPAGE_PMD_SIZE, HPAGE_PMD_SIZE, TLB_cow);
	rmap_remove_pmd(page);
	rmap_new_anon_huge(copy, v, haddr);
	pmd_write(pmdp, pmd_make_huge(page_to_pfn(copy), vma_rights_write(v)));
	lru_add_active(copy);
	spin_unlock(&mm->pt_lock);
	tlb_assert_acked(&mm->tlb, gen);
	page_put(page); /* the mapping's reference; the pin is the caller's */
	vmstat_inc(VM_thp_fault_alloc);
	vmstat_inc(VM_thp_wp_copy);
	return FAULT_DONE;
}

/*
 * thp_wp - a write to a read-only huge leaf that the area allows.
 *   locks    mm->lock held for reading; takes pt_lock
 *   returns  FAULT_DONE; FAULT_FALLBACK: now 4 KiB entries stand there, fault.c goes on; FAULT_BAD_ACCESS: a device
 *   objects  a shared area writes into the object's page; a private one copies 4 KiB of it at a time
 *   Linux    do_huge_pmd_wp_page; knob cow: copy is 4.11's rule, split that of 5.8 to 6.12
 */
enum fault_result thp_wp(const struct fault *f, struct vma *v, pmd_t *pmdp, pmd_t seen)
{
	struct mm *mm = v->mm;
	vaddr_t haddr = f->addr & HPAGE_PMD_MASK;
	enum fault_result r;
	struct page *page;

	if (seen.v & PTE_DEVICE)
		return FAULT_BAD_ACCESS;
	if (pfn_is_huge_zero(pmd_pfn(seen)))
		return wp_zero(v, haddr, pmdp, seen);

	spin_lock(&mm->pt_lock);
	if (pmd_read(pmdp).v != seen.v) {
		spin_unlock(&mm->pt_lock);
		return FAULT_DONE;
	}
	page = pfn_to_page(pmd_pfn(seen));
	if (v->flags & VM_SHARED || rmap_pmd_exclusive(page)) {
		pmd_write(pmdp, (pmd_t){seen.v | PTE_RW | PTE_D | PTE_A | PTE_EXCL});
		spin_unlock(&mm->pt_lock);
		vmstat_inc(VM_thp_wp_reuse);
		return FAULT_DONE;
	}
	if (thp_settings.cow == COW_SPLIT || page->flags & PG_SHARED) {
		thp_split_pmd(v, haddr, pmdp);
		spin_unlock(&mm->pt_lock);
		return FAULT_FALLBACK;
	}
	page_get(page); /* stays while it is copied, whoever else lets go of it */
	spin_unlock(&mm->pt_lock);
	r = wp_copy(v, haddr, pmdp, seen, page);
	page_put(page);
	return r;
}

/* --- khugepaged's list --- */

/*
 * thp_enter_mm - this space may have something to promote: list it once, wake khugepaged if the list was empty.
 *   locks    mm->lock held (any mode)
 *   Linux    khugepaged_enter_vma
 */
void thp_enter_mm(struct mm *mm)
{
	bool first;

	if (likely(READ_ONCE(mm->thp_listed)))
		return;
	spin_lock(&thp_list_lock);
	if (mm->thp_listed || mm->exiting) {
		spin_unlock(&thp_list_lock);
		return;
	}
	first = list_empty(&thp_list);
	mm_get(mm);
	list_add_tail(&mm->thp_link, &thp_list);
	mm->thp_listed = true;
	thp_listed++;
	spin_unlock(&thp_list_lock);
	if (first)
		waitq_wake_all(&thp_wait);
}

/*
 * thp_exit_mm - the space is going: take it off the list; a cursor that stands on it steps back.
 *   locks    mm->lock held for writing, mm->exiting set: khugepaged looks at that after it has the lock
 *   Linux    khugepaged_exit
 */
void thp_exit_mm(struct mm *mm)
{
	bool listed;

	spin_lock(&thp_list_lock);
	listed = mm->thp_listed;
	if (listed) {
		if (thp_cursor == &mm->thp_link)
			thp_cursor = mm->thp_link.prev;
		list_del(&mm->thp_link);
		mm->thp_listed = false;
		thp_listed--;
	}
	spin_unlock(&thp_list_lock);
	if (listed)
		mm_put(mm);
}

struct mm *thp_next_mm(void)
{
	struct mm *mm = NULL;

	spin_lock(&thp_list_lock);
	thp_cursor = thp_cursor->next;
	if (thp_cursor != &thp_list) {
		mm = container_of(thp_cursor, struct mm, thp_link);
		mm_get(mm);
	}
	spin_unlock(&thp_list_lock);
	return mm;
}

u32 thp_nr_listed(void)
{
	return READ_ONCE(thp_listed);
}

/* --- the checker --- */

static bool check_huge(pfn_t pfn)
{
	struct page *head = pfn_to_page(pfn);
	u64 ptes = 0;

	if ((pfn & (HPAGE_PMD_NR - 1)) || !page_is_huge(head)) {
		printk("H1: block of pfn %lu says huge, its head is %s\n", pfn,
			page_type_name(head->type));
		return false;
	}
	for (u64 i = 0; i < HPAGE_PMD_NR; i++)
		ptes += head[i].mapcount;
	if (ptes != page_pte_mappings(head) || page_refcount(head) < page_total_mapcount(head)) {
		printk("H2: huge page %lu: refs %u, pmds %u, ptes %lu, sum of its frames %lu\n",
			pfn, page_refcount(head), page_pmd_mapcount(head), page_pte_mappings(head),
			ptes);
		return false;
	}
	return true;
}

static bool check_zero_refs(struct mm *mm, void *ctx)
{
	u32 *spaces = ctx;

	*spaces += mm->has_huge_zero;
	return true;
}

/*
 * thp_check - H1 to H4 over all memory and all spaces.
 *   locks    none; other CPUs stand still
 *   returns  false after printing the first invariant that is broken
 */
bool thp_check(void)
{
	u32 spaces = 0;
	u64 queued = 0;
	struct page *p;

	for (pfn_t pfn = 0; pfn < page_max_pfn; pfn += HPAGE_PMD_NR) {
		bool huge = pfn_in_huge(pfn);

		if (huge && !check_huge(pfn))
			return false;
		if (!huge && pfn_valid(pfn) && page_is_huge(pfn_to_page(pfn))) {
			printk("H1: pfn %lu is the head of a huge page, its block does not say "
			       "so\n",
				pfn);
			return false;
		}
	}
	mm_for_each(check_zero_refs, &spaces);
	if (zero_huge_pfn ? zero_huge_refs() != spaces + 1 : spaces) {
		printk("H3: %u spaces hold the huge zero page, %u references\n", spaces,
			zero_huge_refs());
		return false;
	}
	for (u32 pfn = lru.deferred.first; pfn; pfn = pfn_to_page(pfn)->next, queued++) {
		p = pfn_to_page(pfn) - 1; /* the queue links the second frame of each */
		if (!page_is_huge(p) || !(p->flags & PG_DEFERRED)) {
			printk("H4: pfn %u on the deferred-split queue is %s, flags 0x%x\n",
				pfn - 1, page_type_name(p->type), p->flags);
			return false;
		}
	}
	if (queued != lru.deferred.count) {
		printk("H4: %lu pages on the deferred-split queue, its count is %lu\n", queued,
			lru.deferred.count);
		return false;
	}
	return true;
}
