/*
 * memory.c - pages that several areas, in several spaces, may map         floor 5, below: thp, pgtable, rmap, buddy
 *
 * Keeps the pages of memory objects, maps them where a fault finds a hole, takes frames from who supplies them and
 * takes pages out of all mappings again. It sends no message: what is missing in an object with a pager is
 * FAULT_PAGER, and pager.c does the rest.
 *
 * IDEA      chunks[]: one word for each 2 MiB of the object
 *
 *             0            nothing there
 *             pfn * 2 + 1  a huge page, whole
 *             pointer      a table of 512 frame numbers, 0: nothing there
 *
 *           shared area   hole -> entry of the object's page, writable if the area is: a write needs no fault
 *           private area  hole -> read: entry of the object's page, read-only
 *                                 write: a copy at once, the area's own page (vma->copied)
 *
 *           An object's page carries PG_SHARED and one reference more than it has mappings. That one reference is why
 *           nothing else in mm/ has to know objects: no mapping is ever the only owner, so each write through a private
 *           one copies; splitting the page, collapsing it and freeing it lazily are refused as for any page in use.
 *
 * HARD      Two can be at work at one page: a fault that has found it and is about to map it, and a withdrawal that
 *           takes it out of all mappings. Both do it under memory->lock, the fault together with the pt_lock of its space.
 *           So the fault's entry is either there before the withdrawal's walk, which takes it away, or the fault finds
 *           the page gone. Nothing is freed before every CPU has forgotten it (tlb_assert_acked).
 *           A withdrawal comes through the reverse map, without mm->lock: whoever holds mm->lock and saw a huge leaf of
 *           an object may find a hole under pt_lock. zap.c, fork.c, mremap.c and mprotect.c look again there.
 *
 * INVARIANTS (memory_check() tests every one)
 *   O1  a page in a chunk is ANON or ANON_HUGE, PG_SHARED, on no list, and names the object's family and its index
 *   O2  its references are its mappings and the object's one
 *   O3  present is the number of pages in the chunks; none lies beyond nr_pages
 *   O4  nr_shmem and nr_shmem_hugepages are the pages of all objects, and no other page is PG_SHARED
 *
 * LOCKS     mm->lock (read) -> memory->lock -> anon->lock -> pt_lock
 * LINUX     mm/shmem.c, mm/filemap.c (an xarray of folios), mm/memory.c do_fault, do_fault_around,
 *           mm/truncate.c, unmap_mapping_range. It writes pages back; here a pager keeps what it wants to keep.
 */
#include <abi/errno.h>
#include "vmstat.h"
#include "printk.h"
#include "lib/string.h"
#include "mm/buddy.h"
#include "mm/kmalloc.h"
#include "mm/lru.h"
#include "mm/zero.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/vma.h"
#include "mutex.h"
#include "sched.h"
#include "mm/thp.h"
#include "mm/memory.h"
#include "seeded.h"

#define FAULT_AROUND                                                                               \
	16 /* pages that one read fault maps, where they are there. Linux: fault_around_bytes */
#define SPLIT_TURNS 1000000 /* of waiting for a copy under way elsewhere */

static struct kmem_cache memory_cache, table_cache;
static struct spinlock list_lock =
	SPINLOCK_INIT(LOCK_MEMORY, "memories"); /* never together with another of its class */
static struct list memories = LIST_INIT(memories);

void memory_init(void)
{
	kmem_cache_init(&memory_cache, "memory", sizeof(struct memory));
	kmem_cache_init(&table_cache, "memory_table", HPAGE_PMD_NR * sizeof(u32));
}

u64 memory_areas(const struct memory *m)
{
	return READ_ONCE(m->anon->nr_areas);
}

/* ---- chunks: memory->lock held ---------------------------------------------------------------- */

static inline bool chunk_is_huge(u64 chunk)
{
	return chunk & 1;
}
static inline pfn_t chunk_head(u64 chunk)
{
	return chunk >> 1;
}
static inline u32 *chunk_table(u64 chunk)
{
	return (u32 *)chunk;
}

