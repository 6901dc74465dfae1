/*
 * checks.c - check, ledger, ktest, bench, trace, inject                                      floor 7
 *
 * LOCKS     check and ledger run with every other CPU in its scheduler (sched_stop_others): no kernel code is
 *           in flight, so what they count is exact. They print afterwards.
 */
#include "ipc.h"
#include "ktest.h"
#include "lib/string.h"
#include "loader.h"
#include "futex.h"
#include "mm/buddy.h"
#include "mm/gigapage.h"
#include "mm/huge_pud.h"
#include "mm/kmalloc.h"
#include "mm/lru.h"
#include "mm/memory.h"
#include "mm/migrate.h"
#include "mm/mm.h"
#include "mm/page.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/thp.h"
#include "mm/vma.h"
#include "mm/zero.h"
#include "monitor/command.h"
#include "monitor/json.h"
#include "monitor/monitor.h"
#include "sched.h"
#include "seeded.h"
#include "task.h"
#include "trace.h"
#include "vmstat.h"
#include "x86/timer.h"
#include "x86/tlb.h"
#include <abi/errno.h>
#include <abi/native.h>

/* --- check ---------------------------------------------------------------------------------------------------- */

static bool space_tables_ok(struct mm *mm, void *ctx)
{
	bool *ok = ctx;

	*ok &= pgtable_check(mm);
	return true;
}

static bool space_areas_ok(struct mm *mm, void *ctx)
{
	bool *ok = ctx;

	*ok &= vma_check(mm);
	return true;
}

static bool all_tables_check(void)
{
	bool ok = true;

	mm_for_each(space_tables_ok, &ok);
	return ok;
}

static bool all_areas_check(void)
{
	bool ok = true;

	mm_for_each(space_areas_ok, &ok);
	return ok;
}

static const struct {
	const char *name;
	bool (*fn)(void);
} checkers[] = {
	{"buddy", buddy_check},
	{"lru", lru_check},
	{"kmalloc", kmalloc_check},
	{"zero", zero_check},
	{"pgtable", all_tables_check},
	{"pgtable_kernel", pgtable_check_kernel},
	{"vma", all_areas_check},
	{"rmap", rmap_check},
	{"thp", thp_check},
	{"migrate", migrate_check},
	{"gigapage", gigapage_check},
	{"huge_pud", huge_pud_check},
	{"memory", memory_check},
	{"sched", sched_check},
	{"ipc", ipc_check},
	{"task", task_check},
	{"futex", futex_check},
};

struct check_run {
	bool ok[ARRAY_SIZE(checkers)];
};

static void check_all(void *arg)
{
	struct check_run *run = arg;

	for (usize i = 0; i < ARRAY_SIZE(checkers); i++)
		run->ok[i] = checkers[i].fn();
}

int cmd_check(struct monitor *m, int argc, char **argv)
{
	struct check_run run;
	u32 failed = 0;
	struct json j;

	if (argc > 1)
		return usage(m);
	sched_stop_others(check_all, &run);
	for (usize i = 0; i < ARRAY_SIZE(checkers); i++)
		failed += !run.ok[i];
	if (m->json) {
		json_begin(&j, m);
		for (usize i = 0; i < ARRAY_SIZE(checkers); i++)
			json_bool(&j, checkers[i].name, run.ok[i]);
		json_bool(&j, "ok", !failed);
		json_end(&j);
		return failed ? STATUS_FAILED : STATUS_OK;
	}
	say(m, "check:");
	for (usize i = 0; i < ARRAY_SIZE(checkers); i++)
		say(m, " %s %s", checkers[i].name, run.ok[i] ? "ok" : "BROKEN");
	say(m, "\n");
	return failed ? STATUS_FAILED : STATUS_OK;
}

/* --- ledger -------------------------------------------------------------------------------------------------------- */

#define LEDGER_SPACES 64

struct space_sum {
	u32 id;
	u64 small;             /* ptes that name an anonymous frame, or an object's */
	u64 huge;              /* pmds that name a huge page */
	u64 tables;            /* table frames met, deposited ones included, without the root */
	u64 nr_rss, nr_tables; /* what the space itself says */
};

