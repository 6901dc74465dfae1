/*
 * test_memory.c - memory objects: faults, supplies, withdrawals, forks, and what programs then see.
 *
 * The second part plays at random, with a model of its own: for each page of an object its contents and whether it is
 * there, for each page of a space what it maps and whether it has a copy of its own. After each step some pages are read
 * and compared, and every checker is silent.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "fake_machine.h"
#include "fake_mmu.h"
#include <abi/advice.h>
#include <abi/errno.h>
#include "mm/access.h"
#include "mm/buddy.h"
#include "mm/fork.h"
#include "mm/lru.h"
#include "mm/memory.h"
#include "mm/migrate.h"
#include "mm/mmap.h"
#include "mm/pgtable.h"
#include "mm/reclaim.h"
#include "mm/rmap.h"
#include "mm/thp.h"
#include "mm/vma.h"
#include "mm/zero.h"
#include "mutex.h"
#include "vmstat.h"

#define MIB   (1ul << 20)
#define HERE  (4 * MIB)
#define PAGES 2048ul /* of the window at HERE */
#define BUF   (16 * MIB)
#define BUFS  (4 * MIB)
#define RW    (PROT_READ | PROT_WRITE)

#define OBJECTS      3
#define OBJECT_PAGES 1536ul
#define SPACES       3

struct model_object {
	struct memory *m;
	bool paged;
	u64 pages;
	u32 version[OBJECT_PAGES]; /* 0: zeroes */
	bool present[OBJECT_PAGES];
};

struct model_page {
	u8 mapped, object, shared, prot;
	bool own;
	u32 index, version;
};

static struct model_object objects[OBJECTS];
static struct space {
	struct mm *mm;
	struct model_page page[PAGES];
} spaces[SPACES];
static u32 versions;
static u64 free_at_start;
static struct object endpoint; /* whom nobody ever calls: its name is all that is needed */

static void endpoint_gone(struct object *o)
{
	(void)o;
	check_fail(__FILE__, __LINE__, "the endpoint lost a reference too many");
}

static const struct object_ops endpoint_ops = {.name = "endpoint", .release = endpoint_gone};

/* ---- the stage ---- */

static void map_buffers(struct space *s)
{
	CHECK_EQ(mmap_map_named(s->mm, BUF, BUFS, RW, VM_DONTFORK, "buf"), 0);
}

static struct space *space_create(void)
{
	struct space *s = spaces;

	while (s->mm)
		s++;
	memset(s, 0, sizeof(*s));
	s->mm = mm_create();
	CHECK(s->mm);
	s->mm->mmap_base = 32 * MIB;
	mmu_enter(s->mm);
	map_buffers(s);
	return s;
}

static void space_exit(struct space *s)
{
	mmu_leave(s->mm);
	CHECK(mm_drop_user(s->mm));
	mmap_exit(s->mm);
	mm_put(s->mm);
	s->mm = NULL;
}

static struct model_object *object_create(unsigned n, u64 pages, bool paged)
{
	struct model_object *o = &objects[n];

	memset(o, 0, sizeof(*o));
	o->m = memory_create(pages << PAGE_SHIFT);
	CHECK(o->m);
	o->pages = pages;
	o->paged = paged;
	if (paged)
		CHECK(memory_set_pager(o->m, &endpoint, 7) == NULL);
	return o;
}

static void begin(void)
{
	mmu_start(128 * MIB);
	for (pfn_t pfn = 1; pfn < page_max_pfn; pfn++) /* frames are not zero by themselves */
		if (pfn_to_page(pfn)->type == PAGE_FREE)
			memset(phys_to_virt(pfn << PAGE_SHIFT), 0xa5, PAGE_SIZE);
	object_init(&endpoint, OBJECT_ENDPOINT, &endpoint_ops);
	thp_settings.enabled = THP_ALWAYS;
	free_at_start = buddy_free_pages();
	versions = 0;
}

static void check_all(void)
{
	CHECK_MSG(memory_check() && rmap_check() && thp_check() && lru_check() && buddy_check(),
		"%s", machine_words);
	for (struct space *s = spaces; s < spaces + SPACES; s++)
		if (s->mm)
			CHECK_MSG(pgtable_check(s->mm) && vma_check(s->mm) && mmu_check(s->mm),
				"%s", machine_words);
}

