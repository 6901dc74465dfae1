#!/usr/bin/env python3
"""Everything `make test` runs: host tests, fuzzers, QEMU scenarios.

The last line is "N passed, N failed", their sum; the exit status is 0 when nothing failed. What is
skipped is listed before it with the reason. ONLY=host or ONLY=qemu runs one half; TESTS='-k name' goes to
pytest.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HOST = os.path.join(ROOT, "tests", "host")


def heading(text):
    print(f"==== {text}", flush=True)


def clean_environment():
    """Without what this make run set for itself: tests choose their own CMD, SMP, MEM, BOOT."""
    drop = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "CMD", "SMP", "MEM", "BOOT", "CPU", "ICOUNT", "DEBUG",
            "MONITOR", "ROOT", "QEMU_ARGS", "APPEND", "ONLY", "TESTS"}
    return {name: value for name, value in os.environ.items() if name not in drop}


def run_host(environment):
    """The host tests print their own sum; a build that fails is one failure."""
    heading("host tests")
    process = subprocess.Popen(["make", "-s", "-C", HOST, "test"], env=environment, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    passed = failed = None
    for line in process.stdout:
        match = re.fullmatch(r"(\d+) passed, (\d+) failed\n", line)
        if match:
            passed, failed = int(match[1]), int(match[2])
        else:
            print(line, end="", flush=True)
    process.wait()
    if passed is None or (process.returncode and not failed):
        return passed or 0, (failed or 0) + 1
    return passed, failed


def run_fuzzers(environment):
    """Each fuzzer is one test: no finding, enough executions, enough edges."""
    heading("fuzzers")
    passed = failed = 0
    for name in sorted(os.listdir(HOST)):
        match = re.fullmatch(r"fuzz_(\w+)\.c", name)
        if match:
            status = subprocess.run(["make", "-s", "-C", HOST, "fuzz-" + match[1]],
                                    env=environment, check=False).returncode
            passed, failed = passed + (status == 0), failed + (status != 0)
    return passed, failed


def run_qemu(environment, build):
    """pytest on two processes; the counts come from its report, not from its words."""
    heading("QEMU scenarios")
    with tempfile.TemporaryDirectory(prefix="pagoda-report-") as directory:
        report = os.path.join(directory, "report.xml")
        environment["PAGODA_BUILD"] = os.path.abspath(build)
        command = [sys.executable, "-m", "pytest", "-q", "-rfEs", "-n", "2", "--dist", "loadgroup",
                   "--color=no", "--junitxml", report, os.path.join(ROOT, "tests", "qemu")]
        # pytest's own closing line is not printed: the last line of the run is ours.
        process = subprocess.Popen(command + shlex.split(os.environ.get("TESTS", "")), cwd=ROOT,
                                   env=environment, text=True, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
        for line in process.stdout:
            if not re.match(r"(=* *)?(\d+ \w+,? )+in [\d.]+s|bringing up nodes|-* generated xml", line):
                print(line, end="", flush=True)
        process.wait()
        try:
            suites = list(xml.parse(report).getroot().iter("testsuite"))
        except (FileNotFoundError, xml.ParseError):
            return 0, 1
        count = {key: sum(int(suite.get(key)) for suite in suites)
                 for key in ("tests", "failures", "errors", "skipped")}
    failed = count["failures"] + count["errors"]
    passed = count["tests"] - failed - count["skipped"]
    if count["skipped"]:
        print(f"skipped: {count['skipped']}, named above")
    if process.returncode and not failed:
        failed = 1
    return passed, failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    args = parser.parse_args()
    environment, only, started = clean_environment(), os.environ.get("ONLY", ""), time.monotonic()
    sums = []
    if only in ("", "host"):
        sums += [run_host(environment), run_fuzzers(environment)]
    if only in ("", "qemu"):
        sums.append(run_qemu(environment, args.build))
    passed, failed = (sum(column) for column in zip(*sums))
    print(f"\n{time.monotonic() - started:.0f} seconds")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
