/*
 * handle.h - the table by which a task names objects.                                         floor 4
 */
#ifndef HANDLE_H
#define HANDLE_H

#include "object.h"
#include "sync.h"
#include <abi/errno.h>
#include <abi/native.h>

struct handle {
	struct object *object; /* NULL: free; one reference */
	u32 rights;            /* RIGHT_* */
	u32 next_free;         /* of a free one; 0: the last */
	u64 badge;             /* endpoints */
};

struct handle_table {
	struct spinlock lock;
	struct handle *slots; /* (lock) index 0 is never used; grows up to HANDLE_MAX */
	u32 nr;               /* (lock) length of slots */
	u32 free;             /* (lock) first free one; 0: none */
	u32 nr_free;          /* (lock) read without it as a hint */
	bool released;        /* (lock) its task ends: nothing new comes in */
	bool may_serve; /* (lock) an endpoint was received from through it: ipc_server_gone() */
};

void handle_table_init(struct handle_table *t);
/* Closes all, frees the slots; refuses what comes later */
void handle_table_release(struct handle_table *t);

/*
 * handle_install - name o in t.
 *
 *   index    0: a free one, else exactly that one
 *   returns  the index; -EMFILE (HANDLE_MAX), -ENOMEM, -EEXIST (index taken), -EINVAL (index too large),
 *            -ESRCH (released)
 *   after    the handle has a reference of its own; the caller keeps its
 */
int handle_install(struct handle_table *t, struct object *o, u32 rights, u64 badge, u32 index);

/*
 * handle_install_quick - the same into a slot that is there already, for a caller that holds a spinlock or has
 * interrupts off. It has called handle_opened() before, and calls handle_closed() when this fails.
 *
 *   returns  the index; -EMFILE: no slot is free
 */
int handle_install_quick(struct handle_table *t, struct object *o, u32 rights, u64 badge);

/* A few free slots for handles to come; may sleep, may fail silently: handle_install_quick() says so. */
void handle_reserve_slow(struct handle_table *t);
#define HANDLES_RESERVED 8
static inline void handle_reserve(struct handle_table *t)
{
	if (unlikely(READ_ONCE(t->nr_free) < HANDLES_RESERVED))
		handle_reserve_slow(t);
}

/* What the object's kind wants to know of its handles. No lock held. */
static inline void handle_opened(struct object *o, u32 rights)
{
	if (o->ops->opened)
		o->ops->opened(o, rights);
}
static inline void handle_closed(struct object *o, u32 rights)
{
	if (o->ops->closed)
		o->ops->closed(o, rights);
}

/*
 * handle_get - the object behind h with a reference, if it is of that type and the handle has all of `rights`.
 *
 *   badge    NULL, or where the handle's badge goes
 *   locks    none held, interrupts on. Inline: it stands at the door of every call
 *   returns  0, -EBADF (no such handle), -EINVAL (another type), -EACCES (a right is missing)
 */
static __always_inline int handle_get(struct handle_table *t, u32 h, enum object_type type,
	u32 rights, struct object **o, u64 *badge)
{
	const struct handle *slot;
	int error = 0;

	irq_disable();
	spin_lock(&t->lock);
	slot = &t->slots[h];
	if (unlikely(h >= t->nr || !slot->object)) {
		error = -EBADF;
	} else if (unlikely(slot->object->type != type)) {
		error = -EINVAL;
	} else if (unlikely((slot->rights & rights) != rights)) {
		error = -EACCES;
	} else {
		*o = slot->object;
		object_get(*o);
		if (badge)
			*badge = slot->badge;
	}
	spin_unlock(&t->lock);
	irq_enable();
	return error;
}
/*
 * handle_table_inherit - every handle of `from` that may be duplicated, into `to` at the same index: what a copy of a
 * task has from its source.
 *
 *   returns  0; -ENOMEM, -EEXIST, and what was installed by then stays
 *   Linux    dup_fd
 */
int __must_check handle_table_inherit(struct handle_table *to, struct handle_table *from);
int handle_close(struct handle_table *t, u32 h); /* 0, -EBADF */

/* The whole handle, with a reference on its object: duplicate, grant, send. 0, -EBADF. */
int handle_read(struct handle_table *t, u32 h, struct handle *out);

/* What all objects it names weigh, about: what might come back if its task went. */
u64 handle_table_weight(struct handle_table *t);

bool handle_table_check(struct handle_table *t); /* N1, N2: see handle.c */

#endif
