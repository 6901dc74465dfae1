/*
 * syscall.c - what ring 3 may ask for            floor 7, below: mm/mmap.c, task.c, native_*.c
 *
 * Tables, number -> function. A function here turns six registers into arguments, checks what only
 * the door can check (numbers that are cut off, pointers, sizes) and calls the verb that does the work.
 * Numbers, flags and errors are Linux's, also which error comes first when two apply.
 *
 * IDEA
 *   entry.asm --regs--> syscall_dispatch --table[rax]--> sys_madvise --> mmap_advise (mm/mmap.c)
 *                              |
 *                              +-- 0x1000 and up: our own (abi/native.h)
 *                              +-- the task has a personality: a message to it (ipc_forward)
 *                              +-- nobody: -ENOSYS, and one line in dmesg per number
 *
 * LOCKS     none of its own; a verb takes mm->lock, so no copy to or from ring 3 happens inside one.
 * LINUX     arch/x86/entry/common.c do_syscall_64, mm/{mmap,mprotect,madvise,mincore}.c, kernel/sys.c
 */
#include "syscall.h"

#include "futex.h"
#include "lib/bitmap.h"
#include "lib/string.h"
#include "mm/fault.h"
#include "mm/mmap.h"
#include "mm/uaccess.h"
#include "native.h"
#include "printk.h"
#include "random.h"
#include "sched.h"
#include "task.h"
#include "x86/switch.h"
#include "x86/timer.h"
#include <abi/errno.h>
#include <abi/syscall.h>

typedef s64 syscall_fn(struct regs *r);

static s64 forward(struct regs *r)
{
	return ipc_forward(current_task()->personality, r);
}

static void count_faults(u64 faults)
{
	__atomic_add_fetch(&current_task()->minflt, faults, __ATOMIC_RELAXED);
}

static struct mm *current_mm(void)
{
	return current_thread()->mm;
}

/* Bits beyond 32 cannot be handed on, but must not be lost: one that no call knows stands for them. */
static u32 flags32(u64 flags)
{
	return flags >> 32 ? (u32)flags | 0x80000000u : (u32)flags;
}

/* --- memory ------------------------------------------------------------------------------------------ */

/* What Linux says to what cannot be mapped here. */
static s64 mmap_refused(u64 flags)
{
	if (!(flags & MAP_ANONYMOUS))
		return -EBADF;                    /* nobody has opened a file for this task */
	return flags & MAP_HUGETLB ? -ENOMEM : 0; /* the pool of reserved huge pages is empty */
}

/* MAP_POPULATE is a favour: its failure is not told. Linux: mm_populate */
static void populate(vaddr_t start, u64 len, u64 prot, u64 flags)
{
	bool locked = flags & MAP_LOCKED || current_mm()->lock_flags == VM_LOCKED;
	bool wanted = locked || (flags & (MAP_POPULATE | MAP_NONBLOCK)) == MAP_POPULATE;
	bool write = prot & PROT_WRITE && (flags & MAP_TYPE) == MAP_PRIVATE;
	u64 faults = 0;

	if (!wanted || !(prot & (PROT_READ | PROT_WRITE | PROT_EXEC)))
		return;
	(void)fault_populate(current_mm(), start, start + ALIGN_UP(len, PAGE_SIZE), write, &faults);
	count_faults(faults);
}

static s64 sys_mmap(struct regs *r)
{
	u64 len = ARG1(r), prot = ARG2(r), flags = ARG3(r);
	s64 result;

	if (!(flags & MAP_ANONYMOUS) && current_task()->personality)
		return forward(r); /* its files are there */
	if (ARG5(r) & ~PAGE_MASK)
		return -EINVAL;
	result = mmap_refused(flags);
	if (result)
		return result;
	result = mmap_map(current_mm(), ARG0(r), len, (u32)prot, (u32)flags);
	if (result > 0)
		populate((vaddr_t)result, len, prot, flags);
	return result;
}

