/*
 * numa.c - CPUs and nodes, as a program sees them                                              ring 3
 *
 *   numa affinity         sched_setaffinity, sched_getaffinity, getcpu: what they promise, and what they refuse
 *   numa policy           mbind, set_mempolicy, get_mempolicy, move_pages: the same; with one node only the refusals
 *   numa follow [SECONDS] 8 MiB of huge pages are filled on a CPU of node 0, then used on one of the last node, until they
 *                         have come there (at most so long); prints what /proc/vmstat counted
 *
 * Every call and path is Linux's. Status 0: all promises kept; 1: one was not, and a line says which; 2: this machine has
 * not enough CPUs or nodes to try.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib.h"

#define EXPECT(cond)                                                                               \
	do {                                                                                       \
		if (!(cond))                                                                       \
			die("numa: line %d: %s (errno %d)", __LINE__, #cond, errno);               \
	} while (0)
#define NO_PID    0x3ffffff
#define NODES_MAX 64

/* --- calls that musl has no name for ------------------------------------------------------------------------------ */

static long set_cpus(int tid, unsigned long mask)
{
	return syscall(SYS_sched_setaffinity, tid, sizeof(mask), &mask);
}

static unsigned long get_cpus(int tid)
{
	unsigned long mask[16] = {0};

	EXPECT(syscall(SYS_sched_getaffinity, tid, sizeof(mask), mask) > 0);
	return mask[0];
}

static void where(unsigned *cpu, unsigned *node)
{
	EXPECT(syscall(SYS_getcpu, cpu, node, NULL) == 0);
}

/* Bound to this CPU; the node it is of. */
static unsigned go_to(unsigned cpu)
{
	unsigned here, node;

	EXPECT(set_cpus(0, 1ul << cpu) == 0);
	where(&here, &node);
	EXPECT(here == cpu);
	return node;
}

/* --- affinity -------------------------------------------------------------------------------------------------------- */

static void refusals(unsigned long all)
{
	unsigned long mask = all, none = 0, beyond = 1ul << 63;

	EXPECT(set_cpus(0, none) < 0 && errno == EINVAL);
	if (!(all & beyond))
		EXPECT(set_cpus(0, beyond) < 0 && errno == EINVAL);
	EXPECT(set_cpus(NO_PID, all) < 0 && errno == ESRCH);
	EXPECT(set_cpus(-5, all) < 0 && errno == ESRCH);
	EXPECT(syscall(SYS_sched_setaffinity, 0, 8, (void *)8) < 0 && errno == EFAULT);
	EXPECT(syscall(SYS_sched_setaffinity, NO_PID, 8, (void *)8) < 0 && errno == EFAULT);
	EXPECT(syscall(SYS_sched_setaffinity, 0, 0, &mask) < 0 && errno == EINVAL); /* empty */
	EXPECT(syscall(SYS_sched_getaffinity, 0, 7, &mask) < 0 && errno == EINVAL);
	EXPECT(syscall(SYS_sched_getaffinity, 0, 0, &mask) < 0 && errno == EINVAL);
	EXPECT(syscall(SYS_sched_getaffinity, NO_PID, 8, &mask) < 0 && errno == ESRCH);
	EXPECT(syscall(SYS_sched_getaffinity, 0, 8, (void *)8) < 0 && errno == EFAULT);
	EXPECT(syscall(SYS_getcpu, (void *)8, NULL, NULL) < 0 && errno == EFAULT);
	EXPECT(syscall(SYS_getcpu, NULL, (void *)8, NULL) < 0 && errno == EFAULT);
	EXPECT(syscall(SYS_getcpu, NULL, NULL, NULL) == 0);
	EXPECT(get_cpus(0) == all);
}

/* It stays there, although it computes, sleeps, makes calls and gives way. */
static void stays(unsigned cpu)
{
	const struct timespec ms = {0, 1000000};
	unsigned here, node;

	for (int i = 0; i < 40; i++) {
		where(&here, &node);
		EXPECT(here == cpu);
		for (volatile int n = 0; n < 20000; n++)
			;
		(void)getpgrp(); /* on Pagoda a message, and another thread's turn on this CPU */
		if (i % 8 == 7)
			nanosleep(&ms, NULL);
		if (i % 8 == 3)
			sched_yield();
	}
}

