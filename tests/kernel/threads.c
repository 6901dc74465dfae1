/*
 * threads.c - who runs, who waits: sched.c, timeout.c, mutex.c                         self-tests
 *
 * Threads of a test count in one struct and leave by decrementing `alive`; the test waits for that.
 */
#include "ktest.h"
#include "lib/string.h"
#include "mutex.h"
#include "sched.h"
#include "timeout.h"
#include "watchdog.h"
#include "x86/timer.h"

#define LIMIT_NS (60 * NS_PER_SEC) /* far more than the slowest emulator needs */

/* --- helpers -------------------------------------------------------------------------------- */

static void wake_queue(void *q)
{
	waitq_wake_all(q);
}

/* Wait until *count is n, or the limit. */
static bool wait_count(struct waitq *q, const u32 *count, u32 n)
{
	waitq_wait_until(q, READ_ONCE(*count) == n, time_ns() + LIMIT_NS, "ktest");
	return READ_ONCE(*count) == n;
}

static bool start(const char *name, void (*fn)(void *), void *arg)
{
	struct thread *t = thread_create(name, fn, arg, NULL, NULL);

	if (t)
		sched_start(t);
	return t;
}

/* The last thing a thread of a test does. */
static void leave(struct waitq *q, u32 *alive)
{
	__atomic_sub_fetch(alive, 1, __ATOMIC_SEQ_CST);
	waitq_wake_all(q);
}

/* --- wait queues, time ------------------------------------------------------------------------ */

KTEST(sched, wake_before_block)
{
	struct waitq q;
	struct waiter w = {0};

	waitq_init(&q, "ktest");
	waitq_prepare(&q, &w, "ktest");
	waitq_wake_one(&q);
	KT_EXPECT(ctx, !w.queued);
	KT_EXPECT(ctx, current_thread()->wake_pending);
	sched_block(); /* returns at once, or the test hangs */
	KT_EXPECT(ctx, !current_thread()->wake_pending);
	waitq_finish(&q, &w);
	KT_EXPECT(ctx, !current_thread()->waiting_on);
}

KTEST(sched, sleep_is_long_enough)
{
	for (u64 ms = 1; ms <= 16; ms *= 2) {
		u64 before = time_ns();

		sched_sleep_until(before + ms * NS_PER_MS);
		KT_EXPECT(ctx, time_ns() - before >= ms * NS_PER_MS);
		KT_EXPECT(ctx, time_ns() - before < LIMIT_NS);
	}
}

static u32 timeout_order[3];
static u32 timeouts_done;
static struct waitq timeout_queue;

static void note_timeout(void *arg)
{
	timeout_order[timeouts_done++] = (u32)(u64)arg;
	wake_queue(&timeout_queue);
}

KTEST(timeout, in_order)
{
	struct timeout t[3], cancelled;
	u64 now = time_ns();

	waitq_init(&timeout_queue, "ktest");
	timeouts_done = 0;
	timeout_add(&t[0], now + 6 * NS_PER_MS, note_timeout, (void *)2);
	timeout_add(&t[1], now + 2 * NS_PER_MS, note_timeout, (void *)0);
	timeout_add(&t[2], now + 4 * NS_PER_MS, note_timeout, (void *)1);
	timeout_add(&cancelled, now + 3 * NS_PER_MS, note_timeout, (void *)9);
	timeout_cancel(&cancelled);
	KT_EXPECT(ctx, wait_count(&timeout_queue, &timeouts_done, 3));
	KT_EXPECT(ctx, time_ns() >= now + 6 * NS_PER_MS);
	for (u32 i = 0; i < 3; i++) {
		timeout_cancel(&t[i]);
		KT_EXPECT(ctx, timeout_order[i] == i && timeout_expired(&t[i]));
	}
	KT_EXPECT(ctx, !timeout_expired(&cancelled));
}

KTEST(timeout, in_the_past)
{
	u64 before = time_ns();

	sched_sleep_until(0);
	sched_sleep_until(before);
	KT_EXPECT(ctx, time_ns() - before < LIMIT_NS);
}

