"""thp_anon= on the kernel's command line: all of it is done, or nothing and a line says why."""

import re

import pytest

THP = "/sys/kernel/mm/transparent_hugepage"
SIZES = (16, 64, 128, 256, 2048)


def states(pagoda, param):
    """One boot -> what was said about it, and the state of each of SIZES."""
    command = " && ".join(f"cat {THP}/hugepages-{kb}kB/enabled" for kb in SIZES)
    output = pagoda(command, mem="64M", append=f"thp_anon={param}", boot="pvh").output
    return "thp_anon: not understood" in output, re.findall(r"\[(\w+)\]", output)


def test_sizes_from_boot_on(pagoda):
    assert states(pagoda, "16K-64K,256K:madvise;2M:always") == \
        (False, ["madvise", "madvise", "never", "madvise", "always"])


@pytest.mark.parametrize("param", ["64K", "64K:sometimes", "64K:always;", "64K:always;3K:always", "128K-64K:always"])
def test_a_wrong_word_sets_nothing(pagoda, param):
    assert states(pagoda, param) == (True, ["never", "never", "never", "never", "inherit"])
