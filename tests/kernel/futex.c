/*
 * futex.c - sleeping on a word of memory: futex.c                                              self-tests
 *
 * Waiters are threads of the lab, in ring 0 with the test's space loaded.
 */
#include "futex.h"
#include "ktest.h"
#include "lab.h"
#include "mm/memory.h"
#include "mm/mmap.h"
#include "mm/uaccess.h"
#include "sched.h"
#include "x86/timer.h"
#include <abi/errno.h>

#define WORD  LAB_AREA
#define OTHER (LAB_AREA + 64)
#define MANY  8

struct sleeper {
	struct lab_thread lab;
	vaddr_t addr;
	u32 value, mask;
	u64 deadline;
	int result;
	bool done;
};

static void sleep_on_word(void *arg)
{
	struct sleeper *s = arg;

	s->result = futex_wait(s->addr, s->value, s->mask, s->deadline, true);
	WRITE_ONCE(s->done, true);
}

static bool begin(struct sleeper *s, struct mm *mm, vaddr_t addr, u32 mask)
{
	*s = (struct sleeper){.addr = addr, .mask = mask, .deadline = TIME_NEVER};
	return lab_start(&s->lab, mm, LAB_ANY_CPU, sleep_on_word, s);
}

static u32 nr_done(const struct sleeper *s, u32 nr)
{
	u32 n = 0;

	for (u32 i = 0; i < nr; i++)
		n += READ_ONCE(s[i].done);
	return n;
}

static bool wait_done(const struct sleeper *s, u32 nr, u32 want)
{
	for (u64 end = time_ns() + LAB_LIMIT_NS; nr_done(s, nr) != want && time_ns() < end;)
		sched_sleep_until(time_ns() + NS_PER_MS);
	return nr_done(s, nr) == want;
}

/* Until all of them sleep: a futex has no number to look at but what a waker reaches. */
static bool wait_asleep(const struct sleeper *s, u32 nr)
{
	for (u64 end = time_ns() + LAB_LIMIT_NS; time_ns() < end;
		sched_sleep_until(time_ns() + NS_PER_MS)) {
		u32 asleep = 0;

		for (u32 i = 0; i < nr; i++) {
			const struct thread *t = READ_ONCE(s[i].lab.task->thread);

			asleep += t && READ_ONCE(t->state) == THREAD_BLOCKED &&
				  READ_ONCE(t->waiting_name);
		}
		if (asleep == nr)
			return true;
	}
	return false;
}

static struct mm *begin_space(void)
{
	struct mm *mm = lab_space();

	if (mm && lab_area(mm, LAB_AREA, PAGE_SIZE) && lab_fill(mm, LAB_AREA, PAGE_SIZE)) {
		*lab_word(mm, WORD) = *lab_word(mm, OTHER) = 0;
		return mm;
	}
	lab_space_end(mm);
	return NULL;
}

KTEST(futex, what_it_refuses)
{
	struct mm *mm = begin_space();
	struct sleeper s;

	KT_REQUIRE(ctx, mm);
	KT_EXPECT(ctx, begin(&s, mm, WORD + 2, FUTEX_ANY) && lab_join(&s.lab) == 0);
	KT_EXPECT(ctx, s.result == -EINVAL);
	KT_EXPECT(ctx, begin(&s, mm, WORD, 0) && lab_join(&s.lab) == 0 && s.result == -EINVAL);
	KT_EXPECT(ctx, begin(&s, mm, LAB_ELSEWHERE, FUTEX_ANY) && lab_join(&s.lab) == 0);
	KT_EXPECT(ctx, s.result == -EFAULT);
	KT_EXPECT(ctx, begin(&s, mm, USER_END, FUTEX_ANY) && lab_join(&s.lab) == 0);
	KT_EXPECT(ctx, s.result == -EFAULT);
	*lab_word(mm, WORD) = 1;
	KT_EXPECT(ctx,
		begin(&s, mm, WORD, FUTEX_ANY) && lab_join(&s.lab) == 0 && s.result == -EAGAIN);
	KT_EXPECT(ctx,
		futex_wake(mm, WORD + 1, 1, true) == -EINVAL && futex_wake(mm, WORD, 1, true) == 0);
	KT_EXPECT(ctx, futex_wake_mask(mm, WORD, 1, 0, true) == -EINVAL && futex_check());
	lab_space_end(mm);
}

