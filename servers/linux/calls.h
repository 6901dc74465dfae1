/*
 * calls.h - every call that is served here: long sys_NAME(struct call *c), listed once.         ring 3
 *
 * table.c makes the table from this; a number whose handler does not exist does not link. Calls that are not here and not
 * the kernel's are -ENOSYS.
 */
#ifndef CALLS_H
#define CALLS_H

#include "linux.h"

// clang-format off
/* clone.c exec.c process.c wait.c job.c limits.c misc.c time.c signal.c */
#define PROCESS_CALLS(X) \
	X(fork) X(vfork) X(clone) X(execve) X(execveat) X(exit_group) X(wait4) X(waitid) \
	X(getpid) X(setpgid) X(getpgid) X(getpgrp) X(setsid) X(getsid) X(getuid) \
	X(geteuid) X(getgid) X(getegid) X(setuid) X(setgid) X(setreuid) X(setregid) \
	X(setresuid) X(setresgid) X(getresuid) X(getresgid) X(setfsuid) X(setfsgid) \
	X(getgroups) X(setgroups) X(capget) X(capset) X(getrlimit) X(setrlimit) \
	X(prlimit64) X(getrusage) X(times) X(getpriority) X(setpriority) X(sched_getparam) \
	X(sched_setparam) X(sched_getscheduler) X(sched_setscheduler) \
	X(sched_get_priority_max) X(sched_get_priority_min) X(sched_rr_get_interval) \
	X(sched_setaffinity) X(sched_getaffinity) X(ioprio_get) X(ioprio_set) X(uname) X(sysinfo) X(sethostname) \
	X(setdomainname) X(personality) X(reboot) X(set_robust_list) \
	X(get_robust_list) X(rseq) X(clone3) X(syslog) X(time) X(gettimeofday) \
	X(clock_getres) X(clock_settime) X(settimeofday) X(alarm) X(setitimer) X(getitimer) \
	X(pause) X(rt_sigaction) X(rt_sigprocmask) X(rt_sigreturn) X(rt_sigpending) \
	X(rt_sigsuspend) X(rt_sigtimedwait) X(rt_sigqueueinfo) X(sigaltstack) X(kill) \
	X(tkill) X(tgkill)

/* io.c open.c names.c attr.c place.c stat.c fd.c pipe.c poll.c file_map.c ... */
#define FILE_CALLS(X) \
	X(read) X(write) X(readv) X(writev) X(pread64) X(pwrite64) X(preadv) X(pwritev) \
	X(preadv2) X(pwritev2) X(sendfile) X(copy_file_range) X(vmsplice) X(lseek) X(open) \
	X(openat) X(openat2) X(creat) X(close) X(close_range) X(dup) X(dup2) X(dup3) \
	X(fcntl) X(ioctl) X(flock) X(pipe) X(pipe2) X(memfd_create) X(eventfd) X(eventfd2) \
	X(poll) X(ppoll) X(select) X(pselect6) X(stat) X(lstat) X(fstat) X(newfstatat) \
	X(statx) X(statfs) X(fstatfs) X(access) X(faccessat) X(faccessat2) X(readlink) \
	X(readlinkat) X(getdents) X(getdents64) X(getcwd) X(chdir) X(fchdir) X(chroot) \
	X(umask) X(mkdir) X(mkdirat) X(rmdir) X(unlink) X(unlinkat) X(rename) X(renameat) \
	X(renameat2) X(link) X(linkat) X(symlink) X(symlinkat) X(mknod) X(mknodat) \
	X(truncate) X(ftruncate) X(fallocate) X(fadvise64) X(chmod) X(fchmod) X(fchmodat) \
	X(chown) X(fchown) X(lchown) X(fchownat) X(utime) X(utimes) X(futimesat) \
	X(utimensat) X(mount) X(umount2) X(sync) X(fsync) X(fdatasync) X(syncfs) X(msync) \
	X(mmap)
// clang-format on

#define DECLARE_CALL(name) long sys_##name(struct call *c);
PROCESS_CALLS(DECLARE_CALL)
FILE_CALLS(DECLARE_CALL)
#undef DECLARE_CALL

#endif
