/*
 * native.h - the kernel's own calls, as C functions.                                           ring 3
 *
 * One inline function a call; names, arguments and results are those of <abi/native.h> and <abi/message.h>. A result
 * below 0 is a negated errno; errno itself is not touched.
 */
#ifndef SERVERS_NATIVE_H
#define SERVERS_NATIVE_H

#include <abi/message.h>
#include <abi/native.h>
#include <abi/pager.h>
#include <stddef.h>
#include <stdint.h>

static inline long native(long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
	register uint64_t r10 __asm__("r10") = d;
	register uint64_t r8 __asm__("r8") = e;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return result;
}

/* The four calls with a message: *out goes in registers, and *in comes back in them; both may be the same. */
static inline long native_message(long nr, uint32_t endpoint, const struct message *out,
	struct message *in, uint64_t deadline)
{
	register uint64_t r10 __asm__("r10") = out->word[0];
	register uint64_t r8 __asm__("r8") = out->word[1];
	register uint64_t r9 __asm__("r9") = out->word[2];
	register uint64_t r12 __asm__("r12") = out->word[3];
	register uint64_t r13 __asm__("r13") = out->word[4];
	register uint64_t r14 __asm__("r14") = out->word[5];
	register uint64_t r15 __asm__("r15") = out->handle;
	uint64_t badge = endpoint, token = out->token, label = out->label;
	long status = nr;

	__asm__ volatile("syscall"
			 : "+a"(status), "+D"(badge), "+S"(token), "+d"(label), "+r"(r10), "+r"(r8),
			 "+r"(r9), "+r"(r12), "+r"(r13), "+r"(r14), "+r"(r15)
			 : "b"(deadline)
			 : "rcx", "r11", "memory");
	in->badge = badge;
	in->token = token;
	in->label = label;
	in->word[0] = r10;
	in->word[1] = r8;
	in->word[2] = r9;
	in->word[3] = r12;
	in->word[4] = r13;
	in->word[5] = r14;
	in->handle = r15;
	return status;
}

static inline long ipc_call(uint32_t endpoint, struct message *m, uint64_t deadline)
{
	return native_message(SYS_ipc_call, endpoint, m, m, deadline);
}
static inline long ipc_receive(uint32_t endpoint, struct message *m, uint64_t deadline)
{
	m->handle = HANDLE_NONE;
	return native_message(SYS_ipc_receive, endpoint, m, m, deadline);
}
static inline long ipc_reply(uint32_t endpoint, struct message *m)
{
	return native_message(SYS_ipc_reply, endpoint, m, m, 0);
}
static inline long ipc_reply_receive(
	uint32_t endpoint, const struct message *answer, struct message *m, uint64_t deadline)
{
	return native_message(SYS_ipc_reply_receive, endpoint, answer, m, deadline);
}

#define NATIVE(nr, a, b, c, d, e)                                                                  \
	native(nr, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d), (uint64_t)(e))

static inline long handle_close(uint32_t h)
{
	return NATIVE(SYS_handle_close, h, 0, 0, 0, 0);
}
static inline long handle_duplicate(uint32_t h, uint32_t rights, uint64_t badge)
{
	return NATIVE(SYS_handle_duplicate, h, rights, badge, 0, 0);
}
static inline long handle_grant(uint32_t task, uint32_t h, uint32_t rights, uint32_t index)
{
	return NATIVE(SYS_handle_grant, task, h, rights, index, 0);
}
static inline long endpoint_create(void)
{
	return NATIVE(SYS_endpoint_create, 0, 0, 0, 0, 0);
}
static inline long notification_create(uint32_t endpoint)
{
	return NATIVE(SYS_notification_create, endpoint, 0, 0, 0, 0);
}
static inline long notification_signal(uint32_t h, uint64_t bits)
{
	return NATIVE(SYS_notification_signal, h, bits, 0, 0, 0);
}

static inline long task_create(uint32_t machine, int mode, uint32_t source, uint32_t endpoint)
{
	return NATIVE(SYS_task_create, machine, mode, source, endpoint, 0);
}
static inline long task_kill(uint32_t task, int status)
{
	return NATIVE(SYS_task_kill, task, status, 0, 0, 0);
}
static inline long task_label(uint32_t task, const struct task_label *label, uint32_t mask)
{
	return NATIVE(SYS_task_label, task, label, mask, 0, 0);
}
static inline long task_info(uint32_t task, struct task_info *info)
{
	return NATIVE(SYS_task_info, task, info, 0, 0, 0);
}
static inline long task_read(uint32_t task, uint64_t addr, void *to, size_t bytes)
{
	return NATIVE(SYS_task_read, task, addr, to, bytes, 0);
}
static inline long task_write(uint32_t task, uint64_t addr, const void *from, size_t bytes)
{
	return NATIVE(SYS_task_write, task, addr, from, bytes, 0);
}
static inline long mm_reset(uint32_t task)
{
	return NATIVE(SYS_mm_reset, task, 0, 0, 0, 0);
}
static inline long thread_create(uint32_t task, const struct thread_start *start)
{
	return NATIVE(SYS_thread_create, task, start, 0, 0, 0);
}
static inline long thread_resume(uint32_t thread)
{
	return NATIVE(SYS_thread_resume, thread, 0, 0, 0, 0);
}
static inline long thread_suspend(uint32_t thread)
{
	return NATIVE(SYS_thread_suspend, thread, 0, 0, 0, 0);
}
static inline long thread_kill(uint32_t thread, int status)
{
	return NATIVE(SYS_thread_kill, thread, status, 0, 0, 0);
}
static inline long thread_get_regs(uint32_t thread, struct thread_regs *regs)
{
	return NATIVE(SYS_thread_get_regs, thread, regs, 0, 0, 0);
}
static inline long thread_set_regs(uint32_t thread, const struct thread_regs *regs)
{
	return NATIVE(SYS_thread_set_regs, thread, regs, 0, 0, 0);
}
static inline long thread_get_fpu(uint32_t thread, void *buf, size_t size)
{
	return NATIVE(SYS_thread_get_fpu, thread, buf, size, 0, 0);
}
static inline long thread_set_fpu(uint32_t thread, const void *buf, size_t size)
{
	return NATIVE(SYS_thread_set_fpu, thread, buf, size, 0, 0);
}
static inline long thread_set_cpus(uint32_t thread, uint64_t mask)
{
	return NATIVE(SYS_thread_set_cpus, thread, mask, 0, 0, 0);
}
static inline long thread_get_cpus(uint32_t thread)
{
	return NATIVE(SYS_thread_get_cpus, thread, 0, 0, 0, 0);
}
static inline long thread_interrupt(uint32_t thread)
{
	return NATIVE(SYS_thread_interrupt, thread, 0, 0, 0, 0);
}

