/*
 * mremap.c - an area gets longer, shorter, or another place               floor 5, below: range, zap, thp, pgtable
 *
 * Moves entries, never contents: a page keeps its frame, its family and its index, so the reverse map needs no
 * change but a second area for the same indexes.
 *
 * IDEA      old |=== P P P ===|            new area: same anon object, pgoff so that index <-> page stays
 *                    |  |  |
 *           new      P  P  P    |===
 *
 *   The range is cut into pieces, and a piece is as large as the two places allow:
 *
 *     1 GiB, 2 MiB   both sides aligned, nothing at the new place: the entry moves, be it a huge leaf with its deposit or
 *                    a table with all that hangs below it
 *     a part of it   a huge leaf is split; the entries are taken out, flushed, and put in, one by one
 *
 * IT CANNOT FAIL HALFWAY. Tables are all that a move has to allocate, so there are two rounds over the same pieces: the first
 *   makes every table at the new place, and only when it has them all the second moves. In between nobody adds or fills a table:
 *   faults and collapse want mm->lock. What may change is a huge leaf, which becomes a table (a split that comes from the
 *   page) or a hole (an object's page is withdrawn). A piece moves whole either way; where it goes page by page its tables have been
 *   made as for a leaf that is split. So the second round meets no piece that the first has not prepared.
 *
 * INVARIANTS  E1  once the first entry has moved nothing is allocated: the second round is straight code (asserted: every
 *                 piece finds its table); ktest no_memory.mremap_among_splits fails each allocation in turn
 *             E2  who comes from a page meets every entry of it. The new place stands behind the old one in the family's
 *                 tree (rmap.c), so a walk that has passed an entry meets it once more at most; and a table moves under
 *                 the family's lock, because a walker finds his way into it before he takes pt_lock
 *
 * LOCKS     mm->lock (write) -> anon lock -> pt_lock
 * LINUX     mm/mremap.c: move_page_tables, move_huge_pmd, move_normal_pmd, move_vma. It allocates as it goes, and moves back what
 *           it had moved: the tables at the old place are still there, unless it was one of those that moved. docs/mm/mmap.md
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

/* Both places, and how far it is from one to the other. */
struct move {
	struct vma *v; /* from this area */
	vaddr_t end;   /* of the range, at the old place */
	s64 shift;
};

/* What moves in one step: the entry of a gigabyte (pmd is NULL), of 2 MiB, or 4 KiB entries below it. */
struct piece {
	vaddr_t start, end;
	pud_t *pud;
	pmd_t *pmd;
};

/* The way to an entry changes: nobody who comes from a page is on it. E2 */
static void lock_ways(struct vma *v)
{
	if (v->anon)
		spin_lock(&v->anon->lock);
	spin_lock(&v->mm->pt_lock);
}

static void unlock_ways(struct vma *v)
{
	spin_unlock(&v->mm->pt_lock);
	if (v->anon)
		spin_unlock(&v->anon->lock);
}

/* The entry of 2 MiB, whatever it is. Linux: move_huge_pmd, move_normal_pmd */
static void move_pmd(struct vma *v, vaddr_t haddr, pmd_t *from, pmd_t *to)
{
	struct mm *mm = v->mm;
	pmd_t pmd;

	lock_ways(v);
	pmd = pmd_take(from);
	if (pmd_kind(pmd) != ENTRY_HOLE) {
		if (is_leaf(pmd))
			pgtable_deposit(mm, to, pgtable_withdraw(mm, from));
		tlb_flush(&mm->tlb, haddr, haddr + HPAGE_PMD_SIZE,
			is_leaf(pmd) ? HPAGE_PMD_SIZE : PAGE_SIZE, TLB_move);
		if (seeded(MOVE_ZERO) && is_leaf(pmd) && pfn_is_huge_zero(pmd_pfn(pmd)))
			pmd = pmd_make_huge(0, PTE_P | PTE_US | PTE_NX);
		pmd_write(to, pmd);
	}
	unlock_ways(v);
}

