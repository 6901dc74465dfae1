/*
 * test_vma.c - mm/vma.c: the areas of a space, against an array of pages.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "fake_machine.h"
#include "fake_space.h"
#include "mm/rmap.h"
#include "mm/vma.h"
#include <abi/errno.h>

#define MIB  (1ul << 20)
#define BASE 0x7f0000000000ul
#define RW   (VM_READ | VM_WRITE)

static vaddr_t page_at(u64 n)
{
	return BASE + n * PAGE_SIZE;
}

static struct vma *area(struct mm *mm, u64 first, u64 end, u32 flags)
{
	struct vma *v = space_area(mm, page_at(first), page_at(end), flags);

	CHECK(vma_check(mm));
	return v;
}

static struct mm *start(void)
{
	space_start(64 * MIB, 1);
	return space_create();
}

TEST(an_area_is_found_by_any_of_its_addresses)
{
	struct mm *mm = start();
	struct vma *a = area(mm, 10, 20, RW), *b = area(mm, 20, 21, VM_READ),
		   *c = area(mm, 30, 40, RW);

	CHECK(!vma_find(mm, page_at(10) - 1));
	CHECK(vma_find(mm, page_at(10)) == a && vma_find(mm, page_at(20) - 1) == a);
	CHECK(mm->vma_cache == a);
	CHECK(vma_find(mm, page_at(20)) == b);
	CHECK(!vma_find(mm, page_at(21)) && !vma_find(mm, page_at(40)));
	CHECK(vma_find_from(mm, 0) == a && vma_find_from(mm, page_at(20)) == b);
	CHECK(vma_find_from(mm, page_at(21)) == c && !vma_find_from(mm, page_at(40)));
	CHECK(vma_first(mm) == a && vma_next(a) == b && vma_next(c) == NULL);
	CHECK(vma_prev(c) == b && vma_prev(a) == NULL);
	CHECK_EQ(mm->nr_vmas, 3);
	CHECK_EQ(mm->total_vm, 21);
	space_empty(mm);
}

TEST(a_removed_area_leaves_the_cache)
{
	struct mm *mm = start();
	struct vma *a = area(mm, 1, 2, RW);

	CHECK(vma_find(mm, page_at(1)) == a);
	vma_remove(a);
	CHECK(!vma_find(mm, page_at(1)) && vma_check(mm));
	vma_free(a);
	space_empty(mm);
}

TEST(an_overlap_is_a_bug_of_the_caller)
{
	struct mm *mm = start();
	struct vma *v = vma_alloc(mm);

	area(mm, 10, 20, RW);
	v->start = page_at(19);
	v->end = page_at(25);
	CHECK_PANICS("V1", vma_insert(mm, v));
	v->start = page_at(5);
	v->end = page_at(11);
	CHECK_PANICS("V1", vma_insert(mm, v));
	CHECK_PANICS("V1", vma_resize(area(mm, 30, 31, RW), page_at(19), page_at(31)));
	v->end = v->start + 1;
	CHECK_PANICS("assert", vma_insert(mm, v));
}

TEST(changes_need_the_write_lock)
{
	struct mm *mm = start();
	struct vma *v = area(mm, 1, 3, RW);

	mm->lock.state = 1; /* a reader */
	CHECK_PANICS("lock", vma_remove(v));
	CHECK_PANICS("lock", vma_split(v, page_at(2)));
	CHECK_PANICS("lock", vma_resize(v, v->start, page_at(2)));
	mm->lock.state = 0;
	CHECK_PANICS("lock", vma_find(mm, page_at(1)));
}

