/*
 * file.h - open files, descriptors, and what an open file can do.                                 ring 3
 */
#ifndef FILE_H
#define FILE_H

#include "linux.h"
#include "vfs.h"
#include <fcntl.h>

/* Entries on their way to the caller's buffer. */
struct listing {
	uint8_t *to;
	size_t used, size;
	bool old_format; /* getdents instead of getdents64 */
	bool refused;    /* an entry found no room */
};
/* False: no room for this one. cookie: the position behind it. */
bool listing_add(struct listing *l, const char *name, size_t bytes, uint64_t ino, uint32_t mode,
	uint64_t cookie);

/*
 * What kinds of open files do differently. NULL: not possible (read, write: EINVAL; ioctl: ENOTTY).
 *
 * read, write: `at` is an address of the caller's; *pos moves by the result. They may move less than asked. A result: as of
 * a handler (linux.h); before CALL_WAIT nothing has moved in this run.
 */
struct file_ops {
	long (*read)(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos);
	long (*write)(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos);
	long (*ioctl)(struct call *c, struct file *f, uint32_t command, uint64_t arg);
	/* POLLIN ... that are true now; c: waits for those that are not */
	unsigned (*poll)(struct call *c, struct file *f);
	/* getdents: tells the entries behind f->pos to `fill` until it says no. 0, -errno */
	long (*list)(struct file *f, struct listing *l);
	void (*release)(struct file *f);
	bool seeks; /* has a position */
	bool slow;  /* one read or write is enough for one run of a call */
};

struct file {
	uint32_t refs;
	uint32_t flags; /* O_ACCMODE, O_APPEND, O_NONBLOCK, O_PATH ...: F_GETFL */
	uint64_t pos;
	const struct file_ops *ops;
	struct inode *inode; /* with a reference */
	union {
		uint64_t counter;        /* eventfd */
		struct {                 /* /proc, /sys */
			uint32_t report; /* handle; or 0 */
			uint32_t bytes;  /* of text */
			char *text; /* made by us, or the names in a folder as they were at the start */
		} proc;
	};
	struct wait_list changed; /* eventfd */
};

struct descriptor {
	struct file *file; /* NULL: free */
	bool close_on_exec;
};

struct files {
	uint32_t refs;
	uint32_t nr;    /* length of slots */
	uint32_t first; /* no free one below */
	struct descriptor *slots;
};

struct fs {
	uint32_t refs;
	uint32_t umask;
	struct inode *folder;
};

/* --- open files (fd.c) --------------------------------------------------------------------- */

/* Takes over the reference to the inode when it succeeds. NULL: no memory */
struct file *file_new(const struct file_ops *ops, struct inode *inode, uint32_t flags);

static inline struct process *call_process(const struct call *c)
{
	return c->thread->process;
}

/* The open file of a descriptor of the caller's, without a reference; NULL: EBADF. O_PATH ones only with `path`. */
struct file *fd_file(const struct process *p, uint64_t fd);
struct file *fd_file_or_path(const struct process *p, uint64_t fd);
/* The lowest free descriptor from `from` on gets f, with the caller's reference. -EMFILE, -ENOMEM: it stays the caller's */
long fd_install(struct process *p, struct file *f, uint32_t from, bool close_on_exec);
void fd_clear(struct process *p, uint64_t fd); /* undo an install */

/* --- opening what an inode is (open.c) ----------------------------------------------------- */

/* 0 and an open file; takes no reference. CALL_WAIT for a fifo. */
long inode_open(struct call *c, struct inode *inode, uint32_t flags, struct file **file);
extern const struct file_ops file_ops, directory_ops, path_ops;

#define HERE ((uint64_t)AT_FDCWD) /* `at` of the calls that have none */

/* Where a path given with a descriptor begins. -EBADF, -ENOTDIR */
int walk_begin(struct process *p, uint64_t at, const char *path, struct walk *w);
/* A path from the caller's memory; the buffer is good until the next one. */
long path_in(struct call *c, uint64_t from, const char **path);
long path_in_second(struct call *c, uint64_t from, const char **path);
/* What (at, the path at `from`) names, with a reference; with AT_EMPTY_PATH in at_flags `at` itself. 0, -errno, CALL_* */
long inode_at(struct call *c, uint64_t at, uint64_t from, uint32_t at_flags, unsigned walk_flags,
	struct inode **inode);

#endif
