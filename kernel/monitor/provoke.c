/*
 * provoke.c - panic, in as many ways as the kernel can notice a bug                        floor 7
 *
 * Each kind makes one mistake on purpose, and the panic record must name it: so the guards are tested
 * that nobody hopes to meet. There is no way back from here.
 *
 * LOCKS     none but those it misuses.
 * LINUX     drivers/misc/lkdtm/.
 */
#include "lib/list.h"
#include "lib/string.h"
#include "monitor/command.h"
#include "panic.h"
#include "sync.h"

extern char __text_start[], __rodata_start[]; /* linker.ld */

/* What the compiler must not know. */
static volatile usize zero;
static u8 data[16] = {0xc3}; /* RET, but not in executable memory */

static void write_null(void)
{
	*(volatile u64 *)zero = 1;
}

static void write_text(void)
{
	*(volatile u8 *)(__text_start + zero) = 1;
}

static void write_rodata(void)
{
	*(volatile u8 *)(__rodata_start + zero) = 1;
}

static void execute_data(void)
{
	((void (*)(void))((vaddr_t)data + zero))();
}

static void call_null(void)
{
	((void (*)(void))zero)();
}

static void not_canonical(void)
{
	*(volatile u64 *)(0x8000000000000000ul + zero) = 1;
}

static void divide(void)
{
	volatile u64 dividend = 1;

	zero = dividend / zero;
}

static __noinline void recurse(volatile u8 *above)
{
	volatile u8 frame[256];

	frame[0] = above ? *above : 0;
	if (zero == 0) /* always, but the compilers refuse what is plainly endless */
		recurse(frame);
	frame[1] = frame[0];
}

static void overflow(void)
{
	recurse(NULL);
}

static __noinline void smash(void)
{
	volatile u8 array[16];

	for (usize i = zero; i < 32; i++)
		((volatile u8 *)array)[i] = 0x5a;
}

static void corrupt_list(void)
{
	struct list head = LIST_INIT(head), a, b;

	list_add(&a, &head);
	list_add(&b, &head);
	a.prev = &a;
	list_del(&b);
}

static void lock_twice(void)
{
	struct spinlock lock;

	spin_init(&lock, LOCK_CONSOLE, "provoke");
	spin_lock(&lock);
	spin_lock(&lock);
}

static void panic_inside(void)
{
	panic("nested", "%s", (const char *)(zero + 8));
}

static const struct kind {
	const char *name;
	void (*provoke)(void);
} kinds[] = {
	{"null", write_null},
	{"text", write_text},
	{"rodata", write_rodata},
	{"execute", execute_data},
	{"call", call_null},
	{"canonical", not_canonical},
	{"divide", divide},
	{"overflow", overflow},
	{"smash", smash},
	{"list", corrupt_list},
	{"lock", lock_twice},
	{"nested", panic_inside},
};

/* panic [KIND] - see commands.c. Comes back only to say that there is no such kind. */
int cmd_panic(struct monitor *m, int argc, char **argv)
{
	if (argc > 2)
		return usage(m);
	if (!power_allowed(m))
		return STATUS_FAILED;
	if (argc == 1)
		panic("monitor", "asked for by the command `panic`");
	for (usize i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(argv[1], kinds[i].name) != 0)
			continue;
		kinds[i].provoke();
		return fail(m, "%s: nobody noticed", argv[1]);
	}
	return usage(m);
}
