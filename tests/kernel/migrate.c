/*
 * migrate.c - pages that move while programs use them, fork, unmap and protect them; compaction          self-tests
 */
#include "kcompactd.h"
#include "lab.h"
#include "mm/buddy.h"
#include "mm/compact.h"
#include "mm/fork.h"
#include "mm/migrate.h"
#include "mm/mmap.h"
#include "mm/pgtable.h"
#include "mutex.h"
#include "printk.h"
#include "seeded.h"
#include "vmstat.h"
#include "x86/timer.h"
#include <abi/errno.h>

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

	for (vaddr_t a = addr; a < addr + len && marked; a += PAGE_SIZE)
		marked = lab_word(mm, a) && *lab_word(mm, a) == a;
	return marked;
}

/* Small or huge pages at LAB_AREA, marked. NULL: no memory. */
static struct mm *space_of(u64 len, bool huge)
{
	struct mm *mm = lab_space();

	thp_settings.enabled = huge ? THP_ALWAYS : THP_NEVER;
	if (mm && lab_area(mm, LAB_AREA, len) && lab_fill(mm, LAB_AREA, len)) {
		mark(mm, LAB_AREA, len);
		return mm;
	}
	lab_space_end(mm);
	return NULL;
}

static enum migrate_result move(struct mm *mm, vaddr_t addr)
{
	pfn_t pfn;

	rwsem_read_lock(&mm->lock);
	pfn = lab_pfn(mm, addr);
	rwsem_read_unlock(&mm->lock);
	return pfn ? migrate_page_alone(pfn_head(pfn), 0, false) : MIGRATED_GONE;
}

/* --- one page, nobody else at work --- */

static void move_shared(struct ktest_ctx *ctx, bool huge)
{
	struct thp_settings before = lab_begin();
	struct mm *mm = space_of(HPAGE_PMD_SIZE, huge), *child;
	u64 anon = vmstat_read(VM_nr_anon_pages);
	pfn_t pfn;

	KT_REQUIRE(ctx, mm);
	child = fork_mm(mm);
	KT_REQUIRE(ctx, child);
	pfn = lab_pfn(mm, LAB_AREA);
	KT_EXPECT(ctx, move(mm, LAB_AREA) == MIGRATED_DONE);
	KT_EXPECT(ctx, lab_pfn(mm, LAB_AREA) != pfn);
	KT_EXPECT(ctx, lab_pfn(child, LAB_AREA) == lab_pfn(mm, LAB_AREA));
	KT_EXPECT(ctx, lab_is_huge(mm, LAB_AREA) == huge && lab_is_huge(child, LAB_AREA) == huge);
	KT_EXPECT(ctx, is_marked(mm, LAB_AREA, HPAGE_PMD_SIZE));
	KT_EXPECT(ctx, is_marked(child, LAB_AREA, HPAGE_PMD_SIZE));
	KT_EXPECT(ctx, !(lab_leaf(mm, LAB_AREA) & PTE_RW)); /* shared before, shared now */
	KT_EXPECT(ctx, vmstat_read(VM_nr_anon_pages) == anon);
	KT_EXPECT(ctx, lab_healthy());
	lab_space_end(child);
	KT_EXPECT(ctx, lab_fill(mm, LAB_AREA, PAGE_SIZE)); /* alone again: written in place */
	KT_EXPECT(ctx, mm->nr_anon == HPAGE_PMD_NR);
	lab_space_end(mm);
	lab_end(ctx, &before);
}

KTEST(migrate, a_page_that_two_map)
{
	move_shared(ctx, false);
}

KTEST(migrate, a_huge_page_that_two_map)
{
	u64 moved = vmstat_read(VM_thp_migration_success);

	move_shared(ctx, true);
	KT_EXPECT(ctx, vmstat_read(VM_thp_migration_success) == moved + 1);
}

