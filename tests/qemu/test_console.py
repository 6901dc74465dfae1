"""The console as a person or a cat on the keyboard meets it: typed bytes, the stopped monitor, bad input.

Everything else enters by CMD; here the keys themselves are the subject.
"""

import json
import os
import random
import re
import subprocess
import sys

import pytest
import qemu
from console import MONITOR, ask, at_prompt, healthy

STOPPED = r"pagoda \(stopped\)> $"


# ---- keys ------------------------------------------------------------------------------------------


def test_banner(guest):
    one = guest(smp=2)
    one.expect(r"Pagoda \S+: 2 CPUs, \d+ MiB of memory, transparent huge pages: always")
    one.expect(r"Ctrl-\] x quits QEMU; help lists commands")
    one.expect(MONITOR)


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_line_ends(guest, end):
    one = at_prompt(guest)
    one.send("echo one" + end + "echo two" + end)
    one.expect(r"^one\n")
    one.expect(r"^two\n" + MONITOR)


@pytest.mark.parametrize("typed", ["echo early", "echo early; version; free; echo last"])
def test_typed_too_early(guest, typed):
    """What a person types while the machine starts, before its first line, is there at the prompt."""
    one = guest(mem="64M")
    one.send(f"{typed}; poweroff\r")
    result = one.wait()
    assert result.status == 0 and "\nearly\n" in one.text, result


def test_editing_keys(guest):
    one = at_prompt(guest)
    assert ask(one, "eco ab" + 4 * "\x1b[D" + "xh\x1b[D\x08\x05\x1b[D\x1b[3~d\x01\x06\x02") == "ad\n"
    assert ask(one, "wrong words\x15echo \x17echo a b\x17c").strip() == "a c"
    assert ask(one, "echo abc\x02\x0b").strip() == "ab"


def test_history(guest):
    one = at_prompt(guest)
    ask(one, "echo first")
    ask(one, "echo second")
    assert ask(one, "\x1b[A\x1b[A").endswith("first\n")
    assert ask(one, "\x1b[A\x1b[A\x1b[B\x1b[A").endswith("second\n")


def test_tab(guest):
    one = at_prompt(guest)
    assert "order" not in ask(one, "ver\t")                      # a command, unique
    one.send("cat /proc/bud\t\r")
    one.expect(r"Node 0, zone")
    one.expect(MONITOR)
    one.send("cat /sys/ker\tm\ttr\tenab\t\r")                    # folders, one after another
    one.expect(r"\[always\] madvise never")
    one.expect(MONITOR)
    one.send("khugepaged set max_ptes_n\t300; cat /sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none\r")
    one.expect(r"^300$")
    one.expect(MONITOR)
    one.send("run thpt\twrite 2M\r")
    one.expect(r"thp_fault_alloc 1")
    one.expect(MONITOR)
    one.send("z\t\t")                                            # several: they are listed
    one.expect(r"zoneinfo\s+zero")
    one.send("\x03")
    one.expect(MONITOR)


def test_ctrl_c(guest):
    one = at_prompt(guest)
    one.send("echo not this\x03")
    one.expect(r"\^C\n" + MONITOR)
    one.send("watch -n 1 echo again\r")
    one.expect(r"Jagain\n", limit=20)                           # behind the sequence that clears the screen
    one.expect(r"Jagain\n", limit=20)
    one.send("\x03")
    one.expect(MONITOR)
    one.send("run thptouch write 2M --hold 1000\r")
    one.expect(r"AnonHugePages")
    one.send("\x03")
    one.expect(r"interrupted \(signal 2\)")
    one.expect(MONITOR)
    assert "130" in ask(one, "echo $?")
    healthy(one)


# ---- bad input -------------------------------------------------------------------------------------


def test_long_lines(guest):
    one = at_prompt(guest)
    for _ in range(3):
        one.send("x" * 10000 + "\r")
        one.expect(r"a line has at most 4095 characters; nothing was done", limit=60)
        one.expect(MONITOR)
    assert "2" in ask(one, "echo $?")
    one.send("echo " + "y" * 4000 + "\r")
    one.expect(r"^y{4000}\n", limit=60)
    healthy(one)


