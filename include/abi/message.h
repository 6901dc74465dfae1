/*
 * message.h - what travels between tasks: a label, six words, one handle.
 *
 * THE FOUR CALLS
 *   in   rdi endpoint   rsi token (reply)   rdx label   r10 r8 r9 r12 r13 r14 words   r15 handle to send   rbx deadline
 *   out  rax status     rsi token           rdx label   r10 r8 r9 r12 r13 r14 words   r15 handle received  rdi badge
 *
 *   ipc_call(endpoint[SEND])             sends, sleeps until the answer; out: label and words of the answer
 *   ipc_receive(endpoint[RECEIVE])       sleeps until a message; out: badge, token, label, words
 *   ipc_reply(endpoint[RECEIVE], token)  answers one received message; never sleeps
 *   ipc_reply_receive                    both; token 0: nothing to answer. The answer's failure is not told.
 *
 *   status: 0; -ETIMEDOUT (deadline, in ns since boot; a received message whose caller gave up is answered into
 *   nothing); -EPIPE (no server can answer any more: the last handle with RIGHT_RECEIVE is gone, or the server that had
 *   received the message ended); -EINTR (thread_interrupt, kill); -ESRCH (reply: nobody waits for that token);
 *   -EINVAL (label with LABEL_KERNEL); -EMFILE (no room for the handle at the other side: the message is not
 *   delivered); -EBADF, -EACCES.
 *
 *   Several callers are served in the order they came. A caller that dies takes its message back; if the server has it
 *   already, the answer meets -ESRCH. A handle in a message needs RIGHT_DUPLICATE; the receiver gets it with the
 *   rights it had.
 *
 * MESSAGES FROM THE KERNEL have LABEL_KERNEL in their label; nobody else can send such. Their badge is the cookie of the
 * thread, the notification or the memory they are about.
 */
#ifndef ABI_MESSAGE_H
#define ABI_MESSAGE_H

#include <stdint.h>

#define MESSAGE_WORDS  6
#define DEADLINE_NEVER (~0ull)

struct message {
	uint64_t badge, token, label;
	uint64_t word[MESSAGE_WORDS];
	uint64_t handle; /* HANDLE_NONE: none */
};

#define LABEL_KERNEL (1ull << 63)

/*
 * A call of a thread with a personality. label: this + number; words: the six arguments. The answer's label becomes the
 * thread's rax; after thread_set_regs() the registers are what was set.
 */
#define MESSAGE_SYSCALL LABEL_KERNEL

/*
 * Few bytes go along, so that they need not be copied from space to space. With MESSAGE_BYTES in the label, of a write():
 * words 3 to 5 are what lies at word 1, of which word 2 counts. With MESSAGE_ROOM, of a read(): so many bytes may be in the
 * answer REPLY_BYTES. Neither is promised for any call: the memory must be there, and the call of at most so many bytes.
 */
#define MESSAGE_BYTES     (1ull << 33)
#define MESSAGE_ROOM      (1ull << 34)
#define MESSAGE_BYTES_MAX 24

#define MESSAGE_EVENT (LABEL_KERNEL | 1ull << 32)

/*
 * The thread did something that cannot be served. words: vector (0..31), error code, address (CR2 for a page fault), rip,
 * signal (Linux's number), si_code. Answer: label 0: run on (with the registers that were set meanwhile); otherwise the
 * task ends with this wait status, and the kernel says why on the console.
 */
#define MESSAGE_EXCEPTION (MESSAGE_EVENT + 1)

/* thread_interrupt() was called; the thread stands at its return to ring 3. Answer: as above. */
#define MESSAGE_INTERRUPTED (MESSAGE_EVENT + 2)

/*
 * A thread has ended and its memory is back; no answer (token 0). words: wait status, 1 if it was the last of its task (the
 * space is empty now), then of the task: minflt, majflt, runtime in ns, peak of resident pages.
 */
#define MESSAGE_EXIT (MESSAGE_EVENT + 3)

/* Bits were signalled; no answer. word 0: the bits, cleared by this receipt. badge: 0. */
#define MESSAGE_NOTIFICATION (MESSAGE_EVENT + 4)

/*
 * A page of a memory object with a pager is missing: pager.h. badge: the cookie of pager_attach; words: byte offset in
 * the object (page-aligned), 1 = write, 1 = a whole 2 MiB page would fit there, size of the object in bytes.
 * Supply with the token, then answer: label 0: look again; anything else: this page cannot be had (SIGBUS).
 */
#define MESSAGE_FAULT (MESSAGE_EVENT + 5)

/*
 * The monitor's `run`: start a program on the console. handle: memory with the arguments, "name\0arg\0arg\0"; words: their
 * number, their bytes, 1: in the background. Answer: label pid of a task whose thread is NEW (the kernel starts it), or a negated errno.
 */
#define MESSAGE_SPAWN (MESSAGE_EVENT + 6)

/*
 * Answer to MESSAGE_SYSCALL: the memory [word 0, +word 1) must be there first (word 2 = 1: writable): the thread touches
 * it, waiting for its own pager, and sends the same call again; where that fails the call returns -EFAULT. word 3 = 1: the call is done, with word 0 for its
 * result, and the memory is a favour (MAP_POPULATE).
 */
#define REPLY_FAULT_IN (LABEL_KERNEL | 1)

/*
 * Answer to MESSAGE_SYSCALL of a read(): word 0 is the result; word 1 bytes of words 3 to 5, at most MESSAGE_BYTES_MAX, go to
 * where the call's second argument points. If its memory has gone meanwhile the result is -EFAULT.
 */
#define REPLY_BYTES (LABEL_KERNEL | 2)

_Static_assert(sizeof(struct message) == 80, "abi");

#endif
