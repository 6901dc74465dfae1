/*
 * tcg_count.c - counts the instructions that each virtual CPU executes: a plugin for QEMU's TCG.    host
 *
 *   gcc -shared -fPIC -O2 -o tcg_count.so tools/tcg_count.c       tools/bench.py does it
 *   qemu-system-x86_64 ... -plugin ./tcg_count.so -d plugin -D FILE
 *
 * For counts with several CPUs, where -icount cannot help: it counts all CPUs together and lets them
 * run one at a time. FILE gets one line at each mark and one at the end:
 *
 *   tcg_count: mark 1: 6380282 12 0 0          instructions of CPU 0, 1, 2, 3 so far
 *   tcg_count: end: 9380282 12 0 0
 *
 * A mark is an instruction that does nothing, wherever the guest has one: nopl 0x50474441(%rax)
 * (tests/kernel/load.c). Each iteration of a rep instruction counts as one. An instruction that faults
 * counts twice, before and after the fault.
 *
 * QEMU's header qemu-plugin.h is in no package of ours, so the functions used are declared here, as the
 * plugin interface of version 1 has them (QEMU 4.2 and newer keep it).
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EXPORT   __attribute__((visibility("default")))
#define MAX_CPUS 16

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info; /* about the guest; not looked at */

enum qemu_plugin_cb_flags {
	QEMU_PLUGIN_CB_NO_REGS
};

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
	void (*fn)(unsigned int cpu, void *arg), enum qemu_plugin_cb_flags flags, void *arg);
void qemu_plugin_register_vcpu_tb_trans_cb(
	qemu_plugin_id_t id, void (*fn)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_atexit_cb(
	qemu_plugin_id_t id, void (*fn)(qemu_plugin_id_t id, void *arg), void *arg);
void qemu_plugin_outs(const char *text);

EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(
	qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv);

/* Each CPU's thread writes its own, so a line of the cache of its own for each. */
static struct {
	uint64_t executed;
	uint64_t unused[7];
} cpus[MAX_CPUS];
static unsigned int marks;

/* nopl 0x50474441(%rax) */
static const uint8_t mark_code[] = {0x0f, 0x1f, 0x80, 0x41, 0x44, 0x47, 0x50};

static void line(const char *what)
{
	char text[64 + MAX_CPUS * 21];
	int n = snprintf(text, sizeof(text), "tcg_count: %s:", what);

	for (int i = 0; i < MAX_CPUS; i++)
		n += snprintf(text + n, sizeof(text) - n, " %" PRIu64,
			__atomic_load_n(&cpus[i].executed, __ATOMIC_RELAXED));
	snprintf(text + n, sizeof(text) - n, "\n");
	qemu_plugin_outs(text);
}

static void count(unsigned int cpu, void *arg)
{
	cpus[cpu % MAX_CPUS].executed++;
}

static void mark(unsigned int cpu, void *arg)
{
	char what[32];

	snprintf(what, sizeof(what), "mark %u", __atomic_add_fetch(&marks, 1, __ATOMIC_RELAXED));
	line(what);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		qemu_plugin_register_vcpu_insn_exec_cb(insn, count, QEMU_PLUGIN_CB_NO_REGS, NULL);
		if (qemu_plugin_insn_size(insn) == sizeof(mark_code) &&
			memcmp(qemu_plugin_insn_data(insn), mark_code, sizeof(mark_code)) == 0)
			qemu_plugin_register_vcpu_insn_exec_cb(
				insn, mark, QEMU_PLUGIN_CB_NO_REGS, NULL);
	}
}

static void ended(qemu_plugin_id_t id, void *arg)
{
	line("end");
}

int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv)
{
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, ended, NULL);
	return 0;
}
