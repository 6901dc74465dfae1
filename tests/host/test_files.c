/*
 * test_files.c - servers/linux's files: the same calls here and on a tmpfs of this machine's Linux, one by one.
 *
 * Each round makes one call with the same arguments in both worlds and compares result, errno and data. The personality's
 * own sources run in this process; what they need of the kernel is in the first part.
 */
#include "calls.h"
#include "core.h"
#include "file.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "check.h"

#define ROUNDS      20000
#define OBJECTS     256
#define TMPFS_MAGIC 0x01021994

/* --- what the server needs of the kernel and of its other half --------------------------------------------- */

struct link processes = {&processes, &processes};
uint32_t linux_notification;
static int objects[OBJECTS]; /* memfds, away from the descriptors that are compared */
static struct process process;
static struct thread thread;

long memory_create(uint64_t bytes)
{
	int low = memfd_create("object", 0), i = 1;

	while (objects[i])
		i++;
	objects[i] = fcntl(low, F_DUPFD, 200);
	close(low);
	return ftruncate(objects[i], (off_t)bytes) ? -ENOMEM : i;
}

long memory_resize(uint32_t memory, uint64_t bytes)
{
	return ftruncate(objects[memory], (off_t)bytes) ? -ENOMEM : 0;
}

long memory_map(const struct memory_map *map)
{
	void *at = mmap(NULL, map->bytes, (int)map->prot, (int)map->flags, objects[map->memory], 0);

	return at == MAP_FAILED ? -ENOMEM : (long)at;
}

long memory_unmap(uint32_t task, uint64_t addr, uint64_t bytes)
{
	(void)task;
	return munmap((void *)addr, bytes);
}

long memory_info(uint32_t memory, struct memory_info *info)
{
	struct stat st;

	info->pages = fstat(objects[memory], &st) ? 0 : (uint64_t)st.st_blocks / 8;
	return 0;
}

long pager_withdraw(uint32_t memory, uint64_t offset, uint64_t bytes)
{
	return fallocate(objects[memory], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		(off_t)bytes);
}

long handle_close(uint32_t h)
{
	close(objects[h]);
	objects[h] = 0;
	return 0;
}

