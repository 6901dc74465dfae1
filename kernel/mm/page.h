/*
 * page.h - one descriptor for each page frame, one record for each 2 MiB block.             floor 2
 *
 * IDENTITIES  what a frame is (its type), and what the fields then mean
 *
 *   type            refcount          mapcount        link             private        index
 *   FREE            0                 0               free list, if    -              -
 *                                                     PG_BUDDY/PG_PCP
 *   KERNEL          1                 0               kmalloc          slab           -
 *   TABLE           1                 see pgtable.h   deposit list     mm (root: mm)  level
 *   ANON            mappings + pins   mappings        LRU              struct anon    page index in
 *                   it
 *   ANON_HUGE head  mappings + pins   its own ptes    LRU              struct anon    index of the
 *   first page
 *             [1]   pmd mappings      its own ptes    deferred queue   pte mappings   leaves of 1 GiB,
 *                                                                                      see gigapage.c
 *             tail  0                 its own ptes    -                -              -
 *   ZERO            see zero.h        not counted     -                -              -
 *   PINNED, MODULE  1                 0               -                -              -
 *
 * TRANSITIONS  FREE -> any: buddy_alloc. any -> FREE: buddy_free / the last page_put.
 *              ANON_HUGE -> 512 x ANON: thp_split_page. Nothing else changes a type.
 *
 * A tail is derived: the block's record says huge, so the head is pfn & ~511. A tail's own type
 * byte stays FREE and nothing is written to the 510 of them when a huge page is allocated or freed;
 * a frame's mapcount is 0 whenever it is free, which is what makes that possible. Frame 0 never
 * takes part: pfn 0 ends lists.
 */
#ifndef MM_PAGE_H
#define MM_PAGE_H

#include "lib/types.h"
#include "panic.h"
#include "x86/layout.h"

enum page_type {
	PAGE_RESERVED, /* no RAM, or the firmware's */
	PAGE_FREE,
	PAGE_KERNEL,
	PAGE_TABLE,
	PAGE_ANON,
	PAGE_ANON_HUGE,
	PAGE_ZERO,
	PAGE_PINNED,
	PAGE_MODULE, /* the initrd */
	NR_PAGE_TYPES
};

#define PG_BUDDY    0x01 /* first page of a free block on a buddy list; order is valid */
#define PG_PCP      0x02 /* free, on a per-CPU list */
#define PG_LRU      0x04 /* on an LRU list */
#define PG_ACTIVE   0x08 /* ... the active one */
#define PG_LAZYFREE 0x10 /* MADV_FREE: may be dropped if still clean */
#define PG_DEFERRED 0x20 /* head: on the deferred-split queue */
#define PG_SHARED                                                                                  \
	0x40 /* (c) a memory object's page, which holds one reference of its own; on no LRU list */

struct anon;

struct page {
	u32 refcount;   /* (a) */
	u32 mapcount;   /* (a) ptes that map this very frame */
	u32 next, prev; /* pfns on the list it is on, under that list's lock; 0 ends */
	u64 private;    /* see IDENTITIES */
	u32 index_low;  /* 36-bit page index: 47 bits of address need 35 */
	u8 index_high;  /* bits 0-3; and 4-7: the node that asked last + 1, 0: none (mm/numa.c) */
	u8 order;       /* of the block this page heads */
	u8 type;        /* enum page_type */
	u8 flags; /* PG_*, under the lock of the list they name; one u16 with type for fast tests */
};
_Static_assert(sizeof(struct page) == 32, "Linux spends 64");

enum migratetype {
	MIGRATE_UNMOVABLE,
	MIGRATE_MOVABLE,
	MIGRATE_RECLAIMABLE,
	MIGRATE_ISOLATE, /* of a pageblock whose free pages nobody is to get */
	NR_MIGRATETYPES
};
#define MIGRATE_PCPTYPES MIGRATE_ISOLATE /* those that can be asked for */

/* One per 2 MiB. Read from outside as an array: 16 GiB in 64 KiB. */
#define PB_HUGE 0x01 /* all 512 frames are one anonymous huge page */
#define PB_PUD  0x02 /* ... and a leaf of 1 GiB maps it, so it is not moved: G2 of gigapage.c */
struct pageblock {
	u8 migratetype;
	u8 flags;      /* PB_*, changed only by who owns the block's head */
	u16 nr_free;   /* zone.lock: free pages on buddy lists (not per-CPU ones) */
	u8 generation; /* bumped when the block changes hands as a whole; for the viewer */
	u8 former;     /* zone.lock: the migratetype it had before it was MIGRATE_ISOLATE */
	u8 khugepaged; /* last enum collapse_result for this block, for the viewer */
	u8 zone;       /* (c) number in zones[]: node and zone */
};
_Static_assert(sizeof(struct pageblock) == 8, "read from outside");

