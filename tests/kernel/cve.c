/*
 * cve.c - what went wrong in other kernels' memory, played here                               self-tests
 *
 * One scenario for each line of kernel/seeded.h that needs no particular moment; those that do are in cve_race.c, and
 * some are older than this file (the line names them). Each says after which report it was written. It must pass, and
 * must fail when the line's mistake is switched on: `make cve`, docs/cve.md.
 */
#include "khugepaged.h"
#include "lab.h"
#include "lib/string.h"
#include "mm/access.h"
#include "mm/buddy.h"
#include "mm/fork.h"
#include "mm/memory.h"
#include "mm/mmap.h"
#include "mm/pgtable.h"
#include "mm/zero.h"
#include "mutex.h"
#include "object.h"
#include "printk.h"
#include "spawn.h"
#include <abi/errno.h>

#define RW     (PROT_READ | PROT_WRITE)
#define INSIDE (LAB_AREA + 17 * PAGE_SIZE)

static int advise(struct mm *mm, vaddr_t addr, u64 len, int advice)
{
	u64 faults = 0;

	return mmap_advise(mm, addr, len, advice, &faults);
}

static bool write_word(struct mm *mm, vaddr_t addr, u64 value)
{
	return mm_write(mm, addr, &value, sizeof(value)) == sizeof(value);
}

static bool reads(struct mm *mm, vaddr_t addr, u64 expected)
{
	u64 value = ~expected;

	return mm_read(mm, addr, &value, sizeof(value)) == sizeof(value) && value == expected;
}

/* Each page holds its own address, less `shift`. */
static void mark(struct mm *mm, vaddr_t addr, u64 len)
{
	for (vaddr_t a = addr; a < addr + len; a += PAGE_SIZE)
		*lab_word(mm, a) = a;
}

static bool is_marked(struct mm *mm, vaddr_t addr, u64 len, u64 shift)
{
	for (vaddr_t a = addr; a < addr + len; a += PAGE_SIZE) {
		u64 *word = lab_word(mm, a + shift);

		if (!word || *word != a)
			return false;
	}
	return true;
}

static bool filled(struct mm *mm, vaddr_t addr, u64 len, bool huge)
{
	bool ok;

	thp_settings.enabled = huge ? THP_ALWAYS : THP_NEVER;
	ok = lab_area(mm, addr, len) && lab_fill(mm, addr, len) && lab_is_huge(mm, addr) == huge;
	thp_settings.enabled = THP_ALWAYS;
	if (ok)
		mark(mm, addr, len);
	return ok;
}

/* --- zero pages ------------------------------------------------------------------------------------ */

static void discard_huge(void *arg)
{
	lab_read(arg, LAB_AREA, PAGE_SIZE);
	advise(arg, LAB_AREA, HPAGE_PMD_SIZE, MADV_DONTNEED);
}

/* After CVE-2017-1000405: reads and writes from outside, while another thread brings the zero page back. */
KTEST(cve, huge_zero_page_is_never_written)
{
	struct thp_settings before = lab_begin();
	struct mm *mm = lab_space();
	struct lab_rival rival;
	bool ok = true;

	KT_REQUIRE(ctx, mm && lab_area(mm, LAB_AREA, HPAGE_PMD_SIZE));
	KT_EXPECT(ctx, lab_read(mm, LAB_AREA, PAGE_SIZE) && reads(mm, INSIDE, 0));
	KT_EXPECT(ctx, lab_pfn(mm, LAB_AREA) == zero_huge_pfn);
	KT_EXPECT(ctx, !(lab_leaf(mm, LAB_AREA) & (PTE_RW | PTE_D)));
	KT_EXPECT(ctx, write_word(mm, INSIDE, 0xbad));
	KT_EXPECT(ctx, lab_pfn(mm, LAB_AREA) != zero_huge_pfn && zero_check());
	KT_REQUIRE(ctx, lab_rival_go(&rival, mm, LAB_ANY_CPU, discard_huge, mm));
	for (u32 i = 0; i < 200 && ok; i++) {
		ok = reads(mm, INSIDE, 0) || reads(mm, INSIDE, 0xbad) || reads(mm, INSIDE, 0);
		ok &= write_word(mm, INSIDE, 0xbad);
		ok &= i % 50 || zero_check();
	}
	lab_rival_end(&rival);
	KT_EXPECT(ctx, ok && zero_check());
	lab_space_end(mm);
	lab_end(ctx, &before);
}