def test_garbage(guest):
    """Random bytes as fast as they go in; afterwards the console answers and no frame is lost."""
    one = at_prompt(guest)
    rng = random.Random(1)
    noise = bytes(b for b in rng.randbytes(64 << 10) if b != 0x1d)
    for start in range(0, len(noise), 1024):
        one.send(noise[start:start + 1024])
    one.send(b"\x03\r\x15\r")
    one.send("echo still-here\r")
    one.expect(r"^still-here\n", limit=120)
    one.expect(MONITOR)
    healthy(one)


def test_unknown_command(pagoda):
    result = pagoda("chekc", verdict="fail")
    assert result.status == 127
    assert "chekc: unknown command; did you mean `check`?" in result.output
    assert pagoda("completely-unknown", verdict="fail").status == 127


@pytest.mark.parametrize("line, text", [
    ("echo maybe > /sys/kernel/mm/transparent_hugepage/enabled", "invalid value"),
    ("echo 512 > /sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none", "invalid value"),
    ("echo 0 > /proc/sys/vm/drop_caches", "invalid value"),
    ("echo 1 > /proc/vmstat", "read-only"),
    ("echo 1 > /sys/kernel/mm/transparent_hugepage/khugepaged/full_scans", "read-only"),
    ("echo 1 > /proc/sys/vm/compact_more", "no such file"),
    ("cat /proc", "is a folder"),
    ("cat /proc/77/smaps", "no such file"),
    ("run no-such-program", "no such program"),
    ("smaps 4294967297", "not a number of a task"),
    ("kill 77", "no such task"),
    ("page 0xffffffffff", "the last one is"),
    ("pt walk 0x800000000000", "not canonical"),
    ("thp why 0xffff800000000000 1", "not an address of ring 3"),
    ("watch version", "-c COUNT is needed"),
    ("ktest no-such-suite", "no such suite"),
    ("vmstat no_such", "no counter begins so"),
])
def test_failures_have_status_1(pagoda, line, text):
    result = pagoda(line, verdict="fail")
    assert result.status == 1, result
    assert text in result.output, result


@pytest.mark.parametrize("line", [
    "page", "page x", "page 99999999999999999999999", "pmap", "pmap -y 1", "pt", "pt fly", "thp why", "trace",
    "echo 'open", "echo a | cat", "version extra", "version &", "khugepaged set x", "demo", "demo nothing"])
def test_usage_has_status_2(pagoda, line):
    assert pagoda(line, verdict="fail").status == 2


@pytest.mark.parametrize("line, status, records", [
    ("echo one; cat /nothing; echo two", 1, [("1", "0", "echo one"), ("2", "1", "cat /nothing"), ("3", "0", "echo two")]),
    ("cat /nothing && echo two", 1, [("1", "1", "cat /nothing")]),
    ("page; cat /nothing && echo no; echo last", 2,
     [("1", "2", "page"), ("2", "1", "cat /nothing"), ("3", "0", "echo last")]),
])
def test_cmd_after_a_failure(pagoda, line, status, records):
    """; goes on, && does not; the machine leaves with the first failure."""
    result = pagoda(line, verdict="fail")
    assert result.status == status
    assert re.findall(r"^RESULT n=(\d+) status=(\d+) cmd=\"(.*)\"$", result.output, re.MULTILINE) == records


def test_quotes_and_dollar_reach_the_guest(pagoda):
    result = pagoda("""echo 'single $x' "double $? \\"q\\"" # comment""")
    assert 'single $x double 0 "q"\n' in result.output


def test_program_statuses(pagoda):
    assert pagoda("run abi exit 3", verdict="fail").status == 3
    assert pagoda("run abi fault", verdict="fail").status == 127    # 128 + 11, as far as the port can say
    result = pagoda("echo x && run abi fault", verdict="fail")
    assert "segmentation fault (signal 11)" in result.output


# ---- json ------------------------------------------------------------------------------------------

JSON = ["help", "help pt", "version", "uptime", "free", "vmstat", "buddyinfo", "zoneinfo", "slabinfo", "memmap",
        "page 0x200", "zero", "ps", "pmap 2", "smaps 2", "pagemap 2 0x1000000000 3", "pt walk 0xffffffff80100000",
        "pt walk 0x1000000000 2", "pt stat", "pt stat 2", "thp", "thp why 0x1000000000 2", "khugepaged",
        "khugepaged scan", "check", "ledger", "trace show", "dmesg", "ls /proc", "ls", "cat /proc/2/smaps",
        "cat /proc/vmstat"]


def json_lines(output):
    return [json.loads(line) for line in output.splitlines() if line.startswith('{"v":1')]


