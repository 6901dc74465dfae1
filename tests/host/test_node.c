/*
 * test_node.c - lib/acpi_numa.c and mm/node.c: what the firmware says of nodes, and what we make of it; zones and lists
 * of several nodes.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "fake_machine.h"
#include "lib/acpi.h"
#include "mm/buddy.h"
#include "mm/lru.h"
#include "mm/memmap.h"
#include "vmstat.h"

#define MIB  (1ul << 20)
#define ROOT 0x40
#define SRAT 0x80
#define SLIT 0x1000

static u8 memory[0x2000];

#include "acpi_table.h"

static const void *map(paddr_t address, usize bytes)
{
	if (address > sizeof(memory) || bytes > sizeof(memory) - address)
		return NULL;
	return memory + address;
}

static usize srat_end;

static void add_entry(const void *entry, usize bytes)
{
	memcpy(memory + srat_end, entry, bytes);
	srat_end += bytes;
	finish_table(SRAT, "SRAT", srat_end - SRAT);
}

static void add_cpu(u8 apic_id, u32 domain, bool enabled)
{
	u8 e[16] = {0, 16, (u8)domain, apic_id, enabled, 0, 0, 0, 0, (u8)(domain >> 8),
		(u8)(domain >> 16), (u8)(domain >> 24)};

	add_entry(e, sizeof(e));
}

static void add_x2apic(u32 apic_id, u32 domain)
{
	u8 e[24] = {2, 24};

	memcpy(e + 4, &domain, 4);
	memcpy(e + 8, &apic_id, 4);
	e[12] = 1;
	add_entry(e, sizeof(e));
}

static void add_memory(u64 base, u64 length, u32 domain, bool enabled)
{
	u8 e[40] = {1, 40};

	memcpy(e + 2, &domain, 4);
	memcpy(e + 8, &base, 8);
	memcpy(e + 16, &length, 8);
	e[28] = enabled;
	add_entry(e, sizeof(e));
}

static void put_slit(u64 nr, const u8 *distances)
{
	put(SLIT + 36, nr, 8);
	memcpy(memory + SLIT + 44, distances, nr * nr);
	finish_table(SLIT, "SLIT", 44 + nr * nr);
}

static void start(void)
{
	memset(memory, 0, sizeof(memory));
	memcpy(memory, "RSD PTR ", 8);
	put(16, ROOT, 4);
	set_sum(0, 20, 8);
	put(ROOT + 36, SRAT, 4);
	put(ROOT + 40, SLIT, 4);
	finish_table(ROOT, "RSDT", 44);
	srat_end = SRAT + 48;
	memory[SRAT + 8] = 3;
	finish_table(SRAT, "SRAT", 48);
}

static struct acpi_numa numa;

/* Two sockets of 64 MiB: domains 0 and 7, which is what QEMU writes but for the numbers. */
static void two_sockets(void)
{
	start();
	add_cpu(0, 0, true);
	add_cpu(1, 7, true);
	add_cpu(2, 7, false);
	add_x2apic(300, 7);
	add_entry((u8[]){99, 3, 0}, 3); /* not known: stepped over */
	add_memory(0, 0xa0000, 0, true);
	add_memory(MIB, 63 * MIB, 0, true);
	add_memory(64 * MIB, 64 * MIB, 7, true);
	add_memory(128 * MIB, 64 * MIB, 9, false);
	add_memory(192 * MIB, 0, 5, true); /* empty */
}

static void check_one_node(void)
{
	CHECK(!acpi_read_numa(0, map, &numa));
	CHECK_EQ(numa.nr_nodes, 1);
	CHECK_EQ(numa.nr_cpus + numa.nr_ranges, 0);
	CHECK_EQ(numa.distance[0][0], 10);
}

