"""Debian's busybox: what a script prints is what it prints on this machine."""

import difflib
import os
import pathlib
import re
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
BUSYBOX = next(path for path in ("/bin/busybox", "/usr/bin/busybox") if os.path.exists(path))


def on_this_machine(tmp_path):
    """busybox alone on PATH, nothing on standard input, both outputs in one."""
    (tmp_path / "bin").mkdir()
    subprocess.run([BUSYBOX, "--install", "-s", str(tmp_path / "bin")], check=True)
    return subprocess.run([BUSYBOX, "sh", str(HERE / "shell" / "script.sh"), str(tmp_path / "work")],
                          env={"PATH": str(tmp_path / "bin")}, stdin=subprocess.DEVNULL, check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


def test_a_hundred_lines(pagoda, initrd_with, tmp_path):
    wanted = on_this_machine(tmp_path)
    (tmp_path / "root").mkdir()
    shutil.copy(HERE / "shell" / "script.sh", tmp_path / "root")
    result = pagoda("sh /root/script.sh /tmp/work < /dev/null > /tmp/said 2>&1; echo BEGIN; cat /tmp/said; echo END; "
                    "check && ledger", initrd=initrd_with(tmp_path / "root"), shell=True, limit=120)
    got = re.search(r"^BEGIN\n(.*)^END$", result.output, re.S | re.M)[1]
    assert got == wanted, "".join(difflib.unified_diff(
        wanted.splitlines(True), got.splitlines(True), "this machine", "Pagoda"))
