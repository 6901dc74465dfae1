/*
 * test_rmap.c - mm/rmap.c: who maps a page, and how often, against lists of what every space maps.
 */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "fake_machine.h"
#include "fake_space.h"
#include "mm/buddy.h"
#include "mm/kmalloc.h"
#include "mm/lru.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/zero.h"
#include "vmstat.h"
#include <abi/errno.h>

#define MIB  (1ul << 20)
#define BASE 0x7f0000000000ul
#define RW   (VM_READ | VM_WRITE)

static void good(void)
{
	CHECK_MSG(rmap_check(), "%s", machine_words);
}

/* fork of one area into another space: the area joins the family, every leaf is counted once more. */
static struct vma *fork_area(struct mm *child, struct vma *v)
{
	struct vma *n = space_area(child, v->start, v->end, v->flags);
	vaddr_t a = v->start;

	n->pgoff = v->pgoff;
	if (v->anon)
		rmap_link(n, v->anon);
	for (pmd_t *from; (from = pgtable_next_pmd(v->mm, &a, v->end)) != NULL;
		a = pmd_range_end(a, v->end)) {
		pmd_t *to = space_pmd(child, a);

		if (pmd_kind(*from) == ENTRY_LEAF) {
			spin_lock(&child->pt_lock);
			pgtable_deposit(child, to, pgtable_alloc_table(child, false));
			rmap_dup_pmd(pfn_to_page(pmd_pfn(*from)));
			pmd_write(from, pmd_wrprotect(*from));
			pmd_write(to, *from);
			child->nr_anon += 512;
			spin_unlock(&child->pt_lock);
			continue;
		}
		for (vaddr_t at = a; at < pmd_range_end(a, v->end); at += PAGE_SIZE) {
			pte_t *src = pgtable_find_pte(v->mm, at), *dst = space_pte(child, at);

			if (pte_kind(*src) == ENTRY_HOLE)
				continue;
			rmap_dup_pte(pte_pfn(*src));
			pte_write(src, pte_wrprotect(*src));
			pte_write(dst, *src);
			child->nr_anon++;
		}
	}
	return n;
}

/* The areas that a walk for one page meets. */
static struct vma *met[64];
static vaddr_t met_at[64];
static unsigned nr_met;

static bool meet(struct vma *v, vaddr_t addr, void *ctx)
{
	met[nr_met] = v;
	met_at[nr_met++] = addr;
	return !ctx || nr_met < *(unsigned *)ctx;
}

static unsigned walk(struct page *page)
{
	nr_met = 0;
	CHECK(rmap_walk(page_anon(page), page_index(page), page_nr(page), meet, NULL));
	return nr_met;
}

/* ---- families ---------------------------------------------------------------------------------- */

TEST(the_first_fault_makes_a_family)
{
	struct mm *mm;
	struct vma *v;

	space_start(64 * MIB, 1);
	mm = space_create();
	v = space_area(mm, BASE, BASE + MIB, RW);
	buddy_drain_pcp();
	CHECK_EQ(rmap_prepare(v), 0);
	CHECK(v->anon && v->anon->nr_areas == 1 && v->anon->refs == 1);
	CHECK_EQ(rmap_prepare(v), 0);
	CHECK_EQ(v->anon->nr_areas, 1);
	good();
	space_empty(mm);
	good();
}

TEST(a_neighbour_that_may_unite_later_shares_its_family)
{
	struct mm *mm;
	struct vma *a, *b, *c;

	space_start(64 * MIB, 1);
	mm = space_create();
	a = space_area(mm, BASE, BASE + MIB, RW);
	b = space_area(mm, BASE + MIB, BASE + 2 * MIB, VM_READ); /* as mprotect left it */
	/* Advice: never the same. */
	c = space_area(mm, BASE + 2 * MIB, BASE + 3 * MIB, RW | VM_HUGEPAGE);
	CHECK_EQ(rmap_prepare(a), 0);
	CHECK_EQ(rmap_prepare(b), 0);
	CHECK_EQ(rmap_prepare(c), 0);
	CHECK(a->anon == b->anon && c->anon != b->anon);
	good();
	space_empty(mm);
}

TEST(no_memory_for_a_family)
{
	struct mm *mm;
	struct vma *v;
	int failed = 0;

	space_start(64 * MIB, 1);
	mm = space_create();
	for (u64 i = 0; i < 400 && !failed; i++) { /* until the cache wants a slab */
		v = space_area(mm, BASE + 2 * i * PAGE_SIZE, BASE + (2 * i + 1) * PAGE_SIZE, RW);
		buddy_inject_fail(1, -1);
		failed = rmap_prepare(v);
		CHECK(!failed || !v->anon);
		buddy_inject_fail(0, -1);
	}
	CHECK_EQ(failed, -ENOMEM);
	CHECK(buddy_inject_fired > 0);
	good();
	space_empty(mm);
}

