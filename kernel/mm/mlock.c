/*
 * mlock.c - memory that shall stay, and memory that shall be written back       floor 5, below: range, fault
 *
 * mlock marks areas and brings their pages in. Nothing here takes a page away from a task that did not ask for it (there
 * is no swap), so what is left of it is what can be seen: VM_LOCKED splits areas, MADV_DONTNEED and MADV_FREE refuse,
 * smaps and status count. msync has nothing to write back: it checks.
 *
 * LOCKS     mm->lock (write to mark, none while pages are brought in)
 * LINUX     mm/mlock.c, mm/msync.c; also RLIMIT_MEMLOCK (root has none) and unevictable lists    docs/mm/mmap.md
 */
#include <abi/errno.h>
#include "mm/vma.h"
#include "mm/uaccess.h"
#include "mutex.h"
#include "mm/fault.h"
#include "mm/range.h"
#include "mm/mmap.h"

#define LOCK_FLAGS (VM_LOCKED | VM_LOCKONFAULT)

static void set_lock(struct vma *v, u32 flags)
{
	u64 pages = vma_pages(v), *locked = &v->mm->locked_vm;
	u64 before = v->flags & VM_LOCKED ? pages : 0, after = flags & VM_LOCKED ? pages : 0;

	WRITE_ONCE(*locked, *locked - before + after);
	v->flags = (v->flags & ~LOCK_FLAGS) | flags;
}

/* mmap_unlock_area - an area that is empty now, since its pages moved away, is locked no more. mm->lock held for writing. */
void mmap_unlock_area(struct vma *v)
{
	set_lock(v, 0);
}

/* Areas up to the first hole, which is an error then. held: mm(write). Linux: apply_vma_lock_flags */
static int mark(struct mm *mm, vaddr_t start, vaddr_t end, u32 flags)
{
	vaddr_t stop = range_mapped_until(mm, start, end);
	struct vma *v;
	int err;

	for (v = range_first(mm, start, stop); v; v = range_next(v, stop)) {
		if (v->kind == VMA_DEVICE || (v->flags & LOCK_FLAGS) == flags)
			continue; /* a device is there anyway, and counts as nobody's */
		v = range_part(v, start, stop, &err);
		if (!v)
			return err;
		set_lock(v, flags);
		v = vma_merge(v);
	}
	return stop < end ? -ENOMEM : 0;
}

/* The locked area that contains addr or lies behind it, as a range within [addr, end). False: there is none. */
static bool next_locked(struct mm *mm, vaddr_t *addr, vaddr_t *end, bool *write)
{
	struct vma *v;

	rwsem_read_lock(&mm->lock);
	v = range_first(mm, *addr, *end);
	while (v && (v->flags & LOCK_FLAGS) != VM_LOCKED)
		v = range_next(v, *end);
	if (v) {
		*addr = MAX(*addr, v->start);
		*end = MIN(*end, v->end);
		*write = (v->flags & (VM_WRITE | VM_SHARED)) == VM_WRITE;
	}
	rwsem_read_unlock(&mm->lock);
	return v;
}

/* Bring in what is locked: a private writable page as the copy it will be. Linux: populate_vma_page_range */
static int populate(struct mm *mm, vaddr_t start, vaddr_t end, bool report, u64 *faults)
{
	vaddr_t to = end;
	bool write;
	int err;

	for (vaddr_t a = start; a < end; a = to, to = end) {
		if (!next_locked(mm, &a, &to, &write))
			return 0;
		err = fault_populate(mm, a, to, write, faults);
		if (err && report)
			return err == -ENOMEM ? -EAGAIN
					      : -ENOMEM; /* Linux: __mlock_posix_error_return */
	}
	return 0;
}

/*
 * mmap_bring_in_locked - what of the range is locked has its pages afterwards, as far as there are any to be had.
 *   locks    none held
 *   Linux    mm_populate, after mremap and mprotect
 */
void mmap_bring_in_locked(struct mm *mm, vaddr_t start, vaddr_t end, u64 *faults)
{
	(void)populate(mm, start, end, false, faults);
}

/* Whole pages; -EINVAL: it wraps around. */
static int whole_pages(vaddr_t *addr, u64 *len)
{
	u64 bytes = ALIGN_UP(*len + (*addr & ~PAGE_MASK), PAGE_SIZE);

	if (bytes < *len || (*addr & PAGE_MASK) + bytes < (*addr & PAGE_MASK))
		return -EINVAL;
	*addr &= PAGE_MASK;
	*len = bytes;
	return 0;
}