static s64 sys_munmap(struct regs *r)
{
	return mmap_unmap(current_mm(), ARG0(r), ARG1(r));
}

static s64 sys_mprotect(struct regs *r)
{
	u64 faults = 0;
	int result =
		mmap_protect_counted(current_mm(), ARG0(r), ARG1(r), flags32(ARG2(r)), &faults);

	if (unlikely(faults))
		count_faults(faults);
	return result;
}

/* After mlockall(MCL_FUTURE) the heap's new pages are there at once. */
static s64 sys_brk(struct regs *r)
{
	struct mm *mm = current_mm();
	vaddr_t old = ALIGN_UP(READ_ONCE(mm->brk), PAGE_SIZE), brk = mmap_brk(mm, ARG0(r));
	u64 faults = 0;

	if (unlikely(READ_ONCE(mm->lock_flags) & VM_LOCKED && brk > old)) {
		mmap_bring_in_locked(mm, old, ALIGN_UP(brk, PAGE_SIZE), &faults);
		count_faults(faults);
	}
	return (s64)brk;
}

static s64 sys_mremap(struct regs *r)
{
	struct mm *mm = current_mm();
	u64 faults = 0, old_len = ALIGN_UP(ARG1(r), PAGE_SIZE), len = ALIGN_UP(ARG2(r), PAGE_SIZE);
	s64 at = mmap_remap(mm, ARG0(r), ARG1(r), ARG2(r), flags32(ARG3(r)), ARG4(r));

	if (unlikely(at > 0 && len > old_len && READ_ONCE(mm->locked_vm))) {
		mmap_bring_in_locked(mm, at + old_len, at + len, &faults);
		count_faults(faults);
	}
	return at;
}

static s64 sys_madvise(struct regs *r)
{
	u64 faults = 0;
	int result = mmap_advise(current_mm(), ARG0(r), ARG1(r), (int)ARG2(r), &faults);

	count_faults(faults);
	return result;
}

static s64 sys_mlock(struct regs *r)
{
	u64 faults = 0;
	int result = mmap_lock(current_mm(), ARG0(r), ARG1(r), 0, &faults);

	count_faults(faults);
	return result;
}

static s64 sys_mlock2(struct regs *r)
{
	u64 faults = 0;
	int result = mmap_lock(current_mm(), ARG0(r), ARG1(r), (u32)ARG2(r), &faults);

	count_faults(faults);
	return result;
}

static s64 sys_munlock(struct regs *r)
{
	return mmap_unlock(current_mm(), ARG0(r), ARG1(r));
}

static s64 sys_mlockall(struct regs *r)
{
	u64 faults = 0;
	int result = mmap_lock_all(current_mm(), (u32)ARG0(r), &faults);

	count_faults(faults);
	return result;
}

static s64 sys_munlockall(struct regs *r)
{
	return mmap_unlock_all(current_mm());
}

static s64 sys_msync(struct regs *r)
{
	return mmap_sync(current_mm(), ARG0(r), ARG1(r), (u32)ARG2(r));
}

/* A byte for each page, 512 pages under one hold of the lock. */
static s64 sys_mincore(struct regs *r)
{
	vaddr_t addr = ARG0(r), vec = ARG2(r);
	u64 pages = (ARG1(r) >> PAGE_SHIFT) + ((ARG1(r) & ~PAGE_MASK) != 0);
	u8 chunk[512];

	if (addr & ~PAGE_MASK)
		return -EINVAL;
	if (!user_range_ok(addr, ARG1(r)))
		return -ENOMEM;
	if (!user_range_ok(vec, pages))
		return -EFAULT;
	while (pages) {
		u64 n = MIN(pages, sizeof(chunk));
		int error = mmap_mincore(current_mm(), addr, n, chunk);

		if (error)
			return error;
		if (copy_to_user((void __user *)vec, chunk, n))
			return -EFAULT;
		addr += n << PAGE_SHIFT;
		vec += n;
		pages -= n;
	}
	return 0;
}

