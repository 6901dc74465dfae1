#!/usr/bin/env python3
"""The long runs: what `make test` does for seconds, for as long as it takes to be believed.

    tools/soak.py [--build DIR] [--divide N] [NAME]...       what `make soak` runs

Each run is one boot of a guest that works and then checks itself: `check` (every structure against its
rules) and `ledger` (every frame accounted for). One line for each: its name, seconds, what it said last. A
run that fails shows its whole serial line. --divide N makes all of them N times as short.

Exit status 0: all passed. 1: one did not. 2: could not be run.
"""

import argparse
import os
import pathlib
import re
import sys
from dataclasses import dataclass, field

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from qemu import Guest, Options, UsageError  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]
THP = "/sys/kernel/mm/transparent_hugepage"
AWAKE = f"echo 0 > {THP}/khugepaged/scan_sleep_millisecs"
HEALTH = "check && ledger"


@dataclass
class Run:
    """cmd has {n} where the size goes; said is the line that it must print."""

    name: str
    title: str
    size: int
    cmd: str
    said: str
    limit: int                                            # seconds, undivided
    options: dict = field(default_factory=dict)

    def go(self, build, divide):
        size = max(self.size // divide, 1)
        options = {"smp": 4, "mem": "1G", **self.options}
        guest = Guest(Options(build=build, cmd=self.cmd.format(n=size), **options))
        result = guest.run(60 + self.limit // divide)
        said = re.search(self.said, result.output, re.MULTILINE)
        good = result.verdict == "pass" and said and "ledger exact" in result.output
        print(f"{'ok  ' if good else 'FAIL'} {self.name:<10} {result.seconds:6.0f} s  {self.title.format(n=size)}\n"
              f"       {said[0].strip() if said else 'did not say ' + self.said}", flush=True)
        if not good:
            print(result)
        return bool(good)


RUNS = [
    Run("soak", "{n} huge faults, splits and collapses, 400 small faults to each, 4 CPUs", 50_000,
        f"run soak {{n}} && {HEALTH}", r"^soak: .*: ok\s*$", 600),
    Run("threads", "the same by 2 processes of 2 threads, {n} of each", 2_000,
        f"run soak {{n}} 2 2 && {HEALTH}", r"^soak: .*: ok\s*$", 300),
    Run("sequences", "{n} sequences of random memory calls against a model, khugepaged awake", 20_000,
        f"{AWAKE} && run stress 1 sequences {{n}} && {HEALTH}", r"^stress: .*digest \w+: ok\s*$", 3600),
    *(Run(f"calls-{cpus}", "{n} random system calls on " + ("1 CPU" if cpus == 1 else f"{cpus} CPUs"), 200_000,
          f"fuzz {{n}} {cpus}; {HEALTH}", r"^fuzz: .*: ok\s*$", 1200, {"smp": cpus, "monitor": False, "mem": "512M"})
      for cpus in (1, 2, 4)),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=str(ROOT / "build" / "release"))
    parser.add_argument("--divide", type=int, default=1, metavar="N")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of these: " + " ".join(run.name for run in RUNS))
    args = parser.parse_args()
    unknown = set(args.names) - {run.name for run in RUNS}
    if unknown or args.divide < 1:
        what = f"no run is called {', '.join(sorted(unknown))}" if unknown else "--divide wants 1 or more"
        print(f"soak: {what}; there are: {' '.join(run.name for run in RUNS)}", file=sys.stderr)
        return 2
    try:
        good = [run.go(args.build, args.divide) for run in RUNS if not args.names or run.name in args.names]
    except UsageError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 2
    print(f"soak: {sum(good)} of {len(good)} passed")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
