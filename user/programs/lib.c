/*
 * lib.c - readers of /proc and /sys and other things the ring-3 programs share.             ring 3
 *
 * See lib.h for the contracts. Files are read with plain read(2) into small static buffers: a
 * program that measures page faults must not fault by measuring, so no heap and no stdio input.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib.h"

/* Bits of a /proc/self/pagemap entry and of a /proc/kpageflags word. */
#define PM_PRESENT        (1UL << 63)
#define PM_PFN            ((1UL << 55) - 1)
#define KPF_ANON          (1UL << 12)
#define KPF_COMPOUND_HEAD (1UL << 15)
#define KPF_COMPOUND_TAIL (1UL << 16)
#define KPF_ZERO_PAGE     (1UL << 24)
#define KPF_COMPOUND      (KPF_COMPOUND_HEAD | KPF_COMPOUND_TAIL)

bool size_parse(const char *text, unsigned long *bytes)
{
	unsigned long value = 0, unit = 1;

	if (*text < '0' || *text > '9')
		return false;
	for (; *text >= '0' && *text <= '9'; text++) {
		if (__builtin_mul_overflow(value, 10UL, &value) ||
			__builtin_add_overflow(value, (unsigned long)(*text - '0'), &value))
			return false;
	}
	switch (*text) {
	case 'G':
		unit = 1024 * MIB;
		break;
	case 'M':
		unit = MIB;
		break;
	case 'K':
		unit = KIB;
		break;
	case '\0':
		*bytes = value;
		return true;
	default:
		return false;
	}
	return text[1] == '\0' && !__builtin_mul_overflow(value, unit, bytes);
}

bool file_read(const char *path, char *text, size_t size)
{
	size_t used = 0;
	ssize_t got;
	int fd = open(path, O_RDONLY);

	if (fd < 0)
		return false;
	while (used < size - 1 && (got = read(fd, text + used, size - 1 - used)) > 0)
		used += got;
	close(fd);
	text[used] = '\0';
	if (used && text[used - 1] == '\n')
		text[used - 1] = '\0';
	return true;
}

int file_write(const char *path, const char *text)
{
	ssize_t done;
	int error, fd = open(path, O_WRONLY);

	if (fd < 0)
		return errno;
	done = write(fd, text, strlen(text));
	error = done < 0 ? errno : 0;
	close(fd);
	return error;
}

unsigned long file_number(const char *path, unsigned long otherwise)
{
	char text[64];

	if (!file_read(path, text, sizeof(text)) || text[0] < '0' || text[0] > '9')
		return otherwise;
	return strtoul(text, NULL, 10);
}

bool setting_read(const char *path, char *text, size_t size)
{
	char all[128], *word = all, *end;

	if (!file_read(path, all, sizeof(all)))
		return false;
	if (strchr(all, '[')) {
		word = strchr(all, '[') + 1;
		end = strchr(word, ']');
		if (!end)
			return false;
		*end = '\0';
	}
	return snprintf(text, size, "%s", word) < (int)size;
}

/* A file read line by line. */
struct lines {
	int fd;
	size_t at, used;
	char buffer[4096];
};

static bool lines_open(struct lines *lines, const char *path)
{
	lines->fd = open(path, O_RDONLY);
	lines->at = lines->used = 0;
	return lines->fd >= 0;
}

/* One line without its newline; a line longer than `size` is cut. False at the end of the file. */
static bool lines_next(struct lines *lines, char *line, size_t size)
{
	size_t length = 0;

	for (;;) {
		if (lines->at == lines->used) {
			ssize_t got = read(lines->fd, lines->buffer, sizeof(lines->buffer));

			if (got <= 0)
				break;
			lines->at = 0;
			lines->used = got;
		}
		char c = lines->buffer[lines->at++];

		if (c == '\n') {
			line[length] = '\0';
			return true;
		}
		if (length < size - 1)
			line[length++] = c;
	}
	line[length] = '\0';
	return length > 0;
}

static struct lines file_lines;
static char file_line[256];

