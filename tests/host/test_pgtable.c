/*
 * test_pgtable.c - mm/pgtable.c and mm/mm.c: tables of a space, against a map of pages.
 */
#include <pthread.h>
#include <string.h>

#include "check.h"
#include "fake_machine.h"
#include "fake_space.h"
#include "mm/buddy.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/zero.h"
#include "vmstat.h"
#include <abi/errno.h>

#define MIB  (1ul << 20)
#define BASE 0x7f0000000000ul
#define RW   (VM_READ | VM_WRITE)

static struct mm *mm; /* of the test that runs */

static void start(void)
{
	space_start(64 * MIB, 2);
	mm = space_create();
}

static struct pt_walk walk(vaddr_t addr)
{
	struct pt_walk w;

	pgtable_walk(mm->pgd, addr, &w);
	return w;
}

static void good(void)
{
	CHECK_MSG(pgtable_check(mm), "%s", machine_words);
	CHECK_EQ(pgtable_count_tables(mm), mm->nr_tables);
}

/* Ends a test: everything goes back, to the last frame. */
static u64 free_before;

static void start_counted(void)
{
	space_start(64 * MIB, 2);
	mm = space_create(); /* what the caches keep for good is there now */
	space_empty(mm);
	free_before = buddy_free_pages();
	mm = space_create();
}

static void end_counted(void)
{
	good();
	space_empty(mm);
	zero_huge_shrink();
	/* kmalloc may keep a slab of each cache */
	CHECK(free_before - buddy_free_pages() <= 4);
	CHECK_EQ(vmstat_read(VM_nr_page_table_pages), 0);
	CHECK_EQ(vmstat_read(VM_nr_anon_pages), 0);
	CHECK_EQ(vmstat_read(VM_nr_anon_transparent_hugepages), 0);
	CHECK(buddy_check());
}

/* ---- spaces ------------------------------------------------------------------------------------ */

static bool count_spaces(struct mm *m, void *ctx)
{
	CHECK(m->refs >= 2);
	return ++*(int *)ctx < 3;
}

TEST(a_space_has_the_kernel_half)
{
	const pgd_t *kernel;

	start();
	kernel = phys_to_virt(tlb_kernel_root);
	for (unsigned i = 0; i < 512; i++)
		CHECK_EQ(mm->pgd[i].v, i < 256 ? 0 : kernel[i].v);
	CHECK(mm->users == 1 && mm->refs == 1 && mm->nr_tables == 0);
	CHECK_EQ(pfn_type(mm->pgd_pa >> PAGE_SHIFT), PAGE_TABLE);
	good();
}

TEST(spaces_are_counted_and_listed)
{
	struct mm *others[3];
	int n = 0;

	start();
	mm_for_each(count_spaces, &n);
	CHECK_EQ(n, 1);
	for (int i = 0; i < 3; i++)
		others[i] = space_create();
	CHECK(others[0]->id != others[1]->id);
	n = 0;
	mm_for_each(count_spaces, &n);
	CHECK_EQ(n, 3); /* stopped there */
	CHECK(mm_get_user(others[0]) && !mm_drop_user(others[0]));
	mm_get(others[0]);
	CHECK(mm_drop_user(others[0]));
	CHECK(!mm_get_user(others[0])); /* too late */
	mm_put(others[0]);
	n = 0;
	mm_for_each(count_spaces, &n);
	CHECK_EQ(n, 3);
	mm_put(others[0]);
	mm_drop_user(others[1]);
	mm_put(others[1]);
	n = 0;
	mm_for_each(count_spaces, &n);
	CHECK_EQ(n, 2);
}

TEST(a_root_in_use_is_not_freed)
{
	start();
	machine_cpu = 1;
	mm_switch(mm);
	CHECK_EQ(mm->tlb.cpus, 2);
	machine_cpu = 0;
	CHECK_PANICS("M2", mm_free_root(mm));
	machine_cpu = 1;
	mm_switch(NULL);
	space_pmd(mm, BASE);
	CHECK_PANICS("M2", mm_free_root(mm));
}

