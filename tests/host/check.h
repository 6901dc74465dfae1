/*
 * check.h - the frame of the host tests: TEST(), CHECK(), seeded random numbers.
 *
 *	TEST(halves_and_unites)
 *	{
 *		CHECK_EQ(buddy_free_pages(), 1024);
 *	}
 *
 * Each test runs in a child process: it starts from fresh memory, and a crash or an endless loop
 * fails this test only. The random numbers of each test start from the seed that is printed, so a
 * failure is repeated with   SEED=... build/host/test_x name   (NOFORK=1 under a debugger).
 *
 * Include the headers of the C library before this one: lib/types.h defines short names.
 */
#ifndef CHECK_H
#define CHECK_H

#include "lib/types.h"

struct check_test {
	const char *name;
	void (*run)(void);
	struct check_test *next;
};

void check_register(struct check_test *test);
__noreturn void check_fail(const char *file, int line, const char *fmt, ...) __printf(3, 4);

/* Defines and registers a test. */
#define TEST(name)                                                                                 \
	static void test_##name(void);                                                             \
	static struct check_test entry_##name = {#name, test_##name, NULL};                        \
	__attribute__((constructor)) static void register_##name(void)                             \
	{                                                                                          \
		check_register(&entry_##name);                                                     \
	}                                                                                          \
	static void test_##name(void)

/* The first CHECK that does not hold ends its test. */
#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			check_fail(__FILE__, __LINE__, "%s", #cond);                               \
	} while (0)

/* As CHECK, with words of one's own. */
#define CHECK_MSG(cond, ...)                                                                       \
	do {                                                                                       \
		if (!(cond))                                                                       \
			check_fail(__FILE__, __LINE__, __VA_ARGS__);                               \
	} while (0)

/* Two integers (or pointers cast to u64) that must be equal; both are shown. */
#define CHECK_EQ(is, want)                                                                         \
	do {                                                                                       \
		u64 check_is_ = (u64)(is), check_want_ = (u64)(want);                              \
		if (check_is_ != check_want_)                                                      \
			check_fail(__FILE__, __LINE__, "%s is %lld (%#llx), want %lld (%#llx)",    \
				#is, (long long)check_is_, (unsigned long long)check_is_,          \
				(long long)check_want_, (unsigned long long)check_want_);          \
	} while (0)

#define CHECK_STR(is, want)                                                                        \
	do {                                                                                       \
		const char *check_is_ = (is), *check_want_ = (want);                               \
		if (check_differ(check_is_, check_want_))                                          \
			check_fail(__FILE__, __LINE__, "%s is \"%s\", want \"%s\"", #is,           \
				check_is_, check_want_);                                           \
	} while (0)

/*
 * The statement must panic with this code ("assert", "B4", "list" ...; NULL: any). It runs in a
 * child process, so this one's memory stays as it is.
 */
#define CHECK_PANICS(code, ...)                                                                    \
	do {                                                                                       \
		if (check_panic_begin(code)) {                                                     \
			__VA_ARGS__;                                                               \
			check_panic_missing();                                                     \
		}                                                                                  \
		check_panic_end(__FILE__, __LINE__, #__VA_ARGS__);                                 \
	} while (0)

bool check_differ(const char *a, const char *b);
bool check_panic_begin(const char *code);
__noreturn void check_panic_missing(void);
void check_panic_end(const char *file, int line, const char *what);

/* What panic_at() of the host build calls; does not return. */
__noreturn void check_panic(const char *file, int line, const char *code, const char *text);

/* Random numbers that depend on the seed only. */
u64 check_random(void);
u64 check_below(u64 n); /* 0 ... n - 1 */
u64 check_seed(void);

/* Rounds of a random run: n, times the variable ROUNDS of the environment if it is set. */
u64 check_rounds(u64 n);

#endif
