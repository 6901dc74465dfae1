/*
 * objects.c - memory objects, pagers, memory of other spaces: memory.c, pager.c, access.c      self-tests
 *
 * The actors are threads of the lab with spaces of their own: a pager that fills pages of its memory and gives them away,
 * clients that touch what they map, and others who write, discard and withdraw in their way.
 */
#include "handle.h"
#include "ipc.h"
#include "lab.h"
#include "lib/string.h"
#include "mm/access.h"
#include "mm/buddy.h"
#include "mm/fault.h"
#include "mm/fork.h"
#include "mm/memory.h"
#include "mm/mmap.h"
#include "mm/uaccess.h"
#include "mm/vma.h"
#include "native.h"
#include "pager.h"
#include "printk.h"
#include "sched.h"
#include "seeded.h"
#include "vmstat.h"
#include "x86/timer.h"
#include <abi/errno.h>

#define RW     (PROT_READ | PROT_WRITE)
#define BUF    0x20000000ul /* the pager's page to fill, at a multiple of 2 MiB */
#define COOKIE 77

/* What a page of the object has in each of its words, as this pager fills it. */
static u64 word_at(u64 offset)
{
	return offset * 0x9e3779b97f4a7c15ull + COOKIE;
}

static enum fault_result fault_at(struct mm *mm, vaddr_t addr, bool write)
{
	struct fault f = {.mm = mm, .addr = addr, .write = write, .user = true};

	return fault_handle(&f);
}

/* --- a pager ------------------------------------------------------------------------------------ */

enum manner {
	HONEST,
	HUGE,    /* 2 MiB where they fit */
	MOVING,  /* into the client's own memory */
	SILENT,  /* answers, and supplies nothing */
	REFUSES, /* answers with an error */
	LIAR     /* a frame that is not its own, a wrong place, twice */
};

struct pager {
	struct lab_thread thread;
	struct mm *mm;
	struct endpoint *ep;
	enum manner manner;
	u32 asked,
		stop_after; /* leaves, without an answer to the last, after so many; 0: when killed */
	u32 wrong;          /* results that were not what they had to be */
	bool huge_asked;
};

static u64 fill_buffer(u64 offset, u64 bytes)
{
	u64 page[8];

	for (u64 at = 0; at < bytes; at += PAGE_SIZE) {
		for (unsigned i = 0; i < ARRAY_SIZE(page); i++)
			page[i] = word_at(offset + at);
		if (copy_to_user((void __user *)(BUF + at), page, sizeof(page)))
			return 0;
	}
	return bytes;
}

static int give(struct pager *p, u64 token, u64 offset, u64 bytes, vaddr_t source, u32 flags)
{
	struct pager_supply s = {
		.token = token, .offset = offset, .source = source, .bytes = bytes, .flags = flags};

	return pager_supply(p->ep, NULL, &s, p->mm);
}

static void lie(struct pager *p, u64 token, u64 offset)
{
	p->wrong += give(p, token, offset, PAGE_SIZE, BUF + 64 * PAGE_SIZE + 1, 0) != -EINVAL;
	p->wrong += give(p, token, offset, PAGE_SIZE, LAB_ELSEWHERE, 0) != -EFAULT;
	p->wrong += give(p, token, 1ul << 40, PAGE_SIZE, BUF, 0) != -EINVAL;
	p->wrong += give(p, token, offset, 3 * PAGE_SIZE, BUF, 0) != -EINVAL;
	p->wrong += give(p, token + 1000, offset, PAGE_SIZE, BUF, 0) != -ESRCH;
	p->wrong += give(p, token, offset, PAGE_SIZE, BUF, 0x80) != -EINVAL;
	p->wrong += give(p, token, offset, PAGE_SIZE, BUF, 0) != 0;
	fill_buffer(offset, PAGE_SIZE);
	p->wrong += give(p, token, offset, PAGE_SIZE, BUF, 0) != -EEXIST;
}

static void serve(struct pager *p, struct message *m)
{
	u64 offset = m->word[0], bytes = PAGE_SIZE;

	p->wrong += m->label != MESSAGE_FAULT || m->badge != COOKIE || offset % PAGE_SIZE;
	p->huge_asked |= m->word[2];
	m->label = p->manner == REFUSES;
	if (p->manner == SILENT || p->manner == REFUSES)
		return;
	if (p->manner == HUGE && m->word[2]) {
		bytes = HPAGE_PMD_SIZE;
		offset &= HPAGE_PMD_MASK;
	}
	fill_buffer(offset, bytes);
	if (p->manner == LIAR)
		lie(p, m->token, offset);
	else
		p->wrong += give(p, m->token, offset, bytes, BUF,
				    p->manner == MOVING ? SUPPLY_MOVED : 0) != 0;
}

