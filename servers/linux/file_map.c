/*
 * file_map.c - files as memory: mmap of a descriptor, and what exec maps.                         ring 3
 *
 * IDEA
 *   file of the initrd, never written   private: the pager's object: its pages come from the initrd when touched
 *   any other, and every shared one     the file's own object: what is written through a mapping is in the file
 *   /dev/zero                           anonymous memory
 *
 * LINUX  mm/mmap.c (ksys_mmap_pgoff, do_mmap), mm/filemap.c
 */
#include "calls.h"
#include "device.h"
#include "file.h"
#include <string.h>
#include <sys/mman.h>

#define ASK_NS (1000 * 1000 * 1000ull) /* for the pager to answer */

/* The pager's object for a file of the initrd: 0 and a handle that stays the inode's; -errno. */
static int pager_object(struct inode *inode, uint32_t *handle)
{
	struct content *content = &inode->content;
	struct message m = {.label = PAGER_FILE};

	if (content->memory) {
		*handle = content->memory;
		return 0;
	}
	m.word[0] = (uint64_t)(content->data - ramfs_initrd());
	m.word[1] = content->initrd_bytes;
	if (ipc_call(SLOT_PAGER, &m, time_now() + ASK_NS) != 0 || (int64_t)m.label < 0 || !m.handle)
		return -EIO;
	content->memory = (uint32_t)m.handle;
	*handle = content->memory;
	return 0;
}

/* Memory with the file's contents; without a pager the file gets its own copy. */
static int inode_memory(struct inode *inode, bool shared, uint32_t *handle)
{
	int err;

	if (inode->kind != INODE_FILE)
		return -ENODEV;
	if (!shared && inode->content.kind == CONTENT_INITRD && inode->size &&
		!pager_object(inode, handle))
		return 0;
	err = content_object(inode);
	*handle = inode->content.memory;
	return err;
}

int file_memory(struct file *f, uint32_t *handle)
{
	return inode_memory(f->inode, false, handle);
}

/* --- mmap ----------------------------------------------------------------------------------- */

/* What a mapping is called in /proc/PID/maps: the file's path, or its end. */
static void name_of(const struct inode *inode, char *name, size_t size)
{
	static char buffer[PATH_BYTES];
	bool deleted;
	const char *path = path_of(inode, buffer, &deleted), *slash;

	if (!path || deleted)
		path = "(deleted)";
	slash = strrchr(path, '/');
	if (strlen(path) >= size && slash)
		path = slash + 1;
	strncpy(name, path, size - 1);
	name[size - 1] = '\0';
}

static long check_file(const struct file *f, uint32_t prot, bool shared)
{
	if ((f->flags & O_ACCMODE) == O_WRONLY)
		return -EACCES;
	if (shared && (prot & PROT_WRITE) && (f->flags & O_ACCMODE) != O_RDWR)
		return -EACCES;
	return f->inode->kind == INODE_FILE || f->ops == &zero_ops ? 0 : -ENODEV;
}

#define MAP_KIND     0x0fu
#define KERNEL_FLAGS ((uint32_t)(MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_FIXED_NOREPLACE))
#define MAP_VALIDATE 3u

static long map_zeroes(struct memory_map *map, bool shared)
{
	long memory = 0, addr;

	if (shared) {
		memory = memory_create(map->bytes);
		if (memory < 0)
			return -ENOMEM;
	}
	map->memory = (uint32_t)memory;
	map->offset = 0;
	addr = memory_map(map);
	if (memory)
		handle_close((uint32_t)memory);
	return addr;
}

/* Who may not write the file must not make its mapping writable later: the handle says so. */
static long map_inode(struct memory_map *map, struct file *f, bool shared)
{
	uint32_t handle;
	long reading = 0, addr;
	int err = inode_memory(f->inode, shared, &handle);

	if (err)
		return err;
	if (shared && (f->flags & O_ACCMODE) != O_RDWR) {
		reading = handle_duplicate(handle, RIGHT_READ, 0);
		if (reading < 0)
			return -ENOMEM;
		handle = (uint32_t)reading;
	}
	map->memory = handle;
	name_of(f->inode, map->name, sizeof(map->name));
	addr = memory_map(map);
	if (reading)
		handle_close((uint32_t)reading);
	if (addr >= 0)
		inode_accessed(f->inode);
	return addr;
}

/*
 * MAP_POPULATE is the thread's own work: here all others would wait for it. As in the kernel's mmap a page of a shared
 * mapping is only read.
 */
static long map_end(struct call *c, long addr, const struct memory_map *map)
{
	if (addr < 0 || !(c->arg[3] & (MAP_POPULATE | MAP_LOCKED)) ||
		!(map->prot & (PROT_READ | PROT_WRITE | PROT_EXEC)))
		return addr;
	c->fault_addr = (uint64_t)addr;
	c->fault_bytes = map->bytes;
	c->fault_write = (map->prot & PROT_WRITE) && (map->flags & MAP_KIND) == MAP_PRIVATE;
	return CALL_POPULATE;
}

long sys_mmap(struct call *c)
{
	uint64_t bytes = (c->arg[1] + FILE_PAGE - 1) & ~(uint64_t)(FILE_PAGE - 1);
	uint32_t flags = (uint32_t)c->arg[3], kind = flags & MAP_KIND;
	bool anonymous = flags & MAP_ANONYMOUS, shared = kind != MAP_PRIVATE;
	struct memory_map map = {
		.task = call_process(c)->task,
		.addr = c->arg[0],
		.bytes = bytes,
		.offset = c->arg[5],
		.prot = (uint32_t)c->arg[2],
		.flags = (flags & KERNEL_FLAGS & ~(uint32_t)MAP_KIND) |
			 (shared ? MAP_SHARED : MAP_PRIVATE),
	};
	struct file *f = NULL;
	long err = 0;

	if (c->arg[5] % FILE_PAGE)
		return -EINVAL;
	if (!anonymous) {
		f = fd_file(call_process(c), c->arg[4]);
		if (!f)
			return -EBADF;
	}
	if (!c->arg[1] || (kind != MAP_SHARED && kind != MAP_PRIVATE && kind != MAP_VALIDATE))
		return -EINVAL;
	if (!bytes)
		return -ENOMEM;
	if (c->arg[5] + bytes < c->arg[5])
		return -EOVERFLOW;
	if (f)
		err = check_file(f, map.prot, shared);
	if (err)
		return err;
	if (!f || f->ops == &zero_ops)
		return map_end(c, map_zeroes(&map, shared), &map);
	return map_end(c, map_inode(&map, f, shared), &map);
}

/* Nothing is behind a mapping that it could be written back to. */
long sys_msync(struct call *c)
{
	uint32_t flags = (uint32_t)c->arg[2];

	if (c->arg[0] % FILE_PAGE || (flags & ~(uint32_t)(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) ||
		((flags & MS_ASYNC) && (flags & MS_SYNC)))
		return -EINVAL;
	return 0;
}
