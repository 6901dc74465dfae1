/*
 * gigabytes.c - leaves of 1 GiB: faults, copies, splits, moves                                 self-tests
 *
 * Wants a CPU that has them and a gigabyte that is free as a whole: MEM=4G. Contents are compared word by word, one
 * in each 4 KiB.
 */
#include "lab.h"
#include "mm/buddy.h"
#include "mm/fork.h"
#include "mm/gigapage.h"
#include "mm/huge_pud.h"
#include "mm/lru.h"
#include "mm/migrate.h"
#include "mm/mmap.h"
#include "mm/pgtable.h"
#include "mm/thp_split.h"
#include "mm/vma.h"
#include "mutex.h"
#include "report.h"
#include "vmstat.h"
#include "x86/timer.h"
#include <abi/errno.h>

#define GIB  HPAGE_PUD_SIZE
#define HERE LAB_AREA

struct lab_1g {
	struct thp_settings before;
	u64 used;
	u32 reserved;
	struct mm *mm;
	u64 allocs, splits;
};

/* A gigabyte in one piece, and so many in the reserve? Who ends just now may hold a page of it for a moment. */
static bool has_gigabyte(u32 reserved)
{
	u64 deadline = time_ns() + 1000 * NS_PER_MS;

	while (!huge_pud_available() || gigapage_reserved() < reserved) {
		if (time_ns() > deadline)
			return false;
		sched_sleep_until(time_ns() + 5 * NS_PER_MS);
	}
	return true;
}

/* A space with an area of `len` in which writes get gigabytes. False: this machine has none. */
static bool begin(struct lab_1g *l, u64 len)
{
	l->before = lab_begin();
	l->mm = NULL;
	if (!huge_pud_possible() || !lab_has_memory(GIB / 2) || !has_gigabyte(0))
		return false;
	l->reserved = gigapage_reserved();
	l->used = lab_frames_used();
	l->allocs = vmstat_read(VM_thp_fault_alloc_1g);
	l->splits = vmstat_read(VM_thp_split_pud);
	thp_settings.enabled_1g = THP_ALWAYS;
	l->mm = lab_space();
	return l->mm && lab_area(l->mm, HERE, len);
}

static void end(struct ktest_ctx *ctx, struct lab_1g *l)
{
	if (l->mm) {
		lab_space_end(l->mm);
		KT_EXPECT(ctx, has_gigabyte(l->reserved)); /* the reserve is full again */
		KT_EXPECT(ctx, lab_frames_back(l->used));
		KT_EXPECT(ctx, vmstat_read(VM_nr_thp_1g) == 0);
	}
	lab_end(ctx, &l->before);
}

#define BEGIN(ctx, l, len)                                                                         \
	do {                                                                                       \
		if (!begin(l, len)) {                                                              \
			end(ctx, l);                                                               \
			KT_SKIP(ctx, "no pages of 1 GiB here, or no gigabyte free");               \
		}                                                                                  \
	} while (0)

static u64 splits(const struct lab_1g *l)
{
	return vmstat_read(VM_thp_split_pud) - l->splits;
}

static bool is_pud(struct mm *mm, vaddr_t addr)
{
	pud_t *pudp = pgtable_find_pud(mm, addr);

	return pudp && pud_kind(pud_read(pudp)) == ENTRY_LEAF;
}

/* Each page of [addr, addr + len) holds where it was at first. */
static void mark(struct mm *mm, vaddr_t addr, u64 len)
{
	for (vaddr_t a = addr; a < addr + len; a += PAGE_SIZE)
		*lab_word(mm, a) = a;
}

static bool is_marked(struct mm *mm, vaddr_t addr, u64 len, vaddr_t as)
{
	for (u64 at = 0; at < len; at += PAGE_SIZE) {
		u64 *word = lab_word(mm, addr + at);

		if (!word || *word != as + at)
			return false;
	}
	return true;
}

