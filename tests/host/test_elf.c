/*
 * test_elf.c - lib/elf.c: a small program written here, then each thing that can be wrong with it.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#undef PT_LOAD
#undef PT_DYNAMIC
#undef PT_INTERP
#undef PT_PHDR
#undef PT_TLS
#undef PT_GNU_STACK
#undef PF_X
#undef PF_W
#undef PF_R
#include "check.h"
#include "lib/elf.h"

#define FILE_BYTES 0x3000

/* The file: header, six program headers, two pages of contents. */
static struct {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[6];
	u8 rest[FILE_BYTES - sizeof(Elf64_Ehdr) - 6 * sizeof(Elf64_Phdr)];
} file;

enum {
	TEXT,
	DATA,
	BSS,
	TLS,
	STACK,
	PHDR
};

static void build(void)
{
	memset(&file, 0, sizeof(file));
	memcpy(file.eh.e_ident, ELFMAG, SELFMAG);
	file.eh.e_ident[EI_CLASS] = ELFCLASS64;
	file.eh.e_ident[EI_DATA] = ELFDATA2LSB;
	file.eh.e_ident[EI_VERSION] = EV_CURRENT;
	file.eh.e_type = ET_EXEC;
	file.eh.e_machine = EM_X86_64;
	file.eh.e_version = EV_CURRENT;
	file.eh.e_entry = 0x400800;
	file.eh.e_phoff = sizeof(Elf64_Ehdr);
	file.eh.e_phentsize = sizeof(Elf64_Phdr);
	file.eh.e_phnum = 6;
	file.ph[TEXT] = (Elf64_Phdr){PT_LOAD, PF_R | PF_X, 0, 0x400000, 0, 0x1000, 0x1000, 0x1000};
	file.ph[DATA] =
		(Elf64_Phdr){PT_LOAD, PF_R | PF_W, 0x1e10, 0x402e10, 0, 0x200, 0x800, 0x1000};
	file.ph[BSS] = (Elf64_Phdr){PT_LOAD, PF_R | PF_W, 0x3000, 0x500000, 0, 0, 0x123456, 0x1000};
	file.ph[TLS] = (Elf64_Phdr){PT_TLS, PF_R, 0x1e10, 0x402e10, 0, 0x10, 0x40, 16};
	file.ph[STACK] = (Elf64_Phdr){PT_GNU_STACK, PF_R | PF_W, 0, 0, 0, 0, 0, 16};
	file.ph[PHDR] = (Elf64_Phdr){PT_PHDR, PF_R, 64, 0x400040, 0, 336, 336, 8};
}

/* Opens a copy of exactly n bytes at an odd address. */
static enum elf_result open_bytes(usize n, struct elf *elf)
{
	u8 *copy = malloc(n + 1);
	enum elf_result result;

	memcpy(copy + 1, &file, n);
	result = elf_open(elf, copy + 1, n);
	free(copy);
	return result;
}

static enum elf_result open_file(void)
{
	struct elf elf;

	return open_bytes(FILE_BYTES, &elf);
}

TEST(a_static_program)
{
	struct elf_segment segment;
	struct elf elf;
	unsigned int index = 0;

	build();
	CHECK_EQ(elf_open(&elf, &file, FILE_BYTES), ELF_OK);
	CHECK(!elf.pie && !elf.exec_stack);
	CHECK_EQ(elf.entry, 0x400800);
	CHECK_EQ(elf.low, 0x400000);
	CHECK_EQ(elf.high, 0x624000);
	CHECK_EQ(elf.headers, 0x400040);
	CHECK_EQ(elf.nr_headers, 6);
	CHECK(elf_next(&elf, PT_LOAD, &index, &segment));
	CHECK_EQ(segment.start, 0x400000);
	CHECK_EQ(segment.flags, PF_R | PF_X);
	CHECK(elf_next(&elf, PT_LOAD, &index, &segment));
	CHECK_EQ(segment.start, 0x402e10);
	CHECK_EQ(segment.file_bytes, 0x200);
	CHECK_EQ(segment.memory_bytes, 0x800);
	CHECK(segment.data == (u8 *)&file + 0x1e10);
	CHECK(elf_next(&elf, PT_LOAD, &index, &segment));
	CHECK(!elf_next(&elf, PT_LOAD, &index, &segment));
	index = 0;
	CHECK(elf_next(&elf, PT_TLS, &index, &segment));
	CHECK_EQ(segment.align, 16);
}

TEST(a_static_pie)
{
	struct elf elf;

	build();
	file.eh.e_type = ET_DYN;
	file.eh.e_entry = 0x800;
	file.ph[TEXT].p_vaddr = 0;
	file.ph[DATA].p_vaddr = 0x2e10;
	CHECK_EQ(open_bytes(FILE_BYTES, &elf), ELF_OK);
	CHECK(elf.pie);
	CHECK_EQ(elf.low, 0);
	CHECK_EQ(elf.headers, 0x40);
}

TEST(an_executable_stack_and_headers_out_of_memory)
{
	struct elf elf;

	build();
	file.ph[STACK].p_flags |= PF_X;
	file.ph[TEXT].p_offset = 0x1000;
	CHECK_EQ(open_bytes(FILE_BYTES, &elf), ELF_OK);
	CHECK(elf.exec_stack);
	CHECK_EQ(elf.headers, 0);
}

