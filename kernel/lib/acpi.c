/*
 * acpi.c - which CPUs and I/O APICs the machine has, from the firmware's tables             floor 0
 *
 * Reads one table, the MADT, and finds others for acpi_numa.c. No AML, no devices, no sleep states.
 * The tables are the firmware's word: lengths and checksums are tested before anything is believed.
 *
 * IDEA
 *   RSDP "RSD PTR " --> XSDT (64-bit pointers; RSDT: 32-bit) --> MADT "APIC" --> entries
 *   Memory is read only through map(address, bytes): the kernel's direct map, or a test's array.
 *   An entry is |type|length|...|; types not known are stepped over by their length.
 *
 * INVARIANTS (of a struct acpi_info after ACPI_OK)
 *   F1  nr_cpus, nr_ioapics, nr_overrides are within their arrays
 *   F2  no two enabled CPUs have the same APIC id
 *
 * LOCKS     none.
 * LINUX     arch/x86/kernel/acpi/boot.c.      ACPI 6.5, 5.2.5 (RSDP) to 5.2.12 (MADT).
 */
#include "lib/acpi.h"
#include "lib/string.h"

/* The root pointer. Revision 0 ends behind rsdt. */
struct rsdp {
	char signature[8];
	u8 checksum;
	char oem[6];
	u8 revision;
	u32 rsdt;
	u32 length;
	u64 xsdt;
	u8 extended_checksum;
	u8 reserved[3];
} __packed;

#define RSDP_BYTES_V0 20

/* What every table begins with. */
struct table {
	char signature[4];
	u32 length;
	u8 revision;
	u8 checksum;
	char oem[6];
	char oem_table[8];
	u32 oem_revision;
	u32 creator;
	u32 creator_revision;
} __packed;

#define TABLE_MAX_BYTES (1u << 20) /* a length above this is damage, not a table */

struct madt {
	struct table table;
	u32 lapic;
	u32 flags;
} __packed;

#define MADT_HAS_8259S 1u

struct entry {
	u8 type;
	u8 length;
} __packed;

enum entry_type {
	ENTRY_LAPIC = 0,
	ENTRY_IOAPIC = 1,
	ENTRY_OVERRIDE = 2,
	ENTRY_LAPIC_ADDRESS = 5,
	ENTRY_X2APIC = 9,
};

struct entry_lapic {
	struct entry entry;
	u8 uid;
	u8 apic_id;
	u32 flags;
} __packed;

struct entry_x2apic {
	struct entry entry;
	u16 reserved;
	u32 apic_id;
	u32 flags;
	u32 uid;
} __packed;

#define CPU_ENABLED    1u
#define CPU_CAN_ENABLE 2u

struct entry_ioapic {
	struct entry entry;
	u8 id;
	u8 reserved;
	u32 address;
	u32 first_gsi;
} __packed;

struct entry_override {
	struct entry entry;
	u8 bus;
	u8 isa_irq;
	u32 gsi;
	u16 flags;
} __packed;

#define POLARITY_MASK 3u
#define POLARITY_LOW  3u
#define TRIGGER_MASK  12u
#define TRIGGER_LEVEL 12u

struct entry_lapic_address {
	struct entry entry;
	u16 reserved;
	u64 address;
} __packed;

/* All bytes of a table with a good checksum add up to 0. */
static bool sum_is_zero(const void *data, usize bytes)
{
	const u8 *p = data;
	u8 sum = 0;

	while (bytes-- > 0)
		sum = (u8)(sum + *p++);
	return sum == 0;
}

/*
 * acpi_find_rsdp - look for the root pointer where a PC's BIOS puts it: the first KiB of the
 * extended BIOS data area, then 0xe0000 to 0xfffff, at multiples of 16.
 *
 *   returns  its physical address, or 0. Not needed after a boot through UEFI or PVH, which say it.
 *   Source   ACPI 6.5, 5.2.5.1
 */
paddr_t acpi_find_rsdp(acpi_map *map)
{
	const u8 *segment = map(0x40e, 2); /* the BIOS keeps the segment of its data area here */
	paddr_t ebda = segment ? (paddr_t)(segment[0] | segment[1] << 8) << 4 : 0;
	const struct {
		paddr_t start, end;
	} areas[] = {{ebda, ebda ? ebda + 1024 : 0}, {0xe0000, 0x100000}};

	for (usize i = 0; i < ARRAY_SIZE(areas); i++) {
		for (paddr_t at = areas[i].start; at < areas[i].end; at += 16) {
			const void *p = map(at, RSDP_BYTES_V0);

			if (p && memcmp(p, "RSD PTR ", 8) == 0 && sum_is_zero(p, RSDP_BYTES_V0))
				return at;
		}
	}
	return 0;
}

