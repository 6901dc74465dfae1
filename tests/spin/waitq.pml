/*
 * waitq.pml - no wake-up is lost between waitq_prepare() and sched_block(): kernel/sched.c and waitq.c.
 *
 * One sleeper waits, twice, for a condition; one waker makes it true, by way of the wait queue; one
 * killer wakes it without a queue, as time-outs and thread_kill() do. Spin locks are atomic sections
 * guarded by a bit, so everything between two of them interleaves.
 *
 * Left out: several CPUs' queues (a thread between two queues is READY, and a wake-up is then kept in
 * wake_pending, as while it is RUNNING), and spurious returns (they only add looks at the condition).
 *
 *   spin -a waitq.pml && cc -O2 -o pan pan.c && ./pan          no deadlock, no assertion
 *   ... pan -a -f -N sleeper_ends                              the sleeper always ends
 *   spin -DBROKEN -a waitq.pml ...                             must fail: S1 after the look, not before
 */
mtype = { RUNNING, BLOCKED, READY };

mtype state = RUNNING;
bool wake_pending, queued, condition, kill_pending, woke_first;
bit queue_lock, run_lock;
byte rounds;
bool ended;

inline lock(l) { atomic { l == 0 -> l = 1 } }
inline unlock(l) { l = 0 }

/* BLOCKED -> READY, or a note for the next sched_block(). */
inline sched_wake() {
	lock(run_lock);
	if
	:: state == BLOCKED -> state = READY
	:: else -> wake_pending = true
	fi;
	unlock(run_lock)
}

inline waitq_prepare() {
	wake_pending = false; /* an exchange: everything after it is after it */
	lock(queue_lock);
	queued = true;
	unlock(queue_lock)
}

inline sched_block() {
	lock(run_lock);
	if
	:: wake_pending -> wake_pending = false; unlock(run_lock)
	:: else ->
		state = BLOCKED;
		unlock(run_lock); /* by the next thread, when the switch is done */
		state == READY -> state = RUNNING
	fi
}

/* The waker puts the thread on a queue; some CPU takes it: state READY -> RUNNING above. */

active proctype sleeper() {
	do
	:: rounds < 2 ->
#ifndef BROKEN
		waitq_prepare();
#endif
		if
		:: condition -> condition = false; rounds++
		:: kill_pending -> break
		:: else ->
#ifdef BROKEN
			waitq_prepare();
#endif
			sched_block()
		fi
	:: else -> break
	od;
	lock(queue_lock);
	queued = false;
	unlock(queue_lock);
	ended = true
}

/* Makes the condition true again as soon as it was used up; rests when the sleeper has gone. */
active proctype waker() {
	byte n;
	do
	:: n < 2 ->
		(!condition || ended);
		condition = true; /* W1 */
		lock(queue_lock); /* W2 */
		if
		:: queued -> queued = false; sched_wake()
		:: else
		fi;
		unlock(queue_lock);
		n++
	:: else -> break
	od
}

active proctype killer() {
	if
	:: kill_pending = true; sched_wake() /* W1, W2 without a queue */
	:: skip
	fi
}

ltl sleeper_ends { <> ended }
