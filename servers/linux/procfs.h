/*
 * procfs.h - /proc and /sys: names there, texts, links.                                           ring 3
 */
#ifndef PROCFS_H
#define PROCFS_H

#include "vfs.h"

struct file;
struct inode *proc_root(const char *path); /* "/proc", "/sys". NULL: no memory */

/* For path.c. 0 and an inode with a reference; -ENOENT, -ENOMEM */
int proc_lookup(struct process *self, struct inode *dir, const char *name, size_t bytes,
	struct inode **child);
int proc_parent(struct inode *dir, struct inode **parent);

/*
 * proc_follow - where a link leads.
 *
 *   text     PATH_BYTES bytes: its text
 *   jump     NULL, or what it leads to with a reference, whatever the text says (exe, cwd, fd/N). May be NULL: the text
 *            alone is wanted
 */
int proc_follow(struct process *self, const struct inode *link, char *text, struct inode **jump);

long proc_open(struct call *c, struct inode *inode, uint32_t flags, struct file **file);

#endif
