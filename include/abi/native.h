/*
 * native.h - Pagoda's own system calls: objects, messages, and the verbs a personality needs.
 *
 * Shared by the kernel and ring 3. Numbers begin at SYS_NATIVE; the calling convention is that of all calls
 * (rax number and result, rdi rsi rdx r10 r8 r9), results below 0 are negated errno. The four calls that carry a
 * message use more registers: see message.h.
 *
 * OBJECTS AND HANDLES
 *   A task names an object by a handle: a small number in the task's own table, with rights. 0 is never one. What a
 *   call needs is written as handle[RIGHT]. A handle that is not there: -EBADF; of the wrong kind: -EINVAL; without
 *   the right: -EACCES. An object lives while a handle, a mapping or a message holds it.
 *
 *     task          a space and its threads      RIGHT_READ, _WRITE (its memory), _MANAGE (all else)
 *     thread        one thread                   RIGHT_MANAGE
 *     endpoint      where calls meet a server    RIGHT_SEND, _RECEIVE
 *     notification  64 bits that add up          RIGHT_SEND
 *     memory        pages that can be shared     RIGHT_READ, _WRITE, _MANAGE (size, pager)
 *     machine       the one who may ...          RIGHT_UART, _INITRD, _DEBUG, _POWER, _REPORT, _CREATE
 *     session       a command of the monitor     RIGHT_READ
 *     report        an open text of /proc, /sys  RIGHT_READ, _WRITE
 */
#ifndef ABI_NATIVE_H
#define ABI_NATIVE_H

#include <stdint.h>

#define SYS_NATIVE 0x1000

/*
 * The calls. h: a handle; ~0 as a deadline: never. "new" calls return a handle > 0.
 */
enum native_call {
	/* --- handles (handle.c) --- */
	SYS_handle_close = SYS_NATIVE, /* (h) */
	SYS_handle_duplicate, /* (h[RIGHT_DUPLICATE], rights, badge) -> new; rights: a subset. badge: for
	                                  endpoints without one, what messages sent through it carry; else 0 */
	SYS_handle_grant, /* (task[MANAGE], h[RIGHT_DUPLICATE], rights, index) -> index in that task's table;
	                     index 0: a free one; -EEXIST: taken */

	/* --- messages (ipc.c) --- */
	SYS_endpoint_create, /* () -> new, all rights */
	SYS_notification_create, /* (endpoint[RECEIVE]) -> new; its bits arrive there as MESSAGE_NOTIFICATION */
	SYS_notification_signal, /* (h[SEND], bits) */
	SYS_ipc_call,            /* message.h */
	SYS_ipc_receive,         /* message.h */
	SYS_ipc_reply,           /* message.h */
	SYS_ipc_reply_receive,   /* message.h */

	/* --- tasks and threads (task.c, thread.c) --- */
	SYS_task_create, /* (machine[CREATE], mode, source task[MANAGE] | 0, endpoint[RECEIVE] | 0) -> new */
	SYS_task_kill,  /* (task[MANAGE], status): status as wait4 reports it */
	SYS_task_label, /* (task[MANAGE], const struct task_label *, mask of LABEL_*) */
	SYS_task_info,  /* (task[READ], struct task_info *) */
	SYS_task_read, /* (task[READ], addr, to, bytes) -> bytes; -EFAULT: nothing; -EAGAIN: its pager
	                         would have to be asked (message.h, REPLY_FAULT_IN) */
	SYS_task_write, /* (task[WRITE], addr, from, bytes) -> bytes; as above */
	SYS_mm_reset, /* (task[MANAGE]): a new, empty space; its only thread sits in a call. -EBUSY */
	SYS_thread_create, /* (task[MANAGE], const struct thread_start *) -> new; does not run yet */
	SYS_thread_resume, /* (thread): start it, or undo one suspend */
	SYS_thread_suspend, /* (thread): it stops at its next return to ring 3; the call waits for that */
	SYS_thread_kill,     /* (thread, status): ends at its next return to ring 3, sleeps end */
	SYS_thread_get_regs, /* (thread, struct thread_regs *); -EBUSY: it runs */
	SYS_thread_set_regs, /* (thread, const struct thread_regs *); -EBUSY. A call it sits in then returns
	                         nothing: rax is what was set */
	SYS_thread_interrupt, /* (thread): a sleeping call of the kernel's returns -EINTR, and at its next return
	                         to ring 3 the thread sends MESSAGE_INTERRUPTED */

