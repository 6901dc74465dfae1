/*
 * vma.c - the areas of a space                                     floor 3, below: rmap, mm.h, lib/tree
 *
 * Keeps the mapped ranges of a space in order: finds the one that contains an address, finds room
 * for a new one, splits and unites them. It never looks at a page table.
 *
 * IDEA
 *   One balanced tree by address. Each area also knows the free bytes below it (gap) and the largest
 *   gap of its subtree (max_gap):
 *
 *          |    gap    |==== v ====|                       a gap wide enough to the right of a node?
 *       prev->end    v->start    v->end                    its max_gap says so without going there
 *
 *   so the highest free range of a size is found in one walk down, as Linux's top-down mmap wants it.
 *   A fault usually hits the area of the fault before: mm->vma_cache is looked at first (vma.h).
 *
 * INVARIANTS (vma_check() tests every one)
 *   V1  areas are in order, disjoint, page-aligned, not empty, and below USER_END
 *   V2  gap is the distance to the area before; max_gap is the largest gap of the subtree
 *   V3  nr_vmas, total_vm and locked_vm are the number of the areas, their pages and those of locked ones; nr_vmas <= VMA_MAX
 *       (two more while a part is unmapped)
 *   V4  the cache is empty or names an area of this space
 *
 * LOCKS     mm->lock: read to find, write to change
 * LINUX     mm/mmap.c: a maple tree since 6.1, a lock for each area since 6.4.      docs/mm/vma.md
 */
#include "mm/vma.h"

#include "lib/string.h"
#include "lib/tree.h"
#include "mm/kmalloc.h"
#include "mm/rmap.h"
#include "object.h"
#include "printk.h"
#include <abi/errno.h>

static struct kmem_cache vma_cache;

static inline struct vma *vma_of(struct tree_node *node)
{
	return node ? tree_entry(node, struct vma, node) : NULL;
}

/* ---- the tree --------------------------------------------------------------------------------- */

static u64 largest_gap(const struct tree_node *node)
{
	const struct vma *v = tree_entry(node, struct vma, node);
	u64 gap = v->gap;

	if (node->left)
		gap = MAX(gap, tree_entry(node->left, struct vma, node)->max_gap);
	if (node->right)
		gap = MAX(gap, tree_entry(node->right, struct vma, node)->max_gap);
	return gap;
}

static void update_max_gap(struct tree_node *node)
{
	tree_entry(node, struct vma, node)->max_gap = largest_gap(node);
}

/* The area below v ends, or v starts, elsewhere now. */
static void refresh_gap(struct vma *v, const struct vma *below)
{
	v->gap = v->start - (below ? below->end : 0);
	tree_augment_path(&v->mm->vmas, &v->node);
}

/* vma_init - the cache of areas; once, at start-up. */
void vma_init(void)
{
	kmem_cache_init(&vma_cache, "vm_area_struct", sizeof(struct vma));
}

/* ---- finding ---------------------------------------------------------------------------------- */

/*
 * vma_find_slow - the area that contains addr, when it is not the one found last.
 *
 *   locks    mm->lock held (any mode)
 *   returns  NULL: nothing is mapped there
 *   Linux    find_vma, vma_lookup
 */
struct vma *vma_find_slow(struct mm *mm, vaddr_t addr)
{
	struct vma *v = mm_lookup(mm, addr);

	ASSERT_RW_HELD(&mm->lock);
	if (v)
		WRITE_ONCE(mm->vma_cache, v);
	return v;
}

/* vma_find_from - the first area that ends above addr: it contains addr or lies behind it. */
struct vma *vma_find_from(struct mm *mm, vaddr_t addr)
{
	struct tree_node *node = mm->vmas.root;
	struct vma *best = NULL;

	while (node) {
		struct vma *v = vma_of(node);

		if (addr < v->end) {
			best = v;
			node = node->left;
		} else {
			node = node->right;
		}
	}
	return best;
}

/* vma_next, vma_prev, vma_first - in order of address; NULL: there is none. */
struct vma *vma_next(struct vma *v)
{
	return vma_of(tree_next(&v->node));
}

