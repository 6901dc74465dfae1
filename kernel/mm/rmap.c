/*
 * rmap.c - from a page to every entry that maps it       floor 3, below: pgtable, mm.h, buddy, lru, kmalloc
 *
 * Knows which areas may map a page (families of areas) and how many entries do (counts). It writes
 * no entry and frees no page.
 *
 * IDEA
 *         struct page            struct anon               vmas of the family, by page index
 *        +-----------+          +-------------+       0        8        16       24
 *        | private --|--------> | areas ------|--->   |==== parent ====|
 *        | index: 9  |          +-------------+       |==== child =====|
 *        +-----------+                                         |=== after mremap ===|
 *   The first fault in an area makes the object; fork links the child's area to the same one; mremap
 *   keeps the index. So nothing is allocated per mapping, and who maps page 9? is a question to an
 *   interval tree: every area with pgoff <= 9 <= its last index, at start + (9 - pgoff) pages.
 *
 *   A huge page counts three things: pmds over the whole page, ptes over each frame, and the sum of
 *   those ptes. A frame is mapped when a pmd or one of its own ptes maps it. Splitting a pmd moves
 *   one count into 512; while a page is mapped both ways, a count can only be read together with the
 *   other, under huge_locks[].
 *
 * INVARIANTS  R1 to R5: rmap_check.c
 *
 * LOCKS     anon->lock: the tree and the ranges of its areas. Counts: pt_lock of the space, atomic
 *           because several spaces change them; huge_locks[] inside pt_lock, see above
 * LINUX     mm/rmap.c: a chain object per (area, anon_vma) pair, so that a child's own pages are not
 *           looked for in its parent; PageAnonExclusive instead of counting.          docs/mm/rmap.md
 */
#include "mm/rmap.h"

#include "lib/tree.h"
#include "mm/buddy.h"
#include "mm/kmalloc.h"
#include "mm/lru.h"
#include "mm/pgtable.h"
#include "mm/zero.h"
#include "seeded.h"
#include <abi/errno.h>

static struct kmem_cache anon_cache;

/* Makes "is the page still mapped" and "then its object lives" one step: see rmap_pin_anon(). */
static struct spinlock life_lock = SPINLOCK_INIT(LOCK_ANON_LIFE, "anon_life");

#define NR_HUGE_LOCKS 16
static struct spinlock huge_locks[NR_HUGE_LOCKS];

static inline struct spinlock *huge_lock_of(const struct page *head)
{
	return &huge_locks[(page_to_pfn(head) >> HPAGE_PMD_ORDER) % NR_HUGE_LOCKS];
}

/* rmap_init - the cache of anon objects; once, at start-up. */
void rmap_init(void)
{
	kmem_cache_init(&anon_cache, "anon_vma", sizeof(struct anon));
	for (unsigned i = 0; i < NR_HUGE_LOCKS; i++)
		spin_init(&huge_locks[i], LOCK_HUGE_MAPS, "huge_maps");
}

/* ---- the interval tree of a family ------------------------------------------------------------ */

static inline struct vma *area_of(struct tree_node *node)
{
	return tree_entry(node, struct vma, anon_node);
}

static inline u64 last_index(const struct vma *v)
{
	return v->pgoff + vma_pages(v) - 1;
}

static u64 largest_last(const struct tree_node *node)
{
	u64 last = last_index(tree_entry(node, struct vma, anon_node));

	if (node->left)
		last = MAX(last, area_of(node->left)->anon_last_max);
	if (node->right)
		last = MAX(last, area_of(node->right)->anon_last_max);
	return last;
}

static void update_last(struct tree_node *node)
{
	area_of(node)->anon_last_max = largest_last(node);
}

/* Several areas may begin at one index (parent and child): then the newer one stands behind. */
static void tree_add(struct anon *anon, struct vma *v)
{
	struct tree_node **link = &anon->areas.root, *parent = NULL;

	while (*link) {
		parent = *link;
		link = v->pgoff < area_of(parent)->pgoff ? &parent->left : &parent->right;
	}
	tree_insert_at(&anon->areas, parent, link, &v->anon_node);
}

