/*
 * fork.c - a copy of a space that shares its pages until one side writes    floor 5, below: zap, thp, pgtable, rmap
 *
 * Copies areas and entries, never contents. What a write does later is fault.c's and thp.c's business.
 *
 * IDEA      parent  [RW] --> page A             parent [R-] --\
 *                                      fork          |         page A   counted twice
 *                                                   child  [R-] --/
 *           Both entries lose their write right, so either side's first write faults; who is the only one left reuses
 *           the page. A huge leaf is shared as one entry, with a deposited table of the child's own. The parent's old
 *           writable translations are flushed before the tables are unlocked: otherwise a thread of the parent could
 *           still write into what the child already reads.
 *
 * LOCKS     parent->lock (write), child->lock (write; nobody else knows it) -> pt_lock, the child's inside the parent's
 * LINUX     kernel/fork.c dup_mmap, mm/memory.c copy_page_range, mm/huge_memory.c copy_huge_pmd   docs/mm/fork.md
 */
#include <abi/errno.h>
#include "mm/buddy.h"
#include "mm/gigapage.h"
#include "mm/zero.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/vma.h"
#include "mutex.h"
#include "sched.h"
#include "object.h"
#include "mm/thp.h"
#include "mm/thp_split.h"
#include "mm/zap.h"
#include "mm/fork.h"
#include "seeded.h"

/*
 * Both tables. Two locks of one class: the child's by trylock. Only who splits or moves a page that both map may hold it
 * for a moment, and holding it he waits for no other table's.
 */
static void lock_both(struct mm *parent, struct mm *child)
{
	spin_lock(&parent->pt_lock);
	while (!spin_trylock(&child->pt_lock))
		cpu_relax();
}

static void unlock_both(struct mm *parent, struct mm *child)
{
	spin_unlock(&child->pt_lock);
	spin_unlock(&parent->pt_lock);
}

/* Does the entry say that nobody else maps its page? From now on somebody does, and neither entry may say so. */
static __always_inline bool is_alone(u64 entry)
{
	return entry & (PTE_RW | PTE_EXCL);
}

/* The child's leaf: it has not looked at the page yet, whatever the parent did. Linux: pte_mkold */
static __always_inline u64 unseen(u64 entry)
{
	return entry & ~PTE_A;
}

/* An object's page: the child finds it in the object when it looks for it. */
static bool is_shared(pfn_t pfn)
{
	return pfn_head(pfn)->flags & PG_SHARED;
}

/*
 * One huge leaf. 0, -ENOMEM, or -EAGAIN: somebody who came from the page has split it (thp_split_page needs no
 * mm->lock). Linux: copy_huge_pmd
 */
static int copy_huge(struct mm *child, struct vma *v, vaddr_t haddr, pmd_t *from, pmd_t *to)
{
	struct mm *parent = v->mm;
	struct page *table;
	pmd_t pmd = pmd_read(from);
	bool zero = pfn_is_huge_zero(pmd_pfn(pmd));

	table = pgtable_alloc_table(child, false);
	if (!table)
		return -ENOMEM;
	if (zero && !thp_mm_huge_zero(child)) {
		pgtable_free_table(table);
		return -ENOMEM;
	}
	lock_both(parent, child);
	pmd = pmd_read(from); /* the CPU may have set A or D since */
	if (pmd_kind(pmd) != ENTRY_LEAF) {
		unlock_both(parent, child);
		pgtable_free_table(table);
		return -EAGAIN;
	}
	if (!zero && is_shared(pmd_pfn(pmd))) {
		unlock_both(parent, child);
		pgtable_free_table(table);
		return 0;
	}
	if (!zero) {
		rmap_dup_pmd(pfn_to_page(pmd_pfn(pmd)));
		child->nr_anon += HPAGE_PMD_NR;
	}
	pgtable_deposit(child, to, table);
	if (is_alone(pmd.v)) {
		pmd.v = entry_take_write(&from->v); /* with the A and D that came meanwhile */
		tlb_flush(&parent->tlb, haddr, haddr + HPAGE_PMD_SIZE, HPAGE_PMD_SIZE, TLB_fork);
	}
	pmd_write(to, (pmd_t){unseen(pmd.v)});
	unlock_both(parent, child);
	return 0;
}

