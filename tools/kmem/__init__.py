"""Pagoda's memory seen from outside: one page walk over any way to read physical memory.

    Memory       read_physical(address, length); readers: RamFile here, gdb's in gdb_commands.py
    walk()       the entries from the root table to the leaf, as kernel/x86/paging.h defines them
    format_walk  the lines of `pt walk` and `k pt walk`
"""

import collections
import os

DIRECT_MAP_BASE = 0xFFFF888000000000
CANONICAL_HOLE = (1 << 47, (1 << 64) - (1 << 47))

P, RW, US, PWT, PCD, A, D, PS, G, NX = *(1 << n for n in range(9)), 1 << 63
PROTNONE = 1 << 8                   # with P clear: a leaf without access, its address inverted
ADDRESS = 0x000FFFFFFFFFF000

LEVELS = (("pgd", 39), ("pud", 30), ("pmd", 21), ("pte", 12))
FLAGS = ((P, "P"), (RW, "RW"), (US, "US"), (PWT, "PWT"), (PCD, "PCD"), (A, "A"), (D, "D"), (G, "G"),
         (NX, "NX"))

Step = collections.namedtuple("Step", "level shift index table entry kind frame")


class RamFile:
    """Guest memory that QEMU keeps in a file (memory-backend-file, machine pc)."""

    LOW_RAM = 3 << 30               # of a pc with more than 3.5 GiB; below that all of it is low
    HIGH_BASE = 4 << 30

    def __init__(self, path):
        self.file = os.open(path, os.O_RDONLY)
        size = os.fstat(self.file).st_size
        self.low = size if size <= 0xE0000000 else self.LOW_RAM

    def read_physical(self, address, length):
        """The file has no hole: what lies from 4 GiB on follows the low part."""
        if address >= self.HIGH_BASE:
            address = address - self.HIGH_BASE + self.low
        return os.pread(self.file, length, address)

    def close(self):
        os.close(self.file)


def classify(level, entry):
    """hole, table or leaf, and the frame's address."""
    protnone = entry & (P | PROTNONE) == PROTNONE
    frame = (~entry if protnone else entry) & ADDRESS
    if not entry & P and not protnone:
        return "hole", 0
    if level == "pte" or protnone or (entry & PS and level in ("pmd", "pud")):
        return "leaf", frame
    return "table", frame


def walk(memory, root, address):
    """[Step] from the pgd down to a leaf or a hole; root: physical address of the pgd."""
    table, steps = root, []
    for level, shift in LEVELS:
        index = address >> shift & 511
        entry = int.from_bytes(memory.read_physical(table + 8 * index, 8), "little")
        kind, frame = classify(level, entry)
        steps.append(Step(level, shift, index, table, entry, kind, frame))
        if kind != "table":
            break
        table = frame
    return steps


def translate(memory, root, address):
    """The physical address, or None."""
    last = walk(memory, root, address)[-1]
    if last.kind != "leaf" or not last.entry & P:
        return None
    mask = (1 << last.shift) - 1
    return last.frame & ~mask | address & mask


def flags_text(entry):
    return " ".join(name for bit, name in FLAGS if entry & bit) or "-"


def format_walk(address, steps):
    """One line a level; a huge page ends one level early, and the line says so."""
    if CANONICAL_HOLE[0] <= address < CANONICAL_HOLE[1]:
        return [f"{address:#018x} is not canonical"]
    lines = [f"{address:#018x}"]
    for step in steps:
        text = f"  {step.level} [{step.index:3}] {step.index:09b}  at {step.table + 8 * step.index:#014x}"
        if step.kind == "hole":
            text += f"  hole ({step.entry:#x})" if step.entry else "  hole"
        else:
            text += f"  {step.kind} -> {step.frame:#x}  {flags_text(step.entry)}"
        lines.append(text)
    last = steps[-1]
    if last.kind == "leaf":
        size = {12: "4 KiB page", 21: "2 MiB page", 30: "1 GiB page"}[last.shift]
        offset = address & (1 << last.shift) - 1
        where = f"physical {(last.frame & ~((1 << last.shift) - 1)) + offset:#x}"
        lines.append(f"  {size}, offset {offset:#x}: " + (where if last.entry & P else "no access allowed"))
    return lines
