/*
 * memory_supply.c - a frame changes hands: from a pager's space into an object, or into a client's space
 *                                                                                    floor 5, below: memory, thp, rmap
 *
 * Takes the page under an address out of its space, when that owns it alone, and gives it away. Who asked for it, and
 * whether he may, is pager.c.
 *
 * IDEA      supply          source --out of the pager's tables, off every CPU--> chunk of the object
 *           supply private  source --out of the pager's tables, off every CPU--> entry of the client, anonymous memory
 *                                  <-- back where it was, when the client has no such area any more --
 *
 *           All that can fail comes first; then straight code. Two spaces are never locked at once: two pagers may supply
 *           each other.
 *
 * INVARIANTS
 *   O5  a page is taken only with one mapping, no other reference, and never from an object (source_state); from before
 *       its entry goes nobody else finds it on a list (source_claim)
 *   O6  every CPU has forgotten the old address before the page has a new owner (tlb_assert_acked)
 *
 * LOCKS     mm->lock (read) -> memory->lock -> pt_lock
 * LINUX     mm/userfaultfd.c: mfill_atomic copies, UFFDIO_MOVE moves
 */
#include <abi/errno.h>
#include "vmstat.h"
#include "mm/buddy.h"
#include "mm/lru.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/vma.h"
#include "mutex.h"
#include "sched.h"
#include "mm/thp_split.h"
#include "mm/memory.h"
#include "mm/memory_chunks.h"
#include "seeded.h"

/* ---- supplying -------------------------------------------------------------------------------- */

static bool supply_args_ok(u64 offset, u64 bytes, vaddr_t source)
{
	return (bytes == PAGE_SIZE || bytes == HPAGE_PMD_SIZE) &&
	       !((offset | source) & (bytes - 1)) && source + bytes > source &&
	       source + bytes <= USER_END;
}

/*
 * The entry over `source`, a pte or a pmd: a page that its space owns alone? What there is, is said by the result:
 * 0; -EFAULT: nothing mapped; -EINVAL: not to be given away; -EAGAIN: part of a huge page that is; -EBUSY: somebody works
 * with the page for a moment: another thread of the pager splits it; who migrates pages took it off the LRU. pt_lock held.
 */
static int source_state(struct mm *mm, vaddr_t source, u64 bytes, struct page **head)
{
	pmd_t *pmdp, pmd;
	pte_t pte = {0};
	u64 entry;

	if (unlikely(mm->nr_puds)) /* a part of a gigabyte goes alone */
		thp_split_pud(mm, source);
	pmdp = pgtable_find_pmd(mm, source);
	pmd = pmdp ? pmd_read(pmdp) : (pmd_t){0};
	entry = pmd.v;
	if (pmd_kind(pmd) == ENTRY_HOLE)
		return -EFAULT;
	if (pmd_kind(pmd) == ENTRY_TABLE) {
		pte = pte_read(pte_ptr(pmd, source));
		if (pte_kind(pte) == ENTRY_HOLE)
			return -EFAULT;
		entry = pte.v;
	}
	if (entry & PTE_DEVICE || !pfn_valid(entry_addr(entry) >> PAGE_SHIFT))
		return -EINVAL;
	*head = pfn_head(entry_addr(entry) >> PAGE_SHIFT);
	if (((*head)->type != PAGE_ANON && (*head)->type != PAGE_ANON_HUGE) ||
		(*head)->flags & PG_SHARED)
		return -EINVAL;
	if (page_is_huge(*head) && bytes == PAGE_SIZE) { /* this frame alone: it is split first */
		if (pfn_mapcount(entry_addr(entry) >> PAGE_SHIFT) != 1)
			return -EINVAL;
	} else if (page_total_mapcount(*head) != 1 ||
		   (pmd_kind(pmd) == ENTRY_LEAF) != (bytes == HPAGE_PMD_SIZE)) {
		return -EINVAL;
	}
	if (!(READ_ONCE((*head)->flags) & PG_LRU) ||
		page_refcount(*head) != page_total_mapcount(*head)) /* more than its mappings' */
		return -EBUSY;
	return page_is_huge(*head) && bytes == PAGE_SIZE ? -EAGAIN : 0;
}

