/*
 * mremap.c - an area gets longer, shorter, or another place               floor 5, below: range, zap, thp, pgtable
 *
 * Moves entries, never contents: a page keeps its frame, its family and its index, so the reverse map needs no
 * change but a second area for the same indexes.
 *
 * IDEA      old |=== P P P ===|            new area: same anon object, pgoff so that index <-> page stays
 *                    |  |  |
 *           new      P  P  P    |===       entries are taken out, flushed, and put in, one pte table at a time;
 *                                          a huge leaf moves whole, with its deposit, where both addresses are aligned
 *
 * LOCKS     mm->lock (write) -> anon lock -> pt_lock
 * LINUX     mm/mremap.c: move_page_tables, move_huge_pmd, move_vma                 docs/mm/mmap.md
 */
#include <abi/errno.h>
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/vma.h"
#include "mm/uaccess.h"
#include "mutex.h"
#include "sched.h"
#include "object.h"
#include "mm/thp_split.h"
#include "mm/zap.h"
#include "mm/range.h"
#include "mm/mmap.h"
#include "mm/zero.h"
#include "seeded.h"

/* What stands there: by the one helper that knows. */
static bool is_leaf(pmd_t pmd)
{
	if (seeded(MOVE_KIND))
		return (pmd.v & (PTE_P | PTE_PS)) == (PTE_P | PTE_PS);
	return pmd_kind(pmd) == ENTRY_LEAF;
}

/* A whole huge leaf moves, with its deposit. False: it must go page by page. Linux: move_huge_pmd */
static bool move_huge(struct mm *mm, vaddr_t haddr, pmd_t *from, pmd_t *to)
{
	bool moved = false;
	pmd_t pmd;

	spin_lock(&mm->pt_lock);
	if (pmd_kind(pmd_read(from)) == ENTRY_LEAF && pmd_kind(pmd_read(to)) == ENTRY_HOLE) {
		pmd = pmd_take(from);
		if (!(pmd.v & PTE_DEVICE))
			pgtable_deposit(mm, to, pgtable_withdraw(mm, from));
		tlb_flush(&mm->tlb, haddr, haddr + HPAGE_PMD_SIZE, HPAGE_PMD_SIZE, TLB_move);
		if (seeded(MOVE_ZERO) && pfn_is_huge_zero(pmd_pfn(pmd)))
			pmd = pmd_make_huge(0, PTE_P | PTE_US | PTE_NX);
		pmd_write(to, pmd);
		moved = true;
	}
	spin_unlock(&mm->pt_lock);
	return moved;
}

/* Entries of [start, end), all under *from, to the same number of entries from `dst` on, which lie under *to. */
static void move_ptes(
	struct mm *mm, vaddr_t start, vaddr_t end, pmd_t *from, vaddr_t dst, pmd_t *to)
{
	pte_t *src, *out;
	bool moved = false;

	spin_lock(&mm->pt_lock);
	if (pmd_kind(pmd_read(from)) != ENTRY_TABLE && !seeded(MOVE_RECHECK)) {
		spin_unlock(&mm->pt_lock); /* a huge page was withdrawn meanwhile */
		return;
	}
	src = pte_ptr(pmd_read(from), start);
	out = pte_ptr(pmd_read(to), dst);
	for (vaddr_t a = start; a < end; a += PAGE_SIZE, src++, out++) {
		if (pte_kind(pte_read(src)) == ENTRY_HOLE)
			continue;
		pte_write(out, pte_take(src));
		moved = true;
	}
	if (moved && !seeded(MOVE_FLUSH))
		tlb_flush(&mm->tlb, start, end, PAGE_SIZE, TLB_move);
	spin_unlock(&mm->pt_lock);
	if (moved && seeded_window(MOVE_FLUSH))
		tlb_flush(&mm->tlb, start, end, PAGE_SIZE, TLB_move);
}

/* How far one step of a move may go: neither side may cross a 2 MiB line. */
static vaddr_t step_end(vaddr_t a, vaddr_t dst, vaddr_t end)
{
	u64 n = MIN(pmd_range_end(a, end) - a, pmd_range_end(dst, ~0ul) - dst);

	return a + n;
}

