/*
 * procfs.c - /proc and /sys: which names there are, and where links lead.                         ring 3
 *
 * The kernel writes the texts (its report.c) and knows its names; here are those that hang on processes: fd/, exe, cwd,
 * task/, mem, mounts. Inodes are made when a path is walked and go when nobody holds them: nothing is kept here. What is
 * read and written behind a name is procfs_file.c's.
 *
 * IDEA
 *   path of an inode       asked of the kernel
 *   /proc/12/smaps         /proc/self/smaps, with the handle of process 12's task
 *   /proc/1/status         the same path: a task that is no process of ours (a server)
 *   /sys/kernel/mm/...     the same path
 *
 *   A name exists if it is in a table of ours, is the number of a process, or if the kernel opens it: as a file, or
 *   -EISDIR. A folder lists the three in this order, each name once.
 *
 * LINUX  fs/proc/, fs/kernfs/
 */
#include "procfs_file.h"
#include "calls.h"
#include "file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Names that are ours, by the kind of folder they are in. */
struct own_name {
	const char *name;
	enum proc_special special;
	enum inode_kind kind;
	uint32_t mode;
};

static const struct own_name proc_names[] = {
	{"self", PROC_SELF, INODE_PROC_LINK, 0777},
	{"thread-self", PROC_THREAD_SELF, INODE_PROC_LINK, 0777},
	{"mounts", PROC_MOUNTS_LINK, INODE_PROC_LINK, 0777},
	{"filesystems", PROC_FILESYSTEMS, INODE_PROC_TEXT, 0444},
	{"loadavg", PROC_LOADAVG, INODE_PROC_TEXT, 0444},
	{"sysrq-trigger", PROC_SYSRQ, INODE_PROC_TEXT, 0200},
	{NULL, 0, 0, 0},
};

#define PROCESS_NAMES                                                                              \
	{"exe", PROC_EXE, INODE_PROC_LINK, 0777}, {"cwd", PROC_CWD, INODE_PROC_LINK, 0777},        \
		{"root", PROC_ROOT, INODE_PROC_LINK, 0777},                                        \
		{"fd", PROC_FDS, INODE_PROC_DIRECTORY, 0500},                                      \
		{"mem", PROC_MEMORY, INODE_PROC_MEMORY, 0600},                                     \
		{"mounts", PROC_MOUNTS, INODE_PROC_TEXT, 0444},                                    \
	{                                                                                          \
		"mountinfo", PROC_MOUNTINFO, INODE_PROC_TEXT, 0444                                 \
	}

/* A thread's folder has what its process's has, but no threads. */
static const struct own_name thread_names[] = {PROCESS_NAMES, {NULL, 0, 0, 0}};
static const struct own_name process_names[] = {
	PROCESS_NAMES, {"task", PROC_TASKS, INODE_PROC_DIRECTORY, 0555}, {NULL, 0, 0, 0}};

static const struct own_name *names_of(const struct proc_place *place)
{
	return place->special == PROC_TASK ? thread_names : process_names;
}

/* --- inodes --------------------------------------------------------------------------------- */

/* The same place has the same number each time it is looked up. */
static uint64_t path_number(const char *path)
{
	uint64_t hash = 14695981039346656037ull;

	while (*path)
		hash = (hash ^ (uint8_t)*path++) * 1099511628211ull;
	return hash >> 1;
}

static struct inode *place_new(enum inode_kind kind, uint32_t permissions, const char *path)
{
	static const uint32_t formats[] = {
		[INODE_PROC_DIRECTORY] = S_IFDIR,
		[INODE_PROC_TEXT] = S_IFREG,
		[INODE_PROC_LINK] = S_IFLNK,
		[INODE_PROC_MEMORY] = S_IFREG,
	};
	struct inode *inode = inode_new(kind, formats[kind] | permissions);

	if (!inode)
		return NULL;
	inode->proc.path = strdup(path);
	if (!inode->proc.path) {
		inode_put(inode);
		return NULL;
	}
	inode->ino = path_number(path);
	inode->nlink = kind == INODE_PROC_DIRECTORY ? 2 : 1;
	return inode;
}

struct inode *proc_root(const char *path)
{
	return place_new(INODE_PROC_DIRECTORY, 0555, path);
}

static bool is_task_folder(const struct proc_place *place)
{
	return place->special == PROC_TASK || (place->special == PROC_KERNEL && place->pid);
}

