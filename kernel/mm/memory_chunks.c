/*
 * memory_chunks.c - which pages an object has, and how they leave it and all mappings      floor 5, below: thp, rmap, buddy
 *
 * Keeps the pages of an object by their index, takes ranges of them out again, and changes an object's size. It makes
 * no page and maps none: memory.c and memory_supply.c do.
 *
 * IDEA      chunks[]: one word for each 2 MiB of the object
 *
 *             0            nothing there
 *             pfn * 2 + 1  a huge page, whole
 *             pointer      a table of 512 frame numbers, 0: nothing there
 *
 *           withdraw:  chunk -> pages leave it -> the reverse map finds every area that shows them -> entries go, every
 *                      CPU forgets them -> the frames are freed
 *
 * HARD      Two can be at work at one page: a fault that has found it and is about to map it, and a withdrawal that
 *           takes it out of all mappings. Both do it under memory->lock, the fault together with the pt_lock of its space.
 *           So the fault's entry is either there before the withdrawal's walk, which takes it away, or the fault finds
 *           the page gone. Nothing is freed before every CPU has forgotten it (tlb_assert_acked).
 *           A withdrawal comes through the reverse map, without mm->lock: whoever holds mm->lock and saw a huge leaf of
 *           an object may find a hole under pt_lock. zap.c, fork.c, mremap.c and mprotect.c look again there.
 *
 * INVARIANTS O1 to O4: memory.c
 *
 * LOCKS     memory->lock -> anon->lock -> pt_lock
 * LINUX     mm/filemap.c (an xarray of folios), mm/truncate.c, unmap_mapping_range
 */
#include <abi/errno.h>
#include "vmstat.h"
#include "mm/buddy.h"
#include "mm/kmalloc.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/vma.h"
#include "sched.h"
#include "mm/thp_split.h"
#include "mm/memory.h"
#include "mm/memory_chunks.h"
#include "seeded.h"

static struct kmem_cache table_cache;

void chunk_init(void)
{
	kmem_cache_init(&table_cache, "memory_table", HPAGE_PMD_NR * sizeof(u32));
}

/* ---- one chunk: memory->lock held ------------------------------------------------------------- */

static bool table_is_empty(const u32 *table)
{
	for (unsigned i = 0; i < HPAGE_PMD_NR; i++)
		if (table[i])
			return false;
	return true;
}

/* Nothing is there of this 2 MiB; a table without entries goes. */
bool chunk_is_empty(struct memory *m, u64 n)
{
	u64 chunk = m->chunks[n];

	if (chunk_is_huge(chunk) || (chunk && !table_is_empty(chunk_table(chunk))))
		return false;
	if (chunk)
		kmem_cache_free(&table_cache, chunk_table(chunk));
	m->chunks[n] = 0;
	return true;
}

/* A page becomes the object's, with the caller's reference. */
void memory_adopt(struct memory *m, struct page *head, u64 index)
{
	u64 nr = page_nr(head);

	head->private = (u64)m->anon;
	page_set_index(head, index);
	head->flags |= PG_SHARED;
	m->present += nr;
	vmstat_add(VM_nr_shmem, (s64)nr);
}

/* The table of a chunk that is not huge, made if there is none. NULL: no memory. */
u32 *chunk_make_table(struct memory *m, u64 n)
{
	if (!m->chunks[n])
		m->chunks[n] = (u64)kmem_cache_zalloc(&table_cache);
	return chunk_table(m->chunks[n]);
}

/* The object is dying and has no page left. */
void chunk_free_tables(struct memory *m)
{
	for (u64 n = 0; n < m->nr_chunks; n++)
		if (m->chunks[n])
			kmem_cache_free(&table_cache, chunk_table(m->chunks[n]));
}

/* ---- taking pages out of all mappings --------------------------------------------------------- */

struct unmap {
	u64 first, end; /* indices */
	bool copies;    /* private copies go too: the object ends before them */
};

/* Does this frame go? */
static inline bool unmaps(const struct unmap *u, pfn_t pfn)
{
	return u->copies || pfn_head(pfn)->flags & PG_SHARED;
}

/* 4 KiB entries of [start, end), all under *pmdp. pt_lock is taken here. */
static void unmap_ptes(
	const struct unmap *u, struct mm *mm, pmd_t *pmdp, vaddr_t start, vaddr_t end)
{
	u32 pfns[HPAGE_PMD_NR];
	unsigned nr = 0, shared = 0;
	u64 gen = 0;
	pte_t *ptep;

	spin_lock(&mm->pt_lock);
	if (pmd_kind(pmd_read(pmdp)) != ENTRY_TABLE) {
		spin_unlock(&mm->pt_lock);
		return;
	}
	ptep = pte_ptr(pmd_read(pmdp), start);
	for (vaddr_t a = start; a < end; a += PAGE_SIZE, ptep++) {
		pfn_t pfn = pte_pfn(pte_read(ptep));

		if (pte_kind(pte_read(ptep)) == ENTRY_HOLE || !unmaps(u, pfn))
			continue;
		pte_take(ptep);
		shared += pfn_head(pfn)->flags & PG_SHARED ? 1 : 0;
		rmap_remove_pte(pfn);
		pfns[nr++] = pfn;
	}
	mm_uncount(mm, nr - shared, shared);
	if (nr && !seeded(BATCHED_FLUSH))
		gen = tlb_flush(&mm->tlb, start, end, PAGE_SIZE, TLB_unmap);
	spin_unlock(&mm->pt_lock);
	if (nr && seeded_window(BATCHED_FLUSH))
		gen = tlb_flush(&mm->tlb, start, end, PAGE_SIZE, TLB_unmap);
	tlb_assert_acked(&mm->tlb, gen);
	page_put_batch(pfns, nr);
}

