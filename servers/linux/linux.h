/*
 * linux.h - what the files of the Linux personality know of each other.                        ring 3
 *
 * One task, one thread, one loop (main.c): a message comes in, a handler runs to its end, the answer goes out. Nothing in
 * here is ever interrupted, so there are no locks. A handler that has to wait says on what and returns CALL_WAIT; it is run
 * again from its first line when something it waits for has changed.
 *
 *   process half    process.c thread.c clone.c exec.c wait.c job.c       who exists
 *                   signal.c frame.c time.c limits.c misc.c
 *   files half      fd.c vfs.c pipe.c dev.c tty.c proc.c poll.c ...      what they have open
 *   between them    main.c (loop, answers) call.c (waiting, copying) table.c (number -> handler)
 *
 * Constants and layouts of Linux's interface are those of musl's headers. Errors are results: -ENOENT; errno is not used.
 */
#ifndef LINUX_H
#define LINUX_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include "native.h"
#include "service.h"

#define PAGE_BYTES    4096ul
#define NS_PER_SEC    1000000000ull
#define NR_SIGNALS    64
#define NR_LIMITS     16
#define MAX_PROCESSES 1000
#define MAX_THREADS   4096
#define PID_MAX       32767

/* --- lists: doubly linked, the head is one of them ------------------------------------------------------ */

struct link {
	struct link *next, *prev;
};

#define container_of(p, t, m) ((t *)((char *)(p)-offsetof(t, m)))
#define list_each(l, head)    for (struct link *l = (head)->next; l != (head); l = l->next)
/* The body may remove l. */
#define list_each_safe(l, head)                                                                    \
	for (struct link *l = (head)->next, *l##_next; l##_next = l->next, l != (head);            \
		l = l##_next)

static inline void list_init(struct link *l)
{
	l->next = l->prev = l;
}
static inline bool list_empty(const struct link *l)
{
	return l->next == l;
}
static inline void list_append(struct link *head, struct link *l)
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}
static inline void list_remove(struct link *l) /* twice is harmless */
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

/* --- calls (call.c) --------------------------------------------------------------------------------------- */

struct thread;
struct process;
struct file; /* fd.c: an open file */

/*
 * What a handler returns: a result (>= 0), a negated errno, or one of these. All are below -4095, so that "error < 0:
 * return it" passes them on.
 */
#define CALL_WAIT     (-10001l) /* call_wait() was called: run me again when that changes */
#define CALL_FAULT_IN (-10002l) /* from copy_in/copy_out: the thread has to touch its page first */
#define CALL_RESTART                                                                               \
	(-10003l) /* a signal was sent to the caller itself: take it, then run me again (SIGTTIN) */
#define CALL_POPULATE                                                                              \
	(-10007l) /* done: the result is fault_addr, and the thread populates what begins there */
#define CALL_GONE  (-10004l) /* no answer: the thread has ended */
#define CALL_YIELD (-10006l) /* call_yield(): not done, others have their turn first */
#define CALL_SET   (-10005l) /* its registers are set already */

/* A place where calls wait: in a pipe, a process, the terminal. */
struct wait_list {
	struct link waiters;
};

struct waiter {
	struct link on_list; /* wait_list.waiters */
	struct waiter *next; /* of the same call */
	struct call *call;
	bool allocated;
};

struct timer {
	struct link link; /* time.c: in the order of `when` */
	uint64_t when;    /* ns since boot; 0: not set */
	void (*expired)(struct timer *t);
};

/*
 * The call a thread is in. arg, nr: as sent. `first`, `done`, `deadline` and `state` are the handler's: they are kept from run
 * to run, also when the call is sent again after CALL_FAULT_IN, and are 0 (first: true) at the first. label says whether bytes
 * go along: MESSAGE_BYTES: arg[3] to arg[5] are those at arg[1] (copy_in() knows); MESSAGE_ROOM: the first reply_bytes of
 * `reply` go to arg[1] with the answer (copy_out() puts them there).
 */
