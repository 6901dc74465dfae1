/*
 * test_bootinfo.c - both protocols' information -> struct boot_info, and every way to refuse it.
 */
#include <stdlib.h>
#include <string.h>

#include "boot/bootinfo.h"
#include "check.h"

#define BASE 0x1000ull

/* Physical memory of the tests: 16 KiB from BASE. */
static u8 memory[16384];
static usize used;
static struct boot_info info;

static bool read_memory(__unused void *ctx, paddr_t addr, void *buf, usize len)
{
	if (addr < BASE || addr - BASE > sizeof(memory) || len > sizeof(memory) - (addr - BASE))
		return false;
	memcpy(buf, memory + (addr - BASE), len);
	return true;
}

static enum boot_error parse(u32 magic)
{
	struct boot_memory mem = {read_memory, NULL};
	unsigned rule;

	enum boot_error error = bootinfo_parse(&mem, magic, BASE, &info);
	if (!error)
		CHECK_MSG(bootinfo_check(&info, &rule), "B%u does not hold", rule);
	return error;
}

static void put(const void *data, usize len)
{
	memcpy(memory + used, data, len);
	used += len;
}

static void put32(u32 v)
{
	put(&v, sizeof(v));
}

static void put64(u64 v)
{
	put(&v, sizeof(v));
}

/* ---- Multiboot2 blocks ------------------------------------------------------------------------ */

static void mb2_begin(void)
{
	memset(memory, 0, sizeof(memory));
	used = 8;
}

static void mb2_tag(u32 type, const void *data, u32 len)
{
	put32(type);
	put32(len + 8);
	put(data, len);
	used = ALIGN_UP(used, 8);
}

static enum boot_error mb2_end(void)
{
	put32(0);
	put32(8);
	memcpy(memory, &used, 4);
	return parse(BOOT_MAGIC_MULTIBOOT2);
}

/* A memory map of n ranges { start, len, type }. */
static void mb2_map(const u64 (*ranges)[3], u32 n)
{
	u32 words[2 + 6 * 128] = {24, 0};

	for (u32 i = 0; i < n; i++) {
		memcpy(&words[2 + 6 * i], ranges[i], 16);
		words[2 + 6 * i + 4] = ranges[i][2];
	}
	mb2_tag(6, words, 8 + 24 * n);
}

static const u64 simple_map[][3] = {{0, 0x9fc00, 1}, {0x9fc00, 0x400, 2}, {0x100000, 0x1f00000, 1}};

static void expect_range(unsigned i, paddr_t start, paddr_t end, enum boot_mem_type type)
{
	CHECK(i < info.nr_ranges);
	CHECK_EQ(info.ranges[i].start, start);
	CHECK_EQ(info.ranges[i].end, end);
	CHECK_EQ(info.ranges[i].type, type);
}

TEST(multiboot2_complete)
{
	const u32 module[] = {0x200000, 0x234567, 0};
	const u8 rsdp[20] = {0};

	mb2_begin();
	mb2_tag(1, "loglevel=7", 11);
	mb2_tag(3, module, sizeof(module));
	mb2_tag(99, "what is this", 13);
	mb2_map(simple_map, 3);
	paddr_t at = BASE + used + 8;
	mb2_tag(14, rsdp, sizeof(rsdp));
	CHECK_EQ(mb2_end(), BOOT_OK);

	CHECK_EQ(info.protocol, BOOT_MULTIBOOT2);
	CHECK_STR(info.cmdline, "loglevel=7");
	CHECK_EQ(info.module_start, 0x200000);
	CHECK_EQ(info.module_end, 0x234567);
	CHECK_EQ(info.rsdp, at);
	CHECK_EQ(info.info_start, BASE);
	CHECK_EQ(info.info_end, BASE + used);
	CHECK_EQ(info.nr_ranges, 3);
	expect_range(0, 0, 0x9f000, BOOT_MEM_USABLE); /* 0x9fc00 is not a page boundary */
	expect_range(1, 0x9f000, 0xa0000, BOOT_MEM_RESERVED);
	expect_range(2, 0x100000, 0x2000000, BOOT_MEM_USABLE);
}

