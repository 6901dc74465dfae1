"""Each server dies at each phase of what it serves, while clients wait for it.

Everybody who waited gets service or an error within a second of the guest's time, the next who asks is served, and in the
end every frame is accounted for. `inject kill` of the debug build is the knife: before or after the n-th call of a
server; a call that answers and receives the next stands between "received" and "answered".
"""

import re
import subprocess

import pytest
import qemu

PROMPT = r"pagoda:.*# "
CLIENTS = 4
SECOND = 1.0


class Shell:
    """The guest's shell, typed at."""

    def __init__(self, guest):
        self.guest = guest
        self.marks = 0
        guest.expect(PROMPT, 30)

    def run(self, line, limit=10):
        """Type a line; what it printed, once the shell says that it has ended. The mark is not in what is typed."""
        self.marks += 1
        begin = self.guest.seen
        self.guest.send(f"{line}; echo =''{self.marks}=\r")
        match = self.guest.expect(rf"={self.marks}=", limit)
        return self.guest.text[begin:match.start()]

    def answers(self, limit=10):
        """Does it, within that time? What was typed when the console died is lost, so it is asked again and again."""
        for _ in range(limit):
            try:
                return self.run(":", 1)
            except AssertionError:
                self.guest.send("\r")
        raise AssertionError("the shell does not answer\n" + self.guest.text[-3000:])

    def uptime(self):
        return float(re.search(r"^([\d.]+) [\d.]+$", self.run("cat /proc/uptime"), re.M)[1])

    def end(self):
        assert "ledger exact" in self.run("inject off; check && ledger", 30), self.guest.text[-3000:]
        self.guest.send("poweroff -f\r")
        result = self.guest.wait()
        assert result.verdict == "pass" and "PANIC" not in result.output, result


@pytest.fixture
def shell(guest, initrd_with, tmp_path):
    """A shell in the debug build; /root/c0 ... are copies of one small program, each a file of its own."""
    source, folder = tmp_path / "client.c", tmp_path / "root"
    folder.mkdir()
    source.write_text('#include <stdio.h>\nint main(void) { return puts("served") < 0; }\n')
    subprocess.run(["musl-gcc", "-static", "-O2", "-s", "-o", folder / "c0", source], check=True)
    for i in range(1, 80):
        (folder / f"c{i}").hardlink_to(folder / "c0")

    def start(smp=2):
        return Shell(guest(initrd=initrd_with(folder, qemu.os.path.join(qemu.ROOT, "build", "debug")),
                           debug=True, shell=True, smp=smp))

    return start


def ended(text, server):
    return len(re.findall(rf"init: {server} ended \(signal 9\), started again", text))


PHASES = [("reply_receive", "after"), ("reply_receive", "before"), ("supply", "before"), ("supply", "after")]


@pytest.mark.parametrize("smp", [1, 2])
def test_pager(shell, smp):
    """idle; received; supplied and not answered; others in the queue (the n-th of several clients)."""
    one, client = shell(smp), 0
    one.run("pagoda kill $(ps | awk '/servers.pager/ { print $1 }')")
    deaths = 1
    for call, when in PHASES:
        for n in (1, 3):
            first, client = client, client + CLIENTS
            numbers = " ".join(str(i) for i in range(first, client))
            one.run(f"inject kill pager {call} {when} {n}")
            before = one.uptime()
            said = one.run(f"for i in {numbers}; do (/root/c$i > /dev/null 2>&1; echo end $?) & done; wait")
            assert len(re.findall(r"^end \d+", said, re.M)) == CLIENTS, (call, when, n, said)
            if call == "supply":  # a fault was in service: its client is served by the next pager
                assert len(re.findall(r"^end 0", said, re.M)) == CLIENTS, (call, when, n, said)
            assert one.uptime() - before < SECOND * qemu.time_scale(), (call, when, n)
            deaths += 1
            assert ended(one.guest.text, "pager") == deaths, (call, when, n, one.guest.text[-2000:])
            assert "served" in one.run(f"/root/c{client}"), (call, when, n)
            client += 1
    one.end()


@pytest.mark.parametrize("smp", [1, 2])
def test_console(shell, smp):
    """It dies while it is written to and read from; the shell lives, and is heard again."""
    one = shell(smp)
    one.run("pagoda kill $(ps | awk '/servers.console/ { print $1 }')")
    one.answers()
    for deaths, (when, n) in enumerate([("after", 1), ("before", 1), ("after", 5), ("before", 6), ("after", 12)], 2):
        before = one.uptime()
        one.guest.send(f"inject kill console reply_receive {when} {n}; echo some; echo words; cat /proc/uptime\r")
        one.answers()
        assert one.uptime() - before < 3 * SECOND * qemu.time_scale(), (when, n)
        assert ended(one.guest.text, "console") == deaths, (when, n, one.guest.text[-2000:])
        assert "heard" in one.run("echo he''ard")
    one.end()


LINUX_PHASES = [("reply_receive", "before", 1), ("reply_receive", "after", 1), ("reply_receive", "before", 30),
                ("reply_receive", "after", 31), ("call", "before", 2), ("call", "after", 3),
                ("task_create", "before", 1), ("task_create", "after", 1), ("thread_create", "before", 1),
                ("thread_create", "after", 1), ("mm_reset", "before", 1), ("mm_reset", "after", 1),
                ("memory_map", "before", 2), ("memory_map", "after", 2)]


@pytest.mark.parametrize("smp", [1, 2])
def test_linux(shell, smp):
    """With it go its tasks, whatever they are doing: a new personality and a new shell stand there soon."""
    one = shell(smp)
    for index, (call, when, n) in enumerate(LINUX_PHASES):
        if index and index % 7 == 0:        # init gives up a server that ends ten times in ten seconds
            one.run("sleep 9", 30)
        one.run("(while :; do echo x; done | head -c 100000 | md5sum > /tmp/sum) & (sleep 100 &)")
        one.guest.send(f"inject kill linux {call} {when} {n}; /root/c{index}; ls / | wc -l\r")
        at = one.guest.expect(r"\[ *([\d.]+)\] init: linux ended \(signal 9\), started again", 10)
        one.guest.expect(PROMPT, 10)
        assert one.uptime() - float(at[1]) < 2 * SECOND * qemu.time_scale(), (call, when, n)
        assert "served" in one.run(f"/root/c{index}"), (call, when, n)
    one.end()


@pytest.mark.parametrize("smp", [1, 2])
def test_init(shell, smp):
    """With it go all servers; the kernel starts it again."""
    one = shell(smp)
    for line in ("pagoda kill $(ps | awk '/servers.init/ { print $1 }')",
                 "inject kill init receive after 1; pagoda kill $(ps | awk '/servers.pager/ { print $1 }')",
                 "inject kill init task_create after 1; pagoda kill $(ps | awk '/servers.pager/ { print $1 }')"):
        one.guest.send(line + "\r")
        one.guest.expect(r"init: ended with status 0x9, the servers with it; starting anew", 10)
        one.guest.expect(PROMPT, 10)
        assert "served" in one.run("/root/c0")
    one.end()


def test_all_at_once(shell):
    """Every server dies in one breath, twice."""
    one = shell()
    for _ in range(2):
        one.guest.send("for s in console pager linux; do pagoda kill $(ps | awk /servers.$s/'{ print $1 }'); done\r")
        one.guest.expect(r"init: linux ended", 10)
        one.guest.expect(PROMPT, 10)
        one.answers()
        assert "served" in one.run("/root/c0")
    one.end()
