/*
 * ipc.c - endpoints, calls, events                               floor 4, below: sched.c, handle.c
 *
 * Where a caller meets a server: messages wait in order, receivers wait in order, the one that finds the
 * other there does not wait at all. It touches no memory of ring 3, and of its registers only what a message is made of:
 * the rest is native_ipc.c's.
 *
 * IDEA
 *   a thread                                       its endpoint
 *     IDLE --send, nobody receives--> QUEUED          callers:    c1 c2        (then no receivers)
 *      |                                |             receivers:  s1 s2        (then no callers, no events)
 *      +---send, one receives--+        | receive     unanswered: by token, in 64 buckets
 *      |                       v        v             events:     come before callers
 *     IDLE <----reply------- UNANSWERED
 *     IDLE --receive--> RECEIVING --a message--> IDLE
 *
 *   On one CPU a call is a change of threads: the caller blocks and the server runs, with no run queue in
 *   between (sched_handoff()); the answer goes the same way back. A message is copied once, between the
 *   saved registers of programs, or struct thread where a side is the kernel's. Nothing is allocated on the way.
 *
 *   A token is the endpoint's count of messages: never used twice, valid only there, and only while its
 *   caller waits. A stale or invented one is not in its bucket: -ESRCH.
 *
 * WHO ENDS A WAIT
 *   Whoever changes a state to IDLE writes the status first, and wakes the thread, all under endpoint->lock.
 *   The thread itself looks at its state, and then that the lock is free, before it leaves (wait_finish): the
 *   lock was taken before the state was written, so whoever sees IDLE and then a free lock sees it released;
 *   the status is written, and nobody works with the thread any more. It ends its own wait (withdraw) when it
 *   is killed, interrupted or late: it takes itself off the list, and an answer that comes later meets -ESRCH.
 *   If the answer came first, it counts. That no wake-up is lost is shown at the head of sched.c; sched_prepare() is its S1.
 *
 * DEATH
 *   of a caller        it withdraws
 *   of a server        ipc_server_gone(): what its task had received fails with -EPIPE; what is queued waits
 *                      for the next server if somebody else holds RIGHT_RECEIVE, else:
 *   of an endpoint     the last handle with RIGHT_RECEIVE goes: all who wait get -EPIPE, events are dropped
 *   A handle on its way in a message is none: if the only one with RIGHT_RECEIVE is closed meanwhile, the
 *   endpoint is dead when it arrives.
 *
 * INVARIANTS (ipc_check() tests them)
 *   I1  a thread is on a list of its endpoint if and only if its state is not IDLE, and on the right one
 *   I2  nobody waits to receive while events or callers are queued
 *   I3  an unanswered caller is in the bucket of its token, which the endpoint has given out
 *   I4  nobody waits at a dead endpoint, and no event is queued there
 *
 * LOCKS     endpoint.lock with interrupts off (notifications come from interrupts); inside it the lock of a
 *           handle table, the run queue's. endpoints_lock outside it, for the list of all.
 * LINUX     has none; seL4's endpoints and L4's call/reply-and-wait are the model. Android's binder is the
 *           nearest thing in its tree. A model for SPIN: tests/spin/ipc.pml.
 */
#include "ipc.h"

#include "handle.h"
#include "mm/kmalloc.h"
#include "printk.h"
#include "sched.h"
#include "timeout.h"
#include "x86/timer.h"
#include <abi/errno.h>

static struct kmem_cache endpoint_cache, notification_cache;
static struct spinlock endpoints_lock = SPINLOCK_INIT(LOCK_ENDPOINTS, "endpoints");
static struct list endpoints = LIST_INIT(endpoints);

/* ipc_init - the caches; kmalloc works. */
void ipc_init(void)
{
	kmem_cache_init(&endpoint_cache, "endpoint", sizeof(struct endpoint));
	kmem_cache_init(&notification_cache, "notification", sizeof(struct notification));
}

/* --- how waits end; endpoint->lock held -------------------------------------------------------------- */

/* t is on no list any more; it still sleeps. */
static __always_inline void wait_over(struct thread *t, int status)
{
	list_del(&t->ipc.link);
	t->ipc.status = status;
	t->ipc.state = IPC_IDLE;
}

