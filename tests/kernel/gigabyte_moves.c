/*
 * gigabyte_moves.c - a gigabyte is made by moving what is in the way                         self-tests
 *
 * All memory is filled by huge pages, and thinned out so that no gigabyte is free as a whole but half of each one is:
 *
 *   | huge | one page of 512, still a huge page | one page of 512, split | free |  and again, over all memory
 *
 * Two spaces map what is left. Wants leaves of 1 GiB and a gigabyte without a page of the kernel: MEM=4G.
 */
#include "lab.h"
#include "mm/buddy.h"
#include "mm/fork.h"
#include "mm/gigapage.h"
#include "mm/huge_pud.h"
#include "mm/lru.h"
#include "mm/mmap.h"
#include "mm/pgtable.h"
#include "mm/thp_split.h"
#include "mm/vma.h"
#include "mutex.h"
#include "printk.h"
#include "vmstat.h"
#include "x86/timer.h"
#include <abi/advice.h>

#define GIB    HPAGE_PUD_SIZE
#define SPARE  (192ul << 20) /* left free: tables, the kernel's own */
#define TARGET (64 * GIB)    /* where the gigabyte goes */
#define KINDS  4

struct moves {
	struct thp_settings before;
	u64 used, len;
	struct mm *mm, *child, *asking;
};

static bool is_pud(struct mm *mm, vaddr_t addr)
{
	pud_t *pudp = pgtable_find_pud(mm, addr);

	return pudp && pud_kind(pud_read(pudp)) == ENTRY_LEAF;
}

/* What becomes of a huge page: so much of it stays mapped; is it one page still? */
struct kind {
	u64 kept;
	bool split;
};

static const struct kind mixed[KINDS] = {
	{HPAGE_PMD_SIZE, false}, {PAGE_SIZE, false}, {PAGE_SIZE, true}, {0, false}};
static const struct kind in_pieces[KINDS] = {
	{HPAGE_PMD_SIZE, false}, {PAGE_SIZE, true}, {PAGE_SIZE, true}, {PAGE_SIZE, true}};
static const struct kind *kinds = mixed;

static const struct kind *kind_of(vaddr_t a)
{
	return &kinds[(a >> HPAGE_PMD_SHIFT) % KINDS];
}

/* What stays of the range of 2 MiB at `a`: its whole, one page, or nothing. */
static u64 kept(vaddr_t a)
{
	return kind_of(a)->kept;
}

/* The word at a and one near the end of each page that stays. */
static u64 *word(struct mm *mm, vaddr_t a, unsigned n)
{
	u64 *at = lab_word(mm, a);

	return at ? at + (n ? 500 : 0) : NULL;
}

static void mark(const struct moves *m)
{
	for (vaddr_t a = LAB_AREA; a < LAB_AREA + m->len; a += HPAGE_PMD_SIZE)
		for (u64 at = 0; at < kept(a); at += PAGE_SIZE) {
			*word(m->mm, a + at, 0) = a + at;
			*word(m->mm, a + at, 1) = ~(a + at);
		}
}

static bool is_marked(const struct moves *m, struct mm *mm)
{
	for (vaddr_t a = LAB_AREA; a < LAB_AREA + m->len; a += HPAGE_PMD_SIZE)
		for (u64 at = 0; at < kept(a); at += PAGE_SIZE) {
			u64 *first = word(mm, a + at, 0), *second = word(mm, a + at, 1);

			if (!first || *first != a + at || *second != ~(a + at))
				return false;
		}
	return true;
}

static bool thin_out(const struct moves *m)
{
	u64 faults = 0;

	for (vaddr_t a = LAB_AREA; a < LAB_AREA + m->len; a += HPAGE_PMD_SIZE) {
		struct page *head = pfn_to_page(lab_pfn(m->mm, a));

		if (kept(a) == HPAGE_PMD_SIZE)
			continue;
		if (mmap_advise(
			    m->mm, a + kept(a), HPAGE_PMD_SIZE - kept(a), MADV_DONTNEED, &faults))
			return false;
		if (!kind_of(a)->split || !lru_get(head))
			continue;
		(void)thp_split_page(head);
		page_put(head);
	}
	return true;
}

