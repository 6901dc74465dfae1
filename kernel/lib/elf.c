/*
 * elf.c - reads an ELF64 program that lies in memory                                        floor 0
 *
 * Says whether a file is a program we can run, and where its segments go. It maps nothing: that is
 * the loader's. Everything is tested once, in elf_open(); the loader can then use the segments
 * without another look. Every refusal has a name and a sentence for the person who linked the file.
 *
 * IDEA
 *   file  |ELF header|program headers|.... bytes of segment 0 ....|.... bytes of segment 1 ..|
 *               |          ^   |                                        |
 *               +----------+   +- "offset 0x1000, 0x520 bytes -> 0x401000, read and execute"
 *
 *   memory   low = 0x400000 | seg 0 | seg 1 |  hole  | seg 2 | bss | high
 *
 * INVARIANTS (of a struct elf after ELF_OK; the fuzzer and the unit test check them)
 *   E1  every segment's file bytes lie inside the file; file_bytes <= memory_bytes
 *   E2  PT_LOADs ascend and share no page; all lie in [low, high) inside the user half
 *   E3  start and file_offset of a PT_LOAD are equal modulo the page size
 *   E4  entry lies in a PT_LOAD that may be executed
 *
 * LOCKS     none.
 * LINUX     fs/binfmt_elf.c, which also starts dynamic linkers.  System V gABI chapters 4 and 5.
 */
#include "lib/elf.h"
#include "lib/string.h"

/* The ELF header as it stands in the file. */
struct file_header {
	u8 ident[16]; /* magic, class, byte order, version */
	u16 type;
	u16 machine;
	u32 version;
	u64 entry;
	u64 phoff;
	u64 shoff;
	u32 flags;
	u16 ehsize;
	u16 phentsize;
	u16 phnum;
	u16 shentsize;
	u16 shnum;
	u16 shstrndx;
};

/* A program header as it stands in the file. */
struct program_header {
	u32 type;
	u32 flags;
	u64 offset;
	u64 vaddr;
	u64 paddr;
	u64 filesz;
	u64 memsz;
	u64 align;
};

_Static_assert(sizeof(struct file_header) == 64, "ELF header");
_Static_assert(sizeof(struct program_header) == ELF_HEADER_BYTES, "program header");

#define ET_EXEC     2
#define ET_DYN      3
#define EM_X86_64   62
#define CLASS_64    2
#define LSB_FIRST   1
#define VERSION_ONE 1

/* Does [offset, offset + bytes) lie inside the file? No sum is formed that could wrap. */
static bool inside_file(const struct elf *elf, u64 offset, u64 bytes)
{
	return offset <= elf->size && bytes <= elf->size - offset;
}

/* Program header number `index`; copied out, because a file may begin at an odd address. */
static void read_segment(const struct elf *elf, unsigned int index, struct elf_segment *segment)
{
	struct program_header ph;

	memcpy(&ph, elf->data + elf->headers_offset + (u64)index * ELF_HEADER_BYTES, sizeof(ph));
	*segment = (struct elf_segment){
		.type = ph.type,
		.flags = ph.flags,
		.start = ph.vaddr,
		.memory_bytes = ph.memsz,
		.file_bytes = ph.filesz,
		.file_offset = ph.offset,
		.align = ph.align,
		.data = inside_file(elf, ph.offset, ph.filesz) ? elf->data + ph.offset : NULL,
	};
}

static enum elf_result check_file_header(const struct file_header *fh)
{
	if (memcmp(fh->ident, "\177ELF", 4) != 0)
		return ELF_NOT_ELF;
	if (fh->ident[4] != CLASS_64 || fh->ident[5] != LSB_FIRST)
		return ELF_NOT_64BIT;
	if (fh->ident[6] != VERSION_ONE || fh->version != VERSION_ONE)
		return ELF_VERSION;
	if (fh->machine != EM_X86_64)
		return ELF_NOT_X86_64;
	if (fh->type != ET_EXEC && fh->type != ET_DYN)
		return ELF_NOT_A_PROGRAM;
	if (fh->phentsize != ELF_HEADER_BYTES || fh->phnum == 0 || fh->phnum > ELF_MAX_HEADERS)
		return ELF_HEADERS;
	return ELF_OK;
}

/* What must be true of every segment, whatever its type. */
static enum elf_result check_any(const struct elf_segment *segment)
{
	if (segment->type == PT_INTERP)
		return ELF_DYNAMIC;
	if (!segment->data)
		return ELF_SEGMENT_OUTSIDE;
	return ELF_OK;
}

/* What must be true of a segment that is loaded; widens [low, high) by it. */
static enum elf_result check_load(struct elf *elf, const struct elf_segment *segment)
{
	u64 end;

	if (segment->file_bytes > segment->memory_bytes)
		return ELF_SEGMENT_SIZE;
	if ((segment->align & (segment->align - 1)) != 0 ||
		(segment->start - segment->file_offset) % PAGE_SIZE != 0)
		return ELF_SEGMENT_ALIGN;
	if (__builtin_add_overflow(segment->start, segment->memory_bytes, &end) ||
		end > ELF_USER_END || (!elf->pie && segment->start < PAGE_SIZE))
		return ELF_SEGMENT_RANGE;
	if (elf->high != 0 && segment->start < elf->high)
		return ELF_SEGMENT_ORDER;
	if (elf->high == 0)
		elf->low = segment->start & PAGE_MASK;
	elf->high = ALIGN_UP(end, PAGE_SIZE);
	return ELF_OK;
}

