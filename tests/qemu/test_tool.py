"""tools/qemu.py itself: what it refuses, and how it reads QEMU's end. No guest is started."""

import os
import subprocess
import sys

import pytest
import qemu

TOOL = os.path.join(qemu.ROOT, "tools", "qemu.py")


def refused(**options):
    with pytest.raises(qemu.UsageError) as caught:
        qemu.Options(**options).check()
    return str(caught.value)


def test_options_that_contradict():
    assert "SMP=1" in refused(icount=True, smp=4)
    assert "64M" in refused(boot="uefi", mem="63M")
    assert "do not fit below" in refused(boot="pvh", mem="2M")
    assert "iso, uefi or pvh" in refused(boot="floppy")
    assert "1 to 16" in refused(smp=17)
    assert "1 to 16" in refused(smp=0)
    assert "pagoda.elf" in refused(build="/nowhere")


def test_icount_forces_one_cpu(build):
    options = qemu.Options(build=build, icount=True)
    options.check()
    assert options.smp == 1
    options = qemu.Options(build=build)
    options.check()
    assert options.smp == 2


@pytest.mark.parametrize("text, size", [("512M", 512 << 20), ("6G", 6 << 30), ("64k", 65536), ("7", 7)])
def test_sizes(text, size):
    assert qemu.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "1T", "1.5G", "-1M", "512 M"])
def test_bad_sizes(text):
    with pytest.raises(qemu.UsageError):
        qemu.parse_size(text)


@pytest.mark.parametrize("value, verdict, status", [
    (0x10, "pass", 0), (0x11, "fail", 1), (0x20, "crash", 3), (0x21, "fail", 4), (0x41, "fail", 1),
    (0x42, "fail", 2), (0x7F, "fail", 127), (0x30, "infrastructure", 125)])
def test_debug_exit(value, verdict, status):
    judgement = qemu.judge(2 * value + 1, "")
    assert (judgement.verdict, judgement.status) == (verdict, status)


def test_other_ends():
    assert qemu.judge(0, "... Triple fault\n").verdict == "crash"
    assert qemu.judge(0, "").verdict == "fail"
    assert qemu.judge(0, "", interactive=True).status == 0
    assert qemu.judge(1, "").verdict == "infrastructure"
    assert qemu.judge(-9, "").verdict == "infrastructure"


def test_command_reaches_the_file_untouched(build, tmp_path):
    command = "echo '$HOME' \"a  b\" \\n `x` $(y) # , && z\t"
    options = qemu.Options(build=build, cmd=command)
    options.check()
    arguments = qemu.command_line(options, str(tmp_path), "null")
    assert any(a.startswith("name=opt/pagoda/cmd,file=") for a in arguments)
    assert (tmp_path / "cmd").read_text() == command


@pytest.mark.parametrize("environment, words", [
    ({"BOOT": "uefi", "MEM": "32M"}, "64M"), ({"ICOUNT": "1", "SMP": "2"}, "SMP=1"),
    ({"SMP": "many"}, "1 to 16"), ({"MEM": "lots"}, "MEM=lots")])
def test_make_run_refuses_in_one_line(environment, words, build):
    run = subprocess.run([sys.executable, TOOL, "--build", build, "run"], text=True, check=False,
                         capture_output=True, env={**os.environ, "BOOT": "pvh", **environment})
    assert run.returncode == 2
    assert words in run.stderr and run.stderr.count("\n") == 1