/* A child begins where its parent may be, and a program keeps what it is given. */
static void inherits(unsigned cpu)
{
	int pid = fork();

	EXPECT(pid >= 0);
	if (pid == 0) {
		EXPECT(get_cpus(0) == 1ul << cpu);
		stays(cpu);
		_exit(0);
	}
	EXPECT(get_cpus(pid) == 1ul << cpu);
	EXPECT(child_wait(pid) == 0);
}

struct runner {
	volatile int tid;
	volatile unsigned cpu;
	volatile bool stop;
};

static void *run(void *arg)
{
	struct runner *r = arg;
	unsigned cpu, node;

	r->tid = (int)syscall(SYS_gettid);
	while (!r->stop) {
		where(&cpu, &node);
		r->cpu = cpu;
	}
	return NULL;
}

/* Another thread that never stops computing is sent to and fro. */
static void sends(unsigned long all)
{
	struct runner r = {0};
	pthread_t thread;

	EXPECT(pthread_create(&thread, NULL, run, &r) == 0);
	while (!r.tid)
		sched_yield();
	for (int round = 0; round < 6; round++) {
		for (unsigned cpu = 0; cpu < 64; cpu++) {
			if (!(all >> cpu & 1))
				continue;
			EXPECT(set_cpus(r.tid, 1ul << cpu) == 0);
			EXPECT(get_cpus(r.tid) == 1ul << cpu);
			for (int i = 0; r.cpu != cpu && i < 2000; i++)
				sleep_ms(1);
			EXPECT(r.cpu == cpu);
		}
	}
	r.stop = true;
	EXPECT(pthread_join(thread, NULL) == 0);
}

static int affinity(void)
{
	unsigned long all = get_cpus(0);

	refusals(all);
	if (!(all & (all - 1)))
		return 2;
	for (unsigned cpu = 0; cpu < 64; cpu++) {
		if (!(all >> cpu & 1))
			continue;
		(void)go_to(cpu);
		EXPECT(get_cpus(0) == 1ul << cpu);
		stays(cpu);
		inherits(cpu);
	}
	/* CPUs that are not there do not matter beside those that are. */
	EXPECT(set_cpus(0, ~0ul) == 0);
	EXPECT(get_cpus(0) == all);
	sends(all);
	printf("numa: threads stay on their CPUs\n");
	return 0;
}

/* The node each page is on, or -errno. */
static void nodes_of(char *area, unsigned long step, unsigned nr, int *nodes)
{
	void *pages[NODES_MAX];

	for (unsigned i = 0; i < nr; i++)
		pages[i] = area + i * step;
	EXPECT(syscall(SYS_move_pages, 0, nr, pages, NULL, nodes, 0) == 0);
}

/* --- policies ------------------------------------------------------------------------------------------------------ */

enum {
	DEFAULT,
	PREFERRED,
	BIND,
	INTERLEAVE,
	LOCAL,
	PREFERRED_MANY
};
#define F_NODE   1
#define F_ADDR   2
#define F_MEMS   4
#define STRICT   1
#define MOVE     2
#define MOVE_ALL 4
#define SMALL    (64 * PAGE_BYTES)

static long mbind(void *addr, unsigned long len, int mode, unsigned long mask, unsigned flags)
{
	return syscall(SYS_mbind, addr, len, mode, &mask, 64, flags);
}

static long set_policy(int mode, unsigned long mask)
{
	return syscall(SYS_set_mempolicy, mode, &mask, 64);
}

/* The mode, or -errno; *mask is what belongs to it. */
static int get_policy(void *addr, unsigned flags, unsigned long *mask)
{
	int mode = -1;

	*mask = ~0ul;
	if (syscall(SYS_get_mempolicy, &mode, mask, 64, addr, flags) < 0)
		return -errno;
	return mode;
}

