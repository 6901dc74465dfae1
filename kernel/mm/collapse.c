/*
 * collapse.c - 512 small pages become one huge page                        floor 5, below: thp, pgtable, rmap, buddy
 *
 * The core that khugepaged and MADV_COLLAPSE share: look whether an aligned 2 MiB range is worth it, and do it.
 * *When* to look is khugepaged.c's policy; nothing here loops over spaces or sleeps on purpose.
 *
 * IDEA
 *    scan   mm->lock (read)     read 512 entries, look at each page; the first named reason against it ends it
 *    ----------------------------------------------------------------- no lock: allocate the block
 *    range  mm->lock (write)    look again: the area and the table may have changed
 *           anon + pt_lock      take the pmd away: a hole        <- nobody can start using the old entries
 *                               flush every CPU                  <- nobody still uses them: the copy is stable
 *                               isolate the pages; a surprise puts everything back
 *           (write lock only)   copy or clear 512 times
 *           pt_lock             deposit the old table, install one huge leaf, uncount the old pages
 *    ----------------------------------------------------------------- free the old pages
 *
 *   The flush must come before the copy: a CPU with an old writable translation could write into a page that was
 *   copied already, and the write would be lost. It must cover all 512 addresses: flushing the first alone leaves
 *   511 others (docs/mm/collapse.md shows it happen).
 *
 * INVARIANTS (asserted where they could break)
 *   C1  the pmd is a hole, and flushed, from before the first page is isolated until the huge leaf is installed
 *   C2  a page is copied only if every reference to it is a mapping: nobody else can be writing into it
 *   C3  on any surprise the table goes back as it was, and the block is freed: nothing changed
 *
 * LOCKS     mm->lock -> anon lock -> pt_lock -> lru. Faults are kept out by mm->lock, walkers of the reverse map by the
 *           anon lock; both are needed, because a walker needs no mm->lock.
 * LINUX     mm/khugepaged.c: hpage_collapse_scan_pmd, collapse_huge_page, __collapse_huge_page_isolate; also file and
 *           shared memory, swapped pages, memory cgroups.                         docs/mm/collapse.md
 */
#include <abi/errno.h>
#include "vmstat.h"
#include "trace.h"
#include "mm/buddy.h"
#include "mm/compact.h"
#include "mm/lru.h"
#include "mm/zero.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/vma.h"
#include "mutex.h"
#include "sched.h"
#include "mm/thp.h"
#include "mm/collapse.h"
#include "seeded.h"

u64 collapse_counts[NR_COLLAPSE_RESULTS];

static const char *const result_names[] = {
#define X(name, text) #name,
	COLLAPSE_RESULTS(X)
#undef X
};

static const char *const result_texts[] = {
#define X(name, text) text,
	COLLAPSE_RESULTS(X)
#undef X
};

const char *collapse_result_name(enum collapse_result r)
{
	return result_names[r];
}

const char *collapse_result_text(enum collapse_result r)
{
	return result_texts[r];
}

static enum collapse_result counted(enum collapse_result r)
{
	__atomic_add_fetch(&collapse_counts[r], 1, __ATOMIC_RELAXED);
	return r;
}

/* --- looking --- */

/* What has been seen of one range so far. */
struct tally {
	const struct collapse_limits *limits;
	u32 none, shared;
	u64 all; /* every entry or-ed together: is any writable, was any accessed? */
};

/* A page in the usual state, as two words of struct page: one mapping, one reference; anonymous, on the active LRU. */
#define PLAIN_COUNTS (1ul | 1ul << 32)
#define PLAIN_STATE  (PAGE_ANON | (PG_LRU | PG_ACTIVE) << 8)

static __always_inline bool page_is_single(
	const struct page *p) /* one mapping, and no other reference */
{
	u64 counts;

	__builtin_memcpy(&counts, &p->refcount, sizeof(counts));
	return counts == PLAIN_COUNTS;
}

static __always_inline bool page_is_plain(const struct page *p)
{
	u16 state;

	__builtin_memcpy(&state, &p->type, sizeof(state));
	return state == PLAIN_STATE && page_is_single(p);
}
_Static_assert(offsetof(struct page, mapcount) == offsetof(struct page, refcount) + 4 &&
		       offsetof(struct page, flags) == offsetof(struct page, type) + 1,
	"page_is_plain reads these pairs as one word each");

