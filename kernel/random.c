/*
 * random.c - numbers that nobody guesses by accident                          floor 1, below: x86/cpu.h
 *
 * For AT_RANDOM and getrandom. A mixing function over the time stamp counter, and over RDRAND where the
 * processor has it. Enough for hash seeds and canaries of programs in an emulator; not for keys.
 *
 * LOCKS     none: the state is one atomic word, and two callers never get the same one.
 * LINUX     drivers/char/random.c collects entropy and runs ChaCha20.
 */
#include "random.h"

#include "lib/string.h"
#include "x86/cpu.h"

#define CPUID_1_ECX_RDRAND (1u << 30)
#define GOLDEN_RATIO       0x9e3779b97f4a7c15ul

static u64 state;

static u64 hardware_word(void)
{
	static int has_rdrand; /* 0: not asked yet, 1: yes, -1: no */
	u64 word = 0;
	bool ok = false;

	if (!has_rdrand) {
		u32 out[4];

		cpuid(1, 0, out);
		has_rdrand = out[2] & CPUID_1_ECX_RDRAND ? 1 : -1;
	}
	if (has_rdrand > 0)
		asm volatile("rdrand %0" : "=r"(word), "=@ccc"(ok));
	return ok ? word : 0;
}

/* Sebastiano Vigna's SplitMix64 over a state that also takes in the clock and the hardware's word. */
static u64 random_word(void)
{
	u64 z = __atomic_add_fetch(&state, GOLDEN_RATIO, __ATOMIC_RELAXED) + rdtsc();

	z ^= hardware_word();
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ul;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebul;
	return z ^ (z >> 31);
}

/* random_fill - `bytes` random bytes; any context. */
void random_fill(void *to, usize bytes)
{
	u8 *p = to;

	while (bytes) {
		u64 word = random_word();
		usize n = MIN(bytes, sizeof(word));

		memcpy(p, &word, n);
		p += n;
		bytes -= n;
	}
}
