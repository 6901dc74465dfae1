/*
 * mmap.c - areas come and go                                             floor 5, below: range, zap, vma
 *
 * What mmap, munmap, brk and mincore do once their arguments are numbers, and the end of a space. Rights, places and
 * advice are changed in mprotect.c, mremap.c and madvise.c; mmap.h declares all these verbs. Reading the arguments
 * from ring 3 and choosing between calls is syscall.c's.
 *
 * IDEA      An area is a promise of memory: making one touches no page and no table. Where it goes, if the caller does
 *           not say, is the highest gap that is large enough (vma_find_gap), as on Linux: areas grow downwards
 *           from mmap_base, the heap upwards.
 *
 * INVARIANTS V1-V3 of vma.c hold whenever mm->lock is not held for writing.
 *
 * LOCKS     mm->lock (write) -> anon lock -> pt_lock
 * LINUX     mm/mmap.c, mm/mincore.c; also files of its own, rlimits.   docs/mm/mmap.md
 */
#include <abi/errno.h>
#include "mm/buddy.h"
#include "mm/pgtable.h"
#include "mm/vma.h"
#include "mm/uaccess.h"
#include "mutex.h"
#include "mm/rmap.h"
#include "object.h"
#include "mm/thp.h"
#include "mm/zap.h"
#include "mm/memory.h"
#include "mm/range.h"
#include "mm/mmap.h"

/* --- munmap --- */

/*
 * mmap_unmap - remove every page and area of a range; holes are fine.
 *   returns  0; -EINVAL (addr not page-aligned, length 0 or past user space); -ENOMEM (too many areas)
 */
int mmap_unmap(struct mm *mm, vaddr_t addr, u64 len)
{
	int err;

	if (addr & ~PAGE_MASK || len == 0 || !user_range_ok(addr, len))
		return -EINVAL;
	len = ALIGN_UP(len, PAGE_SIZE);
	rwsem_write_lock(&mm->lock);
	err = range_unmap(mm, addr, addr + len);
	rwsem_write_unlock(&mm->lock);
	return err;
}

/* --- mmap --- */

/*
 * A new area in a free range; united with its neighbours when they agree. m: what it maps from page `pgoff` on, NULL:
 * anonymous memory. NULL: too many areas, no memory.
 */
static struct vma *new_area_of(struct mm *mm, struct memory *m, u64 pgoff, vaddr_t start,
	vaddr_t end, u32 flags, const char *name)
{
	struct vma *v = vma_alloc(mm);

	if (!v)
		return NULL;
	v->start = start;
	v->end = end;
	v->flags = range_accounted(flags);
	v->kind = m ? VMA_OBJECT : VMA_ANON;
	v->pgoff = pgoff;
	if (m) {
		v->object = &m->object;
		object_get(v->object);
	}
	for (unsigned i = 0; name && name[i] && i < sizeof(v->name) - 1; i++)
		v->name[i] = name[i];
	if (vma_insert(mm, v)) {
		vma_free(v);
		return NULL;
	}
	if (m)
		rmap_link(v, m->anon);
	return vma_merge(v);
}

static struct vma *new_area(struct mm *mm, vaddr_t start, vaddr_t end, u32 flags, const char *name)
{
	return new_area_of(mm, NULL, start >> PAGE_SHIFT, start, end, flags, name);
}

/* Where the new area goes. Address, or -errno. held: mm(write) */
static s64 place(struct mm *mm, vaddr_t addr, u64 len, u32 flags)
{
	struct vma *v;

	if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
		if (!user_range_ok(addr, len))
			return -ENOMEM;
		if (addr & ~PAGE_MASK)
			return -EINVAL;
		if (addr < USER_START)
			return -EPERM;
		if (flags & MAP_FIXED_NOREPLACE)
			return range_first(mm, addr, addr + len) ? -EEXIST : (s64)addr;
		return range_unmap(mm, addr, addr + len) ?: (s64)addr;
	}
	if (addr &
		PAGE_MASK) { /* a hint: rounded down (Linux: round_hint_to_min), taken if it is free */
		addr = MAX(addr & PAGE_MASK, USER_START);
		v = vma_find_from(mm, addr);
		if (user_range_ok(addr, len) && (!v || addr + len <= vma_start_gap(v)))
			return addr;
	}
	addr = vma_find_gap(mm, len, USER_START, mm->mmap_base, PAGE_SIZE);
	return addr ? (s64)addr : -ENOMEM;
}

