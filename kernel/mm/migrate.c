/*
 * migrate.c - a page moves to another frame, with every mapping of it       floor 5, below: thp_split, rmap, pgtable, lru
 *
 * Moves one page of 4 KiB or one whole page of 2 MiB. It does not choose: which page, where to and why is
 * compact.c's business, or that of who wants memory on another node.
 *
 * IDEA      three spaces map frame A                                   B is free
 *
 *   begin   [ anon lock + pt_lock of all three ]
 *             count: references = mappings + mine?  all mappings found?    no: nothing has happened
 *             A A A  -->  (A) (A) (A)   migration entries: no access, still counted on A; a huge page may have
 *                                       pmds, ptes, or both over it: each becomes one
 *             flush every CPU of each space             <- nobody can write into A any more
 *   copy    [ no lock ]                  A ====> B
 *   end     [ anon lock, one pt_lock after the other ]
 *             (A) --> B: the entry, its count and its reference, until A has no mapping left
 *
 *   A migration entry is a leaf without access (x86/paging.h) that still names A, address inverted, and still counts as a
 *   mapping of A. So whoever meets one meanwhile does what he would do with mprotect(PROT_NONE) memory:
 *     munmap, DONTNEED, exit    take it away and drop A's count: fewer are left to be replaced
 *     fork                      copies it and counts one more: the child has a migration entry, too
 *     mprotect                  changes the rights that it carries
 *     mremap                    moves it; the family and the index stay, so it is found at its new place
 *     split of a huge leaf      512 migration entries; each is replaced by a pte over its frame of B
 *     mincore, smaps, ledger    a page of A is mapped here
 *     collapse                  refuses: the page is off the LRU
 *     a fault                   FAULT_MIGRATING: lets go of its lock, gives way, starts again (fault.c)
 *
 * THE END FINDS ALL OF THEM. While the family's tree is walked, areas may exchange entries under pt_locks only: fork copies
 *   from parent to child, mremap moves to a twin area. fork adds the child's area to the tree before it copies, and behind the
 *   parent's; so an entry copied from a place that the walk has not passed is found later. mremap can move an entry from
 *   a place ahead of the walk to one behind it. But each entry counts on A: as long as A has a mapping the walk is
 *   repeated, and every repetition is owed to somebody who has got on.
 *
 * THE BEGINNING IS ONE STEP. With all pt_locks held nobody can add, drop or use a mapping between counting and replacing. A
 *   reference that is no mapping (a pin, a copy under way, another walker) would be seen in the count, and it could not be
 *   taken later: who has no mapping finds pages on the LRU, and A is off it. Nothing has to be undone. The one exception
 *   is the shrinker of the deferred queue: it may hold a reference for a moment, finds A off the LRU, and gives up. It puts A
 *   back on the queue, perhaps too late, so whether B belongs there is not read off the queue alone (finish()).
 *   The spaces whose tables are locked hang on a chain through struct mm, as many as there are.
 *
 * INVARIANTS (asserted here; migrate_check() tests M1 and M5)
 *   M1  a migration entry stands only while its migrator runs: from the beginning to the end it neither sleeps nor
 *       passes a preempt_point(). When the other CPUs stand still in their schedulers there is none
 *   M2  A is copied only after every CPU of every space that maps it has flushed
 *   M3  a fault that meets a migration entry holds no lock while it waits, and waits for one copy at most
 *   M4  A has no mapping when it is given back; besides the caller's reference there may be those of who has unmapped it
 *       just now and still flushes
 *   M5  a migration entry carries no raw frame number: its address is inverted, P is clear
 *
 * LOCKS     anon->lock -> pt_lock (more than one: by trylock) -> huge_maps, lru.lock. mm->lock is not needed, and a fault
 *           that compacts may hold its own for reading. A model for SPIN: tests/spin/migrate.pml.
 * LINUX     mm/migrate.c: unmaps with the counts, freezes the count at zero, waits for the page's lock in faults; knows
 *           files, swap, devices; since 6.3 batches of pages with one flush.           docs/mm/migration.md
 */
#include "mm/migrate.h"

#include "mm/buddy.h"
#include "mm/lru.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/thp_split.h"
#include "printk.h"
#include "seeded.h"
#include "trace.h"
#include "vmstat.h"
#include "x86/cpu.h"

#define LOCK_TRIES 2000 /* for a second table's lock, where waiting is allowed */

