/*
 * lru.c - the lists of anonymous pages by age, and the queue of huge pages to be split.     floor 2
 *
 * Puts pages on lists and takes them off. Which page is old enough, and what is then done with it,
 * is policy and stands on floor 5.
 *
 * IDEA
 *     new --> [ active:   newest ... oldest ]          a huge page is one entry and counts 512
 *             [ inactive: newest ... oldest ] --> next to go    (MADV_FREE puts pages here)
 *
 *     queue of huge pages of which a part is no longer mapped:
 *             deferred --> head[1] <--> head[1] <--> ...   head is on a list above meanwhile
 *
 *   A page is isolated when somebody has taken it off to move or to replace it: PG_LRU is clear and
 *   PG_ACTIVE still tells where it was. Who isolates counts nr_isolated_anon.
 *
 * INVARIANTS (lru_check() tests every one)
 *   L1  a page carries PG_LRU exactly when it is on a list, PG_ACTIVE tells which; PG_DEFERRED
 *       likewise
 *   L2  each list is as long as it says; nr_active_anon and nr_inactive_anon are the pages found
 *   L3  only ANON pages and heads of ANON_HUGE pages are on the lists, only the latter on the queue
 *   L4  what MADV_FREE left stands at the end of the inactive list, nothing else behind it: who looks
 *       for it need not search
 *
 * LOCKS     lru.lock for the two lists, lru.deferred_lock for the queue; both inside pt_lock and
 *           never together, save in lru_check (deferred first). A page's flags belong to two locks:
 *           atomic.
 * LINUX     mm/swap.c, mm/vmscan.c: per node and memory cgroup, batched per CPU, generations.
 */
#include "lib/string.h"
#include "mm/lru.h"
#include "printk.h"
#include "vmstat.h"

struct lru lru = {
	.lock = SPINLOCK_INIT(LOCK_LRU, "lru"),
	.deferred_lock = SPINLOCK_INIT(LOCK_DEFERRED, "deferred"),
};

static void flags_set(struct page *p, u8 flags)
{
	__atomic_or_fetch(&p->flags, flags, __ATOMIC_RELAXED);
}

static void flags_clear(struct page *p, u8 flags)
{
	__atomic_and_fetch(&p->flags, (u8)~flags, __ATOMIC_RELAXED);
}

static struct page_list *list_of(u8 flags)
{
	return flags & PG_ACTIVE ? &lru.active : &lru.inactive;
}

/* Linux counts pages, not entries. */
static void count_list(u8 flags, s64 pages)
{
	if (flags & PG_ACTIVE)
		vmstat_add(VM_nr_active_anon, pages);
	else
		vmstat_add(VM_nr_inactive_anon, pages);
}

/*
 * lru_init - empty lists.
 */
void lru_init(void)
{
	memset(&lru.active, 0, sizeof(lru.active));
	memset(&lru.inactive, 0, sizeof(lru.inactive));
	memset(&lru.deferred, 0, sizeof(lru.deferred));
}

/*
 * lru_add_active - a page in use joins the active list as its newest.
 *
 *   locks    takes lru.lock; the caller holds a reference
 *   Linux    lru_cache_add_inactive_or_unevictable; anonymous pages start as active there too
 */
void lru_add_active(struct page *head)
{
	DCHECK(!(head->flags & PG_LRU));
	spin_lock(&lru.lock);
	page_list_add(&lru.active, head);
	flags_set(head, PG_LRU | PG_ACTIVE);
	spin_unlock(&lru.lock);
	vmstat_add(VM_nr_active_anon, page_nr(head));
}

/*
 * lru_add_active_many - the same for base pages whose frames lie side by side, under one lock.
 *
 *   locks    takes lru.lock
 *   Linux    folio_add_lru, where they are one folio
 */
