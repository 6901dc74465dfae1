/*
 * ipc.c - endpoints, calls, events, handles: ipc.c, handle.c, native_ipc.c                    self-tests
 *
 * The actors are threads of the lab, tasks of their own in one empty space. Two of them run in ring 3 and
 * make the calls as a program does.
 */
#include "ipc.h"
#include "lab.h"
#include "lib/string.h"
#include "mm/kmalloc.h"
#include "mm/mmap.h"
#include "native.h"
#include "printk.h"
#include "sched.h"
#include "timeout.h"
#include "x86/switch.h"
#include "x86/timer.h"
#include <abi/errno.h>

#define SOON_NS (20 * NS_PER_MS)
#define RECEIVE (RIGHT_RECEIVE | RIGHT_SEND | RIGHT_DUPLICATE)

/* --- helpers -------------------------------------------------------------------------------- */

static struct ipc_thread *self(void)
{
	return &current_thread()->ipc;
}

static u64 soon(void)
{
	return time_ns() + SOON_NS;
}

/* One endpoint, and a table that holds it open. */
struct stage {
	struct mm *mm;
	struct endpoint *ep;
	struct handle_table table;
	int handle;
};

static bool stage_open(struct stage *s)
{
	*s = (struct stage){.mm = lab_space(), .ep = endpoint_create()};
	handle_table_init(&s->table);
	if (s->ep)
		s->handle = handle_install(&s->table, &s->ep->object, RECEIVE, 0, 0);
	return s->mm && s->handle > 0;
}

static void stage_close(struct stage *s)
{
	handle_table_release(&s->table);
	if (s->ep)
		object_put(&s->ep->object);
	lab_space_end(s->mm);
}

static void check_now(void *arg)
{
	*(bool *)arg = ipc_check() && sched_check();
}

static bool healthy(void)
{
	bool ok = false;

	sched_stop_others(check_now, &ok);
	return ok;
}

/* A client: calls with `label` until its part is done, or the time for it is up. */
struct client {
	struct lab_thread thread;
	struct endpoint *ep;
	u64 label, deadline;
	u32 rounds, calls, right; /* how many at most; how many it made; and were answered right */
	int status;               /* of the last */
	struct message answer;
};

static u64 mix(u64 label, u32 round)
{
	return (label << 32 | round) * 0x9e3779b97f4a7c15ull;
}

static void client_run(void *arg)
{
	struct client *c = arg;
	struct lab_race race = lab_race_begin(c->rounds, LAB_RACE_NS);

	for (u32 i = 0; i < READ_ONCE(c->rounds) && lab_race_goes_on(&race, i); i++) {
		struct message m = {.badge = c->label,
			.label = c->label,
			.word[0] = mix(c->label, i),
			.word[5] = i};

		c->status = ipc_call(c->ep, &m, NULL, 0, c->deadline, true);
		c->right += !c->status && m.label == c->label + 1 &&
			    m.word[0] == ~mix(c->label, i) && m.word[5] == i && !m.badge &&
			    !m.token;
		c->answer = m;
		c->calls++;
	}
}

static bool client_start(struct client *c, struct stage *s, u64 label, u32 rounds, u32 cpu)
{
	*c = (struct client){
		.ep = s->ep, .label = label, .rounds = rounds, .deadline = DEADLINE_NEVER};
	return lab_start(&c->thread, s->mm, cpu, client_run, c);
}

static bool wait_state(const struct client *c, enum ipc_state state)
{
	u64 deadline = time_ns() + LAB_LIMIT_NS;

	while (READ_ONCE(c->thread.task->thread->ipc.state) != state && time_ns() < deadline)
		sched_yield();
	return c->thread.task->thread->ipc.state == state;
}

/* The answer to what was just received. */
static void answer_make(void)
{
	self()->message.label++;
	self()->message.word[0] = ~self()->message.word[0];
}

/* A server: answers `rounds` messages, or until it is ended, then leaves. Its own table knows it as the receiver. */
struct server {
	struct lab_thread thread;
	struct endpoint *ep;
	u32 rounds, served;
	int status;
};

static void server_run(void *arg)
{
	struct server *s = arg;

	self()->handles = current_handles();
	s->status = ipc_receive(s->ep, DEADLINE_NEVER);
	while (!s->status && ++s->served < s->rounds) {
		answer_make();
		s->status = ipc_reply_receive(s->ep, DEADLINE_NEVER);
	}
	if (!s->status) {
		answer_make();
		s->status = ipc_reply(s->ep);
	}
}

static bool server_start(struct server *v, struct stage *s, u32 rounds, u32 cpu)
{
	*v = (struct server){.ep = s->ep, .rounds = rounds};
	return lab_start(&v->thread, s->mm, cpu, server_run, v);
}

#define ALWAYS (~0u)

/* Ends one whose clients have ended: it waits for the next. */
static int server_end(struct server *v)
{
	task_kill(v->thread.task, LAB_KILLED);
	return lab_join(&v->thread);
}

/* --- calls ---------------------------------------------------------------------------------- */

