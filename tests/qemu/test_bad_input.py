"""Files that are no programs, arguments that are too many: Linux's error, a word why, nothing lost."""

import re
import struct
import subprocess

import pytest

HEALTH = "check && ledger"

# Tries to run each file it is given, in a child, and says how that went: the name of the error, or the end.
TRY = r"""
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		char *args[] = {argv[i], NULL}, *none[] = {NULL};
		int ends[2], status, error = 0, pid;
		if (pipe(ends)) return 1;
		pid = fork();
		if (pid == 0) {
			execve(argv[i], args, none);
			error = errno;
			return write(ends[1], &error, sizeof(error)) < 0;
		}
		close(ends[1]);
		if (read(ends[0], &error, sizeof(error)) != sizeof(error)) error = 0;
		close(ends[0]);
		waitpid(pid, &status, 0);
		if (error) printf("try %s: error %d\n", argv[i], error);
		else if (WIFSIGNALED(status)) printf("try %s: signal %d\n", argv[i], WTERMSIG(status));
		else printf("try %s: status %d\n", argv[i], WEXITSTATUS(status));
		fflush(stdout);
	}
	return 0;
}
"""

# execve with BYTES of arguments, in one or in many.
TOO_LONG = r"""
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	long bytes = atol(argv[1]), each = atol(argv[2]), nr = bytes / each;
	char **args = calloc(nr + 2, sizeof(*args)), *one = malloc(each + 1);
	memset(one, 'x', each);
	one[each - 1] = 0;
	args[0] = "true";
	for (long i = 1; i <= nr; i++) args[i] = one;
	execv("/bin/true", args);
	printf("too long %ld %ld: error %d\n", bytes, each, errno);
	return 0;
}
"""
E2BIG, ENOENT, ENOEXEC, EACCES, ENOTDIR = 7, 2, 8, 13, 20


def elf(segments, machine=62, kind=2, entry=0x400000, bits=2, size=0x3000, phentsize=56):
    """An ELF file with these (type, flags, offset, address, bytes in the file, bytes in memory)."""
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF" + bytes([bits, 1, 1]), kind, machine, 1, entry, 64, 0, 0, 64,
                       phentsize, len(segments), 0, 0, 0)
    for kind_, flags, offset, address, filesz, memsz in segments:
        head += struct.pack("<IIQQQQQQ", kind_, flags, offset, address, address, filesz, memsz, 0x1000)
    code = b"\xb8\xe7\x00\x00\x00\x31\xff\x0f\x05"          # exit_group(0)
    return (head.ljust(0x1000, b"\0") + code).ljust(size, b"\0")


GOOD = (1, 5, 0x1000, 0x400000, 0x1000, 0x1000)
DATA = (1, 6, 0x2000, 0x401000, 0x1000, 0x1000)

