/*
 * seeded.h - mistakes that other kernels made once, to be switched on: does a test notice?          floor 1
 *
 * Each line is one mistake, told in our own words after the report that made it known, with the rule it breaks and the
 * self-test that must fail when it is on. A debug build has them in its code, one `if (seeded(NAME))` or two each, and
 * `inject seed N` switches one of them on; in all other builds the condition is the constant false and nothing is left.
 * `make cve` runs every line twice, without the mistake and with it: docs/cve.md.
 *
 * The numbers are those of the list that docs/cve.md prints; 23 and 24 are about doors of the CPU, not about memory.
 */
#ifndef SEEDED_H
#define SEEDED_H

#include "config.h"
#include "lib/types.h"

/* X(number, name, after, story, invariant, scenario) */
#define SEEDED_BUGS(X)                                                                             \
	X(1, DIRTY_COW, "CVE-2016-5195",                                                           \
		"a forced write looks again after its private copy was discarded, for reading",    \
		"a write through a private mapping never reaches a shared frame",                  \
		"object.a_private_write_never_reaches_the_object")                                 \
	X(2, HUGE_DIRTY_COW, "CVE-2017-1000405",                                                   \
		"a huge entry that was only read is marked dirty, and dirty counts as writable",   \
		"the huge zero frame is never written", "cve.huge_zero_page_is_never_written")     \
	X(3, ZERO_TAINT, "CVE-2015-3288",                                                          \
		"a hole in a mapping that is not anonymous gets the zero frame",                   \
		"no write reaches a zero frame", "cve.zero_page_is_for_anonymous_memory")          \
	X(4, SPLIT_COUNT, "CVE-2020-29368",                                                        \
		"the map count decides about a copy while another space's split moves it",         \
		"a count is never lower than the mappings it counts",                              \
		"cve.write_while_another_splits")                                                  \
	X(5, PINNED_COW, "CVE-2020-29374",                                                         \
		"the only mapping writes in place although somebody else holds the page",          \
		"who holds a page never sees another one's later write",                           \
		"cve.a_pin_sees_no_later_write")                                                   \
	X(6, OBJECT_DIRTY_COW, "CVE-2022-2590",                                                    \
		"an object's page is mapped dirty into a private area, and dirty counts as a "     \
		"copy",                                                                            \
		"as 1, for pages that a pager supplies",                                           \
		"object.a_private_write_while_the_page_comes_and_goes")                            \
	X(7, MOVE_FLUSH, "CVE-2018-18281", "mremap flushes after it has let go of the table lock", \
		"flush before the lock that guards the entry is let go", "cve.move_and_withdraw")  \
	X(8, BATCHED_FLUSH, "Linux: reclaim's batched flush",                                      \
		"who clears entries flushes later; who finds them cleared does not flush",         \
		"not present means flushed", "cve.discard_of_what_another_cleared")                \
	X(9, MIGRATE_FLUSH, "Linux: device migration's flush",                                     \
		"a page that moves is flushed when the table lock has been let go of",             \
		"flush before the lock that guards the entry is let go, and before the copy",      \
		"migrate.a_write_while_the_page_moves")                                            \
	X(10, ZERO_SHRINK, "Linux: the huge zero page's shrinker",                                 \
		"the reference on the huge zero page is dropped before the flush",                 \
		"a frame's last reference goes after the flush",                                   \
		"cve.huge_zero_page_outlives_its_translations")                                    \
	X(11, COLLAPSE_WALKERS, "Linux: khugepaged and walkers without locks",                     \
		"collapse takes a table out while walkers may still be in it",                     \
		"a table goes when all walkers have left", "cve.collapse_among_walkers")           \
	X(12, SECOND_USER, "CVE-2022-48991",                                                       \
		"a page changes hands, and one who maps it too is not told",                       \
		"every holder of a translation is told before a frame is used for something else", \
		"cve.a_pager_forgets_what_it_gave")                                                \
	X(13, MOVE_RECHECK, "CVE-2024-50066",                                                      \
		"a move believes what it saw of an entry before it had the lock",                  \
		"look again after locking", "cve.move_while_a_huge_page_is_withdrawn")             \
	X(14, MOVE_KIND, "CVE-2020-10757",                                                         \
		"a move has a test of its own for huge entries, and takes one for a table",        \
		"one helper says what an entry is", "cve.verbs_over_a_mixture")                    \
	X(15, TWO_LOOKS, "CVE-2012-1179",                                                          \
		"an entry that was a hole is used as a table although it became huge meanwhile",   \
		"an entry is read once", "cve.entry_becomes_huge_between_two_looks")               \
	X(16, SPLIT_REFAULT, "CVE-2026-31456",                                                     \
		"a walker goes down where no gigabyte stood, although one stands there by now",    \
		"as 15, one level up", "cve.gigabyte_between_two_looks")                           \
	X(17, MOVE_ZERO, "CVE-2026-31397",                                                         \
		"a move builds the entry of a huge zero page anew, as if it had a frame",          \
		"a zero mapping stays a zero mapping", "cve.huge_zero_page_moves")                 \
	X(18, STACK_HUGE, "CVE-2011-0999",                                                         \
		"huge pages come into the stack of a program that is being started",               \
		"no huge page in an area under construction", "cve.no_huge_page_in_a_stack")       \
	X(19, FAMILY_FREED, "CVE-2022-42703",                                                      \
		"a family of areas is freed while pages still name it",                            \
		"the family of a mapped page lives", "cve.families_at_random")                     \
	X(20, STACK_READ_LOCK, "CVE-2023-3269",                                                    \
		"a stack grows, and its area changes, under the read lock",                        \
		"areas change under the write lock", "cve.stacks_grow_among_unmaps")               \
	X(21, COW_UNCOUNTED, "FreeBSD's copy-on-write advisory of 2021",                           \
		"a mapping in a third generation is not counted, and the frame is freed under it", \
		"no mapping is left when a frame is freed", "cve.three_generations")               \
	X(22, RAW_FRAME_NUMBER, "CVE-2018-3620",                                                   \
		"entries without access keep the frame's address as it is",                        \
		"an entry that is not present names no frame of memory",                           \
		"cve.absent_entries_name_no_frame")                                                \
	X(25, LAZY_FPU, "CVE-2018-3665",                                                           \
		"floating-point registers of the thread before are still there",                   \
		"no state of one task is visible to another", "cve.nothing_is_left_behind")        \
	X(26, KERNEL_OPEN, "CVE-2017-5754", "the kernel's half of a user root is open to ring 3",  \
		"ring 3 has no right to any kernel page", "cve.ring_3_reaches_no_kernel_page")