def test_json_is_json(pagoda):
    """One line each, with the command's name; the program is there while they run."""
    lines = "; ".join(f"{line} --json" for line in JSON)
    result = pagoda(f"run thptouch write 4M --hold 100 & watch -n 1 -c 2 version; {lines}; kill 2", limit=60)
    records = json_lines(result.output)
    assert [r["cmd"] for r in records] == [line.split()[0] for line in JSON]
    assert all(r["v"] == 1 and "error" not in r for r in records)
    by_line = dict(zip(JSON, records))
    assert by_line["thp why 0x1000000000 2"]["reason"] == "HUGE"
    assert by_line["pt walk 0x1000000000 2"]["size"] == 2 << 20
    assert by_line["check"]["ok"] and by_line["ledger"]["exact"]
    assert sum(a["AnonHugePages"] for a in by_line["smaps 2"]["areas"]) == 4096


@pytest.mark.parametrize("line", ["page 0xffffffffff", "smaps 77", "page", "cat /nothing", "ls /nothing", "cat /proc"])
def test_json_errors(pagoda, line):
    result = pagoda(f"{line} --json", verdict="fail")
    assert "error" in json_lines(result.output)[0]


# ---- the stopped monitor -----------------------------------------------------------------------------


@pytest.mark.parametrize("smp", [1, 2, 4])
def test_break_and_back(guest, smp):
    one = at_prompt(guest, smp=smp, qmp=True)
    one.send("run thptouch write 64M --hold 1000 &\r")
    one.expect(r"AnonHugePages", limit=30)
    for _ in range(3):
        one.send_break()
        one.expect(r"BREAK: all CPUs are stopped")
        one.expect(STOPPED)
        one.send("ps\r")
        for cpu in range(smp):
            one.expect(rf"cpu {cpu}\s")
        one.expect(STOPPED)
        one.send("vmstat thp_fault_alloc; memmap; buddyinfo; uptime; thp; pt walk 0xffffffff80100000; page 0x200\r")
        one.expect(r"thp_fault_alloc \d+")
        one.expect(r"(?s)refcount.*" + STOPPED)
        one.send("check\r")
        one.expect(r"check: not possible while everything is stopped")
        one.expect(STOPPED)
        one.send("continue\r")
        one.expect(r"pagoda> \x1b\[K")  # the line that was being typed is shown again, by itself
        one.send("\r")
        one.expect(MONITOR)
        assert "alive" in ask(one, "echo alive")
    ask(one, "kill 1")
    healthy(one)


def test_break_while_a_program_spins(guest):
    """Every CPU in ring 3, and the console waiting for a program: BREAK still comes through."""
    one = at_prompt(guest, smp=2, qmp=True)
    ask(one, "run abi spin &")
    ask(one, "run abi spin &")
    one.send("run abi spin\r")
    one.expect(r"run abi spin\n")
    for _ in range(20):  # until they are loaded, and spin
        one.send_break()
        one.expect(r"BREAK: all CPUs are stopped")
        one.expect(STOPPED)
        one.send("ps\r")
        who = one.expect(r"(?s)ps\n(.*)pagoda \(stopped\)> $")[1]
        one.send("\x04")
        if re.search(r"cpu \d+ +abi", who):
            break
    assert re.search(r"cpu \d+ +abi", who), who
    one.send("\x03")
    one.expect(r"interrupted \(signal 2\)", limit=30)
    one.expect(MONITOR)
    ask(one, "kill 1; kill 2")
    healthy(one)


def test_panic_with_a_person(guest):
    """The record, then the stopped monitor; poweroff leaves with the status asked for."""
    one = at_prompt(guest)
    one.send("panic\r")
    one.expect(r"PANIC code=monitor at=\S+ cpu=\d+ .*text=")
    one.expect(r"The kernel has stopped for good")
    one.expect(STOPPED)
    one.send("memmap\r")
    one.expect(r"one cell is 2 MiB")
    one.expect(STOPPED)
    one.send("continue\r")
    result = one.wait()
    assert result.verdict == "crash", result


def test_panic_without_a_person(pagoda):
    result = pagoda("panic", verdict="crash")
    assert re.search(r"PANIC code=monitor at=\S+ cpu=\d+ .*text=\"", result.output)
    assert "cmd_panic" in result.output