/* After CVE-2015-3288: memory of an object is never served by the zero frame, or who writes would write there. */
KTEST(cve, zero_page_is_for_anonymous_memory)
{
	struct thp_settings before = lab_begin();
	struct mm *mm = lab_space(), *other = lab_space();
	struct memory *m = memory_create(2 * PAGE_SIZE);

	KT_REQUIRE(ctx, mm && other && m);
	for (unsigned i = 0; i < 2; i++)
		KT_EXPECT(ctx, mmap_map_object(i ? other : mm, m, 0, LAB_AREA, 2 * PAGE_SIZE, RW,
				       MAP_FIXED | MAP_SHARED, true, "shared") == LAB_AREA);
	KT_EXPECT(ctx, lab_read(mm, LAB_AREA, 2 * PAGE_SIZE));
	KT_EXPECT(ctx, lab_pfn(mm, LAB_AREA) != zero_pfn && m->present == 2);
	KT_EXPECT(ctx, write_word(mm, LAB_AREA + 8, 5) && reads(other, LAB_AREA + 8, 5));
	KT_EXPECT(ctx, zero_check());
	lab_space_end(mm);
	lab_space_end(other);
	object_put(&m->object);
	lab_end(ctx, &before);
}

/* After CVE-2026-31397: moved, forked, protected, split, it is what it was, and counted once for each space. */
KTEST(cve, huge_zero_page_moves)
{
	struct thp_settings before = lab_begin();
	struct mm *mm = lab_space(), *child;
	vaddr_t at = LAB_ELSEWHERE;
	u32 refs;

	KT_REQUIRE(ctx, mm && lab_area(mm, LAB_AREA, HPAGE_PMD_SIZE));
	KT_EXPECT(ctx, lab_read(mm, LAB_AREA, PAGE_SIZE));
	refs = zero_huge_refs();
	KT_EXPECT(ctx, mmap_remap(mm, LAB_AREA, HPAGE_PMD_SIZE, HPAGE_PMD_SIZE,
			       MREMAP_MAYMOVE | MREMAP_FIXED, at) == (s64)at);
	KT_EXPECT(ctx, lab_is_huge(mm, at) && lab_pfn(mm, at) == zero_huge_pfn);
	KT_EXPECT(ctx, mm->nr_anon == 0 && zero_huge_refs() == refs && lab_healthy());
	child = fork_mm(mm);
	KT_REQUIRE(ctx, child);
	KT_EXPECT(ctx, lab_pfn(child, at) == zero_huge_pfn && zero_huge_refs() == refs + 1);
	KT_EXPECT(ctx, mmap_protect(mm, at, HPAGE_PMD_SIZE, PROT_NONE) == 0);
	KT_EXPECT(ctx, lab_pfn(mm, at) == zero_huge_pfn && lab_healthy());
	KT_EXPECT(ctx, mmap_protect(mm, at, HPAGE_PMD_SIZE, RW) == 0);
	KT_EXPECT(ctx,
		mmap_remap(mm, at, HPAGE_PMD_SIZE, HPAGE_PMD_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
			LAB_AREA + PAGE_SIZE) == LAB_AREA + PAGE_SIZE);
	KT_EXPECT(ctx, !lab_is_huge(mm, INSIDE) && lab_pfn(mm, INSIDE) == zero_pfn);
	KT_EXPECT(ctx, write_word(mm, INSIDE, 1) && reads(child, at, 0) && mm->nr_anon == 1);
	lab_space_end(child);
	KT_EXPECT(ctx, zero_huge_refs() == refs && zero_check());
	lab_space_end(mm);
	lab_end(ctx, &before);
}

