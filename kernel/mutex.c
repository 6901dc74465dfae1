/*
 * mutex.c - the sleeping locks                                                floor 4, below: sched.c
 *
 * mutex (one owner) and rwsem (many readers or one writer; mm->lock is one). Their types are in sync.h,
 * the fast paths of reading in mutex.h. Never in an interrupt handler, never with a spinlock held.
 *
 * IDEA
 *   rwsem.state   0             free
 *                 1 .. n        so many readers
 *                 RWSEM_WRITER  one writer
 *   rwsem.waiting how many stand in the queue; a newcomer that sees it > 0 joins the queue too. So a
 *                 writer that waits is passed by no reader but those already on their way.
 *
 *   queue   [R] [R] [W] [R]      first come, first served. The lock is *handed over*: whoever lets go
 *                                changes `state` on behalf of the head of the queue, marks it granted
 *                                and wakes it; of readers all that stand together at the head.
 *
 * PROTOCOL, and why nobody sleeps for ever
 *   the one who waits (under queue_lock)         the one who lets go
 *     A1  waiting += 1      (locked add)           B1  state -= 1 or = 0    (locked)
 *     A2  enter the queue                          B2  read waiting; > 0: take queue_lock, grant()
 *     A3  grant(): compare-exchange on state
 *         for the head of the queue
 *     A4  not granted: sleep, look again
 *   A1 and B1 are locked instructions on different words, each followed by a look at the other's word.
 *   They stand in one total order: if A1 is first, B2 sees it and grants after A2 (queue_lock); if B1 is
 *   first, A3 sees the free state and takes the lock itself, or grants it to the head before it.
 *   Only grant() takes waiters off, always from the head, and `granted` changes under queue_lock only,
 *   where A4 reads it; sched.c shows that the wake-up between A4's look and its sleep is not lost.
 *   The waiter's record lives on its stack: it leaves only after it saw `granted` under queue_lock, so
 *   the granter is done with it.
 *
 * INVARIANTS (asserted where the state changes)
 *   L1  state is 0, or RWSEM_WRITER, or a number of readers: never a writer and readers
 *   L2  writer != NULL only while state is RWSEM_WRITER; owner of a mutex unlocks it
 *   L3  waiting is the length of the queue (under queue_lock)
 *
 * LOCKS     queue_lock (LOCK_WAITQ), inside it only the run queue's.
 * LINUX     kernel/locking/mutex.c and rwsem.c spin while the owner runs; readers there may be handed
 *           the lock in bunches of 256. A model for SPIN: tests/spin/rwsem.pml.
 */
#include "mutex.h"

#include "sched.h"

enum wait_kind {
	WAIT_READ,
	WAIT_WRITE
};

/* One who waits for a mutex or an rwsem; on its stack. */
struct lock_waiter {
	struct list link;
	struct thread *thread;
	enum wait_kind kind;
	bool granted; /* queue_lock */
};

/* Sleep until granted. queue_lock held with interrupts off (flags), as on return. */
static u64 wait_granted(struct spinlock *queue_lock, struct lock_waiter *w, u64 flags)
{
	while (!w->granted) {
		spin_unlock_irqrestore(queue_lock, flags);
		sched_block(); /* wake_pending stays set if the grant came before this line */
		flags = spin_lock_irqsave(queue_lock);
	}
	return flags;
}

static void waiter_enter(struct lock_waiter *w, enum wait_kind kind, struct list *queue,
	u32 *waiting, const void *lock)
{
	*w = (struct lock_waiter){.thread = current_thread(), .kind = kind};
	w->thread->waiting_on = lock;
	w->thread->waiting_name = kind == WAIT_READ ? "lock (read)" : "lock";
	__atomic_add_fetch(waiting, 1, __ATOMIC_SEQ_CST); /* A1 */
	list_add_tail(&w->link, queue);                   /* A2 */
}

static void waiter_leave(struct lock_waiter *w)
{
	w->thread->waiting_on = NULL;
	w->thread->waiting_name = NULL;
}

/* The head of a queue has got the lock. queue_lock held. */
static void waiter_grant(struct lock_waiter *w, u32 *waiting)
{
	list_del(&w->link);
	__atomic_sub_fetch(waiting, 1, __ATOMIC_SEQ_CST);
	w->granted = true;
	sched_wake(w->thread);
}

/* --- mutex ------------------------------------------------------------------------------------------- */

void mutex_init(struct mutex *m, const char *name)
{
	m->owner = NULL;
	m->waiting = 0;
	spin_init(&m->queue_lock, LOCK_WAITQ, name);
	list_init(&m->queue);
}