def test_poweroff(pagoda, guest):
    assert pagoda("poweroff").status == 0
    assert pagoda("poweroff 5", verdict="fail").status == 5
    one = at_prompt(guest)
    one.send("poweroff\r")
    assert one.wait().verdict == "pass"


# ---- the demos ---------------------------------------------------------------------------------------


def demo_rows(output):
    return {m[1].strip(): m[2].split() for m in
            re.finditer(r"^  (\S[^\n]*?)((?:[ ]+[\d.]+)+)$", output, re.MULTILINE)}


@pytest.mark.parametrize("mem", ["24M", "512M"])
def test_demo_thp(pagoda, mem):
    result = pagoda("demo thp && check && ledger", mem=mem, limit=60)
    rows = demo_rows(result.output)
    never, always, promoted = (int(n) for n in rows["resident (Rss), kB"])
    assert never == always == promoted >= 4096
    pages = never // 4
    assert rows["minor faults"] == [str(pages), str(pages // 512), str(pages)]
    assert rows["in huge pages, kB"] == ["0", str(never), str(never)]
    assert rows["thp_collapse_alloc"] == ["0", "0", str(pages // 512)]
    screen = result.output.split("the same program, three ways")[1].split("RESULT")[0]
    assert screen.count("\n") < 24 and max(map(len, screen.splitlines())) < 80


def test_other_demos(pagoda):
    result = pagoda("demo zero && demo cow && demo bloat && check && ledger", limit=90)
    assert "thp_zero_page_alloc" in result.output


def test_demo_fragment(pagoda):
    """Conformance scenarios 50 and 51: movable leftovers, then pinned ones."""
    result = pagoda("demo fragment && check && ledger", limit=90)
    tables = result.output.split("\ndefrag ")[1:]
    assert len(tables) == 2
    rows = [{m[1]: [int(n) for n in m[2].split()] for m in
             re.finditer(r"^([a-z+]+)((?: +\d+){6}) +[\d.]+$", table, re.MULTILINE)} for table in tables]
    modes = ["never", "defer", "madvise", "always", "defer+madvise"]
    assert all(sorted(r) == sorted(modes) for r in rows)
    for table in rows:
        for mode in modes:
            huge, fallback, stall, success, fail, _moved = table[mode]
            assert huge + fallback == 100 and stall == success + fail
        assert table["never"][1] > 0 and table["never"][2] == table["defer"][2] == 0
    movable, pinned = rows
    assert movable["madvise"][0] == 100 and movable["madvise"][3] > 0
    assert movable["always"][:3] == [100, 0, 0]
    assert all(pinned[mode][1] > 0 for mode in modes)
    assert pinned["madvise"][4] > pinned["madvise"][3]


def test_demo_restores_settings(pagoda):
    settings = "thp --json; khugepaged --json"
    result = pagoda(f"echo madvise > /sys/kernel/mm/transparent_hugepage/enabled; {settings}; demo thp; "
                    f"demo bloat; demo cow; {settings}", limit=90)
    before_thp, before_k, after_thp, after_k = json_lines(result.output)
    assert before_thp["settings"] == after_thp["settings"]
    assert before_thp["settings"]["enabled"] == "madvise"
    assert before_k["settings"] == after_k["settings"]


# ---- the page about it -------------------------------------------------------------------------------


def test_documentation_is_what_help_says(build):
    tool = os.path.join(qemu.ROOT, "tools", "monitor_doc.py")
    subprocess.run([sys.executable, tool, "--build", build, "--check"], check=True)


# ---- other ways in -----------------------------------------------------------------------------------


def test_cmd_on_the_kernel_command_line(guest):
    """Where there is no fw_cfg file, `cmd=` to the end of the line is CMD."""
    result = guest(append="quiet cmd=echo 'from the line' && poweroff 9").wait()
    assert "from the line\n" in result.output
    assert result.status == 9, result


def test_cmd_of_several_lines(pagoda):
    result = pagoda("echo one # not this\n\necho two\n")
    assert "one\n" in result.output and "two\n" in result.output and "not this" not in result.output


def test_cmd_too_long(pagoda):
    assert pagoda("echo " + "x" * 4090).status == 0
    result = pagoda("echo " + "x" * 4091, verdict="fail")
    assert result.status == 2 and "nothing was done" in result.output


def test_no_initrd(pagoda):
    result = pagoda("ls / && run thptouch", initrd="", verdict="fail")
    assert "there is no initrd" in result.output
    assert pagoda("check && ledger", initrd="").status == 0
