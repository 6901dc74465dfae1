/*
 * cve_race.c - what went wrong in other kernels' memory at one moment                            self-tests
 *
 * As cve.c, for the lines of kernel/seeded.h that need two or three CPUs. Where a mistake opens a window, it also stays
 * in it until the other side has done its part (seeded_meet(), lab_await_window()), so it is noticed whatever the host
 * does; without the mistake nothing waits, and the rounds go on at ever different moments.
 *
 *   this thread          a rival on the second CPU         a rival on the third CPU
 *     changes mappings     reads or writes through them      frees frames, takes them again and fills them with POISON
 *
 * Whoever sees POISON has used a frame after it was freed.
 */
#include "lab.h"
#include "mm/access.h"
#include "mm/buddy.h"
#include "mm/fork.h"
#include "mm/huge_pud.h"
#include "mm/memory.h"
#include "mm/mmap.h"
#include "mm/pgtable.h"
#include "mm/zero.h"
#include "mutex.h"
#include "object.h"
#include "seeded.h"
#include "x86/timer.h"
#include <abi/errno.h>

#define RW     (PROT_READ | PROT_WRITE)
#define MARK   0x5eed5eed5eed5eedul
#define POISON 0xbadbadbadbadbadbul
#define HELD   8 /* frames that are kept for a while, so that they are not taken again at once */

static int advise(struct mm *mm, vaddr_t addr, u64 len, int advice)
{
	u64 faults = 0;

	return mmap_advise(mm, addr, len, advice, &faults);
}

static bool write_word(struct mm *mm, vaddr_t addr, u64 value)
{
	return mm_write(mm, addr, &value, sizeof(value)) == sizeof(value);
}

static s64 move(struct mm *mm, vaddr_t from, u64 len, vaddr_t to)
{
	return mmap_remap(mm, from, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to);
}

/* A place where two threads tell each other which round it is. */
struct stage {
	struct mm *mm, *other;
	struct memory *m;
	vaddr_t at, to;
	u32 turn, done; /* the round that was begun, and that the rival has played */
	u32 wrong;
	u32 looks; /* by the reader, begun or over: two more, and one of them lies in between */
	u32 seen;  /* how often the reader has seen MARK */
	u32 mark;  /* a number somebody remembers */
	struct page *held[HELD];
	u32 nr_held;
};

static void begin_round(struct stage *s)
{
	__atomic_add_fetch(&s->turn, 1, __ATOMIC_RELEASE);
}

static bool has_turn(struct stage *s)
{
	return __atomic_load_n(&s->turn, __ATOMIC_ACQUIRE) != s->done;
}

static void end_turn(struct stage *s)
{
	__atomic_add_fetch(&s->done, 1, __ATOMIC_RELEASE);
}

static bool wait_for_rival(struct stage *s)
{
	u64 deadline = time_ns() + LAB_LIMIT_NS;

	while (__atomic_load_n(&s->done, __ATOMIC_ACQUIRE) != s->turn) {
		if (time_ns() > deadline)
			return false;
		preempt_point();
	}
	return true;
}

/* For seeded_meet(): the rival has played this round. */
static bool rival_is_done(void *arg)
{
	struct stage *s = arg;

	return __atomic_load_n(&s->done, __ATOMIC_ACQUIRE) ==
	       __atomic_load_n(&s->turn, __ATOMIC_ACQUIRE);
}

/* The reader has looked, from beginning to end, since s->mark was taken. */
static bool has_looked(void *arg)
{
	struct stage *s = arg;

	return __atomic_load_n(&s->looks, __ATOMIC_ACQUIRE) - s->mark >= 2;
}

/* What was freed just now is taken, and filled. */
static void poison(struct stage *s, unsigned order)
{
	enum migratetype mt = order ? MIGRATE_UNMOVABLE : MIGRATE_MOVABLE; /* as it was before */
	struct page *page = buddy_alloc(order, mt, PAGE_PINNED, BUDDY_QUIET);
	u32 slot = s->nr_held++ % HELD;

	if (s->held[slot])
		buddy_free(s->held[slot]);
	s->held[slot] = page;
	for (u64 i = 0; page && i < (PAGE_SIZE << order) / sizeof(u64); i += 64)
		((u64 *)page_to_virt(page))[i] = POISON;
}

