/*
 * bootinfo.c - Multiboot2's tags or PVH's start info -> one struct boot_info              floor 7
 *
 * Pure: looks at memory only through struct boot_memory, keeps nothing, builds on the host, where it
 * is fuzzed. It does not decide what is done with the memory: mm/memmap.c does.
 *
 * IDEA
 *   Multiboot2   u32 total, u32 0, then tags { u32 type, u32 size, ... } each padded to 8 bytes,
 *                the last one { 0, 8 }
 *   PVH          one struct with the addresses of a table of modules, a table of memory ranges, a
 *                command line
 *   Everything is copied first and judged on the copy, so a value cannot change after its check.
 *   A loader's map may be unsorted, overlapping and full of holes. range_add() keeps the list sorted
 *   and disjoint at every step; where two ranges meet, the more restrictive one wins:
 *
 *        list    |  usable            |        |reserved|
 *        add           | acpi |    | usable       |
 *        then    |usab.| acpi |usab.  |usable  |reserved|
 *
 * INVARIANTS (bootinfo_check() tests every one)
 *   B1  ranges are page-aligned, not empty, below 2^52
 *   B2  ranges are sorted and disjoint
 *   B3  two ranges that touch have different types
 *   B4  there is usable memory; module and info block are both empty or proper ranges below 2^52; the
 *       command line is terminated
 *
 * LOCKS     none
 * LINUX     arch/x86/kernel/e820.c (e820__update_table), arch/x86/platform/pvh/enlighten.c
 */
#include "boot/bootinfo.h"
#include "lib/string.h"

#define LOW_MEMORY_END 0xa0000ull /* behind it: video memory and the BIOS */

#define PHYS_LIMIT (1ull << 52) /* SDM vol. 3A, 4.1.4: no processor has more address bits */

/* Multiboot2 2.0, section 3.6 */
#define MB2_MAX_SIZE 0x100000u /* an information block is a few KiB; 1 MiB is surely damaged */
#define MB2_HEADER   8u
#define MB2_TAG      8u

enum mb2_tag_type {
	MB2_END = 0,
	MB2_CMDLINE = 1,
	MB2_MODULE = 3,
	MB2_MEMORY_MAP = 6,
	MB2_ACPI_OLD = 14,
	MB2_ACPI_NEW = 15,
};

struct mb2_tag {
	u32 type, size;
};

struct mb2_memory_map {
	struct mb2_tag tag;
	u32 entry_size, entry_version;
};

struct memory_entry { /* the first 20 bytes are the same in Multiboot2, PVH and the BIOS's E820 */
	u64 addr, len;
	u32 type, reserved;
};

struct mb2_module {
	struct mb2_tag tag;
	u32 start, end;
};

struct pvh_start_info {
	u32 magic, version, flags, nr_modules;
	u64 modules, cmdline, rsdp;
	u64 memory_map; /* from version 1 */
	u32 nr_memory, reserved;
};

struct pvh_module {
	u64 addr, size, cmdline, reserved;
};

/* A tag of the block being walked: its address and its header. */
struct cursor {
	paddr_t addr, end;
	struct mb2_tag tag;
};

static const char *const error_texts[NR_BOOT_ERRORS] = {
	[BOOT_OK] = "no error",
	[BOOT_BAD_MAGIC] = "started by neither Multiboot2 nor PVH: the magic number is wrong",
	[BOOT_UNREADABLE] = "the loader's information points outside memory",
	[BOOT_BAD_SIZE] = "the size of the loader's information is impossible",
	[BOOT_BAD_TAG] = "a Multiboot2 tag is too short or reaches past the end",
	[BOOT_NO_END_TAG] = "the list of Multiboot2 tags has no end",
	[BOOT_OLD_VERSION] = "PVH start info of version 0: it has no memory map",
	[BOOT_NO_MEMORY_MAP] = "the loader gave no memory map",
	[BOOT_BAD_RANGE] = "a range of the memory map leaves the address space",
	[BOOT_TOO_MANY_RANGES] = "the memory map has too many pieces",
	[BOOT_NO_USABLE_MEMORY] = "the memory map names no usable memory",
	[BOOT_BAD_MODULE] = "the initrd's addresses are impossible",
	[BOOT_LONG_CMDLINE] = "the command line is too long or has no end",
};

const char *boot_error_text(enum boot_error error)
{
	return (unsigned)error < NR_BOOT_ERRORS ? error_texts[error] : "unknown error";
}

const char *boot_protocol_name(enum boot_protocol protocol)
{
	return protocol == BOOT_PVH ? "PVH" : "Multiboot2";
}

