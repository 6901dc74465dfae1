/*
 * native_machine.c - the calls on the machine: console, monitor's commands, texts of /proc and /sys
 *                                                            floor 7, below: machine.c, monitor/, report.c
 *
 * Turns registers into arguments, looks the handle up, copies between ring 3 and the kernel. What each call means is in
 * include/abi/native.h; who does the work is in machine.c, monitor/session.c and report.c.
 *
 * LOCKS     none held across a copy. An open report is used by one thread at a time: `busy`, not a lock, because its
 *           reader sleeps on mm->lock.
 * LINUX     fs/proc/, drivers/tty/, kernel/reboot.c.
 */
#include "native.h"
#include "config.h"
#include "lib/string.h"
#include "loader.h"
#include "machine.h"
#include "mm/buddy.h"
#include "mm/kmalloc.h"
#include "mm/mmap.h"
#include "mm/uaccess.h"
#include "monitor/monitor.h"
#include "monitor/session.h"
#include "panic.h"
#include "printk.h"
#include "report.h"
#include "spawn.h"
#include "task.h"
#include "x86/layout.h"
#include "x86/timer.h"
#include <abi/errno.h>
#include <abi/native.h>

#define PATH_BYTES  128
#define PIECE_BYTES 512         /* copied by way of the stack */
#define LINE_BYTES  256         /* of a line for the log */
#define BOUNCE_MAX  (64u << 10) /* copied by way of the heap, in one call */
#define LIST_MAX    (1u << 20)  /* a folder's names */

/* The object behind a handle of the calling task, with a reference. 0, -EBADF, -EINVAL, -EACCES. */
static int object_of(u64 h, enum object_type type, u32 rights, struct object **o)
{
	if (h > UINT32_MAX)
		return -EBADF;
	return handle_get(current_handles(), (u32)h, type, rights, o, NULL);
}

/* Does the handle name the machine, with this right? The machine is always there: no reference is kept. */
static int machine_right(u64 h, u32 rights)
{
	struct object *o;
	int err = object_of(h, OBJECT_MACHINE, rights, &o);

	if (!err)
		object_put(o);
	return err;
}

/* --- facts ---------------------------------------------------------------------------------------------------- */

static s64 bytes_out(u64 to, u64 size, const void *from, usize bytes)
{
	if (size < bytes)
		return -ERANGE;
	return copy_to_user((void __user *)to, from, bytes) ?: (s64)bytes;
}

static s64 text_out(u64 to, u64 size, const char *text)
{
	return bytes_out(to, size, text, strlen(text));
}

static bool count_task(struct task *t, void *ctx)
{
	++*(u64 *)ctx;
	return true;
}

static s64 memory_out(u64 to, u64 size)
{
	struct machine_memory m = {.uptime_ns = time_ns(), .wall_ns = time_wall_ns()};

	m.total = zone_managed_pages() << PAGE_SHIFT;
	m.free = buddy_free_pages() << PAGE_SHIFT;
	for_each_cpu (c)
		m.idle_ns += sched_idle_ns(c);
	task_for_each(count_task, &m.nr_tasks);
	return bytes_out(to, size, &m, sizeof(m));
}

s64 native_machine_info(struct regs *r)
{
	u64 to = NATIVE_ARG2(r), size = NATIVE_ARG3(r);
	int err = machine_right(NATIVE_ARG0(r), 0);

	if (err)
		return err;
	switch (NATIVE_ARG1(r)) {
	case MACHINE_CMD:
		return machine_cmd() ? text_out(to, size, machine_cmd()) : -ENOENT;
	case MACHINE_MODE:
		return text_out(to, size, machine_has_shell() ? "shell" : "monitor");
	case MACHINE_CPUS:
		return bytes_out(to, size, &nr_cpus, sizeof(nr_cpus));
	case MACHINE_VERSION:
		return text_out(to, size, PAGODA_VERSION);
	case MACHINE_MEMORY:
		return memory_out(to, size);
	}
	return -EINVAL;
}

