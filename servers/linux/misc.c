/*
 * misc.c - who the user is, what the machine is                                                 ring 3
 *
 * There is one user, root, who may be told to be somebody else and stays root.
 *
 * LINUX  kernel/sys.c, kernel/reboot.c, kernel/printk/printk.c
 */
#define _GNU_SOURCE
#include "calls.h"
#include "core.h"

#include <string.h>
#include <sys/reboot.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

/* --- one user ------------------------------------------------------------------------------------------------------ */

long sys_getuid(struct call *c)
{
	return 0;
}
long sys_geteuid(struct call *c)
{
	return 0;
}
long sys_getgid(struct call *c)
{
	return 0;
}
long sys_getegid(struct call *c)
{
	return 0;
}

/* 0, or -1 where Linux takes that as "as it is"; other users do not exist. */
static long accept_ids(struct call *c, int nr)
{
	for (int i = 0; i < nr; i++)
		if ((uint32_t)c->arg[i] && (uint32_t)c->arg[i] != ~0u)
			return -EPERM;
	return 0;
}

long sys_setuid(struct call *c)
{
	return accept_ids(c, 1);
}
long sys_setgid(struct call *c)
{
	return accept_ids(c, 1);
}
long sys_setreuid(struct call *c)
{
	return accept_ids(c, 2);
}
long sys_setregid(struct call *c)
{
	return accept_ids(c, 2);
}
long sys_setresuid(struct call *c)
{
	return accept_ids(c, 3);
}
long sys_setresgid(struct call *c)
{
	return accept_ids(c, 3);
}

static long copy_out_ids(struct call *c)
{
	const uint32_t root = 0;

	for (int i = 0; i < 3; i++) {
		long error = copy_out(c, c->arg[i], &root, sizeof(root));

		if (error)
			return error;
	}
	return 0;
}

long sys_getresuid(struct call *c)
{
	return copy_out_ids(c);
}
long sys_getresgid(struct call *c)
{
	return copy_out_ids(c);
}
long sys_setfsuid(struct call *c)
{
	return 0;
}
long sys_setfsgid(struct call *c)
{
	return 0;
}
long sys_getgroups(struct call *c)
{
	return (int)c->arg[0] < 0 ? -EINVAL : 0;
}
long sys_setgroups(struct call *c)
{
	return (uint32_t)c->arg[0] > 65536 ? -EINVAL : 0;
}

/* Linux's version 3 of the structs: root has everything. */
#define CAPABILITY_VERSION 0x20080522u
#define ALL_CAPABILITIES   0x1ffffffffffull

long sys_capget(struct call *c)
{
	const uint32_t low = (uint32_t)ALL_CAPABILITIES, high = ALL_CAPABILITIES >> 32;
	const uint32_t sets[6] = {low, low, 0, high, high, 0};
	uint32_t header[2];
	long error = copy_in(c, header, c->arg[0], sizeof(header));

	if (error)
		return error;
	if (header[0] != CAPABILITY_VERSION) {
		header[0] = CAPABILITY_VERSION;
		error = copy_out(c, c->arg[0], header, sizeof(header[0]));
		return error ? error : c->arg[1] ? -EINVAL : 0;
	}
	return c->arg[1] ? copy_out(c, c->arg[1], sets, sizeof(sets)) : 0;
}

long sys_capset(struct call *c)
{
	return 0;
}

/* --- the machine ----------------------------------------------------------------------------------------------------- */

static struct utsname names = {"Linux", "pagoda", "6.1.0-pagoda", "Pagoda", "x86_64", "(none)"};

long sys_uname(struct call *c)
{
	char version[sizeof(names.version) - 8];
	long n = machine_info(SLOT_MACHINE, MACHINE_VERSION, version, sizeof(version) - 1);

	if (n > 0 && (size_t)n < sizeof(version)) {
		version[n] = 0;
		strcpy(names.version, "Pagoda ");
		strcat(names.version, version);
	}
	return copy_out(c, c->arg[0], &names, sizeof(names));
}

static long set_name(struct call *c, char *name)
{
	char text[sizeof(names.nodename)] = {0};
	long error;

	if (c->arg[1] >= sizeof(text))
		return -EINVAL;
	error = copy_in(c, text, c->arg[0], c->arg[1]);
	if (!error)
		memcpy(name, text, sizeof(text));
	return error;
}

long sys_sethostname(struct call *c)
{
	return set_name(c, names.nodename);
}

long sys_setdomainname(struct call *c)
{
	return set_name(c, names.domainname);
}

