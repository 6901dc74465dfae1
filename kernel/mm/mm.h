/*
 * mm.h - an address space, its areas, and what a fault is.                               floor 3
 *
 * LOCKS   (c) constant after creation  (m) mm->lock  (p) pt_lock  (a) atomic  (x) see the comment
 */
#ifndef MM_MM_H
#define MM_MM_H

#include "lib/list.h"
#include "lib/tree.h"
#include "mm/page.h"
#include "sync.h"
#include "x86/paging.h"
#include "x86/tlb.h"

struct anon;
struct mm;
struct object;

#define VM_READ   0x0001
#define VM_WRITE  0x0002
#define VM_EXEC   0x0004
#define VM_ACCESS (VM_READ | VM_WRITE | VM_EXEC)
#define VM_ACCOUNT                                                                                 \
	0x0008 /* private, and writable once: Linux counts it as committed; keeps areas apart */
#define VM_HUGEPAGE   0x0010
#define VM_NOHUGEPAGE 0x0020
#define VM_NORESERVE  0x0040
#define VM_DONTFORK   0x0080
#define VM_WIPEONFORK 0x0100
#define VM_STACK                                                                                   \
	0x0200 /* the initial stack while it is being built: no huge pages (Linux: INCOMPLETE_SETUP) */
#define VM_GROWSDOWN   0x0400
#define VM_HEAP        0x0800 /* brk; for names only */
#define VM_MERGEABLE   0x1000
#define VM_LOCKED      0x2000
#define VM_DONTDUMP    0x4000
#define VM_SHARED      0x8000  /* VMA_OBJECT: writes go to the object, for everybody to see */
#define VM_LOCKONFAULT 0x10000 /* with VM_LOCKED: pages are not brought in beforehand */
#define VM_NOWRITE     0x20000 /* mprotect never gives the right to write */
#define VM_RAND_READ   0x40000 /* advice about files: only keeps areas apart */
#define VM_SEQ_READ    0x80000
#define VM_POLICY      0x7ff00000u /* where its pages come from: mm/mempolicy.h; 0: nothing said */

enum vma_kind {
	VMA_ANON,
	VMA_DEVICE, /* frames that are nobody's memory: registers, the initrd */
	VMA_OBJECT  /* a piece of a memory object: mm/memory.h */
};

struct vma {
	vaddr_t start, end;         /* (m) page-aligned, end exclusive */
	u32 flags;                  /* (m) VM_* */
	enum vma_kind kind;         /* (c) */
	struct mm *mm;              /* (c) */
	u64 pgoff;                  /* (m, anon lock) index of the first page in its anon object */
	struct anon *anon;          /* (p) set once, by rmap_prepare or fork */
	paddr_t device_pa;          /* (c) VMA_DEVICE: physical address behind start */
	struct object *object;      /* (c) VMA_OBJECT: what it maps, with a reference; else NULL */
	bool copied;                /* (p) VMA_OBJECT: it may have pages of its own */
	u32 kin;                    /* (p) with anon: who may be united with it, rmap.h */
	struct tree_node node;      /* (m) mm->vmas, by start */
	u64 gap, max_gap;           /* (m) free bytes below start; the largest of the subtree */
	struct tree_node anon_node; /* anon lock: interval tree by pgoff */
	u64 anon_last_max;          /* anon lock: augmented, largest last index of the subtree */
	char name[16];              /* (c) for smaps: "[heap]", "[stack]", a program, "" */
};

static inline u64 vma_pages(const struct vma *v)
{
	return (v->end - v->start) >> PAGE_SHIFT;
}
static inline u64 vma_index(const struct vma *v, vaddr_t a)
{
	return v->pgoff + ((a - v->start) >> PAGE_SHIFT);
}

/* What balancing knows of a space. */
struct mm_numa {
	vaddr_t next;      /* numad's own: where the next turn takes access away */
	u64 due_ns;        /* numad's own: when that is; 0: never seen yet */
	u32 period_ms;     /* numad's own: between two turns */
	u32 local, remote; /* (p) questions answered since the last turn, by where the page was */
	bool failed;       /* (x) a page could not come: set by faults, cleared by numad */
};

struct mm {
	struct rwsem lock;       /* read for faults, write for changes to vmas */
	struct spinlock pt_lock; /* every entry of every table of this space */
	struct tlb_space tlb;    /* (a) */
	pgd_t *pgd;              /* (c) */
	paddr_t pgd_pa;          /* (c) what CR3 holds */

	u32 lock_flags;         /* (m) mlockall(MCL_FUTURE): VM_LOCKED ... of new areas */
	struct tree_root vmas;  /* (m) by address, augmented with the largest gap */
	u32 nr_vmas;            /* (m) */
	struct vma *vma_cache;  /* (x) last found: stored under (m) read, dropped under (m) write */
	u64 total_vm;           /* (m) pages of all vmas: VmSize */
	u64 locked_vm;          /* (m) pages of those that are VM_LOCKED: VmLck; read without */
	vaddr_t mmap_base;      /* (c) top of the area mmap fills downwards */
	vaddr_t brk_start, brk; /* (m) */
	vaddr_t stack_top;      /* (c) */
	vaddr_t arg_start, arg_end; /* (c) for /proc/PID/cmdline */

