/*
 * gigapage.c - 1 GiB of memory in one piece: 512 huge pages in a row, and a reserve of such pieces       floor 2
 *
 * Finds gigabytes and keeps the reserve. Who maps them, and how, is floor 5's business (huge_pud.c).
 *
 * IDEA      There is no page of 1 GiB, and no block of that order. A gigabyte is 512 huge pages that lie in a row, each
 *           with its own head, counts and record; only a leaf in a page table joins them. So a gigabyte comes
 *           apart without a descriptor being written: every huge page of it goes its own way already.
 *
 *             | huge 0 | huge 1 | huge 2 | ...                    | huge 511 |     pfn: a multiple of 2^18
 *               |  record: PB_HUGE, and PB_PUD while a leaf of 1 GiB names the whole
 *               '-- [1].index_low: how many leaves do
 *
 *           When a machine has run for a while no gigabyte is free as a whole. `reserve_1g=N` keeps N apart
 *           from the start (as PINNED frames). What is given back whole fills the reserve up again.
 *
 * INVARIANTS
 *   G1  a gigabyte of the reserve is 512 blocks of order 9 in a row, typed PINNED, with one reference each
 *       (gigapage_check())
 *   G2  PB_PUD stands in all 512 records, or in none. It does exactly while leaves of 1 GiB name the gigabyte, and
 *       their number is in [1].index_low of the first page (huge_pud_check())
 *
 * WHY G2 IS SAFE   Every change is made under the pt_lock of a space that maps all 512 just now, so none of them is freed,
 *           and none is split or moved: both lock the tables of every space that maps the page. The count grows only beside
 *           a leaf that is counted and whose pt_lock is held (fork), so from 0 it never rises: who takes it to 0 is alone,
 *           and clears the records before he lets go of the pages. Spaces that have split their leaf already map the
 *           pages by pmds and ptes: that is no leaf of 1 GiB.
 *
 * LOCKS     reserve_lock (LOCK_ZERO), and zone.lock, one after the other
 * LINUX     mm/hugetlb.c: gigantic pages (alloc_contig_pages, hugepages= with hugepagesz=1G), never transparent.
 *           docs/mm/huge-pud.md
 */
#include "mm/gigapage.h"
#include "mm/buddy.h"
#include "panic.h"
#include "printk.h"
#include "sync.h"

static struct spinlock reserve_lock = SPINLOCK_INIT(LOCK_ZERO, "reserve_1g");
static u32
	reserve_first; /* reserve_lock: pfn of the first one; linked by `next` of the first page of each */
static u32 reserve_count, reserve_target;

/* False: the reserve is full, another CPU was faster. */
static bool reserve_push(struct page *first)
{
	bool wanted;

	spin_lock(&reserve_lock);
	wanted = reserve_count < reserve_target;
	if (wanted) {
		first->next = reserve_first;
		reserve_first = page_to_pfn(first);
		reserve_count++;
	}
	spin_unlock(&reserve_lock);
	return wanted;
}

static struct page *reserve_pop(void)
{
	struct page *first = NULL;

	spin_lock(&reserve_lock);
	if (reserve_first) {
		first = pfn_to_page(reserve_first);
		reserve_first = first->next;
		reserve_count--;
	}
	spin_unlock(&reserve_lock);
	return first;
}

/* gigapage_refill - gigabytes that are free as a whole join the reserve, until it is as large as at boot. */
void gigapage_refill(void)
{
	while (READ_ONCE(reserve_count) < reserve_target) {
		struct page *first = buddy_alloc_contig(GIGABYTE_ORDER, PAGE_PINNED, 0);

		if (!first)
			return;
		if (!reserve_push(first))
			buddy_free_contig(first, GIGABYTE_ORDER);
	}
}

/*
 * gigapage_reserve - keep so many gigabytes apart for good.
 *
 *   locks    start-up, one CPU, after buddy_init()
 *   returns  how many there were
 *   Linux    hugepagesz=1G hugepages=N
 */
