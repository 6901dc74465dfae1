/*
 * futex.pml - no wake-up is lost between a futex's word and its bucket: kernel/futex.c.
 *
 * Two threads wait while the word is 0. One changes it and wakes all who wait for it. A third may interrupt the first waiter, as
 * time-outs and kills do. The bucket's lock is an atomic section guarded by a bit; the word is read with no lock held.
 *
 *   spin -a futex.pml && cc -O2 -DNOCLAIM -o pan pan.c && ./pan   no deadlock; as many wake-ups are reported as were given
 *   ... pan -a -f                                                every waiter ends
 *   spin -DBROKEN_ORDER ...   must fail: the word is read before the waiter stands on the list
 *   spin -DBROKEN_REPORT ...  must fail: who was woken while it read another value says EAGAIN
 *   spin -DBROKEN_LEAVE ...   must fail: who gives up leaves without looking whether it was woken
 */
#define WAITERS 2

mtype = { RUNNING, BLOCKED };

mtype state[WAITERS] = RUNNING;
bool wake_pending[WAITERS], queued[WAITERS], interrupted[WAITERS], ended[WAITERS];
bit word, bucket_lock;
bool waker_ended;
byte given, reported; /* wake-ups */

inline lock() { atomic { bucket_lock == 0 -> bucket_lock = 1 } }
inline unlock() { bucket_lock = 0 }

/* sched_wake: BLOCKED -> RUNNING, or a note for the next sched_block(). */
inline sched_wake(t) {
	atomic {
		if
		:: state[t] == BLOCKED -> state[t] = RUNNING
		:: else -> wake_pending[t] = true
		fi
	}
}

inline sched_block(me) {
	atomic {
		if
		:: wake_pending[me] -> wake_pending[me] = false
		:: else -> state[me] = BLOCKED
		fi
	};
	state[me] == RUNNING
}

/* Off the list if it is still there; woken: somebody else took it off. */
inline leave(me, woken) {
	lock();
	woken = !queued[me];
	queued[me] = false;
	unlock()
}

inline enqueue(me) {
	wake_pending[me] = false;
	lock();
	queued[me] = true;
	unlock()
}

proctype waiter(byte me) {
	bit seen;
	bool woken;
#ifdef BROKEN_ORDER
	seen = word;
	enqueue(me);
#else
	enqueue(me);
	seen = word;
#endif
	if
	:: seen == 0 ->
		wake_pending[me] = false; /* the read may have slept */
		do
		:: queued[me] && !interrupted[me] -> sched_block(me); wake_pending[me] = false
		:: !queued[me] || interrupted[me] -> break
		od
	:: else
	fi;
	leave(me, woken);
#ifdef BROKEN_REPORT
	woken = woken && seen == 0;
#endif
#ifdef BROKEN_LEAVE
	woken = woken && !interrupted[me];
#endif
	if
	:: woken -> reported++
	:: else
	fi;
	ended[me] = true
}

proctype waker() {
	byte i;
	word = 1; /* W1 */
	lock(); /* W2 */
	for (i : 0 .. WAITERS - 1) {
		if
		:: queued[i] -> queued[i] = false; given++; sched_wake(i)
		:: else
		fi
	};
	unlock();
	waker_ended = true
}

proctype interrupter() {
	if
	:: interrupted[0] = true; sched_wake(0)
	:: skip
	fi
}

init {
	atomic {
		run waiter(0);
		run waiter(1);
		run waker();
		run interrupter()
	};
	(ended[0] && ended[1] && waker_ended);
	assert(given == reported)
}

ltl waiters_end { <> (ended[0] && ended[1]) }