bool proc_kernel_path(const struct proc_place *place, char *to, size_t size, uint32_t *task)
{
	const char *rest = place->path;
	struct process *p;

	*task = HANDLE_NONE;
	if (!place->pid) {
		snprintf(to, size, "%s", place->path);
		return true;
	}
	p = process_find((int)place->pid);
	if (!p || !p->task)
		return false;
	*task = p->task;
	/* Behind "/proc/PID", or "/proc/PID/task/TID". */
	for (int steps = strstr(rest, "/task/") ? 4 : 2; steps && rest; steps--)
		rest = strchr(rest + 1, '/');
	snprintf(to, size, "/proc/self%s", rest ? rest : "");
	return true;
}

/* --- looking up ----------------------------------------------------------------------------- */

static int child_path(const struct inode *dir, const char *name, size_t bytes, char *path)
{
	int n = snprintf(path, PATH_BYTES, "%s/%.*s", dir->proc.path, (int)bytes, name);

	return n < PATH_BYTES ? 0 : -ENOENT;
}

/* A positive number of digits only; 0: it is none. */
static uint32_t number_of(const char *name, size_t bytes, bool zero_too, bool *is_number)
{
	uint32_t n = 0;

	*is_number = false;
	if (!bytes || bytes > 9 || (name[0] == '0' && (bytes > 1 || !zero_too)))
		return 0;
	for (size_t i = 0; i < bytes; i++) {
		if (name[i] < '0' || name[i] > '9')
			return 0;
		n = n * 10 + (uint32_t)(name[i] - '0');
	}
	*is_number = true;
	return n;
}

static int make(const struct inode *dir, const char *name, size_t bytes, enum inode_kind kind,
	uint32_t mode, enum proc_special special, struct inode **child)
{
	static char path[PATH_BYTES];
	int err = child_path(dir, name, bytes, path);

	if (err)
		return err;
	*child = place_new(kind, mode, path);
	if (!*child)
		return -ENOMEM;
	(*child)->proc.special = special;
	(*child)->proc.pid = dir->proc.pid;
	return 0;
}

static int look_up_own(const struct own_name *names, const struct inode *dir, const char *name,
	size_t bytes, struct inode **child)
{
	for (; names->name; names++)
		if (strlen(names->name) == bytes && !memcmp(names->name, name, bytes))
			return make(
				dir, name, bytes, names->kind, names->mode, names->special, child);
	return -ENOENT;
}

/* The kernel says what a name is by opening it: to write, which tells whether it is a setting. */
static int look_up_kernel(
	const struct inode *dir, const char *name, size_t bytes, struct inode **child)
{
	char path[256];
	uint32_t task;
	long h;
	int err = make(dir, name, bytes, INODE_PROC_TEXT, 0444, PROC_KERNEL, child);

	if (err)
		return err;
	h = -ENOENT;
	if (proc_kernel_path(&(*child)->proc, path, sizeof(path), &task))
		h = report_open(SLOT_MACHINE, path, task, true);
	if (h > 0) {
		handle_close((uint32_t)h);
		(*child)->mode = S_IFREG | 0644;
		return 0;
	}
	if (h == -EACCES)
		return 0;
	if (h == -EISDIR) {
		(*child)->mode = S_IFDIR | 0555;
		(*child)->kind = INODE_PROC_DIRECTORY;
		(*child)->nlink = 2;
		return 0;
	}
	inode_put(*child);
	return h == -ENOMEM || h == -EMFILE ? -ENOMEM : -ENOENT;
}

static int look_up_process(
	const struct inode *dir, const char *name, size_t bytes, struct inode **child)
{
	bool is_number;
	uint32_t pid = number_of(name, bytes, false, &is_number);
	int err;

	if (!is_number || !process_find((int)pid))
		return -ENOENT;
	err = make(dir, name, bytes, INODE_PROC_DIRECTORY, 0555, PROC_KERNEL, child);
	if (!err)
		(*child)->proc.pid = pid;
	return err;
}

static int look_up_fd(const struct inode *dir, const char *name, size_t bytes, struct inode **child)
{
	const struct process *p = process_find((int)dir->proc.pid);
	bool is_number;
	uint32_t fd = number_of(name, bytes, true, &is_number);
	int err;

	if (!is_number || !p || fd > UINT16_MAX || !fd_file_or_path(p, fd))
		return -ENOENT;
	err = make(dir, name, bytes, INODE_PROC_LINK, 0700, PROC_FD, child);
	if (!err)
		(*child)->proc.number = (uint16_t)fd;
	return err;
}

static int look_up_thread(
	const struct inode *dir, const char *name, size_t bytes, struct inode **child)
{
	bool is_number;
	uint32_t tid = number_of(name, bytes, false, &is_number);
	const struct thread *t = is_number ? thread_find((int)tid) : NULL;

	if (!t || t->process->pid != (int)dir->proc.pid)
		return -ENOENT;
	return make(dir, name, bytes, INODE_PROC_DIRECTORY, 0555, PROC_TASK, child);
}