TEST(no_memory_for_a_space)
{
	start();
	buddy_inject_fail(1, 0);
	CHECK(!mm_create());
	CHECK_EQ(buddy_inject_fired, 1);
	buddy_inject_fail(0, -1);
	CHECK(buddy_check());
}

/* ---- finding and making ------------------------------------------------------------------------ */

TEST(tables_are_made_once)
{
	pud_t *pudp;
	pmd_t *pmdp;

	start();
	CHECK(!pgtable_find_pmd(mm, BASE) && !pgtable_find_pte(mm, BASE));
	CHECK_EQ(walk(BASE).levels, 1);
	CHECK_EQ(walk(BASE).kind, ENTRY_HOLE);
	pudp = pgtable_make_pud(mm, BASE);
	CHECK(pudp && pgtable_make_pud(mm, BASE) == pudp);
	CHECK_EQ(mm->nr_tables, 1);
	CHECK(!pgtable_find_pmd(mm, BASE));
	pmdp = pgtable_make_pmd(mm, pudp, BASE);
	CHECK(pmdp && pgtable_make_pmd(mm, pudp, BASE) == pmdp);
	CHECK_EQ(mm->nr_tables, 2);
	CHECK(pgtable_find_pmd(mm, BASE) == pmdp && !pgtable_find_pte(mm, BASE));
	CHECK_EQ(pgtable_make_pte(mm, pmdp), 0);
	CHECK_EQ(pgtable_make_pte(mm, pmdp), 0);
	CHECK_EQ(mm->nr_tables, 3);
	CHECK_EQ(vmstat_read(VM_nr_page_table_pages), 3);
	CHECK(pgtable_find_pte(mm, BASE + 5 * PAGE_SIZE) == pte_ptr(pmd_read(pmdp), 0) + 5);
	CHECK_EQ(walk(BASE).levels, 4);
	CHECK_EQ(page_index(pfn_to_page(pmd_pfn(pmd_read(pmdp)))), 1);
	good();
}

TEST(each_refused_table_is_an_error)
{
	start();
	for (int k = 1; k <= 3; k++) {
		pud_t *pudp;
		pmd_t *pmdp;

		buddy_inject_fail(k, 0);
		pudp = pgtable_make_pud(mm, BASE);
		CHECK_EQ(pudp == NULL, k == 1);
		pmdp = pudp ? pgtable_make_pmd(mm, pudp, BASE) : NULL;
		CHECK_EQ(pmdp == NULL, k <= 2);
		CHECK_EQ(pmdp ? pgtable_make_pte(mm, pmdp) : 1, k == 3 ? -ENOMEM : 1);
		CHECK_EQ(buddy_inject_fired, 1);
		buddy_inject_fail(0, -1);
		good();
		pgtable_free_range(mm, BASE, BASE + PAGE_SIZE, 0, USER_END);
		CHECK_EQ(mm->nr_tables, 0);
	}
	buddy_inject_fail(1, 0);
	CHECK(!pgtable_alloc_table(mm, true));
	buddy_inject_fail(0, -1);
}

TEST(a_huge_leaf_in_the_way_is_said)
{
	struct vma *v;

	start_counted();
	v = space_area(mm, BASE, BASE + 4 * MIB, RW);
	space_map_huge(v, BASE);
	CHECK_EQ(pgtable_make_pte(mm, pgtable_find_pmd(mm, BASE)), -EEXIST);
	CHECK(!pgtable_find_pte(mm, BASE));
	end_counted();
}

