/*
 * report_frames.c - what smaps, pagemap and kpageflags count: entries and frames             floor 7
 *
 * Reads page tables and descriptors, changes nothing. smaps is read a thousand times in one test run,
 * so a huge page costs one entry, a table one pt_lock.
 *
 * IDEA      one leaf -> who maps its frames?
 *             refcount of the page is 1        this mapping is the only one: private, pss = size
 *             else, for each 4 KiB frame       its ptes + the pmds over it: pss = 4 KiB / that
 *           Zero frames are nobody's memory: they are present in pagemap and count nothing in smaps.
 *
 * LOCKS     mm->lock (read) by the caller, pt_lock per 2 MiB here.
 * LINUX     fs/proc/task_mmu.c (smaps_account, pagemap_pmd_range), fs/proc/page.c (stable_page_flags).
 */
#include "report_nodes.h"
#include "mm/mm.h"
#include "mm/page.h"
#include "mm/pgtable.h"
#include "mm/vma.h"
#include "mm/zero.h"
#include <abi/errno.h>

/* --- smaps: one area ------------------------------------------------------------------------- */

/* What is known of an entry before its frames are looked at. */
struct leaf {
	bool accessed, dirty;
	bool locked;
	bool shared; /* a memory object's page */
};

static void usage_add(struct report_usage *u, const struct leaf *l, u64 bytes, u32 mapcount)
{
	u64 pss = (bytes << REPORT_PSS_SHIFT) / mapcount;

	u->pss += pss;
	if (l->shared)
		u->pss_shared += pss;
	if (l->dirty)
		u->pss_dirty += pss;
	if (l->locked)
		u->pss_locked += pss;
	if (l->dirty)
		*(mapcount > 1 ? &u->shared_dirty : &u->private_dirty) += bytes;
	else
		*(mapcount > 1 ? &u->shared_clean : &u->private_clean) += bytes;
}

static void usage_add_page(
	struct report_usage *u, const struct leaf *l, const struct page *head, u64 bytes)
{
	u->rss += bytes;
	if (!l->shared)
		u->anonymous += bytes;
	if (l->accessed)
		u->referenced += bytes;
	if (head->flags & PG_LAZYFREE && !l->dirty)
		u->lazyfree += bytes;
}

static void usage_pte(struct report_usage *u, struct leaf *l, pte_t e)
{
	pfn_t pfn = pte_pfn(e);
	struct page *head;

	if (e.v & PTE_DEVICE || !pfn_valid(pfn))
		return;
	head = pfn_head(pfn);
	if (head->type != PAGE_ANON && head->type != PAGE_ANON_HUGE)
		return;
	l->shared = head->flags & PG_SHARED;
	l->accessed = pte_accessed(e);
	l->dirty = pte_dirty(e);
	usage_add_page(u, l, head, PAGE_SIZE);
	usage_add(u, l, PAGE_SIZE, page_refcount(head) == 1 ? 1 : MAX(pfn_mapcount(pfn), 1u));
}

static void usage_pmd(struct report_usage *u, struct leaf *l, pmd_t e)
{
	pfn_t pfn = pmd_pfn(e);
	struct page *head;
	u32 pmds;

	if (e.v & PTE_DEVICE || !pfn_valid(pfn) || pfn_type(pfn) != PAGE_ANON_HUGE)
		return;
	if (pmd_protnone(e) &&
		!entry_migrating(e.v)) /* as on Linux, which follows no such pmd for smaps */
		return;
	head = pfn_to_page(pfn);
	pmds = page_pmd_mapcount(head);
	l->shared = head->flags & PG_SHARED;
	l->accessed = pmd_accessed(e);
	l->dirty = pmd_dirty(e);
	usage_add_page(u, l, head, HPAGE_PMD_SIZE);
	*(l->shared ? &u->shared_huge : &u->anon_huge) += HPAGE_PMD_SIZE;
	if (page_refcount(head) == 1 || !page_pte_mappings(head)) {
		usage_add(u, l, HPAGE_PMD_SIZE, MAX(pmds, 1u));
		return;
	}
	for (unsigned i = 0; i < HPAGE_PMD_NR; i++)
		usage_add(u, l, PAGE_SIZE, MAX(pmds + READ_ONCE(head[i].mapcount), 1u));
}