static bool refused(long result, int why)
{
	return result < 0 && errno == why;
}

/* What Linux 6.1 says to nonsense, on a machine with nodes `all`. */
static void policy_refusals(char *area, unsigned long all)
{
	void *pages[2] = {area, area + 64 * HUGE_BYTES};
	unsigned long mask = 1, bits[3] = {1, 0, 0};
	int status[2] = {-1, -1}, node = 0, none = 63, mode;

	EXPECT(refused(mbind(area, SMALL, 9, 1, 0), EINVAL));
	EXPECT(refused(mbind(area, SMALL, -1, 1, 0), EINVAL));
	EXPECT(refused(mbind(area, SMALL, BIND, 0, 0), EINVAL));         /* no node */
	EXPECT(refused(mbind(area, SMALL, BIND, 1ul << 40, 0), EINVAL)); /* none of the machine's */
	EXPECT(refused(mbind(area, SMALL, INTERLEAVE, 0, 0), EINVAL));
	EXPECT(refused(mbind(area, SMALL, DEFAULT, 1, 0), EINVAL));
	EXPECT(refused(mbind(area, SMALL, LOCAL, 1, 0), EINVAL));
	EXPECT(refused(mbind(area, SMALL, BIND, 1, 0x80), EINVAL));
	EXPECT(refused(mbind(area + 1, SMALL, BIND, 1, 0), EINVAL));
	EXPECT(mbind(area, 0, BIND, 1, 0) == 0);
	EXPECT(refused(mbind(area, ULONG_MAX - PAGE_BYTES, BIND, 1, 0), EINVAL));
	EXPECT(refused(mbind(area + 64 * HUGE_BYTES, SMALL, BIND, 1, 0), EFAULT));
	EXPECT(refused(mbind(area + 64 * HUGE_BYTES, SMALL, DEFAULT, 0, 0), EFAULT));
	EXPECT(refused(syscall(SYS_mbind, area, SMALL, BIND, (void *)8, 64, 0), EFAULT));
	EXPECT(refused(syscall(SYS_mbind, area, SMALL, BIND, bits, 1 << 20, 0), EINVAL));
	EXPECT(refused(set_policy(77, 1), EINVAL));
	EXPECT(refused(set_policy(BIND, 0), EINVAL));
	EXPECT(refused(syscall(SYS_set_mempolicy, BIND, (void *)8, 64), EFAULT));

	EXPECT(get_policy(NULL, F_MEMS, &mask) == 0 && mask == all);
	EXPECT(get_policy(NULL, 0, &mask) == DEFAULT && mask == 0);
	EXPECT(get_policy(area, 0, &mask) == -EINVAL); /* an address, and no F_ADDR */
	EXPECT(get_policy(area, 0x80, &mask) == -EINVAL);
	EXPECT(get_policy(NULL, F_MEMS | F_ADDR, &mask) == -EINVAL);
	EXPECT(get_policy(area + 64 * HUGE_BYTES, F_ADDR, &mask) == -EFAULT);
	EXPECT(refused(syscall(SYS_get_mempolicy, (void *)8, NULL, 0, NULL, 0), EFAULT));
	EXPECT(syscall(SYS_get_mempolicy, &mode, NULL, 0, area, F_ADDR) == 0 && mode == DEFAULT);

	touch_write(area, 1);
	EXPECT(syscall(SYS_move_pages, 0, 2, pages, NULL, status, 0) == 0);
	EXPECT(status[0] >= 0 && status[1] == -EFAULT);
	pages[1] = area + PAGE_BYTES; /* nothing there yet */
	EXPECT(syscall(SYS_move_pages, getpid(), 2, pages, NULL, status, MOVE) == 0);
	EXPECT(status[0] >= 0 && status[1] == -EFAULT);
	(void)touch_read(area + PAGE_BYTES); /* the zero page */
	EXPECT(syscall(SYS_move_pages, 0, 2, pages, NULL, status, 0) == 0 && status[1] == -EFAULT);
	EXPECT(refused(syscall(SYS_move_pages, 0, 1, pages, &none, status, MOVE), ENODEV));
	none = -1;
	EXPECT(refused(syscall(SYS_move_pages, 0, 1, pages, &none, status, MOVE), ENODEV));
	EXPECT(refused(syscall(SYS_move_pages, 0, 1, pages, &node, status, 0x80), EINVAL));
	EXPECT(refused(syscall(SYS_move_pages, NO_PID, 1, pages, &node, status, MOVE), ESRCH));
	EXPECT(refused(syscall(SYS_move_pages, 0, 1, (void *)8, NULL, status, 0), EFAULT));
	EXPECT(refused(syscall(SYS_move_pages, 0, 1, pages, (void *)8, status, MOVE), EFAULT));
	EXPECT(refused(syscall(SYS_move_pages, 0, 1, pages, NULL, (void *)8, 0), EFAULT));
	EXPECT(syscall(SYS_move_pages, 0, 0, NULL, NULL, NULL, 0) == 0);
}

