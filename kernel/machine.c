/*
 * machine.c - the machine as an object: its console, its command
 *                                                            floor 7, below: loader.c; above: monitor/, native_machine.c
 *
 * Holds what is there once: which side the typed bytes go to, the notification for them, and CMD. What ring 3 may ask
 * of it stands in native_machine.c, what a person may in monitor/.
 *
 * IDEA
 *   COM1 --interrupt--> byte --+-- to the monitor: serial's ring, monitor wakes
 *                              |
 *                              +-- to ring 3: serial's ring, notification; uart_read empties it
 *                                  Ctrl-\ twice in a row: the stopped monitor, as by a BREAK
 *
 *   A single Ctrl-\ is a program's: it is held until the next byte says that it was single, or HOLD_NS have passed.
 *   That is decided in the interrupt handler, so it works when nobody reads the ring any more.
 *
 * INVARIANTS
 *   N1  the ring of serial.c has one reader: the monitor's thread, or, under `lock`, ring 3
 *   N2  a held Ctrl-\ has a pending timeout
 *
 * LOCKS     lock: irq-safe; inside it the notification's endpoint, wait queues. held_quit is touched on the UART's CPU
 *           with interrupts off only: by its interrupt handler and by a timeout of that CPU.
 * LINUX     drivers/tty/sysrq.c is the way out of a stuck terminal there.
 */
#include "machine.h"
#include "lib/cpio.h"
#include "lib/string.h"
#include "loader.h"
#include "panic.h"
#include "sched.h"
#include "timeout.h"
#include "x86/fwcfg.h"
#include "x86/serial.h"
#include "x86/timer.h"

#define CTRL_BACKSLASH 0x1c
#define HOLD_NS        (300 * NS_PER_MS)

static struct object machine;
static struct spinlock lock = SPINLOCK_INIT(LOCK_MACHINE, "machine");
static bool to_servers;                 /* (lock), read without in the handler of the same CPU */
static struct notification *input_note; /* (lock) with a reference */
static u64 input_bits;                  /* (lock) */

static bool held_quit; /* a Ctrl-\ that the next byte decides about */
static struct timeout held_timeout;

static bool has_servers, has_shell; /* (c) */
static char cmd[MACHINE_CMD_BYTES];
static bool cmd_given, cmd_too_long; /* (c) */

void (*machine_monitor_input)(void);

/* --- bytes from the UART --------------------------------------------------------------------------------- */

/* There is something to read. Any context. */
static void input_arrived(void)
{
	u64 flags = spin_lock_irqsave(&lock);

	if (to_servers && input_note)
		notification_signal(input_note, input_bits);
	spin_unlock_irqrestore(&lock, flags);
	if (!READ_ONCE(to_servers) && machine_monitor_input)
		machine_monitor_input();
}

/* In the timer's interrupt on the UART's CPU: no second one came. */
static void held_is_single(void *arg)
{
	if (!held_quit)
		return;
	held_quit = false;
	serial_put(CTRL_BACKSLASH);
	input_arrived();
}

/* In the UART's interrupt: what becomes of a byte? */
static enum serial_fate input_fate(u8 byte)
{
	bool was_held = held_quit;

	if (!READ_ONCE(to_servers))
		return SERIAL_KEEP;
	if (was_held) {
		held_quit = false;
		timeout_cancel(&held_timeout);
		if (byte == CTRL_BACKSLASH)
			return SERIAL_BREAK;
		serial_put(CTRL_BACKSLASH);
	}
	if (byte != CTRL_BACKSLASH)
		return SERIAL_KEEP;
	held_quit = true;
	timeout_add(&held_timeout, time_ns() + HOLD_NS, held_is_single, NULL);
	return SERIAL_DROP;
}

void machine_input_to_servers(bool servers)
{
	u64 flags = spin_lock_irqsave(&lock);

	WRITE_ONCE(to_servers, servers);
	spin_unlock_irqrestore(&lock, flags);
	input_arrived();
}

usize machine_uart_read(char *buf, usize len)
{
	u64 flags = spin_lock_irqsave(&lock);
	usize n = 0;
	int byte;

	while (to_servers && n < len && (byte = serial_read()) >= 0)
		buf[n++] = (char)byte;
	spin_unlock_irqrestore(&lock, flags);
	return n;
}

void machine_uart_notify(struct notification *n, u64 bits)
{
	struct notification *before;
	u64 flags;

	if (n)
		object_get(&n->object);
	flags = spin_lock_irqsave(&lock);
	before = input_note;
	input_note = n;
	input_bits = bits;
	spin_unlock_irqrestore(&lock, flags);
	if (before)
		object_put(&before->object);
	input_arrived();
}

/* --- what there is ------------------------------------------------------------------------------------------- */

struct object *machine_object(void)
{
	return &machine;
}

bool machine_has_shell(void)
{
	return has_shell;
}

bool machine_has_servers(void)
{
	return has_servers;
}

const char *machine_cmd(void)
{
	return cmd_given ? cmd : NULL;
}

bool machine_cmd_too_long(void)
{
	return cmd_too_long;
}

static void machine_release(struct object *o)
{
	panic("machine", "the last reference of the machine is gone");
}

/* CMD: by fw_cfg, else `cmd=` on the command line, to its end. */
static void cmd_read(const char *cmdline)
{
	isize n = fwcfg_read("opt/pagoda/cmd", cmd, sizeof(cmd));
	const char *text = strstr(cmdline, "cmd=");

	if (n >= 0) {
		cmd_given = true;
		cmd_too_long = n >= (isize)sizeof(cmd);
		cmd[MIN((usize)n, sizeof(cmd) - 1)] = '\0';
	} else if (text && (text == cmdline || text[-1] == ' ')) {
		cmd_given = true;
		cmd_too_long = strscpy(cmd, text + 4, sizeof(cmd)) < 0;
	}
}

/* The word `monitor` on the command line, before `cmd=`. */
static bool word_monitor(const char *cmdline)
{
	const char *end = strstr(cmdline, "cmd=") ?: cmdline + strlen(cmdline);
	const char *at = strstr(cmdline, "monitor");

	return at && at < end && (at == cmdline || at[-1] == ' ') && (!at[7] || at[7] == ' ');
}

static bool monitor_wanted(const char *cmdline)
{
	char value = '0';

	if (fwcfg_read("opt/pagoda/monitor", &value, 1) > 0)
		return value == '1';
	return word_monitor(cmdline);
}

static bool is_in_initrd(const char *path)
{
	struct cpio_entry entry;
	usize bytes;
	const void *initrd = loader_initrd(&bytes);

	return bytes && cpio_find(initrd, bytes, path, &entry) == CPIO_OK;
}

void machine_init(const char *cmdline)
{
	static const struct object_ops ops = {.name = "machine", .release = machine_release};

	object_init(&machine, OBJECT_MACHINE, &ops);
	cmd_read(cmdline);
	/* Without a personality nobody would start a shell, or a program. */
	has_servers = is_in_initrd("servers/init") && is_in_initrd("servers/linux");
	has_shell = has_servers && !monitor_wanted(cmdline);
	to_servers = has_shell;
	serial_rx_notify = input_arrived;
	serial_rx_fate = input_fate;
}
