"""Sizes below 2 MiB: thp_anon= on the kernel's command line is done whole, or not at all and a line says why; the
folders hugepages-*kB/ decide which size a fault takes, and count it."""

import re

import pytest

THP = "/sys/kernel/mm/transparent_hugepage"
SIZES = (16, 64, 128, 256, 2048)


def states(pagoda, param):
    """One boot -> what was said about it, and the state of each of SIZES."""
    command = " && ".join(f"cat {THP}/hugepages-{kb}kB/enabled" for kb in SIZES)
    output = pagoda(command, mem="64M", append=f"thp_anon={param}", boot="pvh").output
    return "thp_anon: not understood" in output, re.findall(r"\[(\w+)\]", output)


def test_sizes_from_boot_on(pagoda):
    assert states(pagoda, "16K-64K,256K:madvise;2M:always") == \
        (False, ["madvise", "madvise", "never", "madvise", "always"])


@pytest.mark.parametrize("param", ["64K", "64K:sometimes", "64K:always;", "64K:always;3K:always", "128K-64K:always"])
def test_a_wrong_word_sets_nothing(pagoda, param):
    assert states(pagoda, param) == (True, ["never", "never", "never", "never", "inherit"])


RUN_SIZES = (16, 32, 64, 128, 256, 512, 1024)
TOUCH = 1024                                              # kB that thptouch writes


@pytest.mark.parametrize("kb", (*RUN_SIZES, 2048))
def test_words_of_a_size(pagoda, kb):
    """Each word is taken and shown in brackets; an unknown one is refused, and what was set stays."""
    enabled = f"{THP}/hugepages-{kb}kB/enabled"
    wrong = ("sometimes", "1", "alwaysnever", "'always never'")
    commands = [f"echo {word} > {enabled}; cat {enabled}" for word in ("always", "inherit", "never", "madvise", *wrong)]
    output = pagoda("; ".join(commands), shell=True, mem="64M").output
    assert re.findall(r"\[(\w+)\]", output) == ["always", "inherit", "never", "madvise"] + ["madvise"] * len(wrong)
    assert output.count("Invalid argument") == len(wrong)


def allocations(pagoda, kb, settings, touch=""):
    """By how much anon_fault_alloc of a size grows while thptouch writes TOUCH; huge pages of 2 MiB are off."""
    folder = f"{THP}/hugepages-{kb}kB"
    count = f"cat {folder}/stats/anon_fault_alloc"
    output = pagoda(f"echo never > {THP}/hugepages-2048kB/enabled && {settings.format(folder=folder)} && {count} && "
                    f"run thptouch write {TOUCH}K {touch} && {count} && check && ledger", mem="64M").output
    before, after = (int(n) for n in re.findall(r"^(\d+)$", output, re.MULTILINE))
    return after - before


@pytest.mark.parametrize("kb", RUN_SIZES)
def test_faults_of_a_size_are_counted(pagoda, kb):
    assert allocations(pagoda, kb, "echo always > {folder}/enabled") >= TOUCH // kb


@pytest.mark.parametrize("size, enabled, touch, wanted", [
    ("never", "always", "--huge", False), ("madvise", "never", "", False), ("madvise", "never", "--huge", True),
    ("always", "never", "", True), ("always", "always", "--nohuge", False),
    ("inherit", "never", "--huge", False), ("inherit", "madvise", "", False), ("inherit", "madvise", "--huge", True),
    ("inherit", "always", "", True)])
def test_which_setting_decides(pagoda, size, enabled, touch, wanted):
    """The size's own word; only with inherit the one above all sizes. The program's own memory may count as well."""
    grown = allocations(pagoda, 64, f"echo {enabled} > {THP}/enabled && echo {size} > {{folder}}/enabled", touch)
    assert (grown >= TOUCH // 64) == wanted, grown
