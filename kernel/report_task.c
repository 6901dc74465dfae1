/*
 * report_task.c - the files of one task: maps, smaps, status, pagemap ...                    floor 7
 *
 * Writes Linux's text from the areas and the counts of a space. A task that has ended keeps its status;
 * its memory files are empty, as Linux's are for a zombie.
 *
 * LOCKS     mm->lock (read) for one record: an area of maps or smaps. The space is held by `users`, so it
 *           cannot be emptied meanwhile; whoever drops the last one empties it.
 * LINUX     fs/proc/task_mmu.c, fs/proc/array.c.
 */
#include "report_nodes.h"
#include "lib/format.h"
#include "lib/string.h"
#include "mm/buddy.h"
#include "mm/mm.h"
#include "mm/mmap.h"
#include "mm/pgtable.h"
#include "mm/thp.h"
#include "mm/vma.h"
#include "mutex.h"
#include <abi/errno.h>

#define KB(pages) ((pages) << (PAGE_SHIFT - 10))

/* --- a task and its space, as they are at one moment ------------------------------------------- */

struct task_view {
	const struct task *task;
	struct mm *mm; /* with a user's reference, or NULL */
	u32 pid, ppid, pgrp, session, cpu, threads;
	u64 minflt, majflt, runtime_ns;
	char name[16];
	char state;
	bool want_mm;
};

static char state_letter(const struct task *t)
{
	const struct thread *th;

	if (t->ending)
		return 'X';
	list_for_each_entry (th, &t->threads, task_link) {
		if (th->state != THREAD_BLOCKED)
			return 'R';
	}
	return 'S';
}

/* Of its threads, and of those that are gone. */
static u64 runtime_of(const struct task *t)
{
	const struct thread *th;
	u64 sum = t->runtime_ns;

	list_for_each_entry (th, &t->threads, task_link)
		sum += th->runtime_ns;
	return sum;
}

/* Runs under the lock of the table of tasks: thread and mm are what they are until it ends. */
static bool view_take(struct task *t, void *ctx)
{
	struct task_view *view = ctx;

	if (t != view->task)
		return true;
	view->pid = t->pid;
	view->ppid = t->ppid;
	view->pgrp = t->labelled ? t->pgrp : t->pid;
	view->session = t->labelled ? t->session : t->pid;
	view->threads = MAX(t->nr_threads, 1u);
	view->cpu = t->thread ? t->thread->cpu : 0;
	view->minflt = t->minflt;
	view->majflt = t->majflt;
	view->runtime_ns = runtime_of(t);
	view->state = state_letter(t);
	strscpy(view->name, t->name, sizeof(view->name));
	if (view->want_mm && t->state == TASK_ALIVE && t->mm && mm_get_user(t->mm))
		view->mm = t->mm;
	return false;
}

static void view_open(struct task_view *view, struct task *task, bool want_mm)
{
	memset(view, 0, sizeof(*view));
	view->task = task;
	view->want_mm = want_mm;
	view->pid = task->pid;
	view->state = 'X';
	task_for_each(view_take, view);
}

static void view_close(struct task_view *view)
{
	if (view->mm)
		task_drop_mm(view->mm);
}

/*
 * report_space - the space of a task, held so that it cannot be emptied; mm->lock is taken for reading.
 *
 *   locks    none held before; mm->lock (read) on return
 *   returns  NULL: the task has none any more; else report_space_done() follows
 *   Linux    get_task_mm, mmap_read_lock
 */
struct mm *report_space(struct task *task)
{
	struct task_view view;

	view_open(&view, task, true);
	if (view.mm)
		rwsem_read_lock(&view.mm->lock);
	return view.mm;
}

void report_space_done(struct mm *mm)
{
	struct task_view view = {.mm = mm};

	rwsem_read_unlock(&mm->lock);
	view_close(&view);
}

static bool view_space(struct task_view *view, struct task *task)
{
	view_open(view, task, true);
	if (view->mm)
		rwsem_read_lock(&view->mm->lock);
	return view->mm;
}

static void view_space_done(struct task_view *view)
{
	rwsem_read_unlock(&view->mm->lock);
	view_close(view);
}

/* --- maps, smaps ------------------------------------------------------------------------------------ */