TEST(room_is_found_from_the_top)
{
	struct mm *mm = start();
	vaddr_t low = page_at(0), high = page_at(100);

	CHECK_EQ(vma_find_gap(mm, PAGE_SIZE, low, high, PAGE_SIZE), page_at(99));
	area(mm, 90, 100, RW);
	area(mm, 80, 85, RW); /* holes: 85..90 and 0..80 */
	CHECK_EQ(vma_find_gap(mm, PAGE_SIZE, low, high, PAGE_SIZE), page_at(89));
	CHECK_EQ(vma_find_gap(mm, 5 * PAGE_SIZE, low, high, PAGE_SIZE), page_at(85));
	CHECK_EQ(vma_find_gap(mm, 6 * PAGE_SIZE, low, high, PAGE_SIZE), page_at(74));
	CHECK_EQ(vma_find_gap(mm, 80 * PAGE_SIZE, low, high, PAGE_SIZE), page_at(0));
	CHECK_EQ(vma_find_gap(mm, 81 * PAGE_SIZE, low, high, PAGE_SIZE), 0);
	CHECK_EQ(vma_find_gap(mm, 4 * PAGE_SIZE, low, page_at(88), PAGE_SIZE), page_at(76));
	CHECK_EQ(vma_find_gap(mm, 2 * PAGE_SIZE, low, high, 4 * PAGE_SIZE), page_at(88));
	CHECK_EQ(vma_find_gap(mm, 3 * PAGE_SIZE, low, high, 4 * PAGE_SIZE), page_at(76));
	CHECK_EQ(vma_find_gap(mm, 0, low, high, PAGE_SIZE), 0);
	CHECK_EQ(vma_find_gap(mm, ~0ul, low, high, PAGE_SIZE), 0);
	CHECK_EQ(vma_find_gap(mm, PAGE_SIZE, high, low, PAGE_SIZE), 0);
	space_empty(mm);
}

TEST(a_split_keeps_the_numbers_of_the_pages)
{
	struct mm *mm = start();
	struct vma *v = area(mm, 10, 20, RW | VM_HUGEPAGE), *upper;

	strcpy(v->name, "[heap]");
	CHECK_EQ(rmap_prepare(v), 0);
	upper = vma_split(v, page_at(13));
	CHECK(upper && vma_check(mm) && rmap_check());
	CHECK_EQ(v->end, page_at(13));
	CHECK_EQ(upper->start, page_at(13));
	CHECK_EQ(upper->end, page_at(20));
	CHECK_EQ(upper->flags, RW | VM_HUGEPAGE);
	CHECK_EQ(vma_index(upper, page_at(15)), page_at(15) >> PAGE_SHIFT);
	CHECK(upper->anon == v->anon && v->anon->nr_areas == 2);
	CHECK_STR(upper->name, "[heap]");
	CHECK(vma_merge(upper) == v && vma_check(mm) && rmap_check());
	CHECK_EQ(mm->nr_vmas, 1);
	CHECK_EQ(v->end, page_at(20));
	CHECK_EQ(v->anon->nr_areas, 1);
	space_empty(mm);
}

TEST(both_neighbours_unite)
{
	struct mm *mm = start();
	struct vma *a = area(mm, 10, 20, RW), *b = area(mm, 20, 30, RW), *c = area(mm, 30, 40, RW);

	CHECK_EQ(rmap_prepare(c), 0); /* only the last one has a family: the others join it */
	CHECK(vma_merge(b) == a && vma_check(mm) && rmap_check());
	CHECK_EQ(mm->nr_vmas, 1);
	CHECK_EQ(a->end, page_at(40));
	CHECK(a->anon && a->anon->nr_areas == 1);
	space_empty(mm);
}

