/*
 * pgtable.c - the tables of a space                          floor 3, below: mm.h, buddy, x86/paging.h
 *
 * Finds, makes, splits and gives back the tables through which the CPU translates an address of
 * ring 3. It decides nothing: which page goes where is floor 5's business, and the kernel's own half
 * is built in pgtable_kernel.c.
 *
 * IDEA
 *        47        39 38        30 29        21 20        12 11          0
 *       +------------+------------+------------+------------+-------------+
 *       |  pgd index |  pud index |  pmd index |  pte index |   offset    |   9 + 9 + 9 + 9 + 12 bits
 *       +------------+------------+------------+------------+-------------+
 *            |            |            |            '--> pte: LEAF, 4 KiB
 *            |            |            '---------------> pmd: TABLE of ptes, or LEAF, 2 MiB
 *            |            '----------------------------> pud: TABLE of pmds
 *            '-----------------------------------------> pgd: TABLE of puds; CR3 points at it
 *   An entry is a HOLE, a TABLE or a LEAF (x86/paging.h). Under each huge leaf a spare table waits:
 *
 *        struct page of a pmd table: next --> spare --> spare --> 0      mapcount: how many
 *
 *   so that taking a huge leaf apart (pgtable_split_pmd) needs no memory and cannot fail.
 *
 * INVARIANTS (pgtable_check() tests every one)
 *   T1  no table is reached twice
 *   T2  PS stands in leaves at pmd and pud only, and those name a frame aligned to their size; nr_puds
 *       is the number of leaves at pud
 *   T3  a pmd table has as many deposited tables as it has huge leaves (device leaves have none); a pud table
 *       has a pmd table with 512 deposits for each of its leaves
 *   T4  each leaf lies in an area that allows it: user, and its rights are within the area's
 *   T5  a table's frame is typed TABLE, with its level and its owner; a leaf's frame is anonymous or
 *       zero, at pmd the first of a huge one, at pud the first of 512 huge ones in a row (PB_PUD)
 *   T6  a zero frame is neither writable nor dirty
 *   T7  an entry that is no table and no leaf is 0: it carries no frame number
 *   T8  nr_tables is the number of tables, deposited ones included
 *   T9  the kernel half of the root is the kernel's
 *
 * LOCKS     entries change under mm->pt_lock; tables go away as pgtable.h says
 * LINUX     mm/memory.c, mm/pgtable-generic.c, arch/x86/mm/pgtable.c: five levels, a lock for each
 *           table, walkers without locks (gup_fast).                             docs/mm/pgtable.md
 */
#include "mm/pgtable.h"

#include "lib/tree.h"
#include "mm/buddy.h"
#include "mm/zero.h"
#include "printk.h"
#include "sync.h"
#include "vmstat.h"
#include "x86/cpu.h"
#include "x86/tlb.h"
#include <abi/errno.h>

#define KERNEL_HALF 256 /* index of the first pgd entry that is the kernel's */
#define USER_TOP    (KERNEL_HALF * PGD_SIZE)
#define TABLE_SEEN  0x80 /* in the flags of a table's page: the checker met it */

/* A level is a number where one loop serves all: 4 pgd, 3 pud, 2 pmd, 1 pte. */
static inline u64 level_size(unsigned level)
{
	return PAGE_SIZE << (9 * (level - 1));
}

static enum entry_kind kind_at(unsigned level, u64 entry)
{
	switch (level) {
	case 4:
		return pgd_kind((pgd_t){entry});
	case 3:
		return pud_kind((pud_t){entry});
	case 2:
		return pmd_kind((pmd_t){entry});
	default:
		return pte_kind((pte_t){entry});
	}
}

static inline struct page *entry_page(u64 entry)
{
	return pfn_to_page((entry & PTE_ADDR) >> PAGE_SHIFT);
}

/* ---- looking ---------------------------------------------------------------------------------- */

/*
 * pgtable_next_pmd - see pgtable.h.
 *
 *   locks    mm->lock held (any mode)
 */