/* --- threads ----------------------------------------------------------------------------------- */

#define SPINNERS 6

struct spin_test {
	struct waitq q;
	u32 alive;
	bool stop;
	u64 turns[SPINNERS];
	u32 cpus_seen; /* bit n: a spinner ran on CPU n */
	u32 next;
};

static void spinner(void *arg)
{
	struct spin_test *s = arg;
	u32 me = __atomic_fetch_add(&s->next, 1, __ATOMIC_RELAXED);

	while (!READ_ONCE(s->stop)) {
		__atomic_fetch_or(&s->cpus_seen, 1u << cpu_id(), __ATOMIC_RELAXED);
		s->turns[me]++;
		preempt_point();
	}
	leave(&s->q, &s->alive);
}

static struct spin_test *spin_begin(void)
{
	static struct spin_test s;

	s = (struct spin_test){0};
	waitq_init(&s.q, "ktest");
	for (u32 i = 0; i < SPINNERS; i++) {
		if (start("ktest spinner", spinner, &s))
			s.alive++;
	}
	return &s;
}

static bool spin_end(struct spin_test *s)
{
	WRITE_ONCE(s->stop, true);
	return wait_count(&s->q, &s->alive, 0);
}

static bool all_ran(const struct spin_test *s)
{
	for (u32 i = 0; i < SPINNERS; i++) {
		if (!READ_ONCE(s->turns[i]))
			return false;
	}
	return true;
}

/* More spinners than CPUs: slices end, and everybody has a turn; on every CPU. */
KTEST(sched, slices_and_spreading)
{
	struct spin_test *s = spin_begin();
	u64 deadline = time_ns() + LIMIT_NS;
	u32 cpus = (1u << nr_cpus) - 1;

	KT_EXPECT(ctx, s->alive == SPINNERS);
	while ((!all_ran(s) || (nr_cpus <= 4 && READ_ONCE(s->cpus_seen) != cpus)) &&
		time_ns() < deadline)
		sched_sleep_until(time_ns() + NS_PER_MS);
	KT_EXPECT(ctx, all_ran(s));
	KT_EXPECT(ctx, nr_cpus > 4 || s->cpus_seen == cpus);
	KT_EXPECT(ctx, spin_end(s));
}

struct stopped {
	struct spin_test *s;
	u64 before, after;
	bool checked;
};

static u64 sum_turns(const struct spin_test *s)
{
	u64 sum = 0;

	for (u32 i = 0; i < SPINNERS; i++)
		sum += READ_ONCE(s->turns[i]);
	return sum;
}

static void look_while_stopped(void *arg)
{
	struct stopped *st = arg;

	st->before = sum_turns(st->s);
	for (u64 end = time_ns() + 2 * NS_PER_MS; time_ns() < end;)
		cpu_relax();
	st->after = sum_turns(st->s);
	st->checked = sched_check();
}

KTEST(sched, stop_others)
{
	struct stopped st = {.s = spin_begin()};

	for (u32 i = 0; i < 20; i++) {
		sched_stop_others(look_while_stopped, &st);
		KT_EXPECT(ctx, st.before == st.after);
		KT_EXPECT(ctx, st.checked);
		sched_sleep_until(time_ns() + NS_PER_MS);
	}
	KT_EXPECT(ctx, spin_end(st.s));
}

struct many {
	struct waitq q;
	u32 alive, ran;
};

static void many_stopper_fn(void *arg)
{
	__atomic_add_fetch(&((struct many *)arg)->ran, 1, __ATOMIC_RELAXED);
}

#define STOPS 20

static void many_stopper(void *arg)
{
	struct many *m = arg;

	for (u32 i = 0; i < STOPS; i++)
		sched_stop_others(many_stopper_fn, m);
	leave(&m->q, &m->alive);
}

