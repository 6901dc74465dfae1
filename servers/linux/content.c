/*
 * content.c - the bytes of a file in memory.                                                      ring 3
 *
 * IDEA
 *   INITRD  |initrd bytes|          as long as nobody writes: nothing is copied, nothing allocated
 *              | first write, or mapped shared: copied
 *              v
 *   HEAP    |capacity|              up to HEAP_MAX bytes
 *              | larger, or mapped shared
 *              v
 *   OBJECT  |  object_bytes  |      window      |     a memory object, mapped here with room to grow: pages come
 *           |tttt|....|tttt|                          when they are touched, so a hole costs nothing. t: a bit per
 *                                                     CHUNK that was touched; others are zeroes without looking
 *
 *   Small files stay off the kernel's objects because a task has HANDLE_MAX handles, and a page each is too much.
 *
 * INVARIANTS
 *   C1  bytes from the size to the end of the buffer are zero (HEAP, OBJECT): growing shows zeroes
 *   C2  an OBJECT's size is the file's, in whole pages: who maps more gets SIGBUS there
 *
 * LINUX  mm/shmem.c: pages in the page cache, and swap.
 */
#include "vfs.h"
#include "linux.h"
#include "native.h"
#include "service.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HEAP_FIRST    256u
#define HEAP_MAX      16384u
#define CHUNK         65536u
#define WINDOW_FIRST  (2ul << 20)
#define WINDOW_STEP   8u /* a window that is too small is replaced by one so many times larger */
#define FILE_MAX      (64ul << 30)
#define BUDGET        (1ul << 20) /* bytes that may be written before free memory is looked at again */
#define RESERVE_SHARE 16          /* files leave this part of memory to programs */

static const uint8_t zeroes[FILE_PAGE];
static uint64_t budget;

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* Files may fill memory, but not so far that the kernel has to end somebody for it. */
static bool memory_allows(size_t n)
{
	struct machine_memory memory;

	if (n <= budget) {
		budget -= n;
		return true;
	}
	if (machine_info(SLOT_MACHINE, MACHINE_MEMORY, &memory, sizeof(memory)) < 0)
		return false;
	if (memory.free < n + BUDGET + memory.total / RESERVE_SHARE)
		return false;
	budget = BUDGET;
	return true;
}

/* --- chunks -------------------------------------------------------------------------------- */

static bool is_touched(const struct content *c, uint64_t chunk)
{
	return c->shared || (c->touched[chunk / 8] & 1u << chunk % 8);
}

static void touch(struct content *c, uint64_t pos, size_t n)
{
	for (uint64_t i = pos / CHUNK; n && i <= (pos + n - 1) / CHUNK; i++)
		c->touched[i / 8] |= (uint8_t)(1u << i % 8);
}

const uint8_t *content_at(struct inode *inode, uint64_t pos, size_t *n)
{
	struct content *c = &inode->content;
	uint64_t to_edge;

	if (c->kind == CONTENT_OBJECT && !is_touched(c, pos / CHUNK)) {
		to_edge = FILE_PAGE - pos % FILE_PAGE;
		*n = *n < to_edge ? *n : to_edge;
		return zeroes;
	}
	if (c->kind == CONTENT_OBJECT && !c->shared) {
		uint64_t end = pos + *n, at = (pos / CHUNK + 1) * CHUNK;

		while (at < end && is_touched(c, at / CHUNK))
			at += CHUNK;
		*n = (at < end ? at : end) - pos;
	}
	return c->data + pos;
}

/* --- from one kind to the next ------------------------------------------------------------- */

static void drop_pager_object(struct content *c)
{
	if (c->kind == CONTENT_INITRD && c->memory)
		handle_close(c->memory);
	c->memory = HANDLE_NONE;
}

