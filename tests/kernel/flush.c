/*
 * flush.c - no CPU goes on with a translation that was taken away                           self-tests
 *
 * IDEA
 *   a thread of the lab, on one CPU         an eye in ring 3 of the same space, on another CPU
 *     let somebody look at a page             looks: its CPU remembers the translation, and waits in ring 3
 *     take it away, weaken it, move it
 *     let the same one look again             must see what the tables say now
 *
 *   "Here" the thread looks itself, through uaccess. Each call of tlb_flush() in kernel/ has a case. Between
 *   the two looks the CPU that looks does as little as possible: an emulator drops translations that are
 *   in the way of others, and a load of CR3 drops all.
 *
 *   The suite flush_left_out takes the flush away (debug builds: tlb_skip_local, tlb_skip_remote; the
 *   generation is bumped and acknowledged all the same) and demands that the same case then notices it. So a
 *   case of the suite flush fails when its flush is missing.
 *
 * NOT SHOWN  by the emulators: a right that is added (they look at the tables again before they fault), and
 *   cached upper levels of the tables (pgtable_free_range), and a flush right behind another one. For these, and for all sites once more, there is
 *   the generation: each case asserts that it rose and that every CPU acknowledged it. With tlb_skip_ack set
 *   for a site, that assertion ends the kernel ("tlb-gen"): tests/qemu/test_flush.py.
 */
#include "lab.h"
#include "lib/string.h"
#include "mm/buddy.h"
#include "mm/fork.h"
#include "mm/migrate.h"
#include "mm/mmap.h"
#include "mm/pgtable.h"
#include "mm/thp_split.h"
#include "mm/vma.h"
#include "mm/vmap.h"
#include "mutex.h"
#include "printk.h"
#include "x86/timer.h"

#define OLD 0x01d01d01d01d01d0ul
#define NEW 0x2e32e32e32e32e32ul

#define LENGTH (2 * HPAGE_PMD_SIZE)

enum verdict {
	FRESH,
	STALE,
	BROKEN /* the case could not be played */
};

struct stage {
	const struct flush_case *c;
	struct mm *mm;
	struct mm *child;
	struct lab_eye eye;
	bool remote; /* who looks: the eye, or the thread itself */
	u32 skip;    /* leave out the flush of the case's site */
	vaddr_t at;  /* the page that is looked at */
	pfn_t pfn;   /* what was mapped there */
	pte_t kept;  /* an entry to be put back */
	enum verdict verdict;
};

struct flush_case {
	const char *name;
	enum tlb_site site;
	enum lab_look look;
	bool huge; /* the page that is there before is huge */
	bool (*prepare)(struct stage *s);
	bool (*act)(struct stage *s);   /* what flushes */
	bool (*fresh)(struct stage *s); /* look again: is it what the tables say? */
};

static vaddr_t huge_start(const struct stage *s)
{
	return s->at & HPAGE_PMD_MASK;
}

static bool look(struct stage *s, enum lab_look how, u64 *value)
{
	return s->remote ? lab_eye_look(&s->eye, how, s->at, value)
			 : lab_look_here(how, s->at, value);
}

/* --- prepare: what is there before ------------------------------------------------------------- */

static bool have_page(struct stage *s)
{
	thp_settings.enabled = s->c->huge ? THP_ALWAYS : THP_NEVER;
	if (!lab_area(s->mm, LAB_AREA, LENGTH) || !lab_fill(s->mm, huge_start(s), HPAGE_PMD_SIZE))
		return false;
	*lab_word(s->mm, s->at) = OLD;
	return lab_is_huge(s->mm, s->at) == s->c->huge;
}

static bool have_zero_page(struct stage *s)
{
	thp_settings.enabled = s->c->huge ? THP_ALWAYS : THP_NEVER;
	return lab_area(s->mm, LAB_AREA, LENGTH) && lab_read(s->mm, s->at, PAGE_SIZE) &&
	       lab_is_huge(s->mm, s->at) == s->c->huge;
}

static bool have_shared_page(struct stage *s)
{
	if (!have_page(s))
		return false;
	s->child = fork_mm(s->mm);
	return s->child;
}

/* mov $5, %edx; ret */
static const u8 five[] = {0xba, 5, 0, 0, 0, 0xc3};

static bool have_code(struct stage *s)
{
	if (!have_page(s))
		return false;
	memcpy(lab_word(s->mm, s->at), five, sizeof(five));
	return mmap_protect(s->mm, LAB_AREA, LENGTH, PROT_READ | PROT_WRITE | PROT_EXEC) == 0;
}