/*
 * HOLES  the array may be read at every pfn below page_max_pfn, but has memory of its own only for
 *        pieces in
 * which there is RAM (memmap_has_ram). All other pieces name one and the same frame of zeroes,
 * read-only: the type 0 is RESERVED, so a hole answers every question rightly and a gap of 1 GiB
 * costs no 8 MiB. Mapped so by pgtable_kernel_init(); page_init() writes only to descriptors of
 * RAM.
 */
extern struct page *page_array;      /* [pfn]; PAGE_ARRAY_BASE in the kernel */
extern struct pageblock *pageblocks; /* [pfn >> 9] */
extern pfn_t page_max_pfn;           /* one past the highest frame with RAM */
extern u64 page_memmap_pages;        /* (c) 4 KiB pages that both arrays take */

static inline struct page *pfn_to_page(pfn_t pfn)
{
	return page_array + pfn;
}
static inline pfn_t page_to_pfn(const struct page *p)
{
	return p - page_array;
}
static inline paddr_t page_to_phys(const struct page *p)
{
	return page_to_pfn(p) << PAGE_SHIFT;
}
static inline void *page_to_virt(const struct page *p)
{
	return phys_to_virt(page_to_phys(p));
}
static inline struct page *virt_to_page(const void *va)
{
	return pfn_to_page(virt_to_phys(va) >> PAGE_SHIFT);
}
static inline struct pageblock *pfn_block(pfn_t pfn)
{
	return pageblocks + (pfn >> HPAGE_PMD_ORDER);
}
static inline bool pfn_valid(pfn_t pfn)
{
	return pfn < page_max_pfn && pfn_to_page(pfn)->type != PAGE_RESERVED;
}

static inline bool pfn_in_huge(pfn_t pfn)
{
	return pfn_block(pfn)->flags & PB_HUGE;
}
static inline struct page *pfn_head(pfn_t pfn)
{
	return pfn_to_page(pfn_in_huge(pfn) ? pfn & ~(HPAGE_PMD_NR - 1) : pfn);
}
static inline struct page *page_head(struct page *p)
{
	return pfn_head(page_to_pfn(p));
}
static inline bool page_is_huge(const struct page *p)
{
	return p->type == PAGE_ANON_HUGE;
}
static inline enum page_type pfn_type(pfn_t pfn)
{
	return pfn_head(pfn)->type;
}
static inline unsigned page_nr(const struct page *head)
{
	return page_is_huge(head) ? HPAGE_PMD_NR : 1;
}

static inline u64 page_index(const struct page *p)
{
	return p->index_low | (u64)(p->index_high & 0xf) << 32;
}
static inline void page_set_index(struct page *p, u64 index)
{
	p->index_low = index;
	p->index_high = index >> 32;
}
/* The node whose CPU touched it last when it was asked, -1: none has been. The page is mapped by an entry whose lock is held. */
static inline int page_last_node(const struct page *head)
{
	return (READ_ONCE(head->index_high) >> 4) - 1;
}
static inline void page_set_last_node(struct page *head, unsigned node)
{
	WRITE_ONCE(head->index_high, (head->index_high & 0xf) | (node + 1) << 4);
}
/* Another frame becomes what `from` was. */
static inline void page_copy_index(struct page *to, const struct page *from)
{
	to->index_low = from->index_low;
	to->index_high = READ_ONCE(from->index_high);
}
static inline struct anon *page_anon(const struct page *p)
{
	return (struct anon *)p->private;
}

/* What page[1] of a huge page counts. */
static inline u32 *page_pmd_mapcount_ptr(struct page *head)
{
	return &head[1].refcount;
}
static inline u32 page_pmd_mapcount(const struct page *head)
{
	return READ_ONCE(head[1].refcount);
}
static inline u64 *page_pte_mappings_ptr(struct page *head)
{
	return &head[1].private;
}
static inline u64 page_pte_mappings(const struct page *head)
{
	return READ_ONCE(head[1].private);
}