/* A huge leaf: taken whole, or split when only a part of it goes. False: 4 KiB entries are to be looked at. */
static bool unmap_huge(
	const struct unmap *u, struct vma *v, pmd_t *pmdp, vaddr_t start, vaddr_t end)
{
	struct mm *mm = v->mm;
	vaddr_t haddr = start & HPAGE_PMD_MASK;
	struct page *table, *head;
	bool shared;
	u64 gen;

	spin_lock(&mm->pt_lock);
	if (pmd_kind(pmd_read(pmdp)) != ENTRY_LEAF) {
		spin_unlock(&mm->pt_lock);
		return false;
	}
	head = pfn_to_page(pmd_pfn(pmd_read(pmdp)));
	shared = head->flags & PG_SHARED;
	if (!unmaps(u, page_to_pfn(head)) || end - start < HPAGE_PMD_SIZE) {
		if (unmaps(u, page_to_pfn(head)))
			thp_split_pmd(v, haddr, pmdp);
		spin_unlock(&mm->pt_lock);
		return !unmaps(u, page_to_pfn(head));
	}
	pmd_take(pmdp);
	table = pgtable_withdraw(mm, pmdp);
	rmap_remove_pmd(head);
	mm_uncount(mm, shared ? 0 : HPAGE_PMD_NR, shared ? HPAGE_PMD_NR : 0);
	gen = tlb_flush(&mm->tlb, haddr, haddr + HPAGE_PMD_SIZE, HPAGE_PMD_SIZE, TLB_unmap);
	spin_unlock(&mm->pt_lock);
	tlb_assert_acked(&mm->tlb, gen);
	pgtable_free_table(table);
	page_put(head);
	return true;
}

/* The part of one area that shows [first, end). anon->lock held: the area and its tables stay. */
static bool unmap_area(struct vma *v, vaddr_t addr, void *ctx)
{
	const struct unmap *u = ctx;
	vaddr_t end = MIN(v->end, v->start + ((u->end - v->pgoff) << PAGE_SHIFT)), next;

	for (pmd_t *pmdp = pgtable_next_pmd(v->mm, &addr, end); pmdp;
		addr = next, pmdp = pgtable_next_pmd(v->mm, &addr, end)) {
		next = pmd_range_end(addr, end);
		if (pmd_kind(pmd_read(pmdp)) == ENTRY_LEAF && unmap_huge(u, v, pmdp, addr, next))
			continue;
		unmap_ptes(u, v->mm, pmdp, addr, next);
	}
	return true;
}

static void unmap_everywhere(struct memory *m, u64 first, u64 end, bool copies)
{
	struct unmap u = {first, end, copies};

	rmap_walk(m->anon, first, end - first, unmap_area, &u);
}

/*
 * A huge page of the object becomes 512 pages: it leaves all mappings (faults bring them back), then nobody but the
 * object is at it, except a copy under way on another CPU, which ends without our lock. 0, -ENOMEM, -EBUSY.
 * memory->lock held.
 */
static int split_chunk(struct memory *m, u64 n)
{
	struct page *head = pfn_to_page(chunk_head(m->chunks[n]));
	u64 first = n << HPAGE_PMD_ORDER;
	u32 *table = kmem_cache_alloc(&table_cache);

	if (!table)
		return -ENOMEM;
	unmap_everywhere(m, first, first + HPAGE_PMD_NR, false);
	for (u32 turn = 0; page_refcount(head) != 1; turn++) {
		if (turn == SPLIT_TURNS) {
			kmem_cache_free(&table_cache, table);
			return -EBUSY;
		}
		sync_poll();
		cpu_relax();
	}
	buddy_split_huge(head);
	for (u64 i = 0; i < HPAGE_PMD_NR; i++) {
		head[i].flags |= PG_SHARED;
		table[i] = page_to_pfn(head) + i;
	}
	m->chunks[n] = (u64)table;
	vmstat_add(VM_nr_shmem_hugepages, -1);
	return 0;
}

