#!/usr/bin/env python3
"""Boot an ISO in Bochs without a display, as a second opinion about the processor.

    tools/bochs.py ISO [--mem MB] [--cpus N] [--limit SECONDS]

Bochs has no fw_cfg and no exit port of QEMU's kind: a command for the kernel goes on its command line
(tools/mkiso.sh), and the kernel ends the run by writing "Shutdown" to port 0x8900. What the kernel
says on COM1 is printed. Exit status 0: the kernel ended it; 1: time was
up, or Bochs gave up (its log is printed).
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile

CONFIG = """\
config_interface: textconfig
display_library: term
memory: guest={mem}, host={mem}
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=corei7_skylake_x, count={cpus}, ips=200000000, reset_on_triple_fault=0, ignore_bad_msrs=1
clock: sync=none, time0=local
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path="{iso}", status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev="{directory}/com1"
log: "{directory}/log"
panic: action=fatal
error: action=report
info: action=ignore
debug: action=ignore
"""


def run(iso, mem=128, cpus=1, limit=60):
    """Returns (did the kernel end it?, what COM1 said, Bochs's log)."""
    directory = tempfile.mkdtemp(prefix="pagoda-bochs-")
    try:
        with open(os.path.join(directory, "rc"), "w") as file:
            file.write(CONFIG.format(mem=mem, cpus=cpus, directory=directory,
                                     iso=os.path.abspath(iso)))
        with open(os.path.join(directory, "commands"), "w") as file:
            file.write("continue\n")        # Debian's Bochs starts in its debugger
        command = f"exec bochs -q -f {directory}/rc -rc {directory}/commands"
        # The display of the terminal wants a terminal: script makes one.
        process = subprocess.Popen(["script", "-q", "-e", "-c", command, "/dev/null"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True,
                                   env=dict(os.environ, TERM="vt100"))
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
        read = {}
        for name in ("com1", "log"):
            try:
                with open(os.path.join(directory, name), "rb") as file:
                    read[name] = file.read().decode(errors="replace").replace("\r\n", "\n")
            except FileNotFoundError:
                read[name] = ""
        ended = "Shutdown port: shutdown requested" in read["log"]
        return ended, read["com1"], read["log"]
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("iso")
    parser.add_argument("--mem", type=int, default=128)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--limit", type=int, default=60)
    args = parser.parse_args()
    ended, said, log = run(args.iso, args.mem, args.cpus, args.limit)
    print(said)
    if not ended:
        print(log, file=sys.stderr)
    return 0 if ended else 1


if __name__ == "__main__":
    sys.exit(main())
