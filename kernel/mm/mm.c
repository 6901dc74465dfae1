/*
 * mm.c - address spaces: born, shared, switched to, gone             floor 3, below: buddy, kmalloc, tlb
 *
 * Owns the struct and the root table of a space and knows all spaces. What is mapped in one is
 * pgtable's, rmap's and vma's business; emptying it is floor 5's (mmap_exit).
 *
 * IDEA
 *   Two counts, because two questions are asked:
 *        users   who runs in it? tasks. At 0 the space is emptied, and nobody may begin to use it again
 *        refs    who may read the struct? the users together (one), khugepaged, /proc, checkers
 *
 *        mm_create --> users 1, refs 1 --mm_drop_user--> users 0: mmap_exit empties it
 *                                      --mm_put--------> refs 0: the root and the struct are freed
 *
 *   The upper half of every root is a copy of the kernel root's. It is made once: the tables below it
 *   exist from the start (pgtable_kernel.c), so it never has to be brought up to date.
 *
 * INVARIANTS (pgtable_check tests the root; asserted here)
 *   M1  a space on the list has refs > 0, except while mm_put takes it off
 *   M2  a root is freed only when it is empty and no CPU has it in CR3
 *
 * LOCKS     list_lock: the list of all spaces. The counts are atomic
 * LINUX     kernel/fork.c: mm_users, mm_count, mmget_not_zero, mmdrop
 */
#include "mm/mm.h"

#include "mm/buddy.h"
#include "mm/kmalloc.h"
#include "seeded.h"
#include "x86/cpu.h"

#define USER_ENTRIES 256 /* of a root: the lower half */

static struct kmem_cache mm_cache;
static struct spinlock list_lock = SPINLOCK_INIT(LOCK_MM_LIST, "mm_list");
static struct list spaces = LIST_INIT(spaces);
static u32 last_id;

/* mm_init - the cache of spaces; once, at start-up. */
void mm_init(void)
{
	kmem_cache_init(&mm_cache, "mm_struct", sizeof(struct mm));
}

/* rwsem_init() stands with the sleeping locks on floor 4; a free lock is all zero but for its queue. */
static void lock_init(struct rwsem *lock)
{
	spin_init(&lock->queue_lock, LOCK_WAITQ, "mm_lock");
	list_init(&lock->queue);
}

/* A root: the lower half empty, the upper half the kernel's. */
static bool root_alloc(struct mm *mm)
{
	struct page *root = buddy_alloc(0, MIGRATE_UNMOVABLE, PAGE_TABLE, 0);
	const pgd_t *kernel = phys_to_virt(tlb_kernel_root);

	if (!root)
		return false;
	root->private = (u64)mm;
	root->next = 0;
	page_set_index(root, 4);
	mm->pgd = page_to_virt(root);
	mm->pgd_pa = page_to_phys(root);
	__builtin_memset(mm->pgd, 0, USER_ENTRIES * sizeof(*kernel));
	__builtin_memcpy(mm->pgd + USER_ENTRIES, kernel + USER_ENTRIES,
		(PTRS_PER_TABLE - USER_ENTRIES) * sizeof(*kernel));
	for (unsigned i = USER_ENTRIES; seeded(KERNEL_OPEN) && i < PTRS_PER_TABLE; i++)
		mm->pgd[i].v |= mm->pgd[i].v ? PTE_US : 0;
	return true;
}

/*
 * mm_create - an empty address space with the kernel half in place.
 *
 *   returns  NULL: no memory; else users = refs = 1
 *   Linux    mm_alloc
 */
struct mm *mm_create(void)
{
	struct mm *mm = kmem_cache_zalloc(&mm_cache);

	if (!mm)
		return NULL;
	if (!root_alloc(mm)) {
		kmem_cache_free(&mm_cache, mm);
		return NULL;
	}
	lock_init(&mm->lock);
	spin_init(&mm->pt_lock, LOCK_PT, "pt_lock");
	tlb_space_init(&mm->tlb);
	list_init(&mm->thp_link);
	mm->users = 1;
	mm->refs = 1;
	mm->id = __atomic_add_fetch(&last_id, 1, __ATOMIC_RELAXED);
	spin_lock(&list_lock);
	list_add_tail(&mm->mm_link, &spaces);
	spin_unlock(&list_lock);
	return mm;
}