static void give_up_held(struct stage *s)
{
	for (u32 i = 0; i < HELD; i++)
		if (s->held[i])
			buddy_free(s->held[i]);
}

/* Reads at s->at for as long as it is told to; a read may be denied, or be of zeroes. */
static void look(void *arg)
{
	struct stage *s = arg;
	u64 value = 0;
	bool allowed = lab_look_here(LAB_READ, READ_ONCE(s->at), &value);

	__atomic_add_fetch(&s->looks, 1, __ATOMIC_RELEASE);
	if (!allowed)
		return;
	if (value == MARK)
		WRITE_ONCE(s->seen, s->seen + 1);
	else if (value != 0)
		s->wrong++;
}

/* The reader's CPU has the translation now. */
static bool wait_for_reader(struct stage *s)
{
	u64 deadline = time_ns() + LAB_LIMIT_NS;
	u32 before = READ_ONCE(s->seen);

	while (READ_ONCE(s->seen) == before && time_ns() < deadline)
		preempt_point();
	return READ_ONCE(s->seen) != before;
}

#define NEED_CPUS(ctx, n)                                                                          \
	do {                                                                                       \
		if (nr_cpus < (n))                                                                 \
			KT_SKIP(ctx, "too few CPUs");                                              \
	} while (0)

/* --- a move, while the frames are taken away from the other side ------------------------------------------- */

static void withdraw_and_poison(void *arg)
{
	struct stage *s = arg;

	if (!has_turn(s))
		return;
	while (!lab_leaf(s->mm, s->to)) /* it has been moved, and its lock may still be held */
		preempt_point();        /* the mover may want this CPU */
	(void)lab_await_window();
	if (memory_withdraw(s->m, 0, PAGE_SIZE))
		s->wrong++;
	poison(s, 0);
	if (seeded_is_open()) { /* the mover waits for us, and we for the reader */
		s->mark = READ_ONCE(s->looks);
		(void)lab_await(has_looked, s);
	}
	end_turn(s);
}

/* After CVE-2018-18281: a page is moved, and freed by one who comes from the page, before the old place is flushed. */
KTEST(cve, move_and_withdraw)
{
	static struct stage s;
	struct lab_rival reader, freer;
	struct thp_settings before;

	NEED_CPUS(ctx, 3);
	before = lab_begin();
	thp_settings.enabled = THP_NEVER;
	s = (struct stage){.mm = lab_space(), .m = memory_create(PAGE_SIZE), .at = LAB_AREA};
	KT_REQUIRE(ctx, s.mm && s.m);
	KT_EXPECT(ctx, mmap_map_object(s.mm, s.m, 0, LAB_AREA, PAGE_SIZE, RW,
			       MAP_FIXED | MAP_SHARED, true, "moved") == LAB_AREA);
	/* Neighbours, so that the tables stay: the rival looks into them without a lock. */
	KT_EXPECT(ctx, lab_area(s.mm, LAB_AREA + PAGE_SIZE, PAGE_SIZE) &&
			       lab_area(s.mm, LAB_ELSEWHERE + PAGE_SIZE, PAGE_SIZE) &&
			       lab_fill(s.mm, LAB_AREA + PAGE_SIZE, PAGE_SIZE) &&
			       lab_fill(s.mm, LAB_ELSEWHERE + PAGE_SIZE, PAGE_SIZE));
	KT_EXPECT(ctx, lab_rival_go(&reader, s.mm, 1, look, &s));
	KT_EXPECT(ctx, lab_rival_go(&freer, s.mm, 2, withdraw_and_poison, &s));
	seeded_meet(rival_is_done, &s);
	for (u32 i = 0; i < 64 && !s.wrong; i++) {
		vaddr_t from = s.at, to = LAB_AREA + LAB_ELSEWHERE - from;

		s.to = to;
		KT_EXPECT(ctx, write_word(s.mm, from, MARK) && wait_for_reader(&s));
		begin_round(&s);
		KT_EXPECT(ctx, move(s.mm, from, PAGE_SIZE, to) == (s64)to);
		KT_EXPECT(ctx, wait_for_rival(&s));
		WRITE_ONCE(s.at, to);
	}
	lab_rival_end(&reader);
	lab_rival_end(&freer);
	KT_EXPECT(ctx, s.wrong == 0);
	give_up_held(&s);
	lab_space_end(s.mm);
	object_put(&s.m->object);
	lab_end(ctx, &before);
}

