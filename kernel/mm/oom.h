/*
 * oom.h - no memory is left: choose the task with the most anonymous memory.                   floor 5
 */
#ifndef MM_OOM_H
#define MM_OOM_H

#include "task.h"

/* The task to kill, with a reference, or NULL: none has memory. */
struct task *oom_choose(void);
/* Kill it with one clear line in dmesg; true when a victim was found (the caller retries or dies of kill_pending). */
bool oom_kill(const char *why);

#endif
