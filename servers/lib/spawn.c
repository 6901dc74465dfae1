/*
 * spawn.c - start a program as a native task                                                    ring 3
 *
 * Puts together what image.c describes, in a task that does nothing yet. Used for the servers; programs of the personality
 * are laid out by the personality.
 *
 * IDEA
 *   a piece that may be written     anonymous memory of the task, written through task_write()
 *   one that may not (text)         a memory object: filled here, through a mapping of our own that may be written, then
 *                                   mapped there with its final rights. No page is writable and executable in any space
 *   The task is given its thread last: whatever fails before, one task_kill() and two closed handles undo it.
 *
 * INVARIANTS (the kernel's audit checks P1)
 *   P1  no page of the new space is writable and executable
 *   P2  after an error no handle, mapping or task of the attempt is left
 *
 * LOCKS     none: one thread.
 * LINUX     fork and exec by init(8); here nobody has to be copied first.
 */
#include "spawn.h"

#include "image.h"
#include "native.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#define STACK_BYTES (256ul << 10)
#define FIRST_STACK 4096 /* what argv and the auxiliary vector need */

static long fail(struct spawn *s, long error, const char *what)
{
	s->error = what;
	return error;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static struct memory_map piece_map(const struct spawn *s, const struct image_piece *p)
{
	struct memory_map map = {
		.task = s->task,
		.addr = p->addr,
		.bytes = p->bytes,
		.prot = p->prot,
		.flags = MAP_PRIVATE | MAP_FIXED,
	};

	strncpy(map.name, base_name(s->name), sizeof(map.name) - 1);
	return map;
}

/* A memory object with the piece's bytes: a handle, or a negated errno. */
static long make_text(const struct image_piece *p)
{
	struct memory_map map = {
		.bytes = p->bytes, .prot = PROT_READ | PROT_WRITE, .flags = MAP_SHARED};
	long memory = memory_create(p->bytes), addr;

	if (memory < 0)
		return memory;
	map.memory = memory;
	addr = memory_map(&map);
	if (addr < 0) {
		handle_close(memory);
		return addr;
	}
	memcpy((char *)addr + (p->data_addr - p->addr), p->data, p->data_bytes);
	memory_unmap(0, addr, p->bytes);
	return memory;
}

static long map_text(const struct spawn *s, const struct image_piece *p)
{
	struct memory_map map = piece_map(s, p);
	long memory = make_text(p), addr;

	if (memory < 0)
		return memory;
	map.memory = memory;
	addr = memory_map(&map);
	handle_close(memory);
	return addr < 0 ? addr : 0;
}

static long map_piece(const struct spawn *s, const struct image_piece *p)
{
	struct memory_map map = piece_map(s, p);
	long result;

	if (p->kind == IMAGE_COPY && !(p->prot & PROT_WRITE))
		return map_text(s, p);
	result = memory_map(&map);
	if (result < 0 || p->kind == IMAGE_ZERO)
		return result < 0 ? result : 0;
	result = task_write(s->task, p->data_addr, p->data, p->data_bytes);
	if (result < 0)
		return result;
	return (uint64_t)result == p->data_bytes ? 0 : -ENOMEM;
}

static long map_image(struct spawn *s, const struct image *image)
{
	for (unsigned i = 0; i < image->nr_pieces; i++) {
		long error = map_piece(s, &image->piece[i]);

		if (error)
			return fail(s, error, "a segment cannot be mapped");
	}
	return 0;
}

/* The stack with its name as argument; label: the borders that /proc shows. */
static long map_stack(struct spawn *s, const struct image *image, uint64_t *rsp)
{
	static uint64_t buf[FIRST_STACK / sizeof(uint64_t)];
	struct memory_map map = {.task = s->task,
		.bytes = STACK_BYTES,
		.prot = PROT_READ | PROT_WRITE,
		.flags = MAP_PRIVATE | MAP_FIXED | MAP_GROWSDOWN | MAP_STACK,
		.name = "[stack]"};
	struct task_label label = {.brk_start = image->brk};
	struct image_stack stack;
	struct task_info info;
	uint8_t random[16];
	struct image_args args = {.path = s->name,
		.args = s->name,
		.arg_bytes = strlen(s->name) + 1,
		.argc = 1,
		.env = "",
		.random = random};
	long result = task_info(s->task, &info);

	if (result < 0)
		return fail(s, result, "task_info");
	getrandom(random, sizeof(random), 0);
	if (!image_stack(image, &args, info.stack_top, buf, sizeof(buf), &stack))
		return fail(s, -E2BIG, "its name is too long");
	map.addr = info.stack_top - STACK_BYTES;
	result = memory_map(&map);
	if (result >= 0)
		result = task_write(s->task, stack.sp, stack.bytes, stack.nr_bytes);
	if (result < 0)
		return fail(s, result, "no memory for its stack");
	strncpy(label.name, base_name(s->name), sizeof(label.name) - 1);
	label.arg_start = stack.arg_start;
	label.arg_end = stack.arg_end;
	task_label(s->task, &label, LABEL_NAME | LABEL_LAYOUT);
	*rsp = stack.sp;
	return 0;
}

static long grant_handles(struct spawn *s)
{
	for (unsigned i = 0; i < s->nr_grants; i++) {
		const struct spawn_grant *g = &s->grants[i];
		long result =
			handle_grant(s->task, g->handle ? g->handle : s->task, g->rights, g->index);

		if (result < 0)
			return fail(s, result, "a handle cannot be granted");
	}
	return 0;
}

static long fill_task(struct spawn *s, const struct image *image)
{
	struct thread_start start = {.cookie = s->cookie, .rip = image->entry};
	long result = map_image(s, image);

	if (!result)
		result = map_stack(s, image, &start.rsp);
	if (!result)
		result = grant_handles(s);
	if (result)
		return result;
	result = thread_create(s->task, &start);
	if (result < 0)
		return fail(s, result, "no thread");
	s->thread = result;
	return 0;
}

long spawn_task(struct spawn *s)
{
	static struct image image;
	enum elf_result opened = image_open(&image, s->file, s->file_bytes, ~0ul);
	long result;

	s->error = NULL;
	if (opened != ELF_OK)
		return fail(s, -ENOEXEC, elf_text(opened));
	result = task_create(s->machine, TASK_NEW | TASK_NATIVE, 0, s->exits);
	if (result < 0)
		return fail(s, result, "no task");
	s->task = result;
	result = fill_task(s, &image);
	if (result) {
		task_kill(s->task, 9);
		handle_close(s->task);
	}
	return result;
}
