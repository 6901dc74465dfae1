/*
 * native_memory.c - memory objects, pagers, and the memory of other tasks, for ring 3    floor 7, below: mm/, pager
 *
 * The verbs of include/abi/native.h on memory: looks up handles, copies structs, checks what only the door can check,
 * calls the verb that does the work (mm/memory.c, mm/mmap.c, mm/access.c, pager.c).
 *
 * IDEA      task_read: another space -> a piece of kernel memory -> the caller's own, piece by piece. No lock is held
 *           while the caller's memory is touched, and no page of either side is pinned: see mm/access.c.
 *
 * LOCKS     none of its own. A space is held by `users` for the length of a call, so it is not emptied meanwhile.
 * LINUX     mm/process_vm_access.c, mm/mmap.c, fs/userfaultfd.c
 */
#include "native.h"

#include "handle.h"
#include "mm/access.h"
#include "mm/fault.h"
#include "mm/kmalloc.h"
#include "mm/memory.h"
#include "mm/mmap.h"
#include "mm/uaccess.h"
#include "mm/vma.h"
#include "pager.h"
#include "sched.h"
#include "task.h"
#include <abi/errno.h>

#define RIGHTS_MEMORY (RIGHT_READ | RIGHT_WRITE | RIGHT_MANAGE | RIGHT_DUPLICATE)

static s64 get_memory(u64 h, u32 rights, struct memory **m)
{
	struct object *o;
	int error = handle_get(current_handles(), (u32)h, OBJECT_MEMORY, rights, &o, NULL);

	if (!error)
		*m = memory_of(o);
	return error;
}

/* The space of a task, held by `users`. 0 as a handle, where that is allowed: the caller's own. */
static s64 get_space(u64 h, u32 rights, bool own, struct mm **mm)
{
	struct object *o;
	int error;

	if (!(u32)h && own) {
		*mm = current_thread()->mm;
		return mm_get_user(*mm) ? 0 : -ESRCH;
	}
	error = handle_get(current_handles(), (u32)h, OBJECT_TASK, rights, &o, NULL);
	if (error)
		return error;
	*mm = task_mm_user(container_of(o, struct task, object));
	object_put(o);
	return *mm ? 0 : -ESRCH;
}

/* --- objects ---------------------------------------------------------------------------------------------- */

s64 native_memory_create(struct regs *r)
{
	u64 bytes = NATIVE_ARG0(r);
	struct memory *m;

	if (!bytes || bytes > MEMORY_MAX)
		return -EINVAL;
	m = memory_create(bytes);
	return m ? native_new(&m->object, RIGHTS_MEMORY) : -ENOMEM;
}

s64 native_memory_resize(struct regs *r)
{
	struct memory *m;
	s64 result = get_memory(NATIVE_ARG0(r), RIGHT_MANAGE, &m);

	if (result)
		return result;
	result = memory_resize(m, NATIVE_ARG1(r));
	object_put(&m->object);
	return result;
}

s64 native_memory_info(struct regs *r)
{
	struct memory_info info;
	struct memory *m;
	s64 result = get_memory(NATIVE_ARG0(r), RIGHT_READ, &m);

	if (result)
		return result;
	info = (struct memory_info){
		.bytes = READ_ONCE(m->nr_pages) << PAGE_SHIFT,
		.pages = READ_ONCE(m->present),
		.maps = memory_areas(m),
	};
	object_put(&m->object);
	return copy_to_user((void __user *)NATIVE_ARG1(r), &info, sizeof(info));
}

/* --- mapping ---------------------------------------------------------------------------------------------- */

