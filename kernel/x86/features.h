/*
 * features.h - what this processor has, and switching it on.                           floor 1
 */
#ifndef X86_FEATURES_H
#define X86_FEATURES_H

#include "lib/types.h"

struct cpu_features {
	bool smep, smap, umip, xsave, avx, x2apic, invariant_tsc, pages_1g;
	u8 phys_bits;
	char brand[49];
};

extern struct cpu_features cpu_features;

void cpu_init_features(void);
void cpu_patch_text(void *text, const void *bytes, usize len);

#endif