static inline pfn_t page_at(const struct memory *m, u64 index) /* index < nr_pages */
{
	u64 chunk = m->chunks[index >> HPAGE_PMD_ORDER];

	if (chunk_is_huge(chunk))
		return chunk_head(chunk) + index % HPAGE_PMD_NR;
	return chunk ? chunk_table(chunk)[index % HPAGE_PMD_NR] : 0;
}

static bool table_is_empty(const u32 *table)
{
	for (unsigned i = 0; i < HPAGE_PMD_NR; i++)
		if (table[i])
			return false;
	return true;
}

/* Nothing is there of this 2 MiB; a table without entries goes. */
static bool chunk_is_empty(struct memory *m, u64 n)
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
static void adopt(struct memory *m, struct page *head, u64 index)
{
	u64 nr = page_nr(head);

	head->private = (u64)m->anon;
	page_set_index(head, index);
	head->flags |= PG_SHARED;
	m->present += nr;
	vmstat_add(VM_nr_shmem, (s64)nr);
}

/* The table of a chunk that is not huge, made if there is none. NULL: no memory. */
static u32 *make_table(struct memory *m, u64 n)
{
	if (!m->chunks[n])
		m->chunks[n] = (u64)kmem_cache_zalloc(&table_cache);
	return chunk_table(m->chunks[n]);
}

/* ---- objects ---------------------------------------------------------------------------------- */

static inline u64 chunks_for(u64 pages)
{
	return ALIGN_UP(pages, HPAGE_PMD_NR) >> HPAGE_PMD_ORDER;
}

/* Nobody maps it and nobody names it any more. */
static void memory_release(struct object *o)
{
	struct memory *m = memory_of(o);

	spin_lock(&list_lock);
	list_del(&m->link);
	spin_unlock(&list_lock);
	if (memory_withdraw(m, 0, m->nr_chunks << HPAGE_PMD_SHIFT))
		panic("O2", "a page of an object that nobody maps cannot be freed");
	for (u64 n = 0; n < m->nr_chunks; n++)
		if (m->chunks[n])
			kmem_cache_free(&table_cache, chunk_table(m->chunks[n]));
	ASSERT_RULE("O3", m->present == 0, "%lu pages left in an object that dies", m->present);
	if (m->pager)
		object_put(m->pager);
	rmap_unpin_anon(m->anon);
	kfree(m->chunks);
	kmem_cache_free(&memory_cache, m);
}

static u64 memory_weight(const struct object *o)
{
	const struct memory *m = container_of(o, struct memory, object);

	return (READ_ONCE(m->present) << PAGE_SHIFT) + READ_ONCE(m->nr_chunks) * sizeof(u64);
}

static const struct object_ops memory_ops = {
	.name = "memory",
	.release = memory_release,
	.weight = memory_weight,
};

struct memory *memory_create(u64 bytes)
{
	u64 pages = ALIGN_UP(bytes, PAGE_SIZE) >> PAGE_SHIFT;
	struct memory *m;

	if (bytes > MEMORY_MAX)
		return NULL;
	m = kmem_cache_zalloc(&memory_cache);
	if (!m)
		return NULL;
	m->nr_pages = pages;
	m->nr_chunks = MAX(chunks_for(pages), 1ul);
	m->chunks = kzalloc(m->nr_chunks * sizeof(u64));
	m->anon = m->chunks ? rmap_family() : NULL;
	if (!m->anon) {
		kfree(m->chunks);
		kmem_cache_free(&memory_cache, m);
		return NULL;
	}
	object_init(&m->object, OBJECT_MEMORY, &memory_ops);
	spin_init(&m->lock, LOCK_MEMORY, "memory");
	spin_lock(&list_lock);
	list_add_tail(&m->link, &memories);
	spin_unlock(&list_lock);
	return m;
}

/* memory_set_pager - returns the endpoint that was there before, whose reference is the caller's now. */
struct object *memory_set_pager(struct memory *m, struct object *endpoint, u64 cookie)
{
	struct object *before;

