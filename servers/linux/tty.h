/*
 * tty.h - the terminal: the console server as a file.                                             ring 3
 */
#ifndef TTY_H
#define TTY_H

/* Asks the console to notify. 0, -errno: the console does not answer (it may later) */
int tty_init(void);

#endif