static int advise(struct mm *mm, vaddr_t addr, u64 len, int advice)
{
	u64 faults = 0;

	return mmap_advise(mm, addr, len, advice, &faults);
}

KTEST(gigabytes, a_write_gets_one_and_it_goes_whole)
{
	struct lab_1g l;
	bool zero = true;

	BEGIN(ctx, &l, GIB);
	KT_EXPECT(ctx, lab_fill(l.mm, HERE + 5 * PAGE_SIZE, PAGE_SIZE));
	KT_EXPECT(ctx, is_pud(l.mm, HERE) && l.mm->nr_puds == 1);
	KT_EXPECT(ctx, l.mm->nr_anon == GIB / PAGE_SIZE);
	KT_EXPECT(ctx, l.mm->nr_tables == 1 + 513); /* a pud table, and what is deposited */
	KT_EXPECT(ctx, vmstat_read(VM_thp_fault_alloc_1g) == l.allocs + 1);
	for (u64 at = 0; at < GIB; at += PAGE_SIZE)
		zero &= at == 5 * PAGE_SIZE || *lab_word(l.mm, HERE + at) == 0;
	KT_EXPECT(ctx, zero);
	KT_EXPECT(ctx, thp_why(l.mm, HERE + GIB - 1) == THP_HUGE);
	KT_EXPECT(ctx, huge_pud_why(vma_find(l.mm, HERE), HERE) == THP_HUGE_1G);
	KT_EXPECT(ctx, lab_healthy());
	KT_EXPECT(ctx, advise(l.mm, HERE, GIB, MADV_DONTNEED) == 0);
	KT_EXPECT(ctx, l.mm->nr_anon == 0 && l.mm->nr_puds == 0 && splits(&l) == 0);
	end(ctx, &l);
}

KTEST(gigabytes, reads_and_edges_fall_back)
{
	struct lab_1g l;

	BEGIN(ctx, &l, GIB + HPAGE_PMD_SIZE);
	KT_EXPECT(ctx, lab_read(l.mm, HERE, PAGE_SIZE)); /* the huge zero page */
	KT_EXPECT(ctx, lab_fill(l.mm, HERE + GIB, PAGE_SIZE));
	KT_EXPECT(ctx, l.mm->nr_puds == 0 && lab_is_huge(l.mm, HERE));
	KT_EXPECT(ctx, huge_pud_why(vma_find(l.mm, HERE), HERE) == THP_SMALLER_1G);
	KT_EXPECT(ctx, huge_pud_why(vma_find(l.mm, HERE), HERE + GIB) == THP_RANGE_1G);
	thp_settings.enabled_1g = THP_MADVISE;
	KT_EXPECT(ctx, huge_pud_why(vma_find(l.mm, HERE), HERE) == THP_NOT_ADVISED_1G);
	thp_settings.enabled_1g = THP_NEVER;
	KT_EXPECT(ctx, huge_pud_why(vma_find(l.mm, HERE), HERE) == THP_NEVER_SET_1G);
	end(ctx, &l);
}

KTEST(gigabytes, a_part_splits_the_leaf)
{
	const vaddr_t hole = HERE + GIB / 2 + 3 * PAGE_SIZE;
	struct lab_1g l;

	BEGIN(ctx, &l, GIB);
	KT_EXPECT(ctx, lab_fill(l.mm, HERE, PAGE_SIZE));
	mark(l.mm, HERE, GIB);
	KT_EXPECT(ctx, advise(l.mm, hole, PAGE_SIZE, MADV_DONTNEED) == 0);
	KT_EXPECT(ctx, splits(&l) == 1 && l.mm->nr_puds == 0);
	KT_EXPECT(ctx, l.mm->nr_anon == GIB / PAGE_SIZE - 1);
	KT_EXPECT(ctx, !lab_leaf(l.mm, hole) && lab_is_huge(l.mm, HERE));
	KT_EXPECT(ctx, is_marked(l.mm, HERE, hole - HERE, HERE));
	KT_EXPECT(ctx,
		is_marked(l.mm, hole + PAGE_SIZE, HERE + GIB - hole - PAGE_SIZE, hole + PAGE_SIZE));
	KT_EXPECT(ctx, lab_healthy());
	KT_EXPECT(ctx, mmap_unmap(l.mm, HERE, GIB / 2) == 0);
	KT_EXPECT(ctx, lab_healthy());
	end(ctx, &l);
}

