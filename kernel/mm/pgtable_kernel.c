/*
 * pgtable_kernel.c - the kernel's half of every root            floor 3, below: pgtable.h, memmap, buddy
 *
 * Builds the final tables of the kernel at start-up and changes single pages of them later (stacks,
 * device registers). The lower half, ring 3's, is pgtable.c's.
 *
 * IDEA
 *   boot.asm mapped what C needs to run. From the list of memory we build the map that stays, with
 *   frames cut off that list, and load it:
 *
 *        0xffff888000000000   all RAM, 2 MiB at a time; 4 KiB at its edges and over the image, whose
 *                             text and constants are read-only here too (pgtable_kernel_seal)
 *        0xffffc90000000000   stacks and devices: empty as yet (vmap.c)
 *        0xffffea0000000000   struct page for each frame; where there is no RAM, one frame of zeroes
 *                             again and again, read-only
 *        0xffffffff80000000   the image: text R X, constants R, data RW
 *
 *   Each entry of the root that is ever used gets its table now. A space copies the upper half of the
 *   root once and is up to date for ever.
 *
 * INVARIANTS (pgtable_check_kernel() tests every one)
 *   K1  no entry of the kernel half has the user right
 *   K2  nothing is writable and executable
 *   K3  no writable entry names a frame of the kernel's text or constants
 *   K4  PS stands in leaves at pmd only, and those name a frame aligned to 2 MiB
 *   K5  the tables are kernel frames
 *
 * LOCKS     kernel_lock: entries below the root. The root itself never changes
 * LINUX     arch/x86/mm/init_64.c, mm/sparse-vmemmap.c, set_memory_ro().        docs/mm/pgtable.md
 */
#include "mm/pgtable.h"

#include "mm/buddy.h"
#include "mm/memmap.h"
#include "printk.h"
#include "sync.h"
#include "x86/cpu.h"
#include "x86/layout.h"
#include "x86/tlb.h"
#include <abi/errno.h>

#define KERNEL_TABLE  (PTE_P | PTE_RW | PTE_A)
#define KERNEL_DATA   (PTE_P | PTE_RW | PTE_A | PTE_D | PTE_G | PTE_NX)
#define KERNEL_RODATA (PTE_P | PTE_A | PTE_G | PTE_NX)
#define KERNEL_TEXT   (PTE_P | PTE_A | PTE_G)

extern char __text_start[], __text_end[], __rodata_start[], __rodata_end[]; /* linker.ld */
extern char __data_start[], __kernel_end[];

static u64 *root; /* the kernel's pgd */
static struct spinlock kernel_lock = SPINLOCK_INIT(LOCK_PT, "kernel_pt");

/* ---- building, with early frames -------------------------------------------------------------- */

static paddr_t early_frame(void)
{
	paddr_t pa = memmap_early_alloc(PAGE_SIZE, PAGE_SIZE);

	if (!pa)
		panic("memory", "too little memory for the kernel's page tables");
	return pa;
}

/* The table below this entry, made if it is missing. */
static u64 *early_table(u64 *entry)
{
	if (!*entry)
		*entry = early_frame() | KERNEL_TABLE;
	return table_ptr(*entry);
}

static u64 *early_pmd(vaddr_t va)
{
	u64 *pud = early_table(&root[pgd_index(va)]);

	return early_table(&pud[pud_index(va)]) + pmd_index(va);
}

static void early_map(vaddr_t va, paddr_t pa, u64 rights)
{
	early_table(early_pmd(va))[pte_index(va)] = pa | rights;
}

static bool overlaps(paddr_t start, paddr_t end, const void *from, const void *to)
{
	return start < image_to_phys(to) && end > image_to_phys(from);
}

/* [start, end) of physical memory into the direct map. */
static void map_direct(paddr_t start, paddr_t end)
{
	while (start < end) {
		vaddr_t va = (vaddr_t)phys_to_virt(start);

		if (IS_ALIGNED(start, PMD_SIZE) && start + PMD_SIZE <= end &&
			!overlaps(start, start + PMD_SIZE, __text_start, __kernel_end)) {
			*early_pmd(va) = start | KERNEL_DATA | PTE_PS;
			start += PMD_SIZE;
		} else {
			early_map(va, start, KERNEL_DATA);
			start += PAGE_SIZE;
		}
	}
}

