/*
 * general.c - help, version, uptime, dmesg, echo, cat, ls, watch, poweroff                    floor 7
 *
 * LOCKS     none; cat and ls of /proc/PID as report.c says.
 */
#include "config.h"
#include "lib/string.h"
#include "machine.h"
#include "mm/buddy.h"
#include "mm/kmalloc.h"
#include "mm/thp.h"
#include "monitor/command.h"
#include "monitor/files.h"
#include "monitor/json.h"
#include "monitor/monitor.h"
#include "printk.h"
#include "x86/cpu.h"
#include "x86/debugport.h"
#include "x86/features.h"
#include "x86/timer.h"
#include <abi/errno.h>

/* --- help -------------------------------------------------------------------------------------------- */

static void help_one_json(struct json *j, const struct command *c)
{
	json_object(j, NULL);
	json_string(j, "name", c->name);
	json_string(j, "topic", c->topic);
	json_string(j, "usage", c->usage);
	json_string(j, "meaning", c->meaning);
	json_string(j, "example", c->example);
	json_string(j, "linux", c->like);
	json_bool(j, "stopped", c->flags & CMD_LOCK_FREE);
	json_bool(j, "json", c->flags & CMD_JSON);
	json_bool(j, "debug", c->flags & CMD_DEBUG);
	json_close(j, '}');
}

static int help_json(struct monitor *m, const struct command *only)
{
	struct json j;

	json_begin(&j, m);
	json_array(&j, "commands");
	for (const struct command *c = commands; c->name; c++)
		if (!only || c == only)
			help_one_json(&j, c);
	json_close(&j, ']');
	json_end(&j);
	return STATUS_OK;
}

static void help_one(struct monitor *m, const struct command *c)
{
	say(m, "%s%s%s%s\n\n", c->name, *c->usage ? " " : "", c->usage,
		c->flags & CMD_JSON ? " [--json]" : "");
	say(m, "  ");
	for (const char *p = c->meaning; *p; p++) {
		say(m, "%c", *p);
		if (*p == '\n')
			say(m, "  ");
	}
	say(m, "\n\n  example  %s\n  Linux    %s\n", c->example, c->like);
	if (c->flags & CMD_LOCK_FREE)
		say(m, "  works in the stopped monitor (serial BREAK, panic) too\n");
}

/* As much of a meaning as fits in a line of the list: its first sentence or line. */
static void help_line(struct monitor *m, const struct command *c)
{
	usize n = 0;

	while (c->meaning[n] && c->meaning[n] != '\n')
		n++;
	say(m, "  %-11s %.*s\n", c->name, (int)n, c->meaning);
}

static int help_list(struct monitor *m)
{
	const char *topic = "";

	for (const struct command *c = commands; c->name; c++) {
		if (!command_exists(c) || (m->stopped && !(c->flags & CMD_LOCK_FREE)))
			continue;
		if (strcmp(topic, c->topic)) {
			topic = c->topic;
			say(m, "%s\n", topic);
		}
		help_line(m, c);
	}
	say(m, "\n`help COMMAND` explains one. a ; b   a && b   # comment   $? is the last "
	       "status.\n"
	       "> writes to files of /sys and /proc/sys. Tab completes, Ctrl-C interrupts; Ctrl-] "
	       "x quits "
	       "QEMU.\n");
	return STATUS_OK;
}

int cmd_help(struct monitor *m, int argc, char **argv)
{
	const struct command *c = argc > 1 ? command_find(argv[1]) : NULL, *near;

	if (argc > 2)
		return usage(m);
	if (argc > 1 && !c) {
		near = command_nearest(argv[1]);
		return near ? fail(m, "%.40s: unknown command; did you mean `%s`?", argv[1],
				      near->name)
			    : fail(m, "%.40s: unknown command", argv[1]);
	}
	if (m->json)
		return help_json(m, c);
	if (!c)
		return help_list(m);
	help_one(m, c);
	return STATUS_OK;
}

/* --- version, uptime ----------------------------------------------------------------------------------- */

