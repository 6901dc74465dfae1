/*
 * khugepaged.h - the thread that promotes.                                                      floor 6
 */
#ifndef KHUGEPAGED_H
#define KHUGEPAGED_H

#include "lib/types.h"

struct khugepaged_stats {
	u64 full_scans, pages_collapsed; /* as in sysfs */
	u64 nr_scanned_ptes, nr_wakeups, nr_alloc_sleeps;
	u32 mm_id; /* where the cursor stands: 0 when between spaces */
	u64 address;
};
extern struct khugepaged_stats khugepaged_stats;

void khugepaged_init(void); /* starts the thread */
void khugepaged_wake(void); /* a setting changed: look again now */
/* One full pass over every listed space, in the thread; returns when it is done */
void khugepaged_scan_now(void);

#endif
