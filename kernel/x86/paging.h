/*
 * paging.h - one page-table entry at each level: its type, its bits, its three kinds.  floor 1
 *
 *   level   here    SDM (vol. 3A, 4.5)      covers     a leaf here is
 *     4     pgd_t   PML4E                   512 GiB    never
 *     3     pud_t   PDPTE                     1 GiB    a 1 GiB page (PS set)
 *     2     pmd_t   PDE                       2 MiB    a huge page (PS set)
 *     1     pte_t   PTE                       4 KiB    a page
 *
 * Every entry is a HOLE, a TABLE or a LEAF; xxx_kind() is the one place that decides which, and
 * every path (fault, move, protect, discard, query, fork) asks it with a copy read once by
 * xxx_read().
 *
 * A leaf may be PROTNONE: the frame stays, no access is allowed (mprotect(PROT_NONE), NUMA
 * hinting). P is clear then, so the CPU may speculate with the address bits; they are stored
 * inverted, so that an entry that is not present never carries a raw frame number (L1TF).
 *
 * A leaf may be MIGRATING: mm/migrate.c is just copying its frame to another one. It is stored like
 * a PROTNONE leaf, so every path that moves, protects, copies, splits or drops a leaf without access
 * does the right thing with it; it still carries its old rights, A and D, for the leaf that will
 * stand here again. Only a fault must ask for it by name: it waits.
 */
#ifndef X86_PAGING_H
#define X86_PAGING_H

#include "lib/types.h"
#include "seeded.h"

typedef struct {
	u64 v;
} pgd_t;
typedef struct {
	u64 v;
} pud_t;
typedef struct {
	u64 v;
} pmd_t;
typedef struct {
	u64 v;
} pte_t;

#define PTE_P   (1ul << 0)  /* present */
#define PTE_RW  (1ul << 1)  /* writable */
#define PTE_US  (1ul << 2)  /* user */
#define PTE_PWT (1ul << 3)  /* write-through */
#define PTE_PCD (1ul << 4)  /* cache disabled: device registers */
#define PTE_A   (1ul << 5)  /* accessed */
#define PTE_D   (1ul << 6)  /* dirty (leaves only) */
#define PTE_PS  (1ul << 7)  /* page size: a leaf at pmd or pud */
#define PTE_G   (1ul << 8)  /* global (kernel leaves only) */
#define PTE_NX  (1ul << 63) /* no execute */

#define PTE_PROTNONE                                                                               \
	(1ul << 8) /* with P clear: a leaf without access; bit 8 is ignored by the CPU then */
#define PTE_DEVICE                                                                                 \
	(1ul << 9) /* software: a device leaf, no struct page; never split, never copied */
#define PTE_MIGRATING (1ul << 10) /* software, with P clear: see above */
#define PTE_WAS_P     (1ul << 52) /* software, MIGRATING: it was present */
#define PTE_EXCL                                                                                   \
	(1ul << 11) /* software: mapped here alone since it was new, copied or reused; fork ends it */

#define PTE_ADDR   0x000ffffffffff000ul
#define PTE_RIGHTS (PTE_RW | PTE_US | PTE_NX | PTE_PWT | PTE_PCD | PTE_DEVICE)
#define PTE_TABLE                                                                                  \
	(PTE_P | PTE_RW | PTE_US | PTE_A) /* what an entry pointing at a user table carries */

#define PTRS_PER_TABLE 512
#define PMD_SHIFT      21
#define PUD_SHIFT      30
#define PGD_SHIFT      39
#define PMD_SIZE       (1ul << PMD_SHIFT)
#define PUD_SIZE       (1ul << PUD_SHIFT)
#define PGD_SIZE       (1ul << PGD_SHIFT)

static inline unsigned pgd_index(vaddr_t a)
{
	return (a >> PGD_SHIFT) & 511;
}
static inline unsigned pud_index(vaddr_t a)
{
	return (a >> PUD_SHIFT) & 511;
}
static inline unsigned pmd_index(vaddr_t a)
{
	return (a >> PMD_SHIFT) & 511;
}
static inline unsigned pte_index(vaddr_t a)
{
	return (a >> PAGE_SHIFT) & 511;
}

enum entry_kind {
	ENTRY_HOLE,
	ENTRY_TABLE,
	ENTRY_LEAF
};

/* The one accessor that reads an entry, once; decide on the copy. */
static inline pgd_t pgd_read(const pgd_t *p)
{
	return (pgd_t){READ_ONCE(p->v)};
}
static inline pud_t pud_read(const pud_t *p)
{
	return (pud_t){READ_ONCE(p->v)};
}
static inline pmd_t pmd_read(const pmd_t *p)
{
	return (pmd_t){READ_ONCE(p->v)};
}
static inline pte_t pte_read(const pte_t *p)
{
	return (pte_t){READ_ONCE(p->v)};
}