struct call {
	struct thread *thread;
	uint64_t label; /* of its message */
	uint64_t nr, arg[6];
	uint64_t reply[3];
	size_t reply_bytes;
	uint64_t token;    /* to answer with */
	uint64_t done;     /* bytes moved: > 0: a signal ends the call with this, not with EINTR */
	uint64_t deadline; /* ns since boot, 0: none. Set it once, then call_wait_until() */
	uint64_t state[2];
	bool first;     /* this is the first run */
	bool timed_out; /* the deadline has passed */
	bool no_restart; /* a handled signal means EINTR, even with SA_RESTART (poll, pause, sigsuspend ...) */
	bool no_eintr;  /* a handled signal comes first, and then the call all the same (fork) */
	bool resume;    /* CALL_FAULT_IN was answered */
	bool ready;     /* on the list of calls to run again */
	bool no_memory; /* call_wait() failed: for poll, whose files' waits nobody else looks at */
	struct waiter *waiters, own[2];
	struct timer timer;
	struct link ready_link;
	uint64_t fault_addr, fault_bytes; /* CALL_FAULT_IN */
	bool fault_write;
};

void wait_list_init(struct wait_list *list);
/* Run all calls that wait here again, after the present handler. Call it before freeing what holds the list. */
void wait_list_wake_all(struct wait_list *list);
static inline void wait_list_wake(struct wait_list *list)
{
	if (!list_empty(&list->waiters))
		wait_list_wake_all(list);
}

/* Both may be called several times in one run (poll). -> CALL_WAIT, or -ENOMEM. */
long call_wait(struct call *c, struct wait_list *list);
/* c->timed_out is set when it runs again */
long call_wait_until(struct call *c, uint64_t deadline);
/* A long call in pieces: return this. Run again after at least one message; signals wait till the call ends. */
long call_yield(struct call *c);

/*
 * Bytes of the caller's memory. -> 0, -EFAULT, or CALL_FAULT_IN: return that at once; the handler will run again from its
 * first line. So: copy in before anything is changed, copy out before the change or where doing it twice is harmless.
 */
long copy_in(struct call *c, void *to, uint64_t from, size_t bytes);
long copy_out(struct call *c, uint64_t to, const void *from, size_t bytes);
/* A terminated text of less than size bytes. -> its length, -EFAULT, -ENAMETOOLONG, CALL_FAULT_IN */
long copy_in_text(struct call *c, char *to, uint64_t from, size_t size);

/* table.c */
typedef long call_handler(struct call *c);
call_handler *table_find(uint64_t nr); /* NULL: unknown */
void table_unknown(struct call *c);    /* say so in the log, once for each number */

/* --- threads and processes (thread.c, process.c) ---------------------------------------------------------- */

enum thread_state {
	THREAD_RUNS,     /* in ring 3 or in a call of the kernel's */
	THREAD_IN_CALL,  /* its call is here, unanswered: call.token */
	THREAD_IN_EVENT, /* its exception or interruption is here, unanswered: call.token */
	THREAD_HELD, /* as one of these two, and its process is stopped: answered with `held` later */
	THREAD_ENDING, /* killed; MESSAGE_EXIT will come */
};

typedef uint64_t signal_set; /* bit n - 1: signal n */

/*
 * Signals that wait, with what was said when they were sent. One of each number below 32, as many as there is room for of
 * the real-time ones.
 */
struct signal_queue {
	signal_set pending;
	struct signal_info
		*infos; /* signal.c; a pending signal without one comes from the kernel */
	unsigned nr;    /* of infos */
};

