/*
 * loader.c - the first program: from a file of the initrd to a running task           floor 7, below: mm/mmap.c
 *
 * Loads a static ELF64 program at its own address, with no arguments but its path. It reads no ELF header itself
 * (lib/elf.c does) and links nothing. All programs after the first are loaded by ring 3 (servers/lib/image.c).
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
 *     0, path, 16 random bytes
 *     (to 16 bytes)  0 0, auxiliary vector, 0 (no envp), 0, argv[0], argc  <- rsp
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
#include "mm/kmalloc.h"
#include "mm/mmap.h"
#include "mutex.h"
#include "mm/uaccess.h"
#include "random.h"
#include "sched.h"
#include "x86/switch.h"
#include <abi/errno.h>

#define PATH_BYTES  128
#define STACK_BYTES (132ul << 10) /* mapped at once, as by Linux; more by faults, to 8 MiB */
#define MMAP_GAP    (128ul << 20) /* the stack's own: Linux's smallest gap below it */
#define ERROR_BYTES 96
#define STACK_WORDS 32 /* what rsp points at, at most */

/* One start, shared by who asked and by the new thread; the last of the two frees it. */
struct request {
	u32 refs;
	struct waitq wait;
	bool done;
	int result; /* 0, or -errno with a text in error */
	char error[ERROR_BYTES];
	char path[PATH_BYTES];
	struct elf elf;
	struct object *machine; /* what it finds in its table */
};

static const void *initrd;
static usize initrd_bytes;

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
	vaddr_t first = ALIGN_DOWN(s->start, PAGE_SIZE), start = s->start;
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
	mm->brk_start = mm->brk = q->elf.high;
	return 0;
}

/* --- in the new task: the stack ---------------------------------------------------------------------------- */

#define AT_NULL   0
#define AT_PHDR   3
#define AT_PHENT  4
#define AT_PHNUM  5
#define AT_PAGESZ 6
#define AT_ENTRY  9
#define AT_SECURE 23
#define AT_RANDOM 25
#define AT_EXECFN 31

/* Bytes onto the stack of ring 3: *sp moves down. 0 or -EFAULT. */
static int push(vaddr_t *sp, const void *bytes, usize n)
{
	*sp -= n;
	return copy_to_user((void __user *)*sp, bytes, n);
}

static u64 *put_aux(u64 *w, u64 type, u64 value)
{
	*w++ = type;
	*w++ = value;
	return w;
}

/* argc, argv, envp, auxiliary vector into w; how many. */
static usize collect_words(const struct elf *elf, vaddr_t path, vaddr_t random, u64 *w)
{
	const u64 *first = w;

	*w++ = 1; /* argc */
	*w++ = path;
	*w++ = 0;
	*w++ = 0; /* no environment */
	w = put_aux(w, AT_PAGESZ, PAGE_SIZE);
	w = put_aux(w, AT_PHDR, elf->headers);
	w = put_aux(w, AT_PHENT, ELF_HEADER_BYTES);
	w = put_aux(w, AT_PHNUM, elf->nr_headers);
	w = put_aux(w, AT_ENTRY, elf->entry);
	w = put_aux(w, AT_SECURE, 0);
	w = put_aux(w, AT_RANDOM, random);
	w = put_aux(w, AT_EXECFN, path);
	return put_aux(w, AT_NULL, 0) - first;
}

