/*
 * ipc.h - endpoints, calls, events.                                                            floor 4
 *
 * What ring 3 sees: include/abi/message.h. The system calls: native_ipc.c.
 */
#ifndef IPC_H
#define IPC_H

#include "lib/list.h"
#include "object.h"
#include "sync.h"
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
	int status;           /* endpoint->lock: how the wait ended, once state is IDLE again */
	struct endpoint *endpoint; /* (t) where it waits; its caller holds a reference */
	struct list link;          /* endpoint->lock: callers, unanswered or receivers */
	/*
	 * (t) Where a handle goes that comes with a message, and by which ipc_server_gone() knows whose thread received;
	 * NULL: it takes none.
	 */
	struct handle_table *handles;
	const struct handle_table
		*server; /* endpoint->lock: UNANSWERED: `handles` of the receiver */
	/*
	 * What is sent, then the answer; or what is received. With in_regs, label, words and handle are in user_regs, as
	 * abi/message.h says, badge and token here and, once received, there.
	 */
	struct message message;
	bool in_regs;          /* (t) */
	struct object *object; /* sent or received with it, with a reference; NULL: none */
	u32 rights;
	u64 badge;           /* of that handle */
	struct event *event; /* received: event->taken() is to be called */
};

/* Something to tell a server that nobody waits for an answer to. Its memory is the sender's until taken. */
struct event {
	struct list link; /* endpoint->lock; on endpoint->events while queued */
	bool queued;      /* endpoint->lock */
	/* Writes the message; called with endpoint->lock held when a receiver takes it, off the list by then. */
	void (*take)(struct event *e, struct message *m);
	/* Afterwards, by the thread that received it, or when the endpoint dies; no lock held; or NULL. */
	void (*taken)(struct event *e);
};

#define ENDPOINT_BUCKETS 64 /* of unanswered callers, by token */

struct endpoint {
	struct object object;
	u32 receive_handles; /* (a) 0 after the last: dead */
	struct spinlock lock;
	bool dead;                                /* lock */
	u64 last_token;                           /* lock */
	struct list callers;                      /* lock: queued, in order */
	struct list receivers;                    /* lock: threads that wait here, in order */
	struct list events;                       /* lock: before callers */
	struct list unanswered[ENDPOINT_BUCKETS]; /* lock: received; token % ENDPOINT_BUCKETS */
	struct list all_link;                     /* the list of all endpoints */
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

static inline struct endpoint *endpoint_of(struct object *o)
{
	return container_of(o, struct endpoint, object);
}
static inline struct notification *notification_of(struct object *o)
{
	return container_of(o, struct notification, object);
}

/*
 * event_post - queue e, or hand it to a receiver that waits. Any context in which endpoint->lock may be taken (it is
 * irq-safe). False: the endpoint is dead; e is still the caller's.
 */
bool event_post(struct endpoint *ep, struct event *e);
bool event_cancel(struct endpoint *ep, struct event *e); /* true: it was still queued */

/*
 * ipc_call - send m from the current thread, sleep until it is answered.
 *
 *   m          badge and label are the caller's to choose
 *   o, rights  an object that travels with it, or NULL; the caller keeps its reference
 *   locks      none held, interrupts on
 *   returns    0: *m is the answer; -EPIPE, -ETIMEDOUT, -EMFILE (the object did not fit into the receiver's table),
 *              -EINTR (killed, or interrupted while m was not answered and `interruptible`)
 */
int ipc_call(struct endpoint *ep, struct message *m, struct object *o, u32 rights, u64 deadline,
	bool interruptible);

/*
 * The same and its counterparts with everything in current_thread()->ipc: message, in_regs, and object, rights, badge;
 * object is NULL again after a call. The caller has a reference on the endpoint. No lock held, interrupts on.
 *
 * ipc_receive          0: a message; an object in it is the caller's. If it has no room: ipc_reject(), receive again.
 *                      -EPIPE, -ETIMEDOUT, -EINTR
 * ipc_reply            answers the call `token` names. 0, -ESRCH, -EMFILE (the object does not fit: nothing happened)
 * ipc_reply_receive    the former's failure is not told; the caller gets -EMFILE where the object does not fit
 */
int ipc_send(struct endpoint *ep, u64 deadline, bool interruptible);

/* ipc_send() of a message in ipc.message, where the answer will be; without a deadline, and only a kill ends it. */
int ipc_send_message(struct endpoint *ep);
int ipc_receive(struct endpoint *ep, u64 deadline);
int ipc_reply(struct endpoint *ep);
int ipc_reply_receive(struct endpoint *ep, u64 deadline);

/* The call `token` of ep fails with this status. */
void ipc_reject(struct endpoint *ep, u64 token, int status);

/* The task of this handle table ends: what its threads received and did not answer fails with -EPIPE. */
void ipc_server_gone(const struct handle_table *server);

/* A caller of `ep` that the holder of `token` may act for (pager_supply): the thread with a reference, or NULL. */
struct thread *ipc_caller(struct endpoint *ep, u64 token);

bool ipc_check(void); /* I1-I4: see ipc.c; the other CPUs stand still */

#endif
