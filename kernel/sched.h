/*
 * sched.h - threads, run queues, wait queues.                                                 floor 4
 *
 * A thread runs until it blocks, yields at a preempt_point(), or, in ring 3, until its slice is used up.
 *
 *   NEW --sched_start--> READY <--> RUNNING --sched_block--> BLOCKED --sched_wake--> READY
 *                                      \--sched_exit--> DEAD (its stack is freed by the next thread)
 */
#ifndef SCHED_H
#define SCHED_H

#include "ipc.h"
#include "lib/list.h"
#include "mm/mm.h"
#include "object.h"
#include "sync.h"
#include "timeout.h"
#include "x86/regs.h"

enum thread_state {
	THREAD_NEW,
	THREAD_READY,
	THREAD_RUNNING,
	THREAD_BLOCKED,
	THREAD_DEAD
};

#define KSTACK_PAGES 4 /* 16 KiB, with an unmapped guard page below */

struct task;
struct pager_wait;

struct waitq {
	struct spinlock lock;
	struct list waiters;
};

struct thread {
	u64 rsp;                 /* (r) saved by switch.asm; must stay the first field */
	u32 tid;                 /* (c) the task's pid for its first thread */
	enum thread_state state; /* (r) run-queue lock of its CPU */
	char name[16];
	struct task *task;    /* (c) NULL for kernel threads */
	struct mm *mm;        /* (t) NULL for kernel threads */
	struct list run_link; /* (r) */
	u32 cpu;              /* (r) where it runs or waits to run */
	bool wake_pending;    /* (r) woken while not blocked: see sched.c, NO LOST WAKE-UP */
	bool pinned;          /* (r) `allowed` has not all CPUs */
	bool patient;         /* (t) may wait for a task for ever: watchdog.c leaves it alone */
	bool woken;           /* (r) READY: it slept, and stands among the woken */
	u64 allowed; /* (r) pinned: bit n: it may run on CPU n in ring 3. See sched.c, BOUND TO CPUS */
	union { /* (a) what to do before the next return to ring 3; see thread_kill() and its like */
		struct {
			bool kill_pending;      /* leave; killable sleeps end */
			bool interrupt_pending; /* interruptible sleeps end, then MESSAGE_INTERRUPTED */
			bool suspend_pending; /* stand still until suspend_count is 0 */
			bool step_pending;    /* it was single-stepped: MESSAGE_EXCEPTION */
			bool move_pending;    /* `allowed` has changed: perhaps not this CPU */
		};
		u64 pending; /* any of them */
	};
	u32 mempolicy;           /* (t) where its pages come from, as VM_POLICY; 0: nothing said */
	u64 slice_end;           /* (r) ns */
	u64 runtime_ns;          /* (r) */
	u64 started_ns;          /* (r) when it last got the CPU */
	vaddr_t stack_bottom;    /* (c) lowest mapped byte of the kernel stack */
	void *fpu;               /* (t) XSAVE area; NULL for kernel threads */
	u64 fs_base, gs_base;    /* (t) ring 3's segment bases */
	vaddr_t clear_child_tid; /* (t) set_tid_address */
	struct regs
		*user_regs; /* (c) where every entry from ring 3 saves them: the top of the stack */
	struct lock_context locks; /* (t) */
	struct list all_link;      /* list of all threads */
	void (*entry)(void *arg);  /* (c) */
	void *arg;                 /* (c) */
	void (*on_gone)(
		struct thread *t); /* (c) it ended and its memory is back; in the next thread */
	const void *waiting_on;    /* (t) for ps and the monitor: queue or lock it sleeps on */
	const char *waiting_name;

