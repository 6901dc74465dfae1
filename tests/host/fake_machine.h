/*
 * fake_machine.h - a machine for the host tests: memory, CPUs, a console that can be read.
 */
#ifndef FAKE_MACHINE_H
#define FAKE_MACHINE_H

#include "lib/types.h"
#include "x86/cpu.h"
#include "x86/layout.h"

extern char machine_words[]; /* what the last printk() said */

/* machine_power_on - physical memory [0, bytes), all zero, and `cpus` CPUs. No memory map yet. */
void machine_power_on(u64 bytes, u32 cpus);

/* machine_start - the same, booted as far as floor 2 goes: [1 MiB, bytes) is given to the buddy. */
void machine_start(u64 bytes, u32 cpus);

/* machine_said - does the last printk() contain this? (A checker names the rule that it found broken.) */
bool machine_said(const char *text);

#endif
