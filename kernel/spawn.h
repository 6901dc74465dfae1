/*
 * spawn.h - programs that the personality starts for the monitor.                             floor 7
 */
#ifndef SPAWN_H
#define SPAWN_H

#include "ipc.h"
#include "lib/types.h"
#include "task.h"

void spawn_init(void);

/* The endpoint of whoever starts programs: takes a reference. Replaces the one before. */
void spawn_set_server(struct endpoint *ep);

/*
 * spawn_program - have a program started on the console by the personality.
 *
 *   background  it is not the console's foreground program
 *   locks       none held; sleeps
 *   returns     0 and *out with a reference, for task_wait(); -ETIMEDOUT (nobody starts programs, and nobody came to),
 *               -E2BIG, -ENOMEM, -EINTR, or what the personality says
 */
int __must_check spawn_program(int argc, char *const argv[], bool background, struct task **out);

#endif
