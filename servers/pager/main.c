/*
 * main.c - pager: pages that are copies of the initrd's bytes                                     ring 3
 *
 * Makes memory objects for files of the initrd and fills their pages when they are touched. It knows no names and no
 * programs: a file is a range of bytes. See README.md.
 *
 * IDEA
 *   The scratch areas are ordinary anonymous memory. Filling a page faults a fresh frame in; supplying it moves the frame into
 *   the object and leaves a hole; so the next use gets a fresh frame again, and nothing is ever freed here. A frame that was
 *   not wanted (the page was there already) stays and is filled again the next time.
 *
 * INVARIANTS
 *   Q1  no state but the initrd's mapping: what a fault needs is in its message (cookie: offset << 32 | bytes)
 *   Q2  every page supplied is the file's bytes, then zeroes: nothing of an earlier use of the frame is left
 *   Q3  the work for one message is bounded: AROUND_PAGES pages, or one huge page and AROUND_PAGES pages
 *
 * LOCKS     none: one thread.
 * LINUX     mm/filemap.c: filemap_fault and filemap_map_pages (which maps what is there already).
 */
#include "log.h"
#include "native.h"
#include "service.h"
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE_BYTES   4096ull
#define HUGE_BYTES   (2ull << 20)
#define AROUND_PAGES 16 /* 64 KiB, aligned */
#define AROUND_BYTES (AROUND_PAGES * PAGE_BYTES)

/* After a huge page could not be had, so many faults are served by small ones before the next try: filling 2 MiB for
   nothing costs as much as a hundred faults. */
#define HUGE_PAUSE 64

static const uint8_t *initrd;
static uint64_t initrd_bytes;
static uint8_t *small_scratch; /* AROUND_PAGES pages */
static uint8_t *huge_scratch;  /* 2 MiB, aligned; NULL: no room for one */
static unsigned huge_pause;

/* A page that is missing. */
struct fault {
	uint64_t token;
	const uint8_t *file;
	uint64_t file_bytes;
	uint64_t offset;       /* in the object; a multiple of the page size */
	uint64_t object_bytes; /* whole pages */
	bool huge_fits;
};

/* --- filling and supplying --------------------------------------------------------------------------------------------- */

/* The bytes [offset, +bytes) of the object into `to`: the file's, then zeroes (Q2). */
static void fill(const struct fault *f, uint64_t offset, uint8_t *to, uint64_t bytes)
{
	uint64_t have = offset < f->file_bytes ? f->file_bytes - offset : 0;

	if (have > bytes)
		have = bytes;
	memcpy(to, f->file + offset, have);
	memset(to + have, 0, bytes - have);
}

static long supply(const struct fault *f, uint64_t offset, const uint8_t *from, uint64_t bytes)
{
	struct pager_supply s = {
		.endpoint = SLOT_SERVICE,
		.token = f->token,
		.offset = offset,
		.source = (uint64_t)from,
		.bytes = bytes,
	};

	return pager_supply(&s);
}

static long supply_small(const struct fault *f, uint64_t offset)
{
	uint8_t *page = small_scratch + offset % AROUND_BYTES;

	fill(f, offset, page, PAGE_BYTES);
	return supply(f, offset, page, PAGE_BYTES);
}

/* The page itself, then its neighbours as far as the file goes. Their failure is nobody's loss. */
static long supply_around(const struct fault *f)
{
	uint64_t first = f->offset & ~(AROUND_BYTES - 1), end = first + AROUND_BYTES;
	long result = supply_small(f, f->offset);

	if (result && result != -EEXIST)
		return result;
	if (end > f->file_bytes)
		end = f->file_bytes;
	for (uint64_t offset = first; offset < end; offset += PAGE_BYTES)
		if (offset != f->offset && supply_small(f, offset) == -ESRCH)
			break; /* the client is gone */
	return 0;
}

/* Does the file fill half of the huge page around the fault? */
static bool wants_huge(const struct fault *f)
{
	uint64_t first = f->offset & ~(HUGE_BYTES - 1);

	return f->huge_fits && huge_scratch && first < f->file_bytes &&
	       f->file_bytes - first >= HUGE_BYTES / 2;
}

