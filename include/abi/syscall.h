/*
 * syscall.h - numbers of the system calls, Linux x86-64's.
 */
#ifndef ABI_SYSCALL_H
#define ABI_SYSCALL_H

/* The kernel's own for good. */
#define SYS_mmap              9
#define SYS_mprotect          10
#define SYS_munmap            11
#define SYS_brk               12
#define SYS_sched_yield       24
#define SYS_mremap            25
#define SYS_msync             26
#define SYS_mincore           27
#define SYS_madvise           28
#define SYS_nanosleep         35
#define SYS_exit              60
#define SYS_mlock             149
#define SYS_munlock           150
#define SYS_mlockall          151
#define SYS_munlockall        152
#define SYS_prctl             157
#define SYS_arch_prctl        158
#define SYS_gettid            186
#define SYS_futex             202
#define SYS_sched_getaffinity 204
#define SYS_set_tid_address   218
#define SYS_clock_gettime     228
#define SYS_clock_nanosleep   230
#define SYS_getrandom         318

/* Files, processes and the rest: linux_min.c. */
#define SYS_read            0
#define SYS_write           1
#define SYS_open            2
#define SYS_close           3
#define SYS_lseek           8
#define SYS_rt_sigprocmask  14
#define SYS_ioctl           16
#define SYS_pread64         17
#define SYS_readv           19
#define SYS_writev          20
#define SYS_getpid          39
#define SYS_fork            57
#define SYS_vfork           58
#define SYS_wait4           61
#define SYS_uname           63
#define SYS_getrusage       98
#define SYS_getuid          102
#define SYS_getgid          104
#define SYS_geteuid         107
#define SYS_getegid         108
#define SYS_getppid         110
#define SYS_exit_group      231
#define SYS_openat          257
#define SYS_set_robust_list 273
#define SYS_prlimit64       302
#define SYS_mlock2          325
#define SYS_rseq            334

#define NR_SYSCALLS 512 /* length of the table; numbers beyond it are unknown */

#endif