#define HUGE_RUN 64 /* huge leaves that are shared under one hold of the locks */

/* A huge page of anonymous memory: not a device's, not the zero page, not an object's. */
static bool is_plain_huge(pmd_t pmd)
{
	const struct page *head = pfn_to_page(pmd_pfn(pmd));

	return pmd_kind(pmd) == ENTRY_LEAF && !(pmd.v & PTE_DEVICE) && page_is_huge(head) &&
	       !(head->flags & PG_SHARED);
}

/* One of them; true: the parent's entry lost its write right. Both tables are locked, the child has a deposit. */
static __always_inline bool share_huge(pmd_t *from, pmd_t *to)
{
	pmd_t pmd = pmd_read(from);

	rmap_dup_pmd(pfn_to_page(pmd_pfn(pmd)));
	if (!is_alone(pmd.v)) {
		pmd_write(to, (pmd_t){unseen(pmd.v)});
		return false;
	}
	entry_drop_write(&from->v);
	pmd_write(to, (pmd_t){unseen(pmd_read(from).v)}); /* with the D that came meanwhile */
	return true;
}

/*
 * As many plain huge pages in a row as there are, from *addr on, all in one pmd table: their deposits are made together, and
 * one flush is for all. *addr moves behind them. 0 or -ENOMEM.
 */
static int copy_huge_run(struct mm *child, struct vma *v, vaddr_t *addr, pmd_t *from, pmd_t *to)
{
	struct mm *parent = v->mm;
	vaddr_t end = MIN(v->end, ALIGN_DOWN(*addr, HPAGE_PUD_SIZE) + HPAGE_PUD_SIZE);
	u64 most = MIN((end - *addr) >> HPAGE_PMD_SHIFT, HUGE_RUN), n = 0, made;
	bool weakened = false;

	lock_both(parent, child);
	while (n < most && is_plain_huge(pmd_read(from + n)))
		n++;
	made = pgtable_deposit_many(child, to, n);
	for (u64 i = 0; i < made; i++)
		weakened |= share_huge(from + i, to + i);
	child->nr_anon += made * HPAGE_PMD_NR;
	end = *addr + made * HPAGE_PMD_SIZE;
	if (weakened)
		tlb_flush(&parent->tlb, *addr, end, HPAGE_PMD_SIZE, TLB_fork);
	unlock_both(parent, child);
	*addr = end;
	return made < n ? -ENOMEM : 0;
}

/* One entry of a pte table; true: the parent's lost its write right. */
static __always_inline bool copy_pte(struct mm *child, bool object, pte_t *from, pte_t *to)
{
	pte_t pte = pte_read(from);
	pfn_t pfn = pte_pfn(pte);

	if (pte_kind(pte) == ENTRY_HOLE || (unlikely(object) && is_shared(pfn)))
		return false;
	if (pte.v & PTE_DEVICE) {
		pte_write(to, pte);
		return false;
	}
	if (!pfn_is_zero(pfn)) {
		rmap_dup_pte(pfn);
		child->nr_anon++;
	}
	if (!is_alone(pte.v)) {
		pte_write(to, (pte_t){unseen(pte.v)});
		return false;
	}
	pte.v = entry_take_write(&from->v); /* with the D that came meanwhile */
	pte_write(to, (pte_t){unseen(pte.v)});
	return true;
}

/* Is p[0..7], of entries up to end, all zero? */
static __always_inline bool eight_holes(const pte_t *p, const pte_t *end)
{
	return end - p >= 8 &&
	       !(p[0].v | p[1].v | p[2].v | p[3].v | p[4].v | p[5].v | p[6].v | p[7].v);
}

