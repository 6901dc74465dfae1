/*
 * shootdown.pml - no CPU goes on with a translation of a frame that was freed: kernel/x86/tlb.c.
 *
 * Two spaces with one entry each. CPU n enters and leaves the spaces (tlb_switch), touches memory through its translation, and
 * answers requests whenever it has interrupts on (tlb_handle_ipi). CPUs 0 and 1 each take the entry of a space away once, with
 * interrupts off, flush (tlb_flush) and free the frame: they may do so at the same time, each to the space the other is in. A CPU's
 * memory accesses are in order, as those of x86 with locked instructions between them are.
 *
 *   the frame of an entry is free only when no CPU can reach it; two who ask each other both get on
 *
 *   spin -a shootdown.pml && cc -O2 -DSAFETY -o pan pan.c && ./pan      no assertion, no deadlock
 *   spin -DBROKEN_POLL ...    must fail: who waits does not answer: two shooters wait for ever
 *   spin -DBROKEN_ENTER ...   must fail: the root is loaded before the bit is set: nobody asks this CPU
 *   spin -DBROKEN_ACK ...     must fail: an answer is given before the flush
 *   spin -DBROKEN_LEAVE ...   must fail: the bit goes before another root is loaded
 */
#define CPUS    3
#define SPACES  2
#define NOWHERE 3   /* the kernel's root */
#define NOTHING 255 /* acknowledged: this CPU holds no translation of the space */

byte gen[SPACES], cpus[SPACES]; /* struct tlb_space */
byte acked[6];                  /* [space * CPUS + cpu] */
bool entry[SPACES] = true, freed[SPACES];
byte root[CPUS] = NOWHERE;      /* CR3 */
bool cached[CPUS];              /* CPU n has translated the entry of its root's space */
byte inbox[CPUS];               /* bit a: CPU a has asked */
byte waiting[CPUS];             /* of CPU a's request: who has not answered */
byte asked_space[CPUS], asked_gen[CPUS];

#define ACKED(s, c) acked[(s) * CPUS + (c)]

inline acknowledge(s, g, me) {
	atomic {
		if
		:: ACKED(s, me) < g -> ACKED(s, me) = g
		:: else /* newer already, or NOTHING */
		fi
	}
}

/* answer(): one request, of CPU a */
inline answer(a, me) {
#ifdef BROKEN_ACK
	acknowledge(asked_space[a], asked_gen[a], me);
	waiting[a] = waiting[a] & ~(1 << me);
	if
	:: root[me] == asked_space[a] -> cached[me] = false
	:: else
	fi
#else
	if
	:: root[me] == asked_space[a] -> cached[me] = false
	:: else
	fi;
	acknowledge(asked_space[a], asked_gen[a], me);
	waiting[a] = waiting[a] & ~(1 << me)
#endif
}

/* tlb_handle_ipi(): take the inbox, answer each */
inline poll(me) {
	atomic { mail = inbox[me]; inbox[me] = 0 };
	if
	:: mail & 1 -> answer(0, me)
	:: else
	fi;
	if
	:: mail & 2 -> answer(1, me)
	:: else
	fi;
	mail = 0
}

/* tlb_switch() to space s */
inline enter(s, me) {
#ifdef BROKEN_ENTER
	atomic { root[me] = s; cached[me] = false };
	if
	:: entry[s] -> cached[me] = true /* the CPU translates ahead */
	:: true
	fi;
	g = gen[s];
	cpus[s] = cpus[s] | (1 << me);
#else
	cpus[s] = cpus[s] | (1 << me);
	g = gen[s];
	atomic { root[me] = s; cached[me] = false };
#endif
	ACKED(s, me) = g
}

inline leave(me) {
	g = root[me];
#ifdef BROKEN_LEAVE
	cpus[g] = cpus[g] & ~(1 << me);
	ACKED(g, me) = NOTHING;
	atomic { root[me] = NOWHERE; cached[me] = false }
#else
	atomic { root[me] = NOWHERE; cached[me] = false };
	ACKED(g, me) = NOTHING;
	cpus[g] = cpus[g] & ~(1 << me)
#endif
}

/* One access, with what is cached or with what the table says. */
inline touch(me) {
	atomic {
		if
		:: !cached[me] && entry[root[me]] -> cached[me] = true
		:: else
		fi;
		if
		:: cached[me] -> assert(!freed[root[me]])
		:: else /* a fault */
		fi
	}
}

/* The entry of s goes; tlb_flush(); the frame goes. Interrupts are off: nothing but poll() answers. */
inline shoot(s, me) {
	entry[s] = false;
	gen[s]++;
	g = gen[s];
	mask = cpus[s];
	if
	:: mask & (1 << me) -> cached[me] = false; acknowledge(s, g, me); mask = mask & ~(1 << me)
	:: else
	fi;
	asked_space[me] = s;
	asked_gen[me] = g;
	waiting[me] = mask;
	atomic {
		for (c : 0 .. CPUS - 1) {
			if
			:: mask & (1 << c) -> inbox[c] = inbox[c] | (1 << me)
			:: else
			fi
		};
		c = 0
	};
	do
	:: waiting[me] == 0 -> break
#ifndef BROKEN_POLL
	:: inbox[me] != 0 -> poll(me)
#endif
	od;
	atomic { /* tlb_assert_acked() */
		for (c : 0 .. CPUS - 1) {
			assert(!(cpus[s] & (1 << c)) || ACKED(s, c) >= g);
			assert(root[c] != s || !cached[c]) /* a processor may use what it has at any moment */
		};
		c = 0
	};
	freed[s] = true
}

proctype cpu(byte me) {
	byte g, mask, mail, c;
	bool came, shot = me == 2; /* the third one only comes and goes */

	do
	:: inbox[me] != 0 -> poll(me) /* the interrupt */
	:: !came && root[me] == NOWHERE -> came = true;
		if
		:: enter(0, me)
		:: enter(1, me)
		fi
	:: root[me] != NOWHERE -> touch(me)
	:: root[me] != NOWHERE -> leave(me)
	:: !shot -> shot = true; shoot(1 - me, me)
	:: shot && root[me] == NOWHERE && inbox[me] == 0 && came -> break
	od;
end:	do
	:: inbox[me] != 0 -> poll(me)
	od
}

init {
	atomic {
		byte i;
		for (i : 0 .. SPACES * CPUS - 1) {
			acked[i] = NOTHING
		};
		run cpu(0);
		run cpu(1);
		run cpu(2)
	}
}
