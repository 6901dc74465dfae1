/*
 * scenario.c - perform one scenario and print what the kernel made of it.                   ring 3
 *
 *   scenario [--file FILE] NAME | --each NAMES | --list | --check | --steps | --counters | --do "STEP; STEP ..."
 *
 * The scenarios are data: tests/linux/scenarios.txt, which is part of this binary, or FILE.
 * tests/linux/README.md explains every step. The same binary runs on Linux and on Pagoda and prints one
 * line of JSON, with the fields of tests/linux/oracle.json; tests/linux/judge.py compares. It judges nothing itself.
 *
 * WHAT IS MEASURED lies between `begin` and `end`: the thp_* counters of /proc/vmstat, minor faults,
 * VmPTE, the result of the last call; then smaps and the page layout of the area as they stand.
 *
 * KHUGEPAGED would change what is being measured, so it sleeps. Its rules, as Linux has them: an empty
 * list makes it scan when the first space arrives, so this program enters its own space first; each
 * write to scan_sleep_millisecs wakes it once; with pages_to_scan larger than everything one waking
 * is one whole pass, after which full_scans has grown by one.
 *
 * PROCESSES. A child prints a line of its own, which names the scenario it is a part of, when it comes to `record`. One shared page holds the
 * flags by which a child that "holds" or "awaits" learns that it may go on; every process looks at it
 * now and then, so nothing is sent that could cost the measured one a fault.
 *
 * NOTHING IS LEFT BEHIND: each setting that is written is first read, and written back at the end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib.h"
#include "scenario/scenario.h"

struct steps steps;
struct scenario s;
const struct step *now;

/* ---- for the steps ---- */

unsigned long number(const char *text)
{
	unsigned long value = 0;

	size_parse(*text == '+' ? text + 1 : text, &value); /* steps.c has checked it */
	return value;
}

char *place(const char *text)
{
	return (char *)s.start + number(text);
}

int choice(const char *word)
{
	return choice_find(now->verb->choices, word);
}

void word_die(const char *word, const char *wanted)
{
	steps_die(&steps, now, "\"%s\": wanted is %s", word, wanted);
}

void call_done(long result)
{
	s.error = result == -1 ? errno : 0;
	s.rc = result;
}

void error_done(int error)
{
	s.error = error;
	s.rc = error ? -1 : 0;
}

static void step_skip(char **words, int nr)
{
	(void)words;
	(void)nr;
	fprintf(stderr, "scenario: skipped, see its text for the reason\n");
	exit(77);
}

/* For the reader and for tests/linux/judge.py. */
static void step_text(char **words, int nr)
{
	(void)words;
	(void)nr;
}

static const struct verb text_verbs[] = {
	{"skip", "=", step_skip, NULL},
	{"about", "=", step_text, NULL},
	{"expect", "=", step_text, NULL},
	{"inexact", "=", step_text, NULL},
	{"only", "=", step_text, NULL},
	{NULL, NULL, NULL, NULL},
};

static const struct verb *const tables[] = {
	state_verbs, area_verbs, call_verbs, record_verbs, family_verbs, text_verbs, NULL};

/* ---- running ---- */

/* Others' lines are left out: a parent its children's, and a child stops where its own end. */
void steps_run(int first, int depth)
{
	for (int i = first; i < steps.nr && steps.at[i].depth >= depth; i++) {
		for (int n = 0; steps.at[i].depth == depth && n < steps.at[i].repeats; n++) {
			now = &steps.at[i];
			now->verb->run((char **)now->words, now->nr_words);
		}
	}
}

static void scenario_run(void)
{
	if (steps.nr && steps.at[0].verb->run == step_skip)
		step_skip(NULL, 0);
	state_prepare();
	steps_run(0, 0);
	if (!s.ended)
		step_end(NULL, 0);
	children_release();
	print_record();
}

/* ---- the command line ---- */

extern const char scenarios_text[];
__asm__(".section .rodata\n"
	"scenarios_text: .incbin \"tests/linux/scenarios.txt\"\n"
	".byte 0\n"
	".previous\n");

#define BUILT_IN "tests/linux/scenarios.txt"
#define FILE_MAX (256 * KIB)
static const char *text = scenarios_text;

