#!/usr/bin/env python3
"""`make cve`: mistakes other kernels made, each played here twice: as our code is, and with the mistake in it.

    tools/cve.py --build build/debug [--only 7,13] [--sample 6]

The list comes from the kernel (`inject seed --json`, kernel/seeded.h). Every line's scenario must pass without the mistake; with
it something must notice: the scenario itself, an assertion (a panic record with the rule's name), `check` or `ledger`. A
guest that says nothing until its time is up has noticed nothing. Prints one table; status 0 if both columns are right.

Each has one try, on a busy machine, too: where a mistake matters only if another CPU comes in a short moment, whoever makes
it waits until that one has been there (seeded_meet() in kernel/seeded.h).

--sample N makes only N of the mistakes, but plays all scenarios without.
"""

import argparse
import concurrent.futures
import json
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import qemu  # noqa: E402

CPUS = 4
LIMIT = 20           # seconds of an idle machine for one guest
GIGABYTES = {16}     # who clears and discards them: more memory, more time
AFTER = "inject off; check; ledger"


def run(build, command, limit=LIMIT, mem="512M"):
    options = qemu.Options(build=build, smp=CPUS, mem=mem, initrd="", cmd=command)  # no servers: nobody else is at work
    return qemu.Guest(options).run(limit)


def read_list(build):
    """The lines of kernel/seeded.h, as the kernel says them."""
    result = run(build, "inject seed --json")
    match = re.search(r'^\{.*"seeds".*\}$', result.output, re.MULTILINE)
    if result.verdict != "pass" or not match:
        sys.exit(f"cve: the list of mistakes cannot be read; is {build} a debug build?\n{result}")
    return json.loads(match[0])["seeds"]


def what_was_noticed(result):
    """By whom, or None: nobody."""
    panic = re.search(r"^(?:\[[^]]*\] )?PANIC code=(\S+)", result.output, re.MULTILINE)
    if panic:
        return f"assertion {panic[1]}"
    if "Triple fault" in result.text or "triple fault" in result.text:
        return "triple fault"
    if re.search(r"^ +not ok ", result.output, re.MULTILINE):
        where = re.search(r"^ +# (\S+?:\d+)", result.output, re.MULTILINE)
        return f"scenario, {os.path.basename(where[1])}" if where else "scenario"
    broken = re.search(r"^check:.* (\S+) BROKEN", result.output, re.MULTILINE)
    if broken:
        return f"check {broken[1]}"
    if re.search(r"status=[^0].*cmd=\"ledger\"", result.output):
        return "ledger"
    return None


def play(build, seed, mistake):
    """One guest -> (what was noticed or None, Result). A scenario that was skipped has shown nothing."""
    command = f"ktest {seed['scenario']}; {AFTER}"
    if mistake:
        command = f"inject seed {seed['number']}; {command}"
    many = seed["number"] in GIGABYTES
    result = run(build, command, LIMIT * 3 if many else LIMIT, "4G" if many else "512M")
    noticed = what_was_noticed(result)
    if not mistake and not noticed:
        if result.verdict != "pass" or "# SKIP" in result.output:
            noticed = result.verdict if result.verdict != "pass" else "skipped"
    return noticed, result


def sample(seeds, count):
    """`count` of them, spread over the list."""
    return seeds if count is None else [seeds[i * len(seeds) // count] for i in range(count)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--only", help="numbers, with commas")
    parser.add_argument("--sample", type=int, help="how many mistakes are made")
    args = parser.parse_args()
    started = time.monotonic()
    seeds = read_list(args.build)
    if args.only:
        numbers = {int(n) for n in args.only.split(",")}
        seeds = [seed for seed in seeds if seed["number"] in numbers]
    made = sample(seeds, args.sample)

    print(f"{'':>2}  {'after, and the rule':<44} {'scenario':<52} {'clean':<7} with the mistake: noticed by")
    good = caught = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        plays = [(seed, pool.submit(play, args.build, seed, False),
                  pool.submit(play, args.build, seed, True) if seed in made else None) for seed in seeds]
        for seed, clean, mistaken in plays:
            complaint, result = clean.result()
            noticed, with_it = mistaken.result() if mistaken else ("-", None)
            good += complaint is None
            caught += mistaken is not None and noticed is not None
            print(f"{seed['number']:>2}  {seed['after']:<44} {seed['scenario']:<52} "
                  f"{'pass' if complaint is None else 'FAILS':<7} {noticed or 'NOBODY'}\n"
                  f"      {seed['invariant']}", flush=True)
            if complaint is not None:
                print(f"    {complaint}\n{result}")
            if noticed is None:
                print(f"    {seed['story']}\n{with_it}")
    print(f"cve: {good} of {len(seeds)} scenarios pass, {caught} of {len(made)} mistakes are noticed, "
          f"{time.monotonic() - started:.0f} seconds")
    return 0 if good == len(seeds) and caught == len(made) else 1


if __name__ == "__main__":
    sys.exit(main())