/* What a leaf says stays: no access, no write, dirty or clean. */
KTEST(migrate, keeps_rights)
{
	struct thp_settings before = lab_begin();
	struct mm *mm = space_of(4 * PAGE_SIZE, false);

	KT_REQUIRE(ctx, mm);
	KT_EXPECT(ctx, mmap_protect(mm, LAB_AREA, PAGE_SIZE, PROT_NONE) == 0);
	KT_EXPECT(ctx, mmap_protect(mm, LAB_AREA + PAGE_SIZE, PAGE_SIZE, PROT_READ) == 0);
	for (u32 i = 0; i < 3; i++) {
		u64 leaf = lab_leaf(mm, LAB_AREA + i * PAGE_SIZE);

		KT_EXPECT(ctx, move(mm, LAB_AREA + i * PAGE_SIZE) == MIGRATED_DONE);
		KT_EXPECT(ctx, !((leaf ^ lab_leaf(mm, LAB_AREA + i * PAGE_SIZE)) & ~PTE_ADDR));
	}
	KT_EXPECT(ctx, is_marked(mm, LAB_AREA, 4 * PAGE_SIZE));
	lab_space_end(mm);
	lab_end(ctx, &before);
}

KTEST(migrate, refuses_by_name)
{
	struct thp_settings before = lab_begin();
	struct mm *small = space_of(4 * PAGE_SIZE, false), *huge = space_of(HPAGE_PMD_SIZE, true);
	struct page *page, *to;
	u64 faults = 0;

	KT_REQUIRE(ctx, small && huge);
	page = pfn_to_page(lab_pfn(small, LAB_AREA));
	page_get(page);
	KT_EXPECT(ctx, migrate_page_alone(page, 0, false) == MIGRATED_COUNT);
	page_put(page);
	KT_EXPECT(ctx, migrate_page_alone(virt_to_page(small->pgd), 0, false) == MIGRATED_TYPE);

	KT_EXPECT(ctx, mmap_lock(small, LAB_AREA, PAGE_SIZE, 0, &faults) == 0);
	to = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, 0);
	KT_EXPECT(ctx, migrate_isolate(page) == MIGRATED_DONE);
	KT_EXPECT(ctx, migrate_isolate(page) == MIGRATED_LRU);
	KT_EXPECT(ctx, migrate_page(page, to, MIGRATE_ASYNC, false) == MIGRATED_MLOCKED);
	migrate_putback(page);
	page_put(to);

	if (CONFIG_INJECT) {
		buddy_inject_fail(1, 0);
		KT_EXPECT(ctx, move(small, LAB_AREA + PAGE_SIZE) == MIGRATED_NO_MEMORY);
		buddy_inject_fail(0, -1);
	}
	KT_EXPECT(ctx, is_marked(small, LAB_AREA, 4 * PAGE_SIZE));
	KT_EXPECT(ctx, vmstat_read(VM_nr_isolated_anon) == 0);
	lab_space_end(small);
	lab_space_end(huge);
	lab_end(ctx, &before);
}

/* A huge page that 4 KiB entries map, some of it not at all: it stays one page, and waits to be split as before. */
KTEST(migrate, a_huge_page_in_parts)
{
	struct thp_settings before = lab_begin();
	struct mm *mm = space_of(HPAGE_PMD_SIZE, true), *child;
	u64 moved = vmstat_read(VM_thp_migration_success), anon, hole = 40;
	pfn_t pfn;

	KT_REQUIRE(ctx, mm);
	child = fork_mm(mm); /* as a whole there */
	KT_REQUIRE(ctx, child);
	KT_EXPECT(ctx, advise(mm, LAB_AREA + hole * PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED) == 0);
	for (u32 round = 0; round < 2; round++) {
		anon = vmstat_read(VM_nr_anon_pages);
		pfn = lab_pfn(mm, LAB_AREA);
		KT_EXPECT(ctx, move(mm, LAB_AREA) == MIGRATED_DONE);
		KT_EXPECT(ctx, vmstat_read(VM_thp_migration_success) == ++moved);
		KT_EXPECT(ctx, lab_pfn(mm, LAB_AREA) != pfn && pfn_in_huge(lab_pfn(mm, LAB_AREA)));
		KT_EXPECT(ctx, vmstat_read(VM_nr_anon_pages) == anon);
		KT_EXPECT(ctx, is_marked(mm, LAB_AREA, hole * PAGE_SIZE));
		KT_EXPECT(ctx, is_marked(mm, LAB_AREA + (hole + 1) * PAGE_SIZE,
				       HPAGE_PMD_SIZE - (hole + 1) * PAGE_SIZE));
		KT_EXPECT(ctx, !lab_leaf(mm, LAB_AREA + hole * PAGE_SIZE));
		KT_EXPECT(ctx, !!(pfn_head(lab_pfn(mm, LAB_AREA))->flags & PG_DEFERRED) == round);
		KT_EXPECT(ctx, lab_healthy());
		if (round == 0) {
			KT_EXPECT(ctx, lab_is_huge(child, LAB_AREA));
			lab_space_end(child); /* now a frame of it is mapped by nobody */
		}
	}
	lab_space_end(mm);
	lab_end(ctx, &before);
}

