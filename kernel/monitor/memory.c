/*
 * memory.c - physical memory: free, vmstat, buddyinfo, zoneinfo, slabinfo, memmap, page, zero, drop   floor 7
 *
 * LOCKS     none for what is lock-free; `page` takes the anon object's lock to walk the reverse map.
 */
#include "lib/string.h"
#include "mm/buddy.h"
#include "mm/kmalloc.h"
#include "mm/mm.h"
#include "mm/page.h"
#include "mm/pgtable.h"
#include "mm/reclaim.h"
#include "mm/rmap.h"
#include "mm/zero.h"
#include "monitor/command.h"
#include "monitor/json.h"
#include "vmstat.h"
#include <abi/errno.h>

#define KB(pages) ((pages) << (PAGE_SHIFT - 10))

/* --- free, vmstat -------------------------------------------------------------------------------------- */

int cmd_free(struct monitor *m, int argc, char **argv)
{
	u64 total = zone_managed_pages(), free = buddy_free_pages(), present = 0;
	struct json j;

	if (argc > 1)
		return usage(m);
	for_each_zone (z)
		present += z->present_pages;
	if (m->json) {
		json_begin(&j, m);
		json_fields(&j, "meminfo", "/proc/meminfo", NULL, m->stopped);
		json_end(&j);
		return STATUS_OK;
	}
	say(m, "               total        used        free\n");
	say(m, "Mem:    %12lu%12lu%12lu\n", KB(total), KB(total - free), KB(free));
	say(m, "Swap:   %12u%12u%12u\n", 0, 0, 0);
	say(m, "Frames: %12lu  of it for describing them: %lu.%02lu %% of memory\n",
		KB(page_memmap_pages), page_memmap_pages * 100 / present,
		page_memmap_pages * 10000 / present % 100);
	return STATUS_OK;
}

/* Passes on only the lines that begin with one of some words. */
struct filter {
	struct monitor *m;
	char **words;
	int count;
	u32 shown;
	char line[80];
	usize used;
};

static void filter_put(void *ctx, const char *s, usize len)
{
	struct filter *f = ctx;

	for (; len; len--, s++) {
		if (f->used < sizeof(f->line) - 1)
			f->line[f->used++] = *s;
		if (*s != '\n')
			continue;
		f->line[f->used] = '\0';
		for (int i = 0; i < f->count; i++) {
			if (!strncmp(f->line, f->words[i], strlen(f->words[i]))) {
				say(f->m, "%s", f->line);
				f->shown++;
				break;
			}
		}
		f->used = 0;
	}
}

int cmd_vmstat(struct monitor *m, int argc, char **argv)
{
	struct filter f = {.m = m, .words = argv + 1, .count = argc - 1};
	struct report_out out = {.put = filter_put, .ctx = &f};
	struct json j;

	if (m->json) {
		if (argc > 1)
			return usage(m);
		json_begin(&j, m);
		json_fields(&j, "counters", "/proc/vmstat", NULL, m->stopped);
		json_end(&j);
		return STATUS_OK;
	}
	report_show("/proc/vmstat", NULL, m->stopped, argc > 1 ? &out : &m->out);
	if (argc > 1 && !f.shown)
		return fail(m, "%s: no counter begins so", argv[1]);
	return STATUS_OK;
}

/* --- zones, caches ---------------------------------------------------------------------------------------- */

static void zone_json(struct json *j, const struct zone *z, bool all)
{
	json_object(j, NULL);
	json_number(j, "node", z->node);
	json_string(j, "zone", z->name);
	json_array(j, "nr_free");
	for (unsigned order = 0; order < NR_ORDERS; order++)
		json_unsigned(j, NULL, READ_ONCE(z->nr_free[order]));
	json_close(j, ']');
	if (all) {
		json_unsigned(j, "free", READ_ONCE(z->free_pages));
		json_unsigned(j, "min", z->watermark_min);
		json_unsigned(j, "low", z->watermark_low);
		json_unsigned(j, "high", z->watermark_high);
		json_unsigned(j, "start_pfn", z->start);
		json_unsigned(j, "spanned", z->end - z->start);
		json_unsigned(j, "present", z->present_pages);
		json_unsigned(j, "managed", z->managed_pages);
	}
	json_close(j, '}');
}

