/*
 * fuzz_pvh.c - the input is memory from address 0x1000: the start info and all it points to.
 */
#include "fuzz_bootinfo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_bootinfo(data, size, BOOT_MAGIC_PVH, 0x1000);
}
