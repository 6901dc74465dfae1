/*
 * test_migrate.c - a page moves: what its entries are meanwhile, and what others do to them in the middle of the copy.
 */
#include "check.h"
#include "fake_machine.h"
#include "model.h"
#include <abi/advice.h>
#include <abi/errno.h>
#include "mm/buddy.h"
#include "mm/lru.h"
#include "mm/mmap.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/thp.h"
#include "mm/vma.h"
#include "vmstat.h"

#define MIB   (1ul << 20)
#define HERE  (4 * MIB)
#define THERE (12 * MIB)
#define RW    (PROT_READ | PROT_WRITE)

static struct model_space *s;
static void (*in_the_middle)(void); /* of the copy, once, by another CPU */
static unsigned met;

static void at_copy(void)
{
	void (*fn)(void) = in_the_middle;

	if (!fn || !model_migrating)
		return;
	in_the_middle = NULL;
	met += mmu_as_other_cpu(fn);
}

static void begin(u64 len, bool huge)
{
	machine_preempt = at_copy;
	in_the_middle = NULL;
	met = 0;
	model_start(96 * MIB);
	thp_settings.enabled = huge ? THP_ALWAYS : THP_NEVER;
	s = model_create();
	model_map(s, HERE, len, RW, MAP_FIXED);
	for (vaddr_t a = HERE; a < HERE + len; a += huge ? HPAGE_PMD_SIZE : PAGE_SIZE)
		CHECK_EQ(model_access(s, a, MMU_WRITE), FAULT_DONE);
}

static void end(void)
{
	model_check();
	model_finish();
}

static void move_with(void (*fn)(void), enum migrate_result want)
{
	in_the_middle = fn;
	CHECK_EQ(model_migrate(s, HERE), want);
	CHECK_EQ(met, fn != NULL);
	model_check();
}

static u64 entry_at(struct mm *mm, vaddr_t a)
{
	pmd_t *pmdp = pgtable_find_pmd(mm, a), pmd = pmdp ? pmd_read(pmdp) : (pmd_t){0};

	return pmd_kind(pmd) == ENTRY_TABLE ? pte_read(pte_ptr(pmd, a)).v : pmd.v;
}

/* ---- entries ---- */

/* M5: every bit comes back, and no entry that is not present names a frame. */
TEST(an_entry_there_and_back)
{
	static const u64 leaves[] = {PTE_P | PTE_US | PTE_RW | PTE_A | PTE_D | PTE_NX,
		PTE_P | PTE_US | PTE_A, PTE_US | PTE_NX, PTE_P | PTE_PS | PTE_US | PTE_RW,
		PTE_PS | PTE_US | PTE_NX | PTE_D};

	for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++) {
		u64 leaf = entry_make(0x12345, leaves[i]), e = entry_to_migrating(leaf);

		CHECK(entry_migrating(e) && entry_protnone(e) && !(e & PTE_P));
		CHECK_EQ(entry_addr(e) >> PAGE_SHIFT, 0x12345);
		CHECK((e & PTE_ADDR) >> PAGE_SHIFT != 0x12345);
		CHECK_EQ(entry_from_migrating(e, 0x12345), leaf);
		CHECK_EQ(entry_from_migrating(e, 0x777), entry_make(0x777, leaves[i]));
		CHECK_EQ(entry_from_migrating(entry_modify(e, PTE_P | PTE_US | PTE_NX), 0x12345),
			entry_modify(leaf, PTE_P | PTE_US | PTE_NX));
		CHECK_EQ(pte_kind((pte_t){e}), ENTRY_LEAF);
		CHECK_EQ(pmd_kind((pmd_t){e}), ENTRY_LEAF);
	}
}

/* ---- alone ---- */

TEST(one_page)
{
	u64 anon;
	pfn_t pfn;

	begin(4 * PAGE_SIZE, false);
	anon = vmstat_read(VM_nr_anon_pages);
	pfn = mmu_frame(s->mm, HERE);
	move_with(NULL, MIGRATED_DONE);
	CHECK(mmu_frame(s->mm, HERE) != pfn);
	CHECK_EQ(pfn_to_page(pfn)->type, PAGE_FREE);
	CHECK_EQ(vmstat_read(VM_nr_anon_pages), anon);
	CHECK_EQ(vmstat_read(VM_nr_isolated_anon), 0);
	CHECK_EQ(vmstat_read(VM_pgmigrate_success), 1);
	end();
}