static int zones_json(struct monitor *m, bool all)
{
	struct json j;

	json_begin(&j, m);
	json_array(&j, "zones");
	for_each_zone (z)
		zone_json(&j, z, all);
	json_close(&j, ']');
	json_end(&j);
	return STATUS_OK;
}

int cmd_buddyinfo(struct monitor *m, int argc, char **argv)
{
	if (argc > 1)
		return usage(m);
	if (m->json)
		return zones_json(m, false);
	report_show("/proc/buddyinfo", NULL, m->stopped, &m->out);
	return STATUS_OK;
}

int cmd_zoneinfo(struct monitor *m, int argc, char **argv)
{
	if (argc > 1)
		return usage(m);
	if (m->json)
		return zones_json(m, true);
	report_show("/proc/zoneinfo", NULL, m->stopped, &m->out);
	return STATUS_OK;
}

static void cache_json(struct kmem_cache *c, void *ctx)
{
	struct json *j = ctx;

	json_object(j, NULL);
	json_string(j, "name", c->name);
	json_unsigned(j, "active_objs", c->nr_active);
	json_unsigned(j, "num_objs", c->nr_slabs * c->per_slab);
	json_unsigned(j, "objsize", c->size);
	json_unsigned(j, "objperslab", c->per_slab);
	json_unsigned(j, "pagesperslab", 1u << c->slab_order);
	json_unsigned(j, "slabs", c->nr_slabs);
	json_close(j, '}');
}

int cmd_slabinfo(struct monitor *m, int argc, char **argv)
{
	struct json j;

	if (argc > 1)
		return usage(m);
	if (!m->json) {
		report_show("/proc/slabinfo", NULL, false, &m->out);
		return STATUS_OK;
	}
	json_begin(&j, m);
	json_array(&j, "caches");
	kmem_cache_for_each(cache_json, &j);
	json_close(&j, ']');
	json_end(&j);
	return STATUS_OK;
}

/* --- memmap -------------------------------------------------------------------------------------------------- */

#define CELLS_PER_LINE 64 /* 128 MiB */

/* What a block of 2 MiB mostly is; lower case when some of it is free. */
enum cell {
	CELL_NONE,
	CELL_FREE,
	CELL_KERNEL,
	CELL_TABLE,
	CELL_ANON,
	CELL_HUGE,
	CELL_ZERO,
	CELL_MODULE,
	CELL_PINNED,
	NR_CELLS
};

static const struct {
	char letter;
	u8 colour; /* of the 256 of an ANSI terminal */
	const char *text;
} cells[NR_CELLS] = {
	[CELL_NONE] = {' ', 0, "no memory, or the firmware's"},
	[CELL_FREE] = {'.', 238, "free"},
	[CELL_KERNEL] = {'K', 33, "kernel"},
	[CELL_TABLE] = {'T', 208, "page tables"},
	[CELL_ANON] = {'A', 40, "4 KiB pages of programs"},
	[CELL_HUGE] = {'H', 201, "a huge page"},
	[CELL_ZERO] = {'Z', 231, "zero frames"},
	[CELL_MODULE] = {'M', 94, "initrd"},
	[CELL_PINNED] = {'P', 196, "pinned"},
};

static enum cell cell_of_type(enum page_type type)
{
	static const u8 map[NR_PAGE_TYPES] = {
		[PAGE_RESERVED] = CELL_NONE,
		[PAGE_FREE] = CELL_FREE,
		[PAGE_KERNEL] = CELL_KERNEL,
		[PAGE_TABLE] = CELL_TABLE,
		[PAGE_ANON] = CELL_ANON,
		[PAGE_ANON_HUGE] = CELL_HUGE,
		[PAGE_ZERO] = CELL_ZERO,
		[PAGE_PINNED] = CELL_PINNED,
		[PAGE_MODULE] = CELL_MODULE,
	};

