/*
 * report.c - opens, reads, writes and lists the texts of /proc and /sys                    floor 7
 *
 * Knows paths and positions; what a file says stands in report_system.c, report_thp.c, report_task.c
 * and report_frames.c. It touches no user memory: native_machine.c and the monitor copy.
 *
 * IDEA
 *   record   0        1              2        3
 *            |--------|--------------|--------|----      a file: what show() wrote, record after record
 *                     ^ text_pos  ^ pos                  text[] holds one record; a read that lies
 *                                                        before it starts again at record 0
 *   A file that changes while it is read in pieces is consistent within each record, as in Linux.
 *
 * LOCKS     none of its own: an open file belongs to whoever opened it.
 * LINUX     fs/seq_file.c, fs/proc/, fs/kernfs/.
 */
#include "report_nodes.h"
#include "lib/format.h"
#include "lib/string.h"
#include "mm/kmalloc.h"
#include <abi/errno.h>

#define TEXT_FIRST  4096u      /* a record's buffer at first */
#define TEXT_LIMIT  (1u << 20) /* no record is longer */
#define VALUE_BYTES 64u        /* the longest value of a setting, with its zero */

static const struct report_node *const tables[] = {report_system_nodes, report_numa_nodes,
	report_frame_nodes, report_thp_nodes, report_size_nodes, report_balancing_nodes,
	report_compact_nodes};

