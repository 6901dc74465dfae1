/*
 * native_ipc.c - handles and messages, as ring 3 asks for them             floor 7, below: ipc.c, task.c
 *
 * The door: registers into a message and back, numbers into objects. What happens in between is ipc.c's.
 *
 * IDEA
 *   registers of the caller --ipc_send--> ... registers of the receiver     label and words: ipc.c copies them
 *        r15 --object_attach--> .object   --> .object --object_accept--> r15
 *
 *   A call the kernel does not own goes the same way: its number and six arguments are the message, the
 *   label of the answer is its result (ipc_forward). The personality may ask for memory to be there first;
 *   then the thread touches it, as itself, and sends the call again.
 *
 * LOCKS     none of its own.
 * LINUX     has none: there a system call is a call. L4's and seL4's kernels do this in assembly.
 */
#include "native.h"

#include "mm/fault.h"
#include "mm/uaccess.h"
#include "sched.h"
#include <abi/errno.h>

/* --- handles ------------------------------------------------------------------------------------------ */

s64 native_new(struct object *o, u32 rights)
{
	int handle = handle_install(current_handles(), o, rights, 0, 0);

	object_put(o);
	return handle;
}

s64 native_handle_close(struct regs *r)
{
	return handle_close(current_handles(), (u32)NATIVE_ARG0(r));
}

/* What may be passed on of a handle: with fewer rights, at most. */
static int handle_read_to_share(u32 h, struct handle *out)
{
	int error = handle_read(current_handles(), h, out);

	if (error)
		return error;
	if (out->rights & RIGHT_DUPLICATE)
		return 0;
	object_put(out->object);
	return -EACCES;
}

s64 native_handle_duplicate(struct regs *r)
{
	u64 rights = NATIVE_ARG1(r), badge = NATIVE_ARG2(r);
	struct handle h;
	s64 result = handle_read_to_share((u32)NATIVE_ARG0(r), &h);

	if (result)
		return result;
	if (rights & ~(u64)h.rights || (badge && (h.object->type != OBJECT_ENDPOINT || h.badge)))
		result = -EINVAL;
	else
		result = handle_install(
			current_handles(), h.object, (u32)rights, badge ? badge : h.badge, 0);
	object_put(h.object);
	return result;
}

s64 native_handle_grant(struct regs *r)
{
	u64 rights = NATIVE_ARG2(r), index = NATIVE_ARG3(r);
	struct object *task;
	struct handle h;
	s64 result = handle_read_to_share((u32)NATIVE_ARG1(r), &h);

	if (result)
		return result;
	result = handle_get(
		current_handles(), (u32)NATIVE_ARG0(r), OBJECT_TASK, RIGHT_MANAGE, &task, NULL);
	if (!result) {
		if (rights & ~(u64)h.rights || index >= HANDLE_MAX)
			result = -EINVAL;
		else
			result = handle_install(&container_of(task, struct task, object)->handles,
				h.object, (u32)rights, h.badge, (u32)index);
		object_put(task);
	}
	object_put(h.object);
	return result;
}

/* --- endpoints and notifications ---------------------------------------------------------------------- */

#define ENDPOINT_RIGHTS     (RIGHT_SEND | RIGHT_RECEIVE | RIGHT_DUPLICATE)
#define NOTIFICATION_RIGHTS (RIGHT_SEND | RIGHT_DUPLICATE)

s64 native_endpoint_create(struct regs *r)
{
	struct endpoint *ep = endpoint_create();

	return ep ? native_new(&ep->object, ENDPOINT_RIGHTS) : -ENOMEM;
}

static __always_inline int endpoint_get(u64 h, u32 rights, struct endpoint **ep, u64 *badge)
{
	struct object *o;
	int error = handle_get(current_handles(), (u32)h, OBJECT_ENDPOINT, rights, &o, badge);

	if (likely(!error))
		*ep = endpoint_of(o);
	return error;
}

s64 native_notification_create(struct regs *r)
{
	struct endpoint *ep;
	struct notification *n;
	int error = endpoint_get(NATIVE_ARG0(r), RIGHT_RECEIVE, &ep, NULL);

	if (error)
		return error;
	n = notification_create(ep);
	object_put(&ep->object);
	return n ? native_new(&n->object, NOTIFICATION_RIGHTS) : -ENOMEM;
}

