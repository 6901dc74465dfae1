/*
 * wake.pml - no CPU halts while there is something to do: sched_idle(), sched_wake(), runqueue_kick(), sched_stop_others(),
 * sched_wake_idle() of kernel/sched.c, runqueue.c and sched_stop.c.
 *
 * One CPU, whose only thread waits twice for a condition, runs in ring 3 until nobody wants it to stop, and ends; three others, each on a CPU of its own: one
 * makes the condition true and wakes the thread, one has work for an idle CPU, one wants the CPU to stand still. An IPI
 * is one bit: it stays pending while interrupts are off, ends HLT, and its handler does nothing (what it is about is looked
 * at on the way out). Spin locks are atomic sections guarded by a bit, so what lies between two of them interleaves. in_idle
 * and the work are written by one side and read by the other: a store may be late (x86), unless a fence is behind it.
 *
 *   the CPU halts for good only when its thread has ended, the work is done and nobody wants it to stand: else a deadlock
 *
 *   spin -a wake.pml && cc -O2 -DSAFETY -o pan pan.c && ./pan      no deadlock, no assertion
 *   spin -DBROKEN_HALT ...     must fail: interrupts are let in between the last look and HLT
 *   spin -DBROKEN_CLEAR ...    must fail: need_resched is cleared outside the lock, after the look at the queue
 *   spin -DBROKEN_KICK ...     must fail: the IPI is sent before need_resched is set
 *   spin -DBROKEN_STOP ...     must fail: clearing need_resched forgets who wants the CPU to stand still
 *   spin -DBROKEN_PENDING ...  must fail: sched_block() does not look whether it was woken since it looked
 *   spin -DBROKEN_IDLE ...     must fail: in_idle is set after the question for work
 *   spin -DBROKEN_FENCE ...    must fail: in_idle is set before it, but the store is late
 */
#define ROUNDS 2

mtype = { BLOCKED, READY, RUNNING, ENDED };

mtype state = READY;       /* of the thread */
byte nr_ready = 1;         /* it stands on the CPU's queue */
bool wake_pending, need_resched, ipi, run_lock;
byte condition;            /* so many times it is true */
bool work, in_idle;
bool late;                 /* a store of 1 to in_idle is on its way */
bool stop_word, stopped;
bool waker_ended, worker_ended, stopper_ended;

inline lock() { atomic { !run_lock -> run_lock = true } }
inline unlock() { run_lock = false }

/* Interrupts are on for a moment: what is pending is taken. */
inline irq_window() {
	if
	:: ipi -> ipi = false
	:: true
	fi
}

/* need_resched_clear(): an exchange, and what must not be forgotten. */
inline need_resched_clear() {
	atomic { need_resched = false; late_store() };
#ifndef BROKEN_STOP
	if
	:: stop_word -> need_resched = true
	:: else
	fi
#endif
}

inline late_store() {
	if
	:: late -> late = false; in_idle = true
	:: else
	fi
}

inline stop_point() {
	if
	:: stop_word -> stopped = true; !stop_word
	:: else
	fi
}

/* In ring 3: an interrupt leads to sched_return_to_user(), which is also the way there. Interrupts are off in between. */
inline ring_3() {
	do
	:: need_resched ->
		irq_window();
		stop_point();
		lock();
		need_resched_clear();
		unlock()
	:: else -> /* it runs; only an interrupt brings it back */
		if
		:: ipi -> ipi = false
		:: stopper_ended && !ipi -> break
		fi
	od
}

/* The thread has the CPU: sched_block() with the condition around it, until it sleeps or ends. */
inline run_thread() {
	do
	:: true ->
		atomic { wake_pending = false; late_store() }; /* S1: sched_prepare() */
		if
		:: condition > 0 -> /* S2 */
			atomic { condition--; rounds++ };
			if
			:: rounds == ROUNDS -> ring_3(); state = ENDED; break
			:: else
			fi
		:: else ->
			irq_window();
			stop_point();
			lock(); /* S3 */
			if
#ifndef BROKEN_PENDING
			:: wake_pending -> wake_pending = false; unlock()
#endif
#ifdef BROKEN_PENDING
			:: true ->
#else
			:: else ->
#endif
				state = BLOCKED;
				need_resched_clear();
				unlock();
				break
			fi
		fi
	od
}

/* Is there a piece? Interrupts are on. */
inline idle_work() {
	irq_window();
	if
	:: work -> work = false; again = true
	:: else -> again = false
	fi
}

active proctype cpu() {
	byte rounds;
	bool again;

idle:
	in_idle = false;
	stop_point(); /* interrupts are off */
	if
	:: nr_ready > 0 || need_resched ->
#ifdef BROKEN_CLEAR
		if
		:: nr_ready == 0 -> need_resched_clear(); irq_window(); goto halt
		:: else
		fi;
#endif
		lock();
		need_resched_clear();
		if
		:: nr_ready > 0 ->
			nr_ready--;
			state = RUNNING;
			unlock();
			run_thread()
		:: else -> unlock()
		fi;
		irq_window();
		goto idle
	:: else
	fi;
#ifdef BROKEN_IDLE
	idle_work();
#else
	atomic {
		late = true;
#ifndef BROKEN_FENCE
		late_store()
#endif
	};
	idle_work();
#endif
	if
	:: again -> late = false; goto idle
	:: else
	fi;
	if
	:: nr_ready > 0 || need_resched -> late = false; goto idle
	:: else
	fi;
#ifdef BROKEN_IDLE
	in_idle = true;
#endif
#ifdef BROKEN_HALT
	irq_window();
#endif
halt:
	if /* HLT */
	:: ipi -> atomic { ipi = false; late = false }; goto idle
	:: late -> late_store(); goto halt
	:: state == ENDED && waker_ended && worker_ended && stopper_ended && !ipi && !late ->
		assert(!work && nr_ready == 0 && !stop_word)
	fi
}

/* Set need_resched and send the IPI: runqueue_kick(), stop_wait(), sched_wake_idle(). */
inline kick() {
#ifdef BROKEN_KICK
	ipi = true;
	need_resched = true
#else
	need_resched = true;
	ipi = true
#endif
}

active proctype waker() {
	byte n;

	for (n : 1 .. ROUNDS) {
		condition++; /* W1 */
		lock();      /* W2 */
		if
		:: state == BLOCKED ->
			state = READY;
			unlock(); /* on no queue for a moment: thread_enqueue() takes the lock anew */
			lock();
			nr_ready++;
			kick();
			unlock()
		:: else -> wake_pending = true; unlock()
		fi
	};
	waker_ended = true
}

active proctype worker() {
	work = true; /* and a fence */
	if
	:: in_idle && !need_resched -> kick()
	:: else /* who is at work asks when it becomes idle */
	fi;
	worker_ended = true
}

active proctype stopper() {
	stop_word = true;
	kick();
	stopped;
	stop_word = false;
	stopper_ended = true
}
