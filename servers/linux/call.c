/*
 * call.c - a call from its message to its answer: waiting, waking, copying                      ring 3
 *
 * IDEA
 *   message --> call_begin --> call_run: handler(c) --- a result ----------------------------> answered
 *                                 ^       |     |
 *                                 |       |     '--- CALL_FAULT_IN: the thread touches the page and sends the same call again
 *                                 |       '--------- CALL_WAIT: c is on wait lists, or has a timer
 *                  calls_run_ready '------- call_wake: one of them changed, the deadline passed, a signal came
 *                                             CALL_YIELD: a long call does one piece in each run
 *
 *   Nobody remembers why a call waited: it runs again from its first line and looks. What one run has to tell the next is in
 *   c->done, c->deadline and c->state.
 *
 * INVARIANTS
 *   C1  a call that is not on a wait list, has no timer and is not ready has been answered or is being run
 *   C2  a call is answered exactly once: call_forget() comes before every answer
 *
 * LOCKS     none: one thread.
 * LINUX     wait queues; the thread itself sleeps in the handler there.
 */
#include "core.h"

#include <stdlib.h>
#include <string.h>

static struct link ready = {&ready, &ready};

static void call_expired(struct timer *t)
{
	struct call *c = container_of(t, struct call, timer);

	c->timed_out = true;
	call_wake(c);
}

void call_init(struct call *c, struct thread *t)
{
	c->thread = t;
	c->timer.expired = call_expired;
	list_init(&c->timer.link);
	list_init(&c->ready_link);
}

static bool is_sent_again(const struct call *c, const struct message *m)
{
	return c->resume && c->nr == (uint32_t)m->label && !memcmp(c->arg, m->word, sizeof(c->arg));
}

void call_begin(struct call *c, const struct message *m)
{
	c->token = m->token;
	if (__builtin_expect(c->resume, 0)) {
		bool again = is_sent_again(c, m);

		c->resume = false;
		if (again)
			return;
	}
	c->nr = (uint32_t)m->label;
	c->label = m->label;
	memcpy(c->arg, m->word, sizeof(c->arg));
	c->reply_bytes = 0;
	c->done = c->deadline = c->state[0] = c->state[1] = 0;
	c->first = true;
	c->timed_out = c->no_restart = c->no_eintr = false;
}

/* --- waiting ---------------------------------------------------------------------------------------------- */

void wait_list_init(struct wait_list *list)
{
	list_init(&list->waiters);
}

long call_wait(struct call *c, struct wait_list *list)
{
	struct waiter *w = NULL;

	for (size_t i = 0; i < sizeof(c->own) / sizeof(c->own[0]) && !w; i++)
		if (!c->own[i].call)
			w = &c->own[i];
	if (w) {
		w->allocated = false;
	} else {
		w = malloc(sizeof(*w));
		if (!w) {
			c->no_memory = true;
			return -ENOMEM;
		}
		w->allocated = true;
	}
	w->call = c;
	w->next = c->waiters;
	c->waiters = w;
	list_append(&list->waiters, &w->on_list);
	return CALL_WAIT;
}

long call_wait_until(struct call *c, uint64_t deadline)
{
	timer_set(&c->timer, deadline ? deadline : 1);
	return CALL_WAIT;
}

long call_yield(struct call *c)
{
	call_wake(c);
	return CALL_YIELD;
}

void call_forget(struct call *c)
{
	while (c->waiters) {
		struct waiter *w = c->waiters;

		c->waiters = w->next;
		list_remove(&w->on_list);
		w->call = NULL;
		if (w->allocated)
			free(w);
	}
	if (c->timer.when)
		timer_set(&c->timer, 0);
	if (c->ready) {
		c->ready = false;
		list_remove(&c->ready_link);
	}
}

void call_wake(struct call *c)
{
	if (c->ready)
		return;
	call_forget(c);
	c->ready = true;
	list_append(&ready, &c->ready_link);
}

void wait_list_wake_all(struct wait_list *list)
{
	while (!list_empty(&list->waiters)) {
		struct waiter *w = container_of(list->waiters.next, struct waiter, on_list);

		/* A call that is ready may have added itself again in the same run: it leaves the list all the same. */
		if (w->call->ready)
			list_remove(&w->on_list);
		else
			call_wake(w->call);
	}
}

bool calls_ready(void)
{
	return !list_empty(&ready);
}

/* --- running ---------------------------------------------------------------------------------------------- */

/* A signal comes first: what was to go with the answer is copied now. -> what the call returns */
static long reply_now(struct call *c, long result)
{
	size_t bytes = c->reply_bytes;

	c->reply_bytes = 0;
	if (bytes &&
		task_write(c->thread->process->task, c->arg[1], c->reply, bytes) != (long)bytes)
		return -EFAULT;
	return result;
}

