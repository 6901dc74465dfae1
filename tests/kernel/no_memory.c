/*
 * no_memory.c - every allocation fails once                                                 self-tests
 *
 * IDEA
 *   a dry run counts the allocations of an operation: n. Then for k = 1 .. n the same from the start, in a fresh
 *   space, and the k-th allocation finds nothing (debug builds: buddy_inject_fail). The operation must say so or
 *   do with less; what was there must hold what it held; and when the space is gone no frame is missing.
 *   Once more for blocks of order 9 alone.
 */
#include "lab.h"
#include "lib/string.h"
#include "mm/buddy.h"
#include "mm/fork.h"
#include "mm/compact.h"
#include "mm/huge_pud.h"
#include "mm/mbind.h"
#include "mm/memory.h"
#include "mm/migrate.h"
#include "mm/mmap.h"
#include "mm/numa.h"
#include "mm/run.h"
#include "mm/thp_split.h"
#include "mm/zero.h"
#include "object.h"
#include "printk.h"
#include "spawn.h"
#include "x86/timer.h"
#include <abi/errno.h>

#define ROUNDS 4
#define NEVER  (1ul << 40) /* an allocation that will not come: for the dry run */
#define BYTES  (2 * HPAGE_PMD_SIZE)
#define INSIDE (LAB_AREA + 17 * PAGE_SIZE)

struct attempt {
	struct mm *mm, *child;
	bool anywhere; /* what was marked may be at LAB_ELSEWHERE now */
	vaddr_t lost;  /* one page of it was given up on purpose; 0: none */
};

struct scenario {
	const char *name;
	bool (*prepare)(struct attempt *a);
	int (*act)(struct attempt *a); /* 0, or why not */
};

static int advise(struct attempt *a, vaddr_t addr, u64 len, int advice)
{
	u64 faults = 0;

	return mmap_advise(a->mm, addr, len, advice, &faults);
}

/* --- prepare ------------------------------------------------------------------------------------------- */

static bool nothing(struct attempt *a)
{
	(void)a;
	return true;
}

static bool an_area(struct attempt *a)
{
	zero_huge_shrink(); /* so that the huge zero page must be allocated as well */
	return lab_area(a->mm, LAB_AREA, BYTES);
}

static bool a_gigabyte(struct attempt *a)
{
	return lab_area(a->mm, LAB_AREA, HPAGE_PUD_SIZE);
}

static bool marked(struct attempt *a, enum thp_enabled enabled)
{
	bool ok;

	thp_settings.enabled = enabled;
	ok = lab_area(a->mm, LAB_AREA, BYTES) && lab_fill(a->mm, LAB_AREA, BYTES);
	thp_settings.enabled = THP_ALWAYS;
	for (vaddr_t at = LAB_AREA; ok && at < LAB_AREA + BYTES; at += PAGE_SIZE)
		*lab_word(a->mm, at) = at;
	return ok;
}

static bool huge_pages(struct attempt *a)
{
	return marked(a, THP_ALWAYS);
}

static bool small_pages(struct attempt *a)
{
	return marked(a, THP_NEVER);
}

static bool huge_zero_page(struct attempt *a)
{
	return lab_area(a->mm, LAB_AREA, BYTES) && lab_read(a->mm, LAB_AREA, BYTES);
}

static bool shared(struct attempt *a)
{
	a->child = fork_mm(a->mm);
	return a->child;
}

static bool shared_huge_pages(struct attempt *a)
{
	return huge_pages(a) && shared(a);
}

static bool shared_huge_pages_split(struct attempt *a)
{
	thp_settings.cow = COW_SPLIT;
	return shared_huge_pages(a);
}

static bool shared_small_pages(struct attempt *a)
{
	return small_pages(a) && shared(a);
}