TEST(two_sockets_are_two_nodes)
{
	two_sockets();
	CHECK(acpi_read_numa(0, map, &numa));
	CHECK_EQ(numa.nr_nodes, 2);
	CHECK_EQ(numa.domains[1], 7);
	CHECK_EQ(numa.nr_cpus, 3);
	CHECK_EQ(numa.cpus[2].apic_id, 300);
	CHECK_EQ(numa.cpus[2].node, 1);
	CHECK_EQ(numa.nr_ranges, 3);
	CHECK_EQ(numa.ranges[2].start, 64 * MIB);
	CHECK_EQ(numa.ranges[2].end, 128 * MIB);
	CHECK_EQ(numa.ranges[2].node, 1);
	CHECK_EQ(numa.distance[0][0], 10);
	CHECK_EQ(numa.distance[0][1], 20); /* no SLIT */
}

TEST(distances_are_by_domain)
{
	u8 distances[64];

	two_sockets();
	for (unsigned i = 0; i < 64; i++)
		distances[i] = 100 + i;
	put_slit(8, distances);
	CHECK(acpi_read_numa(0, map, &numa));
	CHECK_EQ(numa.distance[0][1], 107);
	CHECK_EQ(numa.distance[1][0], 156);
	CHECK_EQ(numa.distance[1][1], 10); /* whatever it says */
	distances[7] = 9;
	put_slit(8, distances); /* nearer than here: nonsense */
	CHECK(acpi_read_numa(0, map, &numa));
	CHECK_EQ(numa.distance[0][1], 20);
	put_slit(2, distances); /* says nothing of domain 7 */
	CHECK(acpi_read_numa(0, map, &numa));
	CHECK_EQ(numa.distance[0][1], 20);
	put(SLIT + 36, 1000, 8); /* more than there is */
	finish_table(SLIT, "SLIT", 48);
	CHECK(acpi_read_numa(0, map, &numa));
	CHECK_EQ(numa.distance[0][1], 20);
}

TEST(old_tables_have_narrow_domains)
{
	start();
	memory[SRAT + 8] = 1;
	add_cpu(0, 0xabcdef01, true);
	add_memory(0, MIB, 0xffffff01, true);
	CHECK(acpi_read_numa(0, map, &numa));
	CHECK_EQ(numa.nr_nodes, 1);
	CHECK_EQ(numa.domains[0], 1);
}

TEST(without_a_good_table_there_is_one_node)
{
	start();
	check_one_node(); /* an SRAT without memory */
	two_sockets();
	memory[SRAT + 60]++;
	check_one_node();
	two_sockets();
	add_entry((u8[39]){1, 39}, 39); /* too short for its type */
	check_one_node();
	two_sockets();
	add_entry((u8[]){77, 0}, 2);
	check_one_node();
	two_sockets();
	add_entry((u8[]){77}, 1);
	check_one_node();
	two_sockets();
	add_entry((u8[]){77, 9}, 2);
	check_one_node();
	memory[0] = 'X';
	check_one_node();
}

TEST(more_than_fit_are_counted)
{
	start();
	for (u32 i = 0; i < 20; i++)
		add_memory(i * 4 * MIB, 4 * MIB, i, true);
	for (u32 i = 0; i < 40; i++)
		add_memory(i * 4 * MIB, 4 * MIB, 0, true);
	add_memory(~0ul - MIB, 2 * MIB, 0, true); /* wraps */
	CHECK(acpi_read_numa(0, map, &numa));
	CHECK_EQ(numa.nr_nodes, ACPI_MAX_NODES);
	CHECK_EQ(numa.nr_ranges, ACPI_MAX_RANGES);
	CHECK_EQ(numa.nr_dropped, 12 + 8 + 40 - 32);
}

/* ---- what we make of it ---- */

TEST(a_frames_node_has_no_gaps_and_round_edges)
{
	start();
	add_memory(65 * MIB + 12345, 60 * MIB, 1, true); /* unsorted, and at no round address */
	add_memory(0, 0xa0000, 0, true);
	add_memory(MIB, 64 * MIB, 0, true);
	add_cpu(3, 1, true);
	CHECK(acpi_read_numa(0, map, &numa));
	node_init(&numa); /* the domain named first is node 0: here 1 */
	CHECK_EQ(nr_nodes, 2);
	CHECK_EQ(pfn_node(0), 1);
	CHECK_EQ(pfn_node(0xb0), 1); /* the hole below 1 MiB goes with what is before it */
	CHECK_EQ(pfn_node((64 * MIB >> 12) - 1), 1);
	CHECK_EQ(pfn_node(64 * MIB >> 12), 0); /* rounded down to 4 MiB */
	CHECK_EQ(pfn_node(1 << 30), 0);
	CHECK_EQ(node_of_cpu(3), 0);
	CHECK_EQ(node_of_cpu(17), 0); /* nobody says: node 0 */
}