/*
 * A present entry that names such a page: nearly all do. `pages` is page_array; the descriptor is found by one
 * shift of the entry, because it is 32 bytes long (4096 >> 7).
 */
static __always_inline bool entry_is_plain(const struct page *pages, pte_t e)
{
	return e.v & PTE_P && page_is_plain((const void *)pages + ((e.v & PTE_ADDR) >> 7));
}
_Static_assert(PAGE_SIZE >> 7 == sizeof(struct page), "entry_is_plain");

static enum collapse_result see_none(struct tally *t)
{
	if (++t->none <= t->limits->max_none)
		return COLLAPSE_SUCCEED;
	vmstat_inc(VM_thp_scan_exceed_none_pte);
	return COLLAPSE_EXCEED_NONE_PTE;
}

/*
 * One entry that is not simply a plain page. COLLAPSE_SUCCEED: go on. Without access is no obstacle: a NUMA hint keeps its
 * write right and A, so it counts as what it was; in an area without access no entry is writable, and the verdict says so.
 */
static __noinline enum collapse_result see_entry(struct tally *t, pte_t pte)
{
	pfn_t pfn = pte_pfn(pte);
	struct page *head;

	if (pte_kind(pte) == ENTRY_HOLE || pfn_is_zero(pfn))
		return see_none(t);
	if (entry_migrating(pte.v)) /* isolated, and on its way to another frame */
		return COLLAPSE_PAGE_LRU;
	if (pte.v & PTE_DEVICE)
		return COLLAPSE_PAGE_NULL;
	t->all |= pte.v;
	head = pfn_head(pfn);
	if (head->type != PAGE_ANON && head->type != PAGE_ANON_HUGE)
		return COLLAPSE_PAGE_NULL;
	if (pfn_mapcount(pfn) > 1 && ++t->shared > t->limits->max_shared) {
		vmstat_inc(VM_thp_scan_exceed_share_pte);
		return COLLAPSE_EXCEED_SHARED_PTE;
	}
	if (!(head->flags & PG_LRU))
		return COLLAPSE_PAGE_LRU;
	if (page_refcount(head) != page_total_mapcount(head))
		return COLLAPSE_PAGE_COUNT;
	return COLLAPSE_SUCCEED;
}

static enum collapse_result verdict(const struct tally *t)
{
	if (!(t->all & PTE_RW))
		return COLLAPSE_PAGE_RO;
	if (!t->limits->forced && !(t->all & PTE_A))
		return COLLAPSE_LACK_REFERENCED_PAGE;
	return COLLAPSE_SUCCEED;
}

/* All 512 entries; nearly all of them are plain pages, and cost a dozen instructions. */
static enum collapse_result scan_table(const pte_t *pte, const struct collapse_limits *limits)
{
	struct tally t = {.limits = limits};
	const struct page *pages = page_array;
	u64 all = 0;

	for (const pte_t *end = pte + PTRS_PER_TABLE; pte < end; pte++) {
		pte_t e = pte_read(pte);
		enum collapse_result r;

		if (likely(entry_is_plain(pages, e))) {
			all |= e.v;
			continue;
		}
		r = see_entry(&t, e);
		if (r != COLLAPSE_SUCCEED)
			return r;
	}
	t.all |= all;
	return verdict(&t);
}

/* May this range be collapsed as far as its area goes? */
static enum collapse_result check_area(
	struct mm *mm, const struct vma *v, vaddr_t haddr, bool forced)
{
	enum thp_reason r;

	if (mm->exiting)
		return COLLAPSE_ANY_PROCESS;
	if (!v)
		return COLLAPSE_VMA_NULL;
	if (!vma_covers_huge(v, haddr))
		return COLLAPSE_ADDRESS_RANGE;
	r = thp_vma_reason(v);
	if (v->kind != VMA_ANON || !v->anon) /* without a family there are zero pages at most */
		return COLLAPSE_VMA_CHECK;
	if (r == THP_OK || (forced && (r == THP_NEVER_SET || r == THP_NOT_ADVISED)))
		return COLLAPSE_SUCCEED;
	return COLLAPSE_VMA_CHECK;
}

