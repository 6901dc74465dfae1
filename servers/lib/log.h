/*
 * log.h - one line into the kernel's log and onto the console.                                  ring 3
 */
#ifndef SERVERS_LOG_H
#define SERVERS_LOG_H

/* Like printf; the line's end is added. Longer lines are cut at SAY_BYTES. Needs the machine's handle only. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define SAY_BYTES 240

#endif
