/*
 * serial.c - COM1, a 16550: bytes out by polling, bytes in by interrupt.               floor 1
 *
 * Who owns the line discipline is above; here are bytes, and the BREAK that means "monitor".
 *
 * IDEA
 *   out  wait until the transmitter is empty, then hand it up to 16 bytes (its FIFO)
 *   in   the interrupt handler moves bytes into a ring; head is written only by it, tail only by
 *        the reader. A full ring drops and counts. A BREAK is a byte 0 with a flag in the line
 *        status.
 *   A transmitter that stays busy (nobody reads at the other end) loses text after some seconds
 *   instead of hanging the machine.
 *
 * INVARIANTS
 *   O1  rx_head - rx_tail <= RX_BYTES
 *
 * LOCKS     out: the caller's (printk's console_lock). In: none needed, one writer and one reader.
 * LINUX     drivers/tty/serial/8250/.                        National PC16550D data sheet
 */
#include "x86/serial.h"
#include "x86/cpu.h"

#define COM1        0x3f8
#define REG_DATA    0
#define REG_IER     1
#define REG_IIR     2
#define REG_FCR     2
#define REG_LCR     3
#define REG_MCR     4
#define REG_LSR     5
#define REG_SCRATCH 7

#define IER_RX     0x05 /* data, line status */
#define FCR_ON     0xc7 /* FIFOs on and cleared, interrupt at 14 bytes or a pause */
#define LCR_8N1    0x03
#define LCR_DLAB   0x80
#define MCR_ON     0x0b /* DTR, RTS, OUT2 (the interrupt's gate) */
#define LSR_DATA   0x01
#define LSR_BREAK  0x10
#define LSR_THRE   0x20
#define LSR_IDLE   0x40
#define FIFO_BYTES 16

#define RX_BYTES      4096u
#define PATIENCE      (1u << 22) /* polls before text is given up: seconds */
#define PATIENCE_LEFT (1u << 8)  /* ... once that happened */
#define EARLY_POLLS   (1u << 14) /* a quiet line: some 20 milliseconds */

void (*serial_rx_notify)(void);
enum serial_fate (*serial_rx_fate)(u8 byte);
void (*serial_on_break)(const struct regs *regs);

static bool present, tx_stuck;
static char last_sent;
static u8 rx_ring[RX_BYTES];
static u32 rx_head, rx_tail; /* free running */
static bool break_seen;      /* (a) by whoever read the line status, which clears the flag */

void serial_put(u8 byte)
{
	u32 head = rx_head;

	if (head - __atomic_load_n(&rx_tail, __ATOMIC_ACQUIRE) == RX_BYTES)
		return; /* nobody read in time: it is lost */
	rx_ring[head % RX_BYTES] = byte;
	__atomic_store_n(&rx_head, head + 1, __ATOMIC_RELEASE);
}

/*
 * What was typed while the machine started waits for the reader; switching the FIFOs on drops what the receiver holds.
 * With one byte read the next comes from the line or from the emulator's buffer, so once there was one, the line has to
 * be quiet for a while first. Where nobody typed this is one look.
 */
static void keep_early_input(void)
{
	u32 bytes = 0, quiet = 0;

	while (bytes < RX_BYTES && quiet < EARLY_POLLS) {
		u8 status = inb(COM1 + REG_LSR);

		if (status & LSR_DATA) {
			u8 byte = inb(COM1 + REG_DATA);

			if (!(status & LSR_BREAK))
				serial_put(byte);
			bytes++;
			quiet = 0;
		} else if (bytes) {
			quiet++;
		} else {
			return;
		}
	}
}

/*
 * serial_init - 115200 baud, 8N1, no interrupts yet. A machine without COM1 is noticed and left
 * alone.
 */
void serial_init(void)
{
	outb(COM1 + REG_SCRATCH, 0x5a);
	present = inb(COM1 + REG_SCRATCH) == 0x5a;
	if (!present)
		return;
	outb(COM1 + REG_IER, 0);
	outb(COM1 + REG_LCR, LCR_DLAB);
	outb(COM1 + REG_DATA, 1);
	outb(COM1 + REG_IER, 0);
	outb(COM1 + REG_LCR, LCR_8N1);
	keep_early_input();
	outb(COM1 + REG_FCR, FCR_ON);
	outb(COM1 + REG_MCR, MCR_ON);
}

