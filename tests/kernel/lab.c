/*
 * lab.c - what tests of address spaces share                                              self-tests
 *
 * LOCKS     none held by callers; everything here may sleep.
 */
#include "lab.h"

#include "khugepaged.h"
#include "lib/string.h"
#include "mm/buddy.h"
#include "mm/gigapage.h"
#include "mm/huge_pud.h"
#include "mm/numa.h"
#include "mm/fault.h"
#include "mm/kmalloc.h"
#include "mm/lru.h"
#include "mm/memory.h"
#include "mm/migrate.h"
#include "mm/mmap.h"
#include "mm/pgtable.h"
#include "mm/rmap.h"
#include "mm/uaccess.h"
#include "mm/vma.h"
#include "mm/zero.h"
#include "numad.h"
#include "printk.h"
#include "seeded.h"
#include "vmstat.h"
#include "x86/switch.h"
#include "x86/timer.h"

/* --- settings and health --------------------------------------------------------------------- */

/* What a test found. One that was left early has not put it back: the next one does. */
static struct {
	bool under_way, balancing;
	struct thp_settings thp;
} found;

struct thp_settings lab_begin(void)
{
	if (!found.under_way) {
		found.thp = thp_settings;
		found.balancing = numa_settings.balancing;
		found.under_way = true;
	}
	thp_settings = (struct thp_settings){
		.enabled = THP_ALWAYS,
		.defrag = DEFRAG_MADVISE,
		.use_zero_page = true,
		.shrink_underused = true,
		.cow = COW_COPY,
		.khugepaged_defrag = true,
		.pages_to_scan = 0,
		.scan_sleep_millisecs = 1000000,
		.alloc_sleep_millisecs = 1000000,
		.max_ptes_none = HPAGE_PMD_NR - 1,
		.max_ptes_swap = HPAGE_PMD_NR / 8,
		.max_ptes_shared = HPAGE_PMD_NR / 2,
	};
	khugepaged_scan_now(); /* a turn that was under way with the old settings is over */
	numa_settings.balancing = false;
	return found.thp;
}

struct health {
	bool ok;
};

static bool space_ok(struct mm *mm, void *arg)
{
	struct health *h = arg;

	h->ok &= pgtable_check(mm) && vma_check(mm);
	return true;
}

static void look_at_everything(void *arg)
{
	struct health *h = arg;

	h->ok = buddy_check() && lru_check() && kmalloc_check() && zero_check() && rmap_check() &&
		thp_check() && migrate_check() && gigapage_check() && huge_pud_check() &&
		memory_check();
	mm_for_each(space_ok, h);
}

bool lab_healthy(void)
{
	struct health h;

	sched_stop_others(look_at_everything, &h);
	return h.ok;
}

void lab_end(struct ktest_ctx *ctx, const struct thp_settings *before)
{
	buddy_inject_fail(0, -1);
	seeded_meet(NULL, NULL);
	tlb_skip_local = tlb_skip_remote = 0;
	KT_EXPECT(ctx, lab_healthy());
	thp_settings = *before;
	numa_settings.balancing = found.balancing;
	found.under_way = false;
	numad_wake(); /* with balancing off it waits for just this */
	khugepaged_wake();
}

bool lab_has_memory(u64 bytes)
{
	return buddy_free_pages() << PAGE_SHIFT > 2 * bytes;
}

/* Blocks of its handle table, which doubles when more programs live at once than ever before; small ones are slabs. */
static u64 handle_pages(const struct task *t)
{
	u64 bytes = READ_ONCE(t->handles.nr) * sizeof(struct handle), pages = 1;

	if (bytes <= PAGE_SIZE / 2)
		return 0;
	while (pages * PAGE_SIZE < bytes)
		pages *= 2;
	return pages;
}

/* What a server keeps for itself is its own affair: linux touches its tables by number page by page. */
static bool add_server(struct task *t, void *ctx)
{
	if (t->essential && t->mm)
		*(u64 *)ctx +=
			READ_ONCE(t->mm->nr_anon) + READ_ONCE(t->mm->nr_tables) + handle_pages(t);
	return true;
}

static void count_frames(void *arg)
{
	u64 servers = 0;

	zero_huge_shrink();
	task_for_each(add_server, &servers);
	*(u64 *)arg = zone_managed_pages() - buddy_free_pages() -
		      vmstat_read(VM_nr_slab_unreclaimable) - READ_ONCE(pgtable_kernel_added) -
		      servers;
}

static u64 frames_exactly(void)
{
	u64 frames;

	sched_stop_others(count_frames, &frames); /* nobody has frames in his hand */
	return frames;
}

u64 lab_frames_used(void)
{
	u64 frames, before;

	do {
		before = frames_exactly();
		sched_sleep_until(time_ns() + 5 * NS_PER_MS);
		frames = frames_exactly();
	} while (frames != before);
	return frames;
}

