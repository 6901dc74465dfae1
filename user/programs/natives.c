/*
 * natives.c - Pagoda's own calls with handles that are none, of the wrong kind, without the right; and with sizes and
 * labels that cannot be.                                                                        ring 3
 *
 * Every call that takes a handle is made with each handle that must be refused: -EBADF, -EINVAL and -EACCES, as
 * <abi/native.h> says. Then messages, sizes and a full table. It needs no other process.
 */
#include <errno.h>
#include <native.h>
#include <stdio.h>
#include <string.h>

#include "lib.h"

static char buffer[256];
static int failures, made;

static void expect(const char *what, const char *how, long got, long want)
{
	made++;
	if (got == want)
		return;
	printf("natives: %s: %s: FAILED: %ld, should be %ld\n", what, how, got, want);
	failures++;
}

/* ---- handles ---------------------------------------------------------------------------------------- */

enum kind {
	ENDPOINT,
	NOTIFICATION,
	MEMORY,
	MACHINE,
	KINDS,
	TASK,
	THREAD,
	SESSION,
	REPORT,
	ANY
};

static const char *const kind_name[KINDS] = {
	"an endpoint", "a notification", "memory", "the machine"};
static long handle[KINDS];

#define B    ((long)buffer)
#define MINE (1l << 40) /* an endpoint */

static const struct {
	const char *name;
	long number;
	enum kind kind;
	long args[5]; /* the first is the handle's place */
} calls[] = {
	{"handle_close", SYS_handle_close, ANY, {0}},
	{"handle_duplicate", SYS_handle_duplicate, ANY, {0, 0, 0}},
	{"handle_grant", SYS_handle_grant, TASK, {0, MINE, 0, 0}},
	{"notification_create", SYS_notification_create, ENDPOINT, {0}},
	{"notification_signal", SYS_notification_signal, NOTIFICATION, {0, 1}},
	{"task_create", SYS_task_create, MACHINE, {0, TASK_NEW, 0, 0}},
	{"task_kill", SYS_task_kill, TASK, {0, 9}},
	{"task_label", SYS_task_label, TASK, {0, B, 0}},
	{"task_info", SYS_task_info, TASK, {0, B}},
	{"task_read", SYS_task_read, TASK, {0, B, B, 8}},
	{"task_write", SYS_task_write, TASK, {0, B, B, 8}},
	{"mm_reset", SYS_mm_reset, TASK, {0}},
	{"thread_create", SYS_thread_create, TASK, {0, B}},
	{"thread_resume", SYS_thread_resume, THREAD, {0}},
	{"thread_suspend", SYS_thread_suspend, THREAD, {0}},
	{"thread_kill", SYS_thread_kill, THREAD, {0, 9}},
	{"thread_get_regs", SYS_thread_get_regs, THREAD, {0, B}},
	{"thread_set_regs", SYS_thread_set_regs, THREAD, {0, B}},
	{"thread_interrupt", SYS_thread_interrupt, THREAD, {0}},
	{"memory_resize", SYS_memory_resize, MEMORY, {0, 4096}},
	{"memory_info", SYS_memory_info, MEMORY, {0, B}},
	{"pager_attach", SYS_pager_attach, MEMORY, {0, 0, 0}},
	{"pager_withdraw", SYS_pager_withdraw, MEMORY, {0, 0, 4096}},
	{"machine_power", SYS_machine_power, MACHINE, {0, 0}},
	{"machine_panic", SYS_machine_panic, MACHINE, {0, B, 1}},
	{"machine_initrd", SYS_machine_initrd, MACHINE, {0, B}},
	{"machine_spawner", SYS_machine_spawner, MACHINE, {0, 2}},
	{"uart_read", SYS_uart_read, MACHINE, {0, B, 1}},
	{"uart_write", SYS_uart_write, MACHINE, {0, B, 1}},
	{"uart_notify", SYS_uart_notify, MACHINE, {0, 0, 1}},
	{"debug_read", SYS_debug_read, SESSION, {0, B, 1}},
	{"debug_status", SYS_debug_status, SESSION, {0}},
	{"report_open", SYS_report_open, MACHINE, {0, (long)"/proc/vmstat", 0, 0}},
	{"report_read", SYS_report_read, REPORT, {0, 0, B, 1}},
	{"report_write", SYS_report_write, REPORT, {0, B, 1}},
	{"report_list", SYS_report_list, MACHINE, {0, (long)"/proc", 0, B, 100}},
	{"futex_wake_in", SYS_futex_wake_in, TASK, {0, B, 1}},
};