static void pager_run(void *arg)
{
	struct pager *p = arg;
	struct ipc_thread *self = &current_thread()->ipc;
	int status;

	self->handles = current_handles();
	handle_install(self->handles, &p->ep->object, RIGHT_RECEIVE, 0, 1);
	status = ipc_receive(p->ep, DEADLINE_NEVER);
	while (!status) {
		if (++p->asked == p->stop_after)
			return;
		serve(p, &self->message);
		status = ipc_reply_receive(p->ep, DEADLINE_NEVER);
	}
}

/* A pager, an object it serves, and a client's space. */
struct stage {
	struct thp_settings before;
	struct pager pager;
	struct memory *m;
	struct mm *mm;
	u64 frames;
	u32 refused; /* withdrawals */
};

static bool stage_open(struct stage *s, u64 bytes, enum manner manner, bool shared)
{
	struct pager *p = &s->pager;
	bool ok;

	*s = (struct stage){.before = lab_begin(), .frames = lab_frames_used()};
	p->manner = manner;
	p->mm = lab_space();
	p->ep = endpoint_create();
	s->m = memory_create(bytes);
	s->mm = lab_space();
	ok = p->mm && p->ep && s->m && s->mm && lab_area(p->mm, BUF, HPAGE_PMD_SIZE);
	if (!ok)
		return false;
	memory_set_pager(s->m, &p->ep->object, COOKIE);
	return mmap_map_object(s->mm, s->m, 0, LAB_AREA, bytes, RW,
		       MAP_FIXED | (shared ? MAP_SHARED : MAP_PRIVATE), true, "paged") == LAB_AREA;
}

static bool pager_start(struct stage *s)
{
	return lab_start(&s->pager.thread, s->pager.mm, LAB_ANY_CPU, pager_run, &s->pager);
}

static void stage_close(struct ktest_ctx *ctx, struct stage *s)
{
	if (s->pager.thread.task) {
		task_kill(s->pager.thread.task, LAB_KILLED);
		lab_join(&s->pager.thread);
	}
	lab_space_end(s->mm);
	lab_space_end(s->pager.mm);
	if (s->m)
		object_put(&s->m->object);
	if (s->pager.ep)
		object_put(&s->pager.ep->object);
	KT_EXPECT(ctx, s->pager.wrong == 0);
	KT_EXPECT(ctx, lab_frames_back(s->frames));
	lab_end(ctx, &s->before);
}

/* --- clients ------------------------------------------------------------------------------------ */

struct client {
	struct lab_thread thread;
	u64 bytes, step;
	bool write;
	u32 good, bad; /* pages: with the right contents; without an answer */
};

static void client_run(void *arg)
{
	struct client *c = arg;

	for (u64 at = 0; at < c->bytes; at += c->step) {
		u64 value = 0;

		if (!lab_look_here(LAB_READ, LAB_AREA + at, &value)) {
			c->bad++;
			continue;
		}
		c->good += value == word_at(at & PAGE_MASK);
		if (c->write && lab_look_here(LAB_WRITE, LAB_AREA + at + 32, &value))
			c->good++;
	}
}

static bool client_go(struct client *c, struct mm *mm, u64 bytes, u64 step, bool write)
{
	*c = (struct client){.bytes = bytes, .step = step, .write = write};
	return lab_start(&c->thread, mm, LAB_ANY_CPU, client_run, c);
}

KTEST(pager, supplies_4k)
{
	struct stage s;
	struct client c;

	KT_REQUIRE(ctx, stage_open(&s, 64 * PAGE_SIZE, HONEST, false) && pager_start(&s));
	KT_EXPECT(ctx, client_go(&c, s.mm, 64 * PAGE_SIZE, PAGE_SIZE, true));
	lab_join(&c.thread);
	KT_EXPECT(ctx, c.good == 128 && c.bad == 0 && s.pager.asked == 64);
	KT_EXPECT(ctx, s.m->present == 64 && s.mm->nr_anon == 64 && s.mm->nr_shared == 0);
	stage_close(ctx, &s);
}

