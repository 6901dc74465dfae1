/*
 * kmalloc.c - memory for the kernel's own objects.                                          floor 2
 *
 * Cuts blocks of the buddy into objects of one size. It knows no object's meaning, never waits, and
 * says NULL when the buddy has no block. Requests above 2 KiB are whole blocks of the buddy.
 *
 * IDEA
 *   slab = one block, 1 to 8 pages:
 *     | struct slab: cache, link, free bits 0110... | object 0 | object 1 | object 2 | ... | rest |
 *
 *   Which objects are free stands in the header, one bit each, not inside the objects: an overrun
 *   cannot destroy the list, and a double free is a bit that is set already. Every page of the slab
 *   points at its header (page->private), so kfree() finds it from any address.
 *
 *   A cache keeps partly used slabs and full slabs on a list each. A slab whose last object goes is
 *   given back at once: who frees everything leaves nothing behind, and the ledger can be exact.
 *
 * INVARIANTS (kmalloc_check() tests every one)
 *   K1  a slab's `used` is the number of its clear bits; a slab on `full` has no set bit, one on
 *       `partial` has both kinds
 *   K2  every page of a slab is typed KERNEL and points at the slab; the slab points at its cache
 *   K3  nr_slabs and nr_active are the sums over the lists; nr_slab_unreclaimable is the sum of the
 *       pages
 *
 * LOCKS     cache->lock, one for each cache; zone.lock is taken inside it.
 * LINUX     mm/slub.c: per-CPU slabs without locks, free lists inside the objects, red zones.
 *           docs/mm/kmalloc.md
 */
#include "lib/bitmap.h"
#include "lib/string.h"
#include "mm/buddy.h"
#include "mm/kmalloc.h"
#include "panic.h"
#include "printk.h"
#include "vmstat.h"
#include "x86/cpu.h"

#define SLAB_MAX_ORDER   3
#define SLAB_MAX_OBJECTS 512
#define LARGE            1ul /* page->private of a block that is one object */

struct slab {
	struct kmem_cache *cache;                 /* (c) */
	struct list link;                         /* on cache->partial or cache->full */
	u64 used;                                 /* objects handed out */
	u64 free[BITMAP_WORDS(SLAB_MAX_OBJECTS)]; /* bit n: object n is free */
};

static const u16 sizes[] = {8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048};
#define LARGEST_SIZE 2048

static struct kmem_cache kmalloc_caches[ARRAY_SIZE(sizes)];
static u8 cache_of[LARGEST_SIZE / 8 + 1];      /* [(bytes + 7) / 8] */
static struct list caches = LIST_INIT(caches); /* grows at start-up only */

/* ---- slabs; cache->lock held ---- */

static u64 objects_offset(const struct kmem_cache *c)
{
	return ALIGN_UP(sizeof(struct slab), c->align);
}

static void *slab_object(struct slab *s, u64 n)
{
	return (char *)s + objects_offset(s->cache) + n * s->cache->size;
}

/* A new slab on the partial list, all objects free. NULL: no memory. */
static struct slab *slab_create(struct kmem_cache *c)
{
	struct page *p = buddy_alloc(c->slab_order, MIGRATE_UNMOVABLE, PAGE_KERNEL, 0);
	struct slab *s;

	if (!p)
		return NULL;
	s = page_to_virt(p);
	s->cache = c;
	s->used = 0;
	for (u64 i = 0; i < ARRAY_SIZE(s->free); i++)
		s->free[i] = 0;
	for (u64 n = 0; n < c->per_slab; n++)
		bitmap_set(s->free, n);
	for (u64 i = 0; i < 1ul << c->slab_order; i++)
		p[i].private = (u64)s;
	list_add(&s->link, &c->partial);
	c->nr_slabs++;
	vmstat_add(VM_nr_slab_unreclaimable, 1l << c->slab_order);
	return s;
}

static void slab_destroy(struct kmem_cache *c, struct slab *s)
{
	list_del(&s->link);
	c->nr_slabs--;
	vmstat_add(VM_nr_slab_unreclaimable, -(1l << c->slab_order));
	buddy_free(virt_to_page(s));
}

/* The slab of an object, from the page it lies in. Panics when there is none. */
static struct slab *slab_of(const void *object)
{
	pfn_t pfn = virt_to_phys(object) >> PAGE_SHIFT;

	if (pfn >= page_max_pfn)
		panic("kmalloc", "foreign free: %p is no kmalloc memory", object);
	if (pfn_to_page(pfn)->type == PAGE_FREE)
		panic("kmalloc", "double free of %p: its page is free", object);
	if (pfn_to_page(pfn)->type != PAGE_KERNEL || pfn_to_page(pfn)->private <= LARGE)
		panic("kmalloc", "foreign free: %p lies in no slab (%s)", object,
			page_type_name(pfn_to_page(pfn)->type));
	return (struct slab *)pfn_to_page(pfn)->private;
}

/* ---- caches ---- */

