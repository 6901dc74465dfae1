/*
 * session.c - one command line of the monitor, run for a task                                floor 7
 *
 * What the shell's `thp`, `pt` or `check` are: a session object holds the command line, a kernel thread runs it as the
 * console's thread would, and what it writes is kept until ring 3 has read it. It knows no command.
 *
 * IDEA
 *   session_open --> thread: monitor_execute(line) --put--> page -> page -> page --session_read--> ring 3
 *                                                           ^ (read)        ^ (written)
 *   Output is kept in pages of their own, because a command may write while it holds a lock that a larger allocator
 *   would want. Behind OUTPUT_PAGES, or without memory, the rest is dropped, and a line says so.
 *
 *   Two references: the handles' and the thread's. When the last handle goes, monitor_interrupted() becomes true: the
 *   command ends at the next place where Ctrl-C would end it.
 *
 * INVARIANTS
 *   Q1  pages are on the list from the one being read to the one being written; nr_pages counts them
 *   Q2  at most SESSION_MAX sessions exist
 *
 * LOCKS     lock: pages and flags; inside it zone.lock. Taken with interrupts on.
 * LINUX     a pipe to a process.
 */
#include "monitor/session.h"
#include "lib/string.h"
#include "mm/buddy.h"
#include "mm/kmalloc.h"
#include "monitor/monitor.h"
#include "sched.h"
#include <abi/errno.h>

#define OUTPUT_PAGES (4096u + 1) /* 16 MiB, and one for the note */

struct output {
	struct output *next;
	u32 used, taken; /* bytes written, bytes read */
	char text[];
};
#define OUTPUT_BYTES (PAGE_SIZE - sizeof(struct output))

struct session {
	struct object object;
	struct spinlock lock;
	struct waitq news;             /* output, or the end */
	struct output *reading, *last; /* (lock) */
	u32 nr_pages;                  /* (lock) */
	bool dropped;                  /* (lock) output was lost */
	bool ended;                    /* (lock) status is known */
	int status;                    /* (lock) */
	u32 handles;                   /* (a) */
	bool closed;                   /* (a) nobody will read any more */
	struct monitor monitor;        /* the thread's */
	char line[EDIT_BYTES];         /* (c) */
};

static u32 nr_sessions; /* (a) */

/* --- output ------------------------------------------------------------------------------------------------ */

/* One more page to write on; false: no room. lock held. */
static bool output_grow(struct session *s)
{
	struct page *page = s->nr_pages < OUTPUT_PAGES
				    ? buddy_alloc(0, MIGRATE_UNMOVABLE, PAGE_KERNEL, 0)
				    : NULL;
	struct output *o = page ? page_to_virt(page) : NULL;

	if (!o)
		return false;
	o->next = NULL;
	o->used = o->taken = 0;
	if (s->last)
		s->last->next = o;
	else
		s->reading = o;
	s->last = o;
	s->nr_pages++;
	return true;
}

/* The page that was read to its end goes. lock held. */
static void output_shrink(struct session *s)
{
	struct output *o = s->reading;

	s->reading = o->next;
	if (!s->reading)
		s->last = NULL;
	s->nr_pages--;
	buddy_free(virt_to_page(o));
}

/* The sink of the command's words. */
static void session_put(void *ctx, const char *text, usize len)
{
	struct session *s = ctx;

	spin_lock(&s->lock);
	while (len && !s->closed && !s->dropped) {
		usize room = s->last ? OUTPUT_BYTES - s->last->used : 0, n = MIN(len, room);

		if (!room) {
			s->dropped = !output_grow(s);
			continue;
		}
		memcpy(s->last->text + s->last->used, text, n);
		s->last->used += (u32)n;
		text += n;
		len -= n;
	}
	spin_unlock(&s->lock);
	waitq_wake_all(&s->news);
}

static bool output_ready(const struct session *s)
{
	return READ_ONCE(s->reading) || READ_ONCE(s->ended);
}

static const char dropped_note[] = "\n... the rest of the output found no room\n";