/* --- act: what flushes ---------------------------------------------------------------------------- */

/* A verb on the page, or on the huge page. */
static vaddr_t start_of(const struct stage *s)
{
	return s->c->huge ? huge_start(s) : s->at;
}

static u64 size_of(const struct stage *s)
{
	return s->c->huge ? HPAGE_PMD_SIZE : PAGE_SIZE;
}

static bool unmap(struct stage *s)
{
	return mmap_unmap(s->mm, start_of(s), size_of(s)) == 0;
}

static bool advise(struct stage *s, vaddr_t start, u64 len, int advice)
{
	u64 faults = 0;

	return mmap_advise(s->mm, start, len, advice, &faults) == 0;
}

static bool dont_need(struct stage *s)
{
	return advise(s, start_of(s), size_of(s), MADV_DONTNEED);
}

static bool make_readonly(struct stage *s)
{
	return mmap_protect(s->mm, start_of(s), size_of(s), PROT_READ) == 0;
}

static bool make_inaccessible(struct stage *s)
{
	return mmap_protect(s->mm, start_of(s), size_of(s), PROT_NONE) == 0;
}

static bool make_data(struct stage *s)
{
	return mmap_protect(s->mm, start_of(s), size_of(s), PROT_READ | PROT_WRITE) == 0;
}

/* A write by somebody who does not look: his own access would load the new translation. */
static bool write_fault(struct stage *s)
{
	return lab_fill(s->mm, s->at, PAGE_SIZE) && lab_pfn(s->mm, s->at) != s->pfn;
}

/* The split before it has flushed already, so only the generation tells of a second flush. */
static bool write_fault_without_block(struct stage *s)
{
	u64 gen = s->mm->tlb.gen;

	buddy_inject_fail(1, HPAGE_PMD_ORDER);
	return write_fault(s) && buddy_inject_fired == 1 && !lab_is_huge(s->mm, s->at) &&
	       s->mm->tlb.gen >= gen + 2;
}

static bool fork(struct stage *s)
{
	s->child = fork_mm(s->mm);
	return s->child;
}

static bool collapse(struct stage *s)
{
	return advise(s, huge_start(s), HPAGE_PMD_SIZE, MADV_COLLAPSE) && lab_is_huge(s->mm, s->at);
}

static bool move(struct stage *s)
{
	return mmap_remap(s->mm, start_of(s), size_of(s), size_of(s), MREMAP_MAYMOVE | MREMAP_FIXED,
		       LAB_ELSEWHERE) == (s64)LAB_ELSEWHERE;
}

static bool migrate(struct stage *s)
{
	struct page *head = pfn_head(lab_pfn(s->mm, s->at));

	return migrate_page_alone(head, 0, false) == MIGRATED_DONE &&
	       lab_pfn(s->mm, s->at) != s->pfn;
}

static bool make_free(struct stage *s)
{
	return advise(s, start_of(s), size_of(s), MADV_FREE);
}

/*
 * A split changes no translation, so nobody sees a flush that is missing until an entry of the new table
 * changes, and what changes it flushes. Here one is changed without: the split's own flush must have been
 * enough.
 */
static bool split_and_swap(struct stage *s)
{
	pmd_t *pmdp = pgtable_find_pmd(s->mm, s->at);
	pte_t *ptep;

	rwsem_write_lock(&s->mm->lock);
	spin_lock(&s->mm->pt_lock);
	thp_split_pmd(vma_find(s->mm, s->at), huge_start(s), pmdp);
	ptep = pte_ptr(pmd_read(pmdp), s->at);
	s->kept = pte_read(ptep);
	pte_write(ptep, pte_read(ptep + 1));
	spin_unlock(&s->mm->pt_lock);
	rwsem_write_unlock(&s->mm->lock);
	return true;
}

static void swap_back(struct stage *s)
{
	if (!s->kept.v)
		return;
	spin_lock(&s->mm->pt_lock);
	pte_write(pgtable_find_pte(s->mm, s->at), s->kept);
	tlb_flush(&s->mm->tlb, s->at, s->at + PAGE_SIZE, PAGE_SIZE, TLB_split);
	spin_unlock(&s->mm->pt_lock);
}

/* --- look again --------------------------------------------------------------------------------------- */

static bool is_denied(struct stage *s)
{
	u64 value = OLD;

	return !look(s, s->c->look, &value);
}

static bool is_zero(struct stage *s)
{
	u64 value = OLD;

	return look(s, LAB_READ, &value) && value == 0;
}

