"""Every way to start, every size of machine, and every machine or image that cannot work.

Each guest that comes up ends with all checkers and an exact ledger.
"""

import os
import re
import subprocess
import sys

import pytest
import qemu

sys.path.insert(0, os.path.join(qemu.ROOT, "tools"))
import bochs  # noqa: E402

HEALTH = "check && ledger"


# ---- the paths -------------------------------------------------------------------------------------


@pytest.mark.parametrize("boot, mem", [("iso", "24M"), ("iso", "512M"), ("uefi", "64M"), ("uefi", "512M"),
                                       ("pvh", "16M"), ("pvh", "512M")])
def test_boot_path(pagoda, boot, mem):
    result = pagoda(f"version && free && {HEALTH}", boot=boot, mem=mem, limit=60)
    assert "Pagoda" in result.output


@pytest.mark.parametrize("boot", ["iso", "pvh"])
@pytest.mark.parametrize("smp", [1, 2, 4])
def test_cpus(pagoda, boot, smp):
    pagoda(f"version && {HEALTH}", boot=boot, smp=smp)


def test_sixteen_cpus(pagoda):
    pagoda(f"version && {HEALTH}", smp=16, limit=60)


@pytest.mark.parametrize("mem", ["16M", "17M", "24M", "64M", "513M", "2G", "3G", "3584M", "4G", "6G"])
def test_memory_is_found(pagoda, mem):
    """`free` tells what the machine has: all but the kernel, its page array and the firmware's part."""
    result = pagoda(f"free && {HEALTH}", mem=mem)
    total = int(re.search(r"Mem:\s+(\d+)", result.output)[1]) << 10
    size = qemu.parse_size(mem)
    assert size - (8 << 20) - size // 64 < total <= size


@pytest.mark.parametrize("cpu", ["qemu64", "Skylake-Client", "max,-smap", "max,-xsave"])
def test_cpu_models(pagoda, cpu):
    pagoda(f"version && {HEALTH}", cpu=cpu)


def test_ring3_on_each_path(pagoda):
    for boot in ("iso", "pvh"):
        result = pagoda(f"run thptouch write 64M && {HEALTH}", boot=boot)
        assert re.search(r"thp_fault_alloc\s+32\b", result.output), result


# ---- what cannot work ------------------------------------------------------------------------------


@pytest.mark.parametrize("feature, name", [
    ("nx", "NX"), ("lm", "LM"), ("sse2", "SSE2"), ("apic", "APIC"), ("pae", "PAE"), ("fxsr", "FXSR"),
    ("pge", "PGE"), ("msr", "MSR")])
def test_missing_cpu_feature_is_named(pagoda, feature, name):
    result = pagoda("version", cpu=f"qemu64,-{feature}", smp=1, verdict="fail")
    assert result.status == qemu.EXIT_REFUSED
    assert f"this processor has no {name}" in result.output


def test_missing_feature_through_grub(pagoda):
    result = pagoda("version", cpu="qemu64,-nx", boot="iso", smp=1, verdict="fail")
    assert "this processor has no NX" in result.output


@pytest.mark.parametrize("mem", ["8M", "9M"])
def test_too_little_memory(guest, mem):
    """It says how much it needs, whether by a refusal or a panic record; it never hangs."""
    result = guest(mem=mem, smp=1, cmd="version").wait()
    assert result.verdict in ("fail", "crash"), result
    assert re.search(r"(?i)memory.*\d+ ?(K|M)", result.output), result


def test_no_initrd(pagoda):
    result = pagoda(f"version && {HEALTH}", initrd="")
    assert re.search(r"(?i)no initrd", result.output), result
    result = pagoda("run thptouch", initrd="", verdict="fail")
    assert "thptouch" in result.output