static bool read_at(const struct boot_memory *mem, paddr_t addr, void *buf, usize len)
{
	return addr < PHYS_LIMIT && len <= PHYS_LIMIT - addr && mem->read(mem->ctx, addr, buf, len);
}

/* ---- the list of ranges ------------------------------------------------------------------------ */

/* Put [start, end) before ranges[at]. */
static enum boot_error range_insert(
	struct boot_info *info, unsigned at, paddr_t start, paddr_t end, enum boot_mem_type type)
{
	if (info->nr_ranges == BOOT_MAX_RANGES)
		return BOOT_TOO_MANY_RANGES;
	for (unsigned i = info->nr_ranges; i > at; i--)
		info->ranges[i] = info->ranges[i - 1];
	info->ranges[at] = (struct boot_range){start, end, type};
	info->nr_ranges++;
	return BOOT_OK;
}

/* Give [start, end), which lies inside ranges[at], another type: up to three pieces. */
static enum boot_error range_overlay(
	struct boot_info *info, unsigned at, paddr_t start, paddr_t end, enum boot_mem_type type)
{
	struct boot_range whole = info->ranges[at];
	enum boot_error error = BOOT_OK;

	info->ranges[at] = (struct boot_range){start, end, type};
	if (end < whole.end)
		error = range_insert(info, at + 1, end, whole.end, whole.type);
	if (!error && whole.start < start)
		error = range_insert(info, at, whole.start, start, whole.type);
	return error;
}

/* B3 */
static void ranges_merge(struct boot_info *info)
{
	unsigned kept = 0;

	for (unsigned i = 1; i < info->nr_ranges; i++) {
		struct boot_range *last = &info->ranges[kept], *next = &info->ranges[i];
		if (last->end == next->start && last->type == next->type)
			last->end = next->end;
		else
			info->ranges[++kept] = *next;
	}
	if (info->nr_ranges)
		info->nr_ranges = kept + 1;
}

/* Add page-aligned [start, end): holes are filled, what is there keeps the more restrictive type. */
static enum boot_error range_add(
	struct boot_info *info, paddr_t start, paddr_t end, enum boot_mem_type type)
{
	unsigned i = 0;

	while (start < end) {
		while (i < info->nr_ranges && info->ranges[i].end <= start)
			i++;
		struct boot_range *r = i < info->nr_ranges ? &info->ranges[i] : NULL;
		enum boot_error error = BOOT_OK;
		paddr_t stop;
		if (!r || start < r->start) {
			stop = r ? MIN(end, r->start) : end;
			error = range_insert(info, i, start, stop, type);
		} else {
			stop = MIN(end, r->end);
			if (type > r->type)
				error = range_overlay(info, i, start, stop, type);
		}
		if (error)
			return error;
		start = stop;
	}
	ranges_merge(info);
	return BOOT_OK;
}

/* A page that is only partly usable is not usable; one that is partly reserved is reserved. */
static enum boot_error entry_add(struct boot_info *info, const struct memory_entry *entry)
{
	enum {
		E820_USABLE = 1,
		E820_ACPI = 3
	};
	enum boot_mem_type type = BOOT_MEM_RESERVED;

	if (entry->type == E820_USABLE)
		type = BOOT_MEM_USABLE;
	else if (entry->type == E820_ACPI)
		type = BOOT_MEM_ACPI;
	if (entry->addr > PHYS_LIMIT || entry->len > PHYS_LIMIT - entry->addr)
		return BOOT_BAD_RANGE;
	if (entry->len == 0)
		return BOOT_OK;

	paddr_t start = entry->addr, end = entry->addr + entry->len;
	if (type == BOOT_MEM_USABLE) {
		start = ALIGN_UP(start, PAGE_SIZE);
		end = ALIGN_DOWN(end, PAGE_SIZE);
	} else {
		start = ALIGN_DOWN(start, PAGE_SIZE);
		end = ALIGN_UP(end, PAGE_SIZE);
	}
	return range_add(info, start, end, type);
}

/* ---- Multiboot2 --------------------------------------------------------------------------------- */

static enum boot_error mb2_read_memory_map(
	const struct boot_memory *mem, const struct cursor *at, struct boot_info *info)
{
	struct mb2_memory_map map;
	struct memory_entry entry;

	if (at->tag.size < sizeof(map))
		return BOOT_BAD_TAG;
	if (!read_at(mem, at->addr, &map, sizeof(map)))
		return BOOT_UNREADABLE;
	if (map.entry_size < sizeof(entry) || map.entry_size % 8)
		return BOOT_BAD_TAG;

	u32 offset = sizeof(map);
	while (at->tag.size - offset >= map.entry_size) {
		if (!read_at(mem, at->addr + offset, &entry, sizeof(entry)))
			return BOOT_UNREADABLE;
		enum boot_error error = entry_add(info, &entry);
		if (error)
			return error;
		offset += map.entry_size;
	}
	return BOOT_OK;
}

