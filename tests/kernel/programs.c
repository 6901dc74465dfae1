/*
 * programs.c - tasks and the calls, by programs that the personality starts                    self-tests
 *
 * /bin/abi judges its own calls and ends with status 0; what only the kernel can see is judged here.
 */
#include "ktest.h"
#include "lab.h"
#include "lib/string.h"
#include "machine.h"
#include "printk.h"
#include "sched.h"
#include "spawn.h"
#include "task.h"
#include "x86/timer.h"
#include <abi/errno.h>

#define SIGFPE  8
#define SIGKILL 9
#define SIGSEGV 11

static int begin(const char *program, const char *word, const char *number, struct task **t)
{
	char *argv[] = {(char *)program, (char *)word, (char *)number};
	int error = spawn_program(number ? 3 : 2, argv, true, t);

	if (error)
		printk("ktest: %s %s: error %d", program, word, error);
	return error;
}

/* Run /bin/abi WORD [NUMBER] to its end: its status as wait4 reports it, or a negative error. */
static int run(const char *word, const char *number)
{
	struct task *t;
	int error = begin("abi", word, number, &t);

	return error ? error : task_wait(t);
}

KTEST(programs, status)
{
	KT_EXPECT(ctx, run("exit", "0") == 0);
	KT_EXPECT(ctx, run("exit", "3") == 3 << 8);
	KT_EXPECT(ctx, run("exit", "256") == 0);
}

/* What ring 3 does wrong ends the task, never the kernel. */
KTEST(programs, killed_by_faults)
{
	printk_quiet(true);
	KT_EXPECT(ctx, run("fault", NULL) == SIGSEGV);
	KT_EXPECT(ctx, run("jump", NULL) == SIGSEGV);
	KT_EXPECT(ctx, run("overflow", NULL) == SIGSEGV);
	KT_EXPECT(ctx, run("divide", NULL) == SIGFPE);
	printk_quiet(false);
}

KTEST(programs, calls)
{
	printk_quiet(true); /* it calls what is not there, and a child of it faults */
	KT_EXPECT(ctx, run("start", NULL) == 0);
	KT_EXPECT(ctx, run("errors", NULL) == 0);
	KT_EXPECT(ctx, run("files", NULL) == 0);
	KT_EXPECT(ctx, run("time", NULL) == 0);
	KT_EXPECT(ctx, run("stack", NULL) == 0);
	KT_EXPECT(ctx, run("fork", NULL) == 0);
	printk_quiet(false);
}

/* Several programs with values of their own in the FPU's registers, on the same CPUs. */
KTEST(programs, fpu_is_private)
{
	static const char *const tags[] = {"1", "2", "3", "4", "5", "6"};
	struct task *t[ARRAY_SIZE(tags)];
	int status = 0;

	for (usize i = 0; i < ARRAY_SIZE(tags); i++)
		KT_REQUIRE(ctx, begin("abi", "fpu", tags[i], &t[i]) == 0);
	for (usize i = 0; i < ARRAY_SIZE(tags); i++)
		status |= task_wait(t[i]);
	KT_EXPECT(ctx, status == 0);
}

KTEST(programs, kill_a_spinning_one)
{
	struct task *t;

	KT_REQUIRE(ctx, begin("abi", "spin", NULL, &t) == 0);
	sched_sleep_until(time_ns() + 5 * NS_PER_MS);
	KT_EXPECT(ctx, t->state == TASK_ALIVE);
	task_kill(t, SIGKILL);
	KT_EXPECT(ctx, task_wait(t) == SIGKILL);
}

/* Killed before its first instruction, while it loads, or a little later: it always ends. */
KTEST(programs, kill_at_any_time)
{
	for (u32 i = 0; i < 20; i++) {
		struct task *t;

		KT_REQUIRE(ctx, begin("abi", "spin", NULL, &t) == 0);
		for (u64 end = time_ns() + i * 50 * NS_PER_US; time_ns() < end;)
			cpu_relax();
		task_kill(t, SIGKILL);
		KT_EXPECT(ctx, task_wait(t) == SIGKILL);
	}
}

/* What cannot be started is refused with Linux's error, and leaves nothing. */
KTEST(programs, refused)
{
	static char long_one[PAGE_SIZE];
	char *nothing[] = {"nothing"}, *folder[] = {"/bin"}, *many[300];
	struct task *t = NULL;

	KT_EXPECT(ctx, spawn_program(1, nothing, true, &t) == -ENOENT);
	KT_EXPECT(ctx, spawn_program(1, folder, true, &t) == -EACCES);
	memset(long_one, 'x', sizeof(long_one) - 1);
	for (usize i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = i ? long_one : "abi";
	KT_EXPECT(ctx, spawn_program(ARRAY_SIZE(many), many, true, &t) == -E2BIG);
	KT_EXPECT(ctx, !t && task_check());
}

static bool find_pid(struct task *t, void *ctx)
{
	return t->pid != *(u32 *)ctx;
}

KTEST(programs, numbers)
{
	struct task *a, *b, *found;
	u32 pid;

	KT_REQUIRE(ctx, begin("abi", "spin", NULL, &a) == 0);
	KT_REQUIRE(ctx, begin("abi", "spin", NULL, &b) == 0);
	pid = a->pid;
	KT_EXPECT(ctx, pid >= 1 && b->pid != pid);
	found = task_find(pid);
	KT_EXPECT(ctx, found == a);
	if (found)
		task_put(found);
	KT_EXPECT(ctx, task_check());
	task_for_each(find_pid, &pid);
	task_kill(a, SIGKILL);
	task_kill(b, SIGKILL);
	task_wait(a);
	task_wait(b);
	KT_EXPECT(ctx, !task_find(pid));
	KT_EXPECT(ctx, task_check());
}

/* 50 programs at once, each of which forks and writes; then 100 one after the other: no frame is lost. */
KTEST(programs, no_frame_is_lost)
{
	u64 before;

	KT_EXPECT(ctx, run("parallel", "50") == 0);
	KT_EXPECT(ctx, run("exit", "0") == 0); /* caches are warm now */
	sched_sleep_until(time_ns() + NS_PER_SEC / 4);
	before = lab_frames_used();
	for (u32 i = 0; i < 100; i++)
		KT_EXPECT(ctx, run("exit", "1") == 1 << 8);
	KT_EXPECT(ctx, run("parallel", "50") == 0);
	KT_EXPECT(ctx, lab_frames_back(before));
}
