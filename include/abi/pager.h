/*
 * pager.h - how a server outside the kernel supplies memory.
 *
 *   thread of a client                 kernel                          pager (holds RIGHT_RECEIVE of the endpoint)
 *     touches a page of an area
 *     that maps memory M        -----> no page at that offset of M
 *     sleeps, no lock held             MESSAGE_FAULT ----------------> fills a page of its own memory
 *                                      the frame changes hands <------ pager_supply(token, offset, its page)
 *     the fault is started again <---- the answer <------------------- ipc_reply(token, 0)
 *
 *   The frame is moved, never copied: it leaves the pager's space (what it maps there afterwards is a hole, zeroes at the
 *   next touch) and becomes a page of M; or, with SUPPLY_MOVED, anonymous memory of the client alone. Pages of M are
 *   shared by all who map M; a private mapping has them read-only and copies into anonymous memory when it writes.
 *
 *   What a pager may not do, and what it hears:
 *     -EFAULT   source is not mapped
 *     -EINVAL   source is no anonymous page of the caller's, or shared with somebody, or a page of zeroes; not aligned to
 *               bytes; bytes is neither 4 KiB nor 2 MiB; 2 MiB and the source is not one huge page; offset is outside M
 *     -EEXIST   there is a page already: the caller keeps its own
 *     -ESRCH    nobody waits for that token (the client died)
 *   A pager that answers without supplying is asked again, PAGER_TRIES times for one access. So is the next one when a
 *   server ends that had the message, as long as somebody holds RIGHT_RECEIVE: a pager that is started anew serves what
 *   the old one left. After the last try, when the endpoint is dead and when the answer is an error, the thread gets
 *   SIGBUS (BUS_ADRERR). One that never answers keeps only its clients waiting, and they can be killed.
 */
#ifndef ABI_PAGER_H
#define ABI_PAGER_H

#include <stdint.h>

struct pager_supply {
	uint32_t endpoint; /* where the fault was received [RECEIVE]; 0: use `memory` */
	uint32_t memory;   /* memory[MANAGE], instead of endpoint and token: ahead of any fault */
	uint64_t token;
	uint64_t offset; /* in the object, a multiple of bytes */
	uint64_t source; /* address in the caller's space, a multiple of bytes */
	uint64_t bytes;  /* 4096 or 2 MiB */
	uint32_t flags;  /* SUPPLY_* */
	uint32_t reserved;
};
#define SUPPLY_MOVED                                                                               \
	0x1u /* into the private memory of the thread that faulted, not into the object; needs a token */

#define PAGER_TRIES 8

_Static_assert(sizeof(struct pager_supply) == 48, "abi");

#endif