KTEST(gigabytes, rights_change_whole_or_split)
{
	struct lab_1g l;

	BEGIN(ctx, &l, GIB);
	KT_EXPECT(ctx, lab_fill(l.mm, HERE, PAGE_SIZE));
	mark(l.mm, HERE, GIB);
	KT_EXPECT(ctx, mmap_protect(l.mm, HERE, GIB, PROT_NONE) == 0);
	KT_EXPECT(ctx, is_pud(l.mm, HERE) && lab_healthy());
	KT_EXPECT(ctx, mmap_protect(l.mm, HERE, GIB, PROT_READ | PROT_WRITE) == 0);
	KT_EXPECT(ctx, is_pud(l.mm, HERE) && is_marked(l.mm, HERE, GIB, HERE));
	KT_EXPECT(ctx, lab_fill(l.mm, HERE, PAGE_SIZE)); /* the write right comes back in place */
	KT_EXPECT(ctx, is_pud(l.mm, HERE) && splits(&l) == 0);
	KT_EXPECT(ctx, mmap_protect(l.mm, HERE, GIB, PROT_NONE) == 0);
	KT_EXPECT(ctx, mmap_protect(l.mm, HERE + PAGE_SIZE, PAGE_SIZE, PROT_READ) == 0);
	KT_EXPECT(ctx, splits(&l) == 1 && lab_healthy());
	KT_EXPECT(ctx, mmap_protect(l.mm, HERE, GIB, PROT_READ) == 0);
	KT_EXPECT(ctx, is_marked(l.mm, HERE + PAGE_SIZE, GIB - PAGE_SIZE, HERE + PAGE_SIZE));
	end(ctx, &l);
}

KTEST(gigabytes, it_moves)
{
	struct lab_1g l;

	BEGIN(ctx, &l, GIB);
	KT_EXPECT(ctx, lab_fill(l.mm, HERE, PAGE_SIZE));
	mark(l.mm, HERE, GIB);
	KT_EXPECT(ctx, mmap_remap(l.mm, HERE, GIB, GIB, MREMAP_MAYMOVE | MREMAP_FIXED,
			       HERE + 3 * GIB) == (s64)(HERE + 3 * GIB));
	KT_EXPECT(ctx, is_pud(l.mm, HERE + 3 * GIB) && splits(&l) == 0);
	KT_EXPECT(ctx, is_marked(l.mm, HERE + 3 * GIB, GIB, HERE) && lab_healthy());
	KT_EXPECT(ctx, mmap_remap(l.mm, HERE + 3 * GIB, GIB, GIB, MREMAP_MAYMOVE | MREMAP_FIXED,
			       HERE + HPAGE_PMD_SIZE) == (s64)(HERE + HPAGE_PMD_SIZE));
	KT_EXPECT(ctx, splits(&l) == 1 && l.mm->nr_puds == 0);
	KT_EXPECT(ctx, lab_is_huge(l.mm, HERE + HPAGE_PMD_SIZE)); /* 2 MiB at a time */
	KT_EXPECT(ctx, is_marked(l.mm, HERE + HPAGE_PMD_SIZE, GIB, HERE) && lab_healthy());
	end(ctx, &l);
}