static void wait_end(struct thread *t, int status)
{
	wait_over(t, status);
	sched_wake(t);
}

static void fail_all(struct list *waiters)
{
	struct thread *t, *next;

	list_for_each_entry_safe (t, next, waiters, ipc.link)
		wait_end(t, -EPIPE);
}

static struct list *bucket_of(struct endpoint *ep, u64 token)
{
	return &ep->unanswered[token % ENDPOINT_BUCKETS];
}

/* Who waits for the answer to `token`; NULL: nobody. */
static __always_inline struct thread *caller_find(struct endpoint *ep, u64 token)
{
	struct thread *t;

	list_for_each_entry (t, bucket_of(ep, token), ipc.link) {
		if (t->ipc.message.token == token)
			return t;
	}
	return NULL;
}

/* A message in memory to registers of ring 3; the handle stands in r15. */
static __always_inline void message_to_regs(
	const struct message *m, struct regs *r, u64 badge, u64 token, u64 handle)
{
	r->rdi = badge;
	r->rsi = token;
	r->rdx = m->label;
	r->r10 = m->word[0];
	r->r8 = m->word[1];
	r->r9 = m->word[2];
	r->r12 = m->word[3];
	r->r13 = m->word[4];
	r->r14 = m->word[5];
	r->r15 = handle;
}

static __always_inline void message_from_regs(struct message *m, const struct regs *r)
{
	m->label = r->rdx;
	m->word[0] = r->r10;
	m->word[1] = r->r8;
	m->word[2] = r->r9;
	m->word[3] = r->r12;
	m->word[4] = r->r13;
	m->word[5] = r->r14;
}

/* From registers to registers: the way of every call between two programs. */
static __always_inline void regs_copy(
	const struct regs *from, struct regs *to, u64 badge, u64 token, u64 handle)
{
	to->rdi = badge;
	to->rsi = token;
	to->rdx = from->rdx;
	to->r10 = from->r10;
	to->r8 = from->r8;
	to->r9 = from->r9;
	to->r12 = from->r12;
	to->r13 = from->r13;
	to->r14 = from->r14;
	to->r15 = handle;
}

/* From registers to a caller in the kernel. A system call that was forwarded asks for words by a label of the kernel's only. */
static __always_inline void regs_to_message(const struct regs *from, struct thread *to)
{
	struct message *m = &to->ipc.message;

	m->label = from->rdx;
	if (!to->in_call || unlikely((s64)m->label < -MAX_ERRNO))
		message_from_regs(m, from);
}

/* Label, words and handle from thread to thread, where the two have them; badge and token are set. */
static __always_inline void message_copy(
	struct thread *from, struct thread *to, u64 badge, u64 token, u64 handle)
{
	struct message *m = &to->ipc.message;

	if (likely(to->ipc.in_regs)) {
		if (likely(from->ipc.in_regs))
			regs_copy(from->user_regs, to->user_regs, badge, token, handle);
		else
			message_to_regs(&from->ipc.message, to->user_regs, badge, token, handle);
	} else {
		if (likely(from->ipc.in_regs))
			regs_to_message(from->user_regs, to);
		else
			*m = from->ipc.message;
		m->handle = handle;
	}
	m->badge = badge;
	m->token = token;
}

/* The object that travels, with its reference. */
static __always_inline void object_move(struct thread *from, struct thread *to)
{
	to->ipc.object = from->ipc.object;
	if (likely(!to->ipc.object))
		return;
	to->ipc.rights = from->ipc.rights;
	to->ipc.badge = from->ipc.badge;
	from->ipc.object = NULL;
}

/* The message of caller, which is on no list, goes to receiver. */
static __always_inline void message_deliver(
	struct endpoint *ep, struct thread *caller, struct thread *receiver)
{
	u64 token = ++ep->last_token;

	caller->ipc.message.token = token;
	message_copy(caller, receiver, caller->ipc.message.badge, token, HANDLE_NONE);
	object_move(caller, receiver);
	caller->ipc.server = receiver->ipc.handles;
	caller->ipc.state = IPC_UNANSWERED;
	list_add(&caller->ipc.link, bucket_of(ep, token));
}

