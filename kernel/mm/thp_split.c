/*
 * thp_split.c - a huge page comes apart: one mapping of it, or the page itself     floor 5, below: pgtable, rmap, lru
 *
 * The surgery only. Who wants it, and when, is decided elsewhere: thp.c (a write with cow=split), zap.c and range.c (a
 * part is unmapped or changed), thp_shrink.c and pageout.c (memory is wanted). It allocates nothing and looks at no setting.
 *
 * IDEA      two splits, which have only their name in common
 *
 *     a mapping    pmd ---> [ 2 MiB page ]      =>    pmd ---> 512 ptes ---> [ 2 MiB page ]
 *                  the page stays one page, other spaces keep their pmds. Cannot fail: the table was deposited.
 *
 *     the page     pmd, pmd, ptes ---> [ 2 MiB page ]      =>    ptes ---> [P][P][P] . . [P]
 *                  all mappings first, in all spaces; then 512 pages stand there, and those that nobody maps are free.
 *                  Can fail, and then nothing has happened: another reference, or a lock that is not to be had now.
 *
 *   The page's split knows that nobody else is there by counting: references = mappings + the caller's one, with the
 *   family's lock and the pt_lock of every space held in which it may be mapped, and the page off the LRU and the queue.
 *
 * INVARIANTS
 *   H1, H2  a page that is split has lost the mark of its block, its frames the counts of one page (thp_check)
 *   R2      512 entries are counted where one was (rmap_check)
 *   G2      a leaf of 1 GiB that is split is counted off its gigabyte (huge_pud_check)
 *   P2      the frames' references add up to the page's (asserted in put.c)
 *   H4      a page that could not be split is on the deferred queue exactly if it was (thp_check)
 *
 * LOCKS     thp_split_pmd, _pud: pt_lock held. thp_split_page: anon->lock -> pt_lock of all its spaces, by trylock, since
 *           two splits must not wait for each other -> deferred, lru -> zone.lock. They hang on a chain through struct mm
 * LINUX     mm/huge_memory.c: __split_huge_pmd, __split_huge_pud, split_huge_page_to_list: it freezes the page with
 *           migration entries, where we hold every lock.      docs/mm/thp.md, docs/mm/splitting.md
 */
#include <abi/errno.h>
#include "vmstat.h"
#include "trace.h"
#include "mm/buddy.h"
#include "mm/gigapage.h"
#include "mm/lru.h"
#include "mm/zero.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/vma.h"
#include "mm/thp_split.h"

/* --- one mapping --- */

/*
 * thp_split_pmd - one huge leaf becomes 512 entries; the page stays one page.
 *   locks    pt_lock held
 *   returns  nothing: cannot fail, the table was deposited
 *   Linux    __split_huge_pmd
 */
void thp_split_pmd(struct vma *v, vaddr_t haddr, pmd_t *pmdp)
{
	struct mm *mm = v->mm;
	pmd_t pmd = pmd_read(pmdp);
	pfn_t pfn = pmd_pfn(pmd);

	ASSERT_HELD(&mm->pt_lock);
	ASSERT_RULE("H1", pmd_kind(pmd) == ENTRY_LEAF && !(pmd.v & PTE_DEVICE),
		"pmd 0x%lx at 0x%lx is no huge page to split", pmd.v, haddr);
	pgtable_split_pmd(mm, haddr, pmdp);
	if (!pfn_is_huge_zero(pfn))
		rmap_pmd_to_ptes(pfn_to_page(pfn));
	/* One INVLPG inside a large page takes all of its translation away (SDM vol. 3A, 4.10.4.1). */
	tlb_flush(&mm->tlb, haddr, haddr + HPAGE_PMD_SIZE, HPAGE_PMD_SIZE, TLB_split);
	vmstat_inc(VM_thp_split_pmd);
	trace(TRACE_thp_split_pmd, haddr, pfn, 0);
}

/*
 * thp_split_pud - the leaf of 1 GiB over addr, if there is one, becomes 512 leaves of 2 MiB.
 *   locks    pt_lock held
 *   returns  nothing: cannot fail, the tables were deposited. No page and no mapping's count changes
 *   Linux    __split_huge_pud
 */
void thp_split_pud(struct mm *mm, vaddr_t addr)
{
	pud_t *pudp = pgtable_find_pud(mm, addr);
	pfn_t pfn;

	ASSERT_HELD(&mm->pt_lock);
	if (!pudp || pud_kind(pud_read(pudp)) != ENTRY_LEAF)
		return;
	addr &= HPAGE_PUD_MASK;
	pfn = pud_pfn(pud_read(pudp));
	pgtable_split_pud(mm, pudp);
	gigapage_unmap(pfn_to_page(pfn)); /* after the last one they are huge pages like others */
	thp_count_puds(mm, -1);
	tlb_flush(&mm->tlb, addr, addr + HPAGE_PUD_SIZE, HPAGE_PUD_SIZE, TLB_split);
	vmstat_inc(VM_thp_split_pud);
	trace(TRACE_thp_split_pud, addr, pfn, 0);
}