TEST(what_differs_does_not_unite)
{
	struct mm *mm = start();
	struct vma *a = area(mm, 10, 20, RW), *b = area(mm, 20, 30, RW);

	CHECK(vma_can_merge(a, b) && !vma_can_merge(b, a));
	b->flags = VM_READ;
	CHECK(!vma_can_merge(a, b));
	b->flags = RW;
	b->pgoff++;
	CHECK(!vma_can_merge(a, b));
	b->pgoff--;
	strcpy(b->name, "[heap]");
	CHECK(!vma_can_merge(a, b));
	b->name[0] = '\0';
	b->kind = VMA_DEVICE;
	CHECK(!vma_can_merge(a, b));
	a->kind = VMA_DEVICE;
	a->device_pa = 0x1000000;
	b->device_pa = a->device_pa + 10 * PAGE_SIZE;
	CHECK(vma_can_merge(a, b));
	b->device_pa += PAGE_SIZE;
	CHECK(!vma_can_merge(a, b));
	a->kind = b->kind = VMA_ANON;
	a->flags = VM_READ | VM_EXEC; /* two families: kept apart even when equal again */
	b->flags = VM_READ | VM_HUGEPAGE;
	CHECK(rmap_prepare(a) == 0 && rmap_prepare(b) == 0 && a->anon != b->anon);
	a->flags = b->flags = RW;
	CHECK(!vma_can_merge(a, b));
	space_empty(mm);
}

TEST(a_device_area_keeps_its_addresses)
{
	struct mm *mm = start();
	struct vma *v = area(mm, 10, 20, RW), *upper;

	v->kind = VMA_DEVICE;
	v->device_pa = 0xfd000000;
	upper = vma_split(v, page_at(14));
	CHECK_EQ(upper->device_pa, 0xfd004000);
	vma_resize(upper, page_at(15), page_at(20));
	CHECK_EQ(upper->device_pa, 0xfd005000);
	space_empty(mm);
}

TEST(edges_move_and_pages_keep_their_numbers)
{
	struct mm *mm = start();
	struct vma *v = area(mm, 10, 20, RW);

	area(mm, 30, 31, RW);
	CHECK_EQ(rmap_prepare(v), 0);
	vma_resize(v, page_at(5), page_at(30)); /* a stack grows down, a heap up */
	CHECK(vma_check(mm) && rmap_check());
	CHECK_EQ(vma_index(v, page_at(12)), page_at(12) >> PAGE_SHIFT);
	CHECK_EQ(mm->total_vm, 26);
	vma_resize(v, page_at(7), page_at(9));
	CHECK(vma_check(mm) && rmap_check());
	CHECK_EQ(vma_index(v, page_at(8)), page_at(8) >> PAGE_SHIFT);
	CHECK_EQ(mm->total_vm, 3);
	space_empty(mm);
}

/* A tree of n areas is at most 1.44 log2 n high; a search that looked at every area would not end in time. */
TEST(sixty_five_thousand_areas_and_not_one_more)
{
	struct mm *mm = start();
	struct vma *v = NULL, *one_more;

	for (u64 i = 0; i < VMA_MAX; i++)
		v = space_area(mm, page_at(2 * i), page_at(2 * i + (i == 7 ? 2 : 1)), RW);
	CHECK_EQ(mm->nr_vmas, 65530);
	CHECK(vma_check(mm));
	CHECK(mm->vmas.root->height <= 23);

	one_more = vma_alloc(mm);
	one_more->start = page_at(1);
	one_more->end = page_at(2);
	CHECK_EQ(vma_insert(mm, one_more), -ENOMEM);
	CHECK(!vma_split(vma_find(mm, page_at(15)), page_at(15)));
	CHECK(vma_check(mm));
	CHECK_EQ(v->end, page_at(2 * (VMA_MAX - 1) + 1));

	space_area_gone(v);
	CHECK_EQ(vma_insert(mm, one_more), 0);
	CHECK(vma_check(mm));
	for (u64 i = 0; i < 200000; i++)
		CHECK_EQ(vma_find_gap(
				 mm, 3 * PAGE_SIZE, USER_START, page_at(2 * VMA_MAX), PAGE_SIZE),
			page_at(2 * VMA_MAX - 3));
	for (u64 i = 0; i < 200000; i++)
		CHECK_EQ(vma_find_gap(mm, 4 * PAGE_SIZE, USER_START, page_at(2 * VMA_MAX - 2),
				 PAGE_SIZE),
			page_at(0) - 4 * PAGE_SIZE);
}