static void event_deliver(struct event *e, struct thread *receiver)
{
	struct message *m = &receiver->ipc.message;

	*m = (struct message){0};
	receiver->ipc.object = NULL;
	e->take(e, m);
	receiver->ipc.event = e->taken ? e : NULL;
	if (receiver->ipc.in_regs)
		message_to_regs(m, receiver->user_regs, m->badge, m->token, m->handle);
}

/* The first of what is queued, to t. False: nothing is. */
__noinline static bool message_take(struct endpoint *ep, struct thread *t)
{
	if (!list_empty(&ep->events)) {
		struct event *e = list_first_entry(&ep->events, struct event, link);

		list_del(&e->link);
		e->queued = false;
		event_deliver(e, t);
		return true;
	}
	if (!list_empty(&ep->callers)) {
		struct thread *caller = list_first_entry(&ep->callers, struct thread, ipc.link);

		list_del(&caller->ipc.link);
		message_deliver(ep, caller, t);
		return true;
	}
	return false;
}

/* --- waiting ------------------------------------------------------------------------------------------ */

/* How one thread waits: what ends it beside a message. */
struct ipc_wait {
	struct timeout *timeout; /* NULL: never */
	bool interruptible;
};

static const struct ipc_wait wait_interruptible = {NULL, true}, wait_killable = {NULL, false};

/* Why the current thread must not go on waiting; 0: it may. Read after sched_prepare(). */
static __always_inline int wait_refused(const struct ipc_wait *w)
{
	const struct thread *t = current_thread();

	if (unlikely(READ_ONCE(t->pending))) {
		if (READ_ONCE(t->kill_pending) || (w->interruptible && thread_interrupted()))
			return -EINTR;
	}
	if (unlikely(w->timeout && timeout_expired(w->timeout)))
		return -ETIMEDOUT;
	return 0;
}

/* Sleep on until the state is IDLE, or withdraw. */
__noinline static int wait_finish_slow(struct endpoint *ep, const struct ipc_wait *w)
{
	struct thread *t = current_thread();
	int status;

	for (;;) {
		sched_prepare();
		irq_disable();
		spin_lock(&ep->lock);
		if (likely(t->ipc.state == IPC_IDLE))
			break;
		status = wait_refused(w);
		if (status) {
			wait_over(t, status);
			break;
		}
		spin_unlock(&ep->lock);
		irq_enable();
		sched_block();
	}
	status = t->ipc.status;
	spin_unlock(&ep->lock);
	irq_enable();
	return status;
}

/*
 * The current thread was on a list of ep and has slept once. It must not leave while the one that set its
 * state to IDLE still works with it, which that one does under the lock. So: IDLE is seen, and after that the
 * lock is seen free; or the lock is taken.
 */
static __always_inline int wait_finish(struct endpoint *ep, const struct ipc_wait *w)
{
	struct thread *t = current_thread();

	if (unlikely(READ_ONCE(t->ipc.state) != IPC_IDLE || READ_ONCE(ep->lock.v)))
		return wait_finish_slow(ep, w);
	__atomic_thread_fence(__ATOMIC_ACQUIRE); /* loads stay in order on x86: for the compiler */
	return t->ipc.status;
}

/* --- the call ----------------------------------------------------------------------------------------- */

static __always_inline int send(struct endpoint *ep, const struct ipc_wait *w)
{
	struct thread *t = current_thread();
	struct list *first;
	int status;

	sched_prepare();
	irq_disable();
	spin_lock(&ep->lock);
	status = unlikely(ep->dead) ? -EPIPE : wait_refused(w);
	if (unlikely(status)) {
		spin_unlock(&ep->lock);
		irq_enable();
		return status;
	}
	t->ipc.endpoint = ep;
	first = ep->receivers.next;
	if (likely(first != &ep->receivers)) {
		struct thread *receiver = list_entry(first, struct thread, ipc.link);

		wait_over(receiver, 0);
		message_deliver(ep, t, receiver);
		sched_handoff(receiver, &ep->lock);
	} else {
		t->ipc.state = IPC_QUEUED;
		list_add_tail(&t->ipc.link, &ep->callers);
		spin_unlock(&ep->lock);
		irq_enable();
		sched_block();
	}
	return wait_finish(ep, w);
}

