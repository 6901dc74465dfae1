/*
 * handle.h - the table by which a task names objects.                                         floor 4
 */
#ifndef HANDLE_H
#define HANDLE_H

#include "object.h"
#include "sync.h"
#include <abi/native.h>

struct handle {
	struct object *object; /* NULL: free; one reference */
	u32 rights;            /* RIGHT_* */
	u32 next_free;
	u64 badge; /* endpoints */
};

struct handle_table {
	struct spinlock lock;
	struct handle *slots; /* (lock) index 0 is never used; grows up to HANDLE_MAX */
	u32 nr;               /* (lock) length of slots */
	u32 free;             /* (lock) first free one; 0: none */
};

void handle_table_init(struct handle_table *t);
void handle_table_release(
	struct handle_table *t); /* closes all, frees the slots; nobody else uses it any more */

/*
 * handle_install - name o in t.
 *
 *   index    0: the lowest free one, else exactly that one
 *   returns  the index; -EMFILE (HANDLE_MAX), -ENOMEM, -EEXIST (index taken), -EINVAL (index too large)
 *   after    the handle has a reference of its own; the caller keeps its
 */
int handle_install(struct handle_table *t, struct object *o, u32 rights, u64 badge, u32 index);

/*
 * handle_get - the object behind h with a reference, if it is of that type and the handle has all of `rights`.
 *
 *   badge    NULL, or where the handle's badge goes
 *   returns  0, -EBADF (no such handle), -EINVAL (another type), -EACCES (a right is missing)
 */
int handle_get(struct handle_table *t, u32 h, enum object_type type, u32 rights, struct object **o,
	u64 *badge);
int handle_close(struct handle_table *t, u32 h); /* 0, -EBADF */

/* The whole handle, with a reference on its object: duplicate, grant, send. 0, -EBADF. */
int handle_read(struct handle_table *t, u32 h, struct handle *out);

#endif