pmd_t *pgtable_next_pmd(struct mm *mm, vaddr_t *addr, vaddr_t end)
{
	vaddr_t a = *addr;

	while (a < end) {
		pgd_t pgd = pgd_read(pgd_ptr(mm, a));
		pud_t pud;
		pmd_t *pmdp;

		if (pgd_kind(pgd) != ENTRY_TABLE) {
			a = ALIGN_DOWN(a, PGD_SIZE) + PGD_SIZE;
			continue;
		}
		pud = pud_read(pud_ptr(pgd, a));
		if (pud_kind(pud) != ENTRY_TABLE) {
			a = ALIGN_DOWN(a, PUD_SIZE) + PUD_SIZE;
			continue;
		}
		pmdp = pmd_ptr(pud, a);
		do {
			if (pmd_kind(pmd_read(pmdp)) != ENTRY_HOLE) {
				*addr = a;
				return pmdp;
			}
			pmdp++;
			a = ALIGN_DOWN(a, PMD_SIZE) + PMD_SIZE;
		} while (a < end && pmd_index(a) != 0);
	}
	return NULL;
}

/*
 * pgtable_walk - what the CPU would do with addr, step by step.
 *
 *   locks    none: for people and tests. Whoever wants it exact holds mm->lock
 */
void pgtable_walk(const pgd_t *pgd, vaddr_t addr, struct pt_walk *w)
{
	const u64 *table = &pgd->v;

	*w = (struct pt_walk){.rights = PTE_RW | PTE_US};
	for (unsigned level = 4; level > 0; level--) {
		u64 size = level_size(level);
		u64 entry = READ_ONCE(table[addr / size % PTRS_PER_TABLE]);

		w->entry[w->levels++] = entry;
		w->kind = kind_at(level, entry);
		w->rights =
			(w->rights & entry & (PTE_RW | PTE_US)) | ((w->rights | entry) & PTE_NX);
		if (w->kind == ENTRY_TABLE) {
			table = table_ptr(entry);
			continue;
		}
		if (w->kind == ENTRY_LEAF) {
			w->size = size;
			w->pa = (entry_addr(entry) & ~(size - 1)) | (addr & (size - 1));
		}
		return;
	}
}

/* ---- making ----------------------------------------------------------------------------------- */

static struct page *table_alloc(struct mm *mm, unsigned level, bool clear)
{
	struct page *table = clear ? buddy_alloc_zeroed(PAGE_TABLE)
				   : buddy_alloc(0, MIGRATE_UNMOVABLE, PAGE_TABLE, 0);

	if (unlikely(!table))
		return NULL;
	table->private = (u64)mm;
	table->next = 0;
	page_set_index(table, level);
	return table;
}

/* Hangs a cleared table below *entry unless another CPU was faster. True: it hangs there. */
static bool table_install(struct mm *mm, u64 *entry, struct page *table)
{
	bool hole;

	spin_lock(&mm->pt_lock);
	hole = READ_ONCE(*entry) == 0;
	if (hole) {
		/* Release: whoever sees the entry sees the zeroes behind it. */
		__atomic_store_n(entry, page_to_phys(table) | PTE_TABLE, __ATOMIC_RELEASE);
		pgtable_count(mm, 1);
	}
	spin_unlock(&mm->pt_lock);
	if (!hole)
		buddy_free_zeroed(table);
	return hole;
}

/*
 * pgtable_make_pud, _pmd, _pte - the table that serves addr at this level, made if it is missing.
 *
 *   locks    mm->lock held (any mode); pt_lock not held, taken to install
 *   returns  the entry for addr; NULL: no memory, or for _pmd a leaf of 1 GiB by now (see pgtable.h for _pte)
 *   Linux    __pud_alloc, __pmd_alloc, __pte_alloc
 */
pud_t *pgtable_make_pud_slow(struct mm *mm, vaddr_t addr)
{
	pgd_t *pgdp = pgd_ptr(mm, addr);
	struct page *table = table_alloc(mm, 3, true);

	if (!table)
		return NULL;
	table_install(mm, &pgdp->v, table);
	return pud_ptr(pgd_read(pgdp), addr);
}