static void fork_and_write(struct ktest_ctx *ctx, struct lab_1g *l)
{
	struct mm *child = fork_mm(l->mm);

	KT_REQUIRE(ctx, child);
	KT_EXPECT(ctx, is_pud(child, HERE) && child->nr_anon == GIB / PAGE_SIZE);
	KT_EXPECT(ctx, !(pud_read(pgtable_find_pud(l->mm, HERE)).v & PTE_RW));
	KT_EXPECT(ctx, is_marked(child, HERE, GIB, HERE) && lab_healthy());
	/* Splits, copies 2 MiB. */
	KT_EXPECT(ctx, lab_fill(child, HERE + HPAGE_PMD_SIZE, PAGE_SIZE));
	KT_EXPECT(ctx, splits(l) == 1 && child->nr_puds == 0 && is_pud(l->mm, HERE));
	KT_EXPECT(ctx,
		lab_pfn(child, HERE + HPAGE_PMD_SIZE) != lab_pfn(l->mm, HERE + HPAGE_PMD_SIZE));
	KT_EXPECT(ctx, lab_pfn(child, HERE) == lab_pfn(l->mm, HERE));
	*lab_word(child, HERE + HPAGE_PMD_SIZE) = 1;
	KT_EXPECT(ctx, is_marked(l->mm, HERE, GIB, HERE) && lab_healthy());
	lab_space_end(child);
}

KTEST(gigabytes, fork_shares_and_a_write_splits)
{
	struct lab_1g l;

	BEGIN(ctx, &l, GIB);
	KT_EXPECT(ctx, lab_fill(l.mm, HERE, PAGE_SIZE));
	mark(l.mm, HERE, GIB);
	fork_and_write(ctx, &l);
	KT_EXPECT(ctx, lab_fill(l.mm, HERE, PAGE_SIZE)); /* alone again: in place */
	KT_EXPECT(ctx, is_pud(l.mm, HERE) && splits(&l) == 1);
	end(ctx, &l);
}

KTEST(gigabytes, one_of_its_pages_is_split)
{
	struct page *head;
	struct lab_1g l;

	BEGIN(ctx, &l, GIB);
	KT_EXPECT(ctx, lab_fill(l.mm, HERE, PAGE_SIZE));
	mark(l.mm, HERE, GIB);
	head = pfn_to_page(lab_pfn(l.mm, HERE + 7 * HPAGE_PMD_SIZE));
	page_get(head);
	KT_EXPECT(ctx, thp_split_page(head) == 0); /* found by its page: all mappings come apart */
	page_put(head);
	KT_EXPECT(ctx, splits(&l) == 1 && !page_is_huge(head));
	KT_EXPECT(ctx, lab_is_huge(l.mm, HERE) && !lab_is_huge(l.mm, HERE + 7 * HPAGE_PMD_SIZE));
	KT_EXPECT(ctx, is_marked(l.mm, HERE, GIB, HERE) && lab_healthy());
	end(ctx, &l);
}

KTEST(gigabytes, lazily_free_in_part)
{
	struct lab_1g l;

	BEGIN(ctx, &l, GIB);
	KT_EXPECT(ctx, lab_fill(l.mm, HERE, PAGE_SIZE));
	KT_EXPECT(ctx, advise(l.mm, HERE, HPAGE_PMD_SIZE + PAGE_SIZE, MADV_FREE) == 0);
	KT_EXPECT(ctx, splits(&l) == 1 && lab_is_huge(l.mm, HERE));
	KT_EXPECT(ctx, !lab_is_huge(l.mm, HERE + HPAGE_PMD_SIZE) && lab_healthy());
	end(ctx, &l);
}

static bool is_kept(pfn_t pfn)
{
	return pfn_block(pfn)->flags & PB_PUD;
}