struct thread {
	uint64_t cookie; /* badge of its messages: index in the table, generation << 32 */
	uint32_t handle;
	int tid;
	struct process *process;
	struct link in_process; /* process.threads */
	enum thread_state state;
	bool attention; /* a signal may be deliverable, or the process is stopped: looked at before each answer */
	bool interrupted; /* thread_interrupt() was called and not yet heard of */
	bool in_event; /* its event is an interruption: it may have ended a call of the kernel's */
	long held;
	struct link short_of_memory; /* its signal is tried again later */
	struct call call;
	signal_set blocked;
	signal_set saved_blocked; /* sigsuspend & co: put back after the handler's frame is made */
	bool restore_blocked;
	struct signal_queue signals;
	stack_t alt_stack;
	struct process
		*vfork_child; /* its vfork call is answered when that one lets go of the space */
};

struct signal_action { /* as the kernel of Linux has it */
	uint64_t handler, flags, restorer;
	signal_set mask;
};

enum process_state {
	PROCESS_LIVES,
	PROCESS_ZOMBIE
};

struct process {
	int pid, pgrp, session;
	uint32_t task; /* handle; 0 for a zombie */
	enum process_state state;
	struct process *parent; /* NULL: nobody waits for it */
	struct link children, sibling;
	struct link all; /* the list `processes` */
	struct link threads;
	int nr_threads;
	char name[16];
	char *path;       /* of the program: /proc/PID/exe; NULL: unknown. process_set_path() */
	struct file *exe; /* the program itself, held open */

	/* the files half's: fd.c, vfs.c */
	struct files *files; /* descriptors; shared by CLONE_FILES */
	struct fs *fs;       /* current folder, umask; shared by CLONE_FS */

	struct signal_queue signals;
	struct wait_list child_changed; /* wait4 of this process's threads */
	struct wait_list signal_wait;   /* sigtimedwait, signalfd */
	bool stopped;
	int stop_signal;               /* that stopped it */
	bool stop_reported, continued; /* for WUNTRACED, WCONTINUED */
	int exit_signal;               /* sent to the parent at its end; 0: none */
	int status;                    /* ZOMBIE: as wait4 reports it */
	bool ending;     /* exit_group or a fatal signal: only MESSAGE_EXIT is awaited */
	bool on_console; /* started by the monitor or at boot: the terminal goes back at its end */
	bool emptied;    /* the kernel's task has no thread any more */
	bool has_execed; /* setpgid of the parent is over: EACCES */
	struct thread *vfork_parent; /* waits for us to exec or end */
	struct wait_list
		threads_changed; /* exec waits for the other threads to end, vfork for the child */
	int nice;
	uint32_t personality;
	uint64_t started_ns;
	struct timer alarm; /* ITIMER_REAL */
	uint64_t alarm_interval;
	struct task_info usage;          /* at its end */
	struct task_info children_usage; /* of those that were waited for */

	/* process_alloc() copies what is from here on from the parent */
	struct rlimit limits[NR_LIMITS];
	struct signal_action actions[NR_SIGNALS + 1];
};

struct signal_info {
	struct signal_info *next;
	siginfo_t info;
};

extern struct link processes; /* all, zombies too, by struct process.all */

struct process *process_find(int pid); /* NULL: none */
struct thread *thread_find(int tid);   /* NULL: none */
struct thread *thread_by_cookie(uint64_t cookie);
bool group_exists(int pgrp, int session); /* a living or zombie process in it */

/* --- signals (signal.c) ----------------------------------------------------------------------------------- */

#define SIGNAL_BIT(sig) (1ull << ((sig)-1))

/* info NULL: from the kernel (SI_KERNEL). Copied. What is ignored is dropped. */
/* 0; -EAGAIN: no room in the queue for a real-time signal, which only sigqueue and pthread_kill need to know */
int signal_send_thread(struct thread *t, int sig, const siginfo_t *info);
int signal_send_process(struct process *p, int sig, const siginfo_t *info);
int signal_send_group(int pgrp, int sig, const siginfo_t *info); /* -ESRCH: nobody there */
/*
 * For sigsuspend, ppoll, pselect: another mask from now until the call returns, or the handler that ended it has its frame. The
 * old one comes back by itself, or by signal_mask_restore(). After a signal without a handler the call runs again, with the old
 * mask.
 */