static long call(size_t c, long h)
{
	const long *a = calls[c].args;

	return native(calls[c].number, h, a[1] == MINE ? handle[ENDPOINT] : a[1], a[2], a[3], a[4]);
}

/* Handles that are none. */
static void try_none(size_t c)
{
	static const long none[] = {0, 31, 4095, 4096, 0x7fffffff, 0xffffffff, -1};

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		expect(calls[c].name, "no such handle", call(c, none[i]), -EBADF);
}

static void try_kinds(size_t c)
{
	for (enum kind k = 0; k < KINDS && calls[c].kind != ANY; k++) {
		if (k != calls[c].kind)
			expect(calls[c].name, kind_name[k], call(c, handle[k]), -EINVAL);
		else if (k == MACHINE) /* a program may only debug with it */
			expect(calls[c].name, "a right is missing", call(c, handle[k]), -EACCES);
	}
}

/* A duplicate without any right: whatever the call needs is missing. */
static void try_rights(size_t c)
{
	long bare;

	if (calls[c].kind >= KINDS || calls[c].kind == MACHINE)
		return;
	bare = handle_duplicate(handle[calls[c].kind], 0, 0);
	expect(calls[c].name, "no right", call(c, bare), -EACCES);
	expect("handle_close", "a duplicate", handle_close(bare), 0);
}

/* ---- messages --------------------------------------------------------------------------------------- */

#define SOON 1 /* ns since boot: has been */

static void try_messages(void)
{
	long receive = handle_duplicate(handle[ENDPOINT], RIGHT_RECEIVE, 0);
	long send = handle_duplicate(handle[ENDPOINT], RIGHT_SEND, 0);
	struct message m = {.label = LABEL_KERNEL};

	expect("ipc_call", "the kernel's label", ipc_call(send, &m, SOON), -EINVAL);
	m = (struct message){.label = 1};
	expect("ipc_call", "no such handle", ipc_call(999, &m, SOON), -EBADF);
	m = (struct message){.label = 1};
	expect("ipc_call", "memory", ipc_call(handle[MEMORY], &m, SOON), -EINVAL);
	m = (struct message){.label = 1};
	expect("ipc_call", "no right to send", ipc_call(receive, &m, SOON), -EACCES);
	m = (struct message){.label = 1};
	expect("ipc_call", "nobody receives", ipc_call(send, &m, SOON), -ETIMEDOUT);
	m = (struct message){.label = 1, .handle = 999};
	expect("ipc_call", "with a handle that is none", ipc_call(send, &m, SOON), -EBADF);
	m = (struct message){.label = 1, .handle = receive};
	expect("ipc_call", "with a handle that may not travel", ipc_call(send, &m, SOON), -EACCES);
	m = (struct message){0};
	expect("ipc_receive", "no right to receive", ipc_receive(send, &m, SOON), -EACCES);
	expect("ipc_receive", "nobody calls", ipc_receive(receive, &m, SOON), -ETIMEDOUT);
	m = (struct message){.token = 0x123456789abcdef};
	expect("ipc_reply", "a token that is none", ipc_reply(receive, &m), -ESRCH);
	m = (struct message){.token = 0};
	expect("ipc_reply", "token 0", ipc_reply(receive, &m), -ESRCH);
	m = (struct message){.token = 77};
	expect("ipc_reply_receive", "a token that is none",
		ipc_reply_receive(receive, &m, &m, SOON), -ETIMEDOUT);
	expect("handle_duplicate", "more rights",
		handle_duplicate(send, RIGHT_SEND | RIGHT_RECEIVE, 0), -EACCES);
	expect("handle_close", "send", handle_close(send), 0);
	expect("handle_close", "receive", handle_close(receive), 0);
	expect("handle_close", "again", handle_close(receive), -EBADF);
}

