/*
 * spaces.c - areas of other kinds, huge pages that are split, khugepaged among living spaces          self-tests
 */
#include "khugepaged.h"
#include "lab.h"
#include "handle.h"
#include "ipc.h"
#include "mm/buddy.h"
#include "mm/fault.h"
#include "mm/fork.h"
#include "mm/memory.h"
#include "mm/mmap.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/thp_split.h"
#include "mm/vma.h"
#include "mm/zero.h"
#include "mutex.h"
#include "printk.h"
#include "vmstat.h"
#include "x86/timer.h"
#include <abi/errno.h>

static enum page_type type_at(struct mm *mm, vaddr_t addr)
{
	return pfn_type(lab_pfn(mm, addr));
}

static int advise(struct mm *mm, vaddr_t addr, u64 len, int advice)
{
	u64 faults = 0;

	return mmap_advise(mm, addr, len, advice, &faults);
}

/* Each page holds its own address. */
static void mark(struct mm *mm, vaddr_t addr, u64 len)
{
	for (vaddr_t a = addr; a < addr + len; a += PAGE_SIZE)
		*lab_word(mm, a) = a;
}

static bool is_marked(struct mm *mm, vaddr_t addr, u64 len)
{
	bool marked = true;

	/* khugepaged makes a hole of the pmd for as long as it copies. */
	rwsem_read_lock(&mm->lock);
	for (vaddr_t a = addr; a < addr + len && marked; a += PAGE_SIZE) {
		u64 *word = lab_word(mm, a);

		marked = word && *word == a;
	}
	rwsem_read_unlock(&mm->lock);
	return marked;
}

/* --- faults ------------------------------------------------------------------------------------------- */

KTEST(fault, no_zero_page_where_it_is_forbidden)
{
	struct thp_settings before = lab_begin();
	struct mm *mm = lab_space(), *child;

	mm->forbid_zero = true;
	KT_EXPECT(ctx, lab_area(mm, LAB_AREA, 2 * HPAGE_PMD_SIZE));
	KT_EXPECT(ctx, lab_read(mm, LAB_AREA, PAGE_SIZE));
	KT_EXPECT(ctx, lab_is_huge(mm, LAB_AREA) && type_at(mm, LAB_AREA) == PAGE_ANON_HUGE);
	thp_settings.enabled = THP_NEVER;
	KT_EXPECT(ctx, lab_read(mm, LAB_AREA + HPAGE_PMD_SIZE, PAGE_SIZE));
	KT_EXPECT(ctx, type_at(mm, LAB_AREA + HPAGE_PMD_SIZE) == PAGE_ANON);
	KT_EXPECT(ctx, !mm->has_huge_zero);
	child = fork_mm(mm);
	KT_EXPECT(ctx, child && child->forbid_zero);
	lab_space_end(child);
	lab_space_end(mm);
	lab_end(ctx, &before);
}

/* An area of an object whose pager is asked for everything, and has no server that could answer. */
static struct mm *space_with_pager(void)
{
	struct mm *mm = lab_space();
	struct memory *m = memory_create(2 * HPAGE_PMD_SIZE);
	struct endpoint *ep = endpoint_create();

	if (mm && m && ep) {
		memory_set_pager(m, &ep->object, 1);
		mmap_map_object(mm, m, 0, LAB_AREA, 2 * HPAGE_PMD_SIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_FIXED_NOREPLACE, false, "paged");
	}
	if (m)
		object_put(&m->object);
	if (ep) {
		ep->object.ops->opened(&ep->object, RIGHT_RECEIVE);
		/* The last one who could receive. */
		ep->object.ops->closed(&ep->object, RIGHT_RECEIVE);
		object_put(&ep->object);
	}
	return mm;
}

static enum fault_result fault_at(struct mm *mm, vaddr_t addr, bool write)
{
	struct fault f = {.mm = mm, .addr = addr, .write = write, .user = true};

	return fault_handle(&f);
}

