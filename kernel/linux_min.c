/*
 * linux_min.c - files, fork and the rest of what a static Linux program needs    floor 7, below: report.c
 *
 * The calls that belong into a server in ring 3: as little of each as ordinary static programs ask for.
 * Files are the console and the texts of /proc and /sys (report.c); there is no folder, no pipe, no
 * signal. What a call does not know it refuses with Linux's error.
 *
 * IDEA
 *   task.files -> struct files                fork copies the table, the files are shared, as in Linux:
 *       fd[0] ----+                           parent and child have one position.
 *       fd[1] ----+--> struct file (console)
 *       fd[3] -------> struct file (report) --> struct report_file
 *
 * LOCKS     file.lock, a mutex, around its position and report_file. mm->lock is taken inside it (by
 *           reports, by faults while copying); nobody takes it inside mm->lock.
 * LINUX     fs/read_write.c, fs/seq_file.c, kernel/{fork,exit,sys}.c
 */
#include "linux_min.h"

#include "config.h"
#include "lib/string.h"
#include "mm/fork.h"
#include "mm/kmalloc.h"
#include "mm/mmap.h"
#include "mm/uaccess.h"
#include "mutex.h"
#include "printk.h"
#include "report.h"
#include "x86/fpu.h"
#include "x86/timer.h"
#include <abi/errno.h>

#define NR_FILES   64
#define PATH_BYTES 256
#define CHUNK      1024       /* bytes that cross the kernel's stack at a time; a multiple of 8 */
#define RW_MAX     0x7ffff000 /* Linux's MAX_RW_COUNT */
#define IOV_MAX    1024

#define O_ACCMODE 3
#define O_WRONLY  1
#define O_RDWR    2

struct file {
	u32 refs;     /* (a) descriptors of all tasks */
	int access;   /* (c) O_RDONLY, O_WRONLY, O_RDWR */
	bool console; /* (c) else a report */
	struct mutex lock;
	u64 pos;                   /* lock */
	struct report_file report; /* lock */
};

struct files {
	struct file *fd[NR_FILES];
};

s64 (*linux_console_read)(char *buf, usize len);

/* --- the table of files ------------------------------------------------------------------------------- */

static struct files *current_files(void)
{
	return current_task()->files;
}

static struct file *file_get(int fd)
{
	const struct files *files = current_files();

	return files && fd >= 0 && fd < NR_FILES ? files->fd[fd] : NULL;
}

bool linux_min_is_open(int fd)
{
	return file_get(fd);
}

static struct file *file_create(int access, bool console)
{
	struct file *f = kzalloc(sizeof(*f));

	if (!f)
		return NULL;
	f->refs = 1;
	f->access = access;
	f->console = console;
	mutex_init(&f->lock, "file");
	return f;
}

static void file_put(struct file *f)
{
	if (__atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL))
		return;
	if (!f->console)
		report_close(&f->report);
	kfree(f);
}

/* The lowest free descriptor, or -EMFILE. */
static int fd_install(struct file *f)
{
	struct files *files = current_files();

	for (int fd = 0; fd < NR_FILES; fd++) {
		if (!files->fd[fd]) {
			files->fd[fd] = f;
			return fd;
		}
	}
	return -EMFILE;
}

int linux_min_start(struct task *t)
{
	struct files *files = kzalloc(sizeof(*files));
	struct file *console = file_create(O_RDWR, true);

	if (!files || !console) {
		kfree(files);
		kfree(console);
		return -ENOMEM;
	}
	console->refs = 3;
	files->fd[0] = files->fd[1] = files->fd[2] = console;
	t->files = files;
	return 0;
}

static int files_copy(struct task *to, const struct files *from)
{
	struct files *files = kzalloc(sizeof(*files));

	if (!files)
		return -ENOMEM;
	*files = *from;
	for (int fd = 0; fd < NR_FILES; fd++) {
		if (files->fd[fd])
			__atomic_add_fetch(&files->fd[fd]->refs, 1, __ATOMIC_RELAXED);
	}
	to->files = files;
	return 0;
}

static void files_release(struct task *t)
{
	struct files *files = t->files;

	if (!files)
		return;
	t->files = NULL;
	for (int fd = 0; fd < NR_FILES; fd++) {
		if (files->fd[fd])
			file_put(files->fd[fd]);
	}
	kfree(files);
}

/* linux_min_init - tasks that end close their files from now on. */
void linux_min_init(void)
{
	task_release_personality = files_release;
}

