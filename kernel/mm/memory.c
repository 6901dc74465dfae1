/*
 * memory.c - pages that several areas, in several spaces, may map         floor 5, below: memory_chunks, pgtable, rmap, buddy
 *
 * Makes objects, maps their pages where a fault finds a hole, and tests the rules of all of them. How an object keeps
 * its pages and how they leave it is memory_chunks.c, how a pager puts them there memory_supply.c. It sends no message:
 * what is missing in an object with a pager is FAULT_PAGER, and pager.c does the rest.
 *
 * IDEA      shared area   hole -> entry of the object's page, writable if the area is: a write needs no fault
 *           private area  hole -> read: entry of the object's page, read-only
 *                                 write: a copy at once, the area's own page (vma->copied)
 *
 *           An object's page carries PG_SHARED and one reference more than it has mappings. That one reference is why
 *           nothing else in mm/ has to know objects: no mapping is ever the only owner, so each write through a private
 *           one copies; splitting the page, collapsing it and freeing it lazily are refused as for any page in use.
 *
 * INVARIANTS (memory_check() tests every one)
 *   O1  a page in a chunk is ANON or ANON_HUGE, PG_SHARED, on no list, and names the object's family and its index
 *   O2  its references are its mappings and the object's one
 *   O3  present is the number of pages in the chunks; none lies beyond nr_pages
 *   O4  nr_shmem and nr_shmem_hugepages are the pages of all objects, and no other page is PG_SHARED
 *
 * LOCKS     mm->lock (read) -> memory->lock -> anon->lock -> pt_lock
 * LINUX     mm/shmem.c, mm/memory.c do_fault, do_fault_around. It writes pages back; here a pager keeps what it wants
 *           to keep.
 */
#include <abi/errno.h>
#include "vmstat.h"
#include "printk.h"
#include "lib/string.h"
#include "mm/buddy.h"
#include "mm/kmalloc.h"
#include "mm/lru.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/vma.h"
#include "mutex.h"
#include "mm/thp.h"
#include "mm/memory.h"
#include "mm/mempolicy.h"
#include "mm/memory_chunks.h"
#include "seeded.h"

#define FAULT_AROUND                                                                               \
	16 /* pages that one read fault maps, where they are there. Linux: fault_around_bytes */

static struct kmem_cache memory_cache;
static struct spinlock list_lock =
	SPINLOCK_INIT(LOCK_MEMORY, "memories"); /* never together with another of its class */
static struct list memories = LIST_INIT(memories);

void memory_init(void)
{
	kmem_cache_init(&memory_cache, "memory", sizeof(struct memory));
	chunk_init();
}

u64 memory_areas(const struct memory *m)
{
	return READ_ONCE(m->anon->nr_areas);
}

/* ---- objects ---------------------------------------------------------------------------------- */

/* Nobody maps it and nobody names it any more. */
static void memory_release(struct object *o)
{
	struct memory *m = memory_of(o);

	spin_lock(&list_lock);
	list_del(&m->link);
	spin_unlock(&list_lock);
	if (memory_withdraw(m, 0, m->nr_chunks << HPAGE_PMD_SHIFT))
		panic("O2", "a page of an object that nobody maps cannot be freed");
	chunk_free_tables(m);
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

void memory_look(struct memory *m, u64 index, struct memory_look *look)
{
	u64 n = index >> HPAGE_PMD_ORDER;

	*look = (struct memory_look){0};
	spin_lock(&m->lock);
	look->inside = index < m->nr_pages;
	look->present = look->inside && memory_page_at(m, index);
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
	has = index < m->nr_pages && memory_page_at(m, index);
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
		map_page(v, ptep, memory_page_at(m, vma_index(v, addr)), write);
	for (unsigned i = 0; !write && i < FAULT_AROUND; i++) {
		vaddr_t a = start + i * PAGE_SIZE;
		u64 index;
		pfn_t pfn;

		if (a < v->start || a >= v->end || pte_kind(pte_read(first + i)) != ENTRY_HOLE)
			continue;
		index = vma_index(v, a);
		pfn = index < m->nr_pages ? memory_page_at(m, index) : 0;
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
	struct page *copy = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, mempolicy_wish(v, addr, 0));
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
	if (index < m->nr_pages && !m->pager && !memory_page_at(m, index)) {
		table = chunk_make_table(m, index >> HPAGE_PMD_ORDER);
		if (table) {
			table[index % HPAGE_PMD_NR] = page_to_pfn(page);
			memory_adopt(m, page, index);
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
	pfn = index < m->nr_pages ? memory_page_at(m, index) : 0;
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
		pfn = index < m->nr_pages ? memory_page_at(m, index) : 0;
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
	if (index >= m->nr_pages || !memory_page_at(m, index))
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