TEST(a_walk_tells_rights_of_all_levels)
{
	struct vma *v, *r;
	struct page *small, *huge;
	struct pt_walk w;

	start_counted();
	v = space_area(mm, BASE, BASE + 8 * MIB, RW);
	r = space_area(mm, BASE + 16 * MIB, BASE + 17 * MIB, VM_READ | VM_EXEC);
	small = space_map_small(v, BASE + 3 * PAGE_SIZE);
	huge = space_map_huge(v, BASE + 4 * MIB);
	w = walk(BASE + 3 * PAGE_SIZE + 0x123);
	CHECK_EQ(w.levels, 4);
	CHECK_EQ(w.kind, ENTRY_LEAF);
	CHECK_EQ(w.pa, page_to_phys(small) + 0x123);
	CHECK_EQ(w.size, PAGE_SIZE);
	CHECK_EQ(w.rights, PTE_RW | PTE_US | PTE_NX);
	w = walk(BASE + 5 * MIB + 7);
	CHECK_EQ(w.levels, 3);
	CHECK_EQ(w.pa, page_to_phys(huge) + MIB + 7);
	CHECK_EQ(w.size, HPAGE_PMD_SIZE);
	space_map_small(r, r->start);
	CHECK_EQ(walk(r->start).rights, PTE_US);
	r->flags = 0; /* mprotect(PROT_NONE): the frame stays, inverted */
	pte_write(space_pte(mm, r->start),
		pte_modify(pte_read(space_pte(mm, r->start)), vma_rights(r)));
	w = walk(r->start);
	CHECK_EQ(w.kind, ENTRY_LEAF);
	CHECK(w.entry[3] & PTE_PROTNONE && !(w.entry[3] & PTE_P));
	CHECK_EQ(pfn_type(w.pa >> PAGE_SHIFT), PAGE_ANON);
	end_counted();
}

TEST(the_next_pmd_skips_what_is_empty)
{
	vaddr_t far = BASE + PGD_SIZE + 5 * PUD_SIZE + 7 * PMD_SIZE, a = 0;
	pmd_t *pmdp;

	start();
	CHECK(!pgtable_next_pmd(mm, &a, USER_END));
	space_pte(mm, BASE + 511 * PMD_SIZE + 8 * PAGE_SIZE);
	space_pte(mm, far);
	a = BASE + 2 * PAGE_SIZE;
	pmdp = pgtable_next_pmd(mm, &a, USER_END);
	CHECK_EQ(a, BASE + 511 * PMD_SIZE);
	CHECK(pmdp == pgtable_find_pmd(mm, a));
	a = BASE + 511 * PMD_SIZE + 4 * PAGE_SIZE;
	CHECK(pgtable_next_pmd(mm, &a, USER_END) == pmdp);
	CHECK_EQ(a, BASE + 511 * PMD_SIZE + 4 * PAGE_SIZE); /* where it meets the range */
	a = pmd_range_end(a, USER_END);
	CHECK(pgtable_next_pmd(mm, &a, far) == NULL);
	a = BASE + PUD_SIZE;
	CHECK(pgtable_next_pmd(mm, &a, USER_END) && a == far);
	CHECK_EQ(pmd_range_end(far + 5, far + 9), far + 9);
}

/* ---- splitting --------------------------------------------------------------------------------- */

TEST(a_split_translates_as_before)
{
	static const u64 bits[] = {0, PTE_A, PTE_D | PTE_A, PTE_D};
	struct vma *v;

	start_counted();
	v = space_area(mm, BASE, BASE + 16 * MIB, RW);
	for (u64 k = 0; k < 4; k++) {
		vaddr_t haddr = BASE + k * HPAGE_PMD_SIZE;
		struct page *huge = space_map_huge(v, haddr);
		pmd_t *pmdp = pgtable_find_pmd(mm, haddr);

		pmd_write(pmdp, (pmd_t){(pmdp->v & ~(PTE_A | PTE_D)) | bits[k]});
		good();
		space_split_huge(v, haddr);
		good();
		for (u64 i = 0; i < 512; i++) {
			struct pt_walk w = walk(haddr + i * PAGE_SIZE);

			CHECK_EQ(w.pa, page_to_phys(huge) + i * PAGE_SIZE);
			CHECK_EQ(w.rights, PTE_RW | PTE_US | PTE_NX);
			CHECK_EQ(w.entry[3] & (PTE_A | PTE_D | PTE_PS), bits[k]);
		}
	}
	end_counted();
}

