/*
 * personality.c - tasks whose calls are messages: task.c, control.c, futex.c, native_task.c        self-tests
 *
 * The test is the personality: it receives at an endpoint what the threads of a puppet do. A puppet is a task with a
 * page of code; its threads make the call whose number is in rax, and then the call whose number was the answer.
 */
#include "control.h"
#include "futex.h"
#include "handle.h"
#include "ktest.h"
#include "lab.h"
#include "lib/string.h"
#include "mm/mmap.h"
#include "mm/uaccess.h"
#include "native.h"
#include "sched.h"
#include "x86/fpu.h"
#include "x86/switch.h"
#include "x86/timer.h"
#include <abi/errno.h>
#include <abi/syscall.h>

#define WORDS   0x10000000ul /* a page for data, then the code */
#define CODE    (WORDS + PAGE_SIZE)
#define NOWHERE 0x500000000ul
#define FORWARD 500 /* a number the kernel does not own */
#define SIGILL  4
#define SIGTRAP 5
#define SIGKILL 9
#define SIGSEGV 11

extern const u8 puppet_code[], puppet_code_end[];

/* Offsets in the code. */
#define DO_CALL  0x00 /* syscall, for ever */
#define DO_SPIN  0x10
#define DO_UD2   0x20 /* then as DO_CALL */
#define DO_WRITE 0x30 /* rsi to *rdi, then as DO_CALL */
#define DO_INT3  0x40
#define DO_STEP  0x50 /* sets TF, then as DO_CALL */

asm(".pushsection .rodata\n"
    "puppet_code:\n"
    "1:	syscall\n"
    "	jmp 1b\n"
    "	.org puppet_code + 0x10\n"
    "2:	pause\n"
    "	jmp 2b\n"
    "	.org puppet_code + 0x20\n"
    "	ud2\n"
    "	jmp 1b\n"
    "	.org puppet_code + 0x30\n"
    "	movq %rsi, (%rdi)\n"
    "	jmp 1b\n"
    "	.org puppet_code + 0x40\n"
    "	int3\n"
    "	jmp 1b\n"
    "	.org puppet_code + 0x50\n"
    "	pushfq\n"
    "	orq $0x100, (%rsp)\n"
    "	popfq\n"
    "	nop\n"
    "	jmp 1b\n"
    "puppet_code_end:\n"
    ".popsection\n");

/* --- a puppet ------------------------------------------------------------------------------------------- */

struct puppet {
	struct endpoint *ep;
	struct task *task;
};

static bool map_code(struct mm *mm)
{
	if (mmap_map_named(mm, WORDS, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, 0, "puppet") ||
		!lab_fill(mm, WORDS, 2 * PAGE_SIZE))
		return false;
	memset(lab_word(mm, WORDS), 0, PAGE_SIZE);
	memcpy(lab_word(mm, CODE), puppet_code, puppet_code_end - puppet_code);
	return mmap_protect(mm, CODE, PAGE_SIZE, PROT_READ | PROT_EXEC) == 0;
}

static bool puppet_open(struct puppet *p)
{
	struct mm *mm = lab_space();

	*p = (struct puppet){.ep = endpoint_create()};
	if (mm && p->ep && map_code(mm))
		p->task = task_create_empty(mm, NULL, p->ep, p->ep);
	if (!p->task)
		lab_space_end(mm);
	return p->task;
}

static void puppet_close(struct puppet *p)
{
	if (p->task) {
		task_kill(p->task, SIGKILL);
		task_wait(p->task);
	}
	if (p->ep)
		object_put(&p->ep->object);
}

static void enter(void *arg)
{
	sched_enter_user(current_thread()->user_regs);
}

/* A thread that does `what` first: call number rax with rdi and rsi. Not started. */
static struct thread *puppet_thread(
	struct puppet *p, u64 cookie, u32 what, u64 rax, u64 rdi, u64 rsi)
{
	struct thread *th;

	if (task_add_thread(p->task, enter, NULL, &th))
		return NULL;
	th->cookie = cookie;
	user_regs_init(th->user_regs, CODE + what, WORDS + PAGE_SIZE - 64);
	th->user_regs->rax = rax;
	th->user_regs->rdi = rdi;
	th->user_regs->rsi = rsi;
	return th;
}

static struct thread *puppet_run(struct puppet *p, u64 cookie, u32 what, u64 rax, u64 rdi, u64 rsi)
{
	struct thread *th = puppet_thread(p, cookie, what, rax, rdi, rsi);

	if (th)
		task_start_thread(th);
	return th;
}

static void thread_put(struct thread *th)
{
	if (th)
		object_put(&th->object);
}

static struct message receive(struct puppet *p)
{
	struct message none = {0};

	return ipc_receive(p->ep, time_ns() + LAB_LIMIT_NS) ? none : current_thread()->ipc.message;
}

static int reply(struct puppet *p, const struct message *m, u64 label)
{
	current_thread()->ipc.message = (struct message){.token = m->token, .label = label};
	return ipc_reply(p->ep);
}

static bool is_call(const struct message *m, u64 cookie, u32 nr)
{
	return m->label == MESSAGE_SYSCALL + nr && m->badge == cookie;
}

