/*
 * report_thp.c - /sys/kernel/mm/transparent_hugepage: settings as Linux writes and reads them   floor 7
 *
 * Parsing and range checks only; thp.c and khugepaged.c read the settings. A value that is not one
 * leaves everything as it was.
 *
 * LINUX     mm/huge_memory.c and mm/khugepaged.c, the *_show and *_store functions. `cow` is ours: copy
 *           (Linux 4.11) or split (5.8 to 6.12).
 */
#include "report_nodes.h"
#include "khugepaged.h"
#include "lib/string.h"
#include "mm/gigapage.h"
#include "mm/huge_pud.h"
#include "mm/thp.h"
#include "prezerod.h"
#include <abi/errno.h>

#define DIR "/sys/kernel/mm/transparent_hugepage/"

/* "always [madvise] never": every word, the chosen one in brackets. */
static void show_choice(
	struct report_out *out, const char *const *words, unsigned count, unsigned chosen)
{
	for (unsigned i = 0; i < count; i++)
		report_printf(out, i == chosen ? "%s[%s]" : "%s%s", i ? " " : "", words[i]);
	report_puts(out, "\n");
}

static int find_choice(const char *text, const char *const *words, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (!strcmp(text, words[i]))
			return (int)i;
	return -EINVAL;
}

static const char *const enabled_words[] = {"always", "madvise", "never"};
static const char *const defrag_words[] = {"always", "defer", "defer+madvise", "madvise", "never"};
static const char *const cow_words[] = {"copy", "split"};
static const char *const shmem_words[] = {
	"always", "within_size", "advise", "never", "deny", "force"};
#define PREZERO_POOL_MAX 4096 /* 8 GiB */
#define SHMEM_NEVER      3    /* there is no shared memory with huge pages */

static bool show_enabled(struct report_out *out, struct task *task, u64 *cursor)
{
	if (!report_once(cursor))
		return false;
	show_choice(out, enabled_words, ARRAY_SIZE(enabled_words), thp_settings.enabled);
	return true;
}

static int store_enabled(struct task *task, const char *text)
{
	int choice = find_choice(text, enabled_words, ARRAY_SIZE(enabled_words));
	bool was_never;

	if (choice < 0)
		return choice;
	was_never = thp_size_enabled(HPAGE_PMD_ORDER) == THP_NEVER;
	WRITE_ONCE(thp_settings.enabled, (enum thp_enabled)choice);
	if (was_never || choice == THP_NEVER)
		khugepaged_wake(); /* Linux stops or starts the thread; else it sleeps on */
	return 0;
}

static bool show_defrag(struct report_out *out, struct task *task, u64 *cursor)
{
	if (!report_once(cursor))
		return false;
	show_choice(out, defrag_words, ARRAY_SIZE(defrag_words), thp_settings.defrag);
	return true;
}

static int store_defrag(struct task *task, const char *text)
{
	int choice = find_choice(text, defrag_words, ARRAY_SIZE(defrag_words));

	if (choice < 0)
		return choice;
	WRITE_ONCE(thp_settings.defrag, (enum thp_defrag)choice);
	return 0;
}

static bool show_cow(struct report_out *out, struct task *task, u64 *cursor)
{
	if (!report_once(cursor))
		return false;
	show_choice(out, cow_words, ARRAY_SIZE(cow_words), thp_settings.cow);
	return true;
}

static int store_cow(struct task *task, const char *text)
{
	int choice = find_choice(text, cow_words, ARRAY_SIZE(cow_words));

	if (choice < 0)
		return choice;
	WRITE_ONCE(thp_settings.cow, (enum thp_cow)choice);
	return 0;
}

/* Remembered for programs that save and restore it; shared memory is huge only where its pager supplies it so. */
static u32 shmem_choice = SHMEM_NEVER;

static bool show_shmem(struct report_out *out, struct task *task, u64 *cursor)
{
	if (!report_once(cursor))
		return false;
	show_choice(out, shmem_words, ARRAY_SIZE(shmem_words), READ_ONCE(shmem_choice));
	return true;
}

static int store_shmem(struct task *task, const char *text)
{
	int choice = find_choice(text, shmem_words, ARRAY_SIZE(shmem_words));

	if (choice < 0)
		return choice;
	WRITE_ONCE(shmem_choice, (u32)choice);
	return 0;
}

static bool show_pmd_size(struct report_out *out, struct task *task, u64 *cursor)
{
	if (!report_once(cursor))
		return false;
	report_printf(out, "%lu\n", HPAGE_PMD_SIZE);
	return true;
}

/* A file that shows one number, and one that also takes a number between min and max. */
#define NUMBER_FILE(name, value)                                                                   \
	static bool show_##name(struct report_out *out, struct task *task, u64 *cursor)            \
	{                                                                                          \
		if (!report_once(cursor))                                                          \
			return false;                                                              \
		report_printf(out, "%lu\n", (u64)(value));                                         \
		return true;                                                                       \
	}