/* The page that is mapped now is marked through the kernel's own map. */
static bool is_new(struct stage *s)
{
	u64 value = 0;

	*lab_word(s->mm, s->at) = NEW;
	return look(s, LAB_READ, &value) && value == NEW;
}

/* A write must not reach what the child sees. */
static bool spares_the_child(struct stage *s)
{
	u64 value = NEW;

	return look(s, LAB_WRITE, &value) && *lab_word(s->child, s->at) == OLD;
}

static bool dirties(struct stage *s)
{
	u64 value = NEW;

	return look(s, LAB_WRITE, &value) && lab_leaf(s->mm, s->at) & PTE_D;
}

/* --- the cases ------------------------------------------------------------------------------------------- */

static const struct flush_case cases[] = {
	{"munmap", TLB_unmap, LAB_READ, false, have_page, unmap, is_denied},
	{"munmap, huge", TLB_unmap, LAB_READ, true, have_page, unmap, is_denied},
	{"MADV_DONTNEED", TLB_unmap, LAB_READ, false, have_page, dont_need, is_zero},
	{"MADV_DONTNEED, huge", TLB_unmap, LAB_READ, true, have_page, dont_need, is_zero},
	{"mprotect, read only", TLB_protect, LAB_WRITE, false, have_page, make_readonly, is_denied},
	{"mprotect, read only, huge", TLB_protect, LAB_WRITE, true, have_page, make_readonly,
		is_denied},
	{"mprotect, no access", TLB_protect, LAB_READ, false, have_page, make_inaccessible,
		is_denied},
	{"mprotect, no access, huge", TLB_protect, LAB_READ, true, have_page, make_inaccessible,
		is_denied},
	{"mprotect, no execution", TLB_protect, LAB_CALL, false, have_code, make_data, is_denied},
	{"mprotect, no execution, huge", TLB_protect, LAB_CALL, true, have_code, make_data,
		is_denied},
	{"copy on write", TLB_cow, LAB_READ, false, have_shared_page, write_fault, is_new},
	{"copy on write, huge", TLB_cow, LAB_READ, true, have_shared_page, write_fault, is_new},
	{"copy on write, no block", TLB_cow, LAB_READ, true, have_shared_page,
		write_fault_without_block, is_new},
	{"write to the zero page", TLB_cow, LAB_READ, false, have_zero_page, write_fault, is_new},
	{"write to the huge zero page", TLB_cow, LAB_READ, true, have_zero_page, write_fault,
		is_new},
	{"fork", TLB_fork, LAB_WRITE, false, have_page, fork, spares_the_child},
	{"fork, huge", TLB_fork, LAB_WRITE, true, have_page, fork, spares_the_child},
	{"split", TLB_split, LAB_READ, true, have_page, split_and_swap, is_new},
	{"collapse", TLB_collapse, LAB_READ, false, have_page, collapse, is_new},
	{"migration", TLB_migrate, LAB_READ, false, have_page, migrate, is_new},
	{"migration, huge", TLB_migrate, LAB_READ, true, have_page, migrate, is_new},
	{"migration, shared", TLB_migrate, LAB_READ, false, have_shared_page, migrate, is_new},
	{"mremap", TLB_move, LAB_READ, false, have_page, move, is_denied},
	{"mremap, huge", TLB_move, LAB_READ, true, have_page, move, is_denied},
	{"MADV_FREE", TLB_free, LAB_WRITE, false, have_page, make_free, dirties},
	{"MADV_FREE, huge", TLB_free, LAB_WRITE, true, have_page, make_free, dirties},
};

/* The case itself, by a thread of the lab with the space loaded. */
static void play(void *arg)
{
	struct stage *s = arg;
	u64 value = OLD, gen;
	bool acted;

	s->verdict = BROKEN;
	if (!s->c->prepare(s))
		return;
	s->pfn = lab_pfn(s->mm, s->at);
	if (!look(s, s->c->look, &value))
		return;
	gen = s->mm->tlb.gen;
	if (s->skip && s->remote)
		tlb_skip_remote = 1u << s->c->site;
	else if (s->skip)
		tlb_skip_local = 1u << s->c->site;
	acted = s->c->act(s);
	tlb_skip_local = tlb_skip_remote = 0;
	tlb_assert_flushed(&s->mm->tlb);
	if (acted && s->mm->tlb.gen > gen)
		s->verdict = s->c->fresh(s) ? FRESH : STALE;
	swap_back(s);
}

/*
 * Which page is looked at. Code of a huge page: the first one, because QEMU forgets where it may go on
 * executing only for the very page that INVLPG names (its cache of jumps), unlike a processor.
 */
