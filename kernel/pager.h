/*
 * pager.h - the kernel's side of supplying memory.                                             floor 5
 *
 * What ring 3 sees: include/abi/pager.h.
 */
#ifndef PAGER_H
#define PAGER_H

#include "mm/mm.h"
#include <abi/pager.h>

struct endpoint;
struct memory;

/* What a thread waits for while its pager is asked; on its stack, found through thread->pager_wait. */
struct pager_wait {
	struct memory *memory;  /* with a reference */
	struct endpoint *asked; /* the pager's, with a reference: who may serve this */
	struct mm *mm;
	vaddr_t page;  /* of the access */
	u64 offset;    /* of that page in the memory */
	bool supplied; /* under wait_lock: something came in answer */
};

/*
 * pager_ask - fault_handle() said FAULT_PAGER: send the message, sleep until it is answered.
 *
 *   locks    none held; may sleep
 *   returns  FAULT_DONE: look again (the access is done again, or fault_handle()); FAULT_BUS: it cannot be had, or the
 *            thread is killed: look at thread_killed() first
 */
enum fault_result pager_ask(const struct fault *f);

/*
 * pager_supply - a frame of the space mm changes hands.
 *
 *   ep, m    where the fault was received, for args->token; or m: ahead of any fault. The other is NULL
 *   returns  0, or what abi/pager.h says
 */
int pager_supply(
	struct endpoint *ep, struct memory *m, const struct pager_supply *args, struct mm *mm);

#endif