static int look_up_of_process(
	const struct inode *dir, const char *name, size_t bytes, struct inode **child)
{
	const struct process *p = process_find((int)dir->proc.pid);
	int err;

	if (!p)
		return -ENOENT;
	err = look_up_own(names_of(&dir->proc), dir, name, bytes, child);
	if (err != -ENOENT)
		return err;
	if (!p->task && bytes == 4 && !memcmp(name, "stat", 4))
		return make(dir, name, bytes, INODE_PROC_TEXT, 0444, PROC_ZOMBIE, child);
	return look_up_kernel(dir, name, bytes, child);
}

int proc_lookup(struct process *self, struct inode *dir, const char *name, size_t bytes,
	struct inode **child)
{
	int err;

	(void)self;
	if (dir->proc.special == PROC_FDS)
		return look_up_fd(dir, name, bytes, child);
	if (dir->proc.special == PROC_TASKS)
		return look_up_thread(dir, name, bytes, child);
	if (is_task_folder(&dir->proc))
		return look_up_of_process(dir, name, bytes, child);
	if (!strcmp(dir->proc.path, "/proc")) {
		err = look_up_own(proc_names, dir, name, bytes, child);
		if (err == -ENOENT)
			err = look_up_process(dir, name, bytes, child);
		if (err != -ENOENT)
			return err;
	}
	return look_up_kernel(dir, name, bytes, child);
}

int proc_parent(struct inode *dir, struct inode **parent)
{
	static char path[PATH_BYTES];
	const struct walk w = {NULL, vfs_root};
	char *slash;

	strcpy(path, dir->proc.path);
	slash = strrchr(path, '/');
	*slash = '\0';
	*parent = NULL;
	return path_find(&w, slash == path ? "/" : path, 0, parent);
}

/* --- links ---------------------------------------------------------------------------------- */

/* What stands behind a descriptor's name; for kinds without a path as Linux calls them. */
static void inode_text(const struct inode *inode, char *text)
{
	static char buffer[PATH_BYTES];
	bool deleted;
	const char *path;

	if (inode->kind == INODE_COUNTER) {
		strcpy(text, "anon_inode:[eventfd]");
		return;
	}
	if (inode->kind == INODE_FIFO && !inode->names) {
		snprintf(text, PATH_BYTES, "pipe:[%llu]", (unsigned long long)inode->ino);
		return;
	}
	path = path_of(inode, buffer, &deleted);
	if (path && !deleted)
		strcpy(text, path);
	else
		snprintf(text, PATH_BYTES, "/inode:%llu (deleted)", (unsigned long long)inode->ino);
}

static int link_to(struct inode *inode, char *text, struct inode **jump)
{
	if (!inode)
		return -ENOENT;
	inode_text(inode, text);
	if (jump)
		*jump = inode_get(inode);
	return 0;
}

int proc_follow(struct process *self, const struct inode *link, char *text, struct inode **jump)
{
	const struct process *p = process_find((int)link->proc.pid);
	struct file *f;

	if (jump)
		*jump = NULL;
	switch (link->proc.special) {
	case PROC_SELF:
	case PROC_THREAD_SELF:
		if (!self)
			return -ENOENT;
		snprintf(text, PATH_BYTES, link->proc.special == PROC_SELF ? "%d" : "%d/task/%d",
			self->pid, self->pid);
		return 0;
	case PROC_MOUNTS_LINK:
		strcpy(text, "self/mounts");
		return 0;
	case PROC_EXE:
		return link_to(p && p->exe ? p->exe->inode : NULL, text, jump);
	case PROC_CWD:
		return link_to(p && p->fs ? p->fs->folder : NULL, text, jump);
	case PROC_ROOT:
		return link_to(p ? vfs_root : NULL, text, jump);
	case PROC_FD:
		f = p ? fd_file_or_path(p, link->proc.number) : NULL;
		return link_to(f ? f->inode : NULL, text, jump);
	}
	return -EINVAL;
}

/* --- folders -------------------------------------------------------------------------------- */

/* Names with a mark in front: '/' a folder, '@' a link, ' ' a file; each with its zero. */
struct names {
	char *text;
	size_t used, size;
	bool failed;
};

static void names_add(struct names *names, char mark, const char *name)
{
	size_t need = names->used + strlen(name) + 2;

	if (need > names->size) {
		size_t size = 2 * need + 256;
		char *text = realloc(names->text, size);

		if (!text) {
			names->failed = true;
			return;
		}
		names->text = text;
		names->size = size;
	}
	names->text[names->used] = mark;
	strcpy(names->text + names->used + 1, name);
	names->used = need;
}