static void withdraw_on_turn(void *arg)
{
	struct stage *s = arg;

	if (!has_turn(s))
		return;
	if (memory_withdraw(s->m, 0, s->m->nr_pages << PAGE_SHIFT))
		s->wrong++;
	end_turn(s);
}

/* The same, where a mistake of the mover's is on: in its window. */
static void withdraw_in_window(void *arg)
{
	if (has_turn(arg))
		(void)lab_await_window();
	withdraw_on_turn(arg);
}

/* After CVE-2024-50066: what was a huge page when the move looked is nothing when it has the lock. */
KTEST(cve, move_while_a_huge_page_is_withdrawn)
{
	static struct stage s;
	struct lab_rival rival;
	struct thp_settings before;
	u64 len = HPAGE_PMD_SIZE, there = LAB_ELSEWHERE + PAGE_SIZE;

	NEED_CPUS(ctx, 2);
	before = lab_begin();
	s = (struct stage){.mm = lab_space(), .other = lab_space(), .m = memory_create(len)};
	KT_REQUIRE(ctx, s.mm && s.other && s.m && lab_area(s.other, LAB_AREA, len));
	KT_EXPECT(ctx, lab_rival_go(&rival, s.other, 1, withdraw_in_window, &s));
	seeded_meet(rival_is_done, &s);
	for (u32 i = 0; i < 40; i++) {
		KT_EXPECT(ctx, mmap_map_object(s.mm, s.m, 0, LAB_AREA, len, RW,
				       MAP_FIXED | MAP_SHARED, true, "moved") == LAB_AREA);
		KT_EXPECT(ctx, lab_fill(s.other, LAB_AREA, len));
		KT_EXPECT(ctx, memory_supply(s.m, 0, len, s.other, LAB_AREA) == 0);
		KT_EXPECT(ctx, lab_read(s.mm, LAB_AREA, PAGE_SIZE) && lab_is_huge(s.mm, LAB_AREA));
		begin_round(&s);
		timer_delay(i * 2 * NS_PER_US);
		KT_EXPECT(ctx, move(s.mm, LAB_AREA, len, there) == (s64)there);
		KT_EXPECT(ctx, wait_for_rival(&s) && s.mm->nr_shared == 0);
		KT_EXPECT(ctx, mmap_unmap(s.mm, there, len) == 0);
	}
	lab_rival_end(&rival);
	KT_EXPECT(ctx, s.wrong == 0);
	lab_space_end(s.mm);
	lab_space_end(s.other);
	object_put(&s.m->object);
	lab_end(ctx, &before);
}

/* --- not present means flushed -------------------------------------------------------------------------------- */

/* For seeded_meet(): this round's second look is over. */
static bool eye_has_looked(void *arg)
{
	struct stage *s = arg;

	return __atomic_load_n(&s->looks, __ATOMIC_ACQUIRE) != s->mark;
}