static int compare_index(const struct tree_node *a, const struct tree_node *b)
{
	const struct vma *x = tree_entry(a, struct vma, anon_node);
	const struct vma *y = tree_entry(b, struct vma, anon_node);

	return x->pgoff <= y->pgoff ? -1 : 1;
}

static bool last_ok(const struct tree_node *node)
{
	return tree_entry(node, struct vma, anon_node)->anon_last_max == largest_last(node);
}

/* rmap_tree_check - a part of R4: is the tree of a family in order, and each anon_last_max what it must be? */
bool rmap_tree_check(const struct anon *anon)
{
	return tree_check(&anon->areas, compare_index, last_ok) == 0;
}

/* ---- families --------------------------------------------------------------------------------- */

static struct anon *anon_alloc(void)
{
	struct anon *anon = kmem_cache_zalloc(&anon_cache);

	if (!anon)
		return NULL;
	spin_init(&anon->lock, LOCK_ANON, "anon");
	anon->areas.augment = update_last;
	return anon;
}

static void anon_put(struct anon *anon)
{
	bool last;

	spin_lock(&life_lock);
	last = --anon->refs == 0;
	spin_unlock(&life_lock);
	if (!last)
		return;
	ASSERT_RULE(
		"R4", anon->nr_areas == 0, "%u areas left in a family that dies", anon->nr_areas);
	kmem_cache_free(&anon_cache, anon);
}

static void anon_get(struct anon *anon)
{
	spin_lock(&life_lock);
	anon->refs++;
	spin_unlock(&life_lock);
}

static void family_add(struct anon *anon, struct vma *v)
{
	ASSERT_HELD(&anon->lock);
	v->anon = anon;
	tree_add(anon, v);
	anon->nr_areas++;
}

static void family_remove(struct anon *anon, struct vma *v)
{
	ASSERT_HELD(&anon->lock);
	tree_erase(&anon->areas, &v->anon_node);
	anon->nr_areas--;
	v->anon = NULL;
	v->kin = 0;
}

/* May a, directly below b, become one area with b later, after an mprotect that makes them equal? */
static bool may_become_one(const struct vma *a, const struct vma *b)
{
	return a->end == b->start && a->kind == b->kind && !((a->flags ^ b->flags) & ~VM_ACCESS) &&
	       vma_index(a, a->end) == b->pgoff;
}

static u32 new_kin(void)
{
	static u32 last;

	return __atomic_add_fetch(&last, 2, __ATOMIC_RELAXED);
}

/* The neighbour with a family that v could be united with, so that two families do not keep them apart. */
static struct vma *neighbour_with_family(struct vma *v)
{
	struct tree_node *below = tree_prev(&v->node), *above = tree_next(&v->node);
	struct vma *n;

	if (above) {
		n = tree_entry(above, struct vma, node);
		if (may_become_one(v, n) && READ_ONCE(n->anon))
			return n;
	}
	if (below) {
		n = tree_entry(below, struct vma, node);
		if (may_become_one(n, v) && READ_ONCE(n->anon))
			return n;
	}
	return NULL;
}

/*
 * rmap_prepare_slow - give v a family before its first page is mapped.
 *
 *   locks    mm->lock held (any mode), pt_lock not; takes the anon lock, in it pt_lock: two faults in
 *            one area may both come here, and one of them wins
 *   returns  0 or -ENOMEM
 *   Linux    __anon_vma_prepare
 */
