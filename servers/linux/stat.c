/*
 * stat.c - what the files half says of inodes, folders and the file system.                       ring 3
 *
 * LINUX  fs/stat.c, fs/readdir.c, fs/statfs.c
 */
#include "calls.h"
#include "file.h"
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#define DEVICE_RAM  1 /* st_dev */
#define DEVICE_PROC 2
#define DEVICE_SYS  3

static bool is_proc(const struct inode *inode)
{
	return inode->kind >= INODE_PROC_DIRECTORY;
}

static bool is_sys(const struct inode *inode)
{
	return is_proc(inode) && !strncmp(inode->proc.path, "/sys", 4);
}

static uint64_t size_of(const struct inode *inode)
{
	if (inode->kind == INODE_DIRECTORY)
		return 40 + 20ull * inode->directory.nr;
	return is_proc(inode) ? 0 : inode->size;
}

static void fill(const struct inode *inode, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_dev = is_sys(inode) ? DEVICE_SYS : is_proc(inode) ? DEVICE_PROC : DEVICE_RAM;
	st->st_ino = inode->ino;
	st->st_nlink = inode->nlink;
	st->st_mode = inode->mode;
	st->st_uid = inode->uid;
	st->st_gid = inode->gid;
	st->st_rdev = is_proc(inode) ? 0 : inode->rdev;
	st->st_size = (off_t)size_of(inode);
	st->st_blksize = FILE_PAGE;
	st->st_blocks = inode->kind == INODE_FILE ? (blkcnt_t)content_blocks(inode) : 0;
	st->st_atim = inode->atime;
	st->st_mtim = inode->mtime;
	st->st_ctim = inode->ctime;
}

static long stat_out(struct call *c, const struct inode *inode, uint64_t to)
{
	struct stat st;

	fill(inode, &st);
	return copy_out(c, to, &st, sizeof(st));
}

static long stat_at(struct call *c, uint64_t at, uint64_t from, uint64_t to, uint32_t flags)
{
	struct inode *inode;
	long err;

	if (flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT))
		return -EINVAL;
	err = inode_at(c, at, from, flags, flags & AT_SYMLINK_NOFOLLOW ? WALK_NOFOLLOW : 0, &inode);
	if (err)
		return err;
	err = stat_out(c, inode, to);
	inode_put(inode);
	return err;
}

long sys_stat(struct call *c)
{
	return stat_at(c, HERE, c->arg[0], c->arg[1], 0);
}

long sys_lstat(struct call *c)
{
	return stat_at(c, HERE, c->arg[0], c->arg[1], AT_SYMLINK_NOFOLLOW);
}

long sys_newfstatat(struct call *c)
{
	return stat_at(c, c->arg[0], c->arg[1], c->arg[2], (uint32_t)c->arg[3]);
}

long sys_fstat(struct call *c)
{
	struct file *f = fd_file_or_path(call_process(c), c->arg[0]);

	return f ? stat_out(c, f->inode, c->arg[1]) : -EBADF;
}

/* --- statx ---------------------------------------------------------------------------------- */

/* Linux's layout; the C library this is built with has none. */
struct statx_stamp {
	int64_t seconds;
	uint32_t nanoseconds;
	int32_t reserved;
};
struct statx_answer {
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, spare;
	uint64_t ino, size, blocks, attributes_mask;
	struct statx_stamp atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t spares[14];
};
_Static_assert(sizeof(struct statx_answer) == 256, "as in Linux");

#define STATX_BASIC   0x7ffu
#define AT_STATX_SYNC 0x6000u

static struct statx_stamp stamp(const struct timespec *t)
{
	return (struct statx_stamp){t->tv_sec, (uint32_t)t->tv_nsec, 0};
}

long sys_statx(struct call *c)
{
	uint32_t flags = (uint32_t)c->arg[2];
	struct inode *inode;
	struct statx_answer x = {0};
	struct stat st;
	long err;

	if (flags &
		~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_SYNC))
		return -EINVAL;
	err = inode_at(c, c->arg[0], c->arg[1], flags,
		flags & AT_SYMLINK_NOFOLLOW ? WALK_NOFOLLOW : 0, &inode);
	if (err)
		return err;
	fill(inode, &st);
	inode_put(inode);
	x.mask = STATX_BASIC;
	x.blksize = (uint32_t)st.st_blksize;
	x.nlink = (uint32_t)st.st_nlink;
	x.uid = st.st_uid;
	x.gid = st.st_gid;
	x.mode = (uint16_t)st.st_mode;
	x.ino = st.st_ino;
	x.size = (uint64_t)st.st_size;
	x.blocks = (uint64_t)st.st_blocks;
	x.atime = stamp(&st.st_atim);
	x.mtime = stamp(&st.st_mtim);
	x.ctime = stamp(&st.st_ctim);
	x.rdev_major = major(st.st_rdev);
	x.rdev_minor = minor(st.st_rdev);
	x.dev_minor = (uint32_t)st.st_dev;
	return copy_out(c, c->arg[4], &x, sizeof(x));
}

