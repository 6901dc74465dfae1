#!/usr/bin/env python3
"""Make the initrd: a cpio archive (newc) with the same bytes for the same files.

    mkinitrd.py --output initrd.cpio [--tree DIR] [--server PROGRAM]... [--bin PROGRAM]...
                [--commands NAMES] [--busybox PROGRAM] [--root DIR] [--base INITRD]

    everything    what is in the initrd INITRD already; the others come on top
    /             what lies under --tree
    /servers      the servers
    /bin          our programs; busybox, and one link to it for each of its applets
    /sbin         one link to ../bin/pagoda for each name in the file NAMES: the monitor's commands
    /root         what lies under --root

Modes and symbolic links are kept. Owner, times and inode numbers are fixed. A name of ours is never an applet's.
"""

import argparse
import os
import stat
import subprocess
import sys

FOLDERS = ("bin", "root", "sbin", "tmp")


def entry(name, mode, data, inode):
    """One newc record: 110 bytes of hexadecimal header, name, data, each padded to 4 bytes."""
    encoded = os.fsencode(name) + b"\0"
    numbers = (inode, mode, 0, 0, 2 if stat.S_ISDIR(mode) else 1, 0, len(data), 0, 0, 0, 0,
               len(encoded), 0)
    record = b"070701" + b"".join(b"%08x" % n for n in numbers) + encoded
    record += b"\0" * (-len(record) % 4)
    return record + data + b"\0" * (-len(data) % 4)


class Archive:
    """{name in the archive: (mode, data)}"""

    def __init__(self):
        self.files = {}

    def folder(self, name, mode=0o755):
        self.files.setdefault(name, (stat.S_IFDIR | mode, b""))

    def link(self, name, target):
        self.files.setdefault(name, (stat.S_IFLNK | 0o777, os.fsencode(target)))

    def add(self, name, path):
        status = os.lstat(path)
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISDIR(status.st_mode):
            self.folder(name, mode)
        elif stat.S_ISLNK(status.st_mode):
            self.link(name, os.readlink(path))
        elif stat.S_ISREG(status.st_mode):
            with open(path, "rb") as file:
                self.files[name] = (stat.S_IFREG | mode, file.read())
        else:
            sys.exit(f"mkinitrd.py: {path} is neither a file, a directory nor a link")

    def add_tree(self, prefix, root):
        for folder, folders, names in os.walk(root):
            for name in folders + names:
                path = os.path.join(folder, name)
                self.add(os.path.join(prefix, os.path.relpath(path, root)), path)

    def add_programs(self, folder, programs):
        for program in programs:
            self.folder(folder)
            self.add(os.path.join(folder, os.path.basename(program)), program)

    def add_busybox(self, path):
        self.add("bin/busybox", path)
        applets = subprocess.run([path, "--list"], check=True, stdout=subprocess.PIPE, text=True)
        for applet in applets.stdout.split():
            self.link("bin/" + applet, "busybox")

    def add_archive(self, path):
        """Only what bytes() wrote: the fields it fixes are not kept."""
        with open(path, "rb") as file:
            data = file.read()
        at = 0
        while True:
            mode, size, length = (int(data[at + o:at + o + 8], 16) for o in (14, 54, 94))
            name = os.fsdecode(data[at + 110:at + 110 + length - 1])
            at += (110 + length + 3) & ~3
            if name == "TRAILER!!!":
                return
            self.files[name] = (mode, data[at:at + size])
            at += (size + 3) & ~3

    def bytes(self):
        archive = b"".join(entry(name, mode, data, inode) for inode, (name, (mode, data))
                           in enumerate(sorted(self.files.items()), 1))
        archive += entry("TRAILER!!!", 0, b"", 0)
        return archive + b"\0" * (-len(archive) % 512)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", required=True)
    parser.add_argument("--tree")
    parser.add_argument("--server", action="append", default=[])
    parser.add_argument("--bin", action="append", default=[])
    parser.add_argument("--commands")
    parser.add_argument("--busybox")
    parser.add_argument("--root")
    parser.add_argument("--base")
    args = parser.parse_args()
    for option, folder in (("ROOT", args.root), ("--tree", args.tree)):
        if folder and not os.path.isdir(folder):
            sys.exit(f"mkinitrd.py: {option}={folder} is not a directory")

    archive = Archive()
    if args.base:
        archive.add_archive(args.base)
    for folder in FOLDERS:
        archive.folder(folder, 0o1777 if folder == "tmp" else 0o755)
    if args.tree:
        archive.add_tree("", args.tree)
    archive.add_programs("servers", args.server)
    archive.add_programs("bin", args.bin)
    if args.commands:
        with open(args.commands, encoding="utf-8") as file:
            for name in file.read().split():
                archive.link("sbin/" + name, "../bin/pagoda")
    if args.busybox:
        archive.add_busybox(args.busybox)
    if args.root:
        archive.add_tree("root", args.root)
    with open(args.output, "wb") as file:
        file.write(archive.bytes())


if __name__ == "__main__":
    main()
