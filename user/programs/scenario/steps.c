/*
 * steps.c - the small language of tests/linux/scenarios.txt: texts into steps.           ring 3
 *
 *   # a comment, to the end of the line
 *   [name]                          a scenario, up to the next one
 *   map 4M; write 0                 steps, between ';' and ends of lines, each a verb and its words
 *   child write 0                   for the child of the fork above; child child: for its child
 *   repeat 128 brk-grow 64K         the same step again and again
 *
 * A whole scenario is parsed and its words are checked before its first step is done, so that a mistake
 * in the last line leaves nothing half done. Errors name file, line and word.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib.h"
#include "steps.h"

static void line_die(const struct steps *steps, int line, const char *format, va_list args)
	__attribute__((noreturn));

static void line_die(const struct steps *steps, int line, const char *format, va_list args)
{
	fflush(stdout);
	fprintf(stderr, "scenario: %s:%d: ", steps->file, line);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	exit(2);
}

void steps_die(const struct steps *steps, const struct step *step, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	line_die(steps, step->line, format, args);
}

static const struct verb *verb_find(const struct steps *steps, const char *name)
{
	for (int i = 0; steps->tables[i]; i++) {
		for (const struct verb *verb = steps->tables[i]; verb->name; verb++) {
			if (strcmp(verb->name, name) == 0)
				return verb;
		}
	}
	return NULL;
}

static bool is_text(const struct verb *verb)
{
	return *verb->form == '=';
}

int choice_find(const struct choice *choices, const char *word)
{
	for (; choices && choices->name; choices++) {
		if (strcmp(word, choices->name) == 0)
			return choices->value;
	}
	return -1;
}

static void choice_die(const struct steps *steps, const struct step *step, const char *word)
	__attribute__((noreturn));

static void choice_die(const struct steps *steps, const struct step *step, const char *word)
{
	char known[512] = "";
	size_t used = 0;

	for (const struct choice *c = step->verb->choices; c->name && used < sizeof(known); c++)
		used += snprintf(known + used, sizeof(known) - used, " %s", c->name);
	steps_die(steps, step, "\"%s\" is no word for \"%s\"; it knows%s", word, step->verb->name,
		known);
}

static void word_check(
	const struct steps *steps, const struct step *step, char kind, const char *word)
{
	bool is_choice = choice_find(step->verb->choices, word) >= 0;
	unsigned long value;

	if (kind == 's' && !size_parse(word, &value))
		steps_die(steps, step, "\"%s\" is not a size: a number with K, M or G is wanted",
			word);
	if ((kind == 'o' || (kind == 'C' && *word == '+')) &&
		(*word != '+' || !size_parse(word + 1, &value)))
		steps_die(steps, step, "\"%s\" is not a place: + and a size are wanted", word);
	if (kind == 'n' &&
		(!size_parse(word, &value) || strspn(word, "0123456789") != strlen(word)))
		steps_die(steps, step, "\"%s\" is not a number", word);
	if ((kind == 'c' && !is_choice) || (kind == 'C' && *word != '+' && !is_choice) ||
		(kind == 'a' && !is_choice && !size_parse(word, &value)))
		choice_die(steps, step, word);
}

/* Compare the words behind the verb with its form. */
static void words_check(const struct steps *steps, const struct step *step)
{
	const char *form = step->verb->form;
	bool optional = false;

	for (int i = 1;; i++, form++) {
		if (*form == '?') {
			optional = true;
			form++;
		}
		if (i == step->nr_words && (!*form || *form == 'C' || optional))
			return;
		if (i == step->nr_words)
			steps_die(steps, step, "\"%s\" wants more words", step->verb->name);
		if (!*form)
			steps_die(steps, step, "\"%s\" is one word too many for \"%s\"",
				step->words[i], step->verb->name);
		word_check(steps, step, *form, step->words[i]);
		if (*form == 'C')
			form--; /* for any further word */
	}
}

