/*
 * futex.h - sleep until a word of memory is changed by somebody who says so.                   floor 4
 */
#ifndef FUTEX_H
#define FUTEX_H

#include "mm/mm.h"

#define FUTEX_ANY (~0u) /* a mask that every waker meets */

void futex_init(void);

/*
 * futex_wait - sleep while the word at addr of the current space is `value`, until somebody wakes that address.
 *   mask      FUTEX_ANY, or bits of which the waker must name one
 *   deadline  ns since boot, or TIME_NEVER
 *   shared    in an area of shared memory the word is known by its place in there, to whoever maps it; not shared, and
 *             everywhere else, by space and address. Wakers must say the same
 *   returns   0, -EAGAIN (the word is another), -EFAULT, -EINVAL (not a multiple of 4), -ETIMEDOUT, -EINTR
 *   Linux     futex_wait
 */
int futex_wait(vaddr_t addr, u32 value, u32 mask, u64 deadline, bool shared);

/* Wake at most nr of those that wait at addr of mm, the longest waiting first. How many, or -EINVAL. */
int futex_wake_mask(struct mm *mm, vaddr_t addr, u32 nr, u32 mask, bool shared);
static inline int futex_wake(struct mm *mm, vaddr_t addr, u32 nr, bool shared)
{
	return futex_wake_mask(mm, addr, nr, FUTEX_ANY, shared);
}

/*
 * futex_requeue - wake nr_wake at addr, let nr_move others wait at addr2 from now on.
 *   compare   NULL, or what the word at addr must be: else -EAGAIN
 *   returns   woken and moved; -EAGAIN, -EFAULT, -EINVAL
 *   Linux     futex_requeue
 */
int futex_requeue(
	vaddr_t addr, u32 nr_wake, vaddr_t addr2, u32 nr_move, const u32 *compare, bool shared);

/* Floor 5 knows shared memory: mm/memory.c's memory_key(), set at start-up. May sleep. False: addr is in none. */
extern bool (*futex_shared_key)(struct mm *mm, vaddr_t addr, void **object, u64 *offset);

bool futex_check(void); /* W1, W2: see futex.c */

#endif
