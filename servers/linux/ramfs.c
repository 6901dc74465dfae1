/*
 * ramfs.c - the tree of names: directories in memory, filled from the initrd.                     ring 3
 *
 * A directory finds a name by a hash and lists its names in the order they came. It knows nothing of paths (path.c) or
 * of calls (names.c).
 *
 * IDEA
 *   directory  buckets[hash % n] -> entry -> entry           first <-> entry <-> entry <-> last
 *                                     |                              cookie grows along this list: getdents goes on
 *                                     v                              behind the last cookie it told, whatever was
 *                                   inode                            added or removed meanwhile
 *
 * INVARIANTS
 *   R1  an inode's `names` holds exactly the entries that lead to it; nlink counts them, for a directory: 2 + the
 *       directories in it
 *   R2  a directory has one name at most, so its parent is names->directory; the root has none
 *
 * LINUX  fs/libfs.c, fs/dcache.c; the initrd is unpacked by init/initramfs.c, here its bytes are used in place.
 */
#include "vfs.h"
#include "lib/cpio.h"
#include "device.h"
#include "procfs.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS_FIRST 8u

struct inode *vfs_root;
static const uint8_t *initrd_begin;

const uint8_t *ramfs_initrd(void)
{
	return initrd_begin;
}

/* FNV-1a. */
static uint32_t name_hash(const char *name, size_t bytes)
{
	uint32_t hash = 2166136261u;

	while (bytes--)
		hash = (hash ^ (uint8_t)*name++) * 16777619u;
	return hash;
}

/* --- one directory ------------------------------------------------------------------------- */

struct entry *directory_find(const struct inode *dir, const char *name, size_t bytes)
{
	const struct directory *d = &dir->directory;
	uint32_t hash = name_hash(name, bytes);
	struct entry *e;

	if (!d->nr)
		return NULL;
	for (e = d->buckets[hash & (d->nr_buckets - 1)]; e; e = e->hash_next)
		if (e->hash == hash && e->bytes == bytes && !memcmp(e->name, name, bytes))
			return e;
	return NULL;
}

static void bucket_insert(struct directory *d, struct entry *e)
{
	struct entry **bucket = &d->buckets[e->hash & (d->nr_buckets - 1)];

	e->hash_next = *bucket;
	*bucket = e;
}

static void bucket_remove(struct directory *d, struct entry *e)
{
	struct entry **at = &d->buckets[e->hash & (d->nr_buckets - 1)];

	while (*at != e)
		at = &(*at)->hash_next;
	*at = e->hash_next;
}

/* Twice as many buckets; when there is no memory for them the old ones serve on. */
static int buckets_grow(struct directory *d)
{
	uint32_t nr = d->nr_buckets ? 2 * d->nr_buckets : BUCKETS_FIRST;
	struct entry **buckets = calloc(nr, sizeof(struct entry *));

	if (!buckets)
		return d->buckets ? 0 : -ENOMEM;
	free(d->buckets);
	d->buckets = buckets;
	d->nr_buckets = nr;
	for (struct entry *e = d->first; e; e = e->next)
		bucket_insert(d, e);
	return 0;
}

static bool is_removed(const struct inode *dir)
{
	return dir != vfs_root && !dir->names;
}

/* Puts an entry that is in no list into a directory that has room for it, under an inode. */
static void entry_link(struct inode *dir, struct entry *e, struct inode *inode)
{
	struct directory *d = &dir->directory;

	e->directory = dir;
	e->cookie = ++d->next_cookie;
	e->next = NULL;
	e->previous = d->last;
	*(d->last ? &d->last->next : &d->first) = e;
	d->last = e;
	d->nr++;
	bucket_insert(d, e);

	e->inode = inode_get(inode);
	e->name_next = inode->names;
	inode->names = e;
	if (inode->kind == INODE_DIRECTORY)
		dir->nlink++;
	else
		inode->nlink++;
}

/* The reverse; the reference to the inode is the caller's now. */
static void entry_unlink(struct entry *e)
{
	struct directory *d = &e->directory->directory;
	struct entry **at = &e->inode->names;

	*(e->previous ? &e->previous->next : &d->first) = e->next;
	*(e->next ? &e->next->previous : &d->last) = e->previous;
	bucket_remove(d, e);
	d->nr--;
	while (*at != e)
		at = &(*at)->name_next;
	*at = e->name_next;
	if (e->inode->kind == INODE_DIRECTORY)
		e->directory->nlink--;
	else
		e->inode->nlink--;
}

static struct entry *entry_new(const char *name, size_t bytes)
{
	struct entry *e = malloc(sizeof(*e) + bytes + 1);

	if (!e)
		return NULL;
	memcpy(e->name, name, bytes);
	e->name[bytes] = '\0';
	e->bytes = (uint8_t)bytes;
	e->hash = name_hash(name, bytes);
	return e;
}

