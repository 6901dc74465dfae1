/*
 * lab.h - what tests of address spaces share: a space, threads in it, an eye in ring 3        self-tests
 *
 * A test may work on a space from outside (the verbs of mmap.h take the space) and put threads into it. A
 * thread of the lab is a task of its own, so it can die like a program; several may share one space.
 */
#ifndef LAB_H
#define LAB_H

#include "ktest.h"
#include "mm/mm.h"
#include "mm/thp.h"
#include "task.h"

#define LAB_LIMIT_NS  (60ul * 1000000000ul) /* far more than the slowest emulator needs */
#define LAB_RACE_NS   1000000000ul          /* for one race, of those that run with all tests */
#define LAB_LONG_NS   (60 * LAB_RACE_NS)    /* for the same on request */
#define LAB_AREA      0x40000000ul /* where tests put their areas: 1 GiB, a multiple of it */
#define LAB_ELSEWHERE 0x80000000ul
#define LAB_ANY_CPU   (~0u)
#define LAB_KILLED    9 /* the status of one that was killed by us */
#define LAB_FAULTED   11

/*
 * lab_begin - settings as after boot, but khugepaged and numad asleep; returns what they were, for lab_end().
 * lab_end - as they were; injection is off. A failure is noted when a checker is not silent.
 */
struct thp_settings lab_begin(void);
void lab_end(struct ktest_ctx *ctx, const struct thp_settings *before);
bool lab_healthy(void);         /* every checker of memory, while the other CPUs stand still */
bool lab_has_memory(u64 bytes); /* free, and twice that, so that nothing runs out */
/*
 * Frames that are neither free, of a kmalloc cache, of the huge zero page nor the kernel's own tables. lab_frames_used() waits until those who
 * are ending have ended; lab_frames_back() until it is that many again, for a while.
 */
u64 lab_frames_used(void);
bool lab_frames_back(u64 used);

/*
 * Rounds of a race: `most` of them, or fewer when the time is up. How many a loaded host makes of a second nobody can
 * know: a wake-up may cost it a microsecond or a slice of its own scheduler. A hundredth of them there always is, unless
 * something hangs: after LAB_LIMIT_NS that is over too, and the test finds too few.
 */
struct lab_race {
	u64 most, least, begin, ns;
};
struct lab_race lab_race_begin(u64 most, u64 ns);
bool lab_race_goes_on(const struct lab_race *race, u64 done);

/* --- spaces ------------------------------------------------------------------------------- */
struct mm *lab_space(void);        /* empty, with one user: us. NULL: no memory */
void lab_space_end(struct mm *mm); /* our use of it ends; the last one empties it */
bool lab_area(struct mm *mm, vaddr_t addr, u64 len); /* readable, writable */
bool lab_fill(struct mm *mm, vaddr_t addr, u64 len); /* written to, page by page (or huge page) */
bool lab_read(struct mm *mm, vaddr_t addr, u64 len); /* read, so that zero pages come */
u64 lab_leaf(struct mm *mm, vaddr_t addr);           /* the leaf over addr; 0: none */
bool lab_is_huge(struct mm *mm, vaddr_t addr);
pfn_t lab_pfn(struct mm *mm, vaddr_t addr); /* of the 4 KiB at addr; 0: none */
/* The word there, by the kernel's own map; NULL. Where khugepaged may be at work: mm->lock held. */
u64 *lab_word(struct mm *mm, vaddr_t addr);

/* --- threads ------------------------------------------------------------------------------ */
struct lab_thread {
	struct task *task;
	void (*fn)(void *arg);
	void *arg;
};
/* fn(arg) in ring 0 with mm loaded: it may touch addresses of ring 3 (uaccess). False: no memory. */
bool lab_start(struct lab_thread *t, struct mm *mm, u32 cpu, void (*fn)(void *), void *arg);
int lab_join(struct lab_thread *t); /* its status: 0, or the signal that killed it */

/* One that does fn(arg) again and again until it is told to stop. */
struct lab_rival {
	struct lab_thread thread;
	void (*fn)(void *arg);
	void *arg;
	bool stop;
	u32 rounds;
};
bool lab_rival_go(struct lab_rival *r, struct mm *mm, u32 cpu, void (*fn)(void *), void *arg);
void lab_rival_end(struct lab_rival *r);

/*
 * The windows of mistakes (seeded.h). lab_await_window - until somebody is in one, and for SEEDED_LIMIT_NS at most; false at
 * once if no mistake is on. lab_await - until fn(ctx), for as long at most.
 */
bool lab_await_window(void);
bool lab_await(bool (*fn)(void *ctx), void *ctx);

/* --- an eye: a program in ring 3 that reads, writes or calls an address each time it is told ------------ */
enum lab_look {
	LAB_READ,
	LAB_WRITE,
	LAB_CALL /* a function at that address, which leaves its result in RDX */
};
struct lab_eye {
	struct lab_thread thread;
	volatile u64 *words; /* its page of words, see lab.c */
	bool lost;           /* it did not answer in time */
};
/* It waits in ring 3 when this returns */
bool lab_eye_open(struct lab_eye *eye, struct mm *mm, u32 cpu);
/* True: done, *value is what was read. False: it was denied, and the program is dead. */
bool lab_eye_look(struct lab_eye *eye, enum lab_look look, vaddr_t addr, u64 *value);
void lab_eye_close(struct lab_eye *eye);
/* The same by the current thread of the lab, through uaccess; it lives on. Not for LAB_CALL. */
bool lab_look_here(enum lab_look look, vaddr_t addr, u64 *value);

#endif
