/*
 * apic.h - local APICs (xAPIC or x2APIC) and the I/O APIC.                             floor 1
 *
 * The caller maps the registers: this floor knows no page tables.
 */
#ifndef X86_APIC_H
#define X86_APIC_H

#include "lib/types.h"

bool apic_is_x2(void);
void apic_init(volatile u32 *registers);
void apic_init_cpu(void);
u32 apic_id(void);
void apic_eoi(void);
void apic_send_ipi(u32 cpu, u8 vector);
void apic_send_nmi(u32 cpu);
void apic_send_init(u32 apic_id);
void apic_send_startup(u32 apic_id, paddr_t page);
void apic_handle_error(void);

/* The timer's registers, for timer.c. */
void apic_timer_start(u32 count);
u32 apic_timer_count(void);

/* One I/O APIC: its global system interrupts begin at gsi_base. */
void ioapic_init(volatile u32 *registers, u32 gsi_base);
bool ioapic_route(u32 gsi, u8 vector, u32 apic_id, bool low_active, bool level);
void pic_disable(void);

#endif