	return type < NR_PAGE_TYPES ? map[type] : CELL_NONE;
}

/* The most frequent use in the block; *partly: some of it is free. */
static enum cell cell_of_block(pfn_t first, bool *partly)
{
	u32 count[NR_CELLS] = {0};
	enum cell best = CELL_NONE;

	*partly = false;
	if (pfn_in_huge(first))
		return CELL_HUGE;
	for (pfn_t pfn = first; pfn < MIN(first + HPAGE_PMD_NR, page_max_pfn); pfn++)
		count[cell_of_type(pfn_to_page(pfn)->type)]++;
	for (enum cell c = CELL_KERNEL; c < NR_CELLS; c++)
		if (count[c] > (best ? count[best] : 0))
			best = c;
	if (!best)
		return count[CELL_FREE] ? CELL_FREE : CELL_NONE;
	*partly = count[CELL_FREE];
	return best;
}

static char cell_letter(enum cell c, bool partly)
{
	return partly ? (char)(cells[c].letter + 'a' - 'A') : cells[c].letter;
}

/* Black on the cell's colour; written only where the colour changes. */
static void cell_colour(struct monitor *m, enum cell c)
{
	if (c)
		say(m, "\x1b[38;5;16;48;5;%um", cells[c].colour);
	else
		say(m, "\x1b[0m");
}

static void memmap_line(struct monitor *m, pfn_t first, bool colour)
{
	enum cell line[CELLS_PER_LINE];
	bool partly[CELLS_PER_LINE], any = false;
	u32 n = 0;

	for (pfn_t pfn = first; n < CELLS_PER_LINE && pfn < page_max_pfn;
		n++, pfn += HPAGE_PMD_NR) {
		line[n] = cell_of_block(pfn, &partly[n]);
		any |= line[n] != CELL_NONE;
	}
	if (!any)
		return;
	say(m, "%8lu M  ", first >> (20 - PAGE_SHIFT));
	for (u32 i = 0; i < n; i++) {
		if (colour && (i == 0 || line[i] != line[i - 1]))
			cell_colour(m, line[i]);
		say(m, "%c", cell_letter(line[i], partly[i]));
	}
	say(m, colour ? "\x1b[0m\n" : "\n");
}

static void memmap_json(struct monitor *m, const u64 *counts)
{
	struct json j;
	bool partly;

	json_begin(&j, m);
	json_array(&j, "blocks");
	for (pfn_t pfn = 0; pfn < page_max_pfn; pfn += HPAGE_PMD_NR) {
		enum cell c = cell_of_block(pfn, &partly);
		char text[2] = {cell_letter(c, partly), 0};

		json_string(&j, NULL, text);
	}
	json_close(&j, ']');
	json_object(&j, "frames");
	for (unsigned t = 0; t < NR_PAGE_TYPES; t++)
		json_unsigned(&j, page_type_name(t), counts[t]);
	json_close(&j, '}');
	json_end(&j);
}

int cmd_memmap(struct monitor *m, int argc, char **argv)
{
	bool colour = m->colour && argc == 1;
	u64 counts[NR_PAGE_TYPES];

	if (argc > 2 || (argc == 2 && !arg_is(argv[1], "--letters")))
		return usage(m);
	page_count_types(counts);
	if (m->json) {
		memmap_json(m, counts);
		return STATUS_OK;
	}
	for (pfn_t pfn = 0; pfn < page_max_pfn; pfn += CELLS_PER_LINE * HPAGE_PMD_NR)
		memmap_line(m, pfn, colour);
	say(m, "one cell is 2 MiB;");
	for (enum cell c = CELL_FREE; c < NR_CELLS; c++) {
		say(m, "%s ", c == CELL_ANON ? "\n " : "");
		if (colour)
			cell_colour(m, c);
		say(m, "%c%s %s;", cells[c].letter, colour ? "\x1b[0m" : "", cells[c].text);
	}
	say(m, " lower case: partly free\n");
	for (unsigned t = PAGE_FREE; t < NR_PAGE_TYPES; t++)
		if (counts[t])
			say(m, "  %-10s %10lu kB\n", page_type_name(t), KB(counts[t]));
	return STATUS_OK;
}