TEST(the_nearest_first)
{
	static const u8 square[4][4] = {
		{10, 30, 20, 20}, {30, 10, 20, 40}, {20, 20, 10, 20}, {21, 12, 21, 10}};
	static const u8 want[4][4] = {{0, 2, 3, 1}, {1, 2, 0, 3}, {2, 0, 1, 3}, {3, 1, 0, 2}};
	u8 nodes[MAX_NODES];

	start();
	for (u32 i = 0; i < 4; i++)
		add_memory(i * 64 * MIB, 64 * MIB, i, true);
	put_slit(4, &square[0][0]);
	CHECK(acpi_read_numa(0, map, &numa));
	node_init(&numa);
	for (unsigned from = 0; from < 4; from++) {
		node_by_distance(from, nodes);
		for (unsigned i = 0; i < 4; i++)
			CHECK_EQ(nodes[i], want[from][i]);
	}
}

/* The machine that the tables tell of: nodes of 64 MiB; CPU n is of node n. */
static void power_on(unsigned nodes)
{
	CHECK(acpi_read_numa(0, map, &numa));
	machine_power_on(nodes * 64 * MIB, nodes);
	for (unsigned i = 0; i < nodes; i++)
		cpus[i]->apic_id = i;
	memmap_init();
	CHECK_EQ(memmap_add(0, nodes * 64 * MIB, MEMMAP_USABLE), 0);
	page_init();
	node_init(&numa);
	for (unsigned i = 0; i < nodes; i++)
		cpus[i]->node = node_of_cpu(cpus[i]->apic_id);
	lru_init();
	buddy_init();
}

static void start_two(void)
{
	two_sockets();
	power_on(2);
}

static unsigned node_of(const struct page *p)
{
	CHECK(p);
	return pfn_zone(page_to_pfn(p))->node;
}

TEST(each_node_has_zones_of_its_own)
{
	start_two();
	CHECK_EQ(node_zone(0, ZONE_DMA32)->present_pages, 63 * 256); /* without the first MiB */
	CHECK_EQ(node_zone(1, ZONE_DMA32)->present_pages, 64 * 256);
	CHECK_EQ(node_zone(1, ZONE_DMA32)->start, 64 * 256);
	CHECK_EQ(zone_managed_pages(), buddy_free_pages());
	CHECK_EQ(node_zone(0, ZONE_DMA32)->watermark_min + node_zone(1, ZONE_DMA32)->watermark_min,
		buddy_min_free_kbytes / 4 - 1);
	CHECK_EQ(zonelists[0].nr, 2);
	CHECK_EQ(zonelists[1].zones[0], 1 * NR_ZONES + ZONE_DMA32);
	CHECK_EQ(zonelists[1].zones[1], ZONE_DMA32);
	CHECK(buddy_check());
	zone_recommend_min_free(true); /* for each zone its share */
	CHECK_EQ(buddy_min_free_kbytes, zone_managed_pages() / 20 * 4);
}

