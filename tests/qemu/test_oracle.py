"""Every scenario of tests/linux, performed on Pagoda and judged against Linux and the rules of THP.

A boot runs many scenarios, each a fresh process; the record a scenario prints is judged on its own.
Each boot ends with every checker and an exact ledger.
"""

import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import pytest
from conftest import BUILD, make_options
from qemu import Guest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "linux"))

import judge  # noqa: E402

MEMORY = {"oracle": "192M", "semantics": "192M", "more": "512M"}   # of those that fill it
COW = "/sys/kernel/mm/transparent_hugepage/cow"
NAMES = {path.stem: [s["name"] for s in json.loads(path.read_text())["scenarios"] if "skip" not in s]
         for path in judge.FILES}


def steps():
    """name -> the text of its steps."""
    text = (ROOT / "tests" / "linux" / "scenarios.txt").read_text()
    return dict(re.findall(r"^\[(.+)\]\n((?:[^\[\n].*\n|\n)*)", text, re.MULTILINE))


def fragments(name):
    """A scenario that fills memory: in a small guest, apart from the others."""
    return "fragment" in steps()[name].split()


@functools.lru_cache(maxsize=None)
def boot(file, cow, small):
    """Perform the scenarios of one file in one boot -> (Result, {name: record})."""
    names = [n for n in NAMES[file] if fragments(n) == small]
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "names").write_text("".join(name + "\n" for name in names))
        initrd = os.path.join(folder, "initrd.cpio")
        subprocess.run([sys.executable, str(ROOT / "tools" / "mkinitrd.py"), "--base", os.path.join(BUILD, "initrd.cpio"),
                        "--root", folder, "--output", initrd], check=True)
        result = Guest(make_options(mem=MEMORY[file] if small else "512M", smp=1, initrd=initrd, cmd=(
            f"echo {cow} > {COW}; run scenario --each /root/names; check && ledger"))).run(120)
    return result, {r["name"]: r for r in judge.records(result.output)}


def cases():
    for file, names in NAMES.items():
        for cow in ("copy", "split"):
            for name in names:
                if file == "semantics" or cow == "split":    # Linux 6.1 splits
                    yield pytest.param(file, cow, name, id=f"{file}-{cow}-{name}")


@pytest.mark.parametrize("file,cow,name", cases())
def test_scenario(file, cow, name):
    result, records = boot(file, cow, fragments(name))
    assert name in records, f"no record; the boot: {result.verdict}\n{result.output[-2000:]}"
    for expected in judge.expectations([ROOT / "tests" / "linux" / f"{file}.json"], cow)[name]:
        bad = judge.differences(records[name], expected)
        assert not bad, "\n".join(bad)


@pytest.mark.parametrize("file,cow,small", [("oracle", "split", False), ("oracle", "split", True),
                                            ("more", "split", False), ("more", "split", True),
                                            ("semantics", "copy", False), ("semantics", "copy", True),
                                            ("semantics", "split", False), ("semantics", "split", True)])
def test_checkers_after(file, cow, small):
    result, _ = boot(file, cow, small)
    assert result.status == 0, f"{result.verdict}\n{result.output[-3000:]}"


def test_every_scenario_is_expected():
    """No step text without an expectation and no expectation without steps."""
    skipped = {n for n, text in steps().items() if text.lstrip().startswith("skip")}
    marked = {s["name"] for s in json.loads((ROOT / "tests/linux/oracle.json").read_text())["scenarios"]
              if "skip" in s}
    assert skipped == marked
    assert set(steps()) - skipped == {n for names in NAMES.values() for n in names}