void counters_read(struct counters *counters)
{
	counters->nr = 0;
	if (!lines_open(&file_lines, "/proc/vmstat"))
		return;
	while (lines_next(&file_lines, file_line, sizeof(file_line))) {
		char *space = strchr(file_line, ' ');

		if (strncmp(file_line, "thp_", 4) != 0 || !space || counters->nr == COUNTERS_MAX)
			continue;
		*space = '\0';
		snprintf(counters->at[counters->nr].name, sizeof(counters->at[0].name), "%.39s",
			file_line);
		counters->at[counters->nr].value = strtoul(space + 1, NULL, 10);
		counters->nr++;
	}
	close(file_lines.fd);
}

unsigned long counters_get(const struct counters *counters, const char *name)
{
	for (int i = 0; i < counters->nr; i++) {
		if (strcmp(counters->at[i].name, name) == 0)
			return counters->at[i].value;
	}
	return 0;
}

/* The number in "Field:   123 kB" when the line is that field's. */
static bool line_field(const char *line, const char *field, unsigned long *value)
{
	size_t length = strlen(field);

	if (strncmp(line, field, length) != 0)
		return false;
	*value = strtoul(line + length, NULL, 10);
	return true;
}

unsigned long proc_kb(const char *path, const char *field)
{
	unsigned long value = 0;

	if (!lines_open(&file_lines, path))
		return 0;
	while (lines_next(&file_lines, file_line, sizeof(file_line))) {
		if (line_field(file_line, field, &value))
			break;
	}
	close(file_lines.fd);
	return value;
}

static void smaps_line(const char *line, void *to)
{
	struct smaps_sum *sum = to;
	unsigned long value;

	if (line_field(line, "Size:", &value))
		sum->size += value;
	else if (line_field(line, "Rss:", &value))
		sum->rss += value;
	else if (line_field(line, "Pss:", &value))
		sum->pss += value;
	else if (line_field(line, "Anonymous:", &value))
		sum->anon += value;
	else if (line_field(line, "AnonHugePages:", &value))
		sum->anon_huge += value;
	else if (line_field(line, "THPeligible:", &value) &&
		 (sum->eligible < 0 || (long)value < sum->eligible))
		sum->eligible = value;
}

/* Call `told` with each field's line of the areas that overlap; the number of areas, -1 on error. */
static long smaps_walk(
	unsigned long start, unsigned long end, void (*told)(const char *, void *), void *to)
{
	bool inside = false;
	long vmas = 0;

	if (!lines_open(&file_lines, "/proc/self/smaps"))
		return -1;
	while (lines_next(&file_lines, file_line, sizeof(file_line))) {
		char *dash, *space;
		unsigned long from = strtoul(file_line, &dash, 16), to_address;

		if (dash == file_line || *dash != '-') {
			if (inside)
				told(file_line, to);
			continue;
		}
		to_address = strtoul(dash + 1, &space, 16);
		inside = from < end && to_address > start;
		vmas += inside;
	}
	close(file_lines.fd);
	return vmas;
}

bool smaps_read(unsigned long start, unsigned long end, struct smaps_sum *sum)
{
	long vmas;

	*sum = (struct smaps_sum){.eligible = -1};
	vmas = smaps_walk(start, end, smaps_line, sum);
	if (vmas > 0)
		sum->vmas = vmas;
	return vmas >= 0;
}

struct field_sum {
	const char *field;
	unsigned long kb;
};

static void field_line(const char *line, void *to)
{
	struct field_sum *sum = to;
	unsigned long value;

	if (line_field(line, sum->field, &value))
		sum->kb += value;
}

unsigned long smaps_field(unsigned long start, unsigned long end, const char *field)
{
	struct field_sum sum = {.field = field};

	smaps_walk(start, end, field_line, &sum);
	return sum.kb;
}

/* Entries of one 2 MiB window: pagemap words and the kpageflags word of each present frame. */
struct window {
	uint64_t map[HUGE_PAGES];
	uint64_t flags[HUGE_PAGES];
};

static struct window window;

/* The flags of all present frames, one read for each run of neighbouring frames. */
static bool window_flags(int fd, unsigned long nr)
{
	for (unsigned long i = 0, run; i < nr; i += run) {
		uint64_t pfn = window.map[i] & PM_PFN;
		ssize_t bytes;

		run = 1;
		if (!(window.map[i] & PM_PRESENT))
			continue;
		while (i + run < nr && (window.map[i + run] & PM_PRESENT) &&
			(window.map[i + run] & PM_PFN) == pfn + run)
			run++;
		bytes = run * sizeof(window.flags[0]);
		if (pread(fd, &window.flags[i], bytes, pfn * sizeof(window.flags[0])) != bytes)
			return false;
	}
	return true;
}

