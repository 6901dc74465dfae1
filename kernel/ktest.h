/*
 * ktest.h - self-tests of the kernel, in the kernel.                                           floor 7
 *
 *	KTEST(mutex, hand_over)
 *	{
 *		...
 *		KT_EXPECT(ctx, value == 3);
 *	}
 *
 * A test runs on the thread that asks for it and may sleep. It leaves nothing behind.
 */
#ifndef KTEST_H
#define KTEST_H

#include "lib/types.h"

struct ktest_ctx {
	const char *file; /* the first expectation that did not hold; NULL: all did */
	int line;
	const char *what;
	const char *skip; /* why the test could not be done here; NULL: it was */
};

struct ktest {
	const char *suite, *name;
	void (*fn)(struct ktest_ctx *ctx);
	bool on_request; /* only when its suite is named */
};

/* Defines a test. A pointer to its record goes into a section that ktest_run() reads as an array. */
#define KTEST(s, n) KTEST_DEFINE(s, n, false)
/* One that is not part of "all tests": it asks nothing, it makes work that somebody measures. */
#define KTEST_ON_REQUEST(s, n) KTEST_DEFINE(s, n, true)

#define KTEST_DEFINE(s, n, on_request)                                                             \
	static void ktest_##s##_##n(struct ktest_ctx *ctx);                                        \
	static const struct ktest ktest_record_##s##_##n = {#s, #n, ktest_##s##_##n, on_request};  \
	static const struct ktest *const ktest_pointer_##s##_##n                                   \
		__attribute__((used, section("ktests"))) = &ktest_record_##s##_##n;                \
	static void ktest_##s##_##n(struct ktest_ctx *ctx)

/* A test has failed unless cond; it goes on, and the first failure is reported. */
#define KT_EXPECT(ctx, cond) ktest_expect((ctx), (cond), __FILE__, __LINE__, #cond)
/* The same, and leave the test. */
#define KT_REQUIRE(ctx, cond)                                                                      \
	do {                                                                                       \
		if (!KT_EXPECT(ctx, cond))                                                         \
			return;                                                                    \
	} while (0)
/* Leave the test: this machine cannot show it. */
#define KT_SKIP(ctx, why)                                                                          \
	do {                                                                                       \
		(ctx)->skip = (why);                                                               \
		return;                                                                            \
	} while (0)

bool ktest_expect(struct ktest_ctx *ctx, bool ok, const char *file, int line, const char *what);

/* Where the lines go. */
struct ktest_out {
	void (*put)(void *ctx, const char *s, usize len);
	void *ctx;
};

/*
 * ktest_run - run all tests (NULL), those of a "SUITE", or one, "SUITE.TEST"; in KTAP.
 *   returns  how many failed, or -ENOENT: there is no such suite or test
 */
int ktest_run(const char *what, const struct ktest_out *out);

#endif
