/*
 * report_numa.c - /sys/devices/system/node: whose memory, whose CPUs, who got what; balancing's settings.   floor 7
 *
 * A folder for each node that there is. The counters are those of the per-CPU lists (mm/zone.h); they
 * are summed when somebody reads.
 *
 * LOCKS     none: numbers that may be a moment old
 * LINUX     drivers/base/node.c; its meminfo also counts the node's anonymous and slab pages.
 */
#include "mm/buddy.h"
#include "mm/numa.h"
#include "numad.h"
#include "report_nodes.h"
#include <abi/errno.h>

#define KB(pages) ((pages) << (PAGE_SHIFT - 10))

/* As Linux counts: zone_statistics(). */
struct numa_stats {
	u64 hit, miss, foreign, other;
};

/* What all CPUs counted at the zones of one node, added to *s. */
static void numa_stats_add(unsigned node, struct numa_stats *s)
{
	for (unsigned id = 0; id < NR_ZONES; id++) {
		for (unsigned cpu = 0; cpu < nr_cpus; cpu++) {
			const struct pcp *pcp = &node_zone(node, id)->pcp[cpu];

			s->hit += READ_ONCE(pcp->hit);
			s->miss += READ_ONCE(pcp->miss);
			s->foreign += READ_ONCE(pcp->foreign);
			s->other += READ_ONCE(pcp->other);
		}
	}
}

/* report_numa_vmstat - the lines of /proc/vmstat, over all nodes. */
void report_numa_vmstat(struct report_out *out)
{
	struct numa_stats s = {0, 0, 0, 0};

	for (unsigned node = 0; node < nr_nodes; node++)
		numa_stats_add(node, &s);
	report_printf(out, "numa_hit %lu\nnuma_miss %lu\nnuma_foreign %lu\nnuma_interleave 0\n",
		s.hit, s.miss, s.foreign);
	report_printf(out, "numa_local %lu\nnuma_other %lu\n", s.hit + s.miss - s.other, s.other);
}

static void show_numastat(struct report_out *out, unsigned node)
{
	struct numa_stats s = {0, 0, 0, 0};

	numa_stats_add(node, &s);
	report_printf(out, "numa_hit %lu\nnuma_miss %lu\nnuma_foreign %lu\ninterleave_hit 0\n",
		s.hit, s.miss, s.foreign);
	report_printf(out, "local_node %lu\nother_node %lu\n", s.hit + s.miss - s.other, s.other);
}

static void show_meminfo(struct report_out *out, unsigned node)
{
	u64 total = 0, free = 0;

	for (unsigned id = 0; id < NR_ZONES; id++) {
		total += node_zone(node, id)->managed_pages;
		free += zone_all_free_pages(node_zone(node, id));
	}
	report_printf(out, "Node %u MemTotal:       %8lu kB\n", node, KB(total));
	report_printf(out, "Node %u MemFree:        %8lu kB\n", node, KB(free));
	report_printf(out, "Node %u MemUsed:        %8lu kB\n", node, KB(total - MIN(free, total)));
}

/* "0-1,3": the numbers below `nr` of which `has` is true. */
static void show_list(
	struct report_out *out, unsigned nr, bool (*has)(unsigned, unsigned), unsigned arg)
{
	const char *comma = "";

	for (unsigned first = 0, last; first < nr; first = last + 1) {
		last = first;
		if (!has(first, arg))
			continue;
		while (last + 1 < nr && has(last + 1, arg))
			last++;
		report_printf(out, last > first ? "%s%u-%u" : "%s%u", comma, first, last);
		comma = ",";
	}
	report_puts(out, "\n");
}

static bool cpu_on_node(unsigned cpu, unsigned node)
{
	return cpus[cpu]->node == node;
}

static bool node_exists(unsigned node, unsigned ignored)
{
	return true;
}

static bool node_has_memory(unsigned node, unsigned ignored)
{
	return node_zone(node, ZONE_DMA32)->present_pages ||
	       node_zone(node, ZONE_NORMAL)->present_pages;
}

static bool node_has_cpu(unsigned node, unsigned ignored)
{
	for (unsigned cpu = 0; cpu < nr_cpus; cpu++)
		if (cpu_on_node(cpu, node))
			return true;
	return false;
}

static void show_cpulist(struct report_out *out, unsigned node)
{
	show_list(out, nr_cpus, cpu_on_node, node);
}

static void show_distance(struct report_out *out, unsigned node)
{
	for (unsigned to = 0; to < nr_nodes; to++)
		report_printf(out, "%u%s", node_distance(node, to), to + 1 < nr_nodes ? " " : "\n");
}

/* A show() has no argument that says which node: one of each kind for each. */
#define SHOW(kind, n)                                                                              \
	static bool show_##kind##_##n(struct report_out *out, struct task *task, u64 *cursor)      \
	{                                                                                          \
		if (!report_once(cursor))                                                          \
			return false;                                                              \
		show_##kind(out, n);                                                               \
		return true;                                                                       \
	}
