/*
 * ktest.c - runs the self-tests and writes KTAP                       floor 7, below: all that is tested
 *
 * IDEA
 *   tests/kernel/NAME.c: KTEST(suite, name) puts a pointer into the section "ktests"; the linker makes
 *   an array of them, file after file. So the tests of a suite that lies in one file stand together.
 *
 *     KTAP version 1
 *     1..2
 *         KTAP version 1
 *         # Subtest: mutex
 *         1..3
 *         ok 1 hand_over
 *         not ok 2 fifo
 *         # tests/kernel/mutex.c:40: order[0] == 1
 *         ok 3 smp # SKIP one CPU
 *     not ok 1 mutex
 *
 * LOCKS     none.
 * LINUX     lib/kunit.              https://docs.kernel.org/dev-tools/ktap.html
 */
#include "ktest.h"

#include "lib/format.h"
#include "lib/string.h"
#include "mm/buddy.h"
#include "sched.h"
#include "x86/timer.h"
#include <abi/errno.h>

#define QUIET_NS (40 * NS_PER_MS) /* nobody took or gave a frame for so long */

extern const struct ktest *const __ktest_start[], *const __ktest_end[];

bool ktest_expect(struct ktest_ctx *ctx, bool ok, const char *file, int line, const char *what)
{
	if (!ok && !ctx->file) {
		ctx->file = file;
		ctx->line = line;
		ctx->what = what;
	}
	return ok;
}

static void __printf(2, 3) say(const struct ktest_out *out, const char *fmt, ...)
{
	char line[160];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vformat(line, sizeof(line), fmt, ap);
	va_end(ap);
	out->put(out->ctx, line, MIN((usize)n, sizeof(line) - 1));
}

/* Is this test asked for by "SUITE", by "SUITE.TEST", or (NULL) by "all"? A suite is on request as a whole. */
static bool is_wanted(const struct ktest *test, const char *what)
{
	usize len = strlen(test->suite);

	if (!what)
		return !test->on_request;
	return !strncmp(test->suite, what, len) &&
	       (!what[len] || (what[len] == '.' && !strcmp(what + len + 1, test->name)));
}

static bool is_of(const struct ktest *test, const char *suite, const char *what)
{
	return !strcmp(test->suite, suite) && is_wanted(test, what);
}

static unsigned count_tests(const char *suite, const char *what)
{
	unsigned n = 0;

	for (const struct ktest *const *p = __ktest_start; p < __ktest_end; p++)
		n += is_of(*p, suite, what);
	return n;
}

/* Is this the first test of its suite that is asked for? */
static bool begins_suite(const struct ktest *const *p, const char *what)
{
	for (const struct ktest *const *q = __ktest_start; q < p; q++) {
		if (is_of(*q, (*p)->suite, what))
			return false;
	}
	return is_wanted(*p, what);
}

/* One test and its line. Did it fail? */
static bool run_test(const struct ktest *test, unsigned number, const struct ktest_out *out)
{
	struct ktest_ctx ctx = {0};

	test->fn(&ctx);
	say(out, "    %sok %u %s%s%s\n", ctx.file ? "not " : "", number, test->name,
		ctx.skip ? " # SKIP " : "", ctx.skip ? ctx.skip : "");
	if (ctx.file)
		say(out, "    # %s:%d: %s\n", ctx.file, ctx.line, ctx.what);
	return ctx.file;
}

static unsigned run_suite(
	const char *suite, const char *what, unsigned number, const struct ktest_out *out)
{
	unsigned nr = 0, failed = 0;

	say(out, "    KTAP version 1\n    # Subtest: %s\n    1..%u\n", suite,
		count_tests(suite, what));
	for (const struct ktest *const *p = __ktest_start; p < __ktest_end; p++) {
		if (is_of(*p, suite, what))
			failed += run_test(*p, ++nr, out);
	}
	say(out, "%sok %u %s\n", failed ? "not " : "", number, suite);
	return failed;
}

/*
 * Servers may still be starting, and a program's end be under way: tests that count frames begin when nobody else
 * takes or gives any. Two seconds at most: what never rests is what a test should find out.
 */
static void wait_until_quiet(void)
{
	u64 seen = buddy_free_pages(), since = time_ns(), deadline = since + 2 * NS_PER_SEC;

	while (time_ns() < deadline && time_ns() - since < QUIET_NS) {
		sched_sleep_until(time_ns() + QUIET_NS / 8);
		if (buddy_free_pages() != seen) {
			seen = buddy_free_pages();
			since = time_ns();
		}
	}
}

int ktest_run(const char *what, const struct ktest_out *out)
{
	unsigned suites = 0, failed = 0, number = 0;

	for (const struct ktest *const *p = __ktest_start; p < __ktest_end; p++)
		suites += begins_suite(p, what);
	if (what && !suites)
		return -ENOENT;
	wait_until_quiet();
	say(out, "KTAP version 1\n1..%u\n", suites);
	for (const struct ktest *const *p = __ktest_start; p < __ktest_end; p++) {
		if (begins_suite(p, what))
			failed += run_suite((*p)->suite, what, ++number, out);
	}
	return (int)failed;
}