TEST(a_huge_page_of_three_spaces)
{
	struct model_space *child, *grandchild;
	pfn_t pfn;

	begin(2 * MIB, true);
	child = model_fork(s);
	grandchild = model_fork(child);
	pfn = mmu_frame(s->mm, HERE);
	move_with(NULL, MIGRATED_DONE);
	CHECK(mmu_frame(s->mm, HERE) != pfn);
	CHECK_EQ(mmu_frame(child->mm, HERE), mmu_frame(s->mm, HERE));
	CHECK_EQ(mmu_frame(grandchild->mm, HERE), mmu_frame(s->mm, HERE));
	CHECK_EQ(vmstat_read(VM_thp_migration_success), 1);
	CHECK_EQ(vmstat_read(VM_pgmigrate_success), 512);
	end();
}

TEST(refusals_change_nothing)
{
	struct page *page;

	begin(2 * MIB, false);
	page = pfn_to_page(mmu_frame(s->mm, HERE));
	page_get(page);
	CHECK_EQ(model_migrate(s, HERE), MIGRATED_COUNT);
	page_put(page);
	CHECK(lru_isolate(page));
	CHECK_EQ(model_migrate(s, HERE), MIGRATED_LRU);
	lru_putback(page);
	model_may_fail = true;
	buddy_inject_fail(1, 0);
	move_with(NULL, MIGRATED_NO_MEMORY);
	buddy_inject_fail(0, -1);
	model_may_fail = false;
	CHECK_EQ(mmu_frame(s->mm, HERE), page_to_pfn(page));
	CHECK_EQ(model_access(s, HERE + PAGE_SIZE, MMU_READ), FAULT_DONE);
	move_with(NULL, MIGRATED_DONE);
	end();
}

/* ---- in the middle ---- */

static void look(void)
{
	u64 e = entry_at(s->mm, HERE);

	CHECK(entry_migrating(e));
	CHECK(((e & PTE_ADDR) >> PAGE_SHIFT) >= page_max_pfn); /* inverted: no frame there is */
	CHECK_EQ(model_access(s, HERE, MMU_WRITE), FAULT_MIGRATING);
	CHECK_EQ(model_access(s, HERE, MMU_READ), FAULT_MIGRATING);
}

TEST(a_huge_page_mapped_by_ptes)
{
	begin(2 * MIB, true);
	pfn_t pfn = mmu_frame(s->mm, HERE);

	model_protect(s, HERE + 5 * PAGE_SIZE, PAGE_SIZE, PROT_READ);
	move_with(look, MIGRATED_DONE);
	CHECK(mmu_frame(s->mm, HERE) != pfn && pfn_in_huge(mmu_frame(s->mm, HERE)));
	CHECK_EQ(mmu_frame(s->mm, HERE + 100 * PAGE_SIZE), mmu_frame(s->mm, HERE) + 100);
	CHECK_EQ(vmstat_read(VM_pgmigrate_success), 512);
	CHECK_EQ(vmstat_read(VM_thp_migration_success), 1);
	end();
}

static pfn_t moving;

static void take_off_the_queue(void)
{
	CHECK(lru_deferred_take() == pfn_to_page(moving)); /* as the shrinker does */
}

/* The shrinker has it in its hand while it moves: the new page waits to be split all the same. */
TEST(a_place_on_the_queue_is_not_lost)
{
	begin(2 * MIB, true);
	model_unmap(s, HERE + MIB, 64 * PAGE_SIZE);
	moving = mmu_frame(s->mm, HERE);
	CHECK(pfn_to_page(moving)->flags & PG_DEFERRED);
	in_the_middle = take_off_the_queue;
	CHECK_EQ(model_migrate(s, HERE), MIGRATED_DONE);
	CHECK_EQ(met, 1);
	lru_deferred_add(pfn_to_page(moving)); /* it could not be split */
	page_put(pfn_to_page(moving));
	CHECK(mmu_frame(s->mm, HERE) != moving);
	CHECK(pfn_head(mmu_frame(s->mm, HERE))->flags & PG_DEFERRED);
	CHECK_EQ(lru.deferred.count, 1);
	end();
}

