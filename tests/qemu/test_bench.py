"""The benchmark's parts: a row alone measures what it does among the others; the counted load runs."""

import re

import pytest

COUNTED = {"cpu": "qemu64", "icount": True}


def rows(output):
    return {name: int(value) for name, value in
            re.findall(r"^bench (\S+) (\d+)\s*$", output, re.MULTILINE)}


pytestmark = pytest.mark.xdist_group("bench")  # one worker makes what all of them use


@pytest.fixture(scope="module")
def whole(pagoda):
    return rows(pagoda("run bench && check && ledger", limit=60, **COUNTED).output)


@pytest.mark.parametrize("row", ["4k_write", "2m_cow_split", "collapse", "khugepaged_refuse", "munmap_2m"])
def test_alone_as_in_the_whole(pagoda, whole, row):
    alone = rows(pagoda(f"run bench {row}", **COUNTED).output)
    assert alone == {row: pytest.approx(whole[row], rel=0.02)}


def test_settings_come_back(pagoda):
    cat = "cat /sys/kernel/mm/transparent_hugepage/"
    names = ("enabled", "cow", "khugepaged/max_ptes_none", "khugepaged/scan_sleep_millisecs")
    output = pagoda("echo never > /sys/kernel/mm/transparent_hugepage/enabled && "
                    "run bench khugepaged_refuse && " + " && ".join(cat + name for name in names),
                    **COUNTED).output
    said = [line for line in output.splitlines() if not line.startswith(("RESULT", "[  "))]
    assert said[-4:] == ["always madvise [never]", "[copy] split", "511", "10000"]


def test_unknown_row(pagoda):
    result = pagoda("run bench nosuch", verdict="fail")
    assert result.status == 2 and "usage: bench" in result.output
    assert "khugepaged_refuse" in result.output


@pytest.mark.parametrize("suite", ["load_4k_one", "load_4k_all", "load_2m_one", "load_2m_all"])
def test_load(pagoda, suite):
    output = pagoda(f"ktest {suite} && check && ledger", smp=4, mem="1G").output
    assert "ok 1 faults\n" in output
