#!/usr/bin/env python3
"""The long runs: what `make test` does for seconds, for as long as it takes to be believed.

    tools/soak.py [--build DIR] [--divide N] [NAME]...       what `make soak` runs

Each run is one boot of a guest that works and then checks itself: `check` (every structure against its
rules) and `ledger` (every frame accounted for). One line for each: its name, seconds, what it said last. A
run that fails shows its whole serial line. --divide N makes all of them N times as short.

A run with a goal must not take longer, and says so when it does. The goal is for a host that does nothing else:
what others took of its CPUs meanwhile is subtracted, but never more than leaves the CPU time QEMU itself has
used. A run is ended only at its limit, which is far longer.

The last run, `linux`, does the sequences of the run `sequences` on Debian's Linux kernel: the digest, and so
each result, right and byte, must be the same. It takes twice as long as all others together.

Exit status 0: all passed. 1: one did not. 2: could not be run.
"""

import argparse
import os
import pathlib
import re
import resource
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
SCANNER = "/sys/kernel/debug/sched/numa_balancing"
FOLLOW = f"echo 50 > {SCANNER}/scan_delay_ms && echo 50 > {SCANNER}/scan_period_min_ms"
HEALTH = "check && ledger"
BOOT_SECONDS = 5                                          # beside the work: booting and checking


class Stopwatch:
    """Seconds since it was made: `wall`, and `quiet`: what they would have been on a host that does nothing else."""

    def __init__(self):
        self.began = self.now()

    @staticmethod
    def now():
        """Wall clock, CPU seconds of all processes of the host, those of our children that have ended."""
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(word) for word in file.readline().split()[1:]]
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        busy = sum(ticks[:3]) + sum(ticks[5:8])           # all but idle and waiting; guests' time is in the first
        return time.monotonic(), busy / os.sysconf("SC_CLK_TCK"), usage.ru_utime + usage.ru_stime

    def read(self):
        wall, busy, ours = (now - then for now, then in zip(self.now(), self.began))
        cpus = os.cpu_count()
        return wall, min(wall, max(wall - (busy - ours) / cpus, ours / cpus))


@dataclass
class Run:
    """cmd has {n} where the size goes; said is the line that it must print."""

    name: str
    title: str
    size: int
    cmd: str
    said: str
    limit: int                                            # seconds, undivided
    goal: int = None                                      # seconds of a quiet host, undivided
    options: dict = field(default_factory=dict)
    digest: str = None                                    # what it said, for whoever does the same elsewhere

    def go(self, build, divide):
        size = max(self.size // divide, 1)
        options = {"smp": 4, "mem": "1G", **self.options}
        guest = Guest(Options(build=build, cmd=self.cmd.format(n=size), **options))
        watch = Stopwatch()
        result = guest.run(60 + self.limit // divide)
        quiet = watch.read()[1]
        said = re.search(self.said, result.output, re.MULTILINE)
        self.digest = said[1] if said and said.re.groups else None
        slow = self.goal and quiet > self.goal / divide + BOOT_SECONDS
        good = result.verdict == "pass" and said and "ledger exact" in result.output and not slow
        print(f"{'ok  ' if good else 'FAIL'} {self.name:<10} {result.seconds:6.0f} s  {self.title.format(n=size)}\n"
              f"       {said[0].strip() if said else 'did not say ' + self.said}")
        if self.goal:
            print(f"       {quiet:.0f} s of a quiet host; goal {self.goal / divide:.0f} s{': TOO SLOW' if slow else ''}")
        sys.stdout.flush()
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
        f"run soak {{n}} && {HEALTH}", r"^soak: .*: ok\s*$", 1800, goal=180),
    Run("threads", "the same by 2 processes of 2 threads, {n} of each", 2_000,
        f"run soak {{n}} 2 2 && {HEALTH}", r"^soak: .*: ok\s*$", 300),
    Run("nodes", "the same on 2 nodes, memory following the threads, {n} of each", 5_000,
        f"{FOLLOW} && run soak {{n}} && {HEALTH}", r"^soak: .*: ok\s*$", 600, options={"numa": 2}),
    Run("sequences", "{n} sequences of random memory calls against a model, khugepaged awake", 20_000,
        f"{AWAKE} && run stress 1 sequences {{n}} && {HEALTH}", r"^stress: .*digest (\w+): ok\s*$", 3600),
    *(Run(f"calls-{cpus}", "{n} random system calls on " + ("1 CPU" if cpus == 1 else f"{cpus} CPUs"), 200_000,
          f"fuzz {{n}} {cpus}; {HEALTH}", r"^fuzz: .*: ok\s*$", 1200, options={"smp": cpus, "monitor": False, "mem": "512M"})
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