/* A line of ring 3 in kernel memory: control characters would be a way to write in somebody else's name. */
static int line_in(char *line, u64 from, u64 bytes)
{
	usize n = MIN(bytes, (u64)LINE_BYTES - 1);

	if (copy_from_user(line, (const void __user *)from, n))
		return -EFAULT;
	line[n] = '\0';
	for (char *p = line; p < line + n; p++)
		if ((u8)*p < ' ' || *p == 0x7f)
			*p = p + 1 == line + n && *p == '\n' ? '\0' : '?';
	return 0;
}

s64 native_machine_log(struct regs *r)
{
	char line[LINE_BYTES];
	int err = machine_right(NATIVE_ARG0(r), 0) ?: line_in(line, NATIVE_ARG1(r), NATIVE_ARG2(r));

	if (!err)
		printk("%s", line);
	return err;
}

s64 native_machine_power(struct regs *r)
{
	int err = machine_right(NATIVE_ARG0(r), RIGHT_POWER);

	if (err)
		return err;
	monitor_power((int)(NATIVE_ARG1(r) & 0xff));
}

s64 native_machine_panic(struct regs *r)
{
	char line[LINE_BYTES];
	int err = machine_right(NATIVE_ARG0(r), RIGHT_POWER)
			  ?: line_in(line, NATIVE_ARG1(r), NATIVE_ARG2(r));

	if (err)
		return err;
	panic("ring 3", "asked for by %s: %s", current_task()->name, line);
}

s64 native_machine_initrd(struct regs *r)
{
	int err = machine_right(NATIVE_ARG0(r), RIGHT_INITRD);
	usize bytes;
	const void *initrd = loader_initrd(&bytes);
	u64 size = bytes, len = ALIGN_UP(size, PAGE_SIZE);
	s64 at;

	if (err)
		return err;
	if (!bytes)
		return -ENOENT;
	at = mmap_map_module(current_thread()->mm, len, virt_to_phys(initrd));
	if (at < 0)
		return at;
	if (copy_to_user((void __user *)NATIVE_ARG1(r), &size, sizeof(size))) {
		mmap_unmap(current_thread()->mm, (vaddr_t)at, len);
		return -EFAULT;
	}
	return at;
}

s64 native_machine_spawner(struct regs *r)
{
	struct object *ep;
	int err = machine_right(NATIVE_ARG0(r), RIGHT_CREATE)
			  ?: object_of(NATIVE_ARG1(r), OBJECT_ENDPOINT, RIGHT_SEND, &ep);

	if (err)
		return err;
	spawn_set_server(container_of(ep, struct endpoint, object));
	object_put(ep);
	return 0;
}

/* --- the console ------------------------------------------------------------------------------------------------- */

s64 native_uart_read(struct regs *r)
{
	u64 to = NATIVE_ARG1(r), size = NATIVE_ARG2(r), done = 0;
	int err = machine_right(NATIVE_ARG0(r), RIGHT_UART);
	char piece[PIECE_BYTES];

	if (err)
		return err;
	while (done < size) {
		usize n = machine_uart_read(piece, MIN(size - done, sizeof(piece)));

		if (!n)
			break;
		if (copy_to_user((void __user *)(to + done), piece, n))
			return -EFAULT;
		done += n;
	}
	return (s64)done;
}

s64 native_uart_write(struct regs *r)
{
	u64 from = NATIVE_ARG1(r), size = NATIVE_ARG2(r), done = 0;
	int err = machine_right(NATIVE_ARG0(r), RIGHT_UART);
	char piece[PIECE_BYTES];

	if (err)
		return err;
	while (done < size && !thread_killed()) {
		usize n = MIN(size - done, sizeof(piece));

		if (copy_from_user(piece, (const void __user *)(from + done), n))
			return done ? (s64)done : -EFAULT;
		printk_raw(piece, n);
		done += n;
		preempt_point();
	}
	return (s64)done;
}