static enum collapse_result check_pmd(pmd_t *pmdp)
{
	if (!pmdp)
		return COLLAPSE_PMD_NULL;
	if (pmd_kind(pmd_read(pmdp)) == ENTRY_HOLE)
		return COLLAPSE_PMD_NONE;
	return pmd_kind(pmd_read(pmdp)) == ENTRY_LEAF ? COLLAPSE_PMD_MAPPED : COLLAPSE_SUCCEED;
}

enum collapse_result collapse_scan(
	struct mm *mm, struct vma *v, vaddr_t haddr, const struct collapse_limits *limits)
{
	enum collapse_result r = check_area(mm, v, haddr, limits->forced);
	pmd_t *pmdp = r == COLLAPSE_SUCCEED ? pgtable_find_pmd(mm, haddr) : NULL;

	if (r == COLLAPSE_SUCCEED)
		r = check_pmd(pmdp);
	if (r == COLLAPSE_PMD_NULL && pmd_kind(pgtable_look_pmd(mm, haddr)) == ENTRY_LEAF)
		r = COLLAPSE_PMD_MAPPED; /* by a leaf of 1 GiB */
	if (r == COLLAPSE_SUCCEED)
		r = scan_table(pte_ptr(pmd_read(pmdp), haddr), limits);
	trace(TRACE_mm_khugepaged_scan_pmd, haddr, r, 0);
	return r == COLLAPSE_SUCCEED ? r : counted(r);
}

/* --- doing --- */

/* One collapse under way, from the block to the end. */
struct collapse {
	struct mm *mm;
	struct vma *v;
	vaddr_t haddr;
	const struct collapse_limits *limits;
	struct page *block;     /* where it goes */
	struct page *table;     /* the old pte table, taken out of the tree */
	pte_t *ptes;            /* its entries */
	u64 gen;                /* they were flushed with this generation */
	u32 pfns[HPAGE_PMD_NR]; /* old frames: plain pages from the front, others from the back */
	unsigned nr_plain, nr_other;
	u64 isolated; /* pages off the LRU by us: our share of nr_isolated_anon */
};

/* Does the entry name a page of its own? */
static __always_inline bool entry_has_page(pte_t e)
{
	return pte_kind(e) == ENTRY_LEAF && !pfn_is_zero(pte_pfn(e));
}

/* Look at each entry once more, now that they cannot change, and note the frames. lru.lock held. */
static enum collapse_result collect(struct collapse *c)
{
	struct tally t = {.limits = c->limits};
	const struct page *pages = page_array;
	unsigned plain = 0, other = 0;
	u64 all = 0;

	for (pte_t *pte = c->ptes; pte < c->ptes + PTRS_PER_TABLE; pte++) {
		pte_t e = pte_read(pte);
		enum collapse_result r;

		if (likely(entry_is_plain(pages, e))) {
			all |= e.v;
			c->pfns[plain++] = (e.v & PTE_ADDR) >> PAGE_SHIFT;
			continue;
		}
		r = see_entry(&t, e);
		if (r != COLLAPSE_SUCCEED)
			return r;
		if (entry_has_page(e))
			c->pfns[HPAGE_PMD_NR - ++other] = pte_pfn(e);
	}
	t.all |= all;
	c->nr_plain = plain;
	c->nr_other = other;
	return verdict(&t);
}

/*
 * Take every page off the LRU, so that nobody else moves it meanwhile (C2). Each was seen on it, and lru.lock
 * is held from then on: once the looking is over this cannot fail, and before that nothing has changed.
 */
static enum collapse_result isolate(struct collapse *c)
{
	enum collapse_result r;

	spin_lock(&lru.lock);
	r = collect(c);
	if (r == COLLAPSE_SUCCEED) {
		lru_isolate_many(c->pfns, c->nr_plain);
		c->isolated = c->nr_plain;
		for (unsigned i = HPAGE_PMD_NR - c->nr_other; i < HPAGE_PMD_NR; i++) {
			struct page *head = pfn_head(c->pfns[i]);

			if (lru_isolate_locked(
				    head)) /* else by another frame of the same huge page */
				c->isolated += page_nr(head);
		}
	}
	spin_unlock(&lru.lock);
	vmstat_add(VM_nr_isolated_anon, c->isolated);
	return r;
}

/*
 * Take the table out, flush, isolate. held: mm(write)
 * On a refusal the table is back where it was (C3).
 */
