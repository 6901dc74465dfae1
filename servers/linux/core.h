/*
 * core.h - what the process half's files know of each other, and the files half need not.       ring 3
 */
#ifndef CORE_H
#define CORE_H

#include "linux.h"

#include <sys/time.h>

/* --- main.c: answers ------------------------------------------------------------------------------------- */

/*
 * answer - let the thread that sits in `token` go on. The last answer is kept back and goes out together with the next
 * receive; answers_flush() sends it at once: before anything is done to a thread that is thought to run.
 */
void answer(uint64_t token, uint64_t label);
void answer_fault_in(uint64_t token, uint64_t addr, uint64_t bytes, bool write);
/* The call is done; `bytes` bytes of the words go to where its second argument points. */
void answer_bytes(uint64_t token, long result, const uint64_t words[3], size_t bytes);
/* The call is done, with addr for its result; the thread populates that memory in its own time, as well as it can. */
void answer_populate(uint64_t token, uint64_t addr, uint64_t bytes, bool write);
void answers_flush(void);

/* --- call.c ------------------------------------------------------------------------------------------------ */

void call_init(struct call *c, struct thread *t);
void call_begin(struct call *c, const struct message *m); /* MESSAGE_SYSCALL came */
void call_run(struct call *c);    /* run the handler, answer if it is done */
void call_wake(struct call *c);   /* run it again, soon */
void call_forget(struct call *c); /* it waits for nothing any more */
void calls_run_ready(void);       /* those that were woken */
bool calls_ready(void);

/* --- thread.c ------------------------------------------------------------------------------------------------ */

/* No tid, no kernel thread yet; NULL: too many, no memory */
struct thread *thread_alloc(struct process *p);
void thread_set_tid(struct thread *t, int tid);
void thread_free(struct thread *t);
void thread_notice(struct thread *t); /* a signal may be deliverable: have it looked at */
/*
 * thread_return - the thread sits in a call or an event: deliver what is pending, then answer.
 *
 *   result  >= 0, -errno; CALL_RESTART: the call was interrupted; CALL_SET: its registers say all
 *   after   answered; or held (stopped); or being killed
 */
void thread_return(struct thread *t, long result);
void thread_released(struct thread *t); /* MESSAGE_EXIT */

#define INIT_PID 1 /* nobody's: whom orphans are told is their parent */

/* --- process.c ------------------------------------------------------------------------------------------------ */

/* With a pid, a copy of the parent's settings; NULL */
struct process *process_alloc(struct process *parent);
void process_free(struct process *p);    /* all it holds */
void process_discard(struct process *p); /* one that never ran, with its task and threads */
int pid_alloc(void);                     /* -EAGAIN: none; counted once, as a tid */
void pid_use(int id);
void pid_release(int id);
void process_set_path(struct process *p, const char *text); /* text: copied; NULL: unknown */
void process_label(struct process *p, uint32_t mask); /* LABEL_NAME | LABEL_PIDS, to the kernel */
void process_set_group(struct process *p, int pgrp, int session);
void process_mark_ending(struct process *p, int status); /* the kernel is about to end it */
void process_kill(struct process *p, int status);        /* ends it, wherever its threads are */
void process_ended(struct process *p, int status); /* the last thread has gone; p->usage is set */
void process_stop(struct process *p, int sig);
void process_continue(struct process *p);
void process_reap(struct process *zombie);
void vfork_release(struct process *child); /* it has let go of its parent's space */
bool process_may_fork(const struct process *p);
extern unsigned nr_processes;

/* --- signal.c, frame.c ------------------------------------------------------------------------------------------ */

/* Takes the next signal t may have, out of its own queue, then its process's. 0: none. */
int signal_take(struct thread *t, signal_set among, siginfo_t *info);
/* Taken, but not delivered */
void signal_put_back(struct thread *t, int sig, const siginfo_t *info);
bool signal_deliverable(const struct thread *t);
void signal_queue_drop(struct signal_queue *q, signal_set which);
void signals_exec(struct process *p, struct thread *t);
/* The process's parent hears SIGCHLD: code CLD_*, status as in siginfo. */
void signal_parent(struct process *p, int code, int status);
enum signal_default {
	DEFAULT_TERMINATE,
	DEFAULT_IGNORE,
	DEFAULT_STOP,
	DEFAULT_CONTINUE
};
enum signal_default signal_default(int sig);

/*
 * frame_push - make *regs enter the handler of sig, with a frame on its stack that returns to what *regs was.
 * 0; -EFAULT: there is no stack; -ENOMEM: not now.
 */
int frame_push(struct thread *t, struct thread_regs *regs, int sig, const siginfo_t *info);
int frame_fpu_reset(struct thread *t); /* as in a fresh thread; it sits in a call */

/* --- exec.c ------------------------------------------------------------------------------------------------------- */

/* A first process: no parent. args, env: "text\0text\0". -> pid, -errno */
struct start {
	const char *path;
	const char *args, *env;
	size_t arg_bytes, env_bytes;
	unsigned argc, envc;
	const char *folder;
	int session;     /* joins it; 0: one of its own */
	bool foreground; /* owns the terminal */
	bool held;       /* its thread stays NEW: the kernel starts it (MESSAGE_SPAWN) */
};
int process_start(const struct start *start);

/* --- limits.c -------------------------------------------------------------------------------------------------------- */

struct linux_rusage { /* as the kernel of Linux writes it: 18 words */
	struct timeval user, system;
	int64_t maxrss, ixrss, idrss, isrss, minflt, majflt, other[8];
};
void usage_fill(struct linux_rusage *u, const struct task_info *info);

/* --- job.c, boot.c ------------------------------------------------------------------------------------------------ */

void job_give(int session, int pgrp); /* the terminal is theirs: boot, MESSAGE_SPAWN */
bool job_group_orphaned(int pgrp);
void job_process_ending(struct process *p); /* its children and groups are still there */

void boot_start(void); /* the shell, the monitor's endpoint */
void boot_process_ended(struct process *p, int status);
long boot_spawn(const struct message *m); /* MESSAGE_SPAWN -> pid, -errno */

#endif
