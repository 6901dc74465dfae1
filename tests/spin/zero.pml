/*
 * zero.pml - the huge zero page lives as long as somebody can read it: kernel/mm/zero.c, thp_mm_huge_zero(), zap.c.
 *
 * Two spaces. In space 0 two threads fault, so that both may ask for the space's one reference; in space 1 one does. Each maps the
 * page, reads it through its CPU's translation, discards it (zap_huge: take, flush, unlock), and when the last thread of a space has
 * ended the space drops its reference (zap_all). The shrinker (zero_huge_shrink) comes twice at any moment. The page has a number each
 * time it is allocated; locks are atomic sections, what is between two of them interleaves.
 *
 *   nobody reads a page that was freed; when all have gone only the shrinker's reference is left, and it can be freed
 *
 *   spin -a zero.pml && cc -O2 -DSAFETY -o pan pan.c && ./pan           no assertion, no deadlock
 *   spin -DBROKEN_PUT ...       must fail: the space's reference goes before the flush of its last entry
 *   spin -DBROKEN_SHRINK ...    must fail: the shrinker looks at the count, and frees without looking again
 *   spin -DBROKEN_INSTALL ...   must fail: who has allocated one does not look whether somebody was faster
 *   spin -DBROKEN_TWICE ...     must fail: two threads of a space keep a reference each
 */
#define THREADS 3
#define PAGES   5
#define space_of(t) ((t) == 2 -> 1 : 0)

byte refs, page, last;     /* huge_refs, zero_huge_pfn (0: none), the newest number */
bool freed[PAGES];
bool has[2];               /* mm->has_huge_zero */
byte pmd[2];               /* the page that the space's one entry names; 0: a hole */
byte cached[THREADS];      /* what the thread's CPU has translated */
byte users[2];
bool zapping[2];           /* mm->lock is held for writing */

/* zero_huge_get(): *p = its number; no memory is not modelled here */
inline zero_get(p) {
	atomic {
		if
		:: refs > 0 -> refs++; p = page
		:: else -> p = 0
		fi
	};
	if
	:: p == 0 ->
		atomic { last++; mine = last; assert(last < PAGES) }; /* allocated and cleared, no lock held */
		atomic { /* huge_install(), under zero_lock */
			if
#ifdef BROKEN_INSTALL
			:: false -> skip
#else
			:: refs > 0 -> refs++; p = page; freed[mine] = true
#endif
			:: else -> page = mine; p = mine; refs = refs + 2
			fi
		};
		mine = 0
	:: else
	fi
}

inline zero_put() {
	atomic { assert(refs > 1); refs-- }
}

/* thp_fault() for reading: mm->lock held for reading */
inline fault(s, p) {
	if
	:: has[s] -> p = page
	:: else ->
		zero_get(p);
		atomic { had = has[s]; has[s] = true }; /* pt_lock */
		if
#ifdef BROKEN_TWICE
		:: had -> skip
#else
		:: had -> zero_put()
#endif
		:: else
		fi;
		had = false
	fi;
	atomic { /* pt_lock: look again, map */
		if
		:: pmd[s] == 0 -> pmd[s] = p
		:: else
		fi;
		p = 0
	}
}

inline flush(s) {
	atomic {
		if
		:: s == 0 -> cached[0] = 0; cached[1] = 0
		:: else -> cached[2] = 0
		fi
	}
}

/* zap_huge() and, if this was the last user, zap_all()'s put; mm->lock held for writing */
inline zap(s, exit) {
	if
	:: pmd[s] != 0 ->
		pmd[s] = 0;
#ifdef BROKEN_PUT
		if
		:: has[s] -> has[s] = false; zero_put()
		:: else
		fi;
#endif
		flush(s)
	:: else
	fi;
	if
	:: exit && has[s] -> has[s] = false; zero_put()
	:: else
	fi
}

proctype thread(byte me) {
	byte p, mine, turns, s = space_of(me);
	bool had;

	do
	:: turns < 2 ->
		turns++;
		if
		:: atomic { !zapping[s] -> users[s] = users[s] + 16 }; fault(s, p); users[s] = users[s] - 16 /* a reader of mm->lock */
		:: atomic { !zapping[s] && users[s] < 16 -> zapping[s] = true }; zap(s, false); zapping[s] = false /* a writer */
		fi
	:: pmd[s] != 0 -> atomic { if :: pmd[s] != 0 && cached[me] == 0 -> cached[me] = pmd[s] :: else fi }
	:: cached[me] != 0 -> atomic { if :: cached[me] != 0 -> assert(!freed[cached[me]]) :: else fi } /* a read by ring 3 */
	:: turns == 2 -> break
	od;
	atomic {
		cached[me] = 0; /* another root is loaded */
		users[s]--;
		had = users[s] == 0
	};
	if
	:: had -> zap(s, true)
	:: else
	fi
}

inline shrink() {
#ifdef BROKEN_SHRINK
	if
	:: refs == 1 -> atomic { freed[page] = true; page = 0; refs = 0 }
	:: else
	fi
#else
	atomic { /* zero_lock, and one exchange: only from 1 */
		if
		:: refs == 1 -> refs = 0; freed[page] = true; page = 0
		:: else
		fi
	}
#endif
}

proctype shrinker() {
	shrink();
	shrink()
}

init {
	byte i;

	atomic {
		users[0] = 2;
		users[1] = 1;
		run thread(0);
		run thread(1);
		run thread(2);
		run shrinker()
	};
	_nr_pr == 1; /* all have ended */
	assert(refs <= 1);
	shrink();
	atomic {
		assert(refs == 0 && page == 0);
		for (i : 1 .. last) {
			assert(freed[i]) /* none was lost */
		}
	}
}
