/*
 * report_nodes.h - the tables of files that report.c serves, and helpers of those who write them.  floor 7
 *
 * Each table ends with a node without a path. Files of one folder stand together (report_list).
 */
#ifndef REPORT_NODES_H
#define REPORT_NODES_H

#include "report.h"

extern const struct report_node
	report_system_nodes[]; /* report_system.c: /proc, /proc/sys/vm, cpu */
extern const struct report_node
	report_thp_nodes[]; /* report_thp.c: /sys/.../transparent_hugepage */
extern const struct report_node
	report_size_nodes[]; /* report_size.c: its hugepages-SIZEkB, and debug/split_huge_pages */
extern const struct report_node report_task_nodes[]; /* report_task.c: below /proc/PID */
extern const struct report_node
	report_frame_nodes[]; /* report_frames.c: /proc/kpageflags, kpagecount */

extern const struct report_node
	report_compact_nodes[]; /* report_compact.c: /sys/kernel/debug/extfrag */

/* Files of /proc/sys in report_system.c's table that somebody else writes; these are report_compact.c's. */
#define REPORT_FILE_ELSEWHERE(name)                                                                \
	bool report_show_##name(struct report_out *out, struct task *task, u64 *cursor);           \
	int report_store_##name(struct task *task, const char *text);
REPORT_FILE_ELSEWHERE(compact_memory)
REPORT_FILE_ELSEWHERE(unevictable)
REPORT_FILE_ELSEWHERE(proactiveness)
REPORT_FILE_ELSEWHERE(extfrag_threshold)

extern struct report_node report_numa_nodes[]; /* report_numa.c: /sys/devices/system/node */
void report_numa_vmstat(struct report_out *out);
extern const struct report_node
	report_balancing_nodes[]; /* report_numa.c: /sys/kernel/debug/sched/numa_balancing */
REPORT_FILE_ELSEWHERE(numa_balancing)

/* For files of a single record: true the first time, so that show() writes, false the second. */
static inline bool report_once(u64 *cursor)
{
	return (*cursor)++ == 0;
}

/* What is written to /proc/PID/clear_refs: pages of the area count as not referenced. mm->lock held (read). */
void report_clear_referenced(struct vma *v);

/* report_number - a whole decimal number from min to max. 0 or -EINVAL. */
int __must_check report_number(const char *text, u64 min, u64 max, u64 *out);

#endif