/* What one entry at pmd maps of [a, end), which lies in its range. pt_lock held. */
static void usage_range(struct report_usage *u, struct leaf *l, pmd_t e, vaddr_t a, vaddr_t end)
{
	pte_t *ptep;

	if (pmd_kind(e) == ENTRY_LEAF)
		usage_pmd(u, l, e);
	if (pmd_kind(e) != ENTRY_TABLE)
		return;
	ptep = pte_ptr(e, a);
	for (u64 n = (end - a) >> PAGE_SHIFT; n; n--, ptep++) {
		pte_t pte = pte_read(ptep);

		if (pte_kind(pte) == ENTRY_LEAF)
			usage_pte(u, l, pte);
	}
}

/* [a, end) of one area, leaves of 1 GiB apart. */
static void usage_pmds(
	struct report_usage *u, struct leaf *l, struct mm *mm, vaddr_t a, vaddr_t end)
{
	for (pmd_t *pmdp = pgtable_next_pmd(mm, &a, end); pmdp;
		a = pmd_range_end(a, end), pmdp = pgtable_next_pmd(mm, &a, end)) {
		spin_lock(&mm->pt_lock);
		usage_range(u, l, pmd_read(pmdp), a, pmd_range_end(a, end));
		spin_unlock(&mm->pt_lock);
		preempt_point();
	}
}

/* A leaf of 1 GiB, as 512 of 2 MiB. False: it is none any more. */
static bool usage_pud(
	struct report_usage *u, struct leaf *l, struct mm *mm, vaddr_t start, pud_t *pudp)
{
	pud_t pud;

	spin_lock(&mm->pt_lock);
	pud = pud_read(pudp);
	for (u64 at = 0; pud_kind(pud) == ENTRY_LEAF && at < HPAGE_PUD_SIZE; at += HPAGE_PMD_SIZE)
		usage_pmd(u, l, pud_part(pud, start + at));
	spin_unlock(&mm->pt_lock);
	return pud_kind(pud) == ENTRY_LEAF;
}

/*
 * report_usage - add what area v has in memory to *u.
 *
 *   locks    mm->lock held (read); takes pt_lock, released between 2 MiB ranges
 *   Linux    smap_gather_stats
 *
 * Every address once, in order: thp_split_page() needs no mm->lock, and a leaf of 1 GiB that was counted and comes apart
 * a moment later must not be counted again as what it has become.
 */
void report_usage(struct vma *v, struct report_usage *u)
{
	struct leaf l = {.locked = v->flags & VM_LOCKED};
	vaddr_t a = v->start, leaf = a;
	struct mm *mm = v->mm;
	pud_t *pudp;

	while (unlikely(mm->nr_puds) && (pudp = pgtable_next_pud(mm, &leaf, v->end)) != NULL) {
		usage_pmds(u, &l, mm, a, leaf);
		a = usage_pud(u, &l, mm, leaf, pudp) ? leaf + HPAGE_PUD_SIZE : leaf;
		leaf += HPAGE_PUD_SIZE; /* split just now: it is counted with what comes behind it */
		preempt_point();
	}
	usage_pmds(u, &l, mm, a, v->end);
}

/* One range of 2 MiB, or a part of it: the accessed bits go. pt_lock held. */
static void clear_range(struct mm *mm, vaddr_t a, vaddr_t end, pmd_t *pmdp)
{
	pmd_t e = pmd_read(pmdp);
	vaddr_t page = a;
	pte_t *ptep;

	if (pmd_kind(e) == ENTRY_LEAF) {
		e = pmd_take(pmdp);
		pmd_write(pmdp, (pmd_t){e.v & ~PTE_A});
		tlb_flush(&mm->tlb, a & HPAGE_PMD_MASK, end, HPAGE_PMD_SIZE, TLB_free);
		return;
	}
	if (pmd_kind(e) != ENTRY_TABLE)
		return;
	for (ptep = pte_ptr(e, a); page < end; page += PAGE_SIZE, ptep++) {
		pte_t pte = pte_read(ptep);

		if (pte_kind(pte) != ENTRY_LEAF || !(pte.v & PTE_A))
			continue;
		pte = pte_take(ptep);
		pte_write(ptep, (pte_t){pte.v & ~PTE_A});
	}
	tlb_flush(&mm->tlb, a, end, PAGE_SIZE, TLB_free);
}