/* --- who shares a page ----------------------------------------------------------------------------------- */

static void pin_then_write(struct ktest_ctx *ctx, bool huge)
{
	struct mm *mm = lab_space(), *child;
	struct page *pin;
	u64 *word;

	KT_REQUIRE(ctx, mm && filled(mm, LAB_AREA, HPAGE_PMD_SIZE, huge));
	child = fork_mm(mm);
	KT_REQUIRE(ctx, child);
	word = lab_word(child, INSIDE);
	pin = pfn_head(lab_pfn(child, INSIDE));
	page_get(pin); /* as somebody who copies it, or sends it */
	lab_space_end(child);
	KT_EXPECT(ctx, write_word(mm, INSIDE, 1) && reads(mm, INSIDE, 1));
	KT_EXPECT(ctx, *word == INSIDE);
	page_put(pin);
	lab_space_end(mm);
}

/* After CVE-2020-29374: the child read the page and is gone; who still holds it must not see what the parent writes. */
KTEST(cve, a_pin_sees_no_later_write)
{
	struct thp_settings before = lab_begin();

	pin_then_write(ctx, false);
	pin_then_write(ctx, true);
	lab_end(ctx, &before);
}

static void generations(struct ktest_ctx *ctx, bool huge)
{
	struct mm *first = lab_space(), *second, *third, *other = lab_space();
	u64 len = HPAGE_PMD_SIZE;

	KT_REQUIRE(ctx, first && other && filled(first, LAB_AREA, len, huge));
	second = fork_mm(first);
	KT_REQUIRE(ctx, second);
	third = fork_mm(second);
	KT_REQUIRE(ctx, third);
	KT_EXPECT(ctx, lab_healthy());
	for (vaddr_t a = LAB_AREA; a < LAB_AREA + len; a += PAGE_SIZE)
		KT_EXPECT(ctx, write_word(second, a, 2));
	KT_EXPECT(ctx, lab_healthy());
	lab_space_end(first);
	KT_EXPECT(
		ctx, filled(other, LAB_AREA, len, huge) && filled(other, LAB_ELSEWHERE, len, huge));
	KT_EXPECT(ctx, is_marked(third, LAB_AREA, len, 0) && lab_healthy());
	lab_space_end(other);
	lab_space_end(second);
	KT_EXPECT(ctx, is_marked(third, LAB_AREA, len, 0));
	lab_space_end(third);
}

/* After FreeBSD's advisory: the one in the middle writes, the first one ends, the third one still has its pages. */
KTEST(cve, three_generations)
{
	struct thp_settings before = lab_begin();

	generations(ctx, false);
	generations(ctx, true);
	lab_end(ctx, &before);
}

#define SPACES 6
#define STEPS  40

static u64 random_below(u64 *state, u64 n)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state % n;
}

/* One more of the family, or one less, or a change in one of them. */
static void change_family(struct mm **mm, u64 *state)
{
	unsigned who = random_below(state, SPACES), from = random_below(state, SPACES);
	vaddr_t at = LAB_AREA + random_below(state, HPAGE_PMD_NR) * PAGE_SIZE;

	if (!mm[who]) {
		mm[who] = mm[from] ? fork_mm(mm[from]) : NULL;
		return;
	}
	switch (random_below(state, 6)) {
	case 0:
		if (who) {
			lab_space_end(mm[who]);
			mm[who] = NULL;
		}
		break;
	case 1:
		mmap_unmap(mm[who], at, 3 * PAGE_SIZE);
		break;
	case 2:
		mmap_remap(mm[who], at, PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
			LAB_ELSEWHERE + (at - LAB_AREA));
		break;
	default:
		write_word(mm[who], at, who);
	}
}

