/*
 * rmap_check.c - every rule of the reverse map, looked at                              floor 3, below: rmap, pgtable
 *
 * Reads every table of every space and every frame, and compares both with the counts. Changes nothing.
 *
 * IDEA      two walks in opposite directions; only together are they exact
 *
 *       tables   -- each leaf -->  page: is it known to the family, under this index?     R1   an entry too many
 *       frames   -- each page -->  family --> areas --> entries: as many as are counted?  R2   a count too many
 *
 * INVARIANTS (rmap_check() tests every one)
 *   R1  each leaf's page names the family of the leaf's area, and the index of its address there
 *   R2  the counts of a page are the entries that are found through its family
 *   R3  a page has at least as many references as mappings
 *   R4  an area stands in its family's tree; the tree is in order and nr_areas is its size
 *   R5  mm->nr_anon and nr_shared, nr_anon_pages and nr_anon_transparent_hugepages are what the leaves say; a page
 *       counts once, however many spaces map it
 *
 * LOCKS     the other CPUs stand still; takes anon locks
 * LINUX     has no such walk: mm/page_table_check.c counts what is mapped on the way.      docs/mm/rmap.md
 */
#include "mm/rmap.h"

#include "lib/tree.h"
#include "mm/pgtable.h"
#include "mm/zero.h"
#include "printk.h"
#include "vmstat.h"

#define BROKEN(rule, fmt, ...) (printk("rmap_check: " rule ": " fmt, ##__VA_ARGS__), false)

/* R4 for one area; the tree itself only for the first area of the family. */
static bool check_family(struct vma *v)
{
	struct tree_node *node = &v->anon_node;
	u32 nr = 0;

	if (!v->anon)
		return true;
	if (!tree_linked(node))
		return BROKEN(
			"R4", "[%#lx, %#lx) has a family but is not in its tree", v->start, v->end);
	if (node != tree_first(&v->anon->areas)) {
		while (node->parent)
			node = node->parent;
		return node == v->anon->areas.root ||
		       BROKEN("R4", "[%#lx, %#lx) is in another family's tree", v->start, v->end);
	}
	if (!rmap_tree_check(v->anon))
		return BROKEN("R4", "the tree of family %p is damaged", v->anon);
	for (; node; node = tree_next(node))
		nr++;
	if (nr != v->anon->nr_areas || v->anon->refs < nr)
		return BROKEN("R4", "family %p: %u areas, counted %u, %u references", v->anon, nr,
			v->anon->nr_areas, v->anon->refs);
	return true;
}

/* What the leaves of a space map, in pages. */
struct mapped {
	u64 anon, shared;
};

/* R1 for one leaf over nr pages. */
static bool check_leaf(struct mm *mm, pfn_t pfn, u64 nr, vaddr_t at, struct mapped *pages)
{
	struct vma *v = mm_lookup(mm, at);
	struct page *head;
	u64 index;

	if (nr == 1 ? pfn_is_zero(pfn) : pfn_is_huge_zero(pfn))
		return true;
	if (!v || !pfn_valid(pfn & ~(pfn_in_huge(pfn) ? HPAGE_PMD_NR - 1 : 0)))
		return BROKEN("R1", "%#lx of space %u: frame %#lx in no area, or no frame", at,
			mm->id, pfn);
	head = pfn_head(pfn);
	index = page_index(head) + (pfn - page_to_pfn(head));
	if ((head->type != PAGE_ANON && head->type != PAGE_ANON_HUGE) || !v->anon ||
		page_anon(head) != v->anon || index != vma_index(v, at))
		return BROKEN("R1",
			"%#lx of space %u: frame %#lx type %u family %p index %#lx, "
			"area has %p and %#lx",
			at, mm->id, pfn, head->type, page_anon(head), index, v->anon,
			vma_index(v, at));
	*(head->flags & PG_SHARED ? &pages->shared : &pages->anon) += nr;
	return true;
}

static bool check_table(struct mm *mm, pmd_t pmd, vaddr_t base, struct mapped *pages)
{
	const pte_t *table = pte_ptr(pmd, base);

	for (unsigned i = 0; i < PTRS_PER_TABLE; i++) {
		pte_t pte = pte_read(&table[i]);

		if (pte_kind(pte) == ENTRY_LEAF && !(pte.v & PTE_DEVICE) &&
			!check_leaf(mm, pte_pfn(pte), 1, base + i * PAGE_SIZE, pages))
			return false;
	}
	return true;
}

/* A leaf of 1 GiB stands for 512 of 2 MiB. */
static bool check_puds(struct mm *mm, struct mapped *pages)
{
	pud_t *pudp;

	for (vaddr_t a = 0; mm->nr_puds && (pudp = pgtable_next_pud(mm, &a, USER_END)) != NULL;
		a += PUD_SIZE)
		for (vaddr_t at = a; at < a + PUD_SIZE; at += PMD_SIZE)
			if (!check_leaf(mm, pmd_pfn(pud_part(pud_read(pudp), at)), HPAGE_PMD_NR, at,
				    pages))
				return false;
	return true;
}