static void file_take(const char *path)
{
	static char buffer[FILE_MAX];

	if (strcmp(path, BUILT_IN) == 0) /* a child after its exec */
		return;
	steps.file = path;
	if (!file_read(path, buffer, sizeof(buffer)))
		die("scenario: cannot read %s: %s", path, strerror(errno));
	if (strlen(buffer) == sizeof(buffer) - 1)
		die("scenario: %s is longer than %lu bytes", path, FILE_MAX);
	text = buffer;
}

static void name_print(const char *name)
{
	puts(name);
}

/* All that can be known without doing it: every word, and that something is measured. */
static void scenario_check(const char *name)
{
	bool began = false;

	steps_find(&steps, text, name);
	for (int i = 0; i < steps.nr; i++) {
		const struct step *step = &steps.at[i];

		began |= step->verb->run == step_skip ||
			 (step->depth == 0 && step->nr_words &&
				 strcmp(step->words[0], "begin") == 0);
	}
	if (!began)
		die("scenario: %s: [%s] has no \"begin\"", steps.file, name);
}

static void verbs_print(void)
{
	for (int i = 0; tables[i]; i++) {
		for (const struct verb *verb = tables[i]; verb->name; verb++)
			puts(verb->name);
	}
}

/* Those that a delta can name on this kernel. */
static void counters_print(void)
{
	counters_read(&s.before);
	printf("counters:");
	for (int i = 0; i < s.before.nr; i++)
		printf(" %s", s.before.at[i].name);
	putchar('\n');
}

/* One after another, each a new process of this program; NAMES is a file, a name a line. */
static int each_run(const char *path)
{
	static char names[FILE_MAX];
	char *rest = names;

	if (!file_read(path, names, sizeof(names)))
		die("scenario: cannot read %s: %s", path, strerror(errno));
	for (char *name; (name = strtok_r(rest, "\n", &rest));) {
		int pid = fork(), status;

		if (pid == 0) {
			execl("/proc/self/exe", "scenario", "--file", steps.file, name,
				(char *)NULL);
			_exit(127);
		}
		status = pid < 0 ? -1 : child_wait(pid);
		if (status)
			printf("scenario: %s ended with %d\n", name, status);
		fflush(stdout);
	}
	return 0;
}

/* A child after its exec: the rest of its lines. */
static int rest_run(char **argv)
{
	if (!steps_find(&steps, text, argv[0]))
		return 1;
	s.name = argv[0];
	s.depth = strtol(argv[2], NULL, 10);
	s.records = strtol(argv[3], NULL, 10);
	own_pages_map();
	steps_run(strtol(argv[1], NULL, 10), s.depth);
	return 0;
}

static int usage(void)
{
	fprintf(stderr,
		"usage: scenario [--file FILE] NAME | --each NAMES | --list | --check | --steps | "
		"--counters | --do \"STEP; STEP ...\"\n");
	return 2;
}

int main(int argc, char **argv)
{
	static char one[STEPS_TEXT_MAX];
	const char *name;

	setvbuf(stdout, NULL, _IOFBF, BUFSIZ);
	steps.file = BUILT_IN;
	steps.tables = tables;
	if (argc > 2 && strcmp(argv[1], "--file") == 0) {
		file_take(argv[2]);
		argc -= 2;
		argv += 2;
	}
	name = argc > 1 ? argv[1] : "";
	if (argc == 2 && strcmp(name, "--list") == 0)
		return steps_each(&steps, text, name_print) == 0;
	if (argc == 2 && strcmp(name, "--check") == 0)
		return steps_each(&steps, text, scenario_check) == 0;
	if (argc == 2 && strcmp(name, "--steps") == 0) {
		verbs_print();
		return 0;
	}
	if (argc == 2 && strcmp(name, "--counters") == 0) {
		counters_print();
		return 0;
	}
	if (argc == 3 && strcmp(name, "--each") == 0)
		return each_run(argv[2]);
	if (argc == 6 && strcmp(name, "--rest") == 0)
		return rest_run(argv + 2);
	if (argc == 3 && strcmp(name, "--do") == 0) {
		name = "steps";
		steps.file = "--do";
		if (snprintf(one, sizeof(one), "[steps]\n%s", argv[2]) >= (int)sizeof(one))
			die("scenario: the steps are too long");
		text = one;
	} else if (argc != 2 || *name == '-') {
		return usage();
	}
	if (!steps_find(&steps, text, name)) {
		fprintf(stderr, "scenario: no scenario named %s; --list shows them\n", name);
		return 1;
	}
	atexit(settings_restore);
	scenario_check(name);
	s.name = name;
	scenario_run();
	return 0;
}