/* ---- the direct map --------------------------------------------------------------------------- */

/* Touching ranges of RAM. */
struct extent {
	paddr_t start, end;
};

/*
 * The first extent that ends above `from`. The list is looked at anew each time, because making tables
 * cuts early frames from it; that changes types of RAM, never where RAM is.
 */
static bool next_extent(paddr_t from, struct extent *e)
{
	unsigned i = 0;

	while (i < memmap_count &&
		(memmap_ranges[i].end <= from || !memmap_is_ram(memmap_ranges[i].type)))
		i++;
	if (i == memmap_count)
		return false;
	e->start = e->end = memmap_ranges[i].start;
	for (; i < memmap_count && memmap_ranges[i].start == e->end &&
		memmap_is_ram(memmap_ranges[i].type);
		i++)
		e->end = memmap_ranges[i].end;
	return true;
}

/* All RAM, and the first MiB until it is sealed: the trampoline. The firmware's tables were read before. */
static void build_direct_map(void)
{
	struct extent e = {.end = MEMMAP_LOW};

	map_direct(0, MEMMAP_LOW);
	while (next_extent(e.end, &e))
		map_direct(MAX(e.start, MEMMAP_LOW), e.end);
}

/* ---- the array of struct page ----------------------------------------------------------------- */

#define FRAMES_PER_PIECE (PAGE_SIZE / sizeof(struct page)) /* 128 frames: 512 KiB of RAM */
#define FRAMES_PER_CHUNK (PMD_SIZE / sizeof(struct page))  /* 65,536 frames: 256 MiB */

static bool all_ram(paddr_t start, paddr_t end)
{
	struct extent e;

	return next_extent(start, &e) && e.start <= start && e.end >= end;
}

/* A table of 512 times the same frame of zeroes: 256 MiB without RAM cost an entry. */
static u64 hole_table(void)
{
	static u64 entry;
	paddr_t zeroes;
	u64 *table;

	if (entry)
		return entry;
	zeroes = early_frame();
	entry = early_frame() | KERNEL_TABLE;
	table = table_ptr(entry);
	for (unsigned i = 0; i < PTRS_PER_TABLE; i++)
		table[i] = zeroes | KERNEL_RODATA;
	return entry;
}

/* The array's memory for the 256 MiB at pa: 2 MiB of it in one piece if all is RAM, else by 4 KiB. */
static void map_array_chunk(vaddr_t va, paddr_t pa)
{
	u64 *pmd = early_pmd(va), *holes;
	paddr_t block;

	if (!memmap_has_ram(pa, pa + FRAMES_PER_CHUNK * PAGE_SIZE)) {
		*pmd = hole_table();
		return;
	}
	if (all_ram(pa, pa + FRAMES_PER_CHUNK * PAGE_SIZE)) {
		block = memmap_early_alloc(PMD_SIZE, PMD_SIZE);
		if (block) {
			*pmd = block | KERNEL_DATA | PTE_PS;
			page_memmap_pages += HPAGE_PMD_NR;
			return;
		}
	}
	holes = table_ptr(hole_table());
	for (unsigned i = 0; i < PTRS_PER_TABLE; i++, va += PAGE_SIZE) {
		bool ram = memmap_has_ram(pa, pa + FRAMES_PER_PIECE * PAGE_SIZE);

		page_memmap_pages += ram;
		early_map(va, ram ? early_frame() : entry_addr(holes[i]),
			ram ? KERNEL_DATA : KERNEL_RODATA);
		pa += FRAMES_PER_PIECE * PAGE_SIZE;
	}
}

static void build_page_array(void)
{
	u64 chunk = FRAMES_PER_CHUNK * PAGE_SIZE;

	for (paddr_t pa = 0; pa < memmap_top(); pa += chunk)
		map_array_chunk(PAGE_ARRAY_BASE + pa / PAGE_SIZE * sizeof(struct page), pa);
}

