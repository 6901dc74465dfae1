/*
 * family.c - children, and how they wait for each other.                                   ring 3
 *
 * Part of the program `scenario`; see scenario.h. The lines of a child follow its fork directly and are
 * deeper by one; each process runs its own and leaves out the others'. What one waits for is a flag in the
 * shared page.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "scenario.h"

#define FLAGS_NR    64
#define WAIT_ROUNDS 6000 /* of 10 ms */

static void flag_await(unsigned long flag)
{
	for (int i = 0; i < WAIT_ROUNDS; i++) {
		if (s.flags[flag])
			return;
		sleep_ms(10);
	}
	die("scenario: a child waited a minute for what nobody told it");
}

static unsigned long flag_of(const char *word)
{
	unsigned long flag = number(word);

	if (!flag || flag >= FLAGS_NR)
		word_die(word, "a number from 1 to 63");
	return flag;
}

static void step_tell(char **words, int nr)
{
	(void)nr;
	s.flags[flag_of(words[1])] = 1;
}

static void step_await(char **words, int nr)
{
	(void)nr;
	flag_await(flag_of(words[1]));
}

static void step_hold(char **words, int nr)
{
	(void)words;
	(void)nr;
	flag_await(0);
}

static void children_collect(void)
{
	for (int i = 0; i < s.nr_children; i++) {
		int status = child_wait(s.children[i]);

		if (status)
			die("scenario: a child ended with %d", status);
	}
	s.nr_children = 0;
}

static void step_wait(char **words, int nr)
{
	(void)words;
	(void)nr;
	children_collect();
	call_done(0);
}

void children_release(void)
{
	if (!s.nr_children)
		return;
	s.flags[0] = 1;
	children_collect();
	s.flags[0] = 0;
}

static void step_release(char **words, int nr)
{
	(void)words;
	(void)nr;
	children_release();
}

/* The child's lines follow the fork directly. */
static void step_fork(char **words, int nr)
{
	int at = now - steps.at;
	int pid;

	(void)words;
	(void)nr;
	if (s.nr_children == CHILDREN_MAX)
		steps_die(&steps, now, "\"fork\": more than %d children", CHILDREN_MAX);
	pid = fork();
	if (pid == 0) {
		s.depth++;
		s.nr_children = 0;
		s.checked = false;
		s.mismatches = 0;
		steps_run(at + 1, s.depth);
		children_release();
		_exit(0);
	}
	if (pid > 0)
		s.children[s.nr_children++] = pid;
	for (int i = at + 1; i < steps.nr && steps.at[i].depth > s.depth && pid > 0; i++)
		s.records += strcmp(steps.at[i].words[0], "record") == 0;
	call_done(pid < 0 ? -1 : 0);
}

/* This program again; --rest goes on behind this step. Areas are gone, settings and prctl stay. */
static void step_exec(char **words, int nr)
{
	int at = now - steps.at;
	char index[16], depth[16], records[16];

	(void)words;
	(void)nr;
	if (!s.depth)
		steps_die(&steps, now,
			"\"exec\" is for children: the first process has to restore the settings");
	snprintf(index, sizeof(index), "%d", at + 1);
	snprintf(depth, sizeof(depth), "%d", s.depth);
	snprintf(records, sizeof(records), "%d", s.records);
	execl("/proc/self/exe", "scenario", "--file", steps.file, "--rest", s.name, index, depth,
		records, (char *)NULL);
	die("scenario: exec: %s", strerror(errno));
}

const struct verb family_verbs[] = {
	{"fork", "", step_fork, NULL},
	{"exec", "", step_exec, NULL},
	{"hold", "", step_hold, NULL},
	{"tell", "n", step_tell, NULL},
	{"await", "n", step_await, NULL},
	{"wait", "", step_wait, NULL},
	{"release", "", step_release, NULL},
	{NULL, NULL, NULL, NULL},
};
