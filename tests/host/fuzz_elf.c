/*
 * fuzz_elf.c - lib/elf.c under libFuzzer: any bytes; what it accepts must keep E1 to E4.
 */
#include <stdlib.h>

#include "lib/elf.h"

static void require(bool holds)
{
	if (!holds)
		abort();
}

/* Reads the first and the last byte, so that the sanitizer sees a pointer out of the file. */
static void touch(const u8 *data, u64 bytes)
{
	if (bytes > 0)
		(void)(*(const volatile u8 *)data + *(const volatile u8 *)(data + bytes - 1));
}

static void check_program(const struct elf *elf)
{
	struct elf_segment segment;
	unsigned int index = 0;
	vaddr_t behind = elf->low;
	bool entry = false;

	while (elf_next(elf, PT_LOAD, &index, &segment)) {
		touch(segment.data, segment.file_bytes);
		require(segment.file_bytes <= segment.memory_bytes);
		require((segment.start & PAGE_MASK) >= behind);
		require(segment.start % PAGE_SIZE == segment.file_offset % PAGE_SIZE);
		behind = ALIGN_UP(segment.start + segment.memory_bytes, PAGE_SIZE);
		require(behind > segment.start && behind <= ELF_USER_END);
		entry |= elf->entry >= segment.start && elf->entry < behind &&
			 (segment.flags & PF_X);
	}
	require(behind == elf->high && elf->low < elf->high && entry);
	index = 0;
	while (elf_next(elf, PT_TLS, &index, &segment))
		touch(segment.data, segment.file_bytes);
	index = 0;
	require(!elf_next(elf, PT_INTERP, &index, &segment));
}

int LLVMFuzzerTestOneInput(const u8 *data, usize size);

int LLVMFuzzerTestOneInput(const u8 *data, usize size)
{
	struct elf elf;
	enum elf_result result = elf_open(&elf, data, size);

	require(elf_text(result)[0] != '\0');
	if (result == ELF_OK)
		check_program(&elf);
	return 0;
}
