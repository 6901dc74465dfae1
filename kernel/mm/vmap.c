/*
 * vmap.c - kernel addresses outside the direct map                    floor 3, below: pgtable_kernel, buddy
 *
 * Stacks with a guard page below, and device registers. It maps pages; who uses them is not its business.
 *
 * IDEA
 *   VMAP_BASE, slots of 64 KiB for stacks                       VMAP_BASE + 1 GiB, devices, upwards
 *   |..ssss.........|..ssss.........|...                        |rr|r|rrrr| ...
 *     ^^ guard: never mapped, so a stack that is too deep faults (on the double-fault stack) instead of
 *        writing over its neighbour. A slot's number is (address - VMAP_BASE) / 64 KiB.
 *
 * INVARIANTS
 *   G1  page 0 of a slot is never mapped; the pages above the stack are not either
 *   G2  a slot's bit is set while its stack lives
 *
 * LOCKS     slots_lock: the bitmap and the next address for devices
 * LINUX     mm/vmalloc.c: a tree of areas of any size, and stacks kept for the next thread
 */
#include "mm/vmap.h"

#include "lib/bitmap.h"
#include "mm/buddy.h"
#include "mm/pgtable.h"
#include "sync.h"
#include "vmstat.h"
#include "x86/layout.h"
#include "x86/tlb.h"

#define SLOT_PAGES  16
#define SLOT_SIZE   (SLOT_PAGES * PAGE_SIZE)
#define NR_SLOTS    16384
#define DEVICE_BASE (VMAP_BASE + NR_SLOTS * SLOT_SIZE)

static BITMAP(slots, NR_SLOTS);
static u64 nr_pages[NR_SLOTS / 16]; /* four bits for each slot: the pages of its stack */
static struct spinlock slots_lock;
static vaddr_t next_device;

static unsigned slot_of(vaddr_t va)
{
	return (va - VMAP_BASE) / SLOT_SIZE;
}

static unsigned slot_pages(unsigned slot)
{
	return nr_pages[slot / 16] >> (slot % 16 * 4) & 15;
}

static void set_slot_pages(unsigned slot, u64 pages)
{
	nr_pages[slot / 16] &= ~(15ul << (slot % 16 * 4));
	nr_pages[slot / 16] |= pages << (slot % 16 * 4);
}

/* vmap_init - no stack, no device; once, after pgtable_kernel_init(). */
void vmap_init(void)
{
	spin_init(&slots_lock, LOCK_PT, "vmap");
	next_device = DEVICE_BASE;
}

static bool take_slot(unsigned pages, unsigned *slot)
{
	spin_lock(&slots_lock);
	*slot = bitmap_find_first_zero(slots, NR_SLOTS);
	if (*slot < NR_SLOTS) {
		bitmap_set(slots, *slot);
		set_slot_pages(*slot, pages);
	}
	spin_unlock(&slots_lock);
	return *slot < NR_SLOTS;
}

static void give_slot(unsigned slot)
{
	spin_lock(&slots_lock);
	bitmap_clear(slots, slot);
	spin_unlock(&slots_lock);
}

static bool map_page(vaddr_t va)
{
	struct page *page = buddy_alloc(0, MIGRATE_UNMOVABLE, PAGE_KERNEL, 0);

	if (!page)
		return false;
	if (pgtable_map_kernel(va, page_to_phys(page), PTE_RW | PTE_NX) == 0)
		return true;
	buddy_free(page);
	return false;
}

/* Unmaps n pages, flushes once, then frees the frames (rule: flush before release). */
static void unmap_pages(vaddr_t bottom, unsigned n)
{
	struct page *pages[SLOT_PAGES];
	u64 gen;

	if (n == 0)
		return;
	for (unsigned i = 0; i < n; i++) {
		struct pt_walk w;

		pgtable_walk(phys_to_virt(tlb_kernel_root), bottom + i * PAGE_SIZE, &w);
		ASSERT(w.kind == ENTRY_LEAF && w.size == PAGE_SIZE);
		pages[i] = pfn_to_page(w.pa >> PAGE_SHIFT);
		pgtable_unmap_kernel(bottom + i * PAGE_SIZE);
	}
	gen = tlb_flush(&tlb_kernel_space, bottom, bottom + n * PAGE_SIZE, PAGE_SIZE, TLB_kernel);
	tlb_assert_acked(&tlb_kernel_space, gen);
	for (unsigned i = 0; i < n; i++)
		buddy_free(pages[i]);
}

/*
 * vmap_alloc_stack - a stack of n pages (at most 15) above a guard page.
 *
 *   locks    none inner to the page tables held
 *   returns  its lowest mapped byte; 0: no memory, or no slot
 *   Linux    alloc_thread_stack_node (CONFIG_VMAP_STACK)
 */
vaddr_t vmap_alloc_stack(unsigned pages)
{
	vaddr_t bottom;
	unsigned slot;

	ASSERT(pages > 0 && pages < SLOT_PAGES);
	if (!take_slot(pages, &slot))
		return 0;
	bottom = VMAP_BASE + slot * SLOT_SIZE + PAGE_SIZE;
	for (unsigned i = 0; i < pages; i++) {
		if (map_page(bottom + i * PAGE_SIZE))
			continue;
		unmap_pages(bottom, i);
		give_slot(slot);
		return 0;
	}
	vmstat_add(VM_nr_kernel_stack, pages * (PAGE_SIZE >> 10));
	return bottom;
}

/*
 * vmap_free_stack - unmap and free; nobody runs on it any more.
 *
 *   locks    interrupts on: every CPU is asked to flush
 */
void vmap_free_stack(vaddr_t bottom, unsigned pages)
{
	unsigned slot = slot_of(bottom);

	ASSERT(bitmap_test(slots, slot) && slot_pages(slot) == pages);
	unmap_pages(bottom, pages);
	give_slot(slot);
	vmstat_add(VM_nr_kernel_stack, -(s64)(pages * (PAGE_SIZE >> 10)));
}

/*
 * vmap_map_device - device registers, uncached, for good.
 *
 *   returns  where byte pa appears; NULL: no memory or no room
 *   Linux    ioremap
 */
void *vmap_map_device(paddr_t pa, u64 bytes)
{
	paddr_t first = ALIGN_DOWN(pa, PAGE_SIZE), end = ALIGN_UP(pa + bytes, PAGE_SIZE);
	vaddr_t va;

	spin_lock(&slots_lock);
	va = next_device;
	if (VMAP_END - va > end - first)
		next_device = va + (end - first) + PAGE_SIZE; /* a hole between two devices */
	else
		va = 0;
	spin_unlock(&slots_lock);
	for (paddr_t at = first; va && at < end; at += PAGE_SIZE)
		if (pgtable_map_kernel(va + (at - first), at, PTE_RW | PTE_NX | PTE_PCD | PTE_PWT) <
			0)
			return NULL;
	return va ? (void *)(va + (pa - first)) : NULL;
}

/* vmap_is_guard - is va in a guard page, or above the end, of a living stack? Takes no lock. */
bool vmap_is_guard(vaddr_t va)
{
	unsigned slot, page = (va - VMAP_BASE) % SLOT_SIZE / PAGE_SIZE;

	if (va < VMAP_BASE || va >= DEVICE_BASE)
		return false;
	slot = slot_of(va);
	return bitmap_test(slots, slot) && (page == 0 || page > slot_pages(slot));
}
