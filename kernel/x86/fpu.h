/*
 * fpu.h - the x87, SSE and AVX registers of ring 3, switched eagerly.                  floor 1
 */
#ifndef X86_FPU_H
#define X86_FPU_H

#include "lib/types.h"

#define FPU_ALIGN 64u /* where an area of fpu_state_size() bytes begins */

void fpu_init_cpu(void);
void fpu_init_area(void *area);
void fpu_save(void *area);
void fpu_restore(const void *area);
void fpu_copy_area(void *to, const void *from);

/* The state alone, as signal frames have it: fpu_state_size() bytes of XSAVE's standard form. */
usize fpu_state_size(void);
void fpu_read_area(const void *area, void *state);
void fpu_write_area(void *area, const void *state);
bool fpu_state_is_valid(const void *state); /* can it be loaded without a fault? */

#endif
