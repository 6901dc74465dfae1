/*
 * machine.h - the machine as an object: who owns the console, what to run.                     floor 7
 */
#ifndef MACHINE_H
#define MACHINE_H

#include "ipc.h"
#include "lib/types.h"
#include "object.h"

#define MACHINE_CMD_BYTES 4096 /* CMD, with its zero */

/* machine_init - read CMD and the mode; cmdline: the kernel's command line. Once, after loader_init(). */
void machine_init(const char *cmdline);

/* The one object of its kind. It is always there: no reference goes with it. */
struct object *machine_object(void);

/* Do servers own the console? Else the monitor does. Constant after machine_init(). */
bool machine_has_shell(void);
bool machine_has_servers(void); /* are an init and a personality in the initrd? */
const char *machine_cmd(void);  /* CMD; NULL: none was given, a person is there */
bool machine_cmd_too_long(void);

/* --- bytes from the UART ------------------------------------------------------------------- */

/* Where they go from now on: to ring 3, or to the monitor. What nobody read yet goes with them. */
void machine_input_to_servers(bool to_servers);
/* Called when bytes for the monitor have arrived; in interrupt context. */
extern void (*machine_monitor_input)(void);

/* Up to len bytes for ring 3, into kernel memory; never waits. 0: there are none, or they are the monitor's. */
usize machine_uart_read(char *buf, usize len);
/* Signal `bits` when bytes for ring 3 arrive, and now if some are there. NULL: nobody wants to know. Takes a reference. */
void machine_uart_notify(struct notification *n, u64 bits);

#endif