/* After the batched flushes of Linux's reclaim: who discards finds nothing, because another has cleared it just now. */
KTEST(cve, discard_of_what_another_cleared)
{
	static struct stage s;
	struct lab_rival rival;
	struct lab_eye eye;
	struct thp_settings before;
	u64 value, stale = 0;

	NEED_CPUS(ctx, 3);
	before = lab_begin();
	s = (struct stage){.mm = lab_space(), .m = memory_create(PAGE_SIZE)};
	KT_REQUIRE(ctx, s.mm && s.m && lab_eye_open(&eye, s.mm, 1));
	KT_EXPECT(ctx, mmap_map_object(s.mm, s.m, 0, LAB_AREA, PAGE_SIZE, RW,
			       MAP_FIXED | MAP_SHARED, true, "cleared") == LAB_AREA);
	KT_EXPECT(ctx, lab_rival_go(&rival, s.mm, 2, withdraw_on_turn, &s));
	seeded_meet(eye_has_looked, &s);
	for (u32 i = 0; i < 20 && !stale; i++) {
		s.mark = s.looks;
		KT_EXPECT(ctx, write_word(s.mm, LAB_AREA, MARK));
		KT_EXPECT(ctx, lab_eye_look(&eye, LAB_READ, LAB_AREA, &value) && value == MARK);
		begin_round(&s);
		while (pte_read(pgtable_find_pte(s.mm, LAB_AREA)).v && s.done != s.turn)
			preempt_point(); /* the rival may want this very CPU */
		KT_EXPECT(ctx, advise(s.mm, LAB_AREA, PAGE_SIZE, MADV_DONTNEED) == 0);
		KT_EXPECT(ctx, lab_eye_look(&eye, LAB_READ, LAB_AREA, &value));
		__atomic_add_fetch(&s.looks, 1, __ATOMIC_RELEASE);
		stale += value == MARK;
		KT_EXPECT(ctx, wait_for_rival(&s));
	}
	KT_EXPECT(ctx, stale == 0 && s.wrong == 0);
	lab_rival_end(&rival);
	lab_eye_close(&eye);
	lab_space_end(s.mm);
	object_put(&s.m->object);
	lab_end(ctx, &before);
}

static void shrink_and_poison(void *arg)
{
	struct stage *s = arg;

	if (!zero_huge_shrink())
		return;
	for (unsigned i = 0; i < HELD; i++)
		poison(s, HPAGE_PMD_ORDER);
	if (seeded_is_open()) { /* who gives the page up waits for us, and we for the reader */
		s->mark = READ_ONCE(s->looks);
		(void)lab_await(has_looked, s);
		end_turn(s);
	}
}

/* After the same in Linux's huge zero page: it is freed when its last user's entries are gone, not his translations. */
KTEST(cve, huge_zero_page_outlives_its_translations)
{
	static struct stage s;
	struct lab_rival reader, shrinker;
	struct thp_settings before;

	NEED_CPUS(ctx, 3);
	if (!lab_has_memory(16 * HPAGE_PMD_SIZE))
		KT_SKIP(ctx, "too little memory");
	before = lab_begin();
	s = (struct stage){.mm = lab_space(), .at = LAB_AREA};
	KT_REQUIRE(ctx, s.mm && lab_area(s.mm, LAB_AREA, HPAGE_PMD_SIZE));
	KT_EXPECT(ctx, lab_rival_go(&reader, s.mm, 1, look, &s));
	KT_EXPECT(ctx, lab_rival_go(&shrinker, s.mm, 2, shrink_and_poison, &s));
	seeded_meet(rival_is_done, &s);
	for (u32 i = 0; i < 100 && !s.wrong; i++) {
		KT_EXPECT(ctx, lab_read(s.mm, LAB_AREA, PAGE_SIZE));
		s.mark = READ_ONCE(s.looks);
		(void)lab_await(has_looked, &s); /* its CPU has the translation, most probably */
		timer_delay(i % 8 * 20 * NS_PER_US);
		s.turn = READ_ONCE(s.done) + 1;
		KT_EXPECT(ctx, advise(s.mm, LAB_AREA, HPAGE_PMD_SIZE, MADV_DONTNEED) == 0);
	}
	lab_rival_end(&reader);
	lab_rival_end(&shrinker);
	KT_EXPECT(ctx, s.wrong == 0);
	give_up_held(&s);
	lab_space_end(s.mm);
	lab_end(ctx, &before);
}

/* --- counts and tables that change under somebody's eyes -------------------------------------------------------- */

static void split_on_turn(void *arg)
{
	struct stage *s = arg;

	if (!has_turn(s))
		return;
	if (mmap_protect(s->other, s->at + 3 * PAGE_SIZE, PAGE_SIZE, PROT_READ))
		s->wrong++;
	end_turn(s);
}

