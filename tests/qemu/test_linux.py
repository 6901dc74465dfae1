"""`make linux` without Linux: the language of scenarios, the judge, the tables, what it says when it cannot run.

What needs the other kernel is run here too if it has been fetched before (a few scenarios): nothing is fetched.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "linux"))
sys.path.insert(0, str(ROOT / "tools"))

import debian  # noqa: E402
import judge  # noqa: E402
import linux  # noqa: E402
import linux_report  # noqa: E402

SCENARIOS = (ROOT / "tests" / "linux" / "scenarios.txt").read_text()


def scenario(build, *arguments):
    """The program itself, on this machine's kernel: only what changes nothing."""
    return subprocess.run([os.path.join(build, "initrd", "bin", "scenario"), *arguments], capture_output=True,
                          text=True, check=False)


def check_text(build, tmp_path, text):
    path = tmp_path / "mine.txt"
    path.write_text(text)
    return scenario(build, "--file", str(path), "--check")


# ---- the language ----------------------------------------------------------------------------------


def test_built_in_scenarios_are_understood(build):
    assert scenario(build, "--check").returncode == 0
    assert set(scenario(build, "--list").stdout.split()) == set(re.findall(r"^\[(.+)\]$", SCENARIOS, re.MULTILINE))


def test_every_step_is_explained(build):
    page = (ROOT / "tests" / "linux" / "README.md").read_text()
    for step in scenario(build, "--steps").stdout.split():
        assert re.search(rf"`{step}[ `.]", page), f"{step} is not in tests/linux/README.md"


@pytest.mark.parametrize("text, complaint", [
    ("[a]\nmap 4M\nfrobnicate 7\nbegin\n", ':3: unknown step "frobnicate"'),
    ("# first\n[a]\nmap 4Q; begin\n", ':3: "4Q" is not a size'),
    ("[a]\nmap 4M; madvise 0 4M huge\nbegin\n", ':2: "huge" is no word for "madvise"'),
    ("[a]\nmap 4M; mprotect 0 4M\nbegin\n", ':2: "mprotect" wants more words'),
    ("[a]\nmap 4M\nbegin\nmunmap 0 4M 4M\n", ':4: "4M" is one word too many'),
    ("[a]\nmap 4M; repeat often begin\n", ':2: repeat "often"'),
    ("[a]\nmap 4M +4\nmremap 4M 4M\nbegin\n", ':3: "4M" is not a place'),
    ("[a]\nmap 4M; child\nbegin\n", ':2: "child" or "repeat" without a step'),
    ("[a]\nmap 4M; write 0\n", '[a] has no "begin"'),
    ("[a\nmap 4M\n", ':1: "[a" is no [name]'),
    ("map 4M\n", ':1: "map 4M" stands before the first [name]'),
])
def test_mistakes_are_named(build, tmp_path, text, complaint):
    done = check_text(build, tmp_path, text)
    assert done.returncode == (1 if "begin\"" in complaint else 2)
    assert complaint in done.stderr and "mine.txt" in done.stderr


def test_scenarios_of_ones_own(pagoda, initrd_with, tmp_path):
    """A file that nobody has seen: two generations, flags, a counter, a field, a file, a refused access."""
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "mine.txt").write_text("""[mine]
about Three owners of a huge page; one has no right to write
set-if-there cow split
count pgfault
show Locked
value /sys/kernel/mm/transparent_hugepage/enabled
map 4M; fill 0 4M; mlock 0 4K
fork
child fork
child child await 1
child child write 2M
child child record
child mprotect 0 2M r
child fault write 4K
child wait
child record
begin
repeat 3 madvise 2M 4K dontneed
tell 1
wait
fault read 8M
end
""")
    output = pagoda("run scenario --file /root/mine.txt mine && check && ledger", smp=1,
                    initrd=initrd_with(folder)).output
    record = next(judge.records(output))
    assert record["name"] == "mine" and record["rc"] == 11
    assert record["values"] == {"/sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never"}
    assert record["fields"] == {"Locked": 4}
    assert record["child"]["per_2m"].endswith("a1/t511/z0") and record["child2"]["rss_kb"] == 4096
    assert "pgfault" in record["counts"]


# ---- the judge -------------------------------------------------------------------------------------