/*
 * Off the lists on which others find a page and take a reference without pt_lock (compaction, shrinkers), and only then: are
 * there none but its mappings'? What source_state() saw was a hint. False: it is as it was. pt_lock held.
 */
static bool source_claim(struct page *head)
{
	bool queued;

	if (!lru_isolate(head))
		return false;
	queued = lru_deferred_del(head);
	if (page_refcount(head) == page_total_mapcount(head))
		return true;
	if (queued)
		lru_deferred_add(head);
	lru_putback(head);
	return false;
}

/* Take the page out of its space, where source_state() found it and source_claim() got it: it is the caller's alone. pt_lock held. */
static struct page *source_take(
	struct mm *mm, vaddr_t source, struct page *head, struct page **table)
{
	pmd_t *pmdp = pgtable_find_pmd(mm, source);
	u64 bytes = page_nr(head) << PAGE_SHIFT, gen;

	*table = NULL;
	if (page_is_huge(head)) {
		pmd_take(pmdp);
		*table = pgtable_withdraw(mm, pmdp);
	} else {
		pte_take(pte_ptr(pmd_read(pmdp), source));
	}
	if (!seeded(SECOND_USER)) {
		gen = tlb_flush(&mm->tlb, source, source + bytes, bytes, TLB_unmap);
		tlb_assert_acked(&mm->tlb, gen);
	}
	if (page_is_huge(head))
		rmap_remove_pmd(head);
	else
		rmap_remove_pte(page_to_pfn(head));
	mm_uncount(mm, page_nr(head), 0);
	lru_del(head); /* the marks of the list it was on */
	return head;
}

/* The source lies inside a huge page: split that, so that 4 KiB of it can go. held: mm(read). 0: look again. */
static int source_split(struct mm *mm, vaddr_t source)
{
	struct page *head;
	int err;

	spin_lock(&mm->pt_lock);
	err = source_state(mm, source, PAGE_SIZE, &head);
	if (err == -EAGAIN)
		page_get(head);
	spin_unlock(&mm->pt_lock);
	if (err != -EAGAIN)
		return err;
	err = thp_split_page(head);
	page_put(head);
	return err;
}

/*
 * Is the source worth another look, after *err? It is when it has been split, and SPLIT_TURNS times when somebody else is
 * at the page: whoever is ends without our locks. After that *err is -EINVAL. held: mm(read)
 */
static bool source_again(struct mm *mm, vaddr_t source, int *err, u32 *turn)
{
	if (*err == -EAGAIN) {
		*err = source_split(mm, source);
		if (!*err)
			return true;
	}
	if (*err != -EBUSY)
		return false;
	if (++*turn == SPLIT_TURNS) {
		*err = -EINVAL;
		return false;
	}
	cpu_relax();
	preempt_point();
	return true;
}

/* May [offset, +bytes) be filled? 0, -EINVAL: outside, -EEXIST. The table for 4 KiB is there then. memory->lock held. */
static int room_for(struct memory *m, u64 offset, u64 bytes)
{
	u64 index = offset >> PAGE_SHIFT, n = index >> HPAGE_PMD_ORDER;

	if (index >= m->nr_pages || (bytes >> PAGE_SHIFT) > m->nr_pages - index)
		return -EINVAL;
	if (bytes == HPAGE_PMD_SIZE)
		return chunk_is_empty(m, n) ? 0 : -EEXIST;
	if (memory_page_at(m, index))
		return -EEXIST;
	return chunk_make_table(m, n) ? 0 : -ENOMEM;
}

