/*
 * handle.c - the table by which a task names objects                         floor 4, below: kmalloc
 *
 * Small numbers with rights, as file descriptors are. It knows no kind of object: what a kind wants to
 * know of its handles (an endpoint counts those that may receive) stands in its object_ops.
 *
 * IDEA
 *            free = 2
 *   slots   | never | task, rights | next 5 | endpoint, rights, badge | thread | next 0 | ...
 *               0          1           2               3                  4        5
 *   Free slots form a chain, so taking one, looking one up and giving one back cost the same at any size.
 *   A full table is doubled: the new slots are made without the lock, then moved under it.
 *
 * INVARIANTS (handle_table_check() tests them)
 *   N1  a slot has an object, or is on the chain of free ones exactly once; slot 0 neither
 *   N2  nr_free is the length of the chain
 *
 * LOCKS     table.lock with interrupts off: an answer installs a handle while its endpoint's lock is held.
 *           Nothing is allocated, freed or called under it.
 * LINUX     fs/file.c: struct fdtable, alloc_fd(), readers under RCU.
 */
#include "handle.h"

#include "lib/string.h"
#include "mm/kmalloc.h"
#include "printk.h"
#include <abi/errno.h>

#define FIRST_SLOTS 4 /* a program of the personality has one handle */

void handle_table_init(struct handle_table *t)
{
	*t = (struct handle_table){0};
	spin_init(&t->lock, LOCK_HANDLES, "handles");
}

/* Slot `index` joins the chain. */
static void slot_free(struct handle_table *t, u32 index)
{
	t->slots[index] = (struct handle){.next_free = t->free};
	t->free = index;
	t->nr_free++;
}

/* handle_table_release - close all; its task has no threads any more. May sleep, no lock held. */
void handle_table_release(struct handle_table *t)
{
	u64 flags = spin_lock_irqsave(&t->lock);
	struct handle *slots = t->slots;
	u32 nr = t->nr;

	t->slots = NULL;
	t->nr = t->free = t->nr_free = 0;
	t->released = true;
	spin_unlock_irqrestore(&t->lock, flags);
	for (u32 i = 1; i < nr; i++) {
		if (!slots[i].object)
			continue;
		handle_closed(slots[i].object, slots[i].rights);
		object_put(slots[i].object);
	}
	kfree(slots);
}

/* Move to `slots`, twice as long; what is to be freed afterwards. Lock held. */
static struct handle *move_to(struct handle_table *t, struct handle *slots, u32 nr)
{
	struct handle *old = t->slots;
	u32 first_new = MAX(t->nr, 1u);

	if (old)
		memcpy(slots, old, t->nr * sizeof(*old));
	t->slots = slots;
	t->nr = nr;
	for (u32 i = nr - 1; i >= first_new; i--)
		slot_free(t, i);
	return old;
}

