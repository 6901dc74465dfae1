/*
 * loader.c - from a file of the initrd to a running task          floor 7, below: mm/mmap.c, linux_min.c
 *
 * Loads static ELF64 programs: at their own address (ET_EXEC) or, static-pie, where Linux puts such
 * programs. It reads no ELF header itself (lib/elf.c does) and links nothing.
 *
 * IDEA
 *   the caller                            the new task, in the kernel, in its own space
 *     find the file, elf_open()
 *     an empty space, a task  ----------> map a segment, copy its bytes, set its rights; the next
 *     sleep                               the stack: words, auxiliary vector, argc
 *     0, or why not           <---------- tell how it went
 *                                         ring 3, at the entry point
 *   In its own space the bytes go through copy_to_user(): pages come by ordinary faults, and a program
 *   that does not fit is refused by the same paths that refuse it later.
 *
 *   a fresh stack, from mm->stack_top downwards
 *     0, path, environment strings, argument strings, "x86_64", 16 random bytes
 *     (to 16 bytes)  0 0, auxiliary vector, 0, envp, 0, argv, argc  <- rsp
 *
 * INVARIANTS
 *   E5  no page is writable and executable while ring 3 runs: rights are set after the copy
 *   E6  what ring 3 sees of the last page of a segment behind its bytes is zero (fresh frames are)
 *   E7  rsp is a multiple of 16 at entry                        System V ABI, AMD64, 3.4.1
 *
 * LOCKS     none held across a call; the request is shared by two threads and counted.
 * LINUX     fs/binfmt_elf.c maps the file's pages instead of copying them, and loads ld.so too.
 */
#include "loader.h"

#include "lib/cpio.h"
#include "lib/elf.h"
#include "lib/format.h"
#include "lib/string.h"
#include "linux_min.h"
#include "mm/kmalloc.h"
#include "mm/mmap.h"
#include "mm/uaccess.h"
#include "random.h"
#include "sched.h"
#include "x86/switch.h"
#include <abi/errno.h>

#define PATH_BYTES  128
#define STACK_BYTES (132ul << 10)    /* mapped at once, as by Linux; more by faults, to 8 MiB */
#define MMAP_GAP    (128ul << 20)    /* the stack's own: Linux's smallest gap below it */
#define PIE_BASE    0x555555554000ul /* where Linux loads position-independent programs */
#define ERROR_BYTES 96

/* One start, shared by who asked and by the new thread; the last of the two frees it. */
struct request {
	u32 refs;
	struct waitq wait;
	bool done;
	int result; /* 0, or -errno with a text in error */
	char error[ERROR_BYTES];
	char path[PATH_BYTES];
	struct elf elf;
	u64 bias;               /* added to every address of a static-pie */
	struct object *machine; /* a server: what it finds in its table; else NULL */
	int argc;
	usize arg_bytes;
	char args[LOADER_ARG_BYTES]; /* argument after argument, each with its zero */
	u64 words[LOADER_ARGS + 64]; /* what rsp will point at */
};

static const void *initrd;
static usize initrd_bytes;

static const char *const environment[] = {"PATH=/bin", "HOME=/", "TERM=linux"};

void loader_init(const void *archive, usize bytes)
{
	initrd = archive;
	initrd_bytes = bytes;
}

const void *loader_initrd(usize *bytes)
{
	*bytes = initrd_bytes;
	return initrd;
}

/* Both threads report the first thing that went wrong; the text goes to whoever asked. */
static int __printf(3, 4) refuse(struct request *q, int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vformat(q->error, sizeof(q->error), fmt, ap);
	va_end(ap);
	q->result = error;
	return error;
}

static void request_put(struct request *q)
{
	if (!__atomic_sub_fetch(&q->refs, 1, __ATOMIC_ACQ_REL))
		kfree(q);
}

/* --- in the new task: segments --------------------------------------------------------------------------- */

static u32 segment_prot(const struct elf_segment *s)
{
	return (s->flags & PF_R ? PROT_READ : 0) | (s->flags & PF_W ? PROT_WRITE : 0) |
	       (s->flags & PF_X ? PROT_EXEC : 0);
}

