/*
 * io.c - read and write in all their forms.                                                       ring 3
 *
 * One loop (transfer) serves them all: it hands piece after piece to the file and counts in call.done, so that a call that
 * is run again, because it had to wait or its page had to come first, goes on where it was. So a long call is done in runs:
 * nobody waits for the whole of another's.
 *
 * LINUX  fs/read_write.c, fs/splice.c
 */
#include "calls.h"
#include "file.h"
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define COPY_MAX (1ul << 20) /* in one call from file to file: programs go on where it ended */
#define RUN_MAX  (1ul << 20) /* moved in one run of a call: then others are served */

static bool may_read(const struct file *f)
{
	return (f->flags & O_ACCMODE) != O_WRONLY;
}

static bool may_write(const struct file *f)
{
	return (f->flags & O_ACCMODE) != O_RDONLY;
}

static inline long move(
	struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos, bool writing)
{
	return writing ? f->ops->write(c, f, at, bytes, pos) : f->ops->read(c, f, at, bytes, pos);
}

/*
 * Moves the pieces, from where call.done says on. A read ends at the first piece that gives less than asked; a write goes on
 * until the file refuses.
 */
static long transfer(struct call *c, struct file *f, const struct iovec *piece, size_t nr,
	uint64_t *pos, bool writing)
{
	uint64_t skip = c->done, room = RUN_MAX, ask;
	long n;

	for (size_t i = 0; i < nr; i++) {
		uint64_t at = (uint64_t)piece[i].iov_base, left = piece[i].iov_len;

		if (skip >= left && (left || nr > 1)) { /* moved already, or empty */
			skip -= left;
			continue;
		}
		at += skip;
		left -= skip;
		skip = 0;
		do {
			if (!room)
				return call_yield(c);
			ask = left < room ? left : room;
			n = move(c, f, at, ask, pos, writing);
			if (n < 0)
				goto ended;
			c->done += (uint64_t)n;
			at += (uint64_t)n;
			left -= (uint64_t)n;
			room -= f->ops->slow ? room : (uint64_t)n;
		} while (left && n && (writing || (uint64_t)n == ask));
		if (left)
			break;
	}
	return (long)c->done;
ended:
	if (n == CALL_FAULT_IN || (n == CALL_WAIT && (writing || !c->done)) || n == CALL_RESTART)
		return n;
	return c->done ? (long)c->done : n;
}

static inline long transfer_one(
	struct call *c, struct file *f, uint64_t at, uint64_t bytes, uint64_t *pos, bool writing)
{
	struct iovec piece;

	if ((int64_t)bytes < 0)
		return -EINVAL;
	if (!c->done && bytes <= RUN_MAX) { /* nearly always this is all */
		long n = move(c, f, at, bytes, pos, writing);

		if (!writing || n <= 0 || (uint64_t)n == bytes)
			return n;
		c->done = (uint64_t)n;
	}
	piece = (struct iovec){(void *)at, bytes < RW_MAX ? bytes : RW_MAX};
	return transfer(c, f, &piece, 1, pos, writing);
}

/* The file of a descriptor, if it can be read or written: 0, -EBADF, -EINVAL. */
static long file_for(struct call *c, bool writing, struct file **f)
{
	*f = fd_file(call_process(c), c->arg[0]);
	if (!*f || !(writing ? may_write(*f) : may_read(*f)))
		return -EBADF;
	return (writing ? (*f)->ops->write != NULL : (*f)->ops->read != NULL) ? 0 : -EINVAL;
}

long sys_read(struct call *c)
{
	struct file *f;
	long err = file_for(c, false, &f);

	return err ? err : transfer_one(c, f, c->arg[1], c->arg[2], &f->pos, false);
}

long sys_write(struct call *c)
{
	struct file *f;
	long err = file_for(c, true, &f);

	return err ? err : transfer_one(c, f, c->arg[1], c->arg[2], &f->pos, true);
}

/* --- at a position ------------------------------------------------------------------------- */

static long at_position(struct call *c, bool writing)
{
	struct file *f;
	uint64_t pos = c->arg[3] + c->done;
	long err = file_for(c, writing, &f);

	if (err)
		return err;
	if ((int64_t)c->arg[3] < 0)
		return -EINVAL;
	if (!f->ops->seeks)
		return -ESPIPE;
	return transfer_one(c, f, c->arg[1], c->arg[2], &pos, writing);
}

