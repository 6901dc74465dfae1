#!/usr/bin/env python3
"""What each operation costs in guest instructions: Linux's recorded figure, ours, the goal, the ratio.

    tools/bench.py [--build DIR] [--plugin FILE] [--quick] [--json]       what `make bench` runs

First table: user/programs/bench.c in a guest with ICOUNT=1 CPU=qemu64 MEM=512M, one processor: one tick
of the time-stamp counter is one instruction, so the figures are exact and the same everywhere. Linux's
stand in tests/linux/cost.json.

Second table: the same fault where its cost must not change. Other sizes of memory, many areas: as above.
Several CPUs: tests/kernel/load.c, counted from outside by the plugin tools/tcg_count.c, without icount, so
a CPU that spins is counted; each figure is the median of three runs.

Exit status 0: every goal is met. 1: one is missed, or something could not be measured.
--quick: the first table, without the search for the smallest memory, which boots many times.
"""

import argparse
import json
import math
import os
import pathlib
import re
import statistics
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from qemu import Guest, Options, UsageError, quoted, read_text  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]
MEM_MB = 512
STORES_PER_PAGE = 512           # rep stosq: one instruction for each 8 bytes, and nothing else
SMALLEST_FROM, SMALLEST_TO = 4, 64
MEMORY_SIZES = ("512M", "64M", "2G", "8G")                      # all are compared with the first
CPUS = 4
LOAD_BYTES = {"4k": 4 << 10, "2m": 2 << 20}                     # tests/kernel/load.c: one fault each
LOAD_PART = 64 << 20                                            # ... and what one worker touches
RUNS = 3


def run_counted(options, limit):
    """A guest with the exact counter -> {row: value} as bench.c printed them, and the Result."""
    options.cpu, options.icount = "qemu64", True
    result = Guest(options).run(limit)
    if result.status != 0:
        print(f"bench: the guest ended with {result.verdict} (status {result.status}):\n"
              f"{result.output[-2000:]}", file=sys.stderr)
    return {name: int(value) for name, value in
            re.findall(r"^bench (\S+) (-?\d+)\s*$", result.output, re.MULTILINE)}, result


def measure(build):
    """One boot -> all rows of bench.c, and what follows from the boot itself."""
    values, result = run_counted(Options(build=build, mem=f"{MEM_MB}M", cmd="run bench && dmesg && vmstat nr_memmap"), 180)
    entered = re.search(r"entered at tsc (\d+)", result.output)
    if entered and "started" in values:
        values["boot"] = values["started"] - int(entered[1])
    if "free_kb" in values:
        values["used_mb"] = round((MEM_MB * 1024 - values["free_kb"]) / 1024, 1)
    memmap = re.search(r"^nr_memmap_boot_pages (\d+)", result.output, re.MULTILINE)
    if memmap:
        values["memmap"] = round(int(memmap[1]) * 4 * 100 / (MEM_MB * 1024), 2)
    return values


# ---- the smallest memory ---------------------------------------------------------------------------


def runs_with(build, mem_mb):
    """Does `demo thp` get its huge page by a fault? (With too little memory it shows fallbacks.)"""
    options = Options(build=build, boot="iso", mem=f"{mem_mb}M", smp=1, cmd="demo thp")
    result = Guest(options).run(limit=60)
    return result.status == 0 and re.search(r"thp_fault_alloc +0 +[1-9]", result.output) is not None


