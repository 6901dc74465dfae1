/*
 * test_mmap.c - the verbs of the memory calls, one by one: results, errors, and what may not change on an error.
 */
#include <string.h>

#include "check.h"
#include "fake_machine.h"
#include "model.h"
#include <abi/advice.h>
#include <abi/errno.h>
#include "mm/buddy.h"
#include "mm/fault.h"
#include "mm/mmap.h"
#include "mm/pgtable.h"
#include "mm/reclaim.h"
#include "mm/rmap.h"
#include "mm/thp.h"
#include "mm/thp_split.h"
#include "mm/vma.h"
#include "vmstat.h"

#define MIB  (1ul << 20)
#define GIB  (1ul << 30)
#define HERE (4 * MIB)
#define RW   (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static struct model_space *s;
static struct mm *mm;

static void begin(void)
{
	model_start(96 * MIB);
	s = model_create();
	mm = s->mm;
}

static void end(void)
{
	model_check();
	model_finish();
}

static void write_pages(vaddr_t a, u64 pages)
{
	for (u64 i = 0; i < pages; i++)
		CHECK_EQ(model_access(s, a + i * PAGE_SIZE, MMU_WRITE), FAULT_DONE);
}

/* ---- mmap ---- */

TEST(mmap_refuses)
{
	begin();
	CHECK_EQ(mmap_map(mm, 0, 0, RW, ANON), -EINVAL);
	CHECK_EQ(mmap_map(mm, 0, PAGE_SIZE, RW, MAP_ANONYMOUS),
		-EINVAL); /* neither private nor shared */
	CHECK_EQ(mmap_map(mm, 0, ~0ul, RW, ANON), -ENOMEM);
	CHECK_EQ(mmap_map(mm, 0, ~0ul - PAGE_SIZE + 1, RW, ANON), -ENOMEM);
	CHECK_EQ(mmap_map(mm, 0, USER_END, PROT_NONE, ANON), -ENOMEM);
	CHECK_EQ(mmap_map(mm, HERE + 1, PAGE_SIZE, RW, ANON | MAP_FIXED), -EINVAL);
	CHECK_EQ(mmap_map(mm, USER_END, PAGE_SIZE, RW, ANON | MAP_FIXED), -ENOMEM);
	CHECK_EQ(mmap_map(mm, USER_END - PAGE_SIZE, 2 * PAGE_SIZE, RW, ANON | MAP_FIXED), -ENOMEM);
	CHECK_EQ(mmap_map(mm, 0, PAGE_SIZE, RW, ANON | MAP_FIXED), -EPERM);
	CHECK_EQ(mmap_map(mm, 0, 1 * GIB, RW, ANON), -ENOMEM); /* more than the machine has */
	CHECK_EQ(mm->nr_vmas, 0);
	end();
}

TEST(mmap_places)
{
	s64 at;

	begin();
	CHECK_EQ(model_map(s, HERE, PAGE_SIZE, RW, 0), HERE); /* a hint that is free */
	CHECK_EQ(model_map(s, HERE, PAGE_SIZE, RW, 0),
		MODEL_END - PAGE_SIZE); /* one that is not: from the top */
	CHECK_EQ(model_map(s, 0, 100, RW, 0),
		MODEL_END - 2 * PAGE_SIZE); /* directly below: united */
	CHECK_EQ(mm->nr_vmas, 2);
	CHECK_EQ(model_map(s, HERE, PAGE_SIZE, RW, MAP_FIXED_NOREPLACE), -EEXIST);
	at = mmap_map(mm, 0, 1 * GIB, PROT_NONE, ANON | MAP_NORESERVE);
	CHECK_EQ(at, -ENOMEM); /* below mmap_base there is no such gap */
	end();
}

TEST(mmap_replaces)
{
	begin();
	model_map(s, HERE, 4 * MIB, RW, MAP_FIXED);
	write_pages(HERE, 1024);
	model_map(s, HERE + MIB, 2 * MIB, PROT_READ, MAP_FIXED);
	CHECK_EQ(mm->nr_vmas, 3);
	CHECK_EQ(mm->nr_anon, 512);
	CHECK_EQ(model_access(s, HERE + MIB, MMU_READ), FAULT_DONE);
	CHECK_EQ(model_access(s, HERE + MIB, MMU_WRITE), FAULT_BAD_ACCESS);
	end();
}

/* ---- munmap ---- */

