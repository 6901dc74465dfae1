/*
 * sync.c - what a spinlock does when it must wait, and the order of locks.             floor 1
 *
 * The fast paths are in sync.h, the sleeping locks in mutex.c.
 *
 * IDEA
 *   A CPU that waits answers its TLB mailbox meanwhile, so two CPUs that flush each other while one
 *   holds what the other wants both get on. A wait that cannot end is a panic, never a silent hang.
 *
 * INVARIANTS (sync_check_acquire tests them at each acquisition of a debug build)
 *   Y1  a thread takes locks in rising order of their class (enum lock_class, outermost first)
 *   Y2  a lock is released by the thread, or after a switch of threads the CPU, that took it
 *
 * LOCKS     these are they.
 * LINUX     kernel/locking/qspinlock.c is fair (a queue); lockdep learns the order by itself.
 */
#include "sync.h"

#define STUCK_TICKS   (1ul << 38) /* of the TSC: more than a minute on every machine */
#define POLLS_A_CHECK (1u << 12)

static void poll_nothing(void)
{
}

void (*sync_poll)(void) = poll_nothing;

void spin_init(struct spinlock *l, enum lock_class class, const char *name)
{
	*l = (struct spinlock)SPINLOCK_INIT(class, name);
}

/* Panics when this lock was waited for since `since` and nobody can have held it that long. */
static void check_stuck(const struct spinlock *l, u64 *since)
{
	u64 now = rdtsc();

	if (!*since)
		*since = now;
	if (now - *since > STUCK_TICKS)
		panic("lock-stuck", "%s: CPU %u has held it for minutes", l->name,
			READ_ONCE(l->v) - 1);
}

/*
 * spin_lock_slow - the lock is taken: wait for it.
 *
 *   locks    interrupts as the caller has them
 *   Linux    queued_spin_lock_slowpath
 */
void spin_lock_slow(struct spinlock *l)
{
	u64 since = 0;

	if (spin_held(l))
		panic("lock-twice", "%s is already held by this CPU", l->name);
	for (u32 polls = 0;; polls++) {
		u32 free = 0;

		sync_poll();
		sync_pause(polls);
		if (!READ_ONCE(l->v) && __atomic_compare_exchange_n(&l->v, &free, cpu_id() + 1,
						false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return;
		if (polls % POLLS_A_CHECK == POLLS_A_CHECK - 1)
			check_stuck(l, &since);
	}
}

/* sync_check_trylock - a lock was taken without waiting: no order to keep, only to count. */
void sync_check_trylock(struct spinlock *l)
{
	this_cpu()->lock_context->held[l->class]++;
}

/* sync_check_acquire - Y1: may a lock of this class be waited for now? Counts it. */
void sync_check_acquire(struct spinlock *l)
{
	struct lock_context *ctx = this_cpu()->lock_context;

	for (u32 class = l->class; l->class && class < NR_LOCK_CLASSES; class ++)
		if (unlikely(ctx->held[class]))
			panic("Y1", "%s (class %u) wanted while a lock of class %u is held",
				l->name, l->class, class);
	ctx->held[l->class]++;
}

/* sync_check_release - Y2. */
void sync_check_release(struct spinlock *l)
{
	struct lock_context *ctx = this_cpu()->lock_context;

	if (unlikely(!spin_held(l) || !ctx->held[l->class]))
		panic("Y2", "%s (class %u) released but not held here (holder: CPU %d)", l->name,
			l->class, (int)READ_ONCE(l->v) - 1);
	ctx->held[l->class]--;
}

/*
 * sync_may_sleep - does this thread hold no spinlock (known in debug builds only) and no mm lock?
 */
bool sync_may_sleep(void)
{
	const struct lock_context *ctx = this_cpu()->lock_context;

	if (ctx->mm_locks)
		return false;
	for (u32 class = LOCK_TASKS; CONFIG_CHECKS && class < NR_LOCK_CLASSES; class ++)
		if (ctx->held[class])
			return false;
	return true;
}