/* How many of `nr` pages are on that node. */
static unsigned pages_on(char *area, unsigned nr, int node)
{
	int nodes[NODES_MAX];
	unsigned on = 0;

	nodes_of(area, PAGE_BYTES, nr, nodes);
	for (unsigned i = 0; i < nr; i++)
		on += nodes[i] == node;
	return on;
}

/* All of an area's pages come from where it was bound to, whatever CPU touches them; a child's copies, too. */
static void binds(char *area, int node)
{
	unsigned long mask;
	int pid;

	EXPECT(mbind(area, SMALL, BIND, 1ul << node, 0) == 0);
	memset(area, 1, SMALL);
	EXPECT(pages_on(area, 64, node) == 64);
	EXPECT(get_policy(area, F_ADDR, &mask) == BIND && mask == 1ul << node);
	EXPECT(get_policy(area, F_ADDR | F_NODE, &mask) == node);
	EXPECT(get_policy(NULL, 0, &mask) == DEFAULT); /* the thread has said nothing */
	pid = fork();
	if (pid == 0) {
		memset(area, 2, SMALL);
		EXPECT(pages_on(area, 64, node) == 64);
		EXPECT(get_policy(area, F_ADDR, &mask) == BIND);
		_exit(0);
	}
	EXPECT(child_wait(pid) == 0);
	EXPECT(mbind(area, SMALL, DEFAULT, 0, 0) == 0);
	EXPECT(get_policy(area, F_ADDR, &mask) == DEFAULT && mask == 0);
}

/* Huge pages, and pages that are there already. */
static void moves(char *area, int from, int to)
{
	int nodes[2], status[2] = {-1, -1}, wanted[2] = {from, from};
	void *pages[2] = {area, area + HUGE_BYTES};

	EXPECT(madvise(area, 2 * HUGE_BYTES, MADV_HUGEPAGE) == 0);
	EXPECT(mbind(area, 2 * HUGE_BYTES, PREFERRED, 1ul << from, 0) == 0);
	memset(area, 3, 2 * HUGE_BYTES);
	nodes_of(area, HUGE_BYTES, 2, nodes);
	EXPECT(nodes[0] == from && nodes[1] == from);
	EXPECT(refused(mbind(area, 2 * HUGE_BYTES, BIND, 1ul << to, STRICT), EIO));
	EXPECT(mbind(area, 2 * HUGE_BYTES, BIND, 1ul << to, STRICT | MOVE) == 0);
	nodes_of(area, HUGE_BYTES, 2, nodes);
	EXPECT(nodes[0] == to && nodes[1] == to);
	EXPECT(syscall(SYS_move_pages, 0, 2, pages, wanted, status, MOVE) == 0);
	EXPECT(status[0] == from && status[1] == from);
	nodes_of(area, HUGE_BYTES, 2, nodes);
	EXPECT(nodes[0] == from && nodes[1] == from);
	for (unsigned long at = 0; at < 2 * HUGE_BYTES; at += PAGE_BYTES)
		EXPECT(touch_read(area + at) == 3);
	EXPECT(smaps_field((unsigned long)area, (unsigned long)area + 2 * HUGE_BYTES,
		       "AnonHugePages:") == 2 * HUGE_BYTES / KIB);
}