TEST(munmap_refuses_and_ignores)
{
	begin();
	CHECK_EQ(mmap_unmap(mm, 1, PAGE_SIZE), -EINVAL);
	CHECK_EQ(mmap_unmap(mm, HERE, 0), -EINVAL);
	CHECK_EQ(mmap_unmap(mm, HERE, ~0ul), -EINVAL);
	CHECK_EQ(mmap_unmap(mm, USER_END, PAGE_SIZE), -EINVAL);
	CHECK_EQ(mmap_unmap(mm, HERE, 16 * MIB), 0); /* nothing there */
	end();
}

/* Tables that serve nobody any more are gone; those of a neighbour stay. */
TEST(munmap_frees_tables)
{
	begin();
	model_map(s, HERE, 8 * MIB, RW, MAP_FIXED);
	model_advise(s, HERE, 8 * MIB, MADV_NOHUGEPAGE);
	for (u64 i = 0; i < 4; i++)
		write_pages(HERE + 2 * i * MIB, 1);
	CHECK_EQ(mm->nr_tables, 6);
	model_unmap(s, HERE + 2 * MIB, 2 * MIB);
	CHECK_EQ(mm->nr_tables, 5);
	model_unmap(s, HERE, 2 * MIB - PAGE_SIZE);
	CHECK_EQ(mm->nr_tables, 5);
	model_unmap(s, HERE + 2 * MIB - PAGE_SIZE, 4 * MIB);
	CHECK_EQ(mm->nr_tables, 4); /* the last page of the third block is still there */
	model_unmap(s, HERE + 6 * MIB - PAGE_SIZE, PAGE_SIZE);
	CHECK_EQ(mm->nr_tables, 3);
	model_unmap(s, HERE, 8 * MIB);
	CHECK_EQ(mm->nr_tables, 0);
	end();
}

/* ---- mprotect ---- */

TEST(mprotect_refuses)
{
	begin();
	model_map(s, HERE, MIB, RW, MAP_FIXED);
	CHECK_EQ(mmap_protect(mm, HERE + 1, PAGE_SIZE, PROT_READ), -EINVAL);
	CHECK_EQ(mmap_protect(mm, HERE, PAGE_SIZE, 0x40), -EINVAL);
	CHECK_EQ(mmap_protect(mm, HERE, 0, PROT_READ), 0);
	CHECK_EQ(mmap_protect(mm, HERE, ~0ul, PROT_READ), -ENOMEM);
	CHECK_EQ(model_protect(s, HERE - PAGE_SIZE, MIB, PROT_READ), -ENOMEM);
	CHECK_EQ(mm->nr_vmas, 1);
	CHECK(vma_first(mm)->flags & VM_WRITE);
	/* A hole behind: up to it the rights are changed, as on Linux. */
	CHECK_EQ(model_protect(s, HERE + MIB / 2, 2 * MIB, PROT_READ), -ENOMEM);
	CHECK_EQ(mm->nr_vmas, 2);
	CHECK(!(vma_next(vma_first(mm))->flags & VM_WRITE));
	end();
}

TEST(more_than_all_memory_is_refused_at_every_door)
{
	u64 much = 64ul << 30;
	vaddr_t far = 1ul << 40;

	begin();
	CHECK_EQ(mmap_map(mm, far, much, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED), -ENOMEM);
	CHECK_EQ(mmap_map(mm, far, much, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED), far);
	CHECK_EQ(mmap_protect(mm, far, much, RW), -ENOMEM);
	CHECK_EQ(mmap_protect(mm, far, MIB, RW), 0);
	CHECK_EQ(mmap_remap(mm, far, MIB, much, MREMAP_MAYMOVE, 0), -ENOMEM);
	CHECK_EQ(mmap_unmap(mm, far, much), 0);
	end();
}

TEST(a_hint_is_rounded_down_and_leaves_a_stack_its_gap)
{
	u32 flags = MAP_PRIVATE | MAP_ANONYMOUS;
	vaddr_t stack = HERE + 8 * MIB, below = stack - STACK_GUARD;

	begin();
	CHECK_EQ(mmap_map(mm, HERE + 0x123, PAGE_SIZE, RW, flags), HERE);
	CHECK_EQ(mmap_map(mm, PAGE_SIZE, PAGE_SIZE, RW, flags), USER_START);
	CHECK_EQ(mmap_unmap(mm, HERE, PAGE_SIZE), 0);
	CHECK_EQ(mmap_unmap(mm, USER_START, PAGE_SIZE), 0);
	CHECK_EQ(mmap_map_named(mm, stack, MIB, RW, VM_STACK | VM_GROWSDOWN, "[stack]"), 0);
	CHECK_EQ(mmap_map(mm, below - PAGE_SIZE, PAGE_SIZE, RW, flags), below - PAGE_SIZE);
	CHECK(mmap_map(mm, below, PAGE_SIZE, RW, flags) != (s64)below);
	CHECK_EQ(mmap_unmap(mm, 0, USER_END), 0);
	end();
}

