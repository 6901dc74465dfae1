/*
 * fd.c - descriptors: the numbers by which a process names its open files.                        ring 3
 *
 * IDEA
 *   process --> files  |0|1|2|.|.|5|     shared by CLONE_FILES, copied by fork
 *                       | |     `-----> file  position and flags: shared by all descriptors that came from one open
 *                       `-`-----------> file
 *
 * LINUX  fs/file.c, fs/fcntl.c
 */
#include "file.h"
#include "calls.h"
#include "pipe.h"
#include "pool.h"
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>

#define SLOTS_FIRST 16u
#define SLOTS_MAX   4096u

/* --- open files ---------------------------------------------------------------------------- */

struct file *file_new(const struct file_ops *ops, struct inode *inode, uint32_t flags)
{
	struct file *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->refs = 1;
	f->ops = ops;
	f->inode = inode;
	f->flags = flags;
	wait_list_init(&f->changed);
	return f;
}

void file_hold(struct file *f)
{
	f->refs++;
}

void file_put(struct file *f)
{
	if (--f->refs)
		return;
	if (f->ops->release)
		f->ops->release(f);
	wait_list_wake(&f->changed);
	inode_put(f->inode);
	free(f);
}

/* --- tables -------------------------------------------------------------------------------- */

static struct descriptor *slot(const struct process *p, uint64_t fd)
{
	uint32_t n = (uint32_t)fd; /* descriptors are int: the upper half does not count */

	if (!p->files || n >= p->files->nr || !p->files->slots[n].file)
		return NULL;
	return &p->files->slots[n];
}

struct file *fd_file_or_path(const struct process *p, uint64_t fd)
{
	struct descriptor *d = slot(p, fd);

	return d ? d->file : NULL;
}

struct file *fd_file(const struct process *p, uint64_t fd)
{
	struct file *f = fd_file_or_path(p, fd);

	return f && !(f->flags & O_PATH) ? f : NULL;
}

static uint32_t limit(const struct process *p)
{
	rlim_t max = p->limits[RLIMIT_NOFILE].rlim_cur;

	return max < SLOTS_MAX ? (uint32_t)max : SLOTS_MAX;
}