TEST(a_walk_meets_every_area_that_may_have_the_page)
{
	struct mm *parent, *child, *grandchild;
	struct vma *p, *c, *g, *upper, *moved;
	struct page *page;
	unsigned stop = 2;

	space_start(64 * MIB, 1);
	parent = space_create();
	child = space_create();
	grandchild = space_create();
	p = space_area(parent, BASE, BASE + 16 * PAGE_SIZE, RW);
	page = space_map_small(p, BASE + 9 * PAGE_SIZE);
	CHECK_EQ(walk(page), 1);
	CHECK(met[0] == p && met_at[0] == BASE + 9 * PAGE_SIZE);

	c = fork_area(child, p);
	g = fork_area(grandchild, c); /* a fork of a fork */
	CHECK_EQ(walk(page), 3);
	good();
	CHECK_EQ(pfn_mapcount(page_to_pfn(page)), 3);

	upper = vma_split(c, BASE + 8 * PAGE_SIZE); /* only one half can have it */
	CHECK_EQ(walk(page), 3);
	for (unsigned i = 0; i < 3; i++)
		CHECK(met[i] != c && met_at[i] == BASE + 9 * PAGE_SIZE);
	good();

	moved = space_area(grandchild, BASE + MIB, BASE + MIB + 4 * PAGE_SIZE,
		RW); /* mremap keeps the index */
	moved->pgoff = g->pgoff + 8;
	rmap_link(moved, g->anon);
	CHECK_EQ(walk(page), 4);
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ(
			met_at[i], met[i] == moved ? BASE + MIB + PAGE_SIZE : BASE + 9 * PAGE_SIZE);
	nr_met = 0;
	CHECK(!rmap_walk(page_anon(page), page_index(page), 1, meet, &stop));
	CHECK_EQ(nr_met, 2);

	space_empty(parent); /* the parent exits first */
	good();
	CHECK_EQ(walk(page), 3);
	CHECK(vma_merge(upper) == c);
	good();
	space_empty(child);
	good();
	space_empty(grandchild);
	CHECK_EQ(page->type, PAGE_FREE);
	good();
}

TEST(a_huge_page_is_met_where_a_part_of_it_lies)
{
	struct mm *mm;
	struct vma *v, *upper;
	struct page *head;

	space_start(64 * MIB, 1);
	mm = space_create();
	v = space_area(mm, BASE, BASE + 4 * MIB, RW);
	head = space_map_huge(v, BASE + 2 * MIB);
	space_split_huge(v, BASE + 2 * MIB);
	upper = vma_split(v, BASE + 3 * MIB);
	CHECK_EQ(walk(head), 2);
	CHECK(met[0] == v && met_at[0] == BASE + 2 * MIB);
	CHECK(met[1] == upper && met_at[1] == BASE + 3 * MIB);
	good();
	space_empty(mm);
}

TEST(a_page_from_a_list_pins_its_family)
{
	struct mm *mm;
	struct vma *v;
	struct page *page;
	struct anon *anon;

	space_start(64 * MIB, 1);
	mm = space_create();
	v = space_area(mm, BASE, BASE + MIB, RW);
	page = space_map_small(v, BASE);
	page_get(page); /* found on a list */
	anon = rmap_pin_anon(page);
	CHECK(anon == v->anon && anon->refs == 2);
	space_empty(mm);
	CHECK_EQ(anon->refs, 1); /* alive, and empty */
	CHECK_EQ(anon->nr_areas, 0);
	CHECK(rmap_walk(anon, 0, 1ul << 36, meet, NULL));
	rmap_unpin_anon(anon);
	CHECK(!rmap_pin_anon(page)); /* not mapped any more: its family's name is old */
	page_put(page);
	good();
}

/* ---- counts ------------------------------------------------------------------------------------ */

static void gauges(u64 pages, u64 huge)
{
	CHECK_EQ(vmstat_read(VM_nr_anon_pages), pages);
	CHECK_EQ(vmstat_read(VM_nr_anon_transparent_hugepages), huge);
	good();
}