s64 native_uart_notify(struct regs *r)
{
	u64 bits = NATIVE_ARG2(r);
	struct object *n;
	int err = machine_right(NATIVE_ARG0(r), RIGHT_UART)
			  ?: object_of(NATIVE_ARG1(r), OBJECT_NOTIFICATION, RIGHT_SEND, &n);

	if (err)
		return err;
	machine_uart_notify(container_of(n, struct notification, object), bits);
	object_put(n);
	return 0;
}

/* --- the monitor's commands ---------------------------------------------------------------------------------------- */

/* Is RIGHT_POWER there besides? */
static bool has_power(u64 h)
{
	return machine_right(h, RIGHT_POWER) == 0;
}

s64 native_debug_open(struct regs *r)
{
	u64 bytes = NATIVE_ARG2(r);
	int err = machine_right(NATIVE_ARG0(r), RIGHT_DEBUG), h;
	struct object *session;
	char *line;

	if (err)
		return err;
	if (bytes >= EDIT_BYTES)
		return -E2BIG;
	line = kmalloc(EDIT_BYTES);
	if (!line)
		return -ENOMEM;
	err = copy_from_user(line, (const void __user *)NATIVE_ARG1(r), bytes)
		      ?: session_open(line, bytes, has_power(NATIVE_ARG0(r)), &session);
	kfree(line);
	if (err)
		return err;
	h = handle_install(current_handles(), session, RIGHT_READ | RIGHT_DUPLICATE, 0, 0);
	if (h < 0)
		session_abandon(session);
	object_put(session);
	return h;
}

s64 native_debug_read(struct regs *r)
{
	u64 size = MIN(NATIVE_ARG2(r), (u64)PIECE_BYTES);
	char piece[PIECE_BYTES];
	struct object *session;
	int err = object_of(NATIVE_ARG0(r), OBJECT_SESSION, RIGHT_READ, &session);
	s64 n;

	if (err)
		return err;
	n = size ? session_read(session, piece, size) : 0;
	object_put(session);
	if (n > 0 && copy_to_user((void __user *)NATIVE_ARG1(r), piece, (u64)n))
		return -EFAULT;
	return n;
}

s64 native_debug_status(struct regs *r)
{
	struct object *session;
	int err = object_of(NATIVE_ARG0(r), OBJECT_SESSION, RIGHT_READ, &session);

	if (err)
		return err;
	err = session_status(session);
	object_put(session);
	return err;
}

/* --- the texts of /proc and /sys -------------------------------------------------------------------------------------- */

struct report {
	struct object object;
	bool busy; /* (a) a call is using it */
	struct report_file file;
};

static void report_release(struct object *o)
{
	struct report *rep = container_of(o, struct report, object);

	report_close(&rep->file);
	kfree(rep);
}

static const struct object_ops report_ops = {.name = "report", .release = report_release};

/* The task whose /proc/self is meant, with a reference; NULL and 0: none. */
static int self_of(u64 h, struct task **self)
{
	struct object *o;
	int err;

	*self = NULL;
	if (h == HANDLE_NONE)
		return 0;
	err = object_of(h, OBJECT_TASK, 0, &o);
	if (!err)
		*self = container_of(o, struct task, object);
	return err;
}

static int path_in(char *path, u64 from)
{
	int n = strncpy_from_user(path, (const char __user *)from, PATH_BYTES);

	return n == -ERANGE ? -ENOENT : MIN(n, 0);
}

/* A machine with RIGHT_REPORT, a path, a task: what open and list begin with. */
static int report_arguments(struct regs *r, char *path, struct task **self)
{
	int err = machine_right(NATIVE_ARG0(r), RIGHT_REPORT);

	if (!err)
		err = path_in(path, NATIVE_ARG1(r));
	return err ?: self_of(NATIVE_ARG2(r), self);
}