u32 gigapage_reserve(u32 wanted)
{
	reserve_target = wanted;
	gigapage_refill();
	reserve_target = reserve_count;
	return reserve_count;
}

/*
 * gigapage_alloc - 512 huge pages in a row, aligned to 1 GiB; contents are whatever they were.
 *
 *   locks    as buddy_alloc
 *   returns  the first, typed ANON_HUGE like all of them, each with one reference; NULL: there is none
 */
struct page *gigapage_alloc(void)
{
	struct page *first = reserve_pop();

	if (first)
		for (unsigned i = 0; i < GIGABYTE_BLOCKS; i++)
			buddy_retype_huge(gigapage_part(first, i), PAGE_ANON_HUGE);
	else
		first = buddy_alloc_contig(GIGABYTE_ORDER, PAGE_ANON_HUGE, 0);
	return first;
}

/* --- who maps it as one; contracts in gigapage.h --- */

void gigapage_map_first(struct page *first)
{
	WRITE_ONCE(first[1].index_low, 1);
	for (unsigned i = 0; i < GIGABYTE_BLOCKS; i++)
		pfn_block(page_to_pfn(gigapage_part(first, i)))->flags |= PB_PUD;
}

void gigapage_map_again(struct page *first)
{
	u32 leaves = __atomic_add_fetch(&first[1].index_low, 1, __ATOMIC_RELAXED);

	ASSERT_RULE("G2", leaves > 1, "pfn %#lx is shared, and no leaf of 1 GiB names it",
		page_to_pfn(first));
}

void gigapage_unmap(struct page *first)
{
	u32 before = __atomic_fetch_sub(&first[1].index_low, 1, __ATOMIC_ACQ_REL);

	ASSERT_RULE("G2", before > 0, "pfn %#lx had no leaf of 1 GiB to lose", page_to_pfn(first));
	for (unsigned i = 0; before == 1 && i < GIGABYTE_BLOCKS; i++)
		pfn_block(page_to_pfn(gigapage_part(first, i)))->flags &= ~PB_PUD;
}

/* gigapage_free - drop one reference of each of the 512. Those that others hold stay with them. */
void gigapage_free(struct page *first)
{
	for (unsigned i = 0; i < GIGABYTE_BLOCKS; i++)
		page_put(gigapage_part(first, i));
	gigapage_refill();
}

u32 gigapage_reserved(void)
{
	return READ_ONCE(reserve_count);
}

/* --- the checker --- */

static bool check_reserved(pfn_t pfn)
{
	for (unsigned i = 0; i < GIGABYTE_BLOCKS; i++, pfn += HPAGE_PMD_NR) {
		const struct page *p = pfn_to_page(pfn);

		if (!pfn_valid(pfn) || p->type != PAGE_PINNED || p->order != HPAGE_PMD_ORDER ||
			page_refcount(p) != 1 || pfn_block(pfn)->flags & (PB_HUGE | PB_PUD)) {
			printk("G1: block %u of a reserved gigabyte, pfn %#lx: %s, %u references\n",
				i, pfn, page_type_name(p->type), page_refcount(p));
			return false;
		}
	}
	return true;
}

/*
 * gigapage_check - G1 over the reserve.
 *   locks    the other CPUs stand still
 *   returns  false after printing what is wrong
 */
bool gigapage_check(void)
{
	u32 found = 0;

	for (u32 pfn = reserve_first; pfn && found <= reserve_count; pfn = pfn_to_page(pfn)->next) {
		if (!IS_ALIGNED(pfn, GIGABYTE_PAGES) || !check_reserved(pfn))
			return false;
		found++;
	}
	if (found == reserve_count && reserve_count <= reserve_target)
		return true;
	printk("G1: %u gigabytes in the reserve, counted %u of %u\n", found, reserve_count,
		reserve_target);
	return false;
}