static bool is_exit(const struct message *m, u64 cookie, int status, bool last)
{
	return m->label == MESSAGE_EXIT && m->badge == cookie && m->word[0] == (u64)status &&
	       m->word[1] == last;
}

/* The next end; calls of those that are about to withdraw are passed over. */
static struct message receive_exit(struct puppet *p)
{
	struct message m;

	do
		m = receive(p);
	while (m.label && m.label != MESSAGE_EXIT);
	return m;
}

static bool sleeps(const struct thread *th, const char *where)
{
	for (u64 end = time_ns() + LAB_LIMIT_NS; time_ns() < end;
		sched_sleep_until(time_ns() + NS_PER_MS)) {
		const char *name = thread_waiting_name(th);

		if (READ_ONCE(th->state) == THREAD_BLOCKED && name && !strcmp(name, where))
			return true;
	}
	return false;
}

/* Its message waits for a receiver. */
static bool is_queued(const struct thread *th)
{
	for (u64 end = time_ns() + LAB_LIMIT_NS; time_ns() < end;
		sched_sleep_until(time_ns() + NS_PER_MS))
		if (READ_ONCE(th->state) == THREAD_BLOCKED &&
			READ_ONCE(th->ipc.state) == IPC_QUEUED)
			return true;
	return false;
}

/* It runs in ring 3, as far as anybody can see. */
static bool runs(const struct thread *th)
{
	for (u64 end = time_ns() + LAB_LIMIT_NS; time_ns() < end;
		sched_sleep_until(time_ns() + NS_PER_MS)) {
		u32 state = READ_ONCE(th->state);

		if (state == THREAD_RUNNING || state == THREAD_READY)
			return true;
	}
	return false;
}

/* --- calls and the end ------------------------------------------------------------------------------------ */

KTEST(personality, calls_are_messages)
{
	struct puppet p;
	struct message m;
	struct thread *th;

	KT_REQUIRE(ctx, puppet_open(&p));
	th = puppet_run(&p, 77, DO_CALL, FORWARD, 11, 22);
	for (u32 i = 0; th && i < 100; i++) {
		m = receive(&p);
		KT_EXPECT(ctx, is_call(&m, 77, FORWARD + i));
		KT_EXPECT(ctx, m.word[0] == 11 && m.word[1] == 22);
		KT_EXPECT(ctx, reply(&p, &m, FORWARD + i + 1) == 0);
	}
	m = receive(&p);
	KT_EXPECT(ctx, reply(&p, &m, SYS_exit) == 0); /* exit(11) */
	m = receive(&p);
	KT_EXPECT(ctx, is_exit(&m, 77, 11 << 8, true));
	KT_EXPECT(
		ctx, p.task->state == TASK_ENDED && !p.task->mm && p.task->exit_status == 11 << 8);
	KT_EXPECT(ctx, task_check());
	thread_put(th);
	puppet_close(&p);
}

/* Three threads leave one by one; the last of them ends the task. */
KTEST(personality, threads_leave_one_by_one)
{
	struct puppet p;
	struct thread *th[3];

	KT_REQUIRE(ctx, puppet_open(&p));
	for (u32 i = 0; i < 3; i++)
		th[i] = puppet_thread(&p, i, DO_CALL, SYS_exit, 40 + i, 0);
	for (u32 i = 0; i < 3; i++) {
		struct message m;

		KT_EXPECT(
			ctx, p.task->nr_threads == 3 - i && p.task->thread == th[i] && p.task->mm);
		KT_EXPECT(ctx, task_check() && task_start_thread(th[i]) == 0);
		KT_EXPECT(ctx, task_start_thread(th[i]) == -EINVAL);
		m = receive(&p);
		KT_EXPECT(ctx, is_exit(&m, i, (int)(40 + i) << 8, i == 2));
	}
	KT_EXPECT(ctx, p.task->exit_status == 42 << 8);
	KT_EXPECT(ctx, task_add_thread(p.task, enter, NULL, &th[0]) == -ESRCH);
	for (u32 i = 0; i < 3; i++)
		thread_put(th[i]);
	puppet_close(&p);
}

/* Killed while a thread for it is being set up: the thread stays outside, with its registers, and is given up. */
KTEST(personality, killed_between_make_and_enter)
{
	struct puppet p;
	struct thread *th;

	KT_REQUIRE(ctx, puppet_open(&p));
	KT_REQUIRE(ctx, task_make_thread(p.task, enter, NULL, &th) == 0);
	KT_EXPECT(ctx, p.task->nr_threads == 0);
	task_kill(p.task, SIGKILL);
	user_regs_init(th->user_regs, CODE, WORDS);
	KT_EXPECT(ctx, th->state == THREAD_NEW && task_enter_thread(th) == -ESRCH);
	thread_discard(th);
	puppet_close(&p);
}

