/*
 * futex.c - sleep until a word of memory is changed by somebody who says so    floor 4, below: waitq.c, uaccess.c
 *
 * The one primitive that thread libraries build their locks from. The word is ring 3's: the kernel reads it
 * when somebody is about to sleep, and never writes it. It knows no locks and no owners.
 *
 * IDEA
 *   key (space, address)
 *   or (memory, offset)  --hash--> bucket: a lock, and those who wait, in the order they came
 *                                     [waiter key A] - [waiter key B] - [waiter key A]
 *   A waiter stands on the stack of its thread: nothing is allocated. Waking takes the first ones of that key
 *   off the list; moving (requeue) gives them another key and another list.
 *
 * NO LOST WAKE-UP
 *   the sleeper                                    the waker
 *     S1  enter the bucket's list                    W1  ring 3 changes the word
 *     S2  read the word: another -> leave            W2  take the bucket's lock, take the waiters of the key
 *     S3  not woken yet -> sched_block()                 off the list: `queued` = false, sched_wake()
 *   S1 and W2 hold the bucket's lock. If W2 comes first, W1 came before S1, so S2 reads what W1 wrote: the
 *   lock's release and acquire order the two. Otherwise W2 finds the waiter on the list. What happens between
 *   S1 and S3 leaves wake_pending, as the head of sched.c shows: S1 clears it first, S3 looks at `queued`,
 *   `expired`, and what is pending for the thread after that.
 *   The word is read with the waiter on the list and no lock held, because the read may fault and sleep. So a
 *   sleeper that finds another value may have been woken meanwhile: then it reports the wake-up, else one that
 *   was meant for somebody would be lost in it.                          A model for SPIN: tests/spin/futex.pml
 *
 * INVARIANTS (futex_check() tests them)
 *   W1  a waiter is on exactly the list of the bucket its key hashes to
 *   W2  w->queued if and only if w is on a list; both change under the lock of the bucket
 *
 * LOCKS     bucket->lock with interrupts on (no interrupt comes here); inside it the run queue's. Two buckets:
 *           by address.
 * LINUX     kernel/futex/{waitwake,requeue}.c; priority inheritance, robust lists and PI requeue are not here.
 */
#include "futex.h"

#include "mm/uaccess.h"
#include "printk.h"
#include "sched.h"
#include "timeout.h"
#include <abi/errno.h>

#define NR_BUCKETS 256

/* Which word: of one space, or of one piece of shared memory; then at is an offset. Compared, never followed. */
struct key {
	const void *space;
	u64 at;
};

struct bucket {
	struct spinlock lock;
	struct list waiters;
};

struct futex_waiter {
	struct list link;      /* bucket->lock */
	bool queued;           /* bucket->lock; read without by its own thread */
	struct key key;        /* bucket->lock */
	struct bucket *bucket; /* where it is queued; changes under both locks */
	u32 mask;              /* (c) */
	struct thread *thread; /* (c) */
};

static struct bucket buckets[NR_BUCKETS];

/* futex_init - empty buckets; once, at start-up. */
void futex_init(void)
{
	for (u32 i = 0; i < NR_BUCKETS; i++) {
		spin_init(&buckets[i].lock, LOCK_FUTEX, "futex");
		list_init(&buckets[i].waiters);
	}
}

static bool nothing_is_shared(struct mm *mm, vaddr_t addr, void **object, u64 *offset)
{
	return false;
}

bool (*futex_shared_key)(
	struct mm *mm, vaddr_t addr, void **object, u64 *offset) = nothing_is_shared;

/* -EINVAL: not a word; -EFAULT: not ring 3's. May sleep. */
static int key_of(struct mm *mm, vaddr_t addr, bool shared, struct key *key)
{
	void *object;
	u64 offset;

	if (addr % sizeof(u32))
		return -EINVAL;
	if (!user_range_ok(addr, sizeof(u32)))
		return -EFAULT;
	*key = (struct key){mm, addr};
	if (shared && futex_shared_key(mm, addr, &object, &offset))
		*key = (struct key){object, offset};
	return 0;
}

