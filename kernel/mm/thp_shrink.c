/*
 * thp_shrink.c - huge pages that hold memory for nothing give it back     floor 5, below: thp, zap, rmap, lru
 *
 * Finds huge pages that are worth less than they cost and has thp_split.c take them apart. It decides which; it is
 * told when (reclaim.c under pressure and for drop_caches, /sys/kernel/debug/split_huge_pages on request).
 *
 * IDEA      two ways to hold memory for nothing, and what a split gives back
 *
 *     partly unmapped      |P|P| . . . . . . . . .|     holes that nobody maps: free at once
 *                          waits on the deferred queue since the first frame was unmapped
 *
 *     mostly zero          |P|0 0 0 0 0 0 0 0 0 0 |     mapped, but never written: max_ptes_none says how many are
 *                                                       too many; their entries then name the zero page
 *
 *   Both keep a page whole as long as memory is plenty: it may be unmapped as a whole a moment later, and a
 *   huge entry is worth something. Linux queues each huge page when it is made, to look for zeroes later; here
 *   every huge page stands on the LRU anyway, so nothing is queued and the fault costs nothing more.
 *
 * INVARIANTS
 *   P1  a frame becomes the zero page only while no CPU can write to it: write right taken, flushed, looked at
 *       again, and this mapping is its only reference (asserted by zap's rule U1 when the frame is freed)
 *   P2  a page taken off the queue and not split goes back on it: H4 of thp.c counts
 *
 * LOCKS     a reference on the page; thp_split_page takes its own; anon->lock -> pt_lock -> lru, zone
 * LINUX     mm/huge_memory.c: deferred_split_scan, thp_underused (6.12), split_huge_pages_write. There every split
 *           maps zeroes to the zero page, here only this one.              docs/mm/splitting.md
 */
#include "mm/thp_shrink.h"
#include "mm/buddy.h"
#include "mm/lru.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/thp.h"
#include "mm/thp_split.h"
#include "mm/vma.h"
#include "mm/zero.h"
#include "mutex.h"
#include "sched.h"
#include "trace.h"
#include "vmstat.h"

/* --- partly unmapped ------------------------------------------------------------------------- */

u64 thp_shrink_deferred(void)
{
	u64 waiting = READ_ONCE(lru.deferred.count), split = 0;
	struct page *head;

	trace(TRACE_mm_shrink_slab_start, SHRINK_DEFERRED, waiting, 0);
	for (u64 i = 0; i < waiting && (head = lru_deferred_take()); i++) {
		if (thp_split_taken(head) == 0)
			split++;
		else
			lru_deferred_add(head); /* P2; it was counted when it came */
		page_put(head);
		preempt_point();
	}
	trace(TRACE_mm_shrink_slab_end, SHRINK_DEFERRED, split, 0);
	return split;
}

/* --- mostly zero ------------------------------------------------------------------------------ */

static bool frame_is_zero(const struct page *p)
{
	const u64 *word = page_to_virt(p), *end = word + PAGE_SIZE / sizeof(*word);

	while (word < end && !READ_ONCE(*word))
		word++;
	return word == end;
}

/* More frames of zeroes than max_ptes_none? Stops as soon as that is known. Linux: thp_underused */
static bool is_underused(const struct page *head)
{
	u32 max_none = READ_ONCE(thp_settings.max_ptes_none), zero = 0;

	if (max_none >= HPAGE_PMD_NR - 1)
		return false;
	for (u32 i = 0; i < HPAGE_PMD_NR; i++) {
		if (frame_is_zero(head + i))
			zero++;
		if (zero > max_none)
			return true;
		if (i + 1 - zero >= HPAGE_PMD_NR - max_none)
			return false;
	}
	return false;
}

/* A page that was split, by its first frame; how many of its frames were given back. */
struct zeroes {
	pfn_t pfn;
	u64 freed;
};

