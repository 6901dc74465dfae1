/*
 * node.h - which memory and which CPU are near each other.                                  floor 2
 */
#ifndef MM_NODE_H
#define MM_NODE_H

#include "lib/acpi.h"
#include "x86/layout.h"

#define MAX_NODES        ACPI_MAX_NODES
#define NODE_ALIGN_PAGES 1024ul /* a block of the top order lies in one node */

extern unsigned nr_nodes; /* (c) 1 and up */

void node_init(const struct acpi_numa *numa); /* start-up; without it everything is node 0 */
unsigned pfn_node(pfn_t pfn);
unsigned node_of_cpu(u32 apic_id);
unsigned node_distance(unsigned from, unsigned to);        /* 10: here */
void node_by_distance(unsigned from, u8 nodes[MAX_NODES]); /* nr_nodes of them, the nearest first */

#endif
