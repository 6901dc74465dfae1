/*
 * fake_space.c - see fake_space.h. In place of x86/tlb.c, and of what floor 5 does with floor 3.
 *
 * The TLBs hold no translations: what is tested is the rule of generations, that a frame goes back only
 * after every CPU of the space acknowledged. tlb_skip_ack makes a site forget, as in the kernel.
 */
#include "check.h"
#include "fake_machine.h"
#include "fake_space.h"
#include "mm/buddy.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/zero.h"
#include "sync.h"

paddr_t tlb_kernel_root;
struct tlb_space tlb_kernel_space;
u32 tlb_skip_local, tlb_skip_remote, tlb_skip_ack;
u64 space_flushes[NR_TLB_SITES];

void tlb_space_init(struct tlb_space *s)
{
	*s = (struct tlb_space){0};
}

u64 tlb_flush(struct tlb_space *s, vaddr_t start, vaddr_t end, u64 stride, enum tlb_site site)
{
	u64 gen = __atomic_add_fetch(&s->gen, 1, __ATOMIC_SEQ_CST);

	CHECK(start < end && (stride == PAGE_SIZE || stride == HPAGE_PMD_SIZE));
	__atomic_add_fetch(&space_flushes[site], 1, __ATOMIC_RELAXED);
	for (u32 cpu = 0; cpu < nr_cpus; cpu++)
		if (s->cpus & 1u << cpu && !(tlb_skip_ack & 1u << site))
			s->acked[cpu] = gen;
	return gen;
}

void tlb_assert_acked(const struct tlb_space *s, u64 gen)
{
	for (u32 cpu = 0; cpu < nr_cpus; cpu++)
		ASSERT_RULE("tlb-gen", !(s->cpus & 1u << cpu) || s->acked[cpu] >= gen,
			"CPU %u flushed generation %lu, not %lu", cpu, s->acked[cpu], gen);
}

void tlb_assert_flushed(const struct tlb_space *s)
{
	tlb_assert_acked(s, s->gen);
}

void tlb_switch(struct tlb_space *next, paddr_t root)
{
	struct cpu *c = this_cpu();

	CHECK(root != 0);
	if (c->tlb_active)
		c->tlb_active->cpus &= ~(1u << c->id);
	c->tlb_active = next;
	if (!next)
		return;
	next->cpus |= 1u << c->id;
	next->acked[c->id] = next->gen;
}

void space_start(u64 bytes, u32 cpus)
{
	struct page *root;

	machine_start(bytes, cpus);
	zero_init();
	mm_init();
	vma_init();
	rmap_init();
	root = buddy_alloc(0, MIGRATE_UNMOVABLE, PAGE_KERNEL, 0);
	clear_page(page_to_virt(root));
	for (unsigned i = 256; i < PTRS_PER_TABLE; i += 50) /* some entries, to be copied */
		((u64 *)page_to_virt(root))[i] = (u64)i << PAGE_SHIFT | PTE_P;
	tlb_kernel_root = page_to_phys(root);
}

struct mm *space_create(void)
{
	struct mm *mm = mm_create();

	CHECK(mm);
	mm->lock.state = RWSEM_WRITER;
	mm->lock.writer = current_thread();
	return mm;
}

void space_destroy(struct mm *mm)
{
	mm->lock.state = 0;
	mm->lock.writer = NULL;
	CHECK(mm_drop_user(mm));
	mm_put(mm);
}

struct vma *space_area(struct mm *mm, vaddr_t start, vaddr_t end, u32 flags)
{
	struct vma *v = vma_alloc(mm);

	CHECK(v);
	v->start = start;
	v->end = end;
	v->flags = flags;
	v->pgoff = start >> PAGE_SHIFT;
	CHECK_EQ(vma_insert(mm, v), 0);
	return v;
}

void space_area_gone(struct vma *v)
{
	rmap_unlink(v);
	vma_remove(v);
	vma_free(v);
}

void space_area_free(struct vma *v)
{
	struct mm *mm = v->mm;
	struct vma *below = vma_prev(v), *above = vma_next(v);
	vaddr_t floor = below ? below->end : 0, ceiling = above ? above->start : USER_END;
	vaddr_t start = v->start, end = v->end;

	space_area_gone(v);
	pgtable_free_range(mm, start, end, floor, ceiling);
}

pmd_t *space_pmd(struct mm *mm, vaddr_t addr)
{
	pud_t *pudp = pgtable_make_pud(mm, addr);
	pmd_t *pmdp = pudp ? pgtable_make_pmd(mm, pudp, addr) : NULL;

	CHECK(pmdp);
	return pmdp;
}

pte_t *space_pte(struct mm *mm, vaddr_t addr)
{
	pmd_t *pmdp = space_pmd(mm, addr);

	CHECK_EQ(pgtable_make_pte(mm, pmdp), 0);
	return pte_ptr(pmd_read(pmdp), addr);
}

struct page *space_map_small(struct vma *v, vaddr_t addr)
{
	struct page *page = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, 0);
	pte_t *ptep = space_pte(v->mm, addr);

	CHECK(page && rmap_prepare(v) == 0 && ptep->v == 0);
	spin_lock(&v->mm->pt_lock);
	rmap_new_anon(page, v, addr);
	v->mm->nr_anon++;
	pte_write(ptep, pte_make(page_to_pfn(page), vma_rights_write(v)));
	spin_unlock(&v->mm->pt_lock);
	return page;
}