bool lab_frames_back(u64 used)
{
	u64 deadline = time_ns() + LAB_LIMIT_NS / 10, frames;

	count_frames(&frames); /* a good guess, and nearly always right */
	while (frames != used && time_ns() < deadline) {
		sched_sleep_until(time_ns() + NS_PER_MS);
		frames = frames_exactly();
	}
	if (frames != used)
		printk("ktest: %ld frames more than before are in use", (s64)(frames - used));
	return frames == used;
}

struct lab_race lab_race_begin(u64 most, u64 ns)
{
	return (struct lab_race){
		.most = most, .least = MAX(most / 100, 1ul), .begin = time_ns(), .ns = ns};
}

bool lab_race_goes_on(const struct lab_race *race, u64 done)
{
	u64 past = time_ns() - race->begin;

	if (done < race->least)
		return past < LAB_LIMIT_NS;
	return done < race->most && past < race->ns;
}

/* --- spaces ------------------------------------------------------------------------------------ */

#define MMAP_BASE 0x7f0000000000ul
#define BRK_START 0x20000000ul

struct mm *lab_space(void)
{
	struct mm *mm = mm_create();

	if (mm) {
		mm->stack_top = USER_END;
		mm->mmap_base = MMAP_BASE;
		mm->brk_start = mm->brk = BRK_START;
	}
	return mm;
}

void lab_space_end(struct mm *mm)
{
	if (mm && mm_drop_user(mm)) {
		mmap_exit(mm);
		mm_put(mm);
	}
}

bool lab_area(struct mm *mm, vaddr_t addr, u64 len)
{
	return mmap_map_named(mm, addr, len, PROT_READ | PROT_WRITE, 0, "lab") == 0;
}

static bool populate(struct mm *mm, vaddr_t addr, u64 len, int advice)
{
	u64 faults = 0;

	return mmap_advise(mm, addr, len, advice, &faults) == 0;
}

bool lab_fill(struct mm *mm, vaddr_t addr, u64 len)
{
	return populate(mm, addr, len, MADV_POPULATE_WRITE);
}

bool lab_read(struct mm *mm, vaddr_t addr, u64 len)
{
	return populate(mm, addr, len, MADV_POPULATE_READ);
}

static bool walk_to(struct mm *mm, vaddr_t addr, struct pt_walk *w)
{
	pgtable_walk(mm->pgd, addr, w);
	return w->kind == ENTRY_LEAF;
}

u64 lab_leaf(struct mm *mm, vaddr_t addr)
{
	struct pt_walk w;

	return walk_to(mm, addr, &w) ? w.entry[w.levels - 1] : 0;
}

bool lab_is_huge(struct mm *mm, vaddr_t addr)
{
	struct pt_walk w;

	return walk_to(mm, addr, &w) && w.size == HPAGE_PMD_SIZE;
}

pfn_t lab_pfn(struct mm *mm, vaddr_t addr)
{
	struct pt_walk w;

	return walk_to(mm, addr, &w) ? w.pa >> PAGE_SHIFT : 0;
}

u64 *lab_word(struct mm *mm, vaddr_t addr)
{
	struct pt_walk w;

	return walk_to(mm, addr, &w) ? phys_to_virt(w.pa) : NULL;
}

/* --- threads ------------------------------------------------------------------------------------- */

static void thread_enter(void *arg)
{
	struct lab_thread *t = arg;

	t->fn(t->arg);
	task_exit(0);
}

bool lab_start(struct lab_thread *t, struct mm *mm, u32 cpu, void (*fn)(void *), void *arg)
{
	struct thread *th;

	t->fn = fn;
	t->arg = arg;
	t->task = NULL;
	if (!mm_get_user(mm))
		return false;
	t->task = task_create_empty(mm, NULL, NULL, NULL);
	if (!t->task) {
		mm_drop_user(mm); /* not the last: the caller's is there */
		return false;
	}
	strscpy(t->task->name, "lab", sizeof(t->task->name));
	if (task_add_thread(t->task, thread_enter, t, &th)) {
		task_kill(t->task, 0); /* it has no thread: it ends here and now */
		task_put(t->task);
		t->task = NULL;
		return false;
	}
	th->tid = t->task->pid;
	if (cpu == LAB_ANY_CPU)
		(void)task_start_thread(th);
	else
		sched_start_on(th, cpu);
	object_put(&th->object);
	return true;
}

int lab_join(struct lab_thread *t)
{
	int status = t->task ? task_wait(t->task) : 0;

	t->task = NULL;
	return status;
}

static void rival_run(void *arg)
{
	struct lab_rival *r = arg;

	while (!READ_ONCE(r->stop)) {
		r->fn(r->arg);
		r->rounds++;
		preempt_point();
	}
}

bool lab_rival_go(struct lab_rival *r, struct mm *mm, u32 cpu, void (*fn)(void *), void *arg)
{
	*r = (struct lab_rival){.fn = fn, .arg = arg};
	return lab_start(&r->thread, mm, cpu, rival_run, r);
}

void lab_rival_end(struct lab_rival *r)
{
	WRITE_ONCE(r->stop, true);
	lab_join(&r->thread);
}

static bool window_is_open(void *ctx)
{
	(void)ctx;
	return seeded_is_open();
}

