/*
 * report_size.c - hugepages-SIZEkB: one folder for each size of a page; and splitting by request   floor 7
 *
 * Parsing, and numbers that stand elsewhere: what a size may do is run.c's and thp.c's. All folders have the same files,
 * so one function shows a file of any folder and reads the size in its path.
 *
 * IDEA      hugepages-2048kB   stats are /proc/vmstat's thp_fault_alloc, thp_split_page ... and counts of huge pages
 *           smaller ones       runs of ordinary pages: they come (anon_fault_*), and from then on nobody knows them as
 *                              runs. Splitting, swapping and shared memory of a run do not exist: those stats are 0
 *
 * LINUX     mm/huge_memory.c: anon_enabled_store, DEFINE_MTHP_STAT_ATTR (6.12); split_huge_pages_write.
 */
#include "report_nodes.h"
#include "khugepaged.h"
#include "lib/string.h"
#include "mm/buddy.h"
#include "mm/lru.h"
#include "mm/range.h"
#include "mm/run.h"
#include "mm/thp.h"
#include "mm/thp_shrink.h"
#include "mutex.h"
#include "printk.h"
#include "vmstat.h"
#include <abi/errno.h>

#define DIR "/sys/kernel/mm/transparent_hugepage/hugepages-"

/* The order that a file of these folders is about. */
static unsigned order_of(const struct report_node *node)
{
	const char *digit = node->path + strlen(DIR);
	u64 kb = 0;

	for (; *digit >= '0' && *digit <= '9'; digit++)
		kb = kb * 10 + (u64)(*digit - '0');
	return (unsigned)__builtin_ctzl(kb >> 2);
}

static const char *const size_words[] = {"always", "inherit", "madvise", "never"};
static const u8 size_values[] = {SIZE_ALWAYS, SIZE_INHERIT, SIZE_MADVISE, SIZE_NEVER};

static bool show_size(struct report_out *out, struct task *task, u64 *cursor)
{
	u8 size = READ_ONCE(thp_settings.size[order_of(out->node)]);

	if (!report_once(cursor))
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(size_words); i++)
		report_printf(out, size_values[i] == size ? "%s[%s]" : "%s%s", i ? " " : "",
			size_words[i]);
	report_puts(out, "\n");
	return true;
}

static int store_size(unsigned order, const char *text)
{
	bool could = thp_size_enabled(HPAGE_PMD_ORDER) != THP_NEVER;

	for (unsigned i = 0; i < ARRAY_SIZE(size_words); i++) {
		if (strcmp(text, size_words[i]))
			continue;
		run_set_size(order, size_values[i]);
		if (could != (thp_size_enabled(HPAGE_PMD_ORDER) != THP_NEVER))
			khugepaged_wake(); /* Linux starts or stops the thread */
		return 0;
	}
	return -EINVAL;
}

/* --- stats -------------------------------------------------------------------------------------------- */

/* Huge pages of anonymous memory that exist, mapped as one or by 4 KiB entries. No lock. */
static u64 count_huge(void)
{
	u64 nr = 0;

	for (pfn_t pfn = 0; pfn < page_max_pfn; pfn += HPAGE_PMD_NR) {
		const struct page *head = pfn_to_page(pfn);

		nr += pfn_in_huge(pfn) && page_is_huge(head) && !(head->flags & PG_SHARED);
	}
	return nr;
}

static u64 huge_stat(const char *name)
{
	static const struct {
		const char *name;
		enum vm_stat stat;
	} counters[] = {
		{"anon_fault_alloc", VM_thp_fault_alloc},
		{"anon_fault_fallback", VM_thp_fault_fallback},
		{"anon_fault_fallback_charge", VM_thp_fault_fallback_charge},
		{"split", VM_thp_split_page},
		{"split_deferred", VM_thp_deferred_split_page},
		{"split_failed", VM_thp_split_page_failed},
		{"swpout", VM_thp_swpout},
		{"swpout_fallback", VM_thp_swpout_fallback},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(counters); i++)
		if (!strcmp(name, counters[i].name))
			return vmstat_read(counters[i].stat);
	if (!strcmp(name, "nr_anon"))
		return count_huge();
	if (!strcmp(name, "nr_anon_partially_mapped"))
		return READ_ONCE(lru.deferred.count);
	return 0;
}

static u64 run_stat(unsigned order, const char *name)
{
	if (!strcmp(name, "anon_fault_alloc"))
		return READ_ONCE(run_stats[order].anon_fault_alloc);
	if (!strcmp(name, "anon_fault_fallback"))
		return READ_ONCE(run_stats[order].anon_fault_fallback);
	return 0;
}

static bool show_stat(struct report_out *out, struct task *task, u64 *cursor)
{
	const char *name = strrchr(out->node->path, '/') + 1;
	unsigned order = order_of(out->node);

	if (!report_once(cursor))
		return false;
	report_printf(
		out, "%lu\n", order == HPAGE_PMD_ORDER ? huge_stat(name) : run_stat(order, name));
	return true;
}