	object_get(endpoint);
	spin_lock(&m->lock);
	before = m->pager;
	m->pager = endpoint;
	m->cookie = cookie;
	spin_unlock(&m->lock);
	return before;
}

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

void memory_look(struct memory *m, u64 index, struct memory_look *look)
{
	u64 n = index >> HPAGE_PMD_ORDER;

	*look = (struct memory_look){0};
	spin_lock(&m->lock);
	look->inside = index < m->nr_pages;
	look->present = look->inside && page_at(m, index);
	look->huge_fits =
		look->inside && (n + 1) << HPAGE_PMD_ORDER <= m->nr_pages && chunk_is_empty(m, n);
	look->bytes = m->nr_pages << PAGE_SHIFT;
	look->cookie = m->cookie;
	look->pager = m->pager;
	if (look->pager)
		object_get(look->pager);
	spin_unlock(&m->lock);
}

bool memory_has(struct memory *m, u64 index)
{
	bool has;

	spin_lock(&m->lock);
	has = index < m->nr_pages && page_at(m, index);
	spin_unlock(&m->lock);
	return has;
}

bool memory_key(struct mm *mm, vaddr_t addr, void **object, u64 *offset)
{
	struct vma *v;
	bool shared;

	rwsem_read_lock(&mm->lock);
	v = vma_find(mm, addr);
	shared = v && v->flags & VM_SHARED;
	if (shared) {
		*object = vma_memory(v);
		*offset = (vma_index(v, addr) << PAGE_SHIFT) + (addr & ~PAGE_MASK);
	}
	rwsem_read_unlock(&mm->lock);
	return shared;
}

/* ---- faults ----------------------------------------------------------------------------------- */

/* Rights of an entry that names an object's page: a shared area writes into it without a further fault. */
static inline u64 shared_rights(const struct vma *v, bool write)
{
	bool may = (v->flags & (VM_SHARED | VM_WRITE)) == (VM_SHARED | VM_WRITE);

	if (seeded(OBJECT_DIRTY_COW))
		return vma_rights(v) | (may ? PTE_RW : 0) | PTE_D;
	return vma_rights(v) | (may ? PTE_RW : 0) | (may && write ? PTE_D : 0);
}

/* memory->lock and pt_lock held. */
static inline void map_page(struct vma *v, pte_t *ptep, pfn_t pfn, bool write)
{
	rmap_dup_pte(pfn);
	v->mm->nr_shared++;
	pte_write(ptep, pte_make(pfn, shared_rights(v, write)));
}

/* The page, and for a read its neighbours that are there and not mapped. memory->lock held. Linux: do_fault_around */
static void map_around(struct memory *m, struct vma *v, vaddr_t addr, pte_t *ptep, bool write)
{
	struct mm *mm = v->mm;
	u64 slot = pte_index(addr) & ~(FAULT_AROUND - 1ul);
	vaddr_t start = addr & ~(FAULT_AROUND * PAGE_SIZE - 1);
	pte_t *first = ptep - (pte_index(addr) - slot);

	spin_lock(&mm->pt_lock);
	if (pte_kind(pte_read(ptep)) == ENTRY_HOLE)
		map_page(v, ptep, page_at(m, vma_index(v, addr)), write);
	for (unsigned i = 0; !write && i < FAULT_AROUND; i++) {
		vaddr_t a = start + i * PAGE_SIZE;
		u64 index;
		pfn_t pfn;

		if (a < v->start || a >= v->end || pte_kind(pte_read(first + i)) != ENTRY_HOLE)
			continue;
		index = vma_index(v, a);
		pfn = index < m->nr_pages ? page_at(m, index) : 0;
		if (pfn)
			map_page(v, first + i, pfn, false);
	}
	spin_unlock(&mm->pt_lock);
}

/*
 * A private write to a page that is not mapped yet: a copy at once. The caller's reference on its frame ends here, before
 * memory->lock is taken: split_chunk() waits for it under that lock. FAULT_RETRY: the object has become shorter, and a
 * copy behind its end would stay for ever.
 */