/* Holes, zero pages, protnone, parts of huge pages: what the fast path leaves. How many entries are done. */
__noinline static u64 copy_other_ptes(
	struct mm *child, pte_t *src, pte_t *dst, const pte_t *end, bool *weakened)
{
	pte_t *p = src;

	while (eight_holes(p, end))
		p += 8;
	if (p == src)
		*weakened |= copy_pte(child, false, p++, dst);
	return p - src;
}

/*
 * n entries of an anonymous area. A small page, present, is what nearly all are, and gets a path of its own: its two
 * counts in one addition, its write right taken by one instruction, after which A and D are as the CPU left them.
 * Returns whether an entry of the parent's may have lost its write right.
 */
static bool copy_anon_ptes(struct mm *child, pte_t *src, pte_t *dst, u64 n)
{
	const struct pageblock *const blocks = pageblocks;
	const paddr_t zero = zero_pfn << PAGE_SHIFT;
	struct page *const pages = page_array;
	const pte_t *const end = src + n;
	const isize to = dst - src;
	bool weakened = false;
	u64 seen = 0, one_each = PAGE_ONE_EACH;

	asm("" : "+r"(one_each)); /* in a register: too long for an instruction */

	while (src < end) {
		u64 v = READ_ONCE(src->v);
		paddr_t pa = v & PTE_ADDR;

		if (unlikely(!(v & PTE_P) || pa == zero ||
			     blocks[pa >> HPAGE_PMD_SHIFT].flags & PB_HUGE)) {
			u64 done = copy_other_ptes(child, src, src + to, end, &weakened);

			src += done;
			n -= done;
			continue;
		}
		if (!(seeded(COW_UNCOUNTED) && pages[pa >> PAGE_SHIFT].mapcount > 1))
			page_get_mapped(pages + (pa >> PAGE_SHIFT), one_each);
		seen |= v;
		if (is_alone(v)) {
			entry_drop_write(&src->v);
			v = READ_ONCE(src->v);
		}
		pte_write(src + to, (pte_t){unseen(v)});
		src++;
	}
	child->nr_anon += n;
	return weakened || seen & PTE_RW;
}

/* n entries of an area that maps an object. */
static bool copy_object_ptes(struct mm *child, pte_t *src, pte_t *dst, u64 n)
{
	bool weakened = false;

	while (n--)
		weakened |= copy_pte(child, true, src++, dst++);
	return weakened;
}

/* The entries of [start, end), all in the table under *from. 0 or -ENOMEM. Linux: copy_pte_range */
static int copy_ptes(
	struct mm *child, struct vma *v, vaddr_t start, vaddr_t end, pmd_t *from, pmd_t *to)
{
	struct mm *parent = v->mm;
	u64 n = (end - start) >> PAGE_SHIFT;
	pte_t *src, *dst;
	bool weakened;
	int err = pgtable_make_pte(child, to);

	if (err && err != -EEXIST)
		return err;
	lock_both(parent, child);
	if (pmd_kind(pmd_read(from)) != ENTRY_TABLE) { /* a huge page was withdrawn meanwhile */
		unlock_both(parent, child);
		return 0;
	}
	src = pte_ptr(pmd_read(from), start);
	dst = pte_ptr(pmd_read(to), start);
	weakened = v->kind == VMA_OBJECT ? copy_object_ptes(child, src, dst, n)
					 : copy_anon_ptes(child, src, dst, n);
	if (weakened)
		tlb_flush(&parent->tlb, start, end, PAGE_SIZE, TLB_fork);
	unlock_both(parent, child);
	return 0;
}

/* A device's huge leaf is mapped again as it is: there is nothing to count. */
static int copy_device(struct mm *child, pmd_t *from, pmd_t *to)
{
	spin_lock(&child->pt_lock);
	pmd_write(to, pmd_read(from));
	spin_unlock(&child->pt_lock);
	return 0;
}

