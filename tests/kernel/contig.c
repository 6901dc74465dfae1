/*
 * contig.c - a range above the largest block is made by moving what is in the way            self-tests
 */
#include "lab.h"
#include "mm/buddy.h"
#include "mm/contig.h"
#include "mm/mmap.h"
#include "mutex.h"
#include <abi/advice.h>

#define ORDER 13 /* 32 MiB */
#define LEN   (96ul << 20)

/* Each page holds its own address. */
static bool marks(struct mm *mm, vaddr_t step, bool write)
{
	for (vaddr_t a = LAB_AREA; a < LAB_AREA + LEN; a += step) {
		u64 *word = lab_word(mm, a);

		if (!word)
			return false;
		if (write)
			*word = a;
		if (*word != a)
			return false;
	}
	return true;
}

/* All of it used, then freed but for one page of each 2 MiB. */
static struct mm *sprinkled(void)
{
	struct mm *mm = lab_space();
	u64 faults = 0;

	thp_settings.enabled = THP_NEVER;
	if (!mm || !lab_area(mm, LAB_AREA, LEN) || !lab_fill(mm, LAB_AREA, LEN))
		return mm;
	for (vaddr_t a = LAB_AREA; a < LAB_AREA + LEN; a += HPAGE_PMD_SIZE)
		if (mmap_advise(
			    mm, a + PAGE_SIZE, HPAGE_PMD_SIZE - PAGE_SIZE, MADV_DONTNEED, &faults))
			return mm;
	return mm;
}

KTEST(contig, what_is_in_the_way_moves)
{
	struct thp_settings before;
	struct page *first, *more[8];
	unsigned n = 0;
	struct mm *mm;

	if (!lab_has_memory(LEN) || buddy_free_pages() << PAGE_SHIFT > 4 * LEN)
		KT_SKIP(ctx, "wants between 192 and 384 MiB of free memory");
	before = lab_begin();
	mm = sprinkled();
	KT_REQUIRE(ctx, mm && marks(mm, HPAGE_PMD_SIZE, true));
	while (n < 8 && (more[n] = buddy_alloc_contig(ORDER, PAGE_PINNED, 0)))
		n++; /* what is free in one piece anyway */
	KT_EXPECT(ctx, n < 8);
	first = contig_alloc(ORDER, PAGE_PINNED);
	KT_EXPECT(ctx, first);
	KT_EXPECT(ctx, !first || IS_ALIGNED(page_to_pfn(first), 1ul << ORDER));
	KT_EXPECT(ctx, marks(mm, HPAGE_PMD_SIZE, false));
	KT_EXPECT(ctx, lab_healthy());
	for_each_zone (z)
		KT_EXPECT(ctx, z->isolated_pages == 0);
	if (first)
		buddy_free_contig(first, ORDER);
	while (n > 0)
		buddy_free_contig(more[--n], ORDER);
	lab_space_end(mm);
	lab_end(ctx, &before);
}