/* --- time -------------------------------------------------------------------------------------------- */

#define CLOCK_REALTIME           0
#define CLOCK_MONOTONIC          1
#define CLOCK_PROCESS_CPUTIME_ID 2
#define CLOCK_THREAD_CPUTIME_ID  3
#define CLOCK_MONOTONIC_RAW      4
#define CLOCK_REALTIME_COARSE    5
#define CLOCK_MONOTONIC_COARSE   6
#define CLOCK_BOOTTIME           7
#define TIMER_ABSTIME            1

struct timespec {
	s64 sec, nsec;
};

#define SLEEP_MAX_SEC (TIME_NEVER / 2 / NS_PER_SEC) /* 292 years */

static s64 timespec_read(vaddr_t from, u64 *ns)
{
	struct timespec ts;

	if (copy_from_user(&ts, (const void __user *)from, sizeof(ts)))
		return -EFAULT;
	if (ts.sec < 0 || ts.nsec < 0 || ts.nsec >= (s64)NS_PER_SEC)
		return -EINVAL;
	*ns = MIN((u64)ts.sec, SLEEP_MAX_SEC) * NS_PER_SEC + ts.nsec;
	return 0;
}

static s64 timespec_write(vaddr_t to, u64 ns)
{
	struct timespec ts = {ns / NS_PER_SEC, ns % NS_PER_SEC};

	return copy_to_user((void __user *)to, &ts, sizeof(ts));
}

/* An interruption ends it early: then what is left of a relative sleep goes to `rest`, if that is not 0. */
static s64 sleep_until(u64 deadline, vaddr_t rest)
{
	struct waitq nobody;
	u64 now;

	waitq_init(&nobody, "sleep");
	waitq_wait_until(&nobody, thread_interrupted(), deadline, "sleep");
	now = time_ns();
	if (now >= deadline || !thread_interrupted())
		return 0;
	if (rest && timespec_write(rest, deadline - now))
		return -EFAULT;
	return -EINTR;
}

static s64 sys_nanosleep(struct regs *r)
{
	u64 ns;
	s64 error = timespec_read(ARG0(r), &ns);

	return error ? error : sleep_until(time_ns() + ns, ARG1(r));
}

static s64 sys_clock_nanosleep(struct regs *r)
{
	u64 clock = (u32)ARG0(r), now = time_ns(), ns;
	s64 error;

	if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME)
		return -EINVAL;
	error = timespec_read(ARG2(r), &ns);
	if (error)
		return error;
	if (!((u32)ARG1(r) & TIMER_ABSTIME))
		return sleep_until(now + ns, ARG3(r));
	if (clock == CLOCK_REALTIME) /* the wall clock runs a constant ahead of the other */
		ns -= MIN(ns, time_wall_ns() - now);
	return sleep_until(ns, 0);
}

static u64 thread_cpu_ns(const struct thread *t)
{
	return t->runtime_ns + (time_ns() - t->started_ns);
}

static s64 sys_clock_gettime(struct regs *r)
{
	switch ((u32)ARG0(r)) {
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE:
		return timespec_write(ARG1(r), time_wall_ns());
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_RAW:
	case CLOCK_MONOTONIC_COARSE:
	case CLOCK_BOOTTIME:
		return timespec_write(ARG1(r), time_ns());
	case CLOCK_PROCESS_CPUTIME_ID:
	case CLOCK_THREAD_CPUTIME_ID:
		return timespec_write(ARG1(r), thread_cpu_ns(current_thread()));
	default:
		return -EINVAL;
	}
}

/* --- the thread itself -------------------------------------------------------------------------------- */

static s64 sys_gettid(struct regs *r)
{
	return current_thread()->tid;
}