/* False: small pages have to do. The scratch area is empty again in any case. */
static bool supply_huge(const struct fault *f)
{
	uint64_t first = f->offset & ~(HUGE_BYTES - 1);
	long result;

	if (huge_pause > 0) {
		huge_pause--;
		return false;
	}
	fill(f, first, huge_scratch, HUGE_BYTES);
	result = supply(f, first, huge_scratch, HUGE_BYTES);
	if (!result)
		return true;
	madvise(huge_scratch, HUGE_BYTES, MADV_DONTNEED);
	if (result == -EINVAL) /* the scratch area did not get a huge page */
		huge_pause = HUGE_PAUSE;
	return false;
}

/* --- messages ------------------------------------------------------------------------------------------------------------ */

static bool inside_initrd(uint64_t offset, uint64_t bytes)
{
	return bytes > 0 && offset <= initrd_bytes && bytes <= initrd_bytes - offset;
}

static long serve_fault(const struct message *m)
{
	struct fault f = {
		.token = m->token,
		.file = initrd + (m->badge >> 32),
		.file_bytes = (uint32_t)m->badge,
		.offset = m->word[0],
		.huge_fits = m->word[2] != 0,
		.object_bytes = m->word[3],
	};

	if (!inside_initrd(m->badge >> 32, f.file_bytes) || f.offset >= f.object_bytes)
		return -EFAULT;
	if (wants_huge(&f) && supply_huge(&f))
		return 0;
	return supply_around(&f);
}

/* A memory object for a range of the initrd; *out: a handle that may be read and passed on. */
static long make_object(uint64_t offset, uint64_t bytes, uint32_t *out)
{
	long memory, readable, error;

	if (!inside_initrd(offset, bytes))
		return -EINVAL;
	memory = memory_create((bytes + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1));
	if (memory < 0)
		return memory;
	error = pager_attach(memory, SLOT_SERVICE, offset << 32 | bytes); /* Q1 */
	readable = error ? error : handle_duplicate(memory, RIGHT_READ | RIGHT_DUPLICATE, 0);
	handle_close(memory);
	if (readable < 0)
		return readable;
	*out = readable;
	return 0;
}

/* One message; afterwards *m is its answer. */
static void serve(struct message *m)
{
	uint32_t came = m->handle, made = HANDLE_NONE;

	if (came)
		handle_close(came);
	if (m->label == MESSAGE_FAULT)
		m->label = serve_fault(m);
	else if (m->label == PAGER_FILE)
		m->label = make_object(m->word[0], m->word[1], &made);
	else
		m->label = -EINVAL;
	m->handle = made;
}

/* Room for one huge page. The kernel gives none below 2 MiB of free memory: that is seen when it is used. */
static void make_huge_scratch(void)
{
	uint8_t *area = mmap(NULL, 2 * HUGE_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t skip;

	if (area == MAP_FAILED)
		return;
	skip = -(uint64_t)area & (HUGE_BYTES - 1);
	if (skip)
		munmap(area, skip);
	huge_scratch = area + skip;
	munmap(huge_scratch + HUGE_BYTES, HUGE_BYTES - skip);
	madvise(huge_scratch, HUGE_BYTES, MADV_HUGEPAGE);
}

static bool prepare(void)
{
	long addr = machine_initrd(SLOT_MACHINE, &initrd_bytes);

	if (addr < 0 || initrd_bytes > UINT32_MAX)
		return false;
	initrd = (const uint8_t *)addr;
	make_huge_scratch();
	small_scratch = mmap(
		NULL, AROUND_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (small_scratch == MAP_FAILED)
		return false;
	madvise(small_scratch, AROUND_BYTES, MADV_NOHUGEPAGE);
	return true;
}

int main(void)
{
	struct message m = {0};

	if (!prepare()) {
		say("pager: no initrd, or no memory");
		return 1;
	}
	for (;;) {
		uint32_t answered = m.handle;
		long status = ipc_reply_receive(SLOT_SERVICE, &m, &m, DEADLINE_NEVER);

		if (answered)
			handle_close(answered); /* the client has its own now */
		if (status)
			m = (struct message){0};
		else
			serve(&m);
	}
}