static void end(void)
{
	check_all();
	for (struct space *s = spaces; s < spaces + SPACES; s++)
		if (s->mm)
			space_exit(s);
	for (unsigned i = 0; i < OBJECTS; i++)
		if (objects[i].m)
			object_put(&objects[i].m->object);
	while (thp_next_mm()) /* khugepaged's cursor */
		check_fail(__FILE__, __LINE__, "a space is listed still");
	check_all();
	reclaim_run();
	CHECK_EQ(endpoint.refs, 1);
	CHECK_EQ(vmstat_read(VM_nr_shmem), 0);
	CHECK_EQ(vmstat_read(VM_nr_shmem_hugepages), 0);
	CHECK_EQ(vmstat_read(VM_nr_anon_pages), 0);
	CHECK_EQ(vmstat_read(VM_nr_page_table_pages), 0);
	CHECK_EQ(buddy_free_pages() + vmstat_read(VM_nr_slab_unreclaimable), free_at_start);
}

/* ---- verbs, each with its model ---- */

static void map(struct space *s, u64 at, u64 n, unsigned object, u64 index, u32 prot, bool shared)
{
	s64 r = mmap_map_object(s->mm, objects[object].m, index << PAGE_SHIFT,
		HERE + at * PAGE_SIZE, n << PAGE_SHIFT, prot,
		MAP_FIXED | (shared ? MAP_SHARED : MAP_PRIVATE), true, "obj");

	CHECK_EQ(r, HERE + at * PAGE_SIZE);
	for (u64 i = 0; i < n; i++)
		s->page[at + i] = (struct model_page){.mapped = 1,
			.object = (u8)object,
			.shared = shared,
			.prot = (u8)prot,
			.index = (u32)(index + i)};
}

static enum fault_result expected(const struct model_page *p, bool write)
{
	const struct model_object *o = &objects[p->object];

	if (!p->mapped)
		return FAULT_BAD_ADDRESS;
	if (write && !(p->prot & PROT_WRITE))
		return FAULT_BAD_ACCESS;
	if (p->own)
		return FAULT_DONE;
	if (p->index >= o->pages)
		return FAULT_BUS;
	return o->paged && !o->present[p->index] ? FAULT_PAGER : FAULT_DONE;
}

static u32 *content_of(struct model_page *p)
{
	return p->own ? &p->version : &objects[p->object].version[p->index];
}

static void write_page(char *page, u32 version)
{
	*(u64 *)page = version;
	*(u64 *)(page + PAGE_SIZE - 8) = version;
}

static void compare(const char *page, u32 version, vaddr_t at)
{
	CHECK_MSG(*(u64 *)page == version && *(u64 *)(page + PAGE_SIZE - 8) == version,
		"page %#llx has %llu, %llu, want %u", (unsigned long long)at,
		(unsigned long long)*(u64 *)page,
		(unsigned long long)*(u64 *)(page + PAGE_SIZE - 8), version);
}

/* What writing does to the model: the page's version from now on. */
static u32 written(struct model_page *p)
{
	u32 version = ++versions;

	if (!p->shared)
		p->own = true;
	else
		objects[p->object].present[p->index] = true;
	*content_of(p) = version;
	return version;
}

static enum fault_result access_page(struct space *s, u64 n, bool write)
{
	struct model_page *p = &s->page[n];
	vaddr_t at = HERE + n * PAGE_SIZE;
	enum fault_result want = expected(p, write), r;
	char *byte = NULL;

	r = mmu_access(s->mm, at, write ? MMU_WRITE : MMU_READ, &byte);
	CHECK_EQ(r, want);
	if (r != FAULT_DONE)
		return r;
	compare(byte, *content_of(p), at);
	if (write)
		write_page(byte, written(p));
	return r;
}

/* The same from another space, by mm_read and mm_write. */
static void access_remote(struct space *s, u64 n, bool write)
{
	struct model_page *p = &s->page[n];
	vaddr_t at = HERE + n * PAGE_SIZE;
	enum fault_result want = expected(p, write);
	static char page[PAGE_SIZE];
	s64 r;

	if (want != FAULT_DONE) {
		r = write ? mm_write(s->mm, at + 5, page, 8) : mm_read(s->mm, at + 5, page, 8);
		CHECK_EQ(r, want == FAULT_PAGER ? -EAGAIN : -EFAULT);
		return;
	}
	if (write) {
		memset(page, 0, sizeof(page));
		write_page(page, written(p));
		CHECK_EQ(mm_write(s->mm, at, page, PAGE_SIZE), PAGE_SIZE);
	} else {
		CHECK_EQ(mm_read(s->mm, at, page, PAGE_SIZE), PAGE_SIZE);
		compare(page, *content_of(p), at);
	}
}

static char *buffer(struct space *s, u64 n)
{
	char *byte;

	CHECK_EQ(mmu_access(s->mm, BUF + n * PAGE_SIZE, MMU_WRITE, &byte), FAULT_DONE);
	return byte;
}

