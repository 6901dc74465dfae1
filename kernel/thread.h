/*
 * thread.h - the memory of a thread: for sched.c, what stands beside it, and the ends of threads.        floor 4
 * Everybody else: sched.h.
 */
#ifndef THREAD_H
#define THREAD_H

#include "sched.h"

void thread_init(void);
void thread_init_idle(struct thread *t, u32 cpu); /* the running code becomes a thread */

/* As thread_create(), and the first code of the thread: first(t), with its CPU's run queue locked. */
struct thread *thread_alloc(const char *name, void (*entry)(void *), void *arg, struct task *task,
	struct mm *mm, void (*first)(void *));
/* All but the struct: it never ran, or never will again */
void thread_free_stack(struct thread *t);
void thread_free(struct thread *t); /* the struct: the last reference went */

bool thread_try_for_each(bool (*fn)(struct thread *t, void *ctx), void *ctx); /* for watchdog.c */

static inline vaddr_t thread_stack_top(const struct thread *t)
{
	return t->stack_bottom + KSTACK_PAGES * PAGE_SIZE;
}

#endif
