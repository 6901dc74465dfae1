/*
 * place.c - the calls about the tree as a whole: where one stands in it, what is mounted, what is written out. ring 3
 *
 * There is one tree, in memory, with /proc and /sys in it from the start. So nothing is ever mounted or unmounted, no
 * other root can be chosen, and nothing has to be written out: what such a call can be asked for that is there already
 * succeeds, everything else is refused.
 *
 * LINUX  fs/open.c (chdir, chroot), fs/d_path.c (getcwd), fs/namespace.c, fs/sync.c, mm/fadvise.c
 */
#include "calls.h"
#include "file.h"
#include <string.h>

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