def smallest_memory(build):
    """The smallest whole number of MiB with which the ISO boots and `demo thp` succeeds."""
    low, high = SMALLEST_FROM, SMALLEST_TO          # low is taken to fail, high to succeed
    if not runs_with(build, high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if runs_with(build, middle) else (middle, high)
    return high


# ---- counting from outside -------------------------------------------------------------------------


def load_once(build, plugin, size, smp, workers):
    """Instructions of all CPUs together per fault, between the two marks of tests/kernel/load.c."""
    options = Options(build=build, mem="1G", smp=smp, cpu="qemu64",
                      cmd=f"ktest load_{size}_{'one' if workers == 1 else 'all'}")
    options.extra = ["-plugin", quoted(os.path.abspath(plugin)), "-d", "plugin"]
    guest = Guest(options)
    try:
        result = guest.start().wait(limit=60)
        log = read_text(os.path.join(guest.directory, "qemu.log"))
    finally:
        guest.stop()
    marks = [sum(map(int, counts.split())) for counts in
             re.findall(r"^tcg_count: mark \d+:([ \d]+)$", log, re.MULTILINE)]
    if result.status != 0 or len(marks) != 2 or "# SKIP" in result.output:
        print(f"bench: load_{size} with {smp} CPUs was not counted:\n{result}", file=sys.stderr)
        return None
    faults = workers * LOAD_PART // LOAD_BYTES[size]
    return (marks[1] - marks[0] - faults) / faults      # the plugin counts what faults twice


def load(build, plugin, size, smp, workers):
    counts = [load_once(build, plugin, size, smp, workers) for _ in range(RUNS)]
    return None if None in counts else round(statistics.median(counts))


def flat_groups(build, plugin, values):
    """The second table: (title, by how many parts the others may exceed the first, rows), where a row is
    (condition, 4K write, 2M write) or (condition, 4K write); a cost that could not be measured is None."""
    rows = []
    for mem in MEMORY_SIZES:
        found, _ = run_counted(Options(build=build, mem=mem,
                                       cmd="run bench 4k_write && run bench 2m_write"), 120)
        rows.append((f"-m {mem}", found.get("4k_write"), found.get("2m_write")))
    yield "guest memory", 0.10, rows

    areas = sorted(int(name.rpartition("_")[2]) for name in values if "_vmas_" in name)
    if areas:
        yield ("areas, each its own (the logarithm grows by this)", math.log(areas[-1], areas[0]) - 1,
               [(f"{n:,} areas", values[f"4k_write_vmas_{n}"]) for n in areas])

    machines = (("1 CPU", 1, 1), (f"{CPUS} CPUs, {CPUS - 1} of them halted", CPUS, 1),
                (f"{CPUS} CPUs at work in one space", CPUS, CPUS))
    counts = [(title, *(load(build, plugin, size, smp, workers) for size in LOAD_BYTES))
              for title, smp, workers in machines]
    yield "CPUs that are up, total of all", 0.10, counts[:2]
    yield "CPUs at work in one space, total of all", 0.15, [counts[0], counts[2]]


# ---- the tables ------------------------------------------------------------------------------------


def number(value):
    return "-" if value is None else f"{value:,}"


def cost_table(rows, values):
    """-> lines, and whether all goals are met."""
    form = "%-54s %13s %11s %11s %8s  %s"
    heading = form % ("guest instructions, medians", "Linux 6.1", "Pagoda", "goal", "ratio", "")
    lines, met = [heading.rstrip()], True
    for row in rows:
        ours = values.get(row["name"])
        if ours is None:
            verdict, ratio = "not measured", "-"
        else:
            ours -= row.get("cleared", 0) * STORES_PER_PAGE
            over = round(ours - row["goal"], 1)
            verdict = "ok" if over <= 0 else f"missed by {over:,}"
            ratio = f"{row['linux'] / ours:.1f} x" if ours > 0 and row["linux"] else "-"
        met &= verdict == "ok"
        lines.append(form % (row["title"], number(row["linux"]), number(ours), number(row["goal"]),
                             ratio, verdict))
    return lines, met


def flat_table(groups):
    """-> lines, and whether all are flat enough."""
    form = "%-54s %13s %11s"
    lines = [form % ("the same fault elsewhere: instructions, and change", "4K write", "2M write")]
    met = True
    for title, limit, rows in groups:
        lines.append(f"{title}: at most {limit:+.0%}")
        base = rows[0][1:]
        for condition, *costs in rows:
            changes = [ours / first - 1 if ours and first else None for ours, first in zip(costs, base)]
            good = all(change is not None and change <= limit for change in changes)
            met &= good
            shown = " ".join("-" if c is None else f"{c:+.1%}" for c in changes)
            small, huge = (*map(number, costs), "")[:2]
            lines.append(form % ("  " + condition, small, huge) + f"  {shown:<12s}  "
                         + ("ok" if good else "missed"))
    return lines, met


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=str(ROOT / "build" / "release"))
    parser.add_argument("--plugin", default=str(ROOT / "build" / "tcg_count.so"))
    parser.add_argument("--quick", action="store_true", help="the first table, without the smallest memory")
    parser.add_argument("--json", action="store_true", help="the raw values, one JSON object")
    args = parser.parse_args()
    rows = json.loads((ROOT / "tests" / "linux" / "cost.json").read_text())["rows"]
    groups, flat = [], True
    try:
        values = measure(args.build)
        if args.quick:
            rows = [row for row in rows if row["name"] != "smallest_mb"]
        else:
            values["smallest_mb"] = smallest_memory(args.build)
        lines, met = cost_table(rows, values)
        if not args.json:
            print("\n".join(lines), flush=True)
        if not args.quick:
            groups = list(flat_groups(args.build, args.plugin, values))
            lines, flat = flat_table(groups)
            if not args.json:
                print("\n" + "\n".join(lines))
    except UsageError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps({"values": values, "flat": groups}))
    return 0 if met and flat else 1


if __name__ == "__main__":
    sys.exit(main())
