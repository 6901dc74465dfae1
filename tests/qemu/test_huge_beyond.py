"""What goes beyond Linux: leaves of 1 GiB, and huge pages that idle CPUs clear in advance."""

import re

HEALTH = "check && ledger"
THP = "/sys/kernel/mm/transparent_hugepage"


def rows(output):
    """demo 1g -> [(leaves of 1 GiB now, MB in huge pages)], line by line."""
    return [(int(m[1]), int(m[2])) for m in
            re.finditer(r"^[a-z0-9].{41} +(\d+) +\d+ +\d+ +(\d+) +\d+\r?$", output, re.MULTILINE)]


def test_a_gigabyte(pagoda):
    """make run BOOT=pvh MEM=4G SMP=2 CMD='demo 1g && ktest gigabytes && check && ledger'"""
    output = pagoda(f"demo 1g && ktest gigabytes && {HEALTH}", smp=2, mem="4G", limit=120).output
    assert rows(output) == [(1, 1024), (1, 1024), (0, 1024), (0, 1022)]
    assert "# SKIP" not in output and "not ok" not in output


def test_made_by_moving_pages(pagoda):
    """make run BOOT=pvh MEM=4G SMP=2 CMD='ktest gigabyte_moves && check && ledger'"""
    output = pagoda(f"ktest gigabyte_moves && {HEALTH}", smp=2, mem="4G", limit=240).output
    assert "# SKIP" not in output and "not ok" not in output


def test_kept_apart_from_boot_on(pagoda):
    output = pagoda(f"thp && ktest gigabytes && thp && {HEALTH}", smp=2, mem="4G", append="reserve_1g=9",
                    limit=120).output
    assert re.search(r"reserve_1g: 1 of 9 GiB reserved", output)
    assert re.findall(r"reserved_1g +(\d+)", output) == ["1", "1"]      # what was split came together again
    assert "# SKIP" not in output and "not ok" not in output


def test_a_cpu_without(pagoda):
    output = pagoda(f"cat {THP}/enabled_1g && echo never > {THP}/enabled_1g && "
                    f"(echo always > {THP}/enabled_1g || cat {THP}/enabled_1g) && {HEALTH}",
                    shell=True, mem="256M", cpu="qemu64", append="reserve_1g=1", limit=60).output
    assert output.count("[never] (this CPU has no pages of 1 GiB)") == 2
    assert "Operation not supported" in output
    assert "reserve_1g: this CPU has no pages of 1 GiB" in output


def test_values_out_of_range(pagoda):
    """A clear error, and nothing changed."""
    wrong = (("prezero", "2"), ("prezero_pool", "0"), ("prezero_pool", "4097"), ("enabled_1g", "maybe"))
    commands = " ; ".join(f"echo {value} > {THP}/{name}" for name, value in wrong)
    output = pagoda(f"{commands} ; thp && {HEALTH}", shell=True, mem="256M", limit=60).output
    assert output.count("Invalid argument") == len(wrong)
    assert re.search(r"prezero +0\b", output) and re.search(r"prezero_pool +16\b", output)
    assert "[never]" in output


def test_cleared_in_advance(pagoda):
    output = pagoda(f"ktest prezero && echo 1 > {THP}/prezero && sleep 1 && demo zero && sleep 1 && "
                    f"grep thp_prezero /proc/vmstat && drop && echo 0 > {THP}/prezero && "
                    f"grep nr_thp_prezeroed /proc/vmstat && {HEALTH}", shell=True, smp=2, mem="512M", limit=120).output
    counts = dict(re.findall(r"^(thp_prezero\w*) (\d+)", output, re.MULTILINE))
    assert int(counts["thp_prezeroed"]) > 0 and int(counts["thp_prezero_alloc"]) > 0
    assert re.findall(r"^nr_thp_prezeroed (\d+)", output, re.MULTILINE)[-1] == "0"
    assert "# SKIP" not in output and "not ok" not in output
