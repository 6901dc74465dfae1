/*
 * fuzz_multiboot2.c - the input is an information block at 0x10000.
 */
#include "fuzz_bootinfo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_bootinfo(data, size, BOOT_MAGIC_MULTIBOOT2, 0x10000);
}
