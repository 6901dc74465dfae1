/*
 * pipe.c - pipes and fifos: a ring of bytes between those who write and those who read.           ring 3
 *
 * IDEA
 *   ring   |......rrrrrrrrr......|    `used` bytes from `head` on; nothing is copied twice: task_read puts a writer's bytes
 *                 ^head              here, task_write takes them to the reader. An empty ring begins at 0 again, so that a
 *                                    pipe with little in it stays in the same page
 *
 * INVARIANTS
 *   P1  readers and writers count the open ends; the ring exists while there is one
 *   P2  a write of at most PIPE_ATOMIC bytes lies in the ring as a whole, or waits
 *
 * LINUX  fs/pipe.c keeps pages, and can take a writer's page instead of copying it.
 */
#include "pipe.h"
#include "calls.h"
#include "file.h"
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#define SPARES 4 /* rings of pipes that are gone, for the next ones */

struct pipe {
	uint8_t *ring;
	uint32_t head, used;
	uint32_t readers, writers;
	struct wait_list to_read, to_write; /* for bytes, for room */
	struct wait_list reader_opens,
		writer_opens; /* open() of a fifo that waits for the other side */
};

static uint8_t *spares[SPARES];
static unsigned nr_spares;

static struct pipe *pipe_make(void)
{
	struct pipe *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	wait_list_init(&p->to_read);
	wait_list_init(&p->to_write);
	wait_list_init(&p->reader_opens);
	wait_list_init(&p->writer_opens);
	return p;
}

static bool ring_take(struct pipe *p)
{
	if (p->ring)
		return true;
	p->ring = nr_spares ? spares[--nr_spares] : malloc(PIPE_SIZE);
	p->head = p->used = 0;
	return p->ring;
}

static void ring_give(struct pipe *p)
{
	if (p->ring && nr_spares < SPARES)
		spares[nr_spares++] = p->ring;
	else
		free(p->ring);
	p->ring = NULL;
}

void pipe_free(struct pipe *p)
{
	if (!p)
		return;
	/* A thread may wait in a call on a descriptor that another thread closed: it looks again and finds EBADF. */
	wait_list_wake(&p->to_read);
	wait_list_wake(&p->to_write);
	wait_list_wake(&p->reader_opens);
	wait_list_wake(&p->writer_opens);
	ring_give(p);
	free(p);
}

struct inode *pipe_new(void)
{
	struct inode *inode = inode_new(INODE_FIFO, S_IFIFO | 0600);

	if (!inode)
		return NULL;
	inode->pipe = pipe_make();
	if (!inode->pipe) {
		inode_put(inode);
		return NULL;
	}
	inode->nlink = 1;
	return inode;
}

/* --- reading and writing ------------------------------------------------------------------- */

/* n bytes from `from` on in the ring, to and from the caller's memory: in two parts where the ring ends between them. */
static long ring_out_wrapped(struct call *c, struct pipe *p, uint64_t at, uint32_t from, uint32_t n)
{
	uint32_t part = PIPE_SIZE - from;
	long err = copy_out(c, at, p->ring + from, part);

	return err ? err : copy_out(c, at + part, p->ring, n - part);
}

static long ring_in_wrapped(struct call *c, struct pipe *p, uint64_t at, uint32_t from, uint32_t n)
{
	uint32_t part = PIPE_SIZE - from;
	long err = copy_in(c, p->ring + from, at, part);

	return err ? err : copy_in(c, p->ring, at + part, n - part);
}

static long pipe_read(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos)
{
	struct pipe *p = f->inode->pipe;
	uint32_t n;
	long err;

	(void)pos;
	if (!bytes)
		return 0;
	if (!p->used) {
		if (!p->writers)
			return 0;
		return f->flags & O_NONBLOCK ? -EAGAIN : call_wait(c, &p->to_read);
	}
	n = bytes < p->used ? (uint32_t)bytes : p->used;
	err = p->head + n <= PIPE_SIZE ? copy_out(c, at, p->ring + p->head, n)
				       : ring_out_wrapped(c, p, at, p->head, n);
	if (err)
		return err;
	p->used -= n;
	p->head = p->used ? (p->head + n) % PIPE_SIZE : 0;
	wait_list_wake(&p->to_write);
	return n;
}

static long pipe_write(struct call *c, struct file *f, uint64_t at, size_t bytes, uint64_t *pos)
{
	struct pipe *p = f->inode->pipe;
	uint32_t room = PIPE_SIZE - p->used, tail, n;
	long err;

	(void)pos;
	if (!p->readers) {
		signal_send_thread(c->thread, SIGPIPE, NULL);
		return -EPIPE;
	}
	if (!bytes)
		return 0;
	if (!room || (bytes <= PIPE_ATOMIC && room < bytes && !c->done))
		return f->flags & O_NONBLOCK ? -EAGAIN : call_wait(c, &p->to_write);
	n = bytes < room ? (uint32_t)bytes : room;
	tail = (p->head + p->used) % PIPE_SIZE;
	err = tail + n <= PIPE_SIZE ? copy_in(c, p->ring + tail, at, n)
				    : ring_in_wrapped(c, p, at, tail, n);
	if (err)
		return err;
	p->used += n;
	wait_list_wake(&p->to_read);
	return n;
}