	u64 nr_anon;   /* (p) anonymous pages mapped here, 4 KiB units: RssAnon */
	u64 nr_shared; /* (p) pages of memory objects mapped here: RssShmem */
	u64 nr_tables; /* (a) frames of pud, pmd and pte tables, deposited ones included: VmPTE */
	u32 nr_puds;   /* (p) leaves of 1 GiB; mostly none, and then nobody looks for them */
	u64 peak_rss;  /* (p) the most both were before one last fell: VmHWM */

	struct mm
		*locked_next; /* (p) a migration or a split: the next whose tables it has locked */

	u32 users;          /* (a) tasks that run in it; at 0 the space is emptied */
	u32 refs;           /* (a) users count as one; khugepaged and /proc hold others */
	u32 clearing;       /* (a) faults that are clearing memory just now: do they overlap? */
	bool has_huge_zero; /* (p) this space holds one reference on the huge zero page */
	bool forbid_zero;   /* (c) no zero frames here (Linux: mm_forbids_zeropage) */
	bool thp_disable;   /* (m) prctl(PR_SET_THP_DISABLE), inherited by fork */
	struct mm_numa numa;
	bool exiting; /* (m) users fell to 0: khugepaged keeps off */

	/* thp.c: khugepaged's list */
	struct list thp_link; /* LOCK_THP_LIST */
	bool thp_listed;      /* LOCK_THP_LIST, read without */
	struct list mm_link;  /* list of all spaces: ledger, check, ps */
	u32 id;               /* (c) serial number, for messages */
};

/* Pages leave the space; the most there ever were is remembered. pt_lock held. */
static inline void mm_uncount(struct mm *mm, u64 anon, u64 shared)
{
	u64 rss = mm->nr_anon + mm->nr_shared;

	if (rss > mm->peak_rss)
		mm->peak_rss = rss;
	mm->nr_anon -= anon;
	mm->nr_shared -= shared;
}

/* What the door (trap.c, uaccess, populate) asks fault.c to do. Read-only afterwards. */
struct fault {
	struct mm *mm;
	vaddr_t addr;     /* the faulting address, not rounded */
	bool write, exec; /* neither: a read */
	bool user;        /* from ring 3, or on its behalf */
	bool present;     /* the CPU says the entry was there: a right was missing */
};

enum fault_result {
	FAULT_DONE,     /* mapped, or nothing was wrong: run on */
	FAULT_FALLBACK, /* no huge page: the next smaller size is tried; never leaves fault.c */
	FAULT_RETRY,    /* something moved while a lock was dropped: start again */
	FAULT_MIGRATING, /* the page is just being moved: give way, start again; never leaves fault.c */
	FAULT_PAGER,     /* handed to user space: pager_ask(); never comes back as fallback */
	FAULT_BAD_ADDRESS, /* no vma there: SIGSEGV, SEGV_MAPERR */
	FAULT_BAD_ACCESS,  /* the vma does not allow it: SIGSEGV, SEGV_ACCERR */
	FAULT_BUS,       /* the object ends before it, or nobody supplies it: SIGBUS, BUS_ADRERR */
	FAULT_NO_MEMORY, /* the door runs the shrinkers, retries once, then the OOM policy */
};

/* The vma that contains addr, from the tree alone: for checkers. All others ask vma_find(). */
static inline struct vma *mm_lookup(const struct mm *mm, vaddr_t addr)
{
	struct tree_node *node = mm->vmas.root;
	while (node) {
		struct vma *v = tree_entry(node, struct vma, node);
		if (addr < v->start)
			node = node->left;
		else if (addr >= v->end)
			node = node->right;
		else
			return v;
	}
	return NULL;
}

void mm_init(void); /* caches and the list of all spaces */

/*
 * mm_create - an empty address space with the kernel half in place.
 *   returns  NULL when there is no memory; users = refs = 1
 *   Linux    mm_alloc
 */
struct mm *mm_create(void);

void mm_get(struct mm *mm);      /* refs + 1: the struct stays */
void mm_put(struct mm *mm);      /* the last one frees the struct; the space is empty by then */
bool mm_get_user(struct mm *mm); /* users + 1 unless 0 (Linux mmget_not_zero) */
/* users - 1; true: it was the last: the caller empties the space (mmap_exit), then mm_put(). */
bool mm_drop_user(struct mm *mm);

/* Free the root table. The space is empty: no vma, no table below the root (checked). */
void mm_free_root(struct mm *mm);

/* CR3 for the current CPU: NULL is the kernel root. Interrupts off. */
void mm_switch(struct mm *mm);

/* Calls fn on every space with a reference held and no lock; stops when fn returns false. */
void mm_for_each(bool (*fn)(struct mm *mm, void *ctx), void *ctx);

u64 mm_rss(struct mm *mm); /* pages */

#endif