/* "00400000-00401000 r-xp 00000000 00:00 0", padded to the column of the name when there is one. */
static void show_range(
	struct report_out *out, vaddr_t start, vaddr_t end, u32 flags, u64 offset, const char *name)
{
	char line[64];
	int n = format(line, sizeof(line), "%08lx-%08lx %c%c%c%c %08lx 00:00 0 ", start, end,
		flags & VM_READ ? 'r' : '-', flags & VM_WRITE ? 'w' : '-',
		flags & VM_EXEC ? 'x' : '-', flags & VM_SHARED ? 's' : 'p', offset);

	report_puts(out, line);
	if (*name)
		report_printf(out, "%*s%s", n < 72 ? 73 - n : 1, " ", name);
	report_puts(out, "\n");
}

/* Where in its object the area begins. */
static u64 area_offset(const struct vma *v)
{
	return v->kind == VMA_OBJECT ? v->pgoff << PAGE_SHIFT : 0;
}

static bool show_maps(struct report_out *out, struct task *task, u64 *cursor)
{
	struct task_view view;
	struct vma *v;

	if (!view_space(&view, task))
		return false;
	v = vma_find_from(view.mm, *cursor);
	if (v) {
		show_range(out, v->start, v->end, v->flags, area_offset(v), v->name);
		*cursor = v->end;
	}
	view_space_done(&view);
	return v;
}

static void smaps_kb(struct report_out *out, const char *name, u64 bytes)
{
	report_printf(out, "%-16s%8lu kB\n", name, bytes >> 10);
}

static void show_usage(struct report_out *out, const struct report_usage *u, bool rollup)
{
	smaps_kb(out, "Rss:", u->rss);
	smaps_kb(out, "Pss:", u->pss >> REPORT_PSS_SHIFT);
	smaps_kb(out, "Pss_Dirty:", u->pss_dirty >> REPORT_PSS_SHIFT);
	if (rollup) {
		smaps_kb(out, "Pss_Anon:", (u->pss - u->pss_shared) >> REPORT_PSS_SHIFT);
		smaps_kb(out, "Pss_File:", 0);
		smaps_kb(out, "Pss_Shmem:", u->pss_shared >> REPORT_PSS_SHIFT);
	}
	smaps_kb(out, "Shared_Clean:", u->shared_clean);
	smaps_kb(out, "Shared_Dirty:", u->shared_dirty);
	smaps_kb(out, "Private_Clean:", u->private_clean);
	smaps_kb(out, "Private_Dirty:", u->private_dirty);
	smaps_kb(out, "Referenced:", u->referenced);
	smaps_kb(out, "Anonymous:", u->anonymous);
	smaps_kb(out, "LazyFree:", u->lazyfree);
	smaps_kb(out, "AnonHugePages:", u->anon_huge);
	smaps_kb(out, "ShmemPmdMapped:", u->shared_huge);
	smaps_kb(out, "FilePmdMapped:", 0);
	smaps_kb(out, "Shared_Hugetlb:", 0);
	smaps_kb(out, "Private_Hugetlb:", 0);
	smaps_kb(out, "Swap:", 0);
	smaps_kb(out, "SwapPss:", 0);
	smaps_kb(out, "Locked:", u->pss_locked >> REPORT_PSS_SHIFT);
}

/* Two letters for each flag, in Linux's order. mr mw me: mprotect may give the right. No sd: pagemap keeps no soft-dirty bits. */
static void show_vm_flags(struct report_out *out, const struct vma *v)
{
	const struct {
		u32 flag;
		const char *letters;
	} names[] = {
		{VM_READ, "rd "},
		{VM_WRITE, "wr "},
		{VM_EXEC, "ex "},
		{VM_SHARED, "sh "},
		{0, v->flags & VM_NOWRITE ? "mr me " : "mr mw me "},
		{VM_SHARED, "ms "},
		{VM_GROWSDOWN, "gd "},
		{VM_LOCKED, "lo "},
		{VM_SEQ_READ, "sr "},
		{VM_RAND_READ, "rr "},
		{VM_DONTFORK, "dc "},
		{VM_ACCOUNT, "ac "},
		{VM_NORESERVE, "nr "},
		{VM_WIPEONFORK, "wf "},
		{VM_DONTDUMP, "dd "},
		{VM_HUGEPAGE, "hg "},
		{VM_NOHUGEPAGE, "nh "},
		{VM_MERGEABLE, "mg "},
	};

	report_puts(out, "VmFlags: ");
	for (usize i = 0; i < ARRAY_SIZE(names); i++)
		if (!names[i].flag || v->flags & names[i].flag)
			report_puts(out, names[i].letters);
	report_puts(out, "\n");
}