long sys_pread64(struct call *c)
{
	return at_position(c, false);
}

long sys_pwrite64(struct call *c)
{
	return at_position(c, true);
}

/* --- in several pieces --------------------------------------------------------------------- */

static struct iovec pieces[IOV_MAX]; /* of the call that is being served */

static long pieces_in(struct call *c, uint64_t from, uint64_t nr)
{
	uint64_t total = 0;
	long err;

	if (nr > IOV_MAX)
		return -EINVAL;
	err = nr ? copy_in(c, pieces, from, nr * sizeof(pieces[0])) : 0;
	for (uint64_t i = 0; !err && i < nr; i++) {
		if ((int64_t)pieces[i].iov_len < 0)
			return -EINVAL;
		if (pieces[i].iov_len > RW_MAX - total)
			pieces[i].iov_len = RW_MAX - total;
		total += pieces[i].iov_len;
	}
	return err;
}

static long vector(struct call *c, bool writing, bool positioned, uint64_t offset)
{
	struct file *f;
	uint64_t pos = offset + c->done;
	long err = file_for(c, writing, &f);

	if (err)
		return err;
	if (positioned && (int64_t)offset < 0)
		return -EINVAL;
	if (positioned && !f->ops->seeks)
		return -ESPIPE;
	err = pieces_in(c, c->arg[1], c->arg[2]);
	if (err)
		return err;
	return transfer(c, f, pieces, c->arg[2], positioned ? &pos : &f->pos, writing);
}

long sys_readv(struct call *c)
{
	return vector(c, false, false, 0);
}

long sys_writev(struct call *c)
{
	return vector(c, true, false, 0);
}

long sys_preadv(struct call *c)
{
	return vector(c, false, true, c->arg[3]);
}

long sys_pwritev(struct call *c)
{
	return vector(c, true, true, c->arg[3]);
}

#define RWF_HARMLESS 0x7u /* HIPRI, DSYNC, SYNC: nothing to do for them here */

long sys_preadv2(struct call *c)
{
	if (c->arg[5] & ~(uint64_t)RWF_HARMLESS)
		return -EOPNOTSUPP;
	return vector(c, false, c->arg[3] != ~0ull, c->arg[3]);
}

long sys_pwritev2(struct call *c)
{
	if (c->arg[5] & ~(uint64_t)RWF_HARMLESS)
		return -EOPNOTSUPP;
	return vector(c, true, c->arg[3] != ~0ull, c->arg[3]);
}

/* The caller's memory goes into the pipe as by writev: copied, so SPLICE_F_GIFT changes nothing. */
long sys_vmsplice(struct call *c)
{
	struct file *f = fd_file(call_process(c), c->arg[0]);

	if (!f)
		return -EBADF;
	if (f->inode->kind != INODE_FIFO)
		return -EBADF;
	return vector(c, may_write(f), false, 0);
}

/* --- position ------------------------------------------------------------------------------ */

long sys_lseek(struct call *c)
{
	struct file *f = fd_file(call_process(c), c->arg[0]);
	int64_t offset = (int64_t)c->arg[1], pos;
	uint64_t size;

	if (!f)
		return -EBADF;
	if (!f->ops->seeks)
		return -ESPIPE;
	size = f->inode->kind == INODE_FILE ? f->inode->size : 0;
	switch ((int)c->arg[2]) {
	case SEEK_SET:
		pos = offset;
		break;
	case SEEK_CUR:
		if (__builtin_add_overflow((int64_t)f->pos, offset, &pos))
			return -EOVERFLOW;
		break;
	case SEEK_END:
		if (__builtin_add_overflow((int64_t)size, offset, &pos))
			return -EOVERFLOW;
		break;
	case SEEK_DATA:
	case SEEK_HOLE:
		if (f->inode->kind != INODE_FILE)
			return -EINVAL;
		if (offset < 0 || (uint64_t)offset >= size)
			return -ENXIO;
		pos = (int64_t)content_seek(f->inode, (uint64_t)offset, c->arg[2] == SEEK_DATA);
		if (c->arg[2] == SEEK_DATA && (uint64_t)pos >= size)
			return -ENXIO;
		break;
	default:
		return -EINVAL;
	}
	/* Addresses in /proc/PID/mem are positions, too: only that cannot be negative here is checked. */
	if (pos < 0)
		return -EINVAL;
	f->pos = (uint64_t)pos;
	return pos;
}