/* After CVE-2022-42703: families of areas grow and shrink at random; after each step every page names a living one. */
KTEST(cve, families_at_random)
{
	struct thp_settings before = lab_begin();
	struct mm *mm[SPACES] = {lab_space()};
	u64 state = 0x9e3779b97f4a7c15ul;
	bool ok = true;

	KT_REQUIRE(ctx, mm[0] && filled(mm[0], LAB_AREA, HPAGE_PMD_SIZE, true));
	for (u32 i = 0; i < STEPS && ok; i++) {
		change_family(mm, &state);
		ok = lab_healthy();
	}
	KT_EXPECT(ctx, ok);
	for (u32 i = 1; i < SPACES; i++)
		lab_space_end(mm[i]);
	KT_EXPECT(ctx, mmap_unmap(mm[0], LAB_AREA, HPAGE_PMD_SIZE) == 0);
	KT_EXPECT(ctx, mmap_unmap(mm[0], LAB_ELSEWHERE, HPAGE_PMD_SIZE) == 0);
	KT_EXPECT(ctx, mm[0]->nr_anon == 0 && lab_healthy());
	lab_space_end(mm[0]);
	lab_end(ctx, &before);
}

/* --- frames that change hands -------------------------------------------------------------------------------- */

static void give_away(struct ktest_ctx *ctx, bool huge)
{
	struct mm *mm = lab_space();
	u64 bytes = huge ? HPAGE_PMD_SIZE : PAGE_SIZE, value = 7, *word;
	struct memory *m = memory_create(bytes);
	struct lab_eye eye;

	KT_REQUIRE(ctx, mm && m && filled(mm, LAB_AREA, bytes, huge));
	KT_REQUIRE(ctx, lab_eye_open(&eye, mm, 1));
	KT_EXPECT(ctx, lab_eye_look(&eye, LAB_WRITE, LAB_AREA, &value));
	word = lab_word(mm, LAB_AREA);
	KT_EXPECT(ctx, memory_supply(m, 0, bytes, mm, LAB_AREA) == 0);
	value = 0xbad;
	KT_EXPECT(ctx, lab_eye_look(&eye, LAB_WRITE, LAB_AREA, &value));
	KT_EXPECT(ctx, *word == 7 && reads(mm, LAB_AREA, 0xbad));
	lab_eye_close(&eye);
	lab_space_end(mm);
	object_put(&m->object);
}

/* After CVE-2022-48991: a pager gives a frame away, and its other thread, which has written there, goes on writing. */
KTEST(cve, a_pager_forgets_what_it_gave)
{
	struct thp_settings before;

	if (nr_cpus < 2)
		KT_SKIP(ctx, "one CPU");
	before = lab_begin();
	give_away(ctx, false);
	give_away(ctx, true);
	lab_end(ctx, &before);
}

/* --- what an entry is ---------------------------------------------------------------------------------------- */

#define REGIONS 5

struct region {
	vaddr_t at;
	bool huge, zero;
	int prot;
};

static bool region_make(struct mm *mm, const struct region *r)
{
	bool ok = r->zero ? lab_area(mm, r->at, HPAGE_PMD_SIZE) && lab_read(mm, r->at, PAGE_SIZE)
			  : filled(mm, r->at, HPAGE_PMD_SIZE, r->huge);

	return ok && mmap_protect(mm, r->at, HPAGE_PMD_SIZE, r->prot) == 0;
}

/* What it holds, `shift` behind where it was made. */
static bool region_holds(struct mm *mm, const struct region *r, u64 shift)
{
	if (!r->zero)
		return is_marked(mm, r->at, HPAGE_PMD_SIZE, shift);
	for (vaddr_t a = r->at; a < r->at + HPAGE_PMD_SIZE; a += PAGE_SIZE)
		if (*lab_word(mm, a + shift) != 0)
			return false;
	return true;
}