TEST(a_leaf_without_access_splits_too)
{
	struct vma *v;
	struct page *huge;
	pmd_t *pmdp;

	start_counted();
	v = space_area(mm, BASE, BASE + 2 * MIB, RW);
	huge = space_map_huge(v, BASE);
	pmdp = pgtable_find_pmd(mm, BASE);
	v->flags = 0;
	pmd_write(pmdp, pmd_modify(pmd_read(pmdp), vma_rights(v)));
	good();
	space_split_huge(v, BASE);
	good();
	for (u64 i = 0; i < 512; i++) {
		pte_t pte = pte_read(pgtable_find_pte(mm, BASE + i * PAGE_SIZE));

		CHECK(pte_protnone(pte) && !pte_present(pte));
		CHECK_EQ(pte_pfn(pte), page_to_pfn(huge) + i);
	}
	end_counted();
}

/* A leaf of 1 GiB over frames this machine does not have: nothing here reads them. */
static void split_a_gigabyte(u64 rights)
{
	const pfn_t first = 3ul << 18;
	vaddr_t a = BASE, at = BASE & HPAGE_PUD_MASK;
	struct page *pmds;
	pud_t *pudp;

	start();
	pudp = pgtable_make_pud(mm, at);
	pmds = pgtable_alloc_pmds(mm);
	CHECK(pmds && pmds->mapcount == 512 && page_index(pmds) == 2);
	CHECK_EQ(mm->nr_tables, 1); /* not deposited: not counted */
	spin_lock(&mm->pt_lock);
	pgtable_deposit_pmds(mm, pudp, pmds);
	pud_write(pudp, pud_make_huge(first, rights));
	CHECK_EQ(mm->nr_tables, 1 + 513);
	CHECK_EQ(pgtable_count_tables(mm), 1 + 513);
	CHECK(pgtable_next_pud(mm, &a, USER_END) == pudp && a == BASE);
	CHECK(!pgtable_find_pmd(mm, BASE)); /* passed over; who looks sees its parts */
	CHECK_EQ(pmd_pfn(pgtable_look_pmd(mm, at + 7 * PMD_SIZE)), first + 7 * HPAGE_PMD_NR);

	pgtable_split_pud(mm, pudp);
	CHECK_EQ(pgtable_count_tables(mm), mm->nr_tables);
	for (u64 i = 0; i < PTRS_PER_TABLE; i++) {
		pmd_t pmd = pmd_read(pgtable_find_pmd(mm, at + i * PMD_SIZE));

		CHECK_EQ(pmd_kind(pmd), ENTRY_LEAF);
		CHECK_EQ(pmd_pfn(pmd), first + i * HPAGE_PMD_NR);
		CHECK_EQ(pmd.v & PTE_RW, rights & PTE_RW);
		CHECK_EQ(pmd.v & (PTE_A | PTE_D), rights & (PTE_A | PTE_D));
		CHECK_EQ(pmd_present(pmd), !!(rights & PTE_P));
	}
	a = BASE;
	CHECK(!pgtable_next_pud(mm, &a, USER_END));
	for (u64 i = 0; i < PTRS_PER_TABLE; i++) { /* each has its deposit */
		pmd_t *pmdp = pgtable_find_pmd(mm, at + i * PMD_SIZE);

		pmd_take(pmdp);
		pgtable_free_table(pgtable_withdraw(mm, pmdp));
	}
	CHECK_EQ(mm->nr_tables, 2);
	spin_unlock(&mm->pt_lock);
	good();
}

TEST(a_gigabyte_splits_into_huge_leaves)
{
	split_a_gigabyte(PTE_P | PTE_RW | PTE_US | PTE_NX | PTE_A | PTE_D);
}

TEST(a_gigabyte_without_access_splits_too)
{
	split_a_gigabyte(PTE_RW | PTE_US | PTE_NX | PTE_A);
}

TEST(a_gigabytes_tables_come_all_or_none)
{
	u64 free;

	start();
	pgtable_make_pud(mm, BASE);
	pgtable_free_pmds(pgtable_alloc_pmds(mm));
	free = buddy_free_pages();
	buddy_inject_fail(300, 0);
	CHECK(!pgtable_alloc_pmds(mm));
	CHECK_EQ(buddy_inject_fired, 1);
	buddy_inject_fail(0, -1);
	CHECK_EQ(buddy_free_pages(), free);
	good();
}