static enum collapse_result detach(struct collapse *c, pmd_t *pmdp)
{
	struct mm *mm = c->mm;
	struct anon *anon = c->v->anon;
	enum collapse_result r;
	pmd_t pmd;

	if (!anon)
		return COLLAPSE_PAGE_RO; /* no page of its own was ever mapped here */
	spin_lock(&anon->lock);
	spin_lock(&mm->pt_lock);
	pmd = pmd_take(pmdp);
	/*
	 * The hard place. The entries are out of reach for new walks, but a CPU may still hold any of the 512
	 * translations, a writable one too. All of them go before a single byte is copied.
	 */
	c->gen = tlb_flush(&mm->tlb, c->haddr, c->haddr + HPAGE_PMD_SIZE, PAGE_SIZE, TLB_collapse);
	c->table = pfn_to_page(pmd_pfn(pmd));
	c->ptes = page_to_virt(c->table);
	r = isolate(c);
	if (r != COLLAPSE_SUCCEED)
		pmd_write(pmdp, pmd);
	spin_unlock(&mm->pt_lock);
	spin_unlock(&anon->lock);
	trace(TRACE_mm_collapse_huge_page_isolate, c->haddr, r, c->isolated);
	return r;
}

/* C1: nobody can read or write the old pages through this space, and other spaces only read. */
static void copy_all(struct collapse *c)
{
	void *to = page_to_virt(c->block);
	pte_t *pte = c->ptes;

	for (pte_t *end = pte + PTRS_PER_TABLE; pte < end; pte++, to += PAGE_SIZE) {
		pte_t e = pte_read(pte);

		if (likely(e.v & PTE_P && !pfn_is_zero((e.v & PTE_ADDR) >> PAGE_SHIFT)))
			copy_page(to, phys_to_virt(e.v & PTE_ADDR));
		else if (entry_has_page(e))
			copy_page(to, phys_to_virt(entry_addr(e.v))); /* a hint */
		else
			clear_page(to);
	}
}

/* One frame loses this mapping; a page that others map as well goes back on the LRU. */
static __noinline void uncount_shared(pfn_t pfn)
{
	struct page *head = pfn_head(pfn);

	rmap_remove_pte(pfn);
	if (page_refcount(head) > 1 && !(head->flags & PG_LRU))
		lru_putback(head);
}

/*
 * The old pages lose these mappings. pt_lock held. A plain page is out of everybody's reach since it was
 * isolated, so its count needs no locked instruction; should somebody have got hold of one, it joins the others.
 */
static void uncount(struct collapse *c)
{
	unsigned i = 0;

	while (i < c->nr_plain) {
		u32 pfn = c->pfns[i];
		struct page *p = pfn_to_page(pfn);

		if (likely(page_is_single(p))) {
			p->mapcount = 0;
			i++;
		} else {
			c->pfns[i] = c->pfns[--c->nr_plain];
			c->pfns[HPAGE_PMD_NR - ++c->nr_other] = pfn;
		}
	}
	vmstat_add(VM_nr_anon_pages, -(s64)c->nr_plain);
	for (i = HPAGE_PMD_NR - c->nr_other; i < HPAGE_PMD_NR; i++)
		uncount_shared(c->pfns[i]);
}

/* The huge leaf goes in, the old table becomes its deposit. */
static void install(struct collapse *c, pmd_t *pmdp)
{
	struct mm *mm = c->mm;

	spin_lock(&mm->pt_lock);
	ASSERT_RULE("C1", pmd_kind(pmd_read(pmdp)) == ENTRY_HOLE, "pmd 0x%lx at 0x%lx", pmdp->v,
		c->haddr);
	uncount(c);
	mm->nr_anon += HPAGE_PMD_NR - c->nr_plain - c->nr_other;
	rmap_new_anon_huge(c->block, c->v, c->haddr);
	pgtable_redeposit(mm, pmdp, c->table);
	pmd_write(pmdp, pmd_make_huge(page_to_pfn(c->block), vma_rights_write(c->v)));
	lru_add_active(c->block);
	spin_unlock(&mm->pt_lock);

	vmstat_add(VM_nr_isolated_anon, -(s64)c->isolated);
	tlb_assert_acked(&mm->tlb, c->gen);
	if (c->nr_plain)
		page_free_batch(c->pfns, c->nr_plain);
	page_put_batch(c->pfns + HPAGE_PMD_NR - c->nr_other, c->nr_other);
}