	/* Threads of tasks: as objects, and as clients of a personality */
	struct object
		object; /* the struct stays while a handle holds it; its stack goes at its end */
	struct list task_link; /* LOCK_TASKS: task->threads */
	u64 cookie;            /* (c) badge of its messages to the personality */
	struct ipc_thread ipc;
	struct pager_wait *pager_wait; /* pager.c: the page it waits for; NULL: none */
	bool in_call; /* (t) its ipc is a call to its personality: user_regs are what it goes on with */
	bool regs_set; /* lock of that endpoint: set_regs while it sat in a call: rax is not the answer's */
	u32 suspend_count; /* LOCK_TASKS: stops at its next return to ring 3 */
	bool suspended;    /* LOCK_TASKS: stands there */
	bool halted; /* LOCK_TASKS: suspended, and seen to stand since: it leaves a call only to stand again */
	bool has_left;     /* LOCK_TASKS: off task->threads, nobody can stop or kill it any more */
	u32 nr_handles;    /* LOCK_TASKS: a NEW one that nobody can start any more ends */
	int kill_status;   /* LOCK_TASKS: exit_status to be, once it is killed */
	int exit_status;   /* (t) as wait4 reports it */
	bool last_of_task; /* the last whose memory came back */
	u64 peak_rss;      /* of the task, when that was */
	u64 watch_mark;    /* watchdog.c: what it saw at its last look, */
	u32 watch_checks;  /* ... and at how many before */
	struct waitq stopped; /* it stands, or is gone: for thread_suspend() */
	struct event exit_event;
};

struct waiter {
	struct list link;
	struct thread *thread;
	bool queued;
};

void sched_init(void);            /* boot CPU: the running code becomes its idle thread */
void sched_init_cpu(void);        /* every other CPU, on itself */
__noreturn void sched_idle(void); /* what a CPU does when nothing is ready: never returns */
/*
 * A piece of work for CPUs that have nothing else to do, or NULL: a few hundred instructions that take no sleeping
 * lock, interrupts on. True: there is more. It must be there already when sched_wake_idle() is called.
 */
extern bool (*sched_idle_work)(void);
void sched_wake_idle(void);             /* one halted CPU, if there is one, asks for a piece */
u64 sched_idle_ns(const struct cpu *c); /* up to now */

/*
 * thread_create - a thread in state NEW; kernel stack, no FPU area unless task is given.
 *   returns  NULL: no memory
 */
struct thread *thread_create(
	const char *name, void (*entry)(void *), void *arg, struct task *task, struct mm *mm);
void thread_discard(struct thread *t);          /* a NEW one that is not wanted after all */
void sched_start(struct thread *t);             /* NEW -> READY, on the least busy CPU */
void sched_start_on(struct thread *t, u32 cpu); /* the same, there and for good */
__noreturn void sched_exit(void);               /* the current thread ends */
void sched_yield(void);
void sched_preempt(void);          /* need_resched was seen: give way if the slice is used up */
void sched_tick(void);             /* from the timer's interrupt */
void sched_block(void);            /* with state set by waitq_prepare(); returns when woken */
void sched_wake(struct thread *t); /* BLOCKED -> READY; any context */

/* S1 for those who sleep without a wait queue: before each look at what may end the sleep. */
static inline void sched_prepare(void)
{
	(void)__atomic_exchange_n(&current_thread()->wake_pending, false, __ATOMIC_SEQ_CST);
}

/*
 * sched_handoff - sched_wake(next), then sched_block(): on this CPU at once, without a run queue, if that is possible.
 *
 *   held     released on the way: the lock under which next cannot end its wait and go away
 *   locks    only `held`; interrupts off, on when this returns; after sched_prepare()
 */
void sched_handoff(struct thread *next, struct spinlock *held);

/*
 * sched_return_to_user - the last stop before ring 3: give way; what is pending for this thread.
 *   when     on every way back to ring 3 on which this_cpu()->need_resched is set; interrupts off
 */
void sched_return_to_user(struct regs *regs);
__noreturn void sched_enter_user(const struct regs *regs); /* first way to ring 3 of a thread */
extern void (*sched_pending)(void);                        /* control.c: thread->pending is not 0 */

/* Named points in long kernel loops where the CPU may be given away. No spinlock may be held. */
static inline void preempt_point(void)
{
	if (unlikely(READ_ONCE(this_cpu()->need_resched)))
		sched_preempt();
}

void waitq_init(struct waitq *q, const char *name);
void waitq_prepare(struct waitq *q, struct waiter *w, const char *why);
void waitq_finish(struct waitq *q, struct waiter *w);
void waitq_wake_one(struct waitq *q); /* any context */
void waitq_wake_all(struct waitq *q);