/* Room for descriptor n. */
static int table_grow(struct files *files, uint32_t n)
{
	uint32_t nr = files->nr ? files->nr : SLOTS_FIRST;
	struct descriptor *slots;

	while (nr <= n)
		nr *= 2;
	if (nr == files->nr)
		return 0;
	slots = realloc(files->slots, nr * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	memset(slots + files->nr, 0, (nr - files->nr) * sizeof(*slots));
	files->slots = slots;
	files->nr = nr;
	return 0;
}

long fd_install(struct process *p, struct file *f, uint32_t from, bool close_on_exec)
{
	struct files *files = p->files;
	uint32_t n = from > files->first ? from : files->first;

	while (n < files->nr && files->slots[n].file)
		n++;
	if (n >= limit(p))
		return -EMFILE;
	if (table_grow(files, n))
		return -ENOMEM;
	files->slots[n] = (struct descriptor){f, close_on_exec};
	if (n == files->first)
		files->first = n + 1;
	return n;
}

void fd_clear(struct process *p, uint64_t fd)
{
	struct descriptor *d = slot(p, fd);
	struct file *f = d->file;

	d->file = NULL;
	if ((uint32_t)fd < p->files->first)
		p->files->first = (uint32_t)fd;
	file_put(f);
}

/* --- with processes ------------------------------------------------------------------------ */

static struct pool files_pool = POOL_OF(struct files), fs_pool = POOL_OF(struct fs);

static struct files *files_new(void)
{
	struct files *files = pool_alloc(&files_pool);

	if (files)
		*files = (struct files){.refs = 1};
	return files;
}

static void files_put(struct files *files)
{
	if (--files->refs)
		return;
	for (uint32_t i = 0; i < files->nr; i++) {
		struct file *f = files->slots[i].file;

		/* Nobody sees a table that is going; a file's release may wake others, which look at theirs. */
		files->slots[i].file = NULL;
		if (f)
			file_put(f);
	}
	free(files->slots);
	pool_free(&files_pool, files);
}

static struct files *files_copy(const struct files *from)
{
	struct files *files = files_new();

	if (!files)
		return NULL;
	if (from->nr) {
		files->slots = malloc(from->nr * sizeof(*files->slots));
		if (!files->slots) {
			pool_free(&files_pool, files);
			return NULL;
		}
		memcpy(files->slots, from->slots, from->nr * sizeof(*files->slots));
	}
	files->nr = from->nr;
	files->first = from->first;
	for (uint32_t i = 0; i < files->nr; i++)
		if (files->slots[i].file)
			file_hold(files->slots[i].file);
	return files;
}

static void fs_put(struct fs *fs)
{
	if (--fs->refs)
		return;
	inode_put(fs->folder);
	pool_free(&fs_pool, fs);
}

static struct fs *fs_new(struct inode *folder, uint32_t umask)
{
	struct fs *fs = pool_alloc(&fs_pool);

	if (fs)
		*fs = (struct fs){1, umask, inode_get(folder)};
	return fs;
}

int files_create(struct process *p)
{
	static const struct walk at_root;
	struct walk w = at_root;
	struct inode *console;
	struct file *f;
	int err;

	w.process = p;
	w.start = vfs_root;
	p->files = files_new();
	p->fs = p->files ? fs_new(vfs_root, 022) : NULL;
	if (!p->fs) {
		files_release(p);
		return -ENOMEM;
	}
	err = path_find(&w, "/dev/console", 0, &console);
	if (err) {
		files_release(p);
		return err;
	}
	err = (int)inode_open(NULL, console, O_RDWR, &f);
	inode_put(console);
	for (int i = 0; !err && i < 3; i++) {
		long fd = fd_install(p, f, 0, false);

		err = fd < 0 ? (int)fd : 0;
		if (!err && i < 2)
			file_hold(f);
	}
	if (err)
		files_release(p);
	return err;
}

int files_clone(struct process *child, struct process *parent, bool share_files, bool share_fs)
{
	if (share_files) {
		child->files = parent->files;
		child->files->refs++;
	} else {
		child->files = files_copy(parent->files);
	}
	if (share_fs) {
		child->fs = parent->fs;
		child->fs->refs++;
	} else {
		child->fs = fs_new(parent->fs->folder, parent->fs->umask);
	}
	if (child->files && child->fs)
		return 0;
	files_release(child);
	return -ENOMEM;
}

int files_unshare(struct process *p)
{
	struct files *own;

	if (p->files->refs == 1)
		return 0;
	own = files_copy(p->files);
	if (!own)
		return -ENOMEM;
	files_put(p->files);
	p->files = own;
	return 0;
}

void files_exec(struct process *p)
{
	for (uint32_t i = 0; i < p->files->nr; i++)
		if (p->files->slots[i].file && p->files->slots[i].close_on_exec)
			fd_clear(p, i);
}

void files_release(struct process *p)
{
	struct files *files = p->files;
	struct fs *fs = p->fs;

	p->files = NULL;
	p->fs = NULL;
	if (files)
		files_put(files);
	if (fs)
		fs_put(fs);
}

/* --- calls --------------------------------------------------------------------------------- */

long sys_close(struct call *c)
{
	if (!slot(call_process(c), c->arg[0]))
		return -EBADF;
	fd_clear(call_process(c), c->arg[0]);
	return 0;
}

#define RANGE_UNSHARE 0x2u
#define RANGE_CLOEXEC 0x4u

long sys_close_range(struct call *c)
{
	struct process *p = call_process(c);
	uint32_t first = (uint32_t)c->arg[0], last = (uint32_t)c->arg[1];
	uint32_t flags = (uint32_t)c->arg[2];
	int err;

	if ((flags & ~(RANGE_UNSHARE | RANGE_CLOEXEC)) || first > last)
		return -EINVAL;
	err = flags & RANGE_UNSHARE ? files_unshare(p) : 0;
	if (err)
		return err;
	for (uint32_t i = first; i <= last && i < p->files->nr; i++) {
		if (!p->files->slots[i].file)
			continue;
		if (flags & RANGE_CLOEXEC)
			p->files->slots[i].close_on_exec = true;
		else
			fd_clear(p, i);
	}
	return 0;
}

static long duplicate(struct process *p, struct file *f, uint32_t from, bool close_on_exec)
{
	long fd = fd_install(p, f, from, close_on_exec);

	if (fd >= 0)
		file_hold(f);
	return fd;
}

long sys_dup(struct call *c)
{
	struct file *f = fd_file_or_path(call_process(c), c->arg[0]);

	return f ? duplicate(call_process(c), f, 0, false) : -EBADF;
}

static long duplicate_at(struct process *p, struct file *f, uint32_t to, bool close_on_exec)
{
	struct files *files = p->files;

	if (to >= limit(p))
		return -EBADF;
	if (table_grow(files, to))
		return -ENOMEM;
	file_hold(f);
	if (files->slots[to].file)
		fd_clear(p, to);
	files->slots[to] = (struct descriptor){f, close_on_exec};
	return to;
}

long sys_dup2(struct call *c)
{
	struct file *f = fd_file_or_path(call_process(c), c->arg[0]);

	if (!f)
		return -EBADF;
	if ((uint32_t)c->arg[0] == (uint32_t)c->arg[1])
		return (long)(uint32_t)c->arg[0];
	return duplicate_at(call_process(c), f, (uint32_t)c->arg[1], false);
}

long sys_dup3(struct call *c)
{
	struct file *f = fd_file_or_path(call_process(c), c->arg[0]);
	uint32_t flags = (uint32_t)c->arg[2];

	if ((flags & ~(uint32_t)O_CLOEXEC) || (uint32_t)c->arg[0] == (uint32_t)c->arg[1])
		return -EINVAL;
	if (!f)
		return -EBADF;
	return duplicate_at(call_process(c), f, (uint32_t)c->arg[1], flags & O_CLOEXEC);
}

/* Nobody else uses the file, or holds a lock on it that we would know of: locks are granted, and found free. */
static long lock_query(struct call *c)
{
	struct flock lock;
	long err = copy_in(c, &lock, c->arg[2], sizeof(lock));

	if (err)
		return err;
	if (lock.l_type != F_RDLCK && lock.l_type != F_WRLCK)
		return -EINVAL;
	lock.l_type = F_UNLCK;
	return copy_out(c, c->arg[2], &lock, sizeof(lock));
}

#define SETTABLE ((uint32_t)(O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME | O_ASYNC))

long sys_fcntl(struct call *c)
{
	struct process *p = call_process(c);
	struct descriptor *d = slot(p, c->arg[0]);
	uint64_t arg = c->arg[2];
	int command = (int)c->arg[1];

	if (!d)
		return -EBADF;
	switch (command) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		if ((uint32_t)arg >= limit(p))
			return -EINVAL;
		return duplicate(p, d->file, (uint32_t)arg, command == F_DUPFD_CLOEXEC);
	case F_GETFD:
		return d->close_on_exec ? FD_CLOEXEC : 0;
	case F_SETFD:
		d->close_on_exec = arg & FD_CLOEXEC;
		return 0;
	case F_GETFL:
		return d->file->flags;
	}
	if (d->file->flags & O_PATH)
		return -EBADF;
	switch (command) {
	case F_SETFL:
		d->file->flags = (d->file->flags & ~SETTABLE) | ((uint32_t)arg & SETTABLE);
		return 0;
	case F_GETLK:
	case F_OFD_GETLK:
		return lock_query(c);
	case F_SETLK:
	case F_SETLKW:
	case F_OFD_SETLK:
	case F_OFD_SETLKW:
	case F_SETOWN:
	case F_SETSIG:
		return 0;
	case F_GETOWN:
	case F_GETSIG:
		return 0;
	case F_GETPIPE_SZ:
		return d->file->inode->kind == INODE_FIFO ? (long)PIPE_SIZE : -EBADF;
	case F_SETPIPE_SZ:
		if (d->file->inode->kind != INODE_FIFO)
			return -EBADF;
		return (uint32_t)arg <= PIPE_SIZE ? (long)PIPE_SIZE : -EPERM;
	}
	return -EINVAL;
}

/* What every kind of file understands; the rest is the file's own. */
long sys_ioctl(struct call *c)
{
	struct descriptor *d = slot(call_process(c), c->arg[0]);
	uint32_t command = (uint32_t)c->arg[1];
	int on;
	long err;

	if (!d || (d->file->flags & O_PATH))
		return -EBADF;
	switch (command) {
	case FIOCLEX:
	case FIONCLEX:
		d->close_on_exec = command == FIOCLEX;
		return 0;
	case FIONBIO:
		err = copy_in(c, &on, c->arg[2], sizeof(on));
		if (err)
			return err;
		d->file->flags = (d->file->flags & ~(uint32_t)O_NONBLOCK) | (on ? O_NONBLOCK : 0);
		return 0;
	}
	return d->file->ops->ioctl ? d->file->ops->ioctl(c, d->file, command, c->arg[2]) : -ENOTTY;
}

long sys_flock(struct call *c)
{
	int operation = (int)c->arg[1] & ~LOCK_NB;

	if (!fd_file(call_process(c), c->arg[0]))
		return -EBADF;
	return operation == LOCK_SH || operation == LOCK_EX || operation == LOCK_UN ? 0 : -EINVAL;
}
