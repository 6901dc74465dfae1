/*
 * report_system.c - what /proc says of the whole machine                                   floor 7
 *
 * Each function writes one file's text in Linux's format; a field that Linux has and that counts
 * something we do not have (page cache, swap) is printed as 0 where the tools look for it, and left
 * out where they do not.
 *
 * LOCKS     vmstat, meminfo, buddyinfo and zoneinfo read words without a lock: a sum of counters that
 *           move is never exact, and so they can be read when everything else is stuck.
 * LINUX     mm/vmstat.c, fs/proc/meminfo.c, mm/slab_common.c, kernel/sysctl.c.
 */
#include "report_nodes.h"
#include "config.h"
#include "lib/string.h"
#include "mm/buddy.h"
#include "mm/collapse.h"
#include "mm/kmalloc.h"
#include "mm/reclaim.h"
#include "mm/vma.h"
#include "mutex.h"
#include "vmstat.h"
#include "x86/features.h"
#include "x86/layout.h"
#include "x86/timer.h"
#include <abi/errno.h>

#define KB(pages) ((pages) << (PAGE_SHIFT - 10))

/* --- /proc/vmstat --------------------------------------------------------------------------- */

/* Our own reasons, one counter each: "khugepaged_exceed_none_pte" from EXCEED_NONE_PTE. */
static void show_refusals(struct report_out *out)
{
	for (unsigned r = 0; r < NR_COLLAPSE_RESULTS; r++) {
		char name[32];

		strscpy(name, collapse_result_name(r), sizeof(name));
		for (char *p = name; *p; p++)
			if (*p >= 'A' && *p <= 'Z')
				*p = (char)(*p - 'A' + 'a');
		report_printf(out, "khugepaged_%s %lu\n", name, collapse_counts[r]);
	}
}

static bool show_vmstat(struct report_out *out, struct task *task, u64 *cursor)
{
	if (!report_once(cursor))
		return false;
	report_printf(out, "nr_free_pages %lu\n", buddy_free_pages());
	report_numa_vmstat(out);
	report_printf(out, "nr_memmap_boot_pages %lu\n", page_memmap_pages);
	for (unsigned s = 0; s < NR_VM_STATS; s++)
		report_printf(out, "%s %lu\n", vmstat_name(s), vmstat_read(s));
	show_refusals(out);
	return true;
}

/* --- /proc/meminfo -------------------------------------------------------------------------- */

static void kb_line(struct report_out *out, const char *name, u64 kb)
{
	report_printf(out, "%-16s%8lu kB\n", name, kb);
}

/* What could be had without pushing the zones under their high watermarks: si_mem_available(). */
static u64 available_pages(void)
{
	u64 free = buddy_free_pages(), reserve = 0;

	for_each_zone (z)
		reserve += z->watermark_high;
	return free > reserve ? free - reserve : 0;
}

static bool add_mapped(struct mm *mm, void *ctx)
{
	*(u64 *)ctx += READ_ONCE(mm->nr_shared);
	return true;
}

/* Takes the lock of the list of spaces. Pages of objects that spaces map; one that two map counts twice, up to all there are. */
static u64 mapped_pages(void)
{
	u64 pages = 0;

	mm_for_each(add_mapped, &pages);
	return MIN(pages, vmstat_read(VM_nr_shmem));
}

/* Takes the lock of a space that has locked something; of one that is ending nothing is left to be counted. */
static bool add_locked(struct mm *mm, void *ctx)
{
	struct report_usage u = {0};

	if (!READ_ONCE(mm->locked_vm))
		return true;
	rwsem_read_lock(&mm->lock);
	for (struct vma *v = vma_first(mm); v; v = vma_next(v))
		if (v->flags & VM_LOCKED)
			report_usage(v, &u);
	rwsem_read_unlock(&mm->lock);
	*(u64 *)ctx += u.rss >> PAGE_SHIFT;
	return true;
}

/* Pages that locked areas hold, found when asked for; Linux counts each as it is locked (NR_MLOCK). One that two lock counts twice. */
static u64 locked_pages(void)
{
	u64 pages = 0;

	mm_for_each(add_locked, &pages);
	return pages;
}