/* A page that a child maps as well is moved with MOVE_ALL only. */
static void moves_shared(char *area, int from, int to)
{
	int status = -1, pid, go[2];
	char byte;

	EXPECT(mbind(area, SMALL, BIND, 1ul << from, MOVE) == 0);
	memset(area, 4, SMALL);
	EXPECT(pipe(go) == 0);
	pid = fork();
	if (pid == 0) {
		close(go[1]);
		_exit(read(go[0], &byte, 1) != 0);
	}
	EXPECT(syscall(SYS_move_pages, 0, 1, &area, &to, &status, MOVE) == 0 && status == -EACCES);
	EXPECT(syscall(SYS_move_pages, 0, 1, &area, &to, &status, MOVE_ALL) == 0 && status == to);
	/* The shared ones stay, and nobody is told. */
	EXPECT(mbind(area, SMALL, BIND, 1ul << to, STRICT | MOVE) == 0);
	EXPECT(pages_on(area, 64, from) == 63);
	EXPECT(mbind(area, SMALL, BIND, 1ul << to, STRICT | MOVE_ALL) == 0);
	EXPECT(pages_on(area, 64, to) == 64);
	close(go[1]);
	EXPECT(child_wait(pid) == 0);
}

static void policy_of_thread(char *area, int here, int there)
{
	unsigned long mask, both = 1ul << here | 1ul << there;

	EXPECT(set_policy(PREFERRED, 1ul << there) == 0);
	EXPECT(get_policy(NULL, 0, &mask) == PREFERRED && mask == 1ul << there);
	memset(area, 1, SMALL);
	EXPECT(pages_on(area, 64, there) == 64);
	EXPECT(set_policy(INTERLEAVE, both) == 0);
	memset(area + SMALL, 1, SMALL);
	EXPECT(pages_on(area + SMALL, 64, there) == 32 && pages_on(area + SMALL, 64, here) == 32);
	EXPECT(set_policy(PREFERRED, 0) == 0); /* another name of LOCAL */
	EXPECT(get_policy(NULL, 0, &mask) == LOCAL && mask == 0);
	memset(area + 2 * SMALL, 1, SMALL);
	EXPECT(pages_on(area + 2 * SMALL, 64, here) == 64);
	EXPECT(set_policy(DEFAULT, 0) == 0);
}

static int policy(void)
{
	unsigned long all;
	char *area = area_map(0, 16 * HUGE_BYTES, PROT_READ | PROT_WRITE, 0);
	int here = 0, there;

	EXPECT(area != MAP_FAILED && madvise(area, HUGE_BYTES, MADV_NOHUGEPAGE) == 0);
	EXPECT(get_policy(NULL, F_MEMS, &all) == 0);
	policy_refusals(area, all);
	if (!(all & (all - 1)))
		return 2;
	(void)go_to(0);
	there = 63 - __builtin_clzl(all);
	binds(area + SMALL, there);
	binds(area + 2 * SMALL, here);
	moves(area + HUGE_BYTES, here, there);
	moves(area + 4 * HUGE_BYTES, there, here);
	moves_shared(area + 3 * SMALL, here, there);
	policy_of_thread(area + 4 * SMALL, here, there);
	printf("numa: memory comes from where it is bound to\n");
	return 0;
}

/* --- memory follows ------------------------------------------------------------------------------------------------- */

#define FOLLOW_BYTES (4 * HUGE_BYTES)

/* A CPU of that node; -1: none. Bound to it afterwards. */
static int cpu_of_node(unsigned long all, unsigned wanted)
{
	for (unsigned cpu = 0; cpu < 64; cpu++)
		if (all >> cpu & 1 && go_to(cpu) == wanted)
			return (int)cpu;
	return -1;
}