/* All that can fail, then the page changes hands: straight code under both locks. held: mm(read) */
static int supply(struct memory *m, u64 offset, u64 bytes, struct mm *mm, vaddr_t source)
{
	u64 index = offset >> PAGE_SHIFT;
	struct page *head, *table = NULL;
	int err;

	spin_lock(&m->lock);
	spin_lock(&mm->pt_lock);
	err = source_state(mm, source, bytes, &head);
	if (!err || err == -EAGAIN || err == -EBUSY) {
		int room = room_for(m, offset, bytes);

		if (room)
			err = room;
	}
	if (!err && !source_claim(head))
		err = -EBUSY;
	if (!err) {
		source_take(mm, source, head, &table);
		memory_adopt(m, head, index);
		if (bytes == HPAGE_PMD_SIZE) {
			m->chunks[index >> HPAGE_PMD_ORDER] = page_to_pfn(head) << 1 | 1;
			vmstat_inc(VM_nr_shmem_hugepages);
		} else {
			chunk_table(m->chunks[index >> HPAGE_PMD_ORDER])[index % HPAGE_PMD_NR] =
				page_to_pfn(head);
		}
	}
	spin_unlock(&mm->pt_lock);
	spin_unlock(&m->lock);
	if (table)
		pgtable_free_table(table);
	return err;
}

/*
 * memory_supply - the frame at `source` of a space becomes the object's page; what is left there is a hole.
 *
 *   locks    none held; takes mm->lock for reading, memory->lock, pt_lock
 *   returns  0; -EFAULT, -EINVAL, -EEXIST as abi/pager.h says; -ENOMEM. On an error nothing has changed hands
 */
int memory_supply(struct memory *m, u64 offset, u64 bytes, struct mm *mm, vaddr_t source)
{
	u32 turn = 0;
	int err;

	if (!supply_args_ok(offset, bytes, source))
		return -EINVAL;
	rwsem_read_lock(&mm->lock);
	do
		err = supply(m, offset, bytes, mm, source);
	while (source_again(mm, source, &err, &turn));
	rwsem_read_unlock(&mm->lock);
	return err;
}

/* ---- supplying: private ----------------------------------------------------------------------- */

/* The area of `into` where a page of m may become private memory; NULL: there is none. held: mm(read) */
static struct vma *private_area(
	struct mm *into, struct memory *m, u64 offset, u64 bytes, vaddr_t at)
{
	struct vma *v = vma_find(into, at);

	if (!v || v->object != &m->object || v->flags & VM_SHARED || at + bytes > v->end ||
		vma_index(v, at) != offset >> PAGE_SHIFT)
		return NULL;
	return v;
}

/* Tables for the page. 0, -ENOMEM, -EEXIST: something is mapped there. held: mm(read) */
static int private_tables(struct mm *into, u64 bytes, vaddr_t at, pmd_t **pmdp)
{
	pud_t *pudp = pgtable_make_pud(into, at);

	*pmdp = pudp ? pgtable_make_pmd(into, pudp, at) : NULL;
	if (!*pmdp)
		return -ENOMEM;
	return bytes == PAGE_SIZE ? pgtable_make_pte(into, *pmdp) : 0;
}

/* Map the page, which is ours alone, as anonymous memory of v. 0, or -EEXIST: no hole there. held: mm(read) */
static int private_map(
	struct vma *v, vaddr_t at, struct page *head, pmd_t *pmdp, struct page *table)
{
	struct mm *mm = v->mm;
	bool huge = page_is_huge(head), hole;
	pte_t *ptep = NULL;

	spin_lock(&mm->pt_lock);
	if (!huge && pmd_kind(pmd_read(pmdp)) == ENTRY_TABLE)
		ptep = pte_ptr(pmd_read(pmdp), at);
	hole = huge ? pmd_kind(pmd_read(pmdp)) == ENTRY_HOLE
		    : ptep && pte_kind(pte_read(ptep)) == ENTRY_HOLE;
	if (hole && huge) {
		pgtable_deposit(mm, pmdp, table);
		rmap_new_anon_huge(head, v, at);
		pmd_write(pmdp, pmd_make_huge(page_to_pfn(head), vma_rights_write(v)));
	} else if (hole) {
		rmap_new_anon(head, v, at);
		pte_write(ptep, pte_make(page_to_pfn(head), vma_rights_write(v)));
	}
	if (hole) {
		mm->nr_anon += page_nr(head);
		v->copied |= v->kind == VMA_OBJECT;
		lru_add_active(head);
	}
	spin_unlock(&mm->pt_lock);
	return hole ? 0 : -EEXIST;
}