static void round_trips(struct ktest_ctx *ctx, u32 server_cpu, u32 client_cpu, u32 rounds)
{
	struct stage s;
	struct server server;
	struct client client;

	KT_REQUIRE(ctx, stage_open(&s));
	KT_EXPECT(ctx, server_start(&server, &s, ALWAYS, server_cpu));
	KT_EXPECT(ctx, client_start(&client, &s, 5, rounds, client_cpu));
	lab_join(&client.thread);
	KT_EXPECT(ctx, server_end(&server) == LAB_KILLED && server.status == -EINTR);
	KT_EXPECT(ctx, client.calls >= rounds / 100 && client.status == 0);
	KT_EXPECT(ctx, client.right == client.calls && server.served == client.calls);
	stage_close(&s);
}

KTEST(ipc, one_cpu)
{
	round_trips(ctx, 0, 0, 2000);
}

KTEST(ipc, two_cpus)
{
	if (nr_cpus < 2)
		KT_SKIP(ctx, "one processor");
	round_trips(ctx, 0, 1, 2000);
	round_trips(ctx, 1, 0, 2000);
}

KTEST(ipc, any_cpu)
{
	round_trips(ctx, LAB_ANY_CPU, LAB_ANY_CPU, 2000);
	round_trips(ctx, 0, LAB_ANY_CPU, 2000);
}

#define MANY 6

KTEST(ipc, many_clients_many_servers)
{
	struct stage s;
	struct server server[MANY];
	struct client client[MANY];
	u32 calls = 0, served = 0;

	KT_REQUIRE(ctx, stage_open(&s));
	for (u32 i = 0; i < MANY; i++) {
		KT_EXPECT(ctx, server_start(&server[i], &s, ALWAYS, LAB_ANY_CPU));
		KT_EXPECT(ctx, client_start(&client[i], &s, 10 + i, 1000, LAB_ANY_CPU));
	}
	KT_EXPECT(ctx, healthy());
	for (u32 i = 0; i < MANY; i++) {
		lab_join(&client[i].thread);
		KT_EXPECT(ctx, client[i].calls >= 10 && client[i].right == client[i].calls);
		calls += client[i].calls;
	}
	for (u32 i = 0; i < MANY; i++) {
		KT_EXPECT(ctx, server_end(&server[i]) == LAB_KILLED);
		served += server[i].served;
	}
	KT_EXPECT(ctx, served == calls);
	KT_EXPECT(ctx, healthy());
	stage_close(&s);
}

KTEST(ipc, first_come_first_served)
{
	struct stage s;
	struct client client[MANY];

	KT_REQUIRE(ctx, stage_open(&s));
	for (u32 i = 0; i < MANY; i++) {
		KT_EXPECT(ctx, client_start(&client[i], &s, i, 1, LAB_ANY_CPU));
		KT_EXPECT(ctx, wait_state(&client[i], IPC_QUEUED));
	}
	KT_EXPECT(ctx, healthy());
	for (u32 i = 0; i < MANY; i++) {
		KT_EXPECT(ctx, ipc_receive(s.ep, soon()) == 0);
		KT_EXPECT(ctx, self()->message.label == i && self()->message.badge == i);
		answer_make();
		KT_EXPECT(ctx, ipc_reply(s.ep) == 0);
	}
	for (u32 i = 0; i < MANY; i++) {
		lab_join(&client[i].thread);
		KT_EXPECT(ctx, client[i].right == 1);
	}
	stage_close(&s);
}

/* Answers come in another order than messages; each caller gets its own. */
KTEST(ipc, answers_in_any_order)
{
	struct stage s;
	struct client client[MANY];
	struct message m[MANY];

	KT_REQUIRE(ctx, stage_open(&s));
	for (u32 i = 0; i < MANY; i++)
		KT_EXPECT(ctx, client_start(&client[i], &s, i, 1, LAB_ANY_CPU));
	for (u32 i = 0; i < MANY; i++) {
		KT_EXPECT(ctx, ipc_receive(s.ep, time_ns() + LAB_LIMIT_NS) == 0);
		m[i] = self()->message;
	}
	for (u32 i = MANY; i-- > 0;) {
		self()->message = m[i];
		answer_make();
		KT_EXPECT(ctx, ipc_reply(s.ep) == 0);
		self()->message = m[i];
		KT_EXPECT(ctx, ipc_reply(s.ep) == -ESRCH);
	}
	for (u32 i = 0; i < MANY; i++) {
		lab_join(&client[i].thread);
		KT_EXPECT(ctx, client[i].right == 1);
	}
	stage_close(&s);
}

KTEST(ipc, deadlines)
{
	struct stage s;
	struct message m = {0};
	struct client client;
	u64 before = time_ns();

	KT_REQUIRE(ctx, stage_open(&s));
	KT_EXPECT(ctx, ipc_call(s.ep, &m, NULL, 0, soon(), true) == -ETIMEDOUT);
	KT_EXPECT(ctx, ipc_receive(s.ep, soon()) == -ETIMEDOUT);
	KT_EXPECT(ctx, time_ns() - before >= 2 * SOON_NS);
	KT_EXPECT(ctx, ipc_call(s.ep, &m, NULL, 0, 0, true) == -ETIMEDOUT);
	KT_EXPECT(ctx, ipc_receive(s.ep, 0) == -ETIMEDOUT);

	/* received, and the answer comes too late */
	client = (struct client){.ep = s.ep, .rounds = 1, .deadline = soon()};
	KT_EXPECT(ctx, lab_start(&client.thread, s.mm, LAB_ANY_CPU, client_run, &client));
	KT_EXPECT(ctx, ipc_receive(s.ep, DEADLINE_NEVER) == 0);
	lab_join(&client.thread);
	KT_EXPECT(ctx, client.status == -ETIMEDOUT);
	KT_EXPECT(ctx, ipc_reply(s.ep) == -ESRCH);
	KT_EXPECT(ctx, healthy());
	stage_close(&s);
}