void lru_add_active_many(struct page *first, unsigned nr)
{
	spin_lock(&lru.lock);
	for (struct page *p = first; p < first + nr; p++) {
		page_list_add(&lru.active, p);
		flags_set(p, PG_LRU | PG_ACTIVE);
	}
	spin_unlock(&lru.lock);
	vmstat_add(VM_nr_active_anon, nr);
}

/*
 * lru_isolate - take a page off its list, so that nobody else starts to work on it.
 *
 *   locks    takes lru.lock; the caller holds a reference
 *   returns  false: it is on no list (somebody else isolated it)
 *   after    ended by lru_putback(), or by the last page_put()
 *   Linux    isolate_lru_page
 */
bool lru_isolate(struct page *head)
{
	bool isolated;

	spin_lock(&lru.lock);
	isolated = lru_isolate_locked(head);
	spin_unlock(&lru.lock);
	return isolated;
}

/* lru_isolate_locked - the same for a caller that holds lru.lock. */
bool lru_isolate_locked(struct page *head)
{
	u8 flags = head->flags;

	if (!(flags & PG_LRU))
		return false;
	page_list_del(list_of(flags), head);
	flags_clear(head, PG_LRU);
	count_list(flags, -(s64)page_nr(head));
	return true;
}

/*
 * lru_grab_locked - the same for a page that was found by its number: takes a reference, too.
 *
 *   locks    lru.lock held: a page on a list cannot be freed, but its last reference may be gone already
 *   returns  false: it is on no list, or about to be freed
 */
bool lru_grab_locked(struct page *head)
{
	ASSERT_HELD(&lru.lock);
	if (!(head->flags & PG_LRU) || !page_try_get(head))
		return false;
	return lru_isolate_locked(head);
}

/*
 * lru_putback - an isolated page returns to the list it came from, as its newest; one that MADV_FREE
 * left, to the end.
 *
 *   locks    takes lru.lock
 *   Linux    putback_lru_page
 */
void lru_putback(struct page *head)
{
	spin_lock(&lru.lock);
	ASSERT(!(head->flags & PG_LRU));
	if (head->flags & PG_LAZYFREE)
		page_list_add_tail(&lru.inactive, head); /* L4 */
	else
		page_list_add(list_of(head->flags), head);
	flags_set(head, PG_LRU);
	count_list(head->flags, page_nr(head));
	spin_unlock(&lru.lock);
}

/*
 * lru_add_part - a frame of a huge page that was split goes on the list where the page was isolated from.
 *
 *   locks    takes lru.lock
 *   flags    the page's, before it was split
 *   Linux    __split_huge_page_tail copies the flags
 */
void lru_add_part(struct page *page, u8 flags)
{
	flags_set(page, flags & (PG_ACTIVE | PG_LAZYFREE));
	lru_putback(page);
}

/*
 * lru_deactivate - MADV_COLD: an active page is the newest of the inactive ones.
 *
 *   locks    takes lru.lock; nothing happens to a page that is on no list, or is inactive
 *   Linux    lru_deactivate_fn
 */
void lru_deactivate(struct page *head)
{
	spin_lock(&lru.lock);
	if ((head->flags & (PG_LRU | PG_ACTIVE)) == (PG_LRU | PG_ACTIVE)) {
		page_list_del(&lru.active, head);
		count_list(head->flags, -(s64)page_nr(head));
		flags_clear(head, PG_ACTIVE);
		page_list_add(&lru.inactive, head);
		count_list(head->flags, page_nr(head));
	}
	spin_unlock(&lru.lock);
}

/*
 * lru_deactivate_lazyfree - MADV_FREE: the page is the next to go, and may be dropped while clean.
 *
 *   locks    takes lru.lock; nothing happens to a page that is on no list
 *   after    PG_LAZYFREE is set, pglazyfree has counted its pages
 *   Linux    lru_lazyfree_fn
 */
