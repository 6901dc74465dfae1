/*
 * report.c - the texts of /proc and /sys: reading in pieces, writing, listing            self-tests
 */
#include "report.h"
#include "ktest.h"
#include "lib/string.h"
#include "mm/buddy.h"
#include "mm/page.h"
#include "mm/thp.h"
#include "mm/zero.h"
#include "printk.h"
#include <abi/errno.h>

#define THP "/sys/kernel/mm/transparent_hugepage/"

/* A text in memory; what does not fit is counted. */
struct text {
	char s[8192];
	usize used;
};

static void text_put(void *ctx, const char *s, usize len)
{
	struct text *t = ctx;

	for (; len; len--, s++, t->used++)
		if (t->used < sizeof(t->s) - 1)
			t->s[t->used] = *s;
	t->s[MIN(t->used, sizeof(t->s) - 1)] = '\0';
}

static struct text whole, pieces; /* too large for a stack */

static int show(struct text *t, const char *path)
{
	struct report_out out = {.put = text_put, .ctx = t};

	t->used = 0;
	t->s[0] = '\0';
	return report_show(path, NULL, false, &out);
}

/* A file that does not move: in pieces of every small size it reads as in one. */
KTEST(report, pieces_make_the_whole)
{
	char buf[80];

	KT_REQUIRE(ctx, show(&whole, "/proc/version") == 0);
	for (usize size = 1; size < sizeof(buf); size++) {
		struct report_file f;
		u64 pos = 0;
		s64 n;

		KT_REQUIRE(ctx, report_open("/proc/version", NULL, false, &f) == 0);
		pieces.used = 0;
		while ((n = report_read(&f, buf, size, pos)) > 0) {
			text_put(&pieces, buf, (usize)n);
			pos += (u64)n;
		}
		KT_EXPECT(ctx, n == 0);
		KT_EXPECT(ctx, !strcmp(whole.s, pieces.s));
		report_close(&f);
	}
}

/* Back to the start, and far beyond the end. */
KTEST(report, positions)
{
	struct report_file f;
	char a[16], b[16];

	KT_REQUIRE(ctx, report_open(THP "enabled", NULL, false, &f) == 0);
	KT_EXPECT(ctx, report_read(&f, a, sizeof(a), 0) == sizeof(a));
	KT_EXPECT(ctx, report_read(&f, b, 4, 8) == 4);
	KT_EXPECT(ctx, !memcmp(a + 8, b, 4));
	KT_EXPECT(ctx, report_read(&f, b, sizeof(b), 0) == sizeof(b));
	KT_EXPECT(ctx, !memcmp(a, b, sizeof(a)));
	KT_EXPECT(ctx, report_read(&f, b, sizeof(b), 1ul << 40) == 0);
	report_close(&f);
}

/* What can only be written is opened by those whom its mode does not bind, and refuses to be read. */
KTEST(report, only_written)
{
	struct report_file f;
	char a[16];

	KT_REQUIRE(ctx, report_open("/sys/kernel/debug/split_huge_pages", NULL, false, &f) == 0);
	KT_EXPECT(ctx, report_read(&f, a, sizeof(a), 0) == -EINVAL);
	report_close(&f);
	KT_EXPECT(ctx, show(&whole, "/sys/kernel/debug/split_huge_pages") == -EINVAL);
}

KTEST(report, paths)
{
	struct report_file f;

	KT_EXPECT(ctx, report_open("/proc/nothing", NULL, false, &f) == -ENOENT);
	KT_EXPECT(ctx, report_open("proc/vmstat", NULL, false, &f) == -ENOENT);
	KT_EXPECT(ctx, report_open("", NULL, false, &f) == -ENOENT);
	KT_EXPECT(ctx, report_open("/proc", NULL, false, &f) == -EISDIR);
	KT_EXPECT(ctx, report_open("/sys/kernel/mm", NULL, false, &f) == -EISDIR);
	KT_EXPECT(ctx, report_open("/proc/self/smaps", NULL, false, &f) == -ENOENT);
	KT_EXPECT(ctx, report_open("/proc/99999/smaps", NULL, false, &f) == -ENOENT);
	KT_EXPECT(ctx, report_open("/proc/99999999999999999999/smaps", NULL, false, &f) == -ENOENT);
	KT_EXPECT(ctx, report_open("/proc/vmstat", NULL, true, &f) == -EACCES);
	KT_EXPECT(ctx, report_open("/proc/sys/vm/swappiness", NULL, true, &f) == -ENOENT);
	KT_REQUIRE(ctx, report_open("//proc///vmstat/", NULL, false, &f) == 0);
	report_close(&f);
}