/* Several threads want to stop the others at once: all get their turn. */
KTEST(sched, stop_others_at_once)
{
	static struct many m; /* static, as in all tests: threads that are late still find it */

	m = (struct many){0};
	waitq_init(&m.q, "ktest");
	for (u32 i = 0; i < 4; i++)
		__atomic_add_fetch(
			&m.alive, start("ktest stopper", many_stopper, &m), __ATOMIC_SEQ_CST);
	KT_EXPECT(ctx, wait_count(&m.q, &m.alive, 0));
	KT_EXPECT(ctx, m.ran == 4 * STOPS);
}

/* Two that compute wait for one CPU and may run on another, too, which is idle; so are CPUs that are not for them. */
static struct bound {
	struct waitq q;
	u32 alive;
	u64 end, cpus, seen; /* cpus: where they may run; seen: where they did */
} bound;

static void bound_member(void *arg)
{
	(void)arg;
	while (time_ns() < bound.end && READ_ONCE(bound.seen) != bound.cpus) {
		__atomic_fetch_or(&bound.seen, 1ul << cpu_id(), __ATOMIC_SEQ_CST);
		preempt_point();
	}
	leave(&bound.q, &bound.alive);
}

static void bound_starter(void *arg)
{
	struct thread *t[2];

	(void)arg;
	sched_sleep_until(time_ns() + 5 * NS_PER_MS); /* the others are idle */
	for (u32 i = 0; i < 2; i++) {
		t[i] = thread_create("ktest bound", bound_member, NULL, NULL, NULL);
		if (!t[i])
			continue;
		__atomic_add_fetch(&bound.alive, 1, __ATOMIC_SEQ_CST);
		sched_start_on(t[i], nr_cpus - 2);
	}
	for (u32 i = 0; i < 2; i++)
		if (t[i])
			WRITE_ONCE(t[i]->allowed, bound.cpus);
	/* Its own end would interrupt all CPUs, since a stack is given back: then each looks for work. */
	wait_count(&bound.q, &bound.alive, 1);
	leave(&bound.q, &bound.alive);
}

/* Idle CPUs that are not allowed do not hide the one that is. */
KTEST(sched, bound_threads_spread)
{
	struct thread *t;

	if (nr_cpus < 4)
		KT_SKIP(ctx, "too few CPUs");
	t = thread_create("ktest bound", bound_starter, NULL, NULL, NULL);
	KT_REQUIRE(ctx, t);
	bound = (struct bound){
		.alive = 1, .end = time_ns() + 10 * NS_PER_SEC, .cpus = 3ul << (nr_cpus - 2)};
	waitq_init(&bound.q, "ktest bound");
	sched_start_on(t, 0);
	KT_EXPECT(ctx, wait_count(&bound.q, &bound.alive, 0));
	KT_EXPECT(ctx, bound.seen == bound.cpus);
}

/* sched_on_each_cpu() while one CPU is in a long loop of the kernel: what of another, which has done its part? */
static struct each {
	struct waitq q;
	u32 alive, here;
	bool in_loop, worked, asked_again, seen;
} each;

static void each_fn(void)
{
	if (cpu_id() == (each.here + 1) % nr_cpus)
		WRITE_ONCE(each.worked, true);
}

static void each_looper(void *arg)
{
	u64 end = time_ns() + LIMIT_NS;

	(void)arg;
	WRITE_ONCE(each.in_loop, true);
	while (!READ_ONCE(each.seen) && time_ns() < end)
		cpu_relax();
	leave(&each.q, &each.alive);
}

static void each_worker(void *arg)
{
	u64 end = time_ns() + LIMIT_NS;

	(void)arg;
	while (!READ_ONCE(each.worked) && time_ns() < end)
		sched_preempt();
	each.asked_again = true;
	for (unsigned i = 0; i < 3 && each.asked_again; i++) { /* a tick may ask, too */
		sched_preempt();
		each.asked_again = READ_ONCE(this_cpu()->need_resched);
	}
	WRITE_ONCE(each.seen, true);
	leave(&each.q, &each.alive);
}

static bool each_start(void (*fn)(void *), u32 cpu)
{
	struct thread *t = thread_create("ktest each", fn, NULL, NULL, NULL);

	if (t)
		sched_start_on(t, cpu);
	return t;
}

