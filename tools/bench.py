#!/usr/bin/env python3
"""What each operation costs in guest instructions: Linux's recorded figure, ours, the goal, the ratio.

    tools/bench.py [--build DIR] [--quick] [--flat] [--json]       what `make bench` runs

The program is user/programs/bench.c, in a guest with ICOUNT=1 CPU=qemu64 MEM=512M, one processor: one
tick of the time-stamp counter is one instruction, so the figures are exact and the same everywhere.
Linux's stand in tests/linux/cost.json. A goal that is missed is reported, it is not an error: exit
status 1 means that something could not be measured. --quick leaves out the search for the smallest
memory, which boots many times.
"""

import argparse
import json
import os
import pathlib
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from qemu import Guest, Options, UsageError  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]
MEM_MB = 512
STORES_PER_PAGE = 512           # rep stosq: one instruction for each 8 bytes, and nothing else
SMALLEST_FROM, SMALLEST_TO = 4, 64


def measure(build):
    """One boot -> {row: value} as bench.c printed them, and what follows from the boot itself."""
    guest = Guest(Options(build=build, boot="pvh", mem=f"{MEM_MB}M", cpu="qemu64", icount=True,
                          cmd="run bench && dmesg"))
    result = guest.run(limit=180)
    values = {name: int(value) for name, value in
              re.findall(r"^bench (\S+) (-?\d+)\s*$", result.output, re.MULTILINE)}
    if result.status != 0:
        print(f"bench: the guest ended with {result.verdict} (status {result.status}):\n"
              f"{result.output[-2000:]}", file=sys.stderr)
    entered = re.search(r"entered at tsc (\d+)", result.output)
    if entered and "started" in values:
        values["boot"] = values["started"] - int(entered[1])
    if "free_kb" in values:
        values["used_mb"] = round((MEM_MB * 1024 - values["free_kb"]) / 1024, 1)
    return values


def flat_rows(build, values):
    """Cost of a fault under conditions that must not change it: (condition, 4K write, 2M write)."""
    for name in sorted(values, key=lambda n: int(n.rpartition("_")[2]) if "_vmas_" in n else 0):
        if "_vmas_" in name:
            yield f"{int(name.rpartition('_')[2]):,} areas", values[name], None
    for mem in ("64M", "512M", "2G", "8G"):
        rows = ["4k_write"] + (["2m_write"] if mem != "64M" else [])
        guest = Guest(Options(build=build, mem=mem, cpu="qemu64", icount=True,
                              cmd=" && ".join(f"run bench {row}" for row in rows)))
        found = dict(re.findall(r"^bench (\S+) (\d+)\s*$", guest.run(limit=120).output, re.MULTILINE))
        yield f"-m {mem}", *(int(found[r]) if r in found else None for r in ("4k_write", "2m_write"))


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


def table(rows, values):
    """Lines of the table; a goal that is missed says by how much."""
    yield "%-54s %13s %11s %11s %8s" % ("guest instructions, medians", "Linux 6.1", "Pagoda", "goal",
                                        "ratio")
    for row in rows:
        ours = values.get(row["name"])
        if ours is None:
            yield "%-54s %13s %11s %11s" % (row["title"], f"{row['linux']:,}", "not measured",
                                            f"{row['goal']:,}")
            continue
        ours -= row.get("cleared", 0) * STORES_PER_PAGE
        missed = f"  missed by {ours - row['goal']:,}" if ours > row["goal"] else ""
        ratio = f"{row['linux'] / ours:.1f} x" if ours > 0 else "-"
        yield "%-54s %13s %11s %11s %8s%s" % (row["title"], f"{row['linux']:,}", f"{ours:,}",
                                              f"{row['goal']:,}", ratio, missed)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=str(ROOT / "build" / "release"))
    parser.add_argument("--quick", action="store_true", help="without the smallest memory")
    parser.add_argument("--flat", action="store_true", help="also other sizes of memory, many areas")
    parser.add_argument("--json", action="store_true", help="the raw values, one JSON object")
    args = parser.parse_args()
    rows = json.loads((ROOT / "tests" / "linux" / "cost.json").read_text())["rows"]
    try:
        values = measure(args.build)
        if not args.quick:
            values["smallest_mb"] = smallest_memory(args.build)
    except UsageError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(values))
    else:
        print("\n".join(table(rows, values)))
    if args.flat:
        print("\n%-54s %13s %11s" % ("the same fault under other conditions", "4K write", "2M write"))
        for condition, small, huge in flat_rows(args.build, values):
            print("%-54s %13s %11s" % (condition, small or "-", huge or "-"))
    wanted = {row["name"] for row in rows} - ({"smallest_mb"} if args.quick else set())
    return 0 if all(values.get(name) is not None for name in wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