enum seeded_bug {
	SEEDED_NONE,
#define X(number, name, after, story, invariant, scenario) SEEDED_##name = number,
	SEEDED_BUGS(X)
#undef X
};

extern u32 seeded_bug; /* (x) the one that is on; changed by `inject seed` alone */

/* Is this mistake on? */
#define seeded(name) (CONFIG_SEEDED && unlikely(READ_ONCE(seeded_bug) == SEEDED_##name))

/*
 * The same, where the mistake matters only if somebody comes just now. The window that it opens stays open until he has
 * been there: a test that plays his part says with seeded_meet() how that is seen, and where it must begin inside the
 * window it waits for seeded_is_open(). So no luck is needed, on no host.
 */
#define seeded_window(name) (seeded(name) && seeded_pause())
/* True, always. What was said by seeded_meet(), for SEEDED_LIMIT_NS at most */
bool seeded_pause(void);
#define SEEDED_LIMIT_NS 40000000000ul /* a gigabyte is cleared by then, on a busy host, too */

/*
 * seeded_meet - fn(ctx) says whether the others have done their part; NULL, NULL: nobody plays one. For self-tests.
 *   fn       called over and over by whoever is in the window, perhaps with locks held: it only looks
 */
void seeded_meet(bool (*fn)(void *ctx), void *ctx);

/* Is somebody in the window just now? */
bool seeded_is_open(void);

#endif