/* Leaves of 1 GiB: whole, with their deposits, where both addresses are aligned and nothing is there; else split. */
static void move_puds(struct vma *v, vaddr_t start, vaddr_t end, s64 shift)
{
	struct mm *mm = v->mm;
	pud_t *from, *to;

	for (vaddr_t a = start; mm->nr_puds && (from = pgtable_next_pud(mm, &a, end)) != NULL;
		a = pud_range_end(a, end)) {
		bool whole = pud_range_end(a, end) - a == HPAGE_PUD_SIZE &&
			     IS_ALIGNED((u64)shift, HPAGE_PUD_SIZE);

		to = whole ? pgtable_make_pud(mm, a + shift) : NULL;
		spin_lock(&mm->pt_lock);
		if (!to || pud_kind(pud_read(to)) != ENTRY_HOLE) {
			thp_split_pud(mm, a);
		} else if (pud_kind(pud_read(from)) == ENTRY_LEAF) {
			pud_t pud = pud_take(from);

			pgtable_deposit_pmds(mm, to, pgtable_withdraw_pmds(mm, from));
			tlb_flush(&mm->tlb, a, a + HPAGE_PUD_SIZE, HPAGE_PUD_SIZE, TLB_move);
			pud_write(to, pud);
		}
		spin_unlock(&mm->pt_lock);
	}
}

/*
 * Move every entry of [start, end) to dst. All tables are made first, step by step; a move that runs out of memory
 * half-way is moved back by the caller. Returns where it stopped: end, or less.
 */
static vaddr_t move_entries(struct vma *v, vaddr_t start, vaddr_t end, vaddr_t dst)
{
	struct mm *mm = v->mm;
	s64 shift = dst - start;
	vaddr_t a = start, next;

	move_puds(v, start, end, shift);
	for (pmd_t *from = pgtable_next_pmd(mm, &a, end); from;
		a = next, from = pgtable_next_pmd(mm, &a, end)) {
		pud_t *pudp = pgtable_make_pud(mm, a + shift);
		pmd_t *to = pudp ? pgtable_make_pmd(mm, pudp, a + shift) : NULL;

		if (!to)
			return a;
		next = step_end(a, a + shift, end);
		if (is_leaf(pmd_read(from))) {
			if (next - a == HPAGE_PMD_SIZE && move_huge(mm, a, from, to))
				continue;
			(void)seeded_window(MOVE_RECHECK);
			spin_lock(&mm->pt_lock);
			if (pmd_kind(pmd_read(from)) == ENTRY_LEAF) /* nobody split the page */
				thp_split_pmd(v, a & HPAGE_PMD_MASK, from);
			spin_unlock(&mm->pt_lock);
		}
		if (pmd_kind(pmd_read(to)) != ENTRY_TABLE && pgtable_make_pte(mm, to))
			return a;
		move_ptes(mm, a, next, from, a + shift, to);
		preempt_point();
	}
	return end;
}

/* A second area for the same pages: same family, same indexes, another place. NULL: no memory. */
static struct vma *twin_area(struct vma *v, vaddr_t start, vaddr_t old, u64 len)
{
	struct vma *n = vma_alloc(v->mm);

	if (!n)
		return NULL;
	n->start = start;
	n->end = start + len;
	n->flags = v->flags;
	n->kind = v->kind;
	n->pgoff = vma_index(v, old);
	n->copied = v->copied;
	n->object = v->object;
	if (n->object)
		object_get(n->object);
	__builtin_memcpy(n->name, v->name, sizeof(n->name));
	if (vma_insert(v->mm, n)) {
		vma_free(n);
		return NULL;
	}
	if (v->anon)
		rmap_link(n, v->anon);
	return n;
}

/* Move [old, old + old_len) of one area to `to`, where it becomes `len` long. held: mm(write). Linux: move_vma */
static s64 move_area(
	struct mm *mm, struct vma *v, vaddr_t old, u64 old_len, vaddr_t to, u64 len, u32 flags)
{
	u64 moving = MIN(old_len, len);
	struct vma *n;
	vaddr_t stop;

	if (mm->nr_vmas >=
		VMA_MAX - 3) /* cut twice, moved, and room to spare: Linux's own margin */
		return -ENOMEM;
	/* What is left behind is removed at the end: its edges are made now, while that may still fail. */
	if (!(flags & MREMAP_DONTUNMAP) && range_cut(mm, old, old + old_len))
		return -ENOMEM;
	v = vma_find(mm, old);
	n = twin_area(v, to, old, len);
	if (!n)
		return -ENOMEM;
	stop = move_entries(v, old, old + moving, to);
	/* Back, all of it: leaves of 1 GiB behind `stop` have moved, too. The tables they came from are still there. */
	if (stop != old + moving) {
		move_entries(n, to, to + moving, old);
		zap_area(n);
		return -ENOMEM;
	}
	vma_merge(n);
	if (!(flags & MREMAP_DONTUNMAP))
		zap_area(v); /* the entries are gone; only the area and its tables are left */
	return to;
}

