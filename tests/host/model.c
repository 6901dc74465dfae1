/*
 * model.c - see model.h.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "fake_machine.h"
#include "model.h"
#include <abi/errno.h>
#include "mm/buddy.h"
#include "mm/compact.h"
#include "mm/fault.h"
#include "mm/fork.h"
#include "mm/gigapage.h"
#include "mm/huge_pud.h"
#include "mm/kmalloc.h"
#include "mm/lru.h"
#include "mm/mmap.h"
#include "mm/pgtable.h"
#include "mm/reclaim.h"
#include "mm/rmap.h"
#include "mm/thp.h"
#include "mm/thp_split.h"
#include "mm/vma.h"
#include "mm/zero.h"
#include "vmstat.h"

/* khugepaged as it is, without its thread: the cursor and the turns are called from here. */
#include "khugepaged.c"

struct model_space model[MODEL_SPACES];
bool model_may_fail;
u64 model_refusals;

static u32 last_version;
static u64 kernel_frames; /* typed KERNEL before there was any space, slabs not counted */
static u64 free_at_start;

u64 time_ns(void)
{
	return 0;
}

struct thread *thread_create(
	const char *name, void (*entry)(void *), void *arg, struct task *task, struct mm *mm)
{
	(void)name, (void)entry, (void)arg, (void)task, (void)mm;
	return NULL;
}

void sched_start(struct thread *t)
{
	(void)t;
}

/* ---- contents ---- */

static u64 word_of(u32 version, unsigned n)
{
	return version ? (version * 4ul + n) * 0x9e3779b97f4a7c15ul : 0;
}

static const u16 places[] = {8, 2048, 4080};

static void contents_write(char *page, u32 version)
{
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++)
		*(u64 *)(page + places[i]) = word_of(version, i);
}

/* What MADV_FREE left may have become zeroes (or, when `page` is NULL, a hole); then that is what it is from now on. */
static void see_dropped(struct model_page *p, const char *page)
{
	if (!p->lazy)
		return;
	for (unsigned i = 0; page && i < ARRAY_SIZE(places); i++)
		if (*(const u64 *)(page + places[i]))
			return;
	p->lazy = false;
	p->version = 0;
}

static void contents_check(struct model_space *s, u64 n, const char *page, const char *when)
{
	see_dropped(&s->page[n], page);
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		u64 is = *(const u64 *)(page + places[i]), want = word_of(s->page[n].version, i);

		CHECK_MSG(is == want,
			"%s: page %#llx of space %u: word %u is %#llx, want %#llx (version %u)",
			when, (unsigned long long)n << PAGE_SHIFT, s->mm->id, i,
			(unsigned long long)is, (unsigned long long)want, s->page[n].version);
	}
}

static char *page_start(char *byte)
{
	return (char *)((u64)byte & PAGE_MASK);
}

/* ---- the machine ---- */

void model_start(u64 bytes)
{
	u64 counts[NR_PAGE_TYPES];

	mmu_start(bytes);
	for (pfn_t pfn = 1; pfn < page_max_pfn; pfn++) /* frames are not zero by themselves */
		if (pfn_to_page(pfn)->type == PAGE_FREE)
			memset(phys_to_virt(pfn << PAGE_SHIFT), 0xa5, PAGE_SIZE);
	page_count_types(counts);
	kernel_frames = counts[PAGE_KERNEL] - vmstat_read(VM_nr_slab_unreclaimable);
	free_at_start = buddy_free_pages();
	last_version = 0;
}

struct model_space *model_create(void)
{
	struct model_space *s = model;

	while (s->mm)
		s++;
	memset(s, 0, sizeof(*s));
	s->mm = mm_create();
	CHECK(s->mm);
	s->mm->mmap_base = MODEL_END;
	s->mm->brk_start = s->mm->brk = MODEL_BRK;
	mmu_enter(s->mm);
	return s;
}

void model_finish(void)
{
	for (struct model_space *s = model; s < model + MODEL_SPACES; s++)
		if (s->mm)
			model_exit(s);
	leave_space(); /* khugepaged's cursor may hold a reference */
	model_check();
	reclaim_run();
	CHECK_EQ(zero_huge_pfn, 0);
	CHECK_EQ(vmstat_read(VM_nr_anon_pages), 0);
	CHECK_EQ(vmstat_read(VM_nr_anon_transparent_hugepages), 0);
	CHECK_EQ(vmstat_read(VM_nr_page_table_pages), 0);
	CHECK_EQ(vmstat_read(VM_nr_isolated_anon), 0);
	CHECK_EQ(thp_nr_listed(), 0);
	CHECK_EQ(buddy_free_pages(), free_at_start);
	CHECK(buddy_check());
}

