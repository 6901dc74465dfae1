/*
 * fault.c - a page fault, from the area down the tree                       floor 5, below: thp, pgtable, vma, rmap
 *
 * One fault walks once: area, PGD, PUD, PMD, PTE. At each level something may be found that ends it. This file
 * decides what was found; what a huge page is and how one is made is thp.c's business, what an entry is pgtable.c's.
 *
 * CASES     what stands there              and then
 *   no area, or its rights forbid it         FAULT_BAD_ADDRESS, FAULT_BAD_ACCESS
 *   just below a growing stack               grow it, start again
 *   hole at the pud                          huge_pud_fault: a gigabyte at once? "fallback" is the normal answer
 *   leaf at the pud                          write to read-only: huge_pud_wp; else set accessed
 *   hole at the pmd, area of an object       memory_fault_pmd: its huge page, or who supplies one; or fallback
 *   hole at the pmd, area may be huge        thp_fault: huge page, or huge zero page for a read, or fallback
 *   leaf at the pmd, at the pte, migrating   its page is being moved: give way without a lock, start again
 *   leaf at the pmd                          protnone: numa_fault_pmd; write to read-only: thp_wp; else set accessed
 *   hole at the pte, area of an object       memory_fault_pte: its page, a copy of it, or who supplies one
 *   hole at the pte                          read: the zero page. write: a run of pages (run_fault), or a fresh zeroed page
 *   leaf at the pte                          protnone: numa_fault_pte; write to read-only: reuse or copy; else set accessed
 *   nothing wrong                            another CPU was faster: done
 *
 * Allocate, lock, look again, commit; if the entry changed meanwhile, give back and be done: if anything is still
 * wrong the instruction faults again.
 *
 * LOCKS     mm->lock (read; write only to grow a stack) -> anon -> pt_lock -> lru -> zone.lock
 * LINUX     mm/memory.c: __handle_mm_fault, handle_pte_fault, do_anonymous_page, do_wp_page. It also knows files,
 *           swap, userfaultfd and per-VMA locks.                              docs/fault-walk.md
 */
#include <abi/errno.h>
#include "vmstat.h"
#include "mm/buddy.h"
#include "mm/lru.h"
#include "mm/zero.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/vma.h"
#include "mutex.h"
#include "sched.h"
#include "mm/thp.h"
#include "mm/run.h"
#include "mm/huge_pud.h"
#include "mm/memory.h"
#include "mm/mempolicy.h"
#include "pager.h"
#include "mm/fault.h"
#include "mm/numa.h"
#include "seeded.h"

#define STACK_LIMIT (8ul << 20) /* RLIMIT_STACK's usual value */

/* --- 4 KiB: nothing is mapped yet --- */

/* First touch is a read: the shared frame of zeroes, read-only. */
static enum fault_result pte_zero(struct vma *v, pte_t *ptep)
{
	struct mm *mm = v->mm;

	spin_lock(&mm->pt_lock);
	if (pte_kind(pte_read(ptep)) == ENTRY_HOLE)
		pte_write(ptep, pte_make(zero_pfn, vma_rights(v)));
	spin_unlock(&mm->pt_lock);
	return FAULT_DONE;
}

/*
 * Put a filled page where `seen` stands (a hole, or the zero page's entry). Commits in straight code; false:
 * the entry changed meanwhile, the caller keeps the page.
 */
static inline bool pte_install(
	struct vma *v, vaddr_t addr, pte_t *ptep, pte_t seen, struct page *page)
{
	struct mm *mm = v->mm;

	spin_lock(&mm->pt_lock);
	if (unlikely(pte_read(ptep).v != seen.v)) {
		spin_unlock(&mm->pt_lock);
		return false;
	}
	if (seen.v) {
		pte_write(ptep, (pte_t){0});
		tlb_flush(&mm->tlb, addr, addr + PAGE_SIZE, PAGE_SIZE, TLB_cow);
	}
	rmap_new_anon(page, v, addr);
	mm->nr_anon++;
	lru_add_active(page);
	pte_write(ptep, pte_make(page_to_pfn(page), vma_rights_write(v)));
	spin_unlock(&mm->pt_lock);
	return true;
}