/* ---- the image and the root ------------------------------------------------------------------- */

static void map_section(const char *start, const char *end, u64 rights, vaddr_t hole)
{
	for (const char *va = start; va < end; va += PAGE_SIZE)
		if ((vaddr_t)va != hole)
			early_map((vaddr_t)va, image_to_phys(va), rights);
}

/*
 * pgtable_kernel_init - build the kernel's tables and load them.
 *
 *   stack_guard  the page of the image below the boot stack: stays unmapped
 *   locks    none: one CPU, on boot.asm's tables, which map the first 4 GiB
 *   after    tlb_kernel_root is set; page_init() may run
 *   Linux    init_mem_mapping, vmemmap_populate, paging_init
 */
void pgtable_kernel_init(vaddr_t stack_guard)
{
	tlb_kernel_root = early_frame();
	root = phys_to_virt(tlb_kernel_root);
	for (paddr_t pa = 0; pa < memmap_top(); pa += PGD_SIZE)
		early_table(&root[pgd_index((vaddr_t)phys_to_virt(pa))]);
	for (vaddr_t va = VMAP_BASE; va < VMAP_END; va += PGD_SIZE)
		early_table(&root[pgd_index(va)]);
	build_direct_map();
	build_page_array();
	map_section(__text_start, __text_end, KERNEL_TEXT, stack_guard);
	map_section(__rodata_start, __rodata_end, KERNEL_RODATA, stack_guard);
	map_section(__data_start, __kernel_end, KERNEL_DATA, stack_guard);
	write_cr3(tlb_kernel_root);
}

/* ---- single pages, later ---------------------------------------------------------------------- */

u64 pgtable_kernel_added; /* kernel_lock */

/* Hangs a new table below an entry, for good. False: no memory. kernel_lock held. */
static bool add_table(u64 *entry)
{
	struct page *page = buddy_alloc(0, MIGRATE_UNMOVABLE, PAGE_KERNEL, 0);

	if (!page)
		return false;
	clear_page(page_to_virt(page));
	__atomic_store_n(entry, page_to_phys(page) | KERNEL_TABLE, __ATOMIC_RELEASE);
	pgtable_kernel_added++;
	return true;
}

/*
 * The pte for a kernel address; makes tables if asked to. NULL: none, or no memory. kernel_lock held.
 * Not in the root: a new entry there would be missing in every space.
 */
static u64 *kernel_pte(vaddr_t va, bool make)
{
	u64 *table = root;

	ASSERT_HELD(&kernel_lock);
	for (unsigned shift = PGD_SHIFT; shift > PAGE_SHIFT; shift -= 9) {
		u64 *entry = &table[va >> shift & (PTRS_PER_TABLE - 1)];

		if (!*entry && (!make || shift == PGD_SHIFT || !add_table(entry)))
			return NULL;
		ASSERT(!(*entry & PTE_PS));
		table = table_ptr(*entry);
	}
	return &table[pte_index(va)];
}

/*
 * pgtable_map_kernel - one page of the kernel half.
 *
 *   rights   PTE_RW, PTE_NX, PTE_PCD ...; present, global and accessed are added
 *   returns  0 or -ENOMEM. The address must be free
 *   Linux    map_kernel_range_noflush
 */
int pgtable_map_kernel(vaddr_t va, paddr_t pa, u64 rights)
{
	u64 *pte;

	ASSERT(va >= VMAP_BASE && va < VMAP_END && !(rights & PTE_US));
	spin_lock(&kernel_lock);
	pte = kernel_pte(va, true);
	if (pte) {
		ASSERT(*pte == 0);
		WRITE_ONCE(*pte, pa | rights | PTE_P | PTE_G | PTE_A | PTE_D);
	}
	spin_unlock(&kernel_lock);
	return pte ? 0 : -ENOMEM;
}