/* Linux's answers; what is refused changes nothing. */
KTEST(report, settings)
{
	struct thp_settings saved = thp_settings;

	KT_EXPECT(ctx, report_set(THP "enabled", "madvise") == 0);
	KT_EXPECT(ctx, thp_settings.enabled == THP_MADVISE);
	KT_EXPECT(ctx, show(&whole, THP "enabled") == 0);
	KT_EXPECT(ctx, !strcmp(whole.s, "always [madvise] never\n"));
	KT_EXPECT(ctx, report_set(THP "enabled", "maybe") == -EINVAL);
	KT_EXPECT(ctx, report_set(THP "enabled", "") == -EINVAL);
	KT_EXPECT(ctx, report_set(THP "enabled", " always") == -EINVAL);
	KT_EXPECT(ctx, thp_settings.enabled == THP_MADVISE);
	KT_EXPECT(ctx, report_set(THP "defrag", "defer+madvise\n") == 0);
	KT_EXPECT(ctx, thp_settings.defrag == DEFRAG_DEFER_MADVISE);
	KT_EXPECT(ctx, report_set(THP "use_zero_page", "2") == -EINVAL);
	KT_EXPECT(ctx, report_set(THP "khugepaged/max_ptes_none", "512") == -EINVAL);
	KT_EXPECT(ctx, report_set(THP "khugepaged/max_ptes_none", "-1") == -EINVAL);
	KT_EXPECT(ctx, report_set(THP "khugepaged/max_ptes_none", "0x10") == -EINVAL);
	KT_EXPECT(ctx, report_set(THP "khugepaged/max_ptes_none", "++1") == -EINVAL);
	KT_EXPECT(ctx, report_set(THP "khugepaged/max_ptes_none", "+0") == 0);
	KT_EXPECT(ctx, thp_settings.max_ptes_none == 0);
	KT_EXPECT(ctx, report_set(THP "khugepaged/pages_to_scan", "0") == -EINVAL);
	KT_EXPECT(ctx, report_set(THP "khugepaged/pages_to_scan", "4294967296") == -EINVAL);
	KT_EXPECT(ctx, report_set(THP "khugepaged/full_scans", "0") == -EACCES);
	KT_EXPECT(ctx, report_set(THP "hpage_pmd_size", "0") == -EACCES);
	KT_EXPECT(ctx, report_set("/proc/sys/vm/drop_caches", "5") == -EINVAL);
	thp_settings = saved;
}