/* The smallest block that wastes at most an eighth; the order SLAB_MAX_ORDER otherwise. */
static void cache_set_geometry(struct kmem_cache *c)
{
	for (c->slab_order = 0;; c->slab_order++) {
		u64 bytes = PAGE_SIZE << c->slab_order, room = bytes - objects_offset(c);

		c->per_slab = MIN(room / c->size, SLAB_MAX_OBJECTS);
		if (c->slab_order == SLAB_MAX_ORDER || bytes - c->per_slab * c->size <= bytes / 8)
			return;
	}
}

/*
 * kmem_cache_init - prepare a cache for objects of `size` bytes.
 *
 *   size     at most a few KiB; objects are aligned to the largest power of two that divides it, 8
 *            to 64
 *   locks    start-up, one CPU. Cannot fail: the first slab is made by the first allocation
 *   Linux    kmem_cache_create
 */
void kmem_cache_init(struct kmem_cache *c, const char *name, u32 size)
{
	memset(c, 0, sizeof(*c));
	spin_init(&c->lock, LOCK_KMALLOC, c->name);
	strscpy(c->name, name, sizeof(c->name));
	c->size = ALIGN_UP(MAX(size, 8), 8);
	c->align = MIN(c->size & -c->size, 64);
	cache_set_geometry(c);
	ASSERT(c->per_slab > 0);
	list_init(&c->partial);
	list_init(&c->full);
	list_add_tail(&c->link, &caches);
}

/*
 * kmem_cache_alloc - one object.
 *
 *   locks    takes c->lock, zone.lock inside; not from interrupts
 *   returns  NULL: no memory. Contents are undefined
 *   Linux    kmem_cache_alloc(GFP_KERNEL)
 */
void *kmem_cache_alloc(struct kmem_cache *c)
{
	void *object = NULL;
	struct slab *s;

	if (CONFIG_INJECT && unlikely(buddy_inject_now(BUDDY_OBJECT)))
		return NULL;
	spin_lock(&c->lock);
	s = list_first_entry_or_null(&c->partial, struct slab, link);
	if (!s)
		s = slab_create(c);
	if (s) {
		u64 n = bitmap_find_first(s->free, c->per_slab);

		bitmap_clear(s->free, n);
		object = slab_object(s, n);
		c->nr_active++;
		if (++s->used == c->per_slab)
			list_move(&s->link, &c->full);
	}
	spin_unlock(&c->lock);
	return object;
}

/* kmem_cache_zalloc - the same, filled with zeroes. */
void *kmem_cache_zalloc(struct kmem_cache *c)
{
	void *object = kmem_cache_alloc(c);

	return object ? memset(object, 0, c->size) : NULL;
}

/* Which object of the slab this is. Panics when the address is none, or one that is free. */
static u64 object_number(const struct slab *s, const void *object)
{
	u64 offset = (u64)object - (u64)s - objects_offset(s->cache);
	u64 n = offset / s->cache->size;

	if (n >= s->cache->per_slab || n * s->cache->size != offset)
		panic("kmalloc", "foreign free: %p is not the start of an object of %s", object,
			s->cache->name);
	if (bitmap_test(s->free, n))
		panic("kmalloc", "double free of %p of %s", object, s->cache->name);
	return n;
}

/*
 * kmem_cache_free - an object goes back; an empty slab goes back to the buddy.
 *
 *   locks    takes c->lock, zone.lock inside; not from interrupts
 *   returns  panics ("kmalloc") on a double free and on an object that is not of this cache
 *   Linux    kmem_cache_free
 */
void kmem_cache_free(struct kmem_cache *c, void *object)
{
	struct slab *s = slab_of(object);

	if (s->cache != c)
		panic("kmalloc", "foreign free: %p is of %s, not of %s", object, s->cache->name,
			c->name);
	spin_lock(&c->lock);
	bitmap_set(s->free, object_number(s, object));
	c->nr_active--;
	if (s->used-- == c->per_slab)
		list_move(&s->link, &c->partial);
	if (s->used == 0)
		slab_destroy(c, s);
	spin_unlock(&c->lock);
}

/* ---- kmalloc ---- */

/*
 * kmalloc_init - the caches of the usual sizes.
 *
 *   locks    start-up, one CPU; after buddy_init()
 *   Linux    create_kmalloc_caches
 */
void kmalloc_init(void)
{
	static const char *const names[ARRAY_SIZE(sizes)] = {"kmalloc-8", "kmalloc-16",
		"kmalloc-32", "kmalloc-64", "kmalloc-96", "kmalloc-128", "kmalloc-192",
		"kmalloc-256", "kmalloc-512", "kmalloc-1k", "kmalloc-2k"};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		kmem_cache_init(&kmalloc_caches[i], names[i], sizes[i]);
	for (unsigned words = 0, i = 0; words < ARRAY_SIZE(cache_of); words++) {
		if (words * 8 > sizes[i])
			i++;
		cache_of[words] = i;
	}
}

/* The order of a block of that many bytes; above MAX_ORDER: too much. */
static unsigned order_for(usize bytes)
{
	return bytes <= PAGE_SIZE ? 0 : 64 - __builtin_clzl((bytes - 1) >> PAGE_SHIFT);
}

