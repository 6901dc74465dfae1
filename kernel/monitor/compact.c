/*
 * compact.c - compact: how broken up free memory is, what was done about it, and why pages did not move   floor 7
 */
#include "lib/string.h"
#include "mm/compact.h"
#include "monitor/command.h"
#include "monitor/monitor.h"
#include "vmstat.h"

static void zone_text(struct monitor *m, const struct zone *z)
{
	struct compact_zone_state s = compact_zone_state(z);
	int index = zone_extfrag_index(z, HPAGE_PMD_ORDER);

	say(m, "node %u, zone %s\n", z->node, z->name);
	say(m, "  %-24s %lu of order %u and more, extfrag_index %d, unusable_index %u of 1000\n",
		"free blocks",
		buddy_nr_free(z, HPAGE_PMD_ORDER) + 2 * buddy_nr_free(z, HPAGE_PMD_ORDER + 1),
		HPAGE_PMD_ORDER, index, zone_unusable_index(z, HPAGE_PMD_ORDER));
	say(m, "  %-24s migrate at %lu MiB, free at %lu MiB\n", "scanners",
		s.migrate_pfn >> (20 - PAGE_SHIFT), s.free_pfn >> (20 - PAGE_SHIFT));
	if (s.defer_shift)
		say(m, "  %-24s order %u and more failed: %u of %u tries are passed over\n",
			"deferred", s.order_failed, s.considered, 1u << s.defer_shift);
}

static int compact_stat(struct monitor *m)
{
	for_each_zone (z)
		zone_text(m, z);
	for (unsigned node = 0; node < nr_nodes; node++)
		say(m, "node %u: score %u of 100\n", node, compact_score(node));
	say(m, "settings (/proc/sys/vm/)\n");
	say(m, "  %-24s %u\n", "compaction_proactiveness", compact_settings.proactiveness);
	say(m, "  %-24s %u\n", "compact_unevictable_allowed", compact_settings.unevictable_allowed);
	say(m, "  %-24s %u\n", "extfrag_threshold", compact_settings.extfrag_threshold);
	say(m, "counters\n");
	for (unsigned s = 0; s < NR_VM_STATS; s++)
		if (!strncmp(vmstat_name(s), "compact_", 8) ||
			!strncmp(vmstat_name(s), "pgmigrate_", 10) ||
			!strncmp(vmstat_name(s), "thp_migration_", 14))
			say(m, "  %-32s %lu\n", vmstat_name(s), vmstat_read(s));
	say(m, "what became of pages that should move\n");
	for (unsigned r = 0; r < NR_MIGRATE_RESULTS; r++)
		if (migrate_counts[r])
			say(m, "  %-12s %10lu  %s\n", migrate_result_name(r), migrate_counts[r],
				migrate_result_text(r));
	return STATUS_OK;
}

int cmd_compact(struct monitor *m, int argc, char **argv)
{
	u64 moved = vmstat_read(VM_pgmigrate_success);

	if (argc == 1 || (argc == 2 && arg_is(argv[1], "stat")))
		return compact_stat(m);
	if (argc != 2 || !arg_is(argv[1], "run"))
		return usage(m);
	compact_memory();
	say(m, "%lu pages moved\n", vmstat_read(VM_pgmigrate_success) - moved);
	return STATUS_OK;
}
