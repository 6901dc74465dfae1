/*
 * pgtable.h - the four levels of a space: find, make, split, give back.                  floor 3
 *
 * Mechanism only: nothing here knows a policy, counts an event or frees a page that ring 3 can see.
 *
 * WHO MAY HOLD A POINTER TO AN ENTRY  Tables are freed only under mm->lock held for writing, after
 * the areas left the reverse map, or (collapse) with pt_lock and the anon lock held too. So a
 * pointer returned here is good as long as mm->lock is held in any mode; the *entry* may change
 * unless pt_lock is held too: look again after locking.
 */
#ifndef MM_PGTABLE_H
#define MM_PGTABLE_H

#include "mm/mm.h"
#include "mm/page.h"
#include "vmstat.h"
#include "x86/paging.h"

/* --- the kernel half: pgtable_kernel.c --- */

/* Start-up: direct map, page array, image W^X, from early frames; loads the new root. */
void pgtable_kernel_init(vaddr_t stack_guard);
/* Tables made since, for the stacks of the most threads there ever were at once: they stay. */
extern u64 pgtable_kernel_added;
/* One page, for stacks and device registers (vmap.c). rights as PTE_*; 0 or -ENOMEM. */
int pgtable_map_kernel(vaddr_t va, paddr_t pa, u64 rights);
/* Clears the entry; the caller flushes tlb_kernel_space. */
void pgtable_unmap_kernel(vaddr_t va);
/* Late: text and constants read-only in the direct map too, the first MiB unmapped. */
void pgtable_kernel_seal(void);

/* --- finding: no lock needed beyond mm->lock --- */
static inline pgd_t *pgd_ptr(struct mm *mm, vaddr_t a)
{
	return mm->pgd + pgd_index(a);
}
static inline void *table_ptr(u64 entry) /* of a TABLE entry only */
{
	return phys_to_virt(entry & PTE_ADDR);
}
static inline pud_t *pud_ptr(pgd_t e, vaddr_t a)
{
	return (pud_t *)table_ptr(e.v) + pud_index(a);
}
static inline pmd_t *pmd_ptr(pud_t e, vaddr_t a)
{
	return (pmd_t *)table_ptr(e.v) + pmd_index(a);
}
static inline pte_t *pte_ptr(pmd_t e, vaddr_t a)
{
	return (pte_t *)table_ptr(e.v) + pte_index(a);
}

/* The pmd entry for addr; NULL: no pmd table there. */
static inline pmd_t *pgtable_find_pmd(struct mm *mm, vaddr_t addr)
{
	pgd_t pgd = pgd_read(pgd_ptr(mm, addr));
	pud_t pud;

	if (unlikely(pgd_kind(pgd) != ENTRY_TABLE))
		return NULL;
	pud = pud_read(pud_ptr(pgd, addr));
	return likely(pud_kind(pud) == ENTRY_TABLE) ? pmd_ptr(pud, addr) : NULL;
}

/* The pud entry for addr; NULL: no pud table there. */
static inline pud_t *pgtable_find_pud(struct mm *mm, vaddr_t addr)
{
	pgd_t pgd = pgd_read(pgd_ptr(mm, addr));

	return pgd_kind(pgd) == ENTRY_TABLE ? pud_ptr(pgd, addr) : NULL;
}

/*
 * The pmd entry for addr as one value: a hole where there is no table, and under a leaf of 1 GiB the leaf of 2 MiB that a
 * split would make. For who looks and changes nothing.
 */
static inline pmd_t pgtable_look_pmd(struct mm *mm, vaddr_t addr)
{
	pud_t *pudp = pgtable_find_pud(mm, addr);
	pud_t pud = pudp ? pud_read(pudp) : (pud_t){0};

	if (unlikely(pud_kind(pud) == ENTRY_LEAF))
		return pud_part(pud, addr);
	return pud_kind(pud) == ENTRY_TABLE ? pmd_read(pmd_ptr(pud, addr)) : (pmd_t){0};
}

/* The pte entry for addr; NULL: a hole above it, or a huge page. */
static inline pte_t *pgtable_find_pte(struct mm *mm, vaddr_t addr)
{
	pmd_t *pmdp = pgtable_find_pmd(mm, addr), pmd;

	if (!pmdp)
		return NULL;
	pmd = pmd_read(pmdp);
	return pmd_kind(pmd) == ENTRY_TABLE ? pte_ptr(pmd, addr) : NULL;
}

/*
 * pgtable_next_pmd - the first pmd entry in [*addr, end) that is no hole. Leaves of 1 GiB are passed over.
 *
 *   after    *addr is where that entry's range meets [*addr, end); NULL: nothing more
 *   use      for (; (pmdp = pgtable_next_pmd(mm, &a, end)) != NULL; a = pmd_range_end(a, end))
 */
pmd_t *pgtable_next_pmd(struct mm *mm, vaddr_t *addr, vaddr_t end);
static inline vaddr_t pmd_range_end(vaddr_t a, vaddr_t end)
{
	vaddr_t next = (a & HPAGE_PMD_MASK) + HPAGE_PMD_SIZE;
	return next < end ? next : end;
}

/* The first leaf of 1 GiB that meets [*addr, end), in the same way; on with pud_range_end(). */
pud_t *pgtable_next_pud(struct mm *mm, vaddr_t *addr, vaddr_t end);
static inline vaddr_t pud_range_end(vaddr_t a, vaddr_t end)
{
	vaddr_t next = (a & HPAGE_PUD_MASK) + HPAGE_PUD_SIZE;
	return next < end ? next : end;
}

