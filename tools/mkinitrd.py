#!/usr/bin/env python3
"""Make the initrd: a cpio archive (newc) with the same bytes for the same files.

    mkinitrd.py --output initrd.cpio [--bin PROGRAM]... [--root DIR]

PROGRAMs go to /bin, the files under DIR to /root. Owner, times and inode numbers are fixed.
"""

import argparse
import os
import stat
import sys


def entry(name, mode, data, inode):
    """One newc record: 110 bytes of hexadecimal header, name, data, each padded to 4 bytes."""
    encoded = os.fsencode(name) + b"\0"
    numbers = (inode, mode, 0, 0, 2 if stat.S_ISDIR(mode) else 1, 0, len(data), 0, 0, 0, 0,
               len(encoded), 0)
    record = b"070701" + b"".join(b"%08x" % n for n in numbers) + encoded
    record += b"\0" * (-len(record) % 4)
    return record + data + b"\0" * (-len(data) % 4)


def collect(programs, root):
    """{name in the archive: (mode, data)}"""
    files = {}

    def add(name, path):
        status = os.lstat(path)
        if stat.S_ISDIR(status.st_mode):
            files[name] = (stat.S_IFDIR | 0o755, b"")
        elif stat.S_ISLNK(status.st_mode):
            files[name] = (stat.S_IFLNK | 0o777, os.fsencode(os.readlink(path)))
        elif stat.S_ISREG(status.st_mode):
            mode = 0o755 if status.st_mode & 0o111 else 0o644
            with open(path, "rb") as file:
                files[name] = (stat.S_IFREG | mode, file.read())
        else:
            sys.exit(f"mkinitrd.py: {path} is neither a file, a directory nor a link")

    files["bin"] = (stat.S_IFDIR | 0o755, b"")
    for program in programs:
        add("bin/" + os.path.basename(program), program)
    if root:
        if not os.path.isdir(root):
            sys.exit(f"mkinitrd.py: ROOT={root} is not a directory")
        files["root"] = (stat.S_IFDIR | 0o755, b"")
        for folder, folders, names in os.walk(root):
            for name in folders + names:
                path = os.path.join(folder, name)
                add(os.path.join("root", os.path.relpath(path, root)), path)
    return files


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", required=True)
    parser.add_argument("--bin", action="append", default=[])
    parser.add_argument("--root")
    args = parser.parse_args()

    archive = b""
    for inode, (name, (mode, data)) in enumerate(sorted(collect(args.bin, args.root).items()), 1):
        archive += entry(name, mode, data, inode)
    archive += entry("TRAILER!!!", 0, b"", 0)
    archive += b"\0" * (-len(archive) % 512)
    with open(args.output, "wb") as file:
        file.write(archive)


main()
