/*
 * acpi.h - which CPUs, I/O APICs and nodes the machine has, from the firmware's tables     floor 0
 */
#ifndef LIB_ACPI_H
#define LIB_ACPI_H

#include "lib/types.h"

#define ACPI_MAX_CPUS      64
#define ACPI_MAX_IOAPICS   8
#define ACPI_MAX_OVERRIDES 16

enum acpi_result {
	ACPI_OK,
	ACPI_NO_RSDP,       /* no root pointer where it was said to be, or where to look for it */
	ACPI_RSDP_CHECKSUM, /* the root pointer's checksum is wrong */
	ACPI_UNREADABLE,    /* a table lies where there is no memory */
	ACPI_BAD_ROOT,      /* RSDT or XSDT: signature, length or checksum is wrong */
	ACPI_NO_MADT,       /* no table of APICs */
	ACPI_BAD_MADT,      /* its length, its checksum or one of its entries is wrong */
	ACPI_NR_RESULTS,
};

struct acpi_cpu {
	u32 apic_id; /* of the local APIC; above 254 only with x2APIC */
	u32 uid;     /* the number the firmware's other tables use */
	bool enabled;
	bool can_enable; /* not there now, but may be plugged in */
};

struct acpi_ioapic {
	u8 id;
	paddr_t address;
	u32 first_gsi; /* the number of its first input */
};

/* An ISA interrupt that arrives at another input than its own number. */
struct acpi_override {
	u8 isa_irq;
	u32 gsi;
	bool active_low;
	bool level;
};

/* What the MADT says. Where there are more than fit, the first ones are kept. */
struct acpi_info {
	paddr_t lapic;  /* physical address of the local APICs */
	bool has_8259s; /* a PC's old interrupt controllers are there and must be masked */
	unsigned int nr_cpus;
	unsigned int nr_ioapics;
	unsigned int nr_overrides;
	unsigned int nr_dropped; /* CPUs, I/O APICs and overrides that did not fit */
	struct acpi_cpu cpus[ACPI_MAX_CPUS];
	struct acpi_ioapic ioapics[ACPI_MAX_IOAPICS];
	struct acpi_override overrides[ACPI_MAX_OVERRIDES];
};

/*
 * Makes `bytes` bytes of physical memory readable until the next call: the kernel's direct map, a
 * window, or a test's array. NULL: there is nothing to read.
 */
typedef const void *acpi_map(paddr_t address, usize bytes);

#define ACPI_MAX_NODES       8
#define ACPI_MAX_RANGES      32
#define ACPI_LOCAL_DISTANCE  10
#define ACPI_REMOTE_DISTANCE 20 /* where the firmware gives none */

struct acpi_node_cpu {
	u32 apic_id, node;
};
struct acpi_node_range {
	paddr_t start, end;
	u32 node;
};

/* Which CPUs and which memory are near each other: SRAT and SLIT. Without them, one node of everything. */
struct acpi_numa {
	unsigned int nr_nodes; /* 1 and up: numbered in the order the firmware names its domains */
	unsigned int nr_cpus, nr_ranges;
	unsigned int nr_dropped; /* domains, CPUs and ranges that did not fit */
	u32 domains[ACPI_MAX_NODES];
	struct acpi_node_cpu cpus[ACPI_MAX_CPUS];
	struct acpi_node_range ranges[ACPI_MAX_RANGES];
	u8 distance[ACPI_MAX_NODES][ACPI_MAX_NODES];
};

paddr_t acpi_find_rsdp(acpi_map *map);
bool acpi_read_numa(paddr_t rsdp, acpi_map *map, struct acpi_numa *numa);

/* For acpi_numa.c: a table by its signature, whole and with a good checksum. NULL: there is none such. */
const void *acpi_find_table(paddr_t rsdp, acpi_map *map, const char *signature, usize least);
enum acpi_result __must_check acpi_read(paddr_t rsdp, acpi_map *map, struct acpi_info *info);
const char *acpi_text(enum acpi_result result);

#endif