u64 migrate_counts[NR_MIGRATE_RESULTS];

static const char *const result_names[] = {
#define X(name, text) #name,
	MIGRATE_RESULTS(X)
#undef X
};

static const char *const result_texts[] = {
#define X(name, text) text,
	MIGRATE_RESULTS(X)
#undef X
};

const char *migrate_result_name(enum migrate_result r)
{
	return result_names[r];
}

const char *migrate_result_text(enum migrate_result r)
{
	return result_texts[r];
}

/* --- getting hold of a page --- */

enum migrate_result migrate_isolate(struct page *head)
{
	enum migrate_result r;

	spin_lock(&lru.lock);
	r = lru_grab_locked(head) ? MIGRATED_DONE : MIGRATED_LRU;
	spin_unlock(&lru.lock);
	if (r == MIGRATED_DONE)
		vmstat_add(VM_nr_isolated_anon, page_nr(head));
	return r;
}

void migrate_putback(struct page *head)
{
	vmstat_add(VM_nr_isolated_anon, -(s64)page_nr(head));
	lru_putback(head);
	page_put(head);
}

struct migration {
	struct page *from, *to;
	enum migrate_mode mode;
	bool mlocked;
	bool queued;             /* it waited on the deferred-split queue when it began */
	enum migrate_result why; /* why the walk was stopped */
	struct mm *locked; /* the spaces whose tables are locked: a chain through locked_next */
	u64 found;         /* mappings of the page in them */
	u64 replaced;      /* in the area at hand */
};

/* --- every entry over the page in one area --- */

typedef void visit_t(struct migration *m, u64 *entry, pfn_t pfn);

static __always_inline void visit_pte(struct migration *m, pte_t *ptep, pfn_t pfn, visit_t *visit)
{
	pte_t pte = pte_read(ptep);

	if (pte_kind(pte) == ENTRY_LEAF && pte_pfn(pte) == pfn)
		visit(m, &ptep->v, pfn);
}

/*
 * Of a huge page the area has the frames from addr up to `end`. It may stand here as a leaf or as 4 KiB entries, at an
 * address that mremap chose: so whatever tables serve the range are looked at.
 */
static __always_inline void visit_huge(struct migration *m, struct vma *v, vaddr_t addr,
	vaddr_t end, visit_t *on_pmd, visit_t *on_pte)
{
	pfn_t head = page_to_pfn(m->from), pfn = head + vma_index(v, addr) - page_index(m->from);

	for (vaddr_t next; addr < end; pfn += (next - addr) >> PAGE_SHIFT, addr = next) {
		pmd_t *pmdp = pgtable_find_pmd(v->mm, addr);
		pmd_t pmd = pmdp ? pmd_read(pmdp) : (pmd_t){0};

		next = pmd_range_end(addr, end);
		if (pmd_kind(pmd) == ENTRY_LEAF && pmd_pfn(pmd) == head)
			on_pmd(m, &pmdp->v, head);
		for (u64 i = 0; pmd_kind(pmd) == ENTRY_TABLE && i < (next - addr) >> PAGE_SHIFT;
			i++)
			visit_pte(m, pte_ptr(pmd, addr) + i, pfn + i, on_pte);
	}
}

/* What the area has of the page ends here. */
static inline vaddr_t end_in(const struct migration *m, const struct vma *v, vaddr_t addr)
{
	u64 left = page_index(m->from) + page_nr(m->from) - vma_index(v, addr);

	return MIN(v->end, addr + (left << PAGE_SHIFT));
}

/* addr: of the first frame that the area has. pt_lock held. */
static __always_inline void visit_area(
	struct migration *m, struct vma *v, vaddr_t addr, visit_t *on_pmd, visit_t *on_pte)
{
	pte_t *ptep;

	if (page_is_huge(m->from)) {
		visit_huge(m, v, addr, end_in(m, v, addr), on_pmd, on_pte);
		return;
	}
	ptep = pgtable_find_pte(v->mm, addr);
	if (ptep)
		visit_pte(m, ptep, page_to_pfn(m->from), on_pte);
}

/* --- the beginning: every mapping becomes a migration entry --- */

static bool stop(struct migration *m, enum migrate_result why)
{
	m->why = why;
	return false;
}