@pytest.fixture
def damaged_initrd(tmp_path, build):
    """The initrd with one change: where -> path."""
    with open(os.path.join(build, "initrd.cpio"), "rb") as file:
        good = file.read()

    def make(kind):
        data = {"magic": b"070702" + good[6:],
                "truncated": good[:len(good) // 2 | 1],
                "size": good[:54] + b"ffffffff" + good[62:],
                "garbage": os.urandom(65536),
                "tiny": b"0"}[kind]
        path = tmp_path / "initrd.cpio"
        path.write_bytes(data)
        return str(path)

    return make


@pytest.mark.parametrize("kind", ["magic", "truncated", "size", "garbage", "tiny"])
def test_damaged_initrd(pagoda, damaged_initrd, kind):
    """A clear line about the initrd, and the monitor works."""
    result = pagoda(f"version && {HEALTH}", initrd=damaged_initrd(kind))
    assert re.search(r"(?i)initrd", result.output), result


def test_damaged_program(pagoda, guest, initrd_with, tmp_path):
    """Programs that are no ELF files: `run` refuses, nothing is lost."""
    folder = tmp_path / "root"
    folder.mkdir()
    for name, data in (("text", b"no program\n"), ("empty", b""), ("cut", b"\x7fELF\x02\x01\x01" + bytes(40))):
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o755)
    initrd = initrd_with(folder)
    one = guest(initrd=initrd)
    for name in ("text", "empty", "cut", "absent"):
        result = pagoda(f"run /root/{name}", initrd=initrd, verdict="fail")
        assert f"/root/{name}: " in result.output
        one.expect("pagoda> ")
        one.send(f"run /root/{name}\r")
    one.expect("pagoda> ")
    one.send(f"{HEALTH} && poweroff\r")
    result = one.wait()
    assert result.verdict == "pass", result


def test_no_servers(pagoda, tmp_path):
    """An initrd with programs and nobody to start them: the monitor comes, and `run` says so."""
    initrd = str(tmp_path / "initrd")
    (tmp_path / "alone").write_bytes(b"\x7fELF")
    subprocess.run([sys.executable, os.path.join(qemu.ROOT, "tools", "mkinitrd.py"), "--output",
                    initrd, f"--bin={tmp_path / 'alone'}"], check=True)
    result = pagoda("run alone", initrd=initrd, verdict="fail")
    assert "alone: nobody is there to start programs" in result.output
    assert "is not in the initrd" in result.output
    assert pagoda(f"version && {HEALTH}", initrd=initrd).status == 0


# ---- the machine seen from outside -----------------------------------------------------------------


def test_write_xor_execute_from_outside(guest):
    """QEMU's list of translations: nothing writable is executable, nothing of ring 0 lies low."""
    one = guest(qmp=True, smp=1)
    one.expect("pagoda> ")
    one.qmp("stop")
    lines = re.findall(r"^([0-9a-f]{16}): [0-9a-f]+ (\S{9})", one.hmp("info tlb").replace("\r", ""),
                       re.MULTILINE)
    assert len(lines) > 10
    for address, flags in lines:
        assert "W" not in flags or flags.startswith("X"), f"{address} {flags}"
        assert int(address, 16) >= 1 << 63 or "U" in flags, f"{address} {flags}"
    assert any(not flags.startswith("X") for _, flags in lines)


def test_command_status(pagoda):
    assert pagoda("nonsense", verdict="fail").status == 127
    assert pagoda("version && nonsense && version", verdict="fail").status == 127
    assert pagoda("panic", verdict="crash").status == qemu.EXIT_CRASH


def test_panic_record(pagoda):
    result = pagoda("panic", verdict="crash")
    assert re.search(r"PANIC code=\S+ at=\S+:\d+ cpu=\d+", result.output)
    assert re.search(r"kernel_main|monitor_\w+\+0x", result.output), "no symbols in the backtrace"


# ---- another emulator ------------------------------------------------------------------------------


@pytest.mark.parametrize("cpus", [1, 2])
def test_bochs(build, tmp_path, cpus):
    """The same ISO in Bochs, whose processor model is stricter. It has no fw_cfg: CMD by command line."""
    iso = str(tmp_path / "bochs.iso")
    subprocess.run([os.path.join(qemu.ROOT, "tools", "mkiso.sh"), iso, os.path.join(build, "pagoda.elf"),
                    os.path.join(build, "initrd.cpio"), os.path.join(qemu.ROOT, "iso"),
                    f"cmd=version && {HEALTH}"], check=True)
    ended, said, log = bochs.run(iso, cpus=cpus, limit=60 * qemu.time_scale())
    assert ended, f"{log}\n{said}"
    assert "Pagoda" in said and "PANIC" not in said
