/*
 * fpu.h - the x87, SSE and AVX registers of ring 3, switched eagerly.                  floor 1
 */
#ifndef X86_FPU_H
#define X86_FPU_H

#include "lib/types.h"

void fpu_init_cpu(void);
usize fpu_area_size(void);
void fpu_init_area(void *area);
void fpu_save(void *area);
void fpu_restore(const void *area);
void fpu_copy_area(void *to, const void *from);

#endif