/* --- open and close ------------------------------------------------------------------------------------ */

static bool path_is_console(const char *path)
{
	return !strcmp(path, "/dev/console") || !strcmp(path, "/dev/tty");
}

static s64 open_path(const char *path, int flags)
{
	int access = flags & O_ACCMODE, fd, error = 0;
	struct file *f;

	if (access == O_ACCMODE)
		return -EINVAL;
	f = file_create(access, path_is_console(path));
	if (!f)
		return -ENOMEM;
	if (!f->console)
		error = report_open(path, current_task(), access != 0, &f->report);
	if (error) {
		kfree(f);
		return error;
	}
	fd = fd_install(f);
	if (fd < 0)
		file_put(f);
	return fd;
}

static s64 open_user_path(vaddr_t from, int flags)
{
	char path[PATH_BYTES];
	int len = strncpy_from_user(path, (const char __user *)from, sizeof(path));

	if (len < 0)
		return len == -ERANGE ? -ENAMETOOLONG : len;
	return len ? open_path(path, flags) : -ENOENT;
}

s64 linux_open(struct regs *r)
{
	return open_user_path(r->rdi, (int)r->rsi);
}

/* Every path that leads anywhere is absolute, so the folder does not matter. */
s64 linux_openat(struct regs *r)
{
	return open_user_path(r->rsi, (int)r->rdx);
}

s64 linux_close(struct regs *r)
{
	int fd = (int)r->rdi;
	struct file *f = file_get(fd);

	if (!f)
		return -EBADF;
	current_files()->fd[fd] = NULL;
	file_put(f);
	return 0;
}

s64 linux_ioctl(struct regs *r)
{
	return file_get((int)r->rdi) ? -ENOTTY : -EBADF;
}

s64 linux_lseek(struct regs *r)
{
	struct file *f = file_get((int)r->rdi);
	s64 pos = (s64)r->rsi;

	if (!f)
		return -EBADF;
	if (f->console)
		return -ESPIPE;
	if ((u32)r->rdx > 1) /* neither SEEK_SET nor SEEK_CUR: nobody knows where these files end */
		return -EINVAL;
	mutex_lock(&f->lock);
	if (r->rdx == 1 && __builtin_add_overflow(pos, (s64)f->pos, &pos))
		pos = -1;
	if (pos >= 0)
		f->pos = pos;
	mutex_unlock(&f->lock);
	return pos < 0 ? -EINVAL : pos;
}

/* --- read ----------------------------------------------------------------------------------------------- */

static s64 console_read(vaddr_t to, u64 len)
{
	char chunk[CHUNK];
	s64 n = linux_console_read ? linux_console_read(chunk, MIN(len, sizeof(chunk))) : 0;

	if (n > 0 && copy_to_user((void __user *)to, chunk, n))
		return -EFAULT;
	return n;
}

/* From pos on, until len, the end, or an error; bytes that were copied win over the error. f->lock held. */
static s64 file_read_at(struct file *f, vaddr_t to, u64 len, u64 pos)
{
	u8 chunk[CHUNK];
	u64 done = 0;
	s64 n = 0;

	if (f->report.node->read_at && (pos | len) % sizeof(u64))
		return -EINVAL; /* before the first chunk, as Linux's pagemap */
	while (done < len) {
		n = report_read(&f->report, chunk, MIN(len - done, sizeof(chunk)), pos + done);
		if (n <= 0)
			break;
		if (copy_to_user((void __user *)(to + done), chunk, n)) {
			n = -EFAULT;
			break;
		}
		done += n;
	}
	return done ? (s64)done : n;
}

static s64 file_read(struct file *f, vaddr_t to, u64 len)
{
	s64 n;

	if (f->access == O_WRONLY)
		return -EBADF;
	len = MIN(len, RW_MAX);
	if (!user_range_ok(to, len))
		return -EFAULT;
	if (f->console)
		return len ? console_read(to, len) : 0;
	mutex_lock(&f->lock);
	n = file_read_at(f, to, len, f->pos);
	if (n > 0)
		f->pos += n;
	mutex_unlock(&f->lock);
	return n;
}

s64 linux_read(struct regs *r)
{
	struct file *f = file_get((int)r->rdi);

	return f ? file_read(f, r->rsi, r->rdx) : -EBADF;
}

