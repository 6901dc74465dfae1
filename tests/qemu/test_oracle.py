"""Every scenario of tests/linux, performed on Pagoda and judged against Linux and the rules of THP.

A boot runs many scenarios, each a fresh process; the record a scenario prints is judged on its own.
Each boot ends with every checker and an exact ledger.
"""

import functools
import json
import pathlib
import re
import sys

import pytest
from conftest import make_options
from qemu import Guest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "linux"))

import judge  # noqa: E402

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
    commands = [f"echo {cow} > {COW}"] + [f"run scenario {n}" for n in names]
    cmd = "; ".join(commands) + "; check && ledger"
    result = Guest(make_options(mem="192M" if small else "512M", smp=1, cmd=cmd)).run(120)
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
