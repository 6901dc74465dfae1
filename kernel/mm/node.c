/*
 * node.c - which memory and which CPU are near each other.                                  floor 2
 *
 * A machine with several sockets has memory at each: a node is some CPUs and the memory they reach
 * fastest. This file only knows who belongs where; the lists are the zones', one pair for each node.
 *
 * IDEA
 *   bytes   0        640K  1M              2G               4G      what the firmware says (SRAT)
 *           |node 0  |      |node 0        |node 1          |
 *   node    |------------- 0 --------------|------- 1 ------|       what we say: no gaps, and edges at
 *                                                                   multiples of 4 MiB
 *   So no block of the buddy lies in two nodes, and a frame's node is a search among few edges.
 *
 * INVARIANTS  N1  the edges rise, and are multiples of 4 MiB, so a pageblock is of one node (node_init)
 *             N2  a list by distance begins with the node itself and names each node once
 *             (tests/host/test_node.c)
 * LOCKS       none: written once, by one CPU
 * LINUX       arch/x86/mm/numa.c (numa_add_memblk, cpu_to_node), mm/page_alloc.c (find_next_best_node).
 *             docs/mm/numa.md
 */
#include "lib/string.h"
#include "mm/node.h"

struct edge {
	pfn_t start; /* from here to the next edge */
	u32 node;
};

unsigned nr_nodes = 1;

static struct edge edges[ACPI_MAX_RANGES] = {{0, 0}};
static unsigned nr_edges = 1;
static struct acpi_node_cpu cpu_nodes[ACPI_MAX_CPUS];
static unsigned nr_cpu_nodes;
static u8 distances[MAX_NODES][MAX_NODES] = {{ACPI_LOCAL_DISTANCE}};

/* Puts an edge where it belongs; edges that fall together leave the later one. */
static void add_edge(pfn_t start, u32 node)
{
	unsigned at = nr_edges;

	while (at > 0 && edges[at - 1].start > start)
		at--;
	if (at > 0 && edges[at - 1].start == start) {
		edges[at - 1].node = node;
		return;
	}
	memmove(&edges[at + 1], &edges[at], (nr_edges - at) * sizeof(edges[0]));
	edges[at] = (struct edge){start, node};
	nr_edges++;
}

/*
 * node_init - take over what the firmware says.
 *
 *   locks    none: start-up, before buddy_init()
 *   Linux    numa_init
 */
void node_init(const struct acpi_numa *numa)
{
	nr_nodes = numa->nr_nodes;
	nr_edges = 0;
	for (unsigned i = 0; i < numa->nr_ranges; i++) {
		pfn_t start = numa->ranges[i].start >> PAGE_SHIFT;

		add_edge(start & ~(NODE_ALIGN_PAGES - 1), numa->ranges[i].node);
	}
	if (nr_edges == 0)
		add_edge(0, 0);
	nr_cpu_nodes = numa->nr_cpus;
	memcpy(cpu_nodes, numa->cpus, sizeof(cpu_nodes));
	memcpy(distances, numa->distance, sizeof(distances));
}

/*
 * pfn_node - the node of a frame; what lies before the first edge goes with it.
 *
 *   Linux    early_pfn_to_nid
 */
unsigned pfn_node(pfn_t pfn)
{
	unsigned at = nr_edges;

	while (at > 1 && edges[at - 1].start > pfn)
		at--;
	return edges[at - 1].node;
}

/* node_of_cpu - by APIC id; a CPU the firmware does not place is of node 0. Linux: cpu_to_node */
unsigned node_of_cpu(u32 apic_id)
{
	for (unsigned i = 0; i < nr_cpu_nodes; i++)
		if (cpu_nodes[i].apic_id == apic_id)
			return cpu_nodes[i].node;
	return 0;
}

unsigned node_distance(unsigned from, unsigned to)
{
	return distances[from][to];
}

/*
 * node_by_distance - the nodes in the order in which `from` asks them for memory.
 *
 *   Linux    build_zonelists (which also spreads the load among equals)
 */
void node_by_distance(unsigned from, u8 nodes[MAX_NODES])
{
	for (unsigned n = 0; n < nr_nodes; n++) {
		unsigned at = n;

		for (; at > 0 && distances[from][nodes[at - 1]] > distances[from][n]; at--)
			nodes[at] = nodes[at - 1];
		nodes[at] = n;
	}
}