/* What is handed to user space never comes back as "fallback", and nothing is mapped. */
KTEST(fault, a_pagers_area)
{
	struct thp_settings before = lab_begin();
	struct mm *mm = space_with_pager();
	u64 faults = 0;

	for (int round = 0; round < 4; round++) {
		bool write = round & 1;

		thp_settings.enabled = round & 2 ? THP_NEVER : THP_ALWAYS;
		KT_EXPECT(ctx, fault_at(mm, LAB_AREA, write) == FAULT_PAGER);
		KT_EXPECT(ctx, fault_at(mm, LAB_AREA + HPAGE_PMD_SIZE + 5, write) == FAULT_PAGER);
	}
	if (CONFIG_INJECT) {
		thp_settings.enabled = THP_ALWAYS;
		buddy_inject_fail(1, HPAGE_PMD_ORDER);
		KT_EXPECT(ctx, fault_at(mm, LAB_AREA, true) == FAULT_PAGER);
		buddy_inject_fail(0, -1);
	}
	KT_EXPECT(
		ctx, fault_populate(mm, LAB_AREA, LAB_AREA + PAGE_SIZE, true, &faults) == -EFAULT);
	KT_EXPECT(ctx, faults == 0 && mm->nr_anon == 0 && !lab_leaf(mm, LAB_AREA));
	KT_EXPECT(ctx, advise(mm, LAB_AREA, HPAGE_PMD_SIZE, MADV_COLLAPSE) == -EINVAL);
	lab_space_end(mm);
	lab_end(ctx, &before);
}

/* --- devices ------------------------------------------------------------------------------------------- */

#define DEVICE_PA 0xe0000000ul /* on a PC never memory */
#define LEAF_BITS (PTE_P | PTE_RW | PTE_US | PTE_PCD | PTE_DEVICE | PTE_NX)

static bool is_device(struct mm *mm, vaddr_t addr, bool huge)
{
	return (lab_leaf(mm, addr) & LEAF_BITS) == LEAF_BITS && lab_is_huge(mm, addr) == huge &&
	       lab_pfn(mm, addr) == (DEVICE_PA + (addr - LAB_AREA)) >> PAGE_SHIFT;
}

static bool two_leaves(struct mm *mm)
{
	return is_device(mm, LAB_AREA, true) && is_device(mm, LAB_AREA + HPAGE_PMD_SIZE, true);
}

/* Every cut inside a huge leaf is refused, and changes nothing. */
KTEST(device, is_never_cut_inside_a_leaf)
{
	struct mm *mm = lab_space();
	vaddr_t inside = LAB_AREA + 5 * PAGE_SIZE;
	u64 two = 2 * HPAGE_PMD_SIZE;

	KT_EXPECT(ctx, mmap_map_device(mm, LAB_AREA, two, DEVICE_PA) == 0);
	KT_EXPECT(ctx, mmap_map_device(mm, LAB_AREA, two, DEVICE_PA) == -EEXIST);
	KT_EXPECT(ctx, two_leaves(mm));
	KT_EXPECT(ctx, mmap_unmap(mm, inside, PAGE_SIZE) == -EINVAL);
	KT_EXPECT(ctx, mmap_unmap(mm, LAB_AREA, PAGE_SIZE) == -EINVAL);
	KT_EXPECT(ctx, mmap_unmap(mm, inside, two) == -EINVAL);
	KT_EXPECT(ctx, mmap_protect(mm, inside, PAGE_SIZE, PROT_READ) == -EINVAL);
	KT_EXPECT(ctx, mmap_map(mm, inside, PAGE_SIZE, PROT_READ,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED) == -EINVAL);
	KT_EXPECT(ctx, mmap_remap(mm, LAB_AREA, two, two, MREMAP_MAYMOVE | MREMAP_FIXED,
			       LAB_ELSEWHERE) == -EINVAL);
	KT_EXPECT(ctx, advise(mm, LAB_AREA, two, MADV_DONTNEED) == -EINVAL);
	KT_EXPECT(ctx, advise(mm, LAB_AREA, two, MADV_FREE) == -EINVAL);
	KT_EXPECT(ctx, advise(mm, LAB_AREA, two, MADV_COLLAPSE) == -EINVAL);
	KT_EXPECT(ctx, advise(mm, inside, PAGE_SIZE, MADV_NOHUGEPAGE) == -EINVAL);
	KT_EXPECT(ctx, two_leaves(mm));
	KT_EXPECT(ctx, lab_healthy());
	KT_EXPECT(ctx, mmap_unmap(mm, LAB_AREA, HPAGE_PMD_SIZE) == 0);
	KT_EXPECT(ctx, !lab_leaf(mm, LAB_AREA));
	KT_EXPECT(ctx, is_device(mm, LAB_AREA + HPAGE_PMD_SIZE, true));
	lab_space_end(mm);
	KT_EXPECT(ctx, lab_healthy());
}

