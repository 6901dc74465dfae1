/*
 * tables.c - pt walk, pt dump, pt stat: the page tables as a person reads them               floor 7
 *
 * LOCKS     mm->lock (read) of the space; entries are read once each, without pt_lock: what is shown is what
 *           stood there then. Without PID the kernel's own table, which has no lock to take: so `pt walk`
 *           works when everything is stopped.
 */
#include "lib/string.h"
#include "mm/mm.h"
#include "mm/pgtable.h"
#include "mm/vma.h"
#include "monitor/command.h"
#include "monitor/json.h"
#include "x86/layout.h"
#include "x86/tlb.h"
#include <abi/errno.h>

static const char *const level_names[4] = {"pgd", "pud", "pmd", "pte"};
static const u8 level_shift[4] = {PGD_SHIFT, PUD_SHIFT, PMD_SHIFT, PAGE_SHIFT};

static const pgd_t *kernel_pgd(void)
{
	return phys_to_virt(tlb_kernel_root);
}

static bool is_canonical(vaddr_t addr)
{
	return (s64)(addr << 16) >> 16 == (s64)addr;
}

static const char *kind_name(enum entry_kind kind)
{
	return kind == ENTRY_LEAF ? "leaf" : kind == ENTRY_TABLE ? "table" : "hole";
}

/* The bits by their names in the manual. */
static void rights_text(struct monitor *m, u64 e, bool leaf)
{
	static const struct {
		u64 bit;
		const char *name;
	} bits[] = {
		{PTE_P, "P"},
		{PTE_RW, "RW"},
		{PTE_US, "US"},
		{PTE_PWT, "PWT"},
		{PTE_PCD, "PCD"},
		{PTE_A, "A"},
		{PTE_D, "D"},
		{PTE_NX, "NX"},
	};

	for (usize i = 0; i < ARRAY_SIZE(bits); i++)
		if (e & bits[i].bit)
			say(m, " %s", bits[i].name);
	if (leaf && entry_migrating(e))
		say(m, " MIGRATING");
	else if (leaf && entry_protnone(e))
		say(m, " PROTNONE");
	else if (leaf && e & PTE_G)
		say(m, " G");
	if (leaf && e & PTE_DEVICE)
		say(m, " device");
}

/* --- walk ------------------------------------------------------------------------------------------------- */

static void index_bits(struct monitor *m, vaddr_t addr, unsigned shift, unsigned bits)
{
	for (int bit = (int)(shift + bits) - 1; bit >= (int)shift; bit--)
		say(m, "%c", addr >> bit & 1 ? '1' : '0');
}

static void walk_text(struct monitor *m, vaddr_t addr, const struct pt_walk *w)
{
	int offset_bits = level_shift[w->levels - 1];

	say(m, "address 0x%016lx\n", addr);
	for (int i = 0; i < w->levels; i++) {
		bool last = i == w->levels - 1;
		enum entry_kind kind = last ? w->kind : ENTRY_TABLE;

		say(m, "  %s  bits %2u-%2u  ", level_names[i], level_shift[i] + 8, level_shift[i]);
		index_bits(m, addr, level_shift[i], 9);
		say(m, " = %3lu  0x%016lx  %s", addr >> level_shift[i] & 511, w->entry[i],
			kind_name(kind));
		if (kind != ENTRY_HOLE)
			rights_text(m, w->entry[i], kind == ENTRY_LEAF);
		say(m, "\n");
	}
	if (w->kind != ENTRY_LEAF) {
		say(m, "nothing is mapped there: a hole at the %s\n", level_names[w->levels - 1]);
		return;
	}
	say(m, "  offset bits %2u-0   ", offset_bits - 1);
	index_bits(m, addr, 0, (unsigned)offset_bits);
	say(m, "\nphysical 0x%lx: frame 0x%lx, in a page of %s\neffective rights: %s r%c%c\n",
		w->pa, w->pa >> PAGE_SHIFT,
		w->size == PAGE_SIZE        ? "4 KiB"
		: w->size == HPAGE_PMD_SIZE ? "2 MiB (the walk ends one level early)"
					    : "1 GiB (the walk ends two levels early)",
		w->rights & PTE_US ? "user" : "kernel", w->rights & PTE_RW ? 'w' : '-',
		w->rights & PTE_NX ? '-' : 'x');
}

static void walk_json(struct monitor *m, vaddr_t addr, const struct pt_walk *w)
{
	struct json j;

	json_begin(&j, m);
	json_hex(&j, "address", addr);
	json_array(&j, "entries");
	for (int i = 0; i < w->levels; i++) {
		json_object(&j, NULL);
		json_string(&j, "level", level_names[i]);
		json_unsigned(&j, "index", addr >> level_shift[i] & 511);
		json_hex(&j, "entry", w->entry[i]);
		json_close(&j, '}');
	}
	json_close(&j, ']');
	json_string(&j, "kind", kind_name(w->kind));
	if (w->kind == ENTRY_LEAF) {
		json_hex(&j, "physical", w->pa);
		json_unsigned(&j, "size", w->size);
		json_bool(&j, "writable", w->rights & PTE_RW);
		json_bool(&j, "user", w->rights & PTE_US);
		json_bool(&j, "no_execute", w->rights & PTE_NX);
	}
	json_end(&j);
}