static inline long memory_create(uint64_t bytes)
{
	return NATIVE(SYS_memory_create, bytes, 0, 0, 0, 0);
}
static inline long memory_resize(uint32_t memory, uint64_t bytes)
{
	return NATIVE(SYS_memory_resize, memory, bytes, 0, 0, 0);
}
static inline long memory_map(const struct memory_map *map)
{
	return NATIVE(SYS_memory_map, map, 0, 0, 0, 0);
}
static inline long memory_unmap(uint32_t task, uint64_t addr, uint64_t bytes)
{
	return NATIVE(SYS_memory_unmap, task, addr, bytes, 0, 0);
}
static inline long memory_info(uint32_t memory, struct memory_info *info)
{
	return NATIVE(SYS_memory_info, memory, info, 0, 0, 0);
}
static inline long pager_attach(uint32_t memory, uint32_t endpoint, uint64_t cookie)
{
	return NATIVE(SYS_pager_attach, memory, endpoint, cookie, 0, 0);
}
static inline long pager_supply(const struct pager_supply *supply)
{
	return NATIVE(SYS_pager_supply, supply, 0, 0, 0, 0);
}
static inline long pager_withdraw(uint32_t memory, uint64_t offset, uint64_t bytes)
{
	return NATIVE(SYS_pager_withdraw, memory, offset, bytes, 0, 0);
}

static inline long machine_info(uint32_t machine, int what, void *buf, size_t size)
{
	return NATIVE(SYS_machine_info, machine, what, buf, size, 0);
}
static inline long machine_log(uint32_t machine, const char *text, size_t bytes)
{
	return NATIVE(SYS_machine_log, machine, text, bytes, 0, 0);
}
static inline long machine_power(uint32_t machine, int code)
{
	return NATIVE(SYS_machine_power, machine, code, 0, 0, 0);
}
static inline long machine_panic(uint32_t machine, const char *text, size_t bytes)
{
	return NATIVE(SYS_machine_panic, machine, text, bytes, 0, 0);
}
static inline long machine_initrd(uint32_t machine, uint64_t *bytes)
{
	return NATIVE(SYS_machine_initrd, machine, bytes, 0, 0, 0);
}
static inline long machine_spawner(uint32_t machine, uint32_t endpoint)
{
	return NATIVE(SYS_machine_spawner, machine, endpoint, 0, 0, 0);
}
static inline long uart_read(uint32_t machine, void *buf, size_t size)
{
	return NATIVE(SYS_uart_read, machine, buf, size, 0, 0);
}
static inline long uart_write(uint32_t machine, const void *buf, size_t bytes)
{
	return NATIVE(SYS_uart_write, machine, buf, bytes, 0, 0);
}
static inline long uart_notify(uint32_t machine, uint32_t notification, uint64_t bit)
{
	return NATIVE(SYS_uart_notify, machine, notification, bit, 0, 0);
}
static inline long debug_open(uint32_t machine, const char *line, size_t bytes)
{
	return NATIVE(SYS_debug_open, machine, line, bytes, 0, 0);
}
static inline long debug_read(uint32_t session, void *buf, size_t size)
{
	return NATIVE(SYS_debug_read, session, buf, size, 0, 0);
}
static inline long debug_status(uint32_t session)
{
	return NATIVE(SYS_debug_status, session, 0, 0, 0, 0);
}
static inline long report_open(uint32_t machine, const char *path, uint32_t task, int write)
{
	return NATIVE(SYS_report_open, machine, path, task, write, 0);
}
static inline long report_read(uint32_t report, uint64_t pos, void *buf, size_t size)
{
	return NATIVE(SYS_report_read, report, pos, buf, size, 0);
}
static inline long report_write(uint32_t report, const void *buf, size_t bytes)
{
	return NATIVE(SYS_report_write, report, buf, bytes, 0, 0);
}
static inline long report_list(
	uint32_t machine, const char *path, uint32_t task, void *buf, size_t size)
{
	return NATIVE(SYS_report_list, machine, path, task, buf, size);
}
static inline long futex_wake_in(uint32_t task, uint64_t addr, int count)
{
	return NATIVE(SYS_futex_wake_in, task, addr, count, 0, 0);
}

#endif
