/*
 * ksyms.c - from an address to a function's name                                       floor 1
 *
 * The table is made by tools/ksyms.py from the linked kernel and linked in by a second link. It has
 * functions only, not data.
 *
 * LINUX  kernel/kallsyms.c compresses the names.
 */
#include "ksyms.h"

extern const char __text_start[], __text_end[];

const char *ksym_find(vaddr_t addr, u64 *offset)
{
	if (addr < (vaddr_t)__text_start || addr >= (vaddr_t)__text_end || !ksyms_count)
		return NULL;

	u64 distance = addr - (vaddr_t)__text_start;
	u32 low = 0, high = ksyms_count; /* ksyms[low] <= distance < ksyms[high] */
	while (high - low > 1) {
		u32 middle = low + (high - low) / 2;
		if (ksyms[middle].offset <= distance)
			low = middle;
		else
			high = middle;
	}
	if (ksyms[low].offset > distance)
		return NULL;
	*offset = distance - ksyms[low].offset;
	return ksyms_names + ksyms[low].name;
}