/* In each range one page is the space's own, or there would be nothing to collapse. */
static bool nearly_shared_pages(struct attempt *a)
{
	return shared_small_pages(a) && lab_fill(a->mm, INSIDE, PAGE_SIZE) &&
	       lab_fill(a->mm, INSIDE + HPAGE_PMD_SIZE, PAGE_SIZE);
}

/* Of everything a little: what fork must copy. */
static bool a_mixture(struct attempt *a)
{
	return huge_pages(a) && advise(a, INSIDE, PAGE_SIZE, MADV_DONTFORK) == 0 &&
	       advise(a, INSIDE, PAGE_SIZE, MADV_DOFORK) == 0 &&
	       lab_area(a->mm, LAB_AREA + (1ul << 40), BYTES) &&
	       lab_read(a->mm, LAB_AREA + (1ul << 40), BYTES);
}

/* --- act ----------------------------------------------------------------------------------------------- */

static int write_everywhere(struct attempt *a)
{
	return lab_fill(a->mm, LAB_AREA, BYTES) ? 0 : -ENOMEM;
}

static int write_once(struct attempt *a)
{
	return lab_fill(a->mm, INSIDE, PAGE_SIZE) ? 0 : -ENOMEM;
}

static int read_once(struct attempt *a)
{
	return lab_read(a->mm, INSIDE, PAGE_SIZE) ? 0 : -ENOMEM;
}

static int write_small(struct attempt *a)
{
	int err;

	thp_settings.enabled = THP_NEVER;
	err = write_everywhere(a);
	thp_settings.enabled = THP_ALWAYS;
	return err;
}

/* With 64 KiB at a time, where they are to be had. */
static int write_runs(struct attempt *a)
{
	int err;

	run_set_size(4, SIZE_ALWAYS);
	err = write_small(a);
	run_set_size(4, SIZE_NEVER);
	return err;
}

static int write_a_gigabyte(struct attempt *a)
{
	int err;

	thp_settings.enabled_1g = THP_ALWAYS;
	err = write_once(a);
	thp_settings.enabled_1g = THP_NEVER;
	return err;
}

static int fork_it(struct attempt *a)
{
	a->child = fork_mm(a->mm);
	return a->child ? 0 : -ENOMEM;
}

static int collapse_it(struct attempt *a)
{
	return advise(a, LAB_AREA, BYTES, MADV_COLLAPSE);
}

static int move_to(struct attempt *a, vaddr_t to)
{
	s64 r = mmap_remap(a->mm, LAB_AREA, BYTES, BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, to);

	a->anywhere = true;
	return r < 0 ? (int)r : 0;
}

static int move_it(struct attempt *a)
{
	return move_to(a, LAB_ELSEWHERE);
}

static int move_it_askew(struct attempt *a)
{
	return move_to(a, LAB_ELSEWHERE + PAGE_SIZE);
}

static int protect_a_part(struct attempt *a)
{
	return mmap_protect(a->mm, INSIDE, 3 * PAGE_SIZE, PROT_READ);
}

static int advise_a_part(struct attempt *a)
{
	return advise(a, INSIDE, 3 * PAGE_SIZE, MADV_NOHUGEPAGE);
}

/* Each second page: as many areas, and tables instead of huge leaves. */
static int protect_every_second(struct attempt *a)
{
	int err = 0;

	for (u64 i = 0; i < 16 && !err; i++)
		err = mmap_protect(a->mm, INSIDE + 2 * i * PAGE_SIZE, PAGE_SIZE, PROT_READ);
	return err;
}

static int lock_a_part(struct attempt *a)
{
	u64 faults = 0;

	return mmap_lock(a->mm, INSIDE, 3 * PAGE_SIZE, 0, &faults);
}

static int lock_and_unlock(struct attempt *a)
{
	u64 faults = 0;
	int err = mmap_lock(a->mm, LAB_AREA, BYTES, 0, &faults);

	return err ? err : mmap_unlock(a->mm, INSIDE, 3 * PAGE_SIZE);
}

