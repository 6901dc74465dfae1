/*
 * fake_mmu.c - see fake_mmu.h. In place of x86/tlb.c, of the scheduler and of the CPU itself.
 *
 * One host thread plays all CPUs. Where the kernel could be overtaken (machine_preempt in cpu.h), a test may run
 * other work as the next CPU, with locks and lists of its own, and then come back.
 */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "fake_machine.h"
#include "fake_mmu.h"
#include "mm/buddy.h"
#include "mm/fault.h"
#include "mm/memory.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/compact.h"
#include "mm/thp.h"
#include "mm/vma.h"
#include "mm/zero.h"
#include "pager.h"
#include "printk.h"
#include "sched.h"

#define MAX_SPACES 16
#define TRIES                                                                                      \
	16 /* a fault that was served, and still the access fails: how often is that believed? */

paddr_t tlb_kernel_root;
struct tlb_space tlb_kernel_space;
u32 tlb_skip_local, tlb_skip_remote, tlb_skip_ack;

void (*mmu_before_flush)(struct mm *mm, vaddr_t start, vaddr_t end, enum tlb_site site);
enum fault_result (*mmu_pager)(const struct fault *f);
u64 mmu_faults;
u64 mmu_flushes[NR_TLB_SITES];

static struct tlbs {
	struct mm *mm; /* NULL: unused */
	struct mmu_entry entries[MMU_TLBS][MMU_ENTRIES];
} tlbs[MAX_SPACES];

static struct thread threads[MMU_CPUS];

/* ---- the machine ---- */

void mmu_start(u64 bytes)
{
	struct page *root;

	memset(tlbs, 0, sizeof(tlbs)); /* of the machine before */
	machine_start(bytes, MMU_CPUS);
	for (u32 i = 0; i < MMU_CPUS; i++) {
		threads[i].tid = i + 1;
		cpus[i]->current = &threads[i];
	}
	zero_init();
	mm_init();
	vma_init();
	rmap_init();
	thp_init();
	compact_init();
	memory_init();
	root = buddy_alloc(0, MIGRATE_UNMOVABLE, PAGE_TABLE, 0);
	clear_page(page_to_virt(root));
	tlb_kernel_root = page_to_phys(root);
}

enum fault_result pager_ask(const struct fault *f)
{
	return mmu_pager ? mmu_pager(f) : FAULT_BUS;
}

static bool spinlock_held(void)
{
	const struct lock_context *ctx = this_cpu()->lock_context;

	for (u32 class = LOCK_TASKS; class < NR_LOCK_CLASSES; class ++)
		if (ctx->held[class])
			return true;
	return false;
}

bool mmu_as_other_cpu(void (*fn)(void))
{
	if (spinlock_held() || machine_cpu + 1 == MMU_CPUS)
		return false;
	machine_cpu++;
	fn();
	CHECK(!spinlock_held() && this_cpu()->lock_context->mm_locks == 0);
	machine_cpu--;
	return true;
}

__noreturn void machine_sleep(const char *why)
{
	check_fail(__FILE__, __LINE__, "nobody would wake it: %s", why);
}

/* Accesses that wait for an outer CPU end here: see sched_yield(). */
static jmp_buf waits[MMU_CPUS];
static bool may_wait[MMU_CPUS];

void sched_yield(void)
{
	CHECK(!spinlock_held() && this_cpu()->lock_context->mm_locks == 0); /* migrate.c, M3 */
	if (machine_cpu == 0 || !may_wait[machine_cpu])
		check_fail(__FILE__, __LINE__, "nobody gets on while it waits");
	longjmp(waits[machine_cpu], 1);
}

static enum fault_result fault(const struct fault *f)
{
	enum fault_result r;

	mmu_faults++;
	may_wait[machine_cpu] = true;
	if (setjmp(waits[machine_cpu]))
		r = FAULT_MIGRATING;
	else
		r = fault_handle(f);
	may_wait[machine_cpu] = false;
	return r;
}

/* ---- the TLB ---- */

static struct tlbs *tlbs_of(struct mm *mm)
{
	struct tlbs *unused = NULL;

	for (struct tlbs *t = tlbs; t < tlbs + MAX_SPACES; t++) {
		if (t->mm == mm)
			return t;
		if (!t->mm)
			unused = t;
	}
	CHECK(unused);
	unused->mm = mm;
	return unused;
}