static u64 managed_kb(void)
{
	return zone_managed_pages() << (PAGE_SHIFT - 10);
}

static const char *thp_enabled_word(void)
{
	static const char *const words[] = {"always", "madvise", "never"};

	return words[thp_settings.enabled];
}

void monitor_banner(struct monitor *m)
{
	say(m, "Pagoda %s: %u CPU%s, %lu MiB of memory, transparent huge pages: %s%s\n",
		PAGODA_VERSION, nr_cpus, nr_cpus == 1 ? "" : "s", managed_kb() >> 10,
		thp_enabled_word(), CONFIG_DEBUG ? ", debug build" : "");
	say(m, "Ctrl-] x quits QEMU; %s.\n",
		machine_has_shell() ? "Ctrl-\\ twice stops all for the kernel's monitor"
				    : "help lists commands");
}

int cmd_version(struct monitor *m, int argc, char **argv)
{
	struct json j;

	if (argc > 1)
		return usage(m);
	if (!m->json) {
		report_show("/proc/version", NULL, m->stopped, &m->out);
		say(m, "CPUs      %u x %s\nmemory    %lu kB\n", nr_cpus, cpu_features.brand,
			managed_kb());
		say(m, "THP       %s\n", thp_enabled_word());
		return STATUS_OK;
	}
	json_begin(&j, m);
	json_string(&j, "version", PAGODA_VERSION);
	json_string(&j, "compiler", PAGODA_COMPILER);
	json_bool(&j, "debug", CONFIG_DEBUG);
	json_unsigned(&j, "cpus", nr_cpus);
	json_string(&j, "cpu", cpu_features.brand);
	json_unsigned(&j, "memory_kb", managed_kb());
	json_string(&j, "thp", thp_enabled_word());
	json_end(&j);
	return STATUS_OK;
}

static void uptime_cpu(struct monitor *m, struct json *j, const struct cpu *c, u64 now)
{
	u64 idle = now ? MIN(sched_idle_ns(c), now) * 1000 / now : 0;

	if (!m->json) {
		say(m,
			"cpu%-2u  busy %3lu.%lu %%  interrupts %lu  ticks %lu  IPIs %lu  switches "
			"%lu\n",
			c->id, (1000 - idle) / 10, (1000 - idle) % 10, c->nr_irqs, c->nr_ticks,
			c->nr_ipis, c->nr_switches);
		return;
	}
	json_object(j, NULL);
	json_unsigned(j, "cpu", c->id);
	json_unsigned(j, "idle_permille", idle);
	json_unsigned(j, "interrupts", c->nr_irqs);
	json_unsigned(j, "ticks", c->nr_ticks);
	json_unsigned(j, "ipis", c->nr_ipis);
	json_unsigned(j, "switches", c->nr_switches);
	json_close(j, '}');
}

int cmd_uptime(struct monitor *m, int argc, char **argv)
{
	u64 now = time_ns();
	struct json j;

	if (argc > 1)
		return usage(m);
	if (m->json) {
		json_begin(&j, m);
		json_unsigned(&j, "uptime_ns", now);
		json_unsigned(&j, "tsc_hz", timer_tsc_hz());
		json_array(&j, "cpus");
	} else {
		say(m, "up %lu.%03lu s, TSC at %lu kHz\n", now / NS_PER_SEC, now / NS_PER_MS % 1000,
			timer_tsc_hz() / 1000);
	}
	for_each_cpu (c)
		uptime_cpu(m, &j, c, now);
	if (m->json) {
		json_close(&j, ']');
		json_end(&j);
	}
	return STATUS_OK;
}

/* --- dmesg, echo -------------------------------------------------------------------------------------------- */

int cmd_dmesg(struct monitor *m, int argc, char **argv)
{
	struct report_out out = m->out;
	struct json j;

	if (argc > 1)
		return usage(m);
	if (m->json) {
		json_begin(&j, m);
		out = json_text_begin(&j, "text");
	}
	printk_ring_walk(out.put, out.ctx);
	if (m->json) {
		json_text_end(&j);
		json_end(&j);
	}
	return STATUS_OK;
}