static int copy_segment(struct request *q, const struct elf_segment *s, const char *name)
{
	struct mm *mm = current_thread()->mm;
	vaddr_t first = q->bias + ALIGN_DOWN(s->start, PAGE_SIZE), start = q->bias + s->start;
	vaddr_t bytes_end = ALIGN_UP(start + s->file_bytes, PAGE_SIZE);
	vaddr_t end = ALIGN_UP(start + s->memory_bytes, PAGE_SIZE);
	u32 prot = segment_prot(s);
	int error = 0;

	if (bytes_end > first && s->file_bytes)
		error = mmap_map_named(
			mm, first, bytes_end - first, PROT_READ | PROT_WRITE, 0, name);
	else
		bytes_end = first;
	if (!error && end > bytes_end) /* the part that only has to be zero */
		error = mmap_map_named(mm, bytes_end, end - bytes_end, prot, 0, "");
	if (error)
		return refuse(q, error, "segment at 0x%lx, 0x%lx bytes: %s", start, s->memory_bytes,
			error == -ENOMEM ? "no memory" : "its place cannot be mapped");
	if (bytes_end == first)
		return 0;
	if (copy_to_user((void __user *)start, s->data, s->file_bytes))
		return refuse(q, -ENOMEM, "segment at 0x%lx: no memory for its bytes", start);
	error = mmap_protect(mm, first, bytes_end - first, prot); /* E5 */
	return error ? refuse(q, error, "segment at 0x%lx: rights cannot be set", start) : 0;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static int load_segments(struct request *q)
{
	struct mm *mm = current_thread()->mm;
	struct elf_segment s;
	unsigned int index = 0;

	while (elf_next(&q->elf, PT_LOAD, &index, &s)) {
		int error = copy_segment(q, &s, base_name(q->path));

		if (error)
			return error;
	}
	mm->brk_start = mm->brk = q->bias + q->elf.high;
	return 0;
}

/* Where a static-pie goes: the base, rounded so that every segment keeps its alignment. */
static u64 choose_bias(const struct elf *elf)
{
	struct elf_segment s;
	unsigned int index = 0;
	u64 align = PAGE_SIZE;

	if (!elf->pie)
		return 0;
	while (elf_next(elf, PT_LOAD, &index, &s))
		align = MAX(align, s.align);
	return ALIGN_UP(PIE_BASE, align) - ALIGN_DOWN(elf->low, align);
}

/* --- in the new task: the stack ---------------------------------------------------------------------------- */

#define AT_NULL     0
#define AT_PHDR     3
#define AT_PHENT    4
#define AT_PHNUM    5
#define AT_PAGESZ   6
#define AT_BASE     7
#define AT_FLAGS    8
#define AT_ENTRY    9
#define AT_UID      11
#define AT_EUID     12
#define AT_GID      13
#define AT_EGID     14
#define AT_PLATFORM 15
#define AT_HWCAP    16
#define AT_CLKTCK   17
#define AT_SECURE   23
#define AT_RANDOM   25
#define AT_EXECFN   31

/* Bytes onto the stack of ring 3: *sp moves down. 0 or -EFAULT. */
static int push(vaddr_t *sp, const void *bytes, usize n)
{
	*sp -= n;
	return copy_to_user((void __user *)*sp, bytes, n);
}

/* The strings and blobs that the words point at. */
struct strings {
	vaddr_t path, env[ARRAY_SIZE(environment)], args, platform, random;
};

static int push_strings(struct request *q, vaddr_t *sp, struct strings *at)
{
	static const char platform[] = "x86_64";
	const u64 zero = 0;
	u8 random[16];
	int error = push(sp, &zero, sizeof(zero));

	error |= push(sp, q->path, strlen(q->path) + 1);
	at->path = *sp;
	for (unsigned i = ARRAY_SIZE(environment); i-- > 0;) {
		error |= push(sp, environment[i], strlen(environment[i]) + 1);
		at->env[i] = *sp;
	}
	error |= push(sp, q->args, q->arg_bytes);
	at->args = *sp;
	error |= push(sp, platform, sizeof(platform));
	at->platform = *sp;
	random_fill(random, sizeof(random));
	error |= push(sp, random, sizeof(random));
	at->random = *sp;
	return error;
}

static u64 *put_aux(u64 *w, u64 type, u64 value)
{
	*w++ = type;
	*w++ = value;
	return w;
}

static u64 *put_auxv(const struct request *q, const struct strings *at, u64 *w)
{
	const struct elf *elf = &q->elf;
	u32 cpu[4];

	cpuid(1, 0, cpu);
	w = put_aux(w, AT_HWCAP, cpu[3]);
	w = put_aux(w, AT_PAGESZ, PAGE_SIZE);
	w = put_aux(w, AT_CLKTCK, 100);
	w = put_aux(w, AT_PHDR, elf->headers ? q->bias + elf->headers : 0);
	w = put_aux(w, AT_PHENT, ELF_HEADER_BYTES);
	w = put_aux(w, AT_PHNUM, elf->nr_headers);
	w = put_aux(w, AT_BASE, 0);
	w = put_aux(w, AT_FLAGS, 0);
	w = put_aux(w, AT_ENTRY, q->bias + elf->entry);
	w = put_aux(w, AT_UID, 0);
	w = put_aux(w, AT_EUID, 0);
	w = put_aux(w, AT_GID, 0);
	w = put_aux(w, AT_EGID, 0);
	w = put_aux(w, AT_SECURE, 0);
	w = put_aux(w, AT_RANDOM, at->random);
	w = put_aux(w, AT_EXECFN, at->path);
	w = put_aux(w, AT_PLATFORM, at->platform);
	return put_aux(w, AT_NULL, 0);
}

/* argc, argv, envp, auxiliary vector into q->words; how many. */
static usize collect_words(struct request *q, const struct strings *at)
{
	u64 *w = q->words;
	const char *arg = q->args;

	*w++ = q->argc;
	for (int i = 0; i < q->argc; i++, arg += strlen(arg) + 1)
		*w++ = at->args + (arg - q->args);
	*w++ = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(environment); i++)
		*w++ = at->env[i];
	*w++ = 0;
	return put_auxv(q, at, w) - q->words;
}