/* Reads a whole table at an address; NULL and a reason if it is not what it should be. */
static const struct table *read_table(paddr_t address, const char *signature, usize least,
	acpi_map *map, enum acpi_result *result)
{
	enum acpi_result bad = memcmp(signature, "APIC", 4) == 0 ? ACPI_BAD_MADT : ACPI_BAD_ROOT;
	const struct table *table = map(address, sizeof(*table));
	u32 length;

	*result = ACPI_UNREADABLE;
	if (!table)
		return NULL;
	length = table->length;
	*result = bad;
	if (memcmp(table->signature, signature, 4) != 0 || length < least ||
		length > TABLE_MAX_BYTES)
		return NULL;
	*result = ACPI_UNREADABLE;
	table = map(address, length);
	if (!table)
		return NULL;
	*result = bad;
	if (!sum_is_zero(table, length))
		return NULL;
	*result = ACPI_OK;
	return table;
}

/* The address of the root table, from the root pointer. */
static enum acpi_result read_rsdp(paddr_t address, acpi_map *map, paddr_t *root, bool *wide)
{
	const struct rsdp *rsdp = map(address, RSDP_BYTES_V0);

	if (!rsdp || memcmp(rsdp->signature, "RSD PTR ", 8) != 0)
		return ACPI_NO_RSDP;
	if (!sum_is_zero(rsdp, RSDP_BYTES_V0))
		return ACPI_RSDP_CHECKSUM;
	*root = rsdp->rsdt;
	*wide = false;
	if (rsdp->revision < 2)
		return ACPI_OK;
	rsdp = map(address, sizeof(*rsdp));
	if (!rsdp)
		return ACPI_UNREADABLE;
	if (!sum_is_zero(rsdp, sizeof(*rsdp)))
		return ACPI_RSDP_CHECKSUM;
	if (rsdp->xsdt) {
		*root = rsdp->xsdt;
		*wide = true;
	}
	return ACPI_OK;
}

/* Walks the root table for one of this signature. Its pointers are copied out: they may stand at odd places. */
static enum acpi_result find_table(
	paddr_t root, bool wide, const char *signature, acpi_map *map, paddr_t *found)
{
	usize step = wide ? 8 : 4;
	enum acpi_result result;
	const struct table *table =
		read_table(root, wide ? "XSDT" : "RSDT", sizeof(*table), map, &result);
	usize nr;

	if (!table)
		return result;
	nr = (table->length - sizeof(*table)) / step;
	for (usize i = 0; i < nr; i++) {
		const struct table *other;
		u64 address = 0;

		/* map() may reuse its window, so the root is asked for each time. */
		table = map(root, sizeof(*table) + (i + 1) * step);
		if (!table)
			return ACPI_UNREADABLE;
		memcpy(&address, (const u8 *)(table + 1) + i * step, step);
		other = map(address, sizeof(*other));
		if (other && memcmp(other->signature, signature, 4) == 0) {
			*found = address;
			return ACPI_OK;
		}
	}
	return ACPI_NO_MADT;
}

/*
 * acpi_find_table - a table by its signature.
 *
 *   least    bytes it has at least
 *   returns  its first byte, mapped as map() maps; NULL: none, or a damaged one
 *   Linux    acpi_get_table
 */
const void *acpi_find_table(paddr_t rsdp, acpi_map *map, const char *signature, usize least)
{
	paddr_t root = 0, found = 0;
	enum acpi_result result;
	bool wide = false;

	if (read_rsdp(rsdp, map, &root, &wide) != ACPI_OK ||
		find_table(root, wide, signature, map, &found) != ACPI_OK)
		return NULL;
	return read_table(found, signature, least, map, &result);
}

static void add_cpu(struct acpi_info *info, u32 apic_id, u32 uid, u32 flags)
{
	bool enabled = flags & CPU_ENABLED;

	/* A CPU may be listed twice, as local APIC and as x2APIC (F2). */
	for (unsigned int i = 0; i < info->nr_cpus; i++)
		if (enabled && info->cpus[i].enabled && info->cpus[i].apic_id == apic_id)
			return;
	if (info->nr_cpus == ACPI_MAX_CPUS) {
		info->nr_dropped++;
		return;
	}
	info->cpus[info->nr_cpus++] = (struct acpi_cpu){
		.apic_id = apic_id,
		.uid = uid,
		.enabled = enabled,
		.can_enable = flags & CPU_CAN_ENABLE,
	};
}

static void add_ioapic(struct acpi_info *info, const struct entry_ioapic *e)
{
	if (info->nr_ioapics == ACPI_MAX_IOAPICS) {
		info->nr_dropped++;
		return;
	}
	info->ioapics[info->nr_ioapics++] = (struct acpi_ioapic){e->id, e->address, e->first_gsi};
}

