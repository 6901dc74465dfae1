"""Mistakes other kernels made: all scenarios pass, and some of the mistakes, made, are noticed. `make cve` makes all of them."""

import cve
import pytest
from conftest import DEBUG_BUILD

HEALTH = "check && ledger"


def test_scenarios(pagoda):
    """Those of suite cve, with a gigabyte for one of them; the others stand in suites that test_ktest.py runs."""
    output = pagoda(f"ktest cve && {HEALTH}", smp=4, mem="4G", debug=True, limit=60).output
    assert "# SKIP" not in output


@pytest.mark.parametrize("number", [2, 8, 14, 17, 19, 22])
def test_mistake_is_noticed(number):
    seeds = {seed["number"]: seed for seed in cve.read_list(DEBUG_BUILD)}
    noticed, result = cve.play(DEBUG_BUILD, seeds[number], True)
    assert noticed, result


def test_list(pagoda):
    """Numbers are in order, each with its scenario; one that does not exist is refused."""
    numbers = [seed["number"] for seed in cve.read_list(DEBUG_BUILD)]
    assert numbers == sorted(set(numbers)) and len(numbers) >= 22
    output = pagoda("inject seed 99", debug=True, verdict="fail").output
    assert "99: no such mistake" in output
