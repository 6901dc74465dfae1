/*
 * acpi_numa.c - which CPUs and which memory are near each other                             floor 0
 *
 * Reads the SRAT (who belongs to which proximity domain) and the SLIT (how far the domains are apart).
 * Both may be missing or damaged: then everything is one node, which is always right, only slower.
 *
 * IDEA
 *   SRAT   |CPU with APIC id 0: domain 0| |1: domain 7| |0 to 2G: domain 0| |2G to 4G: domain 7|
 *          domains get small numbers as they appear:  0 -> node 0,  7 -> node 1
 *   SLIT   a square of bytes by *domain*, 10 = here, 20 = twice as far:   |10 21|
 *                                                                         |21 10|
 *
 * INVARIANTS (of a struct acpi_numa, always)
 *   F3  every node named is below nr_nodes, and 1 <= nr_nodes <= ACPI_MAX_NODES
 *   F4  a range is not empty and does not wrap
 *   F5  a node's distance to itself is 10, to others more
 *
 * LOCKS     none.
 * LINUX     drivers/acpi/numa/srat.c, arch/x86/mm/srat.c.   ACPI 6.5, 5.2.16 (SRAT), 5.2.17 (SLIT).
 */
#include "lib/acpi.h"
#include "lib/string.h"

#define HEADER_BYTES    36
#define LENGTH_OFFSET   4
#define REVISION_OFFSET 8
#define SRAT_BYTES      48 /* header, 12 reserved bytes */
#define SLIT_BYTES      44 /* header, the number of domains */
#define SLIT_MAX        1024

struct affinity {
	u8 type, length;
} __packed;

enum affinity_type {
	AFFINITY_LAPIC = 0,
	AFFINITY_MEMORY = 1,
	AFFINITY_X2APIC = 2,
};

struct affinity_lapic {
	struct affinity affinity;
	u8 domain_low;
	u8 apic_id;
	u32 flags;
	u8 sapic_eid;
	u8 domain_high[3];
	u32 clock_domain;
} __packed;

struct affinity_memory {
	struct affinity affinity;
	u32 domain;
	u16 reserved;
	u64 base, length;
	u32 reserved2;
	u32 flags;
	u64 reserved3;
} __packed;

struct affinity_x2apic {
	struct affinity affinity;
	u16 reserved;
	u32 domain;
	u32 apic_id;
	u32 flags;
	u32 clock_domain;
	u32 reserved2;
} __packed;

#define AFFINITY_ENABLED 1u

static u32 table_length(const void *table)
{
	u32 length;

	memcpy(&length, (const u8 *)table + LENGTH_OFFSET, sizeof(length));
	return length;
}

/* The node of a domain, a new one if it was not named before. False: no room. */
static bool domain_node(struct acpi_numa *numa, u32 domain, u32 *node)
{
	for (*node = 0; *node < numa->nr_nodes; (*node)++)
		if (numa->domains[*node] == domain)
			return true;
	if (numa->nr_nodes == ACPI_MAX_NODES)
		return false;
	numa->domains[numa->nr_nodes++] = domain;
	return true;
}

static void add_cpu(struct acpi_numa *numa, u32 apic_id, u32 domain)
{
	u32 node;

	if (numa->nr_cpus == ACPI_MAX_CPUS || !domain_node(numa, domain, &node)) {
		numa->nr_dropped++;
		return;
	}
	numa->cpus[numa->nr_cpus++] = (struct acpi_node_cpu){apic_id, node};
}

static void add_range(struct acpi_numa *numa, u64 base, u64 length, u32 domain)
{
	u32 node;

	if (length == 0 || base + length < base)
		return;
	if (numa->nr_ranges == ACPI_MAX_RANGES || !domain_node(numa, domain, &node)) {
		numa->nr_dropped++;
		return;
	}
	numa->ranges[numa->nr_ranges++] = (struct acpi_node_range){base, base + length, node};
}

