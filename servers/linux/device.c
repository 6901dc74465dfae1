/*
 * device.c - the simple files in /dev, and eventfd.                                               ring 3
 *
 * LINUX  drivers/char/mem.c, drivers/char/random.c, fs/eventfd.c
 */
#include "device.h"
#include "calls.h"
#include "file.h"
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>

#define CHARACTER(mode)      (S_IFCHR | (mode))
#define NUMBER(major, minor) ((uint64_t)(major) << 8 | (minor)) /* as makedev() for small ones */
#define EFD_SEMAPHORE_FLAG   0x80000000u /* in file.flags, where Linux has no flag */

const struct device_node device_nodes[] = {
	{"dev/null", CHARACTER(0666), NUMBER(1, 3)},
	{"dev/zero", CHARACTER(0666), NUMBER(1, 5)},
	{"dev/full", CHARACTER(0666), NUMBER(1, 7)},
	{"dev/random", CHARACTER(0666), NUMBER(1, 8)},
	{"dev/urandom", CHARACTER(0666), NUMBER(1, 9)},
	{"dev/kmsg", CHARACTER(0644), NUMBER(1, 11)},
	{"dev/tty", CHARACTER(0666), NUMBER(5, 0)},
	{"dev/console", CHARACTER(0600), NUMBER(5, 1)},
	{"dev/ttyS0", CHARACTER(0660), NUMBER(4, 64)},
};
const size_t nr_device_nodes = sizeof(device_nodes) / sizeof(device_nodes[0]);

const struct file_ops *device_find(uint64_t rdev)
{
	switch (rdev) {
	case NUMBER(1, 3):
		return &null_ops;
	case NUMBER(1, 5):
		return &zero_ops;
	case NUMBER(1, 7):
		return &full_ops;
	case NUMBER(1, 8):
	case NUMBER(1, 9):
		return &random_ops;
	case NUMBER(1, 11):
		return &kmsg_ops;
	case NUMBER(5, 0):
	case NUMBER(5, 1):
	case NUMBER(4, 64):
		return &tty_ops;
	}
	return NULL;
}

static long read_nothing(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos)
{
	(void)c;
	(void)f;
	(void)at;
	(void)bytes;
	(void)pos;
	return 0;
}

static long write_away(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos)
{
	(void)c;
	(void)f;
	(void)at;
	(void)pos;
	return (long)bytes;
}

static long write_full(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos)
{
	(void)c;
	(void)f;
	(void)at;
	(void)pos;
	return bytes ? -ENOSPC : 0;
}

static unsigned poll_ready(struct call *c, struct file *f)
{
	(void)c;
	(void)f;
	return POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
}

static long read_zeroes(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos)
{
	static const uint8_t zeroes[65536];
	size_t done = 0;

	(void)f;
	(void)pos;
	while (done < bytes) {
		size_t n = bytes - done < sizeof(zeroes) ? bytes - done : sizeof(zeroes);
		long err = copy_out(c, at + done, zeroes, n);

		if (err)
			return err == -EFAULT && done ? (long)done : err;
		done += n;
	}
	return (long)done;
}

static long read_random(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos)
{
	uint8_t piece[4096];
	size_t n = bytes < sizeof(piece) ? bytes : sizeof(piece), done = 0;

	(void)f;
	(void)pos;
	while (done < bytes) {
		ssize_t got;
		long err;

		n = bytes - done < sizeof(piece) ? bytes - done : sizeof(piece);
		got = getrandom(piece, n, 0);
		if (got <= 0)
			return done ? (long)done : -EIO;
		err = copy_out(c, at + done, piece, (size_t)got);
		if (err)
			return err == -EFAULT && done ? (long)done : err;
		done += (size_t)got;
	}
	return (long)done;
}

/* A line for the kernel's log. */
static long write_kmsg(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos)
{
	char line[256];
	size_t n = bytes < sizeof(line) ? bytes : sizeof(line);
	long err = copy_in(c, line, at, n);

	(void)f;
	(void)pos;
	if (err)
		return err;
	while (n && line[n - 1] == '\n')
		n--;
	err = n ? machine_log(SLOT_MACHINE, line, n) : 0;
	return err < 0 ? -EIO : (long)bytes;
}

const struct file_ops null_ops = {
	.read = read_nothing, .write = write_away, .poll = poll_ready, .seeks = true};
const struct file_ops zero_ops = {
	.read = read_zeroes, .write = write_away, .poll = poll_ready, .seeks = true};
const struct file_ops full_ops = {
	.read = read_zeroes, .write = write_full, .poll = poll_ready, .seeks = true};
const struct file_ops random_ops = {
	.read = read_random, .write = write_away, .poll = poll_ready, .seeks = true};
const struct file_ops kmsg_ops = {.read = read_nothing, .write = write_kmsg, .poll = poll_ready};

/* --- eventfd -------------------------------------------------------------------------------- */

#define COUNTER_MAX (~0ull - 1)

static long counter_read(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos)
{
	uint64_t value = f->flags & EFD_SEMAPHORE_FLAG ? 1 : f->counter;
	long err;

	(void)pos;
	if (bytes < sizeof(value))
		return -EINVAL;
	if (!f->counter)
		return f->flags & O_NONBLOCK ? -EAGAIN : call_wait(c, &f->changed);
	err = copy_out(c, at, &value, sizeof(value));
	if (err)
		return err;
	f->counter -= value;
	wait_list_wake(&f->changed);
	return sizeof(value);
}

static long counter_write(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos)
{
	uint64_t value;
	long err;

	(void)pos;
	if (bytes < sizeof(value))
		return -EINVAL;
	err = copy_in(c, &value, at, sizeof(value));
	if (err)
		return err;
	if (value == ~0ull)
		return -EINVAL;
	if (COUNTER_MAX - f->counter < value)
		return f->flags & O_NONBLOCK ? -EAGAIN : call_wait(c, &f->changed);
	f->counter += value;
	wait_list_wake(&f->changed);
	return sizeof(value);
}

static unsigned counter_poll(struct call *c, struct file *f)
{
	if (c)
		call_wait(c, &f->changed);
	return (f->counter ? POLLIN | POLLRDNORM : 0u) |
	       (f->counter < COUNTER_MAX ? POLLOUT | POLLWRNORM : 0u);
}

static const struct file_ops counter_ops = {
	.read = counter_read, .write = counter_write, .poll = counter_poll};

static long make_counter(struct call *c, uint32_t flags)
{
	struct inode *inode;
	struct file *f;
	long fd;

	if (flags & ~(uint32_t)(EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE))
		return -EINVAL;
	inode = inode_new(INODE_COUNTER, 0600);
	if (!inode)
		return -ENOMEM;
	f = file_new(&counter_ops, inode,
		O_RDWR | (flags & O_NONBLOCK) | (flags & EFD_SEMAPHORE ? EFD_SEMAPHORE_FLAG : 0));
	if (!f) {
		inode_put(inode);
		return -ENOMEM;
	}
	f->counter = (uint32_t)c->arg[0];
	fd = fd_install(call_process(c), f, 0, flags & O_CLOEXEC);
	if (fd < 0)
		file_put(f);
	return fd;
}

long sys_eventfd(struct call *c)
{
	return make_counter(c, 0);
}

long sys_eventfd2(struct call *c)
{
	return make_counter(c, (uint32_t)c->arg[1]);
}