/* The word of set_tid_address is cleared and its waiter woken only while somebody else is in the space. */
KTEST(personality, clear_child_tid)
{
	struct puppet p;
	struct thread *th[2];
	struct message m;
	u64 *word;

	KT_REQUIRE(ctx, puppet_open(&p));
	word = lab_word(p.task->mm, WORDS);
	*word = 0x5a5a5a5a5a5a5a5a;
	th[0] = puppet_thread(&p, 1, DO_CALL, SYS_exit, 0, 0);
	th[1] = puppet_run(&p, 2, DO_CALL, FORWARD, 0, 0);
	th[0]->clear_child_tid = WORDS;
	m = receive(&p);
	task_start_thread(th[0]);
	{
		struct message end = receive(&p);

		KT_EXPECT(ctx, is_exit(&end, 1, 0, false));
	}
	KT_EXPECT(ctx, *word == 0x5a5a5a5a00000000);
	reply(&p, &m, SYS_exit);
	m = receive(&p);
	KT_EXPECT(ctx, is_exit(&m, 2, 0, true));
	thread_put(th[0]);
	thread_put(th[1]);
	puppet_close(&p);
}

/* --- kill, wherever a thread is ------------------------------------------------------------------------------ */

enum where {
	AT_NEW,
	AT_QUEUED,
	AT_UNANSWERED,
	AT_SPIN,
	AT_SLEEP,
	AT_FUTEX,
	AT_SUSPENDED,
	AT_EXCEPTION,
	AT_INTERRUPTED,
	NR_WHERE
};

/* Brings a thread there. A message that was received and is not answered stays so. */
static struct thread *thread_at(struct puppet *p, u64 cookie, enum where where)
{
	struct thread *th;

	switch (where) {
	case AT_NEW:
		return puppet_thread(p, cookie, DO_SPIN, 0, 0, 0);
	case AT_QUEUED:
		th = puppet_run(p, cookie, DO_CALL, FORWARD, 0, 0);
		return th && is_queued(th) ? th : NULL;
	case AT_UNANSWERED:
		th = puppet_run(p, cookie, DO_CALL, FORWARD, 0, 0);
		return th && receive(p).badge == cookie ? th : NULL;
	case AT_SPIN:
	case AT_SUSPENDED:
		th = puppet_run(p, cookie, DO_SPIN, 0, 0, 0);
		if (!th || !runs(th) || (where == AT_SUSPENDED && control_suspend(th)))
			return NULL;
		return th;
	case AT_SLEEP:
		*lab_word(p->task->mm, WORDS + 64) = 1000000;
		th = puppet_run(p, cookie, DO_CALL, SYS_nanosleep, WORDS + 64, 0);
		return th && sleeps(th, "sleep") ? th : NULL;
	case AT_FUTEX:
		th = puppet_run(p, cookie, DO_CALL, SYS_futex, WORDS + 128, 0);
		return th && sleeps(th, "futex") ? th : NULL;
	case AT_EXCEPTION:
		th = puppet_run(p, cookie, DO_UD2, 0, 0, 0);
		return th && receive(p).label == MESSAGE_EXCEPTION ? th : NULL;
	case AT_INTERRUPTED:
		th = puppet_run(p, cookie, DO_SPIN, 0, 0, 0);
		if (!th || !runs(th) || control_interrupt(th))
			return NULL;
		return receive(p).label == MESSAGE_INTERRUPTED ? th : NULL;
	default:
		return NULL;
	}
}

KTEST(personality, kill_the_task_in_each_state)
{
	for (enum where at = 0; at < NR_WHERE; at++) {
		struct puppet p;
		struct thread *th;
		struct message m;

		KT_REQUIRE(ctx, puppet_open(&p));
		th = thread_at(&p, at, at);
		KT_REQUIRE(ctx, th && task_check());
		KT_EXPECT(ctx, task_kill(p.task, SIGKILL) && !task_kill(p.task, 3));
		m = receive_exit(&p);
		KT_EXPECT(ctx, is_exit(&m, at, SIGKILL, true));
		KT_EXPECT(ctx, p.task->exit_status == SIGKILL);
		thread_put(th);
		puppet_close(&p);
	}
}

/* The same for one of two threads: the other goes on. */
KTEST(personality, kill_a_thread_in_each_state)
{
	for (enum where at = 0; at < NR_WHERE; at++) {
		struct puppet p;
		struct thread *th, *other;
		struct message m;

		KT_REQUIRE(ctx, puppet_open(&p));
		other = puppet_thread(&p, 100, DO_CALL, SYS_exit, 1, 0);
		th = thread_at(&p, at, at);
		KT_REQUIRE(ctx, th && other);
		KT_EXPECT(ctx, task_kill_thread(th, 77) && !task_kill_thread(th, 78));
		m = receive_exit(&p);
		KT_EXPECT(ctx, is_exit(&m, at, 77, false));
		KT_EXPECT(ctx, !task_kill_thread(th, 79));
		task_start_thread(other);
		m = receive(&p);
		KT_EXPECT(ctx, is_exit(&m, 100, 1 << 8, true));
		thread_put(th);
		thread_put(other);
		puppet_close(&p);
	}
}

/* The personality goes: whoever waits for it ends. */
KTEST(personality, its_death_ends_the_waiting)
{
	struct handle_table table;
	struct puppet p;
	struct thread *th;
	int h;

	handle_table_init(&table);
	KT_REQUIRE(ctx, puppet_open(&p));
	h = handle_install(&table, &p.ep->object, RIGHT_RECEIVE, 0, 0);
	th = thread_at(&p, 1, AT_EXCEPTION);
	KT_EXPECT(ctx, h > 0 && th && handle_close(&table, (u32)h) == 0);
	KT_EXPECT(ctx, task_wait(p.task) == SIGKILL);
	p.task = NULL;
	thread_put(th);
	handle_table_release(&table);
	puppet_close(&p);
}

