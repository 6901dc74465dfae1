/*
 * timer.c - what time it is, and an interrupt at a time.                               floor 1
 *
 * It calls nobody: the interrupt enters by trap.c.
 *
 * IDEA
 *   Time is the TSC, scaled:   ns = (tsc - tsc at start) * mult >> 32,   mult = 10^9 << 32 / Hz
 *   Hz is measured once against the PIT (1,193,182 Hz) over 3 ms: TSC and counter are read as a
 *   pair at both ends, the closest of several, so that a pause of the (virtual) CPU in between does
 *   no harm. The interrupt is each CPU's local APIC timer in one-shot mode, measured against the
 *   TSC. Nothing is periodic: an idle CPU with no deadline is never woken. A deadline further away
 *   than the 32-bit counter reaches fires early; whoever armed it looks at the clock and arms
 *   again.
 *
 * INVARIANTS
 *   C1  time_ns() never goes back (TSCs of all CPUs start together: true of every machine since
 *       2010)
 *
 * LOCKS     none: constants after timer_init_clock().
 * LINUX     arch/x86/kernel/tsc.c, arch/x86/kernel/apic/apic.c (clockevents).
 */
#include "x86/timer.h"
#include "panic.h"
#include "printk.h"
#include "x86/apic.h"
#include "x86/cpu.h"

#define PIT_HZ        1193182ul
#define PIT_CHANNEL_2 0x42
#define PIT_COMMAND   0x43
#define PORT_B        0x61 /* bit 0: gate of channel 2; bit 1: speaker */
#define PORT_B_OUT2   0x20 /* channel 2's output */
#define CALIBRATE_PIT 3580 /* 3 ms */
#define PAIR_TRIES    8

struct timer_clock timer_clock = {.mult = 1ul << 32};
static u64 tsc_hz = NS_PER_SEC;
static u64 apic_mult; /* APIC ticks per ns, << 32; 0: not measured yet */
static u64 wall_start_ns;

/* One reading of a slow counter together with the TSC. */
struct pair {
	u64 tsc, counter;
};

static u64 pit_read(void)
{
	u8 low;

	outb(PIT_COMMAND, 0x80); /* latch channel 2 */
	low = inb(PIT_CHANNEL_2);
	return low | (u64)inb(PIT_CHANNEL_2) << 8;
}

static u64 apic_read_count(void)
{
	return apic_timer_count();
}

/* The reading that took the least time of several: nothing interrupted it. */
static struct pair read_pair(u64 (*read)(void))
{
	struct pair best = {0, 0};
	u64 least = ~0ul;

	for (u32 i = 0; i < PAIR_TRIES; i++) {
		u64 before = rdtsc(), counter = read(), after = rdtsc();

		if (after - before < least) {
			least = after - before;
			best = (struct pair){before + least / 2, counter};
		}
	}
	return best;
}

static u64 measure_tsc_hz(void)
{
	struct pair begin, end;

	outb(PORT_B, (inb(PORT_B) & ~2u) | 1u);
	do { /* again when the 16-bit counter ran out (a pause of 50 ms): its output rises then, and it begins anew */
		outb(PIT_COMMAND,
			0xb0); /* channel 2, low then high byte, mode 0: count down once */
		outb(PIT_CHANNEL_2, 0xff);
		outb(PIT_CHANNEL_2, 0xff);
		begin = read_pair(pit_read);
		while (begin.counter - pit_read() < CALIBRATE_PIT)
			cpu_relax();
		end = read_pair(pit_read);
	} while (inb(PORT_B) & PORT_B_OUT2 || end.counter >= begin.counter);
	return (end.tsc - begin.tsc) * PIT_HZ / (begin.counter - end.counter);
}

/* ---- the battery-backed clock ---------------------------------------------------------------- */

enum rtc_register {
	RTC_SEC = 0,
	RTC_MIN = 2,
	RTC_HOUR = 4,
	RTC_DAY = 7,
	RTC_MONTH = 8,
	RTC_YEAR = 9
};

struct rtc {
	u8 sec, min, hour, day, month, year;
};

static u8 rtc_read(u8 reg)
{
	outb(0x70, reg);
	return inb(0x71);
}

static struct rtc rtc_read_all(void)
{
	return (struct rtc){rtc_read(RTC_SEC), rtc_read(RTC_MIN), rtc_read(RTC_HOUR),
		rtc_read(RTC_DAY), rtc_read(RTC_MONTH), rtc_read(RTC_YEAR)};
}

