/*
 * control.h - what a personality does to a thread that lives, and what a thread asks it.        floor 4
 */
#ifndef CONTROL_H
#define CONTROL_H

#include "sched.h"
#include <abi/native.h>

void control_init(void);

/* What the current thread did that cannot be served; words of MESSAGE_EXCEPTION but rip, which is in its registers. */
struct exception {
	u64 vector, error, address;
	u32 signal, code; /* Linux's numbers */
};

/*
 * control_exception - ask the personality of the current thread what to do.
 *   locks    none held, interrupts on; the registers of ring 3 are in user_regs
 *   returns  0: run on, with the registers as they are now; else the wait status with which the task is to end (the
 *            default for this signal when there is no personality, or none that answers)
 */
int control_exception(const struct exception *e);

/* The verbs of include/abi/native.h on a thread; no lock held. 0 or -errno. */
int control_suspend(struct thread *th); /* sleeps until it stands; -EINTR, -ESRCH */
int control_resume(struct thread *th);
int control_interrupt(struct thread *th);
int control_get_regs(struct thread *th, struct thread_regs *out);
int control_set_regs(struct thread *th, const struct thread_regs *in);
/* The state of its FPU: fpu_state_size() bytes. -EINVAL: not a state that can be loaded. */
int control_get_fpu(struct thread *th, void *state);
int control_set_fpu(struct thread *th, const void *state);
/* `to`, which is NEW, begins where `from` stands, as the one that sees its call return 0. */
int control_copy(struct thread *to, struct thread *from);

/* A new empty space `mm` for a task whose only thread sits in a call; *old is what it ran in. */
int control_swap_space(struct task *t, struct mm *mm, struct mm **old);

#endif