pmd_t *pgtable_make_pmd_slow(struct mm *mm, pud_t *pudp, vaddr_t addr)
{
	struct page *table = table_alloc(mm, 2, true);
	pud_t pud;

	if (!table)
		return NULL;
	table_install(mm, &pudp->v, table);
	pud = pud_read(pudp);
	return pud_kind(pud) == ENTRY_TABLE ? pmd_ptr(pud, addr) : NULL;
}

int pgtable_make_pte_slow(struct mm *mm, pmd_t *pmdp)
{
	struct page *table;

	if (pmd_kind(pmd_read(pmdp)) == ENTRY_LEAF)
		return -EEXIST;
	table = table_alloc(mm, 1, true);
	if (!table)
		return -ENOMEM;
	if (table_install(mm, &pmdp->v, table))
		return 0;
	return pmd_kind(pmd_read(pmdp)) == ENTRY_TABLE ? 0 : -EEXIST;
}

/* ---- the deposit ------------------------------------------------------------------------------ */

/*
 * pgtable_alloc_table - a spare pte table, made before any lock is taken.
 *
 *   clear    false when it will be deposited: a split writes all 512 entries
 *   returns  NULL: no memory
 *   Linux    pte_alloc_one
 */
struct page *pgtable_alloc_table(struct mm *mm, bool clear)
{
	return table_alloc(mm, 1, clear);
}

/* pgtable_free_table - give back a spare table that was not deposited. */
void pgtable_free_table(struct page *table)
{
	buddy_free(table);
}

/* The page of the pmd table in which this entry stands. */
static inline struct page *home_of(pmd_t *pmdp)
{
	return virt_to_page((void *)((u64)pmdp & PAGE_MASK));
}

/*
 * pgtable_deposit - keep a spare table under the huge leaf that stands, or will now stand, in *pmdp.
 *
 *   locks    pt_lock held
 *   Linux    pgtable_trans_huge_deposit
 */
void pgtable_deposit(struct mm *mm, pmd_t *pmdp, struct page *table)
{
	pgtable_redeposit(mm, pmdp, table);
	pgtable_count(mm, 1);
}

/* pgtable_redeposit - the same for a table that is counted already: collapse, with the one it took out. */
void pgtable_redeposit(struct mm *mm, pmd_t *pmdp, struct page *table)
{
	struct page *home = home_of(pmdp);

	ASSERT_HELD(&mm->pt_lock);
	table->next = home->next;
	home->next = page_to_pfn(table);
	home->mapcount++;
}

/*
 * pgtable_deposit_many - make n spare tables and deposit them for huge leaves of the pmd table in which *pmdp stands.
 *
 *   locks    pt_lock held: for fork, which has no better moment; nothing here sleeps
 *   returns  how many: fewer than n when memory ran out
 */
u64 pgtable_deposit_many(struct mm *mm, pmd_t *pmdp, u64 n)
{
	struct page *home = home_of(pmdp);
	u64 made;

	ASSERT_HELD(&mm->pt_lock);
	for (made = 0; made < n; made++) {
		struct page *table = table_alloc(mm, 1, false);

		if (!table)
			break;
		table->next = home->next;
		home->next = page_to_pfn(table);
	}
	home->mapcount += made;
	pgtable_count(mm, made);
	return made;
}

static struct page *deposit_take(pmd_t *pmdp)
{
	struct page *home = home_of(pmdp), *table;

	ASSERT_RULE("T3", home->next != 0, "no table was deposited for the pmd at %p", pmdp);
	table = pfn_to_page(home->next);
	home->next = table->next;
	home->mapcount--;
	table->next = 0;
	return table;
}

/*
 * pgtable_withdraw - take back one deposited table: the huge leaf in *pmdp goes away.
 *
 *   locks    pt_lock held
 *   returns  the table, not counted any more: pgtable_free_table() after unlocking, or deposit it again
 *   Linux    pgtable_trans_huge_withdraw
 */
