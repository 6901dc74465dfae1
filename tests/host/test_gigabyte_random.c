/*
 * test_gigabyte_random.c - random calls over areas with leaves of 1 GiB, against a plain model of contents and rights.
 *
 * The model knows no sizes: for each page of three gigabytes of addresses, is it mapped, with which rights, and what was
 * written there last. A few places are looked at again and again (edges of gigabytes, of huge pages, and any others),
 * so that each is written, shared, split and moved many times. Four GiB of memory: gigabytes run short, too.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "fake_machine.h"
#include "model.h"
#include <abi/advice.h>
#include <abi/errno.h>
#include "mm/buddy.h"
#include "mm/compact.h"
#include "mm/fork.h"
#include "mm/gigapage.h"
#include "mm/huge_pud.h"
#include "mm/kmalloc.h"
#include "mm/lru.h"
#include "mm/migrate.h"
#include "mm/mmap.h"
#include "mm/numa.h"
#include "mm/pgtable.h"
#include "mm/reclaim.h"
#include "mm/rmap.h"
#include "mm/thp.h"
#include "mm/thp_split.h"
#include "mm/vma.h"
#include "mm/zero.h"
#include "mutex.h"
#include "vmstat.h"

#define MIB    (1ul << 20)
#define GIB    HPAGE_PUD_SIZE
#define BASE   (4 * GIB)
#define WINDOW (3 * GIB)
#define PAGES  (WINDOW >> PAGE_SHIFT)
#define SPACES 3
#define PLACES 96 /* pages that are written */
#define ANON   (MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)

#define UNMAPPED 0xff

struct plain {
	struct mm *mm;
	u8 prot[PAGES]; /* PROT_*, or UNMAPPED */
	u32 written[PAGES];
	bool lazy[PAGES]; /* MADV_FREE: it may read as zeroes until it is written */
	bool locked[PAGES];
};

static struct plain spaces[SPACES];
static u64 places[PLACES]; /* numbers of pages */
static u32 last_written;

static vaddr_t addr_of(u64 page)
{
	return BASE + (page << PAGE_SHIFT);
}

static void choose_places(void)
{
	for (unsigned i = 0; i < PLACES; i++) {
		u64 at = check_below(3) * GIB;

		if (i % 3 == 0) /* an edge of a huge page, or of the gigabyte */
			at += check_below(512) * HPAGE_PMD_SIZE +
			      (check_below(2) ? 0 : 2 * MIB - PAGE_SIZE);
		else if (i % 3 == 1)
			at += check_below(2) ? 0 : GIB - PAGE_SIZE;
		else
			at += check_below(GIB) & PAGE_MASK;
		places[i] = at >> PAGE_SHIFT;
	}
}

/* A range to be changed: gigabytes, huge pages or pages; both ends in the window. */
static void choose_range(u64 *page, u64 *nr)
{
	static const u64 units[] = {GIB, GIB, HPAGE_PMD_SIZE, PAGE_SIZE};
	u64 unit = units[check_below(4)] >> PAGE_SHIFT;
	u64 place = places[check_below(PLACES)] / unit * unit;

	*page = place;
	*nr = unit * (unit == GIB >> PAGE_SHIFT ? 1 : 1 + check_below(700));
	*nr = MIN(*nr, PAGES - place);
}

static bool all_mapped(const struct plain *s, u64 page, u64 nr)
{
	for (u64 i = page; i < page + nr; i++)
		if (s->prot[i] == UNMAPPED)
			return false;
	return true;
}

static bool any_locked(const struct plain *s, u64 page, u64 nr)
{
	for (u64 i = page; i < page + nr; i++)
		if (s->locked[i])
			return true;
	return false;
}

static void forget(struct plain *s, u64 page, u64 nr, u8 prot)
{
	memset(s->prot + page, prot, nr);
	memset(s->written + page, 0, nr * sizeof(s->written[0]));
	memset(s->lazy + page, 0, nr * sizeof(s->lazy[0]));
	memset(s->locked + page, 0, nr * sizeof(s->locked[0]));
}

/* --- looking --- */

/* What stands in the page, or that nothing does. It may have been dropped after MADV_FREE. */
static void see(struct plain *s, u64 page, const u32 *at)
{
	u32 is = at ? *at : 0;

	if (s->lazy[page] && !is) {
		s->written[page] = 0;
		return;
	}
	CHECK_MSG(is == s->written[page], "space %u, %#lx: %u, want %u", s->mm->id, addr_of(page),
		is, s->written[page]);
}