/* --- folders -------------------------------------------------------------------------------- */

static uint8_t listing_buffer[65536]; /* of the call that is being served */

struct old_dirent {
	uint64_t d_ino, d_off;
	uint16_t d_reclen;
	char d_name[];
};

bool listing_add(struct listing *l, const char *name, size_t bytes, uint64_t ino, uint32_t mode,
	uint64_t cookie)
{
	size_t head = l->old_format ? offsetof(struct old_dirent, d_name)
				    : offsetof(struct dirent, d_name);
	/* The old record has its type in its last byte, behind the name's zero. */
	size_t length = (head + bytes + 1 + l->old_format + 7) & ~(size_t)7;
	uint8_t *at = l->to + l->used;
	uint16_t length16 = (uint16_t)length;

	if (length > l->size - l->used) {
		l->refused = true;
		return false;
	}
	memset(at, 0, length);
	memcpy(at, &ino, sizeof(ino));
	memcpy(at + 8, &cookie, sizeof(cookie));
	memcpy(at + 16, &length16, sizeof(length16));
	at[l->old_format ? length - 1 : 18] = (uint8_t)IFTODT(mode);
	memcpy(at + head, name, bytes);
	l->used += length;
	return true;
}

static long list(struct call *c, bool old_format)
{
	struct file *f = fd_file(call_process(c), c->arg[0]);
	struct listing l = {.to = listing_buffer, .old_format = old_format};
	uint64_t pos;
	long err;

	if (!f)
		return -EBADF;
	if (!f->ops->list)
		return -ENOTDIR;
	if (f->inode->kind == INODE_DIRECTORY && !f->inode->nlink)
		return -ENOENT;
	l.size = (uint32_t)c->arg[2];
	l.size = l.size < sizeof(listing_buffer) ? l.size : sizeof(listing_buffer);
	pos = f->pos;
	err = f->ops->list(f, &l);
	if (!err && !l.used && l.refused)
		err = -EINVAL;
	if (!err && l.used)
		err = copy_out(c, c->arg[1], l.to, l.used);
	if (err)
		f->pos = pos;
	return err ? err : (long)l.used;
}

long sys_getdents(struct call *c)
{
	return list(c, true);
}

long sys_getdents64(struct call *c)
{
	return list(c, false);
}

/* --- the file system ------------------------------------------------------------------------ */

#define MAGIC_TMPFS 0x01021994
#define MAGIC_PROC  0x9fa0
#define MAGIC_SYS   0x62656572

static long statfs_out(struct call *c, const struct inode *inode, uint64_t to)
{
	struct statfs st = {
		.f_type = MAGIC_TMPFS,
		.f_bsize = FILE_PAGE,
		.f_frsize = FILE_PAGE,
		.f_namelen = NAME_BYTES,
	};
	struct machine_memory memory;

	if (is_proc(inode)) {
		st.f_type = is_sys(inode) ? MAGIC_SYS : MAGIC_PROC;
	} else if (machine_info(SLOT_MACHINE, MACHINE_MEMORY, &memory, sizeof(memory)) >= 0) {
		st.f_blocks = memory.total / FILE_PAGE;
		st.f_bfree = st.f_bavail = memory.free / FILE_PAGE;
	}
	return copy_out(c, to, &st, sizeof(st));
}

long sys_statfs(struct call *c)
{
	struct inode *inode;
	long err = inode_at(c, HERE, c->arg[0], 0, 0, &inode);

	if (err)
		return err;
	err = statfs_out(c, inode, c->arg[1]);
	inode_put(inode);
	return err;
}

long sys_fstatfs(struct call *c)
{
	struct file *f = fd_file_or_path(call_process(c), c->arg[0]);

	return f ? statfs_out(c, f->inode, c->arg[1]) : -EBADF;
}
