/*
 * vfs.h - inodes, names, open files: what the files half of the personality is made of.           ring 3
 *
 *   descriptor --> file (position, flags) --> inode (what it is, its bytes) <-- entry (a name) <-- directory inode
 *
 * LIFETIMES  An inode lives while somebody refers to it: an open file, a working directory, a walk in progress, or a
 *            name. An open file lives while a descriptor does. The server has one thread: no locks.
 */
#ifndef VFS_H
#define VFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

struct call;
struct entry;
struct inode;
struct pipe;
struct process;

#define NAME_BYTES       255  /* of one name */
#define PATH_BYTES       4096 /* of a path, with its zero */
#define LINKS_MAX        40   /* symbolic links followed in one walk */
#define FILE_PAGE        4096u
#define RW_MAX           0x7ffff000ul /* bytes of one read or write, as in Linux */
#define KERNEL_O_TMPFILE 020200000    /* O_TMPFILE with O_DIRECTORY */

/* --- contents (content.c) ------------------------------------------------------------------ */

enum content_kind {
	CONTENT_INITRD, /* bytes of the initrd, or nothing at all: never written */
	CONTENT_HEAP,   /* a small file of our own */
	CONTENT_OBJECT, /* a memory object of our own, mapped at data */
};

struct content {
	enum content_kind kind;
	uint8_t *data;         /* contiguous; INITRD: read-only */
	uint64_t initrd_bytes; /* INITRD: how many there are */
	uint64_t capacity;     /* HEAP: allocated; OBJECT: size of the window */
	uint64_t object_bytes; /* OBJECT: size of the object, in whole pages */
	uint8_t *
		touched; /* OBJECT: a bit for each CHUNK that may hold something else than zeroes */
	uint32_t memory; /* OBJECT: its handle; INITRD: the pager's object, once asked for */
	bool shared;     /* OBJECT: mapped somewhere, so any chunk may have been touched */
};

/*
 * content_at - where the bytes from pos on lie.
 *
 *   n        in: wanted; out: how many are contiguous there (at least 1 when pos is below the size)
 *   returns  for reading only. Untouched parts of a sparse file read from a page of zeroes
 */
const uint8_t *content_at(struct inode *inode, uint64_t pos, size_t *n);

/*
 * content_prepare - make [pos, pos + n) writable. The size does not change: content_grown() says so afterwards.
 *
 *   returns  0 and where it is; -EFBIG, -ENOSPC, -ENOMEM
 *   after    what lies beyond the file's size stays zero, unless the caller writes there
 */
int content_prepare(struct inode *inode, uint64_t pos, size_t n, uint8_t **at);
void content_grown(struct inode *inode, uint64_t end);

int content_resize(struct inode *inode, uint64_t size);
int content_punch(struct inode *inode, uint64_t pos, uint64_t n);
/* Becomes CONTENT_OBJECT: to be mapped shared. 0, -errno */
int content_object(struct inode *inode);
uint64_t content_blocks(const struct inode *inode); /* of 512 bytes */
/* Next data or hole; size: none */
uint64_t content_seek(struct inode *inode, uint64_t pos, bool data);
void content_release(struct inode *inode);

/* --- inodes (inode.c) ---------------------------------------------------------------------- */

enum inode_kind {
	INODE_FILE,
	INODE_DIRECTORY,
	INODE_LINK,
	INODE_FIFO,
	INODE_DEVICE,
	INODE_COUNTER,        /* eventfd */
	INODE_PROC_DIRECTORY, /* a folder of /proc or /sys */
	INODE_PROC_TEXT,      /* a text there */
	INODE_PROC_LINK,
	INODE_PROC_MEMORY, /* /proc/PID/mem */
};

struct directory {
	struct entry **buckets; /* NULL while empty */
	uint32_t nr_buckets, nr;
	struct entry *first, *last; /* in the order they came: the order of getdents */
	uint64_t next_cookie;
};

/* A place in /proc or /sys. */
struct proc_place {
	char *path;       /* clean and absolute, never with "self" */
	uint32_t pid;     /* the process it is about; 0: none */
	uint16_t special; /* procfs_file.h: enum proc_special; 0: a text of the kernel's */
	uint16_t number;  /* of a descriptor */
};