/* False: this machine has no such pages, or not enough memory. */
static bool begin(struct moves *m, const struct kind *mixture)
{
	u64 pages;

	kinds = mixture;
	*m = (struct moves){.before = lab_begin()};
	if (!huge_pud_possible() || !lab_has_memory(GIB) || !huge_pud_available() ||
		gigapage_reserved())
		return false;
	m->used = lab_frames_used();
	pages = buddy_free_pages() - (SPARE >> PAGE_SHIFT);
	m->len = ALIGN_DOWN(pages << PAGE_SHIFT, HPAGE_PMD_SIZE);
	m->mm = lab_space();
	m->asking = lab_space();
	if (!m->mm || !m->asking || !lab_area(m->mm, LAB_AREA, m->len) ||
		!lab_area(m->asking, TARGET, GIB) || !lab_fill(m->mm, LAB_AREA, m->len))
		return false;
	mark(m);
	if (!thin_out(m))
		return false;
	m->child = fork_mm(m->mm);
	thp_settings.enabled_1g = THP_ALWAYS;
	thp_settings.defrag = DEFRAG_ALWAYS;
	huge_pud_forget_failures();
	return m->child;
}

static void end(struct ktest_ctx *ctx, struct moves *m)
{
	if (m->child)
		lab_space_end(m->child);
	if (m->mm)
		lab_space_end(m->mm);
	if (m->asking)
		lab_space_end(m->asking);
	for_each_zone (z)
		KT_EXPECT(ctx, z->isolated_pages == 0);
	if (m->used)
		KT_EXPECT(ctx, lab_frames_back(m->used));
	huge_pud_forget_failures();
	lab_end(ctx, &m->before);
}

#define BEGIN(ctx, m, mixture)                                                                     \
	do {                                                                                       \
		if (!begin(m, mixture)) {                                                          \
			end(ctx, m);                                                               \
			KT_SKIP(ctx, "no pages of 1 GiB here, or less than 2 GiB free");           \
		}                                                                                  \
	} while (0)

static enum thp_reason why(struct moves *m)
{
	enum thp_reason r;

	rwsem_read_lock(&m->asking->lock);
	r = huge_pud_why(vma_find(m->asking, TARGET), TARGET);
	rwsem_read_unlock(&m->asking->lock);
	return r;
}

static bool write_target(struct moves *m)
{
	return lab_fill(m->asking, TARGET, PAGE_SIZE);
}

/* One page of each gigabyte is pinned. How many. */
static unsigned pin_some(const struct moves *m, struct page **pinned, unsigned most)
{
	unsigned n = 0;

	for (vaddr_t a = LAB_AREA; a < LAB_AREA + m->len && n < most; a += HPAGE_PMD_SIZE) {
		pfn_t pfn = kept(a) ? lab_pfn(m->mm, a) : 0;
		bool known = !pfn;

		for (unsigned i = 0; i < n; i++)
			known |= page_to_pfn(pinned[i]) / GIGABYTE_PAGES == pfn / GIGABYTE_PAGES;
		if (known)
			continue;
		pinned[n] = pfn_head(pfn);
		page_get(pinned[n++]);
	}
	return n;
}

/* It cannot be done, is not tried each time, and nothing has changed. */
static void expect_refusal(struct ktest_ctx *ctx, struct moves *m)
{
	u64 failed = vmstat_read(VM_contig_alloc_fail);
	u64 deferred = vmstat_read(VM_thp_fault_deferred_1g);

	KT_EXPECT(ctx, write_target(m) && !is_pud(m->asking, TARGET));
	KT_EXPECT(ctx, vmstat_read(VM_contig_alloc_fail) == failed + 1);
	KT_EXPECT(ctx, mmap_unmap(m->asking, TARGET, GIB) == 0);
	KT_EXPECT(ctx, lab_area(m->asking, TARGET, GIB));
	KT_EXPECT(ctx, why(m) == THP_NO_GIGABYTE_DEFERRED);
	KT_EXPECT(ctx, write_target(m) && !is_pud(m->asking, TARGET));
	KT_EXPECT(ctx, vmstat_read(VM_contig_alloc_fail) == failed + 1);
	KT_EXPECT(ctx, vmstat_read(VM_thp_fault_deferred_1g) == deferred + 1);
	KT_EXPECT(ctx, mmap_unmap(m->asking, TARGET, GIB) == 0);
	KT_EXPECT(ctx, lab_area(m->asking, TARGET, GIB));
	KT_EXPECT(ctx, is_marked(m, m->mm));
	huge_pud_forget_failures();
}

