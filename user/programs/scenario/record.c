/*
 * record.c - the measured part, and the line that says what became of it.                  ring 3
 *
 * Part of the program `scenario`; see scenario.h.
 */
#include <stdio.h>
#include <string.h>

#include "scenario.h"

static void name_add(const char **names, int *nr, const char *name)
{
	if (*nr == NAMES_MAX)
		steps_die(&steps, now, "\"%s\": more than %d names", name, NAMES_MAX);
	names[(*nr)++] = name;
}

static void step_count(char **words, int nr)
{
	(void)nr;
	name_add(s.counts, &s.nr_counts, words[1]);
}

static void step_value(char **words, int nr)
{
	(void)nr;
	name_add(s.values, &s.nr_values, words[1]);
}

static void step_show(char **words, int nr)
{
	(void)nr;
	if (strcmp(words[1], "eligible") == 0)
		s.show_eligible = true;
	else
		name_add(s.fields, &s.nr_fields, words[1]);
}

static void step_pages(char **words, int nr)
{
	(void)nr;
	s.pages_at = s.start + number(words[1]);
	s.pages_size = number(words[2]);
}

static unsigned long vmstat(const char *name)
{
	char field[64];

	snprintf(field, sizeof(field), "%s ", name);
	return proc_kb("/proc/vmstat", field);
}

static void step_begin(char **words, int nr)
{
	(void)words;
	(void)nr;
	s.began = true;
	s.rc = s.error = 0;
	s.table_kb = proc_kb("/proc/self/status", "VmPTE:");
	for (int i = 0; i < s.nr_counts; i++)
		s.count_before[i] = vmstat(s.counts[i]);
	counters_read(&s.after);
	counters_read(&s.before);
	s.faults = faults_minor();
}

void step_end(char **words, int nr)
{
	char field[64];

	(void)words;
	(void)nr;
	s.faults = faults_minor() - s.faults;
	s.ended = true;
	counters_read(&s.after);
	for (int i = 0; i < s.nr_counts; i++)
		s.count_after[i] = vmstat(s.counts[i]);
	s.table_kb = proc_kb("/proc/self/status", "VmPTE:") - s.table_kb;
	if (!smaps_read(s.start, s.start + s.size, &s.sum))
		die("scenario: cannot read /proc/self/smaps");
	for (int i = 0; i < s.nr_fields; i++) {
		snprintf(field, sizeof(field), "%s:", s.fields[i]);
		s.field_kb[i] = smaps_field(s.start, s.start + s.size, field);
	}
	if (!layout_read(s.pages_at, s.pages_at + s.pages_size, &s.layout))
		die("scenario: cannot read /proc/self/pagemap or /proc/kpageflags");
}

static void print_smaps(void)
{
	printf("\"vmas\": %lu, \"size_kb\": %lu, \"rss_kb\": %lu, \"pss_kb\": %lu, "
	       "\"anon_kb\": %lu, \"anon_huge_kb\": %lu",
		s.sum.vmas, s.sum.size, s.sum.rss, s.sum.pss, s.sum.anon, s.sum.anon_huge);
}

static void print_pages(void)
{
	printf("\"present\": %lu, \"zero\": %lu, \"in_compound\": %lu, \"per_2m\": \"%s\"",
		s.layout.present, s.layout.zero, s.layout.in_compound, s.layout.per_2m);
}

static void print_delta(void)
{
	const char *comma = "";

	printf("\"delta\": {");
	for (int i = 0; i < s.after.nr; i++) {
		long moved = s.after.at[i].value - counters_get(&s.before, s.after.at[i].name);

		if (moved) {
			printf("%s\"%s\": %ld", comma, s.after.at[i].name, moved);
			comma = ", ";
		}
	}
	printf("}");
}

/* What a file says, as a string of JSON. */
static void print_file(const char *path)
{
	static char text[2048];

	if (!file_read(path, text, sizeof(text))) {
		printf("null");
		return;
	}
	putchar('"');
	for (const char *at = text; *at; at++) {
		if (*at == '\n' || *at == '\t')
			printf(*at == '\n' ? "\\n" : "\\t");
		else if (*at == '"' || *at == '\\')
			printf("\\%c", *at);
		else if ((unsigned char)*at >= ' ')
			putchar(*at);
	}
	putchar('"');
}

static void print_extras(void)
{
	if (s.checked)
		printf(", \"mismatches\": %lu", s.mismatches);
	if (s.show_eligible)
		printf(", \"eligible\": %ld", s.sum.eligible);
	for (int i = 0; i < s.nr_counts; i++)
		printf("%s\"%s\": %ld%s", i ? ", " : ", \"counts\": {", s.counts[i],
			(long)(s.count_after[i] - s.count_before[i]),
			i == s.nr_counts - 1 ? "}" : "");
	for (int i = 0; i < s.nr_fields; i++)
		printf("%s\"%s\": %lu%s", i ? ", " : ", \"fields\": {", s.fields[i], s.field_kb[i],
			i == s.nr_fields - 1 ? "}" : "");
	for (int i = 0; i < s.nr_values; i++) {
		printf("%s\"%s\": ", i ? ", " : ", \"values\": {", s.values[i]);
		print_file(s.values[i]);
		printf("%s", i == s.nr_values - 1 ? "}" : "");
	}
}

void print_record(void)
{
	printf("{\"name\": \"%s\", ", s.name);
	print_delta();
	printf(", \"minflt\": %lu, \"pagetable_kb\": %ld, \"rc\": %d, \"errno\": %d, \"smaps\": {",
		s.faults, (long)s.table_kb, s.rc, s.error);
	print_smaps();
	printf("}, \"pages\": {");
	print_pages();
	printf("}");
	print_extras();
	printf("}\n");
	fflush(stdout);
}

/* A child's line, which belongs to the first process's: "child", "child2" ... by their order in the text. */
static void step_record(char **words, int nr)
{
	if (!s.depth)
		steps_die(&steps, now,
			"\"record\" is for children; the first process's comes at the end");
	step_end(words, nr);
	printf("{\"of\": \"%s\", \"child", s.name);
	if (s.records++)
		printf("%d", s.records);
	printf("\": {");
	print_smaps();
	printf(", ");
	print_pages();
	print_extras();
	printf("}}\n");
	fflush(stdout);
}

const struct verb record_verbs[] = {
	{"count", "w", step_count, NULL},
	{"show", "w", step_show, NULL},
	{"value", "w", step_value, NULL},
	{"pages", "ss", step_pages, NULL},
	{"begin", "", step_begin, NULL},
	{"end", "", step_end, NULL},
	{"record", "", step_record, NULL},
	{NULL, NULL, NULL, NULL},
};
