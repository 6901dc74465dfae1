/*
 * tasks.c - ps, pmap, smaps, pagemap                                                         floor 7
 *
 * LOCKS     ps copies what it shows under the tasks' and threads' locks and prints afterwards; the others hold
 *           mm->lock (read) of the one space they show.
 */
#include "ksyms.h"
#include "lib/format.h"
#include "lib/string.h"
#include "mm/kmalloc.h"
#include "mm/mm.h"
#include "mm/pgtable.h"
#include "mm/vma.h"
#include "monitor/command.h"
#include "monitor/json.h"
#include "sched.h"
#include "task.h"
#include "x86/smp.h"
#include <abi/errno.h>

#define KB(pages) ((pages) << (PAGE_SHIFT - 10))

/* --- ps ------------------------------------------------------------------------------------------------ */

#define PS_ROWS 256u

struct ps_row {
	u32 pid, ppid, cpu, space;
	char state;
	char name[16], waiting[32];
	u64 runtime_ns, anon, tables, minflt;
};

struct ps {
	u32 used, more; /* rows; tasks that found no room */
	struct ps_row row[PS_ROWS];
};

static char thread_letter(const struct thread *t)
{
	switch (t->state) {
	case THREAD_RUNNING:
	case THREAD_READY:
		return 'R';
	case THREAD_BLOCKED:
		return 'S';
	default:
		return 'X';
	}
}

static struct ps_row *ps_add(struct ps *ps, const struct thread *t)
{
	struct ps_row *r = &ps->row[ps->used];
	const char *name;

	if (ps->used == PS_ROWS) {
		ps->more++;
		return NULL;
	}
	ps->used++;
	memset(r, 0, sizeof(*r));
	if (!t)
		return r;
	r->cpu = t->cpu;
	r->state = thread_letter(t);
	r->runtime_ns = t->runtime_ns;
	strscpy(r->name, t->name, sizeof(r->name));
	name = thread_waiting_name(t);
	if (t->state == THREAD_BLOCKED && name)
		strscpy(r->waiting, name, sizeof(r->waiting));
	return r;
}

/* Under the tasks' lock, so its space stays. */
static bool ps_task(struct task *t, void *ctx)
{
	struct ps_row *r = ps_add(ctx, t->thread);

	if (!r)
		return true;
	r->pid = t->pid;
	r->ppid = t->ppid;
	r->minflt = t->minflt;
	strscpy(r->name, t->name, sizeof(r->name));
	if (!t->thread)
		r->runtime_ns = t->runtime_ns;
	if (t->mm) {
		r->space = t->mm->id;
		r->anon = READ_ONCE(t->mm->nr_anon);
		r->tables = READ_ONCE(t->mm->nr_tables);
	}
	return true;
}

static bool ps_kernel_thread(struct thread *t, void *ctx)
{
	if (!t->task)
		ps_add(ctx, t);
	return true;
}

static void ps_text(struct monitor *m, const struct ps *ps)
{
	say(m, "  PID  PPID S CPU      TIME SPACE   RSS kB  PTE kB   FAULTS NAME\n");
	for (u32 i = 0; i < ps->used; i++) {
		const struct ps_row *r = &ps->row[i];

		if (r->pid)
			say(m, "%5u %5u %c %3u %5lu.%03lu %5u %8lu %7lu %8lu %s", r->pid, r->ppid,
				r->state, r->cpu, r->runtime_ns / 1000000000,
				r->runtime_ns / 1000000 % 1000, r->space, KB(r->anon),
				KB(r->tables), r->minflt, r->name);
		else
			say(m, "    -     - %c %3u %5lu.%03lu     -        -       -        - [%s]",
				r->state, r->cpu, r->runtime_ns / 1000000000,
				r->runtime_ns / 1000000 % 1000, r->name);
		say(m, r->waiting[0] ? " (waits: %s)\n" : "\n", r->waiting);
	}
	if (ps->more)
		say(m, "... and %u more\n", ps->more);
}

static void ps_json(struct monitor *m, const struct ps *ps)
{
	struct json j;

	json_begin(&j, m);
	json_array(&j, "tasks");
	for (u32 i = 0; i < ps->used; i++) {
		const struct ps_row *r = &ps->row[i];
		char state[2] = {r->state, 0};

		json_object(&j, NULL);
		json_unsigned(&j, "pid", r->pid);
		json_unsigned(&j, "ppid", r->ppid);
		json_string(&j, "name", r->name);
		json_string(&j, "state", state);
		json_unsigned(&j, "cpu", r->cpu);
		json_unsigned(&j, "runtime_ns", r->runtime_ns);
		json_unsigned(&j, "space", r->space);
		json_unsigned(&j, "rss_kb", KB(r->anon));
		json_unsigned(&j, "pte_kb", KB(r->tables));
		json_unsigned(&j, "minflt", r->minflt);
		json_string(&j, "waiting", r->waiting);
		json_close(&j, '}');
	}
	json_close(&j, ']');
	json_unsigned(&j, "more", ps->more);
	json_end(&j);
}

