/*
 * ipc.h - endpoints, calls, events.                                                            floor 4
 *
 * What ring 3 sees: include/abi/message.h.
 */
#ifndef IPC_H
#define IPC_H

#include "lib/list.h"
#include "object.h"
#include "sync.h"
#include "x86/regs.h"
#include <abi/message.h>

struct thread;
struct handle_table;

/* Where a thread stands; changed under the lock of its endpoint. */
enum ipc_state {
	IPC_IDLE,
	IPC_QUEUED,     /* its message waits for a receiver */
	IPC_UNANSWERED, /* a server has its message */
	IPC_RECEIVING,
};

/* In struct thread. */
struct ipc_thread {
	enum ipc_state state; /* endpoint->lock */
	int status;           /* endpoint->lock: how the call ended, once state is IDLE again */
	struct endpoint *endpoint; /* (t) with a reference while state is not IDLE */
	struct list link;          /* endpoint->lock: callers, unanswered or receivers */
	const void *
		server; /* endpoint->lock: UNANSWERED: the handle table of the task that received it */
	u64 token;      /* (t) of the call that is on */
	struct message message; /* sent, then answered; received */
	struct object *object;  /* the handle that travels with it: with a reference */
	u32 rights;
};

/* Something to tell a server that nobody waits for an answer to. Its memory is the sender's until taken. */
struct event {
	struct list link; /* endpoint->lock; on endpoint->events while queued */
	bool queued;      /* endpoint->lock */
	/* Writes the message; called with endpoint->lock held when a receiver takes it, off the list by then. */
	void (*take)(struct event *e, struct message *m);
	void (*taken)(struct event *e); /* afterwards, no lock held; or NULL */
};

struct endpoint {
	struct object object;
	struct spinlock lock;
	struct list callers;    /* queued, in order */
	struct list unanswered; /* received */
	struct list receivers;  /* threads that wait here */
	struct list events;     /* before callers */
	u32 receive_handles;    /* (a) 0 after the last: dead */
	bool dead;              /* lock */
};

struct notification {
	struct object object;
	struct endpoint *endpoint; /* (c) with a reference */
	u64 bits;                  /* endpoint->lock */
	struct event event;
};

void ipc_init(void);

struct endpoint *endpoint_create(void); /* one reference; NULL: no memory */
struct notification *notification_create(struct endpoint *ep);
void notification_signal(struct notification *n, u64 bits); /* any context, interrupts too */

/*
 * event_post - queue e, or hand it to a receiver that waits. Any context in which endpoint->lock may be taken (it is
 * irq-safe). False: the endpoint is dead; e is still the caller's.
 */
bool event_post(struct endpoint *ep, struct event *e);
bool event_cancel(struct endpoint *ep, struct event *e); /* true: it was still queued */

/*
 * ipc_call - send m from the current thread, sleep until it is answered.
 *
 *   o, rights  an object that travels with it, or NULL; the caller keeps its reference
 *   locks      none held, interrupts on
 *   returns    0: *m is the answer; -EPIPE, -ETIMEDOUT, -EINTR (killed, or interrupted while m was not answered and
 *              `interruptible`)
 */
int ipc_call(struct endpoint *ep, struct message *m, struct object *o, u32 rights, u64 deadline,
	bool interruptible);

/* A call the kernel does not own: to the personality of the current task. regs->rax is set. The fast path. */
void ipc_forward(struct endpoint *ep, struct regs *regs);

/* The task of this handle table ends: what its threads received and did not answer fails with -EPIPE. */
void ipc_server_gone(const struct handle_table *server);

/* A caller of `ep` that the holder of `token` may act for (pager_supply): the thread with a reference, or NULL. */
struct thread *ipc_caller(struct endpoint *ep, u64 token);

bool ipc_check(void); /* I1..: see ipc.c */

#endif
