/*
 * huge.c - thp, khugepaged, demo: what was decided about huge pages, and why                 floor 7
 *
 * LOCKS     `thp why` holds mm->lock (read) and runs the fault's own predicate; the rest reads words.
 */
#include "kcompactd.h"
#include "khugepaged.h"
#include "lib/format.h"
#include "lib/string.h"
#include "loader.h"
#include "mm/collapse.h"
#include "mm/compact.h"
#include "mm/huge_pud.h"
#include "mm/kmalloc.h"
#include "mm/mm.h"
#include "mm/run.h"
#include "mm/thp.h"
#include "mm/vma.h"
#include "monitor/command.h"
#include "monitor/json.h"
#include "monitor/monitor.h"
#include "prezerod.h"
#include "vmstat.h"
#include "x86/layout.h"
#include <abi/errno.h>

#define DIR "/sys/kernel/mm/transparent_hugepage/"

static const char *const settings[] = {"enabled", "defrag", "use_zero_page", "shrink_underused",
	"cow", "prezero", "prezero_pool", "enabled_1g", "reserved_1g"};
static const char *const khugepaged_settings[] = {"defrag", "pages_to_scan", "scan_sleep_millisecs",
	"alloc_sleep_millisecs", "max_ptes_none", "max_ptes_swap", "max_ptes_shared"};
static const char *const khugepaged_counts[] = {"full_scans", "pages_collapsed"};

/* --- thp --------------------------------------------------------------------------------------------------- */

/* A setting's text without its newline. */
struct value {
	char text[80];
	usize used;
};

static void value_put(void *ctx, const char *s, usize len)
{
	struct value *v = ctx;

	for (; len; len--, s++)
		if (*s != '\n' && v->used < sizeof(v->text) - 1)
			v->text[v->used++] = *s;
}

static void setting_read(struct value *v, const char *folder, const char *name)
{
	struct report_out out = {.put = value_put, .ctx = v};
	char path[96];

	memset(v, 0, sizeof(*v));
	format(path, sizeof(path), DIR "%s%s", folder, name);
	report_show(path, NULL, false, &out);
}

/* The word in brackets, or the whole. */
static void setting_chosen(struct value *v)
{
	char *open = strchr(v->text, '['), *end = open ? strchr(open, ']') : NULL;

	if (!end)
		return;
	*end = '\0';
	memmove(v->text, open + 1, strlen(open));
}

static void settings_text(
	struct monitor *m, const char *folder, const char *const *names, usize count)
{
	struct value v;

	for (usize i = 0; i < count; i++) {
		setting_read(&v, folder, names[i]);
		say(m, "  %-24s %s\n", names[i], v.text);
	}
}

static void settings_json(struct json *j, const char *folder, const char *const *names, usize count)
{
	struct value v;
	u64 number;

	for (usize i = 0; i < count; i++) {
		setting_read(&v, folder, names[i]);
		setting_chosen(&v);
		if (arg_number(v.text, &number))
			json_unsigned(j, names[i], number);
		else
			json_string(j, names[i], v.text);
	}
}

static bool is_thp_counter(enum vm_stat s)
{
	const char *name = vmstat_name(s);

	return !strncmp(name, "thp_", 4) || s == VM_nr_anon_transparent_hugepages ||
	       s == VM_nr_thp_prezeroed || s == VM_nr_thp_1g;
}

static int thp_json(struct monitor *m)
{
	struct json j;

	json_begin(&j, m);
	json_object(&j, "settings");
	settings_json(&j, "", settings, ARRAY_SIZE(settings));
	json_close(&j, '}');
	json_object(&j, "counters");
	for (unsigned s = 0; s < NR_VM_STATS; s++)
		if (is_thp_counter(s))
			json_unsigned(&j, vmstat_name(s), vmstat_read(s));
	json_close(&j, '}');
	json_object(&j, "refusals");
	for (unsigned r = 0; r < NR_COLLAPSE_RESULTS; r++)
		json_unsigned(&j, collapse_result_name(r), collapse_counts[r]);
	json_close(&j, '}');
	json_end(&j);
	return STATUS_OK;
}