/* May it have pages of this order, and does the last aligned place for one lie in it? */
static bool order_eligible(const struct vma *v, unsigned order)
{
	u64 size = PAGE_SIZE << order;

	return thp_order_reason(v, order) == THP_OK && v->end >= size &&
	       ALIGN_DOWN(v->end - size, size) >= v->start;
}

/* report_thp_eligible - may it have huge pages of any size, and is there room for one? Linux: thp_vma_allowable_orders */
bool report_thp_eligible(const struct vma *v)
{
	u32 orders = thp_settings.run_orders | 1u << HPAGE_PMD_ORDER;

	for (unsigned order = HPAGE_PMD_ORDER; order; order--)
		if (orders >> order & 1 && order_eligible(v, order))
			return true;
	return false;
}

static bool show_smaps(struct report_out *out, struct task *task, u64 *cursor)
{
	struct report_usage u = {0};
	struct task_view view;
	struct vma *v;

	if (!view_space(&view, task))
		return false;
	v = vma_find_from(view.mm, *cursor);
	if (v) {
		report_usage(v, &u);
		show_range(out, v->start, v->end, v->flags, area_offset(v), v->name);
		smaps_kb(out, "Size:", v->end - v->start);
		smaps_kb(out, "KernelPageSize:", PAGE_SIZE);
		smaps_kb(out, "MMUPageSize:", PAGE_SIZE);
		show_usage(out, &u, false);
		report_printf(out, "THPeligible:    %d\n", report_thp_eligible(v));
		show_vm_flags(out, v);
		*cursor = v->end;
	}
	view_space_done(&view);
	return v;
}

static bool show_smaps_rollup(struct report_out *out, struct task *task, u64 *cursor)
{
	struct report_usage u = {0};
	struct task_view view;
	struct vma *v, *first;
	vaddr_t end = 0;

	if (!report_once(cursor) || !view_space(&view, task))
		return false;
	first = vma_first(view.mm);
	for (v = first; v; v = vma_next(v)) {
		report_usage(v, &u);
		end = v->end;
	}
	if (first) {
		show_range(out, first->start, end, 0, 0, "[rollup]");
		show_usage(out, &u, true);
	}
	view_space_done(&view);
	return true;
}

/* --- status, stat, statm ----------------------------------------------------------------------------- */

/* The sizes of the areas by what they are for, in pages. */
struct sizes {
	u64 data, stack, exec;
};

static void sizes_count(struct mm *mm, struct sizes *s)
{
	for (struct vma *v = vma_first(mm); v; v = vma_next(v)) {
		u64 pages = vma_pages(v);

		if (v->flags & (VM_STACK | VM_GROWSDOWN))
			s->stack += pages;
		else if ((v->flags & (VM_WRITE | VM_SHARED)) == VM_WRITE)
			s->data += pages;
		else if (v->flags & VM_EXEC)
			s->exec += pages;
	}
}

static void show_status_memory(struct report_out *out, struct mm *mm)
{
	struct sizes s = {0};
	u64 rss = mm_rss(mm);

	sizes_count(mm, &s);
	report_printf(out, "VmSize:\t%8lu kB\n", KB(mm->total_vm));
	report_printf(out, "VmLck:\t%8lu kB\n", KB(mm->locked_vm));
	report_printf(out, "VmPin:\t%8u kB\n", 0);
	report_printf(out, "VmHWM:\t%8lu kB\n", KB(MAX(mm->peak_rss, rss)));
	report_printf(out, "VmRSS:\t%8lu kB\n", KB(rss));
	report_printf(out, "RssAnon:\t%8lu kB\n", KB(READ_ONCE(mm->nr_anon)));
	report_printf(out, "RssFile:\t%8u kB\n", 0);
	report_printf(out, "RssShmem:\t%8lu kB\n", KB(READ_ONCE(mm->nr_shared)));
	report_printf(out, "VmData:\t%8lu kB\n", KB(s.data));
	report_printf(out, "VmStk:\t%8lu kB\n", KB(s.stack));
	report_printf(out, "VmExe:\t%8lu kB\n", KB(s.exec));
	report_printf(out, "VmLib:\t%8u kB\n", 0);
	report_printf(out, "VmPTE:\t%8lu kB\n", KB(READ_ONCE(mm->nr_tables)));
	report_printf(out, "VmSwap:\t%8u kB\n", 0);
	report_printf(out, "HugetlbPages:\t%8u kB\n", 0);
	report_printf(out, "THP_enabled:\t%d\n", !mm->thp_disable);
}

