/*
 * poll.c - poll, select and their siblings: wait until one of many files is ready.                ring 3
 *
 * A call looks at all its files; when none is ready it waits at all of them, and is run again from its start.
 *
 * LINUX  fs/select.c
 */
#include "calls.h"
#include "core.h"
#include "file.h"
#include <poll.h>
#include <string.h>
#include <sys/select.h>

#define FILES_MAX 4096u

static struct wait_list nothing = {
	{&nothing.waiters, &nothing.waiters}}; /* who waits for a signal only */

/* A signal mask for the time of the call; put back when it ends, by a handler's frame or by mask_end(). */
static long mask_begin(struct call *c, uint64_t from, uint64_t bytes)
{
	signal_set set;
	long err;

	if (!from || c->thread->restore_blocked)
		return 0;
	if (bytes != sizeof(set))
		return -EINVAL;
	err = copy_in(c, &set, from, sizeof(set));
	if (err)
		return err;
	signal_mask_for_call(c, set);
	return 0;
}

static long mask_end(struct call *c, long result)
{
	if (result != CALL_WAIT && result != CALL_FAULT_IN)
		signal_mask_restore(c->thread);
	return result;
}

/* --- deadlines ------------------------------------------------------------------------------ */

/* The deadline is set at the first run. ns: from now; 0: do not wait at all; DEADLINE_NEVER. */
static void deadline_set(struct call *c, uint64_t ns)
{
	if (!c->first || c->deadline)
		return;
	if (ns == 0)
		c->timed_out = true;
	c->deadline = ns > DEADLINE_NEVER / 2 ? DEADLINE_NEVER : time_now() + ns;
}

static long wait_more(struct call *c)
{
	if (c->no_memory)
		return -ENOMEM;
	c->no_restart = true;
	return c->deadline == DEADLINE_NEVER ? call_wait(c, &nothing)
					     : call_wait_until(c, c->deadline);
}

