/*
 * elf.h - reads an ELF64 program that lies in memory                                        floor 0
 *
 * The names in capitals are those of the System V ABI, "Object Files", chapters 4 and 5.
 */
#ifndef LIB_ELF_H
#define LIB_ELF_H

#include "lib/types.h"

enum elf_result {
	ELF_OK,
	ELF_TRUNCATED,       /* shorter than an ELF header */
	ELF_NOT_ELF,         /* another magic number */
	ELF_NOT_64BIT,       /* 32 bits, or big endian */
	ELF_NOT_X86_64,      /* for another machine */
	ELF_VERSION,         /* a version of ELF other than 1 */
	ELF_NOT_A_PROGRAM,   /* an object file, a core dump ... */
	ELF_DYNAMIC,         /* wants a dynamic linker (PT_INTERP) */
	ELF_HEADERS,         /* no program headers, too many, or of an unknown size */
	ELF_HEADERS_OUTSIDE, /* the program headers lie outside the file */
	ELF_SEGMENT_OUTSIDE, /* a segment's bytes lie outside the file */
	ELF_SEGMENT_SIZE,    /* more bytes in the file than in memory */
	ELF_SEGMENT_ALIGN,   /* address and file offset differ modulo the page size, or no 2^n */
	ELF_SEGMENT_RANGE,   /* beyond the user half, below the first page, or wrapping */
	ELF_SEGMENT_ORDER,   /* segments overlap, share a page, or do not ascend */
	ELF_NO_SEGMENT,      /* nothing to load */
	ELF_ENTRY,           /* the entry point is not in an executable segment */
	ELF_TLS,             /* more than one TLS segment, or one with a bad alignment */
	ELF_NR_RESULTS,
};

/* p_type */
#define PT_LOAD      1u
#define PT_DYNAMIC   2u
#define PT_INTERP    3u
#define PT_PHDR      6u
#define PT_TLS       7u
#define PT_GNU_STACK 0x6474e551u

/* p_flags */
#define PF_X 1u
#define PF_W 2u
#define PF_R 4u

/* The largest number of program headers accepted; a static program has about ten. */
#define ELF_MAX_HEADERS 64

/* No user address is at or above this: the last page of the lower half stays empty, as in Linux. */
#define ELF_USER_END 0x7ffffffff000ul

/* One program header. `data` points at its file_bytes bytes inside the file. */
struct elf_segment {
	u32 type;
	u32 flags;
	vaddr_t start; /* for a static-pie: relative to wherever it is loaded */
	u64 memory_bytes;
	u64 file_bytes;
	u64 file_offset;
	u64 align;
	const u8 *data;
};

/* A program that passed elf_open(). */
struct elf {
	const u8 *data;
	usize size;
	bool pie;        /* static-pie: may be loaded at any page-aligned distance */
	bool exec_stack; /* PT_GNU_STACK asks for one */
	vaddr_t entry;   /* as `start` of a segment */
	vaddr_t low;     /* first page of the lowest segment */
	vaddr_t high;    /* first page behind the highest */
	vaddr_t headers; /* where the program headers are in memory (AT_PHDR); 0: nowhere */
	u64 headers_offset;
	u16 nr_headers; /* AT_PHNUM; AT_PHENT is ELF_HEADER_BYTES */
};

#define ELF_HEADER_BYTES 56

enum elf_result __must_check elf_open(struct elf *elf, const void *data, usize size);
bool elf_next(const struct elf *elf, u32 type, unsigned int *index, struct elf_segment *segment);
const char *elf_text(enum elf_result result);

#endif