struct ledger {
	u64 frames[NR_PAGE_TYPES];
	u64 free;                       /* buddy lists and per-CPU lists */
	u64 small, huge, tables, roots; /* over all spaces, from their tables */
	u64 mapcounts, pmd_mapcounts;   /* over all frames, from their descriptors */
	u64 unmapped;                   /* anonymous frames that nothing maps */
	u64 shared, gauge_shared;       /* frames of memory objects */
	u64 mapped_frames, mapped_huge; /* frames that something maps; huge pages that a pmd maps */
	u64 gauge_tables, gauge_anon, gauge_huge;
	u32 zero_users, zero_refs;
	u32 nr_spaces, wrong_spaces;
	struct space_sum space[LEDGER_SPACES];
};

static void count_pmd(struct space_sum *s, pmd_t *pmdp, vaddr_t addr)
{
	pmd_t e = pmd_read(pmdp);

	if (pmd_kind(e) == ENTRY_LEAF) {
		s->huge += !(e.v & PTE_DEVICE) && pfn_type(pmd_pfn(e)) == PAGE_ANON_HUGE;
		return;
	}
	for (unsigned i = 0; i < PTRS_PER_TABLE; i++) {
		pte_t pte = pte_read((const pte_t *)table_ptr(e.v) + i);
		enum page_type type;

		if (pte_kind(pte) != ENTRY_LEAF || pte.v & PTE_DEVICE)
			continue;
		type = pfn_type(pte_pfn(pte));
		s->small += type == PAGE_ANON || type == PAGE_ANON_HUGE;
	}
}

static bool count_space(struct mm *mm, void *ctx)
{
	struct space_sum s = {.id = mm->id, .nr_rss = mm_rss(mm), .nr_tables = mm->nr_tables};
	struct ledger *l = ctx;
	vaddr_t a = 0;
	pmd_t *pmdp;

	if (!mm->pgd)
		return true;
	for (pmdp = pgtable_next_pmd(mm, &a, USER_END); pmdp;
		a = pmd_range_end(a, USER_END), pmdp = pgtable_next_pmd(mm, &a, USER_END))
		count_pmd(&s, pmdp, a);
	for (a = 0; pgtable_next_pud(mm, &a, USER_END); a += HPAGE_PUD_SIZE)
		s.huge += PTRS_PER_TABLE;
	s.tables = pgtable_count_tables(mm);
	l->small += s.small;
	l->huge += s.huge;
	l->tables += s.tables;
	l->roots++;
	l->zero_users += mm->has_huge_zero;
	l->wrong_spaces += s.nr_rss != s.small + s.huge * HPAGE_PMD_NR || s.tables != s.nr_tables;
	if (l->nr_spaces < LEDGER_SPACES)
		l->space[l->nr_spaces] = s;
	l->nr_spaces++;
	return true;
}

/* What the descriptors say, frame by frame. */
static void count_frames(struct ledger *l)
{
	for (pfn_t pfn = 0; pfn < page_max_pfn; pfn++) {
		const struct page *p = pfn_to_page(pfn);
		bool huge = pfn_in_huge(pfn);
		u32 own = p->mapcount, all = pfn_mapcount(pfn);

		if (!huge && p->type != PAGE_ANON)
			continue;
		l->mapcounts += own;
		if (huge && pfn_head(pfn) == p)
			l->pmd_mapcounts += page_pmd_mapcount(p);
		if (pfn_head(pfn)->flags & PG_SHARED) { /* an object keeps it, mapped or not */
			l->shared++;
			continue;
		}
		l->mapped_frames += all != 0;
		if (huge && pfn_head(pfn) == p)
			l->mapped_huge += page_pmd_mapcount(p) != 0;
		l->unmapped += !huge ? !own : pfn_head(pfn) == p && !page_total_mapcount(p);
	}
}

