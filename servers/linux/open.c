/*
 * open.c - from a path to a descriptor; and what an open regular file or folder does.             ring 3
 *
 * LINUX  fs/open.c, fs/namei.c (path_openat), mm/shmem.c
 */
#include "calls.h"
#include "device.h"
#include "file.h"
#include "pipe.h"
#include "procfs.h"
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* --- paths of calls ------------------------------------------------------------------------ */

/* One call is served at a time, and none has more than two paths. */
static char path_buffers[2][PATH_BYTES];

static long path_copy(struct call *c, char *buffer, uint64_t from, const char **path)
{
	long n = copy_in_text(c, buffer, from, PATH_BYTES);

	*path = buffer;
	return n < 0 ? n : 0;
}

long path_in(struct call *c, uint64_t from, const char **path)
{
	return path_copy(c, path_buffers[0], from, path);
}

long path_in_second(struct call *c, uint64_t from, const char **path)
{
	return path_copy(c, path_buffers[1], from, path);
}

int walk_begin(struct process *p, uint64_t at, const char *path, struct walk *w)
{
	struct file *f;

	w->process = p;
	w->start = p->fs->folder;
	if (path[0] == '/' || (int)at == AT_FDCWD)
		return 0;
	f = fd_file_or_path(p, at);
	if (!f)
		return -EBADF;
	w->start = f->inode;
	return !path[0] || inode_is_directory(f->inode) ? 0 : -ENOTDIR;
}

long inode_at(struct call *c, uint64_t at, uint64_t from, uint32_t at_flags, unsigned walk_flags,
	struct inode **inode)
{
	const char *path;
	struct walk w;
	long err = path_in(c, from, &path);

	if (err)
		return err;
	err = walk_begin(call_process(c), at, path, &w);
	if (err)
		return err;
	if (!path[0] && (at_flags & AT_EMPTY_PATH)) {
		*inode = inode_get(w.start);
		return 0;
	}
	return path_find(&w, path, walk_flags, inode);
}

/* --- regular files ------------------------------------------------------------------------- */

static long ram_read(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos)
{
	struct inode *inode = f->inode;
	uint64_t begin = *pos;
	size_t done = 0;

	if (begin >= inode->size)
		return 0;
	if (bytes > inode->size - begin)
		bytes = inode->size - begin;
	while (done < bytes) {
		size_t n = bytes - done;
		const uint8_t *from = content_at(inode, begin + done, &n);
		long err = copy_out(c, at + done, from, n);

		if (err)
			return err == -EFAULT && done ? (long)done : err;
		done += n;
		*pos = begin + done;
	}
	inode_accessed(inode);
	return (long)done;
}

/* The bytes go to their place directly; where that fails what was beyond the end is zero again. */
static long ram_write(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos)
{
	struct inode *inode = f->inode;
	uint64_t begin = f->flags & O_APPEND ? inode->size : *pos, limit;
	uint8_t *to;
	long err;

	limit = call_process(c)->limits[RLIMIT_FSIZE].rlim_cur;
	if (!bytes)
		return 0;
	if (begin >= limit) {
		signal_send_thread(c->thread, SIGXFSZ, NULL);
		return -EFBIG;
	}
	if (bytes > limit - begin)
		bytes = limit - begin;
	err = content_prepare(inode, begin, bytes, &to);
	if (err)
		return err;
	err = copy_in(c, to, at, bytes);
	if (err) {
		uint64_t kept = begin < inode->size ? inode->size - begin : 0;

		if (kept < bytes)
			memset(to + kept, 0, bytes - kept);
		return err;
	}
	*pos = begin + bytes;
	content_grown(inode, *pos);
	return (long)bytes;
}

static unsigned ram_poll(struct call *c, struct file *f)
{
	(void)c;
	(void)f;
	return POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
}

static long ram_ioctl(struct call *c, struct file *f, uint32_t command, uint64_t arg)
{
	int left = f->inode->size > f->pos ? (int)(f->inode->size - f->pos) : 0;

	return command == FIONREAD ? copy_out(c, arg, &left, sizeof(left)) : -ENOTTY;
}

const struct file_ops file_ops = {
	.read = ram_read,
	.write = ram_write,
	.poll = ram_poll,
	.ioctl = ram_ioctl,
	.seeks = true,
};

/* --- folders ------------------------------------------------------------------------------- */

static bool list_dots(struct file *f, struct listing *l)
{
	const struct inode *parent = directory_parent(f->inode);

	if (f->pos < 1) {
		if (!listing_add(l, ".", 1, f->inode->ino, S_IFDIR, 1))
			return false;
		f->pos = 1;
	}
	if (f->pos < 2) {
		if (!listing_add(l, "..", 2, parent ? parent->ino : f->inode->ino, S_IFDIR, 2))
			return false;
		f->pos = 2;
	}
	return true;
}

