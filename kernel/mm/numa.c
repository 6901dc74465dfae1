/*
 * numa.c - memory follows the CPU that uses it                    floor 5, below: migrate, rmap, pgtable
 *
 * A page is given on the node of the CPU that touches it first. When its user moves to another node, or another thread
 * turns out to be the user, the page is at the wrong place, and nobody says so: the hardware reaches it all the same,
 * only slower. So the kernel asks: it takes the access away and looks who comes to get it.
 *
 * IDEA
 *     scan    |A|B|C|D|  -->  |a|b|c|d|     a..d: PROTNONE, the frame stays in the entry; one flush
 *     hint    CPU of node 1 touches b:       access back; b is on node 0  -->  migrate_page_alone() to node 1
 *
 *   A 2 MiB page is one entry, one hint and one migration of the whole page. A protnone leaf in an area that may be
 *   accessed can only be a hint: mprotect(PROT_NONE) makes areas that may not, and the door refuses before it looks
 *   at an entry. Its write right stays in it, unused, and comes back with access; fork and mprotect take it away as of any
 *   leaf.
 *
 *     touched from node   1    0    1    1          a page on node 0 that was never asked about comes at once; after
 *     it is on node       1    1    1    1          that, one stray touch moves nothing: two in a row from one node do
 *     asked last          1    0    1    1
 *
 *   Small pages that fork shares are left alone, so are parts of huge pages, zero pages, devices, objects, areas without
 *   access, and areas and threads with a policy of their own (mm/mempolicy.h): they have said where they want to be.
 *
 * INVARIANTS
 *   N3  a hint keeps its frame, its counts and its A and D: taking it and giving it back changes nothing but P
 *   N4  a page is moved only when no lock is held but mm->lock, and with access given back: whoever comes meanwhile
 *       meets a present entry or a migration entry, never a hint that nobody will answer
 *       (tests/kernel/numa.c; pgtable_check() and rmap_check() hold throughout)
 *
 * LOCKS     mm->lock (read) -> pt_lock; migrate.c's without pt_lock
 * LINUX     kernel/sched/fair.c: task_numa_work, should_numa_migrate_memory; mm/memory.c: do_numa_page; mm/huge_memory.c.
 *           It remembers the thread beside the node, groups threads that share pages, and moves threads to their memory.
 *           docs/mm/numa.md
 */
#include "mm/numa.h"

#include "mm/buddy.h"
#include "mm/migrate.h"
#include "mm/pgtable.h"
#include "mm/zero.h"
#include "mutex.h"
#include "sched.h"
#include "vmstat.h"
#include "x86/tlb.h"

struct numa_settings numa_settings = {
	.scan_delay_ms = 1000,
	.scan_period_min_ms = 1000,
	.scan_period_max_ms = 60000,
	.scan_size_mb = 256,
};

void numa_settings_init(void)
{
	numa_settings.balancing = nr_nodes > 1;
}

/* --- taking access away --- */

/* Present, and anonymous memory: not a device's, not the zero page. */
static bool is_memory(u64 entry)
{
	pfn_t pfn = entry_addr(entry) >> PAGE_SHIFT;

	return entry & PTE_P && !(entry & PTE_DEVICE) && pfn_valid(pfn) &&
	       (pfn_type(pfn) == PAGE_ANON || pfn_type(pfn) == PAGE_ANON_HUGE);
}

/*
 * A small page that fork shared, or that is a part of a huge one, has no right place: whoever asks, somebody else is right
 * too. One reference says that neither is so, nor is it pinned. A huge page mapped as one may be shared: it is one question.
 */
static bool pte_wants_hint(u64 entry)
{
	return is_memory(entry) && page_refcount(pfn_head(entry_addr(entry) >> PAGE_SHIFT)) == 1;
}

/* The write right stays in it, unused while P is clear: who must take it away (fork, mprotect) does so as of any leaf. */
static u64 hint_entry(const struct vma *v, u64 entry)
{
	return entry_modify(entry, (vma_rights(v) & ~PTE_P) | (entry & PTE_RW));
}