static int pt_walk(struct monitor *m, const pgd_t *pgd, vaddr_t addr)
{
	struct pt_walk w;

	pgtable_walk(pgd, addr, &w);
	if (m->json)
		walk_json(m, addr, &w);
	else
		walk_text(m, addr, &w);
	return STATUS_OK;
}

/* --- every leaf of a half, in order --------------------------------------------------------------------------- */

struct tally {
	u64 tables[4];  /* [1] puds' tables, [2] pmds', [3] ptes' */
	u64 leaves[4];  /* [1] 1 GiB, [2] 2 MiB, [3] 4 KiB */
	u64 entries[4]; /* not holes */
};

struct leaves {
	struct monitor *m;
	struct tally tally;
	/* dump: the run of leaves that is being collected */
	bool dump;
	vaddr_t start, end;
	paddr_t pa, pa_end;
	u64 rights, size, count;
	u64 lines;
	bool stop;
};

#define RUN_RIGHTS (PTE_P | PTE_RW | PTE_US | PTE_NX | PTE_PCD | PTE_DEVICE)

static const char *size_name(u64 size)
{
	return size == PAGE_SIZE ? "4K" : size == HPAGE_PMD_SIZE ? "2M" : "1G";
}

static void run_flush(struct leaves *l)
{
	if (!l->count)
		return;
	say(l->m, "0x%016lx-0x%016lx %8lu kB %6lu x %s ", l->start, l->end,
		(l->end - l->start) >> 10, l->count, size_name(l->size));
	rights_text(l->m, l->rights, true);
	say(l->m, "  -> 0x%lx\n", l->pa);
	l->count = 0;
	l->lines++;
	l->stop = monitor_interrupted(l->m);
}

/* One leaf; `rights` are effective. Neighbours in both spaces with equal rights make one line. */
static void leaf_seen(struct leaves *l, vaddr_t addr, u64 e, u64 size)
{
	paddr_t pa = entry_addr(e) & ~(size - 1);
	u64 rights = e & (entry_protnone(e) ? RUN_RIGHTS | PTE_PROTNONE : RUN_RIGHTS);

	if (!l->dump)
		return;
	if (l->count &&
		(l->end != addr || l->rights != rights || l->size != size || l->pa_end != pa))
		run_flush(l);
	if (!l->count) {
		l->start = addr;
		l->pa = pa;
		l->rights = rights;
		l->size = size;
	}
	l->count++;
	l->end = addr + size;
	l->pa_end = pa + size;
}

static vaddr_t sign_extend(vaddr_t addr)
{
	return (vaddr_t)((s64)(addr << 16) >> 16);
}

static void leaves_of_pte(struct leaves *l, pmd_t pmd, vaddr_t base)
{
	for (u64 i = 0; i < PTRS_PER_TABLE && !l->stop; i++) {
		pte_t e = pte_read((const pte_t *)table_ptr(pmd.v) + i);

		if (pte_kind(e) == ENTRY_HOLE)
			continue;
		l->tally.entries[3]++;
		l->tally.leaves[3]++;
		leaf_seen(l, base + (i << PAGE_SHIFT), e.v, PAGE_SIZE);
	}
}

static void leaves_of_pmd(struct leaves *l, pud_t pud, vaddr_t base)
{
	for (u64 i = 0; i < PTRS_PER_TABLE && !l->stop; i++) {
		pmd_t e = pmd_read((const pmd_t *)table_ptr(pud.v) + i);
		vaddr_t addr = base + (i << PMD_SHIFT);

		if (pmd_kind(e) == ENTRY_HOLE)
			continue;
		l->tally.entries[2]++;
		if (pmd_kind(e) == ENTRY_LEAF) {
			l->tally.leaves[2]++;
			leaf_seen(l, addr, e.v, HPAGE_PMD_SIZE);
		} else {
			l->tally.tables[3]++;
			leaves_of_pte(l, e, addr);
		}
	}
}

static void leaves_of_pud(struct leaves *l, pgd_t pgd, vaddr_t base)
{
	for (u64 i = 0; i < PTRS_PER_TABLE && !l->stop; i++) {
		pud_t e = pud_read((const pud_t *)table_ptr(pgd.v) + i);
		vaddr_t addr = base + (i << PUD_SHIFT);

		if (pud_kind(e) == ENTRY_HOLE)
			continue;
		l->tally.entries[1]++;
		if (pud_kind(e) == ENTRY_LEAF) {
			l->tally.leaves[1]++;
			leaf_seen(l, addr, e.v, HPAGE_PUD_SIZE);
		} else {
			l->tally.tables[2]++;
			leaves_of_pmd(l, e, addr);
		}
	}
}

