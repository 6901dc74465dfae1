/*
 * trampoline.h - what boot/trampoline.asm and boot/boot.asm offer to whoever starts the other CPUs.
 *                                                                                             floor 1
 *
 * Copy trampoline_start .. trampoline_end to a page below 1 MiB, fill the mailbox in the copy, send
 * INIT and STARTUP. The CPU comes out in 64-bit mode at entry(arg), on `stack`, with interrupts off,
 * %gs base 0, no IDT, and with `cr3` loaded: its lower half must map the page to itself.
 *
 * trampoline_pgd is such a root: its lower half maps the first 2 MiB read-only and executable, its upper
 * half is boot.asm's. Copy the upper half of the kernel's root into it before the first start if the
 * stack lies outside the image and the first 4 GiB. `entry` loads the kernel's own root first of all.
 */
#ifndef X86_TRAMPOLINE_H
#define X86_TRAMPOLINE_H

#include "lib/types.h"
#include "x86/paging.h"

#define TRAMPOLINE_MAILBOX 8 /* bytes from trampoline_start */

struct trampoline_mailbox {
	u64 cr3;   /* physical, below 4 GiB */
	u64 stack; /* first rsp, 16-byte aligned */
	u64 entry; /* void entry(u64 arg), does not return */
	u64 arg;
};

_Static_assert(offsetof(struct trampoline_mailbox, arg) == 24, "trampoline.asm: mailbox_arg");

extern const u8 trampoline_start[], trampoline_end[];
extern pgd_t boot_pgd[PTRS_PER_TABLE]; /* the root of the boot CPU until the kernel has its own */
extern pgd_t trampoline_pgd[PTRS_PER_TABLE]; /* the root on which the others start */

/* The boot CPU's stack: kernel_main() runs on it. No page is mapped at boot_stack_guard. */
extern u8 boot_stack_guard[PAGE_SIZE], boot_stack[], boot_stack_top[];

#endif