struct page *pgtable_withdraw(struct mm *mm, pmd_t *pmdp)
{
	ASSERT_HELD(&mm->pt_lock);
	pgtable_count(mm, -1);
	return deposit_take(pmdp);
}

/* ---- splitting -------------------------------------------------------------------------------- */

/* 512 entries, each `step` more than the one before; two instructions for each and three for eight. */
static void fill_table(pte_t *table, u64 entry, u64 step)
{
	for (pte_t *p = table; p < table + PTRS_PER_TABLE; p += 8) {
		p[0].v = entry;
		p[1].v = entry += step;
		p[2].v = entry += step;
		p[3].v = entry += step;
		p[4].v = entry += step;
		p[5].v = entry += step;
		p[6].v = entry += step;
		p[7].v = entry += step;
		entry += step;
	}
}

/* The first of the 512 entries that a huge leaf becomes, and the distance to the next. */
static u64 first_pte(pmd_t leaf, u64 *step)
{
	if (pfn_is_huge_zero(pmd_pfn(leaf))) {
		*step = 0;
		return entry_make(zero_pfn, leaf.v & (PTE_P | PTE_US | PTE_NX | PTE_A));
	}
	/* A leaf without access keeps its address inverted, so there the next frame is one step *down*. */
	*step = pmd_protnone(leaf) ? -PAGE_SIZE : PAGE_SIZE;
	return leaf.v & ~PTE_PS;
}

/*
 * pgtable_split_pmd - replace the huge leaf *pmdp by a table of 512 leaves with the same rights.
 *
 *   locks    pt_lock held
 *   returns  nothing: cannot fail, the table was deposited when the leaf was made (T3)
 *   after    every address translates as before; A and D are copied to all 512; counts are unchanged
 *            (rmap_pmd_to_ptes is the caller's), and so is the TLB (the caller flushes)
 *   Linux    __split_huge_pmd_locked, which writes a not-present entry and flushes in between, for
 *            processors that must never hold both sizes of one translation
 *
 * HARD  Until the pmd is replaced, the CPUs of this space go on setting A and D in it, without any
 * lock. A D bit set between our read of the leaf and our write of the table would be lost: a page that
 * was written would count as clean, and MADV_FREE would throw the data away. So the table is hung in by
 * an exchange that returns the leaf as it was in that very instant, and what came late is added to the
 * 512 entries, by locked instructions, because other CPUs use them already.
 */
void pgtable_split_pmd(struct mm *mm, vaddr_t haddr, pmd_t *pmdp)
{
	pmd_t leaf = pmd_read(pmdp);
	struct page *page = deposit_take(pmdp);
	pte_t *table = page_to_virt(page);
	u64 step, late, entry = first_pte(leaf, &step);

	ASSERT_HELD(&mm->pt_lock);
	ASSERT(pmd_kind(leaf) == ENTRY_LEAF && !(leaf.v & PTE_DEVICE));
	DCHECK(pgtable_find_pmd(mm, haddr) == pmdp);
	fill_table(table, entry, step);
	late = __atomic_exchange_n(&pmdp->v, page_to_phys(page) | PTE_TABLE, __ATOMIC_ACQ_REL) ^
	       leaf.v;
	if (unlikely(late) && step != 0)
		for (unsigned i = 0; i < PTRS_PER_TABLE; i++)
			__atomic_or_fetch(&table[i].v, late, __ATOMIC_RELAXED);
}

/* ---- giving back ------------------------------------------------------------------------------ */

/* What pgtable_free_range is about, and the tables taken out so far: chained by page->next. */
struct prune {
	struct mm *mm;
	vaddr_t start, end, floor, ceiling;
	u32 first;
	u64 taken;
};

static bool table_is_empty(const u64 *table)
{
	for (unsigned i = 0; i < PTRS_PER_TABLE; i++)
		if (table[i])
			return false;
	return true;
}

static void prune_take(struct prune *p, u64 *entry)
{
	struct page *table = entry_page(*entry);

	ASSERT_RULE("T3", table->mapcount == 0, "%u deposited tables below a table that goes away",
		table->mapcount);
	DCHECK(table_is_empty(page_to_virt(table)));
	WRITE_ONCE(*entry, 0);
	table->next = p->first;
	p->first = page_to_pfn(table);
	p->taken++;
}