static void add_override(struct acpi_info *info, const struct entry_override *e)
{
	if (info->nr_overrides == ACPI_MAX_OVERRIDES) {
		info->nr_dropped++;
		return;
	}
	info->overrides[info->nr_overrides++] = (struct acpi_override){
		.isa_irq = e->isa_irq,
		.gsi = e->gsi,
		.active_low = (e->flags & POLARITY_MASK) == POLARITY_LOW,
		.level = (e->flags & TRIGGER_MASK) == TRIGGER_LEVEL,
	};
}

/* One entry, which has at least the bytes its type needs. */
static void read_entry(struct acpi_info *info, const struct entry *entry)
{
	const struct entry_lapic *lapic = (const void *)entry;
	const struct entry_x2apic *x2apic = (const void *)entry;
	const struct entry_lapic_address *address = (const void *)entry;

	switch (entry->type) {
	case ENTRY_LAPIC:
		add_cpu(info, lapic->apic_id, lapic->uid, lapic->flags);
		break;
	case ENTRY_X2APIC:
		add_cpu(info, x2apic->apic_id, x2apic->uid, x2apic->flags);
		break;
	case ENTRY_IOAPIC:
		add_ioapic(info, (const void *)entry);
		break;
	case ENTRY_OVERRIDE:
		add_override(info, (const void *)entry);
		break;
	case ENTRY_LAPIC_ADDRESS:
		info->lapic = address->address;
		break;
	}
}

/* How long an entry of this type is at least. */
static usize least_length(u8 type)
{
	switch (type) {
	case ENTRY_LAPIC:
		return sizeof(struct entry_lapic);
	case ENTRY_X2APIC:
		return sizeof(struct entry_x2apic);
	case ENTRY_IOAPIC:
		return sizeof(struct entry_ioapic);
	case ENTRY_OVERRIDE:
		return sizeof(struct entry_override);
	case ENTRY_LAPIC_ADDRESS:
		return sizeof(struct entry_lapic_address);
	default:
		return sizeof(struct entry);
	}
}

static enum acpi_result read_madt(paddr_t address, acpi_map *map, struct acpi_info *info)
{
	enum acpi_result result;
	const struct madt *madt =
		(const void *)read_table(address, "APIC", sizeof(*madt), map, &result);
	const u8 *p, *end;

	if (!madt)
		return result;
	info->lapic = madt->lapic;
	info->has_8259s = madt->flags & MADT_HAS_8259S;
	end = (const u8 *)madt + madt->table.length;
	for (p = (const u8 *)(madt + 1); p < end; p += ((const struct entry *)p)->length) {
		const struct entry *entry = (const void *)p;

		if ((usize)(end - p) < sizeof(*entry) ||
			entry->length < least_length(entry->type) || entry->length > end - p)
			return ACPI_BAD_MADT;
		read_entry(info, entry);
	}
	return ACPI_OK;
}

/*
 * acpi_read - follow the root pointer to the MADT and read it.
 *
 *   rsdp     physical address of the root pointer: from the boot protocol, or acpi_find_rsdp()
 *   returns  ACPI_OK and *info, with F1 and F2; else what is wrong (*info then holds a part)
 *   Source   ACPI 6.5, 5.2.5 to 5.2.12.  Linux: acpi_boot_init
 */
enum acpi_result acpi_read(paddr_t rsdp, acpi_map *map, struct acpi_info *info)
{
	paddr_t root = 0, madt = 0;
	enum acpi_result result;
	bool wide = false;

	*info = (struct acpi_info){0};
	result = read_rsdp(rsdp, map, &root, &wide);
	if (result == ACPI_OK)
		result = find_table(root, wide, "APIC", map, &madt);
	if (result == ACPI_OK)
		result = read_madt(madt, map, info);
	return result;
}

/* acpi_text - a result in words. */
const char *acpi_text(enum acpi_result result)
{
	static const char *const text[ACPI_NR_RESULTS] = {
		[ACPI_OK] = "no error",
		[ACPI_NO_RSDP] = "the firmware offers no ACPI root pointer (RSDP)",
		[ACPI_RSDP_CHECKSUM] = "the checksum of the ACPI root pointer is wrong",
		[ACPI_UNREADABLE] = "an ACPI table lies where there is no memory",
		[ACPI_BAD_ROOT] = "the ACPI root table (RSDT or XSDT) is damaged",
		[ACPI_NO_MADT] = "there is no ACPI table of interrupt controllers (MADT)",
		[ACPI_BAD_MADT] = "the ACPI table of interrupt controllers (MADT) is damaged",
	};

	return (usize)result < ACPI_NR_RESULTS ? text[result] : "unknown result";
}
