/*
 * vmalimit.c - as many areas as a space may have, then one more.                            ring 3
 *
 *   vmalimit
 *
 * Linux allows 65,530 vmas (vm.max_map_count). Areas of one page with a hole between them cannot
 * merge; the limit must refuse with ENOMEM, change nothing, and faults must work at both ends. A
 * munmap that would have to split one more area is refused too.
 */
#include <errno.h>
#include <stdio.h>

#include "lib.h"

#define LIMIT 65530UL

static char *area_at(unsigned long index)
{
	return (char *)AREA_BASE + index * 2 * PAGE_BYTES;
}

static void *area_one(unsigned long index)
{
	return area_map(index * 2 * PAGE_BYTES, PAGE_BYTES, PROT_READ | PROT_WRITE, 0);
}

static bool fault_works(unsigned long index)
{
	volatile char *area = area_at(index);

	if (*area != 0)
		return false;
	*area = (char)index;
	return *area == (char)index;
}

int main(void)
{
	unsigned long made, own;
	char *wide;
	int error;

	/* Three pages, made while there is room: unmapping the middle one needs one area more. */
	wide = area_map(-4 * PAGE_BYTES, 3 * PAGE_BYTES, PROT_READ | PROT_WRITE, 0);
	if (wide == MAP_FAILED)
		die("vmalimit: cannot map at all");
	for (made = 0; made < LIMIT + 100 && area_one(made) != MAP_FAILED; made++)
		;
	error = errno;
	own = LIMIT - made;
	if (made > LIMIT || own > 32)
		die("vmalimit: FAILED: %lu areas were possible, the limit is %lu", made, LIMIT);
	if (error != ENOMEM)
		die("vmalimit: FAILED: errno %d beyond the limit, should be ENOMEM", error);
	if (munmap(wide + PAGE_BYTES, PAGE_BYTES) == 0 || errno != ENOMEM)
		die("vmalimit: FAILED: a split beyond the limit was not refused with ENOMEM");
	if (!fault_works(0) || !fault_works(made - 1) || !fault_works(made / 2))
		die("vmalimit: FAILED: a fault at an end or in the middle");
	if (munmap(area_at(made / 2), PAGE_BYTES) < 0 || area_one(made + 1) == MAP_FAILED)
		die("vmalimit: FAILED: no room after one area was unmapped");
	if (!fault_works(made + 1) || !fault_works(1))
		die("vmalimit: FAILED: a fault after the change");
	printf("vmalimit: %lu areas and %lu of the program's own, then ENOMEM: ok\n", made, own);
	return 0;
}
