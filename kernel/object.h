/*
 * object.h - what a handle names: counted, typed, released by its own kind.                    floor 0
 *
 * An object is embedded in the struct it makes shareable (task, thread, endpoint ...). It is alive while references are
 * held: by handles, messages, mappings, and by kernel code for as long as it works with it.
 */
#ifndef OBJECT_H
#define OBJECT_H

#include "lib/types.h"

enum object_type {
	OBJECT_TASK,
	OBJECT_THREAD,
	OBJECT_ENDPOINT,
	OBJECT_NOTIFICATION,
	OBJECT_MEMORY,
	OBJECT_MACHINE,
	OBJECT_SESSION,
	OBJECT_REPORT,
	NR_OBJECT_TYPES
};

struct object;

/* What a kind of object does; any context that may sleep, no lock held, but for the last. NULL: nothing. */
struct object_ops {
	const char *name;
	void (*release)(struct object *o);            /* the last reference went */
	void (*opened)(struct object *o, u32 rights); /* one more handle, with these rights */
	void (*closed)(struct object *o, u32 rights); /* one handle less */
	/* Bytes of memory that it keeps, about; a spinlock is held, interrupts are off. */
	u64 (*weight)(const struct object *o);
};

struct object {
	u32 refs;                     /* (a) */
	u32 type;                     /* (c) enum object_type */
	const struct object_ops *ops; /* (c) */
};

static inline void object_init(
	struct object *o, enum object_type type, const struct object_ops *ops)
{
	o->refs = 1;
	o->type = type;
	o->ops = ops;
}

static inline void object_get(struct object *o)
{
	__atomic_add_fetch(&o->refs, 1, __ATOMIC_RELAXED);
}

static inline void object_put(struct object *o)
{
	if (!__atomic_sub_fetch(&o->refs, 1, __ATOMIC_ACQ_REL))
		o->ops->release(o);
}

#endif