static void ledger_count(void *arg)
{
	struct ledger *l = arg;

	page_count_types(l->frames);
	l->free = buddy_free_pages();
	mm_for_each(count_space, l);
	count_frames(l);
	l->gauge_tables = vmstat_read(VM_nr_page_table_pages);
	l->gauge_anon = vmstat_read(VM_nr_anon_pages);
	l->gauge_huge = vmstat_read(VM_nr_anon_transparent_hugepages);
	l->gauge_shared = vmstat_read(VM_nr_shmem);
	l->zero_refs = zero_huge_refs();
}

/* Two counts of the same thing. */
struct entry {
	const char *what, *one_by, *other_by;
	u64 one, other;
};

static u32 ledger_entries(const struct ledger *l, struct entry *e)
{
	u32 n = 0;
	u64 zero_refs = l->zero_refs ? l->zero_users + 1 : 0;

	e[n++] = (struct entry){"free frames", "type", "free lists", l->frames[PAGE_FREE], l->free};
	e[n++] = (struct entry){"table frames", "type", "all page tables", l->frames[PAGE_TABLE],
		l->tables + l->roots};
	e[n++] = (struct entry){
		"table frames", "page tables", "nr_page_table_pages", l->tables, l->gauge_tables};
	e[n++] = (struct entry){
		"4 KiB mappings", "page tables", "descriptors", l->small, l->mapcounts};
	e[n++] = (struct entry){
		"2 MiB mappings", "page tables", "descriptors", l->huge, l->pmd_mapcounts};
	e[n++] = (struct entry){"anonymous frames mapped", "descriptors", "nr_anon_pages",
		l->mapped_frames, l->gauge_anon};
	e[n++] = (struct entry){"huge pages mapped by a pmd", "descriptors",
		"nr_anon_transparent_hugepages", l->mapped_huge, l->gauge_huge};
	e[n++] = (struct entry){
		"frames of memory objects", "descriptors", "nr_shmem", l->shared, l->gauge_shared};
	e[n++] = (struct entry){
		"anonymous pages nobody maps", "descriptors", "none", l->unmapped, 0};
	e[n++] = (struct entry){
		"huge zero page's references", "spaces + 1", "its count", zero_refs, l->zero_refs};
	e[n++] = (struct entry){
		"spaces whose sums differ", "page tables", "none", l->wrong_spaces, 0};
	return n;
}

#define LEDGER_ENTRIES 16

static void ledger_text(struct monitor *m, const struct ledger *l, const struct entry *e, u32 n)
{
	u64 total = 0;

	say(m, "frames by type:");
	for (unsigned t = PAGE_FREE; t < NR_PAGE_TYPES; t++) {
		total += l->frames[t];
		if (l->frames[t])
			say(m, " %s %lu", page_type_name(t), l->frames[t]);
	}
	say(m, "; total %lu\n", total);
	say(m, "space   4K mapped   2M mapped  tables  (    rss  nr_tables)\n");
	for (u32 i = 0; i < MIN(l->nr_spaces, (u32)LEDGER_SPACES); i++) {
		const struct space_sum *s = &l->space[i];

		say(m, "%5u %11lu %11lu %7lu  (%7lu %10lu)\n", s->id, s->small, s->huge, s->tables,
			s->nr_rss, s->nr_tables);
	}
	if (l->nr_spaces > LEDGER_SPACES)
		say(m, "... and %u more\n", l->nr_spaces - LEDGER_SPACES);
	for (u32 i = 0; i < n; i++)
		say(m, "%-28s %10lu by %-12s %10lu by %s%s\n", e[i].what, e[i].one, e[i].one_by,
			e[i].other, e[i].other_by, e[i].one == e[i].other ? "" : "   DIFFERENT");
}

static void ledger_json(
	struct monitor *m, const struct ledger *l, const struct entry *e, u32 n, bool exact)
{
	struct json j;