s64 linux_pread64(struct regs *r)
{
	struct file *f = file_get((int)r->rdi);
	u64 len = MIN(r->rdx, RW_MAX);
	s64 n;

	if ((s64)r->r10 < 0)
		return -EINVAL;
	if (!f || f->access == O_WRONLY)
		return -EBADF;
	if (f->console)
		return -ESPIPE;
	if (!user_range_ok(r->rsi, len))
		return -EFAULT;
	mutex_lock(&f->lock);
	n = file_read_at(f, r->rsi, len, r->r10);
	mutex_unlock(&f->lock);
	return n;
}

/* --- write ---------------------------------------------------------------------------------------------- */

static s64 console_write(vaddr_t from, u64 len)
{
	char chunk[CHUNK];
	u64 done = 0;

	while (done < len && !thread_killed()) {
		u64 n = MIN(len - done, sizeof(chunk));

		if (copy_from_user(chunk, (const void __user *)(from + done), n))
			return done ? (s64)done : -EFAULT;
		printk_raw(chunk, n);
		done += n;
	}
	return (s64)done;
}

/* A setting: one call writes one whole value. */
static s64 setting_write(struct file *f, vaddr_t from, u64 len)
{
	char text[128];
	int error;

	if (len > sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, (const void __user *)from, len))
		return -EFAULT;
	mutex_lock(&f->lock);
	error = report_write(&f->report, text, len);
	mutex_unlock(&f->lock);
	return error ? error : (s64)len;
}

static s64 file_write(struct file *f, vaddr_t from, u64 len)
{
	if (!(f->access & (O_WRONLY | O_RDWR)))
		return -EBADF;
	len = MIN(len, RW_MAX);
	if (!user_range_ok(from, len))
		return -EFAULT;
	return f->console ? console_write(from, len) : setting_write(f, from, len);
}

s64 linux_write(struct regs *r)
{
	struct file *f = file_get((int)r->rdi);

	return f ? file_write(f, r->rsi, r->rdx) : -EBADF;
}

/* --- readv and writev ------------------------------------------------------------------------------------ */

struct iovec {
	u64 base, len;
};

/* One piece after the other; a short or failed one ends the call. */
static s64 file_vector(struct regs *r, s64 (*one)(struct file *f, vaddr_t at, u64 len))
{
	struct file *f = file_get((int)r->rdi);
	s64 done = 0;

	if (!f)
		return -EBADF;
	if (r->rdx > IOV_MAX)
		return -EINVAL;
	for (u64 i = 0; i < r->rdx; i++) {
		struct iovec v;
		s64 n;

		if (copy_from_user(&v, (const void __user *)(r->rsi + i * sizeof(v)), sizeof(v)))
			return done ? done : -EFAULT;
		if ((s64)v.len < 0)
			return done ? done : -EINVAL;
		n = v.len ? one(f, v.base, v.len) : 0;
		if (n < 0)
			return done ? done : n;
		done += n;
		if ((u64)n < v.len)
			break;
	}
	return done;
}

s64 linux_readv(struct regs *r)
{
	return file_vector(r, file_read);
}

s64 linux_writev(struct regs *r)
{
	return file_vector(r, file_write);
}

/* --- processes ------------------------------------------------------------------------------------------- */

s64 linux_getpid(struct regs *r)
{
	return current_task()->pid;
}

s64 linux_getppid(struct regs *r)
{
	return task_parent_pid(current_task());
}

/* One user, the one who may do everything. */
s64 linux_getuid(struct regs *r)
{
	return 0;
}

static void fork_child(void *arg)
{
	sched_enter_user(current_thread()->user_regs);
}

/* The child's side of the machine: the same registers, but the call returns 0 there. */
static void thread_copy(struct thread *child, const struct thread *parent)
{
	*child->user_regs = *parent->user_regs;
	child->user_regs->rax = 0;
	child->fs_base = parent->fs_base;
	child->gs_base = parent->gs_base;
	fpu_save(parent->fpu); /* the parent runs: its registers are in the CPU */
	fpu_copy_area(child->fpu, parent->fpu);
}

s64 linux_fork(struct regs *r)
{
	struct task *self = current_task(), *child;
	struct mm *mm = fork_mm(current_thread()->mm);
	s64 pid;

	if (!mm)
		return -ENOMEM;
	child = task_create(self->name, mm, self, fork_child, NULL);
	if (!child) {
		task_drop_mm(mm);
		return -EAGAIN;
	}
	if (files_copy(child, current_files())) {
		task_discard(child);
		return -ENOMEM;
	}
	thread_copy(child->thread, current_thread());
	pid = child->pid; /* started, it may be gone at once */
	task_start(child);
	return pid;
}

