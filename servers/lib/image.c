/*
 * image.c - what the memory of a new program looks like                                         ring 3
 *
 * Turns an ELF file into a list of pieces to map, and arguments into the bytes of a first stack. It makes no call: who
 * uses it maps the pieces. kernel/lib/elf.c has tested the file before anything is computed here.
 *
 * IDEA
 *   segment           file bytes                      | memory beyond them (bss)
 *                |----page----|----page----|--pa......|.ge--|----page----|----page----|
 *   pieces       |<-------- FILE --------->|<---- COPY ---->|<-------- ZERO --------->|
 *   The page where the file's bytes end must be zero behind them, and the file's own page is not: so it is a fresh page
 *   into which bytes are copied. A segment without bss needs no COPY: what stands in the file behind it does no harm.
 *
 *   the stack, from its top downwards
 *     0, path, environment strings, argument strings, "x86_64", 16 random bytes
 *     (to 16 bytes)  0 0, auxiliary vector, 0, envp, 0, argv, argc  <- sp
 *
 * INVARIANTS (test_image.c)
 *   G1  pieces ascend, are disjoint, whole pages, and lie where elf_open() said the program lies
 *   G2  every byte of a segment is in a piece with the segment's rights; no piece is writable and executable unless the
 *       segment is
 *   G3  sp is a multiple of 16
 *
 * LOCKS     none.
 * LINUX     fs/binfmt_elf.c: load_elf_binary, create_elf_tables.
 */
#include "image.h"

#include "lib/string.h"

#define PROT_READ  1u
#define PROT_WRITE 2u
#define PROT_EXEC  4u

#define PIE_BASE 0x555555554000ul /* where Linux loads position-independent programs */

/* --- pieces -------------------------------------------------------------------------------------------------- */

static u32 segment_prot(const struct elf_segment *s)
{
	return (s->flags & PF_R ? PROT_READ : 0) | (s->flags & PF_W ? PROT_WRITE : 0) |
	       (s->flags & PF_X ? PROT_EXEC : 0);
}

/* Where a static-pie goes: the base, rounded so that every segment keeps its alignment. */
static u64 choose_bias(const struct elf *elf)
{
	struct elf_segment s;
	unsigned index = 0;
	u64 align = PAGE_SIZE;

	if (!elf->pie)
		return 0;
	while (elf_next(elf, PT_LOAD, &index, &s))
		if (s.align > align && s.align <= HPAGE_PUD_SIZE)
			align = s.align;
	return ALIGN_UP(PIE_BASE, align) - ALIGN_DOWN(elf->low, align);
}

static struct image_piece *add_piece(
	struct image *image, enum image_kind kind, u64 addr, u64 end, const struct elf_segment *s)
{
	struct image_piece *p = &image->piece[image->nr_pieces];

	if (addr == end)
		return NULL;
	image->nr_pieces++;
	*p = (struct image_piece){
		.kind = kind, .prot = segment_prot(s), .addr = addr, .bytes = end - addr};
	return p;
}

static void add_segment(struct image *image, const struct elf_segment *s, u64 copy_below)
{
	u64 start = image->bias + s->start, file_end = start + s->file_bytes;
	u64 first = ALIGN_DOWN(start, PAGE_SIZE), copy = file_end, copy_end = file_end;
	u64 end = ALIGN_UP(start + s->memory_bytes, PAGE_SIZE);
	struct image_piece *p;

	if (!s->file_bytes) {
		add_piece(image, IMAGE_ZERO, first, end, s);
		return;
	}
	copy_end = ALIGN_UP(file_end, PAGE_SIZE);
	if (copy_below == ~0ul || ((s->flags & PF_W) && s->file_bytes <= copy_below))
		copy = first;
	else
		copy = s->memory_bytes > s->file_bytes ? ALIGN_DOWN(file_end, PAGE_SIZE) : copy_end;
	p = add_piece(image, IMAGE_FILE, first, copy, s);
	if (p)
		p->file_offset = ALIGN_DOWN(s->file_offset, PAGE_SIZE);
	p = add_piece(image, IMAGE_COPY, copy, copy_end, s);
	if (p) {
		p->data_addr = MAX(copy, start);
		p->data_bytes = file_end - p->data_addr;
		p->data = s->data + (p->data_addr - start);
	}
	add_piece(image, IMAGE_ZERO, copy_end, end, s);
}

enum elf_result image_open(struct image *image, const void *data, usize size, u64 copy_below)
{
	enum elf_result result = elf_open(&image->elf, data, size);
	struct elf_segment s;
	unsigned index = 0;

	image->nr_pieces = 0;
	if (result != ELF_OK)
		return result;
	image->bias = choose_bias(&image->elf);
	if (image->elf.pie && image->elf.high > ELF_USER_END - image->bias)
		return ELF_SEGMENT_RANGE;
	image->entry = image->bias + image->elf.entry;
	image->brk = image->bias + image->elf.high;
	while (elf_next(&image->elf, PT_LOAD, &index, &s))
		add_segment(image, &s, copy_below);
	return ELF_OK;
}