/* The handler is not done. A signal that came meanwhile ends the wait. */
static void call_unfinished(struct call *c, long result)
{
	struct thread *t = c->thread;

	switch (result) {
	case CALL_FAULT_IN:
		call_forget(c);
		c->resume = true;
		t->state = THREAD_RUNS;
		answer_fault_in(c->token, c->fault_addr, c->fault_bytes, c->fault_write);
		break;
	case CALL_WAIT:
		c->first = false;
		if (t->attention && !t->vfork_child) {
			call_forget(c);
			thread_return(t, reply_now(c, c->done ? (long)c->done : CALL_RESTART));
		}
		break;
	case CALL_YIELD:
		c->first = false;
		break;
	case CALL_RESTART:
		c->first = false;
		/* fall through */
	case CALL_SET:
		call_forget(c);
		thread_return(t, result);
		break;
	case CALL_POPULATE:
		call_forget(c);
		if (t->attention) { /* a signal comes first: what is touched later faults then */
			thread_return(t, (long)c->fault_addr);
			break;
		}
		t->state = THREAD_RUNS;
		answer_populate(c->token, c->fault_addr, c->fault_bytes, c->fault_write);
		break;
	case CALL_GONE:
		break;
	}
}

void call_run(struct call *c)
{
	call_handler *handler = table_find(c->nr);
	long result;

	if (__builtin_expect(!handler, 0)) {
		table_unknown(c);
		result = -ENOSYS;
	} else {
		result = handler(c);
	}
	if (__builtin_expect(result < -4095, 0)) {
		call_unfinished(c, result);
		return;
	}
	if (c->waiters || c->timer.when || c->ready)
		call_forget(c);
	if (__builtin_expect(c->thread->restore_blocked, 0))
		signal_mask_restore(c->thread);
	if (__builtin_expect(c->thread->attention, 0)) {
		thread_return(c->thread, reply_now(c, result));
		return;
	}
	c->thread->state = THREAD_RUNS;
	if (c->reply_bytes)
		answer_bytes(c->token, result, c->reply, c->reply_bytes);
	else
		answer(c->token, (uint64_t)result);
}

/* As many as are ready now: those that become ready meanwhile have their turn after the next message. */
void calls_run_ready(void)
{
	struct link *last = ready.prev;
	bool more = !list_empty(&ready);

	while (more && !list_empty(&ready)) {
		struct link *l = ready.next;
		struct call *c = container_of(l, struct call, ready_link);

		more = l != last;
		c->ready = false;
		list_remove(l);
		call_run(c); /* what it waited for goes before a signal */
	}
}

/* --- copying ---------------------------------------------------------------------------------------------- */

/* Where memory is short too: touching the page itself, the thread waits for some, as for any page of its own. */
static long fault_in(struct call *c, uint64_t addr, size_t bytes, bool write)
{
	c->fault_addr = addr;
	c->fault_bytes = bytes;
	c->fault_write = write;
	return CALL_FAULT_IN;
}

/* So few that a call of memcpy() would be the longer part. */
static inline void copy_few(void *to, const void *from, size_t bytes)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

/* Do [at, +bytes) lie within what came along, or may go back? */
static inline bool within_buffer(const struct call *c, uint64_t at, size_t bytes)
{
	return at >= c->arg[1] && at - c->arg[1] <= c->arg[2] &&
	       bytes <= c->arg[1] + c->arg[2] - at;
}

/* From space to space. */
static __attribute__((noinline)) long copy_in_far(
	struct call *c, void *to, uint64_t from, size_t bytes)
{
	size_t done = 0;

	while (done < bytes) {
		long n = task_read(
			c->thread->process->task, from + done, (char *)to + done, bytes - done);

		if (n == -EAGAIN || n == -ENOMEM)
			return fault_in(c, from + done, bytes - done, false);
		if (n <= 0)
			return -EFAULT;
		done += n;
	}
	return 0;
}

long copy_in(struct call *c, void *to, uint64_t from, size_t bytes)
{
	if (!(c->label & MESSAGE_BYTES) || !within_buffer(c, from, bytes))
		return copy_in_far(c, to, from, bytes);
	copy_few(to, (const char *)&c->arg[3] + (from - c->arg[1]), bytes);
	return 0;
}

static __attribute__((noinline)) long copy_out_far(
	struct call *c, uint64_t to, const void *from, size_t bytes)
{
	size_t done = 0;

	while (done < bytes) {
		long n = task_write(c->thread->process->task, to + done, (const char *)from + done,
			bytes - done);

		if (n == -EAGAIN || n == -ENOMEM)
			return fault_in(c, to + done, bytes - done, true);
		if (n <= 0)
			return -EFAULT;
		done += n;
	}
	return 0;
}

long copy_out(struct call *c, uint64_t to, const void *from, size_t bytes)
{
	uint64_t next = c->arg[1] + c->reply_bytes;

	if (!(c->label & MESSAGE_ROOM) || to != next || !within_buffer(c, to, bytes))
		return copy_out_far(c, to, from, bytes);
	copy_few((char *)c->reply + c->reply_bytes, from, bytes);
	c->reply_bytes += bytes;
	return 0;
}

/* Page by page: the text may end in the last page that is there. Short first: most texts are. */
long copy_in_text(struct call *c, char *to, uint64_t from, size_t size)
{
	size_t done = 0, want = 64;

	while (done < size) {
		size_t n = PAGE_BYTES - (from + done) % PAGE_BYTES;
		const char *end;
		long error;

		n = n < want ? n : want;
		n = n < size - done ? n : size - done;
		error = copy_in(c, to + done, from + done, n);
		if (error)
			return error;
		end = memchr(to + done, 0, n);
		if (end)
			return end - to;
		done += n;
		want = PAGE_BYTES;
	}
	return -ENAMETOOLONG;
}