KTEST(ipc, tokens)
{
	struct stage s, other;
	struct client client;
	struct message m;

	KT_REQUIRE(ctx, stage_open(&s) && stage_open(&other));
	self()->message = (struct message){.token = 1};
	KT_EXPECT(ctx, ipc_reply(s.ep) == -ESRCH);
	KT_EXPECT(ctx, client_start(&client, &s, 0, 1, LAB_ANY_CPU));
	KT_EXPECT(ctx, ipc_receive(s.ep, DEADLINE_NEVER) == 0);
	m = self()->message;
	for (u32 i = 0; i < 3 * ENDPOINT_BUCKETS; i++) {
		self()->message.token = m.token + 1 + i;
		KT_EXPECT(ctx, ipc_reply(s.ep) == -ESRCH);
	}
	self()->message = m;
	KT_EXPECT(ctx, ipc_reply(other.ep) == -ESRCH);
	KT_EXPECT(ctx, !ipc_caller(other.ep, m.token) && !ipc_caller(s.ep, 0));
	answer_make();
	KT_EXPECT(ctx, ipc_reply(s.ep) == 0);
	lab_join(&client.thread);
	KT_EXPECT(ctx, client.right == 1);
	stage_close(&other);
	stage_close(&s);
}

/* --- death ---------------------------------------------------------------------------------- */

KTEST(ipc, a_caller_dies)
{
	struct stage s;
	struct client client;

	KT_REQUIRE(ctx, stage_open(&s));
	KT_EXPECT(ctx, client_start(&client, &s, 1, 1, LAB_ANY_CPU));
	KT_EXPECT(ctx, wait_state(&client, IPC_QUEUED));
	task_kill(client.thread.task, LAB_KILLED);
	lab_join(&client.thread);
	KT_EXPECT(ctx, client.status == -EINTR);
	KT_EXPECT(ctx, ipc_receive(s.ep, 0) == -ETIMEDOUT);

	KT_EXPECT(ctx, client_start(&client, &s, 1, 1, LAB_ANY_CPU));
	KT_EXPECT(ctx, ipc_receive(s.ep, DEADLINE_NEVER) == 0);
	task_kill(client.thread.task, LAB_KILLED);
	lab_join(&client.thread);
	KT_EXPECT(ctx, client.status == -EINTR);
	KT_EXPECT(ctx, ipc_reply(s.ep) == -ESRCH);
	KT_EXPECT(ctx, healthy());
	stage_close(&s);
}

KTEST(ipc, a_receiver_dies)
{
	struct stage s;
	struct server server;

	KT_REQUIRE(ctx, stage_open(&s));
	KT_EXPECT(ctx, server_start(&server, &s, 1, LAB_ANY_CPU));
	sched_sleep_until(soon());
	task_kill(server.thread.task, LAB_KILLED);
	lab_join(&server.thread);
	KT_EXPECT(ctx, server.status == -EINTR && list_empty(&s.ep->receivers));
	stage_close(&s);
}

static void receive_and_leave(void *arg)
{
	struct server *v = arg;

	self()->handles = current_handles();
	v->status = handle_install(current_handles(), &v->ep->object, RECEIVE, 0, 0);
	v->served = ipc_receive(v->ep, DEADLINE_NEVER) == 0;
}

/* What the server had received is lost, what is queued waits for the next one. */
KTEST(ipc, a_server_dies)
{
	struct stage s;
	struct server first = {0}, next;
	struct client received, queued;

	KT_REQUIRE(ctx, stage_open(&s));
	KT_EXPECT(ctx, client_start(&received, &s, 1, 1, LAB_ANY_CPU));
	KT_EXPECT(ctx, wait_state(&received, IPC_QUEUED));
	KT_EXPECT(ctx, client_start(&queued, &s, 2, 1, LAB_ANY_CPU));
	KT_EXPECT(ctx, wait_state(&queued, IPC_QUEUED));
	first.ep = s.ep;
	KT_EXPECT(ctx, lab_start(&first.thread, s.mm, LAB_ANY_CPU, receive_and_leave, &first));
	lab_join(&first.thread);
	lab_join(&received.thread);
	KT_EXPECT(ctx, first.served && first.status > 0 && received.status == -EPIPE);
	KT_EXPECT(ctx, wait_state(&queued, IPC_QUEUED));
	KT_EXPECT(ctx, server_start(&next, &s, 1, LAB_ANY_CPU));
	lab_join(&queued.thread);
	lab_join(&next.thread);
	KT_EXPECT(ctx, queued.right == 1);
	KT_EXPECT(ctx, healthy());
	stage_close(&s);
}