struct inode {
	uint32_t refs;
	enum inode_kind kind;
	uint32_t mode; /* S_IFMT and permissions */
	uint32_t nlink;
	uint32_t uid, gid;
	uint64_t ino, rdev, size;
	struct timespec atime, mtime, ctime;
	struct entry *names; /* every name it has; a directory: one. Each holds a reference */
	union {
		struct content content;     /* FILE */
		struct directory directory; /* DIRECTORY */
		char *target;               /* LINK */
		struct pipe *pipe;          /* FIFO */
		struct proc_place proc;     /* PROC_* */
	};
};

/* A name in a directory. */
struct entry {
	struct entry *hash_next;       /* in its bucket */
	struct entry *next, *previous; /* in its directory */
	struct entry *name_next;       /* of its inode */
	struct inode *directory; /* it is in; holds no reference: a directory with entries stays */
	struct inode *inode;     /* it names; holds one */
	uint64_t cookie;         /* its place in getdents: d_off */
	uint32_t hash;
	uint8_t bytes;
	char name[];
};

struct inode *inode_new(enum inode_kind kind, uint32_t mode); /* one reference; NULL: no memory */
void inode_put(struct inode *inode);
static inline struct inode *inode_get(struct inode *inode)
{
	inode->refs++;
	return inode;
}
static inline bool inode_is_directory(const struct inode *inode)
{
	return S_ISDIR(inode->mode);
}

struct timespec vfs_now(void);
void inode_accessed(struct inode *inode); /* as Linux's relatime */
void inode_changed(struct inode *inode);  /* ctime */
void inode_modified(struct inode *inode); /* mtime and ctime */

/* --- directories in memory (ramfs.c) ------------------------------------------------------- */

extern struct inode *vfs_root;

/* The initrd becomes the tree; /proc, /sys, /dev, /tmp and /root are made. 0, -errno. */
int ramfs_init(const void *initrd, uint64_t bytes);
const uint8_t *ramfs_initrd(void); /* where it begins */

struct entry *directory_find(const struct inode *dir, const char *name, size_t bytes);
/* -ENOMEM, -EEXIST, -ENOENT (the directory itself was removed), -EMLINK */
int directory_add(struct inode *dir, const char *name, size_t bytes, struct inode *inode);
void directory_remove(struct entry *e); /* drops its reference */
/* The directory a directory is in; the root's is the root. NULL: it was removed. No reference. */
struct inode *directory_parent(const struct inode *dir);

int ramfs_rename(struct inode *from_dir, struct entry *from, struct inode *to_dir, const char *name,
	size_t bytes, bool no_replace);
int ramfs_exchange(struct entry *a, struct entry *b);

/* --- walking paths (path.c) ---------------------------------------------------------------- */

/* Where a walk begins and for whom. */
struct walk {
	struct process *process; /* whose /proc/self it is */
	struct inode *start;     /* of a relative path; no reference of its own */
};

#define WALK_NOFOLLOW  0x1u /* a symbolic link at the end is what is meant */
#define WALK_DIRECTORY 0x2u /* it must be a directory: -ENOTDIR */
#define WALK_NAME                                                                                  \
	0x4u /* path_last: the name itself is meant, a link too, even with a slash behind it */
#define WALK_CREATE 0x8u /* path_last: a slash at the end is the caller's business, not -ENOTDIR */

/*
 * path_find - the inode a path names.
 *
 *   returns  0 and the inode with a reference; -ENOENT, -ENOTDIR, -ELOOP, -ENAMETOOLONG, -ENOMEM
 */
int path_find(const struct walk *w, const char *path, unsigned flags, struct inode **inode);

/* The last step of a path, for those who make or remove a name. */
struct last {
	struct inode *dir;   /* with a reference */
	struct inode *inode; /* what has that name now, with a reference; NULL: nothing */
	size_t bytes;
	bool slash;   /* the path ended in '/': a directory is meant */
	bool special; /* the last step is ".", ".." or "/" itself: no name to make or remove */
	char name[NAME_BYTES + 1];
};

/*
 * path_last - the directory in which the last step of a path is, and that step.
 *
 *   flags    0: links at the end are followed (open with O_CREAT makes what a dangling link names); WALK_NOFOLLOW; WALK_NAME
 *   returns  0; as path_find, but that the last step is missing is no error. last_put() afterwards
 */
int path_last(const struct walk *w, const char *path, unsigned flags, struct last *last);
void last_put(struct last *last);

/*
 * path_of - the absolute path of an inode.
 *
 *   buf      PATH_BYTES bytes; the text begins at the address returned
 *   deleted  set when no name is left: then the text is "" for a directory
 *   returns  NULL: it has no path, or one that is too long
 */
char *path_of(const struct inode *inode, char *buf, bool *deleted);

#endif
