/*
 * huge_pud.c - anonymous memory by the gigabyte                    floor 5, below: thp, gigapage, pgtable_pud, rmap
 *
 * The policy of leaves of 1 GiB: when a fault gets one, what a write to a shared one does, and how a whole one goes.
 * What only a part of one wants is not done here: thp_split_pud() makes 512 leaves of 2 MiB of it, and
 * everybody goes on with those.
 *
 * IDEA      one leaf joins 512 huge pages that lie in a row (gigapage.c); no page of 1 GiB exists:
 *
 *             pud --> | huge 0 | huge 1 | ... | huge 511 |     each is counted as mapped by one pmd, by this leaf
 *
 *             fault at a hole in the pud                         write fault at a read-only leaf
 *               |                                                  |
 *               enabled_1g, the CPU, the area, a write? -- no --.  all 512 ours alone? ---> made writable in place
 *               1 GiB in a row, or by moving pages? --- no -----|  else ------------------> split, FALLBACK:
 *                 yes: clear it, map it                         v                           thp_wp copies 2 MiB
 *                                                           FALLBACK: 2 MiB, then 4 KiB
 *
 *           So a split of the leaf changes no count and no descriptor: what the leaf stood for stands there itself.
 *
 * INVARIANTS
 *   T2, T3, T5 of pgtable_check(): a leaf's 512 pages, its deposit, nr_puds
 *   R2         of rmap_check(): a leaf of 1 GiB counts as one pmd over each of its 512 pages
 *   G2         (gigapage.c says it) huge_pud_check(): PB_PUD, and how many leaves name a gigabyte
 *
 * LOCKS     mm->lock -> pt_lock -> lru -> zone.lock, as thp.c
 * LINUX     do_huge_pmd_anonymous_page has no brother one level up: create_huge_pud answers "fallback" for anonymous
 *           memory, and only devices (DAX) have such leaves.                       docs/mm/huge-pud.md
 */
#include "mm/huge_pud.h"

#include "mm/buddy.h"
#include "mm/contig.h"
#include "mm/gigapage.h"
#include "mm/mempolicy.h"
#include "mm/lru.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/thp_split.h"
#include "mm/vma.h"
#include "printk.h"
#include "sched.h"
#include "trace.h"
#include "vmstat.h"

static bool possible;

void huge_pud_init(bool cpu_has_it)
{
	possible = cpu_has_it;
	huge_pud_forget_failures();
}

bool huge_pud_possible(void)
{
	return possible;
}

/* --- memory --- */

/*
 * Working for a gigabyte is dear, and a task can ask for one as often as it likes: after a failure the next 1, 3, 7 .. 1023
 * faults do without. Hints, written without a lock: two faults that disagree try once too often. Linux: compaction_deferred
 */
#define DEFER_SHIFT_MAX 10

static struct {
	u32 considered; /* faults since the last failure, up to 1 << shift */
	u32 shift;
} deferral;

static bool is_deferred(void)
{
	u32 limit = 1u << READ_ONCE(deferral.shift);

	if (limit == 1)
		return false;
	if (__atomic_add_fetch(&deferral.considered, 1, __ATOMIC_RELAXED) < limit)
		return true;
	WRITE_ONCE(deferral.considered, limit);
	return false;
}

/* Would the next fault be? Counts nothing. */
static bool looks_deferred(void)
{
	return READ_ONCE(deferral.considered) + 1 < 1u << READ_ONCE(deferral.shift);
}

static void note_try(bool success)
{
	WRITE_ONCE(deferral.considered, 0);
	WRITE_ONCE(deferral.shift, success ? 0 : MIN(deferral.shift + 1, DEFER_SHIFT_MAX));
}

/* huge_pud_forget_failures - somebody has changed what is allowed, and wants to see what it does. */
void huge_pud_forget_failures(void)
{
	note_try(true);
}

/* What there is: the reserve, or free in a row. Then, not too often: what CPUs hold on their lists, or by moving pages. */
static struct page *alloc_gigabyte(const struct vma *v)
{
	struct page *first = gigapage_alloc();