/* The pages of [first, end), all of one chunk, leave the object; their frames go to pfns[]. memory->lock held. */
static unsigned take_pages(struct memory *m, u64 first, u64 end, u32 *pfns)
{
	u64 *chunk = &m->chunks[first >> HPAGE_PMD_ORDER];
	unsigned nr = 0;

	if (chunk_is_huge(*chunk)) {
		pfns[nr++] = chunk_head(*chunk);
		*chunk = 0;
		m->present -= HPAGE_PMD_NR;
		vmstat_add(VM_nr_shmem, -(s64)HPAGE_PMD_NR);
		vmstat_add(VM_nr_shmem_hugepages, -1);
		return nr;
	}
	for (u64 i = first; i < end; i++) {
		u32 *slot = &chunk_table(*chunk)[i % HPAGE_PMD_NR];

		if (*slot)
			pfns[nr++] = *slot;
		*slot = 0;
	}
	m->present -= nr;
	vmstat_add(VM_nr_shmem, -(s64)nr);
	return nr;
}

/* [first, end) lies in one chunk. 0, -ENOMEM, -EBUSY. */
static int withdraw_in_chunk(struct memory *m, u64 first, u64 end, bool copies)
{
	u64 n = first >> HPAGE_PMD_ORDER;
	u32 pfns[HPAGE_PMD_NR];
	unsigned nr = 0;
	int err = 0;

	spin_lock(&m->lock);
	if (chunk_is_huge(m->chunks[n]) && end - first < HPAGE_PMD_NR)
		err = split_chunk(m, n);
	if (!err && m->chunks[n])
		nr = take_pages(m, first, end, pfns);
	if (!err && (nr || copies))
		unmap_everywhere(m, first, end, copies);
	spin_unlock(&m->lock);
	page_put_batch(pfns, nr);
	return err;
}

/* An error does not end it: nothing may stay behind the end of an object (O3 of memory.c). The last one is the result. */
static int withdraw(struct memory *m, u64 first, u64 end, bool copies)
{
	int err = 0;

	for (u64 next; first < end; first = next) {
		int failed;

		next = MIN(end, ALIGN_DOWN(first, HPAGE_PMD_NR) + HPAGE_PMD_NR);
		failed = withdraw_in_chunk(m, first, next, copies);
		if (failed)
			err = failed;
		preempt_point();
	}
	return err;
}

/*
 * memory_withdraw - the pages of a range leave the object and all mappings, and are freed. Private copies stay.
 *
 *   locks    no spinlock held; takes memory->lock, anon->lock, pt_locks
 *   returns  0; -EINVAL (not of pages, or outside); -ENOMEM, -EBUSY: a huge page that lies only partly in the range
 *            could not be split
 *   Linux    shmem_fallocate(FALLOC_FL_PUNCH_HOLE), unmap_mapping_range
 */
int memory_withdraw(struct memory *m, u64 offset, u64 bytes)
{
	u64 first = offset >> PAGE_SHIFT, end = first + (bytes >> PAGE_SHIFT);

	if ((offset | bytes) & ~PAGE_MASK || end < first)
		return -EINVAL;
	return withdraw(m, first, MIN(end, READ_ONCE(m->nr_chunks) << HPAGE_PMD_ORDER), false);
}

/* ---- size -------------------------------------------------------------------------------------- */

/* Room for `nr` chunks. The pointers move under the lock; the old ones are freed outside. 0 or -ENOMEM. */
static int grow_chunks(struct memory *m, u64 nr)
{
	u64 *bigger, *old = NULL;

	if (nr <= READ_ONCE(m->nr_chunks))
		return 0;
	bigger = kzalloc(nr * sizeof(u64));
	if (!bigger)
		return -ENOMEM;
	spin_lock(&m->lock);
	if (nr > m->nr_chunks) {
		__builtin_memcpy(bigger, m->chunks, m->nr_chunks * sizeof(u64));
		old = m->chunks;
		m->chunks = bigger;
		m->nr_chunks = nr;
		bigger = NULL;
	}
	spin_unlock(&m->lock);
	kfree(old);
	kfree(bigger);
	return 0;
}

/*
 * memory_resize - another size; what lies beyond leaves every mapping, private copies too.
 *
 *   locks    none held
 *   returns  0; -EINVAL (larger than MEMORY_MAX); -ENOMEM, -EBUSY (as memory_withdraw; the size is the old one)
 *   Linux    shmem_setattr, truncate_pagecache
 */
int memory_resize(struct memory *m, u64 bytes)
{
	u64 pages = ALIGN_UP(bytes, PAGE_SIZE) >> PAGE_SHIFT, before;
	int err;

	if (bytes > MEMORY_MAX)
		return -EINVAL;
	err = grow_chunks(m, chunks_for(pages));
	if (err)
		return err;
	spin_lock(&m->lock);
	before = m->nr_pages;
	if (pages % HPAGE_PMD_NR && pages < before &&
		chunk_is_huge(m->chunks[pages >> HPAGE_PMD_ORDER]))
		err = split_chunk(m, pages >> HPAGE_PMD_ORDER);
	if (!err)
		m->nr_pages = pages; /* from now on no fault brings back what lies beyond */
	spin_unlock(&m->lock);
	return err ? err : withdraw(m, pages, before, true);
}