#define SETTING_FILE(name, field, min, max, wake)                                                  \
	NUMBER_FILE(name, thp_settings.field)                                                      \
	static int store_##name(struct task *task, const char *text)                               \
	{                                                                                          \
		u64 number;                                                                        \
                                                                                                   \
		if (report_number(text, min, max, &number))                                        \
			return -EINVAL;                                                            \
		WRITE_ONCE(thp_settings.field, (__typeof__(thp_settings.field))number);            \
		if (wake)                                                                          \
			khugepaged_wake();                                                         \
		return 0;                                                                          \
	}

/* As `enabled`, for 1 GiB; where the CPU has none, never is the only word there is. */
static bool show_enabled_1g(struct report_out *out, struct task *task, u64 *cursor)
{
	if (!report_once(cursor))
		return false;
	if (huge_pud_possible())
		show_choice(out, enabled_words, ARRAY_SIZE(enabled_words), thp_settings.enabled_1g);
	else
		report_puts(out, "[never] (this CPU has no pages of 1 GiB)\n");
	return true;
}

static int store_enabled_1g(struct task *task, const char *text)
{
	int choice = find_choice(text, enabled_words, ARRAY_SIZE(enabled_words));

	if (choice < 0)
		return choice;
	if (choice != THP_NEVER && !huge_pud_possible())
		return -EOPNOTSUPP;
	WRITE_ONCE(thp_settings.enabled_1g, (enum thp_enabled)choice);
	huge_pud_forget_failures();
	return 0;
}

/* Idle CPUs clear huge pages in advance: whether, and how many they keep. */
static int store_prezero(struct task *task, const char *text)
{
	u64 number;

	if (report_number(text, 0, 1, &number))
		return -EINVAL;
	WRITE_ONCE(thp_settings.prezero, number != 0);
	prezerod_update();
	return 0;
}

static int store_prezero_pool(struct task *task, const char *text)
{
	u64 number;

	if (report_number(text, 1, PREZERO_POOL_MAX, &number))
		return -EINVAL;
	WRITE_ONCE(thp_settings.prezero_pool, (u32)number);
	prezerod_update();
	return 0;
}

NUMBER_FILE(reserved_1g, gigapage_reserved())
NUMBER_FILE(prezero, thp_settings.prezero)
NUMBER_FILE(prezero_pool, thp_settings.prezero_pool)
SETTING_FILE(use_zero_page, use_zero_page, 0, 1, false)
SETTING_FILE(shrink_underused, shrink_underused, 0, 1, false)
SETTING_FILE(khugepaged_defrag, khugepaged_defrag, 0, 1, false)
SETTING_FILE(pages_to_scan, pages_to_scan, 1, UINT32_MAX, false)
SETTING_FILE(scan_sleep, scan_sleep_millisecs, 0, UINT32_MAX, true)
SETTING_FILE(alloc_sleep, alloc_sleep_millisecs, 0, UINT32_MAX, true)
SETTING_FILE(max_ptes_none, max_ptes_none, 0, HPAGE_PMD_NR - 1, false)
SETTING_FILE(max_ptes_swap, max_ptes_swap, 0, HPAGE_PMD_NR - 1, false)
SETTING_FILE(max_ptes_shared, max_ptes_shared, 0, HPAGE_PMD_NR - 1, false)
NUMBER_FILE(full_scans, khugepaged_stats.full_scans)
NUMBER_FILE(pages_collapsed, khugepaged_stats.pages_collapsed)

#define RO(path, name)                                                                             \
	{                                                                                          \
		DIR path, 0444, REPORT_LOCK_FREE, show_##name, NULL, NULL                          \
	}
#define RW(path, name)                                                                             \
	{                                                                                          \
		DIR path, 0644, REPORT_LOCK_FREE, show_##name, NULL, store_##name                  \
	}

const struct report_node report_thp_nodes[] = {
	RW("cow", cow),
	RW("defrag", defrag),
	RW("enabled", enabled),
	RW("enabled_1g", enabled_1g),
	RO("hpage_pmd_size", pmd_size),
	RW("khugepaged/alloc_sleep_millisecs", alloc_sleep),
	RW("khugepaged/defrag", khugepaged_defrag),
	RO("khugepaged/full_scans", full_scans),
	RW("khugepaged/max_ptes_none", max_ptes_none),
	RW("khugepaged/max_ptes_shared", max_ptes_shared),
	RW("khugepaged/max_ptes_swap", max_ptes_swap),
	RO("khugepaged/pages_collapsed", pages_collapsed),
	RW("khugepaged/pages_to_scan", pages_to_scan),
	RW("khugepaged/scan_sleep_millisecs", scan_sleep),
	RW("prezero", prezero),
	RW("prezero_pool", prezero_pool),
	RO("reserved_1g", reserved_1g),
	RW("shmem_enabled", shmem),
	RW("shrink_underused", shrink_underused),
	RW("use_zero_page", use_zero_page),
	{NULL, 0, 0, NULL, NULL, NULL},
};
