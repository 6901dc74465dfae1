/*
 * ipc.pml - call, receive, answer, death: kernel/ipc.c and sched_handoff() of kernel/sched.c.
 *
 * One client calls twice; one server receives, answers and receives again (reply_receive), may answer twice, and may
 * end instead of answering; a killer may kill the client in any state, and a timer end its wait. Spin locks are atomic sections guarded by a bit, so
 * everything between two of them interleaves.
 *
 * What must hold
 *   - the client's calls end: answered, failed because the server is gone, or given up when killed or late
 *   - an answer is that of the call that is on (its token), never of an earlier one
 *   - nobody touches the client any more once it has left (its thread may be gone): `left`
 *
 * Left out: the run queues of several CPUs (a thread is READY and some CPU takes it: waitq.pml), objects, events.
 *
 *   spin -a ipc.pml && cc -O2 -DNFAIR=3 -o pan pan.c && ./pan -a -f
 *   -DHOLD          must hold, too: the server may keep the message for ever; the client is killed then
 *   -DBROKEN_LEAVE  the client leaves as soon as its state is IDLE: the waker still works with it
 *   -DBROKEN_LATE   what a server that ends had received is forgotten: the client waits for ever
 *   -DBROKEN_TOKEN  an answer goes to whoever waits: a late one reaches the next call
 *   -DHOLD -DBROKEN_WAKE  the hand-over does not look for a wake-up that came meanwhile: a killed client sleeps on
 */
#define CLIENT 0
#define SERVER 1
#define CALLS  2

mtype = { IDLE, QUEUED, UNANSWERED, RECEIVING };       /* enum ipc_state */
mtype = { RUNNING, BLOCKED, READY };                   /* enum thread_state */

mtype ipc[2] = IDLE;
mtype cpu[2] = RUNNING;
bool wake_pending[2];
bit endpoint_lock, run_lock;
bool dead;               /* the endpoint */
bool kill_pending;       /* of the client */
bool expired;            /* the deadline of the call that is on */
bool left;               /* the client has ended: its memory is gone */
byte last_token;         /* the endpoint's count */
byte token;              /* of the client's call */
byte message;            /* what the server has: a token; 0: nothing */
byte answered;           /* token whose answer the client got; 0: none; 255: an error */
bool client_done, server_done;

inline lock(l) { atomic { l == 0 -> l = 1 } }
inline unlock(l) { l = 0 }

inline touch(t) { assert(t != CLIENT || !left) }

inline sched_wake(t) {
	lock(run_lock);
	touch(t);
	if
	:: cpu[t] == BLOCKED -> cpu[t] = READY
	:: else -> wake_pending[t] = true
	fi;
	unlock(run_lock)
}

inline sched_block(t) {
	lock(run_lock);
	if
	:: wake_pending[t] -> wake_pending[t] = false; unlock(run_lock)
	:: else ->
		cpu[t] = BLOCKED;
		unlock(run_lock);
		cpu[t] == READY -> cpu[t] = RUNNING
	fi
}

/* endpoint_lock held: taken with next in hand, released before t sleeps. */
inline sched_handoff(t, next) {
	lock(run_lock);
	touch(next);
	if
	:: cpu[next] == BLOCKED -> cpu[next] = READY
	:: else -> wake_pending[next] = true
	fi;
	unlock(endpoint_lock);
#ifndef BROKEN_WAKE
	if
	:: wake_pending[t] -> wake_pending[t] = false; unlock(run_lock)
	:: else ->
#endif
		wake_pending[t] = false;
		cpu[t] = BLOCKED;
		unlock(run_lock);
		cpu[t] == READY -> cpu[t] = RUNNING
#ifndef BROKEN_WAKE
	fi
#endif
}

/* Sleep on until IDLE; then until nobody works with us any more (the lock is seen free, or taken). */
inline wait_finish(t, killed) {
	do
	::
#ifdef BROKEN_LEAVE
		if
		:: ipc[t] == IDLE -> break
		:: else
		fi;
#else
		if
		:: ipc[t] == IDLE ->
			if
			:: endpoint_lock == 0 -> break
			:: else
			fi
		:: else
		fi;
#endif
		wake_pending[t] = false;
		lock(endpoint_lock);
		if
		:: ipc[t] == IDLE -> unlock(endpoint_lock); break
		:: else ->
			if
			:: killed -> ipc[t] = IDLE; answered = 255; unlock(endpoint_lock); break
			:: else -> unlock(endpoint_lock); sched_block(t)
			fi
		fi
	od
}