struct vma *vma_prev(struct vma *v)
{
	return vma_of(tree_prev(&v->node));
}

struct vma *vma_first(struct mm *mm)
{
	return vma_of(tree_first(&mm->vmas));
}

/* ---- one area --------------------------------------------------------------------------------- */

/* vma_alloc - an area of this space that is in no tree yet, all zero. NULL: no memory. */
struct vma *vma_alloc(struct mm *mm)
{
	struct vma *v = kmem_cache_zalloc(&vma_cache);

	if (v)
		v->mm = mm;
	return v;
}

/* vma_free - an area that is in no tree (any more); it leaves its anon object. */
void vma_free(struct vma *v)
{
	ASSERT(!tree_linked(&v->node));
	rmap_unlink(v);
	if (v->object)
		object_put(v->object);
	kmem_cache_free(&vma_cache, v);
}

/* The area has this many pages more, or less. */
static void count_pages(const struct vma *v, s64 pages)
{
	v->mm->total_vm += pages;
	if (unlikely(v->flags & VM_LOCKED))
		WRITE_ONCE(v->mm->locked_vm, v->mm->locked_vm + pages);
}

/* The area into the tree, the list of gaps and the counts. */
static void insert(struct mm *mm, struct vma *v)
{
	struct tree_node **link = &mm->vmas.root, *parent = NULL;
	struct vma *below = NULL, *above = NULL;

	mm->vmas.augment = update_max_gap; /* the first area of a new space sets it */
	while (*link) {
		struct vma *at = vma_of(parent = *link);

		if (v->start < at->start) {
			above = at;
			link = &parent->left;
		} else {
			below = at;
			link = &parent->right;
		}
	}
	ASSERT_RULE("V1", (!below || below->end <= v->start) && (!above || v->end <= above->start),
		"[%#lx, %#lx) is not free", v->start, v->end);
	v->gap = v->start - (below ? below->end : 0);
	tree_insert_at(&mm->vmas, parent, link, &v->node);
	if (above)
		refresh_gap(above, v);
	mm->nr_vmas++;
	count_pages(v, (s64)vma_pages(v));
}

/*
 * vma_insert - put an area into its space.
 *
 *   locks    mm->lock held for writing
 *   returns  0; -ENOMEM: the space has VMA_MAX areas already
 *   rule     the range must be free: an overlap is a bug of the caller (panic)
 *   Linux    insert_vm_struct
 */
int vma_insert(struct mm *mm, struct vma *v)
{
	ASSERT_RW_WRITE(&mm->lock);
	ASSERT(v->start < v->end && IS_ALIGNED(v->start | v->end, PAGE_SIZE) && v->end <= USER_END);
	if (mm->nr_vmas >= VMA_MAX)
		return -ENOMEM;
	insert(mm, v);
	return 0;
}

/* The areas of a subtree that was never in a space. */
static void free_below(struct tree_node *node)
{
	if (!node)
		return;
	free_below(node->left);
	free_below(node->right);
	*node = (struct tree_node){0};
	vma_free(vma_of(node));
}

/* A subtree like the one at `node`; its depth is that of an AVL tree. NULL: no memory. */
static struct tree_node *copy_below(struct mm *to, const struct tree_node *node,
	struct vma *(*copy)(struct mm *to, const struct vma *v))
{
	const struct vma *old = tree_entry(node, struct vma, node);
	struct vma *v = copy(to, old);
	struct tree_node *n;

	if (!v)
		return NULL;
	n = &v->node;
	n->height = node->height;
	v->gap = old->gap;
	v->max_gap = old->max_gap;
	if ((node->left && !(n->left = copy_below(to, node->left, copy))) ||
		(node->right && !(n->right = copy_below(to, node->right, copy)))) {
		free_below(n);
		return NULL;
	}
	if (n->left)
		n->left->parent = n;
	if (n->right)
		n->right->parent = n;
	return n;
}

