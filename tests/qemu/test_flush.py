"""Flushes of translations: each site's flush is needed, and its generation is watched.

The kernel's own tests show stale translations (tests/kernel/flush.c); suite flush_left_out takes each flush away and
demands that this is noticed. Here a site neither flushes nor acknowledges: the generation assertion must end the kernel.
"""

import re

import pytest

HEALTH = "check && ledger"
SITES = ["unmap", "protect", "cow", "fork", "split", "collapse", "move", "free", "kernel", "migrate"]


@pytest.mark.parametrize("smp", [1, 2, 4])
def test_flushes(pagoda, smp):
    """Each site, here and there; there needs a second CPU."""
    output = pagoda(f"ktest flush && ktest flush_left_out && {HEALTH}", smp=smp, debug=True, limit=60).output
    lines = re.findall(r"^    ok \d+ (\w+)_(here|there)(.*?)\r?$", output, re.MULTILINE)
    assert len(lines) == 2 * 2 * len(SITES)
    assert {site for site, _, _ in lines} == set(SITES)
    for site, where, rest in lines:
        assert ("SKIP" in rest) == (where == "there" and smp == 1), (site, where, rest)


@pytest.mark.parametrize("site", SITES)
def test_generation(pagoda, site):
    result = pagoda(f"inject tlb-skip ack {site} && ktest flush", smp=2, debug=True, verdict="crash", limit=60)
    assert "PANIC code=tlb-gen" in result.output, result