static int thp_text(struct monitor *m)
{
	say(m, "settings (" DIR ")\n");
	settings_text(m, "", settings, ARRAY_SIZE(settings));
	say(m, "counters\n");
	for (unsigned s = 0; s < NR_VM_STATS; s++)
		if (is_thp_counter(s) && (vmstat_read(s) || s == VM_thp_fault_alloc))
			say(m, "  %-32s %lu\n", vmstat_name(s), vmstat_read(s));
	say(m, "what became of ranges that khugepaged and MADV_COLLAPSE looked at\n");
	for (unsigned r = 0; r < NR_COLLAPSE_RESULTS; r++)
		if (collapse_counts[r] || r == COLLAPSE_SUCCEED)
			say(m, "  %-22s %8lu  %s\n", collapse_result_name(r), collapse_counts[r],
				collapse_result_text(r));
	say(m, "`thp why ADDRESS PID` says why one address has, or has not, a huge page\n");
	return STATUS_OK;
}

/* --- thp why ----------------------------------------------------------------------------------------------------- */

struct why {
	vaddr_t addr;
	enum thp_reason reason, reason_1g;
	bool area;
	vaddr_t start, end;
	enum collapse_result collapse; /* when only khugepaged could help: what it would say */
	bool asked_collapse;
	u32 orders;                           /* of runs that a write would try */
	enum thp_reason run[HPAGE_PMD_ORDER]; /* and what becomes of each */
};

static void why_look(struct why *w, struct mm *mm)
{
	struct vma *v = vma_find(mm, w->addr);
	struct collapse_limits limits = {
		.max_none = thp_settings.max_ptes_none,
		.max_swap = thp_settings.max_ptes_swap,
		.max_shared = thp_settings.max_ptes_shared,
	};

	w->reason = thp_why(mm, w->addr);
	w->area = v;
	if (!v)
		return;
	w->start = v->start;
	w->end = v->end;
	if (w->reason != THP_HUGE && w->reason != THP_HUGE_ZERO)
		w->orders = thp_settings.run_orders;
	for (unsigned order = RUN_MIN_ORDER; order <= RUN_MAX_ORDER; order++)
		w->run[order] = run_why(v, w->addr & PAGE_MASK, order);
	w->reason_1g = huge_pud_why(v, w->addr);
	if (w->reason == THP_PTE_TABLE) {
		w->asked_collapse = true;
		w->collapse = collapse_scan(mm, v, w->addr & HPAGE_PMD_MASK, &limits);
	}
}

static void why_text(struct monitor *m, const struct why *w)
{
	say(m, "%s: %s\n", thp_reason_name(w->reason), thp_reason_text(w->reason));
	if (w->area)
		say(m, "  area      0x%lx-0x%lx, %lu kB\n", w->start, w->end,
			(w->end - w->start) >> 10);
	say(m, "  its 2 MiB 0x%lx-0x%lx\n", w->addr & HPAGE_PMD_MASK,
		(w->addr & HPAGE_PMD_MASK) + HPAGE_PMD_SIZE);
	if (w->area)
		say(m, "  its 1 GiB %s: %s\n", thp_reason_name(w->reason_1g),
			thp_reason_text(w->reason_1g));
	if (w->asked_collapse)
		say(m, "  khugepaged would say %s: %s\n", collapse_result_name(w->collapse),
			w->collapse == COLLAPSE_SUCCEED ? "it is worth collapsing"
							: collapse_result_text(w->collapse));
	for (unsigned order = RUN_MAX_ORDER; order >= RUN_MIN_ORDER; order--)
		if (w->orders >> order & 1)
			say(m, "  %4lu kB   %s: %s\n", (PAGE_SIZE << order) >> 10,
				thp_reason_name(w->run[order]), thp_reason_text(w->run[order]));
}