/* A fresh zeroed page for a hole, or for the first write to the zero page (`seen`). Linux: do_anonymous_page */
static enum fault_result pte_fresh(struct vma *v, vaddr_t addr, pte_t *ptep, pte_t seen)
{
	struct page *page;

	if (rmap_prepare(v))
		return FAULT_NO_MEMORY;
	page = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, mempolicy_wish(v, addr, 0));
	if (unlikely(!page))
		return FAULT_NO_MEMORY;
	clear_page(page_to_virt(page));
	if (unlikely(!pte_install(v, addr, ptep, seen, page)))
		page_put(page);
	return FAULT_DONE;
}

/* --- 4 KiB: a write to a read-only entry --- */

/* The page is shared: copy it without the lock, look again, swap the entry. `old` is pinned by the caller. */
static enum fault_result pte_copy(
	struct vma *v, vaddr_t addr, pte_t *ptep, pte_t seen, struct page *old)
{
	struct mm *mm = v->mm;
	pfn_t old_pfn = pte_pfn(seen);
	struct page *copy = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, mempolicy_wish(v, addr, 0));
	u64 gen;

	if (unlikely(!copy))
		return FAULT_NO_MEMORY;
	copy_page(page_to_virt(copy), phys_to_virt(old_pfn << PAGE_SHIFT));

	spin_lock(&mm->pt_lock);
	if (unlikely(pte_read(ptep).v != seen.v)) {
		spin_unlock(&mm->pt_lock);
		page_put(copy);
		return FAULT_DONE;
	}
	pte_write(ptep, (pte_t){0});
	gen = tlb_flush(&mm->tlb, addr, addr + PAGE_SIZE, PAGE_SIZE, TLB_cow);
	rmap_remove_pte(old_pfn);
	rmap_new_anon(copy, v, addr);
	if (old->flags & PG_SHARED) { /* an object's: from here on the area has a page of its own */
		mm_uncount(mm, 0, 1);
		mm->nr_anon++;
		v->copied = true;
	}
	lru_add_active(copy);
	pte_write(ptep, pte_make(page_to_pfn(copy), vma_rights_write(v)));
	spin_unlock(&mm->pt_lock);
	tlb_assert_acked(&mm->tlb, gen);
	page_put(old); /* the mapping's reference; the pin is the caller's */
	return FAULT_DONE;
}

/*
 * Is the page ours alone, to be written in place? With cow=split as Linux 6.1 sees it, which counts references: of a huge
 * page that small entries map, the others hide whether fork's other side is gone, so only an entry that fork never
 * met will do, or the last one.
 */
static bool may_reuse(pte_t seen)
{
	pfn_t pfn = pte_pfn(seen);
	const struct page *head = pfn_head(pfn);

	if (!rmap_pte_exclusive(pfn))
		return false;
	return likely(!page_is_huge(head)) || seen.v & PTE_EXCL || thp_settings.cow != COW_SPLIT ||
	       page_refcount(head) == 1;
}

/* Linux: do_wp_page */
static enum fault_result pte_wp(struct vma *v, vaddr_t addr, pte_t *ptep, pte_t seen)
{
	struct mm *mm = v->mm;
	enum fault_result r;
	struct page *old;

	if (seen.v & PTE_DEVICE)
		return FAULT_BAD_ACCESS;
	if (pfn_is_zero(pte_pfn(seen)) && !(seeded(ZERO_TAINT) && v->flags & VM_SHARED))
		return pte_fresh(v, addr, ptep, seen);
	if (rmap_prepare(v))
		return FAULT_NO_MEMORY;

	spin_lock(&mm->pt_lock);
	if (unlikely(pte_read(ptep).v != seen.v)) {
		spin_unlock(&mm->pt_lock);
		return FAULT_DONE;
	}
	if (v->flags & VM_SHARED || may_reuse(seen)) {
		pte_write(ptep, (pte_t){seen.v | PTE_RW | PTE_D | PTE_A | PTE_EXCL});
		spin_unlock(&mm->pt_lock);
		vmstat_inc(VM_pgreuse);
		return FAULT_DONE;
	}
	old = pfn_head(pte_pfn(seen));
	page_get(old); /* stays while it is copied, whoever else lets go of it */
	spin_unlock(&mm->pt_lock);
	r = pte_copy(v, addr, ptep, seen, old);
	page_put(old);
	return r;
}