/* One half of a root: entries [from, from + 256). */
static void leaves_walk(struct leaves *l, const pgd_t *pgd, unsigned from)
{
	for (u64 i = from; i < from + 256 && !l->stop; i++) {
		pgd_t e = pgd_read(pgd + i);

		if (pgd_kind(e) == ENTRY_HOLE)
			continue;
		l->tally.entries[0]++;
		l->tally.tables[1]++;
		leaves_of_pud(l, e, sign_extend(i << PGD_SHIFT));
	}
	if (l->dump)
		run_flush(l);
}

/* --- dump, stat ---------------------------------------------------------------------------------------------- */

static void stat_text(struct monitor *m, const struct tally *t, const struct mm *mm)
{
	say(m, "level  tables  entries in use    leaves\n");
	say(m, "pgd    %6u  %14lu         -\n", 1, t->entries[0]);
	say(m, "pud    %6lu  %14lu  %8lu of 1 GiB\n", t->tables[1], t->entries[1], t->leaves[1]);
	say(m, "pmd    %6lu  %14lu  %8lu of 2 MiB\n", t->tables[2], t->entries[2], t->leaves[2]);
	say(m, "pte    %6lu  %14lu  %8lu of 4 KiB\n", t->tables[3], t->entries[3], t->leaves[3]);
	if (mm)
		say(m,
			"%lu table frames (%lu kB) without the root, %lu of them deposited under "
			"huge pages\n",
			mm->nr_tables, mm->nr_tables << (PAGE_SHIFT - 10),
			mm->nr_tables - t->tables[1] - t->tables[2] - t->tables[3]);
}

static void stat_json(struct monitor *m, const struct tally *t, const struct mm *mm)
{
	struct json j;

	json_begin(&j, m);
	json_array(&j, "levels");
	for (int i = 0; i < 4; i++) {
		json_object(&j, NULL);
		json_string(&j, "level", level_names[i]);
		json_unsigned(&j, "tables", i ? t->tables[i] : 1);
		json_unsigned(&j, "entries", t->entries[i]);
		json_unsigned(&j, "leaves", t->leaves[i]);
		json_close(&j, '}');
	}
	json_close(&j, ']');
	if (mm)
		json_unsigned(&j, "nr_tables", mm->nr_tables);
	json_end(&j);
}

static int pt_all(struct monitor *m, const pgd_t *pgd, const struct mm *mm, bool dump)
{
	struct leaves l = {.m = m, .dump = dump};

	if (dump && m->json)
		return usage(m);
	leaves_walk(&l, pgd, mm ? 0 : 256);
	if (dump)
		say(m, "%lu ranges%s\n", l.lines, l.stop ? ", interrupted" : "");
	else if (m->json)
		stat_json(m, &l.tally, mm);
	else
		stat_text(m, &l.tally, mm);
	return STATUS_OK;
}

/* --- the command ----------------------------------------------------------------------------------------------- */

struct pt_args {
	bool walk, dump;
	vaddr_t addr;
	const char *pid; /* or NULL: the kernel */
};

static bool pt_parse(struct pt_args *a, int argc, char **argv)
{
	*a = (struct pt_args){.pid = NULL};
	if (argc < 2)
		return false;
	a->walk = arg_is(argv[1], "walk");
	a->dump = arg_is(argv[1], "dump");
	if (!a->walk && !a->dump && !arg_is(argv[1], "stat"))
		return false;
	if (a->walk && (argc < 3 || !arg_number(argv[2], &a->addr)))
		return false;
	if (argc > 3 + a->walk)
		return false;
	if (argc == 3 + a->walk)
		a->pid = argv[2 + a->walk];
	return true;
}

static int pt_do(struct monitor *m, const struct pt_args *a, const pgd_t *pgd, const struct mm *mm)
{
	return a->walk ? pt_walk(m, pgd, a->addr) : pt_all(m, pgd, mm, a->dump);
}

int cmd_pt(struct monitor *m, int argc, char **argv)
{
	struct pt_args a;
	struct task *t;
	struct mm *mm;
	int status;

	if (!pt_parse(&a, argc, argv))
		return usage(m);
	if (a.walk && !is_canonical(a.addr))
		return fail(m, "0x%lx: not canonical: bits 63-47 must be equal", a.addr);
	if (!a.pid)
		return pt_do(m, &a, kernel_pgd(), NULL);
	if (m->stopped)
		return fail(m, "%s", errno_text(-EAGAIN));
	t = arg_task(m, a.pid);
	if (!t)
		return STATUS_FAILED;
	mm = report_space(t);
	status = mm ? pt_do(m, &a, mm->pgd, mm) : fail(m, "%u: its space is gone", t->pid);
	if (mm)
		report_space_done(mm);
	task_put(t);
	return status;
}
