/*
 * madvise.c - what a task says about its memory                          floor 5, below: range, fault, collapse, zap, pageout
 *
 * Advice either marks areas (HUGEPAGE, NOHUGEPAGE, fork and dump), drops pages now (DONTNEED) or later (FREE), brings
 * them in (POPULATE_*) or makes them huge (COLLAPSE). Unknown advice is refused.
 *
 * IDEA      holes in the range: what is mapped is treated all the same, then -ENOMEM, as on Linux.
 *           Locked areas refuse to lose pages, except by DONTNEED_LOCKED. FREE, COLD and PAGEOUT: pageout.c.
 *
 * LOCKS     mm->lock (write; POPULATE and COLLAPSE take it themselves) -> anon lock -> pt_lock
 * LINUX     mm/madvise.c                                                            docs/mm/mmap.md
 */
#include <abi/errno.h>
#include "mm/vma.h"
#include "mutex.h"
#include "sched.h"
#include "mm/thp.h"
#include "mm/zap.h"
#include "mm/pageout.h"
#include "mm/collapse.h"
#include "mm/memory.h"
#include "mm/fault.h"
#include "mm/range.h"
#include "mm/mmap.h"

/* Advice that only changes an area's flags: which, or 0. */
static bool advice_flags(int advice, u32 *set, u32 *clear)
{
	*set = *clear = 0;
	switch (advice) {
	case MADV_HUGEPAGE:
		*set = VM_HUGEPAGE;
		*clear = VM_NOHUGEPAGE;
		return true;
	case MADV_NOHUGEPAGE:
		*set = VM_NOHUGEPAGE;
		*clear = VM_HUGEPAGE;
		return true;
	case MADV_DONTFORK:
		*set = VM_DONTFORK;
		return true;
	case MADV_DOFORK:
		*clear = VM_DONTFORK;
		return true;
	case MADV_WIPEONFORK:
		*set = VM_WIPEONFORK;
		return true;
	case MADV_KEEPONFORK:
		*clear = VM_WIPEONFORK;
		return true;
	case MADV_DONTDUMP:
		*set = VM_DONTDUMP;
		return true;
	case MADV_DODUMP:
		*clear = VM_DONTDUMP;
		return true;
	case MADV_NORMAL:
		*clear = VM_RAND_READ | VM_SEQ_READ;
		return true;
	case MADV_RANDOM:
		*set = VM_RAND_READ;
		*clear = VM_SEQ_READ;
		return true;
	case MADV_SEQUENTIAL:
		*set = VM_SEQ_READ;
		*clear = VM_RAND_READ;
		return true;
	case MADV_WILLNEED:
		return true; /* about files and swap: nothing to note here */
	}
	return false;
}

/* held: mm(write) */
static int advise_flags(struct mm *mm, vaddr_t start, vaddr_t end, u32 set, u32 clear)
{
	struct vma *v;
	int err;

	if (!(set | clear))
		return 0;
	for (v = range_first(mm, start, end); v; v = range_next(v, end)) {
		u32 flags = (v->flags & ~clear) | set;

		if (set & VM_WIPEONFORK && v->kind != VMA_ANON)
			return -EINVAL;
		if (flags != v->flags) {
			v = range_part(v, start, end, &err);
			if (!v)
				return err;
			v->flags = flags;
		}
		if (set & VM_HUGEPAGE && thp_vma_reason(v) == THP_OK)
			thp_enter_mm(mm);
		v = vma_merge(v);
	}
	return 0;
}

/* REMOVE: the pages leave the object itself. A pager's object is the pager's to punch. Linux: madvise_remove */
static int remove_pages(struct vma *v, vaddr_t start, vaddr_t stop)
{
	if (v->kind != VMA_OBJECT)
		return -EINVAL;
	if ((v->flags & (VM_SHARED | VM_WRITE)) != (VM_SHARED | VM_WRITE))
		return -EACCES;
	if (vma_memory(v)->pager)
		return -EINVAL;
	return memory_withdraw(vma_memory(v), vma_index(v, start) << PAGE_SHIFT, stop - start);
}