static void why_json(struct monitor *m, const struct why *w)
{
	struct json j;

	json_begin(&j, m);
	json_hex(&j, "address", w->addr);
	json_string(&j, "reason", thp_reason_name(w->reason));
	json_string(&j, "text", thp_reason_text(w->reason));
	if (w->area) {
		json_hex(&j, "start", w->start);
		json_hex(&j, "end", w->end);
		json_string(&j, "reason_1g", thp_reason_name(w->reason_1g));
	}
	if (w->asked_collapse)
		json_string(&j, "khugepaged", collapse_result_name(w->collapse));
	for (unsigned order = RUN_MAX_ORDER; order >= RUN_MIN_ORDER; order--) {
		char name[16];

		if (!(w->orders >> order & 1))
			continue;
		format(name, sizeof(name), "%lukB", (PAGE_SIZE << order) >> 10);
		json_string(&j, name, thp_reason_name(w->run[order]));
	}
	json_end(&j);
}

static int thp_why_command(struct monitor *m, const char *address, const char *pid)
{
	struct why w = {0};
	struct task *t;
	struct mm *mm;

	if (!arg_number(address, &w.addr))
		return usage(m);
	if (w.addr >= USER_END)
		return fail(
			m, "0x%lx: not an address of ring 3 (they end at 0x%lx)", w.addr, USER_END);
	if (m->stopped)
		return fail(m, "%s", errno_text(-EAGAIN));
	t = arg_task(m, pid);
	if (!t)
		return STATUS_FAILED;
	mm = report_space(t);
	task_put(t);
	if (!mm)
		return fail(m, "%s: its space is gone", pid);
	why_look(&w, mm);
	report_space_done(mm);
	if (m->json)
		why_json(m, &w);
	else
		why_text(m, &w);
	return STATUS_OK;
}

int cmd_thp(struct monitor *m, int argc, char **argv)
{
	if (argc == 4 && arg_is(argv[1], "why"))
		return thp_why_command(m, argv[2], argv[3]);
	if (argc > 1)
		return usage(m);
	return m->json ? thp_json(m) : thp_text(m);
}

/* --- khugepaged -------------------------------------------------------------------------------------------------- */

static int khugepaged_stat(struct monitor *m)
{
	struct khugepaged_stats s = khugepaged_stats;
	struct json j;

	if (m->json) {
		json_begin(&j, m);
		json_unsigned(&j, "full_scans", s.full_scans);
		json_unsigned(&j, "pages_collapsed", s.pages_collapsed);
		json_unsigned(&j, "scanned_ptes", s.nr_scanned_ptes);
		json_unsigned(&j, "wakeups", s.nr_wakeups);
		json_unsigned(&j, "alloc_sleeps", s.nr_alloc_sleeps);
		json_unsigned(&j, "spaces", thp_nr_listed());
		json_object(&j, "settings");
		settings_json(
			&j, "khugepaged/", khugepaged_settings, ARRAY_SIZE(khugepaged_settings));
		json_close(&j, '}');
		json_end(&j);
		return STATUS_OK;
	}
	say(m, "%u spaces listed; ", thp_nr_listed());
	if (s.mm_id)
		say(m, "the cursor is in space %u at 0x%lx\n", s.mm_id, s.address);
	else
		say(m, "the cursor is between two passes\n");
	say(m,
		"  full_scans               %lu\n  pages_collapsed          %lu\n"
		"  entries scanned          %lu\n  wake-ups                 %lu\n"
		"  sleeps without a block   %lu\n",
		s.full_scans, s.pages_collapsed, s.nr_scanned_ptes, s.nr_wakeups,
		s.nr_alloc_sleeps);
	say(m, "settings (" DIR "khugepaged/)\n");
	settings_text(m, "khugepaged/", khugepaged_settings, ARRAY_SIZE(khugepaged_settings));
	return STATUS_OK;
}

