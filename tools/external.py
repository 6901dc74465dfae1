#!/usr/bin/env python3
"""Test programs of Linux's own developers, here and on Linux: both verdicts, line by line.

    tools/external.py [--build DIR] [PROGRAM]...          what `make external` runs

Takes the programs that tests/external/programs.json names from Debian's package linux-source-6.1
(/usr/src), builds them static and without a change, and runs each on Debian's own kernel and on
Pagoda, in the same QEMU machine with the same busybox around it. Everything lies in build/external, but for Linux's
kernel (tools/debian.py); a second run needs no network.

Two verdicts of a program are compared: how it ended, and every line it printed, with runs of digits as N and
runs of dots as "...". A line that both printed is marked "=", one that only Linux or only Pagoda printed "L"
or "P". tests/external/expected.json lists where they may differ, each place with the reason.

Pagoda runs with the setting cow=split, Linux's rule for a write to a shared huge page (tests/external/run.sh).

Exit status 0: all equal, or different where the reason stands. 1: different. 2: could not be run.
"""

import argparse
import difflib
import json
import os
import pathlib
import re
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from debian import Trouble, fetch_linux, run  # noqa: E402
from qemu import Guest, Options, UsageError  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]
HERE = ROOT / "tests" / "external"
WORK = ROOT / "build" / "external"
SOURCE = pathlib.Path("/usr/src/linux-source-6.1.tar.xz")
SELFTESTS = "linux-source-6.1/tools/testing/selftests"
UNPACK = [f"{SELFTESTS}/vm", f"{SELFTESTS}/kselftest.h"]
KERNEL_HEADERS = {"linux": "/usr/include/linux", "asm-generic": "/usr/include/asm-generic",
                  "asm": "/usr/include/x86_64-linux-gnu/asm"}
BUSYBOX = ("/bin/busybox", "/usr/bin/busybox")
LINUX_ARGUMENTS = "console=ttyS0 quiet panic=-1 mitigations=off"
BOOT_SECONDS = 60


# ---- the programs ----------------------------------------------------------------------------------


def unpack_source():
    """The few files that are needed, out of the package's archive."""
    target = WORK / "source"
    if (target / SELFTESTS / "kselftest.h").exists():
        return target / SELFTESTS / "vm"
    if not SOURCE.exists():
        raise Trouble(f"{SOURCE} is missing; `apt-get install linux-source-6.1` (or ./setup) brings it")
    print("external: unpacking the programs' sources", flush=True)
    target.mkdir(parents=True, exist_ok=True)
    run("tar", "-C", target, "-xf", SOURCE, *UNPACK)
    return target / SELFTESTS / "vm"


def build_program(program, source):
    """Static; musl's own headers stand before the kernel's, which it does not bring."""
    target = WORK / "root" / program["name"]
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [program["compiler"], "-static", "-O2", "-w"]
    if program["compiler"] == "musl-gcc":
        headers = WORK / "headers"
        headers.mkdir(exist_ok=True)
        for name, path in KERNEL_HEADERS.items():
            if not (headers / name).is_symlink():
                (headers / name).symlink_to(path)
        command += ["-idirafter", headers]
    run(*command, "-o", target, *(source / name for name in program["sources"]))


# ---- Linux -----------------------------------------------------------------------------------------


def build_initramfs(words):
    """/root as on Pagoda, busybox, and init.sh."""
    tree = WORK / "linux-tree"
    shutil.rmtree(tree, ignore_errors=True)
    (tree / "bin").mkdir(parents=True)
    (tree / "root").mkdir()
    busybox = next(filter(os.path.exists, BUSYBOX), None)
    if not busybox:
        raise Trouble(f"{BUSYBOX[0]} is missing; `apt-get install busybox-static` (or ./setup) brings it")
    shutil.copy(busybox, tree / "bin" / "busybox")
    shutil.copy(HERE / "init.sh", tree / "init")
    (tree / "init").chmod(0o755)
    for path in (WORK / "root").iterdir():
        shutil.copy(path, tree / "root" / path.name)
    (tree / "root" / "arguments").write_text(" ".join(words) + "\n")
    names = run("find", ".", cwd=tree, capture_output=True).stdout
    image = WORK / "linux-initramfs"
    with open(image, "wb") as file:
        run("cpio", "-o", "-H", "newc", "--quiet", cwd=tree, input=names, stdout=file)
    return image


# ---- running and reading ---------------------------------------------------------------------------


class Verdict:
    """What one kernel made of one program."""

    def __init__(self, system, result, endless):
        self.system = system
        text = re.sub(r"\r+\n", "\n", result.output)
        whole = re.search(r"^external: begin\n(.*?)^external: status (\d+)$", text, re.S | re.M)
        if whole:
            self.status, said = int(whole[2]), whole[1]
        else:
            self.status = None
            said = text[-4000:] + f"\n({result.verdict}, status {result.status}: {result.text})"
        self.lines = mask(said)
        if endless:     # the last line was cut when it was stopped
            self.lines = [line for line in dict.fromkeys(self.lines) if not line.endswith("Terminated")]

    def ended(self):
        if self.status is None:
            return "did not come to its end"
        return f"status {self.status}" + (" (stopped)" if self.status == 143 else "")