/* One walk, for people and tests: the entries met, from level 4 down. */
struct pt_walk {
	int levels;           /* how many entries were read: 1 .. 4 */
	u64 entry[4];         /* [0] pgd, [1] pud ... */
	enum entry_kind kind; /* of the last one */
	u64 rights;           /* effective: RW and US of all levels, NX of any */
	paddr_t pa;           /* translation, when kind is ENTRY_LEAF */
	u64 size;             /* bytes the leaf covers */
};
void pgtable_walk(const pgd_t *pgd, vaddr_t addr, struct pt_walk *w);

/*
 * --- making tables: mm->lock held, pt_lock not. NULL: no memory ---
 * What is there is found inline; a missing table is allocated, then pt_lock taken to install it.
 */
pud_t *pgtable_make_pud_slow(struct mm *mm, vaddr_t addr);
pmd_t *pgtable_make_pmd_slow(struct mm *mm, pud_t *pudp, vaddr_t addr);
int pgtable_make_pte_slow(struct mm *mm, pmd_t *pmdp);

static inline pud_t *pgtable_make_pud(struct mm *mm, vaddr_t addr)
{
	pgd_t pgd = pgd_read(pgd_ptr(mm, addr));

	return likely(pgd_kind(pgd) == ENTRY_TABLE) ? pud_ptr(pgd, addr)
						    : pgtable_make_pud_slow(mm, addr);
}

/* NULL: no memory, or a leaf stands in the pud by now. */
static inline pmd_t *pgtable_make_pmd(struct mm *mm, pud_t *pudp, vaddr_t addr)
{
	pud_t pud = pud_read(pudp);

	return likely(pud_kind(pud) == ENTRY_TABLE) ? pmd_ptr(pud, addr)
						    : pgtable_make_pmd_slow(mm, pudp, addr);
}

/* Makes *pmdp a table. 0, -ENOMEM, or -EEXIST: a huge leaf stands there (a racing fault). */
static inline int pgtable_make_pte(struct mm *mm, pmd_t *pmdp)
{
	return likely(pmd_kind(pmd_read(pmdp)) == ENTRY_TABLE) ? 0
							       : pgtable_make_pte_slow(mm, pmdp);
}

/* --- deposited tables: one for each huge leaf at pmd, so that a split cannot fail --- */

/* A spare pte table, not yet counted. NULL: no memory. */
struct page *pgtable_alloc_table(struct mm *mm, bool clear);
void pgtable_free_table(struct page *table);
/* pt_lock held; counts it in nr_tables. */
void pgtable_deposit(struct mm *mm, pmd_t *pmdp, struct page *table);
u64 pgtable_deposit_many(struct mm *mm, pmd_t *pmdp, u64 n); /* made here; how many */
/* pt_lock held; uncounts it. There is one (T3). */
struct page *pgtable_withdraw(struct mm *mm, pmd_t *pmdp);

/*
 * pgtable_split_pmd - replace the huge leaf *pmdp by 512 leaves with the same rights, A and D.
 *
 *   locks    pt_lock held
 *   returns  nothing: cannot fail, the table was deposited (T3). The caller counts and flushes
 *   zero     of the huge zero page all 512 name the 4 KiB zero frame, read-only
 *   Linux    __split_huge_pmd_locked / __split_huge_zero_page_pmd
 */
void pgtable_split_pmd(struct mm *mm, vaddr_t haddr, pmd_t *pmdp);

/* --- leaves of 1 GiB: pgtable_pud.c. A deposit is a pmd table with 512 deposits of its own --- */
struct page *pgtable_alloc_pmds(struct mm *mm); /* NULL: no memory */
void pgtable_free_pmds(struct page *pmds);
void pgtable_deposit_pmds(struct mm *mm, pud_t *pudp, struct page *pmds); /* pt_lock held */
struct page *pgtable_withdraw_pmds(struct mm *mm, pud_t *pudp);           /* pt_lock held */
void pgtable_split_pud(struct mm *mm, pud_t *pudp); /* pt_lock held; the caller flushes */

/* Table frames come or go: what the space and the machine count. */
static inline void pgtable_count(struct mm *mm, s64 n)
{
	__atomic_add_fetch(&mm->nr_tables, n, __ATOMIC_RELAXED);
	vmstat_add(VM_nr_page_table_pages, n);
}

/* Collapse: the table that stood in *pmdp, counted already, becomes the deposit. pt_lock held. */
void pgtable_redeposit(struct mm *mm, pmd_t *pmdp, struct page *table);

/*
 * pgtable_free_range - free every table that serves only [start, end) and now is empty.
 *
 *   floor, ceiling   ends of the neighbouring areas, 0 and USER_END when there is none: tables they
 *                    still need stay
 *   locks    mm->lock for writing; entries in the range are holes already; flushes by itself
 *   Linux    free_pgtables
 */
void pgtable_free_range(struct mm *mm, vaddr_t start, vaddr_t end, vaddr_t floor, vaddr_t ceiling);

u64 pgtable_count_tables(struct mm *mm); /* by walking: must equal mm->nr_tables (ledger) */

bool pgtable_check(struct mm *mm); /* T1 to T9: see pgtable.c */
bool pgtable_check_kernel(void);   /* K1 to K5: see pgtable_kernel.c */

#endif
