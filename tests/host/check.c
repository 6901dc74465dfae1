/*
 * check.c - the frame of the host tests: runs the registered tests and counts.
 *
 * The last line is `N passed, N failed`; the status is 0 if none failed. It also stands in for
 * panic.c: a panic that a test did not ask for fails the test.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

struct list;

#define TEST_SECONDS 120 /* a test that takes longer is stuck */

enum {
	STATUS_FAILED = 1,
	STATUS_PANICKED = 42,
	STATUS_NO_PANIC = 43,
	STATUS_OTHER_PANIC = 44
};

static struct check_test *tests;
static u64 seed = 1;
static u64 random_state;
static u64 rounds = 1;

static bool expecting;            /* this process was forked to panic */
static const char *expected_code; /* NULL: any */
static pid_t panicking_child;

void check_register(struct check_test *test)
{
	struct check_test **link = &tests;

	while (*link)
		link = &(*link)->next;
	*link = test;
}

void check_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "%s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "   (SEED=%llu)\n", (unsigned long long)seed);
	_exit(STATUS_FAILED);
}

bool check_differ(const char *a, const char *b)
{
	return !a || !b || strcmp(a, b) != 0;
}

bool check_panic_begin(const char *code)
{
	fflush(NULL);
	panicking_child = fork();
	if (panicking_child != 0)
		return false;
	expecting = true;
	expected_code = code;
	return true;
}

void check_panic_missing(void)
{
	_exit(STATUS_NO_PANIC);
}

void check_panic_end(const char *file, int line, const char *what)
{
	int status = 0;

	if (panicking_child < 0 || waitpid(panicking_child, &status, 0) != panicking_child)
		check_fail(file, line, "cannot run a child process");
	if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_PANICKED)
		return;
	if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_NO_PANIC)
		check_fail(file, line, "no panic: %s", what);
	check_fail(file, line, "not the panic that was expected (status %#x): %s", status, what);
}

void check_panic(const char *file, int line, const char *code, const char *text)
{
	if (expecting && (!expected_code || strcmp(code, expected_code) == 0))
		_exit(STATUS_PANICKED);
	fflush(stdout);
	fprintf(stderr, "PANIC code=%s at=%s:%d text=\"%s\"   (SEED=%llu)\n", code, file, line,
		text, (unsigned long long)seed);
	if (expecting)
		_exit(STATUS_OTHER_PANIC);
	abort(); /* the sanitizer prints the stack */
}

/* In place of panic.c. */
__noreturn void panic_at(const char *file, int line, const char *code, const char *fmt, ...)
	__printf(4, 5);

__noreturn void panic_at(const char *file, int line, const char *code, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	check_panic(file, line, code, text);
}

__noreturn void list_corrupt(const char *what, const struct list *node);

__noreturn void list_corrupt(const char *what, const struct list *node)
{
	panic_at("lib/list.h", 0, "list", "%s (%p)", what, (const void *)node);
}

/* splitmix64: every seed gives a sequence of full length. */
u64 check_random(void)
{
	u64 z = random_state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

u64 check_below(u64 n)
{
	return check_random() % n;
}

u64 check_seed(void)
{
	return seed;
}

u64 check_rounds(u64 n)
{
	return n * rounds;
}

/* Runs one test in a child; true if it passed. */
static bool run_test(const struct check_test *test, bool in_child)
{
	int status = 0;
	pid_t pid;

	random_state = seed;
	if (!in_child) {
		test->run();
		return true;
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		alarm(TEST_SECONDS);
		test->run();
		exit(0); /* not _exit: what leaks is found here */
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		perror("fork");
		return false;
	}
	if (WIFSIGNALED(status))
		fprintf(stderr, "%s: killed by signal %d\n", test->name, WTERMSIG(status));
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static u64 variable(const char *name, u64 otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

int main(int argc, char **argv)
{
	unsigned int passed = 0, failed = 0;

	seed = variable("SEED", 1);
	rounds = variable("ROUNDS", 1);
	printf("%s: SEED=%llu\n", argv[0], (unsigned long long)seed);
	for (const struct check_test *test = tests; test; test = test->next) {
		if (argc > 1 && !strstr(test->name, argv[1]))
			continue;
		if (run_test(test, variable("NOFORK", 0) == 0)) {
			passed++;
			continue;
		}
		failed++;
		printf("FAILED %s\n", test->name);
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed > 0;
}
