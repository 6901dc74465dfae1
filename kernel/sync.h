/*
 * sync.h - spinlocks, and the *types* of the sleeping locks (mutex.c has their functions).  floor 1
 *
 * A spinlock holds 0 or 1 + the number of the CPU that has it, so "do I hold it" is exact. Kernel
 * code is not preemptible: a holder never sleeps and never loses its CPU. Which locks need
 * interrupts off: those an interrupt handler takes too (spin_lock_irqsave); the mm locks never do.
 *
 * Every loop that waits with interrupts off calls sync_poll(), which answers this CPU's TLB
 * mailbox, so two CPUs that wait for each other make progress.
 *
 * ORDER  outermost first; a debug build checks it at every acquisition (sync_check):
 */
#ifndef SYNC_H
#define SYNC_H

#include "config.h"
#include "lib/list.h"
#include "lib/types.h"
#include "panic.h"
#include "x86/cpu.h"

enum lock_class {
	LOCK_MM = 1,    /* mm->lock, sleeping */
	LOCK_MUTEX,     /* sleeping mutexes: khugepaged, report */
	LOCK_TASKS,     /* the table of tasks */
	LOCK_MM_LIST,   /* the list of all spaces */
	LOCK_THP_LIST,  /* khugepaged's list of spaces */
	LOCK_MEMORY,    /* memory objects */
	LOCK_ANON,      /* struct anon */
	LOCK_PT,        /* mm->pt_lock */
	LOCK_HUGE_MAPS, /* counts of a huge page that is mapped by pmds and by ptes */
	LOCK_ANON_LIFE, /* the last reference of an anon object */
	LOCK_DEFERRED,  /* the deferred-split queue */
	LOCK_LRU,       /* the LRU lists */
	LOCK_ZERO, /* the huge zero page's life; pages cleared in advance; the reserve of 1 GiB */
	LOCK_KMALLOC,   /* kmalloc caches */
	LOCK_SESSION,   /* what a session has written */
	LOCK_ZONE,      /* zone.lock: innermost of memory */
	LOCK_ENDPOINTS, /* the list of all endpoints */
	LOCK_MACHINE,   /* who reads the UART, who starts programs */
	LOCK_ENDPOINT,  /* endpoint->lock */
	LOCK_HANDLES,   /* a table of handles */
	LOCK_FUTEX,     /* who waits for a word of memory */
	LOCK_WAITQ,     /* wait queues */
	LOCK_RUNQ,      /* run queues */
	LOCK_TIMEOUT,   /* timeouts */
	LOCK_CONSOLE,   /* printk's ring and the UART */
	NR_LOCK_CLASSES
};

struct spinlock {
	u32 v; /* 0, or 1 + id of the CPU that holds it */
	u8 class;
	const char *name;
};

#define SPINLOCK_INIT(cls, nm)                                                                     \
	{                                                                                          \
		.v = 0, .class = (cls), .name = (nm)                                               \
	}

/* What one thread holds, for sync_check and for "no mm lock while touching user memory". */
struct lock_context {
	u32 held[NR_LOCK_CLASSES]; /* how many of each class; kept by debug builds */
	u32 mm_locks;              /* mm->locks held, any mode; always kept */
};

void spin_init(struct spinlock *l, enum lock_class class, const char *name);
void spin_lock_slow(struct spinlock *l);
void sync_check_acquire(struct spinlock *l); /* debug: the order above */
void sync_check_trylock(struct spinlock *l);
void sync_check_release(struct spinlock *l);
bool sync_may_sleep(void);

/*
 * Set by x86/tlb.c: answers this CPU's mailbox. Called in every wait loop, cheap when it is empty.
 */
extern void (*sync_poll)(void);

/*
 * sync_pause - one turn of a wait loop, `turn` counting from 0: pauses, twice as many from turn to turn. What
 * comes soon is seen soon; a long wait is spent in pauses, not in looking at a word that others write.
 */
#define SYNC_LONGEST_PAUSE 5 /* 2^n pauses */
static inline void sync_pause(u32 turn)
{
	for (u32 left = 1u << MIN(turn, (u32)SYNC_LONGEST_PAUSE); left > 0; left--)
		cpu_relax();
}

static __always_inline bool spin_trylock(struct spinlock *l)
{
	u32 free = 0;
	if (!__atomic_compare_exchange_n(
		    &l->v, &free, cpu_id() + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return false;
	if (CONFIG_CHECKS)
		sync_check_trylock(l);
	return true;
}

static __always_inline void spin_lock(struct spinlock *l)
{
	u32 free = 0;
	if (CONFIG_CHECKS)
		sync_check_acquire(l);
	if (unlikely(!__atomic_compare_exchange_n(
		    &l->v, &free, cpu_id() + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)))
		spin_lock_slow(l);
}

static __always_inline void spin_unlock(struct spinlock *l)
{
	if (CONFIG_CHECKS)
		sync_check_release(l);
	__atomic_store_n(&l->v, 0, __ATOMIC_RELEASE);
}

static __always_inline bool spin_held(const struct spinlock *l)
{
	return READ_ONCE(l->v) == cpu_id() + 1;
}

static __always_inline u64 spin_lock_irqsave(struct spinlock *l)
{
	u64 flags = irq_save();
	spin_lock(l);
	return flags;
}

static __always_inline void spin_unlock_irqrestore(struct spinlock *l, u64 flags)
{
	spin_unlock(l);
	irq_restore(flags);
}

/*
 * A sleeping read-write lock. Readers count up in state; a writer sets the top bit; waiters set
 * `waiting`, which sends every newcomer to the slow path, so a waiting writer is not starved by
 * readers.
 */
#define RWSEM_WRITER 0x80000000u
struct rwsem {
	u32 state;
	u32 waiting;                /* (q) threads in queue */
	struct spinlock queue_lock; /* q */
	struct list queue;          /* (q) FIFO of waiters */
	struct thread *writer;      /* who has it for writing; for asserts */
};

struct mutex {
	struct thread *owner;
	u32 waiting;
	struct spinlock queue_lock;
	struct list queue;
};

static inline bool rwsem_is_locked(const struct rwsem *s)
{
	return READ_ONCE(s->state) != 0;
}
static inline bool rwsem_is_write_locked(const struct rwsem *s)
{
	return READ_ONCE(s->state) & RWSEM_WRITER && READ_ONCE(s->writer) == current_thread();
}

#define ASSERT_HELD(l)    ASSERT_RULE("lock", spin_held(l), "%s is not held", (l)->name)
#define ASSERT_RW_HELD(s) ASSERT_RULE("lock", rwsem_is_locked(s), "mm lock is not held")
#define ASSERT_RW_WRITE(s)                                                                         \
	ASSERT_RULE("lock", rwsem_is_write_locked(s), "mm lock is not held for writing")

#endif