	/* --- memory (mm/object.c, pager.c) --- */
	SYS_memory_create, /* (bytes) -> new: pages come as zeroes */
	SYS_memory_resize, /* (memory[MANAGE], bytes): pages beyond are taken from every mapping */
	SYS_memory_map,    /* (const struct memory_map *) -> address */
	SYS_memory_unmap,  /* (task[MANAGE] | 0, addr, bytes) */
	SYS_memory_info,   /* (memory[READ], struct memory_info *) */
	SYS_pager_attach, /* (memory[MANAGE], endpoint[RECEIVE], cookie): missing pages are asked for there */
	SYS_pager_supply, /* (const struct pager_supply *): pager.h */
	SYS_pager_withdraw, /* (memory[MANAGE], offset, bytes): the pages leave all mappings and are freed */

	/* --- the machine (machine.c) --- */
	SYS_machine_info, /* (machine, what: MACHINE_*, buf, size) -> bytes */
	SYS_machine_log, /* (machine, text, bytes): a line into the kernel's log and on the console */
	SYS_machine_power, /* (machine[POWER], exit code): does not return */
	SYS_machine_panic, /* (machine[POWER], text, bytes): a kernel panic on request */
	SYS_machine_initrd, /* (machine[INITRD], bytes out *) -> address: the initrd, mapped read-only */
	SYS_machine_spawner, /* (machine[CREATE], endpoint[SEND]): `run` of the monitor calls it: message.h */
	SYS_uart_read,   /* (machine[UART], buf, size) -> bytes that have arrived, 0: none */
	SYS_uart_write,  /* (machine[UART], buf, bytes) */
	SYS_uart_notify, /* (machine[UART], notification[SEND], bit): signalled when bytes arrive */
	SYS_debug_open, /* (machine[DEBUG], command line, bytes) -> session: it runs in a kernel thread */
	SYS_debug_read,   /* (session, buf, size) -> bytes, sleeps for more; 0: at its end */
	SYS_debug_status, /* (session) -> exit status of the command, sleeps for its end */
	SYS_report_open,  /* (machine[REPORT], path, task | 0 for /proc/self, write) -> new */
	SYS_report_read,  /* (report, pos, buf, size) -> bytes */
	SYS_report_write, /* (report, buf, bytes) */
	SYS_report_list, /* (machine[REPORT], path, task | 0, buf, size) -> bytes: "name\0" with a leading
	                       '/' on folders; -ENOTDIR, -ENOENT, -ERANGE */
	SYS_futex_wake_in, /* (task[WRITE], addr, count): FUTEX_WAKE in another space */
	SYS_thread_get_fpu, /* (thread, buf, size) -> bytes of its FPU's state, as XSAVE (without it, FXSAVE)
	                       writes it; size 0: only how many. -EBUSY: it runs. -EINVAL: size is too small */
	SYS_thread_set_fpu, /* (thread, buf, exactly as many bytes). -EINVAL: could not be loaded. -EBUSY */
	SYS_thread_set_cpus, /* (thread, mask): from its next return to ring 3 on it runs on these alone, bit n:
	                        CPU n. -EINVAL: none of them is there. What it starts as a copy inherits it */
	SYS_thread_get_cpus, /* (thread) -> that mask, of the CPUs that are there */
	SYS_NATIVE_END
};

/* Rights of a handle. */
#define RIGHT_READ      0x0001u
#define RIGHT_WRITE     0x0002u
#define RIGHT_MANAGE    0x0004u
#define RIGHT_SEND      0x0008u
#define RIGHT_RECEIVE   0x0010u
#define RIGHT_DUPLICATE 0x0020u /* may be duplicated, granted and sent in a message */
#define RIGHT_UART      0x0100u
#define RIGHT_INITRD    0x0200u
#define RIGHT_DEBUG     0x0400u
#define RIGHT_POWER     0x0800u
#define RIGHT_REPORT    0x1000u
#define RIGHT_CREATE    0x2000u
#define RIGHT_ALL       0x3f3fu

#define HANDLE_NONE 0
#define HANDLE_MAX  4096 /* of one task */