def mask(said):
    """Numbers and waits are nobody's verdict. The kernel's own lines ("[ 1.234] ...") are no program's."""
    lines = []
    for line in said.split("\n"):
        line = re.sub(r"\x1b\[[\d;]*m", "", line).rpartition("\r")[2]       # colours, overwriting
        if re.match(r"\[ *\d+\.\d+\] ", line):
            continue
        line = re.sub(r"0x[0-9a-f]+|\d+(\.\d+)?", "N", line)
        line = re.sub(r"\.{3,}", "...", re.sub(r"[ \t]+", " ", line)).strip()
        if line:
            lines.append(line)
    return lines


def run_on_linux(program, kernel, version):
    options = Options(boot="pvh", kernel=str(kernel), initrd=str(build_initramfs(words_of(program))),
                      append=LINUX_ARGUMENTS, mem=program["mem"])
    result = Guest(options).run(program["seconds"] + BOOT_SECONDS)
    return Verdict("Linux " + version, result, program["endless"])


def run_on_pagoda(program, build):
    options = Options(build=build, boot="pvh", initrd=str(WORK / "initrd.cpio"), mem=program["mem"],
                      monitor=False, cmd="sh /root/run.sh " + " ".join(words_of(program)))
    result = Guest(options).run(program["seconds"] + BOOT_SECONDS)
    return Verdict("Pagoda", result, program["endless"])


def words_of(program):
    return [program["name"], str(program["seconds"]), *program["arguments"]]


# ---- comparing -------------------------------------------------------------------------------------


def compare(program, linux, pagoda, expected):
    """Print both verdicts; returns (unexplained differences, explained ones)."""
    print(f"\n==== {' '.join([program['name']] + program['arguments'])}")
    for verdict in (linux, pagoda):
        print(f"    {verdict.system + ':':32s} {verdict.ended()}, {len(verdict.lines)} lines")
    bad, explained = int(linux.status != pagoda.status or linux.status is None), 0
    matcher = difflib.SequenceMatcher(a=linux.lines, b=pagoda.lines, autojunk=False)
    for kind, a0, a1, b0, b1 in matcher.get_opcodes():
        if kind == "equal":
            print("".join(f"  = {line}\n" for line in linux.lines[a0:a1]), end="")
            continue
        print("".join(f"  L {line}\n" for line in linux.lines[a0:a1]), end="")
        print("".join(f"  P {line}\n" for line in pagoda.lines[b0:b1]), end="")
        reason = next((e["because"] for e in expected if e["program"] == program["name"] and
                       (e["linux"], e["pagoda"]) == (linux.lines[a0:a1], pagoda.lines[b0:b1])), None)
        print(f"    because: {reason}" if reason else "    DIFFERENT, and no reason is known")
        bad, explained = bad + (not reason), explained + bool(reason)
    print(f"{program['name']}: " + ("DIFFERENT" if bad else "equal" if not explained else
                                    f"equal except in {explained} place{'s' * (explained > 1)}, for the reason given"),
          flush=True)
    return bad, explained


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=str(ROOT / "build" / "release"))
    parser.add_argument("programs", nargs="*", metavar="PROGRAM")
    args = parser.parse_args()
    programs = json.loads((HERE / "programs.json").read_text())["programs"]
    expected = json.loads((HERE / "expected.json").read_text())["differences"]
    chosen = [p for p in programs if not args.programs or p["name"] in args.programs]
    if len(chosen) < len(args.programs):
        print(f"external: the programs are {', '.join(p['name'] for p in programs)}", file=sys.stderr)
        return 2
    try:
        source = unpack_source()
        for program in programs:
            build_program(program, source)
        shutil.copy(HERE / "run.sh", WORK / "root" / "run.sh")
        kernel, version = fetch_linux()
        run(sys.executable, ROOT / "tools" / "mkinitrd.py", "--base", pathlib.Path(args.build) / "initrd.cpio",
            "--root", WORK / "root", "--output", WORK / "initrd.cpio")
        counts = [compare(program, run_on_linux(program, kernel, version),
                          run_on_pagoda(program, args.build), expected) for program in chosen]
    except (Trouble, UsageError) as error:
        print(f"external: {error}", file=sys.stderr)
        return 2
    bad = sum(1 for count in counts if count[0])
    print(f"\nexternal: {len(counts) - bad} of {len(counts)} programs: Pagoda's verdict is Linux's"
          + (f"; {sum(c[1] for c in counts)} explained"
             if sum(c[1] for c in counts) else ""))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
