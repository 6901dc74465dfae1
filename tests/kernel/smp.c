/*
 * smp.c - several CPUs at once: in each other's way, in one space, in several                 self-tests
 *
 * What threads write they remember in a model of their own: every page holds a word made of who wrote it, where
 * and which time, at its beginning and at its end. Each thread has its own part of the space, so what it reads
 * back is known exactly, whatever the others do to the tables around it.
 */
#include "khugepaged.h"
#include "lab.h"
#include "mm/fork.h"
#include "mm/mmap.h"
#include "mm/uaccess.h"
#include "mutex.h"
#include "printk.h"
#include "vmstat.h"
#include "x86/timer.h"
#include <abi/errno.h>

#define CREW 4

/* --- a meeting point: everybody waits for everybody ---------------------------------------------------- */

struct meeting {
	u32 size, here, turn;
};

static void meet(struct meeting *m)
{
	u32 turn = READ_ONCE(m->turn);

	if (__atomic_add_fetch(&m->here, 1, __ATOMIC_ACQ_REL) == m->size) {
		m->here = 0;
		__atomic_add_fetch(&m->turn, 1, __ATOMIC_RELEASE);
		return;
	}
	while (__atomic_load_n(&m->turn, __ATOMIC_ACQUIRE) == turn) {
		cpu_relax();
		preempt_point();
	}
}

static u32 crew_size(void)
{
	return MIN(nr_cpus, (u32)CREW);
}

/* --- shooting at each other ------------------------------------------------------------------------------ */

#define SHOTS 300

struct shooter {
	struct lab_thread thread;
	struct mm *mm;
	struct shooter *first, *next; /* next: around the ring */
	struct meeting *meeting;
	u32 shots;
	bool at_all; /* at everybody in turn, not only at the next one */
};

/* With interrupts off and a lock held, as in the middle of a change to tables. */
static void shoot(struct mm *at)
{
	irq_disable();
	spin_lock(&at->pt_lock);
	tlb_flush(&at->tlb, LAB_AREA, LAB_AREA + PAGE_SIZE, PAGE_SIZE, TLB_unmap);
	tlb_assert_flushed(&at->tlb);
	spin_unlock(&at->pt_lock);
	irq_enable();
}

static void shooter_thread(void *arg)
{
	struct shooter *me = arg, *at = me->next;

	struct lab_race race;

	meet(me->meeting);
	race = lab_race_begin(SHOTS, LAB_RACE_NS);
	for (; lab_race_goes_on(&race, me->shots); me->shots++) {
		shoot(at->mm);
		if (me->at_all)
			at = at->next;
	}
	meet(me->meeting); /* nobody leaves his space before */
}

/* Each in a space and on a CPU of his own. Whoever waits must answer, or nobody gets on. */
static void shoot_out(struct ktest_ctx *ctx, u32 size, bool at_all)
{
	static struct shooter crew[CREW];
	static struct meeting meeting;
	u64 before = vmstat_read(VM_tlb_shootdown), shots = 0;

	if (nr_cpus < size)
		KT_SKIP(ctx, "too few CPUs");
	meeting = (struct meeting){.size = size};
	for (u32 i = 0; i < size; i++)
		crew[i] = (struct shooter){.mm = lab_space(),
			.first = crew,
			.next = &crew[(i + 1) % size],
			.meeting = &meeting,
			.at_all = at_all};
	for (u32 i = 0; i < size; i++)
		KT_EXPECT(ctx, lab_start(&crew[i].thread, crew[i].mm, i, shooter_thread, &crew[i]));
	for (u32 i = 0; i < size; i++)
		KT_EXPECT(ctx, lab_join(&crew[i].thread) == 0);
	for (u32 i = 0; i < size; i++) {
		KT_EXPECT(ctx, crew[i].shots >= SHOTS / 100);
		shots += crew[i].shots;
		lab_space_end(crew[i].mm);
	}
	KT_EXPECT(ctx, vmstat_read(VM_tlb_shootdown) - before >= shots / 2);
}

KTEST(shoot, two_at_each_other)
{
	shoot_out(ctx, 2, false);
}

KTEST(shoot, four_in_a_ring)
{
	shoot_out(ctx, 4, false);
}

KTEST(shoot, four_at_everybody)
{
	shoot_out(ctx, 4, true);
}

/* --- faults that race ---------------------------------------------------------------------------------------- */