/* Of the pages of one table, how many are on each node. */
static void count_nodes(const pte_t *pte, u32 pages[MAX_NODES])
{
	for (const pte_t *end = pte + PTRS_PER_TABLE; pte < end; pte++) {
		pte_t e = pte_read(pte);

		if (entry_has_page(e) && pfn_valid(pte_pfn(e)))
			pages[pfn_zone(pte_pfn(e))->node]++;
	}
}

/*
 * Where the block is to come from, as buddy's flags: the node that most of the pages are on, and no other: a huge page at
 * the wrong place costs more than small ones at the right one. No lock held. Linux: hpage_collapse_find_target_node
 */
static u32 target_node(struct mm *mm, vaddr_t haddr)
{
	u32 pages[MAX_NODES] = {0};
	unsigned best = 0;
	pmd_t *pmdp;

	if (likely(nr_nodes == 1))
		return 0;
	rwsem_read_lock(&mm->lock);
	pmdp = mm->exiting ? NULL : pgtable_find_pmd(mm, haddr);
	if (pmdp && pmd_kind(pmd_read(pmdp)) == ENTRY_TABLE)
		count_nodes(pte_ptr(pmd_read(pmdp), haddr), pages);
	rwsem_read_unlock(&mm->lock);
	for (unsigned node = 1; node < nr_nodes; node++)
		if (pages[node] > pages[best])
			best = node;
	return pages[best] ? BUDDY_ONLY(best) : 0;
}

/* A block to collapse into. khugepaged/defrag, or being asked for it, allows compaction. */
static struct page *alloc_block(bool hard, u32 where)
{
	struct page *block = buddy_alloc(
		HPAGE_PMD_ORDER, MIGRATE_MOVABLE, PAGE_ANON_HUGE, where | (hard ? 0 : BUDDY_QUIET));

	if (!block && hard)
		block = compact_alloc_huge(true, where);
	if (block)
		vmstat_inc(VM_thp_collapse_alloc);
	else
		vmstat_inc(VM_thp_collapse_alloc_failed);
	return block;
}

/* Everything that happens under mm->lock held for writing. On success c->block is mapped. */
static enum collapse_result collapse_locked(struct collapse *c)
{
	enum collapse_result r;
	pmd_t *pmdp;

	c->v = vma_find(c->mm, c->haddr);
	r = check_area(c->mm, c->v, c->haddr, c->limits->forced);
	if (r != COLLAPSE_SUCCEED)
		return r;
	pmdp = pgtable_find_pmd(c->mm, c->haddr);
	r = check_pmd(pmdp);
	if (r == COLLAPSE_SUCCEED)
		r = detach(c, pmdp);
	if (r != COLLAPSE_SUCCEED)
		return r;
	copy_all(c);
	install(c, pmdp);
	return COLLAPSE_SUCCEED;
}

enum collapse_result collapse_range(
	struct mm *mm, vaddr_t haddr, const struct collapse_limits *limits)
{
	struct collapse c;
	enum collapse_result r;

	c.mm = mm;
	c.haddr = haddr;
	c.limits = limits;
	c.nr_plain = c.nr_other = 0;
	c.isolated = 0;

	c.block = alloc_block(
		limits->forced || thp_settings.khugepaged_defrag, target_node(mm, haddr));
	if (!c.block)
		return counted(COLLAPSE_ALLOC_HUGE_PAGE_FAIL);
	if (seeded(COLLAPSE_WALKERS)) { /* read: faults walk on meanwhile */
		rwsem_read_lock(&mm->lock);
		r = collapse_locked(&c);
		rwsem_read_unlock(&mm->lock);
	} else {
		rwsem_write_lock(&mm->lock);
		r = collapse_locked(&c);
		rwsem_write_unlock(&mm->lock);
	}
	trace(TRACE_mm_collapse_huge_page, haddr, r, page_to_pfn(c.block));
	pfn_block(page_to_pfn(c.block))->khugepaged = r;
	if (r != COLLAPSE_SUCCEED)
		page_put(c.block);
	return counted(r);
}

/* --- MADV_COLLAPSE --- */

