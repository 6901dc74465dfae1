"""The programs of user/programs on Pagoda: each provokes one behaviour and checks itself."""

import re
import time

import pytest

HEALTH = "check && ledger"


def thptouch(pagoda, arguments, **options):
    """Run it -> {name: number} of what it printed."""
    result = pagoda(f"run thptouch {arguments} && {HEALTH}", **options)
    return {name: int(value) for name, value in
            re.findall(r"^(\w+) (\d+)(?: kB)?\s*$", result.output, re.MULTILINE)}


def test_thptouch_writes_huge(pagoda):
    got = thptouch(pagoda, "write 64M")
    assert (got["thp_fault_alloc"], got["minor_faults"]) == (32, 32)
    assert (got["Rss"], got["AnonHugePages"]) == (65536, 65536)


def test_thptouch_reads_zero_page(pagoda):
    got = thptouch(pagoda, "read 64M")
    assert got["thp_zero_page_alloc"] == 1 and "thp_fault_alloc" not in got
    assert (got["minor_faults"], got["Rss"]) == (32, 0)


def test_thptouch_small(pagoda):
    got = thptouch(pagoda, "write 8M --nohuge")
    assert (got["minor_faults"], got["Rss"], got["AnonHugePages"]) == (2048, 8192, 0)


def test_thptouch_usage(pagoda):
    result = pagoda("run thptouch write 8X", verdict="fail")
    assert result.status == 2 and "usage: thptouch" in result.output


@pytest.mark.parametrize("program", ["cowtree", "remapper", "vmalimit", "syscalls", "zeroes",
                                     "crash all", "stale all", "fpu"])
@pytest.mark.parametrize("smp", [1, 4])
def test_checks_itself(pagoda, program, smp):
    result = pagoda(f"run {program} && {HEALTH}", smp=smp, limit=60)
    assert re.search(rf"^{program.split()[0]}: .*ok\s*$", result.output, re.MULTILINE)


@pytest.mark.parametrize("cow", ["copy", "split"])
@pytest.mark.parametrize("program", ["cowtree", "remapper", "zeroes", "stale all"])
def test_under_both_rules_of_copying(pagoda, program, cow):
    pagoda(f"echo {cow} > /sys/kernel/mm/transparent_hugepage/cow && run {program} && {HEALTH}",
           limit=60)


@pytest.mark.parametrize("kind, reason", [
    ("read-null", "read of 0x0 at ip .*: no mapping there"),
    ("read-kernel", "read of 0xffffffff80000000 at ip .*: no mapping there"),
    ("write-text", "write of 0x.* at ip .*: the mapping does not allow it"),
    ("exec-data", "execution of 0x.* at ip .*: the mapping does not allow it"),
    ("stack-overflow", "write of 0x7ff.* at ip .*: no mapping there"),
    ("read-non-canonical", "#GP general protection at ip"),
    ("divide-by-zero", "#DE divide error at ip"),
    ("invalid-opcode", "#UD invalid opcode at ip"),
    ("cli", "#GP general protection at ip"),
])
def test_a_crash_is_one_clear_line(pagoda, kind, reason):
    """Who, where, why and the registers; the task ends, the kernel does not."""
    result = pagoda(f"run crash {kind}", verdict="fail")
    lines = re.findall(rf"pid \d+ \(crash\): {reason}.*sp [0-9a-f]+ .*r15 ", result.output)
    assert len(lines) == 1, result.output


@pytest.mark.parametrize("smp, mem", [(1, "256M"), (4, "256M"), (4, "1G")])
@pytest.mark.parametrize("seed", [1, 2])
def test_stress(pagoda, seed, smp, mem):
    pagoda(f"run stress {seed} 400 {2 * smp} && {HEALTH}", smp=smp, mem=mem, limit=120)


# What Linux 6.1 prints for the first sequences of seed 1: each call's result, every page's rights and contents.
SEQUENCES = {500: "01f3f40b6461e63e", 100: "447119b7850cadfb"}


@pytest.mark.parametrize("cow, number", [("copy", 500), ("split", 100)])
def test_sequences_as_on_linux(pagoda, cow, number):
    """Random calls against a plain model, while khugepaged works over the same spaces."""
    thp = "/sys/kernel/mm/transparent_hugepage"
    result = pagoda(f"echo {cow} > {thp}/cow && echo 0 > {thp}/khugepaged/scan_sleep_millisecs && "
                    f"run stress 1 sequences {number} && {HEALTH}", smp=4, limit=180)
    assert f"digest {SEQUENCES[number]}: ok" in result.output


@pytest.mark.parametrize("processes, threads", [(4, 1), (2, 2)])
def test_soak(pagoda, processes, threads):
    """A little of what make soak does for minutes; the counters say that it happened."""
    result = pagoda(f"run soak 400 {processes} {threads} && {HEALTH}", smp=4, limit=120)
    assert f"soak: 400 cycles, {processes} processes of {threads} threads: ok" in result.output


def test_stress_with_khugepaged_awake(pagoda):
    """The daemon works over the same spaces all the time."""
    knob = "/sys/kernel/mm/transparent_hugepage/khugepaged"
    pagoda(f"echo 0 > {knob}/scan_sleep_millisecs && run stress 3 400 && {HEALTH}", smp=4, limit=120)


@pytest.mark.parametrize("smp", [1, 4])
def test_out_of_memory_takes_who_has_most(pagoda, smp):
    """Eight that take all they can get: each goes with one line, the small parent stays."""
    result = pagoda(f"run hog memory 8 && run hog tables && {HEALTH}", smp=smp, mem="32M", limit=60)
    killed = re.findall(r"killed pid (\d+) \(hog\)", result.output)
    assert "hog: 8 of 8 children gave up their memory, ok" in result.output
    assert killed and len(killed) == len(set(killed)), killed


@pytest.mark.parametrize("smp", [1, 2])
def test_more_processes_than_memory(guest, smp):
    """Whoever goes, the monitor is there afterwards, and every frame is accounted for."""
    one = guest(smp=smp, mem="32M")
    one.expect(r"pagoda> $", 30)
    one.send("run hog processes\r")
    one.expect(r"^(hog: \d+ processes.*ok|hog: killed \(signal 9\))", 60)
    one.expect(r"pagoda> ", 30)  # a line about who goes next may stand behind it
    one.send("free && check\r")
    one.expect(r"^Mem: .*\n", 30)
    for _ in range(20):  # those that are left hold all memory until their nap is over
        one.send("ledger\r")
        if one.expect(r"ledger exact|ledger: no memory", 60).group() == "ledger exact":
            return
        time.sleep(1)
    pytest.fail("the ledger never had memory to count: " + one.text[-2000:])


def test_text_of_two_megabytes(pagoda, build):
    """Linked so that one huge page can map its text; every page of it is the right one."""
    result = pagoda("run hugetext && check && ledger", initrd=f"{build}/initrd-tests.cpio")
    assert "512 pages at 0x" in result.output and ", 0 wrong" in result.output