FILES = {
    "good": (elf([GOOD, DATA]), ["status 0"]),
    "text": (b"hello\n", [f"error {ENOEXEC}"]),
    "empty": (b"", [f"error {ENOEXEC}"]),
    "magic": (b"\x7fELF", [f"error {ENOEXEC}"]),
    "class32": (elf([GOOD], bits=1), [f"error {ENOEXEC}"]),
    "machine": (elf([GOOD], machine=183), [f"error {ENOEXEC}"]),
    "object": (elf([GOOD], kind=1), [f"error {ENOEXEC}"]),
    "nosegments": (elf([]), [f"error {ENOEXEC}", "signal 11", "signal 9"]),
    "phentsize": (elf([GOOD], phentsize=32), [f"error {ENOEXEC}"]),
    "header": (elf([GOOD])[:70], [f"error {ENOEXEC}"]),
    "truncated": (elf([GOOD, DATA])[:0x1004], [f"error {ENOEXEC}", "signal 7", "signal 11"]),
    "behind": (elf([(1, 5, 0x100000, 0x400000, 0x1000, 0x1000)]), [f"error {ENOEXEC}", "signal 7", "signal 11"]),
    "overlap": (elf([GOOD, (1, 6, 0x2000, 0x400000, 0x1000, 0x1000)]), [f"error {ENOEXEC}", "signal 11", "signal 9"]),
    "kernel": (elf([(1, 5, 0x1000, 0xffffffff80000000, 0x1000, 0x1000)], entry=0xffffffff80000000),
               [f"error {ENOEXEC}", "signal 11", "signal 9"]),
    "hole": (elf([(1, 5, 0x1000, 0x800000000000, 0x1000, 0x1000)], entry=0x800000000000),
             [f"error {ENOEXEC}", "signal 11", "signal 9"]),
    "wraps": (elf([(1, 5, 0x1000, 0xfffffffffffff000, 0x1000, 0x2000)]), [f"error {ENOEXEC}", "signal 11", "signal 9"]),
    "huge": (elf([(1, 6, 0x1000, 0x400000, 0x1000, 1 << 62)]), [f"error {ENOEXEC}", "error 12", "signal 11", "signal 9"]),
    "shrinks": (elf([(1, 5, 0x1000, 0x400000, 0x2000, 0x1000)]), [f"error {ENOEXEC}", "error 22", "status 0", "signal 9"]),
    "entry": (elf([GOOD], entry=0x900000), [f"error {ENOEXEC}", "signal 11"]),
    "entrykernel": (elf([GOOD], entry=0xffff800000000000), [f"error {ENOEXEC}", "signal 11"]),
}


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "root"
    made.mkdir()
    for name, source in (("try", TRY), ("toolong", TOO_LONG)):
        (tmp_path / f"{name}.c").write_text(source)
        subprocess.run(["musl-gcc", "-static", "-O2", "-s", "-o", made / name, tmp_path / f"{name}.c"], check=True)
    return made


@pytest.mark.parametrize("debug", [False, True], ids=["release", "debug"])
def test_no_programs(pagoda, folder, initrd_with, debug):
    for name, (data, _) in FILES.items():
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o755)
    (folder / "noright").write_bytes(FILES["good"][0])
    (folder / "noright").chmod(0o644)
    (folder / "script").write_text("#!/nosuch/interpreter\n")
    (folder / "script").chmod(0o755)
    wanted = {name: answers for name, (_, answers) in FILES.items()}
    wanted |= {"noright": [f"error {EACCES}"], "nosuch": [f"error {ENOENT}"], "script": [f"error {ENOENT}"],
               "good/x": [f"error {ENOTDIR}"], ".": [f"error {EACCES}"]}
    names = " ".join(f"/root/{name}" for name in wanted)
    result = pagoda(f"/root/try {names}; /root/try {names} > /dev/null; {HEALTH}", initrd=initrd_with(folder),
                    shell=True, debug=debug, limit=60)
    got = dict(re.findall(r"^try /root/(\S+): (.*)$", result.output, re.M))
    wrong = {name: (got.get(name), answers) for name, answers in wanted.items() if got.get(name) not in answers}
    assert not wrong, f"{wrong}\n{result}"


def test_a_dynamic_program(pagoda, folder, initrd_with, tmp_path):
    """What is to be done about it is said."""
    (tmp_path / "d.c").write_text("int main(void) { return 0; }\n")
    subprocess.run(["gcc", "-o", folder / "dynamic", tmp_path / "d.c"], check=True)
    result = pagoda(f"/root/dynamic; echo status $?; {HEALTH}", initrd=initrd_with(folder), shell=True)
    assert "dynamic linking is not supported: build with -static" in result.output
    assert re.search(r"^status 12[67]$", result.output, re.M)


def test_too_many_arguments(pagoda, folder, initrd_with):
    """One of more than 128 KiB, or 2 MiB of them all together; half of that is no trouble."""
    sizes = [(131073, 131073, True), (131072, 131072, False), (1000000, 1000, False), (4000000, 1000, True),
             (4000000, 10, True), (64000000, 100000, True)]
    result = pagoda("; ".join(f"/root/toolong {total} {each} && echo end {total} {each}" for total, each, _ in sizes)
                    + f"; {HEALTH}", initrd=initrd_with(folder), shell=True, limit=60)
    for total, each, refused in sizes:
        said = f"too long {total} {each}: error {E2BIG}" in result.output
        assert said == refused, f"{total} {each}\n{result}"