static int grow_it(struct attempt *a)
{
	s64 r = mmap_remap(a->mm, LAB_AREA, BYTES, 2 * BYTES, MREMAP_MAYMOVE, 0);

	return r < 0 ? (int)r : 0;
}

static int fork_and_discard(struct attempt *a)
{
	int err = fork_it(a);

	if (err)
		return err;
	a->lost = INSIDE;
	return advise(a, INSIDE, PAGE_SIZE, MADV_DONTNEED);
}

static int migrate_it(struct attempt *a)
{
	struct page *head = pfn_head(lab_pfn(a->mm, INSIDE));

	return migrate_page_alone(head, 0, false) == MIGRATED_NO_MEMORY ? -ENOMEM : 0;
}

static int compact_it(struct attempt *a)
{
	(void)a;
	compact_memory();
	return 0;
}

static int split_the_page(struct attempt *a)
{
	struct page *head = pfn_head(lab_pfn(a->mm, INSIDE));
	int err;

	page_get(head);
	err = thp_split_page(head);
	page_put(head);
	return err;
}

/* An object, private memory of it, and what is copied then. */
static int use_an_object(struct attempt *a)
{
	u64 word = 7, faults = 0;
	struct memory *m = memory_create(BYTES);
	s64 r;
	int err;

	if (!m)
		return -ENOMEM;
	err = memory_write(m, PAGE_SIZE, &word, sizeof(word));
	r = err ? err
		: mmap_map_object(a->mm, m, 0, LAB_AREA, BYTES, PROT_READ | PROT_WRITE,
			  MAP_FIXED | MAP_PRIVATE, true, "object");
	if (r > 0)
		err = mmap_advise(a->mm, LAB_AREA, 64 * PAGE_SIZE, MADV_POPULATE_READ, &faults);
	if (r > 0 && !err)
		err = mmap_advise(a->mm, LAB_AREA, 64 * PAGE_SIZE, MADV_POPULATE_WRITE, &faults);
	if (!err)
		err = memory_withdraw(m, 0, BYTES);
	object_put(&m->object);
	return r < 0 ? (int)r : err;
}

/* Pages of a space become an object's, a huge one in parts. */
static int give_to_an_object(struct attempt *a)
{
	struct memory *m = memory_create(BYTES);
	int err;

	if (!m)
		return -ENOMEM;
	a->lost = INSIDE;
	err = memory_supply(m, 0, PAGE_SIZE, a->mm, INSIDE);
	object_put(&m->object);
	return err;
}

static int unmap_a_part(struct attempt *a)
{
	a->lost = INSIDE;
	return mmap_unmap(a->mm, INSIDE, PAGE_SIZE);
}

static int discard_a_part(struct attempt *a)
{
	a->lost = INSIDE;
	return advise(a, INSIDE, PAGE_SIZE, MADV_DONTNEED);
}

static int free_a_part(struct attempt *a)
{
	return advise(a, INSIDE, PAGE_SIZE, MADV_FREE);
}

static int replace_a_part(struct attempt *a)
{
	s64 r = mmap_map(
		a->mm, INSIDE, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED);

	a->lost = INSIDE;
	return r < 0 ? (int)r : 0;
}

static int use_the_heap(struct attempt *a)
{
	vaddr_t start = a->mm->brk_start;

	if (mmap_brk(a->mm, start + BYTES + 5) != start + BYTES + 5)
		return -ENOMEM;
	if (!lab_fill(a->mm, start, BYTES))
		return -ENOMEM;
	mmap_brk(a->mm, start + PAGE_SIZE);
	return 0;
}

static int map_a_device(struct attempt *a)
{
	return mmap_map_device(a->mm, LAB_AREA, HPAGE_PMD_SIZE + PAGE_SIZE, 0xe0000000);
}