	if (first)
		return first;
	if (is_deferred()) {
		vmstat_inc(VM_thp_fault_deferred_1g);
		return NULL;
	}
	if (thp_may_compact(v)) {
		first = contig_alloc(GIGABYTE_ORDER, PAGE_ANON_HUGE);
	} else {
		sched_on_each_cpu(buddy_drain_pcp);
		first = gigapage_alloc();
	}
	note_try(first);
	return first;
}

bool huge_pud_available(void)
{
	struct page *first;

	sched_on_each_cpu(buddy_drain_pcp);
	gigapage_refill();
	if (gigapage_reserved())
		return true;
	first = gigapage_alloc();
	if (first)
		gigapage_free(first);
	return first;
}

/* There is none: may a fault in this area do something about it, and would it just now? */
static enum thp_reason why_none(const struct vma *v)
{
	if (!thp_may_compact(v))
		return THP_NO_GIGABYTE_LIGHT;
	return looks_deferred() ? THP_NO_GIGABYTE_DEFERRED : THP_NO_GIGABYTE;
}

/* --- who may have it --- */

/* Settings, advice and kind; not the range. */
static enum thp_reason area_reason(const struct vma *v)
{
	enum thp_reason r = thp_vma_reason(v);

	if (!possible)
		return THP_NO_1G_CPU;
	if (thp_settings.enabled_1g == THP_NEVER)
		return THP_NEVER_SET_1G;
	if (r == THP_OK && thp_settings.enabled_1g == THP_MADVISE && !(v->flags & VM_HUGEPAGE))
		return THP_NOT_ADVISED_1G;
	return r;
}

static bool covers(const struct vma *v, vaddr_t start)
{
	return start >= v->start && start + HPAGE_PUD_SIZE <= v->end;
}

enum thp_reason huge_pud_why(const struct vma *v, vaddr_t addr)
{
	pud_t *pudp = pgtable_find_pud(v->mm, addr), pud = pudp ? pud_read(pudp) : (pud_t){0};
	enum thp_reason r = area_reason(v);

	if (pud_kind(pud) == ENTRY_LEAF)
		return THP_HUGE_1G;
	if (r != THP_OK)
		return r;
	if (!covers(v, addr & HPAGE_PUD_MASK))
		return THP_RANGE_1G;
	if (pud_kind(pud) == ENTRY_TABLE)
		return THP_SMALLER_1G;
	return huge_pud_available() ? THP_OK : why_none(v);
}

/* --- a hole ----------------------------------------------------------------------------------------- */

/* Clear 1 GiB, 2 MiB at a time. False: the thread was killed meanwhile, and needs none so large any more. */
static bool clear_all(struct mm *mm, struct page *first)
{
	for (unsigned i = 0; i < GIGABYTE_BLOCKS; i++) {
		if (thread_killed())
			return false;
		thp_clear(mm, gigapage_part(first, i));
		preempt_point();
	}
	return true;
}

/* Map a cleared gigabyte where a hole was. False: another thread was faster, the caller keeps both. */
static bool install(
	struct vma *v, vaddr_t start, pud_t *pudp, struct page *first, struct page *pmds)
{
	struct mm *mm = v->mm;

	spin_lock(&mm->pt_lock);
	if (pud_kind(pud_read(pudp)) != ENTRY_HOLE) {
		spin_unlock(&mm->pt_lock);
		return false;
	}
	pgtable_deposit_pmds(mm, pudp, pmds);
	for (unsigned i = 0; i < GIGABYTE_BLOCKS; i++) {
		rmap_new_anon_huge(gigapage_part(first, i), v, start + i * HPAGE_PMD_SIZE);
		lru_add_active(gigapage_part(first, i));
	}
	gigapage_map_first(first);
	mm->nr_anon += GIGABYTE_PAGES;
	thp_count_puds(mm, 1);
	pud_write(pudp, pud_make_huge(page_to_pfn(first), vma_rights_write(v)));
	spin_unlock(&mm->pt_lock);
	return true;
}

/*
 * The area may have it: the gigabyte and its tables, or the next smaller size. That is also what a thread gets that is killed
 * meanwhile: it may be copying from ring 3 in the kernel, and would come back for ever with nothing mapped.
 */
static enum fault_result fault_gigabyte(struct vma *v, vaddr_t start, pud_t *pudp)
{
	struct page *first = alloc_gigabyte(v);
	struct page *pmds = first ? pgtable_alloc_pmds(v->mm) : NULL;