def some_record(**changes):
    return {"name": "x", "delta": {"thp_split_pmd": 1}, "minflt": 1, "rc": 0, "errno": 0,
            "smaps": {"rss_kb": 4, "anon_huge_kb": 0}, "pages": {"per_2m": "a1/t0/z0"}} | changes


def test_judge_compares_every_field():
    assert not judge.compare(some_record(), some_record(), judge.Notes())
    other = some_record(delta={"thp_fault_alloc": 1}, rc=-1)
    assert judge.compare(some_record(), other, judge.Notes()) == [
        ["delta.thp_split_pmd", 1, 0], ["rc", 0, -1], ["delta.thp_fault_alloc", 0, 1]]


def test_judge_leaves_out_what_linux_does_not_count():
    own = some_record(delta={"thp_split_pmd": 1, "thp_of_ours": 3})
    assert not judge.compare(some_record(), own, judge.Notes(), {"thp_split_pmd"})
    assert judge.compare(some_record(), own, judge.Notes(), {"thp_split_pmd", "thp_of_ours"})


def test_judge_reads_the_notes():
    note = judge.notes("[x]\nabout it\ninexact minflt\nexpect delta.thp_split_pmd >= 1\nfork\n")["x"]
    assert note.about == "it" and note.forks
    assert not judge.compare(some_record(), some_record(minflt=9, delta={"thp_split_pmd": 7}), note)
    assert judge.compare(some_record(), some_record(delta={}), note) == [["delta.thp_split_pmd >= 1", 1, 0]]


def test_choice_has_its_reason():
    differences = json.loads((ROOT / "tests" / "linux" / "differences.json").read_text())
    differences["fields"] = [{"steps": "", "field": "rc", "because": "so we chose"}]
    row = linux.judge_scenario("x", judge.Notes(), {"linux": some_record(), "split": some_record(rc=1), "copy": None},
                               set(), [], differences)
    assert (row["verdict"], row["because"]) == ("equal", "so we chose")
    row = linux.judge_scenario("x", judge.Notes(), {"linux": some_record(), "split": some_record(minflt=5),
                                                    "copy": some_record()}, set(), [{"minflt": 9}], differences)
    assert row["verdict"] == "different" and row["record"]


# ---- the tables and the page -----------------------------------------------------------------------


def cost_row(**values):
    row = {"name": "r", "title": "a row", "linux": 100, "default": 120, "pagoda": 50, "absent": None} | values
    linux.judge_cost(row, {"linux": 516, "pagoda": 512})
    return row


@pytest.mark.parametrize("values, verdict", [
    ({}, "ok"), ({"pagoda": 101}, "WORSE"), ({"pagoda": 101, "because": "so"}, "more, by choice"), ({"most": 40}, "over 40"), ({"linux": None, "own": True}, "no Linux figure"),
    ({"linux": None}, "not measured"), ({"pagoda": None}, "not measured"), ({"pagoda": None, "absent": "/f"}, "not there")])
def test_verdict_of_a_cost(values, verdict):
    assert cost_row(**values)["verdict"] == verdict


def results_of(verdict="equal", **values):
    record = some_record()
    return {"v": 1, "linux": "6.1.0-x", "machine": "m",
            "scenarios": [{"name": "x<y", "about": "", "verdict": verdict, "linux": record, "pagoda": record,
                           "different": [], "record": [], "chosen": [], "because": ""}],
            "cost": [{"title": "faults", "rows": [cost_row(**values)]}],
            "histograms": {k: {"4k_write": {800: 90, 3000: 10}} for k in ("linux", "pagoda")}}


def test_exit_status_follows_the_verdicts():
    assert linux_report.good(results_of())
    assert not linux_report.good(results_of("different"))
    assert not linux_report.good(results_of("missing"))
    assert not linux_report.good(results_of(pagoda=101))
    assert not linux_report.good(results_of(pagoda=None))


def test_page_needs_nothing_else():
    pytest.importorskip("matplotlib")
    page = linux_report.page(results_of())
    assert "x&lt;y" in page and page.count("<svg role=\"img\"") == 2
    assert page.count("<title") == 3 and "prefers-color-scheme: dark" in page
    assert not re.search(r'(src|href)="(?!#)', page) and "<script" not in page
    for colour in linux_report.VARIABLES:
        assert colour not in page


# ---- when it cannot run ----------------------------------------------------------------------------