/* It is asked for its scheduler no more: its programs run on in ring 3 however long the others take. */
KTEST(sched, each_cpu_for_itself)
{
	if (nr_cpus < 3)
		KT_SKIP(ctx, "too few CPUs");
	each = (struct each){.alive = 2, .here = cpu_id()};
	waitq_init(&each.q, "ktest each");
	KT_REQUIRE(ctx, each_start(each_looper, (each.here + 2) % nr_cpus));
	KT_REQUIRE(ctx, each_start(each_worker, (each.here + 1) % nr_cpus));
	while (!READ_ONCE(each.in_loop)) /* and stay on this CPU */
		cpu_relax();
	sched_on_each_cpu(each_fn);
	KT_EXPECT(ctx, wait_count(&each.q, &each.alive, 0));
	KT_EXPECT(ctx, each.worked && !each.asked_again);
}

static void many_thread(void *arg)
{
	struct many *m = arg;

	__atomic_add_fetch(&m->ran, 1, __ATOMIC_RELAXED);
	sched_yield();
	leave(&m->q, &m->alive);
}

KTEST(sched, many_threads)
{
	static struct many m;

	m = (struct many){0};
	waitq_init(&m.q, "ktest");
	for (u32 i = 0; i < 200; i++)
		__atomic_add_fetch(&m.alive, start("ktest", many_thread, &m), __ATOMIC_SEQ_CST);
	KT_EXPECT(ctx, wait_count(&m.q, &m.alive, 0));
	KT_EXPECT(ctx, m.ran == 200);
}

/* A wakes B, B wakes A: ten thousand times over the same two queues; a lost wake-up ends in the limit. */
struct ping {
	struct waitq q[2];
	u32 turn, alive;
	bool late;
};

#define PINGS 10000

static void ping_side(struct ping *p, u32 me)
{
	for (u32 i = 0; i < PINGS && !p->late; i++) {
		waitq_wait_until(
			&p->q[me], READ_ONCE(p->turn) % 2 == me, time_ns() + LIMIT_NS, "ktest");
		if (READ_ONCE(p->turn) % 2 != me)
			p->late = true;
		__atomic_add_fetch(&p->turn, 1, __ATOMIC_SEQ_CST);
		waitq_wake_one(&p->q[!me]);
	}
}

static void ping_thread(void *arg)
{
	struct ping *p = arg;

	ping_side(p, 1);
	__atomic_sub_fetch(&p->alive, 1, __ATOMIC_SEQ_CST);
	waitq_wake_all(&p->q[0]);
}

KTEST(sched, no_lost_wake_up)
{
	static struct ping p;

	p = (struct ping){.alive = 1};
	waitq_init(&p.q[0], "ktest ping");
	waitq_init(&p.q[1], "ktest pong");
	KT_REQUIRE(ctx, start("ktest pong", ping_thread, &p));
	ping_side(&p, 0);
	KT_EXPECT(ctx, wait_count(&p.q[0], &p.alive, 0));
	KT_EXPECT(ctx, !p.late && p.turn == 2 * PINGS);
}

/* --- who is next: all on one CPU, so that its run queue decides ------------------------------------ */

#define CROWD    8
#define WAKE_UPS 20

struct crowd {
	struct waitq q[2], done;
	u32 alive, next;
	bool stop;
	u32 running;    /* the last member that computed */
	u32 turns;      /* how often that changed */
	u32 had[CROWD]; /* turns of each */
	bool sleeping;  /* the sleeper is at q[0] */
	u32 told, told_at, worst;
	u32 ball;
};

static bool start_in_crowd(struct crowd *c, void (*fn)(void *))
{
	struct thread *t = thread_create("ktest crowd", fn, c, NULL, NULL);

	if (!t)
		return false;
	__atomic_add_fetch(&c->alive, 1, __ATOMIC_SEQ_CST);
	sched_start_on(t, nr_cpus - 1);
	return true;
}