/* Text as the personality maps it: huge, read-only, shared by all; a write by one takes 4 KiB of its own. */
KTEST(pager, supplies_2m)
{
	struct stage s;
	struct client c;
	struct mm *other;

	KT_REQUIRE(ctx, stage_open(&s, 2 * HPAGE_PMD_SIZE, HUGE, false) && pager_start(&s));
	other = lab_space();
	KT_EXPECT(ctx,
		other && mmap_map_object(other, s.m, 0, LAB_AREA, 2 * HPAGE_PMD_SIZE, PROT_READ,
				 MAP_FIXED | MAP_PRIVATE, false, "text") == LAB_AREA);
	KT_EXPECT(ctx, client_go(&c, s.mm, 2 * HPAGE_PMD_SIZE, PAGE_SIZE, false));
	lab_join(&c.thread);
	KT_EXPECT(ctx, c.good == 1024 && s.pager.asked == 2 && s.pager.huge_asked);
	KT_EXPECT(ctx, lab_is_huge(s.mm, LAB_AREA) && !(lab_leaf(s.mm, LAB_AREA) & PTE_RW));
	KT_EXPECT(ctx, client_go(&c, other, 2 * HPAGE_PMD_SIZE, 64 * PAGE_SIZE, false));
	lab_join(&c.thread);
	KT_EXPECT(ctx, c.good == 16 && s.pager.asked == 2 && lab_is_huge(other, LAB_AREA));
	KT_EXPECT(ctx, lab_pfn(s.mm, LAB_AREA) == lab_pfn(other, LAB_AREA));
	KT_EXPECT(ctx, fault_at(s.mm, LAB_AREA + 5 * PAGE_SIZE, true) == FAULT_DONE);
	KT_EXPECT(ctx, s.mm->nr_anon == 1 && lab_is_huge(other, LAB_AREA));
	KT_EXPECT(ctx, memory_withdraw(s.m, 0, HPAGE_PMD_SIZE) == 0);
	KT_EXPECT(ctx, other->nr_shared == HPAGE_PMD_NR && s.mm->nr_shared == HPAGE_PMD_NR);
	lab_space_end(other);
	stage_close(ctx, &s);
}

KTEST(pager, supplies_moved)
{
	struct stage s;
	struct client c;

	KT_REQUIRE(ctx, stage_open(&s, 16 * PAGE_SIZE, MOVING, false) && pager_start(&s));
	KT_EXPECT(ctx, client_go(&c, s.mm, 16 * PAGE_SIZE, PAGE_SIZE, true));
	lab_join(&c.thread);
	KT_EXPECT(ctx, c.good == 32 && s.pager.asked == 16);
	KT_EXPECT(ctx, s.m->present == 0 && s.mm->nr_anon == 16);
	stage_close(ctx, &s);
}

/* Wrong in every way the protocol names: each is refused, the client is served all the same. */
KTEST(pager, lies)
{
	struct stage s;
	struct client c;

	KT_REQUIRE(ctx, stage_open(&s, 4 * PAGE_SIZE, LIAR, false) && pager_start(&s));
	KT_EXPECT(ctx, client_go(&c, s.mm, 4 * PAGE_SIZE, PAGE_SIZE, false));
	lab_join(&c.thread);
	KT_EXPECT(ctx, c.good == 4 && c.bad == 0);
	stage_close(ctx, &s);
}

KTEST(pager, answers_without_supplying)
{
	struct stage s;
	struct client c;

	KT_REQUIRE(ctx, stage_open(&s, PAGE_SIZE, SILENT, false) && pager_start(&s));
	KT_EXPECT(ctx, client_go(&c, s.mm, PAGE_SIZE, PAGE_SIZE, false));
	lab_join(&c.thread);
	KT_EXPECT(ctx, c.bad == 1 && s.pager.asked == PAGER_TRIES);
	s.pager.manner = REFUSES;
	KT_EXPECT(ctx, client_go(&c, s.mm, PAGE_SIZE, PAGE_SIZE, false));
	lab_join(&c.thread);
	KT_EXPECT(ctx, c.bad == 1 && s.pager.asked == PAGER_TRIES + 1);
	stage_close(ctx, &s);
}

/* It dies with a message in its hands, and another begins at the same endpoint: the client is served by that one. */
KTEST(pager, is_replaced)
{
	struct stage s;
	struct client c;

	KT_REQUIRE(ctx, stage_open(&s, 4 * PAGE_SIZE, HONEST, false));
	handle_opened(&s.pager.ep->object, RIGHT_RECEIVE); /* as init holds it */
	s.pager.stop_after = 1;
	KT_EXPECT(ctx, pager_start(&s));
	KT_EXPECT(ctx, client_go(&c, s.mm, 4 * PAGE_SIZE, PAGE_SIZE, false));
	lab_join(&s.pager.thread);
	s.pager.stop_after = 0;
	KT_EXPECT(ctx, pager_start(&s));
	lab_join(&c.thread);
	KT_EXPECT(ctx, c.good == 4 && c.bad == 0 && s.pager.asked == 5);
	handle_closed(&s.pager.ep->object, RIGHT_RECEIVE);
	stage_close(ctx, &s);
}

