"""Each bug that the kernel can notice ends in a record that names it, on whichever CPU; nothing hangs.

`panic KIND` (kernel/monitor/provoke.c) makes the mistake.
"""

import re

import pytest

# The code of the record, something of its line, and a function that must be in the call chain.
KINDS = {
    "null": ("page-fault", "write of 0x0 by the kernel: nothing is mapped there", "write_null"),
    "text": ("page-fault", "its entry does not allow it", "write_text"),
    "rodata": ("page-fault", "its entry does not allow it", "write_rodata"),
    "execute": ("page-fault", "execution of .*its entry does not allow it", "cmd_panic"),
    "call": ("page-fault", "execution of 0x0", "cmd_panic"),
    "canonical": ("exception", "#GP", "not_canonical"),
    "divide": ("exception", "#DE", "divide"),
    "overflow": ("stack-overflow", r"thread \d+ \(monitor\) is full", "recurse"),
    "smash": ("stack-smash", "an array", "smash"),
    "list": ("L1", "does not point back", "corrupt_list"),
}


def record(output):
    match = re.search(r'PANIC code=(\S+) at=(\S+):(\d+) cpu=(\d+) tid=(\d+) addr=(0x[0-9a-f]+) text="([^"]*)"',
                      output)
    assert match, output
    return match


@pytest.mark.parametrize("smp", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_record(pagoda, kind, smp):
    code, text, function = KINDS[kind]
    output = pagoda(f"panic {kind}", smp=smp, verdict="crash").output
    found = record(output)
    assert found[1] == code
    assert re.search(text, found[7]), found[0]
    chain = re.findall(r"#  [0-9a-f]{16}  (\S+?)\+0x", output)
    assert function in chain, chain
    if kind != "overflow":  # too many frames: the chain is cut
        assert chain[-1] == "thread_start", chain
    assert len(re.findall("PANIC", output)) == 1


def test_lock_taken_twice(pagoda):
    assert record(pagoda("panic lock", verdict="crash").output)[1] == "lock-twice"
    assert record(pagoda("panic lock", verdict="crash", debug=True).output)[1] == "Y1"


def test_panic_inside_a_panic(pagoda):
    output = pagoda("panic nested", verdict="crash").output
    assert 'PANIC code=recursive' in output and "while nested was reported" in output


def test_others_are_stopped(pagoda):
    """All CPUs busy in ring 3: the one that panics stops them by NMI and leaves within the limit."""
    output = pagoda("run stress 1 100000s 4 & ; panic null", smp=4, verdict="crash", limit=20).output
    assert record(output)[1] == "page-fault"
