#!/usr/bin/env python3
"""check_floors.py - does every file use only what is below it, or to its left on the same floor?

The order is read from docs/floors.md. It is compared with the #include lines of the sources and
with the undefined symbols of the objects (nm), where there are any: `make` first, so that there are.
A function reached through a pointer leaves no trace in either: that is how the code below gets at
what is above, and the only way.

    check_floors.py [--objects build/release] [--edges]
"""
import argparse
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("kernel", "boot", "include/abi")
SOURCES = (".c", ".h", ".asm", ".inc")

# What may be used from anywhere: the end of the kernel, and what the compiler calls on its own.
ANYWHERE_FILES = {"panic", "ksyms"}
ANYWHERE_SYMBOLS = re.compile(
    r"^(panic|panic_at|list_corrupt|__stack_chk_fail|__stack_chk_guard|mem(cpy|move|set|cmp))$")


def unit_of(path, units):
    """The name in docs/floors.md that covers a source file: itself, its stem, or its folder."""
    short = path.removeprefix("kernel/").removeprefix("include/")
    stem = short.rsplit(".", 1)[0]
    folder = short.split("/")[0] + "/"
    for name in (short, stem, folder):
        if name in units:
            return name
    return None


def read_floors(text):
    """name -> (floor, place on the floor), from the rows `| 3 | NAME | a < b < c |`."""
    units = {}
    for line in text.splitlines():
        row = re.match(r"\|\s*(\d+)\s*\|[^|]*\|([^|]*)\|", line)
        if not row:
            continue
        for name in re.findall(r"`([^`]+)`", row[2]):
            if name in units:
                sys.exit(f"docs/floors.md names {name} twice")
            units[name] = (int(row[1]), len(units))
    return units


def source_files():
    files = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SOURCES and path.is_file():
                files.append(str(path.relative_to(ROOT)))
    return files


def includes_of(path):
    """The project's files that a source file includes, as (line number, path)."""
    for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
        found = re.match(r'\s*[#%]\s*include\s+["<]([^">]+)[">]', line)
        if not found:
            continue
        for base in (Path(path).parent, Path("kernel"), Path("include"), Path(".")):
            target = base / found[1]
            if (ROOT / target).is_file():
                yield number, str(target)
                break


def nm(objects):
    """object file -> (symbols it defines, symbols it wants)."""
    defined, wanted = defaultdict(set), defaultdict(set)
    out = subprocess.run(["nm", "-A", "-g", *map(str, objects)], check=True,
                         capture_output=True, text=True).stdout
    for line in out.splitlines():
        where, symbol = line.rsplit(" ", 1)
        path, rest = where.split(":", 1)
        kind = rest.split()[-1]
        (wanted if kind in "Uwv" else defined)[path].add(symbol)
    return defined, wanted


def object_edges(folder):
    """(source, source, symbol) for each symbol that one object wants and another defines."""
    sources = {}
    for path in sorted(folder.rglob("*.o")):
        source = str(path.relative_to(folder)).removesuffix(".o")
        if source.startswith(("kernel/", "boot/")) and (ROOT / source).is_file():
            sources[str(path)] = source
    if not sources:
        return
    defined, wanted = nm(sources)
    home = {symbol: sources[path] for path, symbols in defined.items() for symbol in symbols}
    for path, symbols in sorted(wanted.items()):
        for symbol in sorted(symbols):
            if symbol in home and not ANYWHERE_SYMBOLS.match(symbol):
                yield sources[path], home[symbol], symbol


def all_edges(files, folder):
    """(from file, to file, how) for every include and every symbol."""
    for path in files:
        for number, target in includes_of(path):
            yield path, target, f"{path}:{number} includes {target}"
    for path, target, symbol in object_edges(folder):
        yield path, target, f"{path} uses {symbol} of {target}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=Path, default=ROOT / "build/release")
    parser.add_argument("--edges", action="store_true", help="print every edge")
    args = parser.parse_args()

    units = read_floors((ROOT / "docs/floors.md").read_text())
    files = source_files()
    where = {path: unit_of(path, units) for path in files}
    errors = [f"{path} is not in docs/floors.md" for path, unit in where.items() if not unit]
    used = set(where.values())
    errors += [f"docs/floors.md names {unit}, which is not there" for unit in units
               if unit not in used]

    edges, upward = set(), {}
    for path, target, how in all_edges(files, args.objects.resolve()):
        source_unit, target_unit = where.get(path), where.get(target)
        if not source_unit or not target_unit or source_unit == target_unit:
            continue
        edges.add((source_unit, target_unit))
        if units[target_unit] > units[source_unit] and target_unit not in ANYWHERE_FILES:
            upward.setdefault((source_unit, target_unit), []).append(how)

    if args.edges:
        for a, b in sorted(edges, key=lambda edge: [units[name] for name in edge]):
            print(f"{a} -> {b}")
    for error in errors:
        print(f"floors: {error}")
    for (a, b), how in sorted(upward.items(), key=lambda item: units[item[0][0]]):
        print(f"floors: {a} (floor {units[a][0]}) must not use {b} (floor {units[b][0]}):")
        for line in how[:4]:
            print(f"    {line}")
        if len(how) > 4:
            print(f"    and {len(how) - 4} more")
    print(f"floors: {len(files)} files, {len(edges)} edges, {len(upward)} upward")
    return 1 if errors or upward else 0


if __name__ == "__main__":
    sys.exit(main())
