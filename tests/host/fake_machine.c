/*
 * fake_machine.c - what floors 2, 3 and 5 find below them when they run on the host.
 *
 * In place of kernel/x86/ and of the console; headers of include/ are its other half. Memory is reserved,
 * not filled: a machine of 16 GiB costs only the pages that are touched.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"
#include "fake_machine.h"
#include "mm/buddy.h"
#include "mm/kmalloc.h"
#include "mm/lru.h"
#include "mm/memmap.h"
#include "mm/page.h"
#include "printk.h"
#include "sync.h"

char *machine_memory;
struct page *machine_pages;
char machine_words[512];

static struct cpu machine_cpus[MAX_CPUS];
static struct lock_context lock_contexts[MAX_CPUS];
struct cpu *cpus[MAX_CPUS];
u32 nr_cpus;
_Thread_local u32 machine_cpu;
void (*machine_preempt)(void);

u64 (*printk_clock)(void);

/* Words go into machine_words, not onto the terminal: many tests provoke them. */
void printk(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(machine_words, sizeof(machine_words), fmt, ap);
	va_end(ap);
}

bool machine_said(const char *text)
{
	return strstr(machine_words, text) != NULL;
}

static void *reserve(u64 bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	CHECK_MSG(p != MAP_FAILED, "cannot reserve %llu bytes", (unsigned long long)bytes);
	return p;
}

/* At a multiple of 2 MiB, so that what is aligned physically is aligned here too. */
static void *reserve_aligned(u64 bytes)
{
	return (void *)ALIGN_UP((u64)reserve(bytes + HPAGE_PMD_SIZE), HPAGE_PMD_SIZE);
}

void machine_zero(void *at, u64 bytes)
{
	CHECK_EQ(madvise(at, bytes, 4),
		0); /* MADV_DONTNEED; the kernel's headers know its name, too */
}

void machine_power_on(u64 bytes, u32 count)
{
	machine_memory = reserve_aligned(bytes);
	machine_pages = reserve_aligned((bytes >> PAGE_SHIFT) * sizeof(struct page) + PAGE_SIZE);
	nr_cpus = count;
	machine_cpu = 0;
	for (u32 i = 0; i < count; i++) {
		cpus[i] = &machine_cpus[i];
		cpus[i]->self = cpus[i];
		cpus[i]->id = i;
		cpus[i]->online = true;
		cpus[i]->lock_context = &lock_contexts[i];
	}
}

void machine_start(u64 bytes, u32 count)
{
	machine_power_on(bytes, count);
	memmap_init();
	CHECK_EQ(memmap_add(0, bytes, MEMMAP_USABLE), 0);
	page_init();
	lru_init();
	buddy_init();
	kmalloc_init();
}
