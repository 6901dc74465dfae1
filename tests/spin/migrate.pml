/*
 * migrate.pml - a page moves while its users fault, fork, unmap and move their mapping: kernel/mm/migrate.c.
 *
 * One page, frame A, is mapped by space 0; its family's tree has three areas: space 0's first (area 0), its child's
 * (area 1, behind the parent's), and the place in space 0 that mremap would move it to (area 2, in front of all). A migrator
 * moves the page to frame B. Beside it run, as -DFORK -DMOVE -DUNMAP -DPIN -DSPLIT say: fork; mremap; munmap; somebody who pins the page
 * for a moment; a split of the leaf into two pieces (entry 3 is the second half, in area 0's tables). Always there is a CPU of space 0
 * that writes through its TLB and faults when it must.
 *
 * An entry is NONE, OLD (present, A), MIG (migration entry over A) or NEW (present, B). `maps` counts entries over A, MIG
 * included, `refs` those and the migrator's own; `maps_new` entries over B. A frame is freed when its references are gone; whoever
 * writes into a freed frame, or loses a write, fails.
 *
 *   spin -DFORK -DMOVE -DUNMAP -DPIN -a migrate.pml && cc -O2 -DSAFETY -o pan pan.c && ./pan    no assertion, no deadlock
 *   spin -DBROKEN_FLUSH ...    must fail: the copy begins before the flush; a write through the old translation is lost
 *   spin -DBROKEN_FREE ...     must fail: A is not flushed at all, and written to after it was given back
 *   spin -DBROKEN_COUNT -DPIN  must fail: a page is moved that somebody has pinned
 *   spin -DBROKEN_ONCE -DMOVE  must fail: the end walks once; mremap carries an entry past the walk
 *   spin -DBROKEN_ONCE -DBROKEN_ORDER -DFORK    must fail: the same, and fork's copy stands in front of its original
 *   spin -DBROKEN_ONCE -DFORK  holds: for fork alone the order of the tree is enough
 *   spin -DBROKEN_SPLIT -DSPLIT    must fail: the split makes present leaves of a migration entry
 *   spin -DBROKEN_LOCKED       must fail: a fault keeps mm->lock while it waits, and the migrator wants that lock
 */
#define ENTRIES 4

mtype = { NONE, OLD, MIG, NEW };

mtype entry[ENTRIES] = NONE;
bool in_tree[3];
byte pt_lock[2]; /* of space 0 (areas 0 and 2) and of the child (area 1) */
bit anon_lock;
byte readers;    /* mm->lock of space 0 */
bit writer;

byte maps, refs, maps_new;
bool a_freed, copied;
mtype tlb = NONE;  /* what the CPU of space 0 has cached of its page: NONE, OLD or NEW; always writable */
byte content_a, content_b, written; /* the last value written by the program, and what the frames hold */
bool migrator_ended, owner_gone;

#define space_of(a) (a == 1 -> 1 : 0)

inline lock(l) { atomic { l == 0 -> l = 1 } }
inline unlock(l) { l = 0 }
inline write_lock() { atomic { readers == 0 && !writer -> writer = 1 } }
inline write_unlock() { writer = 0 }
inline read_lock() { atomic { !writer -> readers++ } }
inline read_unlock() { readers-- }

/* An entry was taken away: its count, and the reference, after the flush. */
inline drop(was) {
	atomic {
		if
		:: was == OLD || was == MIG -> maps--; refs--; a_freed = (refs == 0)
		:: was == NEW -> maps_new--
		:: else
		fi
	}
}

/* ---- the migrator ---- */

inline end_entry(e) {
	if
	:: entry[e] == MIG ->
		entry[e] = NEW;
		maps_new++;
		maps--;
		refs--
	:: else
	fi
}