/* mm_get - one more reference: the struct stays. The caller has one, or knows a user. */
void mm_get(struct mm *mm)
{
	__atomic_add_fetch(&mm->refs, 1, __ATOMIC_RELAXED);
}

/* Adds one unless the count is 0. */
static bool get_unless_zero(u32 *count)
{
	u32 old = READ_ONCE(*count);

	while (old != 0)
		if (__atomic_compare_exchange_n(
			    count, &old, old + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
	return false;
}

/*
 * mm_put - one reference less; the last one frees the root, if it is still there, and the struct.
 *
 *   locks    none held; takes list_lock
 *   Linux    mmdrop
 */
void mm_put(struct mm *mm)
{
	if (__atomic_sub_fetch(&mm->refs, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	ASSERT(mm->users == 0 && mm->nr_vmas == 0 && !mm->has_huge_zero &&
		list_empty(&mm->thp_link));
	spin_lock(&list_lock);
	list_del(&mm->mm_link);
	spin_unlock(&list_lock);
	if (mm->pgd)
		mm_free_root(mm);
	kmem_cache_free(&mm_cache, mm);
}

/*
 * mm_get_user - one more user, unless the space is being emptied.
 *
 *   returns  false: too late
 *   Linux    mmget_not_zero
 */
bool mm_get_user(struct mm *mm)
{
	return get_unless_zero(&mm->users);
}

/* mm_drop_user - true: it was the last; the caller empties the space (mmap_exit), then mm_put(). Linux: mmput */
bool mm_drop_user(struct mm *mm)
{
	return __atomic_sub_fetch(&mm->users, 1, __ATOMIC_ACQ_REL) == 0;
}

/*
 * mm_free_root - free the root table of an empty space that no CPU runs in.
 *
 *   rule     M2: an entry left in the lower half, or a CPU left in it, is a bug (panic)
 *   Linux    pgd_free
 */
void mm_free_root(struct mm *mm)
{
	ASSERT_RULE("M2", READ_ONCE(mm->tlb.cpus) == 0, "space %u is still loaded on CPUs %#x",
		mm->id, mm->tlb.cpus);
	for (unsigned i = 0; i < USER_ENTRIES; i++)
		ASSERT_RULE("M2", mm->pgd[i].v == 0, "root entry %u of space %u is %#lx", i, mm->id,
			mm->pgd[i].v);
	ASSERT_RULE("M2", mm->nr_tables == 0 && mm_rss(mm) == 0,
		"space %u: %lu tables and %lu pages left", mm->id, mm->nr_tables, mm_rss(mm));
	buddy_free(virt_to_page(mm->pgd));
	mm->pgd = NULL;
	mm->pgd_pa = 0;
}

/*
 * mm_switch - load the root of a space on this CPU; NULL: the kernel's own.
 *
 *   locks    interrupts are off
 *   Linux    switch_mm_irqs_off, without the lazy mode: a CPU that leaves a space forgets it
 */
void mm_switch(struct mm *mm)
{
	if (mm)
		tlb_switch(&mm->tlb, mm->pgd_pa);
	else
		tlb_switch(NULL, tlb_kernel_root);
}

/* The first space behind this list node that is not dying, with a reference; NULL: no more. list_lock held. */
static struct mm *next_space(struct list *node)
{
	ASSERT_HELD(&list_lock);
	for (node = node->next; node != &spaces; node = node->next) {
		struct mm *mm = list_entry(node, struct mm, mm_link);

		if (get_unless_zero(&mm->refs))
			return mm;
	}
	return NULL;
}

/*
 * mm_for_each - call fn on every space, until it returns false.
 *
 *   locks    none held while fn runs: the reference keeps the space, and its place in the list. Spaces
 *            made or gone meanwhile may or may not be met
 */
void mm_for_each(bool (*fn)(struct mm *mm, void *ctx), void *ctx)
{
	struct mm *mm, *next;

	spin_lock(&list_lock);
	mm = next_space(&spaces);
	spin_unlock(&list_lock);
	while (mm) {
		bool go_on = fn(mm, ctx);

		spin_lock(&list_lock);
		next = go_on ? next_space(&mm->mm_link) : NULL;
		spin_unlock(&list_lock);
		mm_put(mm);
		mm = next;
	}
}

/* mm_rss - pages of memory that this space maps, 4 KiB units: VmRSS. Zero frames are nobody's memory. */
u64 mm_rss(struct mm *mm)
{
	return READ_ONCE(mm->nr_anon) + READ_ONCE(mm->nr_shared);
}