KTEST(ipc, an_endpoint_dies)
{
	struct stage s;
	struct client received, queued;
	struct server server;
	struct message m = {0};

	KT_REQUIRE(ctx, stage_open(&s));
	KT_EXPECT(ctx, client_start(&received, &s, 1, 1, LAB_ANY_CPU));
	KT_EXPECT(ctx, ipc_receive(s.ep, DEADLINE_NEVER) == 0);
	KT_EXPECT(ctx, client_start(&queued, &s, 2, 1, LAB_ANY_CPU));
	KT_EXPECT(ctx, wait_state(&queued, IPC_QUEUED));
	KT_EXPECT(ctx, handle_close(&s.table, s.handle) == 0);
	lab_join(&received.thread);
	lab_join(&queued.thread);
	KT_EXPECT(ctx, received.status == -EPIPE && queued.status == -EPIPE);
	KT_EXPECT(ctx, ipc_reply(s.ep) == -ESRCH);
	KT_EXPECT(ctx, ipc_call(s.ep, &m, NULL, 0, DEADLINE_NEVER, true) == -EPIPE);
	KT_EXPECT(ctx, ipc_receive(s.ep, DEADLINE_NEVER) == -EPIPE);
	stage_close(&s);

	KT_REQUIRE(ctx, stage_open(&s));
	KT_EXPECT(ctx, server_start(&server, &s, 1, LAB_ANY_CPU));
	sched_sleep_until(soon());
	KT_EXPECT(ctx, handle_close(&s.table, s.handle) == 0);
	lab_join(&server.thread);
	KT_EXPECT(ctx, server.status == -EPIPE);
	stage_close(&s);
}

/* --- events, notifications -------------------------------------------------------------------- */

struct note {
	struct event event;
	u64 label;
	u32 taken;
};

static void note_take(struct event *e, struct message *m)
{
	m->label = container_of(e, struct note, event)->label;
}

static void note_taken(struct event *e)
{
	container_of(e, struct note, event)->taken++;
}

KTEST(ipc, events)
{
	struct note a = {{.take = note_take, .taken = note_taken}, 100, 0};
	struct note b = {{.take = note_take}, 101, 0}, late = a, cancelled = a;
	struct stage s;
	struct client client;

	KT_REQUIRE(ctx, stage_open(&s));
	KT_EXPECT(ctx, client_start(&client, &s, 1, 1, LAB_ANY_CPU));
	KT_EXPECT(ctx, wait_state(&client, IPC_QUEUED));
	KT_EXPECT(ctx, event_post(s.ep, &a.event) && event_post(s.ep, &b.event) &&
			       event_post(s.ep, &cancelled.event));
	KT_EXPECT(ctx, event_cancel(s.ep, &cancelled.event));
	KT_EXPECT(ctx, !event_cancel(s.ep, &cancelled.event) && !cancelled.taken);
	KT_EXPECT(ctx, ipc_receive(s.ep, 0) == 0 && self()->message.label == 100 && a.taken == 1);
	KT_EXPECT(ctx, !self()->message.token && !self()->message.badge);
	KT_EXPECT(ctx, ipc_receive(s.ep, 0) == 0 && self()->message.label == 101);
	KT_EXPECT(ctx, ipc_receive(s.ep, 0) == 0 && self()->message.label == 1);
	answer_make();
	KT_EXPECT(ctx, ipc_reply(s.ep) == 0);
	lab_join(&client.thread);
	KT_EXPECT(ctx, event_post(s.ep, &late.event));
	KT_EXPECT(ctx, handle_close(&s.table, s.handle) == 0);
	KT_EXPECT(ctx, late.taken == 1 && !late.event.queued);
	KT_EXPECT(ctx, !event_post(s.ep, &late.event));
	stage_close(&s);
}

static void signal_three(void *arg)
{
	notification_signal(arg, 1);
	notification_signal(arg, 4);
	notification_signal(arg, 1);
}

/* From the timer's interrupt: to a thread that waits, and to one that comes later. */
KTEST(ipc, notification)
{
	struct stage s;
	struct notification *n;
	struct timeout t;
	u64 bits = 0;

	KT_REQUIRE(ctx, stage_open(&s));
	n = notification_create(s.ep);
	KT_REQUIRE(ctx, n);
	timeout_add(&t, soon(), signal_three, n);
	while (bits != 5 && ipc_receive(s.ep, time_ns() + LAB_LIMIT_NS) == 0) {
		KT_EXPECT(ctx, self()->message.label == MESSAGE_NOTIFICATION);
		bits |= self()->message.word[0];
	}
	timeout_cancel(&t);
	KT_EXPECT(ctx, bits == 5);
	signal_three(n);
	KT_EXPECT(ctx, ipc_receive(s.ep, 0) == 0 && self()->message.word[0] == 5);
	KT_EXPECT(ctx, ipc_receive(s.ep, 0) == -ETIMEDOUT);
	notification_signal(n, 8);
	object_put(&n->object); /* queued, and gone */
	KT_EXPECT(ctx, ipc_receive(s.ep, 0) == -ETIMEDOUT);
	KT_EXPECT(ctx, healthy());
	stage_close(&s);
}

/* --- handles ---------------------------------------------------------------------------------- */

static u32 table_fill(struct handle_table *t, struct object *o, u32 leave)
{
	u32 n = 0, first[16];

	while (handle_install(t, o, RIGHT_SEND, 0, 0) > 0)
		n++;
	for (u32 h = 1; leave && h <= ARRAY_SIZE(first) && leave--; h++)
		handle_close(t, h);
	return n;
}