KTEST(device, is_never_copied)
{
	struct mm *mm = lab_space(), *child;
	u64 copies = vmstat_read(VM_thp_wp_copy), splits = vmstat_read(VM_thp_split_pmd);

	KT_EXPECT(ctx, mmap_map_device(mm, LAB_AREA, 2 * HPAGE_PMD_SIZE, DEVICE_PA) == 0);
	child = fork_mm(mm);
	KT_REQUIRE(ctx, child);
	KT_EXPECT(ctx, two_leaves(mm) && two_leaves(child));
	KT_EXPECT(ctx, fault_at(mm, LAB_AREA, true) == FAULT_DONE);
	KT_EXPECT(ctx, fault_at(child, LAB_AREA, true) == FAULT_DONE);
	KT_EXPECT(ctx, two_leaves(mm) && two_leaves(child));
	KT_EXPECT(ctx, mm->nr_anon == 0 && child->nr_anon == 0);
	KT_EXPECT(ctx, lab_healthy());
	lab_space_end(mm);
	KT_EXPECT(ctx, two_leaves(child));
	lab_space_end(child);
	KT_EXPECT(ctx, vmstat_read(VM_thp_wp_copy) == copies);
	KT_EXPECT(ctx, vmstat_read(VM_thp_split_pmd) == splits);
}

/* Its write right goes and comes with mprotect: there is nobody to share it with. */
KTEST(device, rights)
{
	struct mm *mm = lab_space();
	u64 len = HPAGE_PMD_SIZE + 3 * PAGE_SIZE;
	vaddr_t small = LAB_AREA + HPAGE_PMD_SIZE;

	KT_EXPECT(ctx, mmap_map_device(mm, LAB_AREA, len, DEVICE_PA) == 0);
	KT_EXPECT(ctx, is_device(mm, LAB_AREA, true) && is_device(mm, small, false));
	KT_EXPECT(ctx, mmap_protect(mm, LAB_AREA, len, PROT_READ) == 0);
	KT_EXPECT(ctx, fault_at(mm, LAB_AREA, true) == FAULT_BAD_ACCESS);
	KT_EXPECT(ctx, !(lab_leaf(mm, LAB_AREA) & PTE_RW) && !(lab_leaf(mm, small) & PTE_RW));
	KT_EXPECT(ctx, lab_leaf(mm, LAB_AREA) & PTE_PCD);
	KT_EXPECT(ctx, mmap_protect(mm, LAB_AREA, len, PROT_NONE) == 0);
	KT_EXPECT(ctx, fault_at(mm, LAB_AREA, false) == FAULT_BAD_ACCESS);
	KT_EXPECT(ctx, mmap_protect(mm, LAB_AREA, len, PROT_READ | PROT_WRITE) == 0);
	KT_EXPECT(ctx, is_device(mm, LAB_AREA, true) && is_device(mm, small, false));
	KT_EXPECT(ctx,
		mmap_unmap(mm, small + PAGE_SIZE, PAGE_SIZE) == 0); /* 4 KiB leaves may be cut */
	KT_EXPECT(ctx, is_device(mm, small, false) && is_device(mm, small + 2 * PAGE_SIZE, false));
	KT_EXPECT(ctx, lab_healthy());
	lab_space_end(mm);
}

/* --- splitting a page that two spaces map ------------------------------------------------------------------ */