static inline void pgd_write(pgd_t *p, pgd_t e)
{
	WRITE_ONCE(p->v, e.v);
}
static inline void pud_write(pud_t *p, pud_t e)
{
	WRITE_ONCE(p->v, e.v);
}
static inline void pmd_write(pmd_t *p, pmd_t e)
{
	WRITE_ONCE(p->v, e.v);
}
static inline void pte_write(pte_t *p, pte_t e)
{
	WRITE_ONCE(p->v, e.v);
}

/*
 * Take an entry away and return what it was in the same instant: the CPU may set A or D until then,
 * and those bits must not be lost.
 */
static inline pte_t pte_take(pte_t *p)
{
	return (pte_t){__atomic_exchange_n(&p->v, 0, __ATOMIC_ACQ_REL)};
}
static inline pmd_t pmd_take(pmd_t *p)
{
	return (pmd_t){__atomic_exchange_n(&p->v, 0, __ATOMIC_ACQ_REL)};
}

static inline pud_t pud_take(pud_t *p)
{
	return (pud_t){__atomic_exchange_n(&p->v, 0, __ATOMIC_ACQ_REL)};
}

static inline bool entry_protnone(u64 v)
{
	return (v & (PTE_P | PTE_PROTNONE)) == PTE_PROTNONE;
}

static inline bool entry_migrating(u64 v)
{
	return (v & (PTE_P | PTE_MIGRATING)) == PTE_MIGRATING;
}

static inline enum entry_kind pgd_kind(pgd_t e)
{
	return e.v & PTE_P ? ENTRY_TABLE : ENTRY_HOLE;
}
static inline enum entry_kind pud_kind(pud_t e)
{
	if (!(e.v & PTE_P))
		return entry_protnone(e.v) ? ENTRY_LEAF : ENTRY_HOLE;
	return e.v & PTE_PS ? ENTRY_LEAF : ENTRY_TABLE;
}
static inline enum entry_kind pmd_kind(pmd_t e)
{
	if (!(e.v & PTE_P))
		return entry_protnone(e.v) ? ENTRY_LEAF : ENTRY_HOLE;
	return e.v & PTE_PS ? ENTRY_LEAF : ENTRY_TABLE;
}
static inline enum entry_kind pte_kind(pte_t e)
{
	return e.v & (PTE_P | PTE_PROTNONE) ? ENTRY_LEAF : ENTRY_HOLE;
}

static inline paddr_t entry_addr(u64 v)
{
	if (seeded(RAW_FRAME_NUMBER))
		return v & PTE_ADDR;
	return (entry_protnone(v) ? ~v : v) & PTE_ADDR;
}
static inline pfn_t pte_pfn(pte_t e)
{
	return entry_addr(e.v) >> PAGE_SHIFT;
}
static inline pfn_t pmd_pfn(pmd_t e)
{
	return entry_addr(e.v) >> PAGE_SHIFT;
}
static inline pfn_t pud_pfn(pud_t e)
{
	return entry_addr(e.v) >> PAGE_SHIFT;
}
static inline pfn_t pgd_pfn(pgd_t e)
{
	return entry_addr(e.v) >> PAGE_SHIFT;
}

static inline bool pte_present(pte_t e)
{
	return e.v & PTE_P;
}
static inline bool pmd_present(pmd_t e)
{
	return e.v & PTE_P;
}
static inline bool pte_protnone(pte_t e)
{
	return entry_protnone(e.v);
}
static inline bool pmd_protnone(pmd_t e)
{
	return entry_protnone(e.v);
}
static inline bool pte_writable(pte_t e)
{
	return e.v & PTE_RW;
}
static inline bool pmd_writable(pmd_t e)
{
	return e.v & PTE_RW;
}
static inline bool pte_dirty(pte_t e)
{
	return e.v & PTE_D;
}
static inline bool pmd_dirty(pmd_t e)
{
	return e.v & PTE_D;
}
static inline bool pte_accessed(pte_t e)
{
	return e.v & PTE_A;
}
static inline bool pmd_accessed(pmd_t e)
{
	return e.v & PTE_A;
}

/*
 * A leaf for a frame with the given rights (PTE_RW/US/NX/...). rights without PTE_P means PROTNONE:
 * see prot_to_rights(). A and D start as given by the caller in rights.
 */