/* mremap can bring a growing stack down to the lowest page: there it ends. */
TEST(a_stack_never_grows_over_the_null_page)
{
	char *at;

	begin();
	CHECK_EQ(mmap_map_named(mm, HERE, MIB, RW, VM_STACK | VM_GROWSDOWN, "[stack]"), 0);
	CHECK_EQ(mmap_remap(mm, HERE, MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED, 2 * USER_START),
		2 * USER_START);
	CHECK_EQ(mmu_access(mm, 2 * USER_START - 8, MMU_WRITE, &at), FAULT_DONE);
	CHECK_EQ(mmu_access(mm, USER_START, MMU_WRITE, &at), FAULT_DONE);
	CHECK_EQ(mmu_access(mm, USER_START - 8, MMU_WRITE, &at), FAULT_BAD_ADDRESS);
	CHECK_EQ(mmu_access(mm, 0, MMU_WRITE, &at), FAULT_BAD_ADDRESS);
	CHECK_EQ(vma_first(mm)->start, USER_START);
	CHECK_EQ(mmap_unmap(mm, 0, USER_END), 0);
	end();
}

TEST(the_heap_keeps_a_page_from_what_lies_above)
{
	begin();
	mm->brk_start = mm->brk = HERE;
	CHECK_EQ(mmap_map(mm, HERE + MIB, MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED),
		HERE + MIB);
	CHECK_EQ(mmap_brk(mm, HERE + MIB), HERE);
	CHECK_EQ(mmap_brk(mm, HERE + MIB - PAGE_SIZE), HERE + MIB - PAGE_SIZE);
	CHECK_EQ(mmap_brk(mm, HERE + MIB - PAGE_SIZE + 1), HERE + MIB - PAGE_SIZE);
	CHECK_EQ(mmap_brk(mm, HERE - 1), HERE + MIB - PAGE_SIZE);
	CHECK_EQ(mmap_brk(mm, HERE), HERE);
	CHECK_EQ(mmap_unmap(mm, 0, USER_END), 0);
	end();
}

TEST(mprotect_of_shared_pages_gives_no_right_to_write)
{
	struct model_space *child;

	begin();
	model_map(s, HERE, MIB, RW, MAP_FIXED);
	write_pages(HERE, 256);
	child = model_fork(s);
	model_protect(s, HERE, MIB, PROT_READ);
	model_protect(s, HERE, MIB, RW);
	write_pages(HERE, 256);
	for (u64 i = 0; i < 256; i++)
		CHECK_EQ(model_access(child, HERE + i * PAGE_SIZE, MMU_READ), FAULT_DONE);
	CHECK_EQ(vmstat_read(VM_nr_anon_pages), 512);
	end();
}

/* ---- mremap ---- */