KTEST(split, shared_by_parent_and_child)
{
	struct thp_settings before = lab_begin();
	struct mm *mm = lab_space(), *child;
	u64 splits = vmstat_read(VM_thp_split_page), pmds = vmstat_read(VM_thp_split_pmd);
	struct page *head;

	KT_EXPECT(ctx, lab_area(mm, LAB_AREA, HPAGE_PMD_SIZE));
	KT_EXPECT(ctx, lab_fill(mm, LAB_AREA, HPAGE_PMD_SIZE) && lab_is_huge(mm, LAB_AREA));
	mark(mm, LAB_AREA, HPAGE_PMD_SIZE);
	child = fork_mm(mm);
	KT_REQUIRE(ctx, child);
	head = pfn_to_page(lab_pfn(mm, LAB_AREA));
	page_get(head);
	page_get(head); /* somebody else's: then it must not be split */
	KT_EXPECT(ctx, thp_split_page(head) == -EBUSY);
	KT_EXPECT(ctx, lab_is_huge(mm, LAB_AREA) && lab_is_huge(child, LAB_AREA));
	page_put(head);
	KT_EXPECT(ctx, thp_split_page(head) == 0);
	page_put(head);
	KT_EXPECT(ctx, !lab_is_huge(mm, LAB_AREA) && !lab_is_huge(child, LAB_AREA));
	KT_EXPECT(ctx, vmstat_read(VM_thp_split_page) == splits + 1);
	KT_EXPECT(ctx, vmstat_read(VM_thp_split_pmd) == pmds + 2);
	for (u64 i = 0; i < HPAGE_PMD_NR; i++) {
		vaddr_t a = LAB_AREA + i * PAGE_SIZE;

		KT_EXPECT(ctx, lab_pfn(mm, a) == lab_pfn(child, a) && type_at(mm, a) == PAGE_ANON);
		KT_EXPECT(ctx, pfn_to_page(lab_pfn(mm, a))->refcount == 2);
	}
	KT_EXPECT(ctx, is_marked(mm, LAB_AREA, HPAGE_PMD_SIZE));
	KT_EXPECT(ctx, lab_healthy());
	KT_EXPECT(ctx, lab_fill(child, LAB_AREA, PAGE_SIZE));
	*lab_word(child, LAB_AREA) = 1;
	KT_EXPECT(ctx, is_marked(mm, LAB_AREA, HPAGE_PMD_SIZE));
	lab_space_end(mm);
	KT_EXPECT(ctx, is_marked(child, LAB_AREA + PAGE_SIZE, HPAGE_PMD_SIZE - PAGE_SIZE));
	lab_space_end(child);
	lab_end(ctx, &before);
}

#define MANY 40

static u64 split_in(struct mm **spaces, u64 n)
{
	u64 good = 0;

	for (u64 i = 0; i < n; i++)
		good += spaces[i] && !lab_is_huge(spaces[i], LAB_AREA) &&
			is_marked(spaces[i], LAB_AREA, HPAGE_PMD_SIZE);
	return good;
}

/* Children and grandchildren: however many share it, it comes apart. */
KTEST(split, shared_by_forty)
{
	struct thp_settings before = lab_begin();
	struct mm *spaces[MANY + 1] = {NULL};
	u64 used = lab_frames_used();
	struct page *head;

	spaces[0] = lab_space();
	KT_REQUIRE(ctx, spaces[0] && lab_area(spaces[0], LAB_AREA, HPAGE_PMD_SIZE));
	KT_REQUIRE(ctx, lab_fill(spaces[0], LAB_AREA, HPAGE_PMD_SIZE));
	mark(spaces[0], LAB_AREA, HPAGE_PMD_SIZE);
	for (u32 i = 1; i <= MANY; i++) {
		spaces[i] = fork_mm(spaces[i / 2]);
		KT_REQUIRE(ctx, spaces[i]);
	}
	head = pfn_to_page(lab_pfn(spaces[0], LAB_AREA));
	KT_EXPECT(ctx, page_total_mapcount(head) == MANY + 1);
	page_get(head);
	KT_EXPECT(ctx, thp_split_page(head) == 0);
	page_put(head);
	KT_EXPECT(ctx, split_in(spaces, MANY + 1) == MANY + 1 && lab_healthy());
	KT_EXPECT(ctx, page_refcount(head) == MANY + 1);
	for (u32 i = MANY + 1; i-- > 0;)
		lab_space_end(spaces[i]);
	KT_EXPECT(ctx, lab_frames_back(used));
	lab_end(ctx, &before);
}