/* One leaf of 2 MiB that the area covers. pt_lock held. Linux: change_huge_pmd */
static u64 hint_pmd(struct vma *v, pmd_t *pmdp)
{
	pmd_t old;

	if (!is_memory(pmd_read(pmdp).v))
		return 0;
	old = pmd_take(pmdp);
	pmd_write(pmdp, (pmd_t){hint_entry(v, old.v)});
	vmstat_inc(VM_numa_huge_pte_updates);
	return HPAGE_PMD_NR;
}

/* Linux: change_pte_range */
static u64 hint_ptes(struct vma *v, vaddr_t start, vaddr_t end, pmd_t pmd)
{
	pte_t *ptep = pte_ptr(pmd, start), old;
	u64 changed = 0;

	for (vaddr_t a = start; a < end; a += PAGE_SIZE, ptep++) {
		if (!pte_wants_hint(pte_read(ptep).v))
			continue;
		old = pte_take(ptep);
		pte_write(ptep, (pte_t){hint_entry(v, old.v)});
		changed++;
	}
	return changed;
}

static u64 hint_range(struct vma *v, vaddr_t start, vaddr_t end, pmd_t *pmdp)
{
	struct mm *mm = v->mm;
	u64 changed = 0;
	pmd_t pmd;

	spin_lock(&mm->pt_lock);
	pmd = pmd_read(pmdp);
	if (pmd_kind(pmd) == ENTRY_TABLE)
		changed = hint_ptes(v, start, end, pmd);
	else if (pmd_kind(pmd) == ENTRY_LEAF && end - start == HPAGE_PMD_SIZE)
		changed = hint_pmd(v, pmdp);
	if (changed)
		tlb_flush(&mm->tlb, start, end,
			pmd_kind(pmd) == ENTRY_TABLE ? PAGE_SIZE : HPAGE_PMD_SIZE, TLB_protect);
	spin_unlock(&mm->pt_lock);
	return changed;
}

/* From mm->numa.next to the area's end, or as far as *left reaches. mm->lock held. */
static u64 hint_area(struct vma *v, u64 *left)
{
	struct mm *mm = v->mm;
	vaddr_t a = MAX(v->start, mm->numa.next), next;
	u64 changed = 0;
	pmd_t *pmdp;

	while (*left > 0 && (pmdp = pgtable_next_pmd(mm, &a, v->end)) != NULL) {
		next = pmd_range_end(a, v->end);
		changed += hint_range(v, a, next, pmdp);
		*left -= MIN(*left, (next - a) >> PAGE_SHIFT);
		mm->numa.next = a = next;
		preempt_point();
	}
	if (*left > 0)
		mm->numa.next = v->end;
	return changed;
}

u64 numa_scan(struct mm *mm, u64 pages)
{
	u64 changed = 0, left = pages;
	struct vma *v;

	if (!rwsem_read_trylock(&mm->lock))
		return 0;
	v = mm->exiting ? NULL : vma_find_from(mm, mm->numa.next);
	while (v) {
		if (v->kind == VMA_ANON && !(v->flags & (VM_SHARED | VM_POLICY)) &&
			vma_is_accessible(v))
			changed += hint_area(v, &left);
		if (left == 0)
			break; /* the next turn goes on in this area */
		v = vma_next(v);
	}
	if (!v)
		mm->numa.next = 0; /* the next turn begins at the front */
	rwsem_read_unlock(&mm->lock);
	vmstat_add(VM_numa_pte_updates, changed);
	return changed;
}

/* --- how often --- */

#define SLOTS     10u /* the period changes by tenths ... */
#define THRESHOLD 7u  /* ... according to how many tenths of the answers were local */

/*
 * numa_adapt - how long until the next turn in this space, by what was answered since the last one. Nothing answered, or a
 * page could not come: half as often. Else 7 of 10 local is good enough, and each tenth more or less makes the period a
 * tenth longer or shorter. numad only.   Linux: update_task_scan_period
 */
