/*
 * scenario.h - what the parts of the program `scenario` share.                             ring 3
 *
 *   ../scenario.c   the command line; runs the steps       steps.c    texts into steps
 *   state.c         settings, khugepaged, memory pressure   area.c     the area, reading and writing it
 *   calls.c         system calls on it                      record.c   what is measured, and printing it
 *   family.c        children, and how they wait for each other
 *
 * Each part has a table of its verbs. A step is called with its words, the verb first; their form has been
 * checked, so that number(), place() and choice() always find what they look for.
 */
#ifndef PROGRAMS_SCENARIO_H
#define PROGRAMS_SCENARIO_H

#include "../lib.h"
#include "steps.h"

#define CHILDREN_MAX 16
#define NAMES_MAX    8

extern struct steps steps;
extern const struct step *now; /* the step that is being done, for errors */

extern const struct verb state_verbs[], area_verbs[], call_verbs[], record_verbs[], family_verbs[];

struct scenario {
	const char *name;
	unsigned long start, size;          /* the area */
	unsigned long pages_at, pages_size; /* what to describe page by page */
	bool show_eligible, checked, began, ended;
	int depth;   /* 0: the first process */
	int records; /* the number of children's records before ours */
	int children[CHILDREN_MAX], nr_children;
	volatile char
		*flags; /* a shared page: [0] lets holding children go; the others are `tell`'s */

	int rc, error; /* of the last call */
	unsigned long mismatches, faults, table_kb;
	struct counters before, after;
	struct smaps_sum sum;
	struct layout layout;

	/* what the scenario asks for besides: counters, fields of smaps, files */
	const char *counts[NAMES_MAX], *fields[NAMES_MAX], *values[NAMES_MAX];
	unsigned long count_before[NAMES_MAX], count_after[NAMES_MAX], field_kb[NAMES_MAX];
	int nr_counts, nr_fields, nr_values;
};
extern struct scenario s;

/* number - a size, a number or a place's offset; place - the address of an offset in the area. */
unsigned long number(const char *text);
char *place(const char *text);

/* choice - the value of a word among the verb's choices, -1 when it is none of them. */
int choice(const char *word);

/* call_done - the result of a call: rc, and errno when it is -1. error_done: of an errno value or 0. */
void call_done(long result);
void error_done(int error);

/* word_die - end with file, line and word. */
void word_die(const char *word, const char *wanted) __attribute__((noreturn));

void area_is(unsigned long start, unsigned long size);
void own_pages_map(void);
void state_prepare(void);
void settings_restore(void);
void step_end(char **words, int nr);
void print_record(void);
void children_release(void);
void steps_run(int first, int depth);

#endif