	if (!pmds || !clear_all(v->mm, first)) {
		vmstat_inc(VM_thp_fault_fallback_1g);
		trace(TRACE_thp_fault_pud, start, FAULT_FALLBACK, first ? THP_OK : THP_NO_GIGABYTE);
		if (pmds)
			pgtable_free_pmds(pmds);
		if (first)
			gigapage_free(first);
		return FAULT_FALLBACK;
	}
	if (!install(v, start, pudp, first, pmds)) { /* another thread was faster */
		pgtable_free_pmds(pmds);
		gigapage_free(first);
		return FAULT_DONE;
	}
	vmstat_inc(VM_thp_fault_alloc_1g);
	trace(TRACE_thp_fault_pud, start, FAULT_DONE, page_to_pfn(first));
	return FAULT_DONE;
}

/*
 * huge_pud_fault - a hole at the pud.
 *   locks    mm->lock held for reading; takes pt_lock
 *   returns  FAULT_DONE; FAULT_FALLBACK: no gigabyte for this, 2 MiB may do; FAULT_NO_MEMORY
 *   Linux    create_huge_pud
 * A first read falls through to the huge zero page: a gigabyte is for who writes.
 */
enum fault_result huge_pud_fault(const struct fault *f, struct vma *v, pud_t *pudp)
{
	vaddr_t start = f->addr & HPAGE_PUD_MASK;
	struct mm *mm = v->mm;

	if (likely(thp_settings.enabled_1g == THP_NEVER) || area_reason(v) != THP_OK ||
		!covers(v, start))
		return FAULT_FALLBACK;
	if (mempolicy_wish(v, start, HPAGE_PUD_SHIFT - PAGE_SHIFT))
		return FAULT_FALLBACK; /* the reserve is of no node in particular */
	if (!f->write && thp_settings.use_zero_page && !mm->forbid_zero)
		return FAULT_FALLBACK;
	if (rmap_prepare(v))
		return FAULT_NO_MEMORY;
	thp_enter_mm(mm);
	return fault_gigabyte(v, start, pudp);
}

/* --- a leaf ------------------------------------------------------------------------------------------ */

/* Is this mapping the only reference on each of the 512 pages? pt_lock held. */
static bool is_exclusive(struct page *first)
{
	for (unsigned i = 0; i < GIGABYTE_BLOCKS; i++)
		if (!rmap_pmd_exclusive(gigapage_part(first, i)))
			return false;
	return true;
}

/*
 * huge_pud_wp - a write to a read-only leaf that the area allows.
 *   locks    mm->lock held for reading; takes pt_lock
 *   returns  FAULT_DONE; FAULT_FALLBACK: leaves of 2 MiB stand there now, thp_wp copies one of them;
 *            FAULT_BAD_ACCESS: a device
 *   Linux    wp_huge_pud
 */
enum fault_result huge_pud_wp(const struct fault *f, struct vma *v, pud_t *pudp, pud_t seen)
{
	struct mm *mm = v->mm;
	enum fault_result r = FAULT_DONE;

	if (seen.v & PTE_DEVICE)
		return FAULT_BAD_ACCESS;
	spin_lock(&mm->pt_lock);
	if (pud_read(pudp).v == seen.v) {
		if (is_exclusive(pfn_to_page(pud_pfn(seen)))) {
			pud_write(pudp, (pud_t){seen.v | PTE_RW | PTE_D | PTE_A | PTE_EXCL});
			vmstat_inc(VM_thp_wp_reuse);
		} else {
			thp_split_pud(mm, f->addr);
			r = FAULT_FALLBACK;
		}
	}
	spin_unlock(&mm->pt_lock);
	return r;
}

/*
 * huge_pud_set_accessed - nothing was wrong with the leaf: note the access; or it had no rights and the area has.
 *   Linux    huge_pud_set_accessed
 */
enum fault_result huge_pud_set_accessed(
	const struct fault *f, struct vma *v, pud_t *pudp, pud_t seen)
{
	struct mm *mm = v->mm;

	spin_lock(&mm->pt_lock);
	if (pud_read(pudp).v == seen.v) {
		if (entry_protnone(seen.v))
			pud_write(pudp, (pud_t){entry_modify(seen.v, vma_rights(v))});
		else
			entry_touch(&pudp->v, f->write);
	}
	spin_unlock(&mm->pt_lock);
	return FAULT_DONE;
}