/* --- page ----------------------------------------------------------------------------------------------------- */

struct page_search {
	struct monitor *m;
	struct json *j;
	pfn_t pfn;
	u32 found;
};

static void mapping_out(struct page_search *s, struct vma *v, vaddr_t addr, bool huge, u64 entry)
{
	bool writable = entry & PTE_RW;

	s->found++;
	if (!s->m->json) {
		say(s->m, "  mapped at 0x%lx in space %u (%s), %s, %s\n", addr, v->mm->id,
			v->name[0] ? v->name : "anonymous", huge ? "by a pmd" : "by a pte",
			writable ? "writable" : "read-only");
		return;
	}
	json_object(s->j, NULL);
	json_hex(s->j, "address", addr);
	json_unsigned(s->j, "space", v->mm->id);
	json_string(s->j, "level", huge ? "pmd" : "pte");
	json_bool(s->j, "writable", writable);
	json_close(s->j, '}');
}

/* Does this area map the very frame there? The reverse map says where to look, not what is there. */
static bool page_look(struct vma *v, vaddr_t addr, void *ctx)
{
	struct page_search *s = ctx;
	pmd_t pmd;
	pte_t pte = {0};
	u64 entry = 0;
	bool huge = false;

	spin_lock(&v->mm->pt_lock);
	pmd = pgtable_look_pmd(v->mm, addr);
	if (pmd_kind(pmd) == ENTRY_LEAF) {
		huge = true;
		if (pmd_pfn(pmd) + pte_index(addr) == s->pfn)
			entry = pmd.v;
	} else if (pmd_kind(pmd) == ENTRY_TABLE) {
		pte = pte_read(pte_ptr(pmd, addr));
		if (pte_kind(pte) == ENTRY_LEAF && pte_pfn(pte) == s->pfn)
			entry = pte.v;
	}
	spin_unlock(&v->mm->pt_lock);
	if (entry)
		mapping_out(s, v, addr, huge, entry);
	return true;
}

static const char *const flag_names[] = {
	"buddy", "pcp", "lru", "active", "lazyfree", "deferred", "isolated"};

static void page_flags_text(struct monitor *m, const struct page *p)
{
	for (usize i = 0; i < ARRAY_SIZE(flag_names); i++)
		if (p->flags & 1u << i)
			say(m, " %s", flag_names[i]);
}

static void page_text(struct monitor *m, pfn_t pfn, struct page *head)
{
	struct page *p = pfn_to_page(pfn);
	struct pageblock *b = pfn_block(pfn);

	say(m, "frame 0x%lx (%lu), physical 0x%lx\n", pfn, pfn, pfn << PAGE_SHIFT);
	say(m, "  type      %s%s\n", page_type_name(head->type),
		head == p            ? page_is_huge(head) ? ", head of 512 frames" : ""
		: page_is_huge(head) ? ", a tail"
				     : "");
	say(m, "  flags    ");
	page_flags_text(m, head);
	say(m, "\n  refcount  %u\n", page_refcount(head));
	say(m, "  mapcount  %u (of the whole page: %lu)\n", pfn_mapcount(pfn),
		page_total_mapcount(head));
	if (head != p)
		say(m, "  head      0x%lx\n", page_to_pfn(head));
	if (head->flags & PG_BUDDY)
		say(m, "  free block of order %u\n", head->order);
	say(m, "  block     migrate type %u, %u frames free, generation %u\n", b->migratetype,
		b->nr_free, b->generation);
	if (head->type == PAGE_ANON || head->type == PAGE_ANON_HUGE)
		say(m, "  owner     anon object %p, index %lu\n", (void *)page_anon(head),
			page_index(head) + (pfn - page_to_pfn(head)));
}

