/*
 * khugepaged.c - the thread that promotes                                    floor 6, below: mm/collapse, mm/thp
 *
 * Walks the spaces on thp.c's list, 2 MiB at a time, a few thousand pages per waking, and has collapse.c do what is
 * worth doing. It decides *when* and *where next*; whether a range is worth it is collapse_scan()'s answer.
 *
 * IDEA      cursor = (space, address)
 *
 *             list:  space 3 --> space 7 --> space 9          one turn: at most pages_to_scan entries
 *                                  ^ 0x7f..a00000             then sleep scan_sleep_millisecs
 *                                                             past the last space: full_scans + 1, start over
 *
 *           A range that is collapsed costs the turn 512 pages like any other. When no block of order 9 is left the
 *           thread sleeps alloc_sleep_millisecs instead: trying again at once would find none either.
 *
 * INVARIANTS (asserted)
 *   K1  the thread holds a reference on the cursor's space while it stands there, and no lock while it sleeps
 *   K2  the address only grows while the cursor stands in one space
 *
 * LOCKS     mm->lock (read, by trylock: the thread does not queue behind a busy space), inside it collapse.c's
 * LINUX     mm/khugepaged.c: khugepaged, khugepaged_do_scan, khugepaged_scan_mm_slot       docs/mm/khugepaged.md
 */
#include "mutex.h"
#include "printk.h"
#include "mm/collapse.h"
#include "mm/zone.h"
#include "mm/thp.h"
#include "mm/vma.h"
#include "sched.h"
#include "x86/timer.h"
#include "khugepaged.h"

#define NS_PER_MS 1000000ul

struct khugepaged_stats khugepaged_stats;

/* Where the thread is. Its own; others read khugepaged_stats. */
static struct {
	struct mm *mm;   /* with a reference; NULL: before the first space */
	vaddr_t address; /* next address to look at in mm */
	bool out_of_blocks;
} cursor;

/* Requests for a full pass: asked counts up; done follows it when a pass that began after the request is over. */
static u64 passes_asked, passes_done;
static struct waitq pass_done;
static bool settings_changed;

static bool enabled(void)
{
	return thp_size_enabled(HPAGE_PMD_ORDER) != THP_NEVER;
}

static bool pass_asked(void)
{
	return READ_ONCE(passes_asked) != READ_ONCE(passes_done);
}

/* --- one space --- */

static void leave_space(void)
{
	if (cursor.mm)
		mm_put(cursor.mm);
	cursor.mm = NULL;
	cursor.address = 0;
	khugepaged_stats.mm_id = 0;
	khugepaged_stats.address = 0;
}

/* Move on to the next space. False: the list is through. */
static bool next_space(void)
{
	leave_space();
	cursor.mm = thp_next_mm();
	if (!cursor.mm) {
		khugepaged_stats.full_scans++;
		return false;
	}
	khugepaged_stats.mm_id = cursor.mm->id;
	return true;
}

/* Collapse the range the scan liked. No lock held. */
static void promote(vaddr_t haddr, const struct collapse_limits *limits)
{
	enum collapse_result r = collapse_range(cursor.mm, haddr, limits);

	if (r == COLLAPSE_SUCCEED)
		khugepaged_stats.pages_collapsed++;
	else if (r == COLLAPSE_ALLOC_HUGE_PAGE_FAIL)
		cursor.out_of_blocks = true;
}

/*
 * Find the next range of the cursor's space that should be collapsed. A range costs *budget 512 pages, an area that
 * is not looked into one; the budget is asked behind a range, so that the smallest turn looks at one, as on Linux.
 *   locks    mm->lock held for reading
 *   returns  its address, or 0: the budget or the space is used up (then the address is past the last area)
 */
static vaddr_t find_candidate(struct mm *mm, s64 *budget, const struct collapse_limits *limits)
{
	struct vma *v = vma_find_from(mm, cursor.address);

	for (; v; v = vma_next(v)) {
		vaddr_t a = ALIGN_UP(MAX(v->start, cursor.address), HPAGE_PMD_SIZE);

		if (thp_vma_reason(v) != THP_OK) {
			(*budget)--;
			cursor.address = v->end;
			continue;
		}
		for (; a + HPAGE_PMD_SIZE <= v->end; a += HPAGE_PMD_SIZE) {
			enum collapse_result r;

			r = collapse_scan(mm, v, a, limits);
			cursor.address = khugepaged_stats.address = a + HPAGE_PMD_SIZE;
			khugepaged_stats.nr_scanned_ptes += HPAGE_PMD_NR;
			*budget -= HPAGE_PMD_NR;
			if (r == COLLAPSE_SUCCEED)
				return a;
			if (*budget <= 0)
				return 0;
		}
		cursor.address = v->end;
	}
	cursor.address = ~0ul;
	return 0;
}

/*
 * The cursor's lock. The usual turn does not queue behind a busy space: next time round. A pass that
 * somebody waits for does.
 */