def make_linux(build, tmp_path, cache, *arguments, **environment):
    return subprocess.run([sys.executable, str(ROOT / "tools" / "linux.py"), "--build", build, "--init",
                           os.path.join(build, "linux-init"), "--output", str(tmp_path / "out"), *arguments],
                          capture_output=True, text=True, check=False,
                          env=os.environ | {"PAGODA_CACHE": str(cache)} | environment)


def apt_that_fails(tmp_path, script):
    """apt-get and apt-cache of these tests, first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("apt-get", "apt-cache"):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_without_network(build, tmp_path):
    """apt says so, half of a package lies there: a clear message, and nothing is left."""
    cache = tmp_path / "cache"
    environment = apt_that_fails(tmp_path, "#!/bin/sh\necho half > linux-image-x.deb\n"
                                           "echo 'E: Could not resolve the mirror' >&2\nexit 100\n")
    done = make_linux(build, tmp_path, cache, **environment)
    assert done.returncode == 2
    assert "the first run needs the network" in done.stderr and "Could not resolve" in done.stderr
    assert not list(cache.rglob("*.deb")) and not list(cache.rglob("vmlinuz*"))
    assert list(cache.iterdir()) == []


def test_half_a_package(build, tmp_path):
    """What was fetched is no whole package: it does not become a kernel."""
    cache = tmp_path / "cache"
    environment = apt_that_fails(tmp_path, "#!/bin/sh\necho half > linux-image-x.deb\n")
    done = make_linux(build, tmp_path, cache, **environment)
    assert done.returncode == 2 and "could not be fetched" in done.stderr
    assert list(cache.iterdir()) == []


def test_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(debian, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(debian.shutil, "disk_usage", lambda path: debian.shutil._ntuple_diskusage(9, 9, 5 << 20))
    with pytest.raises(debian.Trouble, match="5 MB free and 64 MB are needed"):
        debian.fetch_linux()
    with pytest.raises(debian.Trouble, match="5 MB free and 64 MB are needed"):
        linux.output_folder(tmp_path / "out")
    assert list((tmp_path / "cache").iterdir()) == []


def test_cache_that_cannot_be_written(build, tmp_path):
    (tmp_path / "file").write_text("")
    done = make_linux(build, tmp_path, tmp_path / "file" / "cache")
    assert done.returncode == 2 and "Linux's kernel cannot be kept there" in done.stderr


@pytest.mark.parametrize("arguments, complaint", [
    (["--scenarios", "/no/such"], "SCENARIOS=/no/such: there is no such file"),
    (["--linux", "/no/such"], "/no/such: there is no such file"),
    (["--only", "("], "ONLY=(:"),
])
def test_wrong_arguments(build, tmp_path, arguments, complaint):
    done = make_linux(build, tmp_path, tmp_path, *arguments)
    assert done.returncode == 2 and complaint in done.stderr


def test_mistake_stops_before_a_guest_starts(build, tmp_path):
    (tmp_path / "mine.txt").write_text("[a]\nmap 4M\nbegin\nwrit 0\n")
    (tmp_path / "vmlinuz-6.1.0-x").write_text("")
    done = make_linux(build, tmp_path, tmp_path, "--linux", str(tmp_path / "vmlinuz-6.1.0-x"), "--scenarios",
                      str(tmp_path / "mine.txt"))
    assert done.returncode == 2 and 'mine.txt:4: unknown step "writ"' in done.stderr


# ---- the other kernel, if it is there --------------------------------------------------------------


@pytest.mark.skipif(not debian.cached(), reason="Linux's kernel has not been fetched; make linux does it")
def test_some_scenarios_beside_linux(build, tmp_path, monkeypatch):
    """The real thing, reduced: three scenarios on both kernels, without cost, without network."""
    environment = apt_that_fails(tmp_path, "#!/bin/sh\nexit 100\n")
    done = make_linux(build, tmp_path, debian.CACHE, "--no-cost", "--only", "^(read-each-2m|fork-child-writes-1|dontneed-4k)$",
                      **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 3 scenarios equal (1 of them under cow=split only, by choice)" in done.stdout
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [row["verdict"] for row in results["scenarios"]] == ["equal"] * 3
    assert (tmp_path / "out" / "report.html").stat().st_size > 2000