/* `table` holds entries of this level and serves addresses from base on. */
static void prune_level(struct prune *p, u64 *table, unsigned level, vaddr_t base)
{
	u64 size = level_size(level);
	vaddr_t at = MAX(base, ALIGN_DOWN(p->start, size));

	for (; at < p->end && at < base + PTRS_PER_TABLE * size; at += size) {
		u64 *entry = table + at / size % PTRS_PER_TABLE;

		if (kind_at(level, *entry) != ENTRY_TABLE)
			continue;
		if (level > 2)
			prune_level(p, table_ptr(*entry), level - 1, at);
		if (at >= p->floor && at + size <= p->ceiling)
			prune_take(p, entry);
	}
}

/*
 * pgtable_free_range - free the tables that serve only [start, end); see pgtable.h.
 *
 *   locks    mm->lock held for writing, so no fault walks here; the areas left the reverse map, so
 *            nobody comes from a page either. Takes pt_lock
 *   Linux    free_pgtables, free_pgd_range
 *
 * One page is flushed for all tables together: INVLPG of any address drops every cached upper-level
 * entry (SDM vol. 3A, 4.10.4.1), and the leaves were flushed when they went.
 */
void pgtable_free_range(struct mm *mm, vaddr_t start, vaddr_t end, vaddr_t floor, vaddr_t ceiling)
{
	struct prune p = {.mm = mm, .start = start, .end = end, .floor = floor, .ceiling = ceiling};
	u64 gen = 0;

	ASSERT_RW_WRITE(&mm->lock);
	if (ceiling >= USER_END)
		p.ceiling = USER_TOP;
	spin_lock(&mm->pt_lock);
	prune_level(&p, &mm->pgd->v, 4, 0);
	if (p.taken)
		gen = tlb_flush(&mm->tlb, start, start + PAGE_SIZE, PAGE_SIZE, TLB_unmap);
	spin_unlock(&mm->pt_lock);
	if (!p.taken)
		return;
	tlb_assert_acked(&mm->tlb, gen);
	pgtable_count(mm, -(s64)p.taken);
	while (p.first) {
		struct page *table = pfn_to_page(p.first);

		p.first = table->next;
		buddy_free_zeroed(table); /* it has lost its last entry */
	}
}

/* ---- counting and checking -------------------------------------------------------------------- */

static u64 count_below(const u64 *table, unsigned level)
{
	unsigned nr = level == 4 ? KERNEL_HALF : PTRS_PER_TABLE;
	u64 n = 0;

	for (unsigned i = 0; i < nr; i++) {
		if (kind_at(level, table[i]) != ENTRY_TABLE)
			continue;
		n++;
		if (level == 3) /* the deposits of that pmd table, or of that pud table */
			n += entry_page(table[i])->mapcount;
		if (level == 4)
			n += entry_page(table[i])->mapcount * (1ul + PTRS_PER_TABLE);
		if (level > 2)
			n += count_below(table_ptr(table[i]), level - 1);
	}
	return n;
}

/* pgtable_count_tables - frames of pud, pmd and pte tables and deposits, found by walking. */
u64 pgtable_count_tables(struct mm *mm)
{
	return count_below(&mm->pgd->v, 4);
}

#define BROKEN(rule, fmt, ...) (printk("pgtable_check: " rule ": " fmt, ##__VA_ARGS__), false)

static bool check_table_page(struct mm *mm, struct page *table, unsigned level)
{
	pfn_t pfn = page_to_pfn(table);

	if (!pfn_valid(pfn) || table->type != PAGE_TABLE || page_index(table) != level ||
		table->private != (u64)mm)
		return BROKEN("T5",
			"frame %#lx: type %u level %lu owner %#lx, used at level %u of %p", pfn,
			table->type, page_index(table), table->private, level, mm);
	if (table->flags & TABLE_SEEN)
		return BROKEN("T1", "the table in frame %#lx is reached twice", pfn);
	table->flags |= TABLE_SEEN;
	return true;
}