/* The personality keeps it up to date (task_label): it says so at fork, and again when a parent ends. */
static s64 sys_getppid(struct regs *r)
{
	return READ_ONCE(current_task()->ppid);
}

static s64 sys_sched_yield(struct regs *r)
{
	sched_yield();
	return 0;
}

static s64 sys_exit(struct regs *r)
{
	thread_leave((int)(ARG0(r) & 0xff) << 8);
}

static s64 sys_set_tid_address(struct regs *r)
{
	current_thread()->clear_child_tid = ARG0(r);
	return current_thread()->tid;
}

/* Only addresses of ring 3, so that loading one can never fault. */
static s64 set_segment_base(u64 *base, vaddr_t addr)
{
	struct thread *t = current_thread();

	if (addr >= USER_END)
		return -EPERM;
	*base = addr;
	user_segments_load(t->fs_base, t->gs_base);
	return 0;
}

static s64 sys_arch_prctl(struct regs *r)
{
	struct thread *t = current_thread();

	switch ((u32)ARG0(r)) {
	case ARCH_SET_FS:
		return set_segment_base(&t->fs_base, ARG1(r));
	case ARCH_SET_GS:
		return set_segment_base(&t->gs_base, ARG1(r));
	case ARCH_GET_FS:
		return copy_to_user((void __user *)ARG1(r), &t->fs_base, sizeof(t->fs_base));
	case ARCH_GET_GS:
		return copy_to_user((void __user *)ARG1(r), &t->gs_base, sizeof(t->gs_base));
	default:
		return -EINVAL;
	}
}

static s64 set_name(vaddr_t from)
{
	struct task *t = current_task();
	char name[sizeof(t->name)];
	int len = strncpy_from_user(name, (const char __user *)from, sizeof(name));

	if (len < 0 && len != -ERANGE) /* a longer one is cut off */
		return len;
	name[sizeof(name) - 1] = '\0';
	strscpy(current_thread()->name, name, sizeof(name));
	task_lock();
	if (t->thread == current_thread()) /* the first one's is the task's, as in ps of Linux */
		strscpy(t->name, name, sizeof(t->name));
	task_unlock();
	return 0;
}

static s64 get_name(vaddr_t to)
{
	const struct thread *t = current_thread();
	char name[sizeof(t->name)] = {0};

	strscpy(name, t->name, sizeof(name));
	return copy_to_user((void __user *)to, name, sizeof(name));
}

static s64 sys_prctl(struct regs *r)
{
	switch ((int)ARG0(r)) {
	case PR_SET_NAME:
		return set_name(ARG1(r));
	case PR_GET_NAME:
		return get_name(ARG1(r));
	case PR_SET_THP_DISABLE:
		if (ARG2(r) || ARG3(r) || ARG4(r))
			return -EINVAL;
		return mmap_set_thp_disable(current_mm(), ARG1(r) != 0);
	case PR_GET_THP_DISABLE:
		if (ARG1(r) || ARG2(r) || ARG3(r) || ARG4(r))
			return -EINVAL;
		return current_mm()->thp_disable;
	default:
		return -EINVAL;
	}
}

#define GRND_INSECURE_RANDOM 6u
#define RANDOM_MAX           0x7ffff000ul /* Linux's MAX_RW_COUNT */

static s64 sys_getrandom(struct regs *r)
{
	u64 len = MIN(ARG1(r), RANDOM_MAX), done = 0;
	u8 chunk[64];

	if ((u32)ARG2(r) & ~7u || ((u32)ARG2(r) & GRND_INSECURE_RANDOM) == GRND_INSECURE_RANDOM)
		return -EINVAL;
	while (done < len && !thread_interrupted()) {
		u64 n = MIN(len - done, sizeof(chunk));

		random_fill(chunk, n);
		if (copy_to_user((void __user *)(ARG0(r) + done), chunk, n))
			return done ? (s64)done : -EFAULT;
		done += n;
	}
	return !done && len ? -EINTR : (s64)done;
}