TEST(a_page_counts_once)
{
	struct mm *a, *b;
	struct vma *v, *w;
	struct page *page, *head;

	space_start(64 * MIB, 1);
	a = space_create();
	b = space_create();
	v = space_area(a, BASE, BASE + 4 * MIB, RW);
	page = space_map_small(v, BASE);
	head = space_map_huge(v, BASE + 2 * MIB);
	gauges(513, 1);
	CHECK(rmap_pte_exclusive(page_to_pfn(page)) && rmap_pmd_exclusive(head));
	w = fork_area(b, v);
	gauges(513, 1);
	CHECK(!rmap_pte_exclusive(page_to_pfn(page)) && !rmap_pmd_exclusive(head));
	CHECK_EQ(page_refcount(head), 2);
	CHECK_EQ(page_pmd_mapcount(head), 2);

	space_split_huge(w, BASE + 2 * MIB); /* pmd here, ptes there */
	gauges(513, 1);
	CHECK_EQ(page_refcount(head), 513);
	CHECK_EQ(page_pte_mappings(head), 512);
	CHECK_EQ(pfn_mapcount(page_to_pfn(head) + 7), 2);
	CHECK(!(head->flags & PG_DEFERRED));
	space_unmap_small(w, BASE + 2 * MIB + 7 * PAGE_SIZE);
	CHECK_EQ(pfn_mapcount(page_to_pfn(head) + 7), 1);
	gauges(513, 1); /* the parent's pmd still maps frame 7 */
	CHECK(!(head->flags & PG_DEFERRED));

	space_unmap_huge(v, BASE + 2 * MIB);
	gauges(512, 0); /* nobody maps frame 7 now */
	CHECK(head->flags & PG_DEFERRED);
	CHECK(rmap_pte_exclusive(page_to_pfn(head)));
	page_get(head); /* a pin: somebody reads it */
	CHECK(!rmap_pte_exclusive(page_to_pfn(head)));
	page_put(head);
	space_empty(a);
	gauges(512, 0);
	space_empty(b);
	gauges(0, 0);
	CHECK_EQ(lru.deferred.count, 0);
	CHECK(buddy_check() && lru_check());
}

TEST(a_huge_page_is_queued_when_a_frame_is_mapped_by_nobody)
{
	struct mm *a, *b;
	struct vma *v, *w;
	struct page *head;

	space_start(64 * MIB, 1);
	a = space_create();
	b = space_create();
	v = space_area(a, BASE, BASE + 2 * MIB, RW);
	head = space_map_huge(v, BASE);
	w = fork_area(b, v);
	space_split_huge(v, BASE);
	space_split_huge(w, BASE);
	gauges(512, 0);
	space_unmap_small(v, BASE); /* still 1,023 ptes, and frame 0 has one */
	CHECK(!(head->flags & PG_DEFERRED));
	CHECK(!rmap_pte_exclusive(page_to_pfn(head) + 1) && rmap_pte_exclusive(page_to_pfn(head)));
	space_unmap_small(w, BASE);
	CHECK(head->flags & PG_DEFERRED);
	gauges(511, 0);
	space_empty(a);
	space_empty(b);
	gauges(0, 0);
}

/*
 * The hard place: one space removes the last pmd while another removes the last ptes. Each CPU holds
 * its own pt_lock; only huge_locks[] keeps the counts together.
 */
static struct page *raced;
static u32 arrived;
static volatile bool race_over;

/* Both go on within some nanoseconds: a barrier that sleeps would wake one of them too late. */
static void meet_other(void)
{
	u32 goal = (__atomic_fetch_add(&arrived, 1, __ATOMIC_ACQ_REL) | 1) + 1;

	for (u32 polls = 1; __atomic_load_n(&arrived, __ATOMIC_ACQUIRE) < goal; polls++)
		if (polls % 65536 == 0)
			usleep(1);
}

static void *removes_ptes(void *arg)
{
	(void)arg;
	machine_cpu = 1;
	for (;;) {
		meet_other();
		if (race_over)
			return NULL;
		for (u64 i = 0; i < 512; i++)
			rmap_remove_pte(page_to_pfn(raced) + i);
		meet_other();
	}
}

