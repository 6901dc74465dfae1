/*
 * pager.c - asking a server for a page, and taking it from him             floor 5, below: mm/memory, ipc
 *
 * Sends the message of a fault that mm/fault.c could not serve, and finds out for whom a supplied frame is. Pages, areas and
 * entries are mm/memory.c's business.
 *
 * IDEA      thread of a client                              thread of the pager
 *             fault_handle: FAULT_PAGER
 *             pager_ask: mm(read) - area, object, pager
 *                        a reference on each, unlock
 *                        thread->pager_wait = what is missing
 *                        ipc_call ------------------------> ipc_receive
 *                              no lock held                 pager_supply(token) -> ipc_caller -> pager_wait
 *                                                             memory_supply: the frame changes hands
 *                        <--------------------------------- ipc_reply
 *                        is it there? was something supplied? then the fault is started again
 *                        no, or the server ended: ask again, PAGER_TRIES times
 *
 *           Nothing that was true before the sleep is believed after it: the area may be gone, the object shorter, the
 *           pager another one. So each turn begins at the address.
 *
 * INVARIANTS
 *   P1  while it sleeps the client holds no lock: a pager that never answers stops nobody else (asserted by ipc_call)
 *   P2  pager_wait points into a stack whose thread is in pager_ask: set and cleared under wait_lock
 *   P3  a page is supplied by who holds RIGHT_RECEIVE at the endpoint that was asked for it, nobody else
 *
 * LOCKS     wait_lock; mm->lock (read) and memory->lock, one after the other
 * LINUX     fs/userfaultfd.c handle_userfault (the same rule: no lock held, then start again); mm/filemap.c
 */
#include <abi/errno.h>
#include "ipc.h"
#include "mm/vma.h"
#include "mutex.h"
#include "task.h"
#include "mm/memory.h"
#include "pager.h"

static struct spinlock wait_lock = SPINLOCK_INIT(LOCK_MEMORY, "pager_wait");

static void wait_publish(struct pager_wait *w)
{
	spin_lock(&wait_lock);
	current_thread()->pager_wait = w;
	spin_unlock(&wait_lock);
}

/* Find what is missing behind the address, with references. FAULT_PAGER: *w and *look say what to ask, and whom. */
static enum fault_result find_missing(
	const struct fault *f, struct pager_wait *w, struct memory_look *look)
{
	struct mm *mm = f->mm;
	enum fault_result r = FAULT_DONE; /* nothing to ask for: the fault says why */
	vaddr_t haddr = f->addr & HPAGE_PMD_MASK;
	struct vma *v;

	rwsem_read_lock(&mm->lock);
	v = vma_find(mm, f->addr);
	if (v && v->kind == VMA_OBJECT) {
		w->memory = vma_memory(v);
		w->mm = mm;
		w->page = f->addr & PAGE_MASK;
		w->offset = vma_index(v, w->page) << PAGE_SHIFT;
		memory_look(w->memory, w->offset >> PAGE_SHIFT, look);
		look->huge_fits &=
			vma_covers_huge(v, haddr) && vma_index(v, haddr) % HPAGE_PMD_NR == 0;
		if (!look->inside)
			r = FAULT_BUS;
		else if (!look->present && look->pager)
			r = FAULT_PAGER;
	}
	if (r == FAULT_PAGER)
		object_get(&w->memory->object);
	rwsem_read_unlock(&mm->lock);
	if (r != FAULT_PAGER && look->pager)
		object_put(look->pager);
	return r;
}

/*
 * What has become of it? FAULT_PAGER: ask again, because nothing came with the answer, or because the server that had
 * the message ended and another may follow at the same endpoint.
 */
static enum fault_result outcome(const struct pager_wait *w, int err, u64 label)
{
	bool replaced = err == -EPIPE && !READ_ONCE(w->asked->dead);

	if (err ? !replaced : label != 0)
		return FAULT_BUS;
	return w->supplied || memory_has(w->memory, w->offset >> PAGE_SHIFT) ? FAULT_DONE
									     : FAULT_PAGER;
}

/* One message. FAULT_PAGER: ask again. */
static enum fault_result ask_once(const struct fault *f)
{
	struct memory_look look = {0};
	struct pager_wait w = {0};
	struct message m = {0};
	enum fault_result r = find_missing(f, &w, &look);
	int err;

	if (r != FAULT_PAGER)
		return r;
	m.badge = look.cookie;
	m.label = MESSAGE_FAULT;
	m.word[0] = w.offset;
	m.word[1] = f->write;
	m.word[2] = look.huge_fits;
	m.word[3] = look.bytes;
	w.asked = endpoint_of(look.pager);
	wait_publish(&w);
	err = ipc_call(w.asked, &m, NULL, 0, DEADLINE_NEVER, false);
	wait_publish(NULL);
	r = outcome(&w, err, m.label);
	object_put(look.pager);
	object_put(&w.memory->object);
	return r;
}

enum fault_result pager_ask(const struct fault *f)
{
	enum fault_result r = FAULT_PAGER;

	for (unsigned tries = 0; tries < PAGER_TRIES && r == FAULT_PAGER; tries++)
		r = thread_killed() ? FAULT_BUS : ask_once(f);
	return r == FAULT_PAGER ? FAULT_BUS : r;
}

/*
 * What the holder of this token was asked for, with references on memory and space. False: nobody waits for it. Between the
 * two looks the token may be answered, and its thread ask another pager for another page: that one is not ours to give.
 */
static bool wait_find(struct endpoint *ep, u64 token, struct thread **t, struct pager_wait *w)
{
	bool found;

	*t = ipc_caller(ep, token);
	if (!*t)
		return false;
	spin_lock(&wait_lock);
	found = (*t)->pager_wait && (*t)->pager_wait->asked == ep &&
		mm_get_user((*t)->pager_wait->mm);
	if (found) {
		*w = *(*t)->pager_wait;
		object_get(&w->memory->object);
	}
	spin_unlock(&wait_lock);
	if (!found)
		object_put(&(*t)->object);
	return found;
}

static void wait_done(struct thread *t, const struct pager_wait *w, bool supplied)
{
	spin_lock(&wait_lock);
	if (supplied && t->pager_wait)
		t->pager_wait->supplied = true;
	spin_unlock(&wait_lock);
	object_put(&w->memory->object);
	task_drop_mm(w->mm);
	object_put(&t->object);
}

/* Where the page at `offset` lies for a thread that asked for another page of the same area. */
static int supply_moved(const struct pager_wait *w, const struct pager_supply *args, struct mm *mm)
{
	return memory_supply_private(w->memory, args->offset, args->bytes, w->mm,
		w->page + (args->offset - w->offset), mm, args->source);
}

int pager_supply(
	struct endpoint *ep, struct memory *m, const struct pager_supply *args, struct mm *mm)
{
	struct pager_wait w;
	struct thread *t;
	int err;

	if (args->flags & ~SUPPLY_MOVED || args->reserved)
		return -EINVAL;
	if (m)
		return args->flags & SUPPLY_MOVED
			       ? -EINVAL
			       : memory_supply(m, args->offset, args->bytes, mm, args->source);
	if (!wait_find(ep, args->token, &t, &w))
		return -ESRCH;
	if (args->flags & SUPPLY_MOVED)
		err = supply_moved(&w, args, mm);
	else
		err = memory_supply(w.memory, args->offset, args->bytes, mm, args->source);
	wait_done(t, &w, !err);
	return err;
}