/* All 512 frames in order, from an aligned one, and every one with one of the `bits`. */
static bool window_is_whole(unsigned long nr, uint64_t bits)
{
	uint64_t first = window.map[0] & PM_PFN;

	if (nr != HUGE_PAGES || first % HUGE_PAGES != 0)
		return false;
	for (unsigned long i = 0; i < nr; i++) {
		if (!(window.map[i] & PM_PRESENT) || (window.map[i] & PM_PFN) != first + i ||
			!(window.flags[i] & bits))
			return false;
	}
	return true;
}

static size_t window_describe(unsigned long nr, struct layout *layout, size_t used)
{
	unsigned long small = 0, tail = 0, zero = 0;
	char *text = layout->per_2m + used;
	size_t room = LAYOUT_TEXT - used;
	const char *space = used ? " " : "";

	for (unsigned long i = 0; i < nr; i++) {
		if (!(window.map[i] & PM_PRESENT))
			continue;
		if (window.flags[i] & KPF_ZERO_PAGE)
			zero++;
		else if (window.flags[i] & KPF_COMPOUND)
			tail++;
		else
			small++;
	}
	layout->present += small + tail + zero;
	layout->zero += zero;
	layout->in_compound += tail;
	if (window_is_whole(nr, KPF_ZERO_PAGE))
		return used + snprintf(text, room, "%sZ", space);
	if (tail == HUGE_PAGES && window_is_whole(nr, KPF_COMPOUND))
		return used + snprintf(text, room, "%sC", space);
	return used + snprintf(text, room, "%sa%lu/t%lu/z%lu", space, small, tail, zero);
}

bool layout_read(unsigned long start, unsigned long end, struct layout *layout)
{
	int map = open("/proc/self/pagemap", O_RDONLY), flags = open("/proc/kpageflags", O_RDONLY);
	bool ok = map >= 0 && flags >= 0;
	size_t used = 0;

	*layout = (struct layout){0};
	while (ok && start < end && used < LAYOUT_TEXT) {
		unsigned long next = (start | (HUGE_BYTES - 1)) + 1;
		unsigned long nr = ((next < end ? next : end) - start) / PAGE_BYTES;
		ssize_t bytes = nr * sizeof(window.map[0]);

		ok = pread(map, window.map, bytes, start / PAGE_BYTES * sizeof(window.map[0])) ==
			     bytes &&
		     window_flags(flags, nr);
		if (ok)
			used = window_describe(nr, layout, used);
		start = next;
	}
	if (map >= 0)
		close(map);
	if (flags >= 0)
		close(flags);
	return ok;
}

bool pfns_of(const void *address, unsigned long nr, unsigned long *pfns)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	ssize_t bytes = nr * sizeof(*pfns);
	bool ok = fd >= 0 &&
		  pread(fd, pfns, bytes, (uintptr_t)address / PAGE_BYTES * sizeof(*pfns)) == bytes;

	for (unsigned long i = 0; i < nr; i++)
		pfns[i] = ok && (pfns[i] & PM_PRESENT) ? pfns[i] & PM_PFN : 0;
	if (fd >= 0)
		close(fd);
	return ok;
}

unsigned long pfn_of(const void *address)
{
	unsigned long pfn;

	return pfns_of(address, 1, &pfn) ? pfn : 0;
}

unsigned long faults_minor(void)
{
	struct rusage usage = {0};

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

void *area_map(unsigned long offset, unsigned long size, int prot, int flags)
{
	void *want = (void *)(AREA_BASE + offset);
	int type = flags & MAP_SHARED ? MAP_SHARED : MAP_PRIVATE;
	void *got =
		mmap(want, size, prot, type | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | flags, -1, 0);

	/* Kernels without NOREPLACE take the address as a hint. */
	if (got != MAP_FAILED && got != want) {
		munmap(got, size);
		errno = EEXIST;
		return MAP_FAILED;
	}
	return got;
}

void sleep_ms(unsigned long ms)
{
	struct timespec time = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&time, NULL);
}

int child_wait(int pid)
{
	int status;

	while (wait4(pid, &status, 0, NULL) < 0) {
		if (errno != EINTR)
			die("wait4: errno %d", errno);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

void die(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}
