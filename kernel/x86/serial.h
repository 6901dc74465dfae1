/*
 * serial.h - COM1, a 16550.                                                                   floor 1
 */
#ifndef X86_SERIAL_H
#define X86_SERIAL_H

#include "lib/types.h"

void serial_init(void);
void serial_write(const char *s, usize len);
void serial_flush(void);
void serial_enable_irq(void);
bool serial_handle_irq(void);
int serial_read(void);
int serial_poll(void);
u64 serial_rx_lost(void);
extern void (*serial_rx_notify)(void);

#endif