	json_begin(&j, m);
	json_bool(&j, "exact", exact);
	json_object(&j, "frames");
	for (unsigned t = 0; t < NR_PAGE_TYPES; t++)
		json_unsigned(&j, page_type_name(t), l->frames[t]);
	json_close(&j, '}');
	json_unsigned(&j, "spaces", l->nr_spaces);
	json_array(&j, "entries");
	for (u32 i = 0; i < n; i++) {
		json_object(&j, NULL);
		json_string(&j, "what", e[i].what);
		json_unsigned(&j, "one", e[i].one);
		json_unsigned(&j, "other", e[i].other);
		json_close(&j, '}');
	}
	json_close(&j, ']');
	json_end(&j);
}

int cmd_ledger(struct monitor *m, int argc, char **argv)
{
	struct entry e[LEDGER_ENTRIES];
	struct ledger *l;
	bool exact = true;
	u32 n;

	if (argc > 1)
		return usage(m);
	l = kzalloc(sizeof(*l));
	if (!l)
		return fail(m, "no memory");
	sched_stop_others(ledger_count, l);
	n = ledger_entries(l, e);
	for (u32 i = 0; i < n; i++)
		exact &= e[i].one == e[i].other;
	if (m->json)
		ledger_json(m, l, e, n, exact);
	else
		ledger_text(m, l, e, n);
	if (!m->json)
		say(m, exact ? "ledger exact\n" : "ledger NOT exact\n");
	kfree(l);
	return exact ? STATUS_OK : STATUS_FAILED;
}

/* --- ktest, bench ---------------------------------------------------------------------------------------------------- */

static u32 ktest_busy; /* (a) the tests have state of their own */

int cmd_ktest(struct monitor *m, int argc, char **argv)
{
	struct ktest_out out = {m->out.put, m->out.ctx};
	int failed;

	if (argc > 2)
		return usage(m);
	if (__atomic_exchange_n(&ktest_busy, 1, __ATOMIC_ACQUIRE))
		return fail(m, "somebody else is running it");
	failed = ktest_run(argc == 2 ? argv[1] : NULL, &out);
	__atomic_store_n(&ktest_busy, 0, __ATOMIC_RELEASE);
	if (failed == -ENOENT)
		return fail(m, "%s: no such suite or test", argc == 2 ? argv[1] : "");
	return failed ? STATUS_FAILED : STATUS_OK;
}

/* A program of ring 3, because what is measured is what a program pays. */
int cmd_bench(struct monitor *m, int argc, char **argv)
{
	return monitor_program(m, argc, argv);
}

/* --- trace ---------------------------------------------------------------------------------------------------------------- */

#define TRACE_SHOWN 256u /* records at most */

static void trace_line(struct monitor *m, struct json *j, const struct trace_record *r)
{
	u64 hz = timer_tsc_hz(), us = hz ? r->tsc / (hz / 1000000 ? hz / 1000000 : 1) : 0;

	if (!m->json) {
		say(m, "%6lu.%06lu  cpu %-2u pid %-5u %-24s 0x%lx 0x%lx 0x%lx\n", us / 1000000,
			us % 1000000, r->cpu, r->pid, trace_name(r->event), r->arg[0], r->arg[1],
			r->arg[2]);
		return;
	}
	json_object(j, NULL);
	json_unsigned(j, "tsc", r->tsc);
	json_unsigned(j, "cpu", r->cpu);
	json_unsigned(j, "pid", r->pid);
	json_string(j, "event", trace_name(r->event));
	json_array(j, "args");
	for (int i = 0; i < 3; i++)
		json_hex(j, NULL, r->arg[i]);
	json_close(j, ']');
	json_close(j, '}');
}

/* When everything is stopped there is no memory to be had. */
static struct trace_record trace_stopped[TRACE_SHOWN];

static int trace_show(struct monitor *m, u64 count)
{
	struct trace_record *records = m->stopped ? trace_stopped : kmalloc(sizeof(trace_stopped));
	struct json j;
	u32 n;

	if (!records)
		return fail_errno(m, "trace", -ENOMEM);
	n = trace_read(records, (u32)MIN(count, ARRAY_SIZE(trace_stopped)));

	if (m->json) {
		json_begin(&j, m);
		json_bool(&j, "on", trace_on);
		json_array(&j, "records");
	}
	for (u32 i = 0; i < n; i++)
		trace_line(m, &j, &records[i]);
	if (m->json) {
		json_close(&j, ']');
		json_end(&j);
	} else {
		say(m, "%u records%s\n", n, trace_on ? "" : " (trace is off)");
	}
	if (!m->stopped)
		kfree(records);
	return STATUS_OK;
}