/* The words before the verb: child (once for each generation) and repeat N. */
static char *prefixes_take(const struct steps *steps, struct step *step, char *word, char **rest)
{
	unsigned long times;

	step->repeats = 1;
	for (; word; word = strtok_r(NULL, " \t", rest)) {
		if (strcmp(word, "child") == 0) {
			step->depth++;
		} else if (strcmp(word, "repeat") == 0) {
			word = strtok_r(NULL, " \t", rest);
			if (!word || !size_parse(word, &times) || !times || times > 1000000)
				steps_die(steps, step, "repeat \"%s\": a number is wanted",
					word ? word : "");
			step->repeats = times;
		} else {
			return word;
		}
	}
	steps_die(steps, step, "\"child\" or \"repeat\" without a step");
}

static void step_parse(struct steps *steps, char *text, int line)
{
	struct step *step = &steps->at[steps->nr];
	char *rest, *word = strtok_r(text, " \t\r", &rest);

	if (!word)
		return;
	*step = (struct step){.line = line};
	if (steps->nr == STEPS_MAX - 1)
		steps_die(steps, step, "more than %d steps", STEPS_MAX - 1);
	word = prefixes_take(steps, step, word, &rest);
	step->verb = verb_find(steps, word);
	if (!step->verb)
		steps_die(steps, step, "unknown step \"%s\"", word);
	for (; word && !is_text(step->verb); word = strtok_r(NULL, " \t\r", &rest)) {
		if (step->nr_words == WORDS_MAX)
			steps_die(steps, step, "\"%s\" is one word too many", word);
		step->words[step->nr_words++] = word;
	}
	if (!is_text(step->verb))
		words_check(steps, step);
	steps->nr++;
}

/* The first word says whether the rest of the line is one text, with any ';' in it. */
static bool line_is_text(const struct steps *steps, const char *line)
{
	char word[32] = "";
	const struct verb *verb;

	sscanf(line, "%31s", word);
	verb = verb_find(steps, word);
	return verb && is_text(verb);
}

static void line_parse(struct steps *steps, char *line, int number)
{
	char *rest, *part;

	if (line_is_text(steps, line)) {
		step_parse(steps, line, number);
		return;
	}
	line[strcspn(line, "#")] = '\0';
	for (part = strtok_r(line, ";", &rest); part; part = strtok_r(NULL, ";", &rest))
		step_parse(steps, part, number);
}

/* The name in "[name]", or NULL when the line is no head of a scenario. */
static const char *head_name(const char *line, size_t length, char *name, size_t size)
{
	const char *end = memchr(line, ']', length);

	if (*line != '[' || !end || (size_t)(end - line) > size)
		return NULL;
	memcpy(name, line + 1, end - line - 1);
	name[end - line - 1] = '\0';
	return name;
}

bool steps_find(struct steps *steps, const char *text, const char *name)
{
	size_t used = 0;
	bool found = false;
	char head[64];
	int number = 1;

	steps->nr = 0;
	for (const char *line = text; *line; number++) {
		const char *next = strchrnul(line, '\n');
		size_t length = next - line;

		if (*line == '[') {
			if (found)
				break;
			found = head_name(line, length, head, sizeof(head)) &&
				strcmp(head, name) == 0;
		} else if (found) {
			if (used + length + 1 > sizeof(steps->text))
				die("scenario: %s: the text of %s is too long", steps->file, name);
			memcpy(steps->text + used, line, length);
			steps->text[used + length] = '\0';
			line_parse(steps, steps->text + used, number);
			used += length + 1;
		}
		line = *next ? next + 1 : next;
	}
	return found;
}

int steps_each(struct steps *steps, const char *text, void (*told)(const char *name))
{
	struct step at = {.line = 1};
	char head[64];
	int nr = 0;

	for (const char *line = text; *line; at.line++) {
		const char *next = strchrnul(line, '\n');
		size_t length = next - line, blank = strspn(line, " \t\r");

		if (head_name(line, length, head, sizeof(head))) {
			told(head);
			nr++;
		} else if (*line == '[') {
			steps_die(steps, &at, "\"%.*s\" is no [name]", (int)length, line);
		} else if (!nr && blank < length && line[blank] != '#') {
			steps_die(steps, &at, "\"%.*s\" stands before the first [name]",
				(int)length, line);
		}
		line = *next ? next + 1 : next;
	}
	return nr;
}
