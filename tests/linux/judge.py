#!/usr/bin/env python3
"""Compare what a kernel did in a scenario with what it should have done.

    scenario NAME... | tests/linux/judge.py [--cow copy|split] [--kernel pagoda|linux] [--quiet] [EXPECTED.json ...]

Reads any text on standard input and judges each line that is a record of user/programs/scenario.c.
EXPECTED.json is oracle.json and more.json (Linux 6.1, every field) and semantics.json (the rules of THP, only the
fields a rule speaks of); a record is compared with each file that knows its name. Exit status 1 when
a field differs or nothing was judged.
"""

import argparse
import json
import operator
import pathlib
import re
import sys
from dataclasses import dataclass, field

HERE = pathlib.Path(__file__).resolve().parent
FILES = [HERE / "oracle.json", HERE / "more.json", HERE / "semantics.json"]
NOT_COMPARED = {"name", "desc", "rule", "note", "skip", "cow", "only"}
MINFLT_TOLERANCE = 2

# Counters with THP's prefix that Linux does not have: they stand beside what is compared.
OWN_COUNTERS = {"thp_wp_copy", "thp_wp_fallback", "thp_wp_reuse"}

OPERATORS = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt,
             ">=": operator.ge}


@dataclass
class Notes:
    """What the text of a scenario says about it besides its steps."""

    about: str = ""
    only: str = ""                                  # the one kernel it is for
    skip: str = ""
    forks: bool = False
    steps: str = ""                                 # the text itself
    inexact: set = field(default_factory=set)       # fields that depend on what a scenario does not fix
    expect: list = field(default_factory=list)      # (field, operator, number) that hold on every kernel


def notes(text):
    """{name: Notes} of a file of scenarios, in its order. The program has found its mistakes already."""
    result, note = {}, None
    for line in text.splitlines():
        head = re.match(r"\[([^\]]+)\]", line)
        if head:
            note = result.setdefault(head[1], Notes())
            continue
        verb, _, rest = line.strip().partition(" ")
        if note is None:
            continue
        if verb in ("about", "only", "skip"):
            setattr(note, verb, rest.strip())
        elif verb == "inexact":
            note.inexact |= set(rest.split())
        elif verb == "expect" and len(rest.split()) == 3 and rest.split()[1] in OPERATORS:
            name, relation, number = rest.split()
            note.expect.append((name, relation, int(number)))
            note.inexact.add(name)
        note.steps += line + "\n"
        note.forks |= bool(re.search(r"(^|[; ])fork\s*(;|$)", line))
    return result


BUILT_IN = notes((HERE / "scenarios.txt").read_text())


def leaves(record, prefix=""):
    """{field: value} of a record; a counter that did not change is 0 for leaf_value()."""
    result = {}
    for key, value in record.items():
        if isinstance(value, dict):
            result |= leaves(value, prefix + key + ".")
        elif prefix + key != "name":
            result[prefix + key] = value
    return result


def leaf_value(found, name):
    return found.get(name, 0 if name.startswith(("delta.", "counts.")) else None)


def number_in(value):
    """What `expect` compares: a number, or what a file says if that is one."""
    return int(value) if isinstance(value, str) and value.strip().isdigit() else value


def compare(linux, pagoda, note, known=()):
    """
    [field, Linux's value, Pagoda's] wherever two records of one scenario differ. known: the counters that
    Linux has; what only the other one counts is not compared. A field that a scenario calls inexact is left out; what
    it expects must hold on both.
    """
    one, other = leaves(linux), leaves(pagoda)
    result = []
    for name in dict.fromkeys([*one, *other]):
        a, b = leaf_value(one, name), leaf_value(other, name)
        own = name.startswith("delta.") and known and name.partition(".")[2] not in known
        if name in note.inexact or own or a == b:
            continue
        if name == "minflt" and note.forks and abs(a - b) <= MINFLT_TOLERANCE:
            continue
        result.append([name, a, b])
    for name, relation, number in note.expect:
        values = [number_in(leaf_value(found, name)) for found in (one, other)]
        if not all(isinstance(v, int) and OPERATORS[relation](v, number) for v in values):
            result.append([f"{name} {relation} {number}", *values])
    return result


def expectations(paths=FILES, cow="copy", kernel="pagoda"):
    """name -> list of expected fields, one entry per file; `cow` chooses between the two rules."""
    result = {}
    for path in paths:
        for scenario in json.loads(pathlib.Path(path).read_text())["scenarios"]:
            if scenario.get("only", kernel) != kernel or "skip" in scenario:
                continue
            expected = {k: v for k, v in scenario.items() if k not in NOT_COMPARED}
            expected.update(scenario.get("cow", {}).get(cow, {}))
            result.setdefault(scenario["name"], []).append(expected)
    return result


def json_of(line):
    """The object that a line ends with, or {}."""
    try:
        found = json.loads(line[line.index("{"):])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def records(text):
    """The records in a console's text, in order; what their children printed is part of them."""
    children = {}
    for line in text.splitlines():
        found = json_of(line)
        if "of" in found:
            children.setdefault(found.pop("of"), {}).update(found)
        elif "name" in found and "delta" in found:
            yield children.pop(found["name"], {}) | found


def flatten(expected, got, prefix=""):
    """(field, expected, got) for each leaf of `expected`; delta is one leaf, compared whole."""
    for key, value in expected.items():
        found = got.get(key) if isinstance(got, dict) else None
        if isinstance(value, dict) and key != "delta":
            yield from flatten(value, found, prefix + key + ".")
        else:
            yield prefix + key, value, found


def judge(record, expected):
    """All fields as (field, expected, got, equal)."""
    inexact = BUILT_IN[record["name"]].inexact if record["name"] in BUILT_IN else set()
    result = []
    for field, want, got in flatten(expected, record):
        if field == "minflt":
            equal = got is not None and abs(got - want) <= MINFLT_TOLERANCE
        elif field == "delta":
            got = {k: v for k, v in (got or {}).items() if k in want or k not in OWN_COUNTERS}
            equal = got == want
        else:
            equal = got == want or (field in inexact and got is not None)
        result.append((field, want, got, equal))
    return result


def differences(record, expected):
    return ["%s: expected %s, got %s" % (f, w, g) for f, w, g, ok in judge(record, expected) if not ok]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cow", choices=("copy", "split"), default="split")
    parser.add_argument("--kernel", choices=("pagoda", "linux"), default="pagoda")
    parser.add_argument("--quiet", action="store_true", help="only what differs")
    parser.add_argument("files", nargs="*", default=FILES)
    args = parser.parse_args()
    expected = expectations(args.files, args.cow, args.kernel)
    judged = different = 0
    for record in records(sys.stdin.read()):
        for wanted in expected.get(record["name"], []):
            judged += 1
            fields = judge(record, wanted)
            bad = [f for f in fields if not f[3]]
            different += bool(bad)
            print("%-36s %s" % (record["name"], "different" if bad else "equal"))
            for field, want, got, equal in fields:
                if not (args.quiet and equal):
                    print("  %-9s %-22s %s" % ("equal" if equal else "DIFFERENT", field,
                          got if equal else "expected %s, got %s" % (want, got)))
    print("%d judged, %d different" % (judged, different))
    return 1 if different or not judged else 0


if __name__ == "__main__":
    sys.exit(main())