static u64 first_page(vaddr_t addr)
{
	return addr >> PAGE_SHIFT;
}

static u64 nr_pages(u64 len)
{
	return ALIGN_UP(len, PAGE_SIZE) >> PAGE_SHIFT;
}

static bool all_mapped(const struct model_space *s, vaddr_t addr, u64 len)
{
	for (u64 i = 0; i < nr_pages(len); i++)
		if (!s->page[first_page(addr) + i].mapped)
			return false;
	return true;
}

static bool any_mapped(const struct model_space *s, vaddr_t addr, u64 len)
{
	for (u64 i = 0; i < nr_pages(len); i++)
		if (s->page[first_page(addr) + i].mapped)
			return true;
	return false;
}

static void forget(struct model_space *s, vaddr_t addr, u64 len)
{
	memset(&s->page[first_page(addr)], 0, nr_pages(len) * sizeof(struct model_page));
}

static struct vma *area_at(struct model_space *s, vaddr_t addr)
{
	return mm_lookup(s->mm, addr);
}

/* "No memory" was the answer: only right when it may be. */
static void refused(const char *what)
{
	CHECK_MSG(model_may_fail, "%s: no memory", what);
	model_refusals++;
}

/* A verb that stopped half-way may have removed what stood in its way. */
static void follow_removal(struct model_space *s, vaddr_t addr, u64 len)
{
	for (u64 i = 0; i < nr_pages(len); i++)
		if (!area_at(s, addr + (i << PAGE_SHIFT)))
			forget(s, addr + (i << PAGE_SHIFT), PAGE_SIZE);
}

/* ---- the verbs ---- */

s64 model_map(struct model_space *s, vaddr_t addr, u64 len, u32 prot, u32 flags)
{
	bool fixed = flags & MAP_FIXED,
	     taken = flags & MAP_FIXED_NOREPLACE && any_mapped(s, addr, len);
	s64 at;

	s->in_use++;
	at = mmap_map(s->mm, addr, len, prot, flags | MAP_PRIVATE | MAP_ANONYMOUS);
	s->in_use--;
	if (taken) {
		CHECK_EQ(at, -EEXIST);
		return at;
	}
	if (at == -ENOMEM) {
		if (fixed || flags & MAP_FIXED_NOREPLACE)
			refused("mmap");
		else if (model_may_fail)
			model_refusals++; /* or there was no gap */
		if (fixed)
			follow_removal(s, addr, len);
		return at;
	}
	CHECK(at >= (s64)USER_START && !(at & ~PAGE_MASK) && at + len <= MODEL_END);
	if (fixed || flags & MAP_FIXED_NOREPLACE)
		CHECK_EQ(at, addr);
	else
		CHECK(!any_mapped(s, at, len));
	for (u64 i = 0; i < nr_pages(len); i++)
		s->page[first_page(at) + i] = (struct model_page){.mapped = 1, .prot = prot};
	return at;
}

int model_unmap(struct model_space *s, vaddr_t addr, u64 len)
{
	int err;

	s->in_use++;
	err = mmap_unmap(s->mm, addr, len);
	s->in_use--;
	if (err) {
		CHECK_EQ(err, -ENOMEM);
		refused("munmap");
		follow_removal(s, addr, len);
		return err;
	}
	forget(s, addr, len);
	return 0;
}

/* mprotect met a hole: what lies before it has changed. Or memory was short: some areas have changed, the first ones. */
static void follow_protection(struct model_space *s, vaddr_t addr, u64 len, u32 prot)
{
	vaddr_t end = addr + ALIGN_UP(len, PAGE_SIZE);

	for (; addr < end && s->page[first_page(addr)].mapped; addr += PAGE_SIZE) {
		struct vma *v = area_at(s, addr);

		if (!model_may_fail || (v->flags & VM_ACCESS) == prot)
			s->page[first_page(addr)].prot = prot;
	}
}