/* How many areas the search for room looks at: counted by the depth of its walk, on trees that grow. */
TEST(the_cost_of_a_search_grows_as_a_logarithm)
{
	struct mm *mm = start();
	int height[3] = {0};
	u64 sizes[3] = {1000, 8000, 64000}, n = 0;

	for (int s = 0; s < 3; s++) {
		for (; n < sizes[s]; n++)
			space_area(mm, page_at(2 * n), page_at(2 * n + 1), RW);
		height[s] = mm->vmas.root->height;
	}
	CHECK(height[1] - height[0] <= 5 && height[2] - height[1] <= 5); /* 1.44 * 3 */
}

/* ---- random runs against an array of pages ----------------------------------------------------- */

#define PAGES 256 /* pages 0 .. 255 of the window; 0: free, else the flags */
static u32 model[PAGES];

static vaddr_t model_gap(u64 pages, u64 align)
{
	for (s64 first = PAGES - (s64)pages; first >= 0; first--) {
		bool free = page_at(first) % (align * PAGE_SIZE) == 0;

		for (u64 i = 0; free && i < pages; i++)
			free = model[first + i] == 0;
		if (free)
			return page_at(first);
	}
	return 0;
}

/* Every page as the model says; neighbours that could be one are one. */
static void compare(struct mm *mm)
{
	u64 areas = 0, pages = 0;

	for (u64 i = 0; i < PAGES; i++) {
		struct vma *v = mm_lookup(mm, page_at(i));

		CHECK_EQ(v ? v->flags : 0, model[i]);
		CHECK(!v || vma_index(v, page_at(i)) == page_at(i) >> PAGE_SHIFT);
		areas += model[i] && (i == 0 || model[i] != model[i - 1]);
		pages += model[i] != 0;
	}
	CHECK_EQ(mm->nr_vmas, areas);
	CHECK_EQ(mm->total_vm, pages);
	CHECK_MSG(vma_check(mm), "%s", machine_words);
}

/* Cuts at both ends, so that [first, end) is covered by whole areas. */
static void cut(struct mm *mm, u64 first, u64 end)
{
	u64 at[2] = {first, end};

	for (int i = 0; i < 2; i++) {
		struct vma *v = mm_lookup(mm, page_at(at[i]));

		if (v && v->start < page_at(at[i]))
			CHECK(vma_split(v, page_at(at[i])));
	}
}

static void random_unmap(struct mm *mm, u64 first, u64 end)
{
	struct vma *v;

	cut(mm, first, end);
	while ((v = vma_find_from(mm, page_at(first))) && v->start < page_at(end))
		space_area_gone(v);
	memset(&model[first], 0, (end - first) * sizeof(model[0]));
}

static void random_protect(struct mm *mm, u64 first, u64 end, u32 flags)
{
	struct vma *v;

	cut(mm, first, end);
	for (v = vma_find_from(mm, page_at(first)); v && v->start < page_at(end); v = vma_next(v)) {
		v->flags = flags;
		v = vma_merge(v);
	}
	v = vma_find_from(mm, page_at(first));
	if (v)
		vma_merge(v);
	for (v = vma_find_from(mm, page_at(first)); v && v->start <= page_at(end); v = vma_next(v))
		v = vma_merge(v);
	for (u64 i = first; i < end; i++)
		model[i] = model[i] ? flags : 0;
}

static void random_map(struct mm *mm, u64 pages, u64 align, u32 flags)
{
	vaddr_t want = model_gap(pages, align);
	u64 first = (want - BASE) / PAGE_SIZE;

	CHECK_EQ(vma_find_gap(mm, pages * PAGE_SIZE, page_at(0), page_at(PAGES), align * PAGE_SIZE),
		want);
	if (!want)
		return;
	vma_merge(space_area(mm, want, want + pages * PAGE_SIZE, flags));
	for (u64 i = 0; i < pages; i++)
		model[first + i] = flags;
}