int directory_add(struct inode *dir, const char *name, size_t bytes, struct inode *inode)
{
	struct entry *e;

	if (is_removed(dir))
		return -ENOENT;
	if (directory_find(dir, name, bytes))
		return -EEXIST;
	if (dir->directory.nr >= dir->directory.nr_buckets && buckets_grow(&dir->directory))
		return -ENOMEM;
	e = entry_new(name, bytes);
	if (!e)
		return -ENOMEM;
	entry_link(dir, e, inode);
	inode_modified(dir);
	return 0;
}

void directory_remove(struct entry *e)
{
	struct inode *dir = e->directory, *inode = e->inode;

	entry_unlink(e);
	free(e);
	inode_modified(dir);
	inode->ctime = dir->ctime;
	if (inode->kind == INODE_DIRECTORY)
		inode->nlink = 0;
	inode_put(inode);
}

struct inode *directory_parent(const struct inode *dir)
{
	if (dir == vfs_root)
		return vfs_root;
	return dir->names ? dir->names->directory : NULL;
}

/* --- rename -------------------------------------------------------------------------------- */

static bool is_inside(const struct inode *dir, const struct inode *tree)
{
	for (; dir; dir = directory_parent(dir)) {
		if (dir == tree)
			return true;
		if (dir == vfs_root)
			break;
	}
	return false;
}

/* May what is at `from` replace `to`? */
static int rename_allowed(const struct inode *from, const struct inode *to)
{
	bool from_dir = inode_is_directory(from), to_dir = inode_is_directory(to);

	if (from_dir && !to_dir)
		return -ENOTDIR;
	if (!from_dir && to_dir)
		return -EISDIR;
	if (!to_dir)
		return 0;
	if (to->kind != INODE_DIRECTORY)
		return -EBUSY;
	return to->directory.nr ? -ENOTEMPTY : 0;
}

/* `to` names what `from` did; nothing is allocated, so it cannot fail. */
static void replace(struct entry *from, struct entry *to)
{
	struct inode *inode = from->inode, *old = to->inode;
	struct inode *from_dir = from->directory, *to_dir = to->directory;

	entry_unlink(from);
	entry_unlink(to);
	entry_link(to_dir, to, inode);
	free(from);
	inode_modified(from_dir);
	inode_modified(to_dir);
	inode_changed(inode);
	inode_changed(old);
	if (old->kind == INODE_DIRECTORY)
		old->nlink = 0;
	inode_put(inode);
	inode_put(old);
}

/*
 * ramfs_rename - an entry moves to another directory and name; what has that name goes.
 *
 *   returns  0; -EINVAL (a directory into itself), -EEXIST, -EISDIR, -ENOTDIR, -ENOTEMPTY, -EBUSY, -ENOMEM, -ENOENT
 */
int ramfs_rename(struct inode *from_dir, struct entry *from, struct inode *to_dir, const char *name,
	size_t bytes, bool no_replace)
{
	struct entry *to = directory_find(to_dir, name, bytes);
	struct inode *inode = from->inode;
	uint32_t nlink;
	int err;

	if (is_removed(to_dir))
		return -ENOENT;
	if (inode->kind == INODE_DIRECTORY && is_inside(to_dir, inode))
		return -EINVAL;
	if (to && no_replace)
		return -EEXIST;
	if (to && to->inode == inode)
		return 0;
	if (to && inode_is_directory(to->inode) && is_inside(from_dir, to->inode))
		return -ENOTEMPTY;
	err = to ? rename_allowed(inode, to->inode) : 0;
	if (err)
		return err;

	if (to) {
		replace(from, to);
		return 0;
	}
	nlink = inode->nlink;
	err = directory_add(to_dir, name, bytes, inode);
	if (err)
		return err;
	directory_remove(from);
	inode->nlink = nlink;
	return 0;
}

/* Two entries change what they name (renameat2, RENAME_EXCHANGE). */
int ramfs_exchange(struct entry *a, struct entry *b)
{
	struct inode *inode_a = a->inode, *inode_b = b->inode;
	struct inode *dir_a = a->directory, *dir_b = b->directory;

	if (inode_is_directory(inode_a) && is_inside(dir_b, inode_a))
		return -EINVAL;
	if (inode_is_directory(inode_b) && is_inside(dir_a, inode_b))
		return -EINVAL;
	if (inode_a == inode_b)
		return 0;
	entry_unlink(a);
	entry_unlink(b);
	entry_link(dir_a, a, inode_b);
	entry_link(dir_b, b, inode_a);
	inode_put(inode_a);
	inode_put(inode_b);
	inode_modified(dir_a);
	inode_modified(dir_b);
	return 0;
}

/* --- the tree at start --------------------------------------------------------------------- */

/* The directory that `path` (relative to the root) lies in, made where it is missing; *name: its last step. NULL: no memory */
static struct inode *parents_make(const char *path, const char **name)
{
	struct inode *dir = vfs_root;
	const char *slash;