/* init finds the machine here; whoever starts a task grants it what it needs from HANDLE_MACHINE up. */
#define HANDLE_MACHINE 1

/* SYS_task_create: where the space comes from. */
#define TASK_NEW   0 /* empty */
#define TASK_CLONE 1 /* copy-on-write, of the source; also of its handles with RIGHT_DUPLICATE */
#define TASK_SHARE 2 /* the source's own */
#define TASK_NATIVE                                                                                \
	0x10 /* no personality: calls are not forwarded; only MESSAGE_EXIT goes to the endpoint */

/*
 * A task whose creator ends is killed with status SIGKILL (9). A task created with an endpoint has a personality: every
 * call the kernel does not own, its exceptions and its end are messages there.
 */

struct task_label { /* what /proc and the monitor show; the kernel itself answers getppid() by it */
	char name[16];
	uint32_t pid, ppid, pgrp, session;
	uint64_t brk_start;          /* the heap begins here; not in use yet */
	uint64_t arg_start, arg_end; /* command line, in its memory */
};
#define LABEL_NAME   0x1u
#define LABEL_PIDS   0x2u /* pid, ppid, pgrp, session */
#define LABEL_LAYOUT 0x4u /* brk_start, arg_start, arg_end */

struct task_info {
	uint64_t minflt, majflt;
	uint64_t runtime_ns;
	uint64_t vm_pages, rss_pages, peak_rss_pages;
	uint64_t brk_start, brk;
	uint64_t stack_top, mmap_base; /* where this space wants its stack and its mappings */
	uint32_t nr_threads, reserved;
};

struct thread_regs {
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
	uint64_t rip, rflags, rsp;
	uint64_t fs_base, gs_base;
	uint64_t call; /* get: number of the call it sits in or came back from, ~0: none */
};

struct thread_start {
	uint64_t cookie; /* badge of this thread's messages to the personality */
	uint32_t tid;    /* what gettid() says; 0: the number that the kernel gave the task */
	uint32_t
		source; /* thread[MANAGE] | 0: registers and FPU state are a copy of that thread's, which sits
	                             in a call; the copy sees the call return 0 */
	uint64_t rsp;             /* with a source: 0 keeps the copy's. Else where it begins */
	uint64_t rip;             /* without a source */
	uint64_t fs_base;         /* START_TLS */
	uint64_t clear_child_tid; /* as set_tid_address(2); 0: none */
	uint32_t flags;           /* START_* */
	uint32_t reserved;
};
#define START_TLS 0x1u
#define START_RUN 0x2u /* begin at once */

struct memory_map {
	uint32_t task;   /* task[MANAGE], 0: the caller's own */
	uint32_t memory; /* memory[READ], and [WRITE] for shared writing; 0: anonymous */
	uint64_t addr, bytes, offset;
	uint32_t prot,
		flags; /* Linux's PROT_*, MAP_SHARED/PRIVATE/FIXED/FIXED_NOREPLACE/GROWSDOWN/POPULATE;
	                         MAP_STACK here: the initial stack */
	char name[16]; /* for /proc/PID/maps */
};

struct memory_info {
	uint64_t bytes; /* size */
	uint64_t pages; /* present, 4 KiB units */
	uint64_t maps;  /* areas that map it */
};

/* SYS_machine_info. Texts come without a terminating zero. */
#define MACHINE_CMD     1 /* CMD: what to run, then power off. -ENOENT: none, a person is there */
#define MACHINE_MODE    2 /* "shell", or "monitor": the monitor owns the console */
#define MACHINE_CPUS    3 /* uint32_t */
#define MACHINE_VERSION 4
#define MACHINE_MEMORY  5 /* struct machine_memory */
struct machine_memory {
	uint64_t total, free, cached; /* bytes */
	uint64_t uptime_ns, wall_ns, idle_ns;
	uint64_t nr_tasks;
};

_Static_assert(sizeof(struct task_label) == 56, "abi");
_Static_assert(sizeof(struct task_info) == 88, "abi");
_Static_assert(sizeof(struct thread_regs) == 168, "abi");
_Static_assert(sizeof(struct thread_start) == 56, "abi");
_Static_assert(sizeof(struct memory_map) == 56, "abi");

#endif