#define ROUNDS 8 /* each of them a race of the whole crew */

enum rush {
	RUSH_WRITE,  /* all write into the same empty 2 MiB */
	RUSH_MIXED,  /* every second one reads first: the huge zero page comes in between */
	RUSH_SHARED, /* all write into the same 2 MiB that a child shares */
	RUSH_SMALL   /* all write into the same 4 KiB */
};

struct rusher {
	struct lab_thread thread;
	u32 id;
	enum rush rush;
	struct meeting *meeting;
	u32 wrong;
};

static vaddr_t rush_place(enum rush rush, u32 round)
{
	return LAB_AREA + round * (rush == RUSH_SMALL ? PAGE_SIZE : HPAGE_PMD_SIZE);
}

static void rusher_thread(void *arg)
{
	struct rusher *me = arg;
	u32 size = me->meeting->size;

	for (u32 round = 0; round < ROUNDS; round++) {
		u64 step = me->rush == RUSH_SMALL ? sizeof(u64) : PAGE_SIZE;
		vaddr_t place = rush_place(me->rush, round);
		u64 word = 0;

		meet(me->meeting);
		if (me->rush == RUSH_MIXED && me->id % 2)
			me->wrong += !lab_look_here(LAB_READ, place + me->id * step, &word) || word;
		word = 1000 + me->id;
		me->wrong += !lab_look_here(LAB_WRITE, place + me->id * step, &word);
		meet(me->meeting);
		for (u32 i = 0; i < size; i++)
			me->wrong += !lab_look_here(LAB_READ, place + i * step, &word) ||
				     word != 1000 + i;
	}
}

static u64 rush_crew(struct ktest_ctx *ctx, struct mm *mm, enum rush rush)
{
	static struct rusher crew[CREW];
	static struct meeting meeting;
	u64 before = vmstat_read(VM_thp_fault_alloc);

	meeting = (struct meeting){.size = crew_size()};
	for (u32 i = 0; i < meeting.size; i++) {
		crew[i] = (struct rusher){.id = i, .rush = rush, .meeting = &meeting};
		KT_EXPECT(ctx, lab_start(&crew[i].thread, mm, i, rusher_thread, &crew[i]));
	}
	for (u32 i = 0; i < meeting.size; i++) {
		KT_EXPECT(ctx, lab_join(&crew[i].thread) == 0);
		KT_EXPECT(ctx, crew[i].wrong == 0);
	}
	return vmstat_read(VM_thp_fault_alloc) - before;
}

/* Exactly one page comes of it, and no frame is lost. */
static void rush_test(struct ktest_ctx *ctx, enum rush rush)
{
	u64 bytes = ROUNDS * HPAGE_PMD_SIZE, allocs;
	struct thp_settings before;
	struct mm *mm, *child = NULL;

	if (!lab_has_memory(2 * bytes))
		KT_SKIP(ctx, "too little memory");
	before = lab_begin();
	mm = lab_space();
	thp_settings.enabled = rush == RUSH_SMALL ? THP_NEVER : THP_ALWAYS;
	KT_EXPECT(ctx, lab_area(mm, LAB_AREA, bytes));
	if (rush == RUSH_SHARED) {
		KT_EXPECT(ctx, lab_fill(mm, LAB_AREA, bytes));
		child = fork_mm(mm);
	}
	allocs = rush_crew(ctx, mm, rush);
	if (rush == RUSH_SMALL)
		KT_EXPECT(ctx, mm->nr_anon == ROUNDS && allocs == 0);
	else
		KT_EXPECT(ctx, mm->nr_anon == ROUNDS * HPAGE_PMD_NR && allocs == ROUNDS);
	for (u32 i = 0; i < ROUNDS && child; i++)
		KT_EXPECT(ctx, *lab_word(child, rush_place(rush, i)) == 0);
	KT_EXPECT(ctx, lab_healthy());
	lab_space_end(child);
	lab_space_end(mm);
	lab_end(ctx, &before);
}

KTEST(race, first_write_to_a_huge_page)
{
	rush_test(ctx, RUSH_WRITE);
}

KTEST(race, reads_and_writes_of_a_huge_page)
{
	rush_test(ctx, RUSH_MIXED);
}

KTEST(race, writes_to_a_shared_huge_page)
{
	rush_test(ctx, RUSH_SHARED);
}

KTEST(race, first_write_to_a_page)
{
	rush_test(ctx, RUSH_SMALL);
}