void tlb_space_init(struct tlb_space *s)
{
	*s = (struct tlb_space){0};
}

void tlb_switch(struct tlb_space *next, paddr_t root)
{
	(void)next;
	(void)root;
}

void mmu_enter(struct mm *mm)
{
	mm->tlb.cpus = 1;
	mm->tlb.acked[0] = mm->tlb.gen;
}

void mmu_leave(struct mm *mm)
{
	mm->tlb.cpus = 0;
	memset(tlbs_of(mm), 0, sizeof(struct tlbs));
}

/* INVLPG: whatever translates addr goes, also as a part of a large page. */
static void invalidate(struct mmu_entry *tlb, vaddr_t addr)
{
	for (struct mmu_entry *e = tlb; e < tlb + MMU_ENTRIES; e++)
		if (e->size && addr - e->start < e->size)
			e->size = 0;
}

u64 tlb_flush(struct tlb_space *s, vaddr_t start, vaddr_t end, u64 stride, enum tlb_site site)
{
	struct mm *mm = container_of(s, struct mm, tlb);

	ASSERT_HELD(&mm->pt_lock);
	CHECK(start < end &&
		(stride == PAGE_SIZE || stride == HPAGE_PMD_SIZE || stride == HPAGE_PUD_SIZE));
	mmu_flushes[site]++;
	if (mmu_before_flush)
		mmu_before_flush(mm, start, end, site);
	s->gen++;
	for (unsigned cpu = 0; cpu < MMU_TLBS && !(tlb_skip_local & 1u << site); cpu++)
		for (vaddr_t a = start; a < end; a += stride)
			invalidate(tlbs_of(mm)->entries[cpu], a);
	if (!(tlb_skip_ack & 1u << site))
		s->acked[0] = s->gen;
	return s->gen;
}

void tlb_assert_acked(const struct tlb_space *s, u64 gen)
{
	ASSERT_RULE("tlb-gen", !s->cpus || s->acked[0] >= gen, "generation %lu is flushed, not %lu",
		s->acked[0], gen);
}

void tlb_assert_flushed(const struct tlb_space *s)
{
	tlb_assert_acked(s, s->gen);
}

const struct mmu_entry *mmu_entry(struct mm *mm, unsigned cpu, unsigned n)
{
	const struct mmu_entry *e = &tlbs_of(mm)->entries[cpu][n];

	return e->size ? e : NULL;
}

static struct mmu_entry *lookup(struct mm *mm, unsigned cpu, vaddr_t addr)
{
	struct mmu_entry *tlb = tlbs_of(mm)->entries[cpu];

	for (struct mmu_entry *e = tlb; e < tlb + MMU_ENTRIES; e++)
		if (e->size && addr - e->start < e->size)
			return e;
	return NULL;
}

static bool allowed(u64 bits, enum mmu_kind kind)
{
	switch (kind) {
	case MMU_WRITE:
		return bits & PTE_RW;
	case MMU_EXEC:
		return !(bits & PTE_NX);
	default:
		return true;
	}
}

/* A translation without D must go to the tables once more before the first write: D is set there. */
static bool usable(const struct mmu_entry *e, enum mmu_kind kind)
{
	return allowed(e->bits, kind) && (kind != MMU_WRITE || e->bits & PTE_D);
}

static char *byte_behind(const struct mmu_entry *e, vaddr_t addr)
{
	return phys_to_virt((e->pfn << PAGE_SHIFT) + (addr - e->start));
}

char *mmu_cached(struct mm *mm, unsigned cpu, vaddr_t addr, enum mmu_kind kind)
{
	struct mmu_entry *e = lookup(mm, cpu, addr);

	return e && usable(e, kind) ? byte_behind(e, addr) : NULL;
}

/* ---- the walk ---- */

/* The leaf for addr and its size; NULL: there is none. */
static u64 *find_leaf(struct mm *mm, vaddr_t addr, u64 *size)
{
	pud_t *pudp = mm->pgd ? pgtable_find_pud(mm, addr) : NULL;
	pmd_t *pmdp = mm->pgd ? pgtable_find_pmd(mm, addr) : NULL;
	pte_t *ptep;

	if (pudp && pud_kind(pud_read(pudp)) == ENTRY_LEAF) {
		*size = HPAGE_PUD_SIZE;
		return &pudp->v;
	}
	if (pmdp && pmd_kind(pmd_read(pmdp)) == ENTRY_LEAF) {
		*size = HPAGE_PMD_SIZE;
		return &pmdp->v;
	}
	ptep = mm->pgd ? pgtable_find_pte(mm, addr) : NULL;
	*size = PAGE_SIZE;
	return ptep && pte_kind(pte_read(ptep)) == ENTRY_LEAF ? &ptep->v : NULL;
}