/* By a thread in the space: its door tries again, so that one failure is never its end. */
static void touch(void *arg)
{
	u64 word = 1;

	*(bool *)arg = lab_look_here(LAB_WRITE, LAB_AREA, &word) &&
		       lab_look_here(LAB_READ, LAB_AREA + HPAGE_PMD_SIZE, &word) &&
		       lab_look_here(LAB_WRITE, LAB_AREA + HPAGE_PMD_SIZE, &word);
}

static int touch_inside(struct attempt *a)
{
	struct lab_thread t;
	bool ok = false;

	if (!lab_start(&t, a->mm, LAB_ANY_CPU, touch, &ok))
		return -ENOMEM;
	if (lab_join(&t) == 0 && ok)
		return 0;
	return -EFAULT;
}

static const struct scenario scenarios[] = {
	{"first write, huge", an_area, write_everywhere},
	{"first read, huge", an_area, read_once},
	{"first write, small", an_area, write_small},
	{"write to the huge zero page", huge_zero_page, write_once},
	{"write to a shared huge page", shared_huge_pages, write_once},
	{"write to a shared huge page, cow=split", shared_huge_pages_split, write_once},
	{"write to shared small pages", shared_small_pages, write_once},
	{"fork", a_mixture, fork_it},
	{"fork, small pages", small_pages, fork_it},
	{"collapse", small_pages, collapse_it},
	{"collapse of shared pages", nearly_shared_pages, collapse_it},
	{"mremap", huge_pages, move_it},
	{"mremap, not aligned", huge_pages, move_it_askew},
	{"mremap, small pages", small_pages, move_it},
	{"mprotect of a part", huge_pages, protect_a_part},
	{"advice for a part", huge_pages, advise_a_part},
	{"munmap of a part", huge_pages, unmap_a_part},
	{"MADV_DONTNEED of a part", huge_pages, discard_a_part},
	{"MADV_FREE of a part", huge_pages, free_a_part},
	{"mmap over a part", huge_pages, replace_a_part},
	{"first write, 64 KiB", an_area, write_runs},
	{"first write, 1 GiB allowed", a_gigabyte, write_a_gigabyte},
	{"fork and MADV_DONTNEED", huge_pages, fork_and_discard},
	{"mremap to twice the size", huge_pages, grow_it},
	{"mprotect of each second page", huge_pages, protect_every_second},
	{"mlock of a part", huge_pages, lock_a_part},
	{"mlock, munlock of a part", small_pages, lock_and_unlock},
	{"migration", small_pages, migrate_it},
	{"migration of a huge page", huge_pages, migrate_it},
	{"migration of a shared huge page", shared_huge_pages, migrate_it},
	{"compaction", small_pages, compact_it},
	{"split of a page", shared_huge_pages, split_the_page},
	{"an object's pages", nothing, use_an_object},
	{"a page given to an object", huge_pages, give_to_an_object},
	{"brk", nothing, use_the_heap},
	{"device", nothing, map_a_device},
	{"faults of a thread", an_area, touch_inside},
};

/* --- one attempt ------------------------------------------------------------------------------------------ */

/* The word at `at`, if the marked area lies `shift` behind where it was. */
static bool holds(struct mm *mm, vaddr_t at, u64 shift)
{
	u64 *word = lab_word(mm, at + shift);

	return word && *word == at;
}

static bool was_marked(const struct scenario *s)
{
	return s->prepare != nothing && s->prepare != an_area && s->prepare != huge_zero_page &&
	       s->prepare != a_gigabyte;
}

/* Every page holds what it held, wherever it is now; and so in the child. */
static bool is_intact(const struct attempt *a)
{
	for (vaddr_t at = LAB_AREA; at < LAB_AREA + BYTES; at += PAGE_SIZE) {
		u64 shift = LAB_ELSEWHERE - LAB_AREA;

		if (a->child && !holds(a->child, at, 0))
			return false;
		if (at == a->lost || holds(a->mm, at, 0))
			continue;
		if (!a->anywhere ||
			(!holds(a->mm, at, shift) && !holds(a->mm, at, shift + PAGE_SIZE)))
			return false;
	}
	return true;
}

