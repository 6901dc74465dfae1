"""Each server dies at each phase of what it serves, while clients wait for it.

Everybody who waited gets service or an error within a second of the guest's time, the next who asks is served, and in the
end every frame is accounted for. `inject kill` of the debug build is the knife: before or after the n-th call of a
server; a call that answers and receives the next stands between "received" and "answered".

Both ends of that second are the guest's own words: the kernel's line about the death, with its time, and a line that a
client prints when it is served again, with the same clock (/proc/uptime). What the host types, and how long it takes to
look, is in neither.

    [    3.141592] inject: linux ends       death
    shell at 3.38                           /root/.profile of the new shell: 0.24 s later

One CPU counts instructions (icount): a second is 10^9 of them, on any host, so that the limit is exact. With more CPUs, and
where the host types against the guest's clock, that clock is the host's, and a guest on a busy host gets less done in a
second of it: there the limit is stretched as all others are, by what a calibration boot took.
"""

import re
import subprocess
import time

import pytest
import qemu

PROMPT = r"pagoda:.*# "
CLIENTS = 4
DEATH = r"\[ *([\d.]+)\] inject: {} ends"
PROFILE = "read up idle < /proc/uptime; echo shell at $up\n"      # of every new shell


class Shell:
    """The guest's shell, typed at."""

    def __init__(self, guest, counted, prompt=True):
        self.guest = guest
        self.counted = counted      # its time is a count of instructions
        self.marks = 0
        if prompt:
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

    def death(self, server, begin, limit=10):
        """When it died: the kernel's line, after that place of the text."""
        self.guest.seen = begin
        return float(self.guest.expect(DEATH.format(server), limit)[1])

    def soon(self, died, served, what):
        """Nobody waited for longer than a second. The served line has hundredths, rounded down."""
        limit = 1.0 if self.counted else qemu.time_scale()
        assert served - died < limit, (what, died, served, self.guest.text[-3000:])

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
    (folder / ".profile").write_text(PROFILE)
    source.write_text('#include <stdio.h>\nint main(void) { return puts("served") < 0; }\n')
    subprocess.run(["musl-gcc", "-static", "-O2", "-s", "-o", folder / "c0", source], check=True)
    for i in range(1, 80):
        (folder / f"c{i}").hardlink_to(folder / "c0")

    def start(smp=2, typed=False):
        return Shell(guest(initrd=initrd_with(folder, qemu.os.path.join(qemu.ROOT, "build", "debug")),
                           debug=True, shell=True, smp=smp, icount=smp == 1 and not typed), smp == 1 and not typed)

    return start


def ended(text, server):
    return len(re.findall(rf"init: {server} ended \(signal 9\), started again", text))


PHASES = [("reply_receive", "after"), ("reply_receive", "before"), ("supply", "before"), ("supply", "after")]


@pytest.mark.parametrize("smp", [1, 2])
def test_pager(shell, smp):
    """idle; received; supplied and not answered; others in the queue (the n-th of several clients)."""
    one, client, deaths = shell(smp), 0, 0
    for call, when in PHASES:
        for n in (1, 3):
            if one.counted and deaths % 7 == 6:     # init gives up a server that ends ten times in ten seconds
                one.run("sleep 11", 30)
            numbers = " ".join(str(i) for i in range(client, client + CLIENTS))
            begin = one.guest.seen
            said = one.run(f"inject kill pager {call} {when} {n}; for i in {numbers}; do (/root/c$i > /dev/null 2>&1; "
                           "r=$?; read up idle < /proc/uptime; echo end $r at $up) & done; wait")
            ends = re.findall(r"end (\d+) at ([\d.]+)", said)
            assert len(ends) == CLIENTS, (call, when, n, said)
            if call == "supply":  # a fault was in service: its client is served by the next pager
                assert [status for status, _ in ends] == ["0"] * CLIENTS, (call, when, n, said)
            one.soon(one.death("pager", begin), max(float(at) for _, at in ends), (call, when, n))
            one.run(":")
            deaths += 1
            assert ended(one.guest.text, "pager") == deaths, (call, when, n, one.guest.text[-2000:])
            assert "served" in one.run(f"/root/c{client + CLIENTS}"), (call, when, n)
            client += CLIENTS + 1
    one.end()


CONSOLE_PHASES = [("after", 1), ("before", 1), ("after", 5), ("before", 6), ("after", 12)]


@pytest.mark.parametrize("smp", [1, 2])
def test_console_writers(shell, smp):
    """It dies while it is written to: the next line that is asked for is seen."""
    one = shell(smp)
    for deaths, (when, n) in enumerate(CONSOLE_PHASES, 1):
        begin = one.guest.seen
        one.guest.send(f"inject kill console reply_receive {when} {n}; for i in $(seq 40); do read up idle < /proc/uptime; "
                       "echo heard at $up; usleep 50000; done\r")
        died = one.death("console", begin)
        ticks = [0.0]
        while ticks[-1] < died:
            ticks.append(float(one.guest.expect(r"heard at ([\d.]+)$")[1]))
        one.soon(died, ticks[-1], (when, n))
        one.answers()
        assert ended(one.guest.text, "console") == deaths, (when, n, one.guest.text[-2000:])
    one.end()


