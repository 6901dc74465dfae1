/*
 * session.h - one command line of the monitor, run for a task                                floor 7
 */
#ifndef MONITOR_SESSION_H
#define MONITOR_SESSION_H

#include "lib/types.h"
#include "object.h"

#define SESSION_MAX 64 /* at a time */

/*
 * session_open - run a line in a thread of its own.
 *
 *   line, len  in kernel memory; not terminated
 *   may_power  it may switch the machine off, and panic
 *   out        the session, with one reference; the line is told to stop when its last handle is closed
 *   returns    0; -EAGAIN (SESSION_MAX), -ENOMEM, -E2BIG (a line is shorter than EDIT_BYTES)
 */
int __must_check session_open(const char *line, usize len, bool may_power, struct object **out);

/* Its first handle could not be made: nobody will read it. */
void session_abandon(struct object *o);

/*
 * session_read - up to len bytes of what the line has written, sleeping until there are some.
 *
 *   returns  bytes; 0: it has ended and all is read; -EINTR
 */
s64 __must_check session_read(struct object *o, char *buf, usize len);

/* The line's exit status, 0 to 255; sleeps until it has ended. -EINTR. */
int __must_check session_status(struct object *o);

#endif