TEST(random_changes_are_what_an_array_says)
{
	static const u32 flags[] = {RW, VM_READ, RW | VM_HUGEPAGE};
	struct mm *mm = start();

	for (u64 round = check_rounds(20000); round > 0; round--) {
		u64 first = check_below(PAGES),
		    end = first + 1 + check_below(MIN(24, PAGES - first));
		u32 kind = flags[check_below(3)];
		struct vma *v;

		switch (check_below(5)) {
		case 0:
			random_unmap(mm, first, end);
			break;
		case 1:
			random_protect(mm, first, end, kind);
			break;
		case 2:
			v = vma_find(
				mm, page_at(first)); /* a fault: half of the areas get a family */
			CHECK(!v || model[first] != RW || rmap_prepare(v) == 0);
			break;
		default:
			random_map(mm, 1 + check_below(24), 1ul << check_below(4), kind);
		}
		if (round % 8 == 0)
			CHECK_MSG(rmap_check(), "%s", machine_words);
		CHECK_MSG(vma_check(mm), "%s", machine_words);
		for (u64 i = 0; i < PAGES; i++)
			CHECK_EQ(mm_lookup(mm, page_at(i)) ? mm_lookup(mm, page_at(i))->flags : 0,
				model[i]);
	}
	space_empty(mm);
}

/* Without families nothing keeps equal neighbours apart, so the number of areas is the model's too. */
TEST(equal_neighbours_are_one_area)
{
	static const u32 flags[] = {RW, VM_READ};
	struct mm *mm = start();

	memset(model, 0, sizeof(model));
	for (u64 round = check_rounds(10000); round > 0; round--) {
		u64 first = check_below(PAGES),
		    end = first + 1 + check_below(MIN(24, PAGES - first));

		switch (check_below(4)) {
		case 0:
			random_unmap(mm, first, end);
			break;
		case 1:
			random_protect(mm, first, end, flags[check_below(2)]);
			break;
		default:
			random_map(mm, 1 + check_below(24), 1, flags[check_below(2)]);
		}
		compare(mm);
	}
	space_empty(mm);
}

/* ---- the checker finds what is broken ---------------------------------------------------------- */

#define BREAKS(rule, what)                                                                         \
	do {                                                                                       \
		CHECK(vma_check(mm));                                                              \
		what;                                                                              \
		CHECK(!vma_check(mm));                                                             \
		CHECK_MSG(machine_said(rule), "said: %s", machine_words);                          \
	} while (0)

static struct mm *three_areas(struct vma *v[3])
{
	struct mm *mm = start();

	for (u64 i = 0; i < 3; i++)
		v[i] = area(mm, 10 * i, 10 * i + 5, RW);
	return mm;
}

TEST(v1_order_and_overlap)
{
	struct vma *v[3];
	struct mm *mm = three_areas(v);

	BREAKS("V1", v[0]->end = v[1]->start + PAGE_SIZE);
	v[0]->end = page_at(5);
	BREAKS("V1", v[2]->end = v[2]->start);
	v[2]->end = page_at(25);
	BREAKS("V1", v[1]->end += 1);
	v[1]->end -= 1;
	BREAKS("V1", v[2]->end = USER_END + PAGE_SIZE);
	v[2]->end = page_at(25);
	BREAKS("V1", v[0]->start = page_at(12));
	v[0]->start = page_at(0);
	BREAKS("V1", v[1]->mm = NULL);
}

TEST(v2_gaps)
{
	struct vma *v[3];
	struct mm *mm = three_areas(v);

	BREAKS("V2", v[2]->gap++);
	v[2]->gap--;
	BREAKS("V2", tree_entry(mm->vmas.root, struct vma, node)->max_gap++);
}

TEST(v3_numbers)
{
	struct vma *v[3];
	struct mm *mm = three_areas(v);

	BREAKS("V3", mm->nr_vmas++);
	mm->nr_vmas--;
	BREAKS("V3", mm->total_vm++);
}

TEST(v4_cache)
{
	struct vma *v[3];
	struct mm *mm = three_areas(v);

	BREAKS("V4", mm->vma_cache = vma_alloc(mm));
}