static enum fault_result copy_page_of(
	struct memory *m, struct vma *v, vaddr_t addr, pte_t *ptep, pfn_t pfn)
{
	struct mm *mm = v->mm;
	struct page *copy = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, 0);
	enum fault_result r = FAULT_DONE;

	if (likely(copy))
		copy_page(page_to_virt(copy), phys_to_virt(pfn << PAGE_SHIFT));
	page_put(pfn_head(pfn));
	if (unlikely(!copy))
		return FAULT_NO_MEMORY;
	spin_lock(&m->lock);
	spin_lock(&mm->pt_lock);
	if (unlikely(vma_index(v, addr) >= m->nr_pages)) {
		r = FAULT_RETRY;
	} else if (likely(pte_kind(pte_read(ptep)) == ENTRY_HOLE)) {
		rmap_new_anon(copy, v, addr);
		mm->nr_anon++;
		v->copied = true;
		lru_add_active(copy);
		pte_write(ptep, pte_make(page_to_pfn(copy), vma_rights_write(v)));
		copy = NULL;
	}
	spin_unlock(&mm->pt_lock);
	spin_unlock(&m->lock);
	if (unlikely(copy))
		page_put(copy);
	return r;
}

/* An object without a pager: a page of zeroes. FAULT_RETRY: look again, somebody has put one there, we or another. */
static enum fault_result fill(struct memory *m, u64 index)
{
	struct page *page = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, 0);
	enum fault_result r = FAULT_RETRY;
	u32 *table;

	if (unlikely(!page))
		return FAULT_NO_MEMORY;
	clear_page(page_to_virt(page));
	spin_lock(&m->lock);
	if (index < m->nr_pages && !m->pager && !page_at(m, index)) {
		table = make_table(m, index >> HPAGE_PMD_ORDER);
		if (table) {
			table[index % HPAGE_PMD_NR] = page_to_pfn(page);
			adopt(m, page, index);
			page = NULL;
		} else {
			r = FAULT_NO_MEMORY;
		}
	}
	spin_unlock(&m->lock);
	if (page)
		page_put(page);
	return r;
}

/* One page's part of memory_write(). False: no memory for the page. */
static bool write_page(struct memory *m, u64 offset, const void *data, u64 bytes)
{
	u64 index = offset >> PAGE_SHIFT;
	pfn_t pfn;

	if (!memory_has(m, index) && fill(m, index) == FAULT_NO_MEMORY)
		return false;
	spin_lock(&m->lock);
	pfn = index < m->nr_pages ? page_at(m, index) : 0;
	if (pfn)
		memcpy((char *)page_to_virt(pfn_to_page(pfn)) + offset % PAGE_SIZE, data, bytes);
	spin_unlock(&m->lock);
	return pfn;
}

/*
 * memory_write - bytes of the kernel's into an object.
 *
 *   m        without a pager; [offset, +bytes) lies inside
 *   locks    none held; takes m->lock for each page
 *   returns  0, -ENOMEM
 */
int memory_write(struct memory *m, u64 offset, const void *data, u64 bytes)
{
	const char *from = data;

	while (bytes) {
		u64 n = MIN(bytes, PAGE_SIZE - offset % PAGE_SIZE);

		if (!write_page(m, offset, from, n))
			return -ENOMEM;
		offset += n;
		from += n;
		bytes -= n;
	}
	return 0;
}

/* What a page that is not there means. memory->lock held. FAULT_RETRY: it may be made. */
static inline enum fault_result missing(const struct memory *m, u64 index)
{
	if (index >= m->nr_pages)
		return FAULT_BUS;
	return m->pager ? FAULT_PAGER : FAULT_RETRY;
}

/*
 * memory_fault_pte - a hole at the pte in an area of an object.
 *
 *   locks    mm->lock held for reading; takes memory->lock and pt_lock
 *   returns  FAULT_DONE; FAULT_BUS (beyond the object); FAULT_PAGER; FAULT_NO_MEMORY; FAULT_RETRY: it got shorter
 *   Linux    do_read_fault, do_cow_fault, do_shared_fault
 */
