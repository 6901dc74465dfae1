/*
 * uaccess.h - the one module that touches memory of ring 3.                              floor 3
 *
 * A copy that meets a page not yet there faults in the kernel; trap.c serves that fault like one
 * from ring 3, and only if it cannot be served goes to the fix-up here. So no mm->lock may be held
 * (asserted): a nested read behind a waiting writer would deadlock.
 */
#ifndef MM_UACCESS_H
#define MM_UACCESS_H

#include "lib/types.h"
#include "x86/layout.h"

/* Does [addr, addr + bytes) lie wholly below USER_END, without wrapping round? */
static inline bool user_range_ok(vaddr_t addr, u64 bytes)
{
	return bytes <= USER_END && addr <= USER_END - bytes;
}

int copy_from_user(void *to, const void __user *from, u64 bytes) __must_check; /* 0 or -EFAULT */
int copy_to_user(void __user *to, const void *from, u64 bytes) __must_check;
/* What is there already, with no fault served: three words; whether so few bytes can be written. 0 or -EFAULT. */
int peek_user(u64 to[3], const void __user *from) __must_check;
int poke_ok_user(void __user *to, u64 bytes) __must_check;
/* A string of at most size - 1 bytes; its length, -EFAULT, or -ERANGE when it is longer. */
int strncpy_from_user(char *to, const char __user *from, u64 size) __must_check;
int get_user_u32(u32 *to, const u32 __user *from) __must_check;
int put_user_u32(u32 __user *to, u32 value) __must_check;

/* For trap.c: where to go on after a fault at `ip` that cannot be served; 0: nowhere. */
vaddr_t uaccess_fixup(vaddr_t ip);

#endif
