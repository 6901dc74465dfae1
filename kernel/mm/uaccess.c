/*
 * uaccess.c - the one module that touches memory of ring 3           floor 3, below: x86/cpu.h, layout.h
 *
 * Copies between the kernel and addresses that ring 3 named. It checks ranges, never rights: the CPU
 * does that, by faulting.
 *
 * IDEA
 *   Each instruction that may fault has a line in a table, written next to it into the section
 *   __ex_table: (where it is, where to go on), both as distances from the line itself.
 *
 *        1: rep movsq  --#PF--> trap.c --> the fault is served like one from ring 3 --> 1: goes on
 *                                      `-> it cannot be served: uaccess_fixup(1) = 3
 *        3: -EFAULT
 *
 *   With SMAP the CPU refuses ring-3 addresses outside user_access_begin ... user_access_end, so a
 *   stray pointer elsewhere in the kernel is caught.
 *
 * INVARIANTS (asserted at each access)
 *   U1  the range lies wholly below USER_END, so a kernel address is never touched on ring 3's word
 *   U2  the thread holds no mm->lock: the fault would take it again, behind a waiting writer
 *
 * LOCKS     none held
 * LINUX     arch/x86/lib/usercopy_64.c, arch/x86/mm/extable.c
 */
#include "mm/uaccess.h"

#include "panic.h"
#include "sync.h"
#include "x86/cpu.h"
#include "x86/layout.h"
#include <abi/errno.h>

/* After a fault at `from` go on at `to`. */
#define FIXUP(from, to)                                                                            \
	".pushsection __ex_table, \"a\"\n"                                                         \
	"	.balign 4\n"                                                                             \
	"	.long " #from " - .\n"                                                             \
	"	.long " #to " - .\n"                                                               \
	".popsection\n"

struct fixup {
	s32 at, to; /* distances from the field itself */
};
extern const struct fixup __ex_table_start[], __ex_table_end[];

static void begin(void)
{
	ASSERT_RULE("U2", this_cpu()->lock_context->mm_locks == 0,
		"user memory is touched while an mm lock is held");
	user_access_begin();
}

/* Eight bytes at a time, then the rest. 0 or -EFAULT; at a fault, what was copied stays copied. */
static int copy(void *to, const void *from, u64 bytes)
{
	u64 words = bytes / 8;
	int error = -EFAULT;

	begin();
	asm volatile("1:	rep movsq\n"
		     "	movq %[rest], %%rcx\n"
		     "2:	rep movsb\n"
		     "	xorl %[error], %[error]\n"
		     "3:\n" FIXUP(1b, 3b) FIXUP(2b, 3b)
		     : "+D"(to), "+S"(from), "+c"(words), [error] "+r"(error)
		     : [rest] "r"(bytes % 8)
		     : "memory", "cc");
	user_access_end();
	return error;
}

/*
 * copy_from_user, copy_to_user - move bytes between the kernel and ring 3.
 *
 *   locks    no mm->lock held (asserted); may sleep while a fault is served
 *   returns  0; -EFAULT: an address is not ring 3's, or not mapped with that right
 *   Linux    the functions of the same names, which return how many bytes were left
 */
int copy_from_user(void *to, const void __user *from, u64 bytes)
{
	if (!user_range_ok((vaddr_t)from, bytes))
		return -EFAULT;
	return copy(to, (const void __force *)from, bytes);
}

int copy_to_user(void __user *to, const void *from, u64 bytes)
{
	if (!user_range_ok((vaddr_t)to, bytes))
		return -EFAULT;
	return copy((void __force *)to, from, bytes);
}

/*
 * peek_user, poke_ok_user - do what needs no fault, or nothing. With interrupts off a fault here is not served.
 *
 *   peek_user      three words from anywhere, aligned or not. 0; -EFAULT: *to is as it was
 *   poke_ok_user   0: `bytes` bytes, at least one, can be written now; they are as they were. -EFAULT
 *   locks          no mm->lock held (asserted); interrupts on
 *   Linux          copy_from_user_nofault, fault_in_writeable's opposite
 */