static int supply(struct space *s, unsigned object, u64 index)
{
	struct model_object *o = &objects[object];
	u64 n = check_below(BUFS >> PAGE_SHIFT);
	u32 version = ++versions;
	bool there;
	char *byte;
	int r;

	/* An object without a pager has pages where somebody looked; the model does not know which. */
	there = index < o->pages && memory_has(o->m, index);
	if (o->paged)
		CHECK_EQ(there, index < o->pages && o->present[index]);
	write_page(buffer(s, n), version);
	r = memory_supply(o->m, index << PAGE_SHIFT, PAGE_SIZE, s->mm, BUF + n * PAGE_SIZE);
	CHECK_EQ(r, index >= o->pages ? -EINVAL : there ? -EEXIST : 0);
	CHECK_EQ(mmu_access(s->mm, BUF + n * PAGE_SIZE, MMU_READ, &byte), FAULT_DONE);
	if (r) { /* the caller keeps its own */
		compare(byte, version, BUF + n * PAGE_SIZE);
		return r;
	}
	CHECK_EQ(*(u64 *)byte, 0);
	o->present[index] = true;
	o->version[index] = version;
	return 0;
}

static int supply_huge(struct space *s, unsigned object, u64 index)
{
	struct model_object *o = &objects[object];
	vaddr_t at = BUF + check_below(2) * HPAGE_PMD_SIZE;
	bool empty = true, inside = index + HPAGE_PMD_NR <= o->pages;
	u32 first = versions + 1;
	int r;

	CHECK_EQ(mmap_unmap(s->mm, at, HPAGE_PMD_SIZE), 0);
	CHECK_EQ(mmap_map_named(s->mm, at, HPAGE_PMD_SIZE, RW, VM_DONTFORK, "buf"), 0);
	for (u64 i = 0; i < HPAGE_PMD_NR; i++) {
		write_page(buffer(s, ((at - BUF) >> PAGE_SHIFT) + i), ++versions);
		empty &= !inside || !memory_has(o->m, index + i);
	}
	r = memory_supply(o->m, index << PAGE_SHIFT, HPAGE_PMD_SIZE, s->mm, at);
	if (r == -EINVAL && inside) /* no memory for a huge page: 4 KiB pages are no source */
		return r;
	CHECK_EQ(r, !inside ? -EINVAL : !empty ? -EEXIST : 0);
	for (u64 i = 0; i < HPAGE_PMD_NR && !r; i++) {
		o->present[index + i] = true;
		o->version[index + i] = first + (u32)i;
	}
	return r;
}

/* Into the client's own memory. */
static void supply_private(struct space *s, struct space *client, u64 n)
{
	struct model_page *p = &client->page[n];
	vaddr_t at = HERE + n * PAGE_SIZE;
	bool mapped = mmu_frame(client->mm, at) != 0;
	u64 b = check_below(BUFS >> PAGE_SHIFT);
	u32 version = ++versions;
	char *byte;
	int r;

	if (!p->mapped)
		return;
	write_page(buffer(s, b), version);
	r = memory_supply_private(objects[p->object].m, (u64)p->index << PAGE_SHIFT, PAGE_SIZE,
		client->mm, at, s->mm, BUF + b * PAGE_SIZE);
	CHECK_EQ(r, p->shared || p->index >= objects[p->object].pages ? -EINVAL
		    : mapped                                          ? -EEXIST
								      : 0);
	CHECK_EQ(mmu_access(s->mm, BUF + b * PAGE_SIZE, MMU_READ, &byte), FAULT_DONE);
	compare(byte, r ? version : 0, BUF + b * PAGE_SIZE);
	if (r)
		return;
	p->own = true;
	p->version = version;
}

static void withdraw(unsigned object, u64 first, u64 n)
{
	struct model_object *o = &objects[object];

	CHECK_EQ(memory_withdraw(o->m, first << PAGE_SHIFT, n << PAGE_SHIFT), 0);
	for (u64 i = first; i < MIN(first + n, OBJECT_PAGES); i++) {
		o->present[i] = false;
		o->version[i] = 0;
	}
}

static void resize(unsigned object, u64 pages)
{
	struct model_object *o = &objects[object];

	CHECK_EQ(memory_resize(o->m, pages << PAGE_SHIFT), 0);
	o->pages = pages;
	for (u64 i = pages; i < OBJECT_PAGES; i++) {
		o->present[i] = false;
		o->version[i] = 0;
	}
	for (struct space *s = spaces; s < spaces + SPACES; s++)
		for (u64 i = 0; s->mm && i < PAGES; i++)
			if (s->page[i].mapped && s->page[i].object == object &&
				s->page[i].index >= pages)
				s->page[i].own = false;
}

static struct space *fork_space(struct space *s)
{
	struct space *c = spaces;