TEST(new_rsdp_wins)
{
	const u8 rsdp[36] = {0};

	for (int new_first = 0; new_first < 2; new_first++) {
		mb2_begin();
		mb2_map(simple_map, 3);
		paddr_t new_at = BASE + used + 8 + (new_first ? 0 : 32);
		mb2_tag(new_first ? 15 : 14, rsdp, new_first ? 36 : 20);
		mb2_tag(new_first ? 14 : 15, rsdp, new_first ? 20 : 36);
		CHECK_EQ(mb2_end(), BOOT_OK);
		CHECK_EQ(info.rsdp, new_at);
	}
}

TEST(overlapping_ranges)
{
	const u64 map[][3] = {
		{0x500000, 0x100000, 1}, /* unsorted */
		{0x100000, 0x300000, 1},
		{0x200000, 0x1000, 2},   /* inside */
		{0x3ff000, 0x102000, 3}, /* over the edge of two, fills the hole */
		{0x200800, 0x800, 1},    /* usable inside reserved changes nothing */
		{0x600000, 0x100000, 1}, /* touches: one range */
		{0x900000, 0, 2},        /* empty */
		{0x100000000, 0x40000000, 1},
	};

	mb2_begin();
	mb2_map(map, ARRAY_SIZE(map));
	CHECK_EQ(mb2_end(), BOOT_OK);
	CHECK_EQ(info.nr_ranges, 6);
	expect_range(0, 0x100000, 0x200000, BOOT_MEM_USABLE);
	expect_range(1, 0x200000, 0x201000, BOOT_MEM_RESERVED);
	expect_range(2, 0x201000, 0x3ff000, BOOT_MEM_USABLE);
	expect_range(3, 0x3ff000, 0x501000, BOOT_MEM_ACPI);
	expect_range(4, 0x501000, 0x700000, BOOT_MEM_USABLE);
	expect_range(5, 0x100000000, 0x140000000, BOOT_MEM_USABLE);
}

/* Any map at all, against one byte per page. */
TEST(random_maps)
{
	enum {
		PAGES = 256
	};

	for (u64 round = check_rounds(2000); round; round--) {
		u8 model[PAGES];
		u64 map[24][3];
		u32 n = 1 + check_below(24);
		memset(model, 0xff, sizeof(model));
		for (u32 i = 0; i < n; i++) {
			u64 first = check_below(PAGES), pages = check_below(PAGES - first + 1);
			map[i][0] = first * PAGE_SIZE;
			map[i][1] = pages * PAGE_SIZE;
			map[i][2] = 1 + check_below(4);
			u8 type = map[i][2] == 1 ? 0 : map[i][2] == 3 ? 1 : 2;
			for (u64 p = first; p < first + pages; p++)
				model[p] = model[p] == 0xff ? type : MAX(model[p], type);
		}
		mb2_begin();
		mb2_map(map, n);
		enum boot_error error = mb2_end();
		if (error) {
			CHECK(!memchr(model, 0, sizeof(model)));
			continue;
		}
		for (unsigned i = 0; i < info.nr_ranges; i++)
			for (u64 p = info.ranges[i].start / PAGE_SIZE;
				p < info.ranges[i].end / PAGE_SIZE; p++) {
				CHECK_EQ(model[p], info.ranges[i].type);
				model[p] = 0xff;
			}
		for (u32 p = 0; p < PAGES; p++)
			CHECK_EQ(model[p], 0xff);
	}
}