static inline u32 page_refcount(const struct page *p)
{
	return READ_ONCE(p->refcount);
}
static inline void page_get(struct page *head)
{
	__atomic_add_fetch(&head->refcount, 1, __ATOMIC_RELAXED);
}
/* For who found the page on a list or by number, under that list's lock: false when it is being freed. */
static inline bool page_try_get(struct page *head)
{
	u32 refs = READ_ONCE(head->refcount);

	while (refs)
		if (__atomic_compare_exchange_n(&head->refcount, &refs, refs + 1, true,
			    __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
	return false;
}
static inline void page_get_many(struct page *head, u32 n)
{
	__atomic_add_fetch(&head->refcount, n, __ATOMIC_RELAXED);
}

/*
 * A reference and a mapping more, for a page of 4 KiB: both counts by one instruction, neither before the other.
 * one_each is PAGE_ONE_EACH; a loop keeps it in a register. Returns the mappings there are now.
 */
#define PAGE_ONE_EACH (1ul << 32 | 1)
_Static_assert(
	offsetof(struct page, refcount) == 0 && offsetof(struct page, mapcount) == 4, "one u64");
static inline u32 page_get_mapped(struct page *small, u64 one_each)
{
	return __atomic_add_fetch((u64 *)small, one_each, __ATOMIC_RELAXED) >> 32;
}

/*
 * Mappings of this one frame: its own ptes, and the pmds over it. Linux: page_mapcount.
 *
 * ORDER  Another space may split its pmd just now: 512 ptes are counted up, then the pmd down
 * (rmap_pmd_to_ptes). Whoever reads the pmds first may count that mapping twice, which costs a copy;
 * reading them last could miss it, and a page that two share would be written in place.
 */
static inline u32 pfn_mapcount(pfn_t pfn)
{
	u32 pmds = pfn_in_huge(pfn) ? page_pmd_mapcount(pfn_head(pfn)) : 0;
	return pmds + READ_ONCE(pfn_to_page(pfn)->mapcount);
}
/* Mappings of the whole page, every pte and every pmd, in the same order. Linux: total_mapcount. */
static inline u64 page_total_mapcount(const struct page *head)
{
	u64 pmds;

	if (!page_is_huge(head))
		return READ_ONCE(head->mapcount);
	pmds = page_pmd_mapcount(head);
	return pmds + page_pte_mappings(head);
}

/* Lists of pages, linked by pfn. The list's lock is its owner's. */
struct page_list {
	u32 first, last; /* pfns, 0: empty */
	u64 count;       /* entries, not 4 KiB pages */
};
static inline void page_list_add(struct page_list *l, struct page *p) /* at the front */
{
	u32 pfn = page_to_pfn(p);
	p->prev = 0;
	p->next = l->first;
	if (l->first)
		pfn_to_page(l->first)->prev = pfn;
	else
		l->last = pfn;
	l->first = pfn;
	l->count++;
}
static inline void page_list_add_tail(struct page_list *l, struct page *p)
{
	u32 pfn = page_to_pfn(p);
	p->next = 0;
	p->prev = l->last;
	if (l->last)
		pfn_to_page(l->last)->next = pfn;
	else
		l->first = pfn;
	l->last = pfn;
	l->count++;
}
static inline void page_list_del(struct page_list *l, struct page *p)
{
	if (p->prev)
		pfn_to_page(p->prev)->next = p->next;
	else
		l->first = p->next;
	if (p->next)
		pfn_to_page(p->next)->prev = p->prev;
	else
		l->last = p->prev;
	l->count--;
}
/* Take out `nr` neighbours at once, `first` nearest to the front. */
static inline void page_list_cut(struct page_list *l, struct page *first, struct page *last, u64 nr)
{
	if (first->prev)
		pfn_to_page(first->prev)->next = last->next;
	else
		l->first = last->next;
	if (last->next)
		pfn_to_page(last->next)->prev = first->prev;
	else
		l->last = first->prev;
	l->count -= nr;
}
#define page_list_for_each(p, l)                                                                   \
	for (p = (l)->first ? pfn_to_page((l)->first) : NULL; p;                                   \
		p = p->next ? pfn_to_page(p->next) : NULL)

/* Fill the array from memmap: KERNEL, MODULE; what the buddy will get is RESERVED like holes yet. */
void page_init(void);
const char *page_type_name(enum page_type t);

/* The ledger's count: frames per type, by reading every descriptor. Exact when no kernel code runs. */
void page_count_types(u64 counts[NR_PAGE_TYPES]);

#endif