int model_protect(struct model_space *s, vaddr_t addr, u64 len, u32 prot)
{
	bool whole = all_mapped(s, addr, len);
	int err;

	s->in_use++;
	err = mmap_protect(s->mm, addr, len, prot);
	s->in_use--;
	if (err) {
		CHECK_EQ(err, -ENOMEM);
		if (whole)
			refused("mprotect");
		follow_protection(s, addr, len, prot);
		return err;
	}
	CHECK(whole);
	for (u64 i = 0; i < nr_pages(len); i++)
		s->page[first_page(addr) + i].prot = prot;
	return 0;
}

/* What mremap must answer to these, as far as it does not depend on memory. 0: it may do it. */
static s64 remap_answer(
	struct model_space *s, vaddr_t old, u64 old_len, u64 len, u32 flags, vaddr_t to)
{
	struct vma *v = area_at(s, old);
	bool move = flags & (MREMAP_FIXED | MREMAP_DONTUNMAP);

	if (move && !(flags & MREMAP_MAYMOVE))
		return -EINVAL;
	if (flags & MREMAP_DONTUNMAP && old_len != len)
		return -EINVAL;
	if (flags & MREMAP_FIXED && old < to + len && to < old + old_len)
		return -EINVAL;
	if (!v)
		return -EFAULT;
	if (nr_pages(len) <= nr_pages(old_len) && !move)
		return 0; /* neither shrinking nor nothing asks for more */
	return old + MIN(old_len, len) > v->end ? -EFAULT : 0;
}

s64 model_remap(struct model_space *s, vaddr_t old, u64 old_len, u64 len, u32 flags, vaddr_t to)
{
	static struct model_page moved[MODEL_PAGES];
	u64 keep = MIN(old_len, len), n = nr_pages(keep);
	s64 want = remap_answer(s, old, old_len, len, flags, to), at;
	u8 prot = s->page[first_page(old)].prot, fork = s->page[first_page(old)].fork;

	s->in_use++;
	at = mmap_remap(s->mm, old, old_len, len, flags, to);
	s->in_use--;
	if (at < 0 && want < 0 && !(at == -ENOMEM && model_may_fail))
		CHECK_EQ(at, want);
	if (at < 0) {
		CHECK(want < 0 || at == -ENOMEM || (at == -EFAULT && flags & MREMAP_FIXED));
		if (want == 0 && model_may_fail)
			model_refusals++; /* otherwise: it may not move, or there is no gap */
		if (flags & MREMAP_FIXED && want != -EINVAL)
			follow_removal(s, to, len);
		if (len < old_len && want != -EINVAL)
			follow_removal(s, old + len, old_len - len);
		return at;
	}
	CHECK_EQ(want, 0);
	if (flags & MREMAP_FIXED) {
		CHECK_EQ(at, to);
		forget(s, to, len);
	}
	if (len < old_len)
		forget(s, old + len, old_len - len);
	if ((vaddr_t)at != old) {
		CHECK(!any_mapped(s, at, len) && at + len <= MODEL_END);
		memcpy(moved, &s->page[first_page(old)], n * sizeof(moved[0]));
		forget(s, old, keep);
		for (u64 i = 0; flags & MREMAP_DONTUNMAP && i < n; i++)
			s->page[first_page(old) + i] =
				(struct model_page){.mapped = 1, .prot = prot, .fork = fork};
		memcpy(&s->page[first_page(at)], moved, n * sizeof(moved[0]));
	}
	for (u64 i = n; i < nr_pages(len); i++) {
		CHECK(!s->page[first_page(at) + i].mapped);
		s->page[first_page(at) + i] =
			(struct model_page){.mapped = 1, .prot = prot, .fork = fork};
	}
	return at;
}

void model_brk(struct model_space *s, vaddr_t brk)
{
	vaddr_t old = s->mm->brk, is, from = ALIGN_UP(old, PAGE_SIZE),
		to = ALIGN_UP(brk, PAGE_SIZE);

	s->in_use++;
	is = mmap_brk(s->mm, brk);
	s->in_use--;
	if (is != brk) {
		CHECK_EQ(is, old);
		if (brk >= s->mm->brk_start && !(to > from && any_mapped(s, from, to - from)))
			refused("brk");
		if (to < from)
			follow_removal(s, to, from - to);
		return;
	}
	if (to < from)
		forget(s, to, from - to);
	for (u64 n = first_page(from); n < first_page(to); n++)
		s->page[n] = (struct model_page){.mapped = 1, .prot = PROT_READ | PROT_WRITE};
}