/* --- the stack ------------------------------------------------------------------------------------------------- */

#define AT_NULL     0
#define AT_PHDR     3
#define AT_PHENT    4
#define AT_PHNUM    5
#define AT_PAGESZ   6
#define AT_BASE     7
#define AT_FLAGS    8
#define AT_ENTRY    9
#define AT_UID      11
#define AT_EUID     12
#define AT_GID      13
#define AT_EGID     14
#define AT_PLATFORM 15
#define AT_HWCAP    16
#define AT_CLKTCK   17
#define AT_SECURE   23
#define AT_RANDOM   25
#define AT_HWCAP2   26
#define AT_EXECFN   31

#define NR_AUX 19

static const char platform[] = "x86_64";

/* Feature bits as Linux reports them: CPUID 1, EDX. */
static u64 hwcap(void)
{
	u32 eax = 1, ebx, ecx = 0, edx;

	__asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	return edx;
}

/* Strings and blobs, the words that point at them, and what alignment may cost. */
static usize string_bytes(const struct image_args *a)
{
	return sizeof(u64) + strlen(a->path) + 1 + a->env_bytes + a->arg_bytes + sizeof(platform) +
	       16;
}

static usize word_bytes(const struct image_args *a)
{
	return (1 + a->argc + 1 + a->envc + 1 + 2 * NR_AUX) * sizeof(u64);
}

usize image_stack_room(const struct image_args *a)
{
	return ALIGN_UP(string_bytes(a) + 16 + word_bytes(a), 16);
}

/* A stack under construction: `at` is where the next byte below goes, `delta` turns it into the program's address. */
struct builder {
	u8 *at;
	u64 delta;
};

static u64 push(struct builder *b, const void *bytes, usize n)
{
	b->at -= n;
	memcpy(b->at, bytes, n);
	return (u64)b->at + b->delta;
}

/* The addresses of n strings that lie one behind the other, and a zero. */
static u64 *put_strings(u64 *w, unsigned n, const char *strings, u64 addr)
{
	const char *s = strings;

	for (unsigned i = 0; i < n; i++, s += strlen(s) + 1)
		*w++ = addr + (u64)(s - strings);
	*w++ = 0;
	return w;
}

static u64 *put_aux(u64 *w, u64 type, u64 value)
{
	*w++ = type;
	*w++ = value;
	return w;
}

struct aux_strings {
	u64 path, platform, random;
};

static void put_auxv(const struct image *image, const struct aux_strings *at, u64 *w)
{
	const struct elf *elf = &image->elf;

	w = put_aux(w, AT_HWCAP, hwcap());
	w = put_aux(w, AT_PAGESZ, PAGE_SIZE);
	w = put_aux(w, AT_CLKTCK, 100);
	w = put_aux(w, AT_PHDR, elf->headers ? image->bias + elf->headers : 0);
	w = put_aux(w, AT_PHENT, ELF_HEADER_BYTES);
	w = put_aux(w, AT_PHNUM, elf->nr_headers);
	w = put_aux(w, AT_BASE, 0);
	w = put_aux(w, AT_FLAGS, 0);
	w = put_aux(w, AT_ENTRY, image->entry);
	w = put_aux(w, AT_UID, 0);
	w = put_aux(w, AT_EUID, 0);
	w = put_aux(w, AT_GID, 0);
	w = put_aux(w, AT_EGID, 0);
	w = put_aux(w, AT_SECURE, 0);
	w = put_aux(w, AT_RANDOM, at->random);
	w = put_aux(w, AT_HWCAP2, 0);
	w = put_aux(w, AT_EXECFN, at->path);
	w = put_aux(w, AT_PLATFORM, at->platform);
	put_aux(w, AT_NULL, 0);
}

bool image_stack(const struct image *image, const struct image_args *args, u64 top, void *buf,
	usize size, struct image_stack *out)
{
	struct builder b = {.at = (u8 *)buf + size, .delta = top - (u64)buf - size};
	const u64 zero = 0;
	struct aux_strings at;
	u64 env, *w;

	if (image_stack_room(args) > size)
		return false;
	push(&b, &zero, sizeof(zero));
	at.path = push(&b, args->path, strlen(args->path) + 1);
	env = push(&b, args->env, args->env_bytes);
	out->arg_start = push(&b, args->args, args->arg_bytes);
	out->arg_end = out->arg_start + args->arg_bytes;
	at.platform = push(&b, platform, sizeof(platform));
	at.random = push(&b, args->random, 16);

	out->sp = ALIGN_DOWN((u64)b.at + b.delta - word_bytes(args), 16); /* G3 */
	w = (u64 *)(out->sp - b.delta);
	out->bytes = (const u8 *)w;
	out->nr_bytes = top - out->sp;
	memset(w, 0, b.at - (u8 *)w);
	*w++ = args->argc;
	w = put_strings(w, args->argc, args->args, out->arg_start);
	w = put_strings(w, args->envc, args->env, env);
	put_auxv(image, &at, w);
	return true;
}