/* Nothing was wrong, or only A and D were missing; or a NUMA hint. */
static enum fault_result pte_touch(const struct fault *f, struct vma *v, pte_t *ptep, pte_t seen)
{
	struct mm *mm = v->mm;

	if (entry_migrating(seen.v))
		return FAULT_MIGRATING;
	if (unlikely(pte_protnone(seen)))
		return numa_fault_pte(v, ptep, seen);
	spin_lock(&mm->pt_lock);
	if (pte_read(ptep).v == seen.v)
		entry_touch(&ptep->v, f->write);
	spin_unlock(&mm->pt_lock);
	return FAULT_DONE;
}

/* A hole in an area that is not anonymous memory. */
static __noinline enum fault_result hole_elsewhere(
	const struct fault *f, struct vma *v, pte_t *ptep)
{
	return v->kind == VMA_OBJECT ? memory_fault_pte(f, v, ptep) : FAULT_BAD_ADDRESS;
}

/* Linux: handle_pte_fault */
static enum fault_result fault_pte(const struct fault *f, struct vma *v, pmd_t *pmdp, pmd_t pmd)
{
	vaddr_t addr = f->addr & PAGE_MASK;
	pte_t *ptep, pte;
	int err;

	if (unlikely(pmd_kind(pmd) != ENTRY_TABLE)) {
		(void)seeded_window(TWO_LOOKS);
		err = pgtable_make_pte(v->mm, pmdp);
		if (err && !(seeded(TWO_LOOKS) && err == -EEXIST))
			return err == -EEXIST ? FAULT_RETRY : FAULT_NO_MEMORY;
		pmd = pmd_read(pmdp);
	}
	ptep = pte_ptr(pmd, addr);
	pte = pte_read(ptep);
	if (pte_kind(pte) == ENTRY_HOLE) {
		if (unlikely(v->kind != VMA_ANON) && !seeded(ZERO_TAINT))
			return hole_elsewhere(f, v, ptep);
		if (!f->write && !v->mm->forbid_zero)
			return pte_zero(v, ptep);
		if (unlikely(thp_settings.run_orders) && run_fault(f, v, ptep) == FAULT_DONE)
			return FAULT_DONE;
		return pte_fresh(v, addr, ptep, pte);
	}
	if (f->write && pte_present(pte) && !pte_writable(pte))
		return pte_wp(v, addr, ptep, pte);
	return pte_touch(f, v, ptep, pte);
}

/* --- 2 MiB and 1 GiB --- */

/* A hole that thp_fault may fill, or a huge leaf. FAULT_FALLBACK: go on below. */
static enum fault_result fault_pmd(const struct fault *f, struct vma *v, pmd_t *pmdp, pmd_t pmd)
{
	if (pmd_kind(pmd) == ENTRY_HOLE) {
		if (unlikely(v->kind == VMA_OBJECT))
			return memory_fault_pmd(f, v, pmdp);
		return thp_vma_reason(v) == THP_OK ? thp_fault(f, v, pmdp) : FAULT_FALLBACK;
	}
	if (entry_migrating(pmd.v))
		return FAULT_MIGRATING;
	if (pmd_protnone(pmd)) /* the area has rights: they were checked before the walk */
		return numa_fault_pmd(v, pmdp, pmd);
	if (f->write && !pmd_writable(pmd))
		return thp_wp(f, v, pmdp, pmd);
	return thp_set_accessed(f, v, pmdp, pmd);
}

/* The pud exists: a table, a 1 GiB leaf, or a hole that huge_pud_fault may fill. FAULT_FALLBACK: go on below. */
static enum fault_result fault_pud(const struct fault *f, struct vma *v, pud_t *pudp, pud_t pud)
{
	if (pud_kind(pud) == ENTRY_HOLE)
		return thp_vma_reason(v) == THP_OK ? huge_pud_fault(f, v, pudp) : FAULT_FALLBACK;
	if (f->write && !(pud.v & PTE_RW) && !entry_protnone(pud.v))
		return huge_pud_wp(f, v, pudp, pud);
	return huge_pud_set_accessed(f, v, pudp, pud);
}

