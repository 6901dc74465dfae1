/*
 * steps.h - the small language of tests/linux/scenarios.txt: texts into steps.           ring 3
 */
#ifndef PROGRAMS_STEPS_H
#define PROGRAMS_STEPS_H

#include <stdbool.h>
#include <stddef.h>

#define STEPS_MAX      256
#define WORDS_MAX      12
#define STEPS_TEXT_MAX 16384

struct verb;

struct step {
	const struct verb *verb;
	int line;    /* in the file, from 1 */
	int depth;   /* 0: the first process's, 1: its child's ... */
	int repeats; /* how often it is done */
	int nr_words;
	char *words[WORDS_MAX]; /* the verb first */
};

/*
 * What may follow a verb, one letter a word: s size, o offset with a sign (+4K), n number, w any word,
 * c one of the choices, a a choice or a number, C any further choices and places, and behind a ? the words that
 * may be left out. "=": the rest of the line as it stands, for the reader of the file only.
 */
struct verb {
	const char *name, *form;
	void (*run)(char **words, int nr);
	const struct choice *choices;
};

struct choice {
	const char *name;
	int value;
};

/* choice_find - the value of a word among the choices, -1 when it is none of them. */
int choice_find(const struct choice *choices, const char *word);

struct steps {
	const char *file; /* named in errors */
	const struct verb *const *tables;
	int nr;
	struct step at[STEPS_MAX];
	char text[STEPS_TEXT_MAX];
};

/*
 * steps_find - parse the scenario `name` of `text` ("[name]" and the lines up to the next).
 * False when there is none. A mistake ends the program with "FILE:LINE: ... WORD".
 */
bool steps_find(struct steps *steps, const char *text, const char *name);

/* steps_each - call `told` with each scenario's name in order; the number of them. Mistakes as above. */
int steps_each(struct steps *steps, const char *text, void (*told)(const char *name));

/* steps_die - end the program with an error at a step's line. */
void steps_die(const struct steps *steps, const struct step *step, const char *format, ...)
	__attribute__((noreturn, format(printf, 3, 4)));

#endif