long machine_info(uint32_t machine, int what, void *buf, size_t size)
{
	struct machine_memory *memory = buf;

	(void)machine;
	(void)what;
	memory->total = memory->free = 1ull << 40;
	return (long)size;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
/* Nothing of the following happens in these tests, or it has no effect on files. */
long ipc_call(uint32_t e, struct message *m, uint64_t d)
{
	return -EPIPE;
}
long handle_duplicate(uint32_t h, uint32_t r, uint64_t b)
{
	return -ENOMEM;
}
long machine_log(uint32_t m, const char *t, size_t n)
{
	return 0;
}
long machine_power(uint32_t m, int c)
{
	return 0;
}
long machine_panic(uint32_t m, const char *t, size_t n)
{
	return 0;
}
long machine_initrd(uint32_t m, uint64_t *n)
{
	return -EINVAL;
}
long report_open(uint32_t m, const char *p, uint32_t t, int w)
{
	return -ENOENT;
}
long report_read(uint32_t r, uint64_t p, void *b, size_t n)
{
	return -EIO;
}
long report_write(uint32_t r, const void *b, size_t n)
{
	return -EIO;
}
long report_list(uint32_t m, const char *p, uint32_t t, void *b, size_t n)
{
	return -ENOENT;
}
long task_read(uint32_t t, uint64_t a, void *b, size_t n)
{
	return -EFAULT;
}
long task_write(uint32_t t, uint64_t a, const void *b, size_t n)
{
	return -EFAULT;
}
uint64_t time_now(void)
{
	return 0;
}
void wait_list_init(struct wait_list *l)
{
	list_init(&l->waiters);
}
void wait_list_wake_all(struct wait_list *l)
{
}
long call_wait(struct call *c, struct wait_list *l)
{
	return CALL_WAIT;
}
long call_wait_until(struct call *c, uint64_t d)
{
	return CALL_WAIT;
}
long call_yield(struct call *c) /* the calls here are shorter than a piece */
{
	return CALL_YIELD;
}
struct process *process_find(int pid)
{
	return NULL;
}
struct thread *thread_find(int tid)
{
	return NULL;
}
int signal_send_thread(struct thread *t, int s, const siginfo_t *i)
{
	return 0;
}
int signal_send_group(int p, int s, const siginfo_t *i)
{
	return 0;
}
void signal_mask_for_call(struct call *c, signal_set s)
{
}
void signal_mask_restore(struct thread *t)
{
}
int job_session(void)
{
	return 0;
}
int job_foreground(void)
{
	return 0;
}
long job_check(struct call *c, int s)
{
	return 0;
}
long job_set_foreground(struct call *c, int p)
{
	return 0;
}
long job_acquire(struct call *c)
{
	return 0;
}
void linux_log(const char *f, ...)
{
}
#pragma GCC diagnostic pop

long copy_in(struct call *c, void *to, uint64_t from, size_t bytes)
{
	(void)c;
	memcpy(to, (void *)from, bytes);
	return 0;
}

long copy_out(struct call *c, uint64_t to, const void *from, size_t bytes)
{
	(void)c;
	memcpy((void *)to, from, bytes);
	return 0;
}

long copy_in_text(struct call *c, char *to, uint64_t from, size_t size)
{
	size_t n = strnlen((char *)from, size);

	(void)c;
	if (n == size)
		return -ENAMETOOLONG;
	memcpy(to, (void *)from, n + 1);
	return (long)n;
}

/* --- the two worlds ------------------------------------------------------------------------------------------- */

static int round_nr;

static long ours(call_handler *handler, const uint64_t *arg)
{
	struct call c = {.thread = &thread, .first = true};

	memcpy(c.arg, arg, sizeof(c.arg));
	return handler(&c);
}

static long theirs(long nr, const uint64_t *arg)
{
	long result = syscall(nr, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);

	return result < 0 ? -errno : result;
}

static long both(const char *name, call_handler *handler, long nr, const uint64_t *arg)
{
	long is = ours(handler, arg), want = theirs(nr, arg);

	CHECK_MSG(is == want, "round %d: %s(%#lx \"%s\", %#lx, %#lx, %#lx) is %ld, on Linux %ld",
		round_nr, name, (long)arg[0], arg[0] > 65536 ? (char *)arg[0] : "", (long)arg[1],
		(long)arg[2], (long)arg[3], is, want);
	return is;
}
#define BOTH(name, ...) both(#name, sys_##name, SYS_##name, (const uint64_t[6]){__VA_ARGS__})
#define ADDR(p)         ((uint64_t)(p))

/* The same call with a buffer each: what they wrote must be equal. */
static char filled[2][300000];

#define FILL(name, bytes, a, n, b)                                                                 \
	do {                                                                                       \
		long is_ = ours(sys_##name, (const uint64_t[6]){(a), ADDR(filled[0]), (n), (b)});  \
		long want_ =                                                                       \
			theirs(SYS_##name, (const uint64_t[6]){(a), ADDR(filled[1]), (n), (b)});   \
		CHECK_MSG(is_ == want_, "round %d: " #name " is %ld, on Linux %ld", round_nr, is_, \
			want_);                                                                    \
		if (is_ > 0)                                                                       \
			CHECK(!memcmp(filled[0], filled[1], (bytes) ? (bytes) : (size_t)is_));     \
	} while (0)

static void compare_stat(const char *path, int flags)
{
	struct stat a, b;
	long is = ours(sys_newfstatat,
		(const uint64_t[6]){(uint64_t)AT_FDCWD, ADDR(path), ADDR(&a), (uint64_t)flags});
	long want = theirs(SYS_newfstatat,
		(const uint64_t[6]){(uint64_t)AT_FDCWD, ADDR(path), ADDR(&b), (uint64_t)flags});

	CHECK_EQ(is, want);
	if (is)
		return;
	CHECK_EQ(a.st_mode, b.st_mode);
	CHECK_EQ(a.st_nlink, b.st_nlink);
	if (!S_ISDIR(a.st_mode))
		CHECK_EQ(a.st_size, b.st_size);
}

static bool is_regular(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISREG(st.st_mode);
}

/* --- one round -------------------------------------------------------------------------------------------------- */

static const char *const names[] = {"a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/a", "d/e/f", "l",
	"l/a", "d/l", "a/", "d/", "./d", "d/..", "d/../a", ".", "nope/a", "d/e/..", "d/.", "l/", "",
	"c/x"};
static const int open_flags[] = {O_RDONLY, O_RDWR, O_WRONLY, O_RDWR | O_CREAT,
	O_RDWR | O_CREAT | O_EXCL, O_WRONLY | O_CREAT | O_TRUNC, O_RDWR | O_CREAT | O_APPEND,
	O_RDONLY | O_DIRECTORY, O_RDONLY | O_NOFOLLOW, O_PATH, O_RDWR | O_TRUNC,
	O_PATH | O_NOFOLLOW};
static int fds[8];
static int nr_fds;

static unsigned below(unsigned n)
{
	return (unsigned)(check_random() % n);
}

static const char *some_name(void)
{
	return names[below(sizeof(names) / sizeof(names[0]))];
}

static void open_one(const char *path)
{
	long fd;

	if (nr_fds == 8)
		return;
	fd = BOTH(open, ADDR(path), (uint64_t)open_flags[below(12)], 0644);
	if (fd >= 0)
		fds[nr_fds++] = (int)fd;
}

static void close_one(void)
{
	int i = nr_fds ? (int)below((unsigned)nr_fds) : -1;

	if (i < 0)
		return;
	BOTH(close, (uint64_t)fds[i]);
	fds[i] = fds[--nr_fds];
}

static void write_some(uint64_t fd)
{
	size_t n = below(10) ? below(5000) : below(100000);

	for (size_t i = 0; i < n; i++)
		filled[0][i] = (char)check_random();
	if (below(2))
		BOTH(write, fd, ADDR(filled[0]), n);
	else
		BOTH(pwrite64, fd, ADDR(filled[0]), n, below(10) ? below(30000) : below(300000));
}

static void one_round(void)
{
	const char *path = some_name(), *other = some_name();
	uint64_t fd = nr_fds ? (uint64_t)fds[below((unsigned)nr_fds)] : 99;
	uint64_t size = below(3) ? below(20000) : below(300000);

	switch (below(22)) {
	case 0:
	case 1:
	case 2:
		return open_one(path);
	case 3:
		return close_one();
	case 4:
	case 5:
		return write_some(fd);
	case 6:
		FILL(read, 0, fd, size, 0);
		return;
	case 7:
		FILL(pread64, 0, fd, 5000, size);
		return;
	case 8:
		if (is_regular((int)fd))
			BOTH(lseek, fd, size - 2000, below(3));
		return;
	case 9:
		BOTH(ftruncate, fd, size);
		return;
	case 10:
		BOTH(truncate, ADDR(path), size);
		return;
	case 11:
		BOTH(rename, ADDR(path), ADDR(other));
		return;
	case 12:
		BOTH(link, ADDR(path), ADDR(other));
		return;
	case 13:
		BOTH(unlink, ADDR(path));
		return;
	case 14:
		BOTH(mkdir, ADDR(path), 0755);
		return;
	case 15:
		BOTH(rmdir, ADDR(path));
		return;
	case 16:
		BOTH(symlink, ADDR(path), ADDR(other));
		return;
	case 17:
		FILL(readlink, 0, ADDR(path), 100, 0);
		return;
	case 18:
		return compare_stat(path, 0);
	case 19:
		return compare_stat(path, AT_SYMLINK_NOFOLLOW);
	case 20:
		BOTH(renameat2, (uint64_t)AT_FDCWD, ADDR(path), (uint64_t)AT_FDCWD, ADDR(other),
			below(3));
		return;
	case 21:
		if (is_regular((int)fd))
			BOTH(fallocate, fd, below(2) ? 3 : 0, size, 1 + below(100000));
		return;
	}
}

/* --- the test ----------------------------------------------------------------------------------------------------- */

static char folder[] = "/dev/shm/filesXXXXXX";

static void worlds_begin(void)
{
	for (int i = 0; i < NR_LIMITS; i++)
		process.limits[i].rlim_cur = ~0ull;
	process.limits[RLIMIT_NOFILE].rlim_cur = 100;
	thread.process = &process;
	list_init(&process.threads);
	CHECK_EQ(files_init(), 0);
	CHECK_EQ(files_create(&process), 0);
	CHECK(mkdtemp(folder) && !chdir(folder));
	CHECK_EQ(ours(sys_mkdir, (const uint64_t[6]){ADDR(folder), 0700}), 0);
	CHECK_EQ(ours(sys_chdir, (const uint64_t[6]){ADDR(folder)}), 0);
	umask(022);
	/* A link to "." makes "d/.." lead up: some steps of that stay in the folder. */
	for (int i = 0; i < 8; i++) {
		BOTH(mkdir, ADDR("deep"), 0700);
		BOTH(chdir, ADDR("deep"));
	}
	/* Descriptors are compared: both begin with the same ones taken. */
	for (int fd = 3; fd < 20; fd++) {
		dup2(0, fd);
		CHECK_EQ(ours(sys_dup2, (const uint64_t[6]){0, (uint64_t)fd}), fd);
	}
	for (int fd = 20; fd < 200; fd++)
		close(fd);
}

TEST(each_call_as_on_a_tmpfs)
{
	struct statfs fs;

	/* Other file systems count links, and refuse, differently. */
	if (statfs("/dev/shm", &fs) || fs.f_type != TMPFS_MAGIC)
		return;
	worlds_begin();
	for (round_nr = 0; round_nr < (int)check_rounds(ROUNDS); round_nr++)
		one_round();
	CHECK(!chdir("/"));
	snprintf(filled[0], sizeof(filled[0]), "rm -rf %s", folder);
	CHECK_EQ(system(filled[0]), 0);
}