int rmap_prepare_slow(struct vma *v)
{
	struct vma *beside = neighbour_with_family(v);
	struct anon *anon = beside ? beside->anon : anon_alloc();
	bool joins = beside && !(beside->kin & KIN_INHERITED);

	ASSERT_RW_HELD(&v->mm->lock);
	if (!anon)
		return -ENOMEM;
	anon_get(anon);
	spin_lock(&anon->lock);
	spin_lock(&v->mm->pt_lock);
	if (!v->anon) {
		family_add(anon, v);
		v->kin = joins ? beside->kin : new_kin();
		anon = NULL;
	}
	spin_unlock(&v->mm->pt_lock);
	if (!anon) {
		spin_unlock(&v->anon->lock);
		return 0;
	}
	spin_unlock(&anon->lock);
	anon_put(anon);
	return 0;
}

/*
 * rmap_family - a family that no area belongs to yet: a memory object's.
 *
 *   returns  with one reference, for rmap_unpin_anon(); NULL: no memory
 */
struct anon *rmap_family(void)
{
	struct anon *anon = anon_alloc();

	if (anon)
		anon_get(anon);
	return anon;
}

/*
 * rmap_link - v joins a family: the child's area at fork, the copy of an area at mremap.
 *
 *   locks    mm->lock of v's space held for writing (or the space is not known to anybody yet)
 *   Linux    anon_vma_fork, anon_vma_clone
 */
void rmap_link(struct vma *v, struct anon *anon)
{
	ASSERT(!v->anon);
	if (!seeded(FAMILY_FREED))
		anon_get(anon);
	spin_lock(&anon->lock);
	family_add(anon, v);
	spin_unlock(&anon->lock);
}

/*
 * rmap_unlink - v leaves its family, nothing of it is mapped any more; no-op without one.
 *
 *   Linux    unlink_anon_vmas
 */
void rmap_unlink(struct vma *v)
{
	struct anon *anon = v->anon;

	if (!anon)
		return;
	spin_lock(&anon->lock);
	family_remove(anon, v);
	spin_unlock(&anon->lock);
	anon_put(anon);
}

/*
 * rmap_vma_begin, rmap_vma_end - a bracket around a change of v's range or pgoff.
 *
 *   locks    mm->lock held for writing; the anon lock is held in between, so a walker sees the area
 *            before or after the change. Only constant work and tree steps belong inside
 *   Linux    vma_adjust takes anon_vma->rwsem around the same change
 */
void rmap_vma_begin(struct vma *v)
{
	if (!v->anon)
		return;
	spin_lock(&v->anon->lock);
	tree_erase(&v->anon->areas, &v->anon_node);
}

void rmap_vma_end(struct vma *v)
{
	if (!v->anon)
		return;
	tree_add(v->anon, v);
	spin_unlock(&v->anon->lock);
}

/* rmap_vma_join - inside v's bracket: `joining` takes over a part of v's range (a split). */
void rmap_vma_join(struct vma *v, struct vma *joining)
{
	if (!v->anon)
		return;
	anon_get(v->anon);
	family_add(v->anon, joining);
}

/* rmap_vma_leave - inside v's bracket: v swallows the range of `leaving`, of the same family. */
void rmap_vma_leave(struct vma *v, struct vma *leaving)
{
	ASSERT(v->anon && leaving->anon == v->anon);
	family_remove(v->anon, leaving);
	anon_put(v->anon);
}

/*
 * rmap_pin_anon - the family of a page that was found without any lock, kept alive until unpinned.
 *
 *   locks    the caller holds a reference on the page, so it stays that page; takes the life lock
 *   returns  NULL: the page is not mapped (any more)
 *   Linux    page_get_anon_vma
 *
 * HARD  A page keeps the name of its family when the last area is gone. But a family dies only after
 * its areas left, an area leaves only after its pages were unmapped, and the last reference goes under
 * the life lock. So while we hold it, a mapped page has a living family, and one more reference keeps it.
 */
struct anon *rmap_pin_anon(struct page *head)
{
	struct anon *anon = NULL;

	spin_lock(&life_lock);
	if (page_total_mapcount(head) > 0) {
		anon = page_anon(head);
		anon->refs++;
	}
	spin_unlock(&life_lock);
	return anon;
}

