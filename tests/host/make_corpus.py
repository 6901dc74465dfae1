#!/usr/bin/env python3
"""make_corpus.py NAME FOLDER - writes the seeds of one fuzzer, small valid inputs, into FOLDER.

A fuzzer without seeds here starts from the files of corpus/NAME/, or from nothing.
"""
import struct
import sys
from pathlib import Path


def elf(kind=2, interp=False):
    """A program of three segments; kind 2 is ET_EXEC, 3 is ET_DYN."""
    base = 0x400000 if kind == 2 else 0
    headers = [
        (1, 5, 0, base, 0x200, 0x200, 0x1000),
        (1, 6, 0x200, base + 0x1200, 0x40, 0x400, 0x1000),
        (7, 4, 0x200, base + 0x1200, 0x10, 0x20, 16),
        (0x6474E551, 6, 0, 0, 0, 0, 16),
        (6, 4, 64, base + 64, 56 * 5, 56 * 5, 8),
    ]
    if interp:
        headers.append((3, 4, 0x210, base + 0x210, 8, 8, 1))
    out = b"\x7fELF\x02\x01\x01" + bytes(9)
    out += struct.pack("<HHIQQQIHHHHHH", kind, 62, 1, base + 0x180, 64, 0, 0, 64, 56,
                       len(headers), 0, 0, 0)
    for kind_, flags, offset, vaddr, filesz, memsz, align in headers:
        out += struct.pack("<IIQQQQQQ", kind_, flags, offset, vaddr, 0, filesz, memsz, align)
    return out.ljust(0x240, b"\x90")


def cpio(files):
    out = b""
    for name, mode, data in files + [("TRAILER!!!", 0, b"")]:
        fields = [1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        out += b"070701" + b"".join(b"%08x" % n for n in fields) + name.encode() + b"\0"
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return out


# What fuzz_acpi.c makes a machine of: a byte of switches, then the MADT's entries.
ACPI_ENTRIES = (bytes([0, 8, 1, 0, 1, 0, 0, 0]) + bytes([0, 8, 2, 1, 1, 0, 0, 0]) +
                bytes([1, 12, 0, 0, 0, 0, 0xC0, 0xFE, 0, 0, 0, 0]) +
                bytes([2, 10, 0, 0, 2, 0, 0, 0, 0, 0]) + bytes([2, 10, 0, 9, 9, 0, 0, 0, 15, 0]) +
                bytes([5, 12, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0]) +
                bytes([9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0]) + bytes([4, 6, 255, 0, 0, 1]))

# What fuzz_acpi_numa.c makes tables of: the revision, the bytes of entries / 4, entries, the SLIT's number and distances.
SRAT_ENTRIES = (bytes([0, 16, 0, 0, 1, 0, 0, 0]) + bytes(8) + bytes([0, 16, 7, 1, 1, 0, 0, 0]) + bytes(8) +
                struct.pack("<BBIHQQIIQ", 1, 40, 0, 0, 0, 1 << 30, 0, 1, 0) +
                struct.pack("<BBIHQQIIQ", 1, 40, 1, 0, 1 << 30, 1 << 30, 0, 1, 0) +
                struct.pack("<BBHIIIII", 2, 24, 0, 1, 300, 1, 0, 0))
SLIT_SQUARE = struct.pack("<Q", 2) + bytes([10, 21, 21, 10])

# Ranges of memory as loaders tell them: sorted and simple; unsorted, overlapping, above 4 GiB.
MAPS = [
    [(0, 0x9FC00, 1), (0x9FC00, 0x400, 2), (0x100000, 0x7EE0000, 1)],
    [(0x100000000, 1 << 31, 1), (0x100000, 0x300000, 1), (0x3FF000, 0x102000, 3),
     (0x200800, 0x900, 2), (0x500000, 0x100000, 1), (0x1000, 0, 4)],
]


def memory_map(ranges):
    return b"".join(struct.pack("<QQII", start, size, kind, 0) for start, size, kind in ranges)


def multiboot2(ranges, cmdline=b"loglevel=7"):
    tags = [(1, cmdline + b"\0"), (3, struct.pack("<II", 0x200000, 0x300000) + b"initrd\0"),
            (6, struct.pack("<II", 24, 0) + memory_map(ranges)), (14, b"RSD PTR " + bytes(12)),
            (15, b"RSD PTR " + bytes(28)), (4, struct.pack("<II", 639, 1 << 17)), (0, b"")]
    out = bytes(8)
    for kind, data in tags:
        out += struct.pack("<II", kind, len(data) + 8) + data
        out += bytes(-len(out) % 8)
    return struct.pack("<I", len(out)) + out[4:]


def pvh(ranges, version=1, modules=1):
    """At 0x1000: start info, table of modules at 0x1080, map at 0x1100, command line at 0x1300."""
    out = struct.pack("<IIIIQQQQII", 0x336EC578, version, 0, modules, 0x1080, 0x1300, 0xF5A00,
                      0x1100, len(ranges), 0)
    out = out.ljust(0x80, b"\0") + struct.pack("<QQQQ", 0x7F00000, 0x1234, 0, 0)
    return (out.ljust(0x100, b"\0") + memory_map(ranges)).ljust(0x300, b"\0") + b"quiet\0"


SEEDS = {
    "elf": {"exec": elf(2), "pie": elf(3), "dynamic": elf(3, True)},
    "cpio": {
        "empty": cpio([]),
        "two": cpio([("bin", 0o40755, b""), ("./bin/hello", 0o100755, b"hello, world\n")]),
    },
    "acpi": {f"switches{n}": bytes([n]) + ACPI_ENTRIES for n in range(4)},
    "acpi_numa": {f"revision{n}": bytes([n, len(SRAT_ENTRIES) // 4]) + SRAT_ENTRIES + SLIT_SQUARE for n in (1, 3)},
    "multiboot2": {f"map{n}": multiboot2(ranges) for n, ranges in enumerate(MAPS)},
    "line": {
        "words": b"run thptouch write 64M && check ; ledger # all\recho 'a \"b' \"c $?\" > /sys/x\r",
        "keys": b"ab\x1b[Dc\x1b[A\x1b[1~\x7f\x01\x05\x0b\x15\x17\x1b[3~\x1bOF\t\x03\x04\r\n",
    },
    "discipline": {
        "line": b"ab\x7fc\tde\x17\x12\x16\x03\x15x\r\n\xff\x00\x10one\ntwo\x04\x04\xff\x00\x01\x03\x1a\x1c",
        "modes": b"ahead\nhalf\xff\x01" + bytes(36) + b"raw\x7f\xff\x00\x02\xff\x01"
                 + struct.pack("<4I", 0x1a0, 0xd, 0xbf, 0x8b3b) + b"\0\x03\x1c\x7f\x15\x04" + bytes(14)
                 + b"a\xc3\xa4\x7f\r\xff\x03text\n\xff\x02",
    },
    "pvh": {f"map{n}": pvh(ranges) for n, ranges in enumerate(MAPS)},
}


def main():
    name, folder = sys.argv[1], Path(sys.argv[2])
    for seed, data in SEEDS.get(name, {}).items():
        (folder / seed).write_bytes(data)


if __name__ == "__main__":
    main()
