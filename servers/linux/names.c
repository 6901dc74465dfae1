/*
 * names.c - the calls that make, move and remove names, and change what an inode says of itself.  ring 3
 *
 * LINUX  fs/namei.c, fs/attr.c, fs/utimes.c
 */
#include "calls.h"
#include "device.h"
#include "file.h"
#include "pipe.h"
#include "procfs.h"
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <utime.h>

#define HERE ((uint64_t)AT_FDCWD)

/* --- from arguments to inodes -------------------------------------------------------------- */

/* The last step of (at, path), in a directory where names can change. */
static long last_at(struct call *c, uint64_t at, const char *path, struct last *last)
{
	struct walk w;
	long err = walk_begin(call_process(c), at, path, &w);

	return err ? err : path_last(&w, path, WALK_NAME, last);
}

/* For a new name: nothing may be there. */
static long last_new(struct call *c, uint64_t at, uint64_t from, bool folder, struct last *last)
{
	const char *path;
	long err = path_in(c, from, &path);

	if (!err)
		err = last_at(c, at, path, last);
	if (err)
		return err;
	if (last->special || last->inode)
		err = -EEXIST;
	else if (last->slash && !folder)
		err = -ENOENT;
	else if (last->dir->kind != INODE_DIRECTORY)
		err = -EPERM;
	if (err)
		last_put(last);
	return err;
}

static long add_new(struct last *last, struct inode *inode)
{
	long err = inode ? directory_add(last->dir, last->name, last->bytes, inode) : -ENOMEM;

	if (inode)
		inode_put(inode);
	last_put(last);
	return err;
}

/* --- making -------------------------------------------------------------------------------- */

static long make_folder(struct call *c, uint64_t at, uint64_t from, uint64_t mode)
{
	struct inode *inode;
	struct last last;
	long err = last_new(c, at, from, true, &last);

	if (err)
		return err;
	mode &= 01777 & ~call_process(c)->fs->umask;
	inode = inode_new(INODE_DIRECTORY, S_IFDIR | (uint32_t)mode);
	if (inode)
		inode->nlink = 2;
	return add_new(&last, inode);
}

long sys_mkdir(struct call *c)
{
	return make_folder(c, HERE, c->arg[0], c->arg[1]);
}

long sys_mkdirat(struct call *c)
{
	return make_folder(c, c->arg[0], c->arg[1], c->arg[2]);
}

static long make_node(struct call *c, uint64_t at, uint64_t from, uint32_t mode, uint64_t rdev)
{
	uint32_t kind = mode & S_IFMT ? mode & S_IFMT : S_IFREG;
	struct inode *inode = NULL;
	struct last last;
	long err;

	if (S_ISDIR(kind))
		return -EPERM;
	if (kind == S_IFSOCK || S_ISLNK(kind))
		return kind == S_IFSOCK ? -EPERM : -EINVAL;
	err = last_new(c, at, from, false, &last);
	if (err)
		return err;
	mode = kind | (mode & 07777 & ~call_process(c)->fs->umask);
	if (S_ISREG(kind))
		inode = inode_new(INODE_FILE, mode);
	else if (S_ISFIFO(kind))
		inode = inode_new(INODE_FIFO, mode);
	else
		inode = inode_new(INODE_DEVICE, mode);
	if (inode && inode->kind == INODE_DEVICE)
		inode->rdev = rdev;
	return add_new(&last, inode);
}

long sys_mknod(struct call *c)
{
	return make_node(c, HERE, c->arg[0], (uint32_t)c->arg[1], c->arg[2]);
}

long sys_mknodat(struct call *c)
{
	return make_node(c, c->arg[0], c->arg[1], (uint32_t)c->arg[2], c->arg[3]);
}

static long make_symlink(struct call *c, uint64_t target_from, uint64_t at, uint64_t from)
{
	const char *target;
	struct inode *inode;
	struct last last;
	long err = path_in_second(c, target_from, &target);

	if (!err && !target[0])
		err = -ENOENT;
	if (!err)
		err = last_new(c, at, from, false, &last);
	if (err)
		return err;
	inode = inode_new(INODE_LINK, S_IFLNK | 0777);
	if (inode) {
		inode->target = strdup(target);
		inode->size = strlen(target);
		if (!inode->target) {
			inode_put(inode);
			inode = NULL;
		}
	}
	return add_new(&last, inode);
}