static vaddr_t choose_page(const struct flush_case *c, u32 attempt)
{
	if (c->huge && c->look == LAB_CALL)
		return LAB_AREA;
	return LAB_AREA + (5 + 37 * attempt) % (HPAGE_PMD_NR - 1) * PAGE_SIZE;
}

/* Once, in a space of its own. */
static enum verdict play_once(const struct flush_case *c, bool remote, bool skip, u32 attempt)
{
	static struct stage s; /* static, as in all tests: a thread that is late still finds it */
	struct lab_thread thread;
	bool ready;

	s = (struct stage){.c = c, .remote = remote, .skip = skip, .verdict = BROKEN};
	s.at = choose_page(c, attempt);
	s.mm = lab_space();
	if (!s.mm)
		return BROKEN;
	ready = !remote || lab_eye_open(&s.eye, s.mm, 1);
	if (ready && lab_start(&thread, s.mm, 0, play, &s))
		lab_join(&thread);
	lab_eye_close(&s.eye);
	lab_space_end(s.child);
	lab_space_end(s.mm);
	return s.eye.lost ? BROKEN : s.verdict;
}

/* ATTEMPTS times: always fresh; or, with the flush left out, stale at least once. */
#define ATTEMPTS 8

static bool play_case(const struct flush_case *c, bool remote, bool skip)
{
	enum verdict v = FRESH;

	printk_quiet(true); /* an eye that is denied says so */
	for (u32 i = 0; i < (skip ? ATTEMPTS : 2) && v == FRESH; i++)
		v = play_once(c, remote, skip, i);
	printk_quiet(false);
	if (v == (skip ? STALE : FRESH))
		return true;
	printk("ktest: flush: %s, %s: %s", c->name, remote ? "another CPU" : "this CPU",
		v == BROKEN  ? "could not be played"
		: v == STALE ? "stale"
			     : "not noticed");
	return false;
}

static bool can_play(const struct flush_case *c, bool remote, bool skip)
{
	if (c->act == write_fault_without_block)
		return CONFIG_INJECT && !skip;
	return remote || c->look != LAB_CALL; /* SMEP: ring 0 executes nothing of ring 3's */
}

static void play_site(struct ktest_ctx *ctx, enum tlb_site site, bool remote, bool skip)
{
	struct thp_settings before = lab_begin();

	for (usize i = 0; i < ARRAY_SIZE(cases); i++)
		if (cases[i].site == site && can_play(&cases[i], remote, skip))
			KT_EXPECT(ctx, play_case(&cases[i], remote, skip));
	lab_end(ctx, &before);
}

/* --- the kernel's own mappings -------------------------------------------------------------------------- */

/* Somebody on another CPU who reads an address of the kernel each time he is told. */
struct reader {
	struct waitq gone;
	u64 request, answer;
	vaddr_t at;
	u64 value;
	bool stop, alive;
};

static void reader_thread(void *arg)
{
	struct reader *r = arg;

	while (!READ_ONCE(r->stop)) {
		if (__atomic_load_n(&r->request, __ATOMIC_ACQUIRE) != r->answer) {
			r->value = *(volatile u64 *)r->at;
			__atomic_store_n(&r->answer, r->request, __ATOMIC_RELEASE);
		}
		cpu_relax();
		preempt_point();
	}
	WRITE_ONCE(r->alive, false);
	waitq_wake_all(&r->gone);
}

static u64 read_kernel(struct reader *r, vaddr_t at)
{
	if (!r)
		return *(volatile u64 *)at;
	r->at = at;
	__atomic_add_fetch(&r->request, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&r->answer, __ATOMIC_ACQUIRE) != r->request) {
		cpu_relax();
		preempt_point();
	}
	return r->value;
}

static struct page *kernel_page(vaddr_t va)
{
	struct pt_walk w;

	pgtable_walk(phys_to_virt(tlb_kernel_root), va, &w);
	return w.kind == ENTRY_LEAF ? pfn_to_page(w.pa >> PAGE_SHIFT) : NULL;
}

/* A page of a stack goes away, another one comes to the same address. */
static enum verdict remap_kernel(struct reader *r, bool skip)
{
	vaddr_t va = vmap_alloc_stack(1), again;
	struct page *old = va ? kernel_page(va) : NULL, *hold;
	enum verdict v = BROKEN;