static void show_meminfo_anon(struct report_out *out)
{
	u64 active = vmstat_read(VM_nr_active_anon), inactive = vmstat_read(VM_nr_inactive_anon);

	kb_line(out, "Active:", KB(active));
	kb_line(out, "Inactive:", KB(inactive));
	kb_line(out, "Active(anon):", KB(active));
	kb_line(out, "Inactive(anon):", KB(inactive));
	kb_line(out, "Active(file):", 0);
	kb_line(out, "Inactive(file):", 0);
	if (!out->lock_free) {
		u64 locked = locked_pages();

		kb_line(out, "Unevictable:", KB(locked));
		kb_line(out, "Mlocked:", KB(locked));
	}
	kb_line(out, "SwapTotal:", 0);
	kb_line(out, "SwapFree:", 0);
	kb_line(out, "Dirty:", 0);
	kb_line(out, "Writeback:", 0);
	kb_line(out, "AnonPages:", KB(vmstat_read(VM_nr_anon_pages)));
	if (!out->lock_free)
		kb_line(out, "Mapped:", KB(mapped_pages()));
	kb_line(out, "Shmem:", KB(vmstat_read(VM_nr_shmem)));
}

static bool show_meminfo(struct report_out *out, struct task *task, u64 *cursor)
{
	u64 slab = KB(vmstat_read(VM_nr_slab_unreclaimable));

	if (!report_once(cursor))
		return false;
	kb_line(out, "MemTotal:", KB(zone_managed_pages()));
	kb_line(out, "MemFree:", KB(buddy_free_pages()));
	kb_line(out, "MemAvailable:", KB(available_pages()));
	kb_line(out, "Buffers:", 0);
	kb_line(out, "Cached:",
		KB(vmstat_read(VM_nr_shmem))); /* as on Linux, where they are page cache */
	kb_line(out, "SwapCached:", 0);
	show_meminfo_anon(out);
	kb_line(out, "KReclaimable:", 0);
	kb_line(out, "Slab:", slab);
	kb_line(out, "SReclaimable:", 0);
	kb_line(out, "SUnreclaim:", slab);
	kb_line(out, "KernelStack:", vmstat_read(VM_nr_kernel_stack));
	kb_line(out, "PageTables:", KB(vmstat_read(VM_nr_page_table_pages)));
	kb_line(out, "AnonHugePages:",
		vmstat_read(VM_nr_anon_transparent_hugepages) * (HPAGE_PMD_SIZE >> 10));
	kb_line(out,
		"ShmemHugePages:", vmstat_read(VM_nr_shmem_hugepages) * (HPAGE_PMD_SIZE >> 10));
	kb_line(out, "ShmemPmdMapped:", 0);
	kb_line(out, "FileHugePages:", 0);
	kb_line(out, "FilePmdMapped:", 0);
	report_printf(out, "HugePages_Total:   %5u\n", 0);
	report_printf(out, "HugePages_Free:    %5u\n", 0);
	report_printf(out, "HugePages_Rsvd:    %5u\n", 0);
	report_printf(out, "HugePages_Surp:    %5u\n", 0);
	kb_line(out, "Hugepagesize:", HPAGE_PMD_SIZE >> 10);
	kb_line(out, "Hugetlb:", 0);
	return true;
}

/* --- /proc/buddyinfo, /proc/zoneinfo --------------------------------------------------------- */

static bool show_buddyinfo(struct report_out *out, struct task *task, u64 *cursor)
{
	if (!report_once(cursor))
		return false;
	for_each_zone (z) {
		report_printf(out, "Node %u, zone %8s ", z->node, z->name);
		for (unsigned order = 0; order < NR_ORDERS; order++)
			report_printf(out, "%6lu ", READ_ONCE(z->nr_free[order]));
		report_puts(out, "\n");
	}
	return true;
}

