/*
 * zero.h - the two shared frames of zeroes: 4 KiB for good, 2 MiB while somebody uses it.   floor 2
 *
 * Both are typed ZERO, are never writable, never dirty, never counted as memory of a task; they are
 * checked (zero_check), not special-cased. Mappings do not count them: each *space* that maps the
 * huge one holds one reference, and the shrinker holds one; at 1 it may be freed (Linux:
 * get_huge_zero_page).
 */
#ifndef MM_ZERO_H
#define MM_ZERO_H

#include "mm/page.h"

extern pfn_t zero_pfn;      /* the 4 KiB zero frame */
extern pfn_t zero_huge_pfn; /* the 2 MiB one, 0 while there is none */

void zero_init(void);
/* One reference for a space; allocates and clears on first use; 0: no block of order 9. */
pfn_t zero_huge_get(void);
void zero_huge_put(void);
u64 zero_huge_shrink(void); /* free it if only the shrinker's reference is left; pages freed */
u32 zero_huge_refs(void);
static inline bool pfn_is_zero(pfn_t pfn)
{
	return pfn == zero_pfn;
}
static inline bool pfn_is_huge_zero(pfn_t pfn)
{
	pfn_t huge = READ_ONCE(zero_huge_pfn);
	return huge && (pfn & ~(HPAGE_PMD_NR - 1)) == huge;
}
bool zero_check(void); /* Z1 both frames hold only zeroes, Z2 types */

#endif
