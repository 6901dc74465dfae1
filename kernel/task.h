/*
 * task.h - a task: an address space, its threads, its handles, its end.                       floor 4
 */
#ifndef TASK_H
#define TASK_H

#include "handle.h"
#include "ipc.h"
#include "lib/list.h"
#include "mm/mm.h"
#include "object.h"
#include "sched.h"

enum task_state {
	TASK_ALIVE,
	TASK_ENDED /* everything is back; out of the table */
};

struct task {
	struct object object; /* references: the table, its threads, handles, kernel code at work */
	u32 pid;              /* LOCK_TASKS; the label by which people know it */
	char name[16];        /* LOCK_TASKS */
	enum task_state state; /* LOCK_TASKS */
	struct mm *mm;         /* LOCK_TASKS; NULL once it is ending */
	struct list threads;   /* LOCK_TASKS; those that have not left */
	u32 nr_threads;        /* LOCK_TASKS; length of that list */
	u32 nr_stacks;         /* LOCK_TASKS; threads whose memory is not back yet */
	struct thread *thread; /* LOCK_TASKS; the first of the list, or NULL */
	bool killed;           /* LOCK_TASKS; kill_status is what it will have ended with */
	bool ending;           /* LOCK_TASKS; the last thread has left: no new one */
	int oom_score_adj;     /* (a) as written to /proc; nothing follows from it */
	bool essential;        /* (c) a server: not chosen when memory is short */
	bool oom_gave_up;      /* killed for its memory, and did not let go of it in time */
	struct list all_link;  /* LOCK_TASKS */
	int exit_status; /* LOCK_TASKS; as wait4 reports it: code << 8, or the signal's number */
	int kill_status; /* LOCK_TASKS */
	struct waitq exited; /* woken when this task has ended */

	struct handle_table handles;
	u32 nr_handles;               /* LOCK_TASKS; handles that name this task */
	struct endpoint *personality; /* (c) with a reference, or NULL: calls, exceptions */
	struct endpoint *exit_to;     /* (c) with a reference, or NULL: MESSAGE_EXIT */
	struct task *creator;         /* LOCK_TASKS; when it ends, this one is killed */
	struct list created;          /* LOCK_TASKS; those this one created */
	struct list created_link;     /* LOCK_TASKS */

	bool labelled;           /* LOCK_TASKS; pid and what follows are a personality's words */
	u32 ppid, pgrp, session; /* LOCK_TASKS */
	u64 minflt, majflt;      /* (a) getrusage */
	u64 runtime_ns,
		peak_rss; /* LOCK_TASKS; of threads that are gone; of the space that is gone */
};

void task_init(void);
static inline struct task *current_task(void)
{
	return current_thread()->task;
}

/* --- birth --- */

/* A task without a thread yet, of `creator`; takes over one `users` of mm on success. One reference for the caller. */
struct task *task_create_empty(struct mm *mm, struct task *creator, struct endpoint *personality,
	struct endpoint *exit_to);
/* One more thread, in state NEW; a reference for the caller. -ENOMEM, -ESRCH: the task is ending. In two steps where
 * its registers are to be written in between. */
int task_add_thread(struct task *t, void (*entry)(void *), void *arg, struct thread **out);
int task_make_thread(struct task *t, void (*entry)(void *), void *arg, struct thread **out);
int task_enter_thread(struct thread *th);
/* A NEW one, not wanted after all; false: it was killed */
bool task_remove_thread(struct thread *th);
int task_start_thread(struct thread *th); /* NEW -> READY; -EINVAL: it is not NEW */

/* --- death --- */

__noreturn void task_exit(int status);    /* the calling task ends; status as wait4 reports it */
__noreturn void thread_leave(int status); /* the calling thread ends; with the last one, the task */
bool task_kill(struct task *t, int status); /* at its next return to ring 3; false: is ending */
bool task_kill_thread(struct thread *th, int status);
void task_kill_sharers(struct task *t, int status); /* every other task in the same space */

/*
 * A death on command (CONFIG_INJECT, the monitor's `inject kill`): the task whose thread has this name is killed at
 * its n-th call of this number, before the call is made, or after; a line on the console says when.
 */
struct task_death {
	char name[16];
	u32 call;
	bool after;
	u32 left; /* (a) 0: none is wanted */
};
extern struct task_death task_death;
bool task_dies_here(u32 call, bool after); /* true: the current task has just been killed */

/* --- asking --- */

void task_lock(void); /* LOCK_TASKS */
void task_unlock(void);
struct task *task_find(u32 pid);    /* with a reference, or NULL */
struct mm *task_mm(struct task *t); /* its space with a reference (mm_put), or NULL: it is gone */
/* The same with `users` (task_drop_mm): it is not emptied */
struct mm *task_mm_user(struct task *t);
void task_drop_mm(struct mm *mm);
void task_for_each(bool (*fn)(struct task *t, void *ctx), void *ctx);
bool task_check(void); /* F1-F4: see task.c */
static inline void task_get(struct task *t)
{
	object_get(&t->object);
}
static inline void task_put(struct task *t)
{
	object_put(&t->object);
}

/* Wait for its end and give up a reference; its status as wait4 reports it. */
int task_wait(struct task *t);

/* Emptying the space at exit is floor 5's work: mmap.c sets this at start-up. */
extern void (*task_release_mm)(struct mm *mm);

#endif