/* thp_split_puds - every one that meets the range. mm->lock held, pt_lock not. */
void thp_split_puds(struct mm *mm, vaddr_t start, vaddr_t end)
{
	for (vaddr_t a = start; mm->nr_puds && pgtable_next_pud(mm, &a, end);
		a = pud_range_end(a, end)) {
		spin_lock(&mm->pt_lock);
		thp_split_pud(mm, a);
		spin_unlock(&mm->pt_lock);
	}
}

/* --- the page itself --- */

struct split {
	struct page *head;
	u8 flags;          /* which list it was on */
	struct mm *locked; /* the spaces whose tables are locked: a chain through locked_next */
	bool taken;        /* off the deferred queue: counted when it came there */
};

/*
 * Lock the tables of every space that may map the page. By trylock: two splits must not wait for each other. Held already: it
 * was met before, since this CPU came here with no table's lock.
 */
static bool split_lock_space(struct vma *v, vaddr_t addr, void *ctx)
{
	struct split *s = ctx;

	(void)addr;
	if (spin_held(&v->mm->pt_lock))
		return true;
	if (!spin_trylock(&v->mm->pt_lock))
		return false;
	v->mm->locked_next = s->locked;
	s->locked = v->mm;
	return true;
}

static void split_unlock_spaces(struct split *s)
{
	struct mm *mm;

	while ((mm = s->locked) != NULL) {
		s->locked = mm->locked_next;
		spin_unlock(&mm->pt_lock);
	}
}

/* Split the huge leaves over the page in this area; its tables are locked. */
static bool split_area_pmd(struct vma *v, vaddr_t addr, void *ctx)
{
	struct split *s = ctx;
	pmd_t *pmdp;

	if (unlikely(v->mm->nr_puds))
		thp_split_pud(v->mm, addr);
	pmdp = pgtable_find_pmd(v->mm, addr);
	if (pmdp && pmd_kind(pmd_read(pmdp)) == ENTRY_LEAF &&
		pmd_pfn(pmd_read(pmdp)) == page_to_pfn(s->head))
		thp_split_pmd(v, addr & HPAGE_PMD_MASK, pmdp);
	return true;
}

/* The frames of a page that was split: those still mapped go on the LRU it was on, those of holes are free. */
static void split_finish(struct page *head, u8 flags)
{
	for (u64 i = 0; i < HPAGE_PMD_NR; i++) {
		struct page *p = head + i;

		if (READ_ONCE(p->mapcount))
			lru_add_part(p, flags);
		if (i > 0) /* buddy_split_huge gave us one reference on each; the head's is the caller's own */
			page_put(p);
	}
}

/* The tables of all spaces are locked if they can be; is nobody else at the page? Then it is split. */
static bool split_locked(struct split *s, struct anon *anon)
{
	struct page *head = s->head;
	u64 index = page_index(head);
	bool queued;

	if (!rmap_walk_locked(anon, index, HPAGE_PMD_NR, split_lock_space, s))
		return false;
	/*
	 * Nobody can add or drop a mapping now. Any other reference, or who took it off the LRU (collapse, while
	 * it copies; compaction), still counts on its being one page. Off the LRU and off the queue first: from
	 * then on nobody finds it on either and takes a reference.
	 */
	if (!lru_isolate(head))
		return false;
	queued = lru_deferred_del(head);
	if (page_refcount(head) != page_total_mapcount(head) + 1) {
		if (queued)
			lru_deferred_add(head); /* it was counted when it came there */
		lru_putback(head);
		return false;
	}
	rmap_walk_locked(anon, index, HPAGE_PMD_NR, split_area_pmd, s);
	/* Linux takes the mappings away one by one, and on the way the page is partly unmapped: it counts that. */
	if (!queued && !s->taken)
		vmstat_inc(VM_thp_deferred_split_page);
	s->flags = head->flags;
	buddy_split_huge(head);
	return true;
}

static int split_page(struct page *head, bool taken)
{
	struct anon *anon = rmap_pin_anon(head);
	struct split s = {.head = head, .taken = taken};
	bool done = false;

	ASSERT_RULE("H1", page_is_huge(head), "pfn %lu is no huge page", page_to_pfn(head));
	if (anon) {
		spin_lock(&anon->lock);
		done = split_locked(&s, anon);
		split_unlock_spaces(&s);
		spin_unlock(&anon->lock);
		rmap_unpin_anon(anon);
	}
	if (!done) {
		vmstat_inc(VM_thp_split_page_failed);
		return -EBUSY;
	}
	split_finish(head, s.flags);
	vmstat_inc(VM_thp_split_page);
	trace(TRACE_thp_split_page, page_to_pfn(head), 0, 0);
	return 0;
}

int thp_split_page(struct page *head)
{
	return split_page(head, false);
}

int thp_split_taken(struct page *head)
{
	return split_page(head, true);
}