/* --- creator and handles ---------------------------------------------------------------------------------------- */

/* What a task has created ends with it: with threads, without, and what those have created. */
KTEST(personality, what_was_created_ends_too)
{
	struct puppet p;
	struct thread *th, *th2;
	struct task *made, *empty;
	struct message m;
	u32 ends = 0;

	KT_REQUIRE(ctx, puppet_open(&p));
	th = puppet_run(&p, 1, DO_SPIN, 0, 0, 0);
	made = task_create_empty(task_mm_user(p.task), p.task, p.ep, p.ep);
	empty = task_create_empty(task_mm_user(p.task), p.task, NULL, NULL);
	KT_REQUIRE(ctx, th && made && empty);
	{
		struct puppet q = {p.ep, made};

		th2 = puppet_run(&q, 2, DO_SPIN, 0, 0, 0);
	}
	KT_EXPECT(ctx, runs(th) && runs(th2) && task_check());
	task_kill(p.task, 5);
	for (u32 i = 0; i < 2; i++) {
		m = receive(&p);
		ends += is_exit(&m, 1, 5, true) + 16 * is_exit(&m, 2, SIGKILL, true);
	}
	KT_EXPECT(ctx, ends == 17);
	KT_EXPECT(ctx, empty->state == TASK_ENDED && !empty->mm && !made->mm);
	KT_EXPECT(ctx, task_check());
	task_put(made);
	task_put(empty);
	thread_put(th);
	thread_put(th2);
	puppet_close(&p);
}

/* Without a thread and without a handle nobody can do anything with a task, nor start a NEW thread. */
KTEST(personality, closing_the_last_handle)
{
	struct handle_table table;
	struct puppet p;
	struct thread *th;
	struct task *t;
	struct message m;
	int h, h2;

	handle_table_init(&table);
	KT_REQUIRE(ctx, puppet_open(&p));
	t = task_create_empty(task_mm_user(p.task), NULL, NULL, NULL);
	KT_REQUIRE(ctx, t);
	h = handle_install(&table, &t->object, RIGHT_MANAGE, 0, 0);
	h2 = handle_install(&table, &t->object, RIGHT_MANAGE, 0, 0);
	handle_close(&table, (u32)h);
	KT_EXPECT(ctx, t->state == TASK_ALIVE);
	handle_close(&table, (u32)h2);
	KT_EXPECT(ctx, t->state == TASK_ENDED && t->object.refs == 1);
	task_put(t);
	th = puppet_thread(&p, 3, DO_CALL, FORWARD, 0, 0);
	h = handle_install(&table, &th->object, RIGHT_MANAGE, 0, 0);
	handle_close(&table, (u32)h);
	m = receive(&p);
	KT_EXPECT(ctx, is_exit(&m, 3, SIGKILL, true));
	thread_put(th);
	handle_table_release(&table);
	puppet_close(&p);
}

/* --- exceptions -------------------------------------------------------------------------------------------------- */

struct expected {
	u32 what;
	u64 rdi;
	u64 vector, address, rip;
	u32 signal, code;
};

KTEST(personality, exceptions_are_messages)
{
	static const struct expected all[] = {
		{DO_UD2, 0, 6, CODE + DO_UD2, CODE + DO_UD2, SIGILL, 2},
		{DO_WRITE, NOWHERE, 14, NOWHERE, CODE + DO_WRITE, SIGSEGV, 1},
		{DO_WRITE, CODE, 14, CODE, CODE + DO_WRITE, SIGSEGV, 2},
		{DO_WRITE, 1ul << 63, 13, 0, CODE + DO_WRITE, SIGSEGV, 0x80},
		{DO_INT3, 0, 3, 0, CODE + DO_INT3 + 1, SIGTRAP, 0x80},
	};

	for (u32 i = 0; i < ARRAY_SIZE(all); i++) {
		const struct expected *e = &all[i];
		struct thread_regs regs = {0};
		struct thread *th;
		struct message m;
		struct puppet p;

		KT_REQUIRE(ctx, puppet_open(&p));
		th = puppet_run(&p, 9, e->what, 0, e->rdi, 0);
		m = receive(&p);
		KT_EXPECT(ctx, m.label == MESSAGE_EXCEPTION && m.badge == 9);
		KT_EXPECT(ctx,
			m.word[0] == e->vector && m.word[2] == e->address && m.word[3] == e->rip);
		KT_EXPECT(ctx, m.word[4] == e->signal && m.word[5] == e->code);
		KT_EXPECT(ctx, control_get_regs(th, &regs) == 0 && regs.rip == e->rip);
		KT_EXPECT(ctx, regs.call == ~0ul);
		regs.rip = CODE; /* as if a handler had been found */
		regs.rax = FORWARD;
		KT_EXPECT(ctx, control_set_regs(th, &regs) == 0);
		KT_EXPECT(ctx, reply(&p, &m, 0) == 0);
		m = receive(&p);
		KT_EXPECT(ctx, is_call(&m, 9, FORWARD));
		KT_EXPECT(ctx, reply(&p, &m, FORWARD + 1) == 0);
		m = receive(&p);
		KT_EXPECT(ctx, is_call(&m, 9, FORWARD + 1)); /* regs_set is over */
		thread_put(th);
		puppet_close(&p);
	}
}

