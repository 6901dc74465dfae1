/*
 * unwind.c - from a frame to its caller, by the tables the compiler wrote.             floor 1
 *
 * Reads .eh_frame, which gcc, clang and our assembly stubs (cfi.inc) fill, so no register is spent
 * on a frame pointer. Used when the kernel is wrong or a person asks: it searches linearly, and
 * believes nothing beyond what it can check.
 *
 * IDEA
 *   .eh_frame   |CIE|FDE|FDE|CIE|FDE ...        FDE: [start, end) of a function and a small program
 *   The program, run up to the current rip, says where the frame's upper end is (CFA = register +
 *   offset) and at which CFA - n each register of the caller was saved. Ring 3 and thread starts
 *   have "undefined" as return address: the chain ends.
 *
 * INVARIANTS
 *   U1  each step goes up the stack, or to another stack through an interrupt frame
 *
 * LOCKS     none.
 * LINUX     arch/x86/kernel/unwind_orc.c compiles the same tables to a faster form.
 *           DWARF 5, section 6.4; Linux Standard Base, ".eh_frame".
 */
#include "x86/unwind.h"
#include "lib/string.h"

extern const u8 __eh_frame_start[], __eh_frame_end[];

#define ENCODING_PCREL_S4 0x1b
#define MAX_SAVED_STATES  4

/* Where a register of the caller is. */
enum rule {
	RULE_SAME,
	RULE_AT_CFA,
	RULE_UNDEFINED
};

struct row {
	u64 cfa_reg;
	s64 cfa_offset;
	enum rule rule[NR_UNWIND];
	s64 offset[NR_UNWIND];
};

/* One program being run. */
struct machine {
	const u8 *p, *end;
	u64 code_align;
	s64 data_align;
	u64 rip; /* rows beginning at or before this one apply */
	u64 at;  /* the address the current row begins at */
	struct row row, initial, saved[MAX_SAVED_STATES];
	u32 nr_saved;
	bool signal, broken;
};

static u64 read_uleb(struct machine *m)
{
	u64 value = 0;

	for (u32 shift = 0; m->p < m->end; shift += 7) {
		u8 byte = *m->p++;

		if (shift < 64)
			value |= (u64)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			break;
	}
	return value;
}

static s64 read_sleb(struct machine *m)
{
	u64 value = 0;
	u32 shift = 0;

	while (m->p < m->end) {
		u8 byte = *m->p++;

		if (shift < 64)
			value |= (u64)(byte & 0x7f) << shift;
		shift += 7;
		if (byte & 0x80)
			continue;
		if (shift < 64 && byte & 0x40)
			value |= ~0ul << shift;
		break;
	}
	return (s64)value;
}

static u64 read_fixed(struct machine *m, u32 bytes)
{
	u64 value = 0;

	if ((usize)(m->end - m->p) < bytes) {
		m->broken = true;
		return 0;
	}
	memcpy(&value, m->p, bytes);
	m->p += bytes;
	return value;
}

static void set_rule(struct machine *m, u64 reg, enum rule rule, s64 offset)
{
	if (reg >= NR_UNWIND)
		return;
	m->row.rule[reg] = rule;
	m->row.offset[reg] = offset;
}

static void restore_rule(struct machine *m, u64 reg)
{
	if (reg < NR_UNWIND)
		set_rule(m, reg, m->initial.rule[reg], m->initial.offset[reg]);
}

static void push_state(struct machine *m)
{
	if (m->nr_saved == MAX_SAVED_STATES)
		m->broken = true;
	else
		m->saved[m->nr_saved++] = m->row;
}

static void pop_state(struct machine *m)
{
	if (m->nr_saved == 0)
		m->broken = true;
	else
		m->row = m->saved[--m->nr_saved];
}

/* The instructions with an opcode in the low six bits. */
static void run_extended(struct machine *m, u8 op)
{
	u64 reg;

	switch (op) {
	case 0x00: /* nop */
		break;
	case 0x02: /* advance_loc1, 2, 4 */
	case 0x03:
	case 0x04:
		m->at += read_fixed(m, 1u << (op - 2)) * m->code_align;
		break;
	case 0x05: /* offset_extended */
		reg = read_uleb(m);
		set_rule(m, reg, RULE_AT_CFA, (s64)read_uleb(m) * m->data_align);
		break;
	case 0x06: /* restore_extended */
		restore_rule(m, read_uleb(m));
		break;
	case 0x07: /* undefined */
		set_rule(m, read_uleb(m), RULE_UNDEFINED, 0);
		break;
	case 0x08: /* same_value */
		set_rule(m, read_uleb(m), RULE_SAME, 0);
		break;
	case 0x0a: /* remember_state */
		push_state(m);
		break;
	case 0x0b: /* restore_state */
		pop_state(m);
		break;
	case 0x0c: /* def_cfa */
		m->row.cfa_reg = read_uleb(m);
		m->row.cfa_offset = (s64)read_uleb(m);
		break;
	case 0x0d: /* def_cfa_register */
		m->row.cfa_reg = read_uleb(m);
		break;
	case 0x0e: /* def_cfa_offset */
		m->row.cfa_offset = (s64)read_uleb(m);
		break;
	case 0x11: /* offset_extended_sf */
		reg = read_uleb(m);
		set_rule(m, reg, RULE_AT_CFA, read_sleb(m) * m->data_align);
		break;
	case 0x2e: /* GNU_args_size */
		read_uleb(m);
		break;
	default: /* expressions: no code of ours has them */
		m->broken = true;
	}
}