int cmd_echo(struct monitor *m, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		say(m, "%s%s", i > 1 ? " " : "", argv[i]);
	say(m, "\n");
	return STATUS_OK;
}

/* --- cat, ls -------------------------------------------------------------------------------------------------- */

#define CAT_BYTES 2048

/* A binary file as words, eight bytes each: "0000000000000040  0x0000000000000400". Runs of equal ones once. */
static int cat_words(struct monitor *m, const char *path, struct report_file *f)
{
	u64 *words = kmalloc(CAT_BYTES), last = 0, pos = 0;
	bool skipping = false;
	s64 n;

	if (!words)
		return fail_errno(m, path, -ENOMEM);
	while ((n = report_read(f, words, CAT_BYTES, pos)) > 0 && !monitor_interrupted(m)) {
		for (s64 i = 0; i < n / 8; i++, pos += 8) {
			bool equal = pos && words[i] == last;

			if (!equal)
				say(m, "%8lu  0x%016lx\n", pos / 8, words[i]);
			else if (!skipping)
				say(m, "  ...\n");
			skipping = equal;
			last = words[i];
		}
	}
	kfree(words);
	return n < 0 ? fail_errno(m, path, (int)n) : STATUS_OK;
}

static bool is_text(const u8 *data, usize size)
{
	for (usize i = 0; i < MIN(size, (usize)512); i++)
		if (data[i] < ' ' && data[i] != '\n' && data[i] != '\t' && data[i] != '\r')
			return false;
	return true;
}

static int cat_initrd(struct monitor *m, const char *path)
{
	const u8 *data;
	usize size;
	int err = files_find(path, &data, &size);

	if (err)
		return fail_errno(m, path, err);
	if (!is_text(data, size))
		return fail(m, "%s: not a text, %lu bytes (`run` executes programs)", path, size);
	m->out.put(m->out.ctx, (const char *)data, size);
	return STATUS_OK;
}

static int cat(struct monitor *m, const char *path)
{
	struct report_file f;
	int err = report_show(path, NULL, m->stopped, &m->out);
	int status;

	if (err == -ENOENT)
		return cat_initrd(m, path);
	if (err != -EINVAL || m->stopped)
		return err ? fail_errno(m, path, err) : STATUS_OK;
	err = report_open(path, NULL, false, &f);
	if (err)
		return fail_errno(m, path, err);
	status = cat_words(m, path, &f);
	report_close(&f);
	return status;
}

static void drop(void *ctx, const char *s, usize len)
{
}

/* One text as a string. What cannot be opened is said before the line begins. */
static int cat_json(struct monitor *m, const char *path)
{
	struct report_out nowhere = {.put = drop}, out;
	int err = report_show(path, NULL, m->stopped, &nowhere);
	const u8 *data = NULL;
	usize size = 0;
	struct json j;

	if (err == -ENOENT)
		err = files_find(path, &data, &size);
	if (err)
		return fail_errno(m, path, err);
	json_begin(&j, m);
	json_string(&j, "path", path);
	out = json_text_begin(&j, "text");
	if (data)
		out.put(out.ctx, (const char *)data, size);
	else
		report_show(path, NULL, m->stopped, &out);
	json_text_end(&j);
	json_end(&j);
	return STATUS_OK;
}

int cmd_cat(struct monitor *m, int argc, char **argv)
{
	int status = STATUS_OK;

	if (argc < 2 || (m->json && argc > 2))
		return usage(m);
	if (m->json)
		return cat_json(m, argv[1]);
	for (int i = 1; i < argc; i++)
		status |= cat(m, argv[i]);
	return status;
}

struct ls {
	struct monitor *m;
	struct json j;
};

static void ls_entry(void *ctx, const char *name, bool folder, u16 mode)
{
	struct ls *ls = ctx;
	char bits[] = "-rwxrwxrwx";

	if (folder)
		bits[0] = 'd';
	for (int i = 0; i < 9; i++)
		if (!(mode & 0400 >> i))
			bits[i + 1] = '-';
	if (!ls->m->json) {
		say(ls->m, "%s  %s%s\n", bits, name, folder ? "/" : "");
		return;
	}
	json_object(&ls->j, NULL);
	json_string(&ls->j, "name", name);
	json_string(&ls->j, "mode", bits);
	json_close(&ls->j, '}');
}

