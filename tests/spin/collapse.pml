/*
 * collapse.pml - 512 pages become one while others use, fault in, unmap and withdraw them: kernel/mm/collapse.c.
 *
 * One range of 2 MiB, of which two pages are looked at. Two threads of ring 3 write and read through what their CPUs have
 * translated, or by a fault (fault.c); one thread collapses twice (collapse_range); one unmaps the range and maps it again
 * (zap_range); one comes from the side of a page, without mm->lock, and takes its entry away (memory.c unmap_ptes, reclaim):
 * the anon lock is what keeps the tables for him. A page's contents are the number of the last write.
 *
 *   no write is lost, no thread reaches a frame that is free, no frame is lost: C1 and C2 of collapse.c
 *
 *   spin -a collapse.pml && cc -O2 -DSAFETY -o pan pan.c && ./pan      no assertion, no deadlock
 *   spin -DBROKEN_FLUSH ...    must fail: the copy begins before the flush
 *   spin -DBROKEN_READ ...     must fail: mm->lock is held for reading: a fault is still in the table that is taken out
 *   spin -DBROKEN_LOOK ...     must fail: a fault does not look at the entry again under pt_lock
 *   spin -DBROKEN_ANON ...     must fail: no anon lock, no second look: a walker from the page's side is still in the table
 */
#define PAGES  2
#define FRAMES 5 /* 0: none; 1 ... 4: small ones */
#define HUGE   9 /* the huge frame: its pages are huge[] */

mtype = { HOLE, TABLE, LEAF };
mtype pmd = TABLE;
byte pte[PAGES];              /* the one table; small frames, 0: a hole */
bool table_in = true;         /* the table hangs in the tree; else it is the deposit, or somebody's */
bool used[FRAMES];
byte small[FRAMES];           /* contents */
byte huge[PAGES];
bool huge_used;
byte cached[4];               /* [thread * PAGES + page]: 0, a small frame, or HUGE */
byte latest[PAGES];           /* what the page must hold; 0: zeroes */
bool pt_lock, anon_lock, writer;
byte readers, ended;

#define CACHED(t, p) cached[(t) * PAGES + (p)]

inline lock(l) { atomic { !l -> l = true } }
inline write_lock() { atomic { !writer && readers == 0 -> writer = true } }
inline read_lock() { atomic { !writer -> readers++ } }

/* Any frame that is free; there are enough. */
inline alloc(f) {
	atomic {
		if
		:: !used[1] -> f = 1
		:: used[1] && !used[2] -> f = 2
		:: used[1] && used[2] && !used[3] -> f = 3
		:: used[1] && used[2] && used[3] -> f = 4; assert(!used[4])
		fi;
		used[f] = true;
		small[f] = 0
	}
}

inline free(f) {
	atomic {
		assert(used[f]);
		for (i : 0 .. 3) {
			assert(cached[i] != f) /* flush before release */
		};
		used[f] = false;
		f = 0;
		i = 0
	}
}

inline flush_all() { d_step { cached[0] = 0; cached[1] = 0; cached[2] = 0; cached[3] = 0 } }

/* What a CPU does by itself: it fills its cache from the tables, or uses what it has. */
inline use(me, p) {
	atomic {
		if
		:: CACHED(me, p) == 0 && pmd == TABLE && pte[p] -> CACHED(me, p) = pte[p]
		:: CACHED(me, p) == 0 && pmd == LEAF -> CACHED(me, p) = HUGE
		:: else
		fi;
		if
		:: CACHED(me, p) == HUGE -> assert(huge_used && huge[p] == latest[p]);
			if
			:: latest[p] < 2 -> latest[p]++; huge[p] = latest[p]
			:: true
			fi
		:: CACHED(me, p) != 0 && CACHED(me, p) != HUGE ->
			assert(used[CACHED(me, p)] && small[CACHED(me, p)] == latest[p]);
			if
			:: latest[p] < 2 -> latest[p]++; small[CACHED(me, p)] = latest[p]
			:: true
			fi
		:: else
		fi
	}
}