/* One entry of a pmd table, whatever it is, and what stands below it. 0 or -ENOMEM. */
static int copy_pmd(
	struct mm *child, struct vma *v, vaddr_t a, vaddr_t next, pmd_t *from, pmd_t *to)
{
	int err;

	if (pmd_kind(pmd_read(from)) == ENTRY_TABLE)
		return copy_ptes(child, v, a, next, from, to);
	if (pmd_read(from).v & PTE_DEVICE)
		return copy_device(child, from, to);
	err = copy_huge(child, v, a, from, to);
	return err == -EAGAIN ? copy_ptes(child, v, a, next, from, to) : err;
}

/* One leaf of 1 GiB: shared like 512 of 2 MiB, by one entry. 0, -ENOMEM, or -EAGAIN: it was split, as copy_huge() says. */
static int copy_pud(struct mm *child, struct vma *v, vaddr_t start, pud_t *from)
{
	struct mm *parent = v->mm;
	pud_t *to = pgtable_make_pud(child, start), pud;
	struct page *pmds = to ? pgtable_alloc_pmds(child) : NULL;

	if (!pmds)
		return -ENOMEM;
	lock_both(parent, child);
	pud = pud_read(from);
	if (pud_kind(pud) != ENTRY_LEAF) {
		unlock_both(parent, child);
		pgtable_free_pmds(pmds);
		return -EAGAIN;
	}
	gigapage_map_again(pfn_to_page(pud_pfn(pud)));
	for (unsigned i = 0; i < PTRS_PER_TABLE; i++)
		rmap_dup_pmd(pfn_to_page(pud_pfn(pud) + i * HPAGE_PMD_NR));
	child->nr_anon += HPAGE_PUD_SIZE >> PAGE_SHIFT;
	thp_count_puds(child, 1);
	pgtable_deposit_pmds(child, to, pmds);
	if (is_alone(pud.v)) {
		pud.v = entry_take_write(&from->v); /* with the A and D that came meanwhile */
		tlb_flush(&parent->tlb, start, start + HPAGE_PUD_SIZE, HPAGE_PUD_SIZE, TLB_fork);
	}
	pud_write(to, (pud_t){unseen(pud.v)});
	unlock_both(parent, child);
	return 0;
}

/* Entries of [a, end) of one area, leaves of 1 GiB apart. 0 or -ENOMEM. */
static int copy_pmds(struct mm *child, struct vma *v, vaddr_t a, vaddr_t end)
{
	vaddr_t next;
	pmd_t *from, *to;
	int err = 0;

	for (from = pgtable_next_pmd(v->mm, &a, end); from && !err;
		a = next, from = pgtable_next_pmd(v->mm, &a, end)) {
		pud_t *pudp = pgtable_make_pud(child, a);

		to = pudp ? pgtable_make_pmd(child, pudp, a) : NULL;
		if (!to)
			return -ENOMEM;
		next = a;
		if (pmd_kind(pmd_read(from)) == ENTRY_LEAF)
			err = copy_huge_run(child, v, &next, from, to);
		if (next == a && !err) {
			next = pmd_range_end(a, end);
			err = copy_pmd(child, v, a, next, from, to);
		}
		preempt_point();
	}
	return err;
}

/*
 * Every entry of one area, once, in order of address. A leaf of 1 GiB that was shared and is split in both spaces a moment
 * later (thp_split_page needs no mm->lock) lies behind us then: its 512 leaves of 2 MiB must not be shared again.
 */
static int copy_area(struct mm *child, struct vma *v)
{
	vaddr_t a = v->start, leaf = a;
	pud_t *from;
	int err;

	while (unlikely(v->mm->nr_puds) && (from = pgtable_next_pud(v->mm, &leaf, v->end))) {
		err = copy_pmds(child, v, a, leaf);
		if (!err)
			err = copy_pud(child, v, leaf, from);
		if (err == -EAGAIN)
			err = copy_pmds(child, v, leaf, leaf + HPAGE_PUD_SIZE);
		if (err)
			return err;
		a = leaf += HPAGE_PUD_SIZE;
		preempt_point();
	}
	return copy_pmds(child, v, a, v->end);
}

