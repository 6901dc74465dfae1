/*
 * report_compact.c - what /proc/sys/vm and /sys/kernel/debug say about compaction                floor 7
 *
 * The settings of compact.c, read and written as on Linux, and the two indexes of broken-up memory. Parsing and range checks
 * only. Entries of /proc/sys/vm stand in report_system.c's table, because files of one folder stand together.
 *
 * LINUX     kernel/sysctl.c, mm/compaction.c; mm/vmstat.c: extfrag_show_print, unusable_show_print
 */
#include "report_nodes.h"
#include "kcompactd.h"
#include "mm/compact.h"
#include "mm/zone.h"
#include <abi/errno.h>

/* --- settings --- */

static bool show_number(struct report_out *out, u64 *cursor, u32 number)
{
	if (!report_once(cursor))
		return false;
	report_printf(out, "%u\n", number);
	return true;
}

static int store_number(const char *text, u32 max, u32 *field)
{
	u64 number;

	if (report_number(text, 0, max, &number))
		return -EINVAL;
	WRITE_ONCE(*field, (u32)number);
	return 0;
}

bool report_show_proactiveness(struct report_out *out, struct task *task, u64 *cursor)
{
	return show_number(out, cursor, compact_settings.proactiveness);
}

int report_store_proactiveness(struct task *task, const char *text)
{
	int err = store_number(text, 100, &compact_settings.proactiveness);

	if (!err)
		kcompactd_wake();
	return err;
}

bool report_show_unevictable(struct report_out *out, struct task *task, u64 *cursor)
{
	return show_number(out, cursor, compact_settings.unevictable_allowed);
}

int report_store_unevictable(struct task *task, const char *text)
{
	return store_number(text, 1, &compact_settings.unevictable_allowed);
}

bool report_show_extfrag_threshold(struct report_out *out, struct task *task, u64 *cursor)
{
	return show_number(out, cursor, compact_settings.extfrag_threshold);
}

int report_store_extfrag_threshold(struct task *task, const char *text)
{
	return store_number(text, 1000, &compact_settings.extfrag_threshold);
}

static u32 last_compact; /* what was last written */

bool report_show_compact_memory(struct report_out *out, struct task *task, u64 *cursor)
{
	return show_number(out, cursor, last_compact);
}

int report_store_compact_memory(struct task *task, const char *text)
{
	u64 value;

	if (report_number(text, 1, 1, &value))
		return -EINVAL;
	last_compact = 1;
	compact_memory();
	return 0;
}

/* --- the indexes: a line for each zone, a figure for each order, in thousandths --- */

static struct zone *nth_zone(u64 n)
{
	for_each_zone (z)
		if (n-- == 0)
			return z;
	return NULL;
}

static bool show_extfrag_index(struct report_out *out, struct task *task, u64 *cursor)
{
	struct zone *z = nth_zone((*cursor)++);

	if (!z)
		return false;
	report_printf(out, "Node %u, zone %8s ", z->node, z->name);
	for (unsigned order = 0; order < NR_ORDERS; order++) {
		int index = zone_extfrag_index(z, order);

		report_printf(out, index < 0 ? "-%d.%03d " : " %d.%03d ",
			(index < 0 ? -index : index) / 1000, (index < 0 ? -index : index) % 1000);
	}
	report_puts(out, "\n");
	return true;
}

static bool show_unusable_index(struct report_out *out, struct task *task, u64 *cursor)
{
	struct zone *z = nth_zone((*cursor)++);

	if (!z)
		return false;
	report_printf(out, "Node %u, zone %8s ", z->node, z->name);
	for (unsigned order = 0; order < NR_ORDERS; order++) {
		unsigned index = zone_unusable_index(z, order);

		report_printf(out, "%u.%03u ", index / 1000, index % 1000);
	}
	report_puts(out, "\n");
	return true;
}

const struct report_node report_compact_nodes[] = {
	{"/sys/kernel/debug/extfrag/extfrag_index", 0444, REPORT_LOCK_FREE, show_extfrag_index,
		NULL, NULL},
	{"/sys/kernel/debug/extfrag/unusable_index", 0444, REPORT_LOCK_FREE, show_unusable_index,
		NULL, NULL},
	{NULL, 0, 0, NULL, NULL, NULL},
};