static bool check_space(struct mm *mm, void *ctx)
{
	bool *good = ctx;
	struct mapped pages = {0};
	vaddr_t at = 0;

	*good = true;
	for (struct tree_node *n = tree_first(&mm->vmas); n && *good; n = tree_next(n))
		*good = check_family(tree_entry(n, struct vma, node));
	if (!mm->pgd)
		return *good;
	for (pmd_t *pmdp; *good && (pmdp = pgtable_next_pmd(mm, &at, USER_END)) != NULL;
		at = pmd_range_end(at, USER_END)) {
		pmd_t pmd = pmd_read(pmdp);

		if (pmd_kind(pmd) == ENTRY_TABLE)
			*good = check_table(mm, pmd, at & HPAGE_PMD_MASK, &pages);
		else if (!(pmd.v & PTE_DEVICE))
			*good = check_leaf(
				mm, pmd_pfn(pmd), HPAGE_PMD_NR, at & HPAGE_PMD_MASK, &pages);
	}
	if (*good)
		*good = check_puds(mm, &pages);
	if (*good && (pages.anon != mm->nr_anon || pages.shared != mm->nr_shared))
		*good = BROKEN("R5",
			"space %u maps %lu anonymous and %lu shared pages, counted %lu and %lu",
			mm->id, pages.anon, pages.shared, mm->nr_anon, mm->nr_shared);
	return *good;
}

/* What a walk through the family of one page found. */
struct tally {
	struct page *head;
	u32 pmds, ptes[HPAGE_PMD_NR];
};

static bool tally_area(struct vma *v, vaddr_t at, void *ctx)
{
	struct tally *t = ctx;
	struct page *head = t->head;
	pfn_t pfn = page_to_pfn(head);

	for (; at < v->end; at += PAGE_SIZE) {
		u64 i = vma_index(v, at) - page_index(head);
		pmd_t pmd = v->mm->pgd ? pgtable_look_pmd(v->mm, at) : (pmd_t){0};
		pte_t pte;

		if (i >= page_nr(head))
			break;
		if (pmd_kind(pmd) == ENTRY_LEAF)
			t->pmds += i == 0 && pmd_pfn(pmd) == pfn && IS_ALIGNED(at, HPAGE_PMD_SIZE);
		if (pmd_kind(pmd) != ENTRY_TABLE)
			continue;
		pte = pte_read(pte_ptr(pmd, at));
		t->ptes[i] += pte_kind(pte) == ENTRY_LEAF && pte_pfn(pte) == pfn + i;
	}
	return true;
}

/* R2 and R3 for one page; *frames and *huge grow by what the gauges should have counted. */
static bool check_counts(struct page *head, u64 *frames, u64 *huge)
{
	static struct tally tally; /* too large for a kernel stack; the other CPUs are stopped */
	pfn_t pfn = page_to_pfn(head);
	u64 ptes = 0, mappings = page_total_mapcount(head);
	u32 pmds = page_is_huge(head) ? page_pmd_mapcount(head) : 0;
	bool anon = !(head->flags & PG_SHARED);

	tally.head = head;
	tally.pmds = 0;
	for (unsigned i = 0; i < page_nr(head); i++)
		tally.ptes[i] = 0;
	if (mappings)
		rmap_walk(page_anon(head), page_index(head), page_nr(head), tally_area, &tally);
	for (unsigned i = 0; i < page_nr(head); i++) {
		if (tally.ptes[i] != head[i].mapcount)
			return BROKEN("R2", "frame %#lx: %u ptes found, mapcount is %u", pfn + i,
				tally.ptes[i], head[i].mapcount);
		ptes += tally.ptes[i];
		*frames += anon && (tally.ptes[i] || pmds);
	}
	*huge += anon && pmds != 0;
	if (tally.pmds != pmds || ptes + pmds != mappings)
		return BROKEN("R2", "huge page %#lx: %u pmds and %lu ptes found, counted %u of %lu",
			pfn, tally.pmds, ptes, pmds, mappings);
	if (page_refcount(head) < mappings)
		return BROKEN("R3", "frame %#lx: %u references, %lu mappings", pfn,
			page_refcount(head), mappings);
	return true;
}

static bool check_gauges(u64 frames, u64 huge)
{
	if (frames != vmstat_read(VM_nr_anon_pages) ||
		huge != vmstat_read(VM_nr_anon_transparent_hugepages))
		return BROKEN("R5", "%lu frames and %lu huge pages are mapped, counted %lu and %lu",
			frames, huge, vmstat_read(VM_nr_anon_pages),
			vmstat_read(VM_nr_anon_transparent_hugepages));
	return true;
}

/*
 * rmap_check - R1 to R5 over all spaces and all frames; prints the first that is broken.
 *
 *   locks    the other CPUs are stopped, no kernel code in flight on them; takes anon locks
 */
bool rmap_check(void)
{
	u64 frames = 0, huge = 0;
	bool good = true;

	mm_for_each(check_space, &good);
	if (!good)
		return false;
	for (pfn_t pfn = 0; pfn < page_max_pfn; pfn++) {
		struct page *page = pfn_to_page(pfn);

		if (page->type != PAGE_ANON && page->type != PAGE_ANON_HUGE)
			continue;
		if (!check_counts(page, &frames, &huge))
			return false;
		pfn += page_nr(page) - 1;
	}
	return check_gauges(frames, huge);
}