/* What is there, without waiting. Nothing, and *more: another reader was faster. */
static usize output_take(struct session *s, char *buf, usize len, bool *more)
{
	usize done = 0;

	spin_lock(&s->lock);
	while (s->reading && done < len) {
		struct output *o = s->reading;
		usize n = MIN(len - done, (usize)(o->used - o->taken));

		memcpy(buf + done, o->text + o->taken, n);
		o->taken += (u32)n;
		done += n;
		if (o->taken < o->used)
			break;
		output_shrink(s);
	}
	if (!done && s->ended && s->dropped && len >= sizeof(dropped_note)) {
		s->dropped = false;
		done = sizeof(dropped_note) - 1;
		memcpy(buf, dropped_note, done);
	}
	*more = !s->ended;
	spin_unlock(&s->lock);
	return done;
}

s64 session_read(struct object *o, char *buf, usize len)
{
	struct session *s = container_of(o, struct session, object);
	bool more;
	usize n;

	do {
		waitq_wait(&s->news, output_ready(s) || thread_interrupted(), "session");
		if (!output_ready(s))
			return -EINTR;
		n = output_take(s, buf, len, &more);
	} while (!n && more);
	return (s64)n;
}

int session_status(struct object *o)
{
	struct session *s = container_of(o, struct session, object);

	waitq_wait(&s->news, READ_ONCE(s->ended) || thread_interrupted(), "session");
	return READ_ONCE(s->ended) ? s->status & 0xff : -EINTR;
}

/* --- life --------------------------------------------------------------------------------------------------- */

static void session_opened(struct object *o, u32 rights)
{
	struct session *s = container_of(o, struct session, object);

	__atomic_add_fetch(&s->handles, 1, __ATOMIC_RELAXED);
}

static void session_closed(struct object *o, u32 rights)
{
	struct session *s = container_of(o, struct session, object);

	if (!__atomic_sub_fetch(&s->handles, 1, __ATOMIC_ACQ_REL))
		WRITE_ONCE(s->closed, true);
}

void session_abandon(struct object *o)
{
	WRITE_ONCE(container_of(o, struct session, object)->closed, true);
}

static void session_release(struct object *o)
{
	struct session *s = container_of(o, struct session, object);

	while (s->reading)
		output_shrink(s);
	kfree(s);
	__atomic_sub_fetch(&nr_sessions, 1, __ATOMIC_RELEASE);
}

static u64 session_weight(const struct object *o)
{
	return READ_ONCE(container_of(o, struct session, object)->nr_pages) * PAGE_SIZE;
}

static const struct object_ops session_ops = {
	.name = "session",
	.weight = session_weight,
	.release = session_release,
	.opened = session_opened,
	.closed = session_closed,
};

static void session_thread(void *arg)
{
	struct session *s = arg;
	int status = monitor_execute(&s->monitor, s->line);

	spin_lock(&s->lock);
	s->status = status;
	WRITE_ONCE(s->ended, true);
	spin_unlock(&s->lock);
	waitq_wake_all(&s->news);
	object_put(&s->object);
	sched_exit();
}

static struct session *session_create(const char *line, usize len, bool may_power)
{
	struct session *s = kzalloc(sizeof(*s));

	if (!s)
		return NULL;
	object_init(&s->object, OBJECT_SESSION, &session_ops);
	spin_init(&s->lock, LOCK_SESSION, "session");
	waitq_init(&s->news, "session");
	memcpy(s->line, line, len);
	monitor_session_init(&s->monitor, session_put, s);
	s->monitor.stop = &s->closed;
	s->monitor.may_power = may_power;
	return s;
}

/* One of SESSION_MAX places; false: all are taken. */
static bool place_take(void)
{
	if (__atomic_add_fetch(&nr_sessions, 1, __ATOMIC_ACQUIRE) <= SESSION_MAX)
		return true;
	__atomic_sub_fetch(&nr_sessions, 1, __ATOMIC_RELEASE);
	return false;
}

int session_open(const char *line, usize len, bool may_power, struct object **out)
{
	struct session *s;
	struct thread *t;

	if (len >= EDIT_BYTES)
		return -E2BIG;
	if (!place_take())
		return -EAGAIN;
	s = session_create(line, len, may_power);
	if (!s) {
		__atomic_sub_fetch(&nr_sessions, 1, __ATOMIC_RELEASE);
		return -ENOMEM;
	}
	t = thread_create("session", session_thread, s, NULL, NULL);
	if (!t) {
		object_put(&s->object);
		return -ENOMEM;
	}
	object_get(&s->object); /* the thread's */
	sched_start(t);
	*out = &s->object;
	return 0;
}