/*
 * The walk: PGD, PUD, PMD, PTE; each "fallback" falls to the next smaller size.   Linux: __handle_mm_fault
 * held: mm(read)
 */
static enum fault_result fault_walk(const struct fault *f, struct vma *v)
{
	enum fault_result r = FAULT_FALLBACK;
	pud_t *pudp, pud;
	pmd_t *pmdp, pmd;

	pudp = pgtable_make_pud(v->mm, f->addr);
	if (unlikely(!pudp))
		return FAULT_NO_MEMORY;
	pud = pud_read(pudp);
	if (likely(pud_kind(pud) == ENTRY_TABLE)) {
		pmdp = pmd_ptr(pud, f->addr);
	} else {
		r = fault_pud(f, v, pudp, pud);
		if (r != FAULT_FALLBACK)
			return r;
		(void)seeded_window(SPLIT_REFAULT);
		pmdp = pgtable_make_pmd(v->mm, pudp, f->addr);
		if (seeded(SPLIT_REFAULT) && pud_kind(pud_read(pudp)) == ENTRY_LEAF)
			pmdp = pmd_ptr(pud_read(pudp), f->addr); /* no table, but a page's words */
		if (!pmdp) /* or another thread's leaf of 1 GiB came meanwhile, perhaps split by now */
			return pud_kind(pud_read(pudp)) == ENTRY_HOLE ? FAULT_NO_MEMORY
								      : FAULT_RETRY;
	}

	pmd = pmd_read(pmdp);
	if (unlikely(pmd_kind(pmd) != ENTRY_TABLE)) {
		r = fault_pmd(f, v, pmdp, pmd);
		if (r != FAULT_FALLBACK)
			return r;
		pmd = pmd_read(pmdp);
	}
	return fault_pte(f, v, pmdp, pmd);
}

/* --- the area --- */

static inline bool access_allowed(const struct fault *f, const struct vma *v)
{
	if (f->write)
		return v->flags & VM_WRITE;
	if (f->exec)
		return v->flags & VM_EXEC;
	return vma_is_accessible(v);
}

/* Is addr just below a stack that may grow down to it? Never below USER_START. mm->lock held. Linux: expand_downwards */
static struct vma *stack_above(struct mm *mm, vaddr_t addr)
{
	struct vma *v = vma_find_from(mm, addr), *below;
	vaddr_t start = addr & PAGE_MASK;

	if (!v || !(v->flags & VM_GROWSDOWN) || v->end - start > STACK_LIMIT || start < USER_START)
		return NULL;
	below = vma_prev(v);
	if (below && vma_is_accessible(below) && start - below->end < STACK_GUARD)
		return NULL;
	return v;
}

/* Grow it. No lock held: growing changes an area, so it needs mm->lock for writing, and a fresh look. */
static enum fault_result stack_grow(struct mm *mm, vaddr_t addr)
{
	bool wrong = seeded(STACK_READ_LOCK);
	struct vma *v;

	if (wrong)
		rwsem_read_lock(&mm->lock);
	else
		rwsem_write_lock(&mm->lock);
	v = vma_find(mm, addr) ? NULL : stack_above(mm, addr);
	if (v)
		vma_resize(v, addr & PAGE_MASK, v->end);
	if (wrong)
		rwsem_read_unlock(&mm->lock);
	else
		rwsem_write_unlock(&mm->lock);
	return FAULT_RETRY;
}

/*
 * The fault is not done. FAULT_RETRY: start again. No lock held.
 *
 * A migration entry stands only while its migrator runs on another CPU: between writing and replacing it the
 * migrator neither sleeps nor passes a preempt_point(). So giving way to other threads is waiting enough, and
 * the loop ends with the copy of that page (migrate.c, M3).
 */
static __noinline enum fault_result not_done(const struct fault *f, bool grow, enum fault_result r)
{
	if (grow)
		return stack_grow(f->mm, f->addr);
	if (r != FAULT_MIGRATING)
		return r;
	sched_yield();
	return FAULT_RETRY;
}

enum fault_result fault_handle(const struct fault *f)
{
	struct mm *mm = f->mm;
	enum fault_result r;
	struct vma *v;
	bool grow;

