/*
 * names.c - the calls that make, move and remove names.                                           ring 3
 *
 * Arguments to steps of paths, and every error that Linux has for them, in its order; the change itself is ramfs.c's.
 * What an inode says of itself stands in attr.c.
 *
 * IDEA
 *       (at, "a/b/c") --path_in, walk--> struct last: the directory "a/b", the name "c", what is there now (or nothing)
 *                                          |
 *            mkdir, mknod, symlink, link   nothing may be there:   directory_add
 *            unlink, rmdir                 something must be:      directory_remove
 *            rename                        two of them:            ramfs_rename, ramfs_exchange
 *
 *   Nothing is changed before all is known: a call that fails has changed no name.
 *
 * LINUX  fs/namei.c
 */
#include "calls.h"
#include "device.h"
#include "file.h"
#include "procfs.h"
#include <stdlib.h>
#include <string.h>

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