/* Positions 1 and 2 are behind the dots; an entry's cookie + 2 is the position behind it. */
static long directory_list(struct file *f, struct listing *l)
{
	const struct entry *e = f->inode->directory.first;

	if (!list_dots(f, l))
		return 0;
	for (; e; e = e->next) {
		if (e->cookie + 2 <= f->pos)
			continue;
		if (!listing_add(
			    l, e->name, e->bytes, e->inode->ino, e->inode->mode, e->cookie + 2))
			break;
		f->pos = e->cookie + 2;
	}
	inode_accessed(f->inode);
	return 0;
}

static long directory_read(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos)
{
	(void)c;
	(void)f;
	(void)at;
	(void)bytes;
	(void)pos;
	return -EISDIR;
}

const struct file_ops directory_ops = {
	.read = directory_read,
	.poll = ram_poll,
	.list = directory_list,
	.seeks = true,
};

const struct file_ops path_ops = {.read = NULL};

/* --- opening ------------------------------------------------------------------------------- */

static bool wants_write(uint32_t flags)
{
	return (flags & O_ACCMODE) != O_RDONLY;
}

static long open_with(
	const struct file_ops *ops, struct inode *inode, uint32_t flags, struct file **file)
{
	struct file *f = file_new(ops, inode, flags);

	if (!f)
		return -ENOMEM;
	inode_get(inode);
	*file = f;
	return 0;
}

static long open_device(struct call *c, struct inode *inode, uint32_t flags, struct file **file)
{
	const struct file_ops *ops = device_find(inode->rdev);

	if (!ops)
		return -ENXIO;
	if (ops == &tty_ops && c && !(flags & O_NOCTTY))
		(void)job_acquire(
			c); /* a session leader without a terminal gets this one; others just open it */
	return open_with(ops, inode, flags, file);
}

long inode_open(struct call *c, struct inode *inode, uint32_t flags, struct file **file)
{
	if (inode_is_directory(inode) && wants_write(flags))
		return -EISDIR;
	switch (inode->kind) {
	case INODE_FILE:
		return open_with(&file_ops, inode, flags, file);
	case INODE_DIRECTORY:
		return open_with(&directory_ops, inode, flags, file);
	case INODE_FIFO:
		return pipe_open(c, inode, flags, file);
	case INODE_DEVICE:
		return open_device(c, inode, flags, file);
	case INODE_PROC_DIRECTORY:
	case INODE_PROC_TEXT:
	case INODE_PROC_MEMORY:
		return proc_open(c, inode, flags, file);
	case INODE_LINK:
	case INODE_PROC_LINK:
		return -ELOOP;
	case INODE_COUNTER:
		break;
	}
	return -ENXIO;
}

/* O_CREAT: the new file is found by its name only when it could also be opened. */
static long create(
	struct call *c, struct last *last, uint32_t flags, uint32_t mode, struct file **file)
{
	struct inode *inode;
	long err;

	if (last->dir->kind != INODE_DIRECTORY)
		return -ENOENT;
	mode &= 07777 & ~call_process(c)->fs->umask;
	inode = inode_new(INODE_FILE, S_IFREG | mode);
	if (!inode)
		return -ENOMEM;
	err = open_with(&file_ops, inode, flags, file);
	inode_put(inode);
	if (err)
		return err;
	err = directory_add(last->dir, last->name, last->bytes, inode);
	if (err)
		file_put(*file);
	return err;
}

static long open_existing(struct call *c, struct inode *inode, uint32_t flags, struct file **file)
{
	long err;

	if ((flags & O_CREAT) && (flags & O_EXCL))
		return -EEXIST;
	if ((flags & O_DIRECTORY) && !inode_is_directory(inode))
		return -ENOTDIR;
	if ((flags & O_CREAT) && inode_is_directory(inode))
		return -EISDIR;
	if (flags & O_PATH)
		return open_with(&path_ops, inode, flags, file);
	if (S_ISLNK(inode->mode))
		return -ELOOP;
	err = inode_open(c, inode, flags, file);
	if (!err && (flags & O_TRUNC) && inode->kind == INODE_FILE && wants_write(flags)) {
		err = content_resize(inode, 0);
		if (err)
			file_put(*file);
	}
	return err;
}

#define STATUS_FLAGS                                                                               \
	((uint32_t)(O_ACCMODE | O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME | O_SYNC | O_ASYNC |  \
		    O_DIRECTORY | O_NOFOLLOW | O_PATH | 0100000))