KTEST(futex, times_out)
{
	struct mm *mm = begin_space();
	struct sleeper s = {.addr = WORD, .mask = FUTEX_ANY};
	u64 before = time_ns();

	KT_REQUIRE(ctx, mm);
	s.deadline = before + 5 * NS_PER_MS;
	KT_EXPECT(ctx,
		lab_start(&s.lab, mm, LAB_ANY_CPU, sleep_on_word, &s) && lab_join(&s.lab) == 0);
	KT_EXPECT(ctx, s.result == -ETIMEDOUT && time_ns() >= before + 5 * NS_PER_MS);
	KT_EXPECT(ctx, futex_wake(mm, WORD, 1, true) == 0 && futex_check());
	lab_space_end(mm);
}

/* As many as asked for, the longest waiting first, and only those whose mask meets. */
KTEST(futex, wakes_in_order)
{
	struct mm *mm = begin_space();
	struct sleeper s[4];

	KT_REQUIRE(ctx, mm);
	for (u32 i = 0; i < 4; i++) /* one after the other, so that their order is known */
		KT_EXPECT(ctx, begin(&s[i], mm, WORD, i < 2 ? 1 : 2) && wait_asleep(s, i + 1));
	KT_EXPECT(ctx, futex_check() && futex_wake(mm, OTHER, 9, true) == 0);
	KT_EXPECT(ctx, futex_wake_mask(mm, WORD, 9, 4, true) == 0);
	KT_EXPECT(
		ctx, futex_wake_mask(mm, WORD, 1, 2, true) == 1 && wait_done(s, 4, 1) && s[2].done);
	KT_EXPECT(ctx, futex_wake(mm, WORD, 2, true) == 2 && wait_done(s, 4, 3) && !s[3].done);
	KT_EXPECT(ctx, futex_wake(mm, WORD, 9, true) == 1 && wait_done(s, 4, 4));
	for (u32 i = 0; i < 4; i++)
		KT_EXPECT(ctx, lab_join(&s[i].lab) == 0 && s[i].result == 0);
	lab_space_end(mm);
}

/* Another space, the same address: another word. */
KTEST(futex, spaces_differ)
{
	struct mm *mm = begin_space(), *other = begin_space();
	struct sleeper s;

	KT_REQUIRE(ctx, mm && other);
	KT_EXPECT(ctx, begin(&s, mm, WORD, FUTEX_ANY) && wait_asleep(&s, 1));
	KT_EXPECT(ctx, futex_wake(other, WORD, 1, true) == 0);
	KT_EXPECT(
		ctx, futex_wake(mm, WORD, 1, true) == 1 && lab_join(&s.lab) == 0 && s.result == 0);
	lab_space_end(mm);
	lab_space_end(other);
}

/* One word of shared memory, at another address in each of two spaces. */
KTEST(futex, shared_memory)
{
	struct mm *mm = lab_space(), *other = lab_space();
	struct memory *m = memory_create(2 * PAGE_SIZE);
	struct sleeper s;

	KT_REQUIRE(ctx, mm && other && m);
	KT_EXPECT(ctx, mmap_map_object(mm, m, 0, LAB_AREA, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_FIXED, true, "ktest") == (s64)LAB_AREA);
	KT_EXPECT(ctx, mmap_map_object(other, m, PAGE_SIZE, LAB_ELSEWHERE, PAGE_SIZE,
			       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, true,
			       "ktest") == (s64)LAB_ELSEWHERE);
	KT_EXPECT(ctx, begin(&s, mm, LAB_AREA + PAGE_SIZE + 8, FUTEX_ANY) && wait_asleep(&s, 1));
	KT_EXPECT(ctx, futex_wake(other, LAB_ELSEWHERE, 1, true) == 0);
	KT_EXPECT(ctx, futex_wake(other, LAB_ELSEWHERE + 8, 1, false) == 0 && futex_check());
	KT_EXPECT(ctx, futex_wake(other, LAB_ELSEWHERE + 8, 1, true) == 1);
	KT_EXPECT(ctx, lab_join(&s.lab) == 0 && s.result == 0);
	lab_space_end(mm);
	lab_space_end(other);
	object_put(&m->object);
}

