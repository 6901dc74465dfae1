/*
 * fwcfg.c - named files that the emulator hands to the guest (QEMU's fw_cfg), by ports.  floor 1
 *
 * IDEA
 *   Write a selector to port 0x510, then read the item byte by byte from 0x511. Item 0 says "QEMU";
 *   item 0x19 is the directory: a count, then records of (size, selector, name), big endian.
 *
 * LOCKS     none: used by one thread at start-up.
 * LINUX     drivers/firmware/qemu_fw_cfg.c.                  QEMU, docs/specs/fw_cfg.txt
 */
#include "x86/fwcfg.h"
#include "lib/string.h"
#include "x86/cpu.h"
#include <abi/errno.h>

#define PORT_SELECT    0x510
#define PORT_DATA      0x511
#define ITEM_SIGNATURE 0x00
#define ITEM_DIRECTORY 0x19
#define MAX_FILES      1024

struct file {
	u8 size[4];
	u8 selector[2];
	u8 reserved[2];
	char name[56];
};

static void read_bytes(void *buf, usize n)
{
	for (u8 *p = buf; n > 0; n--)
		*p++ = inb(PORT_DATA);
}

static u32 big_endian(const u8 *p, u32 bytes)
{
	u32 value = 0;

	for (u32 i = 0; i < bytes; i++)
		value = value << 8 | p[i];
	return value;
}

static bool find(const char *name, struct file *file)
{
	u8 word[4];
	u32 count;

	outw(PORT_SELECT, ITEM_SIGNATURE);
	read_bytes(word, 4);
	if (memcmp(word, "QEMU", 4) != 0)
		return false;
	outw(PORT_SELECT, ITEM_DIRECTORY);
	read_bytes(word, 4);
	count = MIN(big_endian(word, 4), MAX_FILES);
	for (u32 i = 0; i < count; i++) {
		read_bytes(file, sizeof(*file));
		file->name[sizeof(file->name) - 1] = '\0';
		if (strcmp(file->name, name) == 0)
			return true;
	}
	return false;
}

/*
 * fwcfg_read - the first `size` bytes of a named file.
 *
 *   returns  the file's whole size (more than `size`: the rest was not read), or -ENOENT: no such
 *            file, or no fw_cfg in this machine
 */
isize fwcfg_read(const char *name, void *buf, usize size)
{
	struct file file;
	u32 bytes;

	if (!find(name, &file))
		return -ENOENT;
	bytes = big_endian(file.size, 4);
	outw(PORT_SELECT, (u16)big_endian(file.selector, 2));
	read_bytes(buf, MIN(size, (usize)bytes));
	return bytes;
}