void rmap_unpin_anon(struct anon *anon)
{
	anon_put(anon);
}

/* ---- counting --------------------------------------------------------------------------------- */

static u64 frames_without_pte(const struct page *head)
{
	u64 n = HPAGE_PMD_NR;

	if (page_pte_mappings(head) == 0)
		return n;
	for (unsigned i = 0; i < HPAGE_PMD_NR; i++)
		n -= READ_ONCE(head[i].mapcount) != 0;
	return n;
}

/* rmap_is_partly_mapped - is some frame of this huge page mapped, and some not? A hint, unless nobody maps or unmaps. */
bool rmap_is_partly_mapped(const struct page *head)
{
	u64 ptes = page_pte_mappings(head);

	return !page_pmd_mapcount(head) && ptes &&
	       (ptes < HPAGE_PMD_NR || frames_without_pte(head) != 0);
}

/* Queue a huge page of which a frame is not mapped, unless none is. Linux: deferred_split_huge_page */
static void queue_partly_mapped(struct page *head)
{
	if (page_pte_mappings(head) && lru_deferred_add(head))
		vmstat_inc(VM_thp_deferred_split_page);
}

/* The last pmd is gone: do the ptes that are left map every frame? */
static void queue_if_partly_mapped(struct page *head)
{
	if (!(READ_ONCE(head->flags) & PG_DEFERRED) && rmap_is_partly_mapped(head))
		queue_partly_mapped(head);
}

/*
 * rmap_remove_huge_pte - one pte over a frame of a huge page is gone.
 *
 *   locks    pt_lock of the space held; takes the deferred lock
 *   after    a page that is now mapped in part waits on the deferred-split queue
 *   Linux    page_remove_rmap
 *
 * The frame stops being counted when neither a pte nor a pmd maps it. Another space may remove the last
 * pmd in this moment: without the lock both would see the other's count at 0 and count the frame off.
 */
void rmap_remove_huge_pte(pfn_t pfn)
{
	struct page *head = pfn_head(pfn);
	struct spinlock *lock = huge_lock_of(head);
	bool last;

	if (head->flags &
		PG_SHARED) { /* the object keeps it whole: nothing to gauge, nothing to split */
		__atomic_sub_fetch(page_pte_mappings_ptr(head), 1, __ATOMIC_RELAXED);
		__atomic_sub_fetch(&pfn_to_page(pfn)->mapcount, 1, __ATOMIC_ACQ_REL);
		return;
	}
	spin_lock(lock);
	__atomic_sub_fetch(page_pte_mappings_ptr(head), 1, __ATOMIC_RELAXED);
	last = __atomic_sub_fetch(&pfn_to_page(pfn)->mapcount, 1, __ATOMIC_ACQ_REL) == 0 &&
	       page_pmd_mapcount(head) == 0;
	if (last)
		vmstat_add(VM_nr_anon_pages, -1);
	spin_unlock(lock);
	if (last) /* this frame is a hole now: nobody has to look for one */
		queue_partly_mapped(head);
}

/*
 * rmap_remove_pmd - one pmd over a huge page is gone.
 *
 *   locks    pt_lock of the space held; takes the deferred lock
 *   after    a page that is now mapped in part waits on the deferred-split queue
 *   Linux    page_remove_rmap(compound)
 */