TEST(the_huge_zero_page_splits_into_the_small_one)
{
	struct vma *v;

	start_counted();
	v = space_area(mm, BASE, BASE + 4 * MIB, RW);
	space_map_huge_zero(v, BASE);
	good();
	space_split_huge(v, BASE);
	good();
	for (u64 i = 0; i < 512; i++) {
		pte_t pte = pte_read(pgtable_find_pte(mm, BASE + i * PAGE_SIZE));

		CHECK_EQ(pte_pfn(pte), zero_pfn);
		CHECK(!pte_writable(pte) && !pte_dirty(pte) && pte_present(pte) && pte.v & PTE_NX);
	}
	end_counted();
}

TEST(a_split_without_a_deposit_is_a_bug)
{
	struct vma *v;
	pmd_t *pmdp;

	start();
	v = space_area(mm, BASE, BASE + 4 * MIB, RW);
	space_map_huge(v, BASE);
	pmdp = pgtable_find_pmd(mm, BASE);
	spin_lock(&mm->pt_lock);
	pgtable_free_table(pgtable_withdraw(mm, pmdp));
	CHECK_PANICS("T3", pgtable_split_pmd(mm, BASE, pmdp));
	spin_unlock(&mm->pt_lock);
	CHECK_PANICS("lock", pgtable_deposit(mm, pmdp, pgtable_alloc_table(mm, false)));
}

/* Another CPU of the space: writes through the huge leaf as the hardware does, setting A and D in it. */
static pmd_t *written;
static volatile int rounds_left;
static volatile bool landed; /* the write found a huge leaf */