/* Does this entry alone name one of the frames, and is there nothing in it? */
static bool is_zero_candidate(const struct zeroes *z, pte_t e)
{
	struct page *page = pfn_to_page(pte_pfn(e));

	return pte_present(e) && (pte_pfn(e) & ~(HPAGE_PMD_NR - 1)) == z->pfn &&
	       !pfn_in_huge(pte_pfn(e)) && page_refcount(page) == 1 && frame_is_zero(page);
}

/*
 * The entries of [start, end), all in one table. pt_lock held.
 *
 * The hard place: a CPU may write to the frame while it is looked at. So the write right goes first and is flushed
 * on every CPU, and only what is zero then is replaced. One that was written in between stays, read-only: its next
 * write finds it exclusive and gets the right back.
 */
static unsigned replace_zeroes(
	struct vma *v, vaddr_t start, vaddr_t end, pte_t *ptep, const struct zeroes *z, u32 *pfns)
{
	u64 marked[HPAGE_PMD_NR / 64] = {0}, n = (end - start) >> PAGE_SHIFT;
	unsigned nr = 0;

	for (u64 i = 0; i < n; i++) {
		if (!is_zero_candidate(z, pte_read(ptep + i)))
			continue;
		entry_drop_write(&ptep[i].v);
		marked[i / 64] |= 1ul << i % 64;
		nr++;
	}
	if (!nr)
		return 0;
	tlb_flush(&v->mm->tlb, start, end, PAGE_SIZE, TLB_protect);
	nr = 0;
	for (u64 i = 0; i < n; i++) {
		if (!(marked[i / 64] >> i % 64 & 1) || !is_zero_candidate(z, pte_read(ptep + i)))
			continue;
		pfns[nr] = pte_pfn(pte_read(ptep + i));
		rmap_remove_pte(pfns[nr++]);
		pte_take(ptep + i);
		pte_write(ptep + i, pte_make(zero_pfn, vma_rights(v)));
	}
	return nr;
}

static void zero_table(struct vma *v, vaddr_t start, vaddr_t end, struct zeroes *z)
{
	struct mm *mm = v->mm;
	u32 pfns[HPAGE_PMD_NR];
	unsigned nr = 0;
	pmd_t *pmdp;
	u64 gen = 0;

	spin_lock(&mm->pt_lock);
	pmdp = pgtable_find_pmd(mm, start);
	if (pmdp && pmd_kind(pmd_read(pmdp)) == ENTRY_TABLE)
		nr = replace_zeroes(v, start, end, pte_ptr(pmd_read(pmdp), start), z, pfns);
	if (nr) {
		mm_uncount(mm, nr, 0);
		gen = tlb_flush(&mm->tlb, start, end, PAGE_SIZE, TLB_unmap);
	}
	spin_unlock(&mm->pt_lock);
	if (!nr)
		return;
	tlb_assert_acked(&mm->tlb, gen); /* U1 of zap.c */
	page_put_batch(pfns, nr);
	z->freed += nr;
}

/* One area that may map the page. Locked memory stays, and spaces that want no zero page keep theirs. */
static bool zero_area(struct vma *v, vaddr_t addr, void *ctx)
{
	struct zeroes *z = ctx;
	vaddr_t end = MIN(v->end, addr + HPAGE_PMD_SIZE);

	if (v->flags & VM_LOCKED || v->mm->forbid_zero)
		return true;
	for (vaddr_t a = addr, next; a < end; a = next) {
		next = pmd_range_end(a, end);
		zero_table(v, a, next, z);
	}
	return true;
}

/* Split one and let its zeroes go. The reference that the caller had is dropped here. */
static bool shrink_underused(struct page *head)
{
	struct zeroes z = {.pfn = page_to_pfn(head)};
	u64 index = page_index(head);
	struct anon *anon = rmap_pin_anon(head);
	bool split = anon && thp_split_page(head) == 0;

	page_put(head);
	if (split) {
		rmap_walk(anon, index, HPAGE_PMD_NR, zero_area, &z);
		vmstat_inc(VM_thp_underused_split_page);
	}
	if (anon)
		rmap_unpin_anon(anon);
	return split;
}

