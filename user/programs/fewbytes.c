/*
 * fewbytes.c - reads and writes of few bytes: each byte arrives, once, and only where it was asked for.    ring 3
 *
 *   fewbytes
 *
 * The bytes of a short call travel inside its message where the memory is there, and are copied from space to space where
 * it is not. So each case is played around that line: every length and place near the end of a page, pages never touched,
 * pages that may not be written or are missing, a buffer that becomes another while the call waits, signals at any moment.
 * What is refused must stay in the pipe. It runs unchanged on Linux.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"

#define LENGTHS 40 /* more than a message carries */

static int ends[2];
static char *page; /* two pages; behind them nothing */

#define CHECK(ok, ...)                                                                             \
	do {                                                                                       \
		if (!(ok))                                                                         \
			die("fewbytes: FAILED: " __VA_ARGS__);                                     \
	} while (0)

static void put(const void *bytes, size_t n)
{
	CHECK(write(ends[1], bytes, n) == (ssize_t)n, "%zu bytes were not written: %s", n,
		strerror(errno));
}

/* The pipe holds exactly these bytes. */
static void expect(const char *what, const char *bytes, size_t n)
{
	char got[LENGTHS + 1];
	ssize_t r = read(ends[0], got, sizeof(got));

	CHECK(r == (ssize_t)n && !memcmp(got, bytes, n), "%s: %zd bytes in the pipe, not %zu", what,
		r, n);
}

static void fill(char *bytes, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		bytes[i] = (char)(seed * 37 + i * 11 + 1);
}

/* All lengths, from and to all places around the line between two pages, and at the end of the second. */
static void round_places(size_t line)
{
	char bytes[LENGTHS];

	for (size_t n = 0; n <= LENGTHS; n++) {
		for (size_t before = 0; before <= n + 1; before++) {
			char *at = page + line - before;

			if (at + n > page + 2 * PAGE_BYTES)
				continue;
			fill(bytes, n, (unsigned)(n + before));
			memset(page, 0x55, 2 * PAGE_BYTES);
			memcpy(at, bytes, n);
			put(at, n);
			if (n)
				expect("from a place", bytes, n);
			put(bytes, n);
			memset(page, 0x55, 2 * PAGE_BYTES);
			if (n)
				CHECK(read(ends[0], at, n) == (ssize_t)n, "%zu bytes did not come",
					n);
			CHECK(!memcmp(at, bytes, n), "%zu bytes came wrong", n);
			for (char *p = page; p < page + 2 * PAGE_BYTES; p++)
				CHECK((p >= at && p < at + n) || *p == 0x55,
					"a byte beside the buffer of %zu was written", n);
		}
	}
}

static void round_untouched(void)
{
	char zero[16] = {0};

	for (int i = 0; i < 4; i++) {
		madvise(page, 2 * PAGE_BYTES, MADV_DONTNEED);
		put(page + 5, 16);
		expect("a page never touched", zero, 16);
		put("0123456789", 10);
		if (i % 2) /* the frame of zeroes is there, and may not be written */
			(void)touch_read(page);
		else
			madvise(page, 2 * PAGE_BYTES, MADV_DONTNEED);
		CHECK(read(ends[0], page + 100, 3) == 3 && !memcmp(page + 100, "012", 3),
			"into a page never written");
		CHECK(!page[99] && !page[103], "bytes beside it");
		expect("the rest", "3456789", 7);
	}
}

static void refused(const char *what, char *at, size_t n, bool of_read_only)
{
	put("abcdefgh", 8);
	errno = 0;
	CHECK(read(ends[0], at, n) == -1 && errno == EFAULT, "read into %s: %s", what,
		strerror(errno));
	expect(what, "abcdefgh", 8);
	if (of_read_only)
		return;
	errno = 0;
	CHECK(write(ends[1], at, n) == -1 && errno == EFAULT, "write from %s: %s", what,
		strerror(errno));
	put("x", 1);
	expect(what, "x", 1);
}

static void round_refused(void)
{
	refused("nothing", NULL, 8, false);
	refused("memory that ends too early", page + 2 * PAGE_BYTES - 3, 8, false);
	refused("the kernel", (char *)-4096, 8, false);
	mprotect(page, PAGE_BYTES, PROT_READ);
	refused("a page that may not be written", page, 8, true);
	mprotect(page, PAGE_BYTES, PROT_NONE);
	refused("a page without rights", page, 8, false);
	refused("two pages, the first without rights", page + PAGE_BYTES - 4, 8, false);
	mprotect(page, PAGE_BYTES, PROT_READ | PROT_WRITE);
	mprotect(page + PAGE_BYTES, PAGE_BYTES, PROT_READ);
	refused("two pages, the second read-only", page + PAGE_BYTES - 4, 8, true);
	mprotect(page, 2 * PAGE_BYTES, PROT_READ | PROT_WRITE);
	CHECK(write(-1, page, 8) == -1 && errno == EBADF, "write to no file");
	CHECK(read(ends[1], page, 8) == -1 && errno == EBADF, "read from the wrong end");
}

