/*
 * serial.h - COM1, a 16550.                                                            floor 1
 */
#ifndef X86_SERIAL_H
#define X86_SERIAL_H

#include "lib/types.h"
#include "x86/regs.h"

/* What becomes of a byte that arrived. */
enum serial_fate {
	SERIAL_KEEP,  /* into the ring */
	SERIAL_DROP,  /* somebody else has it */
	SERIAL_BREAK, /* dropped; it means what a BREAK means */
};

void serial_init(void);
void serial_write(const char *s, usize len);
void serial_flush(void);
void serial_enable_irq(void);
bool serial_handle_irq(void);
void serial_put(u8 byte); /* into the ring, as if it had arrived; only where serial_rx_fate runs */
int serial_read(void);
int serial_poll(void);

/* Set by the console; called in the interrupt handler: bytes are waiting, and before that for each of them. */
extern void (*serial_rx_notify)(void);
extern enum serial_fate (*serial_rx_fate)(u8 byte);
/* Set by the monitor: somebody sent a BREAK; regs is what was interrupted. Interrupts are off. */
extern void (*serial_on_break)(const struct regs *regs);

#endif