static void show_node_stats(struct report_out *out)
{
	report_puts(out, "\n  per-node stats");
	for (unsigned s = 0; s < VMSTAT_FIRST_EVENT; s++)
		report_printf(out, "\n      %-12s %lu", vmstat_name(s), vmstat_read(s));
}

static void show_pagesets(struct report_out *out, const struct zone *z)
{
	report_puts(out, "\n  pagesets");
	for (u32 cpu = 0; cpu < nr_cpus; cpu++) {
		const struct pcp *pcp = &z->pcp[cpu];
		u64 count = (READ_ONCE(pcp->huge.count) << HPAGE_PMD_ORDER) +
			    READ_ONCE(pcp->zeroed.count);

		for (unsigned mt = 0; mt < MIGRATE_PCPTYPES; mt++)
			count += READ_ONCE(pcp->lists[mt].count);
		report_printf(out,
			"\n    cpu: %u\n              count: %lu\n              high:  %u"
			"\n              batch: %u",
			cpu, count, READ_ONCE(pcp_high), READ_ONCE(pcp_batch));
	}
}

static void show_zone(struct report_out *out, const struct zone *z, bool first)
{
	report_printf(out, "Node %u, zone %8s", z->node, z->name);
	if (first)
		show_node_stats(out);
	report_printf(out,
		"\n  pages free     %lu\n        boost    0\n        min      %lu"
		"\n        low      %lu\n        high     %lu\n        spanned  %lu"
		"\n        present  %lu\n        managed  %lu\n        cma      0",
		READ_ONCE(z->free_pages), z->watermark_min, z->watermark_low, z->watermark_high,
		z->end - z->start, z->present_pages, z->managed_pages);
	report_puts(out, "\n        protection: (0, 0)");
	report_printf(out, "\n      %-12s %lu", "nr_free_pages", READ_ONCE(z->free_pages));
	show_pagesets(out, z);
	report_printf(out, "\n  node_unreclaimable:  0\n  start_pfn:           %lu\n", z->start);
}

static bool show_zoneinfo(struct report_out *out, struct task *task, u64 *cursor)
{
	bool first = true;

	if (!report_once(cursor))
		return false;
	for_each_zone (z) {
		show_zone(out, z, first);
		first = false;
	}
	return true;
}

/* --- /proc/slabinfo --------------------------------------------------------------------------- */

static void show_cache(struct kmem_cache *c, void *ctx)
{
	struct report_out *out = ctx;

	report_printf(out, "%-17s %6lu %6lu %6u %4u %4u : tunables %4u %4u %4u", c->name,
		c->nr_active, c->nr_slabs * c->per_slab, c->size, c->per_slab, 1u << c->slab_order,
		0, 0, 0);
	report_printf(out, " : slabdata %6lu %6lu %6u\n", c->nr_slabs, c->nr_slabs, 0);
}

static bool show_slabinfo(struct report_out *out, struct task *task, u64 *cursor)
{
	if (!report_once(cursor))
		return false;
	report_puts(out, "slabinfo - version: 2.1\n"
			 "# name            <active_objs> <num_objs> <objsize> <objperslab> "
			 "<pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata "
			 "<active_slabs> <num_slabs> <sharedavail>\n");
	kmem_cache_for_each(show_cache, out);
	return true;
}

/* --- the machine -------------------------------------------------------------------------------- */

static bool show_uptime(struct report_out *out, struct task *task, u64 *cursor)
{
	u64 now = time_ns() / 10000000, idle = 0;

	if (!report_once(cursor))
		return false;
	for_each_cpu (c)
		idle += sched_idle_ns(c);
	idle /= 10000000;
	report_printf(out, "%lu.%02lu %lu.%02lu\n", now / 100, now % 100, idle / 100, idle % 100);
	return true;
}

static bool show_version(struct report_out *out, struct task *task, u64 *cursor)
{
	if (!report_once(cursor))
		return false;
	report_printf(out, "Pagoda version %s (%s) SMP x86_64%s\n", PAGODA_VERSION, PAGODA_COMPILER,
		CONFIG_DEBUG ? " DEBUG" : "");
	return true;
}

