/*
 * boot.h - the symbols of boot.asm and trampoline.asm that main.c hands on.                  floor 7
 */
#ifndef BOOT_BOOT_H
#define BOOT_BOOT_H

#include "lib/types.h"
#include "x86/paging.h"

/* Start-up code for the other CPUs; trampoline.asm says how it is used. */
extern const u8 trampoline_start[], trampoline_end[];

/*
 * boot_pgd: the boot CPU's root until the kernel has its own. trampoline_pgd: the root on which the others
 * start; its lower half maps the first 2 MiB, read-only and executable, its upper half is boot_pgd's.
 */
extern pgd_t boot_pgd[PTRS_PER_TABLE], trampoline_pgd[PTRS_PER_TABLE];

/* kernel_main() runs on this stack. No page is mapped at boot_stack_guard. */
extern u8 boot_stack_guard[PAGE_SIZE], boot_stack[], boot_stack_top[];

/* The time-stamp counter when the kernel was entered. main.c prints "entered at tsc N", which `make bench` reads. */
extern u64 boot_entry_tsc;

#endif