static enum boot_error mb2_read_cmdline(
	const struct boot_memory *mem, const struct cursor *at, struct boot_info *info)
{
	u32 len = at->tag.size - MB2_TAG;

	if (len > BOOT_CMDLINE_MAX)
		return BOOT_LONG_CMDLINE;
	if (!read_at(mem, at->addr + MB2_TAG, info->cmdline, len))
		return BOOT_UNREADABLE;
	return memchr(info->cmdline, 0, len) ? BOOT_OK : BOOT_LONG_CMDLINE;
}

static enum boot_error set_module(struct boot_info *info, paddr_t start, u64 size)
{
	if (start == 0 || start >= PHYS_LIMIT || size == 0 || size > PHYS_LIMIT - start)
		return BOOT_BAD_MODULE;
	if (info->module_end)
		return BOOT_OK; /* the first one is the initrd */
	info->module_start = start;
	info->module_end = start + size;
	return BOOT_OK;
}

static enum boot_error mb2_read_module(
	const struct boot_memory *mem, const struct cursor *at, struct boot_info *info)
{
	struct mb2_module module;

	if (at->tag.size < sizeof(module))
		return BOOT_BAD_TAG;
	if (!read_at(mem, at->addr, &module, sizeof(module)))
		return BOOT_UNREADABLE;
	if (module.end < module.start)
		return BOOT_BAD_MODULE;
	return set_module(info, module.start, module.end - module.start);
}

static enum boot_error mb2_read_tag(
	const struct boot_memory *mem, const struct cursor *at, struct boot_info *info)
{
	switch (at->tag.type) {
	case MB2_CMDLINE:
		return mb2_read_cmdline(mem, at, info);
	case MB2_MODULE:
		return mb2_read_module(mem, at, info);
	case MB2_MEMORY_MAP:
		return mb2_read_memory_map(mem, at, info);
	case MB2_ACPI_OLD:
		if (!info->rsdp) /* the new one holds all that the old one does */
			info->rsdp = at->addr + MB2_TAG;
		return BOOT_OK;
	case MB2_ACPI_NEW:
		info->rsdp = at->addr + MB2_TAG;
		return BOOT_OK;
	default:
		return BOOT_OK;
	}
}

static enum boot_error mb2_parse(
	const struct boot_memory *mem, paddr_t addr, struct boot_info *info)
{
	u32 total;

	if (!IS_ALIGNED(addr, 8) || !read_at(mem, addr, &total, sizeof(total)))
		return BOOT_UNREADABLE;
	if (total < MB2_HEADER + MB2_TAG || total > MB2_MAX_SIZE || total > PHYS_LIMIT - addr)
		return BOOT_BAD_SIZE;
	info->info_start = addr;
	info->info_end = addr + total;

	struct cursor at = {.addr = addr + MB2_HEADER, .end = addr + total};
	while (at.addr < at.end && at.end - at.addr >= MB2_TAG) {
		if (!read_at(mem, at.addr, &at.tag, sizeof(at.tag)))
			return BOOT_UNREADABLE;
		if (at.tag.size < MB2_TAG || at.tag.size > at.end - at.addr)
			return BOOT_BAD_TAG;
		if (at.tag.type == MB2_END)
			return BOOT_OK;
		enum boot_error error = mb2_read_tag(mem, &at, info);
		if (error)
			return error;
		at.addr += ALIGN_UP(at.tag.size, 8u);
	}
	return BOOT_NO_END_TAG;
}

/* ---- PVH ---------------------------------------------------------------------------------------- */

/* The command line has no length: byte by byte to its NUL. */
static enum boot_error pvh_read_cmdline(
	const struct boot_memory *mem, paddr_t addr, struct boot_info *info)
{
	for (usize i = 0; i < BOOT_CMDLINE_MAX; i++) {
		if (!read_at(mem, addr + i, &info->cmdline[i], 1))
			return BOOT_UNREADABLE;
		if (!info->cmdline[i])
			return BOOT_OK;
	}
	return BOOT_LONG_CMDLINE;
}