struct splitter {
	struct waitq gone;
	struct page *volatile head; /* with a reference for it; NULL: nothing to do */
	u32 done;
	bool stop, alive;
};

static void splitter_thread(void *arg)
{
	struct splitter *s = arg;

	while (!READ_ONCE(s->stop)) {
		if (s->head && page_is_huge(s->head) && thp_split_page(s->head) == 0) {
			page_put(s->head);
			s->head = NULL;
			s->done++;
		}
		preempt_point();
	}
	WRITE_ONCE(s->alive, false);
	waitq_wake_all(&s->gone);
}

/* Split from the page's side, without the lock of the space, while the space forks or moves it. */
static void split_while(struct splitter *s, struct ktest_ctx *ctx, u32 round)
{
	struct mm *mm = lab_space(), *child = NULL;
	vaddr_t at = LAB_AREA;

	KT_EXPECT(ctx, lab_area(mm, at, HPAGE_PMD_SIZE) && lab_fill(mm, at, HPAGE_PMD_SIZE));
	mark(mm, at, HPAGE_PMD_SIZE);
	page_get(pfn_to_page(lab_pfn(mm, at)));
	s->head = pfn_to_page(lab_pfn(mm, at));
	for (u64 until = time_ns() + round * 300; time_ns() < until;)
		cpu_relax();
	if (round % 2)
		child = fork_mm(mm);
	else
		KT_EXPECT(ctx, mmap_remap(mm, at, HPAGE_PMD_SIZE, HPAGE_PMD_SIZE,
				       MREMAP_MAYMOVE | MREMAP_FIXED, LAB_ELSEWHERE) > 0);
	for (u64 until = time_ns() + LAB_LIMIT_NS; s->head && time_ns() < until;)
		preempt_point();
	KT_EXPECT(ctx, !s->head);
	if (round % 2)
		KT_EXPECT(ctx, child && is_marked(mm, at, HPAGE_PMD_SIZE) &&
				       is_marked(child, at, HPAGE_PMD_SIZE));
	KT_EXPECT(ctx, mm->nr_anon == HPAGE_PMD_NR);
	lab_space_end(child);
	lab_space_end(mm);
}

KTEST(split, fork_and_mremap_meanwhile)
{
	static struct splitter s;
	struct thp_settings before;
	struct thread *t;

	if (nr_cpus < 2)
		KT_SKIP(ctx, "one CPU");
	before = lab_begin();
	s = (struct splitter){.alive = true};
	waitq_init(&s.gone, "ktest");
	t = thread_create("ktest splitter", splitter_thread, &s, NULL, NULL);
	KT_REQUIRE(ctx, t);
	sched_start(t);
	for (u32 i = 0; i < 100; i++)
		split_while(&s, ctx, i);
	WRITE_ONCE(s.stop, true);
	waitq_wait_until(&s.gone, !READ_ONCE(s.alive), time_ns() + LAB_LIMIT_NS, "ktest");
	KT_EXPECT(ctx, !s.alive && s.done == 100);
	lab_end(ctx, &before);
}

/* --- khugepaged ------------------------------------------------------------------------------------------------ */

#define RANGES      4
#define RANGE_BYTES (RANGES * HPAGE_PMD_SIZE)

/* A space full of small, marked pages that khugepaged should promote, and is on its list. */
static struct mm *promotable_space(void)
{
	struct mm *mm = lab_space();
	bool ok;