int cmd_trace(struct monitor *m, int argc, char **argv)
{
	u64 count = 32;

	if (argc == 2 && arg_is(argv[1], "on"))
		WRITE_ONCE(trace_on, true);
	else if (argc == 2 && arg_is(argv[1], "off"))
		WRITE_ONCE(trace_on, false);
	else if (argc == 2 && arg_is(argv[1], "clear"))
		trace_clear();
	else if (argc >= 2 && argc <= 3 && arg_is(argv[1], "show") &&
		 (argc == 2 || arg_number(argv[2], &count)))
		return trace_show(m, count);
	else
		return usage(m);
	return STATUS_OK;
}

/* --- inject --------------------------------------------------------------------------------------------------------------- */

static int inject_fail(struct monitor *m, int argc, char **argv)
{
	u64 k, order = 0;

	if (argc < 3 || argc > 4 || !arg_number(argv[2], &k) || !k ||
		(argc == 4 && (!arg_number(argv[3], &order) || order > MAX_ORDER)))
		return usage(m);
	buddy_inject_fail(k, argc == 4 ? (int)order : -1);
	return STATUS_OK;
}

static int inject_tlb(struct monitor *m, int argc, char **argv)
{
	u32 *mask;

	if (argc != 4)
		return usage(m);
	mask = arg_is(argv[2], "local")    ? &tlb_skip_local
	       : arg_is(argv[2], "remote") ? &tlb_skip_remote
	       : arg_is(argv[2], "ack")    ? &tlb_skip_ack
					   : NULL;
	if (!mask)
		return usage(m);
	for (unsigned site = 0; site < NR_TLB_SITES; site++) {
		if (arg_is(argv[3], tlb_site_name(site))) {
			*mask |= 1u << site;
			return STATUS_OK;
		}
	}
	say(m, "sites:");
	for (unsigned site = 0; site < NR_TLB_SITES; site++)
		say(m, " %s", tlb_site_name(site));
	say(m, "\n");
	return fail(m, "%s: no such site", argv[3]);
}

/* inject kill NAME CALL before|after N */
static int inject_kill(struct monitor *m, int argc, char **argv)
{
	static const struct {
		const char *name;
		u32 call;
	} calls[] = {
		{"call", SYS_ipc_call},
		{"receive", SYS_ipc_receive},
		{"reply", SYS_ipc_reply},
		{"reply_receive", SYS_ipc_reply_receive},
		{"supply", SYS_pager_supply},
		{"task_create", SYS_task_create},
		{"thread_create", SYS_thread_create},
		{"mm_reset", SYS_mm_reset},
		{"memory_map", SYS_memory_map},
	};
	struct task_death *d = &task_death;
	u64 n;

	if (argc != 6 || !arg_number(argv[5], &n) || !n || n > UINT32_MAX ||
		(!arg_is(argv[4], "before") && !arg_is(argv[4], "after")))
		return usage(m);
	WRITE_ONCE(d->left, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
		if (!arg_is(argv[3], calls[i].name))
			continue;
		strscpy(d->name, argv[2], sizeof(d->name));
		d->call = calls[i].call;
		d->after = arg_is(argv[4], "after");
		WRITE_ONCE(d->left, (u32)n);
		return STATUS_OK;
	}
	say(m, "calls:");
	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++)
		say(m, " %s", calls[i].name);
	say(m, "\n");
	return fail(m, "%s: no such call", argv[3]);
}

static const struct {
	u32 number;
	const char *after, *story, *invariant, *scenario;
} seeds[] = {
#define X(number, name, after, story, invariant, scenario)                                         \
	{number, after, story, invariant, scenario},
	SEEDED_BUGS(X)
#undef X
};

