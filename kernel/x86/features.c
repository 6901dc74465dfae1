/*
 * features.c - what this processor has, and switching it on.                           floor 1
 *
 * boot.asm has already refused machines without the necessary (long mode, NX, APIC, SSE2 ...). Here
 * are the protections that are used where they exist: SMEP, SMAP, UMIP; and the FPU's extended
 * state.
 *
 * FSGSBASE stays off on purpose: with it ring 3 could put a kernel address into its gs base, and
 * the entries that run on interrupt stacks tell from that base whose it is.
 *
 * LOCKS     none: the boot CPU fills cpu_features, the others read it.
 * LINUX     arch/x86/kernel/cpu/common.c.                   SDM vol. 2A, CPUID; vol. 3A, 2.5
 */
#include "x86/features.h"
#include "lib/string.h"
#include "x86/cpu.h"
#include "x86/layout.h"

#define CR0_MP (1ul << 1)
#define CR0_EM (1ul << 2)
#define CR0_TS (1ul << 3)
#define CR0_NE (1ul << 5)
#define CR0_WP (1ul << 16)
#define CR0_AM (1ul << 18)

#define CR4_PGE        (1ul << 7)
#define CR4_OSFXSR     (1ul << 9)
#define CR4_OSXMMEXCPT (1ul << 10)
#define CR4_UMIP       (1ul << 11)
#define CR4_OSXSAVE    (1ul << 18)
#define CR4_SMEP       (1ul << 20)
#define CR4_SMAP       (1ul << 21)

#define MSR_EFER 0xc0000080
#define EFER_NXE (1ul << 11)

struct cpu_features cpu_features;
bool cpu_has_smap;

static void find_features(struct cpu_features *f)
{
	u32 r[4], max, max_extended;

	cpuid(0, 0, r);
	max = r[0];
	cpuid(1, 0, r);
	f->x2apic = r[2] >> 21 & 1;
	f->xsave = r[2] >> 26 & 1;
	f->avx = f->xsave && (r[2] >> 28 & 1);
	if (max >= 7) {
		cpuid(7, 0, r);
		f->smep = r[1] >> 7 & 1;
		f->smap = r[1] >> 20 & 1;
		f->umip = r[2] >> 2 & 1;
	}
	cpuid(0x80000000, 0, r);
	max_extended = r[0];
	if (max_extended >= 0x80000001) {
		cpuid(0x80000001, 0, r);
		f->pages_1g = r[3] >> 26 & 1;
	}
	f->phys_bits = 36;
	if (max_extended >= 0x80000008) {
		cpuid(0x80000007, 0, r);
		f->invariant_tsc = r[3] >> 8 & 1;
		cpuid(0x80000008, 0, r);
		f->phys_bits = (u8)r[0];
	}
	for (u32 i = 0; max_extended >= 0x80000004 && i < 3; i++) {
		cpuid(0x80000002 + i, 0, r);
		memcpy(f->brand + 16 * i, r, 16);
	}
}

/* cpu_init_features - on each CPU; the boot CPU first, which finds out what there is. */
void cpu_init_features(void)
{
	const struct cpu_features *f = &cpu_features;
	u64 cr0, cr4;

	if (cpu_id() == 0)
		find_features(&cpu_features);
	asm volatile("movq %%cr0, %0" : "=r"(cr0));
	cr0 = (cr0 & ~(CR0_EM | CR0_TS | CR0_AM)) | CR0_MP | CR0_NE | CR0_WP;
	asm volatile("movq %0, %%cr0" : : "r"(cr0) : "memory");

	asm volatile("movq %%cr4, %0" : "=r"(cr4));
	cr4 |= CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	cr4 |= (f->smep ? CR4_SMEP : 0) | (f->smap ? CR4_SMAP : 0);
	cr4 |= (f->umip ? CR4_UMIP : 0) | (f->xsave ? CR4_OSXSAVE : 0);
	asm volatile("movq %0, %%cr4" : : "r"(cr4) : "memory");

	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	cpu_has_smap = f->smap;
}

/*
 * cpu_patch_text - replace instructions of the kernel, at start-up, on the only CPU that runs.
 *
 *   text     in the image, which is mapped read-only: written through the direct map
 *   source   SDM vol. 3A, 8.1.3: a serializing instruction (CPUID) before the new bytes are
 *            executed
 */
void cpu_patch_text(void *text, const void *bytes, usize len)
{
	u32 r[4];

	memcpy(phys_to_virt(image_to_phys(text)), bytes, len);
	cpuid(0, 0, r);
}