/* held: mm(write) */
static int advise_area(struct vma *v, vaddr_t start, vaddr_t stop, int advice)
{
	if (v->kind == VMA_DEVICE || (v->flags & VM_LOCKED && advice != MADV_DONTNEED_LOCKED))
		return -EINVAL;
	switch (advice) {
	case MADV_REMOVE:
		return remove_pages(v, start, stop);
	case MADV_DONTNEED:
	case MADV_DONTNEED_LOCKED:
		zap_range(v, start, stop);
		return 0;
	case MADV_FREE:
		if (v->kind != VMA_ANON)
			return -EINVAL;
		break;
	}
	if (v->kind ==
		VMA_ANON) /* an object's pages are its own; nothing else is cold or paged out */
		pageout_range(v, start, stop, advice);
	return 0;
}

/* DONTNEED, DONTNEED_LOCKED, FREE, REMOVE, COLD and PAGEOUT, area by area. held: mm(write) */
static int advise_pages(struct mm *mm, vaddr_t start, vaddr_t end, int advice)
{
	for (struct vma *v = range_first(mm, start, end); v; v = range_next(v, end)) {
		vaddr_t a = MAX(start, v->start), stop = MIN(end, v->end);

		int err = advise_area(v, a, stop, advice);

		if (err)
			return err;
	}
	return 0;
}

static int advise_locked(struct mm *mm, vaddr_t start, vaddr_t end, int advice)
{
	bool holes = range_mapped_until(mm, start, end) < end;
	u32 set, clear;
	int err;

	if (advice_flags(advice, &set, &clear))
		err = advise_flags(mm, start, end, set, clear);
	else
		err = advise_pages(mm, start, end, advice);
	return err     ? err
	       : holes ? -ENOMEM
		       : 0; /* what is mapped was treated all the same, as on Linux */
}

/* POPULATE_*: area by area, so that a hole ends nothing. Linux: madvise_populate, called for each area */
static int populate_areas(struct mm *mm, vaddr_t start, vaddr_t end, bool write, u64 *faults)
{
	bool holes = false;
	vaddr_t stop;
	struct vma *v;
	int err;

	for (; start < end; start = stop) {
		rwsem_read_lock(&mm->lock);
		v = range_first(mm, start, end);
		holes |= !v || v->start > start;
		start = v ? MAX(start, v->start) : end;
		stop = v ? MIN(end, v->end) : end;
		rwsem_read_unlock(&mm->lock);
		err = fault_populate(mm, start, stop, write, faults);
		if (err)
			return err;
	}
	return holes ? -ENOMEM : 0;
}

static bool advice_known(int advice)
{
	u32 set, clear;

	return advice_flags(advice, &set, &clear) || advice == MADV_DONTNEED ||
	       advice == MADV_DONTNEED_LOCKED || advice == MADV_FREE || advice == MADV_REMOVE ||
	       advice == MADV_COLD || advice == MADV_PAGEOUT || advice == MADV_POPULATE_READ ||
	       advice == MADV_POPULATE_WRITE || advice == MADV_COLLAPSE;
}

/*
 * mmap_advise - madvise: HUGEPAGE, NOHUGEPAGE, DONTNEED, FREE, COLLAPSE, POPULATE_*, and the advice about fork.
 *   faults   grows by the faults that populating took
 *   returns  0; -EINVAL (alignment, unknown advice), -ENOMEM (a hole; what is mapped was treated), others by advice
 *   Linux    do_madvise
 */
int mmap_advise(struct mm *mm, vaddr_t addr, u64 len, int advice, u64 *faults)
{
	vaddr_t end;
	int err;

	if (!advice_known(advice) || addr & ~PAGE_MASK)
		return -EINVAL;
	end = addr + ALIGN_UP(len, PAGE_SIZE);
	if (end < addr || (len && end == addr))
		return -EINVAL;
	if (end == addr)
		return 0;
	if (advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE)
		return populate_areas(mm, addr, end, advice == MADV_POPULATE_WRITE, faults);
	if (advice == MADV_COLLAPSE)
		return collapse_advised(mm, addr, end);
	rwsem_write_lock(&mm->lock);
	err = advise_locked(mm, addr, end, advice);
	rwsem_write_unlock(&mm->lock);
	return err;
}
