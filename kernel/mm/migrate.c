/*
 * migrate.c - a page moves to another frame, with every mapping of it       floor 5, below: rmap, pgtable, lru, buddy
 *
 * Moves one page of 4 KiB or one whole page of 2 MiB. It does not choose: which page, where to and why is
 * compact.c's business, or that of who wants memory on another node.
 *
 * IDEA      three spaces map frame A                                   B is free
 *
 *   begin   [ anon lock + pt_lock of all three ]
 *             count: references = mappings + mine?  all mappings found?    no: nothing has happened
 *             A A A  -->  (A) (A) (A)   migration entries: no access, still counted on A
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
 *   is the shrinker of the deferred queue: it may hold a reference for a moment, finds A off the LRU, and gives up.
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
#include "printk.h"
#include "seeded.h"
#include "trace.h"
#include "vmstat.h"
#include "x86/cpu.h"

#define MIGRATE_SPACES 16   /* mappings that are replaced in one step */
#define LOCK_TRIES     2000 /* for a second table's lock, where waiting is allowed */

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

/* --- the beginning: every mapping becomes a migration entry --- */

/* One entry that maps the page: at addr in mm, whose tables are locked. */
struct place {
	struct mm *mm;
	vaddr_t addr;
	u64 *entry;
	bool locks; /* the lock was taken for this place */
};

struct migration {
	struct page *from, *to;
	enum migrate_mode mode;
	bool mlocked;
	enum migrate_result why; /* why the walk was stopped */
	unsigned nr;
	struct place places[MIGRATE_SPACES];
};

static bool stop(struct migration *m, enum migrate_result why)
{
	m->why = why;
	return false;
}

static bool locked_already(const struct migration *m, const struct mm *mm)
{
	for (unsigned i = 0; i < m->nr; i++)
		if (m->places[i].mm == mm)
			return true;
	return false;
}