/* Grow in place when the space behind is free. False: it is not. */
static bool grow_in_place(struct mm *mm, struct vma *v, vaddr_t old, u64 old_len, u64 len)
{
	struct vma *above = vma_next(v);

	if (v->end != old + old_len || !user_range_ok(old, len))
		return false;
	if (above && above->start < old + len)
		return false;
	(void)mm;
	vma_resize(v, v->start, old + len);
	vma_merge(v);
	return true;
}

static s64 remap_check(u64 old_len, u64 len, vaddr_t old, u32 flags, vaddr_t to)
{
	if (flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP))
		return -EINVAL;
	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) && !(flags & MREMAP_MAYMOVE))
		return -EINVAL;
	if (old & ~PAGE_MASK || len == 0)
		return -EINVAL;
	if (!(flags & MREMAP_FIXED))
		return 0;
	if (to & ~PAGE_MASK || !user_range_ok(to, len) || to < USER_START)
		return -EINVAL;
	return (old < to + len && to < old + old_len) ? -EINVAL
						      : 0; /* old and new must not overlap */
}

/* held: mm(write) */
static s64 remap_locked(struct mm *mm, vaddr_t old, u64 old_len, u64 len, u32 flags, vaddr_t to)
{
	bool move = flags & (MREMAP_FIXED | MREMAP_DONTUNMAP);
	struct vma *v;
	s64 err;

	if (!vma_find(mm, old))
		return -EFAULT;
	if (move && mm->nr_vmas + 2 >= VMA_MAX - 3)
		return -ENOMEM; /* before anything is unmapped */
	if (flags & MREMAP_FIXED) {
		err = range_unmap(mm, to, to + len);
		if (err)
			return err;
	}
	if (len < old_len) { /* the tail goes, whatever else happens */
		if (!user_range_ok(old, old_len))
			return -EINVAL;
		err = range_unmap(mm, old + len, old + old_len);
		if (err || !move)
			return err ?: (s64)old;
		old_len = len;
	}
	v = vma_find(mm, old);
	if (!v || old + old_len > v->end || old + old_len < old)
		return -EFAULT;
	if (v->kind == VMA_DEVICE || (old_len == 0 && !(v->flags & VM_SHARED)))
		return -EINVAL; /* duplicating is for shared memory only */
	if (len > old_len && range_overcommits(len - old_len, v->flags))
		return -ENOMEM;
	if (!move) {
		if (len == old_len || (old_len && grow_in_place(mm, v, old, old_len, len)))
			return old;
		if (!(flags & MREMAP_MAYMOVE))
			return -ENOMEM;
	}
	if (!(flags & MREMAP_FIXED)) {
		to = vma_find_gap(mm, len, USER_START, mm->mmap_base, PAGE_SIZE);
		if (!to)
			return -ENOMEM;
	}
	if (!old_len) /* the same pages once more, elsewhere */
		return twin_area(v, to, old, len) ? (s64)to : -ENOMEM;
	return move_area(mm, v, old, old_len, to, len, flags);
}

/*
 * mmap_remap - resize or move a part of one area; pages keep their contents, huge pages stay huge where both addresses
 * are aligned.
 *   returns  the new address; -EINVAL, -EFAULT (not mapped, or more than one area), -ENOMEM
 *   Linux    mremap
 */
s64 mmap_remap(struct mm *mm, vaddr_t old, u64 old_len, u64 new_len, u32 flags, vaddr_t new_addr)
{
	s64 r;

	if (flags & MREMAP_DONTUNMAP && old_len != new_len)
		return -EINVAL; /* as they are, not rounded to pages */
	old_len = ALIGN_UP(old_len, PAGE_SIZE);
	new_len = ALIGN_UP(new_len, PAGE_SIZE);
	r = remap_check(old_len, new_len, old, flags, new_addr);
	if (r)
		return r;
	rwsem_write_lock(&mm->lock);
	r = remap_locked(mm, old, old_len, new_len, flags, new_addr);
	rwsem_write_unlock(&mm->lock);
	return r;
}