TEST(a_fault_waits)
{
	begin(4 * PAGE_SIZE, false);
	move_with(look, MIGRATED_DONE);
	CHECK_EQ(model_access(s, HERE, MMU_WRITE), FAULT_DONE);
	end();
	begin(2 * MIB, true);
	move_with(look, MIGRATED_DONE);
	CHECK_EQ(model_access(s, HERE, MMU_WRITE), FAULT_DONE);
	end();
}

static struct model_space *child;

static void fork_it(void)
{
	child = model_fork(s);
	CHECK(entry_migrating(entry_at(child->mm, HERE)));
}

TEST(fork)
{
	for (int huge = 0; huge < 2; huge++) {
		begin(2 * MIB, huge);
		move_with(fork_it, MIGRATED_DONE);
		CHECK_EQ(mmu_frame(child->mm, HERE), mmu_frame(s->mm, HERE));
		model_access(child, HERE, MMU_WRITE);
		CHECK(mmu_frame(child->mm, HERE) != mmu_frame(s->mm, HERE));
		end();
	}
}

static void unmap_it(void)
{
	model_unmap(s, HERE, 2 * MIB);
}

TEST(munmap)
{
	for (int huge = 0; huge < 2; huge++) {
		begin(2 * MIB, huge);
		move_with(unmap_it, MIGRATED_DONE);
		CHECK_EQ(s->mm->nr_anon, 0);
		end();
	}
}

static void unmap_a_part(void)
{
	model_unmap(s, HERE + MIB, 64 * PAGE_SIZE);
	CHECK(entry_migrating(entry_at(s->mm, HERE)));
	CHECK_EQ(s->mm->nr_anon, 512 - 64);
}

/* 448 migration entries are left, and each finds its frame of the new page. */
TEST(munmap_of_a_part)
{
	pfn_t pfn;

	begin(2 * MIB, true);
	move_with(unmap_a_part, MIGRATED_DONE);
	pfn = mmu_frame(s->mm, HERE);
	CHECK_EQ(mmu_frame(s->mm, HERE + 100 * PAGE_SIZE), pfn + 100);
	CHECK(pfn_head(pfn)->flags & PG_DEFERRED);
	end();
}

static void protect_it(void)
{
	model_protect(s, HERE, 2 * MIB, PROT_READ);
	CHECK(entry_migrating(entry_at(s->mm, HERE)));
}

TEST(mprotect)
{
	for (int huge = 0; huge < 2; huge++) {
		begin(2 * MIB, huge);
		move_with(protect_it, MIGRATED_DONE);
		CHECK(!(entry_at(s->mm, HERE) & PTE_RW) && entry_at(s->mm, HERE) & PTE_P);
		CHECK_EQ(model_access(s, HERE, MMU_WRITE), FAULT_BAD_ACCESS);
		end();
	}
}

static vaddr_t to;

static void move_it(void)
{
	CHECK_EQ(model_remap(s, HERE, 2 * MIB, 2 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
	CHECK(entry_migrating(entry_at(s->mm, to)));
}

/* To a place in front and behind; and to one where a huge page no longer fits: 512 entries in two tables. */
TEST(mremap)
{
	static const vaddr_t places[] = {2 * MIB, THERE, THERE + 5 * PAGE_SIZE};

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(places); i++) {
		to = places[i / 2];
		begin(2 * MIB, i & 1);
		move_with(move_it, MIGRATED_DONE);
		CHECK_EQ(model_access(s, to, MMU_WRITE), FAULT_DONE);
		end();
	}
}

static void end_of_the_space(void)
{
	model_exit(child);
}

TEST(exit)
{
	begin(2 * MIB, true);
	child = model_fork(s);
	move_with(end_of_the_space, MIGRATED_DONE);
	end();
}

static void collapse_it(void)
{
	CHECK_EQ(model_advise(s, HERE, 2 * MIB, MADV_COLLAPSE), -EAGAIN);
}

TEST(collapse_says_later)
{
	begin(2 * MIB, false);
	model_advise(s, HERE, 2 * MIB, MADV_HUGEPAGE);
	move_with(collapse_it, MIGRATED_DONE);
	CHECK_EQ(model_advise(s, HERE, 2 * MIB, MADV_COLLAPSE), 0);
	end();
}

static void split_it(void)
{
	CHECK_EQ(model_split_page(s, HERE), -EBUSY);
}

TEST(split_page_says_busy)
{
	begin(2 * MIB, true);
	move_with(split_it, MIGRATED_DONE);
	CHECK_EQ(model_split_page(s, HERE), 0);
	end();
}
