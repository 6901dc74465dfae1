#!/usr/bin/env python3
"""The one place that knows how QEMU is called, and what its exit status means.

    tools/qemu.py [--build DIR] run [--take-cmd FILE]     what `make run` does; options by environment
    tools/qemu.py [--build DIR] gdb                       attach gdb to the newest `make run`

Tests and the benchmark import Options and Guest:

    result = Guest(Options(boot="pvh", smp=4, cmd="ktest && check")).run(limit=30)
    result.verdict, result.status, result.output

How a guest says how it went (isa-debug-exit: a byte v makes QEMU leave with 2 v + 1):

    v            meaning                                          verdict    our exit status
    0x10         success                                          pass       0
    0x11         a command failed                                 fail       1
    0x20         panic                                            crash      3
    0x21         this machine cannot run the kernel               fail       4
    0x40 + s     the last command had status s, 0 < s < 0x3f      fail       s
    0x7f         ... status 127 (and all from 63 on)              fail       127
    none         powered off or reset without a word              fail       5
                 (with a person at the console: 0)
    triple fault                                                  crash      3
    time is up                                                    timeout    124
    QEMU missing, refused its arguments, killed                   infrastructure 125
"""

import argparse
import collections
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

QEMU = "qemu-system-x86_64"
OVMF = "/usr/share/ovmf/OVMF.fd"
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MAX_CPUS = 16
MAX_NODES = 8
NODE_MINIMUM = 16 << 20
MINIMUM = 3 << 20            # beside the initrd: from here on the kernel itself says how much it needs
UEFI_MINIMUM = 64 << 20
DEBUG_EXIT_PORT = 0xF4

EXIT_CRASH, EXIT_REFUSED, EXIT_SILENT, EXIT_TIMEOUT, EXIT_INFRASTRUCTURE = 3, 4, 5, 124, 125


class UsageError(Exception):
    """The options contradict each other or the machine: the text says how."""


# ---- options ---------------------------------------------------------------------------------------


def parse_size(text):
    """'512M', '6G', '65536K' or bytes -> bytes."""
    match = re.fullmatch(r"(\d+)([KMG]?)", str(text), re.IGNORECASE)
    if not match:
        raise UsageError(f"MEM={text}: a number with K, M or G is wanted, as in MEM=512M")
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2].upper()]


@dataclass
class Options:
    """What a guest is made of. build: the directory with pagoda.elf, initrd.cpio and pagoda.iso."""

    build: str = os.environ.get("PAGODA_BUILD", os.path.join(ROOT, "build", "release"))
    boot: str = "pvh"            # iso, uefi, pvh
    mem: str = "512M"
    smp: int = None              # 2, or 1 with icount
    cpu: str = "max"
    cmd: str = None              # None: no command, a prompt
    icount: bool = False
    numa: int = 1                # nodes that memory and CPUs are shared out among
    monitor: bool = True         # the kernel's monitor owns the console; False: the servers do, with a shell
    append: str = ""             # kernel command line (pvh only: GRUB has its own)
    kernel: str = None           # other files than those of build
    initrd: str = None           # "" : none
    iso: str = None
    qmp: bool = False            # Guest.qmp(): QEMU's control socket
    ram_file: bool = False       # Guest.ram: guest memory as a file
    gdb: bool = False            # a socket for gdb in the run's directory
    extra: list = field(default_factory=list)

    def check(self):
        """Fill in what depends on other options; refuse what cannot work."""
        if self.boot not in ("iso", "uefi", "pvh"):
            raise UsageError(f"BOOT={self.boot}: iso, uefi or pvh is wanted")
        if self.icount and self.smp not in (None, 1):
            raise UsageError(
                f"ICOUNT=1 with SMP={self.smp}: the instruction counter counts all CPUs "
                "together and a waiting CPU burns whole slices, so costs are exact with SMP=1 only")
        if not 1 <= self.numa <= MAX_NODES:
            raise UsageError(f"NUMA={self.numa}: 1 to {MAX_NODES} nodes are wanted")
        if self.smp is None:
            self.smp = 1 if self.icount else max(2, self.numa)
        if not 1 <= self.smp <= MAX_CPUS:
            raise UsageError(f"SMP={self.smp}: 1 to {MAX_CPUS} is wanted")
        if self.numa > self.smp:
            raise UsageError(f"NUMA={self.numa} with SMP={self.smp}: 1 to {MAX_NODES} nodes, each with a CPU")
        if self.numa > 1 and self.ram_file:
            raise UsageError("guest memory is one file: with NUMA it would be several")
        if self.numa > 1 and parse_size(self.mem) // self.numa < NODE_MINIMUM:
            raise UsageError(f"NUMA={self.numa} MEM={self.mem}: a node has at least {NODE_MINIMUM >> 20}M")
        if self.boot == "uefi" and parse_size(self.mem) < UEFI_MINIMUM:
            raise UsageError(f"BOOT=uefi MEM={self.mem}: the UEFI firmware itself needs 64M to start")
        if self.boot == "uefi" and not os.path.exists(OVMF):
            raise UsageError(f"BOOT=uefi: {OVMF} is missing; ./setup installs it")
        for path in self.boot_files():
            if not os.path.exists(path):
                raise UsageError(f"{path} is missing; `make all iso` builds it")
        needed = (MINIMUM + sum(map(os.path.getsize, self.boot_files()[1:])) + (1 << 20) - 1) >> 20
        if parse_size(self.mem) < needed << 20:
            raise UsageError(f"MEM={self.mem}: the files of kernel and initrd alone do not fit below {needed}M")

    def boot_files(self):
        if self.boot != "pvh":
            return [self.iso or os.path.join(self.build, "pagoda.iso")]
        files = [self.kernel or os.path.join(self.build, "pagoda.elf")]
        if self.initrd != "":
            files.append(self.initrd or os.path.join(self.build, "initrd.cpio"))
        return files


