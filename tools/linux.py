#!/usr/bin/env python3
"""Pagoda beside Linux: what both do, and what it costs on both.                    what `make linux` runs

    tools/linux.py [--build DIR] [--init FILE] [--linux FILE] [--scenarios FILE] [--only REGEX] [--no-cost]

Boots Debian's own kernel and Pagoda in the same QEMU machine with the same static programs, and prints two
tables. Semantics: each scenario of tests/linux/scenarios.txt (or of FILE), performed by user/programs/scenario.c
on both, compared field by field. Cost: guest instructions for each operation, by bench.c and cost.c. Everything
goes into build/linux as well: results.json, and report.html, which needs nothing else to be looked at.

The machine counts instructions (-icount) and has one processor. Linux runs lean, without mitigations, KASLR and
the second clearing of pages (variant A); the cost of processes is taken with rdrand (R), as without it
Linux's random pool is most of an exec; and once more as Debian starts it (B). Pagoda has no such options.

Linux's kernel is fetched once (tools/debian.py); any 6.1 will do, as both run now. Where it does something
else than the recorded Linux (tests/linux/oracle.json) the row says so.

Exit status 0: every scenario is equal, or different by choice and equal under the matching setting, and no row
costs more than Linux's without a reason in tests/linux/costs.json. 1: not so. 2: could not be run; nothing is changed then.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT / "tests" / "linux")]

import judge  # noqa: E402
import linux_report  # noqa: E402
from debian import Trouble, fetch_linux  # noqa: E402
from mkinitrd import Archive  # noqa: E402
from qemu import Guest, Options, UsageError  # noqa: E402

OUTPUT = ROOT / "build" / "linux"
DATA = ROOT / "tests" / "linux"
MEM = "512M"
COMMON = "console=ttyS0 quiet panic=-1 tsc=reliable "
LEAN = COMMON + "nokaslr mitigations=off nopti randomize_kstack_offset=off init_on_alloc=0 norandmaps"
COW = "/sys/kernel/mm/transparent_hugepage/cow"
NEEDED = 64 << 20                       # initramfs, results, report, and what a guest keeps meanwhile
LIMIT = {"scenarios": 600, "cost": 300}  # seconds of an idle machine


def say(text):
    print("linux: " + text, flush=True)


# ---- the two guests --------------------------------------------------------------------------------


class Machine:
    """The two kernels with the same programs and, where the user gave some, the same scenarios."""

    def __init__(self, args, output):
        self.output = output
        self.build = pathlib.Path(args.build)
        self.programs = sorted((self.build / "initrd" / "bin").iterdir())
        self.kernel, self.version = fetch_linux(args.linux, say)
        self.init, self.scenarios = args.init, args.scenarios

    def scenarios_command(self, names):
        """What performs them; their names come in a file, as a command line has an end."""
        (self.output / "names").write_text("".join(name + "\n" for name in names))
        return "scenario " + ("--file /root/scenarios.txt " if self.scenarios else "") + "--each /root/names"

    def archive(self):
        archive = Archive()
        archive.folder("root")
        if self.scenarios:
            archive.add("root/scenarios.txt", self.scenarios)
        if (self.output / "names").exists():
            archive.add("root/names", str(self.output / "names"))
        return archive

    def write(self, name, archive):
        path = self.output / name
        path.write_bytes(archive.bytes())
        return str(path)

    def linux(self, commands, limit, cpu="qemu64", arguments=LEAN, **machine):
        """Run commands on Linux; what its console said. machine: qemu.Options that are not the ruler's."""
        archive = self.archive()
        archive.add("init", self.init)
        archive.add_programs("bin", map(str, self.programs))
        (self.output / "commands").write_text("".join(command + "\n" for command in commands))
        archive.add("commands", str(self.output / "commands"))
        options = Options(boot="pvh", kernel=str(self.kernel), initrd=self.write("initramfs", archive),
                          append=arguments, cpu=cpu, **{"mem": MEM, "icount": True, **machine})
        result = Guest(options).run(limit)
        if not re.search(r"^init: done\r?$", result.output, re.MULTILINE):
            raise Trouble(f"Linux {self.version} did not come to its end ({result.verdict}); its console's last lines:\n"
                          + result.output[-1500:] + result.stderr)
        return result.output

    def pagoda(self, commands, limit, cpu="qemu64"):
        """Run commands on Pagoda; what its console said. It ends with all checkers and the ledger."""
        archive = Archive()
        archive.add_archive(str(self.build / "initrd.cpio"))
        archive.files |= self.archive().files
        options = Options(build=str(self.build), boot="pvh", initrd=self.write("initrd.cpio", archive), mem=MEM,
                          cpu=cpu, icount=True, cmd="; ".join([*commands, "check && ledger"]))
        result = Guest(options).run(limit)
        if "ledger exact" not in result.output:
            raise Trouble(f"Pagoda did not come to its end ({result.verdict}); its console's last lines:\n"
                          + result.output[-1500:] + result.stderr)
        return result.output


# ---- semantics -------------------------------------------------------------------------------------