s64 native_notification_signal(struct regs *r)
{
	struct object *o;
	int error = handle_get(
		current_handles(), (u32)NATIVE_ARG0(r), OBJECT_NOTIFICATION, RIGHT_SEND, &o, NULL);

	if (error)
		return error;
	notification_signal(notification_of(o), NATIVE_ARG1(r));
	object_put(o);
	return 0;
}

/* --- messages ----------------------------------------------------------------------------------------- */

/* The handle in r15 is to travel. */
__noinline static int object_attach_slow(struct ipc_thread *ipc, u32 handle)
{
	struct handle h;
	int error = handle_read_to_share(handle, &h);

	if (error)
		return error;
	ipc->object = h.object;
	ipc->rights = h.rights;
	ipc->badge = h.badge;
	return 0;
}

static inline int object_attach(struct ipc_thread *ipc, const struct regs *r)
{
	return likely(r->r15 == HANDLE_NONE) ? 0 : object_attach_slow(ipc, (u32)r->r15);
}

/* A message with a handle came: name it here. Where it does not fit, its caller hears of it and the next comes. */
__noinline static int object_accept(struct ipc_thread *ipc, struct endpoint *ep, struct regs *r)
{
	for (;;) {
		int status, handle = handle_install(
				    ipc->handles, ipc->object, ipc->rights, ipc->badge, 0);

		object_put(ipc->object);
		ipc->object = NULL;
		if (handle > 0) {
			r->r15 = (u64)handle;
			return 0;
		}
		ipc_reject(ep, ipc->message.token, -EMFILE);
		status = ipc_receive(ep, r->rbx);
		if (status || !ipc->object)
			return status;
	}
}

/* The current thread's message is in its registers; handles that come go into its table. */
static __always_inline struct ipc_thread *message_in_regs(struct task *task)
{
	struct ipc_thread *ipc = &current_thread()->ipc;

	ipc->in_regs = true;
	ipc->handles = &task->handles;
	return ipc;
}

s64 native_ipc_call(struct regs *r)
{
	struct task *task = current_task();
	struct ipc_thread *ipc = message_in_regs(task);
	struct endpoint *ep;
	int status;

	if (unlikely(r->rdx & LABEL_KERNEL))
		return -EINVAL;
	status = endpoint_get(r->rdi, RIGHT_SEND, &ep, &ipc->message.badge);
	if (unlikely(status))
		return status;
	handle_reserve(&task->handles); /* the answer may bring one */
	status = object_attach(ipc, r);
	if (likely(!status))
		status = ipc_send(ep, r->rbx, true);
	object_put(&ep->object);
	return status;
}

/* The three calls of a server begin so: the endpoint, with a reference, of which it may receive. */
static __always_inline int server_begin(
	const struct regs *r, struct ipc_thread **ipc, struct endpoint **ep)
{
	*ipc = message_in_regs(current_task());
	return endpoint_get(r->rdi, RIGHT_RECEIVE, ep, NULL);
}

/* The two that answer go on so: whom, and with which object. Ends what server_begin() began if there is none. */
static __always_inline int answer_begin(
	const struct regs *r, struct ipc_thread **ipc, struct endpoint **ep)
{
	int status = server_begin(r, ipc, ep);

	if (unlikely(status))
		return status;
	(*ipc)->message.token = r->rsi;
	status = object_attach(*ipc, r);
	if (unlikely(status))
		object_put(&(*ep)->object);
	return status;
}

/* A message has come, or status says why not. */
static __always_inline s64 receive_end(
	struct regs *r, struct ipc_thread *ipc, struct endpoint *ep, int status)
{
	if (unlikely(!status && ipc->object))
		status = object_accept(ipc, ep, r);
	object_put(&ep->object);
	return status;
}

s64 native_ipc_receive(struct regs *r)
{
	struct ipc_thread *ipc;
	struct endpoint *ep;
	int status = server_begin(r, &ipc, &ep);

	if (unlikely(status))
		return status;
	return receive_end(r, ipc, ep, ipc_receive(ep, r->rbx));
}

s64 native_ipc_reply(struct regs *r)
{
	struct ipc_thread *ipc;
	struct endpoint *ep;
	int status = answer_begin(r, &ipc, &ep);

	if (unlikely(status))
		return status;
	status = ipc_reply(ep);
	object_put(&ep->object);
	return status;
}

