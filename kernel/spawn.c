/*
 * spawn.c - a program is started by the personality, for the monitor               floor 7, below: machine.c
 *
 * The kernel starts one program, /servers/init; all others are a personality's. Its endpoint is left here, and a command
 * that wants a program sends it a message there, as any client would. It knows nothing of processes.
 *
 * IDEA
 *   spawn_program("thptouch", "write", "64M")
 *      arguments -> memory object --MESSAGE_SPAWN--> personality: reads them, starts the program
 *      its task  <----- answer: pid, its thread is NEW ---
 *      starts the thread
 *   The thread is started here, with a reference on the task at hand: however soon it ends, its status is not lost.
 *   While the servers start, or start again, there is no endpoint for a moment: it is waited for.
 *
 * LOCKS     lock: the endpoint's pointer. None is held while the message is on its way.
 * LINUX     kernel/umh.c starts programs of user space for the kernel.
 */
#include "spawn.h"
#include "lib/string.h"
#include "mm/memory.h"
#include "sched.h"
#include "x86/timer.h"
#include <abi/errno.h>
#include <abi/message.h>
#include <abi/native.h>

#define SPAWNER_NS (5 * NS_PER_SEC) /* how long a starter of programs is waited for */

static struct spinlock lock = SPINLOCK_INIT(LOCK_MACHINE, "spawner");
static struct endpoint *spawner; /* (lock) with a reference */
static struct waitq spawner_wait;

void spawn_init(void)
{
	waitq_init(&spawner_wait, "spawner");
}

void spawn_set_server(struct endpoint *ep)
{
	struct endpoint *before;
	u64 flags;

	object_get(&ep->object);
	flags = spin_lock_irqsave(&lock);
	before = spawner;
	spawner = ep;
	spin_unlock_irqrestore(&lock, flags);
	if (before)
		object_put(&before->object);
	waitq_wake_all(&spawner_wait);
}

/* The starter of programs, with a reference; NULL: there is none, or all its servers are gone. */
static struct endpoint *spawner_get(void)
{
	u64 flags = spin_lock_irqsave(&lock);
	struct endpoint *ep = spawner && !READ_ONCE(spawner->dead) ? spawner : NULL;

	if (ep)
		object_get(&ep->object);
	spin_unlock_irqrestore(&lock, flags);
	return ep;
}

/* "name\0arg\0arg\0" as a memory object; NULL: no memory. */
static struct memory *pack(int argc, char *const argv[], u64 *bytes)
{
	struct memory *m;
	u64 at = 0;

	*bytes = 0;
	for (int i = 0; i < argc; i++)
		*bytes += strlen(argv[i]) + 1;
	m = memory_create(*bytes);
	for (int i = 0; m && i < argc; i++) {
		u64 len = strlen(argv[i]) + 1;

		if (memory_write(m, at, argv[i], len)) {
			object_put(&m->object);
			return NULL;
		}
		at += len;
	}
	return m;
}

/* Its first thread, which the personality has left NEW. -EPIPE: it has gone since, and its tasks with it. */
static int begin(u32 pid, struct task **out)
{
	struct task *t = task_find(pid);
	struct thread *th;

	if (!t)
		return -EPIPE;
	task_lock();
	th = t->thread;
	if (th)
		object_get(&th->object);
	task_unlock();
	if (th) {
		(void)task_start_thread(th); /* not NEW: it was killed, and ends by itself */
		object_put(&th->object);
	}
	*out = t;
	return 0;
}

/* One attempt. -EPIPE: this starter cannot answer any more. */
static int spawn_by(
	struct endpoint *ep, int argc, char *const argv[], bool background, struct task **out)
{
	struct message msg = {.label = MESSAGE_SPAWN};
	struct memory *m;
	int err;

	m = pack(argc, argv, &msg.word[1]);
	if (!m)
		return -ENOMEM;
	msg.word[0] = (u64)argc;
	msg.word[2] = background;
	err = ipc_call(ep, &msg, &m->object, RIGHT_READ | RIGHT_DUPLICATE, DEADLINE_NEVER, false);
	object_put(&m->object);
	if (err || (s64)msg.label < 0)
		return err ?: (int)msg.label;
	return begin((u32)msg.label, out);
}

int spawn_program(int argc, char *const argv[], bool background, struct task **out)
{
	u64 deadline = time_ns() + SPAWNER_NS;
	struct endpoint *ep;
	int result;

	for (;;) {
		waitq_wait_until(&spawner_wait, (ep = spawner_get()), deadline, "spawner");
		if (!ep)
			return thread_killed() ? -EINTR : -ETIMEDOUT;
		result = spawn_by(ep, argc, argv, background, out);
		object_put(&ep->object);
		if (result != -EPIPE || time_ns() >= deadline)
			return result;
	}
}