/* What a run leaves in the machine when it is over. */
struct outcome {
	u64 seen, fired;
	int err;
	bool sound;
};

static struct outcome run(const struct scenario *s, u64 k, int order)
{
	struct attempt a = {.mm = lab_space()};
	struct outcome o = {.sound = false};

	thp_settings.cow = COW_COPY;
	huge_pud_forget_failures(); /* a try that was put off would allocate less than the dry run */
	if (a.mm && s->prepare(&a)) {
		buddy_inject_fail(k, order);
		o.err = s->act(&a);
		buddy_inject_fail(0, -1);
		o.seen = buddy_inject_seen;
		o.fired = buddy_inject_fired;
		o.sound = !was_marked(s) || is_intact(&a);
	}
	lab_space_end(a.child);
	lab_space_end(a.mm);
	return o;
}

static bool is_clean(const struct outcome *o)
{
	return o->sound && o->fired == 1 &&
	       (o->err == 0 || o->err == -ENOMEM || o->err == -EAGAIN || o->err == -EINVAL);
}

/* Every k once; *all grows by the failures. False: something was wrong, and it has been said. */
static bool fail_each(const struct scenario *s, int order, u64 *all)
{
	struct outcome dry = run(s, NEVER, order);
	u64 frames;

	if (dry.err || !dry.sound) {
		printk("ktest: no memory: %s: does not work at all (%d)", s->name, dry.err);
		return false;
	}
	frames = lab_frames_used();
	for (u64 k = 1; k <= dry.seen; k++) {
		struct outcome o = run(s, k, order);

		if (is_clean(&o) && lab_frames_back(frames))
			continue;
		printk("ktest: no memory: %s, allocation %lu of %lu: fired %lu, result %d, %s, %ld "
		       "frames lost",
			s->name, k, dry.seen, o.fired, o.err, o.sound ? "sound" : "NOT SOUND",
			lab_frames_used() - frames);
		return false;
	}
	*all += dry.seen;
	return true;
}

static void fail_all(struct ktest_ctx *ctx, const struct scenario *list, usize nr, int order)
{
	struct thp_settings before;
	u64 all = 0;

	if (!CONFIG_INJECT)
		KT_SKIP(ctx, "no injection in this build");
	if (!lab_has_memory(16 * HPAGE_PMD_SIZE))
		KT_SKIP(ctx, "too little memory");
	before = lab_begin();
	for (usize i = 0; i < nr; i++) {
		KT_EXPECT(ctx, fail_each(&list[i], order, &all));
		KT_EXPECT(ctx, lab_healthy());
	}
	printk("ktest: no memory: %lu failures injected, %lu scenarios", all, nr);
	lab_end(ctx, &before);
}

KTEST(no_memory, each_allocation)
{
	fail_all(ctx, scenarios, ARRAY_SIZE(scenarios), -1);
}

KTEST(no_memory, each_block)
{
	fail_all(ctx, scenarios, ARRAY_SIZE(scenarios), HPAGE_PMD_ORDER);
}

/* --- between nodes ------------------------------------------------------------------------------------------- */

#define BOUND_BYTES (32 * PAGE_SIZE)

/* Two CPUs of different nodes with memory: the pages are at the one's, and wanted at the other's. */
static u32 home, away;

static bool find_nodes(void)
{
	for (home = 0; home < nr_cpus; home++)
		if (cpus[home]->zone->node == cpus[home]->node)
			break;
	for (away = home + 1; away < nr_cpus; away++)
		if (cpus[away]->zone->node == cpus[away]->node &&
			cpus[away]->node != cpus[home]->node)
			return true;
	return false;
}

/* -ENOMEM: a page of it stayed where it was. */
static int bind(struct attempt *a, vaddr_t addr, u64 len, u32 cpu)
{
	u32 policy = policy_make(MPOL_BIND, 1u << cpus[cpu]->node);
	int err = mbind_range(a->mm, addr, len, policy, MPOL_MF_MOVE | MPOL_MF_STRICT);

	return err == -EIO ? -ENOMEM : err;
}