/* --- taking away ------------------------------------------------------------------------------------- */

/* A whole leaf, if it still is one. */
static void zap_whole(struct mm *mm, vaddr_t start, pud_t *pudp)
{
	struct page *first, *pmds;
	pud_t pud;
	u64 gen;

	spin_lock(&mm->pt_lock);
	if (pud_kind(pud_read(pudp)) !=
		ENTRY_LEAF) { /* somebody who came from a page has split it */
		spin_unlock(&mm->pt_lock);
		return;
	}
	pud = pud_take(pudp);
	first = pfn_to_page(pud_pfn(pud));
	pmds = pgtable_withdraw_pmds(mm, pudp);
	gigapage_unmap(first);
	for (unsigned i = 0; i < GIGABYTE_BLOCKS; i++)
		rmap_remove_pmd(gigapage_part(first, i));
	mm_uncount(mm, GIGABYTE_PAGES, 0);
	thp_count_puds(mm, -1);
	gen = tlb_flush(&mm->tlb, start, start + HPAGE_PUD_SIZE, HPAGE_PUD_SIZE, TLB_unmap);
	spin_unlock(&mm->pt_lock);

	tlb_assert_acked(&mm->tlb, gen);
	pgtable_free_pmds(pmds);
	gigapage_free(first);
}

void huge_pud_zap(struct vma *v, vaddr_t start, vaddr_t end)
{
	struct mm *mm = v->mm;
	vaddr_t a = start, next;
	pud_t *pudp;

	for (; mm->nr_puds && (pudp = pgtable_next_pud(mm, &a, end)) != NULL; a = next) {
		next = pud_range_end(a, end);
		if (next - a == HPAGE_PUD_SIZE) {
			zap_whole(mm, a, pudp);
		} else {
			spin_lock(&mm->pt_lock);
			thp_split_pud(mm, a);
			spin_unlock(&mm->pt_lock);
		}
		preempt_point();
	}
}

/* --- the checker ------------------------------------------------------------------------------------- */

struct leaf_count {
	pfn_t pfn; /* of a gigabyte */
	u32 leaves;
};

static bool count_leaves(struct mm *mm, void *ctx)
{
	struct leaf_count *c = ctx;
	pud_t *pudp;

	for (vaddr_t a = 0; mm->nr_puds && (pudp = pgtable_next_pud(mm, &a, USER_END)) != NULL;
		a += HPAGE_PUD_SIZE)
		c->leaves += !(pud_read(pudp).v & PTE_DEVICE) && pud_pfn(pud_read(pudp)) == c->pfn;
	return true;
}

/* G2 for the aligned gigabyte at pfn. */
static bool check_gigabyte(pfn_t pfn)
{
	struct leaf_count c = {.pfn = pfn};
	u32 marked = 0;

	for (pfn_t p = pfn; p < MIN(pfn + GIGABYTE_PAGES, page_max_pfn); p += HPAGE_PMD_NR) {
		u8 flags = pfn_block(p)->flags;

		marked += flags & PB_PUD && flags & PB_HUGE;
		if (flags & PB_PUD && !(flags & PB_HUGE))
			marked += GIGABYTE_BLOCKS; /* no huge page: wrong by itself */
	}
	if (!marked)
		return true;
	mm_for_each(count_leaves, &c);
	if (marked == GIGABYTE_BLOCKS && c.leaves && c.leaves == gigapage_leaves(pfn_to_page(pfn)))
		return true;
	printk("G2: gigabyte at pfn %#lx: %u records say PB_PUD, %u leaves of 1 GiB, counted %u\n",
		pfn, marked, c.leaves, gigapage_leaves(pfn_to_page(pfn)));
	return false;
}

/*
 * huge_pud_check - G2 over all memory and all spaces. (That a leaf's pages are marked is T5 of pgtable_check().)
 *   locks    none; other CPUs stand still
 *   returns  false after printing the first gigabyte that breaks it
 */
bool huge_pud_check(void)
{
	for (pfn_t pfn = 0; pfn < page_max_pfn; pfn += GIGABYTE_PAGES)
		if (!check_gigabyte(pfn))
			return false;
	return true;
}