/* --- futex ------------------------------------------------------------------------------------------- */

#define FUTEX_WAIT           0
#define FUTEX_WAKE           1
#define FUTEX_REQUEUE        3
#define FUTEX_CMP_REQUEUE    4
#define FUTEX_WAIT_BITSET    9
#define FUTEX_WAKE_BITSET    10
#define FUTEX_PRIVATE        128
#define FUTEX_CLOCK_REALTIME 256

static bool is_shared(const struct regs *r)
{
	return !(ARG1(r) & FUTEX_PRIVATE);
}

/* WAIT's time is how long, WAIT_BITSET's is when. */
static s64 futex_deadline(struct regs *r, bool absolute, u64 *deadline)
{
	u64 ns;
	s64 error;

	*deadline = TIME_NEVER;
	if (!ARG3(r))
		return 0;
	error = timespec_read(ARG3(r), &ns);
	if (error)
		return error;
	if (!absolute)
		ns += time_ns();
	else if (ARG1(r) & FUTEX_CLOCK_REALTIME)
		ns -= MIN(ns, time_wall_ns() - time_ns());
	*deadline = ns;
	return 0;
}

static s64 sys_futex_wait(struct regs *r, bool bitset)
{
	u64 deadline;
	s64 error = futex_deadline(r, bitset, &deadline);

	if (error)
		return error;
	return futex_wait(
		ARG0(r), (u32)ARG2(r), bitset ? (u32)ARG5(r) : FUTEX_ANY, deadline, is_shared(r));
}

/* A count below 1 wakes one: Linux looks at it after it has woken somebody. */
static u32 wake_count(u64 arg)
{
	return (s32)arg < 1 ? 1 : (u32)arg;
}

static s64 sys_futex_requeue(struct regs *r, bool compare)
{
	u32 value = (u32)ARG5(r);

	if ((s32)ARG2(r) < 0 || (s32)ARG3(r) < 0)
		return -EINVAL;
	return futex_requeue(ARG0(r), (u32)ARG2(r), ARG4(r), (u32)ARG3(r), compare ? &value : NULL,
		is_shared(r));
}

/* Linux: do_futex */
static s64 sys_futex(struct regs *r)
{
	u32 op = (u32)ARG1(r) & ~(FUTEX_PRIVATE | FUTEX_CLOCK_REALTIME);

	if (ARG1(r) & FUTEX_CLOCK_REALTIME && op != FUTEX_WAIT_BITSET)
		return -ENOSYS;
	switch (op) {
	case FUTEX_WAIT:
	case FUTEX_WAIT_BITSET:
		return sys_futex_wait(r, op == FUTEX_WAIT_BITSET);
	case FUTEX_WAKE:
		return futex_wake(current_mm(), ARG0(r), wake_count(ARG2(r)), is_shared(r));
	case FUTEX_WAKE_BITSET:
		return futex_wake_mask(
			current_mm(), ARG0(r), wake_count(ARG2(r)), (u32)ARG5(r), is_shared(r));
	case FUTEX_REQUEUE:
	case FUTEX_CMP_REQUEUE:
		return sys_futex_requeue(r, op == FUTEX_CMP_REQUEUE);
	default:
		return -ENOSYS;
	}
}

/* --- what others serve, and nobody ---------------------------------------------------------------------- */

/* Numbers nobody serves, told once each: those of the table's range by a bit, others as they come. */
static u64 told[BITMAP_WORDS(NR_SYSCALLS)];
static u32 told_beyond[16];

