/*
 * idt.h - the interrupt descriptor table, and the numbers of the vectors.              floor 1
 */
#ifndef X86_IDT_H
#define X86_IDT_H

#include "lib/types.h"

enum vector {
	VECTOR_DIVIDE = 0,
	VECTOR_DEBUG = 1,
	VECTOR_NMI = 2,
	VECTOR_BREAKPOINT = 3,
	VECTOR_OVERFLOW = 4,
	VECTOR_BOUND = 5,
	VECTOR_INVALID_OPCODE = 6,
	VECTOR_NO_FPU = 7,
	VECTOR_DOUBLE_FAULT = 8,
	VECTOR_INVALID_TSS = 10,
	VECTOR_SEGMENT = 11,
	VECTOR_STACK = 12,
	VECTOR_PROTECTION = 13,
	VECTOR_PAGE_FAULT = 14,
	VECTOR_X87 = 16,
	VECTOR_ALIGNMENT = 17,
	VECTOR_MACHINE_CHECK = 18,
	VECTOR_SIMD = 19,
	NR_EXCEPTIONS = 32,
	VECTOR_PIC = 0x20,     /* 16 vectors: the 8259s are masked, but may still be spurious */
	VECTOR_SERIAL = 0x30,  /* COM1 through the I/O APIC */
	VECTOR_TIMER = 0xf0,   /* this CPU's local APIC timer */
	VECTOR_RESCHED = 0xf1, /* IPI: look at need_resched on the way out */
	VECTOR_TLB = 0xf2,     /* IPI: look into the TLB mailbox */
	VECTOR_APIC_ERROR = 0xfe,
	VECTOR_SPURIOUS = 0xff,
	NR_VECTORS = 256,
};

void idt_init(const u64 stubs[NR_VECTORS], u64 syscall);
void idt_load(void);
const char *idt_vector_name(u64 vector);

#endif