#define SHOW_NODE(n) SHOW(cpulist, n) SHOW(distance, n) SHOW(meminfo, n) SHOW(numastat, n)
SHOW_NODE(0)
SHOW_NODE(1)
SHOW_NODE(2)
SHOW_NODE(3)
SHOW_NODE(4)
SHOW_NODE(5)
SHOW_NODE(6)
SHOW_NODE(7)
_Static_assert(MAX_NODES == 8, "one line each");

#define SHOW_NODES(name, has)                                                                      \
	static bool show_##name(struct report_out *out, struct task *task, u64 *cursor)            \
	{                                                                                          \
		if (!report_once(cursor))                                                          \
			return false;                                                              \
		show_list(out, nr_nodes, has, 0);                                                  \
		return true;                                                                       \
	}
SHOW_NODES(online, node_exists)
SHOW_NODES(has_cpu, node_has_cpu)
SHOW_NODES(has_memory, node_has_memory)

#define FOLDER "/sys/devices/system/node/"
#define FILE_OF(n, kind)                                                                           \
	{                                                                                          \
		FOLDER "node" #n "/" #kind, 0444, REPORT_LOCK_FREE, show_##kind##_##n, NULL, NULL  \
	}
#define FILES_PER_NODE 4
#define FILES_OF(n)                                                                                \
	FILE_OF(n, cpulist), FILE_OF(n, distance), FILE_OF(n, meminfo), FILE_OF(n, numastat)

#define NODES_FILE(name, show)                                                                     \
	{                                                                                          \
		FOLDER name, 0444, REPORT_LOCK_FREE, show, NULL, NULL                              \
	}
#define FILES_OF_ALL 4

struct report_node report_numa_nodes[FILES_OF_ALL + MAX_NODES * FILES_PER_NODE + 1] = {
	NODES_FILE("has_cpu", show_has_cpu),
	NODES_FILE("has_memory", show_has_memory),
	NODES_FILE("online", show_online),
	NODES_FILE("possible", show_online),
	FILES_OF(0),
	FILES_OF(1),
	FILES_OF(2),
	FILES_OF(3),
	FILES_OF(4),
	FILES_OF(5),
	FILES_OF(6),
	FILES_OF(7),
};

/* report_numa_init - the folders of nodes that do not exist go. Start-up. */
void report_numa_init(void)
{
	report_numa_nodes[FILES_OF_ALL + nr_nodes * FILES_PER_NODE].path = NULL;
}

/* --- numa_balancing --- */

#define SETTING(name, field, min, max)                                                             \
	static bool show_##name(struct report_out *out, struct task *task, u64 *cursor)            \
	{                                                                                          \
		if (!report_once(cursor))                                                          \
			return false;                                                              \
		report_printf(out, "%u\n", (u32)READ_ONCE(numa_settings.field));                   \
		return true;                                                                       \
	}                                                                                          \
	static int store_##name(struct task *task, const char *text)                               \
	{                                                                                          \
		u64 value;                                                                         \
                                                                                                   \
		if (report_number(text, min, max, &value))                                         \
			return -EINVAL;                                                            \
		WRITE_ONCE(numa_settings.field, value);                                            \
		numad_wake();                                                                      \
		return 0;                                                                          \
	}

SETTING(balancing, balancing, 0, 1)
SETTING(scan_delay, scan_delay_ms, 0, 3600000)
SETTING(scan_period_min, scan_period_min_ms, 1, 3600000)
SETTING(scan_period_max, scan_period_max_ms, 1, 3600000)
SETTING(scan_size, scan_size_mb, 1, 65536)

bool report_show_numa_balancing(struct report_out *out, struct task *task, u64 *cursor)
{
	return show_balancing(out, task, cursor);
}

int report_store_numa_balancing(struct task *task, const char *text)
{
	return store_balancing(task, text);
}

#define DEBUG_FOLDER "/sys/kernel/debug/sched/numa_balancing/"

const struct report_node report_balancing_nodes[] = {
	{DEBUG_FOLDER "scan_delay_ms", 0644, REPORT_LOCK_FREE, show_scan_delay, NULL,
		store_scan_delay},
	{DEBUG_FOLDER "scan_period_max_ms", 0644, REPORT_LOCK_FREE, show_scan_period_max, NULL,
		store_scan_period_max},
	{DEBUG_FOLDER "scan_period_min_ms", 0644, REPORT_LOCK_FREE, show_scan_period_min, NULL,
		store_scan_period_min},
	{DEBUG_FOLDER "scan_size_mb", 0644, REPORT_LOCK_FREE, show_scan_size, NULL,
		store_scan_size},
	{NULL, 0, 0, NULL, NULL, NULL},
};