static long timespec_in(struct call *c, uint64_t from, uint64_t *ns)
{
	struct timespec t;
	long err;

	*ns = DEADLINE_NEVER;
	if (!from)
		return 0;
	err = copy_in(c, &t, from, sizeof(t));
	if (err)
		return err;
	if (t.tv_sec < 0 || t.tv_nsec < 0 || t.tv_nsec >= (long)NS_PER_SEC)
		return -EINVAL;
	if ((uint64_t)t.tv_sec < DEADLINE_NEVER / NS_PER_SEC / 4)
		*ns = (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
	return 0;
}

/* What is left of the time goes back to where it came from: pselect and ppoll of Linux do so. */
static void timespec_out(struct call *c, uint64_t to)
{
	uint64_t now = time_now(), left;
	struct timespec t;

	if (!to || c->deadline == DEADLINE_NEVER)
		return;
	left = c->deadline > now ? c->deadline - now : 0;
	t = (struct timespec){(time_t)(left / NS_PER_SEC), (long)(left % NS_PER_SEC)};
	(void)copy_out(c, to, &t, sizeof(t));
}

/* --- poll ----------------------------------------------------------------------------------- */

static struct pollfd polled[FILES_MAX]; /* of the call that is being served */

static unsigned file_events(struct call *c, struct file *f)
{
	return f->ops->poll ? f->ops->poll(c, f) : POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
}

/* One look at all; wait: says so at those that are not ready. -> how many are. */
static long look(struct call *c, struct pollfd *fds, uint64_t nr, bool wait)
{
	long ready = 0;

	c->no_memory = false;
	for (uint64_t i = 0; i < nr; i++) {
		struct file *f;
		unsigned wanted = (uint16_t)fds[i].events | POLLERR | POLLHUP;

		fds[i].revents = 0;
		if (fds[i].fd < 0)
			continue;
		f = fd_file(call_process(c), (uint64_t)fds[i].fd);
		fds[i].revents = (short)(f ? file_events(wait ? c : NULL, f) & wanted : POLLNVAL);
		ready += fds[i].revents != 0;
	}
	return ready;
}

static long poll_files(struct call *c, uint64_t at, uint64_t nr)
{
	long err, ready;

	if (nr > FILES_MAX || nr > call_process(c)->limits[RLIMIT_NOFILE].rlim_cur)
		return -EINVAL;
	err = nr ? copy_in(c, polled, at, nr * sizeof(polled[0])) : 0;
	if (err)
		return err;
	ready = look(c, polled, nr, false);
	if (!ready && !c->timed_out) {
		ready = look(c, polled, nr, true);
		if (!ready) /* the console may have had news between the two looks */
			return wait_more(c);
	}
	err = nr ? copy_out(c, at, polled, nr * sizeof(polled[0])) : 0;
	return err ? err : ready;
}

long sys_poll(struct call *c)
{
	int ms = (int)c->arg[2];

	deadline_set(c, ms < 0 ? DEADLINE_NEVER : (uint64_t)ms * 1000000);
	return poll_files(c, c->arg[0], c->arg[1]);
}

long sys_ppoll(struct call *c)
{
	uint64_t ns;
	long result = timespec_in(c, c->arg[2], &ns);

	if (result)
		return result;
	deadline_set(c, ns);
	result = mask_begin(c, c->arg[3], c->arg[4]);
	if (result)
		return result;
	result = poll_files(c, c->arg[0], c->arg[1]);
	if (result >= 0)
		timespec_out(c, c->arg[2]);
	return mask_end(c, result);
}

/* --- select --------------------------------------------------------------------------------- */

#define SET_WORDS (FILES_MAX / 64)

static const unsigned set_events[3] = {
	POLLIN | POLLRDNORM | POLLHUP | POLLERR, POLLOUT | POLLWRNORM | POLLERR, POLLPRI};

static struct {
	uint64_t in[3][SET_WORDS], out[3][SET_WORDS];
} selected; /* of the call that is being served */

/* -> how many bits are set in out, or -EBADF. */
static long select_look(struct call *c, uint64_t nr, bool wait)
{
	long ready = 0;

	c->no_memory = false;
	memset(selected.out, 0, sizeof(selected.out));
	for (uint64_t fd = 0; fd < nr; fd++) {
		uint64_t bit = 1ull << fd % 64;
		unsigned events;
		struct file *f;

		if (!((selected.in[0][fd / 64] | selected.in[1][fd / 64] |
			      selected.in[2][fd / 64]) &
			    bit))
			continue;
		f = fd_file(call_process(c), fd);
		if (!f)
			return -EBADF;
		events = file_events(wait ? c : NULL, f);
		for (int i = 0; i < 3; i++) {
			if (!(selected.in[i][fd / 64] & bit) || !(events & set_events[i]))
				continue;
			selected.out[i][fd / 64] |= bit;
			ready++;
		}
	}
	return ready;
}

static long select_files(struct call *c)
{
	uint64_t nr = c->arg[0], bytes;
	long err = 0, ready;

	if ((int)nr < 0)
		return -EINVAL;
	nr = (uint32_t)nr < FILES_MAX ? (uint32_t)nr : FILES_MAX;
	bytes = (nr + 63) / 64 * 8;
	memset(selected.in, 0, sizeof(selected.in));
	for (int i = 0; i < 3 && !err; i++)
		err = c->arg[1 + i] && bytes ? copy_in(c, selected.in[i], c->arg[1 + i], bytes) : 0;
	if (err)
		return err;
	ready = select_look(c, nr, false);
	if (!ready && !c->timed_out) {
		ready = select_look(c, nr, true);
		if (!ready) /* as in poll_files() */
			return wait_more(c);
	}
	if (ready < 0)
		return ready;
	for (int i = 0; i < 3 && !err; i++)
		err = c->arg[1 + i] && bytes ? copy_out(c, c->arg[1 + i], selected.out[i], bytes)
					     : 0;
	return err ? err : ready;
}

long sys_select(struct call *c)
{
	uint64_t ns = DEADLINE_NEVER, now, left;
	struct timeval t;
	long result;

	if (c->arg[4]) {
		result = copy_in(c, &t, c->arg[4], sizeof(t));
		if (result)
			return result;
		if (t.tv_sec < 0 || t.tv_usec < 0)
			return -EINVAL;
		if ((uint64_t)t.tv_sec < DEADLINE_NEVER / NS_PER_SEC / 4)
			ns = (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_usec * 1000;
	}
	deadline_set(c, ns);
	result = select_files(c);
	if (result >= 0 && c->arg[4] && c->deadline != DEADLINE_NEVER) {
		now = time_now();
		left = c->deadline > now ? c->deadline - now : 0;
		t = (struct timeval){
			(time_t)(left / NS_PER_SEC), (suseconds_t)(left % NS_PER_SEC / 1000)};
		(void)copy_out(c, c->arg[4], &t, sizeof(t));
	}
	return result;
}

long sys_pselect6(struct call *c)
{
	struct {
		uint64_t set, bytes;
	} mask = {0, 0};
	uint64_t ns;
	long result = timespec_in(c, c->arg[4], &ns);

	if (!result && c->arg[5])
		result = copy_in(c, &mask, c->arg[5], sizeof(mask));
	if (result)
		return result;
	deadline_set(c, ns);
	result = mask_begin(c, mask.set, mask.bytes);
	if (result)
		return result;
	result = select_files(c);
	if (result >= 0)
		timespec_out(c, c->arg[4]);
	return mask_end(c, result);
}
