/*
 * rwsem.pml - kernel/mutex.c: readers or one writer, and nobody sleeps for ever.
 *
 * READERS readers and WRITERS writers take the lock once each. state and waiting are changed by locked
 * instructions (one step each); the queue is a channel under queue_lock. Sleeping is waiting for
 * `granted`: waitq.pml shows that the wake-up is not lost.
 *
 *   spin -a rwsem.pml && cc -O2 -DSAFETY -o pan pan.c && ./pan    no deadlock, no assertion
 *   spin -DBROKEN -a rwsem.pml ...                                must fail: A1 left out, so B2 sees nobody
 */
#ifndef READERS
#define READERS 2
#endif
#ifndef WRITERS
#define WRITERS 2
#endif
#define THREADS (READERS + WRITERS)
#define WRITER  100

byte state;       /* readers, or WRITER */
byte waiting;
bit queue_lock;
chan queue = [THREADS] of { byte, bool }; /* who, and is it a writer */
bool granted[THREADS];
byte inside_readers, inside_writers;

inline lock(l) { atomic { l == 0 -> l = 1 } }
inline unlock(l) { l = 0 }

/* One compare-exchange. */
inline take_read(ok) {
	atomic {
		if
		:: state != WRITER -> state++; ok = true
		:: else -> ok = false
		fi
	}
}

inline take_write(ok) {
	atomic {
		if
		:: state == 0 -> state = WRITER; ok = true
		:: else -> ok = false
		fi
	}
}

/* A3 and B2, queue_lock held: to the head of the queue, and on while that works. */
inline grant() {
	do
	:: nempty(queue) ->
		queue ? <who, writes>;
		if
		:: writes -> take_write(ok)
		:: else -> take_read(ok)
		fi;
		if
		:: ok ->
			queue ? who, writes;
#ifndef BROKEN
			waiting--;
#endif
			granted[who] = true
		:: else -> break
		fi
	:: empty(queue) -> break
	od
}

inline slow(me, as_writer) {
	lock(queue_lock);
#ifndef BROKEN
	waiting++; /* A1 */
#endif
	queue ! me, as_writer; /* A2 */
	grant();
	unlock(queue_lock);
	granted[me] /* A4 */
}

inline wake() {
	if
	:: waiting > 0 -> lock(queue_lock); grant(); unlock(queue_lock)
	:: else
	fi
}

proctype reader(byte me) {
	byte who, seen;
	bool writes, ok;

	/* The fast path reads twice and then compares: the state may change in between. */
	seen = state;
	if
	:: seen == WRITER -> slow(me, false)
	:: else ->
		if
		:: waiting > 0 -> slow(me, false)
		:: else ->
			atomic {
				if
				:: state == seen -> state++; ok = true
				:: else -> ok = false
				fi
			};
			if
			:: ok
			:: else -> slow(me, false)
			fi
		fi
	fi;
	inside_readers++;
	assert(inside_writers == 0);
	inside_readers--;
	state--; /* B1 */
	wake()
}

proctype writer(byte me) {
	byte who;
	bool writes, ok;

	if
	:: waiting > 0 -> slow(me, true)
	:: else ->
		take_write(ok);
		if
		:: ok
		:: else -> slow(me, true)
		fi
	fi;
	inside_writers++;
	assert(inside_writers == 1 && inside_readers == 0);
	inside_writers--;
	assert(state == WRITER);
	state = 0; /* B1 */
	wake()
}

init {
	byte i;

	atomic {
		for (i : 0 .. READERS - 1) { run reader(i) }
		for (i : READERS .. THREADS - 1) { run writer(i) }
	}
	_nr_pr == 1;
	assert(state == 0 && waiting == 0 && empty(queue))
}