	while (c < spaces + SPACES && c->mm)
		c++;
	if (c == spaces + SPACES)
		return NULL;
	c->mm = fork_mm(s->mm);
	CHECK(c->mm);
	memcpy(c->page, s->page, sizeof(s->page));
	mmu_enter(c->mm);
	map_buffers(c);
	return c;
}

static void unmap(struct space *s, u64 at, u64 n)
{
	CHECK_EQ(mmap_unmap(s->mm, HERE + at * PAGE_SIZE, n << PAGE_SHIFT), 0);
	memset(&s->page[at], 0, n * sizeof(struct model_page));
}

static void protect(struct space *s, u64 at, u64 n, u32 prot)
{
	u64 hole = at;

	while (hole < at + n && s->page[hole].mapped)
		hole++;
	CHECK_EQ(mmap_protect(s->mm, HERE + at * PAGE_SIZE, n << PAGE_SHIFT, prot),
		hole < at + n ? -ENOMEM : 0);
	for (u64 i = at; i < hole; i++)
		s->page[i].prot = (u8)prot;
}

static void dontneed(struct space *s, u64 at, u64 n)
{
	u64 faults = 0;

	mmap_advise(s->mm, HERE + at * PAGE_SIZE, n << PAGE_SHIFT, MADV_DONTNEED, &faults);
	for (u64 i = at; i < at + n; i++)
		s->page[i].own = false;
}

static void move(struct space *s, u64 from, u64 n, u64 to)
{
	static struct model_page moved[PAGES];
	s64 r;

	if ((from < to + n && to < from + n))
		return;
	r = mmap_remap(s->mm, HERE + from * PAGE_SIZE, n << PAGE_SHIFT, n << PAGE_SHIFT,
		MREMAP_MAYMOVE | MREMAP_FIXED, HERE + to * PAGE_SIZE);
	if (r < 0) { /* not one area: only what stood in its way is gone */
		CHECK_EQ(r, -EFAULT);
		for (u64 i = to; i < to + n; i++)
			if (!mm_lookup(s->mm, HERE + i * PAGE_SIZE))
				s->page[i].mapped = 0;
		return;
	}
	memcpy(moved, &s->page[from], n * sizeof(*moved));
	memset(&s->page[from], 0, n * sizeof(*moved));
	memcpy(&s->page[to], moved, n * sizeof(*moved));
}

/* ---- one thing at a time ---- */

TEST(pages_come_as_zeroes_and_are_shared)
{
	struct space *a, *b;

	begin();
	a = space_create();
	b = space_create();
	object_create(0, 1024, false);
	map(a, 0, 1024, 0, 0, RW, true);
	map(b, 512, 512, 0, 512, RW, true);
	access_page(a, 600, true);
	access_page(b, 600, false);
	access_page(b, 600, true);
	access_page(a, 600, false);
	CHECK_EQ(a->mm->nr_shared, 1);
	CHECK_EQ(a->mm->nr_anon, 0);
	CHECK_EQ(mm_rss(b->mm), 1);
	CHECK_EQ(vmstat_read(VM_nr_shmem), 1);
	CHECK_EQ(memory_areas(objects[0].m), 2);
	end();
}

TEST(a_private_write_copies)
{
	struct space *a, *b;
	u64 faults;

	begin();
	a = space_create();
	b = space_create();
	object_create(0, 16, false);
	map(a, 0, 16, 0, 0, RW, false);
	map(b, 0, 16, 0, 0, RW, true);
	access_page(b, 3, true);
	faults = mmu_faults;
	access_page(a, 3, true); /* a copy at once: one fault */
	CHECK_EQ(mmu_faults, faults + 1);
	access_page(b, 3, false);
	access_page(b, 3, true);
	access_page(a, 3, false);
	/* Read first, then written: the entry goes from one to the other. */
	access_page(a, 4, false);
	access_page(a, 4, true);
	access_page(b, 4, false);
	CHECK_EQ(a->mm->nr_anon, 2);
	end();
}

/* Sixteen neighbours that are there come with one read. */
TEST(a_read_maps_its_neighbours)
{
	struct space *a, *b;
	u64 faults;

	begin();
	a = space_create();
	b = space_create();
	object_create(0, 64, false);
	map(a, 0, 64, 0, 0, RW, true);
	map(b, 0, 64, 0, 0, PROT_READ, false);
	for (u64 i = 0; i < 64; i++)
		if (i != 21)
			access_page(a, i, true);
	faults = mmu_faults;
	for (u64 i = 16; i < 32; i++)
		access_page(b, i, false);
	CHECK_EQ(mmu_faults, faults + 2); /* one for all, one for page 21 */
	CHECK_EQ(b->mm->nr_shared, 16);
	end();
}

