/*
 * path.c - from a path to an inode, and back.                                                     ring 3
 *
 * IDEA
 *   "a/link/b"    take a step, look it up, go there; a symbolic link puts its text in front of what is left:
 *       ^            left "link/b", link -> "/x/y"   becomes   left "/x/y/b"
 *   The last step is special: who makes or removes a name wants the directory and the name (path_last).
 *
 * INVARIANTS  W1  the walk stands on a directory and holds one reference, to it
 * LINUX       fs/namei.c: path_lookupat, without mounts, permissions (there is root alone) or a cache of names.
 */
#include "vfs.h"
#include "procfs.h"
#include <errno.h>
#include <string.h>

/* What is left of the path lies in one of the two; a link's text is put together in the other. No walk nests in another. */
static char left_buffers[2][2 * PATH_BYTES];

struct position {
	const struct walk *walk;
	struct inode *at; /* with a reference */
	const char *left;
	unsigned buffer; /* which of the two holds left */
	unsigned links;
};

static int begin(struct position *p, const struct walk *w, const char *path)
{
	size_t bytes = strnlen(path, PATH_BYTES);

	if (!bytes)
		return -ENOENT;
	if (bytes == PATH_BYTES)
		return -ENAMETOOLONG;
	memcpy(left_buffers[0], path, bytes + 1);
	*p = (struct position){.walk = w, .left = left_buffers[0]};
	p->at = inode_get(path[0] == '/' ? vfs_root : w->start);
	if (inode_is_directory(p->at))
		return 0;
	inode_put(p->at);
	return -ENOTDIR;
}

static void move_to(struct position *p, struct inode *inode)
{
	inode_put(p->at);
	p->at = inode;
}

static int go_up(struct position *p)
{
	struct inode *parent = NULL;
	int err;

	if (p->at->kind == INODE_DIRECTORY ||
		(p->at->names && p->at->kind == INODE_PROC_DIRECTORY)) {
		parent = directory_parent(p->at);
		if (parent)
			inode_get(parent);
	} else {
		err = proc_parent(p->at, &parent);
		if (err)
			return err;
	}
	if (!parent)
		return -ENOENT;
	move_to(p, parent);
	return 0;
}

/* What is called so in the directory p stands on: 0 and a reference, -ENOENT, -ENOMEM */
static int look_up(struct position *p, const char *name, size_t bytes, struct inode **child)
{
	struct entry *e;

	if (p->at->kind == INODE_PROC_DIRECTORY)
		return proc_lookup(p->walk->process, p->at, name, bytes, child);
	e = directory_find(p->at, name, bytes);
	if (!e)
		return -ENOENT;
	*child = inode_get(e->inode);
	return 0;
}

static bool is_link(const struct inode *inode)
{
	return S_ISLNK(inode->mode);
}

/* The link's text goes in front of what is left (`rest`). */
static int splice(struct position *p, const char *target, const char *rest)
{
	char *to = left_buffers[!p->buffer];
	size_t n = strlen(target), m = strlen(rest);

	if (!n)
		return -ENOENT;
	if (n + m + 2 > sizeof(left_buffers[0]))
		return -ENAMETOOLONG;
	memcpy(to, target, n);
	to[n] = '/';
	memcpy(to + n + (m != 0), rest, m + 1);
	to[n + (m != 0) + m] = '\0';
	p->buffer = !p->buffer;
	p->left = to;
	if (target[0] == '/')
		move_to(p, inode_get(vfs_root));
	return 0;
}

/*
 * Follows a link: p goes on with its text; or *jump is what it leads to without one (/proc/PID/fd/N), with a reference.
 */
static int follow(struct position *p, struct inode *link, const char *rest, struct inode **jump)
{
	static char text[PATH_BYTES];
	int err;

	*jump = NULL;
	if (++p->links > LINKS_MAX)
		return -ELOOP;
	if (link->kind == INODE_LINK)
		return splice(p, link->target, rest);
	err = proc_follow(p->walk->process, link, text, jump);
	if (err || *jump)
		return err;
	return splice(p, text, rest);
}