static bool names_have(const struct names *names, const char *name)
{
	for (size_t at = 0; at < names->used; at += strlen(names->text + at) + 1)
		if (!strcmp(names->text + at + 1, name))
			return true;
	return false;
}

static void names_add_own(struct names *names, const struct own_name *own)
{
	for (; own->name; own++)
		names_add(names,
			own->kind == INODE_PROC_DIRECTORY ? '/'
			: own->kind == INODE_PROC_LINK    ? '@'
							  : ' ',
			own->name);
}

static void names_add_kernel(struct names *names, const struct proc_place *place)
{
	size_t size = sizeof(proc_buffer);
	char path[256], *at = (char *)proc_buffer, *end;
	uint32_t task;
	long n;

	if (!proc_kernel_path(place, path, sizeof(path), &task))
		return;
	n = report_list(SLOT_MACHINE, path, task, at, size);
	if (n < 0)
		return;
	for (end = at + n; at < end; at += strlen(at) + 1) {
		bool folder = at[0] == '/', is_number;
		const char *name = at + folder;

		(void)number_of(name, strlen(name), false, &is_number);
		if (is_number && !strcmp(place->path, "/proc") && process_find(atoi(name)))
			continue;
		if (!is_number && names_have(names, name))
			continue;
		names_add(names, folder ? '/' : ' ', name);
	}
}

static void names_add_numbers(struct names *names, const struct proc_place *place)
{
	struct process *p = process_find((int)place->pid);
	char text[16];

	if (place->special == PROC_FDS) {
		for (uint32_t fd = 0; p && p->files && fd < p->files->nr; fd++) {
			snprintf(text, sizeof(text), "%u", fd);
			if (p->files->slots[fd].file)
				names_add(names, '@', text);
		}
	} else if (place->special == PROC_TASKS && p) {
		list_each(l, &p->threads)
		{
			snprintf(text, sizeof(text), "%d",
				container_of(l, struct thread, in_process)->tid);
			names_add(names, '/', text);
		}
	} else if (!strcmp(place->path, "/proc")) {
		list_each(l, &processes)
		{
			snprintf(text, sizeof(text), "%d",
				container_of(l, struct process, all)->pid);
			names_add(names, '/', text);
		}
	}
}

/* The names of a folder as they are now. */
static long names_collect(struct file *f)
{
	const struct proc_place *place = &f->inode->proc;
	bool root = !strcmp(place->path, "/proc");
	struct names names = {0};

	names_add_numbers(&names, place);
	if (root)
		names_add_own(&names, proc_names);
	else if (is_task_folder(place))
		names_add_own(&names, names_of(place));
	if (place->special == PROC_KERNEL || place->special == PROC_TASK)
		names_add_kernel(&names, place);
	free(f->proc.text);
	f->proc.text = names.text;
	f->proc.bytes = (uint32_t)names.used;
	return names.failed ? -ENOMEM : 0;
}

static uint32_t mode_of_mark(char mark)
{
	return mark == '/' ? S_IFDIR : mark == '@' ? S_IFLNK : S_IFREG;
}

static uint64_t child_number(const struct inode *dir, const char *name)
{
	static char path[PATH_BYTES];

	return child_path(dir, name, strlen(name), path) ? 1 : path_number(path);
}

/* The names are taken once, at position 0: whoever reads on sees the same list, whatever comes and goes. */
static long folder_list(struct file *f, struct listing *l)
{
	long err = f->pos == 0 || !f->proc.text ? names_collect(f) : 0;

	if (err)
		return err;
	for (; f->pos < 2; f->pos++)
		if (!listing_add(l, "..", f->pos + 1, f->inode->ino, S_IFDIR, f->pos + 1))
			return 0;
	while (f->pos - 2 < f->proc.bytes) {
		const char *at = f->proc.text + (f->pos - 2), *name = at + 1;
		uint64_t next = f->pos + strlen(at) + 1;

		if (!listing_add(l, name, strlen(name), child_number(f->inode, name),
			    mode_of_mark(*at), next))
			break;
		f->pos = next;
	}
	return 0;
}

static long folder_read(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos)
{
	(void)c;
	(void)f;
	(void)at;
	(void)bytes;
	(void)pos;
	return -EISDIR;
}

const struct file_ops proc_folder_ops = {
	.read = folder_read,
	.poll = proc_poll,
	.list = folder_list,
	.release = proc_release,
	.seeks = true,
};