struct mover {
	struct lab_thread lab;
	u32 compare;
	int result[3];
};

static void move(void *arg)
{
	struct mover *m = arg;
	u32 another = m->compare + 1;

	m->result[0] = futex_requeue(WORD, 1, OTHER, 2, &another, true);
	m->result[1] = futex_requeue(WORD, 1, OTHER, 2, &m->compare, true);
	m->result[2] = futex_requeue(OTHER, 0, OTHER, 9, NULL, true);
}

KTEST(futex, requeue)
{
	struct mm *mm = begin_space();
	struct sleeper s[4];
	struct mover m = {.compare = 0};

	KT_REQUIRE(ctx, mm);
	for (u32 i = 0; i < 4; i++)
		KT_EXPECT(ctx, begin(&s[i], mm, WORD, FUTEX_ANY) && wait_asleep(s, i + 1));
	KT_EXPECT(ctx, lab_start(&m.lab, mm, LAB_ANY_CPU, move, &m) && lab_join(&m.lab) == 0);
	KT_EXPECT(ctx, m.result[0] == -EAGAIN && m.result[1] == 3 && m.result[2] == 0);
	KT_EXPECT(ctx, wait_done(s, 4, 1) && s[0].done && futex_check());
	KT_EXPECT(ctx, futex_wake(mm, WORD, 9, true) == 1); /* the fourth has stayed */
	KT_EXPECT(ctx, futex_wake(mm, OTHER, 9, true) == 2 && wait_done(s, 4, 4));
	for (u32 i = 0; i < 4; i++)
		KT_EXPECT(ctx, lab_join(&s[i].lab) == 0 && s[i].result == 0);
	lab_space_end(mm);
}

KTEST(futex, kill_ends_the_wait)
{
	struct mm *mm = begin_space();
	struct sleeper s;

	KT_REQUIRE(ctx, mm);
	KT_EXPECT(ctx, begin(&s, mm, WORD, FUTEX_ANY) && wait_asleep(&s, 1));
	KT_EXPECT(ctx, task_kill(s.lab.task, LAB_KILLED) && lab_join(&s.lab) == LAB_KILLED);
	KT_EXPECT(ctx, s.result == -EINTR && futex_wake(mm, WORD, 1, true) == 0);
	lab_space_end(mm);
}

/* --- a lock made of it: whoever lost a wake-up would sleep for ever -------------------------------------- */

#define ROUNDS 2000

struct lock_user {
	struct lab_thread lab;
	u64 *counter;
	bool late;
};

static u32 exchange(u32 value)
{
	u32 *word = (u32 *)lab_word(current_thread()->mm, WORD);

	return __atomic_exchange_n(word, value, __ATOMIC_SEQ_CST);
}

/* 0 free, 1 taken, 2 taken and somebody waits: the lock every textbook makes of a futex. */
static void lock_often(void *arg)
{
	struct lock_user *u = arg;
	struct mm *mm = current_thread()->mm;
	u32 *word = (u32 *)lab_word(mm, WORD);

	for (u32 i = 0; i < ROUNDS && !u->late; i++) {
		u32 free = 0;

		if (!__atomic_compare_exchange_n(
			    word, &free, 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			while (exchange(2))
				u->late |= futex_wait(WORD, 2, FUTEX_ANY, time_ns() + LAB_LIMIT_NS,
						   false) == -ETIMEDOUT;
		++*u->counter;
		if (i % 16 == 0)
			sched_yield();
		if (exchange(0) == 2)
			futex_wake(mm, WORD, 1, false);
	}
}

KTEST(futex, a_lock_made_of_it)
{
	struct mm *mm = begin_space();
	struct lock_user u[MANY];
	u64 counter = 0;

	KT_REQUIRE(ctx, mm);
	for (u32 i = 0; i < MANY; i++) {
		u[i] = (struct lock_user){.counter = &counter};
		KT_EXPECT(ctx, lab_start(&u[i].lab, mm, LAB_ANY_CPU, lock_often, &u[i]));
	}
	for (u32 i = 0; i < MANY; i++)
		KT_EXPECT(ctx, lab_join(&u[i].lab) == 0 && !u[i].late);
	KT_EXPECT(ctx, counter == (u64)MANY * ROUNDS && futex_check());
	lab_space_end(mm);
}
