/*
 * serial.h - COM1, a 16550.                                                            floor 1
 */
#ifndef X86_SERIAL_H
#define X86_SERIAL_H

#include "lib/types.h"
#include "x86/regs.h"

void serial_init(void);
void serial_write(const char *s, usize len);
void serial_flush(void);
void serial_enable_irq(void);
bool serial_handle_irq(void);
int serial_read(void);
int serial_poll(void);
u64 serial_rx_lost(void);

/* Set by the console: bytes are waiting. Called in the interrupt handler. */
extern void (*serial_rx_notify)(void);
/* Set by the monitor: somebody sent a BREAK; regs is what was interrupted. Interrupts are off. */
extern void (*serial_on_break)(const struct regs *regs);

#endif
