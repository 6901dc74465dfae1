/*
 * pgtable_pud.c - leaves of 1 GiB: find them, keep spare tables under them, take them apart   floor 3, below: pgtable
 *
 * What pgtable.c does for a leaf of 2 MiB, one level up. It counts no page: a leaf of 1 GiB stands for 512 leaves of
 * 2 MiB, before a split as after it.
 *
 * IDEA      A leaf at pud must come apart without memory, like one at pmd; and the 512 leaves it comes apart into need a
 *           spare pte table each. So what is deposited under it is a pmd table that has its 512 deposits already:
 *
 *             page of the pud table: next --> pmd table --prev--> pmd table --> 0         mapcount: how many
 *                                               |next
 *                                               '--> pte table --next--> ... 512 of them
 *
 * INVARIANTS (pgtable_check() tests them)
 *   T3  a pud table has as many such deposits as it has leaves, each of 1 + 512 tables
 *
 * LOCKS     pt_lock, as pgtable.h says
 * LINUX     splits no anonymous pud: only devices have one (__split_huge_pud drops it).  docs/mm/huge-pud.md
 */
#include "mm/pgtable.h"

#include "mm/buddy.h"
#include "sync.h"

#define TABLES_OF_PUD (1 + PTRS_PER_TABLE) /* a pmd table, and its deposits */

/* The page of the pud table in which this entry stands. */
static inline struct page *home_of(pud_t *pudp)
{
	return virt_to_page((void *)((u64)pudp & PAGE_MASK));
}

/*
 * pgtable_next_pud - the first leaf of 1 GiB that meets [*addr, end).
 *
 *   locks    mm->lock held (any mode)
 *   after    *addr is where they meet; NULL: nothing more
 */
pud_t *pgtable_next_pud(struct mm *mm, vaddr_t *addr, vaddr_t end)
{
	vaddr_t a = *addr;

	while (a < end) {
		pgd_t pgd = pgd_read(pgd_ptr(mm, a));
		pud_t *pudp;

		if (pgd_kind(pgd) != ENTRY_TABLE) {
			a = ALIGN_DOWN(a, PGD_SIZE) + PGD_SIZE;
			continue;
		}
		pudp = pud_ptr(pgd, a);
		if (pud_kind(pud_read(pudp)) == ENTRY_LEAF) {
			*addr = a;
			return pudp;
		}
		a = pud_range_end(a, ~0ul);
	}
	return NULL;
}

/*
 * pgtable_alloc_pmds - a pmd table with its 512 deposits, made before any lock is taken.
 *
 *   returns  NULL: no memory
 */
struct page *pgtable_alloc_pmds(struct mm *mm)
{
	struct page *pmds = pgtable_alloc_table(mm, false), *table;

	if (!pmds)
		return NULL;
	page_set_index(pmds, 2);
	for (unsigned i = 0; i < PTRS_PER_TABLE; i++) {
		table = pgtable_alloc_table(mm, false);
		if (!table) {
			pgtable_free_pmds(pmds);
			return NULL;
		}
		table->next = pmds->next;
		pmds->next = page_to_pfn(table);
		pmds->mapcount++;
	}
	return pmds;
}

/* pgtable_free_pmds - give back what was not deposited, or was withdrawn. */
void pgtable_free_pmds(struct page *pmds)
{
	while (pmds->next) {
		struct page *table = pfn_to_page(pmds->next);

		pmds->next = table->next;
		pmds->mapcount--;
		pgtable_free_table(table);
	}
	pgtable_free_table(pmds);
}

/*
 * pgtable_deposit_pmds - keep it under the leaf that will now stand in *pudp.
 * pgtable_withdraw_pmds - the leaf goes away: take one back, not counted any more.
 *
 *   locks    pt_lock held
 */
void pgtable_deposit_pmds(struct mm *mm, pud_t *pudp, struct page *pmds)
{
	struct page *home = home_of(pudp);

	ASSERT_HELD(&mm->pt_lock);
	pmds->prev = home->next;
	home->next = page_to_pfn(pmds);
	home->mapcount++;
	pgtable_count(mm, TABLES_OF_PUD);
}

static struct page *deposit_take(pud_t *pudp)
{
	struct page *home = home_of(pudp), *pmds;

	ASSERT_RULE("T3", home->next != 0, "no table was deposited for the pud at %p", pudp);
	pmds = pfn_to_page(home->next);
	home->next = pmds->prev;
	home->mapcount--;
	pmds->prev = 0;
	return pmds;
}

struct page *pgtable_withdraw_pmds(struct mm *mm, pud_t *pudp)
{
	ASSERT_HELD(&mm->pt_lock);
	pgtable_count(mm, -TABLES_OF_PUD);
	return deposit_take(pudp);
}

/*
 * pgtable_split_pud - replace the leaf *pudp by a table of 512 leaves of 2 MiB with the same rights.
 *
 *   locks    pt_lock held
 *   after    every address translates as before, A and D are copied; the caller flushes. Cannot fail (T3)
 *
 * The table is hung in by an exchange, for the reason that pgtable_split_pmd() gives: A and D that come meanwhile.
 */
void pgtable_split_pud(struct mm *mm, pud_t *pudp)
{
	pud_t leaf = pud_read(pudp);
	struct page *pmds = deposit_take(pudp);
	pmd_t *table = page_to_virt(pmds);
	u64 late;

	ASSERT_HELD(&mm->pt_lock);
	ASSERT(pud_kind(leaf) == ENTRY_LEAF && !(leaf.v & PTE_DEVICE));
	for (unsigned i = 0; i < PTRS_PER_TABLE; i++)
		table[i] = pud_part(leaf, (u64)i << PMD_SHIFT);
	late = __atomic_exchange_n(&pudp->v, page_to_phys(pmds) | PTE_TABLE, __ATOMIC_ACQ_REL) ^
	       leaf.v;
	for (unsigned i = 0; late && i < PTRS_PER_TABLE; i++)
		__atomic_or_fetch(&table[i].v, late, __ATOMIC_RELAXED);
}