/* Area a, at the end: a migration entry becomes the new leaf. anon_lock held. */
inline end_area(a) {
	if
	:: in_tree[a] ->
		lock(pt_lock[space_of(a)]);
		d_step {
			end_entry(a);
			if
			:: a == 0 -> end_entry(3)
			:: else
			fi
		};
		unlock(pt_lock[space_of(a)])
	:: else
	fi
}

/* The walk: area 2 first, then the parent's, then the child's; with the mistake the child's before its parent's. */
inline end_walk() {
	lock(anon_lock);
	end_area(2);
#ifdef BROKEN_ORDER
	end_area(1);
	end_area(0);
#else
	end_area(0);
	end_area(1);
#endif
	unlock(anon_lock)
}

proctype migrator() {
	bool go;

	/* Isolated: off the LRU, with a reference. */
	atomic {
		if
		:: maps > 0 -> refs++; go = true
		:: else -> go = false
		fi
	};
	if
	:: !go -> goto out
	:: else
	fi;
	lock(anon_lock);
	lock(pt_lock[0]);
	lock(pt_lock[1]);
	if
#ifdef BROKEN_COUNT
	:: maps > 0 -> go = true
#else
	:: maps > 0 && refs == maps + 1 -> go = true
#endif
	:: else -> go = false
	fi;
	if
	:: go ->
		d_step {
			if
			:: entry[0] == OLD -> entry[0] = MIG
			:: else
			fi;
			if
			:: entry[1] == OLD -> entry[1] = MIG
			:: else
			fi;
			if
			:: entry[2] == OLD -> entry[2] = MIG
			:: else
			fi;
			if
			:: entry[3] == OLD -> entry[3] = MIG
			:: else
			fi
		};
#if !defined(BROKEN_FLUSH) && !defined(BROKEN_FREE)
		tlb = NONE;
#endif
		skip
	:: else
	fi;
	unlock(pt_lock[1]);
	unlock(pt_lock[0]);
	unlock(anon_lock);
	if
	:: !go -> atomic { refs--; a_freed = (refs == 0) }; goto out
	:: else
	fi;
#ifdef BROKEN_LOCKED
	write_lock();
#endif
	content_b = content_a;
	copied = true;
#ifdef BROKEN_FLUSH
	tlb = (tlb == OLD -> NONE : tlb);
#endif
	end_walk();
#ifndef BROKEN_ONCE
	do
	:: maps > 0 -> end_walk()
	:: else -> break
	od;
#endif
#ifdef BROKEN_LOCKED
	write_unlock();
#endif
	assert(maps == 0); /* M4 */
	atomic { refs--; a_freed = (refs == 0) };
out:
	migrator_ended = true
}

/* ---- the CPU of space 0: three writes by the program, each through the TLB or by a walk ---- */

/* The entry of space 0, wherever mremap has put it. */
#define MINE (entry[0] != NONE -> entry[0] : entry[2])

proctype program() {
	byte n = 0;

	do
	:: n < 2 && !owner_gone ->
		atomic {
			if
			:: tlb == OLD -> assert(!a_freed && !copied); content_a = n + 1; written = n + 1; n++
			:: tlb == NEW -> content_b = n + 1; written = n + 1; n++
			:: tlb == NONE && MINE == OLD -> tlb = OLD
			:: tlb == NONE && MINE == NEW -> tlb = NEW
			:: tlb == NONE && (MINE == NONE || MINE == MIG) -> goto fault
			fi
		};
		goto next;
fault:
		/* fault_handle(): the lock, a look, and the wait for a migration entry without the lock. */
		read_lock();
#ifdef BROKEN_LOCKED
		MINE != MIG;
		read_unlock();
#else
		read_unlock();
		MINE != MIG; /* gives way until it is gone */
#endif
		if
		:: MINE == NONE && owner_gone -> break
		:: else
		fi;
next:
		skip
	:: else -> break
	od
}

/* ---- who changes mappings ---- */

/* fork: the child's area joins the family, then the entry is copied and counted. Both read-only: the program's write would copy
 * the page, which is another story; so fork here is of a page that space 0 goes on owning, and the child only reads. */