static void page_json(struct json *j, struct monitor *m, pfn_t pfn, struct page *head)
{
	json_begin(j, m);
	json_unsigned(j, "pfn", pfn);
	json_string(j, "type", page_type_name(head->type));
	json_unsigned(j, "head", page_to_pfn(head));
	json_unsigned(j, "refcount", page_refcount(head));
	json_unsigned(j, "mapcount", pfn_mapcount(pfn));
	json_unsigned(j, "total_mapcount", page_total_mapcount(head));
	json_hex(j, "kpageflags", report_page_flags(pfn));
	json_array(j, "mappings");
}

/* Hold the frame, so that its anon object lives; false: it is nobody's, or going away. */
static bool page_hold(struct page *head)
{
	u32 n = page_refcount(head);

	while (n && (head->type == PAGE_ANON || head->type == PAGE_ANON_HUGE))
		if (__atomic_compare_exchange_n(
			    &head->refcount, &n, n + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return true;
	return false;
}

static void page_mappings(struct page_search *s, struct page *head)
{
	struct anon *anon;

	if (s->m->stopped) {
		if (!s->m->json)
			say(s->m, "  (mappings are not searched while everything is stopped)\n");
		return;
	}
	if (!page_hold(head))
		return;
	anon = rmap_pin_anon(head);
	if (anon) {
		rmap_walk(anon, page_index(head) + (s->pfn - page_to_pfn(head)), 1, page_look, s);
		rmap_unpin_anon(anon);
	}
	page_put(head);
}

int cmd_page(struct monitor *m, int argc, char **argv)
{
	struct page_search s = {.m = m};
	struct page *head;
	struct json j;
	u64 pfn;

	if (argc != 2 || !arg_number(argv[1], &pfn))
		return usage(m);
	if (pfn >= page_max_pfn)
		return fail(m, "frame 0x%lx: the last one is 0x%lx", pfn, page_max_pfn - 1);
	head = pfn_head(pfn);
	s.pfn = pfn;
	s.j = &j;
	if (m->json)
		page_json(&j, m, pfn, head);
	else
		page_text(m, pfn, head);
	page_mappings(&s, head);
	if (m->json) {
		json_close(&j, ']');
		json_end(&j);
	}
	return STATUS_OK;
}

/* --- zero, drop ------------------------------------------------------------------------------------------------- */

int cmd_zero(struct monitor *m, int argc, char **argv)
{
	pfn_t huge = READ_ONCE(zero_huge_pfn);
	bool ok = zero_check();
	struct json j;

	if (argc > 1)
		return usage(m);
	if (m->json) {
		json_begin(&j, m);
		json_unsigned(&j, "zero_pfn", zero_pfn);
		json_unsigned(&j, "zero_huge_pfn", huge);
		json_unsigned(&j, "zero_huge_refs", zero_huge_refs());
		json_unsigned(&j, "thp_zero_page_alloc", vmstat_read(VM_thp_zero_page_alloc));
		json_bool(&j, "ok", ok);
		json_end(&j);
		return ok ? STATUS_OK : STATUS_FAILED;
	}
	say(m, "4 KiB zero frame  0x%lx\n", zero_pfn);
	if (huge)
		say(m,
			"2 MiB zero page   frames 0x%lx-0x%lx, %u references (one is the "
			"shrinker's)\n",
			huge, huge + HPAGE_PMD_NR - 1, zero_huge_refs());
	else
		say(m, "2 MiB zero page   none now\n");
	say(m, "allocated %lu times, refused %lu times\n", vmstat_read(VM_thp_zero_page_alloc),
		vmstat_read(VM_thp_zero_page_alloc_failed));
	say(m, "%s\n", ok ? "both hold only zeroes" : "THEY ARE NOT ZERO");
	return ok ? STATUS_OK : STATUS_FAILED;
}

int cmd_drop(struct monitor *m, int argc, char **argv)
{
	if (argc > 1)
		return usage(m);
	say(m, "%lu pages given back\n", reclaim_shrink());
	return STATUS_OK;
}