/* No block to move it to: it comes apart, and its pages move; NUMA's balancing leaves it whole. */
KTEST(migrate, a_huge_page_without_a_target)
{
	struct thp_settings before;
	struct mm *mm;
	u64 split = vmstat_read(VM_thp_migration_split),
	    failed = vmstat_read(VM_thp_migration_fail);
	u64 pages = vmstat_read(VM_pgmigrate_fail), moved = vmstat_read(VM_pgmigrate_success);

	if (!CONFIG_INJECT)
		KT_SKIP(ctx, "no injection in this build");
	before = lab_begin();
	mm = space_of(HPAGE_PMD_SIZE, true);
	KT_REQUIRE(ctx, mm);
	buddy_inject_fail(1, HPAGE_PMD_ORDER);
	KT_EXPECT(ctx, move(mm, LAB_AREA) == MIGRATED_NO_MEMORY && lab_is_huge(mm, LAB_AREA));
	KT_EXPECT(ctx, vmstat_read(VM_thp_migration_split) == split);
	KT_EXPECT(ctx, vmstat_read(VM_thp_migration_fail) == failed + 1);
	KT_EXPECT(ctx, vmstat_read(VM_pgmigrate_fail) == pages + HPAGE_PMD_NR);
	buddy_inject_fail(1, HPAGE_PMD_ORDER);
	KT_EXPECT(ctx,
		migrate_page_alone(pfn_head(lab_pfn(mm, LAB_AREA)), 0, true) == MIGRATED_SPLIT);
	buddy_inject_fail(0, -1);
	KT_EXPECT(ctx, vmstat_read(VM_thp_migration_split) == split + 1);
	KT_EXPECT(ctx, vmstat_read(VM_thp_migration_fail) == failed + 2);
	KT_EXPECT(ctx, vmstat_read(VM_pgmigrate_fail) == pages + HPAGE_PMD_NR);
	for (vaddr_t at = LAB_AREA; at < LAB_AREA + HPAGE_PMD_SIZE; at += PAGE_SIZE)
		KT_EXPECT(ctx, move(mm, at) == MIGRATED_DONE);
	KT_EXPECT(ctx, vmstat_read(VM_pgmigrate_success) == moved + HPAGE_PMD_NR);
	KT_EXPECT(ctx, is_marked(mm, LAB_AREA, HPAGE_PMD_SIZE) && lab_healthy());
	KT_EXPECT(ctx, vmstat_read(VM_nr_isolated_anon) == 0);
	lab_space_end(mm);
	lab_end(ctx, &before);
}

#define MANY 40

/* Forty children: however many share it, it moves. */
static void move_among_many(struct ktest_ctx *ctx, bool huge)
{
	struct thp_settings before = lab_begin();
	struct mm *mm = space_of(HPAGE_PMD_SIZE, huge), *children[MANY] = {NULL};
	u64 used, good = 0;
	pfn_t pfn;

	KT_REQUIRE(ctx, mm);
	used = lab_frames_used();
	for (u32 i = 0; i < MANY; i++)
		children[i] = fork_mm(i % 2 ? children[i - 1] : mm); /* grandchildren among them */
	pfn = lab_pfn(mm, LAB_AREA);
	KT_EXPECT(ctx, move(mm, LAB_AREA) == MIGRATED_DONE);
	KT_EXPECT(ctx, lab_pfn(mm, LAB_AREA) != pfn);
	for (u32 i = 0; i < MANY; i++)
		good += children[i] && lab_pfn(children[i], LAB_AREA) == lab_pfn(mm, LAB_AREA) &&
			is_marked(children[i], LAB_AREA, HPAGE_PMD_SIZE);
	KT_EXPECT(ctx, good == MANY);
	KT_EXPECT(ctx, page_total_mapcount(pfn_head(lab_pfn(mm, LAB_AREA))) == MANY + 1);
	KT_EXPECT(ctx, lab_healthy());
	for (u32 i = 0; i < MANY; i++)
		if (children[i])
			lab_space_end(children[i]);
	KT_EXPECT(ctx, lab_frames_back(used));
	lab_space_end(mm);
	lab_end(ctx, &before);
}

