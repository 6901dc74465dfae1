/*
 * model.h - what address spaces should look like to the programs in them, kept in plain arrays.
 *
 * For each page of a small window of addresses: is it mapped, with which rights, and what was written there last.
 * The model knows no huge pages, no tables, no frames. Each verb calls the kernel's, says whether the answer was
 * right, and does to the arrays what a program would see. model_check() then compares everything.
 */
#ifndef MODEL_H
#define MODEL_H

#include "fake_mmu.h"
#include "mm/migrate.h"

#define MODEL_END    (32ul << 20) /* addresses of a space: [0, MODEL_END) */
#define MODEL_BRK    (26ul << 20) /* the heap begins here; mmap fills from MODEL_END down */
#define MODEL_PAGES  (MODEL_END >> PAGE_SHIFT)
#define MODEL_SPACES 5

#define MODEL_TAKEN ((struct mm *)1)

enum model_fork {
	FORK_COPY,
	FORK_SKIP, /* MADV_DONTFORK */
	FORK_WIPE  /* MADV_WIPEONFORK */
};

struct model_page {
	u32 version; /* of its contents; 0: zeroes */
	u8 mapped, prot, fork;
	bool lazy; /* MADV_FREE: it may turn into zeroes, until it is written */
};

struct model_space {
	struct mm *mm;   /* NULL: unused; MODEL_TAKEN: a fork is under way */
	unsigned in_use; /* verbs under way */
	struct model_page page[MODEL_PAGES];
};

extern struct model_space model[MODEL_SPACES];
extern bool
	model_may_fail; /* memory may run out just now: an honest "no memory" is a right answer */
extern u64 model_refusals; /* so often it was the answer */

/* The machine, and no space yet. */
void model_start(u64 bytes);
/* The first space. The others come from model_fork(). */
struct model_space *model_create(void);
/* All spaces gone: nothing may be left of what they used. */
void model_finish(void);

/* The verbs. All return what the kernel's returned. */
s64 model_map(struct model_space *s, vaddr_t addr, u64 len, u32 prot, u32 flags);
int model_unmap(struct model_space *s, vaddr_t addr, u64 len);
int model_protect(struct model_space *s, vaddr_t addr, u64 len, u32 prot);
s64 model_remap(struct model_space *s, vaddr_t old, u64 old_len, u64 len, u32 flags, vaddr_t to);
void model_brk(struct model_space *s, vaddr_t brk);
int model_advise(struct model_space *s, vaddr_t addr, u64 len, int advice);
enum fault_result model_access(struct model_space *s, vaddr_t addr, enum mmu_kind kind);
struct model_space *model_fork(struct model_space *s); /* NULL: no memory */
void model_exit(struct model_space *s);

bool model_is_huge(struct model_space *s, vaddr_t addr); /* mapped by a leaf of 2 MiB */

/* What the counters have grown by since measure(). */
void measure(void);
u64 delta(enum vm_stat stat);

/* Split the huge page behind addr, as by its number: 0, -EBUSY; -ENOENT: there is none. */
int model_split_page(struct model_space *s, vaddr_t addr);

/* The page behind addr moves to another frame, or not. */
enum migrate_result model_migrate(struct model_space *s, vaddr_t addr);
extern unsigned
	model_migrating; /* so many are under way: on CPUs in whose work this one's is nested */

void model_compact(void); /* every zone from end to end */

/* khugepaged: one turn of at most this many pages, one full pass. */
void model_khugepaged_turn(u64 pages);
void model_khugepaged_pass(void);

/* Through cached translations only, as CPUs do that are in the middle of something: read, check, write. */
void model_touch_cached(struct model_space *s);

/* Every page's rights and contents, every checker, the ledger, the TLBs. Fails the test. */
void model_check(void);

#endif