/* --- faults of one space overlap -------------------------------------------------------------------------------- */

struct toucher {
	struct lab_thread thread;
	struct meeting *meeting;
	u32 id, rounds;
	u64 overlaps; /* the counter when the test began */
	bool stop;    /* the first one's word is everybody's */
	struct toucher *first;
};

#define MAX_ROUNDS 4096 /* it ends with the first overlap; a busy host lets the CPUs meet rarely */

static void toucher_thread(void *arg)
{
	struct toucher *me = arg;
	vaddr_t place = LAB_AREA + me->id * HPAGE_PMD_SIZE;
	u64 word = 1, faults = 0;

	for (u32 i = 0; i < MAX_ROUNDS; i++) {
		meet(me->meeting);
		lab_look_here(LAB_WRITE, place, &word);
		meet(me->meeting);
		mmap_advise(current_thread()->mm, place, HPAGE_PMD_SIZE, MADV_DONTNEED, &faults);
		if (me == me->first)
			me->stop = vmstat_read(VM_fault_overlap) > me->overlaps;
		meet(me->meeting);
		if (me->first->stop)
			break;
	}
}

KTEST(race, faults_of_one_space_overlap)
{
	static struct toucher crew[CREW];
	static struct meeting meeting;
	struct thp_settings before;
	struct mm *mm;

	if (nr_cpus < 2)
		KT_SKIP(ctx, "one CPU");
	if (!lab_has_memory(16 * HPAGE_PMD_SIZE))
		KT_SKIP(ctx, "too little memory");
	before = lab_begin();
	mm = lab_space();
	meeting = (struct meeting){.size = crew_size()};
	KT_EXPECT(ctx, lab_area(mm, LAB_AREA, CREW * HPAGE_PMD_SIZE));
	for (u32 i = 0; i < meeting.size; i++)
		crew[i] = (struct toucher){.id = i,
			.meeting = &meeting,
			.first = crew,
			.overlaps = vmstat_read(VM_fault_overlap)};
	for (u32 i = 0; i < meeting.size; i++)
		KT_EXPECT(ctx, lab_start(&crew[i].thread, mm, i, toucher_thread, &crew[i]));
	for (u32 i = 0; i < meeting.size; i++)
		lab_join(&crew[i].thread);
	KT_EXPECT(ctx, crew[0].stop);
	lab_space_end(mm);
	lab_end(ctx, &before);
}

/* --- everything at once -------------------------------------------------------------------------------------------- */

#define PART_PAGES (4 * HPAGE_PMD_NR)
#define PART_BYTES (PART_PAGES * PAGE_SIZE)
#define PART_SPACE (8 * PART_BYTES) /* from one worker's first place to the next worker's */

struct worker {
	struct lab_thread thread;
	struct mm *mm;
	u32 id;
	u64 random;
	struct lab_race race;
	vaddr_t base;            /* where its pages are now */
	u32 version[PART_PAGES]; /* what each page should hold; 0: zeroes */
	u32 ops, forks, moves, collapsed;
	u32 wrong;
	const char *what; /* the first thing that was */
};

static u64 random_below(struct worker *w, u64 n)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random % n;
}

static void expect(struct worker *w, bool ok, const char *what)
{
	if (ok)
		return;
	w->wrong++;
	if (!w->what)
		w->what = what;
}

static u64 word_of(const struct worker *w, u64 page)
{
	u64 v = w->version[page];

	return v ? v << 32 | page << 8 | (w->id + 1) : 0;
}

static vaddr_t first_word(const struct worker *w, u64 page)
{
	return w->base + page * PAGE_SIZE;
}

static vaddr_t last_word(const struct worker *w, u64 page)
{
	return first_word(w, page) + PAGE_SIZE - sizeof(u64);
}

static void write_page(struct worker *w, u64 page)
{
	u64 word;

	w->version[page]++;
	word = word_of(w, page);
	expect(w, lab_look_here(LAB_WRITE, first_word(w, page), &word), "a write was denied");
	expect(w, lab_look_here(LAB_WRITE, last_word(w, page), &word), "a write was denied");
}

static void check_page(struct worker *w, u64 page)
{
	u64 first = ~0ul, last = ~0ul;

	expect(w, lab_look_here(LAB_READ, first_word(w, page), &first), "a read was denied");
	expect(w, lab_look_here(LAB_READ, last_word(w, page), &last), "a read was denied");
	expect(w, first == word_of(w, page) && last == first, "a page holds something else");
}

