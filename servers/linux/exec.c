/*
 * exec.c - a new program in an old process, or in a fresh one                                   ring 3
 *
 * IDEA
 *   read path, arguments, environment     from the old space
 *   open the file; "#!": its interpreter, with the script as argument
 *   test it, lay it out (image.c), build the first stack in our own memory
 *   end the other threads                 the call waits, and begins from its first line when they have gone
 *   ---- until here a failure is an errno, and nothing has changed ----
 *   mm_reset                              the old space is gone
 *   map the pieces, write the stack, forget handlers, close what is close-on-exec, set the registers
 *   ---- a failure here ends the process: there is nothing to return to ----
 *
 * INVARIANT  E1  the file stays open, and with it its memory, while the process runs it
 *
 * WEAKER  the thread that calls keeps its own tid; in Linux it becomes the process's. Set-user-id bits mean nothing: there is
 *         one user.
 * LINUX   fs/exec.c, fs/binfmt_elf.c, fs/binfmt_script.c
 */
#define _GNU_SOURCE
#include "image.h"

#include "calls.h"
#include "core.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#define STACK_BYTES (256ul << 10) /* mapped at first; it grows */
#define COPY_BELOW  (64ul << 10) /* data up to here is copied: cheaper than a fault for each page */
#define SCRIPT_LINE 256
#define SCRIPT_NEST 5 /* interpreters that are scripts themselves */

/* Strings one after the other, each with its zero. */
struct text {
	char *bytes;
	size_t used, size;
	unsigned count;
};

/*
 * All that is known before the old program goes. There is one at a time; its buffers are kept for the next, unless they have
 * become large.
 */
static struct exec {
	char path[PATH_MAX]; /* as the caller named it: AT_EXECFN; a script's interpreter later */
	char name[16];       /* of the process afterwards */
	struct text args, env;
	struct file *file;
	uint8_t *copy;   /* the file, where it does not lie in our space as it is */
	uint32_t memory; /* to map its pages from; 0: they are copied */
	struct image image;
	uint8_t *stack; /* stack_size bytes */
	size_t stack_size;
	struct image_stack first;
	uint64_t stack_top;
} the_exec;

#define KEEP_BYTES (64ul << 10)

static struct exec *exec_begin(void)
{
	struct exec *e = &the_exec;

	memset(e->name, 0, sizeof(e->name));
	e->args.used = e->args.count = e->env.used = e->env.count = 0;
	return e;
}

/* --- strings ---------------------------------------------------------------------------------------------------- */

static long text_reserve(struct text *t, size_t bytes)
{
	size_t size = t->size ? t->size : PAGE_BYTES;
	char *bigger;

	if (t->used + bytes <= t->size)
		return 0;
	if (t->used + bytes > IMAGE_ARGS_MAX)
		return -E2BIG;
	while (size < t->used + bytes)
		size *= 2;
	bigger = realloc(t->bytes, size);
	if (!bigger)
		return -ENOMEM;
	t->bytes = bigger;
	t->size = size;
	return 0;
}

static long text_add(struct text *t, const char *bytes, size_t n)
{
	long error = text_reserve(t, n);

	if (error)
		return error;
	memcpy(t->bytes + t->used, bytes, n);
	t->used += n;
	return 0;
}

static long text_add_string(struct text *t, const char *s)
{
	t->count++;
	return text_add(t, s, strlen(s) + 1);
}

/* Arguments lie close together: what follows one on its page is read with it. */
struct reader {
	struct call *call;
	uint64_t start, end; /* of what is in bytes */
	char bytes[PAGE_BYTES];
};

/* Where the caller's byte at addr is in our memory, and how many follow it there. */
static long reader_at(struct reader *r, uint64_t addr, const char **at, size_t *n)
{
	if (addr < r->start || addr >= r->end) {
		size_t bytes = PAGE_BYTES - addr % PAGE_BYTES;
		long error;

		r->end = 0;
		error = copy_in(r->call, r->bytes, addr, bytes);
		if (error)
			return error;
		r->start = addr;
		r->end = addr + bytes;
	}
	*at = r->bytes + (addr - r->start);
	*n = r->end - addr;
	return 0;
}