/* Words and numbers that no file takes: each file refuses each of them and says afterwards what it said before. */
KTEST(report, what_is_refused_changes_nothing)
{
	static const char *const files[] = {THP "cow", THP "defrag", THP "enabled",
		THP "enabled_1g", THP "khugepaged/alloc_sleep_millisecs", THP "khugepaged/defrag",
		THP "khugepaged/max_ptes_none", THP "khugepaged/max_ptes_shared",
		THP "khugepaged/max_ptes_swap", THP "khugepaged/pages_to_scan",
		THP "khugepaged/scan_sleep_millisecs", THP "prezero", THP "prezero_pool",
		THP "shmem_enabled", THP "shrink_underused", THP "use_zero_page",
		THP "hugepages-16kB/enabled", THP "hugepages-1024kB/enabled",
		THP "hugepages-2048kB/enabled", "/proc/sys/kernel/numa_balancing",
		"/proc/sys/vm/compact_memory", "/proc/sys/vm/compact_unevictable_allowed",
		"/proc/sys/vm/compaction_proactiveness", "/proc/sys/vm/drop_caches",
		"/proc/sys/vm/extfrag_threshold", "/proc/sys/vm/min_free_kbytes",
		"/sys/kernel/debug/sched/numa_balancing/scan_period_min_ms",
		"/sys/kernel/debug/sched/numa_balancing/scan_size_mb"};
	static const char *const words[] = {"", "\n", "nonsense", "Always", "always never",
		"[never]", "-1", "++1", "1 1", "1x", "0x1", "1.0", "4294967296",
		"18446744073709551617",
		"1111111111111111111111111111111111111111111111111111111111111111"};

	for (usize i = 0; i < ARRAY_SIZE(files); i++) {
		KT_REQUIRE(ctx, show(&whole, files[i]) == 0);
		for (usize w = 0; w < ARRAY_SIZE(words); w++) {
			bool refused = report_set(files[i], words[w]) == -EINVAL;

			if (!refused)
				printk("%s takes \"%s\"", files[i], words[w]);
			KT_EXPECT(ctx, refused);
		}
		KT_EXPECT(ctx, show(&pieces, files[i]) == 0 && !strcmp(whole.s, pieces.s));
	}
}

static void count_name(void *ctx, const char *name, bool folder, u16 mode)
{
	struct text *t = ctx;

	text_put(t, name, strlen(name));
	text_put(t, folder ? "/ " : " ", folder ? 2 : 1);
}

/* Every name once, folders marked. */
KTEST(report, listing)
{
	whole.used = 0;
	KT_EXPECT(ctx,
		report_list("/sys/kernel/mm/transparent_hugepage", NULL, count_name, &whole) == 0);
	KT_EXPECT(ctx, strstr(whole.s, "cow defrag enabled ") == whole.s);
	KT_EXPECT(ctx, strstr(whole.s, " hpage_pmd_size khugepaged/ "));
	KT_EXPECT(ctx, strstr(whole.s, " shrink_underused use_zero_page hugepages-1024kB/ "
				       "hugepages-128kB/ hugepages-16kB/ hugepages-2048kB/ "
				       "hugepages-256kB/ hugepages-32kB/ hugepages-512kB/ "
				       "hugepages-64kB/ "));
	whole.used = 0;
	KT_EXPECT(ctx, report_list("/", NULL, count_name, &whole) == 0);
	KT_EXPECT(ctx, !strcmp(whole.s, "proc/ sys/ "));
	KT_EXPECT(ctx, report_list("/proc/vmstat", NULL, count_name, &whole) == -ENOTDIR);
	KT_EXPECT(ctx, report_list("/nowhere", NULL, count_name, &whole) == -ENOENT);
}

/* zoneinfo says how long the per-CPU lists are now, not how long they are on a large machine. */
KTEST(report, live_lists)
{
	u32 batch = pcp_batch, high = pcp_high;

	buddy_set_pcp(7, 77);
	KT_EXPECT(ctx, show(&whole, "/proc/zoneinfo") == 0);
	buddy_set_pcp(batch, high);
	KT_EXPECT(ctx, strstr(whole.s, "high:  77\n") && strstr(whole.s, "batch: 7\n"));
}

/* Linux's bits for frames whose kind is known. */
KTEST(report, frame_flags)
{
	struct page *p = buddy_alloc(0, MIGRATE_UNMOVABLE, PAGE_TABLE, 0);

	KT_REQUIRE(ctx, p);
	KT_EXPECT(ctx, report_page_flags(page_to_pfn(p)) == 1ul << 26);
	KT_EXPECT(ctx, report_page_count(page_to_pfn(p)) == 0);
	buddy_free(p);
	KT_EXPECT(ctx, report_page_flags(page_to_pfn(p)) == 1ul << 10);
	KT_EXPECT(ctx, report_page_flags(zero_pfn) == 1ul << 24);
	KT_EXPECT(ctx, report_page_flags(page_max_pfn) == 1ul << 20);
	KT_EXPECT(ctx, report_page_flags(0) == 1ul << 32);
}