/* Jiffies of Linux's USER_HZ, 1/100 s. Busy time is one figure here: ring 3 and kernel together. */
static void cpu_line(struct report_out *out, const char *name, u64 busy_ns, u64 idle_ns)
{
	report_printf(
		out, "%s %lu 0 0 %lu 0 0 0 0 0 0\n", name, busy_ns / 10000000, idle_ns / 10000000);
}

static bool show_stat(struct report_out *out, struct task *task, u64 *cursor)
{
	u64 now = time_ns(), idle = 0, irqs = 0, switches = 0, n = 0;
	char name[8] = "cpu";

	if (!report_once(cursor))
		return false;
	for_each_cpu (c) {
		idle += MIN(sched_idle_ns(c), now);
		irqs += READ_ONCE(c->nr_irqs);
		switches += READ_ONCE(c->nr_switches);
		n++;
	}
	cpu_line(out, "cpu ", n * now - idle, idle);
	for_each_cpu (c) {
		name[3] = (char)(c->id < 10 ? '0' + c->id : '1');
		name[4] = (char)(c->id < 10 ? '\0' : '0' + c->id % 10);
		idle = MIN(sched_idle_ns(c), now);
		cpu_line(out, name, now - idle, idle);
	}
	report_printf(out, "intr %lu\nctxt %lu\nbtime %lu\n", irqs, switches,
		(time_wall_ns() - now) / NS_PER_SEC);
	return true;
}

static bool show_cpuinfo(struct report_out *out, struct task *task, u64 *cursor)
{
	u32 id[4], ver[4];
	u32 family;

	if (!report_once(cursor))
		return false;
	cpuid(0, 0, id);
	cpuid(1, 0, ver);
	family = (ver[0] >> 8 & 15) == 15 ? 15 + (ver[0] >> 20 & 255) : ver[0] >> 8 & 15;
	for_each_cpu (c)
		report_printf(out,
			"processor\t: %u\nvendor_id\t: %.4s%.4s%.4s\ncpu family\t: %u\nmodel\t\t: "
			"%u\n"
			"model name\t: %s\nstepping\t: %u\ncpu MHz\t\t: %lu.%03lu\napicid\t\t: %u\n"
			"flags\t\t:%s%s%s%s%s%s\naddress sizes\t: %u bits physical, 48 bits "
			"virtual\n\n",
			c->id, (char *)&id[1], (char *)&id[3], (char *)&id[2], family,
			(ver[0] >> 4 & 15) | (ver[0] >> 12 & 0xf0), cpu_features.brand, ver[0] & 15,
			timer_tsc_hz() / 1000000, timer_tsc_hz() / 1000 % 1000, c->apic_id,
			cpu_features.smep ? " smep" : "", cpu_features.smap ? " smap" : "",
			cpu_features.umip ? " umip" : "", cpu_features.xsave ? " xsave" : "",
			cpu_features.avx ? " avx" : "", cpu_features.x2apic ? " x2apic" : "",
			cpu_features.phys_bits);
	return true;
}

static bool show_cpus_online(struct report_out *out, struct task *task, u64 *cursor)
{
	if (!report_once(cursor))
		return false;
	if (nr_cpus == 1)
		report_puts(out, "0\n");
	else
		report_printf(out, "0-%u\n", nr_cpus - 1);
	return true;
}

/* --- /proc/pagetypeinfo ---------------------------------------------------------------------------- */

static const char *const migratetype_names[NR_MIGRATETYPES] = {
	[MIGRATE_UNMOVABLE] = "Unmovable",
	[MIGRATE_MOVABLE] = "Movable",
	[MIGRATE_RECLAIMABLE] = "Reclaimable",
	[MIGRATE_ISOLATE] = "Isolate",
};