TEST(beyond_the_object)
{
	struct space *a;

	begin();
	a = space_create();
	object_create(0, 4, false);
	map(a, 0, 8, 0, 0, RW, true);
	map(a, 8, 8, 0, 0, RW, false);
	access_page(a, 3, true);
	CHECK_EQ(access_page(a, 4, true), FAULT_BUS);
	CHECK_EQ(access_page(a, 13, false), FAULT_BUS);
	resize(0, 8);
	access_page(a, 4, true);
	access_page(a, 12, true);
	resize(0, 2);
	CHECK_EQ(access_page(a, 3, false), FAULT_BUS);
	CHECK_EQ(access_page(a, 12, false),
		FAULT_BUS); /* copies beyond the end are gone, as on Linux */
	CHECK_EQ(mm_rss(a->mm), 0);
	end();
}

TEST(a_pager_supplies_4k)
{
	struct space *a, *p;

	begin();
	a = space_create();
	p = space_create();
	object_create(0, 1024, true);
	map(a, 0, 1024, 0, 0, RW, false);
	CHECK_EQ(access_page(a, 7, false), FAULT_PAGER);
	CHECK_EQ(access_page(a, 7, true), FAULT_PAGER);
	CHECK_EQ(mm_rss(a->mm), 0);
	CHECK_EQ(supply(p, 0, 7), 0);
	access_page(a, 7, true);
	CHECK_EQ(supply(p, 0, 7), -EEXIST);
	withdraw(0, 7, 1);
	access_page(a, 7, false); /* the copy stays */
	dontneed(a, 7, 1);
	CHECK_EQ(access_page(a, 7, false), FAULT_PAGER);
	end();
}

TEST(a_pager_supplies_2m)
{
	struct space *a, *b, *p;
	u64 faults;

	begin();
	a = space_create();
	b = space_create();
	p = space_create();
	object_create(0, 1536, true);
	map(a, 0, 1024, 0, 0, RW, false);
	map(b, 0, 1024, 0, 0, RW, true);
	CHECK_EQ(access_page(a, 600, false), FAULT_PAGER);
	CHECK_EQ(supply_huge(p, 0, 512), 0);
	CHECK_EQ(vmstat_read(VM_nr_shmem_hugepages), 1);
	faults = mmu_faults;
	access_page(a, 600, false);
	access_page(a, 1000, false);
	CHECK_EQ(mmu_faults, faults + 1);
	CHECK_EQ(a->mm->nr_shared, 512);
	access_page(b, 700, true); /* writable at once, and huge */
	access_page(a, 700, false);
	CHECK_EQ(b->mm->nr_shared, 512);
	access_page(a, 700, true); /* the pmd is split, one page copied */
	CHECK_EQ(a->mm->nr_anon, 1);
	CHECK_EQ(a->mm->nr_shared, 511);
	access_page(b, 700, false);
	check_all();
	withdraw(0, 600, 10); /* a part: the object's huge page becomes 512 pages */
	CHECK_EQ(vmstat_read(VM_nr_shmem_hugepages), 0);
	CHECK_EQ(access_page(b, 605, false), FAULT_PAGER);
	access_page(b, 700, false);
	access_page(b, 512, false);
	CHECK_EQ(supply_huge(p, 0, 1024), 0);
	CHECK_EQ(supply_huge(p, 0, 1024), -EEXIST);
	withdraw(0, 0, 1536);
	CHECK_EQ(mm_rss(b->mm), 0);
	CHECK_EQ(access_page(a, 701, true), FAULT_PAGER);
	end();
}

/* Not to be given away: what is shared, not there, a page of zeroes, or not of its size. */
static struct page *wanted;
static unsigned tried;

/* Another CPU compacts while the entry is gone and not flushed. */
static void isolate_wanted(struct mm *mm, vaddr_t start, vaddr_t end, enum tlb_site site)
{
	(void)mm, (void)start, (void)end, (void)site;
	tried++;
	CHECK_EQ(migrate_isolate(wanted), MIGRATED_LRU);
}

TEST(a_page_that_changes_hands_is_on_no_list)
{
	struct space *a, *p;
	struct memory *m;

	begin();
	a = space_create();
	p = space_create();
	m = object_create(0, 1024, true)->m;
	map(a, 0, 16, 0, 0, RW, false);
	thp_settings.enabled = THP_NEVER;
	for (u64 n = 0; n < 2; n++) {
		buffer(p, n);
		wanted = pfn_to_page(mmu_frame(p->mm, BUF + n * PAGE_SIZE));
		tried = 0;
		mmu_before_flush = isolate_wanted;
		CHECK_EQ(n ? memory_supply(m, 9 * PAGE_SIZE, PAGE_SIZE, p->mm, BUF + PAGE_SIZE)
			   : memory_supply_private(m, 7 * PAGE_SIZE, PAGE_SIZE, a->mm,
				     HERE + 7 * PAGE_SIZE, p->mm, BUF),
			0);
		mmu_before_flush = NULL;
		CHECK_EQ(tried, 1);
	}
	CHECK(lru_check());
	dontneed(a, 7, 1);
	end();
}

