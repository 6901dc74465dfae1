"""The servers of ring 3: each is killed, and what it served goes on; what is typed cannot harm the console.

A server is killed by the monitor's `kill`, from the shell that it serves.
"""

import random

import pytest
from console import SHELL, ask, at_prompt, healthy

SERVERS = ("console", "pager", "linux")
NUMBER = "$(ps | awk '$3==\"/servers/%s\"{print $1}')"


def prompt_again(one):
    """Whether the prompt stood before what was just read or behind it."""
    one.send("echo on''ward\r")
    one.expect("onward")
    one.expect(SHELL)


def kill(name):
    return f"pagoda kill {NUMBER % name}"


# ---- death -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smp", [1, 4])
def test_each_server_is_replaced(guest, smp):
    one = at_prompt(guest, shell=True, smp=smp)
    for name in SERVERS:
        one.send(kill(name) + "\r")
        one.expect(rf"init: {name} ended \(signal 9\), started again")
        if name != "linux":  # whose shell is a new one: its prompt comes later. The other's may have come before that line
            one.send("echo set''tled\r")
            one.expect(r"^settled\n")
        one.expect(SHELL)
        assert ask(one, "cat /proc/uptime | wc -l").endswith("1\n")
        assert ask(one, "stty -a | grep -c icanon").endswith("1\n")
    healthy(one)


def test_init_and_all_with_it(guest):
    one = at_prompt(guest, shell=True, smp=2)
    one.send(kill("init") + "\r")
    one.expect(r"init: ended with status 0x9, the servers with it; starting anew")
    one.expect(SHELL)
    assert ask(one, "echo a new $((6*7))") == "a new 42\n"
    healthy(one)


def test_linux_again_and_again(guest):
    """Its programs run, sleep, are stopped when it dies; nothing of them is left."""
    one = at_prompt(guest, shell=True, smp=4)
    for _ in range(3):
        one.send("(while :; do ls -l /bin | md5sum; done) > /dev/null & sleep 100 | sleep 100 & sleep 1\r")
        one.expect(SHELL)
        one.send(kill("linux") + "\r")
        one.expect("init: linux ended .* started again")
        one.expect(SHELL)
    assert "md5sum" not in ask(one, "ps")
    healthy(one)


@pytest.mark.parametrize("smp", [1, 4])
def test_killed_under_load(pagoda, smp):
    """Programs start, read and print all the time; every answer is right, console and pager die meanwhile."""
    load = "while :; do cat /bin/busybox | md5sum >> /tmp/sums; echo; done > /dev/console"
    round_ = f"{kill('console')}; sleep 1; {kill('pager')}; sleep 1.3"
    result = pagoda(f"({load}) & for i in 1 2 3; do {round_}; done; kill $!; sleep 0.2; "
                    "sort -u /tmp/sums | wc -l; check && ledger", smp=smp, shell=True, limit=60)
    assert result.output.count("started again") == 6
    assert "\n1\n" in result.output.replace("\r", "")
    assert "BROKEN" not in result.output and "ledger exact" in result.output


@pytest.mark.parametrize("name, says", [("linux", "init: linux ended .* while the command ran"),
                                        ("init", "init: ended with status 0x9 while the command ran")])
def test_a_command_is_not_run_twice(guest, name, says):
    one = guest(shell=True, cmd=f"echo once; {kill(name)}; sleep 5")
    one.expect(r"^once\n")
    one.expect(says)
    one.wait(20)
    assert one.text.count("once\n") == 1


def test_one_that_always_dies_is_given_up(guest):
    one = at_prompt(guest, shell=True)
    for _ in range(9):
        one.send(kill("pager") + "\r")
        one.expect("init: pager ended .* started again")
        prompt_again(one)
    one.send(kill("pager") + "\r")
    one.expect("init: pager ended 10 times in 10 seconds: given up")
    prompt_again(one)
    assert "thp" in ask(one, "type thp")  # the shell is in memory; new programs are refused, and nobody hangs
    ask(one, "/bin/thptouch write 4M")


# ---- keys --------------------------------------------------------------------------------------------


# Not typed: Ctrl-\, which twice is the stopped monitor; to a program also not what ends it.
@pytest.mark.parametrize("command, left_out, many", [("", "\x04\x1c", 3000), ("cat > /dev/null", "\x03\x04\x1a\x1c", 20000)])
def test_anything_typed(guest, command, left_out, many):
    """Random bytes at full rate, to the shell, which edits them in raw mode, and to a program, line by line."""
    rng = random.Random(1)
    one = at_prompt(guest, shell=True, smp=2)
    one.send(f"echo go; {command}\r")
    one.expect(r"^go\n")
    keys = [byte for byte in range(256) if chr(byte) not in left_out]
    one.send(bytes(rng.choice(keys) for _ in range(many)))
    seen = -1
    while len(one.text) != seen:  # what the UART's ring has no room for is lost, and Ctrl-C must not be
        seen = len(one.text)
        one.pump(3)
    one.send("\x03\x15\x03\r")
    one.pump(2)
    one.send("reset; clear; echo al''ive\r")
    one.expect("alive", 40)


def test_a_very_long_line(guest):
    one = at_prompt(guest, shell=True)
    one.send("echo go; cat | wc -c\r")
    one.expect(r"^go\n")
    one.pump(1)
    one.send("x" * 10000 + "\rshort\r\x04")
    one.expect(r"^4102\r?\n", 30)  # 4095 and the line's end; five and theirs
    one.expect(SHELL)


# ---- the monitor's commands on PATH --------------------------------------------------------------------


def test_commands_of_the_monitor(pagoda):
    result = pagoda("thp | head -n 1; pagoda echo \"it's\" 'a \"b\"' '$? ; #' ''; "
                    "pagoda nosuch; echo status $?; run echo run $((1+1)); buddyinfo | grep -c Node", shell=True)
    out = result.output.replace("\r", "")
    assert "settings (/sys/kernel/mm/transparent_hugepage/)\n" in out
    assert "it's a \"b\" $? ; #" in out
    assert "status 127\n" in out or "status 1\n" in out
    assert "\nrun 2\n" in out
    assert "\n2\n" in out or "\n1\n" in out