bool lab_await_window(void)
{
	return CONFIG_SEEDED && READ_ONCE(seeded_bug) && lab_await(window_is_open, NULL);
}

bool lab_await(bool (*fn)(void *ctx), void *ctx)
{
	u64 deadline = time_ns() + SEEDED_LIMIT_NS;

	while (!fn(ctx)) {
		if (time_ns() > deadline)
			return false;
		preempt_point(); /* he may want this very CPU */
	}
	return true;
}

/* --- the eye ---------------------------------------------------------------------------------------- */

/*
 * Its page of words, at the start of two pages; the second one is its code:
 *
 *   0  request   8  answer   16  what to do (enum lab_look)   24  the address   32  the value
 *
 * The program spins until request is not answer. Spinning touches this page and its code only, so what the
 * processor remembers of the probed page is what the last look left there.
 */
enum eye_word {
	EYE_REQUEST,
	EYE_ANSWER,
	EYE_LOOK,
	EYE_ADDRESS,
	EYE_VALUE
};
#define EYE_WORDS 0x10000000ul
#define EYE_CODE  (EYE_WORDS + PAGE_SIZE)

extern const u8 lab_eye_code[], lab_eye_code_end[];

asm(".pushsection .rodata\n"
    "lab_eye_code:\n"
    "1:	pause\n"
    "	movq (%rdi), %rax\n"
    "	cmpq 8(%rdi), %rax\n"
    "	je 1b\n"
    "	movq 24(%rdi), %rsi\n"
    "	movq 32(%rdi), %rdx\n"
    "	movq 16(%rdi), %rcx\n"
    "	testq %rcx, %rcx\n"
    "	jnz 2f\n"
    "	movq (%rsi), %rdx\n"
    "	jmp 4f\n"
    "2:	decq %rcx\n"
    "	jnz 3f\n"
    "	movq %rdx, (%rsi)\n"
    "	jmp 4f\n"
    "3:	callq *%rsi\n"
    "4:	movq %rdx, 32(%rdi)\n"
    "	movq %rax, 8(%rdi)\n"
    "	jmp 1b\n"
    "lab_eye_code_end:\n"
    ".popsection\n");

static void eye_enter(void *arg)
{
	struct regs *regs = current_thread()->user_regs;

	user_regs_init(regs, EYE_CODE, EYE_CODE - 64); /* its stack: the end of the page of words */
	regs->rdi = EYE_WORDS;
	sched_enter_user(regs);
}

/* The two pages. A fork must leave them alone: we write to them behind the space's back. */
static bool eye_map(struct lab_eye *eye, struct mm *mm)
{
	enum thp_enabled enabled = thp_settings.enabled;
	bool ok;

	thp_settings.enabled = THP_NEVER;
	ok = mmap_map_named(mm, EYE_WORDS, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, VM_DONTFORK,
		     "eye") == 0 &&
	     lab_fill(mm, EYE_WORDS, 2 * PAGE_SIZE);
	thp_settings.enabled = enabled;
	if (!ok)
		return false;
	memcpy(lab_word(mm, EYE_CODE), lab_eye_code, lab_eye_code_end - lab_eye_code);
	eye->words = lab_word(mm, EYE_WORDS);
	return mmap_protect(mm, EYE_CODE, PAGE_SIZE, PROT_READ | PROT_EXEC) == 0;
}

bool lab_eye_open(struct lab_eye *eye, struct mm *mm, u32 cpu)
{
	u64 value = 0;

	*eye = (struct lab_eye){0};
	return eye_map(eye, mm) && lab_start(&eye->thread, mm, cpu, eye_enter, NULL) &&
	       lab_eye_look(eye, LAB_READ, EYE_WORDS, &value);
}

/* True: it answered. False: it is dead, or the time is up. */
static bool eye_wait(struct lab_eye *eye)
{
	u64 deadline = time_ns() + LAB_LIMIT_NS;

	while (eye->words[EYE_ANSWER] != eye->words[EYE_REQUEST]) {
		if (READ_ONCE(eye->thread.task->state) == TASK_ENDED)
			return false;
		if (time_ns() > deadline) {
			eye->lost = true;
			return false;
		}
		cpu_relax();
		preempt_point();
	}
	return true;
}

bool lab_eye_look(struct lab_eye *eye, enum lab_look look, vaddr_t addr, u64 *value)
{
	eye->words[EYE_LOOK] = look;
	eye->words[EYE_ADDRESS] = addr;
	eye->words[EYE_VALUE] = *value;
	eye->words[EYE_REQUEST]++;
	if (!eye_wait(eye))
		return false;
	*value = eye->words[EYE_VALUE];
	return true;
}

void lab_eye_close(struct lab_eye *eye)
{
	if (!eye->thread.task)
		return;
	task_kill(eye->thread.task, LAB_KILLED);
	lab_join(&eye->thread);
}

bool lab_look_here(enum lab_look look, vaddr_t addr, u64 *value)
{
	if (look == LAB_READ)
		return copy_from_user(value, (const void __user *)addr, sizeof(*value)) == 0;
	return copy_to_user((void __user *)addr, value, sizeof(*value)) == 0;
}