__noinline static int send_until(struct endpoint *ep, u64 deadline, bool interruptible)
{
	struct timeout timeout;
	struct ipc_wait w = {&timeout, interruptible};
	int status;

	thread_timeout_start(&timeout, deadline);
	status = send(ep, &w);
	timeout_cancel(&timeout);
	return status;
}

/* The call failed: what should have gone along stays here. */
__noinline static void object_drop(struct ipc_thread *self)
{
	if (!self->object)
		return;
	object_put(self->object);
	self->object = NULL;
}

int ipc_send(struct endpoint *ep, u64 deadline, bool interruptible)
{
	int status;

	if (likely(deadline == DEADLINE_NEVER))
		status = send(ep, interruptible ? &wait_interruptible : &wait_killable);
	else
		status = send_until(ep, deadline, interruptible);
	if (unlikely(status))
		object_drop(&current_thread()->ipc);
	return status;
}

int ipc_send_message(struct endpoint *ep)
{
	struct ipc_thread *self = &current_thread()->ipc;

	self->in_regs = false;
	self->handles = NULL;
	return send(ep, &wait_killable);
}

int ipc_call(struct endpoint *ep, struct message *m, struct object *o, u32 rights, u64 deadline,
	bool interruptible)
{
	struct ipc_thread *self = &current_thread()->ipc;
	int status;

	self->message = *m;
	self->in_regs = false;
	self->handles = NULL;
	self->object = o;
	self->rights = rights;
	self->badge = 0;
	if (o)
		object_get(o);
	status = ipc_send(ep, deadline, interruptible);
	if (!status)
		*m = self->message;
	return status;
}

/* --- receiving and answering -------------------------------------------------------------------------- */

/* The event that was received may be forgotten by its sender. */
static __always_inline void event_finish(struct thread *t)
{
	struct event *e = t->ipc.event;

	if (likely(!e))
		return;
	t->ipc.event = NULL;
	e->taken(e);
}

/*
 * ep->lock held, interrupts off: receive, or begin to wait. True: there was a message or an error, *status says
 * which. False: the thread stands among the receivers. The lock is still held.
 */
static __always_inline bool receive_now(
	struct endpoint *ep, struct thread *t, const struct ipc_wait *w, int *status)
{
	*status = ep->dead ? -EPIPE : 0;
	if (unlikely(*status))
		return true;
	if ((!list_empty(&ep->events) || !list_empty(&ep->callers)) && message_take(ep, t))
		return true;
	*status = wait_refused(w);
	if (unlikely(*status))
		return true;
	t->ipc.endpoint = ep;
	t->ipc.state = IPC_RECEIVING;
	list_add_tail(&t->ipc.link, &ep->receivers);
	return false;
}

static int receive(struct endpoint *ep, const struct ipc_wait *w)
{
	struct thread *t = current_thread();
	bool done;
	int status;

	sched_prepare();
	irq_disable();
	spin_lock(&ep->lock);
	done = receive_now(ep, t, w, &status);
	spin_unlock(&ep->lock);
	irq_enable();
	if (!done) {
		sched_block();
		status = wait_finish(ep, w);
	}
	return status;
}

/* The answer in t->ipc goes to c, whose wait is over; it is not awake yet. False: the object does not fit. */
static __always_inline bool answer(struct thread *t, struct thread *c)
{
	int handle = HANDLE_NONE;

	if (unlikely(t->ipc.object)) {
		if (!c->ipc.handles)
			return false;
		handle = handle_install_quick(
			c->ipc.handles, t->ipc.object, t->ipc.rights, t->ipc.badge);
		if (handle < 0)
			return false;
	}
	message_copy(t, c, 0, 0, handle);
	wait_over(c, 0);
	return true;
}

/* Around answer(): the kind of the object hears of a new handle before it is there, and with no lock held. */
static void object_begin(const struct thread *t)
{
	if (unlikely(t->ipc.object))
		handle_opened(t->ipc.object, t->ipc.rights);
}

static void object_end(struct thread *t, bool arrived)
{
	struct object *o = t->ipc.object;

	if (likely(!o))
		return;
	t->ipc.object = NULL;
	if (!arrived)
		handle_closed(o, t->ipc.rights);
	object_put(o);
}

