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
	X(LOCK, "a table's lock did not come in time")                                             \
	X(NO_MEMORY, "no frame to move it to")                                                     \
	X(SPLIT, "no huge frame to move it to: it is small pages now")

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
/* Back to its list; the reference goes. Linux: putback_movable_pages */
void migrate_putback(struct page *head);

/*
 * migrate_page - move an isolated page.
 *   to       of the same size, unmapped, one reference (the caller's), typed as `from`
 *   mlocked  pages of locked areas may move, too
 *   locks    none inner to LOCK_ANON; mm->lock in any mode or not at all. Never sleeps
 *   returns  DONE: `to` has the mappings, is on the LRU, and the caller's reference on it is gone; `from` has only the
 *            caller's reference: page_put(). Else nothing has changed, and both are the caller's
 *   counts   as Linux: pgmigrate_success / _fail in 4 KiB pages, thp_migration_success / _fail, a page that was freed
 *            meanwhile among the successes; migrate_counts[]
 *   Linux    unmap_and_move
 */
enum migrate_result migrate_page(
	struct page *from, struct page *to, enum migrate_mode mode, bool mlocked);

/* There was no `to` for this one: counts that, as a failure. Returns NO_MEMORY. */
enum migrate_result migrate_no_target(struct page *head);

/*
 * migrate_page_alone - all of it for one page: isolate, allocate, move, free; `buddy_flags` say where to.
 *   may_split  a huge page for which there is no block comes apart (Linux: all but NUMA balancing)
 *   returns    DONE; SPLIT: its pages are on the LRU, to be moved one by one; or why not: nothing has changed then
 *   counts     as migrate_page(); SPLIT: thp_migration_split and thp_migration_fail
 *   Linux      migrate_pages, for migrate_misplaced_page and alloc_contig_range
 */
enum migrate_result migrate_page_alone(struct page *head, u32 buddy_flags, bool may_split);

bool migrate_check(void); /* M1: see migrate.c. The other CPUs are stopped */

#endif