static bool key_equal(const struct key *a, const struct key *b)
{
	return a->space == b->space && a->at == b->at;
}

/* Multiplying spreads neighbouring words over all buckets: the top bits of the product depend on all of them. */
static struct bucket *bucket_of(const struct key *key)
{
	u64 mixed = ((u64)key->space >> 4 ^ key->at >> 2) * 0x9e3779b97f4a7c15ul;

	return &buckets[mixed >> 56];
}

_Static_assert(NR_BUCKETS == 1u << (64 - 56), "bucket_of() takes as many bits");

static void waiter_enqueue(struct futex_waiter *w, struct bucket *b)
{
	w->bucket = b;
	w->queued = true;
	list_add_tail(&w->link, &b->waiters);
}

static void waiter_dequeue(struct futex_waiter *w)
{
	list_del(&w->link);
	WRITE_ONCE(w->queued, false);
}

/* W2 for one. Afterwards its thread may leave the frame it stands in: the thread's struct is taken before. */
static void waiter_wake(struct futex_waiter *w)
{
	struct thread *t = w->thread;

	waiter_dequeue(w);
	sched_wake(t);
}

/*
 * The waiter leaves, woken or not. True: it had been woken. It may be moved to another bucket until its lock is
 * had; and who wakes it is done with it only when that lock is free again.
 */
static bool waiter_leave(struct futex_waiter *w)
{
	for (;;) {
		struct bucket *b = READ_ONCE(w->bucket);
		bool queued;

		spin_lock(&b->lock);
		if (b != w->bucket) {
			spin_unlock(&b->lock);
			continue;
		}
		queued = w->queued;
		if (queued)
			waiter_dequeue(w);
		spin_unlock(&b->lock);
		return !queued;
	}
}

/* S1 for the first time and before each look again: what comes from here on leaves wake_pending. */
static void sleep_prepare(struct thread *self)
{
	(void)__atomic_exchange_n(&self->wake_pending, false, __ATOMIC_SEQ_CST);
}

/* S3. Until woken, or a reason to give up. */
static void sleep_while_queued(struct futex_waiter *w, u64 deadline)
{
	struct thread *self = w->thread;
	struct timeout t;

	thread_timeout_start(&t, deadline);
	self->waiting_on = w->bucket;
	self->waiting_name = "futex";
	while (READ_ONCE(w->queued) && !timeout_expired(&t) && !thread_interrupted()) {
		sched_block();
		sleep_prepare(self);
	}
	self->waiting_on = NULL;
	self->waiting_name = NULL;
	timeout_cancel(&t);
}

int futex_wait(vaddr_t addr, u32 value, u32 mask, u64 deadline, bool shared)
{
	struct thread *self = current_thread();
	struct futex_waiter w = {.mask = mask, .thread = self};
	struct bucket *b;
	u32 now;
	int error = mask ? key_of(self->mm, addr, shared, &w.key) : -EINVAL;

	if (error)
		return error;
	b = bucket_of(&w.key);
	sleep_prepare(self);
	spin_lock(&b->lock);
	waiter_enqueue(&w, b);
	spin_unlock(&b->lock);
	error = get_user_u32(&now, (const u32 __user *)addr);
	if (!error && now != value)
		error = -EAGAIN;
	if (!error) {
		sleep_prepare(self); /* the read may have slept, and taken a wake-up for its own */
		sleep_while_queued(&w, deadline);
	}
	if (waiter_leave(&w))
		return 0;
	if (error)
		return error;
	return thread_interrupted() ? -EINTR : -ETIMEDOUT;
}

