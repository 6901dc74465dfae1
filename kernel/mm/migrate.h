/*
 * migrate.h - a page moves to another frame, with every mapping of it.                        floor 5
 */
#ifndef MM_MIGRATE_H
#define MM_MIGRATE_H

#include "mm/page.h"

/* How long to try. Linux: enum migrate_mode */
enum migrate_mode {
	MIGRATE_ASYNC,      /* whatever does not work at once is left alone */
	MIGRATE_SYNC_LIGHT, /* waits for locks: direct compaction's second try, kcompactd */
	MIGRATE_SYNC        /* the same here: nothing is ever written back to a disk */
};

/* Each refusal has a name and a counter; migrate_counts[]. */
#define MIGRATE_RESULTS(X)                                                                         \
	X(DONE, "moved")                                                                           \
	X(GONE, "nothing maps the page any more")                                                  \
	X(TYPE, "not anonymous memory: the kernel's, a table, the zero page, an object's")         \
	X(LRU, "off the LRU: somebody else is at work on it")                                      \
	X(MLOCKED, "locked in memory, and compact_unevictable_allowed is 0")                       \
	X(COUNT, "somebody else holds a reference: it is pinned")                                  \
	X(GIGABYTE, "a leaf of 1 GiB maps it: its place is the point")                             \
	X(PTE_MAPPED, "a huge page that 4 KiB entries map: it has to be split first")              \
	X(SPACES, "more spaces map it than are locked at once")                                    \
	X(LOCK, "a table's lock did not come in time")                                             \
	X(NO_MEMORY, "no frame to move it to")

enum migrate_result {
#define X(name, text) MIGRATED_##name,
	MIGRATE_RESULTS(X)
#undef X
	NR_MIGRATE_RESULTS
};
const char *migrate_result_name(enum migrate_result r);
const char *migrate_result_text(enum migrate_result r);
extern u64 migrate_counts[NR_MIGRATE_RESULTS]; /* since boot */

/*
 * migrate_isolate - get hold of a page that was found by its number: a reference, and off the LRU.
 *   locks    takes lru.lock
 *   returns  DONE; TYPE or LRU: nothing has changed. Ended by migrate_putback(), or migrate_page() and page_put()
 *   Linux    isolate_lru_page, numamigrate_isolate_page
 */
enum migrate_result migrate_isolate(struct page *head);
void migrate_putback(
	struct page *head); /* back to its list; the reference goes. Linux: putback_movable_pages */

/*
 * migrate_page - move an isolated page.
 *   to       of the same size, unmapped, one reference (the caller's), typed as `from`
 *   mlocked  pages of locked areas may move, too
 *   locks    none inner to LOCK_ANON; mm->lock in any mode or not at all. Never sleeps
 *   returns  DONE: `to` has the mappings, is on the LRU, and the caller's reference on it is gone; `from` has only the
 *            caller's reference: page_put(). Else nothing has changed, and both are the caller's
 *   counts   pgmigrate_success / _fail in 4 KiB pages, thp_migration_success / _fail; migrate_counts[]
 *   Linux    unmap_and_move
 */
enum migrate_result migrate_page(
	struct page *from, struct page *to, enum migrate_mode mode, bool mlocked);

/*
 * migrate_page_alone - all of it for one page: isolate, allocate, move, free; `to_node` hints are buddy's flags.
 *   returns  DONE, or why not; nothing has changed then.     Linux: migrate_misplaced_page, move_pages
 */
enum migrate_result migrate_page_alone(struct page *head, u32 buddy_flags);

bool migrate_check(void); /* M1: see migrate.c. The other CPUs are stopped */

#endif
