"""Programs of the user's own, built on this machine: ROOT=folder puts them under /root."""

import re
import subprocess

import pytest

HEALTH = "check && ledger"

TEN_LINES = """\
#include <pthread.h>
#include <stdio.h>
static _Atomic long sum;
static void *add(void *n) { for (long i = 0; i < 100000; i++) sum += (long)n; return 0; }
int main(void)
{
	pthread_t threads[4];
	for (long i = 0; i < 4; i++) if (pthread_create(&threads[i], 0, add, (void *)(i + 1))) return 1;
	for (int i = 0; i < 4; i++) pthread_join(threads[i], 0);
	return printf("four threads: %ld, %s\\n", sum, sum == 1000000 ? "right" : "WRONG") < 0;
}
"""

# What a program finds in its registers when it starts: nothing but its stack, and Linux's floating point.
FRESH = """\
	.globl _start
_start:
	or %rbx, %rax; or %rcx, %rax; or %rdx, %rax; or %rsi, %rax; or %rdi, %rax; or %rbp, %rax; or %r8, %rax
	or %r9, %rax; or %r10, %rax; or %r12, %rax; or %r13, %rax; or %r14, %rax; or %r15, %rax
	mov $1, %edi
	test %rax, %rax
	jnz end
	.irp n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
	orps %xmm\\n, %xmm0
	.endr
	movups %xmm0, -64(%rsp)
	mov $2, %edi
	mov -64(%rsp), %rax
	or -56(%rsp), %rax
	jnz end
	mov $3, %edi
	stmxcsr -64(%rsp)
	cmpl $0x1f80, -64(%rsp)
	jne end
	mov $4, %edi
	fnstcw -64(%rsp)
	cmpw $0x37f, -64(%rsp)
	jne end
	xor %edi, %edi
end:	mov $231, %eax
	syscall
"""


@pytest.fixture
def program(tmp_path):
    """program(name, source, command...) -> the folder with it."""
    folder = tmp_path / "root"
    folder.mkdir()

    def build(name, source, *command, suffix=".c"):
        path = tmp_path / (name + suffix)
        path.write_text(source)
        subprocess.run([*command, "-o", str(folder / name), str(path)], check=True)
        return folder

    return build


@pytest.mark.parametrize("command", [("gcc", "-static", "-O2", "-pthread"), ("musl-gcc", "-static", "-O2")],
                         ids=["glibc", "musl"])
@pytest.mark.parametrize("smp", [1, 4])
def test_four_threads(pagoda, program, initrd_with, command, smp):
    folder = program("prog", TEN_LINES, *command)
    result = pagoda(f"/root/prog && /root/prog && {HEALTH}", initrd=initrd_with(folder), shell=True, smp=smp)
    assert result.output.count("four threads: 1000000, right") == 2


def test_registers_of_a_fresh_program(pagoda, program, initrd_with):
    """Whatever others left: fpu fills all registers with its own values, in five processes and four threads."""
    folder = program("fresh", FRESH, "gcc", "-static", "-nostdlib", suffix=".S")
    result = pagoda("fpu 300 & for i in $(seq 40); do /root/fresh || echo left: $?; done; wait; "
                    f"echo fresh; {HEALTH}", initrd=initrd_with(folder), shell=True, smp=2, limit=60)
    assert not re.search(r"^left: \d", result.output, re.M) and re.search(r"^fresh$", result.output, re.M), result
    assert re.search(r"^fpu: .*: ok$", result.output, re.M), result


# Calls that are served in several runs: empty pieces, long pieces; and forks among signals, none of which is EINTR.
PIECES = """\
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
static char out[5 << 20], in[5 << 20];
static void handler(int n) { (void)n; }
int main(void)
{
	struct iovec pieces[] = {{out, 0}, {out, 1}, {out, 0}, {out + 1, 3 << 20}, {out, 0}, {out + (3 << 20) + 1, (2 << 20) - 1}};
	struct iovec words[] = {{"", 0}, {"two ", 4}, {"", 0}, {"words\\n", 6}};
	struct itimerval timer = {{0, 1000}, {0, 1000}};
	int fd = open("/tmp/pieces", O_RDWR | O_CREAT, 0600), i, interrupted = 0;

	for (i = 0; i < (int)sizeof(out); i++) out[i] = (char)(i * 7 + i / 4096);
	if (writev(fd, pieces, 6) != sizeof(out) || pread(fd, in, sizeof(in), 0) != sizeof(in)) return 1;
	if (memcmp(in, out, sizeof(in)) || writev(1, words, 4) != 10) return 2;
	sigaction(SIGALRM, &(struct sigaction){.sa_handler = handler}, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	for (i = 0; i < 300; i++) {
		pid_t child = fork();

		if (!child) _exit(0);
		interrupted += child < 0 && errno == EINTR;
		while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR) { }
	}
	return interrupted ? 3 : 0;
}
"""


def test_calls_in_pieces(pagoda, program, initrd_with):
    """Its folder is on the PATH of CMD, too."""
    folder = program("pieces", PIECES, "musl-gcc", "-static", "-O2")
    result = pagoda(f"pieces && {HEALTH}", initrd=initrd_with(folder), shell=True, smp=2, limit=60)
    assert "two words" in result.output, result