/* ---- sizes ------------------------------------------------------------------------------------------ */

static void refused(const char *what, const char *how, long got)
{
	made++;
	if (got < 0 && got >= -4095)
		return;
	printf("natives: %s: %s: FAILED: %ld, should be an error\n", what, how, got);
	failures++;
}

static void try_sizes(void)
{
	static const unsigned long wrong[] = {
		0, 1, 4095, 8192, HUGE_BYTES - PAGE_BYTES, 2 * HUGE_BYTES, -1ul};
	struct memory_map map = {.memory = handle[MEMORY],
		.bytes = PAGE_BYTES,
		.prot = PROT_READ,
		.flags = MAP_SHARED};
	struct pager_supply supply = {.memory = handle[MEMORY], .bytes = PAGE_BYTES};

	refused("memory_create", "larger than a space", memory_create(1ul << 60));
	refused("memory_create", "that wraps", memory_create(-1ul));
	refused("memory_resize", "that wraps", memory_resize(handle[MEMORY], -1ul));
	map.bytes = 0;
	refused("memory_map", "nothing", memory_map(&map));
	map.bytes = -4096ul;
	refused("memory_map", "that wraps", memory_map(&map));
	map.bytes = PAGE_BYTES;
	map.offset = 1;
	refused("memory_map", "offset that is no page", memory_map(&map));
	map.offset = -4096ul;
	refused("memory_map", "offset that wraps", memory_map(&map));
	map.offset = 0;
	map.task = 999;
	refused("memory_map", "of no task", memory_map(&map));
	map.task = 0;
	map.memory = 999;
	refused("memory_map", "of no memory", memory_map(&map));
	map.memory = handle[ENDPOINT];
	refused("memory_map", "of an endpoint", memory_map(&map));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		supply.bytes = wrong[i];
		refused("pager_supply", "a size that is none", pager_supply(&supply));
	}
	supply.bytes = PAGE_BYTES;
	supply.source = 0xffff888000000000;
	refused("pager_supply", "from the kernel", pager_supply(&supply));
	supply.source = AREA_BASE + 512 * MIB;
	refused("pager_supply", "from a hole", pager_supply(&supply));
	supply.source = (unsigned long)try_sizes & ~(PAGE_BYTES - 1);
	refused("pager_supply", "from its own text", pager_supply(&supply));
	refused("debug_open", "a line without end", debug_open(HANDLE_MACHINE, buffer, 1ul << 40));
}

/* A table that is full says so, and all of it comes back. */
static void try_full_table(void)
{
	static long all[HANDLE_MAX];
	long nr = 0, got;

	while ((got = handle_duplicate(handle[ENDPOINT], RIGHT_SEND, 0)) > 0 && nr < HANDLE_MAX)
		all[nr++] = got;
	expect("handle_duplicate", "a full table", got, -EMFILE);
	expect("endpoint_create", "a full table", endpoint_create(), -EMFILE);
	expect("memory_create", "a full table", memory_create(PAGE_BYTES), -EMFILE);
	while (nr > 0)
		expect("handle_close", "one of many", handle_close(all[--nr]), 0);
}

int main(void)
{
	handle[MACHINE] = HANDLE_MACHINE;
	handle[ENDPOINT] = endpoint_create();
	handle[NOTIFICATION] = notification_create(handle[ENDPOINT]);
	handle[MEMORY] = memory_create(PAGE_BYTES);
	for (enum kind k = 0; k < KINDS; k++) {
		if (handle[k] <= 0)
			die("natives: no handle for %s: %ld", kind_name[k], handle[k]);
	}
	for (size_t c = 0; c < sizeof(calls) / sizeof(calls[0]); c++) {
		try_none(c);
		try_kinds(c);
		try_rights(c);
	}
	try_messages();
	try_sizes();
	try_full_table();
	printf("natives: %d calls, %s\n", made, failures ? "FAILED" : "ok");
	return failures != 0;
}