KTEST(handles, rights_and_kinds)
{
	struct stage s;
	struct object *o = NULL;
	struct handle h;
	u64 badge = 0;
	int send;

	KT_REQUIRE(ctx, stage_open(&s));
	send = handle_install(&s.table, &s.ep->object, RIGHT_SEND, 77, 0);
	KT_EXPECT(ctx, send > 0 && send != s.handle);
	KT_EXPECT(ctx, handle_get(&s.table, send, OBJECT_ENDPOINT, RIGHT_SEND, &o, &badge) == 0);
	KT_EXPECT(ctx, o == &s.ep->object && badge == 77);
	object_put(o);
	KT_EXPECT(ctx,
		handle_get(&s.table, send, OBJECT_ENDPOINT, RIGHT_RECEIVE, &o, NULL) == -EACCES);
	KT_EXPECT(ctx, handle_get(&s.table, send, OBJECT_TASK, 0, &o, NULL) == -EINVAL);
	KT_EXPECT(ctx, handle_get(&s.table, 0, OBJECT_ENDPOINT, 0, &o, NULL) == -EBADF);
	KT_EXPECT(ctx, handle_get(&s.table, ~0u, OBJECT_ENDPOINT, 0, &o, NULL) == -EBADF);
	KT_EXPECT(
		ctx, handle_close(&s.table, 0) == -EBADF && handle_close(&s.table, 4095) == -EBADF);
	KT_EXPECT(ctx, handle_install(&s.table, &s.ep->object, 0, 0, send) == -EEXIST);
	KT_EXPECT(ctx, handle_install(&s.table, &s.ep->object, 0, 0, HANDLE_MAX) == -EINVAL);
	KT_EXPECT(ctx, handle_install(&s.table, &s.ep->object, RIGHT_SEND, 1, 1000) == 1000);
	KT_EXPECT(ctx,
		handle_read(&s.table, 1000, &h) == 0 && h.badge == 1 && h.rights == RIGHT_SEND);
	object_put(h.object);
	KT_EXPECT(ctx, handle_table_check(&s.table));
	KT_EXPECT(ctx, handle_close(&s.table, send) == 0 && handle_close(&s.table, send) == -EBADF);
	KT_EXPECT(ctx, handle_table_check(&s.table) && s.ep->object.refs == 3);
	stage_close(&s);
}

/* Against a plain array: which numbers are taken. */
KTEST(handles, random)
{
	u8 *taken = kzalloc(HANDLE_MAX);
	u64 seed = 1;
	u32 n = 1, wrong = 0;
	struct stage s;

	KT_REQUIRE(ctx, stage_open(&s) && taken);
	taken[s.handle] = 1;
	for (u32 i = 0; i < 20000; i++) {
		u32 r, h;

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		r = seed >> 33;
		h = r % HANDLE_MAX;
		if (r >> 20 & 1) {
			int got =
				handle_install(&s.table, &s.ep->object, 0, 0, r >> 21 & 1 ? h : 0);

			if (got > 0)
				wrong += taken[got]++ != 0, n++;
			else
				wrong += got != -EEXIST || !taken[h];
		} else {
			bool ok = handle_close(&s.table, h) == 0;

			wrong += ok != taken[h];
			n -= ok;
			taken[h] = 0;
		}
		if (i % 1000 == 0)
			wrong += !handle_table_check(&s.table);
	}
	KT_EXPECT(ctx, !wrong && handle_table_check(&s.table));
	KT_EXPECT(ctx, s.ep->object.refs == 1 + n);
	kfree(taken);
	stage_close(&s);
}

KTEST(handles, no_more_than_the_limit)
{
	struct stage s;

	KT_REQUIRE(ctx, stage_open(&s));
	KT_EXPECT(ctx, table_fill(&s.table, &s.ep->object, 0) == HANDLE_MAX - 2);
	KT_EXPECT(ctx, handle_install(&s.table, &s.ep->object, 0, 0, 0) == -EMFILE);
	KT_EXPECT(ctx, handle_install_quick(&s.table, &s.ep->object, 0, 0) == -EMFILE);
	KT_EXPECT(ctx, handle_table_check(&s.table));
	handle_table_release(&s.table);
	KT_EXPECT(ctx, s.ep->dead && s.ep->object.refs == 1);
	KT_EXPECT(ctx, handle_install(&s.table, &s.ep->object, 0, 0, 0) == -ESRCH);
	stage_close(&s);
}

/* A client that sends an endpoint along and takes one with the answer. */
struct giver {
	struct lab_thread thread;
	struct endpoint *ep, *gift;
	struct handle_table *table;
	int status;
	u64 got;
};

static void giver_run(void *arg)
{
	struct giver *g = arg;

	*self() = (struct ipc_thread){
		.handles = g->table, .object = &g->gift->object, .rights = RIGHT_SEND, .badge = 9};
	list_init(&self()->link);
	object_get(&g->gift->object);
	g->status = ipc_send(g->ep, DEADLINE_NEVER, true);
	g->got = g->status ? 0 : self()->message.handle;
}

static bool giver_start(struct giver *g, struct stage *s, struct stage *gift)
{
	*g = (struct giver){.ep = s->ep, .gift = gift->ep, .table = &gift->table};
	return lab_start(&g->thread, s->mm, LAB_ANY_CPU, giver_run, g);
}