/* Sleep until cond; looked at again after each wake-up. */
#define waitq_wait(q, cond, why)                                                                   \
	do {                                                                                       \
		struct waiter waitq_w = {0};                                                       \
		for (;;) {                                                                         \
			waitq_prepare((q), &waitq_w, (why));                                       \
			if (cond)                                                                  \
				break;                                                             \
			sched_block();                                                             \
		}                                                                                  \
		waitq_finish((q), &waitq_w);                                                       \
	} while (0)

/* The same with a limit: deadline in ns since boot. Look at cond afterwards. Also ends when killed. */
#define waitq_wait_until(q, cond, deadline, why)                                                   \
	do {                                                                                       \
		struct waiter waitq_w = {0};                                                       \
		struct timeout waitq_t;                                                            \
		thread_timeout_start(&waitq_t, (deadline));                                        \
		for (;;) {                                                                         \
			waitq_prepare((q), &waitq_w, (why));                                       \
			if ((cond) || timeout_expired(&waitq_t) || thread_killed())                \
				break;                                                             \
			sched_block();                                                             \
		}                                                                                  \
		waitq_finish((q), &waitq_w);                                                       \
		timeout_cancel(&waitq_t);                                                          \
	} while (0)

/* A word for ps: what a blocked thread waits for; NULL. The fast path of calls leaves none: their state says it. */
static inline const char *thread_waiting_name(const struct thread *t)
{
	enum ipc_state state = READ_ONCE(t->ipc.state);

	if (state != IPC_IDLE)
		return state == IPC_RECEIVING ? "message" : "answer";
	return READ_ONCE(t->waiting_name);
}

void thread_timeout_start(struct timeout *t, u64 deadline_ns); /* wakes the current thread */
void sched_sleep_until(u64 deadline_ns);                       /* or until killed */
static inline bool thread_killed(void)
{
	return READ_ONCE(current_thread()->kill_pending);
}
/*
 * An interruptible sleep ends, too, when somebody wants the thread to look at something: -EINTR. Ring 3 must not see that
 * result before sched_pending() has run, and whoever set the flag may not have got to need_resched yet: so it is set here.
 */
static inline bool thread_interrupted(void)
{
	const struct thread *t = current_thread();

	if (likely(!READ_ONCE(t->kill_pending) && !READ_ONCE(t->interrupt_pending)))
		return false;
	WRITE_ONCE(this_cpu()->need_resched, true);
	return true;
}
void thread_kill(struct thread *t);      /* set kill_pending and wake it */
void thread_interrupt(struct thread *t); /* the same for interrupt_pending */
void thread_halt(struct thread *t);      /* set suspend_pending; sleeps go on */

/*
 * sched_set_allowed - from its next return to ring 3 on, t runs on these CPUs only.
 *   allowed  bit n: CPU n; at least one that is there
 *   locks    none inner to LOCK_RUNQ; any thread of a task, the current one, too
 *   Linux    set_cpus_allowed_ptr
 */
void sched_set_allowed(struct thread *t, u64 allowed);
u64 sched_all_cpus(void);                                        /* bit n: CPU n is there */
u64 sched_allowed(const struct thread *t);                       /* of those that are there */
void sched_inherit(struct thread *t, const struct thread *from); /* and mempolicy; t is NEW */

/*
 * sched_if_blocked - fn(ctx) while t is BLOCKED: its registers are saved, its stack is quiet, and it stays so.
 *   locks    none inner to LOCK_RUNQ; fn runs under the run queue's lock, interrupts off
 *   returns  false: it was not BLOCKED, fn was not called
 */
bool sched_if_blocked(struct thread *t, void (*fn)(struct thread *t, void *ctx), void *ctx);

/*
 * Run fn(arg) on this CPU while every other CPU stands in its scheduler, no kernel code in flight on them:
 * for the ledger and the checkers. May sleep before; fn must not.
 */
void sched_stop_others(void (*fn)(void *), void *arg);

/*
 * Run fn() on each CPU at its next pass through its scheduler: for what only a CPU itself may touch (its lists of pages).
 * The others go on at once; we wait until the last has done it. fn runs with interrupts off, no lock held; it must not
 * sleep, and it takes innermost locks only. May sleep before.
 */
void sched_on_each_cpu(void (*fn)(void));

/* Under the list's lock */
void thread_for_each(bool (*fn)(struct thread *t, void *ctx), void *ctx);
bool sched_check(void); /* S1: each thread on exactly one queue, S2: running ones are current */

#endif