proctype forker() {
	write_lock();
	lock(anon_lock);
	in_tree[1] = true;
	unlock(anon_lock);
	lock(pt_lock[0]);
	lock(pt_lock[1]);
	d_step {
		if
		:: entry[0] == OLD || entry[0] == MIG -> entry[1] = entry[0]; maps++; refs++
		:: entry[0] == NEW -> entry[1] = NEW; maps_new++
		:: else
		fi
	};
	unlock(pt_lock[1]);
	unlock(pt_lock[0]);
	write_unlock()
}

/* mremap: the entry moves from area 0 to area 2, which joined the family before. */
proctype mover() {
	write_lock();
	lock(anon_lock);
	in_tree[2] = true;
	unlock(anon_lock);
	lock(pt_lock[0]);
	d_step {
		if
		:: entry[0] != NONE -> entry[2] = entry[0]; entry[0] = NONE
		:: else
		fi
	};
	tlb = NONE;
	unlock(pt_lock[0]);
	write_unlock()
}

/* A split: the leaf becomes two, each counted; whatever it was, both are. */
proctype splitter() {
	lock(pt_lock[0]);
	d_step {
		if
		:: entry[0] == OLD || entry[0] == MIG ->
#ifdef BROKEN_SPLIT
			entry[0] = OLD;
#endif
			entry[3] = entry[0];
			maps++;
			refs++
		:: entry[0] == NEW -> entry[3] = NEW; maps_new++
		:: else
		fi
	};
	tlb = NONE;
	unlock(pt_lock[0])
}

/* munmap in space 0: take, flush, drop. */
proctype unmapper() {
	mtype was = NONE, second = NONE;

	write_lock();
	lock(pt_lock[0]);
	d_step {
		if
		:: entry[0] != NONE -> was = entry[0]; entry[0] = NONE
		:: entry[2] != NONE -> was = entry[2]; entry[2] = NONE
		:: else
		fi
	};
	second = entry[3];
	entry[3] = NONE;
	owner_gone = true;
	tlb = NONE;
	unlock(pt_lock[0]);
	drop(was);
	drop(second);
	write_unlock()
}

/* Somebody with a reference of his own, taken through the entry under its lock, reads the page for as long as he likes. */
proctype pinner() {
	bool got = false;
	byte seen;

	lock(pt_lock[0]);
	atomic {
		if
		:: entry[0] == OLD -> refs++; got = true
		:: else
		fi
	};
	unlock(pt_lock[0]);
	if
	:: got ->
		/* He may write as well: a message's buffer. What he writes must be what the program reads. */
		atomic {
			assert(!a_freed);
			assert(entry[0] != NEW && entry[2] != NEW);
			refs--;
			a_freed = (refs == 0)
		}
	:: else
	fi
}

init {
	atomic {
		entry[0] = OLD;
		in_tree[0] = true;
		maps = 1;
		refs = 1;
		run migrator();
		run program();
#ifdef FORK
		run forker();
#endif
#ifdef MOVE
		run mover();
#endif
#ifdef UNMAP
		run unmapper();
#endif
#ifdef SPLIT
		run splitter();
#endif
#ifdef PIN
		run pinner()
#endif
	}
	_nr_pr == 1;
	assert(migrator_ended);
	assert(entry[0] != MIG && entry[1] != MIG && entry[2] != MIG && entry[3] != MIG);
	assert(maps == (entry[0] == OLD) + (entry[1] == OLD) + (entry[2] == OLD) + (entry[3] == OLD));
	assert(maps_new == (entry[0] == NEW) + (entry[1] == NEW) + (entry[2] == NEW) + (entry[3] == NEW));
	assert(refs == maps && a_freed == (refs == 0));
	/* No write is lost. */
	assert(MINE != OLD || content_a == written);
	assert(MINE != NEW || content_b == written)
}