static unsigned last_node(unsigned long all)
{
	unsigned last = 0;

	for (unsigned cpu = 0; cpu < 64; cpu++)
		if (all >> cpu & 1) {
			unsigned node = go_to(cpu);

			last = node > last ? node : last;
		}
	return last;
}

static unsigned long counter(const char *name)
{
	char line[80];
	unsigned long value = 0;
	size_t len = strlen(name);
	FILE *file = fopen("/proc/vmstat", "r");

	EXPECT(file);
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, name, len) && line[len] == ' ')
			value = strtoul(line + len, NULL, 10);
	fclose(file);
	return value;
}

static const char *const follow_counters[] = {"numa_pte_updates", "numa_huge_pte_updates",
	"numa_hint_faults", "numa_hint_faults_local", "numa_pages_migrated", "pgmigrate_success",
	"thp_migration_success"};
#define NR_COUNTERS (sizeof(follow_counters) / sizeof(follow_counters[0]))

static void read_counters(unsigned long *values)
{
	for (unsigned i = 0; i < NR_COUNTERS; i++)
		values[i] = counter(follow_counters[i]);
}

static void show_nodes(const char *when, unsigned cpu, char *area)
{
	int nodes[4];

	nodes_of(area, HUGE_BYTES, 4, nodes);
	printf("%s on CPU %u: huge pages on nodes %d %d %d %d\n", when, cpu, nodes[0], nodes[1],
		nodes[2], nodes[3]);
}

/* Reads and writes all of it until all of it is on that node. */
static bool use_until_on(char *area, int node, unsigned seconds)
{
	int nodes[4];

	for (time_t end = time(NULL) + seconds; time(NULL) <= end;) {
		for (unsigned long at = 0; at < FOLLOW_BYTES; at += PAGE_BYTES)
			touch_write(area + at, touch_read(area + at) + 1);
		nodes_of(area, HUGE_BYTES, 4, nodes);
		if (nodes[0] == node && nodes[1] == node && nodes[2] == node && nodes[3] == node)
			return true;
	}
	return false;
}

static int follow(unsigned seconds)
{
	unsigned long all = get_cpus(0), before[NR_COUNTERS], after[NR_COUNTERS];
	unsigned there = last_node(all);
	struct smaps_sum sum;
	int cpu = cpu_of_node(all, 0), nodes[4];
	char *area;
	bool came;

	if (there == 0 || cpu < 0)
		return 2;
	area = area_map(0, FOLLOW_BYTES, PROT_READ | PROT_WRITE, 0);
	EXPECT(area != MAP_FAILED && madvise(area, FOLLOW_BYTES, MADV_HUGEPAGE) == 0);
	memset(area, 1, FOLLOW_BYTES);
	EXPECT(smaps_read((unsigned long)area, (unsigned long)area + FOLLOW_BYTES, &sum));
	EXPECT(sum.anon_huge == FOLLOW_BYTES / KIB);
	show_nodes("filled", (unsigned)cpu, area);
	nodes_of(area, HUGE_BYTES, 4, nodes);
	EXPECT(nodes[0] == 0 && nodes[3] == 0);

	cpu = cpu_of_node(all, there);
	read_counters(before);
	came = use_until_on(area, (int)there, seconds);
	read_counters(after);
	show_nodes("used", (unsigned)cpu, area);
	for (unsigned i = 0; i < NR_COUNTERS; i++)
		printf("%s +%lu\n", follow_counters[i], after[i] - before[i]);
	EXPECT(came);
	EXPECT(smaps_read((unsigned long)area, (unsigned long)area + FOLLOW_BYTES, &sum));
	EXPECT(sum.anon_huge == FOLLOW_BYTES / KIB); /* they came whole */
	printf("numa: memory followed to node %u\n", there);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "affinity"))
		return affinity();
	if (argc == 2 && !strcmp(argv[1], "policy"))
		return policy();
	if ((argc == 2 || argc == 3) && !strcmp(argv[1], "follow"))
		return follow(argc == 3 ? (unsigned)atoi(argv[2]) : 20);
	fprintf(stderr, "usage: numa affinity | policy | follow [SECONDS]\n");
	return 1;
}
