/*
 * pager.pml - a missing page is asked for, supplied, taken back: kernel/pager.c, mm/object.c, ipc.c.
 *
 * Two clients touch the same page of a memory object; one pager receives, supplies a frame of its own, answers. It may lie (answer
 * without supplying), or end between any two steps, and a successor takes its place behind the same endpoint. Somebody withdraws the page
 * once. One client may be killed while it waits. Locks are atomic sections: what is between two of them interleaves.
 *
 *   frames   each is the pager's, the object's, or free: one owner at any time
 *   a client gets its page, or an error, or is killed: it never hangs
 *
 *   spin -a pager.pml && cc -O2 -o pan pan.c && ./pan             no deadlock, no assertion
 *   ... pan -a -f -N clients_end                                  every client ends
 *   spin -DBROKEN_TWICE ...   must fail: a supply that does not look whether a page is there already
 *   spin -DBROKEN_DEATH ...   must fail: the end of a server does not answer what it had received
 *   spin -DBROKEN_TOKEN ...   must fail: a token outlives the call it was given for
 */
#define CLIENTS 2
#define FRAMES  2
#define TRIES   2 /* PAGER_TRIES */
#define NONE    255

mtype = { IDLE, QUEUED, UNANSWERED, ANSWERED, FAILED }; /* a client's call */
mtype = { PAGER, OBJECT, FREE };                        /* whose a frame is */

mtype call[CLIENTS] = IDLE;
byte sequence[CLIENTS]; /* of the call that is on: half of its token */
bool killed[CLIENTS], ended[CLIENTS], served[CLIENTS];

mtype owner[FRAMES] = PAGER;
byte page = NONE; /* the frame the object has, under the object's lock */
bool alive = true; /* a pager is running */
bool left_once;    /* it may end once */

/* The frame f goes to the object; only if nobody was faster. */
inline supply(f, c, token, ok) {
	atomic {
		ok = false;
		if
#ifdef BROKEN_TOKEN
		:: true ->
#else
		:: call[c] == UNANSWERED && sequence[c] == token ->
#endif
			assert(call[c] == UNANSWERED && sequence[c] == token); /* a call that is over asked for nothing */
			if
#ifdef BROKEN_TWICE
			:: true ->
#else
			:: page == NONE ->
#endif
				assert(owner[f] == PAGER);
				assert(page == NONE); /* else the frame before it belongs to nobody */
				owner[f] = OBJECT;
				page = f;
				ok = true
#ifndef BROKEN_TWICE
			:: else /* -EEXIST: the caller keeps its frame */
#endif
			fi
#ifndef BROKEN_TOKEN
		:: else /* -ESRCH */
#endif
		fi
	}
}

inline answer(c, token) {
	atomic {
		if
		:: call[c] == UNANSWERED && sequence[c] == token -> call[c] = ANSWERED
		:: else
		fi
	}
}

proctype client(byte me) {
	byte tries;
	do
	:: killed[me] -> break
	:: page != NONE -> served[me] = true; break /* the fault finds it, or finds it gone and asks again */
	:: page == NONE && tries == TRIES -> break  /* SIGBUS: it answers and supplies nothing, or ends */
	:: page == NONE && tries < TRIES ->
		atomic { sequence[me]++; call[me] = QUEUED; tries++ }
		if
		:: call[me] == ANSWERED -> call[me] = IDLE
		:: call[me] == FAILED -> call[me] = IDLE /* the server ended: the next one is asked */
		:: killed[me] -> atomic { call[me] = IDLE; sequence[me]++ }; break /* taken back */
		fi
	od;
	ended[me] = true
}

/* What the kernel does for a pager that ends: calls it had received fail, queued ones wait for the next. */
inline pager_ends() {
	atomic {
		alive = false;
#ifndef BROKEN_DEATH
		byte i;
		for (i : 0 .. CLIENTS - 1) {
			if
			:: call[i] == UNANSWERED -> call[i] = FAILED
			:: else
			fi
		}
#endif
	}
}

proctype pager() {
	byte c, token, f;
	bool ok;
again:
	do
	:: atomic { call[0] == QUEUED -> call[0] = UNANSWERED; c = 0; token = sequence[0] };
work:
		if
		:: !left_once -> left_once = true; pager_ends(); goto out
		:: skip
		fi;
		if
		:: owner[0] == PAGER -> f = 0; supply(f, c, token, ok)
		:: owner[1] == PAGER -> f = 1; supply(f, c, token, ok)
		:: skip /* it lies, or has none */
		fi;
		if
		:: !left_once -> left_once = true; pager_ends(); goto out
		:: skip
		fi;
		answer(c, token)
	:: atomic { call[1] == QUEUED -> call[1] = UNANSWERED; c = 1; token = sequence[1] }; goto work
	:: ended[0] && ended[1] -> break
	od;
	goto done;
out:
	alive = true; /* init starts another */
	goto again;
done:
	skip
}

/* pager_withdraw, or the object's end: the page leaves every mapping, then its frame is free. */
proctype withdraw() {
	atomic {
		if
		:: page != NONE -> assert(owner[page] == OBJECT); owner[page] = FREE; page = NONE
		:: skip
		fi
	}
}

init {
	atomic {
		run client(0);
		run client(1);
		run pager();
		run withdraw()
	};
	if
	:: killed[1] = true
	:: skip
	fi
}

ltl clients_end { <> (ended[0] && ended[1]) }