/* One entry, of at least the length its type needs. Revision 1 has domains of 8 bits. */
static void read_affinity(struct acpi_numa *numa, const struct affinity *a, bool narrow)
{
	const struct affinity_lapic *lapic = (const void *)a;
	const struct affinity_x2apic *x2apic = (const void *)a;
	const struct affinity_memory *memory = (const void *)a;
	u32 domain;

	switch (a->type) {
	case AFFINITY_LAPIC:
		domain = lapic->domain_low;
		if (!narrow)
			domain |= lapic->domain_high[0] << 8 | lapic->domain_high[1] << 16 |
				  (u32)lapic->domain_high[2] << 24;
		if (lapic->flags & AFFINITY_ENABLED)
			add_cpu(numa, lapic->apic_id, domain);
		break;
	case AFFINITY_X2APIC:
		if (x2apic->flags & AFFINITY_ENABLED)
			add_cpu(numa, x2apic->apic_id, x2apic->domain);
		break;
	case AFFINITY_MEMORY:
		domain = narrow ? memory->domain & 0xff : memory->domain;
		if (memory->flags & AFFINITY_ENABLED)
			add_range(numa, memory->base, memory->length, domain);
		break;
	}
}

static usize least_length(u8 type)
{
	switch (type) {
	case AFFINITY_LAPIC:
		return sizeof(struct affinity_lapic);
	case AFFINITY_MEMORY:
		return sizeof(struct affinity_memory);
	case AFFINITY_X2APIC:
		return sizeof(struct affinity_x2apic);
	default:
		return sizeof(struct affinity);
	}
}

static bool read_srat(paddr_t rsdp, acpi_map *map, struct acpi_numa *numa)
{
	const u8 *srat = acpi_find_table(rsdp, map, "SRAT", SRAT_BYTES), *p, *end;

	if (!srat)
		return false;
	end = srat + table_length(srat);
	for (p = srat + SRAT_BYTES; p < end; p += ((const struct affinity *)p)->length) {
		const struct affinity *a = (const void *)p;

		if ((usize)(end - p) < sizeof(*a) || a->length < least_length(a->type) ||
			a->length > end - p)
			return false;
		read_affinity(numa, a, srat[REVISION_OFFSET] <= 1);
	}
	return numa->nr_ranges > 0;
}

/* Distances that make sense replace the usual ones; a node that is no nearer to itself than others does not. */
static void read_slit(paddr_t rsdp, acpi_map *map, struct acpi_numa *numa)
{
	const u8 *slit = acpi_find_table(rsdp, map, "SLIT", SLIT_BYTES);
	u64 nr;

	if (!slit)
		return;
	memcpy(&nr, slit + HEADER_BYTES, sizeof(nr));
	if (nr > SLIT_MAX || table_length(slit) < SLIT_BYTES + nr * nr)
		return;
	for (u32 a = 0; a < numa->nr_nodes; a++) {
		for (u32 b = 0; b < numa->nr_nodes; b++) {
			u64 from = numa->domains[a], to = numa->domains[b];
			u8 distance;

			if (from >= nr || to >= nr)
				continue;
			distance = slit[SLIT_BYTES + from * nr + to];
			if (a != b && distance > ACPI_LOCAL_DISTANCE)
				numa->distance[a][b] = distance;
		}
	}
}

static void usual_distances(struct acpi_numa *numa)
{
	for (u32 a = 0; a < ACPI_MAX_NODES; a++)
		for (u32 b = 0; b < ACPI_MAX_NODES; b++)
			numa->distance[a][b] = a == b ? ACPI_LOCAL_DISTANCE : ACPI_REMOTE_DISTANCE;
}

/*
 * acpi_read_numa - the nodes of this machine.
 *
 *   rsdp     physical address of the root pointer
 *   returns  true: as the firmware says. false: there is no usable SRAT; one node, no CPUs and ranges named
 *   after    F3, F4 and F5 hold either way
 *   Linux    acpi_numa_init
 */
bool acpi_read_numa(paddr_t rsdp, acpi_map *map, struct acpi_numa *numa)
{
	memset(numa, 0, sizeof(*numa));
	usual_distances(numa);
	if (!read_srat(rsdp, map, numa)) {
		memset(numa, 0, sizeof(*numa));
		usual_distances(numa);
		numa->nr_nodes = 1;
		return false;
	}
	read_slit(rsdp, map, numa);
	return true;
}