static bool lock_space(struct mm *mm, bool patient)
{
	if (!patient)
		return rwsem_read_trylock(&mm->lock);
	rwsem_read_lock(&mm->lock);
	return true;
}

/* Look through the cursor's space until it or the budget is used up. True: through with it. */
static bool scan_space(s64 *budget, const struct collapse_limits *limits, bool patient)
{
	struct mm *mm = cursor.mm;
	vaddr_t haddr = 0;

	do {
		if (!lock_space(mm, patient))
			return true;
		(*budget)--; /* for the space, each time it is locked */
		if (mm->exiting)
			cursor.address = ~0ul;
		else
			haddr = find_candidate(mm, budget, limits);
		rwsem_read_unlock(&mm->lock);
		if (cursor.address != ~0ul && haddr)
			promote(haddr, limits);
		preempt_point();
	} while (haddr && cursor.address != ~0ul && *budget > 0 && !cursor.out_of_blocks);
	return cursor.address == ~0ul;
}

/* --- one turn --- */

static struct collapse_limits current_limits(void)
{
	return (struct collapse_limits){
		.max_none = thp_settings.max_ptes_none,
		.max_swap = thp_settings.max_ptes_swap,
		.max_shared = thp_settings.max_ptes_shared,
	};
}

/* One waking: spend pages_to_scan, but start the list over only once. Linux: khugepaged_do_scan */
static void scan_turn(s64 budget)
{
	struct collapse_limits limits = current_limits();
	int starts = 0;

	cursor.out_of_blocks = false;
	while (budget > 0 && !cursor.out_of_blocks && thp_nr_listed()) {
		if (!cursor.mm && (++starts == 2 || !next_space()))
			break;
		if (scan_space(&budget, &limits, false))
			next_space();
	}
}

/* Everything once, from the first space: what khugepaged_scan_now() asked for. */
static void scan_pass(void)
{
	u64 asked = READ_ONCE(passes_asked);
	struct collapse_limits limits = current_limits();
	s64 budget;

	while (cursor.mm)
		next_space(); /* to the end of the list, so that the pass begins at its start */
	while (next_space()) {
		cursor.out_of_blocks = false;
		do
			budget = 1l << 40;
		while (!scan_space(&budget, &limits, true) && !cursor.out_of_blocks);
	}
	WRITE_ONCE(passes_done, asked);
	waitq_wake_all(&pass_done);
}

/* --- the thread --- */

static bool has_work(void)
{
	return thp_nr_listed() && enabled();
}

/* Sleep until something is to be done: a setting, a request, the first space, or the time. */
static void wait_for_work(void)
{
	u32 ms = cursor.out_of_blocks ? thp_settings.alloc_sleep_millisecs
				      : thp_settings.scan_sleep_millisecs;

	if (has_work())
		waitq_wait_until(&thp_wait, READ_ONCE(settings_changed) || pass_asked(),
			time_ns() + ms * NS_PER_MS, "khugepaged");
	else
		waitq_wait(&thp_wait, has_work() || pass_asked(), "khugepaged: no space");
	WRITE_ONCE(settings_changed, false);
	khugepaged_stats.nr_wakeups++;
	khugepaged_stats.nr_alloc_sleeps += cursor.out_of_blocks;
}

static void khugepaged(void *arg)
{
	(void)arg;
	for (;;) {
		if (pass_asked())
			scan_pass();
		else if (has_work())
			scan_turn(thp_settings.pages_to_scan);
		if (!pass_asked())
			wait_for_work();
	}
}

/*
 * khugepaged_init - start the thread, and keep whole blocks free for it. Linux: start_stop_khugepaged
 */
void khugepaged_init(void)
{
	struct thread *t;

	waitq_init(&pass_done, "khugepaged pass");
	t = thread_create("khugepaged", khugepaged, NULL, NULL, NULL);
	ASSERT_RULE("boot", t, "no memory for khugepaged's thread");
	zone_recommend_min_free(enabled());
	sched_start(t);
}

/*
 * khugepaged_wake - a setting changed: keep more memory free or less, end the sleep and look again. Any thread.
 */
void khugepaged_wake(void)
{
	WRITE_ONCE(settings_changed, true);
	zone_recommend_min_free(enabled());
	waitq_wake_all(&thp_wait);
}

/*
 * khugepaged_scan_now - one full pass over every listed space, by the thread itself; returns when it is over.
 *   locks    none held; sleeps
 *   note     also with enabled=never, where every area is refused by name
 */
void khugepaged_scan_now(void)
{
	u64 mine = __atomic_add_fetch(&passes_asked, 1, __ATOMIC_SEQ_CST);

	waitq_wake_all(&thp_wait);
	waitq_wait(&pass_done, (s64)(READ_ONCE(passes_done) - mine) >= 0, "khugepaged pass");
}