KTEST(migrate, a_page_that_forty_map)
{
	move_among_many(ctx, false);
}

KTEST(migrate, a_huge_page_that_forty_map)
{
	move_among_many(ctx, true);
}

/* --- races --- */

#define RACE_PAGES  64
#define COUNTERS    2
#define SCRATCH     LAB_ELSEWHERE
#define SCRATCH_LEN (4 * HPAGE_PMD_SIZE)

/* What the threads of one race share. Small pages with counters at LAB_AREA; anything at SCRATCH. */
struct race {
	struct mm *mm;
	bool stop;
	u64 counted[COUNTERS], forks, scratches, moved, huge_moved;
	u64 wrong; /* words that were not what was written */
};

static struct race race;

static bool racing(void)
{
	return !READ_ONCE(race.stop) && !thread_killed();
}

/* A program that counts in a word of its own on every page: nothing it writes may get lost. */
static void counter(void *arg)
{
	u64 id = (u64)arg, value;

	for (u64 round = 1; racing(); round++) {
		for (u64 i = 0; i < RACE_PAGES; i++) {
			vaddr_t at = LAB_AREA + i * PAGE_SIZE + 64 + id * 8;

			if (!lab_look_here(LAB_READ, at, &value) || value != round - 1)
				__atomic_add_fetch(&race.wrong, 1, __ATOMIC_RELAXED);
			value = round;
			if (!lab_look_here(LAB_WRITE, at, &value))
				__atomic_add_fetch(&race.wrong, 1, __ATOMIC_RELAXED);
			preempt_point();
		}
		race.counted[id] = round;
	}
}

/* In the child nothing changes any more, whatever the parent writes and wherever its pages move. */
static void child_looks(void *arg)
{
	u64 first, again;

	(void)arg;
	for (u64 i = 0; i < RACE_PAGES; i++) {
		vaddr_t at = LAB_AREA + i * PAGE_SIZE + 64;

		if (!lab_look_here(LAB_READ, at, &first) || !lab_look_here(LAB_READ, at, &again) ||
			first != again)
			__atomic_add_fetch(&race.wrong, 1, __ATOMIC_RELAXED);
		first++;
		lab_look_here(LAB_WRITE, at, &first);
	}
}

static void forker(void *arg)
{
	(void)arg;
	while (racing()) {
		struct mm *child = fork_mm(race.mm);
		struct lab_thread t;

		if (child && lab_start(&t, child, LAB_ANY_CPU, child_looks, NULL)) {
			lab_join(&t);
			race.forks++;
		}
		if (child)
			lab_space_end(child);
		mmap_protect(race.mm, LAB_AREA, RACE_PAGES / 2 * PAGE_SIZE,
			PROT_READ | PROT_WRITE | PROT_EXEC);
		mmap_protect(race.mm, LAB_AREA, RACE_PAGES / 2 * PAGE_SIZE, PROT_READ | PROT_WRITE);
	}
}

/* Maps, writes, moves, gives away in parts, unmaps: small pages and huge ones. */
static void scratcher(void *arg)
{
	u64 value;

	(void)arg;
	while (racing()) {
		vaddr_t at = SCRATCH, to = SCRATCH + 2 * HPAGE_PMD_SIZE;

		if (!lab_area(race.mm, at, 2 * HPAGE_PMD_SIZE))
			break;
		for (u64 i = 0; i < HPAGE_PMD_NR; i += 7) {
			value = i;
			lab_look_here(LAB_WRITE, at + i * PAGE_SIZE, &value);
		}
		advise(race.mm, at + 8 * PAGE_SIZE, 8 * PAGE_SIZE, MADV_DONTNEED);
		if (race.scratches & 1)
			to += PAGE_SIZE * 3;
		mmap_remap(race.mm, at, HPAGE_PMD_SIZE, HPAGE_PMD_SIZE,
			MREMAP_MAYMOVE | MREMAP_FIXED, to);
		for (u64 i = 0; i < HPAGE_PMD_NR; i += 7)
			if (!lab_look_here(LAB_READ, to + i * PAGE_SIZE, &value) ||
				value != (i >= 8 && i < 16 ? 0 : i))
				__atomic_add_fetch(&race.wrong, 1, __ATOMIC_RELAXED);
		mmap_unmap(race.mm, SCRATCH, SCRATCH_LEN);
		race.scratches++;
	}
}