TEST(an_empty_load_is_passed_over)
{
	struct elf_segment segment;
	struct elf elf;
	unsigned int index = 0, n = 0;

	build();
	file.ph[BSS].p_memsz = 0;
	CHECK_EQ(elf_open(&elf, &file, FILE_BYTES), ELF_OK);
	while (elf_next(&elf, PT_LOAD, &index, &segment))
		n++;
	CHECK_EQ(n, 2);
}

TEST(cut_off_anywhere)
{
	struct elf elf;

	build();
	for (usize n = 0; n < FILE_BYTES; n += n < 1024 ? 1 : 64) {
		enum elf_result result = open_bytes(n, &elf);

		CHECK_EQ(result, n < 64            ? ELF_TRUNCATED
				 : n < 64 + 6 * 56 ? ELF_HEADERS_OUTSIDE
						   : ELF_SEGMENT_OUTSIDE);
	}
}

/* build(), one change, the result. */
#define REFUSED(change, want)                                                                      \
	do {                                                                                       \
		build();                                                                           \
		change;                                                                            \
		CHECK_EQ(open_file(), want);                                                       \
	} while (0)

TEST(wrong_headers_are_named)
{
	REFUSED(file.eh.e_ident[1] = 'F', ELF_NOT_ELF);
	REFUSED(file.eh.e_ident[EI_CLASS] = ELFCLASS32, ELF_NOT_64BIT);
	REFUSED(file.eh.e_ident[EI_DATA] = ELFDATA2MSB, ELF_NOT_64BIT);
	REFUSED(file.eh.e_ident[EI_VERSION] = 0, ELF_VERSION);
	REFUSED(file.eh.e_version = 2, ELF_VERSION);
	REFUSED(file.eh.e_machine = EM_AARCH64, ELF_NOT_X86_64);
	REFUSED(file.eh.e_type = ET_REL, ELF_NOT_A_PROGRAM);
	REFUSED(file.eh.e_phentsize = 55, ELF_HEADERS);
	REFUSED(file.eh.e_phnum = 0, ELF_HEADERS);
	REFUSED(file.eh.e_phnum = 65, ELF_HEADERS);
	REFUSED(file.eh.e_phoff = ~0ull - 8, ELF_HEADERS_OUTSIDE);
	REFUSED(file.eh.e_phoff = FILE_BYTES - 300, ELF_HEADERS_OUTSIDE);
	REFUSED(file.eh.e_entry = 0x402e10, ELF_ENTRY);
	REFUSED(file.eh.e_entry = 0, ELF_ENTRY);
}

TEST(wrong_segments_are_named)
{
	REFUSED(file.ph[PHDR].p_type = PT_INTERP, ELF_DYNAMIC);
	REFUSED(file.ph[DATA].p_offset += 0x2000, ELF_SEGMENT_OUTSIDE);
	REFUSED(file.ph[DATA].p_offset = ~0xfffull + 0xe10, ELF_SEGMENT_OUTSIDE);
	REFUSED(file.ph[DATA].p_filesz = ~0ull, ELF_SEGMENT_OUTSIDE);
	REFUSED(file.ph[DATA].p_memsz = 0x1ff, ELF_SEGMENT_SIZE);
	REFUSED(file.ph[TLS].p_memsz = 0xf, ELF_SEGMENT_SIZE);
	REFUSED(file.ph[DATA].p_vaddr++, ELF_SEGMENT_ALIGN);
	REFUSED(file.ph[DATA].p_align = 0x1001, ELF_SEGMENT_ALIGN);
	REFUSED(file.ph[BSS].p_vaddr = 0xffffffff80000000, ELF_SEGMENT_RANGE);
	REFUSED(file.ph[BSS].p_vaddr = 0x7ffffffff000, ELF_SEGMENT_RANGE);
	REFUSED(file.ph[BSS].p_vaddr = 0xfffffffffffff000, ELF_SEGMENT_RANGE);
	REFUSED(file.ph[BSS].p_memsz = 1ull << 47, ELF_SEGMENT_RANGE);
	REFUSED(file.ph[TEXT].p_vaddr = 0, ELF_SEGMENT_RANGE);
	REFUSED(file.ph[DATA].p_vaddr = 0x400e10, ELF_SEGMENT_ORDER);
	REFUSED(file.ph[DATA].p_memsz = 0x100000, ELF_SEGMENT_ORDER);
	REFUSED(file.ph[BSS].p_vaddr = 0x3ff000, ELF_SEGMENT_ORDER);
	REFUSED(file.ph[TLS].p_align = 3, ELF_TLS);
	REFUSED(file.ph[PHDR].p_type = PT_TLS, ELF_TLS);
	REFUSED(file.ph[TEXT].p_type = file.ph[DATA].p_type = file.ph[BSS].p_type = PT_PHDR,
		ELF_NO_SEGMENT);
}

TEST(the_last_user_page_but_one_may_be_used)
{
	build();
	file.ph[BSS].p_vaddr = ELF_USER_END - PAGE_SIZE;
	file.ph[BSS].p_memsz = PAGE_SIZE;
	CHECK_EQ(open_file(), ELF_OK);
	file.ph[BSS].p_memsz++;
	CHECK_EQ(open_file(), ELF_SEGMENT_RANGE);
}

TEST(every_result_has_a_text)
{
	for (int i = 0; i < ELF_NR_RESULTS; i++)
		CHECK(strlen(elf_text((enum elf_result)i)) > 5);
	CHECK_STR(elf_text(ELF_NR_RESULTS), "unknown result");
	CHECK(strstr(elf_text(ELF_DYNAMIC), "-static"));
}