static void clear_puds(struct vma *v)
{
	struct mm *mm = v->mm;
	pud_t *pudp, pud;

	for (vaddr_t a = v->start; mm->nr_puds && (pudp = pgtable_next_pud(mm, &a, v->end)) != NULL;
		a += HPAGE_PUD_SIZE) {
		spin_lock(&mm->pt_lock);
		if (pud_kind(pud_read(pudp)) == ENTRY_LEAF) {
			pud = pud_take(pudp);
			pud_write(pudp, (pud_t){pud.v & ~PTE_A});
			tlb_flush(&mm->tlb, a, a + HPAGE_PUD_SIZE, HPAGE_PUD_SIZE, TLB_free);
		}
		spin_unlock(&mm->pt_lock);
	}
}

void report_clear_referenced(struct vma *v)
{
	struct mm *mm = v->mm;
	vaddr_t a = v->start;
	pmd_t *pmdp;

	if (v->kind == VMA_DEVICE)
		return;
	clear_puds(v);
	for (pmdp = pgtable_next_pmd(mm, &a, v->end); pmdp;
		a = pmd_range_end(a, v->end), pmdp = pgtable_next_pmd(mm, &a, v->end)) {
		spin_lock(&mm->pt_lock);
		clear_range(mm, a, pmd_range_end(a, v->end), pmdp);
		spin_unlock(&mm->pt_lock);
		preempt_point();
	}
}

/* --- pagemap ----------------------------------------------------------------------------------- */

/* Bit 55, soft-dirty: never set, as on a Linux without CONFIG_MEM_SOFT_DIRTY; smaps has no "sd" either. */
#define PM_EXCLUSIVE (1ul << 56)
#define PM_FILE      (1ul << 61)
#define PM_SWAP      (1ul << 62)
#define PM_PRESENT   (1ul << 63)

/* What leaf `entry` says about frame pfn. One that is migrating shows as on Linux: not there, but not empty. */
static u64 pagemap_frame(u64 entry, pfn_t pfn)
{
	bool device = entry & PTE_DEVICE;
	u64 bits = entry_migrating(entry) ? PM_SWAP : PM_PRESENT | pfn;
	enum page_type type = !device && pfn_valid(pfn) ? pfn_type(pfn) : PAGE_RESERVED;

	if (type == PAGE_ANON || type == PAGE_ANON_HUGE)
		return bits | (pfn_mapcount(pfn) == 1 ? PM_EXCLUSIVE : 0) |
		       (pfn_head(pfn)->flags & PG_SHARED ? PM_FILE : 0);
	return type == PAGE_ZERO || device ? bits : bits | PM_FILE;
}

/* Up to n entries from addr, all in one 2 MiB range and one area. pt_lock held. */
static void pagemap_fill(pmd_t e, vaddr_t addr, u64 n, u64 *out)
{
	for (u64 i = 0; i < n; i++, addr += PAGE_SIZE) {
		pte_t pte;

		out[i] = 0;
		if (pmd_kind(e) == ENTRY_LEAF) {
			out[i] |= pagemap_frame(e.v, pmd_pfn(e) + pte_index(addr));
		} else if (pmd_kind(e) == ENTRY_TABLE) {
			pte = pte_read(pte_ptr(e, addr));
			if (pte_kind(pte) == ENTRY_LEAF)
				out[i] |= pagemap_frame(pte.v, pte_pfn(pte));
		}
	}
}

/*
 * report_pagemap_range - n entries of pagemap from addr into kernel memory.
 *
 *   locks    mm->lock held (read); takes pt_lock per 2 MiB
 */
void report_pagemap_range(struct mm *mm, vaddr_t addr, u64 n, u64 *out)
{
	while (n) {
		vaddr_t end = MIN(pmd_range_end(addr, USER_END), addr + n * PAGE_SIZE);
		struct vma *v = vma_find_from(mm, addr);
		bool inside = v && v->start <= addr;

		if (v)
			end = MIN(end, inside ? v->end : MAX(v->start, addr + PAGE_SIZE));
		u64 count = (end - addr) >> PAGE_SHIFT;
		spin_lock(&mm->pt_lock);
		pagemap_fill(inside ? pgtable_look_pmd(mm, addr) : (pmd_t){0}, addr, count, out);
		spin_unlock(&mm->pt_lock);
		addr = end;
		out += count;
		n -= count;
	}
}