struct page *space_map_huge(struct vma *v, vaddr_t haddr)
{
	struct page *page = buddy_alloc(HPAGE_PMD_ORDER, MIGRATE_MOVABLE, PAGE_ANON_HUGE, 0);
	struct page *table = pgtable_alloc_table(v->mm, false);
	pmd_t *pmdp = space_pmd(v->mm, haddr);

	CHECK(page && table && rmap_prepare(v) == 0 && pmdp->v == 0);
	spin_lock(&v->mm->pt_lock);
	pgtable_deposit(v->mm, pmdp, table);
	rmap_new_anon_huge(page, v, haddr);
	v->mm->nr_anon += HPAGE_PMD_NR;
	pmd_write(pmdp, pmd_make_huge(page_to_pfn(page), vma_rights_write(v)));
	spin_unlock(&v->mm->pt_lock);
	return page;
}

void space_map_zero(struct vma *v, vaddr_t addr)
{
	pte_t *ptep = space_pte(v->mm, addr);

	spin_lock(&v->mm->pt_lock);
	CHECK_EQ(ptep->v, 0);
	pte_write(ptep, pte_make(zero_pfn, vma_rights(v)));
	spin_unlock(&v->mm->pt_lock);
}

void space_map_huge_zero(struct vma *v, vaddr_t haddr)
{
	pfn_t zero = v->mm->has_huge_zero ? zero_huge_pfn : zero_huge_get();
	struct page *table = pgtable_alloc_table(v->mm, false);
	pmd_t *pmdp = space_pmd(v->mm, haddr);

	CHECK(zero && table && pmdp->v == 0);
	spin_lock(&v->mm->pt_lock);
	v->mm->has_huge_zero = true;
	pgtable_deposit(v->mm, pmdp, table);
	pmd_write(pmdp, pmd_make_huge(zero, vma_rights(v)));
	spin_unlock(&v->mm->pt_lock);
}

void space_unmap_small(struct vma *v, vaddr_t addr)
{
	pte_t *ptep = pgtable_find_pte(v->mm, addr), pte;

	if (!ptep || pte_kind(pte_read(ptep)) == ENTRY_HOLE)
		return;
	spin_lock(&v->mm->pt_lock);
	pte = pte_take(ptep);
	if (!pfn_is_zero(pte_pfn(pte))) {
		rmap_remove_pte(pte_pfn(pte));
		v->mm->nr_anon--;
	}
	tlb_flush(&v->mm->tlb, addr, addr + PAGE_SIZE, PAGE_SIZE, TLB_unmap);
	spin_unlock(&v->mm->pt_lock);
	tlb_assert_flushed(&v->mm->tlb);
	if (!pfn_is_zero(pte_pfn(pte)))
		page_put(pfn_head(pte_pfn(pte)));
}

void space_unmap_huge(struct vma *v, vaddr_t haddr)
{
	pmd_t *pmdp = pgtable_find_pmd(v->mm, haddr), pmd;
	struct page *table, *head = NULL;

	spin_lock(&v->mm->pt_lock);
	pmd = pmd_take(pmdp);
	CHECK_EQ(pmd_kind(pmd), ENTRY_LEAF);
	table = pgtable_withdraw(v->mm, pmdp);
	if (!pfn_is_huge_zero(pmd_pfn(pmd))) {
		head = pfn_to_page(pmd_pfn(pmd));
		rmap_remove_pmd(head);
		v->mm->nr_anon -= HPAGE_PMD_NR;
	}
	tlb_flush(&v->mm->tlb, haddr, haddr + HPAGE_PMD_SIZE, HPAGE_PMD_SIZE, TLB_unmap);
	spin_unlock(&v->mm->pt_lock);
	tlb_assert_flushed(&v->mm->tlb);
	pgtable_free_table(table);
	if (head)
		page_put(head);
}

void space_split_huge(struct vma *v, vaddr_t haddr)
{
	pmd_t *pmdp = pgtable_find_pmd(v->mm, haddr);
	pfn_t pfn = pmd_pfn(pmd_read(pmdp));

	spin_lock(&v->mm->pt_lock);
	pgtable_split_pmd(v->mm, haddr, pmdp);
	if (!pfn_is_huge_zero(pfn))
		rmap_pmd_to_ptes(pfn_to_page(pfn));
	tlb_flush(&v->mm->tlb, haddr, haddr + HPAGE_PMD_SIZE, HPAGE_PMD_SIZE, TLB_split);
	spin_unlock(&v->mm->pt_lock);
}

void space_unmap_range(struct vma *v, vaddr_t start, vaddr_t end)
{
	vaddr_t a = start;

	for (pmd_t *pmdp; (pmdp = pgtable_next_pmd(v->mm, &a, end)) != NULL;
		a = pmd_range_end(a, end)) {
		vaddr_t haddr = a & HPAGE_PMD_MASK, next = pmd_range_end(a, end);

		if (pmd_kind(pmd_read(pmdp)) == ENTRY_LEAF) {
			if (next - a == HPAGE_PMD_SIZE) {
				space_unmap_huge(v, a);
				continue;
			}
			space_split_huge(v, haddr);
		}
		for (vaddr_t at = a; at < next; at += PAGE_SIZE)
			space_unmap_small(v, at);
	}
}

void space_empty(struct mm *mm)
{
	for (struct vma *v; (v = vma_first(mm)) != NULL;) {
		space_unmap_range(v, v->start, v->end);
		space_area_free(v);
	}
	if (mm->has_huge_zero) {
		mm->has_huge_zero = false;
		zero_huge_put();
	}
	space_destroy(mm);
}