struct timeval {
	s64 sec, usec;
};

/* Linux's struct rusage: 18 words, of which these are known here. */
struct rusage {
	struct timeval user, system;
	s64 maxrss, unused0[3], minflt, majflt, unused1[8];
};
_Static_assert(sizeof(struct rusage) == 144, "Linux's struct rusage");

static s64 rusage_write(vaddr_t to, u64 minflt, u64 majflt, u64 runtime_ns)
{
	struct rusage u = {.minflt = (s64)minflt, .majflt = (s64)majflt};

	u.user.sec = runtime_ns / NS_PER_SEC;
	u.user.usec = runtime_ns % NS_PER_SEC / NS_PER_US;
	return copy_to_user((void __user *)to, &u, sizeof(u));
}

#define WAIT_OPTIONS 0xe000000bu /* WNOHANG, WUNTRACED, WCONTINUED, __WNOTHREAD, __WALL, __WCLONE */
#define WNOHANG      1

s64 linux_wait4(struct regs *r)
{
	int pid = (int)r->rdi, status, found;
	struct task usage;

	if ((u32)r->rdx & ~WAIT_OPTIONS)
		return -EINVAL;
	if (pid < -1)
		return -ECHILD; /* no groups of processes */
	found = task_wait(pid, r->rdx & WNOHANG, &status, &usage);
	if (found <= 0)
		return found;
	if (r->rsi && put_user_u32((u32 __user *)r->rsi, (u32)status))
		return -EFAULT;
	if (r->r10 && rusage_write(r->r10, usage.minflt, usage.majflt, usage.runtime_ns))
		return -EFAULT;
	return found;
}

s64 linux_getrusage(struct regs *r)
{
	const struct task *t = current_task();
	const struct thread *thread = current_thread();

	switch ((int)r->rdi) {
	case 0: /* RUSAGE_SELF */
	case 1: /* RUSAGE_THREAD */
		return rusage_write(r->rsi, t->minflt, t->majflt,
			thread->runtime_ns + time_ns() - thread->started_ns);
	case -1: /* RUSAGE_CHILDREN */
		return rusage_write(r->rsi, t->child_minflt, t->child_majflt, 0);
	default:
		return -EINVAL;
	}
}

/* --- what a C library asks at start ------------------------------------------------------------------------ */

s64 linux_uname(struct regs *r)
{
	static const char words[6][65] = {
		"Linux", "pagoda", "6.1.0-pagoda", ("Pagoda " PAGODA_VERSION), "x86_64", "(none)"};

	return copy_to_user((void __user *)r->rdi, words, sizeof(words));
}

#define RLIMIT_STACK  3
#define RLIMIT_NOFILE 7
#define NR_RLIMITS    16
#define RLIM_INFINITY (~0ul)
#define STACK_RLIMIT  (8ul << 20)

/* Limits can be read, not set. */
s64 linux_prlimit64(struct regs *r)
{
	u64 limit[2] = {RLIM_INFINITY, RLIM_INFINITY};

	if ((u32)r->rsi >= NR_RLIMITS)
		return -EINVAL;
	if (r->rdi && (u32)r->rdi != current_task()->pid)
		return -ESRCH;
	if (r->rdx)
		return -EPERM;
	if (r->rsi == RLIMIT_STACK)
		limit[0] = STACK_RLIMIT;
	else if (r->rsi == RLIMIT_NOFILE)
		limit[0] = limit[1] = NR_FILES;
	return r->r10 ? copy_to_user((void __user *)r->r10, limit, sizeof(limit)) : 0;
}

/* fork() of a C library blocks signals around itself. None is ever delivered: the old mask is empty. */
s64 linux_rt_sigprocmask(struct regs *r)
{
	const u64 none = 0;

	if (r->r10 != sizeof(none))
		return -EINVAL;
	return r->rdx ? copy_to_user((void __user *)r->rdx, &none, sizeof(none)) : 0;
}

/* A list of locks that futexes would need at exit; the head's size is all that is checked. */
s64 linux_set_robust_list(struct regs *r)
{
	return r->rsi == 24 ? 0 : -EINVAL;
}

/* C libraries ask and do without it. */
s64 linux_rseq(struct regs *r)
{
	return -ENOSYS;
}
