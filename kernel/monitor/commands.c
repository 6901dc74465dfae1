/*
 * commands.c - the one table of commands: what `help`, Tab and docs/monitor.md say            floor 7
 *
 * By topic, in the order `help` shows them. A command that works when everything is stopped carries
 * CMD_LOCK_FREE: it must take no lock and must not sleep.
 */
#include "monitor/command.h"

#define T_GENERAL "general"
#define T_MEMORY  "physical memory"
#define T_TASKS   "tasks and their memory"
#define T_THP     "huge pages"
#define T_CHECK   "checks and measurements"

#define THP_WORDS "always madvise never defer defer+madvise copy split"

const struct command commands[] = {
	{"help", T_GENERAL, "[COMMAND]", "List all commands, or explain one.", "help pt", "man",
		CMD_LOCK_FREE | CMD_JSON, cmd_help, NULL},
	{"version", T_GENERAL, "", "Show version, compiler, CPUs and memory.", "version",
		"uname -a, cat /proc/version", CMD_LOCK_FREE | CMD_JSON, cmd_version, ""},
	{"uptime", T_GENERAL, "", "Show how long the machine has run and how busy its CPUs were.",
		"uptime", "uptime", CMD_LOCK_FREE | CMD_JSON | CMD_PLAIN, cmd_uptime, ""},
	{"dmesg", T_GENERAL, "", "Show the kernel's messages, oldest first.", "dmesg", "dmesg",
		CMD_LOCK_FREE | CMD_JSON | CMD_PLAIN, cmd_dmesg, ""},
	{"echo", T_GENERAL, "[WORD...]", "Print the words; with > write them to a setting.",
		"echo always > /sys/kernel/mm/transparent_hugepage/enabled", "echo",
		CMD_LOCK_FREE | CMD_PLAIN, cmd_echo, THP_WORDS},
	{"cat", T_GENERAL, "PATH...",
		"Print files of /proc, /sys or the initrd; binary ones as numbers.",
		"cat /proc/1/smaps", "cat", CMD_LOCK_FREE | CMD_JSON | CMD_PLAIN, cmd_cat, NULL},
	{"ls", T_GENERAL, "[PATH]", "List a folder of /proc, /sys or the initrd.",
		"ls /proc/sys/vm", "ls", CMD_JSON | CMD_PLAIN, cmd_ls, NULL},
	{"watch", T_GENERAL, "[-n SECONDS] [-c COUNT] COMMAND [ARGS]",
		"Run a command again and again, every 2 seconds; Ctrl-C ends it.",
		"watch -n 1 -c 5 buddyinfo", "watch", CMD_PLAIN, cmd_watch, "-n -c"},
	{"continue", T_GENERAL, "", "Leave the stopped monitor: all CPUs go on.", "continue",
		"gdb: continue", CMD_LOCK_FREE | CMD_PLAIN, cmd_continue, ""},
	{"poweroff", T_GENERAL, "[STATUS]",
		"Switch the machine off; the emulator's exit status says STATUS.", "poweroff",
		"poweroff", CMD_LOCK_FREE, cmd_poweroff, ""},
	{"panic", T_GENERAL,
		"[null|text|rodata|execute|call|canonical|divide|overflow|smash|list|lock|nested]",
		"Stop with a panic record, as after a kernel bug; with a word: by making that bug.",
		"panic overflow", "echo c > /proc/sysrq-trigger", CMD_LOCK_FREE, cmd_panic,
		"null text rodata execute call canonical divide overflow smash list lock nested"},

	{"free", T_MEMORY, "", "Show memory in total, used and free, in kB.", "free", "free",
		CMD_LOCK_FREE | CMD_JSON | CMD_PLAIN, cmd_free, ""},
	{"vmstat", T_MEMORY, "[NAME...]", "Show the counters of /proc/vmstat whose names begin so.",
		"vmstat thp_", "cat /proc/vmstat | grep ^thp_", CMD_LOCK_FREE | CMD_JSON,
		cmd_vmstat, "nr_ pg thp_ compact_ khugepaged_ tlb_ fault_"},
	{"buddyinfo", T_MEMORY, "", "Show the free blocks of each order, 4 KiB to 4 MiB.",
		"buddyinfo", "cat /proc/buddyinfo", CMD_LOCK_FREE | CMD_JSON, cmd_buddyinfo, ""},
	{"zoneinfo", T_MEMORY, "", "Show each zone: watermarks, sizes, per-CPU lists.", "zoneinfo",
		"cat /proc/zoneinfo", CMD_LOCK_FREE | CMD_JSON, cmd_zoneinfo, ""},
	{"slabinfo", T_MEMORY, "", "Show the caches of kernel objects.", "slabinfo",
		"cat /proc/slabinfo", CMD_JSON, cmd_slabinfo, ""},
	{"memmap", T_MEMORY, "[--letters]",
		"Show physical memory, one cell for each block of 2 MiB, with legend and totals.",
		"memmap", "-", CMD_LOCK_FREE | CMD_JSON, cmd_memmap, "--letters"},
	{"page", T_MEMORY, "PFN", "Show one frame: type, references, and every mapping of it.",
		"page 0x1234", "tools/mm/page-types", CMD_LOCK_FREE | CMD_JSON, cmd_page, ""},
	{"zero", T_MEMORY, "", "Show the two shared frames of zeroes and check that they are zero.",
		"zero", "-", CMD_JSON, cmd_zero, ""},
	{"drop", T_MEMORY, "",
		"Give back what is kept for speed: huge pages partly unmapped or mostly zero are "
		"split, the "
		"huge zero page goes if nobody uses it, and the per-CPU lists.",
		"drop", "echo 3 > /proc/sys/vm/drop_caches", 0, cmd_drop, ""},

	{"ps", T_TASKS, "", "List tasks and kernel threads with their memory; stopped: the CPUs.",
		"ps", "ps -ef", CMD_LOCK_FREE | CMD_JSON | CMD_PLAIN, cmd_ps, ""},
	{"pmap", T_TASKS, "[-x] PID", "List the areas of a task; -x with resident and dirty sizes.",
		"pmap -x 1", "pmap -x", CMD_JSON, cmd_pmap, "-x"},
	{"smaps", T_TASKS, "PID", "Show every area of a task with what it has in memory.",
		"smaps 1", "cat /proc/PID/smaps", CMD_JSON, cmd_smaps, ""},
	{"pagemap", T_TASKS, "PID ADDRESS [PAGES]",
		"Show which frame stands behind an address, with the bits of /proc/PID/pagemap.",
		"pagemap 1 0x1000000000 4", "tools/mm/page-types -p PID -a", CMD_JSON, cmd_pagemap,
		""},
	{"pt", T_TASKS, "walk ADDRESS [PID] | dump [PID] | stat [PID]",
		"Walk an address down the page table, list all mappings, or count tables.\n"
		"Without PID: the kernel's own table.",
		"pt walk 0x1000000000 1", "ptdump", CMD_LOCK_FREE | CMD_JSON, cmd_pt,
		"walk dump stat"},
	{"run", T_TASKS, "PROGRAM [ARGS] [&]",
		"Run a program of the initrd and wait for it; with & do not wait.\n"
		"Its exit status becomes the command's; 128 + N: ended by signal N.",
		"run thptouch write 64M", "./PROGRAM", CMD_ASYNC, cmd_run, NULL},
	{"kill", T_TASKS, "PID", "End a task.", "kill 2", "kill -9", CMD_PLAIN, cmd_kill, ""},

	{"thp", T_THP, "[why ADDRESS PID]",
		"Show settings, counters, and every reason for a refusal; or explain one address.\n"
		"`why` runs the predicate of the page fault itself.",
		"thp why 0x1000000000 1", "grep thp_ /proc/vmstat", CMD_LOCK_FREE | CMD_JSON,
		cmd_thp, "why"},
	{"khugepaged", T_THP, "[stat | scan | set NAME VALUE]",
		"Show the thread that promotes, run one full pass of it now, or change a setting.",
		"khugepaged scan", "cat /sys/kernel/mm/transparent_hugepage/khugepaged/*", CMD_JSON,
		cmd_khugepaged,
		"stat scan set max_ptes_none max_ptes_shared max_ptes_swap pages_to_scan "
		"scan_sleep_millisecs alloc_sleep_millisecs defrag"},
	{"compact", T_THP, "[stat | run]",
		"Show how broken up free memory is and what compaction did, or compact all of it "
		"now.",
		"compact stat", "echo 1 > /proc/sys/vm/compact_memory", 0, cmd_compact, "stat run"},
	{"demo", T_THP, "thp | zero | cow | bloat | fragment | 1g",
		"Give a lecture in one command, measured while you watch.\n"
		"  thp       the same program with huge pages never, always, and promoted later\n"
		"  zero      reads of nothing share one huge zero page\n"
		"  cow       the first write after fork: copy 2 MiB, or split\n"
		"  bloat     huge pages that are mostly empty: khugepaged makes them "
		"(max_ptes_none),\n"
		"            shrink_underused gives them back\n"
		"  fragment  free memory in pieces: what a fault gets, by defrag, and what it "
		"costs\n"
		"  1g        one entry for a gigabyte, and what splits it (CPU=max, MEM=4G)",
		"demo thp", "-", 0, cmd_demo, "thp zero cow bloat fragment 1g"},

	{"check", T_CHECK, "",
		"Test every invariant of every structure while all CPUs stand still.", "check",
		"CONFIG_DEBUG_VM", CMD_JSON, cmd_check, ""},
	{"ledger", T_CHECK, "", "Count every frame twice, by type and by page tables, and compare.",
		"ledger", "-", CMD_JSON, cmd_ledger, ""},
	{"ktest", T_CHECK, "[SUITE[.TEST]]", "Run the kernel's self-tests; prints KTAP.", "ktest",
		"KUnit", 0, cmd_ktest, ""},
	{"bench", T_CHECK, "[ROW | --list]",
		"Measure operations in instructions (ICOUNT=1) or TSC ticks.", "bench",
		"perf bench", 0, cmd_bench, ""},
	{"trace", T_CHECK, "on | off | clear | show [COUNT]",
		"Record decisions in a ring in memory, and show the newest (at most 256).",
		"trace show 20", "trace-cmd, /sys/kernel/tracing", CMD_LOCK_FREE | CMD_JSON,
		cmd_trace, "on off clear show"},
	{"inject", T_CHECK,
		"fail-alloc K [ORDER] | tlb-skip local|remote|ack SITE | "
		"kill NAME CALL before|after N | seed [N] | stat | off",
		"Make the K-th allocation fail, leave out flushes of one kind, or kill the task "
		"NAME at\n"
		"its N-th call of one of our own, such as reply_receive; or make mistake N of the "
		"list\n"
		"that `inject seed` prints, one that another kernel made once (debug builds).\n"
		"So one sees that the tests notice.",
		"inject fail-alloc 3 9", "CONFIG_FAULT_INJECTION", CMD_DEBUG | CMD_JSON, cmd_inject,
		"fail-alloc tlb-skip kill seed stat off"},
	{NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL},
};
