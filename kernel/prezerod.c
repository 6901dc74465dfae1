/*
 * prezerod.c - huge pages are cleared while a CPU has nothing to do          floor 6, below: thp, buddy, sched
 *
 * Keeps a small pool of huge pages that hold nothing but zeroes, so that a write fault need not clear 2 MiB
 * itself. It only fills the pool: buddy.c keeps it, thp.c takes from it.
 *
 * IDEA      The least urgent thread there is runs exactly when no other wants the CPU: each CPU's idle thread. It
 *           asks here for a piece of work before it halts, one 4 KiB page at a time, and looks for ready threads
 *           after each; so whoever is woken waits 600 instructions at most.
 *
 *             idle thread --> prezerod_piece()   block:  |0|0|0|0|0|.|.|.|.|.|  512 pages, cleared one by one
 *                                   |                               ^ next
 *                                   '--- all cleared: buddy_free_prezeroed() ---> pool ---> thp_fault
 *
 *           One block at a time, for all CPUs together: a CPU that gets other work leaves it where it is, and the
 *           next CPU with nothing to do goes on.
 *
 *           The pool is free memory on a list of its own. When somebody finds no memory, buddy_drain_pcp() makes
 *           ordinary free blocks of it; and it is filled only while a quarter of all memory is free beside it.
 *           The block at work goes the same way: who drains takes it back at once, unless a page of it is being
 *           cleared just now; then the CPU that clears it gives it back when that page is done.
 *
 *             drain:  give_back = true; trylock: free the block       clear:  lock; a page; unlock;
 *                     or it is at work -------------------------------------> give_back? trylock: free the block
 *
 *           Flag and lock are ordered on both sides: either the one sees the lock free or the other sees the flag.
 *
 * INVARIANTS
 *   Z4  what is handed to the pool is zero in every byte: B7 of buddy_check()
 *   Z5  switched off, there is no block at work and the pool is empty: prezerod_update(), and clear_piece()'s
 *       caller looks at the setting under the same lock
 *   Z6  what belongs to nobody else while it is cleared is one block of 2 MiB for all CPUs together, and for 4 KiB's time
 *       after somebody has asked for memory in vain (ktest prezero)
 *
 * LOCKS     work_lock (LOCK_ZERO) around one piece, inside it zone.lock
 * LINUX     has nothing like it: clears in the fault. HawkEye (2019) keeps free lists of zeroed and other pages.
 *           docs/mm/prezero.md
 */
#include "mm/buddy.h"
#include "mm/thp.h"
#include "panic.h"
#include "prezerod.h"
#include "sched.h"
#include "vmstat.h"
#include "x86/cpu.h"

static struct spinlock work_lock = SPINLOCK_INIT(LOCK_ZERO, "prezero");
static struct page *block; /* work_lock: being cleared, ours alone; NULL: none */
static u64 next;           /* work_lock: the first page of it that is not cleared yet */
static bool give_back;     /* somebody found no memory: the block is wanted for that */

/* Is one more wanted, and is there so much free memory that nobody will miss it? */
static bool wants_more(void)
{
	return vmstat_read(VM_nr_thp_prezeroed) < READ_ONCE(thp_settings.prezero_pool) &&
	       zone_free_pages() > zone_managed_pages() / 4;
}

/* Clear one page of the block at hand; take a block first if there is none. False: nothing to do. work_lock held. */
static bool clear_piece(void)
{
	if (!block) {
		next = 0;
		block = wants_more() ? buddy_alloc(HPAGE_PMD_ORDER, MIGRATE_MOVABLE, PAGE_ANON_HUGE,
					       BUDDY_QUIET)
				     : NULL;
		if (!block)
			return false;
	}
	clear_page(page_to_virt(block) + next * PAGE_SIZE);
	if (++next == HPAGE_PMD_NR) {
		buddy_free_prezeroed(block);
		block = NULL;
		vmstat_inc(VM_thp_prezeroed);
	}
	return true;
}

/* The block at work, if there is one, is ordinary free memory again: on the zone's lists, not on this CPU's. */
static void drop_block(void)
{
	WRITE_ONCE(give_back, false);
	if (!block)
		return;
	buddy_free(block);
	block = NULL;
	buddy_drain_cpu();
}

/* If somebody asked for it. The flag was written before this; who fails here leaves it to the holder of the lock. */
static void drop_if_asked(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (READ_ONCE(give_back) && spin_trylock(&work_lock)) {
		drop_block();
		spin_unlock(&work_lock);
	}
}

/* What buddy_drain_prezeroed() calls: memory is wanted. Holds whatever locks it likes, so it waits for none. */
static void take_back(void)
{
	if (!READ_ONCE(block))
		return;
	WRITE_ONCE(give_back, true);
	drop_if_asked();
}

/* What an idle thread runs. False: nothing to do, or another idle CPU is at it. */
static bool prezerod_piece(void)
{
	bool more;

	if (!READ_ONCE(thp_settings.prezero) || !spin_trylock(&work_lock))
		return false;
	more = READ_ONCE(thp_settings.prezero) && clear_piece();
	spin_unlock(&work_lock);
	drop_if_asked();
	return more;
}

/*
 * prezerod_update - thp_settings.prezero or prezero_pool has been set: begin, or give everything back.
 *
 *   locks    none held; takes work_lock, which is held elsewhere for one page at most
 */
void prezerod_update(void)
{
	spin_lock(&work_lock);
	drop_block();
	spin_unlock(&work_lock);
	buddy_drain_prezeroed();
	if (READ_ONCE(thp_settings.prezero))
		sched_wake_idle();
}

/* prezerod_init - from now on idle CPUs ask. */
void prezerod_init(void)
{
	buddy_take_back = take_back;
	sched_idle_work = prezerod_piece;
}