/* Double the table, unless somebody was faster. No lock held. 0, -EMFILE, -ENOMEM, -ESRCH. */
static int table_grow(struct handle_table *t, u32 nr_seen)
{
	u32 nr = nr_seen ? 2 * nr_seen : FIRST_SLOTS;
	struct handle *slots;
	bool released;
	u64 flags;

	if (nr > HANDLE_MAX)
		return -EMFILE;
	slots = kzalloc(nr * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	flags = spin_lock_irqsave(&t->lock);
	released = t->released;
	if (!released && t->nr == nr_seen)
		slots = move_to(t, slots, nr);
	spin_unlock_irqrestore(&t->lock, flags);
	kfree(slots);
	return released ? -ESRCH : 0;
}

/* Take `index` out of the chain. Lock held. */
static bool unchain(struct handle_table *t, u32 index)
{
	for (u32 *link = &t->free; *link; link = &t->slots[*link].next_free) {
		if (*link != index)
			continue;
		*link = t->slots[index].next_free;
		t->nr_free--;
		return true;
	}
	return false;
}

/* Lock held. The index, -EEXIST; -EAGAIN: the table must grow. */
static int slot_take(struct handle_table *t, u32 index)
{
	if (!index)
		index = t->free;
	if (!index || index >= t->nr)
		return -EAGAIN;
	return unchain(t, index) ? (int)index : -EEXIST;
}

static void slot_fill(struct handle_table *t, int index, struct object *o, u32 rights, u64 badge)
{
	object_get(o);
	t->slots[index] = (struct handle){.object = o, .rights = rights, .badge = badge};
	if (o->type == OBJECT_ENDPOINT && rights & RIGHT_RECEIVE)
		t->may_serve = true;
}

int handle_install(struct handle_table *t, struct object *o, u32 rights, u64 badge, u32 index)
{
	int slot, error;
	u32 nr;

	if (index >= HANDLE_MAX)
		return -EINVAL;
	handle_opened(o, rights);
	for (;;) {
		u64 flags = spin_lock_irqsave(&t->lock);

		nr = t->nr;
		slot = slot_take(t, index);
		if (slot > 0)
			slot_fill(t, slot, o, rights, badge);
		spin_unlock_irqrestore(&t->lock, flags);
		if (slot != -EAGAIN)
			break;
		error = table_grow(t, nr);
		if (error) {
			slot = error;
			break;
		}
	}
	if (slot < 0)
		handle_closed(o, rights);
	return slot;
}

int handle_install_quick(struct handle_table *t, struct object *o, u32 rights, u64 badge)
{
	u64 flags = spin_lock_irqsave(&t->lock);
	int slot = slot_take(t, 0);

	if (slot > 0)
		slot_fill(t, slot, o, rights, badge);
	spin_unlock_irqrestore(&t->lock, flags);
	return slot > 0 ? slot : -EMFILE;
}

void handle_reserve_slow(struct handle_table *t)
{
	(void)table_grow(t, READ_ONCE(t->nr));
}

/* The slot of h, or NULL. Lock held. */
static struct handle *slot_of(struct handle_table *t, u32 h)
{
	return likely(h < t->nr && t->slots[h].object) ? &t->slots[h] : NULL;
}

int handle_read(struct handle_table *t, u32 h, struct handle *out)
{
	u64 flags = spin_lock_irqsave(&t->lock);
	const struct handle *slot = slot_of(t, h);

	if (slot) {
		*out = *slot;
		object_get(out->object);
	}
	spin_unlock_irqrestore(&t->lock, flags);
	return slot ? 0 : -EBADF;
}

/* The first handle from index `from` on that may be duplicated, with a reference; 0: none. */
static u32 next_duplicable(struct handle_table *t, u32 from, struct handle *out)
{
	u64 flags = spin_lock_irqsave(&t->lock);
	u32 found = 0;

	for (u32 i = from; i < t->nr && !found; i++) {
		if (t->slots[i].object && t->slots[i].rights & RIGHT_DUPLICATE)
			found = i;
	}
	if (found) {
		*out = t->slots[found];
		object_get(out->object);
	}
	spin_unlock_irqrestore(&t->lock, flags);
	return found;
}

int handle_table_inherit(struct handle_table *to, struct handle_table *from)
{
	struct handle h;

	for (u32 i = 0; (i = next_duplicable(from, i + 1, &h)) != 0;) {
		int got = handle_install(to, h.object, h.rights, h.badge, i);

		object_put(h.object);
		if (got < 0)
			return got;
	}
	return 0;
}

int handle_close(struct handle_table *t, u32 h)
{
	u64 flags = spin_lock_irqsave(&t->lock);
	const struct handle *slot = slot_of(t, h);
	struct handle closed = {0};

	if (slot) {
		closed = *slot;
		slot_free(t, h);
	}
	spin_unlock_irqrestore(&t->lock, flags);
	if (!closed.object)
		return -EBADF;
	handle_closed(closed.object, closed.rights);
	object_put(closed.object);
	return 0;
}

u64 handle_table_weight(struct handle_table *t)
{
	u64 flags = spin_lock_irqsave(&t->lock), sum = 0;

	for (u32 i = 1; i < t->nr; i++) {
		const struct object *o = t->slots[i].object;

		if (o && o->ops->weight)
			sum += o->ops->weight(o);
	}
	spin_unlock_irqrestore(&t->lock, flags);
	return sum;
}

/* handle_table_check - N1, N2. The table is at rest. */
bool handle_table_check(struct handle_table *t)
{
	u64 flags = spin_lock_irqsave(&t->lock);
	u32 length = 0, used = 0;

	for (u32 i = t->free; i && length <= t->nr; i = t->slots[i].next_free) {
		if (i >= t->nr || t->slots[i].object)
			length = t->nr; /* too long: said below */
		length++;
	}
	for (u32 i = 0; i < t->nr; i++)
		used += t->slots[i].object != NULL;
	spin_unlock_irqrestore(&t->lock, flags);
	if (length == t->nr_free && used + length == (t->nr ? t->nr - 1 : 0) &&
		!(t->nr && t->slots[0].object))
		return true;
	printk("handle_table_check: N1/N2: %u slots, %u used, %u free, nr_free %u", t->nr, used,
		length, t->nr_free);
	return false;
}
