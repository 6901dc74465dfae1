/*
 * reclaim.h - what can be given back without swap: the huge zero page, per-CPU lists.         floor 5
 */
#ifndef MM_RECLAIM_H
#define MM_RECLAIM_H

#include "lib/types.h"

u64 reclaim_run(void); /* every shrinker once; pages given back. No lock held */

#endif