TEST(mremap_refuses)
{
	vaddr_t to = 16 * MIB;

	begin();
	model_map(s, HERE, MIB, RW, MAP_FIXED);
	model_map(s, HERE + MIB, MIB, PROT_READ, MAP_FIXED);
	CHECK_EQ(mmap_remap(mm, HERE + 1, MIB, MIB, 0, 0), -EINVAL);
	CHECK_EQ(mmap_remap(mm, HERE, MIB, 0, 0, 0), -EINVAL);
	CHECK_EQ(mmap_remap(mm, HERE, MIB, MIB, 8, 0), -EINVAL);
	CHECK_EQ(model_remap(s, HERE, MIB, MIB, MREMAP_FIXED, to), -EINVAL);
	CHECK_EQ(model_remap(s, HERE, MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED, HERE + PAGE_SIZE),
		-EINVAL);
	CHECK_EQ(mmap_remap(mm, HERE, MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED, to + 1), -EINVAL);
	CHECK_EQ(mmap_remap(mm, HERE, MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED, 0), -EINVAL);
	CHECK_EQ(model_remap(s, HERE, MIB, 2 * MIB, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0), -EINVAL);
	CHECK_EQ(mmap_remap(mm, HERE, 0, MIB, MREMAP_MAYMOVE, 0), -EINVAL);
	/* Nothing there. */
	CHECK_EQ(model_remap(s, 20 * MIB, MIB, MIB, MREMAP_MAYMOVE, 0), -EFAULT);
	/* Two areas. */
	CHECK_EQ(model_remap(s, HERE, 2 * MIB, 3 * MIB, MREMAP_MAYMOVE, 0), -EFAULT);
	CHECK_EQ(mmap_remap(mm, HERE, MIB, ~0ul, MREMAP_MAYMOVE, 0), -EINVAL); /* rounds up to 0 */
	CHECK_EQ(mmap_remap(mm, HERE, MIB, ~0ul << 30, MREMAP_MAYMOVE, 0), -ENOMEM);
	CHECK_EQ(mmap_remap(mm, HERE, ~0ul << 30, MIB, MREMAP_MAYMOVE, 0), -EINVAL);
	CHECK_EQ(mmap_remap(mm, HERE, ~0ul << 30, ~0ul << 29, MREMAP_MAYMOVE, 0), -EFAULT);
	CHECK_EQ(mmap_remap(mm, HERE, MIB, MIB - 1, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0),
		-EINVAL); /* equal only when rounded */
	CHECK_EQ(model_remap(s, HERE, MIB, 2 * MIB, 0, 0),
		-ENOMEM); /* no room behind, may not move */
	end();
}

TEST(mremap_in_place)
{
	begin();
	model_map(s, HERE, MIB, RW, MAP_FIXED);
	write_pages(HERE, 256);
	CHECK_EQ(model_remap(s, HERE, MIB, MIB, 0, 0), HERE);
	CHECK_EQ(model_remap(s, HERE, MIB, 3 * MIB, 0, 0), HERE);
	write_pages(HERE + MIB, 512);
	CHECK_EQ(model_remap(s, HERE, 3 * MIB, PAGE_SIZE, 0, 0), HERE);
	CHECK_EQ(mm->nr_anon, 1);
	end();
}

/* Shrinking asks only that something is mapped where it begins, like Linux. */
TEST(mremap_shrinks_over_several_areas)
{
	begin();
	model_map(s, HERE, MIB, RW, MAP_FIXED);
	model_map(s, HERE + MIB, MIB, PROT_READ, MAP_FIXED);
	write_pages(HERE, 256);
	CHECK_EQ(model_remap(s, HERE, 2 * MIB, MIB + MIB / 2, 0, 0), HERE);
	CHECK_EQ(mm->total_vm, 384);
	end();
}

TEST(mremap_moves_a_piece_from_the_middle)
{
	s64 at;

	begin();
	model_map(s, HERE, 4 * MIB, RW, MAP_FIXED);
	write_pages(HERE, 1024);
	at = model_remap(s, HERE + MIB, MIB, 2 * MIB, MREMAP_MAYMOVE, 0);
	CHECK(at > 0);
	CHECK_EQ(mm->nr_vmas, 3);
	CHECK_EQ(mm->nr_anon, 1024);
	write_pages(at, 512);
	CHECK_EQ(model_access(s, HERE + MIB, MMU_READ), FAULT_BAD_ADDRESS);
	model_check();
	/* and back again: index and address agree once more, everything unites */
	CHECK_EQ(model_remap(s, at, 2 * MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED, HERE + MIB),
		HERE + MIB);
	CHECK_EQ(mm->nr_vmas, 1);
	end();
}

TEST(mremap_leaves_the_area)
{
	vaddr_t to = 16 * MIB;

	begin();
	model_map(s, HERE, 2 * MIB, RW, MAP_FIXED);
	write_pages(HERE, 1);
	CHECK_EQ(model_remap(s, HERE, 2 * MIB, 2 * MIB,
			 MREMAP_MAYMOVE | MREMAP_DONTUNMAP | MREMAP_FIXED, to),
		to);
	CHECK_EQ(mm->nr_vmas, 2);
	CHECK_EQ(mm->nr_anon, 512);
	write_pages(HERE, 1); /* the old place is empty memory, with pages of the same indexes */
	model_check();
	CHECK_EQ(model_split_page(s, to), 0);
	end();
}