	for (; (slash = strchr(path, '/')); path = slash + 1) {
		size_t bytes = (size_t)(slash - path);
		struct entry *e = bytes ? directory_find(dir, path, bytes) : NULL;
		struct inode *made;

		if (!bytes)
			continue;
		if (!e) {
			made = inode_new(INODE_DIRECTORY, S_IFDIR | 0755);
			if (!made)
				return NULL;
			made->nlink = 2;
			if (directory_add(dir, path, bytes, made))
				return NULL;
			inode_put(made);
			e = directory_find(dir, path, bytes);
		}
		if (e->inode->kind != INODE_DIRECTORY)
			return NULL;
		dir = e->inode;
	}
	*name = path;
	return dir;
}

/* Gives an inode (whose reference it takes) a path below the root; what is there already stays. */
static int plant(const char *path, struct inode *inode)
{
	const char *name;
	struct inode *dir;
	int err = -ENOMEM;

	if (!inode)
		return -ENOMEM;
	dir = parents_make(path, &name);
	if (dir && *name)
		err = directory_add(dir, name, strlen(name), inode);
	inode_put(inode);
	return err == -EEXIST ? 0 : err;
}

static struct inode *from_archive(const struct cpio_entry *entry)
{
	uint32_t permissions = entry->mode & 07777;
	struct inode *inode;

	switch (entry->mode & S_IFMT) {
	case S_IFREG:
		inode = inode_new(INODE_FILE, S_IFREG | permissions);
		if (inode) {
			inode->content.data = (uint8_t *)(uintptr_t)entry->data;
			inode->content.initrd_bytes = inode->size = entry->size;
		}
		return inode;
	case S_IFDIR:
		inode = inode_new(INODE_DIRECTORY, S_IFDIR | permissions);
		if (inode)
			inode->nlink = 2;
		return inode;
	case S_IFLNK:
		inode = inode_new(INODE_LINK, S_IFLNK | 0777);
		if (inode) {
			inode->target = strndup((const char *)entry->data, entry->size);
			inode->size = entry->size;
		}
		if (inode && !inode->target) {
			inode_put(inode);
			return NULL;
		}
		return inode;
	default:
		return NULL;
	}
}

static bool is_known_kind(uint32_t mode)
{
	return S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode);
}

static int plant_archive(const void *initrd, uint64_t bytes)
{
	struct cpio_entry entry;
	struct cpio cpio;
	int err;

	cpio_open(&cpio, initrd, bytes);
	while (cpio_next(&cpio, &entry) == CPIO_OK) {
		if (!is_known_kind(entry.mode) || !strcmp(entry.name, "."))
			continue;
		err = plant(entry.name, from_archive(&entry));
		if (err)
			return err;
	}
	return 0;
}

static int plant_folder(const char *path, uint32_t mode)
{
	struct inode *inode = inode_new(INODE_DIRECTORY, S_IFDIR | mode);

	if (inode)
		inode->nlink = 2;
	return plant(path, inode);
}

static int plant_link(const char *path, const char *target)
{
	struct inode *inode = inode_new(INODE_LINK, S_IFLNK | 0777);

	if (!inode)
		return -ENOMEM;
	inode->target = strdup(target);
	inode->size = strlen(target);
	if (!inode->target) {
		inode_put(inode);
		return -ENOMEM;
	}
	return plant(path, inode);
}

static int plant_device(const char *path, uint32_t mode, uint64_t rdev)
{
	struct inode *inode = inode_new(INODE_DEVICE, mode);

	if (inode)
		inode->rdev = rdev;
	return plant(path, inode);
}

int ramfs_init(const void *initrd, uint64_t bytes)
{
	static const struct {
		const char *path;
		uint32_t mode;
	} folders[] = {{"tmp", 01777}, {"root", 0700}, {"etc", 0755}, {"dev", 0755},
		{"dev/shm", 01777}, {"var/tmp", 01777}, {"run", 0755}, {"mnt", 0755}};
	static const struct {
		const char *path, *target;
	} links[] = {{"dev/fd", "/proc/self/fd"}, {"dev/stdin", "/proc/self/fd/0"},
		{"dev/stdout", "/proc/self/fd/1"}, {"dev/stderr", "/proc/self/fd/2"},
		{"etc/mtab", "/proc/self/mounts"}};
	int err;

	initrd_begin = initrd;
	vfs_root = inode_new(INODE_DIRECTORY, S_IFDIR | 0755);
	if (!vfs_root)
		return -ENOMEM;
	vfs_root->nlink = 2;
	err = initrd ? plant_archive(initrd, bytes) : 0;
	for (size_t i = 0; !err && i < sizeof(folders) / sizeof(folders[0]); i++)
		err = plant_folder(folders[i].path, folders[i].mode);
	for (size_t i = 0; !err && i < sizeof(links) / sizeof(links[0]); i++)
		err = plant_link(links[i].path, links[i].target);
	for (size_t i = 0; !err && i < nr_device_nodes; i++)
		err = plant_device(
			device_nodes[i].path, device_nodes[i].mode, device_nodes[i].rdev);
	if (!err)
		err = plant("proc", proc_root("/proc"));
	if (!err)
		err = plant("sys", proc_root("/sys"));
	return err;
}
