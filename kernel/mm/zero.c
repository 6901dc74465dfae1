/*
 * zero.c - the two shared frames of zeroes: 4 KiB for good, 2 MiB while somebody uses it.   floor 2
 *
 * Makes them, counts who uses the big one, and frees it. It maps nothing: fault.c and thp.c do.
 *
 * IDEA
 *   A read of memory that was never written needs zeroes, not memory of its own. One frame serves
 *   all 4 KiB reads; one huge page serves all 2 MiB reads, but 2 MiB are not that cheap to keep, so
 *   it lives only while spaces map it:
 *
 *      no page --get: allocate, clear, install--> 2 (shrinker's + first space's) --get--> 3 ...
 *         ^                                       |                                        |
 *         +----------- shrink: from 1 only -------+<------------------ put ----------------+
 *
 *   A space takes one reference, however often it maps the page, and drops it when it dies: the
 *   flush has happened long before, so no CPU reads a freed frame. Counting up from 1 or more needs
 *   no lock.
 *
 * INVARIANTS (zero_check() tests every one)
 *   Z1  both hold nothing but zeroes
 *   Z2  the small frame is typed ZERO, all 512 frames of the huge one too: no ledger counts them as
 *       ANON
 *   Z3  there is a huge zero page exactly when the count is not 0
 *
 * LOCKS     zero_lock: the count leaves or reaches 0, and zero_huge_pfn with it. Counting
 *           otherwise: atomic. Model: tests/spin/zero.pml.
 * LINUX     get_huge_zero_page in mm/huge_memory.c.   docs/mm/zero.md
 */
#include "mm/buddy.h"
#include "mm/zero.h"
#include "panic.h"
#include "printk.h"
#include "sync.h"
#include "vmstat.h"
#include "x86/cpu.h"

pfn_t zero_pfn;
pfn_t zero_huge_pfn;

static struct spinlock zero_lock = SPINLOCK_INIT(LOCK_ZERO, "zero");
static u32 huge_refs; /* (a); leaves and reaches 0 under zero_lock */

/*
 * zero_init - the 4 KiB frame, for good.
 *
 *   locks    start-up; after buddy_init()
 *   Linux    empty_zero_page, a part of the image
 */
void zero_init(void)
{
	struct page *p = buddy_alloc(0, MIGRATE_UNMOVABLE, PAGE_ZERO, BUDDY_RESERVE);

	if (!p)
		panic("memory", "no frame for the zero page");
	clear_page(page_to_virt(p));
	zero_pfn = page_to_pfn(p);
}

/* One more reference, unless there is none yet. */
static bool refs_get(void)
{
	u32 refs = READ_ONCE(huge_refs);

	while (refs)
		if (__atomic_compare_exchange_n(
			    &huge_refs, &refs, refs + 1, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
	return false;
}

/* Ours becomes the one, unless somebody was faster: then his is it. True: ours was taken. */
static bool huge_install(struct page *p)
{
	bool ours;

	spin_lock(&zero_lock);
	ours = !refs_get();
	if (ours) {
		WRITE_ONCE(zero_huge_pfn, page_to_pfn(p));
		__atomic_store_n(&huge_refs, 2, __ATOMIC_RELEASE); /* the shrinker's and ours */
	}
	spin_unlock(&zero_lock);
	return ours;
}

/*
 * zero_huge_get - one reference on the huge zero page, for a space.
 *
 *   locks    no spinlock held: the first call clears 2 MiB
 *   returns  its pfn; thp_zero_page_alloc has counted when it is new. 0: no block, and nothing counted
 *   Linux    mm_get_huge_zero_page, get_huge_zero_page
 */
pfn_t zero_huge_get(void)
{
	struct page *p;

	if (refs_get())
		return zero_huge_pfn;
	p = buddy_alloc(HPAGE_PMD_ORDER, MIGRATE_UNMOVABLE, PAGE_ZERO, 0);
	if (!p)
		return 0;
	clear_huge_page(page_to_virt(p));
	if (huge_install(p))
		vmstat_inc(VM_thp_zero_page_alloc);
	else
		buddy_free(p);
	return zero_huge_pfn;
}

/*
 * zero_huge_put - a space that took a reference is gone.
 *
 *   locks    any
 *   Linux    put_huge_zero_page
 */
void zero_huge_put(void)
{
	u32 left = __atomic_sub_fetch(&huge_refs, 1, __ATOMIC_RELEASE);

	ASSERT_RULE("Z3", left != 0 && left != (u32)-1, "one put too many: %u references", left);
}

/*
 * zero_huge_shrink - free the huge zero page if no space uses it.
 *
 *   locks    takes zero_lock, then zone.lock
 *   returns  pages freed: 512 or 0
 *   Linux    shrink_huge_zero_page_scan
 */
u64 zero_huge_shrink(void)
{
	struct page *p = NULL;
	u32 only_ours = 1;

	spin_lock(&zero_lock);
	if (__atomic_compare_exchange_n(
		    &huge_refs, &only_ours, 0, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		p = pfn_to_page(zero_huge_pfn);
		WRITE_ONCE(zero_huge_pfn, 0);
	}
	spin_unlock(&zero_lock);
	if (!p)
		return 0;
	buddy_free(p);
	return HPAGE_PMD_NR;
}

/* zero_huge_refs - spaces that use it, and one for the shrinker; 0: there is none. */
u32 zero_huge_refs(void)
{
	return READ_ONCE(huge_refs);
}

/* ---- the checker ---- */

static bool broken(const char *rule, const char *what, pfn_t pfn, u64 is)
{
	printk("zero_check: %s: %s, pfn %#lx: %#lx", rule, what, (unsigned long)pfn,
		(unsigned long)is);
	return false;
}

static bool check_frames(pfn_t pfn, u64 frames)
{
	const u64 *word = phys_to_virt(pfn << PAGE_SHIFT);

	for (u64 i = 0; i < frames; i++)
		if (pfn_to_page(pfn + i)->type != PAGE_ZERO)
			return broken("Z2", "type", pfn + i, pfn_to_page(pfn + i)->type);
	for (u64 i = 0; i < frames * PAGE_SIZE / sizeof(*word); i++)
		if (word[i] != 0)
			return broken(
				"Z1", "not zero", pfn + i * sizeof(*word) / PAGE_SIZE, word[i]);
	return true;
}

/*
 * zero_check - Z1 to Z3.
 *
 *   locks    takes zero_lock, so that the huge page stays meanwhile
 *   returns  false after one line that names the broken rule
 */
bool zero_check(void)
{
	bool ok;

	spin_lock(&zero_lock);
	ok = check_frames(zero_pfn, 1);
	if (ok && !zero_huge_pfn != !huge_refs)
		ok = broken("Z3", "references", zero_huge_pfn, huge_refs);
	if (ok && zero_huge_pfn)
		ok = check_frames(zero_huge_pfn, HPAGE_PMD_NR);
	spin_unlock(&zero_lock);
	return ok;
}
