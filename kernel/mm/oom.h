/*
 * oom.h - no memory is left: who goes.                                                         floor 5
 */
#ifndef MM_OOM_H
#define MM_OOM_H

#include "task.h"

bool oom_kill(const char *
		why); /* kill it with one clear line and wait for its memory; false: nobody to kill */

#endif