/* --- split_huge_pages --------------------------------------------------------------------------------- */

/* Decimal, or hexadecimal behind 0x, up to a comma or the end. False: there is no number. */
static bool take_number(const char **text, bool hex, u64 *out)
{
	const char *p = *text, *first;
	u64 n = 0;

	if (hex) {
		if (strncmp(p, "0x", 2))
			return false;
		p += 2;
	}
	for (first = p; p - first < (hex ? 16 : 9); p++) {
		char c = *p | 0x20; /* lower case; digits stay */
		unsigned digit = c >= '0' && c <= '9'          ? (unsigned)(c - '0')
				 : hex && c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
							       : 16;

		if (digit == 16)
			break;
		n = n * (hex ? 16 : 10) + digit;
	}
	*out = n;
	*text = p;
	return p > first;
}

static bool take_comma(const char **text)
{
	if (**text != ',')
		return false;
	(*text)++;
	return true;
}

/*
 * A request: "1", or "pid,0xstart,0xend[,order]". How many numbers it has, as Linux's sscanf counts them. An order
 * below 9 asks for runs of that size: 512 pages side by side are just that, so all are split the same.
 */
static unsigned parse_split(const char *text, u64 number[4])
{
	unsigned n = 0;

	while (n < 4) {
		if (!take_number(&text, n == 1 || n == 2, &number[n]))
			return n;
		n++;
		if (!take_comma(&text))
			return n;
	}
	return n;
}

/* Up to the first hole, as on Linux: split_huge_pages_pid */
static int split_of_task(u32 pid, vaddr_t start, vaddr_t end)
{
	struct thp_split_count count = {0};
	struct task *t = task_find(pid);
	struct mm *mm;

	if (!t)
		return -ESRCH;
	mm = report_space(t);
	task_put(t);
	if (!mm)
		return -EINVAL;
	thp_split_range(mm, start, range_mapped_until(mm, start, MIN(end, USER_END)), &count);
	report_space_done(mm);
	printk("%lu of %lu THP split", count.split, count.total);
	return 0;
}

/* Linux: split_huge_pages_write. A file's huge pages ("/path,...") do not exist here. */
static int store_split(struct task *task, const char *text)
{
	struct thp_split_count count = {0};
	u64 number[4];
	unsigned n = parse_split(text, number);

	if (n == 1 && number[0] == 1) {
		thp_split_all(&count);
		printk("%lu of %lu THP split", count.split, count.total);
		return 0;
	}
	if (n != 3 && n != 4)
		return -EINVAL;
	if (n == 4 && number[3] >= HPAGE_PMD_ORDER)
		return 0; /* no huge page is larger: nothing to do, as on Linux */
	return split_of_task((u32)number[0], number[1], number[2]);
}

/* --- the folders -------------------------------------------------------------------------------------- */

#define STAT(kb, name)                                                                             \
	{                                                                                          \
		DIR #kb "kB/stats/" name, 0444, REPORT_LOCK_FREE, show_stat, NULL, NULL            \
	}

/* In Linux's list, without those of swap-in and of shared memory per size. */
#define SIZE_NODES(kb)                                                                             \
	{DIR #kb "kB/enabled", 0644, REPORT_LOCK_FREE, show_size, NULL, store_##kb},               \
		STAT(kb, "anon_fault_alloc"), STAT(kb, "anon_fault_fallback"),                     \
		STAT(kb, "anon_fault_fallback_charge"), STAT(kb, "nr_anon"),                       \
		STAT(kb, "nr_anon_partially_mapped"), STAT(kb, "split"),                           \
		STAT(kb, "split_deferred"), STAT(kb, "split_failed"), STAT(kb, "swpout"),          \
		STAT(kb, "swpout_fallback")

#define SIZE_STORE(kb, order)                                                                      \
	static int store_##kb(struct task *task, const char *text)                                 \
	{                                                                                          \
		return store_size(order, text);                                                    \
	}

SIZE_STORE(16, 2)
SIZE_STORE(32, 3)
SIZE_STORE(64, 4)
SIZE_STORE(128, 5)
SIZE_STORE(256, 6)
SIZE_STORE(512, 7)
SIZE_STORE(1024, 8)
SIZE_STORE(2048, HPAGE_PMD_ORDER)

const struct report_node report_size_nodes[] = {
	SIZE_NODES(1024),
	SIZE_NODES(128),
	SIZE_NODES(16),
	SIZE_NODES(2048),
	SIZE_NODES(256),
	SIZE_NODES(32),
	SIZE_NODES(512),
	SIZE_NODES(64),
	{"/sys/kernel/debug/split_huge_pages", 0200, 0, NULL, NULL, store_split},
	{NULL, 0, 0, NULL, NULL, NULL},
};