KTEST(personality, an_exception_may_end_the_task)
{
	struct puppet p;
	struct thread *th;
	struct message m;

	KT_REQUIRE(ctx, puppet_open(&p));
	th = puppet_run(&p, 9, DO_WRITE, 0, NOWHERE, 0);
	m = receive(&p);
	KT_EXPECT(ctx, reply(&p, &m, SIGSEGV) == 0);
	m = receive(&p);
	KT_EXPECT(ctx, is_exit(&m, 9, SIGSEGV, true));
	thread_put(th);
	puppet_close(&p);
}

KTEST(personality, a_step_is_a_message)
{
	struct puppet p;
	struct thread *th;
	struct message m;

	KT_REQUIRE(ctx, puppet_open(&p));
	th = puppet_run(&p, 9, DO_STEP, FORWARD, 0, 0);
	m = receive(&p);
	KT_EXPECT(ctx, m.label == MESSAGE_EXCEPTION && m.word[0] == 1);
	KT_EXPECT(ctx, m.word[4] == SIGTRAP && m.word[5] == 2);
	KT_EXPECT(ctx, reply(&p, &m, 0) == 0);
	m = receive(&p);
	KT_EXPECT(ctx, is_call(&m, 9, FORWARD));
	thread_put(th);
	puppet_close(&p);
}

/* --- interrupt ------------------------------------------------------------------------------------------------------ */

/* Sleeps of the kernel's end with -EINTR, then the personality is asked; the result is in the registers by then. */
KTEST(personality, interrupt_a_sleep)
{
	static const enum where sleep[] = {AT_SLEEP, AT_FUTEX};
	static const u64 number[] = {SYS_nanosleep, SYS_futex};

	for (u32 i = 0; i < ARRAY_SIZE(sleep); i++) {
		struct thread_regs regs = {0};
		struct puppet p;
		struct thread *th;
		struct message m;

		KT_REQUIRE(ctx, puppet_open(&p));
		th = thread_at(&p, 4, sleep[i]);
		KT_REQUIRE(ctx, th);
		KT_EXPECT(ctx, control_get_regs(th, &regs) == -EBUSY);
		KT_EXPECT(ctx, control_interrupt(th) == 0);
		m = receive(&p);
		KT_EXPECT(ctx, m.label == MESSAGE_INTERRUPTED && m.badge == 4);
		KT_EXPECT(ctx, control_get_regs(th, &regs) == 0);
		KT_EXPECT(ctx, regs.rax == (u64)-EINTR && regs.call == number[i]);
		KT_EXPECT(ctx, reply(&p, &m, 0) == 0);
		m = receive(&p);
		KT_EXPECT(ctx, is_call(&m, 4, (u32)-EINTR));
		thread_put(th);
		puppet_close(&p);
	}
}

/* In ring 3, and while it sits in a call: the message comes behind the answer. */
KTEST(personality, interrupt_elsewhere)
{
	struct thread_regs regs = {0};
	struct puppet p;
	struct thread *th;
	struct message m;

	KT_REQUIRE(ctx, puppet_open(&p));
	th = thread_at(&p, 4, AT_INTERRUPTED);
	KT_REQUIRE(ctx, th);
	m = current_thread()->ipc.message;
	KT_EXPECT(ctx, control_get_regs(th, &regs) == 0 && regs.call == ~0ul);
	regs.rip = CODE;
	regs.rax = FORWARD;
	KT_EXPECT(ctx, control_set_regs(th, &regs) == 0 && reply(&p, &m, 0) == 0);
	m = receive(&p);
	KT_EXPECT(ctx, is_call(&m, 4, FORWARD) && control_interrupt(th) == 0);
	KT_EXPECT(ctx, reply(&p, &m, 600) == 0);
	m = receive(&p);
	KT_EXPECT(ctx, m.label == MESSAGE_INTERRUPTED);
	KT_EXPECT(ctx, control_get_regs(th, &regs) == 0 && regs.call == FORWARD && regs.rax == 600);
	KT_EXPECT(ctx, reply(&p, &m, 15) == 0); /* SIGTERM's default */
	m = receive(&p);
	KT_EXPECT(ctx, is_exit(&m, 4, 15, true));
	KT_EXPECT(ctx, control_interrupt(th) == -ESRCH);
	thread_put(th);
	puppet_close(&p);
}