static void run_program(struct machine *m)
{
	while (m->p < m->end && !m->broken && m->at <= m->rip) {
		u8 op = *m->p++;

		switch (op & 0xc0) {
		case 0x40: /* advance_loc */
			m->at += (op & 0x3f) * m->code_align;
			break;
		case 0x80: /* offset */
			set_rule(m, op & 0x3f, RULE_AT_CFA, (s64)read_uleb(m) * m->data_align);
			break;
		case 0xc0: /* restore */
			restore_rule(m, op & 0x3f);
			break;
		default:
			run_extended(m, op);
		}
	}
}

/* The CIE holds what its FDEs share: alignments, first rules. Leaves m with the initial row. */
static bool read_cie(struct machine *m, const u8 *cie)
{
	u32 length;
	const char *augmentation;
	u64 augmentation_bytes;

	memcpy(&length, cie, 4);
	*m = (struct machine){.p = cie + 9, .end = cie + 4 + length, .rip = ~0ul};
	augmentation = (const char *)m->p;
	m->p += strlen(augmentation) + 1;
	m->code_align = read_uleb(m);
	m->data_align = read_sleb(m);
	if (read_uleb(m) != UNWIND_RIP || augmentation[0] != 'z')
		return false;
	augmentation_bytes = read_uleb(m);
	for (const char *a = augmentation + 1; *a; a++) {
		if (*a == 'S')
			m->signal = true;
		else if (*a != 'R' || *m->p != ENCODING_PCREL_S4)
			return false;
	}
	m->p += augmentation_bytes;
	run_program(m);
	m->initial = m->row;
	return !m->broken;
}

/* Finds the FDE whose function contains rip, and runs its program up to there. */
static bool find_row(struct machine *m, u64 rip)
{
	u32 length, cie_distance;
	s32 start;
	u32 bytes;

	for (const u8 *p = __eh_frame_start; p + 16 < __eh_frame_end; p += 4 + length) {
		memcpy(&length, p, 4);
		if (length == 0)
			continue;
		memcpy(&cie_distance, p + 4, 4);
		if (cie_distance == 0)
			continue;
		memcpy(&start, p + 8, 4);
		memcpy(&bytes, p + 12, 4);
		u64 begin = (u64)(p + 8) + (s64)start;
		if (rip - begin >= bytes)
			continue;
		if (!read_cie(m, p + 4 - cie_distance))
			return false;
		m->p = p + 16;
		m->end = p + 4 + length;
		m->at = begin;
		m->rip = rip;
		u64 skip = read_uleb(m);
		m->p += skip;
		run_program(m);
		return !m->broken;
	}
	return false;
}

static bool stack_readable(u64 addr)
{
	return addr >= KERNEL_HALF && addr % 8 == 0;
}

/* unwind_from_regs - begin at interrupted code. */
void unwind_from_regs(struct unwind_frame *f, const struct regs *r)
{
	*f = (struct unwind_frame){
		.reg = {r->rax, r->rdx, r->rcx, r->rbx, r->rsi, r->rdi, r->rbp, r->rsp, r->r8,
			r->r9, r->r10, r->r11, r->r12, r->r13, r->r14, r->r15, r->rip},
		.exact = true,
	};
}

/* A call through a bad pointer: there is no code at rip, but the return address is on the stack. */
static bool pop_return(struct unwind_frame *f)
{
	if (!stack_readable(f->reg[UNWIND_RSP]))
		return false;
	f->reg[UNWIND_RIP] = *(const u64 *)f->reg[UNWIND_RSP];
	f->reg[UNWIND_RSP] += 8;
	f->exact = false;
	return f->reg[UNWIND_RIP] >= KERNEL_HALF;
}

/*
 * unwind_step - replace the frame by its caller's.
 *
 *   returns  false: there is no caller (ring 3, a thread's first function), or it cannot be found
 */
bool unwind_step(struct unwind_frame *f)
{
	static struct machine m; /* too large for a stack that may be short; one user at a time */
	u64 rip = f->reg[UNWIND_RIP] - !f->exact, cfa;
	struct unwind_frame caller = *f;

	if (rip < KERNEL_HALF || !find_row(&m, rip))
		return f->exact && pop_return(f);
	if (m.row.cfa_reg >= NR_UNWIND || m.row.rule[UNWIND_RIP] != RULE_AT_CFA)
		return false;
	cfa = f->reg[m.row.cfa_reg] + (u64)m.row.cfa_offset;
	if (!stack_readable(cfa) || (!m.signal && cfa <= f->reg[UNWIND_RSP]))
		return false;
	caller.reg[UNWIND_RSP] = cfa;
	for (u32 reg = 0; reg < NR_UNWIND; reg++)
		if (m.row.rule[reg] == RULE_AT_CFA)
			caller.reg[reg] = *(const u64 *)(cfa + (u64)m.row.offset[reg]);
	caller.exact = m.signal;
	*f = caller;
	return f->reg[UNWIND_RIP] != 0;
}
