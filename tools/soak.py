#!/usr/bin/env python3
"""The long runs: what `make test` does for seconds, for as long as it takes to be believed.

    tools/soak.py [--build DIR] [--divide N] [NAME]...       what `make soak` runs

Each run is one boot of a guest that works and then checks itself: `check` (every structure against its
rules) and `ledger` (every frame accounted for). One line for each: its name, seconds, what it said last. A
run that fails shows its whole serial line. --divide N makes all of them N times as short.

The last run, `linux`, does the sequences of the run `sequences` on Debian's Linux kernel: the digest, and so
each result, right and byte, must be the same. It takes twice as long as all others together.

Exit status 0: all passed. 1: one did not. 2: could not be run.
"""

import argparse
import os
import pathlib
import re
import sys
import time
from dataclasses import dataclass, field

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import linux  # noqa: E402
from debian import Trouble  # noqa: E402
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
    digest: str = None                                    # what it said, for whoever does the same elsewhere

    def go(self, build, divide):
        size = max(self.size // divide, 1)
        options = {"smp": 4, "mem": "1G", **self.options}
        guest = Guest(Options(build=build, cmd=self.cmd.format(n=size), **options))
        result = guest.run(60 + self.limit // divide)
        said = re.search(self.said, result.output, re.MULTILINE)
        self.digest = said[1] if said and said.re.groups else None
        good = result.verdict == "pass" and said and "ledger exact" in result.output
        print(f"{'ok  ' if good else 'FAIL'} {self.name:<10} {result.seconds:6.0f} s  {self.title.format(n=size)}\n"
              f"       {said[0].strip() if said else 'did not say ' + self.said}", flush=True)
        if not good:
            print(result)
        return bool(good)


@dataclass
class OnLinux:
    """The same sequences on Linux. `here` is the run whose digest it must find."""

    name: str
    here: Run

    def go(self, build, divide):
        size, began = max(self.here.size // divide, 1), time.monotonic()
        folder = ROOT / "build" / "soak"
        folder.mkdir(parents=True, exist_ok=True)
        machine = linux.Machine(argparse.Namespace(build=build, linux=None, init=os.path.join(build, "linux-init"),
                                                   scenarios=None), folder)
        said = machine.linux([f"stress 1 sequences {size}"], 120 + 2 * self.here.limit // divide, cpu="max",
                             arguments=linux.COMMON + "mitigations=off", mem="1G", smp=2, icount=False)
        digest = re.search(r"^stress: .*digest (\w+): ok\s*$", said, re.MULTILINE)
        good = digest and self.here.digest in (None, digest[1])
        print(f"{'ok  ' if good else 'FAIL'} {self.name:<10} {time.monotonic() - began:6.0f} s  the same on Linux "
              f"{machine.version}" + ("" if self.here.digest else " (nothing to compare it with: `sequences` did not run)")
              + f"\n       {digest[0].strip() if digest else said[-1000:]}", flush=True)
        return bool(good)


RUNS = [
    Run("soak", "{n} huge faults, splits and collapses, 400 small faults to each, 4 CPUs", 50_000,
        f"run soak {{n}} && {HEALTH}", r"^soak: .*: ok\s*$", 600),
    Run("threads", "the same by 2 processes of 2 threads, {n} of each", 2_000,
        f"run soak {{n}} 2 2 && {HEALTH}", r"^soak: .*: ok\s*$", 300),
    Run("sequences", "{n} sequences of random memory calls against a model, khugepaged awake", 20_000,
        f"{AWAKE} && run stress 1 sequences {{n}} && {HEALTH}", r"^stress: .*digest (\w+): ok\s*$", 3600),
    *(Run(f"calls-{cpus}", "{n} random system calls on " + ("1 CPU" if cpus == 1 else f"{cpus} CPUs"), 200_000,
          f"fuzz {{n}} {cpus}; {HEALTH}", r"^fuzz: .*: ok\s*$", 1200, {"smp": cpus, "monitor": False, "mem": "512M"})
      for cpus in (1, 2, 4)),
]
RUNS.append(OnLinux("linux", next(run for run in RUNS if run.name == "sequences")))


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
    except (Trouble, UsageError) as error:
        print(f"soak: {error}", file=sys.stderr)
        return 2
    print(f"soak: {sum(good)} of {len(good)} passed")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
