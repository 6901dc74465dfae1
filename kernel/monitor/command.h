/*
 * command.h - what a command of the monitor is, and what it works with.                      floor 7
 */
#ifndef MONITOR_COMMAND_H
#define MONITOR_COMMAND_H

#include "lib/types.h"
#include "monitor/edit.h"
#include "report.h"

/* Exit statuses, as in sh. */
#define STATUS_OK      0
#define STATUS_FAILED  1
#define STATUS_USAGE   2
#define STATUS_UNKNOWN 127

#define CMD_LOCK_FREE 0x1  /* takes no lock and never sleeps: works in the stopped monitor */
#define CMD_JSON      0x2  /* only reads: takes --json */
#define CMD_ASYNC     0x4  /* may be followed by & */
#define CMD_DEBUG     0x8  /* exists in debug builds only */
#define CMD_PLAIN     0x10 /* in the shell, busybox's program of that name is the right one */

struct monitor;

struct command {
	const char *name, *topic;
	const char *usage;   /* without the name */
	const char *meaning; /* one sentence, or a few lines */
	const char *example;
	const char *like; /* what does this on Linux */
	u16 flags;
	int (*run)(struct monitor *m, int argc, char **argv);
	const char *words; /* for Tab: what may stand first, separated by blanks; NULL: paths */
};

/* One session: the console thread's, the stopped monitor's, or a test's. */
struct monitor {
	struct report_out out;         /* where the text goes now */
	const struct command *command; /* being executed */
	int status;                    /* $? */
	bool stopped;           /* other CPUs halted: only CMD_LOCK_FREE, no lock, no sleep */
	bool interactive;       /* a person types: echo, history, Ctrl-C */
	bool colour;            /* the other end understands ANSI colours */
	bool json, json_failed; /* this command's --json; it has said so already */
	bool background;        /* this command was followed by & */
	bool records;           /* CMD: a RESULT line behind each command */
	bool leave;             /* the stopped monitor: continue */
	bool may_power;         /* may switch off and panic */
	const bool *stop;       /* of a session: nobody will read what it says; or NULL */
	u32 depth;              /* watch inside watch ... */
	u32 results;            /* CMD: RESULT records so far */
	int first_failure;      /* of this line: the first status that was not 0, or 0 */
	struct edit edit;
	char words[2 * EDIT_BYTES + 8];
};

#define say(m, ...) report_printf(&(m)->out, __VA_ARGS__)

/* monitor_execute - a whole line; its status. Used by the console, CMD, watch and tests. */
int monitor_execute(struct monitor *m, const char *line);
/* One command that is already split into words. */
int monitor_execute_words(struct monitor *m, int argc, char **argv);

/* An error of a command: "name: text", or {"error":...}; returns STATUS_FAILED. */
int fail(struct monitor *m, const char *fmt, ...) __printf(2, 3);
/* Wrong arguments: prints the usage line; returns STATUS_USAGE. */
int usage(struct monitor *m);
/* May this session switch off and panic? Says so if not. */
bool power_allowed(struct monitor *m);
/* fail() with the text of a negative error number. */
int fail_errno(struct monitor *m, const char *what, int err);
const char *errno_text(int err);

/* Has a person pressed Ctrl-C, or closed the session? */
bool monitor_interrupted(struct monitor *m);

const struct command *command_find(const char *name);
const struct command *command_nearest(const char *name); /* NULL: nothing is near */
bool command_exists(const struct command *c);            /* CMD_DEBUG only in debug builds */
extern const struct command commands[];                  /* ends with a NULL name */

/* Tab, for edit.h. */
bool complete(void *ctx, struct edit *e);

/* Arguments of commands. */
bool arg_number(const char *text, u64 *value); /* decimal or 0x... */
bool arg_is(const char *text, const char *word);
struct task *arg_task(struct monitor *m, const char *text); /* with a reference; NULL: said why */

/* --- the commands, by file ------------------------------------------------------------------ */

#define COMMAND(name) int cmd_##name(struct monitor *m, int argc, char **argv)

COMMAND(help);
COMMAND(version);
COMMAND(uptime);
COMMAND(dmesg);
COMMAND(echo);
COMMAND(cat);
COMMAND(ls);
COMMAND(watch);
COMMAND(poweroff);
COMMAND(panic);
COMMAND(continue);

COMMAND(free);
COMMAND(vmstat);
COMMAND(buddyinfo);
COMMAND(zoneinfo);
COMMAND(slabinfo);
COMMAND(memmap);
COMMAND(page);
COMMAND(drop);
COMMAND(zero);

COMMAND(ps);
COMMAND(pmap);
COMMAND(smaps);
COMMAND(pagemap);
COMMAND(run);
COMMAND(kill);

COMMAND(pt);

COMMAND(thp);
COMMAND(khugepaged);
COMMAND(compact);
COMMAND(demo);

COMMAND(check);
COMMAND(ledger);
COMMAND(ktest);
COMMAND(bench);
COMMAND(trace);
COMMAND(inject);

#endif