static long read_pointer(struct reader *r, uint64_t addr, uint64_t *value)
{
	for (size_t done = 0; done < sizeof(*value);) {
		const char *at;
		size_t n;
		long error = reader_at(r, addr + done, &at, &n);

		if (error)
			return error;
		n = MIN(n, sizeof(*value) - done);
		memcpy((char *)value + done, at, n);
		done += n;
	}
	return 0;
}

static long read_string(struct reader *r, uint64_t addr, struct text *t)
{
	size_t start = t->used;
	const char *at, *end = NULL;
	size_t n;

	t->count++;
	while (!end) {
		long error = reader_at(r, addr, &at, &n);

		if (error)
			return error;
		end = memchr(at, 0, n);
		n = end ? (size_t)(end - at) + 1 : n;
		error = text_add(t, at, n);
		if (error)
			return error;
		addr += n;
		if (t->used - start > IMAGE_ARG_MAX)
			return -E2BIG;
	}
	return 0;
}

/* An array of pointers to strings, the last NULL. Pointers and strings have a page each. */
static long read_strings(struct call *c, uint64_t array, struct text *t)
{
	static struct reader pointers, strings;

	pointers.call = strings.call = c;
	pointers.end = strings.end = 0;
	for (uint64_t at = array; array; at += sizeof(uint64_t)) {
		uint64_t string;
		long error = read_pointer(&pointers, at, &string);

		if (error || !string)
			return error;
		error = read_string(&strings, string, t);
		if (error)
			return error;
		if (t->used + t->count * sizeof(uint64_t) > IMAGE_ARGS_MAX)
			return -E2BIG;
	}
	return 0;
}

/* --- the file ---------------------------------------------------------------------------------------------------- */

static void close_file(struct exec *e)
{
	free(e->copy);
	e->copy = NULL;
	if (e->file)
		file_put(e->file);
	e->file = NULL;
}

/* The whole file in our memory: where it lies, or a copy. NULL: no memory. */
static const uint8_t *whole_file(struct exec *e, size_t size)
{
	const uint8_t *bytes = file_bytes_at(e->file);

	if (bytes || !size)
		return bytes ? bytes : (const uint8_t *)"";
	e->copy = malloc(size);
	if (e->copy && file_read_at(e->file, 0, e->copy, size) != (long)size) {
		free(e->copy);
		e->copy = NULL;
	}
	return e->copy;
}

/*
 * "#! interpreter argument": the arguments become interpreter, argument, path of the script, and what followed the script's
 * name. -> 1: it was one; 0: it was none; -errno
 */