/* It dies with a message in its hands each time: after PAGER_TRIES the client has waited enough. */
KTEST(pager, dies_again_and_again)
{
	struct stage s;
	struct client c;

	KT_REQUIRE(ctx, stage_open(&s, PAGE_SIZE, HONEST, false));
	handle_opened(&s.pager.ep->object, RIGHT_RECEIVE);
	KT_EXPECT(ctx, client_go(&c, s.mm, PAGE_SIZE, PAGE_SIZE, false));
	for (u32 i = 1; i <= PAGER_TRIES; i++) {
		s.pager.stop_after = i;
		KT_EXPECT(ctx, pager_start(&s));
		lab_join(&s.pager.thread);
	}
	lab_join(&c.thread);
	KT_EXPECT(ctx, c.bad == 1 && s.pager.asked == PAGER_TRIES);
	handle_closed(&s.pager.ep->object, RIGHT_RECEIVE);
	stage_close(ctx, &s);
}

/* It dies with a message in its hands, then nobody is there at all: only its own clients feel it. */
KTEST(pager, dies)
{
	struct stage s;
	struct client c;
	u64 deadline = time_ns() + LAB_LIMIT_NS;

	KT_REQUIRE(ctx, stage_open(&s, PAGE_SIZE, HONEST, false));
	s.pager.stop_after = 1;
	KT_EXPECT(ctx, pager_start(&s));
	KT_EXPECT(ctx, client_go(&c, s.mm, PAGE_SIZE, PAGE_SIZE, false));
	lab_join(&c.thread);
	lab_join(&s.pager.thread);
	KT_EXPECT(ctx, c.bad == 1 && time_ns() < deadline);
	KT_EXPECT(ctx, client_go(&c, s.mm, PAGE_SIZE, PAGE_SIZE, false));
	lab_join(&c.thread);
	KT_EXPECT(ctx, c.bad == 1 && time_ns() < deadline);
	stage_close(ctx, &s);
}

/* It never answers: the client sleeps, and can be killed. */
KTEST(pager, never_answers)
{
	struct stage s;
	struct client c;
	u64 deadline = time_ns() + LAB_LIMIT_NS;

	KT_REQUIRE(ctx, stage_open(&s, PAGE_SIZE, HONEST, false));
	KT_EXPECT(ctx, client_go(&c, s.mm, PAGE_SIZE, PAGE_SIZE, false));
	while (READ_ONCE(c.thread.task->thread->ipc.state) != IPC_QUEUED && time_ns() < deadline)
		sched_yield();
	KT_EXPECT(ctx, mmap_unmap(s.mm, LAB_AREA, PAGE_SIZE) == 0); /* no lock is held meanwhile */
	task_kill(c.thread.task, LAB_KILLED);
	lab_join(&c.thread);
	KT_EXPECT(ctx, time_ns() < deadline);
	stage_close(ctx, &s);
}

/* Ring 3 itself: served, and with SIGBUS beyond the end. */
KTEST(pager, ring_3)
{
	struct stage s;
	struct lab_eye eye;
	u64 value = 0;

	KT_REQUIRE(ctx, stage_open(&s, 2 * PAGE_SIZE, HONEST, true) && pager_start(&s));
	KT_EXPECT(ctx, memory_resize(s.m, PAGE_SIZE) == 0);
	KT_EXPECT(ctx, lab_eye_open(&eye, s.mm, LAB_ANY_CPU));
	KT_EXPECT(ctx, lab_eye_look(&eye, LAB_READ, LAB_AREA, &value) && value == word_at(0));
	value = 5;
	KT_EXPECT(ctx, lab_eye_look(&eye, LAB_WRITE, LAB_AREA, &value));
	KT_EXPECT(ctx, mm_read(s.mm, LAB_AREA, &value, 8) == 8 && value == 5);
	KT_EXPECT(ctx, !lab_eye_look(&eye, LAB_READ, LAB_AREA + PAGE_SIZE, &value));
	KT_EXPECT(ctx, lab_join(&eye.thread) == 7); /* SIGBUS */
	stage_close(ctx, &s);
}

/* --- what it costs --------------------------------------------------------------------------------- */

#define COST_PAGES 64

/* A pager whose pages are filled beforehand: the frame changes hands, nothing else. */
static void ready_pager_run(void *arg)
{
	struct pager *p = arg;
	struct ipc_thread *self = &current_thread()->ipc;
	u64 bytes = p->manner == HUGE ? HPAGE_PMD_SIZE : PAGE_SIZE;
	int status;

	self->handles = current_handles();
	fill_buffer(0, COST_PAGES * bytes);
	status = ipc_receive(p->ep, DEADLINE_NEVER);
	while (!status) {
		u64 offset = self->message.word[0];

		p->wrong += give(p, self->message.token, offset, bytes, BUF + offset, 0) != 0;
		self->message.label = 0;
		p->asked++;
		status = ipc_reply_receive(p->ep, DEADLINE_NEVER);
	}
}

