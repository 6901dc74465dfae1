"""The kernel's own tests that want several CPUs, injection or a lot of memory: all of tests/kernel, by builds.

The plain `ktest` of the release build is what a person runs; the debug build adds what must be injected, and
checks locks and rules at every step.
"""

import glob
import os
import re

import pytest
from conftest import ROOT

HEALTH = "check && ledger"


def outcome(output):
    """KTAP's inner lines -> {suite.test: "ok", "not ok" or the reason of a SKIP}."""
    results, suite = {}, None
    for line in output.replace("\r", "").splitlines():
        match = re.match(r"    # Subtest: (\w+)", line)
        if match:
            suite = match[1]
        match = re.match(r"    (ok|not ok) \d+ (\w+)(?: # SKIP (.*))?$", line)
        if match:
            results[f"{suite}.{match[2]}"] = match[3] or match[1]
    return results


# What the four CPUs do to each other; the mistakes of test_cve.py, which look at every frame after each step and so
# get less memory (gigabytes have theirs in test_huge_beyond.py); and all the others, whatever their names.
PARTS = {
    "others": (None, "6G", set()),
    "races": ("flush race stress shoot khugepaged split shrink device fault sched mutex rwsem migrate".split(), "6G", set()),
    "mistakes": ("cve object gigabytes gigabyte_moves".split(), "512M",
                 {"no pages of 1 GiB here, or no gigabyte free", "no pages of 1 GiB here, or less than 2 GiB free"}),
}

# Why a test may be skipped on four CPUs in the release build: another build or machine, which other tests here have.
WANTS_ANOTHER = {"no injection in this build", "needs injection, and 2 CPUs", "one node: run with NUMA=2",
                 "wants between 192 and 384 MiB of free memory"}


def all_suites():
    """What plain `ktest` runs, as the sources say."""
    suites = set()
    for path in glob.glob(os.path.join(ROOT, "tests", "kernel", "*.c")):
        with open(path, encoding="utf-8") as file:
            suites |= set(re.findall(r"^\s*KTEST\((\w+),", file.read(), re.MULTILINE))
    return suites


def suites_of(part):
    named = {suite for suites, *_ in PARTS.values() for suite in suites or ()}
    assert named <= all_suites()
    return PARTS[part][0] or sorted(all_suites() - named)


@pytest.mark.parametrize("part", PARTS)
def test_release(pagoda, part):
    """make run BOOT=pvh SMP=4 MEM=6G CMD='ktest && check && ledger', in pieces for two workers."""
    commands = " && ".join(f"ktest {suite}" for suite in suites_of(part))
    results = outcome(pagoda(f"{commands} && {HEALTH}", smp=4, mem=PARTS[part][1], limit=80).output)
    assert {name.split(".")[0] for name in results} == set(suites_of(part))
    skipped = {name: result for name, result in results.items() if result != "ok"}
    assert set(skipped.values()) <= WANTS_ANOTHER | PARTS[part][2], skipped


def test_all_in_one_boot(pagoda):
    """What a person types: each suite finds the machine as the one before it has left it."""
    results = outcome(pagoda(f"ktest && {HEALTH}", smp=2, limit=90).output)
    assert {name.split(".")[0] for name in results} == all_suites() and "not ok" not in results.values()


def test_one_cpu_and_little_memory(pagoda):
    """What cannot be shown is skipped, with the reason."""
    suites = ("flush", "race", "stress", "shoot", "khugepaged", "split", "device", "fault")
    commands = " && ".join(f"ktest {suite}" for suite in suites)
    results = outcome(pagoda(f"{commands} && {HEALTH}", smp=1, mem="48M", limit=60).output)
    assert results["flush.unmap_there"] == "one CPU"
    assert results["stress.one_space"] == "too little memory"
    assert "not ok" not in results.values()


def test_every_allocation_fails_once(pagoda):
    output = pagoda(f"ktest no_memory && {HEALTH}", smp=2, debug=True, limit=120).output
    counts = [int(n) for n in re.findall(r"no memory: (\d+) failures injected", output)]
    assert len(counts) == 3 and sum(counts) >= 1000, counts


def test_in_each_others_way(pagoda):
    """Four CPUs on two of the host's; the debug build's checks on."""
    commands = " && ".join(f"ktest {suite}" for suite in ("shoot", "race", "stress", "khugepaged", "split"))
    results = outcome(pagoda(f"{commands} && {HEALTH}", smp=4, debug=True, limit=120).output)
    assert len(results) >= 15 and set(results.values()) == {"ok"}, results