void lru_deactivate_lazyfree(struct page *head)
{
	spin_lock(&lru.lock);
	if ((head->flags & (PG_LRU | PG_LAZYFREE)) == PG_LRU) {
		page_list_del(list_of(head->flags), head);
		count_list(head->flags, -(s64)page_nr(head));
		flags_clear(head, PG_ACTIVE);
		flags_set(head, PG_LAZYFREE);
		page_list_add_tail(&lru.inactive, head);
		count_list(head->flags, page_nr(head));
		vmstat_add(VM_pglazyfree, page_nr(head));
	}
	spin_unlock(&lru.lock);
}

/*
 * lru_get - a reference on a page that was found by its number.
 *
 *   locks    takes lru.lock: a page on a list is freed only after it was taken off, which needs that lock
 *   returns  false: it is on no list, or is being freed
 *   Linux    folio_try_get, before lru_add_drain
 */
bool lru_get(struct page *head)
{
	bool got;

	spin_lock(&lru.lock);
	got = head->flags & PG_LRU && page_try_get(head);
	spin_unlock(&lru.lock);
	return got;
}

/*
 * lru_lazyfree_take - of the pages that MADV_FREE left, the next to go; isolated, with a reference.
 *
 *   locks    takes lru.lock
 *   returns  NULL: there is none
 *   after    lru_revive(), or the last page_put()
 */
struct page *lru_lazyfree_take(void)
{
	struct page *p = NULL;

	spin_lock(&lru.lock);
	for (u32 pfn = lru.inactive.last; pfn && !p; pfn = pfn_to_page(pfn)->prev) {
		if (!(pfn_to_page(pfn)->flags & PG_LAZYFREE))
			break; /* L4 */
		if (page_try_get(pfn_to_page(pfn)))
			p = pfn_to_page(pfn);
	}
	if (p)
		lru_isolate_locked(p);
	spin_unlock(&lru.lock);
	return p;
}

/*
 * lru_revive - an isolated page that MADV_FREE had left was written again: it is in use.
 *
 *   locks    takes lru.lock
 *   Linux    folio_set_swapbacked, folio_putback_lru
 */
void lru_revive(struct page *head)
{
	spin_lock(&lru.lock);
	ASSERT(!(head->flags & PG_LRU));
	flags_clear(head, PG_LAZYFREE);
	flags_set(head, PG_LRU | PG_ACTIVE);
	page_list_add(&lru.active, head);
	count_list(head->flags, page_nr(head));
	spin_unlock(&lru.lock);
}

/*
 * lru_del - the page is being freed or split: off its list, the lists' marks are wiped out.
 *
 *   locks    takes lru.lock if there is something to do
 *   Linux    __page_cache_release
 */
void lru_del(struct page *head)
{
	u8 flags;

	if (!(READ_ONCE(head->flags) & (PG_LRU | PG_ACTIVE | PG_LAZYFREE)))
		return;
	spin_lock(&lru.lock);
	flags = head->flags;
	if (flags & PG_LRU) {
		page_list_del(list_of(flags), head);
		count_list(flags, -(s64)page_nr(head));
	}
	flags_clear(head, PG_LRU | PG_ACTIVE | PG_LAZYFREE);
	spin_unlock(&lru.lock);
}

/* A stretch of one list that goes as a whole: nr pages from `first` (nearer the head) to `last`. */
struct stretch {
	u32 first, last; /* pfns */
	u32 nr;
	u8 flags;
};

static void stretch_cut(const struct stretch *s)
{
	if (!s->nr)
		return;
	page_list_cut(list_of(s->flags), pfn_to_page(s->first), pfn_to_page(s->last), s->nr);
	count_list(s->flags, -(s64)s->nr);
}

/*
 * Takes base pages off their lists; of their flags `keep` stays. Pages that were touched one after the other
 * stand one before the other here, so they are cut out in stretches. lru.lock held.
 */