long sys_symlink(struct call *c)
{
	return make_symlink(c, c->arg[0], HERE, c->arg[1]);
}

long sys_symlinkat(struct call *c)
{
	return make_symlink(c, c->arg[0], c->arg[1], c->arg[2]);
}

static long make_link(struct call *c, uint64_t at, uint64_t from, uint64_t new_at,
	uint64_t new_from, uint32_t flags)
{
	struct inode *inode;
	struct last last;
	long err;

	if (flags & ~(uint32_t)(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	err = inode_at(c, at, from, flags, flags & AT_SYMLINK_FOLLOW ? 0 : WALK_NOFOLLOW, &inode);
	if (err)
		return err;
	err = last_new(c, new_at, new_from, false, &last);
	if (err) {
		inode_put(inode);
		return err;
	}
	if (inode_is_directory(inode))
		err = -EPERM;
	else if (inode->kind >= INODE_PROC_DIRECTORY || inode->kind == INODE_COUNTER)
		err = -EXDEV;
	else if (!inode->names)
		err = -ENOENT;
	if (err) {
		last_put(&last);
		inode_put(inode);
		return err;
	}
	inode_changed(inode);
	return add_new(&last, inode);
}

long sys_link(struct call *c)
{
	return make_link(c, HERE, c->arg[0], HERE, c->arg[1], 0);
}

long sys_linkat(struct call *c)
{
	return make_link(c, c->arg[0], c->arg[1], c->arg[2], c->arg[3], (uint32_t)c->arg[4]);
}

/* --- removing ------------------------------------------------------------------------------ */

/* What the last step of a path named ".", ".." or "/" is to unlink, rmdir and rename. */
static bool ends_in(const char *path, const char *step)
{
	size_t n = strlen(path), m = strlen(step);

	while (n && path[n - 1] == '/')
		n--;
	return n >= m && !strncmp(path + n - m, step, m) && (n == m || path[n - m - 1] == '/');
}

static long removable(const struct last *last, const char *path, bool folder)
{
	const struct inode *inode = last->inode;

	if (last->special && !folder)
		return -EISDIR;
	if (last->special)
		return ends_in(path, "..") ? -ENOTEMPTY : ends_in(path, ".") ? -EINVAL : -EBUSY;
	if (!inode)
		return -ENOENT;
	if (last->dir->kind != INODE_DIRECTORY)
		return -EPERM;
	if (!folder)
		return inode_is_directory(inode) ? -EISDIR : last->slash ? -ENOTDIR : 0;
	if (!inode_is_directory(inode))
		return -ENOTDIR;
	if (inode->kind != INODE_DIRECTORY)
		return -EBUSY;
	return inode->directory.nr ? -ENOTEMPTY : 0;
}

static long remove_name(struct call *c, uint64_t at, uint64_t from, bool folder)
{
	const char *path;
	struct last last;
	long err = path_in(c, from, &path);

	if (!err)
		err = last_at(c, at, path, &last);
	if (err)
		return err;
	err = removable(&last, path, folder);
	if (!err)
		directory_remove(directory_find(last.dir, last.name, last.bytes));
	last_put(&last);
	return err;
}

long sys_unlink(struct call *c)
{
	return remove_name(c, HERE, c->arg[0], false);
}

long sys_rmdir(struct call *c)
{
	return remove_name(c, HERE, c->arg[0], true);
}

long sys_unlinkat(struct call *c)
{
	if ((uint32_t)c->arg[2] & ~(uint32_t)AT_REMOVEDIR)
		return -EINVAL;
	return remove_name(c, c->arg[0], c->arg[1], (uint32_t)c->arg[2] & AT_REMOVEDIR);
}

/* --- renaming ------------------------------------------------------------------------------ */

#define NO_REPLACE 0x1u
#define EXCHANGE   0x2u

static long rename_steps(const struct last *from, const struct last *to, uint32_t flags)
{
	struct entry *entry;

	if (from->special || to->special)
		return !from->special && (flags & NO_REPLACE) ? -EEXIST : -EBUSY;
	if (!from->inode)
		return -ENOENT;
	if (to->inode && (flags & NO_REPLACE))
		return -EEXIST;
	if (!to->inode && (flags & EXCHANGE))
		return -ENOENT;
	if (from->dir->kind != INODE_DIRECTORY || to->dir->kind != INODE_DIRECTORY)
		return from->dir->kind == to->dir->kind ? -EPERM : -EXDEV;
	if ((flags & EXCHANGE) && to->slash && !inode_is_directory(to->inode))
		return -ENOTDIR;
	if (!inode_is_directory(from->inode) && (from->slash || (to->slash && !(flags & EXCHANGE))))
		return -ENOTDIR;
	if (inode_is_directory(from->inode) && from->inode->kind != INODE_DIRECTORY)
		return -EBUSY;
	entry = directory_find(from->dir, from->name, from->bytes);
	if (flags & EXCHANGE)
		return ramfs_exchange(entry, directory_find(to->dir, to->name, to->bytes));
	return ramfs_rename(from->dir, entry, to->dir, to->name, to->bytes, flags & NO_REPLACE);
}

static long rename_at(struct call *c, uint64_t at, uint64_t from, uint64_t new_at,
	uint64_t new_from, uint32_t flags)
{
	const char *path, *new_path;
	struct last last, new_last;
	long err;

	if ((flags & ~(NO_REPLACE | EXCHANGE)) || flags == (NO_REPLACE | EXCHANGE))
		return -EINVAL;
	err = path_in(c, from, &path);
	if (!err)
		err = path_in_second(c, new_from, &new_path);
	if (!err)
		err = last_at(c, at, path, &last);
	if (err)
		return err;
	err = last_at(c, new_at, new_path, &new_last);
	if (!err) {
		err = rename_steps(&last, &new_last, flags);
		last_put(&new_last);
	}
	last_put(&last);
	return err;
}

long sys_rename(struct call *c)
{
	return rename_at(c, HERE, c->arg[0], HERE, c->arg[1], 0);
}

long sys_renameat(struct call *c)
{
	return rename_at(c, c->arg[0], c->arg[1], c->arg[2], c->arg[3], 0);
}

long sys_renameat2(struct call *c)
{
	return rename_at(c, c->arg[0], c->arg[1], c->arg[2], c->arg[3], (uint32_t)c->arg[4]);
}

/* --- links ---------------------------------------------------------------------------------- */

static long read_link(struct call *c, uint64_t at, uint64_t from, uint64_t to, uint64_t size)
{
	static char text[PATH_BYTES];
	struct inode *inode;
	const char *target = text;
	size_t n;
	long err;

	if ((int)size <= 0)
		return -EINVAL;
	err = inode_at(c, at, from, (int)at == AT_FDCWD ? 0 : AT_EMPTY_PATH, WALK_NOFOLLOW, &inode);
	if (err)
		return err;
	if (inode->kind == INODE_LINK)
		target = inode->target;
	else if (inode->kind == INODE_PROC_LINK)
		err = proc_follow(call_process(c), inode, text, NULL);
	else
		err = -EINVAL;
	if (!err) {
		n = strlen(target);
		n = n < (size_t)(int)size ? n : (size_t)(int)size;
		err = copy_out(c, to, target, n);
		err = err ? err : (long)n;
	}
	inode_put(inode);
	return err;
}

long sys_readlink(struct call *c)
{
	return read_link(c, HERE, c->arg[0], c->arg[1], c->arg[2]);
}

long sys_readlinkat(struct call *c)
{
	return read_link(c, c->arg[0], c->arg[1], c->arg[2], c->arg[3]);
}

/* --- size ----------------------------------------------------------------------------------- */

static long resize(struct call *c, struct inode *inode, uint64_t size)
{
	if ((int64_t)size < 0)
		return -EINVAL;
	if (inode_is_directory(inode))
		return -EISDIR;
	if (inode->kind != INODE_FILE)
		return -EINVAL;
	if (size > call_process(c)->limits[RLIMIT_FSIZE].rlim_cur && size > inode->size) {
		signal_send_thread(c->thread, SIGXFSZ, NULL);
		return -EFBIG;
	}
	return content_resize(inode, size);
}

long sys_truncate(struct call *c)
{
	struct inode *inode;
	long err = inode_at(c, HERE, c->arg[0], 0, 0, &inode);

	if (err)
		return err;
	err = resize(c, inode, c->arg[1]);
	inode_put(inode);
	return err;
}

long sys_ftruncate(struct call *c)
{
	struct file *f = fd_file(call_process(c), c->arg[0]);

	if (!f)
		return -EBADF;
	if ((f->flags & O_ACCMODE) == O_RDONLY || f->inode->kind != INODE_FILE)
		return -EINVAL;
	return resize(c, f->inode, c->arg[1]);
}

#define FALLOC_KEEP_SIZE  0x1u
#define FALLOC_PUNCH_HOLE 0x2u
#define FALLOC_ZERO_RANGE 0x10u

long sys_fallocate(struct call *c)
{
	struct file *f = fd_file(call_process(c), c->arg[0]);
	uint32_t mode = (uint32_t)c->arg[1];
	uint64_t pos = c->arg[2], bytes = c->arg[3], end;
	long err;

	if (!f || (f->flags & O_ACCMODE) == O_RDONLY)
		return -EBADF;
	if ((int64_t)pos < 0 || (int64_t)bytes <= 0)
		return -EINVAL;
	if (mode & ~(FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE))
		return -EOPNOTSUPP;
	if ((mode & FALLOC_PUNCH_HOLE) && mode != (FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE))
		return -EOPNOTSUPP;
	if (f->inode->kind != INODE_FILE)
		return f->inode->kind == INODE_FIFO ? -ESPIPE : -ENODEV;
	if (__builtin_add_overflow(pos, bytes, &end) || (int64_t)end < 0)
		return -EFBIG;
	if (mode & (FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE)) {
		err = content_punch(f->inode, pos, bytes);
		if (err)
			return err;
		inode_modified(f->inode);
	}
	if ((mode & FALLOC_KEEP_SIZE) || end <= f->inode->size)
		return 0;
	return resize(c, f->inode, end);
}

/* --- rights, owners, times ------------------------------------------------------------------ */

static long change_mode(struct inode *inode, uint64_t mode)
{
	inode->mode = (inode->mode & S_IFMT) | ((uint32_t)mode & 07777);
	inode_changed(inode);
	return 0;
}

static long mode_at(struct call *c, uint64_t at, uint64_t from, uint64_t mode)
{
	struct inode *inode;
	long err = inode_at(c, at, from, 0, 0, &inode);

	if (err)
		return err;
	err = change_mode(inode, mode);
	inode_put(inode);
	return err;
}

long sys_chmod(struct call *c)
{
	return mode_at(c, HERE, c->arg[0], c->arg[1]);
}

long sys_fchmodat(struct call *c)
{
	return mode_at(c, c->arg[0], c->arg[1], c->arg[2]);
}

long sys_fchmod(struct call *c)
{
	struct file *f = fd_file(call_process(c), c->arg[0]);

	return f ? change_mode(f->inode, c->arg[1]) : -EBADF;
}

static long change_owner(struct inode *inode, uint64_t uid, uint64_t gid)
{
	if ((uint32_t)uid != ~0u)
		inode->uid = (uint32_t)uid;
	if ((uint32_t)gid != ~0u)
		inode->gid = (uint32_t)gid;
	inode_changed(inode);
	return 0;
}

static long owner_at(
	struct call *c, uint64_t at, uint64_t from, uint64_t uid, uint64_t gid, uint32_t flags)
{
	struct inode *inode;
	long err;

	if (flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	err = inode_at(c, at, from, flags, flags & AT_SYMLINK_NOFOLLOW ? WALK_NOFOLLOW : 0, &inode);
	if (err)
		return err;
	err = change_owner(inode, uid, gid);
	inode_put(inode);
	return err;
}

long sys_chown(struct call *c)
{
	return owner_at(c, HERE, c->arg[0], c->arg[1], c->arg[2], 0);
}

long sys_lchown(struct call *c)
{
	return owner_at(c, HERE, c->arg[0], c->arg[1], c->arg[2], AT_SYMLINK_NOFOLLOW);
}

long sys_fchownat(struct call *c)
{
	return owner_at(c, c->arg[0], c->arg[1], c->arg[2], c->arg[3], (uint32_t)c->arg[4]);
}

long sys_fchown(struct call *c)
{
	struct file *f = fd_file(call_process(c), c->arg[0]);

	return f ? change_owner(f->inode, c->arg[1], c->arg[2]) : -EBADF;
}

/* times NULL: both are now. */
static long change_times(struct inode *inode, const struct timespec *times)
{
	struct timespec now = vfs_now();

	for (int i = 0; times && i < 2; i++)
		if ((times[i].tv_nsec < 0 || times[i].tv_nsec >= (long)NS_PER_SEC) &&
			times[i].tv_nsec != UTIME_NOW && times[i].tv_nsec != UTIME_OMIT)
			return -EINVAL;
	if (!times || times[0].tv_nsec != UTIME_OMIT)
		inode->atime = times && times[0].tv_nsec != UTIME_NOW ? times[0] : now;
	if (!times || times[1].tv_nsec != UTIME_OMIT)
		inode->mtime = times && times[1].tv_nsec != UTIME_NOW ? times[1] : now;
	inode->ctime = now;
	return 0;
}

static long times_at(struct call *c, uint64_t at, uint64_t from, const struct timespec *times,
	unsigned walk_flags)
{
	struct inode *inode;
	long err = inode_at(c, at, from, 0, walk_flags, &inode);

	if (err)
		return err;
	err = change_times(inode, times);
	inode_put(inode);
	return err;
}

long sys_utimensat(struct call *c)
{
	uint32_t flags = (uint32_t)c->arg[3];
	struct timespec times[2];
	struct file *f;
	long err = c->arg[2] ? copy_in(c, times, c->arg[2], sizeof(times)) : 0;

	if (err)
		return err;
	if (flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	if (c->arg[1])
		return times_at(c, c->arg[0], c->arg[1], c->arg[2] ? times : NULL,
			flags & AT_SYMLINK_NOFOLLOW ? WALK_NOFOLLOW : 0);
	f = fd_file(call_process(c), c->arg[0]);
	return f ? change_times(f->inode, c->arg[2] ? times : NULL) : -EBADF;
}

static long microseconds(struct call *c, uint64_t at, uint64_t from, uint64_t times_from)
{
	struct timeval given[2];
	struct timespec times[2];
	long err = times_from ? copy_in(c, given, times_from, sizeof(given)) : 0;

	if (err)
		return err;
	for (int i = 0; times_from && i < 2; i++) {
		if (given[i].tv_usec < 0 || given[i].tv_usec >= 1000000)
			return -EINVAL;
		times[i] = (struct timespec){given[i].tv_sec, given[i].tv_usec * 1000};
	}
	return times_at(c, at, from, times_from ? times : NULL, 0);
}

long sys_utimes(struct call *c)
{
	return microseconds(c, HERE, c->arg[0], c->arg[1]);
}

long sys_futimesat(struct call *c)
{
	return microseconds(c, c->arg[0], c->arg[1], c->arg[2]);
}

long sys_utime(struct call *c)
{
	struct utimbuf given;
	struct timespec times[2] = {{0}, {0}};
	long err = c->arg[1] ? copy_in(c, &given, c->arg[1], sizeof(given)) : 0;

	if (err)
		return err;
	if (c->arg[1]) {
		times[0].tv_sec = given.actime;
		times[1].tv_sec = given.modtime;
	}
	return times_at(c, HERE, c->arg[0], c->arg[1] ? times : NULL, 0);
}

/* --- where one is --------------------------------------------------------------------------- */

static long change_folder(struct process *p, struct inode *folder)
{
	inode_put(p->fs->folder);
	p->fs->folder = folder;
	return 0;
}

long sys_chdir(struct call *c)
{
	struct inode *inode;
	long err = inode_at(c, HERE, c->arg[0], 0, WALK_DIRECTORY, &inode);

	return err ? err : change_folder(call_process(c), inode);
}

long sys_fchdir(struct call *c)
{
	struct file *f = fd_file_or_path(call_process(c), c->arg[0]);

	if (!f)
		return -EBADF;
	if (!inode_is_directory(f->inode))
		return -ENOTDIR;
	return change_folder(call_process(c), inode_get(f->inode));
}

/* One tree for all: only the root it has already. */
long sys_chroot(struct call *c)
{
	struct inode *inode;
	long err = inode_at(c, HERE, c->arg[0], 0, WALK_DIRECTORY, &inode);

	if (err)
		return err;
	err = inode == vfs_root ? 0 : -EPERM;
	inode_put(inode);
	return err;
}

long sys_getcwd(struct call *c)
{
	static char buffer[PATH_BYTES];
	bool deleted;
	const char *path = path_of(call_process(c)->fs->folder, buffer, &deleted);
	size_t n;
	long err;

	if (deleted)
		return -ENOENT;
	if (!path)
		return -ENAMETOOLONG;
	n = strlen(path) + 1;
	if (n > c->arg[1])
		return -ERANGE;
	err = copy_out(c, c->arg[0], path, n);
	return err ? err : (long)n;
}

long sys_umask(struct call *c)
{
	struct fs *fs = call_process(c)->fs;
	uint32_t old = fs->umask;

	fs->umask = (uint32_t)c->arg[0] & 0777;
	return old;
}

/* --- rights asked --------------------------------------------------------------------------- */

/* Root may all, but execute only what somebody may. */
static long access_at(struct call *c, uint64_t at, uint64_t from, uint32_t mode, uint32_t flags)
{
	struct inode *inode;
	long err;

	if ((mode & ~7u) || (flags & ~(uint32_t)(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)))
		return -EINVAL;
	err = inode_at(c, at, from, flags, flags & AT_SYMLINK_NOFOLLOW ? WALK_NOFOLLOW : 0, &inode);
	if (err)
		return err;
	if ((mode & X_OK) && !inode_is_directory(inode) && !(inode->mode & 0111))
		err = -EACCES;
	inode_put(inode);
	return err;
}

long sys_access(struct call *c)
{
	return access_at(c, HERE, c->arg[0], (uint32_t)c->arg[1], 0);
}

long sys_faccessat(struct call *c)
{
	return access_at(c, c->arg[0], c->arg[1], (uint32_t)c->arg[2], 0);
}

long sys_faccessat2(struct call *c)
{
	return access_at(c, c->arg[0], c->arg[1], (uint32_t)c->arg[2], (uint32_t)c->arg[3]);
}

/* --- what is mounted ------------------------------------------------------------------------ */

/* /proc and /sys are there from the start, and every folder is a tmpfs: who mounts those has what they want. */
long sys_mount(struct call *c)
{
	char type[32] = "";
	struct inode *inode;
	const char *path = NULL;
	long err = c->arg[2] ? copy_in_text(c, type, c->arg[2], sizeof(type)) : 0;

	if (err < 0)
		return err == -ENAMETOOLONG ? -ENODEV : err;
	err = inode_at(c, HERE, c->arg[1], 0, WALK_DIRECTORY, &inode);
	if (err)
		return err;
	if (inode->kind == INODE_PROC_DIRECTORY)
		path = inode->proc.path;
	inode_put(inode);
	if (!strcmp(type, "proc"))
		return path && !strcmp(path, "/proc") ? 0 : -EPERM;
	if (!strcmp(type, "sysfs"))
		return path && !strcmp(path, "/sys") ? 0 : -EPERM;
	if (!strcmp(type, "debugfs"))
		return path && !strncmp(path, "/sys", 4) ? 0 : -EPERM;
	if (!strcmp(type, "tmpfs") || !strcmp(type, "devtmpfs"))
		return path ? -EPERM : 0;
	return -EPERM;
}

long sys_umount2(struct call *c)
{
	struct inode *inode;
	long err = inode_at(c, HERE, c->arg[0], 0, 0, &inode);

	if (err)
		return err;
	inode_put(inode);
	return -EBUSY;
}

/* --- on disk -------------------------------------------------------------------------------- */

long sys_sync(struct call *c)
{
	(void)c;
	return 0;
}

static long synced(struct call *c)
{
	return fd_file(call_process(c), c->arg[0]) ? 0 : -EBADF;
}

long sys_fsync(struct call *c)
{
	struct file *f = fd_file(call_process(c), c->arg[0]);

	if (!f)
		return -EBADF;
	return f->inode->kind == INODE_FIFO ? -EINVAL : 0;
}

long sys_fdatasync(struct call *c)
{
	return sys_fsync(c);
}

long sys_syncfs(struct call *c)
{
	return synced(c);
}

long sys_fadvise64(struct call *c)
{
	struct file *f = fd_file(call_process(c), c->arg[0]);

	if (!f)
		return -EBADF;
	if (f->inode->kind == INODE_FIFO)
		return -ESPIPE;
	return (uint32_t)c->arg[3] <= 5 ? 0 : -EINVAL;
}