int ipc_reply(struct endpoint *ep)
{
	struct thread *t = current_thread(), *c;
	bool arrived = false;
	int status = -ESRCH;

	object_begin(t);
	irq_disable();
	spin_lock(&ep->lock);
	c = caller_find(ep, t->ipc.message.token);
	if (c) {
		arrived = answer(t, c);
		if (arrived)
			sched_wake(c);
		status = arrived ? 0 : -EMFILE;
	}
	spin_unlock(&ep->lock);
	irq_enable();
	object_end(t, arrived);
	return status;
}

/* No object travels: the fast path. Answer, then wait; the caller runs on at once if nothing else is to do. */
static int reply_receive(struct endpoint *ep, const struct ipc_wait *w)
{
	struct thread *t = current_thread(), *c;
	int status;

	sched_prepare();
	irq_disable();
	spin_lock(&ep->lock);
	c = caller_find(ep, t->ipc.message.token);
	if (likely(c))
		(void)answer(t, c);
	if (!receive_now(ep, t, w, &status)) {
		if (likely(c)) {
			sched_handoff(c, &ep->lock);
		} else {
			spin_unlock(&ep->lock);
			irq_enable();
			sched_block();
		}
		return wait_finish(ep, w);
	}
	if (c)
		sched_wake(c);
	spin_unlock(&ep->lock);
	irq_enable();
	return status;
}

__noinline static int receive_until(struct endpoint *ep, u64 deadline)
{
	struct timeout timeout;
	struct ipc_wait w = {&timeout, true};
	int status;

	thread_timeout_start(&timeout, deadline);
	status = receive(ep, &w);
	timeout_cancel(&timeout);
	return status;
}

int ipc_receive(struct endpoint *ep, u64 deadline)
{
	int status;

	status = likely(deadline == DEADLINE_NEVER) ? receive(ep, &wait_interruptible)
						    : receive_until(ep, deadline);
	event_finish(current_thread());
	return status;
}

int ipc_reply_receive(struct endpoint *ep, u64 deadline)
{
	struct thread *t = current_thread();
	int status;

	if (likely(t->ipc.message.token && !t->ipc.object && deadline == DEADLINE_NEVER)) {
		status = reply_receive(ep, &wait_interruptible);
		event_finish(t);
		return status;
	}
	if ((t->ipc.message.token || t->ipc.object) && ipc_reply(ep) == -EMFILE)
		ipc_reject(ep, t->ipc.message.token, -EMFILE);
	return ipc_receive(ep, deadline);
}

void ipc_reject(struct endpoint *ep, u64 token, int status)
{
	u64 flags = spin_lock_irqsave(&ep->lock);
	struct thread *c = caller_find(ep, token);

	if (c)
		wait_end(c, status);
	spin_unlock_irqrestore(&ep->lock, flags);
}

struct thread *ipc_caller(struct endpoint *ep, u64 token)
{
	u64 flags = spin_lock_irqsave(&ep->lock);
	struct thread *c = caller_find(ep, token);

	if (c)
		object_get(&c->object);
	spin_unlock_irqrestore(&ep->lock, flags);
	return c;
}

/* --- events ------------------------------------------------------------------------------------------- */

/* Lock held, interrupts off; e is not queued. */
static void post(struct endpoint *ep, struct event *e)
{
	struct thread *receiver = list_first_entry_or_null(&ep->receivers, struct thread, ipc.link);

	if (receiver) {
		event_deliver(e, receiver);
		wait_end(receiver, 0);
	} else {
		e->queued = true;
		list_add_tail(&e->link, &ep->events);
	}
}

bool event_post(struct endpoint *ep, struct event *e)
{
	u64 flags = spin_lock_irqsave(&ep->lock);
	bool alive = !ep->dead;

	if (alive && !e->queued)
		post(ep, e);
	spin_unlock_irqrestore(&ep->lock, flags);
	return alive;
}

bool event_cancel(struct endpoint *ep, struct event *e)
{
	u64 flags = spin_lock_irqsave(&ep->lock);
	bool queued = e->queued;

	if (queued) {
		list_del(&e->link);
		e->queued = false;
	}
	spin_unlock_irqrestore(&ep->lock, flags);
	return queued;
}