int futex_wake_mask(struct mm *mm, vaddr_t addr, u32 nr, u32 mask, bool shared)
{
	struct futex_waiter *w, *next;
	struct bucket *b;
	struct key key;
	int woken = 0, error = mask ? key_of(mm, addr, shared, &key) : -EINVAL;

	if (error)
		return error;
	b = bucket_of(&key);
	spin_lock(&b->lock);
	list_for_each_entry_safe (w, next, &b->waiters, link) {
		if ((u32)woken >= nr)
			break;
		if (!key_equal(&w->key, &key) || !(w->mask & mask))
			continue;
		waiter_wake(w);
		woken++;
	}
	spin_unlock(&b->lock);
	return woken;
}

static void lock_two(struct bucket *a, struct bucket *b)
{
	spin_lock(a < b ? &a->lock : &b->lock);
	if (a != b)
		while (!spin_trylock(a < b ? &b->lock : &a->lock))
			cpu_relax();
}

static void unlock_two(struct bucket *a, struct bucket *b)
{
	spin_unlock(&a->lock);
	if (a != b)
		spin_unlock(&b->lock);
}

/* Both locks held. How many were woken or moved. */
static int requeue_locked(struct bucket *from, const struct key *key, u32 nr_wake,
	struct bucket *to, const struct key *key2, u32 nr_move)
{
	struct futex_waiter *w, *next;
	u32 woken = 0, moved = 0;

	list_for_each_entry_safe (w, next, &from->waiters, link) {
		if (!key_equal(&w->key, key))
			continue;
		if (woken < nr_wake) {
			waiter_wake(w);
			woken++;
		} else if (moved < nr_move) {
			list_del(&w->link);
			w->key = *key2;
			WRITE_ONCE(w->bucket, to);
			list_add_tail(&w->link, &to->waiters);
			moved++;
		} else {
			break;
		}
	}
	return (int)(woken + moved);
}

/*
 * futex_requeue - see futex.h. The word is compared before the locks are taken, because the read may fault: a
 * waker that changes it in between changes it for those who come later; those who wait here are woken or moved,
 * which is what the caller wants of them in either case.
 */
int futex_requeue(
	vaddr_t addr, u32 nr_wake, vaddr_t addr2, u32 nr_move, const u32 *compare, bool shared)
{
	struct mm *mm = current_thread()->mm;
	struct key key, key2;
	struct bucket *from, *to;
	u32 now;
	int result = key_of(mm, addr, shared, &key);

	if (!result)
		result = key_of(mm, addr2, shared, &key2);
	if (!result && compare)
		result = get_user_u32(&now, (const u32 __user *)addr);
	if (result)
		return result;
	if (compare && now != *compare)
		return -EAGAIN;
	/* They wait there already, and moving them behind themselves would not end. */
	if (key_equal(&key, &key2))
		nr_move = 0;
	from = bucket_of(&key);
	to = bucket_of(&key2);
	lock_two(from, to);
	result = requeue_locked(from, &key, nr_wake, to, &key2, nr_move);
	unlock_two(from, to);
	return result;
}

/* --- the checker ---------------------------------------------------------------------------------------- */

static bool bucket_check(const struct bucket *b)
{
	const struct futex_waiter *w;

	list_for_each_entry (w, &b->waiters, link) {
		if (w->bucket != b || bucket_of(&w->key) != b) {
			printk("futex_check: W1: a waiter for 0x%lx is in the wrong bucket",
				w->key.at);
			return false;
		}
		if (!w->queued) {
			printk("futex_check: W2: a waiter for 0x%lx is on a list and was woken",
				w->key.at);
			return false;
		}
	}
	return true;
}

/* futex_check - W1, W2. Takes the buckets' locks one after the other. */
bool futex_check(void)
{
	bool ok = true;

	for (u32 i = 0; i < NR_BUCKETS; i++) {
		spin_lock(&buckets[i].lock);
		ok &= bucket_check(&buckets[i]);
		spin_unlock(&buckets[i].lock);
	}
	return ok;
}