static int to_heap(struct inode *inode, uint64_t need)
{
	struct content *c = &inode->content;
	uint64_t capacity = c->kind == CONTENT_HEAP ? c->capacity : 0;
	uint64_t keep = inode->size < need ? inode->size : need;
	uint8_t *data;

	if (c->kind == CONTENT_HEAP && need <= capacity)
		return 0;
	capacity = capacity ? capacity : HEAP_FIRST;
	while (capacity < need)
		capacity *= 2;
	if (!memory_allows(capacity))
		return -ENOSPC;
	data = calloc(1, capacity);
	if (!data)
		return -ENOSPC;
	if (keep)
		memcpy(data, c->data, keep);
	if (c->kind == CONTENT_HEAP)
		free(c->data);
	drop_pager_object(c);
	*c = (struct content){.kind = CONTENT_HEAP, .data = data, .capacity = capacity};
	return 0;
}

/* Maps `memory` at a window of `capacity` bytes. NULL: no room for it. */
static uint8_t *window_map(uint32_t memory, uint64_t capacity)
{
	const struct memory_map map = {
		.memory = memory,
		.bytes = capacity,
		.prot = PROT_READ | PROT_WRITE,
		.flags = MAP_SHARED,
		.name = "file",
	};
	long addr = memory_map(&map);

	return addr < 0 ? NULL : (uint8_t *)addr;
}

/* A window of `capacity` bytes instead of the one there is, with a bit for each chunk of it. */
static int window_grow(struct content *c, uint64_t capacity)
{
	size_t bits = (capacity / CHUNK + 7) / 8;
	uint8_t *touched = calloc(1, bits), *data;

	if (!touched)
		return -ENOMEM;
	data = window_map(c->memory, capacity);
	if (!data) {
		free(touched);
		return -ENOMEM;
	}
	if (c->touched) {
		memcpy(touched, c->touched, (c->capacity / CHUNK + 7) / 8);
		free(c->touched);
		memory_unmap(0, (uint64_t)c->data, c->capacity);
	}
	c->touched = touched;
	c->data = data;
	c->capacity = capacity;
	return 0;
}

static uint64_t window_for(uint64_t bytes)
{
	uint64_t capacity = WINDOW_FIRST;

	while (capacity < bytes)
		capacity *= WINDOW_STEP;
	return capacity;
}

static int to_object(struct inode *inode, uint64_t need)
{
	struct content *c = &inode->content, object = {.kind = CONTENT_OBJECT};
	uint64_t size = inode->size < need ? inode->size : need;
	long memory;
	int err;

	if (!memory_allows(size))
		return -ENOSPC;
	object.object_bytes = round_up(need ? need : 1, FILE_PAGE);
	memory = memory_create(object.object_bytes);
	if (memory < 0)
		return memory == -EMFILE ? -ENFILE : -ENOSPC;
	object.memory = (uint32_t)memory;
	err = window_grow(&object, window_for(object.object_bytes));
	if (err) {
		handle_close(object.memory);
		return err;
	}
	if (size) {
		memcpy(object.data, c->data, size);
		touch(&object, 0, size);
	}
	if (c->kind == CONTENT_HEAP)
		free(c->data);
	drop_pager_object(c);
	*c = object;
	return 0;
}

static int object_grow(struct content *c, uint64_t need)
{
	uint64_t bytes = round_up(need, FILE_PAGE);
	int err = 0;

	if (bytes > c->capacity)
		err = window_grow(c, window_for(bytes));
	if (!err && bytes > c->object_bytes) {
		err = memory_resize(c->memory, bytes) < 0 ? -ENOSPC : 0;
		if (!err)
			c->object_bytes = bytes;
	}
	return err;
}

/* Our own bytes, `need` of them at least. */
static int content_own(struct inode *inode, uint64_t need)
{
	struct content *c = &inode->content;

	if (need > FILE_MAX)
		return -EFBIG;
	if (c->kind == CONTENT_OBJECT)
		return object_grow(c, need);
	if (need <= HEAP_MAX && inode->size <= HEAP_MAX)
		return to_heap(inode, need);
	return to_object(inode, need > inode->size ? need : inode->size);
}

/* --- for those above ----------------------------------------------------------------------- */

int content_prepare(struct inode *inode, uint64_t pos, size_t n, uint8_t **at)
{
	struct content *c = &inode->content;
	uint64_t end = pos + n;
	int err;

	if (pos > FILE_MAX || end > FILE_MAX)
		return -EFBIG;
	err = content_own(inode, end > inode->size ? end : inode->size);
	if (err)
		return err;
	if (c->kind == CONTENT_OBJECT) {
		if (!memory_allows(n))
			return -ENOSPC;
		touch(c, pos, n);
	}
	*at = c->data + pos;
	return 0;
}