/* Interrupted at any moment around its going to sleep, a sleep never goes on. */
KTEST(personality, no_interrupt_is_lost)
{
	struct puppet p;
	struct thread *th;
	struct message m;

	KT_REQUIRE(ctx, puppet_open(&p));
	*lab_word(p.task->mm, WORDS + 64) = 1000000; /* seconds */
	th = puppet_run(&p, 4, DO_CALL, FORWARD, WORDS + 64, 0);
	for (u32 i = 0; th && i < 2000; i++) {
		m = receive(&p);
		if (!is_call(&m, 4, FORWARD) || reply(&p, &m, SYS_nanosleep))
			break;
		for (u32 spin = 0; spin < i % 64 * 16; spin++)
			cpu_relax();
		control_interrupt(th);
		/* After -EINTR, or before the sleep: then the sleep is interrupted next. */
		m = receive(&p);
		while (m.label == MESSAGE_INTERRUPTED) {
			struct thread_regs regs = {0};

			if (control_get_regs(th, &regs))
				break;
			regs.rip = CODE;
			regs.rax = FORWARD;
			if (control_set_regs(th, &regs) || reply(&p, &m, 0))
				break;
			m = receive(&p);
		}
		KT_EXPECT(ctx, is_call(&m, 4, FORWARD));
		if (!is_call(&m, 4, FORWARD) || reply(&p, &m, FORWARD))
			break;
	}
	m = receive(&p);
	KT_EXPECT(ctx, is_call(&m, 4, FORWARD));
	thread_put(th);
	puppet_close(&p);
}

/* --- suspend, registers ---------------------------------------------------------------------------------------------- */

KTEST(personality, suspend_and_resume)
{
	struct thread_regs regs = {0};
	struct puppet p;
	struct thread *th;
	struct message m;

	KT_REQUIRE(ctx, puppet_open(&p));
	th = thread_at(&p, 4, AT_SPIN);
	KT_REQUIRE(ctx, th);
	KT_EXPECT(ctx, control_get_regs(th, &regs) == -EBUSY && control_resume(th) == -EINVAL);
	KT_EXPECT(ctx, control_suspend(th) == 0 && control_suspend(th) == 0);
	KT_EXPECT(ctx, th->suspended && th->suspend_count == 2);
	KT_EXPECT(ctx, control_get_regs(th, &regs) == 0);
	KT_EXPECT(ctx, regs.rip >= CODE + DO_SPIN && regs.rip < CODE + DO_UD2);
	regs.rip = CODE;
	regs.rax = FORWARD;
	KT_EXPECT(ctx, control_set_regs(th, &regs) == 0 && control_resume(th) == 0);
	KT_EXPECT(ctx, th->suspended && control_resume(th) == 0);
	m = receive(&p);
	KT_EXPECT(ctx, is_call(&m, 4, FORWARD));
	KT_EXPECT(ctx, control_suspend(th) == 0); /* in a call it stands already */
	KT_EXPECT(ctx, reply(&p, &m, FORWARD + 1) == 0);
	KT_EXPECT(ctx, sleeps(th, "suspended") && th->suspended);
	KT_EXPECT(ctx, control_resume(th) == 0);
	m = receive(&p);
	KT_EXPECT(ctx, is_call(&m, 4, FORWARD + 1));
	KT_EXPECT(ctx, control_suspend(current_thread()) == -EINVAL);
	thread_put(th);
	puppet_close(&p);
}

struct suspender {
	struct thread *th;
	struct lab_race race;
	u32 rounds, failed, calls;
	bool done;
	struct waitq q;
};

/* A call among a few rounds is enough: it can only be made while nobody suspends its thread. */
#define ROUNDS_A_CALL 5

static void suspend_often(void *arg)
{
	struct suspender *s = arg;

	while (lab_race_goes_on(&s->race, MIN(s->rounds, READ_ONCE(s->calls) * ROUNDS_A_CALL))) {
		struct thread_regs a = {0}, b = {0};

		if (control_suspend(s->th) || control_get_regs(s->th, &a))
			s->failed++;
		sched_yield();
		if (control_get_regs(s->th, &b) || a.rip != b.rip || control_resume(s->th))
			s->failed++;
		sched_yield(); /* on one CPU it has no other moment to run */
		s->rounds++;
	}
	WRITE_ONCE(s->done, true);
	waitq_wake_all(&s->q);
}

/* A thread that calls all the time, answered here, suspended and resumed there. */
KTEST(personality, suspend_races)
{
	static struct suspender s;
	struct puppet p;
	struct thread *helper;
	struct message m;

	KT_REQUIRE(ctx, puppet_open(&p));
	s = (struct suspender){.th = puppet_run(&p, 4, DO_CALL, FORWARD, 0, 0),
		.race = lab_race_begin(5000, LAB_RACE_NS)};
	waitq_init(&s.q, "ktest");
	helper = thread_create("ktest suspender", suspend_often, &s, NULL, NULL);
	KT_REQUIRE(ctx, helper && s.th);
	sched_start(helper);
	while (!READ_ONCE(s.done)) {
		if (ipc_receive(p.ep, time_ns() + NS_PER_MS) == 0) {
			m = current_thread()->ipc.message;
			reply(&p, &m, FORWARD);
			s.calls++;
		}
	}
	KT_EXPECT(ctx, !s.failed && s.rounds >= s.race.least);
	KT_EXPECT(ctx, s.calls * ROUNDS_A_CALL >= s.race.least && !s.th->suspend_count);
	thread_put(s.th);
	puppet_close(&p);
}