long sys_sysinfo(struct call *c)
{
	struct machine_memory m = {0};
	struct sysinfo info = {.mem_unit = 1};

	machine_info(SLOT_MACHINE, MACHINE_MEMORY, &m, sizeof(m));
	info.uptime = (unsigned long)(time_now() / NS_PER_SEC);
	info.totalram = m.total;
	info.freeram = m.free;
	info.procs = (unsigned short)nr_processes;
	return copy_out(c, c->arg[0], &info, 112); /* without musl's reserve */
}

/* READ_IMPLIES_EXEC and the like are remembered, not acted upon. */
long sys_personality(struct call *c)
{
	struct process *p = c->thread->process;
	uint32_t old = p->personality;

	if ((uint32_t)c->arg[0] != ~0u)
		p->personality = (uint32_t)c->arg[0];
	return old;
}

#define REBOOT_MAGIC1 0xfee1deadu

static bool reboot_magic2(uint32_t magic)
{
	return magic == 672274793 || magic == 85072278 || magic == 369367448 || magic == 537993216;
}

/* The machine goes off in all cases: who started it can start it again. */
long sys_reboot(struct call *c)
{
	uint32_t what = (uint32_t)c->arg[2];

	if ((uint32_t)c->arg[0] != REBOOT_MAGIC1 || !reboot_magic2((uint32_t)c->arg[1]))
		return -EINVAL;
	switch (what) {
	case (uint32_t)RB_ENABLE_CAD:
	case (uint32_t)RB_DISABLE_CAD:
		return 0;
	case (uint32_t)RB_POWER_OFF:
	case (uint32_t)RB_HALT_SYSTEM:
	case (uint32_t)RB_AUTOBOOT:
		return machine_power(SLOT_MACHINE, 0);
	default:
		return -EINVAL;
	}
}

/* --- the kernel's log -------------------------------------------------------------------------------------------------- */

#define LOG_BYTES      (64u << 10)
#define LOG_READ_ALL   3
#define LOG_READ_CLEAR 4
#define LOG_SIZE       10

/* The text of the monitor's `dmesg`, its end if it is longer than size. -> bytes, -errno */
static long read_log(char *to, size_t size)
{
	static const char command[] = "dmesg";
	long session = debug_open(SLOT_MACHINE, command, sizeof(command) - 1), n;
	char chunk[1024];
	size_t have = 0;

	if (session < 0)
		return session;
	while ((n = debug_read((uint32_t)session, chunk, sizeof(chunk))) > 0) {
		size_t over = have + n > size ? have + n - size : 0;

		if (over > have)
			break; /* size is smaller than a chunk */
		memmove(to, to + over, have - over);
		memcpy(to + have - over, chunk, n);
		have += n - over;
	}
	handle_close((uint32_t)session);
	return (long)have;
}

long sys_syslog(struct call *c)
{
	static char log[LOG_BYTES];
	size_t size = (uint32_t)c->arg[2] < sizeof(log) ? (uint32_t)c->arg[2] : sizeof(log);
	long n, error;

	switch ((int)c->arg[0]) {
	case LOG_READ_ALL:
	case LOG_READ_CLEAR: /* nothing is cleared */
		if ((int)c->arg[2] < 0)
			return -EINVAL;
		n = size < 1024 ? 0 : read_log(log, size);
		error = n > 0 ? copy_out(c, c->arg[1], log, (size_t)n) : 0;
		return error ? error : n;
	case LOG_SIZE:
		return LOG_BYTES;
	case 0: /* open, close, clear, console off, on, level */
	case 1:
	case 5:
	case 6:
	case 7:
	case 8:
		return 0;
	case 9: /* unread bytes */
		return 0;
	default:
		return -EINVAL;
	}
}

/* --- what a C library says at its start ----------------------------------------------------------------------------------- */

/* Locks that a dying thread holds: the list is not looked at, as robust mutexes are not served. */
long sys_set_robust_list(struct call *c)
{
	return c->arg[1] == 24 ? 0 : -EINVAL;
}

long sys_get_robust_list(struct call *c)
{
	const uint64_t none = 0, bytes = 24;
	long error = copy_out(c, c->arg[1], &none, sizeof(none));

	return error ? error : copy_out(c, c->arg[2], &bytes, sizeof(bytes));
}

/* Libraries ask and do without it. */
long sys_rseq(struct call *c)
{
	return -ENOSYS;
}

/* Libraries use clone() then, which says all that can be said here. */
long sys_clone3(struct call *c)
{
	return -ENOSYS;
}
