/*
 * syscall.h - numbers of the system calls, Linux x86-64's.
 */
#ifndef ABI_SYSCALL_H
#define ABI_SYSCALL_H

/* The kernel's own. All others are a personality's, which is ring 3; of read and write it passes few bytes along. */
#define SYS_read            0
#define SYS_write           1
#define SYS_mmap            9
#define SYS_mprotect        10
#define SYS_munmap          11
#define SYS_brk             12
#define SYS_sched_yield     24
#define SYS_mremap          25
#define SYS_msync           26
#define SYS_mincore         27
#define SYS_madvise         28
#define SYS_nanosleep       35
#define SYS_exit            60
#define SYS_getppid         110
#define SYS_mlock           149
#define SYS_munlock         150
#define SYS_mlockall        151
#define SYS_munlockall      152
#define SYS_prctl           157
#define SYS_arch_prctl      158
#define SYS_gettid          186
#define SYS_futex           202
#define SYS_set_tid_address 218
#define SYS_clock_gettime   228
#define SYS_clock_nanosleep 230
#define SYS_mbind           237
#define SYS_set_mempolicy   238
#define SYS_get_mempolicy   239
#define SYS_move_pages      279
#define SYS_getcpu          309
#define SYS_getrandom       318
#define SYS_mlock2          325

#define NR_SYSCALLS 512 /* length of the table; numbers beyond it are unknown */

#endif
