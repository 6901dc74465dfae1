"""The kernel's own tests that want several CPUs, injection or a lot of memory: all of tests/kernel, by builds.

The plain `ktest` of the release build is what a person runs; the debug build adds what must be injected, and
checks locks and rules at every step.
"""

import re

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


def test_release(pagoda):
    """make run BOOT=pvh SMP=4 MEM=6G CMD='ktest && check && ledger'"""
    results = outcome(pagoda(f"ktest && {HEALTH}", smp=4, mem="6G", limit=120).output)
    skipped = {name for name, result in results.items() if result != "ok"}
    assert skipped and all(name.startswith(("flush_left_out.", "no_memory.", "numa.")) for name in skipped), skipped


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