static bool mutex_take(struct mutex *m, struct thread *t)
{
	struct thread *nobody = NULL;

	return __atomic_compare_exchange_n(
		&m->owner, &nobody, t, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/* A3, B2: the head of the queue becomes the owner, if there is none. queue_lock held. */
static void mutex_grant(struct mutex *m)
{
	struct lock_waiter *w = list_first_entry_or_null(&m->queue, struct lock_waiter, link);

	if (w && mutex_take(m, w->thread))
		waiter_grant(w, &m->waiting);
}

/*
 * mutex_lock - sleep until the mutex is ours.
 *
 *   locks    no spinlock held, interrupts on
 *   Linux    mutex_lock
 */
void mutex_lock(struct mutex *m)
{
	struct lock_waiter w;
	u64 flags;

	ASSERT_RULE(
		"L2", READ_ONCE(m->owner) != current_thread() || !m->owner, "mutex locked twice");
	if (likely(mutex_trylock(m)))
		return;
	flags = spin_lock_irqsave(&m->queue_lock);
	waiter_enter(&w, WAIT_WRITE, &m->queue, &m->waiting, m);
	mutex_grant(m);
	flags = wait_granted(&m->queue_lock, &w, flags);
	spin_unlock_irqrestore(&m->queue_lock, flags);
	waiter_leave(&w);
}

bool mutex_trylock(struct mutex *m)
{
	return !READ_ONCE(m->waiting) && mutex_take(m, current_thread());
}

void mutex_unlock(struct mutex *m)
{
	u64 flags;

	ASSERT_RULE("L2", m->owner == current_thread(),
		"mutex unlocked by a thread that does not own it");
	(void)__atomic_exchange_n(&m->owner, NULL, __ATOMIC_SEQ_CST); /* B1 */
	if (likely(!READ_ONCE(m->waiting)))                           /* B2 */
		return;
	flags = spin_lock_irqsave(&m->queue_lock);
	mutex_grant(m);
	spin_unlock_irqrestore(&m->queue_lock, flags);
}

/* --- rwsem ------------------------------------------------------------------------------------------- */

void rwsem_init(struct rwsem *s, const char *name)
{
	s->state = 0;
	s->waiting = 0;
	s->writer = NULL;
	spin_init(&s->queue_lock, LOCK_WAITQ, name);
	list_init(&s->queue);
}

/* Debug builds: a thread has one mm lock at a time; fork's second one is taken by rwsem_write_trylock(). */
void rwsem_check(struct rwsem *s)
{
	ASSERT_RULE("lock", !this_cpu()->lock_context->mm_locks,
		"%s: this thread holds an mm lock already", s->queue_lock.name);
}

/* One more reader, unless a writer has it. Retries when only the number of readers changed. */
static bool rwsem_take_read(struct rwsem *s)
{
	u32 old = READ_ONCE(s->state);

	do {
		if (old & RWSEM_WRITER)
			return false;
	} while (!__atomic_compare_exchange_n(
		&s->state, &old, old + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
	return true;
}

static bool rwsem_take_write(struct rwsem *s, struct thread *t)
{
	u32 free = 0;

	if (!__atomic_compare_exchange_n(
		    &s->state, &free, RWSEM_WRITER, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		return false;
	WRITE_ONCE(s->writer, t);
	return true;
}

/* A3, B2: hand the lock to the head of the queue, and to the readers behind a reader. queue_lock held. */
static void rwsem_grant(struct rwsem *s)
{
	struct lock_waiter *w;

	while ((w = list_first_entry_or_null(&s->queue, struct lock_waiter, link))) {
		bool taken =
			w->kind == WAIT_READ ? rwsem_take_read(s) : rwsem_take_write(s, w->thread);

		if (!taken)
			return;
		waiter_grant(w, &s->waiting);
	}
}

static void rwsem_lock_slow(struct rwsem *s, enum wait_kind kind)
{
	struct lock_waiter w;
	u64 flags = spin_lock_irqsave(&s->queue_lock);

	ASSERT_RULE("L2", s->writer != current_thread() || !s->writer,
		"%s taken again by its writer", s->queue_lock.name);
	waiter_enter(&w, kind, &s->queue, &s->waiting, s);
	rwsem_grant(s);
	flags = wait_granted(&s->queue_lock, &w, flags);
	spin_unlock_irqrestore(&s->queue_lock, flags);
	waiter_leave(&w);
}

void rwsem_read_lock_slow(struct rwsem *s)
{
	rwsem_lock_slow(s, WAIT_READ);
}

void rwsem_write_lock_slow(struct rwsem *s)
{
	rwsem_lock_slow(s, WAIT_WRITE);
}

/*
 * rwsem_write_lock - sleep until no reader and no other writer has it.
 *
 *   locks    no mm lock and no spinlock held, interrupts on
 *   Linux    down_write
 */
void rwsem_write_lock(struct rwsem *s)
{
	if (CONFIG_CHECKS)
		rwsem_check(s);
	if (unlikely(READ_ONCE(s->waiting) || !rwsem_take_write(s, current_thread())))
		rwsem_write_lock_slow(s);
	this_cpu()->lock_context->mm_locks++;
}

bool rwsem_write_trylock(struct rwsem *s)
{
	if (READ_ONCE(s->waiting) || !rwsem_take_write(s, current_thread()))
		return false;
	this_cpu()->lock_context->mm_locks++;
	return true;
}

/* rwsem_write_unlock - let go; the head of the queue gets it. Linux: up_write */
void rwsem_write_unlock(struct rwsem *s)
{
	u32 old;

	ASSERT_RULE("L2", s->writer == current_thread(),
		"%s unlocked by a thread that is not its writer", s->queue_lock.name);
	this_cpu()->lock_context->mm_locks--;
	WRITE_ONCE(s->writer, NULL);
	old = __atomic_exchange_n(&s->state, 0, __ATOMIC_SEQ_CST); /* B1 */
	ASSERT_RULE("L1", old == RWSEM_WRITER, "%s: a writer let go, state %x", s->queue_lock.name,
		old);
	if (unlikely(READ_ONCE(s->waiting))) /* B2 */
		rwsem_wake(s);
}

/* rwsem_wake - B2: somebody let go while others wait. Linux: rwsem_wake */
void rwsem_wake(struct rwsem *s)
{
	u64 flags = spin_lock_irqsave(&s->queue_lock);

	rwsem_grant(s);
	spin_unlock_irqrestore(&s->queue_lock, flags);
}
