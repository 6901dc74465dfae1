/*
 * bootinfo.h - what the loader told us, the same for both protocols.                        floor 7
 */
#ifndef BOOT_BOOTINFO_H
#define BOOT_BOOTINFO_H

#include "lib/types.h"

#define BOOT_MAGIC_MULTIBOOT2 0x36d76289u /* kernel_main()'s first argument */
#define BOOT_MAGIC_PVH        0x336ec578u

#define BOOT_MAX_RANGES  128
#define BOOT_CMDLINE_MAX 1024 /* with the final NUL */

enum boot_protocol {
	BOOT_MULTIBOOT2,
	BOOT_PVH
};

/* In order of rising restriction: where two ranges overlap, the higher type wins. */
enum boot_mem_type {
	BOOT_MEM_USABLE,
	BOOT_MEM_ACPI,
	BOOT_MEM_RESERVED
};

struct boot_range {
	paddr_t start, end; /* page-aligned, start < end */
	enum boot_mem_type type;
};

struct boot_info {
	enum boot_protocol protocol;
	unsigned nr_ranges;
	struct boot_range ranges[BOOT_MAX_RANGES]; /* sorted, disjoint, merged */
	paddr_t module_start, module_end;          /* the initrd; both 0: there is none */
	paddr_t info_start, info_end; /* the loader's own block; holds the RSDP's copy */
	paddr_t rsdp;                 /* 0: not told */
	char cmdline[BOOT_CMDLINE_MAX];
};

enum boot_error {
	BOOT_OK,
	BOOT_BAD_MAGIC,
	BOOT_UNREADABLE,
	BOOT_BAD_SIZE,
	BOOT_BAD_TAG,
	BOOT_NO_END_TAG,
	BOOT_OLD_VERSION,
	BOOT_NO_MEMORY_MAP,
	BOOT_BAD_RANGE,
	BOOT_TOO_MANY_RANGES,
	BOOT_NO_USABLE_MEMORY,
	BOOT_BAD_MODULE,
	BOOT_LONG_CMDLINE,
	NR_BOOT_ERRORS
};

/*
 * How the parser sees memory: copy len bytes at physical address addr to buf. False: not all of them
 * can be read (the kernel: above the 4 GiB that boot.asm maps; the tests: outside the image).
 */
struct boot_memory {
	bool (*read)(void *ctx, paddr_t addr, void *buf, usize len);
	void *ctx;
};

/*
 * bootinfo_parse - fill *info from what the loader left at physical address addr.
 *
 *   magic    kernel_main()'s first argument: which protocol
 *   returns  BOOT_OK, or the first thing that is wrong; *info is then not to be used
 *   after    B1 - B4 of bootinfo.c hold
 *   source   Multiboot2 2.0, section 3.6; Xen, include/public/arch-x86/hvm/start_info.h
 */
enum boot_error __must_check bootinfo_parse(
	const struct boot_memory *mem, u32 magic, paddr_t addr, struct boot_info *info);

/*
 * bootinfo_low_page - a page below 1 MiB for the start-up code of the other CPUs.
 *
 *   returns  its address; 0: none is free. The first 4 KiB are never taken: the BIOS's vectors
 *   why      GRUB on UEFI puts a small initrd, and its own information, anywhere below 1 MiB
 */
paddr_t bootinfo_low_page(const struct boot_info *info);

/* One line of English for each error. */
const char *boot_error_text(enum boot_error error);
const char *boot_protocol_name(enum boot_protocol protocol);

/* B1 - B4; false: the number of the first rule that does not hold is in *rule. */
bool bootinfo_check(const struct boot_info *info, unsigned *rule);

#endif