static bool parent_has_written(void *arg)
{
	struct stage *s = arg;

	return *(volatile u64 *)lab_word(s->mm, LAB_AREA) == POISON;
}

/* After CVE-2020-29368: parent and child share a huge page; the child splits its entry while the parent writes. */
KTEST(cve, write_while_another_splits)
{
	static struct stage s;
	struct lab_rival rival;
	struct thp_settings before;
	struct mm *mm;
	bool kept = true;

	NEED_CPUS(ctx, 2);
	if (!lab_has_memory(16 * HPAGE_PMD_SIZE))
		KT_SKIP(ctx, "too little memory");
	before = lab_begin();
	mm = lab_space();
	s = (struct stage){.mm = mm, .at = LAB_AREA};
	KT_REQUIRE(ctx, mm && lab_area(mm, LAB_AREA, HPAGE_PMD_SIZE));
	KT_EXPECT(ctx, lab_rival_go(&rival, mm, 1, split_on_turn, &s));
	seeded_meet(parent_has_written, &s);
	for (u32 i = 0; i < 24 && kept; i++) {
		KT_EXPECT(ctx, write_word(mm, LAB_AREA, MARK) && lab_is_huge(mm, LAB_AREA));
		s.other = fork_mm(mm);
		KT_REQUIRE(ctx, s.other);
		begin_round(&s);
		if (!lab_await_window())
			timer_delay(i % 10 * 100 * NS_PER_US);
		KT_EXPECT(ctx, write_word(mm, LAB_AREA, POISON));
		KT_EXPECT(ctx, wait_for_rival(&s));
		kept = *lab_word(s.other, LAB_AREA) == MARK && *lab_word(mm, LAB_AREA) == POISON;
		lab_space_end(s.other);
		KT_EXPECT(ctx, advise(mm, LAB_AREA, HPAGE_PMD_SIZE, MADV_DONTNEED) == 0);
	}
	lab_rival_end(&rival);
	KT_EXPECT(ctx, kept && s.wrong == 0);
	lab_space_end(mm);
	lab_end(ctx, &before);
}

/* Writes into holes all over the range: each write walks the tables. */
static void write_all_over(void *arg)
{
	struct stage *s = arg;
	u64 value = MARK;

	for (u64 i = 1; i < HPAGE_PMD_NR; i += 2)
		s->wrong += !lab_look_here(LAB_WRITE, s->at + i * PAGE_SIZE, &value);
}

/* After a khugepaged that freed a table which walkers were still in: ours takes it out only when there are none. */
KTEST(cve, collapse_among_walkers)
{
	static struct stage s;
	struct lab_rival writer[2];
	struct thp_settings before;
	u32 collapsed = 0;
	bool kept = true;

	NEED_CPUS(ctx, 3);
	if (!lab_has_memory(16 * HPAGE_PMD_SIZE))
		KT_SKIP(ctx, "too little memory");
	before = lab_begin();
	s = (struct stage){.mm = lab_space(), .at = LAB_AREA};
	KT_REQUIRE(ctx, s.mm && lab_area(s.mm, LAB_AREA, HPAGE_PMD_SIZE));
	for (u32 i = 0; i < 2; i++)
		KT_EXPECT(ctx, lab_rival_go(&writer[i], s.mm, 1 + i, write_all_over, &s));
	for (u32 i = 0; i < 24 && kept; i++) {
		KT_EXPECT(ctx, write_word(s.mm, LAB_AREA, MARK));
		collapsed += advise(s.mm, LAB_AREA, HPAGE_PMD_SIZE, MADV_COLLAPSE) == 0;
		kept = *lab_word(s.mm, LAB_AREA) == MARK;
		for (u64 j = 1; j < HPAGE_PMD_NR; j += 50)
			advise(s.mm, LAB_AREA + j * PAGE_SIZE, 20 * PAGE_SIZE, MADV_DONTNEED);
	}
	for (u32 i = 0; i < 2; i++)
		lab_rival_end(&writer[i]);
	KT_EXPECT(ctx, kept && collapsed && s.wrong == 0 && lab_healthy());
	lab_space_end(s.mm);
	lab_end(ctx, &before);
}

