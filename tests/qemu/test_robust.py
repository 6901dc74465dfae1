"""What a program cannot do, however hard it tries: calls at random, states no compiler makes, more than there is.

PAGODA_FUZZ_CALLS=200000 in the environment makes the fuzzer's runs ten times as long as here.
"""

import os
import re
import subprocess
import sys
import threading

import pytest
import qemu

sys.path.insert(0, os.path.join(qemu.ROOT, "tools"))
import bochs  # noqa: E402

HEALTH = "check && ledger"
CALLS = int(os.environ.get("PAGODA_FUZZ_CALLS", "20000"))


# ---- calls -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smp, seed", [(1, 1), (2, 2), (4, 3)])
def test_calls_at_random(pagoda, smp, seed):
    """The shell that started it is there afterwards, all rules hold, every frame is accounted for."""
    result = pagoda(f"fuzz {CALLS} {seed}; echo the shell lives: $?; {HEALTH}", smp=smp, shell=True,
                    limit=60 + CALLS // 200)
    assert re.search(rf"^fuzz: {CALLS // 1000}\d\d\d calls, seed {seed}: ok$", result.output, re.M), result
    assert "the shell lives: 0" in result.output and "ledger exact" in result.output


def test_calls_at_random_with_checks(pagoda):
    """The debug build asserts at every step."""
    result = pagoda(f"fuzz {CALLS // 4} 4; echo the shell lives: $?; {HEALTH}", smp=2, shell=True, debug=True,
                    limit=60 + CALLS // 200)
    assert "the shell lives: 0" in result.output and "ledger exact" in result.output


@pytest.mark.parametrize("smp", [1, 4])
def test_bad_arguments(pagoda, smp):
    result = pagoda(f"natives && pointers && {HEALTH}", smp=smp, shell=True)
    assert re.search(r"^natives: \d+ calls, ok$", result.output, re.M)
    assert re.search(r"^pointers: \d+ calls, ok$", result.output, re.M)


def test_unknown_numbers_are_told_once(pagoda, initrd_with, tmp_path):
    """ENOSYS, and one line in dmesg for each number, however often and by whom it is called."""
    (tmp_path / "root").mkdir()
    (tmp_path / "c.c").write_text("#include <errno.h>\n#include <unistd.h>\n#include <sys/syscall.h>\n"
                                  "int main(void) { int bad = 0; for (int i = 0; i < 50; i++) for (long n = 500; n < "
                                  "505; n++) bad |= syscall(n) != -1 || errno != ENOSYS; return bad; }\n")
    subprocess.run(["musl-gcc", "-static", "-o", tmp_path / "root" / "c", tmp_path / "c.c"], check=True)
    result = pagoda("/root/c && /root/c && for n in 500 501 502 503 504; do dmesg | grep -c \"call $n\"; done; "
                    f"{HEALTH}", initrd=initrd_with(tmp_path / "root"), shell=True)
    assert re.findall(r"^(\d+)$", result.output, re.M) == ["1"] * 5, result


# ---- states ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"smp": 1}, {"smp": 4}, {"smp": 2, "cpu": "qemu64"}, {"smp": 2, "debug": True}],
                         ids=["1", "4", "qemu64", "debug"])
def test_odd_states(pagoda, options):
    result = pagoda(f"oddstate && fpu 200 && {HEALTH}", shell=True, limit=60, **options)
    assert re.search(r"^oddstate: \d+ states, ok\s*$", result.output, re.M)


@pytest.mark.parametrize("cpus", [1, 2])
def test_odd_states_in_bochs(build, tmp_path, cpus):
    """Where sysret to an address that is none faults in the kernel, as on Intel's processors. Bochs runs CPUs in turns."""
    iso = str(tmp_path / "bochs.iso")
    subprocess.run([os.path.join(qemu.ROOT, "tools", "mkiso.sh"), iso, os.path.join(build, "pagoda.elf"),
                    os.path.join(build, "initrd.cpio"), os.path.join(qemu.ROOT, "iso"),
                    f"cmd=oddstate && {HEALTH}"], check=True)
    ended, said, log = bochs.run(iso, cpus=cpus, limit=120 * qemu.time_scale())
    assert ended and "PANIC" not in said, f"{log}\n{said}"
    assert re.search(r"^oddstate: \d+ states, ok\s*$", said, re.M), said[-5000:]
    assert "ledger exact" in said


def test_interrupts_that_cannot_be_masked(guest):
    """A storm of NMIs while programs enter and leave the kernel in every way they can."""
    one = guest(shell=True, smp=2, qmp=True, cmd=f"oddstate; fpu 300; pointers; fuzz 4000 9; {HEALTH}")
    storm, sent = threading.Event(), 0
    one.expect(r"smp: ", 20)
    thread = threading.Thread(target=lambda: (one.wait(120), storm.set()))
    thread.start()
    while not storm.is_set():
        try:
            one.qmp("inject-nmi")
            sent += 1
        except (OSError, ValueError, RuntimeError):
            break
    thread.join()
    text = one.text
    assert "PANIC" not in text and "ledger exact" in text, text[-4000:]
    assert re.search(r"^oddstate: \d+ states, ok\s*$", text, re.M) and re.search(r"^fpu: .*: ok\s*$", text, re.M)
    assert sent > 500, sent


# ---- more than there is ------------------------------------------------------------------------------


@pytest.mark.parametrize("smp", [1, 2])
def test_fork_bomb(guest, smp):
    """Everybody forks; there are errors, and the shell goes on as soon as the bomb is told to go."""
    one = guest(shell=True, smp=smp, mem="64M")
    one.expect(r"pagoda:.*# ", 30)
    one.send("bomb() { while :; do (bomb) & done; }; (bomb) 2> /tmp/said & sleep 3; echo still he''re\r")
    one.expect("still here", 60)
    one.send("kill -9 -$!; wait; ps | wc -l; echo qui''et\r")
    one.expect("quiet", 60)
    one.send(f"\r{HEALTH} && echo ri''ght\r")
    one.expect("right", 60)


@pytest.mark.parametrize("what", ["processes", "memory 6", "tables"])
def test_hog(pagoda, what):
    """Who has most is ended, with a line; the shell, which has little, is not."""
    result = pagoda(f"hog {what}; echo the shell lives; sleep 4; ls / | wc -l; {HEALTH}", shell=True, smp=2, mem="64M",
                    limit=90)
    assert re.search(r"^the shell lives$", result.output, re.M), result
    assert "ledger exact" in result.output and "init: linux ended" not in result.output
