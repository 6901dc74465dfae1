/*
 * service.h - what the servers say to each other.                                              ring 3
 *
 * init creates one endpoint for each server and keeps it, so that a server that died is replaced behind the same handles:
 * calls it had received end with -EPIPE, calls that still wait reach its successor. Only linux gets a new endpoint: its
 * clients are its own children and die with it. Phase by phase: servers/init/README.md.
 *
 *   init ---> console   owns the UART: line discipline
 *        ---> pager     supplies the pages of the initrd's files
 *        ---> linux     the personality: processes, files, signals. A client of console and pager
 */
#ifndef SERVERS_SERVICE_H
#define SERVERS_SERVICE_H

#include <abi/native.h>

/* What every server finds in its table when it starts; init puts it there. */
#define SLOT_MACHINE HANDLE_MACHINE
#define SLOT_SERVICE 2 /* its own endpoint: RIGHT_RECEIVE | RIGHT_SEND | RIGHT_DUPLICATE */
#define SLOT_CONSOLE 3 /* linux: the console's endpoint, RIGHT_SEND */
#define SLOT_PAGER   4 /* linux: the pager's, RIGHT_SEND */
#define SLOT_SELF    5 /* its own task: READ | WRITE | MANAGE | DUPLICATE */
#define SLOT_CLIENT  6 /* console started again: the task it serves, as by CONSOLE_CLIENT */

/*
 * A bit of MESSAGE_NOTIFICATION at linux's endpoint, signalled by init: the console is a new one. It knows its client, but
 * neither a notification nor settings: CONSOLE_NOTIFY and CONSOLE_SET_TERMIOS are due again.
 */
#define LINUX_BIT_CONSOLE (1ull << 63)

/*
 * CONSOLE. The client is one task at a time: buffers are addresses in its memory. Nothing here sleeps: who wants to wait for
 * input waits for the notification. Labels of answers: >= 0, or a negated errno.
 */
enum console_label {
	/* handle: the client's task (READ, WRITE); from init alone (badge CONSOLE_BADGE_INIT). What the last client set is
	   forgotten; what was typed ahead is for the new one */
	CONSOLE_CLIENT = 1,
	/* handle: a notification (SEND); word 0: the bit to signal when CONSOLE_EVENTS has news */
	CONSOLE_NOTIFY,
	/* word 0 address, word 1 bytes -> bytes; output processing as termios says */
	CONSOLE_WRITE,
	/* word 0 address, word 1 bytes -> bytes; 0: Ctrl-D at a line's begin, or a mode with VMIN and VTIME 0; -EAGAIN: nothing
	   yet. word 0 of that answer: VTIME of a mode with VMIN 0: the read ends with 0 after so many tenths of a second */
	CONSOLE_READ,
	/* -> word 0: CONSOLE_EVENT_*; signals are cleared by reading, READABLE stays while true */
	CONSOLE_EVENTS,
	/* word 0: address of Linux's struct termios (the kernel's, 36 bytes: TCGETS) */
	CONSOLE_GET_TERMIOS,
	/* word 0: address; word 1: 0 TCSETS, 1 TCSETSW, 2 TCSETSF (drops input) */
	CONSOLE_SET_TERMIOS,
	CONSOLE_GET_WINSIZE, /* -> word 0 rows, word 1 columns */
	CONSOLE_SET_WINSIZE, /* word 0 rows, word 1 columns */
	CONSOLE_FLUSH,       /* drop typed input */
};
#define CONSOLE_EVENT_READABLE 0x1
#define CONSOLE_EVENT_INTR     0x2 /* Ctrl-C: SIGINT to the foreground group */
#define CONSOLE_EVENT_QUIT     0x4 /* Ctrl-\ */
#define CONSOLE_EVENT_SUSP     0x8 /* Ctrl-Z */
#define CONSOLE_EVENT_WINCH    0x10
#define CONSOLE_BADGE_INIT     1

/* PAGER: pages that are copies of the initrd's bytes. */
enum pager_label {
	/* word 0 offset in the initrd, word 1 bytes -> handle: memory (READ, DUPLICATE), rounded up to pages, zeroes behind the
	   file's end; -EINVAL: not a range of the initrd, or no bytes */
	PAGER_FILE = 1,
};

#endif
