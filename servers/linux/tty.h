/*
 * tty.h - the terminal: the console server as a file.                                             ring 3
 */
#ifndef TTY_H
#define TTY_H

int tty_init(
	void); /* asks the console to notify. 0, -errno: the console does not answer (it may later) */

#endif