/* The highest gap in which `phase` bytes behind a 2 MiB line come first. 0: none. */
static vaddr_t place_aligned(struct mm *mm, u64 phase, u64 len)
{
	vaddr_t gap = vma_find_gap(mm, len + HPAGE_PMD_SIZE, USER_START, mm->mmap_base, PAGE_SIZE);

	return gap ? gap + ((phase - gap) & ~HPAGE_PMD_MASK) : 0;
}

/* Objects with a pager may get huge pages: where the caller does not say, address and offset agree in 2 MiB. */
static s64 place_object(
	struct mm *mm, struct memory *m, u64 pgoff, vaddr_t addr, u64 len, u32 flags)
{
	vaddr_t at = 0;

	if (m && READ_ONCE(m->pager) && len >= HPAGE_PMD_SIZE && !addr &&
		!(flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)))
		at = place_aligned(mm, pgoff << PAGE_SHIFT, len);
	return at ? (s64)at : place(mm, addr, len, flags);
}

/* MAP_* as VM_*; -EINVAL: neither shared nor private. */
static s64 map_flags(u32 prot, u32 flags)
{
	u32 type = flags & MAP_TYPE;

	if (type != MAP_PRIVATE && type != MAP_SHARED && type != MAP_SHARED_VALIDATE)
		return -EINVAL;
	return prot_flags(prot) | (type == MAP_PRIVATE ? 0 : VM_SHARED) |
	       (flags & MAP_NORESERVE ? VM_NORESERVE : 0) | (flags & MAP_LOCKED ? VM_LOCKED : 0) |
	       (flags & MAP_GROWSDOWN ? VM_GROWSDOWN : 0);
}

/* A new area at a place of its own, of m from page `pgoff` on, or anonymous. Address, or -errno. */
static s64 map_area(struct mm *mm, struct memory *m, u64 pgoff, vaddr_t addr, u64 len, u32 vm_flags,
	u32 flags, const char *name)
{
	s64 at;

	rwsem_write_lock(&mm->lock);
	at = place_object(mm, m, pgoff, addr, len, flags);
	if (at >= 0 && !new_area_of(mm, m, m ? pgoff : (u64)at >> PAGE_SHIFT, at, at + len,
			       vm_flags | mm->lock_flags, name))
		at = -ENOMEM;
	rwsem_write_unlock(&mm->lock);
	return at;
}

/* Shared anonymous memory: an object that only this area, and its copies in children, will ever map. */
static s64 map_shared(struct mm *mm, vaddr_t addr, u64 len, u32 vm_flags, u32 flags)
{
	struct memory *m = memory_create(len);
	s64 at;

	if (!m)
		return -ENOMEM;
	at = map_area(mm, m, 0, addr, len, vm_flags, flags, "/dev/zero");
	object_put(&m->object);
	return at;
}

/*
 * mmap_map_as - a new anonymous area, private or shared.
 *   name     for /proc/PID/maps, or NULL
 *   returns  its address; -EINVAL (length 0, alignment, flags), -ENODEV (not anonymous memory), -EEXIST,
 *            -EPERM (below mmap_min_addr), -ENOMEM (no room, too many areas, more than all memory)
 *   Linux    do_mmap, shmem_zero_setup
 */
s64 mmap_map_as(struct mm *mm, vaddr_t addr, u64 len, u32 prot, u32 flags, const char *name)
{
	s64 vm_flags = map_flags(prot, flags);

	if (len == 0 || vm_flags < 0 || (flags & MAP_TYPE) == MAP_SHARED_VALIDATE)
		return -EINVAL;
	if (!(flags & MAP_ANONYMOUS) || flags & MAP_HUGETLB)
		return -ENODEV;
	if (len > USER_END)
		return -ENOMEM;
	len = ALIGN_UP(len, PAGE_SIZE);
	if (range_overcommits(len, (u32)vm_flags))
		return -ENOMEM;
	if (vm_flags & VM_SHARED && vm_flags & VM_GROWSDOWN)
		return -EINVAL;
	if (vm_flags & VM_SHARED)
		return map_shared(mm, addr, len, (u32)vm_flags, flags);
	if (flags & MAP_STACK && name)
		vm_flags |= VM_STACK | VM_GROWSDOWN;
	return map_area(mm, NULL, 0, addr, len, (u32)vm_flags, flags, name);
}