/* The stack as drawn above. *rsp is where ring 3 begins. */
static int make_stack(struct request *q, vaddr_t *rsp)
{
	struct mm *mm = current_thread()->mm;
	struct strings at;
	vaddr_t sp = mm->stack_top;
	usize bytes;
	int error = mmap_map_named(mm, sp - STACK_BYTES, STACK_BYTES, PROT_READ | PROT_WRITE,
		VM_STACK | VM_GROWSDOWN, "[stack]");

	if (error)
		return refuse(q, error, "no memory for its stack");
	error = push_strings(q, &sp, &at);
	mm->arg_start = at.args;
	mm->arg_end = at.args + q->arg_bytes;
	bytes = collect_words(q, &at) * sizeof(u64);
	sp = ALIGN_DOWN(sp - bytes, 16) + bytes; /* E7 */
	error |= push(&sp, q->words, bytes);
	*rsp = sp;
	return error ? refuse(q, -ENOMEM, "no memory for its stack") : 0;
}

/* --- the new task -------------------------------------------------------------------------------------------- */

/* Tell how it went. q may be gone afterwards. */
static void request_done(struct request *q)
{
	WRITE_ONCE(q->done, true);
	waitq_wake_all(&q->wait);
	request_put(q);
}

static void loader_thread(void *arg)
{
	struct request *q = arg;
	struct regs *regs = current_thread()->user_regs;
	vaddr_t rsp = 0;
	int error = load_segments(q);

	if (!error)
		error = make_stack(q, &rsp);
	user_regs_init(regs, q->bias + q->elf.entry, rsp);
	request_done(q);
	if (error)
		task_exit(127 << 8);
	sched_enter_user(regs);
}

/* --- the caller ---------------------------------------------------------------------------------------------- */

static int find_program(struct request *q, const char *path)
{
	struct cpio_entry entry;
	enum cpio_result found;
	enum elf_result opened;

	if (format(q->path, sizeof(q->path), "%s%s", strchr(path, '/') ? "" : "/bin/", path) >=
		(int)sizeof(q->path))
		return refuse(q, -ENOENT, "the path is longer than %d bytes", PATH_BYTES - 1);
	if (!initrd_bytes)
		return refuse(q, -ENOENT, "%.40s: there is no initrd", q->path);
	found = cpio_find(initrd, initrd_bytes, q->path, &entry);
	if (found == CPIO_NOT_FOUND)
		return refuse(q, -ENOENT, "%.40s: no such program in the initrd", q->path);
	if (found != CPIO_OK)
		return refuse(q, -ENOENT, "initrd: %s", cpio_text(found));
	if ((entry.mode & CPIO_KIND_MASK) != CPIO_KIND_REGULAR)
		return refuse(q, -ENOEXEC, "%.40s: not a file", q->path);
	opened = elf_open(&q->elf, entry.data, entry.size);
	if (opened != ELF_OK)
		return refuse(q, -ENOEXEC, "%.40s: %s", q->path, elf_text(opened));
	q->bias = choose_bias(&q->elf);
	return 0;
}

