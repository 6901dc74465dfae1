/*
 * mutex.h - the host's: sleeping locks for one host thread that plays several CPUs.
 *
 * Takes the place of kernel/mutex.h. Nobody can be waited for, so a lock that is not free is a deadlock:
 * a test that lets another CPU work in the middle of a call (fake_mmu.c) must choose work that could go on.
 */
#ifndef MUTEX_H
#define MUTEX_H

#include "sync.h"

static inline void rwsem_init(struct rwsem *s, const char *name)
{
	*s = (struct rwsem){0};
	spin_init(&s->queue_lock, LOCK_WAITQ, name);
	list_init(&s->queue);
}

/* A thread has one mm lock at a time; fork's second one is taken by rwsem_write_trylock(). */
static inline void rwsem_check(struct rwsem *s)
{
	(void)s;
	ASSERT_RULE("B3", this_cpu()->lock_context->mm_locks == 0, "a second mm lock is wanted");
}

static inline bool rwsem_read_trylock(struct rwsem *s)
{
	if (s->state & RWSEM_WRITER)
		return false;
	s->state++;
	this_cpu()->lock_context->mm_locks++;
	return true;
}

static inline void rwsem_read_lock(struct rwsem *s)
{
	rwsem_check(s);
	ASSERT_RULE("deadlock", rwsem_read_trylock(s), "mm lock (read) is held by a writer");
}

static inline void rwsem_read_unlock(struct rwsem *s)
{
	ASSERT_RULE(
		"B1", s->state && !(s->state & RWSEM_WRITER), "mm lock is not held for reading");
	s->state--;
	this_cpu()->lock_context->mm_locks--;
}

static inline bool rwsem_write_trylock(struct rwsem *s)
{
	if (s->state)
		return false;
	s->state = RWSEM_WRITER;
	s->writer = current_thread();
	this_cpu()->lock_context->mm_locks++;
	return true;
}

static inline void rwsem_write_lock(struct rwsem *s)
{
	rwsem_check(s);
	ASSERT_RULE("deadlock", rwsem_write_trylock(s), "mm lock (write) is held");
}

static inline void rwsem_write_unlock(struct rwsem *s)
{
	ASSERT_RULE("B1", rwsem_is_write_locked(s), "mm lock is not held for writing by this CPU");
	s->state = 0;
	s->writer = NULL;
	this_cpu()->lock_context->mm_locks--;
}

#endif
