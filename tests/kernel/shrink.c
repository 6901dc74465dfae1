/*
 * shrink.c - what is given back while somebody writes to it; sizes and requests by their files          self-tests
 *
 * The races: a page that MADV_FREE left is dropped, or a page of zeroes replaced, while another CPU writes to it. The
 * writer keeps count of what it wrote; a write that is lost shows as a smaller number.
 */
#include "lab.h"
#include "lib/string.h"
#include "mm/buddy.h"
#include "mm/mmap.h"
#include "mm/pgtable.h"
#include "mm/reclaim.h"
#include "mm/run.h"
#include "mm/thp_shrink.h"
#include "mm/uaccess.h"
#include <abi/advice.h>
#include "report.h"
#include "sched.h"
#include "task.h"
#include "vmstat.h"
#include <abi/errno.h>

#define THP   "/sys/kernel/mm/transparent_hugepage/"
#define SPLIT "/sys/kernel/debug/split_huge_pages"
#define PAGES 64u

/* --- a writer and a shrinker --------------------------------------------------------------------- */

struct writer {
	struct lab_thread thread;
	bool lazy; /* MADV_FREE goes on meanwhile: a page may be zero again, never older */
	volatile bool stop;
	u64 writes, lost;
	u32 wrote[PAGES];
};

/* One page: what stands there is what was written last, or (lazy) nothing. Then the next number. */
static void write_next(struct writer *w, u32 page)
{
	u32 __user *at = (u32 __user *)(LAB_AREA + page * (u64)PAGE_SIZE);
	u32 is = 0;

	if (get_user_u32(&is, at) || (is != w->wrote[page] && !(w->lazy && is == 0)))
		w->lost++;
	w->wrote[page]++;
	if (put_user_u32(at, w->wrote[page]))
		w->lost++;
	/* Written and not given up since: it must be there. */
	if (!w->lazy && (get_user_u32(&is, at) || is != w->wrote[page]))
		w->lost++;
	w->writes++;
}

static void writer_thread(void *arg)
{
	struct writer *w = arg;

	for (u32 i = 0; !w->stop; i = (i + 7) % PAGES) {
		write_next(w, i);
		preempt_point();
	}
}

static int advise(struct mm *mm, int advice)
{
	u64 faults = 0;

	return mmap_advise(mm, LAB_AREA, PAGES * PAGE_SIZE, advice, &faults);
}

/* Rounds of `act` on this CPU while the writer writes on another. */
static void race(struct ktest_ctx *ctx, bool huge, bool lazy, void (*act)(struct mm *mm))
{
	static struct writer w;
	struct thp_settings before = lab_begin();
	struct mm *mm = lab_space();

	thp_settings.enabled = huge ? THP_ALWAYS : THP_NEVER;
	thp_settings.max_ptes_none = 0;
	memset(&w, 0, sizeof(w));
	w.lazy = lazy;
	KT_EXPECT(ctx, mm && lab_area(mm, LAB_AREA, HPAGE_PMD_SIZE));
	KT_EXPECT(ctx, lab_start(&w.thread, mm, nr_cpus - 1, writer_thread, &w));
	while (!READ_ONCE(w.writes))
		sched_yield();
	for (u32 round = 0; round < 200; round++) {
		act(mm);
		sched_yield();
	}
	w.stop = true;
	KT_EXPECT(ctx, lab_join(&w.thread) == 0);
	KT_EXPECT(ctx, w.lost == 0);
	KT_EXPECT(ctx, w.writes > 0);
	lab_space_end(mm);
	lab_end(ctx, &before);
}

static void free_and_reclaim(struct mm *mm)
{
	(void)advise(mm, MADV_FREE);
	reclaim_run();
}

/* The huge page is made anew each time, mostly zeroes, and split under the writer's hands. */
static void collapse_and_shrink(struct mm *mm)
{
	u64 faults = 0;

	(void)mmap_advise(mm, LAB_AREA, HPAGE_PMD_SIZE, MADV_COLLAPSE, &faults);
	reclaim_shrink();
}

KTEST(shrink, lazily_free_while_written)
{
	u64 before = vmstat_read(VM_pglazyfreed);

	race(ctx, false, true, free_and_reclaim);
	KT_EXPECT(ctx, vmstat_read(VM_pglazyfreed) > before);
}

KTEST(shrink, lazily_free_huge_while_written)
{
	race(ctx, true, true, free_and_reclaim);
}