/* The first may be waited for; a second one is only tried, since another migration may hold it and try the first. */
static bool lock_tables(const struct migration *m, struct mm *mm)
{
	if (m->mode == MIGRATE_ASYNC)
		return spin_trylock(&mm->pt_lock);
	if (m->nr == 0) {
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

/* The entry in which the page may be mapped at addr: a leaf over this very frame, or NULL. pt_lock held. */
static u64 *find_entry(struct mm *mm, vaddr_t addr, const struct page *page)
{
	pmd_t *pmdp = pgtable_find_pmd(mm, addr), pmd = pmdp ? pmd_read(pmdp) : (pmd_t){0};
	pte_t *ptep;

	if (page_is_huge(page))
		return pmd_kind(pmd) == ENTRY_LEAF && pmd_pfn(pmd) == page_to_pfn(page) ? &pmdp->v
											: NULL;
	if (pmd_kind(pmd) != ENTRY_TABLE)
		return NULL;
	ptep = pte_ptr(pmd, addr);
	if (pte_kind(pte_read(ptep)) != ENTRY_LEAF || pte_pfn(pte_read(ptep)) != page_to_pfn(page))
		return NULL;
	return &ptep->v;
}

/* One area of the family: if the page is mapped there, the tables stay locked and the place is noted. */
static bool find_place(struct vma *v, vaddr_t addr, void *ctx)
{
	struct migration *m = ctx;
	bool held = locked_already(m, v->mm);
	u64 *entry;

	if (unlikely(v->flags & VM_LOCKED) && !m->mlocked)
		return stop(m, MIGRATED_MLOCKED);
	if (!held && !lock_tables(m, v->mm))
		return stop(m, MIGRATED_LOCK);
	entry = find_entry(v->mm, addr, m->from);
	if (entry && m->nr < MIGRATE_SPACES) {
		m->places[m->nr++] = (struct place){v->mm, addr, entry, !held};
		return true;
	}
	if (!held)
		spin_unlock(&v->mm->pt_lock);
	return !entry || stop(m, MIGRATED_SPACES);
}

/* All tables that map it are locked, but for those of a space with a leaf of 1 GiB. May it move? */
static enum migrate_result verdict(const struct migration *m)
{
	u64 mappings = page_total_mapcount(m->from);

	if (page_is_huge(m->from) && pfn_block(page_to_pfn(m->from))->flags & PB_PUD)
		return MIGRATED_GIGABYTE;
	if (mappings == 0)
		return MIGRATED_GONE;
	if (page_is_huge(m->from) && page_pte_mappings(m->from))
		return MIGRATED_PTE_MAPPED;
	if (page_refcount(m->from) != mappings + 1)
		return MIGRATED_COUNT;
	return m->nr == mappings ? MIGRATED_DONE
				 : MIGRATED_LOCK; /* one is being moved or copied just now */
}

/* M2: when it returns, no CPU reads or writes through the old entry any more. */
static void flush(const struct migration *m, const struct place *p)
{
	u64 size = page_nr(m->from) << PAGE_SHIFT;
	u64 gen = tlb_flush(&p->mm->tlb, p->addr, p->addr + size, size, TLB_migrate);

	tlb_assert_acked(&p->mm->tlb, gen);
}

/* No access from here on. The exchange keeps A and D that a CPU set up to this instant. */
static void replace(const struct migration *m, const struct place *p)
{
	u64 leaf = __atomic_exchange_n(p->entry, 0, __ATOMIC_ACQ_REL);

	WRITE_ONCE(*p->entry, entry_to_migrating(leaf));
	if (!seeded(MIGRATE_FLUSH))
		flush(m, p);
}

static enum migrate_result begin_locked(struct migration *m, struct anon *anon)
{
	enum migrate_result r = MIGRATED_DONE;

	if (!rmap_walk_locked(anon, page_index(m->from), 1, find_place, m))
		r = m->why;
	if (r == MIGRATED_DONE)
		r = verdict(m);
	for (unsigned i = 0; r == MIGRATED_DONE && i < m->nr; i++)
		replace(m, &m->places[i]);
	for (unsigned i = m->nr; i-- > 0;)
		if (m->places[i].locks)
			spin_unlock(&m->places[i].mm->pt_lock);
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

/* One entry: if it is a migration entry over frame `old`, it names `new` from now on. pt_lock held. */
static inline void end_pte(pte_t *ptep, pfn_t old, pfn_t new)
{
	u64 e = pte_read(ptep).v;

	if (!entry_migrating(e) || entry_addr(e) >> PAGE_SHIFT != old)
		return;
	rmap_move_pte(old, new);
	pte_write(ptep, (pte_t){entry_from_migrating(e, new)});
}

static void end_pmd(const struct migration *m, pmd_t *pmdp)
{
	pmd_t pmd = pmd_read(pmdp);

	if (!entry_migrating(pmd.v) || pmd_pfn(pmd) != page_to_pfn(m->from))
		return;
	rmap_move_pmd(m->from, m->to);
	pmd_write(pmdp, (pmd_t){entry_from_migrating(pmd.v, page_to_pfn(m->to))});
}

/* One area, where a small page would be at addr. */
static bool end_small(struct vma *v, vaddr_t addr, void *ctx)
{
	const struct migration *m = ctx;
	pte_t *ptep;

	spin_lock(&v->mm->pt_lock);
	ptep = pgtable_find_pte(v->mm, addr);
	if (ptep)
		end_pte(ptep, page_to_pfn(m->from), page_to_pfn(m->to));
	spin_unlock(&v->mm->pt_lock);
	return true;
}

/*
 * The same for a huge page, of which the area has the frames from addr on. It may stand here as 512 entries by now, at an
 * address that mremap chose: so whatever tables serve the range are looked at.
 */
static bool end_huge(struct vma *v, vaddr_t addr, void *ctx)
{
	const struct migration *m = ctx;
	u64 at = vma_index(v, addr) - page_index(m->from);
	vaddr_t end = MIN(v->end, addr + ((HPAGE_PMD_NR - at) << PAGE_SHIFT));

	spin_lock(&v->mm->pt_lock);
	while (addr < end) {
		pmd_t *pmdp = pgtable_find_pmd(v->mm, addr);
		pmd_t pmd = pmdp ? pmd_read(pmdp) : (pmd_t){0};
		vaddr_t next = pmd_range_end(addr, end);

		if (pmd_kind(pmd) == ENTRY_LEAF)
			end_pmd(m, pmdp);
		for (; addr < next; addr += PAGE_SIZE, at++)
			if (pmd_kind(pmd) == ENTRY_TABLE)
				end_pte(pte_ptr(pmd, addr), page_to_pfn(m->from) + at,
					page_to_pfn(m->to) + at);
	}
	spin_unlock(&v->mm->pt_lock);
	return true;
}

/* The mappings are gone from `from`; its place on the lists is the new page's now. M4 */
static void finish(const struct migration *m)
{
	struct page *from = m->from, *to = m->to;
	u8 kept = from->flags & (PG_ACTIVE | PG_LAZYFREE);

	ASSERT_RULE("M4", page_total_mapcount(from) == 0, "pfn %#lx is still mapped %lu times",
		page_to_pfn(from), page_total_mapcount(from));
	vmstat_add(VM_nr_isolated_anon, -(s64)page_nr(from));
	if (lru_deferred_del(from))
		lru_deferred_add(to);
	/* Off the LRU the marks of its lists are ours alone: the frame can be freed without its lock. */
	__atomic_and_fetch(&from->flags, (u8) ~(PG_ACTIVE | PG_LAZYFREE), __ATOMIC_RELAXED);
	__atomic_or_fetch(&to->flags, kept, __ATOMIC_RELAXED);
	lru_putback(to);
	page_put(to);
}

/* --- the whole --- */

static enum migrate_result counted(const struct migration *m, enum migrate_result r)
{
	u64 pages = page_nr(m->from);

	__atomic_add_fetch(&migrate_counts[r], 1, __ATOMIC_RELAXED);
	if (r == MIGRATED_DONE)
		vmstat_add(VM_pgmigrate_success, pages);
	else if (r != MIGRATED_GONE) /* Linux: a page that was freed meanwhile is a success */
		vmstat_add(VM_pgmigrate_fail, pages);
	if (pages > 1 && r == MIGRATED_DONE)
		vmstat_inc(VM_thp_migration_success);
	else if (pages > 1 && r != MIGRATED_GONE)
		vmstat_inc(VM_thp_migration_fail);
	trace(TRACE_mm_migrate_pages, page_to_pfn(m->from), r, page_to_pfn(m->to));
	return r;
}

enum migrate_result migrate_page(
	struct page *from, struct page *to, enum migrate_mode mode, bool mlocked)
{
	struct migration m;
	struct anon *anon;
	enum migrate_result r;

	m.from = from;
	m.to = to;
	m.mode = mode;
	m.mlocked = mlocked;
	m.nr = 0;
	if (unlikely(from->flags & PG_SHARED))
		return counted(&m, MIGRATED_TYPE);
	anon = rmap_pin_anon(from);
	if (!anon)
		return counted(&m, MIGRATED_GONE);
	DCHECK(to->type == from->type && page_refcount(to) == 1);

	r = begin(&m, anon);
	if (r == MIGRATED_DONE) {
		copy(&m);
		for (unsigned i = 0; seeded_window(MIGRATE_FLUSH) && i < m.nr; i++)
			flush(&m, &m.places[i]);
		do
			rmap_walk(anon, page_index(from), page_nr(from),
				page_is_huge(from) ? end_huge : end_small, &m);
		while (page_total_mapcount(from) > 0);
		finish(&m);
	}
	rmap_unpin_anon(anon);
	return counted(&m, r);
}

enum migrate_result migrate_page_alone(struct page *head, u32 buddy_flags)
{
	enum migrate_result r;
	struct page *to;

	if (head->type != PAGE_ANON && head->type != PAGE_ANON_HUGE)
		return MIGRATED_TYPE;
	r = migrate_isolate(head);
	if (r != MIGRATED_DONE)
		return r;
	to = buddy_alloc(head->order, MIGRATE_MOVABLE, head->type, buddy_flags);
	r = to ? migrate_page(head, to, MIGRATE_SYNC_LIGHT, true) : MIGRATED_NO_MEMORY;
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