/* Computes. The first one wakes the sleeper at the beginning of each of its turns. */
static void crowd_member(void *arg)
{
	struct crowd *c = arg;
	u32 me = c->next++;

	while (!READ_ONCE(c->stop)) {
		if (c->running != me) {
			c->running = me;
			c->turns++;
			c->had[me]++;
			if (me == 0 && c->sleeping) {
				c->sleeping = false;
				c->told_at = c->turns;
				c->told++;
				waitq_wake_one(&c->q[0]);
			}
		}
		preempt_point();
	}
	leave(&c->done, &c->alive);
}

/* How many turns of others passed between its wake-up and its own turn? */
static void crowd_sleeper(void *arg)
{
	struct crowd *c = arg;

	for (u32 i = 1; i <= WAKE_UPS; i++) {
		c->sleeping = true;
		waitq_wait_until(&c->q[0], READ_ONCE(c->told) == i, time_ns() + LIMIT_NS, "ktest");
		c->worst = MAX(c->worst, c->turns - c->told_at);
	}
	WRITE_ONCE(c->stop, true);
	leave(&c->done, &c->alive);
}

static void crowd_begin(struct ktest_ctx *ctx, struct crowd *c)
{
	*c = (struct crowd){.running = CROWD};
	waitq_init(&c->q[0], "ktest crowd");
	waitq_init(&c->q[1], "ktest crowd");
	waitq_init(&c->done, "ktest crowd");
	for (u32 i = 0; i < CROWD; i++)
		KT_EXPECT(ctx, start_in_crowd(c, crowd_member));
}

/* Who slept does not wait for all who compute. Two: others that were woken may have had a slice before. */
KTEST(sched, woken_before_ready)
{
	static struct crowd c;

	crowd_begin(ctx, &c);
	KT_EXPECT(ctx, start_in_crowd(&c, crowd_sleeper));
	KT_EXPECT(ctx, wait_count(&c.done, &c.alive, 0));
	KT_EXPECT(ctx, c.told == WAKE_UPS);
	KT_EXPECT(ctx, c.worst <= 2);
}

/* One of two that wake each other: one of them is always woken. */
static void crowd_player(void *arg)
{
	struct crowd *c = arg;
	u32 me = c->next++ % 2;

	while (!READ_ONCE(c->stop)) {
		waitq_wait(&c->q[me], c->ball % 2 == me || READ_ONCE(c->stop), "ktest");
		c->ball++;
		waitq_wake_one(&c->q[!me]);
	}
	waitq_wake_all(&c->q[!me]);
	leave(&c->done, &c->alive);
}

static bool crowd_had(const struct crowd *c, u32 turns)
{
	for (u32 i = 0; i < CROWD; i++) {
		if (READ_ONCE(c->had[i]) < turns)
			return false;
	}
	return true;
}

/* Who computes has his turns although somebody is woken all the time. */
KTEST(sched, woken_starve_nobody)
{
	static struct crowd c;
	u64 deadline = time_ns() + LIMIT_NS;
	u32 ball;

	crowd_begin(ctx, &c);
	while (READ_ONCE(c.next) < CROWD && time_ns() < deadline)
		sched_sleep_until(time_ns() + NS_PER_MS);
	for (u32 i = 0; i < 2; i++)
		KT_EXPECT(ctx, start_in_crowd(&c, crowd_player));
	while (!READ_ONCE(c.ball) && time_ns() < deadline)
		sched_sleep_until(time_ns() + NS_PER_MS);
	ball = READ_ONCE(c.ball);
	for (u32 i = 0; i < CROWD; i++)
		WRITE_ONCE(c.had[i], 0);
	while ((!crowd_had(&c, 3) || READ_ONCE(c.ball) < ball + 100) && time_ns() < deadline)
		sched_sleep_until(time_ns() + NS_PER_MS);
	KT_EXPECT(ctx, crowd_had(&c, 3));
	KT_EXPECT(ctx, c.ball >= ball + 100);
	WRITE_ONCE(c.stop, true);
	waitq_wake_all(&c.q[0]);
	waitq_wake_all(&c.q[1]);
	KT_EXPECT(ctx, wait_count(&c.done, &c.alive, 0));
}