/* The first may be waited for; a second one is only tried, since another migration may hold it and try the first. */
static bool try_tables(const struct migration *m, struct mm *mm)
{
	if (m->mode == MIGRATE_ASYNC)
		return spin_trylock(&mm->pt_lock);
	if (!m->locked) {
		spin_lock(&mm->pt_lock);
		return true;
	}
	for (unsigned i = 0; i < LOCK_TRIES; i++) {
		if (spin_trylock(&mm->pt_lock))
			return true;
		cpu_relax();
	}
	return false;
}

/* Ours already? This CPU came here with no table's lock. */
static inline bool tables_locked(const struct mm *mm)
{
	return spin_held(&mm->pt_lock);
}

static bool lock_tables(struct migration *m, struct mm *mm)
{
	if (!try_tables(m, mm))
		return false;
	mm->locked_next = m->locked;
	m->locked = mm;
	return true;
}

/* The one that was locked last. */
static void unlock_tables(struct migration *m)
{
	struct mm *mm = m->locked;

	m->locked = mm->locked_next;
	spin_unlock(&mm->pt_lock);
}

static void count_entry(struct migration *m, u64 *entry, pfn_t pfn)
{
	(void)entry, (void)pfn;
	m->found++;
}

/* One area of the family: if the page is mapped there, its tables stay locked. */
static bool find_in_area(struct vma *v, vaddr_t addr, void *ctx)
{
	struct migration *m = ctx;
	bool held = tables_locked(v->mm);
	u64 before = m->found;

	if (unlikely(v->flags & VM_LOCKED) && !m->mlocked)
		return stop(m, MIGRATED_MLOCKED);
	if (!held && !lock_tables(m, v->mm))
		return stop(m, MIGRATED_LOCK);
	visit_area(m, v, addr, count_entry, count_entry);
	if (!held && m->found == before)
		unlock_tables(m);
	return true;
}

/* All tables that map it are locked. May it move? */
static enum migrate_result verdict(const struct migration *m)
{
	u64 mappings = page_total_mapcount(m->from);

	if (page_is_huge(m->from) && pfn_block(page_to_pfn(m->from))->flags & PB_PUD)
		return MIGRATED_GIGABYTE;
	if (mappings == 0)
		return MIGRATED_GONE;
	if (page_refcount(m->from) != mappings + 1)
		return MIGRATED_COUNT;
	return m->found == mappings ? MIGRATED_DONE
				    : MIGRATED_LOCK; /* one is being moved or copied just now */
}

/* No access from here on. The exchange keeps A and D that a CPU set up to this instant. */
static void replace_entry(struct migration *m, u64 *entry, pfn_t pfn)
{
	u64 leaf = __atomic_exchange_n(entry, 0, __ATOMIC_ACQ_REL);

	(void)pfn;
	WRITE_ONCE(*entry, entry_to_migrating(leaf));
	m->replaced++;
}

/* M2: when it returns, no CPU reads or writes through an old entry any more. */
static bool flush_area(struct vma *v, vaddr_t addr, void *ctx)
{
	const struct migration *m = ctx;
	bool leaf = page_is_huge(m->from) && !page_pte_mappings(m->from);
	u64 gen = tlb_flush(&v->mm->tlb, addr, end_in(m, v, addr),
		leaf ? HPAGE_PMD_SIZE : PAGE_SIZE, TLB_migrate);

	tlb_assert_acked(&v->mm->tlb, gen);
	return true;
}

static bool replace_in_area(struct vma *v, vaddr_t addr, void *ctx)
{
	struct migration *m = ctx;

	if (!tables_locked(v->mm))
		return true; /* nothing of it is mapped there */
	m->replaced = 0;
	visit_area(m, v, addr, replace_entry, replace_entry);
	if (m->replaced && !seeded(MIGRATE_FLUSH))
		flush_area(v, addr, m);
	return true;
}

static enum migrate_result begin_locked(struct migration *m, struct anon *anon)
{
	u64 index = page_index(m->from), pages = page_nr(m->from);
	enum migrate_result r = MIGRATED_DONE;

	if (!rmap_walk_locked(anon, index, pages, find_in_area, m))
		r = m->why;
	if (r == MIGRATED_DONE)
		r = verdict(m);
	if (r == MIGRATED_DONE) {
		m->queued = m->from->flags & PG_DEFERRED;
		rmap_walk_locked(anon, index, pages, replace_in_area, m);
	}
	while (m->locked)
		unlock_tables(m);
	return r;
}

static enum migrate_result begin(struct migration *m, struct anon *anon)
{
	enum migrate_result r;

