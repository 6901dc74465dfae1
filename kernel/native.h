/*
 * native.h - the kernel's own system calls: include/abi/native.h.                              floor 7
 *
 * Each is s64 native_NAME(struct regs *), as every system call: arguments in rdi, rsi, rdx, r10, r8, the result is rax.
 */
#ifndef NATIVE_H
#define NATIVE_H

#include "handle.h"
#include "ipc.h"
#include "task.h"
#include "x86/regs.h"
#include <abi/native.h>

/* In the order of enum native_call; syscall.c makes its table of it. */
#define NATIVE_CALLS(X)                                                                            \
	/* native_ipc.c */                                                                         \
	X(handle_close)                                                                            \
	X(handle_duplicate)                                                                        \
	X(handle_grant)                                                                            \
	X(endpoint_create)                                                                         \
	X(notification_create)                                                                     \
	X(notification_signal)                                                                     \
	X(ipc_call)                                                                                \
	X(ipc_receive)                                                                             \
	X(ipc_reply)                                                                               \
	X(ipc_reply_receive)                                                                       \
	/* tasks and threads */                                                                    \
	X(task_create)                                                                             \
	X(task_kill)                                                                               \
	X(task_label)                                                                              \
	X(task_info)                                                                               \
	X(task_read)                                                                               \
	X(task_write)                                                                              \
	X(mm_reset)                                                                                \
	X(thread_create)                                                                           \
	X(thread_resume)                                                                           \
	X(thread_suspend)                                                                          \
	X(thread_kill)                                                                             \
	X(thread_get_regs)                                                                         \
	X(thread_set_regs)                                                                         \
	X(thread_interrupt)                                                                        \
	/* memory */                                                                               \
	X(memory_create)                                                                           \
	X(memory_resize)                                                                           \
	X(memory_map)                                                                              \
	X(memory_unmap)                                                                            \
	X(memory_info)                                                                             \
	X(pager_attach)                                                                            \
	X(pager_supply)                                                                            \
	X(pager_withdraw)                                                                          \
	/* the machine */                                                                          \
	X(machine_info)                                                                            \
	X(machine_log)                                                                             \
	X(machine_power)                                                                           \
	X(machine_panic)                                                                           \
	X(machine_initrd)                                                                          \
	X(machine_spawner)                                                                         \
	X(uart_read)                                                                               \
	X(uart_write)                                                                              \
	X(uart_notify)                                                                             \
	X(debug_open)                                                                              \
	X(debug_read)                                                                              \
	X(debug_status)                                                                            \
	X(report_open)                                                                             \
	X(report_read)                                                                             \
	X(report_write)                                                                            \
	X(report_list)                                                                             \
	X(futex_wake_in)                                                                           \
	X(thread_get_fpu)                                                                          \
	X(thread_set_fpu)                                                                          \
	X(thread_set_cpus)                                                                         \
	X(thread_get_cpus)

#define X(name) s64 native_##name(struct regs *r);
NATIVE_CALLS(X)
#undef X

#define NATIVE_ARG0(r) ((r)->rdi)
#define NATIVE_ARG1(r) ((r)->rsi)
#define NATIVE_ARG2(r) ((r)->rdx)
#define NATIVE_ARG3(r) ((r)->r10)
#define NATIVE_ARG4(r) ((r)->r8)

static inline struct handle_table *current_handles(void)
{
	return &current_task()->handles;
}

/*
 * native_new - a handle with these rights for an object the caller has just made, and gives up its reference on.
 *   returns  the handle, or -EMFILE, -ENOMEM (the object is gone then)
 */
s64 native_new(struct object *o, u32 rights);

/*
 * ipc_forward - a call the kernel does not own, of the current thread: to its personality.
 * ipc_forward_write, ipc_forward_read - one with (..., address, bytes): few bytes travel in the message, in the answer.
 *
 *   regs     those of ring 3; the number is in regs->vector
 *   locks    none held, interrupts on
 *   returns  for rax: the answer, or what thread_set_regs() put there with the other registers
 */
s64 ipc_forward(struct endpoint *ep, struct regs *regs);
s64 ipc_forward_write(struct endpoint *ep, struct regs *regs);
s64 ipc_forward_read(struct endpoint *ep, struct regs *regs);

#endif