/* --- locks --------------------------------------------------------------------------------------- */

struct lock_test {
	struct mutex mutex;
	struct rwsem rwsem;
	struct waitq q;
	u32 alive, next;
	u32 readers, writers; /* inside, by their own count */
	u64 value, copy;
	bool broken;
	u32 order[4], nr_order;
};

#define LOCKERS 5
#define ROUNDS  2000

static void mutex_worker(void *arg)
{
	struct lock_test *l = arg;

	for (u32 i = 0; i < ROUNDS; i++) {
		mutex_lock(&l->mutex);
		l->value++;
		if (i % 16 == 0)
			sched_yield(); /* with the lock held: the others queue up */
		l->copy++;
		if (l->copy != l->value)
			l->broken = true;
		mutex_unlock(&l->mutex);
	}
	leave(&l->q, &l->alive);
}

static void lock_test_init(struct lock_test *l)
{
	*l = (struct lock_test){0};
	mutex_init(&l->mutex, "ktest mutex");
	rwsem_init(&l->rwsem, "ktest rwsem");
	waitq_init(&l->q, "ktest");
}

KTEST(mutex, excludes)
{
	static struct lock_test l;

	lock_test_init(&l);
	for (u32 i = 0; i < LOCKERS; i++)
		__atomic_add_fetch(
			&l.alive, start("ktest mutex", mutex_worker, &l), __ATOMIC_SEQ_CST);
	KT_EXPECT(ctx, wait_count(&l.q, &l.alive, 0));
	KT_EXPECT(ctx, !l.broken && l.value == LOCKERS * ROUNDS);
	KT_EXPECT(ctx, !l.mutex.owner && !l.mutex.waiting);
}

static void queue_worker(void *arg)
{
	struct lock_test *l = arg;
	u32 me = __atomic_fetch_add(&l->next, 1, __ATOMIC_SEQ_CST);

	mutex_lock(&l->mutex);
	l->order[l->nr_order++] = me;
	mutex_unlock(&l->mutex);
	leave(&l->q, &l->alive);
}

/* Whoever came first is served first, and nobody passes the queue. */
KTEST(mutex, first_come_first_served)
{
	static struct lock_test l;

	lock_test_init(&l);
	mutex_lock(&l.mutex);
	for (u32 i = 0; i < 4; i++) {
		l.alive++;
		KT_EXPECT(ctx, start("ktest queue", queue_worker, &l));
		for (u64 end = time_ns() + LIMIT_NS;
			READ_ONCE(l.mutex.waiting) != i + 1 && time_ns() < end;)
			sched_sleep_until(time_ns() + NS_PER_MS);
	}
	KT_EXPECT(ctx, !mutex_trylock(&l.mutex));
	mutex_unlock(&l.mutex);
	KT_EXPECT(ctx, wait_count(&l.q, &l.alive, 0));
	for (u32 i = 0; i < 4; i++)
		KT_EXPECT(ctx, l.order[i] == i);
}

static void rwsem_read_round(struct lock_test *l, u32 i)
{
	rwsem_read_lock(&l->rwsem);
	__atomic_add_fetch(&l->readers, 1, __ATOMIC_SEQ_CST);
	if (READ_ONCE(l->writers) || l->value != l->copy)
		l->broken = true;
	if (i % 8 == 0)
		sched_yield();
	__atomic_sub_fetch(&l->readers, 1, __ATOMIC_SEQ_CST);
	rwsem_read_unlock(&l->rwsem);
}

static void rwsem_write_round(struct lock_test *l, u32 i)
{
	rwsem_write_lock(&l->rwsem);
	if (__atomic_add_fetch(&l->writers, 1, __ATOMIC_SEQ_CST) != 1 || READ_ONCE(l->readers))
		l->broken = true;
	l->value++;
	if (i % 8 == 0)
		sched_yield();
	l->copy++;
	__atomic_sub_fetch(&l->writers, 1, __ATOMIC_SEQ_CST);
	rwsem_write_unlock(&l->rwsem);
}