/* One pass now, and what it did. */
static int khugepaged_scan(struct monitor *m)
{
	u64 before[NR_COLLAPSE_RESULTS], collapsed = khugepaged_stats.pages_collapsed;
	u64 scanned = khugepaged_stats.nr_scanned_ptes;
	struct json j;

	memcpy(before, collapse_counts, sizeof(before));
	khugepaged_scan_now();
	collapsed = khugepaged_stats.pages_collapsed - collapsed;
	scanned = khugepaged_stats.nr_scanned_ptes - scanned;
	if (m->json) {
		json_begin(&j, m);
		json_unsigned(&j, "collapsed", collapsed);
		json_unsigned(&j, "scanned_ptes", scanned);
		json_object(&j, "results");
		for (unsigned r = 0; r < NR_COLLAPSE_RESULTS; r++)
			json_unsigned(&j, collapse_result_name(r), collapse_counts[r] - before[r]);
		json_close(&j, '}');
		json_end(&j);
		return STATUS_OK;
	}
	say(m, "one full pass: %lu entries looked at, %lu ranges collapsed\n", scanned, collapsed);
	for (unsigned r = COLLAPSE_SUCCEED + 1; r < NR_COLLAPSE_RESULTS; r++)
		if (collapse_counts[r] != before[r])
			say(m, "  %-22s %6lu  %s\n", collapse_result_name(r),
				collapse_counts[r] - before[r], collapse_result_text(r));
	return STATUS_OK;
}

static bool is_one_of(const char *name, const char *const *names, usize count)
{
	for (usize i = 0; i < count; i++)
		if (arg_is(name, names[i]))
			return true;
	return false;
}

static int khugepaged_set(struct monitor *m, const char *name, const char *value)
{
	char path[96];
	int err;

	if (is_one_of(name, khugepaged_counts, ARRAY_SIZE(khugepaged_counts)))
		return fail(m, "%s: read-only", name);
	if (!is_one_of(name, khugepaged_settings, ARRAY_SIZE(khugepaged_settings)))
		return fail(m, "%s: no such setting (Tab shows them)", name);
	format(path, sizeof(path), DIR "khugepaged/%s", name);
	err = report_set(path, value);
	return err ? fail_errno(m, value, err) : STATUS_OK;
}

int cmd_khugepaged(struct monitor *m, int argc, char **argv)
{
	if (argc == 1 || (argc == 2 && arg_is(argv[1], "stat")))
		return khugepaged_stat(m);
	if (argc == 2 && arg_is(argv[1], "scan"))
		return khugepaged_scan(m);
	if (argc == 4 && arg_is(argv[1], "set"))
		return khugepaged_set(m, argv[2], argv[3]);
	return usage(m);
}

/* --- demo ----------------------------------------------------------------------------------------------------------- */

/*
 * The lecture itself is a program of ring 3 (user/programs/demo.c): it uses nothing but Linux's files and calls, and
 * runs on Linux too. What it changes is put back here, whatever becomes of it.
 */
int cmd_demo(struct monitor *m, int argc, char **argv)
{
	static const char *const demos[] = {"thp", "zero", "cow", "bloat", "fragment", "1g"};
	struct thp_settings saved = thp_settings;
	struct compact_settings compact_saved = compact_settings;
	char *words[] = {"demo", argc == 2 ? argv[1] : NULL};
	int status;

	if (argc != 2 || !is_one_of(argv[1], demos, ARRAY_SIZE(demos)))
		return usage(m);
	status = monitor_program(m, 2, words);
	thp_settings = saved;
	compact_settings = compact_saved;
	prezerod_update(); /* Z5 of prezerod.c */
	khugepaged_wake();
	kcompactd_wake();
	if (status)
		return fail(m, "%s did not come to its end (status %d)", argv[1], status);
	return STATUS_OK;
}