static void cost_run(void *arg)
{
	struct client *c = arg;
	u64 value, begin = rdtsc();

	for (u64 at = 0; at < c->bytes; at += c->step)
		c->bad += !lab_look_here(LAB_READ, LAB_AREA + at, &value);
	c->good = (u32)((rdtsc() - begin) / (c->bytes / c->step));
}

/* Ticks of one fault, from the touch to the byte, both threads on one CPU: instructions under ICOUNT=1. */
static void cost(struct ktest_ctx *ctx, enum manner manner, u64 step, u32 pages)
{
	struct stage s;
	struct client c = {.bytes = pages * step, .step = step};

	KT_REQUIRE(ctx, stage_open(&s, c.bytes, manner, false));
	thp_settings.enabled = manner == HUGE ? THP_ALWAYS : THP_NEVER;
	KT_EXPECT(ctx, lab_area(s.pager.mm, BUF + HPAGE_PMD_SIZE, COST_PAGES * HPAGE_PMD_SIZE));
	KT_EXPECT(ctx, lab_start(&s.pager.thread, s.pager.mm, 0, ready_pager_run, &s.pager));
	sched_sleep_until(time_ns() + 500 * NS_PER_MS);
	KT_EXPECT(ctx, lab_start(&c.thread, s.mm, 0, cost_run, &c));
	lab_join(&c.thread);
	KT_EXPECT(ctx, c.bad == 0 && s.pager.asked == pages);
	printk("ktest: pager fault of %lu KiB: %u ticks", step >> 10, c.good);
	stage_close(ctx, &s);
}

KTEST_ON_REQUEST(object_cost, pager_4k)
{
	cost(ctx, HONEST, PAGE_SIZE, COST_PAGES);
}

KTEST_ON_REQUEST(object_cost, pager_2m)
{
	cost(ctx, HUGE, HPAGE_PMD_SIZE, 16);
}

KTEST_ON_REQUEST(object_cost, mm_read)
{
	struct thp_settings before = lab_begin();
	struct mm *mm = lab_space();
	u64 begin, page[8];

	KT_REQUIRE(
		ctx, mm && lab_area(mm, LAB_AREA, PAGE_SIZE) && lab_fill(mm, LAB_AREA, PAGE_SIZE));
	mm_read(mm, LAB_AREA, page, 64);
	begin = rdtsc();
	for (unsigned i = 0; i < 100; i++)
		mm_read(mm, LAB_AREA, page, 64);
	printk("ktest: mm_read of 64 bytes: %lu ticks", (rdtsc() - begin) / 100);
	lab_space_end(mm);
	lab_end(ctx, &before);
}

static void task_read_run(void *arg)
{
	struct regs r = {.rsi = LAB_AREA, .rdx = LAB_AREA + 2048, .r10 = 64};
	u64 *ticks = arg, begin;
	bool ok = true;

	r.rdi = (u64)handle_install(current_handles(), &current_task()->object, RIGHT_READ, 0, 0);
	ok &= native_task_read(&r) == 64;
	begin = rdtsc();
	for (unsigned i = 0; i < 100; i++)
		ok &= native_task_read(&r) == 64;
	*ticks = ok ? (rdtsc() - begin) / 100 : 0;
	handle_close(current_handles(), (u32)r.rdi);
}

KTEST_ON_REQUEST(object_cost, task_read)
{
	struct thp_settings before = lab_begin();
	struct lab_thread t;
	struct mm *mm = lab_space();
	u64 ticks = 0;

	KT_REQUIRE(
		ctx, mm && lab_area(mm, LAB_AREA, PAGE_SIZE) && lab_fill(mm, LAB_AREA, PAGE_SIZE));
	KT_EXPECT(ctx, lab_start(&t, mm, LAB_ANY_CPU, task_read_run, &ticks));
	lab_join(&t);
	KT_EXPECT(ctx, ticks);
	printk("ktest: task_read of 64 bytes: %lu ticks", ticks);
	lab_space_end(mm);
	lab_end(ctx, &before);
}

/* --- who gets in each other's way ------------------------------------------------------------------ */

#define RACE_ROUNDS 100000u

static void discard(void *arg)
{
	struct stage *s = arg;
	u64 faults = 0;

	mmap_advise(s->mm, LAB_AREA, PAGE_SIZE, MADV_DONTNEED, &faults);
}

/* The object's own page, by the kernel's map: what a private write must never change. */
static bool untouched(struct stage *s, struct mm *witness)
{
	u64 value = 0;

	return mm_read(witness, LAB_AREA + 32, &value, 8) == 8 && value == word_at(0) &&
	       s->m->present == 1;
}