static void show_free_of_types(struct report_out *out)
{
	report_printf(out, "%-43s ", "Free pages count per migrate type at order");
	for (unsigned order = 0; order < NR_ORDERS; order++)
		report_printf(out, "%6u ", order);
	for_each_zone (z) {
		for (unsigned mt = 0; mt < NR_MIGRATETYPES; mt++) {
			report_printf(out, "\nNode %4u, zone %8s, type %12s ", z->node, z->name,
				migratetype_names[mt]);
			for (unsigned order = 0; order < NR_ORDERS; order++)
				report_printf(out, "%6lu ", READ_ONCE(z->free[order][mt].count));
		}
	}
	report_puts(out, "\n\n");
}

/* Blocks of 2 MiB by what they are for. Holes of the array read as zeroes: only blocks with memory count. */
static void show_blocks_of_types(struct report_out *out, const struct zone *z)
{
	u64 count[NR_MIGRATETYPES] = {0};

	for (pfn_t pfn = ALIGN_UP(z->start, HPAGE_PMD_NR); pfn < z->end; pfn += HPAGE_PMD_NR)
		if (pfn_valid(pfn))
			count[pfn_block(pfn)->migratetype]++;
	report_printf(out, "Node %u, zone %8s ", z->node, z->name);
	for (unsigned mt = 0; mt < NR_MIGRATETYPES; mt++)
		report_printf(out, "%12lu ", count[mt]);
	report_puts(out, "\n");
}

static bool show_pagetypeinfo(struct report_out *out, struct task *task, u64 *cursor)
{
	if (!report_once(cursor))
		return false;
	report_printf(out, "Page block order: %u\nPages per block:  %lu\n\n", HPAGE_PMD_ORDER,
		(u64)HPAGE_PMD_NR);
	show_free_of_types(out);
	report_printf(out, "%-23s", "Number of blocks type ");
	for (unsigned mt = 0; mt < NR_MIGRATETYPES; mt++)
		report_printf(out, "%12s ", migratetype_names[mt]);
	report_puts(out, "\n");
	for_each_zone (z)
		show_blocks_of_types(out, z);
	return true;
}

/* --- /proc/sys/kernel -------------------------------------------------------------------------------- */

#define TEXT_FILE(name, text)                                                                      \
	static bool show_##name(struct report_out *out, struct task *task, u64 *cursor)            \
	{                                                                                          \
		if (!report_once(cursor))                                                          \
			return false;                                                              \
		report_puts(out, text "\n");                                                       \
		return true;                                                                       \
	}

TEXT_FILE(hostname, "pagoda")
TEXT_FILE(osrelease, "6.1.0-pagoda")
TEXT_FILE(ostype, "Linux")
TEXT_FILE(pid_max, "32768")
TEXT_FILE(kernel_version, "Pagoda " PAGODA_VERSION)

/* --- /proc/sys/vm -------------------------------------------------------------------------------- */

static u64 last_drop; /* what was last written, which is what Linux shows */

static bool show_drop_caches(struct report_out *out, struct task *task, u64 *cursor)
{
	if (!report_once(cursor))
		return false;
	report_printf(out, "%lu\n", last_drop);
	return true;
}

static int store_drop_caches(struct task *task, const char *text)
{
	u64 value;

	if (report_number(text, 1, 4, &value))
		return -EINVAL;
	last_drop = value;
	if (value & 2) /* 1 is the page cache, and there is none */
		reclaim_shrink();
	return 0;
}

static bool show_min_free(struct report_out *out, struct task *task, u64 *cursor)
{
	if (!report_once(cursor))
		return false;
	report_printf(out, "%lu\n", buddy_min_free_kbytes);
	return true;
}

/* Bounded by a quarter of memory: more would leave no page for anybody. */
static int store_min_free(struct task *task, const char *text)
{
	u64 value;

	if (report_number(text, 0, KB(zone_managed_pages()) / 4, &value))
		return -EINVAL;
	zone_user_min_free_kbytes(value);
	return 0;
}

/* 1, "always": memory is promised without a limit and given when it is touched. */
static bool show_overcommit(struct report_out *out, struct task *task, u64 *cursor)
{
	if (!report_once(cursor))
		return false;
	report_puts(out, "1\n");
	return true;
}