	if (m->mode == MIGRATE_ASYNC && !spin_trylock(&anon->lock))
		return MIGRATED_LOCK;
	if (m->mode != MIGRATE_ASYNC)
		spin_lock(&anon->lock);
	r = begin_locked(m, anon);
	spin_unlock(&anon->lock);
	return r;
}

/* --- the copy --- */

/* `to` is what `from` was, before anybody can find it. */
static void copy(const struct migration *m)
{
	struct page *from = m->from, *to = m->to;
	u64 bytes = page_nr(from) << PAGE_SHIFT;

	to->private = from->private;
	page_copy_index(to, from); /* who asked last, too */
	if (page_is_huge(to)) {
		*page_pmd_mapcount_ptr(to) = 0;
		*page_pte_mappings_ptr(to) = 0;
	}
	for (u64 at = 0; at < bytes; at += PAGE_SIZE)
		copy_page(page_to_virt(to) + at, page_to_virt(from) + at);
}

/* --- the end: migration entries become leaves over the new frame --- */

/* If it is a migration entry, it names the new frame from now on. pt_lock held. */
static void end_pte(struct migration *m, u64 *entry, pfn_t old)
{
	pfn_t new = page_to_pfn(m->to) + (old - page_to_pfn(m->from));

	if (!entry_migrating(*entry))
		return;
	rmap_move_pte(old, new);
	WRITE_ONCE(*entry, entry_from_migrating(*entry, new));
}

static void end_pmd(struct migration *m, u64 *entry, pfn_t old)
{
	(void)old;
	if (!entry_migrating(*entry))
		return;
	rmap_move_pmd(m->from, m->to);
	WRITE_ONCE(*entry, entry_from_migrating(*entry, page_to_pfn(m->to)));
}

static bool end_area(struct vma *v, vaddr_t addr, void *ctx)
{
	spin_lock(&v->mm->pt_lock);
	visit_area(ctx, v, addr, end_pmd, end_pte);
	spin_unlock(&v->mm->pt_lock);
	return true;
}

/*
 * The mappings are gone from `from`; its place on the lists is the new page's now. M4
 *
 * On the queue of pages to be split, too, which is read in three ways, for the shrinker may hold `from` in its hand just now:
 * it stands there; it did when it began; or a part of it was unmapped since then.
 */
static void finish(const struct migration *m)
{
	struct page *from = m->from, *to = m->to;
	u8 kept = from->flags & (PG_ACTIVE | PG_LAZYFREE);

	ASSERT_RULE("M4", page_total_mapcount(from) == 0, "pfn %#lx is still mapped %lu times",
		page_to_pfn(from), page_total_mapcount(from));
	vmstat_add(VM_nr_isolated_anon, -(s64)page_nr(from));
	if (lru_deferred_del(from) || m->queued || (page_is_huge(to) && rmap_is_partly_mapped(to)))
		lru_deferred_add(to); /* it was counted when it came there */
	/* Off the LRU the marks of its lists are ours alone: the frame can be freed without its lock. */
	__atomic_and_fetch(&from->flags, (u8) ~(PG_ACTIVE | PG_LAZYFREE), __ATOMIC_RELAXED);
	__atomic_or_fetch(&to->flags, kept, __ATOMIC_RELAXED);
	lru_putback(to);
	page_put(to);
}

/* --- the whole --- */

/* As Linux counts: who was freed meanwhile has left his frame as well; a huge page that came apart failed as one. */
static enum migrate_result counted(
	const struct page *from, const struct page *to, u64 pages, enum migrate_result r)
{
	bool left = r == MIGRATED_DONE || r == MIGRATED_GONE;

	__atomic_add_fetch(&migrate_counts[r], 1, __ATOMIC_RELAXED);
	if (left)
		vmstat_add(VM_pgmigrate_success, pages);
	else if (r != MIGRATED_SPLIT)
		vmstat_add(VM_pgmigrate_fail, pages);
	if (pages > 1 && left)
		vmstat_inc(VM_thp_migration_success);
	else if (pages > 1)
		vmstat_inc(VM_thp_migration_fail);
	if (r == MIGRATED_SPLIT)
		vmstat_inc(VM_thp_migration_split);
	trace(TRACE_mm_migrate_pages, page_to_pfn(from), r, to ? page_to_pfn(to) : 0);
	return r;
}