KTEST(personality, set_regs_is_safe)
{
	static const u64 no_rip[] = {USER_END, 1ul << 47, ~0ul, 0xffffffff80000000ul};
	struct thread_regs regs = {0}, back = {0};
	struct puppet p;
	struct thread *th;
	struct message m;

	KT_REQUIRE(ctx, puppet_open(&p));
	th = puppet_run(&p, 4, DO_CALL, FORWARD, 0, 0);
	m = receive(&p);
	KT_EXPECT(ctx, control_get_regs(th, &regs) == 0 && regs.call == FORWARD);
	for (u32 i = 0; i < ARRAY_SIZE(no_rip); i++) {
		struct thread_regs bad = regs;

		bad.rip = no_rip[i];
		KT_EXPECT(ctx, control_set_regs(th, &bad) == -EINVAL);
		bad = regs;
		bad.fs_base = no_rip[i];
		KT_EXPECT(ctx, control_set_regs(th, &bad) == -EINVAL);
		bad = regs;
		bad.gs_base = no_rip[i];
		KT_EXPECT(ctx, control_set_regs(th, &bad) == -EINVAL);
	}
	memset(&regs, 0xff,
		sizeof(regs)); /* every register and every flag, but what was refused above */
	regs.rip = CODE;
	regs.rax = FORWARD + 7;
	regs.fs_base = regs.gs_base = USER_END - 1;
	regs.rflags = ~0x100ul; /* without single stepping */
	KT_EXPECT(ctx, control_set_regs(th, &regs) == 0);
	KT_EXPECT(ctx, th->user_regs->cs == SEL_USER_CODE && th->user_regs->ss == SEL_USER_DATA);
	KT_EXPECT(ctx, th->user_regs->rflags == 0x40ed7);
	KT_EXPECT(ctx, reply(&p, &m, 1) == 0);
	m = receive(&p); /* it came through ring 3 */
	KT_EXPECT(ctx, is_call(&m, 4, FORWARD + 7));
	KT_EXPECT(ctx, control_get_regs(th, &back) == 0 && back.r15 == ~0ul && back.rsp == ~0ul);
	thread_put(th);
	puppet_close(&p);
}

KTEST(personality, fpu_state)
{
	usize size = fpu_state_size();
	u8 state[4096];
	struct puppet p;
	struct thread *th;
	u32 word = 0x12345678;

	KT_REQUIRE(ctx, size <= sizeof(state) && puppet_open(&p));
	th = thread_at(&p, 4, AT_UNANSWERED);
	KT_REQUIRE(ctx, th && control_get_fpu(th, state) == 0);
	memcpy(state + 160, &word, sizeof(word)); /* xmm0 */
	if (size > 512)
		state[512] |= 2; /* that part is there */
	KT_EXPECT(ctx, control_set_fpu(th, state) == 0);
	memset(state + 160, 0, sizeof(word));
	KT_EXPECT(
		ctx, control_get_fpu(th, state) == 0 && !memcmp(state + 160, &word, sizeof(word)));
	state[26] = 1; /* a reserved bit of MXCSR */
	KT_EXPECT(ctx, control_set_fpu(th, state) == -EINVAL);
	state[26] = 0;
	for (u32 i = 519; size > 512 && i < 576; i += 8) {
		state[i] = 0x80;
		KT_EXPECT(ctx, control_set_fpu(th, state) == -EINVAL);
		state[i] = 0;
	}
	KT_EXPECT(ctx, control_set_fpu(th, state) == 0);
	thread_put(th);
	puppet_close(&p);
}

/* exec: another space while it sits in its call. */
KTEST(personality, another_space)
{
	struct puppet p;
	struct thread *th, *second;
	struct mm *mm = lab_space(), *old = NULL;
	struct message m;

	KT_REQUIRE(ctx, mm && puppet_open(&p) && map_code(mm));
	*lab_word(mm, WORDS) = 4711;
	th = puppet_run(&p, 4, DO_CALL, FORWARD, 0, 0);
	m = receive(&p);
	second = puppet_thread(&p, 5, DO_CALL, SYS_exit, 0, 0);
	KT_EXPECT(ctx, control_swap_space(p.task, mm, &old) == -EBUSY);
	task_start_thread(second);
	{
		struct message end = receive(&p);

		KT_EXPECT(ctx, is_exit(&end, 5, 0, false));
	}
	KT_EXPECT(ctx, control_swap_space(p.task, mm, &old) == 0 && old && old != mm);
	KT_EXPECT(ctx, p.task->mm == mm && th->mm == mm);
	task_drop_mm(old);
	KT_EXPECT(ctx, reply(&p, &m, FORWARD + 1) == 0);
	m = receive(&p);
	KT_EXPECT(ctx, is_call(&m, 4, FORWARD + 1));
	thread_put(th);
	thread_put(second);
	puppet_close(&p);
}

/* --- fork, by the calls themselves -------------------------------------------------------------------------------------- */

static void machine_release(struct object *o)
{
}

static const struct object_ops machine_ops = {.name = "machine", .release = machine_release};
static struct object machine;

/* A thread of the lab is a task: it has a table, and may make native calls without leaving ring 0. */
struct forker {
	struct puppet p;
	struct thread *parent; /* sits in its call */
	s64 result[8];
	bool ok, done, leave;
};

static s64 call(s64 (*fn)(struct regs *), u64 a, u64 b, u64 c, u64 d)
{
	struct regs r = {.rdi = a, .rsi = b, .rdx = c, .r10 = d};

	return fn(&r);
}