struct first_writer {
	struct stage *s;
	u64 page;
	u32 done;
};

static void write_first(void *arg)
{
	struct first_writer *w = arg;
	u64 value = MARK;

	if (__atomic_load_n(&w->s->turn, __ATOMIC_ACQUIRE) == w->done)
		return;
	w->s->wrong += !lab_look_here(LAB_WRITE, LAB_AREA + w->page * PAGE_SIZE, &value);
	w->done++;
	__atomic_add_fetch(&w->s->done, 1, __ATOMIC_RELEASE);
}

/* For seeded_meet(): a huge page stands there, and not the huge zero page. */
static bool is_huge_by_now(void *arg)
{
	struct stage *s = arg;

	return lab_is_huge(s->mm, LAB_AREA) && !pfn_is_huge_zero(lab_pfn(s->mm, LAB_AREA));
}

/* In the first page nobody has written a word. */
static bool first_page_is_zero(struct mm *mm)
{
	for (u64 *word = lab_word(mm, LAB_AREA), i = 0; i < PAGE_SIZE / sizeof(u64); i++)
		if (word && word[i])
			return false;
	return true;
}

/*
 * Two threads write first to one 2 MiB, and one of them gets no block (debug builds): he goes on with 4 KiB, while the
 * other's huge page comes between his two looks. `zero`: both have read before, so the first look shows the huge zero page.
 */
static void two_first_writes(struct ktest_ctx *ctx, bool zero)
{
	static struct stage s;
	static struct first_writer w[2];
	struct lab_rival rival[2];
	struct thp_settings before;
	bool kept = true;

	NEED_CPUS(ctx, 3);
	if (!lab_has_memory(16 * HPAGE_PMD_SIZE))
		KT_SKIP(ctx, "too little memory");
	before = lab_begin();
	s = (struct stage){.mm = lab_space()};
	KT_REQUIRE(ctx, s.mm && lab_area(s.mm, LAB_AREA, HPAGE_PMD_SIZE));
	for (u32 i = 0; i < 2; i++) {
		w[i] = (struct first_writer){.s = &s, .page = 3 + 2 * i};
		KT_EXPECT(ctx, lab_rival_go(&rival[i], s.mm, 1 + i, write_first, &w[i]));
	}
	seeded_meet(is_huge_by_now, &s);
	for (u32 i = 0; i < 24 && kept; i++) {
		KT_EXPECT(ctx, !zero || lab_read(s.mm, LAB_AREA, PAGE_SIZE));
		buddy_inject_fail(CONFIG_INJECT, HPAGE_PMD_ORDER);
		s.done = s.turn - 1; /* two of them make it turn + 1 */
		begin_round(&s);
		KT_EXPECT(ctx, wait_for_rival(&s));
		kept = first_page_is_zero(s.mm) &&
		       *lab_word(s.mm, LAB_AREA + 3 * PAGE_SIZE) == MARK;
		KT_EXPECT(ctx, advise(s.mm, LAB_AREA, HPAGE_PMD_SIZE, MADV_DONTNEED) == 0);
		/* The table, too. */
		KT_EXPECT(ctx, mmap_unmap(s.mm, LAB_AREA, HPAGE_PMD_SIZE) == 0);
		KT_EXPECT(ctx, lab_area(s.mm, LAB_AREA, HPAGE_PMD_SIZE));
	}
	for (u32 i = 0; i < 2; i++)
		lab_rival_end(&rival[i]);
	KT_EXPECT(ctx, kept && s.wrong == 0 && s.mm->nr_anon == 0);
	lab_space_end(s.mm);
	lab_end(ctx, &before);
}

/* After CVE-2012-1179: what was a hole is huge. */
KTEST(cve, entry_becomes_huge_between_two_looks)
{
	two_first_writes(ctx, false);
}

/* The same where the huge zero page was to be split: what stands there is huge again. */
KTEST(cve, entry_is_huge_again_after_a_split)
{
	two_first_writes(ctx, true);
}

/* A first read, which no gigabyte is for, on another CPU. */
static void read_far_inside(void *arg)
{
	struct stage *s = arg;
	u64 value = MARK;

	if (!has_turn(s))
		return;
	s->wrong += !lab_look_here(LAB_READ, s->at, &value) || value;
	end_turn(s);
}