/* 0 or the one errno this advice must give for rights and holes; 1: it depends on more than the model knows. */
static int advise_answer(struct model_space *s, vaddr_t addr, u64 len, int advice)
{
	bool whole = all_mapped(s, addr, len);

	switch (advice) {
	case MADV_POPULATE_READ:
	case MADV_POPULATE_WRITE:
		for (u64 i = 0; i < nr_pages(len); i++) { /* holes are told at the end */
			const struct model_page *p = &s->page[first_page(addr) + i];

			if (p->mapped && !(p->prot & (advice == MADV_POPULATE_READ ? PROT_READ
										   : PROT_WRITE)))
				return -EINVAL;
		}
		return whole ? 0 : -ENOMEM;
	case MADV_COLLAPSE:
		return 1;
	default:
		return whole ? 0 : -ENOMEM;
	}
}

/* What the area says: the model cannot know whether its flags were changed. */
static void follow_fork_advice(struct model_space *s, u64 n)
{
	u32 flags = area_at(s, n << PAGE_SHIFT)->flags;

	s->page[n].fork =
		(flags & VM_DONTFORK ? FORK_SKIP : 0) | (flags & VM_WIPEONFORK ? FORK_WIPE : 0);
}

int model_advise(struct model_space *s, vaddr_t addr, u64 len, int advice)
{
	int want = advise_answer(s, addr, len, advice), err;
	u64 faults = 0;

	s->in_use++;
	err = mmap_advise(s->mm, addr, len, advice, &faults);
	s->in_use--;
	if (want == 1) {
		CHECK(err == 0 || err == -EINVAL || err == -ENOMEM || err == -EAGAIN);
		return err;
	}
	if (err != want) {
		CHECK_MSG(err == -ENOMEM, "madvise %d of %#lx, %#lx: %d, want %d", advice, addr,
			len, err, want);
		refused("madvise");
	}
	for (u64 n = first_page(addr); n < first_page(addr) + nr_pages(len); n++) {
		struct model_page *p = &s->page[n];

		if (!p->mapped)
			continue;
		if (err != want) {
			follow_fork_advice(s, n); /* the first areas have changed */
			continue;
		}
		if (advice == MADV_DONTNEED)
			p->version = 0;
		if (advice == MADV_FREE)
			p->lazy = true;
		if (err && model_may_fail && buddy_inject_fired) {
			follow_fork_advice(s, n); /* for its holes, or for lack of memory? */
			continue;
		}
		if (advice == MADV_DONTFORK || advice == MADV_WIPEONFORK)
			p->fork |= advice == MADV_DONTFORK ? FORK_SKIP : FORK_WIPE;
		if (advice == MADV_DOFORK || advice == MADV_KEEPONFORK)
			p->fork &= ~(advice == MADV_DOFORK ? FORK_SKIP : FORK_WIPE);
	}
	return err;
}

static bool right_to(const struct model_page *p, enum mmu_kind kind)
{
	if (kind == MMU_WRITE)
		return p->prot & PROT_WRITE;
	if (kind == MMU_EXEC)
		return p->prot & PROT_EXEC;
	return p->prot != PROT_NONE;
}

enum fault_result model_access(struct model_space *s, vaddr_t addr, enum mmu_kind kind)
{
	u64 n = first_page(addr);
	struct model_page *p = &s->page[n];
	enum fault_result r;
	char *at;

	s->in_use++;
	r = mmu_access(s->mm, addr, kind, &at);
	s->in_use--;
	if (r == FAULT_NO_MEMORY) {
		refused("fault");
		CHECK(p->mapped && right_to(p, kind));
		return r;
	}
	if (r == FAULT_MIGRATING) {
		CHECK(p->mapped && right_to(p, kind));
		return r;
	}
	CHECK_EQ(r, !p->mapped          ? FAULT_BAD_ADDRESS
		    : right_to(p, kind) ? FAULT_DONE
					: FAULT_BAD_ACCESS);
	if (r != FAULT_DONE)
		return r;
	contents_check(s, n, page_start(at), "access");
	if (kind == MMU_WRITE) {
		p->version = ++last_version;
		p->lazy = false;
		contents_write(page_start(at), p->version);
	}
	return r;
}