/* Without a fault: what the tables say. */
static void look_at(struct plain *s, u64 page)
{
	pfn_t pfn = mmu_frame(s->mm, addr_of(page));

	CHECK(!pfn || s->prot[page] != UNMAPPED);
	if (s->prot[page] != UNMAPPED)
		see(s, page, pfn ? phys_to_virt(pfn << PAGE_SHIFT) : NULL);
}

static void look_at_all(void)
{
	for (struct plain *s = spaces; s < spaces + SPACES; s++)
		for (unsigned i = 0; s->mm && i < PLACES; i++)
			look_at(s, places[i]);
}

static void check_all(void)
{
	look_at_all();
	for (struct plain *s = spaces; s < spaces + SPACES; s++)
		if (s->mm)
			CHECK_MSG(vma_check(s->mm) && pgtable_check(s->mm) && mmu_check(s->mm),
				"%s", machine_words);
	CHECK_MSG(buddy_check() && lru_check() && kmalloc_check() && rmap_check() && thp_check() &&
			  migrate_check() && zero_check() && gigapage_check() && huge_pud_check(),
		"%s", machine_words);
}

/* --- the calls --- */

static void access_page(struct plain *s, u64 page, enum mmu_kind kind)
{
	u8 prot = s->prot[page];
	enum fault_result r, want;
	char *at;

	want = prot == UNMAPPED                                      ? FAULT_BAD_ADDRESS
	       : prot & (kind == MMU_WRITE ? PROT_WRITE : PROT_READ) ? FAULT_DONE
	       : kind == MMU_READ && prot & PROT_WRITE               ? FAULT_DONE
								     : FAULT_BAD_ACCESS;
	r = mmu_access(s->mm, addr_of(page), kind, &at);
	if (r == FAULT_NO_MEMORY && want == FAULT_DONE && reclaim_run() + 1) {
		CHECK(buddy_free_pages() < 64 * MIB >> PAGE_SHIFT);
		return;
	}
	CHECK_EQ(r, want);
	if (r != FAULT_DONE)
		return;
	at = (char *)((u64)at & PAGE_MASK);
	see(s, page, (u32 *)at);
	if (kind != MMU_WRITE)
		return;
	*(u32 *)at = s->written[page] = ++last_written;
	s->lazy[page] = false;
}

static void do_access(struct plain *s, enum mmu_kind kind)
{
	access_page(s, places[check_below(PLACES)], kind);
}

/* A whole one is mapped anew, and written to. */
static void do_gigabyte(struct plain *s)
{
	u64 place = places[check_below(PLACES)], page = place & ~(GIGABYTE_PAGES - 1);
	u8 prot = PROT_READ | PROT_WRITE;

	CHECK_EQ(mmap_map(s->mm, addr_of(page), GIB, prot, ANON), addr_of(page));
	forget(s, page, GIGABYTE_PAGES, prot);
	access_page(s, place, MMU_WRITE);
}

static void do_map(struct plain *s)
{
	u64 page, nr;
	u8 prot = PROT_READ | PROT_WRITE;

	choose_range(&page, &nr);
	CHECK_EQ(mmap_map(s->mm, addr_of(page), nr << PAGE_SHIFT, prot, ANON), addr_of(page));
	forget(s, page, nr, prot);
}

static void do_unmap(struct plain *s)
{
	u64 page, nr;

	choose_range(&page, &nr);
	CHECK_EQ(mmap_unmap(s->mm, addr_of(page), nr << PAGE_SHIFT), 0);
	forget(s, page, nr, UNMAPPED);
}

static void do_protect(struct plain *s)
{
	static const u8 prots[] = {
		PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE};
	u8 prot = prots[check_below(4)];
	u64 page, nr;
	int r;

	choose_range(&page, &nr);
	r = mmap_protect(s->mm, addr_of(page), nr << PAGE_SHIFT, prot);
	CHECK_EQ(r, all_mapped(s, page, nr) ? 0 : -ENOMEM);
	for (u64 i = page; i < page + nr && s->prot[i] != UNMAPPED; i++)
		s->prot[i] = prot; /* what lies before a hole has changed, as on Linux */
}