void rmap_remove_pmd(struct page *head)
{
	struct spinlock *lock = huge_lock_of(head);

	if (unlikely(head->flags & PG_SHARED)) {
		__atomic_sub_fetch(page_pmd_mapcount_ptr(head), 1, __ATOMIC_ACQ_REL);
		return;
	}
	/* The only reference is this mapping's: nobody else can count, and nobody can start to. */
	if (likely(page_refcount(head) == 1)) {
		*page_pmd_mapcount_ptr(head) = 0;
		vmstat_add(VM_nr_anon_pages, -(s64)HPAGE_PMD_NR);
		vmstat_add(VM_nr_anon_transparent_hugepages, -1);
		return;
	}
	spin_lock(lock);
	if (__atomic_sub_fetch(page_pmd_mapcount_ptr(head), 1, __ATOMIC_ACQ_REL) == 0) {
		vmstat_add(VM_nr_anon_transparent_hugepages, -1);
		vmstat_add(VM_nr_anon_pages, -(s64)frames_without_pte(head));
	}
	spin_unlock(lock);
	queue_if_partly_mapped(head);
}

/* One more pte over each of the 512 frames; locked, because other spaces count them too. */
static void count_512_up(struct page *head)
{
	for (struct page *p = head; p < head + HPAGE_PMD_NR; p += 8) {
		__atomic_add_fetch(&p[0].mapcount, 1, __ATOMIC_RELAXED);
		__atomic_add_fetch(&p[1].mapcount, 1, __ATOMIC_RELAXED);
		__atomic_add_fetch(&p[2].mapcount, 1, __ATOMIC_RELAXED);
		__atomic_add_fetch(&p[3].mapcount, 1, __ATOMIC_RELAXED);
		__atomic_add_fetch(&p[4].mapcount, 1, __ATOMIC_RELAXED);
		__atomic_add_fetch(&p[5].mapcount, 1, __ATOMIC_RELAXED);
		__atomic_add_fetch(&p[6].mapcount, 1, __ATOMIC_RELAXED);
		__atomic_add_fetch(&p[7].mapcount, 1, __ATOMIC_RELAXED);
	}
}

/*
 * rmap_pmd_to_ptes - the pmd that mapped this huge page here became 512 ptes.
 *
 *   locks    pt_lock of the space held
 *   after    511 more references; every frame is mapped as before, so nr_anon_pages does not move
 *   Linux    the loop in __split_huge_pmd_locked
 */
void rmap_pmd_to_ptes(struct page *head)
{
	struct spinlock *lock = huge_lock_of(head);

	page_get_many(head, HPAGE_PMD_NR - 1);
	spin_lock(lock);
	if (seeded(SPLIT_COUNT)) { /* the pmd is counted off before the 512 are counted */
		__atomic_sub_fetch(page_pmd_mapcount_ptr(head), 1, __ATOMIC_ACQ_REL);
		seeded_pause();
		__atomic_add_fetch(page_pmd_mapcount_ptr(head), 1, __ATOMIC_ACQ_REL);
	}
	count_512_up(head);
	__atomic_add_fetch(page_pte_mappings_ptr(head), HPAGE_PMD_NR, __ATOMIC_RELAXED);
	if (__atomic_sub_fetch(page_pmd_mapcount_ptr(head), 1, __ATOMIC_ACQ_REL) == 0 &&
		!(head->flags & PG_SHARED))
		vmstat_add(VM_nr_anon_transparent_hugepages, -1);
	spin_unlock(lock);
}

/* A mapping and its reference leave a page on which the caller has another reference. */
static void drop_moved(struct page *head)
{
	__atomic_sub_fetch(&head->refcount, 1, __ATOMIC_ACQ_REL);
}

/* One frame of a huge page gets a pte, or loses one: the gauge is about frames that something maps. */
static void count_huge_pte(pfn_t pfn, s32 by)
{
	struct page *head = pfn_head(pfn), *p = pfn_to_page(pfn);
	struct spinlock *lock = huge_lock_of(head);
	u32 left;

	spin_lock(lock);
	__atomic_add_fetch(page_pte_mappings_ptr(head), (s64)by, __ATOMIC_RELAXED);
	left = __atomic_add_fetch(&p->mapcount, (u32)by, __ATOMIC_ACQ_REL);
	if (left == (by > 0) && page_pmd_mapcount(head) == 0)
		vmstat_add(VM_nr_anon_pages, by);
	spin_unlock(lock);
}