TEST(sources_that_are_refused)
{
	struct space *p, *c;
	struct memory *m;
	char *byte;

	begin();
	p = space_create();
	m = object_create(0, 1024, true)->m;
	CHECK_EQ(memory_supply(m, 0, PAGE_SIZE, p->mm, BUF), -EFAULT);
	CHECK_EQ(memory_supply(m, 0, PAGE_SIZE, p->mm, 40 * MIB), -EFAULT);
	CHECK_EQ(memory_supply(m, 0, PAGE_SIZE, p->mm, BUF + 8), -EINVAL);
	CHECK_EQ(memory_supply(m, 8, PAGE_SIZE, p->mm, BUF), -EINVAL);
	CHECK_EQ(memory_supply(m, 0, 2 * PAGE_SIZE, p->mm, BUF), -EINVAL);
	CHECK_EQ(memory_supply(m, PAGE_SIZE, HPAGE_PMD_SIZE, p->mm, BUF), -EINVAL);
	CHECK_EQ(memory_supply(m, 0, PAGE_SIZE, p->mm, ~0ul << PAGE_SHIFT), -EINVAL);
	thp_settings.enabled = THP_NEVER;
	mmu_access(p->mm, BUF, MMU_READ, &byte); /* zeroes */
	CHECK_EQ(memory_supply(m, 0, PAGE_SIZE, p->mm, BUF), -EINVAL);
	buffer(p, 0);
	CHECK_EQ(memory_supply(m, 0, HPAGE_PMD_SIZE, p->mm, BUF), -EINVAL); /* 4 KiB pages */
	CHECK_EQ(memory_supply(m, 1024 * PAGE_SIZE, PAGE_SIZE, p->mm, BUF), -EINVAL);
	map(p, 0, 16, 0, 0, RW, true);
	supply(p, 0, 3);
	access_page(p, 3, true);
	CHECK_EQ(memory_supply(m, 5 * PAGE_SIZE, PAGE_SIZE, p->mm, HERE + 3 * PAGE_SIZE), -EINVAL);
	CHECK_EQ(mmap_map_named(p->mm, 20 * MIB, PAGE_SIZE, RW, 0, "forked"), 0);
	mmu_access(p->mm, 20 * MIB, MMU_WRITE, &byte);
	c = fork_space(p);
	CHECK_EQ(memory_supply(m, 5 * PAGE_SIZE, PAGE_SIZE, p->mm, 20 * MIB), -EINVAL);
	space_exit(c);
	CHECK_EQ(memory_supply(m, 5 * PAGE_SIZE, PAGE_SIZE, p->mm, 20 * MIB), 0);
	end();
}

TEST(fork_copies_only_what_is_the_areas_own)
{
	struct space *a, *c;

	begin();
	a = space_create();
	object_create(0, 1024, false);
	map(a, 0, 512, 0, 0, RW, true);
	map(a, 1024, 512, 0, 512, RW, false);
	for (u64 i = 0; i < 50; i++) {
		access_page(a, i, true);
		access_page(a, 1024 + i, false);
	}
	access_page(a, 1024, true);
	c = fork_space(a);
	CHECK_EQ(mm_rss(c->mm), 1);
	access_page(c, 0, true);
	access_page(a, 0, false);
	access_page(c, 1024, true);
	access_page(a, 1024, false);
	access_page(a, 1024, true);
	access_page(c, 1024, false);
	end();
}