static int list_seeds(struct monitor *m)
{
	struct json j;

	if (!m->json) {
		for (usize i = 0; i < ARRAY_SIZE(seeds); i++)
			say(m, "%2u  %s: %s\n", seeds[i].number, seeds[i].after, seeds[i].story);
		return STATUS_OK;
	}
	json_begin(&j, m);
	json_array(&j, "seeds");
	for (usize i = 0; i < ARRAY_SIZE(seeds); i++) {
		json_object(&j, NULL);
		json_unsigned(&j, "number", seeds[i].number);
		json_string(&j, "after", seeds[i].after);
		json_string(&j, "story", seeds[i].story);
		json_string(&j, "invariant", seeds[i].invariant);
		json_string(&j, "scenario", seeds[i].scenario);
		json_close(&j, '}');
	}
	json_close(&j, ']');
	json_end(&j);
	return STATUS_OK;
}

/* inject seed [N] */
static int inject_seed(struct monitor *m, int argc, char **argv)
{
	u64 number;

	if (argc == 2)
		return list_seeds(m);
	if (argc != 3 || !arg_number(argv[2], &number))
		return usage(m);
	for (usize i = 0; i < ARRAY_SIZE(seeds); i++) {
		if (seeds[i].number == number) {
			WRITE_ONCE(seeded_bug, (u32)number);
			return STATUS_OK;
		}
	}
	return fail(m, "%lu: no such mistake; `inject seed` lists them", number);
}

static int inject_stat(struct monitor *m)
{
	struct json j;

	if (m->json) {
		json_begin(&j, m);
		json_unsigned(&j, "seen", buddy_inject_seen);
		json_unsigned(&j, "fired", buddy_inject_fired);
		json_hex(&j, "tlb_skip_local", tlb_skip_local);
		json_hex(&j, "tlb_skip_remote", tlb_skip_remote);
		json_hex(&j, "tlb_skip_ack", tlb_skip_ack);
		json_unsigned(&j, "kill_left", task_death.left);
		json_unsigned(&j, "seed", seeded_bug);
		json_end(&j);
		return STATUS_OK;
	}
	say(m, "allocations that matched %lu, failed on purpose %lu\n", buddy_inject_seen,
		buddy_inject_fired);
	for (unsigned site = 0; site < NR_TLB_SITES; site++)
		if ((tlb_skip_local | tlb_skip_remote | tlb_skip_ack) >> site & 1)
			say(m, "flush left out: %s%s%s%s\n", tlb_site_name(site),
				tlb_skip_local >> site & 1 ? " local" : "",
				tlb_skip_remote >> site & 1 ? " remote" : "",
				tlb_skip_ack >> site & 1 ? " ack" : "");
	if (task_death.left)
		say(m, "%s is killed at its call number 0x%x, %s it, the %uth from now\n",
			task_death.name, task_death.call, task_death.after ? "after" : "before",
			task_death.left);
	if (seeded_bug)
		say(m, "mistake %u is on\n", seeded_bug);
	return STATUS_OK;
}

int cmd_inject(struct monitor *m, int argc, char **argv)
{
	if (argc >= 2 && arg_is(argv[1], "fail-alloc"))
		return inject_fail(m, argc, argv);
	if (argc >= 2 && arg_is(argv[1], "tlb-skip"))
		return inject_tlb(m, argc, argv);
	if (argc >= 2 && arg_is(argv[1], "kill"))
		return inject_kill(m, argc, argv);
	if (argc >= 2 && arg_is(argv[1], "seed"))
		return inject_seed(m, argc, argv);
	if (argc == 2 && arg_is(argv[1], "stat"))
		return inject_stat(m);
	if (argc != 2 || !arg_is(argv[1], "off"))
		return usage(m);
	buddy_inject_fail(0, -1);
	tlb_skip_local = tlb_skip_remote = tlb_skip_ack = 0;
	WRITE_ONCE(task_death.left, 0);
	WRITE_ONCE(seeded_bug, SEEDED_NONE);
	return STATUS_OK;
}
