/*
 * memmap.c - which physical memory exists, and frames before the buddy allocator does.      floor 2
 *
 * Turns what the firmware told (in any order, overlapping, with holes) into one sorted list of
 * ranges, and hands out the first frames of all: page tables, and the array of struct page. It does
 * not know how the firmware's tables look (boot/bootinfo.c) and forgets no range: who comes later
 * reads the list.
 *
 * IDEA
 *   told     reserved 511M-512M;   usable 0-512M;   then the image, 1M-2M, is reserved
 *   kept     | usable 0-1M | kernel 1M-2M | usable 2M-511M | reserved 511M-512M |
 *
 *   A new range is painted over the list. Where two overlap, the less usable type wins, so the
 *   order of telling does not matter. Early frames are cut from the top of the highest usable range
 *   below 4 GiB: the bottom keeps its large blocks, and boot.asm has mapped all of it.
 *
 * INVARIANTS (memmap_paint() makes the list anew each time; tested by tests/host/test_memmap.c)
 *   M1  ranges are sorted, disjoint and not empty; two that touch differ in type
 *   M2  every edge is a multiple of a page: usable ranges were rounded inwards, others outwards
 *
 * LOCKS     none: only the first CPU runs.
 * LINUX     mm/memblock.c (two lists, NUMA nodes, mirrors), arch/x86/kernel/e820.c.
 *           docs/mm/memmap.md
 */
#include <abi/errno.h>

#include "lib/string.h"
#include "mm/memmap.h"
#include "panic.h"
#include "x86/cpu.h"
#include "x86/layout.h"

#define MEMMAP_LIMIT (1ul << 44) /* lists of pages keep 32-bit frame numbers: 16 TiB */
#define EARLY_LIMIT  (1ul << 32) /* what boot.asm mapped */

struct memmap_range memmap_ranges[MEMMAP_MAX];
unsigned memmap_count;

static struct memmap_range painted[MEMMAP_MAX];
static unsigned nr_painted;

/* How little can be done with it: where two ranges overlap, the higher rank stays. */
static unsigned type_rank(enum memmap_type type)
{
	static const u8 rank[] = {
		[MEMMAP_USABLE] = 0,
		[MEMMAP_EARLY] = 1,
		[MEMMAP_MODULE] = 2,
		[MEMMAP_KERNEL] = 3,
		[MEMMAP_ACPI] = 4,
		[MEMMAP_RESERVED] = 5,
	};

	return rank[type];
}

static enum memmap_type less_usable(enum memmap_type a, enum memmap_type b)
{
	return type_rank(a) > type_rank(b) ? a : b;
}

/* Appends to `painted`; unites with the range before if they touch and are alike. False: full. */
static bool emit(paddr_t start, paddr_t end, enum memmap_type type)
{
	struct memmap_range *last = nr_painted ? &painted[nr_painted - 1] : NULL;

	if (start >= end)
		return true;
	if (last && last->end == start && last->type == type) {
		last->end = end;
		return true;
	}
	if (nr_painted == MEMMAP_MAX)
		return false;
	painted[nr_painted++] = (struct memmap_range){start, end, type};
	return true;
}

/* One old range under the brush [start, end): what lies before, the overlap, what lies behind. */
static bool emit_overlap(
	const struct memmap_range *r, paddr_t start, paddr_t end, enum memmap_type type)
{
	return emit(r->start, start, r->type) &&
	       emit(MAX(r->start, start), MIN(r->end, end), less_usable(r->type, type)) &&
	       emit(end, r->end, r->type);
}

/* Paints [start, end) over the list; on holes too if `holes`. -ENOSPC: full, nothing changed. */
static int memmap_paint(paddr_t start, paddr_t end, enum memmap_type type, bool holes)
{
	paddr_t next = start; /* the brush has painted up to here */
	bool fits = true;

	nr_painted = 0;
	for (unsigned i = 0; i < memmap_count && fits; i++) {
		const struct memmap_range *r = &memmap_ranges[i];

		if (holes && r->end > start && next < end) {
			fits = emit(next, MIN(r->start, end), type);
			next = MAX(next, r->end);
		}
		if (r->end <= start || r->start >= end)
			fits = fits && emit(r->start, r->end, r->type);
		else
			fits = fits && emit_overlap(r, start, end, type);
	}
	if (holes && fits)
		fits = emit(next, end, type);
	if (!fits)
		return -ENOSPC;
	memcpy(memmap_ranges, painted, nr_painted * sizeof(painted[0]));
	memmap_count = nr_painted;
	return 0;
}