pfn_t mmu_frame(struct mm *mm, vaddr_t addr)
{
	u64 size, *leaf = find_leaf(mm, addr, &size);

	return leaf ? (entry_addr(*leaf) + (addr & (size - 1))) >> PAGE_SHIFT : 0;
}

static bool entry_present(struct mm *mm, vaddr_t addr)
{
	u64 size, *leaf = find_leaf(mm, addr, &size);

	return leaf && *leaf & PTE_P;
}

static void cache(struct mm *mm, unsigned cpu, vaddr_t addr, u64 leaf, u64 size)
{
	struct mmu_entry *tlb = tlbs_of(mm)->entries[cpu], *e = &tlb[check_below(MMU_ENTRIES)];

	invalidate(tlb, addr); /* one translation for one address */
	*e = (struct mmu_entry){
		.start = addr & ~(size - 1),
		.size = size,
		.pfn = entry_addr(leaf) >> PAGE_SHIFT,
		.bits = leaf & (PTE_RW | PTE_NX | PTE_D | PTE_A),
	};
}

/* Walks; NULL: it faults. */
static char *walk(struct mm *mm, unsigned cpu, vaddr_t addr, enum mmu_kind kind)
{
	u64 size, *leaf = find_leaf(mm, addr, &size);

	if (!leaf || !(*leaf & PTE_P) || !(*leaf & PTE_US) || !allowed(*leaf, kind))
		return NULL;
	*leaf |= PTE_A | (kind == MMU_WRITE ? PTE_D : 0);
	cache(mm, cpu, addr, *leaf, size);
	return byte_behind(lookup(mm, cpu, addr), addr);
}

enum fault_result mmu_access(struct mm *mm, vaddr_t addr, enum mmu_kind kind, char **at)
{
	unsigned cpu = check_below(MMU_TLBS);

	for (unsigned i = 0; i < TRIES; i++) {
		struct fault f = {.mm = mm, .addr = addr, .user = true};
		struct mmu_entry *e = lookup(mm, cpu, addr);
		enum fault_result r;

		*at = mmu_cached(mm, cpu, addr, kind);
		if (*at)
			return FAULT_DONE;
		/* A right is missing in the cached one: the CPU may fault on that, or look again. */
		if (!e || allowed(e->bits, kind) || check_below(2))
			*at = walk(mm, cpu, addr, kind);
		if (*at)
			return FAULT_DONE;
		if (e)
			e->size = 0; /* a fault drops it; the other CPU may have it too */
		f.write = kind == MMU_WRITE;
		f.exec = kind == MMU_EXEC;
		f.present = entry_present(mm, addr);
		r = fault(&f);
		if (r != FAULT_DONE)
			return r;
	}
	check_fail(__FILE__, __LINE__, "%#llx faults again and again", (unsigned long long)addr);
}

/* ---- the checker ---- */

static bool check_entry(struct mm *mm, const struct mmu_entry *e)
{
	u64 size = 0, *leaf = find_leaf(mm, e->start, &size), bits = leaf ? *leaf : 0;

	if (leaf && bits & PTE_P && size == e->size && entry_addr(bits) >> PAGE_SHIFT == e->pfn &&
		!(e->bits & ~bits & (PTE_RW | PTE_D | PTE_A)) && !(bits & ~e->bits & PTE_NX))
		return true;
	printk("mmu_check: M1: %#lx of space %u is cached as frame %#lx, size %#lx, bits %#lx; the "
	       "tables say "
	       "%#lx, size %#lx\n",
		e->start, mm->id, e->pfn, e->size, e->bits, bits, size);
	return false;
}

bool mmu_check(struct mm *mm)
{
	for (unsigned i = 0; i < MMU_TLBS * MMU_ENTRIES; i++) {
		const struct mmu_entry *e = mmu_entry(mm, i % MMU_TLBS, i / MMU_TLBS);

		if (e && !check_entry(mm, e))
			return false;
	}
	return true;
}