static void *other_cpu(void *arg)
{
	u32 random = 1;

	(void)arg;
	machine_cpu = 1;
	while (__atomic_load_n(&rounds_left, __ATOMIC_ACQUIRE)) {
		u64 old = READ_ONCE(written->v);

		random = random * 1664525 + 1013904223;
		for (u32 wait = random >> 22; wait > 0 && old & PTE_PS; wait--)
			asm volatile("");
		old = READ_ONCE(written->v);
		if (old & PTE_PS && !(old & PTE_D) &&
			__atomic_compare_exchange_n(&written->v, &old, old | PTE_A | PTE_D, false,
				__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			landed = true;
	}
	return NULL;
}

TEST(a_late_dirty_bit_is_not_lost)
{
	pthread_t thread;
	struct vma *v;
	u64 leaf;

	start();
	v = space_area(mm, BASE, BASE + 4 * MIB, RW);
	space_map_huge(v, BASE);
	written = pgtable_find_pmd(mm, BASE);
	leaf = written->v & ~(PTE_A | PTE_D);
	rounds_left = (int)check_rounds(10000);
	pthread_create(&thread, NULL, other_cpu, NULL);
	for (int n = rounds_left; n > 0; n--) {
		struct page *table;
		pte_t *ptes;

		landed = false;
		__atomic_store_n(&written->v, leaf, __ATOMIC_SEQ_CST);
		spin_lock(&mm->pt_lock);
		pgtable_split_pmd(mm, BASE, written);
		ptes = pte_ptr(pmd_read(written), BASE);
		for (unsigned i = 0; i < 512; i++)
			CHECK_EQ(ptes[i].v & PTE_D, ptes[0].v & PTE_D);
		while (!landed && ptes[0].v & PTE_D)
			; /* its exchange is done, its note is not yet written */
		CHECK_EQ(landed, !!(ptes[0].v & PTE_D));
		table = pfn_to_page(pmd_pfn(pmd_read(written)));
		pgtable_redeposit(mm, written, table);
		spin_unlock(&mm->pt_lock);
	}
	rounds_left = 0;
	pthread_join(thread, NULL);
}

/* ---- giving back ------------------------------------------------------------------------------- */

TEST(tables_that_a_neighbour_needs_stay)
{
	vaddr_t mid = BASE + PUD_SIZE; /* a pmd table on each side */

	start();
	space_pte(mm, mid - 4 * PAGE_SIZE);
	space_pte(mm, mid);
	space_pte(mm, mid + PMD_SIZE);
	CHECK_EQ(mm->nr_tables, 6);
	/* [mid, mid + 4 KiB) goes; an area ends at mid - 3 pages, another begins 8 KiB above */
	pgtable_free_range(mm, mid, mid + PAGE_SIZE, mid - 3 * PAGE_SIZE, mid + 2 * PAGE_SIZE);
	CHECK_EQ(mm->nr_tables, 6);
	/* the next area begins in the next pte table: ours goes, the pmd table stays */
	pgtable_free_range(mm, mid, mid + PAGE_SIZE, mid - 3 * PAGE_SIZE, mid + PMD_SIZE);
	CHECK_EQ(mm->nr_tables, 5);
	CHECK_EQ(space_flushes[TLB_unmap], 1);
	good();
	/* nothing above: the pmd table of this side goes too */
	pgtable_free_range(mm, mid + PMD_SIZE, mid + 2 * PMD_SIZE, mid - 3 * PAGE_SIZE, USER_END);
	CHECK_EQ(mm->nr_tables, 3);
	good();
	pgtable_free_range(mm, mid - 4 * PAGE_SIZE, mid - 3 * PAGE_SIZE, 0, USER_END);
	CHECK_EQ(mm->nr_tables, 0);
	CHECK_EQ(vmstat_read(VM_nr_page_table_pages), 0);
	space_pte(mm, USER_END - PAGE_SIZE); /* the last page of all */
	pgtable_free_range(mm, USER_END - PAGE_SIZE, USER_END, 0, USER_END);
	CHECK_EQ(mm->nr_tables, 0);
	space_empty(mm);
}

TEST(a_table_with_something_in_it_is_not_freed)
{
	struct vma *v;

	start();
	v = space_area(mm, BASE, BASE + 4 * MIB, RW);
	space_map_small(v, BASE);
	CHECK_PANICS("assert", pgtable_free_range(mm, BASE, BASE + PAGE_SIZE, 0, USER_END));
	space_map_huge(v, BASE + 2 * MIB);
	CHECK_PANICS(NULL, pgtable_free_range(mm, BASE + 2 * MIB, BASE + 4 * MIB, 0, USER_END));
}

TEST(tables_go_back_only_after_the_flush)
{
	start();
	machine_cpu = 1;
	mm_switch(mm);
	machine_cpu = 0;
	tlb_skip_ack = 1u << TLB_unmap;
	space_pte(mm, BASE);
	CHECK_PANICS("tlb-gen", pgtable_free_range(mm, BASE, BASE + PAGE_SIZE, 0, USER_END));
}

/* ---- a random run against a map of pages ------------------------------------------------------- */

#define PMDS  6 /* around a pud boundary */
#define PAGES (PMDS * 512)
static const vaddr_t window = BASE + 512 * PUD_SIZE - 3 * PMD_SIZE;

enum kind {
	HOLE,
	SMALL,
	HUGE,
	ZERO,
	HUGE_ZERO
};
static struct model {
	enum kind kind; /* HUGE and HUGE_ZERO in all 512 */
	pfn_t pfn;
	bool writable;
} model[PAGES];

static bool pmd_is(u64 m, enum kind kind)
{
	for (u64 i = 0; i < 512; i++)
		if (model[m * 512 + i].kind != kind)
			return false;
	return true;
}

static bool has_table(u64 m)
{
	pmd_t *pmdp = pgtable_find_pmd(mm, window + m * PMD_SIZE);

	return pmdp && pmd_kind(pmd_read(pmdp)) == ENTRY_TABLE;
}

static void model_set(u64 first, u64 nr, enum kind kind, pfn_t pfn, bool writable)
{
	for (u64 i = 0; i < nr; i++)
		model[first + i] =
			(struct model){kind, kind == ZERO || !pfn ? pfn : pfn + i, writable};
}

static void random_map(struct vma *v, u64 page)
{
	u64 m = page / 512, first = m * 512;
	vaddr_t addr = window + page * PAGE_SIZE, haddr = window + m * PMD_SIZE;

	if (model[page].kind != HOLE)
		return;
	if (!has_table(m) && pmd_is(m, HOLE) && check_below(2)) {
		if (check_below(2)) {
			model_set(first, 512, HUGE, page_to_pfn(space_map_huge(v, haddr)), true);
		} else {
			space_map_huge_zero(v, haddr);
			model_set(first, 512, HUGE_ZERO, zero_huge_pfn, false);
		}
	} else if (check_below(3)) {
		model_set(page, 1, SMALL, page_to_pfn(space_map_small(v, addr)), true);
	} else {
		space_map_zero(v, addr);
		model_set(page, 1, ZERO, zero_pfn, false);
	}
}

static void random_split(struct vma *v, u64 m)
{
	if (pmd_is(m, HUGE)) {
		space_split_huge(v, window + m * PMD_SIZE);
		for (u64 i = 0; i < 512; i++)
			model[m * 512 + i].kind = SMALL;
	} else if (pmd_is(m, HUGE_ZERO)) {
		space_split_huge(v, window + m * PMD_SIZE);
		model_set(m * 512, 512, ZERO, zero_pfn, false);
	}
}

static void random_unmap(struct vma *v, u64 first, u64 nr)
{
	nr = MIN(nr, PAGES - first);
	space_unmap_range(v, window + first * PAGE_SIZE, window + (first + nr) * PAGE_SIZE);
	/* a split zero page became small zeroes in the rest of its 2 MiB */
	for (u64 m = 0; m < PMDS; m++)
		for (u64 i = m * 512; has_table(m) && i < m * 512 + 512; i++) {
			if (model[i].kind == HUGE)
				model[i].kind = SMALL;
			if (model[i].kind == HUGE_ZERO)
				model[i] = (struct model){ZERO, zero_pfn, false};
		}
	model_set(first, nr, HOLE, 0, false);
}

static void random_protect(u64 page)
{
	pte_t *ptep = pgtable_find_pte(mm, window + page * PAGE_SIZE);
	pmd_t *pmdp = pgtable_find_pmd(mm, window + page * PAGE_SIZE);

	if (model[page].kind == SMALL)
		pte_write(ptep, pte_wrprotect(pte_read(ptep)));
	if (model[page].kind == HUGE)
		pmd_write(pmdp, pmd_wrprotect(pmd_read(pmdp)));
	if (model[page].kind == SMALL)
		model[page].writable = false;
	for (u64 i = page & ~511ul; model[page].kind == HUGE && i <= (page | 511); i++)
		model[i].writable = false;
}

static void compare(u64 page)
{
	struct pt_walk w = walk(window + page * PAGE_SIZE);
	bool huge = model[page].kind == HUGE || model[page].kind == HUGE_ZERO;

	CHECK_EQ(w.kind == ENTRY_LEAF, model[page].kind != HOLE);
	if (w.kind != ENTRY_LEAF)
		return;
	CHECK_EQ(w.pa >> PAGE_SHIFT, model[page].pfn);
	CHECK_EQ(w.size, huge ? HPAGE_PMD_SIZE : PAGE_SIZE);
	CHECK_EQ(!!(w.rights & PTE_RW), model[page].writable);
}

TEST(random_maps_are_what_a_list_says)
{
	struct vma *v;

	start_counted();
	v = space_area(mm, window, window + PMDS * PMD_SIZE, RW);
	for (u64 round = check_rounds(1500); round > 0; round--) {
		u64 page = check_below(PAGES), m = page / 512;

		switch (check_below(8)) {
		case 0:
			random_split(v, m);
			break;
		case 1:
			random_unmap(v, page, 1 + check_below(64));
			break;
		case 2:
			random_unmap(v, m * 512, 512);
			if (has_table(m) && check_below(2)) /* as munmap and a new mmap there */
				pgtable_free_range(mm, window + m * PMD_SIZE,
					window + (m + 1) * PMD_SIZE, window + m * PMD_SIZE,
					window + (m + 1) * PMD_SIZE);
			break;
		case 3:
			random_protect(page);
			break;
		default:
			random_map(v, page);
		}
		good();
		for (u64 i = round % 5; i < PAGES; i += 5)
			compare(i);
	}
	CHECK_MSG(rmap_check(), "%s", machine_words);
	end_counted();
}

/* ---- the checker finds what is broken ---------------------------------------------------------- */

#define BREAKS(rule, what)                                                                         \
	do {                                                                                       \
		CHECK_MSG(pgtable_check(mm), "%s", machine_words);                                 \
		what;                                                                              \
		CHECK(!pgtable_check(mm));                                                         \
		CHECK_MSG(machine_said(rule), "said: %s", machine_words);                          \
	} while (0)

/* A small page, a huge page, a zero page, the huge zero page; and their entries. */
static pte_t *small, *zero;
static pmd_t *huge, *huge_zero;

static struct vma *one_of_each(void)
{
	struct vma *v;

	start();
	v = space_area(mm, BASE, BASE + 8 * MIB, RW);
	space_map_small(v, BASE);
	space_map_huge(v, BASE + 2 * MIB);
	space_map_zero(v, BASE + PAGE_SIZE);
	space_map_huge_zero(v, BASE + 4 * MIB);
	small = pgtable_find_pte(mm, BASE);
	zero = small + 1;
	huge = pgtable_find_pmd(mm, BASE + 2 * MIB);
	huge_zero = huge + 1;
	good();
	return v;
}

#define SPOIL(rule, field, value)                                                                  \
	do {                                                                                       \
		u64 was_ = (field);                                                                \
		BREAKS(rule, (field) = (value));                                                   \
		(field) = was_;                                                                    \
	} while (0)

TEST(t1_a_table_reached_twice)
{
	one_of_each();
	SPOIL("T1", huge_zero[1].v, (huge - 1)->v);
	good(); /* the checker's marks are gone */
}

TEST(t2_ps_and_alignment)
{
	one_of_each();
	SPOIL("T2", small->v, small->v | PTE_PS);
	SPOIL("T2", huge->v, huge->v + PAGE_SIZE);
	SPOIL("T2", pud_ptr(pgd_read(pgd_ptr(mm, BASE)), BASE)[1].v, huge->v);
}

TEST(t3_deposits)
{
	one_of_each();
	SPOIL("T3", huge->v, 0);
	spin_lock(&mm->pt_lock);
	BREAKS("T3", pgtable_withdraw(mm, huge));
}

TEST(t4_rights)
{
	struct vma *v = one_of_each();

	SPOIL("T4", small->v, small->v & ~PTE_NX);
	SPOIL("T4", small->v, small->v & ~PTE_US);
	SPOIL("T4", small->v, small->v | PTE_DEVICE);
	SPOIL("T4", huge->v, huge->v & ~PTE_NX);
	SPOIL("T4", v->flags, VM_READ);
	SPOIL("T4", v->flags, 0);
	SPOIL("T4", v->end, BASE + 3 * MIB); /* a huge leaf that sticks out */
}

TEST(t5_frames)
{
	struct page *table;

	one_of_each();
	table = pfn_to_page(pmd_pfn(*(huge - 1)));
	SPOIL("T5", table->type, PAGE_KERNEL);
	SPOIL("T5", table->private, 1);
	SPOIL("T5", table->index_low, 2);
	SPOIL("T5", small->v, (small->v & ~PTE_ADDR) | mm->pgd_pa);
	SPOIL("T5", small->v, (small->v & ~PTE_ADDR) | 1ul << 40);
	SPOIL("T5", huge->v, (huge->v & ~PTE_ADDR) | 1ul << 40);
	SPOIL("T5", pfn_to_page(pmd_pfn(*huge))->type, PAGE_ANON);
}

TEST(t6_zero_frames)
{
	one_of_each();
	SPOIL("T6", zero->v, zero->v | PTE_RW);
	SPOIL("T6", zero->v, zero->v | PTE_D);
	SPOIL("T6", huge_zero->v, huge_zero->v | PTE_RW);
	SPOIL("T6", huge_zero->v, huge_zero->v | PTE_D);
}

TEST(t7_holes)
{
	one_of_each();
	SPOIL("T7", small[9].v, small->v & ~PTE_P);
	SPOIL("T7", huge_zero[3].v, huge->v & ~PTE_P);
}

TEST(t8_numbers)
{
	one_of_each();
	SPOIL("T8", mm->nr_tables, mm->nr_tables + 1);
}

TEST(t9_kernel_half)
{
	one_of_each();
	SPOIL("T9", mm->pgd[300].v, 0x1003);
}
