/*
 * test_image.c - servers/lib/image.c: pieces of a program, and its first stack.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "servers/lib/image.h"

/* As they stand in a file: ELF header, program header. */
struct header {
	u8 ident[16];
	u16 type, machine;
	u32 version;
	u64 entry, phoff, shoff;
	u32 flags;
	u16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
struct segment {
	u32 type, flags;
	u64 offset, vaddr, paddr, filesz, memsz, align;
};

#define R PF_R
#define W PF_W
#define X PF_X

static struct {
	struct header h;
	struct segment s[3];
	u8 rest[0x8000];
} file;

static struct image image;

/* Text of two pages; data that begins and ends within a page, with bss of three; a bss alone. */
static void build(u16 type)
{
	file.h = (struct header){.ident = "\177ELF\2\1\1",
		.type = type,
		.machine = 62,
		.version = 1,
		.entry = type == 2 ? 0x400800 : 0x800,
		.phoff = 64,
		.phentsize = 56,
		.phnum = 3};
	file.s[0] = (struct segment){PT_LOAD, R | X, 0, 0x400000, 0, 0x1800, 0x1800, 0x1000};
	file.s[1] = (struct segment){PT_LOAD, R | W, 0x2e10, 0x403e10, 0, 0x1400, 0x4000, 0x1000};
	file.s[2] = (struct segment){PT_LOAD, R | W, 0x5000, 0x500000, 0, 0, 0x1234, 0x1000};
	if (type == 3)
		for (int i = 0; i < 3; i++)
			file.s[i].vaddr -= 0x400000;
	for (usize i = 0; i < sizeof(file.rest); i++)
		file.rest[i] = (u8)(i % 251);
}

static void check_piece(unsigned i, enum image_kind kind, u64 addr, u64 bytes, u32 prot)
{
	CHECK(i < image.nr_pieces);
	CHECK_EQ(image.piece[i].kind, kind);
	CHECK_EQ(image.piece[i].addr, image.bias + addr);
	CHECK_EQ(image.piece[i].bytes, bytes);
	CHECK_EQ(image.piece[i].prot, prot);
}

TEST(pieces_of_a_program)
{
	build(2);
	CHECK_EQ(image_open(&image, &file, sizeof(file), 0), ELF_OK);
	CHECK_EQ(image.bias, 0);
	CHECK_EQ(image.entry, 0x400800);
	CHECK_EQ(image.brk, 0x502000);
	CHECK_EQ(image.nr_pieces, 5);
	check_piece(0, IMAGE_FILE, 0x400000, 0x2000, 5);
	CHECK_EQ(image.piece[0].file_offset, 0);
	check_piece(1, IMAGE_FILE, 0x403000, 0x2000, 3);
	CHECK_EQ(image.piece[1].file_offset, 0x2000);
	check_piece(2, IMAGE_COPY, 0x405000, 0x1000, 3);
	CHECK_EQ(image.piece[2].data_addr, 0x405000);
	CHECK_EQ(image.piece[2].data_bytes, 0x210);
	CHECK(image.piece[2].data == (u8 *)&file + 0x4000);
	check_piece(3, IMAGE_ZERO, 0x406000, 0x2000, 3);
	check_piece(4, IMAGE_ZERO, 0x500000, 0x2000, 3);
}

TEST(a_small_segment_that_may_be_written_is_copied_whole)
{
	build(2);
	CHECK_EQ(image_open(&image, &file, sizeof(file), 0x1400), ELF_OK);
	CHECK_EQ(image.nr_pieces, 4);
	check_piece(0, IMAGE_FILE, 0x400000, 0x2000, 5);
	check_piece(1, IMAGE_COPY, 0x403000, 0x3000, 3);
	CHECK_EQ(image.piece[1].data_addr, 0x403e10);
	CHECK_EQ(image.piece[1].data_bytes, 0x1400);
	CHECK(image.piece[1].data == (u8 *)&file + 0x2e10);
}

TEST(everything_can_be_copied)
{
	build(2);
	CHECK_EQ(image_open(&image, &file, sizeof(file), ~0ul), ELF_OK);
	for (unsigned i = 0; i < image.nr_pieces; i++)
		CHECK(image.piece[i].kind != IMAGE_FILE);
}

TEST(a_static_pie_has_a_place)
{
	build(3);
	file.s[0].align = 0x200000;
	CHECK_EQ(image_open(&image, &file, sizeof(file), 0), ELF_OK);
	CHECK_EQ(image.bias, 0x555555600000);
	CHECK_EQ(image.entry, 0x555555600800);
	check_piece(0, IMAGE_FILE, 0, 0x2000, 5);
}

TEST(a_bad_file_has_no_pieces)
{
	build(2);
	file.s[1].filesz = 0x100000;
	file.s[1].memsz = 0x100000;
	CHECK_EQ(image_open(&image, &file, sizeof(file), 0), ELF_SEGMENT_OUTSIDE);
	CHECK_EQ(image.nr_pieces, 0);
}

/* The stack of the program, mapped so that its addresses are ours. */
static u64 room[512];
static struct image_stack stack;

static u64 aux(const u64 *w, u64 type)
{
	for (; w[0]; w += 2)
		if (w[0] == type)
			return w[1];
	return ~0ul;
}

TEST(a_stack_as_the_abi_has_it)
{
	static const u8 random[16] = "0123456789abcde";
	struct image_args args = {.path = "/bin/prog",
		.args = "prog\0-x\0",
		.arg_bytes = 9,
		.argc = 3,
		.env = "A=1\0B=22",
		.env_bytes = 9,
		.envc = 2,
		.random = random};
	u64 top = ALIGN_DOWN((u64)(room + 512), 16);
	const u64 *w;

	build(2);
	CHECK_EQ(image_open(&image, &file, sizeof(file), 0), ELF_OK);
	CHECK(image_stack(&image, &args, top, room, top - (u64)room, &stack));
	CHECK_EQ(stack.sp % 16, 0);
	CHECK_EQ(stack.nr_bytes, top - stack.sp);
	CHECK(stack.nr_bytes <= image_stack_room(&args));
	w = (const u64 *)stack.sp;
	CHECK(stack.bytes == (const u8 *)w);
	CHECK_EQ(w[0], 3);
	CHECK_STR((const char *)w[1], "prog");
	CHECK_STR((const char *)w[2], "-x");
	CHECK_STR((const char *)w[3], "");
	CHECK_EQ(w[4], 0);
	CHECK_EQ(w[1], stack.arg_start);
	CHECK_EQ(stack.arg_end - stack.arg_start, 9);
	CHECK_STR((const char *)w[5], "A=1");
	CHECK_STR((const char *)w[6], "B=22");
	CHECK_EQ(w[7], 0);
	CHECK_EQ(aux(w + 8, 6), PAGE_SIZE);
	CHECK_EQ(aux(w + 8, 3), 0x400040);
	CHECK_EQ(aux(w + 8, 5), 3);
	CHECK_EQ(aux(w + 8, 9), 0x400800);
	CHECK_EQ(aux(w + 8, 23), 0);
	CHECK_STR((const char *)aux(w + 8, 31), "/bin/prog");
	CHECK_STR((const char *)aux(w + 8, 15), "x86_64");
	CHECK(memcmp((const void *)aux(w + 8, 25), random, 16) == 0);
}

TEST(the_stack_at_another_address_and_no_room)
{
	struct image_args args = {.path = "p",
		.args = "a",
		.arg_bytes = 2,
		.argc = 1,
		.env = "",
		.random = (const u8 *)"0123456789abcdef"};
	u64 top = 0x7ffffffff000;
	u64 *big = malloc(image_stack_room(&args));

	build(2);
	CHECK_EQ(image_open(&image, &file, sizeof(file), 0), ELF_OK);
	CHECK(image_stack(&image, &args, top, big, image_stack_room(&args), &stack));
	CHECK_EQ(stack.sp + stack.nr_bytes, top);
	CHECK_EQ(((const u64 *)stack.bytes)[1], stack.arg_start);
	CHECK_STR((const char *)stack.bytes + (stack.arg_start - stack.sp), "a");
	CHECK(!image_stack(&image, &args, top, big, image_stack_room(&args) - 16, &stack));
	free(big);
}
