/*
 * tlb.h - flushing translations on every CPU that may hold them, and proving it.       floor 1
 *
 * A space counts generations. Whoever clears or weakens an entry bumps the generation, then
 * flushes, both under the lock that guards the entry; a CPU acknowledges a generation only after it
 * has flushed. A frame is given back only after tlb_assert_acked(). There is no lazy TLB: a CPU
 * that leaves a space loads the kernel root, clears its bit and acknowledges everything.
 *
 *     bump (locked add: a full barrier)         another CPU enters: set bit in cpus (locked),
 *     read cpus, ask those                      read gen g, load CR3, acked[me] = g
 *
 * Either the bump comes first and the CPU loads the new entry, or the bit comes first and it is
 * asked.
 */
#ifndef X86_TLB_H
#define X86_TLB_H

#include "config.h"
#include "lib/types.h"

/* Who flushes: each site can be silenced in a debug build, to prove that a test would notice. */
#define TLB_SITES(X)                                                                               \
	X(unmap)    /* munmap, DONTNEED, exit: ptes and pmds */                                    \
	X(protect)  /* mprotect takes rights away */                                               \
	X(cow)      /* a pte or pmd now names another frame */                                     \
	X(fork)     /* the parent's entries lost their write right */                              \
	X(split)    /* one pmd became 512 ptes */                                                  \
	X(collapse) /* 512 ptes became one pmd */                                                  \
	X(migrate)  /* a leaf became a migration entry */                                          \
	X(move)     /* mremap */                                                                   \
	X(free)     /* MADV_FREE cleared the dirty bits; aging cleared accessed bits */            \
	X(kernel)   /* a kernel mapping went away */

enum tlb_site {
#define X(name) TLB_##name,
	TLB_SITES(X)
#undef X
	NR_TLB_SITES
};

struct tlb_space {
	u64 gen;             /* (a) */
	u32 cpus;            /* (a) bit n: CPU n has this root in CR3 */
	u64 acked[MAX_CPUS]; /* (a) the newest generation CPU n has flushed, or TLB_NOTHING */
};

#define TLB_NOTHING (~0ul) /* this CPU is not in the space: it holds no translation of it */

void tlb_init(void);     /* once, on the boot CPU: IPI vector, sync_poll */
void tlb_init_cpu(void); /* every other CPU, on itself: after the kernel's root exists */
void tlb_space_init(struct tlb_space *s);

/* Load `root` for space `next` (NULL: the kernel root) on this CPU. Interrupts are off. */
void tlb_switch(struct tlb_space *next, paddr_t root);
extern paddr_t tlb_kernel_root;           /* the kernel's own pgd; set by pgtable's start-up */
extern struct tlb_space tlb_kernel_space; /* kernel mappings: every online CPU is in it */

/*
 * tlb_flush - after entries of [start, end) were cleared or weakened: bump, flush here and
 * elsewhere, wait.
 *
 *   stride   PAGE_SIZE, or HPAGE_PMD_SIZE when every entry in the range was and is a huge leaf
 *   locks    the lock that guards the entries (pt_lock); interrupts on, or the caller polls
 *   returns  the generation that is now acknowledged by every CPU of the space
 */
u64 tlb_flush(struct tlb_space *s, vaddr_t start, vaddr_t end, u64 stride, enum tlb_site site);

/*
 * Panics ("tlb-gen") unless every CPU in the space acknowledged a generation: before frames go
 * back. gen is what tlb_flush() returned when they were taken away. tlb_assert_flushed(): the
 * newest generation; nobody else may be flushing the space just then.
 */
void tlb_assert_acked(const struct tlb_space *s, u64 gen);
void tlb_assert_flushed(const struct tlb_space *s);

void tlb_handle_ipi(void); /* the vector's handler; also reached through sync_poll */
const char *tlb_site_name(enum tlb_site site);

/* Injection, debug builds, a bit for each site; what is left out: */
extern u32 tlb_skip_local;  /* INVLPG on this CPU */
extern u32 tlb_skip_remote; /* the flush, not the acknowledgement, on other CPUs */
extern u32 tlb_skip_ack;    /* flush and acknowledgement */

#endif