struct model_space *model_fork(struct model_space *s)
{
	struct model_space *c = model;
	struct mm *mm;

	while (c < model + MODEL_SPACES && c->mm)
		c++;
	if (c == model + MODEL_SPACES)
		return NULL;
	c->mm = MODEL_TAKEN; /* other CPUs may fork meanwhile */
	c->in_use = 1;
	s->in_use++;
	mm = fork_mm(s->mm);
	s->in_use--;
	c->in_use = 0;
	c->mm = mm;
	if (!mm) {
		refused("fork");
		return NULL;
	}
	memcpy(c->page, s->page, sizeof(c->page));
	for (u64 n = 0; n < MODEL_PAGES; n++) {
		if (c->page[n].fork & FORK_SKIP)
			memset(&c->page[n], 0, sizeof(c->page[n]));
		else if (c->page[n].fork & FORK_WIPE)
			c->page[n].version = 0;
	}
	mmu_enter(mm);
	return c;
}

void model_exit(struct model_space *s)
{
	struct mm *mm = s->mm;

	CHECK_EQ(s->in_use, 0);
	mmu_leave(mm);
	s->in_use = 1;
	CHECK(mm_drop_user(mm));
	mmap_exit(mm);
	mm_put(mm);
	s->mm = NULL;
	s->in_use = 0;
}

bool model_is_huge(struct model_space *s, vaddr_t addr)
{
	pmd_t *pmdp = pgtable_find_pmd(s->mm, addr);

	return pmdp && pmd_kind(pmd_read(pmdp)) == ENTRY_LEAF;
}

static u64 measured[NR_VM_STATS];

void measure(void)
{
	for (unsigned i = 0; i < NR_VM_STATS; i++)
		measured[i] = vmstat_read(i);
}

u64 delta(enum vm_stat stat)
{
	return vmstat_read(stat) - measured[stat];
}

int model_split_page(struct model_space *s, vaddr_t addr)
{
	pfn_t pfn = mmu_frame(s->mm, addr);
	struct page *head;
	int err;

	if (!pfn || !pfn_in_huge(pfn))
		return -ENOENT;
	head = pfn_head(pfn);
	page_get(head);
	s->in_use++;
	err = thp_split_page(head);
	s->in_use--;
	page_put(head);
	return err;
}

unsigned model_migrating;

enum migrate_result model_migrate(struct model_space *s, vaddr_t addr)
{
	pfn_t pfn = mmu_frame(s->mm, addr);
	enum migrate_result r;

	if (!pfn)
		return MIGRATED_GONE;
	model_migrating++;
	r = migrate_page_alone(pfn_head(pfn), 0, false);
	model_migrating--;
	if (r == MIGRATED_NO_MEMORY)
		refused("migration");
	return r;
}

void model_compact(void)
{
	model_migrating++;
	compact_memory();
	model_migrating--;
}

void model_khugepaged_turn(u64 pages)
{
	if (has_work())
		scan_turn(pages);
}

void model_khugepaged_pass(void)
{
	passes_asked++;
	scan_pass();
	CHECK_EQ(passes_done, passes_asked);
}

void model_touch_cached(struct model_space *s)
{
	for (unsigned i = 0; i < 4; i++) {
		unsigned cpu = check_below(MMU_TLBS);
		const struct mmu_entry *e = mmu_entry(s->mm, cpu, check_below(MMU_ENTRIES));
		vaddr_t addr = e ? e->start + (check_below(e->size) & PAGE_MASK) : 0;
		char *at = e ? mmu_cached(s->mm, cpu, addr, MMU_READ) : NULL;
		struct model_page *p = &s->page[first_page(addr)];

		if (!at)
			continue;
		CHECK(p->mapped && right_to(p, MMU_READ));
		contents_check(s, first_page(addr), at, "cached");
		at = mmu_cached(s->mm, cpu, addr, MMU_WRITE);
		if (!at)
			continue;
		CHECK(right_to(p, MMU_WRITE));
		p->version = ++last_version;
		p->lazy = false;
		contents_write(at, p->version);
	}
}

/* ---- everything ---- */

static u32 prot_of(const struct vma *v)
{
	return (v->flags & VM_READ ? PROT_READ : 0) | (v->flags & VM_WRITE ? PROT_WRITE : 0) |
	       (v->flags & VM_EXEC ? PROT_EXEC : 0);
}