/* There and back; an odd way there splits what is huge. */
static bool region_moves(struct mm *mm, const struct region *r, u64 shift)
{
	vaddr_t to = r->at + shift;
	u64 len = HPAGE_PMD_SIZE;
	bool ok = mmap_remap(mm, r->at, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to) == (s64)to &&
		  region_holds(mm, r, shift) && lab_healthy();

	return ok &&
	       mmap_remap(mm, to, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, r->at) == (s64)r->at &&
	       region_holds(mm, r, 0);
}

static bool region_changes(struct mm *mm, const struct region *r)
{
	vaddr_t one = r->at + 100 * PAGE_SIZE;

	return mmap_protect(mm, r->at, HPAGE_PMD_SIZE, PROT_NONE) == 0 && region_holds(mm, r, 0) &&
	       mmap_protect(mm, r->at, HPAGE_PMD_SIZE, RW) == 0 &&
	       reads(mm, one, r->zero ? 0 : one) &&
	       advise(mm, one, PAGE_SIZE, MADV_DONTNEED) == 0 && reads(mm, one, 0) &&
	       reads(mm, one + PAGE_SIZE, r->zero ? 0 : one + PAGE_SIZE);
}

/* After CVE-2020-10757: every verb over every kind of entry, those without access among them. */
KTEST(cve, verbs_over_a_mixture)
{
	static const struct region regions[REGIONS] = {
		{LAB_AREA, true, false, RW},
		{LAB_AREA + 0x400000, true, true, RW},
		{LAB_AREA + 0x800000, true, false, PROT_NONE},
		{LAB_AREA + 0xc00000, false, false, RW},
		{LAB_AREA + 0x1000000, false, false, PROT_NONE},
	};
	struct thp_settings before = lab_begin();
	struct mm *mm = lab_space();

	KT_REQUIRE(ctx, mm);
	for (unsigned i = 0; i < REGIONS; i++) {
		const struct region *r = &regions[i];

		KT_EXPECT(ctx, region_make(mm, r) && region_holds(mm, r, 0));
		KT_EXPECT(ctx, region_moves(mm, r, LAB_ELSEWHERE - LAB_AREA));
		KT_EXPECT(ctx, region_moves(mm, r, LAB_ELSEWHERE - LAB_AREA + 5 * PAGE_SIZE));
		KT_EXPECT(ctx, region_changes(mm, r) && lab_healthy());
	}
	lab_space_end(mm);
	lab_end(ctx, &before);
}

/* An entry that is not present: is the number in it one of a frame of memory? */
static bool names_no_frame(u64 entry)
{
	return !(entry & PTE_P) && (entry & PTE_ADDR) >> PAGE_SHIFT >= page_max_pfn;
}

/* After CVE-2018-3620: what a processor might follow although the entry is not present. */
KTEST(cve, absent_entries_name_no_frame)
{
	struct thp_settings before = lab_begin();
	struct mm *mm = lab_space();
	u64 len = HPAGE_PMD_SIZE;
	bool ok = true;

	KT_REQUIRE(ctx,
		mm && filled(mm, LAB_AREA, len, true) && filled(mm, LAB_ELSEWHERE, len, false));
	KT_EXPECT(ctx, mmap_protect(mm, LAB_AREA, len, PROT_NONE) == 0);
	KT_EXPECT(ctx, lab_is_huge(mm, LAB_AREA) && names_no_frame(lab_leaf(mm, LAB_AREA)));
	KT_EXPECT(ctx, mmap_protect(mm, LAB_AREA, PAGE_SIZE, PROT_READ) == 0); /* splits it */
	KT_EXPECT(ctx, mmap_protect(mm, LAB_ELSEWHERE, len, PROT_NONE) == 0);
	for (vaddr_t a = PAGE_SIZE; a < len; a += PAGE_SIZE)
		ok &= names_no_frame(lab_leaf(mm, LAB_AREA + a)) &&
		      names_no_frame(lab_leaf(mm, LAB_ELSEWHERE + a));
	KT_EXPECT(
		ctx, ok && is_marked(mm, LAB_AREA, len, 0) && is_marked(mm, LAB_ELSEWHERE, len, 0));
	lab_space_end(mm);
	lab_end(ctx, &before);
}

