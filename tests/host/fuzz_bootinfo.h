/*
 * fuzz_bootinfo.h - what the fuzzers of both boot protocols share: an input is a piece of physical
 * memory, and everything outside it cannot be read.
 */
#ifndef FUZZ_BOOTINFO_H
#define FUZZ_BOOTINFO_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../boot/bootinfo.h"

struct image {
	const uint8_t *data;
	size_t size;
	paddr_t base;
};

static bool image_read(void *ctx, paddr_t addr, void *buf, usize len)
{
	struct image *image = ctx;

	if (addr < image->base || addr - image->base > image->size ||
		len > image->size - (addr - image->base))
		return false;
	memcpy(buf, image->data + (addr - image->base), len);
	return true;
}

/* Parse, and demand that what is accepted is sound and what is refused has a text. */
static inline int fuzz_bootinfo(const uint8_t *data, size_t size, u32 magic, paddr_t base)
{
	static struct boot_info info;
	struct image image = {data, size, base};
	struct boot_memory memory = {image_read, &image};
	unsigned rule = 0;

	enum boot_error error = bootinfo_parse(&memory, magic, base, &info);
	if (!error && !bootinfo_check(&info, &rule)) {
		fprintf(stderr, "B%u does not hold\n", rule);
		abort();
	}
	if (!boot_error_text(error)[0])
		abort();
	return 0;
}

#endif
