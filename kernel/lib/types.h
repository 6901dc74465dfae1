/*
 * types.h - the words every file uses: sizes, addresses, and a few compiler attributes.      floor 0
 */
#ifndef LIB_TYPES_H
#define LIB_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef size_t usize;
typedef ptrdiff_t isize;

typedef u64 paddr_t; /* a physical address, in bytes */
typedef u64 vaddr_t; /* a virtual address, in bytes */
typedef u64 pfn_t;   /* a page frame number: paddr_t >> PAGE_SHIFT */

#define PAGE_SHIFT 12
#define PAGE_SIZE  (1ul << PAGE_SHIFT)
#define PAGE_MASK  (~(PAGE_SIZE - 1))

#define HPAGE_PMD_ORDER 9
#define HPAGE_PMD_NR    (1ul << HPAGE_PMD_ORDER)
#define HPAGE_PMD_SHIFT (PAGE_SHIFT + HPAGE_PMD_ORDER)
#define HPAGE_PMD_SIZE  (1ul << HPAGE_PMD_SHIFT)
#define HPAGE_PMD_MASK  (~(HPAGE_PMD_SIZE - 1))

#define HPAGE_PUD_SHIFT 30
#define HPAGE_PUD_SIZE  (1ul << HPAGE_PUD_SHIFT)
#define HPAGE_PUD_MASK  (~(HPAGE_PUD_SIZE - 1))

#define ARRAY_SIZE(a)         (sizeof(a) / sizeof((a)[0]))
#define ALIGN_DOWN(x, a)      ((x) & ~((__typeof__(x))(a)-1))
#define ALIGN_UP(x, a)        ALIGN_DOWN((x) + (a)-1, a)
#define IS_ALIGNED(x, a)      (((x) & ((__typeof__(x))(a)-1)) == 0)
#define container_of(p, t, m) ((t *)((char *)(p)-offsetof(t, m)))
#define MIN(a, b)             ((a) < (b) ? (a) : (b))
#define MAX(a, b)             ((a) > (b) ? (a) : (b))
#define STRINGIFY1(x)         #x
#define STRINGIFY(x)          STRINGIFY1(x)

#define READ_ONCE(x)     (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))

#undef __always_inline /* the host's C library has one of its own */

#define likely(x)       __builtin_expect(!!(x), 1)
#define unlikely(x)     __builtin_expect(!!(x), 0)
#define __must_check    __attribute__((warn_unused_result))
#define __noreturn      __attribute__((noreturn))
#define __packed        __attribute__((packed))
#define __aligned(n)    __attribute__((aligned(n)))
#define __printf(f, a)  __attribute__((format(printf, f, a)))
#define __always_inline inline __attribute__((always_inline))
#define __noinline      __attribute__((noinline))
#define __section(s)    __attribute__((section(s)))
#define __unused        __attribute__((unused))

/* sparse (make check) sees user pointers as another address space; the compilers see nothing. */
#ifdef __CHECKER__
#define __user  __attribute__((noderef, address_space(1)))
#define __force __attribute__((force))
#else
#define __user
#define __force
#endif

#endif