static __always_inline void cut_many(const u32 *pfns, unsigned nr, u8 keep)
{
	struct stretch s = {.first = ~0u};

	for (const u32 *end = pfns + nr; pfns < end; pfns++) {
		struct page *p = pfn_to_page(*pfns);
		u8 flags = p->flags;

		p->flags = flags & keep;
		if (likely(flags & PG_LRU && p->next == s.first)) {
			s.first = *pfns;
			s.nr++;
		} else if (flags & PG_LRU) {
			stretch_cut(&s);
			s = (struct stretch){*pfns, *pfns, 1, flags};
		}
	}
	stretch_cut(&s);
}

/*
 * lru_del_many - the same for base pages that nobody references any more.
 *
 *   locks    takes lru.lock
 *   pfns     `nr` of them, order 0, refcount 0: their flags are ours alone
 *   Linux    release_pages
 */
void lru_del_many(const u32 *pfns, unsigned nr)
{
	spin_lock(&lru.lock);
	cut_many(pfns, nr, 0);
	spin_unlock(&lru.lock);
}

/*
 * lru_isolate_many - lru_isolate for base pages that are all on a list.
 *
 *   locks    lru.lock held since that was seen
 */
void lru_isolate_many(const u32 *pfns, unsigned nr)
{
	ASSERT_HELD(&lru.lock);
	cut_many(pfns, nr, PG_ACTIVE | PG_LAZYFREE);
}

/*
 * lru_deferred_add - queue a huge page of which a part is no longer mapped.
 *
 *   locks    takes lru.deferred_lock; the caller holds a reference
 *   returns  true: newly queued (rmap.c counts thp_deferred_split_page)
 *   Linux    deferred_split_huge_page
 */
bool lru_deferred_add(struct page *head)
{
	bool added = false;

	if (READ_ONCE(head->flags) & PG_DEFERRED)
		return false;
	spin_lock(&lru.deferred_lock);
	if (!(head->flags & PG_DEFERRED)) {
		page_list_add_tail(&lru.deferred, &head[1]);
		flags_set(head, PG_DEFERRED);
		added = true;
	}
	spin_unlock(&lru.deferred_lock);
	return added;
}

/*
 * lru_deferred_del - off the queue: the page is being freed, was split, or is whole again.
 *
 *   locks    takes lru.deferred_lock if it is queued
 *   returns  false: it was not queued
 */
bool lru_deferred_del(struct page *head)
{
	bool queued;

	if (!(READ_ONCE(head->flags) & PG_DEFERRED))
		return false;
	spin_lock(&lru.deferred_lock);
	queued = head->flags & PG_DEFERRED;
	if (queued) {
		page_list_del(&lru.deferred, &head[1]);
		flags_clear(head, PG_DEFERRED);
	}
	spin_unlock(&lru.deferred_lock);
	return queued;
}

/*
 * lru_deferred_take - the page that has waited longest on the queue, taken off it, with a reference.
 *
 *   locks    takes lru.deferred_lock: a queued page is freed only after it was taken off under that lock
 *   returns  NULL: nobody waits. Pages that are being freed are left to who frees them
 *   Linux    the first half of deferred_split_scan
 */
struct page *lru_deferred_take(void)
{
	struct page *head = NULL;

	spin_lock(&lru.deferred_lock);
	for (u32 pfn = lru.deferred.first; pfn && !head; pfn = pfn_to_page(pfn)->next) {
		if (page_try_get(pfn_to_page(pfn) - 1))
			head = pfn_to_page(pfn) - 1;
	}
	if (head) {
		page_list_del(&lru.deferred, &head[1]);
		flags_clear(head, PG_DEFERRED);
	}
	spin_unlock(&lru.deferred_lock);
	return head;
}

/* ---- the checker ---- */

static bool broken(const char *rule, const char *what, u64 is, u64 want)
{
	printk("lru_check: %s: %s: %lu, not %lu", rule, what, (unsigned long)is,
		(unsigned long)want);
	return false;
}

