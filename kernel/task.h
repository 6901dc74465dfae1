/*
 * task.h - a task: an address space, its threads, its family, its exit status.                floor 4
 */
#ifndef TASK_H
#define TASK_H

#include "lib/list.h"
#include "mm/mm.h"
#include "sched.h"

enum task_state {
	TASK_ALIVE,
	TASK_ZOMBIE
};

struct task {
	u32 pid;               /* (c) */
	char name[16];         /* (t) */
	enum task_state state; /* LOCK_TASKS */
	struct mm *mm;         /* (c) until exit */
	struct thread *thread; /* LOCK_TASKS; NULL once it is ending */
	struct task *parent;   /* LOCK_TASKS; NULL: the kernel's console started it */
	struct list children;  /* LOCK_TASKS */
	struct list sibling;   /* LOCK_TASKS */
	struct list all_link;  /* LOCK_TASKS */
	u32 refs;              /* (a) */
	int exit_status; /* LOCK_TASKS; as wait4 reports it: code << 8, or the signal's number */
	int kill_status; /* LOCK_TASKS; exit_status to be, once it is killed */
	struct waitq exited;       /* woken when this task becomes a zombie */
	struct waitq child_exited; /* woken when one of its children does */
	bool oom_gave_up;          /* killed for its memory, and did not let go of it in time */
	u64 minflt, majflt;        /* (t) getrusage */
	u64 child_minflt, child_majflt;
	u64 runtime_ns;
	void *personality; /* (t) linux_min.c: open files, cwd */
};

void task_init(void);
/* A task with one thread that will start at entry(arg) in the kernel; takes over one `users` of mm. NULL: no memory, pids. */
struct task *task_create(
	const char *name, struct mm *mm, struct task *parent, void (*entry)(void *), void *arg);
void task_start(struct task *t);
static inline struct task *current_task(void)
{
	return current_thread()->task;
}
__noreturn void task_exit(int status); /* the calling task ends; status as wait4 reports it */
bool task_kill(
	struct task *t, int status); /* ends at its next return to ring 3; false: is ending */
struct task *task_find(u32 pid);     /* with a reference, or NULL */
struct mm *task_mm(struct task *t);  /* its space with a reference (mm_put), or NULL: it is gone */
void task_get(struct task *t);
u32 task_parent_pid(struct task *t); /* 0: it has none (any more) */
void task_discard(struct task *t);   /* created, never started, not wanted after all */
void task_put(struct task *t);
/* Wait for a child (pid > 0: that one, -1: any). Returns its pid, 0 with nohang and none ready, -ECHILD, -EINTR. */
int task_wait(int pid, bool nohang, int *status, struct task *out_rusage);
int task_wait_console(
	struct task *t); /* the console waits for a task it started; reaps it, returns status */
void task_for_each(bool (*fn)(struct task *t, void *ctx), void *ctx);
bool task_check(void); /* F1-F3: see task.c */

/* Emptying the space at exit is floor 5's work: mmap.c sets this at start-up. */
extern void (*task_release_mm)(struct mm *mm);
/* linux_min.c: the task ends, its personality lets go of what it holds (open files). */
extern void (*task_release_personality)(struct task *t);

#endif