KTEST(ipc, handles_travel)
{
	struct stage s, gift;
	struct giver giver;
	struct object *o;

	KT_REQUIRE(ctx, stage_open(&s) && stage_open(&gift));
	KT_EXPECT(ctx, giver_start(&giver, &s, &gift));
	KT_EXPECT(ctx, ipc_receive(s.ep, DEADLINE_NEVER) == 0);
	KT_EXPECT(ctx, self()->object == &gift.ep->object && self()->rights == RIGHT_SEND &&
			       self()->badge == 9);
	KT_EXPECT(ctx, gift.ep->object.refs == 3);

	/* no room on the way back: nothing happened, the answer may be given again without */
	handle_reserve(&gift.table);
	table_fill(&gift.table, &s.ep->object, 0);
	KT_EXPECT(ctx, ipc_reply(s.ep) == -EMFILE && !self()->object && gift.ep->object.refs == 2);
	handle_close(&gift.table, 5);
	self()->object = &s.ep->object;
	self()->rights = RIGHT_SEND;
	self()->badge = 3;
	object_get(&s.ep->object);
	KT_EXPECT(ctx, ipc_reply(s.ep) == 0 && !self()->object);
	lab_join(&giver.thread);
	KT_EXPECT(ctx, giver.status == 0 && giver.got == 5);
	KT_EXPECT(ctx, handle_get(&gift.table, 5, OBJECT_ENDPOINT, RIGHT_SEND, &o, NULL) == 0 &&
			       o == &s.ep->object);
	object_put(&s.ep->object);

	/* a caller that dies takes it back */
	KT_EXPECT(ctx, giver_start(&giver, &s, &gift));
	sched_sleep_until(soon());
	task_kill(giver.thread.task, LAB_KILLED);
	lab_join(&giver.thread);
	KT_EXPECT(ctx, giver.status == -EINTR && gift.ep->object.refs == 2);

	/* a receiver without room: its caller hears of it */
	KT_EXPECT(ctx, giver_start(&giver, &s, &gift));
	KT_EXPECT(ctx, ipc_receive(s.ep, DEADLINE_NEVER) == 0);
	object_put(self()->object);
	self()->object = NULL;
	ipc_reject(s.ep, self()->message.token, -EMFILE);
	lab_join(&giver.thread);
	KT_EXPECT(ctx, giver.status == -EMFILE && gift.ep->object.refs == 2);
	KT_EXPECT(ctx, healthy());
	stage_close(&gift);
	KT_EXPECT(ctx, s.ep->object.refs == 2);
	stage_close(&s);
}

/* --- the scheduler ----------------------------------------------------------------------------- */

struct bystander {
	struct lab_thread thread;
	u64 turns;
};

static void bystander_run(void *arg)
{
	struct bystander *b = arg;

	while (!thread_killed()) {
		b->turns++;
		sched_yield();
	}
}

/* Two that hand over to each other for ever do not keep a third from this CPU. */
KTEST(ipc, nobody_starves)
{
	struct stage s;
	struct server server;
	struct client client;
	struct bystander by = {0};
	u64 deadline;

	KT_REQUIRE(ctx, stage_open(&s));
	KT_EXPECT(ctx, server_start(&server, &s, ALWAYS, 0));
	KT_EXPECT(ctx, client_start(&client, &s, 1, ALWAYS, 0));
	KT_EXPECT(ctx, lab_start(&by.thread, s.mm, 0, bystander_run, &by));
	deadline = time_ns() + LAB_LIMIT_NS;
	while (READ_ONCE(by.turns) < 5 && time_ns() < deadline)
		sched_sleep_until(soon());
	KT_EXPECT(ctx, by.turns >= 5 && client.right > 5);
	WRITE_ONCE(client.rounds, 0);
	task_kill(by.thread.task, LAB_KILLED);
	task_kill(client.thread.task, LAB_KILLED);
	task_kill(server.thread.task, LAB_KILLED);
	lab_join(&by.thread);
	lab_join(&client.thread);
	lab_join(&server.thread);
	stage_close(&s);
}

/* The time of each goes to its own account. */
KTEST(ipc, runtime)
{
	struct stage s;
	struct server server;
	struct client client;
	u64 began = time_ns(), ns;

	KT_REQUIRE(ctx, stage_open(&s));
	KT_EXPECT(ctx, server_start(&server, &s, ALWAYS, 0));
	KT_EXPECT(ctx, client_start(&client, &s, 1, 20000, 0));
	task_get(client.thread.task);
	task_get(server.thread.task);
	{
		struct task *c = client.thread.task, *v = server.thread.task;

		lab_join(&client.thread);
		server_end(&server);
		ns = c->runtime_ns + v->runtime_ns;
		KT_EXPECT(ctx, c->runtime_ns && v->runtime_ns && ns <= time_ns() - began);
		task_put(c);
		task_put(v);
	}
	stage_close(&s);
}

/* --- everything at random ----------------------------------------------------------------------- */

#define ACTORS 8
#define PLACES 3

struct theatre {
	struct stage stage[PLACES];
	struct notification *note[PLACES];
	u32 stop;
	u64 operations;
};