s64 native_ipc_reply_receive(struct regs *r)
{
	struct ipc_thread *ipc;
	struct endpoint *ep;
	int status = answer_begin(r, &ipc, &ep);

	if (unlikely(status))
		return status;
	return receive_end(r, ipc, ep, ipc_reply_receive(ep, r->rbx));
}

/* --- calls the kernel does not own --------------------------------------------------------------------- */

/* REPLY_FAULT_IN: the memory the personality wants to have there. False: it cannot be had. */
__noinline static bool fault_in(const struct message *m)
{
	struct task *self = current_task();
	vaddr_t start = m->word[0], end;
	u64 faults = 0;
	int error;

	if (__builtin_add_overflow(start, m->word[1], &end) || end > USER_END)
		return false;
	start = ALIGN_DOWN(start, PAGE_SIZE);
	end = ALIGN_UP(end, PAGE_SIZE);
	error = fault_populate(current_thread()->mm, start, end, m->word[2], &faults);
	self->minflt += faults;
	return error == 0;
}

/*
 * REPLY_BYTES -> what the call returns. Taken out of *m first: in a fault a pager's answer is put there. On the way of every
 * short read; its array is only read, hence without a canary.
 */
__attribute__((no_stack_protector)) __noinline static s64 bytes_store(
	const struct message *m, vaddr_t to)
{
	const u64 words[] = {m->word[3], m->word[4], m->word[5]}, bytes = m->word[1];
	s64 result = (s64)m->word[0];

	if (bytes > MESSAGE_BYTES_MAX || copy_to_user((void __user *)to, words, bytes))
		return -EFAULT;
	return result;
}

/* Few bytes that are there go along, or have room in the answer: then the label says so. */
static __always_inline void bytes_attach(struct message *m, const struct regs *r, u64 kind)
{
	if (!kind || r->rdx - 1 >= MESSAGE_BYTES_MAX)
		return;
	if (kind == MESSAGE_BYTES ? !peek_user(&m->word[3], (const void __user *)r->rsi)
				  : !poke_ok_user((void __user *)r->rsi, r->rdx))
		m->label |= kind;
}

static __always_inline void call_to_message(struct message *m, const struct regs *r, u64 kind)
{
	m->word[0] = r->rdi;
	m->word[1] = r->rsi;
	m->word[2] = r->rdx;
	m->word[3] = r->r10;
	m->word[4] = r->r8;
	m->word[5] = r->r9;
	m->label = MESSAGE_SYSCALL + (u32)r->vector;
	bytes_attach(m, r, kind);
}

/*
 * The answer is no result: the registers were set, the personality is gone, or it is one of REPLY_*. What the call returns
 * goes to r->rax. False: send it again.
 */
__noinline static bool answer_special(struct thread *t, struct regs *r, int status)
{
	const struct message *m = &t->ipc.message;

	if (t->regs_set) {
		t->regs_set = false;
	} else if (status) { /* this task ends with its personality */
		r->rax = (u64)-EIO;
	} else if (m->label == REPLY_BYTES) {
		r->rax = (u64)bytes_store(m, r->rsi);
	} else if (m->label == REPLY_FAULT_IN) {
		/* Read before the fault: a pager's answer is put into m too. */
		bool done = m->word[3];

		r->rax = done ? m->word[0] : (u64)-EFAULT;
		return !fault_in(m) || done;
	} else {
		r->rax = m->label;
	}
	return true;
}

/* kind: 0, MESSAGE_BYTES, MESSAGE_ROOM. */
static __always_inline s64 forward(struct endpoint *ep, struct regs *r, u64 kind)
{
	struct thread *t = current_thread();
	struct message *m = &t->ipc.message;
	int status;

	do {
		m->badge = t->cookie;
		call_to_message(m, r, kind);
		t->in_call = true;
		status = ipc_send_message(ep);
		t->in_call = false;
		if (likely(!t->regs_set && !status && (s64)m->label >= -MAX_ERRNO))
			return (s64)m->label;
	} while (!answer_special(t, r, status));
	return (s64)r->rax;
}

s64 ipc_forward(struct endpoint *ep, struct regs *r)
{
	return forward(ep, r, 0);
}

s64 ipc_forward_write(struct endpoint *ep, struct regs *r)
{
	return forward(ep, r, MESSAGE_BYTES);
}

s64 ipc_forward_read(struct endpoint *ep, struct regs *r)
{
	return forward(ep, r, MESSAGE_ROOM);
}