static void rwsem_worker(void *arg)
{
	struct lock_test *l = arg;
	u32 me = __atomic_fetch_add(&l->next, 1, __ATOMIC_SEQ_CST);

	for (u32 i = 0; i < ROUNDS; i++) {
		if ((i + me) % 4 == 0)
			rwsem_write_round(l, i);
		else
			rwsem_read_round(l, i);
	}
	leave(&l->q, &l->alive);
}

KTEST(rwsem, readers_or_one_writer)
{
	static struct lock_test l;

	lock_test_init(&l);
	for (u32 i = 0; i < LOCKERS; i++)
		__atomic_add_fetch(
			&l.alive, start("ktest rwsem", rwsem_worker, &l), __ATOMIC_SEQ_CST);
	KT_EXPECT(ctx, wait_count(&l.q, &l.alive, 0));
	KT_EXPECT(ctx, !l.broken && l.value == LOCKERS * ROUNDS / 4);
	KT_EXPECT(ctx, !l.rwsem.state && !l.rwsem.waiting && !l.rwsem.writer);
}

static void rwsem_writer(void *arg)
{
	struct lock_test *l = arg;

	rwsem_write_lock(&l->rwsem);
	l->order[l->nr_order++] = 1;
	rwsem_write_unlock(&l->rwsem);
	leave(&l->q, &l->alive);
}

static void rwsem_reader(void *arg)
{
	struct lock_test *l = arg;

	rwsem_read_lock(&l->rwsem);
	l->order[__atomic_fetch_add(&l->nr_order, 1, __ATOMIC_SEQ_CST)] = 2;
	rwsem_read_unlock(&l->rwsem);
	leave(&l->q, &l->alive);
}

static bool wait_waiting(const struct rwsem *s, u32 n)
{
	for (u64 end = time_ns() + LIMIT_NS; READ_ONCE(s->waiting) != n && time_ns() < end;)
		sched_sleep_until(time_ns() + NS_PER_MS);
	return READ_ONCE(s->waiting) == n;
}

/* One reader has it, another comes and goes. */
KTEST(rwsem, readers_share)
{
	static struct lock_test l;

	lock_test_init(&l);
	rwsem_read_lock(&l.rwsem);
	l.alive = 1;
	KT_EXPECT(ctx, start("ktest reader", rwsem_reader, &l) && wait_count(&l.q, &l.alive, 0));
	KT_EXPECT(ctx, l.nr_order == 1 && l.rwsem.state == 1);
	rwsem_read_unlock(&l.rwsem);
}

/* A reader has it, a writer waits: a new reader waits behind the writer. */
KTEST(rwsem, a_waiting_writer_is_not_passed)
{
	static struct lock_test l;

	lock_test_init(&l);
	rwsem_read_lock(&l.rwsem);
	l.alive = 3;
	KT_EXPECT(ctx, start("ktest writer", rwsem_writer, &l) && wait_waiting(&l.rwsem, 1));
	KT_EXPECT(ctx, start("ktest reader", rwsem_reader, &l) && wait_waiting(&l.rwsem, 2));
	KT_EXPECT(ctx, start("ktest reader", rwsem_reader, &l) && wait_waiting(&l.rwsem, 3));
	KT_EXPECT(ctx, !rwsem_read_trylock(&l.rwsem) && !rwsem_write_trylock(&l.rwsem));
	rwsem_read_unlock(&l.rwsem);
	KT_EXPECT(ctx, wait_count(&l.q, &l.alive, 0));
	KT_EXPECT(ctx, l.order[0] == 1 && l.order[1] == 2 && l.order[2] == 2);
}