static int copy_args(struct request *q, int argc, char *const argv[])
{
	if (argc > LOADER_ARGS)
		return refuse(q, -E2BIG, "more than %d arguments", LOADER_ARGS);
	for (int i = 0; i < argc; i++) {
		usize n = strlen(argv[i]) + 1;

		if (n > sizeof(q->args) - q->arg_bytes)
			return refuse(
				q, -E2BIG, "more than %d bytes of arguments", LOADER_ARG_BYTES);
		memcpy(q->args + q->arg_bytes, argv[i], n);
		q->arg_bytes += n;
	}
	q->argc = argc;
	return 0;
}

/* loader_make_space - an empty space with its borders set: Linux's, without randomness. NULL: no memory */
struct mm *loader_make_space(void)
{
	struct mm *mm = mm_create();

	if (mm) {
		mm->stack_top = USER_END;
		mm->mmap_base = USER_END - MMAP_GAP;
	}
	return mm;
}

#define RIGHTS_MACHINE                                                                             \
	(RIGHT_UART | RIGHT_INITRD | RIGHT_DEBUG | RIGHT_POWER | RIGHT_REPORT | RIGHT_CREATE |     \
		RIGHT_DUPLICATE)

/* A program with the console's files. With a reference for the caller; NULL: no memory. */
static struct task *make_program(struct request *q, struct mm *mm, struct task *parent)
{
	struct task *t = task_create(base_name(q->path), mm, parent, loader_thread, q);

	if (!t) {
		task_drop_mm(mm);
		return NULL;
	}
	if (linux_min_start(t)) {
		task_discard(t);
		return NULL;
	}
	task_get(t);
	return t;
}

/* The same for a server, with the machine. */
static struct task *make_server(struct request *q, struct mm *mm)
{
	struct task *t = task_create_empty(mm, NULL, NULL, NULL);
	struct thread *th;

	if (!t) {
		task_drop_mm(mm);
		return NULL;
	}
	strscpy(t->name, base_name(q->path), sizeof(t->name));
	if (handle_install(&t->handles, q->machine, RIGHTS_MACHINE, 0, HANDLE_MACHINE) ==
			HANDLE_MACHINE &&
		task_add_thread(t, loader_thread, q, &th) == 0) {
		th->tid = t->pid;
		object_put(&th->object);
		return t;
	}
	task_kill(t, 0); /* it has no thread: it ends here and now */
	task_put(t);
	return NULL;
}

/* A task that will run loader_thread(q). NULL: refused. */
static struct task *make_task(struct request *q, struct task *parent)
{
	struct mm *mm = loader_make_space();
	struct task *t = NULL;

	if (mm)
		t = q->machine ? make_server(q, mm) : make_program(q, mm, parent);
	if (!t)
		refuse(q, -ENOMEM, "no memory for a new task");
	return t;
}

/* Start it and wait until it is loaded; a task that failed is waited for and forgotten. */
static int run_request(struct request *q, struct task *parent, struct task **out)
{
	struct task *t = make_task(q, parent);
	int status;

	if (!t)
		return q->result;
	__atomic_add_fetch(&q->refs, 1, __ATOMIC_RELAXED); /* the thread's */
	task_start(t);
	waitq_wait(&q->wait, READ_ONCE(q->done), "load");
	if (q->result && parent)
		(void)task_wait(t->pid, false, &status, NULL);
	if (q->result)
		(void)task_wait_console(t);
	else if (out)
		*out = t;
	else
		task_put(t);
	return q->result;
}

struct start {
	const char *path;
	int argc;
	char *const *argv;
	struct task *parent;    /* of a program */
	struct object *machine; /* for a server */
};

static int start(const struct start *s, struct task **out, char *err, usize err_size)
{
	struct request *q = kzalloc(sizeof(*q));
	int error;

	if (!q) {
		strscpy(err, "no memory", err_size);
		return -ENOMEM;
	}
	q->refs = 1;
	q->machine = s->machine;
	waitq_init(&q->wait, "load");
	error = find_program(q, s->path);
	if (!error)
		error = copy_args(q, s->argc, s->argv);
	if (!error)
		error = run_request(q, s->parent, out);
	if (error)
		strscpy(err, q->error, err_size);
	request_put(q);
	return error;
}

int loader_start(const char *path, int argc, char *const argv[], struct task *parent,
	struct task **out, char *err, usize err_size)
{
	const struct start s = {.path = path, .argc = argc, .argv = argv, .parent = parent};

	return start(&s, out, err, err_size);
}

int loader_start_server(
	const char *path, struct object *machine, struct task **out, char *err, usize err_size)
{
	char *const argv[] = {(char *)path};
	const struct start s = {.path = path, .argc = 1, .argv = argv, .machine = machine};

	return start(&s, out, err, err_size);
}