active proctype client() {
	byte calls;

	do
	:: calls == CALLS || kill_pending -> break
	:: else ->
		answered = 0;
		expired = false;
		wake_pending[CLIENT] = false;
		lock(endpoint_lock);
		if
		:: dead -> answered = 255; unlock(endpoint_lock)
		:: !dead && kill_pending -> answered = 255; unlock(endpoint_lock)
		:: !dead && !kill_pending && ipc[SERVER] == RECEIVING ->
			last_token++;
			token = last_token;
			message = token;
			ipc[SERVER] = IDLE;
			ipc[CLIENT] = UNANSWERED;
			sched_handoff(CLIENT, SERVER);
			wait_finish(CLIENT, (kill_pending || expired))
		:: !dead && !kill_pending && ipc[SERVER] != RECEIVING ->
			ipc[CLIENT] = QUEUED;
			unlock(endpoint_lock);
			sched_block(CLIENT);
			wait_finish(CLIENT, (kill_pending || expired))
		fi;
		assert(answered == 255 || answered == token);
		calls++
	od;
	left = true;
	client_done = true
}

/* endpoint_lock held. True in `found` when the client waits for this token. */
inline answer(t) {
#ifdef BROKEN_TOKEN
	found = (t != 0 && ipc[CLIENT] == UNANSWERED);
#else
	found = (t != 0 && ipc[CLIENT] == UNANSWERED && token == t);
#endif
	if
	:: found -> answered = t; ipc[CLIENT] = IDLE
	:: else
	fi
}

active proctype server() {
	bool found;
	byte last; /* what it had before */

	do
	:: true -> /* reply_receive: the answer to `message`, if it has one; then the next */
		wake_pending[SERVER] = false;
		lock(endpoint_lock);
		answer(message);
		last = message;
		message = 0;
		if
		:: ipc[CLIENT] == QUEUED ->
			last_token++;
			token = last_token;
			message = token;
			ipc[CLIENT] = UNANSWERED;
			unlock(endpoint_lock)
		:: ipc[CLIENT] != QUEUED && found ->
			ipc[SERVER] = RECEIVING;
			sched_handoff(SERVER, CLIENT);
			wait_finish(SERVER, false)
		:: ipc[CLIENT] != QUEUED && !found ->
			ipc[SERVER] = RECEIVING;
			unlock(endpoint_lock);
			sched_block(SERVER);
			wait_finish(SERVER, false)
		fi
	:: last != 0 -> /* reply: an answer that was given, or comes too late */
		lock(endpoint_lock);
		answer(last);
		last = 0;
		if
		:: found -> sched_wake(CLIENT)
		:: else
		fi;
		unlock(endpoint_lock)
#ifdef HOLD
	:: message != 0 -> false /* it never answers, and lives */
#endif
	:: message != 0 -> break /* it ends, and does not answer */
	od;
	lock(endpoint_lock);
	dead = true;
	if
	:: ipc[CLIENT] == QUEUED -> answered = 255; ipc[CLIENT] = IDLE; sched_wake(CLIENT)
#ifndef BROKEN_LATE
	:: ipc[CLIENT] == UNANSWERED -> answered = 255; ipc[CLIENT] = IDLE; sched_wake(CLIENT)
#endif
	:: else
	fi;
	unlock(endpoint_lock);
	server_done = true
}

/* A wake-up without the endpoint's lock; whoever sends it keeps the thread from going away. */
inline wake_alone() {
	lock(run_lock);
	if
	:: cpu[CLIENT] == BLOCKED -> cpu[CLIENT] = READY
	:: else -> wake_pending[CLIENT] = true
	fi;
	unlock(run_lock)
}

active proctype killer() {
	if
	:: kill_pending = true; wake_alone()
#ifndef HOLD
	:: true -> skip
#endif
	fi
}

active proctype timer() {
	if
	:: expired = true; wake_alone()
	:: true -> skip
	fi
}

ltl client_ends { <> client_done }