	if (!mm)
		return NULL;
	thp_settings.enabled = THP_NEVER;
	ok = lab_area(mm, LAB_AREA, RANGE_BYTES) && lab_fill(mm, LAB_AREA, RANGE_BYTES);
	thp_settings.enabled = THP_ALWAYS;
	if (ok)
		mark(mm, LAB_AREA, RANGE_BYTES);
	if (ok && advise(mm, LAB_AREA, RANGE_BYTES, MADV_HUGEPAGE) == 0)
		return mm;
	lab_space_end(mm);
	return NULL;
}

static u32 promoted_ranges(struct mm *mm)
{
	u32 n = 0;

	for (u32 i = 0; i < RANGES; i++)
		n += lab_is_huge(mm, LAB_AREA + i * HPAGE_PMD_SIZE);
	return n;
}

/* Wake it for one turn, and let it end. */
static void one_turn(void)
{
	u64 before = khugepaged_stats.nr_wakeups, deadline = time_ns() + LAB_LIMIT_NS;
	u64 scanned;

	khugepaged_wake();
	while (READ_ONCE(khugepaged_stats.nr_wakeups) == before && time_ns() < deadline)
		sched_sleep_until(time_ns() + NS_PER_MS);
	do {
		scanned = READ_ONCE(khugepaged_stats.nr_scanned_ptes);
		sched_sleep_until(time_ns() + 4 * NS_PER_MS);
	} while (READ_ONCE(khugepaged_stats.nr_scanned_ptes) != scanned);
}

/*
 * Two spaces and the thread itself, a range each turn: it goes on where it stopped, from space to space, and
 * starts over.
 */
KTEST(khugepaged, cursor_and_pages_to_scan)
{
	struct khugepaged_stats start;
	struct thp_settings before;
	struct mm *first, *second;
	u32 turns = 0;

	if (!lab_has_memory(4 * RANGE_BYTES))
		KT_SKIP(ctx, "too little memory");
	before = lab_begin();
	first = promotable_space();
	second = promotable_space();
	KT_REQUIRE(ctx, first && second);
	start = khugepaged_stats;
	thp_settings.pages_to_scan = HPAGE_PMD_NR;
	while (turns++ < 60 && (promoted_ranges(second) < RANGES ||
				       khugepaged_stats.full_scans == start.full_scans)) {
		struct khugepaged_stats s = khugepaged_stats;

		one_turn();
		KT_EXPECT(ctx, khugepaged_stats.nr_scanned_ptes - s.nr_scanned_ptes <=
				       HPAGE_PMD_NR * (khugepaged_stats.nr_wakeups - s.nr_wakeups));
		KT_EXPECT(ctx, !promoted_ranges(second) || promoted_ranges(first) == RANGES);
	}
	KT_EXPECT(ctx, promoted_ranges(first) == RANGES && promoted_ranges(second) == RANGES);
	KT_EXPECT(ctx, turns >= 2 * RANGES);
	KT_EXPECT(ctx, khugepaged_stats.pages_collapsed - start.pages_collapsed == 2 * RANGES);
	KT_EXPECT(ctx, khugepaged_stats.full_scans > start.full_scans);
	KT_EXPECT(ctx, is_marked(first, LAB_AREA, RANGE_BYTES));
	KT_EXPECT(ctx, is_marked(second, LAB_AREA, RANGE_BYTES));
	KT_EXPECT(ctx, lab_healthy());
	lab_space_end(first);
	lab_space_end(second);
	lab_end(ctx, &before);
}

/* --- in the middle of a collapse ----------------------------------------------------------------------------------- */

struct scanner {
	struct waitq gone;
	bool stop, alive;
};

static void scanner_thread(void *arg)
{
	struct scanner *s = arg;

	while (!READ_ONCE(s->stop))
		khugepaged_scan_now();
	WRITE_ONCE(s->alive, false);
	waitq_wake_all(&s->gone);
}

static bool end_by_munmap(struct mm *mm)
{
	bool ok = mmap_unmap(mm, LAB_AREA, RANGE_BYTES) == 0 && mm->nr_anon == 0;

	lab_space_end(mm);
	return ok;
}