void content_grown(struct inode *inode, uint64_t end)
{
	if (end > inode->size)
		inode->size = end;
	inode_modified(inode);
}

/* Smaller: what goes is zero from now on (C1), and whole pages of an object are given back (C2). */
static int content_shrink(struct inode *inode, uint64_t size)
{
	struct content *c = &inode->content;
	uint64_t end = inode->size, bytes = round_up(size ? size : 1, FILE_PAGE);
	int err = size ? content_own(inode, inode->size) : 0;

	if (err)
		return err;
	if (!size && c->kind == CONTENT_INITRD) {
		drop_pager_object(c);
		c->initrd_bytes = 0;
	} else if (c->kind == CONTENT_HEAP) {
		memset(c->data + size, 0, end - size);
	} else {
		end = end < bytes ? end : bytes;
		if (size < end && is_touched(c, size / CHUNK))
			memset(c->data + size, 0, end - size);
		if (memory_resize(c->memory, bytes) == 0)
			c->object_bytes = bytes;
		for (uint64_t i = (bytes + CHUNK - 1) / CHUNK; i < c->capacity / CHUNK; i++)
			c->touched[i / 8] &= (uint8_t) ~(1u << i % 8);
	}
	return 0;
}

int content_resize(struct inode *inode, uint64_t size)
{
	int err = 0;

	if (size < inode->size)
		err = content_shrink(inode, size);
	else if (size > inode->size)
		err = content_own(inode, size);
	if (err)
		return err;
	inode->size = size;
	inode_modified(inode);
	return 0;
}

int content_punch(struct inode *inode, uint64_t pos, uint64_t n)
{
	struct content *c = &inode->content;
	uint64_t end = pos + n < inode->size ? pos + n : inode->size;
	uint64_t first = round_up(pos, FILE_PAGE), last = end & ~(uint64_t)(FILE_PAGE - 1);
	int err;

	if (pos >= end)
		return 0;
	err = content_own(inode, inode->size);
	if (err)
		return err;
	if (end == inode->size)
		last = c->kind == CONTENT_OBJECT ? c->object_bytes : end;
	if (c->kind != CONTENT_OBJECT || first >= last) {
		memset(c->data + pos, 0, end - pos);
		return 0;
	}
	memset(c->data + pos, 0, first - pos);
	if (last < end)
		memset(c->data + last, 0, end - last);
	if (pager_withdraw(c->memory, first, last - first) < 0)
		memset(c->data + first, 0, last - first);
	for (uint64_t i = (first + CHUNK - 1) / CHUNK; i < last / CHUNK; i++)
		c->touched[i / 8] &= (uint8_t) ~(1u << i % 8);
	return 0;
}

int content_object(struct inode *inode)
{
	struct content *c = &inode->content;
	int err = c->kind == CONTENT_OBJECT ? 0 : to_object(inode, inode->size);

	if (!err)
		c->shared = true;
	return err;
}

uint64_t content_blocks(const struct inode *inode)
{
	const struct content *c = &inode->content;
	struct memory_info info;

	if (c->kind == CONTENT_OBJECT && memory_info(c->memory, &info) == 0)
		return info.pages * (FILE_PAGE / 512);
	return round_up(inode->size, FILE_PAGE) / 512;
}

uint64_t content_seek(struct inode *inode, uint64_t pos, bool data)
{
	const struct content *c = &inode->content;

	if (c->kind != CONTENT_OBJECT || c->shared)
		return data ? pos : inode->size;
	while (pos < inode->size && is_touched(c, pos / CHUNK) != data)
		pos = (pos / CHUNK + 1) * CHUNK;
	return pos < inode->size ? pos : inode->size;
}

void content_release(struct inode *inode)
{
	struct content *c = &inode->content;

	if (c->kind == CONTENT_HEAP)
		free(c->data);
	if (c->kind == CONTENT_OBJECT) {
		memory_unmap(0, (uint64_t)c->data, c->capacity);
		free(c->touched);
	}
	if (c->memory)
		handle_close(c->memory);
}
