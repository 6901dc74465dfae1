"""What every scenario uses.

    def test_something(pagoda):
        result = pagoda("run thptouch write 64M && check && ledger", smp=4)
        assert "thp_fault_alloc 32" in result.output

`pagoda(cmd, ...)` boots a guest (PVH unless told otherwise), runs the commands, and demands the verdict
`pass`; verdict="fail" and so on demand another. Further arguments are those of qemu.Options. `guest(...)` is
a started Guest for scenarios that type, look at memory or talk to QEMU.

The kernel's monitor owns the console and runs the commands; with shell=True the servers do, and a shell.

PAGODA_BUILD names the build directory. debug=True uses the build with checks and injection points.
Limits are seconds of an idle machine; they are multiplied by what a calibration boot took.
"""

import os
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools"))

import qemu  # noqa: E402  (tools/ had to be on the path first)

BUILD = os.environ.get("PAGODA_BUILD", os.path.join(ROOT, "build", "release"))
DEBUG_BUILD = os.path.join(ROOT, "build", "debug")


def make_options(debug=False, shell=False, **options):
    options.setdefault("build", DEBUG_BUILD if debug else BUILD)
    options.setdefault("monitor", not shell)
    try:
        made = qemu.Options(**options)
        made.check()
        return made
    except qemu.UsageError as error:
        pytest.fail(f"infrastructure: {error}")


def run_guest(cmd, limit=30, verdict="pass", **options):
    """One boot; fails the test with the whole serial line unless it ends with this verdict."""
    result = qemu.Guest(make_options(cmd=cmd, **options)).run(limit)
    assert result.verdict == verdict, f"wanted verdict {verdict}\n{result}"
    return result


@pytest.fixture
def initrd_with(tmp_path):
    """initrd_with(folder) -> path of the build's initrd with the folder's files in /root, as by ROOT=folder."""
    def make(folder, build=BUILD):
        target = str(tmp_path / "initrd-with.cpio")
        subprocess.run([sys.executable, os.path.join(ROOT, "tools", "mkinitrd.py"), "--base",
                        os.path.join(build, "initrd.cpio"), "--root", str(folder), "--output", target],
                       check=True)
        return target

    return make


@pytest.fixture(scope="session")
def build():
    return BUILD


@pytest.fixture(scope="session")
def pagoda():
    return run_guest


@pytest.fixture
def guest():
    """guest(**options) -> started qemu.Guest; all of them are ended with the test."""
    started = []

    def start(**options):
        one = qemu.Guest(make_options(**options)).start()
        started.append(one)
        return one

    yield start
    for one in started:
        one.stop()
