/*
 * attr.c - the calls that change what an inode says of itself: size, rights, owner, times.        ring 3
 *
 * Names are names.c's, asking is stat.c's, bytes are content.c's. One program is everybody here, the super-user: rights
 * are kept and told, and only the right to execute is ever refused.
 *
 * IDEA  each change is one function of an inode; the calls differ in how they come to it
 *
 *       chmod(path)  --inode_at--.
 *       fchmod(fd)   --fd_file---+--> change_mode(inode) --> ctime is now
 *       fchmodat(..) --inode_at--'
 *
 * LINUX  fs/attr.c, fs/open.c, fs/utimes.c
 */
#include "calls.h"
#include "file.h"
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>

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