TEST(two_cpus_unmap_one_huge_page)
{
	struct mm *mm;
	struct vma *v;
	pthread_t thread;

	space_start(64 * MIB, 2);
	mm = space_create();
	v = space_area(mm, BASE, BASE + 2 * MIB, RW);
	pthread_create(&thread, NULL, removes_ptes, NULL);
	for (u64 round = check_rounds(6000); round > 0; round--) {
		raced = buddy_alloc(HPAGE_PMD_ORDER, MIGRATE_MOVABLE, PAGE_ANON_HUGE, 0);
		rmap_new_anon_huge(raced, v, BASE);
		rmap_dup_pmd(raced);
		rmap_pmd_to_ptes(raced);
		CHECK_EQ(vmstat_read(VM_nr_anon_pages), 512);
		meet_other();
		for (u64 wait = check_below(20000); wait > 0; wait--)
			asm volatile("");
		rmap_remove_pmd(raced);
		meet_other();
		CHECK_EQ((s64)(cpus[0]->stats[VM_nr_anon_pages] + cpus[1]->stats[VM_nr_anon_pages]),
			0);
		CHECK_EQ(page_total_mapcount(raced), 0);
		page_put_many(raced, 513);
	}
	race_over = true;
	meet_other();
	pthread_join(thread, NULL);
	CHECK_EQ(vmstat_read(VM_nr_anon_transparent_hugepages), 0);
	space_empty(mm);
}

/* ---- a random run: several spaces, forks, splits, unmaps, exits ---------------------------------- */

#define SPACES 5
#define PMDS   3
#define PAGES  (PMDS * 512)

static struct mm *spaces[SPACES];
static pfn_t model[SPACES][PAGES]; /* which frame each page of each space maps; 0: none */

static struct vma *area_at(unsigned s, u64 page)
{
	return mm_lookup(spaces[s], BASE + page * PAGE_SIZE);
}

static pmd_t pmd_of(unsigned s, u64 page)
{
	pmd_t *pmdp = pgtable_find_pmd(spaces[s], BASE + page * PAGE_SIZE);

	return pmdp ? pmd_read(pmdp) : (pmd_t){0};
}

static void random_fault(unsigned s, u64 page)
{
	struct vma *v = area_at(s, page);
	vaddr_t addr = BASE + page * PAGE_SIZE;

	if (!v || model[s][page])
		return;
	if (pmd_kind(pmd_of(s, page)) == ENTRY_HOLE && vma_covers_huge(v, addr) && check_below(3)) {
		pfn_t pfn = page_to_pfn(space_map_huge(v, addr & HPAGE_PMD_MASK));

		for (u64 i = 0; i < 512; i++)
			model[s][(page & ~511ul) + i] = pfn + i;
	} else {
		model[s][page] = page_to_pfn(space_map_small(v, addr));
	}
}

static void random_split(unsigned s, u64 page)
{
	struct vma *v = area_at(s, page);

	if (v && pmd_kind(pmd_of(s, page)) == ENTRY_LEAF)
		space_split_huge(v, BASE + (page & ~511ul) * PAGE_SIZE);
}

/* As the verb in mmap.c: a huge leaf that a cut goes through is split first. */
static void cut(unsigned s, u64 page)
{
	struct vma *v = page < PAGES ? area_at(s, page) : NULL;

	if (!v || v->start == BASE + page * PAGE_SIZE)
		return;
	if (page % 512)
		random_split(s, page);
	CHECK(vma_split(v, BASE + page * PAGE_SIZE));
}

static void random_unmap(unsigned s, u64 first, u64 end, bool whole)
{
	struct vma *v;

	cut(s, first);
	cut(s, end);
	while ((v = vma_find_from(spaces[s], BASE + first * PAGE_SIZE)) &&
		v->start < BASE + end * PAGE_SIZE) {
		space_unmap_range(v, v->start, v->end);
		if (!whole)
			break;
		space_area_free(v);
	}
	for (u64 i = first; i < end; i++)
		if (whole ||
			(v && v->start <= BASE + i * PAGE_SIZE && BASE + i * PAGE_SIZE < v->end))
			model[s][i] = 0;
	v = vma_find_from(spaces[s], 0);
	while (v) {
		v = vma_merge(v);
		v = vma_next(v);
	}
}

static void random_fork(unsigned s, unsigned to)
{
	struct vma *v;

	if (!spaces[s] || spaces[to])
		return;
	spaces[to] = space_create();
	for (v = vma_first(spaces[s]); v; v = vma_next(v))
		fork_area(spaces[to], v);
	memcpy(model[to], model[s], sizeof(model[s]));
}

static void random_exit(unsigned s)
{
	space_empty(spaces[s]);
	spaces[s] = NULL;
	memset(model[s], 0, sizeof(model[s]));
}

static void random_begin(unsigned s)
{
	spaces[s] = space_create();
	space_area(spaces[s], BASE, BASE + PMDS * PMD_SIZE, RW);
}

