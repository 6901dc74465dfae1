/*
 * mutex.h - the sleeping locks: mutex, and rwsem (mm->lock). Types in sync.h.                 floor 4
 *
 * Fast paths are one locked instruction, inline; the rest is in mutex.c. A thread that holds an rwsem for
 * reading never takes it again (a writer may stand between): debug builds assert it.
 */
#ifndef MUTEX_H
#define MUTEX_H

#include "sync.h"

void mutex_init(struct mutex *m, const char *name);
void mutex_lock(struct mutex *m);
bool mutex_trylock(struct mutex *m);
void mutex_unlock(struct mutex *m);

void rwsem_init(struct rwsem *s, const char *name);
void rwsem_read_lock_slow(struct rwsem *s);
void rwsem_write_lock_slow(struct rwsem *s);
void rwsem_wake(struct rwsem *s);
bool rwsem_write_trylock(struct rwsem *s);
void rwsem_check(struct rwsem *s); /* debug: this thread holds no mm lock yet */

static __always_inline void rwsem_read_lock(struct rwsem *s)
{
	u32 old = READ_ONCE(s->state);
	if (CONFIG_CHECKS)
		rwsem_check(s);
	if (unlikely(old & RWSEM_WRITER || READ_ONCE(s->waiting) ||
		     !__atomic_compare_exchange_n(
			     &s->state, &old, old + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)))
		rwsem_read_lock_slow(s);
	this_cpu()->lock_context->mm_locks++;
}

static __always_inline bool rwsem_read_trylock(struct rwsem *s)
{
	u32 old = READ_ONCE(s->state);
	if (old & RWSEM_WRITER || READ_ONCE(s->waiting) ||
		!__atomic_compare_exchange_n(
			&s->state, &old, old + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return false;
	this_cpu()->lock_context->mm_locks++;
	return true;
}

static __always_inline void rwsem_read_unlock(struct rwsem *s)
{
	this_cpu()->lock_context->mm_locks--;
	__atomic_sub_fetch(&s->state, 1, __ATOMIC_SEQ_CST);
	if (unlikely(READ_ONCE(s->waiting)))
		rwsem_wake(s);
}

void rwsem_write_lock(struct rwsem *s);
void rwsem_write_unlock(struct rwsem *s);

#endif
