/*
 * run.c - sizes between 4 KiB and 2 MiB: runs of pages that one write fault brings   floor 5, below: thp, pgtable, buddy
 *
 * Linux calls these sizes mTHP and makes each run one folio. Here a run is only how pages *come*: one block of order n,
 * one fault, one hold of the lock; from then on its 2^n frames are ordinary pages, each with its own counts.
 *
 * IDEA      hole at the pte, write; the orders are tried from the largest that is enabled
 *
 *     1 MiB    |. . . . . . . . . . . . . . . .|     reaches out of the area:      next
 *     512 KiB          |. . P . . . . .|             a page is there already:      next
 *     64 KiB                   |. . . .|             all holes; a block of order 4? no: counted, next
 *     16 KiB                     |. .|               yes: cleared, mapped by 4 entries in one go
 *     4 KiB                      none left: FALLBACK, and fault.c brings one page
 *
 *   What a folio would buy Linux (one reference count, one LRU entry) is not had, and what it costs is not paid:
 *   unmapping a part gives memory back at once, nothing is ever split or queued, copies after fork are of one
 *   page. What is had: 2^n - 1 faults fewer, and frames side by side, which a CPU may keep as one TLB entry and
 *   khugepaged finds in place. The stats about splitting are therefore 0.   docs/decisions/0012-runs-are-pages.md
 *
 * INVARIANTS
 *   S1  a run is mapped whole or not at all: all its entries were holes under pt_lock
 *   S2  run_orders has a bit for each smaller size that is not NEVER, so that a fault asks one word
 *
 * LOCKS     mm->lock (read) -> pt_lock -> lru
 * LINUX     mm/memory.c alloc_anon_folio (6.8).                                docs/mm/sizes.md
 */
#include "mm/mempolicy.h"
#include "mm/run.h"
#include "mm/buddy.h"
#include "mm/lru.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/vma.h"
#include "sync.h"
#include "trace.h"
#include "vmstat.h"

struct run_stats run_stats[HPAGE_PMD_ORDER];

static u32 orders_of_sizes(void)
{
	u32 orders = 0;

	for (unsigned n = RUN_MIN_ORDER; n <= RUN_MAX_ORDER; n++)
		if (READ_ONCE(thp_settings.size[n]) != SIZE_NEVER)
			orders |= 1u << n;
	return orders;
}

/* Two may set two sizes at once: whose word would be the older one looks again, until it says what is there. */
void run_set_size(unsigned order, enum thp_size size)
{
	u32 orders;

	WRITE_ONCE(thp_settings.size[order], (u8)size);
	do {
		orders = orders_of_sizes();
		__atomic_exchange_n(&thp_settings.run_orders, orders, __ATOMIC_SEQ_CST);
	} while (orders != orders_of_sizes()); /* S2 */
}

static vaddr_t run_start(vaddr_t addr, unsigned order)
{
	return ALIGN_DOWN(addr, PAGE_SIZE << order);
}

static bool run_fits(const struct vma *v, vaddr_t addr, unsigned order)
{
	vaddr_t start = run_start(addr, order);

	return start >= v->start && start + (PAGE_SIZE << order) <= v->end;
}

/* Are all entries of the run holes? Linux: pte_range_none */
static bool run_is_hole(const pte_t *first, unsigned order)
{
	for (const pte_t *pte = first; pte < first + (1u << order); pte++)
		if (pte_read(pte).v)
			return false;
	return true;
}

/* The entry of the run's first page; a run never leaves its table. */
static pte_t *run_first(pte_t *ptep, vaddr_t addr, unsigned order)
{
	return ptep - ((addr - run_start(addr, order)) >> PAGE_SHIFT);
}

/* May there be a run of this order around addr, memory apart? */
static enum thp_reason run_reason(const struct vma *v, vaddr_t addr, pte_t *ptep, unsigned order)
{
	enum thp_reason r = thp_order_reason(v, order);