/* The stack as drawn above. *rsp is where ring 3 begins. */
static int make_stack(struct request *q, vaddr_t *rsp)
{
	struct mm *mm = current_thread()->mm;
	vaddr_t sp = mm->stack_top, path;
	u64 words[STACK_WORDS];
	const u64 zero = 0;
	u8 random[16];
	usize bytes;
	int error = mmap_map_named(mm, sp - STACK_BYTES, STACK_BYTES, PROT_READ | PROT_WRITE,
		VM_STACK | VM_GROWSDOWN, "[stack]");

	if (error)
		return refuse(q, error, "no memory for its stack");
	error = push(&sp, &zero, sizeof(zero));
	mm->arg_end = sp;
	error |= push(&sp, q->path, strlen(q->path) + 1);
	mm->arg_start = path = sp;
	random_fill(random, sizeof(random));
	error |= push(&sp, random, sizeof(random));
	bytes = collect_words(&q->elf, path, sp, words) * sizeof(u64);
	sp = ALIGN_DOWN(sp - bytes, 16) + bytes; /* E7 */
	error |= push(&sp, words, bytes);
	*rsp = sp;
	rwsem_write_lock(&mm->lock);
	mmap_stack_done(mm);
	rwsem_write_unlock(&mm->lock);
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
	user_regs_init(regs, q->elf.entry, rsp);
	request_done(q);
	if (error)
		task_exit(127 << 8);
	sched_enter_user(regs);
}

/* --- the caller ---------------------------------------------------------------------------------------------- */

static int find_program(struct request *q)
{
	struct cpio_entry entry;
	enum cpio_result found = cpio_find(initrd, initrd_bytes, q->path, &entry);
	enum elf_result opened;

	if (found == CPIO_NOT_FOUND)
		return refuse(q, -ENOENT, "%.40s: no such program in the initrd", q->path);
	if (found != CPIO_OK)
		return refuse(q, -ENOENT, "initrd: %s", cpio_text(found));
	if ((entry.mode & CPIO_KIND_MASK) != CPIO_KIND_REGULAR)
		return refuse(q, -ENOEXEC, "%.40s: not a file", q->path);
	opened = elf_open(&q->elf, entry.data, entry.size);
	if (opened != ELF_OK)
		return refuse(q, -ENOEXEC, "%.40s: %s", q->path, elf_text(opened));
	if (q->elf.pie)
		return refuse(q, -ENOEXEC, "%.40s: has no address of its own", q->path);
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

/* A task that will run loader_thread(q), with the machine; a reference for the caller. NULL: refused. */
static struct task *make_task(struct request *q)
{
	struct mm *mm = loader_make_space();
	struct task *t = mm ? task_create_empty(mm, NULL, NULL, NULL) : NULL;
	struct thread *th;

	if (!t) {
		if (mm)
			task_drop_mm(mm);
		refuse(q, -ENOMEM, "no memory for a new task");
		return NULL;
	}
	strscpy(t->name, base_name(q->path), sizeof(t->name));
	if (handle_install(&t->handles, q->machine, RIGHTS_MACHINE, 0, HANDLE_MACHINE) ==
			HANDLE_MACHINE &&
		task_add_thread(t, loader_thread, q, &th) == 0) {
		th->tid = t->pid;
		__atomic_add_fetch(&q->refs, 1, __ATOMIC_RELAXED); /* the thread's */
		(void)task_start_thread(th); /* nobody else knows it: it is NEW */
		object_put(&th->object);
		return t;
	}
	task_kill(t, 0); /* it has no thread: it ends here and now */
	task_put(t);
	refuse(q, -ENOMEM, "no memory for a new task");
	return NULL;
}

/* Start it and wait until it is loaded; a task that failed is waited for and forgotten. */
static int run_request(struct request *q, struct task **out)
{
	struct task *t = make_task(q);

	if (!t)
		return q->result;
	waitq_wait(&q->wait, READ_ONCE(q->done), "load");
	if (q->result)
		(void)task_wait(t);
	else
		*out = t;
	return q->result;
}

int loader_start(
	const char *path, struct object *machine, struct task **out, char *err, usize err_size)
{
	struct request *q = kzalloc(sizeof(*q));
	int error;

	if (!q) {
		strscpy(err, "no memory", err_size);
		return -ENOMEM;
	}
	q->refs = 1;
	q->machine = machine;
	waitq_init(&q->wait, "load");
	strscpy(q->path, path, sizeof(q->path));
	error = find_program(q);
	if (!error)
		error = run_request(q, out);
	if (error)
		strscpy(err, q->error, err_size);
	request_put(q);
	return error;
}