struct actor {
	struct lab_thread thread;
	struct theatre *theatre;
	u64 seed;
	int unexpected;
	bool server;
};

static u32 actor_random(struct actor *a)
{
	a->seed = a->seed * 6364136223846793005ull + 1442695040888963407ull;
	return a->seed >> 33;
}

static u64 actor_deadline(struct actor *a)
{
	u32 r = actor_random(a) % 8;

	return r < 6 ? time_ns() + 5 * NS_PER_MS : r < 7 ? time_ns() + NS_PER_MS / 8 : 0;
}

static void gift_drop(void)
{
	if (self()->object)
		object_put(self()->object);
	self()->object = NULL;
}

/* Answers, perhaps twice, perhaps nonsense, perhaps with a gift; perhaps not at all. */
static int actor_serve(struct actor *a, struct stage *s)
{
	u32 r = actor_random(a) % 16;
	int status = 0;

	gift_drop();
	if (r == 0)
		return 0;
	if (r == 1)
		self()->message.token += actor_random(a) % 3;
	if (r == 2) {
		self()->object = &s->ep->object;
		self()->rights = RIGHT_SEND;
		object_get(self()->object);
	}
	if (r < 9) {
		status = ipc_reply_receive(s->ep, actor_deadline(a));
		gift_drop();
		if (!status)
			status = ipc_reply(s->ep);
	} else {
		status = ipc_reply(s->ep);
		if (r == 15)
			status = ipc_reply(s->ep);
	}
	return status;
}

static int actor_call(struct actor *a, struct stage *s)
{
	struct message m = {.label = actor_random(a)};
	bool gift = actor_random(a) % 8 == 0;

	return ipc_call(
		s->ep, &m, gift ? &s->ep->object : NULL, RIGHT_SEND, actor_deadline(a), true);
}

static bool expected(int status)
{
	return status == 0 || status == -ETIMEDOUT || status == -EINTR || status == -ESRCH ||
	       status == -EMFILE || status == -EPIPE;
}

static void actor_run(void *arg)
{
	struct actor *a = arg;
	struct theatre *t = a->theatre;

	while (!READ_ONCE(t->stop) && !thread_killed()) {
		u32 place = actor_random(a) % PLACES;
		struct stage *s = &t->stage[place];
		int status;

		self()->handles = current_handles();
		if (actor_random(a) % 16 == 0) {
			notification_signal(t->note[place], 1);
			status = 0;
		} else if (a->server) {
			status = ipc_receive(s->ep, actor_deadline(a));
			if (!status)
				status = actor_serve(a, s);
		} else {
			status = actor_call(a, s);
		}
		if (!expected(status))
			a->unexpected = status;
		__atomic_add_fetch(&t->operations, 1, __ATOMIC_RELAXED);
	}
}

static bool actor_start(struct actor *a, struct theatre *t, u32 i, u64 seed)
{
	*a = (struct actor){.theatre = t, .server = i % 2, .seed = seed};
	return lab_start(&a->thread, t->stage[0].mm, LAB_ANY_CPU, actor_run, a);
}

static void theatre_play(struct ktest_ctx *ctx, struct theatre *t, u64 operations, u64 ns)
{
	struct lab_race race = lab_race_begin(operations, ns);
	struct actor actor[ACTORS];
	u64 seed = 0x5eed;

	for (u32 i = 0; i < ACTORS; i++)
		KT_EXPECT(ctx, actor_start(&actor[i], t, i, seed + i));
	while (lab_race_goes_on(&race, READ_ONCE(t->operations))) {
		struct actor *victim = &actor[++seed % ACTORS];

		sched_sleep_until(time_ns() + 5 * NS_PER_MS);
		KT_EXPECT(ctx, healthy());
		if (seed % 4)
			continue;
		task_kill(victim->thread.task, LAB_KILLED);
		lab_join(&victim->thread);
		KT_EXPECT(ctx, !victim->unexpected);
		KT_EXPECT(ctx, actor_start(victim, t, victim - actor, seed * 77));
	}
	t->stop = 1;
	for (u32 i = 0; i < ACTORS; i++) {
		lab_join(&actor[i].thread);
		KT_EXPECT(ctx, !actor[i].unexpected);
	}
	KT_EXPECT(ctx, t->operations >= race.least);
}

static void theatre_open_and_close(struct ktest_ctx *ctx, u64 operations, u64 ns)
{
	struct theatre t = {0};

	for (u32 i = 0; i < PLACES; i++) {
		KT_REQUIRE(ctx, stage_open(&t.stage[i]));
		t.note[i] = notification_create(t.stage[i].ep);
		KT_REQUIRE(ctx, t.note[i]);
	}
	theatre_play(ctx, &t, operations, ns);
	for (u32 i = 0; i < PLACES; i++) {
		struct endpoint *ep = t.stage[i].ep;

		object_put(&t.note[i]->object);
		KT_EXPECT(ctx, ep->object.refs == 2 && ep->receive_handles == 1);
		KT_EXPECT(ctx, list_empty(&ep->callers) && list_empty(&ep->receivers));
		stage_close(&t.stage[i]);
	}
}