static enum boot_error pvh_read_memory_map(
	const struct boot_memory *mem, const struct pvh_start_info *start, struct boot_info *info)
{
	/* Each entry makes at most two ranges more, so a table that is any use has few thousand. */
	enum {
		MAX_ENTRIES = 4096
	};
	struct memory_entry entry;

	if (start->nr_memory > MAX_ENTRIES)
		return BOOT_TOO_MANY_RANGES;
	for (u32 i = 0; i < start->nr_memory; i++) {
		if (start->memory_map >= PHYS_LIMIT ||
			!read_at(mem, start->memory_map + i * sizeof(entry), &entry, sizeof(entry)))
			return BOOT_UNREADABLE;
		enum boot_error error = entry_add(info, &entry);
		if (error)
			return error;
	}
	return BOOT_OK;
}

static enum boot_error pvh_parse(
	const struct boot_memory *mem, paddr_t addr, struct boot_info *info)
{
	struct pvh_start_info start;
	struct pvh_module module;
	enum boot_error error;

	if (!read_at(mem, addr, &start, sizeof(start)))
		return BOOT_UNREADABLE;
	if (start.magic != BOOT_MAGIC_PVH)
		return BOOT_BAD_MAGIC;
	if (start.version < 1)
		return BOOT_OLD_VERSION;
	info->info_start = addr;
	info->info_end = addr + sizeof(start);
	info->rsdp = start.rsdp;

	error = pvh_read_memory_map(mem, &start, info);
	if (!error && start.cmdline)
		error = pvh_read_cmdline(mem, start.cmdline, info);
	if (error || !start.nr_modules)
		return error;
	if (!read_at(mem, start.modules, &module, sizeof(module)))
		return BOOT_UNREADABLE;
	return set_module(info, module.addr, module.size);
}

/* ---- both --------------------------------------------------------------------------------------- */

static bool has_usable(const struct boot_info *info)
{
	for (unsigned i = 0; i < info->nr_ranges; i++)
		if (info->ranges[i].type == BOOT_MEM_USABLE)
			return true;
	return false;
}

enum boot_error bootinfo_parse(
	const struct boot_memory *mem, u32 magic, paddr_t addr, struct boot_info *info)
{
	enum boot_error error;

	memset(info, 0, sizeof(*info));
	if (magic == BOOT_MAGIC_MULTIBOOT2) {
		info->protocol = BOOT_MULTIBOOT2;
		error = mb2_parse(mem, addr, info);
	} else if (magic == BOOT_MAGIC_PVH) {
		info->protocol = BOOT_PVH;
		error = pvh_parse(mem, addr, info);
	} else {
		return BOOT_BAD_MAGIC;
	}
	if (error)
		return error;
	if (!info->nr_ranges)
		return BOOT_NO_MEMORY_MAP;
	return has_usable(info) ? BOOT_OK : BOOT_NO_USABLE_MEMORY;
}

static bool overlaps(paddr_t page, paddr_t start, paddr_t end)
{
	return page < end && start < page + PAGE_SIZE;
}

static bool is_usable(const struct boot_info *info, paddr_t page)
{
	for (unsigned i = 0; i < info->nr_ranges; i++)
		if (page >= info->ranges[i].start && page < info->ranges[i].end)
			return info->ranges[i].type == BOOT_MEM_USABLE;
	return false;
}

paddr_t bootinfo_low_page(const struct boot_info *info)
{
	for (paddr_t page = LOW_MEMORY_END - PAGE_SIZE; page; page -= PAGE_SIZE)
		if (is_usable(info, page) &&
			!overlaps(page, info->module_start, info->module_end) &&
			!overlaps(page, info->info_start, info->info_end))
			return page;
	return 0;
}

static bool proper(paddr_t start, paddr_t end)
{
	return (!start && !end) || (start < end && end <= PHYS_LIMIT);
}

bool bootinfo_check(const struct boot_info *info, unsigned *rule)
{
	for (unsigned i = 0; i < info->nr_ranges; i++) {
		const struct boot_range *r = &info->ranges[i], *before = i ? r - 1 : NULL;
		*rule = 1;
		if (!IS_ALIGNED(r->start | r->end, PAGE_SIZE) || !proper(r->start, r->end) ||
			!r->end)
			return false;
		*rule = 2;
		if (before && before->end > r->start)
			return false;
		*rule = 3;
		if (before && before->end == r->start && before->type == r->type)
			return false;
	}
	*rule = 4;
	return info->nr_ranges <= BOOT_MAX_RANGES && has_usable(info) &&
	       proper(info->module_start, info->module_end) &&
	       proper(info->info_start, info->info_end) &&
	       memchr(info->cmdline, 0, sizeof(info->cmdline));
}
