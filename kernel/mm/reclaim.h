/*
 * reclaim.h - what can be given back without swap: the huge zero page, lazily freed pages, per-CPU lists.  floor 5
 */
#ifndef MM_RECLAIM_H
#define MM_RECLAIM_H

#include "lib/types.h"

u64 reclaim_run(void);     /* every shrinker once; pages given back. No locks held; may sleep */
u64 reclaim_drop(void);    /* what /proc/sys/vm/drop_caches = 3 does here: the huge zero page and per-CPU lists */

#endif