/* The same for 1 GiB. Linux: move_normal_pud */
static void move_pud(struct vma *v, vaddr_t addr, pud_t *from, pud_t *to)
{
	struct mm *mm = v->mm;
	bool leaf;
	pud_t pud;

	lock_ways(v);
	leaf = pud_kind(pud_read(from)) == ENTRY_LEAF;
	pud = pud_take(from);
	if (leaf)
		pgtable_deposit_pmds(mm, to, pgtable_withdraw_pmds(mm, from));
	tlb_flush(
		&mm->tlb, addr, addr + HPAGE_PUD_SIZE, leaf ? HPAGE_PUD_SIZE : PAGE_SIZE, TLB_move);
	pud_write(to, pud);
	unlock_ways(v);
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

/* Entries that go one by one: those of a huge leaf when it has been split. */
static void move_part(struct vma *v, const struct piece *p, vaddr_t dst, pmd_t *to)
{
	struct mm *mm = v->mm;

	ASSERT_RULE("E1", pmd_kind(pmd_read(to)) == ENTRY_TABLE, "no table at %#lx", dst);
	if (is_leaf(pmd_read(p->pmd))) {
		(void)seeded_window(MOVE_RECHECK);
		spin_lock(&mm->pt_lock);
		if (pmd_kind(pmd_read(p->pmd)) == ENTRY_LEAF) /* nobody split the page */
			thp_split_pmd(v, p->start & HPAGE_PMD_MASK, p->pmd);
		spin_unlock(&mm->pt_lock);
	}
	move_ptes(mm, p->start, p->end, p->pmd, dst, to);
}

/* Does the gigabyte at a go as one entry? Not where it shares its new place with others. */
static bool moves_as_pud(const struct move *m, vaddr_t a)
{
	pud_t *to = pgtable_find_pud(m->v->mm, a + m->shift);

	return IS_ALIGNED(a, HPAGE_PUD_SIZE) && IS_ALIGNED((u64)m->shift, HPAGE_PUD_SIZE) &&
	       m->end - a >= HPAGE_PUD_SIZE && (!to || pud_kind(pud_read(to)) == ENTRY_HOLE);
}

/* And this piece as one entry of 2 MiB? */
static bool moves_as_pmd(const struct piece *p, pmd_t *to)
{
	return p->end - p->start == HPAGE_PMD_SIZE && pmd_kind(pmd_read(to)) == ENTRY_HOLE;
}

/* How far one step of a move may go: neither side may cross a 2 MiB line. */
static vaddr_t step_end(const struct move *m, vaddr_t a)
{
	vaddr_t dst = a + m->shift;
	u64 n = MIN(pmd_range_end(a, m->end) - a, pmd_range_end(dst, ~0ul) - dst);

	return a + n;
}

/* The first piece from a on where something stands. False: nothing more. Leaves that must come apart do so here. */
static bool next_piece(const struct move *m, vaddr_t a, struct piece *p)
{
	struct mm *mm = m->v->mm;

	for (; a < m->end; a = pud_range_end(a, m->end)) {
		pud_t *pud = pgtable_find_pud(mm, a);

		if (!pud || pud_kind(pud_read(pud)) == ENTRY_HOLE)
			continue;
		if (moves_as_pud(m, a)) {
			*p = (struct piece){a, a + HPAGE_PUD_SIZE, pud, NULL};
			return true;
		}
		if (pud_kind(pud_read(pud)) == ENTRY_LEAF) {
			spin_lock(&mm->pt_lock);
			thp_split_pud(mm, a);
			spin_unlock(&mm->pt_lock);
		}
		p->start = a;
		p->pmd = pgtable_next_pmd(mm, &p->start, pud_range_end(a, m->end));
		if (p->pmd) {
			p->end = step_end(m, p->start);
			return true;
		}
	}
	return false;
}

/* The first round: every table that the second one will want. False: no memory; nothing has moved. */
static bool make_tables(const struct move *m, vaddr_t start)
{
	struct mm *mm = m->v->mm;
	struct piece p;

	for (vaddr_t a = start; next_piece(m, a, &p); a = p.end) {
		vaddr_t dst = p.start + m->shift;
		pud_t *pud = pgtable_make_pud(mm, dst);
		pmd_t *to;

		if (!pud)
			return false;
		if (!p.pmd)
			continue;
		to = pgtable_make_pmd(mm, pud, dst);
		if (!to || (!moves_as_pmd(&p, to) && pgtable_make_pte(mm, to)))
			return false;
		preempt_point();
	}
	return true;
}

/* The second: straight code. E1 */
static void move_pieces(const struct move *m, vaddr_t start)
{
	struct mm *mm = m->v->mm;
	struct piece p;

	for (vaddr_t a = start; next_piece(m, a, &p); a = p.end) {
		vaddr_t dst = p.start + m->shift;
		pmd_t *to = p.pmd ? pgtable_find_pmd(mm, dst) : NULL;

		if (!p.pmd)
			move_pud(m->v, p.start, p.pud, pgtable_find_pud(mm, dst));
		else if (moves_as_pmd(&p, to))
			move_pmd(m->v, p.start, p.pmd, to);
		else
			move_part(m->v, &p, dst, to);
		preempt_point();
	}
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
	/* Nothing was ever there: numbered by its place it may be united with what is beside it. */
	n->pgoff = v->kind == VMA_ANON && !v->anon ? start >> PAGE_SHIFT : vma_index(v, old);
	n->copied = v->copied;
	n->object = v->object;
	if (n->object)
		object_get(n->object);
	__builtin_memcpy(n->name, v->name, sizeof(n->name));
	if (vma_insert(v->mm, n)) {
		vma_free(n);
		return NULL;
	}
	if (v->anon) {
		rmap_link(n, v->anon);
		n->kin = v->kin;
	}
	return n;
}

/* MREMAP_DONTUNMAP: what stays is locked no more, and as if it had never been touched. held: mm(write) */
static void leave_empty(struct vma *v, vaddr_t old, u64 len)
{
	mmap_unlock_area(v);
	if (v->kind == VMA_ANON && v->start == old && v->end == old + len)
		rmap_unlink(v);
}

/* Move [old, old + old_len) of one area to `to`, where it becomes `len` long. held: mm(write). Linux: move_vma */
static s64 move_area(
	struct mm *mm, struct vma *v, vaddr_t old, u64 old_len, vaddr_t to, u64 len, u32 flags)
{
	struct move m = {.end = old + MIN(old_len, len), .shift = to - old};
	bool stays = flags & MREMAP_DONTUNMAP, beside;
	struct vma *n;

	if (mm->nr_vmas >=
		VMA_MAX - 3) /* cut twice, moved, and room to spare: Linux's own margin */
		return -ENOMEM;
	/* What is left behind is removed or unlocked at the end: its edges are made now, while that may still fail. */
	if ((!stays || v->flags & VM_LOCKED) && range_cut(mm, old, old + old_len))
		return -ENOMEM;
	v = vma_find(mm, old);
	n = twin_area(v, to, old, len);
	if (!n)
		return -ENOMEM;
	m.v = v;
	if (!make_tables(&m, old)) {
		zap_area(n); /* empty, but for tables */
		return -ENOMEM;
	}
	move_pieces(&m, old);
	/* Untouched, it could be united with what was moved: then it would not be there to be removed. */
	if (!stays)
		zap_area(v); /* the entries are gone; only the area and its tables are left */
	beside = stays && (n->end == v->start || v->end == n->start); /* two areas were asked for */
	if (!beside || v->anon)
		vma_merge(n);
	if (stays)
		leave_empty(vma_find(mm, old), old, old_len);
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
	if (len == old_len && !move) /* nothing to do, over several areas, too */
		return old;
	v = vma_find(mm, old);
	if (!v || old + old_len > v->end || old + old_len < old)
		return -EFAULT;
	if (v->kind == VMA_DEVICE || (old_len == 0 && !(v->flags & VM_SHARED)))
		return -EINVAL; /* duplicating is for shared memory only */
	if (len > old_len && range_overcommits(len - old_len, v->flags))
		return -ENOMEM;
	if (!move) {
		if (old_len && grow_in_place(mm, v, old, old_len, len))
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