static const char *state_name(char letter)
{
	switch (letter) {
	case 'R':
		return "R (running)";
	case 'S':
		return "S (sleeping)";
	}
	return "X (dead)";
}

static bool show_status(struct report_out *out, struct task *task, u64 *cursor)
{
	struct task_view view;
	bool space;

	if (!report_once(cursor))
		return false;
	space = view_space(&view, task);
	report_printf(
		out, "Name:\t%s\nUmask:\t0022\nState:\t%s\n", view.name, state_name(view.state));
	report_printf(out, "Tgid:\t%u\nNgid:\t0\nPid:\t%u\nPPid:\t%u\nTracerPid:\t0\n", view.pid,
		view.pid, view.ppid);
	report_puts(out, "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n");
	if (space)
		show_status_memory(out, view.mm);
	report_printf(out, "Threads:\t%u\n", view.threads);
	if (space)
		view_space_done(&view);
	return true;
}

/* The 52 fields of proc(5); those that have no meaning here are 0. */
static bool show_stat(struct report_out *out, struct task *task, u64 *cursor)
{
	struct task_view view;
	u64 vsize = 0, rss = 0, stack = 0, brk = 0, args = 0, args_end = 0;
	bool space;

	if (!report_once(cursor))
		return false;
	space = view_space(&view, task);
	if (space) {
		vsize = view.mm->total_vm << PAGE_SHIFT;
		rss = mm_rss(view.mm);
		stack = view.mm->stack_top;
		brk = view.mm->brk_start;
		args = view.mm->arg_start;
		args_end = view.mm->arg_end;
		view_space_done(&view);
	}
	report_printf(out, "%u (%s) %c %u %u %u 0 -1 0 %lu 0 %lu 0 %lu 0 0 0 20 0 %u 0 0 ",
		view.pid, view.name, view.state, view.ppid, view.pgrp, view.session, view.minflt,
		view.majflt, view.runtime_ns / 10000000, view.threads);
	report_printf(out,
		"%lu %lu 18446744073709551615 0 0 %lu 0 0 0 0 0 0 0 0 0 17 %u 0 0 0 0 0 ", vsize,
		rss, stack, view.cpu);
	report_printf(out, "0 0 %lu %lu %lu 0 0 0\n", brk, args, args_end);
	return true;
}

static bool show_statm(struct report_out *out, struct task *task, u64 *cursor)
{
	struct task_view view;
	struct sizes s = {0};

	if (!report_once(cursor))
		return false;
	if (!view_space(&view, task)) {
		report_puts(out, "0 0 0 0 0 0 0\n");
		return true;
	}
	sizes_count(view.mm, &s);
	report_printf(out, "%lu %lu %lu %lu 0 %lu 0\n", view.mm->total_vm, mm_rss(view.mm),
		READ_ONCE(view.mm->nr_shared), s.exec, s.data + s.stack);
	view_space_done(&view);
	return true;
}

/* --- comm, cmdline, pagemap ------------------------------------------------------------------------------ */

static bool show_comm(struct report_out *out, struct task *task, u64 *cursor)
{
	if (!report_once(cursor))
		return false;
	report_printf(out, "%s\n", task->name);
	return true;
}