static const struct collapse_limits no_limits = {
	.max_none = PTRS_PER_TABLE,
	.max_swap = PTRS_PER_TABLE,
	.max_shared = PTRS_PER_TABLE,
	.forced = true,
};

/* One range by force: scan, and do it if nothing speaks against it. */
static enum collapse_result collapse_one(struct mm *mm, vaddr_t haddr)
{
	enum collapse_result r;

	rwsem_read_lock(&mm->lock);
	r = collapse_scan(mm, vma_find(mm, haddr), haddr, &no_limits);
	rwsem_read_unlock(&mm->lock);
	return r == COLLAPSE_SUCCEED ? collapse_range(mm, haddr, &no_limits) : r;
}

/* Linux: madvise_collapse_errno */
static int collapse_errno(enum collapse_result r)
{
	switch (r) {
	case COLLAPSE_SUCCEED:
	case COLLAPSE_PMD_MAPPED:
		return 0;
	case COLLAPSE_ALLOC_HUGE_PAGE_FAIL:
		return -ENOMEM;
	case COLLAPSE_PAGE_COUNT:
	case COLLAPSE_PAGE_LRU:
		return -EAGAIN;
	default:
		return -EINVAL;
	}
}

/* After this refusal the ranges behind are looked at all the same; Linux's choice: not behind a hole in the pmd table. */
static bool may_go_on(enum collapse_result r)
{
	switch (r) {
	case COLLAPSE_PMD_NULL:
	case COLLAPSE_PAGE_RO:
	case COLLAPSE_LACK_REFERENCED_PAGE:
	case COLLAPSE_PAGE_NULL:
	case COLLAPSE_PAGE_COUNT:
	case COLLAPSE_PAGE_LRU:
		return true;
	default:
		return false;
	}
}

/*
 * The whole aligned ranges of [start, end), all in one area. 0, or the errno of the last that failed. A piece that lies
 * within one range, and so holds less than none, is refused; as on Linux, which compares two numbers there.
 */
static int collapse_area(struct mm *mm, vaddr_t start, vaddr_t end)
{
	vaddr_t a = ALIGN_UP(start, HPAGE_PMD_SIZE);
	int err = a > ALIGN_DOWN(end, HPAGE_PMD_SIZE) ? -EINVAL : 0, e;
	enum collapse_result r;

	for (; a + HPAGE_PMD_SIZE <= end; a += HPAGE_PMD_SIZE) {
		if (thread_killed())
			return -EINTR;
		r = collapse_one(mm, a);
		e = collapse_errno(r);
		if (e)
			err = e;
		if (e && !may_go_on(r))
			break;
		preempt_point();
	}
	return err;
}

/* Is there an aligned range that lies wholly in the area? Linux: transhuge_vma_suitable */
static bool holds_a_range(const struct vma *v)
{
	return ALIGN_UP(v->start, HPAGE_PMD_SIZE) + HPAGE_PMD_SIZE <= v->end;
}

/* The first piece of [start, end) that lies in one area; what its settings say to being collapsed at all. */
static int next_piece(struct mm *mm, vaddr_t *start, vaddr_t *stop, vaddr_t end, bool *hole)
{
	struct vma *v;
	enum thp_reason r;
	int err = 0;

	rwsem_read_lock(&mm->lock);
	v = vma_find_from(mm, *start);
	if (!v || v->start >= end) {
		*hole = *hole || *start < end;
		*start = *stop = end;
	} else {
		*hole = *hole || v->start > *start;
		*start = MAX(*start, v->start);
		*stop = MIN(v->end, end);
		r = thp_vma_reason(v);
		if (v->kind != VMA_ANON || !v->anon || !holds_a_range(v) ||
			(r != THP_OK && r != THP_NEVER_SET && r != THP_NOT_ADVISED))
			err = -EINVAL;
	}
	rwsem_read_unlock(&mm->lock);
	return err;
}

int collapse_advised(struct mm *mm, vaddr_t start, vaddr_t end)
{
	bool hole = false;
	vaddr_t stop;
	int err;

	while (start < end) {
		err = next_piece(mm, &start, &stop, end, &hole);
		if (!err && start < stop)
			err = collapse_area(mm, start, stop);
		if (err)
			return err;
		start = stop;
	}
	return hole ? -ENOMEM : 0;
}