/* --- endpoints ---------------------------------------------------------------------------------------- */

/* No answer will come from here any more. */
static void endpoint_die(struct endpoint *ep)
{
	struct list dropped = LIST_INIT(dropped);
	struct event *e, *next;
	u64 flags = spin_lock_irqsave(&ep->lock);

	ep->dead = true;
	fail_all(&ep->callers);
	fail_all(&ep->receivers);
	for (u32 i = 0; i < ENDPOINT_BUCKETS; i++)
		fail_all(&ep->unanswered[i]);
	list_for_each_entry (e, &ep->events, link)
		e->queued = false;
	list_splice_tail(&ep->events, &dropped);
	spin_unlock_irqrestore(&ep->lock, flags);
	list_for_each_entry_safe (e, next, &dropped, link) {
		list_del(&e->link);
		if (e->taken)
			e->taken(e);
	}
}

static void endpoint_opened(struct object *o, u32 rights)
{
	if (rights & RIGHT_RECEIVE)
		__atomic_add_fetch(&endpoint_of(o)->receive_handles, 1, __ATOMIC_RELAXED);
}

static void endpoint_closed(struct object *o, u32 rights)
{
	struct endpoint *ep = endpoint_of(o);

	if (rights & RIGHT_RECEIVE &&
		!__atomic_sub_fetch(&ep->receive_handles, 1, __ATOMIC_ACQ_REL))
		endpoint_die(ep);
}

static void endpoint_release(struct object *o)
{
	struct endpoint *ep = endpoint_of(o);

	endpoint_die(ep); /* one that never had a handle: events */
	spin_lock(&endpoints_lock);
	list_del(&ep->all_link);
	spin_unlock(&endpoints_lock);
	kmem_cache_free(&endpoint_cache, ep);
}

static u64 endpoint_weight(const struct object *o)
{
	return sizeof(struct endpoint);
}

static const struct object_ops endpoint_ops = {
	.name = "endpoint",
	.weight = endpoint_weight,
	.release = endpoint_release,
	.opened = endpoint_opened,
	.closed = endpoint_closed,
};

struct endpoint *endpoint_create(void)
{
	struct endpoint *ep = kmem_cache_zalloc(&endpoint_cache);

	if (!ep)
		return NULL;
	object_init(&ep->object, OBJECT_ENDPOINT, &endpoint_ops);
	spin_init(&ep->lock, LOCK_ENDPOINT, "endpoint");
	list_init(&ep->callers);
	list_init(&ep->receivers);
	list_init(&ep->events);
	for (u32 i = 0; i < ENDPOINT_BUCKETS; i++)
		list_init(&ep->unanswered[i]);
	spin_lock(&endpoints_lock);
	list_add_tail(&ep->all_link, &endpoints);
	spin_unlock(&endpoints_lock);
	return ep;
}

/* What `server` received at ep and did not answer fails. */
static void endpoint_server_gone(struct endpoint *ep, const struct handle_table *server)
{
	u64 flags = spin_lock_irqsave(&ep->lock);
	struct thread *t, *next;

	for (u32 i = 0; i < ENDPOINT_BUCKETS; i++) {
		list_for_each_entry_safe (t, next, &ep->unanswered[i], ipc.link) {
			if (t->ipc.server == server)
				wait_end(t, -EPIPE);
		}
	}
	spin_unlock_irqrestore(&ep->lock, flags);
}

void ipc_server_gone(const struct handle_table *server)
{
	struct endpoint *ep;

	if (!server->may_serve)
		return;
	spin_lock(&endpoints_lock);
	list_for_each_entry (ep, &endpoints, all_link)
		endpoint_server_gone(ep, server);
	spin_unlock(&endpoints_lock);
}

/* --- notifications ------------------------------------------------------------------------------------ */

static void notification_take(struct event *e, struct message *m)
{
	struct notification *n = container_of(e, struct notification, event);

	m->label = MESSAGE_NOTIFICATION;
	m->word[0] = n->bits;
	n->bits = 0;
}

void notification_signal(struct notification *n, u64 bits)
{
	struct endpoint *ep = n->endpoint;
	u64 flags = spin_lock_irqsave(&ep->lock);

	n->bits |= bits;
	if (n->bits && !n->event.queued && !ep->dead)
		post(ep, &n->event);
	spin_unlock_irqrestore(&ep->lock, flags);
}