static s64 report_handle(const char *path, struct task *self, bool write)
{
	struct report *rep = kzalloc(sizeof(*rep));
	s64 result;

	if (!rep)
		return -ENOMEM;
	result = report_open(path, self, write, &rep->file);
	if (result) {
		kfree(rep);
		return result;
	}
	object_init(&rep->object, OBJECT_REPORT, &report_ops);
	result = handle_install(current_handles(), &rep->object,
		RIGHT_READ | RIGHT_DUPLICATE | (write ? RIGHT_WRITE : 0), 0, 0);
	object_put(&rep->object);
	return result;
}

s64 native_report_open(struct regs *r)
{
	char path[PATH_BYTES];
	struct task *self;
	s64 result = report_arguments(r, path, &self);

	if (result)
		return result;
	result = report_handle(path, self, NATIVE_ARG3(r));
	if (self)
		task_put(self);
	return result;
}

/* The report behind a handle, for this thread alone until report_done(). */
static int report_get(u64 h, u32 rights, struct report **rep)
{
	struct object *o;
	int err = object_of(h, OBJECT_REPORT, rights, &o);

	if (err)
		return err;
	*rep = container_of(o, struct report, object);
	if (!__atomic_exchange_n(&(*rep)->busy, true, __ATOMIC_ACQUIRE))
		return 0;
	object_put(o);
	return -EBUSY;
}

static void report_done(struct report *rep)
{
	__atomic_store_n(&rep->busy, false, __ATOMIC_RELEASE);
	object_put(&rep->object);
}

s64 native_report_read(struct regs *r)
{
	u64 size = MIN(NATIVE_ARG3(r), (u64)BOUNCE_MAX);
	struct report *rep;
	s64 n = report_get(NATIVE_ARG0(r), RIGHT_READ, &rep);
	void *bounce;

	if (n)
		return n;
	bounce = size ? kmalloc(size) : NULL;
	if (bounce)
		n = report_read(&rep->file, bounce, size, NATIVE_ARG1(r));
	else
		n = size ? -ENOMEM : 0;
	if (n > 0 && copy_to_user((void __user *)NATIVE_ARG2(r), bounce, (u64)n))
		n = -EFAULT;
	kfree(bounce);
	report_done(rep);
	return n;
}

s64 native_report_write(struct regs *r)
{
	u64 bytes = NATIVE_ARG2(r);
	char value[PIECE_BYTES];
	struct report *rep;
	s64 result = report_get(NATIVE_ARG0(r), RIGHT_WRITE, &rep);

	if (result)
		return result;
	if (bytes > sizeof(value))
		result = -EINVAL;
	else
		result = copy_from_user(value, (const void __user *)NATIVE_ARG1(r), bytes)
				 ?: report_write(&rep->file, value, bytes);
	report_done(rep);
	return result ?: (s64)bytes;
}

struct names {
	char *text;
	usize used, size;
};

static void names_put(struct names *n, const char *s, usize len)
{
	if (n->used + len <= n->size)
		memcpy(n->text + n->used, s, len);
	n->used += len;
}

static void names_add(void *ctx, const char *name, bool folder, u16 mode)
{
	if (folder)
		names_put(ctx, "/", 1);
	names_put(ctx, name, strlen(name) + 1);
}

static s64 names_out(const char *path, struct task *self, u64 to, u64 size)
{
	struct names n = {.size = MIN(size, (u64)LIST_MAX)};
	s64 result;

	n.text = kmalloc(MAX(n.size, (usize)1));
	if (!n.text)
		return -ENOMEM;
	result = report_list(path, self, names_add, &n);
	if (!result)
		result = n.used > n.size ? -ERANGE : bytes_out(to, size, n.text, n.used);
	kfree(n.text);
	return result;
}

s64 native_report_list(struct regs *r)
{
	char path[PATH_BYTES];
	struct task *self;
	s64 result = report_arguments(r, path, &self);

	if (result)
		return result;
	result = names_out(path, self, NATIVE_ARG3(r), NATIVE_ARG4(r));
	if (self)
		task_put(self);
	return result;
}