/* Into the client's area; *table, for a huge page, is used up then. 0, -EINVAL (no such area), -ENOMEM, -EEXIST. */
static int private_install(struct memory *m, u64 offset, struct mm *into, vaddr_t at,
	struct page *head, struct page *table)
{
	u64 bytes = page_nr(head) << PAGE_SHIFT;
	struct vma *v;
	pmd_t *pmdp;
	int err = -EINVAL;

	rwsem_read_lock(&into->lock);
	v = private_area(into, m, offset, bytes, at);
	if (v)
		err = private_tables(into, bytes, at, &pmdp);
	if (v && !err) {
		spin_lock(&m->lock);
		err = (offset + bytes) >> PAGE_SHIFT > m->nr_pages
			      ? -EINVAL
			      : private_map(v, at, head, pmdp, table);
		spin_unlock(&m->lock);
	}
	rwsem_read_unlock(&into->lock);
	return err;
}

/* It could not be given away: back to where it was, unless something else is there by now. */
static void give_back(struct mm *mm, vaddr_t source, struct page *head, struct page *table)
{
	u64 bytes = page_nr(head) << PAGE_SHIFT;
	struct vma *v;
	pmd_t *pmdp;

	rwsem_read_lock(&mm->lock);
	v = vma_find(mm, source);
	if (v && v->kind != VMA_DEVICE && !(v->flags & VM_SHARED) && source + bytes <= v->end &&
		!rmap_prepare(v) && !private_tables(mm, bytes, source, &pmdp) &&
		!private_map(v, source, head, pmdp, table))
		head = table = NULL;
	rwsem_read_unlock(&mm->lock);
	if (head)
		page_put(head);
	if (table)
		pgtable_free_table(table);
}

/* Take the page at source. 0 or as source_state() says. */
static int private_take(
	struct mm *mm, vaddr_t source, u64 bytes, struct page **head, struct page **table)
{
	u32 turn = 0;
	int err;

	rwsem_read_lock(&mm->lock);
	do {
		spin_lock(&mm->pt_lock);
		err = source_state(mm, source, bytes, head);
		if (!err && !source_claim(*head))
			err = -EBUSY;
		if (!err)
			source_take(mm, source, *head, table);
		spin_unlock(&mm->pt_lock);
	} while (source_again(mm, source, &err, &turn));
	rwsem_read_unlock(&mm->lock);
	return err;
}

/*
 * memory_supply_private - the frame at `source` becomes anonymous memory of another space, at `at`, where that maps
 * this page of m privately.
 *
 *   locks    none held; takes one mm->lock at a time: two pagers may supply each other
 *   returns  as memory_supply; -EINVAL also when there is no such private area (any more). The caller's page is back
 *            where it was after an error, unless its own threads put another one there meanwhile
 */
int memory_supply_private(struct memory *m, u64 offset, u64 bytes, struct mm *into, vaddr_t at,
	struct mm *mm, vaddr_t source)
{
	struct page *head, *table, *spare = NULL;
	int err;

	if (!supply_args_ok(offset, bytes, source) || at & (bytes - 1))
		return -EINVAL;
	if (bytes == HPAGE_PMD_SIZE) {
		spare = pgtable_alloc_table(into, false);
		if (!spare)
			return -ENOMEM;
	}
	err = private_take(mm, source, bytes, &head, &table);
	if (!err) {
		err = private_install(m, offset, into, at, head, spare);
		if (err) {
			give_back(mm, source, head, table);
		} else {
			spare = NULL;
			if (table)
				pgtable_free_table(table);
		}
	}
	if (spare)
		pgtable_free_table(spare);
	return err;
}