/* What mbind moved is there, and what balancing would do with it nobody has said: the policy goes again. */
static bool at_home(struct attempt *a)
{
	return bind(a, LAB_AREA, BYTES, home) == 0 &&
	       mbind_range(a->mm, LAB_AREA, BYTES, MPOL_DEFAULT, 0) == 0;
}

static bool small_pages_at_home(struct attempt *a)
{
	return small_pages(a) && at_home(a);
}

static bool huge_pages_at_home(struct attempt *a)
{
	return huge_pages(a) && at_home(a);
}

static int bind_a_part(struct attempt *a)
{
	return bind(a, INSIDE, BOUND_BYTES, away);
}

static int bind_all(struct attempt *a)
{
	return bind(a, LAB_AREA, BYTES, away);
}

/* What is bound away comes from there, or not at all. */
static int bind_and_write(struct attempt *a)
{
	u32 policy = policy_make(MPOL_BIND, 1u << cpus[away]->node);
	int err = mbind_range(a->mm, LAB_AREA, BYTES, policy, 0);

	if (err)
		return err;
	return write_once(a) || page_node_at(a->mm, INSIDE, false) != (int)cpus[away]->node
		       ? -ENOMEM
		       : 0;
}

static int move_a_page(struct attempt *a)
{
	int node = page_move_to(a->mm, INSIDE, cpus[away]->node, false);

	if (node < 0)
		return node == -EBUSY ? -ENOMEM : node;
	return node == (int)cpus[away]->node ? 0 : -EFAULT;
}

static void look_inside(void *arg)
{
	u64 word = 0;

	*(bool *)arg = lab_look_here(LAB_READ, INSIDE, &word) && word == INSIDE;
}

/* A hint, answered on a CPU of the other node: the page follows, or stays and can be read all the same. */
static int follow(struct attempt *a)
{
	struct lab_thread t;
	bool ok = false;

	numa_settings.balancing = true;
	numa_scan(a->mm, BYTES / PAGE_SIZE);
	if (!lab_start(&t, a->mm, away, look_inside, &ok))
		return -ENOMEM;
	if (lab_join(&t) || !ok)
		return -EFAULT;
	return page_node_at(a->mm, INSIDE, false) == (int)cpus[away]->node ? 0 : -ENOMEM;
}

static const struct scenario between_nodes[] = {
	{"mbind of small pages", small_pages_at_home, bind_a_part},
	{"mbind of huge pages", huge_pages_at_home, bind_all},
	{"mbind of a part of a huge page", huge_pages_at_home, bind_a_part},
	{"first write, bound", an_area, bind_and_write},
	{"move_pages", small_pages_at_home, move_a_page},
	{"move_pages, a huge page", huge_pages_at_home, move_a_page},
	{"a page follows its user", small_pages_at_home, follow},
	{"a huge page follows its user", huge_pages_at_home, follow},
};

static void fail_between_nodes(struct ktest_ctx *ctx, int order)
{
	if (!find_nodes())
		KT_SKIP(ctx, "one node: run with NUMA=2");
	fail_all(ctx, between_nodes, ARRAY_SIZE(between_nodes), order);
}

KTEST(no_memory, between_nodes)
{
	fail_between_nodes(ctx, -1);
}

KTEST(no_memory, between_nodes_each_block)
{
	fail_between_nodes(ctx, HPAGE_PMD_ORDER);
}

/* --- a move, while another splits what moves ----------------------------------------------------------------- */

#define MIXED_RANGES 6
#define MIXED_BYTES  (MIXED_RANGES * HPAGE_PMD_SIZE)
#define MIXED_MOST   100 /* allocations of one move: far more than there are */