/* Everything stopped: no list may be walked, but each CPU says what it was doing. */
static int ps_stopped(struct monitor *m)
{
	if (m->json)
		return fail(m, "%s", errno_text(-EAGAIN));
	for_each_cpu (c) {
		const struct regs *regs = smp_stopped_regs(c->id);
		const struct thread *t = c->current;
		u64 offset = 0;
		const char *name = regs ? ksym_find(regs->rip, &offset) : NULL;

		say(m, "cpu %-2u  %s%s", c->id, t ? t->name : "-",
			c == this_cpu() ? "  (this one)" : "");
		if (regs && regs_from_user(regs))
			say(m, "  in ring 3 at 0x%lx", regs->rip);
		else if (name)
			say(m, "  at %s+0x%lx", name, offset);
		say(m, "\n");
	}
	return STATUS_OK;
}

int cmd_ps(struct monitor *m, int argc, char **argv)
{
	struct ps *ps;

	if (argc > 1)
		return usage(m);
	if (m->stopped)
		return ps_stopped(m);
	ps = kmalloc(sizeof(*ps));
	if (!ps)
		return fail(m, "no memory");
	ps->used = ps->more = 0;
	task_for_each(ps_task, ps);
	thread_for_each(ps_kernel_thread, ps);
	if (m->json)
		ps_json(m, ps);
	else
		ps_text(m, ps);
	kfree(ps);
	return STATUS_OK;
}

/* --- pmap, smaps ------------------------------------------------------------------------------------------- */

static void mode_text(char *text, u32 flags)
{
	strscpy(text, "-----", 6);
	if (flags & VM_READ)
		text[0] = 'r';
	if (flags & VM_WRITE)
		text[1] = 'w';
	if (flags & VM_EXEC)
		text[2] = 'x';
}

struct pmap {
	struct json j;
	bool extended;
	u64 size, rss, dirty;
};

static void pmap_area(struct monitor *m, struct pmap *p, struct vma *v)
{
	const char *name = v->name[0] ? v->name : "[ anon ]";
	struct report_usage u = {0};
	u64 size = (v->end - v->start) >> 10, dirty;
	char mode[8];

	mode_text(mode, v->flags);
	if (p->extended || m->json)
		report_usage(v, &u);
	dirty = (u.private_dirty + u.shared_dirty) >> 10;
	p->size += size;
	p->rss += u.rss >> 10;
	p->dirty += dirty;
	if (m->json) {
		json_object(&p->j, NULL);
		json_hex(&p->j, "start", v->start);
		json_hex(&p->j, "end", v->end);
		json_string(&p->j, "mode", mode);
		json_string(&p->j, "name", v->name);
		json_unsigned(&p->j, "rss_kb", u.rss >> 10);
		json_unsigned(&p->j, "dirty_kb", dirty);
		json_unsigned(&p->j, "anon_huge_kb", u.anon_huge >> 10);
		json_close(&p->j, '}');
	} else if (p->extended) {
		say(m, "%016lx %7lu %7lu %7lu %s  %s\n", v->start, size, u.rss >> 10, dirty, mode,
			name);
	} else {
		say(m, "%016lx %6luK %s  %s\n", v->start, size, mode, name);
	}
}

static void pmap_begin(struct monitor *m, struct pmap *p, const struct task *t)
{
	if (m->json) {
		json_begin(&p->j, m);
		json_unsigned(&p->j, "pid", t->pid);
		json_string(&p->j, "name", t->name);
		json_array(&p->j, "areas");
		return;
	}
	say(m, "%u:   %s\n", t->pid, t->name);
	if (p->extended)
		say(m, "Address           Kbytes     RSS   Dirty Mode   Mapping\n");
}

static void pmap_end(struct monitor *m, struct pmap *p)
{
	if (m->json) {
		json_close(&p->j, ']');
		json_end(&p->j);
	} else if (p->extended) {
		say(m,
			"---------------- ------- ------- ------- \ntotal kB         %7lu %7lu "
			"%7lu\n",
			p->size, p->rss, p->dirty);
	} else {
		say(m, " total          %7luK\n", p->size);
	}
}

int cmd_pmap(struct monitor *m, int argc, char **argv)
{
	struct pmap p = {.extended = argc == 3};
	struct task *t;
	struct mm *mm;

	if (argc < 2 || argc > 3 || (argc == 3 && !arg_is(argv[1], "-x")))
		return usage(m);
	t = arg_task(m, argv[argc - 1]);
	if (!t)
		return STATUS_FAILED;
	pmap_begin(m, &p, t);
	mm = report_space(t);
	if (mm) {
		for (struct vma *v = vma_first(mm); v; v = vma_next(v))
			pmap_area(m, &p, v);
		report_space_done(mm);
	}
	pmap_end(m, &p);
	task_put(t);
	return STATUS_OK;
}