/* What this worker is working on: a few pages, or an aligned 2 MiB. */
struct piece {
	u64 page, pages;
};

static struct piece choose(struct worker *w)
{
	struct piece p;

	if (random_below(w, 3) == 0) {
		p.page = random_below(w, PART_PAGES / HPAGE_PMD_NR) * HPAGE_PMD_NR;
		p.pages = HPAGE_PMD_NR;
	} else {
		p.page = random_below(w, PART_PAGES - 32);
		p.pages = 1 + random_below(w, 32);
	}
	return p;
}

static int advise(struct worker *w, struct piece p, int advice)
{
	u64 faults = 0;

	return mmap_advise(w->mm, first_word(w, p.page), p.pages * PAGE_SIZE, advice, &faults);
}

static void forget(struct worker *w, struct piece p)
{
	for (u64 i = 0; i < p.pages; i++)
		w->version[p.page + i] = 0;
}

static void op_write(struct worker *w, struct piece p)
{
	u64 step = p.pages == HPAGE_PMD_NR ? 61 : 1;

	for (u64 i = 0; i < p.pages; i += step)
		write_page(w, p.page + i);
}

static void op_check(struct worker *w, struct piece p)
{
	for (u64 i = 0; i < p.pages; i += 1 + random_below(w, 3))
		check_page(w, p.page + i);
}

static void op_unmap(struct worker *w, struct piece p)
{
	vaddr_t at = first_word(w, p.page);
	u64 word;

	expect(w, mmap_unmap(w->mm, at, p.pages * PAGE_SIZE) == 0, "munmap");
	expect(w, !lab_look_here(LAB_READ, at, &word), "a page that was unmapped is there");
	expect(w, lab_area(w->mm, at, p.pages * PAGE_SIZE), "mmap");
	forget(w, p);
}

static void op_protect(struct worker *w, struct piece p)
{
	vaddr_t at = first_word(w, p.page);
	u64 word = 1;

	expect(w, mmap_protect(w->mm, at, p.pages * PAGE_SIZE, PROT_READ) == 0, "mprotect");
	expect(w, !lab_look_here(LAB_WRITE, at, &word), "a page that is read only was written");
	check_page(w, p.page);
	expect(w, mmap_protect(w->mm, at, p.pages * PAGE_SIZE, PROT_READ | PROT_WRITE) == 0,
		"mprotect");
}

static void op_discard(struct worker *w, struct piece p)
{
	expect(w, advise(w, p, MADV_DONTNEED) == 0, "MADV_DONTNEED");
	forget(w, p);
	check_page(w, p.page);
}

static void op_free(struct worker *w, struct piece p)
{
	expect(w, advise(w, p, MADV_FREE) == 0, "MADV_FREE");
	op_check(w, p); /* nobody takes them: they still hold what they held */
}

static void op_collapse(struct worker *w, struct piece p)
{
	p.page = ALIGN_DOWN(p.page, HPAGE_PMD_NR);
	p.pages = HPAGE_PMD_NR;
	w->collapsed +=
		advise(w, p, MADV_COLLAPSE) == 0 && lab_is_huge(w->mm, first_word(w, p.page));
	op_check(w, p);
}