/* Two threads in one round: one moves the area, the other splits its huge pages. */
struct mixed {
	struct mm *mm;
	struct page *heads[MIXED_RANGES];
	u32 turn, done;
	u64 splits;
	bool again; /* the allocation after a split fails as well */
};

/* Huge, small, huge with one page unmapped, and so on; what is there holds its own address. */
static bool mixed_prepare(struct mixed *m)
{
	m->mm = lab_space();
	if (!m->mm || !lab_area(m->mm, LAB_AREA, MIXED_BYTES))
		return false;
	for (u64 i = 0; i < MIXED_RANGES; i++) {
		vaddr_t at = LAB_AREA + i * HPAGE_PMD_SIZE;

		thp_settings.enabled = i % 3 == 1 ? THP_NEVER : THP_ALWAYS;
		if (!lab_fill(m->mm, at, HPAGE_PMD_SIZE))
			return false;
		for (vaddr_t a = at; a < at + HPAGE_PMD_SIZE; a += PAGE_SIZE)
			*lab_word(m->mm, a) = a;
		m->heads[i] = pfn_head(lab_pfn(m->mm, at));
	}
	thp_settings.enabled = THP_ALWAYS;
	return true;
}

/* Comes from the pages: it holds no lock of the space. */
static void mixed_split(void *arg)
{
	struct mixed *m = arg;

	if (__atomic_load_n(&m->turn, __ATOMIC_ACQUIRE) == m->done)
		return;
	for (u32 i = 0; i < MIXED_RANGES; i++) {
		struct page *head = m->heads[i];

		if (!page_try_get(head))
			continue;
		if (page_is_huge(head) && thp_split_page(head) == 0) {
			m->splits++;
			if (m->again)
				buddy_inject_fail(1, -1);
		}
		page_put(head);
	}
	__atomic_add_fetch(&m->done, 1, __ATOMIC_RELEASE);
}

/* All of it at `at`, and nothing at the other place. */
static bool mixed_is_at(struct mixed *m, vaddr_t at, vaddr_t not_at)
{
	bool ok = true;

	for (u64 o = 0; o < MIXED_BYTES && ok; o += PAGE_SIZE) {
		u64 *word = lab_word(m->mm, at + o);

		ok = word && *word == LAB_AREA + o && !lab_leaf(m->mm, not_at + o);
	}
	return ok;
}