static u32 install(struct object *o, u32 rights)
{
	return (u32)handle_install(&current_task()->handles, o, rights, 0, 0);
}

/* Structs are copied from and to the lab's space. */
static void fork_by_calls(struct forker *f)
{
	struct thread_start start = {.cookie = 8, .tid = 4242, .flags = START_RUN};
	struct task_label label = {
		.name = "child", .pid = 31000, .ppid = 30999, .pgrp = 1, .session = 1};
	struct task_info info;
	u32 ep = install(&f->p.ep->object, RIGHT_RECEIVE);
	u32 power = install(&machine, RIGHT_CREATE),
	    task = install(&f->p.task->object, RIGHT_MANAGE);

	start.source = install(&f->parent->object, RIGHT_MANAGE);
	f->result[0] = call(native_task_create, power, TASK_CLONE, task, ep);
	if (f->result[0] < 0 || copy_to_user((void __user *)WORDS, &start, sizeof(start)))
		return;
	f->result[1] = call(native_thread_create, (u64)f->result[0], WORDS, 0, 0);
	if (copy_to_user((void __user *)WORDS, &label, sizeof(label)))
		return;
	f->result[2] =
		call(native_task_label, (u64)f->result[0], WORDS, LABEL_NAME | LABEL_PIDS, 0);
	f->result[3] = call(native_task_info, (u64)f->result[0], WORDS, 0, 0);
	f->ok = !copy_from_user(&info, (const void __user *)WORDS, sizeof(info)) &&
		info.nr_threads == 1 && info.vm_pages == 2 && info.rss_pages == 2;
	f->result[4] = call(native_task_create, power, TASK_CLONE, 0, ep);
	f->result[5] = call(native_task_create, task, TASK_NEW, 0, ep);
	f->result[6] = call(native_task_create, power, TASK_SHARE | TASK_NATIVE, task, ep);
	f->result[7] = call(native_thread_create, power, WORDS, 0, 0);
}

static void forker_thread(void *arg)
{
	struct forker *f = arg;

	fork_by_calls(f);
	WRITE_ONCE(f->done, true);
	while (!READ_ONCE(f->leave) && !thread_killed()) /* what it created would end with it */
		sched_sleep_until(time_ns() + NS_PER_MS);
}

static bool wait_for(const bool *flag)
{
	for (u64 end = time_ns() + LAB_LIMIT_NS; !READ_ONCE(*flag) && time_ns() < end;)
		sched_sleep_until(time_ns() + NS_PER_MS);
	return READ_ONCE(*flag);
}

static void expect_child(struct ktest_ctx *ctx, struct forker *f)
{
	struct message m = receive(&f->p);
	struct task *child = task_find(31000);

	KT_EXPECT(ctx, is_call(&m, 8, 0)); /* its call returned 0, so this is its next number */
	KT_EXPECT(ctx, m.word[0] == 5 && child && !strcmp(child->name, "child"));
	KT_EXPECT(ctx, child && child->thread && child->thread->tid == 4242);
	KT_EXPECT(ctx, child && READ_ONCE(child->ppid) == 30999 && task_check());
	KT_EXPECT(ctx, reply(&f->p, &m, SYS_exit) == 0);
	m = receive(&f->p);
	KT_EXPECT(ctx, is_exit(&m, 8, 5 << 8, true));
	if (child)
		task_put(child);
}

KTEST(personality, fork_by_native_calls)
{
	static struct forker f;
	struct handle_table table;
	struct lab_thread lab;
	struct mm *mm = lab_space();
	struct message m;

	f = (struct forker){0};
	object_init(&machine, OBJECT_MACHINE, &machine_ops);
	handle_table_init(&table);
	KT_REQUIRE(ctx, mm && puppet_open(&f.p) && lab_area(mm, WORDS, PAGE_SIZE));
	KT_EXPECT(ctx, handle_install(&table, &f.p.ep->object, RIGHT_RECEIVE, 0, 0) > 0);
	f.parent = puppet_run(&f.p, 7, DO_CALL, FORWARD, 5, 0);
	m = receive(&f.p);
	KT_REQUIRE(ctx, f.parent && is_call(&m, 7, FORWARD));
	KT_REQUIRE(ctx, lab_start(&lab, mm, LAB_ANY_CPU, forker_thread, &f));
	KT_EXPECT(ctx, wait_for(&f.done) && f.ok);
	KT_EXPECT(ctx, f.result[0] > 0 && f.result[1] > 0 && !f.result[2] && !f.result[3]);
	KT_EXPECT(ctx, f.result[4] == -EINVAL && f.result[5] == -EINVAL);
	KT_EXPECT(ctx, f.result[6] > 0 && f.result[7] == -EINVAL);
	expect_child(ctx, &f);
	WRITE_ONCE(f.leave, true);
	KT_EXPECT(ctx, lab_join(&lab) == 0);
	KT_EXPECT(ctx, reply(&f.p, &m, SYS_exit) == 0);
	m = receive(&f.p);
	KT_EXPECT(ctx, is_exit(&m, 7, 5 << 8, true));
	thread_put(f.parent);
	puppet_close(&f.p);
	handle_table_release(&table);
	lab_space_end(mm);
}