/* The whole part, to the other half of its place; often not aligned, which splits. May be refused: several areas. */
static void op_move(struct worker *w, struct piece p)
{
	vaddr_t place = LAB_AREA + w->id * PART_SPACE, to = place;
	s64 r;

	(void)p;
	if (w->base < place + PART_SPACE / 2)
		to += PART_SPACE / 2;
	if (random_below(w, 4) == 0)
		to += PAGE_SIZE * (1 + random_below(w, 100));
	r = mmap_remap(w->mm, w->base, PART_BYTES, PART_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	expect(w, r == (s64)to || r == -EFAULT, "mremap");
	if (r == (s64)to) {
		w->base = to;
		w->moves++;
	}
}

static void op_fork(struct worker *w, struct piece p)
{
	struct mm *child = fork_mm(w->mm);

	expect(w, child, "fork");
	if (!child)
		return;
	rwsem_read_lock(&child->lock); /* khugepaged knows it, and moves its pages */
	for (u64 i = 0; i < p.pages; i += 7) {
		u64 *word = lab_word(child, first_word(w, p.page + i));

		expect(w, (word ? *word : 0) == word_of(w, p.page + i), "a child's page");
	}
	rwsem_read_unlock(&child->lock);
	op_write(w, p);
	if (random_below(w, 2)) {
		vaddr_t at = first_word(w, p.page);

		expect(w, lab_fill(child, at, p.pages * PAGE_SIZE), "a child's write");
		rwsem_read_lock(&child->lock);
		*lab_word(child, at) = 0xbad;
		rwsem_read_unlock(&child->lock);
	}
	lab_space_end(child);
	op_check(w, p);
	w->forks++;
}

static void work(struct worker *w)
{
	static void (*const ops[])(struct worker *, struct piece) = {op_write, op_write, op_write,
		op_write, op_check, op_check, op_unmap, op_protect, op_protect, op_discard, op_free,
		op_collapse, op_move};

	if (random_below(w, 40) == 0)
		op_fork(w, choose(w));
	else
		ops[random_below(w, ARRAY_SIZE(ops))](w, choose(w));
	w->ops++;
}

static void worker_thread(void *arg)
{
	struct worker *w = arg;

	while (lab_race_goes_on(&w->race, w->ops) && !w->wrong) {
		work(w);
		preempt_point();
	}
	for (u64 page = 0; page < PART_PAGES && !w->wrong; page++)
		check_page(w, page);
}

/* More than a worker can do in the time; a hundredth is enough for forks, moves and collapses. */
#define STRESS_OPS 10000

static struct worker workers[CREW];

static void stress(struct ktest_ctx *ctx, u32 spaces, u64 ns)
{
	u32 ops = 0, forks = 0, moves = 0, collapsed = 0;
	u64 promoted = khugepaged_stats.pages_collapsed;
	struct thp_settings before;
	struct mm *mm[CREW];

	if (!lab_has_memory(80ul << 20))
		KT_SKIP(ctx, "too little memory");
	before = lab_begin();
	for (u32 i = 0; i < spaces; i++)
		mm[i] = lab_space();
	for (u32 i = 0; i < CREW; i++) {
		struct worker *w = &workers[i];

		*w = (struct worker){.id = i,
			.mm = mm[i % spaces],
			.random = 0x9e3779b97f4a7c15ul * (i + 1),
			.base = LAB_AREA + i * PART_SPACE,
			.race = lab_race_begin(STRESS_OPS, ns)};
		KT_EXPECT(ctx, lab_area(w->mm, w->base, PART_BYTES));
	}
	thp_settings.pages_to_scan = 1000000;
	thp_settings.scan_sleep_millisecs = 0;
	khugepaged_wake();
	for (u32 i = 0; i < CREW; i++)
		KT_EXPECT(ctx, lab_start(&workers[i].thread, workers[i].mm, LAB_ANY_CPU,
				       worker_thread, &workers[i]));
	for (u32 i = 0; i < CREW; i++) {
		struct worker *w = &workers[i];

		KT_EXPECT(ctx, lab_join(&w->thread) == 0);
		if (!KT_EXPECT(ctx, w->wrong == 0))
			printk("ktest: stress: worker %u after %u operations: %s", i, w->ops,
				w->what);
		ops += w->ops;
		forks += w->forks;
		moves += w->moves;
		collapsed += w->collapsed;
	}
	promoted = khugepaged_stats.pages_collapsed - promoted;
	printk("ktest: stress: %u spaces, %u operations, %u forks, %u moves, %u collapsed, %lu "
	       "promoted",
		spaces, ops, forks, moves, collapsed, promoted);
	KT_EXPECT(ctx, forks && moves && collapsed + promoted);
	KT_EXPECT(ctx, lab_healthy());
	for (u32 i = 0; i < spaces; i++)
		lab_space_end(mm[i]);
	lab_end(ctx, &before);
}

KTEST(stress, one_space)
{
	stress(ctx, 1, 2 * LAB_RACE_NS);
}

KTEST(stress, two_spaces)
{
	stress(ctx, 2, LAB_RACE_NS);
}

KTEST(stress, one_space_each)
{
	stress(ctx, CREW, LAB_RACE_NS);
}

/* Longer, for who asks for it. */
KTEST_ON_REQUEST(stress_long, one_space)
{
	stress(ctx, 1, LAB_LONG_NS);
}

KTEST_ON_REQUEST(stress_long, a_space_each)
{
	stress(ctx, CREW, LAB_LONG_NS);
}