int peek_user(u64 to[3], const void __user *from)
{
	int error = -EFAULT;
	u64 a, b, c;

	if (!user_range_ok((vaddr_t)from, 3 * sizeof(u64)))
		return -EFAULT;
	irq_disable();
	begin();
	asm volatile("1:	movq (%[from]), %[a]\n"
		     "2:	movq 8(%[from]), %[b]\n"
		     "3:	movq 16(%[from]), %[c]\n"
		     "	movq %[a], (%[to])\n"
		     "	movq %[b], 8(%[to])\n"
		     "	movq %[c], 16(%[to])\n"
		     "	xorl %[error], %[error]\n"
		     "4:\n" FIXUP(1b, 4b) FIXUP(2b, 4b) FIXUP(3b, 4b)
		     : [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c), [error] "+r"(error)
		     : [from] "r"(from), [to] "r"(to)
		     : "memory", "cc");
	user_access_end();
	irq_enable();
	return error;
}

int poke_ok_user(void __user *to, u64 bytes)
{
	int error = -EFAULT;

	if (!user_range_ok((vaddr_t)to, bytes))
		return -EFAULT;
	irq_disable();
	begin();
	asm volatile("1:	lock orb $0, (%[first])\n"
		     "2:	lock orb $0, (%[last])\n"
		     "	xorl %[error], %[error]\n"
		     "3:\n" FIXUP(1b, 3b) FIXUP(2b, 3b)
		     : [error] "+r"(error)
		     : [first] "r"(to), [last] "r"((char __user *)to + bytes - 1)
		     : "memory", "cc");
	user_access_end();
	irq_enable();
	return error;
}

/* One byte, between begin() and user_access_end(). */
static inline int load_byte(char *to, const char __user *from)
{
	int error = -EFAULT;

	asm volatile("1:	movb (%[from]), %b[byte]\n"
		     "	xorl %[error], %[error]\n"
		     "2:\n" FIXUP(1b, 2b)
		     : [byte] "=&q"(*to), [error] "+r"(error)
		     : [from] "r"(from)
		     : "memory", "cc");
	return error;
}

/*
 * strncpy_from_user - a string that ends with a zero byte, at most size - 1 bytes long.
 *
 *   returns  its length; -EFAULT; -ERANGE: no zero byte within `size` bytes
 */
int strncpy_from_user(char *to, const char __user *from, u64 size)
{
	int result = -ERANGE;

	begin();
	for (u64 i = 0; i < size; i++) {
		char c = 0;

		if (!user_range_ok((vaddr_t)from + i, 1) || load_byte(&c, from + i) < 0) {
			result = -EFAULT;
			break;
		}
		to[i] = c;
		if (c == '\0') {
			result = (int)i;
			break;
		}
	}
	user_access_end();
	return result;
}

/* get_user_u32, put_user_u32 - one aligned word, in one access. 0 or -EFAULT. */
int get_user_u32(u32 *to, const u32 __user *from)
{
	u32 value = 0;
	int error = -EFAULT;

	if (!user_range_ok((vaddr_t)from, sizeof(u32)))
		return -EFAULT;
	begin();
	asm volatile("1:	movl (%[from]), %[value]\n"
		     "	xorl %[error], %[error]\n"
		     "2:\n" FIXUP(1b, 2b)
		     : [value] "+r"(value), [error] "+r"(error)
		     : [from] "r"(from)
		     : "memory", "cc");
	user_access_end();
	*to = value;
	return error;
}

int put_user_u32(u32 __user *to, u32 value)
{
	int error = -EFAULT;

	if (!user_range_ok((vaddr_t)to, sizeof(u32)))
		return -EFAULT;
	begin();
	asm volatile("1:	movl %[value], (%[to])\n"
		     "	xorl %[error], %[error]\n"
		     "2:\n" FIXUP(1b, 2b)
		     : [error] "+r"(error)
		     : [value] "r"(value), [to] "r"(to)
		     : "memory", "cc");
	user_access_end();
	return error;
}

/*
 * uaccess_fixup - where to go on after a fault at ip that cannot be served.
 *
 *   returns  0: ip is no instruction of this file; the fault is a bug of the kernel
 *   Linux    search_exception_tables
 */
vaddr_t uaccess_fixup(vaddr_t ip)
{
	for (const struct fixup *f = __ex_table_start; f < __ex_table_end; f++)
		if ((vaddr_t)&f->at + (s64)f->at == ip)
			return (vaddr_t)&f->to + (s64)f->to;
	return 0;
}