/* Pages of the space, by chance; now and then a pass through all of memory. */
static void mover(u64 ns)
{
	u64 until = time_ns() + ns, seed = 1;

	for (u64 i = 0; time_ns() < until; i++) {
		u64 huge = vmstat_read(VM_thp_migration_success), n = (seed >> 33);
		vaddr_t at = i & 1 ? LAB_AREA + n % RACE_PAGES * PAGE_SIZE
				   : SCRATCH + n % (SCRATCH_LEN >> PAGE_SHIFT) * PAGE_SIZE;

		seed = seed * 6364136223846793005ul + 1442695040888963407ul;
		if (move(race.mm, at) == MIGRATED_DONE)
			race.moved++;
		race.huge_moved += vmstat_read(VM_thp_migration_success) - huge;
		if (i % 512 == 511)
			compact_memory();
		preempt_point();
	}
}

static void run_race(struct ktest_ctx *ctx, u64 ns)
{
	static struct lab_thread threads[COUNTERS + 2];
	struct thp_settings before;
	u64 used;
	u32 n = 0;

	if (!lab_has_memory(4 * SCRATCH_LEN))
		KT_SKIP(ctx, "too little memory");
	before = lab_begin();
	used = lab_frames_used();
	race = (struct race){.mm = space_of(RACE_PAGES * PAGE_SIZE, false)};
	KT_REQUIRE(ctx, race.mm);
	thp_settings.enabled = THP_ALWAYS;
	for (u64 i = 0; i < COUNTERS; i++)
		n += lab_start(&threads[n], race.mm, LAB_ANY_CPU, counter, (void *)i);
	n += lab_start(&threads[n], race.mm, LAB_ANY_CPU, forker, NULL);
	n += lab_start(&threads[n], race.mm, LAB_ANY_CPU, scratcher, NULL);
	KT_EXPECT(ctx, n == COUNTERS + 2);
	mover(ns);
	WRITE_ONCE(race.stop, true);
	while (n)
		KT_EXPECT(ctx, lab_join(&threads[--n]) == 0);
	printk("ktest: migrate: %lu moved, %lu of them huge; %lu and %lu counts, %lu forks, %lu "
	       "scratches",
		race.moved, race.huge_moved, race.counted[0], race.counted[1], race.forks,
		race.scratches);
	KT_EXPECT(ctx, race.wrong == 0);
	KT_EXPECT(ctx, race.moved > 0);
	KT_EXPECT(ctx, vmstat_read(VM_nr_isolated_anon) == 0);
	KT_EXPECT(ctx, lab_healthy());
	lab_space_end(race.mm);
	KT_EXPECT(ctx, lab_frames_back(used));
	lab_end(ctx, &before);
}

KTEST(migrate, race)
{
	run_race(ctx, LAB_RACE_NS);
}

KTEST_ON_REQUEST(migrate_long, race)
{
	run_race(ctx, LAB_LONG_NS);
}

struct writer {
	bool stop, ready;
	u64 wrong;
	u64 written, mark; /* how often; since when two are waited for */
	u64 window_end;    /* 0: no window is open */
};

/* A write began and ended since then. */
static bool has_written(const struct writer *w)
{
	return __atomic_load_n(&w->written, __ATOMIC_ACQUIRE) - w->mark >= 2;
}

/*
 * For seeded_meet(), in the window: two more writes from here on. They come if the writer's CPU still has its translation;
 * if it has lost it (a switch of threads), the writer waits for the end of the move, and this move shows nothing.
 */
static bool has_written_inside(void *arg)
{
	struct writer *w = arg;

	if (!w->window_end) {
		w->mark = __atomic_load_n(&w->written, __ATOMIC_ACQUIRE);
		w->window_end = time_ns() + 50 * NS_PER_MS;
	}
	return has_written(w) || time_ns() >= w->window_end;
}

/* Its CPU has a translation from now on, as far as that can be seen to. */
static void let_it_write(struct writer *w)
{
	u64 deadline = time_ns() + LAB_LIMIT_NS;

	w->mark = __atomic_load_n(&w->written, __ATOMIC_ACQUIRE);
	while (!has_written(w) && time_ns() < deadline)
		preempt_point();
	w->window_end = 0;
}