struct discards {
	const struct lab_rival *rival;
	u32 mark; /* its rounds when the window was entered; ~0: not yet */
};

/* For seeded_meet(): the copy has been thrown away, from beginning to end, since the window was entered. */
static bool has_discarded(void *arg)
{
	struct discards *d = arg;

	if (d->mark == ~0u)
		d->mark = READ_ONCE(d->rival->rounds);
	return READ_ONCE(d->rival->rounds) - d->mark >= 2;
}

/*
 * CVE-2016-5195, CVE-2022-2590: write into a private area from outside, while its owner throws the copy away. The shared
 * page keeps its contents, always.
 */
static void dirty_cow(struct ktest_ctx *ctx, u32 rounds, u64 ns)
{
	struct lab_race race;
	struct stage s;
	struct lab_rival rival;
	struct discards discards = {&rival, ~0u};
	struct client c;
	struct mm *witness;
	u64 evil = 0xbad, lost = 0;
	u32 done = 0;
	bool ok = true;

	KT_REQUIRE(ctx, stage_open(&s, PAGE_SIZE, HONEST, false) && pager_start(&s));
	witness = lab_space();
	KT_EXPECT(ctx, witness && mmap_map_object(witness, s.m, 0, LAB_AREA, PAGE_SIZE, PROT_READ,
					  MAP_FIXED | MAP_SHARED, false, "witness") == LAB_AREA);
	KT_EXPECT(ctx, client_go(&c, s.mm, PAGE_SIZE, PAGE_SIZE, false));
	lab_join(&c.thread);
	KT_EXPECT(ctx, lab_rival_go(&rival, s.mm, LAB_ANY_CPU, discard, &s));
	seeded_meet(has_discarded, &discards);
	race = lab_race_begin(rounds, ns);
	for (; ok && lab_race_goes_on(&race, done); done++) {
		u64 value = 0;

		discards.mark = ~0u;

		ok = mm_write(s.mm, LAB_AREA + 32, &evil, 8) == 8;
		mm_read(s.mm, LAB_AREA + 32, &value, 8);
		ok &= value == evil || value == word_at(0);
		lost += value != evil;
		ok &= done % 64 || untouched(&s, witness);
	}
	KT_EXPECT(ctx, ok && done >= race.least && untouched(&s, witness));
	seeded_meet(NULL, NULL);
	lab_rival_end(&rival);
	KT_EXPECT(ctx, untouched(&s, witness));
	printk("ktest: dirty cow: %u writes, %u discards, %lu lost between write and read", done,
		rival.rounds, lost);
	lab_space_end(witness);
	stage_close(ctx, &s);
}

KTEST(object, a_private_write_never_reaches_the_object)
{
	dirty_cow(ctx, RACE_ROUNDS, LAB_RACE_NS);
}

/* Ten times as long, for who asks for it. */
KTEST_ON_REQUEST(object_long, a_private_write_never_reaches_the_object)
{
	dirty_cow(ctx, 10 * RACE_ROUNDS, LAB_LONG_NS);
}

static void withdraw(void *arg)
{
	struct stage *s = arg;

	if (memory_withdraw(s->m, 0, s->m->nr_pages << PAGE_SHIFT))
		s->refused++;
}

/* The same with the pager in the middle: pages come and go while they are read, written, copied. */
static void come_and_go(
	struct ktest_ctx *ctx, enum manner manner, bool shared, u64 bytes, u32 rounds)
{
	struct stage s;
	struct lab_rival rival;
	struct client c[2];
	struct lab_race race;

	KT_REQUIRE(ctx, stage_open(&s, bytes, manner, shared) && pager_start(&s));
	KT_EXPECT(ctx, lab_rival_go(&rival, s.mm, LAB_ANY_CPU, withdraw, &s));
	race = lab_race_begin(rounds, LAB_RACE_NS);
	for (u32 done = 0; lab_race_goes_on(&race, done); done++) {
		for (unsigned n = 0; n < 2; n++)
			KT_EXPECT(ctx, client_go(&c[n], s.mm, bytes, n ? 7 * PAGE_SIZE : PAGE_SIZE,
					       !shared && n));
		for (unsigned n = 0; n < 2; n++) {
			u64 pages = (bytes + c[n].step - 1) / c[n].step;

			lab_join(&c[n].thread);
			KT_EXPECT(ctx, c[n].bad == 0 && c[n].good == pages << c[n].write);
		}
	}
	lab_rival_end(&rival);
	KT_EXPECT(ctx, s.refused == 0 && rival.rounds > 0);
	/* A page that two clients wait for may be supplied for one of them already. */
	s.pager.wrong = 0;
	stage_close(ctx, &s);
}