static bool rtc_same(const struct rtc *a, const struct rtc *b)
{
	return a->sec == b->sec && a->min == b->min && a->hour == b->hour && a->day == b->day &&
	       a->month == b->month && a->year == b->year;
}

static u8 from_bcd(u8 v)
{
	return (v >> 4) * 10 + (v & 15);
}

/* Days from 1970-01-01 to a date of our calendar. Years begin in March, so leap days end one. */
static u64 days_since_1970(u64 year, u64 month, u64 day)
{
	u64 y = month > 2 ? year : year - 1, m = month > 2 ? month - 3 : month + 9;

	return y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719468;
}

/*
 * Seconds since 1970 by the RTC: read until two readings agree. A clock that says nonsense counts
 * as 0.
 */
static u64 rtc_seconds(void)
{
	struct rtc r = rtc_read_all(), again;
	u8 status = rtc_read(0x0b);
	bool pm;

	for (u32 tries = 0; tries < 10; tries++, r = again) {
		again = rtc_read_all();
		if (rtc_same(&r, &again))
			break;
	}
	pm = r.hour & 0x80;
	r.hour &= 0x7f;
	if (!(status & 4))
		r = (struct rtc){from_bcd(r.sec), from_bcd(r.min), from_bcd(r.hour),
			from_bcd(r.day), from_bcd(r.month), from_bcd(r.year)};
	if (!(status & 2))
		r.hour = r.hour % 12 + (pm ? 12 : 0);
	if (r.month < 1 || r.month > 12 || r.day < 1 || r.day > 31 || r.hour > 23 || r.min > 59)
		return 0;
	return days_since_1970(2000 + r.year, r.month, r.day) * 86400 + r.hour * 3600ul +
	       r.min * 60ul + r.sec;
}

/*
 * timer_init_clock - once, early, on the boot CPU: from here on time_ns() and printk's stamps run.
 */
void timer_init_clock(void)
{
	tsc_hz = measure_tsc_hz();
	ASSERT(tsc_hz > 1000000);
	timer_clock.mult = (NS_PER_SEC << 32) / tsc_hz;
	timer_clock.start = rdtsc();
	wall_start_ns = rtc_seconds() * NS_PER_SEC;
	printk_clock = time_ns;
}

/* Once: APIC timer ticks over half a millisecond of TSC time. */
static void measure_apic(void)
{
	struct pair begin, end;

	apic_timer_start(~0u);
	begin = read_pair(apic_read_count);
	timer_delay(500 * NS_PER_US);
	end = read_pair(apic_read_count);
	apic_timer_start(0);
	ASSERT(end.counter < begin.counter);
	u64 ns = (end.tsc - begin.tsc) * (timer_clock.mult >> 12) >> 20;
	apic_mult = ((begin.counter - end.counter) << 32) / ns;
	ASSERT(apic_mult);
}

/* timer_init_cpu - on each CPU, after apic_init_cpu(). The timer is stopped. Interrupts off. */
void timer_init_cpu(void)
{
	if (!apic_mult)
		measure_apic();
}

/* time_wall_ns - since 1970-01-01 UTC, by the RTC's reading at boot. */
u64 time_wall_ns(void)
{
	return wall_start_ns + time_ns();
}

u64 timer_tsc_hz(void)
{
	return tsc_hz;
}

/*
 * timer_arm - interrupt this CPU (VECTOR_TIMER) at deadline_ns, or soon if that has passed.
 *
 *   deadline_ns  ~0: never
 *   locks    interrupts off
 *   after    an earlier deadline of this CPU is forgotten
 */
void timer_arm(u64 deadline_ns)
{
	u64 now, ticks;

	if (deadline_ns == ~0ul) {
		apic_timer_start(0);
		return;
	}
	now = time_ns();
	ticks = deadline_ns > now ? deadline_ns - now : 0;
	ticks = (u64)((unsigned __int128)ticks * apic_mult >> 32) + 1;
	apic_timer_start(MIN(ticks, 0xfffffffful));
}

/* timer_delay - wait without sleeping; for hardware that needs a pause. */
void timer_delay(u64 ns)
{
	u64 end = time_ns() + ns;

	while (time_ns() < end)
		cpu_relax();
}