static void smaps_area_json(struct json *j, struct vma *v)
{
	struct report_usage u = {0};

	report_usage(v, &u);
	json_object(j, NULL);
	json_hex(j, "start", v->start);
	json_hex(j, "end", v->end);
	json_string(j, "name", v->name);
	json_unsigned(j, "Size", (v->end - v->start) >> 10);
	json_unsigned(j, "Rss", u.rss >> 10);
	json_unsigned(j, "Pss", u.pss >> REPORT_PSS_SHIFT >> 10);
	json_unsigned(j, "Shared_Clean", u.shared_clean >> 10);
	json_unsigned(j, "Shared_Dirty", u.shared_dirty >> 10);
	json_unsigned(j, "Private_Clean", u.private_clean >> 10);
	json_unsigned(j, "Private_Dirty", u.private_dirty >> 10);
	json_unsigned(j, "Referenced", u.referenced >> 10);
	json_unsigned(j, "Anonymous", u.anonymous >> 10);
	json_unsigned(j, "LazyFree", u.lazyfree >> 10);
	json_unsigned(j, "AnonHugePages", u.anon_huge >> 10);
	json_bool(j, "THPeligible", report_thp_eligible(v));
	json_close(j, '}');
}

int cmd_smaps(struct monitor *m, int argc, char **argv)
{
	char path[32];
	struct task *t;
	struct mm *mm;
	struct json j;
	int err;

	if (argc != 2)
		return usage(m);
	t = arg_task(m, argv[1]);
	if (!t)
		return STATUS_FAILED;
	if (!m->json) {
		format(path, sizeof(path), "/proc/%u/smaps", t->pid);
		task_put(t);
		err = report_show(path, NULL, false, &m->out);
		return err ? fail_errno(m, path, err) : STATUS_OK;
	}
	json_begin(&j, m);
	json_unsigned(&j, "pid", t->pid);
	json_array(&j, "areas");
	mm = report_space(t);
	if (mm) {
		for (struct vma *v = vma_first(mm); v; v = vma_next(v))
			smaps_area_json(&j, v);
		report_space_done(mm);
	}
	json_close(&j, ']');
	json_end(&j);
	task_put(t);
	return STATUS_OK;
}

/* --- pagemap -------------------------------------------------------------------------------------------------- */

#define PM_PRESENT   63
#define PM_FILE      61
#define PM_EXCLUSIVE 56
#define PM_SOFTDIRTY 55
#define PM_PFN       ((1ul << 55) - 1)

static void pagemap_line(struct monitor *m, struct json *j, vaddr_t addr, u64 entry)
{
	u64 flags = entry >> PM_PRESENT & 1 ? report_page_flags(entry & PM_PFN) : 0;

	if (m->json) {
		json_object(j, NULL);
		json_hex(j, "address", addr);
		json_hex(j, "entry", entry);
		json_hex(j, "pfn", entry & PM_PFN);
		json_bool(j, "present", entry >> PM_PRESENT & 1);
		json_hex(j, "kpageflags", flags);
		json_close(j, '}');
		return;
	}
	say(m, "0x%012lx  0x%016lx  ", addr, entry);
	if (!(entry >> PM_PRESENT & 1)) {
		say(m, "not present%s\n", entry >> PM_SOFTDIRTY & 1 ? "" : ", no area");
		return;
	}
	say(m, "frame 0x%lx%s%s%s%s%s\n", entry & PM_PFN,
		entry >> PM_EXCLUSIVE & 1 ? " exclusive" : "", entry >> PM_FILE & 1 ? " file" : "",
		flags >> 12 & 1 ? " anon" : "", flags >> 22 & 1 ? " thp" : "",
		flags >> 24 & 1 ? " zero-page" : "");
}

int cmd_pagemap(struct monitor *m, int argc, char **argv)
{
	u64 addr, count = 1;
	struct task *t;
	struct mm *mm;
	struct json j;

	if (argc < 3 || argc > 4 || !arg_number(argv[2], &addr) ||
		(argc == 4 && !arg_number(argv[3], &count)))
		return usage(m);
	if (addr >= USER_END || count > (USER_END - addr) >> PAGE_SHIFT)
		return fail(
			m, "0x%lx: not an address of ring 3 (they end at 0x%lx)", addr, USER_END);
	t = arg_task(m, argv[1]);
	if (!t)
		return STATUS_FAILED;
	if (m->json) {
		json_begin(&j, m);
		json_unsigned(&j, "pid", t->pid);
		json_array(&j, "pages");
	}
	for (addr &= PAGE_MASK; count && !monitor_interrupted(m); count--, addr += PAGE_SIZE) {
		u64 entry = 0;

		mm = report_space(t);
		if (mm) {
			entry = report_pagemap_entry(mm, addr);
			report_space_done(mm);
		}
		pagemap_line(m, &j, addr, entry);
	}
	if (m->json) {
		json_close(&j, ']');
		json_end(&j);
	}
	task_put(t);
	return STATUS_OK;
}