/* The servers live meanwhile: what they take in one round they do not take in three. */
static void at_random(struct ktest_ctx *ctx, u64 operations, u64 ns)
{
	bool back = false;

	for (u32 i = 0; i < 3 && !back; i++) {
		u64 frames = lab_frames_used();

		theatre_open_and_close(ctx, i ? 1000 : operations, ns);
		back = lab_frames_back(frames);
	}
	KT_EXPECT(ctx, back);
}

KTEST(ipc, random)
{
	at_random(ctx, 100000, 2 * LAB_RACE_NS);
}

KTEST_ON_REQUEST(ipc_long, random)
{
	at_random(ctx, 1000000, LAB_LONG_NS);
}

/* --- as programs: in ring 3 --------------------------------------------------------------------- */

#define PROGRAM_WORDS 0x20000000ul
#define PROGRAM_CODE  (PROGRAM_WORDS + PAGE_SIZE)
#define PROGRAM_LOOP  1000

extern const u8 ipc_client_code[], ipc_client_end[], ipc_server_code[], ipc_server_end[];

/*
 * The server answers what it receives with the same words, for ever. The client calls r15's number of times (rbp), and
 * leaves the ticks of the last PROGRAM_LOOP calls in its page; then it exits.
 */
asm(".pushsection .rodata\n"
    "ipc_server_code:\n"
    "	xorl %esi, %esi\n"
    "1:	movl $0x1009, %eax\n" /* SYS_ipc_reply_receive */
    "	movl $1, %edi\n"
    "	syscall\n"
    "	testq %rax, %rax\n"
    "	jz 1b\n"
    "	movq %rax, %rdi\n"
    "	negl %edi\n"
    "	movl $60, %eax\n"
    "	syscall\n"
    "ipc_server_end:\n"
    "ipc_client_code:\n"
    "	movl $3, %ebp\n"
    "2:	rdtsc\n"
    "	movl %eax, 0x20000000\n"
    "	movl $1000, 0x20000010\n"
    "1:	movl $0x1006, %eax\n" /* SYS_ipc_call */
    "	movl $1, %edi\n"
    "	movl $7, %edx\n"
    "	movl %ebp, %r10d\n"
    "	syscall\n"
    "	testq %rax, %rax\n"
    "	jnz 3f\n"
    "	cmpq $7, %rdx\n"
    "	jne 4f\n"
    "	cmpq %rbp, %r10\n"
    "	jne 4f\n"
    "	decl 0x20000010\n"
    "	jnz 1b\n"
    "	rdtsc\n"
    "	subl 0x20000000, %eax\n"
    "	movl %eax, 0x20000008\n"
    "	decl %ebp\n"
    "	jnz 2b\n"
    "	xorl %edi, %edi\n"
    "	jmp 5f\n"
    "4:	movl $255, %edi\n"
    "	jmp 5f\n"
    "3:	movq %rax, %rdi\n"
    "	negl %edi\n"
    "5:	movl $60, %eax\n"
    "	syscall\n"
    "ipc_client_end:\n"
    ".popsection\n");
_Static_assert(SYS_ipc_call == 0x1006 && SYS_ipc_reply_receive == 0x1009, "the code above");

struct program {
	struct lab_thread thread;
	struct mm *mm;
	struct endpoint *ep;
	u32 rights;
	volatile u64 *words;
};

static void program_run(void *arg)
{
	struct program *p = arg;
	struct regs *regs = current_thread()->user_regs;

	handle_install(current_handles(), &p->ep->object, p->rights, 0, 1);
	user_regs_init(regs, PROGRAM_CODE, PROGRAM_CODE - 64);
	regs->rbx = DEADLINE_NEVER;
	sched_enter_user(regs);
}

static bool program_start(
	struct program *p, struct endpoint *ep, u32 rights, const u8 *code, const u8 *end)
{
	*p = (struct program){.mm = lab_space(), .ep = ep, .rights = rights};
	if (!p->mm || !lab_area(p->mm, PROGRAM_WORDS, 2 * PAGE_SIZE) ||
		!lab_fill(p->mm, PROGRAM_WORDS, 2 * PAGE_SIZE))
		return false;
	memcpy(lab_word(p->mm, PROGRAM_CODE), code, end - code);
	p->words = lab_word(p->mm, PROGRAM_WORDS);
	return mmap_protect(p->mm, PROGRAM_CODE, PAGE_SIZE, PROT_READ | PROT_EXEC) == 0 &&
	       lab_start(&p->thread, p->mm, 0, program_run, p);
}

KTEST(ipc_programs, round_trip)
{
	struct thp_settings before = lab_begin();
	struct stage s;
	struct program server, client;

	thp_settings.enabled = THP_NEVER;
	KT_REQUIRE(ctx, stage_open(&s));
	KT_EXPECT(ctx, program_start(&server, s.ep, RECEIVE, ipc_server_code, ipc_server_end));
	KT_EXPECT(ctx, program_start(&client, s.ep, RIGHT_SEND, ipc_client_code, ipc_client_end));
	KT_EXPECT(ctx, lab_join(&client.thread) == 0);
	printk("bench ipc_round_trip %lu", client.words[1] / PROGRAM_LOOP);
	handle_close(&s.table, s.handle);
	task_kill(server.thread.task, LAB_KILLED);
	lab_join(&server.thread);
	lab_space_end(client.mm);
	lab_space_end(server.mm);
	stage_close(&s);
	lab_end(ctx, &before);
}
