/*
 * main.c - the Linux personality: its loop                                                      ring 3
 *
 * Every call of a Linux program that the kernel does not own arrives here as a message, as do its exceptions and its end.
 * README.md says what is served; linux.h how the files fit together.
 *
 * IDEA
 *   receive --> a thread's call -----> call_begin, call_run -----+
 *      ^        its exception, end --> signals, family           +--> calls that were woken run --> answers
 *      |        a notification ------> the console has news      |
 *      |        the time has come ---> timers -------------------+
 *      '---------------- the last answer goes out with the next receive <-------------------------'
 *
 * INVARIANT  L1  an answer that is kept back is sent before anything is done to its thread: answers_flush()
 *
 * LOCKS      none: nothing here runs at the same time as anything else here.
 */
#include "core.h"
#include "tty.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

uint32_t linux_notification;

/* --- answers ------------------------------------------------------------------------------------------------ */

static struct message kept; /* token 0: none */

void answers_flush(void)
{
	if (!kept.token)
		return;
	ipc_reply(SLOT_SERVICE, &kept); /* -ESRCH: the thread was killed meanwhile */
	kept.token = 0;
}

void answer(uint64_t token, uint64_t label)
{
	answers_flush();
	kept.token = token;
	kept.label = label;
}

void answer_bytes(uint64_t token, long result, const uint64_t words[3], size_t bytes)
{
	answer(token, REPLY_BYTES);
	kept.word[0] = (uint64_t)result;
	kept.word[1] = bytes;
	for (int i = 0; i < 3; i++)
		kept.word[3 + i] = words[i];
}

void answer_fault_in(uint64_t token, uint64_t addr, uint64_t bytes, bool write)
{
	answer(token, REPLY_FAULT_IN);
	kept.word[0] = addr;
	kept.word[1] = bytes;
	kept.word[2] = write;
	kept.word[3] = 0;
}

void answer_populate(uint64_t token, uint64_t addr, uint64_t bytes, bool write)
{
	answer_fault_in(token, addr, bytes, write);
	kept.word[3] = 1;
}

void linux_log(const char *format, ...)
{
	char line[256];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (n > 0)
		machine_log(SLOT_MACHINE, line,
			(size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

/* --- events --------------------------------------------------------------------------------------------------- */

/* A signal that is not to be waited with: the thread cannot go on without a handler for it. */
static void exception(struct thread *t, const struct message *m)
{
	int sig = (int)m->word[4];
	siginfo_t info = {.si_signo = sig, .si_code = (int)m->word[5]};
	struct process *p = t->process;

	if (sig < 1 || sig > NR_SIGNALS)
		sig = SIGSEGV;
	info.si_addr = (void *)m->word[2];
	if ((t->blocked & SIGNAL_BIT(sig)) || p->actions[sig].handler <= 1) {
		/* The kernel prints why, and ends the task with this status. */
		process_mark_ending(p, sig);
		answer(m->token, (uint64_t)sig);
		return;
	}
	signal_send_thread(t, sig, &info);
	thread_return(t, CALL_SET);
}

static void event(struct thread *t, const struct message *m)
{
	bool ending = t->process->ending || t->state == THREAD_ENDING; /* exec ends threads, too */

	t->call.token = m->token;
	t->call.resume = false;
	t->state = THREAD_IN_EVENT;
	t->in_event = m->label == MESSAGE_INTERRUPTED;
	if (t->in_event)
		t->interrupted = false;
	if (ending)
		t->state = THREAD_ENDING;
	else if (m->label == MESSAGE_EXCEPTION)
		exception(t, m);
	else
		thread_return(t, CALL_SET);
}

/*
 * Two threads that end on two CPUs may be told of in either order: the process has ended when the kernel has said that the last
 * one left and all of ours are gone.
 */
static void thread_ended(struct thread *t, const struct message *m)
{
	struct process *p = t->process;

	thread_released(t);
	if (m->word[1]) {
		p->emptied = true;
		p->status = p->ending ? p->status : (int)m->word[0];
		p->usage = (struct task_info){
			.minflt = m->word[2],
			.majflt = m->word[3],
			.runtime_ns = m->word[4],
			.peak_rss_pages = m->word[5],
		};
	}
	if (p->emptied && list_empty(&p->threads))
		process_ended(p, p->status);
	else
		wait_list_wake(&p->threads_changed);
}

/* --- the loop --------------------------------------------------------------------------------------------------- */

static void other_message(const struct message *m)
{
	struct thread *t;

	switch (m->label) {
	case MESSAGE_NOTIFICATION:
		if (m->word[0] & LINUX_BIT_CONSOLE)
			tty_init();
		if (m->word[0] & (NOTIFY_CONSOLE | LINUX_BIT_CONSOLE))
			files_console_event();
		return;
	case MESSAGE_SPAWN:
		answer(m->token, (uint64_t)boot_spawn(m));
		return;
	case MESSAGE_EXCEPTION:
	case MESSAGE_INTERRUPTED:
	case MESSAGE_EXIT:
		t = thread_by_cookie(m->badge);
		if (!t)
			answer(m->token, SIGKILL);
		else if (m->label == MESSAGE_EXIT)
			thread_ended(t, m);
		else
			event(t, m);
		return;
	default:
		if (m->handle)
			handle_close((uint32_t)m->handle);
		answer(m->token, (uint64_t)-ENOSYS);
	}
}

static void serve(const struct message *m)
{
	struct thread *t;

	if ((m->label & ~(0xffffffffull | MESSAGE_BYTES | MESSAGE_ROOM)) != MESSAGE_SYSCALL) {
		other_message(m);
		return;
	}
	t = thread_by_cookie(m->badge);
	if (__builtin_expect(!t || t->state == THREAD_ENDING, 0)) {
		answer(m->token, (uint64_t)-ESRCH);
		return;
	}
	t->state = THREAD_IN_CALL;
	t->in_event = false;
	call_begin(&t->call, m);
	call_run(&t->call);
}

/*
 * Timers are looked at when nothing arrived until the first was due, and after every so many messages: a busy server is never
 * told that time has passed.
 */
static void loop(void)
{
	struct message m;

	for (unsigned served = 0;; served++) {
		uint64_t deadline;
		long status;

		if (calls_ready()) {
			answers_flush();
			calls_run_ready();
		}
		deadline = calls_ready() ? 1 : timer_next();
		status = ipc_reply_receive(SLOT_SERVICE, &kept, &m, deadline);
		kept.token = 0;
		if (status == 0)
			serve(&m);
		if (deadline != DEADLINE_NEVER && (status || served % 32 == 0))
			timer_run();
	}
}

int main(void)
{
	long h = notification_create(SLOT_SERVICE);

	if (h < 0) {
		linux_log("linux: no notification: error %ld", h);
		return 1;
	}
	linux_notification = (uint32_t)h;
	h = files_init();
	if (h < 0) {
		linux_log("linux: no files: error %ld", h);
		return 1;
	}
	boot_start();
	loop();
}
