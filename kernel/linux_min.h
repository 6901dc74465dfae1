/*
 * linux_min.h - the calls a static Linux program cannot start without and that a server will serve later.   floor 7
 */
#ifndef LINUX_MIN_H
#define LINUX_MIN_H

#include "task.h"
#include "x86/regs.h"

void linux_min_init(void);

/* Give a fresh task its files: 0, 1 and 2 are the console. -ENOMEM. */
int __must_check linux_min_start(struct task *t);

/* Does the current task have this file open? */
bool linux_min_is_open(int fd);

/*
 * The monitor's way to type at a program: up to len bytes of input, sleeping until there is some; 0: end
 * of the file; -EINTR: the thread was killed. NULL: nobody types.
 */
extern s64 (*linux_console_read)(char *buf, usize len);

s64 linux_read(struct regs *r);
s64 linux_write(struct regs *r);
s64 linux_open(struct regs *r);
s64 linux_openat(struct regs *r);
s64 linux_close(struct regs *r);
s64 linux_lseek(struct regs *r);
s64 linux_ioctl(struct regs *r);
s64 linux_pread64(struct regs *r);
s64 linux_readv(struct regs *r);
s64 linux_writev(struct regs *r);
s64 linux_getpid(struct regs *r);
s64 linux_getppid(struct regs *r);
s64 linux_getuid(struct regs *r);
s64 linux_fork(struct regs *r);
s64 linux_wait4(struct regs *r);
s64 linux_uname(struct regs *r);
s64 linux_getrusage(struct regs *r);
s64 linux_prlimit64(struct regs *r);
s64 linux_set_robust_list(struct regs *r);
s64 linux_rt_sigprocmask(struct regs *r);
s64 linux_rseq(struct regs *r);

#endif