/* vma_copy_tree - see vma.h. Linux: dup_mmap, mas_for_each */
int vma_copy_tree(
	struct mm *to, struct mm *from, struct vma *(*copy)(struct mm *to, const struct vma *v))
{
	ASSERT_RW_WRITE(&to->lock);
	ASSERT_RW_WRITE(&from->lock);
	ASSERT(!to->vmas.root);
	if (!from->vmas.root)
		return 0;
	to->vmas.root = copy_below(to, from->vmas.root, copy);
	if (!to->vmas.root)
		return -ENOMEM;
	to->vmas.augment = update_max_gap;
	to->nr_vmas = from->nr_vmas;
	to->total_vm = from->total_vm;
	return 0;
}

/*
 * vma_remove - take an area out of its space; it is not freed and keeps its anon object.
 *
 *   locks    mm->lock held for writing
 */
void vma_remove(struct vma *v)
{
	struct mm *mm = v->mm;
	struct vma *below = vma_prev(v), *above = vma_next(v);

	ASSERT_RW_WRITE(&mm->lock);
	tree_erase(&mm->vmas, &v->node);
	if (above)
		refresh_gap(above, below);
	mm->nr_vmas--;
	count_pages(v, -(s64)vma_pages(v));
	if (mm->vma_cache == v)
		mm->vma_cache = NULL;
}

/* Moves the edges; the index of each page stays, because pgoff moves with start. */
static void set_range(struct vma *v, vaddr_t start, vaddr_t end)
{
	struct vma *above = vma_next(v);

	count_pages(v, (s64)((end - start) >> PAGE_SHIFT) - (s64)vma_pages(v));
	v->pgoff += (s64)(start - v->start) >> PAGE_SHIFT;
	v->device_pa += v->kind == VMA_DEVICE ? start - v->start : 0;
	v->start = start;
	v->end = end;
	refresh_gap(v, vma_prev(v));
	if (above)
		refresh_gap(above, v);
}

/*
 * vma_resize - move the edges of an area within the room between its neighbours.
 *
 *   locks    mm->lock held for writing; takes the anon lock
 *   Linux    vma_adjust
 */
void vma_resize(struct vma *v, vaddr_t start, vaddr_t end)
{
	struct vma *below = vma_prev(v), *above = vma_next(v);

	ASSERT_RW_WRITE(&v->mm->lock);
	ASSERT(start < end && IS_ALIGNED(start | end, PAGE_SIZE) && end <= USER_END);
	ASSERT_RULE("V1", (!below || below->end <= start) && (!above || end <= above->start),
		"no room for [%#lx, %#lx)", start, end);
	rmap_vma_begin(v);
	set_range(v, start, end);
	rmap_vma_end(v);
}

/* ---- splitting and uniting -------------------------------------------------------------------- */

/* A copy of v for [addr, v->end), in no tree and in no family yet. */
static struct vma *copy_upper(struct vma *v, vaddr_t addr)
{
	struct vma *upper = vma_alloc(v->mm);

	if (!upper)
		return NULL;
	upper->start = addr;
	upper->end = v->end;
	upper->flags = v->flags;
	upper->kind = v->kind;
	upper->pgoff = vma_index(v, addr);
	upper->device_pa = v->kind == VMA_DEVICE ? v->device_pa + (addr - v->start) : 0;
	upper->object = v->object;
	upper->copied = v->copied;
	upper->kin = v->kin;
	if (v->object)
		object_get(v->object);
	memcpy(upper->name, v->name, sizeof(upper->name));
	return upper;
}

/*
 * vma_split - [start, end) becomes [start, addr), which stays v, and [addr, end), which is new.
 *
 *   locks    mm->lock held for writing; takes the anon lock once, so that a walker of the reverse map
 *            meets each page in exactly one of the two
 *   returns  the upper area; NULL: no memory, or VMA_MAX areas already; nothing changed then
 *   Linux    __split_vma
 */
struct vma *vma_split(struct vma *v, vaddr_t addr)
{
	return v->mm->nr_vmas < VMA_MAX ? vma_split_for_unmap(v, addr) : NULL;
}