/* Bytes of another space, as far as they are present: from its tables, through the direct map. */
static usize space_peek(struct mm *mm, vaddr_t addr, char *buf, usize len)
{
	struct pt_walk w;

	spin_lock(&mm->pt_lock);
	pgtable_walk(mm->pgd, addr, &w);
	if (w.kind == ENTRY_LEAF && w.rights & PTE_US) {
		len = MIN(len, PAGE_SIZE - (addr & (PAGE_SIZE - 1)));
		memcpy(buf, phys_to_virt(w.pa), len);
	} else {
		len = 0;
	}
	spin_unlock(&mm->pt_lock);
	return len;
}

static bool show_cmdline(struct report_out *out, struct task *task, u64 *cursor)
{
	struct task_view view;
	char piece[128];

	if (!report_once(cursor) || !view_space(&view, task))
		return false;
	for (vaddr_t a = view.mm->arg_start; a < view.mm->arg_end;) {
		usize n = space_peek(view.mm, a, piece, MIN(sizeof(piece), view.mm->arg_end - a));

		if (!n)
			break;
		out->put(out->ctx, piece, n);
		a += n;
	}
	view_space_done(&view);
	return true;
}

/* 1 to 3: what smaps calls referenced (we have no files: all is anonymous). 4, 5 have nothing to clear here. */
static int store_clear_refs(struct task *task, const char *text)
{
	struct task_view view;
	u64 what;

	if (report_number(text, 1, 5, &what))
		return -EINVAL;
	if (what > 3 || !view_space(&view, task))
		return 0;
	for (struct vma *v = vma_first(view.mm); v; v = vma_next(v))
		report_clear_referenced(v);
	view_space_done(&view);
	return 0;
}

static bool show_oom_score_adj(struct report_out *out, struct task *task, u64 *cursor)
{
	if (!report_once(cursor))
		return false;
	report_printf(out, "%d\n", READ_ONCE(task->oom_score_adj));
	return true;
}

/* Kept, and shown again; who goes when memory is short is decided by what tasks use (oom.c). */
static int store_oom_score_adj(struct task *task, const char *text)
{
	bool negative = text[0] == '-';
	u64 value;

	if ((negative && text[1] == '+') || report_number(text + negative, 0, 1000, &value))
		return -EINVAL;
	WRITE_ONCE(task->oom_score_adj, negative ? -(int)value : (int)value);
	return 0;
}

/* Thousandths of all memory. */
static bool show_oom_score(struct report_out *out, struct task *task, u64 *cursor)
{
	struct task_view view;
	u64 total = 0, rss = 0;

	if (!report_once(cursor))
		return false;
	total = zone_managed_pages();
	if (view_space(&view, task)) {
		rss = mm_rss(view.mm);
		view_space_done(&view);
	}
	report_printf(out, "%lu\n", rss * 1000 / MAX(total, 1ul));
	return true;
}

static s64 read_pagemap(struct task *task, u64 pos, void *buf, usize len)
{
	u64 first = pos / 8, n = len / 8, last = USER_END >> PAGE_SHIFT;
	struct task_view view;

	if (pos % 8 || len % 8)
		return -EINVAL;
	if (first >= last || !view_space(&view, task))
		return 0;
	n = MIN(n, last - first);
	report_pagemap_range(view.mm, first << PAGE_SHIFT, n, buf);
	view_space_done(&view);
	return (s64)(n * 8);
}

const struct report_node report_task_nodes[] = {
	{"clear_refs", 0200, 0, NULL, NULL, store_clear_refs},
	{"cmdline", 0444, 0, show_cmdline, NULL, NULL},
	{"comm", 0444, 0, show_comm, NULL, NULL},
	{"maps", 0444, 0, show_maps, NULL, NULL},
	{"oom_score", 0444, 0, show_oom_score, NULL, NULL},
	{"oom_score_adj", 0644, 0, show_oom_score_adj, NULL, store_oom_score_adj},
	{"pagemap", 0400, 0, NULL, read_pagemap, NULL},
	{"smaps", 0444, 0, show_smaps, NULL, NULL},
	{"smaps_rollup", 0444, 0, show_smaps_rollup, NULL, NULL},
	{"stat", 0444, 0, show_stat, NULL, NULL},
	{"statm", 0444, 0, show_statm, NULL, NULL},
	{"status", 0444, 0, show_status, NULL, NULL},
	{NULL, 0, 0, NULL, NULL, NULL},
};