TEST(rights_and_flags)
{
	struct space *a;
	struct memory *m;
	u64 faults = 0;

	begin();
	a = space_create();
	m = object_create(0, 16, false)->m;
	CHECK_EQ(mmap_map_object(a->mm, m, 0, 0, 16 * PAGE_SIZE, RW, MAP_SHARED, false, "x"),
		-EACCES);
	CHECK_EQ(mmap_map_object(a->mm, m, 0, HERE, 16 * PAGE_SIZE, PROT_READ,
			 MAP_SHARED | MAP_FIXED_NOREPLACE, false, "x"),
		HERE);
	CHECK_EQ(mmap_map_object(a->mm, m, 0, HERE, PAGE_SIZE, PROT_READ,
			 MAP_SHARED | MAP_FIXED_NOREPLACE, false, "x"),
		-EEXIST);
	CHECK_EQ(mmap_protect(a->mm, HERE, PAGE_SIZE, RW), -EACCES);
	CHECK_EQ(mmap_map_object(a->mm, m, 5, 0, PAGE_SIZE, RW, MAP_SHARED, true, "x"), -EINVAL);
	CHECK_EQ(mmap_map_object(a->mm, m, 0, 0, 0, RW, MAP_SHARED, true, "x"), -EINVAL);
	CHECK_EQ(mmap_map_object(a->mm, m, 0, 0, PAGE_SIZE, RW, 0, true, "x"), -EINVAL);
	CHECK_EQ(mmap_advise(a->mm, HERE, PAGE_SIZE, MADV_FREE, &faults), -EINVAL);
	CHECK_EQ(mmap_advise(a->mm, HERE, PAGE_SIZE, MADV_REMOVE, &faults), -EACCES);
	CHECK_EQ(mmap_advise(a->mm, HERE, PAGE_SIZE, MADV_WIPEONFORK, &faults), -EINVAL);
	CHECK_EQ(mmap_unmap(a->mm, HERE, 16 * PAGE_SIZE), 0);
	map(a, 0, 16, 0, 0, RW, true);
	access_page(a, 2, true);
	CHECK_EQ(mmap_advise(a->mm, HERE, 16 * PAGE_SIZE, MADV_REMOVE, &faults), 0);
	objects[0].version[2] = 0;
	access_page(a, 2, false);
	CHECK(memory_create(MEMORY_MAX + 1) == NULL);
	CHECK_EQ(memory_resize(m, MEMORY_MAX + 1), -EINVAL);
	CHECK_EQ(memory_withdraw(m, 1, PAGE_SIZE), -EINVAL);
	end();
}

/* Areas that map one piece after the other are one area; two objects, or shared and private, are not. */
TEST(areas_unite)
{
	struct space *a;

	begin();
	a = space_create();
	object_create(0, 64, false);
	object_create(1, 64, false);
	map(a, 0, 8, 0, 0, RW, true);
	map(a, 8, 8, 0, 8, RW, true);
	CHECK_EQ(a->mm->nr_vmas, 2);
	map(a, 16, 8, 1, 16, RW, true);
	map(a, 24, 8, 1, 24, RW, false);
	map(a, 32, 8, 1, 33, RW, false);
	CHECK_EQ(a->mm->nr_vmas, 5);
	protect(a, 4, 2, PROT_READ);
	CHECK_EQ(a->mm->nr_vmas, 7);
	protect(a, 4, 2, RW);
	CHECK_EQ(a->mm->nr_vmas, 5);
	end();
}

TEST(shared_anonymous_memory)
{
	struct space *a, *c;
	void *key, *other;
	u64 at, there;
	char *byte;
	s64 r;

	begin();
	a = space_create();
	r = mmap_map(a->mm, HERE, 4 * MIB, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED);
	CHECK_EQ(r, HERE);
	CHECK_EQ(mmu_access(a->mm, HERE + 5, MMU_WRITE, &byte), FAULT_DONE);
	*byte = 42;
	c = fork_space(a);
	CHECK_EQ(mmu_access(c->mm, HERE + 5, MMU_READ, &byte), FAULT_DONE);
	CHECK_EQ(*byte, 42);
	CHECK(memory_key(a->mm, HERE + 5, &key, &at) &&
		memory_key(c->mm, HERE + 5, &other, &there));
	CHECK(key == other && at == there && at == 5);
	CHECK(!memory_key(a->mm, BUF, &key, &at));
	r = mmap_remap(c->mm, HERE, 0, 2 * MIB, MREMAP_MAYMOVE, 0); /* the same once more */
	CHECK(r > 0);
	CHECK_EQ(mmu_access(c->mm, (vaddr_t)r + 5, MMU_READ, &byte), FAULT_DONE);
	CHECK_EQ(*byte, 42);
	end();
}