static bool show_max_map_count(struct report_out *out, struct task *task, u64 *cursor)
{
	if (!report_once(cursor))
		return false;
	report_printf(out, "%u\n", VMA_MAX);
	return true;
}

static bool show_mmap_min_addr(struct report_out *out, struct task *task, u64 *cursor)
{
	if (!report_once(cursor))
		return false;
	report_printf(out, "%lu\n", USER_START);
	return true;
}

const struct report_node report_system_nodes[] = {
	{"/proc/buddyinfo", 0444, REPORT_LOCK_FREE, show_buddyinfo, NULL, NULL},
	{"/proc/cpuinfo", 0444, REPORT_LOCK_FREE, show_cpuinfo, NULL, NULL},
	{"/proc/meminfo", 0444, REPORT_LOCK_FREE, show_meminfo, NULL, NULL},
	{"/proc/pagetypeinfo", 0400, REPORT_LOCK_FREE, show_pagetypeinfo, NULL, NULL},
	{"/proc/slabinfo", 0400, 0, show_slabinfo, NULL, NULL},
	{"/proc/stat", 0444, REPORT_LOCK_FREE, show_stat, NULL, NULL},
	{"/proc/sys/kernel/hostname", 0444, REPORT_LOCK_FREE, show_hostname, NULL, NULL},
	{"/proc/sys/kernel/numa_balancing", 0644, REPORT_LOCK_FREE, report_show_numa_balancing,
		NULL, report_store_numa_balancing},
	{"/proc/sys/kernel/osrelease", 0444, REPORT_LOCK_FREE, show_osrelease, NULL, NULL},
	{"/proc/sys/kernel/ostype", 0444, REPORT_LOCK_FREE, show_ostype, NULL, NULL},
	{"/proc/sys/kernel/pid_max", 0444, REPORT_LOCK_FREE, show_pid_max, NULL, NULL},
	{"/proc/sys/kernel/version", 0444, REPORT_LOCK_FREE, show_kernel_version, NULL, NULL},
	{"/proc/sys/vm/compact_memory", 0200, REPORT_LOCK_FREE, report_show_compact_memory, NULL,
		report_store_compact_memory},
	{"/proc/sys/vm/compact_unevictable_allowed", 0644, REPORT_LOCK_FREE,
		report_show_unevictable, NULL, report_store_unevictable},
	{"/proc/sys/vm/compaction_proactiveness", 0644, REPORT_LOCK_FREE, report_show_proactiveness,
		NULL, report_store_proactiveness},
	{"/proc/sys/vm/drop_caches", 0200, REPORT_LOCK_FREE, show_drop_caches, NULL,
		store_drop_caches},
	{"/proc/sys/vm/extfrag_threshold", 0644, REPORT_LOCK_FREE, report_show_extfrag_threshold,
		NULL, report_store_extfrag_threshold},
	{"/proc/sys/vm/max_map_count", 0444, REPORT_LOCK_FREE, show_max_map_count, NULL, NULL},
	{"/proc/sys/vm/min_free_kbytes", 0644, REPORT_LOCK_FREE, show_min_free, NULL,
		store_min_free},
	{"/proc/sys/vm/mmap_min_addr", 0444, REPORT_LOCK_FREE, show_mmap_min_addr, NULL, NULL},
	{"/proc/sys/vm/overcommit_memory", 0444, REPORT_LOCK_FREE, show_overcommit, NULL, NULL},
	{"/proc/uptime", 0444, REPORT_LOCK_FREE, show_uptime, NULL, NULL},
	{"/proc/version", 0444, REPORT_LOCK_FREE, show_version, NULL, NULL},
	{"/proc/vmstat", 0444, REPORT_LOCK_FREE, show_vmstat, NULL, NULL},
	{"/proc/zoneinfo", 0444, REPORT_LOCK_FREE, show_zoneinfo, NULL, NULL},
	{"/sys/devices/system/cpu/online", 0444, REPORT_LOCK_FREE, show_cpus_online, NULL, NULL},
	{NULL, 0, 0, NULL, NULL, NULL},
};