static bool is_dots(const char *name, size_t bytes)
{
	return name[0] == '.' && (bytes == 1 || (bytes == 2 && name[1] == '.'));
}

/* The end of the path: `child` (or NULL) is what its last step names. Takes both references. */
static int finish(struct position *p, const char *name, size_t bytes, bool slash,
	bool must_be_directory, struct inode *child, struct last *last)
{
	if (must_be_directory && child && !inode_is_directory(child)) {
		inode_put(child);
		inode_put(p->at);
		return -ENOTDIR;
	}
	last->dir = p->at;
	last->inode = child;
	last->bytes = bytes;
	last->slash = slash;
	last->special = false;
	memcpy(last->name, name, bytes);
	last->name[bytes] = '\0';
	return 0;
}

static int finish_special(struct position *p, struct last *last)
{
	last->dir = p->at;
	last->inode = inode_get(p->at);
	last->bytes = 0;
	last->slash = false;
	last->special = true;
	last->name[0] = '\0';
	return 0;
}

int path_last(const struct walk *w, const char *path, unsigned flags, struct last *last)
{
	bool by_name = flags & WALK_NAME, create = flags & WALK_CREATE;
	struct position p;
	int err = begin(&p, w, path);

	if (err)
		return err;
	for (;;) {
		struct inode *child = NULL, *jump;
		const char *name, *rest;
		size_t bytes;
		bool slash;

		while (*p.left == '/')
			p.left++;
		if (!*p.left)
			return finish_special(&p, last);
		name = p.left;
		bytes = strcspn(name, "/");
		rest = name + bytes;
		slash = *rest == '/';
		while (*rest == '/')
			rest++;
		err = -ENAMETOOLONG;
		if (bytes > NAME_BYTES)
			break;
		if (is_dots(name, bytes)) {
			err = bytes == 2 ? go_up(&p) : 0;
			if (err)
				break;
			p.left = rest;
			continue;
		}
		err = look_up(&p, name, bytes, &child);
		if (err == -ENOENT && !*rest)
			return finish(&p, name, bytes, slash, false, NULL, last);
		if (err)
			break;
		if (is_link(child) && (*rest || (!by_name && !(slash && create) &&
							(slash || !(flags & WALK_NOFOLLOW))))) {
			/* A slash behind a link at the end stays: its target must be a directory. */
			err = follow(&p, child, *rest ? rest : slash ? "/" : "", &jump);
			inode_put(child);
			if (err)
				break;
			if (!jump)
				continue;
			child = jump;
		}
		if (!*rest)
			return finish(
				&p, name, bytes, slash, slash && !by_name && !create, child, last);
		err = -ENOTDIR;
		if (!inode_is_directory(child)) {
			inode_put(child);
			break;
		}
		move_to(&p, child);
		p.left = rest;
	}
	inode_put(p.at);
	return err;
}

void last_put(struct last *last)
{
	inode_put(last->dir);
	if (last->inode)
		inode_put(last->inode);
}

int path_find(const struct walk *w, const char *path, unsigned flags, struct inode **inode)
{
	struct last last;
	int err = path_last(w, path, flags & WALK_NOFOLLOW, &last);

	if (err)
		return err;
	if (!last.inode)
		err = -ENOENT;
	else if ((flags & WALK_DIRECTORY) && !inode_is_directory(last.inode))
		err = -ENOTDIR;
	if (!err)
		*inode = inode_get(last.inode);
	last_put(&last);
	return err;
}

char *path_of(const struct inode *inode, char *buf, bool *deleted)
{
	char *at = buf + PATH_BYTES - 1;
	const struct entry *e;

	*deleted = false;
	*at = '\0';
	if (inode == vfs_root)
		return strcpy(at - 1, "/");
	if (inode->kind >= INODE_PROC_DIRECTORY)
		return inode->proc.path ? strcpy(buf, inode->proc.path) : NULL;
	while (inode != vfs_root) {
		e = inode->names;
		if (!e) {
			*deleted = true;
			return at;
		}
		if (at - buf < e->bytes + 1)
			return NULL;
		at -= e->bytes;
		memcpy(at, e->name, e->bytes);
		*--at = '/';
		inode = e->directory;
	}
	return at;
}
