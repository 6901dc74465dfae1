/*
 * report.h - the texts of /proc and /sys: one writer for the monitor and for ring 3.          floor 7
 *
 * A file is a sequence of records (one area of smaps, one cache of slabinfo, the whole of vmstat). A
 * reader that comes back for more goes on at the record it had reached, so a long file costs the same
 * in small pieces as in one, and no file is ever held in memory as a whole.
 *
 *	struct report_file f;
 *	if (report_open(path, task, false, &f) == 0) {
 *		while ((n = report_read(&f, buf, sizeof(buf), pos)) > 0)
 *			pos += n;
 *		report_close(&f);
 *	}
 */
#ifndef REPORT_H
#define REPORT_H

#include "lib/types.h"
#include "task.h"

/* Where text goes: bytes, in order, never a terminating zero. */
struct report_out {
	void (*put)(void *ctx, const char *s, usize len);
	void *ctx;
	const struct report_node
		*node;  /* set by report.c: which file, for a function that shows several */
	bool lock_free; /* set by report.c: the machine is stopped, what needs a lock is left out */
};
void report_puts(struct report_out *out, const char *s);
void report_printf(struct report_out *out, const char *fmt, ...) __printf(2, 3);

#define REPORT_LOCK_FREE 0x1 /* takes no lock and does not sleep: readable in the stopped monitor */

struct report_node {
	const char *path; /* "/proc/vmstat"; for a file of a task the name below /proc/PID/ */
	u16 mode;         /* permission bits as ls shows them */
	u16 flags;        /* REPORT_* */
	/* A text (NULL: none, as for a file only written): write the record at *cursor (0: the first) and move the cursor; false: there was none. */
	bool (*show)(struct report_out *out, struct task *task, u64 *cursor);
	/* A binary file: up to len bytes from pos; 0 at the end, -EINVAL when not on whole 8-byte words. */
	s64 (*read_at)(struct task *task, u64 pos, void *buf, usize len);
	/* text is terminated, without its last newline. 0, -EINVAL: not a value, nothing changed. */
	int (*store)(struct task *task, const char *text);
};

/* An open file. Everything below task is report_read's own. */
struct report_file {
	const struct report_node *node;
	struct task *task; /* with a reference; NULL for files of no task */
	u64 cursor;        /* the next record to be written */
	bool ended;        /* there is no further record */
	char *text;        /* what was written of the records so far and not yet dropped */
	usize size, used;  /* of text */
	u64 text_pos;      /* the position in the file of text[0] */
};

/*
 * report_open - find a file of /proc or /sys.
 *
 *   self     whose files /proc/self/... are; NULL: /proc/self does not exist
 *   locks    none held; takes the tasks' lock for /proc/PID
 *   returns  0, -ENOENT (also: no such task), -EISDIR, -EACCES (write to a read-only file)
 */
int __must_check report_open(
	const char *path, struct task *self, bool write, struct report_file *f);
void report_close(struct report_file *f);

/*
 * report_read - up to len bytes from position pos into kernel memory.
 *
 *   locks    none held; may sleep; takes mm->lock for reading for files of a task
 *   returns  bytes, 0 at the end, -ENOMEM, -EINVAL (a binary file not read in whole 8-byte words, a file
 *            that can only be written)
 */
s64 __must_check report_read(struct report_file *f, void *buf, usize len, u64 pos);

/*
 * report_write - change a setting: one call, one whole value (a last newline is ignored).
 *
 *   returns  0, -EINVAL (not a value: nothing changed), -EACCES (read-only), -ERANGE
 */
int __must_check report_write(struct report_file *f, const char *text, usize len);

/*
 * report_show - a whole text to a sink, record by record, without memory of its own.
 *
 *   returns  0, or report_open's errors; -EINVAL for a binary file; -EAGAIN when lock_free_only and it is not
 */
int report_show(const char *path, struct task *self, bool lock_free_only, struct report_out *out);

void thp_param_init(const char *cmdline); /* start-up: thp_anon= */
void report_numa_init(void);              /* start-up, when the nodes are known */

/* report_set - report_open, report_write and report_close in one, for the monitor and start-up. */
int report_set(const char *path, const char *text);

/*
 * report_list - the entries of a folder of /proc or /sys, in the order ls shows them.
 *
 *   fn       name without a slash; is it a folder; its permission bits
 *   returns  0, -ENOENT, -ENOTDIR (it is a file)
 */
int report_list(const char *path, struct task *self,
	void (*fn)(void *ctx, const char *name, bool folder, u16 mode), void *ctx);

/*
 * report_space - the space of a task, held and with mm->lock taken for reading; NULL: it has none any more.
 * report_space_done() undoes both.
 */
struct mm *report_space(struct task *task);
void report_space_done(struct mm *mm);

/*
 * What smaps counts over a range of one space, in bytes; pss in bytes << REPORT_PSS_SHIFT.
 *   locks    takes pt_lock per 2 MiB; the caller holds mm->lock (read)
 */
#define REPORT_PSS_SHIFT 12
struct report_usage {
	u64 rss, pss, pss_dirty, pss_locked, pss_shared;
	u64 shared_clean, shared_dirty, private_clean, private_dirty;
	u64 referenced, anonymous, lazyfree, anon_huge, shared_huge;
};
void report_usage(struct vma *v, struct report_usage *u);
bool report_thp_eligible(const struct vma *v); /* THPeligible of smaps; mm->lock held */

/* n entries of pagemap from addr (page-aligned, below USER_END) into kernel memory; the same locks. */
void report_pagemap_range(struct mm *mm, vaddr_t addr, u64 n, u64 *out);

/* What kpageflags and kpagecount say of one frame; no lock. */
u64 report_page_flags(pfn_t pfn);
u64 report_page_count(pfn_t pfn);
/* What pagemap says of one address; mm->lock held (read), takes pt_lock. */
u64 report_pagemap_entry(struct mm *mm, vaddr_t addr);

#endif