static bool first_time(u32 nr)
{
	if (nr < NR_SYSCALLS)
		return !(__atomic_fetch_or(&told[nr / 64], 1ul << nr % 64, __ATOMIC_RELAXED) &
			 1ul << nr % 64);
	for (unsigned i = 0; i < ARRAY_SIZE(told_beyond); i++) {
		u32 none = 0;

		if (__atomic_compare_exchange_n(
			    &told_beyond[i], &none, nr, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return true;
		if (none == nr)
			return false;
	}
	return false; /* ring 3 is making numbers up: sixteen are enough */
}

__noinline static s64 unknown(u32 nr)
{
	if (first_time(nr))
		printk("pid %u (%s): system call %u is not known here (ENOSYS)",
			current_thread()->tid, current_thread()->name, nr);
	return -ENOSYS;
}

/* Few bytes go along with the message. */
static s64 sys_read(struct regs *r)
{
	struct endpoint *personality = current_task()->personality;

	return likely(personality) ? ipc_forward_read(personality, r) : unknown(SYS_read);
}

static s64 sys_write(struct regs *r)
{
	struct endpoint *personality = current_task()->personality;

	return likely(personality) ? ipc_forward_write(personality, r) : unknown(SYS_write);
}

/* --- the table ---------------------------------------------------------------------------------------- */

static syscall_fn *const table[NR_SYSCALLS] = {
	[SYS_read] = sys_read,
	[SYS_write] = sys_write,
	[SYS_mmap] = sys_mmap,
	[SYS_mlock] = sys_mlock,
	[SYS_mlock2] = sys_mlock2,
	[SYS_munlock] = sys_munlock,
	[SYS_mlockall] = sys_mlockall,
	[SYS_munlockall] = sys_munlockall,
	[SYS_msync] = sys_msync,
	[SYS_mprotect] = sys_mprotect,
	[SYS_munmap] = sys_munmap,
	[SYS_brk] = sys_brk,
	[SYS_sched_yield] = sys_sched_yield,
	[SYS_mremap] = sys_mremap,
	[SYS_mincore] = sys_mincore,
	[SYS_madvise] = sys_madvise,
	[SYS_nanosleep] = sys_nanosleep,
	[SYS_exit] = sys_exit,
	[SYS_prctl] = sys_prctl,
	[SYS_arch_prctl] = sys_arch_prctl,
	[SYS_gettid] = sys_gettid,
	[SYS_getppid] = sys_getppid,
	[SYS_set_tid_address] = sys_set_tid_address,
	[SYS_clock_gettime] = sys_clock_gettime,
	[SYS_clock_nanosleep] = sys_clock_nanosleep,
	[SYS_futex] = sys_futex,
	[SYS_getcpu] = sys_getcpu,
	[SYS_mbind] = sys_mbind,
	[SYS_set_mempolicy] = sys_set_mempolicy,
	[SYS_get_mempolicy] = sys_get_mempolicy,
	[SYS_move_pages] = sys_move_pages,
	[SYS_getrandom] = sys_getrandom,
};

/* The kernel's own, by number from SYS_NATIVE on. */
#define X(name) [SYS_##name - SYS_NATIVE] = native_##name,
static syscall_fn *const native_table[SYS_NATIVE_END - SYS_NATIVE] = {NATIVE_CALLS(X)};
#undef X

/* With `inject kill`: the task may end here, before the call or after it. */
__noinline static s64 native_watched(u32 nr, struct regs *r)
{
	s64 result;

	if (task_dies_here(nr, false))
		return -EINTR;
	result = native_table[nr - SYS_NATIVE](r);
	(void)task_dies_here(nr, true);
	return result;
}

void syscall_dispatch(struct regs *r)
{
	u32 nr = (u32)r->rax; /* Linux looks at 32 bits too */

	if (nr < NR_SYSCALLS && table[nr])
		r->rax = (u64)table[nr](r);
	else if (nr - SYS_NATIVE < ARRAY_SIZE(native_table))
		r->rax = (u64)(CONFIG_INJECT ? native_watched(nr, r)
					     : native_table[nr - SYS_NATIVE](r));
	else if (likely(current_task()->personality))
		r->rax = (u64)ipc_forward(current_task()->personality, r);
	else
		r->rax = (u64)unknown(nr);
}