static bool end_by_fork(struct mm *mm)
{
	struct mm *child = fork_mm(mm);
	bool ok = child && is_marked(mm, LAB_AREA, RANGE_BYTES) &&
		  is_marked(child, LAB_AREA, RANGE_BYTES);

	if (child && lab_fill(child, LAB_AREA, PAGE_SIZE)) {
		rwsem_read_lock(&child->lock);
		*lab_word(child, LAB_AREA) = 1;
		rwsem_read_unlock(&child->lock);
	}
	ok = ok && is_marked(mm, LAB_AREA, RANGE_BYTES);
	lab_space_end(child);
	lab_space_end(mm);
	return ok;
}

static bool end_by_discarding(struct mm *mm)
{
	bool ok = true;

	for (u32 i = 0; i < 16; i++)
		ok = ok && advise(mm, LAB_AREA + i * 64 * PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED) == 0;
	rwsem_read_lock(&mm->lock);
	for (u32 i = 0; i < 16; i++) {
		u64 *word = lab_word(mm, LAB_AREA + i * 64 * PAGE_SIZE);

		ok = ok && (!word || *word == 0);
	}
	rwsem_read_unlock(&mm->lock);
	lab_space_end(mm);
	return ok;
}

static void touch_a_little(void *arg)
{
	u64 word = 7;

	for (u32 i = 0; i < RANGES; i++)
		lab_look_here(LAB_WRITE, LAB_AREA + i * HPAGE_PMD_SIZE, &word);
}

/* The last task of the space ends: it empties it itself. */
static bool end_by_exit(struct mm *mm)
{
	struct lab_thread t;
	bool ok = lab_start(&t, mm, LAB_ANY_CPU, touch_a_little, NULL);

	lab_space_end(mm);
	return ok && lab_join(&t) == 0;
}

#define RACES 25

/* At least so many; and on with longer pauses, if the scanner's CPU was so busy that it never got to its end. */
static bool races_go_on(u32 done, u64 promoted, u64 deadline)
{
	bool met = nr_cpus == 1 || khugepaged_stats.pages_collapsed > promoted;

	return done < RACES || (!met && time_ns() < deadline);
}

/* While the thread looks at nothing else, at ever different moments of its work. */
static void race_with(struct ktest_ctx *ctx, bool (*end)(struct mm *mm))
{
	static struct scanner s;
	struct thp_settings before;
	struct thread *t;
	u64 promoted, deadline = time_ns() + LAB_LIMIT_NS;

	if (!lab_has_memory(4 * RANGE_BYTES))
		KT_SKIP(ctx, "too little memory");
	before = lab_begin();
	promoted = khugepaged_stats.pages_collapsed;
	s = (struct scanner){.alive = true};
	waitq_init(&s.gone, "ktest");
	t = thread_create("ktest scanner", scanner_thread, &s, NULL, NULL);
	KT_REQUIRE(ctx, t);
	sched_start(t);
	for (u32 i = 0; races_go_on(i, promoted, deadline); i++) {
		struct mm *mm = promotable_space();

		KT_EXPECT(ctx, mm);
		for (u64 until = time_ns() + i * 80 * NS_PER_US; time_ns() < until;)
			preempt_point();
		KT_EXPECT(ctx, mm && end(mm));
	}
	WRITE_ONCE(s.stop, true);
	waitq_wait_until(&s.gone, !READ_ONCE(s.alive), time_ns() + LAB_LIMIT_NS, "ktest");
	KT_EXPECT(ctx, !s.alive);
	KT_EXPECT(ctx, nr_cpus == 1 || khugepaged_stats.pages_collapsed > promoted);
	lab_end(ctx, &before);
}

KTEST(khugepaged, munmap_meanwhile)
{
	race_with(ctx, end_by_munmap);
}

KTEST(khugepaged, fork_meanwhile)
{
	race_with(ctx, end_by_fork);
}

KTEST(khugepaged, discarding_meanwhile)
{
	race_with(ctx, end_by_discarding);
}

KTEST(khugepaged, exit_meanwhile)
{
	race_with(ctx, end_by_exit);
}