static long open_path(struct call *c, uint64_t at, const char *path, uint32_t flags, uint32_t mode)
{
	struct process *p = call_process(c);
	unsigned walk_flags = (flags & O_NOFOLLOW) ? WALK_NOFOLLOW : 0;
	struct file *file = NULL;
	struct last last;
	struct walk w;
	long err;

	if ((flags & KERNEL_O_TMPFILE) == KERNEL_O_TMPFILE)
		return -EOPNOTSUPP;
	if (flags & O_PATH)
		flags &= (uint32_t)(O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	err = walk_begin(p, at, path, &w);
	if (err)
		return err;
	if ((flags & O_CREAT) && (flags & O_EXCL))
		walk_flags = WALK_NOFOLLOW;
	if (flags & O_CREAT)
		walk_flags |= WALK_CREATE;
	err = path_last(&w, path, walk_flags, &last);
	if (!err && last.slash && (flags & O_CREAT)) {
		last_put(&last);
		err = -EISDIR;
	}
	if (err)
		return err;
	if (last.inode)
		err = open_existing(c, last.inode, flags, &file);
	else
		err = flags & O_CREAT ? create(c, &last, flags, mode, &file) : -ENOENT;
	last_put(&last);
	if (err)
		return err;
	file->flags &= STATUS_FLAGS;
	err = fd_install(p, file, 0, flags & O_CLOEXEC);
	if (err < 0)
		file_put(file);
	return err;
}

static long open_call(struct call *c, uint64_t at, uint64_t from, uint64_t flags, uint64_t mode)
{
	const char *path;
	long err = path_in(c, from, &path);

	return err ? err : open_path(c, at, path, (uint32_t)flags, (uint32_t)mode);
}

long sys_open(struct call *c)
{
	return open_call(c, (uint64_t)AT_FDCWD, c->arg[0], c->arg[1], c->arg[2]);
}

long sys_openat(struct call *c)
{
	return open_call(c, c->arg[0], c->arg[1], c->arg[2], c->arg[3]);
}

long sys_creat(struct call *c)
{
	return open_call(c, (uint64_t)AT_FDCWD, c->arg[0], O_CREAT | O_WRONLY | O_TRUNC, c->arg[1]);
}

struct open_how {
	uint64_t flags, mode, resolve;
};

long sys_openat2(struct call *c)
{
	struct open_how how;
	long err;

	if (c->arg[3] < sizeof(how))
		return -EINVAL;
	if (c->arg[3] > sizeof(how))
		return -E2BIG;
	err = copy_in(c, &how, c->arg[2], sizeof(how));
	if (err)
		return err;
	/* What resolve asks for (no links, no way out) is not checked here: say so. */
	if (how.resolve || how.flags >> 32)
		return -EINVAL;
	return open_call(c, c->arg[0], c->arg[1], how.flags, how.mode);
}

#define MEMFD_ALLOW           (MFD_CLOEXEC_BIT | MFD_ALLOW_SEALING_BIT)
#define MFD_CLOEXEC_BIT       0x1u
#define MFD_ALLOW_SEALING_BIT 0x2u

long sys_memfd_create(struct call *c)
{
	char name[NAME_BYTES + 1];
	struct inode *inode;
	struct file *f;
	long err = copy_in_text(c, name, c->arg[0], 250);

	if (err < 0)
		return err == -ENAMETOOLONG ? -EINVAL : err;
	if ((uint32_t)c->arg[1] & ~MEMFD_ALLOW)
		return -EINVAL;
	inode = inode_new(INODE_FILE, S_IFREG | 0777);
	if (!inode)
		return -ENOMEM;
	err = open_with(&file_ops, inode, O_RDWR, &f);
	inode_put(inode);
	if (err)
		return err;
	err = fd_install(call_process(c), f, 0, (uint32_t)c->arg[1] & MFD_CLOEXEC_BIT);
	if (err < 0)
		file_put(f);
	return err;
}

/* --- for exec ------------------------------------------------------------------------------ */

int file_open_exec(struct process *p, int at, const char *path, bool empty_path, struct file **file)
{
	struct inode *inode;
	struct walk w;
	long err;

	err = walk_begin(p, (uint64_t)at, path, &w);
	if (err)
		return (int)err;
	if (!path[0] && empty_path) {
		inode = inode_get(w.start);
	} else {
		err = path_find(&w, path, 0, &inode);
		if (err)
			return (int)err;
	}
	err = -EACCES;
	if (inode->kind == INODE_FILE && (inode->mode & 0111))
		err = open_with(&file_ops, inode, O_RDONLY, file);
	inode_put(inode);
	return (int)err;
}

uint64_t file_bytes(struct file *f)
{
	return f->inode->size;
}

long file_read_at(struct file *f, uint64_t pos, void *to, size_t bytes)
{
	size_t done = 0;

	while (done < bytes && pos + done < f->inode->size) {
		uint64_t left = f->inode->size - pos - done;
		size_t n = bytes - done < left ? bytes - done : left;
		const uint8_t *from = content_at(f->inode, pos + done, &n);

		memcpy((char *)to + done, from, n);
		done += n;
	}
	return (long)done;
}

const void *file_bytes_at(struct file *f)
{
	size_t n = f->inode->size;
	const void *at = n ? content_at(f->inode, 0, &n) : NULL;

	return n == f->inode->size ? at : NULL;
}

int file_path(struct file *f, char *to, size_t size)
{
	static char buffer[PATH_BYTES];
	bool deleted;
	char *path = path_of(f->inode, buffer, &deleted);

	if (!path || deleted)
		path = "/ (deleted)";
	if (strlen(path) >= size)
		return -ENAMETOOLONG;
	strcpy(to, path);
	return 0;
}

int file_chdir(struct process *p, const char *path)
{
	struct walk w = {p, p->fs->folder};
	struct inode *folder;
	int err = path_find(&w, path, WALK_DIRECTORY, &folder);

	if (err)
		return err;
	inode_put(p->fs->folder);
	p->fs->folder = folder;
	return 0;
}