/* From one pmd table to another: the deposit goes along. */
TEST(mremap_across_a_gigabyte)
{
	char *at;

	begin();
	thp_settings.enabled = THP_ALWAYS;
	CHECK_EQ(mmap_map(mm, 1 * GIB, 2 * MIB, RW, ANON | MAP_FIXED), 1 * GIB);
	CHECK_EQ(mmu_access(mm, 1 * GIB, MMU_WRITE, &at), FAULT_DONE);
	at[0] = 77;
	CHECK_EQ(mmap_remap(mm, 1 * GIB, 2 * MIB, 2 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, 3 * GIB),
		3 * GIB);
	CHECK(pgtable_check(mm) && rmap_check() && mmu_check(mm));
	CHECK_EQ(mmu_access(mm, 3 * GIB, MMU_READ, &at), FAULT_DONE);
	CHECK_EQ(at[0], 77);
	CHECK_EQ(vmstat_read(VM_thp_split_pmd), 0);
	CHECK_EQ(mmap_unmap(mm, 3 * GIB, 2 * MIB), 0);
	CHECK_EQ(mm->nr_tables, 0);
	end();
}

/* ---- brk ---- */

TEST(brk)
{
	begin();
	CHECK_EQ(mmap_brk(mm, 0), MODEL_BRK); /* the question where it is */
	model_brk(s, MODEL_BRK + 100);
	write_pages(MODEL_BRK, 1);
	model_brk(s, MODEL_BRK + 2 * MIB);
	write_pages(MODEL_BRK + PAGE_SIZE, 511);
	CHECK_EQ(mm->nr_vmas, 1);
	CHECK_STR(mm_lookup(mm, MODEL_BRK)->name, "[heap]");
	model_brk(s, MODEL_BRK + MIB);
	CHECK_EQ(mm->nr_anon, 256);
	model_map(s, MODEL_BRK + 2 * MIB, PAGE_SIZE, RW, MAP_FIXED);
	model_brk(s, MODEL_BRK + 3 * MIB); /* something is in the way */
	CHECK_EQ(mm->brk, MODEL_BRK + MIB);
	CHECK_EQ(mmap_brk(mm, MODEL_BRK - PAGE_SIZE), MODEL_BRK + MIB);
	CHECK_EQ(mmap_brk(mm, ~0ul), MODEL_BRK + MIB);
	model_brk(s, MODEL_BRK);
	end();
}

/* ---- madvise, mincore ---- */

TEST(madvise_refuses)
{
	u64 n = 0;

	begin();
	model_map(s, HERE, MIB, RW, MAP_FIXED);
	CHECK_EQ(mmap_advise(mm, HERE, MIB, 12345, &n), -EINVAL);
	CHECK_EQ(mmap_advise(mm, HERE + 1, MIB, MADV_DONTNEED, &n), -EINVAL);
	CHECK_EQ(mmap_advise(mm, HERE, ~0ul, MADV_DONTNEED, &n), -EINVAL);
	CHECK_EQ(mmap_advise(mm, HERE, 0, MADV_DONTNEED, &n), 0);
	CHECK_EQ(mmap_advise(mm, 20 * MIB, MIB, MADV_DONTNEED, &n), -ENOMEM);
	/* what is mapped is treated all the same */
	write_pages(HERE, 256);
	CHECK_EQ(model_advise(s, HERE, 2 * MIB, MADV_DONTNEED), -ENOMEM);
	CHECK_EQ(mm->nr_anon, 0);
	for (u64 i = 0; i < 256; i++)
		s->page[(HERE >> PAGE_SHIFT) + i].version = 0;
	end();
}

/* Each owner says it for itself: the page goes when the entries of all are clean. */
TEST(madvise_free_of_shared_pages)
{
	struct model_space *child;

	begin();
	model_map(s, HERE, MIB, RW, MAP_FIXED);
	write_pages(HERE, 256);
	child = model_fork(s);
	CHECK_EQ(model_advise(s, HERE, MIB, MADV_FREE), 0);
	CHECK_EQ(vmstat_read(VM_pglazyfree), 256);
	reclaim_run();
	CHECK_EQ(vmstat_read(VM_pglazyfreed), 0);
	CHECK_EQ(child->mm->nr_anon, 256);
	model_exit(child);
	end();
}