TEST(each_cpu_gets_its_own_nodes_memory)
{
	static struct page *pages[2][200];
	struct page *p;

	start_two();
	for (machine_cpu = 0; machine_cpu < 2; machine_cpu++) {
		for (unsigned i = 0; i < 200; i++) {
			pages[machine_cpu][i] = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, 0);
			CHECK_EQ(node_of(pages[machine_cpu][i]), machine_cpu);
		}
		p = buddy_alloc(9, MIGRATE_MOVABLE, PAGE_ANON_HUGE, 0);
		CHECK_EQ(node_of(p), machine_cpu);
		page_put(p);
		p = buddy_alloc(9, MIGRATE_MOVABLE, PAGE_ANON_HUGE, BUDDY_ON(!machine_cpu));
		CHECK_EQ(node_of(p), !machine_cpu);
		page_put(p);
		p = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, BUDDY_ON(!machine_cpu));
		CHECK_EQ(node_of(p), !machine_cpu);
		page_put(p);
	}
	machine_cpu = 0;
	for (unsigned i = 0; i < 200; i++) {
		page_put(pages[1][i]); /* another node's page on this CPU: that node's list */
		page_put(pages[0][i]);
	}
	CHECK(node_zone(1, ZONE_DMA32)->pcp[0].lists[MIGRATE_MOVABLE].count > 0);
	CHECK(buddy_check());
	CHECK_EQ(cpus[0]->pcp->hit, 201);
	CHECK_EQ(cpus[0]->pcp->miss + cpus[0]->pcp->foreign, 0);
	CHECK_EQ(node_zone(1, ZONE_DMA32)->pcp[0].hit, 2); /* as wished, though not of this CPU */
	CHECK_EQ(node_zone(1, ZONE_DMA32)->pcp[0].other, 2);
	for (machine_cpu = 0; machine_cpu < 2; machine_cpu++)
		buddy_drain_pcp();
	machine_cpu = 0;
	CHECK_EQ(zone_free_pages(), zone_managed_pages());
}

TEST(an_empty_node_takes_from_the_next)
{
	u64 here = 0, there = 0, free;
	struct page *p;

	start_two();
	free = zone_managed_pages();
	while ((p = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, BUDDY_ONLY(0)))) {
		CHECK_EQ(node_of(p), 0);
		here++;
	}
	CHECK(here > 60 * 256 && here <= 64 * 256);
	CHECK(buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, BUDDY_RESERVE)); /* node 0 has a reserve */
	while ((p = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, 0)))
		there += node_of(p);
	CHECK(there > 60 * 256);
	CHECK_EQ(node_zone(1, ZONE_DMA32)->pcp[0].miss, there);
	CHECK_EQ(node_zone(0, ZONE_DMA32)->pcp[0].foreign, there);
	CHECK(here + there < free);
	CHECK(buddy_check());
}

/* Three nodes, 2 far from both others. Who wishes for 1 and 2 gets them before 0, which is nearer to 1 than 2 is. */
TEST(several_nodes_are_wished_for)
{
	static const u8 far[] = {10, 20, 40, 20, 10, 40, 40, 40, 10};
	const u32 wish = BUDDY_ON(1) | BUDDY_FIRST(1u << 1 | 1u << 2);
	unsigned count[3] = {0}, last = 1, node;
	struct page *p;

	start();
	for (u32 i = 0; i < 3; i++) {
		add_cpu((u8)i, i, true);
		add_memory(i * 64 * MIB, 64 * MIB, i, true);
	}
	put_slit(3, far);
	power_on(3);
	for (; (p = buddy_alloc(0, MIGRATE_MOVABLE, PAGE_ANON, wish)); last = node) {
		node = node_of(p);
		CHECK(node == last || (last == 1 && node == 2) || (last == 2 && node == 0));
		count[node]++;
	}
	for (node = 0; node < 3; node++)
		CHECK(count[node] > 60 * 256);
	CHECK(buddy_check());
}

/* No block unites across the edge, though both halves are free. */
TEST(blocks_stay_in_their_node)
{
	start_two();
	for (pfn_t pfn = 512; pfn < 128 * 256 - 1024; pfn++) {
		int order = pfn_free_order(pfn);

		if (order >= 0)
			CHECK(pfn_zone(pfn) == pfn_zone(pfn + (1ul << order) - 1));
	}
	CHECK_EQ(buddy_isolate_range(63 * 256 & ~1023, 65 * 256 & ~1023ul), 0);
	buddy_unisolate_range(63 * 256 & ~1023, 65 * 256 & ~1023ul);
	CHECK(buddy_check());
}