/* One move with the k-th allocation failing, begun `delay` after the splits. False: something is not where it belongs. */
static bool mixed_round(struct mixed *m, vaddr_t to, u64 k, u64 delay, bool *fired)
{
	u64 deadline = time_ns() + LAB_LIMIT_NS;
	bool ok;
	s64 r;

	if (!mixed_prepare(m))
		return false;
	m->again = k & 1;
	buddy_inject_fail(k, -1);
	__atomic_add_fetch(&m->turn, 1, __ATOMIC_RELEASE);
	timer_delay(delay);
	r = mmap_remap(
		m->mm, LAB_AREA, MIXED_BYTES, MIXED_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	*fired = buddy_inject_fired;
	while (__atomic_load_n(&m->done, __ATOMIC_ACQUIRE) != m->turn && time_ns() < deadline)
		preempt_point();
	buddy_inject_fail(0, -1);
	ok = r == (s64)to ? mixed_is_at(m, to, LAB_AREA)
			  : r == -ENOMEM && mixed_is_at(m, LAB_AREA, to);
	lab_space_end(m->mm);
	return ok && m->done == m->turn;
}

/*
 * Nothing is lost, whichever allocation of a move fails, and whatever huge page becomes a table in the middle of it: all of it
 * is at the new place, or all of it at the old one.
 */
KTEST(no_memory, mremap_among_splits)
{
	static const u64 shifts[] = {0, PAGE_SIZE, HPAGE_PMD_SIZE - 3 * PAGE_SIZE};
	static struct mixed m;
	struct lab_rival rival;
	struct thp_settings before;
	struct mm *other;
	u64 used, failures = 0;

	if (!CONFIG_INJECT || nr_cpus < 2)
		KT_SKIP(ctx, "needs injection, and 2 CPUs");
	if (!lab_has_memory(4 * MIXED_BYTES))
		KT_SKIP(ctx, "too little memory");
	before = lab_begin();
	used = lab_frames_used();
	m = (struct mixed){0};
	other = lab_space();
	KT_REQUIRE(ctx, other && lab_rival_go(&rival, other, cpu_id() ? 0 : 1, mixed_split, &m));
	for (u32 i = 0; i < ARRAY_SIZE(shifts); i++) {
		bool fired = true, ok = true;

		for (u64 k = 1; ok && fired && k < MIXED_MOST; k++, failures += fired) {
			for (u64 delay = 0; ok && delay < 4; delay++)
				ok = mixed_round(&m, LAB_ELSEWHERE + shifts[i], k,
					delay * 10 * NS_PER_US, &fired);
			if (!ok)
				printk("ktest: no memory: shift %#lx, allocation %lu: pages are "
				       "lost",
					shifts[i], k);
		}
		KT_EXPECT(ctx, ok && !fired);
	}
	lab_rival_end(&rival);
	printk("ktest: no memory: %lu allocations failed, %lu splits", failures, m.splits);
	KT_EXPECT(ctx, m.splits > 0);
	lab_space_end(other);
	KT_EXPECT(ctx, lab_frames_back(used) && lab_healthy());
	lab_end(ctx, &before);
}

/* --- a program, from its file to its end -------------------------------------------------------------------- */

/* -ENOMEM, or its status. */
static int run_program(char *word)
{
	char *argv[] = {"abi", word, "0"};
	struct task *t;
	int err = spawn_program(3, argv, true, &t);

	return err ? err : task_wait(t);
}

/*
 * Its threads run elsewhere, and the servers it needs, so the k-th allocation is not always the same one. It ends well,
 * is not started, or is told so by a call; the kernel stays as it is. Returns how many failed.
 */
static u64 fail_round(struct ktest_ctx *ctx, char *word, bool calls)
{
	u64 fired = 0, missed = 0;

	for (u64 k = 1; missed < 3 && k < 2000; k++) {
		int status;

		buddy_inject_fail(k, -1);
		status = run_program(word);
		buddy_inject_fail(0, -1);
		fired += buddy_inject_fired;
		missed += !buddy_inject_fired;
		if (!KT_EXPECT(ctx, status == 0 || status == -ENOMEM || calls))
			printk("ktest: no memory: abi %s, allocation %lu: %d", word, k, status);
	}
	KT_EXPECT(ctx, missed == 3);
	return fired;
}

/* What a failure loses, it loses in every round; what servers come to keep, they keep once. */
static u64 fail_program(struct ktest_ctx *ctx, char *word, bool calls)
{
	bool back = false;
	u64 fired = 0;

	KT_EXPECT(ctx, run_program(word) == 0);
	for (u32 round = 0; round < ROUNDS && !back; round++) {
		u64 frames;

		/* children that outlive their parent are gone */
		sched_sleep_until(time_ns() + NS_PER_SEC / 4);
		frames = lab_frames_used();
		fired += fail_round(ctx, word, calls);
		back = lab_frames_back(frames);
		if (!back)
			printk("ktest: no memory: abi %s: %ld frames more", word,
				lab_frames_used() - frames);
	}
	KT_EXPECT(ctx, back);
	return fired;
}

KTEST(no_memory, programs)
{
	struct thp_settings before;
	u64 all;

	if (!CONFIG_INJECT)
		KT_SKIP(ctx, "no injection in this build");
	before = lab_begin();
	printk_quiet(true);
	all = fail_program(ctx, "exit", false);
	all += fail_program(ctx, "fork", true);
	printk_quiet(false);
	printk("ktest: no memory: %lu failures injected into programs", all);
	KT_EXPECT(ctx, all > 50);
	lab_end(ctx, &before);
}