/*
 * mmap_map_object - map a piece of a memory object.
 *   may_write  the handle allows it: a shared area without it never becomes writable
 *   returns    as mmap_map; -EACCES: shared, writable, and the handle may not; -EINVAL: offset is not of pages
 *   Linux      do_mmap with a file
 */
s64 mmap_map_object(struct mm *mm, struct memory *m, u64 offset, vaddr_t addr, u64 len, u32 prot,
	u32 flags, bool may_write, const char *name)
{
	s64 vm_flags = map_flags(prot, flags);

	if (len == 0 || vm_flags < 0 || offset & ~PAGE_MASK || flags & MAP_HUGETLB)
		return -EINVAL;
	if (len > USER_END || offset + len < offset || offset >> 47)
		return -ENOMEM;
	len = ALIGN_UP(len, PAGE_SIZE);
	if (vm_flags & VM_SHARED && !may_write) {
		if (vm_flags & VM_WRITE)
			return -EACCES;
		vm_flags |= VM_NOWRITE;
	}
	vm_flags &= ~VM_GROWSDOWN;
	return map_area(mm, m, offset >> PAGE_SHIFT, addr, len, (u32)vm_flags, flags, name);
}

/*
 * mmap_map_named - the loader's form: an area at a fixed, free place.
 *   returns  0, -EINVAL, -EEXIST, -ENOMEM
 */
int mmap_map_named(struct mm *mm, vaddr_t addr, u64 len, u32 prot, u32 vm_flags, const char *name)
{
	int err = 0;

	len = ALIGN_UP(len, PAGE_SIZE);
	if (addr & ~PAGE_MASK || !len || !user_range_ok(addr, len) || addr < USER_START)
		return -EINVAL;
	rwsem_write_lock(&mm->lock);
	if (range_first(mm, addr, addr + len))
		err = -EEXIST;
	else if (!new_area(mm, addr, addr + len, prot_flags(prot) | vm_flags, name))
		err = -ENOMEM;
	rwsem_write_unlock(&mm->lock);
	return err;
}

/*
 * mmap_stack_done - the program's first stack is built, or its space is complete: from here on the stack is an area like
 * others that grow down. Before, no huge page comes into it (CVE-2011-0999).
 *   locks    mm->lock held for writing
 *   Linux    setup_arg_pages, which clears VM_STACK_INCOMPLETE_SETUP
 */
void mmap_stack_done(struct mm *mm)
{
	for (struct vma *v = vma_first(mm); v; v = vma_next(v))
		v->flags &= ~VM_STACK;
}

/* Enter the frames of a device area; huge leaves where both addresses allow. held: mm(write) */
static int map_device_entries(struct vma *v)
{
	struct mm *mm = v->mm;
	/* A module is memory, and cached; registers are not. */
	u64 rights = vma_rights_write(v) | PTE_DEVICE | (v->flags & VM_NOWRITE ? 0 : PTE_PCD);
	paddr_t pa = v->device_pa;
	vaddr_t step;

	for (vaddr_t a = v->start; a < v->end; a += step, pa += step) {
		bool huge = !((a | pa) & ~HPAGE_PMD_MASK) && a + HPAGE_PMD_SIZE <= v->end;
		pud_t *pudp = pgtable_make_pud(mm, a);
		pmd_t *pmdp = pudp ? pgtable_make_pmd(mm, pudp, a) : NULL;

		if (!pmdp || (!huge && pgtable_make_pte(mm, pmdp)))
			return -ENOMEM;
		spin_lock(&mm->pt_lock);
		if (huge)
			pmd_write(pmdp, pmd_make_huge(pa >> PAGE_SHIFT, rights));
		else
			pte_write(pte_ptr(pmd_read(pmdp), a), pte_make(pa >> PAGE_SHIFT, rights));
		spin_unlock(&mm->pt_lock);
		step = huge ? HPAGE_PMD_SIZE : PAGE_SIZE;
	}
	return 0;
}

/* A device area in a free range, with all its entries. 0, -ENOMEM. held: mm(write) */
static int device_area(struct mm *mm, vaddr_t addr, u64 len, paddr_t pa, u32 flags)
{
	struct vma *v = vma_alloc(mm);
	int err;

	if (!v)
		return -ENOMEM;
	v->start = addr;
	v->end = addr + len;
	v->flags = flags;
	v->kind = VMA_DEVICE;
	v->device_pa = pa;
	if (vma_insert(mm, v)) {
		vma_free(v);
		return -ENOMEM;
	}
	err = map_device_entries(v);
	if (err)
		zap_area(v);
	return err;
}