static bool check_area(struct mm *mm, u64 entry, vaddr_t at, u64 size)
{
	struct vma *v = mm_lookup(mm, at);
	u32 needs;

	if (!v || at + size > v->end)
		return BROKEN("T4", "leaf %#lx at %#lx lies in no area", entry, at);
	/* x86 cannot map writable or executable memory that cannot be read: any right brings reading. */
	needs = (entry & PTE_RW ? VM_WRITE : 0) | (entry & PTE_NX ? 0 : VM_EXEC);
	if (!(entry & PTE_US) || (entry & PTE_P && (needs & ~v->flags || !(v->flags & VM_ACCESS))))
		return BROKEN("T4", "leaf %#lx at %#lx has more rights than its area (%#x)", entry,
			at, v->flags);
	if (!(entry & PTE_DEVICE) != (v->kind != VMA_DEVICE))
		return BROKEN("T4", "leaf %#lx at %#lx: area of kind %u", entry, at, v->kind);
	return true;
}

/* May a leaf at this level name this frame? Only anonymous memory and zeroes are for ring 3. */
static bool frame_fits(unsigned level, pfn_t pfn, bool zero)
{
	if (!pfn_valid(pfn))
		return false;
	if (zero)
		return pfn_type(pfn) == PAGE_ZERO;
	for (u64 i = 0; level == 3 && i < PTRS_PER_TABLE; i++, pfn += HPAGE_PMD_NR)
		if (!pfn_valid(pfn) || pfn_to_page(pfn)->type != PAGE_ANON_HUGE ||
			!(pfn_block(pfn)->flags & PB_PUD))
			return false;
	if (level == 3)
		return true;
	if (level == 2)
		return pfn_to_page(pfn)->type == PAGE_ANON_HUGE;
	return pfn_type(pfn) == PAGE_ANON || pfn_type(pfn) == PAGE_ANON_HUGE;
}

static bool check_leaf(struct mm *mm, unsigned level, u64 entry, vaddr_t at)
{
	pfn_t pfn = entry_addr(entry) >> PAGE_SHIFT;
	bool zero = level == 2 ? pfn_is_huge_zero(pfn) : pfn_is_zero(pfn);

	if (!(entry & PTE_PS) != (level == 1) || !IS_ALIGNED(pfn, level_size(level) >> PAGE_SHIFT))
		return BROKEN("T2", "leaf %#lx at level %u for %#lx", entry, level, at);
	if (!check_area(mm, entry, at, level_size(level)))
		return false;
	if (entry & PTE_DEVICE)
		return true;
	if (!frame_fits(level, pfn, zero))
		return BROKEN("T5", "leaf %#lx at %#lx names frame %#lx of type %u", entry, at, pfn,
			pfn < page_max_pfn ? pfn_type(pfn) : PAGE_RESERVED);
	if (zero && entry & (PTE_RW | PTE_D))
		return BROKEN("T6", "zero frame at %#lx: entry %#lx", at, entry);
	return true;
}

static bool check_deposits(struct mm *mm, struct page *home, u32 huge)
{
	u32 nr = 0;

	for (u32 pfn = home->next; pfn; pfn = pfn_to_page(pfn)->next, nr++)
		if (!check_table_page(mm, pfn_to_page(pfn), 1))
			return false;
	if (nr != huge || home->mapcount != huge)
		return BROKEN("T3", "pmd table %#lx: %u huge leaves, %u deposits, counted %u",
			page_to_pfn(home), huge, nr, home->mapcount);
	return true;
}

/* The same under leaves of 1 GiB: pmd tables, each full of deposits. */
static bool check_pud_deposits(struct mm *mm, struct page *home, u32 leaves)
{
	u32 nr = 0;

	for (u32 pfn = home->next; pfn; pfn = pfn_to_page(pfn)->prev, nr++)
		if (!check_table_page(mm, pfn_to_page(pfn), 2) ||
			!check_deposits(mm, pfn_to_page(pfn), PTRS_PER_TABLE))
			return false;
	if (nr != leaves || home->mapcount != leaves)
		return BROKEN("T3", "pud table %#lx: %u leaves, %u deposits, counted %u",
			page_to_pfn(home), leaves, nr, home->mapcount);
	return true;
}

