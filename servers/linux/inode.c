/*
 * inode.c - what a name leads to: made, counted, given back; its times.                           ring 3
 *
 * LINUX  fs/inode.c; there inodes are cached, here they live exactly as long as somebody refers to them.
 */
#include "vfs.h"
#include "pipe.h"
#include <stdlib.h>

static uint64_t next_ino = 1;

struct timespec vfs_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now;
}

struct inode *inode_new(enum inode_kind kind, uint32_t mode)
{
	struct inode *inode = calloc(1, sizeof(*inode));

	if (!inode)
		return NULL;
	inode->refs = 1;
	inode->kind = kind;
	inode->mode = mode;
	inode->ino = next_ino++;
	inode->atime = inode->mtime = inode->ctime = vfs_now();
	return inode;
}

void inode_put(struct inode *inode)
{
	if (--inode->refs)
		return;
	switch (inode->kind) {
	case INODE_FILE:
		content_release(inode);
		break;
	case INODE_DIRECTORY:
		free(inode->directory.buckets);
		break;
	case INODE_LINK:
		free(inode->target);
		break;
	case INODE_FIFO:
		pipe_free(inode->pipe);
		break;
	case INODE_PROC_DIRECTORY:
	case INODE_PROC_TEXT:
	case INODE_PROC_LINK:
	case INODE_PROC_MEMORY:
		free(inode->proc.path);
		break;
	case INODE_DEVICE:
	case INODE_COUNTER:
		break;
	}
	free(inode);
}

static bool is_before(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec <= b->tv_nsec;
}

/* The clock is asked only when the time would be written: at the first read after a change. */
void inode_accessed(struct inode *inode)
{
	if (is_before(&inode->atime, &inode->mtime))
		inode->atime = vfs_now();
}

void inode_changed(struct inode *inode)
{
	inode->ctime = vfs_now();
}

void inode_modified(struct inode *inode)
{
	inode->mtime = inode->ctime = vfs_now();
}
