#!/usr/bin/env python3
"""Run the programs of user/programs on a Linux kernel, in the machine the recorded figures come from.

    tests/linux/on_linux.py VMLINUZ 'scenario noop' 'bench 4k_write' ...
    tests/linux/on_linux.py VMLINUZ --scenarios | tests/linux/judge.py --kernel linux

VMLINUZ is a kernel image such as /boot/vmlinuz-6.1.0-56-cloud-amd64 of Debian's linux-image package
(unpacked with dpkg-deb -x, not installed). Needs musl-gcc, cpio and qemu-system-x86_64.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
MACHINE = ["qemu-system-x86_64", "-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off",
           "-machine", "pc", "-cpu", "qemu64", "-smp", "1", "-display", "none", "-serial", "stdio",
           "-monitor", "none", "-nodefaults", "-no-reboot"]
ARGUMENTS = ("console=ttyS0 quiet panic=-1 tsc=reliable nokaslr mitigations=off nopti "
             "randomize_kstack_offset=off init_on_alloc=0 norandmaps")


def compile_program(sources, target):
    subprocess.run(["musl-gcc", "-std=gnu11", "-static", "-O2", "-s", "-Iuser/programs", "-Iinclude",
                    "-Iservers/lib", "-o", str(target), *map(str, sources)], cwd=ROOT, check=True)


def build_initramfs(directory, commands):
    tree = directory / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "commands").write_text("".join(c + "\n" for c in commands))
    compile_program([ROOT / "tests" / "linux" / "init.c"], tree / "init")
    lib = ROOT / "user" / "programs" / "lib.c"
    for source in sorted((ROOT / "user" / "programs").glob("*.c")):
        if source != lib:
            compile_program([source, lib], tree / "bin" / source.stem)
    names = subprocess.run(["find", "."], cwd=tree, check=True, capture_output=True).stdout
    image = directory / "initramfs"
    with open(image, "wb") as file:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=tree, input=names, stdout=file,
                       check=True)
    return image


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("vmlinuz")
    parser.add_argument("commands", nargs="*")
    parser.add_argument("--scenarios", action="store_true", help="every scenario there is")
    parser.add_argument("--mem", default="512")
    args = parser.parse_args()
    commands = list(args.commands)
    with tempfile.TemporaryDirectory(prefix="on-linux-") as name:
        directory = pathlib.Path(name)
        if args.scenarios:
            text = (ROOT / "tests" / "linux" / "scenarios.txt").read_text()
            commands += ["scenario " + line[1:-1] for line in text.splitlines() if line.startswith("[")]
        image = build_initramfs(directory, commands)
        sys.stdout.flush()
        return subprocess.run(MACHINE + ["-m", args.mem, "-kernel", args.vmlinuz, "-initrd", str(image),
                                         "-append", ARGUMENTS],
                              stdin=subprocess.DEVNULL, check=False, timeout=1800).returncode


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