/*
 * mmap_map_device - an area that shows a device's registers: mapped at once, never split, never copied.
 *   returns  0, -EINVAL, -EEXIST, -ENOMEM
 */
int mmap_map_device(struct mm *mm, vaddr_t addr, u64 len, paddr_t pa)
{
	int err = -EEXIST;

	if ((addr | len | pa) & ~PAGE_MASK || !len || !user_range_ok(addr, len))
		return -EINVAL;
	rwsem_write_lock(&mm->lock);
	if (!range_first(mm, addr, addr + len))
		err = device_area(mm, addr, len, pa, VM_READ | VM_WRITE | VM_DONTDUMP);
	rwsem_write_unlock(&mm->lock);
	return err;
}

/*
 * mmap_map_module - an area that shows frames of no owner, such as the initrd's: read-only, for good.
 *   returns  its address; -EINVAL (alignment, length 0), -ENOMEM
 */
s64 mmap_map_module(struct mm *mm, u64 len, paddr_t pa)
{
	vaddr_t at;
	int err;

	if ((len | pa) & ~PAGE_MASK || !len)
		return -EINVAL;
	rwsem_write_lock(&mm->lock);
	at = vma_find_gap(mm, len, USER_START, mm->mmap_base, PAGE_SIZE);
	err = at ? device_area(mm, at, len, pa, VM_READ | VM_DONTDUMP | VM_NOWRITE) : -ENOMEM;
	rwsem_write_unlock(&mm->lock);
	return err ? err : (s64)at;
}

/* --- brk --- */

static bool brk_grow(struct mm *mm, vaddr_t from, vaddr_t to)
{
	u32 flags = VM_READ | VM_WRITE | VM_HEAP | mm->lock_flags;

	struct vma *above = vma_find_from(mm, from);

	return to <= mm->mmap_base && (!above || to + PAGE_SIZE <= vma_start_gap(above)) &&
	       !range_overcommits(to - from, flags) && new_area(mm, from, to, flags, "[heap]");
}

vaddr_t mmap_brk(struct mm *mm, vaddr_t brk)
{
	vaddr_t from, to;
	bool ok = true;

	rwsem_write_lock(&mm->lock);
	if (brk >= mm->brk_start && brk <= USER_END) {
		from = ALIGN_UP(mm->brk, PAGE_SIZE);
		to = ALIGN_UP(brk, PAGE_SIZE);
		if (to > from)
			ok = brk_grow(mm, from, to);
		else if (to < from)
			ok = range_unmap(mm, to, from) == 0;
		if (ok)
			mm->brk = brk;
	}
	brk = mm->brk;
	rwsem_write_unlock(&mm->lock);
	return brk;
}

/* --- the rest --- */

static u8 page_resident(struct mm *mm, vaddr_t addr)
{
	pmd_t pmd = pgtable_look_pmd(mm, addr);

	if (pmd_kind(pmd) != ENTRY_TABLE)
		return pmd_kind(pmd) == ENTRY_LEAF;
	return pte_kind(pte_read(pte_ptr(pmd, addr))) == ENTRY_LEAF;
}

int mmap_mincore(struct mm *mm, vaddr_t addr, u64 pages, u8 *vec)
{
	int err = 0;

	rwsem_read_lock(&mm->lock);
	for (u64 i = 0; i < pages && !err; i++, addr += PAGE_SIZE) {
		struct vma *v = vma_find(mm, addr);

		if (!v)
			err = -ENOMEM;
		else
			vec[i] = page_resident(mm, addr) ||
				 (v->object && memory_has(vma_memory(v), vma_index(v, addr)));
	}
	rwsem_read_unlock(&mm->lock);
	return err;
}

/* mmap_set_thp_disable - prctl(PR_SET_THP_DISABLE): from now on, and in children. What is huge stays huge. 0. */
int mmap_set_thp_disable(struct mm *mm, bool disable)
{
	rwsem_write_lock(&mm->lock);
	mm->thp_disable = disable;
	rwsem_write_unlock(&mm->lock);
	return 0;
}

void mmap_exit(struct mm *mm)
{
	rwsem_write_lock(&mm->lock);
	mm->exiting = true;
	thp_exit_mm(mm);
	zap_all(mm);
	rwsem_write_unlock(&mm->lock);
	mm_free_root(mm);
}