static void ls_nothing(void *ctx, const char *name, bool folder, u16 mode)
{
}

static int ls_json(struct ls *ls, const char *path)
{
	int err = files_list(path, ls_nothing, NULL);

	if (err)
		return fail_errno(ls->m, path, err);
	json_begin(&ls->j, ls->m);
	json_string(&ls->j, "path", path);
	json_array(&ls->j, "entries");
	files_list(path, ls_entry, ls);
	json_close(&ls->j, ']');
	json_end(&ls->j);
	return STATUS_OK;
}

int cmd_ls(struct monitor *m, int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : "/";
	struct ls ls = {.m = m};
	const u8 *data;
	usize size;
	int err;

	if (argc > 2)
		return usage(m);
	if (m->json)
		return ls_json(&ls, path);
	err = files_list(path, ls_entry, &ls);
	if (err == -ENOTDIR || (err == -ENOENT && !files_find(path, &data, &size))) {
		say(m, "%s\n", path);
		return STATUS_OK;
	}
	return err ? fail_errno(m, path, err) : STATUS_OK;
}

/* --- watch -------------------------------------------------------------------------------------------------- */

struct watch {
	u64 seconds, count; /* count 0: until Ctrl-C */
	int first;          /* where the command begins in argv */
};

static bool watch_options(struct watch *w, int argc, char **argv)
{
	*w = (struct watch){.seconds = 2};
	for (w->first = 1; w->first < argc && argv[w->first][0] == '-'; w->first += 2) {
		u64 *value = arg_is(argv[w->first], "-n")   ? &w->seconds
			     : arg_is(argv[w->first], "-c") ? &w->count
							    : NULL;

		if (!value || w->first + 1 >= argc || !arg_number(argv[w->first + 1], value))
			return false;
	}
	return w->first < argc && w->seconds <= 86400;
}

/* Sleeps in short steps, so that Ctrl-C is seen. False: it was. */
static bool watch_sleep(struct monitor *m, u64 seconds)
{
	u64 end = time_ns() + seconds * NS_PER_SEC;

	while (time_ns() < end) {
		sched_sleep_until(MIN(end, time_ns() + 50 * NS_PER_MS));
		if (monitor_interrupted(m))
			return false;
	}
	return !monitor_interrupted(m);
}

int cmd_watch(struct monitor *m, int argc, char **argv)
{
	int status = STATUS_OK;
	struct watch w;

	if (!watch_options(&w, argc, argv))
		return usage(m);
	if (!m->interactive && !w.count)
		return fail(m, "nobody is there to press Ctrl-C: -c COUNT is needed");
	for (u64 n = 1;; n++) {
		if (m->colour)
			say(m, "\x1b[H\x1b[2J");
		status = monitor_execute_words(m, argc - w.first, argv + w.first);
		if (status >= STATUS_USAGE || n == w.count || !watch_sleep(m, w.seconds))
			return status;
	}
}

/* --- leaving -------------------------------------------------------------------------------------------------- */

int cmd_continue(struct monitor *m, int argc, char **argv)
{
	if (argc > 1)
		return usage(m);
	if (!m->stopped)
		return fail(m, "nothing is stopped (a serial BREAK does that)");
	m->leave = true;
	return STATUS_OK;
}

/* monitor_exit - leave the machine with a status of a command: see tools/qemu.py. */
void monitor_exit(int status)
{
	machine_exit(status == 0 ? EXIT_SUCCESS : (u8)(0x40 + MIN(status, 63)));
}

int cmd_poweroff(struct monitor *m, int argc, char **argv)
{
	u64 status = 0;

	if (argc > 2 || (argc == 2 && (!arg_number(argv[1], &status) || status > 255)))
		return usage(m);
	if (!power_allowed(m))
		return STATUS_FAILED;
	monitor_exit((int)status);
}
