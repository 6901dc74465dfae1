/*
 * printk.c - the kernel's words: a ring in memory and COM1.                            floor 1
 *
 * A call is a record: "[    0.123456] text\n". A newline at the end of the text may be there or
 * not. Never through a console server, never sleeps, callable from everywhere, interrupt handlers
 * included.
 *
 * IDEA
 *   written counts all bytes ever put into the ring; byte n stands at n % RING_BYTES. The oldest
 *   record is usually half overwritten: a reader begins behind the next newline.
 *
 * INVARIANTS
 *   W1  the ring holds the last min(written, RING_BYTES) bytes of dmesg
 *
 * LOCKS     console_lock, innermost of all, interrupts off: at most one line or 64 bytes long.
 *           In panic mode no lock is taken: no other CPU runs.
 * LINUX     kernel/printk/ has records with sequence numbers and consoles as threads.
 */
#include "printk.h"
#include "lib/format.h"
#include "lib/string.h"
#include "sync.h"
#include "x86/serial.h"

#define RING_BYTES  (64u << 10)
#define CHUNK_BYTES 64u

u64 (*printk_clock)(void);

static struct spinlock console_lock = SPINLOCK_INIT(LOCK_CONSOLE, "console");
static char ring[RING_BYTES];
static u64 written;   /* (console_lock) */
static bool is_quiet; /* ring only */
static bool panicking;

/* One record on its way out: collected in small pieces for the UART. */
struct record {
	char chunk[CHUNK_BYTES];
	u32 length;
	bool to_console;
	char last;
};

static u64 console_acquire(void)
{
	return panicking ? irq_save() : spin_lock_irqsave(&console_lock);
}

static void console_release(u64 flags)
{
	if (panicking)
		irq_restore(flags);
	else
		spin_unlock_irqrestore(&console_lock, flags);
}

static void record_flush(struct record *r)
{
	if (r->to_console)
		serial_write(r->chunk, r->length);
	r->length = 0;
}

static void record_put(void *ctx, char c)
{
	struct record *r = ctx;

	ring[written++ % RING_BYTES] = c;
	r->chunk[r->length++] = c;
	r->last = c;
	if (r->length == CHUNK_BYTES)
		record_flush(r);
}

static void record_format(struct record *r, const char *fmt, ...) __printf(2, 3);
static void record_format(struct record *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	format_sink(record_put, r, fmt, ap);
	va_end(ap);
}

/*
 * printk - one record into the ring and, unless quiet, onto the console.
 *
 *   locks    takes and releases console_lock
 *   Linux    printk
 */
void printk(const char *fmt, ...)
{
	u64 us = printk_clock ? printk_clock() / 1000 : 0;
	u64 flags = console_acquire();
	struct record r = {.to_console = panicking || !is_quiet};
	va_list ap;

	record_format(&r, "[%5lu.%06lu] ", us / 1000000, us % 1000000);
	va_start(ap, fmt);
	format_sink(record_put, &r, fmt, ap);
	va_end(ap);
	if (r.last != '\n')
		record_put(&r, '\n');
	record_flush(&r);
	console_release(flags);
}

/*
 * printk_raw - bytes to the console only; '\n' becomes CR LF. Interrupts are let in between pieces.
 */
void printk_raw(const char *s, usize len)
{
	while (len) {
		usize n = MIN(len, (usize)CHUNK_BYTES);
		u64 flags = console_acquire();

		serial_write(s, n);
		console_release(flags);
		s += n;
		len -= n;
	}
}

/* printk_quiet - ring only, or ring and console. */
void printk_quiet(bool quiet)
{
	WRITE_ONCE(is_quiet, quiet);
}

/* printk_panic_mode - this CPU is the only one left: no lock, everything onto the console. */
void printk_panic_mode(void)
{
	panicking = true;
}

/*
 * printk_ring_walk - hand the ring's text to put(), in at most two pieces, oldest first.
 *
 *   locks    none while put() runs: what is written meanwhile may replace what is being read
 */
void printk_ring_walk(void (*put)(void *ctx, const char *s, usize len), void *ctx)
{
	u64 end = READ_ONCE(written), begin = end > RING_BYTES ? end - RING_BYTES : 0;

	while (begin && begin < end && ring[(begin - 1) % RING_BYTES] != '\n')
		begin++;
	while (begin < end) {
		u64 at = begin % RING_BYTES, n = MIN(end - begin, RING_BYTES - at);

		put(ctx, ring + at, n);
		begin += n;
	}
}