/* Advice that takes contents away, or may. */
static void do_forget(struct plain *s, int advice)
{
	u64 page, nr;
	bool locked;
	int r;

	choose_range(&page, &nr);
	locked = any_locked(s, page, nr);
	if (locked) /* it stops where the first locked area begins: not what is tried here */
		return;
	r = mmap_advise(s->mm, addr_of(page), nr << PAGE_SHIFT, advice, &(u64){0});
	CHECK_EQ(r, all_mapped(s, page, nr) ? 0 : -ENOMEM);
	for (u64 i = page; i < page + nr; i++) {
		if (s->prot[i] == UNMAPPED)
			continue;
		s->lazy[i] = s->lazy[i] || advice == MADV_FREE;
		if (advice == MADV_DONTNEED) {
			s->written[i] = 0;
			s->lazy[i] = false;
		}
	}
}

/* Advice that changes nothing a program can see. */
static void do_advise(struct plain *s)
{
	static const int advice[] = {MADV_HUGEPAGE, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_COLD,
		MADV_PAGEOUT, MADV_COLLAPSE, MADV_POPULATE_READ};
	int which = advice[check_below(ARRAY_SIZE(advice))];
	u64 page, nr;

	choose_range(&page, &nr);
	if (which == MADV_POPULATE_READ || which == MADV_COLLAPSE)
		nr = MIN(nr, 8 * HPAGE_PMD_NR);
	(void)mmap_advise(s->mm, addr_of(page), nr << PAGE_SHIFT, which, &(u64){0});
}

static void do_lock(struct plain *s)
{
	u64 page, nr;
	bool on = check_below(2);
	int r;

	choose_range(&page, &nr);
	if (!all_mapped(s, page, nr))
		return;
	r = on ? mmap_lock(s->mm, addr_of(page), nr << PAGE_SHIFT, MLOCK_ONFAULT, &(u64){0})
	       : mmap_unlock(s->mm, addr_of(page), nr << PAGE_SHIFT);
	CHECK_EQ(r, 0);
	memset(s->locked + page, on, nr * sizeof(s->locked[0]));
}

/* One area only, so of pages of one kind; whole gigabytes most of the time. */
static void do_move(struct plain *s)
{
	u64 page, nr, to = places[check_below(PLACES)];
	struct vma *v;
	s64 r;

	choose_range(&page, &nr);
	if (check_below(4)) {
		page &= ~(GIGABYTE_PAGES - 1);
		to &= ~(GIGABYTE_PAGES - 1);
		nr = GIGABYTE_PAGES;
	}
	rwsem_read_lock(&s->mm->lock);
	v = vma_find(s->mm, addr_of(page));
	nr = v ? MIN(nr, ((v->end - addr_of(page)) >> PAGE_SHIFT)) : 0;
	rwsem_read_unlock(&s->mm->lock);
	nr = MIN(nr, PAGES - to);
	if (!nr || (page < to + nr && to < page + nr))
		return;
	r = mmap_remap(s->mm, addr_of(page), nr << PAGE_SHIFT, nr << PAGE_SHIFT,
		MREMAP_MAYMOVE | MREMAP_FIXED, addr_of(to));
	CHECK_EQ(r, (s64)addr_of(to));
	memcpy(s->prot + to, s->prot + page, nr);
	memcpy(s->written + to, s->written + page, nr * sizeof(s->written[0]));
	memcpy(s->lazy + to, s->lazy + page, nr * sizeof(s->lazy[0]));
	memcpy(s->locked + to, s->locked + page, nr * sizeof(s->locked[0]));
	forget(s, page, nr, UNMAPPED);
	for (unsigned i = 0; i < PLACES; i++) /* so that what was moved is looked at there */
		if (places[i] >= page && places[i] < page + nr && check_below(2))
			places[i] += to - page;
}

static void leave(struct plain *s)
{
	mmu_leave(s->mm);
	CHECK(mm_drop_user(s->mm));
	mmap_exit(s->mm);
	mm_put(s->mm);
	s->mm = NULL;
}

/* A child in an unused space; or, when all are used, one of them ends. */
static void do_fork(struct plain *s)
{
	struct plain *child = spaces;

	while (child < spaces + SPACES && child->mm)
		child++;
	if (child == spaces + SPACES) {
		leave(s == spaces ? s + 1 : s);
		return;
	}
	if (!check_below(4))
		buddy_inject_fail(1 + check_below(600), 0);
	memcpy(child, s, sizeof(*s));
	child->mm = fork_mm(s->mm);
	buddy_inject_fail(0, -1);
	if (!child->mm)
		return;
	memset(child->locked, 0, sizeof(child->locked));
	mmu_enter(child->mm);
}

/* --- who comes from a page, or from a list --- */