static long read_script(struct exec *e)
{
	char line[SCRIPT_LINE + 1], *interpreter, *argument, *end;
	long n = file_read_at(e->file, 0, line, SCRIPT_LINE), error = 0;
	struct text args = {0};
	size_t skip = e->args.count ? strlen(e->args.bytes) + 1 : 0;

	if (n < 2 || line[0] != '#' || line[1] != '!')
		return n < 0 ? n : 0;
	line[n] = 0;
	end = strchr(line, '\n');
	if (!end && n == SCRIPT_LINE)
		return -ENOEXEC;
	end = end ? end : line + n;
	while (end > line && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
		end--;
	*end = 0;
	interpreter = line + 2 + strspn(line + 2, " \t");
	if (!*interpreter)
		return -ENOEXEC;
	argument = interpreter + strcspn(interpreter, " \t");
	if (*argument)
		*argument++ = 0;
	argument += strspn(argument, " \t");

	error = text_add_string(&args, interpreter);
	if (!error && *argument)
		error = text_add_string(&args, argument);
	if (!error)
		error = text_add_string(&args, e->path);
	if (!error && e->args.used > skip)
		error = text_add(&args, e->args.bytes + skip, e->args.used - skip);
	args.count += e->args.count ? e->args.count - 1 : 0;
	free(e->args.bytes);
	e->args = args;
	strcpy(e->path, interpreter);
	return error ? error : 1;
}

static long refuse(struct exec *e, enum elf_result why)
{
	if (why != ELF_DYNAMIC)
		return -ENOEXEC;
	linux_log("%s: dynamic linking is not supported: build with -static", e->path);
	return -ELIBBAD;
}

static void set_name(struct exec *e, const char *path)
{
	const char *slash = strrchr(path, '/');

	const char *name = slash && slash[1] ? slash + 1 : path;

	memcpy(e->name, name, strnlen(name, sizeof(e->name) - 1));
}

/* Open, follow scripts, lay out. -> 0, -errno; e->file stays open either way until close_file() */
static long find_program(struct process *p, struct exec *e, int at, bool empty_path)
{
	long result = 1;

	set_name(e, e->path);
	for (int nest = 0; result == 1; nest++) {
		if (nest > SCRIPT_NEST)
			return -ELOOP;
		close_file(e);
		result = file_open_exec(
			p, nest ? AT_FDCWD : at, e->path, empty_path && !nest, &e->file);
		if (!result)
			result = read_script(e);
		if (result < 0)
			return result;
	}
	return 0;
}

static long lay_out(struct exec *e)
{
	uint64_t size = file_bytes(e->file);
	const uint8_t *bytes = whole_file(e, size);
	enum elf_result why;

	if (!bytes)
		return -ENOMEM;
	e->memory = 0;
	if (size && !e->copy && file_memory(e->file, &e->memory))
		e->memory = 0;
	why = image_open(&e->image, bytes, size, e->memory ? COPY_BELOW : ~0ull);
	return why == ELF_OK ? 0 : refuse(e, why);
}

/* The first stack, in our memory. The new space will want it where every empty space wants it. */
static long build_stack(struct process *p, struct exec *e)
{
	uint8_t random[16];
	struct image_args args = {
		.path = e->path,
		.args = e->args.bytes,
		.arg_bytes = e->args.used,
		.argc = e->args.count,
		.env = e->env.bytes,
		.env_bytes = e->env.used,
		.envc = e->env.count,
		.random = random,
	};
	size_t room = ALIGN_UP(image_stack_room(&args), 16);
	struct task_info info;

	if (e->args.used + e->env.used > IMAGE_ARGS_MAX)
		return -E2BIG;
	if (task_info(p->task, &info) < 0)
		return -ENOMEM;
	e->stack_top = info.stack_top;
	if (room > e->stack_size) {
		free(e->stack);
		e->stack = malloc(room);
		e->stack_size = e->stack ? room : 0;
	}
	if (!e->stack)
		return -ENOMEM;
	getrandom(random, sizeof(random), 0);
	if (!image_stack(
		    &e->image, &args, info.stack_top, e->stack, e->stack_size & ~15ul, &e->first))
		return -E2BIG;
	return 0;
}

static void text_trim(struct text *t)
{
	if (t->size <= KEEP_BYTES)
		return;
	free(t->bytes);
	*t = (struct text){0};
}

static void exec_end(struct exec *e)
{
	close_file(e);
	text_trim(&e->args);
	text_trim(&e->env);
	if (e->stack_size <= KEEP_BYTES)
		return;
	free(e->stack);
	e->stack = NULL;
	e->stack_size = 0;
}

/* --- the new space ----------------------------------------------------------------------------------------------- */

/* Bytes of a piece that may not be written there: through a memory object that is filled here. */
static long map_filled(struct memory_map map, const struct image_piece *piece)
{
	struct memory_map own = {
		.bytes = piece->bytes, .prot = PROT_READ | PROT_WRITE, .flags = MAP_SHARED};
	long memory = memory_create(piece->bytes), at;

	if (memory < 0)
		return memory;
	own.memory = map.memory = (uint32_t)memory;
	at = memory_map(&own);
	if (at >= 0) {
		memcpy((char *)at + (piece->data_addr - piece->addr), piece->data,
			piece->data_bytes);
		memory_unmap(0, (uint64_t)at, piece->bytes);
		at = memory_map(&map);
	}
	handle_close((uint32_t)memory);
	return at < 0 ? at : 0;
}

static long map_piece(struct process *p, const struct exec *e, const struct image_piece *piece)
{
	struct memory_map map = {
		.task = p->task,
		.addr = piece->addr,
		.bytes = piece->bytes,
		.prot = piece->prot,
		.flags = MAP_PRIVATE | MAP_FIXED,
	};
	long at;

	memcpy(map.name, e->name, sizeof(map.name));
	if (piece->kind == IMAGE_COPY && !(piece->prot & PROT_WRITE))
		return map_filled(map, piece);
	if (piece->kind == IMAGE_FILE) {
		map.memory = e->memory;
		map.offset = piece->file_offset;
	} else {
		map.flags |= MAP_ANONYMOUS;
	}
	at = memory_map(&map);
	if (at < 0)
		return at;
	if (piece->kind != IMAGE_COPY)
		return 0;
	return task_write(p->task, piece->data_addr, piece->data, piece->data_bytes) ==
			       (long)piece->data_bytes
		       ? 0
		       : -ENOMEM;
}

static long map_stack(struct process *p, const struct exec *e)
{
	uint64_t bytes = ALIGN_UP(e->first.nr_bytes, PAGE_BYTES) + STACK_BYTES;
	struct memory_map map = {
		.task = p->task,
		.addr = e->stack_top - bytes,
		.bytes = bytes,
		.prot = PROT_READ | PROT_WRITE | (e->image.elf.exec_stack ? PROT_EXEC : 0),
		.flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN | MAP_STACK,
		.name = "[stack]",
	};
	long at = memory_map(&map);

	if (at < 0)
		return at;
	return task_write(p->task, e->first.sp, e->first.bytes, e->first.nr_bytes) ==
			       (long)e->first.nr_bytes
		       ? 0
		       : -ENOMEM;
}

/* An empty space becomes the program's. */
static long fill_space(struct process *p, struct exec *e)
{
	struct task_label label = {
		.brk_start = e->image.brk,
		.arg_start = e->first.arg_start,
		.arg_end = e->first.arg_end,
	};
	long error = 0;

	memcpy(label.name, e->name, sizeof(label.name));

	for (unsigned i = 0; i < e->image.nr_pieces && !error; i++)
		error = map_piece(p, e, &e->image.piece[i]);
	if (!error)
		error = map_stack(p, e);
	if (!error)
		error = task_label(p->task, &label, LABEL_NAME | LABEL_LAYOUT);
	return error;
}

/* What a process remembers of its program. The file stays open (E1). */
static void take_program(struct process *p, struct exec *e)
{
	static char path[PATH_MAX];

	memset(p->name, 0, sizeof(p->name));
	memcpy(p->name, e->name, sizeof(e->name));
	process_set_path(p, file_path(e->file, path, sizeof(path)) ? NULL : path);
	if (p->exe)
		file_put(p->exe);
	p->exe = e->file;
	e->file = NULL;
}

/* --- execve -------------------------------------------------------------------------------------------------------- */

/* The other threads are killed; the call runs again as each of them ends. */
static long end_other_threads(struct call *c)
{
	struct process *p = c->thread->process;

	answers_flush();
	list_each(l, &p->threads)
	{
		struct thread *t = container_of(l, struct thread, in_process);

		if (t == c->thread || t->state == THREAD_ENDING)
			continue;
		call_forget(&t->call);
		t->state = THREAD_ENDING;
		thread_kill(t->handle, 0);
	}
	return call_wait(c, &p->threads_changed);
}

/* The old space goes. -errno: it is still there, and nothing has changed. */
static long leave_space(struct call *c, struct exec *e)
{
	struct process *p = c->thread->process;
	long error = files_unshare(p);

	if (error)
		return error;
	error = mm_reset(p->task);
	if (error)
		return error == -EBUSY ? -EAGAIN : error;
	error = fill_space(p, e);
	if (!error)
		error = frame_fpu_reset(c->thread);
	if (error) {
		linux_log("%s[%d]: exec failed: error %ld", e->name, p->pid, error);
		process_kill(p, SIGKILL);
		return CALL_GONE;
	}
	return 0;
}

static long replace_program(struct call *c, struct exec *e)
{
	struct thread *t = c->thread;
	struct process *p = t->process;
	struct thread_regs regs = {.rip = e->image.entry, .rsp = e->first.sp, .rflags = 0x202};
	long error = leave_space(c, e);

	if (error)
		return error;
	signals_exec(p, t);
	files_exec(p);
	take_program(p, e);
	p->has_execed = true;
	vfork_release(p);
	error = thread_set_regs(t->handle, &regs);
	if (error) {
		process_kill(p, SIGKILL);
		return CALL_GONE;
	}
	return CALL_SET;
}

static long do_exec(struct call *c, int at, uint64_t path, uint64_t argv, uint64_t envp, int flags)
{
	struct process *p = c->thread->process;
	struct exec *e = exec_begin();
	long error;

	error = copy_in_text(c, e->path, path, sizeof(e->path));
	if (error == 0 && !(flags & AT_EMPTY_PATH))
		error = -ENOENT;
	if (error >= 0)
		error = read_strings(c, argv, &e->args);
	if (!error)
		error = read_strings(c, envp, &e->env);
	if (!error && !e->args.count)
		error = text_add_string(&e->args, "");
	if (!error)
		error = find_program(p, e, at, flags & AT_EMPTY_PATH);
	if (!error)
		error = lay_out(e);
	if (!error)
		error = build_stack(p, e);
	if (!error)
		error = p->nr_threads > 1 ? end_other_threads(c) : replace_program(c, e);
	exec_end(e);
	return error;
}

long sys_execve(struct call *c)
{
	return do_exec(c, AT_FDCWD, c->arg[0], c->arg[1], c->arg[2], 0);
}

long sys_execveat(struct call *c)
{
	int flags = (int)c->arg[4];

	if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
		return -EINVAL;
	return do_exec(c, (int)c->arg[0], c->arg[1], c->arg[2], c->arg[3], flags);
}

/* --- a first process ------------------------------------------------------------------------------------------------ */

static long start_in(struct process *p, struct exec *e, const struct start *start)
{
	struct thread_start begin = {.flags = 0};
	struct thread *t;
	long h = task_create(SLOT_MACHINE, TASK_NEW, 0, SLOT_SERVICE);

	if (h < 0)
		return h;
	p->task = (uint32_t)h;
	h = handle_grant(p->task, SLOT_MACHINE, RIGHT_DEBUG, HANDLE_MACHINE);
	if (h >= 0)
		h = build_stack(p, e);
	if (!h)
		h = fill_space(p, e);
	t = h ? NULL : thread_alloc(p);
	if (!t)
		return h ? h : -ENOMEM;
	pid_use(p->pid);
	thread_set_tid(t, p->pid);
	begin.cookie = t->cookie;
	begin.tid = (uint32_t)p->pid;
	begin.rip = e->image.entry;
	begin.rsp = e->first.sp;
	h = thread_create(p->task, &begin);
	if (h < 0)
		return h;
	t->handle = (uint32_t)h;
	take_program(p, e);
	p->has_execed = true;
	process_label(p, LABEL_PIDS);
	if (start->foreground)
		job_give(p->session, p->pgrp);
	return start->held ? 0 : thread_resume(t->handle);
}

static long prepare_start(struct process *p, struct exec *e, const struct start *start)
{
	long error = files_create(p);

	if (!error && start->folder)
		error = file_chdir(p, start->folder);
	if (!error && strlen(start->path) >= sizeof(e->path))
		error = -ENAMETOOLONG;
	if (error)
		return error;
	strcpy(e->path, start->path);
	error = text_add(&e->args, start->args, start->arg_bytes);
	if (!error)
		error = text_add(&e->env, start->env, start->env_bytes);
	e->args.count = start->argc;
	e->env.count = start->envc;
	if (!error)
		error = find_program(p, e, AT_FDCWD, false);
	return error ? error : lay_out(e);
}

int process_start(const struct start *start)
{
	struct exec *e = exec_begin();
	struct process *p = process_may_fork(NULL) ? process_alloc(NULL) : NULL;
	long error;

	if (!p)
		return -EAGAIN;
	if (start->session)
		process_set_group(p, p->pid, start->session);
	error = prepare_start(p, e, start);
	if (!error)
		error = start_in(p, e, start);
	exec_end(e);
	if (!error)
		return p->pid;
	process_discard(p);
	return (int)error;
}