/* A reference on the huge page of anonymous memory that begins at pfn, if there is one. */
static struct page *huge_get(pfn_t pfn)
{
	struct page *head = pfn_to_page(pfn);

	if (!pfn_in_huge(pfn) || !lru_get(head))
		return NULL;
	if (page_is_huge(head))
		return head;
	page_put(head); /* it was split meanwhile */
	return NULL;
}

u64 thp_shrink_underused(void)
{
	u64 split = 0, seen = 0;

	if (!READ_ONCE(thp_settings.shrink_underused) ||
		READ_ONCE(thp_settings.max_ptes_none) >= HPAGE_PMD_NR - 1)
		return 0;
	trace(TRACE_mm_shrink_slab_start, SHRINK_UNDERUSED, 0, 0);
	for (pfn_t pfn = 0; pfn < page_max_pfn; pfn += HPAGE_PMD_NR) {
		struct page *head = huge_get(pfn);

		if (!head)
			continue;
		seen++;
		if (is_underused(head))
			split += shrink_underused(head);
		else
			page_put(head);
		preempt_point();
	}
	trace(TRACE_mm_shrink_slab_end, SHRINK_UNDERUSED, split, seen);
	return split;
}

/* --- on request -------------------------------------------------------------------------------- */

static void split_counted(struct page *head, struct thp_split_count *count)
{
	count->total++;
	count->split += thp_split_page(head) == 0;
	page_put(head);
}

void thp_split_all(struct thp_split_count *count)
{
	for (pfn_t pfn = 0; pfn < page_max_pfn; pfn += HPAGE_PMD_NR) {
		struct page *head = huge_get(pfn);

		if (head)
			split_counted(head, count);
		preempt_point();
	}
}

/*
 * Of a leaf: a huge page that can be split. A device's, the zero page's, and an object's cannot; one without access is
 * passed over as on Linux, which follows no such entry.
 */
static struct page *splittable(pfn_t pfn, u64 entry)
{
	struct page *head;

	if (entry & PTE_DEVICE || entry_protnone(entry) || !pfn_in_huge(pfn))
		return NULL;
	head = pfn_head(pfn);
	if (!page_is_huge(head) || head->flags & PG_SHARED)
		return NULL;
	page_get(head); /* mapped, and the mapping is held by pt_lock */
	return head;
}

/*
 * The first huge page at or above *addr in this table's range, with a reference; *addr moves past what was looked at.
 * held: mm(read)
 */
static struct page *next_splittable(struct mm *mm, pmd_t *pmdp, vaddr_t *addr, vaddr_t end)
{
	struct page *head = NULL;
	pmd_t pmd;

	spin_lock(&mm->pt_lock);
	pmd = pmd_read(pmdp);
	if (pmd_kind(pmd) != ENTRY_TABLE) {
		if (pmd_kind(pmd) == ENTRY_LEAF)
			head = splittable(pmd_pfn(pmd), pmd.v);
		*addr = end;
	}
	for (; *addr < end && !head; *addr += PAGE_SIZE) {
		pte_t pte = pte_read(pte_ptr(pmd, *addr));

		if (pte_kind(pte) == ENTRY_LEAF)
			head = splittable(pte_pfn(pte), pte.v);
	}
	spin_unlock(&mm->pt_lock);
	return head;
}

/*
 * thp_split_range - the huge pages mapped in [start, end), also those that are mapped by 4 KiB entries.
 *   locks    mm->lock held (any mode)
 */
void thp_split_range(struct mm *mm, vaddr_t start, vaddr_t end, struct thp_split_count *count)
{
	vaddr_t a = start & PAGE_MASK;
	struct page *head, *last = NULL;
	pmd_t *pmdp;

	ASSERT_RW_HELD(&mm->lock);
	thp_split_puds(mm, a, end);
	while ((pmdp = pgtable_next_pmd(mm, &a, end)) != NULL) {
		head = next_splittable(mm, pmdp, &a, pmd_range_end(a, end));
		if (head && head != last)
			split_counted(head, count);
		else if (head)
			page_put(head); /* it could not be split a moment ago */
		last = head;
		preempt_point();
	}
}
