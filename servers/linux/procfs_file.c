/*
 * procfs_file.c - what is read and written in /proc and /sys: texts, settings, memory.            ring 3
 *
 * Behind a name that procfs.c has found. No name is looked up here.
 *
 * IDEA  three kinds of bytes
 *
 *       a text of the kernel's   a handle of a report, read piece by piece with the position as the program has it: lseek
 *                                and reading again gives a new text. One write is one value
 *       a text of our own        made when the file is opened: mounts, loadavg, the stat of a process that has ended
 *       mem                      the memory of a process, by its task's handle; a page that its pager has to bring is
 *                                waited for if it is the caller's own
 *
 * LINUX  fs/proc/base.c (mem), fs/seq_file.c, fs/proc_namespace.c (mounts), fs/proc/loadavg.c
 */
#include "procfs_file.h"
#include "calls.h"
#include "file.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- our own texts -------------------------------------------------------------------------- */

static const char mounts_text[] = "rootfs / rootfs rw 0 0\n"
				  "proc /proc proc rw,nosuid,nodev,noexec,relatime 0 0\n"
				  "sysfs /sys sysfs rw,nosuid,nodev,noexec,relatime 0 0\n";
static const char mountinfo_text[] = "1 1 0:1 / / rw - rootfs rootfs rw\n"
				     "2 1 0:2 / /proc rw - proc proc rw\n"
				     "3 1 0:3 / /sys rw - sysfs sysfs rw\n";
static const char filesystems_text[] = "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\n";

static char *loadavg_text(void)
{
	int all = 0, last = 0;
	char *text = NULL;

	list_each(l, &processes)
	{
		const struct process *p = container_of(l, struct process, all);

		all += p->nr_threads;
		last = p->pid > last ? p->pid : last;
	}
	if (asprintf(&text, "0.00 0.00 0.00 1/%d %d\n", all, last) < 0)
		return NULL;
	return text;
}

static char *zombie_text(const struct process *p)
{
	char *text = NULL;

	if (asprintf(&text,
		    "%d (%s) Z %d %d %d 0 -1 0 %llu 0 %llu 0 0 0 0 0 20 0 1 0 %llu 0 0 0 0 0 0 0 0 "
		    "0 0 0 0 0 0 0 17 "
		    "0 0 0 0 0 0 0 0 0 0 0 0 0 %d\n",
		    p->pid, p->name, p->parent ? p->parent->pid : 0, p->pgrp, p->session,
		    (unsigned long long)p->usage.minflt, (unsigned long long)p->usage.majflt,
		    (unsigned long long)(p->started_ns / 10000000), p->status) < 0)
		return NULL;
	return text;
}

/* An allocated text, or NULL. */
static char *own_text(const struct proc_place *place)
{
	const struct process *p;

	switch (place->special) {
	case PROC_MOUNTS:
		return strdup(mounts_text);
	case PROC_MOUNTINFO:
		return strdup(mountinfo_text);
	case PROC_FILESYSTEMS:
		return strdup(filesystems_text);
	case PROC_LOADAVG:
		return loadavg_text();
	case PROC_ZOMBIE:
		p = process_find((int)place->pid);
		return p ? zombie_text(p) : NULL;
	}
	return strdup("");
}

/* --- texts ---------------------------------------------------------------------------------- */

uint8_t proc_buffer[PROC_BUFFER];

static long read_own(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos)
{
	size_t left = *pos < f->proc.bytes ? f->proc.bytes - *pos : 0,
	       n = bytes < left ? bytes : left;
	long err = n ? copy_out(c, at, f->proc.text + *pos, n) : 0;

	if (err)
		return err;
	*pos += n;
	return (long)n;
}

static long text_read(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos)
{
	size_t done = 0;

	if (f->proc.text)
		return read_own(c, f, at, bytes, pos);
	while (done < bytes) {
		size_t want =
			bytes - done < sizeof(proc_buffer) ? bytes - done : sizeof(proc_buffer);
		long n = report_read(f->proc.report, *pos, proc_buffer, want), err;

		if (n <= 0)
			return done ? (long)done : n;
		err = copy_out(c, at + done, proc_buffer, (size_t)n);
		if (err)
			return err == -EFAULT && done ? (long)done : err;
		done += (size_t)n;
		*pos += (uint64_t)n;
		if ((size_t)n < want)
			break;
	}
	return (long)done;
}