TEST(the_peak_is_remembered)
{
	begin();
	model_map(s, HERE, 4 * MIB, RW, ANON | MAP_FIXED);
	write_pages(HERE, 1024);
	CHECK_EQ(model_advise(s, HERE, 3 * MIB, MADV_DONTNEED), 0);
	write_pages(HERE, 1);
	CHECK_EQ(mm->peak_rss, 1024);
	CHECK(mm->nr_anon < 1024);
	end();
}

TEST(populate_counts_its_faults)
{
	u64 n = 0;

	begin();
	thp_settings.enabled = THP_ALWAYS;
	model_map(s, HERE, 4 * MIB, RW, MAP_FIXED);
	model_protect(s, HERE + 2 * MIB, PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
	write_pages(HERE + 2 * MIB + 10 * PAGE_SIZE, 1);
	CHECK_EQ(mmap_advise(mm, HERE, 4 * MIB, MADV_POPULATE_WRITE, &n), 0);
	CHECK_EQ(n, 1 + 511); /* one huge, and the rest of the second block in small */
	CHECK_EQ(mm->nr_anon, 1024);
	n = 0;
	CHECK_EQ(mmap_advise(mm, HERE, 4 * MIB, MADV_POPULATE_WRITE, &n), 0);
	CHECK_EQ(n, 0);
	end();
}

TEST(mincore)
{
	u8 vec[512];

	begin();
	model_map(s, HERE, 4 * MIB, RW, MAP_FIXED);
	write_pages(HERE, 1);
	thp_settings.enabled = THP_NEVER;
	write_pages(HERE + 2 * MIB + 3 * PAGE_SIZE, 2);
	CHECK_EQ(mmap_mincore(mm, HERE, 512, vec), 0);
	for (u64 i = 0; i < 512; i++)
		CHECK_EQ(vec[i], 1);
	CHECK_EQ(mmap_mincore(mm, HERE + 2 * MIB, 512, vec), 0);
	for (u64 i = 0; i < 512; i++)
		CHECK_EQ(vec[i], i == 3 || i == 4);
	CHECK_EQ(mmap_mincore(mm, HERE + 4 * MIB - PAGE_SIZE, 2, vec), -ENOMEM);
	end();
}

/* ---- a stack that grows ---- */

TEST(the_stack_grows)
{
	vaddr_t top = 512 * MIB, low = top - 64 * PAGE_SIZE;
	char *at;

	begin();
	CHECK_EQ(
		mmap_map_named(mm, low, 64 * PAGE_SIZE, RW, VM_STACK | VM_GROWSDOWN, "[stack]"), 0);
	CHECK_EQ(mmu_access(mm, low - 100 * PAGE_SIZE, MMU_WRITE, &at), FAULT_DONE);
	CHECK_EQ(mm_lookup(mm, top - 1)->start, low - 100 * PAGE_SIZE);
	CHECK_EQ(mmu_access(mm, top - 9 * MIB, MMU_WRITE, &at),
		FAULT_BAD_ADDRESS); /* past the limit */
	/* the guard gap to what lies below */
	CHECK_EQ(mmap_map_named(mm, top - 6 * MIB, PAGE_SIZE, RW, 0, ""), 0);
	CHECK_EQ(mmu_access(mm, top - 6 * MIB + 2 * PAGE_SIZE, MMU_WRITE, &at), FAULT_BAD_ADDRESS);
	CHECK_EQ(mmu_access(mm, top - 5 * MIB + PAGE_SIZE, MMU_WRITE, &at), FAULT_DONE);
	CHECK(vma_check(mm) && pgtable_check(mm) && rmap_check());
	CHECK_EQ(mmap_unmap(mm, top - 8 * MIB, 8 * MIB), 0);
	end();
}

/* ---- the limit ---- */

/* 65,530 areas, by other rights for every second page; the next cut is refused and changes nothing. */
TEST(as_many_areas_as_linux_has)
{
	vaddr_t base = 1 * GIB, a;
	u64 cuts = 0;

	begin();
	CHECK_EQ(mmap_map(mm, base, 1 * GIB, PROT_READ, ANON | MAP_FIXED | MAP_NORESERVE), base);
	for (a = base + PAGE_SIZE; mm->nr_vmas + 2 <= VMA_MAX; a += 2 * PAGE_SIZE, cuts++)
		CHECK_EQ(mmap_protect(mm, a, PAGE_SIZE, PROT_NONE), 0);
	CHECK_EQ(mm->nr_vmas, 65529);
	CHECK_EQ(cuts, 32764);
	CHECK_EQ(mmap_protect(mm, a, PAGE_SIZE, PROT_NONE),
		-ENOMEM); /* needs two more, there is one */
	CHECK_EQ(mmap_unmap(mm, a + 5 * PAGE_SIZE, PAGE_SIZE), -ENOMEM);
	CHECK(mm->nr_vmas <= VMA_MAX);
	CHECK(vma_check(mm));
	CHECK_EQ(mmap_map(mm, HERE, PAGE_SIZE, RW, ANON | MAP_FIXED),
		mm->nr_vmas < VMA_MAX ? (s64)HERE : -ENOMEM);
	CHECK_EQ(mmap_map(mm, HERE + 2 * PAGE_SIZE, PAGE_SIZE, RW, ANON | MAP_FIXED), -ENOMEM);
	CHECK_EQ(mmap_unmap(mm, HERE, PAGE_SIZE), 0);
	CHECK_EQ(mm->nr_vmas, VMA_MAX);
	CHECK_EQ(mmap_unmap(mm, a, PAGE_SIZE), 0); /* an edge goes, though it is cut off first */
	CHECK_EQ(mmap_unmap(mm, base + 1 * GIB - PAGE_SIZE, PAGE_SIZE), 0);
	CHECK_EQ(mm->nr_vmas, VMA_MAX);
	CHECK_EQ(mmap_unmap(mm, a + 5 * PAGE_SIZE, PAGE_SIZE), -ENOMEM); /* a hole makes one more */
	CHECK_EQ(mmap_unmap(mm, base, PAGE_SIZE),
		0); /* one less: a hole is allowed up to the limit */
	CHECK_EQ(mmap_unmap(mm, a + 5 * PAGE_SIZE, PAGE_SIZE), 0);
	CHECK_EQ(mm->nr_vmas, VMA_MAX);
	CHECK(vma_check(mm));
	CHECK_EQ(mmap_unmap(mm, base, 1 * GIB), 0);
	CHECK_EQ(mm->nr_vmas, 0);
	end();
}

/* ---- mremap, when memory runs out and huge pages come apart on the way ---- */

static unsigned moment,
	moments; /* the one at which another CPU splits all that is huge; how many there were */
static struct page *heads[2];

static void split_them(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(heads); i++) {
		page_get(heads[i]);
		CHECK_EQ(thp_split_page(heads[i]), 0);
		page_put(heads[i]);
	}
	buddy_inject_fail(1, -1); /* and the next table is not to be had either */
}