/*
 * vma_split_for_unmap - the same without the limit, for who takes a part away in a moment: a space with VMA_MAX areas
 * can still be made smaller from its edges. range_unmap() sees to it that the limit holds afterwards.
 */
struct vma *vma_split_for_unmap(struct vma *v, vaddr_t addr)
{
	struct mm *mm = v->mm;
	struct vma *upper;

	ASSERT_RW_WRITE(&mm->lock);
	ASSERT(v->start < addr && addr < v->end && IS_ALIGNED(addr, PAGE_SIZE));
	upper = copy_upper(v, addr);
	if (!upper)
		return NULL;
	rmap_vma_begin(v);
	set_range(v, v->start, addr);
	insert(mm, upper);
	rmap_vma_join(v, upper);
	rmap_vma_end(v);
	return upper;
}

/*
 * vma_can_merge - could a, directly below b, and b be one area?
 *
 *   returns  equal in everything but the range, pages numbered through, and not in two families
 *   Linux    can_vma_merge_after; kin is looked at by vma_merge()
 */
bool vma_can_merge(const struct vma *a, const struct vma *b)
{
	return a->end == b->start && a->mm == b->mm && a->flags == b->flags && a->kind == b->kind &&
	       a->object == b->object && (!a->anon || !b->anon || a->anon == b->anon) &&
	       vma_index(a, a->end) == b->pgoff &&
	       (a->kind != VMA_DEVICE || a->device_pa + (a->end - a->start) == b->device_pa) &&
	       strcmp(a->name, b->name) == 0;
}

/* a takes over b's range; b is freed. If only b has a family, a joins it first. */
static struct vma *unite(struct vma *a, struct vma *b)
{
	vaddr_t end = b->end;

	if (!a->anon && b->anon) {
		rmap_link(a, b->anon);
		a->kin = b->kin;
	}
	a->copied |= b->copied;
	rmap_vma_begin(a);
	if (b->anon)
		rmap_vma_leave(a, b);
	vma_remove(b);
	set_range(a, a->start, end);
	rmap_vma_end(a);
	vma_free(b);
	return a;
}

/*
 * May v, whose flags or place have just changed, go into a neighbour? Into one of its own kin; and without a family, into
 * any but an inherited one. Not into one without a family: it would have to join v's. Linux: is_mergeable_anon_vma
 */
static bool kin_allows(const struct vma *v, const struct vma *neighbour)
{
	return v->kin == neighbour->kin || (!v->kin && !(neighbour->kin & KIN_INHERITED));
}

/*
 * vma_merge - unite v with the area below, with the one above, or with both, where that is possible.
 *
 *   locks    mm->lock held for writing; takes the anon lock
 *   returns  the area that covers v's range now; v may have been freed
 *   Linux    vma_merge
 */
struct vma *vma_merge(struct vma *v)
{
	struct vma *below = vma_prev(v), *above = vma_next(v);

	ASSERT_RW_WRITE(&v->mm->lock);
	if (below && (!vma_can_merge(below, v) || !kin_allows(v, below)))
		below = NULL;
	if (above && (!vma_can_merge(v, above) || !kin_allows(v, above)))
		above = NULL;
	if (below && above && below->kin && above->kin && below->kin != above->kin)
		above = NULL;
	if (below)
		v = unite(below, v);
	if (above)
		v = unite(v, above);
	return v;
}

/* ---- room ------------------------------------------------------------------------------------- */

/* The highest aligned start of `bytes` in the free range [from, to), cut to [low, high); 0: none. */
static vaddr_t fit(vaddr_t from, vaddr_t to, u64 bytes, vaddr_t low, vaddr_t high, u64 align)
{
	vaddr_t start;

	from = MAX(from, low);
	to = MIN(to, high);
	if (to < from || to - from < bytes)
		return 0;
	start = ALIGN_DOWN(to - bytes, align);
	return start >= from ? start : 0;
}

/*
 * The highest fit in the gaps of a subtree: right side first, then the gap below the node itself, then
 * the left side. A subtree without a gap of that size, or wholly outside [low, high), is not entered.
 * With alignment a wide enough gap may still not fit; then the search goes on with the next lower one.
 */