static void notification_release(struct object *o)
{
	struct notification *n = notification_of(o);

	event_cancel(n->endpoint, &n->event);
	object_put(&n->endpoint->object);
	kmem_cache_free(&notification_cache, n);
}

static const struct object_ops notification_ops = {
	.name = "notification",
	.release = notification_release,
};

/* notification_create - with a reference of its own on ep. NULL: no memory. */
struct notification *notification_create(struct endpoint *ep)
{
	struct notification *n = kmem_cache_zalloc(&notification_cache);

	if (!n)
		return NULL;
	object_init(&n->object, OBJECT_NOTIFICATION, &notification_ops);
	list_init(&n->event.link);
	n->event.take = notification_take;
	n->endpoint = ep;
	object_get(&ep->object);
	return n;
}

/* --- the checker -------------------------------------------------------------------------------------- */

/* All on this list are in that state, at ep. How many; ~0: broken. */
static u32 count_waiters(struct endpoint *ep, struct list *waiters, enum ipc_state state)
{
	struct thread *t;
	u32 n = 0;

	list_for_each_entry (t, waiters, ipc.link) {
		if (t->ipc.state != state || t->ipc.endpoint != ep) {
			printk("ipc_check: I1: thread %u in state %u is on a list for %u", t->tid,
				t->ipc.state, state);
			return ~0u;
		}
		n++;
	}
	return n;
}

static bool tokens_ok(struct endpoint *ep, u32 bucket)
{
	struct thread *t;

	list_for_each_entry (t, &ep->unanswered[bucket], ipc.link) {
		u64 token = t->ipc.message.token;

		if (token % ENDPOINT_BUCKETS == bucket && token && token <= ep->last_token)
			continue;
		printk("ipc_check: I3: token %lu of thread %u in bucket %u, last %lu", token,
			t->tid, bucket, ep->last_token);
		return false;
	}
	return true;
}

/* I1, I3 for the lists of one endpoint; counts who waits there. */
static bool endpoint_lists_ok(struct endpoint *ep, u32 *waiters)
{
	u32 callers = count_waiters(ep, &ep->callers, IPC_QUEUED);
	u32 receivers = count_waiters(ep, &ep->receivers, IPC_RECEIVING);

	if (callers == ~0u || receivers == ~0u)
		return false;
	*waiters += callers + receivers;
	for (u32 i = 0; i < ENDPOINT_BUCKETS; i++) {
		u32 n = count_waiters(ep, &ep->unanswered[i], IPC_UNANSWERED);

		if (n == ~0u || !tokens_ok(ep, i))
			return false;
		*waiters += n;
	}
	return true;
}

static bool endpoint_ok(struct endpoint *ep, u32 *total)
{
	bool events = !list_empty(&ep->events);
	u32 waiters = 0;

	if (!endpoint_lists_ok(ep, &waiters))
		return false;
	*total += waiters;
	if (!list_empty(&ep->receivers) && (events || !list_empty(&ep->callers))) {
		printk("ipc_check: I2: a thread waits for a message, and one is queued");
		return false;
	}
	if (ep->dead && (events || waiters)) {
		printk("ipc_check: I4: %u threads wait at a dead endpoint, %sevents", waiters,
			events ? "" : "no ");
		return false;
	}
	return true;
}

static bool count_not_idle(struct thread *t, void *ctx)
{
	*(u32 *)ctx += t->ipc.state != IPC_IDLE;
	return true;
}

/*
 * ipc_check - I1 to I4.
 *
 *   locks    the other CPUs stand still (sched_stop_others)
 */
bool ipc_check(void)
{
	struct endpoint *ep;
	u32 on_lists = 0, waiting = 0;
	bool ok = true;

	list_for_each_entry (ep, &endpoints, all_link)
		ok &= endpoint_ok(ep, &on_lists);
	if (!ok)
		return false;
	thread_for_each(count_not_idle, &waiting);
	if (waiting == on_lists)
		return true;
	printk("ipc_check: I1: %u threads wait, %u are on lists", waiting, on_lists);
	return false;
}