/* G2: the parts stay while one of two spaces has the leaf, and move like any huge page when both have split theirs. */
KTEST(gigabytes, parts_move_when_the_last_leaf_is_split)
{
	const vaddr_t part = HERE + 9 * HPAGE_PMD_SIZE;
	struct mm *child;
	struct lab_1g l;
	pfn_t pfn;

	BEGIN(ctx, &l, GIB);
	KT_EXPECT(ctx, lab_fill(l.mm, HERE, PAGE_SIZE));
	mark(l.mm, HERE, GIB);
	pfn = lab_pfn(l.mm, part);
	child = fork_mm(l.mm);
	KT_REQUIRE(ctx, child);
	KT_EXPECT(ctx, migrate_page_alone(pfn_to_page(pfn), 0, false) == MIGRATED_GIGABYTE);
	KT_EXPECT(ctx, mmap_protect(l.mm, HERE, HPAGE_PMD_SIZE, PROT_READ) == 0); /* splits */
	KT_EXPECT(ctx, l.mm->nr_puds == 0 && child->nr_puds == 1 && is_kept(pfn));
	KT_EXPECT(ctx, migrate_page_alone(pfn_to_page(pfn), 0, false) == MIGRATED_GIGABYTE);
	KT_EXPECT(ctx, lab_healthy());
	KT_EXPECT(ctx, mmap_protect(child, HERE, HPAGE_PMD_SIZE, PROT_READ) == 0);
	KT_EXPECT(ctx, child->nr_puds == 0 && !is_kept(pfn) && lab_healthy());
	KT_EXPECT(ctx, migrate_page_alone(pfn_to_page(pfn), 0, false) == MIGRATED_DONE);
	KT_EXPECT(ctx, lab_pfn(l.mm, part) != pfn && lab_pfn(child, part) == lab_pfn(l.mm, part));
	KT_EXPECT(ctx, is_marked(l.mm, HERE, GIB, HERE) && is_marked(child, HERE, GIB, HERE));
	KT_EXPECT(ctx, lab_healthy());
	lab_space_end(child);
	end(ctx, &l);
}

static struct report_usage usage(struct mm *mm)
{
	struct report_usage u = {0};

	rwsem_read_lock(&mm->lock);
	report_usage(vma_find(mm, HERE), &u);
	rwsem_read_unlock(&mm->lock);
	return u;
}

/* 2 MiB of 4 KiB pages, a gigabyte, 2 MiB: smaps counts each once, whole or split, alone or shared. */
KTEST(gigabytes, smaps_counts_it_once)
{
	const u64 all = GIB + 2 * HPAGE_PMD_SIZE;
	struct report_usage u;
	struct mm *child;
	struct lab_1g l;

	BEGIN(ctx, &l, 4 * GIB);
	KT_EXPECT(ctx, lab_fill(l.mm, HERE + GIB, PAGE_SIZE));
	thp_settings.enabled_1g = THP_NEVER;
	KT_EXPECT(ctx, lab_fill(l.mm, HERE + GIB - HPAGE_PMD_SIZE, PAGE_SIZE));
	KT_EXPECT(ctx, lab_fill(l.mm, HERE + 2 * GIB, PAGE_SIZE));
	u = usage(l.mm);
	KT_EXPECT(ctx, is_pud(l.mm, HERE + GIB) && u.rss == all && u.anon_huge == all);
	KT_EXPECT(ctx, u.pss >> REPORT_PSS_SHIFT == all && u.private_dirty == all);
	child = fork_mm(l.mm);
	KT_REQUIRE(ctx, child);
	u = usage(child);
	KT_EXPECT(ctx, u.rss == all && u.pss >> REPORT_PSS_SHIFT == all / 2);
	KT_EXPECT(ctx, u.private_dirty == 0 && u.shared_dirty + u.shared_clean == all);
	KT_EXPECT(ctx, advise(child, HERE + GIB, PAGE_SIZE, MADV_DONTNEED) == 0); /* splits */
	u = usage(child);
	KT_EXPECT(ctx, u.rss == all - PAGE_SIZE && u.anon_huge == all - HPAGE_PMD_SIZE);
	u = usage(l.mm);
	KT_EXPECT(ctx, is_pud(l.mm, HERE + GIB) && u.rss == all && u.anon_huge == all);
	lab_space_end(child);
	end(ctx, &l);
}