/*
 * mmap_lock - mlock, mlock2.
 *   returns  0; -EINVAL (flags, wraps around); -ENOMEM (a hole: what lies before it is locked; too many areas); -EAGAIN
 *   Linux    do_mlock
 */
int mmap_lock(struct mm *mm, vaddr_t addr, u64 len, u32 flags, u64 *faults)
{
	int err;

	if (flags & ~MLOCK_ONFAULT)
		return -EINVAL;
	if (len == 0)
		return 0;
	err = whole_pages(&addr, &len);
	if (err)
		return err;
	if (!len)
		return 0;
	rwsem_write_lock(&mm->lock);
	err = mark(mm, addr, addr + len, VM_LOCKED | (flags & MLOCK_ONFAULT ? VM_LOCKONFAULT : 0));
	rwsem_write_unlock(&mm->lock);
	return err ? err : populate(mm, addr, addr + len, true, faults);
}

/* mmap_unlock - munlock: 0, -EINVAL, -ENOMEM (a hole). */
int mmap_unlock(struct mm *mm, vaddr_t addr, u64 len)
{
	int err = whole_pages(&addr, &len);

	if (err || !len)
		return err;
	rwsem_write_lock(&mm->lock);
	err = mark(mm, addr, addr + len, 0);
	rwsem_write_unlock(&mm->lock);
	return err;
}

/* Every area, and those to come. held: mm(write) */
static void mark_all(struct mm *mm, u32 now, u32 later, bool mark_now)
{
	mm->lock_flags = later;
	for (struct vma *v = mark_now ? vma_first(mm) : NULL; v; v = vma_next(v)) {
		if (v->kind == VMA_DEVICE)
			continue;
		set_lock(v, now);
		v = vma_merge(v);
	}
}

/*
 * mmap_lock_all - mlockall: MCL_CURRENT, MCL_FUTURE, either with MCL_ONFAULT.
 *   returns  0, -EINVAL. Pages that cannot be brought in are not told, as on Linux
 *   Linux    apply_mlockall_flags
 */
int mmap_lock_all(struct mm *mm, u32 flags, u64 *faults)
{
	u32 vm_flags = VM_LOCKED | (flags & MCL_ONFAULT ? VM_LOCKONFAULT : 0);

	if (!flags || flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) || flags == MCL_ONFAULT)
		return -EINVAL;
	rwsem_write_lock(&mm->lock);
	mark_all(mm, vm_flags, flags & MCL_FUTURE ? vm_flags : 0, flags & MCL_CURRENT);
	rwsem_write_unlock(&mm->lock);
	if (flags & MCL_CURRENT)
		populate(mm, USER_START, USER_END, false, faults);
	return 0;
}

int mmap_unlock_all(struct mm *mm)
{
	rwsem_write_lock(&mm->lock);
	mark_all(mm, 0, 0, true);
	rwsem_write_unlock(&mm->lock);
	return 0;
}

/*
 * mmap_sync - msync: everything mapped is as written back as it will ever be.
 *   returns  0; -EINVAL (alignment, flags); -ENOMEM (a hole, past the end); -EBUSY (MS_INVALIDATE of locked memory)
 *   Linux    msync
 */
int mmap_sync(struct mm *mm, vaddr_t addr, u64 len, u32 flags)
{
	vaddr_t end = addr + ALIGN_UP(len, PAGE_SIZE);
	int err = 0;

	if (flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC) || addr & ~PAGE_MASK ||
		(flags & (MS_ASYNC | MS_SYNC)) == (MS_ASYNC | MS_SYNC))
		return -EINVAL;
	if (end < addr)
		return -ENOMEM;
	if (end == addr)
		return 0;
	rwsem_read_lock(&mm->lock);
	if (range_mapped_until(mm, addr, end) < end)
		err = -ENOMEM;
	for (struct vma *v = range_first(mm, addr, end); v && flags & MS_INVALIDATE;
		v = range_next(v, end))
		if (v->flags & VM_LOCKED)
			err = -EBUSY;
	rwsem_read_unlock(&mm->lock);
	return err;
}
