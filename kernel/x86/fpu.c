/*
 * fpu.c - the x87, SSE and AVX registers of ring 3.                                    floor 1
 *
 * The kernel itself is compiled without them. They are switched eagerly, with the thread: what one
 * task computed is never in a register while another one runs.
 *
 * IDEA
 *   XSAVE writes the parts enabled in XCR0 (x87, SSE, and AVX where it exists) into the thread's
 *   area; without XSAVE, FXSAVE does the first two. An area begins at a multiple of FPU_ALIGN.
 *
 * LOCKS     none: an area belongs to its thread.
 * LINUX     arch/x86/kernel/fpu/.                            SDM vol. 1, chapter 13
 */
#include "x86/fpu.h"
#include "lib/string.h"
#include "x86/cpu.h"
#include "x86/features.h"

#define XCR0_X87      1u
#define XCR0_SSE      2u
#define XCR0_AVX      4u
#define FXSAVE_BYTES  512u
#define X87_CONTROL   0x037f /* all exceptions masked, 64-bit precision: the ABI's start */
#define MXCSR_DEFAULT 0x1f80
#define MXCSR_OFFSET  24
#define MXCSR_USABLE  0xffffu /* bits above fault; DAZ (6) is there on every 64-bit processor */
#define HEADER_BYTES  64u /* XSAVE's, behind the legacy 512: which parts are there, then zeroes */

static u32 state_bytes = FXSAVE_BYTES;
static u32 xcr0;

/* fpu_init_cpu - on each CPU, after cpu_init_features(). */
void fpu_init_cpu(void)
{
	u32 r[4];

	asm volatile("fninit");
	if (!cpu_features.xsave)
		return;
	xcr0 = XCR0_X87 | XCR0_SSE | (cpu_features.avx ? XCR0_AVX : 0);
	asm volatile("xsetbv" : : "c"(0), "a"(xcr0), "d"(0));
	cpuid(0xd, 0, r);
	state_bytes = r[1];
}

/* fpu_init_area - the state a program starts with. */
void fpu_init_area(void *area)
{
	u8 *state = area;
	u16 control = X87_CONTROL;
	u32 mxcsr = MXCSR_DEFAULT;

	memset(state, 0, state_bytes);
	memcpy(state, &control, sizeof(control));
	memcpy(state + MXCSR_OFFSET, &mxcsr, sizeof(mxcsr));
}

/* fpu_save, fpu_restore - the registers of this CPU to and from an area. */
void fpu_save(void *area)
{
	if (xcr0)
		asm volatile("xsave64 (%0)" : : "r"(area), "a"(xcr0), "d"(0) : "memory");
	else
		asm volatile("fxsave64 (%0)" : : "r"(area) : "memory");
}

void fpu_restore(const void *area)
{
	if (xcr0)
		asm volatile("xrstor64 (%0)" : : "r"(area), "a"(xcr0), "d"(0) : "memory");
	else
		asm volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
}

/* fpu_copy_area - fork: the child begins with the parent's saved state. */
void fpu_copy_area(void *to, const void *from)
{
	memcpy(to, from, state_bytes);
}

/* fpu_state_size - bytes of a state; an area has as many. */
usize fpu_state_size(void)
{
	return state_bytes;
}

/* fpu_read_area, fpu_write_area - to and from a buffer of fpu_state_size() bytes, aligned or not. */
void fpu_read_area(const void *area, void *state)
{
	memcpy(state, area, state_bytes);
}

void fpu_write_area(void *area, const void *state)
{
	memcpy(area, state, state_bytes);
}

/*
 * fpu_state_is_valid - what XRSTOR and FXRSTOR would fault on, in the kernel: a reserved bit of MXCSR, a part that is
 * not enabled, the compacted form, anything but zeroes in the rest of the header.   SDM vol. 1, 13.8; vol. 2, FXRSTOR
 */
bool fpu_state_is_valid(const void *state)
{
	u64 header[HEADER_BYTES / sizeof(u64)];
	u32 mxcsr;

	memcpy(&mxcsr, (const u8 *)state + MXCSR_OFFSET, sizeof(mxcsr));
	if (mxcsr & ~MXCSR_USABLE)
		return false;
	if (!xcr0)
		return true;
	memcpy(header, (const u8 *)state + FXSAVE_BYTES, sizeof(header));
	if (header[0] & ~(u64)xcr0)
		return false;
	for (u32 i = 1; i < ARRAY_SIZE(header); i++)
		if (header[i])
			return false;
	return true;
}