/* Reads what it wrote last and writes anew, through whatever translation its CPU has. */
static void writer(void *arg)
{
	struct writer *w = arg;
	u64 value;

	for (u64 n = 1; !READ_ONCE(w->stop) && !thread_killed(); n++) {
		if (n > 1)
			w->wrong += !lab_look_here(LAB_READ, LAB_AREA, &value) || value != n - 1;
		value = n;
		w->wrong += !lab_look_here(LAB_WRITE, LAB_AREA, &value);
		__atomic_add_fetch(&w->written, 1, __ATOMIC_RELEASE);
		WRITE_ONCE(w->ready, true);
		w->wrong += !lab_look_here(LAB_READ, LAB_AREA, &value) || value != n;
		preempt_point();
	}
}

/* A flush that comes after the copy: what was written in between is gone. Linux's device migration flushed too late. */
KTEST(migrate, a_write_while_the_page_moves)
{
	static struct writer w;
	struct thp_settings before;
	struct lab_thread t;
	struct mm *mm;
	u64 deadline;

	if (nr_cpus < 2)
		KT_SKIP(ctx, "needs 2 CPUs");
	before = lab_begin();
	mm = space_of(PAGE_SIZE, false);
	w = (struct writer){0};
	KT_REQUIRE(ctx, mm && lab_start(&t, mm, cpu_id() ? 0 : 1, writer, &w));
	deadline = time_ns() + LAB_LIMIT_NS;
	while (!READ_ONCE(w.ready) && time_ns() < deadline)
		sched_sleep_until(time_ns() + NS_PER_MS);
	seeded_meet(has_written_inside, &w);
	for (u32 i = 0; i < 200 && !READ_ONCE(w.wrong); i++) {
		enum migrate_result r;

		let_it_write(&w);
		r = move(mm, LAB_AREA);
		KT_EXPECT(ctx, r == MIGRATED_DONE || r == MIGRATED_COUNT);
		preempt_point();
	}
	WRITE_ONCE(w.stop, true);
	KT_EXPECT(ctx, lab_join(&t) == 0 && w.ready);
	KT_EXPECT(ctx, w.wrong == 0);
	lab_space_end(mm);
	lab_end(ctx, &before);
}

/* --- compaction --- */

#define PIECES 16 /* ranges of 2 MiB */

/* Memory in pieces: one page in each 2 MiB stays. */
static struct mm *space_in_pieces(void)
{
	struct mm *mm = space_of(PIECES * HPAGE_PMD_SIZE, false);

	for (u64 i = 0; mm && i < PIECES; i++)
		advise(mm, LAB_AREA + i * HPAGE_PMD_SIZE + PAGE_SIZE, HPAGE_PMD_SIZE - PAGE_SIZE,
			MADV_DONTNEED);
	return mm;
}

KTEST(compact, brings_pieces_together)
{
	struct thp_settings before;
	u64 moved = vmstat_read(VM_pgmigrate_success), isolated;
	struct mm *mm;

	if (!lab_has_memory(2 * PIECES * HPAGE_PMD_SIZE))
		KT_SKIP(ctx, "too little memory");
	before = lab_begin();
	mm = space_in_pieces();
	KT_REQUIRE(ctx, mm);
	isolated = vmstat_read(VM_compact_isolated);
	compact_memory();
	KT_EXPECT(ctx, vmstat_read(VM_pgmigrate_success) > moved);
	KT_EXPECT(ctx, vmstat_read(VM_compact_isolated) > isolated);
	KT_EXPECT(ctx, vmstat_read(VM_nr_isolated_anon) == 0);
	for (u64 i = 0; i < PIECES; i++)
		KT_EXPECT(ctx, is_marked(mm, LAB_AREA + i * HPAGE_PMD_SIZE, PAGE_SIZE));
	KT_EXPECT(ctx, lab_healthy());
	lab_space_end(mm);
	lab_end(ctx, &before);
}

/* The daemon is woken for an order; it says so, works, and goes back to sleep. */
KTEST(compact, the_daemon_is_woken)
{
	u64 wakes = vmstat_read(VM_compact_daemon_wake), deadline = time_ns() + LAB_LIMIT_NS;

	if (nr_nodes > 1)
		KT_SKIP(ctx, "which node's daemon depends on the CPU");
	compact_wake(HPAGE_PMD_ORDER);
	while ((vmstat_read(VM_compact_daemon_wake) == wakes ||
		       READ_ONCE(compact_nodes[0].wanted)) &&
		time_ns() < deadline)
		sched_sleep_until(time_ns() + NS_PER_MS);
	KT_EXPECT(ctx, vmstat_read(VM_compact_daemon_wake) == wakes + 1);
}