enum migrate_result migrate_page(
	struct page *from, struct page *to, enum migrate_mode mode, bool mlocked)
{
	u64 pages = page_nr(from);
	struct migration m;
	struct anon *anon;
	enum migrate_result r;

	m.from = from;
	m.to = to;
	m.mode = mode;
	m.mlocked = mlocked;
	m.locked = NULL;
	m.found = 0;
	if (unlikely(from->flags & PG_SHARED))
		return counted(from, to, pages, MIGRATED_TYPE);
	anon = rmap_pin_anon(from);
	if (!anon)
		return counted(from, to, pages, MIGRATED_GONE);
	DCHECK(to->type == from->type && page_refcount(to) == 1);

	r = begin(&m, anon);
	if (r == MIGRATED_DONE) {
		copy(&m);
		if (seeded_window(MIGRATE_FLUSH))
			rmap_walk(anon, page_index(from), pages, flush_area, &m);
		do
			rmap_walk(anon, page_index(from), pages, end_area, &m);
		while (page_total_mapcount(from) > 0);
		finish(&m);
	}
	rmap_unpin_anon(anon);
	return counted(from, to, pages, r);
}

enum migrate_result migrate_no_target(struct page *head)
{
	return counted(head, NULL, page_nr(head), MIGRATED_NO_MEMORY);
}

/* Isolated, and nowhere to go. The reference is dropped. Linux: try_split_folio */
static enum migrate_result split_instead(struct page *head)
{
	bool done;

	vmstat_add(VM_nr_isolated_anon, -(s64)HPAGE_PMD_NR);
	lru_putback(head);
	done = thp_split_page(head) == 0;
	(void)counted(head, NULL, HPAGE_PMD_NR, done ? MIGRATED_SPLIT : MIGRATED_NO_MEMORY);
	page_put(head);
	return done ? MIGRATED_SPLIT : MIGRATED_NO_MEMORY;
}

enum migrate_result migrate_page_alone(struct page *head, u32 buddy_flags, bool may_split)
{
	enum migrate_result r;
	struct page *to;

	if (head->type != PAGE_ANON && head->type != PAGE_ANON_HUGE)
		return MIGRATED_TYPE;
	r = migrate_isolate(head);
	if (r != MIGRATED_DONE)
		return r;
	to = buddy_alloc(head->order, MIGRATE_MOVABLE, head->type, buddy_flags);
	if (!to && may_split && page_is_huge(head))
		return split_instead(head);
	r = to ? migrate_page(head, to, MIGRATE_SYNC_LIGHT, true) : migrate_no_target(head);
	if (r == MIGRATED_DONE) {
		page_put(head);
		return r;
	}
	if (to)
		page_put(to);
	migrate_putback(head);
	return r;
}

/* --- the checker --- */

static bool check_entry(struct mm *mm, vaddr_t at, u64 e)
{
	if (e & PTE_P && e & (PTE_MIGRATING | PTE_WAS_P)) {
		printk("M5: %#lx of space %u: the present entry %#lx says migrating", at, mm->id,
			e);
		return false;
	}
	if (entry_migrating(e))
		printk("M1: %#lx of space %u: migration entry %#lx, and nobody migrates", at,
			mm->id, e);
	return !entry_migrating(e);
}

static bool check_space(struct mm *mm, void *ctx)
{
	bool *good = ctx;
	vaddr_t a = 0;

	if (!mm->pgd)
		return true;
	for (pmd_t *pmdp; *good && (pmdp = pgtable_next_pmd(mm, &a, USER_END)) != NULL;
		a = pmd_range_end(a, USER_END)) {
		pmd_t pmd = pmd_read(pmdp);
		vaddr_t at = a & HPAGE_PMD_MASK;

		if (pmd_kind(pmd) == ENTRY_LEAF)
			*good = check_entry(mm, at, pmd.v);
		for (unsigned i = 0; pmd_kind(pmd) == ENTRY_TABLE && i < PTRS_PER_TABLE && *good;
			i++)
			*good = check_entry(
				mm, at + i * PAGE_SIZE, pte_read(pte_ptr(pmd, at) + i).v);
	}
	return *good;
}

/*
 * migrate_check - M1 and M5 over every entry of every space.
 *   locks    none; the other CPUs stand still
 *   returns  false after printing the first entry that breaks one
 */
bool migrate_check(void)
{
	bool good = true;

	mm_for_each(check_space, &good);
	return good;
}