/* Names come from ring 3 and go onto terminals. */
static void clean_name(char name[16])
{
	name[15] = '\0';
	for (char *c = name; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

static s64 map_anonymous(struct mm *mm, const struct memory_map *map)
{
	if (map->offset)
		return -EINVAL;
	return mmap_map_as(mm, map->addr, map->bytes, map->prot, map->flags | MAP_ANONYMOUS,
		*map->name ? map->name : NULL);
}

static s64 map_memory(struct mm *mm, const struct memory_map *map)
{
	struct memory *m;
	bool may_write = true;
	s64 result = get_memory(map->memory, RIGHT_READ | RIGHT_WRITE, &m);

	if (result == -EACCES) {
		may_write = false;
		result = get_memory(map->memory, RIGHT_READ, &m);
	}
	if (result)
		return result;
	result = mmap_map_object(mm, m, map->offset, map->addr, map->bytes, map->prot, map->flags,
		may_write, map->name);
	object_put(&m->object);
	return result;
}

/* MAP_POPULATE is a favour: its failure is not told. The pager of another task's space is not asked. */
static void populate(struct mm *mm, vaddr_t start, const struct memory_map *map)
{
	bool write = map->prot & PROT_WRITE && (map->flags & MAP_TYPE) == MAP_PRIVATE;
	u64 faults = 0;

	if (map->flags & (MAP_POPULATE | MAP_LOCKED) &&
		map->prot & (PROT_READ | PROT_WRITE | PROT_EXEC))
		(void)fault_populate(
			mm, start, start + ALIGN_UP(map->bytes, PAGE_SIZE), write, &faults);
}

s64 native_memory_map(struct regs *r)
{
	struct memory_map map;
	struct mm *mm;
	s64 result;

	if (copy_from_user(&map, (const void __user *)NATIVE_ARG0(r), sizeof(map)))
		return -EFAULT;
	clean_name(map.name);
	result = get_space(map.task, RIGHT_MANAGE, true, &mm);
	if (result)
		return result;
	result = map.memory ? map_memory(mm, &map) : map_anonymous(mm, &map);
	if (result > 0)
		populate(mm, (vaddr_t)result, &map);
	task_drop_mm(mm);
	return result;
}

s64 native_memory_unmap(struct regs *r)
{
	struct mm *mm;
	s64 result = get_space(NATIVE_ARG0(r), RIGHT_MANAGE, true, &mm);

	if (result)
		return result;
	result = mmap_unmap(mm, NATIVE_ARG1(r), NATIVE_ARG2(r));
	task_drop_mm(mm);
	return result;
}

/* --- pagers ----------------------------------------------------------------------------------------------- */

s64 native_pager_attach(struct regs *r)
{
	struct object *ep, *before;
	struct memory *m;
	s64 result = get_memory(NATIVE_ARG0(r), RIGHT_MANAGE, &m);

	if (result)
		return result;
	result = handle_get(
		current_handles(), (u32)NATIVE_ARG1(r), OBJECT_ENDPOINT, RIGHT_RECEIVE, &ep, NULL);
	if (!result) {
		before = memory_set_pager(m, ep, NATIVE_ARG2(r));
		if (before)
			object_put(before);
		object_put(ep);
	}
	object_put(&m->object);
	return result;
}

s64 native_pager_withdraw(struct regs *r)
{
	struct memory *m;
	s64 result = get_memory(NATIVE_ARG0(r), RIGHT_MANAGE, &m);

	if (result)
		return result;
	result = memory_withdraw(m, NATIVE_ARG1(r), NATIVE_ARG2(r));
	object_put(&m->object);
	return result;
}

s64 native_pager_supply(struct regs *r)
{
	struct pager_supply args;
	struct object *ep = NULL;
	struct memory *m = NULL;
	s64 result;

	if (copy_from_user(&args, (const void __user *)NATIVE_ARG0(r), sizeof(args)))
		return -EFAULT;
	if (args.endpoint)
		result = handle_get(current_handles(), args.endpoint, OBJECT_ENDPOINT,
			RIGHT_RECEIVE, &ep, NULL);
	else
		result = get_memory(args.memory, RIGHT_MANAGE, &m);
	if (result)
		return result;
	result = pager_supply(ep ? endpoint_of(ep) : NULL, m, &args, current_thread()->mm);
	object_put(ep ? ep : &m->object);
	return result;
}

/* --- the memory of other tasks ------------------------------------------------------------------------------ */

#define PIECE_SMALL 128
#define PIECE_LARGE PAGE_SIZE

/* What moves: `bytes` between `remote`, in mm, and `local`, in the caller's own memory. */
struct transfer {
	struct mm *mm;
	vaddr_t remote, local;
	u64 bytes;
};

static s64 read_piece(const struct transfer *t, u8 *buf, u64 n)
{
	s64 got = mm_read(t->mm, t->remote, buf, n);

	if (got > 0 && copy_to_user((void __user *)t->local, buf, (u64)got))
		return -EFAULT;
	return got;
}

static s64 write_piece(const struct transfer *t, u8 *buf, u64 n)
{
	if (copy_from_user(buf, (const void __user *)t->local, n))
		return -EFAULT;
	return mm_write(t->mm, t->remote, buf, n);
}

/* Piece by piece, until an error, a kill or the end. Bytes moved, or the error if there were none. */
static __always_inline s64 transfer(struct transfer *t, bool write, u8 *buf, u64 piece)
{
	u64 done = 0;
	s64 n = 0;

	while (done < t->bytes) {
		u64 want = MIN(t->bytes - done, piece - t->remote % piece);

		n = write ? write_piece(t, buf, want) : read_piece(t, buf, want);
		if (n <= 0)
			break;
		done += (u64)n;
		t->remote += (u64)n;
		t->local += (u64)n;
		if (thread_killed())
			break;
	}
	return done ? (s64)done : n;
}

static __noinline s64 transfer_large(struct transfer *t, bool write)
{
	u8 *buf = kmalloc(PIECE_LARGE);
	s64 result;

	if (!buf)
		return -ENOMEM;
	result = transfer(t, write, buf, PIECE_LARGE);
	kfree(buf);
	return result;
}

static __noinline s64 transfer_small(struct transfer *t, bool write)
{
	u8 buf[PIECE_SMALL];

	return transfer(t, write, buf, PIECE_SMALL);
}

static s64 task_access(struct regs *r, bool write)
{
	struct transfer t = {
		.remote = NATIVE_ARG1(r), .local = NATIVE_ARG2(r), .bytes = NATIVE_ARG3(r)};
	s64 result = get_space(NATIVE_ARG0(r), write ? RIGHT_WRITE : RIGHT_READ, false, &t.mm);

	if (result)
		return result;
	result = t.bytes <= PIECE_SMALL ? transfer_small(&t, write) : transfer_large(&t, write);
	task_drop_mm(t.mm);
	return result;
}

s64 native_task_read(struct regs *r)
{
	return task_access(r, false);
}

s64 native_task_write(struct regs *r)
{
	return task_access(r, true);
}