@pytest.mark.parametrize("smp", [1, 2])
def test_console_readers(shell, smp):
    """It dies while lines are typed, several in a second: what is typed to the next one is read."""
    one = shell(smp, typed=True)
    for deaths, (when, n) in enumerate(CONSOLE_PHASES, 1):
        begin = one.guest.seen
        one.guest.send(f"inject kill console reply_receive {when} {n}; until [ \"$x\" = q ]; do read x; "
                       "read up idle < /proc/uptime; echo read at $up; done; x=\r")
        later, until = [], time.monotonic() + 10 * qemu.time_scale()
        while not later and time.monotonic() < until:
            one.guest.send("a\r")
            time.sleep(0.1)
            one.guest.pump(0.1)
            died = re.search(DEATH.format("console"), one.guest.text[begin:])
            read = [float(at) for at in re.findall(r"read at ([\d.]+)$", one.guest.text[begin:], re.M)]
            later = [at for at in read if died and at > float(died[1])]
        assert later, (when, n, one.guest.text[-2000:])
        one.soon(float(died[1]), later[0], (when, n))
        one.guest.send("q\r")
        one.answers()
        assert ended(one.guest.text, "console") == deaths, (when, n, one.guest.text[-2000:])
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
        begin = one.guest.seen
        one.guest.send(f"inject kill linux {call} {when} {n}; /root/c{index}; ls / | wc -l\r")
        died = one.death("linux", begin)
        one.soon(died, float(one.guest.expect(r"shell at ([\d.]+)$")[1]), (call, when, n))
        one.guest.expect(PROMPT, 10)
        assert ended(one.guest.text, "linux") == index + 1
        assert "served" in one.run(f"/root/c{index}"), (call, when, n)
    one.end()


def test_typed_ahead(shell):
    """What was typed and not yet read when linux died is read by the new shell."""
    one = shell()
    begin = one.guest.seen
    one.guest.send("inject kill linux reply_receive after 20; sleep 9\recho ke''pt\r")
    one.death("linux", begin)
    one.guest.expect(r"shell at [\d.]+$")
    one.guest.expect(r"^kept$")
    one.end()


INIT_PHASES = [("receive", "after", 1), ("task_create", "before", 1), ("task_create", "after", 1)]
KILL_PAGER = "pagoda kill $(ps | awk '$3==\"/servers/pager\" { print $1 }')"


@pytest.mark.parametrize("smp", [1, 2])
def test_init(shell, smp):
    """With it go all servers; the kernel says so and starts it again, and a new shell stands there as soon as linux's would."""
    one = shell(smp)
    for call, when, n in INIT_PHASES:
        begin = one.guest.seen
        one.guest.send(f"inject kill init {call} {when} {n}; {KILL_PAGER}\r")
        died = one.death("init", begin)
        one.guest.expect(r"init: ended with status 0x9, the servers with it; starting anew", 10)
        one.soon(died, float(one.guest.expect(r"shell at ([\d.]+)$")[1]), (call, when, n))
        one.guest.expect(PROMPT, 10)
        assert "served" in one.run("/root/c0")
    one.end()


@pytest.mark.parametrize("smp", [1, 2])
@pytest.mark.parametrize("server, line", [("init", "init: ended with status 0x9 while the command ran"),
                                          ("linux", "init: linux ended .signal 9. while the command ran")])
def test_while_a_command_runs(guest, server, line, smp):
    """It is not run twice: the machine says why and goes off with an error, as soon."""
    knife = f"inject kill init receive after 1; {KILL_PAGER}" if server == "init" else \
        "inject kill linux reply_receive after 3"
    one = Shell(guest(debug=True, shell=True, smp=smp, icount=smp == 1, cmd=f"echo once; {knife}; sleep 5; echo late"),
                smp == 1, prompt=False)
    died = one.death(server, 0, 30)
    one.soon(died, float(one.guest.expect(r"\[ *([\d.]+)\] " + line)[1]), server)
    result = one.guest.wait(20)
    assert result.verdict == "fail" and one.guest.text.count("once\n") == 1 and "late\n" not in one.guest.text, result


@pytest.mark.parametrize("smp", [1, 2])
def test_all_at_once(shell, smp):
    """Every server dies in one breath, twice."""
    one = shell(smp)
    for _ in range(2):
        one.guest.send("for s in console pager linux; do pagoda kill $(ps | awk /servers.$s/'{ print $1 }'); done\r")
        died = float(one.guest.expect(r"\[ *([\d.]+)\] init: linux ended", 10)[1])
        one.soon(died, float(one.guest.expect(r"shell at ([\d.]+)$")[1]), "all")
        one.guest.expect(PROMPT, 10)
        one.answers()
        assert "served" in one.run("/root/c0")
    one.end()