static vaddr_t find_below(
	const struct tree_node *node, u64 bytes, vaddr_t low, vaddr_t high, u64 align)
{
	while (node) {
		const struct vma *v = tree_entry(node, struct vma, node);
		vaddr_t start;

		if (v->max_gap < bytes)
			return 0;
		if (v->end < high) {
			start = find_below(node->right, bytes, low, high, align);
			if (start)
				return start;
		}
		start = fit(v->start - v->gap, v->start, bytes, low, high, align);
		if (start || v->start <= low)
			return start;
		node = node->left;
	}
	return 0;
}

/*
 * vma_find_gap - the highest free, aligned range of `bytes` within [low, high).
 *
 *   locks    mm->lock held
 *   returns  its start; 0: there is none
 *   Linux    unmapped_area_topdown
 */
vaddr_t vma_find_gap(struct mm *mm, u64 bytes, vaddr_t low, vaddr_t high, u64 align)
{
	struct vma *last = vma_of(tree_last(&mm->vmas));
	vaddr_t start;

	if (!bytes || high > USER_END)
		return 0;
	start = fit(last ? last->end : 0, USER_END, bytes, low, high, align);
	return start ? start : find_below(mm->vmas.root, bytes, low, high, align);
}

/* ---- checking --------------------------------------------------------------------------------- */

#define BROKEN(rule, fmt, ...) (printk("vma_check: " rule ": " fmt, ##__VA_ARGS__), false)

static int compare(const struct tree_node *a, const struct tree_node *b)
{
	const struct vma *x = tree_entry(a, struct vma, node), *y = tree_entry(b, struct vma, node);

	return x->start < y->start ? -1 : x->start > y->start;
}

static bool max_gap_ok(const struct tree_node *node)
{
	return tree_entry(node, struct vma, node)->max_gap == largest_gap(node);
}

static bool check_area(const struct mm *mm, const struct vma *v, const struct vma *below)
{
	vaddr_t from = below ? below->end : 0;

	if (v->start >= v->end || !IS_ALIGNED(v->start | v->end, PAGE_SIZE) || v->end > USER_END ||
		v->start < from || v->mm != mm)
		return BROKEN("V1", "[%#lx, %#lx) of %p behind %#lx in %p", v->start, v->end, v->mm,
			from, mm);
	if (v->gap != v->start - from)
		return BROKEN("V2", "[%#lx, %#lx): gap %#lx, but %#lx bytes are free below",
			v->start, v->end, v->gap, v->start - from);
	return true;
}

/*
 * vma_check - V1 to V4 over one space; prints the first that is broken.
 *
 *   locks    mm->lock held, or the other CPUs are stopped
 */
bool vma_check(struct mm *mm)
{
	struct vma *below = NULL;
	bool cached = !mm->vma_cache;
	u64 nr = 0, pages = 0, locked = 0;
	int broken = tree_check(&mm->vmas, compare, NULL);

	if (broken)
		return BROKEN("V1", "the tree breaks its own rule A%d", broken);
	for (struct vma *v = vma_first(mm); v; below = v, v = vma_next(v)) {
		if (!check_area(mm, v, below))
			return false;
		nr++;
		pages += vma_pages(v);
		locked += v->flags & VM_LOCKED ? vma_pages(v) : 0;
		cached |= mm->vma_cache == v;
	}
	if (tree_check(&mm->vmas, compare, max_gap_ok))
		return BROKEN("V2", "a max_gap is not the largest gap of its subtree");
	if (nr != mm->nr_vmas || nr > VMA_MAX + 2 || pages != mm->total_vm ||
		locked != mm->locked_vm)
		return BROKEN("V3", "%lu areas of %lu pages, %lu locked; counted %u, %lu and %lu",
			nr, pages, locked, mm->nr_vmas, mm->total_vm, mm->locked_vm);
	if (!cached)
		return BROKEN(
			"V4", "the cache names %p, which is no area of this space", mm->vma_cache);
	return true;
}