KTEST(object, pages_come_and_go)
{
	come_and_go(ctx, HONEST, false, 32 * PAGE_SIZE, 20);
	come_and_go(ctx, HONEST, true, 32 * PAGE_SIZE, 20);
}

KTEST(object, huge_pages_come_and_go)
{
	if (!lab_has_memory(32 * HPAGE_PMD_SIZE))
		KT_SKIP(ctx, "not enough memory");
	come_and_go(ctx, HUGE, false, HPAGE_PMD_SIZE, 3);
	come_and_go(ctx, HUGE, true, HPAGE_PMD_SIZE, 3);
}

struct giver {
	struct lab_thread thread;
	struct stage *s;
	u64 page; /* of the object, and of the huge page that is given away in parts */
	u32 *ready;
	int result;
};

static void giver_run(void *arg)
{
	struct giver *g = arg;
	u64 offset = g->page << PAGE_SHIFT;

	__atomic_add_fetch(g->ready, 1, __ATOMIC_RELAXED);
	while (__atomic_load_n(g->ready, __ATOMIC_RELAXED) < 2)
		preempt_point();
	g->result = memory_supply(g->s->m, offset, PAGE_SIZE, g->s->pager.mm, BUF + offset);
}

/* Two threads of a pager give parts of one huge page away: each finds the other at it, and neither hears of that. */
KTEST(object, parts_of_one_huge_page)
{
	struct stage s;
	struct giver g[2];

	if (!lab_has_memory(8 * HPAGE_PMD_SIZE))
		KT_SKIP(ctx, "not enough memory");
	KT_REQUIRE(ctx, stage_open(&s, HPAGE_PMD_SIZE, HUGE, false));
	for (u32 round = 0; round < 100; round++) {
		struct mm *mm = s.pager.mm;
		u32 ready = 0;

		mmap_unmap(mm, BUF, HPAGE_PMD_SIZE);
		KT_EXPECT(ctx, lab_area(mm, BUF, HPAGE_PMD_SIZE));
		KT_EXPECT(ctx, lab_fill(mm, BUF, HPAGE_PMD_SIZE) && lab_is_huge(mm, BUF));
		for (unsigned i = 0; i < 2; i++) {
			g[i] = (struct giver){
				.s = &s, .page = 2 * round + i, .ready = &ready, .result = 1};
			KT_EXPECT(ctx, lab_start(&g[i].thread, mm, LAB_ANY_CPU, giver_run, &g[i]));
		}
		for (unsigned i = 0; i < 2; i++) {
			lab_join(&g[i].thread);
			KT_EXPECT(ctx, g[i].result == 0);
		}
	}
	stage_close(ctx, &s);
}

static void withdraw_at_times(void *arg)
{
	withdraw(arg);
	sched_sleep_until(time_ns() + 2 * NS_PER_MS);
}

/*
 * CVE-2022-2590: the same while the object's page itself comes and goes, so that the private area now maps the pager's page,
 * now a copy of its own, now nothing.
 */
KTEST(object, a_private_write_while_the_page_comes_and_goes)
{
	struct stage s;
	struct lab_rival rival;
	struct client c;
	struct mm *witness;
	u64 evil = 0xbad;
	u32 written = 0;
	bool ok = true;

	KT_REQUIRE(ctx, stage_open(&s, PAGE_SIZE, HONEST, false) && pager_start(&s));
	witness = lab_space();
	KT_EXPECT(ctx, witness && mmap_map_object(witness, s.m, 0, LAB_AREA, PAGE_SIZE, PROT_READ,
					  MAP_FIXED | MAP_SHARED, false, "witness") == LAB_AREA);
	KT_EXPECT(ctx, lab_rival_go(&rival, s.mm, LAB_ANY_CPU, withdraw_at_times, &s));
	for (u32 i = 0; i < 100 && ok; i++) {
		u64 value = word_at(0);

		KT_EXPECT(ctx, client_go(&c, s.mm, PAGE_SIZE, PAGE_SIZE, false));
		lab_join(&c.thread);
		written += mm_write(s.mm, LAB_AREA + 32, &evil, 8) == 8;
		if (mm_read(witness, LAB_AREA + 32, &value, 8) == 8)
			ok = value == word_at(0);
		discard(&s);
	}
	lab_rival_end(&rival);
	KT_EXPECT(ctx, ok);
	KT_EXPECT(ctx, written > 0);
	KT_EXPECT(ctx, s.refused == 0);
	KT_EXPECT(ctx, client_go(&c, witness, 64, 32, false));
	lab_join(&c.thread);
	KT_EXPECT(ctx, c.bad == 0 && c.good == 2);
	s.pager.wrong = 0; /* a page may be asked for twice and withdrawn in between */
	lab_space_end(witness);
	stage_close(ctx, &s);
}