#define for_each_node(n)                                                                           \
	for (usize n##_t = 0; n##_t < ARRAY_SIZE(tables); n##_t++)                                 \
		for (const struct report_node *n = tables[n##_t]; n->path; n++)

/* --- from a path to a node ---------------------------------------------------------------- */

/* The path below "folder/", or NULL when path does not lie there. */
static const char *below(const char *path, const char *folder)
{
	usize n = strlen(folder);

	if (strncmp(path, folder, n) || path[n] != '/')
		return NULL;
	return path + n + 1;
}

static const struct report_node *find_in(const struct report_node *table, const char *path)
{
	for (const struct report_node *n = table; n->path; n++)
		if (!strcmp(n->path, path))
			return n;
	return NULL;
}

static bool is_system_folder(const char *path)
{
	if (!strcmp(path, "/proc") || !strcmp(path, "/sys"))
		return true;
	for_each_node(n) if (below(n->path, path)) return true;
	return false;
}

/*
 * Splits /proc/PID/name and /proc/self/name: *task gets a reference, *name points behind the slash or
 * at an empty string. 0, or -ENOENT when this is no path of a task.
 */
static int find_task(const char *path, struct task *self, struct task **task, const char **name)
{
	const char *rest = below(path, "/proc");
	u64 pid = 0;

	if (!rest)
		return -ENOENT;
	if (!strncmp(rest, "self", 4) && (!rest[4] || rest[4] == '/')) {
		pid = self ? self->pid : 0;
		rest += 4;
	} else {
		for (; *rest >= '0' && *rest <= '9' && pid < 100000000; rest++)
			pid = pid * 10 + (u64)(*rest - '0');
	}
	if (pid == 0 || (*rest && *rest != '/'))
		return -ENOENT;
	*name = *rest ? rest + 1 : rest;
	*task = task_find((u32)pid);
	return *task ? 0 : -ENOENT;
}

/* A path without slashes at its end and without doubled ones; false: too long or not absolute. */
static bool path_clean(const char *path, char *clean, usize size)
{
	usize n = 0;

	if (path[0] != '/')
		return false;
	for (; *path; path++) {
		if (path[0] == '/' && (path[1] == '/' || !path[1]))
			continue;
		if (n + 1 >= size)
			return false;
		clean[n++] = *path;
	}
	clean[n] = '\0';
	return true;
}

#define PATH_BYTES 128

/* A clean path of no task: 0, -EISDIR or -ENOENT. */
static int find_system(const char *clean, const struct report_node **node)
{
	for_each_node(n)
	{
		if (!strcmp(n->path, clean)) {
			*node = n;
			return 0;
		}
	}
	return is_system_folder(clean) || !*clean ? -EISDIR : -ENOENT;
}

static int resolve(
	const char *path, struct task *self, const struct report_node **node, struct task **task)
{
	char clean[PATH_BYTES];
	const char *name;
	int err;

	*task = NULL;
	if (!path_clean(path, clean, sizeof(clean)))
		return -ENOENT;
	err = find_system(clean, node);
	if (err != -ENOENT)
		return err;
	if (find_task(clean, self, task, &name))
		return -ENOENT;
	*node = *name ? find_in(report_task_nodes, name) : NULL;
	if (*node)
		return 0;
	task_put(*task);
	*task = NULL;
	return *name ? -ENOENT : -EISDIR;
}

int report_open(const char *path, struct task *self, bool write, struct report_file *f)
{
	int err;

	memset(f, 0, sizeof(*f));
	err = resolve(path, self, &f->node, &f->task);
	if (err)
		return err;
	if (write && !f->node->store) {
		report_close(f);
		return -EACCES;
	}
	return 0;
}

/* report_close - drop what an open file holds; the struct may be reused afterwards. */
void report_close(struct report_file *f)
{
	if (f->task)
		task_put(f->task);
	kfree(f->text);
	memset(f, 0, sizeof(*f));
}

/* --- reading ------------------------------------------------------------------------------- */

/* The sink of a record: an open file's buffer. Beyond its end it only counts. */
static void text_put(void *ctx, const char *s, usize len)
{
	struct report_file *f = ctx;

	if (f->used < f->size)
		memcpy(f->text + f->used, s, MIN(len, f->size - f->used));
	f->used += len;
}

static bool text_grow(struct report_file *f, usize size)
{
	char *text = size <= TEXT_LIMIT ? kmalloc(size) : NULL;

	if (!text)
		return false;
	kfree(f->text);
	f->text = text;
	f->size = size;
	return true;
}

/* Replaces the record in text[] by the next one. False: no memory. At the end sets `ended`. */
static bool next_record(struct report_file *f)
{
	struct report_out out = {.put = text_put, .ctx = f, .node = f->node};
	u64 cursor = f->cursor;

	if (!f->text && !text_grow(f, TEXT_FIRST))
		return false;
	f->text_pos += f->used;
	for (;;) {
		f->used = 0;
		f->ended = !f->node->show(&out, f->task, &f->cursor);
		if (f->used <= f->size)
			return true;
		f->cursor = cursor; /* it did not fit: once more, with room for it and for growth */
		if (!text_grow(f, ALIGN_UP(f->used + f->used / 4, TEXT_FIRST))) {
			f->used = 0;
			return false;
		}
	}
}

static void rewind_file(struct report_file *f)
{
	f->cursor = f->text_pos = 0;
	f->used = 0;
	f->ended = false;
}

s64 report_read(struct report_file *f, void *buf, usize len, u64 pos)
{
	usize done = 0;

	if (f->node->read_at)
		return f->node->read_at(f->task, pos, buf, len);
	if (!f->node->show) /* opened for reading, which its mode does not forbid to root */
		return -EINVAL;
	if (pos < f->text_pos || (pos == 0 && f->ended))
		rewind_file(f);
	while (done < len) {
		u64 skip = pos - f->text_pos;

		if (skip < f->used) {
			usize n = MIN(len - done, f->used - skip);

			memcpy((char *)buf + done, f->text + skip, n);
			done += n;
			pos += n;
		} else if (f->ended) {
			break;
		} else if (!next_record(f)) {
			return done ? (s64)done : -ENOMEM;
		}
	}
	return (s64)done;
}

int report_show(const char *path, struct task *self, bool lock_free_only, struct report_out *out)
{
	const struct report_node *node;
	struct task *task;
	u64 cursor = 0;
	int err;

	/* Finding a file of a task takes the tasks' lock. */
	if (lock_free_only && find_system(path, &node) == -ENOENT)
		return below(path, "/proc") ? -EAGAIN : -ENOENT;
	err = resolve(path, self, &node, &task);
	if (err)
		return err;
	if (!node->show)
		err = -EINVAL;
	else if (lock_free_only && !(node->flags & REPORT_LOCK_FREE))
		err = -EAGAIN;
	out->node = node;
	out->lock_free = lock_free_only;
	while (!err && node->show(out, task, &cursor))
		;
	if (task)
		task_put(task);
	return err;
}

/* --- writing ------------------------------------------------------------------------------- */

int report_write(struct report_file *f, const char *text, usize len)
{
	char value[VALUE_BYTES];

	if (!f->node->store)
		return -EACCES;
	if (len && text[len - 1] == '\n')
		len--;
	if (len >= sizeof(value) || memchr(text, 0, len))
		return -EINVAL;
	memcpy(value, text, len);
	value[len] = '\0';
	return f->node->store(f->task, value);
}

int report_set(const char *path, const char *text)
{
	struct report_file f;
	int err = report_open(path, NULL, true, &f);

	if (err)
		return err;
	err = report_write(&f, text, strlen(text));
	report_close(&f);
	return err;
}

/* --- listing ------------------------------------------------------------------------------- */

struct listing {
	void (*fn)(void *ctx, const char *name, bool folder, u16 mode);
	void *ctx;
};

/* Names directly below `path`; a folder is told once, because its files stand together. */
static void list_nodes(const char *path, struct listing *l)
{
	char name[PATH_BYTES], last[PATH_BYTES] = "";

	for_each_node(n)
	{
		const char *rest = below(n->path, path);
		const char *slash = rest ? strchr(rest, '/') : NULL;

		if (!rest)
			continue;
		strscpy(name, rest, slash ? (usize)(slash - rest) + 1 : sizeof(name));
		if (strcmp(name, last))
			l->fn(l->ctx, name, slash, slash ? 0555 : n->mode);
		strscpy(last, name, sizeof(last));
	}
}

/* The smallest pid above `last_pid`, or 0. The table is locked while the callback runs. */
struct next_pid {
	u32 above, found;
};

static bool next_pid_look(struct task *t, void *ctx)
{
	struct next_pid *n = ctx;

	if (t->pid > n->above && (!n->found || t->pid < n->found))
		n->found = t->pid;
	return true;
}

static void list_tasks(struct listing *l)
{
	struct next_pid n = {0, 0};
	char name[16];

	for (;;) {
		n.found = 0;
		task_for_each(next_pid_look, &n);
		if (!n.found)
			return;
		format(name, sizeof(name), "%u", n.found);
		l->fn(l->ctx, name, true, 0555);
		n.above = n.found;
	}
}

int report_list(const char *path, struct task *self,
	void (*fn)(void *ctx, const char *name, bool folder, u16 mode), void *ctx)
{
	struct listing l = {fn, ctx};
	char clean[PATH_BYTES];
	const struct report_node *node;
	struct task *task;
	const char *name;
	int err = resolve(path, self, &node, &task);

	if (task)
		task_put(task);
	if (err == 0)
		return -ENOTDIR;
	if (err != -EISDIR || !path_clean(path, clean, sizeof(clean)))
		return err;
	if (!*clean) {
		fn(ctx, "proc", true, 0555);
		fn(ctx, "sys", true, 0555);
	} else if (find_task(clean, self, &task, &name) == 0) {
		task_put(task);
		for (const struct report_node *n = report_task_nodes; n->path; n++)
			fn(ctx, n->path, false, n->mode);
	} else {
		if (!strcmp(clean, "/proc")) {
			list_tasks(&l);
			if (self)
				fn(ctx, "self", true, 0555);
		}
		list_nodes(clean, &l);
	}
	return 0;
}