def scenarios_chosen(machine, only):
    """{name: judge.Notes} in order; Trouble with file, line and word when the file has a mistake."""
    program = str(machine.build / "initrd" / "bin" / "scenario")
    file = ["--file", machine.scenarios] if machine.scenarios else []
    for verb in ("--check", "--list"):
        done = subprocess.run([program, *file, verb], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Trouble((done.stderr or f"{machine.scenarios}: there is no scenario in it").strip())
    text = pathlib.Path(machine.scenarios or DATA / "scenarios.txt").read_text(errors="replace")
    notes = judge.notes(text)
    chosen = {name: notes[name] for name in done.stdout.split() if re.search(only, name)}
    if not chosen:
        raise Trouble(f"no scenario's name fits \"{only}\"")
    return {name: note for name, note in chosen.items() if note.only != "pagoda" and not note.skip}


def counters_of(output):
    found = re.search(r"^counters:(.*)$", output, re.MULTILINE)
    return set(found[1].split()) if found else set()


def last_words(output, name):
    """What a scenario said that printed no record: its own lines of standard error."""
    before, found, _ = output.partition(f"scenario: {name} ended with")
    lines = [line.strip() for line in before.splitlines() if line.startswith("scenario: ")]
    return lines[-1] if found and lines else "no record"


def semantics(machine, only, differences):
    """A list of what became of each scenario, one dict each."""
    chosen = scenarios_chosen(machine, only)
    commands = ["scenario --counters", machine.scenarios_command(chosen)]
    say(f"{len(chosen)} scenarios on Linux {machine.version}")
    linux = machine.linux(commands, LIMIT["scenarios"])
    outputs = {"linux": linux}
    for cow in ("split", "copy"):
        say(f"... on Pagoda, cow={cow}")
        outputs[cow] = machine.pagoda([f"echo {cow} > {COW}"] + ["run " + c for c in commands], LIMIT["scenarios"])
    records = {which: {r["name"]: r for r in judge.records(output)} for which, output in outputs.items()}
    known = counters_of(linux)
    oracle = {} if machine.scenarios else judge.expectations(cow="split", kernel="linux")
    rows = []
    for name, note in chosen.items():
        got = {which: records[which].get(name) for which in outputs}
        rows.append(judge_scenario(name, note, got, known, oracle.get(name, []), differences))
        if rows[-1]["verdict"] == "missing":
            rows[-1]["because"] = "; ".join(f"{which}: {last_words(outputs[which], name)}"
                                            for which in ("linux", "split") if not got[which])
    return rows


def judge_scenario(name, note, got, known, expected, differences):
    row = {"name": name, "about": note.about, "linux": got["linux"], "pagoda": got["split"], "different": [],
           "record": [], "chosen": [], "because": ""}
    if not got["linux"] or not got["split"]:
        return row | {"verdict": "missing"}
    row["different"] = judge.compare(got["linux"], got["split"], note, known)
    row["record"] = [text for want in expected for text in judge.differences(got["linux"], want)]
    if got["copy"]:
        row["chosen"] = [d for d in judge.compare(got["linux"], got["copy"], note, known)
                         if d not in row["different"]]
    left = [d for d in row["different"] if not reason_of(note, d, differences)]
    row["because"] = "; ".join(dict.fromkeys(filter(None, (reason_of(note, d, differences)
                                                           for d in row["different"]))))
    if row["chosen"] and not row["different"]:
        row["because"] = differences["cow=copy"]
    return row | {"verdict": "different" if left else "equal"}


def reason_of(note, difference, differences):
    """The reason why this field of a scenario with such steps may differ under every setting, or None."""
    for entry in differences["fields"]:
        if re.search(entry["steps"], note.steps) and re.fullmatch(entry["field"], difference[0]):
            return entry["because"]
    return None


# ---- cost ------------------------------------------------------------------------------------------


def values_of(output):
    """-> {row: value}, {row: the file that is not there}, {row: {ticks: number}}"""
    values = {name: int(value) for name, value in
              re.findall(r"^bench (\S+) (-?\d+)\s*$", output, re.MULTILINE)}
    absent = dict(re.findall(r"^absent (\S+) (\S+)\s*$", output, re.MULTILINE))
    histograms = {}
    for name, value, number in re.findall(r"^hist (\S+) (\d+) (\d+)\s*$", output, re.MULTILINE):
        histograms.setdefault(name, {})[int(value)] = int(number)
    return values, absent, histograms


def measure_all(machine):
    """Each variant once: {"linux": ..., "linux_r": ..., "linux_b": ..., "pagoda": ..., "pagoda_r": ...}"""
    both, processes = ["bench", "cost"], ["bench fork_exit", "bench fork_exec", "cost vfork_exec"]
    limit, rdrand = LIMIT["cost"], "qemu64,+rdrand"

    def as_run(commands):
        return ["run " + command for command in commands]

    say("cost on Linux, lean")
    result = {"linux": values_of(machine.linux(both, limit))}
    result["linux_r"] = values_of(machine.linux(processes, limit, rdrand))
    say("cost on Linux as Debian starts it")
    result["linux_b"] = values_of(machine.linux(both, limit, arguments=COMMON))
    result["linux_br"] = values_of(machine.linux(processes, limit, rdrand, COMMON))
    say("cost on Pagoda")
    result["pagoda"] = values_of(machine.pagoda(as_run(both), limit))
    result["pagoda_r"] = values_of(machine.pagoda(as_run(processes), limit, rdrand))
    return result


def cost(machine, table):
    """-> groups with rows filled in, and the histograms."""
    measured = measure_all(machine)

    def value(side, row):
        suffix = "r" if row.get("rdrand") else ""
        which = {"linux": "linux_r" if suffix else "linux", "default": "linux_br" if suffix else "linux_b",
                 "pagoda": "pagoda_r" if suffix else "pagoda"}[side]
        name = row["name"] if side == "pagoda" else row.get("linux_row", row["name"])
        return measured[which][0].get(name)

    for group in table["groups"]:
        for row in group["rows"]:
            row |= {side: value(side, row) for side in ("linux", "default", "pagoda")}
            row["absent"] = measured["pagoda"][1].get(row["name"])
            judge_cost(row, table["clear"])
    return table["groups"], {kernel: measured[kernel][2] for kernel in ("linux", "pagoda")}


def judge_cost(row, clear):
    """Clearing apart, the ratio, and whether this row is worse than Linux."""
    pages = row.get("pages", 0)
    linux_pages = 513 if row.get("linux_row") == "2m_write" else pages
    row["rest"] = {side: row[side] - clear[side] * (linux_pages if side == "linux" else pages)
                   for side in ("linux", "pagoda") if row[side] is not None}
    row["ratio"] = round(row["linux"] / row["pagoda"], 2) if row["linux"] and row["pagoda"] else None
    if row["pagoda"] is None:
        row["verdict"] = "not there" if row["absent"] else "not measured"
    elif row["linux"] is None:
        row["verdict"] = "no Linux figure" if row.get("own") else "not measured"
    elif row["pagoda"] > row["linux"]:
        row["verdict"] = "more, by choice" if row.get("because") else "WORSE"
    elif row["pagoda"] > row.get("most", row["pagoda"]):
        row["verdict"] = "over %d" % row["most"]
    else:
        row["verdict"] = "ok"


# ---- all of it -------------------------------------------------------------------------------------


def output_folder(folder):
    """The folder, with room in it; Trouble before anything is begun."""
    folder = pathlib.Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise Trouble(f"{folder}: {error.strerror}") from None
    if free < NEEDED:
        raise Trouble(f"{folder} has {free >> 20} MB free and {NEEDED >> 20} MB are needed. Nothing was changed")
    return folder


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", default=str(ROOT / "build" / "release"))
    parser.add_argument("--init", default=str(ROOT / "build" / "release" / "linux-init"), help="the first process for Linux")
    parser.add_argument("--linux", metavar="FILE", help="another kernel: an image or a Debian package")
    parser.add_argument("--scenarios", metavar="FILE", help="these instead of tests/linux/scenarios.txt")
    parser.add_argument("--only", metavar="REGEX", default="", help="only scenarios whose name fits")
    parser.add_argument("--output", metavar="DIR", default=str(OUTPUT), help="instead of build/linux")
    parser.add_argument("--no-cost", action="store_true", help="the first table only")
    args = parser.parse_args()
    if args.scenarios and not os.path.isfile(args.scenarios):
        raise Trouble(f"SCENARIOS={args.scenarios}: there is no such file")
    try:
        re.compile(args.only)
    except re.error as error:
        raise Trouble(f"ONLY={args.only}: {error}") from None
    return args


def write_atomically(path, text):
    part = path.with_suffix(".part")
    part.write_text(text)
    part.rename(path)


def main():
    try:
        args = arguments()
        machine = Machine(args, output_folder(args.output))
        differences = json.loads((DATA / "differences.json").read_text())
        scenarios_chosen(machine, args.only)
        results = {"v": 1, "linux": machine.version, "machine": f"QEMU, -icount shift=0, -cpu qemu64, -m {MEM}, 1 CPU"}
        results["scenarios"] = semantics(machine, args.only, differences)
        print("\n" + linux_report.semantics_table(results), flush=True)
        results["cost"], results["histograms"] = [], {}
        if not args.no_cost:
            table = json.loads((DATA / "costs.json").read_text())
            results["cost"], results["histograms"] = cost(machine, table)
            print("\n" + linux_report.cost_table(results), flush=True)
        write_atomically(machine.output / "results.json", json.dumps(results, indent=1) + "\n")
        write_atomically(machine.output / "report.html", linux_report.page(results))
    except (Trouble, UsageError) as error:
        print(f"linux: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"linux: {error.filename or args.output}: {error.strerror}", file=sys.stderr)
        return 2
    print("\n" + linux_report.summary(results))
    folder = os.path.relpath(machine.output)
    print(f"{folder}/results.json, {folder}/report.html")
    return 0 if linux_report.good(results) else 1


if __name__ == "__main__":
    sys.exit(main())