static void do_by_page(struct plain *s)
{
	pfn_t pfn = mmu_frame(s->mm, addr_of(places[check_below(PLACES)]));
	struct page *head = pfn ? pfn_head(pfn) : NULL;
	bool kept = pfn && pfn_block(pfn)->flags & PB_PUD;
	enum migrate_result r;

	if (!head || (head->type != PAGE_ANON && head->type != PAGE_ANON_HUGE))
		return;
	if (check_below(2) && page_is_huge(head)) {
		page_get(head);
		(void)thp_split_page(head);
		page_put(head);
		return;
	}
	r = migrate_page_alone(head, 0, check_below(2));
	CHECK(!kept || r == MIGRATED_GIGABYTE);
	CHECK(kept || r != MIGRATED_GIGABYTE);
}

static void do_daemon(struct plain *s)
{
	switch (check_below(6)) {
	case 0:
		(void)numa_scan(s->mm, GIGABYTE_PAGES);
		break;
	case 1:
		model_khugepaged_turn(4096);
		break;
	case 2:
		(void)reclaim_run();
		break;
	case 3:
		compact_memory();
		break;
	case 4:
		thp_settings.enabled_1g = check_below(4) ? THP_ALWAYS : check_below(3);
		huge_pud_forget_failures();
		break;
	case 5:
		thp_settings.cow = check_below(2) ? COW_COPY : COW_SPLIT;
		thp_settings.defrag = check_below(2) ? DEFRAG_ALWAYS : DEFRAG_MADVISE;
		break;
	}
}

static void do_something(struct plain *s)
{
	unsigned what = check_below(100);

	if (what < 40)
		do_access(s, MMU_WRITE);
	else if (what < 52)
		do_access(s, MMU_READ);
	else if (what < 58)
		do_gigabyte(s);
	else if (what < 60)
		do_map(s);
	else if (what < 63)
		do_unmap(s);
	else if (what < 70)
		do_protect(s);
	else if (what < 73)
		do_forget(s, check_below(2) ? MADV_DONTNEED : MADV_FREE);
	else if (what < 77)
		do_advise(s);
	else if (what < 79)
		do_lock(s);
	else if (what < 84)
		do_move(s);
	else if (what < 90)
		do_fork(s);
	else if (what < 96)
		do_by_page(s);
	else
		do_daemon(s);
}

TEST(contents_and_rights)
{
	u64 rounds = check_rounds(1000), free_at_start;

	mmu_start(4 * GIB + 64 * MIB);
	CHECK_EQ(gigapage_reserve(1), 1);
	huge_pud_init(true);
	thp_settings.enabled = THP_ALWAYS;
	thp_settings.enabled_1g = THP_ALWAYS;
	buddy_drain_pcp();
	free_at_start = buddy_free_pages() + vmstat_read(VM_nr_slab_unreclaimable);
	memset(spaces[0].prot, UNMAPPED, sizeof(spaces[0].prot));
	spaces[0].mm = mm_create();
	mmu_enter(spaces[0].mm);
	choose_places();
	for (u64 i = 0; i < rounds; i++) {
		struct plain *s = &spaces[check_below(SPACES)];

		do_something(s->mm ? s : spaces);
		if (i % 8 == 0)
			look_at_all();
		if (i % 64 == 0)
			check_all();
	}
	check_all();
	printf("%lu gigabytes, %lu of them made by moving, %lu not to be had, %lu split\n",
		vmstat_read(VM_thp_fault_alloc_1g), vmstat_read(VM_contig_alloc_success),
		vmstat_read(VM_thp_fault_fallback_1g), vmstat_read(VM_thp_split_pud));
	CHECK(vmstat_read(VM_thp_fault_alloc_1g) >= rounds / 100 &&
		vmstat_read(VM_thp_split_pud) >= rounds / 150);
	for (struct plain *s = spaces; s < spaces + SPACES; s++)
		if (s->mm)
			leave(s);
	CHECK_EQ(vmstat_read(VM_nr_anon_pages), 0);
	CHECK_EQ(vmstat_read(VM_nr_thp_1g), 0);
	gigapage_refill();
	CHECK_EQ(gigapage_reserved(), 1);
	buddy_drain_pcp();
	while (zero_huge_pfn && zero_huge_shrink())
		;
	CHECK_EQ(buddy_free_pages() + vmstat_read(VM_nr_slab_unreclaimable), free_at_start);
	CHECK(gigapage_check() && huge_pud_check());
}