/* For seeded_meet(): the other's write has got a gigabyte. */
static bool is_there_by_now(void *arg)
{
	return __atomic_load_n(&((struct stage *)arg)->mark, __ATOMIC_ACQUIRE);
}

/*
 * After CVE-2026-31456: a walker goes below an entry of the upper level that was no leaf when it looked, and is one by now.
 * Whoever takes that for a table writes entries into somebody's data. There a discard and a fault came in between; our
 * discards keep the walkers out, so it is another thread's fault alone.
 */
KTEST(cve, gigabyte_between_two_looks)
{
	static struct stage s;
	struct lab_rival rival;
	struct thp_settings before;
	bool kept;

	NEED_CPUS(ctx, 2);
	if (!huge_pud_possible() || !huge_pud_available())
		KT_SKIP(ctx, "no pages of 1 GiB here, or no gigabyte free");
	before = lab_begin();
	thp_settings.enabled_1g = THP_ALWAYS;
	s = (struct stage){.mm = lab_space(), .at = LAB_AREA + 5 * HPAGE_PMD_SIZE};
	KT_REQUIRE(ctx, s.mm && lab_area(s.mm, LAB_AREA, HPAGE_PUD_SIZE));
	KT_EXPECT(ctx, lab_rival_go(&rival, s.mm, 1, read_far_inside, &s));
	seeded_meet(is_there_by_now, &s);
	begin_round(&s);
	(void)lab_await_window();
	KT_EXPECT(ctx, write_word(s.mm, LAB_AREA + HPAGE_PMD_SIZE, MARK));
	__atomic_store_n(&s.mark, 1, __ATOMIC_RELEASE);
	KT_EXPECT(ctx, wait_for_rival(&s));
	kept = first_page_is_zero(s.mm);
	lab_rival_end(&rival);
	KT_EXPECT(ctx, kept && s.wrong == 0);
	lab_space_end(s.mm);
	lab_end(ctx, &before);
}

/* --- areas ---------------------------------------------------------------------------------------------------------- */

#define STACK_PAGES 256

struct grower {
	struct mm *mm;
	u64 random;
	u32 denied;
};

static void grow(void *arg)
{
	struct grower *g = arg;
	u64 value = MARK;

	g->random = g->random * 6364136223846793005ul + 1442695040888963407ul;
	g->denied += !lab_look_here(LAB_WRITE,
		LAB_ELSEWHERE - ((g->random >> 33) % STACK_PAGES + 1) * PAGE_SIZE, &value);
}

/* After CVE-2023-3269: a stack grows down, by faults of two threads, while a third one takes its lower half away. */
KTEST(cve, stacks_grow_among_unmaps)
{
	static struct grower g[2];
	struct lab_rival rival[2];
	struct thp_settings before;
	struct mm *mm;

	NEED_CPUS(ctx, 3);
	before = lab_begin();
	mm = lab_space();
	KT_REQUIRE(ctx, mm && mmap_map_named(mm, LAB_ELSEWHERE - PAGE_SIZE, PAGE_SIZE, RW,
				      VM_STACK | VM_GROWSDOWN, "[stack]") == 0);
	for (u32 i = 0; i < 2; i++) {
		g[i] = (struct grower){.mm = mm, .random = i};
		KT_EXPECT(ctx, lab_rival_go(&rival[i], mm, 1 + i, grow, &g[i]));
	}
	for (u32 i = 0; i < 200; i++) {
		u64 half = STACK_PAGES / 2 * PAGE_SIZE;

		KT_EXPECT(ctx, mmap_unmap(mm, LAB_ELSEWHERE - 2 * half, half) == 0);
		timer_delay(i % 8 * 50 * NS_PER_US);
	}
	for (u32 i = 0; i < 2; i++)
		lab_rival_end(&rival[i]);
	KT_EXPECT(ctx, g[0].denied + g[1].denied == 0 && lab_healthy());
	lab_space_end(mm);
	lab_end(ctx, &before);
}
