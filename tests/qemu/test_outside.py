"""What the host sees of a guest: its memory file, QEMU's own walk, gdb."""

import os
import re
import subprocess
import sys

import qemu

sys.path.insert(0, os.path.join(qemu.ROOT, "tools"))
import kmem  # noqa: E402


def symbol(build, name):
    nm = subprocess.run(["nm", os.path.join(build, "pagoda.elf")], text=True, check=True,
                        stdout=subprocess.PIPE).stdout
    return int(re.search(rf"^([0-9a-f]+) [A-Z] {name}$", nm, re.MULTILINE)[1], 16)


def test_walk_agrees_with_qemu(guest, build):
    """Our walk over the RAM file and QEMU's gva2gpa give the same physical address."""
    one = guest(qmp=True, ram_file=True, smp=1, mem="256M")
    one.expect("pagoda> ")
    one.qmp("stop")
    root = int(re.search(r"CR3=([0-9a-f]+)", one.hmp("info registers"))[1], 16) & kmem.ADDRESS
    memory = kmem.RamFile(one.ram)
    mapped = [symbol(build, "kernel_main"), symbol(build, "boot_stack") + 8, kmem.DIRECT_MAP_BASE + 0x123456,
              kmem.DIRECT_MAP_BASE + (128 << 20) + 0x777]
    unmapped = [0x1000, symbol(build, "boot_stack_guard"), 0x7FFFFFFFF000, kmem.DIRECT_MAP_BASE + (1 << 42)]
    for address in mapped:
        said = re.search(r"gpa: (0x[0-9a-f]+)", one.hmp(f"gva2gpa {address:#x}"))
        assert said and kmem.translate(memory, root, address) == int(said[1], 16), hex(address)
    for address in unmapped:
        assert "Unmapped" in one.hmp(f"gva2gpa {address:#x}"), hex(address)
        assert kmem.translate(memory, root, address) is None, hex(address)
    memory.close()


def test_gdb_attaches(guest, build):
    """`bt` ends at the kernel's outermost frame; `k pt walk` finds the kernel's own code."""
    one = guest(gdb=True, smp=1)
    one.expect("pagoda> ")
    run = subprocess.run(
        ["gdb", "-q", "-batch", "-nx", os.path.join(build, "pagoda.elf"),
         "-ex", f"target remote {one.directory}/gdb.sock",
         "-x", os.path.join(qemu.ROOT, "tools", "kmem", "gdb_commands.py"),
         "-ex", "bt", "-ex", "k pt walk kernel_main", "-ex", "k pt walk 0x1000", "-ex", "detach"],
        text=True, check=False, capture_output=True, timeout=60 * qemu.time_scale())
    said = run.stdout + run.stderr
    assert re.search(r"^#0 ", said, re.MULTILINE), said
    assert "Backtrace stopped" not in said and "corrupt stack" not in said, said
    assert re.search(r"pte \[\s*\d+\] [01]{9} .* leaf -> 0x[0-9a-f]+  P ", said), said
    assert re.search(r"4 KiB page, offset 0x[0-9a-f]+: physical 0x1", said), said
    assert re.search(r"0x0000000000001000\n(.*\n)*?.*hole", said), said