/*
 * memmap_init - an empty list.
 *
 *   Linux    memblock starts with static arrays of 128
 */
void memmap_init(void)
{
	memmap_count = 0;
}

/*
 * memmap_add - take down a range as the firmware told it.
 *
 *   returns  0; -ENOSPC: the list is full and as it was. An empty range, or one above 16 TiB, is no
 *            error
 *   Linux    e820__range_add and e820__update_table
 */
int memmap_add(paddr_t start, paddr_t end, enum memmap_type type)
{
	start = MIN(start, MEMMAP_LIMIT);
	end = MIN(end, MEMMAP_LIMIT);
	if (type == MEMMAP_USABLE) {
		start = ALIGN_UP(start, PAGE_SIZE);
		end = ALIGN_DOWN(end, PAGE_SIZE);
	} else {
		start = ALIGN_DOWN(start, PAGE_SIZE);
		end = ALIGN_UP(end, PAGE_SIZE);
	}
	return start < end ? memmap_paint(start, end, type, true) : 0;
}

/*
 * memmap_reserve - [start, end) holds something already: the kernel image, the initrd, tables.
 *
 *   returns  0, or -ENOSPC. Where the firmware told of no memory at all, nothing is written down
 *   Linux    memblock_reserve
 */
int memmap_reserve(paddr_t start, paddr_t end, enum memmap_type type)
{
	start = ALIGN_DOWN(MIN(start, MEMMAP_LIMIT), PAGE_SIZE);
	end = ALIGN_UP(MIN(end, MEMMAP_LIMIT), PAGE_SIZE);
	return start < end ? memmap_paint(start, end, type, false) : 0;
}

/* The highest place for `bytes` in a usable range, above the first MiB; 0: none. */
static paddr_t find_early(u64 bytes, u64 align)
{
	for (unsigned i = memmap_count; i-- > 0;) {
		const struct memmap_range *r = &memmap_ranges[i];
		paddr_t low = MAX(r->start, MEMMAP_LOW), high = MIN(r->end, EARLY_LIMIT), start;

		if (r->type != MEMMAP_USABLE || low >= high || high - low < bytes)
			continue;
		start = ALIGN_DOWN(high - bytes, align);
		if (start >= low)
			return start;
	}
	return 0;
}

/*
 * memmap_early_alloc - frames for good, before there is an allocator: zeroed, below 4 GiB.
 *
 *   align    a power of two, at least a page
 *   returns  the address; 0: no room. Not after page_init(), which gives every frame its type
 *   Linux    memblock_phys_alloc_range
 */
paddr_t memmap_early_alloc(u64 bytes, u64 align)
{
	paddr_t start;

	bytes = ALIGN_UP(bytes, PAGE_SIZE);
	align = MAX(align, PAGE_SIZE);
	start = find_early(bytes, align);
	if (!start || memmap_reserve(start, start + bytes, MEMMAP_EARLY) != 0)
		return 0;
	for (u64 offset = 0; offset < bytes; offset += PAGE_SIZE)
		clear_page(phys_to_virt(start + offset));
	return start;
}

/* memmap_is_ram - do frames of this type have a struct page of their own, whoever uses them? */
bool memmap_is_ram(enum memmap_type type)
{
	return type != MEMMAP_RESERVED && type != MEMMAP_ACPI;
}

/* memmap_has_ram - is there RAM in [start, end)? Asked for each piece of the page array. */
bool memmap_has_ram(paddr_t start, paddr_t end)
{
	for (unsigned i = 0; i < memmap_count; i++) {
		const struct memmap_range *r = &memmap_ranges[i];

		if (memmap_is_ram(r->type) && r->start < end && r->end > start)
			return true;
	}
	return false;
}

/* memmap_top - the end of the highest RAM. Linux: max_pfn. */
paddr_t memmap_top(void)
{
	for (unsigned i = memmap_count; i-- > 0;)
		if (memmap_is_ram(memmap_ranges[i].type))
			return memmap_ranges[i].end;
	return 0;
}

/* memmap_usable_bytes - all RAM the firmware gave, whoever uses it now. */
u64 memmap_usable_bytes(void)
{
	u64 bytes = 0;

	for (unsigned i = 0; i < memmap_count; i++)
		if (memmap_is_ram(memmap_ranges[i].type))
			bytes += memmap_ranges[i].end - memmap_ranges[i].start;
	return bytes;
}
