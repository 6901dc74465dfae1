/*
 * files.c - the files half begins: the tree from the initrd, the terminal.                        ring 3
 */
#include "linux.h"
#include "tty.h"
#include "vfs.h"

/* No console is no reason to end: programs get EIO there until init has started another. */
int files_init(void)
{
	uint64_t bytes = 0;
	long initrd = machine_initrd(SLOT_MACHINE, &bytes);
	int err = ramfs_init(initrd > 0 ? (const void *)initrd : NULL, bytes);

	if (!err && tty_init())
		linux_log("linux: the console does not answer");
	return err;
}
