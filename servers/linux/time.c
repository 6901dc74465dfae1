/*
 * time.c - timers, and the calls that ask for the time                                          ring 3
 *
 * Timers stand in one list in the order they expire; the loop receives messages until the first is due. The kernel has the
 * clocks and sleeps; here are alarms and the deadlines of poll and the like. Timers that count CPU time do not exist
 * (ITIMER_VIRTUAL, ITIMER_PROF: -EINVAL), nor do timer_create and timerfd.
 *
 * INVARIANT  T1  the list ascends; a timer is in it exactly while its `when` is not 0
 */
#include "calls.h"
#include "core.h"

#include <sys/time.h>
#include <time.h>

static struct link timers = {&timers, &timers};

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t = {0};

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * NS_PER_SEC + t.tv_nsec;
}

uint64_t time_now(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t time_wall_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

void timer_set(struct timer *t, uint64_t when)
{
	struct link *after = timers.prev;

	if (t->when)
		list_remove(&t->link);
	t->when = when;
	if (!when)
		return;
	while (after != &timers && container_of(after, struct timer, link)->when > when)
		after = after->prev;
	list_append(after->next, &t->link);
}

uint64_t timer_next(void)
{
	return list_empty(&timers) ? DEADLINE_NEVER
				   : container_of(timers.next, struct timer, link)->when;
}

void timer_run(void)
{
	uint64_t now = time_now();

	while (timer_next() <= now) {
		struct timer *t = container_of(timers.next, struct timer, link);

		timer_set(t, 0);
		t->expired(t);
	}
}

/* --- what time it is --------------------------------------------------------------------------------------- */

long sys_time(struct call *c)
{
	int64_t now = time_wall_ns() / NS_PER_SEC;
	long error = c->arg[0] ? copy_out(c, c->arg[0], &now, sizeof(now)) : 0;

	return error ? error : now;
}

long sys_gettimeofday(struct call *c)
{
	uint64_t now = time_wall_ns();
	int64_t tv[2] = {now / NS_PER_SEC, now % NS_PER_SEC / 1000};
	int32_t zone[2] = {0, 0};
	long error = c->arg[0] ? copy_out(c, c->arg[0], tv, sizeof(tv)) : 0;

	if (!error && c->arg[1])
		error = copy_out(c, c->arg[1], zone, sizeof(zone));
	return error;
}

/* The kernel serves the clocks 0 to 7 (CLOCK_BOOTTIME); all of them count in nanoseconds. */
long sys_clock_getres(struct call *c)
{
	struct timespec resolution = {0, 1};

	if (c->arg[0] > CLOCK_BOOTTIME)
		return -EINVAL;
	return c->arg[1] ? copy_out(c, c->arg[1], &resolution, sizeof(resolution)) : 0;
}

/* Nobody sets the clock. */
long sys_clock_settime(struct call *c)
{
	return -EPERM;
}

long sys_settimeofday(struct call *c)
{
	return -EPERM;
}

/* --- ITIMER_REAL ------------------------------------------------------------------------------------------- */

static void alarm_expired(struct timer *t)
{
	struct process *p = container_of(t, struct process, alarm);

	if (p->alarm_interval)
		timer_set(t, time_now() + p->alarm_interval);
	signal_send_process(p, SIGALRM, NULL);
}

static uint64_t alarm_left(const struct process *p)
{
	uint64_t now = time_now();

	if (!p->alarm.when)
		return 0;
	return p->alarm.when > now ? p->alarm.when - now : 1;
}

static void alarm_set(struct process *p, uint64_t ns, uint64_t interval)
{
	p->alarm.expired = alarm_expired;
	p->alarm_interval = interval;
	timer_set(&p->alarm, ns ? time_now() + ns : 0);
}

long sys_alarm(struct call *c)
{
	struct process *p = c->thread->process;
	uint64_t left = alarm_left(p);

	alarm_set(p, (uint32_t)c->arg[0] * NS_PER_SEC, 0);
	left = (left + NS_PER_SEC / 2) / NS_PER_SEC + (left && left < NS_PER_SEC / 2);
	return left;
}

#define TIMER_MAX (1ull << 62)

/* -EINVAL: not a time. What is too far away is cut: nobody will be there. */
static int timeval_ns(const struct timeval *tv, uint64_t *ns)
{
	if (tv->tv_sec < 0 || tv->tv_usec < 0 || tv->tv_usec >= 1000000)
		return -EINVAL;
	*ns = (uint64_t)tv->tv_sec < TIMER_MAX / NS_PER_SEC
		      ? (uint64_t)tv->tv_sec * NS_PER_SEC + (uint64_t)tv->tv_usec * 1000
		      : TIMER_MAX;
	return 0;
}

static struct timeval ns_timeval(uint64_t ns)
{
	return (struct timeval){.tv_sec = ns / NS_PER_SEC, .tv_usec = ns % NS_PER_SEC / 1000};
}

static long copy_out_timer(struct call *c, uint64_t to)
{
	struct process *p = c->thread->process;
	struct itimerval now = {ns_timeval(p->alarm_interval), ns_timeval(alarm_left(p))};

	return copy_out(c, to, &now, sizeof(now));
}

long sys_setitimer(struct call *c)
{
	struct itimerval set = {0};
	uint64_t value, interval;
	long error;

	if (c->arg[0] != ITIMER_REAL)
		return -EINVAL;
	error = c->arg[1] ? copy_in(c, &set, c->arg[1], sizeof(set)) : 0;
	if (error)
		return error;
	if (timeval_ns(&set.it_value, &value) || timeval_ns(&set.it_interval, &interval))
		return -EINVAL;
	error = c->arg[2] ? copy_out_timer(c, c->arg[2]) : 0;
	if (!error)
		alarm_set(c->thread->process, value, value ? interval : 0);
	return error;
}

long sys_getitimer(struct call *c)
{
	return c->arg[0] == ITIMER_REAL ? copy_out_timer(c, c->arg[1]) : -EINVAL;
}
