/*
 * calls.c - system calls on the area.                                                      ring 3
 *
 * Part of the program `scenario`; see scenario.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "scenario.h"

#define SPLIT_FILE "/sys/kernel/debug/split_huge_pages"
#define DONTUNMAP  4 /* MREMAP_DONTUNMAP, which musl's headers do not have */

static void step_mlock(char **words, int nr)
{
	call_done(syscall(SYS_mlock2, place(words[1]), number(words[2]), nr > 3));
}

static void step_munlock(char **words, int nr)
{
	(void)nr;
	call_done(munlock(place(words[1]), number(words[2])));
}

static const struct choice mlockall_words[] = {
	{"current", 1}, {"future", 2}, {"onfault", 4}, {NULL, 0}};

static void step_mlockall(char **words, int nr)
{
	int flags = 0;

	for (int i = 1; i < nr; i++)
		flags |= choice(words[i]);
	call_done(syscall(SYS_mlockall, flags));
}

static void step_munlockall(char **words, int nr)
{
	(void)words;
	(void)nr;
	call_done(munlockall());
}

static const struct choice advices[] = {{"normal", 0}, {"random", 1}, {"sequential", 2},
	{"willneed", 3}, {"dontneed", 4}, {"free", 8}, {"remove", 9}, {"dontfork", 10},
	{"dofork", 11}, {"mergeable", 12}, {"unmergeable", 13}, {"hugepage", 14},
	{"nohugepage", 15}, {"dontdump", 16}, {"dodump", 17}, {"wipeonfork", 18},
	{"keeponfork", 19}, {"cold", 20}, {"pageout", 21}, {"populate-read", 22},
	{"populate-write", 23}, {"dontneed-locked", 24}, {"collapse", 25}, {NULL, 0}};

static void step_madvise(char **words, int nr)
{
	int advice = choice(words[3]);

	(void)nr;
	call_done(madvise(
		place(words[1]), number(words[2]), advice < 0 ? (int)number(words[3]) : advice));
}

static const struct choice rights_words[] = {
	{"none", 0}, {"r", 1}, {"w", 2}, {"rw", 3}, {"rx", 5}, {"rwx", 7}, {NULL, 0}};

static void step_mprotect(char **words, int nr)
{
	(void)nr;
	call_done(mprotect(place(words[1]), number(words[2]), choice(words[3])));
}

static void step_munmap(char **words, int nr)
{
	(void)nr;
	call_done(munmap(place(words[1]), number(words[2])));
}

/* The whole area; it is there afterwards. */
static void step_mremap(char **words, int nr)
{
	void *got = mremap((void *)s.start, s.size, number(words[1]), MREMAP_MAYMOVE | MREMAP_FIXED,
		(char *)AREA_BASE + number(words[2]));

	(void)nr;
	call_done(got == MAP_FAILED ? -1 : 0);
	if (got != MAP_FAILED)
		area_is((unsigned long)got, number(words[1]));
}

/* In place; the area is as long as it has become. */
static void step_resize(char **words, int nr)
{
	void *got = mremap((void *)s.start, s.size, number(words[1]), 0);

	(void)nr;
	call_done(got == MAP_FAILED ? -1 : 0);
	if (got != MAP_FAILED)
		area_is(s.start, number(words[1]));
}

/* A part of the area goes elsewhere; "dontunmap" leaves the old place mapped and empty. */
static void step_move(char **words, int nr)
{
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
	void *got;

	got = mremap(place(words[1]), number(words[2]), number(words[2]),
		nr > 4 ? flags | DONTUNMAP : flags, (char *)AREA_BASE + number(words[3]));
	call_done(got == MAP_FAILED ? -1 : 0);
}

/* rc: how many pages of the range are resident. */
static void step_mincore(char **words, int nr)
{
	static unsigned char resident[8 * HUGE_PAGES];
	unsigned long pages = number(words[2]) / PAGE_BYTES;
	long answer;

	(void)nr;
	if (pages > sizeof(resident))
		word_die(words[2], "at most 16M");
	memset(resident, 1, sizeof(resident)); /* no fault inside the call */
	answer = syscall(SYS_mincore, place(words[1]), number(words[2]), resident);
	for (unsigned long i = 0; i < pages && answer >= 0; i++)
		answer += resident[i] & 1;
	call_done(answer);
}

static void step_thp_disable(char **words, int nr)
{
	(void)nr;
	call_done(prctl(PR_SET_THP_DISABLE, number(words[1]), 0, 0, 0));
}

static void step_thp_disabled(char **words, int nr)
{
	(void)words;
	(void)nr;
	call_done(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
}

/* Every huge page that is mapped there is taken apart. */
static void step_split_huge(char **words, int nr)
{
	char text[80];
	int error;

	(void)nr;
	snprintf(text, sizeof(text), "%d,0x%lx,0x%lx", getpid(), (unsigned long)place(words[1]),
		(unsigned long)place(words[1]) + number(words[2]));
	error = file_write(SPLIT_FILE, text);
	error_done(error);
}

static const struct choice onfault_word[] = {{"onfault", 1}, {NULL, 0}};
static const struct choice dontunmap_word[] = {{"dontunmap", 1}, {NULL, 0}};

const struct verb call_verbs[] = {
	{"madvise", "ssa", step_madvise, advices},
	{"mlock", "ss?c", step_mlock, onfault_word},
	{"munlock", "ss", step_munlock, NULL},
	{"mlockall", "c?C", step_mlockall, mlockall_words},
	{"munlockall", "", step_munlockall, NULL},
	{"mprotect", "ssc", step_mprotect, rights_words},
	{"munmap", "ss", step_munmap, NULL},
	{"mremap", "so", step_mremap, NULL},
	{"resize", "s", step_resize, NULL},
	{"move", "sso?c", step_move, dontunmap_word},
	{"mincore", "ss", step_mincore, NULL},
	{"thp-disable", "n", step_thp_disable, NULL},
	{"thp-disabled", "", step_thp_disabled, NULL},
	{"split-huge", "ss", step_split_huge, NULL},
	{NULL, NULL, NULL, NULL},
};