KTEST(shrink, underused_while_written)
{
	u64 before = vmstat_read(VM_thp_underused_split_page);

	race(ctx, true, false, collapse_and_shrink);
	KT_EXPECT(ctx, vmstat_read(VM_thp_underused_split_page) > before);
}

/* --- files -------------------------------------------------------------------------------------------- */

static char text[64];

static void text_put(void *ctx, const char *s, usize len)
{
	usize *used = ctx;

	for (; len && *used < sizeof(text) - 1; len--)
		text[(*used)++] = *s++;
	text[*used] = '\0';
}

static bool shows(const char *path, const char *want)
{
	usize used = 0;
	struct report_out out = {.put = text_put, .ctx = &used};

	text[0] = '\0';
	return report_show(path, NULL, false, &out) == 0 && !strcmp(text, want);
}

KTEST(shrink, sizes_by_their_files)
{
	struct thp_settings before = thp_settings;

	KT_EXPECT(ctx, shows(THP "hugepages-2048kB/enabled", "always [inherit] madvise never\n"));
	KT_EXPECT(ctx, shows(THP "hugepages-64kB/enabled", "always inherit madvise [never]\n"));
	KT_EXPECT(ctx, report_set(THP "hugepages-64kB/enabled", "sometimes") == -EINVAL);
	KT_EXPECT(ctx, report_set(THP "hugepages-8kB/enabled", "always") == -ENOENT);
	KT_EXPECT(ctx, report_set(THP "hugepages-64kB/stats/split", "0") == -EACCES);
	KT_EXPECT(ctx, thp_settings.run_orders == before.run_orders);
	KT_EXPECT(ctx, report_set(THP "hugepages-64kB/enabled", "always") == 0);
	KT_EXPECT(ctx, thp_settings.run_orders == 1u << 4);
	KT_EXPECT(ctx, report_set(THP "hugepages-1024kB/enabled", "inherit") == 0);
	KT_EXPECT(ctx, thp_settings.run_orders == (1u << 4 | 1u << 8));
	KT_EXPECT(ctx, report_set(THP "shrink_underused", "2") == -EINVAL);
	thp_settings = before;
}

KTEST(shrink, runs_are_counted)
{
	u64 allocs = run_stats[4].anon_fault_alloc;
	struct thp_settings before = lab_begin();
	struct mm *mm = lab_space();

	thp_settings.enabled = THP_NEVER;
	run_set_size(4, SIZE_ALWAYS);
	KT_EXPECT(ctx, lab_area(mm, LAB_AREA, HPAGE_PMD_SIZE));
	KT_EXPECT(ctx, lab_fill(mm, LAB_AREA, HPAGE_PMD_SIZE));
	KT_EXPECT(ctx, mm_rss(mm) == HPAGE_PMD_NR);
	KT_EXPECT(ctx, run_stats[4].anon_fault_alloc == allocs + 32);
	lab_space_end(mm);
	lab_end(ctx, &before);
}

/* Linux's errors; nothing is split by a request that is none. */
KTEST(shrink, requests_to_split)
{
	struct thp_settings before = lab_begin();
	struct mm *mm = lab_space();

	KT_EXPECT(ctx, lab_area(mm, LAB_AREA, HPAGE_PMD_SIZE));
	KT_EXPECT(ctx, lab_fill(mm, LAB_AREA, PAGE_SIZE));
	KT_EXPECT(ctx, report_set(SPLIT, "") == -EINVAL);
	KT_EXPECT(ctx, report_set(SPLIT, "2") == -EINVAL);
	KT_EXPECT(ctx, report_set(SPLIT, "7,4096,8192") == -EINVAL); /* addresses are 0x... */
	KT_EXPECT(ctx, report_set(SPLIT, "1,0x1000") == -EINVAL);
	KT_EXPECT(ctx, report_set(SPLIT, "99999999,0x1000,0x2000") == -ESRCH);
	KT_EXPECT(ctx, lab_is_huge(mm, LAB_AREA));
	KT_EXPECT(ctx, report_set(SPLIT, "1") == 0);
	KT_EXPECT(ctx, !lab_is_huge(mm, LAB_AREA) && lab_pfn(mm, LAB_AREA));
	KT_EXPECT(ctx, mm_rss(mm) == HPAGE_PMD_NR);
	lab_space_end(mm);
	lab_end(ctx, &before);
}
