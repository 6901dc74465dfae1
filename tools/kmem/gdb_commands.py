"""The `k` commands of gdb (`make gdb`): k pt walk ADDR [PGD].

They only read: tables through the direct map, CR3 from the CPU gdb stands on. PGD is the physical
address of another root.
"""

import os
import sys

import gdb  # pylint: disable=import-error

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import kmem  # noqa: E402


class GdbMemory:
    """Physical memory through the kernel's direct map, which every root has."""

    def read_physical(self, address, length):
        return gdb.selected_inferior().read_memory(kmem.DIRECT_MAP_BASE + address, length).tobytes()


def number(text):
    return int(gdb.parse_and_eval(f"(unsigned long)({text})"))


class Kernel(gdb.Command):
    """Look at the kernel: k pt walk ..."""

    def __init__(self):
        super().__init__("k", gdb.COMMAND_DATA, prefix=True)


class PageTable(gdb.Command):
    """Look at page tables: k pt walk ADDR [PGD]"""

    def __init__(self):
        super().__init__("k pt", gdb.COMMAND_DATA, prefix=True)


class Walk(gdb.Command):
    """k pt walk ADDR [PGD]: the entry at each level, in the current root or the one at physical PGD."""

    def __init__(self):
        super().__init__("k pt walk", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        arguments = gdb.string_to_argv(argument)
        if not 1 <= len(arguments) <= 2:
            raise gdb.GdbError("usage: k pt walk ADDR [PGD]")
        address = number(arguments[0])
        root = number(arguments[1]) if len(arguments) == 2 else number("$cr3")
        steps = kmem.walk(GdbMemory(), root & kmem.ADDRESS, address)
        print("\n".join(kmem.format_walk(address, steps)))


Kernel()
PageTable()
Walk()