	do {
		grow = false;
		rwsem_read_lock(&mm->lock);
		v = vma_find(mm, f->addr);
		if (unlikely(!v)) {
			grow = stack_above(mm, f->addr);
			r = FAULT_BAD_ADDRESS;
		} else if (unlikely(!access_allowed(f, v))) {
			r = FAULT_BAD_ACCESS;
		} else {
			r = fault_walk(f, v);
		}
		rwsem_read_unlock(&mm->lock);
		if (unlikely(r != FAULT_DONE))
			r = not_done(f, grow, r);
	} while (unlikely(r == FAULT_RETRY));
	return r;
}

/* --- populate --- */

/*
 * Populating for a write leaves the pages dirty, as a write would: what MADV_FREE left clean may not be dropped from then
 * on. mm->lock held.   Linux: follow_page_pte with FOLL_TOUCH and FOLL_WRITE
 */
static void touch_clean(struct mm *mm, vaddr_t addr)
{
	pmd_t *pmdp;
	pte_t *ptep;

	spin_lock(&mm->pt_lock);
	pmdp = pgtable_find_pmd(mm, addr);
	if (pmdp && pmd_kind(pmd_read(pmdp)) == ENTRY_LEAF) {
		if (pmd_present(pmd_read(pmdp)) && pmd_writable(pmd_read(pmdp)))
			entry_touch(&pmdp->v, true);
	} else if (pmdp && pmd_kind(pmd_read(pmdp)) == ENTRY_TABLE) {
		ptep = pte_ptr(pmd_read(pmdp), addr);
		if (pte_present(pte_read(ptep)) && pte_writable(pte_read(ptep)))
			entry_touch(&ptep->v, true);
	}
	spin_unlock(&mm->pt_lock);
}

/* Where the next page to fault in begins: past what is mapped well enough already. mm->lock held. */
static vaddr_t skip_mapped(struct mm *mm, vaddr_t addr, vaddr_t end, bool write)
{
	while (addr < end) {
		pmd_t pmd = pgtable_look_pmd(mm, addr);
		pte_t pte = {0};

		if (pmd_kind(pmd) == ENTRY_LEAF) {
			if (!pmd_present(pmd) || (write && !pmd_writable(pmd)))
				return addr;
			if (write && !(pmd.v & PTE_D))
				touch_clean(mm, addr);
			addr = pmd_range_end(addr, end);
			continue;
		}
		if (pmd_kind(pmd) == ENTRY_TABLE)
			pte = pte_read(pte_ptr(pmd, addr));
		if (!pte_present(pte) || (write && !pte_writable(pte)))
			return addr;
		if (write && !(pte.v & PTE_D))
			touch_clean(mm, addr);
		addr += PAGE_SIZE;
	}
	return end;
}

/* Move *addr on to the next page that needs a fault, as far as the areas allow populating. 0 or why not. */
static int populate_next(struct mm *mm, vaddr_t *addr, vaddr_t end, bool write)
{
	while (*addr < end) {
		struct vma *v = vma_find(mm, *addr);

		if (!v)
			return -ENOMEM;
		if (v->kind == VMA_DEVICE || !(v->flags & (write ? VM_WRITE : VM_READ)))
			return -EINVAL;
		*addr = skip_mapped(mm, *addr, MIN(v->end, end), write);
		if (*addr < v->end)
			break;
	}
	return 0;
}

int fault_populate(struct mm *mm, vaddr_t start, vaddr_t end, bool write, u64 *faults)
{
	struct fault f = {.mm = mm, .addr = start, .write = write, .user = true};
	enum fault_result r;
	int err;

	while (f.addr < end) {
		rwsem_read_lock(&mm->lock);
		err = populate_next(mm, &f.addr, end, write);
		rwsem_read_unlock(&mm->lock);
		if (err || f.addr >= end)
			return err;
		if (thread_killed())
			return -EINTR;
		r = fault_handle(&f);
		if (r == FAULT_PAGER && mm == current_thread()->mm)
			r = pager_ask(&f);
		if (r == FAULT_BAD_ADDRESS || r == FAULT_NO_MEMORY)
			return -ENOMEM;
		if (r != FAULT_DONE)
			return -EFAULT;
		(*faults)++;
		preempt_point();
	}
	return 0;
}