/* Walks one list; the pages on it, in 4 KiB, go to *pages. */
static bool check_list(const struct page_list *list, u8 want, u64 *pages)
{
	bool lazyfree = false;
	u64 length = 0;
	u32 before = 0;

	*pages = 0;
	for (u32 pfn = list->first; pfn; pfn = pfn_to_page(pfn)->next) {
		struct page *p = pfn_to_page(pfn);

		if (pfn >= page_max_pfn || ++length > list->count || p->prev != before)
			return broken("L2", "entries of a list", length, list->count);
		if (p->type != PAGE_ANON && p->type != PAGE_ANON_HUGE)
			return broken("L3", "type of a page on a list", p->type, PAGE_ANON);
		if ((p->flags & (PG_LRU | PG_ACTIVE)) != want)
			return broken("L1", "flags of a page on a list", p->flags, want);
		if (lazyfree && !(p->flags & PG_LAZYFREE))
			return broken("L4", "flags behind a lazily free page", p->flags,
				p->flags | PG_LAZYFREE);
		lazyfree = p->flags & PG_LAZYFREE;
		*pages += page_nr(p);
		before = pfn;
	}
	if (length != list->count || list->last != before)
		return broken("L2", "entries of a list", length, list->count);
	return true;
}

static bool check_deferred(void)
{
	u64 length = 0;

	for (u32 pfn = lru.deferred.first; pfn; pfn = pfn_to_page(pfn)->next) {
		struct page *head = pfn_to_page(pfn) - 1;

		if (pfn >= page_max_pfn || ++length > lru.deferred.count)
			return broken("L2", "entries of the queue", length, lru.deferred.count);
		if (head->type != PAGE_ANON_HUGE)
			return broken(
				"L3", "type of a page on the queue", head->type, PAGE_ANON_HUGE);
		if (!(head->flags & PG_DEFERRED))
			return broken(
				"L1", "flags of a page on the queue", head->flags, PG_DEFERRED);
	}
	if (length != lru.deferred.count)
		return broken("L2", "entries of the queue", length, lru.deferred.count);
	return true;
}

/* The other direction: every page that says it is on a list must have been met on one. */
static bool check_flags(void)
{
	u64 listed = 0, queued = 0;

	for (pfn_t pfn = 0; pfn < page_max_pfn; pfn++) {
		const struct page *p = pfn_to_page(pfn);

		listed += !!(p->flags & PG_LRU);
		queued += !!(p->flags & PG_DEFERRED);
	}
	if (listed != lru.active.count + lru.inactive.count)
		return broken(
			"L1", "pages with PG_LRU", listed, lru.active.count + lru.inactive.count);
	if (queued != lru.deferred.count)
		return broken("L1", "pages with PG_DEFERRED", queued, lru.deferred.count);
	return true;
}

static bool check_gauges(u64 active, u64 inactive)
{
	if (active != vmstat_read(VM_nr_active_anon))
		return broken("L2", "active pages", active, vmstat_read(VM_nr_active_anon));
	if (inactive != vmstat_read(VM_nr_inactive_anon))
		return broken("L2", "inactive pages", inactive, vmstat_read(VM_nr_inactive_anon));
	return true;
}

/*
 * lru_check - L1 to L4.
 *
 *   locks    takes both; exact when no other CPU adds or removes pages
 *   returns  false after one line that names the broken rule
 */
bool lru_check(void)
{
	u64 active, inactive;
	bool ok;

	spin_lock(&lru.deferred_lock);
	spin_lock(&lru.lock);
	ok = check_list(&lru.active, PG_LRU | PG_ACTIVE, &active) &&
	     check_list(&lru.inactive, PG_LRU, &inactive) && check_deferred() && check_flags() &&
	     check_gauges(active, inactive);
	spin_unlock(&lru.lock);
	spin_unlock(&lru.deferred_lock);
	return ok;
}