/* The line status. Reading it clears its BREAK flag, so a writer that polls must not lose it. */
static u8 line_status(void)
{
	u8 status = inb(COM1 + REG_LSR);

	if (status & LSR_BREAK)
		WRITE_ONCE(break_seen, true);
	return status;
}

/* Wait for `bits` in the line status; false: not within the patience we have. */
static bool wait_status(u8 bits)
{
	u32 patience = tx_stuck ? PATIENCE_LEFT : PATIENCE;

	while (!(line_status() & bits)) {
		if (--patience == 0) {
			tx_stuck = true;
			return false;
		}
		cpu_relax();
	}
	tx_stuck = false;
	return true;
}

/* One byte; `room` counts what the FIFO still takes. */
static void send(u8 byte, u32 *room)
{
	if (*room == 0) {
		if (!wait_status(LSR_THRE))
			return;
		*room = FIFO_BYTES;
	}
	outb(COM1 + REG_DATA, byte);
	last_sent = byte;
	--*room;
}

/*
 * serial_write - bytes out; '\n' is sent as CR LF unless a CR stands before it.
 *
 *   locks    the caller's: one writer at a time
 */
void serial_write(const char *s, usize len)
{
	u32 room = 0;

	if (!present)
		return;
	for (; len > 0; s++, len--) {
		if (*s == '\n' && last_sent != '\r')
			send('\r', &room);
		send((u8)*s, &room);
	}
}

/* serial_flush - wait until the last bit is on the wire. */
void serial_flush(void)
{
	if (present)
		wait_status(LSR_IDLE);
}

/* serial_enable_irq - after the I/O APIC routes COM1: receive by interrupt. */
void serial_enable_irq(void)
{
	if (present)
		outb(COM1 + REG_IER, IER_RX);
}

/*
 * serial_handle_irq - empty the receiver into the ring.
 *
 *   locks    interrupts off, only on the CPU that COM1 is routed to
 *   returns  true: a BREAK was among it, or what serial_rx_fate takes for one
 *   after    serial_rx_notify() was called if there is something to read
 */
bool serial_handle_irq(void)
{
	bool got = false, wants_monitor = false;
	enum serial_fate fate;
	u8 status;

	inb(COM1 + REG_IIR);
	for (u32 n = 0; n < RX_BYTES; n++) {
		status = line_status();
		if (!(status & LSR_DATA))
			break;
		u8 byte = inb(COM1 + REG_DATA);

		if (status & LSR_BREAK)
			continue;
		fate = serial_rx_fate ? serial_rx_fate(byte) : SERIAL_KEEP;
		if (fate == SERIAL_KEEP)
			serial_put(byte);
		got |= fate == SERIAL_KEEP;
		wants_monitor |= fate == SERIAL_BREAK;
	}
	if (got && serial_rx_notify)
		serial_rx_notify();
	return __atomic_exchange_n(&break_seen, false, __ATOMIC_RELAXED) || wants_monitor;
}

/* serial_read - the next byte from the ring, or -1. One reader at a time; never waits. */
int serial_read(void)
{
	u32 tail = rx_tail;
	u8 byte;

	if (tail == __atomic_load_n(&rx_head, __ATOMIC_ACQUIRE))
		return -1;
	byte = rx_ring[tail % RX_BYTES];
	__atomic_store_n(&rx_tail, tail + 1, __ATOMIC_RELEASE);
	return byte;
}

/*
 * serial_poll - the next byte without any interrupt, for the stopped monitor; -1: none. BREAKs are
 * skipped.
 */
int serial_poll(void)
{
	int byte = serial_read();
	u8 status;

	if (byte >= 0 || !present)
		return byte;
	status = line_status();
	WRITE_ONCE(break_seen, false);
	if (!(status & LSR_DATA))
		return -1;
	byte = inb(COM1 + REG_DATA);
	return status & LSR_BREAK ? -1 : byte;
}