KTEST(rwsem, try_locks)
{
	static struct lock_test l;

	lock_test_init(&l);
	KT_EXPECT(ctx, rwsem_write_trylock(&l.rwsem));
	KT_EXPECT(ctx, rwsem_is_write_locked(&l.rwsem));
	KT_EXPECT(ctx, !rwsem_read_trylock(&l.rwsem) && !rwsem_write_trylock(&l.rwsem));
	rwsem_write_unlock(&l.rwsem);
	KT_EXPECT(ctx, rwsem_read_trylock(&l.rwsem));
	KT_EXPECT(ctx, rwsem_is_locked(&l.rwsem) && !rwsem_is_write_locked(&l.rwsem));
	KT_EXPECT(ctx, !rwsem_write_trylock(&l.rwsem));
	rwsem_read_unlock(&l.rwsem);
	KT_EXPECT(ctx, !rwsem_is_locked(&l.rwsem));
}

/* --- the watchdog -------------------------------------------------------------------------------- */

#define LOOK_NS (40 * NS_PER_MS)

/* It has written another line within a minute? It is awaited without giving way, or asleep. */
static bool reported(u64 before, bool asleep)
{
	for (u64 end = time_ns() + LIMIT_NS; watchdog_reports() == before && time_ns() < end;) {
		if (asleep)
			sched_sleep_until(time_ns() + LOOK_NS);
		else
			cpu_relax();
	}
	return watchdog_reports() != before;
}

/* Who waits for a lock that its holder keeps is named, once. */
KTEST(watchdog, names_who_waits_for_a_lock)
{
	static struct lock_test l;
	u64 before = watchdog_reports();

	lock_test_init(&l);
	l.alive = 1;
	rwsem_read_lock(&l.rwsem);
	watchdog_start(LOOK_NS);
	KT_EXPECT(ctx, start("ktest writer", rwsem_writer, &l) && wait_waiting(&l.rwsem, 1));
	KT_EXPECT(ctx, reported(before, true));
	sched_sleep_until(time_ns() + 2 * (WATCHDOG_CHECKS + 1) * LOOK_NS);
	KT_EXPECT(ctx, watchdog_reports() == before + 1);
	watchdog_start(WATCHDOG_NS);
	rwsem_read_unlock(&l.rwsem);
	KT_EXPECT(ctx, wait_count(&l.q, &l.alive, 0));
}

static void leave_at_once(void *arg)
{
	struct lock_test *l = arg;

	leave(&l->q, &l->alive);
}

/* A loop in the kernel keeps its CPU from a thread that is ready: both are named. */
KTEST(watchdog, names_who_gets_no_cpu)
{
	static struct lock_test l;
	u64 before = watchdog_reports();
	struct thread *t = thread_create("ktest late", leave_at_once, &l, NULL, NULL);

	KT_REQUIRE(ctx, t);
	lock_test_init(&l);
	l.alive = 1;
	watchdog_start(LOOK_NS);
	sched_start_on(t, cpu_id());
	KT_EXPECT(ctx, reported(before, false));
	KT_EXPECT(ctx, reported(before + 1, false));
	watchdog_start(WATCHDOG_NS);
	KT_EXPECT(ctx, wait_count(&l.q, &l.alive, 0));
}

static void wait_for_nobody(void *arg)
{
	struct lock_test *l = arg;

	waitq_wait(&l->q, READ_ONCE(l->nr_order), "task");
	leave(&l->q, &l->alive);
}

/* All CPUs halted, and one waits for another thread of the kernel: the wake-up was lost. */
KTEST(watchdog, names_who_sleeps_among_sleepers)
{
	static struct lock_test l;
	u64 before = watchdog_reports();

	lock_test_init(&l);
	l.alive = 1;
	KT_EXPECT(ctx, start("ktest forgotten", wait_for_nobody, &l));
	watchdog_start(5 * LOOK_NS);
	waitq_wait_until(&l.q, watchdog_reports() != before, time_ns() + 40 * LOOK_NS, "ktest");
	KT_EXPECT(ctx, watchdog_reports() != before);
	watchdog_start(WATCHDOG_NS);
	WRITE_ONCE(l.nr_order, 1);
	waitq_wake_all(&l.q);
	KT_EXPECT(ctx, wait_count(&l.q, &l.alive, 0));
}