u32 numa_adapt(struct mm *mm)
{
	u32 min = READ_ONCE(numa_settings.scan_period_min_ms);
	u32 max = MAX(min, READ_ONCE(numa_settings.scan_period_max_ms));
	u64 period = MIN(MAX(mm->numa.period_ms, min), max), slot = (period + SLOTS - 1) / SLOTS;
	u64 local, all, tenths;

	spin_lock(&mm->pt_lock);
	local = mm->numa.local;
	all = local + mm->numa.remote;
	mm->numa.local = mm->numa.remote = 0;
	spin_unlock(&mm->pt_lock);
	if (all == 0 || READ_ONCE(mm->numa.failed)) {
		WRITE_ONCE(mm->numa.failed, false);
		period *= 2;
	} else {
		tenths = local * SLOTS / all;
		if (tenths >= THRESHOLD)
			period += MAX(tenths - THRESHOLD, 1) * slot;
		else
			period -= (THRESHOLD - tenths) * slot;
	}
	mm->numa.period_ms = MIN(MAX(period, min), max);
	return mm->numa.period_ms;
}

/* --- the fault that answers --- */

/* The leaf as it was before the question. */
static u64 given_back(const struct vma *v, u64 entry)
{
	return entry_modify(entry, vma_rights(v) | (entry & PTE_RW));
}

/*
 * Somebody has come. Counted; true: the page is to come to this CPU's node. It is, when nobody has been asked about it
 * before, or the one before came from here as well: a page that two nodes use in turns stays where it is. pt_lock held,
 * and the page mapped under it.   Linux: numa_migrate_prep, should_numa_migrate_memory
 */
static bool answer(struct mm *mm, pfn_t pfn)
{
	unsigned here = this_cpu()->node;
	struct page *head = pfn_head(pfn);
	int last = page_last_node(head);

	if (mm != current_thread()->mm)
		return false;
	page_set_last_node(head, here);
	vmstat_inc(VM_numa_hint_faults);
	if (pfn_zone(pfn)->node == here) {
		vmstat_inc(VM_numa_hint_faults_local);
		mm->numa.local++;
		return false;
	}
	mm->numa.remote++;
	return (last < 0 || (unsigned)last == here) && READ_ONCE(numa_settings.balancing) &&
	       !current_thread()->mempolicy;
}

/* To this CPU's node, or nowhere. Access is back, pt_lock is not held: if the page is gone meanwhile, so is the reason. */
static void follow(struct mm *mm, pfn_t pfn)
{
	struct page *head = pfn_head(pfn);
	u64 pages = page_nr(head);
	enum migrate_result r;

	r = migrate_page_alone(head, BUDDY_ONLY(this_cpu()->node) | BUDDY_QUIET, false);
	if (r == MIGRATED_DONE)
		vmstat_add(VM_numa_pages_migrated, pages);
	else if (r != MIGRATED_GONE)
		WRITE_ONCE(mm->numa.failed, true);
}

enum fault_result numa_fault_pte(struct vma *v, pte_t *ptep, pte_t seen)
{
	struct mm *mm = v->mm;
	bool comes = false;

	spin_lock(&mm->pt_lock);
	if (pte_read(ptep).v == seen.v) {
		pte_write(ptep, (pte_t){given_back(v, seen.v)});
		/* A huge page follows its whole leaves only, as in Linux. */
		comes = !pfn_in_huge(pte_pfn(seen)) && answer(mm, pte_pfn(seen));
	}
	spin_unlock(&mm->pt_lock);
	if (comes)
		follow(mm, pte_pfn(seen));
	return FAULT_DONE;
}

enum fault_result numa_fault_pmd(struct vma *v, pmd_t *pmdp, pmd_t seen)
{
	struct mm *mm = v->mm;
	bool comes = false;

	spin_lock(&mm->pt_lock);
	if (pmd_read(pmdp).v == seen.v) {
		pmd_write(pmdp, (pmd_t){given_back(v, seen.v)});
		comes = answer(mm, pmd_pfn(seen));
	}
	spin_unlock(&mm->pt_lock);
	if (comes)
		follow(mm, pmd_pfn(seen));
	return FAULT_DONE;
}