/* --- areas under construction ----------------------------------------------------------------------------------- */

/* After CVE-2011-0999: the stack of a program that is being started. */
KTEST(cve, no_huge_page_in_a_stack)
{
	struct thp_settings before = lab_begin();
	struct mm *mm = lab_space();
	u64 len = 2 * HPAGE_PMD_SIZE;

	KT_REQUIRE(ctx, mm && mmap_map_named(mm, LAB_AREA, len, RW, VM_STACK | VM_GROWSDOWN,
				      "[stack]") == 0);
	KT_EXPECT(ctx, lab_read(mm, LAB_AREA, PAGE_SIZE) && !lab_is_huge(mm, LAB_AREA));
	KT_EXPECT(ctx, lab_fill(mm, LAB_AREA, len) && !lab_is_huge(mm, LAB_AREA));
	KT_EXPECT(ctx, advise(mm, LAB_AREA, len, MADV_COLLAPSE) == -EINVAL);
	khugepaged_scan_now();
	KT_EXPECT(ctx, !lab_is_huge(mm, LAB_AREA) && !lab_is_huge(mm, LAB_AREA + HPAGE_PMD_SIZE));
	lab_space_end(mm);
	lab_end(ctx, &before);
}

/* The same with programs, and khugepaged at full speed beside them. */
KTEST(cve, programs_start_beside_khugepaged)
{
	char *argv[] = {"abi", "exit", "0"};
	struct thp_settings before;
	struct task *t;
	int err = spawn_program(3, argv, true, &t);

	if (err)
		KT_SKIP(ctx, "no servers");
	KT_EXPECT(ctx, task_wait(t) == 0);
	before = lab_begin();
	thp_settings.pages_to_scan = 1000000;
	thp_settings.scan_sleep_millisecs = 0;
	khugepaged_wake();
	for (u32 i = 0; i < 8; i++)
		KT_EXPECT(ctx, spawn_program(3, argv, true, &t) == 0 && task_wait(t) == 0);
	lab_end(ctx, &before);
}

/* --- what one task leaves behind --------------------------------------------------------------------------------- */

#define PUT_XMM0 0  /* in the page of code: the value into a register */
#define GET_XMM0 64 /* and out of it */

/* movq %rdx, %xmm0; ret      movq %xmm0, %rdx; ret */
static const u8 put_xmm0[] = {0x66, 0x48, 0x0f, 0x6e, 0xc2, 0xc3};
static const u8 get_xmm0[] = {0x66, 0x48, 0x0f, 0x7e, 0xc2, 0xc3};

/* An eye in a space of its own, on the last CPU, with those two functions. */
static struct mm *tagger_open(struct lab_eye *eye)
{
	struct mm *mm = lab_space();

	if (!mm || !filled(mm, LAB_AREA, PAGE_SIZE, false))
		return mm;
	memcpy((u8 *)lab_word(mm, LAB_AREA) + PUT_XMM0, put_xmm0, sizeof(put_xmm0));
	memcpy((u8 *)lab_word(mm, LAB_AREA) + GET_XMM0, get_xmm0, sizeof(get_xmm0));
	if (mmap_protect(mm, LAB_AREA, PAGE_SIZE, PROT_READ | PROT_EXEC) == 0)
		lab_eye_open(eye, mm, nr_cpus - 1);
	return mm;
}

static bool puts_tag(struct lab_eye *eye, u64 tag)
{
	return eye->words && lab_eye_look(eye, LAB_CALL, LAB_AREA + PUT_XMM0, &tag);
}

