"""The build: a second `make` does nothing, a change rebuilds what depends on it and no more."""

import os
import shutil
import subprocess

import pytest
import qemu

PARTS = ("Makefile", "setup", "linker.ld", "boot", "kernel", "include", "servers", "user", "iso", "tools",
         "tests/kernel", "tests/linux")


pytestmark = pytest.mark.xdist_group("build")  # one worker makes what all of them use


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the sources, built once."""
    root = tmp_path_factory.mktemp("tree")
    for part in PARTS:
        source = os.path.join(qemu.ROOT, part)
        if os.path.isdir(source):
            shutil.copytree(source, root / part, ignore=shutil.ignore_patterns("__pycache__"))
        elif os.path.exists(source):
            shutil.copy(source, root / part)
    make(root)
    return root


def make(root, *arguments):
    """The lines that make prints, as (what, file)."""
    run = subprocess.run(["make", "--no-print-directory", *arguments], cwd=root, text=True, check=False,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert run.returncode == 0, run.stdout
    return [tuple(line.split()) for line in run.stdout.splitlines() if line.startswith("  ")]


def later(path):
    """Touch: newer than everything built so far."""
    os.utime(path)


def test_second_make_does_nothing(tree):
    assert make(tree) == []


def test_header_rebuilds_its_users_only(tree):
    later(tree / "kernel/lib/cpio.h")
    lines = make(tree)
    assert ("CC", "kernel/lib/cpio.c") in lines
    assert ("CC", "kernel/lib/elf.c") not in lines
    assert ("LD", "build/release/pagoda.elf") in lines
    assert make(tree) == []


def test_new_and_removed_file(tree):
    extra = tree / "kernel/mm/extra.c"
    extra.write_text("int extra_symbol_of_a_test(void);\nint extra_symbol_of_a_test(void)\n{\n\treturn 0;\n}\n")
    assert ("CC", "kernel/mm/extra.c") in make(tree)
    names = (tree / "build/release/ksyms1.c").read_text()
    assert "extra_symbol_of_a_test" in names
    extra.unlink()
    assert ("LD", "build/release/pagoda.elf") in make(tree)
    assert "extra_symbol_of_a_test" not in (tree / "build/release/ksyms1.c").read_text()


def test_root_goes_into_the_initrd(tree):
    folder = tree / "mine" / "below"
    folder.mkdir(parents=True)
    (folder / "file").write_text("these words are looked for")
    initrd = tree / "build/release/initrd.cpio"
    make(tree, "ROOT=mine")
    assert b"these words are looked for" in initrd.read_bytes()
    assert b"root/below/file\0" in initrd.read_bytes()
    make(tree)
    assert b"these words are looked for" not in initrd.read_bytes()


def test_flags_rebuild(tree):
    assert ("MUSL", "user/programs/thptouch.c") in make(
        tree, "USER_CC=musl-gcc -DOTHER", "build/release/initrd.cpio")