TEST(low_page)
{
	mb2_begin();
	mb2_map(simple_map, 3);
	CHECK_EQ(mb2_end(), BOOT_OK);
	CHECK_EQ(bootinfo_low_page(&info), 0x9e000); /* 0x9fc00 ends the usable part */

	mb2_begin();
	mb2_map(simple_map, 3);
	mb2_tag(3, (const u32[]){0x5000, 0x9f000, 0}, 12); /* an initrd up to the end of it */
	CHECK_EQ(mb2_end(), BOOT_OK);
	CHECK_EQ(bootinfo_low_page(&info), 0x4000);

	mb2_begin();
	mb2_map(simple_map, 3);
	mb2_tag(3, (const u32[]){0x3000, 0x9f000, 0}, 12); /* below it: the information itself */
	CHECK_EQ(mb2_end(), BOOT_OK);
	CHECK_EQ(bootinfo_low_page(&info), 0x2000);

	mb2_begin();
	mb2_map(simple_map, 3);
	mb2_tag(3, (const u32[]){0x1800, 0x9f000, 0}, 12);
	CHECK_EQ(mb2_end(), BOOT_OK);
	CHECK_EQ(bootinfo_low_page(&info), 0);
}

TEST(multiboot2_refusals)
{
	mb2_begin();
	CHECK_EQ(mb2_end(), BOOT_NO_MEMORY_MAP);

	mb2_begin();
	mb2_map((const u64[][3]){{0x100000, 0x100000, 2}}, 1);
	CHECK_EQ(mb2_end(), BOOT_NO_USABLE_MEMORY);

	mb2_begin();
	mb2_map((const u64[][3]){{0xfffffffffffff000, 0x2000, 1}}, 1);
	CHECK_EQ(mb2_end(), BOOT_BAD_RANGE);
	mb2_begin();
	mb2_map((const u64[][3]){{0x1000, 0xffffffffffffffff, 1}}, 1);
	CHECK_EQ(mb2_end(), BOOT_BAD_RANGE);

	mb2_begin();
	mb2_map(simple_map, 3);
	mb2_tag(3, (const u32[]){0x200000, 0x1fffff, 0}, 12);
	CHECK_EQ(mb2_end(), BOOT_BAD_MODULE);

	mb2_begin();
	mb2_map(simple_map, 3);
	mb2_tag(3, (const u32[]){0x200000}, 4);
	CHECK_EQ(mb2_end(), BOOT_BAD_TAG);

	mb2_begin();
	mb2_map(simple_map, 3);
	mb2_tag(1, "abc", 3); /* no NUL */
	CHECK_EQ(mb2_end(), BOOT_LONG_CMDLINE);

	char line[BOOT_CMDLINE_MAX + 1];
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = 0;
	mb2_begin();
	mb2_map(simple_map, 3);
	mb2_tag(1, line, sizeof(line));
	CHECK_EQ(mb2_end(), BOOT_LONG_CMDLINE);

	mb2_begin();
	mb2_map(simple_map, 3);
	memset(memory + 8 + 8, 8, 1); /* entry_size */
	CHECK_EQ(mb2_end(), BOOT_BAD_TAG);
}

TEST(multiboot2_sizes)
{
	mb2_begin();
	mb2_map(simple_map, 3);
	CHECK_EQ(mb2_end(), BOOT_OK);
	u32 total = used, bad_sizes[] = {0, 15, 0x100001, 0xffffffff};
	for (unsigned i = 0; i < ARRAY_SIZE(bad_sizes); i++) {
		memcpy(memory, &bad_sizes[i], 4);
		CHECK_EQ(parse(BOOT_MAGIC_MULTIBOOT2), BOOT_BAD_SIZE);
	}
	for (u32 cut = 16; cut < total; cut++) {
		memcpy(memory, &cut, 4);
		enum boot_error error = parse(BOOT_MAGIC_MULTIBOOT2);
		CHECK(error == BOOT_BAD_TAG || error == BOOT_NO_END_TAG);
	}
	memcpy(memory, &total, 4);
	for (u32 bad = 0; bad < 8;
		bad++) { /* a tag shorter than its own header would loop for ever */
		memcpy(memory + 12, &bad, 4);
		CHECK_EQ(parse(BOOT_MAGIC_MULTIBOOT2), BOOT_BAD_TAG);
	}
}