enum fault_result memory_fault_pte(const struct fault *f, struct vma *v, pte_t *ptep)
{
	struct memory *m = vma_memory(v);
	vaddr_t addr = f->addr & PAGE_MASK;
	u64 index = vma_index(v, addr);
	enum fault_result r;
	pfn_t pfn;

	for (;;) {
		spin_lock(&m->lock);
		pfn = index < m->nr_pages ? page_at(m, index) : 0;
		if (pfn)
			break;
		r = missing(m, index);
		spin_unlock(&m->lock);
		if (r == FAULT_RETRY)
			r = fill(m, index);
		if (r != FAULT_RETRY)
			return r;
	}
	if (!f->write || v->flags & VM_SHARED) {
		map_around(m, v, addr, ptep, f->write);
		spin_unlock(&m->lock);
		return FAULT_DONE;
	}
	page_get(pfn_head(pfn)); /* stays while it is copied, whoever withdraws it */
	spin_unlock(&m->lock);
	return copy_page_of(m, v, addr, ptep, pfn);
}

/* Can the object's huge page, if it has one there, be mapped by one pmd? */
static bool fits_pmd(const struct vma *v, vaddr_t haddr)
{
	return vma_covers_huge(v, haddr) && vma_index(v, haddr) % HPAGE_PMD_NR == 0;
}

/* Map the huge page of the chunk behind haddr, if there is one. FAULT_FALLBACK: there is none (any more). */
static enum fault_result map_huge(
	const struct fault *f, struct vma *v, struct memory *m, vaddr_t haddr, pmd_t *pmdp)
{
	struct mm *mm = v->mm;
	u64 n = vma_index(v, haddr) >> HPAGE_PMD_ORDER;
	struct page *table = pgtable_alloc_table(mm, false);
	enum fault_result r = FAULT_FALLBACK;

	if (!table)
		return FAULT_NO_MEMORY;
	spin_lock(&m->lock);
	if (n < m->nr_chunks && chunk_is_huge(m->chunks[n])) {
		spin_lock(&mm->pt_lock);
		if (pmd_kind(pmd_read(pmdp)) == ENTRY_HOLE) {
			pfn_t pfn = chunk_head(m->chunks[n]);

			pgtable_deposit(mm, pmdp, table);
			table = NULL;
			rmap_dup_pmd(pfn_to_page(pfn));
			mm->nr_shared += HPAGE_PMD_NR;
			pmd_write(pmdp, pmd_make_huge(pfn, shared_rights(v, f->write)));
			vmstat_inc(VM_thp_file_mapped);
		}
		spin_unlock(&mm->pt_lock);
		r = FAULT_DONE;
	}
	spin_unlock(&m->lock);
	if (table)
		pgtable_free_table(table);
	return r;
}

/*
 * memory_fault_pmd - a hole at the pmd in an area of an object: a huge page of the object is mapped whole.
 *
 *   locks    mm->lock held for reading; takes memory->lock and pt_lock
 *   returns  FAULT_DONE; FAULT_FALLBACK (4 KiB pages, or a private write, which copies 4 KiB); FAULT_BUS;
 *            FAULT_PAGER: before any table is made, so that a huge page still fits when it is supplied
 *   Linux    vm_ops->huge_fault, do_set_pmd
 */
enum fault_result memory_fault_pmd(const struct fault *f, struct vma *v, pmd_t *pmdp)
{
	struct memory *m = vma_memory(v);
	vaddr_t haddr = f->addr & HPAGE_PMD_MASK;
	u64 index = vma_index(v, f->addr);
	enum fault_result r = FAULT_FALLBACK;
	bool huge = false;

