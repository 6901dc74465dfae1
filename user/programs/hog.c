/*
 * hog.c - more memory, and more processes, than there is.                                     ring 3
 *
 *   hog memory N      N children, each of which takes memory until it is killed
 *   hog tables        areas of one page that cannot be united, until the call or a kill ends it
 *   hog processes     fork until it is refused; the children sleep a moment and end
 *
 * Status 0: the children went, and this process, the smallest of all, was left alone.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"

#define CHILDREN_MAX 20000

static void *fresh(unsigned long bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		_exit(0); /* refused in words: as good as killed */
	return at;
}

static void take_memory(void)
{
	for (;;)
		memset(fresh(MIB), 1, MIB);
}

static void take_tables(void)
{
	for (;;) {
		char *at = fresh(16 * PAGE_BYTES);

		at[0] = 1;
		if (mprotect(at, PAGE_BYTES, PROT_READ))
			_exit(0);
	}
}

static int killed_or_refused(int status)
{
	return status == 0 || status == 256 + SIGKILL;
}

static int run_children(int nr, void (*take)(void))
{
	int good = 0;

	for (int i = 0; i < nr; i++) {
		int pid = fork();

		if (pid == 0)
			take();
		if (pid < 0)
			die("hog: fork: %s", strerror(errno));
	}
	for (int i = 0; i < nr; i++) {
		int status;

		if (wait(&status) < 0)
			break;
		good += killed_or_refused(
			WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status));
	}
	printf("hog: %d of %d children gave up their memory, %s\n", good, nr,
		good == nr ? "ok" : "FAILED");
	return good != nr;
}

static int run_processes(void)
{
	int nr = 0, ended = 0, pid = 0;

	while (nr < CHILDREN_MAX && (pid = fork()) > 0)
		nr++;
	if (pid == 0) {
		sleep_ms(3000);
		_exit(0);
	}
	while (wait(NULL) > 0)
		ended++;
	printf("hog: %d processes, %d ended, %s\n", nr, ended, nr == ended && nr ? "ok" : "FAILED");
	return nr != ended || !nr;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (strcmp(what, "memory") == 0 && argc == 3)
		return run_children(atoi(argv[2]), take_memory);
	if (strcmp(what, "tables") == 0 && argc == 2)
		return run_children(1, take_tables);
	if (strcmp(what, "processes") == 0 && argc == 2)
		return run_processes();
	fprintf(stderr, "usage: hog memory N | tables | processes\n");
	return 2;
}