/* pgtable_unmap_kernel - the entry becomes a hole; the caller flushes tlb_kernel_space, then frees. */
void pgtable_unmap_kernel(vaddr_t va)
{
	u64 *pte;

	spin_lock(&kernel_lock);
	pte = kernel_pte(va, false);
	ASSERT(pte && *pte & PTE_P);
	WRITE_ONCE(*pte, 0);
	spin_unlock(&kernel_lock);
}

/* In the direct map, mapped by 4 KiB pages: rights 0 takes the page away. */
static void set_direct(paddr_t start, paddr_t end, u64 rights)
{
	vaddr_t va = (vaddr_t)phys_to_virt(start);

	if (start >= end)
		return;
	spin_lock(&kernel_lock);
	for (paddr_t pa = start; pa < end; pa += PAGE_SIZE)
		WRITE_ONCE(*kernel_pte((vaddr_t)phys_to_virt(pa), false), rights ? pa | rights : 0);
	tlb_flush(&tlb_kernel_space, va, va + (end - start), PAGE_SIZE, TLB_kernel);
	spin_unlock(&kernel_lock);
}

/*
 * pgtable_kernel_seal - start-up is over: nothing patches text or needs the first MiB any more.
 *
 *   locks    none held, interrupts on
 *   after    K3 holds: text and constants are read-only in the direct map too; the first MiB, frame 0
 *            with it, is not mapped
 *   Linux    mark_rodata_ro, free_initmem
 */
void pgtable_kernel_seal(void)
{
	set_direct(image_to_phys(__text_start), image_to_phys(__rodata_end), KERNEL_RODATA);
	set_direct(0, MEMMAP_LOW, 0);
}

/* ---- checking --------------------------------------------------------------------------------- */

#define BROKEN(rule, fmt, ...)                                                                     \
	(printk("pgtable_check_kernel: " rule ": " fmt, ##__VA_ARGS__), false)

static bool check_leaf(unsigned level, u64 entry, u64 rights, vaddr_t at)
{
	u64 size = level == 2 ? PMD_SIZE : PAGE_SIZE;
	paddr_t pa = entry & PTE_ADDR;

	if (level > 2 || !IS_ALIGNED(pa, size) || (level == 1 && entry & PTE_PS))
		return BROKEN("K4", "leaf %#lx at level %u for %#lx", entry, level, at);
	if (rights & PTE_US)
		return BROKEN("K1", "%#lx: entry %#lx is open to ring 3", at, entry);
	if (rights & PTE_RW && !(rights & PTE_NX))
		return BROKEN("K2", "%#lx: entry %#lx is writable and executable", at, entry);
	if (rights & PTE_RW && overlaps(pa, pa + size, __text_start, __rodata_end))
		return BROKEN("K3", "%#lx: entry %#lx makes text or constants writable", at, entry);
	return true;
}

static bool check_level(const u64 *table, unsigned level, u64 rights, vaddr_t base)
{
	pfn_t pfn = virt_to_phys(table) >> PAGE_SHIFT;

	if (!pfn_valid(pfn) || pfn_to_page(pfn)->type != PAGE_KERNEL)
		return BROKEN("K5", "the table for %#lx lies in frame %#lx", base, pfn);
	for (unsigned i = level == 4 ? 256 : 0; i < PTRS_PER_TABLE; i++) {
		u64 entry = table[i];
		u64 all = (rights & entry & (PTE_RW | PTE_US)) | ((rights | entry) & PTE_NX);
		vaddr_t at = base + ((u64)i << (PAGE_SHIFT + 9 * (level - 1)));
		bool leaf = level == 1 || entry & PTE_PS;

		if (!(entry & PTE_P))
			continue;
		if (!(leaf ? check_leaf(level, entry, all, at)
			   : check_level(table_ptr(entry), level - 1, all, at)))
			return false;
	}
	return true;
}

/*
 * pgtable_check_kernel - K1 to K5 over the kernel half; prints the first that is broken.
 *
 *   locks    after pgtable_kernel_seal(); nobody maps kernel pages meanwhile
 */
bool pgtable_check_kernel(void)
{
	return check_level(root, 4, PTE_RW | PTE_US, 0xffff000000000000ul);
}