/* CVE-2020-29374: who reads a copy-on-write page of one side never sees what the other side writes later. */
KTEST(object, a_reader_sees_no_later_write)
{
	struct thp_settings before = lab_begin();
	struct mm *mm = lab_space(), *child;
	u64 value = 1, seen;
	bool ok = true;

	KT_REQUIRE(ctx, mm && lab_area(mm, LAB_AREA, HPAGE_PMD_SIZE));
	KT_EXPECT(ctx, mm_write(mm, LAB_AREA + 8, &value, 8) == 8);
	child = fork_mm(mm);
	KT_REQUIRE(ctx, child);
	for (value = 2; value < 1000; value++) {
		ok &= mm_write(mm, LAB_AREA + 8, &value, 8) == 8;
		ok &= mm_read(child, LAB_AREA + 8, &seen, 8) == 8 && seen == 1;
		ok &= mm_read(mm, LAB_AREA + 8, &seen, 8) == 8 && seen == value;
	}
	KT_EXPECT(ctx, ok);
	lab_space_end(child);
	lab_space_end(mm);
	lab_end(ctx, &before);
}

/* What the rights of the area, and its edges, say to who comes from outside. */
KTEST(object, access_from_outside)
{
	struct thp_settings before = lab_begin();
	struct mm *mm = lab_space();
	static u8 buf[3 * PAGE_SIZE];
	bool ok = true;

	KT_REQUIRE(ctx, mm && lab_area(mm, LAB_AREA, 2 * PAGE_SIZE));
	memset(buf, 0x5a, sizeof(buf));
	KT_EXPECT(ctx, mm_write(mm, LAB_AREA + 100, buf, 2 * PAGE_SIZE) == 2 * PAGE_SIZE - 100);
	memset(buf, 0, sizeof(buf));
	KT_EXPECT(ctx, mm_read(mm, LAB_AREA + 50, buf, 3 * PAGE_SIZE) == 2 * PAGE_SIZE - 50);
	for (u64 i = 0; i < 2 * PAGE_SIZE - 50; i++)
		ok &= buf[i] == (i < 50 ? 0 : 0x5a);
	KT_EXPECT(ctx, ok);
	KT_EXPECT(ctx, mm_read(mm, LAB_AREA - 1, buf, 1) == -EFAULT);
	KT_EXPECT(ctx, mm_read(mm, LAB_AREA + 2 * PAGE_SIZE, buf, 1) == -EFAULT);
	KT_EXPECT(ctx, mm_read(mm, ~0ul, buf, 8) == -EFAULT);
	KT_EXPECT(ctx, mm_write(mm, 0xffff800000000000ul, buf, 8) == -EFAULT);
	KT_EXPECT(ctx, mm_read(mm, USER_END - 4, buf, 8) == -EFAULT);
	KT_EXPECT(ctx, mmap_protect(mm, LAB_AREA, PAGE_SIZE, PROT_READ) == 0);
	KT_EXPECT(ctx, mm_write(mm, LAB_AREA, buf, 8) == -EFAULT);
	KT_EXPECT(ctx, mm_read(mm, LAB_AREA, buf, 8) == 8);
	KT_EXPECT(ctx, mmap_protect(mm, LAB_AREA, PAGE_SIZE, PROT_NONE) == 0);
	KT_EXPECT(ctx, mm_read(mm, LAB_AREA, buf, 8) == -EFAULT);
	KT_EXPECT(ctx, mm_read(mm, LAB_AREA, buf, 0) == 0);
	lab_space_end(mm);
	lab_end(ctx, &before);
}

/* What the end of a task would bring back: pages of its objects although nobody maps them, and what names pages. */
KTEST(object, weighs_what_it_keeps)
{
	static const u64 word = 1;
	u64 frames = lab_frames_used();
	struct handle_table t;
	struct memory *m = memory_create(4 * HPAGE_PMD_SIZE);
	int handle = 0;

	KT_REQUIRE(ctx, m);
	handle_table_init(&t);
	KT_EXPECT(ctx, handle_table_weight(&t) == 0);
	for (u64 i = 0; i < 3; i++)
		KT_EXPECT(ctx, memory_write(m, i * HPAGE_PMD_SIZE, &word, sizeof(word)) == 0);
	handle = handle_install(&t, &m->object, RIGHT_READ, 0, 0);
	KT_EXPECT(ctx, handle > 0 && handle_table_weight(&t) == 3 * PAGE_SIZE + 4 * sizeof(u64));
	object_put(&m->object);
	KT_EXPECT(ctx, handle_close(&t, (u32)handle) == 0 && handle_table_weight(&t) == 0);
	handle_table_release(&t);
	KT_EXPECT(ctx, lab_frames_back(frames));
}