void signal_mask_for_call(struct call *c, signal_set set);
void signal_mask_restore(struct thread *t);
bool signal_is_blocked_or_ignored(struct thread *t, int sig);

/* --- the terminal's jobs (job.c); there is one terminal ---------------------------------------------------- */

int job_session(void);    /* whose controlling terminal the console is; 0: nobody's */
int job_foreground(void); /* its foreground group */
/*
 * May the caller read (SIGTTIN) or change (SIGTTOU) the terminal? 0; -EIO; CALL_RESTART: its group got the signal. Return what
 * is not 0.
 */
long job_check(struct call *c, int sig);
/* TIOCSPGRP: 0, -ENOTTY, -EPERM, ..., as job_check() */
long job_set_foreground(struct call *c, int pgrp);
long job_acquire(struct call *c); /* TIOCSCTTY; open("/dev/tty...") by a session leader */

/* --- time (time.c) ---------------------------------------------------------------------------------------- */

uint64_t time_now(void);                        /* ns since boot */
uint64_t time_wall_ns(void);                    /* ns since 1970 */
void timer_set(struct timer *t, uint64_t when); /* moves it; 0: stops it */
uint64_t timer_next(void);                      /* DEADLINE_NEVER: none */
void timer_run(void);                           /* those that are due */

/* --- main.c ------------------------------------------------------------------------------------------------- */

void linux_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define NOTIFY_CONSOLE 0x1 /* bit of linux_notification: CONSOLE_EVENTS has news */
extern uint32_t linux_notification;

/* --- what the files half gives -------------------------------------------------------------------------------- */

/* Indexes the initrd, /dev, /proc; asks the console to notify. < 0: hopeless */
int files_init(void);
/* NOTIFY_CONSOLE came: signals to job_foreground(), readers are woken */
void files_console_event(void);

void files_console_restarted(void); /* LINUX_BIT_CONSOLE came: register again, settings again */

/* A first process: 0, 1, 2 are the console, folder "/", umask 022. -ENOMEM */
int files_create(struct process *p);
/* fork, clone: share: CLONE_FILES, CLONE_FS. -ENOMEM: nothing is held */
int files_clone(struct process *child, struct process *parent, bool share_files, bool share_fs);
int files_unshare(struct process *p);  /* exec: descriptors of its own. -ENOMEM */
void files_exec(struct process *p);    /* closes what is close-on-exec; after files_unshare() */
void files_release(struct process *p); /* at its end; p->files and p->fs become NULL */

/*
 * For exec: the regular file a path names, open for reading.
 *   at      AT_FDCWD or a descriptor (execveat); path "": that descriptor itself, if empty_path
 *   returns 0; -ENOENT, -ENOTDIR, -ELOOP, -EACCES (a folder, a device, no x bit), -EBADF, -ENOMEM
 */
int file_open_exec(
	struct process *p, int at, const char *path, bool empty_path, struct file **file);
int file_chdir(struct process *p, const char *path); /* current folder of a first process */
uint64_t file_bytes(struct file *f);                 /* its size */
/* Into our own memory -> bytes */
long file_read_at(struct file *f, uint64_t pos, void *to, size_t bytes);
/* Memory with its contents to map privately (RIGHT_READ): stays the file's, do not close. -ENOMEM, -ENODEV */
int file_memory(struct file *f, uint32_t *handle);
/* Its contents in our own space, where they are there as a whole (initrd); NULL: use file_read_at() */
const void *file_bytes_at(struct file *f);
int file_path(struct file *f, char *to, size_t size); /* absolute; -ENAMETOOLONG */
void file_hold(struct file *f);
void file_put(struct file *f);

#endif