static void count_huge_pmd(struct page *head, s32 by)
{
	struct spinlock *lock = huge_lock_of(head);
	u32 left;

	spin_lock(lock);
	left = __atomic_add_fetch(page_pmd_mapcount_ptr(head), (u32)by, __ATOMIC_ACQ_REL);
	if (left == (by > 0)) {
		vmstat_add(VM_nr_anon_transparent_hugepages, by);
		vmstat_add(VM_nr_anon_pages, by * (s64)frames_without_pte(head));
	}
	spin_unlock(lock);
}

/*
 * rmap_move_pte, rmap_move_pmd - an entry that named `from` names `to` from now on.
 *
 *   locks    pt_lock of the space held; the caller holds one more reference on each of the two
 *   after    counts, gauges and the mapping's reference have moved; no page is queued as partly mapped:
 *            the whole page moves, and its place on the queue with it (migrate.c)
 *   Linux    remove_migration_pte, remove_migration_pmd: page_add_anon_rmap
 */
void rmap_move_pte(pfn_t from, pfn_t to)
{
	struct page *old = pfn_to_page(from), *new = pfn_to_page(to);

	if (unlikely(pfn_in_huge(from))) {
		page_get(pfn_head(to));
		count_huge_pte(to, 1);
		count_huge_pte(from, -1);
		drop_moved(pfn_head(from));
		return;
	}
	if (page_get_mapped(new, PAGE_ONE_EACH) == 1)
		vmstat_inc(VM_nr_anon_pages);
	if (__atomic_sub_fetch(&old->mapcount, 1, __ATOMIC_ACQ_REL) == 0)
		vmstat_add(VM_nr_anon_pages, -1);
	drop_moved(old);
}

void rmap_move_pmd(struct page *from, struct page *to)
{
	page_get(to);
	count_huge_pmd(to, 1);
	count_huge_pmd(from, -1);
	drop_moved(from);
}

/* ---- walking ---------------------------------------------------------------------------------- */

struct walk {
	u64 first, last; /* indices */
	bool (*fn)(struct vma *v, vaddr_t addr, void *ctx);
	void *ctx;
};

/* In order; a subtree that ends before the first index, or begins behind the last, is not entered. */
static bool walk_below(const struct walk *w, struct tree_node *node)
{
	struct vma *v;

	while (node && area_of(node)->anon_last_max >= w->first) {
		v = area_of(node);
		if (!walk_below(w, node->left))
			return false;
		if (v->pgoff > w->last)
			return true;
		if (last_index(v) >= w->first &&
			!w->fn(v, v->start + ((MAX(w->first, v->pgoff) - v->pgoff) << PAGE_SHIFT),
				w->ctx))
			return false;
		node = node->right;
	}
	return true;
}

/*
 * rmap_walk_locked, rmap_walk - every area that may map pages [index, index + pages) of a family.
 *
 *   fn       gets the area and the address of the first of these pages in it (the first that the area
 *            has, when a huge page begins outside); returns false to stop
 *   locks    the anon lock is held around fn, which may take the pt_lock of the area's space
 *   returns  false when stopped
 *   Linux    rmap_walk_anon
 */
bool rmap_walk_locked(struct anon *anon, u64 index, u64 pages,
	bool (*fn)(struct vma *v, vaddr_t addr, void *ctx), void *ctx)
{
	struct walk w = {index, index + pages - 1, fn, ctx};

	ASSERT_HELD(&anon->lock);
	return walk_below(&w, anon->areas.root);
}

bool rmap_walk(struct anon *anon, u64 index, u64 pages,
	bool (*fn)(struct vma *v, vaddr_t addr, void *ctx), void *ctx)
{
	bool finished;

	spin_lock(&anon->lock);
	finished = rmap_walk_locked(anon, index, pages, fn, ctx);
	spin_unlock(&anon->lock);
	return finished;
}