TEST(locked_memory)
{
	struct space *a;
	u64 faults = 0;

	begin();
	a = space_create();
	CHECK_EQ(mmap_lock(a->mm, BUF + 5, PAGE_SIZE, 0, &faults), 0);
	CHECK_EQ(a->mm->locked_vm, 2);
	CHECK(mmu_frame(a->mm, BUF + PAGE_SIZE));
	CHECK_EQ(a->mm->nr_vmas, 2);
	CHECK_EQ(mmap_advise(a->mm, BUF, PAGE_SIZE, MADV_DONTNEED, &faults), -EINVAL);
	CHECK_EQ(mmap_sync(a->mm, BUF, PAGE_SIZE, MS_SYNC | MS_INVALIDATE), -EBUSY);
	CHECK_EQ(mmap_unlock(a->mm, BUF, 2 * PAGE_SIZE), 0);
	CHECK_EQ(a->mm->nr_vmas, 2); /* only the one that was locked has a family */
	CHECK_EQ(mmap_lock(a->mm, BUF + BUFS - PAGE_SIZE, 2 * PAGE_SIZE, 0, &faults), -ENOMEM);
	CHECK_EQ(mmap_lock(a->mm, BUF, PAGE_SIZE, 2, &faults), -EINVAL);
	CHECK_EQ(mmap_lock(a->mm, ~0ul - 5, 100, 0, &faults), -EINVAL);
	CHECK_EQ(mmap_lock_all(a->mm, 0, &faults), -EINVAL);
	CHECK_EQ(mmap_lock_all(a->mm, MCL_ONFAULT, &faults), -EINVAL);
	CHECK_EQ(mmap_lock_all(a->mm, MCL_CURRENT | MCL_FUTURE, &faults), 0);
	CHECK_EQ(mm_rss(a->mm), BUFS >> PAGE_SHIFT);
	CHECK_EQ(mmap_map_named(a->mm, HERE, PAGE_SIZE, RW, 0, "named"), 0);
	CHECK_EQ(mmap_map(a->mm, 0, PAGE_SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS) > 0, true);
	CHECK_EQ(mmap_unlock_all(a->mm), 0);
	CHECK_EQ(mmap_sync(a->mm, BUF, BUFS, MS_SYNC | MS_INVALIDATE), 0);
	CHECK_EQ(mmap_sync(a->mm, BUF, BUFS + PAGE_SIZE, MS_ASYNC), -ENOMEM);
	CHECK_EQ(mmap_sync(a->mm, BUF, BUFS, MS_ASYNC | MS_SYNC), -EINVAL);
	CHECK_EQ(mmap_sync(a->mm, BUF + 1, BUFS, 0), -EINVAL);
	end();
}

/* ---- anything, in any order ---- */

static struct space *any_space(void)
{
	struct space *s;

	do
		s = &spaces[check_below(SPACES)];
	while (!s->mm);
	return s;
}

static void any_range(u64 limit, u64 *at, u64 *n)
{
	static const u16 sizes[] = {1, 3, 17, 100, 512, 700};

	*n = MIN(sizes[check_below(ARRAY_SIZE(sizes))], limit);
	*at = check_below(limit - *n + 1);
	if (check_below(3) == 0)
		*at = MIN(ALIGN_UP(*at, HPAGE_PMD_NR), limit - *n);
}

static void touch(unsigned times)
{
	while (times--) {
		struct space *s = any_space();
		u64 n = check_below(PAGES);

		if (check_below(8) == 0)
			access_remote(s, n, check_below(2));
		else
			access_page(s, n, check_below(2));
	}
}

static void step(void)
{
	struct space *s = any_space();
	unsigned object = (unsigned)check_below(OBJECTS);
	u64 at, n, from, chunk = check_below(OBJECT_PAGES >> HPAGE_PMD_ORDER) << HPAGE_PMD_ORDER;

	any_range(PAGES, &at, &n);
	from = check_below(OBJECT_PAGES);
	if (check_below(2))
		from = at % HPAGE_PMD_NR + (from & ~(HPAGE_PMD_NR - 1));
	switch (check_below(15)) {
	case 0:
	case 1:
		map(s, at, n, object, from, check_below(3) ? RW : PROT_READ, check_below(2));
		break;
	case 2:
		unmap(s, at, n);
		break;
	case 3:
		protect(s, at, n, check_below(2) ? RW : PROT_READ);
		break;
	case 4:
		dontneed(s, at, n);
		break;
	case 5:
		move(s, at, n, check_below(PAGES - n));
		break;
	case 6:
		fork_space(s);
		break;
	case 7:
		if (s != spaces)
			space_exit(s);
		break;
	case 8:
	case 9:
		for (unsigned i = 0; i < 20; i++)
			supply(s, object, check_below(OBJECT_PAGES));
		break;
	case 10:
	case 11:
		supply_huge(s, object, chunk);
		break;
	case 12:
		any_range(OBJECT_PAGES, &at, &n);
		withdraw(object, at, n);
		break;
	case 13:
		resize(object, check_below(4) ? OBJECT_PAGES : check_below(OBJECT_PAGES));
		break;
	case 14:
		supply_private(any_space(), s, at);
		break;
	}
}

TEST(anything_in_any_order)
{
	begin();
	space_create();
	object_create(0, OBJECT_PAGES, false);
	object_create(1, OBJECT_PAGES, true);
	object_create(2, 700, true);
	map(spaces, 0, 1024, 0, 0, RW, true);
	map(spaces, 1024, 1024, 1, 0, RW, false);
	for (unsigned round = check_rounds(600); round; round--) {
		thp_settings.cow = check_below(2) ? COW_COPY : COW_SPLIT;
		step();
		touch(40);
		check_all();
	}
	end();
}