/* fault_pte(), pte_fresh(), pte_install(): the table was seen under mm->lock (read); the page comes without pt_lock. */
inline fault(p) {
	read_lock();
	if
	:: pmd == TABLE && pte[p] == 0 ->
		alloc(f);
		lock(pt_lock);
		atomic {
			if
#ifdef BROKEN_LOOK
			:: true -> pte[p] = f; f = 0
#else
			:: pte[p] == 0 -> assert(table_in); pte[p] = f; f = 0
			:: else
#endif
			fi;
			pt_lock = false
		};
		if
		:: f != 0 -> free(f) /* somebody was faster */
		:: else
		fi
	:: else /* there, or huge, or (with a hole above) not looked at here */
	fi;
	atomic { readers--; }
}

proctype thread(byte me) {
	byte turns, f, i;

	do
	:: turns < 2 -> turns++;
		if
		:: true -> fault(0)
		:: true -> fault(1)
		:: true -> use(me, 0)
		:: true -> use(me, 1)
		fi
	:: turns == 2 -> break
	od;
	ended++
}

/* collapse_range(): once; the block is there already */
inline collapse() {
#ifdef BROKEN_READ
	read_lock();
#else
	write_lock();
#endif
	if
	:: pmd == TABLE && (pte[0] || pte[1]) ->
		huge_used = true;
#ifndef BROKEN_ANON
		lock(anon_lock);
#endif
		lock(pt_lock);
		pmd = HOLE;
		table_in = false;
#ifndef BROKEN_FLUSH
		flush_all();
#endif
		pt_lock = false;
#ifndef BROKEN_ANON
		anon_lock = false;
#endif
		/* C1: nobody can write now */
		huge[0] = (pte[0] -> small[pte[0]] : 0);
		huge[1] = (pte[1] -> small[pte[1]] : 0);
#ifdef BROKEN_FLUSH
		flush_all();
#endif
		lock(pt_lock);
		atomic {
			assert(pmd == HOLE);
			old[0] = pte[0];
			old[1] = pte[1];
			pte[0] = 0;
			pte[1] = 0;
			pmd = LEAF
		};
		pt_lock = false;
		if
		:: old[0] != 0 -> free(old[0])
		:: else
		fi;
		if
		:: old[1] != 0 -> free(old[1])
		:: else
		fi
	:: else
	fi;
#ifdef BROKEN_READ
	atomic { readers-- }
#else
	writer = false
#endif
}

proctype khugepaged() {
	byte old[PAGES], i;

	collapse();
	ended++
}

/* zap_range() of the whole range, once; afterwards its contents are zeroes again. */
proctype munmap() {
	byte old[PAGES], i;

	write_lock();
	atomic { /* pt_lock */
	!pt_lock;
	if
	:: pmd == LEAF -> pmd = TABLE; table_in = true; flush_all(); huge_used = false /* the deposit hangs in again */
	:: pmd == TABLE -> old[0] = pte[0]; pte[0] = 0; old[1] = pte[1]; pte[1] = 0; flush_all()
	:: else
	fi;
	latest[0] = 0;
	latest[1] = 0
	};
	if
	:: old[0] != 0 -> free(old[0])
	:: else
	fi;
	if
	:: old[1] != 0 -> free(old[1])
	:: else
	fi;
	writer = false;
	ended++
}

/* From the page's side: its entry goes, and with it what it held. Under the anon lock the table stays where it is. */
proctype withdraw() {
	byte f, i;

	lock(anon_lock);
	if
	:: pmd == TABLE ->
		atomic { /* pt_lock */
		!pt_lock;
		if
#ifndef BROKEN_ANON
		:: pmd == TABLE && pte[1] != 0 ->
#else
		:: pte[1] != 0 -> /* the table was found before the lock, and nothing keeps it there */
#endif
			assert(table_in);
			f = pte[1];
			pte[1] = 0;
			flush_all();
			latest[1] = 0
		:: else
		fi
		};
		if
		:: f != 0 -> free(f)
		:: else
		fi
	:: else
	fi;
	anon_lock = false;
	ended++
}

init {
	atomic {
		run thread(0);
		run thread(1);
		run khugepaged();
		run munmap();
		run withdraw()
	};
	ended == 5;
	atomic { /* the small frames that are left are those of the table */
		assert(used[1] + used[2] + used[3] + used[4] == (pte[0] != 0) + (pte[1] != 0));
		assert(huge_used == (pmd == LEAF))
	}
}