/* report_pagemap_entry - one address. */
u64 report_pagemap_entry(struct mm *mm, vaddr_t addr)
{
	u64 entry = 0;

	if (addr < USER_END)
		report_pagemap_range(mm, addr & PAGE_MASK, 1, &entry);
	return entry;
}

/* --- kpageflags, kpagecount ---------------------------------------------------------------------- */

#define KPF_LRU           (1ul << 5)
#define KPF_ACTIVE        (1ul << 6)
#define KPF_SLAB          (1ul << 7)
#define KPF_BUDDY         (1ul << 10)
#define KPF_MMAP          (1ul << 11)
#define KPF_ANON          (1ul << 12)
#define KPF_SWAPBACKED    (1ul << 14)
#define KPF_COMPOUND_HEAD (1ul << 15)
#define KPF_COMPOUND_TAIL (1ul << 16)
#define KPF_NOPAGE        (1ul << 20)
#define KPF_THP           (1ul << 22)
#define KPF_ZERO_PAGE     (1ul << 24)
#define KPF_PGTABLE       (1ul << 26)
#define KPF_RESERVED      (1ul << 32)

/* As in Linux, being on the LRU is told of a head only, being anonymous and mapped of every tail. */
static u64 anon_flags(pfn_t pfn, const struct page *head)
{
	u64 bits = head->flags & PG_SHARED ? 0 : KPF_ANON;
	bool is_head = pfn_to_page(pfn) == head;

	if (page_total_mapcount(head))
		bits |= KPF_MMAP;
	if (page_is_huge(head))
		bits |= KPF_THP | (is_head ? KPF_COMPOUND_HEAD : KPF_COMPOUND_TAIL);
	if (!is_head)
		return bits;
	if (head->flags & PG_LRU)
		bits |= KPF_LRU;
	if (head->flags & PG_ACTIVE)
		bits |= KPF_ACTIVE;
	return head->flags & PG_LAZYFREE ? bits : bits | KPF_SWAPBACKED;
}

u64 report_page_flags(pfn_t pfn)
{
	const struct page *head;

	if (pfn >= page_max_pfn)
		return KPF_NOPAGE;
	head = pfn_head(pfn);
	switch ((enum page_type)head->type) {
	case PAGE_RESERVED:
	case PAGE_PINNED:
	case PAGE_MODULE:
		return KPF_RESERVED;
	case PAGE_FREE:
		return KPF_BUDDY;
	case PAGE_KERNEL:
		return head->private ? KPF_SLAB : 0;
	case PAGE_TABLE:
		return KPF_PGTABLE;
	case PAGE_ANON:
	case PAGE_ANON_HUGE:
		return anon_flags(pfn, head);
	case PAGE_ZERO:
		if (!pfn_is_huge_zero(pfn))
			return KPF_ZERO_PAGE;
		return KPF_ZERO_PAGE | KPF_THP |
		       (pfn == zero_huge_pfn ? KPF_COMPOUND_HEAD : KPF_COMPOUND_TAIL);
	case NR_PAGE_TYPES:
		break;
	}
	return 0;
}

u64 report_page_count(pfn_t pfn)
{
	enum page_type type = pfn < page_max_pfn ? pfn_type(pfn) : PAGE_RESERVED;

	return type == PAGE_ANON || type == PAGE_ANON_HUGE ? pfn_mapcount(pfn) : 0;
}

/* An array of words, one for each frame. */
static s64 read_words(u64 (*word)(pfn_t pfn), u64 pos, void *buf, usize len)
{
	u64 *out = buf, first = pos / 8, n = len / 8;

	if (pos % 8 || len % 8)
		return -EINVAL;
	if (first >= page_max_pfn)
		return 0;
	n = MIN(n, page_max_pfn - first);
	for (u64 i = 0; i < n; i++)
		out[i] = word(first + i);
	return (s64)(n * 8);
}

static s64 read_page_flags(struct task *task, u64 pos, void *buf, usize len)
{
	return read_words(report_page_flags, pos, buf, len);
}

static s64 read_page_count(struct task *task, u64 pos, void *buf, usize len)
{
	return read_words(report_page_count, pos, buf, len);
}

const struct report_node report_frame_nodes[] = {
	{"/proc/kpagecount", 0400, 0, NULL, read_page_count, NULL},
	{"/proc/kpageflags", 0400, 0, NULL, read_page_flags, NULL},
	{NULL, 0, 0, NULL, NULL, NULL},
};