/* The area itself: same range, rights and family; in no tree yet. NULL: no memory. */
static struct vma *clone_vma(struct mm *child, const struct vma *v)
{
	struct vma *n = vma_alloc(child);

	if (!n)
		return NULL;
	n->start = v->start;
	n->end = v->end;
	n->flags = v->flags & ~(VM_LOCKED | VM_LOCKONFAULT);
	n->kind = v->kind;
	n->pgoff = v->pgoff;
	n->device_pa = v->device_pa;
	n->copied = v->copied;
	n->object = v->object;
	if (n->object)
		object_get(n->object);
	__builtin_memcpy(n->name, v->name, sizeof(n->name));
	if (v->anon) {
		rmap_link(n, v->anon);
		n->kin = rmap_inherited_kin(n);
	}
	return n;
}

/* The areas of which a child gets one: one by one, since not all of them are. 0 or -ENOMEM. */
static int clone_some_areas(struct mm *child, struct mm *parent)
{
	for (struct vma *v = vma_first(parent); v; v = vma_next(v)) {
		struct vma *n;

		if (v->flags & VM_DONTFORK)
			continue;
		n = clone_vma(child, v);
		if (!n)
			return -ENOMEM;
		if (v->flags & VM_WIPEONFORK) /* empty, and as if nothing had ever been there */
			rmap_unlink(n);
		if (vma_insert(child, n)) {
			vma_free(n);
			return -ENOMEM;
		}
	}
	return 0;
}

static bool all_inherited(struct mm *parent)
{
	for (struct vma *v = vma_first(parent); v; v = vma_next(v))
		if (v->flags & (VM_DONTFORK | VM_WIPEONFORK))
			return false;
	return true;
}

/* What an object has, the child finds there; without a family there are zero pages only. Linux: vma_needs_copy */
static inline bool has_nothing_own(const struct vma *v)
{
	return v->kind == VMA_OBJECT ? !v->copied : v->kind == VMA_ANON && !v->anon;
}

static int clone_areas(struct mm *child, struct mm *parent)
{
	int err = all_inherited(parent) ? vma_copy_tree(child, parent, clone_vma)
					: clone_some_areas(child, parent);
	struct vma *v = vma_first(parent);

	for (struct vma *n = vma_first(child); n && !err; n = vma_next(n), v = vma_next(v)) {
		while (v->start != n->start)
			v = vma_next(v); /* not inherited */
		if (v->flags & VM_WIPEONFORK || has_nothing_own(v))
			continue;
		err = copy_area(child, v);
	}
	return err;
}

static void clone_settings(struct mm *child, const struct mm *parent)
{
	child->mmap_base = parent->mmap_base;
	child->brk_start = parent->brk_start;
	child->brk = parent->brk;
	child->stack_top = parent->stack_top;
	child->arg_start = parent->arg_start;
	child->arg_end = parent->arg_end;
	child->thp_disable = parent->thp_disable;
	child->forbid_zero = parent->forbid_zero;
}

struct mm *fork_mm(struct mm *parent)
{
	struct mm *child = mm_create();
	int err;

	if (!child)
		return NULL;
	rwsem_write_lock(&parent->lock);
	ASSERT(rwsem_write_trylock(&child->lock)); /* nobody else knows it yet: no order to break */
	clone_settings(child, parent);
	err = clone_areas(child, parent);
	if (err)
		zap_all(child);
	else if (parent->thp_listed)
		thp_enter_mm(child);
	rwsem_write_unlock(&child->lock);
	rwsem_write_unlock(&parent->lock);
	if (!err)
		return child;
	mm_drop_user(child);
	mm_free_root(child);
	mm_put(child);
	return NULL;
}