	if (r != THP_OK)
		return r;
	if (!run_fits(v, addr, order))
		return THP_RANGE;
	if (ptep && !run_is_hole(run_first(ptep, addr, order), order))
		return THP_PTES_PRESENT;
	return THP_OK;
}

enum thp_reason run_why(struct vma *v, vaddr_t addr, unsigned order)
{
	enum thp_reason r = run_reason(v, addr, pgtable_find_pte(v->mm, addr), order);

	if (r != THP_OK)
		return r;
	return thp_has_block(order) ? THP_OK : THP_NO_BLOCK;
}

/* A block whose frames stand on their own: each ANON, order 0, one reference. A mere wish: nobody compacts for it. */
static struct page *run_alloc(const struct vma *v, vaddr_t addr, unsigned order)
{
	u32 flags = BUDDY_QUIET | mempolicy_wish(v, run_start(addr, order), order);
	struct page *first = buddy_alloc(order, MIGRATE_MOVABLE, PAGE_ANON, flags);

	if (!first) {
		__atomic_add_fetch(&run_stats[order].anon_fault_fallback, 1, __ATOMIC_RELAXED);
		return NULL;
	}
	for (struct page *p = first; p < first + (1u << order); p++) {
		p->refcount = 1;
		p->order = 0;
		clear_page(page_to_virt(p));
	}
	return first;
}

static void run_free(struct page *first, unsigned order)
{
	for (struct page *p = first; p < first + (1u << order); p++)
		page_put(p);
}

/* All entries at once, if all still are holes (S1). */
static bool run_install(
	struct vma *v, vaddr_t start, pte_t *pte, struct page *first, unsigned order)
{
	struct mm *mm = v->mm;
	u64 nr = 1ul << order, rights = vma_rights_write(v);

	spin_lock(&mm->pt_lock);
	if (!run_is_hole(pte, order)) {
		spin_unlock(&mm->pt_lock);
		return false;
	}
	for (u64 i = 0; i < nr; i++)
		rmap_new_anon(first + i, v, start + i * PAGE_SIZE);
	mm->nr_anon += nr;
	lru_add_active_many(first, nr);
	for (u64 i = 0; i < nr; i++)
		pte_write(pte + i, pte_make(page_to_pfn(first) + i, rights));
	spin_unlock(&mm->pt_lock);
	return true;
}

/* The largest order that may be tried; 0: none. Smaller ones then fit too, and are holes. */
static unsigned run_largest(const struct vma *v, vaddr_t addr, pte_t *ptep)
{
	u32 orders = READ_ONCE(thp_settings.run_orders);

	for (unsigned order = RUN_MAX_ORDER; order >= RUN_MIN_ORDER; order--)
		if (orders >> order & 1 && run_reason(v, addr, ptep, order) == THP_OK)
			return order;
	return 0;
}

enum fault_result run_fault(const struct fault *f, struct vma *v, pte_t *ptep)
{
	vaddr_t addr = f->addr & PAGE_MASK;
	unsigned order = run_largest(v, addr, ptep);
	struct page *first = NULL;

	if (!order || rmap_prepare(v))
		return FAULT_FALLBACK;
	for (; order >= RUN_MIN_ORDER; order--) {
		if (READ_ONCE(thp_settings.run_orders) >> order & 1 &&
			thp_order_reason(v, order) == THP_OK &&
			(first = run_alloc(v, f->addr, order)))
			break;
	}
	if (!first)
		return FAULT_FALLBACK;
	if (!run_install(v, run_start(addr, order), run_first(ptep, addr, order), first, order)) {
		run_free(first, order);
		return FAULT_DONE; /* another CPU was faster: if anything is still wrong, it faults again */
	}
	__atomic_add_fetch(&run_stats[order].anon_fault_alloc, 1, __ATOMIC_RELAXED);
	trace(TRACE_thp_fault, run_start(addr, order), FAULT_DONE, page_to_pfn(first));
	return FAULT_DONE;
}