	if (!va)
		return BROKEN;
	*(u64 *)page_to_virt(old) = OLD;
	read_kernel(r, va);
	if (skip)
		*(r ? &tlb_skip_remote : &tlb_skip_local) = 1u << TLB_kernel;
	vmap_free_stack(va, 1);
	tlb_skip_local = tlb_skip_remote = 0;
	hold = buddy_alloc(0, MIGRATE_UNMOVABLE, PAGE_KERNEL, 0);
	again = vmap_alloc_stack(1);
	if (again == va && hold == old) {
		*(u64 *)page_to_virt(old) = OLD;
		*(u64 *)page_to_virt(kernel_page(va)) = NEW;
		v = read_kernel(r, va) == NEW ? FRESH : STALE;
	}
	if (again)
		vmap_free_stack(again, 1);
	if (hold)
		buddy_free(hold);
	return v;
}

struct kernel_play {
	bool skip;
	struct reader *reader;
	bool seen[BROKEN + 1];
};

/* On one CPU for good. What did not work out, because somebody else took a stack meanwhile, does not count. */
static void play_kernel(void *arg)
{
	struct kernel_play *p = arg;

	for (u32 i = 0; i < ATTEMPTS; i++)
		p->seen[remap_kernel(p->reader, p->skip)] = true;
}

static void play_kernel_site(struct ktest_ctx *ctx, bool remote, bool skip)
{
	static struct reader r;
	static struct kernel_play p;
	struct lab_thread thread;
	struct mm *mm = lab_space();
	struct thread *t;

	KT_REQUIRE(ctx, mm);
	p = (struct kernel_play){.skip = skip};
	if (remote) {
		r = (struct reader){.alive = true};
		waitq_init(&r.gone, "ktest");
		p.reader = &r;
		t = thread_create("ktest reader", reader_thread, &r, NULL, NULL);
		KT_REQUIRE(ctx, t);
		sched_start_on(t, 1);
	}
	KT_EXPECT(ctx, lab_start(&thread, mm, 0, play_kernel, &p));
	lab_join(&thread);
	if (remote) {
		WRITE_ONCE(r.stop, true);
		waitq_wait_until(&r.gone, !READ_ONCE(r.alive), time_ns() + LAB_LIMIT_NS, "ktest");
	}
	lab_space_end(mm);
	KT_EXPECT(ctx, p.seen[skip ? STALE : FRESH]);
	KT_EXPECT(ctx, skip || !p.seen[STALE]);
}

/* --- who is not in the space owes nothing ------------------------------------------------------------------ */

/*
 * A CPU that enters shows its bit before it has loaded CR3 and acknowledged. Whoever asserts in that moment that
 * a flush is over must not take it for one who was asked and did not answer.
 */
KTEST(flush, entering_is_not_owing)
{
	struct mm *mm = mm_create();
	struct tlb_space *s;
	u32 me = cpu_id();
	u64 flags;

	KT_REQUIRE(ctx, mm);
	s = &mm->tlb;
	flags = irq_save();
	mm_switch(mm);
	KT_EXPECT(ctx, s->acked[me] == s->gen);
	mm_switch(current_thread()->mm);
	irq_restore(flags);
	KT_EXPECT(ctx, s->cpus == 0 && s->acked[me] == TLB_NOTHING);
	s->gen++;
	s->cpus = 1u << me; /* the first step of entering */
	tlb_assert_flushed(s);
	s->cpus = 0;
	mm_drop_user(mm);
	mm_put(mm);
}

/* --- the table: each site, here and there, with its flush and without ------------------------------------- */

static void play_any(struct ktest_ctx *ctx, enum tlb_site site, bool remote, bool skip)
{
	if (remote && nr_cpus < 2)
		KT_SKIP(ctx, "one CPU");
	if (skip && !CONFIG_INJECT)
		KT_SKIP(ctx, "no injection in this build");
	if (!lab_has_memory(16 * HPAGE_PMD_SIZE))
		KT_SKIP(ctx, "too little memory");
	if (site == TLB_kernel)
		play_kernel_site(ctx, remote, skip);
	else
		play_site(ctx, site, remote, skip);
}

#define X(site)                                                                                    \
	KTEST(flush, site##_here)                                                                  \
	{                                                                                          \
		play_any(ctx, TLB_##site, false, false);                                           \
	}                                                                                          \
	KTEST(flush, site##_there)                                                                 \
	{                                                                                          \
		play_any(ctx, TLB_##site, true, false);                                            \
	}
TLB_SITES(X)
#undef X

#define X(site)                                                                                    \
	KTEST(flush_left_out, site##_here)                                                         \
	{                                                                                          \
		play_any(ctx, TLB_##site, false, true);                                            \
	}                                                                                          \
	KTEST(flush_left_out, site##_there)                                                        \
	{                                                                                          \
		play_any(ctx, TLB_##site, true, true);                                             \
	}
TLB_SITES(X)
#undef X