/* --- from file to file --------------------------------------------------------------------- */

/*
 * Bytes of a regular file, from *from on, into another one. Both are ours, so nothing passes through the caller. -> bytes
 */
static long copy_between(struct call *c, struct file *in, uint64_t *from, struct file *out,
	uint64_t *to, uint64_t bytes)
{
	struct inode *source = in->inode, *target = out->inode;
	uint64_t done = 0;

	(void)c;
	while (done < bytes && *from < source->size) {
		uint64_t left = source->size - *from;
		size_t n = bytes - done < left ? bytes - done : left;
		const uint8_t *bytes_in;
		uint8_t *bytes_out;
		int err;

		err = content_prepare(target, *to, n, &bytes_out);
		if (err)
			return done ? (long)done : err;
		bytes_in = content_at(source, *from, &n);
		memmove(bytes_out, bytes_in, n);
		content_grown(target, *to + n);
		*from += n;
		*to += n;
		done += n;
	}
	return (long)done;
}

static bool is_regular(const struct file *f)
{
	return f->inode->kind == INODE_FILE;
}

/* A position in the caller's memory, or the file's own. */
static long position_in(struct call *c, uint64_t at, struct file *f, uint64_t *pos)
{
	if (at)
		return copy_in(c, pos, at, sizeof(*pos));
	*pos = f->pos;
	return 0;
}

static long position_out(struct call *c, uint64_t at, struct file *f, uint64_t pos)
{
	if (at)
		return copy_out(c, at, &pos, sizeof(pos));
	f->pos = pos;
	return 0;
}

/*
 * To a file: done here. To a pipe or a terminal: -EINVAL, on which every program falls back to read and write, as it must
 * for kinds of files for which Linux refuses.
 */
long sys_sendfile(struct call *c)
{
	struct file *out = fd_file(call_process(c), c->arg[0]);
	struct file *in = fd_file(call_process(c), c->arg[1]);
	uint64_t from, to, bytes = c->arg[3] < COPY_MAX ? c->arg[3] : COPY_MAX;
	long n, err;

	if (!in || !out || !may_read(in) || !may_write(out))
		return -EBADF;
	if (!is_regular(in) || !is_regular(out) || (out->flags & O_APPEND))
		return -EINVAL;
	err = position_in(c, c->arg[2], in, &from);
	if (err)
		return err;
	if ((int64_t)from < 0)
		return -EINVAL;
	to = out->pos;
	n = copy_between(c, in, &from, out, &to, bytes);
	if (n < 0)
		return n;
	err = position_out(c, c->arg[2], in, from);
	if (err)
		return err;
	out->pos = to;
	return n;
}

long sys_copy_file_range(struct call *c)
{
	struct file *in = fd_file(call_process(c), c->arg[0]);
	struct file *out = fd_file(call_process(c), c->arg[2]);
	uint64_t from, to, bytes = c->arg[4] < COPY_MAX ? c->arg[4] : COPY_MAX;
	long n, err;

	if (!in || !out || !may_read(in) || !may_write(out) || (out->flags & O_APPEND))
		return -EBADF;
	if (c->arg[5])
		return -EINVAL;
	if (inode_is_directory(in->inode) || inode_is_directory(out->inode))
		return -EISDIR;
	if (!is_regular(in) || !is_regular(out))
		return -EINVAL;
	err = position_in(c, c->arg[1], in, &from);
	if (!err)
		err = position_in(c, c->arg[3], out, &to);
	if (err)
		return err;
	if ((int64_t)from < 0 || (int64_t)to < 0)
		return -EINVAL;
	if (in->inode == out->inode && from < to + bytes && to < from + bytes)
		return -EINVAL;
	n = copy_between(c, in, &from, out, &to, bytes);
	if (n < 0)
		return n;
	err = position_out(c, c->arg[1], in, from);
	if (!err)
		err = position_out(c, c->arg[3], out, to);
	return err ? err : n;
}
