/*
 * image.h - what the memory of a new program looks like: its pieces and its first stack.          ring 3
 *
 * Pure: reads an ELF file that lies in memory and says what to map where; fills a buffer with the stack. Mapping is done
 * by spawn.c (init's children) and by the personality's exec.
 */
#ifndef SERVERS_IMAGE_H
#define SERVERS_IMAGE_H

#include "lib/elf.h"

/* Where a piece's bytes come from. */
enum image_kind {
	IMAGE_FILE, /* whole pages of the file, unchanged: map the file itself, private */
	IMAGE_COPY, /* fresh pages, some of whose bytes are the file's: they are to be copied */
	IMAGE_ZERO, /* fresh pages */
};

/* [addr, +bytes) of the new space: whole pages, all with the same rights. */
struct image_piece {
	enum image_kind kind;
	u32 prot; /* Linux's PROT_* */
	u64 addr, bytes;
	u64 file_offset; /* FILE: of the first byte; a multiple of the page size */
	u64 data_addr;   /* COPY: data_bytes bytes from data go here; the rest stays zero */
	u64 data_bytes;
	const u8 *data;
};

/* A segment gives at most three pieces: its whole pages of the file, the page where the file ends, zeroes. */
#define IMAGE_PIECES (3 * ELF_MAX_HEADERS)

struct image {
	struct elf elf;
	u64 bias;  /* added to every address of a static-pie */
	u64 entry; /* where it begins */
	u64 brk;   /* where its heap begins */
	unsigned nr_pieces;
	struct image_piece piece[IMAGE_PIECES]; /* ascending, disjoint */
};

/*
 * image_open - test a file and lay its segments out.
 *
 *   data, size  the whole file; only its headers are read here. *image keeps pointers into it
 *   copy_below  a segment that may be written and has at most so many bytes in the file is copied as one piece: for a
 *               few pages that is cheaper than a fault for each. 0: only what must be copied is. ~0: nothing is FILE
 *   returns     ELF_OK, or what is wrong with it (elf_text(): ENOEXEC)
 *   Linux       load_elf_binary
 */
enum elf_result image_open(struct image *image, const void *data, usize size, u64 copy_below);

struct image_args {
	const char *path; /* AT_EXECFN */
	const char *args; /* "arg\0arg\0": argc strings, arg_bytes bytes with their zeroes */
	usize arg_bytes;
	unsigned argc, envc;
	const char *env; /* the same: envc strings */
	usize env_bytes;
	const u8 *random; /* 16 bytes for AT_RANDOM */
};

struct image_stack {
	u64 sp;                 /* rsp at the entry point: argc is there. A multiple of 16 */
	u64 arg_start, arg_end; /* the arguments, for /proc/PID/cmdline */
	const u8 *bytes;        /* in the buffer: what goes to [sp, top) */
	usize nr_bytes;
};

/* Room that image_stack() needs for these arguments, at most. */
usize image_stack_room(const struct image_args *args);

/*
 * image_stack - the first stack of a program, as the System V ABI (AMD64, 3.4.1) and Linux have it.
 *
 *   top      address behind its last byte; a multiple of 16
 *   buf      it is built at the end of it; a multiple of 8 aligned, as is size
 *   returns  true; false: it does not fit into the buffer (E2BIG)
 */
bool image_stack(const struct image *image, const struct image_args *args, u64 top, void *buf,
	usize size, struct image_stack *out);

/* Linux's limits for one argument and for all of a program's (with its environment): E2BIG beyond. */
#define IMAGE_ARG_MAX  (32 * PAGE_SIZE)
#define IMAGE_ARGS_MAX (2ul << 20)

#endif