def quoted(path):
    """In QEMU's option lists a comma is written twice."""
    return path.replace(",", ",,")


def node_arguments(options):
    """Memory in multiples of 4 MiB, the last node gets the rest; neighbouring CPUs; 10 here, 20 there."""
    left, args = parse_size(options.mem), []
    for node in range(options.numa):
        size = left if node == options.numa - 1 else parse_size(options.mem) // options.numa & -(4 << 20)
        left -= size
        first, last = (options.smp * n // options.numa for n in (node, node + 1))
        args += ["-object", f"memory-backend-ram,id=node{node},size={size}",
                 "-numa", f"node,nodeid={node},memdev=node{node},cpus={first}-{last - 1}"]
    for a in range(options.numa):
        for b in range(a + 1, options.numa):
            args += ["-numa", f"dist,src={a},dst={b},val=20"]
    return args


def command_line(options, directory, serial):
    """QEMU's arguments. directory: where this run's sockets and files lie; serial: -serial's value."""
    args = [QEMU, "-machine", "pc" + (",memory-backend=ram" if options.ram_file else ""),
            "-nodefaults", "-display", "none", "-no-reboot",
            "-cpu", options.cpu, "-m", str(parse_size(options.mem) >> 10) + "k",
            "-smp", str(options.smp),
            "-serial", serial,
            "-device", f"isa-debug-exit,iobase={DEBUG_EXIT_PORT:#x},iosize=4",
            "-d", "cpu_reset", "-D", os.path.join(directory, "qemu.log")]
    if options.icount:
        args += ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"]
    else:
        args += ["-accel", "tcg,thread=" + ("multi" if options.smp > 1 else "single")]

    if options.numa > 1:
        args += node_arguments(options)

    files = options.boot_files()
    if options.boot == "pvh":
        args += ["-kernel", files[0]]
        if len(files) > 1:
            args += ["-initrd", files[1]]
        if options.append:
            args += ["-append", options.append]
    else:
        args += ["-drive", f"file={quoted(files[0])},format=raw,if=ide,media=cdrom,readonly=on",
                 "-boot", "order=d"]
    if options.boot == "uefi":
        args += ["-bios", OVMF]

    if options.cmd is not None:
        path = os.path.join(directory, "cmd")
        with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(options.cmd)
        args += ["-fw_cfg", f"name=opt/pagoda/cmd,file={quoted(path)}"]
    args += ["-fw_cfg", f"name=opt/pagoda/monitor,string={int(options.monitor)}"]
    if options.ram_file:
        args += ["-object", f"memory-backend-file,id=ram,share=on,size={parse_size(options.mem)},"
                 f"mem-path={quoted(os.path.join(directory, 'ram'))}"]
    if options.qmp:
        args += ["-qmp", f"unix:{quoted(os.path.join(directory, 'qmp'))},server=on,wait=off"]
    if options.gdb:
        args += ["-chardev", f"socket,id=gdb,path={quoted(os.path.join(directory, 'gdb.sock'))},"
                 "server=on,wait=off", "-gdb", "chardev:gdb"]
    return args + list(options.extra)


# ---- verdicts --------------------------------------------------------------------------------------

Judgement = collections.namedtuple("Judgement", "verdict status text")


def judge(qemu_status, log, interactive=False):
    """QEMU's exit status and log -> Judgement; the table at the top of this file."""
    if qemu_status < 0:
        return Judgement("infrastructure", EXIT_INFRASTRUCTURE,
                         f"QEMU was killed by signal {-qemu_status}")
    if qemu_status == 0:
        if "Triple fault" in log:
            return Judgement("crash", EXIT_CRASH, "triple fault: an exception while delivering a "
                             "double fault; QEMU_ARGS='-d int -D FILE' records what came before")
        if interactive:
            return Judgement("pass", 0, "")
        return Judgement("fail", EXIT_SILENT, "the guest powered off or reset without a result")
    value = qemu_status >> 1
    if qemu_status & 1 == 0 or value == 0:
        return Judgement("infrastructure", EXIT_INFRASTRUCTURE,
                         f"QEMU itself failed with status {qemu_status}")
    if value == 0x10:
        return Judgement("pass", 0, "")
    if value == 0x11:
        return Judgement("fail", 1, "the command ended with status 1")
    if value == 0x20:
        return Judgement("crash", EXIT_CRASH, "the kernel panicked: its record is above")
    if value == 0x21:
        return Judgement("fail", EXIT_REFUSED, "this machine cannot run the kernel: see above")
    if value == 0x7F:
        return Judgement("fail", 127, "the command ended with status 127 (no such command) or another "
                         "above 62: its RESULT line says which")
    if 0x40 < value < 0x7F:
        return Judgement("fail", value - 0x40, f"the command ended with status {value - 0x40}")
    return Judgement("infrastructure", EXIT_INFRASTRUCTURE,
                     f"the guest left by the debug port with {value:#x}, which means nothing")


def read_text(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


# ---- guests of tests -------------------------------------------------------------------------------


@dataclass
class Result:
    """How a run ended. output: what the serial line said, CRLF as LF."""

    verdict: str
    status: int
    text: str
    output: str
    seconds: float
    stderr: str

    def __str__(self):
        return (f"verdict {self.verdict}, status {self.status} after {self.seconds:.1f} s: {self.text}\n"
                f"{self.stderr}---- serial line ----\n{self.output}")


class Guest:
    """One QEMU with its serial line on a socket. A context manager: leaving it ends QEMU."""

    def __init__(self, options):
        options.check()
        self.options = options
        self.directory = tempfile.mkdtemp(prefix="pagoda-test-")
        self.raw = b""
        self.process = self.line = self.control = None
        self.started = time.monotonic()
        self.seen = 0                          # how much of self.text expect() has consumed

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start(self):
        """Start QEMU; its serial line is connected before the guest's first instruction."""
        path = os.path.join(self.directory, "serial")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(1)
        self.stderr = open(os.path.join(self.directory, "stderr"), "w+b")
        self.started = time.monotonic()
        try:
            self.process = subprocess.Popen(
                command_line(self.options, self.directory, f"unix:{quoted(path)}"),
                stdin=subprocess.DEVNULL, stdout=self.stderr, stderr=self.stderr)
            listener.settimeout(0.2)
            while self.line is None and self.process.poll() is None:
                try:
                    self.line = listener.accept()[0]
                except TimeoutError:
                    pass
        except FileNotFoundError:
            self.stderr.write(f"{QEMU} is not installed; ./setup installs it\n".encode())
        finally:
            listener.close()
        return self

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for thing in (self.line, self.control, getattr(self, "stderr", None)):
            if thing:
                thing.close()
        self.line = self.control = None
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def ram(self):
        """The file that is guest memory (ram_file=True)."""
        return os.path.join(self.directory, "ram")

    @property
    def text(self):
        return self.raw.decode("utf-8", errors="replace").replace("\r\n", "\n")

    # -- the serial line

    def pump(self, seconds):
        """Take what the guest says for at most that long. False: it will say no more."""
        if not self.line:
            return False
        self.line.settimeout(max(seconds, 0.001))
        try:
            data = self.line.recv(65536)
        except TimeoutError:
            return True
        except OSError:
            data = b""
        self.raw += data
        return bool(data)

    def expect(self, pattern, limit=10):
        """Wait for a regular expression in what was not yet matched; returns the match."""
        deadline = time.monotonic() + limit * time_scale()
        while True:
            text = self.text
            match = re.compile(pattern, re.MULTILINE).search(text, self.seen)
            if match:
                self.seen = match.end()
                return match
            left = deadline - time.monotonic()
            if left <= 0 or not self.pump(left):
                why = "did not come in time" if left <= 0 else "did not come before the end"
                raise AssertionError(f"{pattern!r} {why}\n---- serial line ----\n{text}")

    def send(self, data):
        """Type: text or bytes, as they are. Reads on meanwhile, so neither side blocks the other."""
        data = data.encode() if isinstance(data, str) else data
        while data:
            self.pump(0.001)
            self.line.settimeout(1)
            try:
                data = data[self.line.send(data[:64]):]
            except TimeoutError:
                pass

    def send_break(self):
        self.qmp("chardev-send-break", id="serial0")

    # -- QEMU's control socket

    def qmp(self, command, **arguments):
        """One QMP command; returns its answer. Needs qmp=True."""
        if not self.control:
            self.control = socket.socket(socket.AF_UNIX)
            self.control.connect(os.path.join(self.directory, "qmp"))
            self.control.settimeout(60)
            self.answers = self.control.makefile("r")
            json.loads(self.answers.readline())
            self.qmp("qmp_capabilities")
        request = {"execute": command, "arguments": arguments}
        self.control.sendall(json.dumps(request).encode() + b"\n")
        while True:
            answer = json.loads(self.answers.readline())
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']}")
            if "return" in answer:
                return answer["return"]

    def hmp(self, line):
        """One command of QEMU's human monitor (info tlb, gva2gpa ...); returns its text."""
        return self.qmp("human-monitor-command", **{"command-line": line})

    # -- the end

    def wait(self, limit=30):
        """Wait for the end, at most limit seconds of an idle machine; returns a Result."""
        deadline = time.monotonic() + limit * time_scale()
        while time.monotonic() < deadline and self.pump(deadline - time.monotonic()):
            pass
        timed_out = False
        if self.process:
            try:
                self.process.wait(max(deadline - time.monotonic(), 1))
            except subprocess.TimeoutExpired:
                timed_out = True
        seconds = time.monotonic() - self.started
        if timed_out:
            judgement = Judgement("timeout", EXIT_TIMEOUT,
                                  f"no end within {limit} s x {time_scale():.1f} (calibrated)")
        elif not self.process:
            judgement = Judgement("infrastructure", EXIT_INFRASTRUCTURE, "QEMU is missing")
        else:
            judgement = judge(self.process.returncode,
                              read_text(os.path.join(self.directory, "qemu.log")))
        self.stderr.seek(0)
        return Result(*judgement, self.text, seconds, self.stderr.read().decode(errors="replace"))

    def run(self, limit=30):
        """Start, wait, clean up."""
        try:
            return self.start().wait(limit)
        finally:
            self.stop()


NOMINAL_BOOT = 0.6      # seconds from QEMU's start to its end for `version` by PVH, machine idle
_scale = None


def time_scale():
    """How much slower than nominal this machine is now, at least 1: measured once, by a boot.

    PAGODA_TIME_SCALE in the environment sets it instead (a kernel that does not get that far).
    """
    global _scale
    if _scale is None and os.environ.get("PAGODA_TIME_SCALE"):
        _scale = float(os.environ["PAGODA_TIME_SCALE"])
    if _scale is None:
        _scale = 10.0                          # generous while measuring
        result = Guest(Options(smp=1, cmd="version")).run(limit=6)
        _scale = min(max(result.seconds / NOMINAL_BOOT, 1.0), 10.0)
    return _scale


# ---- the command line ------------------------------------------------------------------------------


def options_from_environment(build, take_cmd):
    env = os.environ
    cmd = None
    if take_cmd:
        with open(take_cmd, encoding="utf-8", errors="surrogateescape", newline="") as file:
            cmd = re.sub(r"\n\Z", "", file.read())     # make ends the file with a newline
        os.unlink(take_cmd)
    smp = env.get("SMP") or None
    if smp is not None and not smp.isdigit():
        raise UsageError(f"SMP={smp}: a number from 1 to {MAX_CPUS} is wanted")
    numa = env.get("NUMA") or "1"
    if not numa.isdigit():
        raise UsageError(f"NUMA={numa}: a number from 1 to {MAX_NODES} is wanted")
    return Options(
        build=build, boot=env.get("BOOT") or "iso", mem=env.get("MEM") or "512M",
        smp=int(smp) if smp else None, cpu=env.get("CPU") or "max", cmd=cmd,
        icount=env.get("ICOUNT") == "1", numa=int(numa), monitor=env.get("MONITOR") == "1",
        append=env.get("APPEND") or "", gdb=True, extra=env.get("QEMU_ARGS", "").split())


def run(build, take_cmd):
    """What `make run` does: the guest's serial line is this terminal."""
    options = options_from_environment(build, take_cmd)
    options.check()
    interactive = options.cmd is None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))     # clean up as for Ctrl-C
    directory = tempfile.mkdtemp(prefix="pagoda-run-")
    try:
        serial = ["mon:stdio", "-echr", "0x1d"] if interactive else ["stdio"]
        args = command_line(options, directory, serial[0]) + serial[1:]
        if interactive:
            print(f"pagoda: BOOT={options.boot} MEM={options.mem} SMP={options.smp}. "
                  "Ctrl-] x quits, Ctrl-] b sends BREAK" + (
                      "; `help` lists commands." if options.monitor else
                      " (the kernel's monitor). `ls /sbin /bin` lists commands."), flush=True)
        process = subprocess.Popen(args, stdin=None if interactive else subprocess.DEVNULL)
        with open(os.path.join(directory, "pid"), "w") as file:
            file.write(str(process.pid))
        try:
            status = process.wait()
        except KeyboardInterrupt:
            return 130
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        judgement = judge(status, read_text(os.path.join(directory, "qemu.log")), interactive)
        if judgement.text:
            sys.stdout.flush()
            print(f"pagoda: {judgement.verdict}: {judgement.text}", file=sys.stderr)
        return judgement.status
    except FileNotFoundError:
        raise UsageError(f"{QEMU} is not installed; ./setup installs it") from None
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def newest_run():
    """The directory of the newest `make run` whose QEMU is alive, or None."""
    pids = glob.glob(os.path.join(tempfile.gettempdir(), "pagoda-run-*", "pid"))
    for path in sorted(pids, key=os.path.getmtime, reverse=True):
        if os.path.exists("/proc/" + (read_text(path) or "none")):
            return os.path.dirname(path)
    return None


def gdb(build):
    directory = newest_run()
    if not directory:
        raise UsageError("no guest is running: start `make run` in another terminal first")
    args = ["gdb", "-q", os.path.join(build, "pagoda.elf"),
            "-ex", "set pagination off", "-ex", f"target remote {directory}/gdb.sock"]
    commands = os.path.join(ROOT, "tools", "kmem", "gdb_commands.py")
    if os.path.exists(commands):
        args += ["-x", commands]
    os.execvp("gdb", args)


def main():
    parser = argparse.ArgumentParser(description="run Pagoda in QEMU")
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"))
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("run").add_argument("--take-cmd", help="file with the command; removed")
    verbs.add_parser("gdb")
    args = parser.parse_args()
    try:
        return run(args.build, args.take_cmd) if args.verb == "run" else gdb(args.build)
    except UsageError as error:
        print(f"pagoda: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