static unsigned pipe_poll(struct call *c, struct file *f)
{
	struct pipe *p = f->inode->pipe;
	unsigned events = 0;

	if ((f->flags & O_ACCMODE) != O_WRONLY) {
		events |= p->used ? POLLIN | POLLRDNORM : 0;
		events |= p->writers ? 0 : POLLHUP;
		if (c)
			call_wait(c, &p->to_read);
	}
	if ((f->flags & O_ACCMODE) != O_RDONLY) {
		events |= PIPE_SIZE - p->used >= PIPE_ATOMIC ? POLLOUT | POLLWRNORM : 0;
		events |= p->readers ? 0 : POLLERR;
		if (c)
			call_wait(c, &p->to_write);
	}
	return events;
}

static long pipe_ioctl(struct call *c, struct file *f, uint32_t command, uint64_t arg)
{
	int used = (int)f->inode->pipe->used;

	return command == FIONREAD ? copy_out(c, arg, &used, sizeof(used)) : -ENOTTY;
}

static void pipe_release(struct file *f)
{
	struct pipe *p = f->inode->pipe;

	if ((f->flags & O_ACCMODE) != O_WRONLY && --p->readers == 0)
		wait_list_wake(&p->to_write);
	if ((f->flags & O_ACCMODE) != O_RDONLY && --p->writers == 0)
		wait_list_wake(&p->to_read);
	if (!p->readers && !p->writers)
		ring_give(p);
}

static const struct file_ops pipe_ops = {
	.read = pipe_read,
	.write = pipe_write,
	.ioctl = pipe_ioctl,
	.poll = pipe_poll,
	.release = pipe_release,
};

/* --- opening ------------------------------------------------------------------------------- */

static long pipe_end(struct inode *inode, unsigned flags, struct file **file)
{
	struct pipe *p = inode->pipe;
	struct file *f = ring_take(p) ? file_new(&pipe_ops, inode_get(inode), flags) : NULL;

	if (!f) {
		if (p->ring)
			inode_put(inode);
		if (!p->readers && !p->writers)
			ring_give(p);
		return -ENOMEM;
	}
	p->readers += (flags & O_ACCMODE) != O_WRONLY;
	p->writers += (flags & O_ACCMODE) != O_RDONLY;
	*file = f;
	return 0;
}

/*
 * Two who wait for each other in open(): the second one sees that the first waits, opens its end and wakes it; the first
 * runs again before the second's next call, and finds the end open.
 */
long pipe_open(struct call *c, struct inode *inode, unsigned flags, struct file **file)
{
	struct pipe *p = inode->pipe ? inode->pipe : (inode->pipe = pipe_make());
	unsigned mode = flags & O_ACCMODE;
	long err;

	if (!p)
		return -ENOMEM;
	if (mode == O_RDONLY && !p->writers && !(flags & O_NONBLOCK) &&
		list_empty(&p->writer_opens.waiters))
		return c ? call_wait(c, &p->reader_opens) : -ENXIO;
	if (mode == O_WRONLY && !p->readers && list_empty(&p->reader_opens.waiters)) {
		if (flags & O_NONBLOCK)
			return -ENXIO;
		return c ? call_wait(c, &p->writer_opens) : -ENXIO;
	}
	err = pipe_end(inode, flags, file);
	if (!err && mode != O_WRONLY)
		wait_list_wake(&p->writer_opens);
	if (!err && mode != O_RDONLY)
		wait_list_wake(&p->reader_opens);
	return err;
}

static long make_pipe(struct call *c, uint32_t flags)
{
	struct process *process = call_process(c);
	struct file *ends[2] = {NULL, NULL};
	int fds[2] = {-1, -1};
	struct inode *inode;
	long err;

	if (flags & ~(uint32_t)(O_CLOEXEC | O_NONBLOCK | O_DIRECT))
		return -EINVAL;
	inode = pipe_new();
	if (!inode)
		return -ENOMEM;
	err = pipe_end(inode, O_RDONLY | (flags & O_NONBLOCK), &ends[0]);
	if (!err)
		err = pipe_end(inode, O_WRONLY | (flags & O_NONBLOCK), &ends[1]);
	inode_put(inode);
	for (int i = 0; !err && i < 2; i++) {
		long fd = fd_install(process, ends[i], 0, flags & O_CLOEXEC);

		err = fd < 0 ? fd : 0;
		fds[i] = (int)fd;
	}
	if (!err)
		err = copy_out(c, c->arg[0], fds, sizeof(fds));
	for (int i = 0; err && i < 2; i++) {
		if (fds[i] >= 0)
			fd_clear(process, (uint64_t)fds[i]);
		else if (ends[i])
			file_put(ends[i]);
	}
	return err;
}

long sys_pipe(struct call *c)
{
	return make_pipe(c, 0);
}

long sys_pipe2(struct call *c)
{
	return make_pipe(c, (uint32_t)c->arg[1]);
}