	spin_lock(&m->lock);
	if (index >= m->nr_pages || !page_at(m, index))
		r = missing(m, index);
	else
		huge = chunk_is_huge(m->chunks[index >> HPAGE_PMD_ORDER]);
	spin_unlock(&m->lock);
	if (r == FAULT_RETRY) /* a page of zeroes, of 4 KiB: memory_fault_pte makes it */
		return FAULT_FALLBACK;
	if (!huge || !fits_pmd(v, haddr) || (f->write && !(v->flags & VM_SHARED)))
		return r;
	return map_huge(f, v, m, haddr, pmdp);
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

/* An error does not end it: nothing may stay behind the end of an object (O3). The last one is the result. */
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

/* Take the page out of its space, where source_state() found it: it is the caller's alone. pt_lock held. */
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
	lru_deferred_del(head);
	lru_del(head);
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
	if (page_at(m, index))
		return -EEXIST;
	return make_table(m, n) ? 0 : -ENOMEM;
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
	if (!err) {
		source_take(mm, source, head, &table);
		adopt(m, head, index);
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

/* ---- checking --------------------------------------------------------------------------------- */

#define BROKEN(rule, fmt, ...) (printk("memory_check: " rule ": " fmt, ##__VA_ARGS__), false)

/* O1 and O2 for one page of m. */
static bool check_page(const struct memory *m, u64 index, pfn_t pfn, bool huge)
{
	const struct page *p = pfn_to_page(pfn);

	if (!pfn_valid(pfn) || p->type != (huge ? PAGE_ANON_HUGE : PAGE_ANON) ||
		p->flags != PG_SHARED || page_anon(p) != m->anon || page_index(p) != index)
		return BROKEN("O1",
			"page %lu of object %p: frame %#lx, type %u, flags %#x, family %p, "
			"index %lu",
			index, m, pfn, p->type, p->flags, page_anon(p), page_index(p));
	if (page_refcount(p) != page_total_mapcount(p) + 1)
		return BROKEN("O2", "frame %#lx: %u references, %lu mappings", pfn,
			page_refcount(p), page_total_mapcount(p));
	return true;
}

static bool check_chunk(const struct memory *m, u64 n, u64 *present, u64 *huge)
{
	u64 chunk = m->chunks[n], index = n << HPAGE_PMD_ORDER;

	if (chunk_is_huge(chunk)) {
		*present += HPAGE_PMD_NR;
		++*huge;
		return check_page(m, index, chunk_head(chunk), true) &&
		       (index + HPAGE_PMD_NR <= m->nr_pages ||
			       BROKEN("O3", "a huge page at %lu of %lu", index, m->nr_pages));
	}
	for (unsigned i = 0; chunk && i < HPAGE_PMD_NR; i++, index++) {
		pfn_t pfn = chunk_table(chunk)[i];

		if (!pfn)
			continue;
		++*present;
		if (index >= m->nr_pages)
			return BROKEN("O3", "a page at %lu of %lu", index, m->nr_pages);
		if (!check_page(m, index, pfn, false))
			return false;
	}
	return true;
}

static bool check_memory(const struct memory *m, u64 *pages, u64 *huge)
{
	u64 present = 0;

	for (u64 n = 0; n < m->nr_chunks; n++)
		if (!check_chunk(m, n, &present, huge))
			return false;
	*pages += present;
	return present == m->present ||
	       BROKEN("O3", "object %p has %lu pages, counted %lu", m, present, m->present);
}

/*
 * memory_check - O1 to O4 over all objects and all frames; prints the first that is broken.
 *
 *   locks    the other CPUs are stopped, no kernel code in flight on them
 */
bool memory_check(void)
{
	u64 pages = 0, huge = 0, marked = 0;
	struct memory *m;

	list_for_each_entry (m, &memories, link) {
		if (!check_memory(m, &pages, &huge))
			return false;
	}
	for (pfn_t pfn = 0; pfn < page_max_pfn; pfn++)
		if (pfn_to_page(pfn)->flags & PG_SHARED)
			marked += page_nr(pfn_to_page(pfn));
	if (marked != pages || pages != vmstat_read(VM_nr_shmem) ||
		huge != vmstat_read(VM_nr_shmem_hugepages))
		return BROKEN("O4",
			"%lu pages in objects, %lu marked, counted %lu; %lu huge, counted %lu",
			pages, marked, vmstat_read(VM_nr_shmem), huge,
			vmstat_read(VM_nr_shmem_hugepages));
	return true;
}
