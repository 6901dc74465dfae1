/*
 * ksyms.h - the names of the kernel's functions, for backtraces.                             floor 1
 */
#ifndef KSYMS_H
#define KSYMS_H

#include "lib/types.h"

/* One function: where it begins, as a distance from __text_start, and its name in ksyms_names. */
struct ksym {
	u32 offset;
	u32 name;
};

extern const u32 ksyms_count;
extern const struct ksym
	ksyms[]; /* sorted by offset; one more behind the last, at the end of all */
extern const char ksyms_names[];

/*
 * ksym_find - the function that contains addr.
 *
 *   locks    none needed: the table is read-only
 *   returns  its name, *offset = distance from its beginning; NULL: addr is not kernel code
 *   Linux    kallsyms_lookup
 */
const char *ksym_find(vaddr_t addr, u64 *offset);

#endif