static void *kmalloc_large(usize bytes)
{
	struct page *p = NULL;

	if (bytes <= PAGE_SIZE << MAX_ORDER)
		p = buddy_alloc(order_for(bytes), MIGRATE_UNMOVABLE, PAGE_KERNEL, 0);
	if (!p)
		return NULL;
	p->private = LARGE;
	return page_to_virt(p);
}

/*
 * kmalloc - memory of any size up to 4 MiB.
 *
 *   locks    as kmem_cache_alloc
 *   returns  NULL: no memory, or too much asked. Sizes of a power of two are aligned to it, up to
 *            64 bytes; above 2 KiB: to a page
 *   Linux    kmalloc(GFP_KERNEL)
 */
void *kmalloc(usize bytes)
{
	if (bytes > LARGEST_SIZE)
		return kmalloc_large(bytes);
	return kmem_cache_alloc(&kmalloc_caches[cache_of[(bytes + 7) / 8]]);
}

/* kzalloc - the same, filled with zeroes. */
void *kzalloc(usize bytes)
{
	void *p = kmalloc(bytes);

	return p ? memset(p, 0, bytes) : NULL;
}

/*
 * kfree - give back what kmalloc returned; NULL is fine.
 *
 *   locks    as kmem_cache_free
 *   returns  panics ("kmalloc") on a double free and on an address that kmalloc did not return
 *   Linux    kfree
 */
void kfree(void *p)
{
	pfn_t pfn = virt_to_phys(p) >> PAGE_SHIFT;

	if (!p)
		return;
	if (pfn < page_max_pfn && pfn_to_page(pfn)->type == PAGE_KERNEL &&
		pfn_to_page(pfn)->private == LARGE && IS_ALIGNED((u64)p, PAGE_SIZE)) {
		buddy_free(pfn_to_page(pfn));
		return;
	}
	kmem_cache_free(slab_of(p)->cache, p);
}

/* kmem_cache_for_each - every cache in the order they were made: slabinfo. */
void kmem_cache_for_each(void (*fn)(struct kmem_cache *c, void *ctx), void *ctx)
{
	struct kmem_cache *c;

	list_for_each_entry (c, &caches, link)
		fn(c, ctx);
}

/* ---- the checker ---- */

static bool broken(const char *rule, const struct kmem_cache *c, const char *what, u64 is, u64 want)
{
	printk("kmalloc_check: %s: %s of %s: %lu, not %lu", rule, what, c->name, (unsigned long)is,
		(unsigned long)want);
	return false;
}

static bool check_slab(const struct kmem_cache *c, struct slab *s, bool full)
{
	u64 free = bitmap_count(s->free, SLAB_MAX_OBJECTS);

	for (u64 i = 0; i < 1ul << c->slab_order; i++) {
		const struct page *p = virt_to_page(s) + i;

		if (p->type != PAGE_KERNEL)
			return broken("K2", c, "type of a page", p->type, PAGE_KERNEL);
		if (p->private != (u64)s)
			return broken("K2", c, "slab of a page", p->private, (u64)s);
	}
	if (s->cache != c)
		return broken("K2", c, "cache of a slab", (u64)s->cache, (u64)c);
	if (s->used + free != c->per_slab)
		return broken("K1", c, "free objects of a slab", free, c->per_slab - s->used);
	if (full ? free != 0 : !free || !s->used)
		return broken("K1", c, "free objects of a slab on its list", free, !full);
	return true;
}

static bool check_cache(struct kmem_cache *c)
{
	u64 slabs = 0, active = 0;
	struct slab *s;

	list_for_each_entry (s, &c->partial, link) {
		if (!check_slab(c, s, false))
			return false;
		slabs++;
		active += s->used;
	}
	list_for_each_entry (s, &c->full, link) {
		if (!check_slab(c, s, true))
			return false;
		slabs++;
		active += s->used;
	}
	if (slabs != c->nr_slabs)
		return broken("K3", c, "slabs", c->nr_slabs, slabs);
	if (active != c->nr_active)
		return broken("K3", c, "objects", c->nr_active, active);
	return true;
}

/*
 * kmalloc_check - K1 to K3.
 *
 *   locks    takes each cache's, one after the other; the sum of pages is exact when nobody
 *            allocates
 *   returns  false after one line that names the broken rule
 */
bool kmalloc_check(void)
{
	struct kmem_cache *c, *last = NULL;
	u64 pages = 0;

	list_for_each_entry (c, &caches, link) {
		bool ok;

		spin_lock(&c->lock);
		ok = check_cache(c);
		pages += c->nr_slabs << c->slab_order;
		spin_unlock(&c->lock);
		if (!ok)
			return false;
		last = c;
	}
	if (pages != vmstat_read(VM_nr_slab_unreclaimable))
		return broken("K3", last, "pages of all caches up to the last, that is", pages,
			vmstat_read(VM_nr_slab_unreclaimable));
	return true;
}