TEST(too_many_ranges)
{
	u64 map[100][3];

	mb2_begin();
	for (unsigned i = 0; i < 100; i++) {
		map[i][0] = i * 0x4000;
		map[i][1] = 0x1000;
		map[i][2] = 1;
	}
	mb2_map(map, 100);
	CHECK_EQ(mb2_end(), BOOT_OK);
	CHECK_EQ(info.nr_ranges, 100);

	mb2_begin();
	mb2_map(map, 100);
	for (unsigned i = 0; i < 100; i++)
		map[i][0] += 0x2000;
	mb2_map(map, 100);
	CHECK_EQ(mb2_end(), BOOT_TOO_MANY_RANGES);
}

/* ---- PVH -------------------------------------------------------------------------------------- */

#define PVH_MAP     (BASE + 0x100)
#define PVH_MODULES (BASE + 0x200)
#define PVH_CMDLINE (BASE + 0x300)

static void pvh_begin(u32 version, u32 nr_modules, u32 nr_memory)
{
	memset(memory, 0, sizeof(memory));
	used = 0;
	put32(BOOT_MAGIC_PVH);
	put32(version);
	put32(0);
	put32(nr_modules);
	put64(PVH_MODULES);
	put64(PVH_CMDLINE);
	put64(0xf5a00);
	put64(PVH_MAP);
	put32(nr_memory);
	put32(0);
	used = PVH_MAP - BASE;
	put64(0);
	put64(0xa0000);
	put64(1);
	put64(0x100000000);
	put64(0x80000000);
	put64(1);
	used = PVH_MODULES - BASE;
	put64(0x7f00000);
	put64(0x1234);
	used = PVH_CMDLINE - BASE;
	put("quiet", 6);
}

TEST(pvh_complete)
{
	pvh_begin(1, 1, 2);
	CHECK_EQ(parse(BOOT_MAGIC_PVH), BOOT_OK);
	CHECK_EQ(info.protocol, BOOT_PVH);
	CHECK_STR(info.cmdline, "quiet");
	CHECK_EQ(info.module_start, 0x7f00000);
	CHECK_EQ(info.module_end, 0x7f01234);
	CHECK_EQ(info.rsdp, 0xf5a00);
	CHECK_EQ(info.nr_ranges, 2);
	expect_range(1, 0x100000000, 0x180000000, BOOT_MEM_USABLE);
}

TEST(pvh_refusals)
{
	pvh_begin(0, 0, 2);
	CHECK_EQ(parse(BOOT_MAGIC_PVH), BOOT_OLD_VERSION);
	pvh_begin(1, 0, 0);
	CHECK_EQ(parse(BOOT_MAGIC_PVH), BOOT_NO_MEMORY_MAP);
	pvh_begin(1, 0, 4097);
	CHECK_EQ(parse(BOOT_MAGIC_PVH), BOOT_TOO_MANY_RANGES);
	pvh_begin(1, 0, 2000); /* leaves the memory that can be read */
	CHECK_EQ(parse(BOOT_MAGIC_PVH), BOOT_UNREADABLE);
	pvh_begin(1, 1, 2);
	memset(memory + (PVH_MODULES - BASE), 0xff, 16);
	CHECK_EQ(parse(BOOT_MAGIC_PVH), BOOT_BAD_MODULE);
	pvh_begin(1, 0, 2);
	memset(memory + (PVH_CMDLINE - BASE), 'x', BOOT_CMDLINE_MAX);
	CHECK_EQ(parse(BOOT_MAGIC_PVH), BOOT_LONG_CMDLINE);
	pvh_begin(1, 0, 2);
	memory[0] ^= 1;
	CHECK_EQ(parse(BOOT_MAGIC_PVH), BOOT_BAD_MAGIC);
	CHECK_EQ(parse(0x2badb002), BOOT_BAD_MAGIC);
}

TEST(each_error_has_a_text)
{
	for (int i = 0; i < NR_BOOT_ERRORS; i++)
		CHECK(boot_error_text(i) && strlen(boot_error_text(i)) > 5);
	CHECK_STR(boot_error_text(NR_BOOT_ERRORS), "unknown error");
}