static void check_area(struct model_space *s, const struct vma *v)
{
	for (vaddr_t a = v->start; a < v->end; a += PAGE_SIZE) {
		u64 n = first_page(a);
		pfn_t pfn = mmu_frame(s->mm, a);

		CHECK_MSG(s->page[n].mapped, "page %#lx of space %u should not be there", a,
			s->mm->id);
		CHECK_EQ(s->page[n].prot, prot_of(v));
		if (pfn) {
			contents_check(s, n, phys_to_virt(pfn << PAGE_SHIFT), "memory");
			continue;
		}
		see_dropped(&s->page[n], NULL);
		CHECK_MSG(!s->page[n].version, "page %#lx of space %u was lost", a, s->mm->id);
	}
}

static void check_space(struct model_space *s)
{
	vaddr_t from = 0;

	for (struct vma *v = vma_first(s->mm); v; v = vma_next(v)) {
		CHECK(v->end <= MODEL_END);
		CHECK(!any_mapped(s, from, v->start - from));
		check_area(s, v);
		from = v->end;
	}
	CHECK(!any_mapped(s, from, MODEL_END - from));
}

static const char *words(void)
{
	return machine_words;
}

#define CHECKER(call) CHECK_MSG(call, #call ": %s", words())

static bool check_one_mm(struct mm *mm, void *ctx)
{
	u64 *tables = ctx;

	CHECKER(vma_check(mm));
	CHECKER(pgtable_check(mm));
	if (mm->pgd)
		CHECKER(mmu_check(mm));
	*tables += mm->nr_tables + (mm->pgd != NULL);
	CHECK_EQ(mm->lock.state, 0);
	CHECK_EQ(mm->clearing, 0);
	return true;
}

/* A huge page that no pmd maps and of which a frame is not mapped at all can be split to free that frame. */
static bool partly_unmapped(const struct page *head)
{
	for (u64 i = 0; i < HPAGE_PMD_NR; i++)
		if (!head[i].mapcount)
			return page_pmd_mapcount(head) == 0;
	return false;
}

/* Every anonymous frame is mapped, and by nothing else referenced: nobody works on one just now. */
static void check_references(void)
{
	for (pfn_t pfn = 0; pfn < page_max_pfn; pfn++) {
		struct page *p = pfn_to_page(pfn);

		if (p->type != PAGE_ANON && p->type != PAGE_ANON_HUGE)
			continue;
		CHECK_MSG(page_total_mapcount(p) && page_refcount(p) == page_total_mapcount(p) &&
				  p->flags & PG_LRU,
			"frame %#lx (%s): %u references, %lu mappings, flags %#x", pfn,
			page_type_name(p->type), page_refcount(p), page_total_mapcount(p),
			p->flags);
		CHECK_MSG(!page_is_huge(p) || !partly_unmapped(p) || p->flags & PG_DEFERRED,
			"huge page %#lx is partly unmapped, and not queued", pfn);
	}
}

static void check_ledger(u64 tables)
{
	u64 counts[NR_PAGE_TYPES], sum = 0;

	page_count_types(counts);
	for (unsigned t = 0; t < NR_PAGE_TYPES; t++)
		sum += counts[t];
	CHECK_EQ(sum, page_max_pfn);
	CHECK_EQ(counts[PAGE_FREE], buddy_free_pages());
	CHECK_EQ(counts[PAGE_TABLE], tables + 1);
	CHECK_EQ(counts[PAGE_ZERO], 1 + (zero_huge_pfn ? HPAGE_PMD_NR : 0));
	CHECK_EQ(counts[PAGE_KERNEL], kernel_frames + vmstat_read(VM_nr_slab_unreclaimable));
	CHECK_EQ(vmstat_read(VM_nr_isolated_anon), 0);
}

void model_check(void)
{
	u64 tables = 0;

	for (struct model_space *s = model; s < model + MODEL_SPACES; s++)
		if (s->mm)
			check_space(s);
	mm_for_each(check_one_mm, &tables);
	CHECKER(buddy_check());
	CHECKER(lru_check());
	CHECKER(kmalloc_check());
	CHECKER(rmap_check());
	CHECKER(thp_check());
	CHECKER(migrate_check());
	CHECKER(gigapage_check());
	CHECKER(huge_pud_check());
	CHECKER(zero_check());
	check_references();
	check_ledger(tables);
}