static void at_moment(void)
{
	if (moments++ == moment)
		mmu_as_other_cpu(split_them);
}

/* Huge, small, huge: moved by `shift`, the k-th allocation fails, and there is a split at the n-th moment. */
static bool move_mixture(vaddr_t to, u64 k, unsigned n)
{
	s64 at;

	s = model_create();
	mm = s->mm;
	model_map(s, HERE, 6 * MIB, RW, MAP_FIXED);
	for (vaddr_t a = HERE; a < HERE + 6 * MIB; a += 64 * PAGE_SIZE) {
		thp_settings.enabled = a / (2 * MIB) % 2 ? THP_NEVER : THP_ALWAYS;
		CHECK_EQ(model_access(s, a, MMU_WRITE), FAULT_DONE);
	}
	thp_settings.enabled = THP_ALWAYS;
	heads[0] = pfn_to_page(mmu_frame(mm, HERE));
	heads[1] = pfn_to_page(mmu_frame(mm, HERE + 4 * MIB));
	CHECK(page_is_huge(heads[0]) && page_is_huge(heads[1]));
	moment = n;
	moments = 0;
	model_may_fail = true;
	buddy_inject_fail(k, -1);
	machine_preempt = at_moment;
	at = model_remap(s, HERE, 6 * MIB, 6 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	machine_preempt = NULL;
	buddy_inject_fail(0, -1);
	model_may_fail = false;
	CHECK(at == (s64)to || at == -ENOMEM);
	model_check();
	model_exit(s);
	return moments > n;
}

TEST(a_move_among_splits_and_failures)
{
	static const vaddr_t places[] = {16 * MIB, 16 * MIB + PAGE_SIZE, 18 * MIB - 3 * PAGE_SIZE};

	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		for (u64 k = 1; k < 10; k++) {
			model_start(96 * MIB);
			for (unsigned n = 0; n < 40 && move_mixture(places[i], k, n); n++)
				;
			end();
		}
	}
}
