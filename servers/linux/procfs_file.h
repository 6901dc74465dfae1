/*
 * procfs_file.h - what procfs.c and procfs_file.c share.                                          ring 3
 */
#ifndef PROCFS_FILE_H
#define PROCFS_FILE_H

#include "procfs.h"

/* What a place is, in proc_place.special. */
enum proc_special {
	PROC_KERNEL, /* a text or folder of the kernel's */
	PROC_SELF,
	PROC_THREAD_SELF,
	PROC_EXE,
	PROC_CWD,
	PROC_ROOT,
	PROC_FDS,   /* the folder fd */
	PROC_FD,    /* a link in it */
	PROC_TASKS, /* the folder task */
	PROC_TASK,  /* one in it */
	PROC_MEMORY,
	PROC_MOUNTS_LINK,
	PROC_MOUNTS,
	PROC_MOUNTINFO,
	PROC_FILESYSTEMS,
	PROC_LOADAVG,
	PROC_SYSRQ,
	PROC_ZOMBIE, /* stat of a process that has ended */
};

/*
 * How the kernel is asked about a place: a path and the task that "self" is. False: the process has ended, it has none.
 */
bool proc_kernel_path(const struct proc_place *place, char *to, size_t size, uint32_t *task);

extern const struct file_ops proc_folder_ops;
unsigned proc_poll(struct call *c, struct file *f); /* always ready */
void proc_release(struct file *f); /* a report's handle, a text or list of names of our own */

#define PROC_BUFFER 65536
extern uint8_t proc_buffer[PROC_BUFFER]; /* of the call that is being served */

#endif
