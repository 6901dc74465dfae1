/*
 * hugetext.c - is the text of a program mapped by one huge page?                                 ring 3
 *
 * Linked with -z max-page-size=0x200000 and 2 MiB of text, so that the bytes of the file and the addresses agree modulo
 * 2 MiB. Every page of that text holds one function, which returns the page's number: all are called, so a page that is
 * missing or in the wrong place is noticed. Then it shows what /proc/self/smaps says of the area.
 *
 *   hugetext     exit status 0: every page was right (huge or not); 1: one was not
 */
#include "lib.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define PAGES 512

/* 512 x { mov $number, %eax; ret }, one on each page. */
__asm__(".section .text.pages,\"ax\"\n"
	".balign 4096\n"
	"text_pages:\n"
	".set number, 0\n"
	".rept 512\n"
	"	movl $number, %eax\n"
	"	ret\n"
	"	.balign 4096, 0xcc\n"
	"	.set number, number + 1\n"
	".endr\n"
	".previous\n");
extern const char text_pages[];

static int wrong_pages(void)
{
	int wrong = 0;

	for (uintptr_t i = 0; i < PAGES; i++) {
		int (*number)(void) = (int (*)(void))((uintptr_t)text_pages + i * 4096);

		wrong += number() != (int)i;
	}
	return wrong;
}

/* The lines of smaps about the area that holds addr: its first, and those about huge pages. */
static int show_area(uintptr_t addr)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	char line[256];
	int inside = 0;

	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file)) {
		unsigned long start, end;

		if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
			inside = start <= addr && addr < end;
			if (inside)
				fputs(line, stdout);
		} else if (inside && (strstr(line, "Rss:") == line || strstr(line, "PmdMapped:") ||
					     strstr(line, "AnonHugePages:"))) {
			fputs(line, stdout);
		}
	}
	fclose(file);
	return 0;
}

int main(void)
{
	int wrong = wrong_pages();

	printf("hugetext: %d pages at %p, %d wrong\n", PAGES, (const void *)text_pages, wrong);
	if (show_area((uintptr_t)text_pages))
		perror("hugetext: /proc/self/smaps");
	return wrong ? 1 : 0;
}
