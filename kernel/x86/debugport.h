/*
 * debugport.h - leaving the machine.                                                   floor 1
 */
#ifndef X86_DEBUGPORT_H
#define X86_DEBUGPORT_H

#include "lib/types.h"

/* What is written to the debug exit port; the emulator's own exit status is 2 * value + 1. */
#define EXIT_SUCCESS 0x10 /* status 33 */
#define EXIT_FAILURE 0x11 /* status 35: a command of CMD failed */
#define EXIT_PANIC   0x20 /* status 65 */
#define EXIT_REFUSED 0x21 /* status 67: this machine cannot run the kernel */

__noreturn void machine_exit(u8 value);

#endif