static enum elf_result check_tls(const struct elf_segment *segment, unsigned int *nr_tls)
{
	if (segment->file_bytes > segment->memory_bytes)
		return ELF_SEGMENT_SIZE;
	if ((*nr_tls)++ > 0 || (segment->align & (segment->align - 1)) != 0)
		return ELF_TLS;
	return ELF_OK;
}

static enum elf_result check_segments(struct elf *elf)
{
	unsigned int nr_tls = 0;

	for (unsigned int i = 0; i < elf->nr_headers; i++) {
		struct elf_segment segment;
		enum elf_result result;

		read_segment(elf, i, &segment);
		result = check_any(&segment);
		if (result == ELF_OK && segment.type == PT_LOAD && segment.memory_bytes > 0)
			result = check_load(elf, &segment);
		if (result == ELF_OK && segment.type == PT_TLS)
			result = check_tls(&segment, &nr_tls);
		if (result != ELF_OK)
			return result;
		if (segment.type == PT_GNU_STACK && (segment.flags & PF_X))
			elf->exec_stack = true;
	}
	return elf->high == 0 ? ELF_NO_SEGMENT : ELF_OK;
}

/* Is the entry point in executable memory (E4)? Also finds the program headers' own address. */
static enum elf_result find_entry_and_headers(struct elf *elf)
{
	u64 headers_end = elf->headers_offset + (u64)elf->nr_headers * ELF_HEADER_BYTES;
	enum elf_result result = ELF_ENTRY;
	struct elf_segment segment;
	unsigned int index = 0;

	while (elf_next(elf, PT_LOAD, &index, &segment)) {
		if (elf->entry - segment.start < segment.memory_bytes && (segment.flags & PF_X))
			result = ELF_OK;
		if (elf->headers_offset >= segment.file_offset &&
			headers_end - segment.file_offset <= segment.file_bytes)
			elf->headers = segment.start + elf->headers_offset - segment.file_offset;
	}
	return result;
}

/*
 * elf_open - test a whole file and describe the program in it.
 *
 *   returns  ELF_OK, and then E1 to E4 hold; else the first thing that is wrong
 *   after    *elf keeps pointers into the file
 *   Linux    load_elf_binary (its first half)
 */
enum elf_result elf_open(struct elf *elf, const void *data, usize size)
{
	struct file_header fh;
	enum elf_result result;

	*elf = (struct elf){.data = data, .size = size};
	if (size < sizeof(fh))
		return ELF_TRUNCATED;
	memcpy(&fh, data, sizeof(fh));
	result = check_file_header(&fh);
	if (result != ELF_OK)
		return result;

	elf->pie = fh.type == ET_DYN;
	elf->entry = fh.entry;
	elf->headers_offset = fh.phoff;
	elf->nr_headers = fh.phnum;
	if (!inside_file(elf, fh.phoff, (u64)fh.phnum * ELF_HEADER_BYTES))
		return ELF_HEADERS_OUTSIDE;
	result = check_segments(elf);
	if (result != ELF_OK)
		return result;
	return find_entry_and_headers(elf);
}

/*
 * elf_next - the next segment of a type, from header number *index on; empty PT_LOADs are skipped.
 *
 *   returns  true, the segment, and *index behind it; false when there is none left
 */
bool elf_next(const struct elf *elf, u32 type, unsigned int *index, struct elf_segment *segment)
{
	while (*index < elf->nr_headers) {
		read_segment(elf, (*index)++, segment);
		if (segment->type == type && (type != PT_LOAD || segment->memory_bytes > 0))
			return true;
	}
	return false;
}

/* elf_text - a result in words, for the person who linked the program. */
const char *elf_text(enum elf_result result)
{
	static const char *const text[ELF_NR_RESULTS] = {
		[ELF_OK] = "no error",
		[ELF_TRUNCATED] = "the file is too short for a program",
		[ELF_NOT_ELF] = "not an ELF file",
		[ELF_NOT_64BIT] = "not a 64-bit little-endian ELF file: build for x86-64",
		[ELF_NOT_X86_64] = "built for another processor: build for x86-64",
		[ELF_VERSION] = "an unknown version of ELF",
		[ELF_NOT_A_PROGRAM] = "not a program (an object file? link it first)",
		[ELF_DYNAMIC] = "dynamic linking is not supported: build with -static",
		[ELF_HEADERS] = "the program headers are missing, too many or of a wrong size",
		[ELF_HEADERS_OUTSIDE] = "the program headers lie outside the file (cut off?)",
		[ELF_SEGMENT_OUTSIDE] = "a segment lies outside the file (cut off?)",
		[ELF_SEGMENT_SIZE] = "a segment has more bytes in the file than in memory",
		[ELF_SEGMENT_ALIGN] = "a segment's address and file offset do not fit page by page",
		[ELF_SEGMENT_RANGE] = "a segment lies outside the addresses of user programs",
		[ELF_SEGMENT_ORDER] = "segments overlap, share a page or are not in order",
		[ELF_NO_SEGMENT] = "nothing in the file is to be loaded",
		[ELF_ENTRY] = "the entry point is not in an executable segment",
		[ELF_TLS] = "more than one TLS segment, or one of an odd alignment",
	};

	return (usize)result < ELF_NR_RESULTS ? text[result] : "unknown result";
}