static long sysrq(const char *text)
{
	static const char reason[] = "sysrq: a crash was asked for";

	if (text[0] == 'c')
		(void)machine_panic(SLOT_MACHINE, reason, sizeof(reason) - 1);
	if (text[0] == 'o' || text[0] == 'b')
		(void)machine_power(SLOT_MACHINE, 0);
	return 0;
}

/* One write is one value. */
static long text_write(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos)
{
	char value[FILE_PAGE];
	long err;

	if (bytes > sizeof(value))
		return -EINVAL;
	err = bytes ? copy_in(c, value, at, bytes) : 0;
	if (err)
		return err;
	if (f->inode->proc.special == PROC_SYSRQ)
		err = bytes ? sysrq(value) : 0;
	else if (!f->proc.report)
		err = -EIO;
	else
		err = report_write(f->proc.report, value, bytes);
	if (err < 0)
		return err;
	*pos += bytes;
	return (long)bytes;
}

unsigned proc_poll(struct call *c, struct file *f)
{
	(void)c;
	(void)f;
	return POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
}

void proc_release(struct file *f)
{
	if (f->proc.report)
		handle_close(f->proc.report);
	free(f->proc.text);
}

static const struct file_ops text_ops = {
	.read = text_read,
	.write = text_write,
	.poll = proc_poll,
	.release = proc_release,
	.seeks = true,
};

/* --- memory of a process -------------------------------------------------------------------- */

/* A page that its pager has to bring: the caller's own can be waited for, another's cannot. */
static long page_missing(struct call *c, const struct process *p, uint64_t addr, bool write)
{
	if (p != call_process(c))
		return -EIO;
	c->fault_addr = addr;
	c->fault_bytes = 1;
	c->fault_write = write;
	return CALL_FAULT_IN;
}

static long memory_move(
	struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos, bool writing)
{
	const struct process *p = process_find((int)f->inode->proc.pid);
	size_t want = bytes < sizeof(proc_buffer) ? bytes : sizeof(proc_buffer);
	long n, err;

	if (!bytes)
		return 0;
	if (!p || !p->task)
		return 0;
	if (writing) {
		err = copy_in(c, proc_buffer, at, want);
		if (err)
			return err;
		n = task_write(p->task, *pos, proc_buffer, want);
	} else {
		n = task_read(p->task, *pos, proc_buffer, want);
	}
	if (n == -EAGAIN)
		return page_missing(c, p, *pos, writing);
	if (n <= 0)
		return -EIO;
	err = writing ? 0 : copy_out(c, at, proc_buffer, (size_t)n);
	if (err)
		return err;
	*pos += (uint64_t)n;
	return n;
}

static long memory_read(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos)
{
	return memory_move(c, f, at, bytes, pos, false);
}

static long memory_write(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos)
{
	return memory_move(c, f, at, bytes, pos, true);
}

static const struct file_ops memory_ops = {
	.read = memory_read, .write = memory_write, .poll = proc_poll, .seeks = true};

/* --- opening -------------------------------------------------------------------------------- */

static long open_report(struct file *f, const struct proc_place *place, bool write)
{
	char path[256];
	uint32_t task;
	long h;

	if (!proc_kernel_path(place, path, sizeof(path), &task))
		return -ENOENT;
	h = report_open(SLOT_MACHINE, path, task, write);
	if (h < 0)
		return h == -EMFILE ? -ENFILE : h;
	f->proc.report = (uint32_t)h;
	return 0;
}

static long open_text(struct file *f, const struct proc_place *place, bool write)
{
	if (place->special == PROC_KERNEL)
		return open_report(f, place, write);
	if (write && place->special != PROC_SYSRQ)
		return -EACCES;
	f->proc.text = own_text(place);
	if (!f->proc.text)
		return -ENOMEM;
	f->proc.bytes = (uint32_t)strlen(f->proc.text);
	return 0;
}

long proc_open(struct call *c, struct inode *inode, uint32_t flags, struct file **file)
{
	const struct file_ops *ops = inode->kind == INODE_PROC_DIRECTORY ? &proc_folder_ops
				     : inode->kind == INODE_PROC_TEXT    ? &text_ops
									 : &memory_ops;
	struct file *f = file_new(ops, inode, flags);
	long err = 0;

	(void)c;
	if (!f)
		return -ENOMEM;
	inode_get(inode);
	if (inode->kind == INODE_PROC_TEXT)
		err = open_text(f, &inode->proc, (flags & O_ACCMODE) != O_RDONLY);
	if (err) {
		file_put(f);
		return err;
	}
	*file = f;
	return 0;
}