static inline u64 entry_make(pfn_t pfn, u64 rights)
{
	u64 addr = pfn << PAGE_SHIFT;

	if (seeded(RAW_FRAME_NUMBER) && !(rights & PTE_P))
		return addr | rights | PTE_PROTNONE;
	return rights & PTE_P ? addr | rights : ((~addr & PTE_ADDR) | rights | PTE_PROTNONE);
}
static inline pte_t pte_make(pfn_t pfn, u64 rights)
{
	return (pte_t){entry_make(pfn, rights)};
}
static inline pmd_t pmd_make_huge(pfn_t pfn, u64 rights)
{
	return (pmd_t){entry_make(pfn, rights | PTE_PS)};
}
static inline pud_t pud_make_huge(pfn_t pfn, u64 rights)
{
	return (pud_t){entry_make(pfn, rights | PTE_PS)};
}
/* Of a leaf of 1 GiB, the leaf of 2 MiB over addr that it stands for. Without access, addresses are inverted. */
static inline pmd_t pud_part(pud_t leaf, vaddr_t addr)
{
	u64 into = (u64)pmd_index(addr) << PMD_SHIFT;

	return (pmd_t){entry_protnone(leaf.v) ? leaf.v - into : leaf.v + into};
}
static inline pmd_t pmd_make_table(pfn_t pfn)
{
	return (pmd_t){(pfn << PAGE_SHIFT) | PTE_TABLE};
}
static inline pud_t pud_make_table(pfn_t pfn)
{
	return (pud_t){(pfn << PAGE_SHIFT) | PTE_TABLE};
}
static inline pgd_t pgd_make_table(pfn_t pfn)
{
	return (pgd_t){(pfn << PAGE_SHIFT) | PTE_TABLE};
}

/* What stands in place of leaf v while its frame is copied elsewhere. Linux: make_migration_entry */
static inline u64 entry_to_migrating(u64 v)
{
	u64 bits = (v & ~(PTE_ADDR | PTE_P)) | (v & PTE_P ? PTE_WAS_P : 0);
	return (~entry_addr(v) & PTE_ADDR) | bits | PTE_PROTNONE | PTE_MIGRATING;
}
/* The leaf that v stands for, over the frame pfn. Linux: remove_migration_pte */
static inline u64 entry_from_migrating(u64 v, pfn_t pfn)
{
	u64 bits = v & ~(PTE_ADDR | PTE_PROTNONE | PTE_MIGRATING | PTE_WAS_P);
	return entry_make(pfn, bits | (v & PTE_WAS_P ? PTE_P : 0));
}

/* The same leaf with other rights; A, D, PS, EXCL and how a device is cached are kept; MIGRATING, too. */
static inline u64 entry_modify(u64 v, u64 rights)
{
	u64 keep = v & (PTE_A | PTE_D | PTE_PS | PTE_DEVICE | PTE_PCD | PTE_PWT | PTE_EXCL);
	u64 e = entry_make(entry_addr(v) >> PAGE_SHIFT, (rights & ~(PTE_A | PTE_D)) | keep);
	return unlikely(entry_migrating(v)) ? entry_to_migrating(e) : e;
}
static inline pte_t pte_modify(pte_t e, u64 rights)
{
	return (pte_t){entry_modify(e.v, rights)};
}
static inline pmd_t pmd_modify(pmd_t e, u64 rights)
{
	return (pmd_t){entry_modify(e.v, rights)};
}

/*
 * Changes to a leaf that the CPU may be using just now: locked, for the same reason as xxx_take().
 * Nothing is written when nothing changes.
 */
static inline void entry_touch(u64 *p, bool write) /* A; of a write, D */
{
	u64 bits = PTE_A | (write ? PTE_D : 0);

	if (bits & ~READ_ONCE(*p))
		__atomic_fetch_or(p, bits, __ATOMIC_RELAXED);
}
static inline u64 entry_take_write(u64 *p) /* others map it too; returns the leaf as it is then */
{
	return __atomic_and_fetch(p, ~(PTE_RW | PTE_EXCL), __ATOMIC_ACQ_REL);
}
/* The same in one instruction, for who reads it afterwards. */
static inline void entry_drop_write(u64 *p)
{
	(void)__atomic_and_fetch(p, ~(PTE_RW | PTE_EXCL), __ATOMIC_ACQ_REL);
}

static inline pte_t pte_wrprotect(pte_t e)
{
	return (pte_t){e.v & ~PTE_RW};
}
static inline pmd_t pmd_wrprotect(pmd_t e)
{
	return (pmd_t){e.v & ~PTE_RW};
}

#endif