/* The fault gets its gigabyte; what was there is elsewhere, and holds what it held. */
static void expect_success(struct ktest_ctx *ctx, struct moves *m)
{
	u64 moved = vmstat_read(VM_pgmigrate_success), made = vmstat_read(VM_contig_alloc_success);

	KT_EXPECT(ctx, !huge_pud_available() && why(m) == THP_NO_GIGABYTE);
	KT_EXPECT(ctx, write_target(m) && is_pud(m->asking, TARGET));
	KT_EXPECT(ctx, vmstat_read(VM_contig_alloc_success) == made + 1);
	KT_EXPECT(ctx, vmstat_read(VM_pgmigrate_success) > moved + GIGABYTE_PAGES / KINDS / 2);
	KT_EXPECT(ctx, is_marked(m, m->mm) && is_marked(m, m->child));
	KT_EXPECT(ctx, lab_healthy());
}

KTEST(gigabyte_moves, what_is_pinned_stays_the_rest_makes_room)
{
	struct page *pinned[64];
	struct moves m;
	unsigned n;

	BEGIN(ctx, &m, mixed);
	n = pin_some(&m, pinned, 64);
	expect_refusal(ctx, &m);
	while (n > 0)
		page_put(pinned[--n]);
	expect_success(ctx, &m);
	end(ctx, &m);
}

/* --- where no block is free --- */

#define FILLER (128 * GIB + HPAGE_PMD_SIZE) /* an area without a whole gigabyte in it */

/* The last free blocks of 2 MiB are taken, by pages that may move. How many: compaction makes some meanwhile. */
static u64 take_blocks(struct moves *m)
{
	u64 n = 0;

	if (!lab_area(m->asking, FILLER, GIB - HPAGE_PMD_SIZE))
		return 0;
	for (; n < GIB / HPAGE_PMD_SIZE - 1; n++) {
		vaddr_t a = FILLER + n * HPAGE_PMD_SIZE;
		struct page *block = buddy_alloc(HPAGE_PMD_ORDER, MIGRATE_MOVABLE, PAGE_PINNED, 0);

		if (!block)
			break;
		buddy_free(block);
		if (!lab_fill(m->asking, a, HPAGE_PMD_SIZE))
			break;
	}
	return n;
}

/* Three quarters of memory are free, and hardly a block of it: each huge page in the way comes apart, and moves in pieces. */
KTEST(gigabyte_moves, huge_pages_come_apart)
{
	struct moves m;
	u64 split, blocks;

	BEGIN(ctx, &m, in_pieces);
	blocks = take_blocks(&m);
	split = vmstat_read(VM_thp_migration_split);
	expect_success(ctx, &m);
	split = vmstat_read(VM_thp_migration_split) - split;
	printk("ktest: gigabyte_moves: %lu free blocks were taken, %lu huge pages came apart",
		blocks, split);
	KT_EXPECT(ctx, split > 0);
	end(ctx, &m);
}

/* --- while others write --- */

struct writer {
	struct lab_rival rival;
	vaddr_t start, end, at;
	u64 rounds;
	bool lost;
};

/* The next page that stays is counted up, by the program's own mapping. */
static void count_up(void *arg)
{
	struct writer *w = arg;
	u64 value;

	do
		w->at = w->at + HPAGE_PMD_SIZE < w->end ? w->at + HPAGE_PMD_SIZE : w->start;
	while (!kept(w->at));
	w->lost |= !lab_look_here(LAB_READ, w->at + 64, &value);
	value++;
	w->lost |= !lab_look_here(LAB_WRITE, w->at + 64, &value);
	w->rounds++;
}

KTEST(gigabyte_moves, while_others_write)
{
	struct writer w = {.start = LAB_AREA};
	u64 before = 0, after = 0;
	struct moves m;

	BEGIN(ctx, &m, mixed);
	lab_space_end(m.child); /* every page in one space: nothing is copied by a write */
	m.child = NULL;
	w.at = w.start;
	w.end = LAB_AREA + m.len;
	for (vaddr_t a = LAB_AREA; a < w.end; a += HPAGE_PMD_SIZE)
		before += kept(a) ? lab_word(m.mm, a)[8] : 0;
	KT_REQUIRE(ctx, lab_rival_go(&w.rival, m.mm, LAB_ANY_CPU, count_up, &w));
	KT_EXPECT(ctx, write_target(&m));
	lab_rival_end(&w.rival);
	KT_EXPECT(ctx, is_pud(m.asking, TARGET));
	for (vaddr_t a = LAB_AREA; a < w.end; a += HPAGE_PMD_SIZE)
		after += kept(a) ? lab_word(m.mm, a)[8] : 0;
	KT_EXPECT(ctx, !w.lost && w.rounds > 0 && after - before == w.rounds);
	KT_EXPECT(ctx, is_marked(&m, m.mm) && lab_healthy());
	end(ctx, &m);
}