/* Mappings of each frame by the model: a page counts once, and pfn_mapcount is how often it is named. */
static void compare(void)
{
	static u32 named[16384];
	u64 pages = 0;

	memset(named, 0, sizeof(named));
	for (unsigned s = 0; s < SPACES; s++)
		for (u64 i = 0; spaces[s] && i < PAGES; i++)
			if (model[s][i] && named[model[s][i]]++ == 0)
				pages++;
	for (unsigned s = 0; s < SPACES; s++)
		for (u64 i = 0; spaces[s] && i < PAGES; i += 3) {
			pfn_t pfn = model[s][i];

			if (!pfn)
				continue;
			CHECK_EQ(pfn_mapcount(pfn), named[pfn]);
			if (pmd_kind(pmd_of(s, i)) == ENTRY_TABLE)
				CHECK_EQ(rmap_pte_exclusive(pfn), named[pfn] == 1);
		}
	CHECK_EQ(vmstat_read(VM_nr_anon_pages), pages);
}

TEST(random_spaces_are_what_lists_say)
{
	space_start(64 * MIB, 1);
	random_begin(0);
	for (u64 round = check_rounds(3000); round > 0; round--) {
		unsigned s = check_below(SPACES);
		u64 page = check_below(PAGES), end = page + 1 + check_below(100);

		if (!spaces[s]) {
			unsigned from = check_below(SPACES);

			if (spaces[from])
				random_fork(from, s);
			else if (check_below(4) == 0)
				random_begin(s);
			continue;
		}
		switch (check_below(16)) {
		case 0:
			random_exit(s);
			break;
		case 1:
		case 2:
			random_split(s, page);
			break;
		case 3:
			random_unmap(s, page, MIN(end, PAGES), check_below(4) == 0);
			break;
		case 4:
			random_unmap(s, page & ~511ul, (page | 511) + 1, check_below(4) == 0);
			break;
		default:
			random_fault(s, page);
		}
		compare();
		if (round % 16 == 0) {
			good();
			for (unsigned i = 0; i < SPACES; i++)
				CHECK(!spaces[i] ||
					(pgtable_check(spaces[i]) && vma_check(spaces[i])));
		}
	}
	for (unsigned s = 0; s < SPACES; s++)
		if (spaces[s])
			random_exit(s);
	gauges(0, 0);
	CHECK_EQ(vmstat_read(VM_nr_page_table_pages), 0);
	CHECK(buddy_check() && lru_check() && kmalloc_check());
}

/* ---- the checker finds what is broken ---------------------------------------------------------- */

static struct mm *mm;
static struct vma *area, *child_area;
static struct page *small, *huge;

static void parent_and_child(void)
{
	struct mm *child;

	space_start(64 * MIB, 1);
	mm = space_create();
	child = space_create();
	area = space_area(mm, BASE, BASE + 8 * MIB, RW);
	small = space_map_small(area, BASE);
	huge = space_map_huge(area, BASE + 2 * MIB);
	child_area = fork_area(child, area);
	space_split_huge(child_area, BASE + 2 * MIB);
	good();
}

#define SPOIL(rule, field, value)                                                                  \
	do {                                                                                       \
		__typeof__(field) was_ = (field);                                                  \
		good();                                                                            \
		(field) = (value);                                                                 \
		CHECK(!rmap_check());                                                              \
		CHECK_MSG(machine_said(rule), "said: %s", machine_words);                          \
		(field) = was_;                                                                    \
	} while (0)

TEST(r1_a_leaf_that_the_map_does_not_know)
{
	parent_and_child();
	SPOIL("R1", small->private, 8);
	SPOIL("R1", small->index_low, small->index_low + 1);
	SPOIL("R1", huge->index_low, huge->index_low + 512);
	SPOIL("R1", area->anon, NULL);
	SPOIL("R1", small->type, PAGE_KERNEL);
}

TEST(r2_counts)
{
	parent_and_child();
	SPOIL("R2", small->mapcount, 3);
	SPOIL("R2", huge[7].mapcount, 0);
	SPOIL("R2", huge[1].refcount, 2);
	SPOIL("R2", huge[1].private, 511);
}

TEST(r3_references)
{
	parent_and_child();
	SPOIL("R3", small->refcount, 1);
	SPOIL("R3", huge->refcount, 512);
}

TEST(r4_families)
{
	parent_and_child();
	SPOIL("R4", area->anon->nr_areas, 3);
	SPOIL("R4", area->anon->refs, 1);
	SPOIL("R4", area->anon_last_max, 1);
	SPOIL("R4", area->anon_node.height, 0);
}

TEST(r5_gauges)
{
	parent_and_child();
	SPOIL("R5", mm->nr_anon, mm->nr_anon + 1);
	SPOIL("R5", cpus[0]->stats[VM_nr_anon_pages], 512);
	SPOIL("R5", cpus[0]->stats[VM_nr_anon_transparent_hugepages], 0);
}