static bool has_tag(struct lab_eye *eye, u64 tag)
{
	u64 value = ~tag;

	return eye->words && lab_eye_look(eye, LAB_CALL, LAB_AREA + GET_XMM0, &value) &&
	       value == tag;
}

static bool all_zero(struct mm *mm, vaddr_t addr, u64 len)
{
	for (vaddr_t a = addr; a < addr + len; a += PAGE_SIZE)
		for (u64 *word = lab_word(mm, a), i = 0; i < PAGE_SIZE / sizeof(u64); i++)
			if (word[i])
				return false;
	return true;
}

/* Memory that was somebody's is all zero for the next one. */
static bool memory_is_fresh(bool huge)
{
	struct mm *mm = lab_space(), *next = lab_space();
	u64 len = HPAGE_PMD_SIZE;
	bool ok = mm && next && filled(mm, LAB_AREA, len, huge);

	for (vaddr_t a = LAB_AREA; ok && a < LAB_AREA + len; a += PAGE_SIZE)
		memset(lab_word(mm, a), 0x5a, PAGE_SIZE);
	lab_space_end(mm);
	thp_settings.enabled = huge ? THP_ALWAYS : THP_NEVER;
	ok = ok && lab_area(next, LAB_AREA, len) && lab_fill(next, LAB_AREA, len) &&
	     all_zero(next, LAB_AREA, len);
	lab_space_end(next);
	return ok;
}

/* After CVE-2018-3665: registers and memory of one task are never another's. */
KTEST(cve, nothing_is_left_behind)
{
	struct thp_settings before = lab_begin();
	struct lab_eye eye[3] = {0};
	struct mm *mm[3];

	mm[0] = tagger_open(&eye[0]);
	mm[1] = tagger_open(&eye[1]);
	for (u64 i = 1; i < 4; i++) {
		KT_EXPECT(ctx, puts_tag(&eye[0], i) && puts_tag(&eye[1], 100 * i));
		KT_EXPECT(ctx, has_tag(&eye[0], i) && has_tag(&eye[1], 100 * i));
	}
	mm[2] = tagger_open(&eye[2]);
	KT_EXPECT(ctx, has_tag(&eye[2], 0));
	for (u32 i = 0; i < 3; i++) {
		lab_eye_close(&eye[i]);
		lab_space_end(mm[i]);
	}
	KT_EXPECT(ctx, memory_is_fresh(false) && memory_is_fresh(true));
	lab_end(ctx, &before);
}

/* Is any level above this address open to ring 3? */
static bool is_open(struct mm *mm, vaddr_t addr)
{
	struct pt_walk w;

	pgtable_walk(mm->pgd, addr, &w);
	return w.entry[0] & PTE_US || w.rights & PTE_US;
}

/* After CVE-2017-5754: the emulator has no side channel to show, so this looks at the rights, and tries them. */
KTEST(cve, ring_3_reaches_no_kernel_page)
{
	vaddr_t places[] = {(vaddr_t)put_xmm0, (vaddr_t)&thp_settings,
		(vaddr_t)phys_to_virt(2ul << 20), PAGE_ARRAY_BASE,
		(vaddr_t)__builtin_frame_address(0)};
	struct thp_settings before = lab_begin();

	printk_quiet(true);
	for (u32 i = 0; i < ARRAY_SIZE(places); i++) {
		struct mm *mm = lab_space();
		struct lab_eye eye;
		u64 value = 0;

		KT_REQUIRE(ctx, mm && lab_eye_open(&eye, mm, LAB_ANY_CPU));
		KT_EXPECT(ctx, !is_open(mm, places[i]) && pgtable_check(mm));
		KT_EXPECT(ctx, !lab_eye_look(&eye, LAB_READ, places[i], &value) && !eye.lost);
		lab_eye_close(&eye);
		lab_space_end(mm);
	}
	printk_quiet(false);
	KT_EXPECT(ctx, pgtable_check_kernel());
	lab_end(ctx, &before);
}