/* *puds grows by the leaves of 1 GiB. */
static bool check_level(struct mm *mm, struct page *page, unsigned level, vaddr_t base, u32 *puds)
{
	const u64 *table = page_to_virt(page);
	unsigned nr = level == 4 ? KERNEL_HALF : PTRS_PER_TABLE;
	u32 huge = 0;

	if (!check_table_page(mm, page, level))
		return false;
	for (unsigned i = 0; i < nr; i++) {
		vaddr_t at = base + i * level_size(level);
		u64 entry = table[i];

		switch (kind_at(level, entry)) {
		case ENTRY_HOLE:
			if (entry)
				return BROKEN(
					"T7", "hole %#lx at level %u for %#lx", entry, level, at);
			break;
		case ENTRY_TABLE:
			if (!check_level(mm, entry_page(entry), level - 1, at, puds))
				return false;
			break;
		case ENTRY_LEAF:
			if (!check_leaf(mm, level, entry, at))
				return false;
			huge += !(entry & PTE_DEVICE);
		}
	}
	if (level == 3) {
		*puds += huge;
		return check_pud_deposits(mm, page, huge);
	}
	return level != 2 || check_deposits(mm, page, huge);
}

static void clear_deposit_marks(struct page *page, unsigned level)
{
	for (u32 pfn = level == 2 ? page->next : 0; pfn; pfn = pfn_to_page(pfn)->next)
		pfn_to_page(pfn)->flags &= ~TABLE_SEEN;
	for (u32 pfn = level == 3 ? page->next : 0; pfn; pfn = pfn_to_page(pfn)->prev) {
		pfn_to_page(pfn)->flags &= ~TABLE_SEEN;
		clear_deposit_marks(pfn_to_page(pfn), 2);
	}
}

/* Takes the checker's marks away again; goes only where check_level() went. */
static void clear_marks(struct page *page, unsigned level)
{
	const u64 *table = page_to_virt(page);
	unsigned nr = level == 4 ? KERNEL_HALF : PTRS_PER_TABLE;

	if (!(page->flags & TABLE_SEEN))
		return;
	page->flags &= ~TABLE_SEEN;
	for (unsigned i = 0; level > 1 && i < nr; i++)
		if (kind_at(level, table[i]) == ENTRY_TABLE &&
			pfn_valid(entry_page(table[i]) - page_array))
			clear_marks(entry_page(table[i]), level - 1);
	clear_deposit_marks(page, level);
}

static bool check_kernel_half(struct mm *mm)
{
	const pgd_t *kernel = phys_to_virt(tlb_kernel_root);

	for (unsigned i = KERNEL_HALF; i < PTRS_PER_TABLE; i++)
		if (mm->pgd[i].v != kernel[i].v)
			return BROKEN("T9", "root entry %u is %#lx, the kernel's is %#lx", i,
				mm->pgd[i].v, kernel[i].v);
	return true;
}

/*
 * pgtable_check - T1 to T9 over one space; prints the first that is broken.
 *
 *   locks    mm->lock held for writing, or the other CPUs are stopped
 */
bool pgtable_check(struct mm *mm)
{
	struct page *root;
	u32 puds = 0;
	bool good;

	if (!mm->pgd)
		return true;
	root = virt_to_page(mm->pgd);
	good = check_level(mm, root, 4, 0, &puds);
	clear_marks(root, 4);
	if (!good)
		return false;
	if (puds != mm->nr_puds)
		return BROKEN("T2", "%u leaves of 1 GiB found, nr_puds is %u", puds, mm->nr_puds);
	if (pgtable_count_tables(mm) != mm->nr_tables)
		return BROKEN("T8", "%lu tables found, nr_tables is %lu", pgtable_count_tables(mm),
			mm->nr_tables);
	return check_kernel_half(mm);
}