/* --- while the call waits ---------------------------------------------------------------------------- */

static void *late_reader(void *at)
{
	return (void *)read(ends[0], at, 8);
}

/* The page is shared with a child, dropped, or replaced, between the call and its answer. */
static void round_changed(void (*change)(void), const char *what)
{
	pthread_t reader;
	void *n;

	page[8] = 9;
	CHECK(!pthread_create(&reader, NULL, late_reader, page), "no thread");
	sleep_ms(2);
	change();
	put("later678", 8);
	pthread_join(reader, &n);
	CHECK((long)n == 8 && !memcmp(page, "later678", 8), "%s: %ld", what, (long)n);
}

static int child;

static void change_fork(void)
{
	child = fork();
	if (child == 0) {
		for (int i = 0; i < 20; i++) {
			sleep_ms(1);
			if (page[0] == 'l')
				_exit(1); /* the parent's byte is not ours */
		}
		_exit(page[8] == 9 ? 0 : 2);
	}
}

static void change_drop(void)
{
	madvise(page, PAGE_BYTES, MADV_DONTNEED);
}

static void change_map(void)
{
	CHECK(mmap(page, PAGE_BYTES, PROT_READ | PROT_WRITE,
		      MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == page,
		"mmap");
}

/* A page of a file that nobody has read yet: to store the bytes is to wait for an answer of the pager's. */
static void change_file(void)
{
	int fd = open("/bin/scenario", O_RDONLY);

	if (fd < 0) /* where it is not, any page of a file has to do */
		fd = open("/proc/self/exe", O_RDONLY);
	CHECK(mmap(page, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE, fd,
		      (lseek(fd, 0, SEEK_END) / 2) & -PAGE_BYTES) == page,
		"mmap of a file");
	close(fd);
}

/* --- signals ------------------------------------------------------------------------------------------ */

static volatile sig_atomic_t signals;

static void count(int sig)
{
	(void)sig;
	signals++;
}

static void on_signal(int flags)
{
	struct sigaction action = {.sa_handler = count, .sa_flags = flags};

	sigaction(SIGUSR1, &action, NULL);
}

/* A child sends bytes and signals mixed; each byte is read once and in order, whatever a signal did to a call. */
static void round_signals(int flags, unsigned long rounds)
{
	int me = getpid(), writer;
	unsigned long got = 0, interrupted = 0;

	on_signal(flags);
	writer = fork();
	if (writer == 0) {
		for (unsigned long i = 0; i < rounds; i++) {
			if (i % 3 == 0)
				kill(me, SIGUSR1);
			put(&i, sizeof(i));
			if (i % 5 == 0)
				kill(me, SIGUSR1);
		}
		_exit(0);
	}
	while (got < rounds) {
		unsigned long value = ~0ul;
		ssize_t n = read(ends[0], &value, sizeof(value));

		if (n == -1 && errno == EINTR) {
			interrupted++;
			continue;
		}
		CHECK(n == sizeof(value) && value == got,
			"with signals: %zd bytes, %lu instead of %lu", n, value, got);
		got++;
	}
	CHECK(child_wait(writer) == 0, "the writer");
	CHECK(!interrupted || !(flags & SA_RESTART), "%lu calls ended in spite of SA_RESTART",
		interrupted);
	signal(SIGUSR1, SIG_IGN);
}

int main(void)
{
	page = area_map(0, 3 * PAGE_BYTES, PROT_READ | PROT_WRITE, 0);
	if (page == MAP_FAILED || munmap(page + 2 * PAGE_BYTES, PAGE_BYTES) || pipe(ends))
		die("fewbytes: no memory, or no pipe");
	round_places(PAGE_BYTES);
	round_places(2 * PAGE_BYTES);
	round_untouched();
	round_refused();
	round_changed(change_fork, "forked meanwhile");
	CHECK(child_wait(child) == 0, "the child saw its parent's bytes");
	round_changed(change_drop, "dropped meanwhile");
	round_changed(change_map, "mapped anew meanwhile");
	round_changed(change_file, "a page of a file meanwhile");
	round_signals(SA_RESTART, 2000);
	round_signals(0, 2000);
	printf("fewbytes: every byte came once: ok\n");
	return 0;
}
